# SPDX-License-Identifier: Apache-2.0
"""What nodes count arrives at the console, second by second, and survives its restart.

      console ──┐
   a ────────[ sw ]──────── b
"""

import http.client
import json
import os
import socket
import ssl

from test_mesh import tcp
from test_workers import seconds_of_workers
from vannet import Mesh, Probe, check, wait_until

REPORTS_S = 35  # three reports, and a little
COUNTERS = ("rx_bytes", "tx_bytes", "rx_packets", "tx_packets")
# UDP header, DATA header, inner header, token, tag: nothing else has this length.
PROBE_LEN = 8 + 16 + 6 + 8 + 16


def get(console, path):
    """An answer of the console's API."""
    with open(os.path.join(console.state, "admin.key")) as f:
        key = f.read().strip()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    connection = http.client.HTTPSConnection(console.address, 8443, context=context, timeout=20)
    with console.ns.socket(socket.AF_INET, socket.SOCK_STREAM) as raw:
        raw.settimeout(20)
        raw.connect((console.address, 8443))
        connection.sock = context.wrap_socket(raw)
        connection.request("GET", path, headers={"Authorization": "Bearer " + key})
        answer = connection.getresponse()
        body = answer.read()
        check(answer.status == 200, "%s: %s %s" % (path, answer.status, body))
        connection.close()
    return json.loads(body)


def known(column):
    return [v for v in column if v is not None]


def sums(console, path):
    columns = get(console, path)["columns"]
    return {name: sum(known(columns[name])) for name in COUNTERS}


def counters(node):
    return {name: node.network()[name] for name in COUNTERS}


def agree(m, node):
    """Whether the console has what the node has; the node's counters stand still meanwhile."""
    return sums(m.console, "/api/v1/nodes/%s/stats?resolution=1s&from=1970-01-01T00:00:00Z"
                % node.name) == counters(node)


def drops(m, node):
    o = get(m.console, "/api/v1/nodes/%s/stats?resolution=1s&from=1970-01-01T00:00:00Z&include=drops"
            % node.name)
    return {reason: sum(known(column)) for reason, column in o["drops"].items() if sum(known(column))}


def peer(m, node, name):
    o = get(m.console, "/api/v1/nodes/%s/stats?resolution=1m&include=peers" % node.name)
    items = [p["columns"] for p in o["peers"]["items"] if p["name"] == name]
    return items[0] if items else {"rtt_us": [], "loss": [], "probes": []}


def test_counts_arrive_whatever_happens(net):
    m = Mesh(net, names=("a", "b"), v6=False, cidr6=None, quiet=True)
    m.connect()
    with m.a.ns.socket(socket.AF_INET, socket.SOCK_DGRAM) as burst:
        for _ in range(50):
            burst.sendto(b"burst", (m.b.ip4(), 9))
    for node in (m.a, m.b):
        wait_until(lambda: agree(m, node), REPORTS_S,
                   lambda: "the console has what %s counted: %s" % (node.name, counters(node)))
    both = sums(m.console, "/api/v1/networks/lan/stats?resolution=10m")
    check(both == {k: counters(m.a)[k] + counters(m.b)[k] for k in COUNTERS}, "the network is the sum")
    # The burst fell into one second, or two: single seconds stand out of it.
    column = known(get(m.console, "/api/v1/networks/lan/nodes/a/stats?resolution=1s")
                   ["columns"]["tx_packets"])
    check(max(column) >= 20 and column.count(0) > 3, "seconds differ: %s" % column)
    # Counted while the console is down.
    m.console.stop()
    m.a.ns.ping(m.b.ip4())
    m.console.start()
    for node in (m.a, m.b):
        wait_until(lambda: agree(m, node), REPORTS_S,
                   lambda: "%s after the console's restart: %s" % (node.name, counters(node)))


