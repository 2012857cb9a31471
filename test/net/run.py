#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Runs the network tests: one line a test, and at last "N passed, N failed[, N skipped]".

Every test runs in a process of its own, so that one that hangs or dies takes nothing along; what
it has made is written down as it is made, and removed here if it could not do so itself. Those that
wait most of the time run several at once, and the others then one by one.
"""

import argparse
import glob
import importlib
import inspect
import itertools
import os
import shutil
import signal
import sys
import time
import traceback

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
sys.dont_write_bytecode = True

import vannet  # noqa: E402

LOGS = os.path.join(vannet.ROOT, "build", "test-logs")
LIMIT_S = 120
# What waits for something most of the time runs beside others, but for what looks at how long it takes.
WAITING = ("clones.", "consoles.", "control.", "errors.", "nat.", "old_version.", "pmtu.", "registry.", "resources.",
           "reused_address.", "statistics.", "tls_switch.")
ALONE = ("consoles.revocation_reaches_connected_nodes_at_once", "statistics.known_traffic_over_two_workers")
PASSED, FAILED, SKIPPED = 0, 1, 77


def find_tests(pattern, long_ones):
    """(module, name, function) of each wanted test, in the order in which they stand."""
    tests = []
    for path in sorted(glob.glob(os.path.join(HERE, "test_*.py"))):
        module = importlib.import_module(os.path.basename(path)[:-3])
        functions = [(name, f) for name, f in inspect.getmembers(module, inspect.isfunction)
                     if name.startswith("test_") and f.__module__ == module.__name__]
        functions.sort(key=lambda item: item[1].__code__.co_firstlineno)
        for name, function in functions:
            full = "%s.%s" % (module.__name__[5:], name[5:])
            if name.startswith("test_long_") == long_ones and pattern in full:
                tests.append((full, function))
    return tests


class TimedOut(BaseException):
    pass


def run_one(name, function, log_dir, keep):
    """In the test's own process. Returns its exit status."""
    def on_alarm(_number, _frame):
        raise TimedOut()

    def on_end(_number, _frame):
        raise KeyboardInterrupt()

    signal.signal(signal.SIGALRM, on_alarm)
    signal.signal(signal.SIGTERM, on_end)
    limit = getattr(function, "limit_s", LIMIT_S) * max(1, vannet.TIME_FACTOR / 2)
    signal.alarm(int(limit))
    net = vannet.Topology(name, log_dir)
    status = PASSED
    try:
        function(net)
        signal.alarm(30)
        wrong = net.stop_daemons()
        if wrong:
            print("\n".join(wrong))
            status = FAILED
    except vannet.Skip as why:
        print("skipped: %s" % why)
        status = SKIPPED
    except vannet.Failure as failure:
        place = [f for f in traceback.extract_tb(failure.__traceback__) if "/test_" in f.filename]
        where = "%s:%d: " % (os.path.basename(place[-1].filename), place[-1].lineno) if place else ""
        print(where + str(failure))
        status = FAILED
    except TimedOut:
        print("not done after %g s, in:" % limit)
        traceback.print_exc()
        status = FAILED
    except BaseException:
        traceback.print_exc()
        status = FAILED
    signal.alarm(0)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if status == FAILED:
        for text in net.misbehaviour():
            print(text)
        for log in dict.fromkeys(process.log for process in net.processes if process.daemon):
            print("-- end of %s" % os.path.relpath(log, vannet.ROOT))
            print(vannet.tail(log, 6))
    if status == FAILED and keep:
        print("-- kept: %s" % " ".join(ns.name for ns in net.namespaces))
        print("   enter: ip netns exec NAME bash     remove: %s --clean" % os.path.relpath(__file__))
    else:
        net.close()
    return status


