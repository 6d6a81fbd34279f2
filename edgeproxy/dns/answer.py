"""The answer to a query: bytes in, bytes out. The only place where dnspython is used; it renders, it judges nothing.

What is answered, in short: distributions by POP (A, AAAA, HTTPS), aliases by a CNAME that leads to one, machines by
their addresses, TXT as configured, SOA and NS at the top of each zone; for everything else that exists no data, for
everything that does not NXDOMAIN, both with the SOA record; outside the zones REFUSED. A record set is given whole or
not at all.

What dnspython has rendered once is remembered (`Bodies`) without the header's id, the question's case and the OPT
record, which is put together here: those differ from query to query.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field, replace
from functools import lru_cache
from struct import Struct

import dns.message
import dns.name
import dns.rdata
import dns.rrset
from dns.rdataclass import RdataClass
from dns.rdatatype import RdataType

from edgeproxy.dns.policy import Choice, Client, Measured, Reason
from edgeproxy.dns.query import (
    AA,
    COOKIE_OPTION,
    DO,
    HEADER,
    OPT,
    SUBNET_OPTION,
    TC,
    Edns,
    Query,
    Question,
    Rcode,
    Subnet,
    read,
)
from edgeproxy.dns.zone import Alias, Apex, Fixed, Nothing, Place, Steered, Zone, upwards

UDP_SIZE = 1232
"""Most bytes of a UDP answer, and the size we say we take: DNS Flag Day 2020's figure against fragments."""
UDP_SIZE_WITHOUT_EDNS = 512
"""RFC 1035 §2.3.4; also what an asker that names less gets (RFC 6891 §6.2.3)."""
TCP_SIZE = 65535

REFRESH, RETRY, EXPIRE = 3600, 600, 604_800
"""SOA timers, in seconds. Nobody may transfer the zone, so that nobody uses them."""

_IN = 1
_STEERED = frozenset({RdataType.A, RdataType.AAAA, RdataType.HTTPS})
_TOLD_APART = _STEERED | {RdataType.NS, RdataType.SOA, RdataType.CNAME, RdataType.TXT, RdataType.ANY}
"""Types with answers of their own; the others are all told the same."""
_SUBNET_SIZE = 8
"""Of the option's two heads (RFC 7871 §6)."""
_TRANSFERS = frozenset({RdataType.AXFR, RdataType.IXFR})
_META = frozenset({RdataType.TKEY, RdataType.TSIG, RdataType.MAILA, RdataType.MAILB})


ROTATIONS_MAX = 8
"""Orders in which a POP's addresses are given in turn."""
BODIES_MAX = 10_000

_OPT_RECORD = Struct("!BHHBBHH")
_OPTION = Struct("!HH")

Bodies = dict[tuple[object, ...], tuple[bytes, bytes]]
"""Rendered answers: flags and counts, and what follows the question."""
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


CALM = Conditions()
"""Everything is up, nothing is measured, nobody is limited."""


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer's bytes, and what counters, logs and memory want to know of it."""

    wire: bytes
    rcode: Rcode
    query: Query
    truncated: bool = False
    choice: Choice | None = None
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


@dataclass(frozen=True, slots=True)
class _Sections:
    """What an answer says, before it is bytes."""

    rcode: Rcode = Rcode.NOERROR
    authoritative: bool = False
    answer: list[dns.rrset.RRset] = field(default_factory=list)
    authority: list[dns.rrset.RRset] = field(default_factory=list)
    additional: list[dns.rrset.RRset] = field(default_factory=list)
    choice: Choice | None = None
    scope: int = 0
    """Of the client subnet: 0 whenever everybody would be told the same (RFC 7871 §7.2.1)."""


@dataclass(frozen=True, slots=True)
class _Plan:
    """What is to be said, decided before anything is built."""

    place: Place
    choice: Choice | None = None
    rotations: int = 1
    alike: bool = False
    """The records belong to the name asked for, whatever it is: but for its length, names make no difference."""


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
    limit = _limit(query, len(wire), None if vouched else conditions.amplification_max) if udp else TCP_SIZE
    if query.verdict is not Rcode.NOERROR or query.question is None:
        made = _finish(query, _bare(query, query.verdict), query.verdict, cookie)
        return Reply(made, query.verdict, query, vouched=vouched)
    refused = _refused(query.question)
    place = None if refused is not None else zone.find(query.question.folded)
    if place is None:
        rcode = refused or Rcode.REFUSED
        return Reply(_finish(query, _bare(query, rcode), rcode, cookie), rcode, query, vouched=vouched)
    near = _client(edns.subnet if edns else None)
    plan = _plan(zone, query.question, place, near or Client.at(source), conditions)
    reply = _reply(zone, query, plan, limit, cookie, near is not None, {} if bodies is None else bodies)
    return replace(reply, vouched=vouched) if vouched else reply


