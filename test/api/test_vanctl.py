# SPDX-License-Identifier: Apache-2.0
"""vanctl against a real console: every operation of the API has a command that does it, and what the
commands have in common."""
import json
import os
import pty
import re
import select
import shutil
import signal
import stat
import subprocess
import threading
import time

from consoletest import Agent, Skip, eq, until
from vanctltest import VANCTL, environment, run, vanctl

API = "/api/v1"

# What the nodes themselves do: vand, for `vanctl join` and `vanctl leave` (test/net).
OF_NODES = {"enroll", "getNetmap", "report", "leave"}

# Every other operation with a command line that does it, in an order in which all of them succeed.
# {name} is what an earlier line had as that member of its answer: NAME=MEMBER in the third place.
OPERATIONS = [
    ("healthz", "console health"),
    ("readyz", "console ready"),
    ("openapi", "console openapi"),
    ("getConsole", "console status"),
    ("metrics", "console metrics"),
    ("whoami", "whoami"),
    ("createOrganization", "org create acme --description Acme"),
    ("listOrganizations", "org list --sort -name --filter name=acme"),
    ("getOrganization", "org show acme"),
    ("changeOrganization", "org set acme --name acme-eu --unset description"),
    ("createUser", "user create ann --role operator --full-name Ann --disabled no"),
    ("listUsers", "user list --filter role=operator"),
    ("getUser", "user show ann"),
    ("changeUser", "user set ann --role viewer --disabled yes"),
    ("createKey", "key create ci --role viewer --user ann --ttl 1h", "key=id"),
    ("listKeys", "key list --sort name"),
    ("getKey", "key show {key}"),
    ("deleteKey", "key delete {key}"),
    ("deleteUser", "user delete ann"),
    ("deleteOrganization", "org delete acme-eu"),
    ("createNetwork", "network create prod --cidr 172.16.1.0/24 --require-approval no --labels a=b"),
    ("createNetwork", "network create backup --cidr 172.16.2.0/24 --mtu 1400"),
    ("listNetworks", "network list --filter label=a=b,name=prod"),
    ("getNetwork", "network show prod"),
    ("changeNetwork", "network set prod --mtu 1380 --labels a-,env=prod"),
    ("issueToken", "token issue prod --uses 3 --ttl 1h", "token=id"),
    ("listTokens", "token list prod --filter state=active"),
    ("getToken", "token show {token}"),
    ("revokeToken", "token revoke {token}"),
    ("listNodes", "node list --sort name"),
    ("getNode", "node show web"),
    ("changeNode", "node set web --labels role=web"),
    ("changeNode", "node disable web"),
    ("changeNode", "node enable web"),
    ("rekeyNode", "node rekey web --ttl 10m"),
    ("addMember", "node add web -n prod --address 172.16.1.7"),
    ("addMember", "node add db -n prod"),
    ("listMembers", "node list -n prod --filter name=web"),
    ("getMember", "node show web -n prod"),
    ("changeMember", "node set web -n prod --address 172.16.1.8"),
    ("changeMember", "node approve web -n prod"),
    ("getNetworkStats", "network stats prod --since 10m"),
    ("getMemberStats", "node stats web -n prod"),
    ("getNodeStats", "node stats web --resolution 10s"),
    ("createReservation", "reservation create 172.16.1.50 -n prod --name printer --note x"),
    ("listReservations", "reservation list -n prod --sort address"),
    ("getReservation", "reservation show printer -n prod"),
    ("changeReservation", "reservation set printer -n prod --address 172.16.1.51 --unset note"),
    ("deleteReservation", "reservation delete 172.16.1.51 -n prod"),
    ("listGatewayCandidates", "gateway candidates -n prod"),
    ("createGateway", "gateway add web -n prod --prefix 10.20.0.0/16 --name dc --health "
                      "icmp:10.20.0.1 --health-interval 10s --health-failures 5"),
    ("listGateways", "gateway list -n prod --filter mode=routed"),
    ("getGateway", "gateway show dc -n prod"),
    ("changeGateway", "gateway set dc -n prod --node db --metric 7 --unset health"),
    ("deleteGateway", "gateway remove dc -n prod"),
    ("createFloatingIp", "fip create 172.16.1.60 -n prod --name vip --candidates web,db --vrid 3"),
    ("listFloatingIps", "fip list -n prod --filter name=vip"),
    ("getFloatingIp", "fip show vip -n prod"),
    ("changeFloatingIp", "fip set vip -n prod --address 172.16.1.61 --unset vrid"),
    ("changeFloatingIp", "fip assign vip web -n prod"),
    ("deleteFloatingIp", "fip delete vip -n prod"),
    ("createCloakRule", "cloak allow tcp/443 -n prod --from 10.0.0.0/8 --note web", "rule=id"),
    ("createCloakRule", "cloak deny udp -n prod"),
    ("listCloakRules", "cloak rules -n prod"),
    ("getCloakRule", "cloak rule {rule} -n prod"),
    ("changeCloakRule", "cloak set {rule} tcp/8443 -n prod --action allow --unset from,note"),
    ("changeCloak", "cloak on -n prod --scope all --keep-ssh no --confirm-within 10m"),
    ("confirmCloak", "cloak confirm -n prod"),
    ("getCloak", "cloak show -n prod"),
    ("deleteCloakRule", "cloak remove {rule} -n prod --confirm-within 0"),
    ("changeCloak", "cloak off -n prod"),
    ("exportTopology", "export prod"),
    ("importTopology", "import {file} --name copy --dry-run"),
    ("getNetworkStats", "network stats prod --since 1h --resolution 10m"),
    ("getNodeStats", "node stats web --since 1h --resolution 10m"),
    ("getMemberStats", "node stats web -n prod --since 2h --resolution 10m"),
    ("listEvents", "event list --since 1h --filter severity=info"),
    ("listAudit", "audit list --since 2020-01-01T00:00:00Z --filter kind=network"),
    ("watch", "watch --kind network --count 1 --after {now}"),
    ("removeMember", "node delete web -n prod"),
    ("deleteNode", "node delete web"),
    ("deleteNetwork", "network delete backup"),
]

