"""Files into the control plane: once for each version, by the rules of the API, and out again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from edgeproxy.configuration import Given
from edgeproxy.control.kinds import CACHE_POLICY, DISTRIBUTION
from edgeproxy.control.loading import load_files
from edgeproxy.control.things import create, update
from edgeproxy.errors import ConfigError
from tests.controlling import running
from tests.distributions import OPTIMIZED, behavior, config, items


def given(id: str, **changes: Any) -> Given:
    return Given("Distribution", id, config(**changes), f"{id}.json")


def policy(id: str, name: str) -> Given:
    return Given("CachePolicy", id, {"Name": name, "MinTTL": 0}, "policies.json")


async def test_files_are_there_under_their_own_ids_and_may_name_policies(tmp_path: Path) -> None:
    files = [
        policy("p1", "short"),
        given("one", DefaultCacheBehavior=behavior(CachePolicyId="short")),
        given("two", DefaultCacheBehavior=behavior(CachePolicyId="Managed-CachingOptimized")),
        given("three", DefaultCacheBehavior=behavior(CachePolicyId="CachingOptimized")),
    ]
    async with running(tmp_path) as control:
        await load_files(control.plane, files)
        state = control.plane.state
        used = [each.config["DefaultCacheBehavior"]["CachePolicyId"] for each in state.of_kind(DISTRIBUTION)]
        assert used == ["p1", OPTIMIZED, OPTIMIZED]
        assert [each.id for each in state.of_kind(DISTRIBUTION)] == ["one", "two", "three"]
        await load_files(control.plane, files)
        assert state.number == 3
    async with running(tmp_path) as control:
        await load_files(control.plane, files)
        assert control.plane.state.number == 3


async def test_what_the_api_changed_stays_until_the_file_changes(tmp_path: Path) -> None:
    async with running(tmp_path) as control:
        plane = control.plane
        await load_files(plane, [given("one")])
        before = plane.state.get(DISTRIBUTION, "one")
        changed = {**before.config, "Comment": "by the API"}
        await plane.change(lambda moment: update(moment, DISTRIBUTION, "one", changed, before.etag))
        await load_files(plane, [given("one")])
        assert plane.state.get(DISTRIBUTION, "one").config["Comment"] == "by the API"
        await load_files(plane, [given("one", Comment="by the file")])
        assert plane.state.get(DISTRIBUTION, "one").config["Comment"] == "by the file"


async def test_what_came_from_a_file_that_is_gone_goes_with_it_unless_it_is_used(tmp_path: Path) -> None:
    async with running(tmp_path) as control:
        plane = control.plane
        used = behavior(CachePolicyId="p1")
        await load_files(
            plane, [policy("p1", "one"), policy("p2", "two"), given("one", DefaultCacheBehavior=used), given("two")]
        )
        await plane.change(
            lambda moment: create(moment, DISTRIBUTION, config(CallerReference="x", DefaultCacheBehavior=used))
        )
        await load_files(plane, [given("two")])
        assert [each.id for each in plane.state.of_kind(CACHE_POLICY)] == ["p1"]
        assert len(plane.state.of_kind(DISTRIBUTION)) == 2
        assert plane.state.find(DISTRIBUTION, "one") is None


async def test_a_file_that_is_refused_is_named_and_the_others_are_loaded(tmp_path: Path) -> None:
    async with running(tmp_path) as control:
        plane = control.plane
        taken = config(CallerReference="x", Aliases=items("www.example.test"))
        await plane.change(lambda moment: create(moment, DISTRIBUTION, taken))
        with pytest.raises(ConfigError, match="CNAMEAlreadyExists"):
            await load_files(plane, [given("bad", Aliases=items("www.example.test")), given("good")])
        assert plane.state.find(DISTRIBUTION, "good") is not None
