"""The rest of a large answer, in pieces."""

from __future__ import annotations

import random
from typing import cast

from edgeproxy.edge.lane import Known
from edgeproxy.edge.pour import PARTS_MAX, Pour


def pour(parts: list[bytes]) -> Pour:
    return Pour(cast(Known, None), b"", b"", parts, 0.0, lambda: None)


def test_whatever_is_taken_at_a_time_all_of_it_comes_in_order() -> None:
    chance = random.Random(1)
    for _ in range(200):
        parts = [chance.randbytes(chance.choice((1, 5, 100))) for _ in range(chance.randint(1, 150))]
        left, got = pour(parts), []
        while left.left:
            most = chance.choice((1, 7, 64, 1000))
            batch = left.batch(most)
            assert 0 < len(b"".join(batch)) <= most
            assert len(batch) <= PARTS_MAX
            taken = b"".join(batch)[: chance.randint(0, most)]
            left.advance(len(taken))
            got.append(taken)
        assert b"".join(got) == b"".join(parts)
        assert left.sent == len(b"".join(parts))


def test_nothing_is_copied() -> None:
    block = bytes(1000)
    assert pour([block]).batch(10)[0].obj is block
