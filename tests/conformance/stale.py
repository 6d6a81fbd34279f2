"""Stale responses: who may be given one (RFC 9111 section 4.2.4, RFC 5861)."""

from __future__ import annotations

from tests.conformance.case import SILENCE, Ask, Case, Kind, Reply, lines, reply

_OLD = 30


def _in_need(id: str, kind: Kind, section: str, shows: str, value: str, failure: Reply, served: bool,
             *texts: str, again: tuple[str, ...] = (), wait: float = _OLD,
             name: str = "Cache-Control") -> Case:  # fmt: skip
    """A response with these directives grows stale, then the origin fails."""
    failing = Ask(
        headers=lines(*again), wait=wait, reply=failure, conditional_reply=failure, asked=True,
        from_reply=0 if served or failure.silent else 1,
        status=200 if served else (None if failure.silent else failure.status),
    )  # fmt: skip
    if failure.silent and not served:
        failing = Ask(headers=lines(*again), wait=wait, reply=failure, conditional_reply=failure, asked=True,
                      lacks=("Reply-Id",))  # fmt: skip
    return Case(f"stale-{id}", kind, section, shows, (Ask(reply=reply(f"{name}: {value}", *texts)), failing))


_ERRORS = (500, 502, 503, 504)
_TAG = 'ETag: "1"'

_FORBIDDING = (
    ("must-revalidate", "max-age=5, must-revalidate"),
    ("proxy-revalidate", "max-age=5, proxy-revalidate"),
    ("s-maxage", "s-maxage=5"),
    ("no-cache", "no-cache, max-age=5"),
)


def _background(id: str, kind: Kind, shows: str, value: str, wait: float, stale: bool, *texts: str) -> Case:
    fresh = reply("Cache-Control: max-age=3600", *texts)
    second = Ask(wait=wait, reply=fresh, from_reply=0 if stale else 1)
    third = Ask(wait=1, asked=False, from_reply=1)
    return Case(f"stale-while-revalidate-{id}", kind, "5861 3", shows, (
        Ask(reply=reply(f"Cache-Control: {value}", *texts)), second, third,
    ))  # fmt: skip


