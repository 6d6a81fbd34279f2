"""Which lifetimes hold when some were left out (fact sheet 3)."""

from __future__ import annotations

import pytest

from edgeproxy.cloudfront.ttl import in_order, ttl
from edgeproxy.model import Ttl

DAY, YEAR = 86_400, 31_536_000


@pytest.mark.parametrize(
    ("given", "holds"),
    [
        ((0, None, None), Ttl(0, DAY, YEAR)),
        ((None, None, None), Ttl(0, DAY, YEAR)),
        ((100_000, None, None), Ttl(100_000, 100_000, YEAR)),
        ((YEAR + 1, None, None), Ttl(YEAR + 1, YEAR + 1, YEAR + 1)),
        ((0, YEAR + 5, None), Ttl(0, YEAR + 5, YEAR + 5)),
        ((0, None, 60), Ttl(0, 60, 60)),
        ((0, 0, 0), Ttl(0, 0, 0)),
        ((5, 6, 7), Ttl(5, 6, 7)),
    ],
)
def test_3_defaults(given: tuple[int | None, int | None, int | None], holds: Ttl) -> None:
    assert ttl(*given) == holds
    assert in_order(ttl(*given))


@pytest.mark.parametrize("given", [(5, 4, 9), (0, 9, 8), (9, None, 8)])
def test_3_out_of_order(given: tuple[int | None, int | None, int | None]) -> None:
    assert not in_order(ttl(*given))
