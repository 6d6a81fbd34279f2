"""Operations that only some clients know: which there are, lists and their pages, users of policies, aliases, tags."""

from __future__ import annotations

from typing import Any

import pytest

from edgeproxy.control.kinds import CACHE_POLICY, DISTRIBUTION
from edgeproxy.control.operations import Asked, find, names
from edgeproxy.control.refusals import Refused
from edgeproxy.control.service import service
from edgeproxy.control.things import Moment, create
from edgeproxy.control.views import arn
from tests.controlling import Pure
from tests.distributions import OPTIMIZED, behavior, config, items


def ask(pure: Pure, name: str, body: Any = None, **given: str) -> Any:
    operation = find(name)
    assert operation is not None, name
    outcome = operation(Moment(pure.state, pure.ids, pure.now), Asked(given, body or {}))
    pure.state.apply(outcome.change)
    return outcome.show(pure.state)


def test_all_that_is_carried_out_is_in_the_model_and_what_is_not_has_no_operation() -> None:
    assert set(names()) <= set(service().operation_names)
    assert find("ListFunctions") is None
    assert len(names()) > 60


def test_pages_follow_each_other() -> None:
    pure = Pure()
    ids = [pure.do(create, DISTRIBUTION, config(CallerReference=str(number))).id for number in range(5)]
    seen: list[str] = []
    given: dict[str, str] = {"MaxItems": "2"}
    while True:
        page = ask(pure, "ListDistributions", **given)
        seen += [each["Id"] for each in page["Items"]]
        assert page["Quantity"] == len(page["Items"])
        if not page["IsTruncated"]:
            assert "NextMarker" not in page
            break
        given["Marker"] = page["NextMarker"]
    assert seen == ids
    empty = ask(Pure(), "ListDistributions")
    assert (empty["Quantity"], empty["MaxItems"], empty["Marker"], "Items" in empty) == (0, 100, "", False)


def test_policies_are_listed_by_type() -> None:
    pure = Pure()
    own = pure.do(create, CACHE_POLICY, {"Name": "own", "MinTTL": 0})
    listed = {
        type: [(each["Type"], each["CachePolicy"]["Id"]) for each in ask(pure, "ListCachePolicies", **given)["Items"]]
        for type, given in (("all", {}), ("managed", {"Type": "managed"}), ("custom", {"Type": "custom"}))
    }
    assert listed["custom"] == [("custom", own.id)]
    assert ("managed", OPTIMIZED) in listed["managed"]
    assert listed["all"] == listed["managed"] + listed["custom"]


def test_who_uses_a_policy() -> None:
    pure = Pure()
    one = pure.do(create, DISTRIBUTION, config())
    own = pure.do(create, CACHE_POLICY, {"Name": "own", "MinTTL": 0})
    two = pure.do(
        create, DISTRIBUTION, config(CallerReference="2", DefaultCacheBehavior=behavior(CachePolicyId=own.id))
    )
    assert ask(pure, "ListDistributionsByCachePolicyId", CachePolicyId=OPTIMIZED)["Items"] == [one.id]
    assert ask(pure, "ListDistributionsByCachePolicyId", CachePolicyId=own.id)["Items"] == [two.id]
    with pytest.raises(Refused):
        ask(pure, "ListDistributionsByOriginRequestPolicyId", OriginRequestPolicyId="none")
    assert ask(pure, "ListDistributionsByWebACLId", WebACLId="null")["Quantity"] == 2
    assert ask(pure, "ListDistributionsByWebACLId", WebACLId="acl")["Quantity"] == 0


def test_aliases_in_conflict_and_aliases_that_move() -> None:
    pure = Pure()
    one = pure.do(create, DISTRIBUTION, config(Aliases=items("www.a.test", "*.b.test")))
    two = pure.do(create, DISTRIBUTION, config(CallerReference="2"))

    def conflicts(alias: str) -> list[str]:
        found = ask(pure, "ListConflictingAliases", DistributionId=two.id, Alias=alias)
        return [each["Alias"] for each in found.get("Items", ())]

    assert conflicts("www.a.test") == ["www.a.test"]
    assert conflicts("*.a.test") == ["www.a.test"]
    assert conflicts("x.b.test") == ["*.b.test"]
    assert conflicts("c.test") == []
    assert ask(pure, "AssociateAlias", TargetDistributionId=two.id, Alias="www.a.test") is None
    assert conflicts("www.a.test") == []
    assert pure.state.get(DISTRIBUTION, one.id).config["Aliases"]["Items"] == ["*.b.test"]


def test_tags() -> None:
    pure = Pure()
    made = pure.do(create, DISTRIBUTION, config())
    resource = arn(DISTRIBUTION, made.id)
    ask(pure, "TagResource", {"Items": [{"Key": "a", "Value": "1"}, {"Key": "b"}]}, Resource=resource)
    ask(pure, "UntagResource", {"Items": ["a"]}, Resource=resource)
    assert ask(pure, "ListTagsForResource", Resource=resource)["Items"] == [{"Key": "b", "Value": ""}]
    with pytest.raises(Refused):
        ask(pure, "TagResource", {}, Resource=arn(DISTRIBUTION, "none"))


def test_invalidations_are_listed_newest_first() -> None:
    pure = Pure()
    id = pure.do(create, DISTRIBUTION, config()).id
    for number in "12":
        batch = {"Paths": items(f"/{number}"), "CallerReference": number}
        made = ask(pure, "CreateInvalidation", batch, DistributionId=id)
        assert made["InvalidationBatch"] == batch
    listed = ask(pure, "ListInvalidations", DistributionId=id)
    assert [each["InvalidationBatch"]["CallerReference"] for each in listed["Items"]] == ["2", "1"]
    assert ask(pure, "GetInvalidation", DistributionId=id, Id=made["Id"]) == made
    for wrong in ({"DistributionId": id, "Id": "none"}, {"DistributionId": "none", "Id": made["Id"]}):
        with pytest.raises(Refused):
            ask(pure, "GetInvalidation", **wrong)
    with pytest.raises(Refused) as refusal:
        ask(
            pure,
            "CreateInvalidation",
            {"Paths": {"Quantity": 2, "Items": ["/"]}, "CallerReference": "3"},
            DistributionId=id,
        )
    assert refusal.value.code == "InconsistentQuantities"
