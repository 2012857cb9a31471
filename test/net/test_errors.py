# SPDX-License-Identifier: Apache-2.0
"""What goes wrong says so in one line that tells what to do, and leaves nothing half-configured.

      console ──┐
   a ────────[ sw ]──────── b
"""

import hashlib
import os
import secrets
import socket

from vannet import (BUILD, Console, Failure, Mesh, Namespace, Node, check, token_parts, token_text,
                    wait_until)
from test_registry import nothing_configured, refused

VAND = os.path.join(BUILD, "vand/vand")
CONSOLE = os.path.join(BUILD, "console-api/console-api")


def one_line(done, *words):
    """The daemon ended, with one line (besides news) that has these words; alternatives in a tuple."""
    check(done.returncode not in (0, 99), "it ended with an error: %s" % done)
    lines = [l for l in done.stderr.splitlines() if " info: " not in l and " debug: " not in l]
    check(len(lines) == 1, "one line on standard error: %r" % done.stderr)
    for word in words:
        options = word if isinstance(word, tuple) else (word,)
        check(any(o.lower() in lines[0].lower() for o in options), "%r is in: %s" % (word, lines[0]))


def fails_to_start(node, *words):
    """vand ends by itself, with one such line in its log, and leaves nothing."""
    node.write_config()
    done = node.ns.run(*node.wrap, VAND, "-c", node.config_path, ok=False, timeout=20)
    one_line(done, *words)
    check(not os.path.exists(node.socket), "no control socket is left")
    check([l for l in node.ns.links() if l.startswith("vcider")] == [], "no interface is left")


def plain_node(net, name="x", wrap=(), config=None):
    return Node(net, Namespace(net, name), wrap=wrap, config=config, start=False)


def test_wrong_configuration_of_vand(net):
    for i, (config, words) in enumerate((
            ({"no_such_key": 1}, ["no_such_key"]),
            ({"port": 70000}, ["port", "65535"]),
            ({"port": "many"}, ["port"]),
            ({"log_level": "loud"}, ["log_level", "debug"]),
            ({"advertise": ["not an address"]}, ["advertise", "not an address"]),
            ({"psk_file": "/nonexistent/psk"}, ["/nonexistent/psk"]))):
        fails_to_start(plain_node(net, "x%d" % i, config=config), "vand.conf", *words)
    node = plain_node(net, "y")
    node.write_config()
    with open(node.config_path, "a") as f:
        f.write("port = = 3;\n")
    one_line(node.ns.run(VAND, "-c", node.config_path, ok=False), "vand.conf:4:")
    one_line(node.ns.run(VAND, "-c", "/nonexistent/vand.conf", ok=False), "/nonexistent/vand.conf")
    done = node.ns.run(VAND, ok=False)
    check(done.returncode == 2 and "-c FILE" in done.stderr, "without arguments: usage: %s" % done)


def test_wrong_configuration_of_console(net):
    ns = Namespace(net, "x")
    folder = net.directory("files")
    for i, (text, words) in enumerate((
            ('no_such_key = 1;', ["no_such_key"]),
            ('listen = "everywhere";', ["listen"]),
            ('public_url = "http://insecure";', ["public_url"]),
            ('store = "floppy";', ["store", "sqlite"]),
            ('state_dir = ;', [":2:"]))):
        path = os.path.join(folder, "console%d.conf" % i)
        with open(path, "w") as f:
            if "state_dir" not in text:
                f.write('state_dir = "%s/state%d";\n' % (folder, i))
            if "public_url" not in text:
                f.write('public_url = "https://192.0.2.1:8443";\n')
            f.write(text + "\n")
        one_line(ns.run(CONSOLE, "-c", path, ok=False, timeout=20), "console%d.conf" % i, *words)
        check(not os.path.exists("%s/state%d" % (folder, i)), "no state is made")


def test_port_in_use(net):
    node = plain_node(net)
    sock = node.ns.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind(("0.0.0.0", 4826))
    fails_to_start(node, "4826", ("in use", "used by"))
    sock.close()
    node.start()
    # two with the same state: the second one is told who has it
    second = Node(net, node.ns, name="second", start=False,
                  config={"state_dir": node.state, "port": 0})
    fails_to_start(second, node.state, str(node.process.pid))
    # two with the same control socket
    third = Node(net, node.ns, name="third", start=False,
                 config={"control_socket": node.socket, "port": 0})
    third.write_config()
    one_line(node.ns.run(VAND, "-c", third.config_path, ok=False, timeout=20), node.socket)
    check(node.answers(), "the first one is not disturbed")
    # two with the same port, one of them in the middle of its work
    fourth = Node(net, node.ns, name="fourth", start=False)
    fails_to_start(fourth, "4826", ("in use", "used by"))


