# SPDX-License-Identifier: Apache-2.0
"""Enrolment, reports and netmaps as a node's agent sees them."""
import json
import threading
import time

from consoletest import Agent, Poll, b64url, eq, options, revision, token_parts, until


def test_enrol(c):
    net = c.network()
    agent = Agent(c)
    o = agent.enroll(c.token(), "web").want(201).json
    eq(sorted(o), ["approved", "console", "consoles", "mesh", "network", "node", "self", "server_time"])
    eq(o["approved"], True)
    eq(o["network"], {"id": net["id"], "name": "blue"})
    eq(o["node"]["name"], "web")
    console = c.get("/api/v1/console").json
    eq((o["console"], o["mesh"]), (console["id"], console["mesh"]))
    assert abs(o["server_time"] - time.time()) < 30


def test_lost_answer_burns_nothing(c):
    c.network()
    token = c.token()
    agent = Agent(c)
    first = agent.enroll(token, "web").want(201).json
    for _ in range(3):
        again = agent.enroll(token, "other").want(200).json
        eq((again["node"], again["network"]), (first["node"], first["network"]))
    eq(c.get("/api/v1/tokens").json["items"][0]["uses_left"], 0)
    # Taken out of the network, the token that is used up brings it in no more.
    c.delete("/api/v1/networks/blue/nodes/web").want(204)
    agent.enroll(token, "web").want(403, "token_used_up")


def test_second_token(c):
    c.network()
    c.network("red", "10.0.0.0/24")
    agent = c.node(name="web")
    first = agent.id
    agent.enroll(c.token("red"), "ignored").want(201)
    eq((agent.id, agent.name), (first, "web"))
    eq([n["name"] for n in agent.netmap().json["networks"]], ["blue", "red"])
    more = c.token("red", uses=3)
    agent.enroll(more, "web").want(200)
    eq([t["uses_left"] for t in c.get("/api/v1/tokens?network=red").json["items"]], [0, 3])


def test_enrolment_is_signed(c):
    c.network()
    token = c.token()
    agent, other = Agent(c), Agent(c)
    data = json.dumps(agent.enroll_body(token, "web")).encode()

    def send(header, body=data):
        headers = {"Authorization": header} if header else {}
        return c.call("POST", "/agent/v1/enroll", body, key=None, headers=headers)
    send(None).want(401, "unauthenticated")
    send("Bearer " + c.key).want(401, "unauthenticated")
    send(other.header("POST", "/agent/v1/enroll", data, "enroll", "")).want(401)
    send(agent.header("POST", "/agent/v1/enroll", data + b" ", "enroll", "")).want(401)
    send(agent.header("POST", "/agent/v1/report", data, "enroll", "")).want(401)
    send(agent.header("POST", "/agent/v1/enroll", data, "node", "")).want(401)
    send(agent.header("POST", "/agent/v1/enroll", data, "enroll", "x")).want(401)
    good = agent.header("POST", "/agent/v1/enroll", data, "enroll", "")
    send(good[:-4] + "AAA=").want(401)
    send(good + "x").want(401)
    send(good.replace("VAN-Ed25519", "VAN-Ed448")).want(401)
    eq(c.get("/api/v1/tokens").json["items"][0]["uses_left"], 1)
    send(good).want(201)
    answer = send(good).want(401, "unauthenticated")
    assert "seen already" in answer.json["detail"]


def test_strangers_take_no_room_among_the_nonces(c):
    c.network()
    agent = Agent(c)
    body = agent.enroll_body(c.token(), "web")
    body["secret"] = "A" * 43
    data = json.dumps(body).encode()
    header = agent.header("POST", "/agent/v1/enroll", data, "enroll", "")
    for _ in range(3):  # not "seen already": nothing was remembered
        c.call("POST", "/agent/v1/enroll", data, key=None,
               headers={"Authorization": header}).want(403, "token_wrong")


