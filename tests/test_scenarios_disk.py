"""A node with a disk: what is kept over a restart, large bodies, missing bytes, damaged bytes, a disk that fails."""

from __future__ import annotations

import asyncio
import errno
import os
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from edgeproxy.edge.page import SharedPage
from edgeproxy.settings import KiB, MiB
from edgeproxy.store.layer import Layer
from edgeproxy.telemetry.counters import Counter
from tests.scripted import Ask, ScriptedOrigin
from tests.tier import Node, node
from tests.wire import until

FRESH = {"Cache-Control": "max-age=60", "ETag": '"1"'}
LARGE = bytes(range(256)) * 4 * 5 * KiB  # 5 MiB
CACHE = {"disk": "64 MiB", "disk_shards": 4, "memory_object_max": "1 MiB", "disk_check_interval": 0.05}


@pytest_asyncio.fixture
async def origin() -> AsyncIterator[ScriptedOrigin]:
    async with ScriptedOrigin() as made:
        yield made


class Place:
    """Where a node leaves what it keeps, so that another one finds it."""

    def __init__(self, directory: Path, origin: ScriptedOrigin) -> None:
        self.directory = directory
        self.origin = origin

    def node(
        self, *, workers: int = 1, boot: bytes = b"one", layer: Layer | None = None, **settings: Any
    ) -> AbstractAsyncContextManager[Node]:
        page = SharedPage(workers, self.directory / "page", boot, os.urandom)
        given = {"cache": {**CACHE, **settings.pop("cache", {})}, **settings}
        return node(
            origin=self.origin.url,
            workers=workers,
            settings=given,
            page=page,
            directory=self.directory,
            layer=layer,
            apart=True,
        )


@pytest.fixture
def place(tmp_path: Path, origin: ScriptedOrigin) -> Place:
    return Place(tmp_path, origin)


def of(body: bytes, fields: dict[str, str] = FRESH) -> Callable[[Ask], Any]:
    """An origin that honours single ranges under If-Range."""

    async def answer(ask: Ask) -> None:
        asked = ask.header("Range")
        condition = ask.header("If-Range")
        if asked is None or "," in asked or (condition is not None and condition != fields.get("ETag")):
            await ask.answer(200, fields, body)
            return
        first, _, last = asked.removeprefix("bytes=").partition("-")
        start = int(first) if first else len(body) - int(last)
        end = min(int(last) + 1, len(body)) if first and last else len(body)
        named = {"Content-Range": f"bytes {start}-{end - 1}/{len(body)}"}
        await ask.answer(206, {**fields, **named}, body[start:end])

    return answer


async def settled(made: Node) -> None:
    """Nothing is on its way, neither from upstream nor to disk."""
    await until(lambda: not made.count(Counter.FILLS_OPEN))
    for worker in made.workers:
        assert worker.store.disk is not None
        assert await worker.store.disk.settled()


def sent(origin: ScriptedOrigin) -> list[str | None]:
    return [ask.header("Range") for ask in origin.log]


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("body", [b"", b"small", bytes(300 * KiB), LARGE], ids=["empty", "small", "middling", "large"])
async def test_what_was_stored_is_there_after_a_restart(
    place: Place, origin: ScriptedOrigin, body: bytes, workers: int
) -> None:
    origin.otherwise(of(body))
    async with place.node(workers=workers) as made:
        assert (await made.get("/a")).body == body
    async with place.node(workers=workers) as made:
        got = await made.get("/a")
        assert (got.status, got.body) == (200, body)
        assert "hit" in (got.header("Cache-Status") or "")
        part = await made.get("/a", {"Range": "bytes=-3"})
        assert part.body == body[-3:]
        assert (await made.head("/a")).header("Content-Length") == str(len(body))
        assert (await made.get("/a", {"If-None-Match": '"1"'})).status == 304
    assert origin.requests == 1


async def test_the_number_of_workers_may_change(place: Place, origin: ScriptedOrigin) -> None:
    origin.otherwise(of(b"kept"))
    async with place.node(workers=2) as made:
        for number in range(8):
            await made.ask(f"/{number}", worker=number % 2)
    async with place.node(workers=1) as made:
        for number in range(8):
            assert (await made.get(f"/{number}")).body == b"kept"
    assert origin.requests == 8


async def test_what_a_put_has_spoiled_stays_spoiled_over_a_restart(place: Place, origin: ScriptedOrigin) -> None:
    origin.otherwise(of(b"old"))
    async with place.node() as made:
        assert (await made.get("/a")).body == b"old"
        await made.ask("/a", body=b"new", method="PUT")
    origin.otherwise(of(b"new"))
    async with place.node() as made:
        assert (await made.get("/a")).body == b"new"


