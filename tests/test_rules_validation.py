"""rules/validation.py: conditional requests made and answered, and what a 304 changes (RFC 9110 13, RFC 9111 4.3)."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeproxy.headers import Headers
from edgeproxy.message import RequestHead, ResponseHead
from edgeproxy.model import AsOf
from edgeproxy.outcome import StoredHead
from edgeproxy.rules.dates import format_date
from edgeproxy.rules.validation import (
    conditional,
    earlier,
    entity_tag,
    for_part,
    freshened,
    freshened_by_head,
    has_validator,
    later,
    not_modified,
    precondition,
    range_condition_holds,
    selected,
    strong_validator,
    unconditional,
    with_range,
)
from tests.messages import HERE, NOW, fields, request, response, stored

DATE = format_date(NOW - 1000)


@pytest.mark.parametrize(
    ("value", "valid"),
    [('"1"', True), ('W/"1"', True), ('""', True), ('"a\xe9!#"', True), ("1", False), ('w/"1"', False), ('"1', False),
     ('"a b"', False), ('"a"b"', False), ("W/1", False), ("", False), ("*", False), ('"1", "2"', False)],
)  # fmt: skip
def test_8_8_3_entity_tags(value: str, valid: bool) -> None:
    headers = fields(f"ETag: {value}")
    assert (entity_tag(headers) is not None) is valid
    assert has_validator(headers) is valid
    assert strong_validator(headers, NOW) == (value.encode("latin-1") if valid and value[0] != "W" else None)


@pytest.mark.parametrize(
    ("lines", "strong"),
    [
        (["Last-Modified: {-1000}", "Date: {+0}"], True),
        (["Last-Modified: {-60}", "Date: {+0}"], True),
        (["Last-Modified: {-59}", "Date: {+0}"], False),
        (["Last-Modified: {-1000}"], True),
        (["Last-Modified: long ago", "Date: {+0}"], False),
        (["Last-Modified: {-1000}", "Date: {+0}", 'ETag: W/"1"'], False),
        ([], False),
    ],
)
def test_8_8_2_2_when_a_last_modified_is_strong(lines: list[str], strong: bool) -> None:
    assert (strong_validator(fields(*lines), NOW) is not None) is strong


CONDITIONS = (
    'If-None-Match: "v"', "If-Modified-Since: {-5}", 'If-Match: "v"', "If-Unmodified-Since: {+5}", 'If-Range: "v"',
    "Range: bytes=0-1",
)  # fmt: skip


def test_a_fill_asks_for_the_whole_without_conditions() -> None:
    assert unconditional(request("Accept: a/b", *CONDITIONS)).headers == fields("Accept: a/b")


@pytest.mark.parametrize(
    ("variants", "chosen", "sent"),
    [
        ([], ['ETag: "1"'], ['If-None-Match: "1"']),
        ([], ["Last-Modified: {-9}"], ["If-Modified-Since: {-9}"]),
        ([], ['ETag: W/"1"', "Last-Modified: {-9}"], ['If-None-Match: W/"1"', "If-Modified-Since: {-9}"]),
        ([], ["ETag: 1", "Last-Modified: {-9}"], ["If-Modified-Since: {-9}"]),
        ([], [], []),
        ([['ETag: "2"'], ['ETag: "3"']], ['ETag: "1"', "Last-Modified: {-9}"], ['If-None-Match: "1", "2", "3"']),
        ([['ETag: "1"']], ['ETag: "1"'], ['If-None-Match: "1"']),
        ([["Last-Modified: {-9}"]], ['ETag: "1"'], ['If-None-Match: "1"']),
        ([['ETag: "2"']], ["Last-Modified: {-9}"], ["If-Modified-Since: {-9}"]),
        ([['ETag: "2"']], [], []),
    ],
)
def test_4_3_1_the_validators_that_are_sent(variants: list[list[str]], chosen: list[str], sent: list[str]) -> None:
    kept = [stored(*lines) for lines in (*variants, chosen)]
    assert conditional(request("Accept: a/b", *CONDITIONS), kept).headers == fields("Accept: a/b", *sent)


def test_4_3_1_an_incomplete_variant_is_not_offered() -> None:
    part = stored('ETag: "2"', "Content-Range: bytes 0-1/9", status=206)
    whole = stored('ETag: "1"', "Last-Modified: {-9}")
    sent = conditional(request(), [part, whole]).headers
    assert sent == fields('If-None-Match: "1"', "If-Modified-Since: {-9}")


@pytest.mark.parametrize(
    ("asked", "kept", "status"),
    [
        (['If-None-Match: "1"'], ['ETag: "1"'], 304),
        (['If-None-Match: W/"1"'], ['ETag: "1"'], 304),
        (['If-None-Match: "1"'], ['ETag: W/"1"'], 304),
        (['If-None-Match: "0" , W/"1"'], ['ETag: "1"'], 304),
        (['If-None-Match: , "1",,'], ['ETag: "1"'], 304),
        (['If-None-Match: "0"', 'If-None-Match: "1"'], ['ETag: "1"'], 304),
        (["If-None-Match: *"], ['ETag: "1"'], 304),
        (["If-None-Match: *"], [], 304),
        (['If-None-Match: "a,b"'], ['ETag: "a,b"'], 304),
        (['If-None-Match: "2"'], ['ETag: "1"'], None),
        (['If-None-Match: "1"'], [], None),
        (["If-None-Match: 1"], ["ETag: 1"], None),
        (['If-None-Match: "1" "2"'], ['ETag: "1"'], None),
        (['If-None-Match: "1", 2'], ['ETag: "1"'], None),
        (['If-None-Match: "1", *'], ['ETag: "1"'], None),
        (["If-None-Match:"], ['ETag: "1"'], None),
        (['If-None-Match: "2"', "If-Modified-Since: {+0}"], ['ETag: "1"', "Last-Modified: {-9}"], None),
        (['If-None-Match: "1"', "If-Modified-Since: {-99}"], ['ETag: "1"', "Last-Modified: {-9}"], 304),
        (["If-Modified-Since: {-9}"], ["Last-Modified: {-9}"], 304),
        (["If-Modified-Since: {-8}"], ["Last-Modified: {-9}"], 304),
        (["If-Modified-Since: {-10}"], ["Last-Modified: {-9}"], None),
        (["If-Modified-Since: {-9}"], ["Date: {-9}"], 304),
        (["If-Modified-Since: {-10}"], ["Date: {-9}"], None),
        (["If-Modified-Since: {-9}"], [], None),
        (["If-Modified-Since: {-9}"], ["Last-Modified: then", "Date: {-9}"], None),
        (["If-Modified-Since: now"], ["Last-Modified: {-9}"], None),
        (["If-Modified-Since: {-9}", "If-Modified-Since: {-9}"], ["Last-Modified: {-9}"], None),
        (['If-Match: "2"', "If-Unmodified-Since: {-99}"], ['ETag: "1"', "Last-Modified: {-9}"], None),
        ([], ['ETag: "1"'], None),
    ],
)
def test_13_2_2_conditions_answered_from_the_cache(asked: list[str], kept: list[str], status: int | None) -> None:
    assert precondition(request(*asked), 200, fields(*kept)) == status
    assert precondition(request(*asked, method="HEAD"), 204, fields(*kept)) == status
    assert precondition(request(*asked), 404, fields(*kept)) is None
    assert precondition(request(*asked), 301, fields(*kept)) is None
    assert precondition(request(*asked, method="POST"), 200, fields(*kept)) is None


def test_13_1_3_a_two_digit_year_is_read_beside_the_response_s_date() -> None:
    kept = fields("Date: {+0}", "Last-Modified: {-86400}")
    assert precondition(request("If-Modified-Since: Tuesday, 14-Nov-23 22:13:20 GMT"), 200, kept) == 304
    assert precondition(request("If-Modified-Since: Tuesday, 14-Nov-22 22:13:20 GMT"), 200, kept) is None


@pytest.mark.parametrize(
    ("value", "kept", "holds"),
    [
        (['"1"'], ['ETag: "1"'], True),
        (['"2"'], ['ETag: "1"'], False),
        (['W/"1"'], ['ETag: W/"1"'], False),
        (['"1"'], ['ETag: W/"1"'], False),
        (['"1"'], [], False),
        (["1"], ["ETag: 1"], False),
        (["{-1000}"], ["Last-Modified: {-1000}", "Date: {+0}"], True),
        (["{-1000}"], ["Last-Modified: {-1000}", "Date: {+0}", 'ETag: "1"'], True),
        (["{-999}"], ["Last-Modified: {-1000}", "Date: {+0}"], False),
        (["{-30}"], ["Last-Modified: {-30}", "Date: {+0}"], False),
        (["{-1000}"], ["Last-Modified: {-1000}"], False),
        (['"1"', '"1"'], ['ETag: "1"'], False),
        ([""], [], False),
        ([], ['ETag: "1"'], True),
    ],
)
def test_13_1_5_if_range(value: list[str], kept: list[str], holds: bool) -> None:
    asked = request(*(f"If-Range: {each}" for each in value))
    assert range_condition_holds(asked, fields(*kept)) is holds


def test_15_4_5_what_a_304_carries() -> None:
    guiding = ["Cache-Control: max-age=5", "Content-Location: /x", "Date: {+0}", "Expires: {+5}", "Vary: a", "Age: 5",
               "Access-Control-Allow-Origin: *", "Set-Cookie: a=1"]  # fmt: skip
    describing = ["Content-Type: a/b", "Content-Length: 5", "Content-Encoding: gzip", "Content-Language: de",
                  "Accept-Ranges: bytes"]  # fmt: skip
    modified = "Last-Modified: {-9}"
    tag = 'ETag: "1"'
    assert not_modified(fields(*guiding, tag, modified, *describing)) == fields(*guiding, tag)
    assert not_modified(fields(*guiding, modified, *describing)) == fields(*guiding, modified)


ONE = stored('ETag: "1"', "Last-Modified: {-10}", "Date: {-5}")
TWO = stored('ETag: "2"', "Last-Modified: {-20}", "Date: {-4}")
WEAK = stored('ETag: W/"1"', "Last-Modified: {-10}", "Date: {-3}")
BARE = stored("Date: {-1}")


@pytest.mark.parametrize(
    ("kept", "lines", "chosen"),
    [
        ([ONE, TWO], ['ETag: "1"'], ONE),
        ([ONE, TWO], ['ETag: "2"'], TWO),
        ([ONE, TWO], ['ETag: "3"'], None),
        ([ONE], ['ETag: "3"'], None),
        ([ONE, WEAK], ['ETag: "1"'], ONE),
        ([ONE, WEAK], ['ETag: W/"1"'], WEAK),
        ([WEAK, ONE], ['ETag: W/"1"'], WEAK),
        ([ONE, TWO], ['ETag: W/"1"'], ONE),
        ([BARE, ONE], ['ETag: W/"1"'], ONE),
        ([WEAK], ['ETag: W/"3"'], None),
        ([ONE, TWO], ["Last-Modified: {-20}"], TWO),
        ([ONE, WEAK], ["Last-Modified: {-10}"], WEAK),
        ([ONE], ["Last-Modified: {-11}"], None),
        ([ONE], [], ONE),
        ([BARE], [], BARE),
        ([ONE], ["ETag: broken"], ONE),
        ([ONE, TWO], [], None),
        ([], ['ETag: "1"'], None),
    ],
)
def test_4_3_4_which_response_a_304_is_about(
    kept: list[StoredHead], lines: list[str], chosen: StoredHead | None
) -> None:
    assert selected(kept, response(*lines, status=304)) is chosen


def freshen(old: StoredHead, *lines: str, as_of: AsOf = HERE) -> StoredHead:
    return freshened(old, response(*lines, status=304), requested_at=NOW + 8, received_at=NOW + 9, as_of=as_of)


def test_3_2_a_304_updates_fields_except_those_about_the_body() -> None:
    old = stored('ETag: "1"', "X-A: 1", "X-A: 2", "X-B: 1", "Content-Type: a/b", "Content-Length: 5", "Age: 50",
                 "Cache-Control: max-age=1", "Content-Encoding: gzip", "Date: {-50}")  # fmt: skip
    new = freshen(
        old, "X-A: 3", "X-C: 1", "Content-Type: c/d", "Content-Length: 0", "Content-Range: bytes 0-1/2", "Date: {+5}",
        "Content-Encoding: br", "Connection: x-d", "X-D: 1", "Cache-Control: max-age=9", "Proxy-Authenticate: x",
    )  # fmt: skip
    left = fields(
        'ETag: "1"', "X-A: 3", "X-B: 1", "X-C: 1", "Content-Type: a/b", "Content-Length: 5", "Content-Encoding: gzip",
        "Cache-Control: max-age=9", "Date: {+5}",
    )  # fmt: skip
    assert set(new.headers) == set(left)
    assert (new.requested_at, new.received_at) == (NOW + 8, NOW + 9)


def test_3_2_without_a_date_or_age_of_its_own_a_304_is_of_now() -> None:
    new = freshen(stored("Age: 50", "Date: {-50}"))
    assert new.headers == Headers([(b"Date", format_date(NOW + 9))])


def test_5_2_2_4_a_304_brings_no_field_that_is_limited_to_one_viewer() -> None:
    new = freshen(stored('Cache-Control: no-cache="set-cookie"'), "Set-Cookie: a=1", "X: 1")
    assert b"set-cookie" not in new.headers
    assert b"x" in new.headers


def test_a_304_with_another_vary_takes_the_request_s_values() -> None:
    old = stored("Vary: a", asked=request("A: 1"))
    told = response("Vary: a, b", status=304)

    def vary_after(told: ResponseHead, asked: RequestHead | None) -> object:
        return freshened(old, told, requested_at=NOW, received_at=NOW, as_of=HERE, request=asked).vary

    asked = request("A: 2", "B: 3")
    assert vary_after(told, None) == ((b"a", b"1"),)
    assert vary_after(told, asked) == ((b"a", b"2"), (b"b", b"3"))
    assert vary_after(response(status=304), asked) == ((b"a", b"1"),)


@pytest.mark.parametrize(
    ("old", "new", "result"),
    [(("e", 5), ("e", 7), ("e", 7)), (("e", 7), ("e", 5), ("e", 7)), (("e", 7), ("f", 1), ("e", 7))],
)
def test_as_of_never_falls_within_an_epoch(old: tuple[str, int], new: tuple[str, int], result: tuple[str, int]) -> None:
    assert later(AsOf(*old), AsOf(*new)) == AsOf(*result)
    assert freshen(replace(ONE, as_of=AsOf(*old)), as_of=AsOf(*new)).as_of == AsOf(*result)


@pytest.mark.parametrize(
    ("lines", "status", "updated"),
    [
        (['ETag: "1"', "Content-Length: 5", "X: 1"], 200, True),
        (["Last-Modified: {-10}"], 200, True),
        ([], 200, True),
        (['ETag: "2"'], 200, False),
        (["Last-Modified: {-11}"], 200, False),
        (["Content-Length: 6"], 200, False),
        (['ETag: "1"'], 404, False),
    ],
)
def test_4_3_5_a_head_updates_a_stored_get_or_ends_it(lines: list[str], status: int, updated: bool) -> None:
    old = stored('ETag: "1"', "Last-Modified: {-10}", "Content-Length: 5", "Cache-Control: max-age=1")
    told = response(*lines, "Cache-Control: max-age=9", status=status)
    new = freshened_by_head(old, told, requested_at=NOW, received_at=NOW, as_of=HERE)
    assert (new is not None) is updated
    if new is not None:
        assert new.headers.all(b"cache-control") == [b"max-age=9"]
        assert new.headers.all(b"content-length") == [b"5"]


@given(
    wanted=st.one_of(st.binary(max_size=40), st.text('W/"a, *1', max_size=30).map(str.encode)),
    tag=st.one_of(st.binary(max_size=10), st.just(b'"a"')),
)
def test_random_bytes_never_raise(wanted: bytes, tag: bytes) -> None:
    kept = Headers([(b"ETag", tag), (b"Last-Modified", tag)])
    for name in (b"If-None-Match", b"If-Modified-Since", b"If-Range"):
        asked = request().with_headers(Headers([(name, wanted)]))
        precondition(asked, 200, kept)
        range_condition_holds(asked, kept)


def test_the_viewers_range_goes_along_and_its_condition_with_it() -> None:
    viewer = request("Range: bytes=0-1", 'If-Range: "1"', "X: 1")
    asking = with_range(conditional(viewer, [stored('ETag: "2"')]), viewer)
    assert dict(asking.headers) == {
        b"X": b"1", b"If-None-Match": b'"2"', b"Range": b"bytes=0-1", b"If-Range": b'"1"'
    }  # fmt: skip
    assert with_range(asking, viewer).headers == asking.headers


def test_a_304_to_another_cache_of_ours_brings_all_that_may_have_changed() -> None:
    headers = fields(
        'ETag: "1"', "Content-Language: de", "Last-Modified: {-9}", "Content-Type: a/b", "Content-Length: 1"
    )
    assert set(not_modified(headers, to_cache=True).names()) == {b"etag", b"content-language", b"last-modified"}


def test_13_1_5_missing_bytes_are_asked_for_under_the_validator_of_those_that_are_there() -> None:
    asked = request("Range: bytes=0-1", 'If-Range: "2"', 'If-None-Match: "3"', "Accept: a/b")
    made = for_part(asked, 5, 9, b'"1"')
    assert made.headers == fields("Accept: a/b", "Range: bytes=5-9", 'If-Range: "1"')


def test_what_is_put_together_is_as_of_its_oldest_bytes() -> None:
    assert earlier(AsOf("e", 5), AsOf("e", 7)) == AsOf("e", 5)
    assert earlier(AsOf("e", 7), AsOf("f", 9)) == AsOf("", 0)
