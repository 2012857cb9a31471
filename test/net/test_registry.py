# SPDX-License-Identifier: Apache-2.0
"""What the registry allows and refuses: addresses, tokens, second networks, removed nodes.

      console ──┐
   a ────────[ sw ]──────── c
                b
"""

import json
import os
import secrets
import shutil
import time

from vannet import (BUILD, Capture, Console, Mesh, Namespace, Node, check, cut_from_console, ethernet,
                    token_parts, token_text, wait_until)


def new_node(net, m, name):
    ns = Namespace(net, name)
    m.switch.attach(ns)
    return Node(net, ns)


def nothing_configured(node):
    check(node.ns.links() == ["lo", "eth0"], "no interface is left on %s: %s" % (node.name, node.ns.links()))
    check(node.status()["networks"] == [], "%s is in no network" % node.name)


def refused(done, *words, code=None):
    """One line on stderr that has these words (alternatives in a tuple); nothing on stdout."""
    check(done.returncode != 0, "it was refused: %s" % done)
    check(code is None or done.returncode == code, "exit status %s: %s" % (code, done))
    check(done.stdout == "", "standard output is empty: %r" % done.stdout)
    check(done.stderr.count("\n") == 1, "one line: %r" % done.stderr)
    for word in words:
        options = word if isinstance(word, tuple) else (word,)
        check(any(o.lower() in done.stderr.lower() for o in options), "%r is in: %s" % (word, done.stderr))


def test_chosen_addresses(net):
    m = Mesh(net, names=("other",))
    m.add("holder", address="172.16.1.50")
    m.add("second", address="172.16.1.60")
    m.converge()
    check(m.holder.ip4() == "172.16.1.50" and m.second.ip4() == "172.16.1.60", "they have what they chose")
    m.holder.ns.ping("172.16.1.60")
    m.other.ns.ping("172.16.1.50")
    late = new_node(net, m, "late")
    refused(late.join(m.console.token("lan"), ok=False, address="172.16.1.50"), "holder", "172.16.1.50", code=6)
    nothing_configured(late)
    refused(late.join(m.console.token("lan"), ok=False, address="10.1.2.3"), "10.1.2.3")
    nothing_configured(late)
    # by the console, for a node that is there already
    refused(m.console.vanctl("node", "set", "other", "-n", "lan", "--address", "172.16.1.60", ok=False),
            "second", code=6)
    m.console.vanctl("node", "set", "other", "-n", "lan", "--address", "172.16.1.70")
    wait_until(lambda: m.other.ip4() == "172.16.1.70", 5, "the new address is on the node")
    wait_until(lambda: m.holder.ns.pings("172.16.1.70"), 5, "and reached")
    addresses = [a["local"] for a in m.other.ns.link("vcider0")["addr_info"]]
    check("172.16.1.70" in addresses and len([a for a in addresses if a.startswith("172.")]) == 1,
          "the old one is gone: %s" % addresses)


def test_second_network_from_the_console_alone(net):
    m = Mesh(net)
    m.connect()
    m.console.network("backup", "172.16.2.0/24")
    for name in ("a", "b"):
        m.console.vanctl("node", "add", name, "-n", "backup")
    for node in (m.a, m.b):
        wait_until(lambda: "vcider1" in node.ns.links(), 10, "vcider1 appears on %s" % node.name)
        wait_until(lambda: len(node.status()["networks"]) == 2, 5, "status of %s has both" % node.name)
    wait_until(lambda: m.a.ns.pings(m.b.ip4("backup")), 10, "a reaches b in the second network")
    check("vcider1" not in m.c.ns.links(), "c is not in it")
    # and out again
    m.console.vanctl("node", "delete", "a", "-n", "backup")
    wait_until(lambda: "vcider1" not in m.a.ns.links(), 10, "vcider1 goes away")
    m.a.ns.ping(m.b.ip4("lan"))


