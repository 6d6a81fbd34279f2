"""Round-trip times by client network and POP: what viewers' connections showed, bounded, and fading with time.

POPs report samples of /24 and /48 networks. Each network keeps, for each POP, a mean that moves with every report and
a number of samples that halves with every half-life. A mean counts as long as enough samples stand behind it. Since
nobody measures a POP that viewers are not sent to, a small share of the networks is sent to another POP for a while,
where that one may be nearer.

What is told to the policy changes only in steps worth a change, so that remembered answers and new ones agree.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from edgeproxy.places.networks import Client
from edgeproxy.settings import Latency as Settings

LENGTHS = {32: 24, 128: 48}
"""Bits of an address that a network is known by."""
_AROUND = {32: 8, 128: 16}
"""Bits of those that neighbours do not share: networks of one /16 or /32 are neighbours."""
SAMPLES_MAX = 64.0
"""Samples that count at most: what is known best is still forgotten in a few half-lives."""
REPORT_WEIGHT_MIN = 0.1
"""Of the newest report in the mean, however many samples there were before."""
STEP_MS, STEP = 1.0, 0.05
"""Changes of a mean below both are not worth telling."""
AGED_AT_ONCE = 1000

_Key = tuple[int, int]


@dataclass(slots=True)
class _Estimate:
    mean_ms: float
    samples: float
    at: float
    """When it was last fed, in seconds."""


@dataclass(slots=True)
class _Network:
    estimates: dict[str, _Estimate] = field(default_factory=dict)
    told: dict[str, float] | None = None
    trying: str | None = None


class Latency:
    """All networks. Times come as arguments; implements policy.Measured."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._networks: dict[_Key, _Network] = {}
        """In the order in which they were last fed."""
        self._ages: deque[_Key] = deque()
        """Networks in the order in which they are looked at again."""
        self._neighbours: dict[_Key, int] = {}
        self._counts = {32: 0, 128: 0}
        self._trying: list[_Key] = []

    def __len__(self) -> int:
        return len(self._networks)

    def times(self, client: Client) -> Mapping[str, float] | None:
        """As policy.Measured."""
        network = self._find(client)
        return None if network is None else network.told

    def exploring(self, client: Client) -> str | None:
        """As policy.Measured."""
        network = self._find(client)
        return None if network is None else network.trying

    def width(self, client: Client) -> int:
        """As policy.Measured."""
        if not self._counts[client.bits]:
            return 0
        length, around = LENGTHS[client.bits], _AROUND[client.bits]
        near = client.bits, client.address >> client.bits - length + around
        return length if near in self._neighbours else length - around

    def samples(self, client: Client, pop: str, now: float) -> float:
        """How many stand behind a mean just now."""
        network = self._find(client)
        estimate = None if network is None else network.estimates.get(pop)
        return 0.0 if estimate is None else self._left(estimate, now)

    @property
    def families(self) -> frozenset[int]:
        """Bits of the addresses (32, 128) of which something is believed. When it changes, every answer may."""
        return frozenset(bits for bits, count in self._counts.items() if count)

    def feed(self, pop: str, client: Client, count: int, mean_ms: float, now: float) -> list[Client]:
        """`count` samples of a network's round-trip time to a POP. The networks that answers may change for: this one,
        and one that had to make room."""
        key, changed = self._key(client), list[Client]()
        network = self._networks.pop(key, None)
        if network is None:
            if len(self._networks) >= self._settings.prefixes_max:
                oldest = next(iter(self._networks))
                changed += [_client(oldest)] if self._drop(oldest) else []
            network = self._add(key)
        self._networks[key] = network
        estimate = network.estimates.get(pop)
        if estimate is None:
            network.estimates[pop] = _Estimate(mean_ms, min(float(count), SAMPLES_MAX), now)
        else:
            before = self._left(estimate, now)
            weight = max(count / (before + count), REPORT_WEIGHT_MIN)
            estimate.mean_ms += weight * (mean_ms - estimate.mean_ms)
            estimate.samples = min(before + count, SAMPLES_MAX)
            estimate.at = now
        return changed + ([client] if self._tell(key, network, now) else [])

    def age(self, now: float) -> list[Client]:
        """Look at some networks again, all of them in turn. Those that answers may change for."""
        changed = []
        for _ in range(min(AGED_AT_ONCE, len(self._ages))):
            key = self._ages.popleft()
            network = self._networks.get(key)
            if network is None:
                continue
            self._ages.append(key)
            if self._tell(key, network, now):
                changed.append(_client(key))
            if not network.estimates:
                self._drop(key)
        return changed

    def explore(self, runner_up: Callable[[Client], str | None], random: Callable[[], float]) -> list[Client]:
        """End what was tried, try anew. `runner_up` names the POP to try for a network. Those that changed."""
        ended = [key for key in self._trying if key in self._networks]
        for key in ended:
            self._networks[key].trying = None
        self._trying = []
        share = self._settings.explore_share
        for key, network in self._networks.items():
            if network.told and random() < share:
                network.trying = runner_up(_client(key))
                if network.trying is not None:
                    self._trying.append(key)
        return [_client(key) for key in {*ended, *self._trying}]

    def forget(self, pops: Iterable[str], now: float) -> None:
        """These POPs are no more; every answer may change."""
        for key, network in self._networks.items():
            for pop in pops:
                network.estimates.pop(pop, None)
            self._tell(key, network, now)

    def _find(self, client: Client) -> _Network | None:
        if not self._networks or client.prefix < LENGTHS[client.bits]:
            return None
        return self._networks.get(self._key(client))

    @staticmethod
    def _key(client: Client) -> _Key:
        return client.bits, client.address >> client.bits - LENGTHS[client.bits]

    def _left(self, estimate: _Estimate, now: float) -> float:
        """Samples that still count."""
        return estimate.samples * math.pow(0.5, max(0.0, now - estimate.at) / self._settings.half_life)

    def _tell(self, key: _Key, network: _Network, now: float) -> bool:
        """What the policy is told from now on; whether that is something new."""
        fresh: dict[str, float] = {}
        for pop, estimate in list(network.estimates.items()):
            left = self._left(estimate, now)
            if left >= self._settings.samples_min:
                fresh[pop] = estimate.mean_ms
            elif left < 0.1:
                del network.estimates[pop]
        told = network.told or {}
        if fresh.keys() == told.keys() and not any(
            abs(fresh[pop] - told[pop]) > max(STEP_MS, STEP * told[pop]) for pop in fresh
        ):
            return False
        if bool(fresh) is not bool(told):
            self._count(key, 1 if fresh else -1)
        network.told = fresh or None
        return True

    def _count(self, key: _Key, by: int) -> None:
        """One more, or one less, network of which something is believed."""
        bits, place = key
        near = bits, place >> _AROUND[bits]
        self._counts[bits] += by
        self._neighbours[near] = self._neighbours.get(near, 0) + by
        if not self._neighbours[near]:
            del self._neighbours[near]

    def _add(self, key: _Key) -> _Network:
        if len(self._ages) > 2 * self._settings.prefixes_max:
            self._ages = deque(each for each in dict.fromkeys(self._ages) if each in self._networks)
        self._ages.append(key)
        return _Network()

    def _drop(self, key: _Key) -> bool:
        """Whether answers may change for it."""
        network = self._networks.pop(key)
        if network.told:
            self._count(key, -1)
        return bool(network.told or network.trying)


def _client(key: _Key) -> Client:
    bits, place = key
    return Client(place << bits - LENGTHS[bits], bits, LENGTHS[bits])