async def test_after_a_crash_of_the_machine_nothing_old_is_used(place: Place, origin: ScriptedOrigin) -> None:
    origin.otherwise(of(b"old"))
    async with place.node() as made:
        await made.get("/a")
    origin.otherwise(of(b"new"))
    async with place.node(boot=b"two") as made:
        assert (await made.get("/a")).body == b"new"


async def test_a_304_refreshes_both_tiers(place: Place, origin: ScriptedOrigin) -> None:
    origin.always(200, FRESH, b"body")
    async with place.node() as made:
        await made.get("/a")
        made.advance(61)
        origin.always(304, {**FRESH, "X-New": "1"})
        assert (await made.get("/a")).body == b"body"
        await settled(made)
        made.forget_everything()
        got = await made.get("/a")
        assert (got.body, got.header("X-New")) == (b"body", "1")
        assert origin.requests == 2


async def test_a_large_body_is_read_by_all_while_it_goes_to_disk(place: Place, origin: ScriptedOrigin) -> None:
    """A viewer that comes late, or reads slowly, gets what has left memory back from the disk."""
    async with place.node(fills={"window": "64 KiB"}) as made:
        async with await made.viewer() as slow:
            await slow.ask("/large")
            ask = await origin.asked_for("/large")
            ask.head(200, {**FRESH, "Content-Length": str(len(LARGE))})
            half = len(LARGE) // 2
            ask.send(LARGE[:half])
            late = [asyncio.create_task(made.get("/large")) for _ in range(3)]
            await ask.drain()
            ask.send(LARGE[half:])
            ask.done()
            for got in await asyncio.gather(*late):
                assert got.body == LARGE
            assert (await slow.read_head())[0] == 200
            assert await slow.read_body() == (LARGE, True)
        assert (await made.get("/large")).body == LARGE
        assert made.count(Counter.STORE_BYTES) < MiB
    assert origin.requests == 1


async def test_a_large_body_of_unknown_length_moves_on_to_disk(place: Place, origin: ScriptedOrigin) -> None:
    async def chunked(ask: Ask) -> None:
        ask.head(200, {**FRESH, "Transfer-Encoding": "chunked"})
        for start in range(0, len(LARGE), 64 * KiB):
            ask.chunk(LARGE[start : start + 64 * KiB])
            await ask.drain()
        ask.chunk(b"")

    origin.otherwise(chunked)
    async with place.node() as made:
        assert (await made.get("/large")).body == LARGE
        await settled(made)
        got = await made.get("/large")
        assert (got.body, got.header("Content-Length")) == (LARGE, str(len(LARGE)))
    async with place.node() as made:
        assert (await made.get("/large", {"Range": "bytes=1000000-1000009"})).body == LARGE[1000000:1000010]
    assert origin.requests == 1


async def test_missing_bytes_come_in_intervals(place: Place, origin: ScriptedOrigin) -> None:
    origin.otherwise(of(LARGE))
    async with place.node(fills={"interval": "512 KiB", "read_ahead": 1}) as made:
        assert (await made.get("/a", {"Range": "bytes=0-99"})).body == LARGE[:100]
        await settled(made)
        assert (await made.get("/a", {"Range": "bytes=200-299"})).body == LARGE[200:300]
        await settled(made)
        assert (await made.get("/a", {"Range": "bytes=300-1000000"})).body == LARGE[300:1000001]
        assert (await made.get("/a", {"Range": "bytes=-5"})).body == LARGE[-5:]
        await settled(made)
        assert sent(origin) == ["bytes=0-99", "bytes=100-1048575", "bytes=4718592-5242879"]
        whole = await made.get("/a")
        assert (whole.status, whole.body) == (200, LARGE)
        assert sent(origin)[3:] == ["bytes=1048576-4718591"]
        await settled(made)
    async with place.node() as made:
        assert (await made.get("/a")).body == LARGE
    assert origin.requests == 4


async def test_several_parts_are_fetched_one_by_one_and_shared(place: Place, origin: ScriptedOrigin) -> None:
    origin.otherwise(of(LARGE))
    async with place.node(fills={"interval": "64 KiB", "read_ahead": 0}) as made:
        got = await made.get("/a", {"Range": "bytes=0-1,1000000-1000001,-2"})
        assert got.status == 206
        for part in (LARGE[:2], LARGE[1000000:1000002], LARGE[-2:]):
            assert b"\r\n\r\n" + part + b"\r\n--" in got.body
        await settled(made)
        again = await made.get("/a", {"Range": "bytes=0-1,1000000-1000001,-2"})
        assert len(again.body) == len(got.body)
        assert origin.requests == 3


