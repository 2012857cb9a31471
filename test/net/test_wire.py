# SPDX-License-Identifier: Apache-2.0
"""What leaves the tunnel is right on the wire, not only for the machine that it leaves it on.

Checksums stay partial in the tunnel (the AEAD protects the frame), and local delivery never looks
at them. So the receiver passes its frames on, through a bridge, to a machine behind it, over a
cable without any offloads: there the kernel has to write out every checksum and cut every
super-frame, from what vand told it of them.

                             ┌──────────── b ────────────┐
   a ──[ sw ]── eth0 ── vand │ vcider0 ──[ br1 ]── out ──┼── in     host: b's MAC and addresses
                             └───────────────────────────┘

The registry fixed b's MAC and addresses; they are moved from vcider0 to `host`, so that whatever is
for b crosses the bridge, and what host sends has the source MAC that b may use.
"""

import os
import socket
import struct

import vannet
from vannet import (PACKET_VNET_HDR, SOL_PACKET, Capture, Mesh, Namespace, check, checksum_errors,
                    ethernet, mac_bytes, pseudo_sum, wait_until)


class Behind:
    """The mesh with `host` behind b."""

    def __init__(self, net, **options):
        self.mesh = m = Mesh(net, names=("a", "b"), **options)
        self.a, self.b = m.a, m.b
        m.connect()
        self.mac, self.ip4, self.ip6 = self.b.mac(), self.b.ip4(), self.b.ip6()
        self.host = Namespace(net, "host")
        b = self.b.ns
        b.ip("link", "add", "br1", "type", "bridge", "mcast_snooping", "0")
        b.ip("link", "add", "out", "mtu", "1360", "type", "veth", "peer", "name", "in",
             "mtu", "1360", "netns", self.host.name)
        for ns, ifname in ((b, "out"), (self.host, "in")):
            for feature in ("tx", "rx", "sg", "tso", "gso", "gro", "lro"):
                ns.run("ethtool", "-K", ifname, feature, "off", ok=False)
        features = b.run("ethtool", "-k", "out").stdout
        for name in ("tx-checksumming", "tcp-segmentation-offload", "generic-segmentation-offload"):
            check(name + ": off" in features, "%s is off:\n%s" % (name, features))
        b.ip("addr", "flush", "dev", "vcider0")
        b.ip("link", "set", "vcider0", "address", "02:00:00:00:00:99")
        for port in ("vcider0", "out"):
            b.ip("link", "set", port, "master", "br1")
        for port in ("vcider0", "out", "br1"):
            b.ip("link", "set", port, "up")
        self.host.ip("link", "set", "in", "address", self.mac)
        self.host.ip("addr", "add", self.ip4 + "/24", "dev", "in")
        self.host.ip("addr", "add", self.ip6 + "/64", "dev", "in", "nodad")
        self.host.ip("link", "set", "in", "up")
        self.host.ping(self.a.ip4())
        self.host.ping(self.a.ip6())

    def capture(self):
        """What arrives at the host from a."""
        sender = mac_bytes(self.a.mac())
        return Capture(self.host, "in", keep=lambda f, out: not out and f[6:12] == sender)


def all_right(frames, protocol, what, at_least=1):
    """Every frame of the protocol has right checksums; there are enough of them."""
    looked_at = 0
    for frame in frames:
        check(len(frame) <= 1360 + 18, "%s: no frame is above the MTU: %d" % (what, len(frame)))
        errors = checksum_errors(frame)
        if errors is None or protocol(frame) is False:
            continue
        looked_at += 1
        check(errors == [], lambda: "%s: frame of %d bytes: %s: %s" % (what, len(frame), errors, frame[:80].hex()))
    check(looked_at >= at_least, "%s: only %d frames to look at" % (what, looked_at))
    return looked_at


def of(ethertype, protocol):
    at = {0x0800: 23, 0x86DD: 20}[ethertype]
    return lambda f: f[12:14] == struct.pack("!H", ethertype) and f[at] == protocol


