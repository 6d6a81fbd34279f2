"""Where a request goes from here, and what comes back.

    the key's owner      when this worker is not it
    the next tier        for what tiers share (GET, HEAD), when this node has one and it is not known to be down
    the origin           for everything else, and when the tier cannot help

Only the origin's edge shifts dates for the test clock: tiers of one CDN move together.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace

from edgeproxy.cloudfront import fields as cf
from edgeproxy.cloudfront.origin_request import origin_request, origin_scheme, response_fields
from edgeproxy.edge.ask import Ask
from edgeproxy.edge.dates import shift_response
from edgeproxy.edge.hop import MISMATCH_STATUS, HopRequest, read_answer
from edgeproxy.edge.invalidation import Ledger
from edgeproxy.edge.node import Clocks, NextTier, Place
from edgeproxy.errors import Detail, OriginError, OriginTimeout, OriginUnreachable, Overloaded
from edgeproxy.headers import end_to_end, without_internal
from edgeproxy.message import Body, RequestHead, ResponseHead, Tunnel, no_body
from edgeproxy.model import AsOf, Origin, Rules
from edgeproxy.outcome import Reason, Result
from edgeproxy.rules.floors import tags
from edgeproxy.telemetry.counters import Counter, Counters
from edgeproxy.upstream.client import Client as UpstreamClient
from edgeproxy.upstream.client import Exchange, Patience, Target

log = logging.getLogger(__name__)

TIER_REST = 1.0
"""Seconds a tier that could not be reached is left alone, so that not every miss waits for its time-out."""


@dataclass(slots=True)
class Reply:
    """An answer from upstream: end-to-end fields only, dates on our clock. Times are wall-clock seconds."""

    head: ResponseHead
    body: Body
    tunnel: Tunnel | None
    as_of: AsOf
    requested_at: float
    received_at: float
    result: Result = Result.MISS
    """What became of the request at the tier that answered; Miss from an origin."""
    by_owner: bool = False
    """Another worker of this node answered."""
    edition: int = 0
    """Which that worker said its answer is of."""
    by_tier: bool = False
    """The next tier answered."""


@dataclass(frozen=True, slots=True)
class Wishes:
    """What tiers are asked to do beyond the request itself; the origin is never told."""

    refresh: bool
    current: bool
    floor: int = 0
    """The answer must be as of this at least, beyond what the request's key asks for."""


class _Unusable(Exception):
    """The tier cannot help with this request; somebody else may."""

    def __init__(self, error: OriginError) -> None:
        self.error = error


