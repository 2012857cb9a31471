# SPDX-License-Identifier: Apache-2.0
"""The program: first start, keys and pins, authentication, crashes."""
import errno
import json
import os
import re
import shutil
import signal
import stat
import subprocess
import threading
import time

from consoletest import (CONSOLE_API, Console, Poll, Skip, eq, options, pin_of_certificate,
                         revision, until)


def test_files_of_the_first_start(c):
    eq(stat.S_IMODE(os.stat(c.state_dir).st_mode), 0o700)
    eq(stat.S_IMODE(os.stat(c.state_dir + "/admin.key").st_mode), 0o600)
    assert re.fullmatch(r"[A-Za-z0-9_-]{43}\n", c.state("admin.key")), "bare key and newline"
    assert re.fullmatch(r"sha256//[A-Za-z0-9+/]{43}=\n", c.state("tls.pin"))
    for name in ("tls.key", "registry.db"):
        eq(stat.S_IMODE(os.stat(f"{c.state_dir}/{name}").st_mode) & 0o077, 0, name)


def test_pin_is_of_the_certificate_that_is_served(c):
    connection = c.connect()
    served = pin_of_certificate(connection.sock.getpeercert(binary_form=True))
    assert connection.sock.version() in ("TLSv1.3", "TLSv1.2")
    connection.close()
    eq(c.state("tls.pin"), served + "\n")
    eq(c.get("/api/v1/console").want(200).json["pin"], served)


def test_pin_key_and_data_survive_a_restart(c):
    before = c.get("/api/v1/console").json
    key = c.key
    c.network()
    c.stop()
    c.start()
    eq(c.get("/api/v1/console").json, before)
    eq(c.key, key)
    eq(len(c.get("/api/v1/networks").json["items"]), 1)


def test_certificate_is_made_again_from_the_key(c):
    pin = c.state("tls.pin")
    c.stop()
    os.unlink(c.state_dir + "/tls.crt")
    os.unlink(c.state_dir + "/tls.pin")
    c.start()
    eq(c.state("tls.pin"), pin)


def test_console_object(c):
    o = c.get("/api/v1/console").want(200).json
    eq(sorted(o), ["id", "mesh", "next_pin", "pin", "public_url", "version"])
    assert re.fullmatch(r"[0-9a-f]{32}", o["mesh"])
    eq(o["public_url"], f"https://127.0.0.1:{c.port}")


def test_health_needs_no_key(c):
    eq(c.get("/healthz", key=None).want(200).json, {"status": "ok"})
    eq(c.get("/readyz", key=None).want(200).json, {"status": "ok"})


def test_no_key_wrong_key(c):
    for key in (None, "wrong", "x" * 43, c.key + "x", c.key[:-1], "", "x" * 1000):
        answer = c.get("/api/v1/networks", key=key).want(401, "unauthenticated")
        assert answer.headers["WWW-Authenticate"] == "Bearer"
    for value in ("Basic abc", c.key, "Bearer", "bearer  "):
        c.get("/api/v1/networks", key=None, headers={"Authorization": value}).want(401)
    c.get("/api/v1/networks", key=None,
          headers={"Authorization": "bearer " + c.key}).want(200)


def test_wrong_keys_are_limited_by_address(c):
    def wrong():
        return c.get("/api/v1/networks", key="wrong").status
    until(lambda: wrong() == 429, what="a 429")
    answer = c.get("/api/v1/networks", key="wrong").want(429, "too_many_requests")
    assert int(answer.headers["Retry-After"]) >= 1
    c.get("/api/v1/networks").want(200)  # a right one gets through
    until(lambda: wrong() == 401, what="the end of the limit")


@options(config="rate_requests = 5;")
def test_rate_limit_of_a_key(c):
    connection = c.connect()
    statuses = [c.get("/api/v1/networks", connection=connection).status for _ in range(100)]
    assert statuses[:10] == [200] * 10, statuses
    assert 429 in statuses, statuses
    answer = until(lambda: (a := c.get("/api/v1/networks")).status == 429 and a, what="429")
    assert int(answer.headers["Retry-After"]) >= 1
    until(lambda: c.get("/api/v1/networks").status == 200, what="the end of the limit")


