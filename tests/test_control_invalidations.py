"""Accepting invalidations: items, quotas, and references asked for again (fact sheet 7)."""

from __future__ import annotations

from typing import Any

import pytest

from edgeproxy.control.invalidations import BATCH_MAX, invalidate
from edgeproxy.control.kinds import DISTRIBUTION
from edgeproxy.control.refusals import Refused
from edgeproxy.control.state import Member
from edgeproxy.control.things import create
from edgeproxy.feed import Invalidated
from tests.controlling import Pure
from tests.distributions import config


@pytest.fixture
def pure() -> Pure:
    pure = Pure()
    pure.do(create, DISTRIBUTION, config(CacheTagConfig={"HeaderName": "Cache-Tag"}))
    return pure


def ask(pure: Pure, *items: str, reference: str = "r", files: int = 3000, wild: int = 15, **named: Any) -> Any:
    id = named.pop("id", pure.state.of_kind(DISTRIBUTION)[0].id)
    return pure.do(invalidate, id, items, reference, files_max=files, wildcards_max=wild, **named)


def code_of(pure: Pure, *items: str, **named: Any) -> str:
    before = pure.state.number
    with pytest.raises(Refused) as refusal:
        ask(pure, *items, **named)
    assert pure.state.number == before
    return refusal.value.code


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/*",
        "/a*",
        "/a/b.html",
        "/a*b",
        "/a?b=c&d=%20",
        "/%C3%BC",
        "/a?*",
        "/" + "a" * 3999,
        "/a;b,c+d=e@f:g!$'()",
    ],
)
def test_paths(pure: Pure, path: str) -> None:
    made = ask(pure, path)
    assert made.items == (path,)
    assert pure.state.log[-1] == Invalidated(2, made.id, made.distribution, (path,))


@pytest.mark.parametrize(
    "path",
    ["", "a", "*", "images/*", "/ü", "/a b", "/~user", "/a%2", "/a%GG", "/a\n", "/a#b", '/"', "/" + "a" * 4000, "/<>"],
)
def test_what_is_no_path(pure: Pure, path: str) -> None:
    assert code_of(pure, path) == "InvalidArgument"


def test_tags_where_the_distribution_has_a_header_for_them(pure: Pure) -> None:
    ask(pure, "#Product-17", "/a", "#product-17")
    record = pure.state.log[-1]
    assert isinstance(record, Invalidated)
    assert (record.paths, record.tags) == (("/a",), ("product-17",))
    for bad in ("#", "#a,b", "#a b", "#" + "a" * 257):
        assert code_of(pure, bad, reference="x") == "InvalidArgument"
    plain = pure.do(create, DISTRIBUTION, config(CallerReference="2"))
    assert code_of(pure, "#tag", id=plain.id, reference="x") == "InvalidArgument"


def test_a_path_given_twice_is_told_once(pure: Pure) -> None:
    made = ask(pure, "/a", "/a", "/b")
    record = pure.state.log[-1]
    assert isinstance(record, Invalidated)
    assert (made.items, record.paths) == (("/a", "/a", "/b"), ("/a", "/b"))


def test_the_same_reference_is_the_same_invalidation_or_none(pure: Pure) -> None:
    made = ask(pure, "/a", "/b")
    assert ask(pure, "/b", "/a") == made
    assert pure.state.number == 2
    assert code_of(pure, "/c") == "InvalidationBatchAlreadyExists"
    assert code_of(pure, "/a", "/b", soft=True) == "InvalidationBatchAlreadyExists"
    other = pure.do(create, DISTRIBUTION, config(CallerReference="2"))
    assert ask(pure, "/a", "/b", id=other.id).id != made.id
    for reference in ("", "r" * 129):
        assert code_of(pure, "/a", reference=reference) == "InvalidArgument"


def test_a_soft_one_says_so(pure: Pure) -> None:
    ask(pure, "/a", soft=True)
    assert pure.state.log[-1] == Invalidated(
        2, "I" + pure.state.log[-1].id[1:], pure.state.of_kind(DISTRIBUTION)[0].id, ("/a",), (), True
    )


def test_sizes_and_distributions(pure: Pure) -> None:
    assert code_of(pure) == "InvalidArgument"
    assert code_of(pure, *(f"/{n}" for n in range(BATCH_MAX + 1))) == "BatchTooLarge"
    assert code_of(pure, "/a", id="none") == "NoSuchDistribution"


def test_quotas_count_what_is_in_progress(pure: Pure) -> None:
    pure.state.members["a"] = Member("a", "a", 0, "EPOCH")
    ask(pure, "/a", "/b*", "#t", files=2, wild=1)
    assert code_of(pure, "/c", reference="2", files=2, wild=1) == "TooManyInvalidationsInProgress"
    assert code_of(pure, "/c*", reference="2", files=2, wild=1) == "TooManyInvalidationsInProgress"
    pure.state.members["a"] = Member("a", "a", 2, "EPOCH")
    pure.state.settle()
    assert ask(pure, "/c", "/c*", reference="2", files=2, wild=1).number == 3
