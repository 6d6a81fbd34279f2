"""Large bodies and many viewers: memory that stays flat, ranges that cost no more than they must, one fetch for all.

Each function prints its figures and raises AssertionError when something does not hold.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

from tests.soak.load import MB, UNIT, Nodes, Origin, Taken, eventually, one_node, rss, take, two_tiers

SMALL_CACHE = '[cache]\nmemory = "64 MiB"\ndisk = "{disk} MiB"\n[log]\npath = "off"\n'


def say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def right(taken: Sequence[Taken]) -> None:
    """All of them got all of it, and nothing else."""
    bad = [each for each in taken if not each.whole or each.wrong]
    assert not bad, f"{len(bad)} of {len(taken)}: {bad[:3]}"


class Watch:
    """The largest RSS of some processes over what they had when it began."""

    def __init__(self, nodes: Nodes, name: str = "pop") -> None:
        self._pids = nodes.pids(name)
        self.idle = self.most = rss(self._pids)

    @property
    def grown(self) -> int:
        """Bytes."""
        return self.most - self.idle

    @contextlib.asynccontextmanager
    async def over(self) -> AsyncIterator[None]:
        """Look every 50 ms while the block runs."""
        task = asyncio.create_task(self._look())
        try:
            yield
        finally:
            task.cancel()
            self.most = max(self.most, rss(self._pids))

    async def _look(self) -> None:
        while True:
            self.most = max(self.most, rss(self._pids))
            await asyncio.sleep(0.05)


async def memory(viewers: int, megabytes: int, *, limit: int) -> tuple[int, int]:
    """RSS over idle of a worker while `viewers` stream as many objects of `megabytes` MB, and while they stream one."""
    size, disk = megabytes * MB, max(256, viewers * megabytes * 2)
    grown = []
    for what in ("many", "one"):
        with tempfile.TemporaryDirectory() as directory:
            async with (
                Origin() as origin,
                one_node(Path(directory), origin.port, SMALL_CACHE.format(disk=disk)) as nodes,
            ):
                await take(nodes.ports["pop"], "/warm/1000")
                watch, began = Watch(nodes), time.perf_counter()
                async with watch.over():
                    paths = [f"/{what}{number if what == 'many' else ''}/{size}" for number in range(viewers)]
                    # Every fifth reads slowly: what it has not read yet must not be held in memory for it.
                    taken = await asyncio.gather(
                        *(
                            take(nodes.ports["pop"], path, pause=0 if number % 5 else 0.01)
                            for number, path in enumerate(paths)
                        )
                    )
                seconds = time.perf_counter() - began
                assert all(each.whole and not each.wrong for each in taken), [each for each in taken if not each.whole][
                    :3
                ]
                assert sum(origin.requests.values()) == len(set(paths)) + 1
                say(
                    f"{viewers} viewers of {len(set(paths))} objects of {megabytes} MB: RSS {watch.grown / MB:.0f} MB "
                    f"over idle ({watch.idle / MB:.0f} MB), {viewers * size / seconds / MB:.0f} MB/s"
                )
                assert watch.grown < limit, f"{watch.grown / MB:.0f} MB"
                grown.append(watch.grown)
    return grown[0], grown[1]


async def through_tiers(megabytes: int, *, limit: int) -> None:
    """One object through POP and regional, every byte checked, memory flat."""
    size = megabytes * MB
    with tempfile.TemporaryDirectory() as directory:
        text = SMALL_CACHE.format(disk=megabytes * 2 + 256)
        async with Origin() as origin, two_tiers(Path(directory), origin.port, text) as nodes:
            watches = [Watch(nodes, name) for name in ("pop", "regional")]
            for turn in ("cold", "warm"):
                began = time.perf_counter()
                async with watches[0].over(), watches[1].over():
                    got = await take(nodes.ports["pop"], f"/big/{size}")
                assert got.whole
                assert not got.wrong
                seconds = time.perf_counter() - began
                grown = [watch.grown for watch in watches]
                say(
                    f"{megabytes} MB through two tiers, {turn} ({got.cache}): {size / seconds / MB:.0f} MB/s, RSS over "
                    f"idle: POP {grown[0] / MB:.0f} MB, regional {grown[1] / MB:.0f} MB"
                )
                assert max(grown) < limit
            assert sum(origin.requests.values()) == 1


async def ranges(gigabytes: int) -> None:
    """A hundred bytes of a large cold object, then the hundred next to them."""
    size = gigabytes * 1000 * MB
    with tempfile.TemporaryDirectory() as directory:
        async with Origin() as origin, one_node(Path(directory), origin.port, SMALL_CACHE.format(disk=512)) as nodes:
            path = f"/huge/{size}"
            cold = await take(nodes.ports["pop"], path, asked=(0, 99))
            assert (cold.status, cold.length, cold.wrong) == (206, 100, False)
            first = origin.sent[path]
            near = await take(nodes.ports["pop"], path, asked=(size // 2, size // 2 + 99))
            assert (near.status, near.length, near.wrong) == (206, 100, False)
            await eventually(lambda: origin.sent[path] - first >= 2 * UNIT)
            second = origin.sent[path] - first
            say(f"100 bytes of a cold object of {gigabytes} GB cost {first} bytes; 100 others {second} bytes")
            assert first <= 100 + 2 * UNIT
            assert second <= 100 + 3 * UNIT


async def herd(viewers: int, kilobytes: int) -> None:
    """Many viewers of one cold key over two workers, one of them hardly reading."""
    size = kilobytes * 1000
    with tempfile.TemporaryDirectory() as directory:
        async with (
            Origin() as origin,
            one_node(Path(directory), origin.port, SMALL_CACHE.format(disk=256), workers=2) as nodes,
        ):
            path = f"/herd/{size}"
            origin.release = asyncio.Event()
            slow = asyncio.create_task(take(nodes.ports["pop"], path, pause=3600))
            tasks = [asyncio.create_task(take(nodes.ports["pop"], path)) for _ in range(viewers)]
            await eventually(lambda: origin.requests[path] > 0)
            began = time.perf_counter()
            origin.release.set()
            taken = await asyncio.gather(*tasks)
            seconds = time.perf_counter() - began
            slow.cancel()
            right(taken)
            assert origin.requests[path] == 1, origin.requests
            say(
                f"{viewers} viewers of one cold key of {kilobytes} KB, 2 workers: 1 origin request, {seconds:.1f} s; "
                "the slowest is still waiting"
            )


def run(viewers: int, megabytes: int, big: int, herd_size: int) -> int:
    """All of it; the exit code."""

    async def everything() -> None:
        await memory(viewers, megabytes, limit=150 * MB)
        await through_tiers(big, limit=150 * MB)
        await ranges(10)
        await herd(herd_size, 2000)

    asyncio.run(everything())
    return 0
