# SPDX-License-Identifier: Apache-2.0
"""The commands that work on the store, its audit trail, and consoles that share one in etcd."""
import concurrent.futures
import json
import os
import shutil
import signal
import sqlite3
import stat
import subprocess
import threading
import time

from consoletest import CONSOLE_API, Agent, Console, Poll, audit_hashes, eq, options, revision, until
from etcdtest import Etcd, at, share_key
from test_limits import cpu_s
from test_watch import Watch


def fill(c):
    """A little of everything; returns the nodes."""
    c.network("blue", "172.16.1.0/24", cidr6="fd00:1::/64", labels={"site": "a"})
    c.network("red", "10.9.0.0/16", encryption="integrity")
    token = c.token("blue", uses=5)
    c.token("red", uses=1)
    nodes = [c.node(token, f"web-{i}") for i in range(3)]
    c.post("/api/v1/networks/red/nodes", {"node": "web-0"}).want(201)
    c.post("/api/v1/networks/blue/reservations", {"address": "172.16.1.200"}).want(201)
    c.post("/api/v1/networks/blue/gateways",
           {"node": "web-1", "prefixes": ["10.20.0.0/16"]}).want(201)
    c.post("/api/v1/networks/blue/floating-ips", {"address": "172.16.1.99"}).want(201)
    c.post("/api/v1/users", {"name": "ann", "role": "operator"}).want(201)
    for agent in nodes:
        agent.report(local=["192.0.2.7"]).want(200)
    c.patch("/api/v1/nodes/web-2", {"name": "db"}).want(200)
    return nodes


def lines_of(path):
    with open(path, encoding="utf-8") as f:
        return f.read().splitlines()


def share_state(console, other):
    """What a backup of the store does not have: the admin key, and the key that nodes know the console by."""
    os.makedirs(other.state_dir, mode=0o700, exist_ok=True)
    for name in ("admin.key", "tls.key"):
        shutil.copy(os.path.join(console.state_dir, name), other.state_dir)


def keys_of(path):
    """The keys and values of an export, without the head and the end."""
    return [json.loads(line) for line in lines_of(path)[1:-1]]


def lists(c, key):
    """What the API shows of everything, without what is about now or this store."""
    def clean(o):
        if isinstance(o, dict):
            return {k: clean(v) for k, v in o.items()
                    if k not in ("revision", "online", "last_seen", "applied")}
        return [clean(i) for i in o] if isinstance(o, list) else o
    paths = ["networks", "nodes", "tokens", "users", "networks/blue/gateways",
             "networks/blue/floating-ips", "networks/blue/reservations", "networks/blue/nodes"]
    return {p: clean(c.get("/api/v1/" + p, key=key).want(200).json) for p in paths}


# -- export, import, backup

def test_a_mesh_moves_between_stores(c):
    """SQLite, etcd and SQLite again: the same mesh for people, nodes and auditors."""
    nodes = fill(c)
    key, shown, heads = c.key, lists(c, c.key), c.command("audit", "verify", "-q")
    exports = [os.path.join(c.dir, f"export-{i}") for i in range(3)]
    c.command("export", exports[0])
    eq(stat.S_IMODE(os.stat(exports[0]).st_mode), 0o600)
    generations = {nodes[0].netmap().json["generation"]}
    with Etcd() as etcd, etcd.console(start=False) as b, Console(start=False) as d:
        for i, other in enumerate((b, d)):
            other.command("import", exports[i])
            other.command("check")
            eq(other.command("audit", "verify", "-q"), heads)
            other.command("export", exports[i + 1])
            eq(keys_of(exports[i + 1]), keys_of(exports[0]))
            share_state(c, other)
            other.start()
            eq(lists(other, key), shown)
            generations.add(at(nodes[0], other).netmap().want(200).json["generation"])
            other.post("/api/v1/networks", {"name": f"new-{i}", "cidr": "10.1.0.0/16"},
                       key=key).want(201)
            other.stop()
            other.command("check")
            other.command("audit", "verify")
    eq(len(generations), 3, "generations")


def test_export_while_it_is_written(c):
    fill(c)
    out = os.path.join(c.dir, "export")
    with Writer(c) as writer:
        for _ in range(5):
            c.command("export", out)
            keys = {line["k"] for line in keys_of(out)}
            names = [k for k in keys if k.startswith("/names/default/network/w-")]
            # As of one moment: each network is there as a whole.
            ids = [json.loads(line["v"]) for line in keys_of(out) if line["k"] in names]
            assert all(f"/nets/{i}" in keys and f"/maprev/net/{i}" in keys for i in ids)
        until(lambda: writer.done > 20)
    text = subprocess.run([CONSOLE_API, "export", "-q", "-c", c.config_path, "-"],
                          capture_output=True, check=True).stdout
    assert text.startswith(b'{"van_export":1,') and text.endswith(b'"}\n'), text[-100:]


