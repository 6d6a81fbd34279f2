"""dns/server.py: real sockets and real clients (dnspython, dig); everything bounded, nothing that stops the server."""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

import dns.asyncquery
import dns.edns
import dns.message
import pytest
import uvloop

from edgeproxy.dns.policy import Policy, Pop
from edgeproxy.dns.server import Listener, Server, bind, serve
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


@dataclass
class Running:
    """A server, its counters, and the first of its addresses."""

    server: Server
    counters: Counters
    settings: Settings
    host: str
    port: int

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
    server = await serve(settings.resolver, zone_with(settings, "d1"), counters, listeners)
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


async def test_pipelined_queries_are_answered_in_order() -> None:
    """RFC 7766 §6.2.1.1."""
    async with running() as run:
        reader, writer = await run.connect()
        writer.write(b"".join(framed(query(id=number)) for number in range(50)))
        assert [(await read_framed(reader)).id for _ in range(50)] == list(range(50))
        assert run.counters[Counter.DNS_TCP_CONNECTIONS] == 1
        writer.close()


async def test_a_query_may_arrive_byte_by_byte() -> None:
    """RFC 7766 §8."""
    async with running() as run:
        reader, writer = await run.connect()
        writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in framed(query(id=5)):
            writer.write(bytes([byte]))
            await writer.drain()
            await asyncio.sleep(0)
        assert (await read_framed(reader)).id == 5
        writer.close()


async def test_a_peer_that_has_no_more_to_ask_still_gets_its_answers() -> None:
    async with running() as run:
        reader, writer = await run.connect()
        writer.write(framed(query(id=1)) + framed(query(id=2)))
        writer.write_eof()
        assert [(await read_framed(reader)).id for _ in range(2)] == [1, 2]
        assert await reader.read() == b""
        await run.reaches(Counter.DNS_TCP_OPEN, 0)


async def test_a_peer_that_has_no_more_to_ask_and_reads_late_gets_its_answer_whole() -> None:
    listeners = bind(["127.0.0.1:0"])
    listeners[0].tcp.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    async with running(listeners) as run:
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as peer:
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            peer.setblocking(False)
            await asyncio.get_running_loop().sock_connect(peer, (run.host, run.port))
            peer.send(framed(query(subnet="10.9.0.0/24")))
            peer.shutdown(socket.SHUT_WR)
            await run.reaches(Counter.DNS_QUERIES_TCP, 1)
            for _ in range(100):
                await asyncio.sleep(0)  # Time enough for a server that wrongly believes it is done.
            reader, writer = await asyncio.open_connection(sock=peer)
            assert len(addresses(await read_framed(reader))) == 2000
            writer.close()


async def test_a_response_over_tcp_is_passed_over() -> None:
    response = bytearray(framed(query(id=1)))
    response[4] |= 0x80
    async with running() as run:
        reader, writer = await run.connect()
        writer.write(bytes(response) + framed(query(id=2)))
        assert (await read_framed(reader)).id == 2
        writer.close()


CLOSED: dict[str, tuple[bytes, Counter]] = {
    "length 0": (b"\0\0", Counter.DNS_TCP_MALFORMED),
    "shorter than a header": (b"\0\x0b", Counter.DNS_TCP_MALFORMED),
    "longer than any query": (b"\xff\xff", Counter.DNS_TCP_MALFORMED),
    "HTTP": (b"GET / HTTP/1.1\r\n\r\n", Counter.DNS_TCP_MALFORMED),
    "silence": (b"", Counter.DNS_TCP_TIMEOUTS),
    "half a length": (b"\0", Counter.DNS_TCP_TIMEOUTS),
    "half a query": (b"\0\x20abcdef", Counter.DNS_TCP_TIMEOUTS),
}


@pytest.mark.parametrize(("sent", "counted"), CLOSED.values(), ids=CLOSED.keys())
async def test_a_connection_is_closed_after(sent: bytes, counted: Counter) -> None:
    async with running(tcp_idle_timeout=0.2) as run:
        reader, writer = await run.connect()
        writer.write(sent)
        try:
            async with asyncio.timeout(PATIENCE):
                assert await reader.read() == b""
        except ConnectionResetError:
            pass  # Bytes of ours that nobody read.
        await run.reaches(counted, 1)
        await run.reaches(Counter.DNS_TCP_OPEN, 0)
        writer.close()


async def test_a_peer_that_takes_no_answers_is_cut() -> None:
    listeners = bind(["127.0.0.1:0"])
    listeners[0].tcp.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)  # so that little fits into the system
    async with running(listeners, tcp_idle_timeout=0.3) as run:
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as peer:
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            peer.setblocking(False)
            await asyncio.get_running_loop().sock_connect(peer, (run.host, run.port))
            peer.send(framed(query(subnet="10.9.0.0/24")) * 50)  # 1.6 MB of answers
            await run.reaches(Counter.DNS_TCP_TIMEOUTS, 1)
            assert run.counters[Counter.DNS_QUERIES_TCP] < 50


async def test_a_peer_that_vanishes_is_forgotten() -> None:
    async with running() as run:
        _, writer = await run.connect()
        await run.reaches(Counter.DNS_TCP_OPEN, 1)
        writer.transport.abort()
        await run.reaches(Counter.DNS_TCP_OPEN, 0)


@pytest.mark.parametrize(
    ("caps", "others"),
    [({"tcp_connections_max": 2}, "127.0.0.2"), ({"tcp_connections_per_client_max": 2}, "127.0.0.1")],
    ids=["in all", "per client"],
)
async def test_connections_beyond_the_cap_are_closed_and_a_place_is_free_again_later(
    caps: dict[str, Any], others: str
) -> None:
    async with running(**caps) as run:
        first = await run.connect()
        second = await run.connect()
        await run.reaches(Counter.DNS_TCP_OPEN, 2)
        refused, _ = await run.connect(others)
        await run.reaches(Counter.DNS_TCP_REFUSED, 1)
        with pytest.raises((ConnectionResetError, asyncio.IncompleteReadError)):
            await refused.readexactly(1)
        first[1].close()
        await run.reaches(Counter.DNS_TCP_OPEN, 1)
        reader, writer = await run.connect(others)
        writer.write(framed(query(id=9)))
        assert (await read_framed(reader)).id == 9
        second[1].close()
        writer.close()


async def test_one_client_at_its_cap_does_not_keep_another_out() -> None:
    async with running(tcp_connections_per_client_max=1) as run:
        _, first = await run.connect("127.0.0.1")
        await run.reaches(Counter.DNS_TCP_OPEN, 1)
        reader, writer = await run.connect("127.0.0.2")
        writer.write(framed(query(id=4)))
        assert (await read_framed(reader)).id == 4
        first.close()
        writer.close()


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


def test_an_address_in_use_is_named_and_those_bound_before_it_are_freed() -> None:
    (taken,) = bind(["127.0.0.1:0"])
    (freed,) = bind(["127.0.0.1:0"])
    free = freed.address
    freed.close()
    with pytest.raises(OSError, match=f"cannot answer DNS on {taken.address}") as raised:
        bind([free, taken.address])
    assert raised.value.errno == errno.EADDRINUSE
    (again,) = bind([free])
    again.close()
    taken.close()


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
