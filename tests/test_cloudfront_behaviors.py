"""Cache behaviours: methods, policies, legacy ForwardedValues (fact sheet 1.1, 2.5, 3, 4.9, 5.3)."""

from __future__ import annotations

from typing import Any

import pytest

from edgeproxy.model import EVERYTHING, NOTHING, Behavior, Choice, Selector, Ttl, ViewerProtocol
from tests.distributions import ALL_VIEWER, JSON, behavior, bucket, config, distribution, faults, items, legacy

SEVEN = ("GET", "HEAD", "OPTIONS", "PUT", "POST", "PATCH", "DELETE")


def read(part: JSON, **changes: Any) -> Behavior:
    return distribution(config(DefaultCacheBehavior=part, **changes)).behaviors[-1]


def listed(*names: bytes) -> Selector:
    return Selector(Choice.LISTED, frozenset(names))


def test_1_1_methods_that_are_not_mentioned() -> None:
    made = read(behavior())
    assert made.allowed_methods == made.cached_methods == {"GET", "HEAD"}


@pytest.mark.parametrize("methods", [SEVEN[:2], SEVEN[:3], SEVEN])
def test_1_1_the_three_sets_of_methods(methods: tuple[str, ...]) -> None:
    made = read(behavior(AllowedMethods={**items(*methods), "CachedMethods": items("HEAD", "GET")}))
    assert made.allowed_methods == frozenset(methods)


@pytest.mark.parametrize(
    ("methods", "place"),
    [
        (items("GET"), "AllowedMethods.Items"),
        (items("GET", "HEAD", "POST"), "AllowedMethods.Items"),
        (items("GET", "HEAD", "GET"), "AllowedMethods.Items"),
        ({**items(*SEVEN), "CachedMethods": items("GET", "HEAD", "POST")}, "CachedMethods.Items"),
        ({**items("GET", "HEAD"), "CachedMethods": items("GET", "HEAD", "OPTIONS")}, "CachedMethods.Items"),
        (items("GET", "TRACE"), "AllowedMethods.Items[1]"),
    ],
)
def test_1_1_other_sets_are_faults(methods: JSON, place: str) -> None:
    assert place in faults(config(DefaultCacheBehavior=behavior(AllowedMethods=methods)))[0]


@pytest.mark.parametrize("policy", list(ViewerProtocol))
def test_5_3_viewer_protocol_policies(policy: ViewerProtocol) -> None:
    assert read(behavior(ViewerProtocolPolicy=policy.value)).viewer_protocol is policy


def test_4_3_policies_make_the_key_and_what_is_forwarded() -> None:
    made = read(behavior(CachePolicyId="Elemental-MediaPackage", OriginRequestPolicyId="HostHeaderOnly"))
    assert made.caching.ttl == Ttl(0, 86_400, 31_536_000)
    assert made.key.headers == (b"origin",)
    assert made.key.query == listed(b"aws.manifestfilter", b"start", b"end", b"m")
    assert (made.key.gzip, made.key.brotli) == (True, False)
    assert made.forward.headers == listed(b"origin", b"host")
    assert made.forward.query == made.key.query
    assert made.forward.cookies == NOTHING


def test_1_8_forwarding_cookies_is_known_to_the_caching_rules() -> None:
    assert not read(behavior()).caching.forwards_cookies
    assert read(behavior(OriginRequestPolicyId=ALL_VIEWER)).caching.forwards_cookies
    assert read(legacy(values={"Cookies": {"Forward": "all"}})).caching.forwards_cookies


def test_caching_disabled_makes_a_behaviour_dynamic() -> None:
    assert not read(behavior(CachePolicyId="CachingDisabled")).caches
    assert not read(legacy(values={"Headers": items("*")})).caches
    assert read(behavior()).caches


@pytest.mark.parametrize(
    ("query_string", "keys", "forwarded", "keyed"),
    [
        (False, (), NOTHING, NOTHING),
        (True, (), EVERYTHING, EVERYTHING),
        (True, ("a", "b"), EVERYTHING, listed(b"a", b"b")),
    ],
)
def test_4_9_legacy_query_strings(
    query_string: bool, keys: tuple[str, ...], forwarded: Selector, keyed: Selector
) -> None:
    made = read(legacy(values={"QueryString": query_string, "QueryStringCacheKeys": items(*keys)}))
    assert made.forward.query == forwarded
    assert made.key.query == keyed


@pytest.mark.parametrize(
    ("pattern", "picked", "left"),
    [
        ("sess*", b"session", b"asession"),
        ("*id", b"user.id", b"ids"),
        ("a*b*c", b"a--b--c", b"a--b--"),
        ("a?c", b"abc", b"ac"),
        ("*", b"anything", None),
        ("a.c", b"a.c", b"abc"),
    ],
)
def test_4_9_legacy_cookie_names_may_have_wildcards(pattern: str, picked: bytes, left: bytes | None) -> None:
    cookies = {"Forward": "whitelist", "WhitelistedNames": items(pattern)}
    selector = read(legacy(values={"Cookies": cookies})).forward.cookies
    assert selector.picks(picked)
    assert left is None or not selector.picks(left)


