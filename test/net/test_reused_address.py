# SPDX-License-Identifier: Apache-2.0
"""An address that was one node's and is another's now.

     console ──┐
   a ───────[ sw ]─────── b, c
"""

import json

from vannet import Mesh, check, wait_until


def neighbours(node):
    """What the kernel of a node believes: {address: MAC}."""
    rows = node.ns.run("ip", "-j", "neigh", "show", "dev", "vcider0").stdout
    return {row["dst"]: row.get("lladdr") for row in json.loads(rows or "[]")}


def test_removed_and_given_to_another(net):
    m = Mesh(net, names=("a", "b"))
    m.connect()
    address, address6 = m.b.ip4(), m.b.ip6()
    m.a.ns.ping(address6)
    old = m.b.mac()
    check(neighbours(m.a)[address] == old, "a's kernel knows b: %s" % neighbours(m.a))
    m.console.vanctl("node", "delete", "b")
    wait_until(lambda: "b" not in m.a.peers(), 10, "a knows that b was removed")
    del m.nodes["b"]
    c = m.add("c")
    check((c.ip4(), c.ip6()) == (address, address6), "c has the addresses that b had")
    wait_until(lambda: "c" in m.a.peers(), 10, "a knows c")
    check(neighbours(m.a)[address] == c.mac(), "a's kernel has c's MAC: %s" % neighbours(m.a))
    for target in (address, address6):
        m.a.ns.ping(target, count=1)


def test_swapped_by_the_console(net):
    """Both nodes stay; the MACs do, too."""
    m = Mesh(net, names=("a", "b", "c"))
    m.connect()
    b, c = m.b.ip4(), m.c.ip4()
    macs = {"b": m.b.mac(), "c": m.c.mac()}
    for node, address in (("b", "172.16.1.77"), ("c", b), ("b", c)):
        m.console.vanctl("node", "set", node, "-n", "lan", "--address", address)
    wait_until(lambda: (m.b.ip4(), m.c.ip4()) == (c, b), 10, "they have each other's addresses")
    wait_until(lambda: (neighbours(m.a)[b], neighbours(m.a)[c]) == (macs["c"], macs["b"]), 2,
               lambda: "a's kernel knows: %s" % neighbours(m.a))
    m.a.ns.ping(b, count=1)
    m.a.ns.ping(c, count=1)
