# SPDX-License-Identifier: Apache-2.0
"""What the console keeps, and the lists that it is in.

The members of objects and what they mean are in the console's own document, /api/openapi.json; here is
what can be done with them. Where a create() takes **more, its text names what else may be set.
"""
from __future__ import annotations

import random
from typing import Any, Callable, Dict, Generic, Iterator, Mapping, Optional, Sequence, Type, TypeVar

from .errors import ProtocolError, StaleError
from .stats import Stats, Time, read_stats
from .transport import Transport, quote

PAGE_SIZE = 500
EDIT_TRIES = 10


class Object(Mapping[str, Any]):
    """An object of the console as it was when it was read: its members by name, read-only."""

    def __init__(self, transport: Transport, path: str, members: Dict[str, Any]):
        self._transport, self._path, self._members = transport, path, members

    def __getitem__(self, name: str) -> Any:
        return self._members[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._members)

    def __len__(self) -> int:
        return len(self._members)

    def __repr__(self) -> str:  # no more than that: it may hold a token or a key
        words = (type(self).__name__, self.get("name"), self.get("id"))
        return f"<{' '.join(str(word) for word in words if word)}>"

    @property
    def revision(self) -> int:
        """Another one after each change. update() and delete() are for the object of this one only."""
        return int(self["revision"])

    def refresh(self) -> None:
        """Reads it again."""
        self._members = read_object(self._transport.call("GET", self._path).json())

    def _change(self, method: str, query: Optional[Mapping[str, Any]] = None, body: Any = None) -> Any:
        return self._transport.call(method, self._path, query=query, body=body,
                                    match=f'"{self.revision}"').json()


class Deletable(Object):
    def delete(self) -> None:
        """Removes it: revokes a token or a key, takes a member out of its network. StaleError when it
        has changed since it was read."""
        self._change("DELETE")


C = TypeVar("C", bound="Changeable")


class Changeable(Object):
    def update(self: C, **members: Any) -> C:
        """Changes these members and no others; None resets one to its default. Objects within, such as
        labels, are merged (RFC 7396): labels={"a": "1", "b": None} sets a and removes b. StaleError when
        it has changed since it was read."""
        self._members = read_object(self._change("PATCH", body=members))
        return self

    def edit(self: C, change: Callable[[C], Optional[Mapping[str, Any]]]) -> C:
        """Read, modify, write: change(object) gives what update() shall set, or nothing. When somebody
        else was quicker it is asked again, with the object as it is by then."""
        for tries in range(1, EDIT_TRIES + 1):
            members = change(self)
            if not members:
                break
            try:
                return self.update(**members)
            except StaleError:
                if tries == EDIT_TRIES:
                    raise
            self._transport.sleep(random.uniform(0, 0.01 * 2 ** min(tries, 6)))
            self.refresh()
        return self


def read_object(o: Any) -> Dict[str, Any]:
    if not isinstance(o, dict):
        raise ProtocolError("the answer is no object: is this a VAN console?")
    return o


def read_list(transport: Transport, path: str, sort: Optional[str],
              filters: Mapping[str, Any]) -> Iterator[Dict[str, Any]]:
    query = {"limit": PAGE_SIZE, "sort": sort, **filters}
    while True:
        page = read_object(transport.call("GET", path, query=query).json())
        if not isinstance(page.get("items"), list):
            raise ProtocolError(f"the answer to {path} is no list")
        yield from page["items"]
        if page.get("next") is None:
            return
        if page["next"] == query.get("cursor"):
            raise ProtocolError(f"the list at {path} does not end")
        query["cursor"] = page["next"]


class Listing:
    """What can only be listed, as plain dicts: events, the audit trail, candidates."""

    def __init__(self, transport: Transport, path: str):
        self._transport, self._path = transport, path

    def list(self, *, sort: Optional[str] = None, **filters: Any) -> Iterator[Dict[str, Any]]:
        """All rows, as they are read, page by page; see Collection.list()."""
        return read_list(self._transport, self._path, sort, filters)


O = TypeVar("O", bound=Object)


