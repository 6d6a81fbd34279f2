"""What every name is: one immutable value made from the settings and the distributions, swapped whole on a change.

Names are compared, and kept here, in uncompressed wire form and lower case.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

from edgeproxy.dns.policy import Policy, Pop
from edgeproxy.dns.query import LABEL_MAX, NAME_MAX
from edgeproxy.errors import ConfigError, Fault
from edgeproxy.model import Distribution
from edgeproxy.settings import Node, Resolver, Settings
from edgeproxy.units import split_address

_STAR = b"\x01*"


@dataclass(frozen=True, slots=True)
class Steered:
    """A distribution's name: the addresses of the POP that is best for whoever asks."""

    distribution: str


@dataclass(frozen=True, slots=True)
class Fixed:
    """A machine's name: the same addresses for everybody."""

    v4: tuple[str, ...]
    v6: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Nothing:
    """A name without addresses that exists: something is below it, or its distribution is disabled."""


Content = Steered | Fixed | Nothing


@dataclass(frozen=True, slots=True)
class Apex:
    """The top of a zone: what its SOA and NS records say."""

    name: bytes
    nameservers: tuple[bytes, ...]
    hostmaster: bytes
    serial: int


@dataclass(frozen=True, slots=True)
class Place:
    """Where a name was found: its zone, and what it is there; None when it does not exist."""

    apex: Apex
    content: Content | None


@dataclass(frozen=True, slots=True)
class Zone:
    """All zones answered for. Times to live in seconds."""

    apexes: Mapping[bytes, Apex]
    names: Mapping[bytes, Content]
    """Every name that exists, apexes and empty non-terminals included; wildcards under their own name."""
    policy: Policy
    ttl: int
    negative_ttl: int
    zone_ttl: int

    @staticmethod
    def build(settings: Settings, distributions: Sequence[Distribution], *, serial: int = 1) -> Zone:
        """The zone of these settings. Raises ConfigError with everything that is wrong with them."""
        return _Builder(settings, distributions, serial).zone()

    def find(self, name: bytes) -> Place | None:
        """What a name (wire form, lower case) is; None when it is in none of our zones."""
        apex = next((self.apexes[suffix] for suffix in _upwards(name) if suffix in self.apexes), None)
        if apex is None:
            return None
        content = self.names.get(name)
        if content is None:
            # RFC 4592 §3.3.1: only the wildcard right below the closest name that exists can answer.
            encloser = next(suffix for suffix in _upwards(name) if suffix in self.names)
            content = self.names.get(_STAR + encloser)
        return Place(apex, content)


def wire_name(text: str) -> bytes:
    """A name as text to its wire form in lower case. Raises ValueError saying what is wrong with it."""
    labels = text.lower().removesuffix(".").split(".")
    if not all(label and len(label) <= LABEL_MAX and label.isascii() and label.isprintable() for label in labels):
        raise ValueError(f"expected a name of ASCII labels of 1 to {LABEL_MAX} characters with dots between them")
    wire = b"".join(bytes([len(label)]) + label.encode() for label in labels) + b"\0"
    if len(wire) > NAME_MAX:
        raise ValueError(f"expected a name of at most {NAME_MAX - 2} characters")
    return wire


def _upwards(name: bytes) -> Iterator[bytes]:
    """The name and every name above it, the root last."""
    position = 0
    while name[position]:
        yield name[position:]
        position += 1 + name[position]
    yield b"\0"


