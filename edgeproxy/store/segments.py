"""Small bodies, one behind the other in files that are only ever appended to.

A segment knows nothing of what is in it: the index says where a body begins and by which checksum it is known. A file
is filled, is kept for a while, and leaves as a whole. Its number is never used again.
"""

from __future__ import annotations

import os

from edgeproxy.store.files import OpenFiles
from edgeproxy.store.index import Index, offset_of, segment_of, small_id

ALIGNMENT = 8
"""Bodies begin at multiples of this: the id of a large one can then never be that of a small one."""


def taken(size: int) -> int:
    """Bytes that a body takes in a segment; an empty one too has a place of its own."""
    return max(size + ALIGNMENT - 1, ALIGNMENT) // ALIGNMENT * ALIGNMENT


class Segments:
    """The segments of one shard. All but `read` is for the writer's thread; paths and errors are OSError's."""

    def __init__(self, folder: str, files: OpenFiles, size_max: int) -> None:
        self._folder = folder
        self._files = files
        self._size_max = size_max
        self._known: dict[int, list[int]] = {}
        self._changed: set[int] = set()
        self._waiting: list[bytes] = []
        self._written = 0
        """End of what is in the current segment's file; what waits comes behind it."""
        self.current = 0
        self.attached = 0
        """Bytes of large bodies that joined the current segment."""

    def path(self, number: int) -> str:
        """The file of a segment."""
        return os.path.join(self._folder, str(number))

    def open(self, known: dict[int, list[int]], highest_id: int) -> int:
        """Go on with these; returns how many files that the index does not know were removed.

        What a crash left behind the end of the newest one is cut off; one that is missing or too short is kept in the
        books as it is: its bodies will be found damaged.
        """
        self._files.layer.make_folder(self._folder)
        self._known = known
        swept = 0
        for name in os.listdir(self._folder):
            if not name.isdigit() or int(name) not in known:
                swept += self._files.layer.remove(os.path.join(self._folder, name))
        self.current = max(max(known, default=0), segment_of(highest_id))
        if not self._resume():
            self.roll()
        return swept

    def _resume(self) -> bool:
        """Whether the newest segment can be appended to."""
        if self.current not in self._known or self._known[self.current][0] >= self._size_max:
            return False
        size = self._known[self.current][0]
        try:
            with self._files.use(self.path(self.current), write=True) as descriptor:
                if os.fstat(descriptor).st_size < size:
                    return False
                self._files.layer.truncate(descriptor, size)
        except OSError:
            return False
        self._written = size
        return True

    def roll(self) -> None:
        """Begin a new segment; its file is made when something comes into it."""
        self.current += 1
        self._known[self.current] = [0, 0]
        self._changed.add(self.current)
        self._written = 0
        self.attached = 0

    def place(self, body: bytes) -> int:
        """Take a body; returns its id. It is there to be read after `flush`."""
        size = taken(len(body))
        at, live = self._known[self.current]
        if at and (at + size > self._size_max or self.attached >= self._size_max * 8):
            self.flush()
            self.roll()
            at = live = 0
        self._known[self.current] = [at + size, live + size]
        self._changed.add(self.current)
        self._waiting.append(body)
        if size > len(body):
            self._waiting.append(bytes(size - len(body)))
        return small_id(self.current, at)

    def retire(self) -> bool:
        """Nothing is recorded: let the current segment go too; False when it is empty."""
        if not self._known[self.current][0]:
            return False
        self.roll()
        return True

    def attach(self, size: int) -> int:
        """A large body joins here: the number of the segment."""
        if self.attached >= self._size_max * 8:
            self.flush()
            self.roll()
        self.attached += size
        return self.current

    def flush(self) -> None:
        """Write what waits."""
        if not self._waiting:
            return
        path = self.path(self.current)
        if not self._written:
            layer = self._files.layer
            self._files.forget(path)
            layer.close(layer.open(path, write=True, create=True))
        with self._files.use(path, write=True) as descriptor:
            self._files.layer.write(descriptor, self._waiting, self._written)
        self._written += sum(map(len, self._waiting))
        self._waiting.clear()

    def free(self, id: int, size: int) -> None:
        """A small body is not recorded any more."""
        known = self._known.get(segment_of(id))
        if known is not None:
            known[1] = max(known[1] - taken(size), 0)
            self._changed.add(segment_of(id))

    def note(self, index: Index) -> None:
        """Put what has changed into the index, in its transaction."""
        for number in self._changed:
            if number in self._known:
                index.put_segment(number, *self._known[number])
        self._changed.clear()

    def dead(self, before: int) -> list[int]:
        """Segments of which nothing is in use, and those `before` the first that is recorded; not the current one."""
        return [
            number
            for number, known in self._known.items()
            if (known[1] == 0 or number < before) and number != self.current
        ]

    def discard(self, number: int) -> None:
        """Take it out of the books; its file goes with `unlink`."""
        self._known.pop(number, None)

    def unlink(self, number: int) -> None:
        """Give a segment's space back."""
        self._files.forget(self.path(number))
        self._files.layer.remove(self.path(number))

    def used(self) -> int:
        """Bytes of all of them."""
        return sum(size for size, _ in self._known.values())

    @property
    def numbers(self) -> list[int]:
        """Those there are, the oldest first."""
        return sorted(self._known)

    def read(self, id: int, size: int) -> bytes:
        """Bytes of a small body; fewer when the file is shorter. Raises OSError."""
        with self._files.use(self.path(segment_of(id))) as descriptor:
            return self._files.layer.read(descriptor, size, offset_of(id))

    def restore(self, known: dict[int, list[int]]) -> None:
        """A transaction failed: go on with these. What was written meanwhile belongs to nobody."""
        self._waiting.clear()
        self._changed = {self.current}
        known.setdefault(self.current, [0, 0])[0] = self._written
        self._known = known
