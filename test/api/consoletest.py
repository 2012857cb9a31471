# SPDX-License-Identifier: Apache-2.0
"""A console-api under test, a client for it, and nodes that sign their requests."""
import base64
import contextlib
import hashlib
import http.client
import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
import threading
import time

BUILD = os.environ.get("BUILD", "build")
CONSOLE_API = os.path.join(BUILD, "console-api", "console-api")
AGENTCALL = os.path.join(BUILD, "test", "tools", "agentcall")
START_TIMEOUT_S = 30


class Skip(Exception):
    """Raised by a test that cannot run here, with the reason."""


def find_programs():
    for path in (CONSOLE_API, AGENTCALL):
        if not os.access(path, os.X_OK):
            raise SystemExit(f"{path} is not built: run make first, or set BUILD")


def options(**kwargs):
    """Decorator: how the Console of a test is to be made."""
    def mark(function):
        function.options = kwargs
        return function
    return mark


held_ports = []


def free_port():
    """A TCP port of 127.0.0.1 that stays this process's: nobody else is given it, whoever sets SO_REUSEADDR
    can listen there, and until then connections are refused."""
    s = socket.socket()
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    s.bind(("127.0.0.1", 0))
    held_ports.append(s)
    return s.getsockname()[1]


def until(condition, timeout_s=20, what="the condition"):
    """Polls until the condition gives something true, and returns it."""
    end = time.monotonic() + timeout_s
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"{what} did not come within {timeout_s} s")
        time.sleep(0.002)


def with_match(headers, match):
    headers = dict(headers or {})
    if match is not None:
        headers.setdefault("If-Match", match)
    return headers


def eq(have, want, what=""):
    if have != want:
        raise AssertionError(f"{what + ': ' if what else ''}have {have!r}, want {want!r}")


# -- a little DER, to get the SubjectPublicKeyInfo out of a certificate

def der_item(data, at):
    """(start of the content, end of the item) of the item at this offset."""
    length = data[at + 1]
    if length < 0x80:
        return at + 2, at + 2 + length
    size = length & 0x7F
    length = int.from_bytes(data[at + 2:at + 2 + size], "big")
    return at + 2 + size, at + 2 + size + length


def pin_of_certificate(der):
    certificate, _ = der_item(der, 0)
    at, _ = der_item(der, certificate)  # tbsCertificate
    if der[at] == 0xA0:  # version
        at = der_item(der, at)[1]
    for _ in range(5):  # serial, signature, issuer, validity, subject
        at = der_item(der, at)[1]
    spki = der[at:der_item(der, at)[1]]
    return "sha256//" + base64.b64encode(hashlib.sha256(spki).digest()).decode()


@contextlib.contextmanager
def unchanged(c):
    """Fails when anything was stored meanwhile."""
    before = state_of(c)
    yield
    eq(state_of(c), before, "something was stored")


def state_of(c):
    """What is another one after any write: the store's revision. In a cluster the signs of life of the consoles
    are revisions too: there it is the audit trail."""
    return audit_hashes(c) if store_lines(c) else revision_of(c)


def revision_of(c):
    """The id that a watch begins with."""
    connection = c.connect()
    try:
        connection.request("GET", "/api/v1/watch", headers={"Authorization": "Bearer " + c.key})
        response = connection.getresponse()
        eq(response.status, 200)
        while not (line := response.readline()).startswith(b"id: "):
            assert line, "the watch ended"
        return line
    finally:
        connection.close()


def audit_hashes(c, org=None):
    """Of all rows of an organization."""
    rows, cursor = [], ""
    while cursor is not None:
        page = c.get("/api/v1/audit?limit=1000" + (f"&cursor={cursor}" if cursor else ""),
                     headers={"VAN-Organization": org} if org else None).want(200).json
        rows += [row["hash"] for row in page["items"]]
        cursor = page["next"]
    return rows


class Answer:
    def __init__(self, status, headers, body):
        self.status = status
        self.headers = headers
        self.body = body

    @property
    def json(self):
        return json.loads(self.body)

    def want(self, status, word=None):
        """Fails unless the answer has this status; a problem must be well-formed and of this type."""
        if self.status != status:
            raise AssertionError(f"status {self.status}, want {status}: {self.body[:500]!r}")
        if status >= 400:
            eq(self.headers["Content-Type"], "application/problem+json")
            problem = self.json
            eq(problem["status"], status)
            assert problem["title"] and problem["detail"] and "\n" not in problem["detail"]
            if word:
                eq(problem["type"], "urn:van:error:" + word)
        return self


def store_lines(console):
    """Lines for console-api.conf that name the store; run.py --etcd puts another function here."""
    del console
    return ""


