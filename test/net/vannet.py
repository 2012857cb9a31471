# SPDX-License-Identifier: Apache-2.0
"""Networks of network namespaces for the tests: switches, NAT boxes, consoles and nodes.

A test is a function test_*(net) that gets a Topology. Everything it makes has a name of its own
(process id and counter), so that several runs do not meet; everything is removed by exactly that
name at the end, and what a process did wrong (it ended by itself, a sanitizer complained) fails
the test even where the test itself saw nothing.

Nothing here waits for a length of time: wait_until() polls a condition and is the only place that
sleeps. TIME_FACTOR stretches its limits for slow builds.
"""

import base64
import ctypes
import json
import os
import re
import shutil
import signal
import socket
import ssl
import struct
import subprocess
import sys
import tempfile
import threading
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.path.join(ROOT, os.environ.get("BUILD", "build"))
# The build for tests of hostile input; the ordinary one where there is no other.
BUILD_SAN = os.path.join(ROOT, os.environ.get("BUILD_SAN", os.environ.get("BUILD", "build")))
SANITIZED = "/san-" in BUILD
# For limits that are themselves what is tested. All others are generous, which costs nothing: what
# comes ends the wait.
SLOW = 3 if SANITIZED else 1
TIME_FACTOR = float(os.environ.get("TIME_FACTOR", "6" if SANITIZED else "3"))
NETPROBE = os.path.join(BUILD, "test/tools/netprobe")
PORT = 4826

ETH_P_ALL = 3
ETH_P_IP, ETH_P_ARP, ETH_P_IPV6, ETH_P_8021Q = 0x0800, 0x0806, 0x86DD, 0x8100
SOL_PACKET = 263
PACKET_ADD_MEMBERSHIP, PACKET_AUXDATA, PACKET_VNET_HDR, PACKET_MR_PROMISC = 1, 8, 15, 1
SO_RCVBUFFORCE = 33
CLONE_NEWNET = 0x40000000

SANITIZER = re.compile(rb"ERROR: \w*Sanitizer|runtime error:|SUMMARY: \w*Sanitizer")


class Failure(AssertionError):
    pass


class Skip(Exception):
    pass


def check(condition, text):
    """assert with a text, and not removed by -O."""
    if not condition:
        raise Failure(text() if callable(text) else text)


def wait_until(condition, timeout, what, interval=0.02):
    """Returns the first true value of condition(); fails after `timeout` seconds. `what` says what
    did not happen; it may be a function, called then."""
    deadline = time.monotonic() + timeout * TIME_FACTOR
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() >= deadline:
            raise Failure("not within %g s: %s"
                          % (timeout * TIME_FACTOR, what() if callable(what) else what))
        time.sleep(interval)


def holds_for(condition, seconds, what):
    """Fails as soon as condition() is false within `seconds`: for "nothing happens"."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        check(condition(), what)
        time.sleep(0.02)


# -- namespaces ---------------------------------------------------------------------------------

_libc = ctypes.CDLL(None, use_errno=True)


def _setns(fd):
    if _libc.setns(fd, CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "setns")


class Process:
    """A program started in the background, its output in a file of the test's log folder."""

    def __init__(self, net, name, argv, ns=None, env=None, daemon=False, stdin=None):
        self.net, self.name, self.daemon = net, name, daemon
        self.log = net.log_path(name)
        self.output = open(self.log, "ab")
        if ns:
            argv = ["ip", "netns", "exec", ns.name] + list(argv)
        net.note("start %s: %s", name, " ".join(argv))
        self.expected_exit = False
        self.popen = subprocess.Popen(argv, stdin=stdin or subprocess.DEVNULL, stdout=self.output,
                                      stderr=subprocess.STDOUT, env={**net.env, **(env or {})})
        net.processes.append(self)

    @property
    def pid(self):
        return self.popen.pid

    def running(self):
        return self.popen.poll() is None

    def text(self):
        with open(self.log, "rb") as f:
            return f.read().decode("utf-8", "replace")

    def wait(self, timeout):
        """Its exit status; killed and failed when it does not end in time."""
        self.expected_exit = True
        try:
            return self.popen.wait(timeout * TIME_FACTOR)
        except subprocess.TimeoutExpired:
            self.popen.kill()
            self.popen.wait()
            raise Failure("%s did not end within %g s" % (self.name, timeout * TIME_FACTOR)) from None

    def result(self, timeout):
        """Waits for it, insists on exit status 0, returns its output."""
        status = self.wait(timeout)
        check(status == 0, lambda: "%s ended with status %d:\n%s" % (self.name, status, self.text()))
        return self.text()

    def signal(self, number):
        self.net.note("signal %d to %s", number, self.name)
        self.popen.send_signal(number)

    def stop(self, timeout=10):
        """SIGTERM, and exit status 0 in time."""
        self.expected_exit = True
        if self.running():
            self.signal(signal.SIGTERM)
        status = self.wait(timeout)
        check(status == 0, lambda: "%s ended with status %d after SIGTERM:\n%s"
              % (self.name, status, tail(self.log)))

    def kill(self):
        self.expected_exit = True
        self.signal(signal.SIGKILL)
        self.popen.wait()


