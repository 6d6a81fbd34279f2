"""Hits that a connection answers by itself: in order, whole, never from inside a body, at the viewer's pace."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, cast

import pytest
import uvloop
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeproxy.edge.connection import Connection
from edgeproxy.edge.hits import NOTHING
from edgeproxy.model import Rules
from edgeproxy.telemetry.counters import Counter
from tests.scripted import Ask, ScriptedOrigin, Viewer
from tests.tier import Node, node
from tests.wire import until

BOTH_LOOPS = True

SMALL, LARGE = b"a small one", random.Random(1).randbytes(3_000_000)
BODIES = {
    "/small": SMALL,
    "/other": b"another",
    "/middle": LARGE[:40_000],
    "/hundred": LARGE[:100_000],
    "/large": LARGE,
}


async def respond(ask: Ask) -> None:
    """The origin: some bodies to be kept, echoes, and a tunnel."""
    if ask.target in BODIES and ask.method in ("GET", "HEAD") and not ask.header("Content-Length"):
        fields = {"Cache-Control": "max-age=3600", "ETag": f'"{ask.target[1:]}"'}
        await ask.answer(200, fields, BODIES[ask.target])
    elif ask.target == "/tunnel":
        ask.head(101, {"Connection": "Upgrade", "Upgrade": "echo"})
        while byte := await ask.read_raw(1):
            ask.send(byte)
        ask.close()
    else:
        await ask.answer(200, {"Cache-Control": "no-store"}, b"%b %b" % (ask.target.encode(), await ask.body()))


def get(target: str, *lines: str) -> bytes:
    return "\r\n".join([f"GET {target} HTTP/1.1", "Host: a.test", *lines, "", ""]).encode()


@asynccontextmanager
async def prepared(*heads: bytes, rules: Rules = Rules.RFC9111, **given: Any) -> AsyncIterator[Node]:
    """A POP in front of that origin, whose lane knows the answers to these heads."""
    async with ScriptedOrigin() as origin:
        origin.otherwise(respond)
        async with node(origin=origin.url, rules=rules, settings=given) as pop:
            async with await pop.viewer() as viewer:
                for head in heads:
                    await known(pop, viewer, head)
            yield pop


async def known(pop: Node, viewer: Viewer, head: bytes) -> bytes:
    """Ask until the lane answers; the body it gives."""
    for _ in range(5):
        before = pop.count(Counter.LANE_HITS)
        body = await exchange(viewer, head)
        await until(lambda: not pop.count(Counter.FILLS_OPEN))
        if pop.count(Counter.LANE_HITS) > before:
            return body
    raise AssertionError(f"never answered by the lane: {head!r}")


async def exchange(viewer: Viewer, head: bytes) -> bytes:
    await viewer.send(head)
    await viewer.read_head("HEAD" if head.startswith(b"HEAD") else "GET")
    body, whole = await viewer.read_body()
    assert whole
    return body


def connections(pop: Node) -> list[Connection]:
    return [each for worker in pop.workers for listener in worker._listeners for each in listener.connections]


async def test_small_and_large_bodies_come_whole() -> None:
    heads = [get(target) for target in BODIES]
    async with prepared(*heads) as pop, await pop.viewer() as viewer:
        before = pop.count(Counter.LANE_HITS)
        for head, body in zip(heads, BODIES.values(), strict=True):
            assert await exchange(viewer, head) == body
        assert pop.count(Counter.LANE_HITS) == before + len(BODIES)


async def test_pipelined_hits_are_answered_in_order() -> None:
    heads = [get(target) for target in BODIES]
    async with prepared(*heads) as pop, await pop.viewer() as viewer:
        await viewer.send(b"".join(heads * 3))
        for _ in range(3):
            for body in BODIES.values():
                await viewer.read_head("GET")
                assert await viewer.read_body() == (body, True)


async def test_a_part_a_304_and_a_head_come_from_the_lane() -> None:
    part = get("/middle", "Range: bytes=10-19")
    same = get("/small", 'If-None-Match: "small"')
    head = get("/small").replace(b"GET", b"HEAD")
    async with prepared(get("/small"), get("/middle"), part, same, head) as pop, await pop.viewer() as viewer:
        await viewer.send(part + same + head + get("/small"))
        status, fields = await viewer.read_head("GET")
        assert (status, fields.get("Content-Range")) == (206, "bytes 10-19/40000")
        assert await viewer.read_body() == (LARGE[10:20], True)
        assert (await viewer.read_head("GET"))[0] == 304
        status, fields = await viewer.read_head("HEAD")
        assert (status, fields.get("Content-Length")) == (200, str(len(SMALL)))
        await viewer.read_head("GET")
        assert await viewer.read_body() == (SMALL, True)


async def test_the_log_tells_of_hits_what_it_tells_of_all_requests() -> None:
    head = get("/small", "User-Agent: a b", "Referer: http://r/?x", "X-Forwarded-For: 1.2.3.4")
    async with prepared(head, log={"path": "DATA_DIR/log", "format": "w3c", "flush_interval": 0.01}) as pop:
        await pop.reaches(Counter.LOG_LINES, 4)
        rows = [line.split("\t") for line in (pop.directory / "log").read_text().splitlines() if line[0] != "#"]
        asked, at_once = rows[2], rows[3]
        ours = {14, 18, 27}  # id, time-taken, time-to-first-byte
        assert [one for place, one in enumerate(asked) if place not in ours] == [
            one for place, one in enumerate(at_once) if place not in ours
        ]
        assert at_once[9:11] == ["http://r/?x", "a%20b"]
        assert (pop.count(Counter.RESULT_HIT), pop.count(Counter.REQUESTS)) == (3, 4)


async def test_a_viewer_that_reads_nothing_is_given_little_and_nobody_waits_for_it() -> None:
    """What waits for a slow viewer is bounded, whatever it asks for in advance, and costs no turn of the loop."""
    heads = [get("/large"), get("/hundred"), get("/small")]
    async with prepared(*heads) as pop:
        slow = [await pop.viewer() for _ in range(20)]
        for viewer in slow:
            viewer.writer.transport.pause_reading()  # type: ignore[attr-defined]  # a transport that reads
            viewer.writer.write(b"".join(heads) * 30)
        await until(lambda: sum(each._paused for each in connections(pop)) == 20)
        quiet = pop.count(Counter.LANE_HITS)
        async with await pop.viewer() as viewer:
            for _ in range(50):
                assert await exchange(viewer, get("/small")) == SMALL
        assert pop.count(Counter.LANE_HITS) == quiet + 50
        assert max(each._transport.get_write_buffer_size() for each in connections(pop)) <= 128 * 1024
        viewer = slow[0]
        viewer.writer.transport.resume_reading()  # type: ignore[attr-defined]  # as above
        for _ in range(30):
            for body in (LARGE, BODIES["/hundred"], SMALL):
                await viewer.read_head("GET")
                assert await viewer.read_body() == (body, True)
        for viewer in slow:
            viewer.reset()


async def test_a_viewer_that_leaves_in_the_middle_is_logged_as_that() -> None:
    async with prepared(get("/large"), log={"path": "DATA_DIR/log", "flush_interval": 0.01}) as pop:
        viewer = await pop.viewer()
        viewer.writer.transport.pause_reading()  # type: ignore[attr-defined]  # a transport that reads
        await viewer.send(get("/large") * 4)
        await until(lambda: any(each._pour is not None for each in connections(pop)))
        viewer.reset()
        await pop.reaches(Counter.RESULT_ERROR, 1)
        await until(lambda: not connections(pop))
        await pop.reaches(Counter.LOG_LINES, pop.count(Counter.REQUESTS))
        last = (pop.directory / "log").read_text().splitlines()[-1].split("\t")
        assert (last[13], last[28]) == ("Error", "ClientHungUpRequest")


async def test_a_half_closed_viewer_gets_its_large_answer() -> None:
    async with prepared(get("/large")) as pop, await pop.viewer() as viewer:
        await viewer.send(get("/large"))
        viewer.finish()
        await viewer.read_head("GET")
        assert await viewer.read_body() == (LARGE, True)
        assert await viewer.closed()


async def test_draining_ends_after_the_answer_that_has_begun() -> None:
    async with prepared(get("/large")) as pop, await pop.viewer() as viewer:
        viewer.writer.transport.pause_reading()  # type: ignore[attr-defined]  # a transport that reads
        await viewer.send(get("/large") * 9)
        await until(lambda: any(each._paused for each in connections(pop)))
        begun = pop.count(Counter.LANE_HITS) - 1
        draining = asyncio.ensure_future(pop.workers[0].drain(10))
        await until(lambda: not pop.workers[0]._listeners[0]._sockets)
        viewer.writer.transport.resume_reading()  # type: ignore[attr-defined]  # as above
        for _ in range(begun):
            await viewer.read_head("GET")
            assert await viewer.read_body() == (LARGE, True)
        assert await viewer.closed()
        assert begun < 9
        viewer.writer.close()
        await draining


async def test_a_connection_that_is_busy_with_hits_is_not_idle_and_one_that_rests_is() -> None:
    timeouts = {"idle_timeout": 0.3, "header_timeout": 0.2}
    async with prepared(get("/small"), connections=timeouts) as pop, await pop.viewer() as viewer:
        began = time.monotonic()
        while time.monotonic() < began + 0.5:
            assert await exchange(viewer, get("/small")) == SMALL
        assert await viewer.closed()
        assert time.monotonic() > began + 0.75
        assert pop.count(Counter.TIMEOUTS_IDLE) >= 1


class Holding:
    """A transport that has not given everything to the system yet."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport

    def get_write_buffer_size(self) -> int:
        return 1

    def __getattr__(self, name: str) -> Any:  # whatever else a transport does
        return getattr(self._transport, name)


