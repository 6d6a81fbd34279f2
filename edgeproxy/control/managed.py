"""CloudFront's own policies as the API shows them: what `cloudfront/managed.py` holds, said in the API's words."""

from __future__ import annotations

from edgeproxy.cloudfront.managed import CACHE_POLICIES, ORIGIN_REQUEST_POLICIES, CachePolicy, OriginRequestPolicy
from edgeproxy.cloudfront.response_policies import RESPONSE_POLICIES, SECURITY_NAMES
from edgeproxy.control.kinds import CACHE_POLICY, ORIGIN_REQUEST_POLICY, RESPONSE_HEADERS_POLICY
from edgeproxy.control.state import Resource
from edgeproxy.feed import Json
from edgeproxy.model import AddedField, Choice, ResponsePolicy, Selector

SINCE = 1_591_000_000.0
"""When managed policies were new; nobody is told more exactly."""


def managed() -> dict[tuple[str, str], Resource]:
    """Every managed policy, by kind and id."""
    found = [_resource(CACHE_POLICY.name, each.id, _cache(each)) for each in CACHE_POLICIES]
    found += [_resource(ORIGIN_REQUEST_POLICY.name, each.id, _origin_request(each)) for each in ORIGIN_REQUEST_POLICIES]
    found += [_resource(RESPONSE_HEADERS_POLICY.name, each.id, _response_headers(each)) for each in RESPONSE_POLICIES]
    return {each.key: each for each in found}


def _resource(kind: str, id: str, config: Json) -> Resource:
    etag = "E" + id.replace("-", "").upper()[:13]
    return Resource(kind, id, etag, config, SINCE, SINCE, managed=True)


def _cache(policy: CachePolicy) -> Json:
    headers = sorted(name.decode() for name in policy.headers) + list(policy.made_up)
    return {
        "Comment": "",
        "Name": f"Managed-{policy.name}",
        "DefaultTTL": int(policy.ttl.default),
        "MaxTTL": int(policy.ttl.maximum),
        "MinTTL": int(policy.ttl.minimum),
        "ParametersInCacheKeyAndForwardedToOrigin": {
            "EnableAcceptEncodingGzip": policy.gzip,
            "EnableAcceptEncodingBrotli": policy.brotli,
            "HeadersConfig": {"HeaderBehavior": "whitelist", "Headers": _listed(headers)}
            if headers
            else {"HeaderBehavior": "none"},
            "CookiesConfig": _chosen("Cookie", policy.cookies),
            "QueryStringsConfig": _chosen("QueryString", policy.query),
        },
    }


def _origin_request(policy: OriginRequestPolicy) -> Json:
    headers = _chosen("Header", policy.headers)
    if headers["HeaderBehavior"] == "all":
        headers["HeaderBehavior"] = "allViewer"
    if headers["HeaderBehavior"] == "allViewer" and policy.made_up:
        headers = {"HeaderBehavior": "allViewerAndWhitelistCloudFront", "Headers": _listed(policy.made_up)}
    return {
        "Comment": "",
        "Name": f"Managed-{policy.name}",
        "HeadersConfig": headers,
        "CookiesConfig": _chosen("Cookie", policy.cookies),
        "QueryStringsConfig": _chosen("QueryString", policy.query),
    }


def _response_headers(policy: ResponsePolicy) -> Json:
    made: Json = {"Comment": "", "Name": f"Managed-{policy.name}"}
    if policy.cors is not None:
        cors = policy.cors
        made["CorsConfig"] = {
            "AccessControlAllowOrigins": _listed(cors.origins),
            "AccessControlAllowHeaders": _listed(cors.headers),
            "AccessControlAllowMethods": _listed(cors.methods),
            "AccessControlAllowCredentials": cors.credentials,
            "AccessControlExposeHeaders": _listed(cors.exposed),
            "OriginOverride": cors.override,
        }
    security = {SECURITY_NAMES[each.name.decode().lower()]: each for each in policy.added}
    if security:
        made["SecurityHeadersConfig"] = {name: _security(name, each) for name, each in security.items()}
    return made


def _security(name: str, field: AddedField) -> Json:
    """The one value that managed policies give each of these fields."""
    said: Json = {"Override": field.override}
    value = field.value.decode()
    match name:
        case "StrictTransportSecurity":
            said["AccessControlMaxAgeSec"] = int(value.removeprefix("max-age="))
        case "FrameOptions":
            said["FrameOption"] = value
        case "XSSProtection":
            said |= {"Protection": True, "ModeBlock": value.endswith("mode=block")}
        case "ReferrerPolicy":
            said["ReferrerPolicy"] = value
    return said


_BEHAVIORS = {
    Choice.NONE: "none",
    Choice.LISTED: "whitelist",
    Choice.ALL_EXCEPT: "allExcept",
    Choice.ALL: "all",
}


def _chosen(name: str, selector: Selector) -> Json:
    said: Json = {f"{name}Behavior": _BEHAVIORS[selector.choice]}
    if selector.names:
        said[f"{name}s"] = _listed(sorted(each.decode() for each in selector.names))
    return said


def _listed(items: list[str] | tuple[str, ...]) -> Json:
    return {"Quantity": len(items), "Items": list(items)}
