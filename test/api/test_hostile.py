# SPDX-License-Identifier: Apache-2.0
"""Bad input, on every operation of the document: a problem with a pointer for each bad member, and nothing
stored. And bytes that are no HTTP, or HTTP of the kind that two servers read differently."""
import copy
import json
import re
import socket

from consoletest import eq, options, unchanged
from scenarios import SCENARIOS, World
from test_limits import tls
from test_openapi import Document

FAST = "rate_requests = 100000; rate_address = 100000; rate_enrolments = 100000;"

# Bodies that are wrong whatever the operation wants.
BODIES = {
    "nothing": b"",
    "a space": b" ",
    "no JSON": b"hello",
    "a form": b"name=a&cidr=10.0.0.0%2F24",
    "cut off": b'{"name":"a"',
    "two values": b"{}{}",
    "text behind": b"{} x",
    "array": b"[]",
    "string": b'"x"',
    "number": b"1",
    "null": b"null",
    "true": b"true",
    "key twice": b'{"x":1,"x":1}',
    "key twice, one escaped": b'{"x":1,"\\u0078":1}',
    "unknown member": b'{"no such member":1}',
    "empty member": b'{"":1}',
    "too deep": b'{"x":' + b"[" * 32 + b"]" * 32 + b"}",
    "deep": b'{"x":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "deep and open": b"[" * 250_000,
    "deep objects": b'{"x":' * 40_000,
    "NUL": b'{"x":"a\x00b"}',
    "NUL in a key": b'{"x\x00y":1}',
    "escaped NUL": b'{"x":"a\\u0000b"}',
    "escaped NUL in a key": b'{"x\\u0000y":1}',
    "NUL behind": b"{}\x00",
    "byte order mark": b"\xef\xbb\xbf{}",
    "UTF-16": '{"x":1}'.encode("utf-16"),
    "not UTF-8": b'{"x":"\xff\xfe"}',
    "overlong": b'{"x":"\xc0\xaf"}',
    "surrogate in UTF-8": b'{"x":"\xed\xa0\x80"}',
    "beyond Unicode": b'{"x":"\xf4\x90\x80\x80"}',
    "cut sequence": b'{"x":"\xe2\x82',
    "not UTF-8 in a key": b'{"\xff":1}',
    "half a surrogate pair": b'{"x":"\\ud800"}',
    "wrong surrogate pair": b'{"x":"\\udc00\\ud800"}',
    "line break in a string": b'{"x":"a\nb"}',
    "unknown escape": b'{"x":"\\q"}',
    "20 digits": b'{"x":99999999999999999999}',
    "2^63": b'{"x":9223372036854775808}',
    "-2^63-1": b'{"x":-9223372036854775809}',
    "1e999": b'{"x":1e999}',
    "-1e999": b'{"x":-1e999}',
    "many digits": b'{"x":' + b"1" * 10_000 + b"}",
    "many decimals": b'{"x":0.' + b"1" * 10_000 + b"}",
    "NaN": b'{"x":NaN}',
    "Infinity": b'{"x":-Infinity}',
    "leading zero": b'{"x":01}',
    "plus": b'{"x":+1}',
    "hexadecimal": b'{"x":0x10}',
    "point at the end": b'{"x":1.}',
    "comma at the end": b'{"x":1,}',
    "comment": b'{/* */"x":1}',
    "single quotes": b"{'x':1}",
    "many members": b"{" + b",".join(b'"%d":1' % i for i in range(20_000)) + b"}",
}

# Values of every kind, as JSON text.
VALUES = ["true", "0", "-0", "-1", "1", "1.5", "1e2", "1e-400", "9223372036854775807",
          "-9223372036854775808", '""', '"x"', '"\\u001b[31m"', '"\\n"', '"' + "x" * 300 + '"',
          '"../../etc/passwd"', '"a/b~c"', '"\\ud83d\\ude00"', "[]", "[null]", '[{"x":1}]', "{}",
          '{"x":{"y":[]}}', json.dumps(["x"] * 1500)]


def changing(d):
    """(id, method, operation) of all that takes a body."""
    for operation_id, (method, _, operation) in d.operations.items():
        if "requestBody" in operation:
            yield operation_id, method, operation


def check(d, operation_id, answer, what):
    """It is a 4xx, and a problem as the document has it."""
    assert 400 <= answer.status < 500, f"{operation_id}, {what}: {answer.status} {answer.body[:300]!r}"
    d.check_answer(operation_id, answer)
    eq(answer.json["status"], answer.status)
    return [e["pointer"] for e in answer.json.get("errors", [])]


