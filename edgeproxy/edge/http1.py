"""Request heads of HTTP/1.1: bytes in, words out, no I/O (RFC 9112 sections 2, 3, 5 and 6).

Strict on purpose. Whatever two readers of the same bytes could understand differently is refused here, once, so
that nothing behind this file ever sees the framing a viewer wrote (security sheet, "request smuggling", "Host
confusion"). Patterns run over a whole head at C speed; what is left to Python is a handful of look-ups.
"""

from __future__ import annotations

import ipaddress
import re
from functools import lru_cache
from typing import NamedTuple

from edgeproxy.errors import Detail, ViewerError
from edgeproxy.headers import Field, Headers, connection_options
from edgeproxy.message import RequestHead
from edgeproxy.settings import Connections

_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]"

# A target may hold any visible ASCII but `#`: a fragment never travels, and a server that cuts it off would route by
# other bytes than one that does not (CVE-2023-45539).
_REQUEST_LINE = re.compile(rb"(" + _TOKEN + rb"+) ([\x21\x22\x24-\x7e]+) HTTP/([0-9]\.[0-9])\r\n")

# Possessive, so that a head that does not match fails in one pass however it was built.
_FIELD_LINES = re.compile(rb"(?:" + _TOKEN + rb"++:[\t\x20-\x7e\x80-\xff]*+\r\n)*+\r\n")
_FIELD = re.compile(rb"([^:\r]++):[ \t]*+([^\r]*+)\r\n")

# Bytes that no head may hold, seen while it arrives: controls, LF without CR, CR without LF (RFC 9112 section 2.2).
NEVER_IN_HEAD = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]|(?<!\r)\n|\r(?!\n|\Z)")

_ABSOLUTE = re.compile(rb"(?i:(https?))://([^/?]*)([/?].*)?")

# uri-host [":" port], with reg-name cut down to what a DNS name or an address can be: percent-encodings and
# sub-delims are legal in RFC 3986, but no host of ours can be named with them and others read them differently.
_AUTHORITY = re.compile(rb"(\[[0-9A-Fa-f:.]+\]|[0-9A-Za-z._~-]+)(:([0-9]{0,5}))?")

_HOST_MAX = 255  # RFC 1035 section 2.3.4

_CONTENT_LENGTH = re.compile(rb"[0-9]{1,18}")
_CODINGS = re.compile(_TOKEN + rb"+(?:[ \t]*,[ \t]*" + _TOKEN + rb"+)*")


class Limits(NamedTuple):
    """Bounds of a head, in bytes and fields, and the status that says a head was too large."""

    request_line_max: int
    head_max: int
    fields_max: int
    too_large_status: int = 431

    @classmethod
    def of(cls, settings: Connections, too_large_status: int) -> Limits:
        """The bounds a listener is set to."""
        return cls(settings.request_line_max, settings.head_max, settings.fields_max, too_large_status)


class ParsedHead(NamedTuple):
    """A request's head and what the connection must know about the message behind it."""

    head: RequestHead
    length: int | None
    """Body bytes that follow, 0 when the request has no body, None when the body is chunked."""
    keep_alive: bool
    """The viewer lets the connection persist (RFC 9112 section 9.3)."""
    expect_continue: bool
    """The viewer waits for 100 (Continue) before it sends the body."""
    upgrade: bool
    """The viewer offers to switch protocols (RFC 9110 section 7.8)."""


def parse_head(data: bytes, scheme: str, limits: Limits) -> ParsedHead:
    """Read exactly one head, request line to empty line.

    `scheme` is that of the connection. Raises ViewerError: 414, 431 (or 494) over a limit, 400 malformed, 417 an
    expectation we do not know, 421 a target of the other scheme, 501 CONNECT or an unknown transfer coding, 505.
    """
    line = _REQUEST_LINE.match(data)
    _check_sizes(data, line.end() if line else data.find(b"\r\n") + 2, limits)
    if line is None or line[3] not in (b"1.1", b"1.0"):
        raise _bad_request_line(line)
    headers = Headers(parse_fields(data, line.end(), limits.fields_max))
    names = headers.names()
    method, version = line[1].decode(), line[3].decode()
    target, authority, headers = _resolve(method, line[2], headers, scheme, version)
    framed = b"content-length" in names or b"transfer-encoding" in names
    length = _body_length(headers, version) if framed else 0
    expects = b"expect" in names and _expects_continue(headers, version)
    head = RequestHead(method, target, authority, headers, scheme, version)
    if b"connection" not in names:
        return ParsedHead(head, length, version == "1.1", expects and length != 0, False)
    options = connection_options(headers)
    keep_alive = b"close" not in options and (version == "1.1" or b"keep-alive" in options)
    upgrade = b"upgrade" in options and b"upgrade" in names and version == "1.1"
    return ParsedHead(head, length, keep_alive, expects and length != 0, upgrade)


