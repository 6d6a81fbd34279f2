"""dns/memo.py: a remembered answer is the one that reading the query would give, byte for byte, whatever changes."""

from __future__ import annotations

import struct
from dataclasses import replace

import dns.edns
import dns.message
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeproxy.dns.answer import Conditions, answer
from edgeproxy.dns.latency import Latency
from edgeproxy.dns.memo import Memo
from edgeproxy.dns.policy import Client
from edgeproxy.dns.tally import Tallies
from edgeproxy.dns.zone import Zone
from edgeproxy.model import Distribution, Rules
from edgeproxy.settings import Latency as LatencySettings
from edgeproxy.settings import Settings

NODES = [
    {"name": "fra", "mode": "pop", "addresses": ["192.0.2.1", "192.0.2.2", "2001:db8::1"], "https": ["192.0.2.1:443"],
     "latitude": 50.0, "longitude": 8.0, "region": "eu-central-1"},
    {"name": "iad", "mode": "pop", "addresses": ["198.51.100.1"], "latitude": 39.0, "longitude": -77.0,
     "region": "us-east-1"},
    {"name": "gru", "mode": "pop", "addresses": [f"203.0.113.{host}" for host in range(1, 12)], "latitude": -23.0,
     "longitude": -46.0, "region": "sa-east-1"},
]  # fmt: skip
RESOLVER = {
    "zones": ["example.test"],
    "networks": [
        {"network": "10.0.0.0/8", "latitude": 48.0, "longitude": 2.0},
        {"network": "10.1.0.0/16", "pops": ["gru"]},
        {"network": "10.2.3.128/25", "pops": ["iad"]},
        {"network": "11.0.0.0/8", "latitude": 40.0, "longitude": -75.0, "country": "US"},
        {"network": "2001:db8::/33", "latitude": -20.0, "longitude": -43.0},
    ],
    "texts": [{"name": "d1.cdn.test", "text": "hello"}],
}
DISTRIBUTIONS = [
    Distribution("d1", "d1.cdn.test", Rules.CLOUDFRONT, "1", {}, (), ("www.example.test", "*.wild.example.test")),
    Distribution("d2", "d2.cdn.test", Rules.CLOUDFRONT, "1", {}, (), price_class="PriceClass_100", ipv6=False),
]
ZONE = Zone.build(Settings.model_validate({"zone": "cdn.test", "nodes": NODES, "resolver": RESOLVER}), DISTRIBUTIONS)
OTHER = Zone.build(
    Settings.model_validate({"zone": "cdn.test", "nodes": NODES, "resolver": {**RESOLVER, "ttl": 7}}), DISTRIBUTIONS[:1]
)
SOURCES = ("192.0.2.99", "10.1.2.3", "11.0.0.1", "2001:db8::7", "::ffff:10.1.2.3")


def remembered(memo: Memo, wire: bytes, source: str) -> bytes | None:
    """As the server does it."""
    found = memo.find(wire, source)
    if found is None:
        reply = memo.reply(wire, source, udp=True)
        return reply.wire if reply else None
    return found[0]


def plain(zone: Zone, conditions: Conditions, wire: bytes, source: str) -> bytes | None:
    reply = answer(zone, wire, source, udp=True, conditions=conditions)
    return reply.wire if reply else None


def query(name: str = "d1.cdn.test", kind: str = "A", subnet: str = "", id: int = 0, payload: int = 1232) -> bytes:
    options = [dns.edns.ECSOption.from_text(subnet)] if subnet else []
    message = dns.message.make_query(name, kind, id=id, use_edns=bool(subnet) or payload != 1232, options=options)
    if message.edns >= 0:
        message.use_edns(0, payload=payload, options=options)
    return message.to_wire()


@st.composite
def queries(draw: st.DrawFn) -> bytes:
    """Plausible ones mostly; some broken, some with a cookie."""
    name = draw(st.sampled_from([
        "d1.cdn.test", "D1.cDn.TEST", "d2.cdn.test", "www.example.test", "a.wild.example.test", "cdn.test",
        "no.cdn.test", "x.wild.example.test", "X.Wild.eXample.test",
        "a.ns1.cdn.test", "ns1.cdn.test", "fra.nodes.cdn.test", "example.test", "elsewhere.test",
        "a.b.c.hostmaster.cdn.test",
    ]))  # fmt: skip
    kind = draw(st.sampled_from(["A", "A", "AAAA", "HTTPS", "TXT", "NS", "SOA", "CNAME", "ANY", "MX", "TYPE999"]))
    subnets = [
        "",
        "10.5.6.0/24",
        "10.1.9.0/24",
        "10.2.3.0/24",
        "11.0.5.0/24",
        "172.16.0.0/12",
        "10.1.2.3/32",
        "0.0.0.0/0",
    ]
    subnet = draw(st.sampled_from([*subnets, "2001:db8:1::/56", "2a00:1::/48", "2001:db8:7::/48"]))
    wire = query(name, kind, subnet, draw(st.integers(0, 65535)), draw(st.sampled_from([512, 1232, 1400])))
    if draw(st.integers(0, 9)) == 0 and wire:
        place = draw(st.integers(0, len(wire) - 1))
        wire = wire[:place] + bytes([draw(st.integers(0, 255))]) + wire[place + 1 :]
    if draw(st.integers(0, 9)) == 0:
        cookie = struct.pack("!BHHIHHH", 0, 41, 1232, 0, 12, 10, 8) + bytes(8)
        wire = query(name, kind, id=1)[:11] + b"\1" + query(name, kind, id=1)[12:] + cookie
    elif draw(st.integers(0, 4)) == 0:
        wire = draw(optioned(query(name, kind, id=draw(st.integers(0, 65535)))))
    return wire


