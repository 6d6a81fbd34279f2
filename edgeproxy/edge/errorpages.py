"""A distribution's own pages in the stead of errors (fact sheet 2.8).

The page is fetched like any object, through the behaviour that its path falls under, and cached by that behaviour's
rules; the error stays cached under the object's own key. Only the first tier does this: for the others an error is an
error.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace

from edgeproxy.cloudfront.deployment import Chosen
from edgeproxy.cloudfront.fields import x_cache
from edgeproxy.cloudfront.pages import Cause
from edgeproxy.edge.admission import Admission, Refused
from edgeproxy.edge.ask import Ask
from edgeproxy.edge.node import Serving
from edgeproxy.message import Answer, Client, Incoming, RequestHead, ResponseHead, no_body
from edgeproxy.model import Distribution, ErrorPage
from edgeproxy.outcome import Result
from edgeproxy.rules.validation import PRECONDITIONS
from edgeproxy.telemetry.counters import Counter, Counters

CLOSING = frozenset({400, 405, 414, 416, 500, 501})
"""Errors after whose page the connection is closed."""
_NOT_FOR_THE_PAGE = PRECONDITIONS | {b"range", b"content-length", b"content-type", b"transfer-encoding", b"expect"}
_UNSAFE = frozenset({Cause.LOOP, Cause.NOT_A_TIER})
"""Refusals that get no page: to fetch one would be more of the same."""


class ErrorPages:
    """Fetches pages for one worker; `answer` is the pipeline's way from an ask to an answer."""

    def __init__(
        self,
        admission: Admission,
        answer: Callable[[Ask], Awaitable[Answer]],
        counters: Counters,
    ) -> None:
        self._admission = admission
        self._answer = answer
        self._counters = counters

    async def instead(self, answer: Answer, ask: Ask) -> Answer:
        """The page for an error, or the error where there is none for a viewer's request: none for want of capacity,
        which fetching one more thing would not help."""
        if ask.hop is not None or answer.tunnel is not None or ask.trace.result is Result.CAPACITY_EXCEEDED:
            return answer
        return await self._fetched(
            answer, ask.incoming, ask.client, ask.distribution, ask.serving, ask.request_id, ask.deployed
        )

    async def instead_of_refusal(
        self, answer: Answer, incoming: Incoming, refused: Refused, serving: Serving, request_id: str
    ) -> Answer:
        """The same for a request that was not admitted."""
        distribution = refused.distribution
        if distribution is None or refused.mismatch is not None or refused.cause in _UNSAFE:
            return answer
        return await self._fetched(answer, incoming, refused.client, distribution, serving, request_id)

    async def _fetched(
        self,
        answer: Answer,
        incoming: Incoming,
        client: Client,
        distribution: Distribution,
        serving: Serving,
        request_id: str,
        deployed: Chosen | None = None,
    ) -> Answer:
        status = answer.head.status
        page = distribution.error_pages.get(status)
        if page is None:
            return answer
        asking = replace(incoming, head=request_for(page, incoming.head), body=no_body(), raw=b"")
        made = await self._answer(
            self._admission.for_page(asking, incoming.head, distribution, client, serving, request_id, deployed)
        )
        self._counters.add(Counter.ERROR_PAGES)
        answer.body.close()
        answer.head, answer.body = _as_error(made.head, page), made.body
        answer.close = answer.close or status in CLOSING
        return answer


def request_for(page: ErrorPage, failed: RequestHead) -> RequestHead:
    """The request that fetches a page in the stead of what `failed` asked for."""
    headers = failed.headers.without(_NOT_FOR_THE_PAGE)
    method = "HEAD" if failed.method == "HEAD" else "GET"
    return replace(failed, method=method, target=page.path.encode(), headers=headers)


def _as_error(head: ResponseHead, page: ErrorPage) -> ResponseHead:
    """The page's head under the status that is set for it; a page that could not be had under its own."""
    headers = head.headers
    if b"x-cache" in headers:
        headers = headers.replaced(b"X-Cache", x_cache(Result.ERROR))
    if head.status != 200:
        return head.with_headers(headers)
    return ResponseHead(page.status, headers)
