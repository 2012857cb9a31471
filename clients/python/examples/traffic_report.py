#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What the nodes sent and received, as CSV on standard output.

    traffic_report.py --hours 24 --resolution 10m > traffic.csv

A row for each network, node and slot of which something is known; bytes and packets are those of the slot.
"""
import argparse
import csv
import datetime
import sys

import vanapi

COLUMNS = ["rx_bytes", "tx_bytes", "rx_packets", "tx_packets"]


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--network", "-n", help="this one only")
    parser.add_argument("--hours", type=float, default=24)
    parser.add_argument("--resolution", choices=["1s", "10s", "1m", "10m"], default="10m")
    args = parser.parse_args()
    start = datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(hours=args.hours)
    table = csv.writer(sys.stdout, lineterminator="\n")
    table.writerow(["time", "network", "node", *COLUMNS])
    with vanapi.connect() as van:
        networks = [van.networks.get(args.network)] if args.network else van.networks.list()
        for network in networks:
            for member in network.members.list():
                for when, values in member.stats(args.resolution, start=start, metrics=COLUMNS).rows():
                    if any(values[c] is not None for c in COLUMNS):
                        table.writerow([when.strftime("%Y-%m-%dT%H:%M:%SZ"), network["name"], member["name"],
                                        *(values[c] for c in COLUMNS)])


if __name__ == "__main__":
    main()
