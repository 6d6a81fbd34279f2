"""Operations of the API: from what a request says to a change and an answer. Pure; `rest.py` brings requests here.

The operations that all kinds share are found by their names; the few others are listed at the end.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from edgeproxy.control import promotion, views
from edgeproxy.control.invalidations import invalidate
from edgeproxy.control.kinds import DISTRIBUTION, KINDS, POLICIES, Kind, named
from edgeproxy.control.records import aliases
from edgeproxy.control.refusals import refuse
from edgeproxy.control.state import NO_CHANGE, Change, Invalidation, Resource, State, distribution_of
from edgeproxy.control.things import Made, Moment, create, delete, tagged, update
from edgeproxy.feed import Json


@dataclass(frozen=True, slots=True)
class Asked:
    """What a request says: `given` in its line and fields, `body` as the payload's value."""

    given: dict[str, str]
    body: Json
    files_max: int = 3000
    wildcards_max: int = 15


@dataclass(frozen=True, slots=True)
class Outcome:
    """What an operation came to. `show` gives the answer from the state as it is once the change is applied."""

    change: Change
    show: Callable[[State], Any]  # Any: JSON
    etag: str = ""
    location: str = ""
    """Path of what was made."""
    waits_for: int = 0
    """Number of a record: the answer may be held until that is settled (rule 14)."""


Operation = Callable[[Moment, Asked], Outcome]


def find(name: str) -> Operation | None:
    """The operation of this name, None when it is not carried out here."""
    return _OPERATIONS.get(name)


def names() -> list[str]:
    """All that are carried out."""
    return sorted(_OPERATIONS)


# What all kinds share -------------------------------------------------------------------------------------------------


def _created(kind: Kind, made: Made) -> Outcome:
    change, resource = made
    path = {"CloudFrontOriginAccessIdentity": "origin-access-identity/cloudfront"}.get(kind.name) or "".join(
        f"-{letter.lower()}" if letter.isupper() else letter for letter in kind.name
    ).strip("-")
    return Outcome(change, _shown(resource), resource.etag, f"{path}/{resource.id}")


def _shown(resource: Resource) -> Callable[[State], Json]:
    return lambda state: views.whole(state, state.resources.get(resource.key, resource))


def _for(kind: Kind) -> dict[str, Operation]:
    def creating(moment: Moment, asked: Asked) -> Outcome:
        return _created(kind, create(moment, kind, asked.body))

    def getting(moment: Moment, asked: Asked) -> Outcome:
        resource = moment.state.get(kind, asked.given["Id"])
        return Outcome(NO_CHANGE, _shown(resource), resource.etag, waits_for=resource.number)

    def getting_config(moment: Moment, asked: Asked) -> Outcome:
        resource = moment.state.get(kind, asked.given["Id"])
        return Outcome(NO_CHANGE, lambda _: resource.config, resource.etag)

    def updating(moment: Moment, asked: Asked) -> Outcome:
        change, resource = update(moment, kind, asked.given["Id"], asked.body, asked.given.get("IfMatch"))
        return Outcome(change, _shown(resource), resource.etag)

    def deleting(moment: Moment, asked: Asked) -> Outcome:
        return Outcome(delete(moment, kind, asked.given["Id"], asked.given.get("IfMatch")), lambda _: None)

    def listing(moment: Moment, asked: Asked) -> Outcome:
        found = _of_type(moment.state, kind, asked.given.get("Type"))
        return _page(found, asked.given)

    return {
        f"Create{kind.name}": creating,
        f"Get{kind.name}": getting,
        f"Get{kind.config}": getting_config,
        f"Update{kind.name}": updating,
        f"Delete{kind.name}": deleting,
        f"List{kind.plural}": listing,
    }


def _of_type(state: State, kind: Kind, type: str | None) -> list[Resource]:
    if type not in (None, "managed", "custom"):
        refuse("InvalidArgument", f"Type is {type[:60] if type else ''!r}: expected managed or custom")
    managed = [each for each in state.managed.values() if each.kind == kind.name] if kind in POLICIES else []
    return ([] if type == "custom" else managed) + ([] if type == "managed" else state.of_kind(kind))


def _page(found: list[Resource], given: dict[str, str]) -> Outcome:
    return Outcome(
        NO_CHANGE,
        lambda state: views.page(found, given, lambda each: each.id, lambda each: views.summary(state, each)),
    )


# Distributions --------------------------------------------------------------------------------------------------------


def _create_with_tags(moment: Moment, asked: Asked) -> Outcome:
    tags = _tags(asked.body["Tags"])
    return _created(DISTRIBUTION, create(moment, DISTRIBUTION, asked.body["DistributionConfig"], tags=tags))


def _copy(moment: Moment, asked: Asked) -> Outcome:
    return _created(DISTRIBUTION, promotion.copy(moment, asked.given, asked.body))


def _promote(moment: Moment, asked: Asked) -> Outcome:
    change, resource = promotion.promote(moment, asked.given)
    return Outcome(change, _shown(resource), resource.etag)


def _associate_alias(moment: Moment, asked: Asked) -> Outcome:
    change = promotion.move_alias(moment, asked.given["TargetDistributionId"], asked.given.get("Alias", ""))
    return Outcome(change, lambda _: None)


