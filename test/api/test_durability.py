# SPDX-License-Identifier: Apache-2.0
"""What was acknowledged is there, and nothing is half-made: after SIGKILL at any moment, after a power
cut that takes everything that was not synced, and while members of an etcd cluster die, stand still,
are cut off and come back."""
import http.client
import os
import random
import shutil
import sqlite3
import subprocess
import threading
import time

from consoletest import BUILD, Agent, Console, Skip, eq, options, revision, until
from etcdtest import Archipelago, Etcd, at, share_key

FAST = "rate_enrolments = 100000; rate_requests = 100000; rate_address = 100000;"
POWERLOSS = os.path.join(BUILD, "test", "tools", "shim", "powerloss.so")


class Model:
    """What must be in the registry: the answers that came decide, one that did not come may be either."""

    def __init__(self):
        self.sure, self.either = {}, {}
        self.acknowledged = self.unknown = 0

    def begin(self, name, outcome):
        """A write of this object begins; outcome: None (deleted) or members that it will have."""
        self.either[name] = (self.sure.get(name), outcome)

    def done(self, name):
        """It was acknowledged."""
        self.sure[name] = self.either.pop(name)[1]
        self.acknowledged += 1

    def refused(self, name):
        self.either.pop(name)

    def check(self, c, key):
        found = {n["name"]: n for n in everything(c, "/api/v1/networks", key)}
        for name in {*found, *self.sure, *self.either}:
            possible = self.either.get(name, (self.sure.get(name),))
            have = found.get(name)
            if have:
                have = {"mtu": have["mtu"], "labels": have["labels"]}
            assert have in possible, f"{name}: {have}, want one of {possible}"
            self.sure[name] = have
        self.either.clear()


def everything(c, path, key):
    items, cursor = [], ""
    while cursor is not None:
        page = c.get(f"{path}?limit=1000" + (f"&cursor={cursor}" if cursor else ""),
                     key=key).want(200).json
        items, cursor = items + page["items"], page["next"]
    return items


class Retries:
    """POSTs that may be sent again: tokens with an Idempotency-Key, enrolments, which are their own key.
    Each is done once, however often it was sent and whenever the console was killed."""

    def __init__(self, c, key):
        self.key, self.lock = key, threading.Lock()
        self.known, self.pending = {}, {}  # what → the id that its answer gave; → how to send it
        self.sent_again = self.had_been_done = self.count = 0
        c.network("retries", "10.64.0.0/12")
        self.token = c.token("retries", uses=100000, ttl_s=86400)

    def begin(self, what, send):
        with self.lock:
            self.pending[what] = send

    def done(self, what, answer_id):
        with self.lock:
            eq(self.known.setdefault(what, answer_id), answer_id, what)
            self.pending.pop(what)

    def issue(self, c, connection):
        with self.lock:
            self.count += 1
            what = f"token-{self.count}"

        def send(console, connection=None):
            answer = console.post("/api/v1/networks/retries/tokens", {"ttl_s": 86400}, key=self.key,
                                  headers={"Idempotency-Key": what}, connection=connection)
            return answer, answer.status == 201 and answer.json["id"]
        return self.once(what, send, c, connection)

    def enroll(self, c, connection):
        agent = Agent(c)

        def send(console, connection=None):
            answer = at(agent, console).enroll(self.token, connection=connection)
            return answer, answer.status in (200, 201) and answer.json["node"]["id"]
        return self.once(f"node-{agent.sign_key}", send, c, connection)

    def once(self, what, send, c, connection):
        """True when it was acknowledged."""
        self.begin(what, send)
        answer, answer_id = send(c, connection)
        if answer_id:
            self.done(what, answer_id)
            return True
        assert answer.status == 503 and answer.headers["Retry-After"], answer.body
        if answer.json["type"].split(":")[-1] != "outcome_unknown":
            with self.lock:
                self.pending.pop(what)  # it must not be there
        return False

    def send_again(self, c):
        """Everything that had no answer."""
        for what, send in list(self.pending.items()):
            def again(send=send):
                answer, answer_id = send(c)
                return (answer, answer_id) if answer.status not in (429, 503) else None
            answer, answer_id = until(again, 60)
            self.sent_again += 1
            if answer_id:
                self.had_been_done += answer.status == 200
                self.done(what, answer_id)
                continue
            # Done, and its answer died with the console.
            assert answer.status == 409, answer.body
            assert answer.json["type"].split(":")[-1] in ("request_in_flight", "answer_lost")
            self.had_been_done += 1
            with self.lock:
                self.pending.pop(what)
                self.known[what] = None

    def check(self, c):
        """Each once, and every one that was acknowledged."""
        tokens = {t["id"] for t in everything(c, "/api/v1/tokens", self.key)
                  if t["network_name"] == "retries"}
        members = everything(c, "/api/v1/networks/retries/nodes", self.key)
        for prefix, found in (("token-", tokens), ("node-", {m["id"] for m in members})):
            known = [v for k, v in self.known.items() if k.startswith(prefix)]
            eq(len(found), len(known) + (prefix == "token-"), prefix)
            assert {v for v in known if v} <= found
        for what in ("ips", "macs"):
            values = [v for m in members for v in m[what]]
            eq(len(set(values)), len(values), what)