def parse_fields(data: bytes, start: int, fields_max: int) -> list[Field]:
    """The field lines from `start` to the empty line that must end `data`, names as received, values trimmed.

    Also the grammar of a trailer section. Raises ViewerError(400) or (431).
    """
    if _FIELD_LINES.fullmatch(data, start) is None:
        raise ViewerError("A header field is malformed.", detail=Detail.INVALID_REQUEST_HEADER)
    fields: list[Field] = _FIELD.findall(data, start, len(data) - 2)
    if len(fields) > fields_max:
        raise _too_many_fields()
    if b" \r\n" in data or b"\t\r\n" in data:
        return [(name, value.rstrip(b" \t")) for name, value in fields]
    return fields


@lru_cache(maxsize=1024)
def parse_authority(value: bytes) -> bytes:
    """host[:port] in lower case, without an empty port. Raises ViewerError(400) for anything else."""
    match = _AUTHORITY.fullmatch(value)
    if match is None or len(match[1]) > _HOST_MAX:
        raise _bad_host()
    if match[3] and int(match[3]) > 65535:
        raise _bad_host()
    if value.startswith(b"["):
        try:
            ipaddress.IPv6Address(match[1][1:-1].decode())
        except ValueError:
            raise _bad_host() from None
    return (match[1] if match[2] == b":" else value).lower()


def _check_sizes(data: bytes, line_end: int, limits: Limits) -> None:
    if line_end - 2 > limits.request_line_max:
        raise _line_too_long(limits)
    if len(data) > limits.head_max:
        raise _head_too_large(limits)


def _resolve(method: str, target: bytes, headers: Headers, scheme: str, version: str) -> tuple[bytes, bytes, Headers]:
    """(target in origin-form, authority, fields), Host made equal to the authority (RFC 9112 sections 3.2 and 3.3).

    Host must be there and valid even where an absolute target overrides it.
    """
    if method == "CONNECT":
        # Nothing here can be tunnelled by name: not implemented for any resource (RFC 9110 section 15.6.2).
        raise ViewerError("CONNECT is not supported.", status=501, detail=Detail.INVALID_REQUEST_METHOD)
    hosts = headers.all(b"host")
    if len(hosts) != 1 and (hosts or version == "1.1"):
        raise ViewerError("A request must have exactly one Host field.", detail=Detail.INVALID_REQUEST_HEADER)
    authority = parse_authority(hosts[0]) if hosts else b""
    if target.startswith(b"/") or (target == b"*" and method == "OPTIONS"):
        return target, authority, headers
    absolute = _ABSOLUTE.fullmatch(target)
    if absolute is None:
        raise ViewerError("The request target is malformed.")
    if absolute[1].lower() != scheme.encode():
        # RFC 9110 section 7.4: what is asked for here is not what this connection carries.
        raise ViewerError("The request target has another scheme than this connection.", status=421)
    authority = parse_authority(absolute[2])
    renamed = [(name, authority if name.lower() == b"host" else value) for name, value in headers]
    if not hosts:
        renamed.append((b"Host", authority))
    rest = absolute[3] or (b"*" if method == "OPTIONS" else b"/")
    return rest if rest[:1] != b"?" else b"/" + rest, authority, Headers(renamed)


def _body_length(headers: Headers, version: str) -> int | None:
    """The framing of the body (RFC 9112 section 6.3); never by the end of the connection (CVE-2026-2835)."""
    codings = headers.all(b"transfer-encoding")
    lengths = headers.all(b"content-length")
    if codings:
        if version == "1.0" or lengths:
            raise ViewerError("Transfer-Encoding is not allowed here.", detail=Detail.INVALID_REQUEST_HEADER)
        _check_codings(codings)
        return None
    if not lengths:
        return 0
    if len(lengths) > 1 or _CONTENT_LENGTH.fullmatch(lengths[0]) is None:
        raise ViewerError("Content-Length is malformed.", detail=Detail.INVALID_REQUEST_HEADER)
    return int(lengths[0])


def _check_codings(lines: list[bytes]) -> None:
    """`chunked` and nothing else is decoded here; a body that does not end in it has no certain end: 400."""
    value = b", ".join(lines)
    if value.lower() == b"chunked":
        return
    codings = [coding.strip().lower() for coding in value.split(b",")]
    once_and_last = codings.count(b"chunked") == 1 and codings[-1] == b"chunked"
    if _CODINGS.fullmatch(value) is None or not once_and_last:
        raise ViewerError("Transfer-Encoding is malformed.", detail=Detail.INVALID_REQUEST_HEADER)
    raise ViewerError("The transfer coding is not supported.", status=501, detail=Detail.INVALID_REQUEST_HEADER)


