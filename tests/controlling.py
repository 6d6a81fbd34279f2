"""A control plane in the test's own event loop: real sockets, a real database, real followers."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import random
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import boto3
from aiohttp import web
from botocore.config import Config

from edgeproxy.binding import address_of, listening
from edgeproxy.control.api import Control, application, new_session
from edgeproxy.control.db import Database
from edgeproxy.control.managed import managed
from edgeproxy.control.orders import Orders
from edgeproxy.control.plane import Pace, Plane
from edgeproxy.control.rest import Bounds, Rest
from edgeproxy.control.state import Change, Names, State
from edgeproxy.control.streams import Streams
from edgeproxy.control.things import Moment
from edgeproxy.feed import Noticed, Record
from edgeproxy.following.follower import Follower, Whom
from edgeproxy.following.kept import Kept, Update

KEYS = {"AKIATEST": "a secret that only the test knows"}
ZONE = "edge.localhost"
NOW = 1_800_000_000.0


def names(seed: int = 1) -> Names:
    """Ids that are the same in every run."""
    return Names(random.Random(seed).randbytes)


def empty() -> State:
    """A state with nothing in it but the managed policies."""
    return State("EPOCH", ZONE, managed=managed())


@dataclass
class Pure:
    """Transitions on a state without any control plane around it."""

    state: State = field(default_factory=empty)
    ids: Names = field(default_factory=names)
    now: float = NOW

    def do(self, work: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
        """Work out a change and apply it; what the transition gives beside it."""
        result = work(Moment(self.state, self.ids, self.now), *arguments, **named)
        change, rest = (result, None) if isinstance(result, Change) else (result[0], result[1])
        self.state.apply(change)
        return rest


@dataclass
class Running:
    """A control plane that answers."""

    url: str
    plane: Plane
    streams: Streams

    def client(self, **more: Any) -> Any:
        """boto3's client for it; its calls block, so that they belong on a thread."""
        return client(self.url, **more)

    async def call(self, operation: str, **given: Any) -> Any:
        """One call through boto3."""
        return await asyncio.to_thread(getattr(self.client(), operation), **given)

    async def post(self, path: str, body: bytes, method: str = "POST", **fields: str) -> tuple[int, str]:
        """A request as it is, and status and body of its answer."""
        async with (
            aiohttp.ClientSession() as session,
            session.request(method, f"{self.url}/2020-05-31/{path}", data=body, headers=fields) as response,
        ):
            return response.status, await response.text()


def client(url: str, *, key: str = "AKIATEST", secret: str = KEYS["AKIATEST"]) -> Any:
    """boto3's client for a control plane."""
    return boto3.client(
        "cloudfront",
        endpoint_url=url,
        region_name="us-east-1",
        aws_access_key_id=key,
        aws_secret_access_key=secret,
        config=Config(retries={"total_max_attempts": 1}, proxies={}),
    )


@asynccontextmanager
async def running(
    folder: Path,
    *,
    keys: Mapping[str, str] | None = None,
    tier_key: str | None = None,
    pace: Pace = Pace(heartbeat=0.2),
    bounds: Bounds = Bounds(hold=0.2),
    kept: int = 100_000,
    monotonic: Callable[[], float] = time.monotonic,
) -> AsyncIterator[Running]:
    """Start one on the database in this folder; it is stopped at the end."""
    database = Database(folder / "control.db")
    ids = names(random.getrandbits(32))
    state = database.load(lambda: ids.short(""), ZONE)
    state.managed = managed()
    plane = Plane(state, database, ids, time.time, monotonic, pace, kept)
    await plane.start()
    listener = listening("127.0.0.1:0")[0]
    async with new_session() as session:
        streams = Streams(plane, tier_key)
        made = application(
            Control([], time.time, None, session),
            Rest(plane, keys or {}, time.time, random.randbytes, bounds),
            streams,
            Orders(plane, bounds),
            tier_key,
        )
        runner = web.AppRunner(made, access_log=None, handler_cancellation=True, shutdown_timeout=0)
        await runner.setup()
        await web.SockSite(runner, listener).start()
        try:
            yield Running(f"http://{address_of(listener)}", plane, streams)
        finally:
            await runner.cleanup()
            await plane.close()


class Node:
    """A follower, and what it was given to apply."""

    def __init__(self) -> None:
        self.updates: list[Update] = []
        self.leases: list[tuple[int, float]] = []
        self.noticed: list[Noticed] = []
        self.more = asyncio.Event()
        self.may_apply = asyncio.Event()
        self.may_apply.set()
        self.follower: Follower

    def leased(self, number: int, until: float) -> None:
        """What it was granted."""
        self.leases.append((number, until))

    async def apply(self, update: Update) -> None:
        """What the follower calls."""
        await self.may_apply.wait()
        self.updates.append(update)
        self.more.set()

    @property
    def records(self) -> list[Record]:
        """Everything it was told."""
        return [record for update in self.updates for record in update.records]

    async def reaches(self, number: int) -> None:
        """Wait until it has applied everything up to a number."""
        async with asyncio.timeout(20):
            while not self.updates or self.updates[-1].number < number:
                self.more.clear()
                await self.more.wait()


@asynccontextmanager
async def following(
    url: str,
    folder: Path,
    name: str = "node",
    *,
    tier_key: str | None = None,
    boottime: Callable[[], float] = time.monotonic,
) -> AsyncIterator[Node]:
    """A node that follows, with its file in this folder. It is cut off at the end, without a goodbye."""
    node = Node()
    kept = Kept(folder / f"{name or 'observer'}.db", incarnation=lambda: hashlib.md5(name.encode()).hexdigest())
    async with aiohttp.ClientSession() as session:
        whom, notice = Whom(url, name, tier_key), node.noticed.append
        node.follower = Follower(
            whom, kept, node.apply, session, boottime, lambda: 0.0, leased=node.leased, noticed=notice
        )
        task = asyncio.create_task(node.follower.run())
        try:
            yield node
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
            kept.close()