async def test_viewers_of_one_interval_share_its_fetch(place: Place, origin: ScriptedOrigin) -> None:
    async with place.node() as made:
        first = asyncio.create_task(made.get("/a", {"Range": "bytes=0-0"}))
        await of(LARGE)(await origin.asked_for("/a"))
        await first
        await settled(made)
        asking = [asyncio.create_task(made.get("/a", {"Range": f"bytes={10 * n}-{10 * n + 9}"})) for n in range(1, 21)]
        ask = await origin.asked_for("/a")
        await until(lambda: made.count(Counter.WAITS) >= 19)
        await of(LARGE)(ask)
        for number, got in enumerate(await asyncio.gather(*asking), 1):
            assert got.body == LARGE[10 * number : 10 * number + 10]
    assert origin.requests == 2


async def test_a_changed_validator_ends_the_old_parts_before_the_head(place: Place, origin: ScriptedOrigin) -> None:
    origin.otherwise(of(LARGE))
    other = LARGE[::-1]
    async with place.node() as made:
        await made.get("/a", {"Range": "bytes=0-99"})
        await settled(made)
        origin.otherwise(of(other, {**FRESH, "ETag": '"2"'}))
        got = await made.get("/a", {"Range": "bytes=50-149"})
        assert (got.status, got.body) == (206, other[50:150])
        assert (await made.get("/a")).body == other
        await settled(made)
        assert (await made.get("/a", {"Range": "bytes=0-9"})).body == other[:10]


async def test_a_changed_validator_cuts_what_is_being_sent(place: Place, origin: ScriptedOrigin) -> None:
    origin.otherwise(of(LARGE))
    async with place.node(fills={"interval": "64 KiB", "read_ahead": 0}) as made:
        for asked in ("bytes=0-99", "bytes=2000000-2000099"):
            await made.get("/a", {"Range": asked})
            await settled(made)
        changed = of(LARGE[::-1], {**FRESH, "ETag": '"2"'})

        async def once(ask: Ask) -> None:
            origin.otherwise(changed)
            await of(LARGE)(ask)

        origin.otherwise(once)
        got = await made.get("/a")
        assert got.cut
        assert LARGE.startswith(got.body)


async def test_a_fetch_that_nobody_reads_leaves_what_came_of_it(place: Place, origin: ScriptedOrigin) -> None:
    async with place.node(fills={"finish_remaining": 0}) as made:
        viewer = await made.viewer()
        await viewer.ask("/a")
        ask = await origin.asked_for("/a")
        ask.head(200, {**FRESH, "Content-Length": str(len(LARGE))})
        ask.send(LARGE[: 2 * MiB])
        await viewer.read_head()
        read = 0
        while read < 2 * MiB:
            read += len(await viewer.read())
        viewer.reset()
        await made.reaches(Counter.FILLS_STOPPED, 1)
        await ask.gone()
        await settled(made)
        origin.otherwise(of(LARGE))
        assert (await made.get("/a", {"Range": "bytes=0-9"})).body == LARGE[:10]
        assert origin.requests == 1
        assert (await made.get("/a")).body == LARGE
        assert (sent(origin)[1] or "").endswith(f"-{len(LARGE) - 1}")


def stored_files(place: Place) -> list[Path]:
    return sorted(path for path in (place.directory / "store").rglob("*") if path.is_file() and "files" in path.parts)


async def test_damaged_bytes_never_reach_a_viewer(place: Place, origin: ScriptedOrigin) -> None:
    """Found before the head it is a miss of those bytes; found later the rest comes from upstream."""
    origin.otherwise(of(LARGE))
    async with place.node() as made:
        await made.get("/a")
        await settled(made)
        (file,) = [path for path in stored_files(place) if path.stat().st_size >= len(LARGE)]
        for offset in (10, 3_000_000):
            with file.open("r+b") as body:
                body.seek(offset)
                body.write(b"\xee\xee\xee\xee")
            got = await made.get("/a")
            assert (got.status, got.body, got.cut) == (200, LARGE, False)
            await settled(made)
        assert origin.requests == 3
        assert made.count(Counter.BODIES_REROUTED) >= 1
        assert (await made.get("/a")).body == LARGE
        assert origin.requests == 3


