"""The bytes of a response (RFC 9112 sections 4 to 7), without any I/O: bytes in, calls to a `Sink` out.

The head is cut out here, so that its size is exact and nothing after it is parsed by mistake; httptools judges its
lines and decodes chunks. What the C parser is too kind about is refused here.
"""

from __future__ import annotations

import re
from enum import Enum
from typing import Protocol

import httptools

from edgeproxy.errors import Detail, OriginInvalid
from edgeproxy.headers import NO_HEADERS, Field, Headers, connection_options
from edgeproxy.message import ResponseHead
from edgeproxy.upstream.writing import FRAMING

INTERIM_MAX = 32
"""Interim heads before the final one; nobody has a reason to send more."""

_BEGINNING = b"HTTP/1."
_BARE_LF = re.compile(rb"(?<!\r)\n")

# What needs no other judge: a final HTTP/1.1 head of plain lines. Framing decides in `_plain_head` whether that stands.
_PLAIN = re.compile(
    rb"HTTP/1\.1 ([2-5][0-9][0-9]) ([\t\x20-\x7e\x80-\xff]*+)\r\n"
    rb"((?:[!#$%&'*+\-.^_`|~0-9A-Za-z]++:[\t\x20-\x7e\x80-\xff]*+\r\n)*+)\r\n"
)
_PLAIN_FIELD = re.compile(rb"([^:\r]++):[ \t]*+([^\r]*+)\r\n")
_CONTROL = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")


_JUDGED = frozenset({b"transfer-encoding", b"upgrade"})
"""Where one of these is, httptools decides."""


class Sink(Protocol):
    """Who is told what a response says, in this order: interim*, head, data*, end."""

    def interim(self, head: ResponseHead) -> None:
        """A 1xx head other than 101."""
        ...

    def head(self, head: ResponseHead, length: int | None, close_delimited: bool) -> None:
        """The final head, or 101. `length` is that of the body when known."""
        ...

    def data(self, block: bytes) -> None:
        """Some bytes of the body."""
        ...

    def end(self, trailers: Headers, surplus: bool) -> None:
        """The whole response is there. `surplus`: bytes came after it that nobody asked for."""
        ...


class Part(Enum):
    """What is expected next."""

    HEAD = "head"
    LENGTH = "body of known length"
    CHUNKED = "chunked body"
    CLOSE = "body until the connection closes"
    DONE = "nothing"