def test_networks_on_one_node_are_isolated(net):
    """a is in both networks, b in one, c in the other; nothing crosses."""
    m = Mesh(net, names=("a", "b"))
    m.console.network("two", "172.16.2.0/24", "fd00:2::/64")
    m.a.join(m.console.token("two"))
    c = new_node(net, m, "c")
    c.join(m.console.token("two"))
    wait_until(lambda: set(m.a.peers()) == {"b", "c"}, 10, "a knows both")
    check(set(m.b.peers()) == {"a"} and set(c.peers()) == {"a"}, "b and c do not know each other")
    m.a.ns.ping(m.b.ip4("lan"))
    m.a.ns.ping(c.ip4("two"))
    check(m.a.network("lan")["ifname"] == "vcider0" and m.a.network("two")["ifname"] == "vcider1", "names")
    # broadcasts and frames to somebody's MAC stay in their network
    at_b, at_c = Capture(m.b.ns, "vcider0"), Capture(c.ns, "vcider0")
    one, two = m.a.ns.packet_socket("vcider0"), m.a.ns.packet_socket("vcider1")
    mac = m.a.mac("lan"), m.a.mac("two")
    for target in ("ff:ff:ff:ff:ff:ff", m.b.mac(), c.mac()):
        one.send(ethernet(target, mac[0], 0x88B5, b"in lan".ljust(46)))
        two.send(ethernet(target, mac[1], 0x88B5, b"in two".ljust(46)))
    # the last of each, to show that the others have been sent before
    one.send(ethernet(m.b.mac(), mac[0], 0x88B6, b"end".ljust(46)))
    two.send(ethernet(c.mac(), mac[1], 0x88B6, b"end".ljust(46)))
    at_b.wait(lambda f: b"end" in f, 5, "the last frame at b")
    at_c.wait(lambda f: b"end" in f, 5, "the last frame at c")
    check(at_b.count(lambda f: b"in lan" in f) == 2 and at_b.count(lambda f: b"in two" in f) == 0,
          "b gets what is of its network")
    check(at_c.count(lambda f: b"in two" in f) == 2 and at_c.count(lambda f: b"in lan" in f) == 0,
          "c gets what is of its network")


def test_interface_name_and_second_token(net):
    m = Mesh(net, names=("a",))
    m.console.network("two", "172.16.2.0/24")
    b = new_node(net, m, "b")
    b.join(m.console.token("lan"), ifname="office")
    check("office" in b.ns.links(), "the name that was asked for")
    b.join(m.console.token("two"))
    check("vcider0" in b.ns.links(), "the next free name: %s" % b.ns.links())
    check(len(m.console.json("node", "list")["items"]) == 2, "b is one node in two networks")
    # wishes that cannot be met are refused, and say so: before the token is spent where that is possible
    token = m.console.token("two")
    refused(b.join(token, ok=False, ifname="office"), "lan", code=6)
    items = m.console.json("token", "list")["items"]
    check(sum(t["uses_left"] for t in items) == 1, "the token is not spent: %s" % items)
    refused(b.join(token, ok=False, address="172.16.2.77"), "vanctl node set b -n two", code=6)
    b.restart()
    check(b.network("lan")["ifname"] == "office" and b.network("two")["ifname"] == "vcider0",
          "names stay over a restart: %s" % b.status()["networks"])


def test_tokens_that_let_nobody_in(net):
    m = Mesh(net, names=("a",))
    node = new_node(net, m, "b")
    pin, _, url = token_parts(m.console.token("lan"))
    wrong = token_text(pin, secrets.token_bytes(32), url)
    refused(node.join(wrong, ok=False), "token", code=4)

    used = m.console.token("lan")
    spender = new_node(net, m, "spender")
    spender.join(used)
    refused(node.join(used, ok=False), ("used up", "spent"), code=4)

    def rows():
        return {t["id"]: t["state"] for t in m.console.json("token", "list", "lan")["items"]}

    before = set(rows())
    expired = m.console.token("lan", ttl="1s")
    (new_id,) = set(rows()) - before
    wait_until(lambda: rows()[new_id] == "expired", 10, "the console says that the token is expired")
    refused(node.join(expired, ok=False), "expired", code=4)

    before = set(rows())
    revoked = m.console.token("lan")
    (new_id,) = set(rows()) - before
    m.console.vanctl("token", "revoke", new_id)
    refused(node.join(revoked, ok=False), "revoked", code=4)

    good = m.console.token("lan")
    refused(node.join(good[:-1], ok=False), "token")
    refused(node.join("van1_nonsense", ok=False), "token")
    nothing_configured(node)
    names = sorted(n["name"] for n in m.console.json("node", "list")["items"])
    check(names == ["a", "spender"], "nobody got in: %s" % names)
    node.join(good)
    m.a.ns.ping(node.ip4())


def test_token_of_another_mesh_is_refused(net):
    m = Mesh(net, names=("a",))
    foreign = m.add_console("foreign", host=101)
    foreign.network("elsewhere", "172.16.9.0/24")
    refused(m.a.join(foreign.token("elsewhere"), ok=False), "mesh")
    check(len(m.a.status()["networks"]) == 1, "a stays where it was")
    check(foreign.json("node", "list")["items"] == [], "the other console enrolled nobody")


