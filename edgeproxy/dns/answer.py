"""The answer to a query: bytes in, bytes out.

What is said to whom is decided here, by question, place and POP; `records` says it. Outside the zones the answer is
REFUSED. A record set is given whole or not at all.

What dnspython has rendered once is remembered (`Bodies`) without the header's id, the question's case and the OPT
record, which is put together here: those differ from query to query.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import NamedTuple

from edgeproxy.dns.edns import UDP_SIZE, Trouble, record, said, size, with_cookie
from edgeproxy.dns.names import upwards
from edgeproxy.dns.policy import Choice, Client, Measured, Reason
from edgeproxy.dns.query import HEADER, OPT, STEERED, TC, Query, Question, Rcode, Subnet, Type, read
from edgeproxy.dns.records import Body, bare, render, say
from edgeproxy.dns.zone import Alias, Nothing, Place, Steered, Zone

UDP_SIZE_WITHOUT_EDNS = 512
"""RFC 1035 §2.3.4; also what an asker that names less gets (RFC 6891 §6.2.3)."""
TCP_SIZE = 65535

_IN = 1
_TOLD_APART = STEERED | {Type.NS, Type.SOA, Type.CNAME, Type.TXT, Type.ANY}
"""Types with answers of their own; the others are all told the same."""
_TRANSFERS = frozenset({Type.AXFR, Type.IXFR})
_META = frozenset({Type.TKEY, Type.TSIG, Type.MAILA, Type.MAILB})

ROTATIONS_MAX = 8
"""Orders in which a POP's addresses are given in turn."""
BODIES_MAX = 10_000

Bodies = dict[tuple[object, ...], Body]
"""Rendered answers."""
CookieCheck = Callable[[bytes, str], tuple[bytes, bool]]
"""A cookie and who sent it, to the cookie for the answer and whether the one that came is ours."""


@dataclass(frozen=True, slots=True)
class Conditions:
    """What an answer depends on beside the zone and the query."""

    down: Collection[str] = frozenset()
    """Names of POPs out of service."""
    measured: Measured | None = None
    cookies: CookieCheck | None = None
    """None: cookies are ignored, as any option is that we do not know."""
    amplification_max: int | None = None
    """How many times as long as its query a UDP answer may be when no cookie vouches for who asks."""
    nsid: bytes = b""
    """Which server this is, for who asks (RFC 5001)."""
    keepalive: int | None = None
    """Tenths of a second that a TCP connection may be idle, for who asks (RFC 7828)."""


CALM = Conditions()
"""Everything is up, nothing is measured, nobody is limited."""


class Reply(NamedTuple):
    """An answer's bytes, and what counters, logs and memory want to know of it."""

    wire: bytes
    rcode: Rcode
    query: Query
    truncated: bool = False
    choice: Choice | None = None
    decided: Choice | None = None
    """The same, also where there was nothing of the kind to say of it."""
    scoped: bool = False
    """It carries the scope of the choice."""
    by_subnet: bool = False
    """The client was known by EDNS client subnet, not by who asked."""
    steered: bool = False
    """Somebody else may be told something else."""
    vouched: bool = False
    """A cookie of ours came with it."""
    rotations: int = 1
    """The answer's order depends on the id modulo this."""
    group: bytes = b""
    """What rate limiting counts as one: the name, or its zone when there is no such name."""


class _Plan(NamedTuple):
    """What is to be said, decided before anything is built."""

    place: Place
    choice: Choice | None = None
    rotations: int = 1
    alike: bool = False
    """The records belong to the name asked for, whatever it is: but for its length, names make no difference."""


class _Terms(NamedTuple):
    """What holds for any answer to a query."""

    limit: int
    """Most bytes."""
    cookie: bytes
    vouched: bool
    nsid: bytes
    keepalive: int | None

    def options(self, query: Query, trouble: Trouble | None) -> bytes:
        """The options of the answer, but for the client subnet. Where there is no room, what helps is left out."""
        edns, question = query.edns, query.question
        options = with_cookie(said(edns, nsid=self.nsid, keepalive=self.keepalive, trouble=trouble), self.cookie)
        asked = 0 if question is None else len(question.wire)
        if HEADER.size + asked + size(edns, options) > self.limit:
            return with_cookie(b"", self.cookie)
        return options


