#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Measures VAN beside other tunnels (`bench.py tunnels`, what `make bench` runs) and what applications
have of it (`bench.py apps`). docs/performance.md says what the figures mean and what can be set.

Progress is on stderr, tables are on stdout, all figures in BUILD/bench/. Its exit status says whether
it could measure, never what.
"""

import os
import sys
import time

import apps
import chart
import contestants as them
import harness
import measure
import rate
import report
from harness import UsageError

PARTS = list(measure.TESTS) + ["idle", "rate"]
UP_DOWN_S = 4


def read_settings():
    seconds = harness.setting("BENCH_SECONDS", 3, int, 1)
    return {
        "rounds": harness.setting("BENCH_ROUNDS", 3, int, 1),
        "seconds": seconds,
        "idle_seconds": harness.setting("BENCH_IDLE_SECONDS", 60, int, 1),
        "tests": harness.words("BENCH_TESTS", PARTS),
        "extra_dir": os.environ.get("BENCH_EXTRA") or None,
        "congestion_control": harness.congestion_control(),
        "van_config": harness.van_config(),
    }


def choose(net, settings):
    """The contestants of this run; the veth always, for all others are compared with it."""
    every = them.all_contestants(net, settings["van_config"], settings["extra_dir"])
    names = harness.words("BENCH_ONLY", [c.name for c in every])
    return [c for c in every if c.name in names or c.kind == "reference"]


def describe(contestant):
    reason = contestant.reason_to_skip()
    return {"title": contestant.title, "kind": contestant.kind, "layer": contestant.layer,
            "note": contestant.note, "version": contestant.version() if reason is None else None,
            "from_bench_extra": isinstance(contestant, them.Extra), "readable_on_the_link": None,
            "skipped": reason, "rounds": [], "summary": {}}


def measure_turn(link, contestant, turn, result, settings, progress):
    """One contestant's turn: up, checked, every test, down. Failures are noted, and the rest goes on."""
    heading = "round %d of %d" % (turn, settings["rounds"])
    row = {"round": turn, "figures": {}, "errors": {}}
    tests = [(name, *measure.TESTS[name]) for name in settings["tests"] if name in measure.TESTS]

    def failed(what, error):
        row["errors"][what] = str(error) or repr(error)
        progress.note("%s, %s, %s: %s" % (heading, contestant.title, what, report.one_line(row["errors"][what])))

    try:
        progress.show("%s, %s" % (heading, contestant.title), "starts")
        contestant.up(link)
        result["readable_on_the_link"] = measure.verify(link, contestant)
    except harness.EXPECTED as error:
        failed("start", error)
        if turn == 1:
            result["skipped"] = "does not run here: " + row["errors"]["start"]
        return
    else:
        for name, title, function, runs, more_s in tests:
            progress.show("%s, %s" % (heading, contestant.title), title)
            try:
                row["figures"].update(function(link, contestant, settings["seconds"]))
            except harness.EXPECTED as error:
                failed(title, error)
            progress.step(runs * settings["seconds"] + more_s)
        row["figures"].update(measure.memory(contestant))
        if contestant.ended():
            failed("all", "%s ended by itself" % " and ".join(contestant.ended()))
    finally:
        contestant.down(link)
        harness.forget_ended(link.net)
        if result["skipped"] is None:
            result["rounds"].append(row)


def turn_s(settings):
    return UP_DOWN_S + sum(runs * settings["seconds"] + more for name, (_, _, runs, more) in measure.TESTS.items()
                           if name in settings["tests"])


def run_rounds(net, chosen, results, settings, progress):
    link = harness.Link(net, congestion_control=settings["congestion_control"])
    background = []
    for turn in range(1, settings["rounds"] + 1):
        background.append(harness.background_share())
        for contestant in chosen:
            result = results[contestant.name]
            before = progress.done
            if result["skipped"] is None:
                measure_turn(link, contestant, turn, result, settings, progress)
                progress.step(UP_DOWN_S)
            progress.done = before + turn_s(settings)
    return background


def run_idle(net, settings, progress):
    van = them.Van(net, "van-idle", config=settings["van_config"])
    link = harness.Link(net, "idle-")
    try:
        van.up(link)
        progress.show("idle", "nothing is sent for %g s" % settings["idle_seconds"])
        figures = measure.idle(link, van, settings["idle_seconds"])
        progress.step(settings["idle_seconds"] + UP_DOWN_S)
        return {"seconds": settings["idle_seconds"], "figures": figures}
    except harness.EXPECTED as error:
        progress.note("idle: %s" % report.one_line(str(error)))
        return {"figures": {}, "error": str(error)}
    finally:
        van.down(link)


