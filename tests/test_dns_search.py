"""The long searches of `python -m tests.soak dns`, with reduced counts."""

from __future__ import annotations

import pytest

from edgeproxy.dns.zone import Zone
from tests.soak.dns import fuzz, simulate
from tests.test_dns_answer import CHAINED, ZONE


@pytest.mark.parametrize("zone", [ZONE, CHAINED], ids=["direct", "chained"])
def test_any_bytes_get_a_bounded_answer_or_none(zone: Zone) -> None:
    found = fuzz(zone, 12_000, seed=7)
    assert found.answered > 0.8 * found.inputs
    assert found.remembered > 300


def test_clients_are_sent_to_a_pop_within_10_ms_of_the_best_one_and_leave_one_that_fails() -> None:
    simulated = simulate(prefixes=150, pops=20, rounds=450, seed=3)
    assert simulated.by_latency >= 0.95
    assert simulated.by_distance < 0.9, "distance alone would do as well: this shows nothing"
    assert simulated.rounds_to_move <= 2
