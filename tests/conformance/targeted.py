"""CDN-Cache-Control (RFC 9213)."""

from __future__ import annotations

from dataclasses import replace

from tests.conformance.case import Case, Kind, fetched, lines, reused

_FRESH: list[tuple[str, str, list[str]]] = [
    ("alone", "it alone gives a lifetime", ["CDN-Cache-Control: max-age=60"]),
    ("wins", "it wins over Cache-Control", ["CDN-Cache-Control: max-age=60", "Cache-Control: max-age=1"]),
    (
        "over-no-store",
        "no-store in Cache-Control is not for us",
        ["CDN-Cache-Control: max-age=60", "Cache-Control: no-store"],
    ),
    (
        "over-private",
        "private in Cache-Control is not for us",
        ["CDN-Cache-Control: max-age=60", "Cache-Control: private"],
    ),
    (
        "over-no-cache",
        "no-cache in Cache-Control is not for us",
        ["CDN-Cache-Control: max-age=60", "Cache-Control: no-cache"],
    ),
    ("over-expires", "Expires is not for us", ["CDN-Cache-Control: max-age=60", "Expires: {-60}"]),
    ("parameters", "parameters are dropped", ["CDN-Cache-Control: max-age=60;x=1;y"]),
    ("unknown", "unknown members", ["CDN-Cache-Control: x=1.5, y=:YQ==:, z=(1 2), max-age=60"]),
    ("last-wins", "of a repeated key the last counts", ["CDN-Cache-Control: max-age=0, max-age=60"]),
    ("two-lines", "two lines are one field", ["CDN-Cache-Control: x", "CDN-Cache-Control: max-age=60"]),
    ("s-maxage", "s-maxage", ["CDN-Cache-Control: s-maxage=60, max-age=1"]),
    ("false", "a directive that is false is absent", ["CDN-Cache-Control: max-age=60, no-store=?0"]),
    ("empty", "empty: as if absent", ["CDN-Cache-Control:", "Cache-Control: max-age=60"]),
    ("bad-comma", "a comma at the end spoils it", ["CDN-Cache-Control: max-age=0,", "Cache-Control: max-age=60"]),
    ("bad-case", "a key in capitals spoils it", ["CDN-Cache-Control: MAX-AGE=0", "Cache-Control: max-age=60"]),
    ("bad-blank", "a blank before = spoils it", ["CDN-Cache-Control: max-age =0", "Cache-Control: max-age=60"]),
    ("bad-quotes", "an open string spoils it", ['CDN-Cache-Control: x="y', "Cache-Control: max-age=60"]),
    (
        "bad-16-digits",
        "too many digits spoil it",
        ["CDN-Cache-Control: max-age=1000000000000000", "Cache-Control: max-age=60"],
    ),
    ("huge", "15 digits", ["CDN-Cache-Control: max-age=999999999999999"]),
]

_STALE: list[tuple[str, Kind, str, list[str]]] = [
    (
        "zero",
        "required",
        "it wins over a longer Cache-Control",
        ["CDN-Cache-Control: max-age=0", "Cache-Control: max-age=60"],
    ),
    ("no-store", "required", "no-store", ["CDN-Cache-Control: no-store", "Cache-Control: max-age=60"]),
    ("no-store-parameters", "required", "no-store with a parameter", ["CDN-Cache-Control: max-age=60, no-store;x"]),
    ("private", "required", "private", ["CDN-Cache-Control: private, max-age=60"]),
    ("no-cache", "required", "no-cache", ["CDN-Cache-Control: no-cache, max-age=60"]),
    (
        "without-age",
        "required",
        "present without a lifetime, Cache-Control does not help",
        ["CDN-Cache-Control: public", "Cache-Control: max-age=60"],
    ),
    (
        "without-age-expires",
        "required",
        "present without a lifetime, Expires does not help",
        ["CDN-Cache-Control: public", "Expires: {+60}"],
    ),
    ("string", "check", "a string is no number", ['CDN-Cache-Control: max-age="60"']),
    ("decimal", "check", "a decimal is no integer", ["CDN-Cache-Control: max-age=60.0"]),
    ("token", "check", "a token is no number", ["CDN-Cache-Control: max-age=sixty"]),
    ("boolean", "check", "a key alone is no number", ["CDN-Cache-Control: max-age"]),
    ("negative", "check", "a negative number", ["CDN-Cache-Control: max-age=-60"]),
    (
        "bad-falls-back",
        "required",
        "malformed: Cache-Control's no-store counts",
        ["CDN-Cache-Control: max-age=60, &", "Cache-Control: no-store"],
    ),
]


def _forwarded() -> Case:
    case = reused("targeted-forwarded", "check", "9213 2.2", "the field goes on to the viewer",
                  "CDN-Cache-Control: max-age=60")  # fmt: skip
    first, second = case.asks
    has = lines("CDN-Cache-Control: max-age=60")
    return replace(case, asks=(replace(first, has=has), replace(second, has=has)))


CASES: tuple[Case, ...] = (
    *(reused(f"targeted-{name}", "optimal", "9213 2", shows, *texts) for name, shows, texts in _FRESH),
    *(fetched(f"targeted-stale-{name}", kind, "9213 2", shows, *texts) for name, kind, shows, texts in _STALE),
    _forwarded(),
)