def test_console_port_in_use(net):
    m = Mesh(net, names=())
    path = os.path.join(net.directory("files"), "console.conf")
    state = os.path.join(net.directory("other"), "state")
    with open(path, "w") as f:
        f.write('state_dir = "%s"; listen = "0.0.0.0:8443"; public_url = "https://192.0.2.1:8443";\n' % state)
    one_line(m.console.ns.run(CONSOLE, "-c", path, ok=False, timeout=20), "8443", "in use")


def test_no_tun_device(net):
    m = Mesh(net, names=())
    ns = Namespace(net, "x")
    m.switch.attach(ns)
    hide = ("unshare", "--mount", "sh", "-c", 'mount -t tmpfs none /dev/net && exec "$0" "$@"')
    node = Node(net, ns, wrap=hide, start=False)
    node.launch()
    # at its start or when it needs the device: in either case one line, and nothing is left
    try:
        wait_until(node.answers, 10, "vand answers")
    except Failure:
        status = node.process.wait(5)
        check(status != 0, "vand ended")
        lines = [l for l in node.process.text().splitlines() if "/dev/net/tun" in l]
        check(len(lines) == 1, "one line names /dev/net/tun: " + node.process.text())
        check(not os.path.exists(node.socket), "no control socket is left")
        return
    refused(node.join(m.console.token("lan"), ok=False), "/dev/net/tun")
    nothing_on(ns)


def nothing_on(ns):
    check(ns.links() == ["lo", "eth0"], "no interface is left: %s" % ns.links())


def test_no_privilege(net):
    m = Mesh(net, names=())
    for i, wrap in enumerate((
            ("setpriv", "--bounding-set", "-net_admin", "--inh-caps", "-net_admin"),
            ("setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"))):
        ns = Namespace(net, "x%d" % i)
        m.switch.attach(ns)
        node = Node(net, ns, wrap=wrap, start=False)
        # an ordinary user may write there: what is missing is the privilege
        os.chmod(net.tmp, 0o755)
        os.chmod(node.dir, 0o777)
        node.write_config()
        done = ns.run(*wrap, VAND, "-c", node.config_path, ok=False, timeout=20)
        one_line(done, ("CAP_NET_ADMIN", "root", "privilege"))
        nothing_on(ns)
        check(not os.path.exists(node.socket), "no control socket is left")


def test_console_out_of_reach(net):
    m = Mesh(net, names=("a",))
    token = m.console.token("lan")
    ns = Namespace(net, "b")
    m.switch.attach(ns)
    b = Node(net, ns)
    m.console.stop()
    done = b.join(token, ok=False, wait="5s")
    refused(done, m.console.url, code=3)
    nothing_configured(b)
    refused(m.console.vanctl("network", "list", ok=False), m.console.url, code=3)
    m.console.start()
    b.join(token)
    b.ns.ping(m.a.ip4())


def test_no_vand(net):
    ns = Namespace(net, "x")
    done = ns.run(os.path.join(BUILD, "vanctl/vanctl"), "--socket", net.tmp + "/none.sock", "status", ok=False)
    refused(done, net.tmp + "/none.sock", "vand", code=3)


def test_wrong_pin(net):
    m = Mesh(net, names=())
    key = os.path.join(m.console.state, "admin.key")
    bad = "sha256//" + "A" * 43 + "="
    done = m.console.vanctl("login", "--console", m.console.url, "--key-file", key, "--pin", bad, ok=False)
    refused(done, "pin")
    done = m.console.vanctl("login", "--console", m.console.url, "--key-file", key, ok=False,
                            env={"XDG_CONFIG_HOME": net.tmp + "/empty"})
    refused(done, "--pin")
    wrong_key = os.path.join(net.tmp, "wrong.key")
    with open(os.open(wrong_key, os.O_WRONLY | os.O_CREAT, 0o600), "w") as f:
        f.write("van_" + "x" * 43 + "\n")
    done = m.console.vanctl("login", "--console", m.console.url, "--key-file", wrong_key,
                            "--pin", m.console.pin, ok=False)
    refused(done, "key", code=4)
    # in a token: another console's pin, as if somebody stood in between
    ns = Namespace(net, "a")
    m.switch.attach(ns)
    a = Node(net, ns)
    token = m.console.token("lan")
    _, secret, url = token_parts(token)
    refused(a.join(token_text(hashlib.sha256(secrets.token_bytes(8)).digest(), secret, url), ok=False), "pin")
    nothing_configured(a)
    check(m.console.json("node", "list")["items"] == [], "nobody was enrolled")
    a.join(token)


