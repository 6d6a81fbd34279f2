"""Nothing that a finished request or a closed connection leaves behind is in a circle.

What is goes on taking memory until the cycle collector finds it, and the collector has to look through everything that
is stored to find it.
"""

from __future__ import annotations

import asyncio
import gc
from collections import Counter as Tally

import pytest

from edgeproxy.telemetry.counters import Counter
from tests.scripted import ScriptedOrigin, until
from tests.tier import Node, node, receive

ROUNDS, REQUESTS = 5, 3


async def served(origin: ScriptedOrigin) -> None:
    """Answers whatever is asked."""
    while True:
        ask = await origin.asked_for()
        await ask.answer(200, {"Cache-Control": "max-age=60"}, b"x" * 100)


async def viewed(running: Node, kind: str, salt: int) -> None:
    """Some connections with some requests each."""
    for number in range(ROUNDS):
        async with await running.viewer() as viewer:
            for request in range(REQUESTS):
                target = "/hit" if kind == "hit" else f"/{kind}-{salt}-{number}-{request}"
                method, body = ("POST", b"body") if kind == "post" else ("GET", b"")
                await viewer.ask(target, (), body, method=method, host="a.test")
                assert (await receive(viewer)).status == 200
    await until(lambda: not running.count(Counter.CONNECTIONS_OPEN) and not running.count(Counter.FILLS_OPEN))


def left_behind() -> Tally[str]:
    """What of ours only the collector could find, by its type."""
    gc.collect()
    found = Tally(f"{type(each).__module__}.{type(each).__qualname__}" for each in gc.garbage)
    gc.garbage.clear()
    return Tally({name: count for name, count in found.items() if name.startswith("edgeproxy.")})


@pytest.mark.parametrize("kind", ["hit", "miss", "post"])
async def test_requests_leave_nothing_to_the_cycle_collector(kind: str) -> None:
    async with ScriptedOrigin() as origin, node(origin=origin.url, settings={"log": {"path": "off"}}) as running:
        serving = asyncio.ensure_future(served(origin))
        await viewed(running, kind, 0)
        gc.collect()
        gc.disable()
        try:
            gc.set_debug(gc.DEBUG_SAVEALL)
            await viewed(running, kind, 1)
            for _ in range(20):  # what ends in the loop's next turns
                await asyncio.sleep(0)
            assert not left_behind()
        finally:
            gc.set_debug(0)
            gc.garbage.clear()
            gc.enable()
            serving.cancel()
