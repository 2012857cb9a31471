# SPDX-License-Identifier: Apache-2.0
"""Three machines on one switch, each with a vand: one private Ethernet.

      console ──┐ 192.0.2.100, 2001:db8::100
                │
   a ────────[ sw ]──────── c          underlay  192.0.2.0/24, 2001:db8::/64
   .1           │           .3         overlay   172.16.1.0/24, fd00:1::/64 on vcider0
                b .2
"""

import os
import re

from vannet import BUILD, ETH_P_ARP, Capture, Mesh, Probe, check, ethernet, mac_bytes, wait_until

BROADCAST = "ff:ff:ff:ff:ff:ff"
MTU = 1360


def test_ping_all_pairs(net):
    m = Mesh(net)
    nodes = list(m.nodes.values())
    for a in nodes:
        check(a.network()["ifname"] == "vcider0", "the first interface is vcider0")
        check(a.ns.link("vcider0")["mtu"] == MTU, "the interface has the network's MTU")
        accept_ra = a.ns.run("cat", "/proc/sys/net/ipv6/conf/vcider0/accept_ra").stdout.strip()
        check(accept_ra == "0", "no member can advertise a route to the others: accept_ra is %s" % accept_ra)
        for b in nodes:
            if a is not b:
                # the first frames wait for the handshake: none may be lost
                a.ns.ping(b.ip4(), interval=0.02)
                a.ns.ping(b.ip6(), interval=0.02)
    addresses = [n.ip4() for n in nodes] + [n.ip6() for n in nodes] + [n.mac() for n in nodes]
    check(len(set(addresses)) == len(addresses), "every address is given once: %s" % addresses)


def test_peers_see_each_other_by_vanctl(net):
    m = Mesh(net, names=("a", "b"))
    m.connect()
    out = m.a.vanctl("ping", "b", "-c", "3", "-i", "50ms").stdout
    check("b" in out, "vanctl ping names the peer: %r" % out)
    table = m.a.vanctl("peers").stdout
    check(re.search(r"\bb\b.*connected", table), "vanctl peers:\n" + table)
    status = m.a.json("status")
    check(status["node"]["name"] == "a" and status["networks"][0]["peers_connected"] == 1, str(status))
    check(status["warnings"] == [], "no warnings where all is well: %s" % status["warnings"])
    macs = m.a.json("mac")["items"]
    check({r["mac"] for r in macs} >= {m.a.mac(), m.b.mac()}, "vanctl mac: %s" % macs)
    hosts = m.console.vanctl("hosts", "-n", "lan").stdout
    check("%s" % m.b.ip4() in hosts and re.search(r"\bb\b", hosts), "vanctl hosts: " + hosts)


def test_arp_broadcast(net):
    m = Mesh(net)
    seen = {n: Capture(m.nodes[n].ns, "vcider0") for n in "bc"}
    # by the kernel: a forgets b's MAC and has to ask for it
    m.a.ns.ip("neigh", "flush", "dev", "vcider0")
    m.a.ns.ping(m.b.ip4())
    row = m.a.ns.ip("neigh", "show", m.b.ip4(), "dev", "vcider0").stdout
    check(m.b.mac() in row, "a learnt b's MAC: " + row)
    # by hand: the same bytes at everybody
    request = mac_bytes("00:01:08:00:06:04") + b"\0\1" + mac_bytes(m.a.mac()) + bytes(4 + 6) + bytes([9, 9, 9, 9])
    frame = ethernet(BROADCAST, m.a.mac(), ETH_P_ARP, request.ljust(46, b"\0"))
    m.a.ns.packet_socket("vcider0").send(frame)
    for name, capture in seen.items():
        capture.wait(lambda f: f == frame, 5, "the ARP request of a arrives at %s unmodified" % name)


def unmodified(net, m, sender, receivers, frames, target):
    """Sends the frames by hand; they arrive byte for byte, exactly once, and in order: tagged ones
    excepted, for the kernel takes what follows the tag of a packet socket's frame for another tag
    and spreads them over the TAP's queues by random bytes."""
    tagged = frames[0][12:14] == b"\x81\0"
    order = sorted if tagged else list
    marker = frames[0][14:30]
    mine = lambda f, outgoing: f[6:12] == mac_bytes(sender.mac()) and (marker in f[:60] or f in wanted)
    wanted = set(frames)
    seen = [(r, Capture(r.ns, "vcider0", keep=mine)) for r in receivers]
    sock = sender.ns.packet_socket("vcider0")
    for frame in frames:
        sock.send(frame)
    for receiver, capture in seen:
        wait_until(lambda: len(capture.snapshot()) >= len(frames), 10,
                   lambda: "%s got %d of %d frames to %s" % (
                       receiver.name, len(capture.snapshot()), len(frames), target))
        got = capture.stop()
        check(order(got) == order(frames), lambda: "%s got frames to %s that differ: lengths sent %s, received %s"
              % (receiver.name, target, [len(f) for f in frames], [len(f) for f in got]))


# Lengths of Ethernet payloads: from the 64-byte frame (with its checksum) to the full MTU.
PAYLOADS = [46, 47, 63, 64, 100, 255, 256, 500, 576, 1000, 1279, 1280, 1359, 1360]


