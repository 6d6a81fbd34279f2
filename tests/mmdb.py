"""Writes databases in MaxMind's format 2.0, for tests, benchmarks and the demo: networks in, bytes out."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from ipaddress import IPv4Network, IPv6Network
from typing import Any

MARKER = b"\xab\xcd\xefMaxMind.com"
_TYPES = {"map": 7, "string": 2, "double": 3, "uint16": 5, "uint32": 6, "uint64": 9, "array": 11}


def encode(value: Any) -> bytes:
    """`Any`: what records hold: dicts, lists, text, numbers."""
    if isinstance(value, dict):
        return _head("map", len(value)) + b"".join(encode(key) + encode(each) for key, each in value.items())
    if isinstance(value, list):
        return _head("array", len(value)) + b"".join(map(encode, value))
    if isinstance(value, str):
        data = value.encode()
        return _head("string", len(data)) + data
    if isinstance(value, float):
        return _head("double", 8) + struct.pack("!d", value)
    return _number(value, "uint32")


def _number(value: int, kind: str) -> bytes:
    data = value.to_bytes((value.bit_length() + 7) // 8, "big")
    return _head(kind, len(data)) + data


def _head(kind: str, size: int) -> bytes:
    number = _TYPES[kind]
    assert size < 29 + 256
    low, more = (size, b"") if size < 29 else (29, bytes([size - 29]))
    return bytes([number << 5 | low]) + more if number < 8 else bytes([low, number - 7]) + more


def database(networks: Iterable[tuple[IPv4Network | IPv6Network, dict[str, Any]]], kind: str = "Test-City") -> bytes:
    """`Any`: as for encode. Networks must not overlap; IPv4 ones lie in ::/96, where readers look for them."""
    tree: list[list[int | None]] = [[None, None]]  # a node's two children: a number of a node, or -1 - offset of data
    data = bytearray()
    offsets: dict[bytes, int] = {}
    for network, record in networks:
        encoded = encode(record)
        if encoded not in offsets:
            offsets[encoded] = len(data)
            data += encoded
        bits, length = int(network.network_address), network.prefixlen + (96 if network.version == 4 else 0)
        node = 0
        for depth in range(length - 1):
            side = bits >> 127 - depth & 1
            child = tree[node][side]
            if child is None:
                tree.append([None, None])
                child = tree[node][side] = len(tree) - 1
            node = child
        tree[node][bits >> 128 - length & 1] = -1 - offsets[encoded]
    count = len(tree)
    nodes = b"".join(struct.pack("!II", *(_record(side, count) for side in node)) for node in tree)
    said: dict[str, Any] = {
        "node_count": count,
        "database_type": kind,
        "languages": ["en"],
        "description": {"en": "Synthetic: no real place of anybody."},
    }
    # Readers insist on the type of each of these.
    numbers = {"record_size": 32, "ip_version": 6, "binary_format_major_version": 2, "binary_format_minor_version": 0}
    metadata = b"".join(encode(name) + encode(value) for name, value in said.items())
    metadata += b"".join(encode(name) + _number(value, "uint16") for name, value in numbers.items())
    metadata += encode("build_epoch") + _number(1_700_000_000, "uint64")
    return nodes + bytes(16) + bytes(data) + MARKER + _head("map", len(said) + len(numbers) + 1) + metadata


def _record(side: int | None, count: int) -> int:
    if side is None:
        return count
    return side if side >= 0 else count + 16 + (-1 - side)


def city(latitude: float, longitude: float, country: str) -> dict[str, Any]:
    """A record as GeoIP2 has it. `Any`: as for encode."""
    return {"country": {"iso_code": country}, "location": {"latitude": latitude, "longitude": longitude}}