class Writer(threading.Thread):
    """Makes networks for as long as the block runs."""

    def __init__(self, c):
        super().__init__(daemon=True)
        self.c, self.done, self.ending, self.error = c, 0, False, None

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.ending = True
        self.join()
        if self.error:
            raise self.error

    def run(self):
        try:
            connection = self.c.connect()
            while not self.ending:
                self.c.post("/api/v1/networks", {
                    "name": f"w-{self.done}", "cidr": "10.0.0.0/8"},
                    connection=connection).want(201)
                self.done += 1
        except Exception as e:  # told by __exit__
            self.error = e


@options(start=False)
def test_import_refuses(c):
    c.start()
    fill(c)
    out = os.path.join(c.dir, "export")
    c.command("export", out)
    assert "stop it first" in c.command("import", out, code=1)
    c.stop()
    assert "not empty" in c.command("import", out, code=1)
    with open(out, "rb") as f:
        whole = f.read()
    lines = whole.split(b"\n")
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 1
    bad = {"empty": b"", "cut": whole[:len(whole) // 2], "cut at a line": b"\n".join(lines[:9]) + b"\n",
           "without its end": b"\n".join(lines[:-2]) + b"\n", "one bit": bytes(flipped),
           "a line twice": b"\n".join(lines[:5] + lines[4:]), "other": b"hello\n" * 10,
           "json": b"[1,2]\n", "a line less": b"\n".join(lines[:4] + lines[5:]),
           "text after the end": whole + b"{}\n",
           "newer": whole.replace(b'"van_export":1', b'"van_export":2', 1),
           "SQLite": b"SQLite format 3\0" + b"x" * 5000}
    with Console(start=False) as d:
        for name, data in bad.items():
            with open(out, "wb") as f:
                f.write(data)
            said = d.command("import", out, code=1)
            assert out in said, (name, said)
            assert not os.path.exists(os.path.join(d.state_dir, "registry.db")), name
        d.command("import", os.path.join(c.dir, "none"), code=1)
        with open(out, "wb") as f:
            f.write(whole)
        d.command("import", out)
        share_state(c, d)
        d.start()


def synthetic_export(path, keys):
    """A large export that is right in its form."""
    import hashlib
    lines = [json.dumps({"van_export": 1, "mesh": "00" * 16})]
    lines += [json.dumps({"k": f"/x/{i:08}", "v": json.dumps("v" * 100)}) for i in range(keys)]
    data = ("\n".join(lines) + "\n").encode()
    end = json.dumps({"end": True, "keys": keys, "sha256": hashlib.sha256(data).hexdigest()})
    with open(path, "wb") as f:
        f.write(data + end.encode() + b"\n")


@options(start=False)
def test_an_interrupted_import_is_noticed(c):
    good, large = os.path.join(c.dir, "good"), os.path.join(c.dir, "large")
    with Console() as d:
        fill(d)
        d.command("export", good)
        share_state(d, c)
    synthetic_export(large, 300000)
    importing = subprocess.Popen([CONSOLE_API, "import", "-c", c.config_path, large],
                                 stderr=subprocess.DEVNULL)
    path = os.path.join(c.state_dir, "registry.db-wal")
    until(lambda: os.path.exists(path) and os.path.getsize(path) > 1000000)
    importing.kill()
    importing.wait()
    c.spawn()
    eq(c.process.wait(30), 1)
    assert "was not finished" in c.log(), c.log()
    assert "not finished" in c.command("check", code=3)
    # Done again, with another file even: nothing of the first attempt stays.
    c.command("import", good)
    c.command("check")
    c.start()


def test_backup_while_it_is_written(c):
    nodes = fill(c)
    out = os.path.join(c.dir, "backup")
    with Writer(c) as writer:
        for _ in range(3):
            before = writer.done
            c.command("backup", out)
            until(lambda: writer.done > before + 5)
    eq(stat.S_IMODE(os.stat(out).st_mode), 0o600)
    eq([f for f in os.listdir(c.dir) if "backup" in f], ["backup"])
    number = nodes[0].netmap().json["generation"]
    with Console(start=False) as d:
        d.command("import", out)
        d.command("check")
        d.command("audit", "verify")
        share_state(c, d)
        d.start()
        names = {n["name"] for n in d.get("/api/v1/networks?limit=1000", key=c.key).json["items"]}
        assert {"blue", "red", "w-0"} <= names
        d.command("export", out + ".export")
        assert json.loads(lines_of(out + ".export")[0])["generation"] != number
    # Restored by copying it: another generation, each time.
    generations = set()
    for _ in range(2):
        with Console(start=False) as d:
            share_state(c, d)
            with open(out, "rb") as f, open(os.path.join(d.state_dir, "registry.db"), "wb") as to:
                to.write(f.read())
            d.start()
            d.command("export", out + ".export")
            generations.add(json.loads(lines_of(out + ".export")[0])["generation"])
    eq(len(generations | {number}), 3)


def test_command_lines(c):
    for words in (["--help"], ["export", "--help"], ["import", "-h"], ["backup", "--help"],
                  ["audit", "--help"], ["check", "--help"]):
        done = subprocess.run([CONSOLE_API, *words], capture_output=True, text=True, check=True)
        assert done.stdout.startswith("Usage: console-api") and not done.stderr
    for words in (["nonsense"], ["export"], ["export", "a", "b"], ["backup"], ["check", "x"],
                  ["audit"], ["export", "--noted", "x", "y"], ["export", "--bad", "y"]):
        done = subprocess.run([CONSOLE_API, *words, "-c", c.config_path], capture_output=True,
                              text=True, check=False)
        eq(done.returncode, 2, str(words))
        assert done.stderr and not done.stdout
    c.command("audit", "nonsense", code=2)
    assert "is a file" in c.command("backup", "-", code=2)
    assert "cannot open" in c.command("check", code=1, config="/nonexistent")
    c.command("export", "/nonexistent/file", code=1)
    c.command("backup", "/nonexistent/file", code=1)
    with Console(start=False) as none:
        for words in (["export", "-"], ["check"], ["audit", "verify"]):
            none.command(*words, code=1)
            assert not os.path.exists(os.path.join(none.state_dir, "registry.db"))


# -- a store of an older version

FIXTURE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "fixtures", "store-0.1.0.sql")