def test_bodies_of_strangers_have_a_common_bound(c):
    c.network()
    agent = c.node(c.token(uses=2), "web")
    head = (b"POST /agent/v1/report HTTP/1.1\r\nHost: x\r\nAuthorization: VAN-Ed25519 x\r\n"
            b"Content-Length: 262144\r\n\r\n")
    held = []
    try:
        for _ in range(160):
            connection = c.connect(20)
            held.append(connection)
            connection.sock.sendall(head + b" " * 262000)
        refused = None
        for connection in reversed(held):
            connection.sock.sendall(b" " * 144)
            answer = connection.sock.recv(4096)
            if answer.startswith(b"HTTP/1.1 503 "):
                refused = answer
                break
        assert refused and b"Retry-After: 1" in refused, refused
        agent.netmap().want(200)  # has no body
        c.get("/api/v1/networks").want(200)
        c.post("/api/v1/networks", {"name": "red", "cidr": "10.0.0.0/24"}).want(201)
    finally:
        for connection in held:
            connection.close()
    until(lambda: agent.report().status == 200, 20, "room again")


def test_malformed_enrolments(c):
    c.network()
    token = c.token()
    agent = Agent(c)
    good = agent.enroll_body(token, "web")
    for change in ({"secret": "x"}, {"secret": b64url(b"x" * 31)}, {"secret": None},
                   {"public_key": "x"}, {"public_key": "A" * 43 + "="}, {"sign_key": "A" * 44},
                   {"public_key": 5}, {"address": "x"}, {"address": 5}, {"name": 5},
                   {"name": "x" * 256}, {"version": "x" * 100}):
        body = dict(good, **change)
        data = json.dumps({k: v for k, v in body.items() if v is not None}).encode()
        header = agent.header("POST", "/agent/v1/enroll", data, "enroll", "")
        answer = c.call("POST", "/agent/v1/enroll", data, key=None,
                        headers={"Authorization": header})
        assert answer.status == 400, f"{change}: {answer.status} {answer.body!r}"
    for data in (b"", b"{", b"[]", b"\x00", b'{"a":1,"a":2}', b"[" * 1000):
        header = agent.header("POST", "/agent/v1/enroll", data, "enroll", "")
        c.call("POST", "/agent/v1/enroll", data, key=None,
               headers={"Authorization": header}).want(400)
    eq(c.get("/api/v1/nodes").json["items"], [])


def test_keys_are_unique(c):
    c.network()
    token = c.token(uses=10)
    first = c.node(token, "first")
    second = Agent(c)
    second.enroll(token, "x", public_key=first.public_key).want(409, "key_taken")
    third = Agent(c)
    third.sign_key, third.index, own = first.sign_key, first.index, third.sign_key
    third.enroll(token, "x").want(409, "key_taken")
    assert own != third.sign_key
    eq(c.get("/api/v1/tokens").json["items"][0]["uses_left"], 9)


@options(config="rate_enrolments = 2;")
def test_enrolments_are_limited_by_address(c):
    c.network()
    token = c.token(uses=100)
    agents = [Agent(c) for _ in range(60)]  # made before, so that they come fast enough
    statuses = [agent.enroll(token).status for agent in agents]
    eq(statuses[:4], [201] * 4)
    assert 429 in statuses, statuses


def test_tokens_that_are_spent_take_no_room_among_the_nonces(c):
    c.network()
    token = c.token()
    first = c.node(token, "web")
    stranger = Agent(c)
    for agent, public_key in ((stranger, stranger.public_key), (stranger, first.public_key)):
        body = agent.enroll_body(token, "x", public_key=public_key)
        data = json.dumps(body).encode()
        header = agent.header("POST", "/agent/v1/enroll", data, "enroll", "")
        for _ in range(3):  # not "seen already"
            c.call("POST", "/agent/v1/enroll", data, key=None,
                   headers={"Authorization": header}).want(403, "token_used_up")
    first.enroll(token, "web").want(200)  # whose it was
    revoked = c.post("/api/v1/networks/blue/tokens", {"uses": 2}).want(201).json
    c.delete("/api/v1/tokens/" + revoked["id"]).want(204)
    for _ in range(2):
        stranger.enroll(revoked["token"], "x").want(403, "token_revoked")


