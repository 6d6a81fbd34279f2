"""dns/tcp.py: pipelined, slow, half-open and too many connections; nothing that stops the server."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import pytest

from edgeproxy.dns.sockets import bind
from edgeproxy.telemetry.counters import Counter
from tests.test_dns_server import PATIENCE, addresses, framed, query, read_framed, running


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
