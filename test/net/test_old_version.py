# SPDX-License-Identifier: Apache-2.0
"""Programs of version 0.1.0, built from this repository's history, with those of today.

     console ──┐
   old ─────[ sw ]──── new …
"""

import fcntl
import json
import os

from vannet import BUILD, ROOT, Mesh, Namespace, Node, Probe, Skip, check, wait_until

OLD_COMMIT = "6b1e1b5"  # the last one that calls itself 0.1.0


def old_build(net):
    """The folder with the programs of version 0.1.0; made at the first call."""
    place = os.path.join(BUILD, "v0.1.0")
    built, done = os.path.join(place, "build"), os.path.join(place, "done")
    os.makedirs(place, exist_ok=True)
    with open(os.path.join(place, "lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # of several tests, one builds
        if os.path.exists(done):
            return built
        git = ["git", "-c", "safe.directory=" + ROOT, "-C", ROOT]
        if net.host(*git, "cat-file", "-e", OLD_COMMIT + "^{commit}", ok=False).returncode:
            raise Skip("the history of version 0.1.0 is not here (commit %s): git fetch --unshallow" % OLD_COMMIT)
        tree = os.path.join(place, "tree.tar")
        net.host(*git, "archive", "-o", tree, OLD_COMMIT)
        net.host("tar", "xf", tree, "-C", place)
        net.host("make", "-C", place, "-j2", "B=" + built, "all", timeout=500, env={"MAKEFLAGS": ""})
        with open(done, "w"):
            pass
    return built


def long_test(function):
    """With time for the build."""
    function.limit_s = 600
    return function


class Mixed(Mesh):
    """A mesh with a console of one version; nodes of both, each with the vanctl of its own."""

    def __init__(self, net, names, console_old=False, console_config=None):
        self.programs = old_build(net)
        self.console_build = self.programs if console_old else None
        self.console_config = console_config
        super().__init__(net, names=names)

    def add_console(self, role="console", host=100, **options):
        return super().add_console(role, host, build=self.console_build, tools=self.console_build,
                                   config=self.console_config, **options)

    def add(self, name, config=None, build=None, **options):
        old = name.startswith("old")
        ns = Namespace(self.net, name)
        self.switch.attach(ns)
        programs = self.programs if old else None
        node = Node(self.net, ns, build=programs, tools=programs)
        self.nodes[name] = node
        setattr(self, name, node)
        node.join(self.console.token(self.network), **options)
        return node


def version_of(node):
    return node.status()["version"]


def tcp(a, b, address, megabytes=16):
    sink = Probe(b.ns, "tcp-sink", address, 5001, "--timeout", 30, ready=True)
    source = Probe(a.ns, "tcp-source", address, 5001, "--bytes", megabytes << 20, "--seed", 7, "--timeout", 30)
    sent, received = source.result(40), sink.result(40)
    check(sent["checksum"] == received["checksum"] and received["bytes"] == megabytes << 20,
          "what arrives is what was sent: %s %s" % (sent, received))


def exchange(a, b):
    """Traffic of all sizes, started from either side."""
    for x, y in ((a, b), (b, a)):
        for address in (y.ip4(), y.ip6()):
            x.ns.ping(address)
        x.ns.ping(y.ip4(), size=4000)
        tcp(x, y, y.ip4())


def knows(node, name):
    wait_until(lambda: name in node.peers(), 15, lambda: "%s knows %s: %s" % (node.name, name, sorted(node.peers())))


def introduce(node, other):
    """Its address may have been another's: an old vand leaves that to the kernel, which learns by being asked."""
    wait_until(lambda: node.ns.pings(other.ip4()) and node.ns.pings(other.ip6()), 20,
               "%s reaches %s" % (node.name, other.name))


def changes_arrive(m, nodes):
    """A name, an address, a network more and one less: told by the console, acted upon by all."""
    for i, node in enumerate(nodes):
        others = [other for other in nodes if other is not node]
        name, address = node.name + "-x", "172.16.1.%d" % (80 + i)
        m.console.vanctl("node", "set", node.name, "-n", "lan", "--name", name)
        m.console.vanctl("node", "set", name, "-n", "lan", "--address", address)
        wait_until(lambda: node.ip4("lan") == address, 10, "%s has another address" % node.name)
        for other in others:
            knows(other, name)
            wait_until(lambda: other.ns.pings(address), 10, "%s reaches it there" % other.name)
        m.console.vanctl("node", "set", name, "-n", "lan", "--name", node.name)
        for other in others:
            knows(other, node.name)
    m.console.network("two", "172.16.2.0/24")
    for node in nodes:
        m.console.vanctl("node", "add", node.name, "-n", "two")
        wait_until(lambda: "vcider1" in node.ns.links(), 10, "%s is in the second network" % node.name)
    for node in nodes:
        for other in nodes:
            wait_until(lambda: node.ns.pings(other.ip4("two")), 10, "%s reaches %s there" % (node.name, other.name))
    m.console.vanctl("network", "delete", "two")
    for node in nodes:
        wait_until(lambda: "vcider1" not in node.ns.links(), 10, "%s has left it" % node.name)


def removed(m, node, others):
    m.console.vanctl("node", "delete", node.name)
    wait_until(lambda: node.status()["networks"] == [], 10, "%s knows that it was removed" % node.name)
    for other in others:
        wait_until(lambda: node.name not in other.peers(), 10, "%s knows, too" % other.name)


def survives(node, peer):
    """A restart of vand, with the console away and without."""
    node.restart()
    wait_until(lambda: node.status()["console"]["connected"], 10, "%s has contact after a restart" % node.name)
    wait_until(lambda: node.ns.pings(peer.ip4()), 20, "and reaches %s" % peer.name)


@long_test
def test_long_old_nodes_at_a_new_console(net):
    m = Mixed(net, names=("old", "new"))
    check(version_of(m.old) != version_of(m.new), "they are of two versions")
    versions = {n["name"]: n["version"] for n in m.console.json("node", "list")["items"]}
    check(versions["old"].startswith("0.1.") and not versions["new"].startswith("0.1."), "%s" % versions)
    exchange(m.old, m.new)
    changes_arrive(m, [m.old, m.new])
    survives(m.old, m.new)
    late = m.add("oldlate")
    for node in (m.old, m.new):
        knows(node, "oldlate")
        introduce(late, node)
        exchange(node, late)
    removed(m, late, [m.old, m.new])
    # the node itself, leaving and coming back
    m.old.vanctl("leave", "lan")
    wait_until(lambda: "old" not in m.new.peers(), 10, "the others know that it left")
    m.old.join(m.console.token("lan"))
    introduce(m.old, m.new)
    exchange(m.new, m.old)


@long_test
def test_long_new_nodes_at_an_old_console(net):
    m = Mixed(net, names=("old", "new"), console_old=True)
    exchange(m.old, m.new)
    changes_arrive(m, [m.old, m.new])
    survives(m.new, m.old)
    late = m.add("newlate")
    for node in (m.old, m.new):
        knows(node, "newlate")
        introduce(late, node)
        exchange(node, late)
    removed(m, late, [m.old, m.new])
    m.new.vanctl("leave", "lan")
    wait_until(lambda: "new" not in m.old.peers(), 10, "the others know that it left")
    m.new.join(m.console.token("lan"))
    introduce(m.new, m.old)
    exchange(m.old, m.new)


ADMIN = """
network list
network show t
token issue t --uses 2 --ttl 10m --ephemeral 10m
token list
token list t
token revoke TOKEN
node list
node list -n lan
node show new
node show new -n lan
node add new -n t
node set new -n t --address 10.9.0.77
node set new -n t --name renamed
node set renamed -n t --name new
hosts -n t
node delete new -n t
node delete new
network delete t
"""


def administer(m, programs):
    """Every command for the console that version 0.1.0 has, by the vanctl in this folder."""
    def run(*argv):
        return m.console.ns.run(os.path.join(programs, "vanctl/vanctl"), *argv, "--console", m.console.url,
                                "--key-file", os.path.join(m.console.state, "admin.key"),
                                "--pin", m.console.pin).stdout

    run("network", "create", "t", "--cidr", "10.9.0.0/24")
    for line in ADMIN.split("\n")[1:-1]:
        tokens = json.loads(run("token", "list", "-o", "json"))["items"]
        active = [t["id"] for t in tokens if t["state"] == "active"]
        argv = [active[0] if word == "TOKEN" else word for word in line.split()]
        out = run(*argv)
        if argv[:2] == ["node", "set"] and "--address" in argv:
            check("10.9.0.77" in run("node", "list", "-n", "t"), "the address is set")
        if argv[0] == "hosts":
            check("10.9.0.77" in out, "hosts has it: %s" % out)
        if argv[1] == "list" or argv[1] == "show":
            json.loads(run(*argv, "-o", "json"))
    wait_until(lambda: not m.new.status()["networks"], 10, "the node was deleted")
    check([n["name"] for n in m.console.json("network", "list")["items"]] == ["lan"], "and the network")


@long_test
def test_long_old_vanctl_at_a_new_console(net):
    m = Mixed(net, names=("new",))
    administer(m, m.programs)


@long_test
def test_long_new_vanctl_at_an_old_console(net):
    m = Mixed(net, names=("new",), console_old=True)
    administer(m, BUILD)


def connected(node, limit=40):
    wait_until(lambda: node.status()["console"]["connected"], limit,
               lambda: "%s has contact: %s" % (node.name, node.status()["console"]))


def becomes(program, programs):
    """The same console or node, state directory and all, by a program of another version."""
    program.stop()
    program.build = programs
    program.start()


@long_test
def test_long_upgrade(net):
    """The console first, then a node; and a node that goes back."""
    m = Mixed(net, names=("old", "old2"), console_old=True)
    m.connect()
    m.console.tools = BUILD
    becomes(m.console, BUILD)
    connected(m.old)
    connected(m.old2)
    m.old.ns.ping(m.old2.ip4())
    becomes(m.old, BUILD)
    connected(m.old)
    exchange(m.old, m.old2)
    m.console.vanctl("node", "set", "old2", "-n", "lan", "--name", "renamed")
    knows(m.old, "renamed")
    # back again: its requests do not say any more what they are of
    becomes(m.old, m.programs)
    wait_until(lambda: "join again with a new token" in (m.old.status()["console"]["error"] or ""), 40,
               lambda: "it is told what to do: %s" % m.old.status()["console"])
    introduce(m.old, m.old2)  # with the map that it has
    m.old.join(m.console.token("lan"))
    connected(m.old)
    exchange(m.old, m.old2)


@long_test
def test_long_no_mesh_signatures(net):
    m = Mixed(net, names=("new",), console_config={"mesh_signatures": False})
    ns = Namespace(net, "old")
    m.switch.attach(ns)
    old = Node(net, ns, build=m.programs, tools=m.programs)
    done = old.join(m.console.token("lan"), ok=False, wait="5s")
    wait_until(lambda: "upgrade vand" in (old.status()["console"]["error"] or ""), 10,
               lambda: "it is told what to do: %s %s" % (done, old.status()["console"]))
