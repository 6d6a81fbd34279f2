"""CloudFront's tables (fact sheet sections 2.4 to 2.6, and 3): the same cache with these laid over it."""

from __future__ import annotations

from dataclasses import replace

from tests.conformance.case import SILENCE, Ask, Case, Reply, fetched, lines, reply, reused, validated

_AT_WILL = (0.0, 100.0, 1000.0)
_AT_LEAST_50 = (50.0, 100.0, 1000.0)
_TAG = 'ETag: "1"'


def _in(ttl: tuple[float, float, float], case: Case) -> Case:
    return replace(case, ttl=ttl, id=f"cf-{case.id}")


_LIFETIMES: list[tuple[str, tuple[float, float, float], list[str], float]] = [
    ("max-age", _AT_WILL, ["Cache-Control: max-age=60"], 60),
    ("max-age-capped", _AT_WILL, ["Cache-Control: max-age=5000"], 1000),
    ("max-age-raised", _AT_LEAST_50, ["Cache-Control: max-age=5"], 50),
    ("max-age-0-raised", _AT_LEAST_50, ["Cache-Control: max-age=0"], 50),
    ("s-maxage", _AT_WILL, ["Cache-Control: max-age=5, s-maxage=60"], 60),
    ("s-maxage-raised", _AT_LEAST_50, ["Cache-Control: max-age=60, s-maxage=5"], 50),
    ("expires", _AT_WILL, ["Expires: {+60}", "Date: {+0}"], 60),
    ("expires-capped", _AT_WILL, ["Expires: {+5000}", "Date: {+0}"], 1000),
    ("expires-raised", _AT_LEAST_50, ["Expires: {-5}", "Date: {+0}"], 50),
    ("nothing", _AT_WILL, [], 100),
    ("nothing-raised", _AT_LEAST_50, [], 100),
    ("public", _AT_WILL, ["Cache-Control: public"], 100),
    ("no-heuristic", _AT_WILL, ["Last-Modified: {-99999}"], 100),
    ("no-store-raised", _AT_LEAST_50, ["Cache-Control: no-store"], 50),
    ("private-raised", _AT_LEAST_50, ["Cache-Control: private, max-age=80"], 50),
    ("no-cache-raised", _AT_LEAST_50, ["Cache-Control: no-cache"], 50),
    ("targeted-unknown", _AT_WILL, ["CDN-Cache-Control: max-age=5", "Cache-Control: max-age=60"], 60),
]

_CACHED_ERRORS = (404, 410, 414, 500, 501, 502, 503, 504)
_TOLD_ERRORS = (400, 403, 405, 412, 415)
_NEVER = (401, 402, 406, 409, 429, 505)

