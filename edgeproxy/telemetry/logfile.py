"""The file behind the access log. Several processes append to it; whole lines, rotation by size. Blocking calls only.

Every append happens under an exclusive `flock` of the log file itself, and once that is held the path is looked up
again: whoever finds another file there (a sibling rotated, or logrotate moved it) opens that one instead. So no line is
written to a file that somebody else has just renamed, no two processes rotate at once, and no lock file lies about.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import stat
from collections.abc import Iterator
from pathlib import Path

STDOUT = "-"


class LogFile:
    """Appends whole lines to `path`, or to standard output for "-".

    What is no regular file (standard output, a device, a pipe) is a stream: never locked, never rotated.
    """

    def __init__(self, path: str, header: bytes, *, rotate_size: int, rotate_keep: int) -> None:
        self._path = path
        self._header = header
        self._rotate_size = rotate_size
        self._rotate_keep = rotate_keep
        self._descriptor: int | None = None
        self._stream = False
        self._header_due = False
        """A stream has no size that tells whether its header was written: each process writes it first."""

    def append(self, lines: bytes) -> None:
        """Write these whole lines; header first when the file is new.

        Raises OSError; then a file holds none of them (a stream may hold some), and they may be given again.
        """
        descriptor = self._current()
        if self._stream:
            self._append_stream(descriptor, lines)
            return
        with self._locked() as (descriptor, size):
            data = lines if size else self._header + lines
            try:
                _write(descriptor, data)
            except OSError:
                # A full disk may have taken a part. It is cut off again, so that the file ends with a whole line;
                # nobody else can have appended meanwhile.
                with contextlib.suppress(OSError):
                    os.ftruncate(descriptor, size)
                raise

    def rotate_if_full(self) -> bool:
        """Rotate when the file is larger than the limit, and begin a new one; whether it was done. Raises OSError."""
        descriptor = self._current()
        if self._stream or not self._is_full(descriptor):
            return False
        with self._locked() as (descriptor, _):
            # Asked again under the lock: a sibling may have done it meanwhile.
            if not self._is_full(descriptor):
                return False
            self._shift()
        self.reopen()
        return True

    def reopen(self) -> None:
        """Let go of the file and open what the path names now. Raises OSError."""
        self.close()
        self._current()
        if not self._stream:
            self.append(b"")

    def close(self) -> None:
        """Let go of the file. Idempotent; standard output stays open."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None and self._path != STDOUT:
            os.close(descriptor)

    def _current(self) -> int:
        if self._descriptor is not None:
            return self._descriptor
        if self._path == STDOUT:
            self._stream = True
            self._descriptor = 1
        else:
            # Addresses and cookies are nobody else's business: not readable for the world.
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
            self._descriptor = os.open(self._path, flags, 0o640)
            self._stream = not stat.S_ISREG(os.fstat(self._descriptor).st_mode)
        self._header_due = self._stream
        return self._descriptor

    def _is_full(self, descriptor: int) -> bool:
        return self._rotate_size > 0 and os.fstat(descriptor).st_size > max(self._rotate_size, len(self._header))

    @contextlib.contextmanager
    def _locked(self) -> Iterator[tuple[int, int]]:
        """Hold the lock of the file that the path names now: its descriptor and its size."""
        while True:
            descriptor = self._current()
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            if self._is_named(descriptor):
                break
            self.close()
        try:
            yield descriptor, os.fstat(descriptor).st_size
        finally:
            fcntl.flock(descriptor, fcntl.LOCK_UN)

    def _is_named(self, descriptor: int) -> bool:
        try:
            return os.path.samestat(os.stat(self._path), os.fstat(descriptor))
        except OSError:
            return False

    def _append_stream(self, descriptor: int, lines: bytes) -> None:
        for block in _blocks(self._header + lines if self._header_due else lines):
            _write(descriptor, block)
            self._header_due = False

    def _shift(self) -> None:
        """Move the file to PATH.1, that one to PATH.2, and so on; from PATH.`rotate_keep` on they are removed."""
        surplus = max(self._rotate_keep, 1)
        while (old := Path(f"{self._path}.{surplus}")).exists():
            old.unlink()
            surplus += 1
        if self._rotate_keep == 0:
            os.unlink(self._path)
            return
        free = 1
        while Path(f"{self._path}.{free}").exists():
            free += 1
        for number in range(free, 1, -1):
            os.rename(f"{self._path}.{number - 1}", f"{self._path}.{number}")
        os.rename(self._path, f"{self._path}.1")


def _write(descriptor: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        try:
            rest = rest[os.write(descriptor, rest) :]
        except BlockingIOError:
            # Standard output may be shared with someone who made it non-blocking.
            poll = select.poll()
            poll.register(descriptor, select.POLLOUT)
            poll.poll()


def _blocks(lines: bytes) -> Iterator[bytes]:
    """Whole lines in blocks that a pipe never mixes with another writer's; a line longer than that stands alone."""
    start = 0
    while start < len(lines):
        end = len(lines)
        if end - start > select.PIPE_BUF:
            last = lines.rfind(b"\n", start, start + select.PIPE_BUF)
            end = (last if last >= 0 else lines.index(b"\n", start)) + 1
        yield lines[start:end]
        start = end
