"""Past the cache: a request goes on as it came, and the answer comes back as it comes. Nobody joins it.

Hardly anything of it is stored: only what answers a POST and says that it stands for the target itself.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from edgeproxy.edge.admission import resource
from edgeproxy.edge.answers import Answers
from edgeproxy.edge.ask import Ask
from edgeproxy.edge.fetch import Errand, Fetcher
from edgeproxy.edge.flight import Filled, Flights
from edgeproxy.edge.nexthop import NextHop, Reply
from edgeproxy.edge.node import Place
from edgeproxy.edge.page import SharedPage, owner_of
from edgeproxy.message import Answer
from edgeproxy.outcome import Reason
from edgeproxy.rules import storing
from edgeproxy.rules.invalidating import invalidated_targets
from edgeproxy.telemetry.counters import Counter, Counters


class Passing:
    """Passes requests on, for one worker."""

    def __init__(
        self,
        place: Place,
        nexthop: NextHop,
        fetcher: Fetcher,
        flights: Flights[Reply],
        answers: Answers,
        page: SharedPage,
        counters: Counters,
    ) -> None:
        self._place = place
        self._nexthop = nexthop
        self._fetcher = fetcher
        self._flights = flights
        self._answers = answers
        self._page = page
        self._counters = counters

    async def relay(self, ask: Ask, reason: Reason) -> Answer:
        """The answer to this request alone. Raises OriginError, Overloaded."""
        self.begun(ask, reason)
        return await self.send(ask)

    def begun(self, ask: Ask, reason: Reason) -> None:
        """Note that it goes past the cache, and why."""
        if ask.trace.reason is None or not ask.route.cached:
            ask.trace.reason = reason
        self._counters.add(Counter.BYPASSED)

    async def send(self, ask: Ask) -> Answer:
        """Ask upstream, or wait for what it was asked already."""
        refresh = ask.route.cached and self._fetcher.must_refresh(ask, ask.key)
        reply = await self._nexthop.send(
            ask, ask.request, ask.incoming.body, refresh=refresh, interim=ask.incoming.interim
        )
        return await self.came(ask, reply)

    async def came(self, ask: Ask, reply: Reply) -> Answer:
        """What upstream has said, on its way back."""
        self._spoil(ask, reply)
        if self._may_keep(ask, reply):
            return await self._kept(ask, reply)
        return self._answers.relayed(ask, reply)

    def came_at_once(self, ask: Ask, reply: Reply) -> Answer | None:
        """The same for what came as a whole. None: `came` has to see to it, and nothing has been done."""
        if self._may_keep(ask, reply):
            return None
        self._spoil(ask, reply)
        return self._answers.relayed(ask, reply)

    def _spoil(self, ask: Ask, reply: Reply) -> None:
        for target in invalidated_targets(ask.request, reply.head):
            if target == ask.request.target:
                self._page.next_generation(ask.resource)
            else:
                self._page.next_generation(resource(replace(ask.request, target=target), ask.distribution))

    def _may_keep(self, ask: Ask, reply: Reply) -> bool:
        """Whether the answer to a POST may be used for a GET, and this worker is the one that keeps it."""
        if ask.request.method != "POST" or b"content-location" not in reply.head.headers:
            return False  # it does not say what it stands for (RFC 9110 section 9.3.3)
        workers = len(self._place.owners)
        if workers > 1 and owner_of(ask.key, self._place.shards, workers) != self._place.worker:
            return False
        refusal = storing.refusal(ask.request, reply.head, ask.behavior.caching, reply.received_at)
        return refusal is None and self._flights.may_start()

    async def _kept(self, ask: Ask, reply: Reply) -> Answer:
        """Store what a POST brought, as of the state that it made."""
        ask.generation = self._page.generation(ask.resource)
        errand = Errand(ask, (), None, hides_failures=False)
        start = partial(self._fetcher.keep, errand, reply)
        flight = self._flights.start(errand.key, self._fetcher.mark(ask), start)
        landing = await self._flights.lead(flight, ask.incoming.interim)
        if isinstance(landing, Filled):
            return self._answers.filled(ask, landing.fill, landing.came)
        return self._answers.relayed(ask, reply)
