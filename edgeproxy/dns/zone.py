"""What every name is: one immutable value made from the settings and the distributions, swapped whole on a change.

Names are compared, and kept here, in uncompressed wire form and lower case.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import NamedTuple

from edgeproxy.dns.names import text_strings, upwards, wire_name
from edgeproxy.dns.policy import Policy, Pop
from edgeproxy.errors import ConfigError, Fault
from edgeproxy.model import Distribution
from edgeproxy.places.geography import Located, Location, covers
from edgeproxy.places.networks import Client, Networks
from edgeproxy.settings import Network, Node, Resolver, Settings
from edgeproxy.units import split_address

_STAR = b"\x01*"
_COUNTRY = re.compile("[A-Z]{2}")


@dataclass(frozen=True, slots=True)
class Steered:
    """A distribution's name: the addresses of the POP that is best for whoever asks."""

    distribution: str
    allowed: frozenset[str] | None = None
    """Names of the POPs of its price class; None for all."""
    ipv6: bool = True


@dataclass(frozen=True, slots=True)
class Alias:
    """Another name of a distribution: a CNAME that leads to `target`."""

    target: bytes
    steered: Steered


@dataclass(frozen=True, slots=True)
class Fixed:
    """A machine's name: the same addresses for everybody."""

    v4: tuple[str, ...]
    v6: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Nothing:
    """A name without addresses that exists: something is below it, or its distribution is disabled."""


Content = Steered | Alias | Fixed | Nothing


@dataclass(frozen=True, slots=True)
class Apex:
    """The top of a zone: what its SOA and NS records say."""

    name: bytes
    nameservers: tuple[bytes, ...]
    hostmaster: bytes
    serial: int


class Place(NamedTuple):
    """Where a name was found: its zone, and what it is there; None when it does not exist."""

    apex: Apex
    content: Content | None
    wildcard: bytes | None = None
    """The name above the wildcard that stands for it, when one does."""


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
    explore_ttl: int = 20
    """Of an answer that tries a POP."""
    https_records: bool = True
    texts: Mapping[bytes, tuple[bytes, ...]] = field(default_factory=dict)
    """TXT records by name, each one's wire form (length-prefixed strings)."""
    negative: Mapping[bytes, frozenset[bytes]] = field(default_factory=dict)
    """By apex: the names its SOA record mentions, and all above them within our zones."""
    complete: bool = True
    """All distributions are known. Until then nothing is said not to exist."""

    @staticmethod
    def build(
        settings: Settings,
        distributions: Sequence[Distribution],
        *,
        serial: int = 1,
        locate: Callable[[Client], Located] | None = None,
        complete: bool = True,
    ) -> Zone:
        """The zone of these settings. Raises ConfigError with everything that is wrong with them.

        `locate` says where a client is that no network of the settings places; `complete` as the field.
        """
        return _Builder(settings, distributions, serial, locate).zone(complete)

    def with_distributions(self, settings: Settings, distributions: Sequence[Distribution], serial: int) -> Zone:
        """The zone of the same settings and other distributions, all of them. Raises ConfigError as `build`."""
        return _Builder(settings, distributions, serial, None, self.policy).zone(True)

    def find(self, name: bytes) -> Place | None:
        """What a name (wire form, lower case) is; None when it is in none of our zones."""
        apex = next((self.apexes[suffix] for suffix in upwards(name) if suffix in self.apexes), None)
        if apex is None:
            return None
        content = self.names.get(name)
        if content is None:
            # RFC 4592 §3.3.1: only the wildcard right below the closest name that exists can answer.
            encloser = next(suffix for suffix in upwards(name) if suffix in self.names)
            content = self.names.get(_STAR + encloser)
            return Place(apex, content, None if content is None else encloser)
        return Place(apex, content)


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


