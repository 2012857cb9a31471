# SPDX-License-Identifier: Apache-2.0
"""An etcd cluster on 127.0.0.1 or in network namespaces, in a temporary directory, and consoles that
share it."""
import ctypes
import json
import os
import shutil
import signal
import subprocess
import tempfile
import urllib.request

from consoletest import Agent, Console, Skip, free_port, until

ETCD = "/usr/bin/etcd"
START_TIMEOUT_S = 60


class Member:
    address, wrapper = "127.0.0.1", ()

    def __init__(self, cluster, name):
        self.cluster, self.name = cluster, name
        self.port, self.peer_port = free_port(), free_port()
        self.dir = os.path.join(cluster.dir, name)
        self.process = None

    @property
    def url(self):
        return f"{self.cluster.scheme}://{self.address}:{self.port}"

    @property
    def peer_url(self):
        return f"http://{self.address}:{self.peer_port}"

    def start(self):
        with open(self.dir + ".log", "ab") as log:
            self.process = subprocess.Popen(
                [*self.wrapper, ETCD, "--name", self.name, "--data-dir", self.dir, "--logger", "zap",
                 "--listen-client-urls", self.url, "--advertise-client-urls", self.url,
                 "--listen-peer-urls", self.peer_url,
                 "--initial-advertise-peer-urls", self.peer_url,
                 "--initial-cluster", self.cluster.members_text(),
                 *self.cluster.arguments], stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def kill(self):
        if self.process:
            self.process.kill()
            self.process.wait()
        self.process = None

    def pause(self):
        self.process.send_signal(signal.SIGSTOP)

    def resume(self):
        self.process.send_signal(signal.SIGCONT)

    def call(self, path, body, timeout_s=5):
        request = urllib.request.Request(self.url + path, json.dumps(body).encode())
        with urllib.request.urlopen(request, timeout=timeout_s) as answer:
            return json.loads(answer.read())

    def status(self):
        try:
            return self.call("/v3/maintenance/status", {}, 1)
        except OSError:
            return None

    def is_leader(self):
        status = self.status()
        return bool(status) and status["header"]["member_id"] == status.get("leader")


class Etcd:
    """with Etcd(3) as etcd: etcd.members[0].kill() …"""

    def __init__(self, size=1, arguments=(), scheme="http", member=Member):
        if not os.access(ETCD, os.X_OK):
            raise Skip("etcd is not installed: make deps-check")
        self.dir = tempfile.mkdtemp(prefix="etcd-test-")
        self.scheme, self.arguments = scheme, list(arguments)
        self.members = []
        for i in range(size):
            self.members.append(member(self, f"m{i}"))
        self.token = os.path.basename(self.dir)

    def members_text(self):
        return ",".join(f"{m.name}={m.peer_url}" for m in self.members)

    def __enter__(self):
        for member in self.members:
            member.start()
        if self.scheme == "http":
            until(lambda: all(m.status() and m.status().get("leader") for m in self.members),
                  START_TIMEOUT_S, "etcd's first leader")
        return self

    def __exit__(self, *_):
        for member in self.members:
            member.kill()
        shutil.rmtree(self.dir, ignore_errors=True)

    def leader(self):
        return until(lambda: next((m for m in self.members if m.process and m.is_leader()), None),
                     START_TIMEOUT_S, "a leader")

    def config(self, more="", members=None):
        """Lines for console-api.conf."""
        urls = ", ".join(f'"{m.url}"' for m in members or self.members)
        return f'store = "etcd";\netcd_endpoints = [{urls}];\n{more}'

    def console(self, more="", **kwargs):
        return Console(config=self.config(more), **kwargs)


# -- a cluster whose members can be cut off

CLONE_NEWNET = 0x40000000


def ip(*words):
    done = subprocess.run(["ip", *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"ip {' '.join(words)}: {done.stderr}"


class Island(Member):
    """A member in a network namespace of its own, with a cable to the switch. The namespace has no
    name; it is there for as long as the process that holds it, which ends with the test."""

    def __init__(self, cluster, name):
        super().__init__(cluster, name)
        self.cable = "to-" + name
        number = int(name[1:]) + 1
        self.address = f"10.99.0.{number + 1}"
        self.holder = subprocess.Popen(["setpriv", "--pdeathsig", "KILL", "unshare", "--net",
                                        "sleep", "infinity"])
        mine = os.readlink("/proc/thread-self/ns/net")
        until(lambda: os.readlink(f"/proc/{self.holder.pid}/ns/net") != mine)
        self.wrapper = ("nsenter", "--net", "--target", str(self.holder.pid))
        ip("link", "add", self.cable, "type", "veth", "peer", "name", "eth0",
           "netns", str(self.holder.pid))
        ip("link", "set", self.cable, "master", "switch", "up")
        for words in (("addr", "add", self.address + "/24", "dev", "eth0"),
                      ("link", "set", "eth0", "up"), ("link", "set", "lo", "up")):
            subprocess.run([*self.wrapper, "ip", *words], check=True)

    def cut_off(self):
        """The cable is pulled out at the switch: nothing comes through, and nobody is told."""
        ip("link", "set", self.cable, "nomaster")

    def connect(self):
        ip("link", "set", self.cable, "master", "switch")

    def close(self):
        self.holder.kill()
        self.holder.wait()


class Archipelago(Etcd):
    """A cluster of Islands. Inside `with` the calling thread, and every thread and process that it
    starts, is in a network namespace with a switch to which the members are connected."""

    def __init__(self, size=3):
        self.libc = ctypes.CDLL(None, use_errno=True)
        self.home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        if self.libc.unshare(CLONE_NEWNET):
            os.close(self.home)
            raise Skip(f"no network namespace: {os.strerror(ctypes.get_errno())}; needs root")
        self.members = []
        try:
            ip("link", "set", "lo", "up")
            ip("link", "add", "switch", "type", "bridge", "forward_delay", "0")
            ip("addr", "add", "10.99.0.1/24", "dev", "switch")
            ip("link", "set", "switch", "up")
            super().__init__(size, member=Island)
        except BaseException:
            self.leave()
            raise

    def leave(self):
        self.libc.setns(self.home, CLONE_NEWNET)
        os.close(self.home)

    def __exit__(self, *why):
        super().__exit__(*why)
        for member in self.members:
            member.close()
        self.leave()


def share_key(first, *others):
    """The first console's admin key, for the test's calls to the others."""
    for console in others:
        shutil.copy(os.path.join(first.state_dir, "admin.key"), console.state_dir)


class Through:
    """Signs by one console's agentcall, which has the node's keys, and calls another console."""

    def __init__(self, signer, console):
        self.agentcall, self.call, self.connect = signer.agentcall, console.call, console.connect


def at(agent, console):
    """The same node as it talks to another console of its mesh."""
    other = Agent.__new__(Agent)
    other.__dict__.update(agent.__dict__)
    other.console = Through(agent.console, console)
    if agent.id:
        other.console_id = console.self_id()
    return other
