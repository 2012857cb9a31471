#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The nodes as an inventory of Ansible: ansible-playbook -i ansible_inventory.py …

Groups are the networks, by name, and label_KEY_VALUE for each label. ansible_host is the node's address in
the network that VAN_INVENTORY_NETWORK names, or in the first one that it is in. Disabled nodes and
members that wait for approval are left out. VAN_CONSOLE, VAN_KEY_FILE and VAN_PIN say where the console is.
"""
import argparse
import json
import os
import re

import vanapi


def group_name(*words):
    """Ansible takes letters, digits and underscores."""
    return re.sub(r"\W", "_", "_".join(words), flags=re.ASCII)


def inventory(van, network):
    groups, variables = {}, {}
    for node in van.nodes.list(disabled=False):
        here = [n for n in node["networks"] if n["approved"] and network in (None, n["name"], n["id"])]
        addresses = [ip.split("/")[0] for n in here for ip in n["ips"]]
        if not addresses:
            continue
        variables[node["name"]] = {
            "ansible_host": addresses[0], "van_id": node["id"], "van_addresses": addresses,
            "van_labels": node["labels"], "van_online": node["online"], "van_version": node["version"]}
        for group in [group_name(n["name"]) for n in here] + \
                [group_name("label", key, value) for key, value in node["labels"].items()]:
            groups.setdefault(group, {"hosts": []})["hosts"].append(node["name"])
    return {**groups, "all": {"children": sorted(groups)}, "_meta": {"hostvars": variables}}


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--list", action="store_true", help="the whole inventory")
    what.add_argument("--host", metavar="NAME", help="the variables of one host")
    args = parser.parse_args()
    with vanapi.connect() as van:
        found = inventory(van, os.environ.get("VAN_INVENTORY_NETWORK"))
    if args.host:
        found = found["_meta"]["hostvars"].get(args.host, {})
    print(json.dumps(found, indent=2, sort_keys=True))


if __name__ == "__main__":
    main()
