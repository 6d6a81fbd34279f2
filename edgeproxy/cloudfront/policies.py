"""Cache policies and origin request policies: reading them, finding them, and what two of them send together."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import Enum
from itertools import islice
from pathlib import PurePath
from typing import TypeVar

from edgeproxy.cloudfront.managed import CACHE_POLICIES, ORIGIN_REQUEST_POLICIES, CachePolicy, OriginRequestPolicy
from edgeproxy.cloudfront.parts import Listed, quantity_faults
from edgeproxy.cloudfront.policy_schema import CachePolicyConfig, KeyParameters, OriginRequestPolicyConfig
from edgeproxy.cloudfront.response_policies import RESPONSE_POLICIES, policy_faults, read_policy
from edgeproxy.cloudfront.response_schema import ResponseHeadersPolicyConfig
from edgeproxy.cloudfront.ttl import in_order, ttl
from edgeproxy.cloudfront.viewer import BY_EXCEPTION, KNOWN, ONLY_SENT
from edgeproxy.errors import Fault
from edgeproxy.model import EVERYTHING, NOTHING, Choice, Forwarding, ResponsePolicy, Selector
from edgeproxy.reading import Document, Location
from edgeproxy.validation import validate

POLICIES_MAX = 200
"""Policies in one file; an account has far fewer (fact sheet 14)."""
NAMES_MAX = 10
NAME_CHARACTERS_MAX = 1024
"""Names of one kind that a policy may list, and their characters in all (fact sheet 14)."""
UNKEYABLE = frozenset({b"connection", b"cookie", b"proxy-authorization", b"te", b"upgrade"})
"""Fields that cannot be part of the key (fact sheet 1.5)."""

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_ENVELOPE = frozenset({"ETag", "Location", "Id", "LastModifiedTime", "Type", "Quantity", "MaxItems", "NextMarker"})


class PolicyKind(Enum):
    """Value: the name under which the API wraps a policy of this kind."""

    CACHE = "CachePolicy"
    ORIGIN_REQUEST = "OriginRequestPolicy"
    RESPONSE_HEADERS = "ResponseHeadersPolicy"


P = TypeVar("P", CachePolicy, OriginRequestPolicy, ResponsePolicy)


def _by_id_and_name(policies: tuple[P, ...]) -> dict[str, P]:
    return {key: policy for policy in policies for key in (policy.id, policy.name, f"Managed-{policy.name}")}


@dataclass(slots=True)
class Policies:
    """Every policy there is, found by id or by name; the managed ones are there from the start."""

    cache: dict[str, CachePolicy] = field(default_factory=lambda: _by_id_and_name(CACHE_POLICIES))
    origin_request: dict[str, OriginRequestPolicy] = field(
        default_factory=lambda: _by_id_and_name(ORIGIN_REQUEST_POLICIES)
    )
    response_headers: dict[str, ResponsePolicy] = field(default_factory=lambda: _by_id_and_name(RESPONSE_POLICIES))

    def read(self, document: Document) -> list[Fault]:
        """Add the policies of a file, in whatever the command line tool of AWS prints. Returns what is wrong."""
        found, faults = [], list(quantity_faults(document))
        for item in islice(_policies(document, ()), POLICIES_MAX):
            if isinstance(item, Fault):
                faults.append(item)
            else:
                found.append(item)
        if len(found) == POLICIES_MAX:
            faults.append(document.fault((), f"expected fewer than {POLICIES_MAX} policies"))
        for kind, location, given in found:
            faults += self._add(document, kind, location, given or PurePath(document.file).stem)
        if not found and not faults:
            faults.append(document.fault((), "expected a cache, origin request or response headers policy"))
        return faults

    def _add(self, document: Document, kind: PolicyKind, location: Location, id: str) -> list[Fault]:
        source = json.dumps(document.at(location), sort_keys=True, separators=(",", ":"))
        if kind is PolicyKind.CACHE:
            cached, faults = validate(CachePolicyConfig, document, location)
            if cached is not None and not (faults := list(_cache_faults(document, location, cached))):
                policy = _cache_policy(id, cached, source)
                return _put(self.cache, id, policy.name, policy, document, location)
        elif kind is PolicyKind.ORIGIN_REQUEST:
            sent, faults = validate(OriginRequestPolicyConfig, document, location)
            if sent is not None and not (faults := list(_origin_request_faults(document, location, sent))):
                more = _origin_request_policy(id, sent, source)
                return _put(self.origin_request, id, more.name, more, document, location)
        else:
            headers, faults = validate(ResponseHeadersPolicyConfig, document, location)
            if headers is not None and not (faults := list(policy_faults(document, location, headers))):
                dress = read_policy(id, headers, source)
                return _put(self.response_headers, id, dress.name, dress, document, location)
        return faults


V = TypeVar("V")


def _put(table: dict[str, V], id: str, name: str, policy: V, document: Document, location: Location) -> list[Fault]:
    if id in table:
        return [document.fault(location, f"the id {json.dumps(id[:64])} belongs to another policy already")]
    table[id] = policy
    table.setdefault(name, policy)
    return []


def _policies(document: Document, location: Location) -> Iterator[tuple[PolicyKind, Location, str] | Fault]:
    """Where policies stand in a file, and their ids as far as given."""
    data = document.at(location)
    if isinstance(data, list):
        for index in range(len(data)):
            yield from _policies(document, (*location, index))
        return
    if not isinstance(data, dict):
        yield document.fault(location, "expected a policy")
        return
    bare = _bare_kind(data)
    if bare is not None:
        yield bare, location, ""
        return
    given = data.get("Id")
    inside = {f"{kind.value}{suffix}": (kind, suffix) for kind in PolicyKind for suffix in ("", "Config", "List")}
    for name in data:
        if name in inside:
            kind, suffix = inside[name]
            if suffix == "Config":
                yield kind, (*location, name), given if isinstance(given, str) else ""
            else:
                yield from _policies(document, (*location, name))
        elif name == "Items":
            yield from _policies(document, (*location, name))
        elif name not in _ENVELOPE:
            yield document.fault((*location, name), "is not known in a policy file")


def policies_in(document: Document) -> Iterator[tuple[PolicyKind, str, object]]:
    """Kind, id and configuration of every policy in a file without faults."""
    for item in islice(_policies(document, ()), POLICIES_MAX):
        if not isinstance(item, Fault):
            kind, location, given = item
            yield kind, given or PurePath(document.file).stem, document.at(location)


def _bare_kind(data: dict[str, object]) -> PolicyKind | None:
    if "ParametersInCacheKeyAndForwardedToOrigin" in data or "MinTTL" in data:
        return PolicyKind.CACHE
    if "QueryStringsConfig" in data:
        return PolicyKind.ORIGIN_REQUEST
    if data.keys() & ResponseHeadersPolicyConfig.model_fields.keys() - {"Comment", "Name"}:
        return PolicyKind.RESPONSE_HEADERS
    return None


def is_policy(data: object) -> bool:
    """Whether a JSON file looks like one of policies, rather than of a distribution."""
    if isinstance(data, list):
        return True
    wrapped = {f"{kind.value}{suffix}" for kind in PolicyKind for suffix in ("", "Config", "List")}
    return isinstance(data, dict) and (bool(data.keys() & wrapped) or _bare_kind(data) is not None)


# What is wrong with a policy that is well-formed ----------------------------------------------------------------------


def _cache_faults(document: Document, location: Location, config: CachePolicyConfig) -> Iterator[Fault]:
    times = ttl(config.MinTTL, config.DefaultTTL, config.MaxTTL)
    if not in_order(times):
        yield document.fault(location, "InvalidTTLOrder: expected MinTTL <= DefaultTTL <= MaxTTL")
    key = config.ParametersInCacheKeyAndForwardedToOrigin
    if key is None:
        return
    inside = (*location, "ParametersInCacheKeyAndForwardedToOrigin")
    behaviors = _behaviors(key)
    if times.maximum == 0:
        for name, behavior, _ in behaviors:
            if behavior != "none":
                yield document.fault(
                    (*inside, f"{name}sConfig"),
                    f"InvalidArgument: The parameter {name}Behavior is invalid for policy with caching disabled.",
                )
    for name, behavior, names in behaviors:
        yield from _names_faults(
            document, (*inside, f"{name}sConfig", f"{name}s"), behavior, names, f"{name}sInCachePolicy"
        )
    headers = _lower(key.HeadersConfig.Headers)
    where = (*inside, "HeadersConfig", "Headers", "Items")
    if b"accept-encoding" in headers and (key.EnableAcceptEncodingGzip or key.EnableAcceptEncodingBrotli):
        yield document.fault(
            where, "InvalidArgument: Accept-Encoding cannot be listed while EnableAcceptEncoding is on"
        )
    for field_name in sorted(headers & UNKEYABLE):
        yield document.fault(where, f"InvalidArgument: {field_name.decode()} cannot be part of the key")
    yield from made_up_faults(document, where, key.HeadersConfig.Headers, keyed=True)


def _origin_request_faults(
    document: Document, location: Location, config: OriginRequestPolicyConfig
) -> Iterator[Fault]:
    for name, behavior, names in _behaviors(config):
        where = (*location, f"{name}sConfig", f"{name}s")
        yield from _names_faults(document, where, behavior, names, f"{name}sInOriginRequestPolicy")
    headers, where = config.HeadersConfig, (*location, "HeadersConfig", "Headers", "Items")
    if headers.HeaderBehavior == "whitelist" and b"authorization" in _lower(headers.Headers):
        yield document.fault(
            where, "InvalidArgument: Authorization can only be forwarded by a cache policy or allViewer"
        )
    if headers.HeaderBehavior == "allViewerAndWhitelistCloudFront" and len(_made_up(headers.Headers)) != len(
        headers.Headers.Items
    ):
        yield document.fault(where, "InvalidArgument: expected names that begin with CloudFront-")
    yield from made_up_faults(document, where, headers.Headers, keyed=False)


def made_up_faults(document: Document, where: Location, names: Listed[str], *, keyed: bool) -> Iterator[Fault]:
    """CloudFront-* names that do not exist, or that cannot be part of the key (fact sheet 1.9)."""
    for index, name in enumerate(names.Items):
        lower = name.lower().encode()
        if not lower.startswith(b"cloudfront-"):
            continue
        if lower not in KNOWN:
            yield document.fault((*where, index), "InvalidArgument: CloudFront adds no header of this name")
        elif keyed and lower in ONLY_SENT:
            yield document.fault((*where, index), "InvalidArgument: only an origin request policy may name it")


def _behaviors(part: KeyParameters | OriginRequestPolicyConfig) -> tuple[tuple[str, str, Listed[str]], ...]:
    headers, cookies, query = part.HeadersConfig, part.CookiesConfig, part.QueryStringsConfig
    return (
        ("Header", headers.HeaderBehavior, headers.Headers),
        ("Cookie", cookies.CookieBehavior, cookies.Cookies),
        ("QueryString", query.QueryStringBehavior, query.QueryStrings),
    )


def _names_faults(document: Document, where: Location, behavior: str, names: Listed[str], many: str) -> Iterator[Fault]:
    needed = behavior not in ("none", "all", "allViewer")
    if needed is not bool(names.Items):
        yield document.fault(where, f"InvalidArgument: {behavior} {'needs names' if needed else 'takes no names'}")
    if len(names.Items) > NAMES_MAX:
        yield document.fault((*where, "Items"), f"TooMany{many}: expected up to {NAMES_MAX} names")
    if sum(map(len, names.Items)) > NAME_CHARACTERS_MAX:
        yield document.fault(
            (*where, "Items"), f"InvalidArgument: expected up to {NAME_CHARACTERS_MAX} characters in all"
        )
    for index, name in enumerate(names.Items):
        if not name or ("Header" in many and not _TOKEN.fullmatch(name)):
            yield document.fault((*where, "Items", index), "InvalidArgument: expected a name")


# Policies as values ---------------------------------------------------------------------------------------------------

_CHOICES = {
    "none": Choice.NONE,
    "whitelist": Choice.LISTED,
    "allExcept": Choice.ALL_EXCEPT,
    "all": Choice.ALL,
    "allViewer": Choice.ALL,
    "allViewerAndWhitelistCloudFront": Choice.ALL,
}


def selector(behavior: str, names: frozenset[bytes]) -> Selector:
    """What a behaviour of the API picks; a `*` in a policy's names is just a character (fact sheet 4.2)."""
    choice = _CHOICES[behavior]
    if choice is Choice.NONE or (choice is Choice.LISTED and not names):
        return NOTHING
    return EVERYTHING if choice is Choice.ALL else Selector(choice, names)