def exchange_tcp(scene, family, source, target, megabytes):
    """A TCP stream from a to the host behind b: the host's kernel checks it by software."""
    listener = scene.host.socket(family, socket.SOCK_STREAM)
    listener.bind((target, 7000))
    listener.listen(1)
    client = scene.a.ns.socket(family, socket.SOCK_STREAM)
    client.settimeout(60)
    client.connect((target, 7000))
    server, _ = listener.accept()
    server.settimeout(60)
    block = os.urandom(1 << 20)
    import threading
    sender = threading.Thread(target=lambda: [client.sendall(block) for _ in range(megabytes)], daemon=True)
    sender.start()
    for _ in range(megabytes):
        got = b""
        while len(got) < len(block):
            piece = server.recv(len(block) - len(got))
            check(piece, "the stream goes on")
            got += piece
        check(got == block, "what arrives is what was sent")
    sender.join()
    # and something back: from the host through the bridge into the tunnel
    server.sendall(block[:100000])
    got = b""
    while len(got) < 100000:
        got += client.recv(100000)
    check(got == block[:100000], "what comes back is what was sent")
    client.close()
    server.close()


def test_tcp_cut_and_coalesced(net):
    s = Behind(net)
    for family, ethertype, target in ((socket.AF_INET, 0x0800, s.ip4), (socket.AF_INET6, 0x86DD, s.ip6)):
        before = s.a.stats()["superframes_from_tap"], s.b.stats()["superframes_to_tap"]
        capture = s.capture()
        exchange_tcp(s, family, None, target, 4)
        frames = capture.stop()
        n = all_right(frames, of(ethertype, 6), "TCP over %#06x" % ethertype, at_least=1000)
        cut = s.a.stats()["superframes_from_tap"] - before[0]
        joined = s.b.stats()["superframes_to_tap"] - before[1]
        print("%#06x: %d segments right, from %d super-frames that were cut, over %d that were joined"
              % (ethertype, n, cut, joined))
        check(cut > 0 and joined > 0, "frames were cut and joined")


def test_udp_small_large_and_joined(net):
    s = Behind(net)
    for family, ethertype, target in ((socket.AF_INET, 0x0800, s.ip4), (socket.AF_INET6, 0x86DD, s.ip6)):
        headers = 28 if family == socket.AF_INET else 48
        sock = s.a.ns.socket(family, socket.SOCK_DGRAM)
        receiver = s.host.socket(family, socket.SOCK_DGRAM)
        receiver.setsockopt(socket.SOL_SOCKET, vannet.SO_RCVBUFFORCE, 16 << 20)
        receiver.bind((target, 7001))
        receiver.settimeout(10)
        capture = s.capture()
        # every size once, then runs of equal ones, which may be joined on the way
        sizes = [0, 1, 2, 63, 64, 65, 999, 1000, 1360 - headers - 1, 1360 - headers]
        sizes += [700] * 200 + [1360 - headers] * 100 + [1] * 50
        for n in sizes:
            payload = os.urandom(n)
            sock.sendto(payload, (target, 7001))
            check(receiver.recv(65536) == payload, "a datagram of %d bytes arrives" % n)
        sent = []
        for n in [512] * 400:
            payload = os.urandom(n)
            sent.append(payload)
            sock.sendto(payload, (target, 7001))
        check([receiver.recv(65536) for _ in sent] == sent, "a burst of 400 arrives in order")
        # UDP_SEGMENT: one super-frame of the kernel's own making, where it has USO on a TAP
        sock.setsockopt(socket.SOL_UDP if hasattr(socket, "SOL_UDP") else 17, 103, 1000)
        block = os.urandom(20500)
        sock.sendto(block, (target, 7001))
        got = b""
        while len(got) < len(block):
            got += receiver.recv(65536)
        check(got == block, "a UDP super-frame arrives in its segments")
        frames = capture.stop()
        n = all_right(frames, of(ethertype, 17), "UDP over %#06x" % ethertype, at_least=len(sizes) + 421)
        print("%#06x: %d datagrams right" % (ethertype, n))


