"""An answer from memory, made ready: what of its bytes changes from one second or request to the next, and the rest.

The bytes come from those who make every other answer (answers.py, present.py, delivery.py, the recorder), asked once
with marks in the place of what will change: so there is nothing here that could say something else than they do.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import inf
from typing import cast

from edgeproxy.cloudfront.fields import REQUEST_ID_BYTES, request_id
from edgeproxy.edge.answers import Answers
from edgeproxy.edge.ask import Ask
from edgeproxy.edge.delivery import Framing, final_head
from edgeproxy.edge.present import Trace, age_text, ttl_text
from edgeproxy.edge.recorder import RESULTS, Recorder
from edgeproxy.message import Delivery, ResponseHead
from edgeproxy.outcome import Result
from edgeproxy.rules import freshness, ranges
from edgeproxy.store.memory import Stored
from edgeproxy.store.runs import Run
from edgeproxy.store.runs import cut as bytes_between
from edgeproxy.telemetry.record import Record, day_and_time, outline

_AGE_MARK = 8_734_200_000_000_061.0
"""No response is that old. Its digits are the mark of Age, and what it leaves of a lifetime is that of the TTL."""
_ID_MARK = "edgeproxy.mark.id"

_ID_LENGTH = len(request_id(bytes(REQUEST_ID_BYTES)))

COPIED_MAX = 16 * 1024
"""A body up to this is copied behind its head; beyond, to send two pieces is cheaper than to make them one."""

_ONE_PIECE = 64 * 1024
"""A body up to this is held in one piece."""

_GRAIN = 1e-6
"""Seconds by which a moment reckoned from a change may come too late, in numbers as large as the wall clock's."""

_USES = 3
"""How often in a second the store is told that a response was used: more would not change how it is ranked."""

_OVERHEAD = 2500
"""Bytes a prepared answer takes beside its head and the log's words (measured)."""

Piece = bytes | int
"""Bytes that stay, or the place of those that change in (age, ttl)."""


class Reply:
    """One prepared answer: right from `since` until `until`, while the numbers of the page are those it has here."""

    __slots__ = (
        "_after", "_age_at_arrival", "_before", "_length", "_lifetime", "_own", "_received_at",
        "after_id", "before_id", "blocks", "body", "bucket", "copied", "edition", "edition_bucket",
        "generation", "lead", "line", "record", "result", "since", "size", "standing", "stored", "until", "uses",
    )  # fmt: skip

    def __init__(
        self,
        stored: Stored,
        lifetime: float,
        head: tuple[list[Piece], list[Piece] | None],
        blocks: Sequence[bytes],
        record: Record,
        line: list[bytes],
    ) -> None:
        self.stored: Stored | None = stored
        """None when it is no answer any more."""
        self._lifetime = lifetime
        self._received_at = stored.head.received_at
        self._age_at_arrival = freshness.current_age(stored.head, self._received_at)
        self._before, self._after = head
        self._length = length = sum(map(len, blocks))
        self.blocks = tuple(blocks) if length > _ONE_PIECE else None
        """Of a body that is not held in one piece."""
        self.body = b"" if length > _ONE_PIECE else blocks[0] if len(blocks) == 1 else b"".join(blocks)
        self.copied = length <= COPIED_MAX
        """Head and body go out in one piece."""
        self._own = 0 if length > _ONE_PIECE or len(blocks) == 1 else length
        self.record = record
        """What the log says of it, but for what the request brings."""
        self.result = int(RESULTS[record.result])
        self.line = line
        """The log's line, cut at record.SLOTS."""
        self.lead = b""
        """Its beginning, up to the viewer's address."""
        self.before_id = b""
        self.after_id: bytes | None = None
        """None when there is no id in the head."""
        self.size = 0
        """Bytes of the whole answer."""
        self.since = inf
        self.until = -inf
        self.uses = 0
        """How often the store is still to be told of a use."""
        self.standing = self.generation = -1
        self.bucket = self.edition_bucket = 0
        self.edition: int | None = None
        """None where this worker is the one that knows the newest."""

    def renew(self, now: float) -> bool:
        """Be right now and for as long as nothing in the bytes changes; False when it is not fresh any more."""
        age = self._age_at_arrival + max(0.0, now - self._received_at)
        left = self._lifetime - age
        if left <= 0:
            return False
        texts = age_text(age), ttl_text(left)
        self.before_id = _joined(self._before, texts)
        self.size = len(self.before_id) + self._length
        if self._after is not None:
            self.after_id = _joined(self._after, texts)
            self.size += _ID_LENGTH + len(self.after_id)
        second = int(now)
        day, time = day_and_time(second)
        start, between, place, end = self.line[:4]
        self.lead = b"%b%b%b%b%b%d%b" % (start, day, between, time, place, self.size, end)
        older = self._received_at + int(age) + 1 - self._age_at_arrival
        nearer = now + left - (round(left) - 0.5)
        self.since = now
        self.until = max(now, min(second + 1, older, nearer, now + left) - _GRAIN)
        self.uses = _USES
        return True

    def expire(self) -> None:
        """Not right any more, whatever the time; what it held may go."""
        self.since, self.until = inf, -inf
        self.stored = self.blocks = None
        self.body = b""

    def weight(self) -> int:
        """About how many bytes this alone keeps alive: the blocks of a body are the store's."""
        head = sum(len(piece) for piece in (*self._before, *(self._after or ())) if isinstance(piece, bytes))
        return _OVERHEAD + 2 * (head + sum(map(len, self.line))) + self._own


