"""Request bodies as bytes on the wire: the two framings of HTTP/1.1, with no I/O (RFC 9112 sections 6 and 7).

A decoder is fed what arrives and gives back the data in it. It knows when the body has ended and which bytes came
after it: those are the next request's, and no other code decides that.
"""

from __future__ import annotations

import re
from enum import Enum, auto
from typing import Protocol

from edgeproxy.edge.http1 import NEVER_IN_HEAD, Limits, parse_fields
from edgeproxy.errors import Detail, ViewerError
from edgeproxy.headers import HOP_BY_HOP, PROTECTED, Headers, without_internal

# A trailer may not change how the message is framed, routed, authorised or read (RFC 9110 section 6.5.1).
NOT_IN_TRAILERS = HOP_BY_HOP | PROTECTED | {b"expect", b"proxy-authorization", b"range", b"max-forwards"}

CHUNK_LINE_MAX = 1024
"""Bytes of a chunk's size line, extensions included."""

_EXTENSION_ALLOWANCE = 16 * 1024
"""Extension bytes a body may carry beyond its data, so that nobody is made to read mostly what is ignored."""

_SIZE_LINE = re.compile(rb"([0-9A-Fa-f]{1,16})([ \t]*;[\t\x20-\x7e\x80-\xff]*)?\r\n")
_SIZE_LINE_BEGUN = re.compile(rb"[0-9A-Fa-f]{1,16}[ \t]*(?:;[\t\x20-\x7e\x80-\xff]*)?\r?")


class BodyDecoder(Protocol):
    """What both framings have in common."""

    done: bool
    """The body has ended."""
    rest: bytes
    """Bytes fed that came after the end."""
    trailers: Headers
    """Trailer fields, complete when done."""

    @property
    def remaining(self) -> int | None:
        """Data bytes not fed yet, None when only the sender knows."""
        ...

    def feed(self, data: bytes) -> list[bytes]:
        """The data in these bytes. Raises ViewerError (400, 413); nothing may be fed after that or when done."""
        ...


class LengthDecoder:
    """A body of Content-Length bytes, at least one."""

    __slots__ = ("_left", "done", "rest", "trailers")

    def __init__(self, length: int) -> None:
        self._left = length
        self.done = False
        self.rest = b""
        self.trailers = Headers()

    @property
    def remaining(self) -> int | None:
        return self._left

    def feed(self, data: bytes) -> list[bytes]:
        if len(data) < self._left:
            self._left -= len(data)
            return [data]
        piece, self.rest = data[: self._left], data[self._left :]
        self._left = 0
        self.done = True
        return [piece]


class _Stage(Enum):
    SIZE = auto()
    DATA = auto()
    DATA_END = auto()
    TRAILERS = auto()


class ChunkedDecoder:
    """A chunked body of at most `body_max` bytes; extensions are bounded and ignored.

    Every line end is exactly CRLF: a reader that takes less finds other chunks in the same bytes (CVE-2025-43859).
    """

    __slots__ = (
        "_allowance", "_held", "_left", "_limits", "_room", "_section", "_stage", "done", "rest", "trailers",
    )  # fmt: skip

    def __init__(self, limits: Limits, body_max: int) -> None:
        self._limits = limits
        self._room = body_max
        self._stage = _Stage.SIZE
        self._left = 0
        self._held = b""
        self._allowance = _EXTENSION_ALLOWANCE
        # Starts as the last chunk's CRLF, so that the section's end looks the same with trailers and without.
        self._section = bytearray(b"\r\n")
        self.done = False
        self.rest = b""
        self.trailers = Headers()

    @property
    def remaining(self) -> int | None:
        return 0 if self.done else None

    def feed(self, data: bytes) -> list[bytes]:
        pieces: list[bytes] = []
        if self._held:
            data, self._held = self._held + data, b""
        at = 0
        while at < len(data) and not self.done:
            if self._stage is _Stage.DATA:
                piece = data[at : at + self._left] if at or len(data) > self._left else data
                pieces.append(piece)
                at += len(piece)
                self._left -= len(piece)
                if not self._left:
                    self._stage = _Stage.DATA_END
            elif self._stage is _Stage.SIZE:
                at = self._read_size(data, at)
            elif self._stage is _Stage.DATA_END:
                at = self._read_data_end(data, at)
            else:
                at = self._read_trailers(data, at)
        return pieces

    def _read_size(self, data: bytes, at: int) -> int:
        line = _SIZE_LINE.match(data, at, at + CHUNK_LINE_MAX)
        if line is None:
            if len(data) - at >= CHUNK_LINE_MAX or _SIZE_LINE_BEGUN.fullmatch(data, at) is None:
                raise _malformed("A chunk's size line")
            self._held = data[at:]
            return len(data)
        self._left = int(line[1], 16)
        self._room -= self._left
        if self._room < 0:
            raise ViewerError("The request body is too large.", status=413)
        self._allowance = min(_EXTENSION_ALLOWANCE, self._allowance + self._left) - len(line[2] or b"")
        if self._allowance < 0:
            raise ViewerError("The chunk extensions are too large.")
        self._stage = _Stage.DATA if self._left else _Stage.TRAILERS
        return line.end()

    def _read_data_end(self, data: bytes, at: int) -> int:
        if data.startswith(b"\r\n", at):
            self._stage = _Stage.SIZE
            return at + 2
        if data[at:] != b"\r":
            raise _malformed("The end of a chunk")
        self._held = b"\r"
        return len(data)

    def _read_trailers(self, data: bytes, at: int) -> int:
        section, before = self._section, len(self._section)
        section += data[at : at + self._limits.head_max + 4] if at else data
        end = section.find(b"\r\n\r\n", max(0, before - 3))
        if (len(section) if end < 0 else end) > self._limits.head_max:
            raise ViewerError("The trailer section is too large.", detail=Detail.INVALID_REQUEST_HEADER)
        if end < 0:
            if NEVER_IN_HEAD.search(section, before - 1):
                raise _malformed("The trailer section")
            return len(data)
        fields = parse_fields(bytes(section[2 : end + 4]), 0, self._limits.fields_max)
        self.trailers = without_internal(Headers(field for field in fields if field[0].lower() not in NOT_IN_TRAILERS))
        at += end + 4 - before
        self.rest = data[at:]
        self.done = True
        section.clear()
        return at


def _malformed(what: str) -> ViewerError:
    return ViewerError(f"{what} is malformed.")
