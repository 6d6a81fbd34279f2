"""Seeded histories of one resource: it changes, viewers ask for it and for parts of it, time passes.

The oracle knows every version the resource has had and when. An answer must be made of one version only, the one that
its ETag names, and that version must have been current within the lifetime that the origin gave, or since the last
change that went through the cache, whichever is later. Of a single node that has given out a version, nobody is given
an older one: it is one cache, whichever of its workers is asked.
"""

from __future__ import annotations

import asyncio
import random
import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from edgeproxy.model import Mode
from edgeproxy.telemetry.counters import Counter
from tests.scripted import Ask, ScriptedOrigin
from tests.tier import Got, Node, node
from tests.wire import until

START = 1_700_000_000.0
LIFETIME = 20
VALIDATORS = ("strong", "weak", "date", "none")


@dataclass(frozen=True)
class Version:
    """What the resource was from a moment on (seconds after START)."""

    number: int
    since: float
    body: bytes
    kind: str

    def fields(self) -> list[tuple[str, str]]:
        """Its validators."""
        tag, day = f'"{self.number}"', f"Mon, 0{self.number % 9 + 1} Jan 20{self.number // 9 + 10} 00:00:00 GMT"
        match self.kind:
            case "strong":
                return [("ETag", tag), ("Last-Modified", day)]
            case "weak":
                return [("ETag", f"W/{tag}")]
            case "date":
                return [("Last-Modified", day)]
            case _:
                return []

    def validator(self) -> str | None:
        """What a viewer may compare it with, a tag where there is one."""
        fields = self.fields()
        return fields[0][1] if fields else None


