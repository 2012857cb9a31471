# SPDX-License-Identifier: Apache-2.0
"""One identity on two machines: a's state directory is copied to another machine, and vand started there.

     console ──┐
   a ───────[ sw ]─────── b
   copy ───────┘

Which of the two answers b is seen by the TTL of the answers: the copy's machine has another default.
"""

import re
import shutil

from test_consoles import TwoConsoles, at
from vannet import Mesh, Namespace, Node, check, cut_from_console, holds_for, wait_until

TTL, TTL_COPY = 64, 33
REFUSED = "nothing is forwarded: this node's identity was in use on two machines at once"


class Clones(Mesh):
    def __init__(self, net, policy):
        self.policy = policy
        super().__init__(net, names=("a", "b"), v6=False)
        self.connect()
        self.pings = self.b.ns.start("pings", "ping", "-n", "-O", "-i", "0.1", self.a.ip4())

    def add_console(self, role="console", host=100, **options):
        return super().add_console(role, host, config={"clone_policy": self.policy}, **options)

    def clone(self):
        ns = Namespace(self.net, "copy")
        ns.sysctl("net/ipv4/ip_default_ttl", TTL_COPY)
        self.switch.attach(ns)
        copy = Node(self.net, ns, start=False)
        shutil.copytree(self.a.state, copy.state)
        copy.start()
        return copy

    def answers(self):
        """The TTL of each answer to b's pings so far, 0 where there was none."""
        return [int(ttl or 0) for ttl in re.findall(r"ttl=(\d+)|no answer", self.pings.text())]

    def answered_by(self, ttl, limit=10):
        """From some moment on, all of 20 pings (2 s)."""
        wait_until(lambda: self.answers()[-20:] == [ttl] * 20, limit,
                   lambda: "b is answered by ttl %d: %s" % (ttl, self.answers()[-40:]))


def alarms(console):
    return [e["text"] for e in console.json("event", "list")["items"] if e["severity"] == "error"]


def alarmed(m):
    wait_until(lambda: alarms(m.console), 30, "the console finds it out")
    text = alarms(m.console)
    check(len(text) == 1, "it is said once: %s" % text)
    for word in ("a: ", "two machines", "192.0.2.1", "192.0.2.3", "policy: " + m.policy):
        check(word in text[0], "%r is in: %s" % (word, text[0]))


def refused(node, *words):
    """It has taken its networks down, and says why and what to do."""
    wait_until(lambda: not node.status()["networks"], 15, lambda: "%s is refused: %s" % (node.name, node.status()))
    check("vcider0" not in node.ns.links(), "it has no interface: %s" % node.ns.links())
    shown = node.vanctl("status").stdout
    for word in (REFUSED, "NOT CONNECTED", "remove the state directory of the copy", *words):
        check(word in shown, "%r is in: %s" % (word, shown))


def at_work(node):
    check(node.status()["console"]["connected"] and not node.status()["warnings"],
          "%s is as it should be: %s" % (node.name, node.status()))


def test_reject(net):
    m = Clones(net, "reject")
    copy = m.clone()
    alarmed(m)
    refused(copy, "another machine uses the identity of this node", "then start vand again on the one that is to stay")
    m.answered_by(TTL)
    at_work(m.a)
    m.a.ns.ping(m.b.ip4())
    row = lambda: m.console.json("node", "show", "a")
    wait_until(lambda: row()["online"] and row()["teps"] == ["192.0.2.1:4826"], 15,
               lambda: "the console knows the right one: %s" % row())
    # started again it is another process, and is found out again
    copy.restart()
    refused(copy)
    m.answered_by(TTL)
    at_work(m.a)
    # what it is told to do
    copy.stop()
    shutil.rmtree(copy.state)
    copy.start()
    copy.join(m.console.token("lan"))
    m.b.ns.ping(copy.ip4())
    m.answered_by(TTL)


def test_re_enrol(net):
    m = Clones(net, "re-enrol")
    copy = m.clone()
    alarmed(m)
    for node in (m.a, copy):
        refused(node, "was in use on two machines at once", "then join with a new token")
    m.answered_by(0)
    used = m.console.token("lan")
    copy.stop()
    shutil.rmtree(copy.state)
    copy.start()
    copy.join(used)  # somebody else by now
    done = m.a.join(used, ok=False)
    check(done.returncode == 4 and "spent" in done.stderr, "it takes a token that is good: %s" % done)
    m.a.join(m.console.token("lan"))
    m.answered_by(TTL)
    at_work(m.a)
    texts = [e["text"] for e in m.console.json("event", "list")["items"]]
    check(any("a enrolled again after its identity was in use twice" in t for t in texts), "%s" % texts)
    m.b.ns.ping(copy.ip4())


