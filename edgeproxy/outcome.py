"""Decisions and their reasons. A reason is one enum member with a sentence; the same member reaches the log, the
counter label, `Cache-Status` and `explain`."""

from __future__ import annotations

from dataclasses import replace
from enum import Enum
from typing import TypeAlias

from edgeproxy.headers import Headers
from edgeproxy.model import AsOf
from edgeproxy.values import value


class Reason(Enum):
    """Why a request went forward, or why an answer was not kept. Value: (token, sentence)."""

    URI_MISS = ("uri-miss", "Nothing is stored under this key.")
    VARY_MISS = ("vary-miss", "Something is stored under this key, but its Vary does not match this request.")
    STALE = ("stale", "What is stored is no longer fresh.")
    REQUEST = ("request", "The request's own Cache-Control forbids the stored response.")
    CONDITION = ("condition", "The request's condition is for the origin to judge.")
    METHOD = ("method", "The method's responses are not served from cache.")
    BYPASS = ("bypass", "The configuration sends this request past the cache.")
    PARTIAL = ("partial", "The stored bytes do not hold the range asked for.")
    REVALIDATE_ALWAYS = ("no-cache", "The stored response must be validated before each use.")

    DYNAMIC = ("dynamic", "The behaviour forbids caching.")
    SAME_REGION = ("same-region", "The S3 origin is in the regional's own region.")
    UPGRADE = ("upgrade", "The request asks for an upgrade.")
    RANGE_COLD = ("range-cold", "A range of an object that is not stored is fetched as it was asked for.")
    MISMATCH = ("mismatch", "The tier works with another revision or epoch.")

    NO_STORE = ("no-store", "The response or the request says no-store.")
    PRIVATE = ("private", "The response is for one viewer only.")
    AUTHORIZATION = ("authorization", "The request was authorised and the response does not allow sharing.")
    VARY_ANY = ("vary-any", "Vary: * matches no other request.")
    NOT_UNDERSTOOD = ("must-understand", "The status is not one this cache understands.")
    NO_EXPLICIT_FRESHNESS = ("no-freshness", "Nothing says how long the response is fresh, nor how to validate it.")
    STATUS = ("status", "Responses with this status are not stored.")
    STORE_METHOD = ("store-method", "Responses to this method are not stored.")
    PARTIAL_RESPONSE = ("partial-response", "A partial response is not stored.")
    TOO_LARGE = ("too-large", "The body is larger than the store takes.")
    NO_SPACE = ("no-space", "The store has no room left for this body.")

    def __init__(self, token: str, sentence: str) -> None:
        self.token = token
        self.sentence = sentence


@value(frozen=True, slots=True)
class StoredHead:
    """What the store remembers of a response, apart from its bytes. Times are wall-clock seconds."""

    status: int
    reason: bytes
    headers: Headers
    """End-to-end fields as received, `Age` included."""
    requested_at: float
    received_at: float
    as_of: AsOf
    method: str = "GET"
    vary: tuple[tuple[bytes, bytes | None], ...] = ()
    """(lower-case field name, value of the request that brought this response, combined and normalised)."""
    parts: tuple[tuple[int, int], ...] | None = None
    """The byte intervals [start, end) that are stored, ascending and apart; None: the whole body. An incomplete
    response has its complete length in Content-Length."""

    def with_headers(self, headers: Headers) -> StoredHead:
        """The same response with other fields."""
        return replace(self, headers=headers)


@value(frozen=True, slots=True)
class Serve:
    """The stored response is fresh; `age` in seconds."""

    stored: StoredHead
    age: float


@value(frozen=True, slots=True)
class ServeStale:
    """The stored response may be served although stale, and is to be revalidated meanwhile (RFC 5861 section 3)."""

    stored: StoredHead
    age: float


@value(frozen=True, slots=True)
class Revalidate:
    """Ask upstream with the stored response's validators. `stale_if_error`: serve it if that fails."""

    stored: StoredHead
    reason: Reason
    stale_if_error: bool


@value(frozen=True, slots=True)
class Fetch:
    """Ask upstream without conditions. `stale` is what may be served if that fails."""

    reason: Reason
    stale: StoredHead | None = None


@value(frozen=True, slots=True)
class Bypass:
    """Neither look up nor store."""

    reason: Reason


@value(frozen=True, slots=True)
class Unsatisfiable:
    """Answer 504: the request says only-if-cached and nothing usable is stored (RFC 9111 section 5.2.1.7)."""

    reason: Reason


Decision: TypeAlias = Serve | ServeStale | Revalidate | Fetch | Bypass | Unsatisfiable


class Result(Enum):
    """What became of a request, in the words of CloudFront's x-edge-result-type (fact sheet 10.1)."""

    HIT = "Hit"
    REFRESH_HIT = "RefreshHit"
    MISS = "Miss"
    ERROR = "Error"
    REDIRECT = "Redirect"
    LIMIT_EXCEEDED = "LimitExceeded"
    CAPACITY_EXCEEDED = "CapacityExceeded"


class Layer(Enum):
    """A tier in the words of Server-Timing's cdn-hit-layer (fact sheet 2.7)."""

    EDGE = "EDGE"
    REC = "REC"
    SHIELD = "Origin Shield"
