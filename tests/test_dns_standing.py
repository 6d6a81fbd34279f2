"""dns/standing.py: which checks take a POP out of the answers, and which bring it back."""

from __future__ import annotations

import pytest

from edgeproxy.dns.standing import Standing, Verdict

R, N, F = Verdict.READY, Verdict.REFUSES, Verdict.FAILED

HISTORIES: dict[str, tuple[list[Verdict], list[bool]]] = {
    "nothing is known": ([], []),
    "one failure is none": ([F, R, F, R], [True, True, True, True]),
    "two in a row take it out": ([F, F], [True, False]),
    "one good check does not bring it back": ([F, F, R, F, R], [True, False, False, False, False]),
    "two in a row do": ([F, F, R, R, F], [True, False, False, True, True]),
    "it says itself that it is not ready: at once": ([N], [False]),
    "and that it is again: at once": ([N, N, R], [False, False, True]),
    "out for failures, drained meanwhile": ([F, F, N, R, R], [True, False, False, False, True]),
    "what it says is no failure": ([F, N, R, F], [True, False, True, True]),
    "one that went and is silent is gone": ([N, F, F, R], [False, False, False, False]),
    "silent once after it went, and back": ([N, F, R], [False, False, True]),
}


@pytest.mark.parametrize(("checks", "expected"), HISTORIES.values(), ids=HISTORIES.keys())
def test_history(checks: list[Verdict], expected: list[bool]) -> None:
    standing = Standing(fall=2, rise=2)
    assert standing.is_up
    found = []
    for check in checks:
        standing.saw(check)
        found.append(standing.is_up)
        assert bool(standing.reason) is not standing.is_up
    assert found == expected


def test_a_pop_over_its_cap_is_used_again_when_there_is_room_for_more_than_one() -> None:
    standing = Standing(2, 2, load_max=100)
    found = []
    for load in (99, 100, 95, 91, 90, 89, 99):
        standing.saw(R, load)
        found.append(standing.is_up)
    assert found == [True, False, False, False, False, True, True]


def test_a_pop_that_tells_no_load_is_not_over_its_cap() -> None:
    standing = Standing(2, 2, load_max=1)
    standing.saw(R)
    assert standing.is_up
