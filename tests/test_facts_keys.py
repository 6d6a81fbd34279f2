"""Fact sheet 4.1 to 4.4 and 4.9: what is keyed, what is sent, and how policies combine."""

from __future__ import annotations

import pytest

from tests.facts import (
    JSON,
    Fact,
    Step,
    cache,
    items,
    sent,
    show,
)

BOTH: JSON = {"behavior": {"CachePolicyId": "p0", "OriginRequestPolicyId": "p1"}}
KEYED: JSON = {"behavior": {"CachePolicyId": "p0"}}

ALL_NAMES = ("a", "b", "c")
COMBINED: list[tuple[object, object, str]] = [
    # cache policy, origin request policy, which of a, b, c reach the origin (4.3)
    ("none", None, ""),
    ("none", "none", ""),
    ("none", "all", "abc"),
    ("none", ["a"], "a"),
    ("none", ("allExcept", ["a"]), "bc"),
    ("all", None, "abc"),
    ("all", "none", "abc"),
    ("all", "all", "abc"),
    ("all", ["a"], "abc"),
    ("all", ("allExcept", ["a"]), "abc"),
    (["a"], None, "a"),
    (["a"], "none", "a"),
    (["a"], "all", "abc"),
    (["a"], ["b"], "ab"),
    (["a"], ("allExcept", ["a", "b"]), "ac"),
    (("allExcept", ["a"]), None, "bc"),
    (("allExcept", ["a"]), "none", "bc"),
    (("allExcept", ["a"]), "all", "abc"),
    (("allExcept", ["a"]), ["a"], "abc"),
    (("allExcept", ["a"]), ("allExcept", ["b"]), "c"),
]
HEADERS: list[tuple[object, object, str]] = [
    ("none", None, ""),
    ("none", "none", ""),
    ("none", "allViewer", "abc"),
    ("none", ["X-a"], "a"),
    ("none", ("allExcept", ["X-a"]), "bc"),
    (["X-a"], None, "a"),
    (["X-a"], "none", "a"),
    (["X-a"], "allViewer", "abc"),
    (["X-a"], ["X-b"], "ab"),
    (["X-a"], ("allExcept", ["X-a", "X-b"]), "ac"),
]


def combined(kind: str, key: object, more: object, names: str) -> Fact:
    policies = [cache(**{kind: key})]  # type: ignore[arg-type]  # the names of its parts
    if more is not None:
        policies.append(sent(**{kind: more}))
    config = BOTH if more is not None else KEYED
    shown = f"{key} with {more}"
    if kind == "query":
        query = "&".join(f"{name}=1" for name in names)
        step = Step("/a?a=1&b=1&c=1", path=f"/a?{query}" if names else "/a")
    elif kind == "cookies":
        step = Step(headers={"Cookie": "a=1; b=1; c=1"}, gets={"Cookie": "; ".join(f"{n}=1" for n in names) or None})
    else:
        headers = {f"X-{name}": "1" for name in ALL_NAMES}
        step = Step(headers=headers, gets={f"X-{name}": "1" if name in names else None for name in ALL_NAMES})
    return Fact(f"4.3 {kind}: {shown} sends {names or 'nothing'}", config, [step], policies)


