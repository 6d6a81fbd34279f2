"""rules/cachecontrol.py: directives as RFC 9111 section 5.2 and RFC 9213 write them, and what mistakes turn into."""

from __future__ import annotations

from time import process_time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeproxy.headers import Headers
from edgeproxy.model import Rules
from edgeproxy.rules.cachecontrol import DELTA_MAX, directives, request_directives, response_directives
from tests.messages import fields


@pytest.mark.parametrize(
    ("lines", "seconds"),
    [
        (["max-age=60"], 60),
        (["MAX-Age=60"], 60),
        (["max-age=0060"], 60),
        (['max-age="60"'], 60),
        (['max-age="6\\0"'], 60),
        (["max-age=0"], 0),
        (["  max-age=60  "], 60),
        (["public,max-age=60,,foo"], 60),
        (["public", "max-age=60"], 60),
        (["max-age=60, max-age=60"], 60),
        (["max-age=2147483647"], DELTA_MAX - 1),
        (["max-age=2147483648"], DELTA_MAX),
        (["max-age=99999999999"], DELTA_MAX),
        (["max-age=" + "9" * 900], DELTA_MAX),
        (["max-age=" + "0" * 20 + "7"], 7),
        # What is wrong makes nothing fresh (section 4.2.1).
        (["max-age=60, max-age=1"], 0),
        (["max-age=1", "max-age=60"], 0),
        (["max-age"], 0),
        (["max-age="], 0),
        (["max-age=-1"], 0),
        (["max-age=+1"], 0),
        (["max-age=1.5"], 0),
        (["max-age=1e3"], 0),
        (["max-age=60s"], 0),
        (["max-age=6 0"], 0),
        (["max-age =60"], 0),
        (["max-age= 60"], 0),
        (["max-age='60'"], 0),
        (['max-age="60'], 0),
        (['max-age="60"x'], 0),
        (['max-age=""'], 0),
        (['max-age=" 60"'], 0),
        (["max-age=60;x"], 0),
        (["max-age: 60"], 0),
        (["max-age=\xb2"], 0),
        # Other names.
        (["x-max-age=60"], None),
        (["max-agex=60"], None),
        (["s-maxage=60"], None),
        (["=60"], None),
        (["foo=bar max-age=60"], None),
        (['foo="max-age=60"'], None),
        (['foo=", max-age=60, "'], None),
        ([""], None),
        ([","], None),
    ],
)
def test_5_2_max_age(lines: list[str], seconds: int | None) -> None:
    assert directives(fields(*(f"Cache-Control: {line}" for line in lines))).seconds(b"max-age") == seconds


@pytest.mark.parametrize(
    "value",
    [
        "no-store", "NO-STORE", "no-store=x", 'no-store="x"', "no-store x", "max-age=60, no-store", "a=,no-store",
        '"a, no-store', 'a="b, no-store', 'a="b"c, no-store', 'a="b" "c, no-store', "a b, no-store", "@, no-store",
    ],
)  # fmt: skip
def test_5_2_no_mistake_hides_a_directive(value: str) -> None:
    assert b"no-store" in directives(fields(f"Cache-Control: {value}"))


@pytest.mark.parametrize(
    "value", ['a="no-store"', 'a="b, no-store, c"', 'a="b\\", no-store"', "no-storex", "x-no-store", "a=no-store"]
)
def test_5_2_an_argument_is_no_directive(value: str) -> None:
    assert b"no-store" not in directives(fields(f"Cache-Control: {value}"))


def test_5_2_an_open_quotation_does_not_reach_into_the_next_line() -> None:
    assert b"no-store" in directives(fields('Cache-Control: a="b', 'Cache-Control: no-store, c="d'))


@pytest.mark.parametrize(
    ("value", "whole", "names"),
    [
        ("private", True, []),
        ('private="Set-Cookie"', False, [b"set-cookie"]),
        ("private=set-cookie", False, [b"set-cookie"]),
        ('private=" X-A ,\tx-b"', False, [b"x-a", b"x-b"]),
        ('private="a", private="b"', False, [b"a", b"b"]),
        ('private="a", private', True, []),
        ('private=""', True, []),
        ('private="a,,b"', True, []),
        ('private="a b"', True, []),
        ('private="a', True, []),
        ('private="Vary"', True, []),
        ('private="a", private="x, Date"', True, []),
        ("public", False, []),
    ],
)
def test_5_2_2_7_private_may_be_limited_to_fields(value: str, whole: bool, names: list[bytes]) -> None:
    said = directives(fields(f"Cache-Control: {value}"))
    assert said.whole(b"private") is whole
    assert said.fields(b"private") == frozenset(names)


