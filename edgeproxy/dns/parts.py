"""A running resolver put together: the server, what checks the POPs for it, and what it learns from them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterable, Mapping
from functools import partial

from edgeproxy.dns.explain import Explanation, explain
from edgeproxy.dns.health import Health, Sample
from edgeproxy.dns.latency import Latency
from edgeproxy.dns.server import Server
from edgeproxy.dns.standing import Notice
from edgeproxy.dns.zone import Zone
from edgeproxy.places.networks import Client
from edgeproxy.settings import Settings
from edgeproxy.telemetry.counters import Counters


class ResolverParts:
    """Made with a server that answers already; `admins` are the URLs of POPs' admin listeners by name."""

    def __init__(
        self,
        server: Server,
        settings: Settings,
        admins: Mapping[str, str],
        counters: Counters,
        monotonic: Callable[[], float],
        random: Callable[[], float],
    ) -> None:
        self.server = server
        self.counters = counters
        self._settings = settings
        self._admins = admins
        self._monotonic = monotonic
        self._random = random
        resolver = settings.resolver
        self.latency = Latency(resolver.latency) if resolver.latency.enabled else None
        measured = self._measured if self.latency is not None else None
        self.health = Health(resolver.health, random, server.set_down, measured, counters)
        self._explorer: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to check and to learn."""
        if self.latency is not None:
            self.server.set_measured(self.latency)
            self._explorer = asyncio.create_task(self._explore(self.latency), name="dns explorer")
        await self.health.use(self._admins, _load_max(self._settings))

    async def use(self, settings: Settings, zone: Zone, admins: Mapping[str, str]) -> None:
        """Take over another zone and other POPs; what was learnt of those that stay is kept."""
        if self.latency is not None:
            gone = {node.name for node in self._settings.nodes} - {node.name for node in settings.nodes}
            self.latency.forget(gone, self._monotonic())
        self._settings, self._admins = settings, admins
        self.server.use(zone)
        await self.health.use(admins, _load_max(settings))

    def answer_from(self, zone: Zone) -> None:
        """Take over a zone with other distributions; POPs and settings are the same."""
        self.server.use(zone)

    def noticed(self, pop: str, what: str) -> None:
        """What the control plane has noticed of a POP, by the name of a `Notice`. Others are nothing to us."""
        with contextlib.suppress(KeyError):
            self.health.noticed(pop, Notice[what.upper()])

    async def close(self) -> None:
        """End everything, the server included."""
        if self._explorer is not None:
            self._explorer.cancel()
            await asyncio.gather(self._explorer, return_exceptions=True)
        await self.health.close()
        await self.server.close()

    def explain(self, ip: str, name: str) -> Explanation:
        """As explain.explain, with what is known just now. Raises ValueError."""
        now, latency = self._monotonic(), self.latency

        def samples(client: Client, pop: str) -> float:
            return 0.0 if latency is None else latency.samples(client, pop, now)

        def reason_down(pop: str) -> str:
            standing = self.health.standings.get(pop)
            return "" if standing is None else standing.reason

        server = self.server
        return explain(server.zone, server.conditions, ip, name, reason_down=reason_down, samples=samples)

    def _measured(self, pop: str, samples: list[Sample]) -> None:
        latency, now = self.latency, self._monotonic()
        assert latency is not None, "who else would ask for samples"
        families = latency.families
        changed = latency.age(now)
        for each in samples:
            changed += latency.feed(pop, each.client, each.count, each.mean_ms, now)
        if latency.families != families:
            self.server.set_measured(latency)  # answers to all are narrower now, or wider again
        self._changed(changed)

    def _changed(self, clients: Iterable[Client]) -> None:
        self.server.remeasured(clients)

    async def _explore(self, latency: Latency) -> None:
        while True:
            await asyncio.sleep(self._settings.resolver.latency.explore_time)
            self._changed(latency.explore(partial(self._runner_up, latency), self._random))

    def _runner_up(self, latency: Latency, client: Client) -> str | None:
        return self.server.zone.policy.runner_up(client, self.server.conditions.down, latency)


def _load_max(settings: Settings) -> dict[str, int | None]:
    return {node.name: node.load_max for node in settings.nodes}
