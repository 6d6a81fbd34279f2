"""HTTP-date, strictly: the three forms of RFC 9110 section 5.6.7 and nothing else.

A date that is almost right is no date. The rules that use one say what its absence means (an `Expires` that
cannot be read is in the past, RFC 9111 section 5.3).
"""

from __future__ import annotations

import re
from datetime import date
from functools import lru_cache

_MONTHS = (b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec")
_WEEKDAYS = (b"Mon", b"Tue", b"Wed", b"Thu", b"Fri", b"Sat", b"Sun")
_MONTH = b"(?P<month>" + b"|".join(_MONTHS) + b")"
_WEEKDAY = b"(?:" + b"|".join(_WEEKDAYS) + b")"
_CLOCK = rb"(?P<hour>\d\d):(?P<minute>\d\d):(?P<second>\d\d)"

# HTTP-date is case-sensitive (RFC 9110 section 5.6.7), hence no flags.
_FIXED = re.compile(_WEEKDAY + rb", (?P<day>\d\d) " + _MONTH + rb" (?P<year>\d{4}) " + _CLOCK + b" GMT")
_ASCTIME = re.compile(_WEEKDAY + b" " + _MONTH + rb" (?P<day>\d\d| \d) " + _CLOCK + rb" (?P<year>\d{4})")
_RFC850 = re.compile(
    rb"(?:Monday|Tuesday|Wednesday|Thursday|Friday|Saturday|Sunday), "
    rb"(?P<day>\d\d)-" + _MONTH + rb"-(?P<year>\d\d) " + _CLOCK + b" GMT"
)

_LONGEST = len(b"Wednesday, 06-Nov-94 08:49:37 GMT")
_EPOCH = date(1970, 1, 1).toordinal()
_LAST_SECOND = (date.max.toordinal() - _EPOCH + 1) * 86_400 - 1
_FIFTY_YEARS = 50 * 365.2425 * 86_400


def parse_date(value: bytes, now: float) -> float | None:
    """Seconds since 1970 of an HTTP-date, None when it is not one. `now` places two-digit years only."""
    if len(value) > _LONGEST:
        return None
    moment = _four_digit_year(value)
    return _two_digit_year(value, now) if moment is None else moment


def format_date(moment: float) -> bytes:
    """An IMF-fixdate, the one form that may be generated. Times outside the years 1970 to 9999 are clamped."""
    days, second = divmod(int(min(max(moment, 0), _LAST_SECOND)), 86_400)
    day = date.fromordinal(_EPOCH + days)
    weekday, month = _WEEKDAYS[day.weekday()], _MONTHS[day.month - 1]
    clock = b"%02d:%02d:%02d" % (second // 3600, second // 60 % 60, second % 60)
    return b"%s, %02d %s %04d %s GMT" % (weekday, day.day, month, day.year, clock)


@lru_cache(maxsize=4096)
def _four_digit_year(value: bytes) -> float | None:
    match = _FIXED.fullmatch(value) or _ASCTIME.fullmatch(value)
    return _moment(match, int(match["year"])) if match else None


def _two_digit_year(value: bytes, now: float) -> float | None:
    """RFC 850: a date that seems more than 50 years ahead means the latest past year with the same two digits."""
    match = _RFC850.fullmatch(value)
    if match is None:
        return None
    this_year = date.fromordinal(_EPOCH + int(min(max(now, 0), _LAST_SECOND) // 86_400)).year
    for century in (this_year // 100 + 1, this_year // 100, this_year // 100 - 1):
        moment = _moment(match, century * 100 + int(match["year"]))
        if moment is not None and moment <= now + _FIFTY_YEARS:
            return moment
    return None


def _moment(match: re.Match[bytes], year: int) -> float | None:
    hour, minute, second = int(match["hour"]), int(match["minute"]), int(match["second"])
    if hour > 23 or minute > 59 or second > 60:  # the grammar allows for a leap second
        return None
    try:
        day = date(year, _MONTHS.index(match["month"]) + 1, int(match["day"]))
    except ValueError:
        return None
    return float((day.toordinal() - _EPOCH) * 86_400 + hour * 3600 + minute * 60 + second)
