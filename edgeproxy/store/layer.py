"""The system calls that the disk tier makes for bodies, in one place: a test puts a failing one in their stead.

All of them raise OSError. None is for the event loop but `read_now` and `write`-less `close`.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence

_NOT_NOW = {errno.EAGAIN, errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS}
VECTOR_MAX = 512
"""Most buffers given to the system at once (IOV_MAX is 1024 where we run; POSIX promises 16)."""
_NOWAIT = getattr(os, "RWF_NOWAIT", 0)


class Layer:
    """The real system."""

    def open(self, path: str, *, write: bool = False, create: bool = False, new: bool = False) -> int:
        """A descriptor. `create`: an empty file if there is none; `new`: and there must not be one."""
        flags = os.O_CLOEXEC | (os.O_RDWR if write else os.O_RDONLY)
        return os.open(path, flags | (os.O_CREAT if create or new else 0) | (os.O_EXCL if new else 0), 0o640)

    def close(self, descriptor: int) -> None:
        os.close(descriptor)

    def read(self, descriptor: int, size: int, offset: int) -> bytes:
        """At most `size` bytes from `offset`; fewer at the end of the file only."""
        data = os.pread(descriptor, size, offset)
        while len(data) < size:
            more = os.pread(descriptor, size - len(data), offset + len(data))
            if not more:
                break
            data += more
        return data

    def read_now(self, descriptor: int, size: int, offset: int) -> bytes | None:
        """All `size` bytes if memory holds them already; None when that is not so, or cannot be known here."""
        if not _NOWAIT:
            return None
        buffer = bytearray(size)
        try:
            there = os.preadv(descriptor, [buffer], offset, _NOWAIT)
        except OSError as error:
            if error.errno in _NOT_NOW:
                return None
            raise
        return bytes(buffer) if there == size else None

    def write(self, descriptor: int, blocks: Sequence[bytes | memoryview], offset: int) -> None:
        """All of these at `offset`, one behind the other."""
        rest = list(blocks)
        while rest:
            some, rest = rest[:VECTOR_MAX], rest[VECTOR_MAX:]
            written = os.pwritev(descriptor, some, offset)
            offset += written
            if written == sum(map(len, some)):
                continue
            while some and written >= len(some[0]):
                written -= len(some.pop(0))
            if some:
                rest = [memoryview(some[0])[written:], *some[1:], *rest]

    def truncate(self, descriptor: int, size: int) -> None:
        os.ftruncate(descriptor, size)

    def used(self, descriptor: int) -> int:
        """Bytes that an open file takes on disk."""
        return os.fstat(descriptor).st_blocks * 512

    def free(self, path: str) -> int:
        """Bytes that may still be written to the file system here."""
        found = os.statvfs(path)
        return found.f_bavail * found.f_frsize

    def make_folder(self, path: str) -> None:
        os.makedirs(path, mode=0o750, exist_ok=True)

    def remove(self, path: str) -> bool:
        """Remove a file; False when there was none."""
        try:
            os.unlink(path)
        except FileNotFoundError:
            return False
        return True
