# SPDX-License-Identifier: Apache-2.0
"""What can go wrong. Everything here is a VanError."""
from __future__ import annotations

import email.utils
import json
import time
from email.message import Message
from typing import Any, Dict, List, NamedTuple, Optional


class VanError(Exception):
    """Whatever this package raises, but for wrong arguments (ValueError, TypeError)."""


class UnreachableError(VanError):
    """No console gave a whole answer. With maybe_done it may have carried the request out: look."""

    def __init__(self, text: str, maybe_done: bool = False):
        super().__init__(text + ("; whether it was done is not known" if maybe_done else ""))
        self.maybe_done = maybe_done


class TlsError(UnreachableError):
    """What answers is not the console: it has another key than the pin says, or a certificate that
    is not trusted. Nothing was sent to it, the API key neither."""


class ProtocolError(VanError):
    """The answer is none that a console gives."""


class FieldError(NamedTuple):
    """A member of the request's body that is wrong."""
    pointer: str  # JSON pointer (RFC 6901)
    detail: str


class ProblemError(VanError):
    """The console refuses, and says why (RFC 9457)."""

    def __init__(self, status: int, members: Dict[str, Any], retry_after_s: float = 0.0):
        self.status = status
        self.retry_after_s = retry_after_s  # 0: the console does not say
        self.members = members  # the whole document
        self.type = str(members.get("type", "about:blank"))  # urn:van:error:WORD
        self.title = str(members.get("title", ""))
        self.detail = str(members.get("detail", ""))  # what to do
        self.request_id: Optional[str] = members.get("request_id")  # as in the console's log
        self.errors: List[FieldError] = [FieldError(str(e.get("pointer")), str(e.get("detail")))
                                         for e in members.get("errors") or []]
        lines = [f"{status} {self.word}: {self.detail or self.title}"]
        lines += [f"{e.pointer}: {e.detail}" for e in self.errors if e.detail != self.detail]
        super().__init__("; ".join(lines))

    @property
    def word(self) -> str:
        """The type without its prefix: "name_taken"."""
        return self.type.rsplit(":", 1)[-1]


class InvalidError(ProblemError):
    """400 and the like: the request is wrong; .errors has every bad member."""


class AuthenticationError(ProblemError):
    """401: the key is unknown, expired or disabled."""


class DeniedError(ProblemError):
    """403: the key's role may not do this."""


class NotFoundError(ProblemError):
    """404: there is none, or it is another organization's."""


class ConflictError(ProblemError):
    """409: something else is in the way: name_taken, address_taken, …; .word says which."""


class GoneError(ProblemError):
    """410."""


class StaleError(ProblemError):
    """412: the object has changed since it was read: refresh() it, and look again; or use edit()."""


class BusyError(ProblemError):
    """429: more requests than allowed, for longer than the client had patience."""


class UnavailableError(ProblemError):
    """5xx: the console cannot do it now, and could not within the client's patience."""


_CLASSES = {401: AuthenticationError, 403: DeniedError, 404: NotFoundError, 409: ConflictError,
            410: GoneError, 412: StaleError, 429: BusyError}


def _retry_after_s(text: str) -> float:
    if text.isdigit():
        return float(text)
    try:  # or a date, by RFC 9110
        return max(0.0, email.utils.parsedate_to_datetime(text).timestamp() - time.time())
    except (TypeError, ValueError):
        return 0.0


def problem_of(status: int, headers: Message, body: bytes) -> ProblemError:
    """The exception for an answer of 400 and above."""
    members: Any = None
    if (headers.get("Content-Type") or "").startswith("application/problem+json"):
        try:
            members = json.loads(body)
        except ValueError:
            pass
    if not isinstance(members, dict):  # something between us and the console answers
        members = {"detail": "the answer is no problem document: is this a VAN console?"}
    kind = _CLASSES.get(status, UnavailableError if status >= 500 else InvalidError)
    return kind(status, members, _retry_after_s(headers.get("Retry-After") or ""))
