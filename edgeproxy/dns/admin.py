"""The resolver's admin listener: GET /healthz · /readyz · /metrics · /status · /explain?ip=ADDRESS&name=NAME"""

from __future__ import annotations

import socket

from aiohttp import web

from edgeproxy import __version__
from edgeproxy.dns.parts import ResolverParts
from edgeproxy.telemetry.counters import Counter
from edgeproxy.telemetry.metrics import CONTENT_TYPE, Gauge, render


class Admin:
    """The handlers."""

    def __init__(self, parts: ResolverParts) -> None:
        self._parts = parts

    def application(self) -> web.Application:
        """The routes."""
        application = web.Application(client_max_size=64 * 1024)
        application.router.add_get("/healthz", self.healthz)
        application.router.add_get("/readyz", self.readyz)
        application.router.add_get("/metrics", self.metrics)
        application.router.add_get("/status", self.status)
        application.router.add_get("/explain", self.explain)
        return application

    async def healthz(self, request: web.Request) -> web.Response:
        """The process answers, and so does the resolver, since they start and end together."""
        return web.Response(text="ok\n")

    async def readyz(self, request: web.Request) -> web.Response:
        """200, or 503 while it does not know yet which distributions there are."""
        if self._parts.server.zone.complete:
            return web.Response(text="ready\n")
        return web.Response(text="not ready: it has not heard from the control plane yet\n", status=503)

    async def metrics(self, request: web.Request) -> web.Response:
        """Prometheus text: the counters, and answers by type, rcode, POP and reason."""
        self._parts.server.settle()
        gauges = [
            Gauge("edgeproxy_dns_pop_up", "Whether viewers are sent to a POP.", int(standing.is_up), {"pop": name})
            for name, standing in self._parts.health.standings.items()
        ]
        if self._parts.latency is not None:
            sentence = "Client networks with measured round-trip times."
            gauges.append(Gauge("edgeproxy_dns_measured_networks", sentence, len(self._parts.latency)))
        names = ("type", "rcode", "pop", "reason")
        gauges += [
            Gauge(
                "edgeproxy_dns_replies_total",
                "DNS answers by type, rcode, POP and reason.",
                count,
                dict(zip(names, labels, strict=True)),
                counts=True,
            )
            for labels, count in self._parts.server.tallies.totals()
        ]
        return web.Response(body=render([self._parts.counters], gauges), headers={"Content-Type": CONTENT_TYPE})

    async def status(self, request: web.Request) -> web.Response:
        """The resolver in one JSON object: POPs as it sees them, counters by metric name and labels."""
        self._parts.server.settle()
        pops = {
            name: {
                "up": standing.is_up,
                "reason": standing.reason,
                "checked": standing.verdict is not None,
                "connections": standing.load,
            }
            for name, standing in self._parts.health.standings.items()
        }
        counters = {
            counter.metric + (f"{{{counter.labels}}}" if counter.labels else ""): self._parts.counters[counter]
            for counter in Counter
            if counter.name.startswith("DNS_")
        }
        addresses = list(self._parts.server.addresses)
        return web.json_response({"version": __version__, "addresses": addresses, "pops": pops, "counters": counters})

    async def explain(self, request: web.Request) -> web.Response:
        """Which POP a client is sent to, and why."""
        ip, name = request.query.get("ip", ""), request.query.get("name", "")
        try:
            return web.json_response(self._parts.explain(ip, name))
        except ValueError as error:
            message = f"ask with ip=ADDRESS&name=NAME: {error}"
            return web.json_response({"error": message}, status=400)


async def serve_admin(parts: ResolverParts, listener: socket.socket) -> web.AppRunner:
    """Answer on a socket that listens. `cleanup` of what is returned ends it."""
    runner = web.AppRunner(Admin(parts).application(), access_log=None, handle_signals=False)
    await runner.setup()
    await web.SockSite(runner, listener).start()
    return runner
