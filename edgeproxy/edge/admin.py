"""A node's admin listener: health, readiness, metrics, the test clock. Any worker answers for the whole node.

Never on a viewer's port. GET /healthz · /readyz · /metrics · /status · /rtt, POST /drain · /undrain, and with
`--clock test` GET and POST /clock.
"""

from __future__ import annotations

import json
import math
import os
import socket
from collections.abc import Callable, Mapping

from aiohttp import web

from edgeproxy import __version__
from edgeproxy.edge.node import Place
from edgeproxy.edge.page import SharedPage
from edgeproxy.edge.rtt import RoundTrips
from edgeproxy.telemetry.counters import Counter
from edgeproxy.telemetry.metrics import CONTENT_TYPE, Gauge, render

ADVANCE_MAX = 10 * 366 * 86_400
"""Seconds one POST /clock may move the clock: ten years are more than any test needs."""


class Admin:
    """The handlers. `wall` is the node's clock, `uptime` in seconds."""

    def __init__(
        self,
        place: Place,
        page: SharedPage,
        workers: int,
        wall: Callable[[], float],
        uptime: Callable[[], float],
        round_trips: RoundTrips,
    ) -> None:
        self._place = place
        self._page = page
        self._workers = workers
        self._wall = wall
        self._uptime = uptime
        self._round_trips = round_trips

    def application(self) -> web.Application:
        """The routes."""
        application = web.Application(client_max_size=64 * 1024)
        application.router.add_get("/healthz", self.healthz)
        application.router.add_get("/readyz", self.readyz)
        application.router.add_get("/metrics", self.metrics)
        application.router.add_get("/status", self.status)
        application.router.add_get("/rtt", self.rtt)
        application.router.add_post("/drain", self.drain)
        application.router.add_post("/undrain", self.undrain)
        application.router.add_get("/clock", self.clock)
        application.router.add_post("/clock", self.advance)
        return application

    async def healthz(self, request: web.Request) -> web.Response:
        """The process answers."""
        return web.Response(text="ok\n")

    async def readyz(self, request: web.Request) -> web.Response:
        """200 when every worker accepts connections and the node is not draining, nor drained, else 503 and why.

        EdgeProxy-Connections says how many viewers are connected.
        """
        page, reason = self._page, ""
        if page.draining:
            reason = "draining"
        elif page.drained:
            reason = "drained by the operator"
        elif page.behind:
            reason = "has not caught up with the control plane yet"
        elif page.ready_workers < self._workers:
            reason = f"{page.ready_workers} of {self._workers} workers are ready"
        headers = {"EdgeProxy-Connections": str(max(0, page.total(Counter.CONNECTIONS_OPEN)))}
        return web.Response(status=503 if reason else 200, text=f"{reason or 'ready'}\n", headers=headers)

    async def drain(self, request: web.Request) -> web.Response:
        """Have no more viewers sent here; those that come all the same are served."""
        self._page.drained = True
        return web.json_response({"name": self._place.name, "drained": True})

    async def undrain(self, request: web.Request) -> web.Response:
        """Have viewers sent here again."""
        self._page.drained = False
        return web.json_response({"name": self._place.name, "drained": False})

    async def rtt(self, request: web.Request) -> web.Response:
        """Round-trip times of viewers since this worker was last asked: [network, samples, mean in ms]."""
        return web.json_response({"node": self._place.name, "samples": self._round_trips.take()})

    async def metrics(self, request: web.Request) -> web.Response:
        """Prometheus text, summed over the workers."""
        labels = {"node": self._place.name, "mode": self._place.mode.value, "region": self._place.region}
        gauges = [
            Gauge("edgeproxy_node", "Which node this is.", 1, labels),
            Gauge("edgeproxy_uptime_seconds", "Seconds since the node was started.", self._uptime()),
            Gauge("edgeproxy_workers_ready", "Workers that accept connections.", self._page.ready_workers),
        ]
        return web.Response(body=render(self._page.rows, gauges), headers={"Content-Type": CONTENT_TYPE})

    async def status(self, request: web.Request) -> web.Response:
        """The node in one JSON object, counters by metric name and labels."""
        counters = {
            counter.metric + (f"{{{counter.labels}}}" if counter.labels else ""): self._page.total(counter)
            for counter in Counter
        }
        return web.json_response(
            {
                "name": self._place.name,
                "mode": self._place.mode.value,
                "region": self._place.region,
                "version": __version__,
                "ready": self._page.ready_workers >= self._workers and not (self._page.draining or self._page.behind),
                "drained": self._page.drained,
                "workers": self._workers,
                "pid": os.getpid(),
                "uptime": round(self._uptime(), 3),
                "now": self._wall(),
                "counters": counters,
            }
        )

    async def clock(self, request: web.Request) -> web.Response:
        """The node's time."""
        return web.json_response({"now": self._wall(), "offset": self._page.clock_offset})

    async def advance(self, request: web.Request) -> web.Response:
        """Move the test clock: {"advance": SECONDS}."""
        if not self._place.test_clock:
            return web.json_response({"error": "Start with --clock test to move the clock."}, status=409)
        seconds = _seconds(await request.read())
        if seconds is None:
            message = f'Send {{"advance": SECONDS}} with a number from 0 to {ADVANCE_MAX}.'
            return web.json_response({"error": message}, status=400)
        self._page.advance_clock(seconds)
        return web.json_response({"now": self._wall()})


def _seconds(body: bytes) -> float | None:
    try:
        message: object = json.loads(body)
    except ValueError:
        return None
    seconds = message.get("advance") if isinstance(message, Mapping) else None
    if not isinstance(seconds, int | float) or isinstance(seconds, bool) or not math.isfinite(seconds):
        return None
    return float(seconds) if 0 <= seconds <= ADVANCE_MAX else None


async def serve_admin(admin: Admin, listener: socket.socket) -> web.AppRunner:
    """Answer on a socket the parent opened, which workers may share. `cleanup` of what is returned ends it."""
    runner = web.AppRunner(admin.application(), access_log=None, handle_signals=False)
    await runner.setup()
    await web.SockSite(runner, listener).start()
    return runner
