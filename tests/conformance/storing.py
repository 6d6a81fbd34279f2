"""What is stored, and what of it (RFC 9111 sections 3, 3.1, 3.5, 5.2.2)."""

from __future__ import annotations

from tests.conformance.case import Ask, Case, Kind, fetched, lines, reply, reused

_NOT_STORED: list[tuple[str, str, list[str]]] = [
    ("no-store", "no-store", ["Cache-Control: no-store"]),
    ("no-store-fresh", "no-store beside max-age", ["Cache-Control: no-store, max-age=60"]),
    ("no-store-after", "no-store after max-age", ["Cache-Control: max-age=60, no-store"]),
    ("no-store-case", "no-store in capitals", ["Cache-Control: No-StORe, max-age=60"]),
    ("no-store-argument", "no-store with an argument", ["Cache-Control: no-store=x, max-age=60"]),
    ("no-store-line", "no-store in another line", ["Cache-Control: max-age=60", "Cache-Control: no-store"]),
    ("no-store-expires", "no-store beside Expires", ["Cache-Control: no-store", "Expires: {+60}"]),
    ("no-store-heuristic", "no-store beside Last-Modified", ["Cache-Control: no-store", "Last-Modified: {-9999}"]),
    ("no-store-open-quote", "no-store after a quotation that does not end",
     ['Cache-Control: max-age=60, x="y, no-store']),
    ("private", "private", ["Cache-Control: private, max-age=60"]),
    ("private-case", "private in capitals", ["Cache-Control: PRIVATE, max-age=60"]),
    ("private-s-maxage", "private beside s-maxage", ["Cache-Control: private, s-maxage=60"]),
    ("private-public", "private beside public", ["Cache-Control: public, private, max-age=60"]),
    ("private-empty", "private with an empty list", ['Cache-Control: private="", max-age=60']),
    ("private-vital", "private for a field that caching needs", ['Cache-Control: private="vary", max-age=60']),
    ("must-understand-599", "must-understand with an unknown status", []),
]  # fmt: skip

_STORED: list[tuple[str, Kind, str, list[str]]] = [
    ("in-quotes", "optimal", "no-store inside another directive's value", ['Cache-Control: x="no-store", max-age=60']),
    ("longer-name", "optimal", "a directive whose name begins with no-store", ["Cache-Control: no-storex, max-age=60"]),
    ("private-field", "optimal", "private for one field", ['Cache-Control: private="X-A", max-age=60', "X-A: 1"]),
    ("no-cache-field", "optimal", "no-cache for one field", ['Cache-Control: no-cache="X-A", max-age=60', "X-A: 1"]),
    ("must-understand", "optimal", "must-understand lifts no-store for a status that is understood",
     ["Cache-Control: must-understand, no-store, max-age=60"]),
    ("set-cookie", "check", "Set-Cookie does not keep a response from being stored",
     ["Cache-Control: max-age=60", "Set-Cookie: a=1"]),
    ("pragma", "check", "Pragma means nothing in a response", ["Cache-Control: max-age=60", "Pragma: no-cache"]),
    ("immutable", "optimal", "immutable", ["Cache-Control: max-age=60, immutable"]),
    ("unknown", "optimal", "an unknown directive", ["Cache-Control: max-age=60, frob=1"]),
    ("content-disposition", "optimal", "any other field", ["Cache-Control: max-age=60", "Content-Disposition: inline"]),
]  # fmt: skip

_AUTHORIZED: list[tuple[str, bool, str]] = [
    ("max-age", False, "max-age=60"),
    ("none", False, "x"),
    ("proxy-revalidate", False, "max-age=60, proxy-revalidate"),
    ("private", False, "private, public, max-age=60"),
    ("public", True, "max-age=60, public"),
    ("must-revalidate", True, "max-age=60, must-revalidate"),
    ("s-maxage", True, "s-maxage=60"),
]
_SECRET = ("Authorization: Basic YTpi",)


def _authorized(name: str, shared: bool, value: str) -> Case:
    make = reused if shared else fetched
    kind: Kind = "optimal" if shared else "required"
    shows = f"a request with Authorization and a response with {value}"
    return make(
        f"authorization-{name}", kind, "9111 3.5", shows, f"Cache-Control: {value}", first=_SECRET, again=_SECRET
    )