class Running:
    """A test in a process of its own."""

    def __init__(self, name, function, keep):
        self.name, self.keep = name, keep
        self.log_dir = os.path.join(LOGS, "%s-%d" % (name, os.getpid()))
        os.makedirs(self.log_dir)
        self.output = os.path.join(self.log_dir, "output")
        self.started = time.monotonic()
        sys.stdout.flush()
        self.pid = os.fork()
        if self.pid == 0:
            self.run(function)

    def run(self, function):
        status = FAILED
        try:
            fd = os.open(self.output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
            os.dup2(fd, 1)
            os.dup2(fd, 2)
            status = run_one(self.name, function, self.log_dir, self.keep)
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)

    def made(self):
        return os.path.join(self.log_dir, "made")

    def abort(self):
        os.kill(self.pid, signal.SIGTERM)
        os.waitpid(self.pid, 0)
        vannet.remove_recorded(self.made())

    def ended(self, wait_status):
        """Tidies up. Returns (status, seconds, output)."""
        status = os.waitstatus_to_exitcode(wait_status)
        if status not in (PASSED, SKIPPED):
            status = FAILED
        if not (status == FAILED and self.keep):
            vannet.remove_recorded(self.made())
        with open(self.output, errors="replace") as f:
            text = f.read()
        if status == PASSED and not self.keep:
            shutil.rmtree(self.log_dir, ignore_errors=True)
        return status, time.monotonic() - self.started, text


def run_tests(tests, at_once, keep):
    """Yields (name, status, seconds, output) of each as it ends."""
    tests, running = list(tests), {}
    try:
        while tests or running:
            while tests and len(running) < at_once:
                test = Running(*tests.pop(0), keep)
                running[test.pid] = test
            pid, wait_status = os.wait()
            test = running.pop(pid)
            yield (test.name, *test.ended(wait_status))
    finally:
        for test in running.values():
            test.abort()


def clean():
    for path in glob.glob(os.path.join(LOGS, "*", "made")):
        print("removing what %s made" % os.path.basename(os.path.dirname(path)))
        vannet.remove_recorded(path)


def unable():
    """Why no test can run here, or None."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    if not os.path.exists("/dev/net/tun"):
        return "there is no /dev/net/tun"
    for program in ("vand/vand", "vanctl/vanctl", "console-api/console-api", "test/tools/netprobe"):
        if not os.access(os.path.join(vannet.BUILD, program), os.X_OK):
            sys.exit("%s is not built; run make check-net" % program)
    return None


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-k", metavar="PATTERN", default="", help="only tests with this in their name")
    parser.add_argument("--list", action="store_true", help="print the names and end")
    parser.add_argument("--long", action="store_true", help="the long tests instead of the others")
    parser.add_argument("-j", metavar="N", type=int, default=3,
                        help="so many at once, of those that wait most of the time (3)")
    parser.add_argument("--keep", action="store_true",
                        help="leave the namespaces of a failed test, and all logs")
    parser.add_argument("--clean", action="store_true", help="remove what --keep or a crash left")
    args = parser.parse_args()
    if args.clean:
        return clean()
    tests = find_tests(args.k, args.long)
    if args.list:
        print("\n".join(name for name, _ in tests))
        return 0
    if not tests:
        sys.exit("no test has %r in its name" % args.k)
    why_not = unable()
    if why_not:
        print("network tests skipped: " + why_not)
        print("0 passed, 0 failed, %d skipped" % len(tests))
        return 0
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    os.makedirs(LOGS, exist_ok=True)
    counts = {PASSED: 0, FAILED: 0, SKIPPED: 0}
    waiting = [test for test in tests if test[0].startswith(WAITING) and test[0] not in ALONE]
    others = [test for test in tests if test not in waiting]
    for name, status, seconds, text in itertools.chain(run_tests(waiting, args.j, args.keep),
                                                       run_tests(others, 1, args.keep)):
        counts[status] += 1
        word = {PASSED: "ok  ", FAILED: "FAIL", SKIPPED: "skip"}[status]
        print("%s %s (%.1f s)" % (word, name, seconds))
        for line in text.splitlines():
            print("     " + line)
        sys.stdout.flush()
    last = "%d passed, %d failed" % (counts[PASSED], counts[FAILED])
    if counts[SKIPPED]:
        last += ", %d skipped" % counts[SKIPPED]
    print(last)
    return 1 if counts[FAILED] else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
