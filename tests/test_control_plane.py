"""The control plane: a change is durable and only then seen; nodes join once, acknowledge together, and leave."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from edgeproxy.control.invalidations import invalidate
from edgeproxy.control.kinds import DISTRIBUTION
from edgeproxy.control.plane import Pace, Plane
from edgeproxy.control.refusals import Refused
from edgeproxy.control.things import create
from tests.controlling import Running, running
from tests.distributions import config


async def made(plane: Plane, reference: str = "1") -> Any:
    return await plane.change(lambda moment: create(moment, DISTRIBUTION, config(CallerReference=reference)))


async def invalidated(plane: Plane, id: str, reference: str = "r") -> Any:
    return await plane.change(
        lambda moment: invalidate(moment, id, ["/*"], reference, files_max=3000, wildcards_max=1000)
    )


async def test_changes_at_once_get_numbers_without_gaps_and_survive_a_restart(tmp_path: Path) -> None:
    async with running(tmp_path) as control:
        every = await asyncio.gather(*(made(control.plane, str(number)) for number in range(20)))
        assert sorted(each.id for each in every) == sorted(key[1] for key in control.plane.state.resources)
        assert [each.number for each in control.plane.state.log] == list(range(1, 21))
        epoch = control.plane.state.epoch
    async with running(tmp_path) as control:
        assert (control.plane.state.epoch, control.plane.state.number) == (epoch, 20)


async def test_a_change_that_cannot_be_written_is_refused_and_not_seen(tmp_path: Path) -> None:
    async with running(tmp_path) as control:
        blocker = sqlite3.connect(tmp_path / "control.db", isolation_level=None)
        control.plane._database._sql.execute("PRAGMA busy_timeout = 1")
        blocker.execute("BEGIN IMMEDIATE")
        with pytest.raises(Refused) as refusal:
            await made(control.plane)
        assert refusal.value.code == "ServiceUnavailable"
        assert (control.plane.state.number, control.plane.state.resources) == (0, {})
        blocker.execute("ROLLBACK")
        blocker.close()
        assert (await made(control.plane)).id in {key[1] for key in control.plane.state.resources}


async def test_a_client_that_goes_away_does_not_stop_its_change_half_way(tmp_path: Path) -> None:
    async with running(tmp_path) as control:
        asking = asyncio.create_task(made(control.plane))
        await asyncio.sleep(0)
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        await made(control.plane, "2")
        assert control.plane.state.number == 2


async def test_a_node_is_on_the_list_before_it_is_let_in_and_invalidations_wait_for_it(tmp_path: Path) -> None:
    async with running(tmp_path) as control:
        plane = control.plane
        id = (await made(plane)).id
        session, fresh = await plane.join("a", "i", 0, "")
        assert fresh
        found = await invalidated(plane, id)
        assert plane.waiting_for(found.number) == ["a"]
        assert not await plane.settled(found.number, 0.01)
        plane.acknowledge(session, 1)
        assert not await plane.settled(found.number, 0.01)
        plane.acknowledge(session, found.number)
        assert await plane.settled(found.number, 10)
        plane.part(session)
        again, fresh = await plane.join("a", "i", found.number, plane.state.epoch)
        assert not fresh
        plane.part(again)
    async with running(tmp_path) as control:
        assert [(each.name, each.number) for each in control.plane.state.members.values()] == [("a", 2)]
        assert control.plane.state.settled == 2


async def test_what_is_on_a_nodes_disk_is_no_acknowledgement(tmp_path: Path) -> None:
    async with running(tmp_path) as control:
        plane = control.plane
        id = (await made(plane)).id
        session, _ = await plane.join("a", "i", 0, "")
        found = await invalidated(plane, id)
        plane.part(session)
        session, _ = await plane.join("a", "i", found.number, plane.state.epoch)
        assert plane.waiting_for(found.number) == ["a"]


async def test_two_nodes_of_one_name_are_refused_until_the_first_has_left(tmp_path: Path) -> None:
    async with running(tmp_path) as control:
        plane = control.plane
        session, _ = await plane.join("a", "one", 0, "")
        for incarnation in ("one", "two"):
            with pytest.raises(Refused, match="follows already"):
                await plane.join("a", incarnation, 0, "")
        plane.part(session)
        with pytest.raises(Refused, match="edgeproxy forget a"):
            await plane.join("a", "two", 0, "")
        assert await plane.leave("a")
        assert not await plane.leave("a")
        session, fresh = await plane.join("a", "two", 0, "")
        assert (fresh, session.replaced.is_set()) == (True, False)
        await plane.leave("a")
        assert session.replaced.is_set()


async def test_the_last_node_to_leave_completes_what_waited_for_it(tmp_path: Path) -> None:
    async with running(tmp_path) as control:
        plane = control.plane
        id = (await made(plane)).id
        await plane.join("a", "i", 0, "")
        found = await invalidated(plane, id)
        assert plane.waiting_for(found.number) == ["a"]
        await plane.leave("a")
        assert await plane.settled(found.number, 10)
        late, _ = await plane.join("late", "i", 0, "")
        assert plane.waiting_for(found.number) == []
        plane.acknowledge(late, 99)
        await plane.settled(99, 0.01)
        assert plane.state.members["late"].number <= plane.state.number


async def test_a_node_ahead_of_the_database_begins_a_new_epoch(tmp_path: Path) -> None:
    async with running(tmp_path) as control:
        plane = control.plane
        before = plane.state.epoch
        await made(plane)
        await plane.join("a", "i", 1, before)
        assert plane.state.epoch == before
        await plane.join("b", "i", 2, before)
        assert plane.state.epoch != before
        assert plane.state.waiting_for(1) == []
        await made(plane, "2")
        assert plane.waiting_for(2) == ["a", "b"]


async def test_a_node_out_of_touch_longer_than_its_lease_is_not_waited_for(tmp_path: Path) -> None:
    now = [100.0]
    pace = Pace(heartbeat=0.05, lease=30)
    async with running(tmp_path, pace=pace, monotonic=lambda: now[0]) as control:
        plane = control.plane
        id = (await made(plane)).id
        session, _ = await plane.join("a", "i", 0, "")
        found = await invalidated(plane, id)
        plane.part(session)
        now[0] += 29
        assert (plane.lapsed(), plane.waiting_for(found.number)) == ([], ["a"])
        now[0] += 2
        assert (plane.lapsed(), plane.waiting_for(found.number)) == (["a"], [])
        assert await plane.settled(found.number, 10)


async def test_the_older_half_of_too_many_invalidations_is_forgotten(tmp_path: Path) -> None:
    async with running(tmp_path, kept=10) as control:
        plane = control.plane
        id = (await made(plane)).id
        for number in range(12):
            await invalidated(plane, id, str(number))
        assert len(plane.state.invalidations) <= 10
        assert plane.state.low_water == 7
        left = list(plane.state.invalidations)
    async with running(tmp_path, kept=10) as control:
        assert (list(control.plane.state.invalidations), control.plane.state.low_water) == (left, 7)


async def test_what_nodes_say_is_kept_when_the_disk_refuses_it_for_a_while(tmp_path: Path) -> None:
    async with running(tmp_path) as control:
        await refuse_once(control)
        assert "a" in control.plane.state.members


async def refuse_once(control: Running) -> None:
    plane = control.plane
    blocker = sqlite3.connect(plane._database._path, isolation_level=None)
    plane._database._sql.execute("PRAGMA busy_timeout = 1")
    blocker.execute("BEGIN IMMEDIATE")
    joining = asyncio.create_task(plane.join("a", "i", 0, ""))
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(asyncio.shield(joining), 0.1)
    blocker.execute("ROLLBACK")
    blocker.close()
    await joining
