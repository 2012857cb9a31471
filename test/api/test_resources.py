# SPDX-License-Identifier: Apache-2.0
"""Address reservations, gateways, floating IPs and the cloak: what is accepted, what is refused and
why, what nodes get to hear of it, and what becomes of it when nodes go."""
import ipaddress
import json

from consoletest import Agent, eq, options, until
from vanctltest import vanctl

API = "/api/v1"
NET = API + "/networks/blue"


def pointers(answer, status=400, word=None):
    """The JSON pointers that the problem names."""
    return [e["pointer"] for e in answer.want(status, word).json.get("errors", [])]


def refuse(c, path, cases, base=None, method="POST"):
    """cases: (changes of a good body, status, word, pointer)."""
    for changes, status, word, pointer in cases:
        body = dict(base or {}, **changes)
        answer = c.patch(path, body) if method == "PATCH" else c.post(path, body)
        what = f"{body}: {answer.body[:300]!r}"
        assert answer.status == status, f"want {status}: {what}"
        eq(answer.json["type"], "urn:van:error:" + word, what)
        if pointer is not None:
            eq([e["pointer"] for e in answer.json["errors"]], [pointer], what)


def network_of(agent, name="blue"):
    """The network in the node's netmap."""
    return {n["name"]: n for n in agent.netmap().want(200).json["networks"]}[name]


def member(c, name):
    return c.get(f"{NET}/nodes/{name}").want(200).json


def reserve(c, address, **more):
    return c.post(f"{NET}/reservations", dict(address=address, **more)).want(201).json


# -- reservations

def test_reservation_life(c):
    net = c.network(cidr6="fd00:1::/64")
    o = reserve(c, "172.16.1.50", node="db-1", note="the database")
    eq({k: o[k] for k in ("address", "node", "node_name", "name", "note", "network",
                          "network_name")},
       {"address": "172.16.1.50", "node": None, "node_name": "db-1", "name": None,
        "note": "the database", "network": net["id"], "network_name": "blue"})
    for ref in (o["id"], "172.16.1.50", "172.16.1.50/32", "172.16.1.50-172.16.1.50"):
        answer = c.get(f"{NET}/reservations/{ref.replace('/', '%2F')}").want(200)
        eq(answer.json, o, ref)
        eq(answer.headers["ETag"], f'"{o["revision"]}"')
    printer = reserve(c, "172.16.1.51", name="printer")
    eq(c.get(f"{NET}/reservations/printer").json, printer)
    eq(c.get(f"{NET}/reservations").json["items"], [o, printer])
    eq(c.get(f"{NET}/reservations?node_name=db-1").json["items"], [o])
    # The canonical form is the shortest one.
    for typed, form in (("172.16.1.64-172.16.1.127", "172.16.1.64/26"),
                        ("172.16.1.129-172.16.1.130", "172.16.1.129-172.16.1.130"),
                        ("172.16.1.140/31", "172.16.1.140/31"), ("fd00:1::f/128", "fd00:1::f"),
                        ("FD00:1::1:0000-fd00:1::1:ffff", "fd00:1::1:0/112")):
        eq(reserve(c, typed)["address"], form)
    path = f"{NET}/reservations/{o['id']}"
    c.patch(path, {"note": "x"}, match='"1"').want(412)
    c.patch(path, {"note": "x"}, match=None).want(428)
    changed = c.patch(path, {"address": "172.16.1.52", "note": None},
                      match=f'"{o["revision"]}"').want(200).json
    eq((changed["address"], changed["note"], changed["node_name"], changed["id"]),
       ("172.16.1.52", None, "db-1", o["id"]))
    assert changed["revision"] > o["revision"]
    same = c.patch(path, {"address": "172.16.1.52/32"}).want(200).json
    eq(same["revision"], changed["revision"], "nothing changed")
    c.delete(path).want(204)
    c.get(path).want(404, "not_found")
    c.delete(path).want(404)
    c.get("/api/v1/networks/none/reservations").want(404)


def test_reservations_that_are_wrong(c):
    c.network()
    token = c.token(uses=5)
    c.node(token, "web", address="172.16.1.10")
    reserve(c, "172.16.1.20", node="db")
    reserve(c, "172.16.1.21", name="printer")
    reserve(c, "172.16.1.100-172.16.1.150")
    refuse(c, f"{NET}/reservations", [
        ({}, 400, "invalid", "/address"),
        ({"address": 5}, 400, "invalid", "/address"),
        ({"address": "x"}, 400, "invalid", "/address"),
        ({"address": "172.16.1.9-172.16.1.5"}, 400, "invalid", "/address"),
        ({"address": "172.16.1.5-fd00::1"}, 400, "invalid", "/address"),
        ({"address": "172.16.1.5/24"}, 400, "invalid", "/address"),
        ({"address": "10.0.0.1"}, 400, "invalid", "/address"),
        ({"address": "172.16.1.250-172.16.2.5"}, 400, "invalid", "/address"),
        ({"address": "172.16.1.0"}, 400, "invalid", "/address"),
        ({"address": "172.16.1.255"}, 400, "invalid", "/address"),
        ({"address": "fd00:1::5"}, 400, "invalid", "/address"),
        ({"address": "172.16.1.30", "node": "No Node"}, 400, "invalid", "/node"),
        ({"address": "172.16.1.30", "node": "a", "name": "b"}, 400, "invalid", "/name"),
        ({"address": "172.16.1.30-172.16.1.31", "node": "a"}, 400, "invalid", "/address"),
        ({"address": "172.16.1.30/31", "name": "a"}, 400, "invalid", "/address"),
        ({"address": "172.16.1.30", "name": "UPPER"}, 400, "invalid", "/name"),
        ({"address": "172.16.1.30", "note": "a\nb"}, 400, "invalid", "/note"),
        ({"address": "172.16.1.30", "note": "x" * 201}, 400, "invalid", "/note"),
        ({"address": "172.16.1.30", "color": "red"}, 400, "invalid", "/color"),
        ({"address": "172.16.1.10"}, 409, "address_taken", "/address"),
        ({"address": "172.16.1.10", "node": "other"}, 409, "address_taken", "/address"),
        ({"address": "172.16.1.0/28"}, 409, "address_taken", "/address"),
        ({"address": "172.16.1.20", "name": "x"}, 409, "address_reserved", "/address"),
        ({"address": "172.16.1.30", "node": "db"}, 409, "node_has_reservation", "/node"),
        ({"address": "172.16.1.30", "name": "printer"}, 409, "name_taken", "/name"),
        ({"address": "172.16.1.140-172.16.1.160"}, 409, "address_reserved", "/address"),
    ])
    answer = c.post(f"{NET}/reservations", {"address": "172.16.1.10"}).want(409)
    assert '"web"' in answer.json["detail"], answer.json
    # Everything that is wrong is told at once.
    eq(sorted(pointers(c.post(f"{NET}/reservations", {
        "address": "10.0.0.1", "note": 5, "name": "-", "what": 1}))),
       ["/address", "/name", "/note", "/what"])
    # What a node has may be reserved for it; single ones may lie in an excluded range.
    reserve(c, "172.16.1.10", node="web")
    reserve(c, "172.16.1.120", node="pinned")
    eq(len(c.get(f"{NET}/reservations").json["items"]), 5)


