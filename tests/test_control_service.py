"""Requests and the operations they mean."""

from __future__ import annotations

import pytest

from edgeproxy.control.service import find, payload_of, routes, service, statuses

PAGE = {"Marker": "a/b", "MaxItems": "2"}
CALLS = [
    ("POST", "/2020-05-31/distribution", "", "CreateDistribution", {}),
    ("POST", "/2020-05-31/distribution", "WithTags", "CreateDistributionWithTags", {}),
    ("POST", "/2020-05-31/distribution", "WithTags=", "CreateDistributionWithTags", {}),
    ("GET", "/2020-05-31/distribution/E%31", "", "GetDistribution", {"Id": "E1"}),
    ("GET", "/2020-05-31/distribution/E1/", "", "GetDistribution", {"Id": "E1"}),
    ("PUT", "/2020-05-31/distribution/E1/config", "", "UpdateDistribution", {"Id": "E1", "IfMatch": "ETAG"}),
    ("GET", "/2020-05-31/distribution", "Marker=a%2Fb&MaxItems=2", "ListDistributions", PAGE),
    ("POST", "/2020-05-31/tagging", "Operation=Untag&Resource=arn", "UntagResource", {"Resource": "arn"}),
    ("POST", "/2020-05-31/tagging", "Resource=arn&Operation=Tag", "TagResource", {"Resource": "arn"}),
    ("GET", "/2020-05-31/tagging", "Resource=arn", "ListTagsForResource", {"Resource": "arn"}),
    ("DELETE", "/2020-05-31/cache-policy/1", "", "DeleteCachePolicy", {"Id": "1", "IfMatch": "ETAG"}),
    ("GET", "/2020-05-31/distribution/E1/invalidation/I1", "", "GetInvalidation", {"DistributionId": "E1", "Id": "I1"}),
]  # fmt: skip


@pytest.mark.parametrize(("method", "path", "query", "name", "given"), CALLS)
def test_a_request_means_an_operation(method: str, path: str, query: str, name: str, given: dict[str, str]) -> None:
    call = find(method, path, query, {"If-Match": "ETAG"})
    assert call is not None
    assert (call.operation.name, call.given) == (name, given)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("PATCH", "/2020-05-31/distribution"),
        ("GET", "/2020-05-31/nothing"),
        ("GET", "/2019-03-26/distribution"),
        ("POST", "/2020-05-31/tagging"),
        ("GET", "/2020-05-31/distribution/E1/config/more"),
    ],
)
def test_or_none(method: str, path: str) -> None:
    assert find(method, path, "", {}) is None


def test_every_operation_of_the_model_has_its_route() -> None:
    assert len(routes()) == len(service().operation_names)
    assert statuses()["PreconditionFailed"] == 412
    assert statuses()["BatchTooLarge"] == 413


def test_bodies_are_a_member_or_the_whole_input_or_nothing() -> None:
    def payload(name: str) -> tuple[str, str] | None:
        found = payload_of(service().operation_model(name))
        return None if found is None else (found[0], found[2])

    assert payload("CreateDistribution") == ("DistributionConfig", "DistributionConfig")
    assert payload("CopyDistribution") == ("", "CopyDistributionRequest")
    assert payload("ListDistributions") is None
    assert payload("GetDistribution") is None
