"""Where client networks are, by a database in MaxMind's format. The only place where maxminddb is used.

Databases differ in shape: GeoIP2 nests (`location.latitude`, `country.iso_code`), others are flat (`latitude`,
`country_code`). Both are read.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgeproxy.errors import ConfigError, Fault
from edgeproxy.places.geography import NOWHERE, Located, Location, Whereabouts
from edgeproxy.places.networks import Client

PROBES = ("1.1.1.1", "9.9.9.9", "100.64.0.1", "127.0.0.1", "203.0.113.1", "223.255.255.1", "2001:db8::1", "2a00::1")
"""Looked up when a database is opened: one that breaks on any of them is not used."""

_PLACE = ("resolver", "location_database")


class Locations:
    """An open database. Immutable, whatever happens to the file."""

    def __init__(self, path: Path) -> None:
        """Raises ConfigError when the file is missing, no such database, or broken."""
        self.path = path
        self.failures = 0
        """Look-ups that met something broken in the database: the client's place counts as unknown."""
        try:
            self._reader = _open(path)
            for probe in PROBES:
                self._look_up(Client.at(probe))
        except Exception as error:  # maxminddb's own, OSError, and whatever a broken file makes of its decoder
            raise ConfigError([Fault("", ".".join(_PLACE), str(path), _advice(error))]) from None

    def find(self, client: Client) -> Located:
        """Where a client is, and for how wide a network the database says so."""
        try:
            return self._look_up(client)
        except Exception:  # a record may be broken where nobody looked before; it is one client's place, no more
            self.failures += 1
            return None, client.bits

    def describe(self, client: Client) -> Whereabouts:
        """All that the database says about where a client is."""
        try:
            return _whereabouts(self._record(client)[0])
        except Exception:  # as above
            self.failures += 1
            return NOWHERE

    def close(self) -> None:
        """Let go of the database."""
        self._reader.close()

    def _look_up(self, client: Client) -> Located:
        record, width = self._record(client)
        return _location(record), width

    def _record(self, client: Client) -> tuple[object, int]:
        if client.bits == 128 and self._reader.metadata().ip_version == 4:
            return None, 0
        text = _dotted(client.address) if client.bits == 32 else _colons(client.address)
        record, width = self._reader.get_with_prefix_len(text)
        return record, width


def _open(path: Path) -> Any:  # Any: maxminddb's two readers, one in C, share no base
    """A reader of a private copy where there can be one: a file cut short under a mapping would kill the process."""
    import maxminddb

    if not hasattr(os, "memfd_create"):
        return maxminddb.open_database(path)
    data = path.read_bytes()
    descriptor = os.memfd_create("locations", os.MFD_CLOEXEC)
    try:
        with contextlib.suppress(OSError):
            os.truncate(descriptor, len(data))
        with os.fdopen(os.dup(descriptor), "wb") as copy:
            copy.write(data)
        return maxminddb.open_database(f"/proc/self/fd/{descriptor}")
    finally:
        os.close(descriptor)


def _advice(error: Exception) -> str:
    if isinstance(error, ImportError):
        return "needs maxminddb: install edgeproxy[geo]"
    if isinstance(error, FileNotFoundError):
        return "expected a file to read"
    if isinstance(error, OSError):
        return f"cannot be read: {error.strerror}"
    return f"expected a database in MaxMind's format; this one is broken or something else: {str(error)[:120]}"


def _dotted(address: int) -> str:
    return f"{address >> 24}.{address >> 16 & 255}.{address >> 8 & 255}.{address & 255}"


def _colons(address: int) -> str:
    digits = f"{address:032x}"
    return ":".join(digits[start : start + 4] for start in range(0, 32, 4))


def _location(record: object) -> Location | None:
    if not isinstance(record, dict):  # what maxminddb makes of a map
        return None
    nested, country = record.get("location"), record.get("country")
    point = nested if isinstance(nested, dict) else record
    north, east = _degrees(point.get("latitude"), 90), _degrees(point.get("longitude"), 180)
    if north is None or east is None:
        north = east = None
    code = country.get("iso_code") if isinstance(country, dict) else record.get("country_code")
    return Location(north, east, code if isinstance(code, str) else "")


def _degrees(value: object, most: float) -> float | None:
    """A flat database may hold numbers as text."""
    if type(value) is float and -most <= value <= most:
        return value
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            return None
    return float(value) if isinstance(value, int | float) and -most <= value <= most else None


def _whereabouts(record: object) -> Whereabouts:
    if not isinstance(record, Mapping):
        return NOWHERE
    place, country = _location(record), _table(record, "country")
    point = _table(record, "location") or record
    divisions = record.get("subdivisions")
    region = divisions[0] if isinstance(divisions, list) and divisions and isinstance(divisions[0], Mapping) else {}
    asn = record.get("autonomous_system_number", record.get("asn"))
    return Whereabouts(
        country=place.country if place is not None else "",
        country_name=_named(country) or _text(record, "country_name"),
        region=(_text(region, "iso_code") or _text(record, "region_code"))[:3],
        region_name=_named(region) or _text(record, "region_name"),
        city=_named(_table(record, "city")) or _text(record, "city"),
        postal_code=_text(_table(record, "postal"), "code") or _text(record, "postal_code"),
        metro_code=_text(point, "metro_code"),
        time_zone=_text(point, "time_zone"),
        latitude=place.latitude if place is not None else None,
        longitude=place.longitude if place is not None else None,
        asn=_number(asn),
    )


Table = Mapping[str, object]


def _table(record: Table, name: str) -> Table:
    value = record.get(name)
    return value if isinstance(value, Mapping) else {}


def _text(record: Table, name: str) -> str:
    value = record.get(name)
    return str(value) if isinstance(value, str | int) else ""


def _named(record: Table) -> str:
    return _text(_table(record, "names"), "en")


def _number(value: object) -> int | None:
    """An AS number, which some databases write as AS64496."""
    text = str(value).removeprefix("AS")
    return int(text) if text.isdecimal() and len(text) <= 10 else None