# Commands that do with several of these operations what one of them would not do.
COMPOSED = ["node move db -n prod --to backup", "hosts -n prod", "login"]


def requests_of(text):
    """(method, path) of every request that -v showed."""
    return [(method, re.sub(r"^https://[^/]*", "", url).split("?")[0])
            for method, url in re.findall(r"^> (\S+) (\S+)$", text, re.MULTILINE)]


def operations_of(document):
    """operationId to (method, pattern of its paths)."""
    return {operation["operationId"]: (
        method.upper(), re.compile(re.sub(r"\{[^}]*\}", "[^/]+", path) + "$"))
        for path, item in document["paths"].items() for method, operation in item.items()
        if isinstance(operation, dict) and "operationId" in operation}


def answer_of(c, words):
    """The JSON that a command prints; secrets and texts of other kinds are not JSON."""
    ran = run(c, words + ["-v"])
    eq(ran.returncode, 0, f"vanctl {' '.join(words)}: {ran.stderr}")
    return ran


def test_every_operation_has_a_command(c):
    operations = operations_of(c.get("/api/openapi.json").json)
    eq(sorted({row[0] for row in OPERATIONS} | OF_NODES), sorted(operations),
       "operations in this table, and in the API")
    vanctl(c, "network create edge --cidr 172.16.9.0/24")
    token = c.token("edge", uses=9)
    c.node(token, "web").report(external=[{"cidr": "10.20.0.0/16", "ifname": "eth1"}]).want(200)
    c.node(token, "db")
    known = {"file": os.path.join(c.dir, "prod.json"), "now": place_in_watch(c)}
    for operation, line, *wanted in OPERATIONS:
        line = line.format(**known)
        as_json = answer_of(c, line.split() + ["-o", "json"]) if wanted else None
        ran = as_json or answer_of(c, line.split())
        method, pattern = operations[operation]
        assert any(m == method and pattern.match(p) for m, p in requests_of(ran.stderr)), \
            f"vanctl {line} did not call {operation}: {ran.stderr}"
        for name, _, member in (w.partition("=") for w in wanted):
            known[name] = json.loads(ran.stdout)[member]
        if operation == "exportTopology":
            with open(known["file"], "w", encoding="utf-8") as f:
                f.write(ran.stdout)
        if method == "GET" and operation not in ("metrics", "watch"):
            # The console's own answer, unchanged; readings of the clock apart.
            shown = run(c, line.split() + ["-o", "json", "-v"])
            target = re.findall(r"^> GET https://[^/]*(\S+)$", shown.stderr, re.MULTILINE)[0]
            want = c.get(target).want(200).json
            eq(without_times(json.loads(shown.stdout)), without_times(want), f"vanctl {line}")


