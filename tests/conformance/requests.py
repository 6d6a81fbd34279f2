"""What a request asks of the cache (RFC 9111 section 5.2.1, 5.4), and which methods share a response (section 4)."""

from __future__ import annotations

from tests.conformance.case import Ask, Case, Kind, fetched, lines, reply, reused

_HOUR = "Cache-Control: max-age=3600"
_ANY: Kind = "optimal"

_SERVED: list[tuple[str, str, str, float]] = [
    ("max-age", "max-age=60", "younger than max-age", 59),
    ("max-age-equal", "max-age=60", "exactly as old as max-age", 60),
    ("min-fresh", "min-fresh=60", "fresh for longer than min-fresh", 3500),
    ("min-fresh-equal", "min-fresh=100", "fresh for exactly min-fresh", 3500),
    ("max-stale", "max-stale=60", "stale for less than max-stale", 3630),
    ("max-stale-any", "max-stale", "max-stale without a bound", 9999),
    ("max-stale-fresh", "max-stale=60", "fresh anyway", 5),
    ("only-if-cached", "only-if-cached", "only-if-cached, and it is", 5),
    ("unknown", "frob=1", "an unknown directive", 5),
    ("empty", "", "an empty Cache-Control", 5),
]
_ASKED: list[tuple[str, str, str, float]] = [
    ("max-age", "max-age=60", "older than max-age", 61),
    ("max-age-0", "max-age=0", "max-age=0", 5),
    ("max-age-wrong", "max-age=x", "a wrong max-age counts as 0", 5),
    ("no-cache", "no-cache", "no-cache", 5),
    ("no-cache-case", "No-Cache", "no-cache in capitals", 5),
    ("no-cache-argument", "no-cache=x", "no-cache with an argument", 5),
    ("min-fresh", "min-fresh=60", "fresh for less than min-fresh", 3550),
    ("max-stale", "max-stale=60", "stale for more than max-stale", 3661),
    ("max-stale-wrong", "max-stale=x", "a wrong max-stale counts as 0", 3605),
    ("max-stale-max-age", "max-stale=60, max-age=5", "max-age counts beside max-stale", 3605),
]


def _methods(id: str, kind: Kind, shows: str, first: str, second: str, used: bool) -> Case:
    make = reused if used else fetched
    return make(f"method-{id}", kind, "9111 4", shows, _HOUR, method=first, again_method=second)