def test_long_a_new_vand_counts_from_zero(net):
    """What the old one had counted stays."""
    m = Mesh(net, names=("a", "b"), v6=False, cidr6=None, quiet=True)
    m.connect()
    m.a.ns.ping(m.b.ip4(), count=50, interval=0.02)
    wait_until(lambda: agree(m, m.b), REPORTS_S, lambda: "the console has: %s" % counters(m.b))
    before = counters(m.b)
    m.b.restart()
    m.connect()
    total = lambda: sums(m.console, "/api/v1/nodes/b/stats?resolution=1s")
    wait_until(lambda: counters(m.b)["tx_packets"] and total() == {
        k: before[k] + counters(m.b)[k] for k in COUNTERS}, REPORTS_S,
               lambda: "both of b's: %s, %s, %s" % (before, counters(m.b), total()))


def test_drops_and_round_trip_times(net):
    m = Mesh(net, names=("a", "b"), v6=False, cidr6=None, quiet=True)
    m.connect()
    # A peer is probed while there is traffic.
    traffic = m.a.ns.start("traffic", "ping", "-n", "-i", "0.2", m.b.ip4())
    junk = m.b.ns.socket(socket.AF_INET, socket.SOCK_DGRAM)
    for _ in range(7):
        junk.sendto(b"junk", (m.a.ns.link("eth0")["addr_info"][0]["local"], m.a.status()["port"]))
    wait_until(lambda: m.a.drops().get("unknown_type") == 7, 5, lambda: "a dropped it: %s" % m.a.drops())

    wait_until(lambda: drops(m, m.a).get("unknown_type") == 7, REPORTS_S,
               lambda: "the console knows: %s" % drops(m, m.a))
    wait_until(lambda: known(peer(m, m.a, "b")["rtt_us"]), REPORTS_S, "a round-trip time of b")
    columns = peer(m, m.a, "b")
    check(0 < known(columns["rtt_us"])[-1] < 1000000, "it is one: %s" % columns)
    check(known(columns["loss"])[-1] == 0, "nothing is lost: %s" % columns)
    traffic.kill()


def test_long_losses(net):
    m = Mesh(net, names=("a", "b"), v6=False, cidr6=None, quiet=True)
    m.connect()
    traffic = m.a.ns.start("traffic", "ping", "-n", "-i", "0.2", m.b.ip4())
    wait_until(lambda: known(peer(m, m.a, "b")["probes"]), REPORTS_S, "probes of b")
    m.b.ns.nft("table inet lose { chain in { type filter hook input priority 0; "
               "udp length %d drop } }" % PROBE_LEN)
    wait_until(lambda: known(peer(m, m.a, "b")["loss"])[-1] > 0, REPORTS_S + 20,
               lambda: "losses: %s" % peer(m, m.a, "b"))
    traffic.kill()


def test_idle_peers_are_left_alone(net):
    m = Mesh(net, names=("a", "b"), v6=False, cidr6=None, quiet=True)
    m.connect()
    known_now = lambda: len(known(get(m.console, "/api/v1/nodes/a/stats?resolution=1s")
                                  ["columns"]["rx_bytes"]))
    start, sent = known_now(), m.a.stats()["datagrams_sent"]
    wait_until(lambda: known_now() >= start + 15, REPORTS_S, "15 more seconds are known")
    grown = m.a.stats()["datagrams_sent"] - sent
    # The last of the keepalives, and one probe for the pings before.
    check(grown <= 4, "hardly anything is sent: %d datagrams" % grown)


def sent(a, b, flows, count, length):
    """That many datagrams of so many bytes in each flow from a to b, all of which arrive."""
    running = []
    for port in range(6000, 6000 + flows):
        receiver = Probe(b.ns, "stream-recv", b.ip4(), port, "--expect", count, "--timeout", 40, ready=True)
        running.append((receiver, Probe(a.ns, "stream-send", b.ip4(), port, "--pps", 2000, "--len", length,
                                        "--count", count)))
    for receiver, sender in running:
        sender.result(60)
        got = receiver.result(60)
        check(got["received"] == count, "all of them arrive: %s" % got)


