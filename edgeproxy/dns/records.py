"""What is said to a question, and its bytes. The only place where dnspython is used; it renders, it judges nothing.

In short: distributions by POP (A, AAAA, HTTPS), aliases by a CNAME that leads to one, machines by their addresses, TXT
as configured, SOA and NS at the top of each zone; for everything else that exists no data, for everything that does not
NXDOMAIN, both with the SOA record.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import TypeAlias

import dns.message
import dns.name
import dns.rdata
import dns.rrset
from dns.rdataclass import RdataClass
from dns.rdatatype import RdataType

from edgeproxy.dns.policy import Choice, Reason
from edgeproxy.dns.query import AA, HEADER, STEERED, TC, Query, Question, Rcode
from edgeproxy.dns.zone import Alias, Apex, Fixed, Nothing, Place, Steered, Zone

REFRESH, RETRY, EXPIRE = 3600, 600, 604_800
"""SOA timers, in seconds. Nobody may transfer the zone, so that nobody uses them."""

Body: TypeAlias = tuple[bytes, bytes]
"""An answer without id, question and OPT: flags and counts, and everything after the question."""


@dataclass(frozen=True, slots=True)
class Sections:
    """What an answer says, before it is bytes."""

    rcode: Rcode = Rcode.NOERROR
    authoritative: bool = False
    answer: list[dns.rrset.RRset] = field(default_factory=list)
    authority: list[dns.rrset.RRset] = field(default_factory=list)
    additional: list[dns.rrset.RRset] = field(default_factory=list)


def say(zone: Zone, question: Question, place: Place, choice: Choice | None, turn: int) -> Sections:
    """What is answered to a question at its place, for the choice that was made."""
    if place.content is None:
        return _no(zone, place.apex, Rcode.NXDOMAIN)
    if isinstance(place.content, Alias):
        return _chain(zone, question, place.content, choice, turn)
    owner = _name(question.name)
    if question.type in STEERED and isinstance(place.content, Steered | Fixed):
        record = _record_set(zone, owner, question.type, place.content, choice, turn)
        return _no(zone, place.apex, Rcode.NOERROR) if record is None else _yes(record)
    return _others(zone, question, place)


def _chain(zone: Zone, question: Question, alias: Alias, choice: Choice | None, turn: int) -> Sections:
    """A CNAME, and what is known here of where it leads (RFC 1034 §4.3.2, step 3a)."""
    target = _name(alias.target)
    cname = _set(_name(question.name), zone.ttl, _record(RdataType.CNAME, target.to_text()))
    if question.type in (RdataType.CNAME, RdataType.ANY):  # one record set is enough for ANY (RFC 8482 §4.1)
        return _yes(cname)
    record = None
    if question.type in STEERED:
        record = _record_set(zone, target, question.type, alias.steered, choice, turn)
    if record is not None:
        return _yes(cname, record)
    there = zone.find(alias.target)
    assert there is not None, "an alias leads to a name of ours"
    return replace(_no(zone, there.apex, Rcode.NOERROR), answer=[cname])  # RFC 2308 §2.2, with the chain before it


def _yes(*records: dns.rrset.RRset) -> Sections:
    return Sections(authoritative=True, answer=list(records))


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


def _others(zone: Zone, question: Question, place: Place) -> Sections:
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


def _no(zone: Zone, apex: Apex, rcode: Rcode) -> Sections:
    """No such data (NOERROR) or no such name (NXDOMAIN), with the SOA that says for how long (RFC 2308 §3)."""
    soa = _set(_name(apex.name), zone.negative_ttl, _soa(apex, zone.negative_ttl))
    return Sections(rcode, authoritative=True, authority=[soa])


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


def bare(query: Query, rcode: Rcode, flags: int = 0) -> Body:
    """An answer without records."""
    count = 0 if query.question is None else 1
    return HEADER.pack(0, query.reply_flags | flags | rcode & 15, count, 0, 0, 0)[2:], b""


def render(query: Query, sections: Sections, limit: int, reserved: int) -> Body:
    """The answer in at most `limit` bytes with `reserved` for OPT."""
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
        return bare(query, sections.rcode, message.flags & AA | TC)
    return wire[2 : HEADER.size], wire[skipped:]
