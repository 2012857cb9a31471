# SPDX-License-Identifier: Apache-2.0
"""Networks, tokens, nodes and members as people and programs see them."""
import ipaddress
import re
import threading
import time

from consoletest import Agent, eq, options, token_parts, until


def test_network_life(c):
    o = c.network("blue", "172.16.1.0/24")
    eq(sorted(o), ["cidr", "cidr6", "created_at", "encryption", "id", "labels", "mtu", "name",
                   "node_count", "require_approval", "revision", "van_id"])
    eq((o["cidr"], o["cidr6"], o["encryption"], o["mtu"], o["node_count"]),
       ("172.16.1.0/24", None, "aes-256-gcm", 1360, 0))
    assert 1 <= o["van_id"] <= 0xFFFFFF
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", o["created_at"])
    for ref in (o["id"], "blue"):
        answer = c.get("/api/v1/networks/" + ref).want(200)
        eq(answer.json, o)
        eq(answer.headers["ETag"], f'"{o["revision"]}"')
    answer = c.post("/api/v1/networks", {"name": "blue", "cidr": "10.0.0.0/8"})
    answer.want(409, "name_taken")
    assert '"blue"' in answer.json["detail"]
    full = c.network("red", "10.1.0.0/16", cidr6="fd00:1::/64", encryption="integrity", mtu=9000)
    eq((full["cidr6"], full["encryption"], full["mtu"]), ("fd00:1::/64", "integrity", 9000))
    answer = c.delete("/api/v1/networks/blue").want(204)
    eq(answer.body, b"")
    c.get("/api/v1/networks/blue").want(404, "not_found")
    c.delete("/api/v1/networks/blue").want(404)
    eq([n["name"] for n in c.get("/api/v1/networks").json["items"]], ["red"])
    assert c.network("blue")["id"] != o["id"]


def test_if_match(c):
    o = c.network()
    path, good = "/api/v1/networks/blue", f'"{o["revision"]}"'
    for bad in ('"1"', f'W/{good}', '"x"', o["id"]):
        c.delete(path, headers={"If-Match": bad}).want(412, "precondition_failed")
    c.delete(path, headers={"If-Match": f'"1", {good}'}).want(204)
    c.network()
    c.delete(path, headers={"If-Match": "*"}).want(204)


def test_paging(c):
    names = sorted(f"n{i}" for i in range(25))
    for name in names:
        c.network(name)
    seen, cursor, pages = [], "", 0
    while cursor is not None:
        page = c.get("/api/v1/networks?limit=10" + (f"&cursor={cursor}" if cursor else "")).json
        seen += [o["name"] for o in page["items"]]
        cursor = page["next"]
        pages += 1
    eq((seen, pages), (names, 3))
    eq(c.get("/api/v1/networks?limit=25").json["next"], None)


@options(config="rate_requests = 100000; rate_address = 100000;")
def test_paging_while_others_write(c):
    """Whatever is there all the time is in the list exactly once, in whatever order it is asked for, while others
    make, rename and remove."""
    stays = {c.network(f"m{i:03}", labels={"stays": "yes"})["id"] for i in range(40)}
    stop, rounds = threading.Event(), [0]

    def write():
        connection = c.connect()
        while not stop.is_set():
            for i in range(5):
                name = f"{'am'[rounds[0] % 2]}{rounds[0] % 40:03}-{i}"
                c.post("/api/v1/networks", {"name": name, "cidr": "10.0.0.0/24"},
                       connection=connection).want(201)
                c.patch(f"/api/v1/networks/{name}", {"name": "z" + name},
                        connection=connection).want(200)
                c.delete(f"/api/v1/networks/z{name}", connection=connection).want(204)
            rounds[0] += 1
    writer = threading.Thread(target=write)
    writer.start()
    try:
        for query in ("", "&sort=name", "&sort=-created_at", "&sort=mtu", "&label=stays%3Dyes") * 4:
            at, seen, cursor, pages = rounds[0], [], "", 0
            while cursor is not None:
                page = c.get(f"/api/v1/networks?limit=3{query}" +
                             (f"&cursor={cursor}" if cursor else "")).want(200).json
                seen += [o["id"] for o in page["items"]]
                cursor = page["next"]
                pages += 1
                assert len(page["items"]) <= 3 and pages < 500, query
            eq(sorted(i for i in seen if i in stays), sorted(stays), query)
            assert len(seen) == len(set(seen)) or "label" not in query
            until(lambda: rounds[0] > at, what="a round of the writer")
    finally:
        stop.set()
        writer.join()


