"""dns/tally.py: what was answered, by type, rcode, POP and reason, and its sums among the counters."""

from __future__ import annotations

from edgeproxy.dns.answer import Reply, answer
from edgeproxy.dns.tally import Tallies
from edgeproxy.telemetry.counters import Counter, Counters
from tests.test_dns_memo import ZONE, query


def replied(wire: bytes) -> Reply:
    reply = answer(ZONE, wire, "192.0.2.99", udp=True)
    assert reply is not None
    return reply


def test_answers_of_a_kind_share_a_tally_that_is_settled_once() -> None:
    tallies, counters = Tallies(), Counters()
    for subnet in ("10.5.6.0/24", "10.5.7.0/24"):
        tallies.of(replied(query(subnet=subnet))).count += 1
    tallies.of(replied(query("no.cdn.test"))).count += 1
    tallies.of(replied(query("d1.cdn.test", "TYPE65280"))).count += 1
    tallies.of(replied(b"\0\1" + bytes(10))).count += 1
    for _ in range(2):
        tallies.settle(counters)
    assert counters[Counter.DNS_NOERROR] == 3
    assert counters[Counter.DNS_NXDOMAIN] == counters[Counter.DNS_FORMERR] == 1
    assert counters[Counter.DNS_CHOSEN_DISTANCE] == counters[Counter.DNS_BY_SUBNET] == 2
    assert dict(tallies.totals()) == {
        ("A", "NOERROR", "fra", "distance"): 2,
        ("A", "NXDOMAIN", "", ""): 1,
        ("other", "NOERROR", "", ""): 1,
        ("none", "FORMERR", "", ""): 1,
    }


def test_truncated_answers_are_counted_as_such() -> None:
    tallies, counters = Tallies(), Counters()
    reply = replied(query())
    tallies.of(Reply(reply.wire, reply.rcode, reply.query, truncated=True)).count += 1
    tallies.settle(counters)
    assert counters[Counter.DNS_TRUNCATED] == 1