def refusal(query: Query, rcode: Rcode, cookie: bytes = b"") -> bytes:
    """An answer without records; `cookie` for BADCOOKIE (RFC 7873 §5.2.3)."""
    return _finish(query, _bare(query, rcode), rcode, cookie)


def truncation(query: Query) -> bytes:
    """An answer without records that sends the asker to TCP."""
    return _finish(query, _bare(query, Rcode.NOERROR, TC), Rcode.NOERROR, b"")


def _limit(query: Query, asked: int, amplification_max: int | None) -> int:
    """Most bytes of a UDP answer."""
    payload = query.edns.payload if query.edns else UDP_SIZE_WITHOUT_EDNS
    size = min(max(payload, UDP_SIZE_WITHOUT_EDNS), UDP_SIZE)
    return size if amplification_max is None else min(size, amplification_max * asked)


def servfail(wire: bytes) -> bytes | None:
    """SERVFAIL to a query that could not be dealt with, header only; None when it may not be answered."""
    query = read(wire)
    return HEADER.pack(query.id, query.reply_flags | Rcode.SERVFAIL, 0, 0, 0, 0) if query else None


def _client(subnet: Subnet | None) -> Client | None:
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
    if not isinstance(content, Steered) or question.type not in _STEERED:
        return _Plan(place)
    if question.type == RdataType.AAAA and not content.ipv6:
        return _Plan(place)
    choice = zone.policy.choose(client, conditions.down, allowed=content.allowed, measured=conditions.measured)
    pop = choice.pop
    if question.type == RdataType.HTTPS:
        count = int(pop.https_port is not None and zone.https_records)
    else:
        count = len(pop.v4 if question.type == RdataType.A else pop.v6)
    return _Plan(place, choice, max(1, min(count, ROTATIONS_MAX)), count > 0 and content is place.content)


def _reply(zone: Zone, query: Query, plan: _Plan, limit: int, cookie: bytes, by_subnet: bool, bodies: Bodies) -> Reply:
    question, choice, place = query.question, plan.choice, plan.place
    assert question is not None
    turn = (query.id & 0xFF) % plan.rotations
    room = limit - _opt_size(query.edns, cookie)
    folded = question.folded
    group: bytes = folded
    # What a name that does not exist is told depends on where in it the zone begins, and on nothing else: strangers who
    # make up names fill no memory, and each costs no rendering. But for names the SOA record would be compressed with.
    name: object = folded
    kind = question.type if question.type in _TOLD_APART else 0
    if place.content is None:
        group, kind = place.apex.name, 0
        if not any(suffix in zone.negative[group] for suffix in upwards(folded)):
            name = group, len(folded)
    elif plan.alike and isinstance(place.content, Steered):
        name = place.content.ipv6, len(folded)
    steered = None if choice is None else (choice.pop.name, choice.reason is Reason.EXPLORE, turn)
    key = (name, kind, query.reply_flags, room, steered)
    body = bodies.get(key)
    if body is None:
        sections = _say(zone, question, place, choice, turn)
        body = _render(query, sections, limit, limit - room)
        if len(bodies) >= BODIES_MAX:
            bodies.clear()
        bodies[key] = body
    flags = int.from_bytes(body[0][:2], "big")
    positive = choice is not None and body[0][4:6] != b"\0\0" and not flags & TC
    # Negative answers are cached for everybody whatever the scope says (RFC 7871 §7.4), so theirs is 0.
    scope = choice.scope if choice is not None and by_subnet and positive else 0
    rcode = Rcode(flags & 15)
    wire = _finish(query, body, rcode, cookie, scope)
    return Reply(
        wire,
        rcode,
        query,
        truncated=bool(flags & TC),
        choice=choice if positive or flags & TC else None,
        by_subnet=by_subnet and choice is not None,
        steered=choice is not None,
        rotations=plan.rotations,
        group=group,
    )


def _say(zone: Zone, question: Question, place: Place, choice: Choice | None, turn: int) -> _Sections:
    """What is answered to a question at its place, for the choice that was made."""
    if place.content is None:
        return _no(zone, place.apex, Rcode.NXDOMAIN)
    if isinstance(place.content, Alias):
        return _chain(zone, question, place.content, choice, turn)
    owner = _name(question.name)
    if question.type in _STEERED and isinstance(place.content, Steered | Fixed):
        record = _record_set(zone, owner, question.type, place.content, choice, turn)
        return _no(zone, place.apex, Rcode.NOERROR) if record is None else _yes(record)
    return _others(zone, question, place)