def test_names_of_threads_that_race(c):
    statuses = []

    def create():
        statuses.append(c.post("/api/v1/networks", {"name": "one", "cidr": "10.0.0.0/24"}).status)
    threads = [threading.Thread(target=create) for _ in range(20)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    eq(sorted(statuses), [201] + [409] * 19)


# -- tokens

def test_token_life(c):
    c.network()
    made = c.post("/api/v1/networks/blue/tokens").want(201).json
    pin, secret, url = token_parts(made.pop("token"))
    eq((pin + "\n", len(secret), url), (c.state("tls.pin"), 32, f"https://127.0.0.1:{c.port}"))
    eq(sorted(made), ["created_at", "ephemeral_s", "expires_at", "id", "network", "network_name",
                      "node", "revision", "state", "uses", "uses_left"])
    eq((made["uses"], made["uses_left"], made["state"], made["ephemeral_s"],
        made["network_name"]), (1, 1, "active", 0, "blue"))
    for query in ("", "?network=blue", "?network=" + made["network"]):
        eq(c.get("/api/v1/tokens" + query).want(200).json["items"], [made])
    c.get("/api/v1/tokens?network=none").want(404)
    c.delete("/api/v1/tokens/" + made["id"]).want(204)
    c.delete("/api/v1/tokens/" + made["id"]).want(204)
    eq(c.get("/api/v1/tokens").json["items"][0]["state"], "revoked")
    c.delete("/api/v1/tokens/none").want(404)
    for body in ({"uses": 0}, {"uses": 100001}, {"ttl_s": 0}, {"ttl_s": -1}, {"uses": "1"},
                 {"ephemeral_s": 1}, {"what": 1}, []):
        c.post("/api/v1/networks/blue/tokens", body).want(400)
    c.post("/api/v1/networks/none/tokens", {}).want(404)


def test_secrets_are_not_in_the_store(c):
    c.network()
    secret = token_parts(c.token())[1]
    key = c.key
    c.stop()
    with open(c.state_dir + "/registry.db", "rb") as f:
        data = f.read()
    assert secret not in data and secret.hex().encode() not in data and key.encode() not in data


def test_token_messages(c):
    c.network()
    used, revoked, expired = c.token(), c.token(), c.token(ttl_s=1)
    c.node(used)
    Agent(c).enroll(used).want(403, "token_used_up")
    token_id = [t for t in c.get("/api/v1/tokens").json["items"] if t["state"] == "active"]
    for t in token_id:
        if t["expires_at"] > time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 60)):
            c.delete("/api/v1/tokens/" + t["id"]).want(204)
    Agent(c).enroll(revoked).want(403, "token_revoked")
    until(lambda: c.get("/api/v1/tokens").json["items"][2]["state"] == "expired", what="the end")
    answer = Agent(c).enroll(expired).want(403, "token_expired")
    assert "20" in answer.json["detail"]  # since when
    agent = Agent(c)
    c.network("gone", "10.0.0.0/24")
    of_gone = c.token("gone")
    c.delete("/api/v1/networks/gone").want(204)
    agent.enroll(of_gone).want(403, "token_wrong")
    with_zeros = agent.enroll_body(used, "")
    with_zeros["secret"] = "A" * 43
    import json
    data = json.dumps(with_zeros).encode()
    header = agent.header("POST", "/agent/v1/enroll", data, "enroll", "")
    c.call("POST", "/agent/v1/enroll", data, key=None,
           headers={"Authorization": header}).want(403, "token_wrong")
    eq(len(c.get("/api/v1/nodes").json["items"]), 1)


