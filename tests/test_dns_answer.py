"""dns/answer.py: a table of questions and their answers by RFC section, bytes in and bytes out, judged by dnspython."""

from __future__ import annotations

import struct
from dataclasses import replace

import dns.edns
import dns.flags
import dns.message
import dns.name
import dns.rcode
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeproxy.dns.answer import Conditions, answer, refusal, servfail, truncation
from edgeproxy.dns.edns import UDP_SIZE
from edgeproxy.dns.policy import Reason
from edgeproxy.dns.query import Rcode, read
from edgeproxy.dns.zone import Zone
from edgeproxy.model import Distribution, Rules
from edgeproxy.settings import Settings


def distribution(name: str, *aliases: str) -> Distribution:
    return Distribution(name, f"{name}.cdn.test", Rules.CLOUDFRONT, "1", {}, (), aliases)


NODES = [
    {"name": "fra", "mode": "pop", "addresses": ["192.0.2.1", "192.0.2.2", "2001:db8::1"]},
    {"name": "iad", "mode": "pop", "addresses": ["198.51.100.1"]},
    {"name": "nrt", "mode": "pop", "addresses": ["203.0.113.1", "2001:db8::3"]},
    {"name": "big", "mode": "pop", "addresses": [f"192.0.2.{host}" for host in range(1, 101)]},
]
NETWORKS = [
    {"network": "10.0.0.0/8", "pops": ["iad"]},
    {"network": "10.1.0.0/16", "pops": ["nrt", "iad"]},
    {"network": "10.9.0.0/16", "pops": ["big"]},
    {"network": "2001:db8:aaaa::/48", "pops": ["nrt"]},
]
RESOLVER = {
    "zones": ["example.test"],
    "aliases": "address",
    "networks": NETWORKS,
    "default": ["fra", "iad", "nrt"],
    "nameservers": ["ns1.cdn.test", "ns.elsewhere.test"],
    "addresses": ["192.0.2.53", "2001:db8::53"],
    "ttl": 60,
    "negative_ttl": 30,
    "zone_ttl": 3600,
}
ZONE = Zone.build(
    Settings.model_validate({"zone": "cdn.test", "nodes": NODES, "resolver": RESOLVER}),
    [
        distribution("d1", "www.example.test", "example.test", "*.wild.example.test"),
        distribution("d2", "a.b.example.test"),
    ],
    serial=7,
)

FRA, IAD, NRT = {"192.0.2.1", "192.0.2.2"}, {"198.51.100.1"}, {"203.0.113.1"}
CDN_SOA = "cdn.test. 30 IN SOA ns1.cdn.test. hostmaster.cdn.test. 7 3600 600 604800 30"
EXAMPLE_SOA = "example.test. 30 IN SOA ns1.cdn.test. hostmaster.example.test. 7 3600 600 604800 30"

RESOLVER_ADDRESS = "192.0.2.99"
"""Who asks, unless a test says otherwise: in no network of the table."""


def ask(
    name: str,
    kind: str = "A",
    *,
    subnet: str = "",
    source: str = RESOLVER_ADDRESS,
    udp: bool = True,
    klass: str = "IN",
    down: tuple[str, ...] = (),
) -> dns.message.Message:
    """The answer to one question, read strictly; `subnet` as 10.0.0.0/8."""
    options: list[dns.edns.Option] = [dns.edns.ECSOption.from_text(subnet)] if subnet else []
    query = dns.message.make_query(name, kind, klass, use_edns=bool(options), options=options)
    reply = answer(ZONE, query.to_wire(), source, udp=udp, conditions=Conditions(down=down))
    assert reply is not None
    message = dns.message.from_wire(reply.wire)
    assert query.is_response(message)
    return message


def addresses(message: dns.message.Message) -> set[str]:
    return {record.to_text() for rrset in message.answer for record in rrset}


def subnet_of(message: dns.message.Message) -> str:
    return next((option.to_text() for option in message.options if option.otype == dns.edns.OptionType.ECS), "none")


# Question → addresses.
STEERED: dict[str, tuple[str, str, set[str]]] = {
    "RFC 1035 3.4.1: A of a distribution": ("d1.cdn.test", "A", FRA),
    "RFC 3596 2.1: AAAA of a distribution": ("d1.cdn.test", "AAAA", {"2001:db8::1"}),
    "RFC 4343 3: case does not matter": ("D1.CdN.tEsT", "A", FRA),
    "RFC 1034 3.6: A of an alias": ("www.example.test", "A", FRA),
    "RFC 1034 3.6: A of an alias at the apex": ("example.test", "A", FRA),
    "RFC 4592 3.3.1: A of a wildcard alias": ("x.wild.example.test", "A", FRA),
    "RFC 4592 2.1.1: A of a wildcard alias by its own name": ("*.wild.example.test", "A", FRA),
    "RFC 1034 3.6: A of a node": ("iad.nodes.cdn.test", "A", IAD),
    "RFC 1034 3.6: A of a name server": ("ns1.cdn.test", "A", {"192.0.2.53"}),
    "RFC 3596 2.1: AAAA of a name server": ("ns1.cdn.test", "AAAA", {"2001:db8::53"}),
}


