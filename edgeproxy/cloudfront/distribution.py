"""DistributionConfig JSON to `model.Distribution`: what is wrong, what has no effect, and what it means.

Faults of single fields come from `schema.py`; here is how the parts hang together. Those checks look at each part by
itself, so that one broken part hides nothing of the others.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePath
from typing import TypeVar

from edgeproxy.cloudfront import schema
from edgeproxy.cloudfront.addresses import Endpoint, HostKind, host_kind
from edgeproxy.cloudfront.behaviors import behavior_faults, behavior_notes, read_behavior
from edgeproxy.cloudfront.origins import origin_faults, origin_notes, read_origin
from edgeproxy.cloudfront.parts import Part, notes_of, quantity_faults
from edgeproxy.cloudfront.policies import Policies
from edgeproxy.errors import Fault
from edgeproxy.model import Countries, Distribution, ErrorPage, Failover, Rules
from edgeproxy.reading import Document, Location, Note
from edgeproxy.validation import near, sound, unknown, validate

QUOTAS = {
    "Origins": (100, "TooManyOrigins"),
    "OriginGroups": (10, "TooManyOriginGroupsPerDistribution"),
    "CacheBehaviors": (75, "TooManyCacheBehaviors"),
    "Aliases": (100, "TooManyDistributionCNAMEs"),
    "CustomErrorResponses": (11, "InvalidArgument"),
}
"""Fact sheet 14; and one custom error response for each status that may have one."""

M = TypeVar("M", bound=Part)

_ID = re.compile(r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?")
_ENVELOPES = {
    "Distribution": frozenset({"ETag", "Location", "Distribution"}),
    "DistributionConfig": frozenset(
        {"ETag", "Location", "Id", "ARN", "Status", "LastModifiedTime", "InProgressInvalidationBatches", "DomainName",
         "ActiveTrustedSigners", "ActiveTrustedKeyGroups", "AliasICPRecordals", "DistributionConfig"}
    ),
}  # fmt: skip
"""What a configuration may be wrapped in, from the outside in, and what may stand beside it."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What came of a distribution's file; `distribution` is None when there are faults, or none was asked for."""

    id: str
    config: Document
    """The DistributionConfig itself, as far as it can be looked into."""
    distribution: Distribution | None
    faults: list[Fault]
    notes: list[Note]


def is_distribution(data: object) -> bool:
    """Whether a JSON file looks like a distribution's."""
    return isinstance(data, dict) and bool(
        data.keys() & {"Distribution", "DistributionConfig", "DefaultCacheBehavior", "Origins"}
    )


def read_distribution(
    document: Document,
    *,
    id: str = "",
    zone: str,
    policies: Policies,
    redirects: Mapping[str, Endpoint],
    alone: bool = False,
) -> Reading:
    """The distribution in a file, with or without an envelope.

    `id` is what the settings call it, else the envelope's, else the file's name. `redirects` sends origins' host names
    elsewhere. `alone`: the file is only looked at, by itself; a policy that is not known may then be in another file,
    and no distribution is made.
    """
    config, given, faults = _unwrap(document)
    name = id or given or PurePath(document.file).stem
    if not _ID.fullmatch(name):
        faults.append(
            Fault(document.file, "id", json.dumps(name[:64]), "expected up to 63 letters, digits and inner -")
        )
    read, found = validate(schema.DistributionConfig, config)
    faults += found
    faults += quantity_faults(config)
    faults += _relations(config, policies, alone)
    if read is None or faults:
        return Reading(name, config, None, faults, [])
    notes = [config.note(where, sentence) for where, sentence in notes_of(read)]
    notes += _notes(config, read, policies)
    if alone:
        return Reading(name, config, None, [], notes)
    return Reading(name, config, _distribution(config, read, name, zone, policies, redirects), [], notes)


def _unwrap(document: Document) -> tuple[Document, str, list[Fault]]:
    """The configuration itself, the id its envelope gives, and what does not belong into an envelope."""
    faults: list[Fault] = []
    given = ""
    for name, around in _ENVELOPES.items():
        data = document.data
        if not isinstance(data, dict) or name not in data or "DefaultCacheBehavior" in data:
            continue
        faults += [document.fault((key,), unknown(key, sorted(around))) for key in data if key not in around]
        if isinstance(data.get("Id"), str):
            given = data["Id"]
        document = document.inner(name)
    if not document.prefix:
        document = Document(document.file, document.data, ("DistributionConfig",))
    return document, given, faults