def answer(
    zone: Zone, wire: bytes, source: str, *, udp: bool, conditions: Conditions = CALM, bodies: Bodies | None = None
) -> Reply | None:
    """The reply to these bytes from this address; None when there must not be one.

    `bodies` remembers what was rendered; it must be emptied whenever the zone changes, and only then.
    """
    query = read(wire)
    if query is None:
        return None
    edns = query.edns
    cookie, vouched = b"", False
    if edns is not None and edns.cookie and conditions.cookies is not None and query.verdict is not Rcode.BADVERS:
        cookie, vouched = conditions.cookies(edns.cookie, source)
    terms = _Terms(
        _limit(query, len(wire), None if vouched else conditions.amplification_max) if udp else TCP_SIZE,
        cookie,
        vouched,
        conditions.nsid,
        None if udp else conditions.keepalive,
    )
    if query.verdict is not Rcode.NOERROR or query.question is None:
        return _refusal(query, query.verdict, None, terms)
    refused = _refused(query.question)
    if refused is not None:
        return _refusal(query, refused, Trouble.NOT_SUPPORTED, terms)
    place = zone.find(query.question.folded)
    if place is None:
        return _refusal(query, Rcode.REFUSED, Trouble.NOT_AUTHORITATIVE, terms)
    missing = isinstance(place.content, Nothing) and query.question.type in STEERED
    if not zone.complete and (missing or place.content is None):
        # What is not known yet must not be denied: that would be remembered.
        return _refusal(query, Rcode.SERVFAIL, Trouble.NOT_READY, terms)
    near = client_of(edns.subnet if edns else None)
    plan = _plan(zone, query.question, place, near or Client.at(source), conditions)
    return _reply(zone, query, plan, terms, near is not None, {} if bodies is None else bodies)


def _refusal(query: Query, rcode: Rcode, trouble: Trouble | None, terms: _Terms) -> Reply:
    made = _finish(query, bare(query, rcode), rcode, terms.options(query, trouble))
    return Reply(made, rcode, query, vouched=terms.vouched)


def refusal(query: Query, rcode: Rcode, cookie: bytes = b"") -> bytes:
    """An answer without records; `cookie` for BADCOOKIE (RFC 7873 §5.2.3)."""
    return _finish(query, bare(query, rcode), rcode, with_cookie(b"", cookie))


def truncation(query: Query) -> bytes:
    """An answer without records that sends the asker to TCP."""
    return _finish(query, bare(query, Rcode.NOERROR, TC), Rcode.NOERROR, b"")


def _limit(query: Query, asked: int, amplification_max: int | None) -> int:
    """Most bytes of a UDP answer."""
    payload = query.edns.payload if query.edns else UDP_SIZE_WITHOUT_EDNS
    most = min(max(payload, UDP_SIZE_WITHOUT_EDNS), UDP_SIZE)
    return most if amplification_max is None else min(most, amplification_max * asked)


def servfail(wire: bytes) -> bytes | None:
    """SERVFAIL to a query that could not be dealt with, header only; None when it may not be answered."""
    query = read(wire)
    return HEADER.pack(query.id, query.reply_flags | Rcode.SERVFAIL, 0, 0, 0, 0) if query else None