def test_the_allocator_leaves_reservations_alone(c):
    c.network("blue", "172.16.1.0/27", cidr6="fd00:1::/64")
    token = c.token(uses=40)
    reserve(c, "172.16.1.1-172.16.1.9")
    reserve(c, "172.16.1.11", name="printer")
    reserve(c, "172.16.1.13", node="db")
    reserve(c, "fd00:1::1-fd00:1::ffff")
    got = [member(c, c.node(token, "n").name)["ips"] for _ in range(3)]
    eq(got, [["172.16.1.10/27", "fd00:1::1:0/64"], ["172.16.1.12/27", "fd00:1::1:1/64"],
             ["172.16.1.14/27", "fd00:1::1:2/64"]])
    eq(member(c, c.node(token, "db").name)["ips"][0], "172.16.1.13/27")
    for _ in range(16):
        c.node(token, "n")
    answer = Agent(c).enroll(token, "n").want(409, "network_full")
    assert "reserved" in answer.json["detail"]


def test_reserved_addresses_are_for_their_node(c):
    c.network()
    token = c.token(uses=9)
    reserve(c, "172.16.1.50", node="db")
    reserve(c, "172.16.1.60-172.16.1.69")
    answer = Agent(c).enroll(token, "web", address="172.16.1.50").want(409, "address_reserved")
    assert '"db"' in answer.json["detail"]
    c.node(token, "web")
    path = f"{NET}/nodes/web"
    for address in ("172.16.1.50", "172.16.1.60", "172.16.1.69"):
        c.patch(path, {"address": address}).want(409, "address_reserved")
    c.patch(path, {"address": "172.16.1.70"}).want(200)
    db = c.node(token, "db")
    eq(member(c, "db")["ips"], ["172.16.1.50/24"])
    eq(c.get(f"{NET}/reservations/172.16.1.50").json["node"], db.id)
    c.patch(f"{NET}/nodes/db", {"address": "172.16.1.80"}).want(200)
    c.patch(f"{NET}/nodes/db", {"address": "172.16.1.50"}).want(200)
    # It comes back, as a new node of the same name, and finds its address.
    c.delete("/api/v1/nodes/db").want(204)
    Agent(c).enroll(token, "web-2", address="172.16.1.50").want(409, "address_reserved")
    eq(member(c, c.node(token, "db").name)["ips"], ["172.16.1.50/24"])
    # An enrolled node that is added finds it, too.
    c.network("red", "10.0.0.0/24")
    c.post("/api/v1/networks/red/reservations", {"address": "10.0.0.9", "node": "web"}).want(201)
    eq(c.post("/api/v1/networks/red/nodes", {"node": "web"}).want(201).json["ips"],
       ["10.0.0.9/24"])


def test_reservations_follow_a_rename(c):
    c.network()
    token = c.token(uses=9)
    c.node(token, "a")
    reserve(c, "172.16.1.50", node="a")
    reserve(c, "172.16.1.51", node="b")
    c.patch("/api/v1/nodes/a", {"name": "b"}).want(409, "name_reserved")
    c.patch("/api/v1/nodes/a", {"name": "c"}).want(200)
    eq(c.get(f"{NET}/reservations/172.16.1.50").json["node_name"], "c")
    c.node(token, "other")
    c.patch("/api/v1/nodes/other", {"name": "b"}).want(200)
    c.patch(f"{NET}/nodes/b", {"address": "172.16.1.51"}).want(200)


# -- gateways

def gateway(c, node, *prefixes, **more):
    return c.post(f"{NET}/gateways", dict(node=node, prefixes=list(prefixes), **more)) \
        .want(201).json


