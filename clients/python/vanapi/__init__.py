# SPDX-License-Identifier: Apache-2.0
"""Client of console-api, the registry of VAN networks.

    import vanapi

    with vanapi.connect() as van:  # VAN_CONSOLE, VAN_KEY_FILE and VAN_PIN in the environment
        net = van.networks.create("prod", "172.16.1.0/24")
        token = net.issue_token(uses=3)["token"]
        for node in van.nodes.list(online=True, sort="-last_seen"):
            print(node["name"], node["teps"])
        net.update(mtu=1400)
"""
from .client import Client, Topologies, connect
from .errors import (AuthenticationError, BusyError, ConflictError, DeniedError, FieldError, GoneError,
                     InvalidError, NotFoundError, ProblemError, ProtocolError, StaleError, TlsError,
                     UnavailableError, UnreachableError, VanError)
from .objects import (Changeable, Cloak, CloakRule, Collection, Deletable, FloatingIp, Gateway, Key,
                      Listing, Member, Network, Node, Object, Organization, Reservation, Token, User)
from .stats import Stats
from .version import VERSION as __version__
from .watch import Event

__all__ = [
    "AuthenticationError", "BusyError", "Changeable", "Client", "Cloak", "CloakRule", "Collection",
    "ConflictError", "Deletable", "DeniedError", "Event", "FieldError", "FloatingIp", "Gateway",
    "GoneError", "InvalidError", "Key", "Listing", "Member", "Network", "Node", "NotFoundError", "Object",
    "Organization", "ProblemError", "ProtocolError", "Reservation", "StaleError", "Stats", "TlsError",
    "Token", "Topologies", "UnavailableError", "UnreachableError", "User", "VanError", "connect",
    "__version__",
]