def _expects_continue(headers: Headers, version: str) -> bool:
    """RFC 9110 section 10.1.1: one expectation exists, and HTTP/1.0 does not know it."""
    expectation = headers.combined(b"expect")
    if expectation is not None and expectation.lower() != b"100-continue":
        raise ViewerError("The expectation cannot be met.", status=417, detail=Detail.INVALID_REQUEST_HEADER)
    return version == "1.1"


def _bad_request_line(line: re.Match[bytes] | None) -> ViewerError:
    if line is None:
        return ViewerError("The request line is malformed.")
    return ViewerError("Only HTTP/1.1 and HTTP/1.0 are spoken here.", status=505)


def _bad_host() -> ViewerError:
    return ViewerError("The host is malformed.", detail=Detail.INVALID_REQUEST_HEADER)


def _line_too_long(limits: Limits) -> ViewerError:
    return ViewerError(f"The request line is longer than {limits.request_line_max} bytes.", status=414)


def _head_too_large(limits: Limits) -> ViewerError:
    return ViewerError(f"The request head is larger than {limits.head_max} bytes.", status=limits.too_large_status)


def _too_many_fields() -> ViewerError:
    return ViewerError("The request has too many header fields.", status=431, detail=Detail.INVALID_REQUEST_HEADER)


class HeadBuffer:
    """Bytes that heads are taken from, checked against the limits while they arrive.

    Each byte is looked at once however it is cut up (CVE-2019-15226 was a rescan), and a head that can no longer
    become valid is refused before it is complete.
    """

    __slots__ = ("_blank", "_data", "_limits", "_line_seen", "_lines", "_scanned", "_start")

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._data: bytes | bytearray = b""
        self._start = 0
        self._begin()

    def _begin(self) -> None:
        self._scanned = self._start
        self._lines = 0
        self._line_seen = False
        self._blank = False

    def __len__(self) -> int:
        return len(self._data) - self._start

    def feed(self, data: bytes) -> None:
        """Add bytes. One block that holds whole heads is never copied but for the heads themselves."""
        if len(self._data) == self._start:
            self._data = data
            self._scanned -= self._start
        else:
            held = self._data if isinstance(self._data, bytearray) else bytearray(self._data)
            del held[: self._start]
            held += data
            self._data = held
            self._scanned -= self._start
        self._start = 0

    def take(self) -> bytes | None:
        """One whole head, None when more bytes are needed. Raises ViewerError as `parse_head` does."""
        data = self._data
        if self._start == len(data):
            return None
        if data.startswith(b"\r\n", self._start):
            self._skip_blank_line()
        end = data.find(b"\r\n\r\n", max(self._start, self._scanned - 3))
        if end < 0:
            self._check_arriving()
            return None
        head = bytes(data[self._start : end + 4])
        self._start = end + 4
        if self._start == len(data):
            self._data, self._start = b"", 0  # a connection that waits for its next request holds none
        self._begin()
        return head

    def content(self, length: int) -> bytes | None:
        """The next bytes, which are no head's, when so many are here; `skip` takes them."""
        if len(self) < length:
            return None
        return bytes(self._data[self._start : self._start + length])

    def skip(self, length: int) -> None:
        """So many bytes are no head's."""
        self._start += length
        if self._start == len(self._data):
            self._data, self._start = b"", 0
        self._begin()

    def take_rest(self) -> bytes:
        """All bytes that are held: they belong to a body or a tunnel, or to nobody."""
        rest = bytes(self._data[self._start :]) if self._start else bytes(self._data)
        self._data = b""
        self._start = 0
        self._begin()
        return rest

    def _skip_blank_line(self) -> None:
        """Some clients send a CRLF too many after a body; one is ignored (RFC 9112 section 2.2)."""
        if self._blank:
            raise ViewerError("The request line is malformed.")
        self._start += 2
        self._begin()
        self._blank = True

    def _check_arriving(self) -> None:
        """What can be said about the part of a head that is here; all held bytes belong to it."""
        data, limits, size = self._data, self._limits, len(self)
        fresh = max(self._start, self._scanned - 1)
        if not self._line_seen:
            self._check_line_arriving(fresh)
        if size >= limits.head_max:
            raise _head_too_large(limits)
        if NEVER_IN_HEAD.search(data, fresh):
            raise ViewerError("The request head holds a byte that is not allowed there.")
        self._lines += data.count(b"\n", self._scanned)
        if self._lines > limits.fields_max + 1:
            raise _too_many_fields()
        self._scanned = len(data)

    def _check_line_arriving(self, fresh: int) -> None:
        limits = self._limits
        end = self._data.find(b"\r\n", fresh)
        if (len(self) - 1 if end < 0 else end - self._start) > limits.request_line_max:
            raise _line_too_long(limits)
        if end >= 0:
            self._line_seen = True
            line = _REQUEST_LINE.match(bytes(self._data[self._start : end + 2]))
            if line is None or line[3] not in (b"1.1", b"1.0"):
                raise _bad_request_line(line)
