# SPDX-License-Identifier: Apache-2.0
"""A network's definition as one document: exported, compared, imported under another name, into
another console, over what is there."""
import copy
import http.client
import json
import os
import random
import threading
import time

from consoletest import Agent, Console, eq, options, until
from etcdtest import Etcd, share_key
from vanctltest import vanctl

API = "/api/v1"


def export(c, name="blue"):
    return c.get(f"{API}/networks/{name}/topology").want(200).json


def post(c, document, **query):
    text = "&".join(f"{k}={str(v).lower() if isinstance(v, bool) else v}" for k, v in query.items())
    return c.post(f"{API}/topologies" + ("?" + text if text else ""), document)


def do_import(c, document, **query):
    """The result for the first network."""
    result = post(c, document, **query).want(200).json
    eq(result["dry_run"], query.get("dry_run", False))
    return result["networks"][0]


def changes(result):
    return [(x["op"], x["kind"], x["name"]) for x in result["changes"]]


def net_of(document):
    return document["networks"][0]


def without(document, *names):
    """Without what a replica in the same mesh has of its own: its name and the MACs."""
    o = copy.deepcopy(document)
    for network in o["networks"]:
        network.pop("name")
        for node in network["nodes"]:
            for name in names:
                node.pop(name)
    return o


def rich(c, name="blue"):
    """A network with everything in it."""
    c.network(name, "172.16.1.0/24", cidr6="fd00:1::/64", encryption="integrity", mtu=1400,
              labels={"env": "prod"})
    path = f"{API}/networks/{name}"
    token = c.token(name, uses=20)
    nodes = {n: c.node(token, n) for n in ("web-1", "web-2", "db", "dc")}
    c.patch(f"{API}/nodes/db", {"labels": {"role": "database"}}).want(200)
    c.patch(f"{path}/nodes/db", {"address": "172.16.1.200"}).want(200)
    for what, body in (
            ("reservations", {"address": "172.16.1.100-172.16.1.119", "note": "DHCP"}),
            ("reservations", {"address": "172.16.1.110", "node": "later"}),
            ("reservations", {"address": "172.16.1.7", "name": "printer"}),
            ("reservations", {"address": "172.16.1.200", "node": "db"}),
            ("reservations", {"address": "fd00:1::7", "name": "printer6"}),
            ("gateways", {"node": "dc", "prefixes": ["10.0.0.0/8", "2001:db8::/32"],
                          "health": {"kind": "tcp", "target": "10.0.0.1", "port": 22}}),
            ("gateways", {"node": "web-1", "prefixes": ["10.0.0.0/8"], "mode": "nat",
                          "note": "by LTE"}),
            ("gateways", {"node": "dc", "name": "exit", "prefixes": ["0.0.0.0/0"], "metric": 5,
                          "enabled": False}),
            ("floating-ips", {"address": "172.16.1.50", "name": "vip", "vrid": 3,
                              "candidates": ["web-2", "web-1"], "assigned": "web-1"}),
            ("floating-ips", {"address": "172.16.1.105"}),
            ("floating-ips", {"address": "fd00:1::50", "candidates": []}),
            ("cloak/rules", {"action": "allow", "protocol": "tcp", "ports": "443"}),
            ("cloak/rules", {"action": "deny", "source": "203.0.113.0/24"}),
            ("cloak/rules", {"action": "allow", "protocol": "tcp", "ports": "5432", "node": "db",
                             "source": "198.51.100.0/24", "interface": "eth0", "priority": 10})):
        c.post(f"{path}/{what}", body).want(201)
    c.patch(f"{path}/cloak?confirm_within_s=0", {"state": "on"}).want(200)
    return nodes


def test_export(c):
    nodes = rich(c)
    document = export(c)
    eq((document["format"], document["version"], len(document["networks"])),
       ("van-topology", 1, 1))
    n = net_of(document)
    eq(sorted(n), sorted(["name", "cidr", "cidr6", "encryption", "mtu", "require_approval",
                          "labels", "nodes", "reservations", "gateways", "floating_ips", "cloak"]))
    eq([x["name"] for x in n["nodes"]], ["db", "dc", "web-1", "web-2"])
    db = n["nodes"][0]
    eq((db["public_key"], db["ips"], db["labels"], db["approved"], len(db["macs"])),
       (nodes["db"].public_key, ["172.16.1.200", "fd00:1::3"], {"role": "database"}, True, 1))
    eq([x["address"] for x in n["reservations"]],
       ["172.16.1.7", "172.16.1.100-172.16.1.119", "172.16.1.110", "172.16.1.200", "fd00:1::7"])
    eq([(x["name"], x["node"]) for x in n["gateways"]],
       [("dc", "dc"), ("exit", "dc"), ("web-1", "web-1")])
    eq([(x["address"], x["candidates"], x["assigned"]) for x in n["floating_ips"]],
       [("172.16.1.50", ["web-1", "web-2"], "web-1"), ("172.16.1.105", None, None),
        ("fd00:1::50", [], None)])
    eq([(r["priority"], r["node"]) for r in n["cloak"]["rules"]],
       [(10, "db"), (500, None), (1000, None)])
    text = json.dumps(document)
    for node in nodes.values():
        assert node.id not in text, "no ids"
    eq(export(c), document, "the same again")
    c.get(f"{API}/networks/none/topology").want(404)


