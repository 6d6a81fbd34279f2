"""From a change of the API's things to the records it means for nodes: every distribution that looks different now.

A policy that changes concerns all distributions that use it: each gets a record of its own, whole by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

from edgeproxy.cloudfront.distribution import read_distribution
from edgeproxy.cloudfront.policies import Policies
from edgeproxy.control.kinds import (
    CONTINUOUS_DEPLOYMENT,
    DISTRIBUTION,
    KEY_GROUP,
    KINDS,
    NO_SUCH,
    POLICIES,
    PUBLIC_KEY,
    Kind,
    named,
)
from edgeproxy.control.refusals import refuse, refuse_faults
from edgeproxy.control.state import Change, Resource, State
from edgeproxy.feed import LINE_MAX, Deployed, Json, Record, Withdrawn, encode
from edgeproxy.reading import Document

Things = Mapping[tuple[str, str], Resource]
DISTRIBUTIONS_PER_POLICY_MAX = 100
"""Fact sheet 14."""


def wrapped(resource: Resource) -> Json:
    """A thing as the API wraps it."""
    return {resource.kind: {"Id": resource.id, f"{resource.kind}Config": resource.config}}


def completed(state: State, put: Sequence[Resource], drop: Sequence[tuple[str, str]] = ()) -> Change:
    """The whole change: these things put and dropped, checked against all others, and the records it makes.

    Raises Refused when anything would not hold together afterwards.
    """
    things = {**state.resources, **{each.key: each for each in put}}
    for key in drop:
        things.pop(key, None)
    find = _finder(things, state)
    records: list[Record] = []
    numbered = []
    number = state.number
    for resource in _affected(state, things, put, drop):
        number += 1
        made = _record(resource, number, things, find)
        _check(state, resource, made)
        records.append(made)
        numbered.append(replace(resource, number=number))
    for kind, id in drop:
        if kind == DISTRIBUTION.name:
            number += 1
            records.append(Withdrawn(number, id))
    again = {each.key for each in numbered}
    return Change((*(each for each in put if each.key not in again), *numbered), tuple(drop), tuple(records))


Find = Callable[[Kind, str], Resource | None]


def _finder(things: Things, state: State) -> Find:
    return lambda kind, id: things.get((kind.name, id)) or state.managed.get((kind.name, id))


def distributions(things: Things) -> Iterator[Resource]:
    """All distributions among these."""
    return (each for each in things.values() if each.kind == DISTRIBUTION.name)


def _affected(
    state: State, things: Things, put: Sequence[Resource], drop: Sequence[tuple[str, str]]
) -> Iterator[Resource]:
    """Distributions that nodes have to be told of."""
    changed = {each.key for each in put} | set(drop)
    groups = {
        each.key
        for each in things.values()
        if each.kind == KEY_GROUP.name and any((PUBLIC_KEY.name, id) in changed for id in each.config["Items"])
    }
    for resource in distributions(things):
        if (
            resource.key in changed
            or any((kind.name, id) in changed | groups for kind, id in named(resource.config))
            or (resource.config.get("Staging") and _primary(resource, things) != _primary(resource, state.resources))
        ):
            yield resource


def _primary(staging: Resource, things: Things) -> str:
    """The distribution whose continuous deployment policy names this one."""
    for resource in distributions(things):
        policy = things.get((CONTINUOUS_DEPLOYMENT.name, resource.config.get("ContinuousDeploymentPolicyId", "")))
        if policy is not None and any(
            name.partition(".")[0] == staging.id.lower()
            for name in policy.config["StagingDistributionDnsNames"].get("Items", ())
        ):
            return resource.id
    return ""


def _record(resource: Resource, number: int, things: Things, find: Find) -> Deployed:
    used: dict[tuple[str, str], Resource] = {}
    for kind, id in named(resource.config):
        found = find(kind, id)
        if found is None:
            refuse(NO_SUCH.get(kind, kind.missing), f"There is no {kind.name} {id[:80]!r}.")
        used[found.key] = found
        if kind is KEY_GROUP:
            for key in found.config["Items"]:
                inner = things.get((PUBLIC_KEY.name, key))
                if inner is not None:
                    used[inner.key] = inner
    resources = tuple(_told(each) for key, each in sorted(used.items()) if not each.managed)
    primary = _primary(resource, things) if resource.config.get("Staging") else ""
    return Deployed(number, resource.id, resource.etag, resource.config, resources, primary)


def _told(resource: Resource) -> Json:
    """What nodes hear of a thing. A policy that was turned off and on again is another one for them: they end the
    sessions that it had."""
    told = wrapped(resource)
    if resource.kind == CONTINUOUS_DEPLOYMENT.name:
        told[resource.kind]["ETag"] = resource.etag
    return told


def _check(state: State, resource: Resource, record: Deployed) -> None:
    """Refuse what no node could serve, or be told."""
    if len(encode(record)) > LINE_MAX:
        refuse("InvalidArgument", f"The configuration, with all it names, takes more than {LINE_MAX} bytes.")
    policies = Policies()
    document = Document(resource.id, resource.config, ("DistributionConfig",))
    for part in record.resources:
        if part.keys() & {kind.name for kind in POLICIES}:
            refuse_faults(policies.read(Document(resource.id, part)))
    reading = read_distribution(document, id=resource.id, zone=state.zone, policies=policies, redirects={})
    refuse_faults(reading.faults)


# Who uses what --------------------------------------------------------------------------------------------------------


def users(state: State, resource: Resource) -> list[Resource]:
    """Everything that names a thing."""
    if resource.kind == PUBLIC_KEY.name:
        return [each for each in state.of_kind(KEY_GROUP) if resource.id in each.config["Items"]]
    kind = KINDS[resource.kind]
    names = (kind, resource.id)
    return [each for each in state.of_kind(DISTRIBUTION) if names in set(named(each.config))]


def with_aliases_of_its_own(state: State, resource: Resource) -> None:
    """Refuse a distribution that wants a host name which another one has (fact sheet 11, "Aliases")."""
    owners = {alias: each.id for each in state.of_kind(DISTRIBUTION) for alias in aliases(each.config)}
    owners |= {state.domain(each.id): each.id for each in state.of_kind(DISTRIBUTION)}
    wanted = aliases(resource.config)
    for index, alias in enumerate(wanted):
        if owners.get(alias, resource.id) != resource.id or alias in wanted[:index]:
            refuse(
                "CNAMEAlreadyExists",
                f"One or more of the CNAMEs you provided are already associated with a different resource: {alias}",
            )


def aliases(config: Json) -> list[str]:
    """The host names a distribution has beside its own."""
    listed = config.get("Aliases")
    items = listed.get("Items", []) if isinstance(listed, dict) else []
    return [each for each in items if isinstance(each, str)] if isinstance(items, list) else []
