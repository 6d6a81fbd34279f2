"""Bodies that come from wherever their bytes are: memory, the disk, a fill, or a fetch of what is nowhere yet.

A body like that has one strong validator from its first byte to its last. When bytes turn out to be damaged, or their
disk dies, it goes on from upstream under that validator; when that cannot be it is cut, so that the viewer sees it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial as bound

from edgeproxy.edge.ask import Ask
from edgeproxy.edge.fetch import Fetcher
from edgeproxy.edge.fill import Fill, FillReader, Lost, Windows
from edgeproxy.edge.flight import Alone, Filled, Flights, Landing
from edgeproxy.edge.nexthop import Reply
from edgeproxy.edge.parts import Cut
from edgeproxy.edge.pieces import Pieces
from edgeproxy.edge.supply import Supply
from edgeproxy.errors import BodyAborted, EdgeError
from edgeproxy.headers import Headers
from edgeproxy.message import Body, BytesBody, ignore_interim
from edgeproxy.outcome import StoredHead
from edgeproxy.rules.ranges import Part
from edgeproxy.store.memory import Stored
from edgeproxy.store.records import Record
from edgeproxy.store.runs import cut
from edgeproxy.store.tiers import Copy, Held, Tiers
from edgeproxy.telemetry.counters import Counter, Counters

STUMBLES_MAX = 3
"""How often in a row a body may find its bytes gone before it is cut."""


class Spans:
    """Makes such bodies for one worker."""

    def __init__(
        self,
        store: Tiers,
        supply: Supply,
        flights: Flights[Reply],
        fetcher: Fetcher,
        windows: Windows,
        counters: Counters,
    ) -> None:
        self._store = store
        self._supply = supply
        self._flights = flights
        self._fetcher = fetcher
        self._windows = windows
        self._counters = counters

    def cut(self, ask: Ask, held: Held, fill: Fill | None = None, at: int = 0) -> Cut:
        """How to make bodies of parts of a response. `fill` brings those of its bytes that begin at `at`."""

        def part(first: int, end: int) -> Body:
            if isinstance(held, Stored) and fill is None and _run(held, first, end):
                return BytesBody(cut(held.runs, first, end), closed=self._store.lend(held))
            joins = fill is not None and first <= at < end
            reader = fill.reader(at - fill.first) if joins and fill is not None else None
            return Span(self, ask, held.head, first, end, held, reader, at)

        return part

    def whole(self, ask: Ask, fill: Fill) -> Body:
        """All that a fill brings."""
        return self.reading(ask, fill)(0, None)

    def reading(self, ask: Ask, fill: Fill) -> Callable[[int, int | None], Body]:
        """How to make bodies of what a fill brings, or of a part of that."""

        def part(first: int, length: int | None) -> Body:
            reader = fill.reader(first, length)
            if not fill.on_disk or reader.length is None:
                return reader
            begin = fill.first + first
            return Span(self, ask, fill.head, begin, begin + reader.length, None, reader, begin)

        return part

    async def again(self, ask: Ask, head: StoredHead) -> Held | None:
        """What is stored of a response now."""
        return await self._supply.again(ask, head)

    async def fetch(self, ask: Ask, held: Held | None, head: StoredHead, first: int, end: int) -> FillReader:
        """Bytes that are nowhere yet, from `first` on. Raises BodyAborted when they cannot be had any more."""
        errand = self._supply.errand(ask, head if held is None else held.head, held, Part(first, end - 1))
        if errand is None:
            raise BodyAborted("Stored bytes are lost, and nothing names those that could take their place.")
        try:
            flight = self._supply.to_join(errand)
            landing: Landing[Reply] | None
            if flight is not None:
                landing = await self._flights.wait(flight, ignore_interim)
            elif self._flights.may_start():
                flight = self._flights.start(
                    errand.key,
                    self._fetcher.mark(ask),
                    bound(self._fetcher.fetch, errand),
                    errand.region,
                    errand.store_key,
                )
                landing = await self._flights.lead(flight, ignore_interim)
            else:
                landing = None
        except EdgeError as error:
            raise BodyAborted(f"Missing bytes could not be fetched: {error}") from None
        if isinstance(landing, Filled) and self._supply.brings(ask, landing.fill, head, first):
            return landing.fill.reader(first - landing.fill.first)
        if isinstance(landing, Alone) and landing.own is not None:
            own, landing.own = landing.own, None
            own.body.close()
        raise BodyAborted("The response has changed while parts of it were sent.")

    def pieces(self, record: Record, first: int, end: int) -> Pieces:
        """Bytes on disk."""
        return Pieces(self._store, self._windows, record, first, end)

    def lend(self, stored: Stored) -> Callable[[], None]:
        """As MemoryStore.lend."""
        return self._store.lend(stored)

    def stumbled(self) -> None:
        """Bytes of a body were not where they had been."""
        self._counters.add(Counter.BODIES_REROUTED)


class Span:
    """The bytes [first, end) of one response."""

    def __init__(
        self,
        spans: Spans,
        ask: Ask,
        head: StoredHead,
        first: int,
        end: int,
        held: Held | None,
        reader: FillReader | None,
        reader_at: int,
    ) -> None:
        """`held`: where its bytes are, as far as known. `reader` has those from `reader_at` on."""
        self._spans = spans
        self._ask = ask
        self._head = head
        self._at = first
        self._end = end
        self._held = held
        self._reader = reader
        self._reader_at = reader_at
        self._source: Body | None = None
        self._begun: bytes | None = None
        self._stumbles = 0
        self.trailers = held.trailers if held is not None and first == 0 and end == held.length else Headers()

    @property
    def length(self) -> int | None:
        return self._end - self._at + len(self._begun or b"")

    async def begin(self) -> None:
        """Have the first bytes at hand: nothing has been said yet that they could turn out not to be true of. Raises
        BodyAborted."""
        if self._begun is None and self._at < self._end:
            self._begun = await self._next()

    async def read(self) -> bytes:
        if self._begun is not None:
            block, self._begun = self._begun, None
            return block
        return await self._next()

    async def _next(self) -> bytes:
        while self._at < self._end:
            if self._source is None:
                self._source = await self._open()
            try:
                block = (await self._source.read())[: self._end - self._at]
            except Lost:
                block = b""
                self._stumble()
            except BodyAborted:
                raise
            except EdgeError:  # of the disk: counted and logged there
                block = b""
                self._stumble()
            if block:
                self._stumbles = 0
                self._at += len(block)
                return block
            self._leave()
        return b""

    def _stumble(self) -> None:
        self._held = None
        self._spans.stumbled()
        self._stumbles += 1
        if self._stumbles > STUMBLES_MAX:
            raise BodyAborted("Stored bytes are lost.")

    def _leave(self) -> None:
        if self._source is not None:
            self._source.close()
            self._source = None

    async def _open(self) -> Body:
        """The next place to read from."""
        limit = self._end
        if self._reader is not None:
            if self._at >= self._reader_at:
                reader, self._reader = self._reader, None
                return reader
            limit = self._reader_at
        source = self._held_source(limit)
        if source is None:
            self._held = await self._spans.again(self._ask, self._head)
            source = self._held_source(limit)
        if source is not None:
            return source
        reader = await self._spans.fetch(self._ask, self._held, self._head, self._at, limit)
        self._stumbles += 1  # it must bring something
        if self._stumbles > STUMBLES_MAX:
            reader.close()
            raise BodyAborted("Missing bytes do not come.")
        return reader

    def _held_source(self, limit: int) -> Body | None:
        held = self._held
        if held is None:
            return None
        stored = held if isinstance(held, Stored) else held.stored
        if stored is not None:
            for run in stored.runs:
                if run.first <= self._at < run.end:
                    end = min(run.end, limit)
                    return BytesBody(cut((run,), self._at, end), closed=self._spans.lend(stored))
        if isinstance(held, Copy):
            for start, stop in held.record.intervals:
                if start <= self._at < stop:
                    return self._spans.pieces(held.record, self._at, min(stop, limit))
        return None

    def close(self) -> None:
        self._leave()
        if self._reader is not None:
            self._reader.close()
            self._reader = None


def _run(held: Stored, first: int, end: int) -> bool:
    """Whether memory has all of this in one piece."""
    return any(run.first <= first and end <= run.end for run in held.runs) or first == end