@pytest.mark.parametrize("udp", [True, False], ids=["udp", "tcp"])
@pytest.mark.parametrize(("name", "kind", "expected"), STEERED.values(), ids=STEERED.keys())
def test_addresses_of(name: str, kind: str, expected: set[str], udp: bool) -> None:
    message = ask(name, kind, udp=udp)
    assert int(message.rcode()) == Rcode.NOERROR
    assert addresses(message) == expected
    assert message.flags & dns.flags.AA
    assert not message.authority
    assert not message.additional


# Question → rcode, answer, authority.
NO, MISSING, OUTSIDE = Rcode.NOERROR, Rcode.NXDOMAIN, Rcode.REFUSED
SAID: dict[str, tuple[str, str, Rcode, list[str], list[str]]] = {
    "RFC 1035 3.3.13: SOA at the apex": ("cdn.test", "SOA", NO, [CDN_SOA.replace(" 30 IN", " 3600 IN")], []),
    "RFC 1035 3.3.13: SOA of the alias zone": (
        "example.test", "SOA", NO, [EXAMPLE_SOA.replace(" 30 IN", " 3600 IN")], []),
    "RFC 1035 3.3.11: NS at the apex": (
        "cdn.test", "NS", NO, ["cdn.test. 3600 IN NS ns1.cdn.test.", "cdn.test. 3600 IN NS ns.elsewhere.test."], []),
    "RFC 2308 2.2: SOA below the apex": ("d1.cdn.test", "SOA", NO, [], [CDN_SOA]),
    "RFC 2308 2.2: NS below the apex": ("d1.cdn.test", "NS", NO, [], [CDN_SOA]),
    "RFC 2308 2.2: A at an apex without an alias": ("cdn.test", "A", NO, [], [CDN_SOA]),
    "RFC 2308 2.2: TXT": ("d1.cdn.test", "TXT", NO, [], [CDN_SOA]),
    "RFC 2308 2.2: TXT at the apex": ("cdn.test", "TXT", NO, [], [CDN_SOA]),
    "RFC 2308 2.2: MX": ("www.example.test", "MX", NO, [], [EXAMPLE_SOA]),
    "RFC 2308 2.2: CNAME": ("www.example.test", "CNAME", NO, [], [EXAMPLE_SOA]),
    "RFC 2308 2.2: CAA": ("www.example.test", "CAA", NO, [], [EXAMPLE_SOA]),
    "RFC 9460 2.4: HTTPS, as every browser asks": ("d1.cdn.test", "HTTPS", NO, [], [CDN_SOA]),
    "RFC 9460 2.4: SVCB": ("d1.cdn.test", "SVCB", NO, [], [CDN_SOA]),
    "RFC 4035 3.1.4.1: DS": ("d1.cdn.test", "DS", NO, [], [CDN_SOA]),
    "RFC 4035 3.1: DNSKEY": ("cdn.test", "DNSKEY", NO, [], [CDN_SOA]),
    "RFC 3597 2: a type nobody knows": ("d1.cdn.test", "TYPE65280", NO, [], [CDN_SOA]),
    "RFC 2308 2.2: AAAA of a node without IPv6": ("iad.nodes.cdn.test", "AAAA", NO, [], [CDN_SOA]),
    "RFC 4592 2.2.2: an empty non-terminal": ("b.example.test", "A", NO, [], [EXAMPLE_SOA]),
    "RFC 8020 2: above the nodes": ("nodes.cdn.test", "A", NO, [], [CDN_SOA]),
    "RFC 4592 2.2.1: the parent of a wildcard": ("wild.example.test", "A", NO, [], [EXAMPLE_SOA]),
    "RFC 4592 3.3.1: another type of a wildcard": ("x.wild.example.test", "TXT", NO, [], [EXAMPLE_SOA]),
    "RFC 2308 2.1: a name that does not exist": ("nowhere.cdn.test", "A", MISSING, [], [CDN_SOA]),
    "RFC 2308 2.1: whatever the type": ("nowhere.cdn.test", "HTTPS", MISSING, [], [CDN_SOA]),
    "RFC 8020 2: below a name that does not exist": ("a.b.c.nowhere.cdn.test", "A", MISSING, [], [CDN_SOA]),
    "RFC 8020 2: below a distribution": ("a.d1.cdn.test", "A", MISSING, [], [CDN_SOA]),
    "RFC 8482 4.2: ANY of a name that does not exist": ("nowhere.cdn.test", "ANY", MISSING, [], [CDN_SOA]),
    "RFC 8482 4.2: ANY of an empty non-terminal": ("b.example.test", "ANY", NO, [], [EXAMPLE_SOA]),
    "RFC 8482 4.2: ANY of a distribution": (
        "d1.cdn.test", "ANY", NO, ['d1.cdn.test. 3600 IN HINFO "RFC8482" ""'], []),
    "RFC 8482 4.2: ANY of the apex": ("cdn.test", "ANY", NO, ['cdn.test. 3600 IN HINFO "RFC8482" ""'], []),
    "RFC 8482 4.2: ANY of a name server": (
        "ns1.cdn.test", "ANY", NO, ['ns1.cdn.test. 3600 IN HINFO "RFC8482" ""'], []),
    "RFC 8499 7: a name outside": ("www.elsewhere.test", "A", OUTSIDE, [], []),
    "RFC 8499 7: the parent of a zone": ("test", "NS", OUTSIDE, [], []),
    "RFC 8499 7: the root": (".", "NS", OUTSIDE, [], []),
    "RFC 8499 7: ANY outside": ("www.elsewhere.test", "ANY", OUTSIDE, [], []),
    "RFC 8499 7: a longer label that ends alike": ("xcdn.test", "A", OUTSIDE, [], []),
    "RFC 5936 2.2.1: AXFR": ("cdn.test", "AXFR", OUTSIDE, [], []),
    "RFC 1995 4: IXFR without its SOA": ("cdn.test", "IXFR", OUTSIDE, [], []),
    "RFC 6895 3.1: MAILB": ("d1.cdn.test", "MAILB", Rcode.NOTIMP, [], []),
    "RFC 6895 3.1: MAILA": ("d1.cdn.test", "MAILA", Rcode.NOTIMP, [], []),
    "RFC 8945 4.2: TSIG as a question": ("d1.cdn.test", "TSIG", Rcode.NOTIMP, [], []),
    "RFC 2930 2: TKEY as a question": ("d1.cdn.test", "TKEY", Rcode.NOTIMP, [], []),
    "RFC 6891 6.1.1: OPT as a question": ("d1.cdn.test", "OPT", Rcode.FORMERR, [], []),
}  # fmt: skip


