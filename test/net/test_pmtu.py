# SPDX-License-Identifier: Apache-2.0
"""Paths that are narrower somewhere in the middle than at their ends, and say nothing about it.

   console ──┐                         narrow
   a ─────[ sw ]── r1 ══════════════════════════════ r2 ──[ far ]── b
              .254    10.99.0.1  MTU as told   10.99.0.2   .254

   sw: 192.0.2.0/24, 2001:db8::/64      far: 198.51.100.0/24, 2001:db8:2::/64, both MTU 1500
   The routers send no "too big" and no "fragmentation needed".
"""

import os
import re
import socket
import struct
import time

from vannet import (Capture, Mesh, Namespace, Probe, Switch, check, ethernet, holds_for, mac_bytes,
                    wait_until)

MTU = 1360


class Narrow:
    """Two nodes with the narrow path between them, which takes packets of `mtu` bytes."""

    def __init__(self, net, mtu, v6=False, config=None, options=None):
        self.net, self.overhead = net, 100 if v6 else 80
        self.mesh = m = Mesh(net, names=(), v4=not v6, v6=v6, options=options)
        self.far = Switch(net, "far", v4=None if v6 else "198.51.100", v6="2001:db8:2:" if v6 else None)
        self.r1, self.r2 = Namespace(net, "r1"), Namespace(net, "r2")
        m.switch.attach(self.r1, "lan", host=254)
        self.far.attach(self.r2, "lan", host=254)
        self.r1.ip("link", "add", "narrow", "type", "veth", "peer", "name", "narrow", "netns", self.r2.name)
        family, prefix = ("-6", "fd99::%d/64") if v6 else ("-4", "10.99.0.%d/24")
        nets = ("2001:db8::/64", "2001:db8:2::/64") if v6 else ("192.0.2.0/24", "198.51.100.0/24")
        gateways = ("2001:db8::fe", "2001:db8:2::fe") if v6 else ("192.0.2.254", "198.51.100.254")
        for i, router in ((1, self.r1), (2, self.r2)):
            router.ip("addr", "add", prefix % i, "dev", "narrow", *(["nodad"] if v6 else []))
            router.ip("link", "set", "narrow", "up")
            router.sysctl("net/ipv4/ip_forward", 1)
            router.sysctl("net/ipv6/conf/all/forwarding", 1)
            router.ip(family, "route", "add", nets[2 - i], "via", (prefix % (3 - i)).split("/")[0])
            router.nft("""table inet silent { chain out { type filter hook output priority 0;
                              icmp type destination-unreachable drop
                              icmpv6 type packet-too-big drop } }""")
        self.set_mtu(mtu)
        m.console.ns.ip(family, "route", "add", nets[1], "via", gateways[0])

        def plug(switch, gateway):
            def attach(ns):
                switch.attach(ns)
                ns.ip(family, "route", "add", "default", "via", gateway)
            return attach

        self.a = m.add("a", config=config, attach=plug(m.switch, gateways[0]))
        self.b = m.add("b", config=config, attach=plug(self.far, gateways[1]))
        m.converge()
        self.pairs = [(self.a, self.b), (self.b, self.a)]

    def set_mtu(self, mtu):
        for router in (self.r1, self.r2):
            router.ip("link", "set", "narrow", "mtu", str(mtu))

    def wait_mtu(self, mtu, timeout=20):
        """Both have found it out."""
        for node, peer in self.pairs:
            wait_until(lambda: node.peers()[peer.name]["path_mtu"] == mtu
                       and node.peers()[peer.name]["path_mtu_proven"], timeout,
                       lambda: "%s finds a path MTU of %d: %s" % (node.name, mtu, node.peers()[peer.name]))

    def nothing_lost(self):
        for node in (self.a, self.b):
            check(not {"too_big", "send_failed", "fragment_bad", "fragment_timeout", "fragment_evicted"}
                  & set(node.drops()), "%s lost nothing: %s" % (node.name, node.drops()))
            check(node.stats()["sent_fragmentable"] == 0, "%s never needed IP fragments" % node.name)


def tcp(a, b, address, megabytes, timeout):
    """Seconds that it took."""
    sink = Probe(b.ns, "tcp-sink", address, 5001, "--timeout", timeout, ready=True)
    began = time.monotonic()
    source = Probe(a.ns, "tcp-source", address, 5001, "--bytes", megabytes << 20, "--seed", 1,
                   "--timeout", timeout)
    sent, received = source.result(timeout + 5), sink.result(timeout + 5)
    check(sent["bytes"] == received["bytes"] == megabytes << 20 and sent["checksum"] == received["checksum"],
          "what arrives is what was sent: %s %s" % (sent, received))
    return time.monotonic() - began


