"""places/networks.py: values of any kind by network; dns/policy.py's tests go deeper into scopes."""

from __future__ import annotations

from ipaddress import ip_network

import pytest

from edgeproxy.places.networks import Client, Networks

TABLE = Networks([(ip_network("10.0.0.0/8"), 1), (ip_network("10.1.0.0/16"), 2), (ip_network("2001:db8::/32"), 3)], 0)

FOUND = {
    "nowhere": ("192.0.2.1", 0, 1),
    "in the wide one": ("10.2.3.4", 1, 15),
    "in the narrow one": ("10.1.3.4", 2, 16),
    "IPv6": ("2001:db8::1", 3, 32),
    "IPv6 nowhere": ("2a00::1", 0, 5),
    "IPv4 in IPv6 clothes": ("::ffff:10.1.3.4", 2, 16),
}


@pytest.mark.parametrize(("address", "value", "scope"), FOUND.values(), ids=FOUND.keys())
def test_find(address: str, value: int, scope: int) -> None:
    assert TABLE.find(Client.at(address)) == (value, scope)


def test_an_empty_table_holds_for_everybody() -> None:
    nothing: Networks[str] = Networks([], "x")
    assert nothing.find(Client.at("10.0.0.1")) == ("x", 0)


def test_a_network_of_everything_replaces_the_default() -> None:
    table = Networks([(ip_network("0.0.0.0/0"), "all")], "none")
    assert table.find(Client.at("10.0.0.1")) == ("all", 0)
