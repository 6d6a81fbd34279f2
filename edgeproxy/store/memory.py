"""The memory tier: stored responses by key, bounded in bytes.

Four verbs: `find`, `begin` (a writer for a body that is still arriving), `refresh` (a new head for the same bytes) and
`drop`. Space is reserved before bytes are taken, so the bound holds while bodies arrive, not only afterwards. Which
entry leaves is cachetools' LRU order; several variants live side by side under one key and leave one by one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cachetools import LRUCache

from edgeproxy.headers import Headers
from edgeproxy.outcome import StoredHead
from edgeproxy.telemetry.counters import Counter, Counters

ENTRY_OVERHEAD = 1200
"""Bytes charged for an entry beside its key, head and body: objects, index, list slots (measured with a million)."""


@dataclass(frozen=True, slots=True)
class Stored:
    """One stored response: its head and all its bytes. `generation` is opaque to the store (see edge/page.py)."""

    key: bytes
    variant: int
    head: StoredHead
    blocks: tuple[bytes, ...]
    length: int
    trailers: Headers
    keep_until: float
    generation: int

    def charge(self) -> int:
        """Bytes this entry is counted with."""
        head = self.head
        fields = head.headers.size() + sum(len(name) + len(value or b"") for name, value in head.vary)
        return ENTRY_OVERHEAD + len(self.key) + fields + self.length


class _Entries(LRUCache[tuple[bytes, int], Stored]):
    """cachetools' LRU, telling its owner what it lets go."""

    def __init__(self, capacity: int, owner: MemoryStore) -> None:
        super().__init__(capacity, getsizeof=Stored.charge)
        self._owner = owner

    def popitem(self) -> tuple[tuple[bytes, int], Stored]:
        name, stored = super().popitem()
        self._owner.forget(name)
        self._owner.counters.add(Counter.EVICTED)
        return name, stored


