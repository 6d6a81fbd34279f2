"""The OPT record of an answer (RFC 6891 §6.1): what it carries, and its bytes.

Client subnet is its last option, before it the cookie: what remembered answers are cut at.
"""

from __future__ import annotations

from enum import Enum
from struct import Struct

from edgeproxy.dns.query import (
    COOKIE_OPTION,
    DO,
    ERROR_OPTION,
    KEEPALIVE_OPTION,
    NSID_OPTION,
    OPT,
    SUBNET_OPTION,
    Edns,
    Rcode,
)

UDP_SIZE = 1232
"""Most bytes of a UDP answer, and the size we say we take: DNS Flag Day 2020's figure against fragments."""

_RECORD = Struct("!BHHBBHH")
_OPTION = Struct("!HH")
_SUBNET_SIZE = 8
"""Of a client subnet's two heads (RFC 7871 §6)."""


class Trouble(Enum):
    """Why an answer is not what was hoped for: codes of RFC 8914 §4, and a text where a code alone says too little."""

    ALL_DOWN = 0, "every POP is out of service"
    NOT_READY = 14, ""
    NOT_AUTHORITATIVE = 20, ""
    NOT_SUPPORTED = 21, ""

    @property
    def data(self) -> bytes:
        """Of the option."""
        code, text = self.value
        return int(code).to_bytes(2) + text.encode()


def option(code: int, data: bytes) -> bytes:
    """One option."""
    return _OPTION.pack(code, len(data)) + data


def said(edns: Edns | None, *, nsid: bytes, keepalive: int | None, trouble: Trouble | None) -> bytes:
    """Options that tell of this server and this answer. `keepalive` in tenths of a second, None over UDP."""
    if edns is None:
        return b""
    options = b""
    if edns.nsid and nsid:  # RFC 5001 §2.2: on request only
        options += option(NSID_OPTION, nsid)
    if edns.keepalive and keepalive is not None:  # RFC 7828 §3.2.2: ignored over UDP
        options += option(KEEPALIVE_OPTION, keepalive.to_bytes(2))
    if trouble is not None:
        options += option(ERROR_OPTION, trouble.data)
    return options


def with_cookie(options: bytes, cookie: bytes) -> bytes:
    """Options and a cookie; none when it is empty."""
    return options + option(COOKIE_OPTION, cookie) if cookie else options


def size(edns: Edns | None, options: bytes) -> int:
    """Bytes of the record, that of the client subnet included."""
    if edns is None:
        return 0
    return _RECORD.size + len(options) + (0 if edns.subnet is None else _SUBNET_SIZE + len(edns.subnet.address))


def record(edns: Edns, rcode: Rcode, options: bytes, scope: int) -> bytes:
    """The record."""
    if edns.subnet is not None:
        options += option(SUBNET_OPTION, edns.subnet.option(scope))
    return _RECORD.pack(0, OPT, UDP_SIZE, rcode >> 4, 0, DO if edns.dnssec_ok else 0, len(options)) + options
