"""The shape of policies: what is required, and what is not known (fact sheet 4.2, 4.3)."""

from __future__ import annotations

import pytest
from pydantic import BaseModel

from edgeproxy.cloudfront.policy_schema import CachePolicyConfig, OriginRequestPolicyConfig
from edgeproxy.cloudfront.response_schema import ResponseHeadersPolicyConfig
from edgeproxy.reading import Document
from edgeproxy.validation import validate


@pytest.mark.parametrize(
    ("model", "required"),
    [
        (CachePolicyConfig, {"Name", "MinTTL"}),
        (OriginRequestPolicyConfig, {"Name", "HeadersConfig", "CookiesConfig", "QueryStringsConfig"}),
        (ResponseHeadersPolicyConfig, {"Name"}),
    ],
)
def test_what_the_api_requires(model: type[BaseModel], required: set[str]) -> None:
    _, faults = validate(model, Document("f", {"Colour": 1}))
    assert {fault.place for fault in faults if fault.value == "missing"} == required
    assert {fault.place for fault in faults if fault.value != "missing"} == {"Colour"}