def test_default_limits_pass_200_requests_a_second(c):
    connection = c.connect()
    for _ in range(400):
        c.get("/api/v1/console", connection=connection).want(200)


def test_paths_and_methods(c):
    c.get("/nothing").want(404, "no_such_path")
    c.get("/").want(404)
    c.get("/api/v1/networks/").want(200)
    c.get("/api//v1/networks").want(400)
    c.get("/api/v1/networks/%zz").want(400)
    c.get("/api/v1/networks/a%00b").want(400)
    c.get("/api/v1/networks/" + "x" * 3000).want(400)
    c.get("/api/v1/networks/..%2f..%2fetc").want(404, "not_found")
    c.get("/api/v1/networks?what=1").want(400)
    c.get("/api/v1/networks?limit=0").want(400)
    c.get("/api/v1/networks?limit=5&limit=6").want(400)
    answer = c.call("PUT", "/api/v1/networks").want(405, "method_not_allowed")
    eq(answer.headers["Allow"], "GET, HEAD, POST")
    eq(c.call("BREW", "/healthz").status, 405)
    head = c.call("HEAD", "/api/v1/networks")
    eq((head.status, head.body), (200, b""))


MALFORMED = {
    "nothing": b"",
    "no JSON": b"hello",
    "cut off": b'{"name":"a","cidr":',
    "two values": b'{"name":"a","cidr":"10.0.0.0/24"} {}',
    "an array": b'[]',
    "a string": b'"x"',
    "a number": b'1',
    "null": b'null',
    "key twice": b'{"name":"a","cidr":"10.0.0.0/24","name":"b"}',
    "unknown field": b'{"name":"a","cidr":"10.0.0.0/24","colour":"blue"}',
    "deep": b'{"name":' + b"[" * 5000 + b"]" * 5000 + b"}",
    "NUL": b'{"name":"a\x00b","cidr":"10.0.0.0/24"}',
    "escaped NUL": b'{"name":"a\\u0000b","cidr":"10.0.0.0/24"}',
    "trailing NUL": b'{"name":"a","cidr":"10.0.0.0/24"}\x00',
    "not UTF-8": b'{"name":"\xff\xfe","cidr":"10.0.0.0/24"}',
    "wrong type": b'{"name":1,"cidr":"10.0.0.0/24"}',
    "no cidr": b'{"name":"a"}',
    "cidr null": b'{"name":"a","cidr":null}',
    "cidr6 as cidr": b'{"name":"a","cidr":"fd00::/64"}',
    "cidr as cidr6": b'{"name":"a","cidr":"10.0.0.0/24","cidr6":"10.1.0.0/24"}',
    "host bits": b'{"name":"a","cidr":"10.0.0.1/24"}',
    "too narrow": b'{"name":"a","cidr":"10.0.0.0/31"}',
    "too wide": b'{"name":"a","cidr":"0.0.0.0/0"}',
    "loopback": b'{"name":"a","cidr":"127.0.0.0/8"}',
    "multicast": b'{"name":"a","cidr":"224.0.0.0/24"}',
    "no network": b'{"name":"a","cidr":"10.0.0/24"}',
    "mtu small": b'{"name":"a","cidr":"10.0.0.0/24","mtu":1279}',
    "mtu large": b'{"name":"a","cidr":"10.0.0.0/24","mtu":9001}',
    "mtu huge": b'{"name":"a","cidr":"10.0.0.0/24","mtu":99999999999999999999}',
    "mtu float": b'{"name":"a","cidr":"10.0.0.0/24","mtu":1400.5}',
    "encryption": b'{"name":"a","cidr":"10.0.0.0/24","encryption":"rot13"}',
    "name empty": b'{"name":"","cidr":"10.0.0.0/24"}',
    "name upper": b'{"name":"Blue","cidr":"10.0.0.0/24"}',
    "name slash": b'{"name":"a/b","cidr":"10.0.0.0/24"}',
    "name hyphen": b'{"name":"-a","cidr":"10.0.0.0/24"}',
    "name long": b'{"name":"' + b"a" * 64 + b'","cidr":"10.0.0.0/24"}',
}


