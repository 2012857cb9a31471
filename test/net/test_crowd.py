# SPDX-License-Identifier: Apache-2.0
#
# One vand, and one process that is all of its peers: what many sessions cost.
#
#      a ────────── sw ────────── crowd
#   vand            bridge        test/tools/crowd: session engines, one socket each
#
# There is no console: the crowd writes the state that vand starts from.

import os
import subprocess

from vannet import BUILD, Namespace, Node, Process, Switch, check, wait_until

CROWD = os.path.join(BUILD, "test/tools/crowd")
TICKS = os.sysconf("SC_CLK_TCK")


def status_kb(pid, field):
    with open("/proc/%d/status" % pid) as f:
        return next(int(line.split()[1]) for line in f if line.startswith(field + ":"))


def cpu_seconds(pid):
    with open("/proc/%d/stat" % pid) as f:
        fields = f.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


class Crowd:
    def __init__(self, net, count):
        self.net, self.count = net, count
        switch = Switch(net)
        self.a, ns = Namespace(net, "a"), Namespace(net, "crowd")
        vand_at, own = switch.attach(self.a)[0], switch.attach(ns)[0]
        state = os.path.join(net.directory("crowd"), "state")
        read_end, write_end = os.pipe()
        self.stdin = os.fdopen(write_end, "wb", buffering=0)
        self.process = Process(net, "crowd", [CROWD, state, str(count), own, "20000", vand_at, "4826"],
                               ns=ns, stdin=read_end)
        os.close(read_end)
        wait_until(lambda: self.lines("ready"), 20, lambda: "the crowd is ready: " + self.process.text())
        self.node = Node(net, self.a, config={"state_dir": state, "log_level": "info"})
        wait_until(lambda: self.lines("connected"), 30, lambda: "all are connected: " + self.process.text())

    def lines(self, word):
        return [line.split() for line in self.process.text().splitlines() if line.startswith(word)]

    def traffic(self):
        """Bytes of all peers' datagrams, either way, since the last call."""
        known = len(self.lines("idle"))
        self.stdin.write(b"\n")
        wait_until(lambda: len(self.lines("idle")) > known, 5, "the crowd says what it sent")
        _, seconds, sent, received = self.lines("idle")[-1]
        return float(seconds), int(sent) + int(received)

    def settle(self):
        """Until confirmations and passive keepalives are over."""
        self.traffic()
        wait_until(lambda: self.traffic()[1] == 0, 60, "the sessions are idle", interval=2)

    def end(self):
        self.stdin.close()
        self.process.result(10)


def heard_everyone(crowd):
    peers = crowd.node.json("peers")["items"]
    connected = [p for p in peers if p["state"] == "connected"]
    check(len(connected) == crowd.count, "connected peers: %d of %d" % (len(connected), crowd.count))
    wait_until(lambda: sum(p["rx_packets"] >= 1 for p in crowd.node.json("peers")["items"]) == crowd.count,
               10, "a frame of everybody has arrived")


def test_two_hundred_peers(net):
    crowd = Crowd(net, 200)
    heard_everyone(crowd)
    rss = status_kb(crowd.node.process.pid, "VmRSS")
    print("200 peers: connected in %s s, RSS %.1f MB" % (crowd.lines("connected")[0][2], rss / 1024))
    check(crowd.node.status()["networks"][0]["peers_connected"] == 200, "status counts them")
    crowd.end()


def test_long_thousand_peers(net):
    """RSS below 64 MB; an idle minute below 1 KB a peer and 0.1 % of a core."""
    crowd = Crowd(net, 1000)
    heard_everyone(crowd)
    crowd.a.run("ping", "-b", "-c", "3", "-i", "0.2", "-w", "2", "172.30.255.255", ok=False)
    crowd.settle()
    pid = crowd.node.process.pid
    crowd.traffic()
    before = cpu_seconds(pid)
    try:
        crowd.node.process.popen.wait(60)  # the minute is what is measured
    except subprocess.TimeoutExpired:
        pass
    seconds, count = crowd.traffic()
    cpu = (cpu_seconds(pid) - before) / seconds
    rss = status_kb(pid, "VmRSS")
    print("1,000 peers: connected in %s s, RSS %.1f MB; idle for %.0f s: %.2f %% of a core, %.1f bytes"
               " a peer" % (crowd.lines("connected")[0][2], rss / 1024, seconds, 100 * cpu, count / 1000))
    check(rss < 64 * 1024, "RSS %d KB" % rss)
    check(cpu < 0.001, "CPU when idle: %.3f %%" % (100 * cpu))
    check(count / 1000 < 1024 * seconds / 60, "%d bytes when idle" % count)
    crowd.end()


test_long_thousand_peers.limit_s = 240