def test_gateway_life(c):
    net = c.network(cidr6="fd00:1::/64")
    token = c.token(uses=5)
    dc, backup = c.node(token, "dc"), c.node(token, "backup")
    o = gateway(c, "dc", "10.20.0.0/16", "2001:db8::/32")
    eq({k: v for k, v in o.items() if k not in ("id", "created_at", "revision")},
       {"network": net["id"], "network_name": "blue", "name": "dc", "node": dc.id,
        "node_name": "dc", "prefixes": ["10.20.0.0/16", "2001:db8::/32"], "mode": "routed",
        "metric": 100, "enabled": True, "health": None, "note": None})
    eq(c.get(f"{NET}/gateways/dc").json, c.get(f"{NET}/gateways/{o['id']}").json)
    # A further one of the same prefix is a backup; of another prefix it begins anew.
    eq(gateway(c, backup.id, "10.20.0.0/16")["metric"], 200)
    eq(gateway(c, "backup", "10.30.0.0/16", mode="nat")["name"], "backup-2")
    third = c.node(token, "third")
    eq(gateway(c, third.id, "10.20.0.0/16", "10.30.0.0/16")["metric"], 300)
    eq(gateway(c, "third", "0.0.0.0/0", "::/0", name="exit", mode="nat",
               health={"kind": "icmp", "target": "192.0.2.1"})["health"],
       {"kind": "icmp", "target": "192.0.2.1", "port": None, "interval_s": 5, "failures": 3})
    path = f"{NET}/gateways/exit"
    changed = c.patch(path, {"health": {"kind": "tcp", "port": 443, "failures": 2}}).want(200).json
    eq(changed["health"], {"kind": "tcp", "target": "192.0.2.1", "port": 443, "interval_s": 5,
                           "failures": 2})
    changed = c.patch(path, {"health": None, "enabled": False, "metric": 7}).want(200).json
    eq((changed["health"], changed["enabled"], changed["metric"], changed["mode"]),
       (None, False, 7, "nat"))
    # Without a wish for it the metric is chosen again.
    eq(c.patch(path, {"metric": None}).want(200).json["metric"], 100)
    eq(len(c.get(f"{NET}/gateways").json["items"]), 5)
    eq([g["name"] for g in c.get(f"{NET}/gateways?mode=nat&sort=-name").json["items"]],
       ["exit", "backup-2"])
    c.delete(path).want(204)
    c.delete(path).want(404)


def test_gateways_that_are_wrong(c):
    c.network("blue", "172.16.1.0/24")
    c.network("red", "10.0.0.0/24")
    token = c.token(uses=9)
    c.node(token, "dc")
    c.node(token, "other")
    c.node(c.token("red"), "elsewhere")
    gateway(c, "dc", "10.20.0.0/16", name="uplink")
    good = {"node": "other", "prefixes": ["10.20.0.0/16"]}

    def one(prefix, pointer="/prefixes/0"):
        return {"prefixes": [prefix]}, 400, "invalid", pointer
    refuse(c, f"{NET}/gateways", [
        ({"prefixes": []}, 400, "invalid", "/prefixes"),
        ({"prefixes": None}, 400, "invalid", "/prefixes"),
        ({"prefixes": "10.0.0.0/8"}, 400, "invalid", "/prefixes"),
        ({"prefixes": [5]}, 400, "invalid", "/prefixes/0"),
        ({"prefixes": ["10.99.0.0/16", "x"]}, 400, "invalid", "/prefixes/1"),
        one("10.20.0.1/16"), one("172.16.1.0/24"), one("172.16.1.128/25"), one("172.16.1.7/32"),
        one("127.0.0.0/8"), one("169.254.0.0/16"), one("224.0.0.0/4"), one("239.1.0.0/16"),
        one("240.0.0.0/8"), one("0.0.0.0/8"), one("fe80::/64"), one("ff02::/16"), one("::1/128"),
        one("2001:db8::/32"), one("::/0"),  # the network has no IPv6 prefix
        ({"prefixes": ["10.0.0.0/8", "10.1.0.0/16"]}, 400, "invalid", "/prefixes/1"),
        ({"prefixes": ["10.1.0.0/16", "0.0.0.0/0"]}, 400, "invalid", "/prefixes/1"),
        ({"prefixes": ["10.1.0.0/16", "10.1.0.0/16"]}, 400, "invalid", "/prefixes/1"),
        ({"prefixes": [f"10.{i}.0.0/16" for i in range(33)]}, 400, "invalid", "/prefixes"),
        ({"mode": "bridge"}, 400, "invalid", "/mode"),
        ({"metric": 0}, 400, "invalid", "/metric"),
        ({"metric": 65536}, 400, "invalid", "/metric"),
        ({"metric": 100}, 409, "prefix_ambiguous", "/metric"),
        ({"node": "dc"}, 409, "prefix_taken", "/prefixes"),
        ({"node": "none"}, 404, "not_found", "/node"),
        ({"node": "elsewhere"}, 404, "not_found", "/node"),
        ({"node": None}, 400, "invalid", "/node"),
        ({"name": "uplink"}, 409, "name_taken", "/name"),
        ({"enabled": "yes"}, 400, "invalid", "/enabled"),
        ({"health": {"kind": "icmp"}}, 400, "invalid", "/health/target"),
        ({"health": {"kind": "udp", "target": "10.20.0.1"}}, 400, "invalid", "/health/kind"),
        ({"health": {"kind": "tcp", "target": "10.20.0.1"}}, 400, "invalid", "/health/port"),
        ({"health": {"kind": "icmp", "target": "10.20.0.1", "port": 80}}, 400, "invalid",
         "/health/port"),
        ({"health": {"kind": "icmp", "target": "192.0.2.1"}}, 400, "invalid", "/health/target"),
        ({"health": {"kind": "icmp", "target": "10.20.0.1", "interval_s": 0}}, 400, "invalid",
         "/health/interval_s"),
        ({"health": {"kind": "icmp", "target": "10.20.0.1", "x": 0}}, 400, "invalid", "/health/x"),
        ({"health": 5}, 400, "invalid", "/health"),
    ], good)
    answer = c.post(f"{NET}/gateways", dict(good, metric=100)).want(409)
    assert '"uplink"' in answer.json["detail"] and "10.20.0.0/16" in answer.json["detail"]
    # A wider prefix than the network's is fine, and one inside another gateway's.
    gateway(c, "other", "172.16.0.0/12", "10.20.30.0/24")
    eq(len(c.get(f"{NET}/gateways").json["items"]), 2)