V4, V6 = "00080007000118000a", "0008000b0002380020010db8"
OPTIONS = [
    "00030000", "000b0000", "000a0008" + "63" * 8, "000a0018" + "63" * 8 + "00" * 16, "000a0018" + "64" * 24,
    V4 + "0506", V4 + "0109", V6 + "000100", V6 + "800000", "0008000400010000", "fde90003" + V4[-6:],
]  # fmt: skip


@st.composite
def optioned(draw: st.DrawFn, plain: bytes) -> bytes:
    """A query with options in any order; at times cut short, so that one looks like the beginning of another."""
    options = b"".join(bytes.fromhex(each) for each in draw(st.lists(st.sampled_from(OPTIONS), max_size=3)))
    record = struct.pack("!BHHIH", 0, 41, 1232, 0, len(options)) + options
    wire = plain[:11] + b"\1" + plain[12:] + record
    return wire[: len(wire) - draw(st.sampled_from([0, 0, 0, 0, 1, 3, 4, 7, 24]))]


STEPS = st.lists(
    st.one_of(
        st.tuples(queries(), st.sampled_from(SOURCES)),
        st.sampled_from(["fra down", "all down", "up", "other zone", "measured", "explore"]),
    ),
    min_size=10,
    max_size=60,
)


def checked(wire: bytes, source: str) -> tuple[bytes, bool]:
    """Stands for Cookies.check, without a clock."""
    return wire[:8] + bytes(16), wire[8:] == bytes(16)


def learn(
    memo: Memo, zone: Zone, conditions: Conditions, latency: Latency, pop: str, net: Client, mean_ms: float
) -> None:
    """As the resolver does it."""
    families = latency.families
    changed = latency.feed(pop, net, 10, mean_ms, 0)
    if latency.families != families:
        memo.use(zone, conditions)
    memo.forget(changed)


@settings(max_examples=120, deadline=None)
@given(STEPS)
def test_memory_and_reading_answer_alike_byte_for_byte(steps: list[tuple[bytes, str] | str]) -> None:
    zone, latency = ZONE, Latency(LatencySettings())
    conditions = Conditions(measured=latency, cookies=checked, amplification_max=10, nsid=b"ns1", keepalive=7)
    memo, clock = Memo(zone, conditions, 64, Tallies()), 0
    for step in steps:
        if isinstance(step, tuple):
            for _ in range(2):  # the second time it may be remembered
                assert remembered(memo, *step) == plain(zone, conditions, *step)
            continue
        clock += 1
        match step:
            case "fra down" | "all down" | "up":
                down = {"fra down": {"fra"}, "all down": {"fra", "iad", "gru"}, "up": set[str]()}[step]
                conditions = replace(conditions, down=frozenset(down))
                memo.use(zone, conditions)
            case "other zone":
                zone = OTHER if zone is ZONE else ZONE
                memo.use(zone, conditions)
            case "measured":
                net = Client(10 << 24 | 5 << 16 | 6 << 8, 32, 24)
                learn(memo, zone, conditions, latency, "iad", net, 5.0 + 60 * (clock % 3))
            case _:
                memo.forget(latency.explore(lambda who: "gru", lambda: 0.0))


def test_a_network_nobody_asked_for_before_is_answered_without_reading() -> None:
    memo = Memo(ZONE, Conditions(), 100, Tallies())
    assert memo.find(query(subnet="10.5.6.0/24"), "192.0.2.99") is None
    for rotation in range(2):
        memo.reply(query(subnet="10.5.6.0/24", id=rotation), "192.0.2.99", udp=True)
    for subnet in ("10.5.7.0/24", "10.200.1.0/24"):
        wire = query(subnet=subnet, id=5)
        found = memo.find(wire, "192.0.2.99")
        assert found is not None
        assert found[0] == plain(ZONE, Conditions(), wire, "192.0.2.99")


