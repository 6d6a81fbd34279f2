"""A large answer on its way from memory to one viewer: what is left of it, and who is to hear when it is over."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from edgeproxy.edge.lane import Known

BATCH_MAX = 1024 * 1024
"""Bytes offered to a socket at a time."""

PARTS_MAX = 64
"""Pieces offered at a time; every system takes more."""


class Pour:
    """The bytes that have not been sent yet, as views: nothing is copied."""

    __slots__ = ("_offset", "_parts", "began", "head", "known", "left", "request_id", "returned", "sent")

    def __init__(
        self, known: Known, head: bytes, request_id: bytes, parts: Sequence[bytes], began: float,
        returned: Callable[[], None],
    ) -> None:  # fmt: skip
        self._parts = [memoryview(part) for part in reversed(parts)]
        self._offset = 0
        self.left = sum(map(len, parts))
        self.sent = 0
        self.known = known
        self.head = head
        """The request's, as it came."""
        self.request_id = request_id
        self.began = began
        """On the monotonic clock, seconds."""
        self.returned = returned
        """To be called when nothing of it is read any more."""

    def batch(self, most: int) -> list[memoryview]:
        """What comes next: at most so many bytes, at least one piece."""
        batch: list[memoryview] = []
        for part in self._parts[: -PARTS_MAX - 1 : -1]:
            piece = part[self._offset : self._offset + most] if not batch else part[:most]
            batch.append(piece)
            most -= len(piece)
            if most <= 0:
                break
        return batch

    def advance(self, count: int) -> None:
        """So many bytes have been taken."""
        self.left -= count
        self.sent += count
        while self._parts and self._offset + count >= len(self._parts[-1]):
            count -= len(self._parts.pop()) - self._offset
            self._offset = 0
        self._offset += count
