#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Tests of what the benchmarks do with figures: statistics, tables, goals, chart; and whether the
micro-benchmarks run. Measures nothing, needs no root. The last line is "N passed, N failed"."""

import json
import os
import re
import subprocess
import sys
import tempfile
import traceback
import xml.etree.ElementTree as ElementTree

import apps
import bench
import chart
import harness
import rate
import report
from vannet import BUILD, check


def contestant(kind, title, rounds, **more):
    """rounds: a table of figures for each, or None where it failed."""
    return {"title": title, "kind": kind, "layer": 2, "note": "", "version": "1", "from_bench_extra": False,
            "skipped": None, "summary": {}, **more,
            "rounds": [{"round": i + 1, "figures": f or {}, "errors": {} if f else {"TCP": "no\nway"}}
                       for i, f in enumerate(rounds)]}


def figures(tcp, udp, rtt):
    return {"tcp1_ab_gbit_s": tcp, "tcp1_ba_gbit_s": tcp / 2, "udp64_delivered_kpps": udp, "rtt_idle_p50_us": rtt}


def example():
    results = {"machine": {"kernel": "6.2.1", "cpu_model": "x", "cpus": 2, "cpu_flags": []},
               "idle": {"figures": {"idle_bytes_per_peer_per_minute": 1024.0}},
               "contestants": {
                   "veth": contestant("reference", "bare veth", [figures(40, 400, 20), figures(20, 500, 30),
                                                                 figures(30, 450, 25)]),
                   "van": contestant("van", "VAN <&>", [figures(20, 300, 80), None, figures(12, 270, 105)]),
                   "tinc": contestant("peer", "tinc", [figures(2, 100, 120), figures(1, 90, 110), figures(2, 80, 100)]),
                   "gone": contestant("peer", "gone", [], skipped="not installed\nhere")}}
    report.summarise(results["contestants"])
    return results


def test_spread():
    check(report.spread([3, None, 1, 2, 10]) == {"min": 1, "median": 2.5, "max": 10, "samples": 4}, "spread")
    check(report.spread([None]) is None and report.spread([]) is None, "spread of nothing")


def test_ratios_are_of_the_same_round():
    row = example()["contestants"]["van"]["summary"]
    check(row["tcp1_ab_gbit_s"]["ratio_to_veth"] == {"min": 0.4, "median": 0.45, "max": 0.5, "samples": 2},
          lambda: "ratio: %s" % row["tcp1_ab_gbit_s"])
    check(row["rtt_idle_p50_us"]["added_to_veth"]["median"] == 70, "added")
    check(report.ratio_between(example()["contestants"], "van", "tinc", "tcp1_ab_gbit_s") == 8, "between")


def test_goals():
    rows = {row["goal"].split(",")[0] + row["goal"][-6:]: row for row in report.judge(example())}
    met = [(row["goal"], row["met"]) for row in rows.values()]
    check(len(rows) == 5, lambda: "goals: %s" % met)
    by = {row["goal"]: row for row in rows.values()}

    def goal(beginning):
        return next(row for title, row in by.items() if title.startswith(beginning))

    check(goal("TCP, 1 stream, share")["met"] and goal("TCP, 1 stream, share")["value"] == 0.45, "share")
    check(goal("TCP, 1 stream, against tinc")["met"], "against tinc")
    check(goal("64-byte")["value"] == 0.675 and goal("64-byte")["met"], "64-byte UDP")
    check(goal("RTT")["met"] and goal("RTT")["limit"] == 80, "RTT")
    check(not goal("idle: bytes")["met"], "1024 bytes are not less than 1 KB")
    text = "\n".join(report.goal_lines(list(rows.values())))
    check(text.count(" met") == 4 and text.count("NOT MET") == 1, text)


def test_goals_without_figures():
    check(report.judge({"machine": {"kernel": "5.10.0"}}) == [], "nothing to judge")
    old = example()
    old["machine"]["kernel"] = "6.1.0-44-amd64"
    check(not any(row["goal"].startswith("64-byte") for row in report.judge(old)), "6.1 has no UDP super-frames")


def test_tables():
    contestants = example()["contestants"]
    text = "\n".join(report.contestant_lines(contestants))
    check("gone" in text and "not installed; here" in text and "round 2, TCP: no; way" in text, text)
    text = "\n".join(line for figure in report.FIGURES for line in report.figure_lines(contestants, *figure))
    check(re.search(r"VAN <&> +12\.00 +16\.00 +20\.00 +0\.400 +0\.450 +0\.500", text), text)
    check("TCP, 4 streams" not in text, "a table without figures")
    check(re.search(r"tinc +2\.00 +1\.00", "\n".join(report.summary_lines(contestants))), "summary")


def test_chart():
    drawing = chart.svg(example()["contestants"], "sub & title")
    root = ElementTree.fromstring(drawing)
    texts = [e.text for e in root.iter("{http://www.w3.org/2000/svg}text")]
    check("VAN <&>" in texts and "sub & title" in texts and "gone" not in texts, lambda: str(texts))
    bars = [e for e in root.iter("{http://www.w3.org/2000/svg}rect") if e.get("fill") == chart.COLOURS["van"]]
    check(len(bars) == 1 + 3, "a bar of VAN in each of 3 panels, and the legend")
    check(chart.svg({}, "") is None, "nothing to draw")
    for value in (0.003, 0.9, 1, 7.4, 99, 1234):
        check(value * 0.999 <= chart.round_up(value) <= 1.6 * value, "scale for %g: %g" % (value, chart.round_up(value)))


def test_rate_table():
    check(abs(rate.headers_share() - 1448 / 1514) < 1e-9, "bare link")
    check(abs(1 - rate.headers_share(1400) / rate.headers_share() - 0.0566) < 1e-4, "headers' own loss")
    ways = {name: {"title": name, "errors": [], "headers_allow_mbit_s": allowed,
                   **{kind: {"goodput_mbit_s": [mbit_s], "share_of_bare_link": [mbit_s / 950],
                             "payload_share": [allowed / 1000]} for kind in rate.WRITES}}
            for name, mbit_s, allowed in (("veth", 950.0, 956.4), ("van-1360", 893.0, 899.6))}
    result = {"rate_bit_s": 10 ** 9, "burst": "x", "latency": "y", "ways": ways,
              "writes": {kind: title for kind, (title, _) in rate.WRITES.items()}}
    text = "\n".join(rate.lines(result))
    check(re.search(r"van-1360 +893\.0 +893\.0 +893\.0 +6\.0 +6\.0 +6\.0 +5\.9", text), text)
    check("note:" not in text, text)
    ways["van-1360"]["large"]["payload_share"] = [0.98]
    check("note: van-1360" in "\n".join(rate.lines(result)), "a bucket that counts wrong is named")


def test_apps_table():
    rounds = {"GET": {"bare": [{"per_second": 100.0}, {"per_second": 200.0}], "van": [{"per_second": 80.0}, None],
                      "tls": [{"per_second": 40.0}, {"per_second": 50.0}]}}
    result = {"skipped": None, "version": "v", "unit": "u", "tests": {"GET": "get"}, "rounds": rounds, "errors": []}
    apps.summarise(result)
    check(result["ratios"]["GET"]["van_to_tls"] == {"min": 2, "median": 2, "max": 2, "samples": 1}, "ratio")
    results = {"redis": result, "postgresql": {"skipped": "not there"}}
    text = "\n".join(apps.lines(results))
    check("postgresql: skipped: not there" in text and "2.000" in text, text)


def test_settings():
    def refused(name, value, call):
        os.environ[name] = value
        try:
            call()
        except harness.UsageError as error:
            check(name in str(error), str(error))
            return True
        finally:
            del os.environ[name]
        return False

    check(refused("BENCH_ROUNDS", "0", bench.read_settings), "no rounds")
    check(refused("BENCH_SECONDS", "0.5", bench.read_settings), "not a whole number")
    check(refused("BENCH_TESTS", "tcp1,nonsense", bench.read_settings), "no such test")
    check(refused("BENCH_VAN", "[1]", bench.read_settings), "not an object")
    check(refused("BENCH_CC", "nonsense", bench.read_settings), "no such congestion control")
    os.environ["BENCH_TESTS"] = "udp64, tcp1"
    check(bench.read_settings()["tests"] == ["tcp1", "udp64"], "in the order in which they are run")
    del os.environ["BENCH_TESTS"]


def test_micro_runs():
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "micro.json")
        done = subprocess.run([os.path.join(BUILD, "test/bench/micro"), "-q", "-j", path], capture_output=True,
                              text=True, check=False, timeout=60)
        check(done.returncode == 0, done.stdout + done.stderr)
        with open(path, encoding="utf-8") as f:
            rows = json.load(f)["rows"]
    groups = {row["group"].split(",")[0] for row in rows}
    check(groups == {"seal and open", "super-frames", "fdb look-up", "replay window", "netmap of 10"},
          lambda: "groups: %s" % groups)
    for row in rows:
        check(0 < row["min_ns"] <= row["median_ns"] <= row["max_ns"] and len(row["samples_ns"]) == 3,
              lambda: "row: %s" % row)


def main():
    failed = 0
    tests = [(name, function) for name, function in globals().items() if name.startswith("test_")]
    for name, function in tests:
        try:
            function()
            print("ok   %s" % name[5:])
        except Exception:
            failed += 1
            print("FAIL %s\n%s" % (name[5:], traceback.format_exc()))
    print("%d passed, %d failed" % (len(tests) - failed, failed))
    return failed != 0


if __name__ == "__main__":
    sys.exit(main())
