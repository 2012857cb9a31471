# SPDX-License-Identifier: Apache-2.0
"""A console under the load of simulated agents (test/tools/agentload.c): real HTTPS, long polls and a
report every ten seconds each. `run.py --long` has the large ones, which print what they measured."""
import json
import os
import subprocess

from consoletest import BUILD, eq, options

AGENTLOAD = os.path.join(BUILD, "test", "tools", "agentload")
STATSFILL = os.path.join(BUILD, "test", "tools", "statsfill")
SANITIZED = "san" in BUILD
# The load comes from one machine, and must not be held for an attack by it.
ROOM = 'rate_enrolments = 100000; rate_address = 1000000; max_connections = 20000;'


def load(c, agents, *more, limit_s=90):
    key_file = os.path.join(c.state_dir, "admin.key")
    args = [AGENTLOAD, "--console", f"https://127.0.0.1:{c.port}", "--pin",
            c.state("tls.pin").strip(), "--key-file", key_file, "-n", str(agents), "--pid",
            str(c.process.pid), "--limit", str(limit_s), "--json", *more]
    done = subprocess.run(args, capture_output=True, text=True, timeout=limit_s + 30)
    assert done.returncode == 0, f"agentload: {done.returncode}: {done.stderr}{done.stdout}"
    r = json.loads(done.stdout)
    eq((r["failures"], r["wrong_maps"]), (0, 0))
    eq((r["change"]["missed"], r["removal"]["missed"]), (0, 0), "agents that did not get it")
    eq(r["console_threads_max"], r["console_threads_before"], "threads of the console")
    return r


def age(c, agents, stats_mb):
    """Stops the console, and starts it with the statistics of a month. The next load() must have --seed month:
    the nodes are made here."""
    load(c, agents, "--seed", "month", "--idle", "0", "--changes", "0", "--removals", "0", limit_s=180)
    nodes = c.get("/api/v1/nodes?limit=1000").want(200).json["items"]
    eq(len(nodes), agents)
    nodes.sort(key=lambda node: int(node["name"].split("-")[1]))
    network = c.get("/api/v1/networks/load").want(200).json["id"]
    c.stop()
    path = os.path.join(c.state_dir, "stats.db")
    os.unlink(path)
    ids = "".join(f"{i}\n" for i in [network] + [node["id"] for node in nodes])
    subprocess.run([STATSFILL, path, str(stats_mb)], input=ids, text=True, check=True, timeout=120,
                   stdout=subprocess.DEVNULL)
    c.start()


def stats_of(c):
    """(bytes of statistics in memory, their limit)"""
    lines = dict(line.rsplit(" ", 1) for line in c.get("/metrics").want(200).body.decode().splitlines()
                 if line.startswith("van_stats_memory"))
    return int(lines["van_stats_memory_bytes"]), int(lines["van_stats_memory_limit_bytes"])


def tell(r):
    change, removal = r["change"], r["removal"]
    print(f"     {r['agents']} agents in {r['networks']} networks ({r['connections']} connections): "
          f"{r['enrolments_per_s']:.0f} enrolments/s with {r['handshakes_per_s_enrolling']:.0f} "
          f"handshakes/s, {r['resumed']} resumed; {change['rounds']} changes reach them in "
          f"{change['p50_ms']:.0f} ms (p50), {change['p99_ms']:.0f} ms (p99), {change['max_ms']:.0f} ms "
          f"(all), {removal['rounds']} removals in {removal['p99_ms']:.0f} ms (p99); console: "
          f"{r['console_rss_peak_kb'] // 1024} MB, {r['console_threads_max']} threads, "
          f"{r['console_descriptors_max']} descriptors, {r['console_cpu_ms_per_change']:.0f} ms CPU a "
          f"change, {r['console_cpu_idle_percent']:.1f} % CPU at rest", flush=True)