def test_gateways_in_netmaps(c):
    c.network()
    c.network("red", "10.0.0.0/24")
    token = c.token(uses=5)
    dc, web = c.node(token, "dc"), c.node(token, "web")
    stranger = c.node(c.token("red"), "stranger")
    before = {n: n.netmap().json for n in (dc, web, stranger)}
    o = gateway(c, "dc", "10.20.0.0/16", mode="nat",
                health={"kind": "tcp", "target": "10.20.0.1", "port": 22})
    seen = {o["id"]: {"node": dc.id, "prefixes": ["10.20.0.0/16"], "metric": 100}}
    eq(network_of(web)["gateways"], seen)
    assert "serves" not in network_of(web), "mode and health are the gateway's own business"
    eq(network_of(dc)["gateways"], seen)
    eq(network_of(dc)["serves"], {o["id"]: {"mode": "nat", "health": {
        "kind": "tcp", "target": "10.20.0.1", "port": 22, "interval_s": 5, "failures": 3}}})
    for node in (dc, web):
        assert node.netmap().json["number"] > before[node]["number"]
    eq(stranger.netmap().json["number"], before[stranger]["number"], "it is none of its business")
    c.patch(f"{NET}/gateways/dc", {"enabled": False}).want(200)
    eq(network_of(web)["gateways"], {})
    assert "serves" not in network_of(dc)
    c.patch(f"{NET}/gateways/dc", {"enabled": True, "mode": "routed", "health": None}).want(200)
    eq(network_of(dc)["serves"], {o["id"]: {"mode": "routed"}})
    c.patch(f"{NET}/gateways/dc", {"node": "web"}).want(200)
    assert "serves" not in network_of(dc)
    eq(network_of(web)["serves"], {o["id"]: {"mode": "routed"}})
    # A disabled node is in nobody's map, and no next hop.
    c.patch("/api/v1/nodes/web", {"disabled": True}).want(200)
    eq(network_of(dc)["gateways"], {})


def test_a_gateway_goes_with_its_node(c):
    c.network()
    token = c.token(uses=5)
    for name in ("a", "b", "c"):
        c.node(token, name)
    gateway(c, "a", "10.20.0.0/16")
    gateway(c, "b", "10.20.0.0/16")
    web = c.node(token, "web")
    c.delete(f"{NET}/nodes/a").want(204)
    eq([g["name"] for g in c.get(f"{NET}/gateways").json["items"]], ["b"])
    c.delete("/api/v1/nodes/b").want(204)
    eq(c.get(f"{NET}/gateways").json["items"], [])
    eq(network_of(web)["gateways"], {})
    rows = c.get("/api/v1/audit?limit=1000").json["items"]
    eq([r["before"]["name"] for r in rows if r["action"] == "gateway.delete"], ["a", "b"])


def test_gateway_candidates(c):
    c.network("blue", "172.16.1.0/24")
    token = c.token(uses=5)
    dc, web = c.node(token, "dc"), c.node(token, "web")
    eq(c.get(f"{NET}/gateway-candidates").want(200).json, {"items": [], "next": None})
    dc.report(external=[{"cidr": "10.20.0.0/16", "ifname": "eth1"},
                        {"cidr": "172.16.1.0/24", "ifname": "br0"},  # the network itself
                        {"cidr": "0.0.0.0/0", "ifname": "eth0"}]).want(200)
    web.report(external=[]).want(200)
    gateway(c, "dc", "10.20.0.0/16", name="uplink")
    eq(c.get(f"{NET}/gateway-candidates").json["items"],
       [{"node": dc.id, "node_name": "dc", "online": True, "gateways": ["uplink"],
         "external": [{"cidr": "10.20.0.0/16", "ifname": "eth1"},
                      {"cidr": "0.0.0.0/0", "ifname": "eth0"}]}])
    # It is no news for the other nodes, and a report that does not speak of it changes nothing.
    number = web.netmap().json["number"]
    dc.report(external=[{"cidr": "10.30.0.0/16", "ifname": "eth1"}]).want(200)
    dc.report().want(200)
    eq(web.netmap().json["number"], number)
    eq(c.get(f"{NET}/gateway-candidates").json["items"][0]["external"],
       [{"cidr": "10.30.0.0/16", "ifname": "eth1"}])
    for bad in ([5], [{"cidr": "x", "ifname": "eth0"}], [{"cidr": "10.0.0.0/8"}],
                [{"cidr": "10.0.0.0/8", "ifname": "x" * 16}]):
        dc.report(external=bad).want(400)


# -- floating IPs

def fip(c, address, **more):
    return c.post(f"{NET}/floating-ips", dict(address=address, **more)).want(201).json


def test_floating_ip_life(c):
    net = c.network(cidr6="fd00:1::/64")
    token = c.token(uses=5)
    a, b = c.node(token, "a"), c.node(token, "b")
    o = fip(c, "172.16.1.100", name="db", candidates=["b", a.id], vrid=7)
    eq({k: v for k, v in o.items() if k not in ("id", "created_at", "revision")},
       {"network": net["id"], "network_name": "blue", "name": "db", "address": "172.16.1.100",
        "candidates": sorted([a.id, b.id]),
        "candidate_names": [n for _, n in sorted([(a.id, "a"), (b.id, "b")])],
        "assigned": None, "assigned_name": None, "vrid": 7, "note": None})
    for ref in (o["id"], "db", "172.16.1.100"):
        eq(c.get(f"{NET}/floating-ips/{ref}").want(200).json, o, ref)
    eq(fip(c, "fd00:1::100")["candidates"], None)
    path = f"{NET}/floating-ips/db"
    eq(c.patch(path, {"assigned": "a"}).want(200).json["assigned"], a.id)
    eq(c.patch(path, {"assigned": b.id}).want(200).json["assigned_name"], "b")
    eq(c.patch(path, {"assigned": None}).want(200).json["assigned"], None)
    moved = c.patch(path, {"address": "172.16.1.101", "vrid": None, "candidates": None}).want(200)
    eq((moved.json["address"], moved.json["vrid"], moved.json["candidates"]),
       ("172.16.1.101", None, None))
    eq(member(c, c.node(token, "x", address="172.16.1.100").name)["ips"][0], "172.16.1.100/24")
    c.delete(path).want(204)
    eq(member(c, c.node(token, "y", address="172.16.1.101").name)["ips"][0], "172.16.1.101/24")


