"""One large body on disk: its pieces written, logged, read back and checked."""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Sequence
from threading import Lock

from xxhash import xxh3_64

from edgeproxy.errors import Damaged
from edgeproxy.store.bodies import ENTRIES_MAX, PIECE_MAX, Piece, Pieces, Run, check_of, log_entry, log_head, read_log
from edgeproxy.store.files import OpenFiles
from edgeproxy.store.intervals import Interval, Intervals, missing
from edgeproxy.store.records import INTERVALS_MAX

BODIES_MAX = 256
"""Most bodies of a shard whose logs are kept in memory."""


class Body:
    """A large body. `load`, `read` and `read_now` are for any thread, `read_now` for the event loop too; what writes
    is for the writer's thread. Raises OSError, and Damaged for bytes that are not as they were written."""

    def __init__(self, folder: str, file: int, name: int, files: OpenFiles) -> None:
        self.file = file
        self.path = os.path.join(folder, f"{file & 0xFF:02x}", str(file))
        self.log_path = self.path + ".log"
        self.pieces = Pieces()
        self.base = 0
        """Bytes of disk that its record says it takes."""
        self.extra = 0
        """Bytes that it has grown by since."""
        self.gone = False
        """No record names it any more."""
        self._name = name
        self._files = files
        self._log_end = 0
        self._log_hash = xxh3_64()

    def create(self) -> None:
        """Make its files."""
        layer = self._files.layer
        layer.make_folder(os.path.dirname(self.path))
        for path in (self.path, self.log_path):
            layer.remove(path)
            layer.close(layer.open(path, write=True, new=True))
        self._append(log_head(self.file, self._name))

    def load(self, sealed: Interval | None, intervals: Intervals) -> None:
        """Read the log; `sealed` as read_log has it. Raises FileNotFoundError when one of its files is gone."""
        layer = self._files.layer
        descriptor = layer.open(self.log_path)
        try:
            log = layer.read(descriptor, os.fstat(descriptor).st_size, 0)
        finally:
            layer.close(descriptor)
        size = os.stat(self.path).st_size
        pieces = read_log(log, self.file, self._name, sealed, intervals)
        if pieces is None:
            raise Damaged("a stored body's log is not its own")
        if pieces.intervals and pieces.intervals[-1][1] > size:
            raise Damaged("a stored body was cut short")
        self.pieces = pieces
        self._log_end = len(log) - len(log) % 32
        self._log_hash = xxh3_64(log[: self._log_end])

    @property
    def seal(self) -> Interval:
        """(bytes, checksum) of the log as it is."""
        return self._log_end, self._log_hash.intdigest()

    def _append(self, data: bytes) -> None:
        layer = self._files.layer
        descriptor = layer.open(self.log_path, write=True)
        try:
            layer.write(descriptor, [data], self._log_end)
        finally:
            layer.close(descriptor)
        self._log_end += len(data)
        self._log_hash.update(data)

    def write(self, run: Run, offset: int, blocks: Sequence[bytes]) -> list[Piece]:
        """Write these, one behind the other; returns the pieces that are complete, to be given to `log`.

        Bytes that are there already are left as they are.
        """
        end = offset + sum(map(len, blocks))
        wanted = list(missing(self.pieces.intervals, offset, end))
        if wanted == [(offset, end)]:
            return self._write(run, offset, blocks)
        complete: list[Piece] = []
        data = memoryview(b"".join(blocks))
        for first, last in wanted:
            complete += self._write(run, first, [data[first - offset : last - offset]])
        return complete

    def _write(self, run: Run, offset: int, blocks: Sequence[bytes | memoryview]) -> list[Piece]:
        complete = list(filter(None, [run.moves_to(offset)]))
        with self._files.use(self.path, write=True) as descriptor:
            self._files.layer.write(descriptor, blocks, offset)
        for block in blocks:
            complete += run.take(memoryview(block))
        return complete

    def log(self, pieces: Sequence[Piece]) -> bool:
        """Make them be there; False when some are left out because there would be too many."""
        kept: list[Piece] = []
        room = ENTRIES_MAX - len(self.pieces)
        for piece in pieces:
            alone = len(self.pieces.intervals) + len(kept) >= INTERVALS_MAX and not self._joins(piece)
            if len(kept) < room and not alone:
                kept.append(piece)
        if kept:
            self._append(b"".join(log_entry(piece, self.file) for piece in kept))
        for piece in kept:
            self.pieces.add(*piece)
        return len(kept) == len(pieces)

    def _joins(self, piece: Piece) -> bool:
        return any(start <= piece[1] and piece[0] <= end for start, end in self.pieces.intervals)

    def rewrite_log(self) -> None:
        """Write the log anew, of the pieces that are left: one was damaged."""
        layer = self._files.layer
        data = log_head(self.file, self._name) + b"".join(log_entry(piece, self.file) for piece in self.pieces.all())
        new = self.log_path + ".new"
        layer.remove(new)
        descriptor = layer.open(new, write=True, new=True)
        try:
            layer.write(descriptor, [data], 0)
        finally:
            layer.close(descriptor)
        os.replace(new, self.log_path)
        self._log_end = len(data)
        self._log_hash = xxh3_64(data)

    def used(self) -> int:
        """Bytes of disk it takes."""
        with self._files.use(self.path, write=True) as descriptor:
            taken = self._files.layer.used(descriptor)
        return taken + (self._log_end + 4095) // 4096 * 4096

    def read(self, first: int, end: int) -> bytes:
        """Bytes from `first` on that are there, at most PIECE_MAX of them and not beyond `end`; b"" for none."""
        found = self.pieces.covering(first, end)
        if not found:
            return b""
        with self._files.use(self.path) as descriptor:
            data = self._files.layer.read(descriptor, found[-1][1] - found[0][0], found[0][0])
        return self._checked(found, data, first, end)

    def read_now(self, first: int, end: int) -> bytes | None:
        """As `read`, if that is possible without waiting for the disk; else None."""
        found = self.pieces.covering(first, end)
        if not found:
            return b""
        with self._files.use_open(self.path) as descriptor:
            if descriptor is None:
                return None
            data = self._files.layer.read_now(descriptor, found[-1][1] - found[0][0], found[0][0])
        return None if data is None else self._checked(found, data, first, end)

    def _checked(self, found: Sequence[Piece], data: bytes, first: int, end: int) -> bytes:
        start = found[0][0]
        view = memoryview(data)
        for piece in found:
            if check_of(view[piece[0] - start : piece[1] - start], self.file) != piece[2]:
                raise DamagedPiece(piece)
        last = min(end, found[-1][1], first + PIECE_MAX)
        return data if first == start and last == found[-1][1] else data[first - start : last - start]

    def unlink(self) -> None:
        """Give its space back."""
        self.gone = True
        for path in (self.path, self.log_path):
            self._files.forget(path)
            self._files.layer.remove(path)


