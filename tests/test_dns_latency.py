"""dns/latency.py: what is believed, for how long, what is tried, and that all of it stays bounded."""

from __future__ import annotations

from ipaddress import ip_network

from edgeproxy.dns.latency import SAMPLES_MAX, Latency
from edgeproxy.dns.policy import Client
from edgeproxy.settings import Latency as Settings


def client(text: str) -> Client:
    network = ip_network(text)
    return Client(int(network.network_address), network.max_prefixlen, network.prefixlen)


NET, NEAR, FAR = client("192.0.2.0/24"), client("192.0.77.0/24"), client("198.51.100.0/24")


def latency(**settings: float) -> Latency:
    return Latency(Settings(**settings))  # type: ignore[arg-type]  # pydantic checks them


def test_too_few_samples_are_not_believed() -> None:
    table = latency(samples_min=5)
    assert table.feed("fra", NET, 4, 20.0, 0) == []
    assert table.times(NET) is None
    assert table.feed("fra", NET, 1, 20.0, 0) == [NET]
    assert table.times(NET) == {"fra": 20.0}
    assert table.times(FAR) is None


def test_an_address_belongs_to_its_network_and_who_is_known_less_exactly_to_none() -> None:
    table = latency()
    table.feed("fra", NET, 10, 20.0, 0)
    assert table.times(client("192.0.2.77/32")) == {"fra": 20.0}
    assert table.times(client("192.0.0.0/16")) is None
    table.feed("fra", client("2001:db8:1::/48"), 10, 30.0, 0)
    assert table.times(client("2001:db8:1:2::/64")) == {"fra": 30.0}


def test_a_mean_moves_with_what_is_measured() -> None:
    table = latency()
    table.feed("fra", NET, 10, 20.0, 0)
    assert table.feed("fra", NET, 10, 40.0, 0) == [NET]
    assert table.times(NET) == {"fra": 30.0}
    for _ in range(100):
        table.feed("fra", NET, 1, 100.0, 0)
    times = table.times(NET)
    assert times is not None
    assert times["fra"] > 95, "one sample at a time also moves it, however many there were"


def test_changes_too_small_to_matter_are_not_told() -> None:
    table = latency()
    table.feed("fra", NET, 10, 20.0, 0)
    assert table.feed("fra", NET, 10, 20.5, 0) == []
    assert table.times(NET) == {"fra": 20.0}


def test_what_is_not_measured_again_fades() -> None:
    table = latency(half_life=100, samples_min=5)
    table.feed("fra", NET, 20, 20.0, 0)
    assert table.age(199) == []
    assert table.times(NET) == {"fra": 20.0}
    assert table.age(201) == [NET]
    assert table.times(NET) is None
    assert len(table) == 1
    table.age(5000)
    assert len(table) == 0


def test_many_samples_are_forgotten_about_as_fast_as_some() -> None:
    table = latency(half_life=100)
    table.feed("fra", NET, 1_000_000, 20.0, 0)
    assert table.samples(NET, "fra", 0) == SAMPLES_MAX
    table.age(400)
    assert table.times(NET) is None


def test_networks_are_bounded_and_those_not_fed_for_longest_go() -> None:
    table = latency(prefixes_max=16)
    for number in range(100):
        table.feed("fra", client(f"10.0.{number}.0/24"), 10, 20.0, number)
        table.feed("fra", NET, 10, 20.0, number)
        assert len(table) <= 16
    assert table.times(NET) is not None
    assert table.times(client("10.0.99.0/24")) is not None
    assert table.times(client("10.0.50.0/24")) is None
    assert len(table._neighbours) == 2
    assert len(table._ages) <= 2 * 16 + 1


def test_an_answer_is_as_wide_as_nothing_measured_lies_within() -> None:
    table = latency()
    assert table.width(NET) == 0
    table.feed("fra", NET, 10, 20.0, 0)
    assert (table.width(NET), table.width(NEAR), table.width(FAR)) == (24, 24, 16)
    assert table.width(client("2001:db8::/56")) == 0
    table.feed("fra", client("2001:db8:1::/48"), 10, 20.0, 0)
    assert table.width(client("2001:db8:ffff::/56")) == 48
    assert table.width(client("2a00::/56")) == 32


def test_another_pop_is_tried_for_a_while() -> None:
    table = latency(explore_share=0.5)
    for net in (NET, NEAR, FAR):
        table.feed("fra", net, 10, 20.0, 0)
    chances = iter([0.4, 0.6, 0.1])
    asked: list[Client] = []

    def runner_up(who: Client) -> str | None:
        asked.append(who)
        return "lhr" if who == NET else None

    assert table.explore(runner_up, lambda: next(chances)) == [NET]
    assert asked == [NET, FAR]
    assert (table.exploring(NET), table.exploring(FAR)) == ("lhr", None)
    assert table.explore(runner_up, lambda: 0.9) == [NET], "it has ended"
    assert table.exploring(NET) is None


def test_a_network_without_a_believed_time_tries_nothing() -> None:
    table = latency()
    table.feed("fra", NET, 1, 20.0, 0)
    assert table.explore(lambda who: "lhr", lambda: 0.0) == []


def test_a_pop_that_is_no_more_is_forgotten() -> None:
    table = latency()
    table.feed("fra", NET, 10, 20.0, 0)
    table.feed("lhr", NET, 10, 30.0, 0)
    table.forget({"fra"}, 0)
    assert table.times(NET) == {"lhr": 30.0}
    table.forget({"lhr"}, 0)
    assert (table.times(NET), table.families) == (None, frozenset())


def test_a_network_that_makes_room_for_another_is_told_of() -> None:
    table = latency(prefixes_max=16)
    for number in range(16):
        table.feed("fra", client(f"10.0.{number}.0/24"), 10, 20.0, 0)
    assert table.feed("fra", NET, 10, 20.0, 0) == [client("10.0.0.0/24"), NET]
    assert table.width(client("10.0.0.0/24")) == 24
    assert table.feed("fra", FAR, 1, 20.0, 0) == [client("10.0.1.0/24")], "too little is known of the new one"


def test_families_are_those_of_which_something_is_believed() -> None:
    table = latency(half_life=10)
    table.feed("fra", NET, 1, 20.0, 0)
    assert (table.families, table.width(FAR)) == (frozenset(), 0)
    table.feed("fra", client("2001:db8:1::/48"), 10, 20.0, 0)
    assert table.families == {128}
    table.age(1000)
    assert table.families == frozenset()
