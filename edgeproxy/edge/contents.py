"""Looking into what a node keeps: list, show and drop stored responses, in all its workers at once.

Whichever worker is asked asks the others at their Unix sockets, with the field EdgeProxy-Ask; there is no other way to
these questions, and no viewer reaches those sockets.
"""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, TypeAlias
from urllib.parse import parse_qsl, urlencode

from edgeproxy.edge.flight import Flights
from edgeproxy.edge.nexthop import Reply
from edgeproxy.edge.node import Clocks, Place, Serving
from edgeproxy.errors import EdgeError, OriginError
from edgeproxy.headers import Headers
from edgeproxy.message import Answer, BytesBody, Incoming, RequestHead, ResponseHead, no_body
from edgeproxy.model import Caching
from edgeproxy.rules import freshness
from edgeproxy.rules.routing import choose_behavior
from edgeproxy.store.tiers import Copy, Held, Tiers, copy_of
from edgeproxy.upstream.client import Client, Patience

ASK = b"edgeproxy-ask"
"""On a request to the socket of a worker: a question to it, not a viewer's request."""

LIMIT = 100
LIMIT_MAX = 10_000
"""Rows in one answer."""
PAGE = 1000
"""Records looked at in one go."""
PATIENCE = Patience(connect=2, first_byte=60, idle=10)

Row: TypeAlias = dict[str, Any]  # Any: JSON


@dataclass(frozen=True, slots=True)
class Pattern:
    """A glob (`*`, `?`, `[...]`) over keys; over paths with their query, when it begins with a slash."""

    text: str

    def fits(self, key: bytes) -> bool:
        """Whether a key matches."""
        whole = key.decode("latin-1")
        return fnmatchcase(target_of(whole) if self.text.startswith("/") else whole, self.text)

    @property
    def coarse(self) -> str | None:
        """A glob over keys that fits at least as many; None for any."""
        fixed = re.split(r"[*?[]", self.text)[0]
        if self.text.startswith("/"):
            return f"* //* {fixed}*"
        return f"{fixed}*" if fixed else None


def target_of(key: str) -> str:
    """The path in a key, with its query."""
    words = key.split(" ")
    path = words[3] if len(words) > 3 else ""
    return path + words[4] if len(words) > 4 and words[4].startswith("?") else path