CASES: tuple[Case, ...] = (
    _in_need("silent", "optimal", "9111 4.2.4", "no answer from the origin", "max-age=5", SILENCE, True, _TAG),
    _in_need("silent-no-validator", "optimal", "9111 4.2.4", "no answer, and nothing to validate with", "max-age=5",
             SILENCE, True),
    _in_need("silent-heuristic", "optimal", "9111 4.2.4", "no answer, heuristic freshness", "public", SILENCE, True,
             "Last-Modified: {-100}", "Date: {+0}"),
    *(_in_need(f"silent-{name}", "required", "9111 4.2.4", f"{name} forbids it", value, SILENCE, False, _TAG)
      for name, value in _FORBIDDING),
    *(_in_need(f"silent-{name}-bare", "required", "9111 4.2.4", f"{name} forbids it, without a validator",
               f"{value}, public", SILENCE, False) for name, value in _FORBIDDING[:3]),
    _in_need("silent-targeted", "required", "9213 2", "must-revalidate in the targeted field forbids it",
             "max-age=5, must-revalidate", SILENCE, False, _TAG, name="CDN-Cache-Control"),
    _in_need("silent-request-no-cache", "check", "9111 5.2.1.4", "not to a request with no-cache", "max-age=5", SILENCE,
             False, _TAG, again=("Cache-Control: no-cache",)),
    *(_in_need(f"{status}", "required", "9111 4.2.4", f"a {status} is an answer, and goes to the viewer", "max-age=5",
               Reply(status), False, _TAG) for status in _ERRORS),
    *(_in_need(f"if-error-{status}", "optimal", "5861 4", f"stale-if-error and {status}",
               "max-age=5, stale-if-error=60",
               Reply(status), True, _TAG) for status in _ERRORS),
    *(_in_need(f"if-error-{status}", "required", "5861 4", f"stale-if-error does not cover {status}",
               "max-age=5, stale-if-error=60", Reply(status), False, _TAG) for status in (400, 403, 404, 410, 501)),
    _in_need("if-error-silent", "optimal", "5861 4", "stale-if-error and no answer", "max-age=5, stale-if-error=60",
             SILENCE, True, _TAG),
    _in_need("if-error-equal", "optimal", "5861 4", "stale for exactly stale-if-error", "max-age=5, stale-if-error=25",
             Reply(503), True, _TAG),
    _in_need("if-error-over", "required", "5861 4", "stale for longer than stale-if-error",
             "max-age=5, stale-if-error=24",
             Reply(503), False, _TAG),
    _in_need("if-error-0", "required", "5861 4", "stale-if-error=0", "max-age=5, stale-if-error=0", Reply(503), False,
             _TAG),
    _in_need("if-error-over-silent", "check", "5861 4", "stale-if-error bounds the stale use without an answer too",
             "max-age=5, stale-if-error=24", SILENCE, False, _TAG),
    _in_need("if-error-wrong", "check", "5861 4", "a wrong stale-if-error", "max-age=5, stale-if-error=x", Reply(503),
             False, _TAG),
    _in_need("if-error-no-validator", "optimal", "5861 4", "stale-if-error without a validator",
             "max-age=5, stale-if-error=60", Reply(503), True),
    *(_in_need(f"if-error-{name}", "required", "9111 4.2.4", f"{name} wins over stale-if-error",
               f"{value}, stale-if-error=60",
               Reply(503), False, _TAG) for name, value in _FORBIDDING),
    _in_need("if-error-request", "optimal", "5861 4", "stale-if-error in the request", "max-age=5", Reply(503), True,
             _TAG,
             again=("Cache-Control: stale-if-error=60",)),
    _in_need("if-error-targeted", "optimal", "9213 2", "stale-if-error in the targeted field",
             "max-age=5, stale-if-error=60",
             Reply(503), True, _TAG, name="CDN-Cache-Control"),
    _background("plain", "optimal", "served at once and refreshed", "max-age=5, stale-while-revalidate=60", _OLD, True),
    _background("tagged", "optimal", "served at once and refreshed, with a validator",
                "max-age=5, stale-while-revalidate=60", _OLD, True, _TAG),
    _background("equal", "optimal", "stale for exactly the window", "max-age=5, stale-while-revalidate=25", _OLD, True),
    _background("over", "required", "stale for longer than the window", "max-age=5, stale-while-revalidate=24", _OLD,
                False),
    _background("0", "required", "a window of 0", "max-age=5, stale-while-revalidate=0", _OLD, False),
    _background("wrong", "check", "a wrong window", "max-age=5, stale-while-revalidate=x", _OLD, False),
    _background("must-revalidate", "required", "must-revalidate forbids it",
                "max-age=5, stale-while-revalidate=60, must-revalidate", _OLD, False),
    _background("proxy-revalidate", "required", "proxy-revalidate forbids it",
                "max-age=5, stale-while-revalidate=60, proxy-revalidate", _OLD, False),
    _background("s-maxage", "required", "s-maxage forbids it", "s-maxage=5, stale-while-revalidate=60", _OLD, False),
    Case("stale-while-revalidate-304", "optimal", "5861 3", "the refresh in the background may be a 304", (
        Ask(reply=reply("Cache-Control: max-age=5, stale-while-revalidate=60", _TAG)),
        Ask(wait=_OLD, from_reply=0, conditional_reply=reply("Cache-Control: max-age=3600", _TAG, status=304)),
        Ask(wait=60, asked=False, from_reply=0),
    )),
    Case("stale-error-not-kept", "optimal", "5861 4", "the stored response survives the failure it covered", (
        Ask(reply=reply("Cache-Control: max-age=5, stale-if-error=600", _TAG)),
        Ask(wait=_OLD, reply=Reply(503), conditional_reply=Reply(503), from_reply=0),
        Ask(wait=_OLD, reply=Reply(503), conditional_reply=Reply(503), from_reply=0),
        Ask(wait=_OLD, conditional_reply=reply(_TAG, "Cache-Control: max-age=60", status=304), from_reply=0),
        Ask(wait=1, asked=False, from_reply=0),
    )),
    Case("stale-age", "required", "9111 5.1", "a stale response has its true Age", (
        Ask(reply=reply("Cache-Control: max-age=5", _TAG, "Date: {+0}")),
        Ask(wait=_OLD, reply=SILENCE, conditional_reply=SILENCE, from_reply=0, has=lines("Age: 30")),
    )),
)  # fmt: skip
