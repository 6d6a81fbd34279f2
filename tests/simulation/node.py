"""A node of a history: real workers, page and journal; its machine can lose memory, keep its disk, and die."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from random import Random
from typing import Any

from edgeproxy.cloudfront.hosts import Hosts
from edgeproxy.configuration import origin_only
from edgeproxy.edge.compressing import Compressing
from edgeproxy.edge.invalidation import Ledger
from edgeproxy.edge.journal import Journal, News, Position
from edgeproxy.edge.nexthop import NextHop
from edgeproxy.edge.node import Clocks, NextTier, Place, Serving
from edgeproxy.edge.page import SharedPage
from edgeproxy.edge.pipeline import Pipeline
from edgeproxy.edge.recorder import Recorder
from edgeproxy.edge.sweeping import checked
from edgeproxy.errors import BodyAborted, OriginError, OriginUnreachable
from edgeproxy.feed import Deployed
from edgeproxy.following.follower import Follower, Whom
from edgeproxy.following.kept import Update
from edgeproxy.headers import Headers
from edgeproxy.message import Answer, Body, Incoming, Peer, RequestHead, ResponseHead
from edgeproxy.message import Client as Sender
from edgeproxy.model import Caching, Choice, Distribution, Forwarding, KeyParts, Mode, Rules, Selector
from edgeproxy.rules.floors import Floors
from edgeproxy.settings import Settings
from edgeproxy.store.memory import MemoryStore
from edgeproxy.store.tiers import Tiers
from edgeproxy.telemetry.counters import Counters
from edgeproxy.telemetry.log import AccessLog
from edgeproxy.upstream.client import Target
from tests.simulation.control import Control
from tests.simulation.feed import Disk, Session
from tests.simulation.network import Client, Network

SETTINGS = Settings.model_validate({"log": {"path": "off"}, "tier": {"cache_status": False}})
LOG = AccessLog(SETTINGS.log, Path("/nonexistent"), Counters())
COMPRESSING = Compressing(SETTINGS.compression, Counters())
"""Never used: no viewer here accepts a coding."""
NAMES_MAX = 64
APPLY_SECONDS = 5.0
STAGES = ("drain", "goodbye")
"""In which order a node ends; that the real one keeps to it is shown by test_supervisor.py and test_feeding.py."""
NOWHERE = Selector(Choice.NONE)


def keys_no_query(rules: Rules, revision: int) -> bool:
    """What odd revisions do, where a policy decides what reaches the origin: a plain proxy forwards everything."""
    return rules is Rules.CLOUDFRONT and revision % 2 == 1


@lru_cache
def distribution(rules: Rules, revision: int) -> Distribution:
    """The distribution at a revision."""
    made = origin_only("http://origin.test", Rules.RFC9111)
    behavior = replace(made.behaviors[0], caching=Caching(rules=rules))
    if keys_no_query(rules, revision):
        behavior = replace(behavior, key=KeyParts(query=NOWHERE, headers=(b"host",)), forward=Forwarding(query=NOWHERE))
    return replace(made, rules=rules, revision=str(revision), behaviors=(behavior,), tag_header=b"cache-tag")


@dataclass
class Surroundings:
    """What all machines of a history share."""

    network: Network
    control: Control
    random: Random
    loop: asyncio.AbstractEventLoop
    note: Callable[..., None]
    rules: Rules
    violations: list[str] = field(default_factory=list)

    def random_bytes(self, count: int) -> bytes:
        """Randomness that the seed repeats."""
        return self.random.randbytes(count)


class Worker:
    """One process of a node."""

    def __init__(self, machine: Machine, number: int) -> None:
        self.machine, self.number, self.name = machine, number, machine.name
        around = machine.around
        self.ledger = Ledger(machine.page, Floors("", NAMES_MAX), lambda: around.loop.time())
        self.position: Position = ("", 0)
        counters = machine.page.rows[number]
        self.store = machine.stores[number]
        clocks = Clocks(machine.wall, around.loop.time, lambda: 0.0, around.random_bytes)
        place = Place(machine.name, machine.mode, "local", "SIM", number, machine.owners)
        client: Any = Client(machine.name, around.network)  # Any: all that NextHop uses of it
        nexthop = NextHop(place, client, self.ledger, counters, clocks, COMPRESSING)
        recorder = Recorder(place, LOG, counters, clocks)
        self.pipeline = Pipeline(
            place,
            machine.serving(),
            Tiers(self.store, None, lambda key: True, 0, self.store.object_max, machine.wall),
            nexthop,
            machine.page,
            self.ledger,
            recorder,
            counters,
            clocks,
        )
        self.alive = True
        self.busy_until = 0.0
        self.running: dict[asyncio.Task[Any], None] = {}  # Any: whatever they give

    async def handle(self, head: RequestHead, body: Body, sender: Sender) -> Answer:
        """A request whose head arrives now. Raises OriginError when the process dies over it."""
        incoming = Incoming(head, body, sender, self.machine.around.loop.time())
        task: asyncio.Task[Answer] = self.spawn(self.pipeline.handle(incoming))
        try:
            await asyncio.wait([task])
        finally:
            task.cancel()
        if task.cancelled() or not self.alive:
            raise OriginError(f"{self.name} is gone")
        return task.result()

    async def serve(self, head: RequestHead, body: Body) -> tuple[ResponseHead, Body]:
        """As a server of the network."""
        if not self.alive:
            raise OriginUnreachable(f"{self.name} is down")
        peer = Peer.WORKER if head.headers.get(b"edgeproxy-key") and self.machine.mode is Mode.POP else Peer.VIEWER
        return await self.answer(head, body, peer)

    async def answer(self, head: RequestHead, body: Body, peer: Peer) -> tuple[ResponseHead, Body]:
        """To somebody on this node's network."""
        answer = await self.handle(head, body, Sender("127.0.0.1", 1, peer))
        return answer.head, _Mortal(self, answer.body)

    def read(self) -> Position:
        """What is new on the disk. Returns up to where everything is known."""
        new = self.machine.disk.since(*self.position)
        self.ledger.take(new.epoch, new.number, new.low_water, new.records)
        self.position = new.epoch, new.number
        self.pipeline.serving = self.machine.serving()
        return self.position

    def sweep(self) -> None:
        """One round of the background sweep, at once."""
        check = checked(self.ledger)
        if check is not None:
            for key in list(self.store.keys()):
                self.store.sweep(key, check)

    def spawn(self, what: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:  # Any: whatever they give
        """A task that dies with the process."""
        task = self.machine.around.loop.create_task(what)
        self.running[task] = None
        task.add_done_callback(lambda task: self.running.pop(task, None))
        return task

    async def die(self) -> None:
        """kill -9."""
        self.alive = False
        for task in list(self.running):
            task.cancel()
        await self.pipeline.close()


class _Mortal:
    """A body that ends when the process does that sends it."""

    def __init__(self, worker: Worker, body: Body) -> None:
        self._worker = worker
        self._body = body

    @property
    def length(self) -> int | None:
        return self._body.length

    @property
    def trailers(self) -> Headers:
        return self._body.trailers

    async def read(self) -> bytes:
        block = await self._body.read()
        if not self._worker.alive:
            raise BodyAborted("the process is gone")
        return block

    def close(self) -> None:
        self._body.close()


class Door:
    """A node's port: the kernel chooses the worker."""

    def __init__(self, machine: Machine) -> None:
        self.machine, self.name = machine, machine.name

    async def serve(self, head: RequestHead, body: Body) -> tuple[ResponseHead, Body]:
        """By one of the workers that run."""
        living = [worker for worker in self.machine.workers if worker.alive]
        if not living:
            raise OriginUnreachable(f"{self.name} is down")
        return await self.machine.around.random.choice(living).answer(head, body, Peer.VIEWER)


class Machine:
    """One node, through all its lives."""

    def __init__(self, around: Surroundings, name: str, mode: Mode, workers: int, tier: NextTier | None) -> None:
        self.around, self.name, self.mode, self.tier = around, name, mode, tier
        self.page = SharedPage(workers)
        """Kept by the system for as long as the machine runs, like a file."""
        self.disk = Disk(name)
        self.offset = 0.0
        self.lives = 0
        self.up = False
        self.draining = False
        self.workers: list[Worker] = []
        self._tasks: dict[asyncio.Task[None], None] = {}
        targets = [Target("worker", number, unix_path=f"{name}/{number}") for number in range(workers)]
        self.owners = tuple(targets) if workers > 1 else ()
        self.stores = [self._store(number) for number in range(workers)]
        around.network.servers[self.target] = Door(self)
        self.journal: Journal

    @property
    def target(self) -> Target:
        """Its port."""
        return Target(self.name, 80)

    def wall(self) -> float:
        """Its clock, which an operator may set."""
        return 1.7e9 + self.around.loop.time() + self.offset

    def _store(self, number: int) -> MemoryStore:
        return MemoryStore(1 << 20, 1 << 16, 8, self.page.rows[number])

    def serving(self) -> Serving:
        """By the last revision that is on the disk."""
        revision = max((int(each.etag) for each in self.disk.records if isinstance(each, Deployed)), default=0)
        hosts = Hosts((distribution(self.around.rules, revision),))
        return Serving(hosts, SETTINGS, self.tier, self.around.rules)

    # Lives ------------------------------------------------------------------------------------------------------------

    def start(self, *, keeps: bool) -> None:
        """Begin a life. `keeps`: the stores survived the last one."""
        self.lives += 1
        self.up, self.draining = True, False
        self.around.note(self.name, "starts, with {} stored", "what it had" if keeps else "nothing")
        if not keeps:
            self.stores = [self._store(number) for number in range(len(self.stores))]
        self.visible: Position = ("", 0)
        self._seen = asyncio.Event()
        self.journal = Journal(self.page, self._tell, self._acknowledge)
        self.workers = []
        for number in range(len(self.stores)):
            self.workers.append(self._fork(number))
        session: Any = Session(
            self.around.control, self.around.network, self.disk, self.around.violations
        )  # Any: all that is used of it
        disk: Any = self.disk  # Any: as above
        whom, boottime = Whom("http://control", self.name), self.around.loop.time
        self.follower = Follower(whom, disk, self._apply, session, boottime, self.around.random.random, self._leased)
        self._spawn(self.follower.run())

    def _fork(self, number: int) -> Worker:
        self.journal.started(number)
        worker = Worker(self, number)
        worker.read()
        if self.owners:
            self.around.network.servers[self.owners[number]] = _Neighbour(worker)
        self._spawn(self._confirm(worker, worker.position))
        return worker

    async def restart_worker(self, number: int) -> None:
        """A worker dies; the parent notices a little later, and starts another."""
        life, worker = self.lives, self.workers[number]
        self.around.note(self.name, "worker {} dies", number)
        await worker.die()
        await asyncio.sleep(self.around.network.delay())
        if self.up and self.lives == life:
            self.journal.ended(number)
            self.stores[number] = self._store(number)
            await asyncio.sleep(self.around.network.delay())
            if self.up and self.lives == life:
                self.workers[number] = self._fork(number)

    async def crash(self) -> None:
        """Power off."""
        self.around.note(self.name, "crashes")
        await self._end()

    async def _end(self) -> None:
        self.up = False
        for task in list(self._tasks):
            task.cancel()
        for worker in self.workers:
            await worker.die()

    async def leave(self, drain: float) -> None:
        """An orderly end: no new connections, those that are there go on for a while, then goodbye."""
        self.draining = True
        for stage in STAGES:
            if stage == "drain":
                self.around.note(self.name, "drains")
                await asyncio.sleep(drain)
                self.up = False
                for worker in self.workers:
                    await worker.die()
            else:
                self.around.note(self.name, "says goodbye")
                await self.follower.goodbye(1.0)
        await self._end()

    # What the parent and the feed's process do ------------------------------------------------------------------------

    def _tell(self, position: Position) -> None:
        for worker in list(self.workers):
            if worker.alive:
                self._spawn(self._deliver(worker))

    async def _deliver(self, worker: Worker) -> None:
        """One message to a worker, and its answer."""
        await self._in_turn(worker)
        if worker.alive:
            await self._confirm(worker, worker.read())

    async def _in_turn(self, worker: Worker) -> None:
        """A channel between parent and worker is slow, but keeps the order."""
        now = self.around.loop.time()
        worker.busy_until = max(worker.busy_until, now) + self.around.network.delay()
        await asyncio.sleep(worker.busy_until - now)

    async def _confirm(self, worker: Worker, position: Position) -> None:
        await self._in_turn(worker)
        if worker.alive and self.up:
            self.journal.confirmed(worker.number, position)

    def _acknowledge(self, position: Position) -> None:
        if position != self.visible:
            self.around.note(self.name, "has {} visible to all its workers", position[1])
        self.visible = position
        self._seen.set()
        self._seen = asyncio.Event()

    async def _apply(self, update: Update) -> None:
        """The follower's: returns when an update is visible to all workers."""
        await asyncio.sleep(self.around.network.delay())
        self.journal.take(News(update.epoch, update.number, update.fresh, update.caught_up))
        async with asyncio.timeout(APPLY_SECONDS):
            while self.visible[0] != update.epoch or self.visible[1] < update.number:
                await self._seen.wait()

    def _leased(self, number: int, until: float) -> None:
        self.journal.lease(number, until)

    def _spawn(self, what: Coroutine[Any, Any, None]) -> None:  # Any: of no interest
        task = self.around.loop.create_task(what)
        self._tasks[task] = None
        task.add_done_callback(lambda task: self._tasks.pop(task, None))


class _Neighbour:
    """A worker's door for the other workers of its node."""

    def __init__(self, worker: Worker) -> None:
        self._worker, self.name = worker, worker.name

    async def serve(self, head: RequestHead, body: Body) -> tuple[ResponseHead, Body]:
        """By that worker."""
        if not self._worker.alive:
            raise OriginUnreachable(f"{self.name} is down")
        return await self._worker.answer(head, body, Peer.WORKER)
