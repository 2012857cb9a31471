# SPDX-License-Identifier: Apache-2.0
"""What agents and consoles of different versions, several machines and several consoles say to each
other: patches of netmaps, version skew, clones, the list of consoles."""
import copy
import hashlib
import json
import os
import signal
import subprocess
import time

from consoletest import (CONSOLE_API, Agent, Poll, eq, options, pin_of_certificate, revision,
                         token_parts, until)

PATCH = "application/merge-patch+json"
ACCEPT = {"Accept": PATCH + ", application/json"}


# -- netmaps and patches by another hand than the console's: docs/agents.md

def canonical(value):
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def keyed(whole):
    m = copy.deepcopy(whole)
    for n in m["networks"]:
        n["peers"] = {p["id"]: p for p in n["peers"]}
    for name in ("networks", "consoles"):
        m[name] = {o["id"]: o for o in m[name]}
    return m


def hash_of(m):
    m = copy.deepcopy(m)
    m.pop("hash", None)
    for n in m["networks"].values():
        total = sum(int.from_bytes(hashlib.sha256(canonical(p)).digest(), "big")
                    for p in n["peers"].values())
        n["peers"] = f"{total % 2**256:064x}"
    return hashlib.sha256(canonical(m)).hexdigest()


def merge(target, patch):
    """RFC 7396, section 2."""
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = merge(result.get(name), value)
    return result


def get_netmap(agent, since=None, wait=None, headers=None, console_id=None):
    query = "&".join(f"{k}={v}" for k, v in (("since", since), ("wait", wait)) if v is not None)
    target = "/agent/v1/netmap" + ("?" + query if query else "")
    signature = agent.header("GET", target, None, agent.id, console_id or agent.console_id)
    return agent.console.call("GET", target, key=None,
                              headers=dict({"Authorization": signature}, **(headers or {})))


class Follower:
    """Keeps its map by patches, as vand does."""

    def __init__(self, agent):
        self.agent = agent
        self.map = None
        self.patches = []
        self.whole()

    def whole(self):
        answer = get_netmap(self.agent, headers=ACCEPT).want(200)
        eq(answer.headers["Content-Type"], "application/json")
        self.map = keyed(answer.json)
        eq(hash_of(self.map), self.map["hash"])

    def follow(self):
        answer = get_netmap(self.agent, revision(self.map), headers=ACCEPT)
        if answer.status == 204:
            return None
        answer.want(200)
        eq(answer.headers["Content-Type"], PATCH)
        self.patches.append(answer.json)
        self.map = merge(self.map, answer.json)
        eq(hash_of(self.map), self.map["hash"], "the hash of the patched map")
        eq(self.map, keyed(get_netmap(self.agent).want(200).json), "the patched map")
        return answer.json


def test_whole_maps_are_in_the_form_that_they_had(c):
    c.network(cidr6="fd00:1::/64")
    token = c.token(uses=2)
    a, b = c.node(token, "a"), c.node(token, "b")
    answer = a.netmap().want(200)
    eq(answer.headers["Content-Type"], "application/json")
    m = answer.json
    eq(m["format"], 1)
    eq([type(m[name]) for name in ("networks", "consoles")], [list, list])
    eq([p["id"] for p in m["networks"][0]["peers"]], [b.id])
    eq(hash_of(keyed(m)), m["hash"])
    # An agent that does not ask for patches never gets one.
    c.patch("/api/v1/networks/blue/nodes/b", {"name": "bb"}).want(200)
    for headers in (None, {"Accept": "application/json"}, {"Accept": "*/*"},
                    {"Accept": "application/merge-patch+jsonx"}):
        answer = get_netmap(a, revision(m), headers=headers).want(200)
        eq(answer.headers["Content-Type"], "application/json")
        eq(answer.json["networks"][0]["peers"][0]["name"], "bb")
    for headers in (ACCEPT, {"Accept": "text/plain;q=0.5 ,Application/Merge-Patch+JSON;q=1"}):
        eq(get_netmap(a, revision(m), headers=headers).want(200).headers["Content-Type"], PATCH)


