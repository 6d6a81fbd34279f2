"""The shortcut: a plain miss, or a plain request past the cache, without a task.

    head ──▶ Plan ──▶ one write to the origin ──▶ one read with the whole answer ──▶ stored · one write to the viewer
                             └── anything else happens ──▶ an exchange and the pipeline, as for any other request

A request takes it when one like it was seen before (plans.py), its content is here, nothing under its key is stored or
being fetched, and a connection to the origin is idle. All rules are asked as on the long way, by the same functions;
what they say that is not plain, and what happens meanwhile, makes the trip go on there: its request is not sent again.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Protocol

from edgeproxy.edge.admission import Admission
from edgeproxy.edge.answers import Answers
from edgeproxy.edge.ask import Ask, Sending
from edgeproxy.edge.delivery import final_head
from edgeproxy.edge.failures import Failures
from edgeproxy.edge.fetch import Errand, Fetcher
from edgeproxy.edge.flight import Flights, Mark
from edgeproxy.edge.http1 import Limits
from edgeproxy.edge.nexthop import NextHop, Reply
from edgeproxy.edge.node import Clocks, Serving
from edgeproxy.edge.passing import Passing
from edgeproxy.edge.plans import Cut, Plan, cut, plan_of
from edgeproxy.edge.recorder import Recorder
from edgeproxy.message import Answer, BytesBody, Client, Delivery, Incoming, RequestHead, ResponseHead, no_body
from edgeproxy.outcome import Reason
from edgeproxy.rules.routing import choose_behavior
from edgeproxy.store.tiers import Tiers
from edgeproxy.telemetry.counters import Counter, Counters
from edgeproxy.upstream.client import Exchange

_logger = logging.getLogger(__name__)

CONTENT_MAX = 64 * 1024
"""Bytes of a request's content that are written in one piece with its head."""

_SEEN = 4096
"""A head is remembered when it comes a second time, as far as so many slots can tell."""

_NO_BODY = no_body()

GoOn = Callable[[Ask, Errand | None, Reply | None], Awaitable[Answer]]
Shape = tuple[str, bytes, bytes]
"""Scheme, method, fields."""


class Line(Protocol):
    """What a trip needs of the connection that it is for."""

    client: Client

    @property
    def scheme(self) -> str:
        """Of the connection."""
        ...

    @property
    def limits(self) -> Limits:
        """Of heads."""
        ...

    def content(self, length: int) -> bytes | None:
        """The bytes behind the head, where so many are here."""
        ...

    def room(self) -> int:
        """Bytes that may be written now without a wait."""
        ...

    def arrived(self, answer: bytes) -> bool:
        """Write a whole answer. Whether anybody is there."""
        ...

    def home(self) -> None:
        """The trip is over: the next request may come."""
        ...

    def take_over(self, trip: Trip) -> Incoming:
        """The trip goes on as an exchange, whose request is this."""
        ...

    def abort(self) -> None:
        """Drop the connection."""
        ...


