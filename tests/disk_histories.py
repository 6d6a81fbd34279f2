"""Random histories of a disk store. Every body follows from its key and version, and the head names the version: so
whatever is found, in whatever state the disk is, can be judged by itself."""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import sys
import tempfile
from contextlib import suppress
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path

from edgeproxy.errors import DiskFailed
from edgeproxy.headers import Headers
from edgeproxy.outcome import StoredHead
from edgeproxy.settings import Cache, KiB, MiB
from edgeproxy.store.disk import DiskStore
from edgeproxy.store.memory import Terms
from edgeproxy.store.records import Record
from edgeproxy.telemetry.counters import Counter
from tests.disk import PLAIN, disk, settings
from tests.messages import NOW
from tests.wire import until

TERMS = Terms(NOW + 1000, 0)
SIZES = (0, 1, 700, 5_000, 64 * KiB, 64 * KiB + 1, 150_000, 400_000)
VARIANTS = (b"a", b"b")
_STOCK = random.Random(5).randbytes(1 << 20)


def content(key: bytes, version: int, size: int) -> bytes:
    """The bytes of one version of a body: no two versions share a stretch at the same place."""
    start = int.from_bytes(sha256(b"%s %d" % (key, version)).digest()[:2], "big")
    return (b"%s %d " % (key, version) + _STOCK[start:])[:size]


def head_of(version: int, size: int, variant: bytes, received_at: float = NOW) -> StoredHead:
    """A head that tells which body it belongs to."""
    fields = [(b"ETag", b'"%d"' % version), (b"Content-Length", b"%d" % size)]
    return replace(PLAIN, headers=Headers(fields), vary=((b"x-v", variant),), received_at=received_at)


def version_of(head: StoredHead) -> int:
    """The version that a head tells."""
    return int((head.headers.get(b"etag") or b"").strip(b'"'))


async def judged(store: DiskStore, record: Record) -> bool:
    """Whether all bytes of a record that are there were read and are right; False when some were given up."""
    size = int(record.head.headers.get(b"content-length") or b"-1")
    expected = content(record.key, version_of(record.head), size)
    assert record.length == size, record
    for first, end in record.intervals:
        at = first
        while at < end:
            try:
                data = await store.read(record, at, end)
            except DiskFailed:
                return False
            assert data == expected[at : at + len(data)], (record, at)
            assert data
            at += len(data)
    return True


async def judge(store: DiskStore, keys: list[bytes]) -> tuple[int, int]:
    """(records found and right, records given up)."""
    right = lost = 0
    for key in keys:
        for record in await store.find(key, NOW):
            assert record.key == key
            if await judged(store, record):
                right += 1
            else:
                lost += 1
    return right, lost


@dataclass
class Body:
    """What the model knows of a variant."""

    version: int
    size: int
    intervals: set[int] = field(default_factory=set)
    """Which hundredths of the body are there."""
    received_at: float = NOW