class DamagedPiece(Damaged):
    """A piece of a large body is not as it was written."""

    def __init__(self, piece: Piece) -> None:
        super().__init__("a piece of a stored body is not as it was written")
        self.piece = piece


class Gone(Damaged):
    """The file of a large body is not there."""


class Bodies:
    """The large bodies of one shard whose logs have been read: at most so many pieces in all. For several threads.

    One that is being written stays until its last writer has left.
    """

    def __init__(self, pieces_max: int) -> None:
        self._pieces_max = pieces_max
        self._known: OrderedDict[int, Body] = OrderedDict()
        self._writers: dict[int, int] = {}
        self._lock = Lock()

    def get(self, file: int) -> Body | None:
        """A body that is known."""
        with self._lock:
            body = self._known.get(file)
            if body is not None:
                self._known.move_to_end(file)
            return body

    def put(self, body: Body) -> Body:
        """Remember a body; returns the one that is remembered, another thread having been quicker."""
        with self._lock:
            body = self._known.setdefault(body.file, body)
            self._known.move_to_end(body.file)
            pieces = sum(len(each.pieces) for each in self._known.values())
            for file in list(self._known):
                if pieces <= self._pieces_max and len(self._known) <= BODIES_MAX:
                    break
                if file not in self._writers and file != body.file:
                    pieces -= len(self._known.pop(file).pieces)
            return body

    def forget(self, file: int) -> None:
        """It was removed."""
        with self._lock:
            self._known.pop(file, None)

    def all_gone(self) -> None:
        """No record names any of them any more."""
        with self._lock:
            for body in self._known.values():
                body.gone = True

    def enter(self, body: Body) -> None:
        """Somebody begins to write it."""
        self._writers[body.file] = self._writers.get(body.file, 0) + 1
        self.put(body)

    def leave(self, file: int) -> None:
        """A writer has ended."""
        left = self._writers.pop(file, 1) - 1  # absent: the shard was opened anew since
        if left:
            self._writers[file] = left

    def busy(self, file: int) -> bool:
        """Whether it is being written."""
        return file in self._writers
