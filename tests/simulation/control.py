"""The control plane of a history: the real one, with a database in memory that may be lost."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from random import Random
from typing import Any

from edgeproxy.control.plane import Pace, Plane
from edgeproxy.control.state import Change, Invalidation, Member, Names, State
from edgeproxy.control.streams import Streams
from edgeproxy.control.things import Moment
from edgeproxy.feed import Deployed, Invalidated, Record

HEARTBEAT = 1.0


class Database:
    """Takes everything; what counts here is in the plane's state."""

    def write(self, change: Change, number: int) -> None:
        """See control.db."""

    def write_members(self, joining: Iterable[Member], leaving: Iterable[str], settled: int) -> None:
        """See control.db."""

    def renew(self, epoch: str) -> None:
        """See control.db."""

    def close(self) -> None:
        """See control.db."""


@dataclass(slots=True)
class Accepted:
    """An invalidation as its client knows it."""

    epoch: str
    number: int
    items: tuple[str, ...]
    soft: bool
    accepted_at: float
    completed_at: float | None = None


class Control:
    """One control plane after another. `lease` in seconds, 0 for none; `nodes` are those that its settings name."""

    def __init__(
        self,
        now: Callable[[], float],
        note: Callable[..., None],
        random: Random,
        nodes: tuple[str, ...],
        lease: float,
    ) -> None:
        self._now, self._note, self._nodes = now, note, nodes
        self._names = Names(random.randbytes)
        self._pace = Pace(HEARTBEAT, lease)
        self.accepted: list[Accepted] = []
        self.began = 0
        self.plane: Plane
        self.streams: Streams
        self._watching: asyncio.Task[None] | None = None

    async def begin(self) -> None:
        """With a new database."""
        self.began += 1
        state = State(f"epoch-{self.began}", "test")
        # Nodes of an earlier epoch may be serving: those the settings name are waited for until they come.
        state.members = {name: Member(name, "", 0, "") for name in self._nodes}
        database: Any = Database()  # Any: stands for all of control.db
        self.plane = Plane(state, database, self._names, self._now, self._now, self._pace)
        self.streams = Streams(self.plane, None)
        await self.plane.start()
        self._watching = asyncio.get_running_loop().create_task(self._watch(self.plane))

    async def end(self) -> None:
        """Stop."""
        if self._watching is not None:
            self._watching.cancel()
        for session in self.plane.sessions.values():
            session.replaced.set()
        await self.plane.close()

    async def lose(self) -> None:
        """The database is gone; a new one is made, and everybody has to come again."""
        deployed = [each for each in self.plane.state.log if isinstance(each, Deployed)]
        await self.end()
        await self.begin()
        self._note("control", "has lost its database: epoch {}", self.plane.state.epoch)
        for record in deployed:
            await self.deploy(int(record.etag))

    async def invalidate(self, items: tuple[str, ...], soft: bool) -> None:
        """Accept an invalidation."""
        paths = tuple(item for item in items if not item.startswith("#"))
        tags = tuple(item[1:].lower() for item in items if item.startswith("#"))

        def work(moment: Moment) -> tuple[Change, Accepted]:
            number, epoch = moment.state.number + 1, moment.state.epoch
            record = Invalidated(number, f"I{number}", "origin", paths, tags, soft)
            kept = Invalidation(record.id, number, "origin", "", items, soft, self._now())
            accepted = Accepted(epoch, number, items, soft, self._now())
            return Change(records=(record,), invalidations=(kept,)), accepted

        accepted = await self.plane.change(work)
        accepted.accepted_at = self._now()
        self.accepted.append(accepted)
        self._note("control", "accepts invalidation {} of {}{}", accepted.number, items, " (soft)" if soft else "")

    async def deploy(self, revision: int) -> None:
        """Another revision of the distribution."""

        def work(moment: Moment) -> tuple[Change, int]:
            number = moment.state.number + 1
            records: tuple[Record, ...] = (Deployed(number, "origin", str(revision), {"revision": revision}),)
            return Change(records=records), number

        number = await self.plane.change(work)
        self._note("control", "deploys revision {} as record {}", revision, number)

    async def leave(self, name: str) -> None:
        """The operator vouches that a node serves no more."""
        self._note("control", "forgets {}", name)
        await self.plane.leave(name)

    def compact(self) -> None:
        """Forget what is settled."""
        self.plane.state.compact(self.plane.state.settled)
        self._note("control", "raises its low-water mark to {}", self.plane.state.low_water)

    async def _watch(self, plane: Plane) -> None:
        while True:
            for each in self.accepted:
                if each.completed_at is None and each.epoch == plane.state.epoch and each.number <= plane.state.settled:
                    each.completed_at = self._now()
                    self._note("control", "invalidation {} is Completed", each.number)
            await plane.settled_moved.next()