def _fields(id: str, kind: Kind, section: str, shows: str, texts: list[str], has: list[str], lacks: list[str]) -> Case:
    """What of the fields is there when the response comes out of the cache."""
    bringing = Ask(reply=reply("Cache-Control: max-age=60", *texts))
    using = Ask(wait=1, asked=False, from_reply=0, has=lines(*has), lacks=tuple(lacks))
    return Case(id, kind, section, shows, (bringing, using))


_KEPT = (
    "Content-Type: text/x-test", "Content-Language: de", "Content-Encoding: x-none", "Content-Location: /x",
    'ETag: "1"',
    "Last-Modified: Mon, 01 Jan 2001 00:00:00 GMT", "Link: </x>; rel=next", "Server: x", "X-Frobnicate: 1, 2",
    "Access-Control-Allow-Origin: *", "Retry-After: 5", "Warning: 199 - x", "Allow: GET", "Public-Key-Pins: x",
    "Strict-Transport-Security: max-age=1", "WWW-Authenticate: Basic", "Content-Security-Policy: x",
)  # fmt: skip
_DROPPED = (
    "Connection: x-none", "Keep-Alive: timeout=5", "Proxy-Authenticate: Basic", "Proxy-Authentication-Info: x",
    "Proxy-Connection: keep-alive", "Upgrade: x",
)  # fmt: skip


def _name(text: str) -> str:
    return text.partition(":")[0]


CASES: tuple[Case, ...] = (
    *(fetched(f"not-stored-{name}", "required", "9111 3", shows,
              *(texts or ["Cache-Control: must-understand, max-age=60"]), status=200 if texts else 599)
      for name, shows, texts in _NOT_STORED),
    *(reused(f"stored-{name}", kind, "9111 3", shows, *texts) for name, kind, shows, texts in _STORED),
    *(_authorized(*each) for each in _AUTHORIZED),
    reused("authorization-later", "check", "9111 3.5", "what was stored without Authorization is for all",
           "Cache-Control: max-age=60", again=_SECRET),
    reused("request-no-store-lookup", "check", "9111 5.2.1.5", "a request's no-store does not forbid what is stored",
           "Cache-Control: max-age=60", again=("Cache-Control: no-store",)),
    fetched("request-no-store", "required", "9111 5.2.1.5", "the response to a request with no-store is not stored",
            "Cache-Control: max-age=60", first=("Cache-Control: no-store",)),
    reused("stored-other-query", "optimal", "9111 2", "the same target with a query", "Cache-Control: max-age=60"),
    Case("query-apart", "required", "9111 2", "another query is another resource", (
        Ask(path="?a=1", reply=reply("Cache-Control: max-age=60")),
        Ask(path="?a=2", asked=True, from_reply=1),
    )),
    Case("path-case", "required", "9111 2", "another case of the path is another resource", (
        Ask(path="/a", reply=reply("Cache-Control: max-age=60")),
        Ask(path="/A", asked=True, from_reply=1),
    )),
    *(_fields(f"kept-{_name(text).lower()}", "required", "9111 3.1", f"{_name(text)} is stored", [text], [text], [])
      for text in _KEPT),
    *(_fields(f"dropped-{_name(text).lower()}", "required", "9111 3.1", f"{_name(text)} is not stored", [text], [],
              [_name(text)]) for text in _DROPPED),
    _fields("dropped-named", "required", "9111 3.1", "fields that Connection names are not stored",
            ["Connection: X-A, x-b", "X-A: 1", "X-B: 1", "X-C: 1"], ["X-C: 1"], ["X-A", "X-B"]),
    _fields("dropped-private", "required", "9111 5.2.2.7", "fields that private names are not stored",
            ['Cache-Control: private="X-A, x-b"', "X-A: 1", "X-B: 1", "X-C: 1"], ["X-C: 1"], ["X-A", "X-B"]),
    _fields("dropped-no-cache", "required", "9111 5.2.2.4", "fields that no-cache names are not used again",
            ['Cache-Control: no-cache="X-A"', "X-A: 1", "X-C: 1"], ["X-C: 1"], ["X-A"]),
    _fields("kept-lines", "required", "9110 5.3", "several lines of a field keep their order",
            ["X-A: 1", "X-A: 2", "X-A: 3"], ["X-A: 1, 2, 3"], []),
    _fields("kept-set-cookie", "check", "9111 7.3", "Set-Cookie is stored as any other field", ["Set-Cookie: a=1"],
            ["Set-Cookie: a=1"], []),
)  # fmt: skip
