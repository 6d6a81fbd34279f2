"""What is decided about requests that differ in target, sender and content alone, found out once for all of them.

A plan is learnt from a request that went through admission, and what the origin is sent is what the functions for all
other requests make of it, asked once with marks in the place of what will differ: there is nothing here that could
decide or say something else than they do.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import NamedTuple

from edgeproxy.edge.ask import Ask
from edgeproxy.edge.nexthop import NextHop
from edgeproxy.headers import INTERNAL_PREFIX, Headers, connection_options
from edgeproxy.message import Incoming, Peer, RequestHead, no_body
from edgeproxy.model import Distribution
from edgeproxy.outcome import Fetch, Reason
from edgeproxy.rules import lookup
from edgeproxy.rules.key import variant_key
from edgeproxy.upstream.client import Patience, Target
from edgeproxy.upstream.writing import request_head
from edgeproxy.values import value

_LINE = re.compile(rb"(GET|POST|PUT|PATCH) (/[\x21\x22\x24-\x7e]*+) HTTP/1\.1\r\n")
_LENGTH = re.compile(rb"\r\n[Cc]ontent-[Ll]ength: ([0-9]{1,9})(?=\r\n)")

_NEVER = frozenset(
    {b"transfer-encoding", b"expect", b"upgrade", b"te", b"trailer", b"range", b"if-range",
     b"if-match", b"if-none-match", b"if-modified-since", b"if-unmodified-since"}
)  # fmt: skip
"""Where one of these is, a request is not plain."""

_KEEP_ALIVE = frozenset({b"keep-alive"})
_LENGTH_FIELD = frozenset({b"content-length"})

BLOCK_MAX = 4096
"""Bytes of a head, its request line apart, that is remembered."""

_TARGET, _ID, _ADDRESS, _SIZE = (
    b"/edgeproxy.mark.target",
    "edgeproxy.mark.id",
    "edgeproxy.mark.address",
    873420000000000061,
)
_SLOTS = ((_TARGET, b"target"), (_ID.encode(), b"id"), (_ADDRESS.encode(), b"address"), (b"%d" % _SIZE, b"size"))


class Cut(NamedTuple):
    """A head, cut into what a plan does not depend on, and the rest."""

    method: bytes
    target: bytes
    length: int
    """Of the content."""
    block: bytes
    """The fields, without Content-Length: their bytes as they came."""


def cut(head: bytes) -> Cut | None:
    """None for a head that no plan is made for."""
    line = _LINE.match(head)
    if line is None or len(head) - line.end() > BLOCK_MAX:
        return None
    method, block, length = line[1], head[line.end() - 2 :], 0
    if method != b"GET" and (found := _LENGTH.search(block)) is not None:
        length = int(found[1])
        block = block[: found.start()] + block[found.end() :]
    return Cut(method, line[2], length, block)


@value(frozen=True, slots=True)
class Plan:
    """What is known of a request before its target is."""

    like: Ask
    """The request it was learnt from: of the same distribution, behaviour, origin, way."""
    fields: Headers
    """As admitted."""
    received: Headers
    """As they came."""
    variant: bytes
    """What the key has behind the resource's."""
    way: tuple[Target, Patience]
    template: bytes
    """The head for the origin."""

    @property
    def distribution(self) -> Distribution:
        """The request's."""
        return self.like.distribution

    def written(self, target: bytes, request_id: str, address: str, size: int) -> bytes:
        """The head for the origin, for content of so many bytes."""
        return self.template % {
            b"target": target,
            b"id": request_id.encode(),
            b"address": address.encode(),
            b"size": b"%d" % size,
        }


def plan_of(ask: Ask, nexthop: NextHop, now: float) -> Plan | None:
    """The plan for requests like this one; None where what becomes of it depends on more than is looked at."""
    parts = cut(ask.incoming.raw)
    if parts is None or b"content-length" in parts.block.lower():
        return None  # of a length that was not taken out nobody would know
    if not is_plain(ask, now) or nexthop.next_tier(ask) is not None:
        return None
    received = ask.incoming.head.headers.without(_LENGTH_FIELD)
    fields = ask.request.headers.without(_LENGTH_FIELD)
    request = ask.request.with_headers(fields)
    client = replace(ask.client, address=_ADDRESS)
    outward = nexthop.outward(ask, ask.origin, request, client, _ID)
    way = nexthop.way(ask, ask.origin, outward)
    if way[1].keepalive <= 0:
        return None
    template = _template(outward, 0 if request.method == "GET" else _SIZE)
    if template is None:
        return None
    like = replace(ask, incoming=Incoming(ask.incoming.head, no_body(), ask.client, 0.0))
    return Plan(like, fields, received, variant_key(b"", request, ask.behavior), way, template)


def is_plain(ask: Ask, now: float) -> bool:
    """Whether all that is decided about a request like this one is decided by what a plan holds."""
    incoming, behavior, distribution = ask.incoming, ask.behavior, ask.distribution
    names = incoming.head.headers.names()
    settings = ask.serving.settings
    return (
        ask.hop is None
        and ask.presenter.peer is Peer.VIEWER
        and ask.client is incoming.client
        and not settings.trust.proxies
        and not settings.cache.no_vary_search
        and not ask.upgrade
        and ask.owner is None
        and distribution.countries is None
        and not distribution.shared
        and behavior.failover is None
        and not behavior.forward.made_up
        and _NEVER.isdisjoint(names)
        and not any(name.startswith(INTERNAL_PREFIX) for name in names)
        and connection_options(incoming.head.headers) <= _KEEP_ALIVE
        and (not ask.route.cached or _misses(ask, now))
    )


def _misses(ask: Ask, now: float) -> bool:
    """Whether a request for something that is not stored is simply fetched, and by GET."""
    fetched = lookup.decide(ask.request, (), ask.behavior.caching, now) == Fetch(Reason.URI_MISS)
    return fetched and ask.request.method == "GET"


def _template(outward: RequestHead, size: int) -> bytes | None:
    """The head with names for `%` in the place of all marks; None when they would be found where they were not put."""
    marked = RequestHead(outward.method, _TARGET, outward.authority, outward.headers, outward.scheme)
    text = request_head(marked, size)
    if text.count(_TARGET) != 1 or any(text.count(mark) > 1 for mark, _ in _SLOTS):
        return None
    text = text.replace(b"%", b"%%")
    for mark, name in _SLOTS:
        text = text.replace(mark, b"%(" + name + b")b")
    return text