def test_what_is_there_already_is_no_change(c):
    rich(c)
    document = export(c)
    revision = c.get(f"{API}/networks/blue").json["revision"]
    number = net_number(c)
    result = post(c, document).want(200).json
    eq((result["transactions"], result["networks"][0]["changes"],
        result["networks"][0]["created"], result["networks"][0]["missing"]), (0, [], False, []))
    eq(net_number(c), number, "nobody is told of nothing")
    eq(c.get(f"{API}/networks/blue").json["revision"], revision)
    # Sections that are left out stay; members of them that are left out have their defaults.
    bare = {"format": "van-topology", "version": 1,
            "networks": [{"name": "blue", "cidr": "172.16.1.0/24"}]}
    eq(do_import(c, bare)["changes"], [])
    eq(export(c), document)


def net_number(c):
    return max(r["seq"] for r in c.get(f"{API}/audit?limit=1000").json["items"])


def test_replica_under_another_name(c):
    rich(c)
    document = export(c)
    result = do_import(c, document, name="green", dry_run=True)
    eq((result["id"], result["created"], result["name"]), (None, True, "green"))
    c.get(f"{API}/networks/green").want(404)
    planned = result["changes"]
    result = do_import(c, document, name="green")
    eq(result["changes"], planned, "what the dry run said")
    eq(result["id"], c.get(f"{API}/networks/green").json["id"])
    assert result["confirm_by"], "the new cloak waits to be confirmed"
    eq({x["op"] for x in planned}, {"create", "update"})  # the cloak is never created
    c.post(f"{API}/networks/green/cloak/confirm").want(200)
    replica = export(c, "green")
    eq(without(replica, "macs"), without(document, "macs"))
    macs = {m for o in (document, replica) for x in net_of(o)["nodes"] for m in x["macs"]}
    eq(len(macs), 8, "in one mesh every MAC is there once")
    # It is idempotent, although the document has other MACs.
    eq(do_import(c, document, name="green")["changes"], [])
    # The nodes have the new network in their maps, with all that belongs to it.
    eq(c.get(f"{API}/networks/green").json["node_count"], 4)
    answer = post(c, document, name="Green").want(400)
    assert "name" in answer.json["detail"]


def test_replica_in_another_console(c):
    nodes = rich(c)
    document = export(c)
    with Console() as other:
        result = do_import(other, document)
        eq(result["created"], True)
        eq([(m["name"], m["public_key"], m["addresses"], m["gateways"], m["floating_ips"])
            for m in result["missing"]],
           [("db", nodes["db"].public_key, ["172.16.1.200", "fd00:1::3"], [], []),
            ("dc", nodes["dc"].public_key, ["172.16.1.4", "fd00:1::4"], ["dc", "exit"], []),
            ("web-1", nodes["web-1"].public_key, ["172.16.1.1", "fd00:1::1"], ["web-1"],
             ["172.16.1.50"]),
            ("web-2", nodes["web-2"].public_key, ["172.16.1.2", "fd00:1::2"], [],
             ["172.16.1.50"])])
        eq(other.get(f"{API}/networks/blue/floating-ips/vip").json["candidates"], [],
           "nobody yet, and not everybody")
        held = {r["address"]: r["node_name"] for r in
                other.get(f"{API}/networks/blue/reservations").json["items"]}
        eq((held["172.16.1.1"], held["fd00:1::2"], held["172.16.1.7"]), ("web-1", "web-2", None))
        again = do_import(other, document)
        eq((again["changes"], len(again["missing"])), ([], 4))
        # The same machines join there, with their keys, and get what is theirs.
        token = other.token("blue", uses=9)
        for name, node in nodes.items():
            there = Agent(other)
            there.index, there.public_key, there.sign_key = \
                other.agentcall("new").split()
            answer = there.enroll(token, name).want(201)
            eq(answer.json["node"]["name"], name)
        members = {m["name"]: m["ips"] for m in
                   other.get(f"{API}/networks/blue/nodes").json["items"]}
        eq(members["db"], ["172.16.1.200/24", "fd00:1::3/64"])
        result = do_import(other, document)
        assert not result["missing"], result
        eq(len(result["warnings"]), 4, "their keys are others than in the document")
        other.post(f"{API}/networks/blue/cloak/confirm").want(200)
        # Now it is the same, but for the keys: MACs as well, they are of another mesh.
        eq(without(export(other), "public_key"), without(document, "public_key"))
        eq(do_import(other, document)["changes"], [])