CASES: tuple[Case, ...] = (
    *(_in(ttl, reused(f"{name}-before", "required", "fact sheet 3", f"fresh for {seconds:.0f} s", *texts,
                      wait=seconds - 1))
      for name, ttl, texts, seconds in _LIFETIMES),
    *(_in(ttl, fetched(f"{name}-after", "required", "fact sheet 3", f"fresh for {seconds:.0f} s", *texts, wait=seconds))
      for name, ttl, texts, seconds in _LIFETIMES),
    *(_in(_AT_WILL, fetched(f"{value}-at-will", "required", "fact sheet 3", f"{value} is respected with MinTTL 0",
                            f"Cache-Control: {value}", wait=0)) for value in ("no-store", "private", "no-cache")),
    _in(_AT_WILL, validated("no-cache-validated", "check", "fact sheet 3", "no-cache with MinTTL 0 is validated",
                            "Cache-Control: no-cache", _TAG)),
    _in(_AT_WILL, validated("validated", "required", "fact sheet 3", "on expiry it is validated",
                            "Cache-Control: max-age=60", _TAG, wait=61, sent=['If-None-Match: "1"'])),
    *(_in(_AT_WILL, reused(f"viewer-{name}", "required", "fact sheet 1.5", f"a viewer's {text} forces nothing",
                           "Cache-Control: max-age=60", again=[text]))
      for name, text in (("no-cache", "Cache-Control: no-cache"), ("max-age-0", "Cache-Control: max-age=0"),
                         ("no-store", "Cache-Control: no-store"), ("pragma", "Pragma: no-cache"))),
    _in(_AT_WILL, reused("viewer-first-no-store", "required", "fact sheet 1.5",
                         "nor does it keep anything from being stored",
                         "Cache-Control: max-age=60", first=["Cache-Control: no-store"])),
    _in(_AT_WILL, fetched("viewer-only-if-cached", "check", "fact sheet 1.5", "only-if-cached means nothing",
                          "Cache-Control: max-age=5", wait=9, again=["Cache-Control: only-if-cached"])),
    _in(_AT_WILL, reused("vary", "required", "fact sheet 2.1", "Vary makes no variants", "Cache-Control: max-age=60",
                         "Vary: X-A", first=["X-A: 1"], again=["X-A: 2"])),
    _in(_AT_WILL, fetched("vary-star", "required", "fact sheet 2.1", "Vary: * with MinTTL 0: every request goes on",
                          "Cache-Control: max-age=60", "Vary: *")),
    _in(_AT_LEAST_50, reused("vary-star-raised", "required", "fact sheet 2.1",
                             "Vary: * with MinTTL above 0 counts for nothing",
                             "Cache-Control: max-age=60", "Vary: *")),
    *(_in(_AT_WILL, fetched(f"{status}-bare", "required", "fact sheet 2.4",
                            f"{status} without Cache-Control is not cached",
                            status=status)) for status in (307, 308)),
    *(_in(_AT_WILL, reused(f"{status}-told", "required", "fact sheet 2.4", f"{status} with Cache-Control is cached",
                           "Cache-Control: max-age=60", status=status)) for status in (307, 308)),
    *(_in(_AT_WILL, reused(f"redirect-{status}", "required", "fact sheet 2.4", f"{status} is cached as any other",
                           status=status, wait=99)) for status in (301, 302, 303)),
    *(_in(_AT_WILL, reused(f"error-{status}", "required", "fact sheet 2.5", f"{status} is cached for 10 s",
                           status=status, wait=9)) for status in _CACHED_ERRORS),
    *(_in(_AT_WILL, fetched(f"error-{status}-end", "required", "fact sheet 2.5", f"{status} is cached for 10 s",
                            status=status, wait=10)) for status in _CACHED_ERRORS),
    *(_in(_AT_WILL, fetched(f"error-{status}-bare", "required", "fact sheet 2.5", f"{status} is not cached by itself",
                            status=status)) for status in (*_TOLD_ERRORS, *_NEVER, 416)),
    *(_in(_AT_WILL, reused(f"error-{status}-told", "required", "fact sheet 2.5", f"{status} with max-age is cached",
                           "Cache-Control: max-age=60", status=status, wait=59)) for status in _TOLD_ERRORS),
    *(_in(_AT_WILL, fetched(f"error-{status}-told", "required", "fact sheet 2.5",
                            f"{status} with max-age is not cached",
                            "Cache-Control: max-age=60", status=status)) for status in (*_NEVER, 416)),
    *(_in(_AT_WILL, fetched(f"error-{status}-no-store", "required", "fact sheet 2.5", f"no-store counts on {status}",
                            "Cache-Control: no-store", status=status)) for status in (404, 410, 414, 501)),
    *(_in(_AT_WILL, reused(f"error-{status}-no-store", "required", "fact sheet 2.5",
                           f"no-store does not count on {status}",
                           "Cache-Control: no-store", status=status, wait=9)) for status in (500, 502, 503, 504)),
    _in(_AT_WILL, reused("error-longer", "required", "fact sheet 2.5", "the longer of 10 s and what the error says",
                         "Cache-Control: max-age=60", status=404, wait=59)),
    _in(_AT_WILL, reused("error-shorter", "required", "fact sheet 2.5", "10 s at least", "Cache-Control: max-age=1",
                         status=404,
                         wait=9)),
    *(_in(_AT_WILL, Case(f"stale-{name}", "required", "fact sheet 2.6", shows, (
        Ask(reply=reply(f"Cache-Control: max-age=60{more}", _TAG)),
        Ask(wait=wait, reply=failure, conditional_reply=failure, asked=True,
            from_reply=0 if served else None if failure.silent else 1,
            lacks=() if served or not failure.silent else ("Reply-Id",)),
    ))) for name, shows, more, wait, failure, served in (
        ("500", "an expired copy stands in for a 500", "", 90, Reply(500), True),
        ("503", "an expired copy stands in for a 503", "", 90, Reply(503), True),
        ("599", "an expired copy stands in for a 599", "", 90, Reply(599), True),
        ("silent", "an expired copy stands in for silence", "", 90, SILENCE, True),
        ("must-revalidate", "must-revalidate is not in the table", ", must-revalidate", 90, Reply(503), True),
        ("404", "a 404 goes to the viewer", "", 90, Reply(404), False),
        ("if-error-0", "stale-if-error=0 opts out", ", stale-if-error=0", 90, Reply(503), False),
        ("if-error-within", "within stale-if-error", ", stale-if-error=30", 90, Reply(503), True),
        ("if-error-over", "beyond stale-if-error", ", stale-if-error=29", 90, Reply(503), False),
        ("max-ttl", "MaxTTL after storage it ends", "", 1000, Reply(503), False),
        ("max-ttl-silent", "MaxTTL after storage it ends, whatever fails", "", 1000, SILENCE, False),
    )),
    _in(_AT_WILL, Case("stale-while-revalidate", "required", "fact sheet 2.6", "stale at once, refreshed behind it", (
        Ask(reply=reply("Cache-Control: max-age=60, stale-while-revalidate=60")),
        Ask(wait=90, from_reply=0, reply=reply("Cache-Control: max-age=60")),
        Ask(wait=1, asked=False, from_reply=1),
    ))),
    _in(_AT_WILL, Case("ranges-descending", "required", "fact sheet 1.7", "ranges that descend give the whole", (
        Ask(reply=reply("Cache-Control: max-age=60", body="0123456789")),
        Ask(headers=lines("Range: bytes=5-6,0-1"), wait=1, asked=False, status=200, body="0123456789"),
    ))),
    _in(_AT_WILL, Case("ranges-overlapping", "required", "fact sheet 1.7", "ranges that overlap give the whole", (
        Ask(reply=reply("Cache-Control: max-age=60", body="0123456789")),
        Ask(headers=lines("Range: bytes=0-4,3-6"), wait=1, asked=False, status=200, body="0123456789"),
    ))),
    _in(_AT_WILL, Case("ranges-one", "required", "fact sheet 1.7", "a range comes from the cache", (
        Ask(reply=reply("Cache-Control: max-age=60", body="0123456789")),
        Ask(headers=lines("Range: bytes=2-4"), wait=1, asked=False, status=206, body="234"),
    ))),
)  # fmt: skip
