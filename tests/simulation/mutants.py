"""Nodes that break one rule each: every rule of INVALIDATION.md that matters must be missed by some history.

A mutant is a few named functions replaced. Beside it stands a short history that catches it, by what it breaks; three
of them break nothing that a viewer sees and only make the origin be asked more often than it should.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from edgeproxy.edge import invalidation, journal, page, pipeline
from edgeproxy.edge.admission import Admission
from edgeproxy.edge.fetch import Fetcher
from edgeproxy.edge.invalidation import Floor, Ledger
from edgeproxy.edge.nexthop import NextHop
from edgeproxy.edge.supply import Supply
from edgeproxy.following import follower
from edgeproxy.rules import floors
from edgeproxy.rules.lookup import matches
from edgeproxy.rules.validation import has_validator, later
from edgeproxy.store import memory
from tests.simulation import node
from tests.simulation.world import Step, World

Patch = tuple[object, str, Any]
# Any, here and below: a mutant stands in for whatever it replaces.


@dataclass(frozen=True, slots=True)
class Mutant:
    """One broken rule, and what catches it."""

    name: str
    patches: Callable[[], Sequence[Patch]]
    kind: str
    """Of the violation."""
    steps: tuple[Step, ...]
    """The history that catches it; a search over seeds finds most of them as well, see the soak."""
    asks_most: int | None = None
    seed: int = 0

    def story(self) -> World:
        """That history, run."""
        return World(self.seed, list(self.steps), self.asks_most).run()

    @contextmanager
    def at_large(self) -> Iterator[None]:
        """While the block runs all nodes are such mutants."""
        undo = []
        for owner, name, other in self.patches():
            undo.append((owner, name, owner.__dict__[name]))
            setattr(owner, name, other)
        try:
            yield
        finally:
            for owner, name, before in undo:
                setattr(owner, name, before)


def _as_of_at_the_response() -> Sequence[Patch]:
    made = NextHop._reply

    def reply(self: Any, exchange: Any, as_of: Any, requested_at: Any, result: Any) -> Any:
        return made(self, exchange, self._ledger.applied(), requested_at, result)

    return [(NextHop, "_reply", reply)]


def _no_epoch() -> Sequence[Patch]:
    def covers(self: Any, as_of: Any, floor: Any, sources: Any) -> bool:
        return bool(floor.usable and as_of.number >= floor.of(sources))

    return [(Ledger, "covers", covers)]


def _joins_any_fill() -> Sequence[Patch]:
    return [
        (Ledger, "reaches", lambda self, as_of, floor: True),
        (
            Supply,
            "readable",
            lambda self, ask, fill: fill.joinable and matches(fill.head, ask.request, ask.behavior.caching),
        ),
    ]


def _asks_about_what_does_not_cover() -> Sequence[Patch]:
    made = Fetcher.fetch

    async def fetch(self: Any, errand: Any, flight: Any) -> Any:
        found = list(self._store.find(errand.ask.key, self._clocks.wall()))
        if errand.validated is None and found and has_validator(found[-1].head.headers):
            errand = replace(errand, found=found, validated=found[-1])
        return await made(self, errand, flight)

    return [(Fetcher, "fetch", fetch), (Ledger, "vouched", lambda self, head, key, asked: later(head.as_of, asked))]


def _serves_what_does_not_cover_on_error() -> Sequence[Patch]:
    made = pipeline.Pipeline._ask_upstream

    async def ask_upstream(self: Any, ask: Any, reason: Any, found: Any, validated: Any, fallback: Any) -> Any:
        there = list(self._store.find(ask.key, self._clocks.wall()))
        return await made(self, ask, reason, found, validated, fallback or (there[-1] if there else None))

    return [(pipeline.Pipeline, "_ask_upstream", ask_upstream)]


def _acknowledges_before_durable() -> Sequence[Patch]:
    made = follower.Follower._take

    async def take(self: Any, update: Any) -> None:
        self._say(update.number)
        await asyncio.sleep(0.05)  # a disk that is slow
        await made(self, update)

    return [(follower.Follower, "_take", take)]


def _one_worker_for_all() -> Sequence[Patch]:
    made = journal.Journal.confirmed

    def confirmed(self: Any, worker: int, position: Any) -> None:
        for each in list(self._confirmed):
            made(self, each, position)

    return [(journal.Journal, "confirmed", confirmed)]


def _goodbye_before_drain() -> Sequence[Patch]:
    return [(node, "STAGES", ("goodbye", "drain"))]


def _no_quarantine() -> Sequence[Patch]:
    made = page.SharedPage.stand

    def stand(self: Any, number: int, *, quarantined: bool) -> None:
        made(self, number, quarantined=False)

    return [(page.SharedPage, "stand", stand)]


def _lower_replaces_higher() -> Sequence[Patch]:
    made = memory.MemoryStore._commit

    def commit(self: Any, writer: Any, head: Any, *rest: Any) -> bool:
        for stored in list(self._variants.get(writer.key, ())):
            self._remove(self._entries[writer.key, stored])
        return made(self, writer, head, *rest)

    return [(memory.MemoryStore, "_commit", commit)]


def _no_sources() -> Sequence[Patch]:
    return [(floors, "tags", lambda headers, name: ())]


def _late_floor() -> Sequence[Patch]:
    class Late(Floor):
        """Looks at what is applied whenever it is asked."""

        __slots__ = ("ledger",)
        ledger: Any
        arrived: Any = property(lambda self: self.ledger._page.applied, lambda self, value: None)
        number: Any = property(lambda self: max(self.carried, self._floors.floor(self._key)))

    def floor(self: Any, key: bytes, carried: int = 0) -> Floor:
        made = Late(self.floors, key, 0, carried, not self.quarantined())
        made.ledger = self
        return made

    return [(invalidation.Ledger, "floor", floor)]


def _below_what_was_carried() -> Sequence[Patch]:
    return [(Ledger, "asking", lambda self, carried: self.applied())]


def _any_revision() -> Sequence[Patch]:
    made = Admission._check_hop

    def check_hop(self: Any, hop: Any, distribution: Any, client: Any) -> None:
        made(self, replace(hop, revision=distribution.revision), distribution, client)

    return [(Admission, "_check_hop", check_hop)]


def _no_tombstone() -> Sequence[Patch]:
    return [(Fetcher, "must_refresh", lambda self, ask, key: ask.refresh)]


PLAIN = {"lying": False, "max_age": 1000, "stale_if_error": False, "vary": False, "tags": (), "status": 200}


def _a(**more: Any) -> Step:
    """What the origin has under /a."""
    return Step(0.0, "page", ("/a", PLAIN | more))


def _view(at: float, path: str = "/a", *, worker: int = 0, method: str = "GET") -> Step:
    return Step(at, "view", ("A", worker, method, path, ""))


def _invalidate(at: float, item: str = "/a") -> Step:
    return Step(at, "invalidate", ((item,), False))


MUTANTS = (
    Mutant(
        "as_of taken at the response",
        _as_of_at_the_response,
        "safety",
        (_a(), Step(0.1, "slow", (1.0,)), _view(0.2), _invalidate(0.5), _view(2.0)),
    ),
    Mutant(
        "no epoch",
        _no_epoch,
        "safety",
        (
            _a(),
            _invalidate(0.1, "/b"),
            _invalidate(0.2, "/b"),
            _view(1.0),
            Step(1.5, "lose"),
            _invalidate(2.5),
            _view(4.0),
        ),
    ),
    Mutant(
        "joining a fill that does not cover",
        _joins_any_fill,
        "safety",
        (_a(), Step(0.1, "slow", (2.0,)), _view(0.2), _invalidate(0.5), _view(1.5)),
    ),
    Mutant(
        "conditional request from an uncovered copy",
        _asks_about_what_does_not_cover,
        "safety",
        (_a(lying=True), _view(0.1), _invalidate(1.0), _view(2.0)),
    ),
    Mutant(
        "serving uncovered stale on error",
        _serves_what_does_not_cover_on_error,
        "safety",
        (_a(), _view(0.1), _invalidate(1.0), Step(1.5, "fail", (3.0,)), _view(2.0)),
    ),
    Mutant("acknowledging before durable", _acknowledges_before_durable, "durable", (_invalidate(0.5), _view(1.0))),
    Mutant(
        "one worker acknowledging for all",
        _one_worker_for_all,
        "safety",
        (_a(), _view(0.1, worker=1), Step(0.9, "hang", ("A", 1, 3.0)), _invalidate(1.0), _view(2.0, worker=1)),
    ),
    Mutant(
        "goodbye before drain",
        _goodbye_before_drain,
        "safety",
        (_a(), _view(0.1), Step(1.0, "leave", ("A", 4.0, True)), _invalidate(1.3), _view(2.0)),
    ),
    Mutant(
        "no quarantine after restart",
        _no_quarantine,
        "safety",
        (
            _a(),
            _view(0.1),
            Step(1.0, "crash", ("A", 2.0, True, True)),
            Step(2.2, "cut", ("A", "control", 3.0)),
            _invalidate(2.3),
            _view(4.0),
        ),
    ),
    Mutant(
        "lower as_of replacing higher",
        _lower_replaces_higher,
        "economy",
        (_a(), Step(0.1, "slow", (2.0,)), _view(0.2), _invalidate(0.5), _view(1.5), _view(4.0)),
        asks_most=2,
    ),
    Mutant(
        "derived content without sources",
        _no_sources,
        "safety",
        (_a(tags=("red",)), _view(0.1), _invalidate(1.0, "#Red"), _view(2.0)),
    ),
    Mutant(
        "floor computed late",
        _late_floor,
        "economy",
        (_a(), Step(0.1, "slow", (1.0,)), _view(0.2), _invalidate(0.5)),
        asks_most=1,
    ),
    Mutant(
        "receiver's as_of below the number carried",
        _below_what_was_carried,
        "economy",
        (_a(), _view(0.1), Step(0.9, "cut", ("R", "control", 2.5)), _invalidate(1.0), _view(2.0)),
        asks_most=2,
    ),
    Mutant(
        "revision not compared on the hop",
        _any_revision,
        "identity",
        (_a(), Step(0.4, "cut", ("R", "control", 2.5)), Step(0.5, "deploy"), _view(2.0, "/a?x=1")),
        seed=1,
    ),
    Mutant(
        "no tombstone after an unsafe method",
        _no_tombstone,
        "unsafe",
        (_a(), _view(0.1), _view(1.0, method="PUT"), _view(2.0)),
    ),
)
