"""The resolver's long searches: memory, any bytes on the wire, and thousands of networks with known round-trip times.

All print their seed and their figures, and raise AssertionError when something does not hold.
"""

from __future__ import annotations

import random
import resource
import struct
import sys
from dataclasses import dataclass, replace

import dns.edns
import dns.exception
import dns.message

from edgeproxy.dns.answer import Conditions
from edgeproxy.dns.cookies import Cookies
from edgeproxy.dns.edns import UDP_SIZE
from edgeproxy.dns.latency import Latency
from edgeproxy.dns.memo import Memo
from edgeproxy.dns.policy import Client, Policy, Pop
from edgeproxy.dns.standing import Standing, Verdict
from edgeproxy.dns.tally import Tallies
from edgeproxy.dns.zone import Zone
from edgeproxy.model import Distribution, Rules
from edgeproxy.places.geography import Location, distance_km, least_ms
from edgeproxy.settings import Latency as LatencySettings
from edgeproxy.settings import Settings

AMPLIFICATION_MAX = 10
TCP_SIZE = 65_535
MIB = 1 << 20
SOURCES = ("192.0.2.9", "10.1.2.3", "2001:db8::7")


# Any bytes ----------------------------------------------------------------------------------------------------


@dataclass
class Fuzzed:
    """What became of the inputs."""

    inputs: int = 0
    answered: int = 0
    longest: int = 0
    remembered: int = 0


def fuzz(zone: Zone, count: int, seed: int) -> Fuzzed:
    """`count` inputs: plausible queries, bent in all ways. No exception, no answer longer than allowed, none to an
    answer, and remembered answers are those that reading gives."""
    chance = random.Random(seed)
    secret = random.Random(seed).randbytes(16)
    cookies = Cookies(secret, lambda: 1e9)
    conditions = Conditions(cookies=cookies.check, amplification_max=AMPLIFICATION_MAX, nsid=b"fuzzed", keepalive=100)
    memo, bare = Memo(zone, conditions, 1000, Tallies()), Memo(zone, conditions, 0, Tallies())
    corpus = _corpus(zone, [cookies.check(b"c" * 8, source)[0] for source in SOURCES])
    fuzzed = Fuzzed()
    for number in range(count):
        wire = _bent(chance.choice(corpus), corpus, chance)
        if len(corpus) < 3000 and number % 200 == 0:
            corpus.append(wire)
        _one(memo, bare, wire, chance.choice(SOURCES), fuzzed, udp=number % 8 > 0)
    return fuzzed


def _one(memo: Memo, bare: Memo, wire: bytes, source: str, fuzzed: Fuzzed, *, udp: bool) -> None:
    fuzzed.inputs += 1
    entry = memo.find(wire, source) if udp else None
    read = bare.reply(wire, source, udp=udp)
    if entry is not None:
        fuzzed.remembered += 1
        assert read is not None, wire.hex()
        assert entry[0] == read.wire, wire.hex()
    else:
        reply = memo.reply(wire, source, udp=udp)
        assert (reply and reply.wire) == (read and read.wire), wire.hex()
    if read is None:
        assert len(wire) < 12 or wire[2] & 0x80, wire.hex()
        return
    said = read.wire
    assert said[:2] == wire[:2], wire.hex()
    assert said[2] & 0x80, wire.hex()
    assert not wire[2] & 0x80, wire.hex()
    assert len(said) <= (UDP_SIZE if udp else TCP_SIZE), wire.hex()
    assert not udp or read.vouched or len(said) <= AMPLIFICATION_MAX * len(wire), wire.hex()
    fuzzed.answered += 1
    fuzzed.longest = max(fuzzed.longest, len(said) if udp else 0)
    if fuzzed.answered % 16 == 0 and read.query.question is not None and read.query.question.type != 41:
        dns.message.from_wire(said)  # raises when it is not well-formed


def _corpus(zone: Zone, cookies: list[bytes]) -> list[bytes]:
    """Queries for everything there is, as resolvers send them; `cookies` are good ones."""
    names = [_text(name) for name in zone.names] + ["no.such.name.cdn.test", "elsewhere.test", "."]
    corpus = []
    for name in names:
        for kind in ("A", "AAAA", "HTTPS", "TXT", "ANY", "SOA", "AXFR", "TYPE65280"):
            message = dns.message.make_query(name, kind, id=7)
            corpus.append(message.to_wire())
            for subnet in ("10.1.2.0/24", "2001:db8::/56", "0.0.0.0/0"):
                message.use_edns(0, payload=1232, options=[dns.edns.ECSOption.from_text(subnet)])
                corpus.append(message.to_wire())
            for options in ([(10, b"c" * 8)], *([(3, b""), (11, b""), (10, cookie)] for cookie in cookies)):
                message.use_edns(0, payload=4096, options=[_option(*option) for option in options])
                corpus.append(message.to_wire())
    return corpus