class Console:
    def __init__(self, config="", start=True, wrapper=(), state_dir=None):
        self.dir = tempfile.mkdtemp(prefix="console-test-")
        self.state_dir = state_dir or os.path.join(self.dir, "state")
        self.port = free_port()
        self.config_path = os.path.join(self.dir, "console-api.conf")
        self.log_path = os.path.join(self.dir, "log")
        self.wrapper = list(wrapper)
        self.process = None
        self.agents = None
        self.lock = threading.Lock()
        self.local = threading.local()
        self.write_config(config)
        open(self.log_path, "wb").close()
        if start:
            self.start()

    def write_config(self, more):
        with open(self.config_path, "w", encoding="utf-8") as f:
            f.write(f'state_dir = "{self.state_dir}";\n'
                    f'listen = "127.0.0.1:{self.port}";\n{more}\n'
                    + ("" if "store =" in more else store_lines(self)))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.kill()
        if self.agents:
            self.agents.stdin.close()
            self.agents.wait()
        shutil.rmtree(self.dir, ignore_errors=True)

    def self_id(self):
        """Its own id among the consoles of its mesh (console-api/consoles.h)."""
        path = os.path.join(self.state_dir, "instance")
        instance = self.state("instance").strip() if os.path.exists(path) else "main"
        mesh = self.get("/api/v1/console").want(200).json["id"]
        return "con_" + hashlib.sha256(f"{mesh}/{instance}".encode()).hexdigest()[:16]

    # -- the process

    def spawn(self):
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(
                self.wrapper + [CONSOLE_API, "-c", self.config_path], stdin=subprocess.DEVNULL,
                stdout=log, stderr=log)

    def start(self):
        self.spawn()
        until(self.is_up, START_TIMEOUT_S, "the console's first answer")

    def is_up(self):
        if self.process.poll() is not None:
            raise AssertionError(f"console-api ended with {self.process.returncode}:\n{self.log()}")
        try:
            return self.call("GET", "/healthz", key=None).status == 200
        except OSError:
            return False

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(START_TIMEOUT_S)
        self.process = None
        eq(code, 0, "exit code after SIGTERM")

    def kill(self):
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self.process = None

    def log(self):
        with open(self.log_path, encoding="utf-8", errors="replace") as f:
            return f.read()

    def check_log(self):
        """Fails when a sanitizer, or the console itself, had something to complain about."""
        text = self.log()
        for bad in ("Sanitizer", "runtime error", "failed without a reason"):
            assert bad not in text, text

    def check_running(self):
        eq(self.process.poll(), None, "the console ended by itself")

    def command(self, *words, code=0, config=None):
        """Runs `console-api WORDS -c FILE`; its standard output."""
        done = subprocess.run([CONSOLE_API, *words, "-c", config or self.config_path],
                              capture_output=True, text=True, timeout=120)
        if done.returncode != code:
            raise AssertionError(f"console-api {' '.join(words)}: exit code {done.returncode}, "
                                 f"want {code}:\n{done.stdout}{done.stderr}")
        return done.stdout if code == 0 else done.stdout + done.stderr

    def check_store(self):
        """Fails when anything in the store does not fit together."""
        self.command("check")

    def state(self, name):
        with open(os.path.join(self.state_dir, name), encoding="utf-8") as f:
            return f.read()

    @property
    def key(self):
        return self.state("admin.key").strip()

    # -- HTTPS

    def connect(self, timeout_s=90, source=None):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        connection = http.client.HTTPSConnection("127.0.0.1", self.port, context=context,
                                                 timeout=timeout_s,
                                                 source_address=source and (source, 0))
        connection.connect()
        return connection

    def call(self, method, path, body=None, key="admin", headers=None, connection=None,
             source=None):
        """One request; body: bytes as they are, anything else as JSON; source: address to come from."""
        headers = dict(headers or {})
        if key == "admin":
            key = self.key
        if key is not None:
            headers["Authorization"] = "Bearer " + key
        if body is not None and not isinstance(body, bytes):
            body = json.dumps(body).encode()
        mine = connection or self.connect(source=source)
        try:
            mine.request(method, path, body=body, headers=headers)
            response = mine.getresponse()
            return Answer(response.status, response.headers, response.read())
        finally:
            if not connection:
                mine.close()

    answer = staticmethod(Answer)

    def get(self, path, **kwargs):
        return self.call("GET", path, **kwargs)

    def post(self, path, body=None, **kwargs):
        return self.call("POST", path, body, **kwargs)

    def patch(self, path, body=None, match="*", headers=None, **kwargs):
        """match: what goes into If-Match, None for no such header."""
        return self.call("PATCH", path, body, headers=with_match(headers, match), **kwargs)

    def delete(self, path, match="*", headers=None, **kwargs):
        return self.call("DELETE", path, headers=with_match(headers, match), **kwargs)

    # -- short cuts

    def network(self, name="blue", cidr="172.16.1.0/24", **more):
        return self.post("/api/v1/networks", dict(name=name, cidr=cidr, **more)).want(201).json

    def token(self, network="blue", **more):
        return self.post(f"/api/v1/networks/{network}/tokens", more).want(201).json["token"]

    def node(self, token=None, name="", **more):
        """A node that has enrolled."""
        agent = Agent(self)
        agent.enroll(token or self.token(), name, **more).want(201)
        return agent

    # -- agentcall

    def agentcall(self, line):
        with self.lock:
            if not self.agents:
                self.agents = subprocess.Popen([AGENTCALL], stdin=subprocess.PIPE,
                                               stdout=subprocess.PIPE, text=True)
            self.agents.stdin.write(line + "\n")
            self.agents.stdin.flush()
            answer = self.agents.stdout.readline().strip()
        assert answer, "agentcall ended"
        return answer


