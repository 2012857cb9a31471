# SPDX-License-Identifier: Apache-2.0
"""How many objects an organization may have: by the configuration, and by its own record."""
import concurrent.futures
import threading

from consoletest import Agent, eq, options, unchanged, until
from etcdtest import Etcd, share_key
from vanctltest import run, vanctl

API = "/api/v1"
BLUE = f"{API}/networks/blue"
KINDS = ("networks", "nodes", "memberships", "users", "keys", "tokens", "reservations", "gateways",
         "cloak_rules", "floating_ips")


def small(**limits):
    return "".join(f"limit_{kind} = {n};" for kind, n in limits.items())


def org(c, ref="default", **kwargs):
    return c.get(f"{API}/organizations/{ref}", **kwargs).want(200).json


def used(c, kind, ref="default"):
    return org(c, ref)["usage"][kind]["used"]


def limit(c, ref="default", **limits):
    return c.patch(f"{API}/organizations/{ref}", {"limits": limits}).want(200).json


def refused(c, answer, kind, at, current=None):
    """A 409 that says what there is too much of; nothing was counted for it."""
    o = answer.want(409, "limit_reached").json
    eq((o["resource"], o["limit"], o["current"]), (kind, at, at if current is None else current))
    eq(used(c, kind), o["current"])
    assert f"--limits {kind}=NUMBER" in o["detail"], o["detail"]


def full(c, kind, add):
    """One may be added, then no more. What was made is returned."""
    now = used(c, kind)
    limit(c, **{kind: now + 1})
    made = add(0).want(201).json
    with unchanged(c):
        refused(c, add(1), kind, now + 1)
    return made


def test_every_kind(c):
    c.network()
    c.node(c.token(), "a")
    full(c, "users", lambda i: c.post(f"{API}/users", {"name": f"u{i}", "role": "viewer"}))
    key = full(c, "keys", lambda i: c.post(f"{API}/keys", {"name": f"k{i}", "role": "viewer"}))
    full(c, "networks", lambda i: c.post(f"{API}/networks", {"name": f"n{i}", "cidr": "10.0.0.0/8"}))
    full(c, "tokens", lambda i: c.post(f"{BLUE}/tokens", {}))
    full(c, "reservations",
         lambda i: c.post(f"{BLUE}/reservations", {"address": f"172.16.1.{50 + i}"}))
    full(c, "gateways", lambda i: c.post(f"{BLUE}/gateways",
                                         {"node": "a", "prefixes": [f"10.{i}.0.0/16"]}))
    full(c, "floating_ips",
         lambda i: c.post(f"{BLUE}/floating-ips", {"address": f"172.16.1.{80 + i}"}))
    full(c, "cloak_rules",
         lambda i: c.post(f"{BLUE}/cloak/rules", {"action": "allow", "protocol": "tcp", "ports": f"{80 + i}"}))
    # What goes makes room.
    c.delete(f"{API}/keys/{key['id']}").want(204)
    c.post(f"{API}/keys", {"name": "again", "role": "viewer"}).want(201)
    c.delete(f"{BLUE}/reservations/172.16.1.50").want(204)
    c.post(f"{BLUE}/reservations", {"address": "172.16.1.51"}).want(201)
    c.delete(f"{API}/networks/n0").want(204)
    c.network("n1")
    # And what stays can be changed.
    c.patch(f"{API}/networks/n1", {"name": "n2"}).want(200)
    c.patch(f"{API}/users/u0", {"name": "u9"}).want(200)


def test_nodes_and_memberships(c):
    c.network()
    c.network("green", "10.0.0.0/24")
    token = c.token(uses=3)
    c.node(token, "a")
    limit(c, nodes=1)
    b = Agent(c)
    with unchanged(c):
        refused(c, b.enroll(token, "b"), "nodes", 1)
    uses = [t["uses_left"] for t in c.get(f"{API}/tokens").json["items"]]
    eq(uses, [2], "a refused node uses nothing up")
    limit(c, nodes=2, memberships=1)
    with unchanged(c):
        refused(c, b.enroll(token, "b"), "memberships", 1)
    limit(c, memberships=2)
    b.enroll(token, "b").want(201)
    b.enroll(token, "b").want(200)
    eq(org(c)["usage"]["nodes"], {"used": 2, "limit": 2})
    with unchanged(c):
        refused(c, c.post(f"{API}/networks/green/nodes", {"node": "a"}), "memberships", 2)
    c.delete(f"{API}/nodes/b").want(204)
    c.post(f"{API}/networks/green/nodes", {"node": "a"}).want(201)
    eq(used(c, "memberships"), 2)


