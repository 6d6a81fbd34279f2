"""dns/limit.py: so many like answers a second to one network, and what becomes of the others."""

from __future__ import annotations

from ipaddress import ip_network

from edgeproxy.dns.limit import PLACES, Limiter, Passage


def test_the_rate_holds_for_each_network_and_each_group_of_answers() -> None:
    limiter = Limiter(3, [])
    assert [limiter.is_limited("192.0.2.1", 1, 5.0) for _ in range(5)] == [False] * 3 + [True] * 2
    assert limiter.is_limited("192.0.2.200", 1, 5.9), "the same /24"
    assert not limiter.is_limited("192.0.3.1", 1, 5.9), "another /24"
    assert not limiter.is_limited("192.0.2.1", 2, 5.9), "another answer"
    assert limiter.is_limited("::ffff:192.0.2.9", 1, 5.9), "the same in IPv6 clothes"


def test_every_second_begins_anew() -> None:
    limiter = Limiter(1, [])
    assert [limiter.is_limited("192.0.2.1", 1, now) for now in (5.0, 5.99, 6.0, 6.5)] == [False, True, False, True]


def test_ipv6_askers_share_a_56() -> None:
    limiter = Limiter(1, [])
    assert not limiter.is_limited("2001:db8:0:1::1", 1, 5.0)
    assert limiter.is_limited("2001:db8:0:ff::1", 1, 5.0)
    assert not limiter.is_limited("2001:db8:0:100::1", 1, 5.0)
    assert not limiter.is_limited("fe80::1%eth0", 1, 5.0)


def test_exempt_networks_are_never_limited() -> None:
    limiter = Limiter(1, [ip_network("192.0.2.0/24"), ip_network("::1/128")])
    assert not any(limiter.is_limited(source, 1, 5.0) for source in ("192.0.2.1", "::1") for _ in range(9))


def test_every_second_answer_over_the_limit_slips_through_truncated() -> None:
    limiter = Limiter(1, [])
    assert [limiter.passage() for _ in range(4)] == [Passage.SLIP, Passage.DROP] * 2


def test_a_million_strangers_take_no_more_memory_than_one() -> None:
    limiter = Limiter(1, [])
    for number in range(2 * PLACES):
        limiter.is_limited("192.0.2.1", number, 5.0)
    assert len(limiter._counts) == PLACES
