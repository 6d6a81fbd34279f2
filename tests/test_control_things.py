"""Creating, updating, deleting: the rules that all kinds of things share."""

from __future__ import annotations

from typing import Any

import pytest

from edgeproxy.control.kinds import (
    ACCESS_IDENTITY,
    CACHE_POLICY,
    DISTRIBUTION,
    KEY_GROUP,
    PUBLIC_KEY,
    RESPONSE_HEADERS_POLICY,
)
from edgeproxy.control.refusals import Refused
from edgeproxy.control.state import Member
from edgeproxy.control.things import STAGING_MAX, TAGS_MAX, Moment, create, delete, load, tagged, update
from edgeproxy.feed import Deployed, Withdrawn
from tests.controlling import Pure
from tests.distributions import behavior, config, items, web
from tests.test_control_checks import RSA_KEY

POLICY = {"Name": "short", "MinTTL": 0, "MaxTTL": 5}


def refused(work: Any, *arguments: Any, **named: Any) -> str:
    with pytest.raises(Refused) as refusal:
        work(*arguments, **named)
    return refusal.value.code


def test_a_distribution_lives_and_every_change_is_a_record() -> None:
    pure = Pure()
    made = pure.do(create, DISTRIBUTION, config(), tags=[("k", "v")])
    assert made.tags == (("k", "v"),)
    assert pure.state.log == [Deployed(1, made.id, made.etag, made.config)]
    pure.now += 5
    disabled = pure.do(update, DISTRIBUTION, made.id, {**made.config, "Enabled": False}, made.etag)
    assert (disabled.etag != made.etag, disabled.created, disabled.modified) == (True, made.created, made.created + 5)
    assert [each.number for each in pure.state.log] == [2]
    pure.do(delete, DISTRIBUTION, made.id, disabled.etag)
    assert pure.state.log == [Withdrawn(3, made.id)]
    assert pure.state.of_kind(DISTRIBUTION) == []


def test_default_blocks_are_filled_in_and_what_was_given_stays() -> None:
    made = Pure().do(create, DISTRIBUTION, config(Comment="mine"))
    assert made.config["Comment"] == "mine"
    assert made.config["PriceClass"] == "PriceClass_All"
    assert made.config["Origins"]["Items"][0]["ConnectionAttempts"] == 3


def test_a_stale_or_missing_revision_changes_nothing() -> None:
    pure = Pure()
    made = pure.do(create, DISTRIBUTION, config())
    assert refused(pure.do, update, DISTRIBUTION, made.id, made.config, None) == "InvalidIfMatchVersion"
    assert refused(pure.do, update, DISTRIBUTION, made.id, made.config, "E2") == "PreconditionFailed"
    assert refused(pure.do, delete, DISTRIBUTION, made.id, "E2") == "PreconditionFailed"
    assert refused(pure.do, update, DISTRIBUTION, "none", made.config, "E2") == "NoSuchDistribution"
    assert pure.state.number == 1


def test_a_reference_makes_one_distribution_only_and_stays() -> None:
    pure = Pure()
    made = pure.do(create, DISTRIBUTION, config())
    assert refused(pure.do, create, DISTRIBUTION, config(Comment="other")) == "DistributionAlreadyExists"
    changed = {**made.config, "CallerReference": "2"}
    assert refused(pure.do, update, DISTRIBUTION, made.id, changed, made.etag) == "IllegalUpdate"


def test_an_identity_asked_for_again_is_the_same() -> None:
    pure = Pure()
    made = pure.do(create, ACCESS_IDENTITY, {"CallerReference": "1", "Comment": ""})
    assert pure.do(create, ACCESS_IDENTITY, {"CallerReference": "1", "Comment": ""}) == made
    again = {"CallerReference": "1", "Comment": "other"}
    assert refused(pure.do, create, ACCESS_IDENTITY, again) == "CloudFrontOriginAccessIdentityAlreadyExists"


def test_names_are_unique_within_a_kind() -> None:
    pure = Pure()
    one = pure.do(create, CACHE_POLICY, POLICY)
    two = pure.do(create, CACHE_POLICY, {**POLICY, "Name": "two"})
    assert refused(pure.do, create, CACHE_POLICY, POLICY) == "CachePolicyAlreadyExists"
    assert refused(pure.do, update, CACHE_POLICY, two.id, POLICY, two.etag) == "CachePolicyAlreadyExists"
    assert pure.do(update, CACHE_POLICY, one.id, POLICY, one.etag).config == POLICY
    assert pure.do(create, RESPONSE_HEADERS_POLICY, {"Name": "short", "Comment": ""}).id