class Contents:
    """What one worker answers, and what it gathers from all of them."""

    def __init__(
        self,
        place: Place,
        store: Tiers,
        flights: Flights[Reply],
        client: Client,
        serving: Callable[[], Serving],
        clocks: Clocks,
    ) -> None:
        self._place = place
        self._store = store
        self._flights = flights
        self._client = client
        self._serving = serving
        self._clocks = clocks

    # -- of the node ------------------------------------------------------------------------------------------------

    async def listed(self, pattern: str, limit: int, after: str | None) -> Row:
        """{"entries": [...], "after": where to go on, or null}, at most `limit` of them, worker by worker.

        Raises ValueError for an `after` that is none, OriginError when a worker does not answer.
        """
        number, _, inner = (after or "0/").partition("/")
        worker = int(number)
        entries: list[Row] = []
        workers = max(1, len(self._place.owners))
        while worker < workers and len(entries) < limit:
            asked = {"pattern": pattern, "limit": str(limit - len(entries)), "after": inner}
            page = await self._ask(worker, "list", asked)
            entries += page["entries"]
            inner = page["after"] or ""
            if not inner:
                worker += 1
        return {"entries": entries, "after": f"{worker}/{inner}" if worker < workers else None}

    async def dropped(self, pattern: str) -> Row:
        """{"dropped": how many}, from all workers; when this returns nothing of it is used any more.

        Raises OriginError when a worker does not answer.
        """
        workers = range(max(1, len(self._place.owners)))
        # Twice: what one worker has got from another before that one's turn came is dropped as well.
        first = [(await self._ask(worker, "drop", {"pattern": pattern}))["dropped"] for worker in workers]
        if len(workers) > 1:
            for worker in workers:
                await self._ask(worker, "drop", {"pattern": pattern})
        return {"dropped": sum(first)}

    async def _ask(self, worker: int, question: str, asked: Mapping[str, str]) -> Row:
        if worker == self._place.worker:
            return await self.answer(question, asked)
        target = f"/{question}?{urlencode(asked)}".encode("ascii")
        head = RequestHead("GET", target, b"worker", Headers([(b"EdgeProxy-Ask", b"cache")]))
        try:
            exchange = await self._client.exchange(
                self._place.owners[worker], head, no_body(), PATIENCE, interim=lambda head: None, upgrade=False
            )
            blocks = []
            while block := await exchange.body.read():
                blocks.append(block)
        except EdgeError as error:
            raise OriginError(f"worker {worker} does not answer: {error}") from None
        if exchange.head.status != 200:
            raise OriginError(f"worker {worker} answers with status {exchange.head.status}")
        page: Row = json.loads(b"".join(blocks))
        return page

    # -- of this worker ---------------------------------------------------------------------------------------------

    def door(self, handle: Callable[[Incoming], Awaitable[Answer]]) -> Callable[[Incoming], Awaitable[Answer]]:
        """What handles the requests of other workers: their questions here, all others as before."""

        async def answer(incoming: Incoming) -> Answer:
            if ASK not in incoming.head.headers:
                return await handle(incoming)
            question = incoming.head.path.decode("ascii").removeprefix("/")
            asked = dict(parse_qsl((incoming.head.query or b"").decode("ascii"), keep_blank_values=True))
            try:
                said = json.dumps(await self.answer(question, asked)).encode()
            except ValueError as error:
                said = json.dumps({"error": str(error)}).encode()
                return Answer(ResponseHead(400, Headers()), BytesBody([said]))
            return Answer(ResponseHead(200, Headers([(b"Content-Type", b"application/json")])), BytesBody([said]))

        return answer

    async def answer(self, question: str, asked: Mapping[str, str]) -> Row:
        """This worker's part. Raises ValueError for what is no question."""
        pattern = Pattern(asked.get("pattern", "*"))
        if question == "drop":
            return {"dropped": await self._drop(pattern)}
        if question == "list":
            return await self._list(pattern, min(int(asked.get("limit", LIMIT)), LIMIT_MAX), asked.get("after") or None)
        raise ValueError(f"no such question: {question}")

    async def _list(self, pattern: Pattern, limit: int, after: str | None) -> Row:
        """First what is in memory, by key; then what only the disk has."""
        rows: list[Row] = []
        phase, _, position = (after or "m/").partition("/")
        if phase == "m":
            keys = sorted(key for key in self._store.memory.known() if pattern.fits(key))
            for key in keys:
                if key.decode("latin-1") <= position:
                    continue
                rows += await self._rows(key)
                position = key.decode("latin-1")
                if len(rows) >= limit:
                    return {"entries": rows, "after": f"m/{position}"}
            position = ""
        disk = self._store.disk
        if disk is not None:
            await disk.settled()
        onward: str | None = position or None
        while disk is not None and len(rows) < limit:
            page = await disk.entries(pattern.coarse, min(PAGE, limit), onward)
            for record, uses in page.entries:
                if pattern.fits(record.key) and not self._store.memory.look(record.key):
                    rows.append(self._row(copy_of(record), uses, True))
            onward = page.after
            if onward is None:
                return {"entries": rows, "after": None}
        return {"entries": rows, "after": None if disk is None else f"d/{onward or ''}"}

    async def _rows(self, key: bytes) -> list[Row]:
        held: Sequence[Held] = self._store.memory.look(key)
        may_load = self._store.may_load(key)
        if may_load and any(each.head.parts is not None for each in held):
            held = await self._store.load(key, self._clocks.wall())
        return [self._row(each, self._store.memory.hits(key), may_load) for each in held]

    def _row(self, held: Held, hits: int, on_disk: bool) -> Row:
        head, now = held.head, self._clocks.wall()
        caching = self._caching(held.key)
        in_memory = not isinstance(held, Copy) or held.stored is not None
        parts = None if head.parts is None else [list(part) for part in head.parts]
        return {
            "key": held.key.decode("latin-1"),
            "status": head.status,
            "method": head.method,
            "length": held.length,
            "size": held.length if head.parts is None else sum(end - start for start, end in head.parts),
            "intervals": parts,
            "age": round(freshness.current_age(head, now), 3),
            "ttl": None if caching is None else round(freshness.remaining(head, caching, now), 3),
            "keep": round(held.terms.keep_until - now, 3),
            "hits": hits,
            "memory": in_memory,
            "disk": on_disk,
            "worker": self._place.worker,
            "owner": self._store.owns(held.key),
            "vary": [[_text(name), None if value is None else _text(value)] for name, value in head.vary],
            "headers": [[_text(name), _text(value)] for name, value in head.headers],
        }

    def _caching(self, key: bytes) -> Caching | None:
        """The rules by which a response is fresh; None when nothing of that kind is served any more."""
        words = key.decode("latin-1").split(" ")
        distribution = self._serving().hosts.by_id(words[0])
        if distribution is None or len(words) < 4:
            return None
        return choose_behavior(distribution, words[3].encode("latin-1")).caching

    async def _drop(self, pattern: Pattern) -> int:
        self._flights.spoil(pattern.fits)
        keys = {key for key in self._store.memory.known() if pattern.fits(key)}
        dropped = sum(map(self._store.drop, keys))
        disk, after = self._store.disk, None
        if disk is not None:
            await disk.settled()
        while disk is not None:
            page = await disk.entries(pattern.coarse, PAGE, after)
            for record, _ in page.entries:
                if record.key not in keys and pattern.fits(record.key):
                    dropped += 1
                    self._store.drop(record.key)
            after = page.after
            if after is None:
                break
        # What has begun meanwhile may have begun from what was dropped later.
        self._flights.spoil(pattern.fits)
        return dropped


def _text(raw: bytes) -> str:
    return raw.decode("latin-1")