def _chain(zone: Zone, question: Question, alias: Alias, choice: Choice | None, turn: int) -> _Sections:
    """A CNAME, and what is known here of where it leads (RFC 1034 §4.3.2, step 3a)."""
    target = _name(alias.target)
    cname = _set(_name(question.name), zone.ttl, _record(RdataType.CNAME, target.to_text()))
    if question.type in (RdataType.CNAME, RdataType.ANY):  # one record set is enough for ANY (RFC 8482 §4.1)
        return _yes(cname)
    record = None
    if question.type in _STEERED:
        record = _record_set(zone, target, question.type, alias.steered, choice, turn)
    if record is not None:
        return _yes(cname, record)
    there = zone.find(alias.target)
    assert there is not None, "an alias leads to a name of ours"
    return replace(_no(zone, there.apex, Rcode.NOERROR), answer=[cname])  # RFC 2308 §2.2, with the chain before it


def _yes(*records: dns.rrset.RRset) -> _Sections:
    return _Sections(authoritative=True, answer=list(records))


def _record_set(
    zone: Zone, owner: dns.name.Name, kind: int, content: Steered | Fixed, choice: Choice | None, turn: int
) -> dns.rrset.RRset | None:
    """Addresses, or how HTTPS is spoken; None when there is nothing of the kind."""
    if isinstance(content, Fixed):
        return None if kind == RdataType.HTTPS else _address_set(owner, RdataType(kind), content, zone.zone_ttl, 0)
    if choice is None:
        return None
    ttl = zone.explore_ttl if choice.reason is Reason.EXPLORE else zone.ttl
    machine = Fixed(choice.pop.v4, choice.pop.v6 if content.ipv6 else ())
    if kind != RdataType.HTTPS:
        return _address_set(owner, RdataType(kind), machine, ttl, turn)
    if choice.pop.https_port is None or not zone.https_records:
        return None
    words = ["1 .", 'alpn="http/1.1"']  # RFC 9460 §7.1; service mode, and the name itself is the one to go to
    if choice.pop.https_port != 443:
        words.append(f"port={choice.pop.https_port}")
    words += [
        f"{hint}={','.join(found)}" for hint, found in (("ipv4hint", machine.v4), ("ipv6hint", machine.v6)) if found
    ]
    return _set(owner, ttl, _record(RdataType.HTTPS, " ".join(words)))


def _others(zone: Zone, question: Question, place: Place) -> _Sections:
    owner, at_apex = _name(question.name), question.folded == place.apex.name
    texts = zone.texts.get(question.folded, ())
    if question.type == RdataType.ANY and (at_apex or texts or not isinstance(place.content, Nothing)):
        # RFC 8482 §4.2: one small record instead of everything there is.
        return _yes(_set(owner, zone.zone_ttl, _record(RdataType.HINFO, 'RFC8482 ""')))
    if question.type == RdataType.TXT and texts:
        return _yes(_set(owner, zone.zone_ttl, *map(_text, texts)))
    if at_apex and question.type == RdataType.SOA:
        return _yes(_set(owner, zone.zone_ttl, _soa(place.apex, zone.negative_ttl)))
    if at_apex and question.type == RdataType.NS:
        servers = [_record(RdataType.NS, _name(server).to_text()) for server in place.apex.nameservers]
        return replace(_yes(_set(owner, zone.zone_ttl, *servers)), additional=_glue(zone, place.apex))
    return _no(zone, place.apex, Rcode.NOERROR)


def _no(zone: Zone, apex: Apex, rcode: Rcode) -> _Sections:
    """No such data (NOERROR) or no such name (NXDOMAIN), with the SOA that says for how long (RFC 2308 §3)."""
    soa = _set(_name(apex.name), zone.negative_ttl, _soa(apex, zone.negative_ttl))
    return _Sections(rcode, authoritative=True, authority=[soa])


def _glue(zone: Zone, apex: Apex) -> list[dns.rrset.RRset]:
    """Addresses of the name servers that have their names with us."""
    found: list[dns.rrset.RRset] = []
    for server in apex.nameservers:
        content = zone.names.get(server)
        if isinstance(content, Fixed):
            sets = (
                _address_set(_name(server), kind, content, zone.zone_ttl, 0) for kind in (RdataType.A, RdataType.AAAA)
            )
            found.extend(record for record in sets if record is not None)
    return found