def test_a_network_is_changed_to_match(c):
    rich(c)
    before = export(c)
    wanted = copy.deepcopy(before)
    n = net_of(wanted)
    n["mtu"], n["labels"] = 1500, {"env": "test"}
    n["nodes"] = [x for x in n["nodes"] if x["name"] != "web-2"]
    for x in n["nodes"]:
        if x["name"] == "web-1":
            x["ips"][0] = "172.16.1.77"
        if x["name"] == "db":
            x["labels"] = {"role": "spare"}
    n["reservations"] = [r for r in n["reservations"] if r["name"] != "printer"]
    n["reservations"][0]["note"] = "changed"
    n["gateways"][0]["metric"] = 42
    del n["gateways"][1]
    n["gateways"].append({"name": "new", "node": "db", "prefixes": ["192.0.2.0/24"]})
    n["floating_ips"] = [{"address": "172.16.1.60"}, {"address": "172.16.1.50",
                                                      "candidates": ["web-1", "db"]}]
    n["cloak"]["rules"][2]["note"] = "public"
    n["cloak"]["rules"].append({"action": "allow", "protocol": "icmp"})
    n["cloak"]["scope"] = "all"
    dry = do_import(c, wanted, dry_run=True)
    eq(export(c), before, "a dry run changes nothing")
    eq(sorted(changes(dry)), sorted([
        ("update", "network", "blue"), ("delete", "node", "web-2"), ("update", "node", "web-1"),
        ("update", "node", "db"), ("delete", "reservation", "172.16.1.7"),
        ("update", "reservation", "172.16.1.100-172.16.1.119"), ("update", "gateway", "dc"),
        ("delete", "gateway", "exit"), ("create", "gateway", "new"),
        ("create", "floating_ip", "172.16.1.60"), ("update", "floating_ip", "172.16.1.50"),
        ("delete", "floating_ip", "172.16.1.105"), ("delete", "floating_ip", "fd00:1::50"),
        ("update", "cloak", "blue"), ("create", "cloak_rule", "allow icmp from anywhere"),
        ("update", "cloak_rule", "allow tcp 443 from anywhere")]))
    by_name = {(x["kind"], x["name"]): x for x in dry["changes"]}
    eq((by_name["node", "web-1"]["before"]["ips"][0], by_name["node", "web-1"]["after"]["ips"][0]),
       ("172.16.1.1", "172.16.1.77"))
    eq(by_name["floating_ip", "172.16.1.50"]["before"]["candidates"], ["web-1", "web-2"])
    eq(by_name["floating_ip", "172.16.1.50"]["after"]["candidates"], ["db", "web-1"])
    eq((by_name["node", "web-2"]["after"], by_name["gateway", "new"]["before"]), (None, None))
    done = do_import(c, wanted)
    eq(done["changes"], dry["changes"])
    c.post(f"{API}/networks/blue/cloak/confirm").want(200)
    eq(do_import(c, wanted)["changes"], [])
    after = net_of(export(c))
    eq(after["mtu"], 1500)
    eq([(x["name"], x["ips"][0]) for x in after["nodes"]],
       [("db", "172.16.1.200"), ("dc", "172.16.1.4"), ("web-1", "172.16.1.77")])
    # And back: everything but MACs of what went for a while, which comes with its own again.
    do_import(c, before, confirm_within_s=0)
    eq(export(c), before)


def test_addresses_that_change_hands(c):
    """Nodes that swap, and a ring of them, an address that a floating IP takes over."""
    c.network()
    token = c.token(uses=9)
    for name in "abcde":
        c.node(token, name)
    c.post(f"{API}/networks/blue/floating-ips", {"address": "172.16.1.50"}).want(201)
    document = export(c)
    n = net_of(document)
    for x, ip in zip(n["nodes"], ("2", "3", "1", "5", "50")):
        x["ips"] = ["172.16.1." + ip]
    macs = [x["macs"] for x in n["nodes"]]
    for x, m in zip(n["nodes"], macs[1:] + macs[:1]):
        x["macs"] = m
    n["floating_ips"] = [{"address": "172.16.1.4"}]
    result = post(c, document).want(200).json
    eq(result["transactions"], 1)
    have = net_of(export(c))
    eq([(x["name"], x["ips"], x["macs"]) for x in have["nodes"]],
       [(x["name"], x["ips"], x["macs"]) for x in n["nodes"]])
    eq([f["address"] for f in have["floating_ips"]], ["172.16.1.4"])
    c.patch(f"{API}/networks/blue/nodes/a", {"address": "172.16.1.4"}).want(409, "address_taken")
    c.patch(f"{API}/networks/blue/nodes/a", {"address": "172.16.1.50"}).want(409, "address_taken")
    c.patch(f"{API}/networks/blue/nodes/a", {"address": "172.16.1.9"}).want(200)


