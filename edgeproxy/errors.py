"""What can go wrong, whose fault it is, what the viewer is told, and whether another try may help.

EdgeError
├── ViewerError          the request is wrong: 4xx or 501, connection closed
├── OriginError          the next hop failed; `detail` says how
│   ├── OriginUnreachable    no connection: DNS, refused, TLS       502
│   ├── OriginTimeout        connect, first byte or idle time-out   504
│   └── OriginInvalid        its bytes break RFC 9112               502
├── BodyAborted          a body ended before its end: the reader must be able to tell
├── Overloaded           a bound of ours was reached                503
└── ConfigError          every fault of a configuration at once
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum


class Side(Enum):
    """Whose fault an error is."""

    VIEWER = "viewer"
    UPSTREAM = "upstream"
    HERE = "here"
    OPERATOR = "operator"


class Detail(Enum):
    """What exactly happened, in the words of CloudFront's x-edge-detailed-result-type (fact sheet 10.1)."""

    ABORTED_ORIGIN = "AbortedOrigin"
    CLIENT_COMM = "ClientCommError"
    CLIENT_GEO_BLOCKED = "ClientGeoBlocked"
    CLIENT_HUNG_UP = "ClientHungUpRequest"
    INVALID_REQUEST = "InvalidRequest"
    INVALID_REQUEST_HEADER = "InvalidRequestHeader"
    INVALID_REQUEST_METHOD = "InvalidRequestMethod"
    ORIGIN_COMM = "OriginCommError"
    ORIGIN_CONNECT = "OriginConnectError"
    ORIGIN_DNS = "OriginDnsError"
    ORIGIN_HEADER_TOO_BIG = "OriginHeaderTooBigError"
    ORIGIN_INVALID_RESPONSE = "OriginInvalidResponseError"
    ORIGIN_READ = "OriginReadError"
    ORIGIN_SHIELD_HIT = "OriginShieldHit"
    ORIGIN_WRITE = "OriginWriteError"
    ERROR = "Error"


class EdgeError(Exception):
    """Root of the tree: `side` is at fault, the viewer sees `status`, `may_retry` on another connection."""

    side: Side = Side.HERE
    status: int = 500
    may_retry: bool = False
    detail: Detail = Detail.ERROR

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        detail: Detail | None = None,
        may_retry: bool | None = None,
    ) -> None:
        super().__init__(message)
        if status is not None:
            self.status = status
        if detail is not None:
            self.detail = detail
        if may_retry is not None:
            self.may_retry = may_retry


class ViewerError(EdgeError):
    """The viewer's request cannot be honoured; it never reaches the cache or an origin."""

    side = Side.VIEWER
    status = 400
    detail = Detail.INVALID_REQUEST


class OriginError(EdgeError):
    """The next hop (a tier, an origin) did not give a usable answer."""

    side = Side.UPSTREAM
    status = 502
    detail = Detail.ORIGIN_COMM


class OriginUnreachable(OriginError):
    """No connection could be made: name unknown, refused, TLS failed. Nothing was sent."""

    detail = Detail.ORIGIN_CONNECT
    may_retry = True


class OriginTimeout(OriginError):
    """Connecting, the first byte or the next byte took longer than allowed."""

    status = 504
    detail = Detail.ORIGIN_READ


class OriginInvalid(OriginError):
    """The answer breaks the rules of RFC 9112; nothing of it may be trusted or stored."""

    detail = Detail.ORIGIN_INVALID_RESPONSE


class BodyAborted(EdgeError):
    """A body stopped before its end. Whoever relays it must make the cut visible to its own reader."""

    side = Side.UPSTREAM
    status = 502
    detail = Detail.ABORTED_ORIGIN


class Overloaded(EdgeError):
    """A bound of this node (connections, waiters, queue) was reached."""

    status = 503
    may_retry = True


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault of a configuration: the file, the place in it, the value found, and what was expected there."""

    file: str
    place: str
    value: str
    expected: str

    def __str__(self) -> str:
        where = f"{self.file}: {self.place}" if self.place else self.file
        found = f" is {self.value}" if self.value else ""
        return f"{where}{found}: {self.expected}"


class ConfigError(EdgeError):
    """A configuration was refused; `faults` lists everything wrong with it."""

    side = Side.OPERATOR

    def __init__(self, faults: Sequence[Fault]) -> None:
        super().__init__("\n".join(str(fault) for fault in faults))
        self.faults = tuple(faults)
