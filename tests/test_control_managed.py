"""Managed policies in the API's words mean what they mean to nodes."""

from __future__ import annotations

import dataclasses

from edgeproxy.cloudfront.managed import CACHE_POLICIES, ORIGIN_REQUEST_POLICIES
from edgeproxy.cloudfront.policies import Policies
from edgeproxy.control.kinds import CACHE_POLICY, ORIGIN_REQUEST_POLICY
from edgeproxy.control.managed import managed
from edgeproxy.control.records import wrapped
from edgeproxy.reading import Document


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
