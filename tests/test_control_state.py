"""What the control plane knows: transitions of the state, and who an invalidation waits for."""

from __future__ import annotations

import random
import re

import pytest

from edgeproxy.control.kinds import CACHE_POLICY, DISTRIBUTION, KEY_GROUP
from edgeproxy.control.refusals import Refused
from edgeproxy.control.state import (
    Change,
    Invalidation,
    Member,
    Names,
    Resource,
    State,
    acknowledged,
    distribution_of,
    kind_of,
    matching,
)
from edgeproxy.feed import Deployed, Invalidated, Record, Withdrawn
from tests.controlling import ZONE, empty


def resource(id: str, number: int = 0) -> Resource:
    return Resource(DISTRIBUTION.name, id, f"ETAG{id}", {}, 0, 0, number)


def invalidation(number: int, distribution: str = "E1") -> Invalidation:
    return Invalidation(f"I{number}", number, distribution, f"r{number}", ("/*",), False, 0)


def invalidating(number: int) -> Change:
    record = Invalidated(number, f"I{number}", "E1", ("/*",))
    return Change(records=(record,), invalidations=(invalidation(number),))


def test_ids_look_like_cloudfronts() -> None:
    names = Names(random.Random(1).randbytes)
    assert all(re.fullmatch(r"E[A-Z0-9]{13}", names.of(DISTRIBUTION)) for _ in range(100))
    assert all(re.fullmatch(r"I[A-Z0-9]{13}", names.short("I")) for _ in range(100))
    assert re.fullmatch(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", names.of(CACHE_POLICY))


def test_a_change_is_applied_as_one() -> None:
    state = empty()
    deployed: Record = Deployed(1, "E1", "", {})
    state.apply(Change(put=(resource("E1", 1),), records=(deployed,)))
    assert (state.number, state.settled) == (1, 1)
    assert state.get(DISTRIBUTION, "E1").etag == "ETAGE1"
    assert distribution_of(state, "E1").number == 1
    assert state.of_kind(DISTRIBUTION) == [resource("E1", 1)]
    state.apply(Change(drop=((DISTRIBUTION.name, "E1"), (DISTRIBUTION.name, "E2")), records=(Withdrawn(2, "E1"),)))
    assert state.find(DISTRIBUTION, "E1") is None
    assert state.log == [Withdrawn(2, "E1")]
    state.apply(Change(put=(resource("E3"),)))
    assert state.number == 2


def test_what_is_not_there_is_refused_by_its_kind() -> None:
    with pytest.raises(Refused) as refusal:
        empty().get(CACHE_POLICY, "none")
    assert (refusal.value.code, str(refusal.value)) == (
        "NoSuchCachePolicy",
        "The specified cache policy does not exist.",
    )
    with pytest.raises(Refused) as refusal:
        empty().get(KEY_GROUP, "none")
    assert refusal.value.code == "NoSuchResource"


def test_managed_things_are_found_and_are_not_our_own() -> None:
    state = empty()
    assert state.get(CACHE_POLICY, "658327ea-f89d-4fab-a63d-7e88639e58f6").managed
    assert state.of_kind(CACHE_POLICY) == []
    assert kind_of(state.get(CACHE_POLICY, "658327ea-f89d-4fab-a63d-7e88639e58f6")) is CACHE_POLICY


def test_an_invalidation_waits_for_every_node_and_then_stays_completed() -> None:
    state = empty()
    state.members = {name: Member(name, name, 0, "EPOCH") for name in ("b", "a")}
    state.apply(invalidating(1))
    assert state.in_progress("E1") == [invalidation(1)]
    assert state.in_progress("E2") == []
    assert state.waiting_for(1) == ["a", "b"]
    state.members["a"] = acknowledged(state.members["a"], 1, "EPOCH")
    state.settle()
    assert (state.waiting_for(1), state.completed(invalidation(1))) == (["b"], False)
    state.members["b"] = acknowledged(state.members["b"], 1, "EPOCH")
    state.settle()
    assert (state.waiting_for(1), state.completed(invalidation(1))) == ([], True)
    assert state.in_progress("E1") == []
    state.members["new"] = Member("new", "new", 0, "EPOCH")
    state.apply(invalidating(2))
    assert state.completed(invalidation(1))
    assert state.waiting_for(2) == ["a", "b", "new"]
    assert state.deployed(resource("E1", 1))
    assert not state.deployed(resource("E1", 2))


def test_what_a_node_acknowledged_in_another_epoch_counts_for_nothing() -> None:
    state = empty()
    state.members = {"a": Member("a", "a", 99, "BEFORE")}
    state.apply(invalidating(1))
    assert state.waiting_for(1) == ["a"]
    assert acknowledged(state.members["a"], 1, "EPOCH") == Member("a", "a", 1, "EPOCH")
    assert acknowledged(Member("a", "a", 5, "EPOCH"), 3, "EPOCH").number == 5


def test_a_node_that_left_or_whose_lease_lapsed_is_not_waited_for() -> None:
    state = empty()
    state.members = {"a": Member("a", "a", 1, "EPOCH"), "b": Member("b", "b", 0, "EPOCH")}
    state.apply(invalidating(1))
    assert state.settled == 0
    assert state.settle(["b"]) == 1
    state.apply(invalidating(2))
    del state.members["a"], state.members["b"]
    assert state.settle() == 2


def test_old_invalidations_are_forgotten_once_they_are_completed_and_below_the_mark() -> None:
    state = empty()
    state.members = {"a": Member("a", "a", 2, "EPOCH")}
    state.apply(Change(put=(resource("E1", 1),), records=(Deployed(1, "E1", "", {}),)))
    for number in (2, 3, 4):
        state.apply(invalidating(number))
    state.settle()
    state.compact(3)
    assert [each.number for each in state.log] == [1, 4]
    assert [each.number for each in state.invalidations.values()] == [3, 4]
    state.compact(1)
    assert state.low_water == 3


@pytest.mark.parametrize(
    ("given", "code"),
    [(None, "InvalidIfMatchVersion"), ("", "InvalidIfMatchVersion"), ("other", "PreconditionFailed")],
)
def test_a_change_needs_the_revision_that_the_client_has_seen(given: str | None, code: str) -> None:
    with pytest.raises(Refused) as refusal:
        matching(resource("E1"), given)
    assert refusal.value.code == code
    assert matching(resource("E1"), "ETAGE1") == matching(resource("E1"), '"ETAGE1"') == resource("E1")


def test_a_distribution_has_its_host_name_from_its_id() -> None:
    assert State("E", ZONE).domain("E1ABC") == "e1abc.edge.localhost"
