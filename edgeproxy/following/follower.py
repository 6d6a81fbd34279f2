"""The follower: one node's end of the feed. It keeps what it hears on disk, has it applied, and only then says so.

Whatever happens to the connection, it comes back from its last number, later each time and never all nodes at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, replace

import aiohttp

from edgeproxy.errors import EdgeError, OriginError, OriginInvalid
from edgeproxy.feed import LINE_MAX, Beat, Deployed, Heard, Hello, Invalidated, Line, Marker, Noticed, Withdrawn, decode
from edgeproxy.feed import encode as line_of
from edgeproxy.following.kept import Kept, Update

log = logging.getLogger(__name__)

FIRST_PAUSE, LONGEST_PAUSE = 0.1, 5.0
"""Seconds between two tries: doubled each time, and each multiplied by a random 0.5 to 1."""
CONNECT_TIMEOUT = 10.0
BEATS_MISSED = 3
QUEUE_MAX = 1024
"""Lines read ahead of what is applied."""
SENT_MAX = 256
"""Lines whose time of sending is remembered, for the lease."""

Apply = Callable[[Update], Awaitable[None]]
"""Makes an update visible to all of the node before it returns; it is on disk by then. Raises EdgeError when it cannot:
the connection is then made anew, and the update comes again."""


@dataclass(frozen=True, slots=True)
class Whom:
    """Whom to follow, and as whom. `name` is empty for one that nobody waits for."""

    url: str
    """Of the control plane, without a path."""
    name: str
    tier_key: str | None = None


class Follower:
    """`run` follows until it is cancelled, or `goodbye` has been said."""

    def __init__(
        self,
        whom: Whom,
        kept: Kept,
        apply: Apply,
        session: aiohttp.ClientSession,
        boottime: Callable[[], float],
        chance: Callable[[], float],
        leased: Callable[[int, float], None] = lambda number, until: None,
        noticed: Callable[[Noticed], None] = lambda noticed: None,
    ) -> None:
        """`leased` is told until when the control plane counts on the node, on the boot-time clock, provided that all
        up to a number is applied; 0 for ever. `noticed` hears what it says of nodes, where it says so to whoever
        follows like this."""
        self._whom = whom
        self._kept = kept
        self._apply = apply
        self._session = session
        self._boottime = boottime
        self._chance = chance
        self._leased = leased
        self._noticed = noticed
        self.caught_up = asyncio.Event()
        """It has once known all there was to know."""
        self.usable = asyncio.Event()
        """It has, or it has something on disk to go by while the control plane cannot be reached."""
        self.connected = False
        self.failures = 0
        """Tries in a row that came to nothing."""
        self._up: asyncio.Queue[bytes | None] = asyncio.Queue(QUEUE_MAX)
        self._line = self._number = 0
        self._epoch = ""
        """Of that number."""
        self._ended = asyncio.Event()
        self._sent: deque[tuple[int, float]] = deque(maxlen=SENT_MAX)
        self._goal = 0
        self._applied: tuple[str, int] | None = None
        self._lease = 0.0
        self._leaving = False

    async def run(self) -> None:
        """Apply what is on disk, then follow."""
        await self._begin()
        pause = FIRST_PAUSE
        while not self._leaving:
            try:
                await self._connection()
            except (aiohttp.ClientError, OSError, TimeoutError, EdgeError, ValueError) as why:
                if self.failures == 0 and not self._leaving:
                    log.warning("the feed of %s is lost: %s", self._whom.url, str(why) or type(why).__name__)
            if self.failures == 0:  # it had been let in
                pause = FIRST_PAUSE
            self.failures += 1
            if self._applied is not None:
                self.usable.set()
            if not self._leaving:
                await asyncio.sleep(pause * (0.5 + self._chance() / 2))
                pause = min(pause * 2, LONGEST_PAUSE)

    async def _begin(self) -> None:
        """From what is on disk, if that can be read and used; if not, the control plane has to be there."""
        try:
            known = await asyncio.to_thread(self._kept.state)
        except EdgeError as error:
            log.error("%s; everything is asked for anew", error)
            await asyncio.to_thread(self._kept.forget)
            return
        if known.epoch:
            try:
                await self._apply_it(known)
            except EdgeError as error:
                log.error("what was kept of the feed cannot be used: %s", error)

    async def goodbye(self, seconds: float) -> bool:
        """Leave for good: nobody waits for this node from now on. Say it after all workers have ended. Whether the
        control plane knows; without its word it goes on waiting."""
        self._leaving = True
        if not self.connected:
            return False
        self._say(goodbye=True)
        self._up.put_nowait(None)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._ended.wait()
                return True
        return False

    # The connection ---------------------------------------------------------------------------------------------------

    async def _connection(self) -> None:
        """One connection, from its beginning to its end. Raises what ended it.

        No TaskGroup: one that is cancelled while a child of it fails forgets that it was cancelled.
        """
        loop, lines = asyncio.get_running_loop(), asyncio.Queue[Line](QUEUE_MAX)
        tasks = (
            loop.create_task(self._read(lines), name="feed: read"),
            loop.create_task(self._follow(lines), name="feed: follow"),
        )
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            results = await asyncio.gather(*tasks, return_exceptions=True)
        for result in results:
            if isinstance(result, Exception):
                raise result

    async def _read(self, lines: asyncio.Queue[Line]) -> None:
        """Bring lines from the control plane, until it ends. Raises what went wrong."""
        epoch, number = await asyncio.to_thread(self._kept.position)
        words = {"from": str(number), "epoch": epoch}
        if self._whom.name:
            words |= {"node": self._whom.name, "incarnation": self._kept.incarnation}
        else:
            words["observer"] = "1"
        self._up, self._line, self._ended = asyncio.Queue(QUEUE_MAX), 0, asyncio.Event()
        self._sent.clear()
        self._epoch = epoch
        self._say(number if self._applied == (epoch, number) else 0)
        heads = {"EdgeProxy-Tier": self._whom.tier_key} if self._whom.tier_key else {}
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT) as waiting:
                async with self._session.post(
                    f"{self._whom.url}/feed",
                    params=words,
                    headers=heads,
                    data=self._sending(),
                    timeout=aiohttp.ClientTimeout(),
                    read_bufsize=LINE_MAX,
                ) as response:
                    await _accepted(response)
                    waiting.reschedule(None)
                    patience = CONNECT_TIMEOUT
                    while True:
                        async with asyncio.timeout(patience):
                            data = await response.content.readline()
                        if not data.endswith(b"\n"):
                            return
                        line = decode(data)
                        if isinstance(line, Hello):
                            patience = BEATS_MISSED * line.heartbeat
                            self.connected = True
                        if isinstance(line, Noticed):
                            self._noticed(line)  # at once: nothing needs to be written down first
                        else:
                            await lines.put(line)
        finally:
            self.connected = False
            self._ended.set()

    async def _sending(self) -> AsyncIterator[bytes]:
        while (data := await self._up.get()) is not None:
            yield data

    def _say(self, number: int | None = None, *, goodbye: bool = False) -> None:
        if number is None:
            number = self._number
        self._number = number
        self._line += 1
        self._sent.append((self._line, self._boottime()))
        with contextlib.suppress(asyncio.QueueFull):  # the connection is stuck: it is cut before this matters
            self._up.put_nowait(line_of(Heard(number, self._line, goodbye, self._epoch)))

    # What it says -----------------------------------------------------------------------------------------------------

    async def _follow(self, lines: asyncio.Queue[Line]) -> None:
        hello = await lines.get()
        if not isinstance(hello, Hello):
            raise OriginInvalid("the feed does not begin with hello")
        self.failures = 0
        self._goal, self._lease = hello.number, hello.lease
        # It has heard of us after we sent the first line: so long it counts on us at least.
        self._leased(hello.number, self._sent[0][1] + hello.lease if hello.lease else 0.0)
        epoch, number = await asyncio.to_thread(self._kept.position)
        low_water = taken = hello.low_water
        fresh = hello.fresh
        if (epoch, number) == (hello.epoch, hello.number):
            await self._take(replace(await asyncio.to_thread(self._kept.state), low_water=low_water, fresh=fresh))
            fresh = False
        elif epoch and self._applied != (epoch, number):  # on disk, and not visible: it was cut off in between
            await self._apply_it(await asyncio.to_thread(self._kept.state))
        while True:
            batch = [await lines.get()]
            while not lines.empty():
                batch.append(lines.get_nowait())
            if isinstance(batch[0], Marker):
                batch = await _whole(batch, lines)
            records = tuple(each for each in batch if isinstance(each, Deployed | Withdrawn | Invalidated))
            beats = [each for each in batch if isinstance(each, Beat)]
            whole = isinstance(batch[0], Marker)
            if beats:
                low_water = max(low_water, beats[-1].low_water)
            if whole or records or (beats and (beats[-1].number, low_water) != (number, taken)):
                number, taken = max([0 if whole else number, *_numbers(batch)]), low_water
                await self._take(Update(hello.epoch, number, low_water, records, whole, fresh))
                fresh = False
            else:
                self._say(number)
            if beats:
                self._extend_lease(beats[-1])

    async def _take(self, update: Update) -> None:
        """Disk first, then the node, then the word that it is so (rule 7)."""
        await asyncio.to_thread(self._kept.write, update)
        await self._apply_it(replace(update, caught_up=update.number >= self._goal))
        self._epoch = update.epoch
        self._say(update.number)
        if update.number >= self._goal:
            self.caught_up.set()
            self.usable.set()

    async def _apply_it(self, update: Update) -> None:
        await self._apply(update)
        self._applied = (update.epoch, update.number)

    def _extend_lease(self, beat: Beat) -> None:
        """It has heard our line: at the earliest when we sent it, it began to count again."""
        for line, sent in self._sent:
            if line == beat.heard and self._lease:
                self._leased(beat.number, sent + self._lease)


async def _accepted(response: aiohttp.ClientResponse) -> None:
    if response.status == 200:
        return
    said = (await response.content.read(2000)).decode("utf-8", "replace")
    raise OriginError(f"the feed is refused ({response.status}): {said}")


async def _whole(batch: list[Line], lines: asyncio.Queue[Line]) -> list[Line]:
    """The lines up to the one that says that all is there."""
    while not any(isinstance(each, Marker) and each.kind == "end" for each in batch):
        batch.append(await lines.get())
    return batch


def _numbers(batch: list[Line]) -> list[int]:
    kinds = Deployed | Withdrawn | Invalidated | Marker | Beat
    return [each.number for each in batch if isinstance(each, kinds)]
