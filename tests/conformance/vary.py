"""Variants (RFC 9111 section 4.1, RFC 9110 section 12.5.5)."""

from __future__ import annotations

from tests.conformance.case import Ask, Case, Kind, fetched, lines, reply, reused

_FRESH = "Cache-Control: max-age=60"

_SAME: list[tuple[str, Kind, str, str, list[str], list[str]]] = [
    ("equal", "optimal", "equal values", "X-A", ["X-A: 1"], ["X-A: 1"]),
    ("absent", "optimal", "absent both times", "X-A", [], []),
    ("other-differs", "optimal", "another field differs", "X-A", ["X-A: 1", "X-B: 1"], ["X-A: 1", "X-B: 2"]),
    ("name-case", "optimal", "names know no case", "x-a", ["X-A: 1"], ["x-A: 1"]),
    ("lines", "optimal", "two lines are a list", "X-A", ["X-A: 1", "X-A: 2"], ["X-A: 1, 2"]),
    ("two", "optimal", "two fields, both equal", "X-A, X-B", ["X-A: 1", "X-B: 2"], ["X-B: 2", "X-A: 1"]),
    ("empty-member", "optimal", "empty members of Vary", ", X-A,,", ["X-A: 1"], ["X-A: 1"]),
    ("empty", "optimal", "an empty Vary", "", ["X-A: 1"], ["X-A: 2"]),
    ("encoding-blanks", "optimal", "blanks in Accept-Encoding", "Accept-Encoding",
     ["Accept-Encoding: gzip, br"], ["Accept-Encoding: gzip,br"]),
    ("encoding-order", "optimal", "the order in Accept-Encoding", "Accept-Encoding",
     ["Accept-Encoding: gzip, br"], ["Accept-Encoding: br, gzip"]),
    ("encoding-case", "optimal", "capitals in Accept-Encoding", "Accept-Encoding",
     ["Accept-Encoding: gzip"], ["Accept-Encoding: GZIP"]),
    ("encoding-weight", "optimal", "the spelling of a weight", "Accept-Encoding",
     ["Accept-Encoding: gzip;q=0.5"], ["Accept-Encoding: gzip; q=0.50"]),
    ("encoding-one", "optimal", "a weight of 1 is none", "Accept-Encoding",
     ["Accept-Encoding: gzip;q=1.0"], ["Accept-Encoding: gzip"]),
    ("language-case", "optimal", "capitals in Accept-Language", "Accept-Language",
     ["Accept-Language: en-GB"], ["Accept-Language: EN-gb"]),
    ("language-blanks", "optimal", "blanks in Accept-Language", "Accept-Language",
     ["Accept-Language: en, de"], ["Accept-Language: en ,de"]),
    ("language-weight-order", "optimal", "the order in Accept-Language where weights give it", "Accept-Language",
     ["Accept-Language: de;q=0.5, en"], ["Accept-Language: en, de;q=0.5"]),
    ("accept-order", "optimal", "the order in Accept where weights give it", "Accept",
     ["Accept: */*;q=0.1, text/html"], ["Accept: text/html, */*;q=0.1"]),
]  # fmt: skip

_OTHER: list[tuple[str, Kind, str, str, list[str], list[str]]] = [
    ("differs", "required", "different values", "X-A", ["X-A: 1"], ["X-A: 2"]),
    ("appears", "required", "absent, then present", "X-A", [], ["X-A: 1"]),
    ("vanishes", "required", "present, then absent", "X-A", ["X-A: 1"], []),
    ("vanishes-empty", "required", "absent is not empty", "X-A", ["X-A:"], []),
    ("value-case", "required", "values know case", "X-A", ["X-A: a"], ["X-A: A"]),
    ("first-differs", "required", "two fields, the first differs", "X-A, X-B", ["X-A: 1", "X-B: 2"], ["X-A: 2",
     "X-B: 2"]),
    ("second-differs", "required", "two fields, the second differs", "X-A, X-B", ["X-A: 1", "X-B: 2"],
     ["X-A: 1", "X-B: 1"]),
    ("line-order", "required", "the order of a list", "X-A", ["X-A: 1", "X-A: 2"], ["X-A: 2", "X-A: 1"]),
    ("star", "required", "Vary: *", "*", ["X-A: 1"], ["X-A: 1"]),
    ("star-in-list", "required", "* among names", "X-A, *", ["X-A: 1"], ["X-A: 1"]),
    ("cookie", "required", "Cookie", "Cookie", ["Cookie: a=1"], ["Cookie: a=2"]),
    ("cookie-case", "required", "Cookie values know case", "Cookie", ["Cookie: a=b"], ["Cookie: a=B"]),
    ("user-agent", "required", "User-Agent", "User-Agent", ["User-Agent: a"], ["User-Agent: b"]),
    ("encoding-differs", "required", "another coding", "Accept-Encoding", ["Accept-Encoding: gzip"],
     ["Accept-Encoding: br"]),
    ("encoding-refused", "required", "a coding that is refused", "Accept-Encoding",
     ["Accept-Encoding: gzip"], ["Accept-Encoding: gzip;q=0"]),
    ("encoding-weights", "check", "other weights", "Accept-Encoding",
     ["Accept-Encoding: gzip;q=0.5, br;q=0.8"], ["Accept-Encoding: gzip;q=0.8, br;q=0.5"]),
    ("language-range", "required", "a language and its variety", "Accept-Language",
     ["Accept-Language: en"], ["Accept-Language: en-GB"]),
    ("language-order", "check", "languages of equal weight: some origins take the first", "Accept-Language",
     ["Accept-Language: en, de"], ["Accept-Language: de, en"]),
    ("parameter-case", "check", "a media type's parameters are its own affair", "Accept",
     ["Accept: text/x;p=a"], ["Accept: text/x;p=A"]),
]  # fmt: skip


