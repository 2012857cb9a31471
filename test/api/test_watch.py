# SPDX-License-Identifier: Apache-2.0
"""GET /api/v1/watch, and events."""
import json
import threading
import time

from consoletest import BUILD, Skip, eq, options, until
from scenarios import World
from test_limits import resident, threads_of


class Watch:
    """Reads a watch; .take() waits for the next event."""

    def __init__(self, c, query="", headers=None, key="admin", heartbeats=False, timeout_s=30):
        self.connection = c.connect(timeout_s)
        headers = dict(headers or {})
        headers["Authorization"] = "Bearer " + (c.key if key == "admin" else key)
        self.connection.request("GET", "/api/v1/watch" + query, headers=headers)
        self.response = self.connection.getresponse()
        self.id = None
        if self.response.status == 200:
            eq(self.response.headers["Content-Type"], "text/event-stream")
            self.block()  # says where it begins

    def close(self):
        self.connection.close()

    def block(self):
        """The fields of the next block; None at the end."""
        fields, lines = {}, []
        while True:
            line = self.response.readline()
            if not line:
                return None
            line = line.decode().rstrip("\n")
            if not line:
                break
            name, _, value = line.partition(": ")
            fields[name] = value
            lines.append(line)
        if "id" in fields:
            self.id = fields["id"]
        return fields

    def take(self):
        """The next event, None at the end."""
        while True:
            fields = self.block()
            if fields is None or "event" in fields:
                return None
            if "data" in fields:
                return json.loads(fields["data"])

    def until(self, condition):
        """All events up to one for which the condition holds."""
        events = []
        while True:
            event = self.take()
            assert event is not None, f"the watch ended after {events}"
            events.append(event)
            if condition(event):
                return events


def what(event):
    return event["type"], event["kind"]


def test_changes_are_told_in_order(c):
    w = Watch(c)
    c.network()
    node = c.node(name="web")
    path = "/api/v1/networks/blue"
    c.patch(path, {"mtu": 1400}).want(200)
    c.patch(f"/api/v1/nodes/{node.id}", {"labels": {"a": "b"}}).want(200)
    c.delete(f"/api/v1/nodes/{node.id}").want(204)
    c.delete(path).want(204)
    events = w.until(lambda e: what(e) == ("deleted", "network"))
    for event in events:
        eq(sorted(event), ["id", "kind", "network", "object", "type"])
        eq(event["object"] is None, event["type"] == "deleted")
    told = [what(e) for e in events if e["kind"] != "event"]
    want = [("created", "network"), ("created", "token"), ("created", "node"), ("created", "member"),
            ("updated", "network"), ("updated", "node"), ("deleted", "member"), ("deleted", "node"),
            ("deleted", "network")]
    at = -1
    for step in want:
        assert step in told, f"{step} is not in {told}"
    eq([t for t in told if t[1] == "network"],
       [("created", "network"), ("updated", "network"), ("deleted", "network")])
    assert told.index(("created", "node")) < told.index(("updated", "node"))
    made = next(e for e in events if what(e) == ("created", "network"))
    eq(made["object"]["name"], "blue")
    joined = next(e for e in events if e["kind"] == "event")
    eq((joined["object"]["object"], joined["object"]["severity"]), (node.id, "info"))
    assert "web" in joined["object"]["text"]
    assert "van1_" not in json.dumps(events) and "hash" not in json.dumps(events)
    w.close()


def test_going_on_after_a_break(c):
    w = Watch(c)
    c.network("a")
    w.until(lambda e: what(e) == ("created", "network"))
    w.block() if w.id is None else None
    place = w.id
    w.close()
    for name in ("b", "d", "e"):
        c.network(name)
    for how in ({"query": "?since=" + place}, {"headers": {"Last-Event-ID": place}},
                {"query": "?since=0000000000000000-1", "headers": {"Last-Event-ID": place}}):
        w = Watch(c, **how)
        names = [w.take()["object"]["name"] for _ in range(3)]
        eq(names, ["b", "d", "e"], str(how))
        w.close()
    w = Watch(c, "?since=" + place + "&kind=token")
    c.token("a")
    eq(what(w.take()), ("created", "token"))
    w.close()
    generation = place.split("-")[0]
    for bad in ("x", "1", place + "x", generation, generation + "-", "-1", generation.upper() + "x-1"):
        c.get(f"/api/v1/watch?since={bad}").want(400, "invalid")
    c.get("/api/v1/watch?since=0123456789abcdef-7").want(410, "watch_gone")
    c.get("/api/v1/watch?kind=network,nonsense").want(400, "invalid")
    # What was before a restart is not remembered.
    c.stop()
    c.start()
    c.get(f"/api/v1/watch?since={place}").want(410, "watch_gone")


