"""The table of kinds against the service model, and what a configuration refers to."""

from __future__ import annotations

from edgeproxy.control.kinds import ACCESS_CONTROL, ACCESS_IDENTITY, CACHE_POLICY, KEY_GROUP, KINDS, named
from edgeproxy.control.service import service, statuses
from tests.distributions import behavior, bucket, config, items


def test_every_kind_is_in_the_model_with_its_operations_and_codes() -> None:
    operations = set(service().operation_names)
    for kind in KINDS.values():
        wanted = {f"{verb}{kind.name}" for verb in ("Create", "Get", "Update", "Delete")}
        assert wanted | {f"Get{kind.config}", f"List{kind.plural}"} <= operations
        assert {kind.exists, kind.missing, kind.in_use, kind.too_many} <= statuses().keys(), kind.name


def test_everything_a_distribution_names_is_found_wherever_it_stands() -> None:
    trusted = {"Enabled": True, **items("G")}
    given = config(
        Origins=items(
            bucket(
                S3OriginConfig={"OriginAccessIdentity": "origin-access-identity/cloudfront/I"},
                OriginAccessControlId="A",
            )
        ),
        DefaultCacheBehavior=behavior("s3", CachePolicyId="P", TrustedKeyGroups=trusted),
        CacheBehaviors=items({**behavior("s3", CachePolicyId="Q", OriginRequestPolicyId=""), "PathPattern": "/a"}),
    )
    assert set(named(given)) == {
        (CACHE_POLICY, "P"),
        (CACHE_POLICY, "Q"),
        (KEY_GROUP, "G"),
        (ACCESS_CONTROL, "A"),
        (ACCESS_IDENTITY, "I"),
    }
