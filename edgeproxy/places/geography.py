"""Places on Earth: distances between them, what a distance costs in time, and which regions a price class covers."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

EARTH_RADIUS_KM = 6371.0
KM_PER_MS = 100.0
"""Light in fibre goes there and back over 100 km in a millisecond: no round trip is shorter."""
DETOUR, HANDLING_MS = 1.6, 5.0
"""Real paths are one and a half to two times as long as straight ones, and end in an access network."""


class Location(NamedTuple):  # made for each network that asks: three times as fast as a frozen dataclass
    """Where something is, as far as known: degrees north and east, both or neither; country as ISO 3166-1 alpha-2."""

    latitude: float | None = None
    longitude: float | None = None
    country: str = ""

    @property
    def is_a_point(self) -> bool:
        """Whether distances can be measured from here."""
        return self.latitude is not None and self.longitude is not None


UNKNOWN = Location()

Located = tuple[Location | None, int]
"""Where a client is, and for how wide a network that holds (in bits)."""


@dataclass(frozen=True, slots=True)
class Whereabouts:
    """All that is known about where a viewer is, in the words of fact sheet 1.9. Empty or None: not known."""

    country: str = ""
    """ISO 3166-1 alpha-2."""
    country_name: str = ""
    region: str = ""
    """ISO 3166-2 without the country, at most three characters."""
    region_name: str = ""
    city: str = ""
    postal_code: str = ""
    metro_code: str = ""
    """United States only."""
    time_zone: str = ""
    """IANA."""
    latitude: float | None = None
    longitude: float | None = None
    asn: int | None = None


NOWHERE = Whereabouts()

Vector = tuple[float, float, float]


def vector(place: Location) -> Vector:
    """From the middle of the Earth to a point, of length 1: two of them give a distance without trigonometry."""
    assert place.latitude is not None
    assert place.longitude is not None
    north, east = math.radians(place.latitude), math.radians(place.longitude)
    near_axis = math.cos(north)
    return near_axis * math.cos(east), near_axis * math.sin(east), math.sin(north)


def arc_km(one: Vector, other: Vector) -> float:
    """Along the great circle between two vectors."""
    product = one[0] * other[0] + one[1] * other[1] + one[2] * other[2]
    return EARTH_RADIUS_KM * math.acos(max(-1.0, min(1.0, product)))


def distance_km(one: Location, other: Location) -> float:
    """Along the great circle. Both must be points."""
    return arc_km(vector(one), vector(other))


def expected_ms(km: float) -> float:
    """What a round trip over this distance usually takes."""
    return HANDLING_MS + DETOUR * km / KM_PER_MS


def least_ms(km: float) -> float:
    """What it takes at the very least. Half of it, since the location of a network is only roughly known."""
    return km / KM_PER_MS / 2


_100, _200, _ALL = "PriceClass_100", "PriceClass_200", "PriceClass_All"
_ORDER = (_100, _200, _ALL)

_BY_AREA = {
    "us": _100, "ca": _100, "mx": _100, "eu": _100, "il": _100, "af": _200, "me": _200, "ap": _200, "sa": _ALL,
    "cn": _ALL,
}  # fmt: skip
_BY_REGION = {"ap-southeast-2": _ALL, "ap-southeast-4": _ALL, "ap-southeast-6": _ALL}
"""Australia and New Zealand, which only the largest class covers."""


def price_class_of(region: str) -> str:
    """The cheapest price class that covers an AWS region (fact sheet 13).

    A region whose name says nothing, such as `local`, is covered by all.
    """
    return _BY_REGION.get(region) or _BY_AREA.get(region.partition("-")[0], _100)


def covers(price_class: str, region: str) -> bool:
    """Whether a distribution of this price class uses POPs of this region; a class without an order uses all."""
    return price_class not in _ORDER or _ORDER.index(price_class_of(region)) <= _ORDER.index(price_class)
