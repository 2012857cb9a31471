# SPDX-License-Identifier: Apache-2.0
"""The Python client (clients/python): against a real console, against consoles that misbehave, and its
examples."""
import ast
import csv
import glob
import importlib.util
import inspect
import io
import json
import os
import re
import shutil
import socket
import ssl
import subprocess
import sys
import threading
import time
import warnings

import etcdtest
from consoletest import Agent, Console, Skip, eq, free_port, options, until
from rogue import Rogue, answer, drop, forward, problem, raw, silence, stream
from scenarios import World, every_resource, some_address, some_prefix
from test_openapi import Document

HERE = os.path.dirname(os.path.abspath(__file__))
PACKAGE = os.path.join(HERE, "../../clients/python")
EXAMPLES = os.path.join(PACKAGE, "examples")
sys.path.insert(0, PACKAGE)
import vanapi  # noqa: E402
from vanapi import objects, transport as transport_module, watch as watch_module  # noqa: E402
from vanapi.tls import parse_pins, public_key_of  # noqa: E402


def connect(c, console=None, **more):
    more = {"pin": c.state("tls.pin").strip(), "key_file": c.state_dir + "/admin.key", **more}
    return vanapi.connect(console or f"https://127.0.0.1:{c.port}", **more)


def raises(kind, function, *args, **kwargs):
    try:
        function(*args, **kwargs)
    except kind as e:
        return e
    raise AssertionError(f"no {kind.__name__}")


# -- it can do all that the API can

class Recorded(vanapi.Client):
    """A client that remembers what it asked for: (method, path, names in the query)."""

    def __init__(self, client):
        super().__init__(client._transport)
        self.asked = []
        for name in ("_try", "stream"):
            self.record(name, getattr(self._transport, name))

    def record(self, name, function):
        def remember(console, *args, **kwargs):
            method, target = ("GET", args[0]) if name == "stream" else args[:2]
            path, _, query = target.partition("?")
            self.asked.append((method, path, {p.split("=")[0] for p in query.split("&") if p}))
            return function(console, *args, **kwargs)
        setattr(self._transport, name, remember)


LISTS = {  # what has list(), by its operation
    "listOrganizations": lambda van, w: van.organizations,
    "listUsers": lambda van, w: van.users,
    "listKeys": lambda van, w: van.keys,
    "listAudit": lambda van, w: van.audit,
    "listEvents": lambda van, w: van.events,
    "listNetworks": lambda van, w: van.networks,
    "listTokens": lambda van, w: van.tokens,
    "listNodes": lambda van, w: van.nodes,
    "listMembers": lambda van, w: net(van, w).members,
    "listReservations": lambda van, w: net(van, w).reservations,
    "listGatewayCandidates": lambda van, w: net(van, w).gateway_candidates,
    "listGateways": lambda van, w: net(van, w).gateways,
    "listFloatingIps": lambda van, w: net(van, w).floating_ips,
    "listCloakRules": lambda van, w: net(van, w).cloak_rules,
}


def net(van, w):
    return van.networks.get(w.net()["name"])


def one(collection):
    return next(collection.list())


def gateway(van, w):
    return net(van, w).gateways.create(w.node().name, [some_prefix()])


def member(van, w):
    return net(van, w).members.get(w.node().id)


def rule(van, w):
    return net(van, w).cloak_rules.create("allow", protocol="tcp", ports="443", confirm_within_s=60)


def add_member(van, w):
    node = w.node().name
    w.network = None  # another one
    return net(van, w).members.add(node, address="10.0.0.77")


def confirm(van, w):
    w.network = None
    cloak = net(van, w).cloak()
    cloak.update(state="on", confirm_within_s=100)
    eq(cloak["state"], "pending")
    cloak.confirm()
    eq(cloak["state"], "on")


def all_stats(o, **more):
    return o.stats("1m", start="2026-01-01T00:00:00Z", end="2199-01-01T00:00:00Z", metrics=["rx_bytes"],
                   **more)


def copied(van, w):
    every_resource(w)
    document = van.topologies.export(w.net()["name"])
    name = w.name("copy")
    planned = van.topologies.diff(document, name=name)
    assert planned[0]["created"] and planned[0]["changes"] and planned[0]["id"] is None
    made = van.topologies.apply(document, name=name, confirm_within_s=60)
    eq(sorted(c["name"] for c in made[0]["changes"]), sorted(c["name"] for c in planned[0]["changes"]))
    eq(van.topologies.diff(van.topologies.export(name))[0]["changes"], [])


