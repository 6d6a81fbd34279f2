"""The policies that CloudFront itself offers, as data (fact sheet 4.6 and 4.7)."""

from __future__ import annotations

from dataclasses import dataclass

from edgeproxy.model import EVERYTHING, NOTHING, Choice, Selector, Ttl


@dataclass(frozen=True, slots=True)
class CachePolicy:
    """What is in the key, and for how long content is kept."""

    id: str
    name: str
    ttl: Ttl
    headers: frozenset[bytes] = frozenset()
    """Lower case, without those CloudFront makes up itself: see `made_up`."""
    cookies: Selector = NOTHING
    query: Selector = NOTHING
    gzip: bool = False
    brotli: bool = False
    made_up: tuple[str, ...] = ()
    """CloudFront-* fields asked for."""
    source: str = ""
    """What it was read from, canonical JSON; empty for a managed one. Part of the revision of whoever uses it."""


@dataclass(frozen=True, slots=True)
class OriginRequestPolicy:
    """What is sent to the origin beside the key."""

    id: str
    name: str
    headers: Selector = NOTHING
    cookies: Selector = NOTHING
    query: Selector = NOTHING
    made_up: tuple[str, ...] = ()
    source: str = ""


def listed(*names: str) -> Selector:
    """These names."""
    return Selector(Choice.LISTED, frozenset(name.encode() for name in names))


_DAY_YEAR = Ttl(1, 86_400, 31_536_000)
_BY_ORIGIN = Ttl(0, 0, 31_536_000)
_BY_ORIGIN_HEADERS = frozenset({b"host", b"origin", b"x-http-method-override", b"x-http-method", b"x-method-override"})
_CORS = ("origin", "access-control-request-headers", "access-control-request-method")
_VIEWER_HEADERS = tuple(
    f"CloudFront-{name}"
    for name in (
        "Forwarded-Proto", "Is-Android-Viewer", "Is-Desktop-Viewer", "Is-IOS-Viewer", "Is-Mobile-Viewer",
        "Is-SmartTV-Viewer", "Is-Tablet-Viewer", "Viewer-Address", "Viewer-ASN", "Viewer-City", "Viewer-Country",
        "Viewer-Country-Name", "Viewer-Country-Region", "Viewer-Country-Region-Name", "Viewer-Http-Version",
        "Viewer-Latitude", "Viewer-Longitude", "Viewer-Metro-Code", "Viewer-Postal-Code", "Viewer-Time-Zone",
        "Viewer-TLS",
    )
)  # fmt: skip

CACHE_POLICIES = (
    CachePolicy(
        "2e54312d-136d-493c-8eb9-b001f22f67d2",
        "Amplify",
        Ttl(2, 2, 600),
        headers=frozenset({b"authorization", b"host"}),
        cookies=EVERYTHING,
        query=EVERYTHING,
        gzip=True,
        brotli=True,
        made_up=("CloudFront-Viewer-Country",),
    ),
    CachePolicy("4135ea2d-6df8-44a3-9df3-4b5a84be39ad", "CachingDisabled", Ttl(0, 0, 0)),
    CachePolicy("658327ea-f89d-4fab-a63d-7e88639e58f6", "CachingOptimized", _DAY_YEAR, gzip=True, brotli=True),
    CachePolicy("b2884449-e4de-46a7-ac36-70bc7f1ddd6d", "CachingOptimizedForUncompressedObjects", _DAY_YEAR),
    CachePolicy(
        "08627262-05a9-4f76-9ded-b50ca2e3a84f",
        "Elemental-MediaPackage",
        Ttl(0, 86_400, 31_536_000),
        headers=frozenset({b"origin"}),
        query=listed("aws.manifestfilter", "start", "end", "m"),
        gzip=True,
    ),
    CachePolicy(
        "83da9c7e-98b4-4e11-a168-04f0df8e2c65",
        "UseOriginCacheControlHeaders",
        _BY_ORIGIN,
        headers=_BY_ORIGIN_HEADERS,
        cookies=EVERYTHING,
        gzip=True,
        brotli=True,
    ),
    CachePolicy(
        "4cc15a8a-d715-48a4-82b8-cc0b614638fe",
        "UseOriginCacheControlHeaders-QueryStrings",
        _BY_ORIGIN,
        headers=_BY_ORIGIN_HEADERS,
        cookies=EVERYTHING,
        query=EVERYTHING,
        gzip=True,
        brotli=True,
    ),
)

ORIGIN_REQUEST_POLICIES = (
    OriginRequestPolicy("216adef6-5c7f-47e4-b989-5492eafa07d3", "AllViewer", EVERYTHING, EVERYTHING, EVERYTHING),
    OriginRequestPolicy(
        "33f36d7e-f396-46d9-90e0-52428a34d9dc",
        "AllViewerAndCloudFrontHeaders-2022-06",
        EVERYTHING,
        EVERYTHING,
        EVERYTHING,
        made_up=_VIEWER_HEADERS,
    ),
    OriginRequestPolicy(
        "b689b0a8-53d0-40ab-baf2-68738e2966ac",
        "AllViewerExceptHostHeader",
        Selector(Choice.ALL_EXCEPT, frozenset({b"host"})),
        EVERYTHING,
        EVERYTHING,
        made_up=_VIEWER_HEADERS,
    ),
    OriginRequestPolicy("59781a5b-3903-41f3-afcb-af62929ccde1", "CORS-CustomOrigin", listed("origin")),
    OriginRequestPolicy("88a5eaf4-2fd4-4709-b370-b4c650ea3fcf", "CORS-S3Origin", listed(*_CORS)),
    OriginRequestPolicy(
        "775133bc-15f2-49f9-abea-afb2e0bf67d2",
        "Elemental-MediaTailor-PersonalizedManifests",
        listed(*_CORS, "user-agent", "x-forwarded-for"),
        query=EVERYTHING,
    ),
    OriginRequestPolicy("bf0718e1-ba1e-49d1-88b1-f726733018ae", "HostHeaderOnly", listed("host")),
    OriginRequestPolicy(
        "acba4595-bd28-49b8-b9fe-13317c0390fa", "UserAgentRefererHeaders", listed("user-agent", "referer")
    ),
)