def _option(code: int, data: bytes) -> dns.edns.Option:
    return dns.edns.GenericOption(dns.edns.OptionType.make(code), data)


def _text(name: bytes) -> str:
    labels, position = [], 0
    while name[position]:
        labels.append(name[position + 1 : position + 1 + name[position]].decode())
        position += 1 + name[position]
    return ".".join(labels) or "."


def _bent(wire: bytes, corpus: list[bytes], chance: random.Random) -> bytes:
    bent = bytearray(wire)
    for _ in range(chance.choice((0, 1, 1, 1, 2, 3, 8))):
        place = chance.randrange(len(bent)) if bent else 0
        match chance.randrange(8):
            case 0:
                bent[place : place + 1] = bytes([chance.getrandbits(8)])
            case 1 if bent:
                bent[place] ^= 1 << chance.randrange(8)
            case 2:
                del bent[place : place + chance.randrange(1, 9)]
            case 3:
                bent[place:place] = chance.randbytes(chance.randrange(1, 9))
            case 4:
                del bent[place:]
            case 5:
                bent[place:] = chance.choice(corpus)[place:]
            case 6 if len(bent) > 12:
                bent[2 * chance.randrange(6) : 2 * chance.randrange(6) + 2] = struct.pack(
                    "!H", chance.choice((0, 1, 2, 255))
                )
            case _:
                bent[place:place] = chance.choice(
                    (b"\xc0\x0c", b"\xff\xff", b"\0" * 40, b"\x3f" + b"a" * 63, b"\0\0\x29")
                )
    return bytes(bent[:5000])


# Memory ---------------------------------------------------------------------------------------------------------


def hoard(count: int, seed: int) -> int:
    """`count` queries made to be remembered: names below a wildcard, spellings, networks each in a place of its own,
    askers, options. The bytes of memory that the process has taken for it, at most."""
    chance = random.Random(seed)
    nodes = [
        {"name": f"p{number}", "mode": "pop", "addresses": [f"192.0.2.{host}" for host in range(8)],
         "latitude": chance.uniform(-60, 70), "longitude": chance.uniform(-180, 180)}
        for number in range(20)
    ]  # fmt: skip
    settings = Settings.model_validate({"zone": "cdn.test", "nodes": nodes, "resolver": {"zones": ["example.test"]}})
    distribution = Distribution("d1", "d1.cdn.test", Rules.CLOUDFRONT, "1", {}, (), ("*.example.test",))

    def locate(client: Client) -> tuple[Location, int]:
        """Every network is in a place of its own."""
        return Location(client.address % 9973 / 56 - 89, client.address % 9949 / 28 - 177), client.prefix

    zone = Zone.build(settings, [distribution], locate=locate)
    before = _resident()
    memo = Memo(zone, Conditions(), settings.resolver.memo_max, Tallies())
    for number in range(count):
        name = f"{chance.getrandbits(24):x}".encode()
        question = bytes([len(name)]) + name + b"\x07ExAmPlE\x04test\0" + bytes((0, chance.choice((1, 28)), 0, 1))
        if number % 4:
            question = b"\x02d1\x03cdn\x04test\0\0\x01\0\x01"
        option = chance.choice((
            bytes.fromhex("0008000700011800") + chance.randbytes(3),
            bytes.fromhex("0008000b00023800") + b"\x20" + chance.randbytes(6),
            bytes.fromhex("0008000800012000") + chance.randbytes(4),
            bytes.fromhex("fde90004") + chance.randbytes(4),
        ))  # fmt: skip
        opt = struct.pack("!BHHIH", 0, 41, 1232, 0, len(option)) + option
        wire = struct.pack("!6H", number & 0xFFFF, 0, 1, 0, 0, 1) + question + opt
        source = f"{chance.randrange(1, 200)}.{chance.getrandbits(8)}.{chance.getrandbits(8)}.{chance.getrandbits(8)}"
        if memo.find(wire, source) is None:
            memo.reply(wire, source, udp=True)
    return _resident() - before


