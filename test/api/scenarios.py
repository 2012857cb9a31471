# SPDX-License-Identifier: Apache-2.0
"""One good call of every operation, for the tests that go through all of them (test_openapi.py,
test_authz.py). A scenario makes in its World what the call needs, and returns the call; sent once, the
call succeeds. It must work in any organization, and again in the same one.

    @scenario("createNetwork")
    def _(w):
        return w.call("POST", "/api/v1/networks", {"name": w.name("net"), "cidr": "10.0.0.0/24"})
"""
import copy
import itertools
import json

from consoletest import Agent

SCENARIOS = {}
NUMBERS = itertools.count(1)


def scenario(operation_id):
    def register(function):
        assert operation_id not in SCENARIOS, operation_id
        SCENARIOS[operation_id] = function
        return function
    return register


class Call:
    """A request that can be sent, as it is or with changes."""

    def __init__(self, world, method, path, body=None, agent=None):
        self.world, self.method, self.path, self.body, self.agent = world, method, path, body, agent
        self.key = None if agent else "admin"
        self.headers = {}
        self.source = None  # the address to come from
        if method in ("PATCH", "DELETE") and not agent:
            self.headers["If-Match"] = "*"
        if world.org and not agent:
            self.headers["VAN-Organization"] = world.org

    def but(self, headers=None, **changes):
        """The same call with other attributes, headers being merged; a header of None is left out."""
        other = copy.copy(self)
        other.headers = {k: v for k, v in {**self.headers, **(headers or {})}.items()
                         if v is not None}
        for name, value in changes.items():
            assert hasattr(other, name), name
            setattr(other, name, value)
        return other

    def send(self, c):
        if not self.agent:
            return c.call(self.method, self.path, self.body, key=self.key, headers=self.headers,
                          source=self.source)
        data = None
        if self.body is not None:
            data = self.body if isinstance(self.body, bytes) else json.dumps(self.body).encode()
        node = self.agent.id or "enroll"
        header = self.agent.header(self.method, self.path, data, node,
                                   self.agent.console_id if self.agent.id else "")
        return c.call(self.method, self.path, data, key=None,
                      headers={"Authorization": header, **self.headers})


class World:
    """What scenarios make, in one organization (its id; None: the default one)."""

    def __init__(self, console, org=None):
        self.c, self.org = console, org
        self.network = self.agent = None

    def name(self, prefix):
        return f"{prefix}-{next(NUMBERS)}"

    def call(self, method, path, body=None, agent=None):
        return Call(self, method, path, body, agent)

    def do(self, method, path, body=None, status=None):
        """A call that must succeed; the JSON of its answer."""
        answer = self.call(method, path, body).send(self.c)
        answer.want(status or (201 if method == "POST" else 200))
        return answer.json

    def get(self, path):
        return self.do("GET", path)

    def post(self, path, body=None):
        return self.do("POST", path, body)

    def patch(self, path, body):
        return self.do("PATCH", path, body)

    # -- what many need

    def net(self):
        """A network, made once."""
        if not self.network:
            self.network = self.post("/api/v1/networks", {
                "name": self.name("net"), "cidr": "10.0.0.0/16", "labels": {"env": "test"}})
        return self.network

    def net_path(self, *rest):
        return "/".join(["/api/v1/networks", self.net()["name"], *rest])

    def token(self, **more):
        return self.post(self.net_path("tokens"), more)

    def node(self):
        """A node in the network, made once; its Agent."""
        if not self.agent:
            self.agent = self.new_node()
        return self.agent

    def new_node(self):
        agent = Agent(self.c)
        agent.enroll(self.token()["token"], self.name("node")).want(201)
        return agent

    def user(self, **more):
        return self.post("/api/v1/users", {"name": self.name("user"), "role": "operator", **more})

    def key(self, **more):
        return self.post("/api/v1/keys", {"name": self.name("key"), "role": "viewer", **more})

    def everything(self):
        """Two or more of what can be listed."""
        for _ in range(3):
            self.network = None
            self.net()
            self.token()
            self.new_node()
            self.new_node()
            self.key(user=self.user()["id"], ttl_s=1000)
        for extra in EVERYTHING:
            extra(self)


EVERYTHING = []  # functions that make what further lists need, called with the World

# -- the console

for _operation, _path in (("healthz", "/healthz"), ("readyz", "/readyz"),
                          ("openapi", "/api/openapi.json")):
    def _open(w, path=_path):
        call = w.call("GET", path)
        call.key = None
        return call
    SCENARIOS[_operation] = _open


@scenario("getConsole")
def _(w):
    return w.call("GET", "/api/v1/console")


@scenario("whoami")
def _(w):
    return w.call("GET", "/api/v1/whoami")