CASES: tuple[Case, ...] = (
    *(reused(f"asked-{name}-served", "optimal", "9111 5.2.1", shows, _HOUR, wait=wait,
             again=[f"Cache-Control: {value}"])
      for name, value, shows, wait in _SERVED),
    *(fetched(f"asked-{name}-fetched", "check", "9111 5.2.1", shows, _HOUR, wait=wait,
              again=[f"Cache-Control: {value}"])
      for name, value, shows, wait in _ASKED),
    *(fetched(f"asked-max-stale-{name}", "required", "9111 4.2.4", f"max-stale against {value}",
              f"Cache-Control: {value}", wait=30, again=["Cache-Control: max-stale"])
      for name, value in (("must-revalidate", "max-age=5, must-revalidate"), ("no-cache", "max-age=5, no-cache"),
                          ("proxy-revalidate", "max-age=5, proxy-revalidate"), ("s-maxage", "s-maxage=5"))),
    fetched("pragma", "check", "9111 5.4", "Pragma: no-cache", _HOUR, again=["Pragma: no-cache"]),
    reused("pragma-beside", "check", "9111 5.4", "Pragma does not count beside Cache-Control", _HOUR,
           again=["Pragma: no-cache", "Cache-Control: max-age=60"]),
    reused("pragma-other", "optimal", "9111 5.4", "another Pragma", _HOUR, again=["Pragma: frob"]),
    Case("only-if-cached-empty", "check", "9111 5.2.1.7", "only-if-cached, and nothing is", (
        Ask(headers=lines("Cache-Control: only-if-cached"), asked=False, status=504),
    )),
    Case("only-if-cached-stale", "check", "9111 5.2.1.7", "only-if-cached, and what is there is stale", (
        Ask(reply=reply("Cache-Control: max-age=1")),
        Ask(wait=9, headers=lines("Cache-Control: only-if-cached"), asked=False, status=504),
    )),
    Case("no-cache-replaces", "check", "9111 4", "what a forced fetch brought replaces what was there", (
        Ask(reply=reply(_HOUR)),
        Ask(wait=1, headers=lines("Cache-Control: no-cache"), reply=reply(_HOUR), from_reply=1),
        Ask(wait=1, asked=False, from_reply=1),
    )),
    _methods("get-head", _ANY, "a HEAD is answered from a GET", "GET", "HEAD", used=True),
    _methods("head-get", "required", "a GET is not answered from a HEAD", "HEAD", "GET", used=False),
    _methods("head-head", _ANY, "a HEAD is answered from a HEAD", "HEAD", "HEAD", used=True),
    _methods("post-post", "required", "a POST is not answered from the cache", "POST", "POST", used=False),
    _methods("post-get", "required", "a POST's response is not for a GET", "POST", "GET", used=False),
    _methods("put-get", "required", "a PUT's response is not for a GET", "PUT", "GET", used=False),
    _methods("options-options", "required", "OPTIONS is not cached", "OPTIONS", "OPTIONS", used=False),
    _methods("frob-get", "required", "an unknown method's response is not for a GET", "FROB", "GET", used=False),
    _methods("get-frob", "required", "an unknown method is not answered from a GET", "GET", "FROB", used=False),
    Case("method-post-content-location", "optimal", "9110 9.3.3",
         "a POST's response with a lifetime and its own Content-Location is for later GETs", (
        Ask(method="POST", reply=reply(_HOUR, "Content-Location: /method-post-content-location")),
        Ask(wait=1, asked=False, from_reply=0),
        Ask(wait=1, method="HEAD", asked=False, from_reply=0),
    )),
    Case("method-post-other-location", "required", "9110 9.3.3",
         "a POST's response with another Content-Location is not", (
        Ask(method="POST", reply=reply(_HOUR, "Content-Location: /somewhere-else")),
        Ask(wait=1, asked=True, from_reply=1),
    )),
    Case("method-post-no-lifetime", "required", "9110 9.3.3", "a POST's response without an explicit lifetime is not", (
        Ask(method="POST", reply=reply("Content-Location: /method-post-no-lifetime", "Last-Modified: {-9999}")),
        Ask(wait=1, asked=True, from_reply=1),
    )),
    Case("head-updates", "optimal", "9111 4.3.5", "a HEAD's response freshens the stored GET", (
        Ask(reply=reply("Cache-Control: max-age=5", 'ETag: "1"')),
        Ask(wait=9, method="HEAD", conditional_reply=reply("Cache-Control: max-age=3600", 'ETag: "1"', "X: 2"),
            reply=reply("Cache-Control: max-age=3600", 'ETag: "1"', "X: 2")),
        Ask(wait=9, asked=False, body="body 0", has=lines("X: 2")),
    )),
    Case("head-ends", "check", "9111 4.3.5", "a HEAD's response with another ETag ends the stored GET", (
        Ask(reply=reply("Cache-Control: max-age=60", 'ETag: "1"')),
        Ask(wait=9, method="HEAD", headers=lines("Cache-Control: no-cache"), reply=reply(_HOUR, 'ETag: "2"')),
        Ask(wait=1, asked=True, from_reply=2),
    )),
    Case("head-length-ends", "check", "9111 4.3.5", "a HEAD's response with another length ends the stored GET", (
        Ask(reply=reply("Cache-Control: max-age=60", "Content-Length: 6")),
        Ask(wait=9, method="HEAD", headers=lines("Cache-Control: no-cache"), reply=reply(_HOUR, "Content-Length: 60")),
        Ask(wait=1, asked=True, from_reply=2),
    )),
)  # fmt: skip