@pytest.mark.parametrize("udp", [True, False], ids=["udp", "tcp"])
@pytest.mark.parametrize(("name", "kind", "rcode", "said", "authority"), SAID.values(), ids=SAID.keys())
def test_said_of(name: str, kind: str, rcode: Rcode, said: list[str], authority: list[str], udp: bool) -> None:
    message = ask(name, kind, udp=udp)
    assert int(message.rcode()) == rcode
    assert [line for rrset in message.answer for line in rrset.to_text().split("\n")] == said
    assert [line for rrset in message.authority for line in rrset.to_text().split("\n")] == authority
    assert bool(message.flags & dns.flags.AA) is bool(said or authority)
    assert not message.flags & (dns.flags.RA | dns.flags.AD | dns.flags.TC)


@pytest.mark.parametrize("klass", ["CH", "HS", "NONE", "ANY"])
def test_rfc1035_324_classes_other_than_in_are_refused(klass: str) -> None:
    message = ask("version.bind", "TXT", klass=klass)
    assert (int(message.rcode()), message.answer, message.authority) == (Rcode.REFUSED, [], [])
    assert ask("d1.cdn.test", "A", klass=klass).rcode().value == Rcode.REFUSED


def test_rfc1035_3311_name_servers_bring_those_addresses_that_are_ours_to_tell() -> None:
    additional = [rrset.to_text() for rrset in ask("cdn.test", "NS").additional]
    assert additional == ["ns1.cdn.test. 3600 IN A 192.0.2.53", "ns1.cdn.test. 3600 IN AAAA 2001:db8::53"]


def test_times_to_live_come_from_the_settings() -> None:
    assert ask("d1.cdn.test").answer[0].ttl == 60
    assert ask("iad.nodes.cdn.test").answer[0].ttl == 3600
    assert ask("nowhere.cdn.test").authority[0].ttl == 30


def test_the_question_comes_back_byte_for_byte_and_the_answer_with_its_case() -> None:
    """0x20: resolvers mix the case of a name and refuse an answer that does not repeat it."""
    query = dns.message.make_query("dNs.wILd.EXAMPLE.tEsT", "A").to_wire()
    reply = answer(ZONE, query, RESOLVER_ADDRESS, udp=True)
    assert reply is not None
    assert reply.wire[12 : len(query)] == query[12:]
    assert str(dns.message.from_wire(reply.wire).answer[0].name) == "dNs.wILd.EXAMPLE.tEsT."


