"""The feed's server side: one long-lived exchange per node, records going down and acknowledgements coming up.

POST /feed?node=NAME&incarnation=ID&epoch=EPOCH&from=NUMBER, proven by the key of the tiers. Both bodies are lines of
`feed.py` and neither ends before the node leaves. With `observer=1` instead of a name, nobody waits for the reader.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from bisect import bisect_right
from collections.abc import AsyncIterator, Sequence

from aiohttp import web
from cachetools import LRUCache

from edgeproxy.control.access import is_tier
from edgeproxy.control.plane import Plane, Session
from edgeproxy.control.refusals import Refused, refuse
from edgeproxy.errors import OriginInvalid
from edgeproxy.feed import Beat, Heard, Hello, Marker, Record, Withdrawn, decode, encode

PATH = "/feed"
TIER = "EdgeProxy-Tier"
BEATS_MISSED = 3
"""A node that has said nothing for so many beats is cut off; it comes back when it can."""
CHUNK = 256 * 1024
"""Bytes written at once."""
OBSERVERS_MAX = 1000

_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?")
_ID = re.compile(r"[A-Za-z0-9-]{1,64}")


class Streams:
    """The handler of /feed."""

    def __init__(self, plane: Plane, tier_key: str | None) -> None:
        self._plane = plane
        self._tier_key = tier_key
        self._lines: LRUCache[int, bytes] = LRUCache(4 * CHUNK * 16, getsizeof=len)
        self._observers = 0

    async def follow(self, request: web.Request) -> web.StreamResponse:
        """One node, until it leaves or is lost. 403 without the key, 400 for a request that names no node, 409 for a
        second one of the same name."""
        try:
            return await self._follow(request)
        except Refused as refusal:
            status = {"NodeAlreadyExists": 409, "AccessDenied": 403}.get(refusal.code, 400)
            return web.json_response({"error": str(refusal), "code": refusal.code}, status=status)

    async def _follow(self, request: web.Request) -> web.StreamResponse:
        if not is_tier(request.remote, request.headers.get(TIER), self._tier_key):
            refuse("AccessDenied", "The feed is for nodes of this CDN: the key of the tiers is missing or wrong.")
        words = request.query
        number = words.get("from", "")
        epoch, incarnation, name = words.get("epoch", ""), words.get("incarnation", ""), words.get("node", "")
        if not (number.isascii() and number.isdigit() and len(number) < 19):
            refuse("InvalidArgument", "from: expected the number of the last record that is known")
        if words.get("observer") == "1":
            return await self._observe(request, int(number), epoch)
        if not _NAME.fullmatch(name) or not _ID.fullmatch(incarnation):
            refuse("InvalidArgument", "node, incarnation: expected the name of a node, and up to 64 letters and digits")
        session, fresh = await self._plane.join(name, incarnation, int(number), epoch)
        try:
            return await self._serve(request, session, int(number), epoch, fresh)
        finally:
            self._plane.part(session)

    async def _observe(self, request: web.Request, number: int, epoch: str) -> web.StreamResponse:
        if self._observers >= OBSERVERS_MAX:
            refuse("InvalidArgument", f"There are {OBSERVERS_MAX} observers already.")
        self._observers += 1
        try:
            return await self._serve(request, Session("", "", 0), number, epoch, True)
        finally:
            self._observers -= 1

    async def _serve(
        self, request: web.Request, session: Session, number: int, epoch: str, fresh: bool
    ) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson", "Cache-Control": "no-store"})
        response.force_close()
        await response.prepare(request)
        loop = asyncio.get_running_loop()
        tasks = {
            loop.create_task(self._listen(request, session), name="feed: listen"),
            loop.create_task(self._tell(response, session, number, epoch, fresh), name="feed: tell"),
            loop.create_task(_until(session.replaced), name="feed: replaced"),
        }
        if not session.name:
            tasks.add(loop.create_task(self._notice(response), name="feed: notice"))
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            results = await asyncio.gather(*tasks, return_exceptions=True)
        for result in results:
            lost = OSError | TimeoutError | OriginInvalid | ValueError | asyncio.CancelledError
            if isinstance(result, BaseException) and not isinstance(result, lost):
                raise result
        with contextlib.suppress(OSError):
            await response.write_eof()
        return response

    async def _listen(self, request: web.Request, session: Session) -> None:
        """What the node says. Ends when it leaves, goes silent, or says what makes no sense."""
        while True:
            async with asyncio.timeout(BEATS_MISSED * self._plane.pace.heartbeat):
                data = await request.content.readline()
            if not data.endswith(b"\n"):
                return
            heard = decode(data)
            if not isinstance(heard, Heard):
                raise OriginInvalid("a node only ever says what it has heard")
            session.heard_line = heard.line
            if session.name:
                self._plane.acknowledge(session, heard.number, heard.epoch)
                if heard.goodbye:
                    await self._plane.leave(session.name)
            if heard.goodbye:
                return

    async def _tell(self, response: web.StreamResponse, session: Session, number: int, epoch: str, fresh: bool) -> None:
        """What the node is told: hello, what it has missed, what happens, and beats in between."""
        plane, pace = self._plane, self._plane.pace
        state = plane.state
        current = state.epoch
        await response.write(encode(Hello(current, state.number, state.low_water, pace.heartbeat, pace.lease, fresh)))
        if epoch != current or not state.low_water <= number <= state.number:
            number = state.number
            everything = [each for each in state.log if not isinstance(each, Withdrawn)]
            async for chunk in self._chunks([Marker("whole", number), *everything, Marker("end", number)]):
                await response.write(chunk)
        beat_at = plane.monotonic() + pace.heartbeat
        while state.epoch == current:
            grew = plane.log_grew.next()
            missed = records_after(state.log, number)
            number = state.number
            if missed:
                grew.close()
                async for chunk in self._chunks(missed):
                    await response.write(chunk)
            else:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(beat_at - plane.monotonic()):
                        await grew
            if plane.monotonic() >= beat_at:
                await response.write(encode(Beat(number, state.low_water, session.heard_line)))
                beat_at = plane.monotonic() + pace.heartbeat

    async def _notice(self, response: web.StreamResponse) -> None:
        """What an observer is told of nodes."""
        async with contextlib.aclosing(self._plane.presence.observe()) as notices:
            async for noticed in notices:
                await response.write(encode(noticed))

    async def _chunks(self, lines: Sequence[Record | Marker]) -> AsyncIterator[bytes]:
        waiting = bytearray()
        for line in lines:
            waiting += self._encoded(line)
            if len(waiting) >= CHUNK:
                yield bytes(waiting)
                waiting.clear()
        if waiting:
            yield bytes(waiting)

    def _encoded(self, line: Record | Marker) -> bytes:
        """A record is the same for all nodes: it is written once while it is new."""
        if isinstance(line, Marker):
            return encode(line)
        known = self._lines.get(line.number)
        if known is None:
            known = encode(line)
            if len(known) <= self._lines.maxsize:
                self._lines[line.number] = known
        return known


def records_after(log: list[Record], number: int) -> list[Record]:
    """The records with higher numbers."""
    return log[bisect_right(log, number, key=lambda each: each.number) :]


async def _until(event: asyncio.Event) -> None:
    await event.wait()
