"""HTTP/1.1 as the tests read it, with nothing of the code under test: what both ends of a script share."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Iterable, Mapping

PATIENCE = 10.0
"""Seconds that anything in a test may take before it is a failure."""

Text = str | bytes
FieldsLike = Mapping[str, Text] | Iterable[tuple[Text, Text]]


async def until(condition: Callable[[], bool]) -> None:
    """Waits until `condition` holds: for a counter that has no event of its own."""
    async with asyncio.timeout(PATIENCE):
        while not condition():  # noqa: ASYNC110  # counters have no event
            await asyncio.sleep(0)


def raw(text: Text) -> bytes:
    """Text as it goes over the wire."""
    return text.encode("latin-1") if isinstance(text, str) else text


def field_lines(fields: FieldsLike) -> bytes:
    """Header fields as lines, in order."""
    pairs = fields.items() if isinstance(fields, Mapping) else fields
    return b"".join(b"%b: %b\r\n" % (raw(name), raw(value)) for name, value in pairs)


class Fields(list[tuple[bytes, bytes]]):
    """Header fields as they came, in order; looked up by name in any case."""

    def all(self, name: str) -> list[str]:
        """Every value of a field."""
        return [value.decode("latin-1") for key, value in self if key.lower() == raw(name).lower()]

    def get(self, name: str) -> str | None:
        """The first value of a field, None when absent."""
        return next(iter(self.all(name)), None)


class Message:
    """A message on its way in: its first line, its fields, and its body as its framing says."""

    def __init__(self, reader: asyncio.StreamReader, line: bytes, fields: Fields) -> None:
        self.line = line
        self.headers = fields
        self.trailers = Fields()
        self.cut = False
        """The connection ended before the body did."""
        self._reader = reader
        self._chunked = (fields.get("Transfer-Encoding") or "").lower() == "chunked"
        self._left: int | None = int(fields.get("Content-Length") or 0)
        self._over = False

    @classmethod
    async def arrive(cls, reader: asyncio.StreamReader) -> Message | None:
        """The next head; None when the sender closed instead."""
        line = await reader.readline()
        if not line:
            return None
        return cls(reader, line.rstrip(b"\r\n"), await _read_fields(reader))

    def without_body(self) -> None:
        """Whatever its fields say (an answer to HEAD, 204, 304)."""
        self._chunked, self._left = False, 0

    def until_close(self) -> None:
        """Unless it is framed, the body ends with the connection (only answers may)."""
        if not self._chunked and self.headers.get("Content-Length") is None:
            self._left = None

    async def read(self) -> bytes:
        """The next piece of the body, b"" at its end or where it was cut."""
        if self._over or (self._left == 0 and not self._chunked):
            return b""
        try:
            piece = await (self._read_chunk() if self._chunked else self._read_piece())
        except (ConnectionError, asyncio.IncompleteReadError, ssl.SSLError):
            piece, self.cut = b"", True
        self._over = not piece
        return piece

    async def _read_piece(self) -> bytes:
        piece = await self._reader.read(65536 if self._left is None else min(65536, self._left))
        if self._left is not None:
            self._left -= len(piece)
            self.cut = not piece
        return piece

    async def _read_chunk(self) -> bytes:
        size = int((await self._reader.readuntil(b"\r\n")).split(b";")[0], 16)
        if size == 0:
            self.trailers = await _read_fields(self._reader)
            return b""
        block = await self._reader.readexactly(size)
        assert await self._reader.readexactly(2) == b"\r\n"
        return block

    async def read_all(self) -> bytes:
        """The whole body, or what came of it."""
        async with asyncio.timeout(PATIENCE):
            pieces = []
            while piece := await self.read():
                pieces.append(piece)
            return b"".join(pieces)


async def _read_fields(reader: asyncio.StreamReader) -> Fields:
    fields = Fields()
    while (line := await reader.readuntil(b"\r\n")) != b"\r\n":
        name, _, value = line.partition(b":")
        fields.append((name, value.strip()))
    return fields
