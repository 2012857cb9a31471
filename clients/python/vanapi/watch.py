# SPDX-License-Identifier: Apache-2.0
"""GET /api/v1/watch: server-sent events, gone on with after a break.

The events of one transaction come without an id but for the last. They are held back until that one is
there, so that a stream that breaks in between tells each of them once.
"""
from __future__ import annotations

import contextlib
import http.client
import json
import math
import time
from typing import Any, Dict, Generator, List, NamedTuple, Optional, Tuple

from .errors import GoneError, ProblemError, ProtocolError, UnreachableError
from .transport import Console, Transport, Tries, target_of

SILENCE_MAX_S = 45    # the console says something every 15 s
STEADY_S = 5          # a connection that has lasted so long was a good one
LINE_MAX = 16 << 20   # bytes
EVENTS_MAX = 200_000  # of one transaction


class Event(NamedTuple):
    """Something changed.

    type is "created", "updated" or "deleted"; or "sync": from here on every change is told, and nothing
    is known of what was before: list what you keep a copy of. It comes first, unless `since` was given,
    and again whenever the console does not remember back to where the stream broke.
    """
    type: str
    kind: str = ""                           # "network", "node", "member", "event", …
    id: str = ""
    network: Optional[str] = None            # id of the network that it belongs to
    object: Optional[Dict[str, Any]] = None  # as a GET shows it; None: it is gone
    place: str = ""                          # watch(since=…) goes on after this event


def watch(transport: Transport, kinds: Any, since: Optional[str],
          for_s: Optional[float]) -> Generator[Event, None, None]:
    tries, place = Tries(transport, "GET"), since
    tries.end = math.inf if for_s is None else time.monotonic() + for_s
    target = target_of("/api/v1/watch", {"kind": kinds})
    while time.monotonic() < tries.end:
        console, began = transport.current, time.monotonic()
        try:
            with contextlib.closing(_steps(transport, console, target, place, tries.end)) as steps:
                for place, event in steps:
                    if time.monotonic() - began > STEADY_S:
                        tries.succeeded()
                    if event:
                        yield event
        except GoneError:
            if place is None:
                raise
            place = None
        except (UnreachableError, ProblemError) as e:
            if time.monotonic() < tries.end:
                tries.failed(console, e)


def _steps(transport: Transport, console: Console, target: str, place: Optional[str],
           end: float) -> Generator[Tuple[str, Optional[Event]], None, None]:
    """One connection: pairs of a place to go on from and an event, or nothing but the place."""
    headers = {"Accept": "text/event-stream", **({"Last-Event-ID": place} if place else {})}
    held: List[Event] = []
    with transport.stream(console, target, headers, _wait_s(transport.timeout_s, end)) as (sock, response):
        while True:
            sock.settimeout(_wait_s(SILENCE_MAX_S, end))
            fields = _block(response)
            if fields.get("event") == "gone":
                raise GoneError(410, {"detail": "events came faster than they were read"})
            if "data" in fields:
                held.append(_event(fields["data"], place or ""))
                if len(held) > EVENTS_MAX:
                    raise ProtocolError("the console tells of a change without end")
            if "id" not in fields:
                continue
            if place is None:
                yield fields["id"], Event("sync", place=fields["id"])
            place = fields["id"]
            for event in held[:-1]:
                yield event.place, event
            yield place, held[-1]._replace(place=place) if held else None
            held = []


def _wait_s(most_s: float, end: float) -> float:
    return max(0.001, min(most_s, end - time.monotonic() + 0.005))


def _block(response: http.client.HTTPResponse) -> Dict[str, str]:
    """The fields up to the next empty line (WHATWG HTML §9.2.6); comments are left out."""
    fields: Dict[str, str] = {}
    while True:
        line = response.readline(LINE_MAX)
        if len(line) >= LINE_MAX:
            raise ProtocolError("the console sends a line without end")
        if not line.endswith(b"\n"):
            raise ConnectionError("the stream ended")
        name, _, value = line.decode("utf-8", "replace").rstrip("\r\n").partition(":")
        if not line.strip(b"\r\n"):
            return fields
        if name:
            fields[name] = value[1:] if value.startswith(" ") else value


def _event(text: str, place: str) -> Event:
    try:
        o = json.loads(text)
        return Event(o["type"], o["kind"], o["id"], o["network"], o["object"], place)
    except (ValueError, KeyError, TypeError) as e:
        raise ProtocolError(f"an event that is none: {text[:200]!r}") from e
