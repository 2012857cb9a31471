# SPDX-License-Identifier: Apache-2.0
"""Requests to one of several consoles: connections that are kept, tries that are repeated.

What is repeated, and when:

  - a GET, and a POST, which carries an Idempotency-Key that is the same in every try: whenever no whole
    answer came, and after 429, 502, 503, 504;
  - a PATCH and a DELETE: only where it is known that nothing was done, which is when there was no
    connection or the console itself says so. They raise UnreachableError with maybe_done otherwise.

The next try goes to the next console at once; when all were tried, after a pause that doubles, or as long
as Retry-After says. The one that answered is asked first from then on.
"""
from __future__ import annotations

import contextlib
import datetime
import http.client
import json
import logging
import math
import random
import selectors
import socket
import ssl
import threading
import time
import urllib.parse
import uuid
from typing import Any, Dict, FrozenSet, Iterator, List, Mapping, NamedTuple, Optional, Sequence, Set, Tuple

from .errors import ProblemError, ProtocolError, TlsError, UnreachableError, VanError, problem_of
from .tls import check_pin, make_context, parse_pins
from .version import VERSION

log = logging.getLogger("vanapi")

BODY_MAX = 64 << 20  # bytes of an answer
IDLE_MAX_S = 20      # the console closes after 30 s
IDLE_MAX = 4         # connections to one console
FIRST_PAUSE_S = 0.25
LONGEST_PAUSE_S = 10


class Answer(NamedTuple):
    status: int
    headers: http.client.HTTPMessage
    body: bytes

    def json(self) -> Any:
        try:
            return json.loads(self.body) if self.body else None
        except ValueError as e:
            raise ProtocolError(f"the answer is no JSON ({e}): is this a VAN console?") from e


def quote(segment: str) -> str:
    """One segment of a path; one of dots alone would mean "here" or "up"."""
    if not segment:
        raise ValueError("an empty name or id")
    text = urllib.parse.quote(segment, safe="")
    return text.replace(".", "%2E") if not text.strip(".") else text


def pause_s(failures: int) -> float:
    longest = min(LONGEST_PAUSE_S, math.ldexp(FIRST_PAUSE_S, min(failures, 10)))
    return longest * random.uniform(0.5, 1)


class Connection(http.client.HTTPSConnection):
    """One that shows nothing, the API key neither, to whoever is not the console."""

    def __init__(self, console: "Console", context: ssl.SSLContext, pins: FrozenSet[bytes],
                 timeout_s: float):
        super().__init__(console.host, console.port, context=context, timeout=timeout_s)
        self.console, self.pins, self.idle_since = console, pins, 0.0

    def connect(self) -> None:
        try:
            super().connect()
            if self.pins:
                check_pin(self.sock, self.pins, self.console.url)
        except BaseException as e:
            self.close()
            if isinstance(e, ssl.SSLCertVerificationError):
                raise TlsError(f"the certificate of {self.console.url} is not trusted "
                               f"({e.verify_message}): give its pin or the file of its CA") from e
            if isinstance(e, OSError):
                raise UnreachableError(f"no connection to {self.console.url}: {e}") from e
            raise

    def is_fresh(self) -> bool:
        """Nothing came while it was idle: no end, above all."""
        if time.monotonic() - self.idle_since > IDLE_MAX_S:
            return False
        with selectors.DefaultSelector() as selector:
            selector.register(self.sock, selectors.EVENT_READ)
            return not selector.select(0)


class Console:
    """Where a console is, and its connections that wait for the next request."""

    def __init__(self, url: str):
        parts = urllib.parse.urlsplit(url)
        if parts.scheme != "https" or not parts.hostname or parts.path not in ("", "/") or \
                parts.query or parts.username is not None:
            raise ValueError(f"{url!r} is no address of a console: it must be https://HOST[:PORT]")
        self.url = url.rstrip("/")
        self.host, self.port = parts.hostname, parts.port or 443
        self.idle: List[Connection] = []