CALLS = {  # what does an operation, the good case
    "healthz": lambda van, w: van.is_alive(),
    "readyz": lambda van, w: van.is_ready(),
    "openapi": lambda van, w: van.openapi(),
    "getConsole": lambda van, w: van.console(),
    "metrics": lambda van, w: van.metrics(),
    "whoami": lambda van, w: van.whoami(),
    "createOrganization": lambda van, w: van.organizations.create(w.name("org"), description="x"),
    "getOrganization": lambda van, w: van.organizations.get("default"),
    "changeOrganization": lambda van, w: van.organizations.get("default").update(description="y"),
    "deleteOrganization": lambda van, w: van.organizations.create(w.name("org")).delete(),
    "createUser": lambda van, w: van.users.create(w.name("u"), "viewer", full_name="Ada", disabled=True),
    "getUser": lambda van, w: van.users.get(w.user()["name"]),
    "changeUser": lambda van, w: van.users.get(w.user()["name"]).update(full_name=None, role="viewer"),
    "deleteUser": lambda van, w: van.users.get(w.user()["name"]).delete(),
    "createKey": lambda van, w: van.keys.create("k", "viewer", ttl_s=60)["key"],
    "getKey": lambda van, w: van.keys.get(w.key()["id"]),
    "deleteKey": lambda van, w: van.keys.create("k", "viewer").delete(),
    "watch": lambda van, w: next(van.watch(["network", "node"])),
    "createNetwork": lambda van, w: van.networks.create(
        w.name("net"), "10.0.0.0/24", cidr6="fd00::/64", mtu=1400, labels={"a": "b"}),
    "getNetwork": lambda van, w: net(van, w),
    "changeNetwork": lambda van, w: net(van, w).update(mtu=1500),
    "deleteNetwork": lambda van, w: net(van, w).delete(),
    "issueToken": lambda van, w: net(van, w).issue_token(uses=2, ttl_s=60, ephemeral_s=60)["token"],
    "getToken": lambda van, w: van.tokens.get(w.token()["id"]),
    "revokeToken": lambda van, w: net(van, w).issue_token().delete(),
    "getNode": lambda van, w: van.nodes.get(w.node().name),
    "changeNode": lambda van, w: van.nodes.get(w.node().id).update(labels={"rack": "4"}),
    "deleteNode": lambda van, w: van.nodes.get(w.node().id).delete(),
    "rekeyNode": lambda van, w: van.nodes.get(w.node().id).rekey(ttl_s=60)["token"],
    "getNetworkStats": lambda van, w: all_stats(net(van, w)),
    "getMemberStats": lambda van, w: all_stats(member(van, w)),
    "getNodeStats": lambda van, w: all_stats(van.nodes.get(w.node().id), include=["networks", "peers"]),
    "addMember": add_member,
    "getMember": member,
    "changeMember": lambda van, w: member(van, w).update(address="10.0.0.99"),
    "removeMember": lambda van, w: member(van, w).delete(),
    "createReservation": lambda van, w: net(van, w).reservations.create(some_address(), node="later"),
    "getReservation": lambda van, w: net(van, w).reservations.get(
        net(van, w).reservations.create("10.0.8.0/24")["address"]),
    "changeReservation": lambda van, w: net(van, w).reservations.create(some_address()).update(note="x"),
    "deleteReservation": lambda van, w: net(van, w).reservations.create(some_address()).delete(),
    "createGateway": gateway,
    "getGateway": lambda van, w: net(van, w).gateways.get(gateway(van, w)["name"]),
    "changeGateway": lambda van, w: gateway(van, w).update(enabled=False),
    "deleteGateway": lambda van, w: gateway(van, w).delete(),
    "createFloatingIp": lambda van, w: net(van, w).floating_ips.create(some_address(), candidates=[]),
    "getFloatingIp": lambda van, w: net(van, w).floating_ips.get(
        net(van, w).floating_ips.create(some_address())["address"]),
    "changeFloatingIp": lambda van, w: net(van, w).floating_ips.create(some_address()).update(vrid=7),
    "deleteFloatingIp": lambda van, w: net(van, w).floating_ips.create(some_address()).delete(),
    "getCloak": lambda van, w: net(van, w).cloak(),
    "changeCloak": lambda van, w: net(van, w).cloak().update(scope="all", confirm_within_s=60),
    "confirmCloak": confirm,
    "createCloakRule": rule,
    "getCloakRule": lambda van, w: net(van, w).cloak_rules.get(rule(van, w)["id"]),
    "changeCloakRule": lambda van, w: rule(van, w).update(note="x", confirm_within_s=60),
    "deleteCloakRule": lambda van, w: rule(van, w).delete(confirm_within_s=60),
    "exportTopology": copied,
    "importTopology": copied,
}


def test_it_can_do_all_that_the_api_can(c):
    """Each operation that is not for the nodes' agents, with every parameter that it has."""
    d = Document(c)
    wanted = {i for i, (_, _, o) in d.operations.items() if o["tags"] != ["agents"]}
    eq(sorted(wanted - set(LISTS) - set(CALLS)), [], "operations that the client cannot do")
    eq(sorted((set(LISTS) | set(CALLS)) - wanted), [], "operations that the console does not have")
    van, full = Recorded(connect(c)), World(c)
    full.everything()
    for operation_id in sorted(wanted):
        method, path, operation = d.operations[operation_id]
        parameters = {p["name"]: p for p in map(d.resolve, operation["parameters"]) if p["in"] == "query"}
        parameters.pop("organization", None)  # connect() has that
        if operation_id == "watch":
            parameters.pop("since")  # it goes into Last-Event-ID: test_watch
        van.asked.clear()
        if operation_id in LISTS:
            parameters.pop("cursor")  # test_lists
            listing = LISTS[operation_id](van, full)
            assert one(listing), operation_id
            sorts = parameters.pop("sort", {"schema": {"enum": []}})["schema"]["enum"]
            values = {"label": {"env": "test"}, "since": "2026-01-01T00:00:00Z", "network": full.net()["id"]}
            filters = {n: values.get(n, "x") for n in parameters if n != "limit"}
            for sort in sorts:
                assert list(listing.list(sort=sort)), operation_id
            found = list(listing.list(**filters))
            assert not (filters and found), f"{operation_id}: {found} with {filters}"
        else:
            assert CALLS[operation_id](van, World(c)) is not False, operation_id
        template = re.compile(re.sub(r"\{\w+\}", "[^/]+", path) + "$")
        asked = [q for m, p, q in van.asked if m == method and template.match(p)]
        assert asked, f"{operation_id}: the client asked {van.asked}"
        eq(sorted(set(parameters) - set().union(*asked)), [], f"{operation_id}: parameters never sent")


CREATES = {
    "createOrganization": objects.Organizations.create, "createUser": objects.Users.create,
    "createKey": objects.Keys.create, "createNetwork": objects.Networks.create,
    "issueToken": objects.Network.issue_token, "rekeyNode": objects.Node.rekey,
    "addMember": objects.Members.add, "createReservation": objects.Reservations.create,
    "createGateway": objects.Gateways.create, "createFloatingIp": objects.FloatingIps.create,
    "createCloakRule": objects.CloakRules.create,
}


def test_it_says_what_may_be_set(c):
    """Every member of a body is an argument of what creates, or named in its text; what is required is
    required there."""
    d = Document(c)
    bodies = {i for i, (m, _, o) in d.operations.items()
              if m == "POST" and "requestBody" in o and o["tags"] not in (["agents"], ["topology"])}
    eq(bodies, set(CREATES))
    for operation_id, function in CREATES.items():
        body = d.operations[operation_id][2]["requestBody"]["content"]["application/json"]
        schema = d.resolve(body["schema"])
        parameters = {n: p for n, p in inspect.signature(function).parameters.items() if n != "self"}
        words = set(re.findall(r"\w+", function.__doc__)) | set(parameters)
        eq(sorted(set(schema["properties"]) - words), [], f"{operation_id}: not told of")
        eq([n for n, p in parameters.items()
            if p.default is p.empty and p.kind is p.POSITIONAL_OR_KEYWORD], schema.get("required", []))


def test_versions(c):
    eq(connect(c).console()["version"], vanapi.__version__, "vanapi/version.py and the Makefile's VERSION")
    for path in glob.glob(PACKAGE + "/*/*.py"):
        with open(path, encoding="utf-8") as f:
            text = f.read()
        ast.parse(text, path, feature_version=(3, 9))
        assert max(map(len, text.splitlines()), default=0) <= 110, path


# -- objects

