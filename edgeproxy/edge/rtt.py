"""How far viewers are: round-trip times of their connections, as the system measured them, by client network.

The resolver asks for them and learns which POP is nearest to whom. Networks (/24, /48) and not addresses leave here.
"""

from __future__ import annotations

import math
import socket
from ipaddress import IPv6Address, ip_address, ip_network
from itertools import islice
from struct import Struct

NETWORK_V4, NETWORK_V6 = 24, 48
_HERE = frozenset({"127.0.0.0/24", "::/48"})
_INFO = Struct("@56xI8xI")
"""Of Linux's tcp_info: tcpi_last_ack_recv, milliseconds since something was acknowledged, and tcpi_rtt, the smoothed
round-trip time in microseconds."""
SWEPT_MAX = 1000
"""Connections looked at in one sweep: one or two milliseconds."""


def smoothed_rtt(connection: socket.socket, within: float = math.inf) -> int | None:
    """Microseconds; None where the system does not tell, or nothing was acknowledged within so many seconds."""
    try:
        info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _INFO.size)
    except (OSError, AttributeError):  # gone already; or a system without TCP_INFO
        return None
    if len(info) != _INFO.size:
        return None
    acknowledged, rtt = _INFO.unpack(info)
    return rtt or None if acknowledged < within * 1000 else None


class RoundTrips:
    """What was measured since it was last taken; at most `networks_max` networks, new ones beyond that are not kept.

    A connection is asked at its end, and in sweeps while it lasts; it counts when there is something new to it.
    """

    def __init__(self, networks_max: int) -> None:
        self._networks_max = networks_max
        self._sums: dict[str, tuple[int, int]] = {}
        """By network: samples, and the sum of their microseconds."""
        self._open: dict[socket.socket, tuple[str, float | None]] = {}
        """The viewer's address, and when the connection was last asked; the one asked longest ago comes first."""

    def opened(self, connection: socket.socket, address: str) -> None:
        """A viewer's connection has begun. Whoever says so must say `ended`."""
        if self._networks_max:
            self._open[connection] = address, None

    def ended(self, connection: socket.socket, now: float) -> None:
        """It ends: the most is known of it. Times in seconds, monotonic."""
        known = self._open.pop(connection, None)
        if known is not None:
            self._ask(connection, *known, now)

    def sweep(self, now: float) -> None:
        """Ask connections that last, those asked longest ago first."""
        for connection in list(islice(self._open, SWEPT_MAX)):
            address, asked = self._open.pop(connection)
            self._ask(connection, address, asked, now)
            self._open[connection] = address, now

    def _ask(self, connection: socket.socket, address: str, asked: float | None, now: float) -> None:
        rtt = smoothed_rtt(connection, math.inf if asked is None else now - asked)
        if rtt is not None:
            self.add(address, rtt)

    def add(self, address: str, rtt_us: int) -> None:
        """One sample of a viewer at `address`. One on this very machine is not in any network."""
        network = network_of(address)
        if network in _HERE:
            return
        known = self._sums.get(network)
        if known is not None:
            self._sums[network] = known[0] + 1, known[1] + rtt_us
        elif len(self._sums) < self._networks_max:
            self._sums[network] = 1, rtt_us

    def take(self) -> list[tuple[str, int, float]]:
        """(network, samples, mean in milliseconds), each told once."""
        sums, self._sums = self._sums, {}
        return [(network, count, round(total / count / 1000, 3)) for network, (count, total) in sums.items()]


def network_of(address: str) -> str:
    """The client network an address belongs to."""
    parsed = ip_address(address.partition("%")[0])
    if isinstance(parsed, IPv6Address):
        parsed = parsed.ipv4_mapped or parsed
    length = NETWORK_V4 if parsed.version == 4 else NETWORK_V6
    return str(ip_network(f"{parsed}/{length}", strict=False))
