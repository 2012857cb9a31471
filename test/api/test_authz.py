# SPDX-License-Identifier: Apache-2.0
"""Who may do what: every operation of the document by every kind of key, in its own organization and in
another one. What may not succeed must say 401, 403 or 404, and do nothing."""
import hashlib
import json
import os
import re

from consoletest import (BUILD, Agent, Skip, audit_hashes, b64url, eq, options, state_of, token_parts,
                         unchanged, until)
from scenarios import SCENARIOS, World
from test_openapi import Document

ROLES = ["viewer", "operator", "admin", "console"]


class Tenant:
    """An organization with keys of every role, and of every kind that must not work."""

    def __init__(self, c, name):
        self.c = c
        self.org = c.post("/api/v1/organizations", {"name": name}).want(201).json["id"]
        self.keys = {role: self.make(role) for role in ROLES[:3]}
        self.keys["console"] = c.key
        self.dead = {"expired": self.make("admin", ttl_s=1), "revoked": self.make("admin"),
                     "of a disabled user": self.of_user(lambda path: c.patch(
                         path, {"disabled": True}, headers=self.header).want(200)),
                     "of a removed user": self.of_user(lambda path: c.delete(
                         path, headers=self.header).want(204))}
        for o in self.list("/api/v1/keys"):
            if o["name"] == self.names["revoked"]:
                c.delete(f"/api/v1/keys/{o['id']}", headers=self.header).want(204)
        until(lambda: self.call("expired").status == 401, what="the end of a key")

    names = {"revoked": "revoked"}

    @property
    def header(self):
        return {"VAN-Organization": self.org}

    def make(self, role, **more):
        name = "revoked" if hasattr(self, "keys") and not more else f"{role} {len(more)}"
        return self.c.post("/api/v1/keys", {"name": name, "role": role, **more},
                           headers=self.header).want(201).json["key"]

    def of_user(self, then):
        user = self.c.post("/api/v1/users", {"name": "u", "role": "admin"},
                           headers=self.header).want(201).json
        key = self.make("admin", user=user["name"])
        self.c.get("/api/v1/whoami", key=key).want(200)
        then(f"/api/v1/users/{user['id']}")
        if then.__code__.co_names[0] != "delete":
            self.c.patch(f"/api/v1/users/{user['id']}", {"name": "disabled"},
                         headers=self.header).want(200)
        return key

    def call(self, which):
        return self.c.get("/api/v1/networks", key=self.dead[which])

    def list(self, path):
        return self.c.get(path + "?limit=1000", headers=self.header).want(200).json["items"]


def as_key(call, key):
    """The call by this key, for the organization that the key has by itself."""
    return call.but(key=key, headers={"VAN-Organization": None})


@options(config="rate_requests = 100000; rate_address = 100000;")
def test_roles_in_their_own_organization(c):
    d = Document(c)
    mine = Tenant(c, "mine")
    for operation_id, _, needed in d.by_key():
        call = SCENARIOS[operation_id](World(c, mine.org))
        refused = [role for role in ROLES if ROLES.index(role) < ROLES.index(needed)]
        with unchanged(c):
            for role in refused:
                answer = as_key(call, mine.keys[role]).send(c)
                eq(answer.status, 403, f"{operation_id} as {role}")
                answer.want(403, "role_too_low")
        for role in ROLES[len(refused):]:
            # A call that succeeds uses up what it was made for.
            made = SCENARIOS[operation_id](World(c, mine.org))
            answer = (made if role == "console" else as_key(made, mine.keys[role])).send(c)
            assert answer.status < 300, f"{operation_id} as {role}: {answer.status} " \
                                        f"{answer.body[:300]!r}"


