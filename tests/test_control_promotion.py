"""Staging: a copy of a distribution, traffic sent to it, its promotion; and host names that move."""

from __future__ import annotations

from typing import Any

import pytest

from edgeproxy.control.kinds import CONTINUOUS_DEPLOYMENT, DISTRIBUTION
from edgeproxy.control.promotion import copy, move_alias, promote
from edgeproxy.control.records import aliases
from edgeproxy.control.refusals import Refused
from edgeproxy.control.things import create, update
from edgeproxy.feed import Deployed
from tests.controlling import Pure
from tests.distributions import config, items
from tests.test_control_checks import policy


def code_of(pure: Pure, work: Any, *arguments: Any) -> str:
    with pytest.raises(Refused) as refusal:
        pure.do(work, *arguments)
    return refusal.value.code


def asking(primary: Any, **changes: str) -> dict[str, str]:
    return {"PrimaryDistributionId": primary.id, "Staging": "true", "IfMatch": primary.etag, **changes}


def test_a_copy_is_promoted_and_the_primary_keeps_its_names() -> None:
    pure = Pure()
    primary = pure.do(create, DISTRIBUTION, config(Aliases=items("www.example.test"), Comment="old"))
    staging = pure.do(copy, asking(primary), {"CallerReference": "copy", "Enabled": True})
    assert (staging.config["Staging"], staging.config["Aliases"], staging.config["Comment"]) == (
        True,
        {"Quantity": 0},
        "old",
    )
    made = pure.do(create, CONTINUOUS_DEPLOYMENT, policy(pure.state.domain(staging.id)))
    before = pure.state.number
    primary = pure.do(
        update, DISTRIBUTION, primary.id, {**primary.config, "ContinuousDeploymentPolicyId": made.id}, primary.etag
    )
    told = {each.id: each for each in pure.state.log if isinstance(each, Deployed) and each.number > before}
    assert told.keys() == {primary.id, staging.id}
    assert told[staging.id].primary == primary.id
    assert [list(each) for each in told[primary.id].resources] == [["ContinuousDeploymentPolicy"]]
    assert told[primary.id].resources[0]["ContinuousDeploymentPolicy"]["ETag"] == made.etag
    staging = pure.do(update, DISTRIBUTION, staging.id, {**staging.config, "Comment": "new"}, staging.etag)
    given = {"Id": primary.id, "StagingDistributionId": staging.id, "IfMatch": f"{primary.etag}, {staging.etag}"}
    for wrong in (primary.etag, f"{primary.etag},other", f"other,{staging.etag}", ""):
        assert code_of(pure, promote, {**given, "IfMatch": wrong}) in ("PreconditionFailed", "InvalidIfMatchVersion")
    assert code_of(pure, promote, {**given, "StagingDistributionId": primary.id}) == "IllegalUpdate"
    after = pure.do(promote, given)
    assert (after.config["Comment"], aliases(after.config)) == ("new", ["www.example.test"])
    assert after.config["ContinuousDeploymentPolicyId"] == made.id
    assert (after.config["Staging"], after.config["CallerReference"]) == (False, "1")


def test_only_a_primary_is_copied_and_only_for_staging() -> None:
    pure = Pure()
    primary = pure.do(create, DISTRIBUTION, config())
    assert code_of(pure, copy, asking(primary, Staging="false"), {"CallerReference": "c"}) == "InvalidArgument"
    staging = pure.do(copy, asking(primary), {"CallerReference": "c"})
    assert staging.config["Enabled"] is False
    assert code_of(pure, copy, asking(staging), {"CallerReference": "d"}) == "IllegalUpdate"
    assert code_of(pure, promote, {"Id": primary.id, "IfMatch": f"{primary.etag},x"}) == "NoSuchDistribution"


def test_an_alias_moves_whole() -> None:
    pure = Pure()
    one = pure.do(create, DISTRIBUTION, config(Aliases=items("a.test", "b.test")))
    two = pure.do(create, DISTRIBUTION, config(CallerReference="2"))
    pure.do(move_alias, two.id, "a.test")
    found = {each.id: aliases(each.config) for each in pure.state.of_kind(DISTRIBUTION)}
    assert found == {one.id: ["b.test"], two.id: ["a.test"]}
    assert pure.state.number == 4
    pure.do(move_alias, two.id, "a.test")
    assert pure.state.number == 4
    assert code_of(pure, move_alias, two.id, "c.test") == "InvalidArgument"
    assert code_of(pure, move_alias, "none", "a.test") == "NoSuchDistribution"
