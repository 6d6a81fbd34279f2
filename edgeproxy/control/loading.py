"""Files into the control plane: through the same door as the API, once for each version of a file.

A file that was loaded before is left alone, so that what the API has changed since stays. What came from a file that is
no longer there goes with it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from typing import Any

from edgeproxy.configuration import Given
from edgeproxy.control.kinds import DISTRIBUTION, KINDS
from edgeproxy.control.plane import Plane
from edgeproxy.control.records import completed, users
from edgeproxy.control.refusals import Refused
from edgeproxy.control.state import Change, Resource, State
from edgeproxy.control.things import Moment, load
from edgeproxy.errors import ConfigError, Fault
from edgeproxy.feed import Json

_POLICY_FIELDS = ("CachePolicyId", "OriginRequestPolicyId", "ResponseHeadersPolicyId")


async def load_files(plane: Plane, given: Sequence[Given]) -> None:
    """Have these in it. Raises ConfigError with every file that was refused; the others are loaded."""
    faults = []
    for each in given:
        try:
            await plane.change(lambda moment, each=each: _load(moment, each, given))  # type: ignore[misc]  # its default
        except Refused as refusal:
            faults.append(Fault(each.file, "", "", f"{refusal.code}: {refusal}"))
    await plane.change(lambda moment: (_without(moment.state, given), None))
    if faults:
        raise ConfigError(faults)


def _load(moment: Moment, each: Given, given: Sequence[Given]) -> tuple[Change, None]:
    config = _with_ids(each.config, moment.state, given)
    text = json.dumps(config, sort_keys=True, separators=(",", ":"))
    digest = hashlib.sha256(text.encode()).hexdigest()[:32]
    made = load(moment, KINDS[each.kind], each.id, config, digest)
    return (Change() if made is None else made[0]), None


def _with_ids(config: Json, state: State, given: Sequence[Given]) -> Json:
    """Files may name policies; the API knows ids only."""
    ids = {(each.kind, str(each.config.get("Name"))): each.id for each in given if each.kind != DISTRIBUTION.name}
    for policy in state.managed.values():
        name = policy.config["Name"]
        ids |= {(policy.kind, name): policy.id, (policy.kind, name.removeprefix("Managed-")): policy.id}

    def walked(value: Any) -> Any:  # Any: JSON
        if isinstance(value, list):
            return [walked(each) for each in value]
        if not isinstance(value, dict):
            return value
        return {
            name: ids.get((name.removesuffix("Id"), inner), inner)
            if name in _POLICY_FIELDS and isinstance(inner, str)
            else walked(inner)
            for name, inner in value.items()
        }

    made: Json = walked(config)
    return made


def _without(state: State, given: Sequence[Given]) -> Change:
    """Drop what files brought that are gone; a policy that something still uses stays."""
    there = {(each.kind, each.id) for each in given}
    gone = [each for each in state.resources.values() if each.loaded and each.key not in there]
    dropped = [each.key for each in gone if each.kind == DISTRIBUTION.name]
    dropped += [each.key for each in _unused(state, gone, set(dropped))]
    return completed(state, (), dropped) if dropped else Change()


def _unused(state: State, gone: Sequence[Resource], dropped: set[tuple[str, str]]) -> Iterator[Resource]:
    for each in gone:
        if each.kind != DISTRIBUTION.name and not any(user.key not in dropped for user in users(state, each)):
            yield each
