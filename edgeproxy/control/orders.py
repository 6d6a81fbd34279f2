"""What the command line asks for beside CloudFront's API, in JSON: invalidations with their progress, and the nodes.

GET  /nodes                    the list that invalidations wait for (INVALIDATION, rules 7 and 8)
POST /nodes/NAME/forget        take one off it: whoever asks vouches that it serves nobody any more
POST /invalidations            {"distribution": ID, "paths": [...], "tags": [...], "soft": false}
GET  /invalidations/ID         its progress; with ?nodes=N&wait=SECONDS once more or fewer nodes than N are waited for
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Mapping
from typing import Any

from aiohttp import web

from edgeproxy.control.invalidations import invalidate
from edgeproxy.control.plane import Plane
from edgeproxy.control.refusals import NOT_MODELLED, Refused, refuse
from edgeproxy.control.rest import Bounds
from edgeproxy.control.service import statuses
from edgeproxy.control.state import Invalidation

WAIT_MAX = 60.0
"""Seconds one GET waits at most."""


class Orders:
    """The handlers."""

    def __init__(self, plane: Plane, bounds: Bounds) -> None:
        self._plane = plane
        self._bounds = bounds

    def add_to(self, application: web.Application) -> None:
        """The routes."""
        application.router.add_get("/nodes", self.nodes)
        application.router.add_post("/nodes/{name}/forget", self.forget)
        application.router.add_post("/invalidations", self.invalidate)
        application.router.add_get("/invalidations/{id}", self.progress)

    async def nodes(self, request: web.Request) -> web.Response:
        """Every node on the list, and how far each has come."""
        plane = self._plane
        lapsed = set(plane.lapsed())
        found = [
            {
                "name": each.name,
                "incarnation": each.incarnation,
                "acknowledged": each.number if each.epoch == plane.state.epoch else 0,
                "connected": each.name in plane.sessions,
                "lapsed": each.name in lapsed,
            }
            for each in sorted(plane.state.members.values(), key=lambda each: each.name)
        ]
        state = plane.state
        words = {"epoch": state.epoch, "number": state.number, "settled": state.settled, "low_water": state.low_water}
        return web.json_response({**words, "nodes": found})

    async def forget(self, request: web.Request) -> web.Response:
        """404 when there is no such node."""
        name = request.match_info["name"]
        known = sorted(self._plane.state.members)
        if not await self._plane.leave(name):
            return _refused(
                Refused("NoSuchNode", f"There is no node {name!r}; there are: {', '.join(known) or 'none'}.")
            )
        return web.json_response({"name": name, "forgotten": True})

    async def invalidate(self, request: web.Request) -> web.Response:
        """201 with the progress so far."""
        try:
            words = _words(await request.read())
            reference = f"edgeproxy-{self._plane.names.short('')}"
            items = [*_texts(words, "paths"), *(f"#{tag}" for tag in _texts(words, "tags"))]
            distribution, soft = words.get("distribution"), words.get("soft", False)
            if not isinstance(distribution, str) or not isinstance(soft, bool):
                refuse("InvalidArgument", "Send a distribution (text), paths and tags (lists of text), soft (bool).")
            made = await self._plane.change(
                lambda moment: invalidate(
                    moment,
                    distribution,
                    items,
                    reference,
                    files_max=self._bounds.files_max,
                    wildcards_max=self._bounds.wildcards_max,
                    soft=soft,
                )
            )
        except Refused as refusal:
            return _refused(refusal)
        return web.json_response(self._progress(made), status=201)

    async def progress(self, request: web.Request) -> web.Response:
        """404 when there is none."""
        found = self._plane.state.invalidations.get(request.match_info["id"])
        if found is None:
            return _refused(Refused("NoSuchInvalidation", "The specified invalidation does not exist."))
        seen, wait = _number(request.query.get("nodes")), _number(request.query.get("wait"))
        if seen is not None and wait is not None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(min(wait, WAIT_MAX)):
                    while len(self._plane.waiting_for(found.number)) == seen:
                        await self._plane.settled_moved.next()
        return web.json_response(self._progress(found))

    def _progress(self, found: Invalidation) -> dict[str, Any]:  # Any: JSON
        state = self._plane.state
        return {
            "id": found.id,
            "distribution": found.distribution,
            "number": found.number,
            "status": "Completed" if state.completed(found) else "InProgress",
            "waiting_for": self._plane.waiting_for(found.number),
            "nodes": sorted(state.members),
        }


def _words(body: bytes) -> Mapping[str, object]:
    try:
        words = json.loads(body)
    except (ValueError, RecursionError):
        words = None
    if not isinstance(words, dict):
        refuse("InvalidArgument", "Send one JSON object.")
    return words


def _texts(words: Mapping[str, object], name: str) -> list[str]:
    value = words.get(name, [])
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        refuse("InvalidArgument", f"{name}: expected a list of text")
    return value


def _number(text: str | None) -> float | None:
    return float(text) if text and text.isascii() and text.isdigit() and len(text) < 10 else None


def _refused(refusal: Refused) -> web.Response:
    status = NOT_MODELLED.get(refusal.code) or statuses().get(refusal.code, 400)
    return web.json_response({"error": str(refusal), "code": refusal.code}, status=status)
