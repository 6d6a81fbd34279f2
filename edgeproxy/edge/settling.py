"""What becomes of a body that has come: kept whole, kept as a part of one, or kept as far as it came."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from edgeproxy.edge.ask import Ask
from edgeproxy.edge.flight import Flight
from edgeproxy.edge.invalidation import Ledger
from edgeproxy.edge.nexthop import Reply
from edgeproxy.headers import Headers
from edgeproxy.outcome import StoredHead
from edgeproxy.rules import partial
from edgeproxy.rules.ranges import ContentRange
from edgeproxy.store.deposit import Deposit
from edgeproxy.store.memory import Stored, Terms
from edgeproxy.store.tiers import Tiers


@dataclass(slots=True)
class Settler:
    """For one fill (see fill.Settling)."""

    store: Tiers
    ledger: Ledger
    ask: Ask
    key: bytes
    """Under which it is stored."""
    reply: Reply
    head: StoredHead
    """Of the response as it came; of a part, naming that part alone."""
    filled: StoredHead
    """What the head is together with the parts that were there before."""
    part: ContentRange | None
    deposit: Deposit
    flight: Flight[Reply]
    terms: Callable[[StoredHead], Terms]
    remember: Callable[[], None]
    """Called when the whole is kept."""
    now: Callable[[], float]

    async def whole(self, trailers: Headers) -> None:
        """All that was asked for has come."""
        if self.flight.spoiled:
            self.deposit.abandon()
        elif self.part is not None:
            await self._part(self.part)
        else:
            self.remember()
            await self.store.commit(self.deposit, self.key, self.head, trailers, self.terms(self.head))

    async def begun(self, received: int) -> None:
        """No more than so many bytes have come: they are kept if others may be added to them, or are all."""
        first = self.deposit.first
        if self.part is None and received == partial.complete_length(self.head):
            await self.whole(Headers())
            return
        head = partial.begun(self.head, first, first + received)
        if head is None or self.flight.spoiled:
            self.deposit.abandon()
        elif self.deposit.tape is not None:
            self.deposit.abandon(keep=True)
        else:
            self._keep(head)

    async def _part(self, carried: ContentRange) -> None:
        """Keep a part: with the others of the same body where there are such, otherwise by itself."""
        part, length, deposit = carried.part, carried.length, self.deposit
        if deposit.tape is not None:
            await deposit.settle(self.filled, Headers(), self.terms(self.filled))
        elif part is None or length is None or deposit.writer is None or deposit.writer.length != part.length:
            deposit.abandon()  # the body is not what its head says
        elif self.head.parts is None:
            await self.store.commit(deposit, self.key, self.head, Headers(), self.terms(self.head))
        else:
            self._keep(self.head)

    def _keep(self, head: StoredHead) -> None:
        length = partial.complete_length(head)
        if length is None or head.parts is None:
            raise AssertionError("a part without the length of its whole")
        onto = self._onto(head)
        terms = self.terms(head if onto is None else onto[1])
        addable = partial.completable(head)
        self.store.commit_part(self.deposit, self.key, head, terms, length, onto, addable=addable)

    def _onto(self, head: StoredHead) -> tuple[Stored, StoredHead] | None:
        """The response in memory that this is a part of, and its head with this part."""
        for stored in self.store.find(self.key, self.now()):
            usable = stored.terms.generation == self.ask.generation and self.ledger.covers(
                stored.head.as_of, self.ask.floor, stored.head.sources
            )
            if usable and stored.head.vary == head.vary and partial.of_one_body(stored.head, head):
                return stored, partial.joined(stored.head, head)
        return None
