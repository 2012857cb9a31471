# SPDX-License-Identifier: Apache-2.0
"""Nodes behind network address translation.

      console ──┐                        n, n2: masqueraded, each behind a box of its own
   a ────────[ sw ]──────── nat ──[ ]── n
                │ b          10.77.0.0/24, the box is .254
                └────────── nat2 ──[ ]── n2
"""

import time

from vannet import SLOW, Mesh, NatBox, check, holds_for, wait_until

# The NAT boxes forget a mapping after this long without a packet; nodes keep theirs with 20 s.
UDP_TIMEOUT_S = 25


def nat_mesh(net, udp_timeout=UDP_TIMEOUT_S):
    m = Mesh(net, names=("a", "b"), v6=False)
    m.box = NatBox(net, m.switch)
    m.box.udp_timeouts(udp_timeout)
    m.add("n", attach=m.box.attach)
    m.converge()
    return m


def idle(m, seconds):
    """No traffic of ours for so long; the daemons run on. This is the time itself under test."""
    holds_for(lambda: all(n.process.running() for n in m.nodes.values()), seconds, "the daemons run")


def reaches(a, b, timeout=5):
    address = b.ip4()
    wait_until(lambda: a.ns.pings(address), timeout, "%s reaches %s" % (a.name, b.name))


def test_node_behind_nat_speaks_first(net):
    m = nat_mesh(net)
    for other in (m.a, m.b):
        m.n.ns.ping(other.ip4())
        other.ns.ping(m.n.ip4())
    check(m.a.peers()["n"]["nat"], "the console saw that n is behind NAT: %s" % m.a.peers()["n"])
    check(not m.n.peers()["a"]["nat"], "and that a is not")
    check(m.a.peers()["n"]["endpoint"].startswith(m.box.outside + ":"),
          "a answers to the address of the box: %s" % m.a.peers()["n"])


def test_open_node_speaks_first(net):
    m = nat_mesh(net)
    # n keeps a way open to everyone without being asked
    for other in (m.a, m.b):
        reaches(other, m.n)
        m.n.ns.ping(other.ip4())
    m.a.ns.ping(m.b.ip4())


def test_after_idling_beyond_the_mapping(net):
    m = nat_mesh(net)
    for other in (m.a, m.b):
        m.n.ns.ping(other.ip4())
    idle(m, UDP_TIMEOUT_S + 5)
    # the open side first: only a mapping that was kept lets this in
    m.a.ns.ping(m.n.ip4())
    m.n.ns.ping(m.b.ip4())
    check(m.n.stats()["keepalives_sent"] > 0, "n sent keepalives")


def test_long_idle_five_minutes_behind_nat(net):
    m = nat_mesh(net)
    for other in (m.a, m.b):
        m.n.ns.ping(other.ip4())
    idle(m, 300)
    m.a.ns.ping(m.n.ip4())
    m.b.ns.ping(m.n.ip4())
    m.n.ns.ping(m.a.ip4())


test_long_idle_five_minutes_behind_nat.limit_s = 420


def test_no_path_between_two_behind_nat(net):
    m = nat_mesh(net)
    box = NatBox(net, m.switch, role="nat2", lan="10.78.0")
    m.add("n2", attach=box.attach)
    m.converge()
    reaches(m.n2, m.a)
    reaches(m.n, m.a)
    check(not m.n.ns.pings(m.n2.ip4()), "there is no way from n to n2")
    for one, other in ((m.n, "n2"), (m.n2, "n")):
        one.wait_state(other, "no path", timeout=30)
        reason = one.peers()[other]["reason"]
        check(reason and "NAT" in reason, "the reason names the NAT: %r" % reason)
        for command in ("peers", "status"):
            out = one.vanctl(command).stdout
            check("no path" in out and "NAT" in out, "vanctl %s on %s says it:\n%s" % (command, one.name, out))


def test_nodes_behind_the_same_nat(net):
    """Their private addresses are candidates too: they talk directly."""
    m = nat_mesh(net)
    m.add("n3", attach=m.box.attach)
    m.converge()
    m.n.ns.ping(m.n3.ip4())
    m.n3.ns.ping(m.n.ip4())
    check(m.n.peers()["n3"]["endpoint"].startswith("10.77.0."), "by the private way: %s" % m.n.peers()["n3"])


def test_advertised_address_behind_one_to_one_nat(net):
    """d is at 10.79.0.1, known outside as 192.0.2.150 (dnat and snat), and says so."""
    m = nat_mesh(net)
    box = NatBox(net, m.switch, role="static", lan="10.79.0", host=150, nat=False)
    box.ns.nft("""table ip nat {
        chain pre { type nat hook prerouting priority dstnat; iifname "wan" dnat to 10.79.0.1 }
        chain post { type nat hook postrouting priority srcnat; oifname "wan" snat to 192.0.2.150 } }""")
    d = m.add("d", attach=lambda ns: box.attach(ns, host=1), config={"advertise": ["192.0.2.150"]})
    m.converge()
    m.a.ns.ping(d.ip4())
    d.ns.ping(m.b.ip4())
    reaches(m.n, d)
    reaches(d, m.n)
    check(not m.a.peers()["d"]["nat"], "d can be reached: %s" % m.a.peers()["d"])
    check(m.a.peers()["d"]["endpoint"] == "192.0.2.150:4826", "a: %s" % m.a.peers()["d"])
    check(m.a.peers()["d"]["candidates"] == ["192.0.2.150:4826"], "only the advertised one is tried")


def test_nat_box_gets_another_address_and_ports(net):
    m = nat_mesh(net)
    m.n.ns.ping(m.a.ip4())
    m.a.ns.ping(m.n.ip4())
    before = m.a.peers()["n"]["endpoint"]
    # losing its address makes the box forget all mappings; the new ones are in another range
    box = m.box.ns
    box.ip("addr", "del", m.box.outside + "/24", "dev", "wan")
    m.box.masquerade(ports="30000-30999")
    box.ip("addr", "add", "192.0.2.200/24", "dev", "wan")
    started = time.monotonic()
    reaches(m.n, m.a, timeout=10)
    took = time.monotonic() - started
    print("n reached a again %.1f s after its NAT box had moved" % took)
    check(took < 10 * SLOW, "n reached a again after %.1f s" % took)
    reaches(m.a, m.n, timeout=10)
    reaches(m.b, m.n, timeout=30)
    after = m.a.peers()["n"]["endpoint"]
    check(after.startswith("192.0.2.200:30") and after != before, "the end point moved: %s" % after)
