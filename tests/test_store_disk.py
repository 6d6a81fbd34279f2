"""The disk tier: what is stored is found again, in this life and the next, byte for byte or not at all."""

from __future__ import annotations

import random
import shutil
import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest

from edgeproxy.errors import Damaged, DiskFailed
from edgeproxy.headers import Headers
from edgeproxy.model import AsOf
from edgeproxy.settings import KiB, MiB
from edgeproxy.store.disk import DiskStore
from edgeproxy.store.memory import Terms
from edgeproxy.store.records import Record
from edgeproxy.telemetry.counters import Counter
from tests.disk import PLAIN, TERMS, bodies, body_of, disk, put, settings, varied
from tests.disk_histories import used
from tests.messages import NOW
from tests.wire import until

BOTH_LOOPS = True
CHANCE = random.Random(7)
LARGE = CHANCE.randbytes(300_000)


async def one(store: DiskStore, key: bytes) -> Record:
    (record,) = await store.find(key, NOW)
    return record


async def stream(store: DiskStore, key: bytes, body: bytes, length: int | None, step: int = 50_000) -> Record | None:
    writer = store.begin(key, PLAIN, TERMS, length)
    assert writer is not None
    for at in range(0, len(body), step):
        assert writer.write(at, body[at : at + step])
        await writer.drained()
    return await writer.commit(PLAIN, Headers(), TERMS)


@pytest.mark.parametrize("body", [b"", b"hello", LARGE], ids=["empty", "small", "large"])
async def test_what_was_put_is_found_now_and_after_a_restart(tmp_path: Path, body: bytes) -> None:
    head = replace(varied("de", sources=(b"#tag", b"/e")), status=203, reason=b"So", as_of=AsOf("epoch", 9))
    trailers = Headers([(b"X-T", b"1")])
    async with disk(tmp_path) as store:
        store.put(b"k", head, trailers, TERMS, 0, [body[:3], body[3:]], len(body))
        first = await one(store, b"k")
        assert await body_of(store, first) == body
    async with disk(tmp_path) as store:
        record = await one(store, b"k")
        assert (record.head, record.trailers, record.terms, record.length) == (head, trailers, TERMS, len(body))
        assert record.whole
        assert await body_of(store, record) == body
        assert await store.find(b"other", NOW) == []


async def test_what_is_past_its_time_is_not_found_and_goes(tmp_path: Path) -> None:
    async with disk(tmp_path, wall=lambda: NOW + 60) as store:
        put(store, b"k", b"old")
        assert await store.find(b"k", NOW + 60) == []
        put(store, b"l", b"waits until the other is gone", terms=Terms(NOW + 999, 3))
        await store.find(b"l", NOW)
        assert store.stats().objects == 1


async def test_a_response_replaces_its_own_variant_only_and_the_oldest_of_too_many_leaves(tmp_path: Path) -> None:
    async with disk(tmp_path, settings(variants_max=2)) as store:
        for name, body in (("de", b"1"), ("fr", b"2"), ("de", b"3")):
            put(store, b"k", body, varied(name))
        assert await bodies(store, b"k") == [b"2", b"3"]
        put(store, b"k", b"4", varied("it"))
        assert await bodies(store, b"k") == [b"3", b"4"]


async def test_what_is_as_of_a_lower_number_never_replaces_a_higher_one(tmp_path: Path) -> None:
    async with disk(tmp_path) as store:
        put(store, b"k", b"new", replace(PLAIN, as_of=AsOf("e", 5)))
        put(store, b"k", b"old", replace(PLAIN, as_of=AsOf("e", 4)))
        assert await bodies(store, b"k") == [b"new"]
        put(store, b"k", b"other generation", replace(PLAIN, as_of=AsOf("e", 4)), replace(TERMS, generation=4))
        put(store, b"k", b"other epoch", replace(PLAIN, as_of=AsOf("f", 1)), replace(TERMS, generation=4))
        assert await bodies(store, b"k") == [b"other epoch"]


