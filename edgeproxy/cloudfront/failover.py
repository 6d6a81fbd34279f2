"""When the second member of an origin group is asked (fact sheet 5.6)."""

from __future__ import annotations

from edgeproxy.errors import OriginError, OriginTimeout, OriginUnreachable
from edgeproxy.message import RequestHead
from edgeproxy.model import Behavior, Failover


def second_origin(request: RequestHead, behavior: Behavior) -> Failover | None:
    """What there is to fall back on for this request: nothing for methods that a group does not cover."""
    covered = request.method in ("GET", "HEAD") or (
        request.method == "OPTIONS" and request.method in behavior.cached_methods
    )
    return behavior.failover if covered else None


def stands_for(error: OriginError) -> int:
    """The status that a failure without an answer counts as: 503 for no connection, 504 for one that takes too long,
    to come about or to bring an answer.

    A name without an address and a failed TLS handshake are no connection either (inferred); bytes that are no answer
    count as the 502 that a viewer would get.
    """
    if isinstance(error, OriginTimeout):
        return 504
    return 503 if isinstance(error, OriginUnreachable) else error.status