class History:
    """One run. `pick` decides everything that chance decides."""

    def __init__(self, seed: int) -> None:
        self.pick = random.Random(seed)
        self.kind = VALIDATORS[seed % len(VALIDATORS)]
        self.calm = bool(seed % 3)
        """Changes are few, and hardly anybody asks for the whole: parts have time to grow together."""
        self.now = 0.0
        self.versions: list[Version] = []
        self.floor = 0
        """The number of the version that the last change through the cache made."""
        self.newest = 0
        """The number of the newest version given out before the present requests."""
        self.change()

    def change(self) -> None:
        """The resource becomes another; now and then one of the same length."""
        size = 1000 if self.pick.random() < 0.5 else self.pick.randrange(300, 3000)
        body = self.pick.randbytes(size)
        self.versions.append(Version(len(self.versions), self.now, body, self.kind))

    def admissible(self) -> list[Version]:
        """The versions that an answer may be made of now."""
        ends = [version.since for version in self.versions[1:]] + [float("inf")]
        return [
            version
            for version, end in zip(self.versions, ends, strict=True)
            if version.number >= self.floor and end >= self.now - LIFETIME
        ]

    # -- the origin -------------------------------------------------------------------------------------------------

    async def answer(self, ask: Ask) -> None:
        """An honest origin; at times it overlooks Range, or sends its body in chunks."""
        if ask.method == "POST":
            self.change()
            await ask.answer(204)
            return
        version = self.versions[-1]
        fields = [("Cache-Control", f"max-age={LIFETIME}, must-revalidate"), *version.fields()]
        if self._not_modified(ask, version):
            await ask.answer(304, fields)
            return
        ranged = re.fullmatch(r"bytes=(\d*)-(\d*)", ask.header("Range") or "")
        condition = ask.header("If-Range")
        holds = condition is None or (condition == version.validator() and not condition.startswith("W/"))
        status, body = 200, version.body
        if ranged and holds and ask.method == "GET" and self.pick.random() < 0.9:
            first, last = bounds(ranged[1], ranged[2], len(body))
            if first > last:
                await ask.answer(416, [("Content-Range", f"bytes */{len(body)}")])
                return
            fields.append(("Content-Range", f"bytes {first}-{last}/{len(body)}"))
            status, body = 206, body[first : last + 1]
        if self.pick.random() < 0.2 and ask.method == "GET":
            ask.head(status, [*fields, ("Transfer-Encoding", "chunked")])
            half = len(body) // 2
            for piece in filter(None, (body[:half], body[half:])):
                ask.chunk(piece)
            ask.chunk(b"")
            ask.done()
        else:
            await ask.answer(status, fields, body)

    def _not_modified(self, ask: Ask, version: Version) -> bool:
        tags, since = ask.header("If-None-Match"), ask.header("If-Modified-Since")
        validator = version.validator()
        if tags is not None:
            own = None if validator is None else validator.removeprefix("W/")
            return any(tag.strip().removeprefix("W/") == own for tag in tags.split(","))
        return since is not None and since == validator

    # -- a viewer ---------------------------------------------------------------------------------------------------

    def question(self) -> tuple[str, list[tuple[str, str]]]:
        """A method and the fields of a request."""
        fields: list[tuple[str, str]] = []
        if self.pick.random() < 0.1:
            fields.append(("Cache-Control", "no-cache"))
        known = self.pick.choice(self.versions).validator()
        dice = self.pick.random()
        if dice < 0.1:
            return "HEAD", fields
        if dice < 0.2 and known is not None and self.kind != "date":
            return "GET", [*fields, ("If-None-Match", known)]
        if dice < (0.97 if self.calm else 0.75):
            fields.append(("Range", self._range()))
            if known is not None and self.pick.random() < 0.2:
                fields.append(("If-Range", known))
        return "GET", fields

    def _range(self) -> str:
        first = self.pick.randrange(0, 1100)
        form = self.pick.randrange(6)
        if form == 0:
            return f"bytes=-{self.pick.randrange(1, 900)}"
        if form == 1:
            return f"bytes={first}-"
        if form == 2:
            return f"bytes=0-1,{first + 100}-{first + 200}"
        return f"bytes={first}-{first + self.pick.randrange(0, 300)}"

    def faults(self, method: str, fields: list[tuple[str, str]], got: Got) -> list[str]:
        """What is wrong with an answer."""
        said = dict(fields)
        allowed = self.admissible()
        if "Cache-Control" in said:
            allowed = allowed[-1:]
        tag = got.header("ETag")
        if tag is not None:
            allowed = [version for version in allowed if version.validator() == tag]
        if got.cut:
            return [f"cut after {len(got.body)} bytes"]
        if any(self._fits(version, method, said, got) for version in allowed):
            return []
        shape = f"{got.status} {got.header('Content-Range')} {len(got.body)} bytes, ETag {tag}"
        return [f"at {self.now}, {method} {said}: {shape} is of no version of {[each.number for each in allowed]}"]

    def regressions(self, answers: list[Got]) -> list[str]:
        """Versions given out that are older than one given out before."""
        tags = {version.validator(): version.number for version in self.versions}
        given = [tags[got.header("ETag")] for got in answers if got.status != 416 and got.header("ETag") is not None]
        older = [number for number in given if number < self.newest]
        self.newest = max([self.newest, *given])
        return [f"at {self.now}: version {number} after {self.newest}" for number in older]

    def _fits(self, version: Version, method: str, said: dict[str, str], got: Got) -> bool:
        size = len(version.body)
        named = re.fullmatch(r"bytes (?:(\d+)-(\d+)|\*)/(\d+)", got.header("Content-Range") or "")
        if got.status == 304:
            return said.get("If-None-Match") == version.validator()
        if method == "HEAD":
            return got.status == 200 and got.header("Content-Length") in (None, str(size)) and not got.body
        if got.status == 416:
            return named is not None and int(named[3]) == size and "Range" in said
        if got.status == 206 and named is not None:
            first, last = int(named[1]), int(named[2])
            as_asked = self._as_asked(said, version, first, last)
            return as_asked and int(named[3]) == size and got.body == version.body[first : last + 1]
        if got.status == 206:
            return self._several(version, got)
        return got.status == 200 and got.body == version.body

    def _as_asked(self, said: dict[str, str], version: Version, first: int, last: int) -> bool:
        if "If-Range" in said and said["If-Range"] != version.validator():
            return False
        single = re.fullmatch(r"bytes=(\d*)-(\d*)", said.get("Range", ""))
        if single is None:
            return "Range" in said  # of several the origin may be left with one
        return (first, last) == bounds(single[1], single[2], len(version.body))

    def _several(self, version: Version, got: Got) -> bool:
        parts = re.findall(rb"Content-Range: bytes (\d+)-(\d+)/(\d+)\r\n\r\n", got.body)
        return bool(parts) and all(
            int(size) == len(version.body) and version.body[int(first) : int(last) + 1] in got.body
            for first, last, size in parts
        )