class ResponseReader:
    """Reads the response to one request with this `method`. A 101 is an answer only when `upgrade` was asked for."""

    __slots__ = (
        "_began_again", "_blocks", "_fields", "_head_done", "_head_max", "_held", "_interims", "_message_done",
        "_method", "_parser", "_reason", "_remaining", "_searched", "_silent", "_sink", "_tail", "_upgrade",
        "part", "reusable",
    )  # fmt: skip

    def __init__(self, sink: Sink, method: str, head_max: int, *, upgrade: bool = False) -> None:
        self._sink = sink
        self._method = method
        self._head_max = head_max
        self._upgrade = upgrade
        self.part = Part.HEAD
        self.reusable = False
        """After the head: the sender means to keep the connection (RFC 9112 section 9.3)."""
        self._held = b""
        self._searched = 0
        self._interims = 0
        self._remaining = 0
        self._silent = 0
        self._tail = b""
        self._blocks: list[bytes] = []
        self._begin_message()

    def _begin_message(self) -> None:
        self._parser: httptools.HttpResponseParser | None = None
        self._fields: list[Field] = []
        self._reason = b""
        self._head_done = self._message_done = self._began_again = False

    @property
    def started(self) -> bool:
        """Whether any byte of a response has come."""
        return self.part is not Part.HEAD or bool(self._held) or self._interims > 0

    def feed(self, data: bytes) -> None:
        """The next bytes, not empty. Raises OriginInvalid; then nothing more may be fed."""
        if self.part is Part.HEAD:
            data = self._feed_head(data)
            if not data:
                return
        part = self.part
        if part is Part.LENGTH:
            self._feed_length(data)
        elif part is Part.CHUNKED:
            self._feed_chunked(data)
        elif part is Part.CLOSE:
            self._sink.data(data)

    def close(self) -> bool:
        """The connection closed in good order: whether this is how the response ends (RFC 9112 section 8)."""
        if self.part is not Part.CLOSE:
            return False
        self._end(surplus=False)
        return True

    # The head

    def _feed_head(self, data: bytes) -> bytes:
        """Reads heads up to the final one. Returns the body bytes that came along."""
        rest = self._held + data if self._held else data
        while self.part is Part.HEAD:
            end = rest.find(b"\r\n\r\n", self._searched) + 4
            if end < 4:
                self._hold(rest)
                return b""
            if end > self._head_max:
                raise self._too_big()
            head = self._parse(rest[:end])
            rest = rest[end:]
            self._held, self._searched = b"", 0
            self._take(head, bool(rest))
        return rest if self.part is not Part.DONE else b""

    def _hold(self, rest: bytes) -> None:
        """Keeps the beginning of a head, unless it is hopeless already: waiting would turn a fault into a time-out."""
        if len(rest) >= self._head_max:
            raise self._too_big()
        if rest[: len(_BEGINNING)] != _BEGINNING[: len(rest)] or _BARE_LF.search(rest, self._searched):
            raise OriginInvalid("The answer is not HTTP/1.1 or HTTP/1.0.")
        self._held = rest
        self._searched = max(0, len(rest) - 3)

    def _too_big(self) -> OriginInvalid:
        return OriginInvalid(
            f"The answer's head is larger than {self._head_max} bytes.", detail=Detail.ORIGIN_HEADER_TOO_BIG
        )

    def _parse(self, raw: bytes) -> ResponseHead:
        return _plain_head(raw) or self._judged(raw)

    def _judged(self, raw: bytes) -> ResponseHead:
        if not raw.startswith(_BEGINNING):
            raise OriginInvalid("The answer is not HTTP/1.1 or HTTP/1.0.")
        self._begin_message()
        parser = self._parser = httptools.HttpResponseParser(self)
        try:
            parser.feed_data(raw)
        except httptools.HttpParserUpgrade:
            pass
        except httptools.HttpParserError as fault:
            # llhttp stops after any 101, and calls that an error when the head lacks Upgrade.
            if not (self._head_done and parser.get_status_code() == 101):
                raise OriginInvalid(f"The answer's head breaks the rules: {fault}.") from fault
        status = parser.get_status_code()
        if not self._head_done or not 100 <= status <= 599 or _CONTROL.search(self._reason):
            raise OriginInvalid(f"The answer's status line is not valid (status {status}).")
        return ResponseHead(status, Headers(self._fields), self._reason, parser.get_http_version())

    def _take(self, head: ResponseHead, more: bool) -> None:
        """Goes on to what follows this head; `more` says that bytes after it are there already."""
        if head.status < 200 and head.status != 101:
            self._interims += 1
            if self._interims > INTERIM_MAX:
                raise OriginInvalid(f"The answer has more than {INTERIM_MAX} interim heads.")
            self._sink.interim(head)
            return
        if head.status == 101 and not self._upgrade:
            raise OriginInvalid("The answer switches protocols, which nobody asked for.")
        self.part, length = self._framing(head)
        self.reusable = _keeps_open(head) and self.part is not Part.CLOSE
        if self.part is not Part.CHUNKED:
            self._parser = None
        self._fields = []
        self._sink.head(head, length, self.part is Part.CLOSE)
        if self.part is Part.DONE:
            self._end(surplus=more)

    def _framing(self, head: ResponseHead) -> tuple[Part, int | None]:
        """How the body is delimited (RFC 9112 section 6.3), and its length when that is known."""
        if head.status == 101:
            return Part.CLOSE, None
        if self._method == "HEAD" or head.status in (204, 304):
            return Part.DONE, 0
        codings = head.headers.all(b"transfer-encoding")
        if codings:
            # In HTTP/1.0 the field has no meaning, and whoever sends it there is confused (section 6.1).
            if head.version == "1.0" or len(codings) > 1 or codings[0].lower() != b"chunked":
                raise OriginInvalid("The answer has a transfer coding other than chunked.")
            return Part.CHUNKED, None
        length = head.headers.get(b"content-length")
        if length is None:
            return Part.CLOSE, None
        self._remaining = int(length)
        return (Part.LENGTH, self._remaining) if self._remaining else (Part.DONE, 0)

    # The body

    def _feed_length(self, data: bytes) -> None:
        surplus = len(data) > self._remaining
        if surplus:
            data = data[: self._remaining]
        self._remaining -= len(data)
        self._sink.data(data)
        if not self._remaining:
            self._end(surplus)

    def _feed_chunked(self, data: bytes) -> None:
        parser = self._parser
        assert parser is not None
        try:
            parser.feed_data(data)
        except httptools.HttpParserError as fault:
            # After the last chunk whatever is wrong is surplus, not this answer.
            if not self._message_done:
                raise OriginInvalid(f"The answer's chunks break the rules: {fault}.") from fault
        blocks, self._blocks = self._blocks, []
        self._bound_overhead(len(data), bool(blocks))
        self._tail = data[-5:] if len(data) >= 5 else (self._tail + data)[-5:]
        if blocks:
            self._sink.data(blocks[0] if len(blocks) == 1 else b"".join(blocks))
        if self._message_done:
            self._end(surplus=self._began_again or not _ends_here(self._tail))

    def _bound_overhead(self, size: int, with_data: bool) -> None:
        """Chunk extensions and trailers may not go on for ever."""
        self._silent = 0 if with_data else self._silent + size
        trailers = sum(len(name) + len(value) + 4 for name, value in self._fields)
        if max(trailers, self._silent) > self._head_max:
            raise OriginInvalid("The answer's chunk extensions or trailers are too large.")

    def _end(self, surplus: bool) -> None:
        trailers = NO_HEADERS
        if self._fields:
            trailers = Headers(self._fields)
            if not FRAMING.isdisjoint(trailers.names()):
                raise OriginInvalid("The answer has framing fields in its trailers.")
        self.part = Part.DONE
        self._parser = None  # it points back here
        self._sink.end(trailers, surplus)

    # Called by httptools

    def on_message_begin(self) -> None:
        self._began_again = self._message_done

    def on_status(self, reason: bytes) -> None:
        if not self._began_again:
            self._reason += reason

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._began_again:
            self._fields.append((name, value.rstrip(b" \t")))

    def on_headers_complete(self) -> None:
        self._head_done = True

    def on_body(self, block: bytes) -> None:
        if not self._began_again:
            self._blocks.append(block)

    def on_message_complete(self) -> None:
        self._message_done = True