@options(config=FAST)
def test_bodies_of_every_operation(c):
    d = Document(c)
    calls = [(i, operation, SCENARIOS[i](World(c))) for i, _, operation in changing(d)]
    with unchanged(c):
        for operation_id, operation, call in calls:
            optional = not operation["requestBody"]["required"]
            for what, body in BODIES.items():
                if optional and what == "nothing":
                    continue
                answer = call.but(body=body).send(c)
                # strangers may send less than others
                large = operation_id == "enroll" and len(body) > 8192
                eq(answer.status, 413 if large else 400, f"{operation_id}, {what}: {answer.body[:200]!r}")
                check(d, operation_id, answer, what)
            for media in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data",
                          "application/json-patch+json", "application/jsonx", "", ";"):
                answer = call.but(headers={"Content-Type": media}).send(c)
                eq(answer.status, 415, f"{operation_id}, {media}")
                check(d, operation_id, answer, media)
    assert len(calls) > 20


def types_of(d, schema):
    schema = d.resolve(schema)
    kinds = schema.get("type", [])
    return [kinds] if isinstance(kinds, str) else kinds


def fits(kinds, text):
    """Whether a value of this text may be of one of these JSON types."""
    value = json.loads(text)
    kind = {bool: "boolean", int: "integer", float: "number", str: "string", list: "array",
            dict: "object"}[type(value)]
    return kind in kinds or (kind == "integer" and "number" in kinds)


def number_texts(schema):
    """Integers just outside of what the schema allows."""
    if "minimum" in schema:
        yield str(schema["minimum"] - 1)
    if "maximum" in schema:
        yield str(schema["maximum"] + 1)
    yield from ("-9223372036854775808", "1.5", "1e2", "1e-400", "-1.0")
    if "maximum" in schema:
        yield "9223372036854775807"


def with_value(body, name, text):
    """The body with this member as raw text."""
    other = copy.deepcopy(body)
    other[name] = "@@"
    return json.dumps(other).replace('"@@"', text).encode()


@options(config=FAST)
def test_every_member_of_every_body(c):
    """Values of another type than the document says, and numbers beyond its bounds: each is refused, and its
    pointer named."""
    d = Document(c)
    tried = 0
    work = []
    for operation_id, _, operation in changing(d):
        call = SCENARIOS[operation_id](World(c))
        schema = next(iter(operation["requestBody"]["content"].values()))["schema"]
        work.append((operation_id, call, d.resolve(schema)))
    with unchanged(c):
        for operation_id, call, schema in work:
            for name, member in schema.get("properties", {}).items():
                kinds = types_of(d, member)
                if not kinds:
                    continue
                wrong = [v for v in VALUES if not fits(kinds, v)]
                if "integer" in kinds:
                    wrong += number_texts(d.resolve(member))
                for text in wrong:
                    answer = call.but(body=with_value(call.body, name, text)).send(c)
                    what = f"{name}: {text[:40]}"
                    eq(answer.status, 400, f"{operation_id}, {what}: {answer.body[:200]!r}")
                    pointers = check(d, operation_id, answer, what)
                    assert any(p == "/" + name or p.startswith(f"/{name}/") for p in pointers), \
                        f"{operation_id}, {what}: {answer.json}"
                    tried += 1
    assert tried > 1000, tried


# What vand sends is read until the first mistake.
FIRST_ONLY = {"enroll", "report"}


@options(config=FAST)
def test_all_bad_members_are_named_at_once(c):
    d = Document(c)
    work = [(i, SCENARIOS[i](World(c)), d.resolve(next(iter(
        operation["requestBody"]["content"].values()))["schema"]))
        for i, _, operation in changing(d) if i not in FIRST_ONLY]
    with unchanged(c):
        for operation_id, call, schema in work:
            members = {name: types_of(d, member) for name, member in schema["properties"].items()}
            body = {name: {"wrong": True} if "object" not in kinds else [7]
                    for name, kinds in members.items() if kinds}
            answer = call.but(body={**body, "x/y~z": 1}).send(c)
            pointers = check(d, operation_id, answer, "all of them")
            want = {"/" + name for name in body} | {"/x~1y~0z"}
            eq(len(pointers), len(set(pointers)), operation_id)
            assert set(pointers) >= want if len(want) <= 16 else len(pointers) == 16, \
                f"{operation_id}: {pointers}, want {sorted(want)}"