KEYS = [
    *[
        Fact(
            f"4.2 query {how}: what differs only in what is not keyed is one object",
            KEYED,
            [Step(one, asked=1), Step(other, asked=0)],
            [cache(query=how)],
        )
        for how, one, other in (
            ("none", "/a?a=1", "/a?b=2"),
            (["a"], "/a?a=1&b=1", "/a?a=1&b=2"),
            (("allExcept", ["a"]), "/a?a=1&b=1", "/a?a=2&b=1"),
        )
    ],
    *[
        Fact(
            f"4.2 query {how}: what differs in what is keyed is two",
            KEYED,
            [Step(one, asked=1), Step(other, asked=1)],
            [cache(query=how)],
        )
        for how, one, other in (
            ("all", "/a?a=1", "/a?b=2"),
            (["a"], "/a?a=1", "/a?a=2"),
            (("allExcept", ["a"]), "/a?b=1", "/a?b=2"),
        )
    ],
    *[
        Fact(
            f"4.2 cookies {how}: {'two objects' if differs else 'one object'}",
            KEYED,
            [Step(headers={"Cookie": one}, asked=1), Step(headers={"Cookie": other}, asked=int(differs))],
            [cache(cookies=how)],
        )
        for how, one, other, differs in (
            ("none", "a=1", "a=2", False),
            ("all", "a=1", "a=2", True),
            (["a"], "a=1; b=1", "a=1; b=2", False),
            (["a"], "a=1", "a=2", True),
            (("allExcept", ["a"]), "a=1; b=1", "a=2; b=1", False),
            (("allExcept", ["a"]), "b=1", "b=2", True),
            (["a"], "a=1", "A=1", True),
        )
    ],
    *[
        Fact(
            f"4.2 headers {how}: {'two objects' if differs else 'one object'}",
            KEYED,
            [Step(headers=one, asked=1), Step(headers=other, asked=int(differs))],
            [cache(headers=how)],
        )
        for how, one, other, differs in (
            ("none", {"X-A": "1"}, {"X-A": "2"}, False),
            (["X-A"], {"X-A": "1"}, {"X-A": "2"}, True),
            (["X-A"], {"X-A": "1", "X-B": "1"}, {"X-B": "2", "X-A": "1"}, False),
            (["X-A"], {"X-A": "1"}, {}, True),
            (["Origin"], {"Origin": "https://a.test"}, {"Origin": "https://b.test"}, True),
        )
    ],
    Fact(
        "4.2 an asterisk in a name is just a character",
        KEYED,
        [Step("/a?xa=1", asked=1, path="/a"), Step("/a?x*=1", asked=1, path="/a?x*=1")],
        [cache(query=["x*"])],
    ),
    Fact("4.1 the method is no part of the key but for OPTIONS", {}, [Step(asked=1), Step(method="HEAD", asked=0)]),
]


def encoded(flags: str, asked: str | None, heard: str | None, version: str = "1.1") -> Fact:
    policy = cache(gzip="gzip" in flags, brotli="br" in flags)
    headers = {} if asked is None else {"Accept-Encoding": asked}
    name = f"4.4 {flags or 'no flag'}: {asked} is sent as {heard}"
    if version != "1.1":
        name += f" by HTTP/{version}"
    return Fact(name, KEYED, [Step(headers=headers, version=version, gets={"Accept-Encoding": heard})], [policy])


ENCODINGS = [
    encoded("gzip, br", "gzip, deflate, br", "br,gzip"),
    encoded("gzip, br", "br;q=0.5, gzip", "br,gzip"),
    encoded("gzip, br", "gzip", "gzip"),
    encoded("gzip, br", "br", "br"),
    encoded("gzip, br", "deflate", "identity"),
    encoded("gzip, br", "zstd", "identity"),
    encoded("gzip, br", None, None),
    encoded("gzip", "gzip, br", "gzip"),
    encoded("gzip", "br", "identity"),
    encoded("gzip", "*", "identity"),
    encoded("br", "gzip, br", "br"),
    encoded("", "gzip, br", None),
    encoded("gzip, br", "gzip;q=0, br", "br"),
    encoded("gzip, br", "gzip", None, "1.0"),
    *[
        Fact(
            f"4.4 {one} and {other} are {'two objects' if differs else 'one object'}",
            KEYED,
            [
                Step(headers={"Accept-Encoding": one}, asked=1),
                Step(headers={"Accept-Encoding": other}, asked=int(differs)),
            ],
            [cache(gzip=True, brotli=True)],
        )
        for one, other, differs in (
            ("gzip, br", "br, gzip, zstd", False),
            ("gzip", "br", True),
            ("gzip", "gzip, br", True),
            ("deflate", "zstd", False),
        )
    ],
    Fact(
        "4.4 nothing and identity share an object",
        KEYED,
        [Step(asked=1), Step(headers={"Accept-Encoding": "deflate"}, asked=0)],
        [cache(gzip=True, brotli=True)],
    ),
    Fact(
        "4.4 listed as a header it is keyed as it comes",
        KEYED,
        [
            Step(headers={"Accept-Encoding": "gzip, zstd"}, gets={"Accept-Encoding": "gzip, zstd"}, asked=1),
            Step(headers={"Accept-Encoding": "zstd, gzip"}, asked=1),
        ],
        [cache(headers=["Accept-Encoding"])],
    ),
]


def legacy(
    query: bool = False,
    keys: tuple[str, ...] = (),
    cookies: object = "none",
    headers: tuple[str, ...] = (),
    **more: object,
) -> JSON:
    forward: JSON = {"Forward": cookies}
    if isinstance(cookies, list):
        forward = {"Forward": "whitelist", "WhitelistedNames": items(*cookies)}
    values = {
        "QueryString": query,
        "Cookies": forward,
        "Headers": items(*headers),
        "QueryStringCacheKeys": items(*keys),
    }
    return {"behavior": {"CachePolicyId": "", "ForwardedValues": values, "MinTTL": 0, **more}}