def test_patches(c):
    net = c.network()
    c.network("red", "10.0.0.0/24")
    token = c.token(uses=20)
    a, b = c.node(token, "a"), c.node(token, "b")
    f = Follower(a)
    eq(f.follow(), None)

    d = c.node(token, "d")
    eq(list(f.follow()["networks"][net["id"]]["peers"]), [d.id])
    b.report(local=["192.0.2.7"]).want(200)
    patch = f.follow()
    eq(sorted(patch), ["hash", "networks", "number"])
    eq(patch["networks"][net["id"]]["peers"][b.id]["teps"], ["192.0.2.7:4826"])
    c.patch("/api/v1/networks/blue/nodes/a", {"address": "172.16.1.99"}).want(200)
    eq(f.follow()["networks"][net["id"]], {"ips": ["172.16.1.99/24"]})
    c.patch("/api/v1/networks/blue/nodes/a", {"name": "aa"}).want(200)
    eq(f.follow()["node"], {"name": "aa"})
    c.delete("/api/v1/nodes/" + d.id).want(204)
    eq(f.follow()["networks"], {net["id"]: {"peers": {d.id: None}}})
    for i in range(5):  # several at once
        b.report(local=[f"192.0.2.{i}"]).want(200)
        c.node(token, f"n{i}")
    eq(len(f.follow()["networks"][net["id"]]["peers"]), 6)
    c.patch("/api/v1/networks/blue", {"mtu": 1300}).want(200)
    eq(f.follow()["networks"], {net["id"]: {"mtu": 1300}})
    c.delete("/api/v1/networks/blue").want(204)
    eq(f.follow()["networks"], {net["id"]: None})
    eq(f.map["networks"], {})


def test_a_network_more_comes_whole(c):
    c.network()
    c.network("red", "10.0.0.0/24")
    a = c.node(name="a")
    f = Follower(a)
    c.post("/api/v1/networks/red/nodes", {"node": "a"}).want(201)
    answer = get_netmap(a, revision(f.map), headers=ACCEPT).want(200)
    eq(answer.headers["Content-Type"], "application/json")
    f.whole()
    eq(len(f.map["networks"]), 2)


def test_what_the_console_does_not_remember_comes_whole(c):
    c.network()
    token = c.token(uses=5)
    a, b = c.node(token, "a"), c.node(token, "b")
    m = a.netmap().json
    b.report(local=["192.0.2.7"]).want(200)
    for since in (f"{m['generation']}.1", f"{'f' * 16}.{m['number']}"):
        answer = get_netmap(a, since, headers=ACCEPT).want(200)
        eq(answer.headers["Content-Type"], "application/json")
    f = Follower(a)
    b.report(local=["192.0.2.8"]).want(200)
    c.stop()
    c.start()
    answer = get_netmap(a, revision(f.map), headers=ACCEPT).want(200)
    eq(answer.headers["Content-Type"], "application/json", "the restart was in between")
    f.whole()
    c.stop()
    c.start()
    eq(f.follow(), None)  # and is remembered from here
    b.report(local=["192.0.2.9"]).want(200)
    f.follow()


@options(config='log_level = "debug";')
def test_removal_reaches_the_others_within_a_second(c):
    net = c.network()
    token = c.token(uses=10)
    a = c.node(token, "a")
    f = Follower(a)
    took = []
    for i in range(5):
        gone = c.node(token, f"gone-{i}")
        f.follow()
        polls = [Poll(a, revision(f.map)), Poll(gone, revision(gone.netmap().json))]
        until(lambda i=i: c.log().count(" waits") >= 2 * i + 2, what="the polls")
        start = time.monotonic()
        c.delete("/api/v1/nodes/" + gone.id).want(204)
        polls[1].result().want(410, "node_removed")
        eq(polls[0].result().want(200).json["networks"][0]["peers"], [])
        took.append(max(p.at for p in polls) - start)
        eq(f.follow()["networks"], {net["id"]: {"peers": {gone.id: None}}})
    assert sorted(took)[2] < 1, took


# -- several consoles