def test_keys_of_removed_nodes_are_not_taken(c):
    c.network()
    token = c.token(uses=5)
    first = c.node(token, "first")
    c.delete("/api/v1/nodes/first").want(204)
    thief = Agent(c)
    answer = thief.enroll(token, "x", public_key=first.public_key).want(409, "key_taken")
    assert "removed" in answer.json["detail"]
    first.enroll(token, "first").want(201)  # the same machine may come back
    c.delete("/api/v1/nodes/first").want(204)
    thief.enroll(token, "x", public_key=first.public_key).want(409, "key_taken")
    c.command("check")


def test_waiting_for_approval(c):
    c.network(require_approval=True)
    c.network("red", "10.0.0.0/24")
    agent = Agent(c)
    token = c.token()
    eq(agent.enroll(token, "web").want(201).json["approved"], False)
    eq(agent.enroll(token, "web").want(200).json["approved"], False)
    m = agent.netmap().want(200).json
    eq((m["networks"], m["waiting"]), ([], ["blue"]))
    eq(agent.enroll(c.token("red"), "web").want(201).json["approved"], True)
    m = agent.netmap().want(200).json
    eq(([n["name"] for n in m["networks"]], m["waiting"]), (["red"], ["blue"]))
    c.patch("/api/v1/networks/blue/nodes/web", {"approved": True}).want(200)
    m = agent.netmap(since=revision(m), wait=10).want(200).json
    eq((sorted(n["name"] for n in m["networks"]), "waiting" in m), (["blue", "red"], False))
    eq(agent.enroll(token, "web").want(200).json["approved"], True)


def test_a_disabled_node_is_told(c):
    c.network()
    agent = c.node(name="web")
    m = agent.netmap().json
    assert "disabled" not in m
    c.patch("/api/v1/nodes/web", {"disabled": True}).want(200)
    m = agent.netmap(since=revision(m), wait=10).want(200).json
    eq((m["disabled"], m["networks"]), (True, []))
    c.patch("/api/v1/nodes/web", {"disabled": False}).want(200)
    m = agent.netmap(since=revision(m), wait=10).want(200).json
    eq(("disabled" in m, len(m["networks"])), (False, 1))


def test_rekeying_needs_new_keys(c):
    c.network()
    old = c.node(name="web")
    o = c.post("/api/v1/nodes/web/rekey", {"ttl_s": 600}).want(201).json
    detail = old.enroll(o["token"], "web").want(409, "keys_kept").json["detail"]
    assert "state_dir" in detail, detail
    new = Agent(c)
    new.enroll(o["token"], "web").want(201)
    eq(new.id, old.id)
    new.enroll(o["token"], "web").want(200)  # a lost answer
    new.netmap().want(200)
    old.netmap().want(401, "unauthenticated")


# -- authentication of the rest

def test_requests_are_signed(c):
    c.network()
    token = c.token(uses=5)
    node, other = c.node(token, "a"), c.node(token, "b")
    path = "/agent/v1/netmap"
    node.netmap().want(200)
    c.get(path, key=None).want(401, "unauthenticated")
    c.get(path).want(401, "unauthenticated")  # an admin key is no node
    node.call("GET", path, header=other.header("GET", path, None, node.id, node.console_id)).want(401)
    node.call("GET", path, header=node.header("GET", path, None, other.id, node.console_id)).want(401)
    node.call("GET", path, header=node.header("GET", path, None, "none", node.console_id)).want(401)
    node.call("GET", path, console_id="con_other").want(401)
    node.call("GET", path + "?wait=1", header=node.header("GET", path, None, node.id,
                                                          node.console_id)).want(401)
    header = node.header("GET", path, None, node.id, node.console_id)
    node.call("GET", path, header=header).want(200)
    node.call("GET", path, header=header).want(401, "unauthenticated")
    report = node.header("POST", "/agent/v1/report", b"{}", node.id, node.console_id)
    node.call("POST", "/agent/v1/report", {"port": 1}, header=report).want(401)


