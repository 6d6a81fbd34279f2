"""dns/server.py: real sockets and real clients (dnspython, dig); everything bounded, nothing that stops the server."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import dns.asyncquery
import dns.edns
import dns.flags
import dns.message
import dns.rcode
import pytest
import uvloop

from edgeproxy.dns.policy import Policy, Pop
from edgeproxy.dns.server import Server, Surroundings, serve
from edgeproxy.dns.sockets import Listener, bind
from edgeproxy.dns.zone import Zone
from edgeproxy.model import Distribution, Rules
from edgeproxy.settings import Settings
from edgeproxy.telemetry.counters import Counter, Counters
from edgeproxy.units import split_address

NODES = [
    {"name": "fra", "mode": "pop", "addresses": ["192.0.2.1", "2001:db8::1"]},
    {"name": "nrt", "mode": "pop", "addresses": ["203.0.113.1"]},
    {"name": "big", "mode": "pop", "addresses": [f"10.0.{number // 250}.{number % 250}" for number in range(2000)]},
]
NETWORKS = [{"network": "10.1.0.0/16", "pops": ["nrt"]}, {"network": "10.9.0.0/16", "pops": ["big"]}]
PATIENCE = 10
"""Seconds until a test that waits has failed."""


SURROUNDINGS = Surroundings(lambda: 1_700_000_000.0, lambda: 5.0, bytes)


@dataclass
class Running:
    """A server, its counters, and the first of its addresses."""

    server: Server
    row: Counters
    settings: Settings
    host: str
    port: int

    @property
    def counters(self) -> Counters:
        self.server.settle()
        return self.row

    async def reaches(self, counter: Counter, value: int) -> None:
        async with asyncio.timeout(PATIENCE):
            while self.counters[counter] != value:  # noqa: ASYNC110 - a counter has no event
                await asyncio.sleep(0)

    async def connect(self, source: str = "127.0.0.1") -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection(self.host, self.port, local_addr=(source, 0))


def settings_with(**resolver: Any) -> Settings:
    """`Any`: settings as a file gives them."""
    given = {"listen": ["127.0.0.1:0"], "networks": NETWORKS, **resolver}
    return Settings.model_validate({"zone": "cdn.test", "nodes": NODES, "resolver": given})


def zone_with(settings: Settings, *names: str) -> Zone:
    distributions = [Distribution(name, f"{name}.cdn.test", Rules.CLOUDFRONT, "1", {}, ()) for name in names]
    return Zone.build(settings, distributions)


@asynccontextmanager
async def running(listeners: list[Listener] | None = None, **resolver: Any) -> AsyncIterator[Running]:
    settings, counters = settings_with(**resolver), Counters()
    server = await serve(settings.resolver, zone_with(settings, "d1"), counters, SURROUNDINGS, listeners)
    try:
        yield Running(server, counters, settings, *split_address(server.addresses[0]))
    finally:
        await server.close()


def query(name: str = "d1.cdn.test", kind: str = "A", subnet: str = "", **how: Any) -> dns.message.Message:
    options = [dns.edns.ECSOption.from_text(subnet)] if subnet else []
    return dns.message.make_query(name, kind, use_edns=bool(options), options=options, **how)


def framed(message: dns.message.Message) -> bytes:
    return message.to_wire(prepend_length=True)


async def read_framed(reader: asyncio.StreamReader) -> dns.message.Message:
    async with asyncio.timeout(PATIENCE):
        return dns.message.from_wire(await reader.readexactly(int.from_bytes(await reader.readexactly(2), "big")))


def addresses(message: dns.message.Message) -> list[str]:
    return [record.to_text() for rrset in message.answer for record in rrset]


CASES: dict[str, tuple[dns.message.Message, str, list[str]]] = {
    "a distribution": (query(), "NOERROR", ["192.0.2.1"]),
    "by client subnet": (query(subnet="10.1.2.0/24"), "NOERROR", ["203.0.113.1"]),
    "AAAA": (query(kind="AAAA"), "NOERROR", ["2001:db8::1"]),
    "no such name": (query("nowhere.cdn.test"), "NXDOMAIN", []),
    "outside": (query("www.elsewhere.test"), "REFUSED", []),
    "transfer": (query("cdn.test", "AXFR"), "REFUSED", []),
}


@pytest.mark.parametrize(("asked", "rcode", "expected"), CASES.values(), ids=CASES.keys())
async def test_udp_and_tcp_answer_alike(asked: dns.message.Message, rcode: str, expected: list[str]) -> None:
    async with running() as run:
        for ask in (dns.asyncquery.udp, dns.asyncquery.tcp):
            reply = await ask(asked, run.host, PATIENCE, run.port)
            assert dns.rcode.to_text(reply.rcode()) == rcode
            assert addresses(reply) == expected
        assert run.counters[Counter.DNS_QUERIES_UDP] == run.counters[Counter.DNS_QUERIES_TCP] == 1
        assert run.counters[Counter[f"DNS_{rcode}"]] == 2


async def conversation() -> None:
    async with running() as run:
        assert addresses(await dns.asyncquery.udp(query(), run.host, PATIENCE, run.port)) == ["192.0.2.1"]
        assert addresses(await dns.asyncquery.tcp(query(), run.host, PATIENCE, run.port)) == ["192.0.2.1"]
        reader, _ = await run.connect()
    assert await reader.read() == b""
    assert run.counters[Counter.DNS_TCP_OPEN] == 0


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
def test_it_works_on_either_event_loop(run: Callable[[Coroutine[Any, Any, None]], None]) -> None:
    run(conversation())


async def test_each_address_answers_for_itself_in_both_families() -> None:
    async with running(listen=["127.0.0.1:0", "127.0.0.2:0", "[::1]:0"]) as run:
        assert len(run.server.addresses) == 3
        for address in run.server.addresses:
            host, port = split_address(address)
            # dnspython takes only an answer that comes from the address it asked.
            assert addresses(await dns.asyncquery.udp(query(), host, PATIENCE, port)) == ["192.0.2.1"]
            assert addresses(await dns.asyncquery.tcp(query(), host, PATIENCE, port)) == ["192.0.2.1"]


async def test_who_asks_counts_when_no_subnet_is_given() -> None:
    async with running(networks=[{"network": "127.0.0.3/32", "pops": ["nrt"]}]) as run:
        for source, expected in (("127.0.0.3", "203.0.113.1"), ("127.0.0.1", "192.0.2.1")):
            reply = await dns.asyncquery.udp(query(), run.host, PATIENCE, run.port, source)
            assert addresses(reply) == [expected]
        assert run.counters[Counter.DNS_CHOSEN_NETWORK] == run.counters[Counter.DNS_CHOSEN_DEFAULT] == 1
        assert run.counters[Counter.DNS_BY_SUBNET] == 0


async def test_a_truncated_answer_is_whole_over_tcp() -> None:
    async with running() as run:
        asked = query(subnet="10.9.0.0/24")
        reply, used_tcp = await dns.asyncquery.udp_with_fallback(asked, run.host, PATIENCE, run.port)
        assert used_tcp
        assert len(addresses(reply)) == 2000
        assert run.counters[Counter.DNS_TRUNCATED] == 1


async def test_a_burst_of_datagrams_is_answered_one_for_one() -> None:
    async with running() as run:
        loop = asyncio.get_running_loop()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.setblocking(False)
            client.connect((run.host, run.port))
            for number in range(100):
                client.send(query(id=number).to_wire())
            async with asyncio.timeout(PATIENCE):
                replies = [dns.message.from_wire(await loop.sock_recv(client, 4096)) for _ in range(100)]
        assert [reply.id for reply in replies] == list(range(100))


async def test_what_is_no_query_is_not_answered_and_the_next_one_is() -> None:
    response = bytearray(query(id=1).to_wire())
    response[2] |= 0x80
    async with running() as run:
        loop = asyncio.get_running_loop()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.setblocking(False)
            client.connect((run.host, run.port))
            for wire in (b"", b"short", bytes(response), query(id=2).to_wire()):
                client.send(wire)
            async with asyncio.timeout(PATIENCE):
                assert dns.message.from_wire(await loop.sock_recv(client, 4096)).id == 2
        assert run.counters[Counter.DNS_UNANSWERED] == 3


async def test_a_datagram_longer_than_any_query_is_a_format_error() -> None:
    async with running() as run:
        loop = asyncio.get_running_loop()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.setblocking(False)
            client.connect((run.host, run.port))
            client.send(query(id=3).to_wire() + bytes(60_000))
            async with asyncio.timeout(PATIENCE):
                assert await loop.sock_recv(client, 4096) == b"\0\x03\x81\x01" + bytes(8)


async def test_a_query_that_cannot_be_dealt_with_is_a_servfail_and_the_next_is_answered() -> None:
    async with running() as run:
        broken = replace(zone_with(run.settings, "d1"), policy=Policy([], (Pop("fra", ("not an address",)),)))
        run.server.use(broken)
        for ask in (dns.asyncquery.udp, dns.asyncquery.tcp):
            assert dns.rcode.to_text((await ask(query(), run.host, PATIENCE, run.port)).rcode()) == "SERVFAIL"
        assert run.counters[Counter.DNS_FAILED] == run.counters[Counter.DNS_SERVFAIL] == 2
        run.server.use(zone_with(run.settings, "d1"))
        assert addresses(await dns.asyncquery.udp(query(), run.host, PATIENCE, run.port)) == ["192.0.2.1"]


async def test_a_new_zone_is_answered_from_at_once_on_open_connections_too() -> None:
    async with running() as run:
        reader, writer = await run.connect()
        writer.write(framed(query("d2.cdn.test")))
        assert dns.rcode.to_text((await read_framed(reader)).rcode()) == "NXDOMAIN"
        run.server.use(zone_with(run.settings, "d1", "d2"))
        writer.write(framed(query("d2.cdn.test")))
        assert addresses(await read_framed(reader)) == ["192.0.2.1"]
        writer.close()


async def test_a_pop_that_goes_down_is_answered_no_more_until_it_is_back() -> None:
    async with running() as run:
        answers = []
        for down in ((), ("fra",), ()):
            run.server.set_down(down)
            answers += addresses(await dns.asyncquery.udp(query(), run.host, PATIENCE, run.port))
        assert answers == ["192.0.2.1", "203.0.113.1", "192.0.2.1"]
        assert run.counters[Counter.DNS_CHOSEN_FAILOVER] == 1


async def test_closing_ends_connections_and_frees_the_address() -> None:
    async with running() as run:
        reader, _ = await run.connect()
        await run.reaches(Counter.DNS_TCP_OPEN, 1)
        address = run.server.addresses[0]
    assert await reader.read() == b""
    assert run.counters[Counter.DNS_TCP_OPEN] == 0
    async with running(listen=[address]) as again:
        assert addresses(await dns.asyncquery.udp(query(), again.host, PATIENCE, again.port)) == ["192.0.2.1"]


async def test_sockets_may_be_handed_in() -> None:
    listeners = bind(["127.0.0.1:0"])
    async with running(listeners) as run:
        assert run.server.addresses == (listeners[0].address,)
        assert addresses(await dns.asyncquery.udp(query(), run.host, PATIENCE, run.port)) == ["192.0.2.1"]


LIMITED: dict[str, Any] = {"rate_limit": 2, "rate_limit_exempt": []}


async def ask_raw(run: Running, wires: list[bytes], expected: int) -> list[dns.message.Message]:
    """Send all, then read as many answers as are expected."""
    loop = asyncio.get_running_loop()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.setblocking(False)
        client.connect((run.host, run.port))
        for wire in wires:
            client.send(wire)
        async with asyncio.timeout(PATIENCE):
            return [dns.message.from_wire(await loop.sock_recv(client, 4096)) for _ in range(expected)]


async def test_answers_over_the_rate_are_dropped_or_send_the_asker_to_tcp() -> None:
    async with running(**LIMITED) as run:
        replies = await ask_raw(run, [query(id=number).to_wire() for number in range(6)], 4)
        truncated = [bool(reply.flags & dns.flags.TC) for reply in replies]
        assert truncated == [False, False, True, True]
        assert (run.counters[Counter.DNS_SLIPPED], run.counters[Counter.DNS_DROPPED]) == (2, 2)
        assert addresses(await dns.asyncquery.tcp(query(), run.host, PATIENCE, run.port)) == ["192.0.2.1"]
        other = await ask_raw(run, [query("nowhere.cdn.test").to_wire()], 1)
        assert other[0].rcode() == dns.rcode.NXDOMAIN, "another answer has its own count"


async def test_who_comes_with_a_cookie_of_ours_is_not_limited() -> None:
    async with running(**LIMITED) as run:
        client = dns.edns.GenericOption(dns.edns.OptionType.COOKIE, b"c" * 8)
        first = dns.message.make_query("d1.cdn.test", "A", use_edns=0, options=[client]).to_wire()
        replies = await ask_raw(run, [first] * 3, 3)
        assert [reply.rcode() for reply in replies] == [dns.rcode.NOERROR] * 2 + [dns.rcode.BADCOOKIE]
        cookie = replies[2].options[0].to_wire()
        assert cookie is not None
        ours = dns.edns.GenericOption(dns.edns.OptionType.COOKIE, cookie)
        again = dns.message.make_query("d1.cdn.test", "A", use_edns=0, options=[ours]).to_wire()
        replies = await ask_raw(run, [again] * 5, 5)
        assert [addresses(reply) for reply in replies] == [["192.0.2.1"]] * 5
        assert run.counters[Counter.DNS_VOUCHED] == 5


async def test_resolvers_that_share_a_secret_take_each_other_s_cookies() -> None:
    shared: dict[str, Any] = {"cookie_secret": "e5e973e5a6b2a43f48e7dc849e37bfcf"}
    async with running(**shared) as one, running(**shared) as other:
        client = dns.edns.GenericOption(dns.edns.OptionType.COOKIE, b"c" * 8)
        wire = dns.message.make_query("d1.cdn.test", "A", use_edns=0, options=[client]).to_wire()
        (reply,) = await ask_raw(one, [wire], 1)
        cookie = reply.options[0].to_wire()
        assert cookie is not None
        ours = dns.edns.GenericOption(dns.edns.OptionType.COOKIE, cookie)
        await ask_raw(other, [dns.message.make_query("d1.cdn.test", "A", use_edns=0, options=[ours]).to_wire()], 1)
        assert other.counters[Counter.DNS_VOUCHED] == 1


async def test_a_sample_of_the_queries_is_logged(tmp_path: Path) -> None:
    async with running(query_log=str(tmp_path / "log"), query_log_share=1) as run:
        await ask_raw(run, [query(id=number).to_wire() for number in range(3)], 3)
        await dns.asyncquery.tcp(query(), run.host, PATIENCE, run.port)
    assert len((tmp_path / "log").read_text().splitlines()) == 4


async def test_most_answers_are_remembered_and_counted_all_the_same() -> None:
    async with running() as run:
        await ask_raw(run, [query(subnet="10.1.2.0/24", id=number).to_wire() for number in range(20)], 20)
        assert run.counters[Counter.DNS_REMEMBERED] == 19
        assert run.counters[Counter.DNS_NOERROR] == run.counters[Counter.DNS_CHOSEN_NETWORK] == 20
        assert run.counters[Counter.DNS_BY_SUBNET] == 20


async def dig(run: Running, *arguments: str) -> str:
    """What dig prints; it fails unless it got an answer that it takes for one."""
    process = await asyncio.create_subprocess_exec(
        "dig", "-r", f"@{run.host}", "-p", str(run.port), "+norecurse", "+tries=1", *arguments,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    output, _ = await process.communicate()
    assert process.returncode == 0, output.decode()
    return output.decode()


DIG: dict[str, tuple[list[str], list[str]]] = {
    "an address": (["d1.cdn.test"], ["status: NOERROR", "flags: qr aa;", "60\tIN\tA\t192.0.2.1"]),
    "over TCP": (["+tcp", "d1.cdn.test", "AAAA"], ["2001:db8::1", "(TCP)"]),
    "by subnet": (["+subnet=10.1.2.0/24", "d1.cdn.test"], ["203.0.113.1", "CLIENT-SUBNET: 10.1.2.0/24/16"]),
    "by IPv6 subnet": (["+subnet=2001:db8::/56", "d1.cdn.test"], ["192.0.2.1", "CLIENT-SUBNET: 2001:db8::/56/0"]),
    "opted out": (["+subnet=0", "d1.cdn.test"], ["192.0.2.1", "CLIENT-SUBNET: 0.0.0.0/0/0"]),
    "opted out in IPv4": (["+subnet=0.0.0.0/0", "d1.cdn.test"], ["CLIENT-SUBNET: 0.0.0.0/0/0"]),
    "truncated, so again over TCP": (
        ["+subnet=10.9.0.0/24", "d1.cdn.test"],
        ["Truncated, retrying in TCP mode", "ANSWER: 2000"],
    ),
    "without EDNS": (["+noedns", "d1.cdn.test"], ["ADDITIONAL: 0", "192.0.2.1"]),
    "with a cookie that is not known here": (["+cookie", "d1.cdn.test"], ["192.0.2.1"]),
    "EDNS version 1": (["+edns=1", "+noednsnegotiation", "d1.cdn.test"], ["status: BADVERS", "EDNS: version: 0"]),
    "an unknown opcode": (["+opcode=15", "+noedns", "d1.cdn.test"], ["opcode: RESERVED15, status: NOTIMP"]),
    "an unknown option": (["+ednsopt=65001:00ff", "d1.cdn.test"], ["status: NOERROR"]),
    "DO": (["+dnssec", "d1.cdn.test"], ["flags: do; udp: 1232"]),
    "CD": (["+cdflag", "d1.cdn.test"], ["flags: qr aa cd;"]),
    "name servers": (["cdn.test", "NS"], ["IN\tNS\tns1.cdn.test.", "ns1.cdn.test.\t\t3600\tIN\tA\t127.0.0.1"]),
    "SOA": (["+noall", "+answer", "cdn.test", "SOA"], ["ns1.cdn.test. hostmaster.cdn.test. 1 3600 600 604800 60"]),
    "ANY": (["+notcp", "d1.cdn.test", "ANY"], ['HINFO\t"RFC8482" ""']),
    "no such name": (["nowhere.cdn.test"], ["status: NXDOMAIN", "IN\tSOA\tns1.cdn.test."]),
    "outside": (["www.elsewhere.test"], ["status: REFUSED"]),
    "CHAOS": (["version.bind", "CH", "TXT"], ["status: REFUSED"]),
    "transfer": (["cdn.test", "AXFR"], ["Transfer failed"]),
    "mixed case": (["d1.CdN.tEsT"], ["d1.CdN.tEsT.\t\t60\tIN\tA\t192.0.2.1"]),
}


@pytest.mark.parametrize(("arguments", "expected"), DIG.values(), ids=DIG.keys())
async def test_dig(arguments: list[str], expected: list[str]) -> None:
    async with running() as run:
        output = await dig(run, *arguments)
    for line in expected:
        assert line in output
    assert "WARNING" not in output
    assert "malformed" not in output
