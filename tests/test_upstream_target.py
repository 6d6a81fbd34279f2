"""Making connections: what can go wrong, and what TLS accepts."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from edgeproxy.errors import Detail, OriginError, OriginTimeout, OriginUnreachable
from edgeproxy.upstream.target import Target, dial
from tests.authority import Authority
from tests.scripted import ScriptedOrigin


class Line(asyncio.Protocol):
    """A connection that says who is at the other end."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport


def no_context() -> ssl.SSLContext:
    raise AssertionError("plain connections need no TLS")


async def reach(target: Target, authority: Authority | None = None, seconds: float = 10) -> None:
    line = await dial(target, Line, authority.client if authority else no_context, seconds)
    line.transport.close()


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
async def silent() -> AsyncIterator[int]:
    """The port of a server that accepts and never says a word."""
    server = await asyncio.start_server(lambda reader, writer: None, "127.0.0.1", 0)
    yield server.sockets[0].getsockname()[1]
    server.close()


def test_a_target_says_where_it_is() -> None:
    assert str(Target("a.test", 80)) == "a.test:80"
    assert str(Target("a.test", 80, unix_path="/run/x")) == "/run/x"


async def test_a_unix_socket_is_reached_by_its_path(tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    async with ScriptedOrigin(unix_path=path):
        await reach(Target("ignored.test", 1, unix_path=path))


async def test_a_closed_port_is_unreachable() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(OriginUnreachable) as caught:
        await reach(Target("127.0.0.1", port))
    assert (caught.value.status, caught.value.detail, caught.value.may_retry) == (502, Detail.ORIGIN_CONNECT, True)


@pytest.mark.parametrize("host", ["a..test", "a" * 64 + ".test", "no such name"])
async def test_a_name_without_an_address_is_a_dns_error(host: str) -> None:
    with pytest.raises(OriginUnreachable) as caught:
        await reach(Target(host, 80))
    assert (caught.value.status, caught.value.detail) == (502, Detail.ORIGIN_DNS)


async def test_a_port_that_does_not_answer_is_a_time_out() -> None:
    with socket.socket() as full, socket.socket() as first, socket.socket() as second:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for filler in (first, second):
            filler.setblocking(False)
            filler.connect_ex(full.getsockname())
        with pytest.raises(OriginTimeout) as caught:
            await reach(Target("127.0.0.1", full.getsockname()[1]), seconds=0.05)
    assert (caught.value.status, caught.value.detail) == (504, Detail.ORIGIN_CONNECT)


async def test_a_handshake_that_does_not_answer_is_a_time_out(silent: int, authority: Authority) -> None:
    with pytest.raises(OriginTimeout):
        await reach(Target("127.0.0.1", silent, tls=True), authority, seconds=0.05)


async def test_the_name_is_verified_and_may_differ_from_the_host(authority: Authority) -> None:
    async with ScriptedOrigin(tls=authority.server("origin.test")) as origin:
        await reach(Target("127.0.0.1", origin.port, tls=True, server_name="origin.test"), authority)


async def test_without_a_name_the_host_is_verified(authority: Authority) -> None:
    async with ScriptedOrigin(tls=authority.server("127.0.0.1")) as origin:
        await reach(Target("127.0.0.1", origin.port, tls=True), authority)


async def refusal(origin: ScriptedOrigin, authority: Authority, name: str = "origin.test") -> OriginError:
    with pytest.raises(OriginUnreachable) as caught:
        await reach(Target("127.0.0.1", origin.port, tls=True, server_name=name), authority)
    assert (caught.value.status, caught.value.detail) == (502, Detail.ORIGIN_CONNECT)
    return caught.value


async def test_a_certificate_for_another_name_is_refused_for_good(authority: Authority) -> None:
    async with ScriptedOrigin(tls=authority.server("origin.test")) as origin:
        assert not (await refusal(origin, authority, "other.test")).may_retry


async def test_a_self_signed_certificate_is_refused(authority: Authority) -> None:
    async with ScriptedOrigin(tls=authority.server("origin.test", self_signed=True)) as origin:
        await refusal(origin, authority)


async def test_an_authority_nobody_knows_is_refused(authority: Authority, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    other = Authority(tmp_path / "other")
    async with ScriptedOrigin(tls=other.server("origin.test")) as origin:
        await refusal(origin, authority)


async def test_a_plain_port_spoken_to_in_tls_is_unreachable(authority: Authority) -> None:
    server = await asyncio.start_server(lambda reader, writer: writer.write(b"HTTP/1.1 400 No\r\n\r\n"), "127.0.0.1", 0)
    with pytest.raises(OriginUnreachable) as caught:
        await reach(Target("127.0.0.1", server.sockets[0].getsockname()[1], tls=True), authority)
    assert (caught.value.status, caught.value.detail) == (502, Detail.ORIGIN_CONNECT)
    server.close()


async def test_a_ca_file_that_cannot_be_read_is_said_to_be_the_reason(silent: int, tmp_path: Path) -> None:
    def context() -> ssl.SSLContext:
        return ssl.create_default_context(cafile=str(tmp_path / "missing.pem"))

    with pytest.raises(OriginUnreachable, match="No such file"):
        await dial(Target("127.0.0.1", silent, tls=True), Line, context, 10)


async def test_only_addresses_of_the_family_are_connected_to() -> None:
    async with ScriptedOrigin() as origin:
        await reach(Target("localhost", origin.port, family=socket.AF_INET))
        with pytest.raises(OriginUnreachable):
            await reach(Target("127.0.0.1", origin.port, family=socket.AF_INET6))
