"""The writer's thread: one per worker, for all its shards. It carries orders out, many in one transaction, and in
between makes room, sweeps, and looks after a disk that has failed.

A disk that fails is off: nothing more is written, and what would have been is given up. What must not come back later
(a removal, or what a response that is lost would have replaced) is kept and carried out first when the disk is back; if
that gets too much, the shard begins anew instead. One line is logged when it goes off and one when it is back.
"""

from __future__ import annotations

import logging
import os
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from threading import Thread

from edgeproxy.store import leaving
from edgeproxy.store.carrying import Carrying
from edgeproxy.store.chores import Chores
from edgeproxy.store.filter import Filter
from edgeproxy.store.index import is_beyond_use
from edgeproxy.store.orders import Begin, Finish, Order, Put, Rebuild, Remove, Write
from edgeproxy.store.queue import Queue
from edgeproxy.store.shard import Shard
from edgeproxy.store.space import Space
from edgeproxy.store.tally import Tally
from edgeproxy.store.writer import DiskWriter
from edgeproxy.telemetry.counters import Counter

TRANSACTION_ORDERS = 64
TRANSACTION_BYTES = 4 << 20
"""Most that one transaction takes: the index's WAL has to hold the pages it changes."""
ROOM_STEPS = 4096
"""Most steps made to make room for one transaction."""

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class Outcome:
    """What the thread tells the loop about."""

    done: list[Order] = field(default_factory=list)
    """Carried out, or without any effect for good."""
    held: list[Order] = field(default_factory=list)
    """Not carried out, but kept: nobody should wait for them."""
    rebuilt: tuple[int, Filter | None] | None = None
    """A shard's new filter; None when nothing came of it."""


@dataclass(frozen=True, slots=True)
class Means:
    """What the thread works with."""

    queue: Queue
    carrying: Carrying
    space: Space
    tally: Tally
    open_shard: Callable[[int], Shard]
    wall: Callable[[], float]
    monotonic: Callable[[], float]
    tell: Callable[[Outcome], None]
    root: str
    segment_max: int
    filter_max: int
    """Bytes for one shard's filter."""
    check_interval: float
    held_max: int


