"""Which POP is best for a client: the operator's rules, measured latency, distance, and what is out of service.

In this order: the network's rule, the country's rule, measured round-trip times, distance, the order of the settings.
Rules name the first few; the others follow as they would without a rule. Only then is looked at who may serve at all
(price class) and who can (health): the order stays, some are left out. When nobody is left, nobody is left out.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from ipaddress import IPv4Network, IPv6Network
from typing import NamedTuple, Protocol

from edgeproxy.places.geography import UNKNOWN, Located, Location, arc_km, expected_ms, least_ms, vector
from edgeproxy.places.networks import Client, Networks

__all__ = ["Choice", "Client", "Measured", "Policy", "Pop", "Rank", "Ranking", "Reason"]

MARGIN_MS, MARGIN = 5.0, 0.1
"""By how much, in milliseconds and as a share, a measured POP must be better than the nearest one to go before it.
Less would make answers change with every measurement."""
ORDERS_MAX = 100_000
"""Places of POPs in orders that are remembered, one for each location; beyond that all are forgotten and made again."""


class Reason(Enum):
    """Why a POP was chosen. The value is a sentence; the name is what counters and logs carry."""

    __hash__ = object.__hash__
    """Members are compared as objects; Enum would hash their names, at ten times the cost."""

    NETWORK = "The table of networks names it for this client."
    COUNTRY = "The table of countries names it for this client's country."
    LATENCY = "Its measured round-trip time to the client's network is the best."
    DISTANCE = "It is the nearest to where the client's network is."
    DEFAULT = "Nothing is known of this client that would tell POPs apart."
    EXPLORE = "It is tried for a short while, to learn how far it is."
    FAILOVER = "The POPs before it are out of service."
    FAIL_OPEN = "Every POP is out of service, so it is answered as if none were."


@dataclass(frozen=True, slots=True)
class Pop:
    """A node that viewers are sent to, and its addresses as text."""

    name: str
    v4: tuple[str, ...] = ()
    v6: tuple[str, ...] = ()
    location: Location = UNKNOWN
    region: str = ""
    https_port: int | None = None
    """Where it speaks HTTPS, None when it does not."""


class Choice(NamedTuple):  # made for each network that asks: three times as fast as a frozen dataclass
    """The POP for a client, why, and for how wide a network around the client the answer is the same (in bits)."""

    pop: Pop
    reason: Reason
    scope: int


@dataclass(frozen=True, slots=True)
class Rank:
    """One POP in a ranking, and the numbers behind its place."""

    pop: Pop
    km: float | None
    measured_ms: float | None
    expected_ms: float | None
    """From the distance; None when that is not known."""


@dataclass(frozen=True, slots=True)
class Ranking:
    """All POPs that may serve, best first, and where the client is taken to be."""

    ranks: tuple[Rank, ...]
    reason: Reason
    location: Location
    scope: int


class Measured(Protocol):
    """What is known of round-trip times. Milliseconds."""

    def times(self, client: Client) -> Mapping[str, float] | None:
        """By POP's name, for the client's network; None when there is nothing usable."""

    def exploring(self, client: Client) -> str | None:
        """The POP that is tried for the client's network just now."""

    def width(self, client: Client) -> int:
        """Bits of the client's address that what was measured depends on."""


def _nowhere(_: Client) -> Located:
    return None, 0