class Tries:
    """What becomes of a request that failed: another try, or its error."""

    def __init__(self, transport: "Transport", method: str, patience_s: Optional[float] = None):
        self.transport = transport
        self.changes = method != "GET"
        self.harmless = method in ("GET", "POST")  # doing it twice is as good as once
        self.patience_s = transport.patience_s if patience_s is None else patience_s
        self.end = math.inf  # no pause is longer
        self.succeeded()

    def succeeded(self) -> None:
        self.failures, self.give_up, self.maybe_done = 0, math.inf, False
        self.liars: Set[Console] = set()  # are somebody else

    def failed(self, console: Console, error: VanError) -> None:
        """Returns when it is time for the next try, or raises the error."""
        transport, count = self.transport, len(self.transport.consoles)
        if isinstance(error, TlsError):
            self.liars.add(console)
        if not self._may_go_on(error):
            raise error
        if self.changes and (getattr(error, "maybe_done", False) or _is_uncertain(error)):
            self.maybe_done = True
        elsewhere = not isinstance(error, ProblemError) or error.status >= 500
        if elsewhere:
            transport.fail_over(console)
        if not self.failures:
            self.give_up = time.monotonic() + self.patience_s
        self.failures += 1
        rounds, left = divmod(self.failures, count)
        wait_s = 0.0
        if not elsewhere or not left:
            wait_s = max(getattr(error, "retry_after_s", 0.0), pause_s(rounds))
        if time.monotonic() + wait_s >= self.give_up or len(self.liars) == count:
            if self.maybe_done and not getattr(error, "maybe_done", False):  # by an earlier try
                raise UnreachableError(str(error), maybe_done=True) from error
            raise error
        log.info("%s; again in %.1f s", error, wait_s)
        wait_s = min(wait_s, self.end - time.monotonic())
        if wait_s > 0:
            transport.sleep(wait_s)

    def _may_go_on(self, error: VanError) -> bool:
        if isinstance(error, UnreachableError):
            return self.harmless or not error.maybe_done
        if not isinstance(error, ProblemError):
            return False
        if error.word == "request_in_flight" or error.status in (408, 429):
            return True  # it was not done, or is asked for again under the same key
        return error.status in (502, 503, 504) and (self.harmless or not _is_uncertain(error))


def _is_uncertain(error: VanError) -> bool:
    """It is open what became of the request; "blank": something in between has answered."""
    return isinstance(error, ProblemError) and error.status in (502, 503, 504) and \
        error.word in ("outcome_unknown", "blank")


