"""Response rate limiting: a stranger whose address may be forged gets only so many like answers a second.

One counter for each network of askers (/24, /56) and group of answers, in a table of fixed size that starts anew every
second. Counters that share a place make the limit stricter, never laxer. Of the answers over the limit every second
one is sent empty and truncated, so that a real asker comes back over TCP, where addresses cannot be forged.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from enum import Enum
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address

PLACES = 1 << 16
NETWORK_V4, NETWORK_V6 = 24, 56
_SOURCES_MAX = 32_768


class Passage(Enum):
    """What becomes of an answer over the limit."""

    SLIP = "send it empty and truncated"
    DROP = "drop"


class Limiter:
    """`rate` answers a second, for each network and group; networks in `exempt` are never limited."""

    def __init__(self, rate: int, exempt: Sequence[IPv4Network | IPv6Network]) -> None:
        assert rate > 0
        self._rate = rate
        self._exempt = tuple(exempt)
        self._counts = array("I", bytes(4 * PLACES))
        self._second = 0
        self._limited = 0
        self._network = lru_cache(_SOURCES_MAX)(self._network_of)

    def is_limited(self, source: str, group: int, now: float) -> bool:
        """Count one answer to `source`, at `now` (seconds, monotonic); whether it is one too many."""
        network = self._network(source)
        if not network:
            return False
        second = int(now)
        if second != self._second:
            self._second = second
            self._counts = array("I", bytes(4 * PLACES))
        place = hash((network, group)) % PLACES
        self._counts[place] = count = self._counts[place] + 1
        return count > self._rate

    def passage(self) -> Passage:
        """What becomes of the next answer that is one too many."""
        self._limited += 1
        return Passage.SLIP if self._limited % 2 else Passage.DROP

    def _network_of(self, source: str) -> str:
        """The asker's network as text; empty when it is exempt."""
        address = ip_address(source.partition("%")[0])
        if isinstance(address, IPv6Address):
            address = address.ipv4_mapped or address
        if any(address in network for network in self._exempt):
            return ""
        length = NETWORK_V4 if address.version == 4 else NETWORK_V6
        return f"{int(address) >> address.max_prefixlen - length:x}/{length}"