def _conflicting_aliases(moment: Moment, asked: Asked) -> Outcome:
    given, state = asked.given, moment.state
    distribution_of(state, given.get("DistributionId", ""))
    wanted = given.get("Alias", "").lower()
    found = [
        (alias, each.id)
        for each in state.of_kind(DISTRIBUTION)
        for alias in aliases(each.config)
        if each.id != given["DistributionId"] and _overlap(alias, wanted)
    ]
    return Outcome(
        NO_CHANGE,
        lambda _: views.page(
            found,
            given,
            lambda each: each[0],
            lambda each: {"Alias": each[0], "DistributionId": each[1], "AccountId": views.ACCOUNT},
        ),
    )


def _overlap(one: str, other: str) -> bool:
    if one == other:
        return True
    wild, exact = (one, other) if one.startswith("*.") else (other, one)
    return wild.startswith("*.") and exact.endswith(wild[1:])


def _using(kind: Kind, member: str) -> Operation:
    """Ids of the distributions that use a thing."""

    def listing(moment: Moment, asked: Asked) -> Outcome:
        used = moment.state.get(kind, asked.given[member])
        found = [each.id for each in moment.state.of_kind(DISTRIBUTION) if (kind, used.id) in set(named(each.config))]
        return Outcome(NO_CHANGE, lambda _: views.page(found, asked.given, str, str))

    return listing


def _by_web_acl(moment: Moment, asked: Asked) -> Outcome:
    wanted = "" if asked.given["WebACLId"] == "null" else asked.given["WebACLId"]
    return _page(
        [each for each in moment.state.of_kind(DISTRIBUTION) if each.config.get("WebACLId", "") == wanted], asked.given
    )


# Invalidations --------------------------------------------------------------------------------------------------------


def _create_invalidation(moment: Moment, asked: Asked) -> Outcome:
    id, paths = asked.given["DistributionId"], asked.body["Paths"]
    items = paths.get("Items", [])
    if paths["Quantity"] != len(items):
        refuse("InconsistentQuantities", f"Paths: Quantity is {paths['Quantity']}, and Items has {len(items)}.")
    change, made = invalidate(
        moment,
        id,
        items,
        asked.body["CallerReference"],
        files_max=asked.files_max,
        wildcards_max=asked.wildcards_max,
    )
    return Outcome(
        change, lambda state: views.invalidation(state, made), location=f"distribution/{id}/invalidation/{made.id}"
    )


def _get_invalidation(moment: Moment, asked: Asked) -> Outcome:
    found = _invalidation(moment.state, asked.given["DistributionId"], asked.given["Id"])
    return Outcome(NO_CHANGE, lambda state: views.invalidation(state, found), waits_for=found.number)


def _list_invalidations(moment: Moment, asked: Asked) -> Outcome:
    id = distribution_of(moment.state, asked.given["DistributionId"]).id
    found = [each for each in reversed(moment.state.invalidations.values()) if each.distribution == id]
    return Outcome(
        NO_CHANGE,
        lambda state: views.page(
            found, asked.given, lambda each: each.id, lambda each: views.invalidation(state, each)
        ),
    )


def _invalidation(state: State, distribution: str, id: str) -> Invalidation:
    distribution_of(state, distribution)
    found = state.invalidations.get(id)
    if found is None or found.distribution != distribution:
        refuse("NoSuchInvalidation", "The specified invalidation does not exist.")
    return found


# Tags -----------------------------------------------------------------------------------------------------------------


def _tags(value: Mapping[str, Any]) -> list[tuple[str, str]]:  # Any: JSON
    return [(each["Key"], each.get("Value", "")) for each in value.get("Items", ())]


def _tag(moment: Moment, asked: Asked) -> Outcome:
    resource = distribution_of(moment.state, views.id_in(asked.given.get("Resource", "")))
    return Outcome(tagged(moment, resource, dict(_tags(asked.body))), lambda _: None)


def _untag(moment: Moment, asked: Asked) -> Outcome:
    resource = distribution_of(moment.state, views.id_in(asked.given.get("Resource", "")))
    return Outcome(tagged(moment, resource, {}, asked.body.get("Items", ())), lambda _: None)


def _list_tags(moment: Moment, asked: Asked) -> Outcome:
    resource = distribution_of(moment.state, views.id_in(asked.given.get("Resource", "")))
    return Outcome(NO_CHANGE, lambda _: {"Items": [{"Key": key, "Value": value} for key, value in resource.tags]})


_OPERATIONS: dict[str, Operation] = {
    **{name: operation for kind in KINDS.values() for name, operation in _for(kind).items()},
    **{f"ListDistributionsBy{kind.name}Id": _using(kind, f"{kind.name}Id") for kind in POLICIES},
    "ListDistributionsByKeyGroup": _using(KINDS["KeyGroup"], "KeyGroupId"),
    "ListDistributionsByWebACLId": _by_web_acl,
    "CreateDistributionWithTags": _create_with_tags,
    "CopyDistribution": _copy,
    "UpdateDistributionWithStagingConfig": _promote,
    "AssociateAlias": _associate_alias,
    "ListConflictingAliases": _conflicting_aliases,
    "CreateInvalidation": _create_invalidation,
    "GetInvalidation": _get_invalidation,
    "ListInvalidations": _list_invalidations,
    "TagResource": _tag,
    "UntagResource": _untag,
    "ListTagsForResource": _list_tags,
}
