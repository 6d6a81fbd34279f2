"""Whole configurations: a settings file, the distributions and policies it names, all of it or nothing.

`load` reports every fault of every file at once. A `Configuration` is immutable, so that whoever works with one works
with one state of it from end to end.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from edgeproxy.cloudfront.addresses import Endpoint, endpoint, is_host_name
from edgeproxy.cloudfront.behaviors import legacy_values
from edgeproxy.cloudfront.deployment import read_deployment
from edgeproxy.cloudfront.distribution import QUOTAS, Reading, is_distribution, read_distribution
from edgeproxy.cloudfront.parts import Listed
from edgeproxy.cloudfront.policies import Policies, PolicyKind, is_policy, policies_in
from edgeproxy.cloudfront.schema import CookiePreference, Forwarded
from edgeproxy.errors import ConfigError, Fault
from edgeproxy.feed import Deployed
from edgeproxy.model import Behavior, Caching, Distribution, Forwarding, KeyParts, Origin, Rules, Ttl
from edgeproxy.reading import Document, Note, parse_json, parse_toml, read_bytes, read_text, refused
from edgeproxy.reference import reference_text
from edgeproxy.settings import AccessKey, DistributionFile, Settings
from edgeproxy.topology import resolved, setting_faults, setting_notes
from edgeproxy.validation import sound, validate

__all__ = ["Configuration", "Note", "check_text", "load", "origin_only", "reference_text"]

TIER_KEY = "EDGEPROXY_TIER_KEY"
ACCESS_KEYS = "EDGEPROXY_ACCESS_KEYS"
DISTRIBUTIONS_MAX = 500
"""CloudFront's quota for an account (fact sheet 14)."""
POLICY_FILES_MAX = 500
ALIASES_MAX = QUOTAS["Aliases"][0]


@dataclass(frozen=True, slots=True)
class Given:
    """A distribution or a policy as its file has it, for a control plane to start from."""

    kind: str
    """Under which name the API wraps it: Distribution, CachePolicy and so on."""
    id: str
    config: dict[str, Any]  # Any: JSON
    file: str


@dataclass(frozen=True, slots=True)
class Configuration:
    """One whole, validated configuration."""

    settings: Settings
    """Paths of certificates are absolute; the tier key is in place, wherever it came from."""
    distributions: tuple[Distribution, ...]
    notes: tuple[Note, ...]
    """What was accepted and has no effect, or not the expected one."""
    path: str
    given: tuple[Given, ...] = ()
    """What its files hold: policies first, then distributions."""
    stand_in: str | None = None
    """URL of the one origin that stands for all those of the files (`up --origin`)."""


def load(path: Path, environment: Mapping[str, str], read: Callable[[Path], bytes] = read_bytes) -> Configuration:
    """The configuration of a settings file. Raises ConfigError with every fault of every file.

    `environment` may hold EDGEPROXY_TIER_KEY, which counts when the file has no key. `read` gives a file's bytes and
    raises OSError.
    """
    document = parse_toml(read_text(path, read), str(path))
    tier_key = document.at(("tier", "key")) or environment.get(TIER_KEY) or None
    settings, faults = validate(Settings, document)
    access_keys, found = _access_keys(environment.get(ACCESS_KEYS, ""))
    faults += found
    faults += setting_faults(document, tier_key if isinstance(tier_key, str) else None, bool(access_keys))
    policies, given, found = _policies(document, read)
    faults += found
    readings, found = _readings(document, policies, read)
    faults += found
    for reading in readings:
        faults += reading.faults
    faults += _owned_twice(readings, _zone(document))
    if settings is None or faults:
        raise refused(faults)
    settings = _completed(document, settings, tier_key if isinstance(tier_key, str) else None)
    every = [*settings.control.access_keys, *access_keys]
    settings = settings.model_copy(update={"control": settings.control.model_copy(update={"access_keys": every})})
    notes = [*setting_notes(document, settings), *_unused_redirects(document, readings)]
    notes += _shield_notes(settings, readings)
    for reading in readings:
        notes += reading.notes
    distributions = tuple(reading.distribution for reading in readings if reading.distribution is not None)
    for reading in readings:
        if isinstance(reading.config.data, dict):
            given.append(Given("Distribution", reading.id, reading.config.data, reading.config.file))
    return Configuration(settings, distributions, tuple(notes), str(path), tuple(given))


def _access_keys(text: str) -> tuple[list[AccessKey], list[Fault]]:
    """ID:SECRET, several with commas between."""
    found = [each.strip().partition(":") for each in text.split(",") if each.strip()]
    if all(id.isalnum() and id.isascii() and 16 <= len(secret) <= 128 for id, _, secret in found):
        return [AccessKey(id=id, secret=secret) for id, _, secret in found], []
    expected = "expected ID:SECRET, several with commas between; a secret has 16 to 128 characters"
    return [], [Fault("", ACCESS_KEYS, "not shown", expected)]