def _raw(names: Listed[str]) -> frozenset[bytes]:
    return frozenset(name.encode() for name in names.Items)


def _lower(names: Listed[str]) -> frozenset[bytes]:
    return frozenset(name.lower().encode() for name in names.Items)


def _made_up(names: Listed[str]) -> tuple[str, ...]:
    return tuple(name for name in names.Items if name.lower().startswith("cloudfront-"))


def made_up(names: Iterable[str]) -> frozenset[bytes]:
    """The CloudFront-* names among these, as they are compared."""
    return frozenset(lower for name in names if (lower := name.lower().encode()).startswith(b"cloudfront-"))


def viewer_headers(names: Listed[str]) -> frozenset[bytes]:
    """The listed fields that viewers send: lower case, without CloudFront-* ones, which they cannot set."""
    return frozenset(name for name in _lower(names) if not name.startswith(b"cloudfront-"))


def _cache_policy(id: str, config: CachePolicyConfig, source: str) -> CachePolicy:
    times = ttl(config.MinTTL, config.DefaultTTL, config.MaxTTL)
    key = config.ParametersInCacheKeyAndForwardedToOrigin
    if key is None:
        return CachePolicy(id, config.Name, times, source=source)
    return CachePolicy(
        id,
        config.Name,
        times,
        headers=viewer_headers(key.HeadersConfig.Headers),
        cookies=selector(key.CookiesConfig.CookieBehavior, _raw(key.CookiesConfig.Cookies)),
        query=selector(key.QueryStringsConfig.QueryStringBehavior, _raw(key.QueryStringsConfig.QueryStrings)),
        gzip=key.EnableAcceptEncodingGzip,
        brotli=key.EnableAcceptEncodingBrotli,
        made_up=_made_up(key.HeadersConfig.Headers),
        source=source,
    )


