# SPDX-License-Identifier: Apache-2.0
"""What vand does where it does not get what makes it fast: by configuration, because the kernel or the CPU
does not have it (a library in front of vand says so, test/tools/shim/deny.c), or because the way is not up
to it. Each time: that it really is so, and that everything arrives as it was sent.

               ┌── poor                 one node for each thing that is missing
   full ──[ sw ]── poor
               └── poor
"""

import json
import os
import re
import sys
import time

import vannet
from test_mesh import tcp
from test_workers import connect, growth, only, send_segmented
from vannet import BUILD, Mesh, Probe, check, wait_until

DENY = os.path.join(BUILD, "test/tools/shim/deny.so")
# word 0 bits 57 and 33: AES-NI and PCLMULQDQ
OPENSSL_WITHOUT_AES = "~0x200000200000000"


def denying(*what, **env):
    """A command in front of vand that keeps these from it."""
    asan = os.environ.get("ASAN_OPTIONS", "detect_leaks=1:exitcode=99")
    env = {"LD_PRELOAD": DENY, "VAN_DENY": ",".join(what),
           "ASAN_OPTIONS": asan + ":verify_asan_link_order=0", **env}
    return ["env"] + ["%s=%s" % item for item in env.items()]


def exchange(full, poor, megabytes=4):
    """TCP in both directions, by several streams; returns what poor counted. Nothing is dropped."""
    full.ns.ping(poor.ip4(), count=1)
    counted = growth(poor, lambda: tcp([(full, poor, poor.ip4())] * 3 + [(poor, full, full.ip4())] * 3,
                                       megabytes=megabytes))
    dropped = {name: n for name, n in counted.items() if name.startswith("drops.") and n}
    check(not dropped, "%s dropped nothing: %s" % (poor.name, dropped))
    return counted


def timed(action):
    started = time.monotonic()
    action()
    return time.monotonic() - started


def tun(node):
    """What the kernel says of the node's TAP."""
    return node.ns.link("vcider0")["linkinfo"]["info_data"]


def is_full(counted):
    """The opposite of all that is checked below, as long as nothing is missing."""
    return (counted["superframes_from_tap"] > 0 and counted["superframes_to_tap"] > 0
            and counted["datagrams_sent"] > 4 * counted["sends"]
            and counted["datagrams_received"] > 4 * counted["receives"])


def sends_singly(counted):
    # control's datagrams are not among the workers' sends
    return counted["sends"] > 0.95 * counted["datagrams_sent"]


def receives_singly(counted):
    return counted["receives"] > 0.95 * counted["datagrams_received"]


def test_switched_off(net):
    m = Mesh(net, names=("full",), v6=False)
    for name in ("tap_offload", "udp_gso", "udp_gro", "udp_super_frames"):
        m.add(name.replace("_", "-"), config={name: False})
    for name in ("sodium", "openssl"):
        m.add(name, config={"cipher": name})
    m.converge()
    counted = {name: exchange(m.full, node) for name, node in m.nodes.items() if name != "full"}
    off = counted["tap-offload"]
    check(off["superframes_from_tap"] == off["superframes_to_tap"] == 0, "tap_offload = false: %s" % off)
    check(sends_singly(counted["udp-gso"]), "udp_gso = false: %s" % counted["udp-gso"])
    check(receives_singly(counted["udp-gro"]), "udp_gro = false: %s" % counted["udp-gro"])
    for name in ("sodium", "openssl"):
        cipher = m.nodes[name].status()["cipher"]
        check(cipher == name, "cipher = %s: %s" % (name, cipher))
    for name in ("udp-super-frames", "sodium", "openssl"):
        check(is_full(counted[name]), "all else is as ever with %s: %s" % (name, counted[name]))
    for name in ("udp-super-frames", "openssl"):
        off = growth(m.nodes[name], lambda: send_segmented(m.full, m.nodes[name], 7001, 1000, 40, 60))
        check((off["superframes_to_tap"] == 0) == (name == "udp-super-frames"), "%s: UDP super-frames: %s" % (name, off))


def main_sockets(node):
    """How many sockets are bound to the node's port for IPv4."""
    return sum(line.split()[1].endswith(":%04X" % vannet.PORT)
               for line in node.ns.run("cat", "/proc/net/udp").stdout.splitlines()[1:])


