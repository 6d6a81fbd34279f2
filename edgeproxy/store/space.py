"""How much of the disk is taken, promised and left. For several threads.

What is written was promised before, and what is promised is not promised again: so the bound holds while bodies arrive.
But nothing has to leave before its space is claimed: a large body that is begun and given up costs nobody's place.
"""

from __future__ import annotations

from collections.abc import Sequence
from threading import Lock


class Space:
    """The disk space of one worker, bytes."""

    def __init__(self, bound: int, margin: int, shards: Sequence[int]) -> None:
        """`margin` is never promised: it is for what an index and an eviction need on the way."""
        self.bound = bound
        self._ceiling = bound
        self._margin = margin
        self._used = dict.fromkeys(shards, 0)
        self._fixed = dict.fromkeys(shards, 0)
        self._promised = 0
        self._due = 0
        self._lock = Lock()

    def set_used(self, shard: int, used: int, fixed: int) -> None:
        """What a shard takes, and how much of that cannot leave: its index, and bodies that are being written."""
        with self._lock:
            self._used[shard] = used
            self._fixed[shard] = fixed

    def set_free(self, free: int) -> None:
        """What the file system has left: others may fill it, and what is cached makes way."""
        with self._lock:
            self._ceiling = min(self.bound, sum(self._used.values()) + free)

    def promise(self, amount: int) -> bool:
        """So many bytes more may be written; False when so many could not be made room for."""
        with self._lock:
            if self._promised + amount + sum(self._fixed.values()) + self._margin > self._ceiling:
                return False
            self._promised += amount
            return True

    def claim(self, amount: int) -> None:
        """So many of those promised will be written now: others have to make way."""
        with self._lock:
            self._due += amount

    def release(self, amount: int, claimed: int) -> None:
        """So many of those promised, and of those claimed, were written or will not be."""
        with self._lock:
            self._promised -= amount
            self._due -= claimed

    def short(self) -> int:
        """Bytes that have to leave before what was claimed can be written."""
        with self._lock:
            return sum(self._used.values()) + self._due + self._margin - self._ceiling

    def used(self) -> int:
        """Bytes taken."""
        with self._lock:
            return sum(self._used.values())

    def used_by(self, shard: int) -> int:
        """Bytes that a shard takes and that could leave."""
        with self._lock:
            return self._used[shard] - self._fixed[shard]


class Promise:
    """What one writer was promised and has not used yet."""

    def __init__(self, space: Space) -> None:
        self._space = space
        self._lock = Lock()
        self._left = 0
        self._claimed = 0

    def grow(self, amount: int) -> bool:
        """Ask for more."""
        if not self._space.promise(amount):
            return False
        with self._lock:
            self._left += amount
        return True

    def claim(self, amount: int) -> bool:
        """So many bytes will be written now; False when they were not promised."""
        with self._lock:
            if self._claimed + amount > self._left:
                return False
            self._claimed += amount
        self._space.claim(amount)
        return True

    def spend(self, amount: int) -> None:
        """So many bytes are on disk now."""
        with self._lock:
            amount = min(amount, self._left)
            claimed = min(amount, self._claimed)
            self._left -= amount
            self._claimed -= claimed
        self._space.release(amount, claimed)

    def end(self) -> None:
        """Nothing more will be written."""
        with self._lock:
            amount, self._left = self._left, 0
            claimed, self._claimed = self._claimed, 0
        self._space.release(amount, claimed)