async def test_nothing_overtakes_what_the_transport_still_holds() -> None:
    async with prepared(get("/small")) as pop, await pop.viewer() as viewer:
        assert await exchange(viewer, get("/missed")) == b"/missed "
        (connection,) = (each for each in connections(pop) if each._exchange is None and each._outlet is not None)
        connection._transport = cast(asyncio.Transport, Holding(connection._transport))
        connection._ready = NOTHING
        hits = pop.count(Counter.LANE_HITS)
        for _ in range(2):
            assert await exchange(viewer, get("/small")) == SMALL
        assert pop.count(Counter.LANE_HITS) == hits


async def test_a_head_that_comes_in_pieces_leaves_no_time_out_behind() -> None:
    timeouts = {"header_timeout": 0.2}
    async with prepared(get("/small"), connections=timeouts) as pop, await pop.viewer() as viewer:
        await viewer.send(get("/small")[:20])
        await until(lambda: any(len(each._heads) for each in connections(pop)))
        await exchange(viewer, get("/small")[20:])
        began = time.monotonic()
        while time.monotonic() < began + 0.4:
            assert await exchange(viewer, get("/small")) == SMALL
        assert not pop.count(Counter.TIMEOUTS_HEADER)


@pytest.mark.parametrize(
    "lines",
    [
        ("Connection: close",), ("Cache-Control: no-cache",), ("Content-Length: 0",), ("Expect: 100-continue",),
        ("Upgrade: x", "Connection: upgrade"), ("Host: b.test",), (" folded",), ("Bad name: x",), ("If-Match: x",),
        ("TE: trailers",),
    ],
)  # fmt: skip
async def test_what_is_not_plain_is_left_to_the_pipeline(lines: Sequence[str]) -> None:
    async with prepared(get("/small")) as pop:
        before = pop.count(Counter.LANE_HITS)
        for _ in range(3):
            async with await pop.viewer() as viewer:
                await viewer.send(get("/small", *lines))
                await viewer.read_head("GET")
        assert pop.count(Counter.LANE_HITS) == before