def test_rules_of_a_cloak_are_counted_as_they_are(c):
    """Also while a change waits to be confirmed, and whatever their notes say."""
    c.network()
    c.network("green", "10.0.0.0/24")
    green = f"{API}/networks/green"
    note = '"id":"rule_x" {"fallback":{} \\'
    made = []
    for i, path in enumerate((BLUE, BLUE, green)):
        made.append(c.post(f"{path}/cloak/rules", {"action": "allow", "protocol": "tcp",
                                                   "ports": str(80 + i), "note": note}).want(201).json)
    eq(used(c, "cloak_rules"), 3)
    c.patch(f"{BLUE}/cloak", {"state": "on"}).want(200)
    eq(c.get(f"{BLUE}/cloak").json["state"], "pending")
    eq(used(c, "cloak_rules"), 3)
    limit(c, cloak_rules=3)
    refused(c, c.post(f"{BLUE}/cloak/rules", {"action": "allow"}), "cloak_rules", 3)
    c.patch(f"{BLUE}/cloak/rules/{made[0]['id']}", {"ports": "8080"}).want(200)
    c.delete(f"{BLUE}/cloak/rules/{made[0]['id']}").want(204)
    eq(used(c, "cloak_rules"), 2)
    c.post(f"{green}/cloak/rules", {"action": "allow"}).want(201)


@options(config=small(networks=2, users=0))
def test_limits_of_the_configuration(c):
    eq(org(c)["limits"], dict.fromkeys(KINDS))
    eq(org(c)["usage"]["networks"], {"used": 0, "limit": 2})
    refused(c, c.post(f"{API}/users", {"name": "u", "role": "viewer"}), "users", 0)
    c.network("a")
    c.network("b")
    refused(c, c.post(f"{API}/networks", {"name": "c", "cidr": "10.0.0.0/8"}), "networks", 2)
    # Each organization has its own, and one may have another limit.
    acme = c.post(f"{API}/organizations", {"name": "acme", "limits": {"networks": 3}}).want(201).json
    eq(acme["limits"], dict.fromkeys(KINDS) | {"networks": 3})
    eq(acme["usage"]["networks"], {"used": 0, "limit": 3})
    theirs = {"VAN-Organization": "acme"}
    for i in range(4):
        made = c.post(f"{API}/networks", {"name": f"n{i}", "cidr": "10.0.0.0/8"}, headers=theirs)
        made.want(409 if i == 3 else 201)
    # A lower one takes nothing away; without one of its own that of the configuration counts.
    eq(limit(c, "acme", networks=0)["usage"]["networks"], {"used": 3, "limit": 0})
    eq(limit(c, "acme", networks=None)["usage"]["networks"], {"used": 3, "limit": 2})
    eq(len(c.get(f"{API}/networks", headers=theirs).json["items"]), 3)
    refused_there = c.post(f"{API}/networks", {"name": "n9", "cidr": "10.0.0.0/8"}, headers=theirs)
    eq(refused_there.want(409, "limit_reached").json["current"], 3)
    eq(used(c, "networks"), 2)
    # After a restart it is all the same.
    limit(c, "acme", networks=4)
    c.stop()
    c.write_config(small(networks=5))
    c.start()
    eq(org(c)["usage"]["networks"], {"used": 2, "limit": 5})
    eq(org(c, "acme")["usage"]["networks"], {"used": 3, "limit": 4})