def _locator(
    places: Mapping[IPv4Network | IPv6Network, Location | None], beyond: Callable[[Client], Located] | None
) -> Callable[[Client], Located]:
    """Where clients are by the settings' own table, and by `beyond` where that says nothing."""
    table: Networks[Location | None] = Networks(places.items(), None)
    if beyond is None:
        return table.find
    if not places:
        return beyond

    def locate(client: Client) -> Located:
        location, width = table.find(client)
        if location is not None:
            return location, width
        location, further = beyond(client)
        return location, max(width, further)

    return locate


def _mentioned(apex: Apex) -> frozenset[bytes]:
    """Names in an apex's SOA record, and those above them that are below the apex."""
    return frozenset(
        suffix
        for name in (apex.nameservers[0], apex.hostmaster)
        for suffix in upwards(name)
        if suffix != apex.name and suffix not in upwards(apex.name)
    )


class _Builder:
    """Collects names and faults; used once."""

    def __init__(
        self,
        settings: Settings,
        distributions: Sequence[Distribution],
        serial: int,
        locate: Callable[[Client], Located] | None,
        policy: Policy | None = None,
    ) -> None:
        """`policy`: one of the same settings, to be used again."""
        self._known_policy = policy
        self._settings = settings
        self._distributions = distributions
        self._serial = serial
        self._locate = locate
        self._faults: list[Fault] = []
        self._apexes: dict[bytes, Apex] = {}
        self._names: dict[bytes, Content] = {}
        self._texts: dict[bytes, tuple[bytes, ...]] = {}

    def zone(self, complete: bool) -> Zone:
        resolver = self._settings.resolver
        pops = self._pops()
        policy = self._known_policy or self._policy(resolver, pops)
        self._add_zones(resolver)
        self._add_texts(resolver)
        for pop in pops.values():
            self._add(f"nodes: {pop.name}", f"{pop.name}.nodes.{self._settings.zone}", Fixed(pop.v4, pop.v6))
        for distribution in self._distributions:
            self._add_distribution(distribution, pops)
        self._add_empty_non_terminals()
        if self._faults or policy is None:
            raise ConfigError(self._faults)
        negative_ttl = min(resolver.negative_ttl, resolver.zone_ttl)  # RFC 2308 §3
        return Zone(
            self._apexes,
            self._names,
            policy,
            resolver.ttl,
            negative_ttl,
            resolver.zone_ttl,
            explore_ttl=min(resolver.ttl, int(resolver.latency.explore_time)),
            https_records=resolver.https_records,
            texts=self._texts,
            negative={name: _mentioned(apex) for name, apex in self._apexes.items()},
            complete=complete,
        )

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
        if (node.latitude is None) is not (node.longitude is None):
            self._fault(f"nodes: {node.name}", "", "expected latitude and longitude, or neither")
        port = split_address(node.https[0])[1] if node.https else None
        return Pop(node.name, v4, v6, Location(node.latitude, node.longitude), node.region, port)

    def _policy(self, resolver: Resolver, pops: Mapping[str, Pop]) -> Policy | None:
        default = self._named("resolver.default", resolver.default, pops) if resolver.default else tuple(pops.values())
        networks: dict[IPv4Network | IPv6Network, tuple[Pop, ...]] = {}
        places: dict[IPv4Network | IPv6Network, Location | None] = {}
        for index, entry in enumerate(resolver.networks):
            place = f"resolver.networks[{index}]"
            location = self._location(place, entry)
            best = self._named(f"{place}.pops", entry.pops, pops) if entry.pops or location is None else ()
            try:
                network = ip_network(entry.network)
            except ValueError as error:
                self._fault(f"{place}.network", repr(entry.network), f"expected a network such as 10.0.0.0/8: {error}")
                continue
            if network in networks or network in places:
                self._fault(f"{place}.network", repr(entry.network), "expected each network once")
            if best:
                networks[network] = best
            if location is not None:
                places[network] = location
        countries = self._countries(resolver, pops)
        if not default:
            return None
        return Policy(networks.items(), default, countries=countries, locate=_locator(places, self._locate))

    def _location(self, place: str, entry: Network) -> Location | None:
        if (entry.latitude is None) is not (entry.longitude is None):
            self._fault(place, "", "expected latitude and longitude, or neither")
        if entry.country and not _COUNTRY.fullmatch(entry.country):
            self._fault(f"{place}.country", repr(entry.country), "expected two capital letters, such as DE")
        location = Location(entry.latitude, entry.longitude, entry.country)
        return None if location == Location() else location

    def _countries(self, resolver: Resolver, pops: Mapping[str, Pop]) -> dict[str, tuple[Pop, ...]]:
        countries: dict[str, tuple[Pop, ...]] = {}
        for index, entry in enumerate(resolver.countries):
            place = f"resolver.countries[{index}]"
            if not _COUNTRY.fullmatch(entry.country):
                self._fault(f"{place}.country", repr(entry.country), "expected two capital letters, such as DE")
            if entry.country in countries:
                self._fault(f"{place}.country", repr(entry.country), "expected each country once")
            countries[entry.country] = self._named(f"{place}.pops", entry.pops, pops)
        return countries

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

    def _add_texts(self, resolver: Resolver) -> None:
        for index, entry in enumerate(resolver.texts):
            place = f"resolver.texts[{index}].name"
            name = self._wire(place, entry.name)
            if name is None:
                continue
            if not any(suffix in self._apexes for suffix in upwards(name)):
                self._fault(place, repr(entry.name), "expected a name in one of the zones")
                continue
            self._texts[name] = (*self._texts.get(name, ()), text_strings(entry.text))
            self._names.setdefault(name, Nothing())

    def _add_distribution(self, distribution: Distribution, pops: Mapping[str, Pop]) -> None:
        place = f"distributions: {distribution.id}"
        covered = frozenset(pop.name for pop in pops.values() if covers(distribution.price_class, pop.region))
        allowed = covered if covered and len(covered) < len(pops) else None
        steered = Steered(distribution.id, allowed, distribution.ipv6)
        # A disabled one keeps its names, so that no wildcard of another takes them over (fact sheet 11).
        content = steered if distribution.enabled else Nothing()
        own = distribution.domain or f"{distribution.id}.{self._settings.zone}"
        self._add(place, f"{distribution.id}.{self._settings.zone}", content)
        self._add(place, own, content)
        target = self._wire(place, own)
        for alias in distribution.aliases:
            try:
                wire = wire_name(alias)
            except ValueError:
                wire = b""  # `_add` says what is wrong with it
            # A CNAME has nothing beside it (RFC 1034 §3.6.2), least of all the SOA record of an apex.
            alone = wire not in self._apexes and wire not in self._texts and target in self._names
            chain = self._settings.resolver.aliases == "cname" and alone and target is not None
            known = Alias(target, steered) if chain and target is not None and distribution.enabled else content
            self._add(f"{place}: aliases", alias, known)

    def _add(self, place: str, text: str, content: Content) -> None:
        """Give a name its content; names outside our zones are somebody else's to answer."""
        name = self._wire(place, text)
        if name is None or not any(suffix in self._apexes for suffix in upwards(name)):
            return
        known = self._names.get(name)
        if isinstance(known, Fixed) and known != content:
            self._fault(place, repr(text), "expected another name: this one belongs to a name server or a node")
        elif not isinstance(known, Steered | Alias):
            self._names[name] = content

    def _add_empty_non_terminals(self) -> None:
        """RFC 4592 §2.2.2: a name exists when one below it does, up to the apex; an inner zone counts as below."""
        for name in list(self._names):
            above = list(upwards(name))[1:]
            top = next((index for index, suffix in enumerate(above) if suffix in self._apexes), 0)
            for suffix in above[:top]:
                self._names.setdefault(suffix, Nothing())