@options(config="rate_requests = 100000; rate_address = 100000;")
def test_keys_that_open_nothing(c):
    d = Document(c)
    mine = Tenant(c, "mine")
    node = World(c, mine.org).node()
    token = World(c, mine.org).token()["token"]
    bad = dict(mine.dead, none=None, **{
        "a join token": token, "the secret of a join token": b64url(token_parts(token)[1]),
        "a node's id": node.id, "the hash of a key": hashlib.sha256(c.key.encode()).hexdigest(),
        "an organization": mine.org})
    calls = [SCENARIOS[i](World(c, mine.org)) for i, _, _ in d.by_key()]
    before, attempts = state_of(c), 0
    for call in calls:
        for what, key in bad.items():
            # Wrong credentials are counted by address.
            attempts += 1
            answer = as_key(call, key).but(source=f"127.0.1.{1 + attempts // 20}").send(c)
            eq(answer.status, 401, f"{call.method} {call.path} with a key that is {what}")
            word = {"expired": "key_expired", "of a disabled user": "key_disabled"}
            answer.want(401, word.get(what, None))
            assert answer.headers["WWW-Authenticate"] == "Bearer"
        # A node's signature of this very request.
        data = call.body if isinstance(call.body, (bytes, type(None))) \
            else json.dumps(call.body).encode()
        signature = node.header(call.method, call.path, data, node.id, node.console_id)
        attempts += 1
        answer = as_key(call, None).but(headers={"Authorization": signature},
                                        source=f"127.0.1.{1 + attempts // 20}").send(c)
        eq(answer.status, 401, f"{call.method} {call.path} with a node's signature")
    eq(state_of(c), before)
    assert attempts > 500, attempts


@options(config="rate_requests = 100000; rate_address = 100000;")
def test_what_belongs_to_another_organization_does_not_exist(c):
    d = Document(c)
    mine, other = Tenant(c, "mine"), Tenant(c, "other")
    World(c, mine.org).everything()
    for operation_id, _, needed in d.by_key():
        path = d.operations[operation_id][1]
        world = World(c, mine.org)
        call = SCENARIOS[operation_id](world)
        ids = set(re.findall(r'"id": ?"([a-z]+_[0-9a-z]{16})"', json.dumps(
            [mine.list("/api/v1/networks"), mine.list("/api/v1/nodes"), mine.list("/api/v1/keys"),
             mine.list("/api/v1/users"), mine.list("/api/v1/tokens")])))
        assert len(ids) > 10
        rows = audit_hashes(c, mine.org)
        for role in ROLES[:3]:
            key = other.keys[role]
            what = f"{operation_id} as {role} of another organization"
            # Naming the organization is no way in, whatever the role would allow.
            for how in (call.but(key=key), as_key(call, key).but(
                    path=call.path + ("&" if "?" in call.path else "?") +
                    "organization=mine")):
                eq(how.send(c).status, 404, what)
            before = state_of(c)
            answer = as_key(call, key).send(c)
            allowed = ROLES.index(role) >= ROLES.index(needed)
            if answer.status >= 300 or call.method == "GET":
                eq(state_of(c), before, f"{what} did something")
            if not allowed:
                eq(answer.status, 403, what)
            elif "{" in path:
                eq(answer.status, 404, what)
                answer.want(404, "not_found")
            else:
                # It is about their own organization, and tells nothing of this one.
                assert answer.status < 300 or answer.status in (400, 409) or \
                    b"there is no" in answer.body, \
                    f"{what}: {answer.status} {answer.body[:300]!r}"
            text = answer.body.decode()
            sent = call.path + json.dumps(call.body if not isinstance(call.body, bytes) else "")
            for name in ids:
                assert name not in text or name in sent, f"{what} tells {name}: {text[:500]}"
        eq(audit_hashes(c, mine.org), rows, f"{operation_id} by another organization did something")


@options(config="rate_requests = 100000; rate_address = 100000;")
def test_nodes_reach_only_their_own(c):
    d = Document(c)
    mine, other = World(c, Tenant(c, "mine").org), World(c, Tenant(c, "other").org)
    node = mine.node()
    # A token of another organization does not take the node there.
    body = node.enroll_body(other.token()["token"], "x")
    answer = node.call("POST", "/agent/v1/enroll", body, header=node.header(
        "POST", "/agent/v1/enroll", json.dumps(body).encode(), "enroll", ""))
    answer.want(403, "token_wrong")
    node.call("DELETE", f"/agent/v1/networks/{other.net()['id']}").want(404)
    eq([n["id"] for n in node.netmap().want(200).json["networks"]], [mine.net()["id"]])


