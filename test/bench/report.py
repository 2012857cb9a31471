# SPDX-License-Identifier: Apache-2.0
"""Statistics, tables and goals. Pure: results in, lines out."""

import re
import statistics

# name of the figure, title, unit, digits
FIGURES = [
    ("tcp1_ab_gbit_s", "TCP, 1 stream, a to b", "Gbit/s", 2),
    ("tcp1_ba_gbit_s", "TCP, 1 stream, b to a", "Gbit/s", 2),
    ("tcp4_ab_gbit_s", "TCP, 4 streams, a to b", "Gbit/s", 2),
    ("tcp4_ba_gbit_s", "TCP, 4 streams, b to a", "Gbit/s", 2),
    ("gateway_ab_gbit_s", "TCP, 1 stream, from a host behind a, which forwards, to b", "Gbit/s", 2),
    ("gateway_ba_gbit_s", "TCP, 1 stream, from b to a host behind a", "Gbit/s", 2),
    ("udp64_delivered_kpps", "UDP delivered, 64 bytes of payload", "kpps", 1),
    ("udp1400_delivered_kpps", "UDP delivered, 1400 bytes with headers", "kpps", 1),
    ("rtt_idle_p50_us", "round-trip time, idle: median", "µs", 1),
    ("rtt_idle_p90_us", "round-trip time, idle: 90th percentile", "µs", 1),
    ("rtt_idle_p99_us", "round-trip time, idle: 99th percentile", "µs", 1),
    ("rtt_idle_max_us", "round-trip time, idle: longest", "µs", 0),
    ("rtt_idle_tunnel_cpu_us", "processor time of the tunnel's processes for each round trip, idle", "µs", 1),
    ("rtt_load_p50_us", "round-trip time under a TCP load: median", "µs", 0),
    ("rtt_load_p90_us", "round-trip time under a TCP load: 90th percentile", "µs", 0),
    ("rtt_load_p99_us", "round-trip time under a TCP load: 99th percentile", "µs", 0),
    ("rtt_load_max_us", "round-trip time under a TCP load: longest", "µs", 0),
    ("tcp1_ab_machine_cpu_s_per_gb", "processor time of the whole machine, TCP, 1 stream, a to b", "s/GB", 2),
    ("tcp1_ab_tunnel_cpu_s_per_gb", "processor time of the tunnel's processes, TCP, 1 stream, a to b", "s/GB", 2),
    ("rss_mib_per_node", "memory (RSS) of a node's processes, after the load", "MiB", 1),
]
# of the table at the end
SUMMARY = [
    ("tcp1_ab_gbit_s", "TCP 1 >"), ("tcp1_ba_gbit_s", "TCP 1 <"), ("tcp4_ab_gbit_s", "TCP 4 >"),
    ("tcp4_ba_gbit_s", "TCP 4 <"), ("gateway_ab_gbit_s", "LAN >"), ("gateway_ba_gbit_s", "LAN <"),
    ("udp64_delivered_kpps", "UDP 64"), ("udp1400_delivered_kpps", "UDP 1400"),
    ("rtt_idle_p50_us", "RTT"), ("rtt_load_p50_us", "RTT load"), ("tcp1_ab_machine_cpu_s_per_gb", "CPU"),
    ("rss_mib_per_node", "RSS"),
]
REFERENCE = "veth"


def spread(values):
    """{"min", "median", "max", "samples"} of numbers; None without any."""
    values = [v for v in values if v is not None]
    if not values:
        return None
    return {"min": min(values), "median": statistics.median(values), "max": max(values),
            "samples": len(values)}


def pairs(rounds, reference_rounds, figure):
    """(value, the reference's value in the same round) of all rounds that have both."""
    reference = {r["round"]: r["figures"].get(figure) for r in reference_rounds}
    found = [(r["figures"].get(figure), reference.get(r["round"])) for r in rounds]
    return [(value, of) for value, of in found if value is not None and of is not None]


def summarise(contestants):
    """Adds to each contestant "summary": {figure: spread, with "ratio_to_veth" and, of times, "added"}."""
    reference = contestants.get(REFERENCE, {}).get("rounds", [])
    for contestant in contestants.values():
        summary = {}
        names = dict.fromkeys(name for r in contestant["rounds"] for name in r["figures"])
        for name in names:
            row = spread([r["figures"].get(name) for r in contestant["rounds"]])
            if row is None:
                continue
            both = pairs(contestant["rounds"], reference, name)
            ratio = spread([value / of for value, of in both if of])
            if ratio:
                row["ratio_to_veth"] = ratio
            if name.endswith("_us"):
                row["added_to_veth"] = spread([value - of for value, of in both])
            summary[name] = row
        contestant["summary"] = summary


