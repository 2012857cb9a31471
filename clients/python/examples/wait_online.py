#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Waits until the nodes of a network are online, as a step of a deployment.

    wait_online.py prod --count 3 --timeout 120

All members that are approved and not disabled must be online, and at least --count of them. Ends with 1,
and the names of those that are missing, when that is not so after --timeout seconds.
"""
import argparse
import sys
import time

import vanapi


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("network")
    parser.add_argument("--count", type=int, default=1)
    parser.add_argument("--timeout", type=float, default=300, metavar="SECONDS")
    parser.add_argument("--interval", type=float, default=1, metavar="SECONDS")
    args = parser.parse_args()
    end = time.monotonic() + args.timeout
    with vanapi.connect() as van:
        members = van.networks.get(args.network).members
        while True:
            # Being online is nothing that the console stores, so no watch tells of it.
            wanted = list(members.list(approved=True, disabled=False, sort="name"))
            missing = [m["name"] for m in wanted if not m["online"]]
            if not missing and len(wanted) >= args.count:
                print(f"{len(wanted)} online:", *(m["name"] for m in wanted))
                return 0
            if time.monotonic() >= end:
                break
            time.sleep(args.interval)
    print(f"{len(wanted) - len(missing)} of {max(args.count, len(wanted))} online; not heard of:",
          *missing, file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
