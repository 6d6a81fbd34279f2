"""The control plane's HTTP API.

GET  /healthz    it answers
GET  /status     every node with its health and counters
POST /nodes/NAME/drain    have no more viewers sent there        POST /nodes/NAME/undrain    have them sent there again
GET  /clock      the time here        POST /clock {"advance": SECONDS}    move the test clock of every node

Beside it: CloudFront's API (rest.py), the feed (streams.py), and what the command line asks for (orders.py).
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import aiohttp
from aiohttp import web
from aiohttp.typedefs import Handler

from edgeproxy.control.access import from_a_page, is_loopback, is_tier
from edgeproxy.control.orders import Orders
from edgeproxy.control.rest import BODY_MAX, Rest
from edgeproxy.control.service import API_VERSION
from edgeproxy.control.streams import PATH as FEED
from edgeproxy.control.streams import TIER, Streams

FOR_OPERATORS = "This is for operators and nodes: EDGEPROXY_TIER_KEY proves one."
NODE_TIMEOUT = 5.0
"""Seconds a node has to answer on its admin listener."""


@dataclass(frozen=True, slots=True)
class KnownNode:
    """A node, and where its admin listener answers (URL)."""

    name: str
    mode: str
    region: str
    admin: str


class Control:
    """The handlers; `clock` moves and reads the control plane's own time."""

    def __init__(
        self,
        nodes: Sequence[KnownNode],
        wall: Callable[[], float],
        advance: Callable[[float], None] | None,
        session: aiohttp.ClientSession,
        ordered: Callable[[str, str], None] = lambda node, order: None,
    ) -> None:
        """`ordered` hears that a node has taken an order, drain or undrain."""
        self._nodes = nodes
        self._wall = wall
        self._advance = advance
        self._session = session
        self._ordered = ordered

    def add_to(self, application: web.Application) -> None:
        """The routes."""
        application.router.add_get("/healthz", self.healthz)
        application.router.add_get("/status", self.status)
        application.router.add_post("/nodes/{name}/{order:drain|undrain}", self.order)
        application.router.add_get("/clock", self.clock)
        application.router.add_post("/clock", self.move_clock)

    async def healthz(self, request: web.Request) -> web.Response:
        """The process answers."""
        return web.Response(text="ok\n")

    async def status(self, request: web.Request) -> web.Response:
        """{"nodes": [...]}; a node that does not answer has `error` instead of its counters."""
        return web.json_response({"nodes": await asyncio.gather(*map(self._node_status, self._nodes))})

    async def order(self, request: web.Request) -> web.Response:
        """Drain a POP or undo it: 200 when it knows, 404 with the names there are, 502 when it did not answer."""
        name, order = request.match_info["name"], request.match_info["order"]
        pops = {node.name: node for node in self._nodes if node.mode == "pop"}
        if name not in pops:
            sentence = f"There is no POP {name!r}; there are: {', '.join(pops) or 'none'}."
            return web.json_response({"error": sentence, "pops": list(pops)}, status=404)
        status, answer = await self._tell(pops[name], b"", f"/{order}")
        if status != 200:
            sentence = f"{name} did not take the order: {answer.get('error', status)}"
            return web.json_response({"error": sentence}, status=502)
        self._ordered(name, order)
        return web.json_response(answer)

    async def clock(self, request: web.Request) -> web.Response:
        """The time here."""
        return web.json_response({"now": self._wall()})

    async def move_clock(self, request: web.Request) -> web.Response:
        """Answers when every node has moved: 200, else 502 with the nodes that did not."""
        if self._advance is None:
            return web.json_response({"error": "Start with --clock test to move the clock."}, status=409)
        body = await request.read()
        answers = await asyncio.gather(*(self._tell(node, body) for node in self._nodes))
        refused = [answer for answer in answers if answer[0] == 400]
        if refused:
            return web.json_response(refused[0][1], status=400)
        failed = {
            node.name: answer.get("error", "failed")
            for node, (status, answer) in zip(self._nodes, answers, strict=True)
            if status != 200
        }
        if failed:
            return web.json_response({"error": "Some nodes did not move their clock.", "nodes": failed}, status=502)
        self._advance(float(json.loads(body)["advance"]))
        return web.json_response({"now": self._wall()})

    async def _node_status(self, node: KnownNode) -> dict[str, Any]:  # Any: the node's own JSON, passed on
        known: dict[str, Any] = {"name": node.name, "mode": node.mode, "region": node.region, "admin": node.admin}
        try:
            async with self._session.get(node.admin + "/status") as response:
                response.raise_for_status()
                answer: dict[str, Any] = await response.json()
                return known | answer
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            return known | {"ready": False, "error": str(error) or type(error).__name__}

    async def _tell(
        self, node: KnownNode, body: bytes, path: str = "/clock"
    ) -> tuple[int, dict[str, Any]]:  # Any: as above
        try:
            async with self._session.post(node.admin + path, data=body) as response:
                return response.status, await response.json()
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            return 0, {"error": str(error) or type(error).__name__}


def application(
    control: Control, rest: Rest, streams: Streams, orders: Orders, tier_key: str | None
) -> web.Application:
    """Everything the control plane answers."""

    @web.middleware
    async def gate(request: web.Request, handler: Handler) -> web.StreamResponse:
        """The API looks after itself; anybody may ask whether it is alive. All else is for operators and nodes: on this
        machine, or with the key of the tiers, and never for a page in a browser."""
        if request.path == "/healthz" or request.path.startswith(f"/{API_VERSION}/"):
            return await handler(request)
        proven = tier_key is not None and is_tier(request.remote, request.headers.get(TIER), tier_key)
        page = from_a_page({name.lower(): value for name, value in request.headers.items()})
        if not proven and (page or not (request.path == FEED or is_loopback(request.remote))):
            return web.json_response({"error": FOR_OPERATORS}, status=403)
        return await handler(request)

    made = web.Application(client_max_size=BODY_MAX, middlewares=[gate])
    control.add_to(made)
    orders.add_to(made)
    made.router.add_post(FEED, streams.follow)
    made.router.add_route("*", f"/{API_VERSION}/{{operation:.*}}", rest.handle)
    return made


def new_session() -> aiohttp.ClientSession:
    """A client for the nodes' admin listeners: direct, whatever proxy the environment names."""
    return aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=NODE_TIMEOUT), trust_env=False)
