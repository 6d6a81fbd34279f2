"""What a node is, as far as a request needs to know. Made once by the assembly, replaced whole by a reload."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from edgeproxy.cloudfront.fields import REQUEST_ID_BYTES, request_id
from edgeproxy.cloudfront.hosts import Hosts
from edgeproxy.model import Mode, Rules
from edgeproxy.places.clients import UNPLACED, Clients
from edgeproxy.settings import Settings
from edgeproxy.upstream.client import Target


@dataclass(frozen=True, slots=True)
class NextTier:
    """The regional that is asked on a miss."""

    name: str
    target: Target
    region: str | None = None


@dataclass(frozen=True, slots=True)
class Place:
    """Where a worker stands. Nothing of it changes while the worker runs."""

    name: str
    mode: Mode
    region: str
    code: str
    worker: int = 0
    owners: tuple[Target, ...] = ()
    """How to reach each worker of this node; empty when there is only one."""
    shards: int = 16
    https_port: int | None = None
    """Where viewers find HTTPS, None when this node does not offer it."""
    test_clock: bool = False
    knows_origin: bool = True
    """False for a POP that was given nothing but its regional: everything goes there."""


@dataclass(frozen=True, slots=True)
class Serving:
    """What a worker serves at one moment: one reference that a reload swaps."""

    hosts: Hosts
    settings: Settings
    next_tier: NextTier | None
    default_rules: Rules
    """Of answers that belong to no distribution."""
    shields: Mapping[str, NextTier] = field(default_factory=dict)
    """The regionals of this CDN by region, for origins with a shield there."""
    clients: Clients = UNPLACED
    """Where viewers are."""


@dataclass(frozen=True, slots=True)
class Clocks:
    """The two clocks and the randomness, handed down from the assembly.

    `wall` moves with the test clock, `monotonic` never does; `offset` is by how much `wall` is ahead of real time.
    """

    wall: Callable[[], float]
    monotonic: Callable[[], float]
    offset: Callable[[], float]
    random_bytes: Callable[[int], bytes]

    def request_id(self) -> str:
        """One per request, the same at every tier."""
        return request_id(self.random_bytes(REQUEST_ID_BYTES))
