# SPDX-License-Identifier: Apache-2.0
"""What nodes hear of gateways, floating IPs and the cloak, keep, and show; nodes that are disabled,
approved, moved, given new keys, and ephemeral.

      console ──┐
   a ────────[ sw ]──────── b         a is also on 10.20.0.0/24
"""

import shutil

from vannet import Mesh, check, cut_from_console, wait_until


def policy(node):
    n = node.network("lan")
    return (n["gateways"], n["gateways_own"], n["floating_ips"], n["cloak"], n["cloak_rules"])


def test_nodes_keep_what_they_are_told(net):
    m = Mesh(net, names=("a", "b"))
    m.a.ns.ip("link", "add", "lan0", "type", "bridge")
    m.a.ns.ip("addr", "add", "10.20.0.1/24", "dev", "lan0")
    m.a.ns.ip("link", "set", "lan0", "up")
    m.connect()
    check(policy(m.b) == (0, 0, 0, "off", 0), "nothing yet: %s" % (policy(m.b),))

    def offers():
        items = m.console.json("gateway", "candidates", "-n", "lan")["items"]
        return {x["cidr"]: x["ifname"] for i in items if i["node_name"] == "a" for x in i["external"]}
    wait_until(lambda: offers().get("10.20.0.0/24") == "lan0", 20, "a's other network among the candidates")
    check("172.16.1.0/24" not in offers(), "the overlay is no external network: %s" % offers())

    m.console.vanctl("gateway", "add", "a", "-n", "lan", "--prefix", "10.20.0.0/24")
    m.console.vanctl("fip", "create", "172.16.1.100", "-n", "lan", "--candidates", "a,b", "--assign", "b")
    m.console.vanctl("cloak", "allow", "tcp/443", "-n", "lan")
    m.console.vanctl("cloak", "allow", "tcp/22", "-n", "lan", "--node", "b")
    m.console.vanctl("cloak", "on", "-n", "lan", "--confirm-within", "10m")
    wait_until(lambda: policy(m.a) == (1, 1, 1, "pending", 1), 5, "a knows, and that it is the gateway")
    wait_until(lambda: policy(m.b) == (1, 0, 1, "pending", 2), 5, "b knows, and has a rule of its own")
    m.console.vanctl("cloak", "confirm", "-n", "lan")
    wait_until(lambda: policy(m.b) == (1, 0, 1, "on", 2), 5, "it is confirmed")
    # It is kept: after a restart without the console, too.
    cut_from_console(m.b)
    m.b.restart()
    wait_until(lambda: policy(m.b) == (1, 0, 1, "on", 2), 10, "b knows it from its disk")
    cut_from_console(m.b, cut=False)
    m.console.vanctl("gateway", "remove", "a", "-n", "lan")
    m.console.vanctl("cloak", "off", "-n", "lan")
    wait_until(lambda: policy(m.b) == (0, 0, 1, "off", 0), 20, "b is told that it is over")
    # Shown, and not acted on.
    check("10.20.0.0/24" not in m.b.ns.run("ip", "route").stdout, "no route")
    m.a.ns.ping(m.b.ip4())


def test_reserved_addresses(net):
    m = Mesh(net, names=("a",))
    m.console.vanctl("reservation", "create", "172.16.1.2-172.16.1.9", "-n", "lan")
    m.console.vanctl("reservation", "create", "172.16.1.50", "-n", "lan", "--node", "db")
    m.add("web")
    m.add("db")
    check((m.web.ip4(), m.db.ip4()) == ("172.16.1.10", "172.16.1.50"), "addresses: %s" % ([m.web.ip4(), m.db.ip4()],))
    done = m.console.vanctl("node", "set", "web", "-n", "lan", "--address", "172.16.1.2", ok=False)
    check(done.returncode == 6, "excluded: %s" % done)
    m.connect()
    m.web.ns.ping("172.16.1.50")


def names(node):
    return sorted(n["name"] for n in node.status()["networks"])