def test_clock_skew(c):
    c.network()
    node = c.node()
    now = int(time.time())
    for off in (-290, 290):
        node.netmap(stamp=now + off).want(200)
    for stamp in (now - 320, now + 320, 0, 2**64 - 1):
        answer = node.netmap(stamp=stamp).want(401, "clock_skew")
        assert abs(answer.json["server_time"] - time.time()) < 30


def test_what_was_signed_before_a_restart_is_not_repeated(c):
    c.network()
    node = c.node()
    target = "/agent/v1/networks/" + c.get("/api/v1/networks/blue").json["id"]
    header = node.header("DELETE", target, None, node.id, node.console_id, int(time.time()) - 5)
    c.stop()
    c.start()
    node.call("DELETE", target, header=header).want(401, "clock_skew")
    node.call("DELETE", target).want(204)


# -- reports

def revision_number(c):
    """Of a network that is made now, so it counts writes."""
    revision_number.made = getattr(revision_number, "made", 0) + 1
    return c.post("/api/v1/networks", {"name": f"r-{revision_number.made}", "cidr": "10.9.0.0/24"}
                  ).want(201).json["revision"]


def test_report(c):
    c.network()
    token = c.token(uses=5)
    a, b = c.node(token, "a"), c.node(token, "b")
    before = a.netmap().json
    eq(before["networks"][0]["peers"][0]["teps"], [], "listed without a report")
    eq(b.report(5000, ["192.0.2.7", "127.0.0.1", "fe80::1", "2001:db8::7"]).want(200).json,
       {"interval_s": 10})
    after = a.netmap().json
    eq(after["networks"][0]["peers"][0]["teps"], ["192.0.2.7:5000", "[2001:db8::7]:5000"])
    assert after["number"] > before["number"]
    o = c.get("/api/v1/nodes/b").json
    eq((o["teps"], o["nat"], o["online"]),
       (["192.0.2.7:5000", "[2001:db8::7]:5000"], False, True))
    b.report(5000, ["192.0.2.7"], ["203.0.113.9:7000", "203.0.113.9:7000"],
             applied=revision(after)).want(200)
    eq(a.netmap().json["networks"][0]["peers"][0]["teps"], ["203.0.113.9:7000"])
    eq(c.get("/api/v1/nodes/b").json["applied"], revision(after))


def test_reports_that_say_nothing_new_write_nothing(c):
    c.network()
    node = c.node()
    node.report(local=["192.0.2.7"]).want(200)
    before = c.get("/api/v1/nodes/" + node.id).json
    number = node.netmap().json["number"]
    for i in range(5):
        node.report(local=["192.0.2.7"], applied=revision(node.netmap().json),
                    networks=[{"id": "x", "rx_bytes": i}]).want(200)
    after = c.get("/api/v1/nodes/" + node.id).json
    eq(after["revision"], before["revision"])
    made = c.network("red", "10.0.0.0/24")  # the next revision of the store
    eq(made["revision"], before["revision"] + 1)
    eq(node.netmap().json["number"], number, "another network is none of its business")
    # A new version is remembered, but is in nobody's netmap.
    node.report(local=["192.0.2.7"], version="0.2.0").want(200)
    eq(c.get("/api/v1/nodes/" + node.id).json["version"], "0.2.0")
    eq(node.netmap().json["number"], number)


def test_malformed_reports(c):
    c.network()
    node = c.node()
    for change in ({"port": 0}, {"port": 65536}, {"port": "1"}, {"local": "x"}, {"local": ["x"]},
                   {"local": [1]}, {"local": ["10.0.0.1/24"]}, {"advertise": ["x:y"]},
                   {"applied": "x"}, {"applied": 1}, {"version": "x" * 100}):
        answer = node.report(**change)
        assert answer.status == 400, f"{change}: {answer.status}"
    many = [f"192.0.2.{i}" for i in range(1, 200)]
    node.report(local=many).want(200)
    eq(len(c.get("/api/v1/nodes/" + node.id).json["teps"]), 7, "bounded, one is kept free")