# -- organizations, users, keys

@scenario("listOrganizations")
def _(w):
    return w.call("GET", "/api/v1/organizations")


@scenario("createOrganization")
def _(w):
    return w.call("POST", "/api/v1/organizations", {"name": w.name("org"), "description": "x"})


@scenario("getOrganization")
def _(w):
    return w.call("GET", f"/api/v1/organizations/{w.org or 'default'}")


@scenario("changeOrganization")
def _(w):
    return w.call("PATCH", f"/api/v1/organizations/{w.org or 'default'}",
                  {"description": w.name("d")})


@scenario("deleteOrganization")
def _(w):
    made = w.post("/api/v1/organizations", {"name": w.name("org")})
    return w.call("DELETE", f"/api/v1/organizations/{made['id']}")


@scenario("listUsers")
def _(w):
    w.user()
    return w.call("GET", "/api/v1/users")


@scenario("createUser")
def _(w):
    return w.call("POST", "/api/v1/users", {"name": w.name("user"), "role": "admin",
                                            "full_name": "Ada Example", "disabled": True})


@scenario("getUser")
def _(w):
    return w.call("GET", f"/api/v1/users/{w.user()['id']}")


@scenario("changeUser")
def _(w):
    return w.call("PATCH", f"/api/v1/users/{w.user()['name']}",
                  {"role": "viewer", "full_name": None, "disabled": True})


@scenario("deleteUser")
def _(w):
    user = w.user()
    w.key(user=user["id"])
    return w.call("DELETE", f"/api/v1/users/{user['id']}")


@scenario("listKeys")
def _(w):
    w.key(user=w.user()["name"], ttl_s=60)
    return w.call("GET", "/api/v1/keys")


@scenario("createKey")
def _(w):
    return w.call("POST", "/api/v1/keys", {"name": "a name", "role": "operator",
                                           "user": w.user()["id"],
                                           "expires_at": "2199-01-01T00:00:00Z"})


@scenario("getKey")
def _(w):
    return w.call("GET", f"/api/v1/keys/{w.key()['id']}")


@scenario("deleteKey")
def _(w):
    return w.call("DELETE", f"/api/v1/keys/{w.key()['id']}")


# -- what happens

@scenario("listAudit")
def _(w):
    w.net()
    return w.call("GET", "/api/v1/audit")


@scenario("listEvents")
def _(w):
    w.node()
    return w.call("GET", "/api/v1/events")


# A stream has no end: it is asked for without a body to read (test_watch.py reads them).
@scenario("watch")
def _(w):
    return WatchCall(w, "GET", "/api/v1/watch")


class WatchCall(Call):
    def send(self, c):
        headers = dict(self.headers)
        if self.key is not None:
            headers["Authorization"] = "Bearer " + (c.key if self.key == "admin" else self.key)
        connection = c.connect(20, self.source)
        try:
            connection.request("GET", self.path, self.body, headers=headers)
            response = connection.getresponse()
            body = b""
            if response.status >= 400:
                body = response.read()
            else:
                while not body.endswith(b"\n\n"):  # the first block is there at once
                    body += response.read1(1)
            return c.answer(response.status, response.headers, body)
        finally:
            connection.close()


# -- networks

@scenario("listNetworks")
def _(w):
    w.net()
    return w.call("GET", "/api/v1/networks")


@scenario("createNetwork")
def _(w):
    return w.call("POST", "/api/v1/networks", {
        "name": w.name("net"), "cidr": "172.16.1.0/24", "cidr6": "fd00:1::/64",
        "encryption": "integrity", "mtu": 1400, "require_approval": True,
        "labels": {"env": "test", "a.b/c": ""}})


@scenario("getNetwork")
def _(w):
    return w.call("GET", w.net_path())


@scenario("changeNetwork")
def _(w):
    return w.call("PATCH", w.net_path(), {"mtu": 1500, "name": w.name("net"),
                                          "labels": {"env": None, "new": "x"}})


@scenario("deleteNetwork")
def _(w):
    w.node()
    return w.call("DELETE", w.net_path())


# -- tokens

@scenario("listTokens")
def _(w):
    w.token()
    return w.call("GET", "/api/v1/tokens")


@scenario("issueToken")
def _(w):
    return w.call("POST", w.net_path("tokens"), {"uses": 3, "ttl_s": 60, "ephemeral_s": 600})


@scenario("getToken")
def _(w):
    return w.call("GET", f"/api/v1/tokens/{w.token()['id']}")


@scenario("revokeToken")
def _(w):
    return w.call("DELETE", f"/api/v1/tokens/{w.token()['id']}")


# -- nodes

@scenario("listNodes")
def _(w):
    w.node()
    return w.call("GET", "/api/v1/nodes")


