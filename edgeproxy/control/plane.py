"""The control plane itself: the state, its database, and who waits for what.

A change is worked out under a lock, written, and only then applied. What nodes say of themselves goes through one
writer, which takes all that has come in meanwhile into one transaction: a thousand acknowledgements cost a few.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sqlite3
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from edgeproxy.control.db import Database
from edgeproxy.control.presence import Presence
from edgeproxy.control.refusals import Refused, refuse
from edgeproxy.control.state import Change, Member, Names, State, acknowledged
from edgeproxy.control.things import Moment

log = logging.getLogger(__name__)

T = TypeVar("T")
RETRY_SECONDS = 1.0
"""Until what nodes said is tried to be written again when the disk refused it."""


class Signal:
    """Something that happens again and again, and that any number of tasks wait for."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def happened(self) -> None:
        """Wake everybody who waits now."""
        self._event.set()
        self._event = asyncio.Event()

    def next(self) -> Coroutine[Any, Any, object]:  # Any: the loop's business
        """Await it for the next time, counted from this call."""
        return self._event.wait()


@dataclass(slots=True)
class Session:
    """A node that follows the feed right now."""

    name: str
    incarnation: str
    heard_at: float
    """When it last said something, on the monotonic clock."""
    heard_line: int = 0
    """The number of its last line."""
    replaced: asyncio.Event = field(default_factory=asyncio.Event)
    """It was taken off the list: the connection is to end."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How long nodes are given, in seconds."""

    heartbeat: float = 3
    lease: float = 0
    """0: no leases."""