def tagged_superframe(a_mac, b_mac, v6, protocol, source, target, payload, gso_size, vlan=100):
    """(virtio_net_hdr, frame): a VLAN-tagged TCP or UDP super-frame with a partial checksum, as an
    interface with hardware offloads would be given it."""
    family = socket.AF_INET6 if v6 else socket.AF_INET
    src, dst = socket.inet_pton(family, source), socket.inet_pton(family, target)
    if protocol == 6:
        l4 = struct.pack("!HHIIBBHHH", 9000, 9001, 1000, 2000, 5 << 4, 0x18, 512, 0, 0)
        offset, gso = 16, 4 if v6 else 1
    else:
        l4 = struct.pack("!HHHH", 9000, 9001, 8 + len(payload), 0)
        offset, gso = 6, 5
    body = bytearray(l4 + payload)
    body[offset:offset + 2] = struct.pack("!H", pseudo_sum(src, dst, protocol, len(body)))
    if v6:
        head = struct.pack("!IHBB", 6 << 28, len(body), protocol, 64) + src + dst
        ethertype = 0x86DD
    else:
        head = bytearray(struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(body), 7, 0x4000, 64, protocol, 0) + src + dst)
        head[10:12] = struct.pack("!H", ~vannet.ones_sum(bytes(head)) & 0xFFFF)
        ethertype = 0x0800
    frame = ethernet(b_mac, a_mac, ethertype, bytes(head) + bytes(body), vlan)
    start = 18 + len(head)
    segmented = len(payload) > gso_size
    return struct.pack("<BBHHHH", 1, gso if segmented else 0, start + len(l4), gso_size if segmented else 0,
                       start, offset), frame


def test_tagged_frames_with_offloads(net):
    """Tags shift every offset. There is no 8021q device to make such frames: they are handed to
    vcider0 by a packet socket, with the header that says what is left to do."""
    s = Behind(net)
    sock = s.a.ns.packet_socket("vcider0")
    sock.setsockopt(SOL_PACKET, PACKET_VNET_HDR, 1)
    for v6, source, target in ((False, s.a.ip4(), s.ip4), (True, s.a.ip6(), s.ip6)):
        for size in (10, 1000, 12000):
            payload = os.urandom(size)
            capture = s.capture()
            vnet, frame = tagged_superframe(s.a.mac(), s.mac, v6, 6, source, target, payload, 1200)
            sock.send(vnet + frame)
            head = 18 + (40 if v6 else 20) + 20
            tagged = lambda f: f[12:16] == b"\x81\x00\x00\x64" and len(f) > head
            count = (size + 1199) // 1200
            frames = capture.wait(tagged, 5, "tagged segments of %d bytes arrive" % size, count=count)
            capture.stop()
            what = "tagged TCP, %s, %d bytes" % ("IPv6" if v6 else "IPv4", size)
            all_right(frames, lambda f: True, what, at_least=count)
            joined = b"".join(f[head:] for f in sorted(frames, key=lambda f: f[head - 16:head - 12]))
            check(joined == payload, what + ": the payload is the same")
        payload = os.urandom(900)
        capture = s.capture()
        vnet, frame = tagged_superframe(s.a.mac(), s.mac, v6, 17, source, target, payload, 1200)
        sock.send(vnet + frame)
        frames = capture.wait(lambda f: f[12:14] == b"\x81\x00", 5, "a tagged UDP datagram arrives")
        capture.stop()
        all_right(frames, lambda f: True, "tagged UDP")
        check(frames[0].endswith(payload), "the payload is the same")
    check(wait_until(lambda: s.a.stats()["superframes_from_tap"], 5, "super-frames were cut"), "")


def test_offloads_switched_off(net):
    """The same without vnet header and GSO at either end."""
    off = {"tap_offload": False, "udp_gso": False, "udp_gro": False, "udp_super_frames": False}
    s = Behind(net, config=off)
    capture = s.capture()
    exchange_tcp(s, socket.AF_INET, None, s.ip4, 1)
    all_right(capture.stop(), of(0x0800, 6), "TCP", at_least=500)
    check(s.a.stats()["superframes_from_tap"] == 0 and s.b.stats()["superframes_to_tap"] == 0,
          "no super-frames were made")
