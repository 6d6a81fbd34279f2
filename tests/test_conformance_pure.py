"""Every conformance case, played against the rules alone; and that a cache that breaks them is noticed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import pytest

from edgeproxy.message import RequestHead
from edgeproxy.model import Caching
from edgeproxy.outcome import Decision, Fetch, Reason, Serve, StoredHead
from edgeproxy.rules.lookup import decide
from tests.conformance import CASES, CHAPTERS
from tests.conformance.case import Case
from tests.conformance.pure import play


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_case(case: Case) -> None:
    assert play(case) == [], case.shows


def test_there_are_enough_cases_and_each_has_a_name_of_its_own() -> None:
    assert len(CASES) >= 350
    assert [name for name, times in Counter(case.id for case in CASES).items() if times > 1] == []
    assert all(chapter for chapter in CHAPTERS.values())


def _failing(kind: str, **cache: object) -> int:
    return sum(bool(play(case, **cache)) for case in CASES if case.kind == kind)  # type: ignore[arg-type]  # by keyword


def test_a_proxy_that_stores_nothing_breaks_hardly_a_rule_and_spares_the_origin_nothing() -> None:
    optimal = [case for case in CASES if case.kind == "optimal"]
    assert _failing("optimal", stores=False) == len(optimal)


def test_a_cache_that_serves_whatever_it_has_breaks_the_rules() -> None:
    def serve(request: RequestHead, found: Sequence[StoredHead], caching: Caching, now: float) -> Decision:
        return Serve(found[-1], 0) if found else Fetch(Reason.URI_MISS)

    required = sum(case.kind == "required" for case in CASES)
    assert _failing("required", decide=serve) > required / 4


@pytest.mark.parametrize("seconds", [-1, 1])
def test_a_clock_that_is_a_second_off_is_noticed(seconds: int) -> None:
    def late(request: RequestHead, found: Sequence[StoredHead], caching: Caching, now: float) -> Decision:
        decision = decide(request, found, caching, now + seconds)
        return replace(decision, age=decision.age - seconds) if isinstance(decision, Serve) else decision

    assert sum(bool(play(case, decide=late)) for case in CASES) > 10
