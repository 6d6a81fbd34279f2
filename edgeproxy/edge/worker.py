"""One worker: everything between its sockets and its upstreams, put together and kept until it has drained."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edgeproxy.cloudfront import pages
from edgeproxy.edge.admission import within
from edgeproxy.edge.compressing import Compressing
from edgeproxy.edge.contents import Contents
from edgeproxy.edge.door import Door
from edgeproxy.edge.explaining import Explanation, Question
from edgeproxy.edge.invalidation import Ledger
from edgeproxy.edge.listener import Listener, listen
from edgeproxy.edge.nexthop import NextHop
from edgeproxy.edge.node import Clocks, Place, Serving
from edgeproxy.edge.page import SharedPage, owner_of
from edgeproxy.edge.pipeline import Pipeline
from edgeproxy.edge.present import Presenter, Trace
from edgeproxy.edge.recorder import Recorder
from edgeproxy.edge.rtt import RoundTrips
from edgeproxy.edge.sweeping import Sweeper
from edgeproxy.message import Answer, BytesBody, Peer
from edgeproxy.model import Mode, Rules
from edgeproxy.outcome import Result
from edgeproxy.settings import Cache, Connections, KiB
from edgeproxy.store.disk import DiskStore
from edgeproxy.store.layer import Layer
from edgeproxy.store.memory import MemoryStore
from edgeproxy.store.tiers import Tiers
from edgeproxy.telemetry.log import AccessLog
from edgeproxy.upstream.client import Client

CLOSE_SECONDS = 10.0
"""What waits for the disk when a worker ends is given so long."""


def _with_room_for_the_hop(settings: Connections) -> Connections:
    """Limits for doors that tiers knock at: whatever a viewer may send must still fit with the hop's fields in it, of
    which the key may repeat most of the head (three bytes for an escaped one), and with a default root object."""
    return settings.model_copy(
        update={
            "request_line_max": settings.request_line_max + 1024,
            "head_max": 4 * settings.head_max + 8 * KiB,
            "fields_max": settings.fields_max + 8,
        }
    )


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
        ledger: Ledger | None = None,
        layer: Layer | None = None,
    ) -> None:
        """`ledger`: where there is a control plane. `layer`: the system calls of the disk tier, when they are not the
        system's own."""
        self.place = place
        self.page = page
        self.counters = page.rows[place.worker]
        settings = serving.settings
        self.log = AccessLog(settings.log, data_dir, self.counters)
        self._clocks = clocks
        self.store = self._store(settings.cache, data_dir, layer)
        self._tls = tls
        self._client = Client(settings.upstream, self.counters, clocks.monotonic)
        ledger = self.ledger = ledger or Ledger(page)
        self._sweeper = Sweeper(
            ledger, self.store.memory, self.counters, settings.cache.sweep_interval, self.store.disk
        )
        self._compressing = Compressing(settings.compression, self.counters)
        nexthop = NextHop(place, self._client, ledger, self.counters, clocks, self._compressing)
        recorder = Recorder(place, self.log, self.counters, clocks)
        self.pipeline = Pipeline(place, serving, self.store, nexthop, page, ledger, recorder, self.counters, clocks)
        self.contents = Contents(
            place, self.store, self.pipeline.flights, self._client, lambda: self.pipeline.serving, clocks
        )
        self._listeners: list[Listener] = []
        self.round_trips = RoundTrips(settings.connections.rtt_networks_max)
        """How far this worker's viewers are."""
        self._asking: asyncio.Task[None] | None = None

    def _store(self, settings: Cache, data_dir: Path, layer: Layer | None) -> Tiers:
        """Memory, and the disk behind it."""
        largest = min(settings.object_max, settings.memory_object_max)
        memory = MemoryStore(settings.memory, largest, settings.variants_max, self.counters)
        workers = max(1, len(self.place.owners))

        def owns(key: bytes) -> bool:
            return owner_of(key, self.place.shards, workers) == self.place.worker

        disk = None
        if settings.disk:
            held = range(self.place.worker, self.place.shards, workers)
            era, boot = self.page.era, self.page.boot
            wall, monotonic = self._clocks.wall, self._clocks.monotonic
            disk = DiskStore(data_dir / "store", held, settings, era, boot, self.counters, wall, monotonic, layer)
        return Tiers(memory, disk, owns, settings.promote_max, settings.object_max, self._clocks.wall)

    async def start(self, sockets: Sockets) -> None:
        """Accept connections from now on."""
        self.log.start()
        await self.store.start()
        self._sweeper.start()
        viewers = self._door(Peer.VIEWER)
        interval = self.pipeline.serving.settings.connections.rtt_interval
        if viewers.round_trips is not None and interval:
            self._asking = asyncio.create_task(self._ask_viewers(viewers.round_trips, interval), name="round trips")
        if sockets.http:
            self._listeners.append(await listen(viewers, sockets.http, None))
        if sockets.https:
            self._listeners.append(await listen(viewers, sockets.https, self._tls))
        if sockets.workers:
            self._listeners.append(await listen(self._door(Peer.WORKER), sockets.workers, None))

    def serve(self, serving: Serving) -> None:
        """Swap the configuration: requests that are running keep the one they began with."""
        self.pipeline.serving = serving
        self.pipeline.lane.forget(serving)
        self.pipeline.shortcut.forget(serving)

    async def drain(self, deadline: float) -> None:
        """Stop accepting, let what runs come to its end, at most `deadline` seconds; then stop everything."""
        await asyncio.gather(*(listener.drain(deadline) for listener in self._listeners))
        await self.close()

    async def close(self) -> None:
        """Stop everything now."""
        if self._asking is not None:
            self._asking.cancel()
            await asyncio.gather(self._asking, return_exceptions=True)
        for listener in self._listeners:
            with contextlib.suppress(OSError):
                await listener.close()
        await self._sweeper.close()
        await self.pipeline.close()
        await self.store.close(CLOSE_SECONDS)
        await self._client.close()
        self._compressing.close()
        await self.log.close()

    def explain(self, question: Question) -> Explanation:
        """What would become of a request here. Raises ValueError for a question that is none."""
        return self.pipeline.explain(question)

    async def _ask_viewers(self, round_trips: RoundTrips, interval: float) -> None:
        while True:
            await asyncio.sleep(interval)
            round_trips.sweep(self._clocks.monotonic())

    def _door(self, peer: Peer) -> Door:
        cloudfront = self.pipeline.serving.default_rules is Rules.CLOUDFRONT
        settings = self.pipeline.serving.settings.connections
        for_tiers = peer is Peer.WORKER or self.place.mode is Mode.REGIONAL
        return Door(
            handle=self.contents.door(self.pipeline.handle) if peer is Peer.WORKER else self.pipeline.handle,
            settings=_with_room_for_the_hop(settings) if for_tiers else settings,
            counters=self.counters,
            wall=self._clocks.wall,
            monotonic=self._clocks.monotonic,
            refuse=self._refuse,
            too_large_status=494 if cloudfront else 431,
            peer=peer,
            lane=self.pipeline.lane if peer is Peer.VIEWER and self.place.mode is Mode.POP else None,
            shortcut=self.pipeline.shortcut if peer is Peer.VIEWER and self.place.mode is Mode.POP else None,
            round_trips=self.round_trips if peer is Peer.VIEWER and self.place.mode is Mode.POP else None,
            trusted=lambda address: for_tiers or within(address, self.pipeline.serving.settings.trust.proxies),
            half_close=not for_tiers,
        )

    def _refuse(self, status: int, sentence: str) -> Answer:
        """What a connection answers by itself: no request was understood, so there is nothing to log about one."""
        rules = self.pipeline.serving.default_rules
        request_id = self._clocks.request_id()
        head, body = pages.page(rules, status, sentence, request_id)
        presenter = Presenter(self.place.name, self.place.code, rules, request_id, False, Peer.VIEWER)
        head = presenter.head(head, Trace(result=Result.ERROR, generated=True), self._clocks.wall())
        return Answer(head, BytesBody([body]), close=True)
