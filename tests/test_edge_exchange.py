"""One request on a connection, as a viewer sees it."""

from __future__ import annotations

import asyncio

import pytest

from edgeproxy.errors import BodyAborted, OriginTimeout, ViewerError
from edgeproxy.headers import Headers
from edgeproxy.message import Answer, BytesBody, Incoming, ResponseHead
from edgeproxy.telemetry.counters import Counter
from tests.front import Drip, Front, answer, answered, echo, exchange, read_all, say_target
from tests.scripted import until

BOTH_LOOPS = True

GET = b"GET /a HTTP/1.1\r\nHost: a.test\r\n\r\n"


async def test_requests_follow_each_other_on_one_connection() -> None:
    async with Front(say_target) as front, await front.viewer() as viewer:
        for number in range(3):
            target = b"/%d" % number
            assert await exchange(viewer, GET.replace(b"/a", target)) == (200, b"GET " + target)
        assert front.counters[Counter.CONNECTIONS] == 1


async def test_an_answer_is_framed_by_the_front_door_alone() -> None:
    async def handle(incoming: Incoming) -> Answer:
        return answer(
            200, b"hello", (b"Content-Length", b"9"), (b"Transfer-Encoding", b"chunked"), (b"Connection", b"close"),
            (b"Keep-Alive", b"1"), (b"X-A", b"b"),
        )  # fmt: skip

    async with Front(handle) as front, await front.viewer() as viewer:
        for _ in range(2):
            await viewer.send(GET)
            status, fields = await viewer.read_head()
            assert (status, list(fields)) == (200, [(b"X-A", b"b"), (b"Content-Length", b"5")])
            assert await viewer.read_body() == (b"hello", True)


@pytest.mark.parametrize(
    ("request_line", "status", "length", "sent"),
    [
        (b"HEAD /a", 200, b"42", [(b"Content-Length", b"42")]),
        (b"HEAD /a", 200, None, []),
        (b"GET /a", 304, b"42", [(b"Content-Length", b"42")]),
        (b"GET /a", 204, b"42", []),
    ],
)
async def test_answers_that_have_no_body(
    request_line: bytes, status: int, length: bytes | None, sent: list[tuple[bytes, bytes]]
) -> None:
    async def handle(incoming: Incoming) -> Answer:
        return answer(status, b"", *([] if length is None else [(b"Content-Length", length)]))

    async with Front(handle) as front, await front.viewer() as viewer:
        method = request_line.split()[0].decode()
        for _ in range(2):
            await viewer.send(GET.replace(b"GET /a", request_line))
            got, fields = await viewer.read_head(method)
            assert (got, list(fields)) == (status, sent)


async def test_a_head_and_its_first_block_go_out_in_one_piece() -> None:
    async with Front(say_target) as front, await front.viewer() as viewer:
        await viewer.send(GET)
        assert await viewer.reader.read(4096) == b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nGET /a"


async def test_a_head_does_not_wait_for_a_body_that_is_not_there() -> None:
    first = asyncio.Event()

    class Late(Drip):
        async def read(self) -> bytes:
            await first.wait()
            return await super().read()

    async def handle(incoming: Incoming) -> Answer:
        return Answer(ResponseHead(200, Headers()), Late([b"late"]))

    async with Front(handle) as front, await front.viewer() as viewer:
        await viewer.send(GET)
        assert (await viewer.read_head())[0] == 200
        first.set()
        assert await viewer.read_body() == (b"late", True)


@pytest.mark.parametrize(
    ("version", "connection", "framing", "stays"),
    [
        (b"1.1", b"keep-alive", (b"Transfer-Encoding", b"chunked"), True),
        (b"1.1", b"close", (b"Transfer-Encoding", b"chunked"), False),
        (b"1.0", b"keep-alive", None, False),
    ],
)
async def test_a_body_of_unknown_length(
    version: bytes, connection: bytes, framing: tuple[bytes, bytes] | None, stays: bool
) -> None:
    async def handle(incoming: Incoming) -> Answer:
        return Answer(ResponseHead(200, Headers()), Drip([b"one ", b"two"]))

    request = b"GET / HTTP/%b\r\nHost: a.test\r\nConnection: %b\r\n\r\n" % (version, connection)
    async with Front(handle) as front, await front.viewer() as viewer:
        await viewer.send(request)
        _, fields = await viewer.read_head()
        assert (framing in fields) is (framing is not None)
        assert ((b"Connection", b"close") in fields) is not stays
        assert await viewer.read_body() == (b"one two", True)
        if stays:
            assert (await exchange(viewer, request))[0] == 200
        else:
            assert await viewer.closed()


