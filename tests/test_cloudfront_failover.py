"""cloudfront/failover.py: when the second member of a group is asked (fact sheet 5.6)."""

from __future__ import annotations

import pytest

from edgeproxy.cloudfront.failover import second_origin, stands_for
from edgeproxy.errors import Detail, OriginError, OriginInvalid, OriginTimeout, OriginUnreachable
from edgeproxy.model import Behavior, Failover
from tests.messages import request

SECOND = Failover("spare", frozenset({503}))


@pytest.mark.parametrize(
    ("method", "cached", "covered"),
    [
        ("GET", {"GET", "HEAD"}, True),
        ("HEAD", {"GET", "HEAD"}, True),
        ("OPTIONS", {"GET", "HEAD"}, False),
        ("OPTIONS", {"GET", "HEAD", "OPTIONS"}, True),
        ("POST", {"GET", "HEAD", "OPTIONS"}, False),
        ("DELETE", {"GET", "HEAD", "OPTIONS"}, False),
    ],
)
def test_5_6_methods(method: str, cached: set[str], covered: bool) -> None:
    behavior = Behavior("*", "o", cached_methods=frozenset(cached), failover=SECOND)
    assert second_origin(request(method=method), behavior) == (SECOND if covered else None)


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (OriginUnreachable(""), 503),
        (OriginUnreachable("", detail=Detail.ORIGIN_DNS), 503),
        (OriginTimeout("", detail=Detail.ORIGIN_CONNECT), 504),
        (OriginTimeout(""), 504),
        (OriginInvalid(""), 502),
        (OriginError(""), 502),
    ],
)
def test_5_6_what_a_failure_counts_as(error: OriginError, status: int) -> None:
    assert stands_for(error) == status
