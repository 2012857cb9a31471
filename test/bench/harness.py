# SPDX-License-Identifier: Apache-2.0
"""What the benchmarks share: settings, the bare link, processor time, progress, the machine.

Namespaces, programs and their removal are those of the network tests (test/net/vannet.py).
"""

import contextlib
import glob
import json
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "net"))
sys.dont_write_bytecode = True

import vannet  # noqa: E402

OUTPUT = os.path.join(vannet.BUILD, "bench")
LOGS = os.path.join(OUTPUT, "logs")
TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")
BACKGROUND_LIMIT = 0.05


# -- settings -------------------------------------------------------------------------------------

class UsageError(Exception):
    pass


def setting(name, default, convert, minimum=None):
    text = os.environ.get(name, "").strip()
    if not text:
        return default
    try:
        value = convert(text)
    except ValueError as error:
        raise UsageError("%s=%s: %s" % (name, text, error)) from None
    if minimum is not None and value < minimum:
        raise UsageError("%s=%s: at least %s" % (name, text, minimum))
    return value


def words(name, known):
    """A list like "a,b" from the environment; all that are known where it is not set."""
    chosen = [w for w in re.split(r"[,\s]+", os.environ.get(name, "")) if w]
    for word in chosen:
        if word not in known:
            raise UsageError("%s: there is no %r; there are: %s" % (name, word, ", ".join(known)))
    return [k for k in known if k in chosen] if chosen else list(known)


def van_config():
    """BENCH_VAN: options of vand.conf, as JSON, for the VAN that is measured."""
    text = os.environ.get("BENCH_VAN", "").strip()
    try:
        config = json.loads(text or "{}")
    except ValueError as error:
        raise UsageError("BENCH_VAN=%s: %s" % (text, error)) from None
    if not isinstance(config, dict):
        raise UsageError("BENCH_VAN=%s: not a JSON object" % text)
    return config


def congestion_control():
    """BENCH_CC: the congestion control of the TCP streams; None for what the machine has set."""
    path = "/proc/sys/net/ipv4/tcp_available_congestion_control"
    chosen = words("BENCH_CC", read(path).split()) if os.environ.get("BENCH_CC") else []
    return chosen[0] if chosen else None


# -- the link ---------------------------------------------------------------------------------------

class Link:
    """Two namespaces joined by a veth with an MTU of 1500: all that is measured goes over it.

        lan eth0 198.51.100.2 ───────── eth1 198.51.100.1 a eth0 192.0.2.1 ───────── eth0 192.0.2.2 b

    The lan is there once add_lan() was called: a host behind a, which forwards for it.
    """

    mtu = 1500
    lan_address, gateway_address, lan_prefix = "198.51.100.2", "198.51.100.1", "198.51.100.0/24"

    def __init__(self, net, role="", congestion_control=None):
        self.net = net
        self.iperf3_options = ["-C", congestion_control] if congestion_control else []
        self.a = vannet.Namespace(net, role + "a")
        self.b = vannet.Namespace(net, role + "b")
        self.address_a, self.address_b = "192.0.2.1", "192.0.2.2"
        for ns in (self.a, self.b):
            # no kernel says anything by itself
            ns.sysctl("net/ipv6/conf/all/disable_ipv6", 1)
            ns.sysctl("net/ipv6/conf/default/disable_ipv6", 1)
        self.a.ip("link", "add", "eth0", "mtu", str(self.mtu), "type", "veth",
                  "peer", "name", "eth0", "mtu", str(self.mtu), "netns", self.b.name)
        for ns, address in self.ends():
            ns.ip("addr", "add", address + "/24", "dev", "eth0")
            ns.ip("link", "set", "eth0", "up")

        self.lan = None

    def ends(self):
        return ((self.a, self.address_a), (self.b, self.address_b))

    def add_lan(self):
        if self.lan:
            return
        self.lan = vannet.Namespace(self.net, "lan")
        self.lan.sysctl("net/ipv6/conf/all/disable_ipv6", 1)
        self.lan.sysctl("net/ipv6/conf/default/disable_ipv6", 1)
        self.lan.ip("link", "add", "eth0", "mtu", str(self.mtu), "type", "veth",
                    "peer", "name", "eth1", "mtu", str(self.mtu), "netns", self.a.name)
        for ns, name, address in ((self.lan, "eth0", self.lan_address), (self.a, "eth1", self.gateway_address)):
            ns.ip("addr", "add", address + "/24", "dev", name)
            ns.ip("link", "set", name, "up")
        self.lan.ip("route", "add", "default", "via", self.gateway_address)
        self.a.sysctl("net/ipv4/ip_forward", 1)

    def limit(self, rate, burst, latency):
        """A rate limit in both directions (tc-tbf(8))."""
        for ns, _ in self.ends():
            ns.run("tc", "qdisc", "replace", "dev", "eth0", "root", "tbf",
                   "rate", rate, "burst", burst, "latency", latency)

    def bytes_sent(self):
        """By both ends, as the devices count them."""
        return sum(counter(ns, "eth0", "tx_bytes") for ns, _ in self.ends())

    def packets_cut(self):
        """Fragments that IP made, at both ends."""
        total = 0
        for ns, _ in self.ends():
            rows = [row.split() for row in ns.inside(lambda: read("/proc/thread-self/net/snmp")).splitlines()
                    if row.startswith("Ip:")]
            total += int(rows[1][rows[0].index("FragCreates")])
        return total