class Worker(threading.Thread):
    """Makes, changes and deletes networks of its own, issues tokens and lets nodes join, until the
    console does not answer any more."""

    def __init__(self, c, model, lock, label, seed, key, retries=None):
        super().__init__(daemon=True)
        self.c, self.model, self.lock, self.label, self.key = c, model, lock, label, key
        self.retries = retries
        self.random = random.Random(seed)
        self.ending = False
        self.error = None
        self.gap_s = 0.0  # the longest time without an acknowledged write
        self.start()

    def run(self):
        last = time.monotonic()
        try:
            connection = self.c.connect()
            while not self.ending:
                if self.step(connection):
                    now = time.monotonic()
                    self.gap_s, last = max(self.gap_s, now - last), now
                else:
                    time.sleep(0.02)
        except (OSError, http.client.HTTPException):
            pass  # killed: whatever was on its way may be either
        except Exception as e:  # told by whoever joins
            self.error = e

    def pick(self):
        name = f"{self.label}-{self.random.randrange(40)}"
        with self.lock:
            now = self.model.sure.get(name)
            values = {"mtu": self.random.randrange(1280, 9000),
                      "labels": {"n": str(self.random.randrange(10 ** 6))}}
            if now and self.random.random() < 0.3:
                values = None
            self.model.begin(name, values)
        return name, now, values

    def step(self, connection):
        """True when something was acknowledged."""
        chance = self.random.random() if self.retries else 1
        if chance < 0.3:
            once = self.retries.issue if chance < 0.2 else self.retries.enroll
            acknowledged = once(self.c, connection)
            with self.lock:
                self.model.acknowledged += acknowledged
            return acknowledged
        name, now, values = self.pick()
        path = f"/api/v1/networks/{name}"
        if now is None:
            answer = self.c.post("/api/v1/networks", dict(values, name=name, cidr="10.0.0.0/8"),
                                 connection=connection, key=self.key)
        elif values is None:
            answer = self.c.delete(path, connection=connection, key=self.key)
        else:
            answer = self.c.patch(path, values, connection=connection, key=self.key)
        with self.lock:
            if answer.status in (200, 201, 204):
                self.model.done(name)
                return True
            word = answer.json["type"].split(":")[-1]
            assert answer.status == 503 and answer.headers["Retry-After"], answer.body
            if word != "outcome_unknown":
                assert word in ("store_busy", "stopping"), answer.body
                self.model.refused(name)
                return False
            self.model.unknown += 1
        self.settle(name, values)
        return False

    def settle(self, name, values):
        """Looks, as the answer says."""
        def look():
            answer = self.c.get(f"/api/v1/networks/{name}", key=self.key)
            return answer if answer.status in (200, 404) else None
        # Another transaction fences it; what is read after that is the truth.
        def write():
            return self.c.post("/api/v1/networks", {"name": f"{name}-fence", "cidr": "10.0.0.0/8"},
                               key=self.key).status in (201, 409) or None
        until(write, 60)
        answer = until(look, 60)
        with self.lock:
            self.model.sure[f"{name}-fence"] = {"mtu": 1360, "labels": {}}
            have = None
            if answer.status == 200:
                have = {"mtu": answer.json["mtu"], "labels": answer.json["labels"]}
            assert have in self.model.either[name], (name, have, values)
            self.model.either.pop(name)
            self.model.sure[name] = have


