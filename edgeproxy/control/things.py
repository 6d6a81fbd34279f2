"""Creating, updating and deleting the things of the API, of whatever kind: the rules that all of them share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from edgeproxy.cloudfront.policies import Policies
from edgeproxy.control import checks
from edgeproxy.control.defaults import filled
from edgeproxy.control.kinds import (
    ACCESS_IDENTITY,
    CONTINUOUS_DEPLOYMENT,
    DISTRIBUTION,
    POLICIES,
    Kind,
)
from edgeproxy.control.records import DISTRIBUTIONS_PER_POLICY_MAX, completed, users, with_aliases_of_its_own, wrapped
from edgeproxy.control.refusals import refuse, refuse_faults
from edgeproxy.control.state import Change, Names, Resource, State, kind_of, matching
from edgeproxy.feed import Json
from edgeproxy.reading import Document

TAGS_MAX = 50
STAGING_MAX = 20


@dataclass(frozen=True, slots=True)
class Moment:
    """What a transition is worked out from: the state, the time, and where new ids come from."""

    state: State
    names: Names
    now: float


Made = tuple[Change, Resource]
"""A change, and the thing that it is about as it will be."""


def create(moment: Moment, kind: Kind, config: Json, *, tags: Sequence[tuple[str, str]] = ()) -> Made:
    """A new thing. Raises Refused."""
    state = moment.state
    same = _same(state, kind, config)
    if same is not None:
        if kind is ACCESS_IDENTITY and same.config == config:  # asked again for the very same: not an error there
            return Change(), same
        refuse(kind.exists, f"A {kind.name} with this {kind.unique} already exists: {str(config[kind.unique])[:80]}")
    if len(state.of_kind(kind)) >= kind.quota:
        refuse(kind.too_many, f"Processing your request will cause you to exceed the maximum of {kind.quota}.")
    now = moment.now
    resource = Resource(
        kind.name,
        _free_id(moment, kind),
        moment.names.short("E"),
        _complete(kind, config),
        now,
        now,
        tags=_distinct(tags),
    )
    return _checked(state, resource), resource


def load(moment: Moment, kind: Kind, id: str, config: Json, digest: str) -> Made | None:
    """A thing that a file describes, new or changed; None when this very file was loaded before, whatever the API has
    made of it since. Its id is what keeps it apart, so that its reference and name need not. Raises Refused."""
    before = moment.state.resources.get((kind.name, id))
    if before is not None and before.loaded == digest:
        return None
    now = moment.now
    after = Resource(
        kind.name,
        id,
        moment.names.short("E"),
        _complete(kind, config),
        before.created if before is not None else now,
        now,
        tags=before.tags if before is not None else (),
        loaded=digest,
    )
    return _checked(moment.state, after), after


def update(moment: Moment, kind: Kind, id: str, config: Json, if_match: str | None) -> Made:
    """Another configuration for a thing, which replaces all of the old one. Raises Refused."""
    before = matching(_own(moment.state, kind, id, "IllegalUpdate"), if_match)
    return replaced(moment, before, _complete(kind, config))


def replaced(moment: Moment, before: Resource, config: Json) -> Made:
    """The same, for who has seen the revision. An update that changes nothing makes a new revision all the same."""
    kind = kind_of(before)
    for field in kind.fixed:
        if config.get(field) != before.config.get(field):
            refuse(kind.fixed_code, f"{field} cannot be changed.")
    same = _same(moment.state, kind, config)
    if same is not None and same.id != before.id:
        refuse(kind.exists, f"Another {kind.name} has this {kind.unique}.")
    after = replace(before, config=config, etag=moment.names.short("E"), modified=moment.now)
    return _checked(moment.state, after), after


def delete(moment: Moment, kind: Kind, id: str, if_match: str | None) -> Change:
    """A thing less. Raises Refused while anything uses it."""
    state = moment.state
    resource = matching(_own(state, kind, id, "IllegalDelete"), if_match)
    if kind is DISTRIBUTION:
        checks.may_be_deleted(state, resource)
    elif used := users(state, resource):
        refuse(kind.in_use, f"Cannot delete the {kind.name} because it is in use by {used[0].id}.")
    return completed(state, (), (resource.key,))


def tagged(moment: Moment, resource: Resource, tags: Mapping[str, str], without: Sequence[str] = ()) -> Change:
    """The same thing with other tags; its revision stays."""
    kept = {**dict(resource.tags), **tags}
    for key in without:
        kept.pop(key, None)
    return Change(put=(replace(resource, tags=_distinct(list(kept.items()))),))


def _distinct(tags: Sequence[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    if len({key for key, _ in tags}) != len(tags):
        refuse("InvalidTagging", "A tag key is given twice.")
    if len(tags) > TAGS_MAX:
        refuse("InvalidTagging", f"A resource has up to {TAGS_MAX} tags.")
    for key, value in tags:
        if not 1 <= len(key) <= 128 or len(value) > 256 or key.lower().startswith("aws:"):
            refuse("InvalidTagging", f"The tag {key[:60]!r} is not valid.")
    return tuple(tags)


def _free_id(moment: Moment, kind: Kind) -> str:
    while moment.state.find(kind, made := moment.names.of(kind)) is not None:
        pass
    return made


def _own(state: State, kind: Kind, id: str, managed: str) -> Resource:
    resource = state.get(kind, id)
    if resource.managed:
        refuse(managed, f"{resource.config['Name']} is a managed policy: it cannot be changed or deleted.")
    return resource


def _same(state: State, kind: Kind, config: Json) -> Resource | None:
    if not kind.unique:
        return None
    wanted = config.get(kind.unique)
    return next((each for each in state.of_kind(kind) if each.config.get(kind.unique) == wanted), None)


def _complete(kind: Kind, config: Json) -> Json:
    return filled(config) if kind is DISTRIBUTION else config


def _checked(state: State, resource: Resource) -> Change:
    """The change this thing makes, when all holds together."""
    kind = kind_of(resource)
    if kind in POLICIES:
        refuse_faults(Policies().read(Document(resource.id, wrapped(resource))))
    elif kind is DISTRIBUTION:
        with_aliases_of_its_own(state, resource)
        _few_enough(state, resource)
        checks.staging_fits(state, resource)
    elif kind is CONTINUOUS_DEPLOYMENT:
        checks.continuous_deployment(state, resource)
    else:
        checks.plain(state, resource)
    return completed(state, (resource,))


def _few_enough(state: State, resource: Resource) -> None:
    """Quotas that a distribution counts towards, beside those of its own configuration."""
    every = [each for each in state.of_kind(DISTRIBUTION) if each.id != resource.id]
    if resource.config.get("Staging") and sum(bool(each.config.get("Staging")) for each in every) >= STAGING_MAX:
        refuse("TooManyDistributions", f"There may be up to {STAGING_MAX} staging distributions.")
    behavior = resource.config.get("DefaultCacheBehavior")
    policy = behavior.get("CachePolicyId") if isinstance(behavior, dict) else None
    using = sum(each.config["DefaultCacheBehavior"].get("CachePolicyId") == policy for each in every if policy)
    managed = state.find(POLICIES[0], str(policy))
    if using >= DISTRIBUTIONS_PER_POLICY_MAX and (managed is None or not managed.managed):
        refuse(
            "TooManyDistributionsAssociatedToCachePolicy",
            f"A cache policy is used by up to {DISTRIBUTIONS_PER_POLICY_MAX} distributions.",
        )