# Client subnet and source → addresses, the option in the answer.
SUBNETS: dict[str, tuple[str, str, set[str], str]] = {
    "RFC 7871 7.2.1: no option asked, none given": ("", RESOLVER_ADDRESS, FRA, "none"),
    "RFC 7871 7.2.1: without it the source counts": ("", "10.1.2.3", NRT, "none"),
    "RFC 7871 7.2.1: the subnet counts more than the source": (
        "10.2.3.0/24", "10.1.2.3", IAD, "ECS 10.2.3.0/24 scope/15"),
    "RFC 7871 7.2.1: the longest match": ("10.1.2.0/24", RESOLVER_ADDRESS, NRT, "ECS 10.1.2.0/24 scope/16"),
    "RFC 7871 7.2.1: in no network": ("172.16.0.0/24", RESOLVER_ADDRESS, FRA, "ECS 172.16.0.0/24 scope/1"),
    "RFC 7871 7.2.1: scope not longer than source": ("10.0.0.0/12", RESOLVER_ADDRESS, IAD, "ECS 10.0.0.0/12 scope/12"),
    "RFC 7871 6: a source of odd length comes back": ("10.1.4.0/22", RESOLVER_ADDRESS, NRT, "ECS 10.1.4.0/22 scope/16"),
    "RFC 7871 6: a whole address": ("10.1.2.3/32", RESOLVER_ADDRESS, NRT, "ECS 10.1.2.3/32 scope/16"),
    "RFC 7871 7.1.2: opted out, the source counts": ("0.0.0.0/0", "10.1.2.3", NRT, "ECS 0.0.0.0/0 scope/0"),
    "RFC 7871 7.1.2: opted out in IPv6": ("::/0", "10.1.2.3", NRT, "ECS ::/0 scope/0"),
    "RFC 7871 6: IPv6": ("2001:db8:aaaa::/56", RESOLVER_ADDRESS, NRT, "ECS 2001:db8:aaaa::/56 scope/48"),
    "RFC 7871 6: IPv6 in no network": ("2400::/56", RESOLVER_ADDRESS, FRA, "ECS 2400::/56 scope/6"),
    "a source in IPv6": ("", "2001:db8:aaaa::1", NRT, "none"),
    "RFC 4291 2.5.5.2: a source in IPv6 clothes": ("", "::ffff:10.1.2.3", NRT, "none"),
}  # fmt: skip


@pytest.mark.parametrize(("subnet", "source", "expected", "option"), SUBNETS.values(), ids=SUBNETS.keys())
def test_subnet(subnet: str, source: str, expected: set[str], option: str) -> None:
    for name in ("d1.cdn.test", "www.example.test", "x.wild.example.test"):
        message = ask(name, subnet=subnet, source=source)
        assert addresses(message) == expected
        assert subnet_of(message) == option


SAME_FOR_ALL = {
    "RFC 7871 7.4: NXDOMAIN": ("nowhere.cdn.test", "A"),
    "RFC 7871 7.4: no data": ("d1.cdn.test", "TXT"),
    "RFC 7871 7.4: no such address at the POP chosen": ("d1.cdn.test", "AAAA"),
    "RFC 7871 7.2.1: SOA": ("cdn.test", "SOA"),
    "RFC 7871 7.2.1: a name server": ("ns1.cdn.test", "A"),
    "RFC 7871 7.2.1: a node": ("nrt.nodes.cdn.test", "A"),
    "RFC 7871 7.2.1: refused": ("www.elsewhere.test", "A"),
    "RFC 7871 7.2.1: ANY": ("d1.cdn.test", "ANY"),
}


@pytest.mark.parametrize(("name", "kind"), SAME_FOR_ALL.values(), ids=SAME_FOR_ALL.keys())
def test_scope_is_0_where_everybody_is_told_the_same(name: str, kind: str) -> None:
    assert subnet_of(ask(name, kind, subnet="10.2.3.0/24")) == "ECS 10.2.3.0/24 scope/0"


def test_pops_that_are_down_are_not_answered_until_all_are() -> None:
    assert addresses(ask("d1.cdn.test", down=("fra",))) == IAD
    assert addresses(ask("d1.cdn.test", down=("fra", "iad"))) == NRT
    assert addresses(ask("d1.cdn.test", down=("fra", "iad", "nrt"))) == FRA
    assert addresses(ask("fra.nodes.cdn.test", down=("fra",))) == FRA


SIZES: dict[str, tuple[bool, int, int]] = {
    "RFC 1035 2.3.4: without EDNS": (False, 0, 512),
    "RFC 6891 6.2.3: less than 512 counts as 512": (True, 100, 512),
    "RFC 6891 6.2.3: 512": (True, 512, 512),
    "RFC 6891 6.2.3: what is asked for": (True, 800, 800),
    "RFC 6891 6.2.5: our own limit": (True, 4096, UDP_SIZE),
    "RFC 6891 6.2.5: the largest payload": (True, 65535, UDP_SIZE),
}


