"""dns/query.py: what is read from a query's bytes, what is refused, and that nothing raises or takes long."""

from __future__ import annotations

import random
import struct
from time import process_time

import dns.edns
import dns.exception
import dns.message
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeproxy.dns.query import ADDITIONAL_MAX, OPTIONS_MAX, QUERY_SIZE_MAX, Edns, Query, Question, Rcode, Subnet, read

NAME = b"\x03www\x07example\x04test\x00"
QUESTION = NAME + b"\x00\x01\x00\x01"


def header(
    flags: int = 0x0100, questions: int = 1, answers: int = 0, authorities: int = 0, additionals: int = 0
) -> bytes:
    return struct.pack("!6H", 0x1234, flags, questions, answers, authorities, additionals)


def opt(options: bytes = b"", *, payload: int = 1232, ttl: int = 0, owner: bytes = b"\0") -> bytes:
    return owner + struct.pack("!HHIH", 41, payload, ttl, len(options)) + options


def option(code: int, value: bytes) -> bytes:
    return struct.pack("!HH", code, len(value)) + value


def with_opt(record: bytes, count: int = 1) -> bytes:
    return header(additionals=count) + QUESTION + record


def with_subnet(value: bytes) -> bytes:
    return with_opt(opt(option(8, value)))


PLAIN = Question(NAME, 1, 1)


def test_a_plain_question_is_read_whole() -> None:
    assert read(header() + QUESTION) == Query(0x1234, 0x0100, Rcode.NOERROR, PLAIN)


def test_the_case_of_a_name_is_kept_and_folded_for_comparison() -> None:
    query = read(header() + b"\x03wWw\x07EXAMPLE\x04test\x00\x00\x01\x00\x01")
    assert query is not None
    assert query.question is not None
    assert query.question.name == b"\x03wWw\x07EXAMPLE\x04test\x00"
    assert query.question.folded == NAME


NO_REPLY = {
    "RFC 1035 4.1.1: nothing": b"",
    "RFC 1035 4.1.1: half a header": header()[:11],
    "RFC 1035 4.1.1: a response": header(0x8100) + QUESTION,
    "RFC 1035 4.1.1: a response of another opcode": header(0xA900) + QUESTION,
    "RFC 1035 4.1.1: a response and nothing more": header(0x8000, questions=0),
}


@pytest.mark.parametrize("wire", NO_REPLY.values(), ids=NO_REPLY.keys())
def test_there_is_no_reply_to(wire: bytes) -> None:
    assert read(wire) is None


LONGEST = b"\x3f" + b"a" * 63
NAME_OF_255 = LONGEST * 3 + b"\x3d" + b"a" * 61 + b"\0"
NAME_OF_256 = LONGEST * 3 + b"\x3e" + b"a" * 62 + b"\0"
TAIL = b"\x00\x01\x00\x01"
TSIG = b"\x03key\x00" + struct.pack("!HHIH", 250, 255, 0, 4) + b"\0\0\0\0"

