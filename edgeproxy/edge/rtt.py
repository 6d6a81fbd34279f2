"""How far viewers are: round-trip times of their connections, as the system measured them, by client network.

The resolver asks for them and learns which POP is nearest to whom. Networks (/24, /48) and not addresses leave here.
"""

from __future__ import annotations

import socket
from ipaddress import IPv6Address, ip_address, ip_network
from struct import Struct

NETWORK_V4, NETWORK_V6 = 24, 48
_HERE = frozenset({"127.0.0.0/24", "::/48"})
_RTT = Struct("@68xI")
"""tcpi_rtt in Linux's tcp_info: the smoothed round-trip time in microseconds."""


def smoothed_rtt(connection: socket.socket) -> int | None:
    """Microseconds; None where the system does not tell, or nothing was acknowledged yet."""
    try:
        info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _RTT.size)
    except (OSError, AttributeError):  # gone already; or a system without TCP_INFO
        return None
    return _RTT.unpack(info)[0] or None if len(info) == _RTT.size else None


class RoundTrips:
    """What was measured since it was last taken; at most `networks_max` networks, new ones beyond that are not kept."""

    def __init__(self, networks_max: int) -> None:
        self._networks_max = networks_max
        self._sums: dict[str, tuple[int, int]] = {}
        """By network: samples, and the sum of their microseconds."""

    def sample(self, connection: socket.socket, address: str) -> None:
        """Take a viewer's connection into account."""
        if not self._networks_max:
            return
        rtt = smoothed_rtt(connection)
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
