"""The answers to requests that were not admitted."""

from __future__ import annotations

import asyncio

from edgeproxy.cloudfront import pages
from edgeproxy.edge.admission import Admission, Refused
from edgeproxy.edge.errorpages import ErrorPages
from edgeproxy.edge.hop import HopAnswer
from edgeproxy.edge.invalidation import Ledger
from edgeproxy.edge.node import Clocks, Serving
from edgeproxy.edge.present import Trace
from edgeproxy.edge.recorder import Recorder, gone
from edgeproxy.message import Answer, BytesBody, Incoming, Peer
from edgeproxy.outcome import Result


class Refusals:
    """Refuses for one worker."""

    def __init__(
        self, admission: Admission, error_pages: ErrorPages, ledger: Ledger, recorder: Recorder, clocks: Clocks
    ) -> None:
        self._admission = admission
        self._error_pages = error_pages
        self._ledger = ledger
        self._recorder = recorder
        self._clocks = clocks

    async def answer(self, incoming: Incoming, refused: Refused, serving: Serving, request_id: str) -> Answer:
        """A generated page, or the distribution's own; a tier is told what does not match."""
        peer = Peer.VIEWER if refused.mismatch is None else Peer.TIER
        presenter = self._admission.presenter(serving, refused.distribution, request_id, peer)
        trace = Trace(result=refused.result, generated=True, as_of=self._ledger.applied())
        head, body = pages.page(presenter.rules, refused.status, refused.cause, request_id, refused.location)
        head = presenter.head(head, trace, self._clocks.wall())
        if refused.mismatch is not None:
            told = HopAnswer(self._ledger.applied(), Result.ERROR, refused.mismatch)
            head = head.with_headers(head.headers.without({b"edgeproxy-hop"}).plus(told.field()))
        unread = incoming.body.length != 0
        answer = Answer(head, BytesBody([body]), close=unread or refused.distribution is None)
        try:
            answer = await self._error_pages.instead_of_refusal(answer, incoming, refused, serving, request_id)
        except asyncio.CancelledError:
            sent = self._recorder.refused(incoming, refused, serving, request_id, head, trace)
            sent(gone(incoming, self._clocks.monotonic()))
            raise
        answer.sent = self._recorder.refused(incoming, refused, serving, request_id, answer.head, trace)
        return answer