def test_limits_as_a_member(c):
    path = f"{API}/organizations/default"
    eq(limit(c, nodes=10, users=20)["limits"], dict.fromkeys(KINDS) | {"nodes": 10, "users": 20})
    eq(limit(c, nodes=None)["limits"], dict.fromkeys(KINDS) | {"users": 20})
    c.patch(path, {"description": "x"}).want(200)
    eq(org(c)["limits"]["users"], 20)
    with unchanged(c):
        for bad, pointer in (({"users": -1}, "/limits/users"), ({"users": 1000001}, "/limits/users"),
                             ({"users": "1"}, "/limits/users"), ({"users": 1.5}, "/limits/users"),
                             ({"cars": 1}, "/limits/cars"), (7, "/limits")):
            errors = c.patch(path, {"limits": bad}).want(400, "invalid").json["errors"]
            eq([x["pointer"] for x in errors], [pointer])
    # Those that are limited do not set the limits.
    for role in ("viewer", "operator", "admin"):
        key = c.post(f"{API}/keys", {"name": role, "role": role}).want(201).json["key"]
        eq(org(c, key=key)["limits"]["users"], 20)
        with unchanged(c):
            c.patch(path, {"limits": {"users": 21}}, key=key).want(403)
    eq(c.patch(path, {"limits": None}).want(200).json["limits"], dict.fromkeys(KINDS))
    eq(c.patch(path, {"limits": {}}).want(200).json["limits"], dict.fromkeys(KINDS))
    items = c.get(f"{API}/organizations").json["items"]
    assert "usage" not in items[0] and "limits" in items[0], items


def document(*networks):
    return {"format": "van-topology", "version": 1, "networks": list(networks)}


def drawn(name, reservations=(), fips=(), rules=()):
    return {"name": name, "cidr": "10.1.0.0/24",
            "reservations": [{"address": f"10.1.0.{n}"} for n in reservations],
            "floating_ips": [{"address": f"10.1.0.{n}"} for n in fips],
            "cloak": {"rules": [{"action": "allow", "protocol": "tcp", "ports": str(n)} for n in rules]}}


def test_an_import_above_a_limit_is_refused_whole(c):
    limit(c, networks=2, reservations=5, floating_ips=2, cloak_rules=3)
    a = drawn("a", (10, 11, 12), (20,), (80, 81))
    for too_much, kind, current in (
            ((a, drawn("b"), drawn("c")), "networks", 2),
            ((a, drawn("b", (10, 11, 12))), "reservations", 0),
            ((a, drawn("b", (), (20, 21))), "floating_ips", 0),
            ((a, drawn("b", (), (), (80, 81))), "cloak_rules", 0)):
        with unchanged(c):
            for query in ("?dry_run=true", ""):
                o = c.post(f"{API}/topologies{query}", document(*too_much)).want(409, "limit_reached").json
                eq(o["resource"], kind)
                assert o["current"] <= current, o
        eq(c.get(f"{API}/networks").json["items"], [])
    c.post(f"{API}/topologies", document(a, drawn("b", (10, 11), (20,), (80,)))).want(200)
    eq([org(c)["usage"][k]["used"] for k in ("networks", "reservations", "floating_ips", "cloak_rules")],
       [2, 5, 2, 3])
    # What goes for what comes is no more than before, within a network and between two.
    c.post(f"{API}/topologies", document(drawn("a", (13, 14, 15), (21,), (90, 91)))).want(200)
    c.post(f"{API}/topologies", document(drawn("a", (13,)), drawn("b", (10, 11, 30, 31)))).want(200)
    with unchanged(c):
        o = c.post(f"{API}/topologies", document(drawn("b", (10, 11, 30, 31, 32)))).want(409).json
    eq((o["resource"], o["limit"], o["current"]), ("reservations", 5, 5))


def test_memberships_of_an_import(c):
    c.network("blue", "10.0.0.0/24")
    token = c.token(uses=3)
    for name in ("x", "y", "z"):
        c.node(token, name)
    exported = c.get(f"{BLUE}/topology").want(200).json
    exported["networks"][0]["name"] = "green"
    limit(c, memberships=5)
    with unchanged(c):
        refused(c, c.post(f"{API}/topologies", exported), "memberships", 5, 3)
    limit(c, memberships=6)
    c.post(f"{API}/topologies", exported).want(200)
    eq(used(c, "memberships"), 6)


