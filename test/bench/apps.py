# SPDX-License-Identifier: Apache-2.0
"""What applications have of it: redis and PostgreSQL across two namespaces, plain over VAN, with their
own TLS over the bare veth, and plain over the bare veth. One server of each, with VAN beside it all
the time, so that nothing but the way differs. In turn, and repeated.

        a (client) 192.0.2.1 ───────── 192.0.2.2 b (redis, PostgreSQL)
                   10.88.0.1 ── VAN ── 10.88.0.2
"""

import csv
import glob
import os
import pwd
import re
import shutil
import tempfile

import harness
import report
from contestants import OVERLAY_B, Van, self_signed
from vannet import Failure, check, wait_until

# way: (title, over VAN?, TLS?)
WAYS = {"bare": ("plain over the bare veth", False, False),
        "van": ("plain over VAN", True, False),
        "tls": ("its own TLS over the bare veth", False, True)}
APPS = ("redis", "postgresql")
UP_S = 3


class Server:
    """A server in link.b that listens on the address of the veth and on that of the overlay."""

    name = None
    tests = {}  # name: title
    unit = ""

    def __init__(self, link):
        self.link, self.net = link, link.net
        self.addresses = (link.address_b, OVERLAY_B)
        self.dir = tempfile.mkdtemp(prefix=self.name + "-", dir=self.net.tmp)
        self.process = None

    def stop(self):
        if self.process and self.process.running():
            self.process.expected_exit = True
            self.process.signal(self.stop_signal)
            try:
                self.process.wait(20)
            except Failure:
                pass  # killed then


class Redis(Server):
    """redis-server with TLS on a port of its own; nothing is written to disk."""

    name, unit, stop_signal = "redis", "requests/s", 15
    value_bytes, clients = 1024, 50
    depths = {"": 1, "_pipelined": 16}
    tests = {op + suffix: "redis %s, 1 KB values%s" % (op, ", 16 requests in a pipeline" if suffix else "")
             for suffix in ("", "_pipelined") for op in ("GET", "SET")}

    @staticmethod
    def reason_to_skip():
        missing = [p for p in ("redis-server", "redis-benchmark", "redis-cli") if not shutil.which(p)]
        if missing:
            return "%s not installed (Debian: redis-server redis-tools)" % " and ".join(missing)
        if "--tls" not in harness.command_output("redis-benchmark", "--help"):
            return "this redis-benchmark knows no TLS"
        return None

    @staticmethod
    def version():
        return "redis " + harness.package_version("redis-server")

    def start(self):
        key, self.cert = os.path.join(self.dir, "key.pem"), os.path.join(self.dir, "cert.pem")
        self_signed(key, self.cert, "redis", self.addresses)
        self.process = self.link.b.start(
            "redis", "redis-server", "--bind", *self.addresses, "--port", "6379", "--tls-port", "6380",
            "--tls-cert-file", self.cert, "--tls-key-file", key, "--tls-ca-cert-file", self.cert,
            "--tls-auth-clients", "no", "--protected-mode", "no", "--save", "", "--appendonly", "no",
            "--dir", self.dir)
        wait_until(lambda: "Ready to accept connections" in self.process.text() or not self.process.running(),
                   20, "redis-server is ready")
        check(self.process.running(), lambda: "redis-server ended:\n" + self.process.text())
        self.counts = {}
        # what GET is to find; redis-benchmark has one key for all, of this name
        self.benchmark("SET", False, False, 1)
        length = self.link.a.run("redis-cli", "-h", self.addresses[0], "strlen", "key:__rand_int__").stdout
        check(length.strip() == str(self.value_bytes), "redis: a value has %r bytes" % length)

    def benchmark(self, test, over_van, tls, count):
        operation = test.partition("_")[0]
        depth = self.depths[test[len(operation):]]
        argv = ["redis-benchmark", "-h", self.addresses[1 if over_van else 0], "-p", "6380" if tls else "6379",
                "-t", operation.lower(), "-d", str(self.value_bytes), "-c", str(self.clients), "-P", str(depth),
                "-n", str(count), "--csv", *(["--tls", "--cacert", self.cert] if tls else [])]
        out = self.link.a.run(*argv, timeout=120).stdout
        rows = {row.get("test"): row for row in csv.DictReader(out[out.find('"test"'):].splitlines())}
        check(operation in rows, lambda: "redis-benchmark printed %r" % out)
        return rows[operation]

    def run(self, test, way, seconds):
        """Figures of one test. How many requests make the time is tried once for each way."""
        _, over_van, tls = WAYS[way]
        if (test, way) not in self.counts:
            rate = float(self.benchmark(test, over_van, tls, 20000)["rps"])
            self.counts[test, way] = max(5000, int(rate * seconds))
        row = self.benchmark(test, over_van, tls, self.counts[test, way])
        return {"per_second": float(row["rps"]), "p50_ms": float(row["p50_latency_ms"]),
                "p99_ms": float(row["p99_latency_ms"])}