def join(workers):
    for worker in workers:
        worker.join(30)
        assert not worker.is_alive()
        if worker.error:
            raise worker.error


def kills(c, rounds, writes_in_all, after_kill=None):
    """SIGKILL at a random moment of four clients' work, and now and then of the next start too."""
    seed = random.randrange(10 ** 9)
    chance = random.Random(seed)
    model, lock, key = Model(), threading.Lock(), c.key
    retries = Retries(c, key)
    model.sure["retries"] = {"mtu": 1360, "labels": {}}
    in_starts = 0
    started = time.monotonic()
    for i in range(rounds):
        target = writes_in_all * (i + 1) // rounds
        workers = [Worker(c, model, lock, f"w{n}", f"{seed} {i} {n}", key, retries) for n in range(4)]
        until(lambda: model.acknowledged >= target or any(w.error for w in workers), 120)
        time.sleep(chance.uniform(0, 0.03))
        c.kill()
        join(workers)
        if after_kill:
            after_kill()
        while chance.random() < 0.3:
            c.spawn()
            time.sleep(chance.uniform(0, 0.06))
            c.kill()
            if after_kill:
                after_kill()
            in_starts += 1
        c.start()
        model.check(c, key)
        retries.send_again(c)
        c.check_store()
    retries.check(c)
    rows = sum(int(line.split()[1]) for line in c.command("audit", "verify", "-q").splitlines())
    assert rows >= model.acknowledged, (rows, model.acknowledged)
    print(f"     {model.acknowledged} acknowledged writes, all there; {rounds} kills in the middle of "
          f"them, {in_starts} in starts; {retries.sent_again} requests without an answer sent again, "
          f"{retries.had_been_done} of them had been done, none twice; {rows} audit rows "
          f"(seed {seed}, {time.monotonic() - started:.0f} s)", flush=True)


@options(config=FAST)
def test_killed_at_any_moment(c):
    kills(c, 10, 500)


@options(config=FAST)
def long_killed_at_any_moment(c):
    kills(c, 100, 10000)


@options(start=False)
def test_killed_at_any_moment_with_etcd(c):
    del c
    with Etcd() as etcd, etcd.console(FAST) as a:
        kills(a, 5, 250)


@options(start=False)
def long_killed_at_any_moment_with_etcd(c):
    del c
    with Etcd() as etcd, etcd.console(FAST) as a:
        kills(a, 100, 10000)


# -- a power cut

class Disk:
    """A state directory on a disk that keeps what was synced, and of the rest only what it likes."""

    def __init__(self, c):
        self.dir, self.image = c.state_dir, os.path.join(c.dir, "image")
        self.random = random.Random()
        self.was_cut = False
        os.makedirs(self.image)
        if not os.path.exists(POWERLOSS):
            raise Skip(f"{POWERLOSS} is not built")

    def wrapper(self):
        return ["env", f"LD_PRELOAD={os.path.abspath(POWERLOSS)}", f"POWERLOSS_DIR={self.dir}",
                f"POWERLOSS_IMAGE={self.image}", "ASAN_OPTIONS=verify_asan_link_order=0"]

    def cut(self, torn=False):
        """The power is cut. torn: of what was not synced, some sectors have reached the disk."""
        files = {}
        names = os.path.join(self.image, "names")
        if not os.path.exists(names) and self.was_cut:
            return  # the console was killed before it did anything at all
        self.was_cut = True
        if os.path.exists(names):
            with open(names, encoding="utf-8") as f:
                for line in f.read().splitlines():
                    file_id, name = line.split(" ", 1)
                    files[name] = self.content(file_id, name, torn)
        shutil.rmtree(self.dir)
        os.makedirs(self.dir, mode=0o700)
        for name, data in files.items():
            with open(os.path.join(self.dir, name), "wb") as f:
                os.fchmod(f.fileno(), 0o600)
                f.write(data)
        shutil.rmtree(self.image)
        os.makedirs(self.image)

    def content(self, file_id, name, torn):
        data = b""
        path = os.path.join(self.image, file_id)
        if os.path.exists(path):
            with open(path, "rb") as f:
                data = f.read()
        now = os.path.join(self.dir, name)
        if not torn or not os.path.exists(now):
            return data
        with open(now, "rb") as f:
            written = f.read()
        size = self.random.choice((len(data), max(len(data), len(written))))
        data, written = bytearray(data.ljust(size, b"\0")), written.ljust(size, b"\0")
        for i in range(0, size, 512):
            if self.random.random() < 0.5:
                data[i:i + 512] = written[i:i + 512]
        return bytes(data)


