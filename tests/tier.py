"""Real nodes in the test's own event loop: real sockets, real workers, a clock that the test moves.

    async with tier() as t:                       # viewer → POP → regional → origin
        answer = await t.pop.get("/a")
        ask = await t.origin.asked_for("/a")

A node here is what `edgeproxy serve` runs, less the processes: with `workers=2` there are two workers with their own
stores that share one page and ask each other over Unix sockets.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import os
import ssl
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from edgeproxy.binding import close, listening, listening_unix
from edgeproxy.cloudfront.hosts import Hosts
from edgeproxy.configuration import load, origin_only
from edgeproxy.edge.node import Clocks, NextTier, Place, Serving
from edgeproxy.edge.page import SharedPage
from edgeproxy.edge.worker import Sockets, Worker
from edgeproxy.model import Distribution, Mode, Rules
from edgeproxy.places.clients import UNPLACED, Clients
from edgeproxy.settings import Settings
from edgeproxy.store.layer import Layer
from edgeproxy.telemetry.counters import Counter
from edgeproxy.upstream.client import Target
from tests.scripted import ScriptedOrigin, Viewer
from tests.wire import Fields, FieldsLike, until


@dataclass(frozen=True, slots=True)
class Got:
    """An answer as a viewer saw it."""

    status: int
    headers: Fields
    body: bytes
    cut: bool
    """The connection ended before the body did."""
    trailers: Fields
    interim: list[tuple[int, Fields]]

    def header(self, name: str) -> str | None:
        """A field's value, None when absent; several lines joined."""
        values = self.headers.all(name)
        return ", ".join(values) if values else None


@dataclass
class Node:
    """A running node."""

    name: str
    port: int
    page: SharedPage
    workers: list[Worker]
    directory: Path
    serving: Serving
    ports: list[int]
    """Where each worker listens: one port for all, unless they were set apart."""
    https_port: int = 0
    """For HTTPS, where there is a TLS context."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def count(self, counter: Counter) -> int:
        """A counter, summed over the workers."""
        return self.page.total(counter)

    async def reaches(self, counter: Counter, value: int) -> None:
        """Wait until a counter has reached a value."""
        await until(lambda: self.count(counter) >= value)

    async def viewer(self) -> Viewer:
        """A new connection."""
        return await Viewer.connect(self.port)

    async def ask(
        self,
        target: str,
        headers: FieldsLike = (),
        body: bytes = b"",
        *,
        method: str = "GET",
        host: str = "a.test",
        worker: int = 0,
    ) -> Got:
        """One request on a connection of its own, and its whole answer. `worker`: of those set apart."""
        async with await Viewer.connect(self.ports[worker]) as viewer:
            await viewer.ask(target, headers, body, method=method, host=host)
            return await receive(viewer)

    async def get(self, target: str, headers: FieldsLike = (), *, host: str = "a.test") -> Got:
        """GET."""
        return await self.ask(target, headers, host=host)

    async def head(self, target: str, headers: FieldsLike = (), *, host: str = "a.test") -> Got:
        """HEAD."""
        return await self.ask(target, headers, method="HEAD", host=host)

    def advance(self, seconds: float) -> None:
        """Move the node's wall clock."""
        self.page.advance_clock(seconds)

    def forget_everything(self) -> None:
        """Empty the stores, as eviction would."""
        for worker in self.workers:
            worker.store.memory.clear()

    async def close(self) -> None:
        """Stop at once."""
        for worker in self.workers:
            await worker.close()


async def receive(viewer: Viewer) -> Got:
    """The next final answer on a connection, and the interim ones before it."""
    interim = []
    status, headers = await viewer.read_head()
    while 100 <= status < 200 and status != 101:
        interim.append((status, headers))
        status, headers = await viewer.read_head()
    body, whole = await viewer.read_body()
    return Got(status, headers, body, not whole, viewer.trailers, interim)


