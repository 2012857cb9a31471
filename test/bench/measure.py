# SPDX-License-Identifier: Apache-2.0
"""The measurements: each takes a link and a contestant that is up, and returns figures by name, with
their units in the names. Between a and b; "ab" is from a to b.
"""

import json
import os
import threading
import time

import harness
import vannet
from vannet import Failure, Probe, check, wait_until

TCP_PORT, UDP_PORT, RTT_PORT = 5201, 5202, 5203
# A datagram of 1400 bytes with its IP and UDP headers: the largest that none of the overlays cuts.
UDP_PAYLOADS = {64: 64, 1400: 1372}
RTT_INTERVAL_US = 1000


class Server:
    """iperf3 -s for one test."""

    count = 0

    def __init__(self, ns, address):
        Server.count += 1
        self.process = ns.start("iperf3-server-%d" % Server.count, "iperf3", "-s", "-1", "-B", address,
                                "-p", str(TCP_PORT), "--forceflush")
        wait_until(lambda: "listening" in self.process.text() or not self.process.running(), 10,
                   "iperf3 listens", interval=0.01)
        check(self.process.running(), lambda: "iperf3 -s ended:\n" + self.process.text())

    def end(self):
        self.process.expected_exit = True
        if self.process.running():
            self.process.kill()


def iperf3(link, contestant, seconds, streams=1, reverse=False, extra=(), client=None):
    """Runs one test, from link.a or from client; returns (bits per second received, bytes received, result)."""
    server = Server(link.b, contestant.overlay_b)
    try:
        argv = ["iperf3", "-c", contestant.overlay_b, "-p", str(TCP_PORT), "-t", str(seconds),
                "-P", str(streams), "-J", *(["-R"] if reverse else []), *link.iperf3_options, *extra]
        done = (client or link.a).run(*argv, ok=False, timeout=seconds + 30)
        try:
            result = json.loads(done.stdout)
        except ValueError:
            raise Failure("iperf3: %s%s" % (done.stdout[-500:], done.stderr[-500:])) from None
        check("error" not in result, lambda: "iperf3: %s" % result.get("error"))
        received = result["end"]["sum_received"]
        check(received["bytes"] > 0, "iperf3: nothing was received")
        return received["bits_per_second"], received["bytes"], result
    finally:
        server.end()


class Usage:
    """Processor time from its making to read(), of the machine and of the tunnel's processes."""

    def __init__(self, pids):
        self.pids = pids
        self.start = self.now()

    def now(self):
        return (harness.machine_busy_s(), sum(harness.process_cpu_s(pid) for pid in self.pids),
                harness.machine_stolen_s(), time.monotonic())

    def read(self):
        return [b - a for a, b in zip(self.start, self.now())]


def tcp(link, contestant, seconds, streams):
    figures = {}
    for direction, reverse in (("ab", False), ("ba", True)):
        prefix = "tcp%d_%s_" % (streams, direction)
        on_wire, cut, usage = link.bytes_sent(), link.packets_cut(), Usage(contestant.tunnel_pids)
        rate, count, result = iperf3(link, contestant, seconds, streams, reverse)
        machine, tunnel, stolen, wall = usage.read()
        on_wire = link.bytes_sent() - on_wire
        # whatever the routing tables say: what was received has passed the link
        check(on_wire > 0.97 * count, "%s: %d bytes were received, but only %d passed the link"
              % (contestant.title, count, on_wire))
        figures.update({
            prefix + "gbit_s": rate / 1e9,
            prefix + "machine_cpu_s_per_gb": machine / (count / 1e9),
            prefix + "tunnel_cpu_s_per_gb": tunnel / (count / 1e9),
            prefix + "link_bytes_per_byte": on_wire / count,
            prefix + "retransmits": result["end"]["sum_sent"].get("retransmits"),
            prefix + "ip_fragments": link.packets_cut() - cut,
            prefix + "stolen_cpu_share": stolen / (wall * os.cpu_count()),
        })
    return figures


def gateway(link, contestant, seconds):
    """TCP from a host behind a, which forwards it through the tunnel, to b; and from b to that host."""
    if not contestant.forwards():
        return {}
    link.add_lan()
    link.b.ip("route", "replace", link.lan_prefix, "via", contestant.overlay_a)
    figures = {}
    try:
        for direction, reverse in (("ab", False), ("ba", True)):
            on_wire = link.bytes_sent()
            rate, count, _ = iperf3(link, contestant, seconds, reverse=reverse, client=link.lan)
            on_wire = link.bytes_sent() - on_wire
            check(on_wire > 0.97 * count, "%s: %d bytes were received, but only %d passed the link"
                  % (contestant.title, count, on_wire))
            figures["gateway_%s_gbit_s" % direction] = rate / 1e9
    finally:
        link.b.ip("route", "del", link.lan_prefix, ok=False)
    return figures


def udp(link, contestant, seconds, size):
    payload = UDP_PAYLOADS[size]
    cut = link.packets_cut()
    sink = Probe(link.b, "rate-recv", contestant.overlay_b, UDP_PORT, "--len", payload,
                 "--timeout", seconds + 10, ready=True)
    source = Probe(link.a, "rate-send", contestant.overlay_b, UDP_PORT, "--len", payload, "--seconds", seconds)
    sent = source.result(seconds + 20)
    got = sink.result(seconds + 30, ok=False)
    check(got["received"] > 0, "%s: none of %d datagrams arrived" % (contestant.title, sent["sent"]))
    check(got["other"] == 0, "%s: %d datagrams arrived damaged" % (contestant.title, got["other"]))
    prefix = "udp%d_" % size
    return {
        prefix + "delivered_kpps": got["per_second"] / 1e3,
        prefix + "offered_kpps": sent["sent"] / sent["seconds"] / 1e3,
        prefix + "delivered_share": got["received"] / sent["sent"],
        prefix + "ip_fragments": link.packets_cut() - cut,
    }


