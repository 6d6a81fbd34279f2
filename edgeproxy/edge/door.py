"""What all connections of a listener share."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from edgeproxy.edge.http1 import Limits
from edgeproxy.edge.lane import Lane
from edgeproxy.edge.rtt import RoundTrips
from edgeproxy.edge.shortcut import Shortcut
from edgeproxy.message import Answer, Incoming, Peer
from edgeproxy.settings import Connections
from edgeproxy.telemetry.counters import Counters


@dataclass(slots=True)
class Door:
    """The way from viewers to the pipeline. Several listeners of a worker may share one, and its caps with it."""

    handle: Callable[[Incoming], Awaitable[Answer]]
    """The pipeline."""
    settings: Connections
    counters: Counters
    wall: Callable[[], float]
    """The node's wall clock, seconds."""
    monotonic: Callable[[], float]
    """The monotonic clock, seconds."""
    refuse: Callable[[int, str], Answer]
    """The answer to a request that the front door refuses by itself: status, sentence."""
    too_large_status: int = 431
    """What a head over its limit is answered with; 494 in cloudfront rules."""
    peer: Peer = Peer.VIEWER
    """Who connects here. Workers of this node are not capped, and not counted as viewers' connections."""
    trusted: Callable[[str], bool] = lambda address: False
    """Addresses that bring the requests of many clients, such as load balancers: not capped by themselves."""
    half_close: bool = True
    """Whoever ends its sending may still wait for its answer. Tiers and workers never do, but for a tunnel's sake."""
    lane: Lane | None = None
    """What connections may answer by themselves."""
    shortcut: Shortcut | None = None
    """What they may ask of origins without a task."""
    round_trips: RoundTrips | None = None
    """Where the round-trip times of connections go, if anywhere."""
    limits: Limits = field(init=False)
    admitted: Admission = field(init=False)

    def __post_init__(self) -> None:
        self.limits = Limits.of(self.settings, self.too_large_status)
        self.admitted = Admission(self)


class Admission:
    """Who is in, counted against the caps in all and for one address; no entry outlives its connections."""

    __slots__ = ("_door", "_of", "_open")

    def __init__(self, door: Door) -> None:
        self._door = door
        self._open = 0
        self._of: dict[str, int] = {}

    def enter(self, address: str) -> bool:
        """Let a connection in, unless that would exceed a cap. Whoever is let in must `leave`."""
        door, settings = self._door, self._door.settings
        mine = self._of.get(address, 0)
        if door.peer is not Peer.WORKER:
            crowded = mine >= settings.connections_per_client_max and not door.trusted(address)
            if crowded or self._open >= settings.connections_max:
                return False
        self._open += 1
        self._of[address] = mine + 1
        return True

    def leave(self, address: str) -> None:
        """A connection from this address is gone."""
        self._open -= 1
        left = self._of[address] - 1
        if left:
            self._of[address] = left
        else:
            del self._of[address]
