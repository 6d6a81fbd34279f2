"""The disk tier's long searches: processes killed while they write, damaged files, a million objects at a restart.

Each prints its seed and its figure, and raises AssertionError when something does not hold.
"""

from __future__ import annotations

import asyncio
import random
import resource
import subprocess
import sys
import tempfile
from pathlib import Path
from time import perf_counter

from edgeproxy.headers import Headers
from edgeproxy.settings import Cache, GiB, MiB
from edgeproxy.store.disk import DiskStore
from edgeproxy.store.memory import Terms
from edgeproxy.store.records import shard_of
from edgeproxy.telemetry.counters import Counter, Counters
from tests.disk import disk, settings
from tests.disk_histories import VARIANTS, content, head_of, history, judge, killed, listed
from tests.messages import NOW, stored
from tests.wire import until

SMALL = 1000
TERMS = Terms(NOW + 1e6, 0)


async def kills(seed: int, rounds: int) -> None:
    """One folder through all of it: what each life leaves behind, the next one finds."""
    chance = random.Random(seed)
    right = swept = 0
    with tempfile.TemporaryDirectory() as folder:
        for number in range(rounds):
            # Some are killed while they open, most at any moment of their work.
            lines = chance.choice((0, 0, 1, 2, 5, 20))
            found, files = await killed(Path(folder), seed * 1000 + number, lines, chance.random() * 0.2)
            right, swept = right + found, swept + files
    _say(f"kill -9, {rounds} times: {right} responses found and right, none wrong, {swept} orphans swept", seed)


async def damages(seed: int, rounds: int) -> None:
    """Files are damaged while a store runs and between its lives."""
    chance = random.Random(seed)
    keys = [b"key/%d" % number for number in range(100)]
    right = lost = wiped = version = 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for number in range(rounds):
            async with disk(folder, settings(disk_shards=2)) as store:
                for _ in range(10):
                    for key in chance.sample(keys, 10):
                        version += 1
                        size = chance.choice((10, 3_000, 60_000, 200_000))
                        head = head_of(version, size, chance.choice(VARIANTS))
                        store.put(key, head, Headers(), TERMS, 0, [content(key, version, size)], size)
                    _damage(folder, chance)
                    found, given_up = await judge(store, keys)
                    right, lost = right + found, lost + given_up
                store._pour()
                wiped += store._counters[Counter.DISK_WIPED]
            if number % 2:
                _damage(folder, chance)
    _say(f"damage, {rounds * 11} files: {right} found and right, none wrong, {lost} given up, {wiped} begun anew", seed)


def _damage(folder: Path, chance: random.Random) -> None:
    """Something happens to one of the files."""
    there = [path for path in listed(folder) if not path.name.endswith(("lock", "-shm"))]
    path = chance.choice(there)
    try:
        data = bytearray(path.read_bytes())
        match chance.randrange(5):
            case 0:
                path.unlink()
            case 1:
                with path.open("r+b") as file:
                    file.truncate(len(data) * chance.randrange(100) // 100)
            case 2:
                path.write_bytes(chance.choice(there).read_bytes())
            case _:
                for _ in range(chance.choice((1, 50))):
                    if data:
                        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
                with path.open("r+b") as file:
                    file.write(data)
    except FileNotFoundError:
        return


def _store(folder: Path, objects: int) -> DiskStore:
    using = Cache(disk=max(4 * GiB, objects * 4096), disk_queue=256 * MiB)
    return DiskStore(folder, range(16), using, b"era", "boot", Counters(), lambda: NOW, perf_counter)


async def _fill(folder: Path, objects: int) -> None:
    store = _store(folder, objects)
    await store.start()
    head = stored("Cache-Control: max-age=60", 'ETag: "1"', "Content-Type: text/html", "Content-Length: 1000")
    for number in range(objects):
        key = b"E1ABC GET // /some/path/%d" % number
        store.put(key, head, Headers(), TERMS, 0, (body(number),), SMALL)
        if number % 1000 == 999:
            await store.find(key, NOW)
    await store.close(60)


async def _reopen(folder: Path, objects: int) -> None:
    memory = _resident()
    store = _store(folder, objects)
    began = perf_counter()
    await store.start()
    ready = perf_counter() - began
    chance = random.Random(1)
    for number in chance.sample(range(objects), 100):
        (record,) = await store.find(b"E1ABC GET // /some/path/%d" % number, NOW)
        assert record.body == body(number)
    served = perf_counter() - began
    assert store.stats().objects == objects
    async with asyncio.timeout(600):
        # One key of each shard: its filter is there once it says no to some of many keys that are absent.
        asked = [[b"absent %d" % n for n in range(2000) if shard_of(b"absent %d" % n, 16) == m] for m in range(16)]
        await until(lambda: all(not all(map(store.may_hold, keys)) for keys in asked))
    filled = perf_counter() - began
    wrong = sum(store.may_hold(b"absent %d" % number) for number in range(100_000))
    grown = (_resident() - memory) / MiB
    sys.stdout.write(
        f"restart with {objects} objects: ready in {ready:.3f} s, 100 old ones served in {served:.3f} s; "
        f"filters filled after {filled:.1f} s; {wrong / 1000:.2f} % of absent keys looked for in vain; "
        f"{grown:.0f} MiB more memory\n"
    )
    await store.close()
    assert ready < 2


def body(number: int) -> bytes:
    """The bytes of an object of the large cache."""
    return (b"%d " % number * SMALL)[:SMALL]


def _resident() -> int:
    """Bytes of memory this process has."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def restart(objects: int) -> None:
    """Filled by one process, opened by another."""
    with tempfile.TemporaryDirectory() as folder:
        for work in ("_fill", "_reopen"):
            call = f"asyncio.run(disk.{work}(Path({folder!r}), {objects}))"
            program = f"import asyncio; from pathlib import Path; from tests.soak import disk; {call}"
            subprocess.run([sys.executable, "-c", program], check=True)


async def histories(seed: int, count: int) -> None:
    """Stores beside their models."""
    for number in range(count):
        with tempfile.TemporaryDirectory() as folder:
            made = await history(Path(folder), seed + number, steps=300, lives=4, copies=2)
            assert made.copies
    _say(f"{count} histories of 1200 steps, each as its model", seed)


def _say(figure: str, seed: int) -> None:
    sys.stdout.write(f"{figure} (seed {seed})\n")
    sys.stdout.flush()


def run(seed: int, kill_rounds: int, damage_rounds: int, objects: int, history_count: int) -> int:
    """All of them."""
    asyncio.run(kills(seed, kill_rounds))
    asyncio.run(damages(seed, damage_rounds))
    asyncio.run(histories(seed, history_count))
    restart(objects)
    return 0