@pytest.mark.parametrize(("edns", "payload", "limit"), SIZES.values(), ids=SIZES.keys())
def test_rfc2181_9_an_answer_that_does_not_fit_is_empty_and_says_so(edns: bool, payload: int, limit: int) -> None:
    query = dns.message.make_query("d1.cdn.test", "A")
    query.use_edns(edns, payload=payload)
    reply = answer(ZONE, query.to_wire(), "10.9.0.1", udp=True)
    assert reply is not None
    message = dns.message.from_wire(reply.wire, ignore_trailing=False)
    assert len(reply.wire) <= limit
    assert reply.truncated
    assert message.flags & dns.flags.TC
    assert message.answer == []
    assert message.edns == (0 if edns else -1)


def test_rfc7766_5_the_same_over_tcp_is_whole() -> None:
    message = ask("d1.cdn.test", source="10.9.0.1", udp=False)
    assert len(addresses(message)) == 100
    assert not message.flags & dns.flags.TC


def test_glue_that_does_not_fit_is_left_out_without_a_word() -> None:
    """RFC 2181 §9: TC only for what is required, and glue within a zone's own answer is not."""
    nodes = [{"name": "fra", "mode": "pop", "addresses": ["192.0.2.1"]}]
    crowd = [f"192.0.2.{host}" for host in range(1, 41)]
    zone = Zone.build(Settings.model_validate({"nodes": nodes, "resolver": {"addresses": crowd}}), [])
    reply = answer(zone, dns.message.make_query("edge.localhost", "NS").to_wire(), RESOLVER_ADDRESS, udp=True)
    assert reply is not None
    message = dns.message.from_wire(reply.wire)
    assert len(message.answer) == 1
    assert message.additional == []
    assert not message.flags & dns.flags.TC


def opt(options: bytes = b"", version: int = 0) -> bytes:
    return struct.pack("!BHHIH", 0, 41, 1232, version << 16, len(options)) + options


OPTED_OUT, BAD_FAMILY = b"\0\x08\0\x04\0\x01\0\0", b"\0\x08\0\x04\0\x03\0\0"
OPT_ASKED: dict[str, tuple[bytes, Rcode, bytes]] = {
    "RFC 6891 6.1.1: an empty one": (opt(), Rcode.NOERROR, b""),
    "RFC 6891 6.1.2: an unknown option": (opt(b"\xfd\xe9\0\x01a"), Rcode.NOERROR, b""),
    "RFC 6891 6.1.3: a version not ours": (opt(OPTED_OUT, version=1), Rcode.BADVERS, b""),
    "RFC 7871 6: a broken subnet": (opt(BAD_FAMILY), Rcode.FORMERR, b""),
    "RFC 7871 7.1.2: opted out": (opt(OPTED_OUT), Rcode.NOERROR, OPTED_OUT),
}


@pytest.mark.parametrize(("asked", "rcode", "options"), OPT_ASKED.values(), ids=OPT_ASKED.keys())
def test_rfc6891_7_who_asks_with_opt_is_answered_with_opt(asked: bytes, rcode: Rcode, options: bytes) -> None:
    plain = dns.message.make_query("d1.cdn.test", "A").to_wire()
    reply = answer(ZONE, plain[:11] + b"\x01" + plain[12:] + asked, RESOLVER_ADDRESS, udp=True)
    assert reply is not None
    assert reply.rcode is rcode
    assert reply.wire[3] & 15 == rcode & 15
    assert reply.wire.endswith(struct.pack("!BHHBBHH", 0, 41, UDP_SIZE, rcode >> 4, 0, 0, len(options)) + options)


def test_rfc3225_3_do_is_copied() -> None:
    for want_dnssec in (True, False):
        query = dns.message.make_query("d1.cdn.test", "A", use_edns=0, want_dnssec=want_dnssec)
        reply = answer(ZONE, query.to_wire(), RESOLVER_ADDRESS, udp=True)
        assert reply is not None
        assert bool(dns.message.from_wire(reply.wire).ednsflags & dns.flags.DO) is want_dnssec


def test_rfc1035_411_an_error_without_a_question_is_a_header() -> None:
    reply = answer(ZONE, b"\x12\x34\x29\x10" + b"\0\0" * 4, RESOLVER_ADDRESS, udp=True)
    assert reply is not None
    assert reply.wire == b"\x12\x34\xa9\x14" + b"\0\0" * 4
    assert reply.rcode is Rcode.NOTIMP


def test_rfc1035_411_a_response_has_no_reply() -> None:
    wire = bytearray(dns.message.make_query("d1.cdn.test", "A").to_wire())
    wire[2] |= 0x80
    assert answer(ZONE, bytes(wire), RESOLVER_ADDRESS, udp=True) is None
    assert servfail(bytes(wire)) is None


def test_servfail_is_a_header() -> None:
    wire = dns.message.make_query("d1.cdn.test", "A", id=0x1234).to_wire()
    assert servfail(wire) == b"\x12\x34\x81\x02" + b"\0\0" * 4