def _origin_request_policy(id: str, config: OriginRequestPolicyConfig, source: str) -> OriginRequestPolicy:
    headers, cookies, query = config.HeadersConfig, config.CookiesConfig, config.QueryStringsConfig
    return OriginRequestPolicy(
        id,
        config.Name,
        headers=selector(headers.HeaderBehavior, viewer_headers(headers.Headers)),
        cookies=selector(cookies.CookieBehavior, _raw(cookies.Cookies)),
        query=selector(query.QueryStringBehavior, _raw(query.QueryStrings)),
        made_up=_by_exception(headers.Headers) if headers.HeaderBehavior == "allExcept" else _made_up(headers.Headers),
        source=source,
    )


def _by_exception(names: Listed[str]) -> tuple[str, ...]:
    return tuple(sorted(name.decode() for name in BY_EXCEPTION - made_up(names.Items)))


def together(key: Selector, more: Selector) -> Selector:
    """What reaches the origin when the key picks `key` and the origin request policy `more` (fact sheet 4.3)."""
    match key.choice, more.choice:
        case (Choice.ALL, _) | (_, Choice.ALL):
            return EVERYTHING
        case (Choice.NONE, _):
            return more
        case (_, Choice.NONE):
            return key
        case (Choice.LISTED, Choice.LISTED):
            return Selector(Choice.LISTED, key.names | more.names)
        case (Choice.LISTED, _):
            return Selector(Choice.ALL_EXCEPT, more.names - key.names)
        case (_, Choice.LISTED):
            return Selector(Choice.ALL_EXCEPT, key.names - more.names)
        case _:
            return Selector(Choice.ALL_EXCEPT, key.names | more.names)


def forwarding(cache: CachePolicy, more: OriginRequestPolicy | None) -> Forwarding:
    """What of a viewer's request reaches the origin under these policies."""
    headers, added = selector("whitelist", cache.headers), made_up(cache.made_up)
    if more is None:
        return Forwarding(cache.query, cache.cookies, headers, added)
    return Forwarding(
        together(cache.query, more.query),
        together(cache.cookies, more.cookies),
        together(headers, more.headers),
        added | made_up(more.made_up),
    )
