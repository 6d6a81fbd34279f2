"""places/geography.py: distances, what they cost, and price classes."""

from __future__ import annotations

import pytest

from edgeproxy.places.geography import Location, covers, distance_km, expected_ms, least_ms, price_class_of

FRANKFURT, SYDNEY, TOKYO = Location(50.03, 8.57), Location(-33.95, 151.18), Location(35.76, 140.39)

DISTANCES = {
    "to itself": (FRANKFURT, FRANKFURT, 0),
    "a quarter of the Earth": (Location(0, 0), Location(0, 90), 10_008),
    "half of it": (Location(0, 0), Location(0, 180), 20_015),
    "pole to pole": (Location(90, 0), Location(-90, 77), 20_015),
    "over the date line": (Location(0, 179), Location(0, -179), 222),
    "Tokyo and Sydney": (TOKYO, SYDNEY, 7_834),
}


@pytest.mark.parametrize(("one", "other", "km"), DISTANCES.values(), ids=DISTANCES.keys())
def test_distance(one: Location, other: Location, km: float) -> None:
    assert distance_km(one, other) == pytest.approx(km, rel=0.005, abs=1)
    assert distance_km(other, one) == pytest.approx(distance_km(one, other))


def test_no_round_trip_is_expected_to_be_faster_than_the_fastest() -> None:
    for km in (0, 1, 100, 20_000):
        assert 0 <= least_ms(km) < expected_ms(km)


CLASSES = {
    "us-east-1": "100", "ca-central-1": "100", "mx-central-1": "100", "eu-west-2": "100", "il-central-1": "100",
    "af-south-1": "200", "me-south-1": "200", "ap-northeast-1": "200", "ap-southeast-1": "200", "ap-south-1": "200",
    "ap-east-1": "200", "ap-southeast-2": "All", "ap-southeast-6": "All", "sa-east-1": "All", "local": "100", "": "100",
}  # fmt: skip


@pytest.mark.parametrize(("region", "cheapest"), CLASSES.items())
def test_price_class(region: str, cheapest: str) -> None:
    assert price_class_of(region) == f"PriceClass_{cheapest}"
    order = ["100", "200", "All"]
    covered = [covers(f"PriceClass_{each}", region) for each in order]
    assert covered == [order.index(each) >= order.index(cheapest) for each in order]
    assert covers("None", region)