def test_floating_ips_that_are_wrong(c):
    c.network()
    c.network("red", "10.0.0.0/24")
    token = c.token(uses=5)
    c.node(token, "a", address="172.16.1.10")
    c.node(token, "b")
    c.node(c.token("red"), "elsewhere")
    reserve(c, "172.16.1.20", node="db")
    reserve(c, "172.16.1.21", name="printer")
    reserve(c, "172.16.1.200-172.16.1.210")
    fip(c, "172.16.1.100", name="vip")
    good = {"address": "172.16.1.101"}
    refuse(c, f"{NET}/floating-ips", [
        ({"address": None}, 400, "invalid", "/address"),
        ({"address": "172.16.1.5/24"}, 400, "invalid", "/address"),
        ({"address": "10.0.0.5"}, 400, "invalid", "/address"),
        ({"address": "172.16.1.0"}, 400, "invalid", "/address"),
        ({"address": "172.16.1.255"}, 400, "invalid", "/address"),
        ({"address": "fd00::5"}, 400, "invalid", "/address"),
        ({"address": "172.16.1.10"}, 409, "address_taken", "/address"),
        ({"address": "172.16.1.100"}, 409, "address_taken", "/address"),
        ({"address": "172.16.1.20"}, 409, "address_reserved", "/address"),
        ({"address": "172.16.1.21"}, 409, "address_reserved", "/address"),
        ({"name": "vip"}, 409, "name_taken", "/name"),
        ({"name": "printer"}, 409, "name_taken", "/name"),
        ({"name": "a b"}, 400, "invalid", "/name"),
        ({"candidates": "a"}, 400, "invalid", "/candidates"),
        ({"candidates": ["a", 5]}, 400, "invalid", "/candidates/1"),
        ({"candidates": ["a", "none"]}, 404, "not_found", "/candidates/1"),
        ({"candidates": ["elsewhere"]}, 404, "not_found", "/candidates/0"),
        ({"candidates": ["a", "b", "a"]}, 400, "invalid", "/candidates/2"),
        ({"candidates": ["a"] * 65}, 400, "invalid", "/candidates"),
        ({"candidates": ["a"], "assigned": "b"}, 400, "invalid", "/assigned"),
        ({"candidates": [], "assigned": "b"}, 400, "invalid", "/assigned"),
        ({"assigned": "elsewhere"}, 404, "not_found", "/assigned"),
        ({"vrid": 0}, 400, "invalid", "/vrid"),
        ({"vrid": 256}, 400, "invalid", "/vrid"),
        ({"owner": "a"}, 400, "invalid", "/owner"),
    ], good)
    assert '"a"' in c.post(f"{NET}/floating-ips", {"address": "172.16.1.10"}).json["detail"]
    fip(c, "172.16.1.205")  # excluded ones are what one takes for them
    # The other way round: nodes and reservations keep off floating IPs.
    answer = Agent(c).enroll(token, "x", address="172.16.1.100").want(409, "address_taken")
    assert "floating IP vip" in answer.json["detail"], answer.json
    c.patch(f"{NET}/nodes/a", {"address": "172.16.1.205"}).want(409, "address_taken")
    refuse(c, f"{NET}/reservations", [
        ({"address": "172.16.1.100", "name": "x"}, 409, "address_taken", "/address"),
        ({"address": "172.16.1.30", "name": "vip"}, 409, "name_taken", "/name")])
    reserve(c, "172.16.1.96/29")  # around it is fine
    c.network("tiny", "10.1.0.0/30")
    c.post("/api/v1/networks/tiny/floating-ips", {"address": "10.1.0.1"}).want(201)
    eq(c.get("/api/v1/networks/tiny/nodes/" + c.node(c.token("tiny"), "t").name).json["ips"],
       ["10.1.0.2/30"], "the allocator knows it")


def test_floating_ips_in_netmaps_and_when_nodes_go(c):
    c.network()
    token = c.token(uses=5)
    a, b, web = (c.node(token, n) for n in ("a", "b", "web"))
    o = fip(c, "172.16.1.100", candidates=["a", "b"], assigned="b", vrid=3)
    any_one = fip(c, "172.16.1.101", assigned="b")
    for node in (a, web):
        eq(network_of(node)["floating"], {
            o["id"]: {"address": "172.16.1.100", "candidates": sorted([a.id, b.id]),
                      "assigned": b.id, "vrid": 3},
            any_one["id"]: {"address": "172.16.1.101", "assigned": b.id}})
    c.delete("/api/v1/nodes/b").want(204)
    eq(network_of(web)["floating"], {o["id"]: {"address": "172.16.1.100", "candidates": [a.id],
                                               "vrid": 3},
                                     any_one["id"]: {"address": "172.16.1.101"}})
    c.delete(f"{NET}/nodes/a").want(204)
    eq(c.get(f"{NET}/floating-ips/172.16.1.100").json["candidates"], [], "nobody, not everybody")
    eq(network_of(web)["floating"][o["id"]]["candidates"], [])


# -- the cloak

def rule(c, action="allow", confirm=None, **more):
    query = f"?confirm_within_s={confirm}" if confirm is not None else ""
    return c.post(f"{NET}/cloak/rules{query}", dict(action=action, **more)).want(201).json


def cloak(c, **patch):
    query = "?confirm_within_s=" + str(patch.pop("confirm")) if "confirm" in patch else ""
    if patch:
        return c.patch(f"{NET}/cloak{query}", patch).want(200).json
    return c.get(f"{NET}/cloak").want(200).json


