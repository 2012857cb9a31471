# SPDX-License-Identifier: Apache-2.0
"""Datagrams that nobody should have sent: no reply, no delivery, one counter each.

      console ──┐
   a ────────[ sw ]──────── eve      no vand, no key; hears and says what she likes
                b                    b is built with the address and undefined behaviour sanitizers
"""

import os
import socket

from vannet import (BUILD_SAN, PORT, Capture, Mesh, Namespace, Node, Probe, Skip, check, cut_from_console,
                    ethernet, intercept, van_payload, wait_until, with_payload)

EVE = "192.0.2.66"


class Scene:
    def __init__(self, net, **options):
        # a has the ordinary build, b the one with sanitizers
        self.mesh = Mesh(net, names=("a",), v6=False, cidr6=None, quiet=True, **options)
        self.a = self.mesh.a
        self.b = self.mesh.add("b", build=BUILD_SAN)
        self.mesh.converge()
        self.mesh.connect()
        self.eve = Namespace(net, "eve")
        self.mesh.switch.attach(self.eve, host=int(EVE.split(".")[-1]))
        self.b_address = "192.0.2.%s" % self.underlay(self.b)

    @staticmethod
    def underlay(node):
        return next(a["local"] for a in node.ns.link("eth0")["addr_info"]
                    if a["family"] == "inet").split(".")[-1]

    def expect(self, send, count, what, reasons=None):
        """send() sends `count` datagrams to b. Each is dropped under exactly one reason (of
        `reasons`), none is answered, nothing comes out of b's interface."""
        before, frames = self.b.drops(), self.b.stats()["frames_to_tap"]
        # to eve, that is: what b sends to a is flooded by the switch when a's cable is out
        pair = socket.inet_aton(self.b_address) + socket.inet_aton(EVE)
        replies = Capture(self.eve, "eth0", keep=lambda f, out: not out and f[12:14] == b"\x08\x00"
                          and f[26:34] == pair)
        inside = Capture(self.b.ns, "vcider0", keep=lambda f, out: not out)

        def dropped():
            after = self.b.drops()
            return {k: after[k] - before.get(k, 0) for k in after if after[k] != before.get(k, 0)}

        send()
        wait_until(lambda: sum(dropped().values()) >= count, 30,
                   lambda: "%s: %d sent, dropped: %s" % (what, count, dropped()))
        got = dropped()
        check(sum(got.values()) == count, "%s: %d sent, dropped: %s" % (what, count, got))
        check(reasons is None or set(got) <= set(reasons), "%s: dropped as %s, not as %s" % (what, got, reasons))
        check(replies.stop() == [], "%s: b answered" % what)
        check(inside.stop() == [], "%s: b delivered something" % what)
        check(self.b.stats()["frames_to_tap"] == frames, "%s: b wrote to its interface" % what)
        return got


def test_every_length_of_every_type(net):
    """Lengths 0 to 2048 for every type of message and some that are none, from a stranger."""
    s = Scene(net)
    for kind, count in (("lengths", 7 * 2049), ("types", 256 * 20), ("random", 10000)):
        done = {}

        def send(kind=kind):
            done.update(Probe(s.eve, "fuzz-flood", s.b_address, PORT, "--kind", kind, "--pps", 4000,
                              "--wait-reply", 200).result(60))

        got = s.expect(send, count, "flood of %s" % kind)
        check(done["sent"] == count and done["failed"] == 0, "the flood was sent: %s" % done)
        check(done["replies"] == 0, "no reply: %s" % done)
        print("%s: %s" % (kind, got))
    s.a.ns.ping(s.b.ip4())
    s.b.ns.ping(s.a.ip4())


def flip_each(frame, payload):
    """The payload with one bit of each byte flipped, another bit from byte to byte."""
    for i, byte in enumerate(payload):
        yield with_payload(frame, payload[:i] + bytes([byte ^ (1 << (i % 8))]) + payload[i + 1:])


def cut_each(frame, payload):
    """Every proper beginning of the payload, and one byte too many."""
    for n in range(len(payload)):
        yield with_payload(frame, payload[:n])
    yield with_payload(frame, payload + b"\0")


