"""dns/records.py: what dnspython makes of an answer is bounded, and the same each time."""

from __future__ import annotations

import dns.message
import pytest

from edgeproxy.dns.query import HEADER, Rcode, read
from edgeproxy.dns.records import bare, render, say
from tests.test_dns_answer import CHAINED, ZONE


@pytest.mark.parametrize("limit", [512, 300, 100, 60])
def test_what_does_not_fit_is_left_out_whole(limit: int) -> None:
    query = read(dns.message.make_query("cdn.test", "NS").to_wire())
    assert query is not None
    assert query.question is not None
    place = ZONE.find(query.question.folded)
    assert place is not None
    flags, rest = render(query, say(ZONE, query.question, place, None, 0), limit, 0)
    wire = query.id.to_bytes(2, "big") + flags + query.question.wire + rest
    assert len(wire) <= limit
    message = dns.message.from_wire(wire, raise_on_truncation=False)
    assert len(message.answer) == (1 if limit >= 100 else 0)
    assert len(message.additional) == (2 if limit >= 300 else 0)


def test_rendering_again_gives_the_same_bytes() -> None:
    query = read(dns.message.make_query("_proof.example.test", "TXT").to_wire())
    assert query is not None
    assert query.question is not None
    place = CHAINED.find(query.question.folded)
    assert place is not None
    assert len({render(query, say(CHAINED, query.question, place, None, 0), 1232, 0) for _ in range(20)}) == 1


def test_an_answer_without_records_counts_its_question_if_it_has_one() -> None:
    with_question = read(dns.message.make_query("d1.cdn.test", "A").to_wire())
    without = read(b"\x12\x34\x29\x10" + b"\0\0" * 4)
    assert with_question is not None
    assert without is not None
    for query, count in ((with_question, 1), (without, 0)):
        flags, rest = bare(query, Rcode.REFUSED)
        assert rest == b""
        assert HEADER.unpack(b"\0\0" + flags)[2:] == (count, 0, 0, 0)
        assert flags[1] & 15 == Rcode.REFUSED
