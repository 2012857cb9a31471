# SPDX-License-Identifier: Apache-2.0
"""Several workers in a node: lanes, their source ports, and what the kernel does with flows.

   a ──[ sw ]── b          nodes with one, two and four workers

   host ── lan0 a ──[ sw ]── b          a passes on what comes from its LAN
"""

import collections
import os
import socket
import struct
import threading
import time
import types

from test_mesh import tcp
from vannet import (PORT, SO_RCVBUFFORCE, Capture, Failure, Mesh, Namespace, Probe, check, mac_bytes,
                    van_payload, wait_until)

DATA, FIRST_WORKER = 4, 1
SOL_UDP, UDP_SEGMENT, UDP_GRO = 17, 103, 104


def connect(mesh):
    """Sessions between all; what handshakes that crossed have dropped is done with."""
    mesh.connect()
    for node in mesh.nodes.values():
        node.dropped = node.drops()


def only(node, *allowed):
    """Since then, the node has dropped nothing but by these reasons."""
    dropped = {name: n for name, n in node.drops().items() if n > node.dropped.get(name, 0)}
    check(set(dropped) <= {"no_peer", "stale_init", "crossed_init", *allowed},
          "%s dropped: %s" % (node.name, dropped))


def growth(node, action):
    """By how much each of the node's counters grows during action()."""
    before = node.stats()
    action()
    return {name: value - before.get(name, 0) for name, value in node.stats().items()}


def test_all_numbers_of_workers_in_one_mesh(net):
    m = Mesh(net, names=())
    for workers in (1, 2, 4):
        m.add("w%d" % workers, config={"workers": workers})
    m.converge()
    connect(m)
    # where a network card joins datagrams, one receive may hold several lanes
    m.w4.ns.run("ethtool", "-K", "eth0", "gro", "on")
    for a in m.nodes.values():
        check(a.status()["workers"] == int(a.name[1:]), "%s: status says so: %s" % (a.name, a.status()))
        for b in m.nodes.values():
            if a is not b:
                a.ns.ping(b.ip6())
    pairs = [(m.w2, m.w4)] * 8 + [(m.w1, m.w4), (m.w1, m.w2)] * 2
    tcp([(a, b, b.ip4()) for a, b in pairs] + [(b, a, a.ip6()) for a, b in pairs], megabytes=4)
    for node in m.nodes.values():
        only(node)


def seconds_of_workers(node):
    """CPU time of each of its workers."""
    tick, found = os.sysconf("SC_CLK_TCK"), {}
    for task in os.listdir("/proc/%d/task" % node.process.pid):
        with open("/proc/%d/task/%s/stat" % (node.process.pid, task)) as f:
            name, rest = f.read().split("(", 1)[1].rsplit(")", 1)
        if name.startswith("vand-worker"):
            found[int(name[11:])] = sum(map(int, rest.split()[11:13])) / tick
    return found


def test_rekeying_under_load_with_two_workers(net):
    """Nothing is missing, nothing comes twice, and each flow keeps its order, in both directions."""
    seconds, pps = 6, {"a": 4000, "b": 1000}
    m = Mesh(net, names=("a", "b"), v6=False, config={"rekey_after_s": 2, "workers": 2})
    connect(m)
    for node in (m.a, m.b):
        # a second's worth: what a busy machine does not schedule in time is not what is tested here
        node.ns.ip("link", "set", "vcider0", "txqueuelen", "20000")
    rekeys = {n.name: n.stats()["rekeys"] for n in (m.a, m.b)}
    running = []
    for i in range(6):
        for a, b in ((m.a, m.b), (m.b, m.a)):
            count = pps[a.name] * seconds
            receiver = Probe(b.ns, "stream-recv", b.ip4(), 6000 + i, "--expect", count,
                             "--timeout", seconds + 20, ready=True)
            running.append(("%s, flow %d" % (a.name, i), receiver, Probe(
                a.ns, "stream-send", b.ip4(), 6000 + i, "--pps", pps[a.name], "--count", count)))
    for name, receiver, sender in running:
        sent, got = sender.result(seconds + 40), receiver.result(seconds + 40, ok=False)
        check(sent["failed"] == 0, "the kernel took every datagram: %s" % sent)
        check(got["lost"] == got["duplicated"] == got["bad"] == got["reordered"] == 0,
              "from %s: %s, of %s" % (name, got, sent))
    for node in (m.a, m.b):
        made = node.stats()["rekeys"] - rekeys[node.name]
        check(made >= 2, "%s made new keys %d times only" % (node.name, made))
        busy = seconds_of_workers(node)
        check(set(busy) == {0, 1} and all(s > 0.05 for s in busy.values()),
              "both workers of %s were at work: %s" % (node.name, busy))
        only(node)