def _address_set(owner: dns.name.Name, kind: RdataType, machine: Fixed, ttl: int, turn: int) -> dns.rrset.RRset | None:
    addresses = machine.v4 if kind == RdataType.A else machine.v6
    addresses = addresses[turn:] + addresses[:turn]
    return _set(owner, ttl, *(_record(kind, address) for address in addresses)) if addresses else None


def _set(owner: dns.name.Name, ttl: int, *records: dns.rdata.Rdata) -> dns.rrset.RRset:
    return dns.rrset.from_rdata_list(owner, ttl, records)


@lru_cache(maxsize=4096)
def _record(kind: RdataType, text: str) -> dns.rdata.Rdata:
    """A record's data from its text; the same few are asked for again and again."""
    return dns.rdata.from_text(RdataClass.IN, kind, text)


def _text(strings: bytes) -> dns.rdata.Rdata:
    return dns.rdata.from_wire(RdataClass.IN, RdataType.TXT, strings, 0, len(strings))


def _soa(apex: Apex, minimum: int) -> dns.rdata.Rdata:
    primary, hostmaster = _name(apex.nameservers[0]), _name(apex.hostmaster)
    return _record(RdataType.SOA, f"{primary} {hostmaster} {apex.serial} {REFRESH} {RETRY} {EXPIRE} {minimum}")


def _name(wire: bytes) -> dns.name.Name:
    """An uncompressed name, its case kept."""
    labels: list[bytes] = []
    position = 0
    while wire[position]:
        end = position + 1 + wire[position]
        labels.append(wire[position + 1 : end])
        position = end
    return dns.name.Name([*labels, b""])


def _opt_size(edns: Edns | None, cookie: bytes) -> int:
    if edns is None:
        return 0
    subnet = _SUBNET_SIZE + len(edns.subnet.address) if edns.subnet is not None else 0
    return _OPT_RECORD.size + subnet + (_OPTION.size + len(cookie) if cookie else 0)


def _bare(query: Query, rcode: Rcode, flags: int = 0) -> tuple[bytes, bytes]:
    """Flags and counts of an answer without records."""
    count = 0 if query.question is None else 1
    return HEADER.pack(0, query.reply_flags | flags | rcode & 15, count, 0, 0, 0)[2:], b""


def _render(query: Query, sections: _Sections, limit: int, reserved: int) -> tuple[bytes, bytes]:
    """Flags and counts, and everything after the question, in at most `limit` bytes with `reserved` for OPT."""
    asked = query.question
    assert asked is not None
    message = dns.message.QueryMessage(0)
    message.flags = query.reply_flags | (AA if sections.authoritative else 0) | sections.rcode & 15
    message.question = [dns.rrset.RRset(_name(asked.name), RdataClass.make(asked.klass), RdataType.make(asked.type))]
    message.answer, message.authority, message.additional = sections.answer, sections.authority, sections.additional
    size, skipped = limit - reserved, HEADER.size + len(asked.name) + 4
    # Unless told not to, dnspython shuffles records by a randomness of its own: the same question, the same bytes.
    wire = message.to_wire(max_size=size, prefer_truncation=True, want_shuffle=False)
    if len(wire) > size and message.additional:  # dnspython takes no limit below 512
        message.additional = []
        wire = message.to_wire(want_shuffle=False)
    if len(wire) > size:
        return _bare(query, sections.rcode, message.flags & AA | TC)
    return wire[2 : HEADER.size], wire[skipped:]


def _finish(query: Query, body: tuple[bytes, bytes], rcode: Rcode, cookie: bytes, scope: int = 0) -> bytes:
    """The whole message: id and question as asked, the body, and OPT for who asked with it (RFC 6891 §7)."""
    flags, rest = body
    question = b"" if query.question is None else query.question.wire
    head = query.id.to_bytes(2, "big")
    edns = query.edns
    if edns is None:
        return head + flags + question + rest
    options = _OPTION.pack(COOKIE_OPTION, len(cookie)) + cookie if cookie else b""
    if edns.subnet is not None:
        subnet = edns.subnet.option(scope)
        options += _OPTION.pack(SUBNET_OPTION, len(subnet)) + subnet
    opt = _OPT_RECORD.pack(0, OPT, UDP_SIZE, rcode >> 4, 0, DO if edns.dnssec_ok else 0, len(options))
    # The last count is that of additional records, of which OPT is one more.
    flags = flags[:8] + (int.from_bytes(flags[8:], "big") + 1).to_bytes(2, "big")
    return head + flags + question + rest + opt + options
