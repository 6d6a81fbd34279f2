"""Default blocks: there where nothing was said, and nowhere else; odd input passes through to those who refuse it."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from edgeproxy.control.defaults import filled
from edgeproxy.control.service import service
from edgeproxy.control.xml import parse, serialise
from tests.distributions import behavior, config, faults, items, legacy


def test_blocks_that_clients_rely_on_are_there() -> None:
    made = filled(config(CacheBehaviors=items({**behavior(), "PathPattern": "/a"})))
    shape = service().shape_for("DistributionConfig")
    assert parse(shape, "DistributionConfig", serialise(shape, "DistributionConfig", made)) == made
    assert faults(made) == []
    for each in (made["DefaultCacheBehavior"], made["CacheBehaviors"]["Items"][0]):
        assert each["TrustedSigners"] == {"Enabled": False, "Quantity": 0}
        assert each["AllowedMethods"]["CachedMethods"]["Items"] == ["HEAD", "GET"]
        assert "MinTTL" not in each
    assert made["Origins"]["Items"][0]["CustomOriginConfig"]["OriginReadTimeout"] == 30
    assert made["ViewerCertificate"]["CloudFrontDefaultCertificate"] is True


def test_legacy_settings_have_their_times_and_partial_blocks_are_completed() -> None:
    made = filled(config(DefaultCacheBehavior=legacy(MaxTTL=5, AllowedMethods=items("GET", "HEAD", "OPTIONS"))))
    chosen = made["DefaultCacheBehavior"]
    assert (chosen["MinTTL"], chosen["DefaultTTL"], chosen["MaxTTL"]) == (0, 86_400, 5)
    assert chosen["AllowedMethods"]["Items"] == ["GET", "HEAD", "OPTIONS"]


def test_what_is_given_is_not_changed() -> None:
    given = config(Comment="mine", PriceClass="PriceClass_100")
    before = copy.deepcopy(given)
    assert filled(given)["PriceClass"] == "PriceClass_100"
    assert given == before


@pytest.mark.parametrize(
    "odd",
    [
        {"DefaultCacheBehavior": None},
        {"DefaultCacheBehavior": {"AllowedMethods": 7}},
        {"CacheBehaviors": 7},
        {"CacheBehaviors": {"Items": [7]}},
        {"Origins": {"Items": [7, {"CustomOriginConfig": 7}]}},
        {"Origins": None},
    ],
)
def test_odd_values_pass_through(odd: dict[str, Any]) -> None:
    assert filled(config(**odd))
    assert "Origins" not in filled({})
