"""What an answer's head tells of the way it came: Cache-Status, X-Cache, Age, Via, and the hop's own field."""

from __future__ import annotations

import pytest

from edgeproxy.edge.hop import read_answer
from edgeproxy.edge.present import Presenter, Trace, cache_status
from edgeproxy.headers import Headers
from edgeproxy.message import Peer, ResponseHead
from edgeproxy.model import NO_EPOCH, AsOf, Rules
from edgeproxy.outcome import Reason, Result
from edgeproxy.rules.dates import format_date
from tests.messages import NOW, fields

MADE = AsOf(NO_EPOCH, 7)


def presented(
    trace: Trace,
    *lines: str,
    rules: Rules = Rules.RFC9111,
    peer: Peer = Peer.VIEWER,
    told: bool = True,
) -> Headers:
    presenter = Presenter("pop", "POP1", rules, "the-id", told, peer)
    return presenter.head(ResponseHead(200, fields(*lines)), trace, NOW).headers


@pytest.mark.parametrize(
    ("trace", "member"),
    [
        (Trace(Result.HIT, ttl=59.6), b"pop; hit; ttl=60"),
        (Trace(Result.HIT, ttl=-3), b"pop; hit; ttl=-3"),
        (Trace(reason=Reason.URI_MISS), b"pop; fwd=uri-miss"),
        (
            Trace(reason=Reason.STALE, forwarded_status=304, stored=True, collapsed=True, ttl=5),
            b"pop; fwd=stale; fwd-status=304; collapsed; stored; ttl=5",
        ),
        (Trace(reason=Reason.PARTIAL, forwarded_status=206), b"pop; fwd=partial; fwd-status=206"),
        (Trace(reason=Reason.UPGRADE), b"pop; fwd=bypass; detail=upgrade"),
        (Trace(reason=Reason.URI_MISS, refusal=Reason.NO_STORE), b"pop; fwd=uri-miss; detail=no-store"),
        (Trace(generated=True), b"pop; detail=generated"),
    ],
)
def test_cache_status(trace: Trace, member: bytes) -> None:
    assert cache_status("pop", trace) == member


@pytest.mark.parametrize(("name", "written"), [("pop-1", b"pop-1"), ("1pop", b'"1pop"'), ("a b", b'"a b"')])
def test_a_name_that_is_no_token_is_a_string(name: str, written: bytes) -> None:
    assert cache_status(name, Trace()).startswith(written + b";")


def test_each_tier_adds_its_member_and_a_hit_forgets_those_of_its_making() -> None:
    earlier = "Cache-Status: regional; hit"
    forwarded = presented(Trace(reason=Reason.URI_MISS), earlier)
    assert forwarded.all(b"cache-status") == [b"regional; hit, pop; fwd=uri-miss"]
    assert presented(Trace(Result.HIT), earlier).all(b"cache-status") == [b"pop; hit"]
    assert presented(Trace(reason=Reason.URI_MISS, by_owner=True), earlier).all(b"cache-status") == [b"regional; hit"]
    assert presented(Trace(Result.HIT), told=False).get(b"cache-status") is None


def test_age_replaces_what_came_and_is_never_negative() -> None:
    assert presented(Trace(age=3.9), "Age: 1").all(b"age") == [b"3"]
    assert presented(Trace(age=-2)).all(b"age") == [b"0"]
    assert presented(Trace(), "Age: 1").all(b"age") == [b"1"]


def test_a_date_that_is_missing_is_supplied() -> None:
    assert presented(Trace()).all(b"date") == [format_date(NOW)]
    assert presented(Trace(), "Date: {-5}").all(b"date") == [format_date(NOW - 5)]


def test_the_fields_of_cloudfront_replace_those_that_came() -> None:
    headers = presented(Trace(Result.REFRESH_HIT), "X-Cache: theirs", "Via: 1.1 theirs", rules=Rules.CLOUDFRONT)
    assert headers.all(b"x-cache") == [b"RefreshHit from cloudfront"]
    assert headers.all(b"x-amz-cf-pop") == [b"POP1"]
    assert headers.all(b"x-amz-cf-id") == [b"the-id"]
    assert len(headers.all(b"via")) == 1
    between = presented(Trace(), rules=Rules.CLOUDFRONT, peer=Peer.TIER)
    assert not {b"x-cache", b"via", b"x-amz-cf-pop"} & set(between.names())


def test_via_names_this_node_in_plain_rules() -> None:
    assert presented(Trace(), "Via: 1.1 origin").all(b"via") == [b"1.1 origin", b"1.1 pop"]
    assert presented(Trace(), peer=Peer.WORKER).get(b"via") is None


@pytest.mark.parametrize(("peer", "edition"), [(Peer.TIER, 0), (Peer.WORKER, 9)])
def test_tiers_are_told_how_new_it_is_and_workers_of_which_edition(peer: Peer, edition: int) -> None:
    answer = read_answer(presented(Trace(Result.HIT, as_of=MADE, edition=9), peer=peer))
    assert answer is not None
    assert (answer.as_of, answer.result, answer.edition) == (MADE, Result.HIT, edition)
    assert presented(Trace()).get(b"edgeproxy-hop") is None