VERDICTS: dict[str, tuple[bytes, Rcode]] = {
    "RFC 1035 4.1.1: opcode IQUERY": (header(0x0800) + QUESTION, Rcode.NOTIMP),
    "RFC 1035 4.1.1: opcode STATUS": (header(0x1000), Rcode.NOTIMP),
    "RFC 1996: opcode NOTIFY": (header(0x2000) + QUESTION, Rcode.NOTIMP),
    "RFC 2136: opcode UPDATE": (header(0x2800, 1, 0, 3) + QUESTION + b"junk", Rcode.NOTIMP),
    "RFC 8490: opcode DSO": (header(0x3000, 0), Rcode.NOTIMP),
    "RFC 6895 2.2: opcode not assigned": (header(0x7800) + QUESTION, Rcode.NOTIMP),
    "RFC 9619 4: no question": (header(questions=0), Rcode.FORMERR),
    "RFC 9619 4: two questions": (header(questions=2) + QUESTION * 2, Rcode.FORMERR),
    "RFC 9619 4: 65,535 questions": (header(questions=65535) + QUESTION, Rcode.FORMERR),
    "RFC 1035 4.1.1: an answer in a query": (header(answers=1) + QUESTION, Rcode.FORMERR),
    "RFC 1995 3: IXFR with its SOA": (header(authorities=1) + QUESTION, Rcode.FORMERR),
    "more additional records than we read": (header(additionals=ADDITIONAL_MAX + 1) + QUESTION, Rcode.FORMERR),
    "RFC 1035 4.1.2: the question is missing": (header(), Rcode.FORMERR),
    "RFC 1035 4.1.2: the name has no end": (header() + NAME[:-1], Rcode.FORMERR),
    "RFC 1035 4.1.2: a label is cut": (header() + b"\x03ww", Rcode.FORMERR),
    "RFC 1035 4.1.2: no type": (header() + NAME, Rcode.FORMERR),
    "RFC 1035 4.1.2: half a class": (header() + QUESTION[:-1], Rcode.FORMERR),
    "RFC 1035 2.3.4: a name of 255 bytes": (header() + NAME_OF_255 + TAIL, Rcode.NOERROR),
    "RFC 1035 2.3.4: a name of 256 bytes": (header() + NAME_OF_256 + TAIL, Rcode.FORMERR),
    "RFC 1035 2.3.4: a name that never ends": (header() + b"\x01a" * 1000, Rcode.FORMERR),
    "RFC 1035 2.3.1: the root": (header() + b"\0" + TAIL, Rcode.NOERROR),
    "RFC 2181 11: bytes of any value in a label": (header() + b"\x03\x00\xff.\x00" + TAIL, Rcode.NOERROR),
    "RFC 1035 4.1.4: a pointer in the question": (header() + b"\xc0\x0c" + TAIL, Rcode.FORMERR),
    "RFC 1035 4.1.4: a pointer after a label": (header() + b"\x03www\xc0\x0c" + TAIL, Rcode.FORMERR),
    "RFC 6891 5: an extended label type": (header() + b"\x41a\x00" + TAIL, Rcode.FORMERR),
    "RFC 1035 4.1.4: the reserved label type": (header() + b"\x80a\x00" + TAIL, Rcode.FORMERR),
    "RFC 1035 4.1: bytes after the end": (header() + QUESTION + b"\0", Rcode.FORMERR),
    "RFC 1035 4.1: bytes after OPT": (with_opt(opt() + b"\0"), Rcode.FORMERR),
    "RFC 1035 4.1.3: an additional record is missing": (header(additionals=1) + QUESTION, Rcode.FORMERR),
    "RFC 1035 4.1.3: an additional record without a body": (with_opt(opt()[:5]), Rcode.FORMERR),
    "RFC 1035 4.1.3: more data announced than there is": (with_opt(opt(b"\0\0\0\0")[:-1]), Rcode.FORMERR),
    "RFC 1035 4.1.3: an owner with a bad label": (with_opt(opt(owner=b"\x80")), Rcode.FORMERR),
    "RFC 8945 5.1: a signature we hold no key for": (with_opt(TSIG), Rcode.NOERROR),
    "RFC 8945 5.1: OPT and a signature": (with_opt(opt() + TSIG, 2), Rcode.NOERROR),
    "RFC 1035 4.1.4: an additional owner by pointer": (
        with_opt(b"\xc0\x0c" + struct.pack("!HHIH", 1, 1, 0, 4) + b"\0\0\0\0"),
        Rcode.NOERROR,
    ),
    "RFC 6891 6.1.1: two OPT": (with_opt(opt() * 2, 2), Rcode.FORMERR),
    "RFC 6891 6.1.2: OPT not at the root": (with_opt(opt(owner=b"\x01a\x00")), Rcode.FORMERR),
    "RFC 6891 6.1.2: an unknown option": (with_opt(opt(option(65001, b"hello"))), Rcode.NOERROR),
    "RFC 6891 6.1.2: half an option head": (with_opt(opt(b"\0\x0a\0")), Rcode.FORMERR),
    "RFC 6891 6.1.2: an option longer than OPT": (with_opt(opt(b"\0\x0a\0\x09abc")), Rcode.FORMERR),
    "RFC 6891 6.1.3: version 1": (with_opt(opt(ttl=1 << 16)), Rcode.BADVERS),
    "RFC 6891 6.1.3: version 255 with options that make no sense": (
        with_opt(opt(b"xyz", ttl=255 << 16)),
        Rcode.BADVERS,
    ),
    "RFC 6891 6.1.4: flags not assigned": (with_opt(opt(ttl=0x7FFF)), Rcode.NOERROR),
    "RFC 7873: a cookie": (with_opt(opt(option(10, b"12345678"))), Rcode.NOERROR),
    "RFC 7830: padding": (with_opt(opt(option(12, bytes(400)))), Rcode.NOERROR),
    "as many options as we read": (with_opt(opt(option(65001, b"") * OPTIONS_MAX)), Rcode.NOERROR),
    "more options than we read": (with_opt(opt(option(65001, b"") * (OPTIONS_MAX + 1))), Rcode.FORMERR),
    "RFC 7871 6: IPv4 /24": (with_subnet(b"\0\x01\x18\0\xc0\0\x02"), Rcode.NOERROR),
    "RFC 7871 6: IPv4 /32": (with_subnet(b"\0\x01\x20\0\xc0\0\x02\x01"), Rcode.NOERROR),
    "RFC 7871 6: IPv4 /20": (with_subnet(b"\0\x01\x14\0\xc0\0\x10"), Rcode.NOERROR),
    "RFC 7871 6: IPv6 /56": (with_subnet(b"\0\x02\x38\0\x20\x01\x0d\xb8\0\0\0"), Rcode.NOERROR),
    "RFC 7871 7.1.2: IPv4 /0": (with_subnet(b"\0\x01\0\0"), Rcode.NOERROR),
    "RFC 7871 7.1.2: IPv6 /0": (with_subnet(b"\0\x02\0\0"), Rcode.NOERROR),
    "RFC 7871 6: no family": (with_subnet(b"\0\0\0\0"), Rcode.FORMERR),
    "RFC 7871 6: an unknown family": (with_subnet(b"\0\x03\0\0"), Rcode.FORMERR),
    "RFC 7871 6: IPv4 /33": (with_subnet(b"\0\x01\x21\0\xc0\0\x02\x01\0"), Rcode.FORMERR),
    "RFC 7871 6: IPv6 /129": (with_subnet(b"\0\x02\x81\0" + bytes(17)), Rcode.FORMERR),
    "RFC 7871 6: a scope in a query": (with_subnet(b"\0\x01\x18\x18\xc0\0\x02"), Rcode.FORMERR),
    "RFC 7871 6: an address too short": (with_subnet(b"\0\x01\x18\0\xc0\0"), Rcode.FORMERR),
    "RFC 7871 6: an address too long": (with_subnet(b"\0\x01\x18\0\xc0\0\x02\x01"), Rcode.FORMERR),
    "RFC 7871 6: bits beyond the prefix": (with_subnet(b"\0\x01\x14\0\xc0\0\x1f"), Rcode.FORMERR),
    "RFC 7871 6: an option of three bytes": (with_subnet(b"\0\x01\x18"), Rcode.FORMERR),
    "RFC 7871 6: an empty option": (with_subnet(b""), Rcode.FORMERR),
    "RFC 7871 6: two client subnets": (with_opt(opt(option(8, b"\0\x01\0\0") * 2)), Rcode.FORMERR),
    "the longest query we read": (with_opt(opt(option(12, bytes(QUERY_SIZE_MAX - 49)))), Rcode.NOERROR),
    "a query longer than we read": (with_opt(opt(option(12, bytes(QUERY_SIZE_MAX - 48)))), Rcode.FORMERR),
}


