"""The follower against a real control plane: catch-up, order, outages, epochs, leases, goodbye; on both loops."""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path
from typing import Any

from edgeproxy.control.invalidations import invalidate
from edgeproxy.control.kinds import DISTRIBUTION
from edgeproxy.control.plane import Pace, Plane
from edgeproxy.control.things import create, update
from edgeproxy.errors import EdgeError
from edgeproxy.feed import Deployed, Invalidated
from edgeproxy.following.kept import Kept, Update
from tests.controlling import following, running
from tests.distributions import config
from tests.wire import until

BOTH_LOOPS = True


async def made(plane: Plane, reference: str = "1") -> Any:
    return await plane.change(lambda moment: create(moment, DISTRIBUTION, config(CallerReference=reference)))


async def invalidated(plane: Plane, id: str, reference: str = "r") -> Any:
    return await plane.change(
        lambda moment: invalidate(moment, id, ["/*"], reference, files_max=3000, wildcards_max=1000)
    )


async def test_a_node_catches_up_follows_and_acknowledges(tmp_path: Path) -> None:
    async with running(tmp_path) as control:
        first = await made(control.plane)
        async with following(control.url, tmp_path) as node:
            await node.follower.caught_up.wait()
            assert node.follower.usable.is_set()
            assert [(each.whole, each.fresh, each.number) for each in node.updates] == [(True, True, 1)]
            assert node.updates[0].caught_up
            found = await invalidated(control.plane, first.id)
            await node.reaches(2)
            assert await control.plane.settled(2, 10)
            second = await made(control.plane, "2")
            await node.reaches(3)
            assert await control.plane.settled(3, 10)
            assert node.records == [
                Deployed(1, first.id, first.etag, first.config),
                Invalidated(2, found.id, first.id, ("/*",)),
                Deployed(3, second.id, second.etag, second.config),
            ]
            assert node.leases == [(1, 0.0)]  # for ever


async def test_nothing_is_acknowledged_before_it_is_applied(tmp_path: Path) -> None:
    async with running(tmp_path) as control, following(control.url, tmp_path) as node:
        await node.follower.caught_up.wait()
        node.may_apply.clear()
        id = (await made(control.plane)).id
        reader = Kept(tmp_path / "node.db")
        await until(lambda: reader.position()[1] == 1)
        reader.close()
        await invalidated(control.plane, id)
        assert not await control.plane.settled(1, 0.3)
        node.may_apply.set()
        assert await control.plane.settled(2, 10)


async def test_what_was_on_disk_and_not_applied_is_not_acknowledged_by_coming_back(tmp_path: Path) -> None:
    async with running(tmp_path) as control:
        async with following(control.url, tmp_path) as node:
            await node.follower.caught_up.wait()
            node.may_apply.clear()
            await made(control.plane)
            reader = Kept(tmp_path / "node.db")
            await until(lambda: reader.position()[1] == 1)
            reader.close()
        async with following(control.url, tmp_path) as node:
            node.may_apply.clear()
            await until(lambda: "node" in control.plane.sessions)
            assert not await control.plane.settled(1, 0.3)
            node.may_apply.set()
            assert await control.plane.settled(1, 10)
            assert node.updates[0].whole


async def test_a_node_that_was_away_learns_only_what_it_missed(tmp_path: Path) -> None:
    async with running(tmp_path) as control:
        first = await made(control.plane)
        async with following(control.url, tmp_path) as node:
            await node.follower.caught_up.wait()
        await invalidated(control.plane, first.id)
        await control.plane.change(
            lambda moment: update(moment, DISTRIBUTION, first.id, {**first.config, "Comment": "new"}, first.etag)
        )
        assert control.plane.waiting_for(3) == ["node"]
        async with following(control.url, tmp_path) as node:
            await node.reaches(3)
            assert await control.plane.settled(3, 10)
            told = [(each.whole, each.number, len(each.records)) for each in node.updates]
            assert told == [(True, 1, 1), (False, 3, 2)]
            assert not node.updates[1].fresh


async def test_a_node_too_far_behind_is_told_everything_that_counts(tmp_path: Path) -> None:
    async with running(tmp_path, kept=10) as control:
        id = (await made(control.plane)).id
        async with following(control.url, tmp_path) as node:
            await node.follower.caught_up.wait()
        for number in range(12):
            await invalidated(control.plane, id, str(number))
        async with following(control.url, tmp_path) as node:
            await node.reaches(13)
            last = node.updates[-1]
            assert (last.whole, last.low_water) == (True, control.plane.state.low_water)
            assert [each.number for each in last.records] == [1, *range(last.low_water + 1, 14)]


async def test_the_low_water_mark_reaches_nodes_that_miss_nothing(tmp_path: Path) -> None:
    async with running(tmp_path, kept=10) as control, following(control.url, tmp_path) as node:
        id = (await made(control.plane)).id
        for number in range(12):
            await invalidated(control.plane, id, str(number))
        await until(lambda: bool(node.updates) and node.updates[-1].low_water == control.plane.state.low_water > 0)


async def test_it_begins_from_its_disk_while_the_control_plane_is_away_and_finds_it_again(tmp_path: Path) -> None:
    async with running(tmp_path) as control:
        first = await made(control.plane)
        async with following(control.url, tmp_path) as node:
            await node.follower.caught_up.wait()
    async with following(control.url, tmp_path) as node:
        await node.follower.usable.wait()
        assert not node.follower.caught_up.is_set()
        assert node.records == [Deployed(1, first.id, first.etag, first.config)]
        await until(lambda: node.follower.failures > 2)


