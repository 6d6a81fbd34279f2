"""Sizes, times and addresses as people write them."""

from __future__ import annotations

import ipaddress
import re

_SIZES = {"": 1, "b": 1, "kib": 2**10, "mib": 2**20, "gib": 2**30, "tib": 2**40, "kb": 10**3, "mb": 10**6, "gb": 10**9}
_TIMES = {"": 1.0, "ms": 0.001, "s": 1.0, "min": 60.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_QUANTITY = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]*)\s*")


def _quantity(value: object, units: dict[str, float] | dict[str, int], example: str) -> object:
    if not isinstance(value, str):
        return value
    match = _QUANTITY.fullmatch(value)
    if match is None or match[2].lower() not in units:
        raise ValueError(f"expected a number, or text such as {example!r}")
    return float(match[1]) * units[match[2].lower()]


def bytes_from(value: object) -> object:
    """Text with a unit of bytes to a number; anything else unchanged."""
    number = _quantity(value, _SIZES, "64 MiB")
    return int(number) if isinstance(number, float) and number.is_integer() else number


def seconds_from(value: object) -> object:
    """Text with a unit of time to seconds; anything else unchanged."""
    return _quantity(value, _TIMES, "10 s")


def bytes_text(count: float) -> str:
    """So many bytes in a unit that leaves few digits: 999 B, 1.5 KiB, 20 MiB."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(count) < 1024:
            return f"{count:.3g} {unit}" if abs(count) < 999.5 else f"{count:.0f} {unit}"
        count /= 1024
    return f"{count:,.3g} TiB"


def seconds_text(seconds: float) -> str:
    """So much time, roughly: 12 s, 5 min, -3 h."""
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if abs(seconds) >= 2 * size:
            return f"{int(seconds / size)} {unit}"
    return f"{int(seconds)} s"


def split_address(text: str) -> tuple[str, int]:
    """HOST:PORT to (host, port), the brackets of an IPv6 host removed. Raises ValueError."""
    host, colon, port = text.rpartition(":")
    if not colon or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise ValueError("expected HOST:PORT with a port from 0 to 65535")
    if host.startswith("[") and host.endswith("]"):
        return str(ipaddress.IPv6Address(host[1:-1])), int(port)
    if host == "localhost":
        host = "127.0.0.1"
    return str(ipaddress.IPv4Address(host)), int(port)


def join_address(host: str, port: int) -> str:
    """(host, port) to HOST:PORT, an IPv6 host in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def address_text(value: object) -> object:
    """HOST:PORT, checked and put into one form; anything but text unchanged."""
    if not isinstance(value, str):
        return value
    try:
        return join_address(*split_address(value))
    except ValueError as error:
        raise ValueError(str(error) or "expected HOST:PORT with a numeric host") from None
