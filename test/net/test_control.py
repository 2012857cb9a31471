# SPDX-License-Identifier: Apache-2.0
"""A node and its console: what is told when, what is kept, what is given up.

      console ──┐
   a ────────[ sw ]──────── c
                b
"""

import os

from vannet import Mesh, check, cut_from_console, wait_until


def no_overlay(node):
    return not [l for l in node.ns.links() if l.startswith("vcider")]


def members(m):
    return sorted(n["name"] for n in m.console.json("node", "list", "-n", "lan")["items"])


def test_removed_node_takes_itself_down(net):
    m = Mesh(net)
    m.connect()
    m.console.vanctl("node", "delete", "c")
    wait_until(lambda: no_overlay(m.c), 10, "c takes its network down")
    status = m.c.status()
    check(status["node"] is None and status["networks"] == [], "c is in no mesh: %s" % status)
    check("removed from the mesh" in status["console"]["error"], "and says why: %s" % status["console"])
    check(not os.path.exists(m.c.state + "/netmap"), "the map is gone from the disk")
    # it stays so, also over a restart
    m.c.restart()
    check(no_overlay(m.c) and m.c.status()["node"] is None, "nothing comes back")
    m.a.ns.ping(m.b.ip4())


def test_network_left_while_the_console_is_away(net):
    m = Mesh(net)
    m.connect()
    m.console.stop()
    out = m.c.vanctl("leave", "lan")
    check("console is away" in out.stderr, "vanctl says that the console does not know yet: %s" % out.stderr)
    check(no_overlay(m.c), "it is gone at once")
    check(any("left" in w for w in m.c.status()["warnings"]), "status says what is to be told")
    # a restart in between forgets neither
    m.c.restart()
    check(no_overlay(m.c), "it does not come back from the cache")
    m.console.start()
    wait_until(lambda: members(m) == ["a", "b"], 40, "the console is told")
    wait_until(lambda: not any("left" in w for w in m.c.status()["warnings"]), 10, "and that is done with")
    check(no_overlay(m.c) and m.c.status()["networks"] == [], "c stays out")
    # left again and joined again before it could be told: it is in
    m.c.join(m.console.token("lan"))
    m.console.stop()
    m.c.vanctl("leave", "lan")
    m.console.start()
    m.c.join(m.console.token("lan"))
    m.converge()
    m.c.ns.ping(m.a.ip4())


def test_stale_node_stops(net):
    m = Mesh(net, names=("a",))
    m.add("b", config={"max_stale_s": 3})
    m.converge()
    m.connect()
    address = m.b.ip4()
    cut_from_console(m.b)
    m.a.ns.ping(address)
    wait_until(lambda: no_overlay(m.b), 15, "b stops when the console was away too long")
    status = m.b.status()
    check(status["node"] is not None, "it is still a node of the mesh")
    check(any("max_stale_s" in w for w in status["warnings"]), "status says why: %s" % status["warnings"])
    # a restart does not make the cache any younger
    m.b.restart()
    wait_until(lambda: no_overlay(m.b) and any("max_stale_s" in w for w in m.b.status()["warnings"]), 10,
               "b does not start from a cache that is too old")
    cut_from_console(m.b, False)
    wait_until(lambda: m.b.status()["networks"], 60, "b goes on when the console is back")
    check(m.b.ip4() == address and m.b.network()["ifname"] == "vcider0", "with address and name")
    m.a.ns.ping(address)
    check(not any("max_stale_s" in w for w in m.b.status()["warnings"]), "and has nothing to warn of")


def test_deleted_interface_is_made_again(net):
    m = Mesh(net, names=("a", "b"))
    m.connect()
    m.b.ns.ip("link", "delete", "vcider0")
    wait_until(lambda: m.b.ns.link("vcider0"), 10, "vcider0 is back")
    wait_until(lambda: m.a.ns.pings(m.b.ip4()), 10, "and carries frames")
    check(m.b.network()["state"] == "up", "status: %s" % m.b.network())


def test_console_away_is_one_line_in_the_log(net):
    m = Mesh(net, names=("a",))
    m.console.stop()
    wait_until(lambda: m.a.status()["console"]["connected"] is False, 30, "status says that it is away")
    since = m.a.status()["console"]["last_contact_s"]
    wait_until(lambda: m.a.status()["console"]["last_contact_s"] >= since + 4, 10, "time goes by")
    lines = [l for l in m.a.process.text().splitlines() if "warn: registry" in l]
    check(len(lines) <= 2, "not a line a try: %s" % lines)
    m.console.start()
    wait_until(lambda: m.a.status()["console"]["connected"], 40, "it is back")
    check(m.a.status()["console"]["error"] is None, "no error is left")


def test_privileges_are_dropped(net):
    m = Mesh(net, names=("a",))
    for task in os.listdir("/proc/%d/task" % m.a.process.pid):
        with open("/proc/%d/task/%s/status" % (m.a.process.pid, task)) as f:
            fields = dict(line.rstrip("\n").split(":\t", 1) for line in f if ":\t" in line)
        for name in ("CapPrm", "CapEff", "CapBnd"):
            check(int(fields[name], 16) == 1 << 12, "%s is CAP_NET_ADMIN alone: %s" % (name, fields[name]))
        for name in ("CapInh", "CapAmb"):
            check(int(fields[name], 16) == 0, "%s is empty: %s" % (name, fields[name]))
        check(fields["NoNewPrivs"] == "1", "no new privileges")
    status = os.stat(m.a.state).st_mode & 0o7777
    check(status == 0o700, "the state is for its owner: %o" % status)
    for name in os.listdir(m.a.state):
        mode = os.stat(os.path.join(m.a.state, name)).st_mode & 0o7777
        check(mode & 0o077 == 0, "%s: %o" % (name, mode))
    check(os.stat(m.a.socket).st_mode & 0o7777 == 0o600, "and so is the socket")
