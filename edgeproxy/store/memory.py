"""The memory tier: stored responses by key, bounded in bytes.

Five verbs: `find`, `begin` (a writer for a body, or a part of one, that is still arriving), `refresh` (a new head for
the same bytes), `remove` (one response) and `drop` (all under a key). Space is reserved before bytes are taken, so the
bound holds while bodies arrive, not only afterwards; and what somebody reads counts until it was read, even if it has
left meanwhile. eviction.py decides which entry leaves; several variants live
side by side under one key and leave one by one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

from edgeproxy.headers import Headers
from edgeproxy.outcome import StoredHead
from edgeproxy.store.eviction import S3FIFOCache
from edgeproxy.store.runs import Run, held, merged, run_of
from edgeproxy.telemetry.counters import Counter, Counters
from edgeproxy.values import value

ENTRY_OVERHEAD = 1200
"""Bytes charged for an entry beside its key, head and body: objects, index, list slots (measured with a million)."""

BLOCK_OVERHEAD = 60
"""Bytes charged for each block while a body arrives: an object and a list slot."""
RUN_OVERHEAD = 250
"""Bytes charged for each further run of an incomplete body."""
RUNS_MAX = 64
"""Most runs of one body; a part that would make one more is not kept."""


@value(frozen=True, slots=True)
class Terms:
    """On what terms something is kept; `generation` and `edition` are opaque to the store (see edge/page.py)."""

    keep_until: float
    """Wall-clock seconds."""
    generation: int
    edition: int = 0


@value(frozen=True, slots=True)
class Stored:
    """One stored response: its head, and all its bytes or those that `head.parts` names."""

    key: bytes
    variant: int
    head: StoredHead
    runs: tuple[Run, ...]
    length: int
    """Of the complete body."""
    trailers: Headers
    terms: Terms

    @property
    def blocks(self) -> tuple[bytes, ...]:
        """The bytes of a body that is whole."""
        return self.runs[0].blocks if self.runs else ()

    def charge(self) -> int:
        """Bytes this entry is counted with."""
        head = self.head
        fields = head.headers.size() + sum(len(name) + len(value or b"") for name, value in head.vary)
        return ENTRY_OVERHEAD + RUN_OVERHEAD * len(self.runs) + len(self.key) + fields + held(self.runs)


@dataclass(slots=True)
class _Loan:
    """Bytes that somebody reads. They count as long as that lasts, by themselves once their entry has left."""

    stored: Stored
    readers: int = 0
    charge: int = 0
    """What they count for by themselves; 0 while their entry is there."""


class _Entries(S3FIFOCache[tuple[bytes, int], Stored]):
    """S3-FIFO, telling its owner what it lets go."""

    def __init__(self, capacity: int, owner: MemoryStore) -> None:
        super().__init__(capacity, getsizeof=Stored.charge)
        self._owner = owner

    def remembered_as(self, key: tuple[bytes, int]) -> bytes:
        return key[0]  # a variant's number is never used again

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
        self._loans: dict[tuple[bytes, int], _Loan] = {}
        self._reserved = 0
        self._next_variant = 0

    def find(self, key: bytes, now: float) -> Sequence[Stored]:
        """Everything kept under a key, the most recently stored last. What is past its time is gone."""
        variants = self._variants.get(key)
        if variants is None:
            return ()
        found = [self._entries[key, variant] for variant in variants]
        if any(stored.terms.keep_until <= now for stored in found):
            for stored in found:
                if stored.terms.keep_until <= now:
                    self._remove(stored)
            found = [stored for stored in found if stored.terms.keep_until > now]
        return found

    def begin(self, key: bytes, expected: int | None) -> Writer | None:
        """A writer for `expected` bytes (None: unknown); None when there is no room for them."""
        if expected is not None and expected > self.object_max:
            self.counters.add(Counter.STORE_REFUSED)
            return None
        writer = Writer(self, key)
        if not self._reserve(expected or 0):
            self.counters.add(Counter.STORE_REFUSED)
            return None
        writer.reserved = expected or 0
        return writer

    def refresh(self, stored: Stored, head: StoredHead, terms: Terms) -> Stored:
        """The same bytes under a newer head. Returns the new entry, also when the old one has left or changed since."""
        fresh = replace(stored, head=head, terms=terms)
        if self._there(stored):
            self._put(fresh)
        return fresh

    def lend(self, stored: Stored) -> Callable[[], None]:
        """Somebody reads this response from now on, until what is returned here is called, once."""
        name = (stored.key, stored.variant)
        loan = self._loans.get(name)
        if loan is None:
            loan = self._loans[name] = _Loan(stored)
            if name not in self._entries:
                self._count_alone(loan)
        loan.readers += 1
        return partial(self._returned, name, loan)

    def _returned(self, name: tuple[bytes, int], loan: _Loan) -> None:
        loan.readers -= 1
        if not loan.readers:
            del self._loans[name]
            self._release(loan.charge)

    def _count_alone(self, loan: _Loan) -> None:
        loan.charge = loan.stored.charge()
        self._reserved += loan.charge
        self._gauge()

    def remove(self, stored: Stored) -> None:
        """Forget one response, if it is still there as it was."""
        if self._there(stored):
            self._remove(stored)

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
        loan = self._loans.get(name)
        if loan is not None:
            self._count_alone(loan)

    def clear(self) -> None:
        """Forget everything."""
        for key in list(self._variants):
            self.drop(key)

    def _commit(
        self, writer: Writer, head: StoredHead, trailers: Headers, terms: Terms, first: int, length: int
    ) -> bool:
        key = writer.key
        for stored in [self._entries[key, variant] for variant in self._variants.get(key, ())]:
            if stored.head.vary != head.vary:
                continue
            newer = stored.head.as_of.number > head.as_of.number
            if stored.head.as_of.epoch == head.as_of.epoch and newer and stored.terms.generation == terms.generation:
                return False
            self._remove(stored)
        variants: Sequence[int] = self._variants.get(key, ())
        if len(variants) >= self._variants_max:
            self._remove(self._entries[key, variants[0]])
            self.counters.add(Counter.EVICTED)
        self._next_variant += 1
        run = run_of(first, writer.blocks)
        stored = Stored(key, self._next_variant, head, (run,), length, trailers, terms)
        if not self._put(stored):
            return False
        writer.stored = stored
        self.counters.add(Counter.STORED)
        return True

    def _extend(self, writer: Writer, stored: Stored, head: StoredHead, terms: Terms, first: int) -> bool:
        grown = replace(stored, head=head, runs=merged(stored.runs, run_of(first, writer.blocks)), terms=terms)
        if not self._there(stored) or len(grown.runs) > RUNS_MAX or held(grown.runs) > self.object_max:
            self.counters.add(Counter.STORE_REFUSED)
            return False
        if not self._put(grown):
            return False
        writer.stored = grown
        self.counters.add(Counter.STORED)
        return True

    def _there(self, stored: Stored) -> bool:
        return self._entries.peek((stored.key, stored.variant)) is stored

    def _put(self, stored: Stored) -> bool:
        name, charge = (stored.key, stored.variant), stored.charge()
        older = self._entries.peek(name)
        if self._reserved + charge > self.capacity:
            if older is not None:
                self._remove(older)
            self.counters.add(Counter.STORE_REFUSED)
            return False
        while self._entries.currsize + self._reserved + charge > self.capacity + (older.charge() if older else 0):
            self._entries.popitem()
            older = self._entries.peek(name)  # it may have been its own turn to leave
        self._entries[name] = stored
        variants = self._variants.setdefault(stored.key, [])
        if stored.variant not in variants:
            variants.append(stored.variant)
        self._gauge()
        return True

    def _remove(self, stored: Stored) -> None:
        del self._entries[stored.key, stored.variant]
        self.forget((stored.key, stored.variant))
        self._gauge()

    def _reserve(self, amount: int) -> bool:
        while self._entries.currsize + self._reserved + amount > self.capacity:
            if self._reserved + amount > self.capacity or not self._entries:
                return False  # nothing that could leave would make enough room
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
    """Takes the bytes of one body, or of a part of one, as they arrive. Ends with one of the last four verbs, once."""

    __slots__ = ("_open", "_store", "blocks", "key", "length", "reserved", "stored")

    def __init__(self, store: MemoryStore, key: bytes) -> None:
        self._store = store
        self._open = True
        self.key = key
        self.blocks: list[bytes] = []
        self.length = 0
        self.reserved = 0
        self.stored: Stored | None = None
        """What became of it, once it is kept."""

    def append(self, block: bytes) -> bool:
        """Take a block. False when it does not fit: nothing will be kept then, and the block is not among `blocks`.

        The space of those that came before counts until it is given back: somebody may still read them.
        """
        length = self.length + len(block)
        missing = length + BLOCK_OVERHEAD * (len(self.blocks) + 1) - self.reserved
        if not self._open:
            return False
        if length > self._store.object_max or (missing > 0 and not self._store._reserve(missing)):
            self._store.counters.add(Counter.STORE_REFUSED)
            self._open = False
            return False
        self.reserved += max(missing, 0)
        self.length = length
        self.blocks.append(block)
        return True

    def commit(self, head: StoredHead, trailers: Headers, terms: Terms) -> bool:
        """The body is whole: keep it. False when something newer is kept already, or it does not fit after all."""
        return self._close() and self._store._commit(self, head, trailers, terms, 0, self.length)

    def commit_part(self, head: StoredHead, terms: Terms, first: int, length: int) -> bool:
        """What was written is the part from `first` of a body of `length` bytes: keep it, under a head that says so."""
        return self._close() and self._store._commit(self, head, Headers(), terms, first, length)

    def extend(self, stored: Stored, head: StoredHead, terms: Terms, first: int) -> bool:
        """What was written is a further part of a stored response: keep it there, under a head that says so.

        False when that response is not there any more as it was, or would come to too many runs or bytes.
        """
        return self._close() and self._store._extend(self, stored, head, terms, first)

    def lend(self) -> Callable[[], None]:
        """As MemoryStore.lend, for those who read what was written: until what is returned here is called, once."""
        return self.abandon if self.stored is None else self._store.lend(self.stored)

    def give_back(self, amount: int) -> None:
        """So many bytes of those written are gone."""
        amount = min(amount, self.reserved)
        self.reserved -= amount
        self._store._release(amount)

    def _close(self) -> bool:
        was_open, self._open = self._open, False
        if was_open:
            self.give_back(self.reserved)
        return was_open

    def abandon(self) -> None:
        """The body will not be kept: give the space back. Idempotent."""
        self._open = False
        self.give_back(self.reserved)
