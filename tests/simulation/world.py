"""One history: what happens when, and whether everybody got what they were promised.

    POPs A and B, regional R behind them, one to two workers each; control plane; an origin whose content changes

A history is a list of steps, drawn from a seed. While it runs everything is noted; `story` tells it. Afterwards:

    safety      no answer has a byte from an ask older than an invalidation that was Completed when its head arrived
    identity    every byte answers the target that the POP's revision makes of the request
    unsafe      after a write through a POP, nobody gets there what was asked for before it
    durable     nothing is acknowledged that the node's disk does not have
    frugality   one request makes the origin be asked a bounded number of times
    liveness    once all is well: everybody is answered, every invalidation completes, the cache hits again
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from random import Random
from typing import Any

from edgeproxy.edge.node import NextTier
from edgeproxy.errors import EdgeError
from edgeproxy.headers import Headers
from edgeproxy.message import Body, BytesBody, Peer, RequestHead, ResponseHead, no_body
from edgeproxy.model import Mode, Rules
from edgeproxy.upstream.client import Target
from tests.simulation.control import Accepted, Control
from tests.simulation.loop import Stuck, run
from tests.simulation.network import Network
from tests.simulation.node import Machine, Surroundings, keys_no_query
from tests.simulation.origin import Asked, Origin, asks_in, viewer

RULES = (Rules.RFC9111, Rules.CLOUDFRONT)
PATHS = ("/a", "/b", "/img/c", "/img/d")
QUERIES = ("", "?x=1")
SPAN = 6.0
"""Virtual seconds in which steps are made."""
SETTLE = 60.0
"""Virtual seconds after all is well in which everything must have come right."""
FORGET = 15.0
"""Seconds on a node's clock after which nobody remembers a failure any more (fact sheet 2.5: 10)."""
ASKS_MAX = 3
"""Of the origin for one request: once, once more after a 304 that fits nothing, once past a tier that failed."""


@dataclass(frozen=True, slots=True)
class Step:
    """Something that happens at a time."""

    at: float
    what: str
    args: tuple[Any, ...] = ()  # Any: by what happens

    def __str__(self) -> str:
        return f"{self.at:6.3f} {self.what} {' '.join(map(str, self.args))}"


@dataclass(slots=True)
class View:
    """One request of a viewer, and what came of it."""

    number: int
    pop: str
    method: str
    path: str
    arrived_at: float
    revision: str
    status: int = 0
    body: bytes = b""
    cut: bool = False
    done: bool = False
    ended_at: float = 0.0


def steps(seed: int) -> list[Step]:
    """The steps of a history."""
    chance = Random(seed)
    made: list[Step] = []

    def at(latest: float = SPAN) -> float:
        return round(chance.random() * latest, 3)

    def target() -> str:
        return chance.choice(PATHS[:3] if chance.random() < 0.8 else PATHS) + (chance.choice(QUERIES))

    focus = target()
    for _ in range(chance.randint(6, 14)):
        path = focus if chance.random() < 0.6 else target()
        roll = chance.random()
        method = "PUT" if roll < 0.08 else "HEAD" if roll < 0.13 else "GET"
        part = chance.choice(("bytes=0-7", "bytes=8-23", "bytes=24-31")) if roll > 0.9 else ""
        made.append(Step(at(), "view", (chance.choice("AB"), chance.randint(0, 1), method, path, part)))
    for _ in range(chance.randint(1, 4)):
        roll = chance.random()
        item = (
            focus if roll < 0.45
            else "/*" if roll < 0.6
            else focus[: chance.randint(1, len(focus))] + "*" if roll < 0.75
            else chance.choice(("#red", "#Blue")) if roll < 0.9
            else target()
        )  # fmt: skip
        items = (item,) if chance.random() < 0.7 else (item, target())
        made.append(Step(at(SPAN * 0.8), "invalidate", (items, chance.random() < 0.15)))
    for _ in range(chance.randint(1, 4)):
        made.append(Step(at(), "change", (focus if chance.random() < 0.7 else target(),)))
    for _ in range(chance.randint(0, 4)):
        made.append(_fault(chance, at()))
    return sorted(made, key=lambda step: step.at)