def test_a_reply_tells_why() -> None:
    reply = answer(
        ZONE,
        dns.message.make_query("d1.cdn.test", "A").to_wire(),
        "10.1.2.3",
        udp=True,
        conditions=Conditions(down={"nrt"}),
    )
    assert reply is not None
    assert reply.choice is not None
    assert (reply.choice.pop.name, reply.choice.reason, reply.by_subnet) == ("iad", Reason.FAILOVER, False)


def test_the_same_question_is_always_answered_with_the_same_bytes() -> None:
    wire = dns.message.make_query("d1.cdn.test", "A", id=1).to_wire()
    replies = [answer(ZONE, wire, "10.9.0.1", udp=False) for _ in range(5)]
    assert all(reply == replies[0] for reply in replies)


QUERIES = [
    dns.message.make_query(name, kind, use_edns=0, options=[dns.edns.ECSOption("10.1.2.0", 24)]).to_wire()
    for name in ("d1.cdn.test", "x.wild.example.test", "example.test", "www.elsewhere.test")
    for kind in ("A", "AAAA", "NS", "SOA", "ANY", "TYPE999")
]


def check_reply(wire: bytes, udp: bool) -> None:
    """What holds for any bytes: no exception, one reply at most, bounded, ours to the asker."""
    reply = answer(ZONE, wire, "10.9.0.1", udp=udp)
    if reply is None:
        return
    message = dns.message.from_wire(reply.wire, ignore_trailing=False, raise_on_truncation=False)
    assert message.id == int.from_bytes(wire[:2], "big")
    assert message.flags & dns.flags.QR
    assert len(reply.wire) <= (UDP_SIZE if udp else 65535)


@settings(deadline=None)
@given(st.binary(max_size=300), st.booleans())
def test_any_bytes_are_answered_within_bounds_or_not_at_all(wire: bytes, udp: bool) -> None:
    check_reply(wire, udp)


@settings(max_examples=500, deadline=None)
@given(
    st.sampled_from(QUERIES), st.lists(st.tuples(st.integers(0, 79), st.integers(0, 255)), max_size=4), st.booleans()
)
def test_damaged_queries_are_answered_within_bounds_or_not_at_all(
    query: bytes, changes: list[tuple[int, int]], udp: bool
) -> None:
    wire = bytearray(query)
    for place, value in changes:
        wire[place % len(wire)] = value
    check_reply(bytes(wire), udp)


@settings(deadline=None)
@given(st.lists(st.binary(min_size=1, max_size=63), max_size=6), st.integers(0, 65535), st.integers(0, 65535))
def test_any_name_type_and_class_are_answered(labels: list[bytes], kind: int, klass: int) -> None:
    name = b"".join(bytes([len(label)]) + label for label in labels)
    if len(name) < 240:
        name += b"\x03cdn\x04test\x00"
        check_reply(struct.pack("!6H", 1, 0, 1, 0, 0, 0) + name + struct.pack("!HH", kind, klass), udp=True)


# Chains, HTTPS, TXT, cookies, amplification ---------------------------------------------------------------------------