class NextHop:
    """Asks upstream on behalf of one worker."""

    def __init__(
        self, place: Place, client: UpstreamClient, ledger: Ledger, counters: Counters, clocks: Clocks
    ) -> None:
        self._place = place
        self._client = client
        self._ledger = ledger
        self._counters = counters
        self._clocks = clocks
        self._tier_rests_until = 0.0

    async def send(
        self,
        ask: Ask,
        request: RequestHead,
        body: Body,
        *,
        refresh: bool = False,
        current: bool = False,
        interim: Callable[[ResponseHead], None],
    ) -> Reply:
        """The answer to `request`, which is `ask.request` or a conditional form of it. Raises OriginError, Overloaded.

        `refresh` asks tiers for content that is newer than their own copy, `current` for nothing stale.
        """
        wishes = Wishes(refresh, current)
        if ask.owner is not None:
            reply = await self._to_owner(ask, request, wishes, interim)
            if reply is not None:
                return reply
            # Whether the tier's copy was asked for anew after a change is what only the owner knows.
            wishes = replace(wishes, refresh=refresh or ask.generation != 0)
        tier = ask.serving.next_tier
        if tier is not None and (not ask.route.straight or not self._place.knows_origin):
            try:
                return await self._to_tier(ask, tier, request, body, wishes, interim)
            except _Unusable as unusable:
                if not self._place.knows_origin or (
                    ask.serving.settings.tier.fallback == "error" and ask.trace.reason is not Reason.MISMATCH
                ):
                    raise unusable.error from None
        return await self._to_origin(ask, request, body, interim)

    async def _to_owner(
        self, ask: Ask, request: RequestHead, wishes: Wishes, interim: Callable[[ResponseHead], None]
    ) -> Reply | None:
        """The key's owner; None when it cannot be reached (it is being restarted, or all connections to it are taken):
        then this worker does its work."""
        assert ask.owner is not None
        target = self._place.owners[ask.owner]
        try:
            reply = await self._hop(ask, target, request, no_body(), wishes, interim)
        except (_Unusable, Overloaded):
            return None
        if not self._new_enough(ask, reply):
            reply.body.close()
            return None
        self._counters.add(Counter.HOP_WORKER)
        reply.by_owner = True
        return reply

    async def _to_tier(
        self,
        ask: Ask,
        tier: NextTier,
        request: RequestHead,
        body: Body,
        wishes: Wishes,
        interim: Callable[[ResponseHead], None],
    ) -> Reply:
        now = self._clocks.monotonic()
        if now < self._tier_rests_until and self._place.knows_origin:
            raise _Unusable(OriginUnreachable(f"The tier {tier.name} could not be reached a moment ago."))
        self._counters.add(Counter.HOP_TIER)
        ask.trace.tiers.append(tier.name)
        if ask.distribution.rules is Rules.RFC9111:
            via = cf.via_request(self._place.name, request.version, ask.distribution.rules)
            request = request.with_headers(request.headers.plus((b"Via", via)))
        try:
            key = ask.serving.settings.tier.key
            reply = await self._hop(ask, tier.target, request, body, wishes, interim, key)
            if not self._new_enough(ask, reply):
                # Only the answer tells its tags: they may have been invalidated, and the tier not have heard of it.
                reply.body.close()
                wishes = replace(wishes, refresh=True, floor=ask.floor.of(self._sources(ask, reply)))
                reply = await self._hop(ask, tier.target, request, body, wishes, interim, key)
                if not self._new_enough(ask, reply):
                    reply.body.close()
                    raise _Unusable(OriginError("The tier has nothing that is new enough."))
        except _Unusable as unusable:
            if isinstance(unusable.error, OriginUnreachable) or unusable.error.detail is Detail.ORIGIN_CONNECT:
                self._tier_rests_until = self._clocks.monotonic() + TIER_REST
                log.warning("tier %s cannot be reached: %s", tier.name, unusable.error)
            raise
        reply.by_tier = True
        return reply

    def _new_enough(self, ask: Ask, reply: Reply) -> bool:
        """Whether what a tier answers covers (rule 3). In a quarantine nobody can tell, and the tier's word counts."""
        floor = ask.floor
        return not floor.usable or self._ledger.covers(reply.as_of, floor, self._sources(ask, reply))

    @staticmethod
    def _sources(ask: Ask, reply: Reply) -> tuple[bytes, ...]:
        return tags(reply.head.headers, ask.distribution.tag_header)

    async def _hop(
        self,
        ask: Ask,
        target: Target,
        request: RequestHead,
        body: Body,
        wishes: Wishes,
        interim: Callable[[ResponseHead], None],
        tier_key: str | None = None,
    ) -> Reply:
        """Ask another tier or worker of ours. Raises _Unusable when somebody else may do better."""
        applied = self._ledger.asking(ask.carried)
        hop = HopRequest(
            distribution=ask.distribution.id,
            revision=ask.distribution.revision,
            applied=applied,
            # Numbers of an epoch that has ended meanwhile would mean something else there.
            floor=max(ask.floor.number, wishes.floor) if ask.floor.epoch == applied.epoch else 0,
            key=ask.key if ask.route.cached else None,
            client=ask.client,
            scheme=ask.request.scheme,
            request_id=ask.request_id,
            refresh=wishes.refresh,
            current=wishes.current or ask.current,
        )
        headers = end_to_end(without_internal(request.headers)).plus(*hop.fields(tier_key))
        if ask.upgrade:
            headers = headers.plus(*[(b"Upgrade", value) for value in request.headers.all(b"upgrade")])
        requested_at = self._clocks.wall()
        try:
            exchange = await self._client.exchange(
                target,
                request.with_headers(headers),
                body,
                self._tier_patience(ask),
                interim=interim,
                upgrade=ask.upgrade,
            )
        except OriginError as error:
            if _worth_another_hop(error, request):
                raise _Unusable(error) from None
            raise
        answer = read_answer(exchange.head.headers)
        if answer is None and exchange.tunnel is None:
            exchange.body.close()
            raise _Unusable(_no_tier(exchange.head.status))
        if answer is not None and exchange.head.status == MISMATCH_STATUS and answer.mismatch is not None:
            exchange.body.close()
            ask.trace.reason = Reason.MISMATCH
            raise _Unusable(OriginError(f"The tier works with another {answer.mismatch}."))
        if answer is not None and answer.error and exchange.head.status >= 500:
            exchange.body.close()
            raise OriginError("The tier could not get it either.", status=exchange.head.status)
        as_of = applied if answer is None else answer.as_of
        result = Result.MISS if answer is None else answer.result
        reply = self._reply(exchange, as_of, requested_at, result)
        reply.edition = 0 if answer is None else answer.edition
        return reply

    async def _to_origin(
        self, ask: Ask, request: RequestHead, body: Body, interim: Callable[[ResponseHead], None]
    ) -> Reply:
        self._counters.add(Counter.HOP_ORIGIN)
        origin = ask.origin
        ask.trace.tiers.append(origin.id)
        via = cf.via_request(self._place.name, request.version, ask.distribution.rules)
        outward = origin_request(
            request, ask.distribution, ask.behavior, origin, ask.client, request_id=ask.request_id.encode(), via=via
        )
        offset = self._clocks.offset()
        as_of = self._ledger.asking(ask.carried)
        requested_at = self._clocks.wall()
        exchange = await self._client.exchange(
            self._origin_target(ask, origin),
            outward,
            body,
            self._origin_patience(ask, origin),
            interim=interim,
            upgrade=ask.upgrade,
        )
        reply = self._reply(exchange, as_of, requested_at, Result.MISS)
        if offset:
            reply.head = shift_response(reply.head, offset)
        if ask.distribution.rules is Rules.CLOUDFRONT:
            reply.head = reply.head.with_headers(response_fields(reply.head.headers, ask.behavior, origin))
        return reply

    def _reply(self, exchange: Exchange, as_of: AsOf, requested_at: float, result: Result) -> Reply:
        headers = without_internal(end_to_end(exchange.head.headers))
        if exchange.tunnel is not None:  # the one hop-by-hop field that both ends need
            headers = headers.plus(*[(b"Upgrade", value) for value in exchange.head.headers.all(b"upgrade")])
        head = replace(exchange.head, headers=headers)
        return Reply(head, exchange.body, exchange.tunnel, as_of, requested_at, self._clocks.wall(), result)

    def _tier_patience(self, ask: Ask) -> Patience:
        """A tier is given the time its own origin may take, so that it is the tier that gives up first."""
        settings = ask.serving.settings.upstream
        origin = self._origin_patience(ask, ask.origin)
        return Patience(
            connect=settings.connect_timeout,
            first_byte=origin.connect * origin.attempts + origin.first_byte * origin.attempts + 1,
            idle=origin.idle + 1,
            keepalive=settings.keepalive_timeout,
        )

    def _origin_patience(self, ask: Ask, origin: Origin) -> Patience:
        settings = ask.serving.settings.upstream
        if ask.distribution.rules is Rules.RFC9111:
            return Patience(
                connect=settings.connect_timeout,
                first_byte=settings.first_byte_timeout,
                idle=settings.idle_timeout,
                keepalive=settings.keepalive_timeout,
            )
        return Patience(
            connect=origin.connect_timeout,
            first_byte=origin.read_timeout,
            idle=origin.read_timeout,
            attempts=origin.connection_attempts,
            keepalive=origin.keepalive_timeout,
            completion=origin.completion_timeout,
        )

    def _origin_target(self, ask: Ask, origin: Origin) -> Target:
        tls = origin_scheme(origin, ask.request.scheme) == "https"
        return Target(origin.host, origin.https_port if tls else origin.http_port, tls=tls)


def _no_tier(status: int) -> OriginError:
    """The error for an answer that does not speak as one of our tiers does.

    403 (another tier key) and 503 (full) say something about the tier, which is left alone for a while; any other
    status may be about this request alone, and one viewer's request must not cut all others off from the tier.
    """
    message = f"What answers as the tier is none: status {status}."
    return OriginUnreachable(message) if status in (403, 503) else OriginError(message)


def _worth_another_hop(error: OriginError, request: RequestHead) -> bool:
    """Nothing was sent, or asking again is safe and the tier gave no answer at all."""
    if isinstance(error, OriginUnreachable) or error.detail is Detail.ORIGIN_CONNECT:
        return True
    return request.method in ("GET", "HEAD") and not isinstance(error, OriginTimeout)