def test_malformed_bodies(c):
    connection = c.connect()
    for what, body in MALFORMED.items():
        answer = c.post("/api/v1/networks", body, connection=connection)
        assert answer.status == 400, f"{what}: {answer.status} {answer.body!r}"
        answer.want(400)
    eq(c.get("/api/v1/networks").json["items"], [], "nothing of them was made")


def test_pointers(c):
    def pointers(body):
        errors = c.post("/api/v1/networks", body).want(400, "invalid").json["errors"]
        assert all(e["detail"] for e in errors)
        return [e["pointer"] for e in errors]
    eq(pointers({"name": "a", "cidr": "10.0.0.1/24"}), ["/cidr"])
    eq(pointers({"name": "A", "cidr": "10.0.0.0/24"}), ["/name"])
    eq(pointers({"name": "a", "cidr": "10.0.0.0/24", "mtu": 1}), ["/mtu"])
    eq(pointers({"name": "a", "cidr": "10.0.0.0/24", "a/b": 1}), ["/a~1b"])
    # Every bad member is named, not the first one only.
    eq(sorted(pointers({"name": "A", "mtu": "x", "encryption": "rot13", "what": 1,
                        "labels": {"Bad": "x", "good": 5, "fine": "y"}})),
       ["/cidr", "/encryption", "/labels/Bad", "/labels/good", "/mtu", "/name", "/what"])
    many = {f"x{i}": i for i in range(50)}
    eq(len(pointers({"name": "a", "cidr": "10.0.0.0/24", **many})), 16)
    detail = c.post("/api/v1/networks", {"name": "a", "cidr": "10.0.0.1/24"}).json["detail"]
    assert "10.0.0.0/24" in detail, detail


def test_large_bodies(c):
    for size in (262145, 300_000, 1_000_000):
        c.post("/api/v1/networks", b" " * size).want(413, "body_too_large")
    c.post("/api/v1/networks", b" " * 262144).want(400)
    # Beyond what is read to answer it: refused at once, the connection goes.
    try:
        c.post("/api/v1/networks", b" " * 20_000_000).want(413)
    except OSError:
        pass
    # The same without saying so before.
    connection = c.connect()
    try:
        connection.request("POST", "/api/v1/networks", body=(b" " * 65536 for _ in range(200)),
                           headers={"Authorization": "Bearer " + c.key})
        eq(connection.getresponse().status, 413)
    except OSError:
        pass
    finally:
        connection.close()
    c.get("/api/v1/networks").want(200)


def test_a_body_in_pieces(c):
    connection = c.connect()
    pieces = (b'{"name":', b'"blue",', b'"cidr":"10.0.0.0/24"}')
    connection.request("POST", "/api/v1/networks", body=iter(pieces),
                       headers={"Authorization": "Bearer " + c.key})
    eq(connection.getresponse().status, 201)
    connection.close()


