"""Paths, prefixes, queries and tags: which invalidation names what (fact sheet 7), and the highest number of them."""

from __future__ import annotations

from random import Random

import pytest

from edgeproxy.headers import Headers
from edgeproxy.message import RequestHead
from edgeproxy.model import Behavior, Distribution, KeyParts, Rules
from edgeproxy.rules.floors import TAG_BYTES_MAX, TAGS_MAX, Floors, Index, canonical, subject, tags
from edgeproxy.rules.key import cache_key

PLAIN = Behavior("*", "web", key=KeyParts(headers=(b"host", b"x-device"), gzip=True))


def key_of(target: bytes, id: str = "E1", **headers: str) -> bytes:
    """The cache key of a request, made by the rules themselves."""
    distribution = Distribution(id, "e1.test", Rules.RFC9111, "1", {}, (PLAIN,))
    fields = Headers((name.replace("_", "-").encode(), value.encode()) for name, value in headers.items())
    return cache_key(RequestHead("GET", target, b"a.test", fields), distribution, PLAIN)


def floors_with(*items: str, number: int = 7, soft: bool = False) -> Floors:
    """One invalidation of E1."""
    made = Floors("e", 100)
    made.add(number, "E1", items, soft=soft)
    return made


NAMED = [
    # item, target, whether it names it
    ("/a", b"/a", True),
    ("/a", b"/A", False),
    ("/A", b"/a", False),
    ("/a", b"/ab", False),
    ("/a", b"/a/", False),
    ("/a", b"/a?x=1", False),
    ("/a?x=1", b"/a?x=1", True),
    ("/a?x=1", b"/a?x=2", False),
    ("/a?x=1", b"/a", False),
    ("/a*", b"/a?x=1", True),
    ("/a*", b"/a", True),
    ("/a*", b"/ab/c", True),
    ("/a*", b"/b", False),
    ("/a?*", b"/a?x=1", True),
    ("/a?*", b"/a", False),
    ("/*", b"/", True),
    ("/*", b"/any/thing?x", True),
    ("/a/*", b"/a", False),
    ("/a/*", b"/a/", True),
    ("/a*b", b"/a*b", True),
    ("/a*b", b"/axb", False),
    ("/a%20b", b"/a%20b", True),
    ("/a%20b", b"/a b", True),
    ("/%C3%A4", "/ä".encode(), True),
    ("/%c3%a4", b"/%C3%A4", True),
    ("/a%2A", b"/a*", True),
    ("/a%2A", b"/ab", False),
    ("/a\\b", b"/a\\b", True),
    ("a", b"/a", True),
    ("*", b"/a", True),
]


@pytest.mark.parametrize(("item", "target", "named"), NAMED)
def test_what_an_item_names(item: str, target: bytes, named: bool) -> None:
    assert floors_with(item).floor(key_of(target)) == (7 if named else 0)


def test_all_variants_of_a_path_go_together() -> None:
    made = floors_with("/a")
    for variant in (
        key_of(b"/a", x_device="phone"),
        key_of(b"/a", accept_encoding="gzip"),
        key_of(b"/a") + b" HEAD",
        key_of(b"/a").replace(b" GET ", b" OPTIONS "),
    ):
        assert made.floor(variant) == 7


def test_each_distribution_has_its_own() -> None:
    made = floors_with("/a")
    made.add(9, "E 2", ["/*"])
    assert made.floor(key_of(b"/a")) == 7
    assert made.floor(key_of(b"/a", id="E 2")) == 9
    assert made.floor(key_of(b"/a", id="E3")) == 0
    assert made.floor_of(key_of(b"/a", id="E3"), [b"#t"]) == 0


def test_the_highest_number_counts_whatever_the_order() -> None:
    made = Floors("e", 100)
    for number, item in [(5, "/a"), (9, "/*"), (3, "/a"), (8, "/a"), (2, "/*"), (4, "/b*")]:
        made.add(number, "E1", [item])
    assert made.floor(key_of(b"/a")) == 9
    assert made.number == 9
    assert len(made) == 3