def _fault(chance: Random, at: float) -> Step:
    roll = chance.random()
    node = chance.choice("ABR")
    pause = round(chance.random() * 3, 3)
    keeps = chance.random() < 0.7
    if roll < 0.16:
        return Step(at, "crash", (node, pause, keeps, chance.random() < 0.5))
    if roll < 0.28:
        return Step(at, "worker", (node, chance.randint(0, 1)))
    if roll < 0.40:
        return Step(at, "leave", (node, pause, keeps))
    if roll < 0.62:
        ends = chance.choice((("A", "R"), ("B", "R"), ("A", "origin"), ("R", "origin"), (node, "control")))
        return Step(at, "cut", (*ends, pause))
    if roll < 0.68:
        return Step(at, "lose")
    if roll < 0.76:
        return Step(at, "clock", (node, chance.choice((-5, 5, 100))))
    if roll < 0.84:
        return Step(at, "fail", (pause,))
    if roll < 0.92:
        return Step(at, "deploy")
    if roll < 0.96:
        return Step(at, "compact")
    return Step(at, "sweep", (node,))


class World:
    """A history that runs."""

    def __init__(self, seed: int, made: list[Step] | None = None, asks_most: int | None = None) -> None:
        """The history of a seed; or of these steps, with two workers a node, in `cloudfront` rules if the seed is odd,
        and the origin is asked at most so often."""
        self.seed = seed
        self.asks_most = asks_most
        self.written = made is not None
        self.steps = steps(seed) if made is None else made
        self.notes: list[tuple[float, str, str, tuple[Any, ...]]] = []  # Any: what is put into the sentence
        self.views: list[View] = []
        self.violations: list[str] = []
        self.revision = 0
        self.slow = 0.0

    def run(self) -> World:
        """From the beginning to the verdict."""
        try:
            run(self._live())
        except Stuck as error:
            self.violations.append(f"liveness: {error}")
        return self

    def story(self) -> str:
        """Everything that happened, a line each, and the verdict."""
        lines = [f"{at:8.3f}  {who:<9} {text.format(*args)}" for at, who, text, args in self.notes]
        return "\n".join([f"history {self.seed}", *lines, *(f"VIOLATION {each}" for each in self.violations)])

    def _note(self, who: str, text: str, *args: Any) -> None:  # Any: as above
        self.notes.append((self.loop.time(), who, text, args))

    async def _live(self) -> None:
        self.loop = asyncio.get_running_loop()
        chance = Random(self.seed ^ 0x5EED)
        self.network = Network(chance)
        self.origin = Origin(chance, self.loop.time)
        self.network.servers[Target("origin.test", 80)] = _OriginServer(self)
        drawn = not self.written
        lease = chance.choice((0.0, 0.0, 2.5)) if drawn else 0.0
        self.control = Control(self.loop.time, self._note, chance, ("A", "B", "R"), lease)
        await self.control.begin()
        self.rules = rules = chance.choice(RULES) if drawn else RULES[self.seed % 2]
        around = Surroundings(self.network, self.control, chance, self.loop, self._note, rules, self.violations)
        many = chance.choice((1, 2, 2)) if drawn else 2
        regional = Machine(around, "R", Mode.REGIONAL, many, None)
        tier = NextTier("R", regional.target)
        self.machines = {"R": regional}
        for name in "AB":
            self.machines[name] = Machine(around, name, Mode.POP, many, tier)
        for machine in self.machines.values():
            machine.start(keeps=False)
        await asyncio.sleep(1.0)
        begun = self.loop.time()
        acting: list[asyncio.Task[None]] = []
        for step in self.steps:
            await asyncio.sleep(max(0.0, begun + step.at - self.loop.time()))
            acting.append(self.loop.create_task(getattr(self, "_" + step.what)(*step.args)))
        await asyncio.sleep(max(0.0, begun + SPAN + 2 - self.loop.time()))
        asked = sum(each.viewer >= 0 for each in self.origin.asked)
        if self.asks_most is not None and asked > self.asks_most:
            self.violations.append(f"economy: the origin was asked {asked} times, not {self.asks_most}")
        await self._heal()
        await self._comes_right(acting)
        for machine in self.machines.values():
            await machine.crash()
        await self.control.end()
        self._judge()

    # Steps ------------------------------------------------------------------------------------------------------------

    async def _view(self, pop: str, worker: int, method: str, path: str, part: str) -> None:
        await self.view(pop, worker, method, path, part)

    async def view(self, pop: str, worker: int, method: str, path: str, part: str = "") -> View | None:
        """One request at a POP; None when nobody is there."""
        machine = self.machines[pop]
        process = machine.workers[worker % len(machine.workers)]
        if not machine.up or not process.alive:
            return None
        serving = process.pipeline.serving.hosts.by_id("origin")
        assert serving is not None
        seen = View(len(self.views), pop, method, path, self.loop.time(), serving.revision)
        self.views.append(seen)
        viewer.set(seen.number)
        self._note(pop, "worker {} is asked: {} {} {} (request {})", process.number, method, path, part, seen.number)
        fields = [(b"Range", part.encode())] if part else []
        head = RequestHead(method, path.encode(), b"a.test", Headers(fields))
        body = BytesBody([b"new"]) if method == "PUT" else no_body()
        try:
            answer, reading = await process.answer(head, body, Peer.VIEWER)
            seen.status = answer.status
            try:
                while block := await reading.read():
                    seen.body += block
            finally:
                reading.close()
        except EdgeError as error:
            seen.cut = True
            self._note(pop, "request {} fails: {}", seen.number, error)
        else:
            asks = asks_in(seen.body) if seen.status in (200, 206, 404) else []
            self._note(pop, "request {} is answered {}, from asks {}", seen.number, seen.status, asks)
        seen.done, seen.ended_at = True, self.loop.time()
        return seen

    async def _invalidate(self, items: tuple[str, ...], soft: bool) -> None:
        await self.control.invalidate(items, soft)

    async def _change(self, path: str) -> None:
        self.origin.page(path).version += 1
        self._note("origin", "{} changes", path)

    async def _crash(self, name: str, pause: float, keeps: bool, forgotten: bool) -> None:
        machine = self.machines[name]
        if not machine.up or machine.draining:
            return
        await machine.crash()
        await asyncio.sleep(pause / 2)
        if forgotten:
            await self.control.leave(name)
        await asyncio.sleep(pause / 2)
        machine.start(keeps=keeps)

    async def _worker(self, name: str, number: int) -> None:
        machine = self.machines[name]
        if machine.up and not machine.draining:
            await machine.restart_worker(number % len(machine.workers))

    async def _leave(self, name: str, pause: float, keeps: bool) -> None:
        machine = self.machines[name]
        if not machine.up or machine.draining:
            return
        await machine.leave(pause / 3)
        await asyncio.sleep(pause)
        machine.start(keeps=keeps)

    async def _cut(self, one: str, other: str, pause: float) -> None:
        self._note("network", "between {} and {} nothing is heard for {} s", one, other, pause)
        self.network.cut.add(frozenset((one, other)))
        await asyncio.sleep(pause)
        self.network.cut.discard(frozenset((one, other)))

    async def _lose(self) -> None:
        await self.control.lose()

    async def _clock(self, name: str, seconds: float) -> None:
        self._note(name, "its clock is set by {} s", seconds)
        self.machines[name].offset += seconds

    async def _hang(self, name: str, number: int, pause: float) -> None:
        self._note(name, "worker {} reads nothing of its parent's for {} s", number, pause)
        self.machines[name].workers[number].busy_until = self.loop.time() + pause

    async def _slow(self, pause: float) -> None:
        self._note("origin", "will take {} s for its next answer", pause)
        self.slow = pause

    async def _page(self, path: str, character: dict[str, Any]) -> None:
        for name, value in character.items():
            setattr(self.origin.page(path), name, value)

    async def _fail(self, pause: float) -> None:
        self._note("origin", "fails for {} s", pause)
        self.origin.fails = True
        await asyncio.sleep(pause)
        self.origin.fails = False

    async def _deploy(self) -> None:
        self.revision += 1
        await self.control.deploy(self.revision)

    async def _compact(self) -> None:
        self.control.compact()

    async def _sweep(self, name: str) -> None:
        for worker in self.machines[name].workers:
            if worker.alive:
                worker.sweep()

    # The end ----------------------------------------------------------------------------------------------------------

    async def _heal(self) -> None:
        self._note("network", "all is well from here on")
        self.network.cut.clear()
        self.origin.fails = False
        self.origin.settle()

    async def _comes_right(self, acting: list[asyncio.Task[None]]) -> None:
        done, late = await asyncio.wait(acting, timeout=SETTLE) if acting else (set(), set())
        for task in done:
            if (error := task.exception()) is not None:
                raise error
        if late:
            self.violations.append(f"liveness: {len(late)} requests or steps have no end")
        ends = self.loop.time() + SETTLE
        while self._in_progress() and self.loop.time() < ends:  # noqa: ASYNC110  # no event: time has to pass
            await asyncio.sleep(0.25)
        if waiting := self._in_progress():
            names = self.control.plane.waiting_for(waiting[-1].number)
            self.violations.append(f"liveness: invalidation {waiting[-1].number} waits for {names}")
        await asyncio.sleep(1.5)
        for machine in self.machines.values():
            machine.offset += FORGET
        for path in sorted({step.args[3] for step in self.steps if step.what == "view"})[:2]:
            for pop in "AB":
                for _ in range(2):
                    await self.view(pop, 0, "GET", path)
                asked = len(self.origin.asked)
                last = await self.view(pop, 0, "GET", path)
                if last is None or last.cut or last.status not in (200, 404):
                    self.violations.append(f"liveness: {path} is not answered at {pop}")
                elif len(self.origin.asked) != asked:
                    self.violations.append(f"liveness: {path} is not kept at {pop}")

    def _in_progress(self) -> list[Accepted]:
        epoch = self.control.plane.state.epoch
        return [each for each in self.control.accepted if each.completed_at is None and each.epoch == epoch]

    # The verdict ------------------------------------------------------------------------------------------------------

    def _judge(self) -> None:
        for seen in self.views:
            if not seen.done:
                self.violations.append(f"liveness: request {seen.number} has no end")
            if seen.method == "GET":
                for number in asks_in(seen.body) if seen.status in (200, 206, 404) else []:
                    self._judge_ask(seen, number, self.origin.asked[number])
        asks: dict[int, int] = {}
        for asked in self.origin.asked:
            asks[asked.viewer] = asks.get(asked.viewer, 0) + 1
        for number, count in asks.items():
            if count > ASKS_MAX:
                self.violations.append(f"frugality: request {number} made the origin be asked {count} times")

    def _judge_ask(self, seen: View, number: int, asked: Asked) -> None:
        for each in self.control.accepted:
            completed = each.completed_at is not None and each.completed_at <= seen.arrived_at
            if completed and not each.soft and asked.at < each.accepted_at and _names(each.items, asked):
                self.violations.append(
                    f"safety: request {seen.number} for {seen.path} at {seen.pop}, that came at {seen.arrived_at:.3f}, "
                    f"got ask {number} of {asked.at:.3f}, although invalidation {each.number} {each.items} of "
                    f"{each.accepted_at:.3f} was Completed at {each.completed_at:.3f}"
                )
        bare = keys_no_query(self.rules, int(seen.revision))
        expected = seen.path.partition("?")[0] if bare else seen.path
        if asked.path != expected:
            self.violations.append(f"identity: request {seen.number} for {expected} got ask {number} for {asked.path}")
        for write in self.views:
            if (
                write.method == "PUT"
                and write.status == 204
                and write.pop == seen.pop
                and write.path == asked.path == seen.path
                and write.ended_at <= seen.arrived_at
                and asked.at < write.arrived_at
            ):
                self.violations.append(
                    f"unsafe: request {seen.number} for {seen.path} got ask {number} of before write {write.number}"
                )


def _names(items: tuple[str, ...], asked: Asked) -> bool:
    return any(
        item[1:].lower() in asked.tags if item.startswith("#")
        else asked.path.startswith(item[:-1]) if item.endswith("*")
        else asked.path == item
        for item in items
    )  # fmt: skip


class _OriginServer:
    def __init__(self, world: World) -> None:
        self._world = world
        self.name = "origin"

    async def serve(self, request: RequestHead, body: Body) -> tuple[ResponseHead, Body]:
        """After a while; what is sent is what was there when the request arrived."""
        world = self._world
        number = len(world.origin.asked)
        head, answer = world.origin.answer(request)
        world._note(
            "origin", "is asked {} {} (ask {}): {}", request.method, request.target.decode(), number, head.status
        )
        slow, world.slow = world.slow, 0.0
        await asyncio.sleep(slow or world.network.delay() * (10 if world.network.random.random() < 0.2 else 1))
        half = len(answer) // 2
        return head, BytesBody([answer[:half], answer[half:]])
