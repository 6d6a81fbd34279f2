"""The answer to a query: bytes in, bytes out. The only place where dnspython is used; it renders, it judges nothing.

What is answered, in short: distributions by POP, machines by their addresses, SOA and NS at the top of each zone; for
everything else that exists no data, for everything that does not NXDOMAIN, both with the SOA record; outside the zones
REFUSED. A record set is given whole or not at all.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from functools import lru_cache

import dns.edns
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdata
import dns.rrset
from dns.rdataclass import RdataClass
from dns.rdatatype import RdataType

from edgeproxy.dns.policy import Choice, Client
from edgeproxy.dns.query import AA, HEADER, TC, Query, Question, Rcode, Subnet, read
from edgeproxy.dns.zone import Apex, Fixed, Place, Steered, Zone

UDP_SIZE = 1232
"""Most bytes of a UDP answer, and the size we say we take: DNS Flag Day 2020's figure against fragments."""
UDP_SIZE_WITHOUT_EDNS = 512
"""RFC 1035 §2.3.4; also what an asker that names less gets (RFC 6891 §6.2.3)."""
TCP_SIZE = 65535

REFRESH, RETRY, EXPIRE = 3600, 600, 604_800
"""SOA timers, in seconds. Nobody may transfer the zone, so that nobody uses them."""

_IN = 1
_TRANSFERS = frozenset({RdataType.AXFR, RdataType.IXFR})
_META = frozenset({RdataType.TKEY, RdataType.TSIG, RdataType.MAILA, RdataType.MAILB})


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer's bytes, and what counters and logs want to know of it."""

    wire: bytes
    rcode: Rcode
    truncated: bool = False
    choice: Choice | None = None
    by_subnet: bool = False
    """The client was known by EDNS client subnet, not by who asked."""


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


def answer(zone: Zone, wire: bytes, source: str, *, udp: bool, down: Collection[str] = frozenset()) -> Reply | None:
    """The reply to these bytes from this address; None when there must not be one. `down` names POPs out of service."""
    query = read(wire)
    if query is None:
        return None
    if query.verdict is not Rcode.NOERROR or query.question is None:
        return _render(query, _Sections(query.verdict), udp=udp)
    subnet = query.edns.subnet if query.edns else None
    near = _client(subnet)
    return _render(query, _look_up(zone, query.question, near, source, down), udp=udp, by_subnet=near is not None)


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


def _look_up(zone: Zone, question: Question, near: Client | None, source: str, down: Collection[str]) -> _Sections:
    # Class ANY (RFC 1035 §3.2.5) is refused with the others: no answer to it could be authoritative.
    if question.klass != _IN or question.type in _TRANSFERS:
        return _Sections(Rcode.REFUSED)
    if question.type == RdataType.OPT:
        return _Sections(Rcode.FORMERR)
    if question.type in _META:
        return _Sections(Rcode.NOTIMP)
    place = zone.find(question.folded)
    if place is None:
        return _Sections(Rcode.REFUSED)
    if place.content is None:
        return _no(zone, place.apex, Rcode.NXDOMAIN)
    if question.type in (RdataType.A, RdataType.AAAA):
        return _addresses(zone, question, place, near or Client.at(source), down, tailored=near is not None)
    return _others(zone, question, place)


def _addresses(
    zone: Zone, question: Question, place: Place, client: Client, down: Collection[str], *, tailored: bool
) -> _Sections:
    choice: Choice | None = None
    machine: Fixed | None = None
    match place.content:
        case Steered():
            choice = zone.policy.choose(client, down)
            machine, ttl = Fixed(choice.pop.v4, choice.pop.v6), zone.ttl
        case Fixed():
            machine, ttl = place.content, zone.zone_ttl
        case _:
            return _no(zone, place.apex, Rcode.NOERROR)
    record = _address_set(_name(question.name), RdataType(question.type), machine, ttl)
    if record is None:
        # Scope 0 although another POP may have such an address: negative answers are cached for everybody
        # whatever the scope says (RFC 7871 §7.4).
        return _no(zone, place.apex, Rcode.NOERROR)
    scope = choice.scope if choice and tailored else 0
    return _Sections(authoritative=True, answer=[record], choice=choice, scope=scope)


def _others(zone: Zone, question: Question, place: Place) -> _Sections:
    owner, at_apex = _name(question.name), question.folded == place.apex.name
    if question.type == RdataType.ANY and (at_apex or isinstance(place.content, Steered | Fixed)):
        # RFC 8482 §4.2: one small record instead of everything there is.
        record = _set(owner, zone.zone_ttl, _record(RdataType.HINFO, 'RFC8482 ""'))
        return _Sections(authoritative=True, answer=[record])
    if at_apex and question.type == RdataType.SOA:
        return _Sections(authoritative=True, answer=[_set(owner, zone.zone_ttl, _soa(place.apex, zone.negative_ttl))])
    if at_apex and question.type == RdataType.NS:
        servers = [_record(RdataType.NS, _name(server).to_text()) for server in place.apex.nameservers]
        return _Sections(
            authoritative=True, answer=[_set(owner, zone.zone_ttl, *servers)], additional=_glue(zone, place.apex)
        )
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
            sets = (_address_set(_name(server), kind, content, zone.zone_ttl) for kind in (RdataType.A, RdataType.AAAA))
            found.extend(record for record in sets if record is not None)
    return found


def _address_set(owner: dns.name.Name, kind: RdataType, machine: Fixed, ttl: int) -> dns.rrset.RRset | None:
    addresses = machine.v4 if kind == RdataType.A else machine.v6
    return _set(owner, ttl, *(_record(kind, address) for address in addresses)) if addresses else None


def _set(owner: dns.name.Name, ttl: int, *records: dns.rdata.Rdata) -> dns.rrset.RRset:
    return dns.rrset.from_rdata_list(owner, ttl, records)


@lru_cache(maxsize=4096)
def _record(kind: RdataType, text: str) -> dns.rdata.Rdata:
    """A record's data from its text; the same few are asked for again and again."""
    return dns.rdata.from_text(RdataClass.IN, kind, text)


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


def _render(query: Query, sections: _Sections, *, udp: bool, by_subnet: bool = False) -> Reply:
    message = dns.message.QueryMessage(query.id)
    message.flags = query.reply_flags | (AA if sections.authoritative else 0)
    if query.question is not None:
        asked = query.question
        message.question = [
            dns.rrset.RRset(_name(asked.name), RdataClass.make(asked.klass), RdataType.make(asked.type))
        ]
    message.answer, message.authority, message.additional = sections.answer, sections.authority, sections.additional
    size = TCP_SIZE
    if query.edns is not None:
        options: list[dns.edns.Option] = []
        if query.edns.subnet is not None:
            option = query.edns.subnet.option(sections.scope)
            options.append(dns.edns.GenericOption(dns.edns.OptionType.ECS, option))
        message.use_edns(0, dns.flags.DO if query.edns.dnssec_ok else 0, payload=UDP_SIZE, options=options)
    if udp:
        asked_size = query.edns.payload if query.edns else UDP_SIZE_WITHOUT_EDNS
        size = min(max(asked_size, UDP_SIZE_WITHOUT_EDNS), UDP_SIZE)
    message.set_rcode(dns.rcode.Rcode(sections.rcode))
    # Unless told not to, dnspython shuffles records by a randomness of its own: the same question, the same bytes.
    wire = message.to_wire(max_size=size, prefer_truncation=True, want_shuffle=False)
    return Reply(wire, sections.rcode, bool(wire[2] & TC >> 8), sections.choice, by_subnet)
