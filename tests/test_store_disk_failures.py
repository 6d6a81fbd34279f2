"""A disk that fails, fills, vanishes, forgets or lies: requests never notice more than a miss."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import random
import shutil
import sqlite3
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from edgeproxy.errors import Damaged, DiskFailed
from edgeproxy.headers import Headers
from edgeproxy.settings import MiB
from edgeproxy.store.disk import DiskStore
from edgeproxy.store.layer import Layer
from edgeproxy.telemetry.counters import Counter
from tests.disk import PLAIN, TERMS, bodies, disk, put, settings
from tests.disk_histories import VARIANTS, content, head_of, judge, killed, listed
from tests.messages import NOW
from tests.wire import until

LARGE = random.Random(3).randbytes(300_000)


class Failing(Layer):
    """A file layer that can be told to fail."""

    def __init__(self) -> None:
        self.error = 0
        self.reads_too = False
        self.slow: asyncio.Event | None = None

    def _fail(self) -> None:
        if self.error:
            raise OSError(self.error, os.strerror(self.error))

    def write(self, descriptor: int, blocks: Sequence[bytes | memoryview], offset: int) -> None:
        if self.error and blocks:
            super().write(descriptor, [bytes(blocks[0])[: len(blocks[0]) // 2]], offset)
        self._fail()
        super().write(descriptor, blocks, offset)

    def read(self, descriptor: int, size: int, offset: int) -> bytes:
        if self.reads_too:
            self._fail()
        return super().read(descriptor, size, offset)

    def read_now(self, descriptor: int, size: int, offset: int) -> bytes | None:
        if self.reads_too:
            self._fail()
        return super().read_now(descriptor, size, offset)


def counted(store: DiskStore, counter: Counter) -> int:
    store._pour()
    return store._counters[counter]


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EIO, errno.EROFS])
async def test_a_disk_that_cannot_be_written_is_off_for_a_while(
    tmp_path: Path, error: int, caplog: pytest.LogCaptureFixture
) -> None:
    layer = Failing()
    async with disk(tmp_path, layer=layer) as store:
        for key in (b"kept", b"dropped", b"replaced"):
            put(store, key, b"old")
        assert await bodies(store, b"replaced") == [b"old"]
        writer = store.begin(b"streamed", PLAIN, TERMS, len(LARGE))
        assert writer is not None
        layer.error = error
        with caplog.at_level(logging.WARNING):
            put(store, b"replaced", b"new")
            put(store, b"new", b"new")
            writer.write(0, LARGE)
            await writer.drained()
            assert await writer.commit(PLAIN, Headers(), TERMS) is None
            await until(lambda: counted(store, Counter.DISK_OFF) == 1)
            store.drop(b"dropped")
            put(store, b"later", b"new")
            assert store.begin(b"later", PLAIN, TERMS, 10) is None
            assert await bodies(store, b"kept") == [b"old"], "what is there can still be read"
            for key in (b"dropped", b"replaced", b"new", b"streamed"):
                assert await store.find(key, NOW) == [], key
            layer.error = 0
            await until(lambda: counted(store, Counter.DISK_OFF) == 0)
        assert ["off" in caplog.messages[0], "back" in caplog.messages[1], len(caplog.messages)] == [True, True, 2]
        assert counted(store, Counter.DISK_REFUSED_FAILED) > 0
        put(store, b"later", b"stored")
        assert await bodies(store, b"later") == [b"stored"]
        writer.abandon(keep=False)
        await until(lambda: store._queue.weight == 0)
        assert (store._space._promised, store._space._due) == (0, 0), "all of it was given back, once"
    async with disk(tmp_path) as store:
        for key, expected in ((b"kept", [b"old"]), (b"later", [b"stored"])):
            assert await bodies(store, key) == expected
        for key in (b"dropped", b"replaced", b"new", b"streamed"):
            assert await store.find(key, NOW) == [], key


async def test_a_disk_that_cannot_be_read_gives_misses(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    layer = Failing()
    async with disk(tmp_path, layer=layer) as store:
        put(store, b"small", b"x")
        put(store, b"large", LARGE)
        (large,) = await store.find(b"large", NOW)
        layer.error, layer.reads_too = errno.EIO, True
        assert await store.find(b"small", NOW) == []
        with pytest.raises(DiskFailed):
            await store.read(large, 0, 100)
        assert counted(store, Counter.DISK_FAILURES_READ) == 2
        layer.error = 0
        assert await bodies(store, b"small") == [b"x"]
        assert await bodies(store, b"large") == [LARGE]


async def test_a_disk_that_does_not_answer_is_not_waited_for(tmp_path: Path) -> None:
    held = asyncio.Event()
    loop = asyncio.get_running_loop()

    class Slow(Layer):
        stuck = False

        def read(self, descriptor: int, size: int, offset: int) -> bytes:
            if self.stuck:
                asyncio.run_coroutine_threadsafe(held.wait(), loop).result()
            return super().read(descriptor, size, offset)

    layer = Slow()
    async with disk(tmp_path, settings(disk_check_interval=50), layer=layer) as store:
        put(store, b"k", b"x")
        assert await bodies(store, b"k") == [b"x"]
        store._settings = settings(disk_timeout=0.05)
        layer.stuck = True
        assert await store.find(b"k", NOW) == []
        assert counted(store, Counter.DISK_SLOW) == 1
        assert await store.find(b"k", NOW) == [], "at once: the disk rests"
        assert counted(store, Counter.DISK_SLOW) == 1
        held.set()


async def test_a_folder_that_vanishes_and_comes_back(tmp_path: Path) -> None:
    home, away = tmp_path / "store", tmp_path / "away"
    async with disk(home) as store:
        put(store, b"k", b"old")
        put(store, b"l", b"old")
        assert await bodies(store, b"k") == await bodies(store, b"l") == [b"old"]
        home.rename(away)
        await until(lambda: counted(store, Counter.DISK_OFF) == 1)
        assert await store.find(b"k", NOW) == []
        store.drop(b"k")
        put(store, b"n", b"never stored")
        away.rename(home)
        await until(lambda: counted(store, Counter.DISK_OFF) == 0)
        assert await store.find(b"k", NOW) == []
        assert await bodies(store, b"l") == [b"old"]
        put(store, b"k", b"new")
        assert await bodies(store, b"k") == [b"new"]


async def test_a_folder_that_cannot_be_made_is_tried_again(tmp_path: Path) -> None:
    (tmp_path / "store").write_text("in the way")
    async with disk(tmp_path / "store") as store:
        put(store, b"k", b"x")
        assert await store.find(b"k", NOW) == []
        (tmp_path / "store").unlink()
        await until(lambda: counted(store, Counter.DISK_OFF) == 0)
        put(store, b"k", b"x")
        assert await bodies(store, b"k") == [b"x"]


async def test_too_many_removals_for_a_disk_that_is_off_cost_the_shard(tmp_path: Path) -> None:
    layer = Failing()
    async with disk(tmp_path, settings(disk_orders_max=10, disk_shards=1), layer=layer) as store:
        for number in range(8):
            put(store, b"%d" % number, b"x")
        assert await bodies(store, b"7") == [b"x"]
        layer.error = errno.EIO
        put(store, b"no", b"x")
        await until(lambda: counted(store, Counter.DISK_OFF) == 1)
        for _ in range(4):
            for number in range(7):
                store.drop(b"%d" % number)
            await until(lambda: store._queue.weight == 0)
        layer.error = 0
        await until(lambda: counted(store, Counter.DISK_WIPED) == 1 and counted(store, Counter.DISK_OFF) == 0)
        for number in range(8):
            assert await store.find(b"%d" % number, NOW) == []
        put(store, b"7", b"y")
        assert await bodies(store, b"7") == [b"y"]


def flip(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at % len(data)] ^= 0x10
    path.write_bytes(data)


def flip_many(path: Path, chance: random.Random) -> None:
    for _ in range(50):
        flip(path, chance.randrange(1 << 30))


def overwrite(path: Path, data: bytes) -> None:
    with open(path, "r+b") as file:
        file.write(data)


DAMAGE: dict[str, Callable[[Path, random.Random], object]] = {
    "flip": lambda path, chance: flip(path, chance.randrange(1 << 30)),
    "flip many": lambda path, chance: flip_many(path, chance),
    "truncate": lambda path, chance: os.truncate(path, path.stat().st_size * chance.randrange(100) // 100),
    "empty": lambda path, _: os.truncate(path, 0),
    "delete": lambda path, _: path.unlink(),
    "zeros": lambda path, _: path.write_bytes(bytes(path.stat().st_size)),
    "append": lambda path, chance: path.write_bytes(path.read_bytes() + chance.randbytes(100)),
}


async def filled(folder: Path) -> list[bytes]:
    """A closed store with some of everything."""
    keys = [b"key/%d" % number for number in range(40)]
    async with disk(folder, settings(disk_shards=1)) as store:
        for number, key in enumerate(keys):
            size = (10, 5_000, 60_000, 150_000)[number % 4]
            for variant in VARIANTS:
                data = content(key, number + 1, size)
                store.put(key, head_of(number + 1, size, variant), Headers(), TERMS, 0, [data], size)
        await store.find(keys[-1], NOW)
    return keys


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
@pytest.mark.parametrize("what", ["index.sqlite", "index.sqlite-wal", "segments/*", "files/*/*[0-9]", "files/*/*.log"])
@pytest.mark.parametrize("again", range(3))
async def test_damage_costs_misses_and_never_a_wrong_byte(
    tmp_path: Path, what: str, damage: Callable[[Path, random.Random], object], again: int
) -> None:
    chance = random.Random(f"{what} {again}")
    keys = await filled(tmp_path)
    hurt = sorted(path for path in (tmp_path / "v1" / "0").glob(what) if path.stat().st_size)
    for path in hurt if again == 2 else chance.sample(hurt, min(len(hurt), 3)):
        damage(path, chance)
    async with disk(tmp_path, settings(disk_shards=1)) as store:
        for _ in range(6):  # pieces of large bodies are given up one by one
            right, lost = await judge(store, keys)
        assert lost == 0
        for _ in range(10):  # and everything works on, though an index that is only now found broken begins anew
            await until(lambda: not store._writing.blind)
            for key in keys:
                put(store, key, content(key, 7, 100), head_of(7, 100, b"a"))
            right, lost = await judge(store, keys)
            if right >= len(keys):
                break
        assert (right >= len(keys), lost) == (True, 0)


async def test_damage_under_a_running_store(tmp_path: Path) -> None:
    keys = await filled(tmp_path)
    chance = random.Random(1)
    async with disk(tmp_path, settings(disk_shards=1)) as store:
        for _ in range(40):
            there = listed(tmp_path / "v1" / "0")
            path = chance.choice([path for path in there if path.name != "lock" and not path.name.endswith("-shm")])
            with tempfile.TemporaryDirectory() as other:  # replaced as a whole, so that no lock of SQLite's is lost
                copy = Path(other) / "copy"
                with suppress(FileNotFoundError):
                    shutil.copyfile(path, copy)
                    DAMAGE[chance.choice(["flip", "flip many", "truncate", "zeros"])](copy, chance)
                    overwrite(path, copy.read_bytes())
            await judge(store, keys)
            for key in chance.sample(keys, 5):
                put(store, key, content(key, 8, 200_000), head_of(8, 200_000, chance.choice(VARIANTS)))
        await judge(store, keys)


async def test_a_body_swapped_with_another_is_not_served(tmp_path: Path) -> None:
    async with disk(tmp_path, settings(disk_shards=1)) as store:
        for version in (1, 2):
            key = b"key/%d" % version
            put(store, key, content(key, version, 200_000), head_of(version, 200_000, b"a"))
        await store.find(b"key/2", NOW)
    folder = tmp_path / "v1" / "0" / "files"
    first, second = folder / "01" / "1", folder / "02" / "2"
    for suffix in ("", ".log"):
        one, two = first.with_name(first.name + suffix), second.with_name(second.name + suffix)
        one.rename(tmp_path / "aside")
        two.rename(one)
        (tmp_path / "aside").rename(two)
    async with disk(tmp_path, settings(disk_shards=1)) as store:
        assert await judge(store, [b"key/1", b"key/2"]) == (0, 0)


async def test_a_reader_of_a_body_that_leaves_is_told(tmp_path: Path) -> None:
    async with disk(tmp_path) as store:
        put(store, b"k", LARGE)
        (record,) = await store.find(b"k", NOW)
        assert await store.read(record, 0, 10) == LARGE[:10]
        store.drop(b"k")
        store.hurry()
        await until(lambda: store.stats().objects == 0)
        with pytest.raises(Damaged):
            await store.read(record, 0, 10)
        assert counted(store, Counter.DISK_DAMAGED) == 0


@contextmanager
def small_file_system(folder: Path, size: int) -> Iterator[Path]:
    """A file system of so many bytes."""
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder], check=False, capture_output=True
    )
    if mounted.returncode:
        pytest.skip("mounting a small file system needs privileges that this user lacks")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


async def test_a_full_file_system_holds_what_it_can(tmp_path: Path) -> None:
    keys = [b"key/%d" % number for number in range(300)]
    with small_file_system(tmp_path / "mounted", 24 * MiB) as folder:
        async with disk(folder, settings(disk=64 * MiB)) as store:
            for number, key in enumerate(keys):
                size = (10_000, 60_000, 150_000)[number % 3]
                put(store, key, content(key, number + 1, size), head_of(number + 1, size, b"a"))
                if number % 10 == 0:
                    await store.find(key, NOW)
            right, lost = await judge(store, keys)
            assert (right > 30, lost) == (True, 0)
            (folder / "somebody else").write_bytes(bytes(_free(folder)))
            for number, key in enumerate(keys):
                put(store, key, content(key, number + 900, 60_000), head_of(number + 900, 60_000, b"a"))
                await store.find(key, NOW)
            assert (await judge(store, keys))[1] == 0
            (folder / "somebody else").unlink()
            await until(lambda: counted(store, Counter.DISK_OFF) == 0)
            for number, key in enumerate(keys[:20]):
                put(store, key, content(key, number + 2000, 60_000), head_of(number + 2000, 60_000, b"a"))
                await store.find(key, NOW)
            right, lost = await judge(store, keys[:20])
            assert (right, lost) == (20, 0)


def _free(folder: Path) -> int:
    found = os.statvfs(folder)
    return found.f_bavail * found.f_frsize


async def test_a_broken_index_begins_anew_while_it_runs(tmp_path: Path) -> None:
    async with disk(tmp_path, settings(disk_shards=1)) as store:
        put(store, b"k", b"x")
        assert await bodies(store, b"k") == [b"x"]
        other = sqlite3.connect(tmp_path / "v1" / "0" / "index.sqlite", isolation_level=None)
        other.execute("DROP TABLE records")
        other.close()
        assert await store.find(b"k", NOW) == []
        await until(lambda: counted(store, Counter.DISK_WIPED) == 1)
        put(store, b"k", b"y")
        await until(lambda: store._queue.weight == 0)
        assert await bodies(store, b"k") == [b"y"]


@pytest.mark.parametrize("seed", range(2))
async def test_a_killed_process_loses_at_most_what_was_under_way(tmp_path: Path, seed: int) -> None:
    for life in range(3):
        right, _ = await killed(tmp_path, seed * 10 + life + 1, 5 + seed)
        assert right > 0


async def test_a_shard_that_begins_anew_under_its_writers_fails_them_alone(tmp_path: Path) -> None:
    async with disk(tmp_path, settings(disk_shards=1)) as store:
        put(store, b"k", b"x")
        writer = store.begin(b"streamed", PLAIN, TERMS, len(LARGE))
        assert writer is not None
        assert writer.write(0, LARGE[:100_000])
        assert await bodies(store, b"k") == [b"x"]
        other = sqlite3.connect(tmp_path / "v1" / "0" / "index.sqlite", isolation_level=None)
        other.execute("DROP TABLE records")
        other.close()
        store.drop(b"k")
        assert await store.find(b"k", NOW) == []
        await until(lambda: counted(store, Counter.DISK_WIPED) == 1)
        writer.write(100_000, LARGE[100_000:])
        await writer.drained()
        assert await writer.commit(PLAIN, Headers(), TERMS) is None
        put(store, b"k", b"y")
        await until(lambda: store._queue.weight == 0)
        assert await bodies(store, b"k") == [b"y"], "nobody waits for what was ordered before"
        assert counted(store, Counter.DISK_OFF) == 0
        assert await store.find(b"streamed", NOW) == []


async def test_a_file_that_somebody_removes_fails_its_writer_alone(tmp_path: Path) -> None:
    async with disk(tmp_path, settings(disk_shards=1, disk_files_max=16)) as store:
        writer = store.begin(b"k", PLAIN, TERMS, len(LARGE))
        assert writer is not None
        assert writer.write(0, LARGE[:100_000])
        await until(lambda: writer.readable(0) > 0)
        shutil.rmtree(tmp_path / "v1" / "0" / "files")
        for at in range(100_000, len(LARGE), 50_000):
            writer.write(at, LARGE[at : at + 50_000])
            await writer.drained()
        record = await writer.commit(PLAIN, Headers(), TERMS)
        assert record is None
        put(store, b"l", LARGE)
        assert await bodies(store, b"l") == [LARGE]
        assert counted(store, Counter.DISK_OFF) == 0


@pytest.mark.parametrize("suffix", ["", ".log"])
async def test_a_body_whose_file_somebody_removes_is_given_up(tmp_path: Path, suffix: str) -> None:
    async with disk(tmp_path, settings(disk_shards=1)) as store:
        put(store, b"k", LARGE)
        (record,) = await store.find(b"k", NOW)
        (tmp_path / "v1" / "0" / "files" / "01" / f"1{suffix}").unlink()
        if suffix:  # as if others had been read since
            store._writing.shards[0].bodies.forget(1)
        else:
            store._files.close()
        with pytest.raises(Damaged):
            await store.read(record, 0, 10)
        await until(lambda: store.stats().objects == 0)
        assert await store.find(b"k", NOW) == []
