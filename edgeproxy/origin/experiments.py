"""Addresses to try a cache with: fresh answers, echoes, chosen statuses and headers, slow ones, large ones."""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import Callable, Iterable
from http import HTTPStatus
from weakref import WeakSet

from aiohttp import WSCloseCode, WSMsgType, web

from edgeproxy.headers import HOP_BY_HOP
from edgeproxy.origin.conditions import Validators, http_date, seconds_of
from edgeproxy.origin.representation import Representation, answer, conditional

MAX_AGE_DEFAULT = 3600
MAX_AGE_MAX = 31_536_000
BYTES_MAX = 2**40
ECHO_START = 1024
HEADERS_MAX = 64
HEADERS_SIZE_MAX = 8192
MESSAGE_MAX = 1024 * 1024

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE = re.compile(r"[\t\x20-\x7e]*")
_FRAMING = {name.decode() for name in HOP_BY_HOP} | {"content-length"}

CHOSEN: web.RequestKey[frozenset[str]] = web.RequestKey("CHOSEN", frozenset)
"""On a request: lower-case names of the fields that the client chose for its answer; nobody overwrites these."""

_NO_STORE = {"Cache-Control": "no-store"}


def refuse(sentence: str) -> web.HTTPBadRequest:
    """The 400 that says what was wrong."""
    return web.HTTPBadRequest(text=f"400: {sentence}\n", headers=_NO_STORE)


def number(text: str, name: str, low: float, high: float) -> float:
    """A number from a URL, within its range; raises the 400 that names the range."""
    try:
        value = float(text[:32])
    except ValueError:
        value = float("nan")
    if not low <= value <= high:  # also true of nan
        raise refuse(f"{name} is {text[:32]!r}: expected a number from {low:g} to {high:g}.")
    return value


def whole(text: str, name: str, low: int, high: int) -> int:
    """A whole number from a URL, within its range; raises the 400 that names the range."""
    value = int(text) if text.isascii() and text.isdigit() and len(text) <= 18 else -1
    if not low <= value <= high:
        raise refuse(f"{name} is {text[:32]!r}: expected a whole number from {low} to {high}.")
    return value


def max_age(request: web.Request) -> int:
    """The `max-age` parameter in seconds."""
    return whole(request.query.get("max-age", str(MAX_AGE_DEFAULT)), "max-age", 0, MAX_AGE_MAX)


class Pattern:
    """Endless content in which every 16-byte line is its own offset, so that a misplaced byte shows.

    A line is 15 hexadecimal digits and a line feed. Any part is made on the spot, from its offset alone.
    """

    _BLOCK = 2**16
    # The first 11 digits count blocks and are the same all over a block; the last 4 are the place within it.
    _TEMPLATE = b"".join(b"?" * 11 + b"%04x\n" % place for place in range(0, _BLOCK, 16))

    async def read(self, offset: int, size: int) -> bytes:
        """`size` bytes from `offset`."""
        first, last = offset // self._BLOCK, (offset + size + self._BLOCK - 1) // self._BLOCK
        blocks = (self._TEMPLATE.replace(b"?" * 11, b"%011x" % block) for block in range(first, last))
        skip = offset - first * self._BLOCK
        return b"".join(blocks)[skip : skip + size]


