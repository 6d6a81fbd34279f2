"""dns/policy.py: the longest network wins, an answer is valid for exactly as wide as it says, health moves clients."""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network, ip_network
from time import process_time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeproxy.dns.policy import Choice, Client, Policy, Pop, Reason
from edgeproxy.places.geography import Location

A, B, C = Pop("a", ("10.0.0.1",)), Pop("b", ("10.0.0.2",)), Pop("c", ("10.0.0.3",))
DEFAULT = (A, B, C)
Networks = dict[str, tuple[Pop, ...]]


def policy(networks: Networks, default: tuple[Pop, ...] = DEFAULT) -> Policy:
    return Policy([(ip_network(text), pops) for text, pops in networks.items()], default)


def client(text: str) -> Client:
    """From 192.0.2.0/24, as a client subnet says it, or from a whole address."""
    network = ip_network(text)
    return Client(int(network.network_address), network.max_prefixlen, network.prefixlen)


NESTED: Networks = {"10.0.0.0/8": (B,), "10.1.0.0/16": (C,), "10.1.2.0/24": (A,), "10.1.2.3/32": (B,)}

LONGEST = {
    "outside of every network": ("11.0.0.1", A),
    "in the widest": ("10.2.0.1", B),
    "in the second": ("10.1.0.1", C),
    "in the third": ("10.1.2.1", A),
    "the one address": ("10.1.2.3", B),
    "the address after it": ("10.1.2.4", A),
    "the first address of a network": ("10.1.0.0", C),
    "the last address of a network": ("10.1.255.255", C),
    "the address after a network": ("10.2.0.0", B),
    "the last address of all": ("255.255.255.255", A),
    "the first address of all": ("0.0.0.0", A),
}


@pytest.mark.parametrize(("address", "expected"), LONGEST.values(), ids=LONGEST.keys())
def test_the_longest_network_wins(address: str, expected: Pop) -> None:
    assert policy(NESTED).choose(Client.at(address)).pop == expected


SCOPES: dict[str, tuple[Networks, str, int]] = {
    "no table: valid for everybody": ({}, "192.0.2.0/24", 0),
    "in the only network: valid for that network": ({"10.0.0.0/8": (B,)}, "10.1.2.0/24", 8),
    "beside the only network: as wide as that allows": ({"10.0.0.0/8": (B,)}, "11.1.2.0/24", 8),
    "far from the only network": ({"10.0.0.0/8": (B,)}, "192.0.2.0/24", 1),
    "RFC 7871 7.2.1: not so wide that it covers a longer match": (NESTED, "10.200.0.0/24", 9),
    "RFC 7871 7.2.1: next to a longer match": (NESTED, "10.0.0.0/24", 16),
    "neighbours that agree are one": ({"10.0.0.0/9": (B,), "10.128.0.0/9": (B,)}, "10.1.2.0/24", 8),
    "a longer match that agrees changes nothing": ({"10.0.0.0/8": (B,), "10.1.0.0/16": (B,)}, "10.1.2.0/24", 8),
    "RFC 7871 7.2.1: never more than was asked with": ({"10.1.2.128/25": (B,)}, "10.1.2.0/24", 24),
    "one address": (NESTED, "10.1.2.3/32", 32),
    "the whole family by a network": ({"0.0.0.0/0": (B,)}, "10.1.2.0/24", 0),
    "IPv6": ({"2001:db8::/32": (B,)}, "2001:db8:1::/48", 32),
    "IPv6 is not touched by IPv4": ({"10.0.0.0/8": (B,)}, "2001:db8::/48", 0),
}


@pytest.mark.parametrize(("networks", "subnet", "scope"), SCOPES.values(), ids=SCOPES.keys())
def test_scope(networks: Networks, subnet: str, scope: int) -> None:
    assert policy(networks).choose(client(subnet)).scope == scope


def test_a_client_known_less_exactly_than_the_table_gets_the_network_that_covers_all_it_may_be() -> None:
    table = policy(NESTED)
    assert table.choose(client("10.1.2.0/24")).pop == A
    assert table.choose(client("10.1.0.0/20")).pop == C
    assert table.choose(client("10.0.0.0/8")).pop == B
    assert table.choose(client("10.0.0.0/7")).pop == A
    assert table.choose(client("10.0.0.0/7")).scope == 7