def test_addresses_come_in_another_order_by_the_id() -> None:
    memo = Memo(ZONE, Conditions(), 100, Tallies())
    firsts = set()
    for id in range(6):
        said = remembered(memo, query(subnet="10.5.6.0/24", id=id), "192.0.2.99")
        assert said is not None
        firsts.add(dns.message.from_wire(said).answer[0].to_text().split()[4])
    assert firsts == {"192.0.2.1", "192.0.2.2"}


def test_what_is_kept_is_bounded_whoever_asks_whatever() -> None:
    memo = Memo(ZONE, Conditions(), 100, Tallies())
    for number in range(2000):
        subnet = f"10.{number >> 8}.{number & 255}.0/24"
        remembered(memo, query(subnet=subnet), "192.0.2.99")
        remembered(memo, query(f"x{number}.cdn.test"), f"192.0.2.{number % 250}")
        remembered(memo, query(), f"10.9.{number >> 8}.{number & 255}")
        assert len(memo) <= 100
    assert len(memo._bodies) < 50, "names that do not exist take no memory"


def test_what_is_asked_again_and_again_stays_remembered() -> None:
    memo = Memo(ZONE, Conditions(), 100, Tallies())
    often = query("www.example.test", subnet="10.5.6.0/24")
    remembered(memo, often, "192.0.2.99")
    for number in range(500):
        remembered(memo, query(subnet=f"10.0.{number & 255}.0/24", id=number), "192.0.2.99")
        assert memo.find(often, "192.0.2.99") is not None


def test_without_room_nothing_is_kept_and_all_is_answered() -> None:
    memo = Memo(ZONE, Conditions(), 0, Tallies())
    for _ in range(2):
        assert memo.find(query(), "192.0.2.99") is None
        assert remembered(memo, query(), "192.0.2.99") == plain(ZONE, Conditions(), query(), "192.0.2.99")
    assert len(memo) == 0


def agree(memo: Memo, zone: Zone, conditions: Conditions, subnets: list[str], name: str = "d1.cdn.test") -> None:
    for subnet in subnets:
        for _ in range(2):
            wire = query(name, subnet=subnet)
            assert remembered(memo, wire, "192.0.2.99") == plain(zone, conditions, wire, "192.0.2.99"), subnet


def test_another_zone_is_answered_from_at_once() -> None:
    memo = Memo(ZONE, Conditions(), 100, Tallies())
    for zone in (ZONE, OTHER, ZONE):
        memo.use(zone, Conditions())
        agree(memo, zone, Conditions(), ["10.5.6.0/24", "10.5.7.0/24"])


def test_a_choice_is_taken_for_a_whole_16_only_where_it_holds_for_all_of_it() -> None:
    memo = Memo(ZONE, Conditions(), 100, Tallies())
    agree(memo, ZONE, Conditions(), ["11.0.5.0/24", "10.2.5.0/24", "10.2.200.0/24", "10.2.3.0/24", "10.2.4.0/24"])
    finer = Zone.build(
        Settings.model_validate({"zone": "cdn.test", "nodes": NODES, "resolver": {
            "networks": [{"network": "10.7.8.0/24", "pops": ["gru"]}]}}),
        DISTRIBUTIONS[:1],
    )  # fmt: skip
    memo.use(finer, Conditions())
    agree(memo, finer, Conditions(), ["10.9.1.0/24", "10.7.9.0/24", "10.7.10.0/24", "10.7.8.0/24", "10.7.11.0/24"])


def test_a_measurement_changes_what_is_answered_to_its_network_and_to_nobody_else() -> None:
    latency = Latency(LatencySettings())
    conditions = Conditions(measured=latency)
    memo = Memo(ZONE, conditions, 100, Tallies())
    learn(memo, ZONE, conditions, latency, "fra", Client(10 << 24 | 9 << 16, 32, 24), 200.0)
    subnets = ["10.77.6.0/24", "10.5.6.0/24", "10.5.7.0/24", "10.200.1.0/24"]
    agree(memo, ZONE, conditions, subnets)
    for pop, times in (("fra", 200.0), ("iad", 20.0)):
        net = Client(10 << 24 | 5 << 16 | 7 << 8, 32, 24)
        learn(memo, ZONE, conditions, latency, pop, net, times)
        # Spelt in another way, so that it is not known by its bytes but found by its shape.
        for name in ("d1.cdn.test", "D1.cdn.test"):
            agree(memo, ZONE, conditions, subnets, name)


