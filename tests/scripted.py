"""Both ends of the wire under full control of a test: an origin that answers as it is told, and a raw viewer.

    async with ScriptedOrigin() as origin:
        ...something asks http://127.0.0.1:{origin.port}/a...
        ask = await origin.asked_for("/a")
        await ask.answer(200, {"Cache-Control": "max-age=60"}, b"hello")

They parse and write HTTP/1.1 by themselves, with nothing of the code under test. Every wait ends after PATIENCE
seconds with TimeoutError, so that a test fails instead of hanging; nothing here sleeps.
"""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
import struct
from collections.abc import Awaitable, Callable
from typing import Self

from tests.wire import PATIENCE, Fields, FieldsLike, Message, field_lines, raw, until

__all__ = ["PATIENCE", "Ask", "Fields", "ScriptedOrigin", "Viewer", "until"]


class Ask:
    """One request that reached the origin, and the means to answer it."""

    def __init__(
        self,
        message: Message,
        connection: int,
        over: asyncio.Event,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        method, target, _ = message.line.split(b" ")
        self.method = method.decode("latin-1")
        self.target = target.decode("latin-1")
        self.headers = message.headers
        self.connection = connection
        """Which of the origin's connections it came on, from 1."""
        self._message = message
        self._over = over
        self._reader = reader
        self._writer = writer
        self.finished = asyncio.Event()
        """The script is done with this request; the origin goes on to the next one of the connection."""
        self.closed = False

    def header(self, name: str) -> str | None:
        """A field of the request, None when absent."""
        return self.headers.get(name)

    async def read(self) -> bytes:
        """The next piece of the request's body, b"" at its end or where it was cut."""
        async with asyncio.timeout(PATIENCE):
            return await self._message.read()

    async def body(self) -> bytes:
        """The whole body, or what came of it (then `cut`)."""
        return await self._message.read_all()

    @property
    def trailers(self) -> Fields:
        """The request's trailers; complete once the body has been read."""
        return self._message.trailers

    @property
    def cut(self) -> bool:
        """The request's body stopped before its end."""
        return self._message.cut

    async def read_raw(self, count: int) -> bytes:
        """Up to `count` bytes behind the request, whatever they are (a tunnel's); less only at the end."""
        async with asyncio.timeout(PATIENCE):
            try:
                return await self._reader.readexactly(count)
            except asyncio.IncompleteReadError as end:
                return end.partial

    async def answer(self, status: int, headers: FieldsLike = (), body: bytes = b"") -> None:
        """A whole answer; Content-Length is added unless the status or the fields settle the framing."""
        lines = field_lines(headers)
        framed = status in (204, 304) or b"content-length:" in lines.lower() or b"transfer-encoding:" in lines.lower()
        if not framed:
            lines += b"Content-Length: %d\r\n" % len(body)
        without = self.method == "HEAD" or status in (204, 304)
        self.send(b"HTTP/1.1 %d Scripted\r\n%b\r\n%b" % (status, lines, b"" if without else body))
        await self.drain()
        self.done()

    def head(self, status: int, headers: FieldsLike = ()) -> None:
        """A head only, interim or final; no framing is added."""
        self.send(b"HTTP/1.1 %d Scripted\r\n%b\r\n" % (status, field_lines(headers)))

    def send(self, data: bytes) -> None:
        """Raw bytes; they are lost when the other side has closed already."""
        if not self._writer.is_closing():
            self._writer.write(data)

    def chunk(self, data: bytes) -> None:
        """One chunk of a chunked body; b"" ends it, without trailers."""
        self.send(b"%x\r\n%b\r\n" % (len(data), data))

    def last_chunk(self, trailers: FieldsLike) -> None:
        """The end of a chunked body, with trailers."""
        self.send(b"0\r\n" + field_lines(trailers) + b"\r\n")

    async def drain(self) -> None:
        """Waits until the other side has taken most of what was sent."""
        async with asyncio.timeout(PATIENCE):
            await self._writer.drain()

    def unsent(self) -> int:
        """Bytes given to `send` that the kernel has not taken."""
        return self._writer.transport.get_write_buffer_size()

    def done(self) -> None:
        """The answer is complete; the connection goes on."""
        self.finished.set()

    def close(self) -> None:
        """Ends the connection in good order, after what was sent."""
        self.closed = True
        self._writer.close()
        self.finished.set()

    def finish(self) -> None:
        """Sends no more (half-close, not over TLS). The end is on its way when this returns, behind what was taken."""
        with socket.socket(fileno=os.dup(self._writer.get_extra_info("socket").fileno())) as twin:
            twin.shutdown(socket.SHUT_WR)

    def vanish(self) -> None:
        """Ends the connection below TLS, without saying goodbye (no close_notify); what was sent may be lost."""
        self.closed = True
        self._writer.transport.abort()
        self.finished.set()

    def reset(self) -> None:
        """Resets the connection (RST)."""
        _reset(self._writer)
        self.closed = True
        self.finished.set()

    async def gone(self) -> None:
        """Waits until the other side has closed the connection. What it still sends is read and forgotten."""
        async with asyncio.timeout(PATIENCE):
            if self.finished.is_set():
                await self._over.wait()
                return
            try:
                while await self._reader.read(65536):
                    pass
            except (ConnectionError, ssl.SSLError):
                pass


Handler = Callable[[Ask], Awaitable[None]]


class ScriptedOrigin:
    """A loopback server, plain or TLS, TCP or Unix socket. Requests no handler takes wait for `asked_for`."""

    def __init__(self, *, tls: ssl.SSLContext | None = None, unix_path: str | None = None) -> None:
        self.port = 0
        self.connections = 0
        """Opened so far."""
        self.open = 0
        """Open now."""
        self.log: list[Ask] = []
        """Every request whose head has come."""
        self._tls = tls
        self._unix_path = unix_path
        self._handlers: dict[str, Handler] = {}
        self._default: Handler | None = None
        self._unclaimed: list[Ask] = []
        self._wanted: list[tuple[str | None, asyncio.Future[Ask]]] = []
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def requests(self) -> int:
        """How many requests came."""
        return len(self.log)

    @property
    def url(self) -> str:
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}"

    def on(self, path: str, handler: Handler) -> None:
        """From now on `handler` answers requests for this path, whatever their query."""
        self._handlers[path] = handler

    def always(self, status: int, headers: FieldsLike = (), body: bytes = b"") -> None:
        """From now on every request that has no handler is answered like this."""

        async def answer(ask: Ask) -> None:
            await ask.answer(status, headers, body)

        self._default = answer

    def unanswered(self) -> None:
        """From now on requests that have no handler wait for `asked_for` again."""
        self._default = None

    def otherwise(self, handler: Handler) -> None:
        """From now on `handler` answers every request that has no handler of its own."""
        self._default = handler

    async def asked_for(self, target: str | None = None) -> Ask:
        """The next request with this target (any, when None) that no handler takes; waits for it."""
        for ask in self._unclaimed:
            if target in (None, ask.target):
                self._unclaimed.remove(ask)
                return ask
        found: asyncio.Future[Ask] = asyncio.get_running_loop().create_future()
        self._wanted.append((target, found))
        async with asyncio.timeout(PATIENCE):
            return await found

    async def __aenter__(self) -> Self:
        if self._unix_path is not None:
            self._server = await asyncio.start_unix_server(self._accept, self._unix_path, ssl=self._tls)
        else:
            self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port, ssl=self._tls)
            self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.open += 1
        over = asyncio.Event()
        try:
            await self._converse(self.connections, over, reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError, ssl.SSLError):
            pass  # the other side may leave at any time
        finally:
            self.open -= 1
            over.set()
            writer.close()

    async def _converse(
        self, number: int, over: asyncio.Event, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        while (message := await Message.arrive(reader)) is not None:
            ask = Ask(message, number, over, reader, writer)
            self.log.append(ask)
            handler = self._handlers.get(ask.target.partition("?")[0], self._default)
            if handler is None:
                self._offer(ask)
            else:
                await handler(ask)
                ask.done()
            await ask.finished.wait()
            if ask.closed:
                return
            while await message.read():
                pass

    def _offer(self, ask: Ask) -> None:
        for wanted in self._wanted:
            target, found = wanted
            if target in (None, ask.target) and not found.done():
                self._wanted.remove(wanted)
                found.set_result(ask)
                return
        self._unclaimed.append(ask)


class Viewer:
    """A raw client: it sends the bytes it is given and reads what comes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self._asked = "GET"
        self._message: Message | None = None

    @classmethod
    async def connect(
        cls, port: int, host: str = "127.0.0.1", *, tls: ssl.SSLContext | None = None, server_name: str | None = None
    ) -> Viewer:
        """A new connection; with `tls` that context judges the server."""
        async with asyncio.timeout(PATIENCE):
            return cls(*await asyncio.open_connection(host, port, ssl=tls, server_hostname=server_name))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        self.writer.transport.abort()

    async def send(self, data: bytes) -> None:
        """Raw bytes; returns when most of them are taken."""
        self.writer.write(data)
        async with asyncio.timeout(PATIENCE):
            await self.writer.drain()

    async def ask(
        self, target: str, headers: FieldsLike = (), body: bytes = b"", *, method: str = "GET", host: str = "a.test"
    ) -> None:
        """A whole request; Content-Length is added when there is a body."""
        length = b"Content-Length: %d\r\n" % len(body) if body else b""
        line = raw(f"{method} {target} HTTP/1.1\r\nHost: {host}\r\n")
        self._asked = method
        await self.send(line + field_lines(headers) + length + b"\r\n" + body)

    async def read_head(self, method: str | None = None) -> tuple[int, Fields]:
        """The next head, interim or final. `method` is that of the request, when it was sent raw."""
        async with asyncio.timeout(PATIENCE):
            message = await Message.arrive(self.reader)
        if message is None:
            raise ConnectionError("closed instead of an answer")
        status = int(message.line.split(b" ")[1])
        if (method or self._asked) == "HEAD" or status in (204, 304) or status < 200:
            message.without_body()
        else:
            message.until_close()
        self._message = message
        return status, message.headers

    async def read(self) -> bytes:
        """The next piece of the body after the last head, b"" at its end or where it was cut."""
        assert self._message is not None
        async with asyncio.timeout(PATIENCE):
            return await self._message.read()

    async def read_body(self) -> tuple[bytes, bool]:
        """The rest of the body after the last head, and whether it is complete (False: it was cut)."""
        assert self._message is not None
        body = await self._message.read_all()
        return body, not self._message.cut

    @property
    def trailers(self) -> Fields:
        """Of the last answer; complete once its body has been read."""
        assert self._message is not None
        return self._message.trailers

    async def closed(self) -> bool:
        """Waits for the next byte or the end of the connection: True when it is the end."""
        try:
            async with asyncio.timeout(PATIENCE):
                return not await self.reader.read(1)
        except ConnectionError:
            return True

    def finish(self) -> None:
        """Sends no more (half-close)."""
        self.writer.write_eof()

    def reset(self) -> None:
        """Resets the connection (RST)."""
        _reset(self.writer)


def _reset(writer: asyncio.StreamWriter) -> None:
    sock: socket.socket = writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