def test_kernel_has_less(net):
    m = Mesh(net, names=("full",), v6=False, config={"workers": 2})
    lacking = ("vnet-hdr", "multi-queue", "uso", "tso", "udp-segment", "udp-gro", "reuseport-program")
    for what in lacking + ("everything",):
        m.add(what, config={"workers": 2}, wrap=denying(*(lacking if what == "everything" else [what])))
    m.converge()
    counted = {what: exchange(m.full, node) for what, node in m.nodes.items() if what != "full"}
    check(tun(m.full)["vnet_hdr"] and tun(m.full)["multi_queue"], "full has what others lack: %s" % tun(m.full))
    for what in ("vnet-hdr", "everything"):
        check(not tun(m.nodes[what])["vnet_hdr"], "%s: no vnet header: %s" % (what, tun(m.nodes[what])))
        check(counted[what]["superframes_from_tap"] == counted[what]["superframes_to_tap"] == 0,
              "%s: no super-frames: %s" % (what, counted[what]))
    for what in ("multi-queue", "everything"):
        check(not tun(m.nodes[what])["multi_queue"], "%s: a single queue: %s" % (what, tun(m.nodes[what])))
    check(counted["tso"]["superframes_from_tap"] == 0 and counted["tso"]["superframes_to_tap"] > 0,
          "none come from the TAP, but it takes them: %s" % counted["tso"])
    for what in ("udp-segment", "everything"):
        check(sends_singly(counted[what]), "%s: no GSO: %s" % (what, counted[what]))
    for what in ("udp-gro", "everything"):
        check(receives_singly(counted[what]), "%s: no GRO: %s" % (what, counted[what]))
    for what in ("multi-queue", "uso", "reuseport-program"):
        check(is_full(counted[what]), "all else is as ever without %s: %s" % (what, counted[what]))
    # two of the workers, and the one that only sends, which is not safe without the program
    check((main_sockets(m.full), main_sockets(m.nodes["reuseport-program"])) == (3, 2), "sockets on the port: %s"
          % {node.name: main_sockets(node) for node in m.nodes.values()})
    for what in ("uso", "multi-queue"):
        node = m.nodes[what]
        there = growth(node, lambda: send_segmented(m.full, node, 7001, 1000, 40, 60))
        back = growth(node, lambda: send_segmented(node, m.full, 7001, 1000, 40, 60))
        check((there["superframes_to_tap"] == 0) == (back["superframes_from_tap"] == 0) == (what == "uso"),
              "%s: UDP super-frames: %s, %s" % (what, there, back))


def test_no_aes_instructions(net):
    """Only OpenSSL has the cipher then."""
    m = Mesh(net, names=("full",), v6=False)
    m.add("slow", wrap=denying("aes", OPENSSL_ia32cap=OPENSSL_WITHOUT_AES))
    m.add("sodium", config={"cipher": "sodium"}, wrap=denying("aes"), join=False)
    cipher = m.slow.status()["cipher"]
    check(cipher == "openssl", "cipher = auto without AES instructions: %s" % cipher)
    if os.uname().machine == "x86_64":
        cpu = net.host(sys.executable, "-c", "import ctypes; lib = ctypes.CDLL('libcrypto.so.3'); lib.OPENSSL_info"
                       ".restype = ctypes.c_char_p; print(lib.OPENSSL_info(1008).decode())",
                       env={"OPENSSL_ia32cap": OPENSSL_WITHOUT_AES}).stdout
        check(not int(re.match(r"OPENSSL_ia32cap=(0x\w+)", cpu)[1], 16) & 1 << 57, "OpenSSL sees none: " + cpu)
    exchange(m.full, m.slow, megabytes=2)
    refused = m.sodium.join(m.console.token("lan"), ok=False)
    check(refused.returncode != 0 and "not usable on this machine" in refused.stderr + m.sodium.process.text(),
          "a cipher that cannot be had is refused: %s" % refused)


def test_gso_sends_fail(net):
    """EIO, as from a device without transmit checksums: all is sent again singly, and GSO is not tried again
    with that peer."""
    # no floods: each peer is found out by itself
    m = Mesh(net, names=("full",), v6=False, quiet=True, cidr6=None)
    m.add("eio", wrap=denying("gso-send"))
    # older kernels say EIO here of themselves, newer ones compute the checksums
    m.add("notx", config={"workers": 2})
    m.notx.ns.run("ethtool", "-K", "eth0", "tx", "off")
    m.converge()
    first = exchange(m.full, m.eio)
    check(0 < first["gso_fallbacks"] < 20, "GSO failed, and was given up: %s" % first)
    again = exchange(m.full, m.eio)
    check(again["gso_fallbacks"] == 0 and again["datagrams_sent"] > 1000, "it is not tried again: %s" % again)
    exchange(m.full, m.notx)