@pytest.mark.parametrize(("wire", "verdict"), VERDICTS.values(), ids=VERDICTS.keys())
def test_verdict_on(wire: bytes, verdict: Rcode) -> None:
    query = read(wire)
    assert query is not None
    assert query.verdict is verdict
    assert query.id == 0x1234


def test_what_opt_says_is_kept() -> None:
    query = read(with_opt(opt(option(8, b"\0\x01\x14\0\xc0\0\x10"), payload=4096, ttl=0x8000)))
    assert query is not None
    assert query.edns == Edns(4096, dnssec_ok=True, subnet=Subnet(1, 20, b"\xc0\0\x10"), ends_in_subnet=True)


def test_a_broken_option_leaves_opt_standing_so_that_the_reply_can_have_one() -> None:
    query = read(with_subnet(b"\0\x03\0\0"))
    assert query is not None
    assert query.edns == Edns(1232, verdict=Rcode.FORMERR)
    assert query.question == PLAIN


def test_the_subnet_option_of_a_reply_differs_in_the_scope_alone() -> None:
    assert Subnet(1, 20, b"\xc0\0\x10").option(16) == b"\0\x01\x14\x10\xc0\0\x10"


REPLY_FLAGS = {
    "RFC 1035 4.1.1: RD is copied": (0x0100, 0x8100),
    "RFC 1035 4.1.1: the opcode is copied": (0x2000, 0xA000),
    "RFC 4035 3.1.6: CD is copied": (0x0010, 0x8010),
    "RFC 4035 3.1.6: AD is not": (0x0020, 0x8000),
    "RFC 1035 4.1.1: AA, TC, RA, Z and the rcode are not": (0x06CF, 0x8000),
}