# How the parts hang together ------------------------------------------------------------------------------------------


def _items(document: Document, name: str) -> list[object]:
    """A list's items as far as the quota goes: more are one fault, and are not looked at one by one."""
    items = document.at((name, "Items"))
    return items[: QUOTAS[name][0]] if isinstance(items, list) else []


def _ids(document: Document, name: str) -> list[str]:
    """The ids in a list, of broken parts as well; "" where there is none."""
    items = document.at((name, "Items"))
    ids = (item.get("Id") if isinstance(item, dict) else None for item in (items if isinstance(items, list) else ()))
    return [id if isinstance(id, str) else "" for id in ids]


def _sound(model: type[M], document: Document, name: str) -> Iterator[tuple[Location, M]]:
    for index in range(len(_items(document, name))):
        where = (name, "Items", index)
        part = sound(model, document, where)
        if part is not None:
            yield where, part


def _relations(document: Document, policies: Policies, alone: bool) -> Iterator[Fault]:
    yield from _too_many(document)
    origins, groups = _ids(document, "Origins"), _ids(document, "OriginGroups")
    seen: set[str] = set()
    for steps, ids in (("Origins", origins), ("OriginGroups", groups)):
        for index, id in enumerate(ids):
            if id and id in seen:
                yield document.fault((steps, "Items", index, "Id"), "InvalidArgument: another origin has this id")
            seen.add(id)
    if document.at(("Origins", "Items")) == []:
        yield document.fault(("Origins", "Items"), "InvalidArgument: expected at least one origin")
    for where, origin in _sound(schema.Origin, document, "Origins"):
        yield from origin_faults(document, where, origin)
    for where, group in _sound(schema.OriginGroup, document, "OriginGroups"):
        for index, member in enumerate(group.Members.Items):
            if member.OriginId not in origins:
                yield _no_such_origin(document, (*where, "Members", "Items", index, "OriginId"), origins)
    for where in _behaviors(document):
        target = document.at((*where, "TargetOriginId"))
        if isinstance(target, str) and origins and target not in origins and target not in groups:
            yield _no_such_origin(document, (*where, "TargetOriginId"), [*origins, *groups])
        s3 = target in origins and _is_s3(document, origins.index(str(target)))
        if target in groups:
            yield from _group_faults(document, where)
        yield from behavior_faults(document, where, policies, s3=s3, alone=alone)
    yield from _error_faults(document)


def _behaviors(document: Document) -> Iterator[Location]:
    yield ("DefaultCacheBehavior",)
    for index in range(len(_items(document, "CacheBehaviors"))):
        yield ("CacheBehaviors", "Items", index)


def _group_faults(document: Document, where: Location) -> Iterator[Fault]:
    """A request that changes something is never sent to a second origin, so CloudFront takes none of that kind for a
    group (memory: by the words of its error)."""
    methods = document.at((*where, "AllowedMethods", "Items"))
    if isinstance(methods, list) and {"POST", "PUT", "PATCH", "DELETE"} & set(filter(_is_text, methods)):
        yield document.fault(
            (*where, "AllowedMethods", "Items"),
            "InvalidArgument: The parameter AllowedMethods cannot include POST, PUT, PATCH, or DELETE for a cached "
            "behavior associated with an origin group.",
        )


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_s3(document: Document, index: int) -> bool:
    """Whether an origin serves under its own name alone, as buckets and MediaStore containers do (fact sheet 1.4)."""
    domain = document.at(("Origins", "Items", index, "DomainName"))
    media_store = isinstance(domain, str) and host_kind(domain.lower()) is HostKind.MEDIA_STORE
    return media_store or document.at(("Origins", "Items", index, "S3OriginConfig")) is not None


def _no_such_origin(document: Document, where: Location, known: list[str]) -> Fault:
    target = document.at(where)
    return document.fault(where, f"NoSuchOrigin: no origin or origin group has this id{near(str(target), known)}")


def _too_many(document: Document) -> Iterator[Fault]:
    for name, (most, code) in QUOTAS.items():
        items = document.at((name, "Items"))
        if isinstance(items, list) and len(items) > most:
            yield document.fault((name, "Items"), f"{code}: expected up to {most}")


