"""Answers kept ready by the bytes of their question: what most queries get, without anybody reading them.

Two layers before `answer`, which remembers what was rendered by itself:

- by all bytes after the id. Resolvers ask for the same few names with the same bytes; two halves of equal size, of
  which the older is dropped when the younger is full, keep what is asked for again (a second chance at no cost);
- by all bytes but the id and the last ones, where those are a client subnet's address. So a network that nobody asked
  for before costs one choice of a POP, and neither reading nor rendering.

An answer that depends on who asks (for want of a client subnet) is kept by the asker's address as well; one that
carries a cookie is not kept by its bytes.
Everything is forgotten when what the answers depend on changes; measurements, which change all the time, make forgotten
only what was answered to networks in the same bucket.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeAlias

from edgeproxy.dns.answer import Bodies, Conditions, Reply, answer
from edgeproxy.dns.policy import Choice, Client, Reason
from edgeproxy.dns.query import Rcode
from edgeproxy.dns.tally import Tallies, Tally
from edgeproxy.dns.zone import Alias, Steered, Zone

BUCKETS = 4096
WIRE_MAX = 192
"""Longer queries are not kept: a name of usual length with a client subnet takes 70 bytes."""
TAILS_MAX = 1024
"""Bytes of answers kept for one query, all rotations together."""
HALF_BYTES_MAX = 24 << 20
"""Bytes of queries and answers, and of what Python needs around them, in each half."""
ENTRY_BYTES = 250
"""What Python needs around one."""
SHAPES_MAX = 2048
PLACES_MAX = 65_536
"""As many /16 as there are."""

Entry: TypeAlias = tuple[tuple[bytes, ...], Tally, int, int, int]
"""Answers after the id, one a rotation (none when who asks belongs to the key); what they count as; bucket and its
stamp; the group for rate limiting."""


def bucket_of(client: Client) -> int:
    """Networks share a bucket by their /16 or /32."""
    return (client.address >> client.bits - (16 if client.bits == 32 else 32)) % BUCKETS


@dataclass(slots=True)
class _Shape:
    """A query for a distribution with a client subnet at its end, of whichever network."""

    steered: Steered
    bits: int
    tails: dict[tuple[str, Reason], tuple[tuple[bytes, ...], Tally]]
    """By POP and reason: answers after the id and up to the scope, one a rotation."""
    group: int


class Memo:
    """Answers for one zone under one set of conditions. `kept_max`: answers kept by their bytes."""

    def __init__(self, zone: Zone, conditions: Conditions, kept_max: int, tallies: Tallies) -> None:
        self._zone = zone
        self._conditions = conditions
        self._half_max = kept_max // 2
        self._tallies = tallies
        self._stamps = [0] * BUCKETS
        self._young: dict[bytes, Entry] = {}
        self._old: dict[bytes, Entry] = {}
        self._young_bytes = 0
        self._shapes: dict[bytes, _Shape] = {}
        self._wide: dict[tuple[int, frozenset[str] | None], Choice] = {}
        """Choices that hold for a whole /16, by its first bits."""
        self._bodies: Bodies = {}

    def __len__(self) -> int:
        return len(self._young) + len(self._old)

    def use(self, zone: Zone, conditions: Conditions) -> None:
        """Answer so from now on; nothing of what is kept is used again."""
        if zone is not self._zone:
            self._bodies = {}
        self._zone, self._conditions = zone, conditions
        self._young, self._old, self._shapes, self._wide = {}, {}, {}, {}
        self._young_bytes = 0

    def forget(self, buckets: Iterable[int]) -> None:
        """What was answered to networks in these buckets is not used again."""
        for bucket in buckets:
            self._stamps[bucket] += 1
        self._wide.clear()

    def find(self, wire: bytes, source: str) -> Entry | None:
        """What is kept for a query of these bytes, or can be made of what is kept for its like."""
        key = wire[2:]
        entry = self._young.get(key)
        if entry is None:
            entry = self._again(key)
            if entry is None:
                return self._of_shape(wire, 3, 24, 32) or self._of_shape(wire, 7, 56, 128)
        if not entry[0]:
            key += source.encode()
            entry = self._young.get(key) or self._again(key)
            if entry is None:
                return None
        return entry if self._stamps[entry[2]] == entry[3] else None

    def _again(self, key: bytes) -> Entry | None:
        """From the older half into the younger."""
        entry = self._old.get(key)
        if entry is not None:
            self._keep(key, entry)
        return entry

    def reply(self, wire: bytes, source: str, *, udp: bool) -> Reply | None:
        """The answer by reading the query; what can be kept of it is. As answer.answer."""
        reply = answer(self._zone, wire, source, udp=udp, conditions=self._conditions, bodies=self._bodies)
        if reply is not None and udp and len(wire) <= WIRE_MAX and self._half_max:
            self._remember(wire, source, reply)
        return reply

    def _of_shape(self, wire: bytes, size: int, source: int, bits: int) -> Entry | None:
        """An answer for a client subnet of the usual length, which nobody asked for before in this way."""
        shape = self._shapes.get(wire[2:-size])
        if shape is None or shape.bits != bits:
            return None
        end = wire[-size:]
        address = int.from_bytes(end, "big") << bits - source
        choice = self._choice(shape.steered, address, bits, source)
        known = shape.tails.get((choice.pop.name, choice.reason))
        if known is None:
            return None
        tails, tally = known
        closing = bytes((choice.scope,)) + end
        made = (tails[0] + closing,) if len(tails) == 1 else tuple(tail + closing for tail in tails)
        bucket = (address >> bits - (16 if bits == 32 else 32)) % BUCKETS
        entry = made, tally, bucket, self._stamps[bucket], shape.group
        self._keep(wire[2:], entry)
        return entry

    def _choice(self, steered: Steered, address: int, bits: int, source: int) -> Choice:
        place = address >> 16, steered.allowed
        known = self._wide.get(place) if bits == 32 else None
        if known is not None:
            return known
        conditions = self._conditions
        choice = self._zone.policy.choose(
            Client(address, bits, source), conditions.down, allowed=steered.allowed, measured=conditions.measured
        )
        if bits == 32 and choice.scope <= 16:
            if len(self._wide) >= PLACES_MAX:
                self._wide.clear()
            self._wide[place] = choice
        return choice

    def _keep(self, key: bytes, entry: Entry) -> None:
        self._young[key] = entry
        tails = entry[0]
        size = len(tails[0]) if len(tails) == 1 else sum(map(len, tails))
        self._young_bytes += ENTRY_BYTES + len(key) + size
        if len(self._young) >= self._half_max or self._young_bytes >= HALF_BYTES_MAX:
            self._old, self._young, self._young_bytes = self._young, {}, 0

    def _remember(self, wire: bytes, source: str, reply: Reply) -> None:
        query = reply.query
        edns, question = query.edns, query.question
        if question is None or (edns is not None and edns.cookie and self._conditions.cookies is not None):
            return
        place = self._zone.find(question.folded)
        if place is None or place.content is None:
            return  # Strangers can make up as many of these as they like; they are cheap by other means.
        tails = [reply.wire[2:]]
        if reply.rotations > 1:
            turned = (bytes((0, turn)) + wire[2:] for turn in range(reply.rotations))
            made = [
                answer(self._zone, each, source, udp=True, conditions=self._conditions, bodies=self._bodies)
                for each in turned
            ]
            tails = [each.wire[2:] for each in made if each is not None]
        if sum(map(len, tails)) > TAILS_MAX:
            return
        tally, group = self._tallies.of(reply), hash((reply.group, reply.rcode))
        key, bucket = wire[2:], 0
        if reply.by_subnet and edns is not None and edns.subnet is not None:
            bits = 32 if edns.subnet.family == 1 else 128
            address = int.from_bytes(edns.subnet.address.ljust(bits // 8, b"\0"), "big")
            bucket = bucket_of(Client(address, bits, edns.subnet.source))
            content = place.content.steered if isinstance(place.content, Alias) else place.content
            self._learn_shape(wire, reply, content, tails, tally, group)
        elif reply.steered:
            bucket = bucket_of(Client.at(source))
            self._keep(key, ((), tally, 0, self._stamps[0], group))
            key += source.encode()
        self._keep(key, (tuple(tails), tally, bucket, self._stamps[bucket], group))

    def _learn_shape(
        self, wire: bytes, reply: Reply, content: object, tails: list[bytes], tally: Tally, group: int
    ) -> None:
        edns, choice = reply.query.edns, reply.choice
        if choice is None or reply.truncated or reply.rcode is not Rcode.NOERROR or not isinstance(content, Steered):
            return
        if edns is None or edns.subnet is None or not edns.ends_in_subnet:
            return
        size = len(edns.subnet.address)
        if (edns.subnet.family, edns.subnet.source) not in ((1, 24), (2, 56)):
            return
        key, bits = wire[2:-size], 32 if edns.subnet.family == 1 else 128
        shape = self._shapes.get(key)
        if shape is None:
            if len(self._shapes) >= SHAPES_MAX:
                self._shapes.clear()
            shape = self._shapes[key] = _Shape(content, bits, {}, group)
        shape.tails[choice.pop.name, choice.reason] = tuple(tail[: -size - 1] for tail in tails), tally
