"""What has to hold between settings: names that exist, addresses that are free, tiers in their order.

Every check looks at single well-formed values and tables, so that it works beside whatever else is wrong with a file.
"""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from edgeproxy.cloudfront.addresses import endpoint, is_host_name
from edgeproxy.errors import Fault
from edgeproxy.reading import Document, Location, Note
from edgeproxy.settings import Certificate, Control, Log, Node, Resolver, Settings
from edgeproxy.units import split_address
from edgeproxy.validation import near, sound

NODES_MAX = 1000
NETWORKS_MAX = 20_000
"""Looked at; a resolver with more networks than this belongs into another kind of file."""
KEY_SHORT = 16
"""A tier key with fewer characters can be guessed."""

_NODE_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?")
_COUNTRY = re.compile(r"[A-Z]{2}")
_KEY_ID = re.compile(r"[A-Za-z0-9]{1,128}")
_CODE = re.compile(r"[A-Za-z0-9-]{0,20}")


def setting_faults(document: Document, tier_key: str | None, access_keys: bool = False) -> Iterator[Fault]:
    """What is wrong between the settings of a file. `tier_key` is the one that holds, wherever it came from;
    `access_keys`: there are some that the file does not name."""
    yield from _name_faults(document)
    yield from _node_faults(document)
    yield from _address_faults(document)
    yield from _resolver_faults(document)
    yield from _network_faults(document)
    yield from _file_faults(document)
    yield from _origin_faults(document)
    yield from _control_faults(document, access_keys)
    if tier_key is not None and not re.fullmatch(r"[!-~]{1,1024}", tier_key):
        yield document.fault(
            ("tier", "key"), "expected 1 to 1024 visible ASCII characters; EDGEPROXY_TIER_KEY likewise"
        )


def setting_notes(document: Document, settings: Settings) -> Iterator[Note]:
    """What is allowed and may still surprise."""
    for where, other, everywhere in _shared_addresses(document):
        if everywhere:
            yield document.note(where, f"{document.place(other)} listens there too: they need a machine each")
    key = settings.tier.key
    if key is not None and len(key) < KEY_SHORT:
        yield document.note(("tier", "key"), f"has fewer than {KEY_SHORT} characters and can be guessed")
    for index, node in enumerate(settings.nodes):
        addresses = [*node.listen, *node.https]
        if key is None and node.mode == "regional" and not all(_is_loopback(address) for address in addresses):
            yield document.note(
                ("nodes", index), "there is no tier key, so it serves POPs on this machine only: set tier.key"
            )
        if not _is_loopback(node.admin):
            yield document.note(
                ("nodes", index, "admin"), "can be reached from other machines, and asks nobody who they are"
            )


def _is_loopback(address: str) -> bool:
    return ipaddress.ip_address(split_address(address)[0]).is_loopback


def _list(document: Document, *steps: str, most: int = NODES_MAX) -> list[object]:
    value = document.at(steps)
    return value[:most] if isinstance(value, list) else []


def _texts(document: Document, *steps: str | int) -> Iterator[tuple[Location, str]]:
    value = document.at(steps)
    for index, text in enumerate(value[:NODES_MAX] if isinstance(value, list) else ()):
        if isinstance(text, str):
            yield (*steps, index), text


def _is_network(text: str) -> bool:
    try:
        ipaddress.ip_network(text)
    except ValueError:
        return False
    return True


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


# Names ----------------------------------------------------------------------------------------------------------------


def _name_faults(document: Document) -> Iterator[Fault]:
    names: list[tuple[Location, object]] = [(("zone",), document.at(("zone",)))]
    names.append((("resolver", "hostmaster"), document.at(("resolver", "hostmaster"))))
    for key in ("zones", "nameservers"):
        names += _texts(document, "resolver", key)
    for where, name in names:
        if isinstance(name, str) and not is_host_name(name):
            yield document.fault(where, "expected a host name, such as edge.example.com")


# Nodes ----------------------------------------------------------------------------------------------------------------


def _modes(document: Document) -> dict[str, str]:
    """Mode by name, of all nodes that say so much, whatever else is wrong with them."""
    modes: dict[str, str] = {}
    for item in _list(document, "nodes"):
        if isinstance(item, dict) and isinstance(item.get("name"), str):
            modes.setdefault(item["name"], str(item.get("mode")))
    return modes


def _node_faults(document: Document) -> Iterator[Fault]:
    modes = _modes(document)
    seen: set[str] = set()
    for index, item in enumerate(_list(document, "nodes")):
        where = ("nodes", index)
        name = item.get("name") if isinstance(item, dict) else None
        if isinstance(name, str):
            if name in seen:
                yield document.fault((*where, "name"), "another node has this name")
            if not _NODE_NAME.fullmatch(name):
                yield document.fault((*where, "name"), "expected up to 63 letters, digits and inner . _ -")
            seen.add(name)
        if isinstance(item, dict):
            yield from _place_faults(document, where, {**item, "country": None})
        node = sound(Node, document, where)
        if node is not None:
            yield from _one_node_faults(document, where, node, modes)