def distribution_in(deployed: Deployed, settings: Settings) -> Distribution:
    """What a record of the feed means on a node with these settings. Raises ConfigError for what this version of the
    program cannot read."""
    policies, faults = Policies(), list[Fault]()
    names = {kind.value for kind in PolicyKind}
    for resource in deployed.resources:
        if resource.keys() & names:
            faults += policies.read(Document(deployed.id, resource))
    config = Document(deployed.id, deployed.config, ("DistributionConfig",))
    redirects = _redirects(Document("", {"origins": settings.origins}))
    reading = read_distribution(config, id=deployed.id, zone=settings.zone, policies=policies, redirects=redirects)
    faults += reading.faults
    if reading.distribution is None or faults:
        raise refused(faults)
    try:
        deployment = read_deployment(deployed.config.get("ContinuousDeploymentPolicyId", ""), deployed.resources)
    except ValueError as error:
        raise refused([Fault(deployed.id, "ContinuousDeploymentPolicyId", "", str(error))]) from None
    return replace(reading.distribution, deployment=deployment)


def _completed(document: Document, settings: Settings, tier_key: str | None) -> Settings:
    certificates = [
        each.model_copy(
            update={name: str(resolved(document, getattr(each, name)).absolute()) for name in ("certificate", "key")}
        )
        for each in settings.certificates
    ]
    upstream = settings.upstream
    if upstream.ca_file is not None:
        upstream = upstream.model_copy(update={"ca_file": str(resolved(document, upstream.ca_file).absolute())})
    tier = settings.tier.model_copy(update={"key": tier_key})
    resolver = settings.resolver
    if resolver.location_database is not None:
        path = str(resolved(document, resolver.location_database).absolute())
        resolver = resolver.model_copy(update={"location_database": path})
    return settings.model_copy(
        update={"certificates": certificates, "upstream": upstream, "tier": tier, "resolver": resolver}
    )


def _zone(document: Document) -> str:
    zone = document.at(("zone",))
    return zone if isinstance(zone, str) and is_host_name(zone) else Settings().zone


def _json(path: Path, read: Callable[[Path], bytes], faults: list[Fault]) -> Document | None:
    try:
        return parse_json(read_text(path, read), str(path))
    except ConfigError as error:
        faults += error.faults
        return None


def _policies(document: Document, read: Callable[[Path], bytes]) -> tuple[Policies, list[Given], list[Fault]]:
    policies, given, faults = Policies(), list[Given](), list[Fault]()
    names = document.at(("policies",))
    if isinstance(names, list) and len(names) > POLICY_FILES_MAX:
        faults.append(document.fault(("policies",), f"expected up to {POLICY_FILES_MAX} files"))
    for name in names[:POLICY_FILES_MAX] if isinstance(names, list) else ():
        if isinstance(name, str):
            found = _json(resolved(document, name), read, faults)
            if found is not None:
                faults += policies.read(found)
                given += [
                    Given(kind.value, id, config, found.file)
                    for kind, id, config in policies_in(found)
                    if isinstance(config, dict)
                ]
    return policies, given, faults


def _readings(
    document: Document, policies: Policies, read: Callable[[Path], bytes]
) -> tuple[list[Reading], list[Fault]]:
    readings, faults = list[Reading](), list[Fault]()
    files = document.at(("distributions",))
    count = len(files) if isinstance(files, list) else 0
    if count > DISTRIBUTIONS_MAX:
        faults.append(document.fault(("distributions",), f"TooManyDistributions: expected up to {DISTRIBUTIONS_MAX}"))
    for index in range(min(count, DISTRIBUTIONS_MAX)):
        entry = sound(DistributionFile, document, ("distributions", index))
        if entry is None:
            continue
        found = _json(resolved(document, entry.file), read, faults)
        if found is not None:
            zone, redirects = _zone(document), _redirects(document)
            readings.append(read_distribution(found, id=entry.id, zone=zone, policies=policies, redirects=redirects))
    return readings, faults


def _redirects(document: Document) -> dict[str, Endpoint]:
    """Origins sent elsewhere, as far as they are well-formed."""
    table, redirects = document.at(("origins",)), dict[str, Endpoint]()
    for host, url in table.items() if isinstance(table, dict) else ():
        try:
            redirects[host] = endpoint(str(url))
        except ValueError:
            continue
    return redirects


def _unused_redirects(document: Document, readings: Sequence[Reading]) -> Iterator[Note]:
    used = {
        origin.host_header
        for reading in readings
        if reading.distribution is not None
        for origin in reading.distribution.origins.values()
    }
    for host in _redirects(document):
        if host not in used:
            yield document.note(("origins", host), "has no effect: no distribution has an origin of this name")


