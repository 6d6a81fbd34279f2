"""Where a request goes from here, and what comes back.

    the key's owner      when this worker is not it
    the next tier        for what tiers share (GET, HEAD), when this node has one and it is not known to be down
    the shield           for everything to an origin that has one elsewhere
    the origin           for everything else, and when the tier cannot help; the second of a group after the first

Only the origin's edge shifts dates for the test clock: tiers of one CDN move together.
"""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable
from dataclasses import dataclass, replace

from edgeproxy.cloudfront import fields as cf
from edgeproxy.cloudfront.compression import coding_for, compressed_head, vouching
from edgeproxy.cloudfront.failover import second_origin, stands_for
from edgeproxy.cloudfront.origin_request import certificate_name, origin_request, origin_target, response_fields
from edgeproxy.edge.ask import Ask, Sending
from edgeproxy.edge.compressing import Compressing
from edgeproxy.edge.dates import shift_response
from edgeproxy.edge.hop import MISMATCH_STATUS, HopRequest, read_answer
from edgeproxy.edge.invalidation import Ledger
from edgeproxy.edge.node import Clocks, NextTier, Place, Serving
from edgeproxy.errors import Detail, OriginError, OriginInvalid, OriginTimeout, OriginUnreachable, Overloaded
from edgeproxy.headers import end_to_end, without_internal
from edgeproxy.message import Body, Client, RequestHead, ResponseHead, Tunnel, no_body
from edgeproxy.model import AsOf, Mode, Origin, Rules
from edgeproxy.outcome import Layer, Reason, Result
from edgeproxy.rules.floors import tags
from edgeproxy.rules.routing import Stop, layer_of, next_stop
from edgeproxy.telemetry.counters import Counter, Counters
from edgeproxy.upstream.client import Client as UpstreamClient
from edgeproxy.upstream.client import Exchange, Hurried, Patience, Target
from edgeproxy.values import value

log = logging.getLogger(__name__)

_FAMILIES = {"ipv4": socket.AF_INET, "ipv6": socket.AF_INET6}

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


@value(frozen=True, slots=True)
class Wishes:
    """What tiers are asked to do beyond the request itself; the origin is never told."""

    refresh: bool
    current: bool
    floor: int = 0
    """The answer must be as of this at least, beyond what the request's key asks for."""


_NONE = Wishes(refresh=False, current=False)


class _Unusable(Exception):
    """The tier cannot help with this request; somebody else may."""

    def __init__(self, error: OriginError) -> None:
        self.error = error