def _one_node_faults(document: Document, where: Location, node: Node, modes: Mapping[str, str]) -> Iterator[Fault]:
    if not _CODE.fullmatch(node.code):
        yield document.fault((*where, "code"), "expected up to 20 letters, digits and -, such as FRA50-P1")
    for at, address in _texts(document, *where, "addresses"):
        if not _is_address(address):
            yield document.fault(at, "expected an IPv4 or IPv6 address")
    if node.upstream is None:
        return
    if node.mode == "regional":
        yield document.fault((*where, "upstream"), "expected none: a regional asks origins, and nothing lies between")
    elif node.upstream not in modes:
        regionals = [name for name, mode in modes.items() if mode == "regional"]
        yield document.fault((*where, "upstream"), f"expected the name of a regional{near(node.upstream, regionals)}")
    elif modes[node.upstream] != "regional":
        yield document.fault((*where, "upstream"), "expected the name of a regional; this node is a POP")


def _address_faults(document: Document) -> Iterator[Fault]:
    for where, other, everywhere in _shared_addresses(document):
        if not everywhere:
            yield document.fault(where, f"{document.place(other)} listens there already")


def _shared_addresses(document: Document) -> Iterator[tuple[Location, Location, bool]]:
    """Listeners that want an address another one has, and whether that is right on machines of their own.

    On one machine the second would fail, or with SO_REUSEPORT take half of the first one's viewers. All addresses of
    a machine (0.0.0.0, ::) are what nodes on different machines have in common.
    """
    taken: dict[tuple[str, int], Location] = {}
    for where, text in _listeners(document):
        try:
            address = split_address(text)
        except ValueError:
            continue
        other = taken.setdefault(address, where)
        if address[1] and other is not where:
            yield where, other, ipaddress.ip_address(address[0]).is_unspecified and where[:2] != other[:2]


def _listeners(document: Document) -> Iterator[tuple[Location, str]]:
    for index in range(len(_list(document, "nodes"))):
        yield from _texts(document, "nodes", index, "listen")
        yield from _texts(document, "nodes", index, "https")
        admin = document.at(("nodes", index, "admin"))
        if isinstance(admin, str):
            yield ("nodes", index, "admin"), admin
    if document.at(("nodes",)):  # a CDN's own: a file for `serve` alone has neither
        if document.at(("resolver", "listen")) is None:
            yield from ((("resolver", "listen"), address) for address in Resolver().listen)
        yield from _texts(document, "resolver", "listen")
        admin = document.at(("resolver", "admin"))
        if isinstance(admin, str):
            yield ("resolver", "admin"), admin
        control = document.at(("control", "listen"))
        yield ("control", "listen"), control if isinstance(control, str) else Control().listen


# Resolver and networks ------------------------------------------------------------------------------------------------


def _resolver_faults(document: Document) -> Iterator[Fault]:
    modes = _modes(document)
    networks: dict[object, Location] = {}
    named = list(_texts(document, "resolver", "default"))
    for index, item in enumerate(_list(document, "resolver", "networks", most=NETWORKS_MAX)):
        where: Location = ("resolver", "networks", index)
        network = item.get("network") if isinstance(item, dict) else None
        named += _texts(document, *where, "pops")
        if not isinstance(network, str) or not isinstance(item, dict):
            continue
        if not item.get("pops") and item.get("latitude") is None and not item.get("country"):
            yield document.fault(where, "expected pops, or where its clients are, or both")
        yield from _place_faults(document, where, item)
        if not _is_network(network):
            yield document.fault((*where, "network"), "expected a network, such as 203.0.113.0/24")
            continue
        parsed = ipaddress.ip_network(network)
        if parsed in networks:
            yield document.fault((*where, "network"), f"{document.place(networks[parsed])} has the same network")
        networks.setdefault(parsed, where)
    for index in range(len(_list(document, "resolver", "countries"))):
        named += _texts(document, "resolver", "countries", index, "pops")
    yield from _country_faults(document)
    yield from _answer_faults(document)
    pops = [name for name, mode in modes.items() if mode == "pop"]
    listed = 0
    for where, name in named:
        if modes.get(name) == "pop":
            continue
        # Near matches are looked for as long as somebody will read them.
        listed += 1
        hint = near(name, pops) if listed <= 100 and name not in modes else ""
        yield document.fault(where, f"expected the name of a POP{hint}")
    for where, address in _texts(document, "resolver", "addresses"):
        if not _is_address(address):
            yield document.fault(where, "expected an IPv4 or IPv6 address")


def _place_faults(document: Document, where: Location, item: Mapping[str, object]) -> Iterator[Fault]:
    """What is wrong with where a node or a network is said to be."""
    if (item.get("latitude") is None) is not (item.get("longitude") is None):
        yield document.fault(where, "expected latitude and longitude, or neither")
    country = item.get("country")
    if isinstance(country, str) and country and not _COUNTRY.fullmatch(country):
        yield document.fault((*where, "country"), "expected two capital letters, such as DE")


