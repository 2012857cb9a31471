#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A join token for a group of machines that come and go, and labels for those that come.

    autoscale_group.py web --network prod --count 3 --token-file web.token

writes a token to web.token (mode 0600), for the launch template; the machines run
`vanctl join --token-file web.token --name web` and become web, web-2, web-3. Nodes that join
under that name get the label group=web; the console removes those that it has not heard of for --away.
It ends when --count have come; what is left of the token after --wait seconds is revoked.
"""
import argparse
import os
import sys

import vanapi


def write_secret(path, text):
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(fd, "w", encoding="ascii") as f:
        os.fchmod(f.fileno(), 0o600)
        f.write(text + "\n")


def belongs(node, group):
    return node["name"] == group or node["name"].startswith(group + "-")


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("group")
    parser.add_argument("--network", "-n", required=True)
    parser.add_argument("--count", type=int, required=True, help="how many may join")
    parser.add_argument("--token-file", required=True)
    parser.add_argument("--away", type=int, default=600, metavar="SECONDS")
    parser.add_argument("--wait", type=int, default=1800, metavar="SECONDS")
    args = parser.parse_args()
    with vanapi.connect() as van:
        network = van.networks.get(args.network)
        come = van.watch(["node"], for_s=args.wait)
        next(come)  # from here on everything is told
        token = network.issue_token(uses=args.count, ttl_s=args.wait, ephemeral_s=args.away)
        write_secret(args.token_file, token["token"])
        left = args.count
        for event in come:
            if event.type != "created" or not event.object or not belongs(event.object, args.group):
                continue
            node = van.nodes.get(event.id)
            node.edit(lambda _: {"labels": {"group": args.group}})
            print(node["name"], *(ip for n in node["networks"] for ip in n["ips"]), flush=True)
            left -= 1
            if not left:
                return 0
        token.refresh()  # each use of it was a change
        token.delete()
    print(f"{left} of {args.count} have not come; the token is revoked", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
