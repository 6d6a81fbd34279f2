"""dns/edns.py: options of answers by RFC section, and that help gives way where there is no room."""

from __future__ import annotations

import struct
from dataclasses import replace

import dns.edns
import dns.message
import pytest

from edgeproxy.dns.answer import CALM, Conditions, answer
from edgeproxy.dns.edns import Trouble, option, said, size
from edgeproxy.dns.query import Edns, Rcode, Subnet
from tests.test_dns_answer import RESOLVER_ADDRESS, ZONE, check

NSID, KEEPALIVE = struct.pack("!HH", 3, 0), struct.pack("!HH", 11, 0)
HERE = Conditions(nsid=b"ns1", keepalive=100, cookies=check)
ALL = frozenset({"fra", "iad", "nrt", "big"})
UNREADY = replace(ZONE, complete=False)
OUT_TEXT = b"\0\0every POP is out of service"


def asked(name: str, kind: str, options: bytes | None, klass: str = "IN") -> bytes:
    """A query with these options, without OPT for None."""
    plain = dns.message.make_query(name, kind, klass).to_wire()
    if options is None:
        return plain
    return plain[:11] + b"\x01" + plain[12:] + struct.pack("!BHHIH", 0, 41, 1232, 0, len(options)) + options


# Name, type, options asked with, over UDP, conditions → rcode, options of the answer by code.
CASES: dict[str, tuple[str, str, bytes | None, bool, Conditions, Rcode, dict[int, bytes]]] = {
    "RFC 5001 2.2: who asks for it is told": (
        "d1.cdn.test", "A", NSID, True, HERE, Rcode.NOERROR, {3: b"ns1"}),
    "RFC 5001 2.2: over TCP too": ("d1.cdn.test", "A", NSID, False, HERE, Rcode.NOERROR, {3: b"ns1"}),
    "RFC 5001 2.1: what the option holds is ignored": (
        "d1.cdn.test", "A", struct.pack("!HH", 3, 2) + b"xx", True, HERE, Rcode.NOERROR, {3: b"ns1"}),
    "RFC 5001 2.2: who does not ask is not": ("d1.cdn.test", "A", b"", True, HERE, Rcode.NOERROR, {}),
    "RFC 5001 2.2: a server without a name says none": ("d1.cdn.test", "A", NSID, True, CALM, Rcode.NOERROR, {}),
    "RFC 5001 2.3: with an error too": (
        "www.elsewhere.test", "A", NSID, True, HERE, Rcode.REFUSED, {3: b"ns1", 15: b"\0\x14"}),
    "RFC 7828 3.2.2: tenths of a second over TCP": (
        "d1.cdn.test", "A", KEEPALIVE, False, HERE, Rcode.NOERROR, {11: b"\0\x64"}),
    "RFC 7828 3.2.1: ignored over UDP": ("d1.cdn.test", "A", KEEPALIVE, True, HERE, Rcode.NOERROR, {}),
    "RFC 7828 3.2.1: not asked for": ("d1.cdn.test", "A", b"", False, HERE, Rcode.NOERROR, {}),
    "RFC 7828 3.2.1: a time of the asker's is none of ours": (
        "d1.cdn.test", "A", struct.pack("!HHH", 11, 2, 7), False, HERE, Rcode.NOERROR, {11: b"\0\x64"}),
    "RFC 8914 4.21: outside the zones": (
        "www.elsewhere.test", "A", b"", True, CALM, Rcode.REFUSED, {15: b"\0\x14"}),
    "RFC 8914 4.22: no transfers": ("cdn.test", "AXFR", b"", False, CALM, Rcode.REFUSED, {15: b"\0\x15"}),
    "RFC 8914 4.22: no such type": ("cdn.test", "MAILB", b"", True, CALM, Rcode.NOTIMP, {15: b"\0\x15"}),
    "RFC 8914 3: not without EDNS": ("www.elsewhere.test", "A", None, True, CALM, Rcode.REFUSED, {}),
    "RFC 8914 2: nothing to say of a name that does not exist": (
        "nowhere.cdn.test", "A", b"", True, CALM, Rcode.NXDOMAIN, {}),
    "RFC 8914 4.1: every POP is out of service": (
        "d1.cdn.test", "A", b"", True, Conditions(down=ALL), Rcode.NOERROR, {15: OUT_TEXT}),
    "RFC 8914 4.1: one is not": ("d1.cdn.test", "A", b"", True, Conditions(down=ALL - {"nrt"}), Rcode.NOERROR, {}),
}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "kind", "options", "udp", "conditions", "rcode", "expected"), CASES.values(), ids=CASES.keys()
)
def test_options(
    name: str,
    kind: str,
    options: bytes | None,
    udp: bool,
    conditions: Conditions,
    rcode: Rcode,
    expected: dict[int, bytes],
) -> None:
    reply = answer(ZONE, asked(name, kind, options), RESOLVER_ADDRESS, udp=udp, conditions=conditions)
    assert reply is not None
    message = dns.message.from_wire(reply.wire)
    assert reply.rcode is rcode
    assert {int(each.otype): each.to_wire() for each in message.options} == expected


