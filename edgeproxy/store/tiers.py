"""Memory and disk as one store, for one worker.

`find` looks into memory and costs nothing more; what only the disk may hold is asked for with `load`. What is small
comes into memory then, what is large is read from the disk piece by piece. Storing never waits for the disk.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

from edgeproxy.errors import DiskFailed
from edgeproxy.headers import Headers
from edgeproxy.outcome import StoredHead
from edgeproxy.store.deposit import Deposit
from edgeproxy.store.disk import DiskStore
from edgeproxy.store.intervals import added
from edgeproxy.store.memory import MemoryStore, Stored, Terms
from edgeproxy.store.records import Record
from edgeproxy.store.writer import DiskWriter

PIECE_MAX = 1024 * 1024
"""Bytes; what the disk gives at once."""


@dataclass(frozen=True, slots=True)
class Copy:
    """A stored response of which bytes are on disk, and perhaps others in memory."""

    key: bytes
    head: StoredHead
    """With the parts that are there, wherever they are."""
    length: int
    trailers: Headers
    terms: Terms
    record: Record
    stored: Stored | None = None


Held: TypeAlias = Stored | Copy
"""A stored response, wherever its bytes are."""


@dataclass(eq=False, slots=True)
class _Load:
    """A key being looked up on disk."""

    task: asyncio.Task[list[Held]] | None = None
    outdated: bool = False
    """What is kept under it has changed since."""


def with_head(held: Held, head: StoredHead) -> Held:
    """The same bytes under a newer head, whatever parts it names: those that are there do not change by it."""
    return replace(held, head=head)


class Tiers:
    """The store of one worker."""

    def __init__(
        self,
        memory: MemoryStore,
        disk: DiskStore | None,
        owns: Callable[[bytes], bool],
        promote_max: int,
        object_max: int,
        wall: Callable[[], float],
    ) -> None:
        """`owns` tells of which keys this worker keeps the copy on disk; bodies up to `promote_max` bytes come into
        memory when they are asked for."""
        self.memory = memory
        self.disk = disk
        self.owns = owns
        self._promote_max = min(promote_max, PIECE_MAX)
        self._wall = wall
        self._largest = object_max
        self._loading: dict[bytes, _Load] = {}

    def find(self, key: bytes, now: float) -> Sequence[Stored]:
        """What memory holds under a key, the most recently stored last."""
        return self.memory.find(key, now)

    def may_load(self, key: bytes) -> bool:
        """Whether `load` may find more than `find` does."""
        return self.disk is not None and self.owns(key) and self.disk.may_hold(key)

    async def load(self, key: bytes, now: float) -> Sequence[Held]:
        """Everything kept under a key, in memory and on disk. Those who ask at the same time are answered together."""
        loading = self._loading.get(key)
        if loading is None:
            loading = self._loading[key] = _Load()
            loading.task = asyncio.get_running_loop().create_task(self._load(key, now, loading), name="load")
        assert loading.task is not None, "it was made with it"
        from_disk = await asyncio.shield(loading.task)
        in_memory = list(self.memory.find(key, now))
        found: list[Held] = [each for each in from_disk if isinstance(each, Copy)]
        return _united(found, in_memory)

    async def _load(self, key: bytes, now: float, loading: _Load) -> list[Held]:
        try:
            found = await self._from_disk(key, now, loading)
            return [] if loading.outdated else found
        finally:
            if self._loading.get(key) is loading:
                del self._loading[key]

    def _changes(self, key: bytes) -> None:
        """What is being read from disk for this key is not what is kept any more."""
        loading = self._loading.pop(key, None)
        if loading is not None:
            loading.outdated = True

    async def _from_disk(self, key: bytes, now: float, loading: _Load) -> list[Held]:
        disk = self.disk
        assert disk is not None, "may_load said so"
        records = await disk.find(key, now)
        found: list[Held] = []
        for record in records:
            copy = copy_of(record)
            if not record.whole or record.length > self._promote_max:
                found.append(copy)
            elif (promoted := await self._promote(disk, copy, loading)) is not None:
                found.append(promoted)
        return found

    async def _promote(self, disk: DiskStore, copy: Copy, loading: _Load) -> Held | None:
        """Into memory, unless something under the same Vary has come there meanwhile. None: it is of no use."""
        blocks = [] if copy.record.body is None else [copy.record.body]
        position = sum(map(len, blocks))
        try:
            while position < copy.length:
                blocks.append(await disk.read(copy.record, position, copy.length))
                position += len(blocks[-1])
        except DiskFailed:
            return None
        if loading.outdated or any(
            stored.head.vary == copy.head.vary for stored in self.memory.find(copy.key, self._wall())
        ):
            return None
        writer = self.memory.begin(copy.key, copy.length)
        if writer is None:
            return copy
        if not all(map(writer.append, filter(None, blocks))):
            writer.abandon()
            return copy
        return writer.stored if writer.commit(copy.head, copy.trailers, copy.terms) else copy

    async def read(self, record: Record, first: int, end: int) -> bytes:
        """Some bytes of a record from `first` on, before `end`, verified. Raises DiskFailed when they are lost."""
        assert self.disk is not None, "a record comes from there"
        return await self.disk.read(record, first, end)

    @property
    def object_max(self) -> int:
        """Largest body that memory takes."""
        return self.memory.object_max

    def deposit(
        self,
        key: bytes,
        head: StoredHead,
        terms: Terms,
        *,
        size: int | None,
        first: int = 0,
        length: int | None,
        onto: Held | None = None,
        memory_only: bool = False,
    ) -> Deposit | None:
        """A place for `size` bytes from `first` on of a body of `length` bytes (None: unknown); None when there is
        none. `onto`: the stored response that they are further bytes of."""

        def tape() -> DiskWriter | None:
            if self.disk is None or memory_only or not self.owns(key):
                return None
            if isinstance(onto, Copy):
                return self.disk.extend(onto.record, head, terms)
            return self.disk.begin(key, head, terms, length)

        if size is not None and size > self._largest:
            return None
        if size is None or size <= self.memory.object_max:
            writer = self.memory.begin(key, size)
            if writer is not None:
                return Deposit(writer, None, tape, first, self._largest)
        made = tape()
        if made is None:
            return None
        return Deposit(None, made, first=first)

    async def commit(self, deposit: Deposit, key: bytes, head: StoredHead, trailers: Headers, terms: Terms) -> None:
        """A body is whole: keep it."""
        if deposit.tape is not None:
            self._changes(key)
            await deposit.settle(head, trailers, terms)
        else:
            self.commit_at_once(deposit, key, head, trailers, terms)

    def commit_at_once(self, deposit: Deposit, key: bytes, head: StoredHead, trailers: Headers, terms: Terms) -> None:
        """The same for a body that is in memory."""
        self._changes(key)
        writer = deposit.writer
        if writer is not None and writer.commit(head, trailers, terms) and writer.stored is not None:
            self._behind(key, head, trailers, terms, 0, writer.stored.blocks, writer.length)

    def commit_part(
        self,
        deposit: Deposit,
        key: bytes,
        head: StoredHead,
        terms: Terms,
        length: int,
        onto: tuple[Stored, StoredHead] | None,
        *,
        addable: bool,
    ) -> None:
        """What came into memory is a part of a body of `length` bytes, as `head` says. `onto`: the stored response in
        memory that it belongs to, and its head with this part. `addable`: other parts may be added to it, for certain;
        a part to which none may is not for the disk, which adds parts to one another.
        """
        writer = deposit.writer
        if writer is None:
            return
        self._changes(key)
        if onto is None:
            writer.commit_part(head, terms, deposit.first, length)
        else:
            writer.extend(onto[0], onto[1], terms, deposit.first)
        if addable:
            self._behind(key, head, Headers(), terms, deposit.first, writer.blocks, length)
        elif self.disk is not None and self.owns(key):
            self.disk.remove((key, head.vary))

    def _behind(
        self,
        key: bytes,
        head: StoredHead,
        trailers: Headers,
        terms: Terms,
        first: int,
        blocks: Sequence[bytes],
        length: int,
    ) -> None:
        """Have the disk keep what is in memory now; nobody waits for it."""
        if self.disk is not None and self.owns(key):
            self.disk.put(key, head, trailers, terms, first, blocks, length)

    async def start(self) -> None:
        """Open what is on disk; a disk that has failed is tried again later."""
        if self.disk is not None:
            await self.disk.start()

    async def close(self, deadline: float) -> None:
        """Write what waits, at most `deadline` seconds."""
        tasks = [loading.task for loading in self._loading.values() if loading.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self.disk is not None:
            await self.disk.close(deadline)

    def touch(self, key: bytes) -> None:
        """What is under a key was read from memory: on disk it is not to leave as unused."""
        if self.disk is not None and self.owns(key):
            self.disk.touch(key)

    def refresh(self, held: Held, head: StoredHead, terms: Terms) -> Held:
        """The same bytes under a newer head. Returns the new entry."""
        self._changes(held.key)
        stored = held.stored if isinstance(held, Copy) else held
        if self.disk is not None and self.owns(held.key):
            self.disk.refresh(held.record if isinstance(held, Copy) else (held.key, held.head.vary), head, terms)
        fresh = None
        if stored is not None:
            fresh = self.memory.refresh(stored, replace(head, parts=stored.head.parts), terms)
        if isinstance(held, Copy):
            return replace(held, head=head, terms=terms, stored=fresh)
        assert fresh is not None
        return fresh

    def remove(self, held: Held) -> None:
        """Forget one response."""
        self._changes(held.key)
        stored = held.stored if isinstance(held, Copy) else held
        if stored is not None:
            self.memory.remove(stored)
        if self.disk is not None and self.owns(held.key):
            self.disk.remove(held.record if isinstance(held, Copy) else (held.key, held.head.vary))

    def drop(self, key: bytes) -> int:
        """Forget everything under a key; how many variants of it memory held."""
        self._changes(key)
        if self.disk is not None and self.owns(key):
            self.disk.drop(key)
        return self.memory.drop(key)

    def lend(self, held: Stored) -> Callable[[], None]:
        """As MemoryStore.lend."""
        return self.memory.lend(held)


def copy_of(record: Record) -> Copy:
    """A response that only the disk has."""
    head = replace(record.head, parts=None if record.whole else record.intervals)
    return Copy(record.key, head, record.length, record.trailers, record.terms, record)


def _united(copies: Sequence[Held], in_memory: Sequence[Stored]) -> list[Held]:
    """All of them, each response once: what both tiers have parts of is one, and what memory has whole is there."""
    found: list[Held] = []
    joined: set[int] = set()
    for copy in copies:
        assert isinstance(copy, Copy)
        twin = next((stored for stored in in_memory if stored.head.vary == copy.head.vary), None)
        if twin is None:
            found.append(copy)
        elif twin.head.parts is not None and _same_body(twin, copy):
            joined.add(twin.variant)
            found.append(_joined(copy, twin))
    return [*found, *(stored for stored in in_memory if stored.variant not in joined)]


def _same_body(one: Stored, other: Copy) -> bool:
    """Both are parts of the same bytes, for certain."""
    tag = one.head.headers.get(b"etag")
    strong = tag is not None and tag.startswith(b'"')
    return strong and tag == other.head.headers.get(b"etag") and one.length == other.length


def _joined(copy: Copy, stored: Stored) -> Copy:
    newer, older = sorted((copy.head, stored.head), key=lambda head: head.received_at, reverse=True)
    parts = None
    if copy.head.parts is not None and stored.head.parts is not None:
        parts = copy.head.parts
        for start, end in stored.head.parts:
            parts = added(parts, start, end)
    if parts == ((0, copy.length),):
        parts = None
    as_of = min(newer.as_of, older.as_of, key=lambda each: each.number)
    terms = stored.terms if newer is stored.head else copy.terms
    return replace(copy, head=replace(newer, parts=parts, as_of=as_of), terms=terms, stored=stored)