def test_every_change_comes_once_and_ids_go_on(c):
    """Reconnecting after each few events, nothing is lost and nothing comes twice."""
    names = [f"n{i}" for i in range(60)]
    w = Watch(c, "?kind=network")
    place = w.id

    def make():
        for name in names:
            c.network(name)
    maker = threading.Thread(target=make)
    maker.start()
    seen = []
    while len(seen) < len(names):
        for _ in range(7):
            seen.append(w.take()["object"]["name"])
            if len(seen) == len(names):
                break
            if w.id:
                place = w.id
        w.close()
        w = Watch(c, f"?kind=network&since={place}")
    maker.join()
    eq(seen, names)
    w.close()


def test_organizations_and_roles(c):
    mine, other = [World(c, c.post("/api/v1/organizations", {"name": n}).want(201).json["id"])
                   for n in ("mine", "other")]
    viewer = mine.key(role="viewer")["key"]
    admin = mine.key(role="admin")["key"]
    watches = {"viewer": Watch(c, key=viewer), "admin": Watch(c, key=admin),
               "console": Watch(c, headers={"VAN-Organization": mine.org})}
    other.node()
    other.key()
    mine.user()
    mine.key()
    c.post("/api/v1/keys", {"name": "console 2", "role": "console"}).want(201)
    c.post("/api/v1/organizations", {"name": "third"}).want(201)
    last = mine.net()["id"]
    seen = {who: w.until(lambda e: e["id"] == last) for who, w in watches.items()}
    kinds = {who: [(e["kind"], e["type"]) for e in events] for who, events in seen.items()}
    eq(kinds["viewer"], [("network", "created")])
    eq(kinds["admin"], [("user", "created"), ("key", "created"), ("network", "created")])
    eq(kinds["console"], [("user", "created"), ("key", "created"), ("organization", "created"),
                          ("network", "created")])
    assert "\"key\":" not in json.dumps([e["object"] for e in seen["admin"]])
    for w in watches.values():
        w.close()


def test_a_key_that_goes_ends_its_watch(c):
    world = World(c)
    user = world.user(role="admin")
    ways = {
        "revoked": (world.key(), lambda k: c.delete(f"/api/v1/keys/{k['id']}").want(204)),
        "disabled": (world.key(user=user["id"]),
                     lambda k: c.patch(f"/api/v1/users/{user['id']}", {"disabled": True}).want(200)),
        "expired": (world.key(ttl_s=2), lambda k: until(lambda: c.get(
            "/api/v1/whoami", key=k["key"]).status == 401) and c.network("tick")),
    }
    for how, (key, end) in ways.items():
        w = Watch(c, key=key["key"])
        end(key)
        while (block := w.block()) is not None:  # ends, by itself
            assert "data" not in block or how == "expired", f"{how}: {block}"
        w.close()


def test_quiet_connections_are_kept_alive(c):
    w = Watch(c, "?kind=key", timeout_s=40)
    place = w.id
    c.network()  # nothing that this one is told of …
    block = w.block()
    assert "" in {k for k in block if k == ""} or list(block)[0].startswith(":"), block
    assert w.id != place, "… but it does not fall behind"
    w.close()


@options(config="rate_requests = 10000;")
def test_1000_watchers_cost_no_thread(c):
    try:
        import resource
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 4096), hard))
    except (ValueError, OSError) as e:
        raise Skip(f"cannot open as many files here: {e}") from e
    threads = threads_of(c)
    watches = [Watch(c, "?kind=network") for _ in range(1000)]
    eq(threads_of(c), threads)
    for name in ("a", "b"):
        c.network(name)
        started = time.monotonic()
        for w in watches:
            eq(w.take()["object"]["name"], name)
        assert time.monotonic() - started < 20
    for w in watches:
        w.close()
    until(lambda: c.get("/healthz").status == 200)