def test_changes_of_one_node_are_limited(c):
    """Everybody in its networks is told of each."""
    c.network()
    token = c.token(uses=2)
    a, b = c.node(token, "a"), c.node(token, "b")
    before, started = revision_number(c), time.monotonic()
    intervals = [a.report(local=[f"192.0.2.{i}"]).want(200).json["interval_s"] for i in range(1, 60)]
    eq(intervals[:6], [10] * 6, "a few at once")
    assert 5 in intervals, "told to come again sooner"
    later = int(time.monotonic() - started) // 5  # one more in five seconds
    assert revision_number(c) - before < 6 + 6 + 3 + 2 * later, "writes"
    until(lambda: a.report(local=["192.0.2.99"]).want(200).json["interval_s"] == 10, 30, "its turn")
    eq(b.netmap().json["networks"][0]["peers"][0]["teps"], ["192.0.2.99:4826"])


# -- netmaps

def test_netmap(c):
    blue = c.network(cidr6="fd00:1::/64", mtu=1400)
    token = c.token(uses=5)
    a, b = c.node(token, "a"), c.node(token, "b")
    b.report(local=["192.0.2.7"]).want(200)
    m = a.netmap().want(200).json
    console = c.get("/api/v1/console").json
    eq((m["format"], m["mesh"], m["console"]), (1, console["mesh"], console["id"]))
    eq(m["node"], {"id": a.id, "name": "a", "public_key": a.public_key, "flags": []})
    eq(len(m["networks"]), 1)
    n = m["networks"][0]
    eq((n["id"], n["name"], n["van_id"], n["cidr"], n["cidr6"], n["encryption"], n["mtu"]),
       (blue["id"], "blue", blue["van_id"], "172.16.1.0/24", "fd00:1::/64", "aes-256-gcm", 1400))
    eq(n["ips"], ["172.16.1.1/24", "fd00:1::1/64"])
    member = c.get("/api/v1/networks/blue/nodes/b").json
    eq(n["peers"], [{"id": b.id, "name": "b", "public_key": b.public_key,
                     "teps": ["192.0.2.7:4826"], "macs": member["macs"], "ips": member["ips"],
                     "flags": []}])


def test_netmaps_show_common_networks_only(c):
    c.network()
    c.network("red", "10.0.0.0/24")
    a, b = c.node(c.token("blue"), "a"), c.node(c.token("red"), "b")
    eq(a.netmap().json["networks"][0]["peers"], [])
    assert b.public_key not in json.dumps(a.netmap().json)


def test_since(c):
    c.network()
    node = c.node()
    m = node.netmap().json
    eq(node.netmap(since=revision(m)).want(204).body, b"")
    eq(node.netmap(since=f"{m['generation']}.{m['number'] - 1}").want(200).json, m)
    eq(node.netmap(since=f"{'f' * 16}.{m['number'] + 100}", wait=20).want(200).json, m)
    answer = node.netmap(since=f"{m['generation']}.{m['number'] + 100}", wait=2)
    answer.want(503, "store_behind")
    assert int(answer.headers["Retry-After"]) >= 1
    for bad in ("x", "1", "..", "0.0"):
        node.netmap(since=bad).want(400)
    for bad in ("x", "-1", "1.5", ""):
        node.netmap(since=revision(m), wait=bad).want(400)


def test_long_poll_ends_by_time(c):
    c.network()
    node = c.node()
    since = revision(node.netmap().json)
    start = time.monotonic()
    node.netmap(since=since, wait=1).want(204)
    took = time.monotonic() - start
    assert 0.9 < took < 10, took


DEBUG = {"config": 'log_level = "debug"; rate_enrolments = 1000;'}  # the log says who waits


def wait_for_polls(c, *polls):
    """Until the console has suspended these requests."""
    for poll in polls:
        want = poll.agent.polls = getattr(poll.agent, "polls", 0) + 1
        until(lambda p=poll, w=want: c.log().count(f": {p.agent.id} waits") >= w,
              what=f"the poll of {poll.agent.name}")