def read(path):
    with open(path, encoding="utf-8", errors="replace") as f:
        return f.read()


def counter(ns, ifname, name):
    link = json.loads(ns.net.quiet("ip", "-n", ns.name, "-j", "-s", "link", "show", "dev", ifname).stdout)[0]
    direction, what = name.split("_")
    return link["stats64"][direction][what]


# -- processor time and memory ------------------------------------------------------------------------

def machine_busy_s():
    """Seconds that all processors together have been busy. What a hypervisor took away is not in it."""
    fields = [int(f) for f in read("/proc/stat").split("\n", 1)[0].split()[1:]]
    user, nice, system, _idle, _iowait, irq, softirq = fields[:7]
    return (user + nice + system + irq + softirq) / TICKS_A_SECOND


def machine_stolen_s():
    fields = read("/proc/stat").split("\n", 1)[0].split()[1:]
    return int(fields[7]) / TICKS_A_SECOND


def background_share(seconds=1.0):
    """What part of all processors others use, while nothing is measured; of a machine that is quiet,
    next to nothing."""
    busy, start = machine_busy_s(), time.monotonic()
    time.sleep(seconds)
    return (machine_busy_s() - busy) / (time.monotonic() - start) / os.cpu_count()


def background_warning(shares):
    """A line, or nothing: for whoever reads the figures."""
    if max(shares, default=0) > BACKGROUND_LIMIT:
        yield "note: other programs used %.0f %% of the processors before a round: the figures are too low" \
            % (100 * max(shares))


def process_cpu_s(pid):
    """User and system time of a process, all its threads."""
    try:
        fields = read("/proc/%d/stat" % pid).rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / TICKS_A_SECOND


def process_run_us(pid):
    """Time that its threads have run, finer than process_cpu_s()."""
    total = 0
    for path in glob.glob("/proc/%d/task/*/schedstat" % pid):
        try:
            total += int(read(path).split()[0])
        except OSError:
            pass  # the thread has ended
    return total / 1e3


def process_rss_bytes(pid):
    try:
        return int(read("/proc/%d/statm" % pid).split()[1]) * PAGE
    except OSError:
        return 0


def pids_in(ns):
    return {int(pid) for pid in ns.net.quiet("ip", "netns", "pids", ns.name).stdout.split()}


# -- the machine ------------------------------------------------------------------------------------

def command_output(*argv):
    try:
        done = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=20,
                              check=False, errors="replace")
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip()


def package_version(name):
    return command_output("dpkg-query", "-W", "-f", "${Version}", name) if shutil.which("dpkg-query") else ""


