"""cloudfront/response_headers.py: what a policy makes of an answer's fields (fact sheet 2.7, 4.8)."""

from __future__ import annotations

from typing import Any

import pytest

from edgeproxy.cloudfront.response_headers import Story, is_timed, server_timing, with_policy, with_timing
from edgeproxy.model import AddedField, Cors, ResponsePolicy
from edgeproxy.outcome import Layer, Result
from edgeproxy.rules.dates import format_date
from tests.messages import NOW, fields, request


def policy(**parts: Any) -> ResponsePolicy:
    return ResponsePolicy("id", "name", **parts)


def added(name: str, value: str, override: bool = False) -> AddedField:
    return AddedField(name.encode(), value.encode(), override)


CASES: dict[str, tuple[ResponsePolicy, tuple[str, ...], set[str]]] = {
    "4.8 removed": (policy(removed=frozenset({b"x-a"})), ("X-A: 1", "x-a: 2", "B: 3"), {"B: 3"}),
    "4.8 Server is CloudFront's own then": (
        policy(removed=frozenset({b"server"})), ("Server: nginx",), {"Server: CloudFront"}),
    "4.8 Date is our own then": (
        policy(removed=frozenset({b"date"})), ("Date: x",), {f"Date: {format_date(NOW).decode()}"}),
    "4.8 removed and added is present": (
        policy(removed=frozenset({b"x-a"}), added=(added("X-A", "ours"),)), ("X-A: theirs",), {"X-A: ours"}),
    "4.8 added where the origin lacks it": (policy(added=(added("X-A", "ours"),)), ("B: 3",), {"B: 3", "X-A: ours"}),
    "4.8 without override the origin's stays": (
        policy(added=(added("X-A", "ours"),)), ("x-a: theirs",), {"x-a: theirs"}),
    "4.8 with override ours": (policy(added=(added("X-A", "ours", True),)), ("x-a: theirs",), {"X-A: ours"}),
    "4.8 an empty value": (policy(added=(added("X-A", ""),)), (), {"X-A: "}),
    "4.8 a removed CORS field does not count as said": (
        policy(removed=frozenset({b"access-control-allow-origin"}), cors=Cors(("*",), (), ("GET",), override=False)),
        ("Access-Control-Allow-Origin: https://a.test",), {"Access-Control-Allow-Origin: *"}),
    "4.8 a CORS field replaces the origin's": (
        policy(cors=Cors(("*",), (), ("GET",))),
        ("Access-Control-Allow-Origin: https://a.test", "Access-Control-Max-Age: 5"),
        {"Access-Control-Allow-Origin: *", "Access-Control-Max-Age: 5"}),
    "4.8 nothing to say": (policy(cors=Cors(("https://b.test",), (), ("GET",))), ("B: 3",), {"B: 3"}),
}  # fmt: skip


@pytest.mark.parametrize(("dress", "received", "expected"), CASES.values(), ids=CASES.keys())
def test_an_answers_fields(dress: ResponsePolicy, received: tuple[str, ...], expected: set[str]) -> None:
    made = with_policy(dress, request("Origin: https://a.test"), fields(*received), NOW)
    assert {f"{name.decode()}: {value.decode()}" for name, value in made} == expected
    assert len(made) == len(expected)


@pytest.mark.parametrize(
    ("timing", "pragma", "chance", "timed"),
    [
        (None, "server-timing", 0.0, False),
        (0.0, "", 0.0, False),
        (0.0, "no-cache, Server-Timing", 0.99, True),
        (100.0, "", 0.999, True),
        (50.0, "", 0.49, True),
        (50.0, "", 0.5, False),
    ],
)
def test_2_7_sampling(timing: float | None, pragma: str, chance: float, timed: bool) -> None:
    lines = (f"Pragma: {pragma}",) if pragma else ()
    assert is_timed(policy(timing=timing), request(*lines), chance) is timed


def story(result: Result, layer: Layer = Layer.EDGE, upstream: tuple[float, float] | None = None) -> Story:
    return Story(result, layer, "FRA50-P1", "rid==", 0.0126, upstream)


TOLD = [
    (
        story(Result.MISS, Layer.REC, (0.069, 0.562)),
        'cdn-upstream-layer;desc="REC",cdn-upstream-dns;dur=0,cdn-upstream-connect;dur=69,cdn-upstream-fbl;dur=562,'
        'cdn-cache-miss,cdn-pop;desc="FRA50-P1",cdn-rid;desc="rid==",cdn-downstream-fbl;dur=13',
    ),
    (
        story(Result.HIT, Layer.SHIELD),
        'cdn-cache-hit,cdn-pop;desc="FRA50-P1",cdn-rid;desc="rid==",cdn-hit-layer;desc="Origin Shield",'
        "cdn-downstream-fbl;dur=13",
    ),
    (
        story(Result.REFRESH_HIT),
        'cdn-upstream-layer;desc="EDGE",cdn-upstream-dns;dur=0,cdn-upstream-connect;dur=0,cdn-upstream-fbl;dur=0,'
        'cdn-cache-refresh,cdn-pop;desc="FRA50-P1",cdn-rid;desc="rid==",cdn-downstream-fbl;dur=13',
    ),
]


@pytest.mark.parametrize(("each", "text"), TOLD)
def test_2_7_metrics_in_cloudfronts_order(each: Story, text: str) -> None:
    assert server_timing(each) == text.encode()


def test_2_7_an_origins_own_metrics_go_along_on_a_miss_alone() -> None:
    received = fields("Server-Timing: db;dur=5", "B: 1")
    miss, hit = (with_timing(received, story(result)) for result in (Result.MISS, Result.HIT))
    assert (miss.get(b"server-timing") or b"").startswith(b"db;dur=5,cdn-upstream-layer")
    assert (hit.get(b"server-timing") or b"").startswith(b"cdn-cache-hit,")
    assert len(miss.all(b"server-timing")) == len(hit.all(b"server-timing")) == 1
