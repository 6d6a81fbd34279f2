"""rules/lookup.py: what is decided for a request, given what is stored (RFC 9111 section 4; fact sheet 2.6)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeproxy.model import Caching
from edgeproxy.outcome import Bypass, Fetch, Reason, Revalidate, Serve, ServeStale, StoredHead, Unsatisfiable
from edgeproxy.rules.lookup import (
    asks_for_itself,
    collapses,
    decide,
    is_failure,
    matches,
    reusable,
    stale_allowed,
)
from edgeproxy.rules.storing import refusal, stored_head
from edgeproxy.rules.validation import freshened
from tests.messages import HERE, NOW, PLAIN, cloudfront, request, response, stored

TAG = 'ETag: "1"'


def decided(*asked: str, method: str = "GET", kept: StoredHead, caching: Caching = PLAIN) -> object:
    return decide(request(*asked, method=method), [kept], caching, NOW)


def test_4_nothing_stored() -> None:
    assert decide(request(), [], PLAIN, NOW) == Fetch(Reason.URI_MISS)


@pytest.mark.parametrize(
    ("value", "age", "decision"),
    [
        ("max-age=60", 0, Serve),
        ("max-age=60", 59, Serve),
        ("max-age=60", 60, Reason.STALE),
        ("max-age=0", 0, Reason.STALE),
        ("no-cache, max-age=60", 0, Reason.REVALIDATE_ALWAYS),
        ('no-cache="x", max-age=60', 0, Serve),
        ('no-cache="etag", max-age=60', 0, Reason.REVALIDATE_ALWAYS),
        ("must-revalidate, max-age=60", 59, Serve),
        ("max-age=60, stale-while-revalidate=10", 59, Serve),
        ("max-age=60, stale-while-revalidate=10", 60, ServeStale),
        ("max-age=60, stale-while-revalidate=10", 70, ServeStale),
        ("max-age=60, stale-while-revalidate=10", 71, Reason.STALE),
        ("max-age=60, stale-while-revalidate", 60, ServeStale),
        ("max-age=60, stale-while-revalidate=x", 61, Reason.STALE),
        ("max-age=60, stale-while-revalidate=10, must-revalidate", 65, Reason.STALE),
        ("max-age=60, stale-while-revalidate=10, proxy-revalidate", 65, Reason.STALE),
        ("s-maxage=60, stale-while-revalidate=10", 65, Reason.STALE),
        ("no-cache, max-age=60, stale-while-revalidate=99", 65, Reason.REVALIDATE_ALWAYS),
    ],
)
def test_4_2_one_stored_response(value: str, age: float, decision: object) -> None:
    kept = stored(f"Cache-Control: {value}", TAG, age=age)
    made = decided(kept=kept)
    if isinstance(decision, Reason):
        assert isinstance(made, Revalidate)
        assert (made.stored, made.reason) == (kept, decision)
    else:
        assert isinstance(made, Serve | ServeStale)
        assert (type(made), made.stored, made.age) == (decision, kept, age)


@pytest.mark.parametrize(
    ("asked", "value", "age", "decision"),
    [
        ("max-age=10", "max-age=60", 10, Serve),
        ("max-age=10", "max-age=60", 11, Reason.REQUEST),
        ("max-age=x", "max-age=60", 1, Reason.REQUEST),
        ("min-fresh=10", "max-age=60", 50, Serve),
        ("min-fresh=10", "max-age=60", 51, Reason.REQUEST),
        ("no-cache", "max-age=60", 0, Reason.REQUEST),
        ("no-store", "max-age=60", 0, Serve),
        ("max-stale", "max-age=60", 5000, ServeStale),
        ("max-stale=10", "max-age=60", 70, ServeStale),
        ("max-stale=10", "max-age=60", 71, Reason.STALE),
        ("max-stale=x", "max-age=60", 61, Reason.STALE),
        ("max-stale=10", "max-age=60", 0, Serve),
        ("max-stale", "max-age=60, must-revalidate", 61, Reason.STALE),
        ("max-stale", "max-age=60, proxy-revalidate", 61, Reason.STALE),
        ("max-stale", "s-maxage=60", 61, Reason.STALE),
        ("max-stale", "no-cache, max-age=60", 61, Reason.REVALIDATE_ALWAYS),
        ("max-stale, max-age=10", "max-age=60", 61, Reason.REQUEST),
        ("max-stale, no-cache", "max-age=60", 61, Reason.REQUEST),
    ],
)
def test_5_2_1_what_the_request_asks_for(asked: str, value: str, age: float, decision: object) -> None:
    made = decided(f"Cache-Control: {asked}", kept=stored(f"Cache-Control: {value}", TAG, age=age))
    if isinstance(decision, Reason):
        assert isinstance(made, Revalidate)
        assert made.reason is decision
    else:
        assert type(made) is decision


def test_5_4_pragma() -> None:
    kept = stored("Cache-Control: max-age=60", TAG)
    assert decided("Pragma: no-cache", kept=kept) == Revalidate(kept, Reason.REQUEST, stale_if_error=False)


def test_5_2_1_7_only_if_cached_is_served_or_nothing() -> None:
    fresh, old = stored("Cache-Control: max-age=60", TAG), stored("Cache-Control: max-age=1", TAG, age=9)
    swr = stored("Cache-Control: max-age=1, stale-while-revalidate=60", TAG, age=9)
    assert decided("Cache-Control: only-if-cached", kept=fresh) == Serve(fresh, 0)
    assert decided("Cache-Control: only-if-cached", kept=swr) == ServeStale(swr, 9)
    assert decided("Cache-Control: only-if-cached", kept=old) == Unsatisfiable(Reason.STALE)
    assert decide(request("Cache-Control: only-if-cached"), [], PLAIN, NOW) == Unsatisfiable(Reason.URI_MISS)
    assert decide(request("Cache-Control: only-if-cached"), [], cloudfront(), NOW) == Fetch(Reason.URI_MISS)


def test_4_3_2_conditions_on_the_origin_s_state_go_to_the_origin() -> None:
    kept = stored("Cache-Control: max-age=60", TAG)
    assert decided('If-Match: "1"', kept=kept) == Bypass(Reason.CONDITION)
    assert decided("If-Unmodified-Since: {+0}", kept=kept) == Bypass(Reason.CONDITION)
    assert decided('If-Match: "1"', kept=kept, caching=cloudfront()) == Serve(kept, 0)
    only = "Cache-Control: only-if-cached"
    assert decided('If-Match: "1"', only, kept=kept) == Unsatisfiable(Reason.CONDITION)


def test_without_a_validator_it_is_fetched_anew_and_the_old_one_is_kept_for_need() -> None:
    kept = stored("Cache-Control: max-age=1", age=9)
    assert decided(kept=kept) == Fetch(Reason.STALE, kept)
    bound = stored("Cache-Control: max-age=1, must-revalidate", age=9)
    assert decided(kept=bound) == Fetch(Reason.STALE, None)
    assert decided("Cache-Control: no-cache", kept=kept) == Fetch(Reason.REQUEST, None)


@pytest.mark.parametrize(("method", "decision"), [("GET", Fetch), ("HEAD", Serve)])
def test_4_what_answered_a_head_answers_only_heads(method: str, decision: type) -> None:
    kept = stored("Cache-Control: max-age=60", asked=request(method="HEAD"))
    assert type(decided(method=method, kept=kept)) is decision


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_4_what_answered_a_get_or_a_post_answers_both(method: str) -> None:
    for origin_method in ("GET", "POST"):
        kept = stored("Cache-Control: max-age=60", asked=request(method=origin_method))
        assert decided(method=method, kept=kept) == Serve(kept, 0)


def test_4_1_variants_lie_side_by_side() -> None:
    german = stored("Cache-Control: max-age=60", "Vary: Accept-Language", asked=request("Accept-Language: de"))
    french = stored("Cache-Control: max-age=60", "Vary: Accept-Language", asked=request("Accept-Language: fr"))
    for language, kept in (("DE", german), ("fr", french)):
        assert decide(request(f"Accept-Language: {language}"), [german, french], PLAIN, NOW) == Serve(kept, 0)
    assert decide(request("Accept-Language: it"), [german, french], PLAIN, NOW) == Fetch(Reason.VARY_MISS)
    assert decide(request(), [german, french], PLAIN, NOW) == Fetch(Reason.VARY_MISS)


def test_2_1_cloudfront_does_not_vary_beyond_the_key() -> None:
    kept = stored("Cache-Control: max-age=60", "Vary: Accept-Language", asked=request("Accept-Language: de"))
    assert matches(kept, request("Accept-Language: fr"), cloudfront())
    assert not matches(kept, request("Accept-Language: fr"), PLAIN)


def test_4_the_most_recent_by_date_counts_although_it_is_stale() -> None:
    older = stored("Cache-Control: max-age=600", "Date: {-50}", TAG)
    newer = stored("Cache-Control: max-age=1", "Date: {-9}", TAG, age=9)
    made = decide(request(), [newer, older], PLAIN, NOW)
    assert isinstance(made, Revalidate)
    assert made.stored is newer


def test_of_the_same_date_the_later_arrival_counts() -> None:
    one = stored("Cache-Control: max-age=600", "Date: {-50}", age=50)
    other = stored("Cache-Control: max-age=600", "Date: {-50}", age=40)
    assert decide(request(), [other, one], PLAIN, NOW) == Serve(other, 50)


@pytest.mark.parametrize(
    ("asked", "decision"),
    [
        (["Range: bytes=2-4"], Serve),
        (["Range: bytes=3-3"], Serve),
        (["Range: bytes=20-"], Serve),  # 416, which needs no byte
        (["Range: bytes=2-5"], Reason.PARTIAL),
        (["Range: bytes=2-4", 'If-Range: "other"'], Reason.PARTIAL),
        ([], Reason.PARTIAL),
    ],
)
def test_3_3_an_incomplete_response_answers_what_it_holds(asked: list[str], decision: object) -> None:
    kept = stored("Cache-Control: max-age=60", "Content-Range: bytes 2-4/10", TAG, status=206)
    made = decided(*asked, kept=kept)
    assert made == (Serve(kept, 0) if decision is Serve else Fetch(Reason.PARTIAL, partial=kept))
    assert decided(method="HEAD", kept=kept) == Serve(kept, 0)


def test_3_3_a_stale_incomplete_response_is_validated_for_what_it_holds_only() -> None:
    kept = stored("Cache-Control: max-age=1", "Content-Range: bytes 2-4/10", TAG, status=206, age=9)
    assert decided("Range: bytes=2-4", kept=kept) == Revalidate(kept, Reason.STALE, stale_if_error=True)
    assert decided("Range: bytes=0-4", kept=kept) == Fetch(Reason.STALE, partial=kept)


@pytest.mark.parametrize(("lines", "asked"), [(['ETag: W/"1"'], []), ([], []), ([TAG], ["Cache-Control: no-cache"])])
def test_3_4_what_nothing_may_be_added_to_is_fetched_anew(lines: list[str], asked: list[str]) -> None:
    kept = stored("Cache-Control: max-age=60", "Content-Range: bytes 2-4/10", *lines, status=206)
    assert decided(*asked, kept=kept) == Fetch(Reason.REQUEST if asked else Reason.PARTIAL)


@pytest.mark.parametrize(("value", "reason"), [("no-store", Reason.NO_STORE), ("private", Reason.PRIVATE)])
def test_a_304_that_forbids_storing_ends_the_use_of_what_is_stored(value: str, reason: Reason) -> None:
    kept = stored("Cache-Control: max-age=60", TAG)
    told = response(f"Cache-Control: {value}, max-age=60", TAG, status=304)
    after = freshened(kept, told, requested_at=NOW, received_at=NOW, as_of=HERE)
    assert decided(kept=after) == Fetch(reason)
    assert not stale_allowed(after, PLAIN, NOW, error=False)


@pytest.mark.parametrize(
    ("value", "age", "error", "silence"),
    [
        ("max-age=60", 30, True, True),
        ("max-age=60, must-revalidate", 30, True, True),
        ("max-age=60", 90, False, True),
        ("max-age=60, stale-if-error=30", 90, True, True),
        ("max-age=60, stale-if-error=29", 90, False, False),
        ("max-age=60, stale-if-error=0", 61, False, False),
        ("max-age=60, must-revalidate", 90, False, False),
        ("max-age=60, proxy-revalidate", 90, False, False),
        ("s-maxage=60", 90, False, False),
        ("no-cache, max-age=60", 30, False, False),
        ("max-age=60, must-revalidate, stale-if-error=60", 90, False, False),
    ],
)
def test_4_2_4_what_may_stand_in_for_an_error_and_for_silence(
    value: str, age: float, error: bool, silence: bool
) -> None:
    kept = stored(f"Cache-Control: {value}", TAG, age=age)
    assert stale_allowed(kept, PLAIN, NOW, error=True) is error
    assert stale_allowed(kept, PLAIN, NOW, error=False) is silence
    made = decided(kept=kept)
    if isinstance(made, Revalidate):
        assert made.stale_if_error is silence


def test_5861_the_request_may_allow_stale_too() -> None:
    kept = stored("Cache-Control: max-age=60", TAG, age=90)
    assert stale_allowed(kept, PLAIN, NOW, error=True, request=request("Cache-Control: stale-if-error=30"))
    assert not stale_allowed(kept, PLAIN, NOW, error=True, request=request("Cache-Control: stale-if-error=29"))
    assert not stale_allowed(kept, PLAIN, NOW, error=True, request=request())


@pytest.mark.parametrize(
    ("status", "plain", "overlaid"),
    [(500, True, True), (501, False, True), (502, True, True), (503, True, True), (504, True, True),
     (505, False, True), (599, False, True), (404, False, False), (429, False, False), (200, False, False)],
)  # fmt: skip
def test_which_statuses_are_failures(status: int, plain: bool, overlaid: bool) -> None:
    assert is_failure(status, PLAIN) is plain
    assert is_failure(status, cloudfront()) is overlaid


@pytest.mark.parametrize(
    ("value", "caching", "age", "decision"),
    [
        ("max-age=60", cloudfront(), 59, Serve),
        ("max-age=60", cloudfront(), 60, Revalidate),
        ("max-age=60", cloudfront(100), 99, Serve),
        ("", cloudfront(), 86_399, Serve),
        ("", cloudfront(), 86_400, Revalidate),
        ("no-cache", cloudfront(), 0, Revalidate),
        ("no-cache", cloudfront(10), 9, Serve),
        ("no-store", cloudfront(10), 9, Serve),
        ("max-age=60", cloudfront(forwards_cookies=True), 60, Fetch),
        ("max-age=60, stale-while-revalidate=10", cloudfront(), 70, ServeStale),
        ("max-age=60, stale-while-revalidate=10", cloudfront(), 71, Revalidate),
        ("max-age=60, stale-while-revalidate=900", cloudfront(0, 0, 100), 99, ServeStale),
        ("max-age=60, stale-while-revalidate=900", cloudfront(0, 0, 100), 100, Revalidate),
        ("max-age=60, s-maxage=60, stale-while-revalidate=10", cloudfront(), 70, ServeStale),
        ("no-cache, stale-while-revalidate=900", cloudfront(), 5, Revalidate),
        ("no-cache, stale-while-revalidate=900", cloudfront(1), 5, ServeStale),
    ],
)
def test_cloudfront_decides_by_its_tables(value: str, caching: Caching, age: float, decision: type) -> None:
    asked = "Cache-Control: no-cache, max-age=0"  # which changes nothing (fact sheet 1.5)
    kept = stored(f"Cache-Control: {value}", TAG, age=age)
    assert type(decided(asked, kept=kept, caching=caching)) is decision


@pytest.mark.parametrize(
    ("lines", "status", "caching", "age", "allowed"),
    [
        (["Cache-Control: max-age=60"], 200, cloudfront(), 5000, True),
        (["Cache-Control: max-age=60, must-revalidate"], 200, cloudfront(), 5000, True),
        (["Cache-Control: max-age=60"], 200, cloudfront(0, 0, 100), 99, True),
        (["Cache-Control: max-age=60"], 200, cloudfront(0, 0, 100), 100, False),
        (["Cache-Control: max-age=60, stale-if-error=5"], 200, cloudfront(), 65, True),
        (["Cache-Control: max-age=60, stale-if-error=5"], 200, cloudfront(), 66, False),
        (["Cache-Control: max-age=60, stale-if-error=0"], 200, cloudfront(), 61, False),
        (["Cache-Control: no-cache"], 200, cloudfront(), 5, False),
        (["Cache-Control: no-cache"], 200, cloudfront(1), 5, True),
        ([], 404, cloudfront(), 50, False),
    ],
)
def test_2_6_stale_by_cloudfront_s_table(
    lines: list[str], status: int, caching: Caching, age: float, allowed: bool
) -> None:
    kept = stored(*lines, status=status, age=age)
    assert stale_allowed(kept, caching, NOW, error=True) is allowed
    assert stale_allowed(kept, caching, NOW, error=False) is allowed


values = st.lists(
    st.sampled_from(
        ["max-age=60", "max-age=0", "s-maxage=60", "no-store", "private", "no-cache", "public", "must-revalidate",
         'private="x"', "must-understand", "stale-while-revalidate=9", "stale-if-error=9", 'a="', "no-store=1"]
    ), max_size=4,
).map(", ".join)  # fmt: skip
lines = st.lists(
    st.sampled_from(["Vary: *", "Vary: x", 'ETag: "1"', "Last-Modified: {-1000}", "Expires: {+50}", "Age: 20", "X: 1"])
)


@given(
    value=values, more=lines, status=st.sampled_from([200, 206, 302, 404, 416, 500, 599]), targeted=st.booleans(),
    asked=st.lists(
        st.sampled_from(["Authorization: x", "X: 1", "Cache-Control: max-stale", "Cache-Control: no-store"])
    ),
    age=st.integers(0, 90), minimum=st.sampled_from([None, 0, 10]),
)  # fmt: skip
def test_what_storing_refuses_for_its_directives_is_never_served(
    value: str, more: list[str], status: int, targeted: bool, asked: list[str], age: int, minimum: int | None
) -> None:
    """Had it been stored by mistake, it would still not be served; and what is served, storing would let pass."""
    caching = PLAIN if minimum is None else cloudfront(minimum)
    name = "CDN-Cache-Control" if targeted else "Cache-Control"
    answer = response(f"{name}: {value}", *more, status=status)
    refused = refusal(request(*asked), answer, caching, NOW - age)
    kept = stored_head(request(*asked), answer, requested_at=NOW - age, received_at=NOW - age, as_of=HERE)
    decision = decide(request(*asked), [kept], caching, NOW)
    by_response = refused in (Reason.NO_STORE, Reason.PRIVATE, Reason.NOT_UNDERSTOOD) and minimum is None
    if by_response and not any("no-store" in line for line in asked):
        assert not isinstance(decision, Serve | ServeStale)
        assert not stale_allowed(kept, caching, NOW, error=False)
    if isinstance(decision, Serve) and refused is not None:
        assert refused in (
            Reason.STATUS, Reason.VARY_ANY, Reason.AUTHORIZATION, Reason.PARTIAL_RESPONSE, Reason.NO_STORE,
            Reason.NO_EXPLICIT_FRESHNESS,
        )  # fmt: skip


@pytest.mark.parametrize(
    ("value", "age", "caching", "use"),
    [
        ("max-age=60", 59, PLAIN, True),
        ("max-age=60", 60, PLAIN, False),
        ("max-age=60, no-cache", 0, PLAIN, False),
        ("max-age=60, stale-while-revalidate=9", 69, PLAIN, True),
        ("max-age=60, stale-while-revalidate=9", 70, PLAIN, False),
        ("max-age=60, stale-while-revalidate=9, must-revalidate", 60, PLAIN, False),
        ("max-age=0", 0, cloudfront(), False),
        ("no-store", 0, cloudfront(minimum=5), True),
    ],
)
def test_what_one_request_brought_is_of_use_to_others(value: str, age: float, caching: Caching, use: bool) -> None:
    assert reusable(stored(f"Cache-Control: {value}", age=age), caching, NOW) is use


@pytest.mark.parametrize(
    ("value", "alone"), [("max-stale", True), ("max-stale=5", True), ("only-if-cached", True), ("no-cache", False)]
)
def test_what_a_request_is_answered_only_because_it_permits_it_is_for_it_alone(value: str, alone: bool) -> None:
    assert asks_for_itself(request(f"Cache-Control: {value}"), PLAIN) is alone
    assert not asks_for_itself(request(f"Cache-Control: {value}"), cloudfront())


def test_requests_do_not_wait_for_each_other_where_cookies_reach_the_origin() -> None:
    assert collapses(PLAIN)
    assert collapses(cloudfront())
    assert not collapses(cloudfront(forwards_cookies=True))