def test_tags_and_sources() -> None:
    made = floors_with("#Spring", "/errors/404.html")
    key = key_of(b"/a")
    assert made.floor(key) == 0
    assert made.floor_of(key, [b"#spring"]) == 7
    assert made.floor_of(key, [b"#summer"]) == 0
    assert made.floor_of(key, [b"#summer", b"/errors/404.html"]) == 7
    assert made.floor_of(key, []) == 0


def test_soft_ones_are_apart() -> None:
    made = floors_with("/a", "#t", soft=True)
    key = key_of(b"/a")
    assert made.floor(key) == 0
    assert made.floor(key, soft=True) == 7
    assert made.floor_of(key, [b"#t"], soft=True) == 7
    made.forget(9)
    assert made.floor(key, soft=True) == 0


def test_below_the_low_water_mark_nothing_is_usable_and_nothing_is_remembered() -> None:
    made = Floors("e", 100)
    made.add(3, "E1", ["/a", "/b*", "/cc*", "#t"])
    made.add(5, "E1", ["/d*"])
    made.forget(4)
    assert made.floor(key_of(b"/anything")) == 4
    assert made.floor(key_of(b"/d1")) == 5
    assert len(made) == 1
    made.forget(2)
    assert made.low_water == 4


def test_more_than_may_be_kept_is_merged_into_one_that_names_everything() -> None:
    made = Floors("e", 16)
    for number in range(1, 18):
        made.add(number, "E1", [f"/{number}"])
    assert len(made) <= 16
    assert made.floor(key_of(b"/17")) == 17
    assert made.floor(key_of(b"/1")) == made.floor(key_of(b"/never named")) == 9
    assert made.floor_of(key_of(b"/x"), [b"#any"]) == 9


def test_a_lookup_is_what_a_look_at_every_item_would_find() -> None:
    chance = Random(7)
    letters = "ab/?"
    for _ in range(200):
        index, items = Index(), []
        for number in range(1, 12):
            text = "/" + "".join(chance.choice(letters) for _ in range(chance.randint(0, 4)))
            item = text + chance.choice(("", "*"))
            index.add(item, number)
            items.append((number, item))
        if chance.random() < 0.3:
            index.forget(4, named=False)
            items = [(number, item) for number, item in items if number > 4]
        for _ in range(20):
            path = "/" + "".join(chance.choice(letters) for _ in range(chance.randint(0, 5)))
            expected = max(
                (n for n, item in items if (path.startswith(item[:-1]) if item.endswith("*") else path == item)),
                default=0,
            )
            assert index.of_path(path.encode()) == expected


@pytest.mark.parametrize(
    ("value", "found"),
    [
        (b"red, Blue,  green", (b"#red", b"#blue", b"#green")),
        (b"red,RED,,", (b"#red",)),
        (b"with blank, ok", (b"#ok",)),
        (b"x" * (TAG_BYTES_MAX + 1) + b", y", (b"#y",)),
        (b"", ()),
    ],
)
def test_the_tags_of_a_response(value: bytes, found: tuple[bytes, ...]) -> None:
    assert tags(Headers([(b"Cache-Tag", value)]), b"cache-tag") == found


def test_tags_are_bounded_and_need_a_field() -> None:
    many = b",".join(b"t%d" % number for number in range(80))
    assert len(tags(Headers([(b"Cache-Tag", many)]), b"cache-tag")) == TAGS_MAX
    assert tags(Headers([(b"Cache-Tag", b"red")]), b"") == ()
    assert tags(Headers(), b"cache-tag") == ()


def test_the_subject_of_a_key() -> None:
    assert subject(key_of(b"/a b?q=%41", id="E\\1")) == ("E\\1", b"/a b?q=A")
    assert canonical(b"/%zz") == b"/%zz"


def test_what_is_no_key_of_ours_is_named_by_everything() -> None:
    assert floors_with("/a").floor(b"nonsense") == 7
    assert subject(b"E1 GET //") == ("", b"")