def test_documents_by_hand(c):
    """Little has to be said: addresses are chosen, names and metrics have their defaults."""
    c.network("other", "10.9.0.0/24")
    token = c.token("other", uses=9)
    for name in ("a", "b", "c"):
        c.node(token, name)
    document = {"format": "van-topology", "version": 1, "networks": [{
        "name": "new", "cidr": "10.1.0.0/24",
        "nodes": [{"name": "a"}, {"name": "b", "ips": ["10.1.0.1"]}, {"name": "c"},
                  {"name": "later", "ips": ["10.1.0.40"]}, {"name": "whenever"}],
        "reservations": [{"address": "10.1.0.2-10.1.0.9"}, {"address": "10.1.0.30", "node": "c"}],
        "gateways": [{"node": "a", "prefixes": ["0.0.0.0/0"]},
                     {"node": "b", "prefixes": ["0.0.0.0/0"]}],
        "floating_ips": [{"address": "10.1.0.10"}]}]}
    result = do_import(c, document)
    eq([m["name"] for m in result["missing"]], ["later", "whenever"])
    n = net_of(export(c, "new"))
    eq([(x["name"], x["ips"]) for x in n["nodes"]],
       [("a", ["10.1.0.11"]), ("b", ["10.1.0.1"]), ("c", ["10.1.0.30"])])
    eq([(g["name"], g["metric"]) for g in n["gateways"]], [("a", 100), ("b", 200)])
    eq([(r["address"], r["node"]) for r in n["reservations"]],
       [("10.1.0.2-10.1.0.9", None), ("10.1.0.30", "c"), ("10.1.0.40", "later")])
    eq(do_import(c, document)["changes"], [])
    # Who is not named any more leaves, and its gateway and addresses with it.
    net_of(document)["nodes"] = [{"name": "a"}]
    del net_of(document)["gateways"], net_of(document)["floating_ips"]
    eq(sorted(changes(do_import(c, document))),
       [("delete", "gateway", "b"), ("delete", "node", "b"), ("delete", "node", "c"),
        ("delete", "reservation", "10.1.0.40")])
    eq([x["name"] for x in net_of(export(c, "new"))["nodes"]], ["a"])


def test_what_a_document_does_not_say_of_a_node(c):
    c.network("blue", "172.16.1.0/24", require_approval=True)
    token = c.token(uses=5)
    a = c.node(token, "a")
    document = {"format": "van-topology", "version": 1, "networks": [{
        "name": "blue", "cidr": "172.16.1.0/24", "nodes": [{"name": "a"}]}]}
    eq(do_import(c, document)["changes"], [], "it still waits for approval")
    net_of(document)["nodes"][0]["approved"] = True
    eq(changes(do_import(c, document)), [("update", "node", "a")])
    eq(c.get(f"{API}/networks/blue/nodes/a").json["approved"], True)
    # It is known by its key, and keeps the name that it has here; what speaks of it follows.
    net_of(document).update(
        nodes=[{"name": "old", "public_key": a.public_key}],
        reservations=[{"address": "172.16.1.1", "node": "old"}],
        gateways=[{"node": "old", "prefixes": ["10.0.0.0/8"]}],
        floating_ips=[{"address": "172.16.1.9", "assigned": "old"}],
        cloak={"rules": [{"action": "allow", "node": "old"}]})
    result = do_import(c, document)
    eq((result["missing"], result["warnings"]), ([], []))
    n = net_of(export(c))
    eq([n["nodes"][0]["name"], n["reservations"][0]["node"], n["gateways"][0]["node"],
        n["gateways"][0]["name"], n["floating_ips"][0]["assigned"], n["cloak"]["rules"][0]["node"]],
       ["a"] * 6)
    eq(do_import(c, document)["changes"], [])


