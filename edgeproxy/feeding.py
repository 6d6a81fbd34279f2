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
from dataclasses import asdict
from pathlib import Path

import aiohttp

from edgeproxy.configuration import Configuration, distribution_in
from edgeproxy.edge.invalidation import Ledger
from edgeproxy.edge.journal import Journal, News, Position
from edgeproxy.edge.page import SharedPage
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


class Broker:
    """In the parent: between the feed's process, the workers, and the journal of what all of them have."""

    def __init__(self, page: SharedPage, caught_up: Callable[[], None]) -> None:
        """`caught_up` is called when the node knows enough to be ready."""
        self.workers: list[Child] = []
        self.feed: Child | None = None
        self.caught_up = caught_up
        self._journal = Journal(page, self._tell, self._acknowledge)

    def from_feed(self, message: Message) -> None:
        """Something new is on disk, or a lease was granted."""
        if "news" in message:
            self._journal.take(News(**message["news"]))
        if "lease" in message:
            number, until = message["lease"]
            self._journal.lease(int(number), float(until))

    def from_worker(self, number: int, message: Message) -> None:
        """A worker works by everything up to a position."""
        if "applied" in message:
            epoch, reached = message["applied"]
            self._journal.confirmed(number, (str(epoch), int(reached)))

    def worker_started(self, number: int) -> None:
        """It reads the file before it accepts anything."""
        self._journal.started(number)

    def worker_gone(self, number: int) -> None:
        """It is waited for no longer."""
        self._journal.ended(number)

    def _tell(self, position: Position) -> None:
        for worker in self.workers:
            if worker.channel is not None:
                worker.channel.send({"do": "feed"})

    def _acknowledge(self, position: Position) -> None:
        if self.feed is not None and self.feed.channel is not None:
            self.feed.channel.send({"do": "applied", "position": position})


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
    waiting: list[tuple[Position, asyncio.Event]] = []

    async def apply(update: Update) -> None:
        event = asyncio.Event()
        waiting[:] = [((update.epoch, update.number), event)]
        news = News(update.epoch, update.number, update.fresh, update.caught_up)
        channel.send({"news": asdict(news)})
        try:
            async with asyncio.timeout(APPLY_SECONDS):
                await event.wait()
        except TimeoutError:
            raise EdgeError(f"not every worker works by record {update.number} yet") from None

    def leased(number: int, until: float) -> None:
        channel.send({"lease": [number, until]})

    kept = Kept(directory / FILE, incarnation=lambda: os.urandom(12).hex())
    async with aiohttp.ClientSession(trust_env=False) as session:
        follower = Follower(whom, kept, apply, session, boottime, random.Random().random, leased)
        async with asyncio.TaskGroup() as tasks:
            running = tasks.create_task(follower.run(), name="feed")
            telling = tasks.create_task(_tell_when_ready(channel, follower), name="feed: ready")
            while (order := await orders.get()) is not None:
                if order["do"] == "applied":
                    epoch, number = order["position"]
                    for (wanted_epoch, wanted), event in waiting:
                        if epoch == wanted_epoch and number >= wanted:
                            event.set()
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
    """What a process has read of its node's file: the distributions as the settings make them, and in a worker's ledger
    the invalidations."""

    def __init__(self, directory: Path, ledger: Ledger | None = None) -> None:
        self._path = directory / FILE
        self._ledger = ledger
        self._read: dict[str, tuple[Deployed, Distribution]] = {}
        self.position: Position = ("", 0)
        """Epoch and number; the epoch is empty before it has ever followed."""

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
            new = kept.since(*self.position)
        finally:
            kept.close()
        before = self._read
        read = {id: made for id, made in before.items() if id in new.ids and not new.whole}
        records = [record for record, _ in read.values()] if anew else []
        records += [record for record in new.records if isinstance(record, Deployed)]
        for record in records:
            try:
                read[record.id] = (record, _made(record, configuration))
            except EdgeError as error:
                if unreadable is None:
                    raise
                unreadable(record.id, error)
                if record.id in before:
                    read[record.id] = before[record.id]
        if self._ledger is not None:
            self._ledger.take(new.epoch, new.number, new.low_water, new.records)
        self._read, self.position = read, (new.epoch, new.number)
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
        follower = Follower(whom, kept, apply, session, boottime, random.Random().random, noticed=noticed)
        running = asyncio.get_running_loop().create_task(follower.run(), name="feed: observe")
        try:
            yield
        finally:
            running.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await running
    kept.close()