def test_known_traffic_over_two_workers(net):
    """Of several threads' counters, nothing is missing and nothing counts twice."""
    flows, count, length, headers = 8, 2000, 1000, 14 + 20 + 8
    m = Mesh(net, names=("a", "b"), v6=False, cidr6=None, quiet=True,
             config={"workers": 2, "log_format": "json"})
    m.connect()
    for node in (m.a, m.b):
        # what a busy machine does not schedule in time is not what is tested here
        node.ns.ip("link", "set", "vcider0", "txqueuelen", "20000")
    before = {node.name: counters(node) for node in (m.a, m.b)}
    lanes = m.a.peers()["b"]["tx_packets"], m.b.peers()["a"]["rx_packets"]
    sent(m.a, m.b, flows, count, length)
    grown = {n.name: {k: v - before[n.name][k] for k, v in counters(n).items()} for n in (m.a, m.b)}
    packets, size = flows * count, flows * count * (length + headers)
    check(grown["a"] == {"rx_bytes": 0, "rx_packets": 0, "tx_bytes": size, "tx_packets": packets},
          "a counts what was sent: %s" % grown)
    check(grown["b"] == {"rx_bytes": size, "rx_packets": packets, "tx_bytes": 0, "tx_packets": 0},
          "b counts what was received: %s" % grown)
    for had, now in zip(lanes, (m.a.peers()["b"]["tx_packets"], m.b.peers()["a"]["rx_packets"])):
        check(packets <= now - had <= packets + 20, "of the peer, all lanes: %d of %d" % (now - had, packets))
    for node in (m.a, m.b):
        busy = seconds_of_workers(node)
        check(set(busy) == {0, 1} and all(s > 0 for s in busy.values()),
              "both workers of %s were at work: %s" % (node.name, busy))
    # Super-frames count by their segments: TCP, both ways at once.
    tcp([(m.a, m.b, m.b.ip4()), (m.b, m.a, m.a.ip4())] * 2, megabytes=8)
    for node in (m.a, m.b):
        check(node.stats()["superframes_from_tap"] > 0, "super-frames were sent: %s" % node.stats())
        check(counters(node)["tx_bytes"] - before[node.name]["tx_bytes"] > 16 << 20,
              "all of it is counted: %s" % counters(node))
    # Frames to a MAC that nobody has, from flows of both workers.
    nobody = "172.16.1.99"
    m.a.ns.ip("neigh", "replace", nobody, "lladdr", "02:00:00:00:00:99", "dev", "vcider0", "nud", "permanent")
    dropped = m.a.drops().get("no_peer", 0)
    for i in range(400):
        with m.a.ns.socket(socket.AF_INET, socket.SOCK_DGRAM) as flow:
            flow.sendto(b"x" * 100, (nobody, 7000 + i))
    wait_until(lambda: m.a.drops().get("no_peer", 0) == dropped + 400, 5,
               lambda: "a drops them: %s" % m.a.drops())
    for node in (m.a, m.b):
        wait_until(lambda: agree(m, node), REPORTS_S,
                   lambda: "the console has what %s counted: %s" % (node.name, counters(node)))
        wait_until(lambda: drops(m, node) == node.drops(), REPORTS_S, lambda: "and what %s dropped: %s, %s"
                   % (node.name, node.drops(), drops(m, node)))
    both = sums(m.console, "/api/v1/networks/lan/stats?resolution=10m")
    check(both == {k: counters(m.a)[k] + counters(m.b)[k] for k in COUNTERS}, "the network is the sum")
    for node in (m.a, m.b):
        with open(node.process.log) as log:
            lines = log.read().splitlines()
        check(lines, "%s logs" % node.name)
        for line in lines:
            check(json.loads(line)["program"] == "vand", "a line of JSON: %s" % line)