class Old:
    """What is in the fixture: a store as version 0.1.0 left it."""

    def __init__(self):
        with open(FIXTURE, encoding="utf-8") as f:
            self.sql = f.read()
        notes = [line[3:].split(": ", 1) for line in self.sql.splitlines() if line.startswith("-- ")]
        said = {}
        for note in notes:
            if len(note) == 2:
                said.setdefault(note[0], []).append(note[1])
        self.key, self.token = said["admin key"][0], said["token"][0]
        self.console_id, self.node_id = said["console"][0], said["node"][0]
        self.identity = "\n".join(said["identity"]) + "\n"

    def write(self, path, *more):
        """The file; its token, which had a year, has another one."""
        with sqlite3.connect(path, isolation_level=None) as db:
            db.executescript(self.sql)
            db.execute("UPDATE kv SET value = json_set(value, '$.expires_s', ?) "
                       "WHERE key GLOB '/tokens/*' AND value LIKE '%\"uses\":10,%'",
                       (int(time.time()) + 3600,))
            for statement in more:
                db.execute(statement)
        db.close()

    def agent(self, c):
        """The node that has joined both networks."""
        agent, path = Agent(c), os.path.join(c.dir, "identity")
        with open(path, "w", encoding="utf-8") as f:
            os.fchmod(f.fileno(), 0o600)
            f.write(self.identity)
        agent.index, agent.public_key, agent.sign_key = c.agentcall("load " + path).split()
        with open(os.path.join(c.state_dir, "admin.key"), "w", encoding="utf-8") as f:
            f.write(self.key)
        agent.id, agent.console_id = self.node_id, c.self_id()
        return agent

    def check(self, c):
        """Everything works on it, and fits together."""
        c.command("check")
        get = lambda path: c.get("/api/v1/" + path, key=self.key).want(200).json
        eq({n["name"]: (n["cidr"], n["cidr6"], n["encryption"], n["mtu"], n["labels"])
            for n in get("networks")["items"]},
           {"blue": ("172.16.1.0/24", "fd00:1::/64", "aes-256-gcm", 1360, {}),
            "red": ("10.9.0.0/16", None, "integrity", 1400, {})})
        eq({m["name"]: m["ips"] for n in ("blue", "red") for m in get(f"networks/{n}/nodes")["items"]
            if m["name"] != "web-1"},
           {"web-2": ["172.16.1.2/24", "fd00:1::2/64"], "batch": ["10.9.0.1/16"]})
        eq([(n["name"], n["disabled"], n["ephemeral_s"]) for n in get("nodes")["items"]],
           [("batch", False, 2592000), ("web-1", False, 0), ("web-2", False, 0)])
        eq(sorted((t["network_name"], t["uses"], t["uses_left"]) for t in get("tokens")["items"]),
           [("blue", 10, 7), ("red", 1, 1), ("red", 2, 1)])
        eq([o["name"] for o in get("organizations")["items"]], ["default"])
        assert "network.create" in [r["action"] for r in get("audit?limit=1000")["items"]]
        # Its nodes go on, may join again with a token that was spent on them, and get new neighbours.
        agent = self.agent(c)
        eq([n["name"] for n in agent.netmap().want(200).json["networks"]], ["blue", "red"])
        agent.report(local=["192.0.2.8"]).want(200)
        agent.enroll(self.token, "web-1").want(200)
        eq(agent.id, self.node_id)
        new = c.node(self.token, "web-3")
        eq(next(iter(new.netmap().want(200).json["networks"]))["ips"], ["172.16.1.3/24", "fd00:1::3/64"])
        key = self.key
        c.post("/api/v1/networks", {"name": "blue", "cidr": "10.1.0.0/16"}, key=key).want(409)
        c.patch("/api/v1/networks/blue", {"name": "green", "labels": {"a": "b"}}, key=key).want(200)
        c.delete("/api/v1/nodes/batch", key=key).want(204)
        c.delete("/api/v1/networks/red", key=key).want(204)
        c.post("/api/v1/keys", {"name": "k", "role": "viewer"}, key=key).want(201)
        c.command("check")
        c.command("audit", "verify")