@options(config=FAST)
def test_values_that_may_be_right(c):
    """Strings of all sorts where strings are taken: done or refused, never a 5xx, and always JSON."""
    d = Document(c)
    strings = [v for v in VALUES if v.startswith('"')]
    for operation_id, _, operation in changing(d):
        schema = d.resolve(next(iter(operation["requestBody"]["content"].values()))["schema"])
        for name, member in schema.get("properties", {}).items():
            if "string" not in types_of(d, member):
                continue
            call = SCENARIOS[operation_id](World(c))
            for text in strings:
                answer = call.but(body=with_value(call.body, name, text)).send(c)
                assert answer.status < 500, f"{operation_id}, {name}: {text}: {answer.status}"
                d.check_answer(operation_id, answer)
                if answer.status < 300:
                    call = SCENARIOS[operation_id](World(c))


# -- HTTP itself

def exchange(c, data, timeout_s=8):
    """What comes back for these bytes, until the other side ends it or nothing more comes."""
    s = tls(c)
    s.settimeout(timeout_s)
    got = b""
    try:
        try:
            s.sendall(data)
        except OSError:
            pass  # it has had enough, and may have said so
        while more := s.recv(65536):
            got += more
    except OSError:
        pass
    finally:
        s.close()
    return got


def framing(c):
    """name: (bytes, status or statuses; None: the connection just ends). The last header of all of them asks
    for the end of the connection, so that none has to wait for it."""
    close = b"Host: x\r\nConnection: close\r\nAuthorization: Bearer " + c.key.encode() + b"\r\n"
    post = b"POST /api/v1/networks HTTP/1.1\r\n" + close
    get = b"GET /api/v1/networks HTTP/1.1\r\n" + close
    body = b'{"name":"smuggled","cidr":"10.0.0.0/24"}'
    length = b"Content-Length: %d\r\n" % len(body)
    chunked = b"Transfer-Encoding: chunked\r\n"
    smuggled = (b"POST /api/v1/networks HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " +
                c.key.encode() + b"\r\n" + length + b"\r\n" + body)
    return {
        # Two ways to say where the body ends.
        "both": (post + length + chunked + b"\r\n0\r\n\r\n" + smuggled, 400),
        "both, the other way round": (post + chunked + length + b"\r\n0\r\n\r\n" + smuggled, 400),
        "unknown coding": (post + b"Transfer-Encoding: gzip\r\n\r\n" + body, 400),
        "two codings": (post + b"Transfer-Encoding: gzip, chunked\r\n\r\n" + body, 400),
        "coding twice": (post + chunked + b"Transfer-Encoding: x\r\n\r\n0\r\n\r\n", 400),
        "length twice": (post + b"Content-Length: 0\r\n" + length + b"\r\n" + body, 400),
        "space before the colon": (post + b"Content-Length : 0\r\n" + length + b"\r\n" + body, 400),
        # Lengths and chunks that are none. These libmicrohttpd answers by itself.
        "negative length": (post + b"Content-Length: -5\r\n\r\n" + body, 400),
        "length with a sign": (post + b"Content-Length: +40\r\n\r\n" + body, 400),
        "two lengths in one": (post + b"Content-Length: 40, 40\r\n\r\n" + body, 400),
        "empty length": (post + b"Content-Length:\r\n\r\n" + body, 400),
        "length beyond 64 bits": (post + b"Content-Length: 99999999999999999999\r\n\r\n", 413),
        "length of 8 EB": (post + b"Content-Length: 9000000000000000000\r\n\r\n", 413),
        "no chunk": (post + chunked + b"\r\nzz\r\n", 400),
        "negative chunk": (post + chunked + b"\r\n-1\r\n", 400),
        "chunk beyond 64 bits": (post + chunked + b"\r\n1ffffffffffffffff\r\n", 413),
        "chunk without an end": (post + chunked + b"\r\n1\r\n{XX0\r\n\r\n", 400),
        "chunks of nothing useful": (post + chunked + b"\r\n" + b"1\r\n \r\n" * 20_000 +
                                     b"0\r\n\r\n", 400),
        "chunks beyond the limit": (post + chunked + b"\r\n" + (b"ffff\r\n" + b" " * 65535 +
                                                               b"\r\n") * 5 + b"0\r\n\r\n", 413),
        "endless trailers": (post + chunked + b"\r\n1\r\n{\r\n0\r\nX: " + b"a" * 36_000, 431),
        # Heads.
        "huge header": (get + b"X: " + b"a" * 36_000 + b"\r\n\r\n", 431),
        "many headers": (get + b"X: a\r\n" * 6_000 + b"\r\n", 431),
        "huge target": (b"GET /" + b"a" * 36_000 + b" HTTP/1.1\r\n" + close + b"\r\n", 414),
        "long target": (b"GET /" + b"a" * 4000 + b" HTTP/1.1\r\n" + close + b"\r\n", 400),
        "many parameters": (b"GET /healthz?" + b"a=b&" * 100 + b" HTTP/1.1\r\n" + close + b"\r\n", 400),
        "huge method": (b"A" * 36_000 + b" / HTTP/1.1\r\n" + close + b"\r\n", 414),
        "no host": (b"GET /healthz HTTP/1.1\r\nConnection: close\r\n\r\n", 400),
        "a line that is no header": (get + b"nonsense\r\n\r\n", 400),
        "control character": (get + b"X: a\x01b\r\n\r\n", 400),
        "name that is no token": (get + b"X(y): a\r\n\r\n", 400),
        "two keys": (get + b"Authorization: Bearer x\r\n\r\n", 400),
        "two conditions": (b"DELETE /api/v1/networks/x HTTP/1.1\r\n" + close +
                           b'If-Match: *\r\nIf-Match: "1"\r\n\r\n', 400),
        "HTTP of the future": (b"GET /healthz HTTP/9.9\r\n" + close + b"\r\n", 505),
        "HTTP/2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
        "nonsense": (b"nonsense\r\n\r\n", None),
        "another resource": (b"CONNECT x:443 HTTP/1.1\r\n" + close + b"\r\n", 400),
        "all resources": (b"OPTIONS * HTTP/1.1\r\n" + close + b"\r\n", 400),
        "trace": (b"TRACE /healthz HTTP/1.1\r\n" + close + b"\r\n", 405),
        "huge cookie": (get + b"Cookie: " + b"a=b;" * 1500 + b"\r\n\r\n", None),
        # Bodies where none is taken.
        "GET with a body": (get + b"Content-Length: 5\r\n\r\nhello", 400),
        "GET with members": (get + b'Content-Length: 7\r\n\r\n{"a":1}', 400),
        "GET with a large body": (get + b"Content-Length: 300000\r\n\r\n" + b" " * 300_000, 413),
    }


