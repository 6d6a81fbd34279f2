"""rules/storing.py: RFC 9111 section 3, and what is left out of what is stored (3.1, 5.2.2.4, 5.2.2.7)."""

from __future__ import annotations

import pytest

from edgeproxy.model import AsOf
from edgeproxy.outcome import Reason
from edgeproxy.rules.dates import format_date
from edgeproxy.rules.storing import refusal, stored_head
from tests.messages import NOW, PLAIN, cloudfront, request, response, stored

STORED = None
FRESH = "Cache-Control: max-age=60"
TAG = 'ETag: "1"'


@pytest.mark.parametrize(
    ("status", "lines", "reason"),
    [
        (200, [FRESH], STORED),
        (200, ["Expires: {+60}"], STORED),
        (200, ["Cache-Control: s-maxage=60"], STORED),
        (200, ["CDN-Cache-Control: max-age=60", "Cache-Control: no-store"], STORED),
        (200, ["CDN-Cache-Control: no-store", FRESH], Reason.NO_STORE),
        (200, [TAG], STORED),
        (200, ["Last-Modified: {-10}"], STORED),
        (200, [], Reason.NO_EXPLICIT_FRESHNESS),
        (200, ["Cache-Control: public"], Reason.NO_EXPLICIT_FRESHNESS),
        (200, ["Cache-Control: public", TAG], STORED),
        (200, ["Cache-Control: max-age=0"], STORED),
        (200, ["Cache-Control: max-age=wrong"], STORED),
        (200, ["Cache-Control: no-store, max-age=60"], Reason.NO_STORE),
        (200, ["Cache-Control: No-Store=1, max-age=60"], Reason.NO_STORE),
        (200, ["Cache-Control: private, max-age=60"], Reason.PRIVATE),
        (200, ['Cache-Control: private="x", max-age=60'], STORED),
        (200, ['Cache-Control: private="vary", max-age=60'], Reason.PRIVATE),
        (200, ["Cache-Control: no-cache, max-age=60"], Reason.REVALIDATE_ALWAYS),
        (200, ["Cache-Control: no-cache", TAG], STORED),
        (200, ['Cache-Control: no-cache="x", max-age=60'], STORED),
        (200, [FRESH, "Vary: *"], Reason.VARY_ANY),
        (200, [FRESH, "Vary: a"], STORED),
        (200, [FRESH, "Set-Cookie: a=1"], STORED),
        (299, [FRESH], STORED),
        (299, [TAG], Reason.NO_EXPLICIT_FRESHNESS),
        (299, ["Cache-Control: public", TAG], STORED),
        (302, [FRESH], STORED),
        (302, ["Last-Modified: {-10}"], Reason.NO_EXPLICIT_FRESHNESS),
        (404, ["Last-Modified: {-10}"], STORED),
        (599, [FRESH], STORED),
        (100, [FRESH], Reason.STATUS),
        (103, [FRESH], Reason.STATUS),
        (304, [FRESH, TAG], Reason.STATUS),
        (416, [FRESH], Reason.STATUS),
        (412, [FRESH], STORED),
        (206, [FRESH, "Content-Range: bytes 0-4/10"], Reason.PARTIAL_RESPONSE),
        (200, ["Cache-Control: must-understand, no-store, max-age=60"], STORED),
        (599, ["Cache-Control: must-understand, max-age=60"], Reason.NOT_UNDERSTOOD),
        (599, ["Cache-Control: must-understand, no-store, max-age=60"], Reason.NOT_UNDERSTOOD),
        (200, ["Cache-Control: must-understand, private, max-age=60"], Reason.PRIVATE),
    ],
)
def test_3_what_is_stored_of_a_get(status: int, lines: list[str], reason: Reason | None) -> None:
    assert refusal(request(), response(*lines, status=status), PLAIN, NOW) is reason
    assert refusal(request(method="HEAD"), response(*lines, status=status), PLAIN, NOW) is reason


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("max-age=60", Reason.AUTHORIZATION),
        ("max-age=60, public", STORED),
        ("max-age=60, must-revalidate", STORED),
        ("s-maxage=60", STORED),
        ("max-age=60, proxy-revalidate", Reason.AUTHORIZATION),
        ("public, private", Reason.PRIVATE),
    ],
)
def test_3_5_a_request_with_authorization(value: str, reason: Reason | None) -> None:
    answer = response(f"Cache-Control: {value}", TAG)
    assert refusal(request("Authorization: Basic eA=="), answer, PLAIN, NOW) is reason