def test_the_console_says_where_it_is(c):
    c.network()
    agent = Agent(c)
    o = agent.enroll(c.token(), "web").want(201).json
    pin = c.state("tls.pin").strip()
    eq(o["consoles"], [{"id": o["self"], "url": f"https://127.0.0.1:{c.port}", "pins": [pin]}])
    assert o["self"] != o["console"], "its own id is not the mesh's"
    eq(agent.netmap().json["consoles"], o["consoles"])
    before = agent.netmap().json["number"]
    c.stop()
    c.start()
    eq(agent.netmap().json["consoles"], o["consoles"])
    eq(agent.netmap().json["number"], before, "a restart is no news")


@options(config="mesh_signatures = false;")
def test_requests_are_for_one_console(c):
    c.network()
    agent = Agent(c)
    o = agent.enroll(c.token(), "web").want(201).json
    get_netmap(agent, console_id=o["self"]).want(200)
    get_netmap(agent, console_id=o["console"]).want(401, "unauthenticated")  # the mesh's
    other = o["self"][:-1] + ("0" if o["self"][-1] != "0" else "1")
    get_netmap(agent, console_id=other).want(401, "unauthenticated")
    target = "/agent/v1/netmap"
    header = agent.header("GET", target, None, agent.id, o["self"])
    c.call("GET", target, key=None, headers={"Authorization": header}).want(200)
    c.call("GET", target, key=None, headers={"Authorization": header}).want(401, "unauthenticated")


def test_signatures_of_agents_of_version_0_1(c):
    c.network()
    agent = Agent(c)
    o = agent.enroll(c.token(), "web").want(201).json
    for console_id in (o["console"], o["self"]):
        get_netmap(agent, console_id=console_id).want(200)
    get_netmap(agent, console_id="con_other").want(401, "unauthenticated")


def tls_command(c, *words):
    done = subprocess.run([CONSOLE_API, "tls", *words, "-q", "-c", c.config_path],
                          capture_output=True, text=True, timeout=30)
    eq((done.returncode, done.stderr), (0, ""))
    return done.stdout.strip()


def shown_pin(c):
    """The pin of the key that answers."""
    connection = c.connect()
    try:
        return pin_of_certificate(connection.sock.getpeercert(binary_form=True))
    finally:
        connection.close()


def test_the_tls_key_is_changed_with_two_pins(c):
    c.network()
    node = c.node()
    old = c.state("tls.pin").strip()
    eq((shown_pin(c), tls_command(c, "status")), (old, f"now   {old}\nnext  none"))
    m = node.netmap().json

    new = tls_command(c, "next")
    eq(tls_command(c, "next"), new, "asked for again")
    eq((c.state("tls.next.pin").strip(), shown_pin(c)), (new, old))
    c.process.send_signal(signal.SIGHUP)
    m = node.netmap(since=revision(m), wait=20).want(200).json
    eq(m["consoles"][0]["pins"], [old, new])
    eq(shown_pin(c), old)
    c.stop()
    c.start()
    eq(node.netmap().json["consoles"][0]["pins"], [old, new], "through a restart")

    kept = c.connect()
    eq(tls_command(c, "switch"), new)
    eq(shown_pin(c), old, "not yet")
    c.process.send_signal(signal.SIGHUP)
    m = node.netmap(since=revision(m), wait=20).want(200).json
    eq(m["consoles"][0]["pins"], [new])
    until(lambda: shown_pin(c) == new, what="the new key")
    c.call("GET", "/healthz", key=None, connection=kept).want(200)  # one that was open stays so
    eq((c.state("tls.pin").strip(), c.get("/api/v1/console").json["pin"]), (new, new))
    eq(token_parts(c.token())[0], new)
    assert not os.path.exists(os.path.join(c.state_dir, "tls.next.key"))
    c.stop()
    c.start()
    eq(shown_pin(c), new)
    done = subprocess.run([CONSOLE_API, "tls", "switch", "-c", c.config_path],
                          capture_output=True, text=True, timeout=30)
    eq(done.returncode, 1)
    assert "no next key" in done.stderr, done.stderr