def too_big(ns, address, size, mtu, extra=()):
    """A ping with DF gets the answer with that MTU."""
    out = ns.run("ping", "-n", "-c", "2", "-i", "0.2", "-W", "2", "-M", "do", "-s", str(size), *extra,
                 address, ok=False)
    said = re.findall(r"mtu ?[=:] ?(\d+)", out.stdout + out.stderr)
    check(said and set(said) == {str(mtu)}, "a packet of %d bytes to %s is too big, the MTU %d:\n%s%s"
          % (size, address, mtu, out.stdout, out.stderr))


def unmodified(a, b, frame, what):
    seen = Capture(b.ns, "vcider0", keep=lambda f, out: f == frame)
    a.ns.packet_socket("vcider0").send(frame)
    seen.wait(lambda f: True, 5, "%s of %d bytes arrives unmodified" % (what, len(frame)))
    check(len(seen.stop()) == 1, "%s arrives once" % what)


def everything_arrives(n, mtu):
    """Full-size frames of all kinds, both ways, over a path that takes less."""
    inner = mtu - n.overhead
    for a, b in n.pairs:
        too_big(a.ns, b.ip4(), MTU - 28, inner)
        too_big(a.ns, b.ip6(), MTU - 48, inner)
        a.ns.ping(b.ip4(), size=inner - 28, extra=("-M", "do"))
        a.ns.ping(b.ip6(), size=inner - 48, extra=("-M", "do"))
        # without DF nobody is asked to send less
        a.ns.ip("route", "flush", "cache")
        a.ns.ping(b.ip4(), size=MTU - 28, count=5, extra=("-M", "dont"))
        # by IPv6 the source is asked, once, and cuts by itself
        a.ns.run("ping", "-n", "-c", "1", "-W", "1", "-s", str(MTU - 48), b.ip6(), ok=False)
        a.ns.ping(b.ip6(), size=MTU - 48, count=5, extra=("-M", "dont"))
        for vlan in (None, 100):
            for length in (inner + 1, MTU - 1, MTU):
                unmodified(a, b, ethernet(b.mac(), a.mac(), 0x88B5, os.urandom(length), vlan),
                           "a frame that is not IP (VLAN %s)" % vlan)
        unmodified(a, b, ethernet("ff:ff:ff:ff:ff:ff", a.mac(), 0x88B5, os.urandom(MTU)), "a broadcast")
        stats = a.stats()
        check(stats["frames_cut"] > 0 and stats["frames_rejoined"] > 0 and stats["too_big_answered"] >= 2,
              "%s counts it: %s" % (a.name, stats))
    n.nothing_lost()


def test_black_hole(net):
    n = Narrow(net, 1400)
    # From the first byte on: nothing is known yet.
    seconds = tcp(n.a, n.b, n.b.ip4(), 20, 30)
    check(seconds < 15, "the first 20 MB take %.1f s" % seconds)
    n.mesh.connect()
    n.wait_mtu(1400)
    for a, b in n.pairs:
        check(tcp(a, b, b.ip4(), 50, 30) < 20, "TCP is fast from %s to %s" % (a.name, b.name))
        tcp(a, b, b.ip6(), 10, 30)
        check(a.stats()["mss_clamped"] >= 1, "%s lowers the MSS of SYNs: %s" % (a.name, a.stats()))
        out = a.vanctl("peers").stdout
        check(re.search(r"\bMTU\b", out) and re.search(r"\b1400\b", out), "vanctl peers shows it:\n" + out)
        warnings = a.status()["warnings"]
        check(any(b.name in w and "1400" in w for w in warnings), "status warns of it: %s" % warnings)
    everything_arrives(n, 1400)


def test_black_hole_over_ipv6(net):
    n = Narrow(net, 1450, v6=True)
    n.mesh.connect()
    n.wait_mtu(1450)
    for a, b in n.pairs:
        tcp(a, b, b.ip4(), 20, 30)
    everything_arrives(n, 1450)


def test_too_small_for_ipv6_inside(net):
    """Nobody may be told less than 1280 by IPv6, so it goes in parts: nothing gets lost."""
    n = Narrow(net, 1300)
    n.mesh.connect()
    n.wait_mtu(1300)
    for a, b in n.pairs:
        too_big(a.ns, b.ip4(), MTU - 28, 1220)
        for size in (1232, MTU - 48):
            a.ns.ping(b.ip6(), size=size, extra=("-M", "do"))
        tcp(a, b, b.ip6(), 10, 30)
    n.nothing_lost()


