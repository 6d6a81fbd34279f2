"""What a worker knows of invalidations, and what of the stored content is new enough for a request (INVALIDATION).

A request is judged by what was applied on the node when its head arrived, for as long as it lives: its `Floor`. For a
hit when nothing is new that is one comparison; the key is looked up only when the stored response is older than the
last invalidation of anything.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from edgeproxy.edge.page import NUMBER_BITS, SharedPage
from edgeproxy.feed import Invalidated, Record
from edgeproxy.model import NO_EPOCH, AsOf
from edgeproxy.outcome import StoredHead
from edgeproxy.rules.floors import Floors

_NUMBER = (1 << NUMBER_BITS) - 1
LAPSED = -1
"""The standing of a node whose lease has ended: unlike any that the page can have."""


class Floor:
    """What a response must be as of to answer one request. Frozen when the request's head arrived."""

    __slots__ = ("_floors", "_key", "_number", "arrived", "carried", "epoch", "usable")

    def __init__(self, floors: Floors, key: bytes, arrived: int, carried: int, usable: bool) -> None:
        self._floors = floors
        self._key = key
        self._number = -1
        self.epoch = floors.epoch
        self.arrived = arrived
        """The number applied when the head arrived."""
        self.carried = carried
        """The floor that the tier which asks has for the same key."""
        self.usable = usable
        """Whether anything stored may be used: not in a quarantine."""

    @property
    def number(self) -> int:
        """The highest number up to `arrived` that names the key, or the one carried if that is higher."""
        if self._number < 0:
            self._number = max(self.carried, self._at_arrival(self._floors.floor(self._key)))
        return self._number

    def of(self, sources: Sequence[bytes]) -> int:
        """The same for a response with these sources (StoredHead.sources)."""
        if not sources:
            return self.number
        return max(self.number, self._at_arrival(self._floors.floor_of(self._key, sources)))

    def _at_arrival(self, found: int) -> int:
        # A later invalidation may have taken an earlier one's place under the same name. What was asked of the origin
        # since the head arrived reaches `arrived`, so this asks for no more than that.
        return min(found, self.arrived)


class Ledger:
    """The invalidations one worker knows, beside the page that says which of them all workers know."""

    def __init__(
        self, page: SharedPage, floors: Floors | None = None, boottime: Callable[[], float] = lambda: 0.0
    ) -> None:
        """Without `floors` there is no control plane: the number stands still. `boottime` is the clock of leases."""
        self._page = page
        self._boottime = boottime
        self.floors = Floors(NO_EPOCH, 1) if floors is None else floors

    @property
    def epoch(self) -> str:
        """The control plane's."""
        return self.floors.epoch

    def take(self, epoch: str, number: int, low_water: int, records: Iterable[Record]) -> None:
        """All that the control plane has said up to a number, of which these records may be new here. What is known of
        another epoch counts for nothing."""
        if self.floors.epoch != epoch:
            self.floors = Floors(epoch, self.floors.names_max)
        for record in records:
            if isinstance(record, Invalidated):
                items = (*record.paths, *(f"#{tag}" for tag in record.tags))
                self.floors.add(record.number, record.distribution, items, soft=record.soft)
        self.floors.forget(low_water)
        self.floors.number = max(self.floors.number, number)

    def standing(self) -> int:
        """One number that changes whenever something stored may have become unusable. A remembered decision holds only
        as long as this is what it was; negative when nothing stored may be used."""
        word = self._page.standing
        if word >> NUMBER_BITS & 1:
            return LAPSED
        until = self._page.lease_until
        return LAPSED if until and self._boottime() >= until else word

    def quarantined(self) -> bool:
        """Whether nothing stored may be used now (rules 9 and 10)."""
        return self.standing() < 0

    def applied(self) -> AsOf:
        """What a response asked of the origin right now is as of (rule 2); in a quarantine nobody knows.

        Never more than is known here: a worker that has just been started may have read of another epoch than the one
        that the page's number still belongs to.
        """
        word = self._page.standing
        floors = self.floors
        return AsOf(floors.epoch, 0 if word >> NUMBER_BITS & 1 else min(word & _NUMBER, floors.number))

    def asking(self, carried: AsOf | None) -> AsOf:
        """The same for a request that a tier at the number `carried` has sent us, or nobody."""
        own = self.applied()
        if carried is not None and carried.epoch == own.epoch and carried.number > own.number:
            return carried
        return own

    def floor(self, key: bytes, carried: int = 0) -> Floor:
        """What a request for this key needs, its head having arrived right now."""
        standing = self.standing()
        if standing < 0:
            return Floor(self.floors, key, self._page.applied, carried, usable=False)
        return Floor(self.floors, key, standing & _NUMBER, carried, usable=True)

    def named(self, floor: Floor, key: bytes) -> Floor:
        """The floor of the same request for another key."""
        return Floor(self.floors, key, floor.arrived, 0, floor.usable)

    def reaches(self, as_of: AsOf, floor: Floor) -> bool:
        """Whether a fetch in progress is new enough, as far as the key tells."""
        if as_of.epoch != floor.epoch:
            return self._is_later(as_of, floor)
        return floor.usable and as_of.number >= floor.number

    def covers(self, as_of: AsOf, floor: Floor, sources: Sequence[bytes]) -> bool:
        """Whether a response is new enough (rule 1): by its key, its tags and what it was made of."""
        if as_of.epoch != floor.epoch:
            return self._is_later(as_of, floor)
        number = as_of.number
        if not floor.usable or (number >= floor.arrived and number >= floor.carried):
            return floor.usable
        return number >= floor.of(sources)

    def _is_later(self, as_of: AsOf, floor: Floor) -> bool:
        """The epoch has changed since the head arrived: what is of the new one was asked for after that."""
        return floor.usable and as_of.epoch == self.floors.epoch

    def softened(self, as_of: AsOf, floor: Floor, key: bytes, sources: Sequence[bytes]) -> bool:
        """Whether a soft invalidation has made a response stale that is new enough otherwise."""
        if as_of.number >= floor.arrived:
            return False
        floors = self.floors
        found = max(floors.floor(key, soft=True), floors.floor_of(key, sources, soft=True))
        return min(found, floor.arrived) > as_of.number

    def vouched(self, head: StoredHead, key: bytes, asked: AsOf) -> AsOf:
        """What a stored response is as of once a 304 has vouched for it (rule 4); `asked` is when that was asked.

        A validator made of time and size vouches for content that has changed: so the number rises only over what is
        known here, and only when none of that names the response.
        """
        applied = self.applied()
        if not head.as_of.epoch == asked.epoch == applied.epoch:
            return head.as_of
        reached = min(applied.number, asked.number)
        if reached <= head.as_of.number or self._hard(key, head.sources) > head.as_of.number:
            return head.as_of
        return AsOf(applied.epoch, reached)

    def _hard(self, key: bytes, sources: Sequence[bytes]) -> int:
        found = self.floors.floor(key)
        return max(found, self.floors.floor_of(key, sources)) if sources else found
