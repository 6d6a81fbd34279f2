"""The cases through running nodes: a raw viewer, real workers, a scripted origin, loopback sockets between them.

Time. The nodes' real clock stands at START and only the test clock moves, so every second counted is one that the case
moved. The origin knows nothing of the test clock: a date {+60} in a reply is 60 seconds after START, and the node moves
Date and Expires along on arrival (edge/dates.py), which makes it 60 seconds after the present of the case. A viewer
lives in the moved present. Dates that a case spells out are never moved: they are those of a first reply, or
Last-Modified, which nobody moves.

What happens behind an answer (the rest of a body on its way into the store, a refresh in the background) is waited for
before the next request, by the gauge of open fetches. A request of a refresh in the background does not count as asked
before the answer, whichever of the two is faster.
"""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from email.message import Message as Mime
from email.parser import BytesParser
from enum import Enum
from typing import Any

from edgeproxy.configuration import origin_only
from edgeproxy.model import Caching, Distribution, Mode, Rules, Ttl
from edgeproxy.telemetry.counters import Counter
from tests.conformance.case import Ask, Case, Reply, rendered
from tests.conformance.judge import Message, faults
from tests.scripted import Ask as Asked
from tests.scripted import ScriptedOrigin
from tests.tier import Got, Node, node
from tests.wire import until

START = 1_700_000_000.0
HOST = "www.example.com"
SETTINGS: dict[str, Any] = {
    "log": {"path": "off"},
    "cache": {"memory": "1 MiB", "disk": 0},
    "fills": {"interval": 1, "read_ahead": 0},
}
"""Nothing is rounded up: the origin answers with the part that a case names, whatever part is asked for."""
_BODILESS = frozenset({204, 205, 304})


class Arrangement(Enum):
    """What stands between the viewer and the origin."""

    POP = "pop"
    POP2 = "pop2"
    """A POP of two workers, asked in turn."""
    TIERS = "tiers"
    """A POP and a regional."""


EXCEPTIONS: dict[tuple[str, Arrangement], str] = {
    ("method-post-content-location", Arrangement.POP2): (
        "RFC 9111 section 2: caching is an entirely OPTIONAL feature of HTTP. A POST goes to the origin through the "
        "worker that the viewer reached; where that one does not own the key, what the POST brought is not kept."
    ),
}
"""Cases that do not hold in an arrangement, and the sentence that permits it."""

EXCEPTIONS_WITH_DISK = {
    "method-head-head": (
        "RFC 9111 section 2: caching is an entirely OPTIONAL feature of HTTP. What answered a HEAD alone is kept under "
        "a key of its own, and on disk only where the worker that owns the resource owns that key as well."
    ),
    "part-no-validator": (
        "RFC 9111 section 3.3: a cache MAY store an incomplete response. A part without a strong validator, to which "
        "nothing may ever be added, is kept in memory only, and this run forgets what is there."
    ),
}
"""Cases that do not hold when all that is kept is on disk."""


class Script:
    """The origin's side of a case."""

    def __init__(self) -> None:
        self.number = 0
        self.ask = Ask()
        self.seen: list[Message] = []

    async def answer(self, asked: Asked) -> None:
        """Answer as the present ask of the case says."""
        await asked.body()
        message = Message(asked.method, _text(asked.headers))
        self.seen.append(message)
        said = self.ask.reply
        if message.conditional() and self.ask.conditional_reply is not None:
            said = self.ask.conditional_reply
        if said.silent:
            asked.close()
            return
        fields = [(name, rendered(value, START)) for name, value in said.headers]
        if said.status != 304:
            fields.append(("Reply-Id", str(self.number)))
        await asked.answer(said.status, fields, self._body(said))

    def _body(self, said: Reply) -> bytes:
        if said.status in _BODILESS:
            return b""
        return f"body {self.number}".encode() if said.body is None else said.body.encode()


async def play(case: Case, arrangement: Arrangement, *, disk: bool = False) -> list[str]:
    """What goes wrong when a case is played; nothing, one hopes. Two workers take turns, each beginning once.

    With a `disk` the nodes keep what is stored there too, and nothing of it in memory from one request to the next.
    """
    if arrangement is Arrangement.POP2:
        return [*await _play(case, arrangement, 0, disk), *await _play(case, arrangement, 1, disk)]
    return await _play(case, arrangement, 0, disk)


