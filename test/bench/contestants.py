# SPDX-License-Identifier: Apache-2.0
"""Who is measured: each makes an overlay 10.88.0.1 (in link.a) – 10.88.0.2 (in link.b) and takes it
down again. What stands here is the fastest configuration that each one's own documents describe, of
those that encrypt and authenticate; `note` says what was chosen, and goes into the results.
"""

import os
import re
import shutil
import signal
import subprocess
import tempfile
import textwrap

import harness
import vannet
from vannet import Failure, check, wait_until

OVERLAY_A, OVERLAY_B = "10.88.0.1", "10.88.0.2"


class Contestant:
    name = None
    title = None
    note = ""
    programs = ()       # that must be installed, from the Debian packages
    packages = ()
    kind = "peer"       # "reference", "kernel", "van" or "peer": who is compared with whom
    layer = 2
    clear = False       # payload is readable on the underlay: a text sent must be found there; else must not
    ifname = "overlay0"
    overlay_a, overlay_b = OVERLAY_A, OVERLAY_B

    def __init__(self, net):
        self.net = net
        self.turn = 0
        self.dir = None
        self.processes = []
        self.tunnel_pids = []

    # what others override

    def prepare(self):
        """Once, before the first turn: keys and the like, in self.dir."""

    def start(self, link):
        raise NotImplementedError

    def version(self):
        return ", ".join("%s %s" % (p, harness.package_version(p)) for p in self.packages)

    def forwards(self):
        """Whether it carries packets of hosts behind its nodes as it stands: at layer 3, each would have
        to be told of them in its own way."""
        return self.layer == 2

    def reason_to_skip(self):
        missing = [p for p in self.programs if not shutil.which(p)]
        if missing:
            return "%s not installed (Debian: %s)" % (" and ".join(missing), " ".join(self.packages))
        return None

    # what is the same for all

    def up(self, link):
        if self.dir is None:
            self.dir = tempfile.mkdtemp(prefix=self.name + "-", dir=self.net.tmp)
            self.prepare()
        self.turn += 1
        before = harness.pids_in(link.a) | harness.pids_in(link.b)
        self.start(link)
        # at first, a frame or two may go into keys and addresses that are not known yet
        wait_until(lambda: link.a.pings(self.overlay_b), 20,
                   lambda: "%s carries a ping\n%s" % (self.title, self.logs()), interval=0.05)
        self.tunnel_pids = sorted((harness.pids_in(link.a) | harness.pids_in(link.b)) - before
                                  - self.not_the_tunnel())

    def not_the_tunnel(self):
        return set()

    def down(self, link):
        for process in reversed(self.processes):
            process.expected_exit = True
            if process.running():
                process.signal(signal.SIGTERM)
                try:
                    process.wait(10)
                except Failure:
                    pass  # killed then
        self.processes = []

    def ended(self):
        """Programs that were started here and run no more."""
        return [process.name for process in self.processes if not process.running()]

    def logs(self):
        return "\n".join(vannet.tail(log, 8) for log in dict.fromkeys(p.log for p in self.processes))

    # tools

    def launch(self, ns, *argv, env=None):
        process = ns.start("%s-%s" % (self.name, ns.role), *argv, env=env)
        self.processes.append(process)
        return process

    def write(self, name, text, mode=0o600):
        path = os.path.join(self.dir, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", opener=lambda p, flags: os.open(p, flags, mode)) as f:
            f.write(textwrap.dedent(text))
        return path

    def device(self, link, mtu=None, address=True):
        """Waits for the device at both ends and configures it."""
        for ns, ip in ((link.a, self.overlay_a), (link.b, self.overlay_b)):
            wait_until(lambda: ns.link(self.ifname), 10,
                       lambda: "%s makes %s\n%s" % (self.title, self.ifname, self.logs()))
            if mtu:
                ns.ip("link", "set", self.ifname, "mtu", str(mtu))
            ns.ip("link", "set", self.ifname, "up")
            if address:
                ns.ip("addr", "replace", ip + "/24", "dev", self.ifname)


class Veth(Contestant):
    name, title, kind, clear = "veth", "bare veth", "reference", True
    note = "no tunnel; MTU 1500"
    ifname = "eth0"
    overlay_a, overlay_b = "192.0.2.1", "192.0.2.2"

    def start(self, link):
        pass

    def version(self):
        return "Linux " + os.uname().release


class Vxlan(Contestant):
    name, title, kind, clear = "vxlan", "kernel VXLAN, clear text", "kernel", True
    note = "MTU 1450"
    ifname = "vxlan0"

    def version(self):
        return "Linux " + os.uname().release

    def start(self, link):
        for ns, here, there in ((link.a, link.address_a, link.address_b),
                                (link.b, link.address_b, link.address_a)):
            ns.ip("link", "add", self.ifname, "mtu", "1450", "type", "vxlan", "id", "88", "dstport", "4789",
                  "local", here, "remote", there, "dev", "eth0")
        self.device(link)

    def down(self, link):
        for ns, _ in link.ends():
            ns.ip("link", "del", self.ifname, ok=False)


class Van(Contestant):
    kind = "van"
    ifname = "vcider0"
    encryption = "aes-256-gcm"
    mtu = 1420

    def __init__(self, net, name="van", title="VAN, AES-256-GCM", encryption="aes-256-gcm", mtu=1420,
                 config=None):
        super().__init__(net)
        self.name, self.title, self.encryption, self.mtu = name, title, encryption, mtu
        self.config = config or {}
        self.clear = encryption == "integrity"
        self.console = None
        self.nodes = ()
        self.note = "%s, MTU %d%s" % (
            "AES-256-GMAC: authenticated, not hidden" if self.clear else "AES-256-GCM", mtu,
            "; " + ", ".join("%s = %s" % kv for kv in sorted(self.config.items())) if self.config else "")

    def version(self):
        return harness.van_version()

    def start(self, link):
        name = "%s-%d" % (self.name, self.turn)
        config = {"log_level": "info"}
        self.console = vannet.Console(self.net, link.a, link.address_a, config=config, name=name + "-console")
        self.console.network("bench", "10.88.0.0/24", encryption=self.encryption, mtu=self.mtu)
        token = self.console.token("bench", uses=2)
        self.nodes = tuple(vannet.Node(self.net, ns, config={**config, **self.config}, name=name + "-" + ns.role)
                           for ns in (link.a, link.b))
        for node, address in zip(self.nodes, (OVERLAY_A, OVERLAY_B)):
            node.join(token, address=address)
        self.processes = [self.console.process] + [node.process for node in self.nodes]

    def not_the_tunnel(self):
        return {self.console.process.pid}


class Tinc(Contestant):
    name, title = "tinc", "tinc 1.0, switch mode"
    programs, packages = ("tincd",), ("tinc",)
    note = "AES-128-CBC, HMAC-SHA1 cut to 4 bytes; TAP with MTU 1500, MSS clamped to the path"
    cipher, digest = "aes-128-cbc", "sha1"

    def prepare(self):
        for ns, other, address in (("a", "b", "192.0.2.1"), ("b", "a", "192.0.2.2")):
            self.write(ns + "/tinc.conf", """\
                Name = %s
                Mode = switch
                DeviceType = tap
                Interface = %s
                AddressFamily = ipv4
                BindToAddress = %s
                ConnectTo = %s
                ProcessPriority = high
                """ % (ns, self.ifname, address, other))
            self.write(ns + "/tinc-up", "#!/bin/sh\n", 0o700)
            host = """\
                Address = %s
                Cipher = %s
                Digest = %s
                Compression = 0
                """ % (address, self.cipher, self.digest)
            self.write(ns + "/hosts/" + ns, host)
            # asks for file names when it has a terminal
            subprocess.run(["tincd", "-c", os.path.join(self.dir, ns), "-K", "2048"], check=True,
                           stdin=subprocess.DEVNULL, capture_output=True, timeout=60)
        for ns, other in (("a", "b"), ("b", "a")):
            shutil.copy(os.path.join(self.dir, ns, "hosts", ns), os.path.join(self.dir, other, "hosts", ns))

    def start(self, link):
        for ns in (link.a, link.b):
            end = ns.role[-1]
            self.launch(ns, "tincd", "-c", os.path.join(self.dir, end), "-D",
                        "--pidfile=" + os.path.join(self.dir, end + ".pid"))
        self.device(link)


class Nebula(Contestant):
    name, title, layer = "nebula", "Nebula 1.6 (layer 3)", 3
    programs, packages = ("nebula", "nebula-cert"), ("nebula",)
    note = "AES-256-GCM; MTU 1440; routines 2"
    ifname = "nebula1"
    mtu, routines = 1440, 2

    def prepare(self):
        def cert(*argv):
            subprocess.run(["nebula-cert", *argv], check=True, cwd=self.dir, capture_output=True, timeout=60)

        cert("ca", "-name", "bench")
        for end, address, there in (("a", OVERLAY_A, (OVERLAY_B, "192.0.2.2")),
                                    ("b", OVERLAY_B, (OVERLAY_A, "192.0.2.1"))):
            cert("sign", "-name", end, "-ip", address + "/24")
            self.write(end + ".yml", """\
                pki: { ca: %(dir)s/ca.crt, cert: %(dir)s/%(end)s.crt, key: %(dir)s/%(end)s.key }
                static_host_map: { "%(peer)s": ["%(peer_at)s:4242"] }
                lighthouse: { am_lighthouse: false, hosts: [] }
                listen: { host: 0.0.0.0, port: 4242, batch: 64, read_buffer: 10485760, write_buffer: 10485760 }
                cipher: aes
                routines: %(routines)d
                tun: { dev: %(dev)s, tx_queue: 5000, mtu: %(mtu)d }
                logging: { level: error, format: text }
                firewall:
                  outbound: [{ port: any, proto: any, host: any }]
                  inbound: [{ port: any, proto: any, host: any }]
                """ % {"dir": self.dir, "end": end, "peer": there[0], "peer_at": there[1], "dev": self.ifname,
                       "mtu": self.mtu, "routines": self.routines})

    def start(self, link):
        for ns in (link.a, link.b):
            self.launch(ns, "nebula", "-config", os.path.join(self.dir, ns.role[-1] + ".yml"))
        self.device(link, address=False)


class WireguardGo(Contestant):
    name, title, layer = "wireguard-go", "wireguard-go (layer 3)", 3
    programs, packages = ("wireguard-go", "wg"), ("wireguard-go", "wireguard-tools")
    note = "ChaCha20-Poly1305; MTU 1420"

    def prepare(self):
        self.keys = {}
        for end in "ab":
            private = subprocess.run(["wg", "genkey"], check=True, capture_output=True, text=True).stdout
            public = subprocess.run(["wg", "pubkey"], check=True, capture_output=True, text=True, input=private)
            self.keys[end] = (self.write(end + ".key", private), public.stdout.strip())

    def start(self, link):
        # its control sockets stand in one folder for all namespaces: names of their own
        for ns, here, there, other in ((link.a, OVERLAY_A, OVERLAY_B, (link.address_b, "b")),
                                       (link.b, OVERLAY_B, OVERLAY_A, (link.address_a, "a"))):
            ifname = self.interface(ns)
            self.launch(ns, "wireguard-go", "-f", ifname, env={"LOG_LEVEL": "error"})
            wait_until(lambda: os.path.exists(self.control(ifname)), 10,
                       lambda: "wireguard-go makes its socket\n" + self.logs())
            ns.run("wg", "set", ifname, "listen-port", "51820", "private-key", self.keys[ns.role[-1]][0],
                   "peer", self.keys[other[1]][1], "allowed-ips", there + "/32",
                   "endpoint", other[0] + ":51820")
            ns.ip("link", "set", ifname, "mtu", "1420", "up")
            ns.ip("addr", "add", here + "/24", "dev", ifname)
        self.ifname = self.interface(link.a)

    @staticmethod
    def interface(ns):
        return "wg%s%d" % (ns.role[-1], os.getpid())

    @staticmethod
    def control(ifname):
        return "/var/run/wireguard/%s.sock" % ifname

    def down(self, link):
        super().down(link)
        for ns, _ in link.ends():
            try:
                os.unlink(self.control(self.interface(ns)))
            except FileNotFoundError:
                pass


class OpenVpn(Contestant):
    programs, packages = ("openvpn",), ("openvpn",)
    options = "fast-io, mssfix 0, txqueuelen 1000, sndbuf and rcvbuf 524288"

    def __init__(self, net, name="openvpn", title="OpenVPN, tap", mtu=1434):
        super().__init__(net)
        self.name, self.title, self.mtu = name, title, mtu
        self.note = "AES-256-GCM; MTU %d%s; %s" % (mtu, "" if mtu < 1500 else ", in IP fragments", self.options)

    def prepare(self):
        self.prints = {}
        for end in "ab":
            key, cert = (os.path.join(self.dir, end + suffix) for suffix in (".key", ".crt"))
            self_signed(key, cert, end)
            shown = subprocess.run(["openssl", "x509", "-in", cert, "-noout", "-fingerprint", "-sha256"],
                                   check=True, capture_output=True, text=True).stdout
            self.prints[end] = shown.strip().partition("=")[2]

    def start(self, link):
        for (ns, here), (other, there), role in zip(link.ends(), reversed(link.ends()),
                                                    ("tls-server\ndh none", "tls-client")):
            end = ns.role[-1]
            text = ["dev " + self.ifname, "dev-type tap", "proto udp4", "local " + here, "remote " + there,
                    "port 1194", role, "cert %s/%s.crt" % (self.dir, end), "key %s/%s.key" % (self.dir, end),
                    "peer-fingerprint " + self.prints[other.role[-1]], "data-ciphers AES-256-GCM",
                    "tun-mtu %d" % self.mtu, "mssfix 0", "fast-io", "txqueuelen 1000",
                    "sndbuf 524288", "rcvbuf 524288", "persist-tun", "verb 1"]
            self.launch(ns, "openvpn", "--config", self.write("%s.conf" % end, "\n".join(text) + "\n"))
        self.device(link, mtu=self.mtu)


class Fastd(Contestant):
    name, title = "fastd", "fastd, TAP"
    programs, packages = ("fastd",), ("fastd",)
    note = "salsa2012+umac; MTU 1434"
    method, mtu = "salsa2012+umac", 1434

    def prepare(self):
        self.keys = {}
        for end in "ab":
            made = subprocess.run(["fastd", "--generate-key", "--machine-readable"], check=True,
                                  capture_output=True, text=True).stdout.strip()
            secret = self.write(end + ".secret", 'secret "%s";\n' % made)
            public = subprocess.run(["fastd", "--config", secret, "--show-key", "--machine-readable"],
                                    check=True, capture_output=True, text=True).stdout.strip()
            self.keys[end] = public

    def start(self, link):
        for (ns, here), (other, there) in zip(link.ends(), reversed(link.ends())):
            end = ns.role[-1]
            config = self.write(end + ".conf", """\
                log level warn;
                mode tap;
                interface "%s";
                method "%s";
                bind %s:10000;
                mtu %d;
                include "%s.secret";
                peer "other" { key "%s"; %s}
                """ % (self.ifname, self.method, here, self.mtu, end, self.keys[other.role[-1]],
                       "remote %s:10000; " % there if end == "b" else ""))
            # one calls the other, which is there already: who calls in vain waits for many seconds
            self.launch(ns, "fastd", "--config", config)
            wait_until(lambda: ns.link(self.ifname), 10, lambda: "fastd starts\n" + self.logs())
        self.device(link)


class Extra(Contestant):
    """An executable of BENCH_EXTRA, called `up|down NS_A NS_B ADDR_A ADDR_B`."""

    def __init__(self, net, path):
        super().__init__(net)
        self.path = path
        self.name = re.sub(r"[^A-Za-z0-9_.-]", "-", os.path.splitext(os.path.basename(path))[0])
        self.title = self.name
        self.note = "from BENCH_EXTRA"
        self.clear = self.layer = None  # not known
        self.is_up = False

    def version(self):
        return "see " + self.path

    def call(self, link, what, ok=True):
        """It may leave programs behind: its output goes into a file, not a pipe."""
        log = self.net.log_path("extra-" + self.name)
        with open(log, "ab") as f:
            self.net.note("%s %s", self.path, what)
            try:
                done = subprocess.run([self.path, what, link.a.name, link.b.name, link.address_a, link.address_b],
                                      stdin=subprocess.DEVNULL, stdout=f, stderr=subprocess.STDOUT, timeout=60,
                                      check=False)
            except (OSError, subprocess.TimeoutExpired) as error:
                raise Failure("%s %s: %s" % (self.path, what, error)) from None
        if ok:
            check(done.returncode == 0, lambda: "%s %s ended with status %d:\n%s"
                  % (self.path, what, done.returncode, vannet.tail(log)))

    def start(self, link):
        self.is_up = True
        self.call(link, "up")

    def down(self, link):
        if self.is_up:
            self.is_up = False
            self.call(link, "down", ok=False)


def self_signed(key, cert, name, addresses=()):
    """A P-256 key and a certificate for it."""
    names = ["-addext", "subjectAltName=" + ",".join("IP:" + a for a in addresses)] if addresses else []
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
                    "-nodes", "-days", "2", "-subj", "/CN=" + name, "-keyout", key, "-out", cert, *names],
                   check=True, capture_output=True, timeout=60)


def all_contestants(net, van_config=None, extra_dir=None):
    """In the order in which they are measured."""
    chosen = [Veth(net), Vxlan(net),
              Van(net, config=van_config),
              Van(net, "van-integrity", "VAN, integrity", "integrity", config=van_config),
              Tinc(net), Nebula(net), WireguardGo(net), OpenVpn(net),
              # the project's own advice for fast links; only between machines that all have this MTU
              OpenVpn(net, "openvpn-jumbo", "OpenVPN, tap, tun-mtu 48000", 48000),
              Fastd(net)]
    if extra_dir:
        if not os.path.isdir(extra_dir):
            raise harness.UsageError("BENCH_EXTRA=%s: not a folder" % extra_dir)
        for name in sorted(os.listdir(extra_dir)):
            path = os.path.abspath(os.path.join(extra_dir, name))
            if os.path.isfile(path) and os.access(path, os.X_OK):
                chosen.append(Extra(net, path))
    return chosen
