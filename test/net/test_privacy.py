# SPDX-License-Identifier: Apache-2.0
"""What somebody sees who listens on the underlay.

   a ──[ sw ]── b          captured at a's end of its cable
"""

import os
import socket

from vannet import (Capture, ETH_P_IP, Mesh, check, ethernet, intercept, van_payload, wait_until,
                    with_payload)

ALPHABET = b"abcdefghijklmnopqrstuvwxyz234567"


def random_text(n):
    return bytes(ALPHABET[b % 32] for b in os.urandom(n))


def is_data(frame):
    """A DATA message in UDP over IPv4."""
    return frame[12:14] == ETH_P_IP.to_bytes(2, "big") and frame[23] == 17 and frame[42:43] == b"\4"


def send_text(m, marker):
    """The marker goes from a to b in a UDP datagram, in a TCP stream and in a frame of no IP protocol,
    and is seen by b. Returns the datagrams seen on the underlay."""
    wire = Capture(m.a.ns, "eth0", keep=lambda f, out: is_data(f))
    inside = Capture(m.b.ns, "vcider0")
    udp = m.a.ns.socket(socket.AF_INET, socket.SOCK_DGRAM)
    udp.sendto(marker * 8, (m.b.ip4(), 7777))
    m.a.ns.packet_socket("vcider0").send(ethernet(m.b.mac(), m.a.mac(), 0x88B5, marker * 4))
    listener = m.b.ns.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.bind((m.b.ip4(), 7778))
    listener.listen(1)
    tcp = m.a.ns.socket(socket.AF_INET, socket.SOCK_STREAM)
    tcp.connect((m.b.ip4(), 7778))
    peer, _ = listener.accept()
    sent = marker * 4096
    tcp.settimeout(20)
    peer.settimeout(20)
    tcp.sendall(sent[:100000])
    got = b""
    while len(got) < 100000:
        got += peer.recv(1 << 16)
    check(got == sent[:100000], "the stream arrives")
    peer.close()
    inside.wait(lambda f: marker in f and f[12:14] == b"\x88\xb5", 5, "the frame arrives at b")
    inside.wait(lambda f: marker in f and f[23:24] == b"\x11", 5, "the datagram arrives at b")
    wait_until(lambda: sum(len(f) for f in wire.snapshot()) > 100000, 5, "the capture has it all")
    return wire.stop()


def test_nothing_in_clear_with_encryption(net):
    m = Mesh(net, names=("a", "b"), v6=False)
    m.connect()
    marker = random_text(32)
    wire = send_text(m, marker)
    for i in range(len(marker) - 8):
        check(not any(marker[i:i + 8] in f for f in wire), "no part of the text is on the wire")
    mac = bytes.fromhex(m.a.mac().replace(":", ""))
    check(not any(mac in f[42:] for f in wire), "nor an inner MAC address")
    check(all(f[44] == 0 for f in wire), "every DATA message says mode 0")


def test_integrity_network_is_readable_and_authentic(net):
    m = Mesh(net, names=("a", "b"), v6=False, options={"encryption": "integrity"})
    m.connect()
    check(m.a.network()["encryption"] == "integrity", "status says integrity")
    marker = random_text(32)
    wire = send_text(m, marker)
    data = [f for f in wire if marker in f]
    check(data and all(f[44] == 1 for f in data), "the text is in clear, in messages of mode 1")
    # altered in flight: one bit of the clear text is enough to have it dropped
    frame = ethernet(m.b.mac(), m.a.mac(), 0x88B6, random_text(64))
    stolen = intercept(m.a, m.b, lambda: m.a.ns.packet_socket("vcider0").send(frame))
    stolen = [f for f in stolen if frame[14:] in f]
    check(len(stolen) == 1, "the message was taken off the cable")
    payload = van_payload(stolen[0])
    at = payload.index(frame[14:]) + 7
    altered = payload[:at] + bytes([payload[at] ^ 1]) + payload[at + 1:]
    inside = Capture(m.b.ns, "vcider0", keep=lambda f, out: f[12:14] == b"\x88\xb6")
    before = m.b.drops().get("bad_tag", 0)
    cable = m.a.ns.packet_socket("eth0")
    cable.send(with_payload(stolen[0], altered))
    wait_until(lambda: m.b.drops().get("bad_tag", 0) == before + 1, 5, "the altered message is dropped")
    # and unaltered it would have been good
    cable.send(with_payload(stolen[0], payload))
    inside.wait(lambda f: f == frame, 5, "the message as it was is delivered")
    check(inside.count() == 1, "and nothing else")
