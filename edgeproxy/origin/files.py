"""A folder as a tree of representations: nothing outside it is ever opened.

Everything here blocks, and is called from threads.
"""

from __future__ import annotations

import mimetypes
import os
import stat
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from urllib.parse import quote, unquote_to_bytes

# The system's own table differs from machine to machine; what the web needs does not.
_TYPES = {
    ".css": "text/css",
    ".htm": "text/html",
    ".html": "text/html",
    ".ico": "image/vnd.microsoft.icon",
    ".js": "text/javascript",
    ".json": "application/json",
    ".md": "text/markdown",
    ".mjs": "text/javascript",
    ".svg": "image/svg+xml",
    ".txt": "text/plain",
    ".wasm": "application/wasm",
    ".webmanifest": "application/manifest+json",
    ".webp": "image/webp",
    ".woff2": "font/woff2",
    ".xml": "application/xml",
}
_PACKED = {"gzip": "application/gzip", "bzip2": "application/x-bzip2", "xz": "application/x-xz"}


@dataclass(frozen=True, slots=True)
class OpenFile:
    """A regular file that is open for reading; its owner calls `close`."""

    # An object rather than a descriptor: one that is found for a client who has just left closes itself.
    file: FileIO
    length: int
    modified_ns: int
    content_type: str

    @property
    def etag(self) -> str:
        """A strong entity tag: another content has another time or another size."""
        return f'"{self.modified_ns:x}-{self.length:x}"'

    def read(self, offset: int, size: int) -> bytes:
        """Up to `size` bytes from `offset`; fewer only where the file ends, now."""
        blocks = []
        while size and (block := os.pread(self.file.fileno(), size, offset)):
            blocks.append(block)
            offset += len(block)
            size -= len(block)
        return b"".join(blocks)

    def close(self) -> None:
        """Give the descriptor back."""
        self.file.close()


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """A folder was asked for without the slash at its end: `location` is a relative reference to it."""

    location: str


def content_type(name: str) -> str:
    """The media type for a file name, text with its charset."""
    kind = _TYPES.get(os.path.splitext(name)[1].lower())
    if kind is None:
        guess, packing = mimetypes.guess_type(name)
        kind = _PACKED.get(packing, "application/octet-stream") if packing else guess or "application/octet-stream"
    return f"{kind}; charset=utf-8" if kind.startswith("text/") else kind


class Folder:
    """The files below `root`, by URL path."""

    def __init__(self, root: Path) -> None:
        self._root = root.resolve(strict=True)

    def find(self, path: str) -> OpenFile | Elsewhere | None:
        """What a raw URL path means: a file (index.html for a folder), a folder elsewhere, or nothing.

        Nothing is also the answer for what exists but must not be shown: outside of the root (by `..` or by a
        symbolic link), unreadable, or no regular file.
        """
        decoded = unquote_to_bytes(path)
        names = [os.fsdecode(name) for name in decoded.split(b"/")]
        if b"\0" in decoded or ".." in names:
            return None
        wanted = self._inside(self._root.joinpath(*filter(None, names)))
        if wanted is None:
            return None
        if wanted.is_dir():
            if names[-1] not in ("", "."):
                # "./" keeps a name with a colon from being read as a scheme (RFC 3986 section 4.2).
                return Elsewhere(f"./{quote(os.fsencode(names[-1]))}/")
            wanted = self._inside(wanted / "index.html")
        elif names[-1] == "":
            return None
        return _open(wanted) if wanted is not None else None

    def _inside(self, path: Path) -> Path | None:
        try:
            real = path.resolve(strict=True)
        except (OSError, RuntimeError):  # RuntimeError: a loop of symbolic links, before Python 3.13
            return None
        return real if real.is_relative_to(self._root) else None


def _open(path: Path) -> OpenFile | None:
    # O_NOFOLLOW: the path was resolved, so a link here appeared since. O_NONBLOCK: opening a pipe must not wait.
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        os.close(descriptor)
        return None
    return OpenFile(FileIO(descriptor), status.st_size, status.st_mtime_ns, content_type(path.name))
