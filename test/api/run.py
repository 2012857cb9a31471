#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Tests of the REST interfaces against a real console-api on 127.0.0.1.

    BUILD=build python3 test/api/run.py [-v] [-jN] [--etcd|--both] [--long] [NAME...]

Every function test_* of every test_*.py here is a test; it gets a Console that is running on a fresh
state directory. A test that raises has failed, one that raises Skip was skipped, and says why. One line
a test; with NAME only those tests whose name contains one of them. When the console is stopped at the
end of a test, everything in its store must fit together. With --etcd the stores of all consoles are in
an etcd that is started here; NOT_ON_ETCD is left out then. With --both everything runs on SQLite, and
BOTH on etcd too. With --long it is the functions long_* that run: they take minutes, and print figures.

Several tests run at once, each in a process of its own (-jN: so many; many of them wait most of the time);
those that measure (ALONE) and the long ones run one by one. What is made in the temporary directory goes
with the run, also when it is interrupted.
"""
import fnmatch
import importlib
import multiprocessing
import multiprocessing.connection
import os
import shutil
import signal
import sys
import tempfile
import time
import traceback

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
import consoletest  # noqa: E402
import etcdtest  # noqa: E402

# What looks into the SQLite file, or counts on what etcd does otherwise (one transaction for everything,
# two threads fewer, revisions that the writes of all raise), and what starts an etcd of its own anyhow.
NOT_ON_ETCD = {
    "agent.changes_of_one_node_are_limited", "agent.many_waiting_nodes",
    "agent.reports_that_say_nothing_new_write_nothing",
    "agent_protocol.a_tls_key_that_is_missing_is_not_made_anew",
    "agent_protocol.signatures_of_agents_of_version_0_1", "console.command_line", "console.crash_at_first_start",
    "console.damaged_files_are_not_overwritten", "console.files_of_the_first_start", "console.full_disk",
    "durability.*", "idempotency.an_answer_that_was_lost",
    "idempotency.it_survives_a_restart_and_keeps_no_secret", "object_limits.an_import_in_parts_*",
    "object_limits.two_consoles_*", "registry.secrets_are_not_in_the_store",
    "store.a_mesh_moves_between_stores", "store.a_network_larger_than_a_transaction_is_deleted",
    "store.a_store_of_version_0_1_0", "store.an_interrupted_import_is_noticed",
    "store.audit_rows_of_others_cost_nothing_and_tell_nothing",
    "store.audit_rows_say_who_what_before_and_after", "store.audit_verify_finds_what_was_done_to_rows",
    "store.check_notices_what_is_missing", "store.command_lines", "store.etcd_*", "store.two_consoles_*",
    "store.one_use_for_100_clients_at_two_consoles", "store.a_console_that_missed_what_was_compacted",
    "store.a_cluster_from_a_snapshot",
    "topology.on_etcd", "topology.several_networks_at_once",
}

# What depends on the store most.
BOTH = ["agent.lost_answer", "agent.long_poll", "agent.numbers_never_fall", "idempotency.", "object_limits.",
        "openapi.", "registry.", "store.", "topology.round_trip", "watch.1000_watchers"]


# What measures how long something takes, or what it takes of the machine.
ALONE = ["agent.many_waiting_nodes", "agent_load.", "limits.", "store.audit_rows_of_others", "watch.1000"]
AT_ONCE = 4


def collect(names):
    prefix = "long_" if "--long" in sys.argv[1:] else "test_"
    for module_name in sorted(f[:-3] for f in os.listdir(HERE)
                              if f.startswith("test_") and f.endswith(".py")):
        module = importlib.import_module(module_name)
        for name, function in list(vars(module).items()):
            if not name.startswith(prefix) or not callable(function):
                continue
            label = f"{module_name[5:]}.{name[len(prefix):]}"
            if not names or any(n in label for n in names):
                yield label, function


def on_etcd(tests):
    """Without those of NOT_ON_ETCD, each of which there must be."""
    labels = [label for label, _ in collect([])]
    for pattern in NOT_ON_ETCD:
        assert "--long" in sys.argv[1:] or fnmatch.filter(labels, pattern), f"no test {pattern}"
    return [(label, function) for label, function in tests
            if not any(fnmatch.fnmatch(label, pattern) for pattern in NOT_ON_ETCD)]


def run_one(function):
    """Returns the word for the line, and the text that explains it."""
    log = ""
    try:
        with consoletest.Console(**getattr(function, "options", {})) as console:
            try:
                function(console)
                if console.process:
                    console.check_running()
                    console.stop()  # what leaks is told at the end
                    console.check_store()
                console.check_log()
            except Exception:
                log = "".join("  | " + line for line in console.log().splitlines(True)[-40:])
                raise
        return "ok", ""
    except consoletest.Skip as e:
        return "SKIP", str(e)
    except Exception:  # whatever it is, it is this test's failure
        return "FAIL", traceback.format_exc() + log


def on_end(*_):
    raise KeyboardInterrupt


def in_process(function, pipe, output):
    """What run_one() says, and its seconds, into the pipe; what the test prints, into the file."""
    signal.signal(signal.SIGTERM, on_end)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent passes it on as SIGTERM
    os.dup2(output.fileno(), 1)
    os.dup2(output.fileno(), 2)
    start = time.monotonic()
    try:
        word, text = run_one(function)
    except KeyboardInterrupt:
        word, text = "FAIL", "interrupted"
    sys.stdout.flush()
    pipe.send((word, text, time.monotonic() - start))


class Running:
    """A test in a process of its own."""
    fork = multiprocessing.get_context("fork")

    def __init__(self, label, function):
        self.label = label
        self.output = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")
        self.pipe, pipe = self.fork.Pipe(duplex=False)
        self.process = self.fork.Process(target=in_process, args=(function, pipe, self.output))
        self.process.start()
        pipe.close()

    def result(self):
        """When the pipe is readable."""
        try:
            word, text, took_s = self.pipe.recv()
        except EOFError:
            word, text, took_s = "FAIL", "the test's process ended", 0
        self.process.join()
        self.output.seek(0)
        print(self.output.read(), end="", flush=True)
        return word, text, took_s


def main():
    words = sys.argv[1:]
    tests = list(collect([w for w in words if not w.startswith("-")]))
    counts = {"ok": 0, "FAIL": 0, "SKIP": 0}
    start = time.monotonic()
    consoletest.find_programs()
    signal.signal(signal.SIGTERM, on_end)
    # Whatever a test leaves when it is killed goes with this.
    tempfile.tempdir = tempfile.mkdtemp(prefix="console-test-")
    try:
        if "--etcd" not in words:
            run(tests, counts)
        if "--etcd" in words:
            run_on_etcd(tests, counts)
        elif "--both" in words:
            also = {label for label, _ in collect(BOTH)}
            run_on_etcd([test for test in tests if test[0] in also], counts)
    except KeyboardInterrupt:
        print("interrupted")
        counts["FAIL"] += 1
    finally:
        shutil.rmtree(tempfile.tempdir, ignore_errors=True)
    skipped = f", {counts['SKIP']} skipped" if counts["SKIP"] else ""
    took = f" in {time.monotonic() - start:.0f} s" if "-v" in words else ""
    print(f"{counts['ok']} passed, {counts['FAIL']} failed{skipped}{took}")
    return 1 if counts["FAIL"] or not counts["ok"] else 0


def run_on_etcd(tests, counts):
    try:
        with etcdtest.Etcd() as etcd:
            consoletest.store_lines = lambda console: etcd.config(
                f'etcd_prefix = "/{os.path.basename(console.dir)}/";\n')
            run(on_etcd(tests), counts, " on etcd")
    except consoletest.Skip as e:
        print(f"SKIP everything on etcd: {e}", flush=True)
        counts["SKIP"] += 1


def at_once():
    if "--long" in sys.argv[1:]:
        return 1
    return next((int(w[2:]) for w in sys.argv[1:] if w.startswith("-j")), AT_ONCE)


def run(tests, counts, where=""):
    alone = {label for label, _ in collect(ALONE)} if tests else set()
    run_some([t for t in tests if t[0] not in alone], counts, where, at_once())
    run_some([t for t in tests if t[0] in alone], counts, where, 1)


def run_some(tests, counts, where, at_most):
    verbose = "-v" in sys.argv[1:]
    waiting, running = list(reversed(tests)), {}
    try:
        while waiting or running:
            while waiting and len(running) < at_most:
                one = Running(*waiting.pop())
                running[one.pipe] = one
            for pipe in multiprocessing.connection.wait(list(running)):
                one = running.pop(pipe)
                word, text, took_s = one.result()
                counts[word] += 1
                took = f" ({took_s:.2f} s)" if verbose else ""
                why = f": {text}" if word == "SKIP" else ""
                print(f"{word:4} {one.label}{where}{took}{why}", flush=True)
                if word == "FAIL":
                    print(text, flush=True)
    finally:
        for one in running.values():
            one.process.terminate()
        for one in running.values():
            one.process.join()


if __name__ == "__main__":
    sys.exit(main())
