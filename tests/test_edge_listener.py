"""Accepting: TCP, Unix and TLS, caps, and the end."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from pathlib import Path

import pytest

from edgeproxy.headers import Headers
from edgeproxy.message import Answer, Client, Incoming, Peer, ResponseHead
from edgeproxy.telemetry.counters import Counter
from tests.authority import Authority
from tests.front import Front, Stalled, answer, answered, echo, exchange, say_target
from tests.scripted import PATIENCE, Viewer, until

BOTH_LOOPS = True

GET = b"GET /a HTTP/1.1\r\nHost: localhost\r\n\r\n"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


async def curl(*arguments: str, stdin: bytes = b"") -> str:
    """What curl prints."""
    process = await asyncio.create_subprocess_exec(
        "curl", "--silent", "--show-error", "--noproxy", "*", *arguments,
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    async with asyncio.timeout(PATIENCE):
        printed, _ = await process.communicate(stdin)
    return printed.decode()


async def test_curl_over_http() -> None:
    async with Front(say_target) as front:
        url = f"http://127.0.0.1:{front.port}"
        assert await curl(f"{url}/a?b", f"{url}/c", "-w", "[%{num_connects}]") == "GET /a?b[1]GET /c[0]"
        printed = await curl("--http1.0", "-i", url)
        assert printed.startswith("HTTP/1.1 200 OK\r\n")
        assert printed.endswith("\r\n\r\nGET /")


@pytest.mark.parametrize("how", [["--data-binary", "@-"], ["-H", "Transfer-Encoding: chunked", "-T", "-"]])
async def test_curl_uploads(how: list[str]) -> None:
    async with Front(echo) as front:
        # Beyond 1 MiB curl waits for 100 (Continue).
        data = b"0123456789abcdef" * 100_000
        url = f"http://127.0.0.1:{front.port}/"
        assert await curl(*how, url, stdin=data) == data.decode()


async def test_curl_over_https(authority: Authority) -> None:
    async with Front(say_target, tls=authority.server("localhost")) as front:
        url = f"https://localhost:{front.port}"
        resolve = ["--resolve", f"localhost:{front.port}:127.0.0.1", "--cacert", authority.ca_file]
        assert await curl(*resolve, f"{url}/a", f"{url}/b", "-w", "[%{num_connects}]") == "GET /a[1]GET /b[0]"
        assert "certificate" in await curl(f"{url}/a", "--resolve", resolve[1])
        await until(lambda: front.counters[Counter.TLS_FAILED] == 1)


async def tls_viewer(front: Front, authority: Authority) -> Viewer:
    return await Viewer.connect(front.port, tls=authority.client(), server_name="localhost")


async def test_who_the_client_is(authority: Authority, tmp_path: Path) -> None:
    clients: list[Client] = []
    schemes: list[str] = []

    async def handle(incoming: Incoming) -> Answer:
        clients.append(incoming.client)
        schemes.append(incoming.head.scheme)
        return answer()

    async with Front(handle) as front, await front.viewer() as viewer:
        await exchange(viewer, GET)
        assert clients[0] == Client("127.0.0.1", viewer.writer.get_extra_info("sockname")[1])
    async with Front(handle, tls=authority.server("localhost")) as front, await tls_viewer(front, authority) as viewer:
        await exchange(viewer, GET)
        secured: ssl.SSLObject = viewer.writer.get_extra_info("ssl_object")
        cipher = secured.cipher()
        assert cipher is not None
        assert (clients[1].tls_protocol, clients[1].tls_cipher) == ("TLSv1.3", cipher[0])
    path = tmp_path / "socket"
    async with Front(handle, unix_path=path, peer=Peer.WORKER):
        viewer = Viewer(*await asyncio.open_unix_connection(str(path)))
        async with viewer:
            await exchange(viewer, GET)
        assert clients[2] == Client("", 0, Peer.WORKER)
    assert path.exists(), "the path belongs to who made the socket"
    assert schemes == ["http", "https", "http"]


async def test_tls_answers_are_whole_and_the_connection_persists(authority: Authority) -> None:
    async with Front(echo, tls=authority.server("localhost")) as front, await tls_viewer(front, authority) as viewer:
        body = b"x" * 300_000
        request = b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 300000\r\n\r\n" + body
        for _ in range(3):
            assert await exchange(viewer, request) == (200, body)
        assert (await exchange(viewer, b"nonsense\r\n\r\n"))[0] == 400
        assert await viewer.closed()


async def test_a_viewer_that_speaks_http_to_an_https_port_is_counted(authority: Authority) -> None:
    async with Front(say_target, tls=authority.server("localhost")) as front, await front.viewer() as viewer:
        await viewer.send(GET)
        # OpenSSL answers with an alert, then the connection is closed.
        with contextlib.suppress(ConnectionError):
            async with asyncio.timeout(PATIENCE):
                await viewer.reader.read()
        await until(lambda: front.counters[Counter.TLS_FAILED] == 1)
        await until(lambda: front.counters[Counter.CONNECTIONS_OPEN] == 0)


async def test_a_handshake_that_never_comes_ends_by_itself(authority: Authority) -> None:
    tls = authority.server("localhost")
    async with Front(say_target, tls=tls, header_timeout=0.1) as front, await front.viewer() as viewer:
        assert await viewer.closed()
        await until(lambda: front.counters[Counter.TLS_FAILED] == 1)


async def test_small_answers_are_not_held_back_by_the_kernel() -> None:
    async with Front(say_target) as front, await front.viewer() as viewer:
        await exchange(viewer, GET)
        (connection,) = front.listener.connections
        accepted: socket.socket = connection._transport.get_extra_info("socket")
        assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


async def test_one_address_may_have_so_many_connections() -> None:
    async with Front(say_target, connections_per_client_max=2) as front:
        viewers = [await front.viewer() for _ in range(3)]
        assert [(await exchange(viewer, GET))[0] for viewer in viewers] == [200, 200, 503]
        assert await viewers[2].closed()
        assert front.counters[Counter.CONNECTIONS_REFUSED] == 1
        viewers[0].writer.close()
        await until(lambda: front.counters[Counter.CONNECTIONS_OPEN] == 1)
        late = await front.viewer()
        assert (await exchange(late, GET))[0] == 200
        for viewer in (*viewers, late):
            viewer.writer.transport.abort()


async def test_a_worker_may_have_so_many_connections_in_all(authority: Authority) -> None:
    async with Front(say_target, tls=authority.server("localhost"), connections_max=1) as front:
        first = await tls_viewer(front, authority)
        with pytest.raises(OSError):  # noqa: PT011  # how a refused handshake looks depends on the loop
            await tls_viewer(front, authority)
        assert front.counters[Counter.CONNECTIONS_REFUSED] == 1
        assert (await exchange(first, GET))[0] == 200
        first.writer.transport.abort()


class Slow:
    """A pipeline that answers when it is told to."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.goes_on = asyncio.Event()

    async def __call__(self, incoming: Incoming) -> Answer:
        self.asked.set()
        await self.goes_on.wait()
        return answer(200, b"late")


