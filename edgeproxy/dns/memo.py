"""Answers kept ready by the bytes of their question: what most queries get, without anybody reading them.

A query is known again by its bytes without the id, the case of its name, and what it ends in, where that is the address
of a client subnet of the usual length or a whole cookie. What was answered to its like is kept in pieces (`_Tail`), one
for each POP that may be the answer, and put together with the id, the name as it is spelt, and the ending. Two halves
of equal size, of which the older is dropped when the younger is full, keep what is asked for again (a second chance at
no cost). So neither a network that nobody asked for before nor another spelling costs reading or rendering.

Which POP a network gets is kept apart (`Verdicts`), once for all names.

Everything is forgotten when what the answers depend on changes; measurements, which change all the time, make forgotten
only what was decided for the networks around.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple, TypeAlias

from edgeproxy.dns.answer import Bodies, Conditions, Reply, answer, client_of
from edgeproxy.dns.policy import Client
from edgeproxy.dns.query import HEADER
from edgeproxy.dns.tally import Tallies, Tally
from edgeproxy.dns.verdicts import Kind, Kinds, Verdicts
from edgeproxy.dns.zone import Alias, Place, Steered, Zone

WIRE_MAX = 192
"""Longer queries are not kept: a name of usual length with a client subnet takes 70 bytes."""
TAIL_MAX = 1024
"""Bytes of answers kept for one kind of query and one POP, all rotations together."""
HALF_BYTES_MAX = 24 << 20
"""Bytes of queries and answers, and of what Python needs around them, in each half."""
SHAPE_BYTES, TAIL_BYTES = 700, 300
"""What Python needs around them."""

_NAME = HEADER.size
_V4 = bytes.fromhex("0008 0007 0001 18 00")
_V6 = bytes.fromhex("0008 000b 0002 38 00")
_COOKIE = bytes.fromhex("000a 0018")
"""What stands before the address of a subnet of 24 or 56 bits, and before a cookie with both halves, at the end."""
_V4_SIZE, _V6_SIZE, _COOKIE_SIZE = 3, 7, 24
_SIZES = {(1, 24): _V4_SIZE, (2, 56): _V6_SIZE}
_V4_BEFORE, _V6_BEFORE, _COOKIE_BEFORE = -11, -15, -28
_WHOLE = b"\xff"
"""At the end of a key that leaves out no ending: none of those above ends so."""
_EVERYBODY: tuple[None, bytes] = None, b"\0"

Found: TypeAlias = tuple[bytes, Tally, int | None]
"""An answer, what it counts as, and its group for rate limiting: None when a cookie vouches for who asks."""


class _Tail(NamedTuple):
    """What follows the id in an answer, but for the name and what the query ends in."""

    head: bytes
    """Flags and counts."""
    rests: list[bytes | None]
    """All after the name, one a rotation; None for those that nobody was given yet."""
    scoped: bool
    """The client subnet's scope is the verdict's; else it is 0."""
    tally: Tally
    group: int


@dataclass(slots=True)
class _Shape:
    """Queries that differ in nothing but what the key leaves out."""

    verdicts: Verdicts | None
    """None when everybody is told the same."""
    client: Client | None
    """Whose POP it is; None for whoever asks, or is in the subnet that the query ends in."""
    tails: dict[Kind | None, _Tail] = field(default_factory=dict)
    """By POP and reason; what everybody is told under None."""


class Memo:
    """Answers for one zone under one set of conditions. `kept_max`: kinds of queries, times the POPs that they got."""

    def __init__(self, zone: Zone, conditions: Conditions, kept_max: int, tallies: Tallies) -> None:
        self._half_max = kept_max // 2
        self._tallies = tallies
        self._bodies: Bodies = {}
        self._zone = zone
        self.use(zone, conditions)

    def __len__(self) -> int:
        return self._young_tails + self._old_tails

    def use(self, zone: Zone, conditions: Conditions) -> None:
        """Answer so from now on; nothing of what is kept is used again."""
        if zone is not self._zone:
            self._bodies = {}
        self._zone, self._conditions = zone, conditions
        self._young: dict[bytes, _Shape] = {}
        self._old: dict[bytes, _Shape] = {}
        self._young_tails = self._young_bytes = self._old_tails = 0
        self._kinds = Kinds()
        self._verdicts: dict[frozenset[str] | None, Verdicts] = {}
        """By the POPs that a distribution may use: as many as there are price classes."""

    def forget(self, clients: Iterable[Client]) -> None:
        """What was decided for networks around these is decided anew."""
        around = list(clients)
        for verdicts in self._verdicts.values():
            verdicts.forget(around)

    def find(self, wire: bytes, source: str) -> Found | None:
        """The answer to these bytes from this address, if it can be made of what is kept."""
        end = wire.find(0, _NAME)
        name = wire[_NAME:end]
        if wire[_V4_BEFORE:-_V4_SIZE] == _V4:
            closing = wire[-_V4_SIZE:]
            key = wire[2:_NAME] + name.lower() + wire[end:-_V4_SIZE]
            shape = self._young.get(key) or self._again(key)
            if shape is None:
                return None
            kind, scope = _EVERYBODY if shape.verdicts is None else shape.verdicts.of_24(closing)
        elif wire[_V6_BEFORE:-_V6_SIZE] == _V6:
            closing = wire[-_V6_SIZE:]
            key = wire[2:_NAME] + name.lower() + wire[end:-_V6_SIZE]
            shape = self._young.get(key) or self._again(key)
            if shape is None:
                return None
            kind, scope = _EVERYBODY if shape.verdicts is None else shape.verdicts.of_56(closing)
        else:
            return self._find_other(wire, name, end, source)
        tail = shape.tails.get(kind)
        if tail is None:
            return None  # This POP was not yet the answer to the like of it.
        head, rests, scoped, tally, group = tail
        rest = rests[wire[1] % len(rests)]
        if rest is None:
            return None
        return wire[:2] + head + name + rest + (scope if scoped else b"\0") + closing, tally, group

    def _find_other(self, wire: bytes, name: bytes, end: int, source: str) -> Found | None:
        """As `find`, for what does not end in a client subnet of the usual length."""
        checked, vouched = b"", False
        if wire[_COOKIE_BEFORE:-_COOKIE_SIZE] == _COOKIE and self._conditions.cookies is not None:
            key = wire[2:_NAME] + name.lower() + wire[end:-_COOKIE_SIZE]
            if key in self._young or key in self._old:
                checked, vouched = self._conditions.cookies(wire[-_COOKIE_SIZE:], source)
            if not vouched:
                return None
        else:
            key = wire[2:_NAME] + name.lower() + wire[end:] + _WHOLE
        shape = self._young.get(key) or self._again(key)
        if shape is None:
            return None
        if shape.verdicts is None:
            kind, _ = _EVERYBODY
        elif shape.client is None:
            kind, _ = shape.verdicts.of_source(source)
        else:
            kind, _ = shape.verdicts.of(shape.client)
        tail = shape.tails.get(kind)
        rest = None if tail is None else tail.rests[wire[1] % len(tail.rests)]
        if tail is None or rest is None:
            return None
        reply = wire[:2] + tail.head + name + rest + checked
        return reply, tail.tally, None if vouched else tail.group

    def _again(self, key: bytes) -> _Shape | None:
        """From the older half into the younger."""
        shape = self._old.pop(key, None)
        if shape is not None:
            self._old_tails -= len(shape.tails)
            self._keep(key, shape)
        return shape

    def reply(self, wire: bytes, source: str, *, udp: bool) -> Reply | None:
        """The answer by reading the query; what can be kept of it is. As answer.answer."""
        reply = answer(self._zone, wire, source, udp=udp, conditions=self._conditions, bodies=self._bodies)
        if reply is not None and udp and len(wire) <= WIRE_MAX and self._half_max:
            self._remember(wire, reply)
        return reply

    def _remember(self, wire: bytes, reply: Reply) -> None:
        question = reply.query.question
        place = None if question is None else self._zone.find(question.folded)
        if place is None or place.content is None:
            return  # Strangers can make up as many of these as they like; they are cheap by other means.
        cut = self._cut(wire, reply)
        if cut is None:
            return
        end = wire.find(0, _NAME)
        until = -cut - (cut != _COOKIE_SIZE) if cut else None  # without the scope
        rest = reply.wire[end:until]
        if len(rest) * reply.rotations > TAIL_MAX:
            return
        key = wire[2:_NAME] + wire[_NAME:end].lower() + (wire[end:-cut] if cut else wire[end:] + _WHOLE)
        shape = self._young.get(key) or self._again(key)
        if shape is None:
            shape = self._shape(place, reply, cut)
            self._keep(key, shape)
        decided = reply.decided
        kind = None if shape.verdicts is None or decided is None else self._kinds.of(decided)
        tail = shape.tails.get(kind)
        if tail is None:
            if self._make_room(1):
                self._again(key)
            group = hash((reply.group, reply.rcode))
            rests: list[bytes | None] = [None] * reply.rotations
            tail = _Tail(reply.wire[2:_NAME], rests, reply.scoped, self._tallies.of(reply), group)
            shape.tails[kind] = tail
            self._count(tail)
        tail.rests[wire[1] % reply.rotations] = rest
        self._young_bytes += len(rest)

    def _cut(self, wire: bytes, reply: Reply) -> int | None:
        """How many bytes at the end of the query the key leaves out; None when it is not kept at all."""
        edns = reply.query.edns
        if edns is not None and edns.cookie and self._conditions.cookies is not None:
            # Whoever is not vouched for is to be told so; an answer with a subnet too does not end in the cookie.
            alone = reply.vouched and edns.subnet is None and wire.endswith(_COOKIE + edns.cookie)
            alone = alone and wire.count(_COOKIE) == 1
            return _COOKIE_SIZE if alone else None
        if edns is not None and edns.subnet is not None and edns.ends_in_subnet:
            size = _SIZES.get((edns.subnet.family, edns.subnet.source))
            if size is not None:
                return size
        # What looks like an ending and is none would be looked for elsewhere.
        ending = wire[_V4_BEFORE:-_V4_SIZE] == _V4 or wire[_V6_BEFORE:-_V6_SIZE] == _V6
        return None if ending or wire[_COOKIE_BEFORE:-_COOKIE_SIZE] == _COOKIE else 0

    def _shape(self, place: Place, reply: Reply, cut: int) -> _Shape:
        content = place.content.steered if isinstance(place.content, Alias) else place.content
        if not reply.steered or not isinstance(content, Steered):
            return _Shape(None, None)
        edns = reply.query.edns
        client = client_of(edns.subnet) if edns is not None and not cut else None
        return _Shape(self._verdicts_of(content), client)

    def _verdicts_of(self, steered: Steered) -> Verdicts:
        verdicts = self._verdicts.get(steered.allowed)
        if verdicts is None:
            down, measured = self._conditions.down, self._conditions.measured
            choose = partial(self._zone.policy.choose, down=down, allowed=steered.allowed, measured=measured)
            verdicts = self._verdicts[steered.allowed] = Verdicts(choose, self._kinds)
        return verdicts

    def _keep(self, key: bytes, shape: _Shape) -> None:
        self._make_room(len(shape.tails))
        self._young[key] = shape
        self._young_bytes += SHAPE_BYTES + len(key)
        for tail in shape.tails.values():
            self._count(tail)

    def _count(self, tail: _Tail) -> None:
        self._young_tails += 1
        self._young_bytes += TAIL_BYTES + sum(len(rest) for rest in tail.rests if rest is not None)

    def _make_room(self, tails: int) -> bool:
        """Whether the halves have changed their parts for it."""
        if not self._young or (self._young_tails + tails <= self._half_max and self._young_bytes < HALF_BYTES_MAX):
            return False
        self._old, self._old_tails = self._young, self._young_tails
        self._young, self._young_tails, self._young_bytes = {}, 0, 0
        return True
