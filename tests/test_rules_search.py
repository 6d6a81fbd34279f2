"""No-Vary-Search: the field's grammar, and which queries are the same to it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeproxy.headers import Headers
from edgeproxy.rules.search import NoVarySearch, equivalent, no_vary_search


def said(value: bytes) -> NoVarySearch | None:
    return no_vary_search(Headers([(b"No-Vary-Search", value)]))


@pytest.mark.parametrize(
    "value",
    [
        b"", b"params=?0", b"key-order=?0", b"params=()", b"params", b'params=("a"', b"params=(a)", b"params=1",
        b'except=("a")', b'params=("a"), except=("b")', b'params=?0, except=("b")', b"key-order=1",
        b'params, except="a"',
        b"params=?1, except=(1)",
    ],
)  # fmt: skip
def test_what_says_nothing_or_cannot_be_understood(value: bytes) -> None:
    rule = said(value)
    assert rule is None or value == b"params"


def test_no_field_says_nothing() -> None:
    assert no_vary_search(Headers()) is None


@pytest.mark.parametrize(
    ("value", "one", "other", "same"),
    [
        (b"key-order", b"a=1&b=2", b"b=2&a=1", True),
        (b"key-order", b"a=1&a=2", b"a=2&a=1", False),
        (b"key-order", b"a=1", b"a=2", False),
        (b"params", b"a=1", None, True),
        (b"params", b"a=1", b"b=2", True),
        (b'params, except=("id")', b"id=1&x=1", b"y=2&id=1", True),
        (b'params, except=("id")', b"id=1", b"id=2", False),
        (b'params=("utm" "ref")', b"id=1&utm=a", b"id=1&ref=b", True),
        (b'params=("utm")', b"id=1&utm=a", b"id=2&utm=a", False),
        (b'params=("utm")', b"id=1&x=1", b"x=1&id=1", False),
        (b'params=("utm"), key-order', b"id=1&x=1&utm=2", b"x=1&id=1", True),
        (b'params=("a+b")', b"a%20b=1", None, True),
        (b'params=("%C3%A9")', b"%c3%a9=1", b"", True),
        (b'params=("A")', b"a=1", None, False),
        (b'params=("a")', b"b=%31", b"b=1", True),
        (b'params=("a")', b"b", b"b=", True),
    ],
)
def test_which_queries_are_the_same(value: bytes, one: bytes | None, other: bytes | None, same: bool) -> None:
    rule = said(value)
    assert rule is not None
    assert equivalent(one, other, rule) is same
    assert equivalent(other, one, rule) is same


def test_a_query_of_too_many_parameters_is_compared_as_it_is() -> None:
    rule = said(b"params")
    assert rule is not None
    long = b"&".join([b"a=1"] * 300)
    assert equivalent(long, long, rule)
    assert not equivalent(long, None, rule)


@given(st.binary(max_size=40), st.binary(max_size=40), st.binary(max_size=40))
def test_nothing_received_makes_it_fail(value: bytes, one: bytes, other: bytes) -> None:
    rule = said(value)
    if rule is not None:
        assert equivalent(one, other, rule) is equivalent(other, one, rule)