# -- lanes on the cable -----------------------------------------------------------------------------

Sealed = collections.namedtuple("Sealed", "outgoing port lane probe flow")


def sealed(frame, outgoing):
    """A DATA message on the cable: its source port and lane, whether it has the length of a probe, and,
    where frames are in clear, the protocol and ports of the packet inside. None for anything else."""
    message = van_payload(frame)
    if not message or message[0] != DATA:
        return None
    flow, inner = None, message[22:]
    if message[2] == 1 and message[19] & 31 == 0 and inner[12:14] == b"\x08\0" and inner[23] in (6, 17):
        flow = (inner[23], *sorted(struct.unpack("!HH", inner[34:38])))
    return Sealed(outgoing, struct.unpack("!H", frame[34:36])[0], message[1], len(message) == 46, flow)


class Lanes(Capture):
    """What node sees on its cable of its lanes, and of those of `peer`."""

    def __init__(self, node, peer):
        # by address: the MACs on the cable are the machines'
        here, there = (socket.inet_aton(n.ns.link("eth0")["addr_info"][0]["local"]) for n in (node, peer))
        super().__init__(node.ns, "eth0", keep=lambda f, out: {f[26:30], f[30:34]} == {here, there}
                         and self.note(sealed(f, f[26:30] == here)))
        self.seen = []

    def note(self, message):
        if message:
            self.seen.append(message)
        return False

    def since(self, start):
        return self.seen[start:]


class Flows:
    """Numbered datagrams of many flows from a to b, at a gentle pace, until stop()."""

    def __init__(self, a, b, port, count=16, pps=50):
        self.sent = [0] * count
        self.got = [[] for _ in range(count)]  # (number, when)
        self.ending, self.give_up = threading.Event(), float("inf")
        self.sink = b.ns.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sink.bind((b.ip4(), port))
        self.sink.settimeout(0.1)
        self.sources = [a.ns.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(count)]
        for source in self.sources:
            source.connect((b.ip4(), port))
        self.threads = [threading.Thread(target=f, args=args, daemon=True)
                        for f, args in ((self._send, (1 / pps,)), (self._receive, ()))]
        for thread in self.threads:
            thread.start()

    def _send(self, interval):
        while not self.ending.wait(interval):
            for i, source in enumerate(self.sources):
                source.send(struct.pack("!HI", i, self.sent[i]))
                self.sent[i] += 1

    def _receive(self):
        while True:
            try:
                flow, number = struct.unpack("!HI", self.sink.recv(100))
            except socket.timeout:
                # all has been sent: what is on its way may take a while on a busy machine
                arrived = all(got and got[-1][0] == sent - 1 for sent, got in zip(self.sent, self.got))
                if time.monotonic() > self.give_up - (10 if arrived else 0):
                    return
                continue
            self.got[flow].append((number, time.monotonic()))

    def stop(self):
        """Ends them; returns for each flow what was lost, and the longest gap in seconds."""
        sender, receiver = self.threads
        self.ending.set()
        sender.join()
        self.give_up = time.monotonic() + 10
        receiver.join()
        result = []
        for sent, got in zip(self.sent, self.got):
            numbers, times = [n for n, _ in got], [t for _, t in got]
            check(numbers == sorted(set(numbers)), "each flow in order, and nothing twice")
            check(numbers and numbers[-1] == sent - 1, "the last of %d arrives: %s" % (sent, numbers[-3:]))
            result.append((sent - len(got), max(b - a for a, b in zip(times, times[1:]))))
        return result