def test_data_altered_truncated_replayed(net):
    s = Scene(net)
    cable = s.a.ns.packet_socket("eth0")
    inner = ethernet(s.b.mac(), s.a.mac(), 0x88B6, os.urandom(64))
    stolen = intercept(s.a, s.b, lambda: s.a.ns.packet_socket("vcider0").send(inner))
    # keepalives and the like may have been caught as well: the frame's message is the longest
    frame = max(stolen, key=len)
    payload = van_payload(frame)
    check(len(payload) == 38 + len(inner), "DATA is 38 bytes longer than its frame: %d" % len(payload))

    def send_all(frames):
        def send():
            for f in frames:
                cable.send(f)
        return send

    altered = list(flip_each(frame, payload))
    s.expect(send_all(altered), len(altered), "DATA with a bit flipped",
             # another lane has had the counter already
             ["bad_tag", "unknown_index", "unknown_type", "runt", "bad_lane", "bad_mode", "mode_mismatch", "replayed"])
    cut = list(cut_each(frame, payload))
    s.expect(send_all(cut), len(cut), "DATA cut short", ["runt", "bad_tag", "unknown_type"])
    # as it was, it is good: once
    inside = Capture(s.b.ns, "vcider0", keep=lambda f, out: f[12:14] == b"\x88\xb6")
    cable.send(with_payload(frame, payload))
    inside.wait(lambda f: f == inner, 5, "the message as it was is delivered")
    s.expect(send_all([with_payload(frame, payload)] * 5), 5, "DATA replayed", ["replayed"])
    check(inside.count() == 1, "it was delivered once")
    # a stranger with a copy of it gets no further
    sock = s.eve.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.expect(lambda: sock.sendto(payload, (s.b_address, PORT)), 1, "DATA replayed by a stranger", ["replayed"])
    s.a.ns.ping(s.b.ip4())


def stolen_handshake(s, kind):
    """A fresh handshake message from a to b that has not arrived."""
    def provoke():
        s.a.restart()
        # the next frame makes it initiate, unless it does so by itself
        s.a.ns.pings(s.b.ip4(), wait=0.2)
    # no retry of a's is to get in between: it is off the net from then on
    return intercept(s.a, s.b, provoke, kind=kind, then=lambda: s.a.ns.ip("link", "set", "eth0", "down"))[-1]


def test_init_altered_truncated_replayed(net):
    s = Scene(net)
    sock = s.eve.socket(socket.AF_INET, socket.SOCK_DGRAM)
    frame = stolen_handshake(s, 1)
    payload = van_payload(frame)
    check(len(payload) == 160, "INIT is 160 bytes")

    def send_all(payloads):
        def send():
            for p in payloads:
                sock.sendto(p, (s.b_address, PORT))
        return send

    altered = [van_payload(f) for f in flip_each(frame, payload)]
    got = s.expect(send_all(altered[:144]), 144, "INIT with a bit flipped in front of mac2",
                   ["bad_mac1", "unknown_type", "runt", "bad_handshake", "bad_inner"])
    check(got.get("bad_mac1", 0) >= 140, "nearly all of them fail at mac1, the cheap check: %s" % got)
    cut = [van_payload(f) for f in cut_each(frame, payload)]
    s.expect(send_all(cut), len(cut), "INIT cut short", ["runt"])
    # as it was, it is answered once; then it is old
    replies = Capture(s.eve, "eth0", keep=lambda f, out: not out and (van_payload(f) or b"\0")[0] == 2)
    sock.sendto(payload, (s.b_address, PORT))
    replies.wait(lambda f: True, 5, "b answers the INIT as it was")
    replies.stop()
    s.expect(send_all([payload] * 3), 3, "INIT replayed", ["stale_init", "handshake_limit"])
    s.a.ns.ip("link", "set", "eth0", "up")
    wait_until(lambda: s.a.ns.pings(s.b.ip4()), 15, "a and b find each other again")


def test_resp_altered_truncated_replayed(net):
    """RESPs to b: b initiates, a's answer is caught and sent by eve in many variants."""
    s = Scene(net)
    sock = s.eve.socket(socket.AF_INET, socket.SOCK_DGRAM)

    def provoke():
        s.b.restart()

    # b's INIT must get out and a's RESP must not get in
    frame = intercept(s.a, s.b, provoke, kind=2, then=lambda: s.a.ns.ip("link", "set", "eth0", "down"))[-1]
    payload = van_payload(frame)
    check(len(payload) == 104, "RESP is 104 bytes")

    def send_all(payloads):
        def send():
            for p in payloads:
                sock.sendto(p, (s.b_address, PORT))
        return send

    altered = [van_payload(f) for f in flip_each(frame, payload)][:88]
    s.expect(send_all(altered), len(altered), "RESP with a bit flipped in front of mac2",
             ["bad_mac1", "unknown_type", "runt", "bad_handshake", "unknown_index"])
    cut = [van_payload(f) for f in cut_each(frame, payload)]
    s.expect(send_all(cut), len(cut), "RESP cut short", ["runt"])


