"""What was asked: a DNS query read from its bytes, by hand and under bounds.

dnspython would read it too, but it takes responses, zero or two questions and scopes in queries for granted, and a
packet of compressed records keeps it busy for a tenth of a second. So nothing a stranger sends reaches it: this module
reads the one shape that a query may have (one question, no answers, a few additional records) in time linear in a
bounded length, and gives every other shape its verdict.
"""

from __future__ import annotations

from enum import IntEnum
from struct import Struct
from typing import NamedTuple

QUERY_SIZE_MAX = 4096
"""Longest query looked at, in bytes. A name takes 255 of them, padding (RFC 8467) rounds up to 128."""
ADDITIONAL_MAX = 4
"""Most additional records: OPT, a signature, and room for what is not invented yet."""
OPTIONS_MAX = 32
"""Most EDNS options; resolvers send up to four."""
NAME_MAX = 255
"""Longest name, in bytes of the wire (RFC 1035 §2.3.4)."""
LABEL_MAX = 63

HEADER = Struct("!6H")
_QUESTION_TAIL = Struct("!HH")
_RECORD_TAIL = Struct("!HHIH")
_OPTION_HEAD = Struct("!HH")
_SUBNET_HEAD = Struct("!HBB")

QR, AA, TC, RD, CD = 0x8000, 0x0400, 0x0200, 0x0100, 0x0010
"""Header flags (RFC 1035 §4.1.1, RFC 4035 §3.1.6)."""
_OPCODE = 0x7800
DO = 0x8000
"""The one flag of EDNS (RFC 3225)."""

OPT = 41
NSID_OPTION, SUBNET_OPTION, COOKIE_OPTION, KEEPALIVE_OPTION, ERROR_OPTION = 3, 8, 10, 11, 15
"""EDNS options (RFC 5001, 7871, 7873, 7828, 8914)."""
COOKIE_LENGTHS = frozenset({8, *range(16, 41)})
"""A client's half alone, or with a server's of 8 to 32 bytes (RFC 7873 §4)."""


class Type(IntEnum):
    """Of records: those that have answers here, or a verdict of their own."""

    A = 1
    NS = 2
    CNAME = 5
    SOA = 6
    HINFO = 13
    TXT = 16
    AAAA = 28
    HTTPS = 65
    TKEY = 249
    TSIG = 250
    IXFR = 251
    AXFR = 252
    MAILB = 253
    MAILA = 254
    ANY = 255


STEERED = frozenset({Type.A, Type.AAAA, Type.HTTPS})
"""What a distribution's name stands for depends on who asks for these."""


class Rcode(IntEnum):
    """How a query ended (RFC 1035 §4.1.1, RFC 6891 §9, RFC 7873 §8)."""

    NOERROR = 0
    FORMERR = 1
    SERVFAIL = 2
    NXDOMAIN = 3
    NOTIMP = 4
    REFUSED = 5
    BADVERS = 16
    BADCOOKIE = 23


class Subnet(NamedTuple):
    """EDNS client subnet as it was asked (RFC 7871 §6). `address` holds the first `source` bits, no more bytes."""

    family: int
    source: int
    address: bytes

    def option(self, scope: int) -> bytes:
        """The option for the answer: family, source and address as asked, with this scope (RFC 7871 §7.2.1)."""
        return _SUBNET_HEAD.pack(self.family, self.source, scope) + self.address


class Edns(NamedTuple):
    """What the OPT record says (RFC 6891 §6.1)."""

    payload: int
    """Largest UDP answer the asker takes, as it says."""
    dnssec_ok: bool = False
    subnet: Subnet | None = None
    cookie: bytes = b""
    """As sent: the client's half, and the server's if it has one; empty when there is none."""
    nsid: bool = False
    """It asks which server answers."""
    keepalive: bool = False
    """It asks how long a connection may be idle."""
    ends_in_subnet: bool = False
    """The client subnet's address is the end of the whole message: nothing follows it."""
    verdict: Rcode = Rcode.NOERROR
    """FORMERR when an option is broken, BADVERS when the version is not ours."""


class Question(NamedTuple):
    """Name as asked (uncompressed wire form, its case kept), type and class."""

    name: bytes
    type: int
    klass: int

    @property
    def folded(self) -> bytes:
        """The name as compared. Length bytes are below "A", so that folding leaves them alone."""
        return self.name.lower()

    @property
    def wire(self) -> bytes:
        """As it was asked, and as it comes back."""
        return self.name + _QUESTION_TAIL.pack(self.type, self.klass)


class Query(NamedTuple):
    """One query, with as much of it as could be read; `verdict` is NOERROR when it may be looked up."""

    id: int
    flags: int
    verdict: Rcode = Rcode.NOERROR
    question: Question | None = None
    edns: Edns | None = None

    @property
    def reply_flags(self) -> int:
        """QR set; opcode, RD and CD as asked; nothing else."""
        return QR | self.flags & (_OPCODE | RD | CD)


class _Malformed(Exception):
    """The bytes are no DNS message."""