# Of these the library itself says no, in HTML.
LIBRARY = {"negative length", "length with a sign", "two lengths in one", "empty length",
           "length beyond 64 bits", "no chunk", "negative chunk", "chunk beyond 64 bits",
           "chunk without an end", "endless trailers", "huge header", "many headers", "huge target",
           "huge method", "no host", "a line that is no header", "HTTP of the future", "HTTP/2"}


def test_requests_that_are_none(c):
    with unchanged(c):
        for what, (data, status) in framing(c).items():
            got = exchange(c, data)
            c.check_running()
            if status is None:
                eq(got, b"", what)
                continue
            assert got.startswith(b"HTTP/1.1 %d " % status), f"{what}: {got[:200]}"
            head, _, text = got.partition(b"\r\n\r\n")
            problem = b"application/problem+json" in head
            eq(problem, what not in LIBRARY, f"{what}: {got[:200]}")
            if problem:
                eq(text.count(b"HTTP/1.1"), 0, f"{what}: only one answer")
                eq(json.loads(text)["status"], status, what)
            c.get("/healthz", key=None).want(200)


def test_pipelining(c):
    key = c.key.encode()
    get = b"GET /api/v1/whoami HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + key + b"\r\n"
    body = b'{"name":"n%d","cidr":"10.0.0.0/24"}'
    many = b"".join(b"POST /api/v1/networks HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + key +
                    b"\r\nContent-Length: %d\r\n\r\n" % len(body % i) + body % i for i in range(9))
    got = exchange(c, many + get + b"Connection: close\r\n\r\n")
    eq(re.findall(rb"HTTP/1.1 (\d+) ", got), [b"201"] * 9 + [b"200"])
    eq([n["name"] for n in c.get("/api/v1/networks").json["items"]], [f"n{i}" for i in range(9)])
    # What comes behind a request that is none is not looked at.
    with unchanged(c):
        got = exchange(c, get + b"\r\n" + b"X\r\n\r\n" + many)
        eq(got.count(b"HTTP/1.1 "), 1)
        got = exchange(c, get + b"Transfer-Encoding: gzip\r\n\r\n" + many)
        eq((got[9:12], got.count(b"HTTP/1.1 ")), (b"400", 1))


def test_endings_in_the_middle(c):
    """Clients that go away at every place of a request."""
    body = b'{"name":"half","cidr":"10.0.0.0/24"}'
    whole = (b"POST /api/v1/networks HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + c.key.encode() +
             b"\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
    with unchanged(c):
        for at in range(0, len(whole), 7):
            s = tls(c)
            s.sendall(whole[:at])
            if at % 2:
                s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            s.close()
        c.get("/healthz", key=None).want(200)