def cuts(rounds, writes, torn):
    with Console(FAST, start=False) as c:
        disk = Disk(c)
        c.wrapper = disk.wrapper()
        c.start()
        kills(c, rounds, writes, lambda: disk.cut(torn))
        # The shim does what it says: what is not synced is gone.
        with open(os.path.join(c.state_dir, "not-synced"), "w", encoding="utf-8") as f:
            f.write("x")
        c.kill()
        disk.cut()
        assert not os.path.exists(os.path.join(c.state_dir, "not-synced"))
        assert os.path.getsize(os.path.join(c.state_dir, "admin.key"))


@options(start=False)
def test_power_cut(c):
    del c
    cuts(10, 400, torn=False)


@options(start=False)
def test_power_cut_with_torn_writes(c):
    del c
    cuts(10, 400, torn=True)


@options(start=False)
def long_power_cuts(c):
    del c
    cuts(50, 4000, torn=False)
    cuts(50, 4000, torn=True)


@options(start=False)
def test_power_cut_would_be_noticed(c):
    """Without its syncs the same store loses what it acknowledged: the test above can fail."""
    disk = Disk(c)
    os.makedirs(disk.dir, exist_ok=True)
    path = os.path.join(disk.dir, "registry.db")
    script = ("import sqlite3,sys,os,time; d=sqlite3.connect(sys.argv[1],isolation_level=None);"
              "d.execute('PRAGMA journal_mode=WAL'); d.execute('PRAGMA synchronous=OFF');"
              "d.execute('CREATE TABLE t(x)'); d.execute('INSERT INTO t VALUES (1)');"
              "print('done',flush=True); os.kill(os.getpid(), 9)")
    done = subprocess.run([*disk.wrapper(), "/usr/bin/python3", "-c", script, path],
                          capture_output=True, text=True, check=False)
    eq(done.stdout, "done\n", done.stderr)
    disk.cut()
    if os.path.exists(path):
        with sqlite3.connect(path) as db:
            eq(db.execute("SELECT count(*) FROM sqlite_master").fetchone(), (0,))


# -- an etcd cluster

class Node(threading.Thread):
    """An agent: polls and reports, at the consoles in turn when one fails; .gap_s is the longest time
    without any answer."""

    def __init__(self, agent, consoles):
        super().__init__(daemon=True)
        self.at = [at(agent, c) for c in consoles]
        self.ending, self.error = False, None
        self.gap_s, self.names, self.failures = 0.0, set(), []
        self.doing = ""
        self.start()

    def run(self):
        last, i, since = time.monotonic(), 0, None
        while not self.ending:
            node = self.at[i % len(self.at)]
            try:
                self.doing = f"{time.strftime('%X')} netmap since {since} at console {i % len(self.at)}"
                answer = node.netmap(since, wait=1)
                self.doing = f"{time.strftime('%X')} report at console {i % len(self.at)}"
                if answer.status == 200:
                    since = revision(answer.json)
                    self.names = {p["name"] for n in answer.json["networks"] for p in n["peers"]}
                report = node.report()
                ok = answer.status in (200, 204) and report.status == 200
                if not ok:
                    self.failures.append((answer.status, report.status))
            except OSError:
                ok = False
            if ok:
                self.gap_s = max(self.gap_s, time.monotonic() - last)
                last = time.monotonic()
            else:
                i += 1
                time.sleep(0.05)
        self.gap_s = max(self.gap_s, time.monotonic() - last)