def test_100_threads_one_use(c):
    c.network()
    token = c.token()
    agents = [Agent(c) for _ in range(100)]
    answers = []
    barrier = threading.Barrier(100)

    def enroll(agent):
        barrier.wait()
        answers.append(agent.enroll(token))
    threads = [threading.Thread(target=enroll, args=(a,)) for a in agents]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    eq(sorted(a.status for a in answers), [201] + [403] * 99)
    for a in answers:
        if a.status == 403:
            a.want(403, "token_used_up")
    eq(len(c.get("/api/v1/nodes").json["items"]), 1)
    eq(c.get("/api/v1/tokens").json["items"][0]["uses_left"], 0)


def test_100_enrolments_at_once(c):
    c.network("wide", "10.0.0.0/16")
    token = c.token("wide", uses=100)
    answers = []

    def enroll():
        answers.append(Agent(c).enroll(token, "vm"))
    threads = [threading.Thread(target=enroll) for _ in range(100)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    eq([a.status for a in answers], [201] * 100)
    members = c.get("/api/v1/networks/wide/nodes?limit=1000").json["items"]
    eq(sorted(int(ipaddress.ip_interface(m["ips"][0]).ip) & 0xFFFF for m in members),
       list(range(1, 101)), "addresses from the first one upwards, each once")
    eq(sorted(m["name"] for m in members),
       sorted(["vm"] + [f"vm-{i}" for i in range(2, 101)]))
    macs = [m["macs"][0] for m in members]
    eq(len(set(macs)), 100)
    for mac in macs:
        eq(int(mac[:2], 16) & 3, 2, "locally administered unicast")


# -- nodes and members

def test_node_object(c):
    net = c.network(cidr6="fd00:1::/64")
    node = c.node(name="web")
    o = c.get("/api/v1/nodes/web").want(200).json
    eq(o, c.get("/api/v1/nodes/" + node.id).want(200).json)
    want = {"id", "name", "public_key", "sign_key", "online", "last_seen", "teps", "nat", "version",
            "applied", "networks", "created_at", "revision"}
    assert want <= set(o), want - set(o)
    eq((o["public_key"], o["sign_key"], o["teps"], o["nat"], o["version"], o["applied"]),
       (node.public_key, node.sign_key, [], False, "0.1.0", None))
    eq(len(o["networks"]), 1)
    n = o["networks"][0]
    eq((n["id"], n["name"], n["ips"]), (net["id"], "blue", ["172.16.1.1/24", "fd00:1::1/64"]))
    eq(c.get("/api/v1/nodes").json["items"], [o])
    eq(c.get("/api/v1/networks/blue").json["node_count"], 1)
    m = c.get("/api/v1/networks/blue/nodes/web").want(200)
    eq(m.headers["ETag"], f'"{m.json["revision"]}"')
    eq(c.get("/api/v1/networks/blue/nodes").json["items"], [m.json])
    eq((m.json["network_name"], m.json["ips"], m.json["macs"]),
       ("blue", n["ips"], n["macs"]))
    c.get("/api/v1/nodes/none").want(404)
    c.get("/api/v1/networks/blue/nodes/none").want(404)
    c.get("/api/v1/networks/none/nodes").want(404)


def test_wished_names(c):
    c.network()
    token = c.token(uses=20)
    wishes = {"web": "web", "Web": "web-2", "web.example.com": "web-3", "": "node", "---": "node-2",
              "Büro PC": "b-ro-pc", "a" * 100: "a" * 57, "x_y__z": "x-y-z", "web-2": "web-2-2",
              "1": "1"}
    for wish, name in wishes.items():
        node = c.node(token, wish)
        eq(node.name, name, repr(wish))
        eq(c.get("/api/v1/nodes/" + name).json["id"], node.id)


def test_add_an_enrolled_node(c):
    c.network()
    red = c.network("red", "10.0.0.0/24")
    node = c.node(name="web")
    answer = c.post("/api/v1/networks/red/nodes", {"node": "web"}).want(201)
    eq((answer.json["ips"], answer.json["network"]), (["10.0.0.1/24"], red["id"]))
    answer = c.post("/api/v1/networks/red/nodes", {"node": node.id}).want(409, "member_exists")
    c.post("/api/v1/networks/red/nodes", {"node": "none"}).want(404)
    c.post("/api/v1/networks/none/nodes", {"node": "web"}).want(404)
    eq(sorted(n["name"] for n in c.get("/api/v1/nodes/web").json["networks"]), ["blue", "red"])
    c.delete("/api/v1/networks/red/nodes/web").want(204)
    c.delete("/api/v1/networks/red/nodes/web").want(404)
    eq([n["name"] for n in c.get("/api/v1/nodes/web").json["networks"]], ["blue"])
    answer = c.post("/api/v1/networks/red/nodes", {"node": "web", "address": "10.0.0.77"})
    eq(answer.want(201).json["ips"], ["10.0.0.77/24"])


def test_static_addresses(c):
    c.network()
    token = c.token(uses=10)
    holder = c.node(token, "holder", address="172.16.1.5")
    eq(c.get("/api/v1/networks/blue/nodes/holder").json["ips"], ["172.16.1.5/24"])
    other = Agent(c)
    answer = other.enroll(token, "other", address="172.16.1.5").want(409, "address_taken")
    assert '"holder"' in answer.json["detail"] and "172.16.1.5" in answer.json["detail"]
    eq(c.get("/api/v1/tokens").json["items"][0]["uses_left"], 9, "no use was burnt")
    for bad in ("172.16.2.5", "172.16.1.0", "172.16.1.255", "fd00::1", "172.16.1.6/24", "x", ""):
        other.enroll(token, "other", address=bad).want(400, "invalid")
    other.enroll(token, "other").want(201)
    eq(c.get("/api/v1/networks/blue/nodes/other").json["ips"], ["172.16.1.1/24"])

    path = "/api/v1/networks/blue/nodes/other"
    before = c.get(path).json["revision"]
    answer = c.patch(path, {"address": "172.16.1.5"}).want(409, "address_taken")
    assert '"holder"' in answer.json["detail"]
    for bad in ("172.16.2.5", "172.16.1.0", "172.16.1.255", "fd00::1", 5):
        c.patch(path, {"address": bad}).want(400)
    c.patch(path, {"address": None}).want(400)
    c.patch(path, {"mac": "02:00:00:00:00:01"}).want(400)
    eq(c.get(path).json["revision"], before)
    eq(c.patch(path, {"address": "172.16.1.1"}).want(200).json["revision"], before, "no change")
    moved = c.patch(path, {"address": "172.16.1.200"}, headers={"If-Match": f'"{before}"'})
    eq(moved.want(200).json["ips"], ["172.16.1.200/24"])
    assert moved.json["revision"] > before
    c.patch(path, {"address": "172.16.1.9"}, headers={"If-Match": f'"{before}"'}).want(412)
    # What it left is free again, and what holds its own keeps it.
    c.node(token, "third", address="172.16.1.1")
    eq(c.get("/api/v1/nodes/" + holder.id).json["networks"][0]["ips"], ["172.16.1.5/24"])


def test_static_ipv6(c):
    c.network(cidr6="fd00:1::/64")
    c.node(name="a", address="fd00:1::77")
    eq(c.get("/api/v1/networks/blue/nodes/a").json["ips"], ["172.16.1.1/24", "fd00:1::77/64"])
    answer = c.patch("/api/v1/networks/blue/nodes/a", {"address": "fd00:1::78"}).want(200)
    eq(answer.json["ips"], ["172.16.1.1/24", "fd00:1::78/64"])
    c.patch("/api/v1/networks/blue/nodes/a", {"address": "fd00:1::"}).want(400)


def test_rename(c):
    c.network()
    token = c.token(uses=5)
    node = c.node(token, "a")
    c.node(token, "b")
    c.patch("/api/v1/networks/blue/nodes/a", {"name": "b"}).want(409, "name_taken")
    c.patch("/api/v1/networks/blue/nodes/a", {"name": "B"}).want(400)
    eq(c.patch("/api/v1/networks/blue/nodes/a", {"name": "c", "address": "172.16.1.50"})
       .want(200).json["name"], "c")
    c.get("/api/v1/nodes/a").want(404)
    eq(c.get("/api/v1/nodes/c").json["id"], node.id)
    eq(c.node(token, "a").name, "a")


def test_network_full(c):
    c.network("tiny", "10.0.0.0/30")
    token = c.token("tiny", uses=10)
    a = c.node(token, "a")
    c.node(token, "b")
    Agent(c).enroll(token, "c").want(409, "network_full")
    c.delete("/api/v1/nodes/" + a.id).want(204)
    d = c.node(token, "d")
    eq(c.get("/api/v1/nodes/" + d.id).json["networks"][0]["ips"], ["10.0.0.1/30"])


def test_delete_network_with_members(c):
    c.network()
    token = c.token(uses=10)
    nodes = [c.node(token, "n") for _ in range(5)]
    c.delete("/api/v1/networks/blue").want(204)
    for node in nodes:
        eq(c.get("/api/v1/nodes/" + node.id).want(200).json["networks"], [])
    eq(c.get("/api/v1/tokens").json["items"], [])
    c.network()
    eq(c.get("/api/v1/networks/blue/nodes").json["items"], [])
    eq(c.post("/api/v1/networks/blue/nodes", {"node": nodes[3].id}).want(201).json["ips"],
       ["172.16.1.1/24"])


def test_delete_node(c):
    c.network()
    token = c.token(uses=10)
    node = c.node(token, "web")
    c.delete("/api/v1/nodes/web", headers={"If-Match": '"1"'}).want(412)
    c.delete("/api/v1/nodes/web").want(204)
    c.delete("/api/v1/nodes/web").want(404)
    c.get("/api/v1/nodes/" + node.id).want(404)
    eq(c.get("/api/v1/networks/blue").json["node_count"], 0)
    # The same machine may come back, with a use of a token, as a new node.
    old = node.id
    node.enroll(token, "web").want(201)
    assert node.id != old
    eq(node.name, "web")


def test_what_happens_to_nodes_is_told(c):
    c.network("blue")
    c.network("red", "172.16.2.0/24", require_approval=True)
    node = c.node(c.token("blue"), "web")
    path = "/api/v1/nodes/web"
    c.post("/api/v1/networks/red/nodes", {"node": "web"}).want(201)
    c.delete("/api/v1/networks/red/nodes/web").want(204)
    node.enroll(c.token("red"), "web").want(201)
    c.patch("/api/v1/networks/red/nodes/web", {"approved": True}).want(200)
    c.patch(path, {"disabled": True}).want(200)
    c.patch(path, {"disabled": False}).want(200)
    c.patch(path, {"name": "www"}).want(200)
    red = c.get("/api/v1/networks/red").json["id"]
    node.call("DELETE", f"/agent/v1/networks/{red}").want(204)
    c.delete("/api/v1/nodes/www").want(204)
    told = [e["text"] for e in c.get("/api/v1/events?kind=node").json["items"]]
    eq([t for t in told if "line" not in t], [
        "web enrolled and joined network blue", "web was added to network red",
        "web was taken out of network red", "web joined network red, and waits for approval",
        "web was approved in network red", "web was disabled", "web was enabled",
        "web is called www now", "www left network red", "www was deleted"])


def test_each_error_has_its_pointer_once(c):
    p = c.post("/api/v1/networks", {"name": "x", "cidr": "no", "mtu": 1}).want(400).json
    assert p["detail"].startswith("/cidr: must be"), p
    eq([(e["pointer"], e["detail"].split()[0]) for e in p["errors"]],
       [("/cidr", "must"), ("/mtu", "must")])


def test_absent_texts_are_null(c):
    c.post("/api/v1/users", {"name": "ann", "role": "viewer"}).want(201)
    user = c.patch("/api/v1/users/ann", {"full_name": "Ann"}).want(200).json
    eq(user["full_name"], "Ann")
    eq(c.patch("/api/v1/users/ann", {"full_name": None}).want(200).json["full_name"], None)
    eq(c.get("/api/v1/organizations/default").json["description"], None)
    assert "" not in [v for row in c.get("/api/v1/audit").json["items"] for v in row.values()]