def ratio_between(contestants, one, other, figure):
    """The median of the ratios of two contestants in the same rounds, or None."""
    both = pairs(contestants[one]["rounds"], contestants[other]["rounds"], figure)
    row = spread([value / of for value, of in both if of])
    return row["median"] if row else None


def one_line(text, width=160):
    """The beginning and the end matter: what failed, and what a program said last."""
    text = "; ".join(part.strip() for part in text.splitlines() if part.strip())
    return text if len(text) <= width else text[:width // 2] + " … " + text[-width // 2:]


# -- tables -----------------------------------------------------------------------------------------

def number(value, digits):
    return "%.*f" % (digits, value)


def figure_lines(contestants, name, title, unit, digits):
    """One figure of all: nothing where nobody has it."""
    rows = [(c, c["summary"].get(name)) for c in contestants.values()]
    if not any(row for _, row in rows):
        return
    ratios = any(row and "ratio_to_veth" in row for c, row in rows)
    yield ""
    yield "%s, %s" % (title, unit)
    yield "  %-28s %9s %9s %9s" % ("", "min", "median", "max") + \
        ("   of the veth: %7s %9s %9s" % ("min", "median", "max") if ratios else "")
    for contestant, row in rows:
        if row is None:
            forwards = contestant["layer"] == 2 or not name.startswith("gateway_")
            if contestant["rounds"] and contestant["kind"] in ("van", "peer") and forwards:
                yield "  %-28s %9s" % (contestant["title"], "failed")
            continue
        text = "  %-28s %9s %9s %9s" % ((contestant["title"],) + tuple(
            number(row[k], digits) for k in ("min", "median", "max")))
        if "ratio_to_veth" in row:
            text += "   %20s %9s %9s" % tuple(number(row["ratio_to_veth"][k], 3) for k in ("min", "median", "max"))
        yield text


def summary_lines(contestants):
    """Medians of the most important figures, a line for each contestant."""
    shown = [(name, head) for name, head in SUMMARY if any(name in c["summary"] for c in contestants.values())]
    if not shown:
        return
    digits = {name: d for name, _, _, d in FIGURES}
    units = {name: u for name, _, u, _ in FIGURES}
    yield ""
    yield "Medians ('>' is from a to b)"
    yield "  %-28s" % "" + "".join(" %9s" % head for _, head in shown)
    yield "  %-28s" % "" + "".join(" %9s" % units[name] for name, _ in shown)
    for contestant in contestants.values():
        if not contestant["rounds"]:
            continue
        cells = []
        for name, _ in shown:
            row = contestant["summary"].get(name)
            cells.append(" %9s" % (number(row["median"], digits[name]) if row else "-"))
        yield "  %-28s" % contestant["title"] + "".join(cells)


def heading_lines(results):
    """Where, and how."""
    machine, settings = results["machine"], results["settings"]
    yield "%s, %d processors (%s), Linux %s" % (machine["cpu_model"], machine["cpus"],
                                                " ".join(machine["cpu_flags"]), machine["kernel"])
    yield "rounds: %d, %d s for each measurement; TCP with %s; everything on the same processors" % (
        settings["rounds"], settings["seconds"],
        settings.get("congestion_control") or machine["tcp_congestion_control"])
    yield ""


def contestant_lines(contestants):
    """Who took part, how, and who did not, and why."""
    for i, c in enumerate(c for c in contestants.values() if c["rounds"]):
        if i == 0:
            yield "Measured"
        yield "  %-28s %s" % (c["title"], c["version"])
        yield "  %-28s %s" % ("", c["note"])
    skipped = [c for c in contestants.values() if c["skipped"] is not None]
    if skipped:
        yield ""
        yield "Skipped"
        for c in skipped:
            yield "  %-28s %s" % (c["title"], one_line(c["skipped"]))
    failed = [(c, r, what, why) for c in contestants.values() for r in c["rounds"]
              for what, why in r["errors"].items()]
    if failed:
        yield ""
        yield "Failed"
        for c, r, what, why in failed:
            yield "  %s, round %d, %s: %s" % (c["title"], r["round"], what, one_line(why))


# -- goals ------------------------------------------------------------------------------------------

def _both_directions(results, figure, of):
    """The lower one of the medians of both directions."""
    values = [of(results, figure % direction) for direction in ("ab", "ba")]
    return None if None in values else min(values)


def _share(name):
    def of(results, figure):
        row = results.get("contestants", {}).get(name, {}).get("summary", {}).get(figure, {})
        return row.get("ratio_to_veth", {}).get("median")
    return of


def _times(name, other):
    return lambda results, figure: ratio_between(results["contestants"], name, other, figure)


def _peers(results):
    """Contestants that are tunnels of others, in user space, and that were measured."""
    return [n for n, c in results.get("contestants", {}).items() if c["kind"] == "peer" and c["summary"]]


def judge_tcp_share(results, limit):
    yield "TCP, 1 stream, share of the bare veth (lower direction)", _both_directions(
        results, "tcp1_%s_gbit_s", _share("van")), limit, "%.2f"


def judge_tcp_peers(results, limits):
    for peer in _peers(results):
        extra = results["contestants"][peer]["from_bench_extra"]
        name = next((key for key in limits if key and peer.startswith(key)), "") if extra else ""
        if extra and not name:
            continue
        yield "TCP, 1 stream, against %s" % results["contestants"][peer]["title"], _both_directions(
            results, "tcp1_%s_gbit_s", _times("van", peer)), limits[name], "%.1f×"


def judge_udp64(results, limit):
    release = re.match(r"(\d+)\.(\d+)", results["machine"]["kernel"])
    if release and (int(release.group(1)), int(release.group(2))) >= (6, 2):
        yield "64-byte UDP delivered, share of the bare veth", _share("van")(results, "udp64_delivered_kpps"), \
            limit, "%.2f"


def judge_rtt(results, _):
    """Each against the fastest peer."""
    def added(name):
        row = results["contestants"][name]["summary"].get("rtt_idle_p50_us")
        return row and row.get("added_to_veth") and row["added_to_veth"]["median"]

    peers = [(added(p), p) for p in _peers(results) if added(p) is not None]
    van = added("van") if "van" in results.get("contestants", {}) else None
    if peers and van is not None:
        least, name = min(peers)
        yield "RTT added, median, idle, in µs (least of a peer: %s)" % results["contestants"][name]["title"], \
            van, ("<", least), "%.1f"


def judge_rate(results, limits):
    for mtu, limit in limits.items():
        way = results.get("rate_limited", {}).get("ways", {}).get("van-%d" % mtu, {})
        shares = way.get("large", {}).get("share_of_bare_link")
        if shares:
            yield "1 Gbit/s link, large writes, MTU %d: %% below the bare link" % mtu, \
                100 * (1 - statistics.median(shares)), ("<=", limit), "%.1f"


def judge_idle(results, limits):
    idle = results.get("idle", {}).get("figures", {})
    for figure, (title, limit, shown) in limits.items():
        if figure in idle:
            yield title, idle[figure], ("<", limit), shown


def judge_redis(results, limit):
    for test in ("GET", "SET"):
        ratio = results.get("redis", {}).get("ratios", {}).get("%s_pipelined" % test, {}).get("van_to_tls")
        if ratio:
            yield "redis %s, 1 KB values, pipelined: plain over VAN against TLS" % test, ratio["median"], \
                (">", limit), "%.2f×"


# What is judged, and the goals themselves.
GOALS = [
    (judge_tcp_share, 0.40),
    # by the beginning of the name of what BENCH_EXTRA adds; "" is what Debian ships
    (judge_tcp_peers, {"": 6, "nebula": 2, "wireguard": 4}),
    (judge_udp64, 0.60),
    (judge_rtt, None),
    (judge_rate, {1360: 6.5, 1400: 6.0}),
    (judge_idle, {"idle_tunnel_cpu_percent_of_core_per_node": ("idle: % of a core, a node", 0.1, "%.3f"),
                  "idle_bytes_per_peer_per_minute": ("idle: bytes per peer per minute", 1024, "%.0f")}),
    (judge_redis, 1.0),
]
COMPARE = {">=": lambda a, b: a >= b, "<=": lambda a, b: a <= b, "<": lambda a, b: a < b, ">": lambda a, b: a > b}


def judge(results):
    """A row for each goal that these results can judge."""
    rows = []
    for function, limit in GOALS:
        for title, value, goal, shown in function(results, limit):
            sign, goal = goal if isinstance(goal, tuple) else (">=", goal)
            if value is None:
                continue
            rows.append({"goal": title, "value": value, "limit": goal, "sign": sign, "format": shown,
                         "met": COMPARE[sign](value, goal)})
    return rows


def goal_lines(rows):
    if not rows:
        return
    yield ""
    yield "Goals"
    for row in rows:
        yield "  %-72s %10s   goal %s %-9s %s" % (
            row["goal"], row["format"] % row["value"], row["sign"], row["format"] % row["limit"],
            "met" if row["met"] else "NOT MET")