def test_4_9_matching_a_wildcard_takes_no_longer_for_hostile_names() -> None:
    cookies = {"Forward": "whitelist", "WhitelistedNames": items("*a" * 40)}
    selector = read(legacy(values={"Cookies": cookies})).forward.cookies
    assert not selector.picks(b"a" * 30 + b"b" * 30_000)  # with backtracking this does not end


def test_1_5_legacy_settings_forward_what_is_not_withheld() -> None:
    made = read(legacy(values={"Headers": items("Accept-Language", "Host")}))
    assert made.key.headers == (b"accept-language", b"host")
    for name in (b"x-anything", b"accept-language", b"host", b"origin"):
        assert made.forward.headers.picks(name)
    for name in (b"accept", b"referer", b"user-agent", b"authorization", b"expect", b"x-http-method-override"):
        assert not made.forward.headers.picks(name)
    assert (made.key.gzip, made.key.brotli) == (True, False)


def test_4_9_all_headers_are_forwarded_and_nothing_is_cached() -> None:
    made = read(legacy(values={"Headers": items("*")}))
    assert made.forward.headers == EVERYTHING
    assert made.caching.ttl == Ttl(0, 0, 0)


LEGACY_BAD: list[tuple[JSON, str]] = [
    (legacy(CachePolicyId="CachingOptimized"), "CachePolicyId is \"CachingOptimized\": InvalidArgument: "),
    (legacy(MinTTL=None) | {}, "MinTTL"),
    (legacy(MinTTL=10, DefaultTTL=5), "InvalidTTLOrder: "),
    (legacy(MinTTL=5, values={"Headers": items("*")}), "MinTTL is 5: InvalidArgument: expected 0"),
    (legacy(values={"Headers": items("Cookie")}), "cookie cannot be part of the key"),
    (legacy(values={"Headers": items(*[f"X-{n}" for n in range(11)])}), "TooManyHeadersInForwardedValues: "),
    (legacy(values={"Cookies": {"Forward": "whitelist"}}), "InvalidForwardCookies: "),
    (
        legacy(values={"Cookies": {"Forward": "whitelist", "WhitelistedNames": items(*["n" * 52] * 10)}}),
        "InvalidForwardCookies: expected up to 512 bytes",
    ),
    (legacy(values={"QueryString": True, "QueryStringCacheKeys": items("a" * 129)}), "expected up to 128 characters"),
    (
        legacy(values={"QueryString": True, "QueryStringCacheKeys": items(*[f"{n}" * 128 for n in range(5)])}),
        "InvalidQueryStringParameters: expected up to 128",
    ),
    (legacy(values={"Cookies": {"Forward": "none", "WhitelistedNames": items("a")}}), "InvalidForwardCookies: "),
    (
        legacy(values={"Cookies": {"Forward": "whitelist", "WhitelistedNames": items(*"abcdefghijk")}}),
        "TooManyCookieNamesInWhiteList: ",
    ),
    (legacy(values={"QueryStringCacheKeys": items("a")}), "InvalidQueryStringParameters: "),
    (
        legacy(values={"QueryString": True, "QueryStringCacheKeys": items(*"abcdefghijk")}),
        "TooManyQueryStringParameters: ",
    ),
    ({"TargetOriginId": "web", "ViewerProtocolPolicy": "allow-all"}, "expected CachePolicyId"),
    (behavior(OriginRequestPolicyId="nobody"), "NoSuchOriginRequestPolicy: "),
]  # fmt: skip


@pytest.mark.parametrize(("part", "expected"), LEGACY_BAD)
def test_behaviours_that_are_refused(part: JSON, expected: str) -> None:
    (fault,) = faults(config(DefaultCacheBehavior={name: value for name, value in part.items() if value is not None}))
    assert expected in fault


def test_1_4_an_s3_origin_cannot_be_keyed_on_host() -> None:
    part = legacy("s3", values={"Headers": items("Host")})
    (fault,) = faults(config(Origins=items(bucket()), DefaultCacheBehavior=part))
    assert "InvalidHeadersForS3Origin" in fault


def test_2_5_error_caching_times_and_the_least_one_for_s3() -> None:
    responses = items({"ErrorCode": 404, "ErrorCachingMinTTL": 0}, {"ErrorCode": 500, "ErrorCachingMinTTL": 60})
    assert read(behavior(), CustomErrorResponses=responses).caching.error_ttl == {404: 0, 500: 60}
    s3 = read(behavior("s3"), Origins=items(bucket()), CustomErrorResponses=responses)
    assert s3.caching.error_ttl == {404: 1, 500: 60}