async def test_with_nothing_on_disk_it_is_of_no_use_without_the_control_plane(tmp_path: Path) -> None:
    async with following("http://127.0.0.1:9", tmp_path) as node:
        await until(lambda: node.follower.failures > 2)
        assert not node.follower.usable.is_set()
        assert node.updates == []
        assert not await node.follower.goodbye(0.1)


async def test_another_epoch_replaces_everything(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    async with running(one) as control:
        await made(control.plane)
        await made(control.plane, "2")
        async with following(control.url, tmp_path) as node:
            await node.follower.caught_up.wait()
    async with running(two) as control:
        only = await made(control.plane)
        async with following(control.url, tmp_path) as node:
            await until(lambda: len(node.updates) == 2)
            assert (node.updates[1].whole, node.updates[1].epoch) == (True, control.plane.state.epoch)
            assert [each.id for each in node.updates[1].records if isinstance(each, Deployed)] == [only.id]
            await until(lambda: control.plane.state.members["node"].number == 1)


async def test_goodbye_takes_it_off_the_list_and_it_comes_back_as_new(tmp_path: Path) -> None:
    async with running(tmp_path) as control:
        id = (await made(control.plane)).id
        async with following(control.url, tmp_path) as node:
            await node.follower.caught_up.wait()
            assert await node.follower.goodbye(10)
            assert control.plane.state.members == {}
        found = await invalidated(control.plane, id)
        assert control.plane.state.completed(found)
        async with following(control.url, tmp_path) as node:
            await node.reaches(2)
            assert any(each.fresh for each in node.updates)


async def test_a_node_that_was_forgotten_is_cut_off_and_comes_back_as_new(tmp_path: Path) -> None:
    async with running(tmp_path) as control:
        await made(control.plane)
        async with following(control.url, tmp_path) as node:
            await node.follower.caught_up.wait()
            await control.plane.leave("node")
            await until(lambda: len(node.updates) == 2)
            assert (node.updates[1].fresh, node.updates[1].number) == (True, 1)
            await until(lambda: "node" in control.plane.state.members)


async def test_what_cannot_be_applied_is_tried_again_on_another_connection(tmp_path: Path) -> None:
    async with running(tmp_path) as control, following(control.url, tmp_path) as node:
        await node.follower.caught_up.wait()
        apply, failures = node.apply, [3]

        async def failing(given: Update) -> None:
            failures[0] -= 1
            if failures[0] >= 0:
                raise EdgeError("not yet")
            await apply(given)

        node.follower._apply = failing
        await made(control.plane)
        assert await control.plane.settled(1, 20)
        assert failures[0] < 0
        assert node.updates[-1].number == 1


async def test_a_file_that_became_unreadable_is_filled_anew(tmp_path: Path) -> None:
    async with running(tmp_path) as control:
        first = await made(control.plane)
        async with following(control.url, tmp_path) as node:
            await node.follower.caught_up.wait()
        with sqlite3.connect(tmp_path / "node.db") as sql:
            sql.execute("UPDATE records SET body = CAST('{}' AS BLOB)")
        sql.close()
        async with following(control.url, tmp_path) as node:
            await node.follower.caught_up.wait()
            assert node.records == [Deployed(1, first.id, first.etag, first.config)]


async def test_an_observer_is_told_and_not_waited_for(tmp_path: Path) -> None:
    async with running(tmp_path) as control, following(control.url, tmp_path, "") as node:
        await node.follower.caught_up.wait()
        await made(control.plane)
        await node.reaches(1)
        assert control.plane.state.members == {}


async def test_a_lease_runs_from_when_a_line_was_sent_and_counts_for_what_was_known_then(tmp_path: Path) -> None:
    now = [1000.0]
    async with (
        running(tmp_path, pace=Pace(heartbeat=0.05, lease=60)) as control,
        following(control.url, tmp_path, boottime=lambda: now[0]) as node,
    ):
        await until(lambda: node.leases[-1:] == [(0, 1060.0)])
        now[0] += 30
        await until(lambda: node.leases[-1] == (0, 1090.0))
        await made(control.plane)
        await until(lambda: node.leases[-1] == (1, 1090.0))


async def test_the_wrong_key_is_refused_and_the_right_one_is_not(tmp_path: Path) -> None:
    async with running(tmp_path, tier_key="k" * 20) as control:
        async with following(control.url, tmp_path, tier_key="wrong") as node:
            await until(lambda: node.follower.failures > 1)
            assert control.plane.state.members == {}
        async with following(control.url, tmp_path, tier_key="k" * 20) as node:
            await node.follower.caught_up.wait()


async def test_many_records_at_once_come_in_few_batches(tmp_path: Path) -> None:
    async with running(tmp_path) as control, following(control.url, tmp_path) as node:
        await node.follower.caught_up.wait()
        id = (await made(control.plane)).id
        node.may_apply.clear()
        began = time.monotonic()
        for number in range(200):
            await invalidated(control.plane, id, str(number))
        node.may_apply.set()
        await node.reaches(201)
        assert len(node.updates) < 150
        assert [each.number for each in node.records] == list(range(1, 202))
        assert time.monotonic() - began < 30