def test_5_2_1_5_a_request_that_says_no_store() -> None:
    assert refusal(request("Cache-Control: no-store"), response(FRESH), PLAIN, NOW) is Reason.NO_STORE
    assert refusal(request("Cache-Control: no-store"), response(FRESH), cloudfront(), NOW) is STORED


def test_13_2_a_412_is_about_one_request_s_conditions() -> None:
    assert refusal(request('If-Match: "x"'), response(FRESH, status=412), PLAIN, NOW) is Reason.STATUS


@pytest.mark.parametrize(
    ("method", "status", "lines", "reason"),
    [
        ("POST", 200, [FRESH, "Content-Location: /a"], STORED),
        ("POST", 200, [FRESH, "Content-Location: http://www.example.com/a"], STORED),
        ("POST", 200, [FRESH, "Content-Location: /b"], Reason.STORE_METHOD),
        ("POST", 200, [FRESH, "Content-Location: http://other.example/a"], Reason.STORE_METHOD),
        ("POST", 200, [FRESH], Reason.STORE_METHOD),
        ("POST", 200, [FRESH, "Content-Location: /a", "Content-Location: /a"], Reason.STORE_METHOD),
        ("POST", 200, ["Content-Location: /a", "Last-Modified: {-1000}"], Reason.STORE_METHOD),
        ("POST", 200, ["Content-Location: /a", "Cache-Control: max-age=0"], Reason.STORE_METHOD),
        ("POST", 404, [FRESH, "Content-Location: /a"], Reason.STORE_METHOD),
        ("POST", 200, ["Cache-Control: no-store, max-age=60", "Content-Location: /a"], Reason.NO_STORE),
        ("PUT", 200, [FRESH, "Content-Location: /a"], Reason.STORE_METHOD),
        ("OPTIONS", 200, [FRESH], Reason.STORE_METHOD),
        ("FROB", 200, [FRESH], Reason.STORE_METHOD),
    ],
)
def test_9110_9_3_other_methods(method: str, status: int, lines: list[str], reason: Reason | None) -> None:
    assert refusal(request(method=method), response(*lines, status=status), PLAIN, NOW) is reason


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        (["Content-Range: bytes 0-4/10"], STORED),
        (["Content-Range: bytes 0-4/10", "Content-Length: 5"], STORED),
        (["Content-Range: bytes 0-4/10", "Content-Length: 6"], Reason.PARTIAL_RESPONSE),
        (["Content-Range: bytes 0-4/*"], Reason.PARTIAL_RESPONSE),
        (["Content-Range: bytes 5-4/10"], Reason.PARTIAL_RESPONSE),
        (["Content-Type: multipart/byteranges; boundary=x"], Reason.PARTIAL_RESPONSE),
    ],
)
def test_3_3_a_partial_response_where_parts_can_be_stored(lines: list[str], reason: Reason | None) -> None:
    answer = response(FRESH, *lines, status=206)
    assert refusal(request("Range: bytes=0-4"), answer, PLAIN, NOW, parts=True) is reason
    assert refusal(request("Range: bytes=0-4"), answer, PLAIN, NOW) is Reason.PARTIAL_RESPONSE
    assert refusal(request(method="HEAD"), answer, PLAIN, NOW, parts=True) is Reason.PARTIAL_RESPONSE


