# SPDX-License-Identifier: Apache-2.0
"""Underlay addresses that change under a running session (NAT boxes that move are in test_nat.py).

   a 192.0.2.1 ──[ sw ]── b 192.0.2.2
"""

import re
import socket
import time

from vannet import SLOW, Capture, Mesh, Namespace, check, van_payload, wait_until


def pinging(node, address):
    return node.ns.start("ping-%s" % node.name, "ping", "-n", "-D", "-O", "-i", "0.1", address)


def answers(process):
    return len(re.findall(r"bytes from", process.text()))


def goes_on(process, limit, what):
    """Three more answers within limit seconds; returns how long it took."""
    started, had = time.monotonic(), answers(process)
    wait_until(lambda: answers(process) >= had + 3, limit, what)
    took = time.monotonic() - started
    check(took < limit * SLOW, "%s: after %.1f s" % (what, took))
    return took


def test_address_changes_while_pinging(net):
    m = Mesh(net, names=("a", "b"), v6=False)
    m.connect()
    for sender, address in ((m.b, m.a.ip4()), (m.a, m.b.ip4())):
        ping = pinging(sender, address)
        goes_on(ping, 5, "the ping runs")
        old = m.b.peers()["a"]["endpoint"].split(":")[0]
        new = "192.0.2.6%s" % old[-1]
        # really away for a moment: with both there, the old one would still be used
        m.a.ns.ip("addr", "del", old + "/24", "dev", "eth0")
        m.a.ns.ip("addr", "add", new + "/24", "dev", "eth0")
        took = goes_on(ping, 8, "the ping from %s goes on after a moved to %s" % (sender.name, new))
        print("ping from %s went on %.1f s after a had moved" % (sender.name, took))
        wait_until(lambda: m.b.peers()["a"]["endpoint"].startswith(new + ":"), 5,
                   lambda: "b sends to the new address: %s" % m.b.peers()["a"])
        ping.kill()
    check(m.b.stats()["endpoint_moves"] >= 1, "end point moves are counted: %s" % m.b.stats())
    # the console and late-comers learn it too
    wait_until(lambda: any(c.startswith(new) for c in m.b.peers()["a"]["candidates"]), 20,
               lambda: "the new address is a candidate: %s" % m.b.peers()["a"])
    late = m.add("c")
    m.converge()
    late.ns.ping(m.a.ip4())


def test_from_ipv4_to_ipv6(net):
    m = Mesh(net, names=("a", "b"))
    m.connect()
    ping = pinging(m.b, m.a.ip4())
    goes_on(ping, 5, "the ping runs")
    m.a.ns.ip("-4", "addr", "flush", "dev", "eth0")
    # there is nothing left that leads back to a: b has to find out that it no longer answers
    took = goes_on(ping, 10, "the ping goes on by IPv6 after a lost its IPv4 address")
    print("ping went on %.1f s after a had lost IPv4" % took)
    ping.kill()
    wait_until(lambda: m.b.peers()["a"]["endpoint"].startswith("[2001:db8:"), 5, "b sends by IPv6")


def test_spoofed_source_does_not_move_the_end_point(net):
    """Copies of b's datagrams from elsewhere are replays: a goes on sending to b."""
    m = Mesh(net, names=("a", "b"), v6=False)
    m.connect()
    eve = Namespace(net, "eve")
    m.switch.attach(eve)
    seen = Capture(m.a.ns, "eth0", keep=lambda f, out: not out and (van_payload(f) or b"\0")[0] == 4)
    m.b.ns.ping(m.a.ip4())
    copies = [van_payload(f) for f in seen.stop()]
    check(len(copies) >= 3, "captured some DATA messages")
    before = m.a.peers()["b"]["endpoint"]
    replayed = m.a.drops().get("replayed", 0)
    sock = eve.socket(socket.AF_INET, socket.SOCK_DGRAM)
    for copy in copies:
        sock.sendto(copy, ("192.0.2.1", 4826))
    wait_until(lambda: m.a.drops().get("replayed", 0) >= replayed + len(copies), 5, "the copies are counted")
    check(m.a.peers()["b"]["endpoint"] == before, "the end point stays")
    m.a.ns.ping(m.b.ip4())