def _variant(language: str, *texts: str) -> Ask:
    return Ask(headers=lines(f"Accept-Language: {language}"), reply=reply(_FRESH, "Vary: Accept-Language", *texts))


def _again(language: str, number: int, asked: bool = False) -> Ask:
    return Ask(headers=lines(f"Accept-Language: {language}"), wait=1, asked=asked, from_reply=number)


CASES: tuple[Case, ...] = (
    *(reused(f"vary-{name}", kind, "9111 4.1", shows, _FRESH, f"Vary: {value}", first=first, again=again)
      for name, kind, shows, value, first, again in _SAME),
    *(fetched(f"vary-{name}", kind, "9111 4.1", shows, _FRESH, f"Vary: {value}", first=first, again=again)
      for name, kind, shows, value, first, again in _OTHER),
    fetched("vary-two-lines", "required", "9110 5.3", "two lines of Vary are one list", _FRESH, "Vary: X-A",
            "Vary: X-B",
            first=["X-A: 1", "X-B: 1"], again=["X-A: 1", "X-B: 2"]),
    fetched("vary-star-line", "required", "9110 12.5.5", "* in another line", _FRESH, "Vary: X-A", "Vary: *",
            first=["X-A: 1"], again=["X-A: 1"]),
    Case("vary-side-by-side", "optimal", "9111 4.1", "variants are kept side by side", (
        _variant("de"), _variant("fr"), _variant("it"), _again("de", 0), _again("fr", 1), _again("it", 2),
    )),
    Case("vary-replaces-its-own", "optimal", "9111 4.1", "a newer variant replaces only its own kind", (
        _variant("de"), _variant("fr"),
        Ask(headers=lines("Accept-Language: de", "Cache-Control: no-cache"), wait=1,
            reply=reply(_FRESH, "Vary: Accept-Language"), from_reply=2),
        _again("de", 2), _again("fr", 1),
    )),
    Case("vary-most-recent", "required", "9111 4", "of two that match the most recent by Date is used", (
        Ask(headers=lines("X-A: 1"), reply=reply(_FRESH, "Vary: X-A", "Date: {-5}")),
        Ask(headers=lines("X-A: 2"), reply=reply(_FRESH, "Vary: X-B", "Date: {+0}")),
        Ask(headers=lines("X-A: 1"), wait=1, asked=False, from_reply=1),
    )),
    Case("vary-most-recent-stale", "required", "9111 4",
         "the most recent is used although only an older one is fresh", (
        Ask(headers=lines("X-A: 1"), reply=reply("Cache-Control: max-age=600", "Vary: X-A", "Date: {-9}")),
        Ask(headers=lines("X-A: 2"), reply=reply("Cache-Control: max-age=1", "Vary: X-B", "Date: {+0}")),
        Ask(headers=lines("X-A: 1"), wait=5, asked=True, from_reply=2),
    )),
    Case("vary-head", "required", "9111 4.1", "a HEAD has to match too", (
        _variant("de"),
        Ask(method="HEAD", headers=lines("Accept-Language: fr"), wait=1, asked=True, from_reply=1),
    )),
    Case("vary-error-variant", "required", "9111 4.1", "an error may be a variant as well", (
        Ask(headers=lines("X-A: 1"), reply=reply(_FRESH, "Vary: X-A", status=404)),
        Ask(headers=lines("X-A: 2"), wait=1, asked=True, from_reply=1, status=200),
        Ask(headers=lines("X-A: 1"), wait=1, asked=False, from_reply=0, status=404),
    )),
)  # fmt: skip