def fill(path):
    """Takes all the room in a file system."""
    name = os.path.join(path, "filler")
    fd = os.open(name, os.O_WRONLY | os.O_CREAT, 0o600)
    for size in (1 << 16, 4096, 512, 1):
        try:
            while True:
                os.write(fd, bytes(size))
        except OSError:
            pass
    os.close(fd)
    return name


def test_full_disk_at_a_node(net):
    m = Mesh(net, names=("a",))
    disk = net.tmpfs("disk", "256k")
    filler = fill(disk)
    ns = Namespace(net, "b")
    m.switch.attach(ns)
    b = Node(net, ns, config={"state_dir": disk + "/state"}, start=False)
    b.write_config()
    one_line(ns.run(VAND, "-c", b.config_path, ok=False, timeout=20), ("no space", "full"), disk)
    check(not os.path.exists(b.socket), "no control socket is left")
    os.unlink(filler)
    b.start()
    filler = fill(disk)
    token = m.console.token("lan")
    refused(b.join(token, ok=False), ("space"))
    nothing_configured(b)
    # the same token works when there is room: the console knows the node by its key
    os.unlink(filler)
    b.join(token)
    b.ns.ping(m.a.ip4())
    # and a node that has all it needs goes on with a full disk
    filler = fill(disk)
    m.add("c")
    wait_until(lambda: "c" in b.peers(), 10, "b takes up a new peer although it cannot keep the map")
    b.ns.ping(m.c.ip4())
    os.unlink(filler)


def test_full_disk_at_the_console(net):
    m = Mesh(net, names=())
    disk = net.tmpfs("disk", "2m")
    ns = Namespace(net, "console2")
    v4, _ = m.switch.attach(ns, host=102)
    console = Console(net, ns, v4, config={"state_dir": disk + "/state"})
    console.network("before", "172.16.1.0/24")
    filler = fill(disk)
    done = None
    for i in range(40):
        # there may be room left in what the database has already
        done = console.vanctl("network", "create", "n%d" % i, "--cidr", "172.17.%d.0/24" % i, ok=False)
        if done.returncode:
            break
    refused(done, "full")
    check(console.healthy(), "the console goes on")
    known = {n["name"] for n in console.json("network", "list")["items"]}
    check("n%d" % i not in known and "before" in known, "what was refused is not there: %s" % known)
    os.unlink(filler)
    console.network("after", "172.18.0.0/24")


def test_full_disk_when_the_console_starts(net):
    disk = net.tmpfs("disk", "256k")
    fill(disk)
    ns = Namespace(net, "console")
    path = os.path.join(net.directory("files"), "console.conf")
    with open(path, "w") as f:
        f.write('state_dir = "%s/state"; listen = "127.0.0.1:8443"; '
                'public_url = "https://127.0.0.1:8443";\n' % disk)
    one_line(ns.run(CONSOLE, "-c", path, ok=False, timeout=20), ("no room",), disk)


def test_state_of_another_version_or_damaged(net):
    """A damaged cache is told and done without; a damaged identity stops vand."""
    m = Mesh(net, names=("a", "b"))
    m.connect()
    m.b.stop()
    path = os.path.join(m.b.state, "netmap")
    with open(path, "r+b") as f:
        f.truncate(os.path.getsize(path) // 2)
    m.b.start()
    wait_until(lambda: m.a.ns.pings(m.b.ip4(), wait=0.2) if m.b.status()["networks"] else False, 15,
               "b has fetched the map again")
    m.b.stop()
    path = os.path.join(m.b.state, "identity")
    with open(path, "r+b") as f:
        f.truncate(5)
    done = m.b.ns.run(VAND, "-c", m.b.config_path, ok=False, timeout=20)
    one_line(done, path)