CHAINED = Zone.build(
    Settings.model_validate({
        "zone": "cdn.test",
        "nodes": [
            {"name": "fra", "mode": "pop", "https": ["0.0.0.0:443"],
             "addresses": ["192.0.2.1", "192.0.2.2", "2001:db8::1"]},
            {"name": "iad", "mode": "pop", "addresses": ["198.51.100.1"], "https": ["0.0.0.0:8443"]},
            {"name": "nrt", "mode": "pop", "addresses": ["203.0.113.1", "2001:db8::3"]},
        ],
        "resolver": {
            "zones": ["example.test"], "networks": NETWORKS[:2], "negative_ttl": 30,
            "texts": [
                {"name": "_proof.example.test", "text": "one"}, {"name": "_proof.example.test", "text": "two"},
                {"name": "example.test", "text": "x" * 300},
            ],
        },
    }),
    [
        distribution("d1", "www.example.test", "example.test", "*.wild.example.test"),
        replace(distribution("d4", "v4.example.test"), ipv6=False),
    ],
    serial=7,
)  # fmt: skip
CHAIN_SOA = "cdn.test. 30 IN SOA ns1.cdn.test. hostmaster.cdn.test. 7 3600 600 604800 30"
CHAIN = "www.example.test. 60 IN CNAME d1.cdn.test."
CHAINS: dict[str, tuple[str, str, str, list[str], list[str]]] = {
    "RFC 1034 4.3.2: A of an alias": (
        "www.example.test", "A", "", [CHAIN, "d1.cdn.test. 60 IN A 192.0.2.1", "d1.cdn.test. 60 IN A 192.0.2.2"], []),
    "RFC 1034 4.3.2: AAAA of an alias": (
        "www.example.test", "AAAA", "", [CHAIN, "d1.cdn.test. 60 IN AAAA 2001:db8::1"], []),
    "RFC 1034 3.6.2: CNAME of an alias": ("www.example.test", "CNAME", "", [CHAIN], []),
    "RFC 2308 2.2: no such data at its end": ("www.example.test", "AAAA", "10.2.0.0/24", [CHAIN], [CHAIN_SOA]),
    "RFC 2308 2.2: another type": ("www.example.test", "MX", "", [CHAIN], [CHAIN_SOA]),
    "RFC 4592 3.3.1: a wildcard alias": (
        "a.wild.example.test", "A", "10.2.0.0/24",
        ["a.wild.example.test. 60 IN CNAME d1.cdn.test.", "d1.cdn.test. 60 IN A 198.51.100.1"], []),
    "RFC 1034 3.6.2: none at an apex, beside its SOA": (
        "example.test", "A", "10.2.0.0/24", ["example.test. 60 IN A 198.51.100.1"], []),
    "RFC 8482 4.1: ANY of an alias, which has nothing beside its CNAME": ("www.example.test", "ANY", "", [CHAIN], []),
    "RFC 9460 9: HTTPS": (
        "d1.cdn.test", "HTTPS", "",
        ['d1.cdn.test. 60 IN HTTPS 1 . alpn="http/1.1" ipv4hint="192.0.2.1,192.0.2.2" ipv6hint="2001:db8::1"'], []),
    "RFC 9460 7.2: HTTPS on a port of its own": (
        "d1.cdn.test", "HTTPS", "10.2.0.0/24",
        ['d1.cdn.test. 60 IN HTTPS 1 . alpn="http/1.1" port="8443" ipv4hint="198.51.100.1"'], []),
    "RFC 9460 2.4: none where it is not spoken": ("d1.cdn.test", "HTTPS", "10.1.0.0/24", [], [CHAIN_SOA]),
    "RFC 9460 9.1: HTTPS of an alias": (
        "www.example.test", "HTTPS", "10.2.0.0/24",
        [CHAIN, 'd1.cdn.test. 60 IN HTTPS 1 . alpn="http/1.1" port="8443" ipv4hint="198.51.100.1"'], []),
    "IsIPV6Enabled false: no AAAA": ("d4.cdn.test", "AAAA", "", [], [CHAIN_SOA]),
    "IsIPV6Enabled false: no AAAA at the end of a chain": (
        "v4.example.test", "AAAA", "", ["v4.example.test. 60 IN CNAME d4.cdn.test."], [CHAIN_SOA]),
    "IsIPV6Enabled false: no hint": (
        "d4.cdn.test", "HTTPS", "",
        ['d4.cdn.test. 60 IN HTTPS 1 . alpn="http/1.1" ipv4hint="192.0.2.1,192.0.2.2"'], []),
    "RFC 1035 3.3.14: TXT": (
        "_proof.example.test", "TXT", "",
        ['_proof.example.test. 3600 IN TXT "one"', '_proof.example.test. 3600 IN TXT "two"'], []),
    "RFC 1035 3.3.14: a long text in two strings": (
        "example.test", "TXT", "", [f'example.test. 3600 IN TXT "{"x" * 255}" "{"x" * 45}"'], []),
    "RFC 8482 4.2: ANY of a name with a text": (
        "_proof.example.test", "ANY", "", ['_proof.example.test. 3600 IN HINFO "RFC8482" ""'], []),
    "RFC 2308 2.2: A of a name with a text": (
        "_proof.example.test", "A", "", [], [CHAIN_SOA.replace("cdn.test. 30", "example.test. 30").replace(
            "ns1.cdn.test. hostmaster.cdn.test.", "ns1.example.test. hostmaster.example.test.")]),
}  # fmt: skip


@pytest.mark.parametrize("udp", [True, False], ids=["udp", "tcp"])
@pytest.mark.parametrize(("name", "kind", "subnet", "said", "authority"), CHAINS.values(), ids=CHAINS.keys())
def test_answer(name: str, kind: str, subnet: str, said: list[str], authority: list[str], udp: bool) -> None:
    options: list[dns.edns.Option] = [dns.edns.ECSOption.from_text(subnet)] if subnet else []
    query = dns.message.make_query(name, kind, id=2, use_edns=bool(options), options=options)
    reply = answer(CHAINED, query.to_wire(), RESOLVER_ADDRESS, udp=udp)
    assert reply is not None
    message = dns.message.from_wire(reply.wire)
    assert [line for rrset in message.answer for line in rrset.to_text().split("\n")] == said
    assert [line for rrset in message.authority for line in rrset.to_text().split("\n")] == authority
    assert message.flags & dns.flags.AA


def test_https_records_may_be_turned_off() -> None:
    zone = replace(CHAINED, https_records=False)
    reply = answer(zone, dns.message.make_query("d1.cdn.test", "HTTPS").to_wire(), RESOLVER_ADDRESS, udp=True)
    assert reply is not None
    assert dns.message.from_wire(reply.wire).answer == []