def without_times(o):
    """What two answers in a row have in common; audit and events grow with every request."""
    if isinstance(o, dict):
        return {k: without_times(v) for k, v in o.items() if k not in ("last_seen", "next")}
    return [without_times(v) for v in o] if isinstance(o, list) else o


def place_in_watch(c):
    """The id of what comes first: where the watch is now."""
    connection = c.connect()
    connection.request("GET", API + "/watch", headers={"Authorization": "Bearer " + c.key})
    answer = connection.getresponse()
    found = None
    while not found:
        found = re.match(r"id: ([0-9a-f]+-[0-9]+)", answer.readline().decode())
    connection.close()
    return found.group(1)


def commands(c):
    """(words, whole help) of every command, as --help lists them."""
    listed = vanctl(c, "--help").split("Commands:\n")[1].split("\n\n")[0]
    for line in listed.splitlines():
        words = re.match(r"  (\S+(?: [a-z]+)?)(?: {2,}|$)", line)
        if words:
            yield words.group(1), vanctl(c, words.group(1) + " --help")


def test_every_command_is_tried_and_explained(c):
    tried = [row[1] for row in OPERATIONS] + COMPOSED
    local = {"join", "leave", "status", "peers", "mac", "stats", "ping", "reload",
             "completion", "version", "help"}
    found = list(commands(c))
    assert len(found) > 70, found
    for words, text in found:
        assert "Usage: vanctl " + words in text and "\nExample:\n  vanctl " + words in text \
            or words == "completion", f"{words}: {text}"
        one_of = [e for e in ("export", "import", "network create") if e == words]
        assert words in local or one_of or any(t.startswith(words) for t in tried), \
            f"vanctl {words} is nowhere in the table"


def test_composed_commands(c):
    vanctl(c, "network create prod --cidr 172.16.1.0/24")
    vanctl(c, "network create backup --cidr 172.16.2.0/24")
    agent = c.node(c.token("prod"), "db")
    vanctl(c, "node move db -n prod --to backup --address 172.16.2.9")
    eq([n["name"] for n in c.get(f"{API}/nodes/db").json["networks"]], ["backup"])
    eq(c.get(f"{API}/networks/backup/nodes/db").json["ips"], ["172.16.2.9/24"])
    eq([n["name"] for n in agent.netmap().want(200).json["networks"]], ["backup"])
    # Where it cannot go, it stays where it is.
    assert "not_found" not in vanctl(c, "node move db -n backup --to none", 5)
    vanctl(c, "node move db -n prod --to backup", 5)
    eq([n["name"] for n in c.get(f"{API}/nodes/db").json["networks"]], ["backup"])
    eq(vanctl(c, "hosts -n backup"), "172.16.2.9\tdb\n")


def test_approval_and_disabling(c):
    vanctl(c, "network create prod --cidr 172.16.1.0/24 --require-approval yes")
    first = c.node(c.token("prod", uses=2), "a")
    assert "not approved" in vanctl(c, "node list -n prod")
    eq(first.netmap().want(200).json["networks"], [])
    vanctl(c, "node approve a -n prod")
    eq(len(first.netmap().want(200).json["networks"]), 1)
    vanctl(c, "node disable a")
    assert "disabled" in vanctl(c, "node list")
    eq(first.netmap().want(200).json["networks"], [])
    vanctl(c, "node enable a")
    eq(len(first.netmap().want(200).json["networks"]), 1)


