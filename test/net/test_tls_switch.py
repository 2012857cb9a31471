# SPDX-License-Identifier: Apache-2.0
"""The console's TLS key is changed while nodes are running, away, or away for too long.

     console ──┐
   a, b ────[ sw ]──── away, back, lost
"""

import json
import os
import re
import shutil
import signal

from vannet import BUILD, Mesh, check, wait_until


class Tls:
    """A console's keys, as its administrator changes them."""

    def __init__(self, console):
        self.console = console

    def run(self, word):
        c = self.console
        return c.ns.run(os.path.join(BUILD, "console-api/console-api"), "tls", word, "-q", "-c", c.config_path).stdout

    def announce(self):
        pin = self.run("next").strip()
        self.console.process.signal(signal.SIGHUP)
        return pin

    def switch(self):
        pin = self.run("switch").strip()
        self.console.process.signal(signal.SIGHUP)
        wait_until(lambda: self.console.process.text().count("the TLS keys are others now") == 2, 10,
                   "the console has it in use")
        return pin


def pins(node):
    with open(os.path.join(node.state, "netmap")) as f:
        return json.load(f)["consoles"][0]["pins"]


def connected(node, limit=15):
    wait_until(lambda: node.status()["console"]["connected"], limit,
               lambda: "%s has contact: %s" % (node.name, node.status()["console"]))


def test_running_nodes_follow(net):
    m = Mesh(net, names=("a", "b", "away", "back", "lost"))
    tls, first = Tls(m.console), m.console.pin
    m.connect()
    pings = m.a.ns.start("pings", "ping", "-n", "-O", "-i", "0.05", m.b.ip4())
    m.away.stop()  # when the next key is announced
    m.lost.stop()  # until all is over
    new = tls.announce()
    check(new != first, "it is another key")
    for node in (m.a, m.b, m.back):
        wait_until(lambda: pins(node) == [first, new], 15, lambda: "%s knows both: %s" % (node.name, pins(node)))
    m.away.start()
    wait_until(lambda: pins(m.away) == [first, new], 15, "so does the one that was away, as soon as it is back")
    check(new in m.console.vanctl("console", "status").stdout, "a login hears of it, too")
    m.back.stop()  # at the moment of the change
    check(tls.switch() == new, "the next one has its turn")
    # every connection anew, by the new key
    m.console.process.kill()
    m.console.start()
    check(m.console.pin == new, "the console has the new key")
    m.back.start()
    for node in (m.a, m.b, m.away, m.back):
        connected(node)
    m.console.vanctl("node", "set", "b", "-n", "lan", "--name", "beta")
    for node in (m.a, m.away, m.back):
        wait_until(lambda: "beta" in node.peers(), 15, lambda: "%s follows: %s" % (node.name, node.status()["console"]))
        wait_until(lambda: pins(node) == [new], 15, lambda: "%s knows the new one only: %s" % (node.name, pins(node)))
    pings.kill()
    answered = {int(n) for n in re.findall(r"bytes from .*icmp_seq=(\d+)", pings.text())}
    check(len(answered) > 50 and answered == set(range(1, max(answered) + 1)),
          "no frame was lost meanwhile:\n" + pings.text()[-300:])
    # a new node, and those that were there through a restart
    m.a.restart()
    connected(m.a)
    with open(os.path.join(m.a.state, "membership")) as f:
        check(json.load(f)["pin"] == new, "the new pin is a's own by now")
    m.add("late")
    m.a.ns.ping(m.late.ip4())

    m.lost.start()
    error = lambda: m.lost.status()["console"]["error"] or ""
    wait_until(lambda: "vanctl node rekey lost" in error(), 15, lambda: "it is told what to do: %s" % error())
    check("remove its state_dir" in m.lost.vanctl("status").stdout, "in vanctl status")
    m.a.ns.ping(m.lost.ip4())  # by the map that it has
    address, token = m.lost.ip4(), m.console.vanctl("node", "rekey", "lost").stdout.strip()
    m.lost.stop()
    shutil.rmtree(m.lost.state)
    m.lost.start()
    m.lost.join(token)
    check(m.lost.ip4() == address, "it is the same node: %s" % m.lost.ip4())
    wait_until(lambda: m.a.ns.pings(address), 10, "a reaches it")