@options(start=False)
def test_a_store_of_version_0_1_0(c):
    """It is brought up to date at the start, also when that was interrupted; or it moves into etcd."""
    del c
    old = Old()
    begun = ["INSERT INTO kv SELECT replace(key, '/names/', '/names/default/'), value, 14, 14 FROM kv "
             "WHERE key GLOB '/names/network/*'",
             "DELETE FROM kv WHERE key GLOB '/names/network/*'",
             "UPDATE meta SET revision = 14"]
    for statements in ([], begun):
        with Console(start=False) as d:
            path = os.path.join(d.state_dir, "registry.db")
            os.makedirs(d.state_dir, mode=0o700)
            old.write(path, *statements)
            d.command("tls", "new")
            d.start()
            assert "from schema 1 to 2" in d.log() and "of an older version" in d.log(), d.log()
            with sqlite3.connect(path) as db:
                eq(db.execute("SELECT schema, program <> '' FROM meta").fetchone(), (2, 1))
                mesh = json.loads(db.execute(
                    "SELECT value FROM kv WHERE key = '/console'").fetchone()[0])["mesh"]
                eq(db.execute("SELECT count(*) FROM kv WHERE key GLOB '/audit/-/*'").fetchone()[0],
                   old.sql.count("'/audit/"))
                eq(db.execute("SELECT key FROM kv WHERE key GLOB '/audit/[0-9]*'").fetchall(), [])
            assert mesh in old.sql
            old.check(d)
            d.stop()
            d.start()
            eq(d.log().count("from schema 1"), 1)
            eq(d.log().count("of an older version"), 1)
            d.stop()
            d.command("check")
            d.check_log()
    with Etcd() as etcd, etcd.console(start=False) as d:
        path = os.path.join(d.dir, "old.db")
        old.write(path)
        d.command("import", path)
        d.start()
        old.check(d)
        d.stop()
        d.command("check")


# -- the audit trail

def database(c):
    return sqlite3.connect(os.path.join(c.state_dir, "registry.db"), isolation_level=None)


def rows_of(c):
    with database(c) as db:
        return db.execute("SELECT key, value FROM kv WHERE key GLOB '/audit/*' ORDER BY key").fetchall()


def test_audit_rows_say_who_what_before_and_after(c):
    fill(c)
    rows = [json.loads(value) for _, value in rows_of(c)]
    eq([r["seq"] for r in rows], list(range(1, len(rows) + 1)))
    renamed = next(r for r in rows if r["action"] == "node.change")
    eq((renamed["before"]["name"], renamed["after"]["name"]), ("web-2", "db"))
    assert renamed["actor"].startswith("key:") and renamed["address"] == "127.0.0.1"
    created = next(r for r in rows if r["action"] == "network.create")
    eq((created["kind"], created["before"], created["after"]["name"]), ("network", None, "blue"))
    assert "network" in created["object"] and created["org"] == "default" and created["request"]
    c.delete("/api/v1/networks/red").want(204)
    last = json.loads(rows_of(c)[-1][1])
    eq((last["action"], last["after"], last["before"]["name"]), ("network.delete", None, "red"))
    # No credential, nor the hash of one.
    with database(c) as db:
        hashes = [k.rsplit("/", 1)[1] for (k,) in db.execute(
            "SELECT key FROM kv WHERE key GLOB '/apikeys/*' OR key GLOB '/token-hash/*'")]
    assert hashes
    text = json.dumps([value for _, value in rows_of(c)])
    for secret in [c.key, *hashes]:
        assert secret not in text
    assert '"hash\\"' not in json.dumps([r["before"] or r["after"] for r in rows])


