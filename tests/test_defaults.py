"""The built-in configuration, the compose file and its configuration: what one says of another holds."""

from __future__ import annotations

import json
import re
import tomllib
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest

from edgeproxy.configuration import Configuration, load
from edgeproxy.dns.policy import Client
from edgeproxy.dns.zone import Zone
from edgeproxy.places.geography import Location
from edgeproxy.places.location import Locations

ROOT = Path(__file__).parent.parent
DEFAULTS = ROOT / "edgeproxy" / "defaults"
CONFIGS = ROOT / "configs"


def table(file: Path) -> dict[str, Any]:  # Any: TOML
    return tomllib.loads(file.read_text())


def distribution(file: Path) -> dict[str, Any]:  # Any: JSON
    config: dict[str, Any] = json.loads(file.read_text())["DistributionConfig"]
    return {name: value for name, value in config.items() if name not in ("Aliases", "CallerReference", "Comment")}


@pytest.fixture(scope="module")
def local() -> Configuration:
    return load(DEFAULTS / "local.toml", {})


@pytest.mark.parametrize("file", sorted(DEFAULTS.glob("*.toml")), ids=lambda file: file.name)
def test_the_built_in_settings_load_without_a_note(file: Path) -> None:
    assert load(file, {}).notes == ()


def test_four_pops_stand_in_four_regions_and_share_two_regionals(local: Configuration) -> None:
    pops = [node for node in local.settings.nodes if node.mode == "pop"]
    regionals = {node.name for node in local.settings.nodes if node.mode == "regional"}
    assert len({pop.region for pop in pops}) == len(pops) == 4
    assert {pop.upstream for pop in pops} == regionals
    assert len(regionals) == 2


def test_the_nearest_pop_is_also_where_browsers_look_for_localhost(local: Configuration) -> None:
    nearest = next(node for node in local.settings.nodes if node.mode == "pop")
    assert {"127.0.0.1:8080", "[::1]:8080"} < set(nearest.listen)
    assert {"127.0.0.1:8443", "[::1]:8443"} < set(nearest.https)


def test_every_pop_is_somebody_s_nearest(local: Configuration) -> None:
    zone = Zone.build(local.settings, local.distributions)
    clients = [Client.at(str(ip_network(each.network)[1])) for each in local.settings.resolver.networks]
    first = {zone.policy.choose(client).pop.name for client in clients}
    assert first == {node.name for node in local.settings.nodes if node.mode == "pop"}


def test_the_database_that_ships_says_the_same_as_the_settings(local: Configuration) -> None:
    places = Locations(DEFAULTS / "places.mmdb")
    for network in local.settings.resolver.networks:
        if network.country:
            location, _ = places.find(Client.at(str(ip_network(network.network)[1])))
            assert location == Location(network.latitude, network.longitude, network.country)


def test_an_application_of_one_s_own_stands_behind_the_same_cdn() -> None:
    local, app = table(DEFAULTS / "local.toml"), table(DEFAULTS / "app.toml")
    for own in ("distributions", "origins"):
        assert local.pop(own) != app.pop(own)
    assert local == app


@pytest.mark.parametrize(
    ("path", "pattern", "caches", "posts"),
    [
        ("/api/time", "/api/*", False, True),
        ("/echo", "/echo", False, True),
        ("/ws", "/ws", False, True),
        ("/slow", "/slow*", True, False),
        ("/bytes/100000", "/bytes/*", True, False),
        ("/postcard.svg", "*", True, False),
    ],
)
def test_the_demo_has_a_behaviour_for_everything_there_is_to_try(
    local: Configuration, path: str, pattern: str, caches: bool, posts: bool
) -> None:
    (demo,) = local.distributions
    assert demo.domain == "demo.edge.localhost"
    matching = [each for each in demo.behaviors if re.fullmatch(each.pattern.replace("*", ".*"), path)]
    behavior = matching[0]
    methods = behavior.allowed_methods or frozenset()
    assert (behavior.pattern, behavior.caches, "POST" in methods) == (pattern, caches, posts)


def test_the_containers_serve_the_same_demo_under_a_name_of_its_own() -> None:
    assert distribution(CONFIGS / "compose-demo.json") == distribution(DEFAULTS / "demo.json")
    (demo,) = load(CONFIGS / "compose.toml", {"EDGEPROXY_TIER_KEY": "x" * 32}).distributions
    assert (demo.id, demo.aliases) == ("demo", ("www.example.test",))


def test_the_containers_have_the_addresses_that_their_settings_say() -> None:
    # Read with expressions: a YAML library for one test would be one more thing to install.
    text = (ROOT / "docker-compose.yml").read_text()
    services = dict(re.findall(r"^  ([a-z-]+):\n(?:(?:    .*)?\n)*?.*ipv4_address: ([0-9.]+)", text, re.MULTILINE))
    settings = load(CONFIGS / "compose.toml", {"EDGEPROXY_TIER_KEY": "x" * 32}).settings
    for node in settings.nodes:
        assert {address.rpartition(":")[0] for address in [*node.listen, *node.https]} == {services.pop(node.name)}
        assert re.search(rf"--node, {node.name}[],]", text)
    assert settings.resolver.listen == [f"{services.pop('resolver')}:53"]
    assert settings.origins == {"origin.demo.test": f"http://{services.pop('origin')}:3000"}
    assert settings.control.listen == f"{services.pop('control')}:8400"
    assert set(services) == {"client"}


def test_every_published_port_is_on_loopback() -> None:
    published = re.findall(r'"([^"]*:\d+:\d+[^"]*)"', (ROOT / "docker-compose.yml").read_text())
    assert len(published) == 12
    assert all(port.startswith("127.0.0.1:") for port in published)