def test_the_addresses_of_a_pop_take_turns_by_the_id() -> None:
    firsts = []
    for id in (0x1200, 0x1201, 0x1202):
        reply = answer(CHAINED, dns.message.make_query("d1.cdn.test", "A", id=id).to_wire(), "192.0.2.9", udp=True)
        assert reply is not None
        firsts.append(dns.message.from_wire(reply.wire).answer[0].to_text().split()[4])
    assert firsts == ["192.0.2.1", "192.0.2.2", "192.0.2.1"]


def with_cookie(cookie: bytes, payload: int = 1232) -> bytes:
    plain = dns.message.make_query("d1.cdn.test", "A").to_wire()
    option = struct.pack("!HH", 10, len(cookie)) + cookie
    return plain[:11] + b"\x01" + plain[12:] + struct.pack("!BHHIH", 0, 41, payload, 0, len(option)) + option


def check(cookie: bytes, source: str) -> tuple[bytes, bool]:
    return cookie[:8] + b"s" * 16, cookie[8:] == b"s" * 16


COOKIES: dict[str, tuple[bytes, Rcode, bytes, bool]] = {
    "RFC 7873 5.2.3: the client's half alone": (b"c" * 8, Rcode.NOERROR, b"c" * 8 + b"s" * 16, False),
    "RFC 7873 5.2.4: a server's half that is not ours": (
        b"c" * 8 + b"x" * 16, Rcode.NOERROR, b"c" * 8 + b"s" * 16, False),
    "RFC 7873 5.2.5: one that is": (b"c" * 8 + b"s" * 16, Rcode.NOERROR, b"c" * 8 + b"s" * 16, True),
    "RFC 7873 5.2.2: too short": (b"c" * 7, Rcode.FORMERR, b"", False),
    "RFC 7873 5.2.2: between the halves": (b"c" * 12, Rcode.FORMERR, b"", False),
    "RFC 7873 5.2.2: too long": (b"c" * 41, Rcode.FORMERR, b"", False),
}  # fmt: skip


@pytest.mark.parametrize(("sent", "rcode", "back", "vouched"), COOKIES.values(), ids=COOKIES.keys())
def test_cookie(sent: bytes, rcode: Rcode, back: bytes, vouched: bool) -> None:
    reply = answer(ZONE, with_cookie(sent), RESOLVER_ADDRESS, udp=True, conditions=Conditions(cookies=check))
    assert reply is not None
    assert (reply.rcode, reply.vouched) == (rcode, vouched)
    options = dns.message.from_wire(reply.wire).options
    assert [option.to_wire() for option in options] == ([back] if back else [])


def test_cookies_are_any_unknown_option_to_who_has_none() -> None:
    reply = answer(ZONE, with_cookie(b"c" * 8), RESOLVER_ADDRESS, udp=True)
    assert reply is not None
    assert dns.message.from_wire(reply.wire).options == ()


def test_no_answer_is_more_than_so_many_times_its_query_unless_a_cookie_vouches() -> None:
    conditions = Conditions(cookies=check, amplification_max=10)
    few = Zone.build(
        Settings.model_validate({"zone": "cdn.test", "nodes": [
            {"name": "p", "mode": "pop", "addresses": [f"192.0.2.{host}" for host in range(1, 61)]}]}),
        [distribution("d1")],
    )  # fmt: skip
    wire = with_cookie(b"c" * 8)
    for asked, whole in ((wire, False), (with_cookie(b"c" * 8 + b"s" * 16), True)):
        reply = answer(few, asked, RESOLVER_ADDRESS, udp=True, conditions=conditions)
        assert reply is not None
        assert reply.truncated is not whole
        assert whole or len(reply.wire) <= 10 * len(asked)
    assert reply is not None
    assert len(reply.wire) > 960
    tcp = answer(few, wire, RESOLVER_ADDRESS, udp=False, conditions=conditions)
    assert tcp is not None
    assert not tcp.truncated


def test_rfc7873_523_badcookie_has_a_cookie_and_no_records() -> None:
    query = read(with_cookie(b"c" * 8))
    assert query is not None
    message = dns.message.from_wire(refusal(query, Rcode.BADCOOKIE, b"c" * 8 + b"s" * 16))
    assert (message.rcode(), message.answer) == (dns.rcode.BADCOOKIE, [])
    assert message.options[0].to_wire() == b"c" * 8 + b"s" * 16


def test_an_answer_that_slips_through_the_rate_limit_sends_the_asker_to_tcp() -> None:
    query = read(with_cookie(b"c" * 8))
    assert query is not None
    message = dns.message.from_wire(truncation(query))
    assert message.flags & dns.flags.TC
    assert (message.answer, int(message.rcode())) == ([], 0)