def _resident() -> int:
    """Most bytes this process has had in memory so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


# Known round-trip times --------------------------------------------------------------------------------


@dataclass
class Simulated:
    """Shares of queries that went to a POP within 10 ms of the best one that was up, after the warm-up."""

    by_latency: float
    by_distance: float
    rounds_to_move: int
    """Check intervals until the last client had left a POP that failed."""


ROUND = 5.0
"""Seconds: one check interval, in which each network asks once and its viewers connect."""


def simulate(prefixes: int, pops: int, rounds: int, seed: int) -> Simulated:
    """Networks and POPs all over the world. A round trip is the distance's, times a detour of the pair's own, which
    for some pairs changes now and then (churn); the resolver knows of it what viewers' connections show."""
    chance = random.Random(seed)
    settings = LatencySettings(explore_share=0.05, prefixes_max=max(16, 2 * prefixes))
    world = _World(chance, prefixes, pops)
    latency = Latency(settings)
    policy = Policy([], tuple(world.pops), locate=lambda client: (world.places[client.address >> 8], 24))
    warm_up = rounds * 2 // 3
    near = {True: 0, False: 0}
    asked, now, down = 0, 0.0, frozenset[str]()
    for number in range(rounds):
        now += ROUND
        if number % 4 == 0:
            latency.explore(lambda client: policy.runner_up(client, down, latency), chance.random)
        world.churn()
        for net in range(prefixes):
            client = Client(net << 8, 32, 24)
            chosen = policy.choose(client, down, measured=latency).pop.name
            if number >= warm_up:
                best = world.best(net, down)
                asked += 1
                near[True] += world.rtt(net, chosen) <= best + 10
                near[False] += world.rtt(net, policy.choose(client, down).pop.name) <= best + 10
            shown = world.rtt(net, chosen)
            latency.feed(chosen, client, 3, max(0.2, chance.gauss(shown, shown * 0.05)), now)
        latency.age(now)
    return Simulated(near[True] / asked, near[False] / asked, _failure(world, policy, latency, prefixes))


def _failure(world: _World, policy: Policy, latency: Latency, prefixes: int) -> int:
    """A POP dies: how many check intervals until nobody is sent there."""
    clients = [Client(net << 8, 32, 24) for net in range(prefixes)]
    counts: dict[str, int] = {}
    for client in clients:
        name = policy.choose(client, measured=latency).pop.name
        counts[name] = counts.get(name, 0) + 1
    dead = max(counts, key=lambda name: counts[name])
    standing, intervals = Standing(fall=2, rise=2), 0
    while True:
        down = frozenset() if standing.is_up else frozenset({dead})
        if not any(policy.choose(client, down, measured=latency).pop.name == dead for client in clients):
            return intervals
        standing.saw(Verdict.FAILED)
        intervals += 1


class _World:
    """Who is where, and how far from whom."""

    def __init__(self, chance: random.Random, prefixes: int, pops: int) -> None:
        self._chance = chance
        self.pops = [Pop(f"p{number}", (f"192.0.2.{number}",), location=self._place()) for number in range(pops)]
        self.places = [self._place() for _ in range(prefixes)]
        self._km = [{pop.name: distance_km(place, pop.location) for pop in self.pops} for place in self.places]
        self._detours = [{pop.name: self._detour() for pop in self.pops} for _ in range(prefixes)]

    def _place(self) -> Location:
        return Location(self._chance.uniform(-50, 65), self._chance.uniform(-180, 180))

    def _detour(self) -> float:
        """Most paths are half as long again as straight ones; some go around the world."""
        return self._chance.uniform(1.2, 2.0) if self._chance.random() < 0.7 else self._chance.uniform(2.0, 5.0)

    def churn(self) -> None:
        """One pair in ten thousand gets another path."""
        for _ in range(len(self.places) * len(self.pops) // 10_000 + 1):
            net, pop = self._chance.randrange(len(self.places)), self._chance.choice(self.pops)
            self._detours[net][pop.name] = self._detour()

    def rtt(self, net: int, pop: str) -> float:
        """Milliseconds."""
        return 4 + 2 * least_ms(self._km[net][pop]) * self._detours[net][pop]

    def best(self, net: int, down: frozenset[str]) -> float:
        """Of the POPs that are up."""
        return min(self.rtt(net, pop.name) for pop in self.pops if pop.name not in down)


def run(inputs: int = 1_000_000, prefixes: int = 10_000, rounds: int = 900, queries: int = 1_000_000) -> int:
    """Everything in full; exit code."""
    from tests.test_dns_answer import CHAINED, ZONE

    seed = random.SystemRandom().randrange(2**32)
    sys.stdout.write(f"dns: seed {seed}\n")
    taken = hoard(queries, seed)
    sys.stdout.write(
        f"dns: {queries:,} queries made to be remembered: {taken / MIB:.0f} MiB more than before, "
        f"{_resident() / MIB:.0f} MiB in all\n"
    )
    sys.stdout.flush()
    for name, zone in (("direct", ZONE), ("chained", CHAINED)):
        found = fuzz(replace(zone), inputs // 2, seed)
        sys.stdout.write(
            f"dns: {name}: {found.inputs:,} inputs, {found.answered:,} answered, {found.remembered:,} from memory, "
            f"longest UDP answer {found.longest} bytes, no exception\n"
        )
        sys.stdout.flush()
    simulated = simulate(prefixes, 20, rounds, seed)
    sys.stdout.write(
        f"dns: {prefixes:,} networks, 20 POPs, {rounds} rounds: {simulated.by_latency:.1%} of queries within 10 ms of "
        f"the best POP (by distance alone {simulated.by_distance:.1%}); a failed POP is left by all within "
        f"{simulated.rounds_to_move} check intervals\n"
    )
    assert taken <= 200 * 10**6
    assert simulated.by_latency >= 0.95
    assert simulated.rounds_to_move <= 2
    return 0