def tail(path, lines=30):
    with open(path, "rb") as f:
        return b"\n".join(f.read().splitlines()[-lines:]).decode("utf-8", "replace")


class Namespace:
    def __init__(self, net, role):
        self.net, self.role = net, role
        self.name = net.unique(role)
        net.record("ns", self.name)
        net.host("ip", "netns", "add", self.name)
        net.namespaces.append(self)
        self.ip("link", "set", "lo", "up")
        # addresses are usable at once: no duplicate address detection, no waiting for routers
        for where in ("all", "default"):
            self.sysctl("net/ipv6/conf/%s/accept_dad" % where, 0)
            self.sysctl("net/ipv6/conf/%s/accept_ra" % where, 0)
            self.sysctl("net/ipv6/conf/%s/router_solicitations" % where, 0)

    def run(self, *argv, ok=True, timeout=30, stdin=None, env=None):
        """Runs a command to its end. Fails unless it succeeds, or not at all with ok=False."""
        return self.net.host("ip", "netns", "exec", self.name, *argv, ok=ok, timeout=timeout,
                             stdin=stdin, env=env)

    def start(self, name, *argv, env=None, daemon=False):
        return Process(self.net, name, list(argv), ns=self, env=env, daemon=daemon)

    def ip(self, *argv, ok=True):
        return self.net.host("ip", "-n", self.name, *argv, ok=ok)

    def links(self):
        """Names of the interfaces."""
        out = self.net.quiet("ip", "-n", self.name, "-j", "link").stdout
        return [link["ifname"] for link in json.loads(out or "[]")]

    def link(self, ifname):
        """The interface as `ip -j -s addr` shows it, or None."""
        out = self.net.quiet("ip", "-n", self.name, "-j", "-d", "addr", "show", "dev", ifname).stdout
        rows = [row for row in json.loads(out or "[]") if row.get("ifname") == ifname]
        return rows[0] if rows else None

    def inside(self, function):
        """Calls function() with this thread in the namespace."""
        home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        there = os.open("/run/netns/" + self.name, os.O_RDONLY)
        try:
            _setns(there)
            try:
                return function()
            finally:
                _setns(home)
        finally:
            os.close(home)
            os.close(there)

    def socket(self, *args):
        """A socket that lives in the namespace, whoever uses it."""
        sock = self.inside(lambda: socket.socket(*args))
        self.net.sockets.append(sock)
        return sock

    def packet_socket(self, ifname):
        sock = self.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        sock.bind((ifname, 0))
        return sock

    def sysctl(self, path, value):
        def write():
            with open("/proc/sys/" + path, "w") as f:
                f.write("%s\n" % value)
        self.inside(write)

    def nft(self, rules):
        """Loads rules; a closing brace needs no semicolon in front of it here."""
        self.run("nft", "-f", "-", stdin=re.sub(r"\s*}", "\n}\n", rules) + "\n")

    def ping(self, address, count=3, interval=0.1, wait=10, size=None, extra=()):
        """Every one of the pings is answered. Each is a program of its own: ping waits for the last
        answers no longer than twice as long as the others took."""
        argv = ["ping", "-n", "-c", "1", "-W", str(wait)]
        if size is not None:
            argv += ["-s", str(size)]
        for i in range(count):
            if i:
                time.sleep(interval)
            done = self.run(*argv, *extra, address, ok=False, timeout=wait + 10)
            check(done.returncode == 0, lambda: "ping %d of %d from %s to %s:\n%s%s" % (
                i + 1, count, self.role, address, done.stdout, done.stderr))

    def pings(self, address, wait=1):
        """True when one ping is answered."""
        return self.run("ping", "-n", "-c", "1", "-W", str(wait), address, ok=False).returncode == 0