def test_names_of_one_length_share_what_is_rendered_only_where_it_is_the_same() -> None:
    """Compression points into the question: into names that the answer mentions, and to where its zone begins."""
    settings_ = {"zone": "cdn.test", "nodes": NODES[1:2], "resolver": {"zones": ["bzzz.test"], "aliases": "address"}}
    distribution = Distribution("d1", "d1.cdn.test", Rules.CLOUDFRONT, "1", {}, (), ("a.bzzz.test",))
    zone = Zone.build(Settings.model_validate(settings_), [distribution])
    memo = Memo(zone, Conditions(), 100, Tallies())
    for names in (
        ("xxxxx.cdn.test", "x.ns1.cdn.test", "y.ns1.cdn.test", "yyyyy.cdn.test"),
        ("xxxxxxxxxxxx.cdn.test", "x.hostmaster.cdn.test"),
        ("d1.cdn.test", "a.bzzz.test"),
    ):
        assert len(set(map(len, names))) == 1
        for name in names:
            for kind in ("A", "AAAA", "HTTPS", "TYPE999"):
                wire = query(name, kind)
                assert remembered(memo, wire, "192.0.2.9") == plain(zone, Conditions(), wire, "192.0.2.9"), (name, kind)


def test_names_of_a_wildcard_share_what_is_rendered_only_where_it_is_the_same() -> None:
    settings_ = {"zone": "cdn.test", "nodes": NODES, "resolver": {"zones": ["bzzz.test"]}}
    aliases = ("*.w.bzzz.test", "*.bzzz.test", "*.v.cdn.test", "*.cdn.test")
    zone = Zone.build(
        Settings.model_validate(settings_),
        [Distribution("d1", "d1.cdn.test", Rules.CLOUDFRONT, "1", {}, (), aliases)],
    )
    memo = Memo(zone, Conditions(), 100, Tallies())
    for names in (
        ("xx.w.bzzz.test", "yy.w.bzzz.test", "x.w.bzzz.test", "zzzz.bzzz.test"),
        ("ww.v.cdn.test", "ww.a.cdn.test", "w1ww.cdn.test"),
        ("xxxxx.cdn.test", "x.ns1.cdn.test", "y.ns1.cdn.test", "y.ns2.cdn.test"),
        ("x.hostmaster.bzzz.test", "x.hostmastex.bzzz.test"),
    ):
        for name in names:
            for kind in ("A", "AAAA", "HTTPS", "CNAME", "ANY", "TYPE999"):
                wire = query(name, kind)
                assert remembered(memo, wire, "192.0.2.9") == plain(zone, Conditions(), wire, "192.0.2.9"), (name, kind)
    before = len(memo._bodies)
    for number in range(100):
        remembered(memo, query(f"z{number:03}.bzzz.test"), "192.0.2.9")
    assert len(memo._bodies) == before, "whatever strangers make up"


def test_what_is_kept_is_bounded_in_bytes_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgeproxy.dns.memo.HALF_BYTES_MAX", 50_000)
    memo = Memo(ZONE, Conditions(), 100_000, Tallies())
    for number in range(1000):
        remembered(memo, query(f"x{number}.wild.example.test", subnet="10.5.6.0/24"), "192.0.2.99")
    kept = [*memo._young.items(), *memo._old.items()]
    assert 40 < len(kept) < 110
    assert (
        sum(len(key) + len(rest) for key, shape in kept for tail in shape.tails.values() for rest in tail.rests if rest)
        < 1e5
    )


def test_a_cookie_of_ours_is_answered_without_reading_and_a_forged_one_is_not() -> None:
    conditions = Conditions(cookies=checked, amplification_max=10)
    memo = Memo(ZONE, conditions, 100, Tallies())
    plain_query = query()
    for client in (b"c" * 8, b"d" * 8):
        for rest, known in ((bytes(16), client == b"d" * 8), (b"x" * 16, False)):
            option = struct.pack("!HH", 10, 24) + client + rest
            wire = plain_query[:11] + b"\1" + plain_query[12:] + struct.pack("!BHHIH", 0, 41, 1232, 0, 28) + option
            found = memo.find(wire, "192.0.2.99")
            assert (found is not None) is known
            assert remembered(memo, wire, "192.0.2.99") == plain(ZONE, conditions, wire, "192.0.2.99")
            if found is not None:
                assert found[2] is None, "no limit holds for whoever is vouched for"


def test_another_spelling_is_answered_without_reading() -> None:
    memo = Memo(ZONE, Conditions(), 100, Tallies())
    for rotation in range(2):
        remembered(memo, query("www.example.test", subnet="10.5.6.0/24", id=rotation), "192.0.2.99")
    for name in ("WWW.example.test", "wWw.eXaMpLe.TeSt"):
        wire = query(name, subnet="10.77.6.0/24")
        found = memo.find(wire, "192.0.2.99")
        assert found is not None
        assert found[0] == plain(ZONE, Conditions(), wire, "192.0.2.99")
        assert found[0][12 : len(wire) - 23] == wire[12 : len(wire) - 23]