def _shield_notes(settings: Settings, readings: Sequence[Reading]) -> Iterator[Note]:
    """Shields without a regional, in a CDN that has regionals at all."""
    regions = {node.region for node in settings.nodes if node.mode == "regional"}
    for reading in readings:
        origins = [] if reading.distribution is None else list(reading.distribution.origins.values())
        for index, origin in enumerate(origins):
            if origin.shield is not None and regions and origin.shield not in regions:
                where = ("Origins", "Items", index, "OriginShield", "OriginShieldRegion")
                yield reading.config.note(where, "has no effect: no regional of these nodes stands in this region")


def _owned_twice(readings: Sequence[Reading], zone: str) -> Iterator[Fault]:
    """Two distributions that want the same id or the same host name (fact sheet 11, "Aliases")."""
    ids: dict[str, Reading] = {}
    for reading in readings:
        other = ids.setdefault(reading.id.lower(), reading)
        if other is not reading:
            yield Fault(
                reading.config.file, "id", json.dumps(reading.id[:64]), f"{other.config.file} has this id already"
            )
    owners = {f"{id}.{zone}": reading for id, reading in ids.items()}
    for reading in readings:
        items = reading.config.at(("Aliases", "Items"))
        aliases = items[: ALIASES_MAX + 1] if isinstance(items, list) else []
        for index, alias in enumerate(aliases):
            if not isinstance(alias, str):
                continue
            other = owners.setdefault(alias.lower(), reading)
            where = ("Aliases", "Items", index)
            if other is not reading:
                yield reading.config.fault(where, f"CNAMEAlreadyExists: it belongs to {other.config.file}")
            elif alias in aliases[:index]:
                yield reading.config.fault(where, "CNAMEAlreadyExists: it is listed twice")


# One file, or none ----------------------------------------------------------------------------------------------------


def check_text(path: Path, environment: Mapping[str, str]) -> str:
    """What there is to say about a file: settings, a distribution or policies, told apart by content.

    Raises ConfigError with every fault. A distribution or policy is looked at by itself; settings with all they name.
    """
    text = read_text(path)
    start = text.lstrip()[:1]
    if start == "{" or (start == "[" and _is_json(text)):
        kind, notes = _check_json(parse_json(text, str(path)))
    else:
        loaded = load(path, environment)
        notes = list(loaded.notes)
        kind = f"settings for {len(loaded.settings.nodes)} nodes, {len(loaded.distributions)} distributions"
    return "\n".join([f"{path}: {kind}: no faults", *(f"note: {note}" for note in notes)])


def _is_json(text: str) -> bool:
    # `[table]` begins a TOML file as well as it does a JSON list.
    try:
        parse_json(text, "")
    except ConfigError:
        return False
    return True


def _check_json(document: Document) -> tuple[str, list[Note]]:
    policies = Policies()
    if is_policy(document.data):
        faults = policies.read(document)
        if faults:
            raise refused(faults)
        return "policies", []
    if not is_distribution(document.data):
        raise refused([document.fault((), "expected settings (TOML), a distribution or a policy (JSON)")])
    reading = read_distribution(document, zone=Settings().zone, policies=policies, redirects={}, alone=True)
    if reading.faults:
        raise refused(reading.faults)
    return f"distribution {reading.id}", reading.notes


def origin_only(url: str, rules: Rules) -> Distribution:
    """The distribution of a plain reverse proxy: one origin, every Host, which is forwarded and keyed; every method.

    In `rfc9111` rules everything is forwarded. In `cloudfront` rules it is what CloudFront does when told no more than
    that: its default TTLs, the whole query string keyed and sent, and no cookies, in either direction.

    Raises ConfigError for a URL that names no origin.
    """
    try:
        where = endpoint(url)
    except ValueError as error:
        raise refused([Fault("--origin", "", url[:200], str(error))]) from None
    origin = Origin(
        "origin", where.host, scheme=where.scheme, http_port=where.port, https_port=where.port, path=where.path
    )
    key, forward = KeyParts(headers=(b"host",)), Forwarding()
    if rules is Rules.CLOUDFRONT:
        legacy = Forwarded(
            QueryString=True, Cookies=CookiePreference(Forward="none"), Headers=Listed(Quantity=1, Items=["Host"])
        )
        _, key, forward = legacy_values(legacy, Ttl())
    digest = hashlib.sha256(f"{rules.value} {url}".encode()).hexdigest()[:16]
    return Distribution(
        id="origin",
        domain=where.host,
        rules=rules,
        revision=digest,
        origins={"origin": origin},
        behaviors=(Behavior("*", "origin", Caching(rules), key, forward),),
        any_host=True,
    )
