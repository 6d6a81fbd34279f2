"""What is certainly not there, and what is in use."""

from __future__ import annotations

import random

from edgeproxy.store.filter import ENTRIES_MIN, USES_MAX, Filter, Filters, Uses

CHANCE = random.Random(1)
THERE = [CHANCE.getrandbits(64) for _ in range(20_000)]
ABSENT = [CHANCE.getrandbits(64) for _ in range(20_000)]


def wrong(filter: Filter) -> float:
    return sum(hash in filter for hash in ABSENT) / len(ABSENT)


def test_no_is_certain_and_yes_nearly_so() -> None:
    filter = Filter(len(THERE), 1 << 20)
    for hash in THERE:
        filter.add(hash)
    assert all(hash in filter for hash in THERE)
    assert wrong(filter) < 0.01
    assert filter.capacity >= filter.added == len(THERE)
    assert filter.size <= 8 * len(THERE)


def test_a_bound_makes_it_wrong_more_often_and_never_larger() -> None:
    filter = Filter(1_000_000, 1024)
    assert filter.size == 1024
    for hash in THERE:
        filter.add(hash)
    assert all(hash in filter for hash in THERE)


def test_uses_are_counted_and_spent() -> None:
    uses = Uses(10, 1 << 20)
    for _ in range(USES_MAX + 5):
        uses.add(7 << 20)
    assert (uses[7 << 20], uses[8 << 20]) == (USES_MAX, 0)
    for left in (2, 1, 0, 0):
        uses.spend(7 << 20)
        assert uses[7 << 20] == left
    assert uses.fits(ENTRIES_MIN)
    assert not uses.fits(ENTRIES_MIN + 1)
    assert Uses(1 << 30, 10_000).fits(1 << 30)


def test_a_shard_may_hold_anything_until_its_filter_is_there() -> None:
    filters = Filters([1, 2], 1 << 20)
    assert filters.may_hold(1, 5)
    assert filters.due(1, 0)
    filters.begin(1)
    assert not filters.due(1, 0)
    filters.add(1, 5)
    filters.install(1, Filter(10, 1 << 20))
    assert (filters.may_hold(1, 5), filters.may_hold(1, 6 << 58)) == (True, False), "what came meanwhile is in it"
    assert filters.may_hold(2, 5)
    filters.begin(2)
    filters.install(2, None)
    assert filters.due(2, 0)


def test_a_filter_is_made_anew_when_it_no_longer_fits() -> None:
    filters = Filters([1], 1 << 20)
    filters.install(1, Filter(10, 1 << 20))
    for hash in THERE:
        filters.add(1, hash)
    assert filters.due(1, len(THERE))
    filters.install(1, Filter(len(THERE), 1 << 20))
    for hash in THERE:
        filters.add(1, hash)
    assert not filters.due(1, len(THERE))
    assert filters.due(1, 100), "most of it has left"
