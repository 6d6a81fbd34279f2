"""Life in a child process: its event loop, and the orders of its parent."""

from __future__ import annotations

import asyncio
import gc
import os
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import uvloop

from edgeproxy.sources import Sources
from edgeproxy.supervisor import Channel, Message

ORPHAN_SECONDS = 5.0
"""What a child whose parent has died may take to end."""
COLLECT_AFTER = (20_000, 5, 1_000)
"""When the cycle collector looks at its three generations (gc.set_threshold). What is stored is no garbage, and there
may be millions of objects of it: with Python's defaults a miss costs half as much again for looking through them. Young
objects are looked at every 20,000, those that outlive five such looks with them, and the old ones hardly ever: nothing
that a finished request or a closed connection leaves behind should need it."""


def run_loop(main: Coroutine[Any, Any, int]) -> int:  # Any: what a coroutine yields and is sent is the loop's business
    """Run a child's life on uvloop; its exit code."""
    gc.set_threshold(*COLLECT_AFTER)
    return uvloop.run(main)


def obey(channel: Channel, orders: asyncio.Queue[Message | None]) -> None:
    """Put what the parent says into a queue, None when it is gone."""
    loop = asyncio.get_running_loop()

    def readable() -> None:
        messages = channel.receive()
        if messages is None:
            loop.remove_reader(channel.fileno())
            orders.put_nowait(None)
            # Nobody is left who would kill a process that cannot end.
            loop.call_later(ORPHAN_SECONDS, os._exit, 1)
            return
        for message in messages:
            orders.put_nowait(message)

    loop.add_reader(channel.fileno(), readable)


async def _ignored(_: Sources) -> None:
    """A child that no configuration concerns."""


async def until_told(channel: Channel, reload: Callable[[Sources], Awaitable[None]] = _ignored) -> None:
    """Say that we are ready, take new configurations, and wait for the order to stop, or for the parent's end."""
    orders: asyncio.Queue[Message | None] = asyncio.Queue()
    obey(channel, orders)
    channel.send({"ready": True})
    while (order := await orders.get()) is not None and order["do"] != "drain":
        if order["do"] == "reload":
            await reload(Sources.from_json(order["sources"]))