class Writing:
    """The thread and the shards it holds. Everything here but `start` and `stop` runs in it."""

    def __init__(self, numbers: Sequence[int], means: Means) -> None:
        self._means = means
        self._numbers = list(numbers)
        self.shards: dict[int, Shard] = {}
        self.off = False
        """The disk takes no writes now."""
        self.blind: set[int] = set()
        """Shards that nothing may be read from."""
        self._held: dict[int, list[Order]] = {number: [] for number in numbers}
        self._to_wipe: set[int] = set()
        self._carried = {number: leaving.Carried(means.segment_max // 4) for number in numbers}
        self._chores = Chores(self.shards, means.wall, means.filter_max, self._rebuilt, self._fault)
        self._due = 0.0
        """When the disk is looked at next, on the monotonic clock."""
        self._old = set(numbers)
        self._taken: set[int] = set()
        """Shards that another process holds, as far as was said."""
        self._thread = Thread(target=self._run, name="edgeproxy-disk-writer", daemon=True)

    def start(self) -> None:
        """Open what can be opened, then begin; blocks for the opening."""
        self._open()
        self._thread.start()

    def stop(self, seconds: float) -> bool:
        """Carry out what waits and close, within so many seconds; whether that was done."""
        self._means.queue.close()
        self._thread.join(seconds)
        return not self._thread.is_alive()

    # The thread

    def _run(self) -> None:
        queue = self._means.queue
        while True:
            busy = self._chores.waiting and not self.off
            orders = queue.take(0.0 if busy else self._means.check_interval)
            if orders:
                self._batch(orders)
            elif queue.closing:
                break
            self._guarded(self._between)
        for shard in self.shards.values():
            shard.let_go() if self.off else shard.close()

    def _between(self) -> None:
        """What is to be done beside orders: one step of it."""
        now = self._means.monotonic()
        due = now >= self._due
        if due:
            self._due = now + self._means.check_interval
        if self.off:
            if due:
                self._try_again()
            return
        for number in self._to_wipe & set(self.shards):
            self._wipe(self.shards[number])
        if due:
            self._check()
        if self._old:
            self._clear_old()
        self._chores.step()

    def _guarded(self, work: Callable[[], None]) -> None:
        """Whatever goes wrong, the thread goes on."""
        try:
            work()
        except (OSError, sqlite3.Error) as error:
            self._fault(error)
        except Exception:  # a fault of ours: the tier serves on, and the log tells where to look
            _log.exception("the disk tier met an unexpected fault")

    def _batch(self, orders: list[Order]) -> None:
        self._look_around()
        for number in dict.fromkeys(order.shard for order in orders):
            mine = [order for order in orders if order.shard == number]
            while mine:
                some, mine = _first(mine)
                self._guarded_part(number, some)
        self._means.queue.done(orders)

    def _guarded_part(self, number: int, orders: list[Order]) -> None:
        shard = self.shards.get(number)
        outcome = Outcome()
        reserved = sum(order.reserved for order in orders if isinstance(order, Put))
        try:
            if shard is None or self.off or number in self._to_wipe:
                self._give_up(number, orders, outcome)
            else:
                self._part(shard, orders, outcome)
        finally:
            self._account(number)
            self._means.space.release(reserved, reserved)
            self._means.tell(outcome)

    def _part(self, shard: Shard, orders: list[Order], outcome: Outcome) -> None:
        try:
            self._make_room(shard, orders)
            if all(isinstance(order, Write) for order in orders):
                self._carry_out(shard, orders, outcome)
            else:
                with shard.transaction():
                    self._carry_out(shard, orders, outcome)
                shard.index.write_back()
        except (OSError, sqlite3.Error) as error:
            self._fault(error, shard)
            self._give_up(shard.number, orders, outcome)
        except Exception:  # a fault of ours: what these orders were about must not be found again
            _log.exception("the disk tier met an unexpected fault")
            self.flood(shard.number)
            self._give_up(shard.number, orders, outcome)
        else:
            outcome.done = orders

    def _carry_out(self, shard: Shard, orders: list[Order], outcome: Outcome) -> None:
        now = self._means.wall()
        for writer, group in groupby(orders, lambda order: order.writer if isinstance(order, Write) else None):
            if writer is not None:
                self._write(shard, writer, [order for order in group if isinstance(order, Write)])
                continue
            for order in group:
                if isinstance(order, Rebuild):
                    self._chores.rebuild_filter(shard)
                else:
                    self._means.carrying.carry_out(shard, order, now)

    def _write(self, shard: Shard, writer: DiskWriter, writes: list[Write]) -> None:
        """Bytes of one body; a disk that does not take them fails that body, and the index goes on."""
        if writer.failed or writer.body is None or writer.body.gone:
            writer.fail()
            return
        body = writer.body
        try:
            pieces = []
            for offset, blocks in _joined(writes):
                pieces += writer.put(offset, blocks)
            if not body.log(pieces):
                self._means.tally.add(Counter.DISK_REFUSED_SPACE)
            writer.promise.spend(max(shard.measure(body), 0))
        except FileNotFoundError:
            writer.fail()  # somebody removed it; a folder that has vanished is noticed elsewhere
        except OSError as error:
            writer.fail()
            self._fault(error)

    def _account(self, number: int) -> None:
        shard = self.shards.get(number)
        if shard is not None:
            self._means.space.set_used(number, *shard.used())

    # Room

    def _look_around(self) -> None:
        """How much the file system has left, and whether the folders are still there."""
        try:
            self._means.space.set_free(next(iter(self.shards.values())).files.layer.free(self._means.root))
            if not all(shard.in_place() for shard in self.shards.values()):
                raise FileNotFoundError(f"{self._means.root} is not what it was")
        except StopIteration:
            return
        except OSError as error:
            self.blind.update(self._numbers)
            self._fault(error)

    def _make_room(self, shard: Shard, orders: list[Order]) -> None:
        """Let others leave for what these orders write; what there is no room for is given up."""
        if self._old:
            self._clear_old()
        if not self._short():
            return
        for order in orders:
            match order:
                case Put():
                    order.given_up, order.blocks = True, ()
                    self._means.tally.add(Counter.DISK_REFUSED_SPACE)
                case Begin() | Write():
                    if not order.writer.failed:
                        order.writer.fail()
                        self._means.tally.add(Counter.DISK_REFUSED_SPACE)
                case _:
                    pass

    def _short(self) -> bool:
        """Whether too little can be made to leave."""
        space = self._means.space
        if self._old:
            return True
        for _ in range(ROOM_STEPS):
            if space.short() <= 0:
                return False
            fullest = sorted(self.shards, key=space.used_by, reverse=True)
            if not any(self._step(self.shards[number]) for number in fullest):
                return space.short() > 0
        return True

    def _step(self, shard: Shard) -> bool:
        try:
            left = leaving.make_room(shard, self._carried[shard.number])
            shard.index.write_back()
        except (OSError, sqlite3.Error) as error:
            self._fault(error, shard)
            return False
        self._account(shard.number)
        return left

    def _clear_old(self) -> None:
        for number in list(self._old):
            shard = self.shards.get(number)
            if shard is None or leaving.clear_old(shard):
                self._old.discard(number)

    # A disk that fails

    def _fault(self, error: Exception, shard: Shard | None = None) -> None:
        """The disk, or this shard's index, has failed."""
        self._means.tally.add(Counter.DISK_FAILURES_WRITE)
        if shard is not None and isinstance(error, sqlite3.Error) and is_beyond_use(error):
            try:
                _log.warning("shard %d of the disk store begins anew: %s", shard.number, error)
                self._wipe(shard)
            except (OSError, sqlite3.Error) as another:
                self._to_wipe.add(shard.number)
                error = another
            else:
                return
        if not self.off:
            self.off = True
            _log.warning("the disk store is off until %s can be written again: %s", self._means.root, error)

    def _wipe(self, shard: Shard) -> None:
        self.blind.add(shard.number)
        shard.wipe()
        self._old.add(shard.number)
        self._to_wipe.discard(shard.number)
        held, self._held[shard.number] = self._held[shard.number], []
        self._means.tell(Outcome(done=held))
        self.blind.discard(shard.number)

    def _give_up(self, number: int, orders: list[Order], outcome: Outcome) -> None:
        """These are not carried out. What must not come back is kept for later."""
        outcome.done, outcome.held = [], []
        later = number not in self._to_wipe and (self.off or number not in self.shards)
        for order in orders:
            keep = False
            match order:
                case Put():
                    order.given_up, order.blocks, order.reserved = True, (), 0
                    keep = not order.fresh
                    self._means.tally.add(Counter.DISK_REFUSED_FAILED)
                case Finish():
                    order.writer.fail()
                    order.given_up, order.made = True, None
                    keep = True
                case Begin() | Write():
                    order.writer.fail()
                case Remove():
                    keep = True
                case Rebuild():
                    outcome.rebuilt = (number, None)
                case _:
                    pass
            # A shard that began anew, or is about to, has nothing that could come back.
            (outcome.held if keep and later else outcome.done).append(order)
        held = self._held[number]
        held.extend(outcome.held)
        if len(held) > self._means.held_max:
            self.flood(number)

    def flood(self, number: int) -> None:
        """More removals wait for a shard than can be remembered: it is of no use any more."""
        self._to_wipe.add(number)
        self.blind.add(number)

    def _try_again(self) -> None:
        """Is the disk back?"""
        try:
            if not all(shard.in_place() for shard in self.shards.values()):
                self._reopen()
            for shard in self.shards.values():
                self._means.space.set_free(shard.files.layer.free(self._means.root))
                shard.probe()
            self._open()
            for number in list(self._to_wipe):
                if number in self.shards:
                    self._wipe(self.shards[number])
        except (OSError, sqlite3.Error):
            self._means.tally.add(Counter.DISK_FAILURES_WRITE)
            return
        self.off = False
        self.blind -= set(self.shards) - self._to_wipe
        _log.warning("the disk store is back: %s can be written", self._means.root)
        self._carry_out_held()

    def _reopen(self) -> None:
        os.stat(self._means.root)  # a file system that is not mounted is not to be filled underneath
        for number in list(self.shards):
            self.shards.pop(number).let_go()
        self._chores.forget()  # what they worked on has been closed

    def _rebuilt(self, number: int, filter: Filter | None) -> None:
        self._means.tell(Outcome(rebuilt=(number, filter)))

    def _carry_out_held(self) -> None:
        for number, held in self._held.items():
            if number in self.shards and held:
                self._held[number] = []
                while held:
                    some, held = _first(held)
                    self._guarded_part(number, some)

    def _open(self) -> None:
        for number in self._numbers:
            if number in self.shards:
                continue
            try:
                self.shards[number] = self._means.open_shard(number)
            except BlockingIOError:
                if number not in self._taken:
                    _log.warning("shard %d of the disk store is still open in another process", number)
                self._taken.add(number)
            except (OSError, sqlite3.Error) as error:
                self._fault(error)
                return
            else:
                self._old.add(number)
                self._account(number)
                self._chores.sweep_files(self.shards[number])

    # Chores

    def _check(self) -> None:
        """Every check interval."""
        self._look_around()
        if len(self.shards) < len(self._numbers):
            self._open()
            self._carry_out_held()
        self._chores.look_for_expired()


def _first(orders: list[Order]) -> tuple[list[Order], list[Order]]:
    """The orders of the next transaction, and the rest."""
    size = 0
    for count, order in enumerate(orders, 1):
        size += order.weight
        if count >= TRANSACTION_ORDERS or size >= TRANSACTION_BYTES:
            return orders[:count], orders[count:]
    return orders, []


def _joined(writes: list[Write]) -> Iterator[tuple[int, list[bytes]]]:
    """Writes that follow one another, together."""
    start = end = writes[0].offset
    blocks: list[bytes] = []
    for write in writes:
        if write.offset != end:
            yield start, blocks
            start = end = write.offset
            blocks = []
        blocks.append(write.data)
        end += len(write.data)
    yield start, blocks
