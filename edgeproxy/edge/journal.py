"""How a node takes in what the control plane says: durable, then visible to all its workers, then acknowledged.

    a batch comes ─▶ known ─▶ disk ─▶ every worker told ─▶ each has confirmed ─▶ the page raised ─▶ acknowledged

The parent of the workers runs this, step by step as messages arrive; it waits for nothing. A worker that dies is waited
for no longer, and the one that takes its place is forked with all that is known by then.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from edgeproxy.edge.known import Batch, Known
from edgeproxy.edge.page import SharedPage

Message = dict[str, Any]  # Any: JSON


class Disk(Protocol):
    """Where what is known survives the node."""

    def append(self, batch: Batch, known: Known) -> bool:
        """Add a batch, `known` being all with it; returns when it is durable. False when the disk would not take it:
        then everything is still to be written."""
        ...


class Journal:
    """One node's. `tell` sends a message to all workers that are running, `acknowledge` says (epoch, number)."""

    def __init__(
        self,
        page: SharedPage,
        known: Known,
        disk: Disk,
        tell: Callable[[Message], None],
        acknowledge: Callable[[str, int], None],
    ) -> None:
        self.known = known
        self._page = page
        self._disk = disk
        self._tell = tell
        self._acknowledge = acknowledge
        self._confirmed: dict[int, tuple[str, int]] = {}
        """By worker that is running: up to where it has everything."""
        self._caught_up_at: int | None = None
        """The number that ends the quarantine once it is visible; None while nobody has named it."""
        self._leases: list[tuple[int, float]] = []
        """Granted for when their number is visible."""
        self._durable = self.position
        page.stand(known.floors.number, quarantined=True)

    @property
    def position(self) -> tuple[str, int]:
        """(epoch, number) up to which everything is known: the feed goes on from there."""
        return self.known.floors.epoch, self.known.floors.number

    def take(self, batch: Batch) -> None:
        """A batch from the control plane."""
        if batch.fresh or batch.epoch != self.known.floors.epoch:
            # Before any worker hears of it: what is stored must not be judged by numbers of two epochs.
            self._page.stand(self._page.applied, quarantined=True)
            self._caught_up_at = None
            self._leases.clear()
        before = (self.position, self.known.floors.low_water)
        self.known.apply(batch)
        new = bool(batch.records) or batch.whole or before != (self.position, self.known.floors.low_water)
        if batch.caught_up and self._caught_up_at is None:
            self._caught_up_at = batch.number
        if batch.lease_until is not None:
            self._leases.append((batch.number, batch.lease_until))
        if (new or self._durable != self.position) and self._disk.append(batch, self.known):
            self._durable = self.position
        if new:
            self._tell({"do": "records", "batch": batch.to_json()})
        self._go_on()

    def started(self, worker: int) -> None:
        """A worker is being forked, with all that is known now."""
        self._confirmed[worker] = self.position

    def confirmed(self, worker: int, epoch: str, number: int) -> None:
        """A worker has everything up to this number."""
        before = self._confirmed.get(worker)
        if before is not None:
            self._confirmed[worker] = (epoch, max(number, before[1]) if epoch == before[0] else number)
            self._go_on()

    def ended(self, worker: int) -> None:
        """A worker is no more."""
        self._confirmed.pop(worker, None)
        self._go_on()

    def _go_on(self) -> None:
        """Make visible what all workers have, and acknowledge what is durable of it."""
        epoch, number = self.position
        if any(each != epoch for each, _ in self._confirmed.values()):
            return
        number = min([number, *(each for _, each in self._confirmed.values())])
        caught_up = self._caught_up_at is not None and number >= self._caught_up_at
        for granted_at, until in self._leases:
            if granted_at <= number:
                self._page.lease_until = until
        self._leases = [each for each in self._leases if each[0] > number]
        self._page.stand(number, quarantined=not caught_up)
        durable_epoch, durable = self._durable
        if durable_epoch == epoch:
            self._acknowledge(epoch, min(number, durable))