def running_stream(a, b, megabytes):
    sink = Probe(b.ns, "tcp-sink", b.ip4(), 5001, "--timeout", 60, ready=True)
    return sink, Probe(a.ns, "tcp-source", b.ip4(), 5001, "--bytes", megabytes << 20, "--seed", 5, "--timeout", 60)


def finish_stream(stream):
    received, sent = (end.result(70) for end in stream)
    check(sent["checksum"] == received["checksum"] and sent["bytes"] == received["bytes"],
          "what arrives is what was sent: %s %s" % (sent, received))


def test_interface_mtu_shrinks(net):
    """EMSGSIZE in the middle of a stream: full-size frames get through all the same."""
    m = Mesh(net, names=("a", "b"), v6=False)
    connect(m)
    before = m.a.stats()
    stream = running_stream(m.a, m.b, 200)
    wait_until(lambda: m.a.stats()["superframes_from_tap"] > before["superframes_from_tap"] + 50, 10, "a stream flows")
    m.a.ns.ip("link", "set", "eth0", "mtu", "1300")
    finish_stream(stream)
    # the first one has DF: it may be what the kernel learns the path's MTU by
    Probe(m.a.ns, "stream-send", m.b.ip4(), 6002, "--count", 1, "--len", 1332).result(20)
    receiver = Probe(m.b.ns, "stream-recv", m.b.ip4(), 6001, "--expect", 1000, ready=True)
    Probe(m.a.ns, "stream-send", m.b.ip4(), 6001, "--count", 1000, "--len", 1332).result(20)
    check(receiver.result(40)["lost"] == 0, "full-size datagrams arrive")
    stats = m.a.stats()
    shown = {name: stats.get(name, 0) for name in ("sent_fragmentable", "frames_cut", "too_big_answered")}
    check(sum(shown.values()) > 0, "a counted what did not fit: %s" % shown)


def limit(node, rate, backlog):
    """Whatever the node sends leaves at a rate, and so much of it may wait."""
    node.ns.run("tc", "qdisc", "del", "dev", "eth0", "root", ok=False)
    if rate:
        node.ns.run("tc", "qdisc", "add", "dev", "eth0", "root", "tbf", "rate", rate, "burst", "64kb",
                    "limit", backlog)


def counters(node, ifname, kind):
    return json.loads(node.ns.ip("-j", "-s", kind, "show", "dev", ifname).stdout)[0]


def test_device_queue_is_full(net):
    """EAGAIN: what the device has not sent yet fills the socket's buffer. And a queue that drops."""
    m = Mesh(net, names=("a", "b"), v6=False)
    connect(m)
    flood = ["stream-send", m.b.ip4(), 6001, "--pps", 100000, "--seconds", 30, "--len", 1200]
    # The worker waits for room, so it is the TAP's queue that overflows; what was read arrives.
    limit(m.a, "200mbit", "100mb")
    probe = Probe(m.a.ns, *flood)
    dropped = lambda: counters(m.a, "vcider0", "link")["stats64"]["tx"]["dropped"]
    wait_until(lambda: dropped() > 1000, 20, "the TAP's queue is full")
    print("status in %.3f s" % timed(m.a.status))
    probe.process.kill()
    wait_until(lambda: m.a.stats()["datagrams_sent"] <= m.b.stats()["datagrams_received"], 20,
               lambda: "all that was sent arrives: %s" % [n.stats() for n in (m.a, m.b)])
    only(m.a)
    # Too slow to be waited for.
    limit(m.a, "200kbit", "100mb")
    probe = Probe(m.a.ns, *flood)
    wait_until(lambda: m.a.drops().get("send_failed"), 20, lambda: "datagrams find no room: %s" % m.a.stats())
    print("status in %.3f s" % timed(m.a.status))
    probe.process.kill()
    only(m.a, "send_failed")
    # No room in the device's queue, but no word of it.
    limit(m.a, "200mbit", "60kb")
    failed = m.a.drops()["send_failed"]
    finish_stream(running_stream(m.a, m.b, 16))
    dropped = json.loads(m.a.ns.run("tc", "-j", "-s", "qdisc", "show", "dev", "eth0").stdout)[0]["drops"]
    check(dropped > 0, "the queue dropped packets")
    check(m.a.drops()["send_failed"] == failed, "a does not see that: %s" % m.a.drops())
    limit(m.a, None, None)
    print("50 MB in %.1f s without a limit" % timed(lambda: finish_stream(running_stream(m.a, m.b, 50))))
