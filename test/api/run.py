#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Tests of the REST interfaces against a real console-api on 127.0.0.1.

    BUILD=build python3 test/api/run.py [-v] [NAME...]

Every function test_* of every test_*.py here is a test; it gets a Console that is running on a fresh
state directory. A test that raises has failed, one that raises Skip was skipped, and says why. One line
a test; with NAME only those tests whose name contains one of them.
"""
import importlib
import os
import sys
import time
import traceback

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
import consoletest  # noqa: E402


def collect(names):
    for module_name in sorted(f[:-3] for f in os.listdir(HERE)
                              if f.startswith("test_") and f.endswith(".py")):
        module = importlib.import_module(module_name)
        for name, function in list(vars(module).items()):
            if not name.startswith("test_") or not callable(function):
                continue
            label = f"{module_name[5:]}.{name[5:]}"
            if not names or any(n in label for n in names):
                yield label, function


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
                console.check_log()
            except Exception:
                log = "".join("  | " + line for line in console.log().splitlines(True)[-40:])
                raise
        return "ok", ""
    except consoletest.Skip as e:
        return "SKIP", str(e)
    except Exception:  # whatever it is, it is this test's failure
        return "FAIL", traceback.format_exc() + log


def main():
    names = [a for a in sys.argv[1:] if a != "-v"]
    verbose = "-v" in sys.argv[1:]
    counts = {"ok": 0, "FAIL": 0, "SKIP": 0}
    consoletest.find_programs()
    for label, function in collect(names):
        start = time.monotonic()
        word, text = run_one(function)
        counts[word] += 1
        took = f" ({time.monotonic() - start:.2f} s)" if verbose else ""
        why = f": {text}" if word == "SKIP" else ""
        print(f"{word:4} {label}{took}{why}", flush=True)
        if word == "FAIL":
            print(text, flush=True)
    skipped = f", {counts['SKIP']} skipped" if counts["SKIP"] else ""
    print(f"{counts['ok']} passed, {counts['FAIL']} failed{skipped}")
    return 1 if counts["FAIL"] or not counts["ok"] else 0


if __name__ == "__main__":
    sys.exit(main())