def test_clients_that_speak_no_http(c):
    for noise in (b"", b"GET / HTTP/1.1\r\n\r\n", os.urandom(300), b"\x16\x03\x01\xff\xff"):
        connection = c.connect()
        raw = connection.sock
        raw.sendall(noise or b"\r\n")
        raw.close()
    for noise in (b"nonsense\r\n\r\n", b"GET /healthz HTTP/9.9\r\n\r\n",
                  b"GET /healthz HTTP/1.1\r\nContent-Length: -5\r\n\r\n",
                  b"POST /api/v1/networks HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
                  b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\n\r\n"):
        connection = c.connect()
        try:
            connection.sock.sendall(noise)
            connection.sock.settimeout(5)
            while connection.sock.recv(4096):
                pass
        except OSError:
            pass
        connection.close()
    c.get("/healthz").want(200)


@options(config='log_level = "debug";')
def test_stop_answers_who_waits(c):
    c.network()
    node = c.node()
    poll = Poll(node, revision(node.netmap().json))
    until(lambda: f"{node.id} waits" in c.log(), what="the poll")
    c.stop()
    try:
        poll.result().want(503)
    except OSError:
        pass  # or the connection went


def test_sighup_rereads_the_log_level(c):
    c.get("/healthz")
    assert "debug" not in c.log()
    c.write_config('log_level = "debug";')
    c.process.send_signal(signal.SIGHUP)
    until(lambda: "log_level is debug now" in c.log(), what="the line about SIGHUP")
    c.get("/healthz")
    until(lambda: re.search(r"debug: \[\w+\] GET /healthz: 200", c.log()), what="a debug line")
    c.write_config('log_level = "loud";')
    c.process.send_signal(signal.SIGHUP)
    until(lambda: "SIGHUP: nothing changed" in c.log(), what="the line about the mistake")
    c.get("/healthz").want(200)
    c.write_config("")


def test_no_secret_in_the_log(c):
    c.stop()
    c.write_config('log_level = "debug";')
    c.start()
    c.network()
    token = c.token()
    c.node(token)
    text = c.log()
    assert c.key not in text and token not in text and token[48:90] not in text


@options(start=False)
def test_command_line(c):
    def run(*arguments):
        return subprocess.run([CONSOLE_API, *arguments], capture_output=True, text=True, timeout=30,
                              check=False)
    eq(run("--version").returncode, 0)
    assert "-c, --config" in run("--help").stdout
    eq(run().returncode, 2)
    eq(run("--what").returncode, 2)
    eq(run("-c", c.config_path, "more").returncode, 2)
    answer = run("-c", c.config_path, "--check-config")
    eq((answer.returncode, os.path.exists(c.state_dir)), (0, False))
    answer = run("-c", c.dir + "/none")
    eq(answer.returncode, 1)
    assert "none" in answer.stderr
    for line, word in (('store = "etcd";', "etcd_endpoints"), ('colour = "blue";', "colour"),
                       ('public_url = "http://example";', "https://"), ('listen = "8443";', "listen"),
                       ('rate_requests = 0;', "rate_requests"), ('log_level = "loud";', "log_level")):
        # The last of two lines of one name would be an error of its own.
        with open(c.config_path, "w", encoding="utf-8") as f:
            f.write(f'state_dir = "{c.state_dir}";\n{line}\n')
        answer = run("-c", c.config_path, "--check-config")
        eq(answer.returncode, 1, line)
        assert word in answer.stderr, answer.stderr


@options(start=False)
def test_example_configuration_works(c):
    example = subprocess.run([CONSOLE_API, "--print-example-config"], capture_output=True, text=True,
                             check=True).stdout
    with open(c.config_path, "w", encoding="utf-8") as f:
        f.write(example)
    subprocess.run([CONSOLE_API, "-c", c.config_path, "--check-config"], check=True,
                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    committed = os.path.join(os.path.dirname(__file__), "../../etc/console-api.conf.example")
    with open(committed, encoding="utf-8") as f:
        eq(f.read(), example, "etc/console-api.conf.example")
    options_text = subprocess.run([CONSOLE_API, "--print-man-options"], capture_output=True,
                                  text=True, check=True).stdout
    with open(os.path.join(os.path.dirname(__file__), "../../man/console-api.conf.5"),
              encoding="utf-8") as f:
        assert options_text in f.read(), "man/console-api.conf.5 has other options"


def test_second_console_on_the_same_state_is_refused(c):
    c.write_config("")
    with Console(start=False, state_dir=c.state_dir) as other:
        other.spawn()
        eq(other.process.wait(30), 1)
        assert "another console-api is running" in other.log(), other.log()
        other.process = None
    with Console(start=False) as other:
        other.port = c.port
        other.write_config("")
        other.spawn()
        eq(other.process.wait(30), 1)
        assert "another program has this port" in other.log(), other.log()
        other.process = None


def test_damaged_files_are_not_overwritten(c):
    c.network()
    c.stop()
    for name in ("tls.key", "registry.db"):
        path = os.path.join(c.state_dir, name)
        shutil.copy(path, path + ".good")
        for junk in (b"junk" * 5000, b"x"):
            with open(path, "wb") as f:
                f.write(junk)
            c.spawn()
            eq(c.process.wait(30), 1, name)
            with open(path, "rb") as f:
                eq(f.read(), junk, "the damaged file is as it was")
        assert path in c.log()
        os.rename(path + ".good", path)
    c.start()
    eq(len(c.get("/api/v1/networks").json["items"]), 1)


def capabilities(pid):
    for thread in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{thread}/status", encoding="utf-8") as f:
            yield dict(line.rstrip("\n").split(":\t", 1) for line in f if ":\t" in line)


def test_capabilities_are_dropped_in_every_thread(c):
    if os.geteuid() != 0:
        raise Skip("not root: there are none to drop")
    threads = list(capabilities(c.process.pid))
    assert len(threads) >= 2
    for thread in threads:
        for name in ("CapEff", "CapPrm", "CapInh", "CapBnd", "CapAmb"):
            eq(int(thread[name], 16), 0, name)
        eq(thread["NoNewPrivs"], "1")
        eq(thread["Uid"].split()[0], "0")


# -- crashes

CRASH_POINTS = ["tls.key", "tls.crt", "tls.pin", "registry.db", "registry.db-wal", "admin.key"]


@options(start=False)
def test_crash_at_first_start(c):
    for name in CRASH_POINTS:
        path = os.path.join(c.state_dir, name)
        c.spawn()
        until(lambda: os.path.exists(path), what=name)
        c.kill()
        pin = c.state("tls.pin") if name == "admin.key" else None
        c.start()
        c.get("/api/v1/networks").want(200)
        connection = c.connect()
        eq(c.state("tls.pin"),
           pin_of_certificate(connection.sock.getpeercert(binary_form=True)) + "\n")
        connection.close()
        if pin:
            eq(c.state("tls.pin"), pin)
        c.network()
        c.stop()
        shutil.rmtree(c.state_dir)


@options(start=False)
def test_key_of_an_interrupted_first_start_is_taken(c):
    os.mkdir(c.state_dir, 0o700)
    with open(c.state_dir + "/admin.key", "w", encoding="utf-8") as f:
        f.write("k" * 43 + "\n")
    c.start()
    c.get("/api/v1/networks", key="k" * 43).want(200)
    # Later the file is the administrator's to remove.
    c.stop()
    os.unlink(c.state_dir + "/admin.key")
    c.start()
    c.get("/api/v1/networks", key="k" * 43).want(200)
    assert not os.path.exists(c.state_dir + "/admin.key")


def test_sigkill_during_writes_loses_nothing_acknowledged(c):
    for turn in range(3):
        acknowledged, stop = [], threading.Event()
        key = c.key

        def write(number):
            connection = c.connect()
            count = 0
            while not stop.is_set():
                name = f"n-{turn}-{number}-{count}"
                try:
                    if c.post("/api/v1/networks", {"name": name, "cidr": "10.0.0.0/24"}, key=key,
                              connection=connection).status == 201:
                        acknowledged.append(name)
                except (OSError, Exception):
                    return  # the console is gone
                count += 1
        writers = [threading.Thread(target=write, args=(i,)) for i in range(8)]
        for w in writers:
            w.start()
        until(lambda: len(acknowledged) > 60 * (turn + 1), 60, "60 networks")
        c.kill()
        stop.set()
        for w in writers:
            w.join()
        c.start()
        there, cursor = set(), None
        while True:
            page = c.get("/api/v1/networks?limit=50" +
                         (f"&cursor={cursor}" if cursor else "")).want(200).json
            for o in page["items"]:
                assert o["name"] not in there
                there.add(o["name"])
                # What is there is whole.
                eq(c.get("/api/v1/networks/" + o["name"]).want(200).json["id"], o["id"])
            cursor = page["next"]
            if not cursor:
                break
        eq(set(acknowledged) - there, set(), "acknowledged and lost")


def test_full_disk(c):
    if os.geteuid() != 0:
        raise Skip("not root: cannot mount a small disk")
    mount = os.path.join(c.dir, "small")
    os.mkdir(mount)
    script = f"mount -t tmpfs -o size=2m,mode=0700 small {mount} && exec \"$@\""
    probe = subprocess.run(["unshare", "-m", "sh", "-c", script, "sh", "true"], check=False,
                           capture_output=True)
    if probe.returncode != 0:
        raise Skip("cannot mount a small disk here")
    with Console(start=False, state_dir=mount + "/state",
                 wrapper=["unshare", "-m", "sh", "-c", script, "sh"]) as d:
        d.start()
        inside = f"/proc/{d.process.pid}/root{mount}"
        d.state_dir = inside + "/state"
        d.network("before")
        filler = os.open(inside + "/filler", os.O_CREAT | os.O_WRONLY)
        try:
            while True:
                os.write(filler, b"x" * 4096)
        except OSError as e:
            eq(e.errno, errno.ENOSPC)
        finally:
            os.close(filler)
        statuses = set()
        made = ["before"]
        for i in range(400):  # what was allocated before is used up first
            answer = d.post("/api/v1/networks", {"name": f"n{i}", "cidr": "10.0.0.0/24"})
            statuses.add(answer.status)
            if answer.status == 201:
                made.append(f"n{i}")
            else:
                answer.want(507, "store_full")
                break
        assert 507 in statuses, statuses
        full_at = time.monotonic()
        for i in range(5):
            d.post("/api/v1/networks", {"name": f"x{i}", "cidr": "10.0.0.0/24"}).want(507)
        eq(d.log().count("make room on the disk"), 1, "one line in the log")
        for _ in range(3):
            d.get("/readyz", key=None).want(507, "store_full")
        d.get("/healthz", key=None).want(200)
        # It is tried anew, and tells the same.
        until(lambda: d.get("/readyz", key=None).want(507, "store_full") and time.monotonic() > full_at + 1.5)
        d.get("/api/v1/networks/before").want(200)
        os.unlink(inside + "/filler")
        # Nobody writes, and yet it is ready again.
        until(lambda: d.get("/readyz", key=None).status == 200, what="ready again")
        d.network("after")
        made.append("after")
        names = [o["name"] for o in d.get("/api/v1/networks?limit=1000").json["items"]]
        eq(sorted(names), sorted(made))
        d.check_log()


def test_systemd_is_told(c):
    import socket
    path = os.path.join(c.dir, "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s:
        s.bind(path)
        s.settimeout(30)
        os.environ["NOTIFY_SOCKET"] = path
        try:
            with Console() as other:
                eq(s.recv(100), b"READY=1")
                other.stop()
                eq(s.recv(100), b"STOPPING=1")
        finally:
            del os.environ["NOTIFY_SOCKET"]


def test_json_of_every_answer_parses(c):
    for path in ("/api/v1/networks", "/api/v1/nodes", "/api/v1/tokens"):
        eq(json.loads(c.get(path).want(200).body), {"items": [], "next": None})


def test_errors_are_utf8_whatever_they_quote(c):
    for bad in ("%ff", "%c3", "a" * 63 + "%c3%a4", "%f0%9f%98"):
        for path in ("networks/", "nodes/"):
            assert c.get(f"/api/v1/{path}{bad}").want(404).json["detail"]