class Plane:
    """`start` before use, `close` after it."""

    def __init__(
        self,
        state: State,
        database: Database,
        names: Names,
        wall: Callable[[], float],
        monotonic: Callable[[], float],
        pace: Pace = Pace(),
        invalidations_kept: int = 100_000,
    ) -> None:
        self.state = state
        self.pace = pace
        self.names = names
        self.monotonic = monotonic
        self.log_grew, self.settled_moved = Signal(), Signal()
        self.sessions: dict[str, Session] = {}
        self.presence = Presence(state)
        self._database = database
        self._wall = wall
        self._kept = invalidations_kept
        self._thread = ThreadPoolExecutor(1, "control-db")
        self._changing = asyncio.Lock()
        self._joining: dict[str, Member] = {}
        self._leaving: set[str] = set()
        self._written: list[asyncio.Future[None]] = []
        self._kick = asyncio.Event()
        self._seen: dict[str, float] = {}
        self._began = monotonic()
        self._writer: asyncio.Task[None] | None = None
        self._running: set[asyncio.Task[Any]] = set()  # Any: whatever their work gives

    async def start(self) -> None:
        """Begin to write what nodes say."""
        self._writer = asyncio.get_running_loop().create_task(self._write_members(), name="control: members")

    async def close(self) -> None:
        """Write what is left, and close the database."""
        await asyncio.gather(*self._running, return_exceptions=True)
        if self._writer is not None:
            self._writer.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._writer
        with contextlib.suppress(sqlite3.Error):
            await self._write_once()
        await self._blocking(self._database.close)
        self._thread.shutdown()

    # Changes ----------------------------------------------------------------------------------------------------------

    async def change(self, work: Callable[[Moment], tuple[Change, T]]) -> T:
        """Work out a change, write it, apply it; what `work` gives beside it. Raises Refused; then nothing is changed.

        Once begun it is finished, whether or not the client is still there.
        """
        changing = asyncio.get_running_loop().create_task(self._changed(work), name="control: change")
        self._running.add(changing)
        changing.add_done_callback(self._running.discard)
        return await asyncio.shield(changing)

    async def _changed(self, work: Callable[[Moment], tuple[Change, T]]) -> T:
        async with self._changing:
            moment = Moment(self.state, self.names, self._wall())
            change, result = work(moment)
            if change == Change():
                return result
            number = change.records[-1].number if change.records else self.state.number
            try:
                await self._blocking(self._database.write, change, number)
            except sqlite3.Error as error:
                log.error("a change could not be written: %s", error)
                raise Refused("ServiceUnavailable", "The control plane could not write the change.") from None
            self.state.apply(change)
            await self._compact()
        if change.records:
            self.log_grew.happened()
            self.settled_moved.happened()
        return result

    async def _compact(self) -> None:
        """Forget the older half of the invalidations when there are too many."""
        if len(self.state.invalidations) <= self._kept:
            return
        numbers = sorted(each.number for each in self.state.invalidations.values())
        low_water = numbers[len(numbers) // 2]
        try:
            await self._blocking(self._database.compact, low_water, self.state.settled)
        except sqlite3.Error as error:  # it is tried again with the next one
            log.error("old invalidations could not be forgotten: %s", error)
            return
        self.state.compact(low_water)

    async def settled(self, number: int, seconds: float) -> bool:
        """Wait until a number is settled, so many seconds at most; whether it is."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while number > self.state.settled:
                    await self.settled_moved.next()
        return number <= self.state.settled

    # Nodes ------------------------------------------------------------------------------------------------------------

    async def join(self, name: str, incarnation: str, number: int, epoch: str) -> tuple[Session, bool]:
        """A node begins to follow; whether it was not on the list. It is on it, durably, before this returns.

        Raises Refused for a second node of the same name (rule 9).
        """
        if name in self.sessions:
            refuse("NodeAlreadyExists", f"A node named {name} follows already.")
        known = self._joining.get(name) or self.state.members.get(name)
        if name in self._leaving:
            known = None
        if known is not None and known.incarnation not in ("", incarnation):
            refuse(
                "NodeAlreadyExists",
                f"Another node named {name} has not said goodbye. If it is gone: edgeproxy forget {name}",
            )
        session = self.sessions[name] = Session(name, incarnation, self.monotonic())
        try:
            if epoch == self.state.epoch and number > self.state.number:
                await self._renew_epoch(epoch)
            before = replace(known or Member(name, "", 0, self.state.epoch), incarnation=incarnation)
            # What a node has on disk is no acknowledgement; that it has less than it once said is taken as it is.
            reached = min(number, before.number) if epoch == before.epoch == self.state.epoch else 0
            await self._write(replace(before, number=reached, epoch=self.state.epoch))
        except BaseException:
            self.part(session)
            raise
        self.presence.joined(name)
        return session, known is None or not known.incarnation

    def part(self, session: Session) -> None:
        """The node's connection has ended; it stays on the list."""
        if session.name in self.state.members:
            self._seen[session.name] = session.heard_at
        if self.sessions.get(session.name) is session:
            del self.sessions[session.name]
            self.presence.parted(session.name)

    def acknowledge(self, session: Session, number: int, epoch: str) -> None:
        """All up to a number is durable and visible there. A number of another epoch says nothing, but it was heard."""
        session.heard_at = self.monotonic()
        if epoch != self.state.epoch:
            return
        known = self._joining.get(session.name) or self.state.members.get(session.name)
        if known is None or session.name in self._leaving or number <= known.number:
            return
        self._joining[session.name] = acknowledged(known, min(number, self.state.number), self.state.epoch)
        self._kick.set()

    async def leave(self, name: str) -> bool:
        """Take a node off the list, for goodbye or by the operator's word. Whether it was on it."""
        if name not in self.state.members and name not in self._joining:
            return False
        self._leaving.add(name)
        self._joining.pop(name, None)
        await self._write(None)
        self.presence.left(name)
        session = self.sessions.get(name)
        if session is not None:
            session.replaced.set()
        return True

    def waiting_for(self, number: int) -> list[str]:
        """Names of the nodes that keep a number from being settled."""
        gone = set(self.lapsed())
        return [name for name in self.state.waiting_for(number) if name not in gone]

    def lapsed(self) -> list[str]:
        """Nodes out of touch for longer than their lease: they do not use their caches (rule 10)."""
        if not self.pace.lease:
            return []
        before = self.monotonic() - self.pace.lease
        return [name for name in self.state.members if self._last_heard(name) < before]

    def _last_heard(self, name: str) -> float:
        session = self.sessions.get(name)
        return session.heard_at if session is not None else self._seen.get(name, self._began)

    async def _renew_epoch(self, before: str) -> None:
        """A node knows more of this epoch than we do: the database is an old copy. Numbers would mean two things."""
        async with self._changing:
            if self.state.epoch != before:  # another node was faster
                return
            fresh = self.names.short("")
            await self._blocking(self._database.renew, fresh)
            log.error("a node is ahead of the database, which must be an old copy: a new epoch begins")
            self.state.epoch = fresh

    async def _write(self, member: Member | None) -> None:
        if member is not None:
            self._joining[member.name] = member
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._written.append(done)
        self._kick.set()
        await done

    async def _write_members(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self.pace.heartbeat if self.pace.lease else None):
                    await self._kick.wait()
            self._kick.clear()
            try:
                await self._write_once()
            except sqlite3.Error as error:
                log.error("what nodes said could not be written: %s", error)
                await asyncio.sleep(RETRY_SECONDS)
                self._kick.set()

    async def _write_once(self) -> None:
        """Write what has come in, then let it count."""
        joining, leaving, written = dict(self._joining), set(self._leaving), self._written
        self._written = []
        members = {name: each for name, each in self.state.members.items() if name not in leaving} | joining
        ahead = replace(self.state, members=members)
        settled = ahead.settle(self.lapsed())
        if joining or leaving or settled != self.state.settled:
            try:
                await self._blocking(self._database.write_members, joining.values(), leaving, settled)
            except sqlite3.Error:
                self._written = written + self._written
                raise
        self.state.members = members
        self.state.settled = max(self.state.settled, settled)
        self._joining = {name: each for name, each in self._joining.items() if each is not joining.get(name)}
        self._leaving -= leaving
        for name in leaving:
            self._seen.pop(name, None)
        for done in written:
            if not done.done():
                done.set_result(None)
        self.settled_moved.happened()

    async def _blocking(self, work: Callable[..., None], *arguments: object) -> None:
        await asyncio.get_running_loop().run_in_executor(self._thread, work, *arguments)