HEALTH: dict[str, tuple[set[str], Pop, Reason]] = {
    "all well": (set(), C, Reason.NETWORK),
    "another one down": ({"a"}, C, Reason.NETWORK),
    "the best down": ({"c"}, A, Reason.FAILOVER),
    "the two best down": ({"c", "a"}, B, Reason.FAILOVER),
    "all down: as if none were": ({"a", "b", "c"}, C, Reason.FAIL_OPEN),
}


@pytest.mark.parametrize(("down", "pop", "reason"), HEALTH.values(), ids=HEALTH.keys())
def test_a_pop_that_is_down_is_passed_over(down: set[str], pop: Pop, reason: Reason) -> None:
    choice = policy({"10.0.0.0/8": (C,)}).choose(Client.at("10.0.0.1"), down)
    assert (choice.pop, choice.reason) == (pop, reason)


def test_clients_of_no_network_say_so() -> None:
    assert policy({"10.0.0.0/8": (C,)}).choose(Client.at("192.0.2.1")).reason is Reason.DEFAULT


def test_an_ipv4_address_in_ipv6_clothes_is_an_ipv4_client() -> None:
    assert Client.at("::ffff:10.0.0.1") == Client.at("10.0.0.1")


def test_a_link_local_address_with_its_interface_is_an_address() -> None:
    assert Client.at("fe80::1%lo") == Client.at("fe80::1")


@st.composite
def small_networks(draw: st.DrawFn) -> IPv4Network | IPv6Network:
    """Networks crowded into a few bits at the top or the bottom of a family, so that they nest and touch."""
    bits = draw(st.sampled_from([32, 128]))
    length = draw(st.integers(0, 6)) if draw(st.booleans()) else bits - draw(st.integers(0, 6))
    host_bits = bits - length
    corner = draw(st.integers(0, 63)) << (bits - 6 if length <= 6 else 0)
    address = corner >> host_bits << host_bits
    return IPv4Network((address, length)) if bits == 32 else IPv6Network((address, length))


@settings(deadline=None)
@given(
    st.dictionaries(small_networks(), st.sampled_from([(A,), (B,), (C, A)]), max_size=12),
    small_networks(),
    st.integers(0, 2**128 - 1),
)
def test_every_client_within_the_scope_is_told_the_same(
    networks: dict[IPv4Network | IPv6Network, tuple[Pop, ...]], asked: IPv4Network | IPv6Network, noise: int
) -> None:
    """Against the definition, written as a scan: longest network that holds the whole client."""
    table = Policy(networks.items(), DEFAULT)
    bits = asked.max_prefixlen

    def by_scan(subnet: IPv4Network | IPv6Network) -> Pop:
        covering = [
            (net.prefixlen, pops[0])
            for net, pops in networks.items()
            if net.max_prefixlen == bits and net.prefixlen <= subnet.prefixlen and subnet.network_address in net
        ]
        return max(covering, key=lambda found: found[0])[1] if covering else DEFAULT[0]

    known = Client(int(asked.network_address), bits, asked.prefixlen)
    choice = table.choose(known)
    assert choice.pop == by_scan(asked)
    assert 0 <= choice.scope <= asked.prefixlen
    if choice.scope == asked.prefixlen:
        return  # The answer may still differ within what was asked for; nothing more exact can be said.
    free = bits - choice.scope
    neighbour = int(asked.network_address) >> free << free | noise & 2**free - 1
    assert table.choose(Client(neighbour, bits, bits)).pop == choice.pop


def test_a_large_table_is_searched_and_not_scanned() -> None:
    networks = [(IPv4Network((number << 16, 16)), (DEFAULT[number % 3],)) for number in range(2**16)]
    table = Policy(networks, DEFAULT)
    start = process_time()
    for number in range(1000):
        assert table.choose(Client(number * 4_000_037 % 2**32 >> 8 << 8, 32, 24)).scope == 16
    assert process_time() - start < 0.5


# Places, countries, measurements --------------------------------------------------------------------------------

