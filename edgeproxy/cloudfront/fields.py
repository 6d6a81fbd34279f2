"""Header fields that CloudFront adds: their values, from facts about the node and the request (fact sheet 1.5, 2.2)."""

from __future__ import annotations

import base64
import hashlib
import re
from functools import lru_cache

from edgeproxy.headers import Headers
from edgeproxy.model import Rules
from edgeproxy.outcome import Result

CDN_ID = b"edgeproxy"
"""Our name in CDN-Loop (RFC 8586)."""

REQUEST_ID_BYTES = 40
"""Of randomness in a request id (fact sheet 1.5)."""

_QUOTED = re.compile(rb'"(?:[^"\\]|\\.)*+"?', re.DOTALL)


def request_id(random: bytes) -> str:
    """One per request, the same to the origin, to the viewer and in the log: 40 random bytes as 56 characters."""
    return base64.urlsafe_b64encode(random).decode()


def location_code(name: str) -> str:
    """An x-edge-location for a node that was given none, in the form of CloudFront's: `fra-1` becomes `FRA…-P1`.

    The same for the same name, everywhere; two names rarely share one.
    """
    letters = (re.sub(r"[^A-Z]", "", name.upper()) + "XXX")[:3]
    number = int.from_bytes(hashlib.sha256(name.encode()).digest()[:4]) % 90 + 10
    return f"{letters}{number}-P1"


@lru_cache(maxsize=64)
def _pseudonym(node: str) -> bytes:
    return hashlib.sha256(node.encode()).hexdigest()[:32].encode() + b".cloudfront.net (CloudFront)"


def via_request(node: str, version: str, rules: Rules) -> bytes:
    """This node's member of Via towards an origin; `version` is that of the viewer's HTTP (RFC 9110 section 7.6.3)."""
    name = _pseudonym(node) if rules is Rules.CLOUDFRONT else node.encode()
    return version.encode() + b" " + name


def via_response(node: str) -> bytes:
    """Via towards the viewer in `cloudfront` rules; it replaces whatever the origin sent (fact sheet 2.1)."""
    return b"1.1 " + _pseudonym(node)


def x_cache(result: Result) -> bytes:
    """X-Cache (fact sheet 2.3)."""
    return result.value.encode() + b" from cloudfront"


def cdn_loop(distribution_id: str) -> bytes:
    """This distribution's member of CDN-Loop (RFC 8586 section 2)."""
    return CDN_ID + b'; d="' + distribution_id.encode() + b'"'


def distributions_passed(headers: Headers) -> int:
    """How many distributions of ours a request has passed already, by the members of CDN-Loop that bear our name."""
    if b"cdn-loop" not in headers:
        return 0
    members = _QUOTED.sub(b"", headers.combined(b"cdn-loop") or b"").split(b",")
    return sum(member.partition(b";")[0].strip().lower() == CDN_ID for member in members)
