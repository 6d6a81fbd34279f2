"""dns/zone.py: what becomes of the settings and the distributions, name by name, and which settings are refused."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from edgeproxy.dns.names import wire_name
from edgeproxy.dns.policy import Client
from edgeproxy.dns.zone import Alias, Content, Fixed, Nothing, Steered, Zone
from edgeproxy.errors import ConfigError
from edgeproxy.model import Distribution, Rules
from edgeproxy.places.geography import Location
from edgeproxy.settings import Settings

POP = {"name": "fra", "mode": "pop", "addresses": ["192.0.2.1", "2001:db8::1"]}


def distribution(name: str, *aliases: str, enabled: bool = True, domain: str = "") -> Distribution:
    return Distribution(
        id=name,
        domain=domain or f"{name.lower()}.cdn.test",
        rules=Rules.CLOUDFRONT,
        revision="1",
        origins={},
        behaviors=(),
        aliases=aliases,
        enabled=enabled,
    )


def build(distributions: Sequence[Distribution] = (), nodes: Sequence[Any] = (POP,), **resolver: Any) -> Zone:
    """`Any`: settings as a file gives them, right or wrong."""
    settings = Settings.model_validate({"zone": "cdn.test", "nodes": list(nodes), "resolver": resolver})
    return Zone.build(settings, distributions)


def content(zone: Zone, name: str) -> Content | None:
    place = zone.find(wire_name(name))
    assert place is not None, f"{name} is in no zone"
    return place.content


EXAMPLE = build(
    [
        distribution(
            "EDFDVBD6EXAMPLE", "www.example.test", "*.shop.example.test", "example.test", "www.elsewhere.test"
        ),
        distribution("d2", "*.example.test", "deep.b.example.test", domain="d222.cdn.test"),
        distribution("off", "off.example.test", enabled=False),
    ],
    zones=["example.test", "sub.example.test", "x.y.cdn.test"],
    nameservers=["ns1.cdn.test", "ns2.example.test", "ns.elsewhere.test"],
    addresses=["192.0.2.53"],
    aliases="address",
)
ONE, TWO = Steered("EDFDVBD6EXAMPLE"), Steered("d2")
SERVER = Fixed(("192.0.2.53",), ())

NAMES: dict[str, tuple[str, Content | None]] = {
    "a distribution by its id, in lower case": ("edfdvbd6example.cdn.test", ONE),
    "a distribution by another domain in the zone": ("d222.cdn.test", TWO),
    "an alias": ("www.example.test", ONE),
    "an alias at the apex": ("example.test", ONE),
    "RFC 4592 2.1.1: a wildcard": ("any.example.test", TWO),
    "RFC 4592 3.3.1: a wildcard covers any depth": ("a.b.c.d.example.test", TWO),
    "RFC 4592 2.2: a wildcard asked by its own name": ("*.shop.example.test", ONE),
    "RFC 4592 3.3.1: the closest wildcard": ("red.shop.example.test", ONE),
    "RFC 4592 3.3.1: not below a name that exists": ("a.www.example.test", None),
    "RFC 4592 2.2.1: a wildcard does not answer for its parent": ("shop.example.test", Nothing()),
    "RFC 4592 2.2.2: an empty non-terminal": ("b.example.test", Nothing()),
    "RFC 4592 2.2.2: nor does the wildcard answer below it": ("a.b.example.test", None),
    "a disabled distribution keeps its alias": ("off.example.test", Nothing()),
    "a disabled distribution keeps its domain": ("off.cdn.test", Nothing()),
    "the apex": ("cdn.test", Nothing()),
    "a name that does not exist": ("nowhere.cdn.test", None),
    "a name below a distribution": ("a.d2.cdn.test", None),
    "a name server": ("ns1.cdn.test", SERVER),
    "a name server in another zone": ("ns2.example.test", SERVER),
    "a node": ("fra.nodes.cdn.test", Fixed(("192.0.2.1",), ("2001:db8::1",))),
    "all nodes": ("nodes.cdn.test", Nothing()),
    "RFC 4592 2.2.2: between a zone and one within": ("y.cdn.test", Nothing()),
}


@pytest.mark.parametrize(("name", "expected"), NAMES.values(), ids=NAMES.keys())
def test_name(name: str, expected: Content | None) -> None:
    assert content(EXAMPLE, name) == expected


@pytest.mark.parametrize("name", ["test", "elsewhere.test", "www.elsewhere.test", "xcdn.test", "cdn.test.org"])
def test_a_name_outside_is_not_ours(name: str) -> None:
    assert EXAMPLE.find(wire_name(name)) is None


def test_the_root_is_not_ours() -> None:
    assert EXAMPLE.find(b"\0") is None


def test_the_longest_zone_wins_and_the_wildcard_of_the_one_around_it_stays_outside() -> None:
    place = EXAMPLE.find(wire_name("a.sub.example.test"))
    assert place is not None
    assert place.apex.name == wire_name("sub.example.test")
    assert place.content is None


def test_each_zone_has_its_own_name_server_and_hostmaster_unless_told() -> None:
    apex = build(zones=["example.test"]).apexes[wire_name("example.test")]
    assert apex.nameservers == (wire_name("ns1.example.test"),)
    assert apex.hostmaster == wire_name("hostmaster.example.test")


def test_a_hostmaster_may_be_written_as_a_mail_address() -> None:
    apex = build(hostmaster="dns@example.org").apexes[wire_name("cdn.test")]
    assert apex.hostmaster == wire_name("dns.example.org")


def test_addresses_default_to_the_hosts_listened_on() -> None:
    node = {"name": "fra", "mode": "pop", "listen": ["192.0.2.7:80", "0.0.0.0:81"], "https": ["[2001:db8::7]:443"]}
    zone = build(nodes=[node], listen=["192.0.2.53:53", "[::]:53"])
    assert content(zone, "fra.nodes.cdn.test") == Fixed(("192.0.2.7",), ("2001:db8::7",))
    assert content(zone, "ns1.cdn.test") == SERVER


def test_a_distribution_without_a_domain_has_the_name_of_its_id() -> None:
    assert content(build([replace(distribution("d2"), domain="")]), "d2.cdn.test") == TWO


def test_an_address_with_an_interface_is_listened_on_but_not_told() -> None:
    node = {"name": "fra", "mode": "pop", "listen": ["192.0.2.7:80", "[fe80::1%lo]:80"]}
    assert content(build(nodes=[node]), "fra.nodes.cdn.test") == Fixed(("192.0.2.7",), ())


def test_a_name_server_that_listens_everywhere_has_no_address_of_its_own() -> None:
    assert content(build(listen=["0.0.0.0:53"]), "ns1.cdn.test") == Fixed((), ())


def test_regionals_are_neither_named_nor_chosen() -> None:
    regional = {"name": "reg", "mode": "regional", "addresses": ["192.0.2.9"]}
    zone = build(nodes=[regional, POP])
    assert content(zone, "reg.nodes.cdn.test") is None
    assert zone.policy.choose(Client.at("192.0.2.200")).pop.name == "fra"


def test_the_table_of_networks_and_the_default_order_become_the_policy() -> None:
    nodes = [POP, {**POP, "name": "nrt"}, {**POP, "name": "iad"}]
    zone = build(nodes=nodes, networks=[{"network": "10.0.0.0/8", "pops": ["nrt"]}], default=["iad", "fra"])
    assert zone.policy.choose(Client.at("10.1.1.1")).pop.name == "nrt"
    assert zone.policy.choose(Client.at("10.1.1.1"), {"nrt"}).pop.name == "iad"
    assert zone.policy.choose(Client.at("192.0.2.1")).pop.name == "iad"


def test_negative_answers_live_no_longer_than_the_soa() -> None:
    """RFC 2308 §3."""
    assert build(negative_ttl=600, zone_ttl=30).negative_ttl == 30


def test_one_alias_in_two_distributions_is_answered_once_the_disabled_one_aside() -> None:
    zone = build([distribution("d1", "a.cdn.test", enabled=False), distribution("d2", "a.cdn.test")])
    assert content(zone, "a.cdn.test") == Alias(wire_name("d2.cdn.test"), TWO)
    zone = build([distribution("d2", "a.cdn.test"), distribution("d1", "a.cdn.test", enabled=False)])
    assert content(zone, "a.cdn.test") == Alias(wire_name("d2.cdn.test"), TWO)


def test_an_alias_leads_to_its_distribution_unless_something_else_stands_there() -> None:
    one = distribution("d1", "www.example.test", "example.test", "*.w.example.test", "txt.example.test")
    zone = build([one], zones=["example.test"], texts=[{"name": "txt.example.test", "text": "mine"}])
    alias, direct = Alias(wire_name("d1.cdn.test"), Steered("d1")), Steered("d1")
    assert content(zone, "www.example.test") == content(zone, "x.w.example.test") == alias
    assert content(zone, "example.test") == content(zone, "txt.example.test") == direct


def test_a_price_class_leaves_out_the_pops_it_does_not_cover() -> None:
    nodes = [{**POP, "name": name, "region": name} for name in ("eu-west-1", "sa-east-1", "ap-south-1", "local")]
    cheap = replace(distribution("d1"), price_class="PriceClass_100")
    middle = replace(distribution("d2"), price_class="PriceClass_200", ipv6=False)
    zone = build([cheap, middle, distribution("d3")], nodes=nodes)
    assert content(zone, "d1.cdn.test") == Steered("d1", frozenset({"eu-west-1", "local"}))
    assert content(zone, "d2.cdn.test") == Steered("d2", frozenset({"eu-west-1", "ap-south-1", "local"}), ipv6=False)
    assert content(zone, "d3.cdn.test") == Steered("d3")


def test_a_price_class_that_covers_nobody_leaves_out_nobody() -> None:
    zone = build([replace(distribution("d1"), price_class="PriceClass_100")], nodes=[{**POP, "region": "sa-east-1"}])
    assert content(zone, "d1.cdn.test") == Steered("d1")


def test_where_a_network_is_comes_from_the_table_and_else_from_the_database() -> None:
    nodes = [{**POP, "latitude": 50.0, "longitude": 8.0}, {**POP, "name": "nrt", "latitude": 35.0, "longitude": 139.0}]
    settings = Settings.model_validate({
        "zone": "cdn.test", "nodes": nodes,
        "resolver": {"networks": [{"network": "10.0.0.0/8", "latitude": 36.0, "longitude": 138.0}]},
    })  # fmt: skip
    zone = Zone.build(settings, [], locate=lambda client: (Location(48.0, 2.0), 5))
    assert zone.policy.choose(Client.at("10.1.1.1")).pop.name == "nrt"
    assert zone.policy.choose(Client.at("192.0.2.1")).pop.name == "fra"


FAULTS: dict[str, tuple[dict[str, Any], str]] = {
    "no node": ({"nodes": []}, "nodes: expected at least one node of mode pop"),
    "no POP": ({"nodes": [{**POP, "mode": "regional"}]}, "nodes: expected at least one node of mode pop"),
    "a POP without an address": (
        {"nodes": [{"name": "fra", "mode": "pop", "listen": ["0.0.0.0:80"]}]},
        "nodes: fra: addresses: expected an address",
    ),
    "an address that is none": ({"nodes": [{**POP, "addresses": ["fra.test"]}]}, "nodes: fra: addresses"),
    "an address of one machine": ({"nodes": [{**POP, "addresses": ["fe80::1%lo"]}]}, "nodes: fra: addresses"),
    "a name server's address that is none": ({"addresses": ["here"]}, "resolver.addresses is ['here']"),
    "a network that is none": (
        {"networks": [{"network": "10.0.0.0/33", "pops": ["fra"]}]},
        "resolver.networks[0].network is '10.0.0.0/33'",
    ),
    "a network with bits beyond its prefix": (
        {"networks": [{"network": "10.0.0.1/8", "pops": ["fra"]}]},
        "resolver.networks[0].network is '10.0.0.1/8'",
    ),
    "a network twice": (
        {"networks": [{"network": "10.0.0.0/8", "pops": ["fra"]}] * 2},
        "resolver.networks[1].network is '10.0.0.0/8': expected each network once",
    ),
    "an unknown POP": (
        {"networks": [{"network": "10.0.0.0/8", "pops": ["fra", "ork"]}]},
        "resolver.networks[0].pops is ork: expected names of POPs: fra",
    ),
    "a network without POPs": (
        {"networks": [{"network": "10.0.0.0/8", "pops": []}]},
        "resolver.networks[0].pops is empty",
    ),
    "an unknown POP in the default order": ({"default": ["ork"]}, "resolver.default is ork"),
    "a zone with an empty label": ({"zones": ["a..test"]}, "resolver.zones is 'a..test'"),
    "a zone that is not ASCII": ({"zones": ["bücher.test"]}, "resolver.zones is 'bücher.test'"),
    "a label too long": ({"nameservers": ["a" * 64 + ".test"]}, "resolver.nameservers"),
    "a hostmaster that is no name": ({"hostmaster": "@"}, "resolver.hostmaster"),
    "a name too long": ({"zones": [".".join(["a" * 49] * 6)]}, "at most 253 characters"),
    "an alias that is a name server's name": (
        {"distributions": [distribution("d1", "ns1.cdn.test")]},
        "distributions: d1: aliases is 'ns1.cdn.test': expected another name",
    ),
    "an alias that is no name": ({"distributions": [distribution("d1", "a b..test")]}, "distributions: d1: aliases"),
}


@pytest.mark.parametrize(("settings", "expected"), FAULTS.values(), ids=FAULTS.keys())
def test_fault(settings: dict[str, Any], expected: str) -> None:
    with pytest.raises(ConfigError) as raised:
        build(**settings)
    assert expected in str(raised.value)
    assert len(raised.value.faults) == 1


def test_all_faults_are_told_at_once() -> None:
    with pytest.raises(ConfigError) as raised:
        build(zones=["a..test"], default=["ork"], networks=[{"network": "?", "pops": ["fra"]}])
    assert len(raised.value.faults) == 3
