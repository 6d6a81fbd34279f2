"""One record per request: the only source of the access log and of the counters of results.

A record keeps what was received as raw bytes. Encoding happens when the line is written, off the hot path. The two
spellings of a line (CloudFront's tab-separated standard log, and one JSON object) come from one table of fields and
hold the same text: a missing value is `-`, and what would break a line is percent-encoded (fact sheet 10.1). In JSON
every value is a string too, so that both spellings can be compared field by field.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import lru_cache
from operator import attrgetter
from typing import NamedTuple

from edgeproxy.headers import Headers
from edgeproxy.model import Mode
from edgeproxy.outcome import Reason, Result

_NONE = Headers()


@dataclass(slots=True, kw_only=True)
class Record:
    """What is known of a request when all of it is over. Times in seconds, sizes in bytes."""

    ended_at: float
    """Wall clock, when the last byte of the answer went out."""
    method: str
    path: bytes
    query: bytes | None
    host: bytes
    """The viewer's Host."""
    status: int
    """Of the final head, also when the viewer left before it was written: the log then has 000."""
    result: Result
    """At the end: `ERROR` when the answer was cut short."""
    response_result: Result
    """When the answer began."""
    request_id: str
    location: str = ""
    client_address: str = ""
    client_port: int = 0
    domain: str = ""
    """The distribution's domain name."""
    request_headers: Headers = _NONE
    """As received: Referer, User-Agent, Cookie and X-Forwarded-For are taken from them."""
    head_bytes: int = 0
    """Size of the request head on the wire; 0 when not known. It tells what a waiting record weighs."""
    cookies: bool = False
    """Cookies are to be logged (CloudFront's IncludeCookies)."""
    detailed: str | None = None
    """A word more exact than `result`, see `errors.Detail`."""
    protocol: str = "http"
    """`http` or `https`."""
    tunnel: bool = False
    """The connection was upgraded: `ws` or `wss` in the log."""
    version: str = "1.1"
    """Of HTTP."""
    bytes_in: int = 0
    bytes_out: int = 0
    time_taken: float = 0.0
    """From the request's head to the last byte of the answer."""
    first_byte: float | None = None
    """From the request's head to the first byte of the answer; None when the viewer left before any."""
    tls_protocol: str | None = None
    tls_cipher: str | None = None
    """OpenSSL's name for it, which is the one CloudFront logs."""
    content_type: bytes | None = None
    content_length: int | None = None
    range: tuple[int, int] | None = None
    """First and last byte that the answer's Content-Range names."""

    node: str = ""
    mode: Mode | None = None
    distribution: str = ""
    """Its id."""
    behavior: str = ""
    """Path pattern of the cache behaviour."""
    reasons: tuple[Reason, ...] = ()
    """Why the request went forward, and why the answer was not kept."""
    source: str = ""
    """Where the body came from, such as memory or fill."""
    upstream_status: int | None = None
    upstream_seconds: float | None = None
    """From the request sent upstream to the head of its answer."""

    def weight(self) -> int:
        """About how much memory the record keeps alive: itself, the target twice, the fields as objects."""
        return 1024 + 2 * (self.head_bytes or len(self.path) + len(self.query or b"") + self.request_headers.size())


def _raw(value: bytes | None) -> str:
    """Received bytes; Latin-1 maps each byte to one character, so each byte can be escaped by itself."""
    return value.decode("latin-1") if value else "-"


def _text(value: str) -> str:
    """A word of the configuration, which may hold any character."""
    if value.isascii():
        return value or "-"
    return value.encode("utf-8", "backslashreplace").decode("latin-1")


def _number(value: int | None) -> str | int:
    return "-" if value is None else value


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


@lru_cache(maxsize=64)
def _moment(second: int) -> tuple[str, str]:
    moment = datetime.fromtimestamp(second, UTC)
    return moment.strftime("%Y-%m-%d"), moment.strftime("%H:%M:%S")


def _cookie(record: Record) -> str:
    # Several Cookie fields are one list with this delimiter (RFC 9113 section 8.2.3).
    return _raw(b"; ".join(record.request_headers.all(b"cookie"))) if record.cookies else "-"


def _protocol(record: Record) -> str:
    if not record.tunnel:
        return record.protocol
    return "wss" if record.protocol == "https" else "ws"


def _version(record: Record) -> str:
    return f"HTTP/{record.version}" if "." in record.version else f"HTTP/{record.version}.0"


class Field(NamedTuple):
    """A field of the log: CloudFront's name (or ours), what it means, and its value, not escaped yet."""

    name: str
    sentence: str
    value: Callable[[Record], str | int]