@dataclass
class History:
    """One store and the model beside it."""

    folder: Path
    chance: random.Random
    using: Cache
    keys: list[bytes]
    model: dict[tuple[bytes, bytes], Body] = field(default_factory=dict)
    version: int = 0
    copies: int = 0

    def part(self, body: Body) -> tuple[int, int]:
        """A range of a body, whole hundredths."""
        first, last = sorted(self.chance.sample(range(101), 2))
        body.intervals.update(range(first, last))
        return body.size * first // 100, body.size * last // 100

    async def step(self, store: DiskStore) -> None:
        """Something happens."""
        key, variant = self.chance.choice(self.keys), self.chance.choice(VARIANTS)
        body = self.model.get((key, variant))
        match self.chance.randrange(10):
            case 0 | 1 | 2 | 3:
                await self.put(store, key, variant)
            case 4:
                await self.stream(store, key, variant)
            case 5 | 6 if body is not None and body.size >= 1000:
                await self.extend(store, key, variant, body)
            case 7 if body is not None:
                body.received_at += 1
                head = head_of(body.version, body.size, variant, body.received_at)
                found = await self.find(store, key, variant)
                store.refresh(found or (key, head.vary), head, TERMS)
            case 8:
                store.remove((key, head_of(0, 0, variant).vary))
                self.model.pop((key, variant), None)
            case 9 if self.chance.random() < 0.3:
                store.drop(key)
                for name in VARIANTS:
                    self.model.pop((key, name), None)
            case _:
                await self.check(store, key)

    async def put(self, store: DiskStore, key: bytes, variant: bytes) -> None:
        self.version += 1
        body = self.model[key, variant] = Body(self.version, self.chance.choice(SIZES), set(range(100)))
        data = content(key, body.version, body.size)
        first, end = 0, body.size
        if body.size >= 1000 and self.chance.random() < 0.3:
            body.intervals.clear()
            first, end = self.part(body)
        head = head_of(body.version, body.size, variant)
        store.put(key, head, Headers(), TERMS, first, [data[first:end]], body.size)

    async def stream(self, store: DiskStore, key: bytes, variant: bytes) -> None:
        self.version += 1
        size = self.chance.choice(SIZES)
        head = head_of(self.version, size, variant)
        known = self.chance.random() < 0.7
        writer = store.begin(key, head, TERMS, size if known else None)
        assert writer is not None
        data = content(key, self.version, size)
        stop = size if self.chance.random() < 0.7 else size * self.chance.randrange(100) // 100
        for at in range(0, stop, 40_000):
            writer.write(at, data[at : min(at + 40_000, stop)])
            await writer.drained()
        if stop == size:
            assert await writer.commit(head, Headers(), TERMS) is not None
            self.model[key, variant] = Body(self.version, size, set(range(100)))
            return
        keep = self.chance.random() < 0.5
        writer.abandon(keep=keep)
        if keep and known and stop:
            self.model[key, variant] = Body(self.version, size, set(range(stop * 100 // size)))

    async def extend(self, store: DiskStore, key: bytes, variant: bytes, body: Body) -> None:
        found = await self.find(store, key, variant)
        assert found is not None, (key, variant, body)
        head = head_of(body.version, body.size, variant, body.received_at)
        writer = store.extend(found, head, TERMS)
        assert writer is not None
        first, end = self.part(body)
        data = content(key, body.version, body.size)
        for at in range(first, end, 50_000):
            writer.write(at, data[at : min(at + 50_000, end)])
        if self.chance.random() < 0.8:
            assert await writer.commit(head, Headers(), TERMS) is not None
        else:
            writer.abandon(keep=True)

    async def find(self, store: DiskStore, key: bytes, variant: bytes) -> Record | None:
        for record in await store.find(key, NOW):
            if record.head.vary == ((b"x-v", variant),):
                return record
        return None

    async def check(self, store: DiskStore, key: bytes) -> None:
        """What is found is what the model has, whole."""
        found = await store.find(key, NOW)
        names = {record.head.vary[0][1] for record in found}
        assert names == {name for name in VARIANTS if (key, name) in self.model}, key
        for record in found:
            body = self.model[key, record.head.vary[0][1] or b""]
            assert (version_of(record.head), record.head.received_at) == (body.version, body.received_at)
            assert await judged(store, record)
            assert record.whole or len(body.intervals) < 100 or body.size == 0
            for hundredth in body.intervals:
                middle = body.size * hundredth // 100
                assert body.size < 100 or any(start <= middle < end for start, end in record.intervals), hundredth

    async def look_at_a_copy(self) -> None:
        """A copy of the folder, made while it is written, is as good as what a crash leaves behind."""
        with tempfile.TemporaryDirectory() as other:
            await asyncio.to_thread(_copy, self.folder, Path(other) / "copy")
            async with disk(Path(other) / "copy", self.using) as store:
                right, _ = await judge(store, self.keys)
                self.copies += right


def _copy(folder: Path, to: Path) -> None:
    def tolerant(source: str, target: str) -> object:
        try:
            return shutil.copyfile(source, target)
        except FileNotFoundError:
            return target

    try:
        shutil.copytree(folder, to, copy_function=tolerant)
    except (shutil.Error, FileNotFoundError):
        return  # folders that went away meanwhile


async def history(folder: Path, seed: int, steps: int, lives: int, copies: int = 1) -> History:
    """Several lives of one store, each `steps` long, everything checked in the end of each."""
    chance = random.Random(seed)
    using = settings(disk=256 * MiB, disk_small_max=64 * KiB)
    made = History(folder, chance, using, [b"key/%d" % number for number in range(12)])
    for _ in range(lives):
        async with disk(folder, using) as store:
            for key in made.keys:
                await made.check(store, key)
            for step in range(steps):
                await made.step(store)
                if copies and step % (steps // copies) == steps // copies - 1:
                    await made.look_at_a_copy()
            for key in made.keys:
                await made.check(store, key)
    return made


# A process that writes until it is killed ---------------------------------------------------------------------


async def _write_for_ever(folder: Path, seed: int) -> None:
    """Says for some keys which versions of their variants are on disk now: older ones must never be found again."""
    chance = random.Random(seed)
    version = seed * 1_000_000
    async with disk(folder, settings(disk=24 * MiB)) as store:
        while True:
            last = []
            for _ in range(chance.randrange(1, 30)):
                version += 1
                key, variant, size = b"key/%d" % chance.randrange(60), chance.choice(VARIANTS), chance.choice(SIZES)
                head, data = head_of(version, size, variant), content(key, version, size)
                if chance.random() < 0.3:
                    writer = store.begin(key, head, TERMS, size)
                    if writer is not None:
                        for at in range(0, size, 30_000):
                            writer.write(at, data[at : at + 30_000])
                            await writer.drained()
                        await writer.commit(head, Headers(), TERMS)
                elif chance.random() < 0.1:
                    store.drop(key)
                else:
                    store.put(key, head, Headers(), TERMS, 0, [data], size)
                last.append(key)
            for key in last:
                found = await store.find(key, NOW)  # everything that was ordered about it is carried out by then
                versions = {each.head.vary[0][1]: version_of(each.head) for each in found}
                sys.stdout.write(" ".join([key.decode(), *(str(versions.get(name, 0)) for name in VARIANTS)]) + "\n")
            sys.stdout.flush()


def child(folder: str, seed: str) -> None:
    """The process."""
    asyncio.run(_write_for_ever(Path(folder), int(seed)))


async def killed(folder: Path, seed: int, lines: int, later: float = 0) -> tuple[int, int]:
    """Let a process write until it has said so many lines, and `later` seconds more; kill it; judge what is left.

    Returns (records found and right, files swept). What is on disk is what the index says, within a segment a shard.
    """
    program = f"from tests.disk_histories import child; child({str(folder)!r}, {str(seed)!r})"
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", program, stdout=asyncio.subprocess.PIPE)
    assert process.stdout is not None
    said = await _versions(process.stdout, lines)
    if later:
        with suppress(TimeoutError):
            async with asyncio.timeout(later):
                await process.wait()
    process.kill()
    said |= await _versions(process.stdout, None)
    await process.wait()
    keys = [b"key/%d" % number for number in range(60)]
    async with disk(folder, settings(disk=24 * MiB)) as store:
        right, lost = await judge(store, keys)
        assert lost == 0
        for key in keys:
            for record in await store.find(key, NOW):
                assert version_of(record.head) >= said.get((key, record.head.vary[0][1]), 0)
        await until(lambda: not store._writing._chores.waiting)
        taken = used(folder)
        assert abs(taken - store.stats().used) <= 4 * 512 * 1024
        store._pour()
        return right, store._counters[Counter.DISK_SWEPT]


async def _versions(output: asyncio.StreamReader, lines: int | None) -> dict[tuple[bytes, bytes | None], int]:
    """What a child says, so many lines of it or to its end."""
    said: dict[tuple[bytes, bytes | None], int] = {}
    while lines is None or lines > 0:
        line = await output.readline()
        if not line.endswith(b"\n"):
            assert lines is None, "it ended"
            return said
        key, *versions = line.split()
        said |= {(key, name): int(version) for name, version in zip(VARIANTS, versions, strict=True)}
        lines = None if lines is None else lines - 1
    return said


def listed(folder: Path) -> list[Path]:
    """All files below a folder that may change meanwhile."""
    return [Path(inside) / name for inside, _, names in os.walk(folder) for name in names]


def used(folder: Path) -> int:
    """Bytes of disk that a folder takes."""
    total = 0
    for path in listed(folder):
        with suppress(FileNotFoundError):
            total += path.stat().st_blocks * 512
    return total
