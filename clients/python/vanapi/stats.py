# SPDX-License-Identifier: Apache-2.0
"""Statistics, in columns (docs/statistics.md)."""
from __future__ import annotations

import datetime
from typing import Any, Dict, Iterator, List, Mapping, NamedTuple, Optional, Sequence, Tuple, Union

from .errors import ProtocolError
from .transport import Transport

Time = Union[str, datetime.datetime]
Columns = Dict[str, List[Optional[float]]]


class Stats(NamedTuple):
    """Values by slot, the oldest first: what was counted in it, None where nothing is known."""
    start: datetime.datetime  # of the first slot, in UTC
    step_s: int
    columns: Columns
    networks: Dict[str, "Stats"] = {}  # of a node: by the network's name
    peers: Dict[str, "Stats"] = {}     # of a node: rtt_us, loss, probes by the peer's name
    drops: Columns = {}                # of a node: by reason

    def rows(self) -> Iterator[Tuple[datetime.datetime, Dict[str, Optional[float]]]]:
        """(begin of the slot, its values) of each slot."""
        for i, values in enumerate(zip(*self.columns.values())):
            yield self.start + datetime.timedelta(seconds=i * self.step_s), dict(zip(self.columns, values))


def read_stats(transport: Transport, path: str, resolution: str, start: Optional[Time],
               end: Optional[Time], metrics: Sequence[str], include: Sequence[str] = ()) -> Stats:
    query = {"resolution": resolution, "from": start, "to": end, "metrics": metrics or None,
             "include": include or None}
    o = transport.call("GET", path + "/stats", query=query).json()
    try:
        begin, step_s = _begin(o), o["step_s"]
        peers = o.get("peers") or {"items": []}
        return Stats(
            begin, step_s, o["columns"],
            {n["name"]: Stats(begin, step_s, n["columns"]) for n in o.get("networks") or ()},
            {p["name"]: Stats(_begin(peers), peers["step_s"], p["columns"]) for p in peers["items"]},
            o.get("drops") or {})
    except (KeyError, TypeError, ValueError) as e:
        raise ProtocolError(f"the answer is no statistics: {e!r}") from e


def _begin(o: Mapping[str, Any]) -> datetime.datetime:
    return datetime.datetime.strptime(o["start"], "%Y-%m-%dT%H:%M:%SZ").replace(
        tzinfo=datetime.timezone.utc)
