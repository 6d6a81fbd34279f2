"""places/clients.py and what a database of locations says of a viewer (fact sheet 1.9)."""

from __future__ import annotations

from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest

from edgeproxy.places.clients import UNPLACED, Clients
from edgeproxy.places.geography import NOWHERE, Whereabouts
from edgeproxy.places.location import Locations
from edgeproxy.settings import Network
from tests.mmdb import database

FULL = {
    "city": {"names": {"en": "Köln", "de": "Köln"}},
    "country": {"iso_code": "DE", "names": {"en": "Germany"}},
    "subdivisions": [{"iso_code": "NW", "names": {"en": "North Rhine-Westphalia"}}, {"iso_code": "X"}],
    "location": {"latitude": 50.9, "longitude": 6.9, "time_zone": "Europe/Berlin", "metro_code": 511},
    "postal": {"code": "50667"},
    "autonomous_system_number": 64496,
}
KNOWN = Whereabouts(
    "DE", "Germany", "NW", "North Rhine-Westphalia", "Köln", "50667", "511", "Europe/Berlin", 50.9, 6.9, 64496
)
FLAT = {
    "country_code": "DE", "country_name": "Germany", "region_code": "NW", "city": "Köln", "postal_code": "50667",
    "latitude": "50.9", "longitude": "6.9", "time_zone": "Europe/Berlin", "asn": "AS64496",
}  # fmt: skip


def opened(tmp_path: Path, **networks: Any) -> Locations:  # Any: records
    file = tmp_path / "places.mmdb"
    file.write_bytes(database((ip_network(network), record) for network, record in networks.items()))
    return Locations(file)


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        (FULL, KNOWN),
        (FLAT, Whereabouts("DE", "Germany", "NW", "", "Köln", "50667", "", "Europe/Berlin", 50.9, 6.9, 64496)),
        ({"city": [1], "country": "DE", "subdivisions": {}, "asn": "x"}, NOWHERE),
    ],
)
def test_a_record_in_the_words_of_the_header_fields(
    tmp_path: Path, record: dict[str, Any], expected: Whereabouts
) -> None:
    clients = Clients((), opened(tmp_path, **{"203.0.113.0/24": record}))
    assert clients.find("203.0.113.9") == expected
    assert clients.find("::ffff:203.0.113.9") == expected
    assert clients.find("198.51.100.1") == NOWHERE


def test_a_network_of_the_settings_wins_where_it_says_something(tmp_path: Path) -> None:
    networks = [
        Network(network="203.0.113.0/25", country="FR"),
        Network(network="203.0.113.128/26", latitude=1.0, longitude=2.0),
        Network(network="192.0.2.0/24", country="JP"),
        Network(network="198.51.100.0/24", pops=["fra"]),
    ]
    places = opened(tmp_path, **{"203.0.113.0/24": FULL})
    clients = Clients(networks, places)
    assert clients.find("203.0.113.1") == Whereabouts("FR")
    moved = clients.find("203.0.113.129")
    assert (moved.city, moved.latitude, moved.longitude) == ("Köln", 1.0, 2.0)
    assert clients.find("192.0.2.1") == Whereabouts("JP")
    assert clients.find("198.51.100.1") == NOWHERE
    assert Clients(networks).find("192.0.2.1") == Whereabouts("JP")


@pytest.mark.parametrize("address", ["", "unix", "203.0.113.9:80"])
def test_what_is_no_address_is_nowhere(address: str) -> None:
    assert UNPLACED.find(address) == NOWHERE


def test_a_record_that_breaks_is_one_viewers_place_and_no_more(tmp_path: Path) -> None:
    places = opened(tmp_path, **{"203.0.113.0/24": FULL})
    places.close()
    assert Clients((), places).find("203.0.113.9") == NOWHERE
    assert places.failures == 1