def prepare(ask: Ask, stored: Stored, answers: Answers, recorder: Recorder) -> Reply | None:
    """The answer to this request from this response, if it is one that can be had again and again.

    None for what is made anew each time (several parts), for a 416, and for a body whose length is not known.
    """
    marked = replace(
        ask, request_id=_ID_MARK, presenter=replace(ask.presenter, request_id=_ID_MARK), trace=Trace()
    )  # fmt: skip
    answer = answers.stored(marked, stored, _AGE_MARK, Result.HIT)
    answer.body.close()
    head, framing, _ = final_head(
        answer.head, answer.body.length, method=ask.request.method, version=ask.request.version, close=False
    )
    lifetime = freshness.lifetime(stored.head, ask.behavior.caching)
    pieces = _cut(head, age_text(_AGE_MARK), ttl_text(lifetime - _AGE_MARK))
    blocks = [] if framing is Framing.NONE else _blocks(answer.head, stored)
    record = recorder.record(marked, answer.head, Delivery(0, 0, 0.0, 0.0, complete=True, sender_left=False))
    record.time_taken = record.first_byte = 0.0
    line = outline(recorder.log.line, record)
    if pieces is None or blocks is None or line is None:
        return None
    return Reply(stored, lifetime, pieces, blocks, record, line)


def _blocks(head: ResponseHead, stored: Stored) -> list[bytes] | None:
    """The bytes of the body behind a head that was made from a stored response: all, or the one part it names."""
    if head.status != 206:
        return list(stored.blocks) if head.status == stored.head.status else None
    named = ranges.received_part(head)
    if named is None or named.part is None:
        return None
    # Views, so that a part of a large body takes no memory of its own.
    views = [Run(run.first, run.end, tuple(_view(block) for block in run.blocks)) for run in stored.runs]
    return list(bytes_between(views, named.part.first, named.part.last + 1))


def _view(block: bytes) -> bytes:
    return cast(bytes, memoryview(block))  # whoever only sends it need not know


def _cut(head: bytes, age: bytes, ttl: bytes) -> tuple[list[Piece], list[Piece] | None] | None:
    """A head with marks in it as pieces: those before the id, and those behind it if there is one."""
    if head.count(age) > 1 or head.count(ttl) > 1:
        return None
    before, found, after = head.partition(_ID_MARK.encode())
    if _ID_MARK.encode() in after:
        return None
    return _pieces(before, age, ttl), _pieces(after, age, ttl) if found else None


def _pieces(text: bytes, *marks: bytes) -> list[Piece]:
    pieces: list[Piece] = []
    position = 0
    for at, place in sorted((at, place) for place, mark in enumerate(marks) if (at := text.find(mark)) >= 0):
        pieces += [text[position:at], place]
        position = at + len(marks[place])
    return [*pieces, text[position:]]


def _joined(pieces: list[Piece], texts: tuple[bytes, bytes]) -> bytes:
    return b"".join([texts[piece] if isinstance(piece, int) else piece for piece in pieces])