def test_objects(c):
    van = connect(c)
    blue = van.networks.create("blue", "10.0.0.0/24", labels={"env": "prod", "a": "1"})
    same = van.networks.get("blue")
    eq((dict(blue), blue.revision), (dict(same), same.revision))
    blue.update(mtu=1400, labels={"a": None, "b": "2"})
    eq((blue["mtu"], blue["labels"]), (1400, {"env": "prod", "b": "2"}))
    error = raises(vanapi.StaleError, same.update, mtu=1500)
    eq((error.status, error.word), (412, "precondition_failed"))
    raises(vanapi.StaleError, same.delete)
    same.refresh()
    eq(dict(same), dict(blue))
    eq(blue.update(mtu=None)["mtu"], 1360)
    token = blue.issue_token()
    for text in (repr(token), str(token), f"{token}"):
        assert "van1_" not in text and token["id"] in text
    token.delete()
    token.refresh()
    eq(token["state"], "revoked")
    blue.delete()
    eq(raises(vanapi.NotFoundError, blue.refresh).word, "not_found")
    for bad in ("", ".", "..", "a/b", "a?b", "ü %2f#"):
        raises((vanapi.NotFoundError, ValueError), van.networks.get, bad)


def test_problems(c):
    van = connect(c)
    error = raises(vanapi.InvalidError, van.networks.create, "Not a name", "10.0.0.0/99", mtu=1, colour="x")
    eq({e.pointer for e in error.errors}, {"/name", "/cidr", "/mtu", "/colour"})
    assert all(e.detail for e in error.errors) and all(e.pointer in str(error) for e in error.errors)
    eq((error.status, error.type, error.word), (400, "urn:van:error:invalid", "invalid"))
    assert error.title and len(error.request_id) == 32
    van.networks.create("blue", "10.0.0.0/24")
    eq(raises(vanapi.ConflictError, van.networks.create, "blue", "10.0.1.0/24").word, "name_taken")
    raises(vanapi.AuthenticationError, connect(c, key_file=None, key="van_wrong").whoami)
    viewer = connect(c, key_file=None, key=van.keys.create("k", "viewer")["key"])
    eq(raises(vanapi.DeniedError, viewer.networks.create, "red", "10.0.0.0/24").word, "role_too_low")
    raises(vanapi.NotFoundError, viewer.networks.get("blue").gateways.get, "none")
    raises(vanapi.InvalidError, list, van.nodes.list(colour="blue"))
    org = van.organizations.create("acme")
    raises(vanapi.NotFoundError, connect(c, organization="acme").networks.get, "blue")
    eq(connect(c, organization="acme").whoami()["organization"], org["id"])


