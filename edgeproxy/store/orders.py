"""What the event loop asks the writer's thread to do. Orders are carried out in the order they were given.

`reserved` bytes of disk were promised for an order (space.py) and are given back once it was carried out; `weight`
bytes of memory wait with it.
"""

from __future__ import annotations

from asyncio import Future
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from edgeproxy.headers import Headers
from edgeproxy.outcome import StoredHead
from edgeproxy.store.bodies import Piece
from edgeproxy.store.memory import Terms
from edgeproxy.store.records import Bytes, Record

if TYPE_CHECKING:
    from edgeproxy.store.writer import DiskWriter

ORDER_WEIGHT = 500
"""Bytes of memory that an order takes beside its body and fields."""


@dataclass(slots=True)
class Order:
    """Something to do about a key."""

    key: bytes
    hash: int
    shard: int

    @property
    def weight(self) -> int:
        """Bytes of memory."""
        return ORDER_WEIGHT + len(self.key)


@dataclass(slots=True)
class Put(Order):
    """Store a response whose bytes are all in memory, or a part of its body."""

    head: StoredHead
    trailers: Headers
    terms: Terms
    first: int
    blocks: tuple[bytes, ...]
    length: int
    memory: int
    reserved: int
    fresh: bool
    """Nothing is recorded under the key."""
    given_up: bool = False
    """It cannot be stored any more; what it would have replaced has to go all the same."""

    @property
    def size(self) -> int:
        """Bytes of the body that are given."""
        return sum(map(len, self.blocks))

    @property
    def weight(self) -> int:
        return ORDER_WEIGHT + self.memory


@dataclass(slots=True)
class Remove(Order):
    """Remove records under a key: all, one variant, or one record as it is."""

    variant: int | None = None
    row: int | None = None


@dataclass(slots=True)
class Refresh(Order):
    """Another head for the same bytes: those of the variant, at `where` if that is told."""

    head: StoredHead
    terms: Terms
    where: Bytes | None


@dataclass(slots=True)
class Rehead(Order):
    """Another head for a record, if it is still as it was."""

    row: int
    head: StoredHead


@dataclass(slots=True)
class GiveUp(Order):
    """A record was found expired, or damaged."""

    id: int
    row: int | None
    """None: it is no record at all."""
    damaged: bool


@dataclass(slots=True)
class DropPiece(Order):
    """A piece of a large body was found damaged."""

    file: int
    piece: Piece


@dataclass(slots=True)
class Begin(Order):
    """Make the file of a large body, or open the one that is to be extended."""

    writer: DiskWriter
    extends: Record | None


@dataclass(slots=True)
class Write(Order):
    """Bytes of a large body."""

    writer: DiskWriter
    offset: int
    data: bytes

    @property
    def weight(self) -> int:
        return len(self.data)


@dataclass(slots=True)
class Finish(Order):
    """A large body has ended: keep what came of it, or not."""

    writer: DiskWriter
    head: StoredHead
    trailers: Headers
    terms: Terms
    keep: bool
    given_up: bool = False
    done: Future[Record | None] | None = field(default=None, repr=False)
    made: Record | None = None


@dataclass(slots=True)
class Rebuild(Order):
    """Make the tables by hash anew: all that was ordered before is in the index then."""
