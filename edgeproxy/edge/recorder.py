"""One record per request, made when the last byte is out: counters and the access log are computed from it alone."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace

from edgeproxy.edge.admission import Refused
from edgeproxy.edge.ask import Ask
from edgeproxy.edge.node import Clocks, Place, Serving
from edgeproxy.edge.present import Trace
from edgeproxy.errors import Detail, EdgeError
from edgeproxy.headers import Headers
from edgeproxy.message import Client, Delivery, Incoming, Peer, ResponseHead
from edgeproxy.model import Distribution
from edgeproxy.outcome import Result
from edgeproxy.telemetry.counters import Counter, Counters
from edgeproxy.telemetry.log import AccessLog
from edgeproxy.telemetry.record import Record

RESULTS = {
    Result.HIT: Counter.RESULT_HIT,
    Result.REFRESH_HIT: Counter.RESULT_REFRESH_HIT,
    Result.MISS: Counter.RESULT_MISS,
    Result.ERROR: Counter.RESULT_ERROR,
    Result.REDIRECT: Counter.RESULT_REDIRECT,
    Result.LIMIT_EXCEEDED: Counter.RESULT_LIMIT,
    Result.CAPACITY_EXCEEDED: Counter.RESULT_CAPACITY,
}

_CONTENT_RANGE = re.compile(rb"bytes (\d{1,18})-(\d{1,18})/")


def _cut_by(delivery: Delivery) -> str:
    detail = Detail.CLIENT_HUNG_UP if delivery.sender_left else Detail.ABORTED_ORIGIN
    return str(detail.value)


Sent = Callable[[Delivery], None]


def gone(incoming: Incoming, now: float) -> Delivery:
    """What is delivered to a viewer that leaves before there is an answer."""
    return Delivery(0, incoming.head_bytes, None, now, complete=False, sender_left=True)


class Recorder:
    """Counts and logs what one worker answered. What other workers asked for, they log themselves."""

    def __init__(self, place: Place, log: AccessLog, counters: Counters, clocks: Clocks) -> None:
        self._place = place
        self.log = log
        self._counters = counters
        self._clocks = clocks

    def finished(self, ask: Ask, head: ResponseHead, tunnel: bool) -> Sent:
        """What to call when an answer to this request is over."""

        def sent(delivery: Delivery) -> None:
            if ask.presenter.peer is not Peer.WORKER:
                self.finish(self.record(ask, head, delivery, tunnel))

        return sent

    def record(self, ask: Ask, head: ResponseHead, delivery: Delivery, tunnel: bool = False) -> Record:
        """What is to be said of a request whose answer is over."""
        record = self._record(
            ask.incoming, ask.client, ask.distribution, ask.serving, ask.request_id, head, ask.trace, delivery
        )
        record.behavior = ask.behavior.pattern
        record.path, record.query = ask.request.path, ask.request.query
        record.protocol = ask.request.scheme
        record.tunnel = tunnel
        return record

    def left(self, ask: Ask) -> None:
        """The viewer left before there was an answer."""
        self._over(ask, ResponseHead(0, Headers()), Detail.CLIENT_HUNG_UP, None)

    def broken(self, ask: Ask, error: EdgeError) -> None:
        """What the viewer sent after the head was no request; the connection answers by itself."""
        self._over(ask, ResponseHead(error.status, Headers()), error.detail, self._clocks.monotonic())

    def _over(self, ask: Ask, head: ResponseHead, detail: Detail, first_byte_at: float | None) -> None:
        ask.trace.result = Result.ERROR
        ask.trace.detail = detail.value
        now = self._clocks.monotonic()
        self.finished(ask, head, False)(
            Delivery(0, ask.incoming.head_bytes, first_byte_at, now, complete=False, sender_left=True)
        )

    def refused(
        self,
        incoming: Incoming,
        refused: Refused,
        serving: Serving,
        request_id: str,
        head: ResponseHead,
        trace: Trace,
    ) -> Sent:
        """The same for a request that was not admitted."""
        trace.detail = None if refused.detail is None else refused.detail.value

        def sent(delivery: Delivery) -> None:
            if incoming.client.peer is Peer.WORKER:
                return
            self.finish(
                self._record(incoming, refused.client, refused.distribution, serving, request_id, head, trace, delivery)
            )

        return sent

    def _record(
        self,
        incoming: Incoming,
        client: Client,
        distribution: Distribution | None,
        serving: Serving,
        request_id: str,
        head: ResponseHead,
        trace: Trace,
        delivery: Delivery,
    ) -> Record:
        request, headers = incoming.head, head.headers
        result, detail = trace.result, trace.detail
        if not delivery.complete:
            result = Result.ERROR
            if detail is None:
                detail = _cut_by(delivery)
        first = delivery.first_byte_at
        length = headers.get(b"content-length")
        part = _CONTENT_RANGE.match(headers.get(b"content-range") or b"")
        return Record(
            ended_at=self._clocks.wall(),
            method=request.method,
            path=request.path,
            query=request.query,
            host=request.authority,
            status=head.status,
            result=result,
            response_result=trace.result,
            request_id=request_id,
            location=self._place.code,
            client_address=client.address,
            client_port=client.port,
            domain="" if distribution is None else distribution.domain,
            request_headers=request.headers,
            head_bytes=incoming.head_bytes,
            cookies=serving.settings.log.cookies,
            detailed=detail,
            protocol=request.scheme,
            version=request.version,
            bytes_in=delivery.bytes_in,
            bytes_out=delivery.bytes_out,
            time_taken=delivery.ended_at - incoming.received_at,
            first_byte=None if first is None else first - incoming.received_at,
            tls_protocol=client.tls_protocol,
            tls_cipher=client.tls_cipher,
            content_type=headers.get(b"content-type"),
            content_length=int(length) if length is not None and length.isdigit() else None,
            range=None if part is None else (int(part[1]), int(part[2])),
            node=self._place.name,
            mode=self._place.mode,
            distribution="" if distribution is None else distribution.id,
            reasons=tuple(reason for reason in (trace.reason, trace.refusal) if reason is not None),
            source="memory" if trace.reason is None else " ".join(trace.tiers),
            upstream_status=trace.forwarded_status,
            upstream_seconds=trace.upstream_seconds,
        )

    def repeated(
        self,
        record: Record,
        client: Client,
        viewer: str | None,
        headers: Headers,
        request_id: str,
        began: float,
        delivery: Delivery,
    ) -> None:
        """An answer like the one that `record` tells of is over: to another request, in its own time.

        `viewer`: the viewer's address, where that is not the client's.
        """
        again = replace(
            record,
            ended_at=self._clocks.wall(),
            request_id=request_id,
            request_headers=headers,
            head_bytes=delivery.bytes_in,
            client_address=client.address if viewer is None else viewer,
            client_port=client.port,
            tls_protocol=client.tls_protocol,
            tls_cipher=client.tls_cipher,
            bytes_in=delivery.bytes_in,
            bytes_out=delivery.bytes_out,
            time_taken=delivery.ended_at - began,
            first_byte=None if delivery.first_byte_at is None else delivery.first_byte_at - began,
        )
        if not delivery.complete:
            again.result, again.detailed = Result.ERROR, again.detailed or _cut_by(delivery)
        self.finish(again)

    def finish(self, record: Record) -> None:
        """Count and log."""
        add = self._counters.add
        add(RESULTS[record.result])
        add(Counter.BYTES_OUT, record.bytes_out)
        add(Counter.BYTES_IN, record.bytes_in)
        self.log.write(record)