def test_documents_that_are_wrong(c):
    rich(c)
    good = export(c)
    before = net_number(c)

    def refused(status, word, pointer, change, **query):
        document = copy.deepcopy(good)
        change(document, net_of(document))
        for dry_run in (True, False):
            answer = post(c, document, dry_run=dry_run, **query).want(status, word)
            if pointer:
                assert pointer in [e["pointer"] for e in answer.json["errors"]], answer.json

    def invalid(pointer, change, **query):
        refused(400, "invalid", pointer, change, **query)

    def put(path, value):
        def change(document, _):
            o = document
            for name in path[:-1]:
                o = o[name]
            o[path[-1]] = value
        return change
    invalid("/format", put(["format"], "other"))
    invalid("/version", put(["version"], 2))
    invalid("/networks", put(["networks"], []))
    invalid("/networks/0", put(["networks", 0], 5))
    invalid("/what", put(["what"], 5))
    at = ["networks", 0]
    invalid("/networks/0/what", put(at + ["what"], 5))
    invalid("/networks/0/cidr", put(at + ["cidr"], "172.16.2.0/24"))
    invalid("/networks/0/cidr6", put(at + ["cidr6"], None))
    invalid("/networks/0/encryption", put(at + ["encryption"], "aes-256-gcm"))
    invalid("/networks/0/mtu", put(at + ["mtu"], 1))
    invalid("/networks/0/nodes", put(at + ["nodes"], 5))
    invalid("/networks/0/nodes/0", put(at + ["nodes", 0], "db"))
    invalid("/networks/0/nodes/1", put(at + ["nodes", 1, "name"], "db"))
    invalid("/networks/0/nodes/1", put(at + ["nodes", 1, "public_key"],
                                       net_of(good)["nodes"][0]["public_key"]))
    invalid("/networks/0/nodes/0/public_key", put(at + ["nodes", 0, "public_key"], "x"))
    invalid("/networks/0/nodes/0/ips/0", put(at + ["nodes", 0, "ips"], ["10.0.0.1"]))
    invalid("/networks/0/nodes/0/ips/0", put(at + ["nodes", 0, "ips"], ["172.16.1.255"]))
    invalid("/networks/0/nodes/0/ips/1",
            put(at + ["nodes", 0, "ips"], ["172.16.1.60", "172.16.1.61"]))
    invalid("/networks/0/nodes/0/macs/0", put(at + ["nodes", 0, "macs"], ["01:00:5e:00:00:01"]))
    invalid("/networks/0/nodes/1", put(at + ["nodes", 1, "ips"], ["172.16.1.200"]))
    invalid("/networks/0/nodes/1", put(at + ["nodes", 1, "macs"],
                                       net_of(good)["nodes"][0]["macs"]))
    invalid("/networks/0/reservations/0/address", put(at + ["reservations", 0, "address"], "x"))
    refused(409, "address_taken", "/networks/0/reservations/0/address",
            put(at + ["reservations", 0, "address"], "172.16.1.200"))
    refused(409, "address_reserved", "/networks/0/reservations/5/address",
            lambda _, n: n["reservations"].append({"address": "172.16.1.7", "name": "two"}))
    refused(409, "address_taken", "/networks/0/floating_ips/0/address",
            put(at + ["floating_ips", 0, "address"], "172.16.1.200"))
    refused(404, "not_found", "/networks/0/floating_ips/0/candidates/0",
            put(at + ["floating_ips", 0, "candidates"], ["none"]))
    refused(409, "prefix_ambiguous", "/networks/0/gateways/2/metric",
            put(at + ["gateways", 2, "metric"], 100))
    refused(404, "not_found", "/networks/0/gateways/0/node",
            put(at + ["gateways", 0, "node"], "none"))
    invalid("/networks/0/cloak/state", put(at + ["cloak", "state"], "pending"))
    invalid("/networks/0/cloak/rules/0/ports", put(at + ["cloak", "rules", 0, "ports"], "x"))
    refused(409, "rule_exists", "/networks/0/cloak/rules/3",
            lambda _, n: n["cloak"]["rules"].append(n["cloak"]["rules"][0]))
    invalid("/networks/1", lambda d, n: d["networks"].append(n))
    invalid("/networks", lambda d, n: d["networks"].append({"name": "x", "cidr": "10.0.0.0/8"}),
            name="other")
    # Everything at once, as far as it can be seen.
    document = copy.deepcopy(good)
    n = net_of(document)
    n["nodes"][0]["ips"], n["nodes"][1]["approved"], n["mtu"] = ["x"], 5, 9000
    n["nodes"][2]["color"] = "red"
    eq({e["pointer"] for e in post(c, document).want(400).json["errors"]},
       {"/networks/0/nodes/0/ips/0", "/networks/0/nodes/1/approved",
        "/networks/0/nodes/2/color"})
    post(c, good, dry_run="maybe").want(400)
    post(c, good, confirm_within_s=5).want(400)
    eq(export(c), good)
    eq(net_number(c), before, "nothing was done")


def test_several_networks_at_once(c):
    """All or nothing, and what each of them takes is the others' no more."""
    rich(c)
    one = net_of(export(c))
    two = copy.deepcopy(one)
    two["name"] = "green"
    document = {"format": "van-topology", "version": 1, "networks": [
        dict(one, name="red"), two]}
    bad = copy.deepcopy(document)
    bad["networks"][1]["floating_ips"][0]["address"] = "10.0.0.1"
    post(c, bad).want(400, "invalid")
    eq([n["name"] for n in c.get(f"{API}/networks").json["items"]], ["blue"])
    with Console() as other:
        token = None
        other.network("start", "10.200.0.0/24")
        token = other.token("start", uses=9)
        for name in ("web-1", "web-2", "db", "dc"):
            other.node(token, name)
        result = post(other, document).want(200).json
        eq((result["transactions"], [n["name"] for n in result["networks"]]),
           (1, ["red", "green"]))
        red, green = net_of(export(other, "red")), net_of(export(other, "green"))
        macs = [m for o in (red, green) for x in o["nodes"] for m in x["macs"]]
        eq(len(set(macs)), 8, "MACs")
        eq([x["macs"] for x in red["nodes"]], [x["macs"] for x in one["nodes"]])
        eq(post(other, document).want(200).json["transactions"], 0)


def test_organizations_do_not_meet(c):
    """A node of another organization, by its key or name, is nobody here."""
    rich(c)
    document = export(c)
    org = c.post(f"{API}/organizations", {"name": "tenant"}).want(201).json
    answer = c.post(f"{API}/topologies", document, headers={"VAN-Organization": org["id"]})
    result = answer.want(200).json["networks"][0]
    eq((result["created"], len(result["missing"])), (True, 4))
    eq(c.get(f"{API}/networks", headers={"VAN-Organization": org["id"]}).json["items"][0]["name"],
       "blue")
    eq(export(c), document)


# -- by vanctl

