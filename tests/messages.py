"""Requests, responses and stored responses, written shortly. Field lines are "Name: value", "{+60}" is a date."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType

from edgeproxy.headers import Headers
from edgeproxy.message import RequestHead, ResponseHead
from edgeproxy.model import NO_EPOCH, AsOf, Caching, Rules, Ttl
from edgeproxy.outcome import StoredHead
from edgeproxy.rules.dates import format_date
from edgeproxy.rules.storing import stored_head

NOW = 1_700_000_000.0
"""When everything here happens, wall-clock seconds."""

PLAIN = Caching()
"""A shared cache by the RFCs."""

HERE = AsOf(NO_EPOCH, 0)


def cloudfront(
    minimum: float = 0,
    default: float = 86_400,
    maximum: float = 31_536_000,
    *,
    error_ttl: Mapping[int, float] = MappingProxyType({}),
    forwards_cookies: bool = False,
) -> Caching:
    """A behaviour's caching in `cloudfront` rules with these TTLs."""
    return Caching(Rules.CLOUDFRONT, Ttl(minimum, default, maximum), error_ttl, forwards_cookies)


def fields(*lines: str) -> Headers:
    """Header fields of lines; {+60} stands for the date 60 seconds after NOW."""
    made = []
    for line in lines:
        name, _, value = line.partition(":")
        dated = re.sub(r"\{([+-]\d+)\}", lambda match: format_date(NOW + int(match[1])).decode(), value.strip(" "))
        made.append((name.encode(), dated.encode("latin-1")))
    return Headers(made)


def request(*lines: str, method: str = "GET", target: str = "/a", authority: str = "www.example.com") -> RequestHead:
    """A request."""
    return RequestHead(method, target.encode("latin-1"), authority.encode(), fields(*lines))


def response(*lines: str, status: int = 200) -> ResponseHead:
    """A response."""
    return ResponseHead(status, fields(*lines))


def stored(
    *lines: str,
    status: int = 200,
    age: float = 0,
    delay: float = 0,
    asked: RequestHead | None = None,
    as_of: AsOf = HERE,
) -> StoredHead:
    """A stored response that arrived `age` seconds before NOW, `delay` seconds after it was asked for."""
    received = NOW - age
    return stored_head(
        asked or request(),
        response(*lines, status=status),
        requested_at=received - delay,
        received_at=received,
        as_of=as_of,
    )
