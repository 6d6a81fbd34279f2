"""edge/failures.py: how long a failure is remembered, and for whom (fact sheet 2.5, 2.6)."""

from __future__ import annotations

from edgeproxy.edge.failures import FAILURES_MAX, Failures
from edgeproxy.errors import OriginError, OriginTimeout
from edgeproxy.model import NO_EPOCH, AsOf
from tests.messages import cloudfront

HERE = AsOf(NO_EPOCH, 7)
CACHING = cloudfront(error_ttl={504: 30.0, 502: 0.0})


def made() -> tuple[Failures, list[float]]:
    now = [1000.0]
    return Failures(lambda: now[0]), now


def test_2_5_for_the_time_set_for_its_status() -> None:
    failures, now = made()
    failures.remember(b"k", OriginTimeout(""), HERE, 1, CACHING, covered=False)
    found = failures.find(b"k", 1)
    assert found is not None
    assert (found.status, found.as_of, found.covered) == (504, HERE, False)
    assert isinstance(found.error(), OriginTimeout)
    assert found.error() is not found.error()
    now[0] += 29.9
    assert failures.find(b"k", 1) is not None
    now[0] += 0.2
    assert failures.find(b"k", 1) is None


def test_2_5_zero_is_not_at_all_and_ten_seconds_the_default() -> None:
    failures, now = made()
    failures.remember(b"a", OriginError(""), HERE, 1, CACHING, covered=False)
    failures.remember(b"b", OriginError("", status=500), HERE, 1, CACHING, covered=True)
    assert failures.find(b"a", 1) is None
    now[0] += 9
    assert failures.find(b"b", 1) is not None
    now[0] += 2
    assert failures.find(b"b", 1) is None


def test_a_change_ends_it() -> None:
    failures, _ = made()
    failures.remember(b"k", OriginTimeout(""), HERE, 1, CACHING, covered=False)
    assert failures.find(b"k", 2) is None
    assert failures.find(b"other", 1) is None


def test_there_are_never_too_many() -> None:
    failures, _ = made()
    for number in range(FAILURES_MAX + 10):
        failures.remember(b"%d" % number, OriginTimeout(""), HERE, 1, CACHING, covered=False)
    assert failures.find(b"0", 1) is None
    assert failures.find(b"%d" % FAILURES_MAX, 1) is not None