def client_of(subnet: Subnet | None) -> Client | None:
    """Where the client is by its subnet; None when there is none, or it opted out (RFC 7871 §7.1.2)."""
    if subnet is None or subnet.source == 0:
        return None
    bits = 32 if subnet.family == 1 else 128
    return Client(int.from_bytes(subnet.address.ljust(bits // 8, b"\0")), bits, subnet.source)


def _refused(question: Question) -> Rcode | None:
    """What is answered to questions that no zone has to do with; None for the others."""
    # Class ANY (RFC 1035 §3.2.5) is refused with the others: no answer to it could be authoritative.
    if question.klass != _IN or question.type in _TRANSFERS:
        return Rcode.REFUSED
    if question.type == OPT:
        return Rcode.FORMERR
    return Rcode.NOTIMP if question.type in _META else None


def _plan(zone: Zone, question: Question, place: Place, client: Client, conditions: Conditions) -> _Plan:
    """Which POP the name stands for just now, if for any."""
    content = place.content.steered if isinstance(place.content, Alias) else place.content
    if not isinstance(content, Steered) or question.type not in STEERED:
        return _Plan(place)
    if question.type == Type.AAAA and not content.ipv6:
        return _Plan(place)
    choice = zone.policy.choose(client, conditions.down, allowed=content.allowed, measured=conditions.measured)
    pop = choice.pop
    if question.type == Type.HTTPS:
        count = int(pop.https_port is not None and zone.https_records)
    else:
        count = len(pop.v4 if question.type == Type.A else pop.v6)
    return _Plan(place, choice, max(1, min(count, ROTATIONS_MAX)), count > 0 and content is place.content)


def _reply(zone: Zone, query: Query, plan: _Plan, terms: _Terms, by_subnet: bool, bodies: Bodies) -> Reply:
    question, choice, place = query.question, plan.choice, plan.place
    assert question is not None
    turn = (query.id & 0xFF) % plan.rotations
    open_anyway = choice is not None and choice.reason is Reason.FAIL_OPEN
    options = terms.options(query, Trouble.ALL_DOWN if open_anyway else None)
    room = terms.limit - size(query.edns, options)
    folded = question.folded
    group: bytes = folded
    # What a name is told that does not exist, or exists by a wildcard, depends on where in it the zone or the wildcard
    # begins, and on nothing else: strangers who make up names fill no memory, and each costs no rendering. But for
    # names that an SOA record would be compressed with.
    name: object = folded
    kind = question.type if question.type in _TOLD_APART else 0
    if place.content is None:
        group, kind = place.apex.name, 0
        if not any(suffix in zone.negative[group] for suffix in upwards(folded)):
            name = group, len(folded)
    elif plan.alike and isinstance(place.content, Steered):
        name = place.content.ipv6, len(folded)
    elif place.wildcard is not None:
        mentioned = zone.negative.values()
        if not any(suffix in names for names in mentioned for suffix in upwards(folded)):
            name = place.wildcard, len(folded), True
    steered = None if choice is None else (choice.pop.name, choice.reason is Reason.EXPLORE, turn)
    key = (name, kind, query.reply_flags, room, steered)
    body = bodies.get(key)
    if body is None:
        sections = say(zone, question, place, choice, turn)
        body = render(query, sections, terms.limit, terms.limit - room)
        if len(bodies) >= BODIES_MAX:
            bodies.clear()
        bodies[key] = body
    flags = int.from_bytes(body[0][:2], "big")
    positive = choice is not None and body[0][4:6] != b"\0\0" and not flags & TC
    # Negative answers are cached for everybody whatever the scope says (RFC 7871 §7.4), so theirs is 0.
    scope = choice.scope if choice is not None and by_subnet and positive else 0
    rcode = Rcode(flags & 15)
    wire = _finish(query, body, rcode, options, scope)
    return Reply(
        wire,
        rcode,
        query,
        truncated=bool(flags & TC),
        choice=choice if positive or flags & TC else None,
        decided=choice,
        scoped=positive and by_subnet,
        by_subnet=by_subnet and choice is not None,
        steered=choice is not None,
        vouched=terms.vouched,
        rotations=plan.rotations,
        group=group,
    )


def _finish(query: Query, body: Body, rcode: Rcode, options: bytes, scope: int = 0) -> bytes:
    """The whole message: id and question as asked, the body, and OPT for who asked with it (RFC 6891 §7)."""
    flags, rest = body
    question = b"" if query.question is None else query.question.wire
    head = query.id.to_bytes(2, "big")
    edns = query.edns
    if edns is None:
        return head + flags + question + rest
    # The last count is that of additional records, of which OPT is one more.
    flags = flags[:8] + (int.from_bytes(flags[8:], "big") + 1).to_bytes(2, "big")
    return head + flags + question + rest + record(edns, rcode, options, scope)