def test_read_modify_write(c):
    """Many at once: each change is there in the end."""
    van = connect(c)
    van.networks.create("blue", "10.0.0.0/24", labels={"n": "0"})
    failed = []

    def count(times):
        network = van.networks.get("blue")
        try:
            for _ in range(times):
                network.edit(lambda o: {"labels": {"n": str(int(o["labels"]["n"]) + 1)}})
        except Exception as e:
            failed.append(e)
    threads = [threading.Thread(target=count, args=(5,)) for _ in range(3)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    eq(failed, [])
    network = van.networks.get("blue")
    eq(network["labels"], {"n": "15"})
    revision = network.revision
    eq(network.edit(lambda o: None).revision, revision)
    van._transport.sleep = lambda s: None
    error = raises(vanapi.StaleError, network.edit, lambda o: c.patch(
        "/api/v1/networks/blue", {"labels": {"x": str(o.revision)}}) and {"mtu": 1400})
    eq(error.status, 412)


def test_lists(c):
    van = Recorded(connect(c))
    for i in range(23):
        van.networks.create(f"n{i:02}", "10.0.0.0/24", mtu=1300 + i % 5, labels={"odd": str(i % 2)})
    objects.PAGE_SIZE, size = 5, objects.PAGE_SIZE
    try:
        van.asked.clear()
        names = [n["name"] for n in van.networks.list()]
        eq(names, [f"n{i:02}" for i in range(23)])
        eq(len(van.asked), 5)
        van.asked.clear()
        eq(next(van.networks.list(sort="-name"))["name"], "n22")
        eq(len(van.asked), 1, "pages are read when they are asked for")
        eq([n["mtu"] for n in van.networks.list(sort="mtu")], sorted(1300 + i % 5 for i in range(23)))
        eq({n["name"] for n in van.networks.list(label={"odd": "1"})}, {f"n{i:02}" for i in range(1, 23, 2)})
        eq([n["name"] for n in van.networks.list(name="n07", require_approval=False)], ["n07"])
        # They can be changed as they come.
        for n in van.networks.list(label={"odd": "1"}):
            n.delete()
        eq(len(list(van.networks.list())), 12)
    finally:
        objects.PAGE_SIZE = size
    assert [r["action"] for r in van.audit.list(kind="network")].count("network.create") == 23


def test_statistics(c):
    van, w = connect(c), World(c)
    agent, peer = w.node(), w.new_node()
    agent.report(stats={
        "instance": "00000000000000aa", "tick": 10, "seconds": 10, "drops": {"runt": 3},
        "networks": [{"id": w.net()["id"], "rx_bytes": 5000, "tx_bytes": 100, "rx_packets": 50,
                      "tx_packets": 1}],
        "peers": [{"id": peer.id, "sent": 2, "answered": 1, "rtt_us": 900}]}).want(200)
    network = net(van, w)
    for stats in (network.stats("1s"), member(van, w).stats("1s")):
        eq(stats.step_s, 1)
        eq(sum(v or 0 for v in stats.columns["rx_bytes"]), 5000)
        rows = list(stats.rows())
        eq((rows[0][0], len(rows)), (stats.start, len(stats.columns["rx_bytes"])))
        eq(sum(values["tx_bytes"] or 0 for _, values in rows), 100)
        known = [t for t, values in rows if values["rx_bytes"] is not None]
        assert -5 < time.time() - known[-1].timestamp() < 20, known
    later = network.stats("1s", start=known[-1], metrics=["rx_bytes"])
    eq((later.start, list(later.columns)), (known[-1], ["rx_bytes"]))
    node = van.nodes.get(agent.id).stats("1m", include=["networks", "peers", "drops"])
    eq(sum(v or 0 for v in node.drops["runt"]), 3)
    eq(sum(v or 0 for v in node.networks[network["name"]].columns["rx_packets"]), 50)
    eq([v for v in node.peers[peer.name].columns["loss"] if v is not None], [0.5])
    eq(node.peers[peer.name].step_s, 60)
    assert "van_" in van.metrics()


# -- who the console is

def test_pins_and_authorities(c):
    pin = c.state("tls.pin").strip()
    wrong = "sha256//" + "A" * 43 + "="
    url = f"https://127.0.0.1:{c.port}"
    key = c.key
    good = [{"pin": pin}, {"pin": wrong + ";" + pin}, {"ca_file": c.state_dir + "/tls.crt"},
            {"pin": pin, "ca_file": c.state_dir + "/tls.crt"}]
    for how in good:
        eq(vanapi.connect(url, key=key, **how).whoami()["role"], "console")
    for how in ({"pin": wrong}, {}, {"pin": wrong, "ca_file": c.state_dir + "/tls.crt"}):
        van = vanapi.connect(url, key=key, **how)
        van._transport.sleep = None  # it does not try again
        raises(vanapi.TlsError, van.whoami)
        raises(vanapi.TlsError, next, van.watch())
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        eq(vanapi.connect(url, key=key, danger_verify_nothing=True).whoami()["role"], "console")
        told = [t for t in told if t.category is UserWarning]
        eq(["nobody checks" in str(t.message) and t.filename for t in told], [__file__])
    raises(ValueError, vanapi.connect, url, key=key, pin=pin, danger_verify_nothing=True)
    raises(ValueError, vanapi.connect, url, key=key, key_file=c.state_dir + "/admin.key", pin=pin)
    for bad in ("", "sha256//", "md5//" + "A" * 43 + "=", pin + "x", "sha256//" + "A" * 22 + "==", ";"):
        raises(ValueError, parse_pins, bad)
    for bad in ("http://127.0.0.1", "127.0.0.1:8443", "https://", url + "/api", "https://u:p@h", url + "?x"):
        raises(ValueError, vanapi.connect, bad, key=key, pin=pin)
    # Certificates come from whoever answers: every cut of one is refused in order.
    with open(c.state_dir + "/tls.crt", encoding="ascii") as f:
        der = ssl.PEM_cert_to_DER_cert(f.read())
    assert public_key_of(der)
    for n in range(len(der) - 80):
        raises(vanapi.TlsError, public_key_of, der[:n])
    for i in range(len(der)):
        try:
            public_key_of(der[:i] + bytes([der[i] ^ 0x83]) + der[i + 1:])
        except vanapi.TlsError:
            pass


def test_nothing_is_shown_to_somebody_else(c):
    """With another key than the pin says, and one of a CA that is not asked: no request arrives."""
    with Rogue(c, answer(200, {})) as rogue:
        for how in ({"pin": "sha256//" + "A" * 43 + "="}, {"pin": None}):
            raises(vanapi.TlsError, connect(c, rogue.url, **how).whoami)
        eq(rogue.connections, 2)
        eq((rogue.requests, rogue.heard), ([], b""))


def test_where_things_come_from(c):
    """The environment, files; the key's own secrecy."""
    pin = c.state("tls.pin").strip()
    url = f"https://127.0.0.1:{c.port}"
    saved = dict(os.environ)
    try:
        for name in [n for n in os.environ if n.startswith("VAN_")]:
            del os.environ[name]
        raises(ValueError, vanapi.connect)
        os.environ.update(VAN_CONSOLE=url, VAN_PIN=pin)
        raises(ValueError, vanapi.connect)
        os.environ["VAN_KEY"] = c.key
        eq(vanapi.connect().whoami()["organization"], "default")
        os.environ.update(VAN_KEY="nonsense", VAN_KEY_FILE=c.state_dir + "/admin.key")
        eq(vanapi.connect().whoami()["role"], "console")
        os.environ["VAN_CONSOLE"] = f"https://127.0.0.1:{free_port()}, {url}"
        eq(vanapi.connect().whoami()["role"], "console")
        os.environ["VAN_ORG"] = "nobody"
        raises(vanapi.NotFoundError, vanapi.connect().whoami)
    finally:
        os.environ.clear()
        os.environ.update(saved)
    loose = c.dir + "/loose.key"
    shutil.copy(c.state_dir + "/admin.key", loose)
    os.chmod(loose, 0o644)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        connect(c, key_file=loose).whoami()
        eq([loose in str(t.message) for t in told if t.category is UserWarning], [True])
    for bad in ("", "a b", "a\r\nX: y", "schlüssel"):
        error = raises(ValueError, connect, c, key_file=None, key=bad)
        assert not bad or bad not in str(error)
    raises(FileNotFoundError, connect, c, key_file=c.dir + "/none")


# -- consoles that do not answer as they should

def impatient(c, *urls, **more):
    """A client whose pauses are noted, and not made: (client, list of seconds)."""
    van = connect(c, urls, **more)
    waits = []
    van._transport.sleep = waits.append
    return van, waits


ME = {"actor": "x", "role": "viewer"}
SHORT = answer(200, {"items": [{"id": "x", "text": "y" * 200000}], "next": None}, cut=100000)


def test_connections_are_kept(c):
    with Rogue(c, answer(200, ME)) as rogue:
        van = connect(c, rogue.url)
        for _ in range(20):
            eq(van.whoami(), ME)
        eq((rogue.connections, len(rogue.requests)), (1, 20))
        threads = [threading.Thread(target=van.whoami) for _ in range(12)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        assert len(van._transport.consoles[0].idle) <= transport_module.IDLE_MAX
        van.close()
        eq(van._transport.consoles[0].idle, [])
    # One that was closed meanwhile is not used: a PATCH could not be tried again.
    with Rogue(c, answer(200, {"id": "n", "revision": 7}), answer(200, {"id": "n", "revision": 8})) as rogue:
        van = connect(c, rogue.url)
        network = van.networks.get("n")
        rogue.hang_up()
        until(lambda: not van._transport.consoles[0].idle[0].is_fresh(), what="the end of the connection")
        eq(network.update(mtu=1400).revision, 8)
        eq((rogue.connections, rogue.requests[1][2]["if-match"]), (2, '"7"'))
    with Rogue(c, answer(200, ME, Connection="close", keep=False)) as rogue:
        van = connect(c, rogue.url)
        eq((van.whoami(), van.whoami(), rogue.connections), (ME, ME, 2))


def test_what_is_tried_again(c):
    fails = {
        "dropped": (drop, True, False), "cut off": (SHORT, True, False),
        "no head": (raw(b"HTTP/1.1 200 OK\r\nContent-Le"), True, False),
        "no HTTP": (raw(b"220 mail\r\n"), True, False),
        "busy": (problem(503, "busy"), True, True),
        "unknown": (problem(503, "outcome_unknown"), True, False),
        "a proxy": (answer(502, b"<html>", Content_Type="text/html"), True, False),
        "many": (problem(429, "too_many_requests", Retry_After=3), True, True),
        "late": (problem(408, "request_timeout"), True, True),
        "wrong": (problem(400, "invalid"), False, False),
        "broken": (problem(500, "internal"), False, False),
        "full": (problem(507, "store_full"), False, False),
        "moved": (answer(302, b"", Location="https://127.0.0.1/"), False, False),
        "no JSON": (answer(200, b"<html>"), False, False),
        "no object": (answer(200, [1]), False, False),
    }
    made = answer(201, {"id": "n", "revision": 7})
    for what, (fail, harmless, change) in fails.items():
        for method, act, wanted in (
                ("GET", lambda van: van.whoami(), harmless),
                ("POST", lambda van: van.networks.create("n", "10.0.0.0/24"), harmless),
                ("PATCH", lambda van: a_network(van).update(mtu=1400), change)):
            with Rogue(c, fail, fail, made) as rogue:
                van, waits = impatient(c, rogue.url)
                label = f"{method}, {what}"
                if not wanted:
                    error = raises(vanapi.VanError, act, van)
                    eq((len(rogue.requests), waits), (1, []), label)
                    if isinstance(error, vanapi.UnreachableError):
                        eq(error.maybe_done, method != "GET", label)
                    continue
                act(van)
                eq([r[0] for r in rogue.requests], [method] * 3, label)
                eq(len({r[3] for r in rogue.requests}), 1, "the same body")
                keys = {r[2].get("idempotency-key") for r in rogue.requests}
                eq((len(keys), keys == {None}), (1, method != "POST"), label)
                eq(len({r[2]["x-request-id"] for r in rogue.requests}), 1)
                eq(len(waits), 2, label)
                if what == "many":
                    eq(waits, [3, 3], label)
                else:
                    assert 0.1 <= waits[0] <= 0.5 and 0.25 <= waits[1] <= 1, f"{label}: {waits}"
    with Rogue(c, made) as rogue:  # another request has another key
        van, _ = impatient(c, rogue.url)
        van.networks.create("n", "10.0.0.0/24")
        van.networks.create("n", "10.0.0.0/24")
        eq(len({r[2]["idempotency-key"] for r in rogue.requests}), 2)


def a_network(van):
    return vanapi.Network(van._transport, "/api/v1/networks/n", {"id": "n", "revision": 7})


def test_patience_has_an_end(c):
    with Rogue(c, problem(503, "busy", Retry_After=7)) as rogue:
        van, waits = impatient(c, rogue.url, patience_s=5)
        eq(raises(vanapi.UnavailableError, van.whoami).retry_after_s, 7)
        eq((waits, len(rogue.requests)), ([], 1), "it would be too long")
        eq(van.is_ready(), False)
        eq(len(rogue.requests), 2)
    url = f"https://127.0.0.1:{free_port()}"
    van = connect(c, url, patience_s=0.6)
    started = time.monotonic()
    error = raises(vanapi.UnreachableError, a_network(van).update, mtu=1400)
    assert 0.2 < time.monotonic() - started < 20
    eq((error.maybe_done, van.is_alive()), (False, False))
    # An earlier try may have done what the last one did not.
    for first in (drop, problem(503, "outcome_unknown")):
        with Rogue(c, first, problem(503, "busy", Retry_After=90)) as rogue:
            van, waits = impatient(c, rogue.url)
            error = raises(vanapi.UnreachableError, van.networks.create, "n", "10.0.0.0/24")
            eq((error.maybe_done, error.__cause__.word, len(waits)), (True, "busy", 1))
            rogue.steps.insert(0, first)
            raises(vanapi.UnavailableError, van.whoami)
    with Rogue(c, silence) as rogue:
        van, waits = impatient(c, rogue.url, timeout_s=2, patience_s=0)
        error = raises(vanapi.UnreachableError, van.whoami)
        assert "in time" in str(error) and url not in str(error) and waits == [], error
    pauses = [[transport_module.pause_s(n) for _ in range(50)] for n in range(30)]
    for n, some in enumerate(pauses):
        longest = min(10, 0.25 * 2 ** n)
        assert longest / 2 <= min(some) < max(some) <= longest, (n, some)


def test_failover(c):
    dead = f"https://127.0.0.1:{free_port()}"
    live = f"https://127.0.0.1:{c.port}"
    with Rogue(c, problem(503, "stopping", Retry_After=1)) as stopping, Console() as other:
        foreign = f"https://127.0.0.1:{other.port}"  # a console with another key
        van, waits = impatient(c, dead, foreign, stopping.url, live)
        eq(van.whoami()["role"], "console")
        eq((waits, len(stopping.requests)), ([], 1), "the next one is asked at once")
        van.networks.create("blue", "10.0.0.0/24")
        eq(len(stopping.requests), 1, "it stays with the one that answered")
        assert "unauthenticated" not in other.log(), "the key was shown"
        van, waits = impatient(c, dead, live)
        network = van.networks.get("blue")
        van._transport._current = 0
        eq(network.update(mtu=1400)["mtu"], 1400)
        van, waits = impatient(c, foreign, foreign)
        raises(vanapi.TlsError, van.whoami)
        eq(waits, [])
        van, waits = impatient(c, dead, foreign, patience_s=2)
        van._transport.sleep = lambda s: (waits.append(s), time.sleep(s))
        raises(vanapi.UnreachableError, van.whoami)
        assert waits, "not even one round"
        eq(next(connect(c, [dead, foreign, stopping.url, live]).watch()).type, "sync")


def test_a_lost_answer_is_asked_for_again(c):
    """The console did it, its answer is lost: the second try gets the answer of the first."""
    with Rogue(c, forward(c, lose=True), forward(c)) as rogue:
        van, waits = impatient(c, rogue.url)
        network = van.networks.create("blue", "10.0.0.0/24")
        eq((len(rogue.requests), len(waits)), (2, 1))
        eq([n["id"] for n in van.networks.list()], [network["id"]])
    with Rogue(c, forward(c), forward(c, lose=True), forward(c)) as rogue:
        van, waits = impatient(c, rogue.url)
        network = van.networks.get("blue")
        assert raises(vanapi.UnreachableError, network.update, mtu=1400).maybe_done
        network.refresh()
        eq(network["mtu"], 1400)


@options(start=False)
def test_two_consoles_of_one_mesh(c):
    """One of them is killed in the middle of the work: nothing is lost, nothing is done twice."""
    if not os.access(etcdtest.ETCD, os.X_OK):
        raise Skip("etcd-server is not installed")
    with etcdtest.Etcd() as etcd, Console(etcd.config()) as one, Console(etcd.config()) as two:
        both = [f"https://127.0.0.1:{x.port}" for x in (one, two)]
        key_file = next(x for x in (one, two) if os.path.exists(x.state_dir + "/admin.key")).state_dir
        van = connect(one, both, key_file=key_file + "/admin.key",
                      pin=";".join(x.state("tls.pin").strip() for x in (one, two)))
        watched = van.watch(["network"])
        eq(next(watched).type, "sync")
        for i in range(40):
            if i == 20:
                one.kill()
            van.networks.create(f"n{i}", "10.0.0.0/24").update(mtu=1400)
        want = [f"n{i}" for i in range(40)]
        eq(sorted(n["name"] for n in van.networks.list() if n["mtu"] == 1400), sorted(want))
        told = []
        for event in watched:
            if event.type == "created":
                told.append(event.object["name"])
            if event.type == "sync":  # the other console does not remember: what there is, is listed
                told = sorted((n["name"] for n in van.networks.list(sort="created_at")), key=want.index)
            if len(told) == 40:
                break
        eq(told, want)


# -- watch

def told(n, place=None, kind="network"):
    data = {"type": "created", "kind": kind, "id": f"net_{n}", "network": None, "object": {"name": f"n{n}"}}
    return f"data: {json.dumps(data)}\n{f'id: {place}' + chr(10) if place else ''}\n".encode()


def test_watch(c):
    van = connect(c)
    watched = van.watch(["network", "token"])
    first = next(watched)
    eq((first.type, first.object), ("sync", None))
    network = van.networks.create("blue", "10.0.0.0/24")
    van.users.create("ada", "viewer")
    token = network.issue_token()
    network.delete()
    events = [next(watched) for _ in range(2)]
    eq([(e.type, e.kind, e.id) for e in events], [("created", "network", network["id"]),
                                                  ("created", "token", token["id"])])
    eq(events[1].network, network["id"])
    watched.close()
    for place, count in ((first.place, 3), (events[0].place, 2), (events[1].place, 1)):
        want = [network["id"], token["id"], network["id"]][-count:]
        again = []
        for event in van.watch(["network", "token"], since=place, for_s=30):
            if event[:2] != ("deleted", "token"):
                again.append(event.id)
            if len(again) == len(want):  # the end of the network is the last that happened
                break
        eq(again, want)
    started = time.monotonic()
    eq([e.type for e in van.watch(for_s=0.2)], ["sync"])
    assert 0.15 < time.monotonic() - started < 20
    raises(vanapi.InvalidError, next, van.watch(["nonsense"]))
    raises(vanapi.InvalidError, next, van.watch(since="nonsense"))
    # A restarted console goes on where nothing was missed …
    watched = van.watch(["network"])
    place = next(watched).place
    c.stop()
    c.start()
    van.networks.create("red", "10.0.0.0/24")
    eq([next(watched).object["name"], watched.close()], ["red", None])
    # … but has forgotten what was before: the client says so, and goes on.
    c.stop()
    c.start()
    watched = van.watch(["network"], since=place)
    eq(next(watched).type, "sync")
    van.networks.create("green", "10.0.0.0/24")
    eq(next(watched).object["name"], "green")
    # A key that goes ends it.
    key = van.keys.create("k", "viewer")
    watched = connect(c, key_file=None, key=key["key"]).watch(["network"])
    next(watched)
    key.delete()
    raises(vanapi.AuthenticationError, next, watched)


def test_watch_is_mended(c):
    """A stream that is cut wherever it may be: each event once, in order; Last-Event-ID is the right one."""
    whole = told(1, "g-1") + told(2) + told(3, "g-2") + b":\nid: g-3\n\n" + told(4, "g-4")
    for at in list(range(0, len(whole), 13)) + [len(whole)]:
        place = re.findall(rb"id: (g-\d)\n\n", b"id: g-0\n\n" + whole[:at])[-1].decode()
        rest = whole.partition(f"id: {place}\n\n".encode())[2] if place != "g-0" else whole
        with Rogue(c, stream(b":\nid: g-0\n\n", whole[:at]), stream(rest, silent=True)) as rogue:
            van, waits = impatient(c, rogue.url)
            events = van.watch(for_s=20)
            got = [next(events) for _ in range(5)]
            eq([e.type for e in got], ["sync"] + ["created"] * 4, f"cut at {at}")
            eq([e.id for e in got[1:]], ["net_1", "net_2", "net_3", "net_4"], f"cut at {at}")
            # net_2 is told with net_3: whoever goes on after it must hear of net_3
            eq([e.place for e in got], ["g-0", "g-1", "g-1", "g-2", "g-4"], f"cut at {at}")
            events.close()
            if at < len(whole):
                eq([r[2].get("last-event-id") for r in rogue.requests], [None, place])
    with Rogue(c, stream(b"id: g-0\n\n", told(1, "g-1")), problem(410, "watch_gone"),
               problem(503, "busy", Retry_After=9),
               stream(b"id: h-7\n\n", told(2, "h-8"), b"event: gone\ndata: {}\n\n"),
               stream(b"id: h-9\n\n", told(3, "h-10")), stream(told(4, "h-11")),
               problem(401, "unauthenticated")) as rogue:
        van, waits = impatient(c, rogue.url)
        got = []
        raises(vanapi.AuthenticationError, lambda: [got.append(e) for e in van.watch(["network"])])
        eq([e.id or e.type for e in got], ["sync", "net_1", "sync", "net_2", "sync", "net_3", "net_4"])
        eq([r[2].get("last-event-id") for r in rogue.requests],
           [None, "g-1", None, None, None, "h-10", "h-11"])
        eq(max(waits), 9)
        eq({r[1] for r in rogue.requests}, {"/api/v1/watch?kind=network"})


def test_watch_of_nonsense(c):
    watch_module.LINE_MAX, line_max = 1000, watch_module.LINE_MAX
    watch_module.SILENCE_MAX_S, silence_max = 2, watch_module.SILENCE_MAX_S
    try:
        for bad in (b"data: {\n\n", b"data: []\n\n", b'data: {"type":"created"}\n\n',
                    b"data: " + b"x" * 5000):
            with Rogue(c, stream(b"id: g-0\n\n", bad)) as rogue:
                van, waits = impatient(c, rogue.url)
                raises(vanapi.ProtocolError, list, van.watch())
        with Rogue(c, answer(404, b"nothing", Content_Type="text/plain")) as rogue:
            raises(vanapi.NotFoundError, list, connect(c, rogue.url).watch())
        # One that is silent for longer than heartbeats come is given up.
        with Rogue(c, stream(b"id: g-0\n\n", silent=True), stream(told(1, "g-1"), silent=True)) as rogue:
            van, waits = impatient(c, rogue.url)
            events = van.watch()
            eq([next(events).type for _ in range(2)], ["sync", "created"])
            eq((len(rogue.requests), len(waits)), (2, 1))
            events.close()
    finally:
        watch_module.LINE_MAX, watch_module.SILENCE_MAX_S = line_max, silence_max


def test_the_readme_does_what_it_says(c):
    """Its pieces of Python, run: the copy of the nodes is right in the end, though the console is killed
    twice and nodes come, go and change meanwhile."""
    with open(PACKAGE + "/README.md", encoding="utf-8") as f:
        begin, edit, copy = re.findall(r"```python\n(.*?)```", f.read(), re.S)
    args = (f"https://127.0.0.1:{c.port}", c.state_dir + "/admin.key", c.state("tls.pin").strip())
    for word, value in zip(("https://console.example.com:8443", "admin.key", "sha256//…"), args):
        assert word in begin
        begin = begin.replace(word, value)
    exec(begin, {})
    eq(c.get("/api/v1/networks/prod").json["mtu"], 1400)
    van = connect(c)
    token = c.token("prod", uses=100)
    node = van.nodes.get(c.node(token, "boots").id)
    for _ in range(3):
        exec(edit, {"node": node})
    eq(node["labels"], {"boots": "3"})
    seen = {"van": Stopped(van)}
    reader = threading.Thread(target=exec, args=(copy, seen))
    reader.start()
    nodes = []
    for i in range(30):
        nodes.append(c.node(token, f"n{i}").id)
        if i % 3 == 2:
            van.nodes.get(nodes[i - 1]).delete()
            van.nodes.get(nodes[i]).update(labels={"i": str(i)})
        if i in (10, 20):
            c.kill()
            c.start()
    end = van.nodes.get(c.node(token, "end").id)

    def is_right():
        want = {n["id"]: (n["name"], n["labels"]) for n in van.nodes.list()}
        return want == {i: (n["name"], n["labels"]) for i, n in dict(seen.get("nodes", {})).items()}
    until(is_right, what="the copy")
    seen["van"].stopped = True
    end.update(labels={"the": "end"})
    reader.join(10)
    assert not reader.is_alive()


class Stopped:
    """A client whose watch can be ended."""

    def __init__(self, van):
        self.nodes, self.van, self.stopped = van.nodes, van, False

    def watch(self, kinds):
        for event in self.van.watch(kinds):
            if self.stopped:
                return
            yield event


# -- the examples, each as a program of its own

def environment(c, **more):
    return {**{n: v for n, v in os.environ.items() if not n.startswith("VAN_")},
            "PYTHONPATH": PACKAGE, "PYTHONDONTWRITEBYTECODE": "1", "PYTHONWARNINGS": "error",
            "VAN_CONSOLE": f"https://127.0.0.1:{c.port}", "VAN_KEY_FILE": c.state_dir + "/admin.key",
            "VAN_PIN": c.state("tls.pin").strip(), **more}


def start(c, name, *args, **more):
    return subprocess.Popen([sys.executable, f"{EXAMPLES}/{name}.py", *args], env=environment(c, **more),
                            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                            text=True)


def finish(process, code=0):
    """Its standard output, or standard error when it is to fail."""
    out, err = process.communicate(timeout=60)
    eq(process.returncode, code, out + err)
    if code == 0:
        eq(err, "")
    return out if code == 0 else err


def run(c, name, *args, code=0, **more):
    return finish(start(c, name, *args, **more), code)


@options(start=False)
def test_all_examples_are_run(_):
    with open(__file__, encoding="utf-8") as f:
        text = f.read()
    for path in glob.glob(EXAMPLES + "/*.py"):
        name = os.path.basename(path)[:-3]
        assert re.search(rf'\b(run|start)\(c, "{name}"', text), f"{name} is not run by a test"
        assert os.access(path, os.X_OK), path
        with open(PACKAGE + "/README.md", encoding="utf-8") as f:
            assert name + ".py" in f.read(), f"{name} is not told of in the README"


def test_example_ansible_inventory(c):
    c.network()
    c.network("red", "10.9.0.0/24", require_approval=True)
    blue, red = c.token(uses=5), c.token("red", uses=5)
    web, db = c.node(blue, "web"), c.node(blue, "db")
    c.node(red, "waits")
    c.patch(f"/api/v1/nodes/{web.id}", {"labels": {"role": "web.front", "env": "prod"}})
    c.patch(f"/api/v1/nodes/{db.id}", {"labels": {"env": "prod"}})
    off = c.node(blue, "off")
    c.patch(f"/api/v1/nodes/{off.id}", {"disabled": True})
    o = json.loads(run(c, "ansible_inventory", "--list"))
    eq({g: v["hosts"] for g, v in o.items() if g not in ("all", "_meta")},
       {"blue": ["db", "web"], "label_env_prod": ["db", "web"], "label_role_web_front": ["web"]})
    eq(o["all"], {"children": ["blue", "label_env_prod", "label_role_web_front"]})
    eq(sorted(o["_meta"]["hostvars"]), ["db", "web"])
    host = o["_meta"]["hostvars"]["web"]
    eq((host["ansible_host"], host["van_id"], host["van_labels"]["env"]), ("172.16.1.1", web.id, "prod"))
    eq(json.loads(run(c, "ansible_inventory", "--host", "web")), host)
    eq(json.loads(run(c, "ansible_inventory", "--host", "none")), {})
    eq(json.loads(run(c, "ansible_inventory", "--list", VAN_INVENTORY_NETWORK="red")),
       {"_meta": {"hostvars": {}}, "all": {"children": []}})


def test_example_autoscale_group(c):
    c.network()
    path = c.dir + "/web.token"
    args = ("web", "-n", "blue", "--count", "2", "--token-file", path, "--away", "60", "--wait")
    process = start(c, "autoscale_group", *args, "50")
    until(lambda: os.path.exists(path) and os.path.getsize(path) > 10, what="the token")
    eq(os.stat(path).st_mode & 0o777, 0o600)
    with open(path, encoding="ascii") as f:
        token = f.read().strip()
    c.node(name="other")
    nodes = [c.node(token, "web") for _ in range(2)]
    out = finish(process)
    eq([line.split() for line in out.splitlines()], [["web", "172.16.1.2/24"], ["web-2", "172.16.1.3/24"]])
    for node in nodes:
        o = c.get(f"/api/v1/nodes/{node.id}").json
        eq((o["labels"], o["ephemeral_s"]), ({"group": "web"}, 60))
    eq(c.get("/api/v1/nodes/other").json["labels"], {})
    assert token not in out
    process = start(c, "autoscale_group", *args, "2")
    until(lambda: open(path, encoding="ascii").read().strip() not in ("", token), what="another token")
    with open(path, encoding="ascii") as f:
        token = f.read().strip()
    c.node(token, "web")
    assert "1 of 2 have not come" in finish(process, code=1)
    Agent(c).enroll(token, "late").want(403, "token_revoked")


def test_example_relabel_nodes(c):
    c.network()
    token = c.token(uses=9)
    for name in ("web-1", "web-2", "db-1", "fra-web-3"):
        c.node(token, name)
    c.patch("/api/v1/nodes/web-1", {"labels": {"old": "x", "keep": "y"}})
    args = (r"^web-(\d+)$", "--rename", r"fra-web-\1", "--set", "site=fra", "--unset", "old")
    dry = run(c, "relabel_nodes", *args, "--dry-run")
    names = {n["name"] for n in c.get("/api/v1/nodes").json["items"]}
    eq(names, {"web-1", "web-2", "db-1", "fra-web-3"})
    eq(run(c, "relabel_nodes", *args), dry)
    eq([line.split()[0] for line in dry.splitlines()], ["web-1", "web-2"])
    eq({n["name"]: n["labels"] for n in c.get("/api/v1/nodes").json["items"]},
       {"fra-web-1": {"keep": "y", "site": "fra"}, "fra-web-2": {"site": "fra"}, "db-1": {}, "fra-web-3": {}})
    eq(run(c, "relabel_nodes", *args), "")
    assert "name_taken" in run(c, "relabel_nodes", "^db-1$", "--rename", "fra-web-3", code=1)


def test_example_backup_networks(c):
    world = World(c)
    every_resource(world)
    c.network("red", "10.9.0.0/24", labels={"env": "ü"})
    folder = c.dir + "/backup"
    names = sorted([world.net()["name"], "red"])
    eq(run(c, "backup_networks", folder), "".join(f"written {folder}/{n}.json\n" for n in names))
    eq(sorted(os.listdir(folder)), [n + ".json" for n in names])
    eq((run(c, "backup_networks", folder), run(c, "backup_networks", folder, "--check")), ("", ""))
    c.patch("/api/v1/networks/red", {"mtu": 1500})
    process = start(c, "backup_networks", folder, "--check")
    out, _ = process.communicate(timeout=60)
    eq((process.returncode, out), (1, "red.json: update network red\n"))
    with open(folder + "/red.json", encoding="utf-8") as f:
        connect(c).topologies.apply(json.load(f))
    eq(run(c, "backup_networks", folder, "--check"), "")
    eq(c.get("/api/v1/networks/red").json["mtu"], 1360)


def test_example_wait_online(c):
    c.network()
    token = c.token(uses=9)
    args = ("blue", "--count", "2", "--interval", "0.05", "--timeout")
    assert "0 of 2 online" in run(c, "wait_online", *args, "0", code=1)
    one = c.node(token, "one")
    process = start(c, "wait_online", *args, "50")
    two = c.node(token, "two")
    for node in (one, two):
        node.report().want(200)
    eq(finish(process), "2 online: one two\n")
    c.stop()  # after a restart, no node was heard of
    c.start()
    err = run(c, "wait_online", *args, "0.2", code=1)
    assert err.endswith("online; not heard of: one two\n") and "0 of 2" in err, err


def test_example_alarm(c):
    c.network()
    token = c.token(uses=9)
    state, note = c.dir + "/alarm.json", c.dir + "/note"
    with open(c.dir + "/page", "w", encoding="utf-8") as f:
        f.write(f'#!/bin/sh\nprintf "%s\\n" "$VAN_EVENT" >>{note}\ncat >/dev/null\n')
    os.chmod(c.dir + "/page", 0o755)
    args = ("--severity", "info", "--state", state, "--exec", c.dir + "/page")
    told = []

    def alarm(expected):
        process = start(c, "alarm", *args)
        try:
            until(lambda: os.path.exists(state), what="the watch")
            yield
            told.extend(json.loads(process.stdout.readline()) for _ in range(expected))
            until(lambda: told[-1]["id"] in open(state, encoding="utf-8").read(), what="its note")
        finally:
            process.terminate()
            process.communicate(timeout=20)
    for _ in alarm(2):
        c.node(token, "one")
        c.node(token, "two")
    c.node(token, "three")  # while nobody looks
    for _ in alarm(2):
        c.node(token, "four")
    c.node(token, "five")
    c.stop()  # it forgets what was told
    c.start()
    for _ in alarm(2):
        c.node(token, "six")
    names = ["one", "two", "three", "four", "five", "six"]
    eq([e["text"].split()[0] for e in told], names)
    with open(note, encoding="utf-8") as f:
        eq([line.split()[0] for line in f], names)
    eq([e["severity"] for e in told], ["info"] * 6)


def test_example_traffic_report(c):
    w = World(c)
    agent = w.node()
    agent.report(stats={
        "instance": "00000000000000aa", "tick": 10, "seconds": 10,
        "networks": [{"id": w.net()["id"], "rx_bytes": 7000, "tx_bytes": 90, "rx_packets": 70,
                      "tx_packets": 9}]}).want(200)
    c.network("red", "10.9.0.0/24")
    for more in ((), ("-n", w.net()["name"])):
        rows = list(csv.DictReader(io.StringIO(run(
            c, "traffic_report", "--hours", "0.1", "--resolution", "1s", *more))))
        eq({(r["network"], r["node"]) for r in rows}, {(w.net()["name"], agent.name)})
        eq([sum(int(r[m] or 0) for r in rows) for m in ("rx_bytes", "tx_bytes", "rx_packets", "tx_packets")],
           [7000, 90, 70, 9])
        assert all(re.fullmatch(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ", r["time"]) for r in rows)
    eq(run(c, "traffic_report", "-n", "red").splitlines(),
       ["time,network,node,rx_bytes,tx_bytes,rx_packets,tx_packets"])


def test_it_installs(c):
    """By pip, from a copy of the folder, without the network; and is what it should be."""
    for name in ("pip", "setuptools", "wheel"):
        if not importlib.util.find_spec(name):
            raise Skip(f"python3-{name} is not installed")
    source, there = c.dir + "/source", c.dir + "/there"
    shutil.copytree(PACKAGE, source, ignore=shutil.ignore_patterns("__pycache__"))
    subprocess.run([sys.executable, "-m", "pip", "-q", "install", "--no-build-isolation", "--no-deps",
                    "--no-index", "--root-user-action=ignore", "--target", there, source],
                   check=True, timeout=60)
    done = subprocess.run(
        [sys.executable, "-c", "import vanapi, importlib.metadata as m\n"
         "with vanapi.connect() as van:\n"
         "    print(vanapi.__file__, m.version('vanapi'), van.whoami()['role'])"],
        env=environment(c, PYTHONPATH=there), cwd="/", check=True, capture_output=True, text=True,
        timeout=60)
    eq(done.stdout.split(), [f"{there}/vanapi/__init__.py", vanapi.__version__, "console"])
    assert os.path.exists(there + "/vanapi/py.typed")