CHANGES = {
    "a node joins": lambda c, t: c.node(t, "new"),
    "a report": lambda c, t: None,
    "an address": lambda c, t: c.patch("/api/v1/networks/blue/nodes/b",
                                       {"address": "172.16.1.99"}).want(200),
    "a name": lambda c, t: c.patch("/api/v1/networks/blue/nodes/b", {"name": "bb"}).want(200),
    "a node is removed": lambda c, t: c.delete("/api/v1/nodes/bb").want(204),
    "a network more": lambda c, t: c.post("/api/v1/networks/red/nodes", {"node": "a"}).want(201),
    "a network less": lambda c, t: c.delete("/api/v1/networks/red").want(204),
}


@options(**DEBUG)
def test_old_keys_hear_nothing_more(c):
    """A poll that waited when the node was given other keys."""
    c.network()
    token = c.token(uses=5)
    a = c.node(token, "a")
    c.node(token, "b")
    poll = Poll(a, revision(a.netmap().json))
    wait_for_polls(c, poll)
    o = c.post("/api/v1/nodes/a/rekey", {}).want(201).json
    Agent(c).enroll(o["token"], "a").want(201)
    poll.result().want(401, "unauthenticated")


@options(**DEBUG)
def test_long_poll_wakes_for_each_change(c):
    c.network()
    c.network("red", "10.0.0.0/24")
    token = c.token(uses=10)
    a, b = c.node(token, "a"), c.node(token, "b")
    for what, change in CHANGES.items():
        before = a.netmap().json
        poll = Poll(a, revision(before))
        wait_for_polls(c, poll)
        start = time.monotonic()
        change(c, token)
        if what == "a report":
            b.report(local=["192.0.2.7"]).want(200)
        after = poll.result().want(200).json
        took = poll.at - start
        assert took < 5, f"{what}: {took} s"
        assert after["number"] > before["number"], what
        assert after["networks"] != before["networks"], what
        eq(a.netmap().json, after, what)


@options(**DEBUG)
def test_long_poll_sleeps_through_what_it_does_not_show(c):
    c.network()
    c.network("red", "10.0.0.0/24")
    a, b = c.node(c.token(), "a"), c.node(c.token("red"), "b")
    poll = Poll(a, revision(a.netmap().json), wait=3)
    wait_for_polls(c, poll)
    b.report(local=["192.0.2.7"]).want(200)
    c.node(c.token("red"), "d")
    c.network("green", "10.1.0.0/24")
    c.delete("/api/v1/nodes/b").want(204)
    poll.result().want(204)


@options(**DEBUG)
def test_removed_node_hears_so_at_once(c):
    c.network()
    token = c.token(uses=5)
    a, b = c.node(token, "a"), c.node(token, "b")
    of_a, of_b = Poll(a, revision(a.netmap().json)), Poll(b, revision(b.netmap().json))
    wait_for_polls(c, of_a, of_b)
    start = time.monotonic()
    c.delete("/api/v1/nodes/b").want(204)
    of_b.result().want(410, "node_removed")
    eq(of_a.result().want(200).json["networks"][0]["peers"], [])
    assert max(of_a.at, of_b.at) - start < 5
    b.netmap().want(410, "node_removed")
    b.report().want(410, "node_removed")
    b.call("DELETE", "/agent/v1/networks/x").want(410, "node_removed")
    # It takes the node's key to hear that.
    c.get("/agent/v1/netmap", key=None, headers={
        "Authorization": a.header("GET", "/agent/v1/netmap", None, b.id, a.console_id)}).want(401)
    c.stop()
    c.start()
    b.netmap().want(410, "node_removed")


@options(**DEBUG)
def test_leave(c):
    net = c.network()
    token = c.token(uses=5)
    a, b = c.node(token, "a"), c.node(token, "b")
    poll = Poll(b, revision(b.netmap().json))
    wait_for_polls(c, poll)
    a.call("DELETE", "/agent/v1/networks/" + net["id"]).want(204)
    eq(poll.result().want(200).json["networks"][0]["peers"], [])
    eq(a.netmap().want(200).json["networks"], [])
    a.call("DELETE", "/agent/v1/networks/" + net["id"]).want(404)
    eq(c.get("/api/v1/nodes/a").json["networks"], [])


