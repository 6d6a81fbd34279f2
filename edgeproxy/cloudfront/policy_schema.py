"""The shape of policies, field by field, under CloudFront's own names (fact sheet 4.2, 4.3)."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from edgeproxy.cloudfront.parts import Listed, Part, no_items, ranged
from edgeproxy.cloudfront.ttl import YEARS_100


class CacheHeaders(Part):
    """Header fields in the key."""

    HeaderBehavior: Literal["none", "whitelist"]
    Headers: Listed[str] = no_items()


class Cookies(Part):
    """Cookies in the key, or sent to the origin."""

    CookieBehavior: Literal["none", "whitelist", "allExcept", "all"]
    Cookies: Listed[str] = no_items()


class QueryStrings(Part):
    """Query parameters in the key, or sent to the origin."""

    QueryStringBehavior: Literal["none", "whitelist", "allExcept", "all"]
    QueryStrings: Listed[str] = no_items()


class KeyParameters(Part):
    """What is in the key, and thereby sent to the origin."""

    EnableAcceptEncodingGzip: bool
    EnableAcceptEncodingBrotli: bool = False
    HeadersConfig: CacheHeaders
    CookiesConfig: Cookies
    QueryStringsConfig: QueryStrings


class CachePolicyConfig(Part):
    """A cache policy (fact sheet 4.2)."""

    Comment: str = ""
    Name: str = Field(min_length=1, max_length=128)
    DefaultTTL: int | None = ranged(None, 0, YEARS_100, unit="s", code="InvalidArgument")
    MaxTTL: int | None = ranged(None, 0, YEARS_100, unit="s", code="InvalidArgument")
    MinTTL: int = ranged(..., 0, YEARS_100, unit="s", code="InvalidArgument")
    ParametersInCacheKeyAndForwardedToOrigin: KeyParameters | None = None


class OriginHeaders(Part):
    """Header fields sent to the origin."""

    HeaderBehavior: Literal["none", "whitelist", "allViewer", "allViewerAndWhitelistCloudFront", "allExcept"]
    Headers: Listed[str] = no_items()


class OriginRequestPolicyConfig(Part):
    """An origin request policy (fact sheet 4.3)."""

    Comment: str = ""
    Name: str = Field(min_length=1, max_length=128)
    HeadersConfig: OriginHeaders
    CookiesConfig: Cookies
    QueryStringsConfig: QueryStrings