def bounds(first: str, last: str, size: int) -> tuple[int, int]:
    """The first and the last byte that a range names in a body of this size; crossed when there are none."""
    if not first:
        return max(size - int(last), 0), size - 1
    return int(first), min(int(last), size - 1) if last else size - 1


@asynccontextmanager
async def _nodes(arrangement: str, origin: str) -> AsyncIterator[list[Node]]:
    cache = {"memory": "1 MiB", "disk": "32 MiB" if "disk" in arrangement else 0, "disk_shards": 2}
    common = {"settings": {"log": {"path": "off"}, "cache": cache}, "wall": lambda: START}
    workers = 2 if "2" in arrangement else 1
    async with AsyncExitStack() as stack:
        regional = None
        if arrangement.startswith("tiers"):
            regional = await stack.enter_async_context(
                node(mode=Mode.REGIONAL, origin=origin, workers=workers, **common)  # type: ignore[arg-type]  # by keyword
            )
        pop = await stack.enter_async_context(
            node(origin=origin, upstream=regional, workers=workers, apart=True, **common)  # type: ignore[arg-type]  # by keyword
        )
        yield [pop] if regional is None else [pop, regional]


async def live(seed: int, arrangement: str, steps: int) -> list[str]:
    """Play a history; what went wrong. `arrangement`: pop, pop2, tiers or tiers2 (with two workers each); with "disk"
    in it, what is in memory is forgotten now and then, and comes from disk."""
    history, found = History(seed), []
    async with ScriptedOrigin() as origin, _nodes(arrangement, origin.url) as nodes:
        origin.otherwise(history.answer)
        pop = nodes[0]
        for _ in range(steps):
            dice = history.pick.random()
            if dice < (0.03 if history.calm else 0.08):
                history.change()
            elif dice < (0.04 if history.calm else 0.14):
                changed = await pop.ask("/a", method="POST", worker=history.pick.randrange(len(pop.ports)))
                assert changed.status == 204
                history.floor = history.versions[-1].number
            elif dice < 0.3:
                seconds = history.pick.choice([1, 2, 5, LIFETIME])
                history.now += seconds
                for each in nodes:
                    each.advance(seconds)
            if "disk" in arrangement and history.pick.random() < 0.5:
                for each in nodes:
                    each.forget_everything()
            questions = [history.question() for _ in range(history.pick.choice([1, 1, 2, 5]))]
            answers = await asyncio.gather(
                *(
                    pop.ask("/a", fields, method=method, worker=history.pick.randrange(len(pop.ports)))
                    for method, fields in questions
                )
            )
            for (method, fields), got in zip(questions, answers, strict=True):
                found += history.faults(method, fields, got)
            if history.pick.random() < 0.7:
                await until(lambda: not sum(each.count(Counter.FILLS_OPEN) for each in nodes))
                if len(nodes) == 1:
                    found += history.regressions(answers)
        found += ["a fault of ours"] * sum(each.count(Counter.REQUESTS_FAILED) for each in nodes)
    return [f"seed {seed}, {arrangement}: {fault}" for fault in found]