def test_rfc8914_422_another_class_is_not_supported() -> None:
    reply = answer(ZONE, asked("version.bind", "TXT", b"", "CH"), RESOLVER_ADDRESS, udp=True)
    assert reply is not None
    assert reply.wire.endswith(option(15, b"\0\x15"))


# Name, type → rcode while the distributions are not known yet.
UNREADY_CASES: dict[str, tuple[str, str, Rcode]] = {
    "a name that may be a distribution's": ("nowhere.cdn.test", "A", Rcode.SERVFAIL),
    "whatever the type": ("nowhere.cdn.test", "TXT", Rcode.SERVFAIL),
    "an apex that may be an alias": ("cdn.test", "A", Rcode.SERVFAIL),
    "an empty non-terminal that may be one": ("b.example.test", "HTTPS", Rcode.SERVFAIL),
    "its SOA": ("cdn.test", "SOA", Rcode.NOERROR),
    "what is known": ("d1.cdn.test", "A", Rcode.NOERROR),
    "a node": ("fra.nodes.cdn.test", "A", Rcode.NOERROR),
    "what is never ours": ("www.elsewhere.test", "A", Rcode.REFUSED),
}


@pytest.mark.parametrize(("name", "kind", "rcode"), UNREADY_CASES.values(), ids=UNREADY_CASES.keys())
def test_rfc8914_415_nothing_is_denied_before_all_distributions_are_known(name: str, kind: str, rcode: Rcode) -> None:
    reply = answer(UNREADY, asked(name, kind, b""), RESOLVER_ADDRESS, udp=True)
    assert reply is not None
    assert reply.rcode is rcode
    assert reply.wire.endswith(option(15, b"\0\x0e")) is (rcode is Rcode.SERVFAIL)


def test_the_subnet_is_last_and_the_cookie_before_it() -> None:
    subnet = bytes.fromhex("00080007000118000a0203")
    for order in (NSID + option(10, b"c" * 8) + subnet, subnet + option(10, b"c" * 8) + NSID):
        conditions = replace(HERE, down=ALL)
        reply = answer(ZONE, asked("d1.cdn.test", "A", order), RESOLVER_ADDRESS, udp=True, conditions=conditions)
        assert reply is not None
        codes = [int(each.otype) for each in dns.message.from_wire(reply.wire).options]
        assert codes == [3, 15, 10, 8]


def test_what_only_helps_gives_way_where_there_is_no_room() -> None:
    conditions = Conditions(nsid=b"n" * 64, amplification_max=2, cookies=check)
    wire = asked("x.test", "A", NSID + option(10, b"c" * 8))
    reply = answer(ZONE, wire, RESOLVER_ADDRESS, udp=True, conditions=conditions)
    assert reply is not None
    assert len(reply.wire) <= 2 * len(wire)
    assert [int(each.otype) for each in dns.message.from_wire(reply.wire).options] == [10]


def test_the_size_is_that_of_the_record() -> None:
    edns = Edns(1232, subnet=Subnet(1, 24, b"\x0a\x02\x03"), nsid=True)
    options = said(edns, nsid=b"ns1", keepalive=None, trouble=Trouble.NOT_READY)
    assert size(edns, options) == 11 + (4 + 3) + (4 + 2) + (8 + 3)
    assert size(None, b"") == 0
    assert said(None, nsid=b"ns1", keepalive=100, trouble=Trouble.ALL_DOWN) == b""