class Cluster:
    """Three members, two consoles that are written to, and an agent at each."""

    def __init__(self, etcd, a, b):
        self.etcd, self.a, self.b = etcd, a, b
        share_key(a, b)
        self.key = a.key
        self.model, self.lock = Model(), threading.Lock()
        a.network("agents", "172.20.0.0/16")
        self.model.sure["agents"] = {"mtu": 1360, "labels": {}}
        self.token = a.token("agents", uses=100)
        self.nodes = [Node(a.node(self.token, f"agent-{i}"), (a, b)) for i in range(2)]
        self.workers, self.hanging = {}, []
        self.gap_s = 0.0
        self.retries = Retries(a, a.key)
        self.model.sure["retries"] = {"mtu": 1360, "labels": {}}
        for c in (a, b):
            self.work(c)

    def work(self, c):
        until(lambda: c.get("/api/v1/networks/retries", key=self.key).status == 200)
        self.workers[c] = Worker(c, self.model, self.lock, f"w{c.port}", time.time(), self.key,
                                 self.retries)

    def lose(self, c):
        """The console is killed."""
        c.kill()
        worker = self.workers.pop(c)
        join([worker])
        self.gap_s = max(self.gap_s, worker.gap_s)

    def goes_on(self, count=20, timeout_s=30):
        """Writes are acknowledged again, and agents hear of them."""
        before = self.model.acknowledged
        until(lambda: self.model.acknowledged >= before + count or self.failed(), timeout_s,
              "writes that are acknowledged")

    def agents_hear(self, name, console=None):
        agent = Agent(console or self.a)

        def enroll():
            answer = agent.enroll(self.token, name)
            return answer if answer.status in (200, 201) else None
        until(enroll, 30)
        until(lambda: all(agent.name in n.names for n in self.nodes), 30, f"{name} in all netmaps")

    def settle(self, c):
        """What was on its way at this console, which died, is one or the other now."""
        with self.lock:
            for name in [n for n in self.model.either if n.startswith(f"w{c.port}-")]:
                answer = c.get(f"/api/v1/networks/{name}", key=self.key)
                have = None
                if answer.status == 200:
                    have = {"mtu": answer.json["mtu"], "labels": answer.json["labels"]}
                assert have in self.model.either[name], (name, have, self.model.either[name])
                self.model.either.pop(name)
                self.model.sure[name] = have

    def failed(self):
        return next((w.error for w in self.workers.values() if w.error), None)

    def stop(self):
        for w in self.workers.values():
            w.ending = True
        for n in self.nodes:
            n.ending = True
        for n in self.nodes:
            n.join(30)
            if n.is_alive():
                self.hanging.append(n.doing)

    def end(self):
        self.stop()
        eq(self.hanging, [], "requests of agents without an answer")
        join(self.workers.values())
        self.gap_s = max(self.gap_s, *(w.gap_s for w in self.workers.values()))
        for c in (self.a, self.b):
            until(lambda c=c: c.get("/readyz", key=None).status == 200)
        # Both consoles say the same, and it is what was acknowledged.
        def same():
            a, b = (sorted(n["name"] for n in everything(c, "/api/v1/networks", self.key))
                    for c in (self.a, self.b))
            return a == b
        until(same, 10, "the same networks at both consoles")
        self.model.check(self.b, self.key)
        self.model.check(self.a, self.key)
        self.retries.send_again(self.b)
        self.retries.check(self.b)
        self.a.check_store()
        self.a.command("audit", "verify")
        print(f"     {self.model.acknowledged} acknowledged writes, all there, {self.model.unknown} "
              f"answers \"outcome unknown\"; longest time without a write {self.gap_s:.1f} s, of an agent "
              f"without an answer {max(n.gap_s for n in self.nodes):.1f} s", flush=True)


