"""How a node takes in what the control plane says: durable, then visible to all its workers, then acknowledged.

    on disk ─▶ the parent hears of it ─▶ every worker is told ─▶ each has confirmed ─▶ the page raised ─▶ acknowledged

The parent of the workers runs this, step by step as messages arrive; it waits for nothing. A worker that dies is waited
for no longer. One that is started reads the disk first, and is waited for until it says what it has read.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from edgeproxy.edge.page import SharedPage

Position = tuple[str, int]
"""(epoch, number) up to which everything is known."""


@dataclass(frozen=True, slots=True)
class News:
    """Something is on disk, or the control plane was heard."""

    epoch: str
    number: int
    """All up to it is on disk."""
    fresh: bool = False
    """The control plane did not count on this node: what is stored here may be outdated (rule 9)."""
    caught_up: bool = False
    """This is where the control plane's log ended when it was asked."""


class Journal:
    """One node's. `tell` says to all workers that are running that there is something to read; `acknowledge` is called
    with what is visible to all of them, again whenever that may have changed."""

    def __init__(self, page: SharedPage, tell: Callable[[Position], None], acknowledge: Callable[[Position], None]):
        """The node is in quarantine until it has caught up once."""
        self._page = page
        self._tell = tell
        self._acknowledge = acknowledge
        self._position: Position = ("", 0)
        self._confirmed: dict[int, Position | None] = {}
        """By worker that is running: up to where it has everything; None while it has not said so."""
        self._caught_up_at: int | None = None
        """The number that ends the quarantine once it is visible; None while nobody has named it."""
        self._leases: list[tuple[int, float]] = []
        """Granted for when their number is visible."""
        page.stand(0, quarantined=True)
        page.lease_until = 0

    def take(self, news: News) -> None:
        """What the node's disk has now."""
        epoch, number = self._position
        if news.fresh or news.epoch != epoch:
            # Before any worker hears of it: what is stored must not be judged by numbers of two epochs.
            self._page.stand(self._page.applied, quarantined=True)
            self._caught_up_at = None
            self._leases.clear()
        if news.caught_up and self._caught_up_at is None:
            self._caught_up_at = news.number
        if news.epoch != epoch or news.number > number:
            self._position = (news.epoch, news.number)
            self._tell(self._position)
        self._go_on()

    def lease(self, number: int, until: float) -> None:
        """The control plane counts on this node until then, on the boot-time clock, once all up to the number is
        visible; 0: for ever."""
        self._leases = [*self._leases[:1], (number, until)]
        self._go_on()

    def started(self, worker: int) -> None:
        """A worker is being started."""
        self._confirmed[worker] = None

    def confirmed(self, worker: int, position: Position) -> None:
        """A worker has everything up to there."""
        if worker not in self._confirmed:
            return
        before = self._confirmed[worker]
        same = before is not None and before[0] == position[0]
        self._confirmed[worker] = max(position, before) if same and before is not None else position
        self._go_on()

    def ended(self, worker: int) -> None:
        """A worker is no more."""
        self._confirmed.pop(worker, None)
        self._go_on()

    def _go_on(self) -> None:
        """Make visible what all workers have."""
        epoch, number = self._position
        reached = [each[1] for each in self._confirmed.values() if each is not None and each[0] == epoch]
        if len(reached) < len(self._confirmed):
            return
        number = min([number, *reached])
        for granted_at, until in self._leases:
            if granted_at <= number:
                self._page.lease_until = until
        self._leases = [each for each in self._leases if each[0] > number]
        caught_up = self._caught_up_at is not None and number >= self._caught_up_at
        self._page.stand(number, quarantined=not caught_up)
        self._acknowledge((epoch, number))