def whole_answer(data: bytes, head_max: int) -> tuple[ResponseHead, bytes] | None:
    """(head, body) of a response that is plain and here as a whole, and leaves the connection as it was; None for all
    others, right or wrong. Not for the answer to a HEAD."""
    end = data.find(b"\r\n\r\n") + 4
    if not 4 <= end <= head_max:
        return None
    head = _plain_head(data[:end])
    if head is None or head.status in (204, 304) or not _keeps_open(head):
        return None
    return (head, data[end:]) if int(head.headers.all(b"content-length")[0]) == len(data) - end else None


def _plain_head(raw: bytes) -> ResponseHead | None:
    """A head that is no matter for discussion, read in a third of the time; None for all others, right or wrong."""
    match = _PLAIN.fullmatch(raw)
    if match is None:
        return None
    fields: list[Field] = _PLAIN_FIELD.findall(match[3])
    if b" \r\n" in raw or b"\t\r\n" in raw:
        fields = [(name, value.rstrip(b" \t")) for name, value in fields]
    headers = Headers(fields)
    lengths = headers.all(b"content-length")
    if len(lengths) != 1 or not lengths[0].isdigit() or len(lengths[0]) > 18 or not _JUDGED.isdisjoint(headers.names()):
        return None
    return ResponseHead(int(match[1]), headers, match[2])


def _keeps_open(head: ResponseHead) -> bool:
    options = connection_options(head.headers)
    if head.version == "1.0":
        return b"keep-alive" in options
    # A 204 that announces content is likely to be followed by it; the next request had better not meet it.
    announces = head.status == 204 and (
        b"transfer-encoding" in head.headers or head.headers.get(b"content-length") not in (None, b"0")
    )
    return b"close" not in options and not announces


def _ends_here(tail: bytes) -> bool:
    """Whether a chunked message ends with these last five bytes; llhttp swallows empty lines after it."""
    return tail[1:] == b"\r\n\r\n" and tail[:1] not in (b"\r", b"\n")