def _country_faults(document: Document) -> Iterator[Fault]:
    seen: dict[str, Location] = {}
    for index, item in enumerate(_list(document, "resolver", "countries")):
        country = item.get("country") if isinstance(item, dict) else None
        if not isinstance(country, str) or not isinstance(item, dict):
            continue
        where: Location = ("resolver", "countries", index)
        yield from _place_faults(document, where, item)
        if item.get("pops") == []:
            yield document.fault((*where, "pops"), "expected the name of a POP")
        if country in seen:
            yield document.fault((*where, "country"), f"{document.place(seen[country])} has the same country")
        seen.setdefault(country, where)


def _answer_faults(document: Document) -> Iterator[Fault]:
    for where, network in _texts(document, "resolver", "rate_limit_exempt"):
        if not _is_network(network):
            yield document.fault(where, "expected a network, such as 10.0.0.0/8")
    secret = document.at(("resolver", "cookie_secret"))
    if isinstance(secret, str) and not re.fullmatch(r"[0-9A-Fa-f]{32}", secret):
        yield document.fault(("resolver", "cookie_secret"), "expected 32 hexadecimal digits")
    nsid = document.at(("resolver", "nsid"))
    if isinstance(nsid, str) and not re.fullmatch(r"[ -~]{0,64}", nsid):
        yield document.fault(("resolver", "nsid"), "expected up to 64 printable ASCII characters")
    database = document.at(("resolver", "location_database"))
    if isinstance(database, str) and not _readable(resolved(document, database)):
        yield document.fault(("resolver", "location_database"), "expected a file to read")


def _network_faults(document: Document) -> Iterator[Fault]:
    for where, network in _texts(document, "trust", "proxies"):
        if not _is_network(network):
            yield document.fault(where, "expected a network, such as 10.0.0.0/8")


# Files and origins ----------------------------------------------------------------------------------------------------


def resolved(document: Document, path: str) -> Path:
    """A path of the settings: relative ones start at the settings file."""
    return Path(document.file).parent / path


def _file_faults(document: Document) -> Iterator[Fault]:
    for index in range(len(_list(document, "certificates"))):
        certificate = sound(Certificate, document, ("certificates", index))
        if certificate is not None:
            for name in ("certificate", "key"):
                path = resolved(document, getattr(certificate, name))
                if not _readable(path):
                    yield Fault(
                        document.file,
                        document.place(("certificates", index, name)),
                        str(path),
                        "expected a file to read",
                    )
    ca_file = document.at(("upstream", "ca_file"))
    if isinstance(ca_file, str) and not _readable(resolved(document, ca_file)):
        yield document.fault(("upstream", "ca_file"), "expected a file to read")
    log = sound(Log, document, ("log",)) or Log()
    if log.path in ("-", "off") or "DATA_DIR" in log.path:
        return
    if not log.path or "\0" in log.path or not os.access(Path(log.path).absolute().parent, os.W_OK | os.X_OK):
        yield document.fault(("log", "path"), 'expected "-", "off", or a file in a directory that can be written to')


def _readable(path: Path) -> bool:
    try:
        return path.is_file() and os.access(path, os.R_OK)
    except ValueError:  # a NUL in it
        return False


def _origin_faults(document: Document) -> Iterator[Fault]:
    table = document.at(("origins",))
    for host, url in list(table.items())[:NODES_MAX] if isinstance(table, dict) else ():
        if not is_host_name(host) or host != host.lower():
            yield document.fault(("origins", host), "expected the lower-case host name of an origin before the =")
        if not isinstance(url, str):
            continue
        try:
            where = endpoint(url)
        except ValueError as error:
            yield document.fault(("origins", host), str(error))
        else:
            if where.path:
                yield document.fault(("origins", host), "expected no path: an origin's path is in its distribution")


# Control plane --------------------------------------------------------------------------------------------------------


def _control_faults(document: Document, access_keys: bool) -> Iterator[Fault]:
    url = document.at(("control", "url"))
    if isinstance(url, str):
        try:
            where = endpoint(url)
        except ValueError as error:
            yield document.fault(("control", "url"), str(error))
        else:
            if where.path:
                yield document.fault(("control", "url"), "expected a URL without a path")
    control = sound(Control, document, ("control",)) or Control()
    if not (_is_loopback(control.listen) or control.access_keys or access_keys or control.open):
        yield document.fault(
            ("control", "listen"), "other machines could change everything: set control.access_keys, or control.open"
        )
    seen = set()
    for index, key in enumerate(control.access_keys):
        where_key = ("control", "access_keys", index)
        if not _KEY_ID.fullmatch(key.id) or not re.fullmatch(r"[!-~]{16,128}", key.secret):
            yield document.fault(
                (*where_key, "id"),
                "expected an id of up to 128 letters and digits, and a secret of 16 to 128 characters",
            )
        if key.id in seen:
            yield document.fault((*where_key, "id"), "another access key has this id")
        seen.add(key.id)