# `_value_` is `value` without the descriptor that makes the latter several times slower.
STANDARD = (
    Field("date", "Day on which the answer ended, UTC.", lambda r: _moment(int(r.ended_at))[0]),
    Field("time", "Time at which the answer ended, UTC.", lambda r: _moment(int(r.ended_at))[1]),
    Field("x-edge-location", "The node's location.", lambda r: _text(r.location)),
    Field("sc-bytes", "Bytes sent to the viewer, head included.", attrgetter("bytes_out")),
    Field("c-ip", "The viewer's address.", lambda r: r.client_address or "-"),
    Field("cs-method", "The request's method.", attrgetter("method")),
    Field("cs(Host)", "The distribution's domain name.", lambda r: _text(r.domain)),
    Field("cs-uri-stem", "The request's path.", lambda r: _raw(r.path)),
    Field("sc-status", "Status; 000 when the viewer left before any answer.",
          lambda r: "000" if r.first_byte is None else r.status),
    Field("cs(Referer)", "The request's Referer.", lambda r: _raw(r.request_headers.get(b"referer"))),
    Field("cs(User-Agent)", "The request's User-Agent.", lambda r: _raw(r.request_headers.get(b"user-agent"))),
    Field("cs-uri-query", "What follows the ? of the target.", lambda r: _raw(r.query)),
    Field("cs(Cookie)", "All cookies, where cookies are logged.", _cookie),
    Field("x-edge-result-type", "What became of the request, at its end.", attrgetter("result._value_")),
    Field("x-edge-request-id", "The request's id, as in X-Amz-Cf-Id.", attrgetter("request_id")),
    Field("x-host-header", "The request's Host.", lambda r: _raw(r.host)),
    Field("cs-protocol", "http, https, ws or wss.", _protocol),
    Field("cs-bytes", "Bytes read from the viewer, head included.", attrgetter("bytes_in")),
    Field("time-taken", "Seconds from the request's head to the end.", lambda r: _seconds(r.time_taken)),
    Field("x-forwarded-for", "The request's X-Forwarded-For.",
          lambda r: _raw(r.request_headers.combined(b"x-forwarded-for"))),
    Field("ssl-protocol", "TLS version.", lambda r: r.tls_protocol or "-"),
    Field("ssl-cipher", "TLS cipher suite, in OpenSSL's words.", lambda r: r.tls_cipher or "-"),
    Field("x-edge-response-result-type", "What became of the request, when the answer began.",
          attrgetter("response_result._value_")),
    Field("cs-protocol-version", "HTTP version of the request.", _version),
    Field("fle-status", "Field-level encryption: never used here.", lambda r: "-"),
    Field("fle-encrypted-fields", "Fields encrypted: never any.", lambda r: "-"),
    Field("c-port", "The viewer's port.", attrgetter("client_port")),
    Field("time-to-first-byte", "Seconds from the request's head to the first byte of the answer.",
          lambda r: _seconds(r.first_byte)),
    Field("x-edge-detailed-result-type", "What exactly happened; else as x-edge-result-type.",
          lambda r: r.detailed or r.result._value_),
    Field("sc-content-type", "The answer's Content-Type.", lambda r: _raw(r.content_type)),
    Field("sc-content-len", "The answer's Content-Length.", lambda r: _number(r.content_length)),
    Field("sc-range-start", "First byte of the answer's Content-Range.",
          lambda r: "-" if r.range is None else r.range[0]),
    Field("sc-range-end", "Last byte of the answer's Content-Range.",
          lambda r: "-" if r.range is None else r.range[1]),
)  # fmt: skip
"""The fields of CloudFront's standard log, in its order (fact sheet 10.1)."""

OWN = (
    Field("node", "Name of the node.", lambda r: _text(r.node)),
    Field("tier", "pop or regional.", lambda r: r.mode.value if r.mode else "-"),
    Field("distribution-id", "Id of the distribution.", lambda r: _text(r.distribution)),
    Field("cache-behavior-path-pattern", "Path pattern of the cache behaviour.", lambda r: _text(r.behavior)),
    Field("reasons", "Why it went forward or was not kept.", lambda r: ",".join(x.token for x in r.reasons) or "-"),
    Field("body-source", "Where the body came from.", lambda r: _text(r.source)),
    Field("upstream-status", "Status of the next hop's answer.", lambda r: _number(r.upstream_status)),
    Field("upstream-seconds", "Seconds until the head of that answer.", lambda r: _seconds(r.upstream_seconds)),
)
"""What CloudFront's log has no field for; in JSON only."""