def test_vanctl_export_and_import(c):
    rich(c)
    path = os.path.join(c.dir, "topology.json")
    eq(json.loads(vanctl(c, "export blue")), export(c))
    eq(vanctl(c, "export blue -o json"), vanctl(c, "export blue"), "it is a document either way")
    c.network("alone", "10.0.0.0/24")
    whole = vanctl(c, "export")
    eq([n["name"] for n in json.loads(whole)["networks"]], ["alone", "blue"])
    eq(vanctl(c, "import -", stdin=whole),
       "network alone: no changes\nnetwork blue: no changes\n")
    document = export(c)
    net_of(document)["mtu"] = 1500
    net_of(document)["nodes"][0]["ips"][0] = "172.16.1.77"
    net_of(document)["nodes"].append({"name": "new", "ips": ["172.16.1.78"]})
    del net_of(document)["reservations"][0]
    with open(path, "w", encoding="utf-8") as f:
        json.dump(document, f)
    planned = vanctl(c, f"import {path} --dry-run")
    for line in ("network blue:", "  ~ network blue", "      mtu: 1400 -> 1500", "  ~ node db",
                 '      ips: ["172.16.1.200","fd00:1::3"] -> ["172.16.1.77","fd00:1::3"]',
                 "  + reservation 172.16.1.78", "  - reservation 172.16.1.7"):
        assert line in planned.split("\n"), planned
    eq(vanctl(c, f"import {path}"), planned)
    eq(vanctl(c, f"import {path} --dry-run"), "network blue: no changes\n")
    result = json.loads(vanctl(c, f"import {path} --name copy --confirm-within 5m -o json"))
    eq(result["networks"][0]["id"], c.get(f"{API}/networks/copy").json["id"])
    eq(c.get(f"{API}/networks/copy/cloak").json["state"], "pending")
    vanctl(c, "export none", 5)
    vanctl(c, f"import {path}.none", 1)
    assert "line 3, column 1:" in vanctl(c, "import -", 1, stdin='{"version": 1,\n\n]')
    vanctl(c, "import -", 1, stdin="{}")
    net_of(document)["cidr"] = "10.0.0.0/8"
    assert "/networks/0/cidr" in vanctl(c, "import -", 1, stdin=json.dumps(document))
    net_of(document)["cidr"] = "172.16.1.0/24"
    net_of(document)["nodes"][0]["macs"] = ["magic"]
    net_of(document)["nodes"][1]["ips"] = ["10.0.0.300"]
    said = vanctl(c, "import -", 1, stdin=json.dumps(document))
    for pointer in ("/networks/0/nodes/0/macs/0", "/networks/0/nodes/1/ips/0"):
        assert pointer in said, f"all that is wrong at once: {said}"
    for name in ("alone", "blue", "copy"):
        vanctl(c, f"network delete {name}")
    vanctl(c, "export", 5)


# -- two consoles on one etcd, which takes some 120 keys in a transaction

def test_on_etcd(c):
    del c
    limits = "rate_requests = 100000;\nrate_address = 100000;\nrate_enrolments = 100000;"
    with Etcd() as etcd, etcd.console(limits) as a, etcd.console(limits) as b:
        share_key(a, b)
        nodes = rich(a)
        whole = export(a)
        until(lambda: b.get(f"{API}/networks/blue").status == 200, what="the network at the other")
        eq(do_import(b, whole)["changes"], [])
        n = net_of(whole)
        n["nodes"] += [{"name": f"n{i}", "ips": [f"172.16.1.{120 + i}"]} for i in range(75)]
        result = post(b, whole).want(200).json
        eq(len(result["networks"][0]["missing"]), 75)
        assert result["transactions"] > 1, result["transactions"]
        until(lambda: do_import(a, whole)["changes"] == [], what="the same at both")
        # Joins at both, while one of them reserves: nobody gets what is reserved, or the same.
        token = a.token("blue", uses=200)
        until(lambda: b.get(f"{API}/tokens").json == a.get(f"{API}/tokens").json, what="the token")
        failures = []

        def join(console, name):
            answer = Agent(console).enroll(token, name)
            if answer.status != 201:
                failures.append(answer.body)

        def reserve():
            for i in range(20):
                answer = b.post(f"{API}/networks/blue/reservations",
                                {"address": f"172.16.1.{10 + i}", "name": f"held-{i}"})
                if answer.status not in (201, 409):
                    failures.append(answer.body)
        threads = [threading.Thread(target=join, args=((a, b)[i % 2], f"j{i}")) for i in range(20)]
        threads += [threading.Thread(target=join, args=((a, b)[i % 2], f"n{i}")) for i in range(20)]
        threads.append(threading.Thread(target=reserve))
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        eq(failures, [])
        a.command("check")
        members = a.get(f"{API}/networks/blue/nodes?limit=1000").json["items"]
        eq({m["name"]: m["ips"][0] for m in members if m["name"][0] == "n"},
           {f"n{i}": f"172.16.1.{120 + i}/24" for i in range(20)})
        held = {r["address"] for r in
                a.get(f"{API}/networks/blue/reservations?limit=1000").json["items"] if r["name"]}
        mine = [m["ips"][0].split("/")[0] for m in members]
        eq((len(set(mine)), held & set(mine)), (len(mine), set()))
        # Everybody moves, at once by one console and then by the other.
        moved = export(a)
        for node, i in zip(net_of(moved)["nodes"], range(30, 100)):
            if node["name"] != "db":
                node["ips"] = [f"172.16.1.{i}"] if i != 50 else ["172.16.1.99"]
        net_of(moved)["reservations"] = []
        net_of(moved)["floating_ips"] = []
        assert post(a, moved).want(200).json["transactions"] > 2
        until(lambda: do_import(b, moved)["changes"] == [], what="the same at both")
        eq(len(nodes), 4)
        b.delete(f"{API}/networks/blue").want(204)
        b.command("check")


