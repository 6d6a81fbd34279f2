"""Carries orders out: what each of them does to the shard of its key. In the writer's thread, within a transaction.

What was promised for an order and what became of it is told by the order itself; a body that is being written keeps its
own account (writer.py).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

from xxhash import xxh3_64_intdigest

from edgeproxy.errors import Damaged
from edgeproxy.headers import Headers
from edgeproxy.outcome import StoredHead
from edgeproxy.store.bodies import Run
from edgeproxy.store.intervals import Intervals, added
from edgeproxy.store.large import Body
from edgeproxy.store.memory import Terms
from edgeproxy.store.orders import Begin, DropPiece, Finish, GiveUp, Order, Put, Refresh, Rehead, Remove
from edgeproxy.store.records import Bytes, Light, Record, decode, encode, light, row_of, variant_of, with_intervals
from edgeproxy.store.shard import Shard
from edgeproxy.store.writer import DiskWriter
from edgeproxy.telemetry.counters import Counter

_VALIDATORS = (b"etag", b"last-modified")


class Carrying:
    """What may be kept, and the verbs. `now` is wall-clock seconds."""

    def __init__(self, small_max: int, variants_max: int, piece_max: int) -> None:
        self._small_max = small_max
        self._variants_max = variants_max
        self._piece_max = piece_max

    def carry_out(self, shard: Shard, order: Order, now: float) -> None:
        """Do it. Raises OSError and sqlite3.Error; then nothing of this transaction has happened."""
        match order:
            case Put():
                self._put(shard, order)
            case Remove():
                self._remove(shard, order)
            case Refresh():
                self._refresh(shard, order)
            case Rehead():
                self._rehead(shard, order)
            case GiveUp():
                self._give_up(shard, order, now)
            case DropPiece():
                self._drop_piece(shard, order)
            case Begin():
                self._begin(shard, order)
            case Finish():
                self._finish(shard, order)

    # What is recorded

    def _rows(self, shard: Shard, order: Order) -> list[Light]:
        """What is recorded under the order's key; what is no record goes at once."""
        found = []
        for id, data in shard.index.rows(order.hash, order.key):
            row = light(order.key, id, data)
            if row is None:
                shard.forget_spoilt(id)
            else:
                found.append(row)
        return found

    def _make_way(self, shard: Shard, order: Order, head: StoredHead, terms: Terms) -> bool:
        """Remove what a new response replaces; False when something newer is there."""
        rows = self._rows(shard, order)
        variant = variant_of(head.vary)
        same = [row for row in rows if row.variant == variant]
        if any(_newer(row, head, terms) for row in same):
            shard.tally.add(Counter.DISK_REFUSED_OLDER)
            return False
        for row in same:
            shard.forget(row)
        others = [row for row in rows if row.variant != variant]
        for row in others[: max(len(others) - self._variants_max + 1, 0)]:
            shard.forget(row)
            shard.tally.add(Counter.DISK_EVICTED)
        return True

    # Whole responses

    def _put(self, shard: Shard, order: Put) -> None:
        if order.given_up:
            self._remove_variant(shard, order, order.head)
            return
        if not order.fresh and order.size < order.length and self._merge(shard, order):
            return
        if not order.fresh and not self._make_way(shard, order, order.head, order.terms):
            return
        intervals = ((order.first, order.first + order.size),)
        if order.length <= self._small_max:
            data = order.blocks[0] if len(order.blocks) == 1 else b"".join(order.blocks)
            self._put_small(shard, order, order.head, order.trailers, order.terms, intervals, order.length, data)
            return
        body = shard.create(order.key)
        self._write(body, order.first, order.blocks)
        shard.measure(body)
        self._put_large(shard, order, body, order.head, order.trailers, order.terms, order.length)

    def _write(self, body: Body, first: int, blocks: Sequence[bytes]) -> None:
        """Write one run and log it."""
        run = Run(body.file, self._piece_max)
        pieces = body.write(run, first, blocks)
        body.log([*pieces, *filter(None, [run.end()])])

    def _merge(self, shard: Shard, order: Put) -> bool:
        """A part joins what is there of the same body; False when there is no such thing."""
        variant = variant_of(order.head.vary)
        for row in self._rows(shard, order):
            record = self._record(shard, row) if row.variant == variant and row.length == order.length else None
            if record is None or not _same_bytes(record.head, order.head):
                continue
            if record.head.as_of.epoch != order.head.as_of.epoch or record.terms.generation != order.terms.generation:
                continue
            head = replace(order.head, as_of=min(order.head.as_of, record.head.as_of, key=lambda as_of: as_of.number))
            try:
                if record.where.file:
                    self._merge_large(shard, order, record, head)
                else:
                    self._merge_small(shard, order, row, record, head)
            except (Damaged, FileNotFoundError):
                return False
            return True
        return False

    def _merge_small(self, shard: Shard, order: Put, row: Light, record: Record, head: StoredHead) -> None:
        shard.segments.flush()  # it may have come in this very transaction
        old = shard.segments.read(record.id, record.where.size)
        if xxh3_64_intdigest(old) != record.where.check:
            raise Damaged("a stored body is not as it was written")
        there = bytearray(order.length)
        there[order.first : order.first + order.size] = b"".join(order.blocks)
        at = 0
        for start, end in record.intervals:
            there[start:end] = old[at : at + end - start]
            at += end - start
        intervals = added(record.intervals, order.first, order.first + order.size)
        data = b"".join(bytes(there[start:end]) for start, end in intervals)
        shard.forget(row)
        self._put_small(shard, order, head, order.trailers, order.terms, intervals, order.length, data)

    def _merge_large(self, shard: Shard, order: Put, record: Record, head: StoredHead) -> None:
        body = shard.body(record)
        self._write(body, order.first, order.blocks)
        shard.measure(body)
        self._grow(shard, order, record, body, head, order.terms)

    def _grow(self, shard: Shard, order: Order, record: Record, body: Body, head: StoredHead, terms: Terms) -> Record:
        """A record of a large body says what is there of it now."""
        size = body.base + body.extra
        shard.totals.file_bytes += size - record.where.size
        made = self._insert(shard, order, _sealed(replace(record, head=head, terms=terms), body))
        shard.tally.add(Counter.DISK_STORED)
        shard.afterwards(lambda: _settle(shard, body, size))
        return made

    def _remove_variant(self, shard: Shard, order: Order, head: StoredHead) -> None:
        """A response that cannot be stored takes the place of what it would have replaced all the same."""
        variant = variant_of(head.vary)
        for row in self._rows(shard, order):
            if row.variant == variant:
                shard.forget(row)
                shard.tally.add(Counter.DISK_REMOVED)

    def _put_small(
        self, shard: Shard, order: Order, head: StoredHead, trailers: Headers, terms: Terms,
        intervals: Intervals, length: int, body: bytes,
    ) -> Callable[[], Record]:  # fmt: skip
        """Returns what makes the record: few need it."""
        where = Bytes(xxh3_64_intdigest(body), len(body))
        head = with_intervals(head, intervals, length)
        record = Record(order.key, 0, head, length, trailers, terms, intervals, shard.number, where, body)
        data = encode(record)
        id = shard.segments.place(body)
        shard.index.put(id, order.hash, order.key, data)
        shard.totals.objects += 1
        shard.tally.add(Counter.DISK_STORED)
        return partial(replace, record, id=id, row=row_of(data))

    def _put_large(
        self, shard: Shard, order: Order, body: Body, head: StoredHead, trailers: Headers, terms: Terms, length: int
    ) -> Record:
        size = body.base + body.extra
        shard.totals.file_bytes += size
        shard.totals.objects += 1
        id = shard.large_id(body.file, size)
        record = self._insert(shard, order, _described(order.key, id, head, trailers, terms, length, shard, body))
        shard.index.spare(body.file)
        shard.tally.add(Counter.DISK_STORED)
        shard.afterwards(lambda: _settle(shard, body, size))
        return record

    def _insert(self, shard: Shard, order: Order, record: Record) -> Record:
        data = encode(record)
        shard.index.put(record.id, order.hash, order.key, data)
        return replace(record, row=row_of(data))

    # Changes

    def _remove(self, shard: Shard, order: Remove) -> None:
        for row in self._rows(shard, order):
            if order.variant in (None, row.variant) and order.row in (None, row.row):
                shard.forget(row)
                shard.tally.add(Counter.DISK_REMOVED)

    def _refresh(self, shard: Shard, order: Refresh) -> None:
        variant = variant_of(order.head.vary)
        for row in self._rows(shard, order):
            if row.variant != variant or _newer(row, order.head, order.terms):
                continue
            record = self._record(shard, row)
            if record is None:
                continue
            same = _same_bytes(record.head, order.head) if order.where is None else order.where == row.where
            if same:
                self._replace(shard, order, record, order.head, order.terms)
                shard.tally.add(Counter.DISK_STORED)
            elif order.where is None:
                shard.forget(row)  # other bytes than those that were validated
                shard.tally.add(Counter.DISK_REMOVED)

    def _rehead(self, shard: Shard, order: Rehead) -> None:
        for row in self._rows(shard, order):
            if row.row == order.row:
                record = self._record(shard, row)
                if record is not None:
                    self._replace(shard, order, record, order.head, record.terms)

    def _record(self, shard: Shard, row: Light) -> Record | None:
        found = shard.index.row(row.id)
        return None if found is None else decode(found[0], row.id, found[1], shard.number)

    def _replace(self, shard: Shard, order: Order, record: Record, head: StoredHead, terms: Terms) -> None:
        head = with_intervals(head, record.intervals, record.length)
        self._insert(shard, order, replace(record, head=head, terms=terms))

    def _give_up(self, shard: Shard, order: GiveUp, now: float) -> None:
        found = shard.index.row(order.id)
        if found is None or found[0] != order.key:
            return
        row = light(order.key, order.id, found[1])
        if row is None:
            shard.forget_spoilt(order.id)
        elif row.row == order.row and (order.damaged or row.terms.keep_until <= now):
            shard.forget(row)
            shard.tally.add(Counter.DISK_DAMAGED if order.damaged else Counter.DISK_EXPIRED)

    def _drop_piece(self, shard: Shard, order: DropPiece) -> None:
        """A large body loses what cannot be relied on; one of which nothing is left goes."""
        for row in self._rows(shard, order):
            record = self._record(shard, row)
            if record is None or row.where.file != order.file:
                continue
            try:
                body = shard.body(record)
                body.pieces.drop(order.piece)
                body.rewrite_log()
            except (Damaged, FileNotFoundError):
                shard.forget(row)
                continue
            shard.tally.add(Counter.DISK_DAMAGED)
            if not body.pieces.intervals:
                shard.forget(row)
                continue
            self._insert(shard, order, _sealed(record, body))

    # Bodies that are being written

    def _begin(self, shard: Shard, order: Begin) -> None:
        writer = order.writer
        if order.extends is not None:
            found = [row for row in self._rows(shard, order) if row.where == order.extends.where]
            if not found and order.extends.where.file:
                found = [row for row in self._rows(shard, order) if row.where.file == order.extends.where.file]
            record = self._record(shard, found[0]) if found else None
            if record is None:
                writer.fail()
                return
            if record.where.file:
                self._reopen(shard, writer, record)
                return
            writer.replaces = record.where
        body = shard.create(order.key)
        shard.index.doom(body.file)
        if writer.replaces is not None and order.extends is not None:
            self._copy(order.extends, body)
        shard.bodies.enter(body)
        shard.measure(body)
        writer.open(body, Run(body.file, self._piece_max))

    def _reopen(self, shard: Shard, writer: DiskWriter, record: Record) -> None:
        try:
            body = shard.body(record)
        except (Damaged, FileNotFoundError):
            writer.fail()
            return
        shard.bodies.enter(body)
        writer.replaces = record.where
        writer.open(body, Run(body.file, self._piece_max))

    def _copy(self, record: Record, body: Body) -> None:
        """A small body gets a file of its own, to grow in."""
        at = 0
        for start, end in record.intervals:
            assert record.body is not None
            self._write(body, start, [record.body[at : at + end - start]])
            at += end - start

    def _finish(self, shard: Shard, order: Finish) -> None:
        writer, body = order.writer, order.writer.body
        if order.given_up and not writer.extends:
            self._remove_variant(shard, order, order.head)
        if body is None:
            return
        if not writer.left:
            shard.bodies.leave(body.file)
            writer.left = True
        if order.given_up:
            if writer.replaces is None or not writer.replaces.file:
                shard.doom(body)
            return
        try:
            piece = writer.end_run()
            if piece is not None and not body.gone:
                body.log([piece])
            if not body.gone:
                writer.promise.spend(max(shard.measure(body), 0))
        except FileNotFoundError:
            writer.fail()  # somebody removed it
        if writer.replaces is not None and writer.replaces.file:
            self._finish_extension(shard, order, body)
        elif writer.failed or not self._finish_new(shard, order, body):
            shard.doom(body)

    def _finish_extension(self, shard: Shard, order: Finish, body: Body) -> None:
        rows = [row for row in self._rows(shard, order) if row.where.file == body.file]
        record = self._record(shard, rows[0]) if rows else None
        if record is None or body.gone or not body.pieces.intervals:
            return
        if record.head.as_of.epoch != order.head.as_of.epoch:
            shard.forget(rows[0])  # bytes of two epochs are of use in neither
            return
        kept = order.keep and not order.writer.failed
        head, terms = (order.head, order.terms) if kept else (record.head, record.terms)
        if record.head.as_of.number < head.as_of.number:
            # A body of several intervals is as of the lowest of them, whoever finishes last.
            head = replace(head, as_of=record.head.as_of)
        record = replace(record, trailers=order.trailers or record.trailers)
        order.made = self._grow(shard, order, record, body, head, terms)

    def _finish_new(self, shard: Shard, order: Finish, body: Body) -> bool:
        """Whether the body's file is to stay."""
        intervals, length = body.pieces.intervals, order.writer.length
        if length is None:
            length = intervals[-1][1] if intervals else 0
        whole = intervals == ((0, length),) or length == 0
        kept = order.keep and (bool(intervals) or length == 0)
        if not kept or (intervals and intervals[-1][1] > length):
            return False
        replaced = order.writer.replaces
        if replaced is not None and not any(row.where == replaced for row in self._rows(shard, order)):
            return False  # what was to be extended has left, or was replaced
        if not self._make_way(shard, order, order.head, order.terms):
            return False
        if whole and length <= self._small_max:
            data = order.writer.small = body.read(0, length)
            order.made = self._put_small(
                shard, order, order.head, order.trailers, order.terms, ((0, length),), length, data
            )()
            return False
        order.made = self._put_large(shard, order, body, order.head, order.trailers, order.terms, length)
        return True


