"""Policies: files in every shape AWS prints, refusals, and what two of them send together (fact sheet 4.2, 4.3)."""

from __future__ import annotations

import json
from typing import Any

import pytest

from edgeproxy.cloudfront.policies import Policies, forwarding, is_policy, together
from edgeproxy.model import EVERYTHING, NOTHING, Choice, Selector, Ttl
from edgeproxy.reading import Document
from tests.distributions import JSON, items


def cache(headers: JSON | None = None, cookies: JSON | None = None, query: JSON | None = None, **changes: Any) -> JSON:
    return {
        "Name": "mine",
        "MinTTL": 1,
        "ParametersInCacheKeyAndForwardedToOrigin": {
            "EnableAcceptEncodingGzip": changes.pop("gzip", False),
            "EnableAcceptEncodingBrotli": changes.pop("brotli", False),
            "HeadersConfig": headers or {"HeaderBehavior": "none"},
            "CookiesConfig": cookies or {"CookieBehavior": "none"},
            "QueryStringsConfig": query or {"QueryStringBehavior": "none"},
        },
        **changes,
    }


def origin_request(headers: JSON | None = None, **changes: Any) -> JSON:
    return {
        "Name": "sent",
        "HeadersConfig": headers or {"HeaderBehavior": "none"},
        "CookiesConfig": {"CookieBehavior": "none"},
        "QueryStringsConfig": {"QueryStringBehavior": "none"},
        **changes,
    }


def read(data: Any) -> tuple[Policies, list[str]]:
    policies = Policies()
    found = policies.read(Document("static.json", json.loads(json.dumps(data))))
    return policies, [str(fault).removeprefix("static.json: ") for fault in found]


def test_managed_policies_are_found_by_id_and_by_name() -> None:
    policies = Policies()
    found = policies.cache["658327ea-f89d-4fab-a63d-7e88639e58f6"]
    assert found is policies.cache["CachingOptimized"] is policies.cache["Managed-CachingOptimized"]
    assert policies.origin_request["AllViewer"].headers == EVERYTHING


SHAPES: list[tuple[Any, str]] = [
    (cache(), "static"),
    ({"ETag": "E", "CachePolicyConfig": cache()}, "static"),
    ({"ETag": "E", "CachePolicy": {"Id": "p1", "LastModifiedTime": "t", "CachePolicyConfig": cache()}}, "p1"),
    ({"CachePolicyList": items({"Type": "custom", "CachePolicy": {"Id": "p1", "CachePolicyConfig": cache()}})}, "p1"),
    ([{"Id": "p1", "CachePolicyConfig": cache()}], "p1"),
]


@pytest.mark.parametrize(("data", "id"), SHAPES)
def test_a_cache_policy_is_read_in_whatever_shape_aws_prints_it(data: Any, id: str) -> None:
    assert is_policy(data)
    policies, found = read(data)
    assert found == []
    assert policies.cache[id] is policies.cache["mine"]


def test_every_kind_of_policy_may_stand_in_one_file() -> None:
    cors = {"Name": "cors", "RemoveHeadersConfig": items({"Header": "Server"})}
    policies, found = read(
        [cache(), {"Id": "o1", "OriginRequestPolicyConfig": origin_request()}, cors | {"Comment": ""}]
    )
    assert found == ["[2]: the id static belongs to another policy already"] or found == []
    assert policies.cache["static"].name == "mine"
    assert policies.origin_request["o1"].name == "sent"
    assert "cors" in policies.response_headers


def test_4_2_all_that_a_cache_policy_says() -> None:
    policies, found = read(
        cache(
            headers={"HeaderBehavior": "whitelist", "Headers": items("Origin", "CloudFront-Viewer-Country")},
            cookies={"CookieBehavior": "allExcept", "Cookies": items("Tracking*")},
            query={"QueryStringBehavior": "whitelist", "QueryStrings": items("Page")},
            gzip=True,
            DefaultTTL=60,
            MaxTTL=600,
        )
    )
    assert found == []
    policy = policies.cache["mine"]
    assert policy.ttl == Ttl(1, 60, 600)
    assert policy.headers == {b"origin"}
    assert policy.made_up == ("CloudFront-Viewer-Country",)
    assert policy.cookies == Selector(Choice.ALL_EXCEPT, frozenset({b"Tracking*"}))
    assert policy.cookies.picks(b"TrackingX")  # the * is just a character
    assert policy.query == Selector(Choice.LISTED, frozenset({b"Page"}))
    assert (policy.gzip, policy.brotli) == (True, False)


