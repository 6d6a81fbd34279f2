"""Files that are open, at most so many: the least recently used is closed. For several threads.

A file that was removed is closed at once, or as soon as the call that reads it has returned: as long as somebody holds
a descriptor, the system keeps the space taken.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from threading import Lock

from edgeproxy.store.layer import Layer


class _Open:
    """An open file and how many calls use it now."""

    __slots__ = ("descriptor", "doomed", "users")

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self.users = 0
        self.doomed = False


class OpenFiles:
    """Descriptors by path. One that writes also reads; the two kinds are kept apart, for a disk that is read-only."""

    def __init__(self, layer: Layer, most: int) -> None:
        self.layer = layer
        self._most = most
        self._open: OrderedDict[tuple[str, bool], _Open] = OrderedDict()
        self._lock = Lock()

    @contextmanager
    def use(self, path: str, *, write: bool = False) -> Iterator[int]:
        """The descriptor of a file, opened if it is not. Raises OSError. Not for the event loop."""
        file = self._taken((path, write))
        if file is None:
            descriptor = self.layer.open(path, write=write)
            file = self._put((path, write), descriptor)
        try:
            yield file.descriptor
        finally:
            self._leave(file)

    @contextmanager
    def use_open(self, path: str) -> Iterator[int | None]:
        """The descriptor of a file that is open already, else None. Never waits for a disk."""
        file = self._taken((path, False)) or self._taken((path, True))
        try:
            yield None if file is None else file.descriptor
        finally:
            if file is not None:
                self._leave(file)

    def forget(self, path: str) -> None:
        """This file is being removed."""
        with self._lock:
            for write in (False, True):
                file = self._open.pop((path, write), None)
                if file is not None:
                    self._doom(file)

    def forget_under(self, folder: str) -> None:
        """Everything below a folder is being removed, or cannot be relied on any more."""
        with self._lock:
            for name in [name for name in self._open if name[0].startswith(folder)]:
                self._doom(self._open.pop(name))

    def close(self) -> None:
        """Close everything that nobody uses; what is used is closed when it is left."""
        self.forget_under("")

    def __len__(self) -> int:
        return len(self._open)

    def _taken(self, name: tuple[str, bool]) -> _Open | None:
        with self._lock:
            file = self._open.get(name)
            if file is not None:
                file.users += 1
                self._open.move_to_end(name)
            return file

    def _put(self, name: tuple[str, bool], descriptor: int) -> _Open:
        with self._lock:
            other = self._open.get(name)
            if other is not None:  # another thread was quicker
                other.users += 1
                with suppress(OSError):
                    self.layer.close(descriptor)
                return other
            file = self._open[name] = _Open(descriptor)
            file.users = 1
            while len(self._open) > self._most:
                self._doom(self._open.popitem(last=False)[1])
            return file

    def _leave(self, file: _Open) -> None:
        with self._lock:
            file.users -= 1
            if file.doomed and not file.users:
                self._close(file)

    def _doom(self, file: _Open) -> None:
        file.doomed = True
        if not file.users:
            self._close(file)

    def _close(self, file: _Open) -> None:
        with suppress(OSError):
            self.layer.close(file.descriptor)
