"""What a shard certainly does not hold, and what of it is in use: two tables of small numbers, by hash.

Both are sized for what is there and start anew when that has changed much; neither knows a key. Hashes are 64 bits.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence

BITS_PER_ENTRY = 16
"""Measured beside what it answers wrongly: with 16 about one absent key in 200 is looked for in vain."""
ENTRIES_MIN = 4096
USES_MAX = 255

_PROBES = 6


def _bits(hash: int) -> int:
    """Six of the 64 bits of a word."""
    return (
        1 << (hash & 63)
        | 1 << (hash >> 6 & 63)
        | 1 << (hash >> 12 & 63)
        | 1 << (hash >> 18 & 63)
        | 1 << (hash >> 24 & 63)
        | 1 << (hash >> 30 & 63)
    )


class Filter:
    """A Bloom filter whose bits for one entry all lie in one word: one look into memory for an answer."""

    def __init__(self, entries: int, size_max: int) -> None:
        """Room for about so many entries; never more than `size_max` bytes, then it is wrong more often."""
        words = 1
        while words * 64 < max(entries, ENTRIES_MIN) * BITS_PER_ENTRY and 2 * words * 8 <= size_max:
            words *= 2
        self._words = array("Q", bytes(8 * words))
        self._shift = 64 - (words.bit_length() - 1)
        self.capacity = words * 64 // BITS_PER_ENTRY
        """Entries from which on it is worth making a larger one."""
        self.added = 0

    def add(self, hash: int) -> None:
        """Remember a hash."""
        self._words[hash >> self._shift] |= _bits(hash)
        self.added += 1

    def __contains__(self, hash: int) -> bool:
        """False only for what was never added."""
        bits = _bits(hash)
        return self._words[hash >> self._shift] & bits == bits

    @property
    def size(self) -> int:
        """Bytes of memory."""
        return 8 * len(self._words)


class Uses:
    """How often each entry was used: about, since entries may share a number, and not beyond USES_MAX."""

    def __init__(self, entries: int, size_max: int) -> None:
        slots = ENTRIES_MIN
        while slots < entries and 2 * slots <= size_max:
            slots *= 2
        self._size_max = size_max
        self._counts = bytearray(slots)
        self._mask = slots - 1

    def fits(self, entries: int) -> bool:
        """Whether there are enough numbers for so many entries, or cannot be more."""
        return len(self._counts) >= entries or 2 * len(self._counts) > self._size_max

    def add(self, hash: int) -> None:
        """It was used."""
        slot = hash >> 20 & self._mask
        if self._counts[slot] < USES_MAX:
            self._counts[slot] += 1

    def __getitem__(self, hash: int) -> int:
        return self._counts[hash >> 20 & self._mask]

    def spend(self, hash: int) -> None:
        """Its turn came and it stays: S3-FIFO's count of three at most, less one."""
        slot = hash >> 20 & self._mask
        self._counts[slot] = max(min(self._counts[slot], 3) - 1, 0)


class Filters:
    """The filters of a worker's shards, on its event loop. A shard without one may hold anything.

    One is made anew in the writer's thread; what is added meanwhile is added to the new one when it comes.
    """

    def __init__(self, shards: Sequence[int], size_max: int) -> None:
        """`size_max`: bytes for each of them."""
        self.size_max = size_max
        self._filters: dict[int, Filter | None] = dict.fromkeys(shards)
        self._late: dict[int, list[int]] = {}

    def may_hold(self, shard: int, hash: int) -> bool:
        """False only for what was never added."""
        filter = self._filters.get(shard)
        return filter is None or hash in filter

    def add(self, shard: int, hash: int) -> None:
        """Something is going to be stored."""
        filter = self._filters.get(shard)
        if filter is not None:
            filter.add(hash)
        if shard in self._late:
            self._late[shard].append(hash)

    def due(self, shard: int, entries: int) -> bool:
        """Whether it should be made anew: there is none, too much was added, or much has left since."""
        filter = self._filters.get(shard)
        if shard in self._late:
            return False
        if filter is None:
            return True
        grown = filter.added > filter.capacity and (2 * filter.size <= self.size_max or filter.added > 2 * entries)
        return grown or (filter.added > ENTRIES_MIN and filter.added > 4 * entries)

    def begin(self, shard: int) -> None:
        """It is being made anew, from everything that was ordered before."""
        self._late[shard] = []

    def install(self, shard: int, filter: Filter | None) -> None:
        """Here it is; None: nothing came of it."""
        late = self._late.pop(shard, [])
        if filter is not None:
            for hash in late:
                filter.add(hash)
            self._filters[shard] = filter