def test_exit_codes_and_errors(c):
    c.network("prod")
    viewer = os.path.join(c.dir, "viewer.key")
    with open(viewer, "w", encoding="utf-8") as f:
        f.write(vanctl(c, "key create v --role viewer"))
    os.chmod(viewer, 0o600)
    cases = [
        (["network", "show", "none"], 5, "none"),
        (["network", "create", "prod", "--cidr", "10.0.0.0/24"], 6, "prod"),
        (["network", "create", "p", "--cidr", "10.0.0.1/24"], 2, "did you mean 10.0.0.0/24"),
        (["network", "set", "prod"], 2, "nothing to set: give one of --name, --mtu"),
        (["network", "set", "prod", "--unset", "cidr"], 2, "'cidr' is none of --name, --mtu"),
        (["network", "set", "prod", "--labels", "a"], 2, "KEY=VALUE"),
        (["network", "set", "prod", "--labels", "a=" + "x" * 300], 1, "/labels"),
        (["network", "list", "--sort", "color"], 1, "sort"),
        (["network", "list", "--filter", "color=red"], 1, "color"),
        (["network", "list", "--filter", "red"], 2, "MEMBER=VALUE"),
        (["network", "set", "prod", "--mtu", "1400", "--if-revision", "1"], 6, "changed"),
        (["network", "delete", "prod", "--if-revision", "1"], 6, "changed"),
        (["node", "set", "x", "--address", "10.0.0.1"], 2, "give -n NETWORK"),
        (["event", "list", "--since", "yesterday"], 1, "2030-01-31T12:00:00Z"),
        (["watch", "--kind", "dog"], 1, "dog"),
        (["org", "list", "--org", "none"], 5, "none"),
        (["org", "list", "--org", "a\nb"], 2, "control"),
        (["network", "create", "q", "--cidr", "10.0.0.0/24", "--key-file", viewer], 4, "role"),
        (["network", "list", "--key-file", "/none"], 1, "/none"),
        (["network", "list", "--console", "https://127.0.0.1:1", "--key-file", viewer,
          "--pin", c.state("tls.pin").strip()], 3, "127.0.0.1:1"),
        (["network", "list", "--pin", "sha256//" + "A" * 43 + "="], 3, "pin"),
        (["import", "/none"], 1, "/none"),
    ]
    for words, status, text in cases:
        ran = run(c, words)
        eq((ran.returncode, ran.stdout), (status, ""), f"vanctl {' '.join(words)}: {ran.stderr}")
        assert text in ran.stderr, f"vanctl {' '.join(words)}: no '{text}' in: {ran.stderr}"
        assert ran.stderr.startswith("vanctl: "), ran.stderr
    revision = c.get(f"{API}/networks/prod").json["revision"]
    vanctl(c, f"network set prod --mtu 1400 --if-revision {revision}")


def test_organizations(c):
    vanctl(c, "org create acme")
    vanctl(c, "network create theirs --cidr 10.0.0.0/24 --org acme")
    eq(json.loads(vanctl(c, "network list -o json"))["items"], [])
    eq([n["name"] for n in json.loads(vanctl(c, "network list --org acme -o json"))["items"]],
       ["theirs"])
    ran = run(c, ["whoami", "-o", "json"], VAN_ORG="acme")
    eq(json.loads(ran.stdout)["organization_name"], "acme")
    vanctl(c, "network show theirs", 5)


def test_long_lists_are_read_to_their_end(c):
    for i in range(230):
        c.network(f"n{i:03}", f"10.{i}.0.0/24")
    listed = json.loads(vanctl(c, "network list --sort -name -o json"))
    eq(([n["name"] for n in listed["items"]], listed["next"]),
       ([f"n{i:03}" for i in reversed(range(230))], None))


def test_two_runs_are_two_requests(c):
    """Each has an Idempotency-Key of its own: the same command again is done again."""
    c.network("prod")
    vanctl(c, "token issue prod")
    vanctl(c, "token issue prod")
    eq(len(c.get(API + "/tokens").json["items"]), 2)


# -- secrets

def test_secrets_are_not_shown(c):
    c.network("prod")
    for line, member in (("token issue prod", "token"), ("key create k --role viewer", "key")):
        ran = run(c, line.split() + ["-v"])
        secret = ran.stdout.strip()
        eq(ran.stdout, secret + "\n")
        assert len(secret) > 30 and secret not in ran.stderr and c.key not in ran.stderr
        eq(len(json.loads(run(c, line.split() + ["-o", "json"]).stdout)[member]), len(secret))
    # Stored keys are for their owner alone.
    vanctl(c, "login")
    found = [os.path.join(d, f) for d, _, files in os.walk(os.path.join(c.dir, "van")) for f in files]
    assert found
    for path in found:
        eq(stat.S_IMODE(os.stat(path).st_mode), 0o600, path)


def on_terminal(c, words, typed, **env):
    """Runs vanctl on a terminal, types when it asks; (exit status, all that was to be seen)."""
    whole = {k: v for k, v in environment(c).items() if k not in env.get("without", ())}
    pid, fd = pty.fork()
    if pid == 0:
        os.execve(VANCTL, ["vanctl", *words], whole)
    seen, end, sent = b"", time.monotonic() + 30, False
    while time.monotonic() < end:
        if not select.select([fd], [], [], 1)[0]:
            continue
        try:
            data = os.read(fd, 4096)
        except OSError:
            break
        if not data:
            break
        seen += data
        if not sent and b"Enter: " in seen:
            os.write(fd, typed.encode() + b"\n")
            sent = True
    os.close(fd)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), seen.decode()


