#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Keeps the definition of every network in a file of its own, for a backup or for git.

    backup_networks.py DIR            writes DIR/NAME.json where it is not what is there already
    backup_networks.py DIR --check    compares, and says what would bring the console back to the files

With --check it ends with 1 when there is a difference. A file comes back by `vanctl import FILE`.
"""
import argparse
import json
import os
import sys

import vanapi


def write(path, text):
    """True when the file has changed. It is whole at every moment."""
    if os.path.exists(path):
        with open(path, encoding="utf-8") as f:
            if f.read() == text:
                return False
    with open(path + ".new", "w", encoding="utf-8") as f:
        f.write(text)
        f.flush()
        os.fsync(f.fileno())
    os.replace(path + ".new", path)
    return True


def save(van, folder):
    for network in van.networks.list():
        path = os.path.join(folder, network["name"] + ".json")
        document = van.topologies.export(network["id"])
        if write(path, json.dumps(document, indent=2, ensure_ascii=False) + "\n"):
            print("written", path)
    return 0


def check(van, folder):
    differences = 0
    for name in sorted(f for f in os.listdir(folder) if f.endswith(".json")):
        with open(os.path.join(folder, name), encoding="utf-8") as f:
            document = json.load(f)
        for network in van.topologies.diff(document):
            for change in network["changes"]:
                print(f"{name}: {change['op']} {change['kind']} {change['name']}")
            differences += len(network["changes"])
    return 1 if differences else 0


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", metavar="DIR")
    parser.add_argument("--check", action="store_true")
    args = parser.parse_args()
    os.makedirs(args.folder, exist_ok=True)
    with vanapi.connect() as van:
        return (check if args.check else save)(van, args.folder)


if __name__ == "__main__":
    sys.exit(main())
