"""Asking scripted origins through the upstream client, in few words."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace

from edgeproxy.errors import BodyAborted
from edgeproxy.headers import Field, Headers
from edgeproxy.message import Body, BytesBody, RequestHead, ResponseHead, ignore_interim
from edgeproxy.settings import Upstream
from edgeproxy.telemetry.counters import Counter, Counters
from edgeproxy.upstream.client import Client, Exchange, Patience, Target
from tests.scripted import Ask, ScriptedOrigin

PATIENT = Patience(connect=10, first_byte=10, idle=10)
"""For tests that are not about time-outs."""

BRIEF = 0.05
"""Seconds of the one time-out that a test is about."""

LONGER = 0.3
"""Seconds of a time-out that must not pass, on a machine that is busy with other things."""

MiB = 1024 * 1024
BLOCK = b"x" * (64 * 1024)
ROOM = 24 * MiB
"""More than two kernels, their loopback and our buffers hold: whoever has sent more has not been held back."""

GUARD = 20.0
"""Seconds a test may take."""


class Asker:
    """An upstream client, its counters, and the target it asks unless told otherwise."""

    def __init__(self, target: Target, settings: Upstream) -> None:
        self.target = target
        self.counters = Counters()
        self.client = Client(settings, self.counters, time.perf_counter)
        self.patience = PATIENT

    def __getitem__(self, counter: Counter) -> int:
        return self.counters[counter]

    def waits(self, **times: float) -> None:
        """From now on with these seconds instead of plenty."""
        self.patience = replace(self.patience, **times)  # type: ignore[arg-type]  # attempts is given as a whole number

    async def ask(
        self,
        target: bytes = b"/",
        *fields: Field,
        method: str = "GET",
        body: Body | None = None,
        upgrade: bool = False,
        interim: Callable[[ResponseHead], None] = ignore_interim,
        to: Target | None = None,
    ) -> Exchange:
        """One exchange; returns when the final head is there."""
        request = RequestHead(method, target, b"a.test", Headers(fields))
        sent = BytesBody() if body is None else body
        return await self.client.exchange(
            to or self.target, request, sent, self.patience, interim=interim, upgrade=upgrade
        )

    async def get(self, target: bytes = b"/", method: str = "GET") -> bytes:
        """The body of the answer to a plain request."""
        return await read_all((await self.ask(target, method=method)).body)


@asynccontextmanager
async def asking(origin: ScriptedOrigin | Target, **settings: object) -> AsyncIterator[Asker]:
    """A client for this origin; on leaving it is closed, and no connection may be left open.

    What happens in between has a bound: a test that waits for what never comes fails.
    """
    target = origin if isinstance(origin, Target) else Target("127.0.0.1", origin.port)
    asker = Asker(target, Upstream.model_validate(settings))
    try:
        async with asyncio.timeout(GUARD):
            yield asker
    finally:
        await asker.client.close()
    assert asker[Counter.UPSTREAM_OPEN] == 0


async def read_all(body: Body) -> bytes:
    """A body to its end."""
    pieces = []
    while piece := await body.read():
        pieces.append(piece)
    return b"".join(pieces)


async def read_until_cut(body: Body) -> tuple[bytes, BodyAborted]:
    """What came of a body before it was cut, and how that was said. It is a failure when it ends well."""
    pieces = []
    try:
        while piece := await body.read():
            pieces.append(piece)
    except BodyAborted as cut:
        return b"".join(pieces), cut
    raise AssertionError("the body ended as if it were whole")


class Upload:
    """A body of many blocks that counts what was pulled; it can wait, and it can fail."""

    def __init__(self, blocks: int, *, length: bool = False, gate: asyncio.Event | None = None) -> None:
        self.length = blocks * len(BLOCK) if length else None
        self.trailers = Headers()
        self.pulled = 0
        self.fails: Exception | None = None
        self._left = blocks
        self._gate = gate

    async def read(self) -> bytes:
        if self._gate is not None and self.pulled:
            await self._gate.wait()
        if self.fails is not None:
            raise self.fails
        if not self._left:
            return b""
        self._left -= 1
        self.pulled += len(BLOCK)
        return BLOCK

    def close(self) -> None:
        raise AssertionError("the upstream client does not own the request's body")


async def begun(asker: Asker, origin: ScriptedOrigin, method: str = "GET") -> tuple[asyncio.Future[Exchange], Ask]:
    """A request that has reached the origin."""
    task = asyncio.ensure_future(asker.ask(method=method))
    return task, await origin.asked_for("/")


async def stalls(count: Callable[[], int]) -> int:
    """Waits until a number has not moved for many turns of the loop."""
    last, quiet = count(), 0
    while quiet < 2000:
        await asyncio.sleep(0)
        last, quiet = (last, quiet + 1) if count() == last else (count(), 0)
    return last


async def passes(seconds: float) -> None:
    """Time in which something must not happen."""
    over = asyncio.Event()
    asyncio.get_running_loop().call_later(seconds, over.set)
    await over.wait()