class Collection(Generic[O]):
    """Objects of one kind."""
    kind: Type[O]

    def __init__(self, transport: Transport, path: str):
        self._transport, self._path = transport, path

    def list(self, *, sort: Optional[str] = None, **filters: Any) -> Iterator[O]:
        """All of them, read page by page as they are asked for.

        sort: a member, "-member" for the other way round. filters: by the exact value of a member,
        label={"env": "prod"} by labels. The console refuses what it does not know (InvalidError)."""
        for o in read_list(self._transport, self._path, sort, filters):
            yield self._object(o)

    def get(self, ref: str) -> O:
        """One, by its id or name."""
        return self._object(self._transport.call("GET", f"{self._path}/{quote(ref)}").json())

    def _object(self, o: Any) -> O:
        return self.kind(self._transport, f"{self._path}/{quote(read_object(o)['id'])}", o)

    def _post(self, members: Mapping[str, Any], **query: Any) -> O:
        return self._object(self._transport.call("POST", self._path, query=query, body=members).json())


# -- organizations, users, keys

class Organization(Changeable, Deletable):
    """A tenant: what belongs to one does not exist for another."""


class Organizations(Collection[Organization]):
    kind = Organization

    def create(self, name: str, **more: Any) -> Organization:
        """more: description, limits."""
        return self._post({"name": name, **more})


class User(Changeable, Deletable):
    """An owner of API keys."""


class Users(Collection[User]):
    kind = User

    def create(self, name: str, role: str, **more: Any) -> User:
        """role: "viewer", "operator" or "admin". more: full_name, disabled."""
        return self._post({"name": name, "role": role, **more})


class Key(Deletable):
    """An API key; delete() revokes it at once."""


class Keys(Collection[Key]):
    kind = Key

    def create(self, name: str, role: str, **more: Any) -> Key:
        """Its member "key" is the text of the key, here and never again. more: user (id or name), and
        ttl_s or expires_at."""
        return self._post({"name": name, "role": role, **more})


# -- what is in a network

class Token(Deletable):
    """A join token; delete() revokes it, it stays in the list."""


class Tokens(Collection[Token]):
    """Those of all networks; Network.issue_token() makes one."""
    kind = Token


class Member(Changeable, Deletable):
    """A node in a network."""

    def stats(self, resolution: str = "10s", *, start: Optional[Time] = None, end: Optional[Time] = None,
              metrics: Sequence[str] = ()) -> Stats:
        """What it sent and received in this network; see Network.stats()."""
        return read_stats(self._transport, self._path, resolution, start, end, metrics)


class Members(Collection[Member]):
    kind = Member

    def add(self, node: str, **more: Any) -> Member:
        """Puts an enrolled node (id or name) into the network. more: address."""
        return self._post({"node": node, **more})


class Reservation(Changeable, Deletable):
    """Addresses that are not handed out."""


class Reservations(Collection[Reservation]):
    kind = Reservation

    def create(self, address: str, **more: Any) -> Reservation:
        """address: one, a range FIRST-LAST or a prefix. more: node (a name) or name, note."""
        return self._post({"address": address, **more})


class Gateway(Changeable, Deletable):
    """A member that offers external networks to all others."""


class Gateways(Collection[Gateway]):
    kind = Gateway

    def create(self, node: str, prefixes: Sequence[str], **more: Any) -> Gateway:
        """more: name, mode, metric, enabled, health, note."""
        return self._post({"node": node, "prefixes": prefixes, **more})


class FloatingIp(Changeable, Deletable):
    """An address that moves between nodes."""


class FloatingIps(Collection[FloatingIp]):
    kind = FloatingIp

    def create(self, address: str, **more: Any) -> FloatingIp:
        """more: name, candidates, assigned, vrid, note."""
        return self._post({"address": address, **more})


class Confirmable(Changeable):
    """A part of the cloak. What restricts is taken back unless Cloak.confirm() comes within
    confirm_within_s (the console's default: 120; 0: it is final at once)."""

    def update(self: C, *, confirm_within_s: Optional[int] = None, **members: Any) -> C:
        query = {"confirm_within_s": confirm_within_s}
        self._members = read_object(self._change("PATCH", query, members))
        return self


