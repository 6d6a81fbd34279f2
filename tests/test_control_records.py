"""Which records a change makes: for every distribution that looks different now, and for no other."""

from __future__ import annotations

from typing import Any

import pytest

from edgeproxy.control import records
from edgeproxy.control.kinds import CACHE_POLICY, DISTRIBUTION
from edgeproxy.control.records import aliases, completed, users, wrapped
from edgeproxy.control.refusals import Refused
from edgeproxy.control.state import Resource
from edgeproxy.control.things import create
from edgeproxy.feed import Deployed, Withdrawn
from tests.controlling import Pure
from tests.distributions import behavior, config, items


def test_one_change_of_several_things_is_one_run_of_numbers() -> None:
    pure = Pure()
    policy = pure.do(create, CACHE_POLICY, {"Name": "p", "MinTTL": 0})
    used = behavior(CachePolicyId=policy.id)
    for name in "abc":
        pure.do(create, DISTRIBUTION, config(CallerReference=name, DefaultCacheBehavior=used))
    one, two, three = pure.state.of_kind(DISTRIBUTION)
    change = completed(pure.state, (policy,), (one.key,))
    assert [(type(each), each.id, each.number) for each in change.records] == [
        (Deployed, two.id, 4),
        (Deployed, three.id, 5),
        (Withdrawn, one.id, 6),
    ]
    assert [(each.id, each.number) for each in change.put if each.kind == "Distribution"] == [
        (two.id, 4),
        (three.id, 5),
    ]


def test_what_is_too_large_to_be_told_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "LINE_MAX", 1000)
    with pytest.raises(Refused, match="more than 1000 bytes"):
        Pure().do(create, DISTRIBUTION, config(Comment="x" * 1000))


def test_users_and_wraps() -> None:
    pure = Pure()
    policy = pure.do(create, CACHE_POLICY, {"Name": "p", "MinTTL": 0})
    assert users(pure.state, policy) == []
    made = pure.do(create, DISTRIBUTION, config(DefaultCacheBehavior=behavior(CachePolicyId=policy.id)))
    assert [each.id for each in users(pure.state, policy)] == [made.id]
    assert wrapped(policy) == {"CachePolicy": {"Id": policy.id, "CachePolicyConfig": {"Name": "p", "MinTTL": 0}}}


def test_aliases_of_whatever_was_given() -> None:
    assert aliases({"Aliases": items("a", "b")}) == ["a", "b"]
    odds: list[dict[str, Any]] = [
        {},
        {"Aliases": 7},
        {"Aliases": {}},
        {"Aliases": {"Items": 7}},
        {"Aliases": {"Items": [7]}},
    ]
    for odd in odds:
        assert aliases(odd) == []
    assert Resource("Distribution", "E", "", {}, 0, 0).key == ("Distribution", "E")