def test_a_policy_that_changes_concerns_all_distributions_that_use_it_and_stays_while_it_is_used() -> None:
    pure = Pure()
    policy = pure.do(create, CACHE_POLICY, POLICY)
    assert pure.state.number == 0
    using = pure.do(create, DISTRIBUTION, config(DefaultCacheBehavior=behavior(CachePolicyId=policy.id)))
    pure.do(create, DISTRIBUTION, config(CallerReference="other"))
    changed = pure.do(update, CACHE_POLICY, policy.id, {**POLICY, "MaxTTL": 9}, policy.etag)
    record = pure.state.log[-1]
    assert isinstance(record, Deployed)
    assert (record.number, record.id) == (3, using.id)
    assert record.resources == ({"CachePolicy": {"Id": policy.id, "CachePolicyConfig": changed.config}},)
    assert pure.state.get(DISTRIBUTION, using.id).number == 3
    assert refused(pure.do, delete, CACHE_POLICY, policy.id, changed.etag) == "CachePolicyInUse"
    wrong = {**POLICY, "MinTTL": 10}
    assert refused(pure.do, update, CACHE_POLICY, policy.id, wrong, changed.etag) == "InvalidTTLOrder"


def test_managed_policies_are_neither_changed_nor_deleted() -> None:
    pure, id = Pure(), "658327ea-f89d-4fab-a63d-7e88639e58f6"
    etag = pure.state.get(CACHE_POLICY, id).etag
    assert refused(pure.do, update, CACHE_POLICY, id, POLICY, etag) == "IllegalUpdate"
    assert refused(pure.do, delete, CACHE_POLICY, id, etag) == "IllegalDelete"


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"DefaultCacheBehavior": behavior("nowhere")}, "NoSuchOrigin"),
        ({"DefaultCacheBehavior": behavior(CachePolicyId="none")}, "NoSuchCachePolicy"),
        ({"DefaultCacheBehavior": behavior(OriginRequestPolicyId="none")}, "NoSuchOriginRequestPolicy"),
        ({"DefaultCacheBehavior": behavior(ResponseHeadersPolicyId="none")}, "NoSuchResponseHeadersPolicy"),
        (
            {"DefaultCacheBehavior": behavior(TrustedKeyGroups={"Enabled": True, **items("none")})},
            "TrustedKeyGroupDoesNotExist",
        ),
        ({"Origins": items(web(OriginAccessControlId="none"))}, "NoSuchOriginAccessControl"),
        ({"ContinuousDeploymentPolicyId": "none"}, "NoSuchContinuousDeploymentPolicy"),
        ({"Aliases": {"Quantity": 2, "Items": ["a.test"]}}, "InconsistentQuantities"),
        ({"Aliases": items("a.test", "a.test")}, "CNAMEAlreadyExists"),
        ({"Aliases": items("A.test")}, "InvalidArgument"),
        ({"DefaultRootObject": "<"}, "InvalidDefaultRootObject"),
        ({"Comment": 7}, "InvalidArgument"),
        ({"DefaultCacheBehavior": None}, "InvalidArgument"),
    ],
)
def test_what_does_not_hold_together_is_refused_with_cloudfronts_code(changes: dict[str, Any], code: str) -> None:
    pure = Pure()
    assert refused(pure.do, create, DISTRIBUTION, config(**changes)) == code
    assert (pure.state.number, pure.state.resources) == (0, {})


def test_a_host_name_belongs_to_one_distribution() -> None:
    pure = Pure()
    one = pure.do(create, DISTRIBUTION, config(Aliases=items("www.example.test")))
    two = pure.do(create, DISTRIBUTION, config(CallerReference="2", Aliases=items("*.example.test")))
    for alias in ("www.example.test", pure.state.domain(one.id)):
        wanted = {**two.config, "Aliases": items(alias)}
        assert refused(pure.do, update, DISTRIBUTION, two.id, wanted, two.etag) == "CNAMEAlreadyExists"
    assert pure.do(update, DISTRIBUTION, one.id, one.config, one.etag).config == one.config


def test_only_what_is_disabled_everywhere_is_deleted() -> None:
    pure = Pure()
    made = pure.do(create, DISTRIBUTION, config())
    assert refused(pure.do, delete, DISTRIBUTION, made.id, made.etag) == "DistributionNotDisabled"
    pure.state.members["a"] = Member("a", "a", 0, "EPOCH")
    made = pure.do(update, DISTRIBUTION, made.id, {**made.config, "Enabled": False}, made.etag)
    assert refused(pure.do, delete, DISTRIBUTION, made.id, made.etag) == "DistributionNotDisabled"
    pure.state.members["a"] = Member("a", "a", 2, "EPOCH")
    pure.state.settle()
    pure.do(delete, DISTRIBUTION, made.id, made.etag)