def test_other_protocols_unmodified(net):
    m = Mesh(net)
    m.connect()
    for vlan in (None, 0x2000 | 7, 4094):
        for target, receivers in ((m.b.mac(), [m.b]), (BROADCAST, [m.b, m.c]),
                                  ("33:33:00:00:00:01", [m.b, m.c])):
            frames = [ethernet(target, m.a.mac(), 0x88B5, os.urandom(n), vlan) for n in PAYLOADS]
            unmodified(net, m, m.a, receivers, frames, "%s, VLAN %s" % (target, vlan))


def test_every_length_by_ping(net):
    m = Mesh(net, names=("a", "b"))
    m.connect()
    for address, headers in ((m.b.ip4(), 28), (m.b.ip6(), 48)):
        for size in (18, 36, 500, 1000, MTU - headers - 1, MTU - headers):
            m.a.ns.ping(address, count=2, interval=0.01, size=size, extra=("-M", "do"))


def test_mixed_builds_talk_to_each_other(net):
    """Every cipher back end with every other, and a node with all offloads switched off."""
    off = {"tap_offload": False, "udp_gso": False, "udp_gro": False, "udp_super_frames": False}
    m = Mesh(net, names=())
    m.add("sodium", config={"cipher": "sodium"})
    m.add("openssl", config={"cipher": "openssl"})
    m.add("auto")
    m.add("plain", config=off)
    m.converge()
    m.connect()
    check(m.sodium.status()["cipher"] == "sodium" and m.openssl.status()["cipher"] == "openssl",
          "status names the cipher in use")
    for a in m.nodes.values():
        for b in m.nodes.values():
            if a is not b:
                tcp([(a, b, b.ip4())], megabytes=8)


def tcp(flows, megabytes, timeout=100):
    """Sends bytes made from a seed from a to b over TCP in each (a, b, address), all at once, and
    compares the checksums of both ends."""
    running = []
    for i, (a, b, address) in enumerate(flows):
        sink = Probe(b.ns, "tcp-sink", address, 5001 + i, "--timeout", timeout, ready=True)
        source = Probe(a.ns, "tcp-source", address, 5001 + i, "--bytes", megabytes << 20,
                       "--seed", i + 1, "--timeout", timeout)
        running.append((sink, source))
    for sink, source in running:
        sent, received = source.result(timeout + 10), sink.result(timeout + 10)
        check(sent["bytes"] == received["bytes"] == megabytes << 20, "%s %s" % (sent, received))
        check(sent["checksum"] == received["checksum"], "what arrives is what was sent: %s %s"
              % (sent, received))


def test_tcp_200_megabytes_both_ways_at_once(net):
    m = Mesh(net, names=("a", "b"))
    m.connect()
    tcp([(m.a, m.b, m.b.ip4()), (m.b, m.a, m.a.ip4())], megabytes=200)
    tcp([(m.a, m.b, m.b.ip6()), (m.b, m.a, m.a.ip6())], megabytes=20)
    for node in (m.a, m.b):
        stats = node.stats()
        check(stats["superframes_from_tap"] > 0, "%s cut super-frames: %s" % (node.name, stats))
        check(stats["superframes_to_tap"] > 0, "%s joined segments: %s" % (node.name, stats))
        # INITs go to every candidate at once: what comes second by IPv6 or IPv4 is an old one; and
        # those of both nodes may have crossed
        allowed = {"no_peer", "stale_init", "crossed_init"}
        check(set(node.drops()) <= allowed, "%s dropped nothing: %s" % (node.name, node.drops()))


def test_pre_shared_key(net):
    """Nodes with the same psk_file talk; one with another does not get through, and says so."""
    paths = []
    for digit in "12":
        path = os.path.join(net.directory("psk" + digit), "psk")
        with open(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600), "w") as f:
            f.write(digit * 64 + "\n")
        paths.append(path)
    m = Mesh(net, names=())
    for name, path in (("a", paths[0]), ("b", paths[0]), ("c", paths[1])):
        m.add(name, config={"psk_file": path})
    m.converge()
    m.a.ns.ping(m.b.ip4())
    check(not m.a.ns.pings(m.c.ip4(), wait=2), "another pre-shared key keeps c out")
    wait_until(lambda: m.c.drops().get("bad_handshake") or m.a.drops().get("bad_handshake"), 5,
               lambda: "the failed handshake is counted: %s %s" % (m.a.drops(), m.c.drops()))


def test_ipv6_only_underlay(net):
    m = Mesh(net, v4=False)
    m.connect()
    for node in m.nodes.values():
        for peer in node.peers().values():
            check(peer["endpoint"].startswith("[2001:db8:"), "the path is IPv6: %s" % peer)
    tcp([(m.a, m.b, m.b.ip4()), (m.b, m.c, m.c.ip6())], megabytes=20)


def test_programs_say_their_version(net):
    for program in ("vand/vand", "console-api/console-api"):
        out = net.host(os.path.join(BUILD, program), "--version").stdout
        check(re.fullmatch(r"\S+ \d+\.\d+\.\d+\n", out), "%s --version: %r" % (program, out))
