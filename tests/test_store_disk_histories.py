"""Random histories of the disk store beside a model, and beside copies made while it writes."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.disk_histories import history


@pytest.mark.parametrize("seed", range(6))
async def test_a_store_is_what_its_model_is(tmp_path: Path, seed: int) -> None:
    made = await history(tmp_path, random.Random(seed).getrandbits(32), steps=150, lives=3)
    assert made.copies > 0