def test_vanctl_shows_and_sets_limits(c):
    vanctl(c, "org create acme --limits nodes=500,tokens=7")
    vanctl(c, "network create blue --cidr 10.0.0.0/24 --org acme")
    shown = [line.split() for line in vanctl(c, "org show acme").splitlines()]
    for line in ("Networks 1 of 2000", "Nodes 0 of 500", "Join tokens 0 of 7", "Floating IPs 0 of 20000"):
        assert line.split() in shown, shown
    vanctl(c, "org set acme --limits nodes=20000,networks=1,tokens-")
    o = org(c, "acme")
    eq(o["limits"], dict.fromkeys(KINDS) | {"nodes": 20000, "networks": 1})
    said = vanctl(c, "network create green --cidr 10.1.0.0/24 --org acme", status=6)
    assert "1 networks of the 1 that it may have" in said and "--limits networks=NUMBER" in said, said
    vanctl(c, "org set acme --unset limits")
    eq(org(c, "acme")["limits"], dict.fromkeys(KINDS))
    for bad in ("nodes", "nodes=", "nodes=x", "nodes=-1", "=1", "nodes=1,users=1x"):
        ran = run(c, ["org", "set", "acme", "--limits", bad])
        eq(ran.returncode, 2, f"{bad}: {ran.stderr}")
    assert "/limits/cars" in vanctl(c, "org set acme --limits cars=1", status=1)


# -- two consoles

FAST = "rate_enrolments = 100000; rate_requests = 100000; rate_address = 100000;"


def race(consoles, count, call):
    """The statuses of call(console, i), all at once, from both consoles."""
    gate = threading.Barrier(count)

    def answer(i):
        gate.wait()
        # Busy: a client tries again.
        return until(lambda: settled(call(consoles[i % len(consoles)], i)), 60)

    def settled(one):
        return None if one.status == 503 else one
    with concurrent.futures.ThreadPoolExecutor(count) as pool:
        answers = list(pool.map(answer, range(count)))
    for one in answers:
        one.want(201) if one.status == 201 else one.want(409, "limit_reached")
    return sum(one.status == 201 for one in answers)


@options(start=False)
def test_two_consoles_at_a_limit(c):
    """Whatever both of them add at the same time, it is never more than there may be."""
    del c
    with Etcd() as etcd, etcd.console(FAST) as a, etcd.console(FAST) as b:
        share_key(a, b)
        for i in range(4):
            a.network(f"net-{i}", "10.7.0.0/24")
        tokens = [a.token(f"net-{i}", uses=100) for i in range(4)]
        limit(a, networks=9, nodes=5, memberships=8, reservations=6, keys=11, users=7)
        until(lambda: b.get(f"{API}/organizations/default").json.get("limits", {}).get("users") == 7)
        until(lambda: b.get(f"{API}/networks/net-3").status == 200)
        eq(race((a, b), 30, lambda x, i: x.post(
            f"{API}/networks", {"name": f"more-{i}", "cidr": "10.0.0.0/8"})), 5)
        eq(race((a, b), 30, lambda x, i: x.post(
            f"{API}/networks/net-{i % 4}/reservations", {"address": f"10.7.0.{100 + i}"})), 6)
        eq(race((a, b), 30, lambda x, i: x.post(f"{API}/users", {"name": f"u{i}", "role": "viewer"})), 7)
        agents = [Agent((a, b)[i % 2]) for i in range(24)]
        eq(race((a, b), 24, lambda x, i: agents[i].enroll(tokens[i % 4], f"n{i}")), 5)
        there = [n["name"] for n in a.get(f"{API}/nodes").json["items"]]
        eq(race((a, b), 10, lambda x, i: x.post(
            f"{API}/networks/more-{first_more(a, i)}/nodes", {"node": there[i // 2]})), 3)
        usage = org(a)["usage"]
        eq({k: usage[k]["used"] for k in ("networks", "nodes", "memberships", "reservations", "users")},
           {"networks": 9, "nodes": 5, "memberships": 8, "reservations": 6, "users": 7})
        until(lambda: org(b)["usage"] == usage)
        a.command("check")


def first_more(c, i):
    """Which of the networks that won the race."""
    names = [n["name"] for n in c.get(f"{API}/networks").json["items"] if n["name"].startswith("more-")]
    return names[i % 2].split("-")[1]


@options(start=False)
def test_an_import_in_parts_is_refused_whole(c):
    """On etcd a large document takes several transactions: it is judged before the first."""
    del c
    with Etcd() as etcd, etcd.console(FAST) as a:
        limit(a, reservations=250)
        big = drawn("a", range(10, 160))
        with unchanged(a):
            a.post(f"{API}/topologies", document(big, drawn("b", range(10, 111)))).want(
                409, "limit_reached")
        eq(a.get(f"{API}/networks").json["items"], [])
        result = a.post(f"{API}/topologies", document(big, drawn("b", range(10, 110)))).want(200).json
        assert result["transactions"] > 1, result["transactions"]
        eq(used(a, "reservations"), 250)
