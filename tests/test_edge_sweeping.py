"""The sweep takes away what was invalidated, lifts everything else, and is done in small steps."""

from __future__ import annotations

import asyncio
from pathlib import Path

from edgeproxy.edge.invalidation import Ledger
from edgeproxy.edge.page import SharedPage
from edgeproxy.edge.sweeping import STEP, Sweeper, checked
from edgeproxy.feed import Invalidated
from edgeproxy.headers import Headers
from edgeproxy.model import AsOf
from edgeproxy.outcome import StoredHead
from edgeproxy.rules.floors import Floors
from edgeproxy.store.memory import MemoryStore, Terms
from edgeproxy.telemetry.counters import Counter, Counters
from tests.disk import disk
from tests.messages import NOW
from tests.wire import until


class Place:
    """A store and what is known of invalidations."""

    def __init__(self) -> None:
        self.counters = Counters()
        self.store = MemoryStore(1 << 24, 1 << 20, 8, self.counters)
        self.page = SharedPage(1)
        self.ledger = Ledger(self.page, Floors("e", 1000))
        self.page.stand(0, quarantined=False)

    def keep(self, path: str, number: int = 0, *, epoch: str = "e", sources: tuple[bytes, ...] = ()) -> bytes:
        """Store something under a path; its key."""
        key = b"E1 GET // " + path.encode()
        writer = self.store.begin(key, 1)
        assert writer is not None
        writer.append(b"x")
        head = StoredHead(200, b"", Headers(), 0.0, 0.0, AsOf(epoch, number), sources=sources)
        assert writer.commit(head, Headers(), Terms(1e12, 0))
        return key

    def invalidate(self, number: int, *paths: str, tags: tuple[str, ...] = (), soft: bool = False) -> None:
        """Apply an invalidation."""
        self.ledger.take("e", number, 0, [Invalidated(number, "I", "E1", paths, tags, soft)])
        self.page.stand(number, quarantined=False)

    def as_of(self, key: bytes) -> AsOf | None:
        """Of what is stored under a key."""
        found = self.store.find(key, 0.0)
        return found[0].head.as_of if found else None


async def test_what_was_named_leaves_and_all_else_is_as_of_now() -> None:
    place = Place()
    gone, tagged = place.keep("/a"), place.keep("/t", sources=(b"#red",))
    kept, newer, other = place.keep("/b"), place.keep("/a?x", 9), place.keep("/c", 9, epoch="old")
    place.invalidate(7, "/a*", tags=("red",))
    assert await Sweeper(place.ledger, place.store, place.counters, 1).sweep()
    assert [place.as_of(key) for key in (gone, tagged, other)] == [None, None, None]
    assert place.as_of(kept) == AsOf("e", 7)
    assert place.as_of(newer) == AsOf("e", 9)
    assert place.counters[Counter.SWEPT] == 3
    assert place.counters[Counter.CHECKED] == 2


async def test_what_is_only_stale_stays_as_old_as_it_is() -> None:
    place = Place()
    key = place.keep("/a")
    place.invalidate(3, "/a", soft=True)
    await Sweeper(place.ledger, place.store, place.counters, 1).sweep()
    assert place.as_of(key) == AsOf("e", 0)


async def test_in_a_quarantine_nobody_sweeps() -> None:
    place = Place()
    key = place.keep("/a")
    place.invalidate(3, "/a")
    place.page.stand(3, quarantined=True)
    assert checked(place.ledger) is None
    assert not await Sweeper(place.ledger, place.store, place.counters, 1).sweep()
    assert place.as_of(key) == AsOf("e", 0)


async def test_it_begins_by_itself_when_something_is_new_and_leaves_turns_to_others() -> None:
    place = Place()
    for number in range(3 * STEP):
        place.keep(f"/{number}")
    sweeper = Sweeper(place.ledger, place.store, place.counters, 0.001)
    sweeper.start()
    place.invalidate(1, "/*")
    turns = 0
    while place.counters[Counter.SWEPT] < 3 * STEP:
        turns += 1
        await asyncio.sleep(0)
    assert turns >= 3
    place.keep("/later", 1)
    place.invalidate(2, "/later")
    await until(lambda: place.counters[Counter.SWEPT] == 3 * STEP + 1)
    await sweeper.close()


async def test_what_is_on_disk_is_swept_as_well(tmp_path: Path) -> None:
    place = Place()
    place.invalidate(7, "/a*")
    async with disk(tmp_path) as store:
        for path in (b"/a", b"/b"):
            head = StoredHead(200, b"", Headers(), 0.0, 0.0, AsOf("e", 0))
            store.put(b"E1 GET // " + path, head, Headers(), Terms(1e12, 0), 0, [b"x"], 1)
        assert await store.settled()
        assert await Sweeper(place.ledger, place.store, place.counters, 1, store).sweep()
        assert await store.settled()
        assert await store.find(b"E1 GET // /a", NOW) == []
        (kept,) = await store.find(b"E1 GET // /b", NOW)
        assert kept.head.as_of == AsOf("e", 7)
        assert (place.counters[Counter.SWEPT], place.counters[Counter.CHECKED]) == (1, 1)