# One connection, anything on it ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Step:
    """What a viewer sends, and the answer it must get; `last`: nothing is answered after this one."""

    sent: bytes
    status: int
    body: bytes | None
    method: str = "GET"
    last: bool = False
    tunnel: bool = False


def post(body: bytes, *, chunks: Sequence[int] = ()) -> bytes:
    start = b"POST /post HTTP/1.1\r\nHost: a.test\r\n"
    if not chunks:
        return start + b"Content-Length: %d\r\n\r\n%b" % (len(body), body)
    pieces, rest = [], body
    for size in chunks:
        if rest:
            pieces.append(b"%x\r\n%b\r\n" % (len(rest[:size]), rest[:size]))
        rest = rest[size:]
    if rest:
        pieces.append(b"%x\r\n%b\r\n" % (len(rest), rest))
    return start + b"Transfer-Encoding: chunked\r\n\r\n" + b"".join(pieces) + b"0\r\n\r\n"


HITS = st.sampled_from(sorted(BODIES)).map(lambda target: Step(get(target), 200, BODIES[target]))
MEANS_THE_SAME = st.integers(0, 9).map(lambda n: Step(get("/small", f"X-Trace: {n}"), 200, SMALL))
VARIANTS = st.sampled_from(
    [
        Step(get("/small").replace(b"GET", b"HEAD"), 200, b"", "HEAD"),
        Step(get("/small", 'If-None-Match: "small"'), 304, b""),
        Step(get("/middle", "Range: bytes=5-14"), 206, LARGE[5:15]),
        Step(get("/missed"), 200, b"/missed "),
        Step(get("/small", "Upgrade: h2c", "Connection: upgrade"), 200, SMALL),
        Step(b"\r\n" + get("/other"), 200, b"another"),
    ]
)
LOOKS_LIKE_REQUESTS = st.lists(st.sampled_from([get("/small"), get("/hundred"), b"\r\n\r\n", b"0\r\n\r\n"]), max_size=4)
UPLOADS = st.builds(
    lambda parts, chunks: Step(post(b"".join(parts), chunks=chunks), 200, b"/post " + b"".join(parts)),
    LOOKS_LIKE_REQUESTS,
    st.lists(st.integers(1, 60), max_size=5),
)
WITH_CONTENT = LOOKS_LIKE_REQUESTS.map(
    lambda parts: Step(
        get("/small", f"Content-Length: {len(b''.join(parts))}") + b"".join(parts),
        200,
        SMALL if not b"".join(parts) else b"/small " + b"".join(parts),
    )
)
ENDS = st.sampled_from(
    [
        Step(get("/small", "Content-Length: 5x"), 400, None, last=True),
        Step(get("/small", "Content-Length: 3", "Transfer-Encoding: chunked"), 400, None, last=True),
        Step(get("/small", " folded: x"), 400, None, last=True),
        Step(b"GET /small\r\n\r\n", 400, None, last=True),
        Step(get("/small", "Host: b.test"), 400, None, last=True),
        Step(get("/small", "Connection: close"), 200, SMALL, last=True),
        Step(get("/small").replace(b"1.1", b"1.0"), 200, SMALL, last=True),
        Step(b"POST /post HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 400, None, last=True),
        Step(get("/tunnel", "Upgrade: echo", "Connection: upgrade"), 101, None, tunnel=True),
    ]
)
CONVERSATIONS = st.builds(
    lambda steps, end, after: [*steps, *end, *(after if end else [])],
    st.lists(st.one_of(HITS, MEANS_THE_SAME, VARIANTS, UPLOADS, WITH_CONTENT), min_size=1, max_size=12),
    st.lists(ENDS, max_size=1),
    st.lists(HITS, max_size=3),
)


async def converse(steps: Sequence[Step], cuts: Sequence[int], seed: int) -> int:
    """Send all of it in pieces, read all that comes back, compare. Returns how many answers came from the lane."""
    heads = [*map(get, BODIES), get("/middle", "Range: bytes=5-14"), get("/small", 'If-None-Match: "small"')]
    async with prepared(*heads, log={"path": "off"}) as pop, await pop.viewer() as viewer:
        before = pop.count(Counter.LANE_HITS)
        stream = b"".join(step.sent for step in steps)
        places = sorted({0, len(stream), *(cut % (len(stream) + 1) for cut in cuts)})
        chance = random.Random(seed)

        async def send() -> None:
            with contextlib.suppress(ConnectionError):
                for start, end in pairwise(places):
                    await viewer.send(stream[start:end])
                    for _ in range(chance.choice((0, 0, 1, 5, 20))):
                        await asyncio.sleep(0)
                if not any(step.last for step in steps):
                    viewer.finish()

        sending = asyncio.ensure_future(send())
        await _expect(viewer, steps)
        await sending
        return pop.count(Counter.LANE_HITS) - before


async def _expect(viewer: Viewer, steps: Sequence[Step]) -> None:
    for number, step in enumerate(steps):
        status, _ = await viewer.read_head(step.method)
        assert status == step.status, step.sent
        if step.tunnel:
            rest = b"".join(later.sent for later in steps[number + 1 :])
            async with asyncio.timeout(10):
                assert await viewer.reader.readexactly(len(rest)) == rest
            break
        body, whole = await viewer.read_body()
        assert whole
        assert step.body is None or body == step.body, step.sent
        if step.last:
            break
    assert await viewer.closed(), "an answer too many"


@settings(max_examples=60, deadline=None)
@given(CONVERSATIONS, st.lists(st.integers(0, 100_000), max_size=30), st.integers(0, 1000))
def test_answers_come_in_order_and_whole_and_nothing_inside_a_body_is_answered(
    steps: list[Step], cuts: list[int], seed: int
) -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop if seed % 2 else None) as runner:
        runner.run(converse(steps, cuts, seed))


async def test_that_search_meets_the_lane() -> None:
    steps = [Step(get(target), 200, body) for target, body in BODIES.items()]
    assert await converse(steps, [30, 50, 5000], 1) == len(steps)


async def test_that_search_notices_an_answer_from_inside_a_body() -> None:
    with pytest.raises(AssertionError):
        await converse([Step(post(get("/small")), 200, b"something else")], [], 1)
