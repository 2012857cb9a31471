#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Raises an alarm for each event of the mesh that is serious enough: clones, changes taken back, …

    alarm.py --severity warning --state /var/lib/van-alarm.json --exec ./page.sh

Each event is printed as a line of JSON; with --exec the program gets it on standard input, and its text
in VAN_EVENT. --state remembers what was handled, so that nothing is missed while this program, or the
console, is restarted. It runs until it is stopped.
"""
import argparse
import json
import os
import subprocess

import vanapi

SEVERITIES = ["info", "warning", "error"]
IDS_MAX = 1000  # that are remembered


class Alarm:
    def __init__(self, args):
        self.args = args
        self.state = {"place": None, "time": None, "ids": []}
        if args.state and os.path.exists(args.state):
            with open(args.state, encoding="utf-8") as f:
                self.state = json.load(f)

    def save(self):
        if self.args.state:
            with open(self.args.state + ".new", "w", encoding="utf-8") as f:
                json.dump(self.state, f)
            os.replace(self.args.state + ".new", self.args.state)

    def handle(self, event):
        if event["id"] in self.state["ids"]:
            return  # it was told while catching up
        if SEVERITIES.index(event["severity"]) >= SEVERITIES.index(self.args.severity):
            print(json.dumps(event), flush=True)
            if self.args.exec:
                subprocess.run([self.args.exec], input=json.dumps(event), text=True, check=False,
                               env={**os.environ, "VAN_EVENT": event["text"]})
        self.state["time"] = event["time"]
        self.state["ids"] = self.state["ids"][-IDS_MAX + 1:] + [event["id"]]

    def run(self, van):
        for told in van.watch(["event"], since=self.state["place"]):
            if told.type == "created" and told.object:
                self.handle(told.object)
            elif told.type == "sync" and self.state["time"]:
                # The console does not remember where we were, but it has a list.
                for event in van.events.list(since=self.state["time"]):
                    self.handle(event)
            self.state["place"] = told.place
            self.save()


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--severity", choices=SEVERITIES, default="warning")
    parser.add_argument("--state", metavar="FILE")
    parser.add_argument("--exec", metavar="PROGRAM")
    args = parser.parse_args()
    with vanapi.connect(patience_s=float("inf")) as van:
        Alarm(args).run(van)


if __name__ == "__main__":
    main()