def rtt_probe(link, contestant, seconds):
    """Starts a prober; returns a function that waits for it and returns its figures."""
    echo = Probe(link.b, "rtt-echo", contestant.overlay_b, RTT_PORT, ready=True)
    count = max(100, int(seconds * 1e6 / RTT_INTERVAL_US))
    prober = Probe(link.a, "rtt", contestant.overlay_b, RTT_PORT, "--count", count,
                   "--interval", RTT_INTERVAL_US)

    def finish():
        try:
            return prober.result(seconds + 30)
        finally:
            echo.stop()
    return finish


def rtt_figures(prefix, result):
    return {**{prefix + name + "_us": result[name + "_us"] for name in ("p50", "p90", "p99", "max")},
            prefix + "lost_share": 1 - result["answered"] / result["sent"],
            prefix + "samples": result["answered"]}


def rtt(link, contestant, seconds):
    before = sum(harness.process_run_us(pid) for pid in contestant.tunnel_pids)
    result = rtt_probe(link, contestant, seconds)()
    ran = sum(harness.process_run_us(pid) for pid in contestant.tunnel_pids) - before
    figures = rtt_figures("rtt_idle_", result)
    if contestant.tunnel_pids:
        figures["rtt_idle_tunnel_cpu_us"] = ran / result["answered"]
    return figures


def rtt_load(link, contestant, seconds):
    """While one TCP stream takes what it can get, in the same direction."""
    load = {}

    def stream():
        try:
            load["rate"] = iperf3(link, contestant, seconds + 1)[0]
        except Exception as error:  # told below, by the thread that waits
            load["error"] = error

    thread = threading.Thread(target=stream)
    before = link.bytes_sent()
    thread.start()
    try:
        wait_until(lambda: link.bytes_sent() - before > 1000000 or not thread.is_alive(), 10,
                   "the TCP stream flows")
        result = rtt_probe(link, contestant, seconds)()
    finally:
        thread.join()
    if "error" in load:
        raise load["error"]
    return {**rtt_figures("rtt_load_", result), "rtt_load_tcp_gbit_s": load["rate"] / 1e9}


def memory(contestant):
    if not contestant.tunnel_pids:
        return {}
    total = sum(harness.process_rss_bytes(pid) for pid in contestant.tunnel_pids)
    return {"rss_mib_per_node": total / 2 / (1 << 20), "tunnel_processes": len(contestant.tunnel_pids)}


def idle(link, contestant, seconds):
    """Nothing is sent. Bytes are those of VAN's datagrams on the link, both ways together, Ethernet
    headers included; what the console and the nodes say to each other is not among them."""
    capture = Probe(link.a, "capture", "eth0", "--udp-port", vannet.PORT, "--seconds", seconds, ready=True)
    usage = Usage(contestant.tunnel_pids)
    seen = capture.result(seconds + 10)
    _, tunnel, _, wall = usage.read()
    return {"idle_tunnel_cpu_percent_of_core_per_node": 100 * tunnel / 2 / wall,
            "idle_bytes_per_peer_per_minute": seen["bytes"] * 60 / wall}


def verify(link, contestant):
    """Before anything is measured: the overlay's address is reached through the overlay's device, and
    a text that is sent is or is not to be read on the link, as it should be. Returns whether it was."""
    rows = json.loads(link.a.run("ip", "-j", "route", "get", contestant.overlay_b).stdout)
    device = rows[0]["dev"]
    check((device == "eth0") == (contestant.kind == "reference") and device != "lo",
          "%s: %s is reached through %s" % (contestant.title, contestant.overlay_b, device))
    text = "benchmark %d %s %d" % (os.getpid(), contestant.name, time.monotonic_ns())
    capture = Probe(link.a, "capture", "eth0", "--find", text, ready=True)
    link.a.run(vannet.NETPROBE, "udp-send", contestant.overlay_b, "9", "--hex", text.encode().hex(),
               "--count", "20", "--wait-reply", "50")
    seen = capture.stop()
    check(seen["packets"] > 0, "%s: nothing passed the link" % contestant.title)
    readable = seen["find"][0]["count"] > 0
    if contestant.clear is not None:
        check(readable == contestant.clear, "%s: a text that was sent through it is %sto be read on the link"
              % (contestant.title, "" if readable else "not "))
    return readable


# name: (what, function, number of runs of BENCH_SECONDS, seconds that it takes besides)
TESTS = {
    "tcp1": ("TCP, 1 stream", lambda l, c, s: tcp(l, c, s, 1), 2, 0.6),
    "tcp4": ("TCP, 4 streams", lambda l, c, s: tcp(l, c, s, 4), 2, 0.6),
    "gateway": ("TCP from a LAN behind a", gateway, 2, 0.6),
    "udp64": ("64-byte UDP", lambda l, c, s: udp(l, c, s, 64), 1, 0.5),
    "udp1400": ("1400-byte UDP", lambda l, c, s: udp(l, c, s, 1400), 1, 0.5),
    "rtt": ("round-trip time, idle", rtt, 1, 0.3),
    "rtt-load": ("round-trip time under load", rtt_load, 1, 1.5),
}
