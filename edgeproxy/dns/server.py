"""The resolver's UDP sockets, and what stands between them and an answer: memory, rate limits, cookies, counters.

The loop that reads datagrams is ours, on plain non-blocking sockets: no answer is ever queued here, since a datagram
that the system does not take at once is better lost (the asker tries again) than kept.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from ipaddress import ip_network

from edgeproxy.dns.answer import Conditions, Reply, refusal, servfail, truncation
from edgeproxy.dns.cookies import Cookies
from edgeproxy.dns.limit import Limiter, Passage
from edgeproxy.dns.memo import Memo
from edgeproxy.dns.policy import Client, Measured
from edgeproxy.dns.query import QUERY_SIZE_MAX, Rcode, read
from edgeproxy.dns.querylog import QueryLog
from edgeproxy.dns.sockets import Listener, bind
from edgeproxy.dns.tally import Tallies
from edgeproxy.dns.tcp import Conversations
from edgeproxy.dns.zone import Zone
from edgeproxy.settings import Resolver
from edgeproxy.telemetry.counters import Counter, Counters

DATAGRAMS_MAX = 32
"""Datagrams answered in one go before other tasks get their turn."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """Clocks in seconds, and bytes nobody can guess."""

    wall: Callable[[], float]
    monotonic: Callable[[], float]
    random_bytes: Callable[[int], bytes]


async def serve(
    settings: Resolver,
    zone: Zone,
    counters: Counters,
    surroundings: Surroundings,
    listeners: Sequence[Listener] | None = None,
) -> Server:
    """Answer on these listeners, or on the addresses of the settings. Raises OSError when one cannot be had.

    The server owns the listeners from here on.
    """
    server = Server(settings, zone, counters, surroundings, bind(settings.listen) if listeners is None else listeners)
    try:
        await server.start()
    except BaseException:  # cancelled or failed: either way the sockets are nobody else's
        await server.close()
        raise
    return server


class Server:
    """Answers queries from its zone until closed. Made by `serve`."""

    def __init__(
        self,
        settings: Resolver,
        zone: Zone,
        counters: Counters,
        surroundings: Surroundings,
        listeners: Sequence[Listener],
    ) -> None:
        self.addresses = tuple(listener.address for listener in listeners)
        """HOST:PORT of each listener, over UDP and TCP alike."""
        secret = settings.cookie_secret
        self._cookies = Cookies(
            surroundings.random_bytes(16) if secret is None else bytes.fromhex(secret), surroundings.wall
        )
        self.zone = zone
        self.conditions = Conditions(
            cookies=self._cookies.check,
            amplification_max=settings.amplification_max,
            nsid=settings.nsid.encode(),
            keepalive=int(settings.tcp_idle_timeout * 10),
        )
        self.tallies = Tallies()
        self._memo = Memo(zone, self.conditions, settings.memo_max, self.tallies)
        self._counters = counters
        self._monotonic = surroundings.monotonic
        self._limiter: Limiter | None = None
        if settings.rate_limit:
            self._limiter = Limiter(settings.rate_limit, [ip_network(text) for text in settings.rate_limit_exempt])
        self._log: QueryLog | None = None
        if settings.query_log != "off" and settings.query_log_share > 0:
            self._log = QueryLog(settings.query_log, settings.query_log_share, surroundings.wall, counters)
        self._listeners = listeners
        self._conversations = Conversations(settings, self._answer_tcp, counters)

    def use(self, zone: Zone) -> None:
        """Answer from this zone from now on; connections stay open."""
        self.zone = zone
        self._memo.use(zone, self.conditions)

    def set_down(self, pops: Collection[str]) -> None:
        """These POPs, and no others, are out of service from now on."""
        down = frozenset(pops)
        if down != self.conditions.down:
            self.conditions = replace(self.conditions, down=down)
            self._memo.use(self.zone, self.conditions)

    def set_measured(self, measured: Measured | None) -> None:
        """Choose by these measurements too; say with `remeasured` when they have changed."""
        self.conditions = replace(self.conditions, measured=measured)
        self._memo.use(self.zone, self.conditions)

    def remeasured(self, clients: Iterable[Client]) -> None:
        """These and the networks around them may get another POP now."""
        self._memo.forget(clients)

    def settle(self) -> None:
        """Bring the counters up to date: remembered answers are counted apart until somebody asks."""
        self.tallies.settle(self._counters)

    async def start(self) -> None:
        """Begin to answer."""
        loop = asyncio.get_running_loop()
        if self._log is not None:
            self._log.start()
        for listener in self._listeners:
            loop.add_reader(listener.udp.fileno(), self._read_datagrams, listener.udp)
        await self._conversations.start([listener.tcp for listener in self._listeners])

    async def close(self) -> None:
        """Stop answering, end the connections, free the addresses. Once closed, nothing more happens."""
        loop = asyncio.get_running_loop()
        for listener in self._listeners:
            loop.remove_reader(listener.udp.fileno())
        await self._conversations.close()
        for listener in self._listeners:
            listener.close()
        self._listeners = ()
        if self._log is not None:
            await self._log.close()
        self.settle()

    def _read_datagrams(self, udp: socket.socket) -> None:
        receive, send = udp.recvfrom, udp.sendto
        find, limiter, now = self._memo.find, self._limiter, self._monotonic()
        arrived = remembered = vouched = 0
        for _ in range(DATAGRAMS_MAX):
            try:
                wire, peer = receive(QUERY_SIZE_MAX + 1)  # One byte more than allowed tells that it was longer.
            except (BlockingIOError, InterruptedError):
                break
            except OSError:
                continue  # An ICMP error for an earlier answer: some systems report it here.
            arrived += 1
            found = find(wire, peer[0])
            if found is None or (
                limiter is not None and found[2] is not None and limiter.is_limited(peer[0], found[2], now)
            ):
                reply = self._answer_udp(wire, peer[0], counted=found is not None)
                if reply is None:
                    continue
            else:
                reply, tally, group = found
                tally.count += 1
                remembered += 1
                vouched += group is None
            if self._log is not None:
                self._log.saw(wire, peer[0], reply)
            try:
                send(reply, peer)
            except OSError:  # No room, no route, port 0.
                self._counters.add(Counter.DNS_UNSENT)
        self._counters.add(Counter.DNS_QUERIES_UDP, arrived)
        self._counters.add(Counter.DNS_REMEMBERED, remembered)
        self._counters.add(Counter.DNS_VOUCHED, vouched)

    def _answer_udp(self, wire: bytes, source: str, *, counted: bool) -> bytes | None:
        """The answer to a query that is not remembered, or over the limit (then it is `counted` already)."""
        reply = self._reply(wire, source, udp=True)
        if reply is None:
            return None
        if self._limiter is not None and not reply.vouched:
            group = hash((reply.group, reply.rcode))
            if counted or self._limiter.is_limited(source, group, self._monotonic()):
                return self._limited(self._limiter, reply, source)
        self.tallies.of(reply).count += 1
        return reply.wire

    def _limited(self, limiter: Limiter, reply: Reply, source: str) -> bytes | None:
        """Nothing, or what lets a real asker prove that it is one: a cookie, or the hint to come over TCP."""
        if limiter.passage() is Passage.DROP:
            self._counters.add(Counter.DNS_DROPPED)
            return None
        self._counters.add(Counter.DNS_SLIPPED)
        edns = reply.query.edns
        if edns is not None and edns.cookie:
            self._counters.add(Counter.DNS_BADCOOKIE)
            return refusal(reply.query, Rcode.BADCOOKIE, self._cookies.check(edns.cookie, source)[0])
        return truncation(reply.query)

    def _answer_tcp(self, wire: bytes, source: str) -> bytes | None:
        self._counters.add(Counter.DNS_QUERIES_TCP)
        reply = self._reply(wire, source, udp=False)
        if reply is None:
            return None
        self.tallies.of(reply).count += 1
        if self._log is not None:
            self._log.saw(wire, source, reply.wire)
        return reply.wire

    def _reply(self, wire: bytes, source: str, *, udp: bool) -> Reply | None:
        try:
            reply = self._memo.reply(wire, source, udp=udp)
        except Exception:  # whatever it is, it is one query's: the asker is told, the others go on
            self._counters.add(Counter.DNS_FAILED)
            query, failure = read(wire), servfail(wire)
            reply = Reply(failure, Rcode.SERVFAIL, query) if failure is not None and query is not None else None
        if reply is None:
            self._counters.add(Counter.DNS_UNANSWERED)
        elif reply.vouched:
            self._counters.add(Counter.DNS_VOUCHED)
        return reply