@options(config="rate_requests = 100000; rate_address = 100000;")
def test_operations_of_nodes(c):
    """By API keys of all kinds, by other nodes, by nodes that are gone: nothing."""
    d = Document(c)
    tenant = Tenant(c, "mine")
    keys = {**tenant.keys, **tenant.dead, "none": None}
    gone, stranger = World(c, tenant.org).node(), Agent(c)
    c.delete(f"/api/v1/nodes/{gone.id}", headers=tenant.header).want(204)
    attempts, seen = 0, 0
    for operation_id, (method, _, operation) in d.operations.items():
        if operation.get("x-van-role") or not operation["security"]:
            continue
        seen += 1
        world = World(c, tenant.org)
        world.node()
        call = SCENARIOS[operation_id](world)
        data = json.dumps(call.body).encode() if call.body is not None else None

        def refused(what, status, header):
            nonlocal attempts
            attempts += 1
            answer = c.call(method, call.path, data, key=None, source=f"127.0.1.{1 + attempts // 20}",
                            headers={"Authorization": header} if header else None)
            eq(answer.status, status, f"{operation_id} {what}: {answer.body[:200]!r}")
            d.check_answer(operation_id, answer)

        with unchanged(c):
            for what, key in keys.items():
                refused(f"by a key: {what}", 401, key and "Bearer " + key)
            node, console = (call.agent.id, call.agent.console_id) if operation_id != "enroll" \
                else ("enroll", "")
            sign = call.agent.header
            refused("signed by another key", 401,
                    stranger.header(method, call.path, data, node, console))
            refused("of another method", 401, sign("PATCH", call.path, data, node, console))
            refused("of another path", 401, sign(method, call.path + "x", data, node, console))
            refused("of another body", 401, sign(method, call.path, b"{}", node, console))
            refused("long ago", 401, sign(method, call.path, data, node, console, "1000000000"))
            refused("by nobody", 401, sign(method, call.path, data, "node_0000000000000000", console))
            if operation_id != "enroll":
                refused("for another console", 401, sign(method, call.path, data, node, "con_other"))
                refused("by a node that is gone", 410,
                        gone.header(method, call.path, data, gone.id, gone.console_id))
        # And as it is meant, it works.
        assert call.send(c).status < 300, operation_id
    eq(seen, 4)


def test_keys_and_tokens_do_not_stay_in_memory(c):
    """What was shown once, or came in a body, is wiped, not only freed."""
    if "san" in os.path.basename(BUILD):
        raise Skip("AddressSanitizer keeps what was freed")
    c.network()
    key = c.post("/api/v1/keys", {"name": "v", "role": "viewer"}, headers={"Idempotency-Key": "one"}).want(201).json["key"]
    token = c.token()
    c.node(token)
    secrets = {"key": key, "token": token, "secret": b64url(token_parts(token)[1])}
    memory = memory_of(c.process.pid)
    assert c.state_dir.encode() in memory and b"172.16.1.0/24" in memory  # it is there to be found
    for name, text in secrets.items():
        assert text.encode() not in memory, f"a {name} is in the console's memory"


def memory_of(pid):
    """All that a process can write to."""
    pieces = []
    try:
        with open(f"/proc/{pid}/maps", encoding="utf-8") as maps, open(f"/proc/{pid}/mem", "rb", 0) as memory:
            for line in maps:
                where, may = line.split()[:2]
                if "rw" not in may:
                    continue
                low, high = (int(x, 16) for x in where.split("-"))
                if high - low > 256 << 20:  # a sanitizer's own, or empty tables
                    continue
                memory.seek(low)
                pieces.append(memory.read(high - low))
    except OSError as e:
        raise Skip(f"cannot read the memory of another process here: {e}") from e
    return b"".join(pieces)
