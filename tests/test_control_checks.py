"""Keys, groups of keys, access controls and continuous deployment: what must hold."""

from __future__ import annotations

from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from edgeproxy.control.kinds import (
    ACCESS_CONTROL,
    ACCESS_IDENTITY,
    CONTINUOUS_DEPLOYMENT,
    DISTRIBUTION,
    KEY_GROUP,
    PUBLIC_KEY,
    Kind,
)
from edgeproxy.control.refusals import Refused
from edgeproxy.control.things import create, delete, update
from tests.controlling import Pure
from tests.distributions import config, items

JSON = dict[str, Any]  # any JSON object


def pem(key: Any) -> str:
    return str(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode())


RSA_KEY = pem(rsa.generate_private_key(65537, 2048))


def code_of(pure: Pure, kind: Kind, value: JSON) -> str:
    with pytest.raises(Refused) as refusal:
        pure.do(create, kind, value)
    return refusal.value.code


def key(encoded: str, **changes: Any) -> JSON:
    return {"CallerReference": "1", "Name": "k", "EncodedKey": encoded, **changes}


def test_public_keys_are_rsa_2048_or_p256() -> None:
    for good in (RSA_KEY, pem(ec.generate_private_key(ec.SECP256R1())), f"\n{RSA_KEY}\n\n"):
        assert Pure().do(create, PUBLIC_KEY, key(good)).id
    for bad in ("", "no key", RSA_KEY[:100], pem(ec.generate_private_key(ec.SECP384R1()))):
        assert code_of(Pure(), PUBLIC_KEY, key(bad)) == "InvalidArgument"
    assert code_of(Pure(), PUBLIC_KEY, key(RSA_KEY, Name="")) == "InvalidArgument"
    assert code_of(Pure(), PUBLIC_KEY, key(RSA_KEY, Comment="x" * 257)) == "InvalidArgument"


def test_groups_hold_one_to_five_keys_that_exist() -> None:
    pure = Pure()
    ids = [pure.do(create, PUBLIC_KEY, key(RSA_KEY, CallerReference=str(n))).id for n in range(6)]
    assert pure.do(create, KEY_GROUP, {"Name": "g", "Items": ids[:5]}).config["Items"] == ids[:5]
    assert code_of(pure, KEY_GROUP, {"Name": "h", "Items": []}) == "InvalidArgument"
    assert code_of(pure, KEY_GROUP, {"Name": "h", "Items": ids}) == "TooManyPublicKeysInKeyGroup"
    assert code_of(pure, KEY_GROUP, {"Name": "h", "Items": ["none"]}) == "NoSuchPublicKey"


def test_access_controls_sign_in_ways_that_exist() -> None:
    good = {
        "Name": "n",
        "SigningProtocol": "sigv4",
        "SigningBehavior": "always",
        "OriginAccessControlOriginType": "s3",
    }
    assert Pure().do(create, ACCESS_CONTROL, good).id
    for field in list(good)[1:]:
        assert code_of(Pure(), ACCESS_CONTROL, {**good, field: "other"}) == "InvalidArgument"
    assert Pure().do(create, ACCESS_IDENTITY, {"CallerReference": "", "Comment": ""}).id


# Continuous deployment ------------------------------------------------------------------------------------------------

WEIGHT = {"Type": "SingleWeight", "SingleWeightConfig": {"Weight": 0.15}}
HEADER = {"Type": "SingleHeader", "SingleHeaderConfig": {"Header": "aws-cf-cd-Staging", "Value": "yes"}}


def sticky(idle: int, most: int) -> JSON:
    sessions = {"IdleTTL": idle, "MaximumTTL": most}
    return {"Type": "SingleWeight", "SingleWeightConfig": {"Weight": 0.1, "SessionStickinessConfig": sessions}}


@pytest.fixture
def staged() -> tuple[Pure, str]:
    pure = Pure()
    staging = pure.do(create, DISTRIBUTION, config(CallerReference="s", Staging=True))
    return pure, pure.state.domain(staging.id)


def policy(*names: str, traffic: JSON | None = WEIGHT, enabled: bool = True) -> JSON:
    value: JSON = {"StagingDistributionDnsNames": items(*names), "Enabled": enabled}
    return value if traffic is None else {**value, "TrafficConfig": traffic}