def _newer(row: Light, head: StoredHead, terms: Terms) -> bool:
    """What is there is as of a higher number of the same epoch, of the same generation of its resource."""
    same = row.as_of.epoch == head.as_of.epoch and row.terms.generation == terms.generation
    return same and row.as_of.number > head.as_of.number


def _same_bytes(old: StoredHead, new: StoredHead) -> bool:
    """Both heads are of one representation: nobody said otherwise. (Who asks holds the bytes in memory, not here.)"""
    return all(old.headers.get(name) == new.headers.get(name) for name in _VALIDATORS)


def _described(
    key: bytes, id: int, head: StoredHead, trailers: Headers, terms: Terms, length: int, shard: Shard, body: Body
) -> Record:
    where = Bytes(0, 0, body.file)
    return _sealed(Record(key, id, head, length, trailers, terms, (), shard.number, where), body)


def _sealed(record: Record, body: Body) -> Record:
    """The record, saying of its body what is true now."""
    logged, check = body.seal
    intervals = body.pieces.intervals
    head = with_intervals(record.head, intervals, record.length)
    where = Bytes(check, body.base + body.extra, body.file, logged)
    return replace(record, head=head, intervals=intervals, where=where)


def _settle(shard: Shard, body: Body, size: int) -> None:
    """Its record counts all of a body now."""
    shard.open_bytes -= body.extra
    body.base, body.extra = size, 0
