"""A request with everything known about it before the cache is asked."""

from __future__ import annotations

from dataclasses import dataclass

from edgeproxy.cloudfront.deployment import Chosen
from edgeproxy.edge.hop import HopRequest
from edgeproxy.edge.invalidation import Floor
from edgeproxy.edge.node import Serving
from edgeproxy.edge.present import Presenter, Trace
from edgeproxy.message import Client, Incoming, RequestHead
from edgeproxy.model import AsOf, Behavior, Distribution, Origin
from edgeproxy.rules.routing import Route
from edgeproxy.upstream.client import Begun


@dataclass(slots=True)
class Sending:
    """The moment in which an origin is asked."""

    as_of: AsOf
    requested_at: float
    """On the wall clock, seconds."""
    offset: float
    """By how much that is ahead of the origin's."""
    begun: Begun | None = None
    """The request, where it is out already (shortcut.py)."""


@dataclass(slots=True)
class Ask:
    """One request on its way through the pipeline. Its configuration is the one that stood when its head arrived."""

    incoming: Incoming
    request: RequestHead
    """As the viewer sent it, without internal fields; the default root object is in place."""
    client: Client
    """The viewer, whoever brought the request here."""
    serving: Serving
    distribution: Distribution
    behavior: Behavior
    origin: Origin
    route: Route
    upgrade: bool
    resource: bytes
    """The name of what it is about, for generations."""
    key: bytes
    generation: int
    """Of the resource, when the head arrived: what is stored under another one is unusable."""
    floor: Floor
    hop: HopRequest | None
    request_id: str
    presenter: Presenter
    trace: Trace
    deployed: Chosen | None = None
    """What a continuous deployment policy decided, where the viewer asked for a primary that has one."""
    owner: int | None = None
    """The worker that owns the key, when it is not this one."""
    follows: bool = False
    """The fetch it waits for is led by another request."""
    learned: bool = False
    """What it wants several parts of has been asked for the first of them."""
    underway: Sending | None = None
    """The request to the origin is out, and nobody waits for its answer yet."""
    retried: bool = False
    """A fetch that this request waited for has failed, and the one time it may wait for another is taken."""

    @property
    def carried(self) -> AsOf | None:
        """What the tier that asks had applied."""
        return None if self.hop is None else self.hop.applied

    @property
    def refresh(self) -> bool:
        """The tier that asks will not have our own copy."""
        return self.hop is not None and self.hop.refresh

    @property
    def current(self) -> bool:
        """The tier that asks will not have a stale answer while a fresh one can be had."""
        return self.hop is not None and self.hop.current