@scenario("getNode")
def _(w):
    return w.call("GET", f"/api/v1/nodes/{w.node().id}")


@scenario("changeNode")
def _(w):
    return w.call("PATCH", f"/api/v1/nodes/{w.node().name}",
                  {"name": w.name("renamed"), "disabled": True, "labels": {"rack": "4"}})


@scenario("deleteNode")
def _(w):
    return w.call("DELETE", f"/api/v1/nodes/{w.node().id}")


@scenario("rekeyNode")
def _(w):
    return w.call("POST", f"/api/v1/nodes/{w.node().id}/rekey", {"ttl_s": 60})


# -- statistics

def counted(w):
    """A node that has told of traffic, drops and a peer."""
    agent, peer = w.node(), w.new_node()
    counts = {"rx_bytes": 5000, "tx_bytes": 100, "rx_packets": 50, "tx_packets": 1}
    agent.report(stats={
        "instance": f"{next(NUMBERS):016x}", "tick": 10, "seconds": 10, "drops": {"runt": 1},
        "networks": [{"id": w.net()["id"], **counts}],
        "peers": [{"id": peer.id, "sent": 2, "answered": 1, "rtt_us": 900}]}).want(200)
    return agent


@scenario("getNetworkStats")
def _(w):
    counted(w)
    return w.call("GET", w.net_path("stats?resolution=1m&metrics=rx_bytes,tx_bytes"))


@scenario("getMemberStats")
def _(w):
    return w.call("GET", w.net_path("nodes", counted(w).id, "stats"))


@scenario("getNodeStats")
def _(w):
    return w.call("GET", f"/api/v1/nodes/{counted(w).id}/stats?include=networks,peers,drops")


@scenario("metrics")
def _(w):
    counted(w)
    return w.call("GET", "/metrics")


# -- members

@scenario("listMembers")
def _(w):
    w.node()
    return w.call("GET", w.net_path("nodes"))


@scenario("addMember")
def _(w):
    node = w.node()
    w.network = None  # another one
    return w.call("POST", w.net_path("nodes"), {"node": node.name, "address": "10.0.0.77"})


@scenario("getMember")
def _(w):
    return w.call("GET", w.net_path("nodes", w.node().name))


@scenario("changeMember")
def _(w):
    return w.call("PATCH", w.net_path("nodes", w.node().id),
                  {"address": "10.0.0.99", "name": w.name("renamed"), "approved": True})


@scenario("removeMember")
def _(w):
    return w.call("DELETE", w.net_path("nodes", w.node().id))


# -- reservations, gateways, floating IPs

def some_address():
    n = next(NUMBERS)
    return f"10.0.{100 + n // 250}.{1 + n % 250}"


def some_prefix():
    n = next(NUMBERS)
    return f"10.{16 + n // 256 % 200}.{n % 256}.0/24"


def reservation(w):
    return w.post(w.net_path("reservations"), {"address": some_address(), "name": w.name("held")})


def gateway(w, **more):
    return w.post(w.net_path("gateways"), {
        "node": w.node().name, "prefixes": [some_prefix()], **more})


def floating_ip(w, **more):
    return w.post(w.net_path("floating-ips"), {"address": some_address(), **more})


def cloak_rule(w):
    return w.post(w.net_path("cloak", "rules"), {
        "action": "allow", "protocol": "tcp", "ports": str(10000 + next(NUMBERS))})


def every_resource(w):
    for _ in range(3):
        reservation(w)
        gateway(w)
        floating_ip(w, name=w.name("fip"), candidates=[w.node().id], assigned=w.node().id)
        cloak_rule(w)
    report = {"port": 4826, "local": [], "advertise": [], "applied": None,
              "external": [{"cidr": some_prefix(), "ifname": "eth1"}]}
    w.node().call("POST", "/agent/v1/report", report).want(200)


EVERYTHING.append(every_resource)


@scenario("listReservations")
def _(w):
    reservation(w)
    return w.call("GET", w.net_path("reservations"))


@scenario("createReservation")
def _(w):
    return w.call("POST", w.net_path("reservations"), {
        "address": some_address(), "node": w.name("later"), "note": "for later"})


@scenario("getReservation")
def _(w):
    return w.call("GET", w.net_path("reservations", reservation(w)["address"]))


@scenario("changeReservation")
def _(w):
    return w.call("PATCH", w.net_path("reservations", reservation(w)["id"]),
                  {"name": w.name("held"), "note": "moved", "address": some_address()})


@scenario("deleteReservation")
def _(w):
    return w.call("DELETE", w.net_path("reservations", reservation(w)["id"]))


@scenario("listGatewayCandidates")
def _(w):
    every_resource(w)
    return w.call("GET", w.net_path("gateway-candidates"))


