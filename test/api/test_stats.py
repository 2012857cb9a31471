# SPDX-License-Identifier: Apache-2.0
"""Statistics: what nodes report comes back as columns, survives restarts, and is shown at /metrics."""
import calendar
import contextlib
import http.client
import json
import os
import sqlite3
import time
import urllib.parse

import consoletest
from consoletest import eq, options, until
from promtext import FormatError, Metrics, parse
from vanctltest import vanctl

METRICS = ("rx_bytes", "tx_bytes", "rx_packets", "tx_packets")


def network_counts(net_id, rx, tx=0, last=None):
    counts = {"id": net_id, "rx_bytes": rx, "tx_bytes": tx, "rx_packets": rx // 100,
              "tx_packets": tx // 100}
    if last is not None:
        counts["last"] = last
    return counts


def stats(tick, *networks, instance="00000000000000aa", seconds=10, **more):
    return {"instance": instance, "tick": tick, "seconds": seconds, "networks": list(networks), **more}


def report(agent, body):
    agent.report(stats=body).want(200)


def known(column):
    return [v for v in column if v is not None]


def total(column):
    return sum(known(column))


def stamp(text):
    return calendar.timegm(time.strptime(text, "%Y-%m-%dT%H:%M:%SZ"))


def at(seconds):
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def test_columns(c):
    net = c.network()
    a, b = c.node(name="a"), c.node(name="b")
    last = {"rx_bytes": [100] * 9 + [1100], "tx_packets": [0] * 9 + [3]}
    report(a, stats(10, network_counts(net["id"], 2000, 300, last)))
    report(b, stats(10, network_counts(net["id"], 0, 70), instance="00000000000000bb"))
    answer = c.get("/api/v1/networks/blue/stats?resolution=1s").want(200)
    eq(answer.headers["Content-Type"], "application/json")
    o = answer.json
    eq((o["resolution"], o["step_s"], sorted(o["columns"])), ("1s", 1, sorted(METRICS)))
    # 360 slots up to now: which seconds the ten of the nodes are depends on when they came.
    eq({len(o["columns"][m]) for m in METRICS}, {360})
    assert abs(stamp(o["start"]) + 360 - time.time()) < 5, o["start"]
    eq(total(o["columns"]["rx_bytes"]), 2000)
    eq(total(o["columns"]["tx_bytes"]), 370)
    eq(max(known(o["columns"]["rx_bytes"])), 1100)
    assert 10 <= len(known(o["columns"]["rx_bytes"])) <= 13, o["columns"]["rx_bytes"]
    eq(o["columns"]["rx_bytes"][:300], [None] * 300)
    for resolution, step_s in (("10s", 10), ("1m", 60), ("10m", 600)):
        o = c.get(f"/api/v1/networks/{net['id']}/stats?resolution={resolution}").want(200).json
        eq(o["step_s"], step_s)
        eq(stamp(o["start"]) % step_s, 0)
        eq(total(o["columns"]["rx_bytes"]), 2000, resolution)
    eq(c.get("/api/v1/networks/blue/stats").want(200).json["resolution"], "10s")
    o = c.get("/api/v1/networks/blue/nodes/b/stats?metrics=tx_bytes").want(200).json
    eq(list(o["columns"]), ["tx_bytes"])
    eq(total(o["columns"]["tx_bytes"]), 70)
    o = c.get("/api/v1/nodes/a/stats").want(200).json
    eq(sorted(o), ["columns", "resolution", "start", "step_s"])
    eq(total(o["columns"]["rx_bytes"]), 2000)
    eq(total(o["columns"]["drops"]), 0)
    assert known(o["columns"]["drops"])


def test_parts_of_a_node(c):
    blue, red = c.network(), c.network("red", "172.16.2.0/24")
    a, b = c.node(name="a"), c.node(name="b")
    a.enroll(c.token("red")).want(201)
    gone = c.node(name="gone")
    report(a, stats(10, network_counts(blue["id"], 1000), network_counts(red["id"], 0, 500),
                    drops={"bad_tag": 7, "runt": 3}, peers=[
                        {"id": b.id, "sent": 4, "answered": 3, "rtt_us": 1500},
                        {"id": gone.id, "sent": 1, "answered": 0, "rtt_us": 0},
                        {"id": "node_unheard_of", "sent": 1, "answered": 1, "rtt_us": 9}]))
    c.delete("/api/v1/nodes/gone").want(204)
    o = c.get("/api/v1/nodes/a/stats?resolution=1s&include=networks,peers,drops").want(200).json
    eq(total(o["columns"]["rx_bytes"]) + total(o["columns"]["tx_bytes"]), 1500)
    eq(total(o["columns"]["drops"]), 10)
    eq({n["name"]: (total(n["columns"]["rx_bytes"]), total(n["columns"]["tx_bytes"]))
        for n in o["networks"]}, {"blue": (1000, 0), "red": (0, 500)})
    eq({r: total(v) for r, v in o["drops"].items()}, {"bad_tag": 7, "runt": 3})
    peers = o["peers"]
    eq((peers["resolution"], peers["step_s"]), ("1m", 60))
    eq([p["name"] for p in peers["items"]], ["b"])  # what is no node is nobody's peer
    columns = peers["items"][0]["columns"]
    eq(known(columns["rtt_us"]), [1500])
    eq(known(columns["loss"]), [0.25])
    eq(known(columns["probes"]), [4])
    o = c.get("/api/v1/nodes/a/stats?metrics=drops&include=drops").want(200).json
    eq(list(o["columns"]), ["drops"])
    assert "peers" not in o and "networks" not in o
    # Nothing was answered: the loss is known, the time is not.
    report(b, stats(10, peers=[{"id": a.id, "sent": 5, "answered": 0, "rtt_us": 0}],
                    instance="00000000000000bb"))
    o = c.get("/api/v1/nodes/b/stats?resolution=10m&include=peers").want(200).json
    columns = o["peers"]["items"][0]["columns"]
    eq(known(columns["rtt_us"]), [])
    eq(known(columns["loss"]), [1])
    eq(o["peers"]["resolution"], "10m")


def test_asking_wrong(c):
    c.network()
    c.node(name="a")
    base = "/api/v1/networks/blue/stats?"
    for query in ("resolution=5s", "resolution=", "metrics=", "metrics=rx_bytes,",
                  "metrics=rx_bytes,frames", "metrics=drops", "from=yesterday", "from=1700000000",
                  "to=2026-02-30T00:00:00Z",
                  "from=2030-01-01T00:00:00Z&to=2029-01-01T00:00:00Z",
                  "from=2030-01-01T00:00:00Z&to=2030-01-01T00:00:00Z", "include=peers", "limit=5"):
        c.get(base + query).want(400)
    c.get("/api/v1/nodes/a/stats?include=everything").want(400, "invalid")
    c.get("/api/v1/networks/green/stats").want(404, "not_found")
    c.get("/api/v1/nodes/green/stats").want(404, "not_found")
    c.network("red", "172.16.2.0/24")
    c.get("/api/v1/networks/red/nodes/a/stats").want(404, "not_found")
    c.call("GET", base, key=None).want(401)


def test_windows(c):
    net = c.network()
    a = c.node(name="a")
    report(a, stats(10, network_counts(net["id"], 1000)))
    now = int(time.time())
    get = lambda query: c.get("/api/v1/networks/blue/stats?" + query).want(200).json
    # Far more than is kept: as far as it reaches.
    for resolution, step_s, slots in (("1s", 1, 900), ("10s", 10, 2160), ("1m", 60, 2880),
                                      ("10m", 600, 4320)):
        o = get(f"resolution={resolution}&from=1970-01-01T00:00:00Z&to=2100-01-01T00:00:00Z")
        eq(len(o["columns"]["rx_bytes"]), slots)
        eq(total(o["columns"]["rx_bytes"]), 1000)
        assert now - stamp(o["start"]) <= slots * step_s, o["start"]
    o = get(f"resolution=1s&from={at(now - 100)}&to={at(now - 40)}")
    eq(o["start"], at(now - 100))
    eq(o["columns"]["rx_bytes"], [None] * 60)
    # Times within a slot: the whole of it.
    o = get(f"resolution=10m&from={at(now - 1)}&to={at(now)}")
    assert 1 <= len(o["columns"]["rx_bytes"]) <= 2
    eq(get("resolution=1s&from=2001-01-01T00:00:00Z&to=2002-01-01T00:00:00Z")["columns"]["rx_bytes"], [])
    eq(get(f"resolution=1s&from={at(now + 1000)}&to={at(now + 2000)}")["columns"]["rx_bytes"], [])


def test_large_answers(c):
    """The most that can be asked for comes in a moment, and more than that is refused."""
    nets = [c.network(f"n{i}", f"10.{i}.0.0/24") for i in range(12)]
    a = c.node(c.token("n0"), name="a")
    for i in range(1, 12):
        a.enroll(c.token(f"n{i}")).want(201)
    report(a, stats(600, *(network_counts(n["id"], 10 ** 9 + i) for i, n in enumerate(nets)),
                    drops={f"reason_{i}": 10 * i for i in range(1, 30)}, seconds=0,
                    peers=[{"id": f"node_{i}", "sent": 1, "answered": 1, "rtt_us": 9} for i in range(64)]))
    ago = "&from=1970-01-01T00:00:00Z"
    answer = c.get("/api/v1/nodes/a/stats?resolution=10m&include=networks,peers,drops" + ago).want(400, "invalid")
    assert "250000" in answer.json["detail"], answer.json
    started = time.time()
    o = c.get("/api/v1/nodes/a/stats?resolution=10m&include=networks&metrics=rx_bytes,tx_bytes,rx_packets"
              + ago).want(200).json
    assert time.time() - started < 5
    eq([len(n["columns"]["rx_bytes"]) for n in o["networks"]], [4320] * 12)
    eq([total(n["columns"]["rx_bytes"]) for n in o["networks"]], [10 ** 9 + i for i in range(12)])
    eq(len(c.get("/api/v1/nodes/a/stats?resolution=10m&include=drops" + ago).want(200).json["drops"]), 29)


def test_bad_reports_change_nothing(c):
    net = c.network()
    c.network("red", "172.16.2.0/24")
    a = c.node(name="a")
    good = stats(10, network_counts(net["id"], 1000))
    for change in ({"instance": "x"}, {"tick": -1}, {"tick": 1.5}, {"seconds": 1000},
                   {"networks": None}, {"networks": [{"id": net["id"]}]}, {"drops": []},
                   {"drops": {"A B": 1}}, {"peers": [{"id": "../../x"}]},
                   {"networks": [network_counts(net["id"], 1), network_counts(net["id"], 1)]},
                   {"networks": [network_counts(net["id"], 5, 0, {"rx_bytes": [5]})]}):
        answer = a.report(stats={**good, **change}).want(400, "invalid")
        assert answer.json["errors"][0]["pointer"].startswith("/stats/"), answer.json
    a.report(stats=[]).want(400, "invalid")
    a.report(stats={**good, "networks": [network_counts(net["id"], 2 ** 63)]}).want(400, "bad_json")
    columns = c.get("/api/v1/networks/blue/stats?resolution=1s").want(200).json["columns"]
    eq(known(columns["rx_bytes"]), [])
    # A network that the node is not in is left out; the rest counts.
    red = c.get("/api/v1/networks/red").json["id"]
    report(a, stats(10, network_counts(red, 5000), network_counts(net["id"], 1000)))
    eq(total(c.get("/api/v1/networks/blue/stats").json["columns"]["rx_bytes"]), 1000)
    eq(known(c.get("/api/v1/networks/red/stats").json["columns"]["rx_bytes"]), [])


def rx(c, resolution="10s"):
    return total(c.get(f"/api/v1/networks/blue/stats?resolution={resolution}")
                 .want(200).json["columns"]["rx_bytes"])


def rx_total(c):
    return Metrics(c.get("/metrics").want(200).body.decode()).one("van_network_rx_bytes_total",
                                                                 network="blue")


def test_restart(c):
    net = c.network()
    a = c.node(name="a")
    report(a, stats(100, network_counts(net["id"], 1000)))
    c.stop()
    c.start()
    for resolution in ("1s", "10s", "1m", "10m"):
        eq(rx(c, resolution), 1000, resolution)
    eq(rx_total(c), 1000)
    # What the node counted while the console was away is not lost, and nothing counts twice.
    report(a, stats(100, network_counts(net["id"], 1000)))
    eq(rx(c), 1000)
    def counted():  # one report a second is
        report(a, stats(160, network_counts(net["id"], 1500)))
        return rx(c) == 1500

    until(counted)
    eq(rx_total(c), 1500)
    c.stop()
    os.unlink(os.path.join(c.state_dir, "stats.db"))
    c.start()
    eq(rx(c), 0)


@options(config="stats_save_s = 1;")
def test_kill(c):
    net = c.network()
    a = c.node(name="a")
    report(a, stats(100, network_counts(net["id"], 1000)))
    started, versions = time.monotonic(), set()

    def tick():
        return 101 + int(time.monotonic() - started)

    with contextlib.closing(sqlite3.connect(f"file:{c.state_dir}/stats.db?mode=ro", uri=True)) as db:
        def saved():
            """The save that is seen first may have begun before the report: one more. There is always
            something to save, for one of these reports a second counts."""
            report(a, stats(tick(), network_counts(net["id"], 1000)))
            versions.add(db.execute("PRAGMA data_version").fetchone())
            return len(versions) > 2
        until(saved, 30, "two saves")
    c.kill()
    c.start()
    eq(rx(c), 1000)

    def counted():
        report(a, stats(tick(), network_counts(net["id"], 2000)))
        return rx(c) == 2000
    until(counted)


def test_damaged_file(c):
    net = c.network()
    a = c.node(name="a")
    path = os.path.join(c.state_dir, "stats.db")
    tick = 100
    for damage in (b"", b"x" * 5000, None):
        report(a, stats(tick, network_counts(net["id"], 10 * tick)))
        tick += 100
        c.stop()
        if damage is None:
            with open(path, "r+b") as f:
                f.seek(2000)
                f.write(b"\xff" * 3000)
        else:
            with open(path, "wb") as f:
                f.write(damage)
        c.start()
        c.get("/readyz").want(200)
        c.get("/api/v1/networks/blue/stats").want(200)

    def counted():  # one report a second is
        report(a, stats(tick, network_counts(net["id"], 10 * tick)))
        return rx(c) > 0

    until(counted)
    c.stop()
    c.start()
    assert rx(c) > 0


def test_deleted_things(c):
    net = c.network()
    a = c.node(name="a")
    report(a, stats(10, network_counts(net["id"], 1000)))
    c.delete("/api/v1/networks/blue/nodes/a").want(204)
    eq(rx(c), 1000)  # stays in the network's sum
    eq(total(c.get("/api/v1/nodes/a/stats").want(200).json["columns"]["rx_bytes"]), 0)
    c.delete("/api/v1/nodes/a").want(204)
    c.get("/api/v1/nodes/a/stats").want(404)
    c.delete("/api/v1/networks/blue").want(204)
    c.network()
    eq(rx(c), 0)
    eq(Metrics(c.get("/metrics").body.decode()).all("van_network_rx_bytes_total"), [])


def test_vanctl_shows_it(c):
    net = c.network()
    a, b = c.node(name="a"), c.node(name="b")
    eq(vanctl(c, "network stats blue"), "Nothing is known of this time.\n")
    last = {"rx_bytes": [0] * 9 + [125000]}
    report(a, stats(10, network_counts(net["id"], 125000, 0, last), drops={"bad_tag": 7}, peers=[
        {"id": b.id, "sent": 4, "answered": 3, "rtt_us": 1500}]))
    lines = vanctl(c, "network stats blue --since 1m").splitlines()
    eq(lines[0].split(), ["TIME", "RX", "TX", "RX", "BYTES", "TX", "BYTES", "RX", "PACKETS", "TX", "PACKETS"])
    # a line for each second: 1 Mbit in one of them, 0.1 Mbit/s on the whole
    assert 10 <= len(lines) - 2 <= 13, lines
    eq([line for line in lines if "1.0 Mbit/s" in line and "122.1 KiB" in line], lines[-2:-1] or None)
    assert lines[-1].startswith("total ") and "122.1 KiB" in lines[-1] and "bit/s" in lines[-1], lines
    text = vanctl(c, "node stats a --resolution 10m")
    assert "b     1.500 ms  25.0 %       4" in text and "bad_tag       7" in text and "DROPS" in text, text
    assert "DROPS" not in vanctl(c, "node stats a -n blue --since 2020-01-01T00:00:00Z"), text
    for line, status in (("network stats none", 5), ("node stats none", 5), ("node stats a -n none", 5),
                         ("network stats blue --since yesterday", 2), ("network stats blue --resolution 2s", 2),
                         ("network stats", 2)):
        vanctl(c, line, status)


# -- /metrics

def test_metrics(c):
    net = c.network()
    a = c.node(name="a")
    report(a, stats(10, network_counts(net["id"], 1000, 20), drops={"runt": 4}))
    c.get("/api/v1/networks/none").want(404)
    c.get("/nowhere").want(404)
    answer = c.get("/metrics").want(200)
    eq(answer.headers["Content-Type"], "text/plain; version=0.0.4; charset=utf-8")
    m = Metrics(answer.body.decode())
    eq(m.one("van_network_rx_bytes_total", network="blue", org="default"), 1000)
    eq(m.one("van_node_tx_bytes_total", network="blue", node="a"), 20)
    eq(m.one("van_node_drops_total", node="a", reason="runt"), 4)
    eq(m.one("van_network_nodes", network="blue"), 1)
    eq(m.one("van_node_online", node="a"), 1)
    eq(m.one("van_agents_online"), 1)
    eq((m.one("van_networks"), m.one("van_nodes")), (1, 1))
    eq(m.one("van_store_up"), 1)
    assert m.one("van_store_revision") > 0
    assert m.one("van_store_commits_total", result="ok") >= 3
    assert m.one("van_store_commit_duration_seconds_count") >= 3
    eq(m.one("van_http_requests_total", method="POST", path="/api/v1/networks", status="201"), 1)
    eq(m.one("van_http_requests_total", path="/api/v1/networks/{ref}", status="404"), 1)
    eq(m.one("van_http_requests_total", path="", status="404"), 1)
    eq(m.one("van_http_requests_total", path="/agent/v1/report", status="200"), 1)
    eq(m.one("van_http_rate_limited_total"), 0)
    assert m.one("van_http_request_duration_seconds_count", kind="agent") >= 2
    assert m.one("van_http_connections") >= 1
    assert 1e6 < m.one("process_resident_memory_bytes") < m.one("process_virtual_memory_bytes")
    assert abs(m.one("process_start_time_seconds") - time.time()) < 3600
    assert 5 < m.one("process_open_fds") < m.one("process_max_fds")
    assert m.one("van_stats_series") >= 3
    assert 1000 < m.one("van_stats_memory_bytes") < m.one("van_stats_memory_limit_bytes")
    again = Metrics(c.get("/metrics").want(200).body.decode())
    for name, labels, value in m.samples:
        if m.types.get(name) == "counter":
            assert again.one(name, **labels) >= value, (name, labels)
    c.call("GET", "/metrics", key=None).want(401)


def test_metrics_of_waiting(c):
    c.network()
    a = c.node(name="a")
    poll = consoletest.Poll(a, consoletest.revision(a.netmap().want(200).json))
    waiting = lambda: Metrics(c.get("/metrics").body.decode()).one("van_http_waiting")
    until(lambda: waiting() == 1, what="a waiting poll")
    c.network("red", "172.16.2.0/24")
    c.post("/api/v1/networks/red/nodes", {"node": "a"}).want(201)
    poll.join()
    until(lambda: waiting() == 0, what="none")
    m = Metrics(c.get("/metrics").body.decode())
    eq(m.one("van_http_request_duration_seconds_count", kind="waited"), 1)


@options(config="metrics_nodes = 2;")
def test_metrics_are_bounded(c):
    net = c.network()
    for i in range(4):
        report(c.node(name=f"n{i}"), stats(10, network_counts(net["id"], 100)))
    m = Metrics(c.get("/metrics").want(200).body.decode())
    eq(len(m.all("van_node_rx_bytes_total")), 2)
    eq(len(m.all("van_node_online")), 2)
    eq(m.one("van_network_rx_bytes_total", network="blue"), 400)
    eq(m.one("van_agents_online"), 4)


def test_metrics_of_organizations(c):
    org = c.post("/api/v1/organizations", {"name": "other"}).want(201).json
    net = c.network()
    report(c.node(name="mine"), stats(10, network_counts(net["id"], 100)))
    of_other = {"VAN-Organization": org["id"]}
    c.post("/api/v1/networks", {"name": "theirs", "cidr": "10.0.0.0/24"}, headers=of_other).want(201)
    keys = {}
    for name, headers in (("default", {}), ("other", of_other)):
        body = {"name": name, "role": "viewer"}
        keys[name] = c.post("/api/v1/keys", body, headers=headers).want(201).json["key"]
    text = {name: c.call("GET", "/metrics", key=key).want(200).body.decode()
            for name, key in keys.items()}
    m = {name: Metrics(t) for name, t in text.items()}
    eq(m["default"].all("van_network_nodes"), [1])
    eq(m["default"].one("van_nodes"), 1)
    assert "theirs" not in text["default"], text["default"]
    eq(m["other"].all("van_network_nodes"), [0])
    for name in ("van_nodes", "process_threads", "van_http_connections", "van_node_online"):
        eq(m["other"].all(name), [], name)
    assert "mine" not in text["other"] and "blue" not in text["other"], text["other"]
    eq(Metrics(c.get("/metrics").body.decode()).all("van_network_nodes"), [1, 0])  # the console's


def test_metrics_without_key(c):
    port = consoletest.free_port()
    c.stop()
    c.write_config(f'metrics_listen = "127.0.0.1:{port}";')
    c.start()
    c.network()

    def get(path, method="GET"):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        connection.request(method, path)
        response = connection.getresponse()
        answer = response.status, response.headers["Content-Type"], response.read().decode()
        connection.close()
        return answer

    status, content_type, text = get("/metrics")
    eq((status, content_type), (200, "text/plain; version=0.0.4; charset=utf-8"))
    eq(Metrics(text).one("van_networks"), 1)
    eq(get("/api/v1/networks")[0], 404)
    eq(get("/metrics", "POST")[0], 405)
    eq(get("/metrics", "HEAD")[2], "")
    # Only ever on this machine.
    c.stop()
    for address in ("0.0.0.0:9464", "10.1.2.3:9464", "localhost", ":9464"):
        c.write_config(f'metrics_listen = "{address}";')
        c.spawn()
        eq(c.process.wait(30), 1, address)
        assert "metrics_listen" in c.log().splitlines()[-1], c.log()
    c.process = None
    c.write_config("")
    c.start()


def test_parser_of_metrics(c):
    """That what checks /metrics does find what is wrong with it."""
    good = c.get("/metrics").want(200).body.decode()
    parse(good)
    head = "# HELP a_total x\n# TYPE a_total counter\n"
    parse(head + 'a_total{l="q\\"\\\\\\n"} 1\na_total{l=""} 2.5e3\n')
    for bad in (good[:-1], good + "x 1\n", good + good, head + "a_total -1\n", head + "a_total\n",
                head + "a_total 1\na_total 1\n", head + "a_total{l=1} 1\n",
                head + 'a_total{l="\\x"} 1\n', head + 'a_total{l="} 1\n',
                head + 'a_total{l="x" 1\n', head + 'a_total{l="1",l="2"} 1\n', "a_total 1\n",
                "# TYPE a gauge\na 1\n", "# HELP a x\n# TYPE a gauge\na 1 \n",
                "# HELP a x\n# TYPE a counter\na 1\n",
                good.replace('le="+Inf"', 'le="9"')):
        try:
            parse(bad)
        except (FormatError, ValueError):
            continue
        raise AssertionError(f"taken: {bad[-200:]!r}")


# -- logs, readiness

def raw_request(c, request):
    connection = c.connect()
    connection.sock.sendall(request)
    while connection.sock.recv(65536):
        pass
    connection.close()


@options(config='log_format = "json"; log_level = "debug";')
def test_json_log(c):
    c.get("/api/v1/networks/none", headers={"X-Request-Id": "my-id-1"}).want(404)
    c.get("/readyz").want(200)
    hostile = ('a"b', "a\\b", "a\nb\t\x00\x7f", "\u202eevil\U0001f600", '{"level":"error"}', "%s%n" * 20, "x" * 9000)
    for text in hostile:
        c.call("POST", "/api/v1/networks", {"name": text, "cidr": "10.0.0.0/24"})
        c.call("GET", "/api/v1/networks/" + urllib.parse.quote(text, safe=""))
        c.call("POST", "/agent/v1/enroll", {"token": "van1_" + text, "name": text}, key=None)
    for raw in (b'/"\\', b"/%00%22%0a", b"/\xff\xfe", b"/api/v1/networks?limit=\"%5c"):
        raw_request(c, b"GET " + raw + b" HTTP/1.1\r\nHost: x\r\nX-Request-Id: \"\\\xff\r\nConnection: close\r\n\r\n")
    c.stop()
    lines = [json.loads(line) for line in c.log().splitlines()]
    for line in lines:
        assert set(line) - {"request"} == {"time", "level", "program", "message"}, line
        eq(line["program"], "console-api")
        assert line["level"] in ("debug", "info", "warn", "error"), line
        time.strptime(line["time"], "%Y-%m-%dT%H:%M:%S.%fZ")
    mine = [line for line in lines if line.get("request") == "my-id-1"]
    eq([line["message"] for line in mine], ["GET /api/v1/networks/{ref}: 404"])
    assert [line for line in lines if line["message"] == "stopping" and "request" not in line], lines
    c.start()


@options(config='log_level = "debug";')
def test_text_log(c):
    c.get("/api/v1/networks/none", headers={"X-Request-Id": "my-id-2"}).want(404)
    line = [line for line in c.log().splitlines() if "my-id-2" in line]
    eq(len(line), 1)
    assert line[0].endswith(" console-api: debug: [my-id-2] GET /api/v1/networks/{ref}: 404"), line