def test_audit_verify_finds_what_was_done_to_rows(c):
    fill(c)
    noted = os.path.join(c.dir, "noted")
    with open(noted, "w", encoding="utf-8") as f:
        f.write("# kept elsewhere\n" + c.command("audit", "verify"))
    c.post("/api/v1/networks", {"name": "green", "cidr": "10.5.0.0/16"}).want(201)
    c.command("audit", "verify", "--noted", noted)
    c.stop()
    rows = rows_of(c)
    middle = len(rows) // 2
    key, value = rows[middle]
    head = ("SELECT key, value FROM kv WHERE key = '/audit-head/main'", )
    with database(c) as db:
        head = db.execute(head[0]).fetchone()[1]
    rebuilt = rebuild(rows, middle)

    def place(k):
        return "/audit-at/" + k.rsplit("/", 1)[1]

    with database(c) as db:
        places = db.execute("SELECT key, value FROM kv WHERE key GLOB '/audit-at/*'").fetchall()

    def update(db, k, v):
        db.execute("UPDATE kv SET value = ? WHERE key = ?", (v, k))
    tampering = {
        "was altered": lambda db: update(db, key, value.replace('"actor":"key:', '"actor":"kex:', 1)
                                         if '"actor":"key:' in value else
                                         value.replace('"time":"2', '"time":"1', 1)),
        "is missing": lambda db: db.execute("DELETE FROM kv WHERE key = ?", (key,)),
        "has no place in the order": lambda db: db.execute("UPDATE kv SET key = ? WHERE key = ?",
                                           (key[:-6] + "z-main", key)),
        "last rows are": lambda db: db.execute("DELETE FROM kv WHERE key IN (?, ?)",
                                               (rows[-1][0], place(rows[-1][0]))),
        "a row before it is missing": lambda db: db.execute("DELETE FROM kv WHERE key IN (?, ?)",
                                                            (key, place(key))),
        "place in the order of time was altered": lambda db: update(
            db, place(key), '{"org":"default","seq":9999,"hash":"' + 64 * "0" + '"}'),
        "no head": lambda db: db.execute("DELETE FROM kv WHERE key = '/audit-head/main'"),
        "no audit row": lambda db: update(db, key, "[]"),
        "put in afterwards": lambda db: db.execute(
            "INSERT INTO kv VALUES (?, ?, 1, 1)",
            (key + "x", '{"time":"","actor":"","address":"","action":"","object":""}')),
        "damaged": lambda db: update(db, "/audit-head/main", '{"seq":0}'),
        "another row of its number": lambda db: update(db, rows[middle + 1][0], value),
    }
    for what, tamper in tampering.items():
        with database(c) as db:
            db.execute("BEGIN")
            tamper(db)
            db.execute("COMMIT")
        said = c.command("audit", "verify", code=3)
        assert what in said or (what == "another row of its number" and "moved" in said), (what, said)
        c.command("check", code=3)
        with database(c) as db:
            db.execute("DELETE FROM kv WHERE key GLOB '/audit/*' OR key GLOB '/audit-at/*' "
                       "OR key = '/audit-head/main'")
            db.executemany("INSERT INTO kv VALUES (?, ?, 1, 1)", rows + places)
            db.execute("INSERT INTO kv VALUES ('/audit-head/main', ?, 1, 1)", (head,))
        c.command("audit", "verify", "--noted", noted)
    # Several at once: each of them is named.
    with database(c) as db:
        for k, v in (rows[2], rows[5]):
            update(db, k, v.replace('"time":"2', '"time":"1', 1))
        db.execute("DELETE FROM kv WHERE key = ?", (rows[-1][0],))
    said = c.command("audit", "verify", code=3)
    for what in (rows[2][0], rows[5][0], rows[-1][0], "it is missing", "3 faults"):
        assert what in said, (what, said)
    with database(c) as db:
        db.execute("INSERT INTO kv VALUES (?, ?, 1, 1)", rows[-1])
        for k, v in rows:
            update(db, k, v)
    c.command("audit", "verify", "--noted", noted)
    # Made anew from a row on, by somebody who knows how: only what was noted elsewhere tells.
    with database(c) as db:
        for k, v in rebuilt[0]:
            row = json.loads(v)
            update(db, k, v)
            update(db, place(k), json.dumps({m: row[m] for m in ("org", "seq", "hash")}))
        update(db, "/audit-head/main", rebuilt[1])
    c.command("audit", "verify")
    assert "not the one that was noted" in c.command("audit", "verify", "--noted", noted, code=3)
    with open(noted, "a", encoding="utf-8") as f:
        f.write("nonsense\n")
    c.command("audit", "verify", "--noted", noted, code=1)


def rebuild(rows, start):
    """The chain with another row at start, and the head for it."""
    import hashlib
    out, previous = [], json.loads(rows[start - 1][1])["hash"]
    for i, (key, value) in enumerate(rows):
        if i < start:
            continue
        row = json.loads(value)
        row["prev"] = previous
        if i == start:
            row["actor"] = "nobody"
        del row["hash"]
        text = json.dumps(row, separators=(",", ":"), ensure_ascii=False)[:-1]
        previous = hashlib.sha256(b"VANaudit1" + text.encode()).hexdigest()
        out.append((key, text + f',"hash":"{previous}"}}'))
    last = json.loads(out[-1][1])
    return out, json.dumps({"seq": last["seq"], "hash": previous, "stamp": last["stamp"]})


