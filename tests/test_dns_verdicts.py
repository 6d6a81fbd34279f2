"""dns/verdicts.py: choices are made once for all they hold for, forgotten around what changed, and bounded."""

from __future__ import annotations

import pytest

from edgeproxy.dns.policy import Choice, Client, Pop, Reason
from edgeproxy.dns.verdicts import Kinds, Verdicts

FRA, IAD = Pop("fra"), Pop("iad")


class Table:
    """Chooses by the third byte of an address inside 10.1/16, by nothing elsewhere; counts how often it is asked."""

    def __init__(self) -> None:
        self.asked: list[Client] = []

    def choose(self, client: Client) -> Choice:
        self.asked.append(client)
        if client.bits == 32 and client.address >> 16 == 0x0A01:
            return Choice(FRA if client.address >> 8 & 1 else IAD, Reason.LATENCY, min(24, client.prefix))
        return Choice(FRA, Reason.DISTANCE, 10)


def test_a_choice_that_holds_for_a_16_is_made_once_for_it() -> None:
    table = Table()
    verdicts = Verdicts(table.choose, Kinds())
    found = {verdicts.of_24(bytes((10, 2, third))) for third in range(50)}
    assert len(found) == len(table.asked) == 1
    assert found.pop()[1] == b"\x0a"
    assert verdicts.of_24(bytes((10, 3, 0)))[0] is verdicts.of_24(bytes((10, 2, 0)))[0]


def test_narrower_ones_are_kept_one_by_one() -> None:
    table = Table()
    verdicts = Verdicts(table.choose, Kinds())
    for _ in range(2):
        assert [verdicts.of_24(bytes((10, 1, third)))[0].pop for third in range(4)] == ["iad", "fra", "iad", "fra"]
    assert len(table.asked) == 4
    assert table.asked[1] == Client(0x0A010100, 32, 24)


def test_ipv6_networks_sources_and_networks_of_unusual_length() -> None:
    table = Table()
    verdicts = Verdicts(table.choose, Kinds())
    for third in range(3):
        verdicts.of_56(bytes.fromhex("20010db8") + bytes((0, third, 0)))
    assert table.asked == [Client(0x20010DB8 << 96, 128, 56)]
    for _ in range(2):
        assert verdicts.of_source("10.1.1.7")[0].pop == "fra"
        assert verdicts.of_source("::ffff:10.1.2.7")[0].pop == "iad"
        assert verdicts.of(Client(0x0A010000, 32, 20))[1] == b"\x14"
    assert table.asked[1:] == [Client.at("10.1.1.7"), Client.at("10.1.2.7"), Client(0x0A010000, 32, 20)]


def test_what_changed_is_forgotten_with_its_neighbours_and_nothing_else() -> None:
    table = Table()
    verdicts = Verdicts(table.choose, Kinds())

    def ask() -> int:
        before = len(table.asked)
        for address in ((10, 1, 1), (10, 1, 2), (10, 2, 0), (11, 0, 0)):
            verdicts.of_24(bytes(address))
        for source in ("10.1.9.9", "11.0.0.1", "2001:db8::1"):
            verdicts.of_source(source)
        verdicts.of_56(bytes.fromhex("20010db8000000"))
        return len(table.asked) - before

    assert (ask(), ask()) == (8, 0)
    verdicts.forget([Client.at("10.1.77.1")])
    assert ask() == 3, "two networks and a source"
    verdicts.forget([Client(0x20010DB8 << 96, 128, 48)])
    assert ask() == 2
    verdicts.forget([Client.at("192.0.2.1")])
    assert ask() == 0


def test_what_is_kept_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgeproxy.dns.verdicts.NETWORKS_MAX", 50)
    verdicts = Verdicts(Table().choose, Kinds())
    for number in range(2000):
        verdicts.of_24(bytes((10, 1, number & 255)))
        verdicts.of_24(bytes((number >> 8, number & 255, 0)))
        verdicts.of_56(bytes.fromhex("2001") + number.to_bytes(5, "big"))
        verdicts.of_source(f"192.0.{number >> 8}.{number & 255}")
        assert len(verdicts) <= 2 * 50 + 50 + 1