def test_quotas() -> None:
    pure = Pure()
    for number in range(CACHE_POLICY.quota):
        pure.do(create, CACHE_POLICY, {**POLICY, "Name": f"n{number}"})
    assert refused(pure.do, create, CACHE_POLICY, POLICY) == "TooManyCachePolicies"
    for number in range(STAGING_MAX):
        pure.do(create, DISTRIBUTION, config(CallerReference=str(number), Staging=True))
    assert refused(pure.do, create, DISTRIBUTION, config(CallerReference="x", Staging=True)) == "TooManyDistributions"
    own = pure.state.of_kind(CACHE_POLICY)[0].id
    for number in range(100):
        pure.do(
            create, DISTRIBUTION, config(CallerReference=f"p{number}", DefaultCacheBehavior=behavior(CachePolicyId=own))
        )
    one_more = config(CallerReference="x", DefaultCacheBehavior=behavior(CachePolicyId=own))
    assert refused(pure.do, create, DISTRIBUTION, one_more) == "TooManyDistributionsAssociatedToCachePolicy"


def test_tags_are_added_and_taken_away_and_the_revision_stays() -> None:
    pure = Pure()
    made = pure.do(create, DISTRIBUTION, config(), tags=[("a", "1"), ("b", "2")])
    pure.do(tagged, made, {"b": "3", "c": ""}, ["a"])
    after = pure.state.get(DISTRIBUTION, made.id)
    assert (after.tags, after.etag, pure.state.number) == ((("b", "3"), ("c", "")), made.etag, 1)
    for tags in (
        {"": "x"},
        {"aws:x": ""},
        {"k": "v" * 257},
        {"k" * 129: ""},
        {str(n): "" for n in range(TAGS_MAX + 1)},
    ):
        assert refused(pure.do, tagged, made, tags) == "InvalidTagging"
    assert (
        refused(pure.do, create, DISTRIBUTION, config(CallerReference="2"), tags=[("a", ""), ("a", "")])
        == "InvalidTagging"
    )


def test_a_file_is_loaded_once_for_each_version_of_it() -> None:
    pure = Pure()

    def loaded(comment: str, digest: str) -> Any:
        found = load(_moment(pure), DISTRIBUTION, "demo", config(Comment=comment), digest)
        if found is not None:
            pure.state.apply(found[0])
        return pure.state.get(DISTRIBUTION, "demo")

    first = loaded("one", "d1")
    by_api = pure.do(update, DISTRIBUTION, "demo", {**first.config, "Comment": "api"}, first.etag)
    assert by_api.loaded == "d1"
    assert loaded("one", "d1").config["Comment"] == "api"
    assert loaded("two", "d2").config["Comment"] == "two"
    assert loaded("two", "d2").created == first.created


def _moment(pure: Pure) -> Moment:
    return Moment(pure.state, pure.ids, pure.now)


def test_a_public_key_keeps_what_it_is_made_of() -> None:
    pure = Pure()
    key = pure.do(create, PUBLIC_KEY, {"CallerReference": "1", "Name": "k", "EncodedKey": RSA_KEY})
    assert key.id.startswith("K")
    other = {**key.config, "Name": "other"}
    assert refused(pure.do, update, PUBLIC_KEY, key.id, other, key.etag) == "CannotChangeImmutablePublicKeyFields"
    pure.do(update, PUBLIC_KEY, key.id, {**key.config, "Comment": "better"}, key.etag)
    group = pure.do(create, KEY_GROUP, {"Name": "g", "Items": [key.id]})
    etag = pure.state.get(PUBLIC_KEY, key.id).etag
    assert refused(pure.do, delete, PUBLIC_KEY, key.id, etag) == "PublicKeyInUse"
    trusted = behavior(TrustedKeyGroups={"Enabled": True, **items(group.id)})
    pure.do(create, DISTRIBUTION, config(DefaultCacheBehavior=trusted))
    assert refused(pure.do, delete, KEY_GROUP, group.id, group.etag) == "ResourceInUse"
    record = pure.state.log[-1]
    assert isinstance(record, Deployed)
    assert {name for each in record.resources for name in each} == {"KeyGroup", "PublicKey"}
    pure.do(update, PUBLIC_KEY, key.id, {**key.config, "Comment": "again"}, etag)
    assert pure.state.number == 2