def test_the_first_argument_of_a_directive() -> None:
    said = directives(fields("Cache-Control: a=1, a=2, b"))
    assert (said.get(b"a"), said.get(b"b"), said.get(b"c")) == (b"1", None, None)
    assert said
    assert not directives(fields())


@pytest.mark.parametrize(
    ("lines", "asked"),
    [
        (["Pragma: no-cache"], True),
        (["Pragma: x, No-Cache"], True),
        (["Pragma: x"], False),
        (["Pragma: no-cache", "Cache-Control: max-age=5"], False),
        (["Cache-Control: no-cache"], True),
        ([], False),
    ],
)
def test_5_4_pragma_counts_without_cache_control(lines: list[str], asked: bool) -> None:
    assert (b"no-cache" in request_directives(fields(*lines))) is asked


@pytest.mark.parametrize(
    ("lines", "seconds"),
    [
        (["CDN-Cache-Control: max-age=60"], 60),
        (["CDN-Cache-Control: max-age=60", "Cache-Control: max-age=5"], 60),
        (["CDN-Cache-Control: max-age=60;x=1, foo"], 60),
        (["CDN-Cache-Control: foo", "CDN-Cache-Control: max-age=60"], 60),
        (["CDN-Cache-Control: max-age=1, max-age=60"], 60),
        (["CDN-Cache-Control: max-age=99999999999"], DELTA_MAX),
        (["CDN-Cache-Control: foo", "Cache-Control: max-age=5"], None),
        # A value of the wrong type makes nothing fresh.
        (['CDN-Cache-Control: max-age="60"'], 0),
        (["CDN-Cache-Control: max-age=-60"], 0),
        (["CDN-Cache-Control: max-age=60.0"], 0),
        (["CDN-Cache-Control: max-age=sixty"], 0),
        (["CDN-Cache-Control: max-age"], 0),
        (["CDN-Cache-Control: max-age=(60)"], 0),
        (["CDN-Cache-Control: max-age=?0", "Cache-Control: max-age=5"], None),
        # Malformed or empty: as if it were not there.
        (["CDN-Cache-Control: max-age=60,", "Cache-Control: max-age=5"], 5),
        (["CDN-Cache-Control: max-age =60", "Cache-Control: max-age=5"], 5),
        (["CDN-Cache-Control: Max-Age=60", "Cache-Control: max-age=5"], 5),
        (["CDN-Cache-Control:", "Cache-Control: max-age=5"], 5),
        (["CDN-Cache-Control: max-age=60, " + "x" * 2000 + "=1"], 60),
    ],
)
def test_9213_2_a_targeted_field_wins_where_it_is_valid(lines: list[str], seconds: int | None) -> None:
    assert response_directives(fields(*lines), Rules.RFC9111).seconds(b"max-age") == seconds


@pytest.mark.parametrize(
    ("value", "names"),
    [('no-cache="a, b"', [b"a", b"b"]), ("no-cache=a", [b"a"]), ('no-cache=("a" b 1)', [b"a", b"b"]), ("no-cache", [])],
)
def test_9213_2_field_names_in_a_targeted_field(value: str, names: list[bytes]) -> None:
    said = response_directives(fields(f"CDN-Cache-Control: {value}"), Rules.RFC9111)
    assert said.targeted
    assert said.fields(b"no-cache") == frozenset(names)
    assert said.whole(b"no-cache") is (not names)


def test_cloudfront_knows_no_targeted_field() -> None:
    headers = fields("CDN-Cache-Control: max-age=60", "Cache-Control: max-age=5")
    assert response_directives(headers, Rules.CLOUDFRONT).seconds(b"max-age") == 5


@given(st.lists(st.one_of(st.binary(max_size=60), st.text('a=",\\ 1-', max_size=40).map(str.encode)), max_size=3))
def test_random_bytes_never_raise(lines: list[bytes]) -> None:
    headers = Headers([(b"Cache-Control", line) for line in lines] + [(b"CDN-Cache-Control", line) for line in lines])
    for said in (directives(headers), response_directives(headers, Rules.RFC9111), request_directives(headers)):
        for name in said.members:
            assert said.whole(name) is not bool(said.fields(name))
            assert 0 <= (said.seconds(name) or 0) <= DELTA_MAX


@pytest.mark.parametrize("piece", [b'a="\\",', b'a="x', b'a="x"y,', b"a=", b",", b'"', b"\\", b'a="\\"x",'])
def test_time_grows_with_length_and_no_faster(piece: bytes) -> None:
    started = process_time()
    directives(Headers([(b"Cache-Control", piece * (200_000 // len(piece)))]))
    assert process_time() - started < 2