def test_a_node_does_not_learn_of_other_networks(c):
    c.network()
    red = c.network("red", "10.0.0.0/24")
    agent = c.node()
    said = set()
    for ref in (red["id"], "red", "blue", "none"):
        detail = agent.call("DELETE", "/agent/v1/networks/" + ref).want(404).json["detail"]
        said.add(detail.replace(ref, ""))
    eq(len(said), 1, "answers")


def test_numbers_never_fall(c):
    c.network()
    c.network("red", "10.0.0.0/24")
    a = c.node(name="a")
    last = 0
    for _ in range(3):
        for step in (lambda: c.post("/api/v1/networks/red/nodes", {"node": "a"}).want(201),
                     lambda: c.node(c.token("red")),
                     lambda: c.delete("/api/v1/networks/red/nodes/a").want(204)):
            step()
            number = a.netmap().json["number"]
            assert number > last, (number, last)
            last = number
    c.stop()
    c.start()
    eq(a.netmap().json["number"], last)


@options(**DEBUG)
def test_many_waiting_nodes(c):
    c.network("wide", "10.0.0.0/16")
    token = c.token("wide", uses=200)
    nodes = [c.node(token) for _ in range(120)]
    since = revision(nodes[-1].netmap().json)
    polls = [Poll(n, since) for n in nodes]
    wait_for_polls(c, *polls)
    threads = len(__import__("os").listdir(f"/proc/{c.process.pid}/task"))
    assert threads <= 4, f"{threads} threads"
    c.node(token, "last")
    for poll in polls:
        eq(len(poll.result().want(200).json["networks"][0]["peers"]), 120)


@options(**DEBUG)
def test_newer_poll_of_a_node_sends_the_older_home(c):
    c.network()
    node = c.node()
    since = revision(node.netmap().json)
    first = Poll(node, since)
    wait_for_polls(c, first)
    polls = [Poll(node, since, wait=2) for _ in range(5)]
    first.result(10).want(204)
    for poll in polls:
        poll.result().want(204)


def test_poller_that_hangs_up(c):
    c.network()
    token = c.token(uses=50)
    for _ in range(20):
        node = c.node(token)
        connection = c.connect()
        target = f"/agent/v1/netmap?since={revision(node.netmap().json)}&wait=2"
        connection.request("GET", target, headers={"Authorization": node.header(
            "GET", target, None, node.id, node.console_id)})
        connection.close()
    c.node(token)
    c.get("/api/v1/nodes").want(200)


def test_agents_in_parallel_with_people(c):
    """Everything at once, and then it must add up."""
    c.network("wide", "10.0.0.0/16")
    token = c.token("wide", uses=1000)
    failures = []

    def agent_life(number):
        try:
            for i in range(5):
                node = c.node(token, f"n{number}")
                node.report(local=[f"192.0.2.{number + 1}"]).want(200)
                node.netmap().want(200)
                if i % 2:
                    c.delete("/api/v1/nodes/" + node.id).want(204)
                    node.netmap().want(410)
        except Exception as e:  # reported below
            failures.append(e)
    threads = [threading.Thread(target=agent_life, args=(i,)) for i in range(10)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    if failures:
        raise failures[0]
    members = c.get("/api/v1/networks/wide/nodes?limit=1000").json["items"]
    nodes = c.get("/api/v1/nodes?limit=1000").json["items"]
    eq(len(members), 30)
    eq(sorted(m["id"] for m in members), sorted(n["id"] for n in nodes))
    for what in ("name",):
        eq(len({m[what] for m in members}), 30)
    eq(len({m["ips"][0] for m in members}), 30)
    eq(len({m["macs"][0] for m in members}), 30)
    eq(c.get("/api/v1/tokens").json["items"][0]["uses_left"], 950)


def test_token_parts_of_the_helper(c):
    c.network()
    eq(len(token_parts(c.token())[1]), 32)