def test_disabled_node_is_cut_off(net):
    m = Mesh(net)
    m.connect()
    address = m.c.ip4()
    m.console.vanctl("node", "disable", "c")
    for node in (m.a, m.b):
        wait_until(lambda: "c" not in node.peers(), 5, "%s does not know c any more" % node.name)
    wait_until(lambda: names(m.c) == [], 5, "c is in no network")
    check(not m.a.ns.pings(address), "c does not answer")
    m.a.ns.ping(m.b.ip4())
    check(m.console.json("node", "show", "c")["disabled"], "the console says so")
    m.console.vanctl("node", "enable", "c")
    wait_until(lambda: names(m.c) == ["lan"] and m.c.ip4() == address, 5, "c is back, with its address")
    m.converge()
    m.a.ns.ping(address)


def test_who_joins_waits_for_approval(net):
    m = Mesh(net, names=("a",))
    m.console.vanctl("network", "set", "lan", "--require-approval", "yes")
    m.add("b", join=False)
    waiting = m.b.join(m.console.token("lan"), ok=False, wait="3s")
    check(waiting.returncode == 7, "it waits in vain: %s" % waiting)
    check(names(m.b) == [] and "b" not in m.a.peers(), "nobody hears of it")
    m.console.vanctl("node", "approve", "b", "-n", "lan")
    wait_until(lambda: names(m.b) == ["lan"], 10, "it is let in")
    m.converge()
    m.a.ns.ping(m.b.ip4())


def test_node_moves_to_another_network(net):
    m = Mesh(net, names=("a", "b"))
    m.connect()
    m.console.network("other", "172.16.2.0/24")
    m.console.vanctl("node", "add", "a", "-n", "other")
    m.console.vanctl("node", "move", "b", "-n", "lan", "--to", "other", "--address", "172.16.2.77")
    wait_until(lambda: names(m.b) == ["other"], 10, "b is in the other network alone")
    check(m.b.ip4("other") == "172.16.2.77", "b's address: %s" % m.b.ip4("other"))
    wait_until(lambda: sorted(names(m.a)) == ["lan", "other"] and "b" in m.a.peers()
               and m.a.peers()["b"]["networks"] == ["other"], 10, "a knows it there")
    m.a.ns.ping("172.16.2.77")
    hosts = m.console.vanctl("hosts", "-n", "other").stdout
    check("172.16.2.77\tb\n" in hosts, "hosts: %s" % hosts)


def test_node_gets_new_keys(net):
    m = Mesh(net, names=("a", "b"))
    m.connect()
    before, node_id = m.console.json("node", "show", "b"), m.b.status()["node"]["id"]
    address, mac = m.b.ip4(), m.b.mac()
    # The machine is installed anew.
    m.b.stop()
    shutil.rmtree(m.b.state)
    m.b.start()
    check(names(m.b) == [], "it knows nothing any more")
    m.b.join(m.console.token("lan"))
    check(m.b.status()["node"]["name"] == "b-2", "with a token it is another one: %s" % m.b.status()["node"])
    m.console.vanctl("node", "delete", "b-2")
    wait_until(lambda: m.b.status()["node"] is None, 10, "which is removed")
    token = m.console.vanctl("node", "rekey", "b", "--ttl", "5m").stdout.strip()
    m.b.join(token)
    after = m.console.json("node", "show", "b")
    check((m.b.status()["node"]["id"], m.b.status()["node"]["name"]) == (node_id, "b"), "it is the same one")
    check((m.b.ip4(), m.b.mac()) == (address, mac), "with what it had")
    check(after["public_key"] != before["public_key"], "but for its key")
    wait_until(lambda: m.a.ns.pings(address), 10, "a reaches it")
    m.add("c", join=False)
    again = m.c.join(token, ok=False)
    check(again.returncode == 4, "the token is for once: %s" % again)


def test_long_ephemeral_node_is_deleted(net):
    m = Mesh(net, names=("a", "b"))
    token = m.console.vanctl("token", "issue", "lan", "--ephemeral", "30s").stdout.strip()
    m.add("worker", join=False)
    m.worker.join(token)
    m.converge()
    m.a.ns.ping(m.worker.ip4())
    m.worker.kill()
    wait_until(lambda: "worker" not in m.a.peers(), 60, "it is forgotten")
    gone = m.console.vanctl("node", "show", "worker", ok=False)
    check(gone.returncode == 5, "the console has it no more: %s" % gone)
    wait_until(lambda: any("worker" in e["text"] for e in m.console.json("event", "list", "--since", "20s")["items"]), 5, "and says so")
    m.a.ns.ping(m.b.ip4())
