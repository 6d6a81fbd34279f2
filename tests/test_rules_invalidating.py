"""rules/invalidating.py: what an unsafe request spoils (RFC 9111 section 4.4)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeproxy.headers import Headers
from edgeproxy.message import RequestHead, ResponseHead
from edgeproxy.rules.invalidating import invalidated_targets, same_origin_target
from tests.messages import request, response


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "FROB", "M-SEARCH", "get"])
def test_4_4_unsafe_and_unknown_methods_spoil_the_target(method: str) -> None:
    for status in (200, 201, 204, 301, 303, 399):
        assert invalidated_targets(request(method=method), response(status=status)) == (b"/a",)


@pytest.mark.parametrize("status", [101, 400, 403, 404, 412, 500, 503])
def test_4_4_a_failure_spoils_nothing(status: int) -> None:
    assert invalidated_targets(request(method="PUT"), response("Location: /b", status=status)) == ()


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "TRACE", "PROPFIND", "REPORT", "SEARCH", "QUERY"])
def test_4_4_safe_methods_spoil_nothing(method: str) -> None:
    assert invalidated_targets(request(method=method), response("Location: /b")) == ()


def test_4_4_location_and_content_location_on_the_same_origin() -> None:
    answer = response("Location: /b", "Content-Location: c?x=1", "Location: http://other.example/d", "Location: /a")
    assert invalidated_targets(request(method="POST"), answer) == (b"/a", b"/b", b"/c?x=1")


@pytest.mark.parametrize(
    ("reference", "target"),
    [
        ("/b", "/b"),
        ("b", "/dir/b"),
        ("../b", "/b"),
        ("./b/../c", "/dir/c"),
        ("?y=2", "/dir/a?y=2"),
        ("", "/dir/a?x=1"),
        ("/b#part", "/b"),
        ("http://www.example.com/b", "/b"),
        ("HTTP://WWW.Example.COM/b", "/b"),
        ("http://www.example.com:80/b", "/b"),
        ("http://www.example.com", "/"),
        ("//www.example.com/b", "/b"),
        ("/\xe9%20", "/\xe9%20"),
        ("https://www.example.com/b", None),
        ("http://www.example.com:81/b", None),
        ("http://example.com/b", None),
        ("//other.example/b", None),
        ("mailto:a@www.example.com", None),
        ("http://[::1/b", None),
        ("http://www.example.com:x/b", None),
    ],
)
def test_3986_5_2_references(reference: str, target: str | None) -> None:
    found = same_origin_target(request(target="/dir/a?x=1"), reference.encode("latin-1"))
    assert found == (None if target is None else target.encode("latin-1"))


def test_the_origin_includes_its_port() -> None:
    asked = request(authority="www.example.com:8080")
    assert same_origin_target(asked, b"http://www.example.com:8080/b") == b"/b"
    assert same_origin_target(asked, b"http://www.example.com/b") is None


@given(reference=st.binary(max_size=40), authority=st.binary(max_size=20))
def test_random_bytes_never_raise(reference: bytes, authority: bytes) -> None:
    asked = RequestHead("POST", b"/a", authority, Headers())
    invalidated_targets(asked, ResponseHead(200, Headers([(b"Location", reference)])))
