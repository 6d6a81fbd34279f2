"""What a node knows of invalidations (INVALIDATION.md). Without a control plane the number stands still."""

from __future__ import annotations

from dataclasses import dataclass

from edgeproxy.edge.page import SharedPage
from edgeproxy.model import NO_EPOCH, AsOf


@dataclass(frozen=True, slots=True)
class Ledger:
    """The epoch, and the numbers applied on this node."""

    page: SharedPage
    epoch: str = NO_EPOCH

    def applied(self) -> AsOf:
        """What a response asked of the origin right now is as of (rule 2)."""
        return AsOf(self.epoch, self.page.applied)

    def floor(self, key: bytes) -> int:
        """The highest applied number that matches this key; frozen by the caller when a request's head arrives."""
        return 0

    def covers(self, as_of: AsOf, floor: int) -> bool:
        """Whether a response is new enough for a request with this floor (rule 1)."""
        return as_of.epoch == self.epoch and as_of.number >= floor
