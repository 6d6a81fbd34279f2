"""rules/key.py: the cache key (fact sheet 1.3, 4.1, 4.2, 4.4)."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeproxy.headers import Headers
from edgeproxy.message import RequestHead
from edgeproxy.model import EVERYTHING, NOTHING, Behavior, Choice, Distribution, KeyParts, Rules, Selector
from edgeproxy.rules.key import (
    cache_key,
    chosen_query,
    cookies,
    head_key,
    hole_key,
    normalised_accept_encoding,
    range_key,
    resource_key,
)
from tests.messages import fields, request

SITE = Distribution("E1", "e1.example", Rules.CLOUDFRONT, "1", {}, ())
LISTED = Selector(Choice.LISTED, frozenset({b"a", b"color"}))
BUT_LISTED = Selector(Choice.ALL_EXCEPT, frozenset({b"a", b"color"}))


def keyed(parts: KeyParts, *lines: str, method: str = "GET", target: str = "/a", site: Distribution = SITE) -> bytes:
    return cache_key(request(*lines, method=method, target=target), site, Behavior("*", "o", key=parts))


def test_a_key_says_what_it_is_made_of() -> None:
    parts = KeyParts(EVERYTHING, EVERYTHING, (b"accept-language", b"host", b"x"), gzip=True, brotli=True)
    lines = ("Accept-Language: de, en", "Cookie: b=2; a=1", "Accept-Encoding: gzip, br, zstd")
    assert keyed(parts, *lines, target="/p/q.html?x=1&y") == (
        rb"E1 GET //www.example.com /p/q.html ?x=1&y h:accept-language=de,\20en h:x c:a=1 c:b=2 ae:br,gzip"
    )
    assert keyed(KeyParts(NOTHING), target="/p?x=1") == b"E1 GET // /p"


@pytest.mark.parametrize(("method", "name"), [("GET", "GET"), ("HEAD", "GET"), ("OPTIONS", "OPTIONS"), ("PUT", "GET")])
def test_4_1_get_and_head_share_a_key_and_options_has_its_own(method: str, name: str) -> None:
    assert keyed(KeyParts(), method=method) == b"E1 %s // /a" % name.encode()


def test_a_head_s_own_answer_has_a_key_of_its_own() -> None:
    assert head_key(keyed(KeyParts())) == b"E1 GET // /a HEAD"


def test_host_counts_where_it_is_keyed_and_where_every_host_is_served() -> None:
    assert b"www.example.com" not in keyed(KeyParts())
    assert b"//www.example.com " in keyed(KeyParts(headers=(b"host",)))
    assert b"//www.example.com " in keyed(KeyParts(), site=replace(SITE, any_host=True))


@pytest.mark.parametrize(
    ("query", "selector", "chosen"),
    [
        (None, EVERYTHING, None),
        (None, LISTED, None),
        (b"", EVERYTHING, b""),
        (b"", LISTED, None),
        (b"b=2&a=1", EVERYTHING, b"b=2&a=1"),
        (b"b=2&a=1", NOTHING, None),
        (b"b=2&color=red&a=1", LISTED, b"color=red&a=1"),
        (b"a=1&color=red", LISTED, b"a=1&color=red"),
        (b"b=2&color=red&c", BUT_LISTED, b"b=2&c"),
        (b"color=red", BUT_LISTED, None),
        (b"Color=red", LISTED, None),
        (b"a", LISTED, b"a"),
        (b"a=", LISTED, b"a="),
        (b"a=1&a=2", LISTED, b"a=1&a=2"),
        (b"color=red;size=large", LISTED, b"color=red;size=large"),
        (b"size=large;color=red", LISTED, None),
        (b"%61=1", LISTED, None),
        (b"&&a=1&", LISTED, b"a=1"),
    ],
)
def test_1_3_query_parameters(query: bytes | None, selector: Selector, chosen: bytes | None) -> None:
    assert chosen_query(query, selector) == chosen


@pytest.mark.parametrize(
    ("lines", "pairs"),
    [
        ([], []),
        (["Cookie: a=1; b=2"], [(b"a", b"1"), (b"b", b"2")]),
        (["Cookie: a=1", "Cookie: b=2"], [(b"a", b"1"), (b"b", b"2")]),
        (["Cookie:  a=1;b=2;; "], [(b"a", b"1"), (b"b", b"2")]),
        (["Cookie: a=1=2; c; =3"], [(b"a", b"1=2"), (b"c", None), (b"", b"3")]),
    ],
)
def test_cookies(lines: list[str], pairs: list[tuple[bytes, bytes | None]]) -> None:
    assert cookies(fields(*lines)) == pairs


def test_4_2_the_order_of_cookies_does_not_count_but_of_equal_names_it_does() -> None:
    parts = KeyParts(cookies=LISTED)
    assert keyed(parts, "Cookie: z=9; color=red; a=1") == keyed(parts, "Cookie: a=1; color=red")
    assert keyed(parts, "Cookie: a=1; a=2") != keyed(parts, "Cookie: a=2; a=1")
    assert keyed(KeyParts(), "Cookie: a=1") == keyed(KeyParts())


def test_the_order_of_header_fields_does_not_count_and_their_values_case_does() -> None:
    parts = KeyParts(headers=(b"x", b"y"))
    assert keyed(parts, "X: 1", "Y: 2") == keyed(parts, "Y: 2", "x: 1")
    assert keyed(parts, "X: a") != keyed(parts, "X: A")
    assert keyed(parts, "X:") != keyed(parts)


@pytest.mark.parametrize(
    ("value", "gzip", "brotli", "both"),
    [
        (None, None, None, None),
        (b"gzip, br", b"gzip", b"br", b"br,gzip"),
        (b"br;q=0.1,GZIP;q=1.0", b"gzip", b"br", b"br,gzip"),
        (b"gzip", b"gzip", b"identity", b"gzip"),
        (b"gzip ; q=0.5 , deflate", b"gzip", b"identity", b"gzip"),
        (b"gzip;q=0, br", b"identity", b"br", b"br"),
        (b"gzip;q=0.000", b"identity", b"identity", b"identity"),
        (b"deflate, zstd", b"identity", b"identity", b"identity"),
        (b"x-gzip", b"identity", b"identity", b"identity"),
        (b"*", b"identity", b"identity", b"identity"),
        (b"", b"identity", b"identity", b"identity"),
        (b"gzip;x=1", b"identity", b"identity", b"identity"),
        (b"x," * 300 + b"br", b"identity", b"br", b"br"),
    ],
)
def test_4_4_accept_encoding(value: bytes | None, gzip: bytes | None, brotli: bytes | None, both: bytes | None) -> None:
    assert normalised_accept_encoding(value, gzip=True, brotli=False) == gzip
    assert normalised_accept_encoding(value, gzip=False, brotli=True) == brotli
    assert normalised_accept_encoding(value, gzip=True, brotli=True) == both


def test_4_4_what_of_it_is_keyed() -> None:
    parts = KeyParts(gzip=True)
    assert keyed(parts, "Accept-Encoding: br, gzip").endswith(b" ae:gzip")
    assert keyed(parts, "Accept-Encoding: deflate") == keyed(parts) == keyed(KeyParts(), "Accept-Encoding: gzip")
    old = replace(request("Accept-Encoding: gzip"), version="1.0")
    assert cache_key(old, SITE, Behavior("*", "o", key=parts)) == keyed(parts)


def test_requests_share_a_part_if_range_and_condition_are_the_same() -> None:
    long = "bytes=" + "0-0," * 200
    asked = [
        range_key(b"k", request(*lines))
        for lines in (
            ("Range: bytes=0-1",),
            ("Range: bytes=0-2",),
            ("Range: bytes=0-1", 'If-Range: "1"'),
            ("Range: bytes=0-1", "If-Range:"),
            (f"Range: {long}",),
            (f"Range: {long}", 'If-Range: "1"'),
            (f"Range: {long}0-0",),
        )
    ]
    assert len(set(asked)) == len(asked)
    assert (
        range_key(b"k", request("Range: bytes=0-1", "X: 1")) == asked[0] != range_key(b"l", request("Range: bytes=0-1"))
    )
    assert max(map(len, asked)) < 300


ugly = st.binary(max_size=8) | st.sampled_from([b" h:x=1", b"\\20", b"=", b"a=b", b" HEAD", b"", b" c:a=1", b"%20"])


@given(st.lists(st.tuples(ugly, ugly, ugly, ugly, ugly | st.none()), min_size=2, max_size=2))
def test_no_two_requests_share_a_key_and_keys_are_printable(
    both: list[tuple[bytes, bytes, bytes, bytes, bytes | None]],
) -> None:
    parts = KeyParts(EVERYTHING, EVERYTHING, (b"host", b"x", b"y"))
    behavior = Behavior("*", "o", key=parts)
    seen = []
    for authority, path, x, cookie, y in both:
        named = cookie.replace(b";", b"").strip(b" \t")
        lines = [(b"X", x), (b"Cookie", named)] + ([(b"Y", y)] if y is not None else [])
        asked = RequestHead("GET", b"/" + path, authority, Headers(lines))
        key = cache_key(asked, SITE, behavior)
        assert all(0x20 <= byte < 0x7F for byte in key)
        resource = resource_key(asked, SITE, behavior)
        assert key == resource or key.startswith(resource + b" ")
        seen.append(((authority, path, x, named, y), key))
    assert (seen[0][0] == seen[1][0]) is (seen[0][1] == seen[1][1])


def test_missing_bytes_have_a_key_of_their_representation() -> None:
    assert hole_key(b"k", b'"1 2"') == b'k HOLE "1\\202"'
    assert hole_key(b"k", b'"1"') != hole_key(b"k", b'"2"')