class Postgresql(Server):
    """A cluster of its own in a temporary folder. Without fsync: the disk is not what is asked about."""

    name, unit, stop_signal = "postgresql", "transactions/s", 2
    tests = {"select": "pgbench, one SELECT each", "tpcb": "pgbench, TPC-B-like"}
    scale, clients, threads = 10, 8, 2

    @staticmethod
    def programs():
        """The folder of the newest version's programs, or None."""
        found = [d for d in glob.glob("/usr/lib/postgresql/*/bin")
                 if all(os.path.exists(os.path.join(d, p)) for p in ("initdb", "postgres", "pgbench", "psql"))]
        return max(found, key=lambda d: int(re.search(r"/(\d+)/bin", d).group(1)), default=None)

    @classmethod
    def reason_to_skip(cls):
        if not cls.programs():
            return "PostgreSQL is not installed (Debian: postgresql postgresql-contrib)"
        try:
            pwd.getpwnam("postgres")
        except KeyError:
            return "there is no user postgres, and the server refuses to run as root"
        return None

    @classmethod
    def version(cls):
        return harness.command_output(os.path.join(cls.programs(), "postgres"), "--version")

    def as_postgres(self, *argv):
        return ["setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups", *argv]

    def start(self):
        self.bin = self.programs()
        account = pwd.getpwnam("postgres")
        os.chmod(self.net.tmp, 0o711)
        os.chown(self.dir, account.pw_uid, account.pw_gid)
        data = os.path.join(self.dir, "data")
        self.net.host(*self.as_postgres(
            os.path.join(self.bin, "initdb"), "-D", data, "--auth=trust", "--no-sync", "-E", "UTF8",
            "--locale=C.UTF-8"), timeout=120)
        key, cert = os.path.join(data, "server.key"), os.path.join(data, "server.crt")
        self_signed(key, cert, "postgresql", self.addresses)
        for path in (key, cert):
            os.chown(path, account.pw_uid, account.pw_gid)
            os.chmod(path, 0o600)
        with open(os.path.join(data, "pg_hba.conf"), "w", encoding="ascii") as f:
            f.write("local all all trust\nhost all all samenet trust\n")
        options = {"listen_addresses": ",".join(self.addresses), "port": "5432", "ssl": "on", "fsync": "off",
                   "unix_socket_directories": self.dir, "shared_buffers": "256MB", "max_wal_size": "4GB",
                   "autovacuum": "off"}
        self.process = self.link.b.start("postgresql", *self.as_postgres(
            os.path.join(self.bin, "postgres"), "-D", data,
            *(word for name, value in options.items() for word in ("-c", "%s=%s" % (name, value)))))
        wait_until(lambda: "ready to accept connections" in self.process.text() or not self.process.running(),
                   30, "PostgreSQL is ready")
        check(self.process.running(), lambda: "postgres ended:\n" + self.process.text())
        self.pgbench(self.addresses[0], False, "-i", "-q", "-s", str(self.scale))

    def pgbench(self, address, tls, *argv, timeout=120):
        return self.link.a.run(os.path.join(self.bin, "pgbench"), "-h", address, "-U", "postgres", *argv,
                               "postgres", timeout=timeout,
                               env={"PGSSLMODE": "require" if tls else "disable"}).stdout

    def run(self, test, way, seconds):
        _, over_van, tls = WAYS[way]
        out = self.pgbench(self.addresses[1 if over_van else 0], tls, "-n", "-M", "prepared", "-c",
                           str(self.clients), "-j", str(self.threads), "-T", str(seconds),
                           *(["-S"] if test == "select" else []))
        rate, latency = re.search(r"^tps = ([\d.]+)", out, re.M), re.search(r"latency average = ([\d.]+) ms", out)
        check(rate and latency, lambda: "pgbench printed %r" % out)
        return {"per_second": float(rate.group(1)), "mean_ms": float(latency.group(1))}