ELEVEN = items(*[f"n{number}" for number in range(11)])
BAD: list[tuple[Any, str]] = [
    (cache(MinTTL=5, DefaultTTL=4), "InvalidTTLOrder: "),
    (cache(MinTTL=-1), "MinTTL is -1: InvalidArgument: expected a whole number from 0 to 3153600000 s"),
    (cache({"HeaderBehavior": "whitelist", "Headers": ELEVEN}), "TooManyHeadersInCachePolicy: "),
    (cache(cookies={"CookieBehavior": "whitelist", "Cookies": ELEVEN}), "TooManyCookiesInCachePolicy: "),
    (cache(query={"QueryStringBehavior": "allExcept", "QueryStrings": ELEVEN}), "TooManyQueryStringsInCachePolicy: "),
    (cache({"HeaderBehavior": "whitelist"}), "whitelist needs names"),
    (cache(cookies={"CookieBehavior": "all", "Cookies": items("a")}), "all takes no names"),
    (cache({"HeaderBehavior": "all"}), "HeaderBehavior is \"all\": expected one of none, whitelist"),
    (cache({"HeaderBehavior": "whitelist", "Headers": items("Cookie")}), "cookie cannot be part of the key"),
    (cache({"HeaderBehavior": "whitelist", "Headers": items("a b")}), "expected a name"),
    (
        cache({"HeaderBehavior": "whitelist", "Headers": items("Accept-Encoding")}, gzip=True),
        "Accept-Encoding cannot be listed",
    ),
    (
        cache({"HeaderBehavior": "whitelist", "Headers": items("Origin")}, MinTTL=0, DefaultTTL=0, MaxTTL=0),
        "The parameter HeaderBehavior is invalid for policy with caching disabled.",
    ),
    (origin_request({"HeaderBehavior": "whitelist", "Headers": items("Authorization")}), "Authorization can only"),
    (
        origin_request({"HeaderBehavior": "allViewerAndWhitelistCloudFront", "Headers": items("Origin")}),
        "names that begin with CloudFront-",
    ),
    ({"CachePolicyConfig": cache(), "Colour": 1}, "Colour is 1: is not known in a policy file"),
    ({"CachePolicyList": {"Quantity": 2, "Items": []}}, "InconsistentQuantities: Items has 0"),
    ({"Name": "nothing"}, "Name is \"nothing\": is not known in a policy file"),
    ([], "expected a cache, origin request or response headers policy"),
    ([1], "[0] is 1: expected a policy"),
    ([{"Id": "p", "CachePolicyConfig": cache()}] * 2, "the id \"p\" belongs to another policy already"),
]  # fmt: skip


@pytest.mark.parametrize(("data", "expected"), BAD)
def test_policies_that_are_refused(data: Any, expected: str) -> None:
    _, found = read(data)
    assert len(found) == 1
    assert expected in found[0]


def test_a_file_with_too_many_policies_is_bounded() -> None:
    _, found = read([{"Id": f"p{number}", "CachePolicyConfig": cache()} for number in range(1000)])
    assert found == ["static.json is a list of 1000: expected fewer than 200 policies"]


def listed(*names: bytes) -> Selector:
    return Selector(Choice.LISTED, frozenset(names))


def blocked(*names: bytes) -> Selector:
    return Selector(Choice.ALL_EXCEPT, frozenset(names))


AB, BC = (b"a", b"b"), (b"b", b"c")
TABLE: list[tuple[Selector, Selector, Selector]] = [
    (NOTHING, NOTHING, NOTHING),
    (NOTHING, EVERYTHING, EVERYTHING),
    (NOTHING, listed(*BC), listed(*BC)),
    (NOTHING, blocked(*BC), blocked(*BC)),
    (EVERYTHING, NOTHING, EVERYTHING),
    (EVERYTHING, EVERYTHING, EVERYTHING),
    (EVERYTHING, listed(*BC), EVERYTHING),
    (EVERYTHING, blocked(*BC), EVERYTHING),
    (listed(*AB), NOTHING, listed(*AB)),
    (listed(*AB), EVERYTHING, EVERYTHING),
    (listed(*AB), listed(*BC), listed(b"a", b"b", b"c")),
    (listed(*AB), blocked(*BC), blocked(b"c")),
    (blocked(*AB), NOTHING, blocked(*AB)),
    (blocked(*AB), EVERYTHING, EVERYTHING),
    (blocked(*AB), listed(*BC), blocked(b"a")),
    (blocked(*AB), blocked(*BC), blocked(b"a", b"b", b"c")),
]


@pytest.mark.parametrize(("key", "more", "both"), TABLE)
def test_4_3_cache_policy_by_origin_request_policy(key: Selector, more: Selector, both: Selector) -> None:
    assert together(key, more) == both


def test_everything_in_the_key_is_forwarded() -> None:
    policies, _ = read(cache({"HeaderBehavior": "whitelist", "Headers": items("Host")}))
    assert forwarding(policies.cache["mine"], None).headers == listed(b"host")
    block = policies.origin_request["AllViewerExceptHostHeader"]
    assert forwarding(policies.cache["mine"], block).headers.picks(b"host")
    assert not forwarding(policies.cache["CachingOptimized"], block).headers.picks(b"host")
