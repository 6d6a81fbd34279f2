"""rules/vary.py: which fields count, and which of their spellings are one (RFC 9111 section 4.1)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeproxy.rules.vary import normalised, varies, vary_names
from tests.messages import fields, request


@pytest.mark.parametrize(
    ("lines", "names"),
    [
        ([], ()),
        (["Vary: "], ()),
        (["Vary: Accept"], (b"accept",)),
        (["Vary: b,, A ,\tb"], (b"a", b"b")),
        (["Vary: B", "Vary: a"], (b"a", b"b")),
        (["Vary: *"], None),
        (["Vary: a, *"], None),
        (["Vary: a", "Vary: *"], None),
    ],
)
def test_12_5_5_names(lines: list[str], names: tuple[bytes, ...] | None) -> None:
    assert vary_names(fields(*lines)) == names


def test_4_1_what_a_request_brought_is_remembered_and_absence_too() -> None:
    asked = request("X: 1", "X: 2", "Accept-Encoding: GZIP, br")
    assert varies(fields("Vary: x, y, Accept-Encoding"), asked) == (
        (b"accept-encoding", b"br,gzip"),
        (b"x", b"1, 2"),
        (b"y", None),
    )
    assert varies(fields("Vary: *"), asked) == ()


@pytest.mark.parametrize(
    ("name", "one", "other"),
    [
        ("accept-encoding", "gzip, br", "br,gzip"),
        ("accept-encoding", "GZIP", "gzip"),
        ("accept-encoding", "gzip;q=1.0, br;q=0.50", "gzip , br ; q=0.5"),
        ("accept-encoding", "gzip;Q=0.5", "gzip;q=0.5"),
        ("accept-encoding", ", gzip,,", "gzip"),
        ("accept-language", "EN-gb", "en-GB"),
        ("accept-language", "de;q=0.5, en", "en, de;q=0.5"),
        ("accept-language", "en,de", "en , de"),
        ("accept-charset", "UTF-8", "utf-8"),
        ("accept", "text/HTML, */*;q=0.1", "*/*;q=0.1, text/html"),
    ],
)
def test_4_1_the_same_in_two_spellings(name: str, one: str, other: str) -> None:
    assert normalised(name.encode(), one.encode()) == normalised(name.encode(), other.encode())


@pytest.mark.parametrize(
    ("name", "one", "other"),
    [
        ("accept-language", "en, de", "de, en"),
        ("accept-language", "en", "en-GB"),
        ("accept-encoding", "gzip;q=0", "gzip"),
        ("accept-encoding", "gzip;q=0.5", "gzip;q=0.501"),
        ("accept-encoding", "gzip;q=2", "gzip"),
        ("accept-encoding", "", "gzip"),
        ("accept", "text/html;level=1", "text/html;LEVEL=1"),
        ("accept", 'text/html;a="x,y"', 'text/html;a="x, y"'),
        ("accept", "a/b, c/d;x=1", "c/d;x=1, a/b"),
        ("user-agent", "a,b", "a, b"),
        ("cookie", "a=1", "A=1"),
        ("x", "1", "1,"),
    ],
)
def test_4_1_what_may_differ_in_meaning_stays_apart(name: str, one: str, other: str) -> None:
    assert normalised(name.encode(), one.encode()) != normalised(name.encode(), other.encode())


def test_absence_is_not_emptiness() -> None:
    assert normalised(b"accept-encoding", None) is None
    assert normalised(b"accept-encoding", b"") == b""


def test_a_very_long_value_is_left_alone() -> None:
    assert normalised(b"accept-encoding", b"GZIP," * 200) == b"GZIP," * 200


@given(st.one_of(st.binary(max_size=60), st.text("aA/*;q=01., ", max_size=40).map(str.encode)))
def test_normalising_is_done_once_and_for_all_bytes(value: bytes) -> None:
    for name in (b"accept", b"accept-encoding", b"accept-language", b"x"):
        once = normalised(name, value)
        assert normalised(name, once) == once