@pytest.mark.parametrize(
    ("method", "status", "lines", "at_will", "at_least_10"),
    [
        ("GET", 200, [], STORED, STORED),
        ("HEAD", 200, [], STORED, STORED),
        ("OPTIONS", 200, [], STORED, STORED),
        ("POST", 200, [FRESH, "Content-Location: /a"], Reason.STORE_METHOD, Reason.STORE_METHOD),
        ("GET", 200, ["Cache-Control: no-store"], Reason.NO_STORE, STORED),
        ("GET", 200, ["Vary: *"], Reason.VARY_ANY, STORED),
        ("GET", 200, ["CDN-Cache-Control: no-store"], STORED, STORED),
        ("GET", 307, [], Reason.STATUS, Reason.STATUS),
        ("GET", 307, ["Cache-Control: x"], STORED, STORED),
        ("GET", 404, [], STORED, STORED),
        ("GET", 403, [], Reason.STATUS, Reason.STATUS),
        ("GET", 304, [], Reason.STATUS, Reason.STATUS),
        ("GET", 416, [FRESH], Reason.STATUS, Reason.STATUS),
    ],
)
def test_cloudfront_lays_its_tables_over_this(
    method: str, status: int, lines: list[str], at_will: Reason | None, at_least_10: Reason | None
) -> None:
    answer = response(*lines, status=status)
    assert refusal(request(method=method), answer, cloudfront(0), NOW) is at_will
    assert refusal(request("Authorization: x", method=method), answer, cloudfront(10), NOW) is at_least_10


def test_3_1_what_is_left_out() -> None:
    kept = stored(
        FRESH, "Date: {+0}", "Connection: close, X-Hop", "X-Hop: 1", "Keep-Alive: x", "Transfer-Encoding: chunked",
        "Proxy-Authenticate: Basic", "Proxy-Authentication-Info: x", "Trailer: x", "Upgrade: x", "TE: x",
        "Set-Cookie: a", "Cache-Status: x; hit", "X-End: 1", "Age: 3",
    )  # fmt: skip
    assert set(kept.headers.names()) == {b"cache-control", b"date", b"set-cookie", b"cache-status", b"x-end", b"age"}


@pytest.mark.parametrize("value", ['private="Set-Cookie, X-A"', 'no-cache="set-cookie", private=x-a'])
def test_5_2_2_fields_that_may_not_be_used_again_are_not_kept(value: str) -> None:
    lines = (f"Cache-Control: max-age=60, {value}", "Set-Cookie: a=1", "X-A: 1", "X-B: 1")
    names = stored(*lines).headers.names()
    assert b"set-cookie" not in names
    assert b"x-a" not in names
    assert b"x-b" in names


def test_6_6_1_a_date_is_supplied_where_it_is_missing_or_wrong() -> None:
    assert stored(FRESH).headers.get(b"date") == format_date(NOW)
    assert stored(FRESH, "Date: today").headers.all(b"date") == [format_date(NOW)]
    assert stored(FRESH, "Date: {-9}").headers.get(b"date") == format_date(NOW - 9)


def test_what_is_remembered_beside_the_fields() -> None:
    asked = request("X: 1", method="HEAD")
    kept = stored_head(
        asked, response(FRESH, "Vary: x", status=203), requested_at=NOW - 1, received_at=NOW, as_of=AsOf("e", 7)
    )
    assert (kept.status, kept.method, kept.requested_at, kept.received_at) == (203, "HEAD", NOW - 1, NOW)
    assert (kept.vary, kept.as_of, kept.parts) == (((b"x", b"1"),), AsOf("e", 7), None)


def test_3_3_a_206_is_kept_as_an_incomplete_200() -> None:
    kept = stored(FRESH, "Content-Range: bytes 2-4/10", "Content-Length: 3", status=206)
    assert (kept.status, kept.reason, kept.parts) == (200, b"OK", ((2, 5),))
    assert kept.headers.all(b"content-length") == [b"10"]
    assert b"content-range" not in kept.headers


def test_3_3_a_206_that_carries_everything_is_complete() -> None:
    assert stored(FRESH, "Content-Range: bytes 0-9/10", status=206).parts is None
