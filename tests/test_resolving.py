"""resolving.py: what is answered from, by files and by what was heard of the feed; nothing holds up anything else."""

from __future__ import annotations

import json
import logging
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

import pytest

from edgeproxy.configuration import Configuration, load
from edgeproxy.dns.names import wire_name
from edgeproxy.dns.zone import Alias, Nothing, Steered
from edgeproxy.errors import ConfigError
from edgeproxy.feed import Deployed, Withdrawn
from edgeproxy.feeding import FILE, Followed
from edgeproxy.following.kept import Kept, Update
from edgeproxy.resolving import Zones, explanation_of_file
from tests.distributions import config, items
from tests.mmdb import city, database

SETTINGS = """
zone = "cdn.test"
[resolver]
zones = ["example.test"]
location_database = "places.mmdb"
[[nodes]]
name = "fra"
mode = "pop"
addresses = ["192.0.2.1"]
region = "eu-central-1"
[[nodes]]
name = "gru"
mode = "pop"
addresses = ["192.0.2.2"]
region = "sa-east-1"
"""


def written(folder: Path, more: str = "") -> Configuration:
    """A configuration of files without any distribution of its own."""
    places = database([(IPv4Network("203.0.113.0/24"), city(48.0, 2.0, "FR"))], kind="GeoIP2-City")
    (folder / "places.mmdb").write_bytes(places)
    (folder / "edgeproxy.toml").write_text(SETTINGS + more)
    return load(folder / "edgeproxy.toml", {})


def deployed(number: int, id: str, *aliases: str, **changes: Any) -> Deployed:
    return Deployed(number, id, f"E{number}", config(Aliases=items(*aliases), CallerReference=id, **changes))


class Feed:
    """The file that a follower writes."""

    def __init__(self, folder: Path) -> None:
        self.directory = folder / "resolver"
        self._kept = Kept(self.directory / FILE, incarnation=lambda: "1")
        self._number = 0

    def says(self, *records: Deployed | Withdrawn, whole: bool = False) -> None:
        self._number = max([self._number, *(record.number for record in records)])
        self._kept.write(Update("EPOCH", self._number, 0, records, whole))


def content(zones: Zones, name: str) -> object:
    place = zones.zone.find(wire_name(name))
    return None if place is None else place.content


def test_before_anything_was_heard_files_count_and_nothing_is_denied(tmp_path: Path) -> None:
    feed = Feed(tmp_path)
    (tmp_path / "d.json").write_text(json.dumps(config()))
    configuration = written(tmp_path, '[[distributions]]\nfile = "d.json"\nid = "of-file"\n')
    zones = Zones(configuration, lambda each: each.settings, Followed(feed.directory))
    assert isinstance(content(zones, "of-file.cdn.test"), Steered)
    assert not zones.zone.complete
    feed.says(deployed(3, "E1"), whole=True)
    zones.refresh()
    assert content(zones, "of-file.cdn.test") is None, "the control plane knows it no more"
    assert isinstance(content(zones, "e1.cdn.test"), Steered)
    assert zones.zone.complete
    assert zones.zone.apexes[wire_name("cdn.test")].serial == 3


def test_without_a_control_plane_files_are_all_there_is(tmp_path: Path) -> None:
    zones = Zones(written(tmp_path), lambda each: each.settings, None)
    before = zones.zone
    zones.refresh()
    assert zones.zone is before
    assert before.complete


def test_distributions_come_change_and_go(tmp_path: Path) -> None:
    feed = Feed(tmp_path)
    feed.says(whole=True)
    zones = Zones(written(tmp_path), lambda each: each.settings, Followed(feed.directory))
    assert zones.zone.complete
    policy = zones.zone.policy
    feed.says(deployed(1, "E1", "www.example.test"), deployed(2, "E2"))
    zones.refresh()
    assert isinstance(content(zones, "www.example.test"), Alias)
    feed.says(deployed(3, "E1", "new.example.test", Enabled=False, PriceClass="PriceClass_100"))
    zones.refresh()
    assert content(zones, "www.example.test") is None
    assert isinstance(content(zones, "new.example.test"), Nothing), "it is disabled"
    feed.says(deployed(4, "E1", IsIPV6Enabled=False, PriceClass="PriceClass_100"), Withdrawn(5, "E2"))
    zones.refresh()
    assert content(zones, "e1.cdn.test") == Steered("E1", frozenset({"fra"}), ipv6=False)
    assert content(zones, "e2.cdn.test") is None
    assert zones.zone.policy is policy, "the database of locations is not opened again for any of it"


def test_a_restart_begins_with_what_was_heard_last(tmp_path: Path) -> None:
    feed = Feed(tmp_path)
    feed.says(deployed(7, "E1"), whole=True)
    zones = Zones(written(tmp_path), lambda each: each.settings, Followed(feed.directory))
    assert isinstance(content(zones, "e1.cdn.test"), Steered)
    assert zones.zone.complete


def test_one_that_clashes_or_cannot_be_read_holds_up_no_other(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.ERROR)
    feed = Feed(tmp_path)
    feed.says(deployed(1, "E1", "one.example.test"), whole=True)
    zones = Zones(written(tmp_path), lambda each: each.settings, Followed(feed.directory))
    broken = Deployed(2, "E1", "x", {**config(), "DefaultCacheBehavior": 7})
    feed.says(broken, deployed(3, "E2", "ns1.example.test"), deployed(4, "E3"), Deployed(5, "E4", "x", {}))
    zones.refresh()
    assert isinstance(content(zones, "one.example.test"), Alias), "it stays as it was"
    assert content(zones, "e2.cdn.test") is None, "its alias is a name server's name"
    assert isinstance(content(zones, "e3.cdn.test"), Steered)
    assert content(zones, "e4.cdn.test") is None
    assert "E1 stays as it was" in caplog.text
    assert "ns1.example.test" in caplog.text


def test_a_reload_keeps_what_was_heard_and_a_bad_one_changes_nothing(tmp_path: Path) -> None:
    feed = Feed(tmp_path)
    feed.says(deployed(1, "E1"), whole=True)
    zones = Zones(written(tmp_path), lambda each: each.settings, Followed(feed.directory))
    zones.use(written(tmp_path, '[[nodes]]\nname = "iad"\nmode = "pop"\naddresses = ["192.0.2.3"]\n'))
    assert zones.zone.policy.names == {"fra", "gru", "iad"}
    assert isinstance(content(zones, "e1.cdn.test"), Steered)
    configuration = written(tmp_path)
    (tmp_path / "places.mmdb").write_bytes(b"no database")
    with pytest.raises(ConfigError):
        zones.use(configuration)
    assert zones.zone.policy.names == {"fra", "gru", "iad"}


def test_a_file_alone_explains(tmp_path: Path) -> None:
    (tmp_path / "d.json").write_text(json.dumps(config()))
    configuration = written(tmp_path, '[[distributions]]\nfile = "d.json"\nid = "d1"\n')
    assert explanation_of_file(configuration, "203.0.113.7", "d1.cdn.test")["location"]["country"] == "FR"
    with pytest.raises(ConfigError, match="explain"):
        explanation_of_file(configuration, "nobody", "d1.cdn.test")