class Shortcut:
    """The shortcut of one worker, and the plans for it."""

    def __init__(
        self,
        serving: Serving,
        admission: Admission,
        nexthop: NextHop,
        store: Tiers,
        flights: Flights[Reply],
        fetcher: Fetcher,
        passing: Passing,
        answers: Answers,
        failures: Failures,
        recorder: Recorder,
        counters: Counters,
        clocks: Clocks,
        go_on: GoOn,
    ) -> None:
        self._serving = serving
        self._admission = admission
        self.nexthop = nexthop
        self._store = store
        self.flights = flights
        self.fetcher = fetcher
        self.passing = passing
        self.answers = answers
        self._failures = failures
        self.recorder = recorder
        self.counters = counters
        self.clocks = clocks
        self.go_on = go_on
        self._plans: dict[Shape, dict[str, Plan]] = {}
        """By shape and the path pattern of the behaviour."""
        self._older: dict[Shape, dict[str, Plan]] = {}
        self._seen = [0] * _SEEN

    # -- plans ------------------------------------------------------------------------------------------------------

    def forget(self, serving: Serving) -> None:
        """Another configuration: no plan holds."""
        self._serving = serving
        self._plans.clear()
        self._older.clear()

    def learn(self, ask: Ask) -> None:
        """This request took the long way."""
        most = self._serving.settings.connections.shortcut_plans
        if not most or ask.serving is not self._serving or (parts := cut(ask.incoming.raw)) is None:
            return
        shape = (ask.incoming.head.scheme, parts.method, parts.block)
        known = self._find(shape)
        if known is not None and ask.behavior.pattern in known:
            return
        mark = hash((shape, ask.behavior.pattern))
        if self._seen[mark % _SEEN] != mark:
            self._seen[mark % _SEEN] = mark
            return
        plan = plan_of(ask, self.nexthop, self.clocks.wall())
        if plan is None:
            return
        if known is None:
            if len(self._plans) > most // 2:
                self.counters.add(Counter.SHORTCUT_FORGOTTEN, len(self._older))
                self._older, self._plans = self._plans, {}
            known = self._plans[shape] = {}
        known[ask.behavior.pattern] = plan

    def _find(self, shape: Shape) -> dict[str, Plan] | None:
        known = self._plans.get(shape)
        if known is None and (known := self._older.pop(shape, None)) is not None:
            self._plans[shape] = known
        return known

    def _plan(self, scheme: str, parts: Cut) -> Plan | None:
        known = self._find((scheme, parts.method, parts.block))
        if not known:
            return None
        distribution = next(iter(known.values())).distribution
        path = parts.target.partition(b"?")[0]
        if path == b"/" and distribution.default_root_object:
            return None
        return known.get(choose_behavior(distribution, path).pattern)

    # -- trips ------------------------------------------------------------------------------------------------------

    def begin(self, line: Line, head: bytes) -> Trip | None:
        """Send a request to its origin at once. None: it takes the long way, and nothing has been done."""
        parts = cut(head)
        plan = None if parts is None else self._plan(line.scheme, parts)
        if parts is None or plan is None or not _fits(parts, head, line.limits):
            return None
        content = line.content(parts.length) if parts.length else b""
        if content is None:
            return None
        like = plan.like.request
        request = RequestHead(like.method, parts.target, like.authority, plan.fields, like.scheme)
        received = request if plan.received is plan.fields else request.with_headers(plan.received)
        incoming = Incoming(received, _NO_BODY, line.client, self.clocks.monotonic(), len(head), raw=head)
        ask = self._admission.again(plan.like, incoming, request, plan.variant, self.clocks.request_id())
        if ask.route.cached and not self._misses(ask):
            return None
        outward = plan.written(self.nexthop.target(ask), ask.request_id, ask.client.address, len(content))
        trip = Trip(self, line, ask, content)
        if not self.nexthop.begin(ask, plan.way, outward, content, trip):
            return None
        self.counters.add(Counter.REQUESTS)
        self.counters.add(Counter.SHORTCUTS)
        if ask.route.cached:
            ask.trace.reason = Reason.URI_MISS
            self.flights.begin_short(ask.key, trip.slow)
        else:
            self.passing.begun(ask, ask.route.reason or Reason.METHOD)
        return trip

    def _misses(self, ask: Ask) -> bool:
        """Whether nothing stands between this request and a fetch of its own."""
        key = ask.key
        return (
            ask.floor.usable
            and ask.owner is None
            and not self._store.find(key, self.clocks.wall())
            and not self._store.may_load(key)
            and self._failures.find(key, ask.generation) is None
            and not self.flights.in_progress(key)
            and self.flights.unshared(key) is None
            and self.flights.has_room
        )


