"""Whatever happens to a resource and whoever asks for which part of it: no answer mixes versions or is too old."""

from __future__ import annotations

import pytest

from tests.histories import live


@pytest.mark.parametrize("arrangement", ["pop", "pop2", "tiers", "tiers2", "pop disk", "tiers2 disk"])
@pytest.mark.parametrize("seed", range(9))
async def test_a_history(seed: int, arrangement: str) -> None:
    assert await live(seed, arrangement, 40) == []