class Switch:
    """A bridge in a namespace of its own, and the addresses of whoever is plugged into it."""

    def __init__(self, net, role="sw", v4="192.0.2", v6="2001:db8:", mtu=1500):
        self.net, self.v4, self.v6, self.mtu = net, v4, v6, mtu
        self.ns = Namespace(net, role)
        self.ports = 0
        self.ns.ip("link", "add", "br0", "type", "bridge", "mcast_snooping", "0")
        self.ns.ip("link", "set", "br0", "mtu", str(mtu), "up")

    def attach(self, ns, ifname="eth0", host=None, v4=True, v6=True):
        """Plugs a namespace in; returns its addresses (either may be None)."""
        if host is None:
            self.ports += 1
            host = self.ports
        port = "p%d" % host
        ns.ip("link", "add", ifname, "mtu", str(self.mtu), "type", "veth",
              "peer", "name", port, "mtu", str(self.mtu), "netns", self.ns.name)
        self.ns.ip("link", "set", port, "master", "br0", "up")
        ns.ip("link", "set", ifname, "up")
        address4 = address6 = None
        if self.v4 and v4:
            address4 = "%s.%d" % (self.v4, host)
            ns.ip("addr", "add", address4 + "/24", "dev", ifname)
        if self.v6 and v6:
            address6 = "%s:%x" % (self.v6, host)
            ns.ip("addr", "add", address6 + "/64", "dev", ifname, "nodad")
        return address4, address6


class NatBox:
    """A router between a switch and a small private IPv4 network, masquerading what leaves."""

    def __init__(self, net, switch, role="nat", lan="10.77.0", host=None, nat=True):
        self.net, self.switch = net, switch
        self.ns = Namespace(net, role)
        self.outside, _ = switch.attach(self.ns, "wan", host=host, v6=False)
        self.lan = Switch(net, role + "lan", v4=lan, v6=None)
        self.inside, _ = self.lan.attach(self.ns, "lan", host=254)
        self.ns.sysctl("net/ipv4/ip_forward", 1)
        if nat:
            self.masquerade()

    def masquerade(self, ports=None, how="masquerade"):
        """Replaces the rules. ports: "20000-29999" moves every new mapping there."""
        rules = how if not ports else "".join(
            "meta l4proto %s %s to :%s\n" % (protocol, how, ports) for protocol in ("udp", "tcp"))
        # `add` and `delete` in front make this work whether the table is there or not
        self.ns.nft("""
            add table ip nat
            delete table ip nat
            table ip nat {
                chain post {
                    type nat hook postrouting priority srcnat;
                    oifname != "wan" accept
                    %s
                }
            }
            add table ip filter
            delete table ip filter
            table ip filter {
                chain forward {
                    type filter hook forward priority filter; policy drop;
                    ct state established,related accept
                    iifname "lan" accept
                }
            }""" % rules)

    def udp_timeouts(self, seconds):
        for name in ("nf_conntrack_udp_timeout", "nf_conntrack_udp_timeout_stream"):
            self.ns.sysctl("net/netfilter/" + name, seconds)

    def attach(self, ns, host=None):
        address, _ = self.lan.attach(ns, host=host)
        ns.ip("route", "add", "default", "via", self.inside)
        return address


# -- the programs ---------------------------------------------------------------------------------

def _config_text(options):
    lines = []
    for name, value in options.items():
        if isinstance(value, bool):
            text = "true" if value else "false"
        elif isinstance(value, int):
            text = str(value)
        elif isinstance(value, (list, tuple)):
            text = "[ %s ]" % ", ".join('"%s"' % item for item in value)
        else:
            text = '"%s"' % value
        lines.append("%s = %s;\n" % (name, text))
    return "".join(lines)