class Cloak(Confirmable):
    """The packet filter of the members towards the Internet: state, scope, keep_ssh."""

    def confirm(self) -> None:
        """Keeps the change that is pending."""
        self._members = read_object(self._transport.call("POST", self._path + "/confirm").json())


class CloakRule(Confirmable):
    def delete(self, *, confirm_within_s: Optional[int] = None) -> None:
        """Removes it. StaleError when it has changed since it was read."""
        self._change("DELETE", {"confirm_within_s": confirm_within_s})


class CloakRules(Collection[CloakRule]):
    """In the order that they are looked at."""
    kind = CloakRule

    def create(self, action: str, *, confirm_within_s: Optional[int] = None, **more: Any) -> CloakRule:
        """action: "allow" or "deny". more: priority, protocol, ports, source, interface, node, note."""
        return self._post({"action": action, **more}, confirm_within_s=confirm_within_s)


class Network(Changeable, Deletable):
    """A private Ethernet, with all that is defined in it."""

    @property
    def members(self) -> Members:
        return Members(self._transport, self._path + "/nodes")

    @property
    def reservations(self) -> Reservations:
        return Reservations(self._transport, self._path + "/reservations")

    @property
    def gateways(self) -> Gateways:
        return Gateways(self._transport, self._path + "/gateways")

    @property
    def gateway_candidates(self) -> Listing:
        """Members that reported external networks."""
        return Listing(self._transport, self._path + "/gateway-candidates")

    @property
    def floating_ips(self) -> FloatingIps:
        return FloatingIps(self._transport, self._path + "/floating-ips")

    @property
    def cloak_rules(self) -> CloakRules:
        return CloakRules(self._transport, self._path + "/cloak/rules")

    def cloak(self) -> Cloak:
        path = self._path + "/cloak"
        return Cloak(self._transport, path, read_object(self._transport.call("GET", path).json()))

    def issue_token(self, *, uses: int = 1, ttl_s: int = 3600, ephemeral_s: int = 0) -> Token:
        """A join token; its member "token" is the text, here and never again. ephemeral_s: nodes that
        join by it are removed when they were not heard of for so long."""
        return issue(self._transport, self._path + "/tokens",
                     {"uses": uses, "ttl_s": ttl_s, "ephemeral_s": ephemeral_s})

    def stats(self, resolution: str = "10s", *, start: Optional[Time] = None, end: Optional[Time] = None,
              metrics: Sequence[str] = ()) -> Stats:
        """What its nodes sent and received, in slots of "1s" (the last 15 minutes), "10s" (6 hours),
        "1m" (2 days) or "10m" (30 days). metrics: the columns that are wanted; none given: all."""
        return read_stats(self._transport, self._path, resolution, start, end, metrics)


class Networks(Collection[Network]):
    kind = Network

    def create(self, name: str, cidr: str, **more: Any) -> Network:
        """more: cidr6, encryption, mtu, require_approval, labels."""
        return self._post({"name": name, "cidr": cidr, **more})


# -- nodes

class Node(Changeable, Deletable):
    """A machine. It comes by enrolling with a token, and is in networks as their Member."""

    def rekey(self, *, ttl_s: int = 3600) -> Token:
        """A token by which this node alone may enrol once more, with new keys."""
        return issue(self._transport, self._path + "/rekey", {"ttl_s": ttl_s})

    def stats(self, resolution: str = "10s", *, start: Optional[Time] = None, end: Optional[Time] = None,
              metrics: Sequence[str] = (), include: Sequence[str] = ()) -> Stats:
        """All that it sent, received and dropped. include: "networks", "peers", "drops", which fills
        the members of these names. See Network.stats()."""
        return read_stats(self._transport, self._path, resolution, start, end, metrics, include)


class Nodes(Collection[Node]):
    kind = Node


def issue(transport: Transport, path: str, body: Mapping[str, Any]) -> Token:
    o = read_object(transport.call("POST", path, body=body).json())
    return Token(transport, f"/api/v1/tokens/{quote(o['id'])}", o)
