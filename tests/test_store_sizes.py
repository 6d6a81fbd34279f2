"""How a worker's share is cut."""

from __future__ import annotations

import pytest

from edgeproxy.settings import Cache, GiB, KiB, MiB
from edgeproxy.store.sizes import Sizes, piece_max


@pytest.mark.parametrize("held", [1, 8, 16])
@pytest.mark.parametrize("disk", [64 * MiB, GiB, 1024 * GiB])
def test_most_of_the_space_is_for_bodies(disk: int, held: int) -> None:
    sizes = Sizes.of(Cache(disk=disk), held)
    assert sizes.bound == disk // 16 * held
    assert sizes.margin < sizes.bound / 2
    assert 128 * KiB <= sizes.segment_max <= 64 * MiB
    assert sizes.queue_max <= max(sizes.bound // 8, MiB)


def test_a_piece_is_a_power_of_two() -> None:
    assert piece_max(Cache(disk_piece=300 * KiB)) == 256 * KiB
    assert piece_max(Cache(disk_piece=MiB)) == MiB