async def test_draining_refuses_new_connections_and_waits_for_what_runs() -> None:
    slow = Slow()
    async with Front(slow) as front, await front.viewer() as viewer, await front.viewer() as idle:
        await viewer.send(GET)
        await slow.asked.wait()
        draining = asyncio.ensure_future(front.listener.drain(PATIENCE))
        assert await idle.closed()
        with pytest.raises(ConnectionError):
            await front.viewer()
        assert not draining.done()
        slow.goes_on.set()
        assert await answered(viewer) == (200, b"late")
        await draining
        assert not front.listener.connections


async def test_at_the_deadline_what_still_runs_is_cut() -> None:
    slow = Slow()
    async with Front(slow) as front, await front.viewer() as viewer:
        await viewer.send(GET)
        await slow.asked.wait()
        await front.listener.drain(0.05)
        assert await viewer.closed()
        assert not front.listener.connections


async def test_an_answer_cut_at_the_deadline_is_not_the_viewers_fault() -> None:
    async def handle(incoming: Incoming) -> Answer:
        return Answer(ResponseHead(200, Headers()), Stalled([b"begun"]))

    async with Front(handle) as front, await front.viewer() as viewer:
        await viewer.send(GET)
        await viewer.read_head()
        await front.listener.drain(0.05)
        assert [(delivery.complete, delivery.sender_left) for delivery in front.deliveries] == [(False, False)]


async def test_closing_ends_handshakes_too(authority: Authority) -> None:
    async with Front(say_target, tls=authority.server("localhost")) as front, await front.viewer():
        await until(lambda: front.counters[Counter.CONNECTIONS_OPEN] == 1)
        await front.listener.close()
        assert front.counters[Counter.CONNECTIONS_OPEN] == 0