@pytest.mark.parametrize(("asked", "replied"), REPLY_FLAGS.values(), ids=REPLY_FLAGS.keys())
def test_flags_of_the_reply(asked: int, replied: int) -> None:
    assert Query(0, asked).reply_flags == replied


@settings(deadline=None)
@given(st.binary(max_size=600))
def test_any_bytes_are_read_without_an_exception(wire: bytes) -> None:
    read(wire)


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 6))
def test_a_damaged_query_is_read_without_an_exception_and_accepted_only_if_dnspython_agrees(
    seed: int, changes: int
) -> None:
    """What we take for a query dnspython takes for the same one: it renders our answers."""
    chance = random.Random(seed)
    wire = bytearray(with_opt(opt(option(8, b"\0\x01\x18\0\xc0\0\x02") + option(10, b"12345678"))))
    for _ in range(changes):
        place = chance.randrange(len(wire))
        kind = chance.randrange(3)
        if kind == 0:
            wire[place] = chance.randrange(256)
        elif kind == 1:
            del wire[place]
        else:
            wire.insert(place, chance.choice((0, 1, 0x3F, 0x40, 0xC0, 0xFF)))
    query = read(bytes(wire))
    if query is None or query.verdict is not Rcode.NOERROR or query.question is None:
        return
    try:
        theirs = dns.message.from_wire(bytes(wire)).question[0]
    except dns.exception.DNSException:
        return  # It looks into options and records that we pass over.
    assert theirs.name.to_wire() == query.question.name
    assert (theirs.rdtype, theirs.rdclass) == (query.question.type, query.question.klass)


def test_the_costliest_packet_is_cheap() -> None:
    """Packets that keep a general parser busy, such as 1,500 compressed records, cost us next to nothing."""
    record = b"\xc0\x0c" + struct.pack("!HHIH", 2, 1, 0, 2) + b"\xc0\x0c"
    packets = [
        header(additionals=1500) + QUESTION + record * 1500,
        header() + b"\x01a" * 2000,
        with_opt(opt(option(65001, b"") * 1000)),
        header(additionals=ADDITIONAL_MAX) + QUESTION + (b"\x01a" * 500 + record) * ADDITIONAL_MAX,
    ]
    for packet in packets:
        start = process_time()
        for _ in range(10):
            read(packet)
        assert (process_time() - start) / 10 < 0.02