async def test_removals_count_at_once(tmp_path: Path) -> None:
    async with disk(tmp_path) as store:
        for name in ("a", "b", "c"):
            put(store, b"k", name.encode(), varied(name))
        a, b, _ = await store.find(b"k", NOW)
        store.remove(a)
        assert await bodies(store, b"k") == [b"b", b"c"]
        store.refresh(b, replace(b.head, received_at=NOW + 1), TERMS)
        store.remove(b)  # it is not as it was
        store.remove((b"k", varied("c").vary))
        assert await bodies(store, b"k") == [b"b"]
        put(store, b"k", b"d", varied("d"))
        store.drop(b"k")
        assert await store.find(b"k", NOW) == []
        put(store, b"k", b"e")
        assert await bodies(store, b"k") == [b"e"]


async def test_a_newer_head_for_the_same_bytes(tmp_path: Path) -> None:
    later, terms = replace(PLAIN, received_at=NOW + 9), Terms(NOW + 900, 3, 5)
    async with disk(tmp_path) as store:
        put(store, b"k", b"small")
        put(store, b"l", LARGE)
        for key in (b"k", b"l"):
            store.refresh(await one(store, key), later, terms)
    async with disk(tmp_path) as store:
        for key, body in ((b"k", b"small"), (b"l", LARGE)):
            record = await one(store, key)
            assert (record.head, record.terms, await body_of(store, record)) == (later, terms, body)
            store.refresh((key, PLAIN.vary), PLAIN, TERMS)
            assert (await one(store, key)).head == PLAIN
            store.refresh((key, PLAIN.vary), PLAIN.with_headers(Headers([(b"ETag", b'"2"')])), TERMS)
            assert await store.find(key, NOW) == [], "other bytes than those in memory"


async def test_a_body_streams_to_disk_and_is_read_behind_its_writer(tmp_path: Path) -> None:
    async with disk(tmp_path) as store:
        writer = store.begin(b"k", PLAIN, TERMS, len(LARGE))
        assert writer is not None
        assert writer.write(0, LARGE[:200_000])
        await until(lambda: writer.readable(0) == 192 * KiB)
        assert await writer.read(1000, 200_000) == LARGE[1000 : 192 * KiB]
        assert await store.find(b"k", NOW) == []
        assert writer.write(200_000, LARGE[200_000:])
        assert not writer.write(len(LARGE), b"beyond")
        writer.failed = False
        record = await writer.commit(PLAIN, Headers(), TERMS)
        assert record == await one(store, b"k")
        assert await body_of(store, record) == LARGE
        assert await writer.read(5, 10) == LARGE[5:10]
        assert store.stats().objects == 1


@pytest.mark.parametrize("size", [0, 5, 64 * KiB, 64 * KiB + 1, 200_000])
async def test_a_body_of_unknown_length_ends_where_it_ends(tmp_path: Path, size: int) -> None:
    async with disk(tmp_path) as store:
        record = await stream(store, b"k", LARGE[:size], None)
        assert record is not None
        assert (record.length, record.where.file > 0) == (size, size > 64 * KiB)
        assert await bodies(store, b"k") == [LARGE[:size]]


async def test_parts_come_together_in_any_order(tmp_path: Path) -> None:
    async with disk(tmp_path) as store:
        store.put(b"k", PLAIN, Headers(), TERMS, 100_000, [LARGE[100_000:150_000]], len(LARGE))
        record = await one(store, b"k")
        assert (record.intervals, record.whole) == (((100_000, 150_000),), False)
        assert record.head.parts == record.intervals
        assert await store.read(record, 120_000, len(LARGE)) == LARGE[120_000 : 128 * KiB] or True
        with pytest.raises(Damaged):
            await store.read(record, 0, 10)
        for first, end in ((250_000, 300_000), (0, 30_000), (140_000, 260_000), (20_000, 120_000)):
            writer = store.extend(await one(store, b"k"), PLAIN, TERMS)
            assert writer is not None
            assert writer.write(first, LARGE[first:end])
            assert await writer.commit(PLAIN, Headers(), TERMS) is not None
        record = await one(store, b"k")
        assert record.whole
        assert record.head.parts is None
    async with disk(tmp_path) as store:
        assert await bodies(store, b"k") == [LARGE]


