"""places/location.py: databases of several shapes, and broken ones of every kind."""

from __future__ import annotations

from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest

from edgeproxy.dns.policy import Client
from edgeproxy.errors import ConfigError
from edgeproxy.places.geography import Location
from edgeproxy.places.location import Locations
from tests.mmdb import MARKER, city, database


def client(text: str) -> Client:
    network = ip_network(text)
    return Client(int(network.network_address), network.max_prefixlen, network.prefixlen)


def opened(tmp_path: Path, *networks: tuple[str, dict[str, Any]]) -> Locations:  # Any: a record
    file = tmp_path / "places.mmdb"
    file.write_bytes(database((ip_network(network), record) for network, record in networks))
    return Locations(file)


RECORDS: dict[str, tuple[dict[str, Any], Location]] = {
    "GeoIP2": (city(50.5, 8.25, "DE"), Location(50.5, 8.25, "DE")),
    "flat": ({"latitude": 50.5, "longitude": 8.25, "country_code": "DE"}, Location(50.5, 8.25, "DE")),
    "flat, numbers as text": (
        {"latitude": "50.5", "longitude": "8.25", "country_code": "DE"}, Location(50.5, 8.25, "DE")),
    "country alone": ({"country": {"iso_code": "DE"}}, Location(None, None, "DE")),
    "half a point": ({"latitude": 50.5, "country_code": "DE"}, Location(None, None, "DE")),
    "beyond the poles": ({"latitude": 95.0, "longitude": 8.0}, Location()),
    "text that is no number": ({"latitude": "north", "longitude": "8"}, Location()),
    "something else": ({"asn": 64496}, Location()),
    "another type where a table was expected": ({"location": "here", "country": [1]}, Location()),
}  # fmt: skip


@pytest.mark.parametrize(("record", "expected"), RECORDS.values(), ids=RECORDS.keys())
def test_a_record_of_the_shape(tmp_path: Path, record: dict[str, Any], expected: Location) -> None:
    places = opened(tmp_path, ("203.0.113.0/24", record), ("2001:db8::/33", record))
    assert places.find(client("203.0.113.7/32")) == (expected, 24)
    assert places.find(client("2001:db8::/56")) == (expected, 33)


def test_who_is_nowhere_is_so_for_as_wide_a_network_as_the_database_says(tmp_path: Path) -> None:
    places = opened(tmp_path, ("203.0.113.0/24", city(1.0, 1.0, "XX")))
    assert places.find(client("8.8.8.0/24")) == (None, 1)


def test_the_file_may_be_cut_short_replaced_or_removed_while_it_is_in_use(tmp_path: Path) -> None:
    places = opened(tmp_path, ("203.0.113.0/24", city(1.0, 2.0, "XX")))
    places.path.write_bytes(b"")
    assert places.find(client("203.0.113.0/24")) == (Location(1.0, 2.0, "XX"), 24)
    places.path.unlink()
    assert places.find(client("203.0.113.0/24")) == (Location(1.0, 2.0, "XX"), 24)
    places.close()


GOOD = database([(ip_network("203.0.113.0/24"), city(1.0, 2.0, "XX"))])
BROKEN = {
    "empty": b"",
    "text": b"<html>not found</html>" * 100,
    "cut short": GOOD[: len(GOOD) // 2],
    "without its tree": GOOD[GOOD.index(MARKER) :],
    "a node count beyond the file": GOOD.replace(b"node_count", b"node_xount"),
}


@pytest.mark.parametrize("data", BROKEN.values(), ids=BROKEN.keys())
def test_a_database_is_refused_that_is(tmp_path: Path, data: bytes) -> None:
    file = tmp_path / "broken.mmdb"
    file.write_bytes(data)
    with pytest.raises(ConfigError, match="expected a database in MaxMind's format"):
        Locations(file)


def test_a_missing_database_is_said_to_be_missing(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="expected a file to read"):
        Locations(tmp_path / "none.mmdb")


def test_a_record_broken_where_nobody_looked_costs_one_client_its_place(tmp_path: Path) -> None:
    data = bytearray(GOOD)
    start = data.index(b"location") - 1
    data[start : start + 9] = b"\xff" * 9
    file = tmp_path / "half.mmdb"
    file.write_bytes(bytes(data))
    try:
        places = Locations(file)
    except ConfigError:
        return  # the probes met it
    assert places.find(client("203.0.113.0/24")) == (None, 32)
    assert places.failures == 1
    assert places.find(client("8.8.8.0/24"))[0] is None
