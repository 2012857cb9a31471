# SPDX-License-Identifier: Apache-2.0
"""connect(), and what there is at the top."""
from __future__ import annotations

import os
import warnings
from typing import Any, Dict, Generator, List, Optional, Sequence, Union

from .errors import ProblemError, UnreachableError
from .objects import Keys, Listing, Networks, Nodes, Organizations, Tokens, Users, read_object
from .transport import Transport, quote
from .watch import Event, watch


class Topologies:
    """Whole definitions of networks as documents (docs/topology.md)."""

    def __init__(self, transport: Transport):
        self._transport = transport

    def export(self, network: str) -> Dict[str, Any]:
        """The document of one network, by id or name."""
        return read_object(self._transport.call("GET", f"/api/v1/networks/{quote(network)}/topology").json())

    def diff(self, document: Dict[str, Any], *, name: Optional[str] = None) -> List[Dict[str, Any]]:
        """What apply() would do: for each network its "changes", "missing", "warnings"."""
        return self._post(document, name=name, dry_run=True)

    def apply(self, document: Dict[str, Any], *, name: Optional[str] = None,
              confirm_within_s: Optional[int] = None) -> List[Dict[str, Any]]:
        """Makes networks as the document says, a single one under another name on request."""
        return self._post(document, name=name, confirm_within_s=confirm_within_s)

    def _post(self, document: Dict[str, Any], **query: Any) -> List[Dict[str, Any]]:
        answer = self._transport.call("POST", "/api/v1/topologies", query=query, body=document)
        return list(read_object(answer.json())["networks"])


class Client:
    """A console, or several of one mesh, as one API key sees them. Made by connect()."""

    def __init__(self, transport: Transport):
        self._transport = transport
        self.organizations = Organizations(transport, "/api/v1/organizations")
        self.users = Users(transport, "/api/v1/users")
        self.keys = Keys(transport, "/api/v1/keys")
        self.networks = Networks(transport, "/api/v1/networks")
        self.tokens = Tokens(transport, "/api/v1/tokens")
        self.nodes = Nodes(transport, "/api/v1/nodes")
        self.events = Listing(transport, "/api/v1/events")
        self.audit = Listing(transport, "/api/v1/audit")
        self.topologies = Topologies(transport)

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()

    def close(self) -> None:
        self._transport.close()

    def whoami(self) -> Dict[str, Any]:
        """What the key may do, and in which organization."""
        return read_object(self._transport.call("GET", "/api/v1/whoami").json())

    def console(self) -> Dict[str, Any]:
        """Which console this is: id, mesh, version, public_url, pin."""
        return read_object(self._transport.call("GET", "/api/v1/console").json())

    def openapi(self) -> Dict[str, Any]:
        """The console's description of its API."""
        return read_object(self._transport.call("GET", "/api/openapi.json").json())

    def metrics(self) -> str:
        """Totals in the text format of Prometheus."""
        return self._transport.call("GET", "/metrics").body.decode()

    def is_alive(self) -> bool:
        """Whether the console that is in use answers at all; asked once."""
        return self._is_well("/healthz")

    def is_ready(self) -> bool:
        """Whether its store answers too; asked once."""
        return self._is_well("/readyz")

    def _is_well(self, path: str) -> bool:
        try:
            return self._transport.call("GET", path, patience_s=0).status == 200
        except (ProblemError, UnreachableError):
            return False

    def watch(self, kinds: Sequence[str] = (), *, since: Optional[str] = None,
              for_s: Optional[float] = None) -> Generator[Event, None, None]:
        """What changes, as it happens, without end or for so many seconds; see Event.

        To keep a copy that stays right: whenever the type is "sync" list everything, and apply what
        comes after that. A break is mended, and each change is told once. kinds: of these only."""
        return watch(self._transport, kinds or None, since, for_s)


def connect(console: Union[None, str, Sequence[str]] = None, *, key: Optional[str] = None,
            key_file: Optional[str] = None, pin: Optional[str] = None, ca_file: Optional[str] = None,
            organization: Optional[str] = None, timeout_s: float = 30, patience_s: float = 60,
            danger_verify_nothing: bool = False) -> Client:
    """A client; it connects when it has something to ask.

    What is not given comes from the environment, as for vanctl: VAN_CONSOLE (https://HOST:PORT, several
    with commas between), VAN_KEY_FILE or VAN_KEY, VAN_PIN, VAN_CA, VAN_ORG.

    pin: "sha256//BASE64" of the consoles' keys, several joined by ";". ca_file: who signed their
    certificates, PEM. With neither, the system's CAs are asked. danger_verify_nothing: whoever answers is
    taken for the console, and gets the API key.

    timeout_s: how long connecting may take, and silence; an answer may take twice as long in all.
    patience_s: for how long a request that failed, or a watch that broke, is tried again where that is safe.
    """
    environment = os.environ.get
    urls = console or environment("VAN_CONSOLE") or ""
    if not (pin or ca_file or danger_verify_nothing):
        pin, ca_file = environment("VAN_PIN"), environment("VAN_CA")
    if key and key_file:
        raise ValueError("give key or key_file")
    if not (key or key_file):
        key_file, key = environment("VAN_KEY_FILE"), environment("VAN_KEY")
    if key_file:
        key = _read_key(key_file)
    if not urls or not key:
        raise ValueError("set VAN_CONSOLE, and VAN_KEY_FILE or VAN_KEY, or give console and key_file")
    return Client(Transport(
        [u.strip() for u in urls.split(",")] if isinstance(urls, str) else urls, key, pin=pin,
        ca_file=ca_file, organization=organization or environment("VAN_ORG"),
        timeout_s=timeout_s, patience_s=patience_s, danger_verify_nothing=danger_verify_nothing))


def _read_key(path: str) -> str:
    with open(path, encoding="ascii", errors="replace") as f:
        if os.name == "posix" and os.fstat(f.fileno()).st_mode & 0o077:
            warnings.warn(f"vanapi: others may read the API key in {path}: chmod 600", stacklevel=3)
        return f.read(4096).strip()