@pytest.mark.parametrize("traffic", [WEIGHT, HEADER, sticky(300, 3600), sticky(600, 600)])
def test_traffic_goes_to_staging_by_weight_or_header(staged: tuple[Pure, str], traffic: JSON) -> None:
    pure, name = staged
    made = pure.do(create, CONTINUOUS_DEPLOYMENT, policy(name, traffic=traffic))
    assert made.config["TrafficConfig"] == traffic


@pytest.mark.parametrize(
    "traffic",
    [
        None,
        {**WEIGHT, "Type": "SingleHeader"},
        {**WEIGHT, "Type": "Other"},
        {**WEIGHT, **HEADER},
        {"Type": "SingleWeight", "SingleWeightConfig": {"Weight": 0.16}},
        {"Type": "SingleWeight", "SingleWeightConfig": {"Weight": -0.1}},
        {"Type": "SingleHeader", "SingleHeaderConfig": {"Header": "staging", "Value": "yes"}},
        {"Type": "SingleHeader", "SingleHeaderConfig": {"Header": "aws-cf-cd-", "Value": "yes"}},
        {"Type": "SingleHeader", "SingleHeaderConfig": {"Header": "aws-cf-cd-x", "Value": "ü"}},
        sticky(299, 3600),
        sticky(300, 3601),
        sticky(900, 600),
    ],
)
def test_other_traffic_is_refused(staged: tuple[Pure, str], traffic: JSON | None) -> None:
    pure, name = staged
    assert code_of(pure, CONTINUOUS_DEPLOYMENT, policy(name, traffic=traffic)) == "InvalidArgument"


def test_a_policy_names_one_staging_distribution_that_no_other_policy_names(staged: tuple[Pure, str]) -> None:
    pure, name = staged
    assert code_of(pure, CONTINUOUS_DEPLOYMENT, policy()) == "InvalidArgument"
    assert code_of(pure, CONTINUOUS_DEPLOYMENT, policy(name, name)) == "InvalidArgument"
    assert code_of(pure, CONTINUOUS_DEPLOYMENT, policy("other.edge.localhost")) == "InvalidArgument"
    many = {**policy(name), "StagingDistributionDnsNames": {"Quantity": 2, "Items": [name]}}
    assert code_of(pure, CONTINUOUS_DEPLOYMENT, many) == "InconsistentQuantities"
    pure.do(create, CONTINUOUS_DEPLOYMENT, policy(name))
    assert code_of(pure, CONTINUOUS_DEPLOYMENT, policy(name)) == "StagingDistributionInUse"
    assert pure.do(create, CONTINUOUS_DEPLOYMENT, policy(traffic=None, enabled=False)).id


def test_a_policy_belongs_to_one_primary_which_is_no_staging_one_and_speaks_no_http3(staged: tuple[Pure, str]) -> None:
    pure, name = staged
    id = pure.do(create, CONTINUOUS_DEPLOYMENT, policy(name)).id
    primary = pure.do(create, DISTRIBUTION, config(ContinuousDeploymentPolicyId=id))
    assert primary.config["ContinuousDeploymentPolicyId"] == id
    for changes, code in (
        ({}, "ContinuousDeploymentPolicyInUse"),
        ({"Staging": True}, "InvalidArgument"),
        ({"HttpVersion": "http2and3"}, "InvalidArgument"),
    ):
        value = config(CallerReference="x", ContinuousDeploymentPolicyId=id, **changes)
        assert code_of(pure, DISTRIBUTION, value) == code


def test_a_staging_distribution_stays_while_a_policy_names_it(staged: tuple[Pure, str]) -> None:
    pure, name = staged
    id = pure.do(create, CONTINUOUS_DEPLOYMENT, policy(name)).id
    staging = pure.state.of_kind(DISTRIBUTION)[0]
    staging = pure.do(update, DISTRIBUTION, staging.id, {**staging.config, "Enabled": False}, staging.etag)
    with pytest.raises(Refused) as refusal:
        pure.do(delete, DISTRIBUTION, staging.id, staging.etag)
    assert refusal.value.code == "StagingDistributionInUse"
    pure.do(delete, CONTINUOUS_DEPLOYMENT, id, pure.state.get(CONTINUOUS_DEPLOYMENT, id).etag)
    pure.do(delete, DISTRIBUTION, staging.id, staging.etag)
