"""The feed's server side, as nodes that misbehave see it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from edgeproxy.control.kinds import DISTRIBUTION
from edgeproxy.control.streams import records_after
from edgeproxy.control.things import create
from edgeproxy.feed import Beat, Hello, Invalidated, Line, Marker, decode
from tests.controlling import Running, running
from tests.distributions import config
from tests.wire import until

HERE = {"node": "a", "incarnation": "i", "epoch": "", "from": "0"}


async def told(response: aiohttp.ClientResponse) -> list[Line]:
    """Everything until the end."""
    return [decode(line) async for line in response.content]


async def waiting() -> AsyncIterator[bytes]:
    """A body that never ends, and says nothing."""
    yield b""
    await asyncio.Event().wait()


async def saying(*lines: bytes) -> AsyncIterator[bytes]:
    for line in lines:
        yield line
    await asyncio.Event().wait()


@pytest.mark.parametrize(
    "words",
    [
        {},
        {**HERE, "node": ""},
        {**HERE, "node": "../x"},
        {**HERE, "node": "x" * 64},
        {**HERE, "incarnation": ""},
        {**HERE, "incarnation": "a b"},
        {**HERE, "from": ""},
        {**HERE, "from": "-1"},
        {**HERE, "from": "1" * 30},
    ],
)
async def test_who_says_not_who_it_is_is_refused(tmp_path: Path, words: dict[str, str]) -> None:
    async with running(tmp_path) as control, aiohttp.ClientSession() as session:
        async with session.post(f"{control.url}/feed", params=words) as response:
            assert response.status == 400
        assert control.plane.state.members == {}


async def test_a_silent_node_is_cut_off_and_stays_on_the_list(tmp_path: Path) -> None:
    async with running(tmp_path) as control, aiohttp.ClientSession() as session:
        async with session.post(f"{control.url}/feed", params=HERE, data=waiting()) as response:
            assert control.plane.sessions.keys() == {"a"}
            lines = await told(response)
        assert isinstance(lines[0], Hello)
        assert lines[1:3] == [Marker("whole", 0), Marker("end", 0)]
        assert all(isinstance(each, Beat) for each in lines[3:])
        assert (control.plane.sessions, list(control.plane.state.members)) == ({}, ["a"])


@pytest.mark.parametrize("line", [b"nonsense\n", b'{"do":"end","number":1}\n', b"x" * 200_000, b'{"do":"heard"}\n'])
async def test_a_node_that_talks_nonsense_is_cut_off(tmp_path: Path, line: bytes) -> None:
    async with running(tmp_path) as control, aiohttp.ClientSession() as session:
        async with session.post(f"{control.url}/feed", params=HERE, data=saying(line)) as response:
            await told(response)
        await until(lambda: not control.plane.sessions)


async def test_a_second_node_of_the_name_is_refused_with_409(tmp_path: Path) -> None:
    other = {**HERE, "incarnation": "other"}
    async with (
        running(tmp_path) as control,
        aiohttp.ClientSession() as session,
        session.post(f"{control.url}/feed", params=HERE, data=waiting()),
        session.post(f"{control.url}/feed", params=other, data=waiting()) as response,
    ):
        assert response.status == 409


async def test_a_node_that_breaks_off_is_noticed_at_once(tmp_path: Path) -> None:
    async with running(tmp_path) as control:
        async with (
            aiohttp.ClientSession() as session,
            session.post(f"{control.url}/feed", params=HERE, data=waiting()),
        ):
            assert control.plane.sessions.keys() == {"a"}
        await until(lambda: not control.plane.sessions)


async def test_without_the_key_nothing_is_told(tmp_path: Path) -> None:
    async with running(tmp_path, tier_key="k" * 20) as control, aiohttp.ClientSession() as session:
        for fields in ({}, {"EdgeProxy-Tier": "wrong"}):
            async with session.post(f"{control.url}/feed", params=HERE, headers=fields) as response:
                assert response.status == 403


async def test_a_record_is_written_once_for_all_who_follow(tmp_path: Path) -> None:
    async with running(tmp_path) as control, aiohttp.ClientSession() as session:
        await _one(control)
        bodies = []
        for number in range(3):
            words = {"observer": "1", "from": "0", "epoch": "", "number": str(number)}
            async with session.post(f"{control.url}/feed", params=words, data=waiting()) as response:
                bodies.append([await response.content.readline() for _ in range(4)][1:])
        assert bodies[0] == bodies[1] == bodies[2]
        assert len(control.streams._lines) == 1


async def _one(control: Running) -> None:
    await control.plane.change(lambda moment: create(moment, DISTRIBUTION, config()))


def test_the_records_after_a_number() -> None:
    log = [Invalidated(number, "I", "E") for number in (2, 5, 7)]
    found = {number: [each.number for each in records_after([*log], number)] for number in (0, 2, 4, 5, 7, 9)}
    assert found == {0: [2, 5, 7], 2: [5, 7], 4: [5, 7], 5: [7], 7: [], 9: []}
