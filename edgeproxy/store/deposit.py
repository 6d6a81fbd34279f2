"""Where the bytes of a body go while it arrives: into memory, onto the disk, or first the one and then the other.

What is in memory stays there as a whole, for whoever reads it. What goes to disk is read back from there, and the fill
that brings it keeps no more than a window.
"""

from __future__ import annotations

from collections.abc import Callable

from edgeproxy.headers import Headers
from edgeproxy.outcome import StoredHead
from edgeproxy.store.memory import Terms, Writer
from edgeproxy.store.writer import DiskWriter


def _no_tape() -> DiskWriter | None:
    """There is no disk for this."""
    return None


class Deposit:
    """Takes the bytes of one body, or from `first` on of a part of one."""

    __slots__ = ("_at", "_most", "_settled", "_spill", "first", "tape", "writer")

    def __init__(
        self,
        writer: Writer | None,
        tape: DiskWriter | None = None,
        spill: Callable[[], DiskWriter | None] = _no_tape,
        first: int = 0,
        most: int | None = None,
    ) -> None:
        """`writer`: into memory. `tape`: onto the disk. `spill` makes a tape when memory has no room after all. A body
        of unknown length that has more than `most` bytes is not kept."""
        self.writer = writer
        self.tape = tape
        self.first = first
        self._spill = spill
        self._most = most
        self._settled = False
        self._at = first

    @property
    def open(self) -> bool:
        """What was taken so far will be kept."""
        return self.tape is not None or (self.writer is not None and self.writer.open)

    @property
    def in_memory(self) -> bool:
        """Whoever brings the body keeps all blocks of it, and they are counted."""
        return self.tape is None and self.open

    def append(self, block: bytes) -> bool:
        """Take a block. False when nothing will be kept, from now on or since earlier."""
        if self.tape is None:
            if self.writer is None or not self.writer.open:
                return False
            if self.writer.append(block):
                self._at += len(block)
                return True
            self.tape = self._spill()
            if self.tape is None:
                return False
            self._at = self.first
            for earlier in self.writer.blocks:
                self._put(earlier)
        return self._put(block)

    def _put(self, block: bytes) -> bool:
        too_long = self._most is not None and self._at + len(block) - self.first > self._most
        if self.tape is None or too_long or not self.tape.write(self._at, block):
            self.lose()
            return False
        self._at += len(block)
        return True

    async def settle(self, head: StoredHead, trailers: Headers, terms: Terms) -> None:
        """All that goes to disk has come."""
        if self.tape is not None:
            self._settled = True
            await self.tape.commit(head, trailers, terms)

    def lose(self) -> None:
        """The disk has failed under it: nothing is kept."""
        tape, self.tape = self.tape, None
        if tape is not None and not self._settled:
            tape.abandon(False)
        if self.writer is not None:
            self.writer.close()

    def safe_until(self, offset: int) -> int:
        """Up to where bytes from `offset` of this body on need no longer be kept by whoever brings them."""
        return offset if self.tape is None else self.tape.readable(self.first + offset) - self.first

    def give_back(self, amount: int) -> None:
        """So many bytes of those taken are gone from memory."""
        if self.writer is not None:
            self.writer.give_back(amount)

    def lend(self) -> Callable[[], None]:
        """As MemoryStore.lend, for those who read what was taken."""
        return self.abandon if self.tape is not None or self.writer is None else self.writer.lend()

    def abandon(self, *, keep: bool = False) -> None:
        """Nothing more will come, and nobody reads it; `keep` what is on disk of it."""
        tape, self.tape = self.tape, None
        if tape is not None and not self._settled:
            tape.abandon(keep)
        if self.writer is not None:
            self.writer.abandon()