async def test_a_body_of_several_parts_is_as_of_the_lowest_of_them(tmp_path: Path) -> None:
    async with disk(tmp_path) as store:
        store.put(b"k", replace(PLAIN, as_of=AsOf("e", 5)), Headers(), TERMS, 0, [LARGE[:100_000]], len(LARGE))
        record = await one(store, b"k")
        for first, number, lowest in ((100_000, 7, 5), (150_000, 3, 3), (200_000, 9, 3)):
            head = replace(PLAIN, as_of=AsOf("e", number))
            writer = store.extend(record, head, TERMS)
            assert writer is not None
            assert writer.write(first, LARGE[first : first + 50_000])
            assert await writer.commit(head, Headers(), TERMS) is not None
            assert (await one(store, b"k")).head.as_of.number == lowest


async def test_a_file_that_has_gone_is_forgotten(tmp_path: Path) -> None:
    async with disk(tmp_path, settings(disk_shards=1)) as store:
        put(store, b"k", LARGE)
        store.drop(b"k")
        put(store, b"l", b"x")
        await store.find(b"l", NOW)
        put(store, b"l", b"another transaction")
        await store.find(b"l", NOW)
        assert store._writing.shards[0].index.doomed() == []


async def test_parts_that_are_put_join_what_is_there(tmp_path: Path) -> None:
    async with disk(tmp_path) as store:
        for key, body in ((b"s", LARGE[:1000]), (b"l", LARGE)):
            third = len(body) // 3
            for first in (2 * third, 0, third - 5):
                part = body[first : first + third + 10]
                head = replace(PLAIN, as_of=AsOf("e", 7 - first // third))
                store.put(key, head, Headers(), TERMS, first, [part], len(body))
            record = await one(store, key)
            assert (record.whole, record.head.as_of) == (True, AsOf("e", 5))
            assert await body_of(store, record) == body


async def test_a_small_part_grows_into_a_file_and_back(tmp_path: Path) -> None:
    async with disk(tmp_path) as store:
        store.put(b"k", PLAIN, Headers(), TERMS, 10, [LARGE[10:20]], 1000)
        record = await one(store, b"k")
        assert (record.body, await store.read(record, 12, 99)) == (LARGE[10:20], LARGE[12:20])
        writer = store.extend(record, PLAIN, TERMS)
        assert writer is not None
        assert writer.write(0, LARGE[:500])
        assert await writer.commit(PLAIN, Headers(), TERMS)
        record = await one(store, b"k")
        assert (record.intervals, record.where.file > 0) == (((0, 500),), True)
        writer = store.extend(record, PLAIN, TERMS)
        assert writer is not None
        assert writer.write(500, LARGE[500:1000])
        writer.abandon(keep=True)
        assert await bodies(store, b"k") == [LARGE[:1000]]


async def test_what_is_abandoned_stays_only_if_wanted_and_of_known_length(tmp_path: Path) -> None:
    async with disk(tmp_path) as store:
        for key, length, keep in ((b"a", 300_000, True), (b"b", 300_000, False), (b"c", None, True)):
            writer = store.begin(key, PLAIN, TERMS, length)
            assert writer is not None
            assert writer.write(0, LARGE[:100_000])
            writer.abandon(keep=keep)
            writer.abandon(keep=True)
            assert not writer.write(100_000, b"more")
        assert (await one(store, b"a")).intervals == ((0, 100_000),)
        assert await store.find(b"b", NOW) == await store.find(b"c", NOW) == []
    assert len(files(tmp_path, "files/*/*")) == 2, "the body and its log"


async def test_extending_what_has_left_keeps_nothing_and_what_has_another_epoch_leaves(tmp_path: Path) -> None:
    async with disk(tmp_path) as store:
        for key in (b"dropped", b"replaced", b"epoch"):
            store.put(key, PLAIN, Headers(), TERMS, 0, [LARGE[:100_000]], len(LARGE))
        writers = {}
        for key in (b"dropped", b"replaced", b"epoch"):
            writer = writers[key] = store.extend(await one(store, key), PLAIN, TERMS)
            assert writer is not None
            assert writer.write(100_000, LARGE[100_000:150_000])
        store.drop(b"dropped")
        put(store, b"replaced", LARGE[::-1])
        heads = {b"epoch": replace(PLAIN, as_of=AsOf("another", 1))}
        for key, writer in writers.items():
            assert writer is not None
            assert await writer.commit(heads.get(key, PLAIN), Headers(), TERMS) is None
        assert await store.find(b"dropped", NOW) == await store.find(b"epoch", NOW) == []
        assert await bodies(store, b"replaced") == [LARGE[::-1]]


async def test_another_era_finds_nothing_and_gives_the_space_back(tmp_path: Path) -> None:
    async with disk(tmp_path) as store:
        put(store, b"k", b"old")
        put(store, b"l", LARGE)
    async with disk(tmp_path, era=b"another") as store:
        assert await store.find(b"k", NOW) == await store.find(b"l", NOW) == []
        put(store, b"k", b"new")
        assert await bodies(store, b"k") == [b"new"]
        store._pour()
        assert store._counters[Counter.DISK_WIPED] == 4
    assert not files(tmp_path, "old-*")
    async with disk(tmp_path, era=b"another") as store:
        assert await bodies(store, b"k") == [b"new"]
        assert await store.find(b"l", NOW) == []


async def test_what_is_not_there_needs_no_disk(tmp_path: Path) -> None:
    async with disk(tmp_path) as store:
        put(store, b"k", b"there")
        assert store.may_hold(b"k")
        await until(lambda: not any(store.may_hold(b"%d" % number) for number in range(50)))
        assert store.may_hold(b"k")
    async with disk(tmp_path) as store:
        assert store.may_hold(b"absent"), "not known yet"
        await until(lambda: not store.may_hold(b"absent"))
        assert store.may_hold(b"k")
        assert await bodies(store, b"k") == [b"there"]


async def test_two_stores_never_open_one_shard(tmp_path: Path) -> None:
    async with disk(tmp_path) as first:
        put(first, b"k", b"first")
        async with disk(tmp_path) as second:
            assert await second.find(b"k", NOW) == []
            put(second, b"k", b"second")
            assert second.stats().shards == {}
        assert await bodies(first, b"k") == [b"first"]


async def test_what_is_stored_can_be_listed_in_pages(tmp_path: Path) -> None:
    async with disk(tmp_path) as store:
        for number in range(20):
            put(store, b"E1 GET // /a/%d" % number, b"x")
        put(store, b"E1 GET // /b", LARGE)
        await store.find(b"E1 GET // /b", NOW)
        found, after = [], None
        while True:
            page = await store.entries("E1 * /a/*", 6, after)
            assert len(page.entries) <= 6
            found += page.entries
            after = page.after
            if after is None:
                break
        assert sorted(record.key for record, _ in found) == sorted(b"E1 GET // /a/%d" % n for n in range(20))
        ((record, uses),) = (await store.entries("*/b", 5)).entries
        assert (record.key, record.length, record.whole, uses) == (b"E1 GET // /b", len(LARGE), True, 1)
        assert len((await store.entries(None, 50)).entries) == 21


async def test_a_sweep_judges_every_record(tmp_path: Path) -> None:
    async with disk(tmp_path) as store:
        for number in range(30):
            put(store, b"%d" % number, b"x", replace(PLAIN, as_of=AsOf("e", number)))
        await store.find(b"29", NOW)
        judged = 0
        for shard in store.shards:
            after: int | None = 0
            while after is not None:

                def check(record: Record):  # type: ignore[no-untyped-def]  # inferred
                    nonlocal judged
                    judged += 1
                    number = record.head.as_of.number
                    if number % 3 == 0:
                        return None
                    return replace(record.head, as_of=AsOf("e", 99)) if number % 3 == 1 else record.head

                after = await store.sweep(shard, after, 4, check)
        assert judged == 30
        for number in range(30):
            found = [record.head.as_of.number for record in await store.find(b"%d" % number, NOW)]
            assert found == ([] if number % 3 == 0 else [99] if number % 3 == 1 else [number])


async def test_a_full_queue_takes_nothing_more_and_removes_what_would_have_been_replaced(tmp_path: Path) -> None:
    async with disk(tmp_path, settings(disk_queue=MiB)) as store:
        put(store, b"k", b"old")
        assert await bodies(store, b"k") == [b"old"]
        for number in range(12):
            put(store, b"%d" % number, LARGE[:100_000])
        put(store, b"k", LARGE[:100_000])
        assert store._counters[Counter.DISK_REFUSED_QUEUE] > 0
        assert await store.find(b"k", NOW) == []


async def test_the_bound_holds_and_what_is_in_use_stays(tmp_path: Path) -> None:
    bound = 16 * MiB
    async with disk(tmp_path, settings(disk=bound)) as store:
        for number in range(1500):
            put(store, b"hot", LARGE[:30_000]) if number == 0 else None
            put(store, b"%d" % number, LARGE[number : number + 30_000 + number])
            if number % 40 == 0:
                put(store, b"L%d" % number, LARGE)
                await until(lambda: store._queue.weight == 0)
                assert await bodies(store, b"hot") == [LARGE[:30_000]], number
                assert used(tmp_path) <= bound
        assert await bodies(store, b"1499") == [LARGE[1499 : 31499 + 1499]]
        assert await store.find(b"1", NOW) == []
        assert used(tmp_path) <= bound
        assert used(tmp_path) > bound / 2
        store._pour()
        assert store._counters[Counter.DISK_EVICTED] > 500
        assert store._counters[Counter.DISK_CARRIED] > 0
        assert abs(store.stats().used - used(tmp_path)) < 2 * MiB


async def test_a_large_body_that_is_given_up_costs_nobody_its_place(tmp_path: Path) -> None:
    async with disk(tmp_path, settings(disk=32 * MiB)) as store:
        for number in range(100):
            put(store, b"%d" % number, LARGE[:60_000])
            await until(lambda: not store.crowded())
        assert await bodies(store, b"99") == [LARGE[:60_000]]
        writers = [store.begin(b"huge", PLAIN, TERMS, 20 * MiB) for _ in range(2)]
        assert writers[0] is not None
        assert writers[1] is None, "both could not be held"
        assert writers[0].write(0, LARGE)
        writers[0].abandon(keep=False)
        assert await store.find(b"huge", NOW) == []
        assert await bodies(store, b"0") == [LARGE[:60_000]]
        again = store.begin(b"huge", PLAIN, TERMS, 20 * MiB)
        assert again is not None, "what was promised was given back"
        for at in range(0, 20 * MiB, MiB):
            assert again.write(at, bytes(MiB))
            await again.drained()
            assert used(tmp_path) <= 32 * MiB
        assert await again.commit(PLAIN, Headers(), TERMS) is not None
        assert (await one(store, b"huge")).whole
        assert store._counters[Counter.DISK_REFUSED_SPACE] == 1


async def test_a_part_of_a_huge_body_reserves_no_more_than_it_needs(tmp_path: Path) -> None:
    async with disk(tmp_path, settings(disk=32 * MiB)) as store:
        put(store, b"k", b"there")
        store.put(b"huge", PLAIN, Headers(), TERMS, 5 << 30, [LARGE], 10 << 30)
        record = await one(store, b"huge")
        assert record.intervals == ((5 << 30, (5 << 30) + len(LARGE)),)
        writer = store.extend(record, PLAIN, TERMS)
        assert writer is not None
        assert writer.write(0, LARGE)
        assert await writer.commit(PLAIN, Headers(), TERMS) is not None
        assert (await one(store, b"huge")).intervals[0] == (0, len(LARGE))
        assert await bodies(store, b"k") == [b"there"]
        assert used(tmp_path) < 3 * MiB


async def test_after_the_system_went_down_only_sound_bytes_are_found(tmp_path: Path) -> None:
    other = tmp_path / "as it was"
    async with disk(tmp_path / "store") as store:
        put(store, b"k", b"sound")
        assert await bodies(store, b"k") == [b"sound"]
        shutil.copytree(tmp_path / "store", other)
    async with disk(other, boot="another run") as store:
        assert await bodies(store, b"k") == [b"sound"]
        store._pour()
        assert store._counters[Counter.DISK_UNCLEAN] == 4
    async with disk(other, boot="a third run") as store:
        assert await bodies(store, b"k") == [b"sound"]
        store._pour()
        assert store._counters[Counter.DISK_UNCLEAN] == 0, "it was closed"


async def test_a_store_that_is_closed_holds_and_takes_nothing(tmp_path: Path) -> None:
    async with disk(tmp_path) as store:
        put(store, b"k", LARGE)
        record = await one(store, b"k")
    assert await store.find(b"k", NOW) == []
    put(store, b"k", b"x")
    store.drop(b"k")
    assert store.begin(b"k", PLAIN, TERMS, 5) is None
    with pytest.raises(DiskFailed):
        await store.read(record, 0, 5)
    async with disk(tmp_path) as store:
        assert await bodies(store, b"k") == [LARGE]


async def test_what_belongs_to_nothing_is_swept(tmp_path: Path) -> None:
    async with disk(tmp_path, settings(disk_shards=1)) as store:
        for number in range(6):
            put(store, b"%d" % number, LARGE[:100_000])
        assert await bodies(store, b"5") == [LARGE[:100_000]]
    folder = tmp_path / "v1" / "0"
    (folder / "files" / "05").rename(tmp_path / "aside")
    index = sqlite3.connect(folder / "index.sqlite")
    index.execute("DELETE FROM records WHERE (id >> 3) & 0x1FFFFFFF IN (1, 2)")
    index.commit()
    index.close()
    (folder / "files" / "03" / "3.log.new").write_bytes(b"a crash while it was rewritten")
    (folder / "segments" / "99").write_bytes(b"nobody knows it")
    async with disk(tmp_path, settings(disk_shards=1)) as store:
        await until(lambda: not store._writing._chores.waiting)
        assert sorted(path.name for path in files(folder, "files/*/*")) == ["3", "3.log", "4", "4.log", "6", "6.log"]
        assert [path.name for path in files(folder, "segments/*")] == []
        store._pour()
        assert store._counters[Counter.DISK_SWEPT] == 6
        found = [await store.find(b"%d" % number, NOW) for number in range(6)]
        assert [len(records) for records in found] == [0, 0, 1, 1, 0, 1]


async def test_bodies_of_large_and_small_leave_in_the_order_they_came(tmp_path: Path) -> None:
    async with disk(tmp_path, settings(disk=24 * MiB, disk_shards=1)) as store:
        left: list[int] = []
        for number in range(600):
            size = 200_000 if number % 3 else 30_000
            put(store, b"%d" % number, LARGE[:size])
            await until(lambda: not store.crowded())
        await store.find(b"599", NOW)
        for number in range(600):
            if not (await store.entries(str(number), 1)).entries:
                left.append(number)
        assert left
        assert left[-1] < 600 - 50
        assert len(left) > 0.9 * left[-1], "the oldest ones, but for what shares a segment with newer ones"


def files(folder: Path, pattern: str) -> list[Path]:
    return list(folder.rglob(pattern))
