"""A node's own process for the feed, and the parent's part in it: passing on that something has come, and when all
workers have it.

The feed's process writes what it hears to disk and tells the parent; the parent tells the workers, who read the file;
when the last one has said so, the feed's process may acknowledge. A worker that is started later reads the file first.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp

from edgeproxy.configuration import Configuration, distribution_in
from edgeproxy.errors import EdgeError
from edgeproxy.feed import Deployed, Noticed
from edgeproxy.following.follower import Follower, Whom
from edgeproxy.following.kept import Kept, Update
from edgeproxy.model import Distribution
from edgeproxy.processes import obey, run_loop
from edgeproxy.sources import with_origin
from edgeproxy.supervisor import Channel, Child, Message

GOODBYE_SECONDS = 3.0
"""How long the control plane has to take note that a node leaves."""
APPLY_SECONDS = 60.0
"""How long the workers have to work by something new."""
FILE = "feed.db"


def boottime() -> float:
    """Seconds, also while the machine sleeps, where the platform can tell."""
    clock = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
    return time.clock_gettime(clock)


@dataclass
class Broker:
    """In the parent: which number each worker has, and what the feed's process waits for."""

    workers: list[Child] = field(default_factory=list)
    feed: Child | None = None
    applied: Callable[[int], None] = lambda number: None
    """Called when all workers have everything up to a number, before anybody is told so."""
    caught_up: Callable[[], None] = lambda: None
    """Called when the node knows enough to be ready."""
    _wanted: int | None = None
    _reached: dict[str, int] = field(default_factory=dict)

    def from_feed(self, message: Message) -> None:
        """Something new is on disk, or the node knows all there was to know."""
        if "number" in message:
            self._wanted = int(message["number"])
            self._reached.clear()  # the same number may mean something else by now: another epoch
            for worker in self.workers:
                if worker.channel is not None:
                    worker.channel.send({"do": "feed", "number": self._wanted})
            self._check()

    def from_worker(self, worker: Child, message: Message) -> None:
        """A worker works by everything up to a number."""
        if "applied" in message:
            self._reached[worker.name] = int(message["applied"])
            self._check()

    def worker_gone(self, worker: Child) -> None:
        """It reads the file when it is started again."""
        self._reached.pop(worker.name, None)
        self._check()

    def _check(self) -> None:
        wanted = self._wanted
        if wanted is None or self.feed is None:
            return
        living = [worker for worker in self.workers if worker.channel is not None]
        if all(self._reached.get(worker.name) == wanted for worker in living):
            self._wanted = None
            self.applied(wanted)
            if self.feed.channel is not None:
                self.feed.channel.send({"do": "applied", "number": wanted})


def prepare(directory: Path) -> None:
    """Make the file, before anybody reads it. Raises ConfigError."""
    Kept(directory / FILE, incarnation=lambda: os.urandom(12).hex()).close()


def feed_child(name: str, whom: Whom, directory: Path, broker: Broker) -> Child:
    """The process that follows for a node. It is ready when the node knows all there is to know, or the control plane
    cannot be reached and there is something on disk to go by."""

    def ready(message: Message) -> None:
        broker.caught_up()

    child = Child(
        f"{name}, feed",
        lambda channel: run_loop(_live(channel, whom, directory)),
        ready=ready,
        heard=broker.from_feed,
        stage=1,
    )
    broker.feed = child
    return child


async def _live(channel: Channel, whom: Whom, directory: Path) -> int:
    orders: asyncio.Queue[Message | None] = asyncio.Queue()
    obey(channel, orders)
    confirmed: dict[int, asyncio.Event] = {}

    async def apply(update: Update) -> None:
        event = confirmed[update.number] = asyncio.Event()
        channel.send({"number": update.number})
        try:
            async with asyncio.timeout(APPLY_SECONDS):
                await event.wait()
        except TimeoutError:
            raise EdgeError(f"not every worker works by record {update.number} yet") from None
        finally:
            confirmed.pop(update.number, None)

    kept = Kept(directory / FILE, incarnation=lambda: os.urandom(12).hex())
    async with aiohttp.ClientSession(trust_env=False) as session:
        follower = Follower(whom, kept, apply, session, boottime, random.Random().random)
        async with asyncio.TaskGroup() as tasks:
            running = tasks.create_task(follower.run(), name="feed")
            telling = tasks.create_task(_tell_when_ready(channel, follower), name="feed: ready")
            while (order := await orders.get()) is not None:
                if order["do"] == "applied":
                    with contextlib.suppress(KeyError):
                        confirmed[int(order["number"])].set()
                if order["do"] == "drain":
                    await follower.goodbye(GOODBYE_SECONDS)
                    break
            running.cancel()
            telling.cancel()
    kept.close()
    return 0


async def _tell_when_ready(channel: Channel, follower: Follower) -> None:
    await follower.usable.wait()
    channel.send({"ready": True})


class Followed:
    """The distributions that the feed has told of, as one node's settings make them. Read from the node's file."""

    def __init__(self, directory: Path) -> None:
        self._path = directory / FILE
        self._read: dict[int, tuple[Deployed, Distribution]] = {}
        self.number = 0
        self.epoch = ""
        """Empty before it has ever followed."""

    def distributions(
        self,
        configuration: Configuration,
        *,
        anew: bool = False,
        unreadable: Callable[[str, EdgeError], None] | None = None,
    ) -> tuple[Distribution, ...]:
        """All of them; `anew` where the settings have changed. None before the node has ever followed. Raises EdgeError
        for what cannot be read; then nothing is changed. Where `unreadable` is given it hears of each one instead, by
        its id, and that one stays as it was."""
        if not self._path.exists():
            return ()
        kept = Kept(self._path)
        try:
            known = {number: record for number, (record, _) in self._read.items()}
            epoch, number, found = kept.distributions(self.epoch, known)
        finally:
            kept.close()
        before = {record.id: distribution for record, distribution in self._read.values()}
        read = {}
        for each, record in found.items():
            try:
                same = epoch == self.epoch and each in known and not anew
                made = self._read[each][1] if same else _made(record, configuration)
            except EdgeError as error:
                if unreadable is None:
                    raise
                unreadable(record.id, error)
                if record.id not in before:
                    continue
                made = before[record.id]
            read[each] = record, made
        self._read, self.epoch, self.number = read, epoch, number
        return tuple(distribution for _, distribution in read.values())


def _made(record: Deployed, configuration: Configuration) -> Distribution:
    distribution = distribution_in(record, configuration.settings)
    of_files = {each.id for each in configuration.given}
    if configuration.stand_in is not None and distribution.id in of_files:
        return with_origin(distribution, configuration.stand_in)
    return distribution


@asynccontextmanager
async def observing(
    whom: Whom | None,
    directory: Path,
    use: Callable[[], Awaitable[None]],
    noticed: Callable[[Noticed], None] = lambda noticed: None,
) -> AsyncIterator[None]:
    """Follow as one that nobody waits for while the block runs; `use` is called when there is something new on disk,
    `noticed` with what the control plane notices of nodes. Without a control plane nothing happens."""
    if whom is None:
        yield
        return

    async def apply(update: Update) -> None:
        await use()

    kept = Kept(directory / FILE, incarnation=lambda: os.urandom(12).hex())
    async with aiohttp.ClientSession(trust_env=False) as session:
        follower = Follower(whom, kept, apply, session, boottime, random.Random().random, noticed)
        running = asyncio.get_running_loop().create_task(follower.run(), name="feed: observe")
        try:
            yield
        finally:
            running.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await running
    kept.close()
