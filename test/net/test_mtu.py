# SPDX-License-Identifier: Apache-2.0
"""Full-size frames over underlays that leave little room.

   a ──[ sw, MTU 1500 or 1460 ]── b
"""

import os

from vannet import Capture, Mesh, check, ethernet, van_payload, wait_until
from test_mesh import tcp

MTU = 1360
# 38 around the frame, 14 of Ethernet, 8 of UDP, 20 of IPv4
OVERHEAD4 = 80


def not_fragmented(node):
    stats = node.stats()
    check(stats["sent_fragmentable"] == 0, "%s had to send fragments: %s" % (node.name, stats))
    check(not {"too_big", "send_failed"} & set(node.drops()), "%s dropped nothing: %s" % (node.name, node.drops()))


def test_tagged_full_size_frame_over_ipv6(net):
    m = Mesh(net, names=("a", "b"), v4=False)
    m.connect()
    wire = Capture(m.a.ns, "eth0", keep=lambda f, out: f[12:14] == b"\x86\xdd")
    inside = Capture(m.b.ns, "vcider0")
    frame = ethernet(m.b.mac(), m.a.mac(), 0x88B5, os.urandom(MTU), vlan=100)
    m.a.ns.packet_socket("vcider0").send(frame)
    inside.wait(lambda f: f == frame, 5, "the tagged frame of full size arrives unmodified")
    # 100 bytes over IPv6, 4 more for the tag (design §4.1)
    lengths = [len(f) - 14 for f in wire.stop()]
    check(MTU + 100 + 4 in lengths, "it is %d bytes on the underlay: %s" % (MTU + 104, lengths))
    m.a.ns.ping(m.b.ip4(), size=MTU - 28, extra=("-M", "do"))
    m.b.ns.ping(m.a.ip6(), size=MTU - 48, extra=("-M", "do"))
    not_fragmented(m.a)
    not_fragmented(m.b)


def test_full_size_tcp_over_1460(net):
    m = Mesh(net, names=("a", "b"), mtu=1460, v6=False)
    m.connect()
    m.a.ns.ping(m.b.ip4(), size=MTU - 28, extra=("-M", "do"))
    tcp([(m.a, m.b, m.b.ip4()), (m.b, m.a, m.a.ip4())], megabytes=50)
    for node in (m.a, m.b):
        not_fragmented(node)
        check(node.status()["warnings"] == [], "nothing to warn of: %s" % node.status()["warnings"])
    # the wire carried them whole: the inner packets had the network's full MTU
    wire = Capture(m.b.ns, "eth0", keep=lambda f, out: not out and van_payload(f) is not None)
    m.a.ns.ping(m.b.ip4(), size=MTU - 28)
    check(max(len(f) - 14 for f in wire.stop()) == MTU + OVERHEAD4, "a full packet is %d bytes outside"
          % (MTU + OVERHEAD4))


def test_mtu_too_large_for_the_underlay(net):
    """A network of 1400 on 1460 bytes: everything arrives, or is refused with the size that does; counted and
    warned about."""
    m = Mesh(net, names=("a", "b"), mtu=1460, v6=False, options={"mtu": 1400})
    m.connect()
    check(m.a.ns.link("vcider0")["mtu"] == 1400, "the interface has the MTU that was asked for")
    for a, b in ((m.a, m.b), (m.b, m.a)):
        wait_until(lambda: a.peers()[b.name]["path_mtu_proven"], 10, "%s knows the path" % a.name)
        out = a.ns.run("ping", "-n", "-c", "1", "-W", "2", "-M", "do", "-s", "1372", b.ip4(), ok=False)
        check("mtu = 1380" in out.stdout, "1400 bytes are too big, 1380 are not:\n" + out.stdout + out.stderr)
        a.ns.ping(b.ip4(), size=1380 - 28, extra=("-M", "do"))
        a.ns.ip("route", "flush", "cache")
        a.ns.ping(b.ip4(), size=1400 - 28, extra=("-M", "dont"))
    tcp([(m.a, m.b, m.b.ip4()), (m.b, m.a, m.a.ip4())], megabytes=5)
    for node in (m.a, m.b):
        stats = node.stats()
        check(stats["frames_cut"] > 0 and stats["too_big_answered"] > 0 and stats["mss_clamped"] > 0,
              "%s counts it: %s" % (node.name, stats))
        not_fragmented(node)
        warnings = node.status()["warnings"]
        check(any("1400" in w and "1460" in w or "mtu" in w.lower() for w in warnings),
              "%s warns of it: %s" % (node.name, warnings))
        out = node.vanctl("status")
        check("mtu" in (out.stdout + out.stderr).lower() and "eth0" in out.stdout + out.stderr,
              "vanctl status shows the warning:\n" + out.stdout)


def test_without_discovery_the_kernel_fragments(net):
    m = Mesh(net, names=("a", "b"), mtu=1460, v6=False, options={"mtu": 1400},
             config={"pmtu_discovery": False})
    m.connect()
    m.a.ns.ping(m.b.ip4(), size=1400 - 28, extra=("-M", "do"))
    m.b.ns.ping(m.a.ip4(), size=1400 - 28, extra=("-M", "do"))
    tcp([(m.a, m.b, m.b.ip4()), (m.b, m.a, m.a.ip4())], megabytes=5)
    for node in (m.a, m.b):
        check(node.stats()["sent_fragmentable"] > 0, "%s counts it: %s" % (node.name, node.stats()))
        check(any("1460" in w for w in node.status()["warnings"]), "%s warns: %s" % (node.name, node.status()))


def test_mtu_of_the_underlay_changes(net):
    m = Mesh(net, names=("a", "b"), v6=False)
    m.connect()
    for mtu, warned in ((1400, True), (1500, False)):
        for node in (m.a, m.b):
            node.ns.ip("link", "set", "eth0", "mtu", str(mtu))
        wait_until(lambda: bool(m.a.status()["warnings"]) == bool(m.b.status()["warnings"]) == warned, 15,
                   "status warns on both, or does not any more")
        m.a.ns.ping(m.b.ip4(), size=MTU - 28, count=5, extra=("-M", "dont"))
        tcp([(m.a, m.b, m.b.ip4())], megabytes=2)
        for node, peer in ((m.a, "b"), (m.b, "a")):
            wait_until(lambda: node.peers()[peer]["path_mtu"] == mtu and node.peers()[peer]["path_mtu_proven"], 10,
                       lambda: "%s finds a path MTU of %d: %s" % (node.name, mtu, node.peers()))
