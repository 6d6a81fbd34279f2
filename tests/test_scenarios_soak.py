"""The long searches of `python -m tests.soak fill` and `store`, with small figures: real processes, real files."""

from __future__ import annotations

import os

import pytest

from tests.soak import fill, store
from tests.soak.load import MB, UNIT, piece


def test_bodies_are_known_by_their_name_and_no_two_places_are_alike() -> None:
    whole = piece("a", 0, 3 * UNIT)
    assert piece("a", 100, 2 * UNIT + 7) == whole[100 : 2 * UNIT + 7]
    assert piece("b", 0, 100) != whole[:100]
    assert whole[:100] != whole[UNIT : UNIT + 100]


async def test_memory_stays_flat_whoever_streams_whatever() -> None:
    await fill.memory(12, 24, limit=80 * MB)


async def test_a_large_body_passes_two_tiers() -> None:
    await fill.through_tiers(60, limit=40 * MB)


async def test_a_range_of_a_large_object_costs_a_range() -> None:
    await fill.ranges(10)


async def test_a_herd_costs_one_request() -> None:
    await fill.herd(150, 500)


async def test_a_node_that_is_killed_gives_right_bytes_or_none() -> None:
    await store.kills(6, seed=os.getpid())


async def test_damaged_files_never_reach_a_viewer() -> None:
    await store.corruption(40, seed=os.getpid())


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small file system needs root")
async def test_a_full_disk_fails_no_request() -> None:
    await store.full_disk(160, seed=os.getpid())
