"""How long a response is used that does not say so (RFC 9111 section 4.2.2), status by status, and with every status
that does say so (section 3)."""

from __future__ import annotations

from tests.conformance.case import Case, fetched, reused

_HEURISTIC = (200, 203, 204, 300, 301, 308, 404, 405, 410, 414, 501)
_EXPLICIT_ONLY = (201, 202, 205, 302, 303, 307, 400, 401, 403, 406, 409, 429, 431, 500, 502, 503, 504, 599)
_STORABLE = (
    200, 201, 202, 203, 204, 205, 207, 226, 299, 300, 301, 302, 303, 305, 307, 308, 399, 400, 401, 402, 403, 404, 405,
    406, 409, 410, 411, 414, 415, 418, 421, 422, 428, 429, 431, 451, 499, 500, 501, 502, 503, 504, 505, 511, 599,
)  # fmt: skip

CASES: tuple[Case, ...] = (
    *(reused(f"heuristic-{status}", "optimal", "9111 4.2.2", f"{status} unchanged for long, a tenth of that time",
             "Date: {+0}", "Last-Modified: {-1000}", status=status, wait=50) for status in _HEURISTIC),
    *(fetched(f"heuristic-{status}-none", "required", "9111 4.2.2", f"{status} without a word on freshness",
              "Date: {+0}", "Last-Modified: {-100000}", status=status) for status in _EXPLICIT_ONLY),
    fetched("heuristic-end", "check", "9111 4.2.2", "after a tenth of the time it is stale",
            "Date: {+0}", "Last-Modified: {-1000}", wait=100),
    fetched("heuristic-no-last-modified", "required", "9111 4.2.2", "nothing to go by", "Date: {+0}"),
    fetched("heuristic-public-alone", "check", "9111 5.2.2.9", "public gives no lifetime", "Cache-Control: public"),
    fetched("heuristic-future", "check", "9111 4.2.2", "a Last-Modified in the future",
            "Date: {+0}", "Last-Modified: {+1000}"),
    fetched("heuristic-wrong-date", "check", "9111 4.2.2", "a Last-Modified that is no date",
            "Date: {+0}", "Last-Modified: long ago"),
    fetched("heuristic-beside-expires", "required", "9111 4.2.2", "no heuristic where Expires is given",
            "Date: {+0}", "Last-Modified: {-100000}", "Expires: {-1}"),
    fetched("heuristic-beside-max-age", "required", "9111 4.2.2", "no heuristic where max-age is given",
            "Date: {+0}", "Last-Modified: {-100000}", "Cache-Control: max-age=0"),
    fetched("heuristic-beside-wrong-max-age", "check", "9111 4.2.1", "no heuristic where max-age is wrong",
            "Date: {+0}", "Last-Modified: {-100000}", "Cache-Control: max-age=x"),
    *(reused(f"explicit-{status}", "optimal", "9111 3", f"{status} with max-age is stored",
             "Cache-Control: max-age=60", status=status) for status in _STORABLE),
    *(fetched(f"explicit-{status}-no-store", "required", "9111 5.2.2.5", f"{status} with no-store is not stored",
              "Cache-Control: max-age=60, no-store", status=status) for status in (200, 204, 301, 404, 410, 503, 599)),
)  # fmt: skip
