"""The managed policies (fact sheet 4.6, 4.7)."""

from __future__ import annotations

import pytest

from edgeproxy.cloudfront.managed import CACHE_POLICIES, ORIGIN_REQUEST_POLICIES
from edgeproxy.model import Choice, Ttl

CACHED: list[tuple[str, str, Ttl, int, Choice, Choice, bool, bool]] = [
    ("Amplify", "2e54312d", Ttl(2, 2, 600), 2, Choice.ALL, Choice.ALL, True, True),
    ("CachingDisabled", "4135ea2d", Ttl(0, 0, 0), 0, Choice.NONE, Choice.NONE, False, False),
    ("CachingOptimized", "658327ea", Ttl(1, 86400, 31536000), 0, Choice.NONE, Choice.NONE, True, True),
    (
        "CachingOptimizedForUncompressedObjects", "b2884449", Ttl(1, 86400, 31536000), 0, Choice.NONE, Choice.NONE,
        False, False,
    ),
    ("Elemental-MediaPackage", "08627262", Ttl(0, 86400, 31536000), 1, Choice.NONE, Choice.LISTED, True, False),
    ("UseOriginCacheControlHeaders", "83da9c7e", Ttl(0, 0, 31536000), 5, Choice.ALL, Choice.NONE, True, True),
    (
        "UseOriginCacheControlHeaders-QueryStrings", "4cc15a8a", Ttl(0, 0, 31536000), 5, Choice.ALL, Choice.ALL,
        True, True,
    ),
]  # fmt: skip


@pytest.mark.parametrize(("name", "id", "ttl", "headers", "cookies", "query", "gzip", "brotli"), CACHED)
def test_4_6(
    name: str, id: str, ttl: Ttl, headers: int, cookies: Choice, query: Choice, gzip: bool, brotli: bool
) -> None:
    (policy,) = [each for each in CACHE_POLICIES if each.name == name]
    assert policy.id.startswith(id)
    assert len(policy.id) == 36
    assert policy.ttl == ttl
    assert len(policy.headers) == headers
    assert (policy.cookies.choice, policy.query.choice) == (cookies, query)
    assert (policy.gzip, policy.brotli) == (gzip, brotli)


SENT: list[tuple[str, str, set[bytes] | Choice, Choice, Choice]] = [
    ("AllViewer", "216adef6", Choice.ALL, Choice.ALL, Choice.ALL),
    ("AllViewerAndCloudFrontHeaders-2022-06", "33f36d7e", Choice.ALL, Choice.ALL, Choice.ALL),
    ("AllViewerExceptHostHeader", "b689b0a8", Choice.ALL_EXCEPT, Choice.ALL, Choice.ALL),
    ("CORS-CustomOrigin", "59781a5b", {b"origin"}, Choice.NONE, Choice.NONE),
    (
        "CORS-S3Origin", "88a5eaf4",
        {b"origin", b"access-control-request-headers", b"access-control-request-method"}, Choice.NONE, Choice.NONE,
    ),
    (
        "Elemental-MediaTailor-PersonalizedManifests", "775133bc",
        {b"origin", b"access-control-request-headers", b"access-control-request-method", b"user-agent",
         b"x-forwarded-for"},
        Choice.NONE, Choice.ALL,
    ),
    ("HostHeaderOnly", "bf0718e1", {b"host"}, Choice.NONE, Choice.NONE),
    ("UserAgentRefererHeaders", "acba4595", {b"user-agent", b"referer"}, Choice.NONE, Choice.NONE),
]  # fmt: skip


@pytest.mark.parametrize(("name", "id", "headers", "cookies", "query"), SENT)
def test_4_7(name: str, id: str, headers: set[bytes] | Choice, cookies: Choice, query: Choice) -> None:
    (policy,) = [each for each in ORIGIN_REQUEST_POLICIES if each.name == name]
    assert policy.id.startswith(id)
    assert len(policy.id) == 36
    if isinstance(headers, Choice):
        assert policy.headers.choice is headers
    else:
        assert policy.headers.names == headers
    assert (policy.cookies.choice, policy.query.choice) == (cookies, query)


def test_there_are_no_others() -> None:
    assert (len(CACHE_POLICIES), len(ORIGIN_REQUEST_POLICIES)) == (7, 8)
    assert len({policy.id for policy in (*CACHE_POLICIES, *ORIGIN_REQUEST_POLICIES)}) == 15