LEGACY = [
    Fact(
        "4.9 QueryString false: none sent, none keyed",
        legacy(),
        [Step("/a?x=1", path="/a", asked=1), Step("/a?x=2", asked=0)],
    ),
    Fact(
        "4.9 QueryString true: all sent, all keyed",
        legacy(True),
        [Step("/a?x=1", path="/a?x=1", asked=1), Step("/a?x=2", asked=1)],
    ),
    Fact(
        "4.9 with keys: all sent, those keyed",
        legacy(True, ("x",)),
        [Step("/a?x=1&y=1", path="/a?x=1&y=1", asked=1), Step("/a?x=1&y=2", asked=0), Step("/a?x=2", asked=1)],
    ),
    Fact(
        "4.9 no cookies",
        legacy(),
        [Step(headers={"Cookie": "a=1"}, gets={"Cookie": None}, asked=1), Step(headers={"Cookie": "a=2"}, asked=0)],
    ),
    Fact(
        "4.9 all cookies",
        legacy(cookies="all"),
        [Step(headers={"Cookie": "b=1; a=1"}, gets={"Cookie": "a=1; b=1"}, asked=1), Step(asked=1)],
    ),
    Fact(
        "4.9 listed cookies",
        legacy(cookies=["a"]),
        [
            Step(headers={"Cookie": "b=1; a=1"}, gets={"Cookie": "a=1"}, asked=1),
            Step(headers={"Cookie": "a=1; b=2"}, asked=0),
        ],
    ),
    Fact(
        "4.9 cookie names with wildcards",
        legacy(cookies=["s*", "t?"]),
        [Step(headers={"Cookie": "session=1; t1=1; t22=1; x=1"}, gets={"Cookie": "session=1; t1=1"})],
    ),
    Fact(
        "4.9 names that begin with $ are dropped",
        legacy(cookies="all"),
        [Step(headers={"Cookie": "$Version=1; a=1"}, gets={"Cookie": "a=1"})],
    ),
    Fact(
        "4.9 a malformed field is not forwarded",
        legacy(cookies="all"),
        [Step(headers={"Cookie": "a=1; rubbish"}, gets={"Cookie": None})],
    ),
    Fact(
        "4.9 Set-Cookie is cached and replayed",
        legacy(cookies="all"),
        [
            Step(origin=(200, {"Set-Cookie": "s=1"}, b"x"), says={"Set-Cookie": "s=1"}),
            Step(asked=0, says={"Set-Cookie": "s=1"}),
        ],
    ),
    Fact(
        '4.9 but not with no-cache="Set-Cookie"',
        legacy(cookies="all"),
        [
            Step(origin=(200, {"Set-Cookie": "s=1", "Cache-Control": 'max-age=60, no-cache="Set-Cookie"'}, b"x")),
            Step(asked=0, says={"Set-Cookie": None}),
        ],
    ),
    Fact(
        "4.9 all headers: everything is sent, nothing cached",
        legacy(headers=("*",)),
        [Step(headers={"X-A": "1", "Accept": "a/b"}, gets={"X-A": "1", "Accept": "a/b"}, asked=1), Step(asked=1)],
    ),
    Fact(
        "4.9 a listed header is keyed",
        legacy(headers=("Accept-Language",)),
        [
            Step(headers={"Accept-Language": "de"}, gets={"Accept-Language": "de"}, asked=1),
            Step(headers={"Accept-Language": "fr"}, asked=1),
        ],
    ),
    Fact(
        "4.9 gzip alone is normalised",
        legacy(),
        [Step(headers={"Accept-Encoding": "br, gzip"}, gets={"Accept-Encoding": "gzip"})],
    ),
    Fact(
        "3 legacy: the default TTL is a day",
        legacy(),
        [Step(origin=(200, {"ETag": '"1"'}, b"x")), Step(advance=86399, asked=0), Step(advance=2, asked=1)],
    ),
    Fact(
        "3 legacy: a minimum above a day is the default",
        legacy(MinTTL=100000),
        [Step(), Step(advance=99999, asked=0), Step(advance=2, asked=1)],
    ),
]

FACTS = [
    *[combined("query", *row) for row in COMBINED],
    *[combined("cookies", *row) for row in COMBINED],
    *[combined("headers", *row) for row in HEADERS],
    *KEYS,
    *ENCODINGS,
    *LEGACY,
]


@pytest.mark.parametrize("fact", FACTS, ids=lambda fact: fact.name)
async def test_fact(fact: Fact) -> None:
    await show(fact)