class Console:
    """A console. `build`: the folder of its program; `tools`: that of the vanctl for it."""

    def __init__(self, net, ns, address, config=None, name=None, build=None, tools=None):
        self.net, self.ns, self.address = net, ns, address
        self.build, self.tools = build or BUILD, tools or BUILD
        self.name = name or ns.role
        self.dir = net.directory(self.name)
        self.state = os.path.join(self.dir, "state")
        host = "[%s]" % address if ":" in address else address
        self.url = "https://%s:8443" % host
        self.config = {"state_dir": self.state, "public_url": self.url, "log_level": "debug",
                       "listen": "[::]:8443" if ":" in address else "0.0.0.0:8443", **(config or {})}
        self.state = self.config["state_dir"]
        self.config_path = os.path.join(self.dir, "console.conf")
        self.process = None
        self.start()
        self.vanctl("login", "--console", self.url, "--key-file",
                    os.path.join(self.state, "admin.key"), "--pin", self.pin)

    @property
    def pin(self):
        with open(os.path.join(self.state, "tls.pin")) as f:
            return f.read().strip()

    def start(self):
        with open(self.config_path, "w") as f:
            f.write(_config_text(self.config))
        self.process = self.ns.start(self.name, os.path.join(self.build, "console-api/console-api"),
                                     "-c", self.config_path, daemon=True)
        wait_until(self.healthy, 10, lambda: "console-api answers /healthz:\n" + tail(self.process.log))

    def healthy(self):
        check(self.process.running(), lambda: "console-api ended:\n" + tail(self.process.log))
        try:
            with self.ns.socket(socket.AF_INET6 if ":" in self.address else socket.AF_INET,
                                socket.SOCK_STREAM) as raw:
                raw.settimeout(2)
                raw.connect((self.address, 8443))
                context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
                context.check_hostname = False
                context.verify_mode = ssl.CERT_NONE
                with context.wrap_socket(raw) as tls:
                    tls.sendall(b"GET /healthz HTTP/1.1\r\nHost: console\r\nConnection: close\r\n\r\n")
                    return b" 200 " in tls.recv(4096).split(b"\r\n")[0]
        except OSError:
            return False

    def stop(self):
        self.process.stop()

    def vanctl(self, *argv, ok=True, stdin=None, env=None):
        """vanctl as the administrator, on the console's machine."""
        return self.ns.run(os.path.join(self.tools, "vanctl/vanctl"), *argv, ok=ok, stdin=stdin,
                           env={"XDG_CONFIG_HOME": os.path.join(self.dir, "config"), **(env or {})})

    def json(self, *argv):
        return json.loads(self.vanctl(*argv, "-o", "json").stdout)

    def network(self, name, cidr, cidr6=None, **options):
        argv = ["network", "create", name, "--cidr", cidr]
        if cidr6:
            argv += ["--cidr6", cidr6]
        for key, value in options.items():
            argv += ["--" + key, str(value)]
        return self.json(*argv)

    def token(self, network, uses=1, ttl="1h"):
        out = self.vanctl("token", "issue", network, "--uses", str(uses), "--ttl", ttl).stdout
        check(re.fullmatch(r"van1_[A-Za-z0-9_-]+\n", out), "token issue printed %r" % out)
        return out.strip()