def test_check_notices_what_is_missing(c):
    """Every key of the registry that has to do with another one is missed when it is gone."""
    fill(c)
    c.stop()
    alone = ("/audit", "/consoles/", "/pulse/", "/events/", "/gone/", "/idem", "/maprev/consoles",
             "/instances/", "/token-uses/", "/console", "/cloak", "/gateways/", "/reservations/",
             "/org-tokens/", "/netconf/")
    with database(c) as db:
        everything = db.execute("SELECT key, value, create_rev, mod_rev FROM kv").fetchall()
        seen = set()
        for key, value, *revisions in everything:
            family = key.split("/")[1]
            if key.startswith(alone) or family in seen:
                continue
            seen.add(family)
            db.execute("DELETE FROM kv WHERE key = ?", (key,))
            c.command("check", code=3)
            db.execute("INSERT INTO kv VALUES (?, ?, ?, ?)", (key, value, *revisions))
        assert len(seen) > 12, seen
        c.command("check")
        db.execute("INSERT INTO kv VALUES ('/unknown/key', '1', 1, 1)")
        assert "/unknown/key" in c.command("check", code=3)
        db.execute("UPDATE kv SET key = '/nets/x', value = 'no json' WHERE key = '/unknown/key'")
        assert "no JSON" in c.command("check", code=3)


def test_audit_rows_of_others_cost_nothing_and_tell_nothing(c):
    """20,000 rows of another organization: what is listed is as before, pages are whole, and other requests
    do not wait."""
    mine = [r["hash"] for r in c.get("/api/v1/audit").want(200).json["items"]]
    c.stop()
    with database(c) as db:
        db.execute("BEGIN")
        for i in range(20000):
            # Half of them older than the first row of ours, half of them newer.
            tail = f"{'0' if i % 2 else 'f'}{i:015x}-other"
            db.execute("INSERT INTO kv VALUES (?, ?, 1, 1)",
                       (f"/audit/org_other/{tail}", json.dumps({"org": "org_other", "action": "x.y"})))
        db.execute("COMMIT")
    c.start()
    connection = c.connect()
    for query in ("", "?limit=1000", "?action=no.such", "?limit=1", "?since=2020-01-01T00:00:00Z"):
        before = cpu_s(c)
        page = c.get("/api/v1/audit" + query, connection=connection).want(200).json
        took = cpu_s(c) - before
        assert took < 0.1, (query, took)
        if "=no" in query:
            eq(page, {"items": [], "next": None})
        elif "limit=1" != query[1:]:
            eq([r["hash"] for r in page["items"]], mine)
            eq(page["next"], None)
    eq(audit_hashes(c), mine)
    with database(c) as db:  # for the check at the end
        db.execute("DELETE FROM kv WHERE key GLOB '/audit/org_other/*'")


# -- several consoles

@options(start=False)
def test_two_consoles_hear_each_other(c):
    del c
    with Etcd() as etcd, etcd.console() as a, etcd.console() as b:
        share_key(a, b)
        a.network()
        until(lambda: b.get("/api/v1/networks/blue").status == 200, what="the network at the other")
        agent = a.node(a.token(uses=9), "web")
        there = at(agent, b)
        # Long polls at one, changes at the other, within a second, but for what a busy machine adds.
        took = []
        for i in range(5):
            since = revision(until(lambda: there.netmap().json))
            poll = Poll(there, since)
            start = time.monotonic()
            (a, b)[i % 2].node(a.token(uses=1), f"other-{i}")
            answer = poll.result().want(200).json
            took.append(poll.at - start)
            assert f"other-{i}" in json.dumps(answer)
        assert min(took) < 1 and max(took) < 10, took
        # A node whom one hears is online at both.
        agent.report().want(200)
        until(lambda: b.get("/api/v1/nodes/web").json["online"], 30, "online at the other")
        # Each has a chain of its own, and they are verified together.
        heads = a.command("audit", "verify").splitlines()
        eq(len(heads), 2)
        eq(b.command("audit", "verify").splitlines(), heads)
        a.command("check")
        a.stop()
        b.post("/api/v1/networks", {"name": "alone", "cidr": "10.3.0.0/16"}).want(201)
        there.report().want(200)
        b.stop()


@options(start=False)
def long_ephemeral_nodes_are_heard_by_any_console(c):
    """A node that reports to one console is not taken for gone by the other, and is when it is."""
    del c
    with Etcd() as etcd, etcd.console() as a, etcd.console() as b:
        share_key(a, b)
        a.network()
        stays = a.node(a.token(uses=1, ephemeral_s=60), "stays")
        a.node(a.token(uses=1, ephemeral_s=60), "goes")
        end = time.monotonic() + 130
        while time.monotonic() < end and b.get("/api/v1/nodes/goes").status == 200:
            stays.report().want(200)
            time.sleep(5)
        eq(b.get("/api/v1/nodes/goes").status, 404)
        eq(b.get("/api/v1/nodes/stays").status, 200)
        a.kill()
        until(lambda: b.get("/api/v1/nodes/stays").status == 404, 150, "the end of the other")
        b.command("check")