class MemoryStore:
    """Stored responses of one worker. Not for several threads."""

    def __init__(self, capacity: int, object_max: int, variants_max: int, counters: Counters) -> None:
        self.counters = counters
        self.capacity = capacity
        self.object_max = min(object_max, capacity)
        self._variants_max = variants_max
        self._entries = _Entries(capacity, self)
        self._variants: dict[bytes, list[int]] = {}
        self._reserved = 0
        self._next_variant = 0

    def find(self, key: bytes, now: float) -> Sequence[Stored]:
        """Everything kept under a key, the most recently stored last. What is past its time is gone."""
        variants = self._variants.get(key)
        if variants is None:
            return ()
        found = [self._entries[key, variant] for variant in variants]
        if any(stored.keep_until <= now for stored in found):
            for stored in found:
                if stored.keep_until <= now:
                    self._remove(stored)
            found = [stored for stored in found if stored.keep_until > now]
        return found

    def begin(self, key: bytes, expected: int | None) -> Writer | None:
        """A writer for a body of `expected` bytes (None: unknown); None when there is no room for it."""
        if expected is not None and expected > self.object_max:
            self.counters.add(Counter.STORE_REFUSED)
            return None
        writer = Writer(self, key)
        if not self._reserve(expected or 0):
            self.counters.add(Counter.STORE_REFUSED)
            return None
        writer.reserved = expected or 0
        return writer

    def refresh(self, stored: Stored, head: StoredHead, keep_until: float, generation: int) -> Stored:
        """The same bytes under a newer head. Returns the new entry, also when the old one has left meanwhile."""
        fresh = Stored(
            stored.key, stored.variant, head, stored.blocks, stored.length, stored.trailers, keep_until, generation
        )
        if (stored.key, stored.variant) in self._entries:
            self._put(fresh)
        return fresh

    def drop(self, key: bytes) -> int:
        """Forget everything under a key; returns how many variants there were."""
        found = [self._entries[key, variant] for variant in self._variants.get(key, ())]
        for stored in found:
            self._remove(stored)
        return len(found)

    def forget(self, name: tuple[bytes, int]) -> None:
        """Take an entry that has left out of the index."""
        key, variant = name
        variants = self._variants[key]
        variants.remove(variant)
        if not variants:
            del self._variants[key]

    def clear(self) -> None:
        """Forget everything."""
        self._entries.clear()
        self._variants.clear()
        self._gauge()

    def _commit(self, writer: Writer, head: StoredHead, trailers: Headers, keep_until: float, generation: int) -> bool:
        self._release(writer.reserved)
        writer.reserved = 0
        key = writer.key
        for stored in [self._entries[key, variant] for variant in self._variants.get(key, ())]:
            if stored.head.vary != head.vary:
                continue
            newer = stored.head.as_of.number > head.as_of.number
            if stored.head.as_of.epoch == head.as_of.epoch and newer and stored.generation == generation:
                return False
            self._remove(stored)
        variants: Sequence[int] = self._variants.get(key, ())
        if len(variants) >= self._variants_max:
            self._remove(self._entries[key, variants[0]])
            self.counters.add(Counter.EVICTED)
        self._next_variant += 1
        blocks = tuple(writer.blocks)
        stored = Stored(key, self._next_variant, head, blocks, writer.length, trailers, keep_until, generation)
        if stored.charge() > self.capacity:
            self.counters.add(Counter.STORE_REFUSED)
            return False
        self._variants.setdefault(key, []).append(stored.variant)
        self._put(stored)
        self.counters.add(Counter.STORED)
        return True

    def _put(self, stored: Stored) -> None:
        while self._entries.currsize + self._reserved + stored.charge() > self.capacity and len(self._entries) > 1:
            oldest = next(iter(self._entries))
            if oldest == (stored.key, stored.variant):
                break
            self._entries.popitem()
        try:
            self._entries[stored.key, stored.variant] = stored
        except ValueError:  # larger than the whole cache: cachetools refuses, so the index must not name it
            self.forget((stored.key, stored.variant))
        self._gauge()

    def _remove(self, stored: Stored) -> None:
        del self._entries[stored.key, stored.variant]
        self.forget((stored.key, stored.variant))
        self._gauge()

    def _reserve(self, amount: int) -> bool:
        while self._entries.currsize + self._reserved + amount > self.capacity:
            if not self._entries:
                return False
            self._entries.popitem()
        self._reserved += amount
        self._gauge()
        return True

    def _release(self, amount: int) -> None:
        self._reserved -= amount
        self._gauge()

    def _gauge(self) -> None:
        self.counters.put(Counter.STORE_BYTES, int(self._entries.currsize) + self._reserved)
        self.counters.put(Counter.STORE_OBJECTS, len(self._entries))


class Writer:
    """Takes the bytes of one body as they arrive. Ends with `commit` or `abandon`, once."""

    __slots__ = ("_open", "_store", "blocks", "key", "length", "reserved")

    def __init__(self, store: MemoryStore, key: bytes) -> None:
        self._store = store
        self._open = True
        self.key = key
        self.blocks: list[bytes] = []
        self.length = 0
        self.reserved = 0

    def append(self, block: bytes) -> bool:
        """Take a block. False when it does not fit: the writer is abandoned then, without the block."""
        length = self.length + len(block)
        missing = length - self.reserved
        if not self._open:
            return False
        if length > self._store.object_max or (missing > 0 and not self._store._reserve(missing)):
            self._store.counters.add(Counter.STORE_REFUSED)
            self.abandon()
            return False
        self.reserved += max(missing, 0)
        self.length = length
        self.blocks.append(block)
        return True

    def commit(self, head: StoredHead, trailers: Headers, keep_until: float, generation: int) -> bool:
        """The body is whole: keep it. False when something newer is kept already, or it does not fit after all."""
        if not self._open:
            return False
        self._open = False
        return self._store._commit(self, head, trailers, keep_until, generation)

    def abandon(self) -> None:
        """The body will not be kept: give the space back. Idempotent."""
        if self._open:
            self._open = False
            self._store._release(self.reserved)
            self.reserved = 0