def describe_machine():
    cpuinfo = read("/proc/cpuinfo")

    def field(name):
        found = re.search(r"^%s\s*:\s*(.*)$" % name, cpuinfo, re.M)
        return found.group(1).strip() if found else None

    flags = (field("flags") or field("Features") or "").split()
    memory = re.search(r"MemTotal:\s*(\d+)", read("/proc/meminfo"))
    return {
        "kernel": platform.release(),
        "architecture": platform.machine(),
        "cpu_model": field("model name") or field("CPU part"),
        "cpus": os.cpu_count(),
        "cpu_flags": [f for f in ("aes", "vaes", "pclmulqdq", "vpclmulqdq", "sha_ni", "avx2", "avx512f")
                      if f in flags],
        "memory_mib": int(memory.group(1)) // 1024 if memory else None,
        "hypervisor": "hypervisor" in flags,
        "tcp_congestion_control": read("/proc/sys/net/ipv4/tcp_congestion_control").strip(),
        "socket_buffer_max_bytes": int(read("/proc/sys/net/core/rmem_max")),
    }


def van_version():
    """What vand says of itself, and the state of the source tree where git knows it."""
    version = command_output(os.path.join(vannet.BUILD, "vand/vand"), "--version").splitlines()
    git = command_output("git", "-C", vannet.ROOT, "describe", "--always", "--dirty")
    known = re.fullmatch(r"[\w.+-]+", git)
    return (version[0] if version else "?") + (" (%s)" % git if known else "")


# -- progress ---------------------------------------------------------------------------------------

class Progress:
    """What runs now, and how long the rest takes: an estimate at first, then what it took so far.
    The unit of `weight` is seconds as planned."""

    def __init__(self, total_weight):
        self.total, self.done = total_weight, 0.0
        self.started = time.monotonic()
        self.tty = sys.stderr.isatty()
        self.last = None

    def left_s(self):
        spent = time.monotonic() - self.started
        planned = self.total - self.done
        return planned * spent / self.done if self.done > 0.2 * self.total else planned

    def show(self, heading, detail):
        left = self.left_s()
        text = "%s: %s (%s left)" % (heading, detail, "about %d min" % round(left / 60) if left > 90
                                     else "about %d s" % max(0, round(left)))
        if self.tty:
            print("\r\033[K" + text[:110], end="", file=sys.stderr, flush=True)
        elif heading != self.last:
            print(text, file=sys.stderr, flush=True)
        self.last = heading

    def note(self, text):
        """A line that stays."""
        print(("\r\033[K" if self.tty else "") + text, file=sys.stderr, flush=True)

    def step(self, weight):
        self.done += weight

    def end(self):
        if self.tty:
            print("\r\033[K", end="", file=sys.stderr, flush=True)


# -- a run, and its end -------------------------------------------------------------------------------

def check_root():
    if os.geteuid() != 0:
        raise UsageError("network namespaces need root")
    if not os.path.exists("/dev/net/tun"):
        raise UsageError("there is no /dev/net/tun: modprobe tun")


@contextlib.contextmanager
def topology(name):
    """A Topology that is removed however this ends, also by SIGINT, SIGTERM and SIGHUP."""
    remove_leftovers()
    log_dir = os.path.join(LOGS, "%s-%d" % (name, os.getpid()))
    shutil.rmtree(log_dir, ignore_errors=True)
    net = vannet.Topology(name, log_dir)

    def on_end(_number, _frame):
        raise KeyboardInterrupt()

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, on_end)
    try:
        yield net
    finally:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        net.close()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)


def forget_ended(net):
    """Closes the logs of programs that have ended: a long run starts hundreds."""
    for process in [p for p in net.processes if not p.running()]:
        process.output.close()
        net.processes.remove(process)


def remove_leftovers():
    """What a run left that was killed outright. Logs of earlier runs go too."""
    for path in glob.glob(os.path.join(LOGS, "*")):
        pid = path.rpartition("-")[2]
        if pid.isdigit() and os.path.exists("/proc/" + pid) and int(pid) != os.getpid():
            continue
        vannet.remove_recorded(os.path.join(path, "made"))
        shutil.rmtree(path, ignore_errors=True)


def write_text(name, text):
    os.makedirs(OUTPUT, exist_ok=True)
    path = os.path.join(OUTPUT, name)
    with open(path + ".new", "w", encoding="utf-8") as f:
        f.write(text)
    os.replace(path + ".new", path)
    return path


def write_json(name, data):
    return write_text(name, json.dumps(data, indent=1, ensure_ascii=False) + "\n")


def now_text():
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


# What may go wrong with one contestant or one measurement without ending the run.
EXPECTED = (vannet.Failure, OSError, subprocess.SubprocessError, KeyError, ValueError, json.JSONDecodeError)