def summarise(result):
    """Spreads, and ratios of the same rounds."""
    result["summary"], result["ratios"] = {}, {}
    for test, ways in result["rounds"].items():
        result["summary"][test] = {way: report.spread([r["per_second"] for r in rows if r])
                                   for way, rows in ways.items()}
        result["ratios"][test] = {}
        for name, one, other in (("van_to_tls", "van", "tls"), ("van_to_bare", "van", "bare"),
                                 ("tls_to_bare", "tls", "bare")):
            result["ratios"][test][name] = report.spread(
                [a["per_second"] / b["per_second"] for a, b in zip(ways[one], ways[other]) if a and b])


def run_server(server, rounds, seconds, progress):
    """{test: {way: [figures or None, a round each]}} and what failed."""
    measured = {test: {way: [] for way in WAYS} for test in server.tests}
    errors = []
    for turn in range(1, rounds + 1):
        for test, title in server.tests.items():
            for way, (way_title, _, _) in WAYS.items():
                progress.show("round %d of %d, %s" % (turn, rounds, server.name), "%s, %s" % (title, way_title))
                try:
                    figures = server.run(test, way, seconds)
                except harness.EXPECTED as error:
                    figures = None
                    errors.append("round %d, %s, %s: %s" % (turn, title, way_title, error))
                    progress.note(report.one_line(errors[-1]))
                measured[test][way].append(figures)
                harness.forget_ended(server.net)
                progress.step(seconds)
    return measured, errors


def lines(results):
    for app in APPS:
        result = results[app]
        yield ""
        if result["skipped"] is not None:
            yield "%s: skipped: %s" % (app, report.one_line(result["skipped"]))
            continue
        yield "%s, %s" % (result["version"], result["unit"])
        for test, title in result["tests"].items():
            yield ""
            yield "  %-46s %10s %10s %10s   of plain, bare veth: %5s %7s %7s" % (
                title, "min", "median", "max", "min", "median", "max")
            for way, (way_title, _, _) in WAYS.items():
                row = result["summary"][test][way]
                if row is None:
                    yield "    %-44s %10s" % (way_title, "failed")
                    continue
                text = "    %-44s %10.0f %10.0f %10.0f" % (way_title, row["min"], row["median"], row["max"])
                ratio = result["ratios"][test].get(way + "_to_bare")
                if ratio:
                    text += "   %26.3f %7.3f %7.3f" % (ratio["min"], ratio["median"], ratio["max"])
                yield text
            ratio = result["ratios"][test]["van_to_tls"]
            if ratio:
                yield "    %-44s %32s   %26.3f %7.3f %7.3f" % (
                    "over VAN, of its own TLS", "", ratio["min"], ratio["median"], ratio["max"])
        for error in result["errors"]:
            yield "  failed: " + report.one_line(error)


def run(net, rounds, seconds, chosen, van_config):
    """Results of all servers that are there, by name."""
    results = {"background_cpu_share": [harness.background_share()]}
    servers = {"redis": Redis, "postgresql": Postgresql}
    progress = harness.Progress(sum(len(servers[a].tests) * len(WAYS) * rounds * seconds + UP_S for a in chosen))
    link = harness.Link(net)
    van = Van(net, config=van_config)
    try:
        progress.show("VAN", "starts")
        van.up(link)
        for app in APPS:
            cls = servers[app]
            reason = cls.reason_to_skip() if app in chosen else "not chosen"
            result = {"title": app, "skipped": reason, "unit": cls.unit, "tests": cls.tests, "rounds": {},
                      "errors": [], "version": cls.version() if reason is None else None}
            results[app] = result
            if reason is None:
                server = cls(link)
                try:
                    server.start()
                    progress.step(UP_S)
                    result["rounds"], result["errors"] = run_server(server, rounds, seconds, progress)
                except harness.EXPECTED as error:
                    result["skipped"] = "does not run here: %s" % error
                finally:
                    server.stop()
            summarise(result)
    finally:
        van.down(link)
        progress.end()
    results["van"] = {"version": van.version(), "note": van.note}
    return results
