"""Asking POPs how they are: whether they are ready, how busy, and how far their viewers were. An aiohttp client.

One task a POP, each at its own pace, so that a slow one delays no other. What the control plane notices of a POP has it
asked at once, and asked again soon until it is clear whether it is well. What is asked for: `/readyz` of the admin
listener (200, or 503 and why; EdgeProxy-Connections says how many viewers are connected), and `/rtt`.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from ipaddress import ip_network

import aiohttp

from edgeproxy.dns.standing import Notice, Standing, Verdict
from edgeproxy.places.networks import Client
from edgeproxy.settings import Health as HealthSettings
from edgeproxy.telemetry.counters import Counter, Counters

CONNECTIONS_FIELD = "EdgeProxy-Connections"
BODY_MAX = 4 << 20
"""Bytes of a report that are read."""
RTT_MAX_MS = 60_000.0


@dataclass(frozen=True, slots=True)
class Sample:
    """Round-trip times of one client network."""

    client: Client
    count: int
    mean_ms: float


SOON = 0.2
STARTING_CHECKS = 25
"""A POP that was not ready yet when it was first asked is asked again so soon, so often: a CDN that starts as a whole
is to be found as a whole a moment later."""
AT_ONCE = 0.01
SUSPECT_CHECKS = 25
"""One that is suspected and neither ready nor out is asked again so soon, so often."""


class Health:
    """Checks POPs until closed. `changed` hears the names of all POPs that are down, `measured` each POP's samples."""

    def __init__(
        self,
        settings: HealthSettings,
        random: Callable[[], float],
        changed: Callable[[frozenset[str]], None],
        measured: Callable[[str, list[Sample]], None] | None,
        counters: Counters,
    ) -> None:
        self._settings = settings
        self._random = random
        self._changed = changed
        self._measured = measured
        self._counters = counters
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._session: aiohttp.ClientSession | None = None
        self._down: frozenset[str] = frozenset()
        self._hurry: dict[str, asyncio.Event] = {}
        """By POP's name: set when it is to be asked at once."""
        self.standings: dict[str, Standing] = {}
        """By POP's name, of those that are checked."""

    async def use(self, admins: Mapping[str, str], load_max: Mapping[str, int | None]) -> None:
        """Check these POPs (URL of the admin listener by name), and no others, from now on."""
        if self._session is None:
            timeout = aiohttp.ClientTimeout(total=self._settings.timeout)
            # A connection for each question: on a kept one it would always be the same worker of a node that answers.
            connector = aiohttp.TCPConnector(force_close=True)
            self._session = aiohttp.ClientSession(connector=connector, timeout=timeout, trust_env=False)
        await self._end()
        known, fall, rise = self.standings, self._settings.fall, self._settings.rise
        self.standings = {name: known.get(name) or Standing(fall, rise) for name in admins}
        for name, standing in self.standings.items():
            standing.load_max = load_max.get(name)
        self._hurry = {name: asyncio.Event() for name in admins}
        for name, url in admins.items():
            self._tasks[name] = asyncio.create_task(self._watch(name, url), name=f"health of {name}")
        self._tell()

    def noticed(self, name: str, notice: Notice) -> None:
        """What the control plane has noticed of a POP: it counts at once, and so does a check."""
        standing = self.standings.get(name)
        if standing is None:
            return  # nobody asks it, so that nobody could ever take it back
        self._counters.add(Counter.DNS_NOTICES)
        standing.noticed(notice)
        self._tell()
        self._hurry[name].set()

    async def close(self) -> None:
        """Check no more."""
        await self._end()
        if self._session is not None:
            await self._session.close()

    async def _end(self) -> None:
        tasks = list(self._tasks.values())
        self._tasks = {}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _watch(self, name: str, url: str) -> None:
        standing, hurry, starting, checks, suspected = self.standings[name], self._hurry[name], True, 0, 0
        while True:
            if hurry.is_set():
                hurry.clear()
                suspected = SUSPECT_CHECKS
            verdict, load = await self._ask(url)
            if verdict is Verdict.FAILED:
                self._counters.add(Counter.DNS_CHECKS_FAILED)
            standing.saw(verdict, load)
            self._tell()
            if self._measured is not None and verdict is not Verdict.FAILED:
                samples = await self._report(url)
                if samples:
                    self._measured(name, samples)
            starting = starting and verdict is not Verdict.READY
            suspected = suspected - 1 if suspected and verdict is Verdict.FAILED and standing.is_up else 0
            checks += 1
            pause = self._settings.interval * (1 - self._settings.jitter * self._random())
            soon = suspected or (starting and checks < STARTING_CHECKS)
            await self._pause(hurry, min(pause, SOON) if soon else pause)

    @staticmethod
    async def _pause(hurry: asyncio.Event, seconds: float) -> None:
        """So long, or until the POP is to be asked at once; a hundred times a second at most, whatever is noticed."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await asyncio.sleep(AT_ONCE)
                await hurry.wait()

    def _tell(self) -> None:
        down = frozenset(name for name, standing in self.standings.items() if not standing.is_up)
        if down != self._down:
            self._down = down
            self._changed(down)

    async def _ask(self, url: str) -> tuple[Verdict, int | None]:
        assert self._session is not None
        try:
            async with self._session.get(url + "/readyz") as response:
                load = response.headers.get(CONNECTIONS_FIELD, "")
                connections = int(load) if load.isascii() and load.isdigit() else None
                verdicts = {200: Verdict.READY, 503: Verdict.REFUSES}
                return verdicts.get(response.status, Verdict.FAILED), connections
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError):
            return Verdict.FAILED, None

    async def _report(self, url: str) -> list[Sample]:
        assert self._session is not None
        with contextlib.suppress(aiohttp.ClientError, OSError, TimeoutError, ValueError):
            async with self._session.get(url + "/rtt") as response:
                if response.status == 200:
                    return _samples(json.loads(await response.content.read(BODY_MAX)))
        return []


def _samples(report: object) -> list[Sample]:
    """What of a report makes sense: [[network, count, mean in milliseconds], ...] under `samples`."""
    found = report.get("samples") if isinstance(report, Mapping) else None
    samples = []
    for entry in found if isinstance(found, list) else ():
        with contextlib.suppress(ValueError, TypeError, OverflowError):
            network, count, mean = entry
            parsed, mean_ms = ip_network(network), float(mean)
            if int(count) > 0 and 0 < mean_ms <= RTT_MAX_MS:
                client = Client(int(parsed.network_address), parsed.max_prefixlen, parsed.prefixlen)
                samples.append(Sample(client, int(count), mean_ms))
    return samples