def test_cloak_states(c):
    net = c.network()
    o = cloak(c)
    eq({k: v for k, v in o.items() if k not in ("created_at", "revision")},
       {"id": net["id"], "network": net["id"], "network_name": "blue", "state": "off",
        "scope": "public", "keep_ssh": True, "confirm_by": None, "changed_at": None, "rules": []})
    c.post(f"{NET}/cloak/confirm").want(409, "not_pending")
    c.patch(f"{NET}/cloak", {"state": "on"}, match='"1"').want(412)
    pending = c.patch(f"{NET}/cloak", {"state": "on"}, match=f'"{o["revision"]}"').want(200).json
    eq((pending["state"], pending["confirm_by"] > pending["changed_at"]), ("pending", True))
    eq(cloak(c), pending)
    on = c.post(f"{NET}/cloak/confirm").want(200).json
    eq((on["state"], on["confirm_by"]), ("on", None))
    c.post(f"{NET}/cloak/confirm").want(409, "not_pending")
    # What only lets more in is done at once; what restricts has to be confirmed.
    https = rule(c, protocol="tcp", ports="443")
    eq(cloak(c)["state"], "on")
    rule(c, "deny", source="203.0.113.0/24")
    eq(cloak(c)["state"], "pending")
    c.post(f"{NET}/cloak/confirm").want(200)
    c.patch(f"{NET}/cloak/rules/{https['id']}", {"note": "web"}).want(200)
    eq(cloak(c)["state"], "on", "a note is no change of what is let in")
    c.patch(f"{NET}/cloak/rules/{https['id']}", {"ports": "8443"}).want(200)
    eq(cloak(c)["state"], "pending")
    eq(cloak(c, scope="all", confirm=0)["state"], "on", "0: final at once")
    c.delete(f"{NET}/cloak/rules/{https['id']}").want(204)
    eq(cloak(c)["state"], "pending")
    eq(cloak(c, state="off")["state"], "off", "off is off at once")
    eq(len(cloak(c)["rules"]), 1)
    for changes, pointer in (({"state": "maybe"}, "/state"), ({"scope": "x"}, "/scope"),
                             ({"keep_ssh": 1}, "/keep_ssh"), ({"rules": []}, "/rules")):
        eq(pointers(c.patch(f"{NET}/cloak", changes)), [pointer])
    for bad in ("9", "3601", "-1", "x", "", "1e2"):
        c.patch(f"{NET}/cloak?confirm_within_s={bad}", {"state": "on"}).want(400)


def test_what_nobody_confirms_is_taken_back(c):
    c.network()
    node = c.node(name="web")
    rule(c, protocol="tcp", ports="22")
    cloak(c, state="on", confirm=0)
    before = network_of(node)["cloak"]
    rule(c, "deny", protocol="tcp", ports="22", confirm=10)
    during = network_of(node)["cloak"]
    eq((during["state"], len(during["rules"]), during["fallback"]),
       ("pending", 2, before), "the node knows what to go back to, and when")
    assert during["due_s"] > 0
    number = node.netmap().json["number"]
    until(lambda: cloak(c)["state"] == "on", 20, "the deadline")
    eq([r["action"] for r in cloak(c)["rules"]], ["allow"])
    c.post(f"{NET}/cloak/confirm").want(409, "not_pending")
    until(lambda: node.netmap().json["number"] > number, 20, "the news of it")
    eq(network_of(node)["cloak"], before)
    rows = c.get("/api/v1/audit?limit=1000").json["items"]
    eq([r["actor"] for r in rows if r["action"] == "cloak.take_back"], ["console"])


def test_cloak_rules(c):
    c.network()
    token = c.token(uses=5)
    web = c.node(token, "web")
    c.network("red", "10.0.0.0/24")
    c.node(c.token("red"), "elsewhere")
    good = {"action": "allow"}
    refuse(c, f"{NET}/cloak/rules", [
        ({"action": None}, 400, "invalid", "/action"),
        ({"action": "drop"}, 400, "invalid", "/action"),
        ({"priority": 0}, 400, "invalid", "/priority"),
        ({"protocol": "xtp"}, 400, "invalid", "/protocol"),
        ({"ports": "80"}, 400, "invalid", "/ports"),
        ({"protocol": "icmp", "ports": "8"}, 400, "invalid", "/ports"),
        ({"protocol": "tcp", "ports": "0"}, 400, "invalid", "/ports"),
        ({"protocol": "tcp", "ports": "65536"}, 400, "invalid", "/ports"),
        ({"protocol": "tcp", "ports": "9-8"}, 400, "invalid", "/ports"),
        ({"protocol": "tcp", "ports": "1-2-3"}, 400, "invalid", "/ports"),
        ({"protocol": "tcp", "ports": 80}, 400, "invalid", "/ports"),
        ({"source": "10.0.0.1/8"}, 400, "invalid", "/source"),
        ({"source": "x"}, 400, "invalid", "/source"),
        ({"protocol": "icmp", "source": "2001:db8::/32"}, 400, "invalid", "/source"),
        ({"protocol": "icmpv6", "source": "10.0.0.0/8"}, 400, "invalid", "/source"),
        ({"interface": "eth0; flush"}, 400, "invalid", "/interface"),
        ({"interface": "eth*"}, 400, "invalid", "/interface"),
        ({"interface": "x" * 16}, 400, "invalid", "/interface"),
        ({"node": "none"}, 404, "not_found", "/node"),
        ({"node": "elsewhere"}, 404, "not_found", "/node"),
        ({"note": "a\tb"}, 400, "invalid", "/note"),
        ({"what": 1}, 400, "invalid", "/what"),
    ], good)
    late = rule(c, protocol="tcp", ports="22-22", source="192.0.2.0/24")
    eq((late["ports"], late["priority"], late["node"], late["network_name"]),
       ("22", 1000, None, "blue"))
    deny = rule(c, "deny", source="203.0.113.7/32")
    first = rule(c, protocol="udp", ports="5000-5010", priority=1, node="web", interface="eth0")
    eq((first["node"], first["node_name"]), (web.id, "web"))
    same = rule(c, "deny", protocol="tcp", ports="22", source="192.0.2.0/24", priority=1000)
    order = [first["id"], deny["id"], same["id"], late["id"]]
    eq([r["id"] for r in c.get(f"{NET}/cloak/rules").json["items"]], order)
    eq([r["id"] for r in cloak(c)["rules"]], order)
    page = c.get(f"{NET}/cloak/rules?limit=3").json
    eq([r["id"] for r in page["items"]], order[:3])
    eq([r["id"] for r in c.get(f"{NET}/cloak/rules?cursor={page['next']}").json["items"]],
       order[3:])
    c.get(f"{NET}/cloak/rules?cursor=rule_none").want(400)
    c.post(f"{NET}/cloak/rules", {"action": "allow", "protocol": "tcp", "ports": "22",
                                  "source": "192.0.2.0/24", "priority": 5}) \
        .want(409, "rule_exists")
    path = f"{NET}/cloak/rules/{late['id']}"
    c.patch(path, {"action": "deny"}).want(409, "rule_exists")
    changed = c.patch(path, {"source": None, "priority": 2}).want(200).json
    eq((changed["source"], changed["id"], changed["created_at"]),
       (None, late["id"], late["created_at"]))
    eq(changed["revision"], cloak(c)["revision"])
    eq([r["id"] for r in cloak(c)["rules"]][:2], [first["id"], late["id"]])
    c.delete(path).want(204)
    c.delete(path).want(404)
    c.get(path).want(404)
    c.delete("/api/v1/nodes/web").want(204)
    eq([r["id"] for r in cloak(c)["rules"]], [deny["id"], same["id"]])