def test_long_replace(net):
    m = Clones(net, "replace")
    copy = m.clone()
    alarmed(m)
    refused(m.a, "another machine uses the identity of this node")
    m.answered_by(TTL_COPY)
    at_work(copy)


def test_long_alarm(net):
    m = Clones(net, "alarm")
    copy = m.clone()
    alarmed(m)
    holds_for(lambda: m.a.network("lan") and copy.network("lan"), 12, "both go on")
    check(len(alarms(m.console)) == 1, "it is said once")
    # an answer comes from whom b has the last session with
    check(set(m.answers()[-20:]) <= {TTL, TTL_COPY}, "b is answered: %s" % m.answers()[-20:])


def test_no_alarm_without_a_clone(net):
    m = Clones(net, "reject")

    def contact():
        wait_until(lambda: m.a.status()["console"]["connected"], 15,
                   lambda: "a has contact: %s" % m.a.status()["console"])

    m.a.restart()
    contact()
    m.a.kill()
    m.a.start()
    contact()
    for address in ("192.0.2.61", "192.0.2.62"):  # moved while it runs, moved while it is off
        if address.endswith("62"):
            m.a.stop()
        old = m.a.ns.link("eth0")["addr_info"][0]["local"]
        m.a.ns.ip("addr", "del", old + "/24", "dev", "eth0")
        m.a.ns.ip("addr", "add", address + "/24", "dev", "eth0")
        if address.endswith("62"):
            m.a.start()
        row = lambda: m.console.json("node", "show", "a")
        wait_until(lambda: row()["teps"] == [address + ":4826"], 30, lambda: "the console knows it: %s" % row())
        contact()
    check(not alarms(m.console), "no alarm: %s" % alarms(m.console))
    at_work(m.a)
    m.answered_by(TTL)


def test_long_no_alarm_by_what_comes_late(net):
    """A process had sent something, was killed, and its kernel gets that through when the next one has spoken."""
    m = Clones(net, "reject")
    reports = lambda: m.console.process.text().count("POST /agent/v1/report: 200")

    def sockets(state, column):
        rows = m.a.ns.run("ss", "-Htn", "state", state, "dport", "=", ":8443").stdout.splitlines()
        return [row.split()[column] for row in rows]

    wait_until(lambda: m.a.status()["console"]["connected"], 10, "a has contact")
    had = reports()
    wait_until(lambda: reports() >= had + 2, 20, "it reports")
    cut_from_console(m.a)
    wait_until(lambda: any(int(n) for n in sockets("established", 1)), 15, "a has a report on its way")
    ports = [local.rsplit(":", 1)[1] for local in sockets("established", 2)]
    m.a.kill()
    m.a.ns.nft("table inet held { chain out { type filter hook output priority 0; %s } }"
               % " ".join("tcp sport %s drop;" % port for port in ports))
    cut_from_console(m.a, False)
    m.a.start()
    wait_until(lambda: m.a.status()["console"]["connected"], 15, "a has contact")
    holds_for(lambda: m.a.status()["console"]["connected"], 3, "and keeps it")
    m.a.ns.nft("delete table inet held")
    wait_until(lambda: not sockets("fin-wait-1", 0), 30, "what was held arrives")
    had = reports()
    wait_until(lambda: reports() >= had + 4, 40, "reports of a come after it")
    check(not alarms(m.console), "no alarm: %s" % alarms(m.console))
    at_work(m.a)


def test_long_no_alarm_with_two_consoles(net):
    t = TwoConsoles(net)
    a, b = t.node("a", t.c1), t.node("b", t.c2)
    wait_until(lambda: len(a.status()["console"]["consoles"]) == 2, 10, "a knows both consoles")
    t.c1.process.kill()
    at(a, t.c2, 20)
    a.restart()
    at(a, t.c2, 20)
    t.c1.start()
    at(a, t.c1, 60)
    a.restart()
    at(a, t.c1, 20)
    b.restart()
    at(b, t.c2, 20)
    check(not alarms(t.c2), "no alarm: %s" % alarms(t.c2))
