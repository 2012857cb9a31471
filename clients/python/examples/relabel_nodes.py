#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
r"""Renames and labels nodes, one after the other.

    relabel_nodes.py '^web-(\d+)$' --rename 'fra-web-\1' --set site=fra --set tier=web --unset old

The expression is searched in the names. It stops at the first node that cannot be changed, and may be run
again: what is as it should be is left alone. --dry-run shows what it would do.
"""
import argparse
import re
import sys

import vanapi


def changes_of(node, pattern, args):
    """What update() is to set, or nothing."""
    wanted = dict(pair.split("=", 1) for pair in args.set)
    labels = {key: value for key, value in wanted.items() if node["labels"].get(key) != value}
    labels.update({key: None for key in args.unset if key in node["labels"]})
    name = pattern.sub(args.rename, node["name"], count=1) if args.rename else node["name"]
    return {**({"labels": labels} if labels else {}), **({"name": name} if name != node["name"] else {})}


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("pattern", type=re.compile)
    parser.add_argument("--rename", metavar="TEMPLATE")
    parser.add_argument("--set", metavar="KEY=VALUE", action="append", default=[])
    parser.add_argument("--unset", metavar="KEY", action="append", default=[])
    parser.add_argument("--dry-run", action="store_true")
    args = parser.parse_args()
    if any("=" not in pair for pair in args.set):
        parser.error("--set takes KEY=VALUE")
    with vanapi.connect() as van:
        # All names first: a node that was renamed must not come up again under its new one.
        for node in [n for n in van.nodes.list() if args.pattern.search(n["name"])]:
            name, changes = node["name"], changes_of(node, args.pattern, args)
            try:
                if changes and not args.dry_run:
                    node.edit(lambda n: changes_of(n, args.pattern, args))
            except vanapi.ProblemError as e:
                print(f"{name}: {e}", file=sys.stderr)
                return 1
            if changes:
                print(name, *(f"{key}={value}" for key, value in changes.items()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