def _hosts(addresses: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """IPv4 and IPv6 hosts of HOST:PORT texts, each once; without those that mean nothing to others."""
    hosts = [ip_address(split_address(address)[0]) for address in addresses]
    return _by_family([str(host) for host in hosts if not host.is_unspecified and "%" not in str(host)])


def _by_family(hosts: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """IPv4 and IPv6 addresses, each once. Raises ValueError."""
    parsed = dict.fromkeys(ip_address(host) for host in hosts)
    if any("%" in host for host in hosts):
        raise ValueError("an address with an interface is known on one machine alone")
    return tuple(str(a) for a in parsed if a.version == 4), tuple(str(a) for a in parsed if a.version == 6)


class _Builder:
    """Collects names and faults; used once."""

    def __init__(self, settings: Settings, distributions: Sequence[Distribution], serial: int) -> None:
        self._settings = settings
        self._distributions = distributions
        self._serial = serial
        self._faults: list[Fault] = []
        self._apexes: dict[bytes, Apex] = {}
        self._names: dict[bytes, Content] = {}

    def zone(self) -> Zone:
        resolver = self._settings.resolver
        pops = self._pops()
        policy = self._policy(resolver, pops)
        self._add_zones(resolver)
        for pop in pops.values():
            self._add(f"nodes: {pop.name}", f"{pop.name}.nodes.{self._settings.zone}", Fixed(pop.v4, pop.v6))
        for distribution in self._distributions:
            self._add_distribution(distribution)
        self._add_empty_non_terminals()
        if self._faults or policy is None:
            raise ConfigError(self._faults)
        negative_ttl = min(resolver.negative_ttl, resolver.zone_ttl)  # RFC 2308 §3
        return Zone(self._apexes, self._names, policy, resolver.ttl, negative_ttl, resolver.zone_ttl)

    def _fault(self, place: str, value: str, expected: str) -> None:
        self._faults.append(Fault("settings", place, value, expected))

    def _wire(self, place: str, text: str) -> bytes | None:
        try:
            return wire_name(text)
        except ValueError as error:
            self._fault(place, repr(text), str(error))
            return None

    def _addresses(
        self, place: str, given: Sequence[str], listening: Sequence[str]
    ) -> tuple[tuple[str, ...], tuple[str, ...]]:
        try:
            return _by_family(given) if given else _hosts(listening)
        except ValueError as error:
            self._fault(place, repr(list(given)), f"expected IP addresses: {error}")
            return (), ()

    def _pops(self) -> dict[str, Pop]:
        pops: dict[str, Pop] = {}
        for node in self._settings.nodes:
            if node.mode == "pop":
                pops[node.name] = self._pop(node)
        if not pops:
            self._fault("nodes", "", "expected at least one node of mode pop to send viewers to")
        return pops

    def _pop(self, node: Node) -> Pop:
        place = f"nodes: {node.name}: addresses"
        before = len(self._faults)
        v4, v6 = self._addresses(place, node.addresses, [*node.listen, *node.https])
        if not v4 and not v6 and len(self._faults) == before:
            self._fault(place, "", "expected an address to answer with, since it listens on none in particular")
        return Pop(node.name, v4, v6)

    def _policy(self, resolver: Resolver, pops: Mapping[str, Pop]) -> Policy | None:
        default = self._named("resolver.default", resolver.default, pops) if resolver.default else tuple(pops.values())
        networks: dict[IPv4Network | IPv6Network, tuple[Pop, ...]] = {}
        for index, entry in enumerate(resolver.networks):
            place = f"resolver.networks[{index}]"
            best = self._named(f"{place}.pops", entry.pops, pops)
            try:
                network = ip_network(entry.network)
            except ValueError as error:
                self._fault(f"{place}.network", repr(entry.network), f"expected a network such as 10.0.0.0/8: {error}")
                continue
            if network in networks:
                self._fault(f"{place}.network", repr(entry.network), "expected each network once")
            networks[network] = best
        return Policy(networks.items(), default) if default else None

    def _named(self, place: str, names: Sequence[str], pops: Mapping[str, Pop]) -> tuple[Pop, ...]:
        unknown = [name for name in names if name not in pops]
        if unknown or not names:
            expected = f"expected names of POPs: {', '.join(pops) or 'there are none'}"
            self._fault(place, ", ".join(unknown) or "empty", expected)
        return tuple(pops[name] for name in names if name in pops)

    def _add_zones(self, resolver: Resolver) -> None:
        v4, v6 = self._addresses("resolver.addresses", resolver.addresses, resolver.listen)
        servers: dict[str, None] = {}
        for place, zone in [("zone", self._settings.zone), *(("resolver.zones", zone) for zone in resolver.zones)]:
            name = self._wire(place, zone)
            if name is None:
                continue
            nameservers = resolver.nameservers or [f"ns1.{zone}"]
            mail = (resolver.hostmaster or f"hostmaster.{zone}").replace("@", ".")
            wires = [self._wire("resolver.nameservers", text) for text in nameservers]
            hostmaster = self._wire("resolver.hostmaster", mail)
            if hostmaster is not None and None not in wires:
                self._apexes[name] = Apex(name, tuple(filter(None, wires)), hostmaster, self._serial)
                self._names[name] = Nothing()
                servers.update(dict.fromkeys(nameservers))
        for text in servers:
            self._add("resolver.nameservers", text, Fixed(v4, v6))

    def _add_distribution(self, distribution: Distribution) -> None:
        place = f"distributions: {distribution.id}"
        # A disabled one keeps its names, so that no wildcard of another takes them over (fact sheet 11).
        content = Steered(distribution.id) if distribution.enabled else Nothing()
        self._add(place, f"{distribution.id}.{self._settings.zone}", content)
        if distribution.domain:
            self._add(place, distribution.domain, content)
        for alias in distribution.aliases:
            self._add(f"{place}: aliases", alias, content)

    def _add(self, place: str, text: str, content: Content) -> None:
        """Give a name its content; names outside our zones are somebody else's to answer."""
        name = self._wire(place, text)
        if name is None or not any(suffix in self._apexes for suffix in _upwards(name)):
            return
        known = self._names.get(name)
        if isinstance(known, Fixed) and known != content:
            self._fault(place, repr(text), "expected another name: this one belongs to a name server or a node")
        elif not isinstance(known, Steered):
            self._names[name] = content

    def _add_empty_non_terminals(self) -> None:
        """RFC 4592 §2.2.2: a name exists when one below it does, up to the apex; an inner zone counts as below."""
        for name in list(self._names):
            above = list(_upwards(name))[1:]
            top = next((index for index, suffix in enumerate(above) if suffix in self._apexes), 0)
            for suffix in above[:top]:
                self._names.setdefault(suffix, Nothing())