class Policy:
    """The operator's tables and the POPs; what is measured and what is down comes with each question."""

    __slots__ = (
        "_countries",
        "_default",
        "_firsts",
        "_locate",
        "_names",
        "_nearest",
        "_networks",
        "_placed",
        "_unplaced",
    )

    def __init__(
        self,
        networks: Iterable[tuple[IPv4Network | IPv6Network, tuple[Pop, ...]]],
        default: tuple[Pop, ...],
        *,
        countries: Mapping[str, tuple[Pop, ...]] | None = None,
        locate: Callable[[Client], Located] = _nowhere,
    ) -> None:
        """POPs best first. Those of `default` that a rule does not name come after the ones it does.

        `default` must not be empty, and no network may come twice.
        """
        self._networks: Networks[tuple[Pop, ...]] = Networks(networks, ())
        self._default = default
        self._countries = countries or {}
        self._locate = locate
        self._placed = [(*vector(pop.location), pop) for pop in default if pop.location.is_a_point]
        self._unplaced = tuple(pop for pop in default if not pop.location.is_a_point)
        self._names = frozenset(pop.name for pop in default)
        self._firsts: dict[tuple[float, float], Pop] = {}
        self._nearest: dict[tuple[float | None, float | None], tuple[Pop, ...]] = {}

    @property
    def names(self) -> frozenset[str]:
        """Of all POPs that anybody without a rule may be sent to."""
        return self._names

    def choose(
        self,
        client: Client,
        down: Collection[str] = frozenset(),
        *,
        allowed: Collection[str] | None = None,
        measured: Measured | None = None,
    ) -> Choice:
        """The first POP for this client that is allowed and not down; the first allowed when all are down (fail open).

        `allowed` names POPs, None allows all; when it leaves none, it leaves all.
        """
        rule, reason, location, scope, width = self._known(client)
        if rule:  # the usual end: a rule's POP serves, and nothing else was looked at
            first = rule[0]
            if first.name not in down and (allowed is None or first.name in allowed):
                return Choice(first, reason, scope)
        elif location is not None and (
            measured is None or (measured.times(client) is None and measured.exploring(client) is None)
        ):  # the other usual end: nothing is measured, and the nearest serves
            nearest = self._first(location)
            if nearest is not None and nearest.name not in down and (allowed is None or nearest.name in allowed):
                width = width if measured is None else max(width, min(measured.width(client), client.prefix))
                return Choice(nearest, Reason.DISTANCE, max(scope, width))
        rest, why = self._rest(client, location, measured)
        order, reason = (_joined(rule, rest), reason) if rule else (rest, why)
        if measured is not None:
            width = max(width, min(measured.width(client), client.prefix))
        scope = max(scope, width)
        if allowed is not None:
            order = tuple(pop for pop in order if pop.name in allowed) or order
        if measured is not None and not rule:
            tried = measured.exploring(client)
            for pop in order if tried is not None else ():
                if pop.name == tried and tried not in down:
                    return Choice(pop, Reason.EXPLORE, scope)
        for index, pop in enumerate(order):
            if pop.name not in down:
                return Choice(pop, reason if index == 0 else Reason.FAILOVER, scope)
        return Choice(order[0], Reason.FAIL_OPEN, scope)

    def rank(
        self, client: Client, *, allowed: Collection[str] | None = None, measured: Measured | None = None
    ) -> Ranking:
        """The order in which `choose` goes, with its numbers. Health is left to whoever shows it."""
        rule, reason, location, scope, width = self._known(client)
        rest, why = self._rest(client, location, measured)
        order, reason = (_joined(rule, rest), reason) if rule else (rest, why)
        if allowed is not None:
            order = tuple(pop for pop in order if pop.name in allowed) or order
        distances = self._distances(location)
        times = (measured.times(client) if measured is not None else None) or {}
        ranks = []
        for pop in order:
            km = distances.get(pop.name)
            ranks.append(Rank(pop, km, times.get(pop.name), None if km is None else expected_ms(km)))
        return Ranking(tuple(ranks), reason, location or UNKNOWN, max(scope, width))

    def runner_up(self, client: Client, down: Collection[str], measured: Measured) -> str | None:
        """The POP worth trying for a client's network: not measured yet, and possibly better than the best one.

        None when nothing of the kind is left, or a rule decides there anyway.
        """
        rule, _, location, _, _ = self._known(client)
        if rule:
            return None
        times, distances = measured.times(client) or {}, self._distances(location)
        usable = [times[pop.name] for pop in self._default if pop.name in times and pop.name not in down]
        if not usable:
            return None
        best = min(usable)
        bounds = [
            (least_ms(distances[pop.name]) if pop.name in distances else 0.0, distances.get(pop.name, 0.0), pop.name)
            for pop in self._default
            if pop.name not in times and pop.name not in down
        ]
        bound, _, name = min(bounds, default=(best, 0.0, ""))
        return name if bound < best - MARGIN_MS else None

    def _known(self, client: Client) -> tuple[tuple[Pop, ...], Reason, Location | None, int, int]:
        """A rule's POPs if there is one, why, where the client is; how wide the rule holds, and the location."""
        rule, scope = self._networks.find(client)
        location, width = self._locate(client)
        width = min(width, client.prefix)
        if rule:
            return rule, Reason.NETWORK, location, scope, width
        if location is not None and self._countries:
            rule = self._countries.get(location.country, ())
            scope = max(scope, width)
        return rule, Reason.COUNTRY, location, scope, width

    def _rest(
        self, client: Client, location: Location | None, measured: Measured | None
    ) -> tuple[tuple[Pop, ...], Reason]:
        """All POPs by what is measured and how far they are, whatever the rules say."""
        nearest, reason = self._default, Reason.DEFAULT
        if location is not None and self._placed and location.is_a_point:
            nearest, reason = self._by_distance(location), Reason.DISTANCE
        times = measured.times(client) if measured is not None else None
        if not times:
            return nearest, reason
        distances = self._distances(location)

        def value(pop: Pop) -> float:
            time = times.get(pop.name)
            if time is not None:
                return time
            km = distances.get(pop.name)
            return math.inf if km is None else expected_ms(km)

        order = sorted(nearest, key=value)
        ahead, gained = value(order[0]), value(nearest[0]) - value(order[0])
        if order[0] is not nearest[0] and gained < max(MARGIN_MS, MARGIN * ahead):
            order.remove(nearest[0])
            order.insert(0, nearest[0])
        return tuple(order), Reason.LATENCY if order[0].name in times else reason

    def _first(self, location: Location) -> Pop | None:
        """The first of `_by_distance`, without the others; None when nothing is known of distances."""
        north, east, _ = location
        if north is None or east is None or not self._placed:
            return None
        first = self._firsts.get((north, east))
        if first is None:
            if len(self._firsts) >= ORDERS_MAX:
                self._firsts.clear()
            x, y, z = vector(location)
            products = [x * u + y * v + z * w for u, v, w, _ in self._placed]
            first = self._firsts[north, east] = self._placed[products.index(max(products))][3]
        return first

    def _by_distance(self, location: Location) -> tuple[Pop, ...]:
        """All POPs, the nearest to a point first, those of unknown place last."""
        place = location.latitude, location.longitude
        nearest = self._nearest.get(place)
        if nearest is None:
            if len(self._nearest) * len(self._default) >= ORDERS_MAX:
                self._nearest.clear()
            x, y, z = vector(location)
            # The larger the product, the smaller the arc: no trigonometry for what is only compared.
            products = [x * u + y * v + z * w for u, v, w, _ in self._placed]
            order = sorted(range(len(products)), key=products.__getitem__, reverse=True)
            nearest = self._nearest[place] = (*[self._placed[index][3] for index in order], *self._unplaced)
        return nearest

    def _distances(self, location: Location | None) -> dict[str, float]:
        """Kilometres by POP's name, of those whose place is known; none when the client's is not."""
        if location is None or not location.is_a_point:
            return {}
        here = vector(location)
        return {pop.name: arc_km(here, (x, y, z)) for x, y, z, pop in self._placed}


def _joined(rule: tuple[Pop, ...], rest: tuple[Pop, ...]) -> tuple[Pop, ...]:
    """A rule's POPs, then the others."""
    return rule + tuple(pop for pop in rest if pop not in rule)