def test_an_import_that_was_cut_off_goes_on(c):
    """The console is killed amid the parts of an import: what was done is sound, another console
    goes on from there, and what comes out is what was asked for."""
    del c
    limits = "rate_requests = 100000;\nrate_address = 100000;"
    whole = {"format": "van-topology", "version": 1, "networks": [{
        "name": "big", "cidr": "10.0.0.0/16",
        "reservations": [{"address": f"10.0.{i // 200}.{i % 200 + 1}", "name": f"r{i}"}
                         for i in range(1500)],
        "floating_ips": [{"address": f"10.0.100.{i + 1}", "name": f"f{i}"} for i in range(100)],
        "cloak": {"rules": [{"action": "allow", "protocol": "tcp", "ports": str(i + 1)}
                            for i in range(50)]}}]}
    with Etcd() as etcd, etcd.console(limits) as a, etcd.console(limits) as b:
        share_key(a, b)
        planned = do_import(a, whole, dry_run=True)["changes"]

        def send():
            try:
                post(a, whole)
            except (OSError, http.client.HTTPException):
                pass  # it is killed
        sender = threading.Thread(target=send)
        sender.start()
        path = f"{API}/networks/big"
        until(lambda: b.get(path).status == 200
              and len(b.get(path + "/reservations?limit=1000").json["items"]) > 100,
              20, "a part of the import")
        a.kill()
        sender.join()
        b.command("check")
        begun = len(b.get(path + "/topology").json["networks"][0]["reservations"])
        assert 100 < begun < 1500, f"{begun} reservations when the console was killed"
        left = do_import(b, whole, dry_run=True)["changes"]
        assert 0 < len(left) < len(planned), (len(left), len(planned))
        assert do_import(b, whole)["changes"] == left, "the rest is what the dry run said"
        eq(do_import(b, whole)["changes"], [])
        after = net_of(export(b, "big"))
        eq((len(after["reservations"]), len(after["floating_ips"]), len(after["cloak"]["rules"])),
           (1500, 100, 50))
        b.command("check")


# -- any network

class Any:
    """Random networks, made by the API's own operations: whatever can be made can be exported."""

    def __init__(self, c, seed):
        self.c, self.r = c, random.Random(seed)
        self.path = f"{API}/networks/blue"
        c.network("blue", "10.0.0.0/22", cidr6=self.r.choice([None, "fd00::/48"]))
        token = c.token("blue", uses=50)
        self.nodes = [c.node(token, f"n{i}").name for i in range(self.r.randrange(1, 9))]

    def ip(self):
        return f"10.0.{self.r.randrange(4)}.{self.r.randrange(256)}"

    def try_(self, method, path, body=None):
        """Many are refused; that is as well."""
        answer = (self.c.delete(self.path + path) if method == "DELETE" else
                  self.c.patch(self.path + path, body) if method == "PATCH" else
                  self.c.post(self.path + path, body))
        assert answer.status < 500, answer.body

    def step(self):
        r, some = self.r, lambda: self.r.choice(self.nodes)
        pick = r.randrange(13)
        if pick == 0:
            self.try_("POST", "/reservations", {"address": self.ip(), "node": r.choice(
                self.nodes + ["later"])})
        elif pick == 1:
            self.try_("POST", "/reservations", {"address": self.ip(),
                                                "name": f"r{r.randrange(9)}"})
        elif pick == 2:
            low, high = sorted([self.ip(), self.ip()],
                               key=lambda a: [int(x) for x in a.split(".")])
            if r.randrange(4) == 0:
                self.try_("POST", "/reservations", {"address": f"{low}-{high}"})
            self.try_("POST", "/reservations", {"address": f"10.0.3.{r.randrange(16) * 16}/28"})
        elif pick in (3, 4):
            self.try_("POST", "/gateways", {
                "node": some(), "prefixes": [f"10.{r.randrange(1, 5)}.0.0/16"],
                "metric": r.choice([None, r.randrange(1, 300)]), "mode": r.choice(["nat", "routed"])})
        elif pick in (5, 6):
            self.try_("POST", "/floating-ips", {
                "address": self.ip(), "name": r.choice([None, f"f{r.randrange(9)}"]),
                "candidates": r.choice([None, [], r.sample(self.nodes, min(2, len(self.nodes)))])})
        elif pick == 7:
            self.try_("POST", "/cloak/rules?confirm_within_s=0", {
                "action": r.choice(["allow", "deny"]), "protocol": r.choice(["any", "tcp"]),
                "node": r.choice([None, some()]), "priority": r.randrange(1, 9)})
        elif pick == 8:
            self.try_("PATCH", "/cloak?confirm_within_s=0", {
                "state": r.choice(["on", "off"]), "keep_ssh": r.choice([True, False])})
        elif pick == 9:
            self.try_("PATCH", f"/nodes/{some()}", {"address": self.ip()})
        elif pick == 10 and len(self.nodes) > 1:
            self.nodes.remove(name := some())
            self.try_("DELETE", f"/nodes/{name}")
        elif pick == 11:
            fips = self.c.get(self.path + "/floating-ips").json["items"]
            if fips:
                self.try_("PATCH", f"/floating-ips/{r.choice(fips)['id']}", {"assigned": some()})
        else:
            held = self.c.get(self.path + "/reservations").json["items"]
            if held:
                self.try_("DELETE", f"/reservations/{r.choice(held)['id']}")


