"""The promise under faults, ten thousand histories long; and `/*` over a million stored objects."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import sys
import tempfile
import time
from pathlib import Path

from edgeproxy.cloudfront.hosts import Hosts
from edgeproxy.configuration import origin_only
from edgeproxy.edge.invalidation import Ledger
from edgeproxy.edge.node import Clocks, Place, Serving
from edgeproxy.edge.page import SharedPage
from edgeproxy.edge.worker import Worker
from edgeproxy.feed import Invalidated
from edgeproxy.headers import Headers
from edgeproxy.message import Client, Incoming, Peer, RequestHead, no_body
from edgeproxy.model import AsOf, Mode, Rules
from edgeproxy.outcome import StoredHead
from edgeproxy.rules.floors import Floors
from edgeproxy.settings import Settings
from edgeproxy.store.memory import Terms
from edgeproxy.telemetry.counters import Counter
from tests.simulation.mutants import MUTANTS
from tests.simulation.world import World

EXPIRES = Headers([(b"Cache-Control", b"max-age=86400"), (b"Content-Length", b"10")])
HITS = 20_000


def run(histories: int, first: int, objects: int, tell: int | None) -> int:
    """Everything; 1 when a promise was broken. `tell`: only the story of this seed."""
    logging.disable(logging.ERROR)
    if tell is not None:
        world = World(tell).run()
        _say(world.story())
        return int(bool(world.violations))
    broken = _histories(first, histories) + _mutants()
    return int(asyncio.run(_million(objects)) or bool(broken))


def _histories(first: int, count: int) -> int:
    began, broken, requests = time.process_time(), 0, 0
    for seed in range(first, first + count):
        world = World(seed).run()
        requests += len(world.views)
        if world.violations:
            broken += 1
            _say(world.story())
    spent = time.process_time() - began
    _say(
        f"histories: {count} from seed {first}, {requests} requests, {broken} broke a promise, "
        f"{1000 * spent / max(count, 1):.1f} ms of processor each"
    )
    return broken


def _mutants() -> int:
    missed = 0
    for mutant in MUTANTS:
        with mutant.at_large():
            found = [each for each in mutant.story().violations if each.startswith(mutant.kind)]
        missed += not found
        _say(f"mutant: {mutant.name}: {found[0] if found else 'NOT CAUGHT'}")
    return missed


async def _million(objects: int) -> bool:
    """Whether `/*` takes 100 ms or longer, or the sweep after it slows hits."""
    page = SharedPage(1)
    page.stand(0, quarantined=False)
    settings = Settings.model_validate({"log": {"path": "off"}, "cache": {"memory": "16 GiB"}})
    clocks = Clocks(time.time, time.monotonic, lambda: 0.0, os.urandom)
    distribution = origin_only("http://127.0.0.1:1", Rules.RFC9111)
    serving = Serving(Hosts([distribution]), settings, None, Rules.RFC9111)
    ledger = Ledger(page, Floors("e", settings.cache.invalidations_max))
    with tempfile.TemporaryDirectory() as directory:
        worker = Worker(Place("pop", Mode.POP, "local", "POP"), serving, page, Path(directory), clocks, None, ledger)
        for number in range(objects):
            _keep(worker, b"/%d" % number, 0)
        gc.collect()
        gc.freeze()
        _keep(worker, b"/hot", 2)
        before = await _hits(worker, HITS)
        record = Invalidated(1, "I1", "origin", ("/*",))
        began = time.perf_counter()
        ledger.take("e", 1, 0, [record])
        page.stand(1, quarantined=False)
        floor = ledger.floor(_key(b"/77"))
        assert not ledger.covers(AsOf("e", 0), floor, ())
        took = 1000 * (time.perf_counter() - began)
        sweeping = asyncio.create_task(worker._sweeper.sweep())
        during, swept_from = list[float](), time.perf_counter()
        while not sweeping.done() and len(during) < HITS:
            during += await _hits(worker, 20)
            await asyncio.sleep(0.0005)
        await sweeping
        swept = worker.counters[Counter.SWEPT]
        await worker.close()
    took_to_sweep = time.perf_counter() - swept_from
    p99 = [sorted(each)[int(0.99 * len(each))] * 1e6 for each in (before, during)]
    _say(
        f"/* over {objects} stored objects: no longer used after {took:.3f} ms; "
        f"{swept} swept away behind it in {took_to_sweep:.0f} s"
    )
    _say(f"p99 of a hit in the pipeline: {p99[0]:.0f} us before, {p99[1]:.0f} us during the sweep")
    return took >= 100 or swept < objects


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def _key(path: bytes) -> bytes:
    return b"origin GET //a.test " + path


def _keep(worker: Worker, path: bytes, number: int) -> None:
    writer = worker.store.memory.begin(_key(path), 10)
    assert writer is not None
    writer.append(b"0123456789")
    now = time.time()
    head = StoredHead(200, b"OK", EXPIRES, now, now, AsOf("e", number))
    writer.commit(head, Headers(), Terms(now + 1e6, 0))


async def _hits(worker: Worker, count: int) -> list[float]:
    """Seconds that each of so many hits took."""
    head = RequestHead("GET", b"/hot", b"a.test", Headers())
    taken = []
    for number in range(count):
        began = time.perf_counter()
        answer = await worker.pipeline.handle(Incoming(head, no_body(), Client("127.0.0.1", 1, Peer.VIEWER), began))
        taken.append(time.perf_counter() - began)
        assert answer.head.status == 200
        answer.body.close()
        if number % 20 == 0:
            await asyncio.sleep(0)
    return taken