FRA = Pop("fra", ("10.0.0.1",), location=Location(50.0, 8.6))
IAD = Pop("iad", ("10.0.0.2",), location=Location(38.9, -77.5))
GRU = Pop("gru", ("10.0.0.3",), location=Location(-23.4, -46.5))
LOST = Pop("lost", ("10.0.0.4",))
PARIS, LIMA = Location(48.9, 2.4, "FR"), Location(-12.0, -77.0, "PE")
NET = client("192.0.2.0/24")


class Times:
    """What is measured of one network."""

    def __init__(self, times: dict[str, float] | None = None, trying: str | None = None, width: int = 24) -> None:
        self._times, self._trying, self._width = times, trying, width

    def times(self, client: Client) -> dict[str, float] | None:
        return self._times

    def exploring(self, client: Client) -> str | None:
        return self._trying

    def width(self, client: Client) -> int:
        return self._width


def placed(location: Location | None, width: int = 16, **rules: tuple[Pop, ...]) -> Policy:
    networks = [(ip_network("192.0.2.0/25"), rules.pop("network"))] if "network" in rules else []
    return Policy(networks, (GRU, LOST, IAD, FRA), countries=rules, locate=lambda _: (location, width))


def order_of(made: Policy, measured: Times | None = None) -> tuple[list[str], Reason]:
    ranking = made.rank(NET, measured=measured)
    return [rank.pop.name for rank in ranking.ranks], ranking.reason


ORDERS: dict[str, tuple[Policy, Times | None, list[str], Reason]] = {
    "nothing known: the order of the settings": (placed(None), None, ["gru", "lost", "iad", "fra"], Reason.DEFAULT),
    "near Paris": (placed(PARIS), None, ["fra", "iad", "gru", "lost"], Reason.DISTANCE),
    "near Lima": (placed(LIMA), None, ["gru", "iad", "fra", "lost"], Reason.DISTANCE),
    "a country's rule, the others by distance": (
        placed(LIMA, PE=(FRA,)), None, ["fra", "gru", "iad", "lost"], Reason.COUNTRY),
    "another country's rule": (placed(LIMA, FR=(FRA,)), None, ["gru", "iad", "fra", "lost"], Reason.DISTANCE),
    "measured: fast cables": (
        placed(LIMA), Times({"gru": 140.0, "iad": 80.0}), ["iad", "gru", "fra", "lost"], Reason.LATENCY),
    "measured, not enough better to go before the nearest": (
        placed(LIMA), Times({"gru": 85.0, "iad": 81.0}), ["gru", "iad", "fra", "lost"], Reason.LATENCY),
    "measured one alone, worse than another is expected to be": (
        placed(PARIS), Times({"fra": 300.0}), ["iad", "gru", "fra", "lost"], Reason.DISTANCE),
    "measured without a place: before what nobody knows": (
        placed(None), Times({"fra": 300.0}), ["fra", "gru", "lost", "iad"], Reason.LATENCY),
    "a rule stands above what is measured": (
        placed(LIMA, PE=(FRA,)), Times({"gru": 1.0}), ["fra", "gru", "iad", "lost"], Reason.COUNTRY),
}  # fmt: skip


@pytest.mark.parametrize(("made", "measured", "expected", "reason"), ORDERS.values(), ids=ORDERS.keys())
def test_the_order_is(made: Policy, measured: Times | None, expected: list[str], reason: Reason) -> None:
    assert order_of(made, measured) == (expected, reason)
    choice = made.choose(NET, measured=measured)
    assert (choice.pop.name, choice.reason) == (expected[0], reason), "what is chosen is the first of the ranking"
    assert made.choose(NET, {expected[0]}, measured=measured).pop.name == expected[1]
    assert made.choose(NET, {expected[0]}, measured=measured).reason is Reason.FAILOVER


def test_a_network_s_rule_stands_above_a_country_s() -> None:
    made = placed(LIMA, network=(LOST,), PE=(FRA,))
    assert made.choose(client("192.0.2.1/32")).reason is Reason.NETWORK
    assert made.choose(client("192.0.2.129/32")).reason is Reason.COUNTRY