def _error_faults(document: Document) -> Iterator[Fault]:
    seen: set[int] = set()
    for where, response in _sound(schema.CustomErrorResponse, document, "CustomErrorResponses"):
        if response.ErrorCode in seen:
            yield document.fault((*where, "ErrorCode"), "InvalidArgument: another entry has this status")
        if response.ResponsePagePath and not re.fullmatch(r"/[!-~]{0,4095}", response.ResponsePagePath):
            yield document.fault((*where, "ResponsePagePath"), "InvalidArgument: expected a path that starts with /")
        seen.add(response.ErrorCode)


def _notes(document: Document, config: schema.DistributionConfig, policies: Policies) -> Iterator[Note]:
    for index, origin in enumerate(config.Origins.Items):
        yield from origin_notes(document, ("Origins", "Items", index), origin)
    if config.DefaultRootObject.startswith("/"):
        yield document.note(("DefaultRootObject",), "a leading / makes CloudFront ask for //…, which may answer 403")
    buckets = {origin.Id for origin in config.Origins.Items if origin.S3OriginConfig is not None}
    seen: set[str] = set()
    parts: list[schema.Behavior] = [config.DefaultCacheBehavior, *config.CacheBehaviors.Items]
    for where, part in zip(_behaviors(document), parts, strict=True):
        yield from behavior_notes(document, where, part, policies, s3=part.TargetOriginId in buckets)
        pattern = part.PathPattern.removeprefix("/") if isinstance(part, schema.PathBehavior) else None
        if pattern in seen:
            yield document.note((*where, "PathPattern"), "never counts: an earlier behaviour has the same")
        seen.add(pattern or "")


# What it means --------------------------------------------------------------------------------------------------------


def _distribution(
    document: Document,
    config: schema.DistributionConfig,
    id: str,
    zone: str,
    policies: Policies,
    redirects: Mapping[str, Endpoint],
) -> Distribution:
    origins = {origin.Id: read_origin(origin, redirects) for origin in config.Origins.Items}
    groups = {group.Id: group for group in (config.OriginGroups.Items if config.OriginGroups else ())}
    error_ttl: dict[int, float] = {
        entry.ErrorCode: float(entry.ErrorCachingMinTTL) for entry in config.CustomErrorResponses.Items
    }
    parts: list[schema.Behavior] = [*config.CacheBehaviors.Items, config.DefaultCacheBehavior]
    behaviors = []
    for part in parts:
        target, failover = _target(part.TargetOriginId, groups)
        behaviors.append(read_behavior(part, origins[target], policies, error_ttl, failover))
    geo = config.Restrictions.GeoRestriction if config.Restrictions is not None else None
    return Distribution(
        id=id,
        domain=f"{id.lower()}.{zone}",
        rules=Rules.CLOUDFRONT,
        revision=_revision(document, parts, policies),
        origins=origins,
        behaviors=tuple(behaviors),
        aliases=tuple(config.Aliases.Items),
        enabled=config.Enabled,
        default_root_object=config.DefaultRootObject,
        comment=config.Comment,
        price_class=config.PriceClass,
        ipv6=config.IsIPV6Enabled,
        staging=config.Staging,
        tag_header=config.CacheTagConfig.HeaderName.lower().encode() if config.CacheTagConfig else b"",
        countries=_countries(geo),
        error_pages={
            entry.ErrorCode: ErrorPage(entry.ResponsePagePath, int(entry.ResponseCode))
            for entry in config.CustomErrorResponses.Items
            if entry.ResponseCode
        },
    )


def _target(id: str, groups: Mapping[str, schema.OriginGroup]) -> tuple[str, Failover | None]:
    """The origin asked first, and what comes after it where a behaviour names a group."""
    group = groups.get(id)
    if group is None:
        return id, None
    first, second = (member.OriginId for member in group.Members.Items)
    return first, Failover(second, frozenset(group.FailoverCriteria.StatusCodes.Items))


def _countries(geo: schema.Geo | None) -> Countries | None:
    if geo is None or geo.RestrictionType == "none":
        return None
    return Countries(geo.RestrictionType == "whitelist", frozenset(geo.Items))


def _revision(document: Document, behaviors: list[schema.Behavior], policies: Policies) -> str:
    """The same on all nodes that read the same files: a digest of the configuration and of every policy it uses."""
    used = set()
    for part in behaviors:
        cache = policies.cache.get(part.CachePolicyId)
        more = policies.origin_request.get(part.OriginRequestPolicyId)
        response = policies.response_headers.get(part.ResponseHeadersPolicyId)
        used |= {policy.source for policy in (cache, more, response) if policy is not None}
    text = json.dumps([document.data, sorted(used)], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]