@options(config="rate_requests = 100000;\nrate_address = 100000;")
def test_round_trip_of_any_network(c):
    for seed in range(6):
        any_one = Any(c, seed)
        for _ in range(40):
            any_one.step()
        document = export(c)
        eq(do_import(c, document)["changes"], [], f"seed {seed}")
        do_import(c, document, name="green", confirm_within_s=0)
        eq(without(export(c, "green"), "macs"), without(document, "macs"), f"seed {seed}")
        # From one to the other and back.
        c.delete(f"{API}/networks/blue").want(204)
        do_import(c, document, confirm_within_s=0)
        eq(without(export(c), "macs"), without(document, "macs"), f"seed {seed}")
        # Over another one that has come of it since: what a dry run says is what is done then.
        for _ in range(25):
            any_one.step()
        other = export(c)
        for wanted in (document, other, document):
            planned = do_import(c, wanted, dry_run=True, confirm_within_s=0)["changes"]
            eq(do_import(c, wanted, confirm_within_s=0)["changes"], planned, f"seed {seed}")
            eq(without(export(c), "macs"), without(wanted, "macs"), f"seed {seed}")
            eq(do_import(c, wanted, dry_run=True)["changes"], [], f"seed {seed}")
        for name in ("blue", "green"):
            c.delete(f"{API}/networks/{name}").want(204)
        for node in c.get(f"{API}/nodes?limit=1000").json["items"]:
            c.delete(f"{API}/nodes/{node['id']}").want(204)


@options(config="rate_requests = 100000;\nrate_address = 100000;\nrate_enrolments = 100000;")
def test_a_thousand_members(c):
    """Bounded in time: the limits are generous, so that they tell of a cost that grows wrongly."""
    net = {"name": "wide", "cidr": "10.0.0.0/16",
           "nodes": [{"name": f"node-{i}", "ips": [f"10.0.{i // 250}.{i % 250 + 1}"]}
                     for i in range(1000)],
           "reservations": [{"address": "10.0.100.0/24"}],
           "floating_ips": [{"address": f"10.0.200.{i + 1}"} for i in range(50)]}
    document = {"format": "van-topology", "version": 1, "networks": [net]}

    def timed(what, limit_s, function):
        start = time.monotonic()
        result = function()
        took_s = time.monotonic() - start
        assert took_s < limit_s, f"{what} took {took_s:.1f} s"
        return result
    result = timed("reserving", 20, lambda: do_import(c, document))
    eq(len(result["missing"]), 1000)
    token = c.token("wide", uses=2000)
    connection = c.connect()

    def join():
        for i in range(1000):
            agent = Agent(c)
            data = json.dumps(agent.enroll_body(token, f"node-{i}")).encode()
            header = agent.header("POST", "/agent/v1/enroll", data, "enroll", "")
            c.call("POST", "/agent/v1/enroll", data, key=None, connection=connection,
                   headers={"Authorization": header}).want(201)
    timed("a thousand nodes joining", 120, join)
    timed("dropping their reservations", 20, lambda: do_import(c, document))
    eq(c.get(f"{API}/networks/wide").json["node_count"], 1000)
    whole = timed("the export", 10, lambda: export(c, "wide"))
    eq(len(net_of(whole)["nodes"]), 1000)
    eq(timed("comparing", 10, lambda: do_import(c, whole))["changes"], [])
    result = timed("the replica", 20, lambda: do_import(c, whole, name="twin"))
    eq(len(result["changes"]), 1052)
    eq(without(export(c, "twin"), "macs"), without(whole, "macs"))
    # Everybody moves up by one, which is a chain of a thousand.
    shifted = copy.deepcopy(whole)
    for node in net_of(shifted)["nodes"]:
        i = int(node["name"].split("-")[1]) + 1
        node["ips"] = [f"10.0.{i // 250}.{i % 250 + 1}"]
    result = timed("moving everybody", 20, lambda: do_import(c, shifted))
    eq(len(result["changes"]), 1000)
    eq(export(c, "wide"), shifted)
    connection.close()


def test_addresses_in_common_are_warned_of(c):
    c.network("prod")
    for name in ("a", "b"):
        c.node(c.token("prod"), name)
    document = c.get("/api/v1/networks/prod/topology").json
    answer = c.post("/api/v1/topologies?name=copy", document).want(200).json["networks"][0]
    eq(len(answer["warnings"]), 1, str(answer["warnings"]))
    for word in ("copy", "prod", " and 1 more are in"):
        assert word in answer["warnings"][0], answer["warnings"]
    document["networks"][0]["cidr"] = "172.16.2.0/24"
    for node in document["networks"][0]["nodes"]:
        del node["ips"]
    answer = c.post("/api/v1/topologies?name=apart", document).want(200).json["networks"][0]
    eq(answer["warnings"], [])