def test_a_tls_key_that_is_missing_is_not_made_anew(c):
    """It may be a mount that comes late, and nodes know the console by it."""
    c.network()
    path = os.path.join(c.state_dir, "tls.key")
    pin = c.state("tls.pin").strip()
    os.rename(path, path + ".away")
    c.process.send_signal(signal.SIGHUP)
    until(lambda: "the TLS key stays as it was" in c.log(), what="the reload")
    eq(shown_pin(c), pin)
    assert not os.path.exists(path)
    c.stop()
    for name in (None, "tls.crt", "tls.pin"):
        if name:
            os.unlink(os.path.join(c.state_dir, name))
        c.spawn()
        eq(c.process.wait(30), 1)
        assert not os.path.exists(path), name
        assert "console-api tls new" in c.log()
    os.rename(path + ".away", path)
    c.start()
    eq((shown_pin(c), c.state("tls.pin").strip()), (pin, pin))
    # It is lost, and somebody says so.
    c.stop()
    os.unlink(path)
    new = tls_command(c, "new")
    assert new != pin
    c.start()
    eq(shown_pin(c), new)
    done = subprocess.run([CONSOLE_API, "tls", "new", "-c", c.config_path], capture_output=True,
                          text=True, timeout=30)
    eq(done.returncode, 1)
    assert "there is" in done.stderr, done.stderr


# -- versions

def hello(version="0.1.0", protocol=2, instance=1, start=1):
    return {"VAN-Agent": f"version={version},protocol={protocol},"
                         f"instance={instance:016x},start={start}"}


def version_of(c):
    major, minor = c.get("/api/v1/console").json["version"].split(".")[:2]
    return int(major), int(minor)


def signed(agent, method, target, body=None, headers=None):
    data = json.dumps(body).encode() if body is not None else None
    signature = agent.header(method, target, data, agent.id, agent.console_id)
    return agent.console.call(method, target, data, key=None,
                              headers=dict({"Authorization": signature}, **(headers or {})))


REPORT = {"port": 4826, "local": [], "advertise": [], "applied": None, "version": "", "networks": []}


def test_version_skew(c):
    c.network()
    major, minor = version_of(c)
    node = c.node(c.token(uses=2), "web")
    good = [f"{major}.{minor}.0", f"{major}.{minor}.99-rc1", f"{major}.{minor + 1}.0"]
    if minor:
        good.append(f"{major}.{minor - 1}.5")
    bad = [f"{major}.{minor + 2}.0", f"{major + 1}.{minor}.0", "x", f"{major}"]
    if minor > 1:
        bad.append(f"{major}.{minor - 2}.0")
    for version in good:
        get_netmap(node, headers=hello(version)).want(200)
        signed(node, "POST", "/agent/v1/report", REPORT, hello(version)).want(200)
    for version in bad:
        for answer in (get_netmap(node, headers=hello(version)),
                       signed(node, "POST", "/agent/v1/report", REPORT, hello(version)),
                       signed(node, "DELETE", "/agent/v1/networks/x", None, hello(version))):
            detail = answer.want(403, "version_skew").json["detail"]
            assert version in detail and f"{major}.{minor}" in detail, detail
    # Agents of protocol 1 say their version in the body only. Who has sent the header always does.
    node.report(version=good[0]).want(409, "cloned")
    old = c.node(name="old")
    old.report(version=bad[0]).want(403, "version_skew")
    old.report(version=good[0]).want(200)


def test_version_skew_when_joining(c):
    c.network()
    token = c.token()
    major, minor = version_of(c)
    agent = Agent(c)
    agent.enroll(token, "web", version=f"{major}.{minor + 2}.0").want(403, "version_skew")
    eq(c.get("/api/v1/tokens").json["items"][0]["uses_left"], 1, "the token is not spent")
    agent.enroll(token, "web", version=f"{major}.{minor}.0").want(201)


