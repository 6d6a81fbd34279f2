"""rules/routing.py: path patterns, the choice of a behaviour, and the way a request goes (fact sheet 1.3, 5.1)."""

from __future__ import annotations

import fnmatch
import re
from dataclasses import replace
from time import process_time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeproxy.model import Behavior, Caching, Distribution, Mode, Origin, OriginKind, Rules, Ttl
from edgeproxy.outcome import Layer, Reason
from edgeproxy.rules.routing import (
    Route,
    Stop,
    choose_behavior,
    layer_of,
    match_pattern,
    next_stop,
    normalised_path,
    route,
)
from tests.messages import request


@pytest.mark.parametrize(
    ("pattern", "path", "matches"),
    [
        ("*", b"/", True),
        ("*", b"/a/b", True),
        ("/a", b"/a", True),
        ("a", b"/a", True),
        ("/a", b"/ab", False),
        ("/a", b"/", False),
        ("/A", b"/a", False),
        ("/a*", b"/a", True),
        ("/a*", b"/a/b/c", True),
        ("/a/*", b"/a", False),
        ("*.jpg", b"/x/y.jpg", True),
        ("*.jpg", b"/x/y.jpg/z", False),
        ("*.jpg", b"/.jpg", True),
        ("/a?c", b"/abc", True),
        ("/a?c", b"/a/c", True),
        ("/a?c", b"/ac", False),
        ("/a?", b"/abc", False),
        ("/a??", b"/a\n\xff", True),
        ("/*/b/*", b"/a/b/c", True),
        ("/*/b/*", b"/a/c/b", False),
        ("/*b*b", b"/ab", False),
        ("/*b*b", b"/abb", True),
        ("/*ab", b"/aab", True),
        ("/a*a", b"/a", False),
        ("/a**b", b"/ab", True),
        ("/*a?c*d", b"/xxaaacyyd", True),
        ("/a.c", b"/abc", False),
        ("/a[b]", b"/a[b]", True),
        ("/%61", b"/a", True),
        ("/a%2fb", b"/a%2Fb", True),
        ("/\u00e9", b"/\xc3\xa9", True),
    ],
)
def test_5_1_patterns(pattern: str, path: bytes, matches: bool) -> None:
    assert match_pattern(pattern, path) is matches


@given(st.text("ab*?/", max_size=8), st.text("ab/", max_size=12))
def test_patterns_match_as_shell_patterns_do(pattern: str, path: str) -> None:
    rooted = pattern if pattern.startswith("/") else "/" + pattern
    expected = re.match(fnmatch.translate(rooted), "/" + path) is not None
    assert match_pattern(pattern, b"/" + path.encode()) is expected


def test_many_stars_take_no_time() -> None:
    started = process_time()
    assert not match_pattern("/" + "*a" * 60 + "b", b"/" + b"a" * 8000)
    assert process_time() - started < 1


@pytest.mark.parametrize(
    ("path", "normalised"),
    [
        (b"/", b"/"),
        (b"/a/b", b"/a/b"),
        (b"/a/b/", b"/a/b/"),
        (b"//a///b//", b"/a/b/"),
        (b"/a/b/..", b"/a/"),
        (b"/a/b/.", b"/a/b/"),
        (b"/a/./b", b"/a/b"),
        (b"/a/../b", b"/b"),
        (b"/a//../b", b"/b"),
        (b"/../../a", b"/a"),
        (b"/..", b"/"),
        (b"/.", b"/"),
        (b"/...", b"/..."),
        (b"/.a/b..", b"/.a/b.."),
        (b"/a/%2e%2E/b", b"/b"),
        (b"/a/.%2e/b", b"/b"),
        (b"/%61dmin", b"/admin"),
        (b"/a%2fb%2F", b"/a%2Fb%2F"),
        (b"/a%2f..%2fb", b"/a%2F..%2Fb"),
        (b"/%252e%252e/b", b"/%252e%252e/b"),
        (b"/100%", b"/100%"),
        (b"/%zz", b"/%zz"),
        (b"*", b"*"),
    ],
)
def test_1_3_paths_as_patterns_see_them(path: bytes, normalised: bytes) -> None:
    assert normalised_path(path) == normalised


@given(st.text("a./%2eE", max_size=20))
def test_normalising_leaves_no_dot_segment_and_no_double_slash(path: str) -> None:
    normalised = normalised_path(b"/" + path.encode())
    assert normalised.startswith(b"/")
    assert b"//" not in normalised
    assert not {b".", b".."} & set(normalised.split(b"/"))


ORIGIN = Origin("o", "origin.example")
BUCKET = Origin("b", "b.s3.eu-central-1.amazonaws.com", OriginKind.S3, "eu-central-1")
CACHED = Behavior("*", "o")


def test_5_1_the_first_pattern_that_matches_wins_and_the_last_behaviour_takes_the_rest() -> None:
    behaviors = tuple(Behavior(pattern, "o") for pattern in ("/a/b*", "/a*", "*.jpg", "*"))
    site = Distribution("E1", "e1.example", Rules.CLOUDFRONT, "1", {}, behaviors)
    for path, place in (
        (b"/a/b/c", 0), (b"/a/c", 1), (b"/a/b/..", 1), (b"/x.jpg", 2), (b"//a/b", 0), (b"/x", 3), (b"*", 3),
        (b"/x/../a/%62", 0),
    ):  # fmt: skip
        assert choose_behavior(site, path) is behaviors[place], path


