"""rules/structured.py: dictionaries of RFC 9651, strict to the last byte."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeproxy.rules.structured import Malformed, Other, Text, Token, dictionary


@pytest.mark.parametrize(
    ("value", "members"),
    [
        (b"", {}),
        (b"   ", {}),
        (b"max-age=60", {b"max-age": 60}),
        (b" a=1 , b=-2,\tc=0 ", {b"a": 1, b"b": -2, b"c": 0}),
        (b"a, b;x;y=2, c=?1;z, d=?0", {b"a": True, b"b": True, b"c": True, b"d": False}),
        (b"a=1, a=2", {b"a": 2}),
        (b"*k_1-.*=tok/en:*", {b"*k_1-.*": Token(b"tok/en:*")}),
        (b'a="x \\"y\\" \\\\"', {b"a": Text(b'x "y" \\')}),
        (b'a=""', {b"a": Text(b"")}),
        (b"a=1.5, b=-0.125", {b"a": Other(b"1.5"), b"b": Other(b"-0.125")}),
        (b"a=:YWJj:", {b"a": Other(b":YWJj:")}),
        (b"a=@1659578233", {b"a": Other(b"@1659578233")}),
        (b'a=%"f%c3%bc"', {b"a": Other(b'%"f%c3%bc"')}),
        (b'a=()', {b"a": ()}),
        (b'a=( 1  "b";q=2 c;r ), d', {b"a": (1, Text(b"b"), Token(b"c")), b"d": True}),
        (b"a=999999999999999", {b"a": 999_999_999_999_999}),
    ],
)  # fmt: skip
def test_9651_4_2_2_a_dictionary_is_read(value: bytes, members: dict[bytes, object]) -> None:
    assert dictionary(value) == members


@pytest.mark.parametrize(
    "value",
    [
        b",", b"a,", b"a,,b", b"a b", b"A=1", b"1a", b"=1", b"a=", b"a =1", b"a= 1", b"a=1=2", b"a=1000000000000000",
        b"a=1.", b"a=1.2345", b"a=.5", b"a=--1", b"a=1234567890123.1", b'a="x', b'a="x\\y"', b'a="\x80"', b"a=?2",
        b"a=?",
        b"a=:YW", b"a=:Y*:", b"a=@1.5", b'a=%"x', b'a=%"%C3"', b"a=(1", b"a=(1,2)", b'a=("x""y")', b"a=(1)2",
        b"a;=1", b"a;1", b"a;b=", b"a\x00", b"a=\xff", b"a, =",
    ],
)  # fmt: skip
def test_9651_4_2_one_fault_spoils_the_whole_field(value: bytes) -> None:
    with pytest.raises(Malformed):
        dictionary(value)


@given(st.one_of(st.binary(max_size=60), st.text('aA=1,;"()? :-.@%\\*', max_size=40).map(str.encode)))
def test_random_bytes_are_read_or_refused(value: bytes) -> None:
    try:
        dictionary(value)
    except Malformed:
        return