async def test_http_1_0_may_persist_when_the_length_is_known() -> None:
    async with Front(say_target) as front, await front.viewer() as viewer:
        for _ in range(2):
            await viewer.send(b"GET /a HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
            _, fields = await viewer.read_head()
            assert (b"Connection", b"keep-alive") in fields
            assert await viewer.read_body() == (b"GET /a", True)
        await viewer.send(b"GET /a HTTP/1.0\r\n\r\n")
        assert (await answered(viewer)) == (200, b"GET /a")
        assert await viewer.closed()


@pytest.mark.parametrize(
    "body",
    [
        b"Content-Length: 11\r\n\r\nhello world",
        b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6;x=y\r\n world\r\n0\r\nX-Sum: 1\r\n\r\n",
    ],
)
@pytest.mark.parametrize("step", [1, 1000])
async def test_bodies_and_trailers_travel_both_ways(body: bytes, step: int) -> None:
    request = b"POST / HTTP/1.1\r\nHost: a.test\r\n" + body
    async with Front(echo) as front, await front.viewer() as viewer:
        for _ in range(2):
            for at in range(0, len(request), step):
                await viewer.send(request[at : at + step])
            assert await answered(viewer) == (200, b"hello world")
            assert list(viewer.trailers) == ([(b"X-Sum", b"1")] if b"chunked" in body else [])
        await until(lambda: len(front.deliveries) == 2)
        assert {delivery.bytes_in for delivery in front.deliveries} == {len(request)}


async def test_a_get_may_have_a_body_and_it_is_not_the_next_request() -> None:
    async with Front(echo) as front, await front.viewer() as viewer:
        smuggled = b"GET /smuggled HTTP/1.1\r\nHost: a.test\r\n\r\n"
        body = b"Content-Length: %d\r\n\r\n%b" % (len(smuggled), smuggled)
        assert await exchange(viewer, GET[:-2] + body + GET) == (200, smuggled)
        assert await answered(viewer) == (200, b"")


async def test_100_continue_is_sent_when_the_body_is_wanted() -> None:
    async with Front(echo) as front, await front.viewer() as viewer:
        await viewer.send(b"POST / HTTP/1.1\r\nHost: a.test\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n")
        assert await viewer.read_head() == (100, [])
        assert await exchange(viewer, b"hello") == (200, b"hello")
        assert (await exchange(viewer, GET))[0] == 200


async def test_no_100_continue_when_the_body_is_not_wanted() -> None:
    async with Front(say_target) as front, await front.viewer() as viewer:
        await viewer.send(b"POST / HTTP/1.1\r\nHost: a.test\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n")
        status, fields = await viewer.read_head()
        # The body may come or not: only the close tells what the next bytes are.
        assert (status, fields.get("connection")) == (200, "close")
        assert await viewer.read_body() == (b"POST /", True)
        assert await viewer.closed()


async def test_interim_heads_pass_at_once_and_never_late() -> None:
    kept = []
    goes_on = asyncio.Event()

    async def handle(incoming: Incoming) -> Answer:
        kept.append(incoming.interim)
        incoming.interim(ResponseHead(103, Headers([(b"Link", b"</a.css>")])))
        incoming.interim(ResponseHead(100, Headers()))
        await goes_on.wait()
        return answer(200, b"final")

    async with Front(handle) as front, await front.viewer() as viewer:
        await viewer.send(GET)
        assert await viewer.read_head() == (103, [(b"Link", b"</a.css>")])
        goes_on.set()
        assert await answered(viewer) == (200, b"final")
        kept[0](ResponseHead(103, Headers()))
        assert await exchange(viewer, b"GET / HTTP/1.0\r\n\r\n") == (200, b"final")


@pytest.mark.parametrize(
    ("error", "status", "stays"),
    [
        (OriginTimeout("The origin did not answer."), 504, True),
        (ViewerError("No such host.", status=421), 421, False),
        (RuntimeError("a bug"), 500, False),
    ],
)
async def test_a_pipeline_that_fails(
    error: Exception, status: int, stays: bool, caplog: pytest.LogCaptureFixture
) -> None:
    async def handle(incoming: Incoming) -> Answer:
        raise error

    async with Front(handle) as front, await front.viewer() as viewer:
        assert (await exchange(viewer, GET))[0] == status
        if stays:
            assert (await exchange(viewer, GET))[0] == status
        else:
            assert await viewer.closed()
        bug = isinstance(error, RuntimeError)
        assert front.counters[Counter.REQUESTS_FAILED] == bug
        assert [record.exc_info is not None for record in caplog.records] == [True] * bug


async def test_no_field_of_an_answer_can_end_its_line() -> None:
    async def handle(incoming: Incoming) -> Answer:
        return answer(302, b"", (b"Location", b"/\r\nSet-Cookie: a=b"))

    async with Front(handle) as front, await front.viewer() as viewer:
        await viewer.send(GET)
        status, fields = await viewer.read_head()
        assert (status, fields.get("set-cookie")) == (500, None)
        assert await viewer.read_body() == (b"A field of the answer holds a line end.", True)
        assert await viewer.closed()
        assert [delivery.bytes_out > 0 for delivery in front.deliveries] == [False, True]


@pytest.mark.parametrize("length", [None, 100])
async def test_a_cut_body_is_cut_for_the_viewer(length: int | None) -> None:
    body = Drip([b"begun"], cut=True)
    body.length = length

    async def handle(incoming: Incoming) -> Answer:
        return Answer(ResponseHead(200, Headers()), body)

    async with Front(handle) as front, await front.viewer() as viewer:
        await viewer.send(GET)
        assert (await viewer.read_head())[0] == 200
        assert await viewer.read_body() == (b"begun", False)
        await until(lambda: len(front.deliveries) == 1)
        delivery = front.deliveries[0]
        assert (delivery.complete, delivery.sender_left) == (False, False)
        assert body.closed.is_set()


async def test_a_cut_body_without_framing_ends_in_a_reset() -> None:
    async def handle(incoming: Incoming) -> Answer:
        return Answer(ResponseHead(200, Headers()), Drip([b"begun"], cut=True))

    async with Front(handle) as front, await front.viewer() as viewer:
        await viewer.send(b"GET / HTTP/1.0\r\n\r\n")
        with pytest.raises(ConnectionResetError):
            await viewer.reader.read()


@pytest.mark.parametrize(("length", "blocks"), [(3, [b"hello"]), (9, [b"hello"])])
async def test_a_body_of_another_length_than_it_said_is_cut(length: int, blocks: list[bytes]) -> None:
    async def handle(incoming: Incoming) -> Answer:
        body = Drip(blocks)
        body.length = length
        return Answer(ResponseHead(200, Headers()), body)

    async with Front(handle) as front, await front.viewer() as viewer:
        await viewer.send(GET)
        assert (await viewer.read_head())[1].get("content-length") == str(length)
        assert (await viewer.read_body())[1] is False
        assert front.deliveries[0].complete is False


async def test_a_small_body_nobody_read_is_dropped_and_the_connection_stays() -> None:
    async with Front(say_target) as front, await front.viewer() as viewer:
        body = b"x" * 50_000
        await viewer.send(b"POST /p HTTP/1.1\r\nHost: a.test\r\nContent-Length: 50000\r\n\r\n" + body[:1])
        assert await answered(viewer) == (200, b"POST /p")
        assert await exchange(viewer, body[1:] + GET) == (200, b"GET /a")


@pytest.mark.parametrize("framing", [b"Content-Length: 1000000", b"Transfer-Encoding: chunked"])
async def test_a_large_body_nobody_read_costs_the_connection(framing: bytes) -> None:
    """And its bytes are never taken for a request (CVE-2025-4366, CVE-2022-23959)."""
    seen = []

    async def handle(incoming: Incoming) -> Answer:
        seen.append(incoming.head.target)
        return answer(200, b"early")

    async with Front(handle) as front, await front.viewer() as viewer:
        await viewer.send(b"POST /p HTTP/1.1\r\nHost: a.test\r\n" + framing + b"\r\n\r\n" + b"80\r\n" + GET)
        status, fields = await viewer.read_head()
        assert (status, fields.get("connection")) == (200, "close")
        assert await viewer.read_body() == (b"early", True)
        await viewer.send(GET * 10)
        assert await viewer.closed()
        assert seen == [b"/p"]


async def test_a_body_that_breaks_the_rules_is_a_400_to_who_reads_it() -> None:
    async with Front(echo) as front, await front.viewer() as viewer:
        start = b"POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello"
        status, body = await exchange(viewer, start + b"XX0\r\n\r\n" + GET)
        assert (status, body) == (400, b"The end of a chunk is malformed.")
        assert await viewer.closed()


@pytest.mark.parametrize(
    "framed", [b"Content-Length: 1001\r\n\r\n", b"Transfer-Encoding: chunked\r\n\r\n3e9\r\n" + b"x" * 1001]
)
async def test_a_body_over_the_limit_is_413(framed: bytes) -> None:
    async with Front(echo, body_max=1000) as front, await front.viewer() as viewer:
        assert (await exchange(viewer, b"POST / HTTP/1.1\r\nHost: a.test\r\n" + framed))[0] == 413
        assert await viewer.closed()


async def test_what_went_out_is_said_once_for_every_answer() -> None:
    async with Front(echo) as front, await front.viewer() as viewer:
        request = GET[:-2] + b"Content-Length: 3\r\n\r\nabc"
        before = asyncio.get_running_loop().time()
        await viewer.send(request)
        wire = await viewer.reader.readuntil(b"0\r\n\r\n")
        await until(lambda: len(front.deliveries) == 1)
        delivery = front.deliveries[0]
        assert (delivery.bytes_in, delivery.bytes_out) == (len(request), len(wire))
        assert delivery.first_byte_at is not None
        assert before - 0.01 <= delivery.first_byte_at <= delivery.ended_at
        assert (delivery.complete, delivery.sender_left) == (True, False)


async def test_the_pipeline_learns_how_much_body_is_to_come() -> None:
    lengths = []

    async def handle(incoming: Incoming) -> Answer:
        lengths.append(incoming.body.length)
        await read_all(incoming)
        lengths.append(incoming.body.length)
        incoming.body.close()
        with pytest.raises(BodyAborted):
            await incoming.body.read()
        return Answer(ResponseHead(200, Headers()), BytesBody())

    async with Front(handle) as front, await front.viewer() as viewer:
        await exchange(viewer, GET[:-2] + b"Content-Length: 3\r\n\r\nabc")
        assert lengths == [3, 0]
