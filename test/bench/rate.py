# SPDX-License-Identifier: Apache-2.0
"""VAN on a link of 1 Gbit/s, against the same link without it: what headers and processing cost where
the link, and not the processor, is the limit. TCP over IPv4, one stream from a to b.

Both ends of the veth have a token bucket (tc-tbf(8)). It is deep enough for whole super-frames, which
it counts with the headers of all their segments, so that its rate is that of the frames that a cable
would see (without preamble, checksum and gap). Shallower, it would cut them itself, and lose tokens
whenever a processor is late: then the processor is what is measured. That it does count so is checked
in each run: `payload_share` is what was received, divided by what the bucket counted.
"""

import json
import statistics

import harness
import measure
import report
from contestants import Van, Veth

RATE_BIT_S = 1_000_000_000
RATE, BURST, LATENCY = "1gbit", "128kb", "10ms"
# Small: as small as the bare link can still be filled with; below, system calls are the limit.
WRITES = {"large": ("128 KiB writes", ["-l", "131072"]),
          "small": ("1 KiB writes, TCP_NODELAY", ["-l", "1024", "-N"])}
ETHERNET, IPV4, TCP_HEADER = 14, 20, 32  # with the timestamps option
VAN_OVERHEAD = 80  # in each frame, over IPv4
WAY_S = 4  # to bring one up and down


def ways(net, van_config):
    return [Veth(net)] + [Van(net, "van-%d" % mtu, "VAN, MTU %d" % mtu, mtu=mtu, config=van_config)
                          for mtu in (1360, 1400)]


def headers_share(van_mtu=None):
    """What the headers alone leave of the link's rate: the bare link's, or VAN's."""
    if van_mtu is None:
        return (harness.Link.mtu - IPV4 - TCP_HEADER) / (harness.Link.mtu + ETHERNET)
    return (van_mtu - IPV4 - TCP_HEADER) / (van_mtu + VAN_OVERHEAD + ETHERNET)


def planned_s(rounds, seconds):
    return rounds * 3 * (len(WRITES) * (seconds + 0.5) + WAY_S)


def counted_bytes(ns):
    return json.loads(ns.run("tc", "-s", "-j", "qdisc", "show", "dev", "eth0").stdout)[0]["bytes"]


def one_way(link, way, seconds, results, bare, show, step):
    """All kinds of writes through a way that is up. Fills bare, or compares with it."""
    for kind, (title, extra) in WRITES.items():
        show(title)
        before = counted_bytes(link.a)
        rate, received, _ = measure.iperf3(link, way, seconds, extra=extra)
        row = results[kind]
        row["payload_share"].append(received / (counted_bytes(link.a) - before))
        if way.kind == "reference":
            bare[kind] = rate
        row["goodput_mbit_s"].append(rate / 1e6)
        if kind in bare:
            row["share_of_bare_link"].append(rate / bare[kind])
        step(seconds + 0.5)


def run(net, settings, progress):
    """Returns {"ways": {name: {kind of writes: {"goodput_mbit_s": […], …}}}, …}."""
    rounds, seconds = settings["rounds"], settings["seconds"]
    link = harness.Link(net, "rate-", settings["congestion_control"])
    link.limit(RATE, BURST, LATENCY)
    chosen = ways(net, settings["van_config"])
    results = {way.name: {"title": "bare link" if way.kind == "reference" else way.title, "note": way.note,
                          "errors": [], "headers_allow_mbit_s": RATE_BIT_S / 1e6 * headers_share(getattr(
                              way, "mtu", None)),
                          **{kind: {"goodput_mbit_s": [], "share_of_bare_link": [], "payload_share": []}
                             for kind in WRITES}} for way in chosen}
    for turn in range(1, rounds + 1):
        bare = {}
        for way in chosen:
            result = results[way.name]

            def show(title, name=result["title"], turn=turn):
                progress.show("1 Gbit/s, round %d of %d" % (turn, rounds), "%s, %s" % (name, title))
            try:
                show("starts")
                way.up(link)
                one_way(link, way, seconds, result, bare, show, progress.step)
            except harness.EXPECTED as error:
                result["errors"].append("round %d: %s" % (turn, error))
                progress.note("1 Gbit/s, %s: %s" % (result["title"], report.one_line(str(error))))
            finally:
                way.down(link)
                harness.forget_ended(net)
            progress.step(WAY_S)
    return {"rate_bit_s": RATE_BIT_S, "burst": BURST, "latency": LATENCY,
            "writes": {kind: title for kind, (title, _) in WRITES.items()}, "ways": results}


def lines(result):
    """The table."""
    yield "A link of 1 Gbit/s (tbf, burst %s, latency %s): goodput of one TCP stream over IPv4" \
        % (result["burst"], result["latency"])
    bare_allowed = result["ways"]["veth"]["headers_allow_mbit_s"]
    for kind, title in result["writes"].items():
        yield ""
        yield "%-28s %28s  %38s  %s" % (title, "Mbit/s:   min   median      max",
                                       "% below bare link:   min  median     max", "by headers alone")
        for name, way in result["ways"].items():
            rates, shares = way[kind]["goodput_mbit_s"], way[kind]["share_of_bare_link"]
            if not rates:
                yield "  %-26s failed" % way["title"]
                continue
            text = "  %-26s %13.1f %8.1f %8.1f" % (way["title"], min(rates), statistics.median(rates), max(rates))
            if name != "veth" and shares:
                below = [100 * (1 - s) for s in shares]
                text += "  %22.1f %7.1f %7.1f  %16.1f" % (
                    min(below), statistics.median(below), max(below),
                    100 * (1 - way["headers_allow_mbit_s"] / bare_allowed))
            yield text
    yield from warnings(result)


def warnings(result):
    """Where the bucket did not count what a cable would carry, or the bare link was not filled."""
    for way in result["ways"].values():
        allowed = way["headers_allow_mbit_s"] * 1e6 / result["rate_bit_s"]
        for kind in result["writes"]:
            shares = way[kind]["payload_share"]
            if kind == "large" and shares and abs(statistics.median(shares) / allowed - 1) > 0.01:
                yield "note: %s, %s writes: %.4f of what tbf counted was payload, and not %.4f" % (
                    way["title"], kind, statistics.median(shares), allowed)
    rates = result["ways"]["veth"]["large"]["goodput_mbit_s"]
    if rates and statistics.median(rates) < 0.98 * result["ways"]["veth"]["headers_allow_mbit_s"]:
        yield "note: this machine does not fill the bare link"
    for way in result["ways"].values():
        for error in way["errors"]:
            yield "failed: %s: %s" % (way["title"], report.one_line(error))
