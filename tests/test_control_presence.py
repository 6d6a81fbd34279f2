"""control/presence.py: observers hear of nodes at once, in order, and never hold anything up."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgeproxy.control.presence import Presence
from edgeproxy.control.state import Member, State
from edgeproxy.feed import Noticed
from tests.controlling import following, running
from tests.wire import until


async def test_an_observer_hears_who_follows_is_lost_and_leaves(tmp_path: Path) -> None:
    async with running(tmp_path) as control, following(control.url, tmp_path, "") as observer:
        heard = observer.noticed
        async with following(control.url, tmp_path, "fra") as node:
            await until(lambda: heard == [Noticed(0, "fra", "following")])
        await until(lambda: heard[1:] == [Noticed(0, "fra", "lost")])
        async with following(control.url, tmp_path, "fra") as node:
            await node.follower.caught_up.wait()
            assert await node.follower.goodbye(10)
        await until(lambda: [each.what for each in heard[2:]] == ["following", "left"])
        assert node.noticed == [], "what nodes are told is records alone"


async def test_a_new_observer_hears_how_things_are(tmp_path: Path) -> None:
    async with running(tmp_path) as control:
        async with following(control.url, tmp_path, "iad") as node:
            await node.follower.caught_up.wait()
        async with following(control.url, tmp_path, "fra"):
            control.plane.presence.ordered("gru", "drain")
            control.plane.presence.ordered("nrt", "drain")
            control.plane.presence.ordered("nrt", "undrain")
            await until(lambda: set(control.plane.sessions) == {"fra"})
            async with following(control.url, tmp_path, "") as observer:
                await until(lambda: len(observer.noticed) == 3)
                found = {(each.node, each.what) for each in observer.noticed}
                assert found == {("iad", "lost"), ("fra", "following"), ("gru", "drained")}


async def test_one_that_the_operator_forgets_has_left(tmp_path: Path) -> None:
    async with running(tmp_path) as control, following(control.url, tmp_path, "") as observer:
        async with following(control.url, tmp_path, "fra") as node:
            await node.follower.caught_up.wait()
        await until(lambda: [each.what for each in observer.noticed] == ["following", "lost"])
        await control.plane.leave("fra")
        await until(lambda: observer.noticed[-1].what == "left")


async def test_an_observer_that_is_too_slow_is_cut_off_and_holds_nothing_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgeproxy.control.presence.WAITING_MAX", 10)
    state = State("EPOCH", "zone.test")
    state.members["fra"] = Member("fra", "1", 0, "EPOCH")
    presence = Presence(state)
    notices = presence.observe()
    assert await anext(notices) == Noticed(0, "fra", "lost")
    for _ in range(100):
        presence.joined("fra")
    heard = [each.what async for each in notices]
    assert heard == ["following"] * 9
    presence.parted("fra")  # nobody is there to hear it