class Node:
    """A vand. `build`: the folder of its program; `tools`: that of the vanctl for it. `wrap`: a
    command in front of vand."""

    def __init__(self, net, ns, config=None, build=None, name=None, wrap=(), start=True, tools=None):
        self.net, self.ns = net, ns
        self.name = name or ns.role
        self.build, self.tools = build or BUILD, tools or BUILD
        self.dir = net.directory(self.name)
        self.state = os.path.join(self.dir, "state")
        self.socket = os.path.join(self.dir, "vand.sock")
        self.config = {"state_dir": self.state, "control_socket": self.socket,
                       "log_level": "debug", **(config or {})}
        self.state, self.socket = self.config["state_dir"], self.config["control_socket"]
        self.config_path = os.path.join(self.dir, "vand.conf")
        self.wrap = list(wrap)
        self.process = None
        if start:
            self.start()

    def write_config(self):
        with open(self.config_path, "w") as f:
            f.write(_config_text(self.config))

    def launch(self):
        """Starts vand and does not wait for anything."""
        self.write_config()
        self.process = self.ns.start(self.name, *self.wrap, os.path.join(self.build, "vand/vand"),
                                     "-c", self.config_path, daemon=True)

    def start(self):
        self.launch()
        wait_until(self.answers, 10, lambda: "vand of %s answers on its control socket:\n%s"
                   % (self.name, tail(self.process.log)))

    def answers(self):
        check(self.process.running(), lambda: "vand of %s ended:\n%s"
              % (self.name, tail(self.process.log)))
        try:
            return self.call("status") is not None
        except OSError:
            return False

    def stop(self):
        self.process.stop()

    def restart(self):
        self.stop()
        self.start()

    def kill(self):
        self.process.kill()

    def call(self, command, timeout=30, **arguments):
        """The control socket, without vanctl in between: for polling."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
            sock.settimeout(timeout)
            sock.connect(self.socket)
            sock.sendall(json.dumps({"command": command, **arguments}).encode() + b"\n")
            data = b""
            while not data.endswith(b"\n"):
                piece = sock.recv(1 << 16)
                if not piece:
                    break
                data += piece
        if not data:
            raise ConnectionError("vand of %s closed the control socket" % self.name)
        answer = json.loads(data)
        check("error" not in answer, "%s on %s: %s" % (command, self.name, answer.get("error")))
        return answer["result"]

    def vanctl(self, *argv, ok=True, stdin=None):
        return self.ns.run(os.path.join(self.tools, "vanctl/vanctl"), *argv, ok=ok, stdin=stdin,
                           timeout=60, env={"VAND_SOCKET": self.socket,
                                            "XDG_CONFIG_HOME": os.path.join(self.dir, "config")})

    def json(self, *argv):
        return json.loads(self.vanctl(*argv, "-o", "json").stdout)

    def join(self, token, ok=True, name=None, **options):
        argv = ["join", "--token-file", "-", "--name", name or self.name]
        for key, value in options.items():
            argv += ["--" + key, str(value)]
        return self.vanctl(*argv, ok=ok, stdin=token + "\n")

    # what it says of itself

    def status(self):
        return self.call("status")

    def peers(self):
        return {peer["name"]: peer for peer in self.call("peers")["items"]}

    def network(self, name=None):
        rows = [n for n in self.status()["networks"] if name in (None, n["name"])]
        check(rows, "%s is not in network %s" % (self.name, name))
        return rows[0]

    def ip4(self, network=None):
        return next(ip.split("/")[0] for ip in self.network(network)["ips"] if ":" not in ip)

    def ip6(self, network=None):
        return next(ip.split("/")[0] for ip in self.network(network)["ips"] if ":" in ip)

    def mac(self, network=None):
        return self.network(network)["mac"]

    def stats(self):
        """All counters in one flat table; drops are "drops.REASON"."""
        flat = {}
        for group, table in self.call("stats").items():
            for name, value in table.items():
                flat["drops." + name if group == "drops" else name] = value
        return flat

    def drops(self):
        return {k[6:]: v for k, v in self.stats().items() if k.startswith("drops.") and v}

    def wait_state(self, peer, state, timeout=10):
        wait_until(lambda: self.peers().get(peer, {}).get("state") == state, timeout,
                   lambda: "%s sees %s as %s: %s" % (self.name, peer, state, self.peers().get(peer)))


class Mesh:
    """A switch, a console and nodes on it, all in one network: what most tests start from."""

    def __init__(self, net, names=("a", "b", "c"), network="lan", cidr="172.16.1.0/24",
                 cidr6="fd00:1::/64", v4=True, v6=True, mtu=1500, config=None, build=None,
                 options=None, quiet=False):
        self.net, self.quiet = net, quiet
        self.switch = Switch(net, v4="192.0.2" if v4 else None, v6="2001:db8:" if v6 else None, mtu=mtu)
        self.console = self.add_console()
        self.console.network(network, cidr, cidr6, **(options or {}))
        self.network = network
        self.nodes = {}
        for name in names:
            self.add(name, config=config, build=build)
        self.converge()

    def add_console(self, role="console", host=100, **options):
        ns = Namespace(self.net, role)
        v4, v6 = self.switch.attach(ns, host=host)
        return Console(self.net, ns, v4 or v6, **options)

    def add(self, name, config=None, build=None, join=True, attach=None, wrap=(), **join_options):
        """A node on the switch, or wherever attach(namespace) puts it."""
        ns = Namespace(self.net, name)
        if self.quiet:
            ns.sysctl("net/ipv6/conf/default/disable_ipv6", 1)
        (attach or self.switch.attach)(ns)
        node = Node(self.net, ns, config=config, build=build, wrap=wrap)
        self.nodes[name] = node
        setattr(self, name, node)
        if join:
            node.join(self.console.token(self.network), **join_options)
        return node

    def converge(self):
        """Everybody knows of everybody."""
        for node in self.nodes.values():
            others = set(self.nodes) - {node.name}
            wait_until(lambda: others <= set(node.peers()), 15,
                       lambda: "%s knows %s: %s" % (node.name, sorted(others), sorted(node.peers())))

    def connect(self):
        """Everybody has a session with everybody. In a quiet mesh, no kernel says anything by itself
        in the overlay from then on: there is no IPv6, and neighbours are fixed."""
        for a in self.nodes.values():
            for b in self.nodes.values():
                if a is not b:
                    a.ns.ping(b.ip4())
                    if self.quiet:
                        a.ns.ip("neigh", "replace", b.ip4(), "lladdr", b.mac(), "dev", "vcider0",
                                "nud", "permanent")


def cut_from_console(node, cut=True):
    """The node's machine loses what goes to the console and comes from it, or does so no more."""
    node.ns.nft("""table inet cut {
                       chain out { type filter hook output priority 0; tcp dport 8443 drop }
                       chain in { type filter hook input priority 0; tcp sport 8443 drop } }"""
                if cut else "delete table inet cut")


# -- frames -----------------------------------------------------------------------------------------

def mac_bytes(text):
    return bytes.fromhex(text.replace(":", ""))