def test_the_cloak_in_netmaps(c):
    c.network()
    token = c.token(uses=5)
    web, db = c.node(token, "web"), c.node(token, "db")
    all_of_them = rule(c, protocol="tcp", ports="443")
    own = rule(c, protocol="tcp", ports="5432", source="198.51.100.0/24", node="db",
               interface="eth0")
    assert "cloak" not in network_of(web), "it is off"
    cloak(c, state="on", confirm=0)
    want = {"state": "on", "scope": "public", "keep_ssh": True, "rules": {
        all_of_them["id"]: {"action": "allow", "priority": 1000, "protocol": "tcp",
                            "ports": "443"}}}
    for node in (web, db):
        eq(network_of(node)["cloak"], want)
    assert "cloak_own" not in network_of(web), "what is open on another node is not told"
    eq(network_of(db)["cloak_own"], {"rules": {own["id"]: {
        "action": "allow", "priority": 1000, "protocol": "tcp", "ports": "5432",
        "source": "198.51.100.0/24", "interface": "eth0"}}})
    c.delete(f"{NET}/cloak/rules/{own['id']}").want(204)
    eq(network_of(db)["cloak_own"]["fallback"], {own["id"]: {
        "action": "allow", "priority": 1000, "protocol": "tcp", "ports": "5432",
        "source": "198.51.100.0/24", "interface": "eth0"}})
    c.post(f"{NET}/cloak/confirm").want(200)
    assert "cloak_own" not in network_of(db)
    cloak(c, state="off")
    assert "cloak" not in network_of(web)


# -- all of them

def test_nothing_is_left_of_a_deleted_network(c):
    c.network()
    c.node(name="a")
    reserve(c, "172.16.1.50", node="b")
    gateway(c, "a", "10.20.0.0/16")
    fip(c, "172.16.1.100")
    rule(c)
    cloak(c, state="on")
    c.delete(NET).want(204)
    c.network()
    for path in ("reservations", "gateways", "floating-ips", "cloak/rules"):
        eq(c.get(f"{NET}/{path}").json["items"], [], path)
    eq(cloak(c)["state"], "off")
    c.node(name="c", address="172.16.1.50")
    c.patch(f"{NET}/nodes/c", {"address": "172.16.1.100"}).want(200)


def test_audit_of_resources(c):
    c.network()
    c.node(name="a")
    made = reserve(c, "172.16.1.50", name="x")
    c.patch(f"{NET}/reservations/x", {"name": "y"}).want(200)
    c.delete(f"{NET}/reservations/y").want(204)
    c.post(f"{NET}/reservations", {"address": "x"}).want(400)
    rows = [r for r in c.get("/api/v1/audit?limit=1000").json["items"]
            if r["kind"] == "reservation"]
    eq([(r["action"], r["id"]) for r in rows],
       [(f"reservation.{verb}", made["id"]) for verb in ("create", "change", "delete")])
    eq([(r["before"] and r["before"]["name"], r["after"] and r["after"]["name"]) for r in rows],
       [(None, "x"), ("x", "y"), ("y", None)])


@options(config="rate_requests = 100000;")
def test_limits(c):
    c.network("wide", "10.0.0.0/16")
    connection = c.connect()
    path = "/api/v1/networks/wide/floating-ips"
    for i in range(256):
        c.post(path, {"address": str(ipaddress.ip_address("10.0.1.0") + i)},
               connection=connection).want(201)
    c.post(path, {"address": "10.0.9.9"}).want(409, "limit_reached")
    path = "/api/v1/networks/wide/cloak/rules"
    for i in range(256):
        c.post(path, {"action": "allow", "protocol": "tcp", "ports": str(1000 + i)},
               connection=connection).want(201)
    c.post(path, {"action": "allow"}).want(409, "limit_reached")
    connection.close()


