"""The bytes of a request (RFC 9112 sections 3 and 6). Framing is always ours; nothing received decides it.

What is written is checked as a whole once more, whatever was checked on arrival: a line break that hides in a field
would end it and begin something else at the next hop.
"""

from __future__ import annotations

import re

from edgeproxy.errors import ViewerError
from edgeproxy.headers import Headers
from edgeproxy.message import RequestHead

FRAMING = frozenset({b"content-length", b"transfer-encoding", b"connection"})
"""Fields that only ever describe one connection's framing."""

NO_TRAILERS = FRAMING | {b"host", b"trailer", b"te", b"upgrade"}
"""Never sent as trailers: they would change how the message is framed or routed (RFC 9110 section 6.5.1)."""

_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]++"
_FIELDS = rb"(?:" + _TOKEN + rb": [^\r\n\0]*+\r\n)*+\r\n"
_HEAD = re.compile(_TOKEN + rb" [!-~\x80-\xff]++ HTTP/1\.1\r\n" + _FIELDS)
_TRAILERS = re.compile(_FIELDS)

_LOOKED_AT = FRAMING | {b"host", b"upgrade", b"expect"}

WITH_LENGTH_ALWAYS = frozenset({"POST", "PUT", "PATCH"})
"""Methods whose content has a meaning, so that "none" is said aloud (RFC 9110 section 8.6)."""


def request_head(request: RequestHead, length: int | None, *, upgrade: bool = False, close: bool = False) -> bytes:
    """The head as bytes, for a body of `length` bytes, None for one that will be chunked.

    Fields go out as they are, apart from framing. `Host` comes from the authority when the request has none. `upgrade`
    keeps `Upgrade` and says so in `Connection`; `close` asks for the connection to be closed. Raises ViewerError for
    what may not be written.
    """
    lines = [b"%b %b HTTP/1.1" % (request.method.encode("ascii", "replace"), request.target)]
    hosts = upgrades = 0
    plain = _LOOKED_AT.isdisjoint(request.headers.names())
    if plain:
        lines += [b"%b: %b" % field for field in request.headers]
    for name, value in () if plain else request.headers:
        lowered = name.lower()
        if lowered in FRAMING:
            continue
        if lowered == b"host":
            hosts += 1
        elif lowered == b"upgrade":
            if not upgrade:
                continue
            upgrades += 1
        elif lowered == b"expect" and length == 0:
            # Without content there is nothing to continue with (RFC 9110 section 10.1.1).
            continue
        lines.append(b"%b: %b" % (name, value))
    if not hosts:
        lines.insert(1, b"Host: " + request.authority)
    if hosts > 1 or (upgrade and not upgrades):
        raise ViewerError("A request upstream needs one Host, and a protocol when it asks for an upgrade.")
    if length is None:
        lines.append(b"Transfer-Encoding: chunked")
    elif length or request.method in WITH_LENGTH_ALWAYS:
        lines.append(b"Content-Length: %d" % length)
    if upgrade or close:
        lines.append(b"Connection: upgrade" if upgrade else b"Connection: close")
    return _checked(_HEAD, lines)


def chunk(block: bytes) -> bytes:
    """`block`, which is not empty, as one chunk (RFC 9112 section 7.1)."""
    return b"%x\r\n%b\r\n" % (len(block), block)


def last_chunk(trailers: Headers) -> bytes:
    """The end of a chunked body. Raises ViewerError for trailers that may not be written."""
    lines = [b"%b: %b" % (name, value) for name, value in trailers if name.lower() not in NO_TRAILERS]
    return b"0\r\n" + _checked(_TRAILERS, lines)


def _checked(grammar: re.Pattern[bytes], lines: list[bytes]) -> bytes:
    written = b"\r\n".join((*lines, b"", b"")) if lines else b"\r\n"
    # The count finds a line break that was smuggled in, since what follows it may look like a field too.
    if written.count(b"\n") != len(lines) + 1 or grammar.fullmatch(written) is None:
        raise ViewerError("The request cannot be sent on: a name or value in it is not allowed on the wire.")
    return written
