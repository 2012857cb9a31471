# SPDX-License-Identifier: Apache-2.0
"""Idempotency-Key, request ids, If-Match, merge patches: what all operations have in common."""
import json
import re
import sqlite3
import threading

from consoletest import eq, options, token_parts
from scenarios import SCENARIOS, World
from test_openapi import Document


def with_key(key):
    return {"Idempotency-Key": key}


def test_a_post_is_done_once(c):
    """Of every POST: the answer again, bit by bit, and nothing done a second time."""
    d = Document(c)
    for operation_id, _, _ in d.by_key():
        if d.operations[operation_id][0] != "POST":
            continue
        world = World(c)
        call = SCENARIOS[operation_id](world).but(headers=with_key("k-" + operation_id))
        first = call.send(c)
        assert first.status < 300, f"{operation_id}: {first.body!r}"
        before = c.get("/api/v1/audit?limit=1000").json["items"]
        again = call.send(c)
        eq((again.status, again.body, again.headers["ETag"]),
           (first.status, first.body, first.headers["ETag"]), operation_id)
        eq(len(c.get("/api/v1/audit?limit=1000").json["items"]), len(before), operation_id)
        call.but(body={"other": "body"}).send(c).want(422, "idempotency_key_reused")


def test_whose_key_it_is(c):
    world = World(c)
    key = world.key(role="admin")["key"]
    body = {"name": "blue", "cidr": "10.0.0.0/24"}
    first = c.post("/api/v1/networks", body, headers=with_key("one")).want(201)
    # The same text of another API key is another one.
    c.post("/api/v1/networks", body, key=key, headers=with_key("one")).want(409, "name_taken")
    # The same in another organization is another request.
    org = c.post("/api/v1/organizations", {"name": "o"}).want(201).json["id"]
    c.post("/api/v1/networks", body, headers={**with_key("one"), "VAN-Organization": org}) \
        .want(422, "idempotency_key_reused")
    eq(c.post("/api/v1/networks", body, headers=with_key("one")).want(201).json, first.json)
    for bad in ("", "x" * 129, "a\tb"):
        c.post("/api/v1/networks", body, headers=with_key(bad)).want(400, "invalid")
    # What failed is not remembered: it may be put right.
    c.post("/api/v1/networks", {"name": "Red", "cidr": "10.0.0.0/24"}, headers=with_key("two")) \
        .want(400)
    c.post("/api/v1/networks", {"name": "red", "cidr": "10.0.0.0/24"}, headers=with_key("two")) \
        .want(201)
    # Where it means nothing it does nothing.
    c.get("/api/v1/networks", headers=with_key("one")).want(200)


def test_it_survives_a_restart_and_keeps_no_secret(c):
    c.network()
    issued = c.post("/api/v1/networks/blue/tokens", {}, headers=with_key("t")).want(201)
    made = c.post("/api/v1/keys", {"name": "k", "role": "viewer"}, headers=with_key("k")).want(201)
    c.stop()
    secret = token_parts(issued.json["token"])[1]
    with open(c.state_dir + "/registry.db", "rb") as f:
        data = f.read()
    for text in (issued.json["token"].encode(), secret, secret.hex().encode(),
                 made.json["key"].encode()):
        assert text not in data
    c.start()
    eq(c.post("/api/v1/networks/blue/tokens", {}, headers=with_key("t")).want(201).body, issued.body)
    eq(c.post("/api/v1/keys", {"name": "k", "role": "viewer"}, headers=with_key("k")).want(201).body,
       made.body)
    c.get("/api/v1/networks", key=made.json["key"]).want(200)


def test_an_answer_that_was_lost(c):
    """The console ended between the change and its answer: it is not done again, and says so."""
    body = {"name": "blue", "cidr": "10.0.0.0/24"}
    c.post("/api/v1/networks", body, headers=with_key("one")).want(201)

    def rewrite(change):
        c.stop()
        db = sqlite3.connect(c.state_dir + "/registry.db")
        (key, value), = db.execute("SELECT key, value FROM kv WHERE key LIKE '/idem/%'").fetchall()
        row = json.loads(value)
        change(row)
        db.execute("UPDATE kv SET value = ? WHERE key = ?", (json.dumps(row), key))
        db.commit()
        db.close()
        c.start()
    rewrite(lambda row: row.pop("answer"))
    answer = c.post("/api/v1/networks", body, headers=with_key("one")).want(409, "request_in_flight")
    assert int(answer.headers["Retry-After"]) >= 1
    rewrite(lambda row: row.update(at=row["at"] - 3600))
    c.post("/api/v1/networks", body, headers=with_key("one")).want(409, "answer_lost")
    # A day later it is forgotten.
    rewrite(lambda row: row.update(at=row["at"] - 86400))
    c.post("/api/v1/networks", body, headers=with_key("one")).want(409, "name_taken")