def test_encrypted_already(net):
    """Parts in a network that is authenticated only."""
    n = Narrow(net, 1400, options={"encryption": "integrity"})
    n.mesh.connect()
    n.wait_mtu(1400)
    for a, b in n.pairs:
        unmodified(a, b, ethernet(b.mac(), a.mac(), 0x88B5, os.urandom(MTU)), "a frame")
        a.ns.ping(b.ip4(), size=MTU - 28, extra=("-M", "dont"))
    n.nothing_lost()


def test_path_changes(net):
    """A path gets narrower under traffic, and wider again."""
    n = Narrow(net, 1500, config={"pmtu_raise_s": 5})
    n.mesh.connect()
    n.wait_mtu(1500)
    check(n.a.status()["warnings"] == [] and n.b.status()["warnings"] == [], "nothing to warn of")
    # idle: no probes
    probes = [node.stats()["pmtu_probes"] for node in (n.a, n.b)]
    holds_for(lambda: [node.stats()["pmtu_probes"] for node in (n.a, n.b)] == probes, 3,
              "an idle session is not probed")
    port = 6000
    for mtu, limit in ((1400, 20), (1350, 20), (1500, 25)):
        n.set_mtu(mtu)
        flows = []
        for a, b in n.pairs:
            port += 1  # the child of a sink that was killed goes on listening
            flows.append(Probe(b.ns, "tcp-sink", b.ip4(), port, "--timeout", 100, ready=True))
            flows.append(Probe(a.ns, "tcp-source", b.ip4(), port, "--bytes", 8 << 30, "--timeout", 100))
        n.wait_mtu(mtu, limit)
        for flow in flows:
            flow.process.kill()
        for a, b in n.pairs:
            check(tcp(a, b, b.ip4(), 20, 30) < 15, "TCP at MTU %d" % mtu)
    n.nothing_lost()


def test_switched_off(net):
    n = Narrow(net, 1500, config={"pmtu_discovery": False})
    n.mesh.connect()
    for a, b in n.pairs:
        peer = a.peers()[b.name]
        check(peer["path_mtu"] == 1500 and not peer["path_mtu_proven"], "the interface's, not proven: %s" % peer)
        check(a.stats()["pmtu_probes"] == 0, "no probes: %s" % a.stats())
        a.ns.ping(b.ip4(), size=MTU - 28, extra=("-M", "do"))


# -- ECN and DSCP ---------------------------------------------------------------------------------


def outer_tos(n, ns, action):
    """The TOS bytes of what goes from a to b outside while action() runs."""
    wire = Capture(n.a.ns, "eth0", keep=lambda f, out: out and f[12:14] == b"\x08\x00" and f[23] == 17)
    action()
    return {f[15] for f in wire.stop() if struct.unpack("!H", f[36:38])[0] == 4826 and f[42] == 4}


def inner_tos(node, action):
    """The TOS bytes of ICMP echo requests that come out of the node's TAP."""
    seen = Capture(node.ns, "vcider0", keep=lambda f, out: not out and f[12:14] == b"\x08\x00"
                   and f[23] == 1 and f[34] == 8)
    action()
    return {f[15] for f in seen.stop()}


def test_ecn(net):
    n = Narrow(net, 1500)
    n.mesh.connect()
    ping = lambda tos, ok=True: (n.a.ns.ping(n.b.ip4(), count=2, extra=("-Q", str(tos))) if ok else
                                 n.a.ns.run("ping", "-n", "-c", "2", "-i", "0.2", "-W", "1", "-Q", str(tos),
                                            n.b.ip4(), ok=False))
    # inner ECN goes out, DSCP does not (EF is 0xb8)
    for tos, outside in ((0, 0), (1, 1), (2, 2), (3, 3), (0xB8, 0), (0xBA, 2)):
        seen = outer_tos(n, n.a, lambda: ping(tos))
        check(outside in seen and seen <= {0, outside}, "inner TOS %#x is %#x outside: %s" % (tos, outside, seen))
    # what a router marks comes in; what knows no ECN is dropped
    n.r1.nft("""table ip marks { chain passing { type filter hook forward priority 0;
                    udp dport 4826 ip ecn set ce } }""")
    for tos, inside in ((1, 3), (2, 3), (3, 3), (0xBA, 0xBB)):
        seen = inner_tos(n.b, lambda: ping(tos))
        check(seen == {inside}, "inner TOS %#x arrives as %#x: %s" % (tos, inside, seen))
    before = n.b.drops().get("ce_not_ect", 0)
    check(inner_tos(n.b, lambda: ping(0, ok=False)) == set(), "marked, and not capable: dropped")
    check(n.b.drops()["ce_not_ect"] >= before + 2, "counted: %s" % n.b.drops())
    n.r1.nft("delete table ip marks")
    # TCP negotiates ECN inside, and is told of congestion outside: it slows down and goes on
    for node in (n.a, n.b):
        node.ns.sysctl("net/ipv4/tcp_ecn", 1)
    n.r1.nft("""table ip marks { chain passing { type filter hook forward priority 0;
                    udp dport 4826 ip ecn ect0 numgen random mod 50 0 ip ecn set ce } }""")
    marked = Capture(n.b.ns, "vcider0", keep=lambda f, out: f[12:14] == b"\x08\x00" and f[23] == 6
                     and (f[15] & 3 == 3 if not out else f[47] & 0x40))
    tcp(n.a, n.b, n.b.ip4(), 20, 60)
    frames = marked.stop()
    check(any(f[15] & 3 == 3 for f in frames), "marked segments arrive")
    check(any(f[15] & 3 != 3 for f in frames), "the receiver echoes it (ECE)")


