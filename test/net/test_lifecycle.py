# SPDX-License-Identifier: Apache-2.0
"""What starts, stops, crashes and comes back.

      console ──┐
   a ────────[ sw ]──────── c
                b
"""

import os
import signal
import time

from vannet import SLOW, Mesh, Namespace, Node, check, wait_until


def reachable_after(a, b, limit, what):
    """Seconds until a ping from a to b is answered."""
    started = time.monotonic()
    wait_until(lambda: a.ns.pings(b.ip4(), wait=0.2), limit, what)
    return time.monotonic() - started


def test_console_stops_and_traffic_goes_on(net):
    m = Mesh(net)
    m.connect()
    m.console.stop()
    for a in m.nodes.values():
        for b in m.nodes.values():
            if a is not b:
                a.ns.ping(b.ip4(), count=5, interval=0.02)
    wait_until(lambda: m.a.status()["console"]["connected"] is False, 30,
               "status says that the console is away")
    check(m.a.status()["console"]["error"], "and why")
    m.console.start()
    wait_until(lambda: m.a.status()["console"]["connected"], 30, "status says that it is back")
    m.add("d")
    m.converge()
    m.d.ns.ping(m.a.ip4())


def test_restart_from_the_cache(net):
    m = Mesh(net)
    m.connect()
    before = {n.name: (n.network()["ips"], n.mac(), n.network()["ifname"]) for n in m.nodes.values()}
    m.console.stop()
    m.b.restart()
    check((m.b.network()["ips"], m.b.mac(), m.b.network()["ifname"]) == before["b"],
          "b has its addresses and its interface again: %s" % m.b.network())
    address = m.b.ip4()
    wait_until(lambda: m.a.ns.pings(address, wait=0.2), 5, "a reaches b again")
    m.b.ns.ping(m.c.ip4())
    # and all of them: nobody has anything but its cache
    for node in m.nodes.values():
        node.stop()
    for node in m.nodes.values():
        node.start()
    for a in m.nodes.values():
        for b in m.nodes.values():
            if a is not b:
                wait_until(lambda: a.ns.pings(b.ip4(), wait=0.2), 5,
                           "%s reaches %s after all were restarted without a console" % (a.name, b.name))


def test_killed_vand_is_back_within_two_seconds(net):
    m = Mesh(net)
    m.connect()
    address = m.b.ip4()
    for other in (m.a, m.c):
        m.b.kill()
        started = time.monotonic()
        m.b.launch()
        wait_until(lambda: other.ns.pings(address, wait=0.2), 5, "%s talks to b again" % other.name)
        took = time.monotonic() - started
        print("%s talked to b again %.2f s after its start" % (other.name, took))
        check(took < 5 * SLOW, "%s talked to b again after %.2f s" % (other.name, took))
        # and from the other side, at once
        m.b.ns.ping(other.ip4())
        wait_until(m.b.answers, 10, "b answers")
    # killed while the console is away as well
    m.console.stop()
    m.b.kill()
    m.b.launch()
    wait_until(lambda: m.a.ns.pings(address, wait=0.2), 5, "a talks to b again, without a console")
    wait_until(m.b.answers, 10, "b answers")


def gone(node, ifname="vcider0"):
    check(ifname not in node.ns.links(), "%s has no %s: %s" % (node.name, ifname, node.ns.links()))
    routes = node.ns.ip("route", "show", "table", "all").stdout
    check(ifname not in routes and "172.16." not in routes, "no route is left on %s:\n%s" % (node.name, routes))


def test_leave_takes_everything_away(net):
    m = Mesh(net)
    m.connect()
    address = m.c.ip4()
    m.c.vanctl("leave", "lan")
    gone(m.c)
    check(m.c.status()["networks"] == [], "c is in no network")
    names = [n["name"] for n in m.console.json("node", "list", "-n", "lan")["items"]]
    check(sorted(names) == ["a", "b"], "the console knows: %s" % names)
    for other in (m.a, m.b):
        wait_until(lambda: "c" not in other.peers(), 5, "%s has forgotten c" % other.name)
        check(not other.ns.pings(address), "nobody answers at c's address")
    # the daemon goes on and takes another token
    m.c.join(m.console.token("lan"))
    m.converge()
    m.c.ns.ping(m.a.ip4())
    # and with the console away: it is left here at once
    m.console.stop()
    m.c.vanctl("leave", "lan")
    gone(m.c)
    done = m.c.vanctl("leave", "lan", ok=False)
    check(done.returncode == 5 and done.stderr.count("\n") == 1, "leaving twice: %s" % done)


def test_sigterm_takes_everything_away(net):
    m = Mesh(net, names=("a", "b"))
    m.connect()
    for number in (signal.SIGTERM, signal.SIGINT):
        m.b.process.signal(number)
        status = m.b.process.wait(10)
        check(status == 0, "vand ends with status %d" % status)
        gone(m.b)
        check(not os.path.exists(m.b.socket), "the control socket is gone")
        # it said goodbye: a does not wait for a timeout to know
        wait_until(lambda: m.a.peers()["b"]["state"] != "connected", 5, "a knows that b has ended")
        m.b.start()
        wait_until(lambda: m.a.ns.pings(m.b.ip4(), wait=0.2), 5, "b is back")


def test_sighup_reloads(net):
    m = Mesh(net, names=("a", "b"))
    m.connect()
    # a setting that takes effect: the others get to know of it
    m.a.config["advertise"] = ["192.0.2.77:4999", "192.0.2.1"]
    m.a.write_config()
    m.a.process.signal(signal.SIGHUP)
    wait_until(lambda: "192.0.2.77:4999" in m.b.peers()["a"]["candidates"], 15,
               lambda: "b learns what a advertises: %s" % m.b.peers()["a"])
    m.a.ns.ping(m.b.ip4())
    # a wrong file: named in the log, and everything goes on as it was
    with open(m.a.config_path, "w") as f:
        f.write("no_such_setting = 1;\n")
    m.a.process.signal(signal.SIGHUP)
    wait_until(lambda: "no_such_setting" in m.a.process.text(), 5, "the log names the wrong setting")
    m.a.ns.ping(m.b.ip4())
    done = m.a.vanctl("reload", ok=False)
    check(done.returncode != 0 and "no_such_setting" in done.stderr, "vanctl reload says it: %s" % done)
    m.a.write_config()
    m.a.vanctl("reload")
    m.a.ns.ping(m.b.ip4())


def test_lost_answer_burns_no_token(net):
    """The same token by the same node is the same node."""
    m = Mesh(net, names=("a",))
    token = m.console.token("lan", uses=2)
    ns = Namespace(net, "b")
    m.switch.attach(ns)
    b = Node(net, ns)
    b.join(token)
    b.join(token)
    row = [t for t in m.console.json("token", "list", "lan")["items"] if t["uses"] == 2][0]
    check(row["uses_left"] == 1, "one use was spent: %s" % row)
    check(len(m.console.json("node", "list")["items"]) == 2, "there are two nodes")
