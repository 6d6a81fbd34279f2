"""What the control plane knows, and how it changes: values and pure functions.

A change is worked out against the state, written to disk whole, and only then applied; until then nobody sees any of
it. Whoever works out a change holds the lock of `plane.py`, so that numbers have no gaps.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from uuid import UUID

from edgeproxy.control.kinds import DISTRIBUTION, KINDS, Kind
from edgeproxy.control.refusals import refuse
from edgeproxy.feed import Invalidated, Json, Record, reduced

ID_LENGTH = 13


@dataclass(frozen=True, slots=True)
class Resource:
    """A thing of the API at one revision."""

    kind: str
    id: str
    etag: str
    config: Json
    created: float
    modified: float
    """Both in seconds since 1970."""
    number: int = 0
    """Of a distribution: the record that carries this revision."""
    tags: tuple[tuple[str, str], ...] = ()
    loaded: str = ""
    """Digest of the file it was loaded from last; empty for one that was made through the API."""
    managed: bool = False
    """CloudFront's own; it is in no database."""

    @property
    def key(self) -> tuple[str, str]:
        """What it is found by."""
        return self.kind, self.id


@dataclass(frozen=True, slots=True)
class Invalidation:
    """An invalidation that was accepted."""

    id: str
    number: int
    distribution: str
    reference: str
    items: tuple[str, ...]
    """Paths, and tags with their `#`, as they were given."""
    soft: bool
    created: float


@dataclass(frozen=True, slots=True)
class Member:
    """A node on the list of those an invalidation waits for (rule 8)."""

    name: str
    incarnation: str
    number: int
    """All up to it is durable and visible there."""
    epoch: str


@dataclass(frozen=True, slots=True)
class Change:
    """Everything a transition changes, to be written and applied as one."""

    put: tuple[Resource, ...] = ()
    drop: tuple[tuple[str, str], ...] = ()
    records: tuple[Record, ...] = ()
    invalidations: tuple[Invalidation, ...] = ()


NO_CHANGE = Change()


@dataclass(frozen=True, slots=True)
class Names:
    """Makes ids, from the randomness it is given."""

    random_bytes: Callable[[int], bytes]

    def short(self, prefix: str) -> str:
        """Such as E1QXVPK2EXAMPL: a prefix and 13 of A-Z and 0-9 (fact sheet 11)."""
        letters = base64.b32encode(self.random_bytes(10)).decode()[:ID_LENGTH]
        return prefix + letters.translate(_DIGITS)

    def of(self, kind: Kind) -> str:
        """An id for a new thing of this kind."""
        return self.short(kind.prefix) if kind.prefix else str(UUID(bytes=self.random_bytes(16), version=4))


_DIGITS = str.maketrans("OI", "01")


@dataclass(slots=True)
class State:
    """The whole state. Changed by `apply`, `acknowledge`, `join`, `leave` alone."""

    epoch: str
    zone: str
    number: int = 0
    """Of the last record."""
    low_water: int = 0
    settled: int = 0
    """All up to it is Completed or Deployed, and stays so whoever joins later."""
    resources: dict[tuple[str, str], Resource] = field(default_factory=dict)
    invalidations: dict[str, Invalidation] = field(default_factory=dict)
    members: dict[str, Member] = field(default_factory=dict)
    log: list[Record] = field(default_factory=list)
    """What still counts, in order."""
    managed: Mapping[tuple[str, str], Resource] = field(default_factory=dict)

    def of_kind(self, kind: Kind) -> list[Resource]:
        """All things of a kind that are our own, oldest first."""
        return [each for each in self.resources.values() if each.kind == kind.name]

    def find(self, kind: Kind, id: str) -> Resource | None:
        """A thing by id, a managed one by its name as well."""
        return self.resources.get((kind.name, id)) or self.managed.get((kind.name, id))

    def get(self, kind: Kind, id: str) -> Resource:
        """A thing by id; refused when there is none."""
        found = self.find(kind, id)
        if found is None:
            refuse(kind.missing, f"The specified {_spoken(kind)} does not exist.")
        return found

    def domain(self, id: str) -> str:
        """The host name of a distribution."""
        return f"{id.lower()}.{self.zone}"

    def deployed(self, resource: Resource) -> bool:
        """Whether every node works at this revision."""
        return resource.number <= self.settled

    def completed(self, invalidation: Invalidation) -> bool:
        """Whether every node has acknowledged it."""
        return invalidation.number <= self.settled

    def in_progress(self, distribution: str) -> list[Invalidation]:
        """Invalidations of a distribution that some node has not acknowledged."""
        found = []
        for each in reversed(self.invalidations.values()):  # the newest first: the settled ones begin somewhere
            if self.completed(each):
                break
            if each.distribution == distribution:
                found.append(each)
        return found

    def waiting_for(self, number: int) -> list[str]:
        """Names of the nodes that have not acknowledged a number; none when it is settled."""
        if number <= self.settled:
            return []
        return sorted(each.name for each in self.members.values() if self._reached(each) < number)

    def _reached(self, member: Member) -> int:
        return member.number if member.epoch == self.epoch else 0

    # Transitions of the state itself ----------------------------------------------------------------------------------

    def apply(self, change: Change) -> None:
        """Make a change visible that is on disk by now."""
        for key in change.drop:
            self.resources.pop(key, None)
        for resource in change.put:
            self.resources[resource.key] = resource
        for invalidation in change.invalidations:
            self.invalidations[invalidation.id] = invalidation
        if change.records:
            self.number = change.records[-1].number
            self.log.extend(change.records)
            if not all(isinstance(each, Invalidated) for each in change.records):
                self.log = reduced(self.log, self.low_water)
        self.settle()

    def settle(self, lapsed: Iterable[str] = ()) -> int:
        """Take note of what every node has acknowledged by now; those whose lease has `lapsed` do not count."""
        gone = set(lapsed)
        reached = [self._reached(each) for each in self.members.values() if each.name not in gone]
        self.settled = max(self.settled, min(reached, default=self.number))
        return self.settled

    def compact(self, low_water: int) -> None:
        """Forget invalidations up to this number: nothing stored before it is usable from now on (rule 11)."""
        self.low_water = max(self.low_water, low_water)
        self.log = reduced(self.log, self.low_water)
        self.invalidations = {
            id: each
            for id, each in self.invalidations.items()
            if each.number > self.low_water or not self.completed(each)
        }


def acknowledged(member: Member, number: int, epoch: str) -> Member:
    """A node's word that it has come so far; it never goes back within an epoch."""
    if member.epoch != epoch:
        return replace(member, number=number, epoch=epoch)
    return replace(member, number=max(member.number, number))


def matching(resource: Resource, if_match: str | None) -> Resource:
    """The same, if the client has seen this revision of it (fact sheet 11, "Concurrency")."""
    if not if_match:
        refuse("InvalidIfMatchVersion", "The If-Match version is missing or not valid for the resource.")
    if if_match.strip('"') != resource.etag:
        refuse(
            "PreconditionFailed",
            "The request failed because it didn't meet the preconditions in one or more request-header fields.",
        )
    return resource


def distribution_of(state: State, id: str) -> Resource:
    """A distribution by id; refused when there is none."""
    return state.get(DISTRIBUTION, id)


def kind_of(resource: Resource) -> Kind:
    """Its kind."""
    return KINDS[resource.kind]


def _spoken(kind: Kind) -> str:
    return "".join(f" {letter.lower()}" if letter.isupper() else letter for letter in kind.name).strip()
