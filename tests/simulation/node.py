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
from edgeproxy.edge.invalidation import Ledger
from edgeproxy.edge.journal import Journal, Message
from edgeproxy.edge.known import Batch, Known
from edgeproxy.edge.nexthop import NextHop
from edgeproxy.edge.node import Clocks, NextTier, Place, Serving
from edgeproxy.edge.page import SharedPage
from edgeproxy.edge.pipeline import Pipeline
from edgeproxy.edge.recorder import Recorder
from edgeproxy.edge.sweeping import checked
from edgeproxy.errors import BodyAborted, OriginError, OriginUnreachable
from edgeproxy.feed import Deployed, Invalidated
from edgeproxy.headers import Headers
from edgeproxy.message import Answer, Body, Incoming, Peer, RequestHead, ResponseHead
from edgeproxy.message import Client as Sender
from edgeproxy.model import Caching, Choice, Distribution, Forwarding, KeyParts, Mode, Rules, Selector
from edgeproxy.settings import Settings
from edgeproxy.store.memory import MemoryStore
from edgeproxy.telemetry.counters import Counters
from edgeproxy.telemetry.log import AccessLog
from edgeproxy.upstream.client import Target
from tests.simulation.control import Control
from tests.simulation.network import Client, Network

SETTINGS = Settings.model_validate({"log": {"path": "off"}, "tier": {"cache_status": False}})
LOG = AccessLog(SETTINGS.log, Path("/nonexistent"), Counters())
NAMES_MAX = 64
FEED_PAUSE = 0.5
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
        self.known = machine.copy_of_known()
        self.ledger = Ledger(machine.page, self.known.floors, lambda: around.loop.time())
        counters = machine.page.rows[number]
        self.store = machine.stores[number]
        clocks = Clocks(machine.wall, around.loop.time, lambda: 0.0, around.random_bytes)
        place = Place(machine.name, machine.mode, "local", "SIM", number, machine.owners)
        client: Any = Client(machine.name, around.network)  # Any: all that NextHop uses of it
        nexthop = NextHop(place, client, self.ledger, counters, clocks)
        recorder = Recorder(place, LOG, counters, clocks)
        self.pipeline = Pipeline(
            place,
            machine.serving(self.known),
            self.store,
            nexthop,
            machine.page,
            self.ledger,
            recorder,
            counters,
            clocks,
        )
        self.alive = True
        self.running: set[asyncio.Task[Any]] = set()  # Any: whatever they give

    async def handle(self, head: RequestHead, body: Body, sender: Sender) -> Answer:
        """A request whose head arrives now. Raises OriginError when the process dies over it."""
        incoming = Incoming(head, body, sender, self.machine.around.loop.time())
        task = self.spawn(self.pipeline.handle(incoming))
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

    def take(self, batch: Batch) -> None:
        """What the parent says."""
        changed = self.known.apply(batch)
        self.ledger.floors = self.known.floors
        if changed:
            self.pipeline.serving = self.machine.serving(self.known)

    def sweep(self) -> None:
        """One round of the background sweep, at once."""
        check = checked(self.ledger)
        if check is not None:
            for key in list(self.store.keys()):
                self.store.sweep(key, check)

    def spawn(self, what: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:  # Any: whatever they give
        """A task that dies with the process."""
        task = self.machine.around.loop.create_task(what)
        self.running.add(task)
        task.add_done_callback(self.running.discard)
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


class Disk:
    """Where the journal is kept. What `append` has returned for is there for good."""

    def __init__(self) -> None:
        self.saved = Known.nothing(NAMES_MAX).to_json()
        self.position = ("", 0)

    def append(self, batch: Batch, known: Known) -> bool:
        """See journal.Disk."""
        self.saved = known.to_json()
        self.position = (known.floors.epoch, known.floors.number)
        return True


class Machine:
    """One node, through all its lives."""

    def __init__(self, around: Surroundings, name: str, mode: Mode, workers: int, tier: NextTier | None) -> None:
        self.around, self.name, self.mode, self.tier = around, name, mode, tier
        self.page = SharedPage(workers)
        """Kept by the system for as long as the machine runs, like a file."""
        self.disk = Disk()
        self.offset = 0.0
        self.lives = 0
        self.up = False
        self.draining = False
        self.workers: list[Worker] = []
        self._tasks: set[asyncio.Task[None]] = set()
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

    def serving(self, known: Known) -> Serving:
        """By the last revision that was heard of."""
        deployed = known.deployed.get("origin")
        revision = 0 if deployed is None else int(deployed.config["revision"])
        hosts = Hosts((distribution(self.around.rules, revision),))
        return Serving(hosts, SETTINGS, self.tier, self.around.rules)

    def copy_of_known(self) -> Known:
        """What a forked worker has in its memory."""
        return Known.from_json(self.journal.known.to_json(), NAMES_MAX)

    # Lives ------------------------------------------------------------------------------------------------------------

    def start(self, *, keeps: bool) -> None:
        """Begin a life. `keeps`: the stores survived the last one."""
        self.lives += 1
        self.up, self.draining = True, False
        self.around.note(self.name, "starts, with {} stored", "what it had" if keeps else "nothing")
        if not keeps:
            self.stores = [self._store(number) for number in range(len(self.stores))]
        self._acknowledged: tuple[str, int] = ("", 0)
        known = Known.from_json(self.disk.saved, NAMES_MAX)
        self.journal = Journal(self.page, known, self.disk, self._tell, self._acknowledge)
        self.workers = []
        for number in range(len(self.stores)):
            self.workers.append(self._fork(number))
        self._spawn(self._follow(self.lives))

    def _fork(self, number: int) -> Worker:
        self.journal.started(number)
        worker = Worker(self, number)
        if self.owners:
            self.around.network.servers[self.owners[number]] = _Neighbour(worker)
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
        self.around.note(self.name, "drains")
        self.draining = True
        await asyncio.sleep(drain)
        await self._end()
        self.around.note(self.name, "says goodbye")
        await asyncio.sleep(self.around.network.delay())
        if self.around.network.whole(self.name, "control"):
            self.around.control.leave(self.name, "goodbye")

    # What the parent does ---------------------------------------------------------------------------------------------

    def _tell(self, message: Message) -> None:
        for worker in list(self.workers):
            if worker.alive:
                self._spawn(self._deliver(worker, message))

    async def _deliver(self, worker: Worker, message: Message) -> None:
        """One message to a worker, and its confirmation; a channel keeps the order."""
        batch = Batch.from_json(message["batch"])
        at = max(getattr(worker, "told_at", 0.0), self.around.loop.time() + self.around.network.delay())
        worker.told_at = at  # type: ignore[attr-defined]  # of the simulation alone
        await asyncio.sleep(at - self.around.loop.time())
        if not worker.alive:
            return
        worker.take(batch)
        position = worker.known.floors.epoch, worker.known.floors.number
        await asyncio.sleep(self.around.network.delay())
        if worker.alive and self.up:
            self.journal.confirmed(worker.number, *position)

    def _acknowledge(self, epoch: str, number: int) -> None:
        if (epoch, number) != self._acknowledged:
            self._acknowledged = (epoch, number)
            self.around.note(self.name, "has {} visible to all its workers", number)
            self._spawn(self._report(self.lives))

    def _spawn(self, what: Coroutine[Any, Any, None]) -> None:  # Any: of no interest
        task = self.around.loop.create_task(what)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _follow(self, life: int) -> None:
        """The follower: joins, hears what is new, acknowledges; begins anew whenever the way is cut."""
        control, network = self.around.control, self.around.network
        while True:
            if not network.whole(self.name, "control"):
                await asyncio.sleep(FEED_PAUSE)
                continue
            await self._listen(life, control, network)
            await asyncio.sleep(network.delay())

    async def _listen(self, life: int, control: Control, network: Network) -> None:
        state = control.state
        begun = self.around.loop.time()
        fresh = control.join(self.name, f"{self.name}/{life}")
        epoch, position = self.journal.position
        if epoch != state.epoch:
            position = 0
        while network.whole(self.name, "control") and control.state is state:
            changed, asked_at = control.changed, begun
            whole = position < state.low_water or epoch != state.epoch
            news = tuple(each for each in state.log if each.number > position or (whole and isinstance(each, Deployed)))
            news = tuple(each for each in news if not isinstance(each, Invalidated) or each.number > position)
            control.heard[self.name] = self.around.loop.time()
            batch = Batch(
                state.epoch, state.number, state.low_water, news, whole, fresh, True,
                asked_at + control.lease if control.lease else 0.0,
            )  # fmt: skip
            position, epoch, fresh = state.number, state.epoch, False
            await asyncio.sleep(network.delay() * 4)
            if not network.whole(self.name, "control"):
                return
            self.journal.take(batch)
            self._spawn(self._report(life))  # once more: the last one may have been lost
            begun = self.around.loop.time()
            try:
                async with asyncio.timeout(FEED_PAUSE):
                    await changed.wait()
            except TimeoutError:
                pass

    async def _report(self, life: int) -> None:
        """Acknowledge what is durable and visible."""
        control, network = self.around.control, self.around.network
        epoch, number = self._acknowledged
        self._check_durable(epoch, number)
        await asyncio.sleep(network.delay())
        if self.lives == life and network.whole(self.name, "control"):
            control.hear(self.name, epoch, number)

    def _check_durable(self, epoch: str, number: int) -> None:
        at, durable = self.disk.position
        if at == epoch and number > durable:
            self.around.violations.append(f"{self.name} acknowledges {number} when {durable} is durable")


class _Neighbour:
    """A worker's door for the other workers of its node."""

    def __init__(self, worker: Worker) -> None:
        self._worker, self.name = worker, worker.name

    async def serve(self, head: RequestHead, body: Body) -> tuple[ResponseHead, Body]:
        """By that worker."""
        if not self._worker.alive:
            raise OriginUnreachable(f"{self.name} is down")
        return await self._worker.answer(head, body, Peer.WORKER)
