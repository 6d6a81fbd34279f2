"""The control plane of a history: its real state, with a disk that may be lost and nodes that it hears late."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from edgeproxy.control.state import Change, Invalidation, Member, State, acknowledged
from edgeproxy.feed import Deployed, Invalidated, Record

LEASE_MARGIN = 0.5


@dataclass(slots=True)
class Accepted:
    """An invalidation as its client knows it."""

    id: str
    epoch: str
    number: int
    items: tuple[str, ...]
    soft: bool
    accepted_at: float
    completed_at: float | None = None


@dataclass
class Control:
    """One control plane. `lease` in seconds, 0 for none."""

    now: Callable[[], float]
    note: Callable[..., None]
    nodes: tuple[str, ...]
    """Named by the settings."""
    lease: float = 0.0
    state: State = field(default_factory=lambda: State("epoch-1", "test"))
    accepted: list[Accepted] = field(default_factory=list)
    heard: dict[str, float] = field(default_factory=dict)
    """When a lease was granted to a node last."""
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def invalidate(self, items: tuple[str, ...], soft: bool) -> Accepted:
        """Accept an invalidation."""
        number = self.state.number + 1
        paths = tuple(item for item in items if not item.startswith("#"))
        tags = tuple(item[1:] for item in items if item.startswith("#"))
        record = Invalidated(number, f"I{number}", "origin", paths, tags, soft)
        kept = Invalidation(record.id, number, "origin", "", items, soft, self.now())
        accepted = Accepted(record.id, self.state.epoch, number, items, soft, self.now())
        self.accepted.append(accepted)
        self.note("control", "accepts invalidation {} of {}{}", number, items, " (soft)" if soft else "")
        self._apply((record,), (kept,))
        return accepted

    def deploy(self, revision: int) -> None:
        """Another revision of the distribution."""
        self.note("control", "deploys revision {}", revision)
        self._apply((Deployed(self.state.number + 1, "origin", str(revision), {"revision": revision}),), ())

    def _apply(self, records: tuple[Record, ...], invalidations: tuple[Invalidation, ...]) -> None:
        self.state.apply(Change(records=records, invalidations=invalidations))
        self._tell()

    def join(self, name: str, incarnation: str) -> bool:
        """A node begins to listen. Returns whether it was not on the list (or is another one of its name)."""
        member = self.state.members.get(name)
        fresh = member is None or member.incarnation != incarnation
        if member is None:
            self.state.members[name] = Member(name, incarnation, 0, self.state.epoch)
        elif fresh:
            self.state.members[name] = Member(name, incarnation, member.number, member.epoch)
        fresh = fresh or name in self._lapsed()
        self.heard[name] = self.now()
        return fresh

    def hear(self, name: str, epoch: str, number: int) -> None:
        """A node's acknowledgement has come."""
        member = self.state.members.get(name)
        if member is None or epoch != self.state.epoch:
            return
        self.state.members[name] = acknowledged(member, number, epoch)
        self._look()

    def leave(self, name: str, why: str) -> None:
        """A node has said goodbye, or the operator vouches that it is no more."""
        self.note("control", "{} leaves the list: {}", name, why)
        self.state.members.pop(name, None)
        self._look()

    def lose(self) -> None:
        """The database is gone; a new one is made, and everybody has to come again."""
        old = self.state
        generation = int(old.epoch.partition("-")[2]) + 1
        self.note("control", "loses its database: epoch {}", generation)
        self.state = State(f"epoch-{generation}", "test")
        for record in old.log:
            if isinstance(record, Deployed):
                self.state.apply(Change(records=(Deployed(self.state.number + 1, *_rest(record)),)))
        # Nodes of the old epoch may be serving: those the settings name are waited for until they come, or are forgotten.
        self.state.members = {name: Member(name, "", 0, "") for name in self.nodes}
        self._tell()

    def compact(self) -> None:
        """Forget what is settled."""
        self.state.compact(self.state.settled)
        self.note("control", "low-water mark {}", self.state.low_water)
        self._tell()

    def _lapsed(self) -> set[str]:
        if not self.lease:
            return set()
        limit = self.now() - self.lease - LEASE_MARGIN
        return {name for name in self.state.members if self.heard.get(name, 0.0) < limit}

    def tick(self) -> None:
        """Time has passed: leases may have lapsed."""
        self._look()

    def _look(self) -> None:
        self.state.settle(self._lapsed())
        for each in self.accepted:
            if each.completed_at is None and each.epoch == self.state.epoch and each.number <= self.state.settled:
                each.completed_at = self.now()
                self.note("control", "invalidation {} is Completed", each.number)

    def _tell(self) -> None:
        self._look()
        self.changed.set()
        self.changed = asyncio.Event()


def _rest(record: Deployed) -> tuple[str, str, dict[str, object]]:
    return record.id, record.etag, record.config