def test_only_pops_that_are_allowed_are_chosen_unless_none_is() -> None:
    made = placed(PARIS)
    assert made.choose(NET, allowed={"iad", "gru"}) == Choice(IAD, Reason.DISTANCE, 16)
    assert made.choose(NET, {"iad"}, allowed={"iad", "gru"}) == Choice(GRU, Reason.FAILOVER, 16)
    assert made.choose(NET, {"iad", "gru"}, allowed={"iad", "gru"}) == Choice(IAD, Reason.FAIL_OPEN, 16)
    assert made.choose(NET, allowed={"elsewhere"}) == Choice(FRA, Reason.DISTANCE, 16)
    assert [rank.pop.name for rank in made.rank(NET, allowed={"iad", "gru"}).ranks] == ["iad", "gru"]
    ruled = placed(PARIS, FR=(FRA,))
    assert ruled.choose(NET, allowed={"iad", "gru"}).pop == IAD


def test_an_answer_is_as_wide_as_all_it_came_from() -> None:
    assert placed(PARIS, 12).choose(NET).scope == 12
    assert placed(PARIS, 30).choose(NET).scope == 24
    assert placed(PARIS, 12).choose(NET, measured=Times(None, width=24)).scope == 24
    assert placed(PARIS, 12).choose(NET, measured=Times(None, width=0)).scope == 12
    assert placed(PARIS, 12, network=(IAD,)).choose(client("192.0.2.0/26")).scope == 25
    assert placed(PARIS, 26, network=(IAD,)).choose(client("192.0.2.0/26"), {"iad"}).scope == 26, "now the place counts"


def test_a_pop_is_tried_where_no_rule_decides_and_only_while_it_is_up() -> None:
    trying = Times({"fra": 80.0}, trying="gru")
    assert placed(PARIS).choose(NET, measured=trying) == Choice(GRU, Reason.EXPLORE, 24)
    assert placed(PARIS).choose(NET, {"gru"}, measured=trying).pop == FRA
    assert placed(PARIS).choose(NET, allowed={"fra", "iad"}, measured=trying).pop == FRA
    assert placed(PARIS, FR=(FRA,)).choose(NET, measured=trying) == Choice(FRA, Reason.COUNTRY, 16)


RUNNERS_UP: dict[str, tuple[Policy, Times, set[str], str | None]] = {
    "the nearest that is not measured": (placed(PARIS), Times({"gru": 200.0}), set(), "lost"),
    "one whose place is unknown may be anywhere": (placed(PARIS), Times({"fra": 10.0, "iad": 90.0}), set(), "lost"),
    "not one that is down": (placed(PARIS), Times({"gru": 200.0}), {"lost"}, "fra"),
    "nobody, when nobody can be better": (placed(PARIS), Times({"fra": 8.0}), {"lost"}, None),
    "nobody, when all are measured": (
        placed(PARIS), Times({"fra": 300.0, "iad": 300.0, "gru": 300.0, "lost": 300.0}), set(), None),
    "nobody, where a rule decides": (placed(PARIS, FR=(FRA,)), Times({"gru": 200.0}), set(), None),
    "nobody, when nothing usable is measured": (placed(PARIS), Times(None), set(), None),
    "nobody, when what is measured is down": (placed(PARIS), Times({"gru": 200.0}), {"gru"}, None),
}  # fmt: skip


@pytest.mark.parametrize(("made", "measured", "down", "expected"), RUNNERS_UP.values(), ids=RUNNERS_UP.keys())
def test_the_pop_worth_trying_is(made: Policy, measured: Times, down: set[str], expected: str | None) -> None:
    assert made.runner_up(NET, down, measured) == expected


def test_a_ranking_has_the_numbers_behind_it() -> None:
    first, *_, last = placed(PARIS).rank(NET, measured=Times({"fra": 12.5})).ranks
    assert (first.pop, first.measured_ms) == (FRA, 12.5)
    assert first.km == pytest.approx(460, rel=0.02)
    assert first.expected_ms == pytest.approx(5 + 1.6 * 4.6, rel=0.02)
    assert (last.pop, last.km, last.measured_ms, last.expected_ms) == (LOST, None, None, None)
