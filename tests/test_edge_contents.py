"""Looking into what a node keeps, and dropping it: in memory, on disk, in all workers."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from edgeproxy.edge.contents import Pattern, target_of
from edgeproxy.telemetry.counters import Counter
from tests.scripted import ScriptedOrigin
from tests.tier import Node, node
from tests.wire import until

FRESH = {"Cache-Control": "max-age=60", "ETag": '"1"', "Vary": "Accept-Language"}
CACHE = {"disk": "64 MiB", "disk_shards": 4, "disk_check_interval": 0.05}


@pytest_asyncio.fixture
async def origin() -> AsyncIterator[ScriptedOrigin]:
    async with ScriptedOrigin() as made:
        made.always(200, FRESH, b"hello")
        yield made


@pytest_asyncio.fixture(params=[1, 2], ids=["one worker", "two workers"])
async def pop(request: pytest.FixtureRequest, origin: ScriptedOrigin, tmp_path: Path) -> AsyncIterator[Node]:
    async with node(
        origin=origin.url, workers=request.param, settings={"cache": CACHE}, apart=True, directory=tmp_path
    ) as made:
        yield made


async def rows(made: Node, pattern: str = "*", limit: int = 100) -> list[dict[str, Any]]:
    """All of them, page by page, asked of the last worker."""
    found: list[dict[str, Any]] = []
    after = None
    while True:
        page = await made.workers[-1].contents.listed(pattern, limit, after)
        found += page["entries"]
        after = page["after"]
        if after is None:
            return found


@pytest.mark.parametrize(
    ("pattern", "key", "fits"),
    [
        ("*", b"d GET //h /a", True),
        ("/a", b"d GET //h /a", True),
        ("/a", b"d GET //h /a h:x=1", True),
        ("/a", b"d GET //h /ab", False),
        ("/a*", b"d GET //h /a ?x=1", True),
        ("/a[?]x=1", b"d GET //h /a ?x=1 ae:br", True),
        ("/b", b"d GET //h /a ?/b", False),
        ("d *", b"d GET //h /a", True),
        ("e *", b"d GET //h /a", False),
        ("/", b"nonsense", False),
    ],
)
def test_patterns_fit_keys_or_paths(pattern: str, key: bytes, fits: bool) -> None:
    assert Pattern(pattern).fits(key) is fits


def test_what_narrows_a_search_never_narrows_it_too_far() -> None:
    assert Pattern("*").coarse is None
    assert Pattern("d GET*").coarse == "d GET*"
    assert Pattern("/a/[b]*").coarse == "* //* /a/*"
    assert target_of("d GET //h /a ?x=1 h:y") == "/a?x=1"


async def test_what_is_stored_is_listed_wherever_it_is(pop: Node, origin: ScriptedOrigin) -> None:
    for number in range(5):
        await pop.ask(f"/a{number}", {"Accept-Language": "de"})
    await pop.ask("/b")
    owned = [row for row in await rows(pop, "/a*") if row["owner"]]
    assert sorted(target_of(row["key"]) for row in owned) == [f"/a{number}" for number in range(5)]
    row = owned[0]
    assert (row["status"], row["size"], row["length"], row["intervals"]) == (200, 5, 5, None)
    assert (row["memory"], row["disk"], row["vary"]) == (True, True, [["accept-language", "de"]])
    assert 58 < row["ttl"] <= 60
    assert row["age"] < 2
    pop.forget_everything()
    cold = await rows(pop, limit=2)
    assert sorted(target_of(row["key"]) for row in cold) == [*(f"/a{number}" for number in range(5)), "/b"]
    assert {(row["memory"], row["disk"]) for row in cold} == {(False, True)}
    assert len({row["key"] for row in cold}) == len(cold)


async def test_hits_are_counted_and_looking_is_none(pop: Node) -> None:
    for _ in range(4):
        await pop.ask("/a")
        await rows(pop)
    assert sum(row["hits"] for row in await rows(pop)) >= 3
    before = [row["hits"] for row in await rows(pop)]
    assert [row["hits"] for row in await rows(pop)] == before


async def test_what_is_dropped_is_gone_from_memory_disk_and_all_workers(pop: Node, origin: ScriptedOrigin) -> None:
    for worker in range(len(pop.workers)):
        for target in ("/a1", "/a2", "/b"):
            await pop.ask(target, worker=worker)
    assert (await pop.workers[0].contents.dropped("/a*"))["dropped"] >= 2
    assert {target_of(row["key"]) for row in await rows(pop)} == {"/b"}
    asked = origin.requests
    for target in ("/a1", "/a2", "/b"):
        await pop.ask(target)
    assert origin.requests == asked + 2


async def test_what_is_on_its_way_when_it_is_dropped_is_not_kept(pop: Node, origin: ScriptedOrigin) -> None:
    origin.unanswered()
    async with await pop.viewer() as viewer:
        await viewer.ask("/slow")
        ask = await origin.asked_for("/slow")
        ask.head(200, {**FRESH, "Content-Length": "8"})
        ask.send(b"half")
        await viewer.read_head()
        await pop.workers[0].contents.dropped("*")
        ask.send(b"rest")
        ask.done()
        assert await viewer.read_body() == (b"halfrest", True)
    await until(lambda: not pop.count(Counter.FILLS_OPEN))
    assert await rows(pop) == []
    origin.always(200, FRESH, b"new")
    assert (await pop.get("/slow")).body == b"new"


async def test_intervals_are_told(pop: Node, origin: ScriptedOrigin) -> None:
    origin.always(206, {**FRESH, "Content-Range": "bytes 2-4/10"}, b"234")
    await pop.get("/part", {"Range": "bytes=2-4"})
    await until(lambda: not pop.count(Counter.FILLS_OPEN))
    row = next(row for row in await rows(pop, "/part") if row["owner"])
    assert (row["intervals"], row["size"], row["length"]) == ([[2, 5]], 3, 10)


async def test_no_viewer_may_ask_so(pop: Node, origin: ScriptedOrigin) -> None:
    await pop.get("/a")
    got = await pop.get("/drop?pattern=*", {"EdgeProxy-Ask": "cache"})
    assert got.body == b"hello"
    assert any(target_of(row["key"]) == "/a" for row in await rows(pop))
