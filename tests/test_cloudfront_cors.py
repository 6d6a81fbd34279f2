"""cloudfront/cors.py: who is allowed, and which fields say so (fact sheet 4.8)."""

from __future__ import annotations

import pytest

from edgeproxy.cloudfront.cors import allowed_headers, allows, cors_fields, is_preflight
from edgeproxy.model import Cors
from tests.messages import fields, request

PATTERNS: list[tuple[str, str, bool]] = [
    ("http://*.example.org", "http://www.example.org", True),
    ("http://*.example.org", "https://www.example.org", False),
    ("http://*.example.org", "http://www.example.org:123", False),
    ("*.example.org", "https://test.example.org", True),
    ("*.example.org", "http://test.test.example.org", True),
    ("*.example.org", "https://.example.org", True),
    ("*.example.org", "https://example.org", False),
    ("*.example.org", "http://test.example.org:123", False),
    ("*.example.org", "http://test.example.org.evil.test", False),
    ("*.example.org", "http://testexample.org", False),
    ("example.org", "http://example.org", True),
    ("example.org", "https://example.org", True),
    ("example.org", "https://exampleXorg", False),
    ("http://example.org", "http://example.org", True),
    ("http://example.org", "https://example.org", False),
    ("http://example.org", "http://example.org:123", False),
    ("http://example.org:*", "http://example.org:123", True),
    ("http://example.org:*", "http://example.org", True),
    ("http://example.org:*", "http://example.orgs", False),
    ("http://example.org:1*3", "http://example.org:123", True),
    ("http://example.org:1*3", "http://example.org:1893", True),
    ("http://example.org:1*3", "http://example.org:13", True),
    ("http://example.org:1*3", "http://example.org:14", False),
    ("*.example.org:1*", "https://test.example.org:123", True),
    ("*.example.org:1*", "https://test.example.org:23", False),
    ("http://*", "http://anything.test", True),
    ("http://*", "https://anything.test", False),
    ("example.org", "http://" + "a" * 2000, False),
]


@pytest.mark.parametrize(("pattern", "origin", "covered"), PATTERNS)
def test_4_8_patterns_of_allowed_origins(pattern: str, origin: str, covered: bool) -> None:
    assert allows(pattern, origin.encode()) is covered


@pytest.mark.parametrize(
    ("patterns", "asked", "said"),
    [
        (("*",), "X-Any", b"*"),
        (("X-One", "X-Two"), "X-Three", b"X-One, X-Two"),
        (("x-amz-*",), "x-amz-test, X-Amz-, x-amz, other", b"x-amz-test, X-Amz-"),
        (("x-*-amz",), "x-test-amz, x--amz, x-amz", b"x-test-amz, x--amz"),
        (("x-*-b-*-c",), "x-1-b-2-c, x-1-b-c, x-b-b-1-c-c", b"x-1-b-2-c, x-b-b-1-c-c"),
        (("x-*-q-*",), "x-1-r-2", b""),
        (("y-*",), "x-1", b""),
    ],
)
def test_4_8_patterns_of_allowed_headers(patterns: tuple[str, ...], asked: str, said: bytes) -> None:
    assert allowed_headers(patterns, fields(f"Access-Control-Request-Headers: {asked}")) == said


SITE = Cors(("https://*.example.org",), ("X-A",), ("GET", "PUT"), ("X-B", "X-C"), credentials=True, max_age=600)
ORIGIN = "Origin: https://www.example.org"
PREFLIGHT = (ORIGIN, "Access-Control-Request-Method: PUT")


def said(policy: Cors, *lines: str, received: tuple[str, ...] = (), method: str = "GET") -> dict[str, str]:
    made = cors_fields(policy, request(*lines, method=method), fields(*received))
    return {name.decode(): value.decode() for name, value in made}


def test_4_8_an_ordinary_request_and_a_preflight() -> None:
    plain = {
        "Access-Control-Allow-Origin": "https://www.example.org",
        "Access-Control-Allow-Credentials": "true",
        "Access-Control-Expose-Headers": "X-B, X-C",
        "Vary": "Origin",
    }
    assert said(SITE, ORIGIN) == plain
    assert said(SITE, *PREFLIGHT, method="OPTIONS") == plain | {
        "Access-Control-Allow-Methods": "GET, PUT",
        "Access-Control-Allow-Headers": "X-A",
        "Access-Control-Max-Age": "600",
    }
    assert said(SITE, ORIGIN, method="OPTIONS") == plain
    assert not is_preflight(request(*PREFLIGHT))


@pytest.mark.parametrize("lines", [(), ("Origin: https://evil.test",), ("Origin: null",)])
def test_4_8_nobody_else_gets_any(lines: tuple[str, ...]) -> None:
    assert said(SITE, *lines) == {}


def test_4_8_everybody_is_allowed_without_being_named() -> None:
    assert said(Cors(("*",), (), ("GET",)), "Origin: null") == {"Access-Control-Allow-Origin": "*"}
    preflight = said(Cors(("*",), (), ("GET",)), *PREFLIGHT, method="OPTIONS")
    assert "Access-Control-Allow-Headers" not in preflight


@pytest.mark.parametrize(("override", "count"), [(True, 4), (False, 0)])
def test_4_8_what_the_origin_said_of_cors_stands_unless_overridden(override: bool, count: int) -> None:
    policy = Cors(SITE.origins, SITE.headers, SITE.methods, SITE.exposed, True, 600, override)
    assert len(said(policy, ORIGIN, received=("Access-Control-Max-Age: 1",))) == count
    assert len(said(policy, ORIGIN, received=("Server: x",))) == 4


@pytest.mark.parametrize(
    ("received", "vary"), [("Accept-Encoding", "Accept-Encoding, Origin"), ("ORIGIN, X", "ORIGIN, X"), ("*", "*")]
)
def test_vary_names_origin_once(received: str, vary: str) -> None:
    assert said(SITE, ORIGIN, received=(f"Vary: {received}",))["Vary"] == vary