@options(config=ROOM)
def test_a_hundred_agents(c):
    """The short form of long_1000_agents."""
    r = load(c, 100, "--idle", "1", "--changes", "20", "--report", "2", "--verify", "50")
    assert r["patches"] > r["whole_maps"], r
    assert r["change"]["rounds"] == 20 and r["change"]["p99_ms"] < 5000, r
    assert r["removal"]["rounds"] == 2 and r["removal"]["p99_ms"] < 5000, r
    assert r["console_descriptors_max"] > 2 * 100, "all of them were connected at once"
    if not SANITIZED:
        assert r["console_rss_peak_kb"] < 256 * 1024, r
    eq(len(c.get("/api/v1/nodes?limit=1000").json["items"]), 98)


@options(config=ROOM + "stats_memory_mb = 16;")
def test_agents_of_a_console_that_is_a_month_old(c):
    """The short form of long_1000_agents_after_a_month."""
    age(c, 50, 16)
    have, limit = stats_of(c)
    eq(limit, 16 << 20)
    assert have > limit * 9 // 10, f"{have} bytes of statistics"
    answer = c.get("/api/v1/networks/load/stats?resolution=10m&from=2020-01-01T00:00:00Z").want(200).json
    known = [n for n in answer["columns"]["rx_bytes"] if n is not None]
    assert len(known) > 3000, f"only {len(known)} slots of ten minutes are there"
    # As many nonces of each as in the ten minutes for which they are remembered at most.
    r = load(c, 50, "--seed", "month", "--idle", "3", "--changes", "2", "--removals", "1", "--report", "1")
    eq(len(c.get("/api/v1/nodes?limit=1000").json["items"]), 49)
    assert stats_of(c)[0] <= limit
    if not SANITIZED:
        assert r["console_rss_peak_kb"] < 64 * 1024, r


@options(config=ROOM)
def test_agents_without_patches(c):
    """Those of version 0.1."""
    r = load(c, 30, "--idle", "1", "--changes", "2", "--removals", "1", "--report", "2", "--old")
    eq(r["patches"], 0)


# -- the long ones

@options(config=ROOM)
def long_100_agents(c):
    tell(load(c, 100, "--changes", "20"))


@options(config=ROOM)
def long_1000_agents(c):
    r = load(c, 1000, "--changes", "20")
    tell(r)
    assert r["change"]["p99_ms"] < 1000, r["change"]
    assert r["console_rss_peak_kb"] < 256 * 1024, r["console_rss_peak_kb"]


@options(config=ROOM)
def long_1000_agents_after_a_month(c):
    """What grows with time is full: statistics, from a file of 30 days; and nonces, by ten times as many reports as
    nodes send, for a tenth of the time for which they are remembered."""
    age(c, 1000, 96)
    have, limit = stats_of(c)
    assert have > limit * 9 // 10, f"{have} bytes of statistics"
    r = load(c, 1000, "--seed", "month", "--changes", "20", "--report", "1", "--idle", "45", limit_s=180)
    tell(r)
    print(f"     statistics: {stats_of(c)[0] >> 20} MB", flush=True)
    assert r["console_rss_peak_kb"] < 256 * 1024, r["console_rss_peak_kb"]


@options(config=ROOM)
def long_1000_agents_without_kept_connections(c):
    """Every request has a TLS handshake of its own, and no session is resumed."""
    tell(load(c, 1000, "--fresh", "--changes", "5", limit_s=180))


@options(config=ROOM)
def long_2000_agents(c):
    tell(load(c, 2000, "--changes", "20", "--sources", "64", limit_s=180))


@options(config=ROOM)
def long_5000_agents(c):
    tell(load(c, 5000, "--changes", "5", "--verify", "3", "--sources", "64", limit_s=480))


@options(config=ROOM)
def long_5000_agents_in_five_networks(c):
    tell(load(c, 5000, "--networks", "5", "--removals", "0", "--changes", "5", "--verify", "3",
              "--sources", "64", limit_s=300))