def test_the_key_is_asked_for(c):
    status, seen = on_terminal(c, ["login"], c.key, without=("VAN_KEY_FILE",))
    eq(status, 0, seen)
    assert "it is not shown" in seen and c.key not in seen, seen
    ran = run(c, ["whoami", "-o", "json"], VAN_KEY_FILE="")
    eq(json.loads(ran.stdout)["role"], "console")
    # Elsewhere it has to be a file, or standard input.
    ran = run(c, ["login"], stdin="", VAN_KEY_FILE="")
    eq(ran.returncode, 2, ran.stderr)
    ran = run(c, ["login", "--key-file", "-"], stdin=c.key + "\n")
    eq(ran.returncode, 0, ran.stderr)


# -- watching

class Following:
    """A `vanctl watch` that runs; .lines of what it printed."""

    def __init__(self, c, words):
        self.lines = []
        self.process = subprocess.Popen([VANCTL, "watch", *words], env=environment(c), text=True,
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()

    def read(self):
        for line in self.process.stdout:
            self.lines.append(line)

    def end(self, timeout_s=20):
        status = self.process.wait(timeout_s)
        self.reader.join(timeout_s)
        return status, self.process.stderr.read()


def test_watch(c):
    f = Following(c, ["--kind", "network,token", "--count", "4", "-o", "json", "-v"])
    made = []

    def make():
        made.append(c.network(f"n{len(made)}", f"10.{len(made)}.0.0/24"))
        return f.lines
    until(make, what="the first event")
    name = made[-1]["name"]
    c.node(c.token(name), "web")  # a node is not of these kinds
    until(lambda: f.process.poll() is not None or make() and False, what="the end")
    status, err = f.end()
    eq(status, 0, err)
    events = [json.loads(line) for line in f.lines]
    eq(len(events), 4)
    assert {e["kind"] for e in events} <= {"network", "token"}, events
    last = re.search(r"vanctl watch --after (\S+)", err).group(1)
    c.network("later", "192.168.0.0/24")
    text = vanctl(c, f"watch --after {last} --count 1 --kind network")
    assert re.match(r"(created|updated) network \S+ \(net_\w+\)\n$", text), text
    vanctl(c, "watch --after 0000000000000000-1", 5)


def test_watch_survives_the_console(c):
    """The connection breaks, and is made again; what happened meanwhile is told."""
    f = Following(c, ["--timeout", "20s"])
    made = []

    def make():
        made.append(c.network(f"n{len(made)}", f"10.{len(made)}.0.0/24"))
        return f.lines
    until(make, what="the first event")
    c.kill()
    c.start()
    c.network("after", "192.168.0.0/24")
    until(lambda: any(" after (" in line for line in f.lines) or f.process.poll() is not None,
          what="the event after the restart")
    eq(f.process.poll(), None)
    f.process.send_signal(signal.SIGTERM)
    status, err = f.end()
    eq((status, err), (-signal.SIGTERM, "The connection to the console is lost; trying again.\n"))
    eq(len(f.lines), len(set(f.lines)), "each is told once")


def test_watch_ends_when_nobody_reads(c):
    c.network("prod")
    process = subprocess.Popen([VANCTL, "watch", "--kind", "network"], env=environment(c),
                               stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    process.stdout.close()
    count = iter(range(10000))
    until(lambda: c.patch(f"{API}/networks/prod", {"mtu": 1300 + next(count)}).want(200)
          and process.poll() is not None, what="the end of a watch whose reader is gone")


# -- completion

def shell_environment(c):
    env = environment(c)
    env["PATH"] = os.path.dirname(os.path.abspath(VANCTL)) + ":" + env["PATH"]
    return env


# Each gets lines in its arguments, words in them between single spaces, and answers with the
# candidates for the end of each and a line of dashes.
BASH = r"""
source <(vanctl completion bash)
f=$(complete -p vanctl); [[ $f == *"-F "* ]] || exit 9
f=${f#*-F }; f=${f%% *}
for COMP_LINE in "$@"; do
	COMP_POINT=${#COMP_LINE}; COMP_WORDS=(); rest="$COMP_LINE "; COMPREPLY=()
	while [[ -n $rest ]]; do COMP_WORDS+=("${rest%% *}"); rest=${rest#* }; done
	COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
	"$f" vanctl
	printf '%s\n' "${COMPREPLY[@]}" ----
done
"""

# What is offered is what the completion system is handed, as far as it begins with the word.
ZSH = r"""
autoload -Uz compinit; compinit -u -D
source <(vanctl completion zsh)
[[ ${_comps[vanctl]} == _vanctl ]] || exit 9
_describe() {
	local e
	for e in "${(@P)2}"; do
		e=${${e//\\:/$'\1'}%%:*}
		[[ $e == "$words[CURRENT]"* ]] && print -r -- ${e//$'\1'/:}
	done
}
_files() { print -r -- :files }
for line in "$@"; do
	words=("${(@s: :)line}"); CURRENT=$#words
	_vanctl
	print -- ----
done
exit 0
"""


def complete(c, shell, lines):
    """The candidates for each line, sorted."""
    command = (["bash", "--norc", "-c", BASH] if shell == "bash" else ["zsh", "-f", "-c", ZSH])
    ran = subprocess.run([*command, shell, *lines], env=shell_environment(c), capture_output=True,
                         text=True, timeout=60, check=False)
    eq((ran.returncode, ran.stderr), (0, ""))
    answers = ran.stdout.split("----\n")[:-1]
    return [sorted(w for w in answer.splitlines() if w) for answer in answers]


def make_names(c):
    c.network("prod", "172.16.1.0/24")
    c.network("backup", "172.16.2.0/24")
    token = c.token("prod", uses=9)
    c.node(token, "web-1")
    c.node(token, "web-2")
    c.node(c.token("backup"), "store")
    vanctl(c, "gateway add web-1 -n prod --prefix 10.0.0.0/8 --name dc")
    vanctl(c, "fip create 172.16.1.60 -n prod --name vip")
    vanctl(c, "reservation create 172.16.1.50 -n prod --name printer")
    vanctl(c, "user create ann --role viewer")
    vanctl(c, "org create acme")


def completion_cases(c):
    """(line, words that are exactly the candidates)."""
    token = c.get(API + "/tokens").json["items"][0]["id"]
    return [
        ("vanctl netw", ["network"]),
        ("vanctl network sh", ["show"]),
        ("vanctl network show ", ["backup", "prod"]),
        ("vanctl network show p", ["prod"]),
        ("vanctl network create ", []),
        ("vanctl -o json network show b", ["backup"]),
        ("vanctl network create x --enc", ["--encryption"]),
        ("vanctl network set prod --require-approval ", ["no", "yes"]),
        ("vanctl token issue pr", ["prod"]),
        ("vanctl token revoke " + token[:6], [t["id"] for t in c.get(API + "/tokens").json["items"]]),
        ("vanctl node list -n ", ["backup", "prod"]),
        ("vanctl node show ", ["store", "web-1", "web-2"]),
        ("vanctl node delete -n prod ", ["web-1", "web-2"]),
        ("vanctl node delete -nprod w", ["web-1", "web-2"]),
        ("vanctl node add -n prod s", ["store"]),
        ("vanctl node move web-1 -n prod --to ", ["backup", "prod"]),
        ("vanctl gateway show -n prod ", ["dc"]),
        ("vanctl gateway add -n prod web-1 --name ", []),
        ("vanctl fip assign 172.16.1.60 -n prod ", ["web-1", "web-2"]),
        ("vanctl fip show -n prod ", ["172.16.1.60"]),
        ("vanctl fip create 172.16.1.70 -n prod --candidates web-1,", ["web-1,web-1", "web-1,web-2"]),
        ("vanctl reservation delete -n prod ", ["172.16.1.50"]),
        ("vanctl user show ", ["ann"]),
        ("vanctl key create k --user a", ["ann"]),
        ("vanctl org show a", ["acme"]),
        ("vanctl --org acme network show ", []),
        ("vanctl --org de", ["default"]),
        ("vanctl export ", ["backup", "prod"]),
        ("vanctl completion ", ["bash", "zsh"]),
        ("vanctl node show -n none ", []),
        ("vanctl bogus ", []),
    ]


def check_completion(c, shell):
    if not shutil.which(shell):
        raise Skip(f"{shell} is not installed")
    make_names(c)
    cases = completion_cases(c)
    answers = complete(c, shell, [line for line, _ in cases])
    eq(len(answers), len(cases))
    for (line, wanted), answer in zip(cases, answers):
        eq(answer, sorted(wanted), f"completion of '{line}'")
    # A console that is away costs no more than its time, and nothing is said.
    c.kill()
    start = time.monotonic()
    eq(complete(c, shell, ["vanctl network show "]), [[]])
    assert time.monotonic() - start < 10
    c.start()


def test_completion_in_bash(c):
    check_completion(c, "bash")


def test_completion_in_zsh(c):
    check_completion(c, "zsh")


def test_completion_offers_files(c):
    path = os.path.join(c.dir, "some-topology.json")
    with open(path, "w", encoding="utf-8") as f:
        f.write("{}")
    lines = [f"vanctl import {c.dir}/some-", f"vanctl join --token-file {c.dir}/some-"]
    eq(complete(c, "bash", lines), [[path], [path]])


def test_completion_on_a_terminal(c):
    """A line that is typed, a tab in it, and what the shell made of it."""
    make_names(c)
    shells = {"bash": ["--norc", "-i"], "zsh": ["-f", "-i"]}
    for shell in (s for s in shells if shutil.which(s)):
        pid, fd = pty.fork()
        if pid == 0:
            os.execvpe(shell, [shell, *shells[shell]], dict(shell_environment(c), TERM="dumb"))
        try:
            if shell == "zsh":
                os.write(fd, b"autoload -Uz compinit; compinit -u -D\n")
            os.write(fd, f"source <(vanctl completion {shell}); echo rea''dy\n".encode())
            wait_for(fd, "ready")
            os.write(fd, b"vanctl network show ba\t\n")
            wait_for(fd, "172.16.2.0/24")
        finally:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            os.close(fd)


def wait_for(fd, text):
    seen, end = "", time.monotonic() + 30
    while text not in seen:
        assert time.monotonic() < end, f"no {text!r} in {seen!r}"
        if select.select([fd], [], [], 1)[0]:
            seen += os.read(fd, 4096).decode(errors="replace")


def logged_in(c, *words, status=0):
    """Runs vanctl with nothing but its stored login."""
    env = {k: v for k, v in environment(c).items() if not k.startswith("VAN")}
    ran = subprocess.run([VANCTL, *words], env=env, capture_output=True, text=True, timeout=60,
                         check=False)
    eq(ran.returncode, status, f"vanctl {' '.join(words)}: {ran.stderr}")
    return ran


def test_a_login_outlives_a_change_of_the_tls_key(c):
    stored = os.path.join(c.dir, "van", "contexts", "default.json")

    def pins():
        with open(stored, encoding="utf-8") as f:
            login = json.load(f)
        return login["pin"], login["next_pin"]

    def shown():
        return tuple(c.get(f"{API}/console").json[name] for name in ("pin", "next_pin"))

    old = c.state("tls.pin").strip()
    logged_in(c, "login", "--console", f"https://127.0.0.1:{c.port}", "--pin", old,
              "--key-file", os.path.join(c.state_dir, "admin.key"))
    eq((pins(), shown()), ((old, None), (old, None)))
    c.command("tls", "next")
    new = c.state("tls.next.pin").strip()
    c.process.send_signal(signal.SIGHUP)
    until(lambda: shown() == (old, new), what="the next pin")
    logged_in(c, "network", "list")
    eq(pins(), (old, None), "asked for once a day")
    os.utime(stored, (0, 0))
    logged_in(c, "network", "list")
    eq(pins(), (old, new))
    c.command("tls", "switch")
    c.process.send_signal(signal.SIGHUP)
    until(lambda: shown() == (new, None), what="the new key")
    logged_in(c, "network", "list")
    assert new in logged_in(c, "console", "status").stdout
    eq(pins(), (new, None))
    # Who did not look in between has to log in again.
    error = logged_in(c, "network", "list", "--pin", old, status=3).stderr
    assert "tls.pin" in error and "token" not in error, error


def test_revisions_are_taken_seriously(c):
    vanctl(c, "network create prod --cidr 172.16.1.0/24")
    vanctl(c, "network create backup --cidr 172.16.2.0/24")
    c.node(c.token("prod"), "db")
    for line in ("node rekey db", "cloak allow tcp/1 -n prod", "cloak confirm -n prod",
                 "import /none", "node list", "network create x --cidr 10.0.0.0/8", "status"):
        assert "--if-revision is for" in vanctl(c, line + " --if-revision 1", 2), line
    assert "changed" in vanctl(c, "node move db -n prod --to backup --if-revision 1", 6)
    eq([n["name"] for n in c.get(f"{API}/nodes/db").json["networks"]], ["prod"])
    now = c.get(f"{API}/networks/prod/nodes/db").json["revision"]
    vanctl(c, f"node move db -n prod --to backup --if-revision {now}")
    eq([n["name"] for n in c.get(f"{API}/nodes/db").json["networks"]], ["backup"])


def test_bounds_are_those_of_the_console(c):
    c.network("prod")
    for option, least, most, beyond in (("--uses", "1", "100000", ("0", "100001")),
                                        ("--ttl", "1s", "365d", ("366d",)),
                                        ("--ephemeral", "30s", "30d", ("29s", "31d"))):
        vanctl(c, f"token issue prod {option} {least}")
        vanctl(c, f"token issue prod {option} {most}")
        for value in beyond:
            assert "out of range" in vanctl(c, f"token issue prod {option} {value}", 2)
    vanctl(c, "token issue prod --ephemeral 0")
    for value, status in (("9s", 2), ("61m", 2), ("10s", 0), ("0", 0)):
        vanctl(c, f"cloak on -n prod --confirm-within {value}", status)


def test_what_is_told_to_people(c):
    c.network("prod")
    c.node(c.token("prod"), "db")
    who = vanctl(c, "whoami")
    assert re.search(r"^Key +admin \(key:key_\w+\)$", who, re.M), who
    assert re.search(r"^Organization +default \(default\)$", who, re.M), who
    assert re.search(r" key admin .* network\.create ", vanctl(c, "audit list"))
    vanctl(c, "user create ann --role operator")
    vanctl(c, "key create laptop --role operator --user ann")
    vanctl(c, "user set ann --role viewer")
    assert "viewer (operator)" in vanctl(c, "key list")
    eq([(k["role"], k["effective_role"]) for k in c.get(f"{API}/keys?name=laptop").json["items"]],
       [("operator", "viewer")])
    vanctl(c, "key create k --role viewer --user nobody", 5)
    assert "never switched on" in vanctl(c, "cloak confirm -n prod", 6)
    assert "no floating IP" in vanctl(c, "fip show 172.16.1.9 -n prod", 5)
    assert "future" in vanctl(c, "network stats prod --since 2099-01-01T00:00:00Z", 2)
    eq(json.loads(vanctl(c, "hosts -n prod -o json")),
       {"items": [{"name": "db", "ips": ["172.16.1.1"]}], "next": None})
    c.network("other", "172.16.2.0/24")
    assert 'node "db" is not in' in vanctl(c, "node show db -n other", 5)
    eq(run(c, ["network", "list", "--timeout", "1ms"]).returncode, 7)


def test_health_checks_are_changed_alone(c):
    c.network("prod")
    c.node(c.token("prod"), "dc")
    add = "gateway add dc -n prod --prefix 10.20.0.0/16 "
    assert "goes with --health" in vanctl(c, add + "--health-interval 5s", 2)
    vanctl(c, add + "--health tcp:10.20.0.1:22")
    vanctl(c, "gateway set dc -n prod --health-interval 9s --health-failures 7")
    eq(c.get(f"{API}/networks/prod/gateways/dc").json["health"],
       {"kind": "tcp", "target": "10.20.0.1", "port": 22, "interval_s": 9, "failures": 7})
    vanctl(c, "gateway set dc -n prod --health none --health-interval 9s", 2)


def test_import_tells_all_that_is_wrong(c):
    bad = json.dumps({"format": "van-topology", "version": 1, "networks": [
        {"name": "prod", "cidr": "x", "mtu": 1}]})
    for words in (["import", "-"], ["import", "-", "-q"]):
        ran = run(c, words, stdin=bad)
        lines = ran.stderr.splitlines()
        eq((ran.returncode, len(lines)), (1, 2), ran.stderr)
        assert lines[0].startswith("vanctl: The request is wrong: /networks/0/cidr: must be"), ran.stderr
        assert lines[1].startswith("vanctl: also wrong: /networks/0/mtu: must be"), ran.stderr
    good = bad.replace('"x"', '"172.16.1.0/24"').replace('"mtu": 1', '"mtu": 1400')
    ran = run(c, ["import", "-", "--dry-run"], stdin=good)
    eq((ran.returncode, ran.stderr.splitlines()[-1]), (0, "Nothing was done (--dry-run)."))
