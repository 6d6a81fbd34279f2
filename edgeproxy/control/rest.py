"""CloudFront's API over HTTP: a request becomes a call of an operation, its outcome an answer. Every refusal is
CloudFront's XML with its code and status; nothing of a refused request has any effect."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit
from uuid import UUID

from aiohttp import web

from edgeproxy.control import operations, xml
from edgeproxy.control.access import Asking, check_signature, from_a_page
from edgeproxy.control.operations import Asked, Operation, Outcome
from edgeproxy.control.plane import Plane
from edgeproxy.control.refusals import NOT_MODELLED, Refused, refuse
from edgeproxy.control.service import API_VERSION, Call, find, payload_of, statuses
from edgeproxy.control.state import Change
from edgeproxy.control.things import Moment
from edgeproxy.feed import Json

log = logging.getLogger(__name__)

BODY_MAX = 2 * 1024 * 1024
"""Bytes of a request's body: the largest configuration that the quotas allow is well below 1 MiB."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """Quotas and patience of the API."""

    files_max: int = 3000
    wildcards_max: int = 15
    hold: float = 2
    """Seconds that an answer about something in progress is held back (rule 14)."""
    any_host: bool = False
    """Clients may know the API by any name: it listens for other machines."""


class Rest:
    """The handler of everything below /2020-05-31/."""

    def __init__(
        self,
        plane: Plane,
        keys: Mapping[str, str],
        wall: Callable[[], float],
        random_bytes: Callable[[int], bytes],
        bounds: Bounds = Bounds(),
    ) -> None:
        self._plane = plane
        self._keys = keys
        self._wall = wall
        self._random_bytes = random_bytes
        self._bounds = bounds

    async def handle(self, request: web.Request) -> web.Response:
        """One request."""
        request_id = str(UUID(bytes=self._random_bytes(16), version=4))
        try:
            answer = await self._answered(request)
        except Refused as refusal:
            status = NOT_MODELLED.get(refusal.code) or statuses().get(refusal.code, 400)
            answer = _refusal(refusal.code, str(refusal), status, request_id)
        except web.HTTPRequestEntityTooLarge:
            answer = _refusal("RequestEntityTooLarge", f"A body has up to {BODY_MAX} bytes.", 413, request_id)
        except (RecursionError, ArithmeticError, LookupError, TypeError, ValueError, AttributeError):
            # A defect of ours: the client is told so in its own language, and nothing was changed.
            log.exception("%s %s could not be carried out", request.method, request.path)
            answer = _refusal("InternalFailure", "The request failed because of an error here.", 500, request_id)
        answer.headers["x-amzn-RequestId"] = request_id
        return answer

    async def _answered(self, request: web.Request) -> web.Response:
        body = await request.read()
        self._check_access(request, body)
        target = urlsplit(request.raw_path)
        call = find(request.method, target.path, target.query, request.headers)
        if call is None:
            refuse("UnknownOperation", f"{request.method} {target.path[:200]} is no operation of {API_VERSION}.")
        operation = operations.find(call.operation.name)
        if operation is None:
            refuse("NotImplemented", f"{call.operation.name} is not carried out by edgeproxy.")
        asked = Asked(call.given, _payload(call, body), self._bounds.files_max, self._bounds.wildcards_max)
        outcome = await self._carried_out(operation, asked)
        if outcome.waits_for > self._plane.state.settled:
            await self._plane.settled(outcome.waits_for, self._bounds.hold)
            outcome = await self._carried_out(operation, asked)  # what was asked about may be another one by now
        return self._answer(request, call, outcome)

    async def _carried_out(self, operation: Operation, asked: Asked) -> Outcome:
        def work(moment: Moment) -> tuple[Change, Outcome]:
            outcome = operation(moment, asked)
            return outcome.change, outcome

        return await self._plane.change(work)

    def _check_access(self, request: web.Request, body: bytes) -> None:
        fields = {name.lower(): value for name, value in request.headers.items()}
        if self._keys:
            url = f"{request.scheme}://{request.host}{request.raw_path}"
            check_signature(Asking(request.method, url, fields, body), self._keys, self._wall())
        elif from_a_page(fields, any_host=self._bounds.any_host):
            refuse("AccessDenied", "Pages may not use this API while it has no access keys.")

    def _answer(self, request: web.Request, call: Call, outcome: Outcome) -> web.Response:
        shape = call.operation.output_shape
        member = shape.serialization.get("payload") if shape is not None else None
        body = b""
        if member is not None:
            part = shape.members[member]
            name = part.serialization.get("name", member)
            body = xml.serialise(part, name, outcome.show(self._plane.state))
        answer = web.Response(status=call.operation.http.get("responseCode", 200), body=body)
        if body:
            answer.content_type = "text/xml"
        if outcome.etag and shape is not None and "ETag" in shape.members:
            answer.headers["ETag"] = outcome.etag
        if outcome.location:
            answer.headers["Location"] = f"{request.scheme}://{request.host}/{API_VERSION}/{outcome.location}"
        return answer


def _payload(call: Call, body: bytes) -> Json:
    wanted = payload_of(call.operation)
    if wanted is None:
        return {}
    member, shape, element = wanted
    if not body.strip():
        if member and member not in call.operation.input_shape.required_members:
            return {}
        refuse("MissingBody", "This operation requires a body. Ensure that the body is present.")
    value: Json = xml.parse(shape, element, body)
    return value


def _refusal(code: str, message: str, status: int, request_id: str) -> web.Response:
    body = xml.error(code, message, request_id, sender=status < 500)
    return web.Response(status=status, body=body, content_type="text/xml")