@options(config="max_connections = 40;")
def test_one_key_does_not_take_all_places(c):
    """Of 20: a key has 10 at most, and an organization gives way to another."""
    c.post("/api/v1/organizations", {"name": "other"}).want(201)
    in_other = {"VAN-Organization": "other"}

    def viewer(name, headers=None):
        return c.post("/api/v1/keys", {"name": name, "role": "viewer"}, headers=headers).want(201).json["key"]
    first, second, other = viewer("a"), viewer("b"), viewer("c", in_other)
    watches = [Watch(c, key=first) for _ in range(10)]
    refused = Watch(c, key=first)
    eq(refused.response.status, 503)
    refused.response.read()
    refused.close()
    watches += [Watch(c, key=second) for _ in range(10)]
    others = [Watch(c, key=other) for _ in range(3)]
    for w in watches[:3]:  # the oldest ones of who has most
        eq(w.take(), None)
    c.network("blue")
    c.post("/api/v1/networks", {"name": "red", "cidr": "10.0.0.0/24"}, headers=in_other).want(201)
    for w in watches[3:]:
        eq(w.until(lambda e: e["kind"] == "network")[-1]["object"]["name"], "blue")
    for w in others:
        eq(w.until(lambda e: e["kind"] == "network")[-1]["object"]["name"], "red")
    for w in watches + others:
        w.close()


def test_a_slow_reader_is_cut_off(c):
    """It does not read; the ring goes round, and it learns that it missed something, or is gone."""
    slow = Watch(c, timeout_s=60)
    quick = Watch(c, "?kind=network")
    labels = {f"k{i}": "v" * 100 for i in range(30)}
    o = c.network("blue", labels=labels)
    memory = resident(c)
    connection = c.connect()
    for i in range(5000):  # 3 KB each: more than the sockets and the memory of the console hold
        c.patch("/api/v1/networks/blue", {"mtu": 1300 + i % 2}, connection=connection,
                headers={"Authorization": "Bearer " + c.key}, key=None).want(200) \
            if i == 0 else connection_patch(connection, c.key, i)
    # A sanitizer keeps what was freed.
    assert resident(c) - memory < 80_000_000 or "san" in BUILD, (memory, resident(c))
    eq(quick.take()["id"], o["id"])
    ended = False
    try:
        while True:
            block = slow.block()
            if block is None:
                ended = True
                break
            if "event" in block:
                eq(block["event"], "gone")
                ended = slow.block() is None
                break
    except OSError:
        ended = True
    assert ended
    slow.close()
    quick.close()


def connection_patch(connection, key, i):
    connection.request("PATCH", "/api/v1/networks/blue", json.dumps({"mtu": 1300 + i % 2}),
                       headers={"Authorization": "Bearer " + key, "If-Match": "*"})
    response = connection.getresponse()
    response.read()
    if response.status == 429:
        time.sleep(0.05)


def test_events_are_kept_for_people(c):
    c.network()
    token = c.token(uses=3)
    nodes = [c.node(token, f"n{i}") for i in range(3)]
    items = c.get("/api/v1/events").want(200).json["items"]
    joined = [e for e in items if e["kind"] == "node"]
    eq([e["object"] for e in joined], [n.id for n in nodes])
    eq([e["object"] for e in c.get(f"/api/v1/events?object={nodes[1].id}").json["items"]],
       [nodes[1].id])
    eq([e["id"] for e in c.get("/api/v1/events?sort=-time").json["items"]][-1], items[0]["id"])
    eq(c.get("/api/v1/events?since=2020-01-01T00:00:00Z").json["items"], items)
    eq(c.get("/api/v1/events?since=2199-01-01T00:00:00Z").json["items"], [])
    c.get("/api/v1/events?since=yesterday").want(400)
    eq(c.get("/api/v1/events?severity=error").json["items"], [])