async def test_without_a_strong_validator_damage_cuts_what_is_being_sent(place: Place, origin: ScriptedOrigin) -> None:
    origin.otherwise(of(LARGE, {"Cache-Control": "max-age=60"}))
    async with place.node() as made:
        await made.get("/a")
        await settled(made)
        (file,) = [path for path in stored_files(place) if path.stat().st_size >= len(LARGE)]
        with file.open("r+b") as body:
            body.seek(3_000_000)
            body.write(b"\xee\xee\xee\xee")
        got = await made.get("/a")
        assert got.cut
        assert LARGE.startswith(got.body)
        assert (await made.get("/a")).body == LARGE


async def test_what_the_disk_has_no_room_for_is_served_all_the_same(place: Place, origin: ScriptedOrigin) -> None:
    origin.otherwise(of(LARGE))
    async with place.node(cache={"disk": "4 MiB"}) as made:
        for _ in range(2):
            assert (await made.get("/a")).body == LARGE
        assert made.count(Counter.STORE_BYTES) < MiB
    assert origin.requests == 2


class Dying(Layer):
    """A disk that fails altogether, or answers nothing, once it is told to."""

    def __init__(self) -> None:
        self.dead = False
        self.stuck: threading.Event | None = None

    def _live(self) -> None:
        if self.stuck is not None:
            self.stuck.wait(30)
        if self.dead:
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    def write(self, descriptor: int, blocks: Sequence[bytes | memoryview], offset: int) -> None:
        self._live()
        super().write(descriptor, blocks, offset)

    def read(self, descriptor: int, size: int, offset: int) -> bytes:
        self._live()
        return super().read(descriptor, size, offset)

    def read_now(self, descriptor: int, size: int, offset: int) -> bytes | None:
        return None if self.dead or self.stuck is not None else super().read_now(descriptor, size, offset)


async def test_a_disk_that_dies_half_way_costs_nobody_a_byte(place: Place, origin: ScriptedOrigin) -> None:
    """Whoever is within the window reads on; whoever is behind it goes on by a range."""
    layer, huge = Dying(), LARGE * 5  # more than the system's socket buffers take
    async with place.node(layer=layer, fills={"window": "64 KiB"}) as made:
        slow, fast = await made.viewer(), await made.viewer()
        async with slow, fast:
            await slow.ask("/large")
            ask = await origin.asked_for("/large")
            origin.otherwise(of(huge))
            ask.head(200, {**FRESH, "Content-Length": str(len(huge))})
            await slow.read_head()
            await fast.ask("/large")
            await fast.read_head()
            ask.send(huge[: 20 * MiB])
            seen = b""
            while len(seen) < 20 * MiB:
                seen += await fast.read()
            layer.dead = True
            ask.send(huge[20 * MiB :])
            ask.done()
            rest = asyncio.create_task(fast.read_body())
            assert await slow.read_body() == (huge, True)
            body, whole = await rest
            assert (seen + body, whole) == (huge, True)
        assert made.count(Counter.BODIES_REROUTED) >= 1
        assert (await made.get("/large")).body == huge
    assert any(each is not None for each in sent(origin))


async def test_a_disk_that_hangs_holds_nobody_up(place: Place, origin: ScriptedOrigin) -> None:
    layer = Dying()
    origin.otherwise(of(LARGE))
    async with place.node(layer=layer, cache={"disk_timeout": 0.05}) as made:
        layer.stuck = threading.Event()
        try:
            for target in ("/a", "/b", "/a"):
                assert (await made.get(target)).body == LARGE
            assert (await made.get("/small/1", {"Range": "bytes=0-9"})).body == LARGE[:10]
        finally:
            layer.stuck.set()


async def test_a_disk_that_fails_is_done_without(place: Place, origin: ScriptedOrigin) -> None:
    layer = Dying()
    layer.dead = True
    origin.otherwise(of(b"small"))
    origin.on("/large", of(LARGE))
    async with place.node(layer=layer) as made:
        for target, body in (("/a", b"small"), ("/large", LARGE), ("/a", b"small"), ("/large", LARGE)):
            assert (await made.get(target)).body == body
        layer.dead = False


async def test_what_is_dropped_while_it_is_read_from_disk_does_not_come_back(
    place: Place, origin: ScriptedOrigin
) -> None:
    origin.otherwise(of(b"old"))
    async with place.node() as made:
        await made.get("/a")
        await settled(made)
        made.forget_everything()
        (worker,) = made.workers
        key = (await worker.contents.listed("*", 1, None))["entries"][0]["key"].encode()
        loading = asyncio.create_task(worker.store.load(key, 0))
        await asyncio.sleep(0)
        worker.store.drop(key)
        assert await loading == []
        assert (await worker.contents.listed("*", 1, None))["entries"] == []