def cluster(test, etcd=None):
    with etcd or Etcd(3) as etcd:
        with etcd.console(FAST) as a, etcd.console(FAST) as b:
            c = Cluster(etcd, a, b)
            try:
                c.goes_on()
                test(c)
                c.goes_on()
                c.end()
            except Exception:
                c.stop()
                print(a.log()[-4000:], b.log()[-4000:])
                raise
            a.check_log()
            b.check_log()


HARMS = {"killed": (lambda m: m.kill(), lambda m: m.start()),
         # It keeps its connections and answers nothing; then it goes on with what it had.
         "paused": (lambda m: m.pause(), lambda m: m.resume()),
         # It lives, and reaches neither the others nor the consoles; a leader believes to be one still.
         "cut off": (lambda m: m.cut_off(), lambda m: m.connect())}


def harm_member(cl, what, victim):
    """Without it everything goes on, and with it again."""
    harm, heal = HARMS[what]
    harm(victim)
    cl.goes_on()
    cl.agents_hear(f"{what.replace(' ', '-')}-{victim.name}")
    heal(victim)
    until(lambda: victim.status() and victim.status().get("leader"), 60, "the member's return")
    cl.goes_on()


def kill_console(cl, victim):
    cl.lose(victim)
    cl.goes_on()
    other = cl.a if victim is cl.b else cl.b
    cl.agents_hear(f"without-{victim.port}-{random.randrange(10 ** 6)}", other)
    victim.start()
    cl.settle(victim)
    cl.work(victim)


@options(start=False)
def test_leaders_and_a_console_are_lost(c):
    del c

    def test(cl):
        for what in HARMS:
            harm_member(cl, what, cl.etcd.leader())
        kill_console(cl, cl.b)
    cluster(test, Archipelago())


@options(start=False)
def long_members_are_lost(c):
    """Each way, followers and leaders."""
    del c
    for what in HARMS:
        def test(cl, what=what):
            leader = cl.etcd.leader()
            harm_member(cl, what, next(m for m in cl.etcd.members if m is not leader))
            harm_member(cl, what, cl.etcd.leader())
        print(f"     a follower, then a leader {what}:", flush=True)
        cluster(test, Archipelago())


@options(start=False)
def long_everything_fails_in_turn(c):
    """Members and consoles, in no order, for some minutes."""
    del c
    chance, counts = random.Random(), {}

    def test(cl):
        for i in range(40):
            what = [*HARMS, "console"][i % 4] if i < 8 else chance.choice([*HARMS, "console"])
            counts[what] = counts.get(what, 0) + 1
            if what == "console":
                kill_console(cl, chance.choice((cl.a, cl.b)))
            else:
                harm_member(cl, what, chance.choice(cl.etcd.members))
        print(f"     members killed {counts['killed']} times, paused {counts['paused']}, cut off "
              f"{counts['cut off']}, consoles killed {counts['console']}:", flush=True)
    cluster(test, Archipelago())


@options(start=False)
def test_quorum_lost_and_back(c):
    """Without a majority: changes are refused at once, agents go on, nothing is lost."""
    del c

    def test(cl):
        victims = cl.etcd.members[:2]
        for m in victims:
            m.pause()
        until(lambda: cl.a.get("/readyz", key=None).status == 503, 30)
        for _ in range(20):
            start = time.monotonic()
            answer = cl.a.post("/api/v1/networks", {"name": "refused", "cidr": "10.0.0.0/8"},
                               key=cl.key)
            eq(answer.status, 503)
            assert answer.headers["Retry-After"]
            assert time.monotonic() - start < 5
        # People are told to come back, nodes are served.
        until(lambda: cl.a.get("/api/v1/networks", key=cl.key).status == 503, 30)
        for n in cl.nodes:
            n.failures.clear()
        reports = [n.at[0].report().status for n in cl.nodes]
        eq(reports, [200, 200])
        for m in victims:
            m.resume()
        cl.goes_on(timeout_s=60)
        eq([f for n in cl.nodes for f in n.failures], [])
        assert max(n.gap_s for n in cl.nodes) < 10, [n.gap_s for n in cl.nodes]
        eq(cl.a.get("/api/v1/networks/refused", key=cl.key).status, 404)
    cluster(test)
