"""Minimum, default and maximum lifetimes: which values hold when some were left out (fact sheet 3)."""

from __future__ import annotations

from edgeproxy.model import Ttl

YEARS_100 = 3_153_600_000
"""The longest lifetime that may be set, seconds."""
DAY = 86_400
YEAR = 31_536_000


def ttl(minimum: int | None, default: int | None, maximum: int | None) -> Ttl:
    """The lifetimes that hold. Left out, the minimum is 0, the default a day, the maximum a year; a default or maximum
    that was left out gives way to what was said, so that it never puts the three out of order."""
    low = minimum or 0
    usual = max(DAY, low) if default is None else default
    if default is None and maximum is not None:
        usual = min(usual, max(low, maximum))
    high = max(YEAR, low, usual) if maximum is None else maximum
    return Ttl(low, usual, high)


def in_order(times: Ttl) -> bool:
    """InvalidTTLOrder is the answer when this is False."""
    return times.minimum <= times.default <= times.maximum