class Trip:
    """One request on the shortcut (upstream.call.Hurried)."""

    __slots__ = ("_errand", "_line", "_reply", "_shortcut", "ask", "content")

    def __init__(self, shortcut: Shortcut, line: Line, ask: Ask, content: bytes) -> None:
        self._shortcut = shortcut
        self._line: Line | None = line
        self.ask = ask
        self.content = content
        self._reply: Reply | None = None
        self._errand: Errand | None = None

    def came(self, head: ResponseHead, body: bytes) -> None:
        """As Hurried."""
        line = self._line
        assert line is not None, "whoever takes the trip over waits for the answer by other means"
        try:
            self._came(line, head, body)
        except Exception:  # a fault of ours ends this request and no other
            self._shortcut.counters.add(Counter.REQUESTS_FAILED)
            _logger.exception("a request failed unexpectedly on the shortcut")
            line.abort()

    def _came(self, line: Line, head: ResponseHead, body: bytes) -> None:
        ask, shortcut = self.ask, self._shortcut
        sending, ask.underway = ask.underway, None
        if sending is None or sending.begun is None:
            raise AssertionError("an answer to a request that was not sent")
        exchange = Exchange(head, BytesBody([body]), None, True, 0.0, sending.begun.call.first_byte_seconds)
        nexthop = shortcut.nexthop
        reply = nexthop.compressed(ask, ask.request, nexthop.brought(ask, ask.origin, exchange, sending))
        whole = reply.body is exchange.body and len(body) <= line.room()
        made = self._made(reply, body) if whole and head.status not in ask.distribution.error_pages else None
        if made is None:
            self._reply = reply
            self._go_on(line, sending)
            return
        self._line = None
        request = ask.request
        data = final_head(made, len(body), method=request.method, version=request.version, close=False)[0] + body
        complete = line.arrived(data)
        now = shortcut.clocks.monotonic()
        size = ask.incoming.head_bytes + len(self.content)
        delivery = Delivery(len(data) if complete else 0, size, now, now, complete, not complete)
        shortcut.recorder.finish(shortcut.recorder.record(ask, made, delivery))
        line.home()

    def _made(self, reply: Reply, body: bytes) -> ResponseHead | None:
        """The head of the answer; None when the long way is for it."""
        ask, shortcut = self.ask, self._shortcut
        if not ask.route.cached:
            answer = shortcut.passing.came_at_once(ask, reply)
            return None if answer is None else answer.head
        kept = shortcut.fetcher.keep_at_once(Errand(ask, (), None, False), reply, body)
        if kept is None:
            return None
        shortcut.flights.end_short(ask.key)
        return shortcut.answers.kept(ask, *kept)

    def slow(self) -> None:
        """As Hurried: an exchange takes over, and waits for the answer. Also for whoever else has to do with it."""
        line, sending = self._line, self.ask.underway
        if line is not None and sending is not None:
            self._go_on(line, sending)

    def _go_on(self, line: Line, sending: Sending) -> None:
        self._line = None
        ask, shortcut = self.ask, self._shortcut
        shortcut.counters.add(Counter.SHORTCUT_LEFT)
        ask.incoming = incoming = line.take_over(self)
        interim = incoming.interim
        if ask.route.cached:
            errand = self._errand = Errand(ask, (), None, False)
            reply = self._reply
            start = partial(shortcut.fetcher.fetch, errand)
            if reply is not None:
                start = partial(shortcut.fetcher.keep, errand, reply)
            mark = Mark(ask.distribution.revision, ask.generation, ask.refresh, sending.as_of)
            errand.flight = shortcut.flights.start(errand.key, mark, start, counted=True)
            shortcut.flights.enter(errand.flight, interim)
            interim = errand.flight.announce
        if self._reply is None and sending.begun is not None:
            sending.begun.slow_down(interim)

    async def go_on(self, incoming: Incoming) -> Answer:
        """What the exchange that has taken over asks for."""
        return await self._shortcut.go_on(self.ask, self._errand, self._reply)

    def leave(self) -> None:
        """The viewer has left, and no task has begun to care for the request."""
        ask, shortcut, flight = self.ask, self._shortcut, None
        if self._errand is not None:
            flight = self._errand.flight
        if flight is not None:
            shortcut.flights.leave(flight, ask.incoming.interim)
        elif ask.route.cached:
            shortcut.flights.end_short(ask.key)
        self._line = None
        sending = ask.underway
        if sending is not None and sending.begun is not None and (flight is None or not flight.waiters):
            ask.underway = None
            sending.begun.cancel()
        shortcut.recorder.left(ask)


def _fits(parts: Cut, head: bytes, limits: Limits) -> bool:
    """Within the bounds; and what is longer than one write is sent as it comes."""
    line = len(parts.method) + len(parts.target) + len(b"  HTTP/1.1")
    return parts.length <= CONTENT_MAX and line <= limits.request_line_max and len(head) <= limits.head_max