_UNSAFE = re.compile(r"""[\x00-\x20\x7f-\xff<>"#%{}|\\^~\[\]`']""")
_SAFE = bytes(byte for byte in range(256) if not _UNSAFE.match(chr(byte)))
_SAFE_OR_PERCENT = bytes(byte for byte in range(256) if byte == 0x25 or not _UNSAFE.match(chr(byte)))


class _Row:
    """Some fields as one escaped row, tabs between."""

    def __init__(self, fields: tuple[Field, ...]) -> None:
        self._values = [field.value for field in fields]
        self._template = "\t".join("%s" for _ in fields)
        self._tabs = b"\t" * (len(fields) - 1)

    def __call__(self, record: Record) -> bytes:
        values = tuple([value(record) for value in self._values])
        # Nearly every row has nothing to escape but spaces and percent signs: then what is left of it without the
        # harmless bytes are its own tabs. Any other row is escaped value by value.
        row = (self._template % values).replace("%", "%25").replace(" ", "%20").encode("latin-1")
        if row.translate(None, _SAFE_OR_PERCENT) == self._tabs:
            return row
        return "\t".join([_UNSAFE.sub(_percent, str(value)) for value in values]).encode("ascii")


def _percent(match: re.Match[str]) -> str:
    return f"%{ord(match[0]):02X}"


_w3c_row = _Row(STANDARD)
_json_row = _Row(STANDARD + OWN)
_W3C_HEADER = b"#Version: 1.0\n#Fields: %b\n" % " ".join(field.name for field in STANDARD).encode()
# No quote, backslash or control byte survives the escaping, so the values need nothing more in JSON.
_JSON_LINE = b"{" + b",".join(b'"%b":"%%b"' % field.name.encode() for field in STANDARD + OWN) + b"}\n"


def day_and_time(second: int) -> tuple[bytes, bytes]:
    """A moment of the wall clock as a line has it, in two fields."""
    day, time = _moment(second)
    return day.encode(), time.encode()


def text_of(value: bytes | None) -> bytes:
    """Received bytes as a line has them."""
    if value and not value.translate(None, _SAFE):
        return value
    return _UNSAFE.sub(_percent, _raw(value)).encode("ascii")


SLOTS = (
    "date", "time", "bytes_out", "address", "referer", "agent", "cookie", "id", "bytes_in", "forwarded", "tls",
    "cipher", "port",
)  # fmt: skip
"""What differs between the lines of requests that are answered alike, in the order of a line."""

_MARK_SECOND = 251_338_161_782  # a moment that nothing else in a line speaks of
_MARKS = {slot: f"edgeproxy.slot.{slot}" for slot in SLOTS}
_MARKS |= {"bytes_out": "873420000000000061", "bytes_in": "873420000000000062", "port": "873420000000000063"}
_MARKS |= dict(zip(("date", "time"), _moment(_MARK_SECOND), strict=True))


def outline(line: Callable[[Record], bytes], record: Record) -> list[bytes] | None:
    """The line of a record, cut at all SLOTS: what stands before each of them, and behind the last.

    None in the odd case that the record itself holds what marks a slot.
    """
    marked = replace(
        record,
        ended_at=float(_MARK_SECOND),
        client_address=_MARKS["address"],
        client_port=int(_MARKS["port"]),
        request_headers=Headers(
            (name, _MARKS[slot].encode())
            for name, slot in (
                (b"referer", "referer"), (b"user-agent", "agent"), (b"cookie", "cookie"),
                (b"x-forwarded-for", "forwarded"),
            )
        ),
        cookies=True,
        request_id=_MARKS["id"],
        bytes_in=int(_MARKS["bytes_in"]),
        bytes_out=int(_MARKS["bytes_out"]),
        tls_protocol=_MARKS["tls"],
        tls_cipher=_MARKS["cipher"],
    )  # fmt: skip
    rest, pieces = line(marked), []
    for slot in SLOTS:
        mark = _MARKS[slot].encode()
        if rest.count(mark) != 1:
            return None
        before, _, rest = rest.partition(mark)
        pieces.append(before)
    return [*pieces, rest]


def w3c_header() -> bytes:
    """The two lines at the top of a file in CloudFront's format."""
    return _W3C_HEADER


def w3c_line(record: Record) -> bytes:
    """The record in CloudFront's format, with the line's end."""
    return _w3c_row(record) + b"\n"


def json_line(record: Record) -> bytes:
    """The record as one JSON object, with the line's end: every field by CloudFront's name, then ours."""
    return _JSON_LINE % tuple(_json_row(record).split(b"\t"))