class Experiments:
    """The handlers; `wall` gives seconds since 1970."""

    def __init__(self, wall: Callable[[], float]) -> None:
        self._wall = wall
        self._sockets: WeakSet[web.WebSocketResponse] = WeakSet()

    def routes(self) -> Iterable[web.AbstractRouteDef]:
        """Every address with its handler."""
        return [
            web.get("/api/time", self.tell_time),
            web.route("*", "/echo", self.echo),
            web.route("*", "/status/{code}", self.answered),
            web.get("/slow", self.drip),
            web.get("/bytes/{n}", self.sized),
            web.get("/headers", self.chosen),
            web.get("/ws", self.websocket),
        ]

    async def close(self) -> None:
        """Say goodbye on every WebSocket."""
        for socket in list(self._sockets):
            await socket.close(code=WSCloseCode.GOING_AWAY, message=b"the origin is stopping")

    async def tell_time(self, request: web.Request) -> web.Response:
        """What time it is here: never the same twice, and never to be stored."""
        now = self._wall()
        return web.json_response({"seconds": now, "date": http_date(now)}, headers=_NO_STORE)

    async def echo(self, request: web.Request) -> web.Response:
        """What arrived here of any request. Trailer fields are not in it: the server's parser drops them."""
        digest = hashlib.sha256()
        size = 0
        start = b""
        async for block in request.content.iter_any():
            digest.update(block)
            size += len(block)
            start += block[: ECHO_START - len(start)]
        seen = {
            "method": request.method,
            "target": request.raw_path,
            "headers": [[name.decode("latin-1"), value.decode("latin-1")] for name, value in request.raw_headers],
            "body": {"size": size, "sha256": digest.hexdigest(), "start": start.decode("utf-8", "replace")},
        }
        return web.json_response(seen, headers=_NO_STORE)

    async def answered(self, request: web.Request) -> web.Response:
        """The status asked for, without Cache-Control unless `max-age` is given."""
        code = whole(request.match_info["code"], "the status", 200, 599)
        try:
            phrase = HTTPStatus(code).phrase
        except ValueError:
            phrase = "Unassigned"
        response = web.Response(status=code, reason=phrase)
        if "max-age" in request.query:
            response.headers["Cache-Control"] = f"public, max-age={max_age(request)}"
        if code in (301, 302, 303, 307, 308):
            response.headers["Location"] = "/"
        if code not in (204, 304):
            response.text = f"{code}: {phrase}, as asked.\n"
        return response

    async def drip(self, request: web.Request) -> web.StreamResponse:
        """Lines that drip: nothing for `first` seconds, then `count` lines, one `every` so many seconds."""
        first = number(request.query.get("first", "1"), "first", 0, 60)
        every = number(request.query.get("every", "0.5"), "every", 0, 60)
        count = whole(request.query.get("count", "5"), "count", 1, 1000)
        response = web.StreamResponse(headers={"Cache-Control": f"public, max-age={max_age(request)}"})
        response.content_type = "text/plain"
        await asyncio.sleep(first)
        await response.prepare(request)
        if request.method == "HEAD":
            return response
        for line in range(1, count + 1):
            await response.write(b"line %d of %d\n" % (line, count))
            if line < count:
                await asyncio.sleep(every)
        return response

    async def sized(self, request: web.Request) -> web.StreamResponse:
        """So many bytes that are always the same, cacheable, with ranges; never in memory as a whole."""
        length = whole(request.match_info["n"], "the number of bytes", 0, BYTES_MAX)
        representation = Representation(
            length=length,
            content_type="application/octet-stream",
            cache_control=f"public, max-age={max_age(request)}",
            validators=Validators(etag=f'"bytes-{length}"'),
            source=Pattern(),
        )
        return await answer(request, representation, self._wall())

    async def chosen(self, request: web.Request) -> web.Response:
        """A response with the fields given in the query; conditional, where these name a validator."""
        asked = list(request.query.items())
        if len(asked) > HEADERS_MAX or sum(len(name) + len(value) for name, value in asked) > HEADERS_SIZE_MAX:
            raise refuse(f"expected at most {HEADERS_MAX} header fields of {HEADERS_SIZE_MAX} bytes in all.")
        for name, value in asked:
            if not _TOKEN.fullmatch(name) or not _VALUE.fullmatch(value):
                raise refuse(f"{name[:32]!r} with this value is no header field (RFC 9110 section 5).")
            if name.lower() in _FRAMING:
                raise refuse(f"{name} belongs to the connection: it cannot be chosen.")
        given = {name.lower(): value for name, value in asked}
        request[CHOSEN] = frozenset(given)
        validators = Validators(given.get("etag"), seconds_of(given.get("last-modified", "").encode() or None))
        response = conditional(request, validators) or web.json_response({"headers": asked})
        for name in given:
            response.headers.popall(name, None)
        for name, value in asked:
            response.headers.add(name, value)
        return response

    async def websocket(self, request: web.Request) -> web.WebSocketResponse:
        """A WebSocket that sends back every message."""
        socket = web.WebSocketResponse(max_msg_size=MESSAGE_MAX, heartbeat=30)
        if not socket.can_prepare(request).ok:
            raise refuse("this address speaks WebSocket: expected an upgrade (RFC 6455).")
        await socket.prepare(request)
        self._sockets.add(socket)
        async for message in socket:
            if message.type is WSMsgType.TEXT:
                await socket.send_str(message.data)
            elif message.type is WSMsgType.BINARY:
                await socket.send_bytes(message.data)
        return socket