async def _play(case: Case, arrangement: Arrangement, first: int, disk: bool) -> list[str]:
    script, found, elapsed = Script(), [], 0.0
    cache = {"memory": "1 MiB", "disk": "16 MiB" if disk else 0, "disk_shards": 2}
    async with nodes_of(case, arrangement, script, SETTINGS | {"cache": cache}) as nodes:
        pop = nodes[0]
        for number, ask in enumerate(case.asks):
            elapsed += ask.wait
            for each in nodes:
                each.advance(ask.wait)
            now = START + elapsed
            script.number, script.ask, script.seen = number, ask, []
            refreshed = _total(nodes, Counter.REFRESHES)
            fields = [(name, rendered(value, now)) for name, value in ask.headers]
            target = f"/{case.id}{ask.path}"
            worker = (first + number) % len(pop.ports)
            got = await pop.ask(target, fields, method=ask.method, host=HOST, worker=worker)
            seen = [] if _total(nodes, Counter.REFRESHES) > refreshed else list(script.seen)
            found += [
                f"ask {number}: {fault} (first worker: {first})" for fault in faults(ask, _answer(got), seen, now)
            ]
            await until(lambda: not _total(nodes, Counter.FILLS_OPEN))
            if disk:
                for each in nodes:
                    each.forget_everything()
        if failed := _total(nodes, Counter.REQUESTS_FAILED):
            found.append(f"{failed} requests met a fault of ours")
    return found


@asynccontextmanager
async def nodes_of(
    case: Case, arrangement: Arrangement, script: Script, settings: dict[str, Any] = SETTINGS
) -> AsyncIterator[list[Node]]:
    """The nodes of an arrangement, the one that viewers ask first, in front of an origin that plays the script."""
    async with AsyncExitStack() as stack:
        origin = await stack.enter_async_context(ScriptedOrigin())
        origin.otherwise(script.answer)
        served = [_distribution(case, origin.url)]
        rules = served[0].rules
        regional = None
        if arrangement is Arrangement.TIERS:
            regional = await stack.enter_async_context(
                node(mode=Mode.REGIONAL, distributions=served, rules=rules, settings=settings, wall=_real_time)
            )
        pop = await stack.enter_async_context(
            node(
                upstream=regional,
                distributions=served,
                rules=rules,
                settings=settings,
                wall=_real_time,
                workers=2 if arrangement is Arrangement.POP2 else 1,
                apart=True,
            )
        )
        yield [pop] if regional is None else [pop, regional]


def _distribution(case: Case, url: str) -> Distribution:
    if case.ttl is None:
        return dataclasses.replace(origin_only(url, Rules.RFC9111), revision="0")
    plain = origin_only(url, Rules.CLOUDFRONT)
    behavior = dataclasses.replace(plain.behaviors[0], caching=Caching(Rules.CLOUDFRONT, Ttl(*case.ttl)))
    return dataclasses.replace(plain, revision="0", behaviors=(behavior,))


def _real_time() -> float:
    return START


def _total(nodes: Sequence[Node], counter: Counter) -> int:
    return sum(each.count(counter) for each in nodes)


def _answer(got: Got) -> Message:
    """An answer as the judge reads it: of several parts the bodies, with a bar between them."""
    kind = got.header("Content-Type") or ""
    body = got.body
    if got.status == 206 and kind.startswith("multipart/byteranges"):
        parsed: Mime = BytesParser().parsebytes(f"Content-Type: {kind}\r\n\r\n".encode() + body)
        payloads = [part.get_payload(decode=True) for part in parsed.walk() if not part.is_multipart()]
        body = b"|".join(payload for payload in payloads if isinstance(payload, bytes))
    return Message(str(got.status), _text(got.headers), body)


def _text(fields: Sequence[tuple[bytes, bytes]]) -> tuple[tuple[str, str], ...]:
    return tuple((name.decode("latin-1"), value.decode("latin-1")) for name, value in fields)