def token_parts(token):
    """(pin, secret, url) of a join token."""
    assert token.startswith("van1_"), token
    text = token[5:]
    raw = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    eq(hashlib.sha256(raw[:-4]).digest()[:4], raw[-4:], "check of the token")
    pin = "sha256//" + base64.b64encode(raw[:32]).decode()
    return pin, raw[32:64], raw[64:-4].decode()


def b64url(data):
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


class Agent:
    """A node as its agent appears to the console."""

    def __init__(self, console):
        self.console = console
        self.index, self.public_key, self.sign_key = console.agentcall("new").split()
        self.id = None
        self.name = None
        self.console_id = None

    def header(self, method, target, body, node, console_id, stamp="now"):
        data = base64.b64encode(body).decode() if body else "-"
        return self.console.agentcall(
            f"sign {self.index} {node} {console_id or '-'} {stamp} {method} {target} {data}")

    def call(self, method, target, body=None, stamp="now", console_id=None, header=None,
             connection=None):
        data = json.dumps(body).encode() if body is not None else None
        header = header or self.header(method, target, data, self.id,
                                       console_id or self.console_id, stamp)
        return self.console.call(method, target, data, key=None, connection=connection,
                                 headers={"Authorization": header})

    def enroll_body(self, token, name, **more):
        body = {"secret": b64url(token_parts(token)[1]), "name": name,
                "public_key": self.public_key, "sign_key": self.sign_key, "address": None,
                "version": "0.1.0"}
        body.update(more)
        return body

    def enroll(self, token, name="", connection=None, **more):
        data = json.dumps(self.enroll_body(token, name, **more)).encode()
        answer = self.console.call("POST", "/agent/v1/enroll", data, key=None, headers={
            "Authorization": self.header("POST", "/agent/v1/enroll", data, "enroll", "")},
            connection=connection)
        if answer.status in (200, 201):
            self.id = answer.json["node"]["id"]
            self.name = answer.json["node"]["name"]
            self.console_id = answer.json["self"]
        return answer

    def netmap(self, since=None, wait=None, **kwargs):
        query = "&".join(f"{k}={v}" for k, v in (("since", since), ("wait", wait)) if v is not None)
        return self.call("GET", "/agent/v1/netmap" + ("?" + query if query else ""), **kwargs)

    def report(self, port=4826, local=(), advertise=(), applied=None, **more):
        body = {"port": port, "local": list(local), "advertise": list(advertise),
                "applied": applied, "version": "0.1.0", "networks": []}
        body.update(more)
        return self.call("POST", "/agent/v1/report", body)


def revision(netmap):
    return f"{netmap['generation']}.{netmap['number']}"


class Poll(threading.Thread):
    """A long poll in the background: .answer and .took_s when it is joined."""

    def __init__(self, agent, since, wait=30):
        super().__init__(daemon=True)
        self.agent, self.since, self.wait = agent, since, wait
        self.answer = self.error = None
        # Connected before, so that what is measured is the answer.
        self.connection = agent.console.connect()
        self.sent = threading.Event()
        self.start()
        self.sent.wait()

    def run(self):
        target = f"/agent/v1/netmap?since={self.since}&wait={self.wait}"
        header = self.agent.header("GET", target, None, self.agent.id, self.agent.console_id)
        try:
            self.connection.request("GET", target, headers={"Authorization": header})
            self.sent.set()
            response = self.connection.getresponse()
            self.answer = Answer(response.status, response.headers, response.read())
            self.at = time.monotonic()
        except OSError as e:
            self.error = e
        finally:
            self.sent.set()
            self.connection.close()

    def result(self, timeout_s=30):
        self.join(timeout_s)
        assert not self.is_alive(), "the long poll was not answered"
        if self.error:
            raise self.error
        return self.answer
