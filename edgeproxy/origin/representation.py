"""From a representation to the answer: validators, preconditions, ranges, and its bytes in blocks."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from aiohttp import web

from edgeproxy.headers import Headers
from edgeproxy.origin.conditions import (
    Condition,
    Span,
    Validators,
    byte_ranges,
    evaluate,
    http_date,
    range_applies,
)

BLOCK = 256 * 1024
"""Bytes of a body in memory at once, for each answer."""


class Source(Protocol):
    """Where a representation's bytes come from."""

    async def read(self, offset: int, size: int) -> bytes:
        """`size` bytes from `offset`; fewer only when the content has shrunk meanwhile."""
        ...


@dataclass(frozen=True, slots=True)
class Representation:
    """What a URL stands for right now (RFC 9110 section 8)."""

    length: int
    content_type: str
    cache_control: str
    validators: Validators
    source: Source


def fields(request: web.Request) -> Headers:
    """The request's header fields as they came."""
    return Headers(request.raw_headers)


def conditional(request: web.Request, validators: Validators) -> web.Response | None:
    """The 304 or 412 that the preconditions ask for, None when the method shall be performed."""
    match evaluate(request.method, fields(request), validators):
        case Condition.NOT_MODIFIED:
            return web.Response(status=304)
        case Condition.FAILED:
            return web.Response(status=412, text="412: the client holds another representation.\n")
        case Condition.PROCEED:
            return None


async def answer(request: web.Request, representation: Representation, now: float) -> web.StreamResponse:
    """Answer a GET or HEAD for this representation. A source that runs dry cuts the connection."""
    short = conditional(request, representation.validators)
    if short is not None:
        if short.status == 304:
            _describe(short, representation)
        return short
    spans = _spans_asked(request, representation, now)
    if spans == ():
        text = "416: none of these ranges, or too many of them.\n"
        return web.Response(status=416, text=text, headers={"Content-Range": f"bytes */{representation.length}"})
    response = web.StreamResponse(status=200 if spans is None else 206)
    _describe(response, representation)
    pieces = _pieces(response, representation, spans)
    response.content_length = sum(len(piece) if isinstance(piece, bytes) else piece.length for piece in pieces)
    await response.prepare(request)
    if request.method != "HEAD":
        await _send(request, response, representation.source, pieces)
    return response


def _describe(response: web.StreamResponse, representation: Representation) -> None:
    """The fields that a 200, a 206 and a 304 share (RFC 9110 section 15.4.5)."""
    validators = representation.validators
    response.headers["Cache-Control"] = representation.cache_control
    response.headers["Accept-Ranges"] = "bytes"
    if validators.etag is not None:
        response.headers["ETag"] = validators.etag
    if validators.last_modified is not None:
        response.headers["Last-Modified"] = http_date(validators.last_modified)
    if response.status != 304:
        response.headers["Content-Type"] = representation.content_type


def _spans_asked(request: web.Request, representation: Representation, now: float) -> tuple[Span, ...] | None:
    headers = fields(request)
    asked = headers.combined(b"range")
    # Range handling is defined for GET alone (RFC 9110 section 14.2).
    if asked is None or request.method != "GET" or not range_applies(headers, representation.validators, now):
        return None
    return byte_ranges(asked, representation.length)


def _pieces(
    response: web.StreamResponse, representation: Representation, spans: tuple[Span, ...] | None
) -> Sequence[bytes | Span]:
    """The body in order: bytes of its own, and spans of the representation. Sets the fields that go with it."""
    total = representation.length
    if spans is None:
        return [Span(0, total - 1)]
    if len(spans) == 1:
        response.headers["Content-Range"] = f"bytes {spans[0].first}-{spans[0].last}/{total}"
        return spans
    # Made from what is sent, so that the same request gets the same bytes.
    boundary = hashlib.sha256(repr((representation.validators.etag, spans)).encode()).hexdigest()[:32]
    response.headers["Content-Type"] = f"multipart/byteranges; boundary={boundary}"
    pieces: list[bytes | Span] = []
    for span in spans:
        head = f"Content-Type: {representation.content_type}\r\nContent-Range: bytes {span.first}-{span.last}/{total}"
        pieces += [f"\r\n--{boundary}\r\n{head}\r\n\r\n".encode(), span]
    return [*pieces, f"\r\n--{boundary}--\r\n".encode()]


def _blocks(span: Span) -> Iterator[tuple[int, int]]:
    for offset in range(span.first, span.last + 1, BLOCK):
        yield offset, min(BLOCK, span.last + 1 - offset)


async def _send(
    request: web.Request, response: web.StreamResponse, source: Source, pieces: Sequence[bytes | Span]
) -> None:
    for piece in pieces:
        if isinstance(piece, bytes):
            await response.write(piece)
            continue
        for offset, size in _blocks(piece):
            block = await source.read(offset, size)
            await response.write(block)
            if len(block) < size:
                # The length is already announced: only a cut connection tells the reader that this is not all.
                if request.transport is not None:
                    request.transport.close()
                return
    await response.write_eof()
