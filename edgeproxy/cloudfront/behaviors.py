"""Cache behaviours of a DistributionConfig (fact sheet 5.1): what is wrong with one, what it cannot do, what it means.

A behaviour says what is keyed and forwarded in one of two ways: by policies, or by the legacy ForwardedValues. Both
become the same `KeyParts` and `Forwarding`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from edgeproxy.cloudfront import schema
from edgeproxy.cloudfront.managed import CachePolicy
from edgeproxy.cloudfront.policies import (
    NAMES_MAX,
    UNKEYABLE,
    Policies,
    forwarding,
    made_up,
    made_up_faults,
    viewer_headers,
)
from edgeproxy.cloudfront.ttl import in_order, ttl
from edgeproxy.cloudfront.viewer import NOT_MADE
from edgeproxy.errors import Fault
from edgeproxy.model import (
    EVERYTHING,
    NOTHING,
    Behavior,
    Caching,
    Choice,
    Failover,
    Forwarding,
    KeyParts,
    Origin,
    OriginKind,
    Rules,
    Selector,
    Ttl,
    ViewerProtocol,
)
from edgeproxy.reading import Document, Location, Note
from edgeproxy.validation import sound

METHOD_SETS = (
    frozenset({"GET", "HEAD"}),
    frozenset({"GET", "HEAD", "OPTIONS"}),
    frozenset({"GET", "HEAD", "OPTIONS", "PUT", "POST", "PATCH", "DELETE"}),
)
"""The sets of AllowedMethods; CachedMethods may be one of the first two (fact sheet 1.1)."""

LEGACY_WITHHELD = frozenset(
    {b"accept", b"accept-charset", b"accept-encoding", b"accept-language", b"authorization", b"expect", b"host",
     b"referer", b"user-agent", b"x-http-method-override"}
)  # fmt: skip
"""What legacy settings do not forward as it came unless it is listed; all else passes (fact sheet 1.5)."""


LEGACY_BYTES_MAX = 512
"""Of all query parameters keyed, and of all cookies listed (fact sheet 14)."""


# What is wrong --------------------------------------------------------------------------------------------------------


def _part(document: Document, where: Location) -> schema.Behavior | None:
    return sound(schema.Behavior if where == ("DefaultCacheBehavior",) else schema.PathBehavior, document, where)


def behavior_faults(
    document: Document, where: Location, policies: Policies, *, s3: bool, alone: bool
) -> Iterator[Fault]:
    """What is wrong with a behaviour whose fields are right by themselves; nothing for any other."""
    part = _part(document, where)
    if part is None:
        return
    yield from _method_faults(document, where, part)
    legacy = part.ForwardedValues
    if legacy is not None:
        for name in ("CachePolicyId", "OriginRequestPolicyId"):
            if getattr(part, name):
                yield document.fault((*where, name), "InvalidArgument: cannot be used beside ForwardedValues")
        yield from _legacy_faults(document, where, part, legacy, s3)
    elif not part.CachePolicyId:
        yield document.fault(where, "InvalidArgument: expected CachePolicyId, or the legacy ForwardedValues")
    if alone:
        return
    if part.CachePolicyId and part.CachePolicyId not in policies.cache:
        yield document.fault((*where, "CachePolicyId"), f"NoSuchCachePolicy: {_UNKNOWN_POLICY}")
    if part.OriginRequestPolicyId and part.OriginRequestPolicyId not in policies.origin_request:
        yield document.fault((*where, "OriginRequestPolicyId"), f"NoSuchOriginRequestPolicy: {_UNKNOWN_POLICY}")
    if part.ResponseHeadersPolicyId and part.ResponseHeadersPolicyId not in policies.response_headers:
        yield document.fault((*where, "ResponseHeadersPolicyId"), f"NoSuchResponseHeadersPolicy: {_UNKNOWN_POLICY}")


_UNKNOWN_POLICY = "neither a managed policy nor one of the files that `policies` lists"


def _method_faults(document: Document, where: Location, part: schema.Behavior) -> Iterator[Fault]:
    methods = part.AllowedMethods
    if methods is None:
        return
    inside = (*where, "AllowedMethods")
    allowed = frozenset(methods.Items)
    if allowed not in METHOD_SETS or len(allowed) != len(methods.Items):
        yield document.fault(
            (*inside, "Items"),
            "InvalidArgument: expected GET, HEAD; or GET, HEAD, OPTIONS; or all seven methods, each once",
        )
    if methods.CachedMethods is None:
        return
    cached = frozenset(methods.CachedMethods.Items)
    if cached not in METHOD_SETS[:2] or len(cached) != len(methods.CachedMethods.Items):
        yield document.fault(
            (*inside, "CachedMethods", "Items"), "InvalidArgument: expected GET, HEAD; or GET, HEAD, OPTIONS, each once"
        )
    elif not cached <= allowed:
        yield document.fault((*inside, "CachedMethods", "Items"), "InvalidArgument: expected methods that are allowed")


def _legacy_faults(
    document: Document, where: Location, part: schema.Behavior, legacy: schema.Forwarded, s3: bool
) -> Iterator[Fault]:
    inside = (*where, "ForwardedValues")
    if part.MinTTL is None:
        yield document.fault((*where, "MinTTL"), "InvalidArgument: expected with ForwardedValues, usually 0")
    if not in_order(ttl(part.MinTTL, part.DefaultTTL, part.MaxTTL)):
        yield document.fault(where, "InvalidTTLOrder: expected MinTTL <= DefaultTTL <= MaxTTL")
    headers = [name.lower() for name in legacy.Headers.Items]
    place = (*inside, "Headers", "Items")
    if "*" in headers and part.MinTTL:
        yield document.fault((*where, "MinTTL"), "InvalidArgument: expected 0 where all headers are forwarded")
    if s3 and "host" in headers:
        yield document.fault(place, "InvalidHeadersForS3Origin: expected no Host")
    for name in headers:
        if name.encode() in UNKEYABLE:
            yield document.fault(place, f"InvalidArgument: {name} cannot be part of the key")
    yield from made_up_faults(document, place, legacy.Headers, keyed=False)
    cookies = legacy.Cookies
    if (cookies.Forward == "whitelist") is not bool(cookies.WhitelistedNames.Items):
        yield document.fault(
            (*inside, "Cookies"), "InvalidForwardCookies: whitelist needs names, nothing else takes any"
        )
    if legacy.QueryStringCacheKeys.Items and not legacy.QueryString:
        yield document.fault(
            (*inside, "QueryStringCacheKeys"), "InvalidQueryStringParameters: expected none where QueryString is false"
        )
    for items, at, code in (
        (headers, place, "TooManyHeadersInForwardedValues"),
        (cookies.WhitelistedNames.Items, (*inside, "Cookies", "WhitelistedNames"), "TooManyCookieNamesInWhiteList"),
        (legacy.QueryStringCacheKeys.Items, (*inside, "QueryStringCacheKeys"), "TooManyQueryStringParameters"),
    ):
        if len(items) > NAMES_MAX:
            yield document.fault(at, f"{code}: expected up to {NAMES_MAX}")
    keys, names = legacy.QueryStringCacheKeys.Items, cookies.WhitelistedNames.Items
    if any(len(key) > 128 for key in keys) or sum(map(len, keys)) > LEGACY_BYTES_MAX:
        yield document.fault(
            (*inside, "QueryStringCacheKeys"),
            f"InvalidQueryStringParameters: expected up to 128 characters each, {LEGACY_BYTES_MAX} in all",
        )
    if sum(map(len, names)) > LEGACY_BYTES_MAX - len(names):
        yield document.fault(
            (*inside, "Cookies", "WhitelistedNames"),
            f"InvalidForwardCookies: expected up to {LEGACY_BYTES_MAX} bytes less one for each name",
        )


# What has no effect ---------------------------------------------------------------------------------------------------


def behavior_notes(document: Document, where: Location, part: schema.Behavior, policies: Policies) -> Iterator[Note]:
    """What a behaviour without faults asks for in vain, apart from single fields."""
    cache = policies.cache.get(part.CachePolicyId)
    more = policies.origin_request.get(part.OriginRequestPolicyId)
    if part.CachePolicyId:
        for name in ("MinTTL", "DefaultTTL", "MaxTTL"):
            if getattr(part, name) is not None:
                yield document.note((*where, name), "has no effect beside CachePolicyId: the policy's own value holds")
    for name, policy in (("CachePolicyId", cache), ("OriginRequestPolicyId", more)):
        if getattr(part, name) and policy is None:
            yield document.note((*where, name), _LISTED)
        elif policy is not None and made_up(policy.made_up) & NOT_MADE:
            yield document.note((*where, name), _FINGERPRINTS)
    if part.ResponseHeadersPolicyId and part.ResponseHeadersPolicyId not in policies.response_headers:
        yield document.note((*where, "ResponseHeadersPolicyId"), _LISTED)
    if part.ForwardedValues is not None and made_up(part.ForwardedValues.Headers.Items) & NOT_MADE:
        yield document.note((*where, "ForwardedValues", "Headers"), _FINGERPRINTS)
    if part.Compress and not _compresses(part, cache):
        yield document.note(
            (*where, "Compress"), "has no effect: the cache policy enables neither gzip nor brotli, or caches nothing"
        )


_LISTED = "is no managed policy; its file has to be listed in `policies`"
_FINGERPRINTS = "accepted, has no effect: the JA3 and JA4 fingerprints of viewers are not added"


def _compresses(part: schema.Behavior, cache: CachePolicy | None) -> bool:
    """Whether anything can come of Compress (fact sheet 4.5); what is not known is given the benefit of the doubt."""
    if part.ForwardedValues is not None or cache is None:
        return True
    return (cache.gzip or cache.brotli) and cache.ttl.maximum > 0


# What it means --------------------------------------------------------------------------------------------------------


def read_behavior(
    part: schema.Behavior,
    origin: Origin,
    policies: Policies,
    error_ttl: Mapping[int, float],
    failover: Failover | None = None,
) -> Behavior:
    """The behaviour; all its policies are known."""
    if part.ForwardedValues is not None:
        times, key, forward = legacy_values(part.ForwardedValues, ttl(part.MinTTL, part.DefaultTTL, part.MaxTTL))
    else:
        cache = policies.cache[part.CachePolicyId]
        more = policies.origin_request[part.OriginRequestPolicyId] if part.OriginRequestPolicyId else None
        times, forward = cache.ttl, forwarding(cache, more)
        keyed = cache.headers | made_up(cache.made_up)
        key = KeyParts(cache.query, cache.cookies, tuple(sorted(keyed)), cache.gzip, cache.brotli)
    if origin.kind is OriginKind.S3 and times.maximum > 0:  # fact sheet 2.5: 0 behaves as 1 s there
        error_ttl = {status: max(1.0, seconds) for status, seconds in error_ttl.items()}
    methods = part.AllowedMethods
    cached = methods.CachedMethods if methods is not None else None
    return Behavior(
        pattern=part.PathPattern if isinstance(part, schema.PathBehavior) else "*",
        origin=origin.id,
        caching=Caching(
            rules=Rules.CLOUDFRONT,
            ttl=times,
            error_ttl=error_ttl,
            forwards_cookies=forward.cookies.choice is not Choice.NONE,
        ),
        key=key,
        forward=forward,
        allowed_methods=METHOD_SETS[0] if methods is None else frozenset(methods.Items),
        cached_methods=METHOD_SETS[0] if cached is None else frozenset(cached.Items),
        viewer_protocol=ViewerProtocol(part.ViewerProtocolPolicy),
        compress=part.Compress,
        failover=failover,
        response=policies.response_headers[part.ResponseHeadersPolicyId] if part.ResponseHeadersPolicyId else None,
    )


def legacy_values(legacy: schema.Forwarded, times: Ttl) -> tuple[Ttl, KeyParts, Forwarding]:
    """What ForwardedValues mean (fact sheet 4.9). `*` among the headers forwards all of them and caches nothing."""
    everything = "*" in legacy.Headers.Items
    listed = frozenset() if everything else viewer_headers(legacy.Headers)
    added = made_up(legacy.Headers.Items)
    cookies = _legacy_cookies(legacy.Cookies)
    keys = frozenset(name.encode() for name in legacy.QueryStringCacheKeys.Items)
    sent = EVERYTHING if legacy.QueryString else NOTHING
    key = KeyParts(
        query=Selector(Choice.LISTED, keys) if keys else sent,
        cookies=cookies,
        headers=tuple(sorted(listed | added)),
        gzip=not everything and b"accept-encoding" not in listed,
    )
    headers = EVERYTHING if everything else Selector(Choice.ALL_EXCEPT, LEGACY_WITHHELD - listed)
    return Ttl(0, 0, 0) if everything else times, key, Forwarding(sent, cookies, headers, added)


def _legacy_cookies(preference: schema.CookiePreference) -> Selector:
    if preference.Forward != "whitelist":
        return EVERYTHING if preference.Forward == "all" else NOTHING
    names = [name.encode() for name in preference.WhitelistedNames.Items]
    return Selector(
        Choice.LISTED,
        frozenset(name for name in names if not _wild(name)),
        tuple(_pattern(name) for name in names if _wild(name)),
    )


def _wild(name: bytes) -> bool:
    return b"*" in name or b"?" in name


def _pattern(name: bytes) -> re.Pattern[bytes]:
    """`*` is any run of characters, `?` one. What a `*` took is never given back, so matching takes linear time."""
    first, *others = (re.escape(part).replace(rb"\?", b".") for part in name.split(b"*"))
    middle = b"".join(b"(?>.*?" + part + b")" for part in others[:-1])
    return re.compile(first + middle + b"".join(b".*" + part for part in others[-1:]), re.DOTALL)
