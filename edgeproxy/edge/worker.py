"""One worker: everything between its sockets and its upstreams, put together and kept until it has drained."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edgeproxy.cloudfront import fields as cf
from edgeproxy.cloudfront import pages
from edgeproxy.edge.connection import Door
from edgeproxy.edge.invalidation import Ledger
from edgeproxy.edge.listener import Listener, listen
from edgeproxy.edge.nexthop import NextHop
from edgeproxy.edge.node import Clocks, Place, Serving
from edgeproxy.edge.page import SharedPage
from edgeproxy.edge.pipeline import Pipeline
from edgeproxy.edge.present import Presenter, Trace
from edgeproxy.edge.recorder import Recorder
from edgeproxy.message import Answer, BytesBody, Peer
from edgeproxy.model import Rules
from edgeproxy.outcome import Result
from edgeproxy.store.memory import MemoryStore
from edgeproxy.telemetry.log import AccessLog
from edgeproxy.upstream.client import Client


@dataclass(frozen=True, slots=True)
class Sockets:
    """Listening sockets of one worker, opened by the parent."""

    http: Sequence[socket.socket]
    https: Sequence[socket.socket]
    workers: Sequence[socket.socket]
    """Where the other workers of this node ask; empty when there are none."""


class Worker:
    """A running worker."""

    def __init__(
        self,
        place: Place,
        serving: Serving,
        page: SharedPage,
        data_dir: Path,
        clocks: Clocks,
        tls: ssl.SSLContext | None,
    ) -> None:
        self.place = place
        self.page = page
        self.counters = page.rows[place.worker]
        settings = serving.settings
        self.log = AccessLog(settings.log, data_dir, self.counters)
        self.store = MemoryStore(
            settings.cache.memory, settings.cache.object_max, settings.cache.variants_max, self.counters
        )
        self._clocks = clocks
        self._tls = tls
        self._client = Client(settings.upstream, self.counters, clocks.monotonic)
        ledger = Ledger(page)
        nexthop = NextHop(place, self._client, ledger, self.counters, clocks)
        recorder = Recorder(place, self.log, self.counters, clocks)
        self.pipeline = Pipeline(place, serving, self.store, nexthop, page, ledger, recorder, self.counters, clocks)
        self._listeners: list[Listener] = []

    async def start(self, sockets: Sockets) -> None:
        """Accept connections from now on."""
        self.log.start()
        viewers = self._door(Peer.VIEWER)
        if sockets.http:
            self._listeners.append(await listen(viewers, sockets.http, None))
        if sockets.https:
            self._listeners.append(await listen(viewers, sockets.https, self._tls))
        if sockets.workers:
            self._listeners.append(await listen(self._door(Peer.WORKER), sockets.workers, None))

    def serve(self, serving: Serving) -> None:
        """Swap the configuration: requests that are running keep the one they began with."""
        self.pipeline.serving = serving

    async def drain(self, deadline: float) -> None:
        """Stop accepting, let what runs come to its end, at most `deadline` seconds; then stop everything."""
        await asyncio.gather(*(listener.drain(deadline) for listener in self._listeners))
        await self.close()

    async def close(self) -> None:
        """Stop everything now."""
        for listener in self._listeners:
            with contextlib.suppress(OSError):
                await listener.close()
        await self.pipeline.close()
        await self._client.close()
        await self.log.close()

    def _door(self, peer: Peer) -> Door:
        cloudfront = self.pipeline.serving.default_rules is Rules.CLOUDFRONT
        return Door(
            handle=self.pipeline.handle,
            settings=self.pipeline.serving.settings.connections,
            counters=self.counters,
            wall=self._clocks.wall,
            monotonic=self._clocks.monotonic,
            refuse=self._refuse,
            too_large_status=494 if cloudfront else 431,
            peer=peer,
        )

    def _refuse(self, status: int, sentence: str) -> Answer:
        """What a connection answers by itself: no request was understood, so there is nothing to log about one."""
        rules = self.pipeline.serving.default_rules
        request_id = cf.request_id(self._clocks.random_bytes(cf.REQUEST_ID_BYTES))
        head, body = pages.page(rules, status, sentence, request_id)
        presenter = Presenter(self.place.name, self.place.code, rules, request_id, False, Peer.VIEWER)
        head = presenter.head(head, Trace(result=Result.ERROR, generated=True), self._clocks.wall())
        return Answer(head, BytesBody([body]), close=True)
