"""The cases with the hit lane and the shortcut on, and with both off: both ways must answer alike, byte by byte, log
alike, and ask the origin alike.

The clocks stand still, so Age and Date are compared too. What is made at random is not: request ids, boundaries of
several parts; nor is what is measured: the log's times, ports.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import SupportsIndex

from edgeproxy.telemetry.counters import Counter
from tests.conformance.case import Ask, Case, rendered
from tests.conformance.sockets import HOST, START, Arrangement, Script, nodes_of
from tests.scripted import Viewer
from tests.tier import Node
from tests.wire import until

TIMES = 4
"""A request is sent so often: at the second and third it may be a hit, then it is known, and comes from the lane."""

_RANDOM = re.compile(rb"[\w-]{54}==|(?<=boundary=)[0-9a-f]{24}|(?<=\r\n--)[0-9a-f]{24}")
_BOUNDARY = re.compile("boundary=[0-9a-f]{24}")
_MEASURED = {"x-edge-request-id", "time-taken", "time-to-first-byte", "c-port", "date", "time"}


@dataclass
class Heard:
    """What a viewer got, and what the log says of it."""

    bytes: list[bytes] = field(default_factory=list)
    log: list[tuple[str, ...]] = field(default_factory=list)
    asked: list[tuple[str, tuple[tuple[str, str], ...]]] = field(default_factory=list)
    """What the origin was asked."""
    at_once: int = 0
    """Answers that came from the lane."""
    short: int = 0
    """Requests that took the shortcut, to its end."""


async def differences(case: Case, arrangement: Arrangement) -> tuple[list[str], int]:
    """What differs between the lanes, and how many answers came from the faster one."""
    quick, slow = await listen(case, arrangement, lane=True), await listen(case, arrangement, lane=False)
    found = [
        f"answer {number}: {one!r} with the lane, {other!r} without"
        for number, (one, other) in enumerate(zip(quick.bytes, slow.bytes, strict=True))
        if one != other
    ]
    if slow.at_once:
        found.append("a lane that is off has answered")
    if slow.short:
        found.append("a shortcut that is off was taken")
    if quick.asked != slow.asked:
        found.append(f"the origin was asked: {quick.asked} with the lane, {slow.asked} without")
    if sorted(quick.log) != sorted(slow.log):  # two workers write one file: in no certain order
        found.append(f"the log: {quick.log} with the lane, {slow.log} without")
    return found, quick.at_once


async def listen(case: Case, arrangement: Arrangement, *, lane: bool) -> Heard:
    """Play a case, every request several times on one connection, and note all bytes that come back."""
    heard, script = Heard(), Script()
    settings = {
        "log": {"path": "DATA_DIR/access.log", "flush_interval": 0.01},
        "cache": {"memory": "1 MiB"},
        "connections": {"hit_lane": lane, "shortcut_plans": 100 if lane else 0},
    }
    async with nodes_of(case, arrangement, script, settings) as nodes:
        pop = nodes[0]
        elapsed, sent = 0.0, 0
        for number, ask in enumerate(case.asks):
            elapsed += ask.wait
            for each in nodes:
                each.advance(ask.wait)
            script.number, script.ask, script.seen = number, ask, []
            async with await Viewer.connect(pop.ports[number % len(pop.ports)]) as viewer:
                for _ in range(TIMES):
                    heard.bytes.append(await _exchange(viewer, case, ask, START + elapsed))
                    sent += 1
                    await until(lambda: not sum(each.count(Counter.FILLS_OPEN) for each in nodes))
                    if viewer.reader.at_eof():
                        break
            heard.asked += [(each.line, _told(each.headers)) for each in script.seen]
        await pop.reaches(Counter.LOG_LINES, sent)
        heard.log = _lines(pop)
        heard.at_once = pop.count(Counter.LANE_HITS)
        heard.short = pop.count(Counter.SHORTCUTS) - pop.count(Counter.SHORTCUT_LEFT)
    return heard


async def _exchange(viewer: Viewer, case: Case, ask: Ask, now: float) -> bytes:
    """One request and every byte of its answer, without what is made at random."""
    received: list[bytes] = []
    feed = viewer.reader.feed_data

    def noted(data: Iterable[SupportsIndex]) -> None:
        received.append(bytes(data))
        feed(data)

    viewer.reader.feed_data = noted  # type: ignore[method-assign]  # the bytes are wanted as they come
    fields = [(name, rendered(value, now)) for name, value in ask.headers]
    await viewer.ask(f"/{case.id}{ask.path}", fields, method=ask.method, host=HOST)
    status, _ = await viewer.read_head()
    while 100 <= status < 200:
        status, _ = await viewer.read_head()
    await viewer.read_body()
    viewer.reader.feed_data = feed  # type: ignore[method-assign]  # as above
    return _RANDOM.sub(b"(random)", b"".join(received))


def _told(fields: tuple[tuple[str, str], ...]) -> tuple[tuple[str, str], ...]:
    """What an origin was told, without what is made at random and where it is."""
    return tuple(
        (name, value) for name, value in fields if name.lower() not in ("host", "x-amz-cf-id", "edgeproxy-hop")
    )


def _lines(node: Node) -> list[tuple[str, ...]]:
    """The log without what is measured."""
    names: list[str] = []
    rows = []
    for line in (node.directory / "access.log").read_text().splitlines():
        if line.startswith("#Fields: "):
            names = line.split(" ")[1:]
        elif not line.startswith("#"):
            row = zip(names, line.split("\t"), strict=True)
            rows.append(tuple(_BOUNDARY.sub("", value) for name, value in row if name not in _MEASURED))
    return rows