@options(start=False)
def test_a_console_that_missed_what_was_compacted(c):
    """It was away, and etcd has forgotten what happened meanwhile: it reads everything anew."""
    del c
    with Etcd() as etcd, etcd.console() as a, etcd.console() as b:
        share_key(a, b)
        member = etcd.members[0]
        a.network()
        agent = a.node(a.token(uses=9), "web")
        there = at(agent, b)
        since = revision(until(lambda: there.netmap().json))
        watch = Watch(b)
        watch.close()
        b.process.send_signal(signal.SIGSTOP)
        member.kill()
        member.start()
        until(lambda: member.status() and member.status().get("leader"), 30, "etcd")
        until(lambda: a.get("/readyz", key=None).status == 200)
        for i in range(20):
            until(lambda i=i: a.post("/api/v1/networks", {
                "name": f"n-{i}", "cidr": "10.1.0.0/16"}).status in (201, 409))
        a.delete("/api/v1/networks/n-3").want(204)
        a.node(a.token(), "other")
        member.call("/v3/kv/compaction", {
            "revision": member.status()["header"]["revision"], "physical": True})
        b.process.send_signal(signal.SIGCONT)
        until(lambda: "history was compacted" in b.log(), 20, "the line about it")
        names = sorted(n["name"] for n in a.get("/api/v1/networks").json["items"])
        until(lambda: sorted(n["name"] for n in b.get("/api/v1/networks").json["items"]) == names)
        answer = there.netmap(since, wait=20).want(200)
        assert "other" in answer.body.decode()
        b.get("/api/v1/watch", headers={"Last-Event-ID": watch.id}).want(410, "watch_gone")
        b.post("/api/v1/networks", {"name": "on", "cidr": "10.2.0.0/16"}).want(201)
        until(lambda: a.get("/api/v1/networks/on").status == 200)
        b.command("check")


@options(start=False)
def test_a_cluster_from_a_snapshot(c):
    """etcd put back by etcdctl: with a new generation the nodes follow, though its revisions went back."""
    def etcdctl(*words):
        subprocess.run(["etcdctl", *words], check=True, capture_output=True,
                       env=dict(os.environ, ETCDCTL_API="3"))
    snapshot = os.path.join(c.dir, "snapshot")
    with Etcd() as etcd, etcd.console() as a:
        member = etcd.members[0]
        a.network()
        token = a.token(uses=9)
        agent = a.node(token, "web")
        etcdctl("--endpoints", member.url, "snapshot", "save", snapshot)
        for i in range(5):
            a.node(token, f"later-{i}")
        since = revision(agent.netmap().want(200).json)
        a.stop()
        member.kill()
        shutil.rmtree(member.dir)
        etcdctl("snapshot", "restore", snapshot, "--name", member.name, "--data-dir", member.dir,
                "--initial-cluster", etcd.members_text(),
                "--initial-advertise-peer-urls", member.peer_url)
        member.start()
        until(lambda: member.status() and member.status().get("leader"), 30, "etcd")
        etcdctl("--endpoints", member.url, "put", "/van/generation", os.urandom(8).hex())
        a.start()
        netmap = agent.netmap(since, wait=20).want(200).json
        assert netmap["generation"] != since.split(".")[0]
        eq([p["name"] for n in netmap["networks"] for p in n["peers"]], [])
        a.node(token, "new")
        assert "new" in agent.netmap(revision(netmap), wait=20).want(200).body.decode()
        a.command("check")
        a.command("audit", "verify")


def race(consoles, count, call):
    """call(console, i) for i in range(count), all at once, over both consoles."""
    gate = threading.Barrier(min(count, 100))

    def one(i):
        if i < gate.parties:
            gate.wait()
        return call(consoles[i % len(consoles)], i)
    with concurrent.futures.ThreadPoolExecutor(gate.parties) as pool:
        return list(pool.map(one, range(count)))


FAST = "rate_enrolments = 100000; rate_requests = 100000; rate_address = 100000;"


@options(start=False)
def test_one_use_for_100_clients_at_two_consoles(c):
    del c
    with Etcd() as etcd, etcd.console(FAST) as a, etcd.console(FAST) as b:
        share_key(a, b)
        a.network()
        for _ in range(3):
            token = a.token(uses=1)
            until(lambda: b.get("/api/v1/networks/blue").status == 200)
            agents = [Agent(x) for x in (a, b) * 50]
            answers = race((a, b), 100, lambda console, i: agents[i].enroll(token))
            statuses = sorted(x.status for x in answers)
            eq([s for s in statuses if s == 201], [201], f"of {statuses}")
            for x in answers:
                if x.status != 201:
                    # A console that is some milliseconds behind does not know the token yet.
                    assert x.json["type"].split(":")[-1] in (
                        "token_used_up", "token_wrong", "store_busy"), x.body
            print(f"     one use, 100 clients at two consoles: {statuses.count(201)} got in", flush=True)
        eq(len(a.get("/api/v1/nodes?limit=1000").json["items"]), 3)
        a.command("check")


