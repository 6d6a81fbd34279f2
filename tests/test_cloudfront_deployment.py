"""cloudfront/deployment.py: who serves a viewer, primary or staging (fact sheet 11)."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from edgeproxy.cloudfront.deployment import (
    SESSION_COOKIE,
    SKEW,
    Chosen,
    choose,
    read_deployment,
    without_session,
)
from edgeproxy.headers import Headers
from edgeproxy.model import Deployment

NOW = 1_800_000_000.75
REVISION = "0123456789abcdef"
BY_HEADER = Deployment("e2", REVISION, (b"aws-cf-cd-staging", b"yes"))
BY_WEIGHT = Deployment("e2", REVISION, None, 0.1)
STICKY = Deployment("e2", REVISION, None, 0.1, 300, 600)


def session(side: str, started: float, seen: float, revision: str = REVISION) -> bytes:
    return SESSION_COOKIE + f"={revision}.{side}.{int(started)}.{int(seen)}".encode()


@pytest.mark.parametrize(
    ("fields", "staging"),
    [
        ([], False),
        ([(b"Aws-Cf-Cd-Staging", b"yes")], True),
        ([(b"aws-cf-cd-staging", b"Yes")], False),
        ([(b"aws-cf-cd-staging", b"yes, yes")], False),
        ([(b"aws-cf-cd-staging", b"yes"), (b"aws-cf-cd-staging", b"no")], False),
        ([(b"aws-cf-cd-other", b"yes")], False),
    ],
)
def test_the_header_decides_by_its_exact_value(fields: list[tuple[bytes, bytes]], staging: bool) -> None:
    assert choose(BY_HEADER, Headers(fields), NOW, 0.0) == Chosen(staging, "header")


@pytest.mark.parametrize(("draw", "staging"), [(0.0, True), (0.0999, True), (0.1, False), (0.9999, False)])
def test_the_weight_is_a_share_of_the_viewers(draw: float, staging: bool) -> None:
    assert choose(BY_WEIGHT, Headers(), NOW, draw) == Chosen(staging, "weight")
    chosen = choose(STICKY, Headers(), NOW, draw)
    assert (chosen.staging, chosen.why) == (staging, "weight")
    assert chosen.cookie == session("s" if staging else "p", NOW, NOW) + b"; Path=/; Max-Age=300; HttpOnly"


def test_nobody_is_sent_to_staging_by_a_weight_of_nothing() -> None:
    assert not choose(Deployment("e2", REVISION, None, 0.0), Headers(), NOW, 0.0).staging


@pytest.mark.parametrize(
    ("cookie", "goes_on"),
    [
        (session("s", NOW - 100, NOW - 100), True),
        (b"a=1; " + session("s", NOW - 599, NOW - 1) + b"; b=2", True),
        (session("s", NOW - 299, NOW - 299), True),
        (session("s", NOW - 301, NOW - 301), False),  # idle for too long
        (session("s", NOW - 600, NOW - 1), False),  # over
        (session("s", NOW + SKEW, NOW + SKEW), True),  # another node's clock
        (session("s", NOW + SKEW + 1, NOW), False),  # forged, to last longer
        (session("s", NOW, NOW + SKEW + 1), False),
        (session("s", NOW, NOW, "f" * 16), False),  # the policy has changed
        (session("x", NOW, NOW), False),
        (SESSION_COOKIE, False),
        (b"x" + session("s", NOW, NOW), False),
        (b"%b=%b.s.%b.1" % (SESSION_COOKIE, REVISION.encode(), b"9" * 5000), False),
        (session("s", NOW, NOW, "f" * 16) + b"; " + session("s", NOW, NOW), True),
    ],
)
def test_a_session_stays_where_it_is_until_it_is_over(cookie: bytes, goes_on: bool) -> None:
    chosen = choose(STICKY, Headers([(b"Cookie", cookie)]), NOW, 0.5)
    assert (chosen.staging, chosen.why) == ((True, "session") if goes_on else (False, "weight"))
    assert chosen.cookie is not None
    kept = choose(STICKY, Headers([(b"Cookie", chosen.cookie.partition(b";")[0])]), NOW, 0.0)
    assert (kept.staging, kept.why) == (goes_on, "session")


def test_a_session_is_prolonged_and_never_beyond_its_end() -> None:
    for age, lasts in ((100, 300), (250, 300), (450, 149), (599, 0)):
        chosen = choose(STICKY, Headers([(b"Cookie", session("p", NOW - age, NOW - 10))]), NOW, 0.0)
        assert chosen.cookie is not None
        assert chosen.cookie.startswith(session("p", NOW - age, NOW))
        assert f"; Max-Age={lasts};".encode() in chosen.cookie


def test_a_session_counts_only_where_sessions_are_kept() -> None:
    fields = Headers([(b"Cookie", session("s", NOW, NOW))])
    assert choose(BY_WEIGHT, fields, NOW, 0.5) == Chosen(False, "weight")
    assert choose(BY_HEADER, fields, NOW, 0.5) == Chosen(False, "header")


@pytest.mark.parametrize(
    ("cookies", "left"),
    [
        ([], []),
        ([b"a=1;b=2"], [b"a=1;b=2"]),
        ([session("s", NOW, NOW)], []),
        ([b"a=1; " + session("s", NOW, NOW) + b"; b=2"], [b"a=1; b=2"]),
        ([b"a=1", session("s", NOW, NOW)], [b"a=1"]),
    ],
)
def test_the_cookie_goes_no_further(cookies: list[bytes], left: list[bytes]) -> None:
    fields = Headers([(b"Host", b"a"), *((b"Cookie", each) for each in cookies)])
    assert list(without_session(fields)) == [(b"Host", b"a"), *((b"Cookie", each) for each in left)]


# The policy as nodes hear of it ---------------------------------------------------------------------------------------


def told(traffic: dict[str, Any], *, enabled: bool = True, etag: str = "E1") -> dict[str, Any]:
    names = {"Quantity": 1, "Items": ["e2abc.edge.localhost"]}
    config = {"StagingDistributionDnsNames": names, "Enabled": enabled, "TrafficConfig": traffic}
    return {"ContinuousDeploymentPolicy": {"Id": "p", "ETag": etag, "ContinuousDeploymentPolicyConfig": config}}


HEADER = {"Type": "SingleHeader", "SingleHeaderConfig": {"Header": "aws-cf-cd-Staging", "Value": "Yes"}}
WEIGHT: dict[str, Any] = {"Type": "SingleWeight", "SingleWeightConfig": {"Weight": 0.15}}
SESSIONS = copy.deepcopy(WEIGHT)
SESSIONS["SingleWeightConfig"]["SessionStickinessConfig"] = {"IdleTTL": 300, "MaximumTTL": 3600}


def test_a_policy_is_read() -> None:
    other = {"CachePolicy": {"Id": "p"}}
    for traffic, expected in (
        (HEADER, ((b"aws-cf-cd-staging", b"Yes"), 0, 0, 0)),
        (WEIGHT, (None, 0.15, 0, 0)),
        (SESSIONS, (None, 0.15, 300, 3600)),
    ):
        read = read_deployment("p", [other, told(traffic)])
        assert read is not None
        assert (read.staging, read.header, read.weight, read.idle, read.maximum) == ("e2abc", *expected)


def test_none_that_is_not_named_not_told_or_not_enabled() -> None:
    assert read_deployment("", [told(WEIGHT)]) is None
    assert read_deployment("q", [told(WEIGHT)]) is None
    assert read_deployment("p", []) is None
    assert read_deployment("p", [told(WEIGHT, enabled=False)]) is None


def test_turned_off_and_on_again_it_is_another_revision() -> None:
    first, same, again = (read_deployment("p", [told(SESSIONS, etag=etag)]) for etag in ("E1", "E1", "E2"))
    assert first == same
    assert first is not None
    assert again is not None
    assert first.revision != again.revision


def test_one_that_cannot_be_read_is_told_of() -> None:
    for broken in ({"Type": "Other"}, {}, None):
        with pytest.raises(ValueError, match="policy p cannot be read"):
            read_deployment("p", [told(broken)])  # type: ignore[arg-type]  # what a later version may send