def ethernet(dst, src, ethertype, payload, vlan=None):
    tag = struct.pack("!HH", ETH_P_8021Q, vlan) if vlan is not None else b""
    return mac_bytes(dst) + mac_bytes(src) + tag + struct.pack("!H", ethertype) + payload


def ones_sum(data, start=0):
    """The folded ones' complement sum (RFC 1071), not inverted."""
    if len(data) % 2:
        data += b"\0"
    total = start + sum(struct.unpack("!%dH" % (len(data) // 2), data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total


def pseudo_sum(src, dst, protocol, length):
    return ones_sum(src + dst + struct.pack("!II", length, protocol))


def checksum_errors(frame):
    """What is wrong with a frame's IPv4 header, TCP and UDP checksums: a list of texts, empty when
    all is right; None when there is no checksum in it to look at."""
    at = 12
    while frame[at:at + 2] == b"\x81\x00":
        at += 4
    ethertype = struct.unpack("!H", frame[at:at + 2])[0]
    packet = frame[at + 2:]
    wrong = []
    if ethertype == ETH_P_IP:
        header = (packet[0] & 15) * 4
        length = struct.unpack("!H", packet[2:4])[0]
        if ones_sum(packet[:header]) != 0xFFFF:
            wrong.append("IPv4 header checksum")
        if struct.unpack("!H", packet[6:8])[0] & 0x3FFF:
            return wrong or None
        protocol, src, dst, body = packet[9], packet[12:16], packet[16:20], packet[header:length]
    elif ethertype == ETH_P_IPV6:
        length = struct.unpack("!H", packet[4:6])[0]
        protocol, src, dst, body = packet[6], packet[8:24], packet[24:40], packet[40:40 + length]
    else:
        return None
    if protocol not in (6, 17):
        return wrong or None
    if protocol == 17 and body[6:8] == b"\0\0":
        return wrong if ethertype == ETH_P_IP else ["UDP over IPv6 without a checksum"]
    if ones_sum(body, pseudo_sum(src, dst, protocol, len(body))) != 0xFFFF:
        wrong.append("%s checksum, %d bytes" % ("TCP" if protocol == 6 else "UDP", len(body)))
    return wrong


class Capture:
    """Collects the frames of one interface from now on, VLAN tags put back where the kernel takes
    them out. `keep(frame, outgoing)` chooses; the default keeps all."""

    def __init__(self, ns, ifname, keep=None, promiscuous=False):
        self.keep = keep
        self.frames = []
        self.lock = threading.Lock()
        self.sock = ns.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        self.sock.setsockopt(SOL_PACKET, PACKET_AUXDATA, 1)
        self.sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 64 << 20)
        self.sock.settimeout(0.1)
        self.sock.bind((ifname, ETH_P_ALL))
        if promiscuous:
            index = ns.inside(lambda: socket.if_nametoindex(ifname))
            self.sock.setsockopt(SOL_PACKET, PACKET_ADD_MEMBERSHIP,
                                 struct.pack("iHH8s", index, PACKET_MR_PROMISC, 0, b""))
        self.stopped = False
        self.thread = threading.Thread(target=self._collect, daemon=True)
        self.thread.start()

    def _collect(self):
        while True:
            try:
                # when it is to end: what is there already, and no more
                flags = socket.MSG_DONTWAIT if self.stopped else 0
                frame, control, _, address = self.sock.recvmsg(1 << 17, 256, flags)
            except (socket.timeout, BlockingIOError):
                if self.stopped:
                    return
                continue
            except OSError:
                return
            for level, kind, data in control:
                if level == SOL_PACKET and kind == PACKET_AUXDATA and len(data) >= 20:
                    status, _, _, _, _, tci, tpid = struct.unpack("IIIHHHH", data[:20])
                    if status & 0x10:  # TP_STATUS_VLAN_VALID
                        frame = frame[:12] + struct.pack("!HH", tpid or ETH_P_8021Q, tci) + frame[12:]
            if self.keep is None or self.keep(frame, address[2] == socket.PACKET_OUTGOING):
                with self.lock:
                    self.frames.append(frame)

    def snapshot(self):
        with self.lock:
            return list(self.frames)

    def count(self, condition=lambda frame: True):
        return sum(1 for frame in self.snapshot() if condition(frame))

    def wait(self, condition, timeout, what, count=1):
        """Waits until `count` frames satisfy condition; returns them."""
        found = lambda: [f for f in self.snapshot() if condition(f)]
        wait_until(lambda: len(found()) >= count, timeout, lambda: "%s (%d of %d so far, %d frames in all)"
                   % (what, len(found()), count, len(self.snapshot())))
        return found()

    def stop(self):
        """Ends it; returns the frames."""
        self.stopped = True
        self.thread.join()
        self.sock.close()
        return self.frames


# -- datagrams of the underlay (IPv4) ---------------------------------------------------------------

def van_payload(frame):
    """The UDP payload of a frame to or from VAN's port over IPv4, or None."""
    if frame[12:14] != b"\x08\x00" or frame[23] != 17 or len(frame) < 42:
        return None
    sport, dport, length = struct.unpack("!HHH", frame[34:40])
    return frame[42:34 + length] if PORT in (sport, dport) else None


def with_payload(frame, payload):
    """The same frame (Ethernet, IPv4 without options, UDP) around another payload. Without a UDP
    checksum, which IPv4 allows: the daemon and not the kernel is to look at the payload."""
    ip = bytearray(frame[14:34])
    ip[2:4] = struct.pack("!H", 28 + len(payload))
    ip[10:12] = b"\0\0"
    ip[10:12] = struct.pack("!H", ~ones_sum(bytes(ip)) & 0xFFFF)
    return frame[:14] + bytes(ip) + frame[34:38] + struct.pack("!HH", 8 + len(payload), 0) + payload


def intercept(sender, receiver, action, count=1, kind=4, then=None):
    """Runs action() while the receiver's machine throws away what comes to its port, and then(),
    once messages of that kind were sent. Returns the frames with them that the sender had on its
    cable: they never arrived."""
    receiver.ns.nft("""table inet intercept { chain in { type filter hook input priority 0;
                       udp dport %d drop } }""" % PORT)
    mac = mac_bytes(sender.ns.link("eth0")["address"])
    wire = Capture(sender.ns, "eth0", keep=lambda f, out: f[6:12] == mac
                   and (van_payload(f) or b"\0")[0] == kind)
    action()
    wait_until(lambda: len(wire.snapshot()) >= count, 10, "messages of kind %d are sent" % kind)
    if then:
        then()
    frames = wire.stop()
    receiver.ns.nft("delete table inet intercept")
    return frames


# -- netprobe -----------------------------------------------------------------------------------------

class Probe:
    """A netprobe subcommand in the background; its result is one JSON object."""

    count = 0

    def __init__(self, ns, command, *argv, ready=False):
        Probe.count += 1
        self.command = command
        self.process = ns.start("%s-%d" % (command, Probe.count), NETPROBE, command, *map(str, argv))
        if ready:
            wait_until(lambda: "ready" in self.process.text().splitlines()
                       or not self.process.running(), 10, "netprobe %s is ready" % command)

    def result(self, timeout, ok=True):
        status = self.process.wait(timeout)
        text = self.process.text()
        lines = [line for line in text.splitlines() if line.startswith("{")]
        check(lines and (status == 0 or not ok and status == 1),
              "netprobe %s ended with status %d:\n%s" % (self.command, status, text))
        return json.loads(lines[-1])

    def stop(self, timeout=10, ok=True):
        """SIGTERM, for those that run until then."""
        self.process.signal(signal.SIGTERM)
        return self.result(timeout, ok)


# -- the whole ----------------------------------------------------------------------------------------

class Topology:
    """All that one test makes, and its removal."""

    counter = 0

    def __init__(self, name, log_dir):
        Topology.counter += 1
        self.prefix = "van%d-%d" % (os.getpid(), Topology.counter)
        self.name, self.log_dir = name, log_dir
        os.makedirs(log_dir, exist_ok=True)
        # short: the path of a unix socket has room for 107 bytes
        self.tmp = tempfile.mkdtemp(prefix=self.prefix + "-")
        self.record("dir", self.tmp)
        self.namespaces, self.processes, self.sockets, self.mounts = [], [], [], []
        self.commands = open(os.path.join(log_dir, "commands.log"), "a")
        self.env = {**os.environ,
                    "HOME": self.tmp, "LC_ALL": "C.UTF-8", "NO_COLOR": "1",
                    "ASAN_OPTIONS": "detect_leaks=1:exitcode=99", "LSAN_OPTIONS": "exitcode=99",
                    "UBSAN_OPTIONS": "print_stacktrace=1:halt_on_error=1"}
        for variable in ("VAND_SOCKET", "VAN_CONSOLE", "XDG_CONFIG_HOME"):
            self.env.pop(variable, None)

    def unique(self, role):
        return "%s-%s" % (self.prefix, role)

    def record(self, kind, name):
        """Written down before it is made, so that it can be removed if this process dies."""
        with open(os.path.join(self.log_dir, "made"), "a") as f:
            f.write("%s %s\n" % (kind, name))

    def note(self, fmt, *args):
        self.commands.write("%.3f %s\n" % (time.monotonic(), fmt % args))
        self.commands.flush()

    def log_path(self, name):
        return os.path.join(self.log_dir, name.replace("/", "_") + ".log")

    def directory(self, name):
        path = os.path.join(self.tmp, name)
        os.mkdir(path)
        return path

    def quiet(self, *argv):
        return subprocess.run(argv, capture_output=True, text=True, timeout=30, check=False)

    def host(self, *argv, ok=True, timeout=30, stdin=None, env=None):
        shown = " ".join(argv)
        self.note("run %s", shown)
        try:
            done = subprocess.run(argv, capture_output=True, text=True, errors="replace",
                                  timeout=timeout * TIME_FACTOR, input=stdin, check=False,
                                  env={**self.env, **(env or {})})
        except subprocess.TimeoutExpired as e:
            raise Failure("%s: not done after %g s\n%s" % (
                shown, timeout * TIME_FACTOR, (e.stderr or b"").decode("utf-8", "replace"))) from None
        if done.returncode != 0 or done.stderr:
            self.note("  status %d: %s%s", done.returncode, done.stdout, done.stderr)
        check(not SANITIZER.search(done.stderr.encode()), shown + ":\n" + done.stderr)
        if ok:
            check(done.returncode == 0, "%s: status %d\n%s%s"
                  % (shown, done.returncode, done.stdout, done.stderr))
        return done

    def tmpfs(self, name, size):
        path = self.directory(name)
        self.host("mount", "-t", "tmpfs", "-o", "size=" + size, "van-test", path)
        self.record("mount", path)
        self.mounts.append(path)
        return path

    def misbehaviour(self):
        """Daemons that ended by themselves, and sanitizer reports."""
        found = []
        for process in self.processes:
            if process.daemon and not process.expected_exit and not process.running():
                found.append("%s ended by itself with status %d:\n%s"
                             % (process.name, process.popen.returncode, tail(process.log)))
        for log in {process.log for process in self.processes}:
            with open(log, "rb") as f:
                text = f.read()
            hit = SANITIZER.search(text)
            if hit:
                found.append("%s: %s" % (os.path.basename(log),
                                         text[hit.start():hit.start() + 4000].decode("utf-8", "replace")))
        return found

    def stop_daemons(self):
        """Ends what still runs in good order; returns what was wrong about it."""
        wrong = self.misbehaviour()
        for process in reversed(self.processes):
            if process.daemon and process.running():
                try:
                    process.stop()
                except Failure as failure:
                    wrong.append(str(failure))
        for text in self.misbehaviour():
            if text not in wrong:
                wrong.append(text)
        return wrong

    def close(self):
        for sock in self.sockets:
            sock.close()
        for process in self.processes:
            if process.running():
                process.popen.kill()
            process.popen.wait()
            process.output.close()
        self.commands.close()
        remove_recorded(os.path.join(self.log_dir, "made"))


def remove_recorded(path):
    """Removes what a topology wrote down: processes in its namespaces, namespaces, mounts, its
    temporary folder. All by exact name."""
    try:
        with open(path) as f:
            rows = [line.split(" ", 1) for line in f.read().splitlines()]
    except FileNotFoundError:
        return
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "check": False}
    for kind, name in reversed(rows):
        if kind == "ns" and os.path.exists("/run/netns/" + name):
            pids = subprocess.run(["ip", "netns", "pids", name], capture_output=True, text=True, check=False)
            for pid in pids.stdout.split():
                try:
                    os.kill(int(pid), signal.SIGKILL)
                except ProcessLookupError:
                    pass
            subprocess.run(["ip", "netns", "delete", name], **quiet)
        elif kind == "mount":
            subprocess.run(["umount", name], **quiet)
        elif kind == "dir":
            shutil.rmtree(name, ignore_errors=True)
    os.unlink(path)


def token_parts(token):
    """(pin, secret, url) of a join token, as lib/token.h lays it out."""
    raw = base64.urlsafe_b64decode(token[5:] + "=" * (-len(token[5:]) % 4))
    return raw[:32], raw[32:64], raw[64:-4]


def token_text(pin, secret, url):
    import hashlib
    raw = pin + secret + url
    raw += hashlib.sha256(raw).digest()[:4]
    return "van1_" + base64.urlsafe_b64encode(raw).decode().rstrip("=")


if __name__ == "__main__":
    sys.exit("this is the tests' library; run test/net/run.py")