def test_message_of_another_mesh(net):
    """An INIT made for a node of another mesh is nothing to b."""
    s = Scene(net)
    frame = stolen_handshake(s, 1)
    payload = van_payload(frame)
    other = s.mesh.add_console("elsewhere", host=101)
    other.network("lan", "172.16.1.0/24")
    ns = Namespace(net, "x")
    s.mesh.switch.attach(ns, host=77)
    x = Node(net, ns, build=BUILD_SAN)
    x.join(other.token("lan"))
    sock = s.eve.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.sendto(payload, ("192.0.2.77", PORT))
    wait_until(lambda: x.drops() == {"bad_mac1": 1}, 5, lambda: "one counter: %s" % x.drops())


def test_network_that_the_sender_is_not_in(net):
    """a was taken out of network two but has not heard of it: b drops what it tags with it."""
    s = Scene(net)
    s.mesh.console.network("two", "172.16.2.0/24")
    for name in ("a", "b"):
        s.mesh.console.vanctl("node", "add", name, "-n", "two")
    wait_until(lambda: len(s.a.status()["networks"]) == 2 and len(s.b.status()["networks"]) == 2, 10, "both are in")
    wait_until(lambda: s.a.ns.pings(s.b.ip4("two")), 10, "network two works")
    cut_from_console(s.a)
    s.mesh.console.vanctl("node", "delete", "a", "-n", "two")
    wait_until(lambda: "two" not in s.b.peers()["a"]["networks"], 10, "b has heard that a is out of network two")
    frame = ethernet(s.b.mac("two"), s.a.mac("two"), 0x88B6, b"out of two".ljust(46))
    before = s.b.drops().get("not_member", 0)
    inside = Capture(s.b.ns, "vcider1", keep=lambda f, out: b"out of two" in f)
    s.a.ns.packet_socket("vcider1").send(frame)
    wait_until(lambda: s.b.drops().get("not_member", 0) == before + 1, 5,
               lambda: "b counts it as not_member: %s" % s.b.drops())
    check(inside.count() == 0, "and delivers nothing")
    s.a.ns.ping(s.b.ip4("lan"))


def test_source_mac_that_is_not_the_nodes(net):
    """A node does not pass on what claims another's MAC, whoever on it made the frame."""
    s = Scene(net)
    c = s.mesh.add("c")
    s.mesh.converge()
    inside = Capture(s.b.ns, "vcider0", keep=lambda f, out: b"forged" in f)
    sock = s.a.ns.packet_socket("vcider0")
    before = s.a.drops().get("not_ours", 0)
    macs = (c.mac(), s.b.mac(), "02:00:00:00:00:01", "00:00:5e:00:01:05")
    for mac in macs:
        sock.send(ethernet(s.b.mac(), mac, 0x88B6, b"forged".ljust(46)))
    wait_until(lambda: s.a.drops().get("not_ours", 0) == before + len(macs), 5,
               lambda: "each is counted: %s" % s.a.drops())
    s.a.ns.ping(s.b.ip4())
    check(inside.stop() == [], "nothing is delivered")


def test_source_mac_that_is_not_the_senders(net):
    """A node that does pass it on is not believed: the receiver goes by its own map. Here a gets
    another MAC while b cannot hear of it."""
    s = Scene(net)
    old = s.a.mac()
    cut_from_console(s.b)
    s.mesh.console.vanctl("node", "delete", "a", "-n", "lan")
    wait_until(lambda: "vcider0" not in s.a.ns.links(), 10, "a has left")
    s.mesh.console.vanctl("node", "add", "a", "-n", "lan")
    wait_until(lambda: s.a.status()["networks"] and "b" in s.a.peers(), 10, "a is back")
    new = s.a.mac()
    check(new != old, "a has another MAC: %s" % new)
    inside = Capture(s.b.ns, "vcider0", keep=lambda f, out: b"forged" in f)
    before = s.b.drops().get("guard_mac", 0)
    sock = s.a.ns.packet_socket("vcider0")
    for target in (s.b.mac(), "ff:ff:ff:ff:ff:ff"):
        sock.send(ethernet(target, new, 0x88B6, b"forged".ljust(46)))
    wait_until(lambda: s.b.drops().get("guard_mac", 0) >= before + 2, 10,
               lambda: "b counts both as guard_mac: %s" % s.b.drops())
    check(inside.stop() == [], "nothing is delivered")


def test_hostile_build_is_the_sanitized_one(net):
    """The tests above mean what they say only with a sanitizer in b."""
    with open(os.path.join(BUILD_SAN, "vand/vand"), "rb") as f:
        if b"__asan_init" not in f.read():
            raise Skip("vand in %s has no sanitizers; make check-net builds one that has" % BUILD_SAN)