class NextHop:
    """Asks upstream on behalf of one worker."""

    def __init__(
        self,
        place: Place,
        client: UpstreamClient,
        ledger: Ledger,
        counters: Counters,
        clocks: Clocks,
        compressing: Compressing,
    ) -> None:
        self._place = place
        self._client = client
        self._ledger = ledger
        self._counters = counters
        self._clocks = clocks
        self._rests_until: dict[str, float] = {}
        """Tiers that could not be reached, and until when they are left alone."""
        self._compressing = compressing
        self._ways: dict[tuple[str, str], tuple[Target, Patience]] = {}
        """To plain origins, by distribution and origin; no more than the configuration has of them."""
        self._ways_of: Serving | None = None

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
        wishes = _NONE if not (refresh or current) else Wishes(refresh, current)
        if ask.owner is not None:
            reply = await self._to_owner(ask, request, wishes, interim)
            if reply is not None:
                return reply
            # Whether the tier's copy was asked for anew after a change is what only the owner knows.
            wishes = replace(wishes, refresh=refresh or ask.generation != 0)
        tier = self.next_tier(ask)
        if tier is not None:
            try:
                return await self._to_tier(ask, tier, request, body, wishes, interim)
            except _Unusable as unusable:
                if not self._place.knows_origin or (
                    ask.serving.settings.tier.fallback == "error" and ask.trace.reason is not Reason.MISMATCH
                ):
                    raise unusable.error from None
        return await self._to_origin(ask, request, body, interim)

    def next_tier(self, ask: Ask) -> NextTier | None:
        """The tier that is asked, None for the origin."""
        serving, place = ask.serving, self._place
        if not place.knows_origin:
            return serving.next_tier
        has_tier = serving.next_tier is not None
        stop = next_stop(ask.route, ask.origin, place.mode, place.region, serving.shields, has_tier)
        if stop is Stop.SHIELD:
            return serving.shields[ask.origin.shield or ""]
        return serving.next_tier if stop is Stop.TIER else None

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
        if now < self._rests_until.get(tier.name, 0.0) and self._place.knows_origin:
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
                self._rests_until[tier.name] = self._clocks.monotonic() + TIER_REST
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
            kind = OriginInvalid if answer.invalid else OriginError
            raise kind("The tier could not get it either.", status=exchange.head.status)
        as_of = applied if answer is None else answer.as_of
        result = Result.MISS if answer is None else answer.result
        reply = self._reply(exchange, as_of, requested_at, result)
        reply.edition = 0 if answer is None else answer.edition
        if answer is not None:
            ask.trace.layer, ask.trace.upstream = answer.layer, answer.upstream
            if answer.layer is Layer.SHIELD and answer.result in (Result.HIT, Result.REFRESH_HIT):
                ask.trace.detail = Detail.ORIGIN_SHIELD_HIT.value
        return reply

    async def _to_origin(
        self, ask: Ask, request: RequestHead, body: Body, interim: Callable[[ResponseHead], None]
    ) -> Reply:
        """The origin's answer, or that of the second of its group; compressed where the behaviour wants it."""
        second = second_origin(request, ask.behavior)
        try:
            reply = await self._ask_origin(ask, ask.origin, request, body, interim)
        except OriginError as error:
            if second is None or stands_for(error) not in second.codes:
                raise
            log.info("origin %s failed, %s is asked: %s", ask.origin.id, second.origin, error)
        else:
            if second is None or reply.head.status not in second.codes:
                return self.compressed(ask, request, reply)
            reply.body.close()
        self._counters.add(Counter.FAILOVERS)
        reply = await self._ask_origin(ask, ask.distribution.origins[second.origin], request, body, interim)
        return self.compressed(ask, request, reply)

    def compressed(self, ask: Ask, request: RequestHead, reply: Reply) -> Reply:
        """The form of the answer that is stored and sent on (fact sheet 4.5)."""
        reply.head = vouching(request, reply.head)
        coding = coding_for(request, reply.head, ask.behavior, reply.received_at)
        if coding is not None and (body := self._compressing.body(reply.body, coding)) is not None:
            reply.head, reply.body = compressed_head(reply.head, coding), body
        return reply

    async def _ask_origin(
        self, ask: Ask, origin: Origin, request: RequestHead, body: Body, interim: Callable[[ResponseHead], None]
    ) -> Reply:
        if (sending := ask.underway) is not None and sending.begun is not None:
            ask.underway = None
            return self.brought(ask, origin, await self._client.exchange_begun(sending.begun, interim), sending)
        self._asked(ask, origin)
        outward = self.outward(ask, origin, request, ask.client, ask.request_id)
        sending = self._sending(ask)
        target, patience = self.way(ask, origin, outward)
        exchange = await self._client.exchange(target, outward, body, patience, interim=interim, upgrade=ask.upgrade)
        return self.brought(ask, origin, exchange, sending)

    def outward(self, ask: Ask, origin: Origin, request: RequestHead, client: Client, request_id: str) -> RequestHead:
        """The request as an origin gets it."""
        via = cf.via_request(self._place.name, request.version, ask.distribution.rules)
        return origin_request(
            request, ask.distribution, ask.behavior, origin, client, request_id=request_id.encode(), via=via
        )

    def target(self, ask: Ask) -> bytes:
        """What its origin is asked for."""
        return origin_target(ask.request, ask.distribution, ask.behavior, ask.origin)

    def begin(self, ask: Ask, way: tuple[Target, Patience], head: bytes, content: bytes, hurried: Hurried) -> bool:
        """Send a whole request to its origin at once, if a connection to it is idle; `hurried` is told what comes."""
        sending = self._sending(ask)
        sending.begun = self._client.begin(way[0], ask.request, head, content, way[1], hurried)
        if sending.begun is None:
            return False
        self._asked(ask, ask.origin)
        ask.underway = sending
        return True

    def _asked(self, ask: Ask, origin: Origin) -> None:
        self._counters.add(Counter.HOP_ORIGIN)
        ask.trace.tiers.append(origin.id)

    def _sending(self, ask: Ask) -> Sending:
        return Sending(self._ledger.asking(ask.carried), self._clocks.wall(), self._clocks.offset())

    def brought(self, ask: Ask, origin: Origin, exchange: Exchange, sending: Sending) -> Reply:
        """What an origin has answered, as the rules of the distribution have it."""
        offset = sending.offset
        reply = self._reply(exchange, sending.as_of, sending.requested_at, Result.MISS)
        ask.trace.layer = layer_of(ask.origin, self._place.mode, self._place.region)
        ask.trace.upstream = (exchange.connect_seconds, exchange.first_byte_seconds)
        if offset:
            reply.head = shift_response(reply.head, offset)
        if ask.distribution.rules is Rules.CLOUDFRONT:
            reply.head = reply.head.with_headers(response_fields(reply.head.headers, ask.behavior, origin))
        return reply

    def way(self, ask: Ask, origin: Origin, outward: RequestHead) -> tuple[Target, Patience]:
        """Where an origin is and how long it may take. Over plain HTTP the same while a configuration stands; over
        TLS the name that the certificate must have can be the viewer's Host."""
        if outward.scheme == "https":
            return self._origin_target(ask, origin, outward), self._origin_patience(ask, origin)
        if self._ways_of is not ask.serving:
            self._ways_of = ask.serving
            self._ways.clear()
        key = (ask.distribution.id, origin.id)
        way = self._ways.get(key)
        if way is None:
            way = self._ways[key] = self._origin_target(ask, origin, outward), self._origin_patience(ask, origin)
        return way

    def _reply(self, exchange: Exchange, as_of: AsOf, requested_at: float, result: Result) -> Reply:
        headers = without_internal(end_to_end(exchange.head.headers))
        if exchange.tunnel is not None:  # the one hop-by-hop field that both ends need
            headers = headers.plus(*[(b"Upgrade", value) for value in exchange.head.headers.all(b"upgrade")])
        return Reply(
            exchange.head.with_headers(headers),
            exchange.body,
            exchange.tunnel,
            as_of,
            requested_at,
            self._clocks.wall(),
            result,
        )

    def _tier_patience(self, ask: Ask) -> Patience:
        """A tier is given the time its own origins may take, so that it is the tier that gives up first; and that the
        shield is given, which it may ask itself."""
        settings = ask.serving.settings.upstream
        origins = [self._origin_patience(ask, ask.origin)]
        if ask.behavior.failover is not None:
            origins.append(self._origin_patience(ask, ask.distribution.origins[ask.behavior.failover.origin]))
        tiers = 2 if ask.origin.shield is not None and self._place.mode is Mode.POP else 1
        return Patience(
            connect=settings.connect_timeout,
            first_byte=sum((each.connect + each.first_byte) * each.attempts for each in origins) + tiers,
            idle=max(each.idle for each in origins) + 1,
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

    def _origin_target(self, ask: Ask, origin: Origin, outward: RequestHead) -> Target:
        tls = outward.scheme == "https"
        return Target(
            origin.host,
            origin.https_port if tls else origin.http_port,
            tls=tls,
            server_name=certificate_name(ask.request, ask.distribution, ask.behavior, origin) if tls else "",
            family=_FAMILIES.get(origin.addresses, 0),
        )


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