DISABLED = replace(CACHED, caching=Caching(Rules.CLOUDFRONT, Ttl(0, 0, 0)))
OPTIONS_CACHED = replace(CACHED, cached_methods=frozenset({"GET", "HEAD", "OPTIONS"}))


@pytest.mark.parametrize(
    ("method", "lines", "upgrade", "behavior", "origin", "region", "way"),
    [
        ("GET", [], False, CACHED, ORIGIN, None, Route(True, False, None)),
        ("HEAD", [], False, CACHED, ORIGIN, "eu-central-1", Route(True, False, None)),
        ("GET", ["Content-Length: 0"], False, CACHED, ORIGIN, None, Route(True, False, None)),
        ("GET", ["Content-Length: 5"], False, CACHED, ORIGIN, None, Route(False, True, Reason.METHOD)),
        ("GET", ["Transfer-Encoding: chunked"], False, CACHED, ORIGIN, None, Route(False, True, Reason.METHOD)),
        ("GET", [], True, CACHED, ORIGIN, None, Route(False, True, Reason.UPGRADE)),
        ("OPTIONS", [], False, CACHED, ORIGIN, None, Route(False, True, Reason.METHOD)),
        ("OPTIONS", [], False, OPTIONS_CACHED, ORIGIN, None, Route(True, False, None)),
        ("POST", [], False, OPTIONS_CACHED, ORIGIN, None, Route(False, True, Reason.METHOD)),
        ("FROB", [], False, CACHED, ORIGIN, None, Route(False, True, Reason.METHOD)),
        ("GET", [], False, DISABLED, ORIGIN, None, Route(False, True, Reason.DYNAMIC)),
        ("GET", [], False, CACHED, BUCKET, "eu-central-1", Route(True, True, Reason.SAME_REGION)),
        ("GET", [], False, CACHED, BUCKET, "us-east-1", Route(True, False, None)),
        ("GET", [], False, CACHED, BUCKET, None, Route(True, False, None)),
        ("GET", [], False, CACHED, replace(BUCKET, region=None), None, Route(True, False, None)),
        ("GET", [], False, DISABLED, BUCKET, "eu-central-1", Route(False, True, Reason.DYNAMIC)),
    ],
)
def test_the_way_a_request_goes(
    method: str, lines: list[str], upgrade: bool, behavior: Behavior, origin: Origin, region: str | None, way: Route
) -> None:
    site = Distribution("E1", "e1.example", Rules.CLOUDFRONT, "1", {}, (behavior,))
    assert route(request(*lines, method=method), upgrade, site, behavior, origin, region) == way


SHIELDED = replace(ORIGIN, shield="eu-west-1")
CACHED_WAY, DYNAMIC_WAY = Route(True, False, None), Route(False, True, Reason.DYNAMIC)
NEAR = Route(True, True, Reason.SAME_REGION)


@pytest.mark.parametrize(
    ("way", "origin", "mode", "region", "has_tier", "stop"),
    [
        (CACHED_WAY, ORIGIN, Mode.POP, "eu-central-1", True, Stop.TIER),
        (CACHED_WAY, ORIGIN, Mode.POP, "eu-central-1", False, Stop.ORIGIN),
        (DYNAMIC_WAY, ORIGIN, Mode.POP, "eu-central-1", True, Stop.ORIGIN),
        (NEAR, ORIGIN, Mode.POP, "eu-central-1", True, Stop.ORIGIN),
        (CACHED_WAY, ORIGIN, Mode.REGIONAL, "eu-west-1", False, Stop.ORIGIN),
        (CACHED_WAY, SHIELDED, Mode.POP, "eu-central-1", True, Stop.TIER),
        (CACHED_WAY, SHIELDED, Mode.POP, "eu-west-1", True, Stop.TIER),
        (CACHED_WAY, SHIELDED, Mode.POP, "eu-west-1", False, Stop.SHIELD),
        (DYNAMIC_WAY, SHIELDED, Mode.POP, "eu-central-1", True, Stop.SHIELD),
        (NEAR, SHIELDED, Mode.POP, "eu-central-1", True, Stop.SHIELD),
        (Route(False, True, Reason.UPGRADE), SHIELDED, Mode.POP, "eu-central-1", True, Stop.ORIGIN),
        (CACHED_WAY, SHIELDED, Mode.REGIONAL, "eu-central-1", False, Stop.SHIELD),
        (CACHED_WAY, SHIELDED, Mode.REGIONAL, "eu-west-1", False, Stop.ORIGIN),
        (CACHED_WAY, replace(ORIGIN, shield="sa-east-1"), Mode.REGIONAL, "eu-central-1", False, Stop.ORIGIN),
    ],
)
def test_6_the_next_stop(way: Route, origin: Origin, mode: Mode, region: str, has_tier: bool, stop: Stop) -> None:
    assert next_stop(way, origin, mode, region, {"eu-west-1", "us-east-1"}, has_tier) is stop


def test_2_7_what_a_node_is_called() -> None:
    assert layer_of(SHIELDED, Mode.POP, "eu-west-1") is Layer.EDGE
    assert layer_of(SHIELDED, Mode.REGIONAL, "eu-west-1") is Layer.SHIELD
    assert layer_of(SHIELDED, Mode.REGIONAL, "us-east-1") is Layer.REC
    assert layer_of(ORIGIN, Mode.REGIONAL, "eu-west-1") is Layer.REC
