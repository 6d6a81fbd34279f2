"""rules/overlay.py: the fact sheet's tables, row by row (sections 2.4, 2.5, 2.6, 3)."""

from __future__ import annotations

import pytest

from edgeproxy.outcome import Reason
from edgeproxy.rules import overlay
from edgeproxy.rules.cachecontrol import directives
from tests.messages import cloudfront, fields

AT_WILL = cloudfront(0, 100, 1000)
AT_LEAST_10 = cloudfront(10, 100, 1000)


@pytest.mark.parametrize(
    ("told", "value", "at_will", "at_least_10"),
    [
        (50.0, "max-age=50", 50, 50),
        (5.0, "s-maxage=5", 5, 10),
        (0.0, "max-age=0", 0, 10),
        (5000.0, "max-age=5000", 1000, 1000),
        (None, "", 100, 100),
        (None, "public", 100, 100),
        (None, "no-cache", 0, 10),
        (None, "no-store", 0, 10),
        (None, "private", 0, 10),
        (50.0, "max-age=50, no-store", 0, 10),
        (50.0, 'max-age=50, private="x"', 0, 10),
    ],
)
def test_3_the_ttl_table(told: float | None, value: str, at_will: float, at_least_10: float) -> None:
    said = directives(fields(f"Cache-Control: {value}"))
    assert overlay.lifetime(200, told, said, AT_WILL) == at_will
    assert overlay.lifetime(301, told, said, AT_LEAST_10) == at_least_10


def test_3_default_below_minimum_gives_the_minimum() -> None:
    assert overlay.lifetime(200, None, directives(fields()), cloudfront(10, 2, 1000)) == 10


@pytest.mark.parametrize(
    ("told", "value", "seconds"),
    [(None, "", 10), (5.0, "max-age=5", 10), (50.0, "max-age=50", 50), (5000.0, "max-age=5000", 1000),
     (50.0, "max-age=50, no-store", 10), (0.0, "max-age=0", 10)],
)  # fmt: skip
def test_2_5_an_error_lives_for_the_larger_of_its_own_and_the_minimum(
    told: float | None, value: str, seconds: float
) -> None:
    assert overlay.lifetime(500, told, directives(fields(f"Cache-Control: {value}")), AT_WILL) == seconds


def test_2_5_the_minimum_for_an_error_is_set_by_status() -> None:
    caching = cloudfront(error_ttl={404: 300, 503: 0})
    said = directives(fields())
    assert [overlay.lifetime(status, None, said, caching) for status in (404, 502, 503)] == [300, 10, 0]


STORED = None


@pytest.mark.parametrize(
    ("status", "value", "at_will", "at_least_10"),
    [
        (200, None, STORED, STORED),
        (301, "", STORED, STORED),
        (302, None, STORED, STORED),
        (307, None, Reason.STATUS, Reason.STATUS),
        (308, None, Reason.STATUS, Reason.STATUS),
        (307, "max-age=5", STORED, STORED),
        (308, "x", STORED, STORED),
        (200, "no-store", Reason.NO_STORE, STORED),
        (200, "private", Reason.PRIVATE, STORED),
        (200, "no-cache", STORED, STORED),
        (200, "no-cache, no-store", Reason.NO_STORE, STORED),
        *((status, None, STORED, STORED) for status in (404, 410, 414, 500, 501, 502, 503, 504)),
        *((status, None, Reason.STATUS, Reason.STATUS) for status in (400, 403, 405, 412, 415)),
        *((status, "max-age=5", STORED, STORED) for status in (400, 403, 405, 412, 415)),
        (403, "s-maxage=5", STORED, STORED),
        (403, "no-store", Reason.STATUS, Reason.STATUS),
        (403, "max-age=5, no-store", STORED, STORED),
        *((status, "max-age=5", Reason.STATUS, Reason.STATUS) for status in (401, 402, 416, 429, 505, 599)),
        *((status, "no-store", Reason.NO_STORE, Reason.NO_STORE) for status in (404, 410, 414, 501)),
        (404, "private", Reason.PRIVATE, Reason.PRIVATE),
        (404, "no-cache", Reason.REVALIDATE_ALWAYS, Reason.REVALIDATE_ALWAYS),
        *((status, "no-store", STORED, STORED) for status in (500, 502, 503, 504)),
    ],
)
def test_2_5_what_is_stored(status: int, value: str | None, at_will: Reason | None, at_least_10: Reason | None) -> None:
    said = directives(fields(*([f"Cache-Control: {value}"] if value is not None else [])))
    assert overlay.refusal(status, said, value is not None, AT_WILL) is at_will
    assert overlay.refusal(status, said, value is not None, AT_LEAST_10) is at_least_10
    assert overlay.refusal(status, said, value is not None, cloudfront(0, 0, 0)) is Reason.DYNAMIC


@pytest.mark.parametrize(
    ("status", "value", "at_will", "at_least_10"),
    [
        (200, "", True, True),
        (200, "max-age=1", True, True),
        (200, "stale-if-error=0", False, False),
        (200, "stale-if-error=59", False, False),
        (200, "stale-if-error=60", True, True),
        (200, "no-cache", False, True),
        (301, "private", False, True),
        (404, "", False, False),
        (500, "", False, False),
    ],
)
def test_2_6_what_stands_in_60_seconds_after_it_expired(
    status: int, value: str, at_will: bool, at_least_10: bool
) -> None:
    said = directives(fields(f"Cache-Control: {value}"))
    assert overlay.stale_allowed(status, said, 60, AT_WILL) is at_will
    assert overlay.stale_allowed(status, said, 60, AT_LEAST_10) is at_least_10


def test_2_6_stale_use_ends_max_ttl_after_storage() -> None:
    assert overlay.stale_end(5000, AT_WILL) == 6000


@pytest.mark.parametrize(
    ("status", "value", "seconds"),
    [(404, "no-store", 0), (501, "private, max-age=60", 0), (404, "max-age=60", 60), (500, "no-store", 10)],
)
def test_2_5_an_error_that_withholds_itself_has_no_lifetime(status: int, value: str, seconds: float) -> None:
    said = directives(fields(f"Cache-Control: {value}"))
    told = None if said.seconds(b"max-age") is None else 60.0
    assert overlay.lifetime(status, told, said, cloudfront()) == seconds