@scenario("listGateways")
def _(w):
    gateway(w)
    return w.call("GET", w.net_path("gateways"))


@scenario("createGateway")
def _(w):
    return w.call("POST", w.net_path("gateways"), {
        "name": w.name("gw"), "node": w.node().name, "prefixes": ["0.0.0.0/0"],
        "mode": "nat", "metric": 1000 + next(NUMBERS), "enabled": True, "note": "x",
        "health": {"kind": "tcp", "target": "198.51.100.1", "port": 443, "interval_s": 10,
                   "failures": 2}})


@scenario("getGateway")
def _(w):
    made = gateway(w, health={"kind": "icmp", "target": "198.51.100.1"}, prefixes=["0.0.0.0/0"])
    return w.call("GET", w.net_path("gateways", made["name"]))


@scenario("changeGateway")
def _(w):
    return w.call("PATCH", w.net_path("gateways", gateway(w)["id"]),
                  {"metric": 1000 + next(NUMBERS), "mode": "nat", "enabled": False,
                   "prefixes": [some_prefix()]})


@scenario("deleteGateway")
def _(w):
    return w.call("DELETE", w.net_path("gateways", gateway(w)["id"]))


@scenario("listFloatingIps")
def _(w):
    floating_ip(w)
    return w.call("GET", w.net_path("floating-ips"))


@scenario("createFloatingIp")
def _(w):
    return w.call("POST", w.net_path("floating-ips"), {
        "name": w.name("vip"), "address": some_address(), "candidates": [w.node().name],
        "assigned": w.node().id, "vrid": 7, "note": "the database"})


@scenario("getFloatingIp")
def _(w):
    return w.call("GET", w.net_path("floating-ips", floating_ip(w)["address"]))


@scenario("changeFloatingIp")
def _(w):
    return w.call("PATCH", w.net_path("floating-ips", floating_ip(w)["id"]),
                  {"assigned": w.node().name, "candidates": None})


@scenario("deleteFloatingIp")
def _(w):
    return w.call("DELETE", w.net_path("floating-ips", floating_ip(w)["id"]))


# -- the cloak

@scenario("getCloak")
def _(w):
    cloak_rule(w)
    return w.call("GET", w.net_path("cloak"))


@scenario("changeCloak")
def _(w):
    return w.call("PATCH", w.net_path("cloak") + "?confirm_within_s=600",
                  {"state": "on", "scope": "all", "keep_ssh": False})


@scenario("confirmCloak")
def _(w):
    w.network = None  # one whose cloak is off
    w.patch(w.net_path("cloak"), {"state": "on"})
    return w.call("POST", w.net_path("cloak", "confirm"))


@scenario("listCloakRules")
def _(w):
    cloak_rule(w)
    return w.call("GET", w.net_path("cloak", "rules"))


@scenario("createCloakRule")
def _(w):
    return w.call("POST", w.net_path("cloak", "rules"), {
        "action": "allow", "protocol": "tcp", "ports": "443", "source": some_prefix(),
        "interface": "eth0", "node": w.node().name, "priority": 10, "note": "the office"})


@scenario("getCloakRule")
def _(w):
    return w.call("GET", w.net_path("cloak", "rules", cloak_rule(w)["id"]))


@scenario("changeCloakRule")
def _(w):
    return w.call("PATCH", w.net_path("cloak", "rules", cloak_rule(w)["id"]),
                  {"source": some_prefix(), "note": None, "priority": None})


@scenario("deleteCloakRule")
def _(w):
    return w.call("DELETE", w.net_path("cloak", "rules", cloak_rule(w)["id"]))


# -- topology

@scenario("exportTopology")
def _(w):
    every_resource(w)
    return w.call("GET", w.net_path("topology"))


@scenario("importTopology")
def _(w):
    every_resource(w)
    document = w.get(w.net_path("topology"))
    return w.call("POST", "/api/v1/topologies?name=" + w.name("copy"), document)


# -- agents

@scenario("enroll")
def _(w):
    agent = Agent(w.c)
    return w.call("POST", "/agent/v1/enroll",
                  agent.enroll_body(w.token()["token"], w.name("node")), agent=agent)


@scenario("getNetmap")
def _(w):
    return w.call("GET", "/agent/v1/netmap", agent=w.node())


@scenario("report")
def _(w):
    return w.call("POST", "/agent/v1/report", {
        "port": 4826, "local": ["192.0.2.7"], "advertise": [], "applied": None,
        "version": "0.1.0", "networks": []}, agent=w.node())


@scenario("leave")
def _(w):
    return w.call("DELETE", f"/agent/v1/networks/{w.net()['id']}", agent=w.node())