def test_malformed_hello(c):
    c.network()
    node = c.node()
    for text in ("", "x", "version=0.1.0", "version=0.1.0,protocol=x,instance=1,start=1",
                 hello()["VAN-Agent"].replace("start=1", "start=-1"), "," * 200):
        get_netmap(node, headers={"VAN-Agent": text}).want(400, "invalid")
    get_netmap(node, headers={"VAN-Agent": hello()["VAN-Agent"] + ",more=x"}).want(200)


# -- clones

def heard(node, instance, start=1):
    return signed(node, "POST", "/agent/v1/report", REPORT, hello(instance=instance, start=start))


def heard_or_early(node, instance):
    answer = heard(node, instance, 6)
    return answer if answer.status != 429 else None  # a change of the instance: one a second


def alternate(node):
    """Two machines report in turn. What comes within CLONE_GRACE_S of a change does not count, so
    this takes some seconds."""
    heard(node, 1, 5).want(200)
    for instance in (2, 1, 2):
        before = len(alarms(node.console, node))
        answer = until(lambda: heard_or_early(node, instance))
        end, over = time.monotonic() + 3.5, False
        while not over and answer.status == 200 and len(alarms(node.console, node)) == before:
            time.sleep(0.05)  # below the rate of a key
            over = time.monotonic() > end  # one report after it, however slow this machine is
            answer = heard(node, instance, 6)


def alarms(c, node):
    items = c.get("/api/v1/events?limit=1000").json["items"]
    return [e for e in items if e["severity"] == "error" and e["object"] == node.id]


def test_clones_raise_an_alarm(c):
    c.network()
    node = c.node(name="web")
    for start in range(1, 5):  # restarts do not
        heard(node, 100 + start, start).want(200)
    eq(alarms(c, node), [])
    alternate(node)
    found = alarms(c, node)
    eq(len(found), 1)
    assert "two machines" in found[0]["text"] and "127.0.0.1" in found[0]["text"], found
    for instance in (1, 2, 1, 2):
        heard(node, instance).want(200)
    eq(len(alarms(c, node)), 1, "said once")


@options(config='clone_policy = "reject";')
def test_clones_are_rejected(c):
    c.network()
    node = c.node(name="web")
    alternate(node)
    answer = heard(node, 2).want(409, "cloned")
    assert int(answer.headers["Retry-After"]) > 0
    get_netmap(node, headers=hello(instance=2)).want(409, "cloned")
    heard(node, 1).want(200)
    get_netmap(node, headers=hello(instance=1)).want(200)
    get_netmap(node).want(409, "cloned")  # says nothing


@options(config='clone_policy = "replace";')
def test_clones_replace_the_older(c):
    c.network()
    node = c.node(name="web")
    alternate(node)
    heard(node, 1).want(409, "cloned")
    heard(node, 2).want(200)


@options(config='clone_policy = "re-enrol";')
def test_clones_have_to_enrol_again(c):
    c.network()
    node = c.node(name="web")
    alternate(node)
    for instance in (1, 2, 3):
        heard(node, instance).want(409, "cloned")
    get_netmap(node).want(409, "cloned")
    node.enroll(c.token(), "web").want(201)
    heard(node, 3).want(200)


# -- ephemeral nodes

def test_ephemeral_nodes_go_when_they_are_silent(c):
    c.network()
    token = c.token(uses=2, ephemeral_s=30)
    eq(c.get("/api/v1/tokens").json["items"][0]["ephemeral_s"], 30)
    stays = c.node(name="stays")
    start = time.monotonic()
    silent, busy = c.node(token, "silent"), c.node(token, "busy")
    eq(c.get("/api/v1/nodes/silent").json["ephemeral_s"], 30)

    def gone():
        if time.monotonic() - gone.last > 3:
            busy.report().want(200)
            gone.last = time.monotonic()
        return c.get("/api/v1/nodes/" + silent.id).status == 404
    gone.last = start
    until(gone, 60, "the end of the silent node")
    assert time.monotonic() - start > 29, "too soon"
    busy.netmap().want(200)
    eq(c.get("/api/v1/nodes/busy").json["online"], True)
    silent.netmap().want(410, "node_removed")
    c.get("/api/v1/nodes/" + stays.id).want(200)


