"""What a node has learnt from the control plane, and how more comes to it: values that parent and workers share.

The parent keeps one `Known` for the node; each worker is forked with a copy of it and is told every batch afterwards.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from edgeproxy.errors import OriginInvalid
from edgeproxy.feed import Deployed, Invalidated, Record, Withdrawn, decode, encode
from edgeproxy.rules.floors import Floors


@dataclass(frozen=True, slots=True)
class Batch:
    """What came at once: all records up to `number` that were not known before, or all that still count."""

    epoch: str
    number: int
    low_water: int = 0
    records: tuple[Record, ...] = ()
    whole: bool = False
    """The records are everything that still counts: forget the distributions that are not among them."""
    fresh: bool = False
    """The control plane did not count on this node: what is stored here may be outdated (rule 9)."""
    caught_up: bool = False
    """At this number nothing was missing when the control plane sent it."""
    lease_until: float | None = None
    """The lease that this answer grants, on the boot-time clock; 0: none is needed; None: it says nothing of leases."""

    def to_json(self) -> dict[str, Any]:  # Any: JSON
        """For the parent, the workers and the disk."""
        return {
            "epoch": self.epoch,
            "number": self.number,
            "low_water": self.low_water,
            "records": [encode(record).decode() for record in self.records],
            "whole": self.whole,
            "fresh": self.fresh,
            "caught_up": self.caught_up,
            "lease_until": self.lease_until,
        }

    @classmethod
    def from_json(cls, said: dict[str, Any]) -> Batch:  # Any: JSON
        """What `to_json` wrote. Raises KeyError or OriginInvalid for anything else."""
        return cls(**{**said, "records": tuple(map(_record, said["records"]))})


class Known:
    """All that a node knows at one moment: the floors of its epoch, and each distribution at its last revision."""

    def __init__(self, floors: Floors, deployed: dict[str, Deployed] | None = None) -> None:
        self.floors = floors
        self.deployed: dict[str, Deployed] = deployed or {}

    @classmethod
    def nothing(cls, names_max: int) -> Known:
        """Of a node that has never heard the control plane: no epoch is named so."""
        return cls(Floors("", names_max))

    def apply(self, batch: Batch) -> bool:
        """Take a batch in. Returns whether any distribution changed. Twice the same is harmless.

        Of another epoch nothing that is known here counts any more: its floors are new ones.
        """
        if batch.epoch != self.floors.epoch:
            self.floors = Floors(batch.epoch, self.floors.names_max)
        changed = False
        if batch.whole:
            named = {record.id for record in batch.records if isinstance(record, Deployed)}
            gone = [id for id in self.deployed if id not in named]
            for id in gone:
                del self.deployed[id]
            changed = bool(gone)
        for record in batch.records:
            match record:
                case Invalidated(number, _, distribution, paths, tags, soft):
                    items = (*paths, *(f"#{tag}" for tag in tags))
                    self.floors.add(number, distribution, items, soft=soft)
                case Deployed():
                    self.deployed[record.id] = record
                    changed = True
                case Withdrawn():
                    changed = self.deployed.pop(record.id, None) is not None or changed
        self.floors.forget(batch.low_water)
        self.floors.number = max(self.floors.number, batch.number)
        return changed

    def to_json(self) -> dict[str, Any]:  # Any: JSON
        """All of it, for the disk."""
        return {
            "floors": self.floors.to_json(),
            "deployed": [encode(record).decode() for record in self.deployed.values()],
        }

    @classmethod
    def from_json(cls, said: dict[str, Any], names_max: int) -> Known:  # Any: JSON
        """What `to_json` wrote. Raises KeyError, TypeError, ValueError, AttributeError or OriginInvalid."""
        deployed = [record for record in map(_record, said["deployed"]) if isinstance(record, Deployed)]
        return cls(Floors.from_json(said["floors"], names_max), {record.id: record for record in deployed})


def _record(text: str) -> Record:
    line = decode(text.encode())
    if not isinstance(line, Deployed | Withdrawn | Invalidated):
        raise OriginInvalid("no record of a feed")
    return line