def test_watch_of_resources(c):
    """Changes come as events of their kinds, with the object as a GET shows it."""
    c.network()
    c.node(name="a")
    connection = c.connect(timeout_s=20)
    connection.request("GET", "/api/v1/watch?kind=gateway,reservation,floating_ip,cloak",
                       headers={"Authorization": "Bearer " + c.key})
    stream = connection.getresponse()
    eq(stream.status, 200)
    made = [gateway(c, "a", "10.20.0.0/16"), reserve(c, "172.16.1.50", name="x"),
            fip(c, "172.16.1.100")]
    shown = cloak(c, state="on")
    c.delete(f"{NET}/reservations/x").want(204)
    events = []
    while len(events) < 5:
        line = stream.readline().decode()
        if line.startswith("data: "):
            events.append(json.loads(line[6:]))
    eq([(e["type"], e["kind"]) for e in events],
       [("created", "gateway"), ("created", "reservation"), ("created", "floating_ip"),
        ("created", "cloak"), ("deleted", "reservation")])
    eq([e["object"] for e in events[:4]], made + [shown])
    connection.close()


# -- the same by vanctl

def test_vanctl_resources(c):
    c.network("prod", "172.16.1.0/24")
    token = c.token("prod", uses=9)
    c.node(token, "dc").report(external=[{"cidr": "10.20.0.0/16", "ifname": "eth1"}]).want(200)
    c.node(token, "db")
    path = f"{API}/networks/prod"

    vanctl(c, "reservation create 172.16.1.100-172.16.1.150 -n prod --note DHCP")
    vanctl(c, "reservation create 172.16.1.5 -n prod --node later")
    vanctl(c, "reservation create 172.16.1.6 -n prod --name printer")
    text = vanctl(c, "reservation list -n prod")
    for words in ("172.16.1.100-172.16.1.150", "nobody", "node later (not joined)", "printer"):
        assert words in text, text
    eq(json.loads(vanctl(c, "reservation list -n prod -o json")),
       c.get(f"{path}/reservations?sort=address").json)
    assert '"dc"' in vanctl(c, "reservation create 172.16.1.1 -n prod", 6)
    vanctl(c, "reservation create 10.0.0.1 -n prod", 1)
    vanctl(c, "reservation delete 172.16.1.5 -n prod")
    vanctl(c, "reservation delete 172.16.1.5 -n prod", 5)

    assert "10.20.0.0/16 (eth1)" in vanctl(c, "gateway candidates -n prod")
    vanctl(c, "gateway add dc -n prod --prefix 10.20.0.0/16,10.30.0.0/16 --health tcp:10.20.0.1:22")
    shown = json.loads(vanctl(c, "gateway show dc -n prod -o json"))
    eq((shown["prefixes"], shown["health"]["port"], shown["metric"]),
       (["10.20.0.0/16", "10.30.0.0/16"], 22, 100))
    vanctl(c, "gateway set dc -n prod --enabled no --mode nat --health icmp:10.20.0.1")
    shown = c.get(f"{path}/gateways/dc").json
    eq((shown["enabled"], shown["mode"], shown["health"]["kind"]), (False, "nat", "icmp"))
    vanctl(c, "gateway set dc -n prod --health none")
    eq(c.get(f"{path}/gateways/dc").json["health"], None)
    for wrong in ("gateway set dc -n prod", "gateway set dc -n prod --health udp:10.0.0.1",
                  "gateway set dc -n prod --health tcp:10.0.0.1",
                  "gateway set dc -n prod --health tcp:10.0.0.1:0", "gateway add dc -n prod"):
        vanctl(c, wrong, 2)
    vanctl(c, "gateway add none -n prod --prefix 10.0.0.0/8", 5)
    vanctl(c, "gateway remove dc -n prod")
    vanctl(c, "gateway remove dc -n prod", 5)

    vanctl(c, "fip create 172.16.1.60 -n prod --name vip --candidates db,dc --vrid 9")
    vanctl(c, "fip assign vip db -n prod")
    eq(c.get(f"{path}/floating-ips/vip").json["assigned_name"], "db")
    vanctl(c, "fip assign vip -n prod")
    assert "whoever claims it" in vanctl(c, "fip list -n prod")
    vanctl(c, "fip set vip -n prod --candidates any")
    eq(c.get(f"{path}/floating-ips/vip").json["candidates"], None)
    vanctl(c, "fip set vip -n prod", 2)
    vanctl(c, "fip assign vip none -n prod", 5)
    hosts = [line.split("\t") for line in vanctl(c, "hosts -n prod").splitlines()]
    eq(hosts, [["172.16.1.1", "dc"], ["172.16.1.2", "db"], ["172.16.1.6", "printer"],
               ["172.16.1.60", "vip"]])
    vanctl(c, "fip delete 172.16.1.60 -n prod")

    vanctl(c, "cloak allow tcp/443 -n prod --note web")
    vanctl(c, "cloak deny -n prod --from 203.0.113.0/24")
    vanctl(c, "cloak allow udp/5000-5010 -n prod --node db --interface eth0 --priority 7")
    assert "pending" in vanctl(c, "cloak on -n prod --confirm-within 5m")
    vanctl(c, "cloak confirm -n prod")
    vanctl(c, "cloak confirm -n prod", 6)
    shown = json.loads(vanctl(c, "cloak show -n prod -o json"))
    eq([(r["priority"], r["protocol"], r["ports"], r["node_name"]) for r in shown["rules"]],
       [(7, "udp", "5000-5010", "db"), (500, "any", None, None), (1000, "tcp", "443", None)])
    vanctl(c, f"cloak remove {shown['rules'][0]['id']} -n prod --confirm-within 0")
    eq(c.get(f"{path}/cloak").json["state"], "on")
    vanctl(c, "cloak allow tcp/http -n prod", 1)
    vanctl(c, "cloak off -n prod")
    eq(c.get(f"{path}/cloak").json["state"], "off")