@asynccontextmanager
async def node(
    *,
    mode: Mode = Mode.POP,
    origin: str | None = None,
    upstream: Node | None = None,
    workers: int = 1,
    rules: Rules = Rules.RFC9111,
    settings: dict[str, Any] | None = None,
    distributions: Sequence[Distribution] = (),
    name: str | None = None,
    code: str = "",
    region: str = "local",
    tls: ssl.SSLContext | None = None,
    shields: Mapping[str, Node] | None = None,
    clients: Clients = UNPLACED,
    wall: Callable[[], float] = time.time,
    apart: bool = False,
    page: SharedPage | None = None,
    directory: Path | None = None,
    layer: Layer | None = None,
) -> AsyncIterator[Node]:
    """A node in front of an origin (URL) and, as a POP, of a regional.

    `wall` is the real time that its test clock is ahead of. `apart`: each worker has a port of its own, so that a test
    chooses who is asked; otherwise the kernel does. There is no disk unless the settings say so. `page` and
    `directory`: what another node has left behind; `layer`: its disk's system calls.
    """
    given = dict(settings or {})
    given.setdefault("log", {"path": "DATA_DIR/access.log", "flush_interval": 0.01})
    given["cache"] = {"disk": 0, **given.get("cache", {})}
    parsed = Settings.model_validate(given)
    served = list(distributions)
    if not served:
        assert origin is not None
        served = [dataclasses.replace(origin_only(origin, rules), revision="0")]
    next_tier = None
    if upstream is not None:
        target = Target("127.0.0.1", upstream.port)
        next_tier = NextTier(upstream.name, target, upstream.workers[0].place.region)
    others = {
        place: NextTier(each.name, Target("127.0.0.1", each.port), place) for place, each in (shields or {}).items()
    }
    serving = Serving(Hosts(served), parsed, next_tier, rules, others, clients)
    page = SharedPage(workers) if page is None else page
    page.ready_workers = workers
    sockets = listening("127.0.0.1:0", workers)
    if apart:
        close(sockets)
        sockets = [listening("127.0.0.1:0")[0] for _ in range(workers)]
    secure = [] if tls is None else listening("127.0.0.1:0", workers)
    https_port = secure[0].getsockname()[1] if secure else 0
    ports = [each.getsockname()[1] for each in sockets]
    clocks = Clocks(lambda: wall() + page.clock_offset, time.monotonic, lambda: page.clock_offset, os.urandom)
    made: list[Worker] = []
    with tempfile.TemporaryDirectory() as temporary:
        meeting, directory = Path(temporary), directory or Path(temporary)
        doors = [listening_unix(meeting / str(number)) for number in range(workers)] if workers > 1 else []
        owners = tuple(Target("worker", 0, unix_path=str(meeting / str(n))) for n in range(len(doors)))
        for number in range(workers):
            place = Place(
                name or mode.value,
                mode,
                region,
                code or mode.value.upper(),
                number,
                owners,
                parsed.cache.disk_shards,
                test_clock=True,
            )
            worker = Worker(place, serving, page, directory, clocks, tls, layer=layer)
            await worker.start(Sockets([sockets[number]], secure[number : number + 1], doors[number : number + 1]))
            made.append(worker)
        running = Node(name or mode.value, ports[0], page, made, directory, serving, ports, https_port)
        try:
            yield running
        finally:
            with contextlib.suppress(asyncio.CancelledError):
                await running.close()


@dataclass
class Tier:
    """A POP, a regional, and the origin behind them."""

    pop: Node
    regional: Node
    origin: ScriptedOrigin

    def advance(self, seconds: float) -> None:
        """Move the clock of both nodes."""
        self.pop.advance(seconds)
        self.regional.advance(seconds)


@asynccontextmanager
async def tier(
    *,
    workers: int = 1,
    rules: Rules = Rules.RFC9111,
    settings: dict[str, Any] | None = None,
    distributions: Callable[[int], Sequence[Distribution]] | None = None,
    clients: Clients = UNPLACED,
) -> AsyncIterator[Tier]:
    """viewer → POP → regional → origin; `distributions` is given the origin's port."""
    async with ScriptedOrigin() as origin:
        served = () if distributions is None else distributions(origin.port)
        common: dict[str, Any] = {"workers": workers, "rules": rules, "settings": settings, "distributions": served}
        common["clients"] = clients
        async with (
            node(mode=Mode.REGIONAL, origin=origin.url, **common) as regional,
            node(mode=Mode.POP, origin=origin.url, upstream=regional, **common) as pop,
        ):
            yield Tier(pop, regional, origin)


def port_of(url: str) -> int:
    """The port in a URL."""
    port = urlsplit(url).port
    assert port is not None
    return port


def distribution_of(config: dict[str, Any], *, name: str = "demo", zone: str = "edge.localhost") -> Distribution:
    """The distribution that a DistributionConfig describes, read as a settings file's is."""
    files = {
        "/settings.toml": f'zone = "{zone}"\n[[distributions]]\nfile = "{name}.json"\n'.encode(),
        f"/{name}.json": json.dumps(config).encode(),
    }
    return load(Path("/settings.toml"), {}, lambda path: files[str(path)]).distributions[0]


def config_for(port: int, **more: Any) -> dict[str, Any]:
    """A small DistributionConfig in front of a loopback origin; `more` replaces parts of it."""
    behavior = {
        "TargetOriginId": "web",
        "ViewerProtocolPolicy": "allow-all",
        "CachePolicyId": "658327ea-f89d-4fab-a63d-7e88639e58f6",
        "AllowedMethods": {
            "Quantity": 7,
            "Items": ["GET", "HEAD", "OPTIONS", "PUT", "POST", "PATCH", "DELETE"],
            "CachedMethods": {"Quantity": 2, "Items": ["GET", "HEAD"]},
        },
    }
    origin = {
        "Id": "web",
        "DomainName": "127.0.0.1",
        "CustomOriginConfig": {"HTTPPort": port, "HTTPSPort": 443, "OriginProtocolPolicy": "http-only"},
    }
    behavior |= more.pop("behavior", {})
    return {
        "CallerReference": "test",
        "Comment": "",
        "Enabled": True,
        "Origins": {"Quantity": 1, "Items": [origin]},
        "DefaultCacheBehavior": behavior,
        **more,
    }