def test_a_console_that_only_knows_the_mesh_is_refused(net):
    """It has the mesh's ids, keys and nodes, as from a stolen backup, but not the console's TLS key."""
    m = Mesh(net, names=("a",))
    place = net.directory("impostor-state")
    state, conf = os.path.join(place, "state"), os.path.join(place, "conf")
    os.makedirs(state, mode=0o700)
    console_api = os.path.join(BUILD, "console-api/console-api")
    m.console.ns.run(console_api, "backup", "-q", "-c", m.console.config_path, os.path.join(state, "registry.db"))
    shutil.copy(os.path.join(m.console.state, "admin.key"), state)
    impostor = Namespace(net, "impostor")
    address, _ = m.switch.attach(impostor, host=101)
    with open(conf, "w") as f:
        f.write('state_dir = "%s"; public_url = "https://%s:8443";' % (state, address))
    impostor.run(console_api, "tls", "new", "-q", "-c", conf)
    foreign = Console(net, impostor, address, config={"state_dir": state})
    with open(os.path.join(m.a.state, "membership")) as f:
        before = json.load(f)
    refused(m.a.join(foreign.token("lan"), ok=False), "mesh", code=6)
    with open(os.path.join(m.a.state, "membership")) as f:
        check(json.load(f) == before, "a stays at its console")
    with open(foreign.process.log, errors="replace") as f:
        check("/agent/v1" not in f.read(), "a has shown the impostor nothing")
    # nor while its own console cannot say whose the token is
    cut_from_console(m.a)
    refused(m.a.join(foreign.token("lan"), ok=False, wait="20s"), "try again", code=7)
    with open(foreign.process.log, errors="replace") as f:
        check("/agent/v1" not in f.read(), "a has shown the impostor nothing")


def test_waiting_for_approval_and_disabled_is_said(net):
    m = Mesh(net, names=("a",))
    m.console.vanctl("network", "set", "lan", "--require-approval", "yes")
    b = new_node(net, m, "b")
    refused(b.join(m.console.token("lan"), ok=False, wait="3s"), "waits for approval", "vanctl node approve b -n lan",
            code=7)
    wait_until(lambda: any("waits for approval" in w for w in b.status()["warnings"]), 10,
               lambda: "status says so: %s" % b.status()["warnings"])
    m.console.vanctl("node", "approve", "b", "-n", "lan")
    wait_until(lambda: len(b.status()["networks"]) == 1, 10, "b is in")
    check(not b.status()["warnings"], "nothing to warn of: %s" % b.status()["warnings"])
    m.console.vanctl("node", "disable", "b")
    wait_until(lambda: any("vanctl node enable b" in w for w in b.status()["warnings"]), 10,
               lambda: "status says so: %s" % b.status()["warnings"])
    check(b.status()["networks"] == [], "and it is in no network")
    m.console.vanctl("node", "enable", "b")
    wait_until(lambda: len(b.status()["networks"]) == 1 and not b.status()["warnings"], 10, "b is back")


def test_new_keys_for_a_node_that_lost_its_own(net):
    m = Mesh(net, names=("a", "b"))
    token = m.console.vanctl("node", "rekey", "b").stdout.strip()
    refused(m.b.join(token, ok=False), "state_dir", code=6)
    m.b.stop()
    shutil.rmtree(m.b.state)
    m.b.start()
    m.b.join(token)
    wait_until(lambda: m.a.ns.pings(m.b.ip4()), 20, "a reaches b by its new keys")
    check(len(m.console.json("node", "list")["items"]) == 2, "it is the same node")


def test_removed_node_is_cut_off(net):
    """The removed node itself must not learn of it: what counts is that the others turn it away."""
    m = Mesh(net)
    m.connect()
    c_mac, marker = m.c.mac(), os.urandom(24)
    cut_from_console(m.c)
    arrived = {}
    captures = []
    for node in (m.a, m.b):
        def keep(frame, outgoing, name=node.name):
            if marker in frame:
                arrived[name] = time.monotonic()
            return False
        captures.append(Capture(node.ns, "vcider0", keep=keep))
    sock = m.c.ns.packet_socket("vcider0")
    frame = ethernet("ff:ff:ff:ff:ff:ff", c_mac, 0x88B5, marker.ljust(46))

    def sending_until(condition, timeout, what):
        def step():
            sock.send(frame)
            return condition()
        wait_until(step, timeout, what)

    sending_until(lambda: len(arrived) == 2, 5, "frames of c arrive at a and b")
    m.console.vanctl("node", "delete", "c")
    learnt = {}

    def all_learnt():
        for node in (m.a, m.b):
            if node.name not in learnt and "c" not in node.peers():
                learnt[node.name] = time.monotonic()
        return len(learnt) == 2

    sending_until(all_learnt, 10, "a and b learn that c was removed")
    end = time.monotonic() + 4
    sending_until(lambda: time.monotonic() > end, 10, "c goes on for a while")
    for name in ("a", "b"):
        late = arrived[name] - learnt[name]
        print("%s: the last frame of c came %.2f s after it learnt" % (name, late))
        check(late < 2, "%s still got frames %.2f s after it learnt" % (name, late))
    # c tries again, as a stranger now: no session, no answer, and a counter
    m.c.restart()
    check(not m.c.ns.pings(m.a.ip4(), wait=2), "c does not get in")
    wait_until(lambda: m.a.drops().get("stranger"), 10, lambda: "a counts the stranger: %s" % m.a.drops())
    m.a.ns.ping(m.b.ip4())
    # when it hears of it, it takes its interface down itself
    cut_from_console(m.c, False)
    wait_until(lambda: "vcider0" not in m.c.ns.links(), 40, "c takes its interface down")
