"""What a node keeps, under violence: killed at random moments, bytes damaged under it, a disk that is full.

Every byte that a viewer gets is checked. Each function prints its seed and its figures, and raises AssertionError when
something does not hold.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import tempfile
import time
from collections import Counter as Tally
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from tests.commands import status_of
from tests.soak.fill import say
from tests.soak.load import MB, Nodes, Origin, Taken, one_node, take

SIZES = (100, 3_000, 60_000, 300_000, 3_000_000)
CACHE = """[cache]
memory = "16 MiB"
memory_object_max = "1 MiB"
disk = "{disk} MiB"
disk_check_interval = 0.2
[log]
path = "off"
"""


class Crowd:
    """Viewers that ask for all kinds of things for ever, and remember how they fared."""

    def __init__(self, port: int, seed: int, *, names: int = 60) -> None:
        self.port = port
        self.outcomes: Tally[str] = Tally()
        self._chance = random.Random(seed)
        self._names = names
        self._tasks: list[asyncio.Task[None]] = []

    def begin(self, viewers: int) -> None:
        """Start them."""
        self._tasks = [asyncio.create_task(self._ask_on()) for _ in range(viewers)]

    async def end(self) -> None:
        """Stop them."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _ask_on(self) -> None:
        while True:
            got = await self.one()
            if not got.status:
                await asyncio.sleep(0.02)  # nobody listens just now

    async def one(self) -> Taken:
        """One request, judged."""
        chance = self._chance
        size = chance.choice(SIZES)
        path = f"/{chance.randrange(self._names)}/{size}"
        kind = chance.random()
        if kind < 0.3:
            first = chance.randrange(size)
            got = await take(self.port, path, asked=(first, min(size - 1, first + chance.randrange(1, size))))
        elif kind < 0.4:
            got = await take(self.port, path, most=size // 2)
        else:
            got = await take(self.port, path)
        assert not got.wrong, f"wrong bytes of {path}: {got}"
        outcome = "unanswered" if not got.status else "whole" if got.whole else "left" if 0.3 <= kind < 0.4 else "cut"
        self.outcomes[outcome if got.status in (0, 200, 206) else str(got.status)] += 1
        return got


async def kills(rounds: int, seed: int, *, workers: int = 2) -> None:
    """A worker, or the whole node, is killed at random moments under mixed load. What is there after it is right."""
    chance, hits = random.Random(seed), 0
    with tempfile.TemporaryDirectory() as directory:
        async with Origin() as origin:
            number = 0
            while number < rounds:
                async with one_node(Path(directory), origin.port, CACHE.format(disk=256), workers=workers) as nodes:
                    crowd = Crowd(nodes.ports["pop"], seed + number)
                    crowd.begin(16)
                    for _ in range(chance.randrange(1, 8)):
                        await asyncio.sleep(chance.uniform(0.05, 0.4))
                        number += 1
                        victims = nodes.pids("pop")
                        if victims:
                            os.kill(chance.choice(victims), signal.SIGKILL)
                    await asyncio.sleep(chance.uniform(0.05, 0.4))
                    number += 1
                    running = nodes.running["pop"]
                    hits += crowd.outcomes["whole"]
                    children = nodes.pids("pop")
                    running.process.kill()
                    for pid in children:
                        with contextlib.suppress(ProcessLookupError):
                            os.kill(pid, signal.SIGKILL)
                    await crowd.end()
                    _check(crowd)
                    await running.process.wait()
            async with one_node(Path(directory), origin.port, CACHE.format(disk=256), workers=workers) as nodes:
                crowd = Crowd(nodes.ports["pop"], seed - 1)
                for _ in range(200):
                    got = await crowd.one()
                    assert got.status in (200, 206), got
                used, said = await _settled(nodes, Path(directory))
            say(
                f"seed {seed}: {number} kills, {hits} bodies right meanwhile, none wrong; disk {used / MB:.1f} MB, the "
                f"index says {said / MB:.1f} MB"
            )


def _check(crowd: Crowd) -> None:
    for task in crowd._tasks:
        if task.done() and not task.cancelled() and (error := task.exception()) is not None:
            raise error


async def _settled(nodes: Nodes, directory: Path) -> tuple[int, int]:
    """Bytes of the files, and what the node says, once they agree or have had time to."""
    deadline = time.monotonic() + 20
    while True:
        said = (await status_of(nodes.admins["pop"]))["counters"]["edgeproxy_disk_bytes"]
        store = directory / "data" / "nodes" / "pop" / "store"
        used = sum(path.stat().st_blocks * 512 for path in store.rglob("*") if path.is_file())
        if abs(used - said) <= 0.2 * used + 4 * MB or time.monotonic() > deadline:
            assert abs(used - said) <= 0.2 * used + 4 * MB, (used, said)
            return used, said
        await asyncio.sleep(0.2)


async def corruption(rounds: int, seed: int) -> None:
    """Files are flipped, cut, deleted and replaced under load: never a wrong byte."""
    chance, damages = random.Random(seed), Tally[str]()
    with tempfile.TemporaryDirectory() as directory:
        async with (
            Origin() as origin,
            one_node(Path(directory), origin.port, CACHE.format(disk=256), workers=2) as nodes,
        ):
            crowd = Crowd(nodes.ports["pop"], seed, names=30)
            crowd.begin(16)
            store = Path(directory) / "data" / "nodes" / "pop" / "store"
            while sum(damages.values()) < rounds:
                await asyncio.sleep(0.02)
                files = [path for path in store.rglob("*") if path.is_file() and "sqlite" not in path.name]
                if len(files) > 8:
                    damages[_damage(chance.choice(files), files, chance)] += 1
                _check(crowd)
            await crowd.end()
            _check(crowd)
            counters = (await status_of(nodes.admins["pop"]))["counters"]
            damaged = counters['edgeproxy_disk_left_total{reason="damaged"}']
            say(f"seed {seed}: {dict(damages)}; answers {dict(crowd.outcomes)}; given up as damaged: {damaged}")
            assert not [outcome for outcome in crowd.outcomes if outcome not in ("whole", "left", "cut")]


def _damage(path: Path, others: list[Path], chance: random.Random) -> str:
    kind = chance.choice(("flip", "flip", "flip", "truncate", "delete", "replace"))
    with contextlib.suppress(OSError):
        size = path.stat().st_size
        if kind == "flip" and size:
            with path.open("r+b") as file:
                file.seek(chance.randrange(size))
                file.write(chance.randbytes(min(8, size)))
        elif kind == "truncate" and size:
            os.truncate(path, chance.randrange(size))
        elif kind == "delete":
            path.unlink()
        elif kind == "replace":
            path.write_bytes(chance.choice(others).read_bytes())
    return kind


@asynccontextmanager
async def small_disk(megabytes: int) -> AsyncIterator[Path]:
    """A file system of its own, of this size. Needs root."""
    with tempfile.TemporaryDirectory() as place:
        await _command("mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", place)
        try:
            yield Path(place)
        finally:
            await _command("umount", "-l", place)


async def _command(*words: str) -> None:
    process = await asyncio.create_subprocess_exec(*words)
    assert await process.wait() == 0, words


async def full_disk(requests: int, seed: int, *, megabytes: int = 24) -> None:
    """The file system is smaller than the bound: every request succeeds all the same."""
    async with small_disk(megabytes) as place, Origin() as origin:
        async with one_node(place, origin.port, CACHE.format(disk=256)) as nodes:
            crowd = Crowd(nodes.ports["pop"], seed, names=200)
            for _ in range(requests // 16):
                taken = await asyncio.gather(*(crowd.one() for _ in range(16)))
                assert all(each.status in (200, 206) for each in taken), taken
            free = os.statvfs(place)
            say(
                f"seed {seed}: {requests} requests on a disk of {megabytes} MiB, "
                f"{free.f_bavail * free.f_frsize / MB:.1f} MB free at the end: {dict(crowd.outcomes)}"
            )
            assert set(crowd.outcomes) <= {"whole", "left"}
        async with one_node(place, origin.port, CACHE.format(disk=256)) as nodes:
            crowd = Crowd(nodes.ports["pop"], seed, names=200)
            for _ in range(50):
                assert (await crowd.one()).status in (200, 206)


async def restart(objects: int) -> None:
    """Many small objects: how long until the node is ready again, and whether it still has them."""
    text = CACHE.format(disk=max(256, objects // 200))
    with tempfile.TemporaryDirectory() as directory:
        async with Origin() as origin:
            paths = [f"/{number}/700" for number in range(objects)]
            async with one_node(Path(directory), origin.port, text, workers=2) as nodes:
                for start in range(0, objects, 32):
                    await asyncio.gather(*(take(nodes.ports["pop"], path) for path in paths[start : start + 32]))
            before, began = sum(origin.requests.values()), time.perf_counter()
            async with one_node(Path(directory), origin.port, text, workers=2) as nodes:
                ready = time.perf_counter() - began
                chance = random.Random(objects)
                for path in chance.sample(paths, min(500, objects)):
                    got = await take(nodes.ports["pop"], path)
                    assert got.whole
                    assert not got.wrong
            lost = sum(origin.requests.values()) - before
            asked = min(500, objects)
            say(f"{objects} objects: ready {ready:.2f} s after the command, {asked - lost} of {asked} still there")
            assert lost <= min(500, objects) // 50


def run(rounds: int, damages: int, requests: int, objects: int, seed: int) -> int:
    """All of it; the exit code."""

    async def everything() -> None:
        await restart(objects)
        await kills(rounds, seed)
        await corruption(damages, seed)
        if os.geteuid() == 0:
            await full_disk(requests, seed)

    asyncio.run(everything())
    return 0
