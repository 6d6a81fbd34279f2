"""Managed policies in the API's words mean what they mean to nodes."""

from __future__ import annotations

import dataclasses

from edgeproxy.cloudfront.managed import CACHE_POLICIES, ORIGIN_REQUEST_POLICIES
from edgeproxy.cloudfront.policies import Policies
from edgeproxy.cloudfront.response_policies import RESPONSE_POLICIES
from edgeproxy.control.kinds import CACHE_POLICY, ORIGIN_REQUEST_POLICY, RESPONSE_HEADERS_POLICY
from edgeproxy.control.managed import managed
from edgeproxy.control.records import wrapped
from edgeproxy.reading import Document


def test_response_headers_policies_read_back_are_the_same() -> None:
    for policy in RESPONSE_POLICIES:
        resource = managed()[RESPONSE_HEADERS_POLICY.name, policy.id]
        shown = wrapped(resource)["ResponseHeadersPolicy"]["ResponseHeadersPolicyConfig"]
        if policy.cors is not None and not policy.cors.methods:
            shown["CorsConfig"]["AccessControlAllowMethods"] = {"Quantity": 1, "Items": ["GET"]}  # own ones need some
        policies = Policies()
        wrap = {"ResponseHeadersPolicy": {"Id": "copy", "ResponseHeadersPolicyConfig": shown}}
        assert policies.read(Document("x", wrap)) == []
        again = policies.response_headers["copy"]
        assert again.added == policy.added
        if policy.cors is not None and policy.cors.methods:
            assert again.cors == policy.cors


def test_every_managed_policy_read_back_from_the_api_is_the_same() -> None:
    for kind, known in ((CACHE_POLICY, CACHE_POLICIES), (ORIGIN_REQUEST_POLICY, ORIGIN_REQUEST_POLICIES)):
        for policy in known:
            resource = managed()[kind.name, policy.id]
            assert resource.managed
            shown = {kind.name: {**wrapped(resource)[kind.name], "Id": "copy"}}
            policies = Policies()
            found = [each for each in policies.read(Document("x", shown)) if "expected up to" not in each.expected]
            assert found == [], policy.name
            table = policies.cache if kind is CACHE_POLICY else policies.origin_request
            if "copy" in table:
                again = dataclasses.replace(table["copy"], id=policy.id, name=policy.name, source="")
                assert again.query == policy.query
                assert again.cookies == policy.cookies
                assert again.headers == policy.headers
