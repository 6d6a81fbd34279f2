"""Responses of which only some bytes are stored (RFC 9111 sections 3.3 and 3.4).

Such a response is an incomplete 200: `StoredHead.parts` holds the intervals [start, end) that are there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from edgeproxy.message import RequestHead, ResponseHead
from edgeproxy.model import AsOf, Rules
from edgeproxy.outcome import StoredHead
from edgeproxy.rules.ranges import Part, Unsatisfiable, Whole, received_part, select
from edgeproxy.rules.validation import earlier, strong_validator, updated_fields

Intervals = tuple[tuple[int, int], ...]


def complete_length(stored: StoredHead) -> int | None:
    """Bytes of the complete body, None when the head does not say."""
    value = stored.headers.get(b"content-length")
    return int(value) if value is not None and value.isdigit() and len(value) <= 18 else None


def holds(stored: StoredHead, request: RequestHead, rules: Rules) -> bool:
    """Whether the stored bytes are enough for a request: all of them, or every range that it gets (section 3.3)."""
    if stored.parts is None or request.method == "HEAD":
        return True
    length = complete_length(stored)
    if length is None:
        return False
    match select(request, stored.status, stored.headers, length, rules):
        case Whole():
            return False
        case Unsatisfiable():
            return True
        case wanted:
            return not any(missing(stored.parts, part) for part in wanted)


def missing(held: Sequence[tuple[int, int]], wanted: Part) -> list[Part]:
    """The bytes of `wanted` that `held` (ascending, apart) lacks, in order."""
    gaps: list[Part] = []
    position = wanted.first
    for start, end in held:
        if start > wanted.last:
            break
        if start > position:
            gaps.append(Part(position, start - 1))
        position = max(position, end)
    if position <= wanted.last:
        gaps.append(Part(position, wanted.last))
    return gaps


def union(one: Intervals, other: Intervals) -> Intervals:
    """Two sets of intervals as one, ascending and apart; intervals that touch become one."""
    joined: list[tuple[int, int]] = []
    for start, end in sorted((*one, *other)):
        if joined and start <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(joined[-1][1], end))
        else:
            joined.append((start, end))
    return tuple(joined)


def completable(stored: StoredHead) -> bool:
    """Whether bytes that are missing may be fetched and added: a strong validator and a length say what they are of."""
    return (
        stored.parts is not None
        and complete_length(stored) is not None
        and strong_validator(stored.headers, stored.received_at) is not None
    )


def gap(held: Intervals, wanted: Part, length: int, interval: int, ahead: int) -> Part:
    """What to fetch so that `wanted`, whose first byte `held` lacks, can be read from there on.

    It lies on a grid of `interval` bytes, so that neighbours share a fetch, reaches `ahead` intervals beyond what is
    wanted, and stops short of what is held on either side.
    """
    first = wanted.first // interval * interval
    end = min(length, (wanted.last // interval + 1 + ahead) * interval)
    for start, stop in held:
        if stop <= wanted.first:
            first = max(first, stop)
        elif start > wanted.first:
            end = min(end, start)
    return Part(first, end - 1)


def begun(stored: StoredHead, first: int, end: int) -> StoredHead | None:
    """The head of a body of which no more came than the bytes from `first` up to `end`; None when nothing could ever
    be added to them (section 3.3)."""
    if stored.status != 200 or end <= first:
        return None
    incomplete = replace(stored, parts=((first, end),))
    return incomplete if completable(incomplete) else None


def of_one_body(stored: StoredHead, other: StoredHead) -> bool:
    """Whether two responses, each perhaps incomplete, are parts of the same bytes (section 3.4)."""
    mine = strong_validator(stored.headers, stored.received_at)
    return (
        stored.status == other.status == 200
        and mine is not None
        and mine == strong_validator(other.headers, other.received_at)
        and complete_length(stored) == complete_length(other)
    )


def joined(stored: StoredHead, new: StoredHead) -> StoredHead:
    """The stored response with the parts of another one of the same body added, whose fields are the newer ones.

    `as_of` is the lower one, because a body is as old as its oldest bytes.
    """
    parts = None if stored.parts is None or new.parts is None else union(stored.parts, new.parts)
    return replace(
        stored,
        headers=updated_fields(stored.headers, new.headers, new.received_at),
        requested_at=new.requested_at,
        received_at=new.received_at,
        as_of=earlier(stored.as_of, new.as_of),
        parts=None if parts == ((0, complete_length(stored)),) else parts,
        sources=(*stored.sources, *(each for each in new.sources if each not in stored.sources)),
    )


def combines(stored: StoredHead, response: ResponseHead, received_at: float) -> bool:
    """Whether a 206 carries more bytes of the stored response (section 3.4).

    Both must have the same strong validator and agree on the complete length: nothing weaker keeps bytes of two
    representations apart.
    """
    carried = received_part(response)
    if carried is None or stored.status != 200 or carried.length is None:
        return False
    mine = strong_validator(stored.headers, stored.received_at)
    same = mine is not None and mine == strong_validator(response.headers, received_at)
    return same and carried.length == complete_length(stored)


def combined(
    stored: StoredHead, response: ResponseHead, *, requested_at: float, received_at: float, as_of: AsOf
) -> StoredHead:
    """The stored response with a 206's bytes added, after `combines` agreed.

    Fields are updated as by a 304; `as_of` is the lower one, because a body is as old as its oldest bytes.
    """
    carried = received_part(response)
    if carried is None or carried.part is None:
        raise ValueError("not a partial response")
    parts = stored.parts
    if parts is not None:
        parts = union(parts, ((carried.part.first, carried.part.last + 1),))
    return replace(
        stored,
        headers=updated_fields(stored.headers, response.headers, received_at),
        requested_at=requested_at,
        received_at=received_at,
        as_of=earlier(stored.as_of, as_of),
        parts=None if parts == ((0, complete_length(stored)),) else parts,
    )