class Transport:
    """May be used by several threads at once."""

    def __init__(self, consoles: Sequence[str], key: str, *, pin: Optional[str], ca_file: Optional[str],
                 organization: Optional[str], timeout_s: float, patience_s: float,
                 danger_verify_nothing: bool):
        self.consoles = [Console(url) for url in consoles]
        if not self.consoles:
            raise ValueError("no console is given")
        if not key or not key.isascii() or not key.isprintable() or " " in key:
            raise ValueError("the API key is empty or damaged")  # and is not shown
        self._pins = parse_pins(pin) if pin else frozenset()
        self._context = make_context(bool(pin), ca_file, danger_verify_nothing)
        self._headers = {"Authorization": "Bearer " + key, "User-Agent": "vanapi/" + VERSION}
        if organization:
            self._headers["VAN-Organization"] = organization
        self.timeout_s, self.patience_s = timeout_s, patience_s
        self._current = 0
        self._lock = threading.Lock()
        self.sleep = time.sleep

    # -- connections

    @property
    def current(self) -> Console:
        return self.consoles[self._current]

    def connect(self, console: Console, timeout_s: float) -> Connection:
        connection = Connection(console, self._context, self._pins, timeout_s)
        connection.connect()
        return connection

    def _take(self, console: Console) -> Connection:
        while True:
            with self._lock:
                connection = console.idle.pop() if console.idle else None
            if not connection:
                return self.connect(console, self.timeout_s)
            if connection.is_fresh():
                return connection
            connection.close()

    def _give_back(self, connection: Connection) -> None:
        connection.idle_since = time.monotonic()
        with self._lock:
            if len(connection.console.idle) < IDLE_MAX:
                connection.console.idle.append(connection)
                return
        connection.close()

    def close(self) -> None:
        """Ends the connections that are idle; a further request makes new ones."""
        for console in self.consoles:
            while console.idle:
                console.idle.pop().close()

    def fail_over(self, console: Console) -> None:
        """That one did not answer: the next is asked, unless somebody has moved on already."""
        with self._lock:
            if self.current is console:
                self._current = (self._current + 1) % len(self.consoles)
            idle, console.idle = console.idle, []
        for connection in idle:
            connection.close()

    # -- requests

    def headers(self) -> Dict[str, str]:
        return {**self._headers, "X-Request-Id": uuid.uuid4().hex}

    def call(self, method: str, path: str, *, query: Optional[Mapping[str, Any]] = None,
             body: Any = None, match: Optional[str] = None, patience_s: Optional[float] = None) -> Answer:
        """One request, tried until there is an answer to keep. ProblemError for 400 and above."""
        target, headers, data = target_of(path, query), self.headers(), None
        if body is not None:
            data = json.dumps(body).encode()
            headers["Content-Type"] = "application/merge-patch+json" if method == "PATCH" \
                else "application/json"
        if method == "POST":
            headers["Idempotency-Key"] = uuid.uuid4().hex
        if match:
            headers["If-Match"] = match
        tries = Tries(self, method, patience_s)
        while True:
            console = self.current
            try:
                answer = self._try(console, method, target, data, headers)
                if answer.status < 400:
                    return answer
                raise problem_of(answer.status, answer.headers, answer.body)
            except (UnreachableError, ProblemError) as e:
                tries.failed(console, e)

    def _try(self, console: Console, method: str, target: str, data: Optional[bytes],
             headers: Dict[str, str]) -> Answer:
        started = time.monotonic()
        connection = self._take(console)
        try:
            connection.request(method, target, body=data, headers=headers)
            response = connection.getresponse()
            body = self._read(response, started + 2 * self.timeout_s)
        except (OSError, http.client.HTTPException) as e:
            connection.close()
            text = "it does not answer in time" if isinstance(e, socket.timeout) else str(e) or repr(e)
            raise UnreachableError(f"{method} {target}: no whole answer from {console.url}: {text}",
                                   maybe_done=method != "GET") from e
        except BaseException:
            connection.close()
            raise
        log.debug("%s %s%s: %d, %.0f ms", method, console.url, target, response.status,
                  1000 * (time.monotonic() - started))
        if response.will_close:
            connection.close()
        else:
            self._give_back(connection)
        if not 200 <= response.status < 300 and response.status < 400:
            raise ProtocolError(f"{console.url} answers with status {response.status}")
        return Answer(response.status, response.headers, body)

    @contextlib.contextmanager
    def stream(self, console: Console, target: str, headers: Mapping[str, str],
               timeout_s: float) -> Iterator[Tuple[socket.socket, http.client.HTTPResponse]]:
        """A GET whose answer is read as it comes, on a connection of its own."""
        connection, response = self.connect(console, timeout_s), None
        sock = connection.sock  # of which the connection may let go
        try:
            connection.request("GET", target, headers={**self.headers(), **headers})
            response = connection.getresponse()
            if response.status >= 400:
                raise problem_of(response.status, response.headers,
                                 self._read(response, time.monotonic() + timeout_s))
            if response.status != 200:
                raise ProtocolError(f"{console.url} answers with status {response.status}")
            log.debug("GET %s%s: %d", console.url, target, response.status)
            yield sock, response
        except (OSError, http.client.HTTPException) as e:
            raise UnreachableError(f"GET {target}: {console.url} is silent or gone: {e!r}") from e
        finally:
            if response:
                response.close()
            connection.close()
            sock.close()

    @staticmethod
    def _read(response: http.client.HTTPResponse, until: float) -> bytes:
        parts, size = [], 0
        while True:
            part = response.read(1 << 16)
            if not part:
                break
            parts.append(part)
            size += len(part)
            if size > BODY_MAX:
                raise ProtocolError("the answer is too large")
            if time.monotonic() > until:
                raise socket.timeout()
        # read() in parts does not complain, nor does it of a head that is cut off.
        if response.length or (response.length is None and not response.chunked):
            raise http.client.IncompleteRead(b"", response.length)
        return b"".join(parts)


def target_of(path: str, query: Optional[Mapping[str, Any]]) -> str:
    """Path and query; values of None are left out."""
    words = {name: text_of(value) for name, value in (query or {}).items() if value is not None}
    return path + ("?" + urllib.parse.urlencode(words) if words else "")


def text_of(value: Any) -> str:
    """A value as queries have it."""
    if value is True or value is False:
        return "true" if value else "false"
    if isinstance(value, Mapping):  # labels
        return ",".join(f"{k}={v}" for k, v in value.items())
    if isinstance(value, (list, tuple, set, frozenset)):
        return ",".join(text_of(v) for v in value)
    if isinstance(value, datetime.datetime):
        return value.astimezone(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    return str(value)
