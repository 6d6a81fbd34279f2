"""Which POP is best for a client: a table of networks, and what is out of service.

Everything is computed when the table is built. The networks of a family are cut into disjoint ranges of addresses with
one order of POPs each, neighbours with the same order joined. A look-up is one bisection, and the range tells how
wide the answer is valid (the scope of RFC 7871): wider answers are asked for less often.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address


class Reason(Enum):
    """Why a POP was chosen. The value is a sentence; the name is what counters and logs carry."""

    NETWORK = "The table of networks names it for this client."
    DEFAULT = "No network of the table covers this client."
    FAILOVER = "The POPs before it are out of service."
    FAIL_OPEN = "Every POP is out of service, so it is answered as if none were."


@dataclass(frozen=True, slots=True)
class Pop:
    """A node that viewers are sent to, and its addresses as text."""

    name: str
    v4: tuple[str, ...] = ()
    v6: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Order:
    """POPs, best first; never empty."""

    pops: tuple[Pop, ...]
    reason: Reason


@dataclass(frozen=True, slots=True)
class Client:
    """What is known of where a client is: the first `prefix` bits of an address of `bits` bits, the rest zero."""

    address: int
    bits: int
    prefix: int

    @staticmethod
    def at(text: str) -> Client:
        """Known by its whole address. An IPv4 address in IPv6 clothes counts as IPv4."""
        address = ip_address(text)
        if isinstance(address, IPv6Address):
            address = address.ipv4_mapped or address
        return Client(int(address), address.max_prefixlen, address.max_prefixlen)


@dataclass(frozen=True, slots=True)
class Choice:
    """The POP for a client, why, and for how wide a network around the client the answer is the same (in bits)."""

    pop: Pop
    reason: Reason
    scope: int


class _Table:
    """The networks of one family."""

    __slots__ = ("_bits", "_default", "_exact", "_orders", "_starts")

    def __init__(self, bits: int, networks: Mapping[tuple[int, int], Order], default: Order) -> None:
        """`networks`: (first address, prefix length) to order."""
        self._bits = bits
        self._default = default
        self._starts: list[int] = []
        self._orders: list[Order] = []
        self._cut(networks)
        by_length: dict[int, dict[int, Order]] = {}
        for (start, length), order in networks.items():
            by_length.setdefault(length, {})[start >> bits - length] = order
        self._exact = sorted(by_length.items(), reverse=True)

    def _cut(self, networks: Mapping[tuple[int, int], Order]) -> None:
        """Fill the ranges: a sweep over the networks in order of address, the enclosing ones on a stack."""
        enclosing = [(2**self._bits, self._default)]
        self._begin(0, self._default)
        for start, length in sorted(networks):
            while enclosing[-1][0] <= start:
                end, _ = enclosing.pop()
                self._begin(end, enclosing[-1][1])
            enclosing.append((start + 2 ** (self._bits - length), networks[start, length]))
            self._begin(start, networks[start, length])
        while len(enclosing) > 1:
            end, _ = enclosing.pop()
            self._begin(end, enclosing[-1][1])

    def _begin(self, start: int, order: Order) -> None:
        """From this address on, this order; a range begun at the same address is replaced."""
        if start == 2**self._bits:
            return
        if self._starts and self._starts[-1] == start:
            self._starts.pop()
            self._orders.pop()
        if not self._orders or self._orders[-1] != order:
            self._starts.append(start)
            self._orders.append(order)

    def find(self, client: Client) -> tuple[Order, int]:
        """The order for a client, and the scope in bits, never more than is known of the client."""
        index = bisect_right(self._starts, client.address) - 1
        scope = 0
        if index > 0:
            scope = self._apart(client.address, self._starts[index] - 1)
        if index + 1 < len(self._starts):
            scope = max(scope, self._apart(client.address, self._starts[index + 1]))
        if scope <= client.prefix:
            return self._orders[index], scope
        return self._covering(client), client.prefix

    def _apart(self, address: int, neighbour: int) -> int:
        """Shortest prefix that covers the address and not its neighbour."""
        return self._bits - (address ^ neighbour).bit_length() + 1

    def _covering(self, client: Client) -> Order:
        """The client is known less exactly than the table is: the longest network that covers all it may be."""
        for length, orders in self._exact:
            if length <= client.prefix:
                order = orders.get(client.address >> self._bits - length)
                if order is not None:
                    return order
        return self._default


class Policy:
    """The whole table; immutable."""

    __slots__ = ("_tables",)

    def __init__(
        self, networks: Iterable[tuple[IPv4Network | IPv6Network, tuple[Pop, ...]]], default: tuple[Pop, ...]
    ) -> None:
        """POPs best first. Those of `default` that a network does not name come after the ones it does.

        `default` must not be empty, and no network may come twice.
        """
        everybody = Order(default, Reason.DEFAULT)
        entries: dict[int, dict[tuple[int, int], Order]] = {32: {}, 128: {}}
        for network, pops in networks:
            others = tuple(pop for pop in default if pop not in pops)
            place = int(network.network_address), network.prefixlen
            entries[network.max_prefixlen][place] = Order(pops + others, Reason.NETWORK)
        self._tables = {bits: _Table(bits, found, everybody) for bits, found in entries.items()}

    def choose(self, client: Client, down: Collection[str] = frozenset()) -> Choice:
        """The first POP for this client that is not down; the first of all when every one is (fail open)."""
        order, scope = self._tables[client.bits].find(client)
        first = order.pops[0]
        if first.name not in down:
            return Choice(first, order.reason, scope)
        for pop in order.pops:
            if pop.name not in down:
                return Choice(pop, Reason.FAILOVER, scope)
        return Choice(first, Reason.FAIL_OPEN, scope)