@options(start=False)
def test_two_consoles_allocate_1000_addresses_at_once(c):
    del c
    with Etcd() as etcd, etcd.console(FAST) as a, etcd.console(FAST) as b:
        share_key(a, b)
        a.network("blue", "10.7.0.0/16")
        token = a.token(uses=2000)
        until(lambda: b.get("/api/v1/networks/blue").status == 200)

        def enroll(console, i):
            agent = Agent(console)
            return until(lambda: again(agent.enroll(token, f"n{i}")), 60)

        def again(answer):
            """Busy: a client tries again, as vand does."""
            return None if answer.status in (503, 429) else answer.want(201)
        start = time.monotonic()
        race((a, b), 1000, enroll)
        took = time.monotonic() - start
        print(f"     1000 enrolments at two consoles: {1000 / took:.0f}/s", flush=True)
        members = []
        cursor = ""
        while cursor is not None:
            page = a.get("/api/v1/networks/blue/nodes?limit=1000"
                         + (f"&cursor={cursor}" if cursor else "")).want(200).json
            members, cursor = members + page["items"], page["next"]
        eq(len(members), 1000)
        counts = {what: len({v for m in members for v in m[what]}) for what in ("ips", "macs")}
        eq(counts, {"ips": 1000, "macs": 1000})
        networks = race((a, b), 1000, lambda console, i: until(lambda: again(console.post(
            "/api/v1/networks", {"name": f"net-{i}", "cidr": "10.0.0.0/8"})), 60))
        van_ids = len({n.json["van_id"] for n in networks})
        eq(van_ids, 1000)
        print(f"     at two consoles at once: {counts['ips']} addresses and {counts['macs']} MACs of "
              f"1000 members, {van_ids} VAN ids of 1000 networks: none twice", flush=True)
        a.command("check")
        b.command("audit", "verify")


@options(start=False)
def test_a_network_larger_than_a_transaction_is_deleted(c):
    del c
    with Etcd() as etcd, etcd.console(FAST) as a:
        a.network()
        token = a.token(uses=200)
        for i in range(60):
            a.node(token, f"n{i}")
        for i in range(20):
            a.post("/api/v1/networks/blue/reservations",
                   {"address": f"172.16.1.{100 + i}"}).want(201)
        a.post("/api/v1/networks/blue/floating-ips", {"address": "172.16.1.99"}).want(201)
        match = f'"{a.get("/api/v1/networks/blue").json["revision"]}"'
        a.delete("/api/v1/networks/blue", match='"1"').want(412)
        a.delete("/api/v1/networks/blue", match=match).want(204)
        eq(a.get("/api/v1/networks").json["items"], [])
        eq(len(a.get("/api/v1/nodes").json["items"]), 60)
        a.command("check")
        actions = [r["action"] for r in a.get("/api/v1/audit?limit=1000").json["items"]]
        assert "network.empty" in actions and "network.delete" in actions


@options(start=False)
def test_etcd_by_tls_with_certificates(c):
    run = lambda *argv: subprocess.run(argv, check=True, capture_output=True, cwd=c.dir)
    run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
        "-nodes", "-keyout", "ca.key", "-out", "ca.crt", "-days", "2", "-subj", "/CN=test ca")
    for name, san in (("server", "IP:127.0.0.1"), ("client", "DNS:console")):
        run("openssl", "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
            "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={name}")
        with open(os.path.join(c.dir, "ext"), "w", encoding="utf-8") as f:
            f.write(f"subjectAltName={san}\n")
        run("openssl", "x509", "-req", "-in", f"{name}.csr", "-CA", "ca.crt", "-CAkey", "ca.key",
            "-CAcreateserial", "-out", f"{name}.crt", "-days", "2", "-extfile", "ext")
    path = lambda name: os.path.join(c.dir, name)
    arguments = ["--cert-file", path("server.crt"), "--key-file", path("server.key"),
                 "--trusted-ca-file", path("ca.crt"), "--client-cert-auth"]
    client = f'etcd_cert = "{path("client.crt")}"; etcd_key = "{path("client.key")}";'
    ca = f'etcd_ca = "{path("ca.crt")}";'
    with Etcd(arguments=arguments, scheme="https") as etcd:
        with etcd.console(ca + client) as a:
            a.network()
            a.command("check")
        for wrong in (ca, client):
            with etcd.console(wrong + "etcd_timeout_ms = 200;", start=False) as b:
                b.spawn()
                until(lambda: "waiting for etcd" in b.log(), 20)
                b.kill()