def read(wire: bytes) -> Query | None:
    """The query in these bytes; None when nothing may be answered: too short, or itself an answer (RFC 1035 §4.1.1).

    Never raises.
    """
    if len(wire) < HEADER.size:
        return None
    identifier, flags, questions, answers, authorities, additionals = HEADER.unpack_from(wire)
    if flags & QR:
        return None  # Answering answers is how two servers talk to each other for ever.
    query = Query(identifier, flags)
    if flags & _OPCODE:
        return query._replace(verdict=Rcode.NOTIMP)
    # RFC 9619 §4: more than one question is an error. IXFR's authority record (RFC 1995 §3) is one here too.
    if questions != 1 or answers or authorities or additionals > ADDITIONAL_MAX or len(wire) > QUERY_SIZE_MAX:
        return query._replace(verdict=Rcode.FORMERR)
    question = None
    try:
        question, end = _read_question(wire)
        edns = _read_additional(wire, end, additionals)
    except _Malformed:
        return query._replace(verdict=Rcode.FORMERR, question=question)
    return Query(identifier, flags, Rcode.NOERROR if edns is None else edns.verdict, question, edns)


def _read_question(wire: bytes) -> tuple[Question, int]:
    start = position = HEADER.size
    while True:
        length = _byte(wire, position)
        position += 1 + length
        if length > LABEL_MAX or position - start > NAME_MAX:
            raise _Malformed  # A pointer has nothing before it to point at (RFC 1035 §4.1.4).
        if length == 0:
            break
    if position + _QUESTION_TAIL.size > len(wire):
        raise _Malformed
    asked = Question(wire[start:position], *_QUESTION_TAIL.unpack_from(wire, position))
    return asked, position + _QUESTION_TAIL.size


def _read_additional(wire: bytes, position: int, count: int) -> Edns | None:
    """The OPT record among the additional ones. The others (signatures we hold no key for) are passed over."""
    edns: Edns | None = None
    for _ in range(count):
        start, position = position, _after_name(wire, position)
        if position + _RECORD_TAIL.size > len(wire):
            raise _Malformed
        kind, klass, ttl, length = _RECORD_TAIL.unpack_from(wire, position)
        position += _RECORD_TAIL.size + length
        if position > len(wire):
            raise _Malformed
        if kind == OPT:
            if edns is not None or wire[start] != 0:
                raise _Malformed  # One OPT, and the root owns it (RFC 6891 §6.1.1, §6.1.2).
            edns = _read_edns(klass, ttl, wire[position - length : position])
    if position != len(wire):
        raise _Malformed
    return edns._replace(ends_in_subnet=False) if edns is not None and count > 1 else edns


def _after_name(wire: bytes, position: int) -> int:
    """Where a record's name ends. Pointers are not followed: whom the record belongs to does not matter."""
    while True:
        length = _byte(wire, position)
        if length >= 0xC0:
            return position + 2
        if length > LABEL_MAX:
            raise _Malformed
        position += 1 + length
        if length == 0:
            return position


def _byte(wire: bytes, position: int) -> int:
    if position >= len(wire):
        raise _Malformed
    return wire[position]


def _read_edns(payload: int, ttl: int, options: bytes) -> Edns:
    edns = Edns(payload, bool(ttl & DO))
    if not options and not ttl >> 16 & 0xFF:
        return edns
    if ttl >> 16 & 0xFF:
        return edns._replace(verdict=Rcode.BADVERS)  # Options of a version unknown here mean nothing here.
    try:
        return _read_options(edns, options)
    except _Malformed:
        return edns._replace(verdict=Rcode.FORMERR)


def _read_options(edns: Edns, options: bytes) -> Edns:
    """What is known among the options; the others are ignored (RFC 6891 §6.1.2)."""
    subnet: Subnet | None = None
    cookie = b""
    nsid = keepalive = False
    position = count = code = 0
    while position < len(options):
        if position + _OPTION_HEAD.size > len(options) or count == OPTIONS_MAX:
            raise _Malformed
        code, length = _OPTION_HEAD.unpack_from(options, position)
        start = position + _OPTION_HEAD.size
        position, count = start + length, count + 1
        if position > len(options):
            raise _Malformed
        if code == SUBNET_OPTION:
            if subnet is not None:
                raise _Malformed
            subnet = _subnet(options[start:position])
        elif code == COOKIE_OPTION and not cookie:  # RFC 7873 §5.2: the first one counts
            cookie = options[start:position]
            if length not in COOKIE_LENGTHS:
                raise _Malformed
        elif code == NSID_OPTION:  # what it holds is ignored (RFC 5001 §2.1)
            nsid = True
        elif code == KEEPALIVE_OPTION:
            keepalive = True
    return Edns(edns.payload, edns.dnssec_ok, subnet, cookie, nsid, keepalive, ends_in_subnet=code == SUBNET_OPTION)


def _subnet(option: bytes) -> Subnet:
    """RFC 7871 §6: lengths that fit the family, exactly the bytes needed, padding bits and scope zero."""
    if len(option) < _SUBNET_HEAD.size:
        raise _Malformed
    family, source, scope = _SUBNET_HEAD.unpack_from(option)
    address = option[_SUBNET_HEAD.size :]
    width = {1: 32, 2: 128}.get(family)
    if width is None or source > width or scope != 0 or len(address) != (source + 7) // 8:
        raise _Malformed
    if source % 8 and address[-1] & 0xFF >> source % 8:
        raise _Malformed
    return Subnet(family, source, address)