def test_a_flow_stays_with_one_worker(net):
    """An `integrity` network shows which lane carries which flow; without GSO, datagram by datagram."""
    m = Mesh(net, names=("a", "b"), v6=False, config={"workers": 2, "udp_gso": False},
             options={"encryption": "integrity"})
    connect(m)
    wire = Lanes(m.a, m.b)
    flows = Flows(m.a, m.b, 7001)
    tcp([(m.a, m.b, m.b.ip4())] * 4 + [(m.b, m.a, m.a.ip4())] * 4, megabytes=1)
    wait_until(lambda: min(map(len, flows.got)) > 50, 10, "datagrams of all flows arrive")
    check(all(lost == 0 for lost, _ in flows.stop()), "nothing is lost")
    wire.stop()
    ways = collections.defaultdict(list)
    for message in wire.seen:
        if message.flow:
            ways[message.flow, message.outgoing].append(message.lane)
    udp = {flow: set(lanes) for (flow, out), lanes in ways.items() if flow[0] == 17 and out}
    check(len(udp) == len(flows.sources), "all flows are on the cable: %s" % udp)
    check(all(len(lanes) == 1 for lanes in udp.values()), "one lane each, from the first datagram on: %s" % udp)
    check(set.union(*udp.values()) == {1, 2}, "both lanes are in use: %s" % udp)
    streams = {flow for flow, _ in ways if flow[0] == 6}
    check(len(streams) == 8, "all streams are on the cable: %s" % streams)
    for flow in streams:
        forth, back = ways[flow, True], ways[flow, False]
        steady = set(forth[len(forth) // 2:]), set(back[len(back) // 2:])
        check(steady[0] == steady[1] and len(steady[0]) == 1,
              "stream %s has one lane, the same both ways: %s" % (flow, steady))
    for node in (m.a, m.b):
        only(node)


def drop_own_ports(node, drop=True):
    """The node's machine loses what does not come from the main port, or does so no more."""
    node.ns.nft("""table inet ports { chain in { type filter hook input priority 0;
                       udp dport %d udp sport != %d counter drop } }""" % (PORT, PORT)
                if drop else "delete table inet ports")


def test_own_ports_are_used_where_they_get_through(net):
    """b is behind a firewall that lets the main port through only, and opens after a while; c's firewall
    closes after a while."""
    config = {"workers": 2}
    m = Mesh(net, names=("a", "c"), v6=False, config=config)
    drop_own_ports(m.add("b", config=config, join=False))
    m.b.join(m.console.token("lan"))
    m.converge()
    connect(m)
    wires = {node: Lanes(m.a, node) for node in (m.b, m.c)}
    flows = {node: Flows(m.a, node, 7001) for node in (m.b, m.c)}

    def ports(node, since=0):
        """That frames to the node have left from, for each of a's lanes."""
        used = collections.defaultdict(set)
        for message in wires[node].since(since):
            if message.outgoing and not message.probe:
                used[message.lane].add(message.port)
        return used

    wait_until(lambda: ports(m.c)[2] - {PORT}, 10, "a's second lane has a port of its own towards c")
    wait_until(lambda: min(map(len, flows[m.b].got + flows[m.c].got)) > 50, 10, "all flows arrive")
    start = {node: len(wire.seen) for node, wire in wires.items()}
    wait_until(lambda: all(len(wires[n].seen) > start[n] + 400 for n in wires), 10, "they go on")
    check(ports(m.c, start[m.c])[2] == ports(m.c)[2] - {PORT} and len(ports(m.c, start[m.c])[2]) == 1,
          "it uses that port only, from then on: %s" % ports(m.c, start[m.c]))
    check(ports(m.b, start[m.b])[2] == {PORT}, "it keeps to the main port towards b: %s" % ports(m.b, start[m.b]))
    check(ports(m.b)[1] == ports(m.c)[1] == {PORT}, "the first lane has no other: %s" % [ports(m.b), ports(m.c)])

    drop_own_ports(m.b, drop=False)
    drop_own_ports(m.c)
    closed, start[m.c] = time.monotonic(), len(wires[m.c].seen)
    wait_until(lambda: PORT in ports(m.c, start[m.c])[2], 30, "a is back at the main port towards c")
    print("back at the main port after %.1f s" % (time.monotonic() - closed))
    start[m.c] = len(wires[m.c].seen)
    wait_until(lambda: len(wires[m.c].seen) > start[m.c] + 400, 10, "flows to c go on")
    check(ports(m.b)[2] - {PORT}, "towards b it uses its own port by now: %s" % ports(m.b))
    lost = {node.name: flows[node].stop() for node in flows}
    check(all(n == 0 for n, _ in lost["b"]), "nothing to b was lost: %s" % lost["b"])
    with_gap = [gap for n, gap in lost["c"] if n]
    check(0 < len(with_gap) < len(lost["c"]) and max(with_gap) < 30,
          "to c, only flows of the second lane had a gap, below 30 s: %s" % lost["c"])
    for wire in wires.values():
        wire.stop()
    for node in m.nodes.values():
        only(node)


def test_busy_polling(net):
    """a is as by default, b looks for more for a fifth of a second."""
    m = Mesh(net, names=("a",), v6=False)
    m.add("b", config={"busy_poll_us": 200000, "workers": 1})
    m.converge()
    connect(m)
    before = {node: sum(seconds_of_workers(node).values()) for node in (m.a, m.b)}
    m.a.ns.ping(m.b.ip4(), count=15, interval=0.1)
    used = {node.name: sum(seconds_of_workers(node).values()) - before[node] for node in (m.a, m.b)}
    check(used["a"] < 0.1, "a sleeps between two frames: %s" % used)
    check(used["b"] > 0.2 + used["a"], "b does not: %s" % used)
    samples = []

    def idle():
        samples.append((time.monotonic(), sum(seconds_of_workers(m.b).values())))
        while samples[0][0] < samples[-1][0] - 0.5 and len(samples) > 1:
            if samples[0][1] == samples[-1][1]:
                return True
            samples.pop(0)
        return False
    wait_until(idle, 10, "b sleeps when there has been nothing for a while")


# -- super-frames -----------------------------------------------------------------------------------

def test_forwarded_super_frames_keep_their_size(net):
    m = Mesh(net, names=("a", "b"), v6=False)
    connect(m)
    host = types.SimpleNamespace(ns=Namespace(net, "host"))
    host.ns.ip("link", "add", "eth0", "type", "veth", "peer", "name", "lan0", "netns", m.a.ns.name)
    host.ns.ip("addr", "add", "10.9.0.2/24", "dev", "eth0")
    host.ns.ip("link", "set", "eth0", "up")
    host.ns.ip("route", "add", "default", "via", "10.9.0.1")
    m.a.ns.ip("addr", "add", "10.9.0.1/24", "dev", "lan0")
    m.a.ns.ip("link", "set", "lan0", "up")
    m.a.ns.sysctl("net/ipv4/ip_forward", 1)
    m.b.ns.ip("route", "add", "10.9.0.0/24", "via", m.a.ip4())
    host.ns.ping(m.b.ip4())
    ways = ((m.a, m.b, [(host, m.b, m.b.ip4())]), (m.b, m.a, [(m.b, host, "10.9.0.2")]))
    for sender, receiver, flow in ways:
        counted = {}

        def at_receiver():
            counted.update(growth(receiver, lambda: tcp(flow, megabytes=32)))
        at_sender = growth(sender, at_receiver)
        # acknowledgements go the other way; what carries the 32 MB are super-frames, all but a few
        cut = at_sender["superframes_from_tap"]
        each = at_sender["datagrams_sent"] / max(cut, 1)
        joined = counted["segments_joined"] / max(counted["superframes_to_tap"], 1)
        print("from %s: %d super-frames of %.1f segments, joined to %d of %.1f" % (
            sender.name, cut, each, counted["superframes_to_tap"], joined))
        check(each > 8, "%s got super-frames from its LAN: %s" % (sender.name, at_sender))
        check(joined > 8 and counted["segments_joined"] > 0.8 * (32 << 20) / 1308,
              "%s joined them again: %s" % (receiver.name, counted))
    for node in (m.a, m.b):
        only(node)


def send_segmented(a, b, port, size, segments, sends):
    """Numbered datagrams by UDP_SEGMENT, so many in each send, the last one shorter; to a socket that takes
    what the kernel has joined. Returns how many datagrams each of its receives held."""
    sink, source = (n.ns.socket(socket.AF_INET, socket.SOCK_DGRAM) for n in (b, a))
    sink.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 64 << 20)
    sink.setsockopt(SOL_UDP, UDP_GRO, 1)
    sink.settimeout(5)
    sink.bind((b.ip4(), port))
    source.setsockopt(SOL_UDP, UDP_SEGMENT, size)
    source.connect((b.ip4(), port))
    content = os.urandom(1 << 16)
    number = expected = 0
    receives = []
    for left in range(sends, 0, -1):
        data = b""
        for i in range(segments):
            length = size - (i == segments - 1)
            data += struct.pack("!I", number) + content[number % 1000:][:length - 4]
            number += 1
        check(source.send(data) == len(data), "the kernel takes a super-frame")
        if left > 1 and number - expected + segments <= 500:
            continue  # not more than fits any queue on the way
        while expected < number:
            try:
                data, control, _, _ = sink.recvmsg(1 << 16, 64)
            except socket.timeout:
                raise Failure("%d of %d datagrams arrived" % (expected, number)) from None
            step = next((struct.unpack("i", d[:4])[0] for _, kind, d in control if kind == UDP_GRO), len(data))
            receives.append(0)
            for at in range(0, len(data), step):
                length = size - (expected % segments == segments - 1)
                check(data[at:at + step] == struct.pack("!I", expected) + content[expected % 1000:][:length - 4],
                      "datagram %d is as it was sent, and in its place" % expected)
                expected += 1
                receives[-1] += 1
    sink.close()
    source.close()
    return receives


def test_udp_super_frames(net):
    """As QUIC sends them. c does not write them to its TAP."""
    m = Mesh(net, names=("a", "b"), v6=False)
    m.add("c", config={"udp_super_frames": False})
    m.converge()
    connect(m)
    for size, segments in ((1200, 40), (1332, 45), (100, 60)):
        sends = 8000 // segments
        for node in (m.b, m.c):
            receives, counted = [], {}

            def at_receiver():
                receives.extend(send_segmented(m.a, node, 7001, size, segments, sends))

            def at_sender():
                counted.update(growth(node, at_receiver))
            sender = growth(m.a, at_sender)
            each = sum(receives) / len(receives)
            print("%d × %d bytes to %s: %d super-frames cut, %d joined, %.1f datagrams a receive" % (
                segments, size, node.name, sender["superframes_from_tap"], counted["superframes_to_tap"], each))
            check(sender["superframes_from_tap"] >= sends, "a got them as super-frames: %s" % sender)
            if node is m.b:
                check(counted["segments_joined"] >= 0.8 * sum(receives) and each >= segments / 2,
                      "b joined them to super-frames: %s" % counted)
            else:
                check(counted["superframes_to_tap"] == 0 and each == 1, "c wrote them singly: %s" % counted)
    for node in m.nodes.values():
        only(node)