def planned_s(settings, count):
    total = 0.0
    if set(settings["tests"]) & set(measure.TESTS):
        total += settings["rounds"] * count * turn_s(settings)
    if "idle" in settings["tests"]:
        total += settings["idle_seconds"] + UP_DOWN_S
    if "rate" in settings["tests"]:
        total += rate.planned_s(settings["rounds"], settings["seconds"])
    return total


def print_results(results):
    for text in report.heading_lines(results):
        print(text)
    for text in report.contestant_lines(results["contestants"]):
        print(text)
    for figure in report.FIGURES:
        for text in report.figure_lines(results["contestants"], *figure):
            print(text)
    for text in report.summary_lines(results["contestants"]):
        print(text)
    if results["idle"]["figures"]:
        figures = results["idle"]["figures"]
        print("\nVAN, idle for %d s: %.3f %% of a core a node, %.0f bytes per peer per minute" % (
            results["idle"]["seconds"], figures["idle_tunnel_cpu_percent_of_core_per_node"],
            figures["idle_bytes_per_peer_per_minute"]))
    if results["rate_limited"]["ways"]:
        print()
        for text in rate.lines(results["rate_limited"]):
            print(text)
    for text in report.goal_lines(results["goals"]):
        print(text)
    for text in harness.background_warning(results["background_cpu_share"]):
        print("\n" + text)


def run_tunnels():
    settings = read_settings()
    harness.check_root()
    with harness.topology("bench") as net:
        chosen = choose(net, settings)
        results = {"format": 1, "started": harness.now_text(), "settings": settings,
                   "machine": harness.describe_machine(),
                   "contestants": {c.name: describe(c) for c in chosen}, "background_cpu_share": [],
                   "idle": {"figures": {}}, "rate_limited": {"ways": {}}}
        began = time.monotonic()
        active = [c for c in chosen if results["contestants"][c.name]["skipped"] is None]
        for c in chosen:
            if c not in active:
                print("skipped: %s: %s" % (c.title, results["contestants"][c.name]["skipped"]), file=sys.stderr)
        progress = harness.Progress(planned_s(settings, len(active)))
        if set(settings["tests"]) & set(measure.TESTS):
            results["background_cpu_share"] = run_rounds(net, active, results["contestants"], settings, progress)
        if "idle" in settings["tests"]:
            results["idle"] = run_idle(net, settings, progress)
        if "rate" in settings["tests"]:
            results["rate_limited"] = rate.run(net, settings, progress)
        progress.end()
        results["took_s"] = round(time.monotonic() - began, 1)
    report.summarise(results["contestants"])
    results["goals"] = report.judge(results)
    print_results(results)
    paths = [harness.write_json("results.json", results)]
    machine = results["machine"]
    drawing = chart.svg(results["contestants"], "%s, %d processors (%s), Linux %s, %s; rounds: %d" % (
        machine["cpu_model"], machine["cpus"], " ".join(machine["cpu_flags"]), machine["kernel"],
        results["started"], settings["rounds"]))
    if drawing:
        paths.append(harness.write_text("chart.svg", drawing))
    print("\n%s" % " and ".join(os.path.relpath(p) for p in paths))
    broken = [c["title"] for c in results["contestants"].values() if c["kind"] == "van" and c["skipped"]]
    if broken:
        raise harness.vannet.Failure("%s could not be measured" % " and ".join(broken))


def run_apps():
    rounds = harness.setting("BENCH_ROUNDS", 3, int, 1)
    seconds = harness.setting("BENCH_SECONDS", 3, int, 1)
    chosen = harness.words("BENCH_ONLY", apps.APPS)
    config = harness.van_config()
    harness.check_root()
    results = {"format": 1, "started": harness.now_text(), "machine": harness.describe_machine(),
               "settings": {"rounds": rounds, "seconds": seconds, "apps": chosen, "van_config": config}}
    with harness.topology("bench-apps") as net:
        results.update(apps.run(net, rounds, seconds, chosen, config))
    results["goals"] = report.judge(results)
    for text in [*apps.lines(results), *report.goal_lines(results["goals"]),
                 *harness.background_warning(results["background_cpu_share"])]:
        print(text)
    print("\n%s" % os.path.relpath(harness.write_json("apps.json", results)))


def main(argv):
    parts = {"tunnels": run_tunnels, "apps": run_apps}
    if len(argv) != 2 or argv[1] not in parts:
        print("usage: bench.py tunnels | apps", file=sys.stderr)
        return 2
    try:
        parts[argv[1]]()
        return 0
    except UsageError as error:
        print("bench: %s" % error, file=sys.stderr)
        return 2
    except harness.vannet.Failure as error:
        print("bench: %s" % error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nbench: interrupted; everything is removed", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main(sys.argv))
