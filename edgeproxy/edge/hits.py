"""A connection's half of the hit lane: prepared answers go out here, in the turn in which their request came in.

This is the hot path: a look into a dict, some comparisons, one write. On plain TCP the bytes go straight to the
socket, as long as the transport holds none itself; what the socket does not take, the transport is given.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
from dataclasses import replace
from functools import lru_cache

from edgeproxy.edge.delivery import Outlet
from edgeproxy.edge.door import Door
from edgeproxy.edge.http1 import parse_head
from edgeproxy.edge.lane import Known, Space
from edgeproxy.edge.pour import BATCH_MAX, PARTS_MAX, Pour
from edgeproxy.edge.prepared import Reply
from edgeproxy.edge.timer import LazyTimer
from edgeproxy.message import Client, Delivery
from edgeproxy.telemetry.counters import Counter
from edgeproxy.telemetry.record import text_of

_REQUESTS, _LANE_HITS = int(Counter.REQUESTS), int(Counter.LANE_HITS)
_BYTES_IN, _BYTES_OUT = int(Counter.BYTES_IN), int(Counter.BYTES_OUT)

_NO_LINGER = struct.pack("ii", 1, 0)

NOTHING: dict[bytes, Known] = {}
"""No heads at all; nobody writes to it."""

_TURN_MAX = 2 * 1024 * 1024
"""Bytes sent to one viewer in a turn of the loop: half a millisecond."""

_HANDED_MAX = 64 * 1024
"""Bytes of a large answer that the transport is given when the socket takes no more."""


class Hits(asyncio.Protocol):
    """The base of a connection. Whoever builds on it says in `_received` what becomes of all other bytes.

    `_ready` is where heads are looked up. It is empty while bytes that arrive might be no head, or what they ask for
    could not be answered at once: then everything goes to `_received`.
    """

    __slots__ = (
        "_address", "_busy_at", "_closed_here", "_door", "_lane", "_loop", "_outlet", "_paused", "_port", "_pour",
        "_ready", "_scheme", "_space", "_tls", "_transport", "_unflushed", "_write_timer", "accepted", "client",
    )  # fmt: skip

    def __init__(self, door: Door, client: Client, accepted: socket.socket | None) -> None:
        """`accepted`: the socket, where what is sent through it is what the viewer gets; None under TLS."""
        self._door = door
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport
        self._scheme = "http"
        self.client = client
        """Who is at the other end."""
        self._lane = door.lane
        self._space: Space | None = None
        self._ready: dict[bytes, Known] = NOTHING
        self.accepted = accepted
        self._busy_at = 0.0
        """When the last prepared answer went out, on the loop's clock."""
        self._pour: Pour | None = None
        """A large body on its way out."""
        self._address = b""
        """The viewer's, as the log has it; empty until it is needed."""
        self._paused = False
        """The transport holds more than it should."""
        self._unflushed = 0
        self._closed_here = False
        self._outlet: Outlet | None = None
        self._write_timer: LazyTimer | None = None

    def data_received(self, data: bytes) -> None:
        ready = self._ready
        known = ready.get(data)
        if known is None and ready is not NOTHING and data.endswith(b"\r\n\r\n"):
            known = self._match(data)
        if known is None or not self._answer(known, data):
            self._received(data)

    def _received(self, data: bytes) -> None:
        raise NotImplementedError

    def _answer_at_once(self, head: bytes) -> bool:
        """Answer one whole head if that is prepared, and nothing is on its way to the viewer before it."""
        lane = self._lane
        if lane is None or self._transport.get_write_buffer_size():
            return False
        space = self._space
        if space is None or space.gone:
            space = self._space = lane.space(self.client, self._scheme)
            if space is None:
                self._lane = None
                return False
        known = space.find(head, self._door.limits.fields_max)
        if known is None:
            return False
        if not self._address:
            self._introduce(known.reply)
        return self._answer(known, head)

    def _match(self, head: bytes) -> Known | None:
        """What is known of another head that means the same. Several heads are none: there is an empty line in them."""
        limits = self._door.limits
        if self._space is None or len(head) > limits.head_max:
            return None
        return self._space.match(head, limits.fields_max)

    def _introduce(self, reply: Reply) -> None:
        """What the log says of this connection, request after request."""
        client = self.client
        self._address = text_of(client.address.encode())
        self._port = b"%d" % client.port
        self._tls = _secured(client.tls_protocol or "", client.tls_cipher or "", reply.line[11])

    def _answer(self, known: Known, head: bytes) -> bool:
        """Answer with what is known, if it is still right; False: nothing has been done."""
        lane, reply = self._lane, known.reply
        if lane is None:
            return False
        now = lane.wall()
        if not (
            reply.since <= now < reply.until
            and lane.generations[reply.bucket] == reply.generation
            and lane.standings[0] == reply.standing
            and not (lane.leases[0] and lane.lapsed())
            and (reply.edition is None or lane.editions[reply.edition_bucket] == reply.edition)
        ):
            if not lane.ready(known, now):
                return False
            reply = known.reply
        if reply.uses:
            lane.use(reply)
        if not lane.ids:
            lane.more_ids()
        request_id = lane.ids.pop()
        after = reply.after_id
        start = reply.before_id if after is None else reply.before_id + request_id + after
        row = lane.row
        row[_REQUESTS] += 1
        row[_LANE_HITS] += 1
        if reply.copied:
            data = start + reply.body
            peer = self.accepted
            if peer is None:
                self._transport.write(data)
            else:
                try:
                    sent = peer.send(data)
                except OSError:  # it takes nothing now; or the transport will find out why it never will
                    sent = 0
                if sent != reply.size:
                    self._hand_over(memoryview(data)[sent:])
        elif not self._send_pieces(known, head, start, request_id):
            return True  # what is to be told is told when the rest is out
        row[reply.result] += 1
        row[_BYTES_OUT] += reply.size
        row[_BYTES_IN] += len(head)
        if lane.take is not None:
            lane.take(
                (
                    reply.lead, known.address or self._address, known.before_id, request_id, known.behind_id,
                    self._tls, known.tls_on, self._port, known.last,
                ),
                known.weight,
            )  # fmt: skip
        self._busy_at = self._loop.time()
        return True

    # The viewer's pace

    def _outlet_there(self) -> Outlet:
        """The writing half as exchanges know it; a connection that only ever saw hits needs none."""
        outlet = self._outlet
        if outlet is None:
            outlet = self._outlet = Outlet(self._transport, self._door.monotonic)
            if self._paused:
                outlet.pause()
        return outlet

    def pause_writing(self) -> None:
        self._paused = True
        self._ready = NOTHING
        if self._outlet is not None:
            self._outlet.pause()
        self._watch_writing()

    def resume_writing(self) -> None:
        self._paused = False
        self._relax()
        if self._outlet is not None:
            self._outlet.resume()
        if self._write_timer is not None and not self._closed_here:
            self._write_timer.disarm()
        # Not at once: a transport of asyncio that is closed in here tells twice that it is lost.
        self._loop.call_soon(self._go_on_writing)

    def _go_on_writing(self) -> None:
        raise NotImplementedError

    def _watch_writing(self) -> None:
        self._unflushed = self._transport.get_write_buffer_size()
        if self._write_timer is None:
            self._write_timer = LazyTimer(self._loop, self._write_expired)
        self._write_timer.arm(self._door.settings.write_timeout)

    def _write_expired(self) -> None:
        raise NotImplementedError

    def _write_out(self, data: bytes) -> None:
        """Send a whole answer that the transport may hold."""
        if self.accepted is None or self._transport.get_write_buffer_size():
            self._transport.write(data)
            return
        try:
            sent = self.accepted.send(data)
        except OSError:  # as above
            sent = 0
        if sent != len(data):
            self._hand_over(memoryview(data)[sent:])

    # What is too large for one piece

    def _send_pieces(self, known: Known, head: bytes, start: bytes, request_id: bytes) -> bool:
        """Send a head and blocks that are not copied. True when all of it is out."""
        lane, reply = self._lane, known.reply
        if lane is None or reply.stored is None:
            raise AssertionError("an answer that is not prepared")
        parts = (start, *(reply.blocks or (reply.body,)))
        sent = 0
        if self.accepted is not None and reply.size <= BATCH_MAX and len(parts) <= PARTS_MAX:
            try:
                sent = self.accepted.sendmsg(parts)
            except OSError:
                sent = 0
            if sent == reply.size:
                return True
        elif self.accepted is None and reply.size <= self._door.settings.write_buffer:
            for part in parts:
                self._transport.write(part)
            return True
        self._ready = NOTHING
        self._pour = pour = Pour(known, head, request_id, parts, lane.monotonic(), lane.store.lend(reply.stored))
        pour.advance(sent)
        self._pour_on()
        return False

    def _pour_on(self) -> None:
        """Send what the viewer takes now, and no more in one turn than others can bear to wait for."""
        pour, room = self._pour, _TURN_MAX
        while pour is not None and pour.left and not self._paused:
            if self._transport.is_closing():
                return
            if room <= 0:
                self._loop.call_soon(self._pour_on)
                return
            if self.accepted is not None:
                batch = pour.batch(BATCH_MAX)
                try:
                    sent = self.accepted.sendmsg(batch)
                except OSError:
                    sent = 0
                pour.advance(sent)
                room -= sent
                if sent == sum(map(len, batch)):
                    continue
            piece = pour.batch(_HANDED_MAX)[0]
            pour.advance(len(piece))
            room -= len(piece)
            self._hand_over(piece)
        if pour is not None and not pour.left:
            self._poured(complete=True)
            self._settled()

    def _hand_over(self, rest: memoryview) -> None:
        """Let the transport send what the socket did not take. It says at once that it holds something, and later that
        it holds nothing any more: only then is more offered to the socket."""
        if self.accepted is not None:
            self._transport.set_write_buffer_limits(high=0)
        self._transport.write(rest)
        if not self._paused:
            self._relax()

    def _relax(self) -> None:
        """What is written by others may pile up a little again."""
        self._transport.set_write_buffer_limits(high=self._door.settings.write_buffer)

    def _idle_left(self) -> float:
        """Seconds that a viewer still has before it is idle: its time counts from the last answer, whoever gave it."""
        if not self._busy_at:
            return 0.0
        return self._busy_at + self._door.settings.idle_timeout - self._loop.time()

    def _settled(self) -> None:
        """A large answer is out."""
        raise NotImplementedError

    def _poured(self, *, complete: bool, viewer_left: bool = False) -> None:
        """A large answer is over: give back what it held, and say what went out."""
        pour, lane = self._pour, self._lane
        if pour is None or lane is None:
            return
        self._pour = None
        pour.returned()
        self._busy_at = self._loop.time()
        lane.recorder.repeated(
            pour.known.reply.record,
            self.client,
            pour.known.viewer,
            parse_head(pour.head, self._scheme, self._door.limits).head.headers,
            pour.request_id.decode(),
            pour.began,
            Delivery(pour.sent, len(pour.head), pour.began, lane.monotonic(), complete, viewer_left),
        )


@lru_cache(64)
def _secured(protocol: str, cipher: str, between: bytes) -> bytes:
    return text_of(protocol.encode()) + between + text_of(cipher.encode())


def reset(transport: asyncio.Transport) -> None:
    """Drop a connection so that the other side sees it is broken; what is still to be sent is not."""
    peer: socket.socket | None = transport.get_extra_info("socket")
    if peer is not None and not transport.is_closing():
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
    transport.abort()


def with_tls(client: Client, transport: asyncio.Transport) -> Client:
    """A client with what its TLS session is, if it has one."""
    secured: ssl.SSLObject | None = transport.get_extra_info("ssl_object")
    if secured is None:
        return client
    cipher = secured.cipher()
    return replace(
        client,
        tls_protocol=secured.version() or "",
        tls_cipher=cipher[0] if cipher else None,
        tls_resumed=bool(secured.session_reused),
    )