def test_the_same_at_once(c):
    answers = []

    def post():
        answers.append(c.post("/api/v1/networks", {"name": "blue", "cidr": "10.0.0.0/24"},
                              headers=with_key("one")))
    threads = [threading.Thread(target=post) for _ in range(20)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    eq({a.status for a in answers}, {201})
    eq(len({a.body for a in answers}), 1)


def test_request_ids(c):
    answer = c.get("/healthz", key=None)
    assert re.fullmatch(r"[0-9a-f]{24}", answer.headers["X-Request-Id"])
    assert c.get("/healthz", key=None).headers["X-Request-Id"] != answer.headers["X-Request-Id"]
    for wish in ("a", "Abc-1.2_3", "x" * 64):
        eq(c.get("/api/v1/none", headers={"X-Request-Id": wish}).headers["X-Request-Id"], wish)
        eq(c.get("/api/v1/none", headers={"X-Request-Id": wish}).json["request_id"], wish)
    for bad in ("", "x" * 65, "a b", "a\"b", "<x>", "a,b", "\xe4"):
        got = c.get("/healthz", headers={"X-Request-Id": bad}).headers["X-Request-Id"]
        assert re.fullmatch(r"[0-9a-f]{24}", got), got
    c.post("/api/v1/networks", {"name": "blue", "cidr": "10.0.0.0/24"},
           headers={"X-Request-Id": "who-did-it"}).want(201)
    row, = c.get("/api/v1/audit?request=who-did-it").want(200).json["items"]
    eq((row["action"], row["before"], row["after"]["name"]), ("network.create", None, "blue"))


@options(config='log_level = "debug";')
def test_request_ids_are_in_the_log(c):
    c.get("/api/v1/networks", headers={"X-Request-Id": "find-me"}).want(200)
    assert [line for line in c.log().splitlines() if "find-me" in line and
            "GET /api/v1/networks: 200" in line]


def test_if_match(c):
    o = c.network(labels={"a": "b"})
    path = "/api/v1/networks/blue"
    c.patch(path, {"mtu": 1400}, match=None).want(428, "if_match_needed")
    c.delete(path, match=None).want(428)
    changed = c.patch(path, {"mtu": 1400}, match=f'"{o["revision"]}"').want(200)
    assert changed.json["revision"] > o["revision"]
    c.patch(path, {"mtu": 1500}, match=f'"{o["revision"]}"').want(412, "precondition_failed")
    eq(c.get(path).json["mtu"], 1400)
    # What changes nothing is no new revision.
    eq(c.patch(path, {"mtu": 1400}).want(200).headers["ETag"], changed.headers["ETag"])
    c.delete(path, match=changed.headers["ETag"]).want(204)


def test_merge_patches(c):
    c.network(labels={"a": "1", "b": "2"}, mtu=1400)
    path = "/api/v1/networks/blue"
    eq(c.patch(path, {"labels": {"a": None, "d": "4"}}).want(200).json["labels"],
       {"b": "2", "d": "4"})
    eq(c.patch(path, {"labels": None, "mtu": None}).want(200).json["labels"], {})
    eq(c.get(path).json["mtu"], 1360, "null is the default again")
    eq(c.patch(path, {}).want(200).json["labels"], {})
    for body, pointers in (({"name": None}, ["/name"]), ({"mtu": 1, "name": "B"}, ["/mtu", "/name"]),
                           ({"cidr": "10.0.0.0/24"}, ["/cidr"]), ({"cidr6": "fd00::/64"}, ["/cidr6"]),
                           ({"encryption": "integrity"}, ["/encryption"]), ({"id": "x"}, ["/id"]),
                           ({"labels": 5}, ["/labels"]), ({"labels": {"a": 1}}, ["/labels/a"]),
                           ({"labels": {"a": "x,y"}}, ["/labels/a"])):
        answer = c.patch(path, body).want(400, "invalid")
        eq(sorted(e["pointer"] for e in answer.json["errors"]), pointers, str(body))
    for body in (b"[]", b"null", b'"x"', b""):
        c.patch(path, body).want(400, "bad_json")
    for media, status in (("application/merge-patch+json", 200), ("application/json", 200),
                          ("application/json; charset=utf-8", 200), ("text/plain", 415),
                          ("application/json-patch+json", 415)):
        eq(c.patch(path, {"mtu": 1500}, headers={"Content-Type": media}).status, status, media)


def test_renaming_a_network(c):
    o = c.network()
    c.network("red", "10.0.0.0/24")
    c.patch("/api/v1/networks/blue", {"name": "red"}).want(409, "name_taken")
    eq(c.patch("/api/v1/networks/blue", {"name": "green"}).want(200).json["id"], o["id"])
    c.get("/api/v1/networks/blue").want(404)
    eq(c.get("/api/v1/networks/green").json["id"], o["id"])
    c.network("blue")


def test_labels_filter(c):
    c.network("a", labels={"env": "prod", "tier": "1"})
    c.network("b", "10.0.0.0/24", labels={"env": "prod"})
    c.network("d", "10.1.0.0/24", labels={"env": "test"})

    def names(query):
        return [n["name"] for n in c.get("/api/v1/networks?" + query).want(200).json["items"]]
    eq(names("label=env=prod"), ["a", "b"])
    eq(names("label=env%3Dprod,tier%3D1"), ["a"])
    eq(names("label=env=none"), [])
    eq(names("label=env"), [])
    eq(names("label=env=prod&sort=-name"), ["b", "a"])
    eq(names("label=env=prod&name=b"), ["b"])
    eq(names("label="), ["a", "b", "d"])


def test_bad_list_parameters(c):
    for query in ("limit=0", "limit=1001", "limit=x", "limit=-1", "limit=", "sort=colour", "sort=",
                  "sort=-", "sort=name%20created_at", "cursor=", "cursor=" + "x" * 600, "cursor=a%2fb",
                  "sort=mtu&cursor=abc", "sort=mtu&cursor=bnVsbA", "colour=blue", "name=a&name=b",
                  "=x", "Name=a"):
        c.get("/api/v1/networks?" + query).want(400)
    c.get("/api/v1/networks/none?limit=1").want(400)