def packets(ns, name):
    """What a named counter of nftables has counted."""
    return int(re.search(r"packets (\d+)", ns.run("nft", "list", "counter", "ip", "marks", name).stdout).group(1))


def test_marks_on_joined_datagrams(net):
    """The kernel joins datagrams on their way in (GRO), but not those with different marks."""
    n = Narrow(net, 1500, config={"udp_super_frames": False, "workers": 1})
    n.mesh.connect()
    # Bursts that a's kernel cuts; and veth joins what comes from a device that does not cut.
    n.a.ns.run("ethtool", "-K", "eth0", "tx-udp-segmentation", "off")
    n.b.ns.run("ethtool", "-K", "eth0", "gro", "on")
    n.far.ns.run("ethtool", "-K", "p1", "tso", "off")
    n.a.ns.nft("""table ip marks { chain out { type filter hook output priority 0;
                      oifname "vcider0" udp dport 7007 ip ecn set ect0 } }""")
    n.r1.nft("""table ip marks { counter marked { }
                    chain passing { type filter hook forward priority 0;
                    iifname "lan" udp dport 4826 ip ecn ect0 numgen inc mod 7 < 2 counter name marked ip ecn set ce } }""")
    n.b.ns.nft("""table ip marks { counter arrived { }
                      counter marked { }
                      chain in { type filter hook input priority 0;
                      iifname "vcider0" udp dport 7007 counter name arrived
                      iifname "vcider0" udp dport 7007 ip ecn ce counter name marked } }""")
    before = n.b.stats()
    # as fast as it can: what a's TAP has no room for is not the question
    Probe(n.a.ns, "stream-send", n.b.ip4(), 7007, "--count", 100000, "--len", 200, "--pps", 200000).result(60)
    wait_until(lambda: n.b.stats()["datagrams_received"] == n.a.stats()["datagrams_sent"]
               and packets(n.r1, "marked") == packets(n.b.ns, "marked"), 20,
               lambda: "every mark arrives: %d of %d" % (packets(n.b.ns, "marked"), packets(n.r1, "marked")))
    after = n.b.stats()
    joined = (after["datagrams_received"] - before["datagrams_received"]) / (after["receives"] - before["receives"])
    marked, inside, arrived = packets(n.r1, "marked"), packets(n.b.ns, "marked"), packets(n.b.ns, "arrived")
    print("%d of %d marked on the way, %d inside, %.1f datagrams a receive" % (marked, arrived, inside, joined))
    check(inside == marked > arrived / 7, "%d marks on the way, %d inside of %d" % (marked, inside, arrived))
    check(joined > 1.1, "the kernel joined datagrams: %.1f a receive" % joined)


def test_dscp_and_no_ecn(net):
    n = Narrow(net, 1500, config={"copy_dscp": True, "ecn": False})
    n.mesh.connect()
    for tos, outside in ((0xB8, 0xB8), (0xBA, 0xB8), (2, 0)):
        seen = outer_tos(n, n.a, lambda: n.a.ns.ping(n.b.ip4(), count=2, extra=("-Q", str(tos))))
        check(outside in seen and seen <= {0, outside}, "inner TOS %#x is %#x outside: %s" % (tos, outside, seen))
    n.r1.nft("""table ip marks { chain passing { type filter hook forward priority 0;
                    udp dport 4826 ip ecn set ce } }""")
    seen = inner_tos(n.b, lambda: n.a.ns.ping(n.b.ip4(), count=2, extra=("-Q", "2")))
    check(seen == {2}, "marks outside are nobody's business: %s" % seen)
