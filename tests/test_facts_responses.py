"""Fact sheet 2, 3, 8.5 and 12.1: what is kept of an answer, for how long, and what viewers are told."""

from __future__ import annotations

import pytest

from tests.facts import (
    AMERICAN,
    BY_ORIGIN,
    DISABLED,
    GERMAN,
    HOST,
    JSON,
    NOWHERE,
    Fact,
    Step,
    cache,
    items,
    sent,
    show,
)

ALL_COOKIES = [sent(cookies="all", headers=["Accept-Language"])]
SENT: JSON = {"behavior": {"OriginRequestPolicyId": "p0"}}
KEPT: JSON = {"behavior": {"CachePolicyId": "p0"}}


def kept(
    name: str,
    received: dict[str, str],
    seen: dict[str, str | None],
    config: JSON | None = None,
    policies: list[JSON] | None = None,
) -> Fact:
    """What of an origin's fields the viewer gets."""
    return Fact(name, config or {}, [Step(origin=(200, received, b"hello"), says=seen)], policies or [])


FIELDS = [
    kept("2.1 Trailer and Upgrade are removed", {"Trailer": "X", "Upgrade": "h2c"}, {"Trailer": None, "Upgrade": None}),
    kept("2.1 Set-Cookie is removed", {"Set-Cookie": "a=1"}, {"Set-Cookie": None}),
    kept(
        "2.1 Set-Cookie passes with cookies forwarded", {"Set-Cookie": "a=1"}, {"Set-Cookie": "a=1"}, SENT, ALL_COOKIES
    ),
    kept("2.1 Via is replaced", {"Via": "1.1 origin"}, {"Via": r"~1\.1 [0-9a-f]{32}\.cloudfront\.net \(CloudFront\)"}),
    kept(
        "2.1 Vary keeps Accept-Encoding and Cookie",
        {"Vary": "Accept-Encoding, Cookie, X-Other"},
        {"Vary": "Accept-Encoding, Cookie"},
    ),
    kept(
        "2.1 Vary keeps what is forwarded",
        {"Vary": "Accept-Language, Accept"},
        {"Vary": "Accept-Language"},
        SENT,
        ALL_COOKIES,
    ),
    kept("2.1 Vary drops all the rest", {"Vary": "Referer"}, {"Vary": None}),
    kept(
        "2.1 Vary keeps User-Agent with a device header",
        {"Vary": "User-Agent"},
        {"Vary": "User-Agent"},
        SENT,
        [sent(headers=["CloudFront-Is-Mobile-Viewer"])],
    ),
    kept("2.1 Vary drops User-Agent without one", {"Vary": "User-Agent"}, {"Vary": None}),
    kept("2.1 Vary: * with MinTTL above 0 is filtered", {"Vary": "*"}, {"Vary": None}),
    kept("2.1 any other field passes", {"X-Mine": "1", "Server": "nginx"}, {"X-Mine": "1", "Server": "nginx"}),
    kept(
        "3 Cache-Control is passed as it is",
        {"Cache-Control": "max-age=5, s-maxage=9"},
        {"Cache-Control": "max-age=5, s-maxage=9"},
    ),
    Fact(
        "2.1 Vary: * with MinTTL 0 asks the origin every time, without conditions",
        KEPT,
        [
            Step(origin=(200, {"Vary": "*", "ETag": '"1"'}, b"hello"), asked=1),
            Step(asked=1, gets={"If-None-Match": None}),
        ],
        [cache()],
    ),
    Fact(
        "2.1 Vary makes no variants",
        KEPT,
        [
            Step(origin=(200, {"Vary": "Accept-Encoding"}, b"hello"), headers={"Accept-Encoding": "gzip"}, asked=1),
            Step(headers={"Accept-Encoding": "br"}, asked=0),
        ],
        [cache()],
    ),
    Fact(
        "2.2 a miss and a hit",
        {},
        [
            Step(says={"X-Cache": "Miss from cloudfront", "Age": None, "X-Amz-Cf-Pop": "FRA50-P1"}),
            Step(advance=7, says={"X-Cache": "Hit from cloudfront", "Age": "7"}),
        ],
    ),
    Fact("2.2 an id for every request", {}, [Step(says={"X-Amz-Cf-Id": r"~[A-Za-z0-9_-]{54}=="})]),
    Fact(
        "2.3 expired, and the origin says 304",
        {},
        [
            Step(origin=(200, {"Cache-Control": "max-age=5", "ETag": '"1"'}, b"hello")),
            Step(
                advance=10,
                origin=(304, {"ETag": '"1"', "Cache-Control": "max-age=5"}, b""),
                asked=1,
                content=b"hello",
                gets={"If-None-Match": '"1"'},
                says={"X-Cache": "RefreshHit from cloudfront"},
            ),
        ],
    ),
    *[
        Fact(
            f"2.3 {status} is an error, from the origin and from the cache",
            {},
            [
                Step(origin=(status, {}, b"bad"), status=status, says={"X-Cache": "Error from cloudfront"}),
                Step(status=status, asked=0, says={"X-Cache": "Error from cloudfront"}),
            ],
        )
        for status in (404, 500, 503)
    ],
    Fact(
        "2.3 a redirect to HTTPS",
        {"behavior": {"ViewerProtocolPolicy": "redirect-to-https"}},
        [
            Step(
                "/x?y=z",
                status=301,
                asked=0,
                says={
                    "X-Cache": "Redirect from cloudfront",
                    "Location": f"https://{HOST}/x?y=z",
                    "Server": "CloudFront",
                    "Content-Length": "167",
                    "Content-Type": "text/html",
                },
            )
        ],
    ),
    *[
        Fact(
            f"2.4 {status} is cached and not followed",
            {},
            [
                Step(origin=(status, {"Location": "/b"}, b""), status=status, asked=1, says={"Location": "/b"}),
                Step(status=status, asked=0),
            ],
        )
        for status in (301, 302, 303)
    ],
    *[
        Fact(
            f"2.4 {status} is cached only with Cache-Control",
            {},
            [
                Step(origin=(status, {"Location": "/b"}, b""), asked=1),
                Step(asked=1),
                Step("/c", origin=(status, {"Location": "/b", "Cache-Control": "max-age=60"}, b""), asked=1),
                Step("/c", asked=0),
            ],
        )
        for status in (307, 308)
    ],
]


def error(
    name: str,
    status: int,
    received: dict[str, str],
    cached: float,
    config: JSON | None = None,
    policies: list[JSON] | None = None,
) -> Fact:
    """An error is cached for so many seconds; 0: not at all."""
    steps = [Step(origin=(status, received, b"bad"), status=status, asked=1)]
    if cached:
        steps += [Step(advance=cached - 1, status=status, asked=0, content=b"bad"), Step(advance=2, asked=1)]
    else:
        steps.append(Step(asked=1))
    return Fact(name, config or {}, steps, policies or [])


def minimum(status: int, seconds: int) -> JSON:
    return {"CustomErrorResponses": items({"ErrorCode": status, "ErrorCachingMinTTL": seconds})}


ERRORS = [
    *[
        error(f"2.5 {status} is cached for ten seconds", status, {}, 10)
        for status in (404, 410, 414, 500, 501, 502, 503, 504)
    ],
    *[error(f"2.5 {status} is not cached by itself", status, {}, 0) for status in (400, 403, 405, 412, 415)],
    *[
        error(f"2.5 {status} is cached with max-age", status, {"Cache-Control": "max-age=60"}, 60)
        for status in (400, 403, 405, 412, 415)
    ],
    error("2.5 403 is cached with s-maxage", 403, {"Cache-Control": "s-maxage=60"}, 60),
    error("2.5 416 never is", 416, {"Cache-Control": "max-age=60"}, 0),
    *[error(f"2.5 {status} never is", status, {"Cache-Control": "max-age=60"}, 0) for status in (401, 429)],
    error("2.5 nothing is with CachingDisabled", 404, {}, 0, {"behavior": {"CachePolicyId": DISABLED}}),
    *[error(f"2.5 the minimum of {status} is set", status, {}, 60, minimum(status, 60)) for status in (404, 500, 503)],
    error("2.5 the longer of minimum and max-age: max-age", 404, {"Cache-Control": "max-age=90"}, 90, minimum(404, 60)),
    error("2.5 the longer of minimum and max-age: minimum", 404, {"Cache-Control": "max-age=5"}, 60, minimum(404, 60)),
    error(
        "2.5 the part of the header is capped by MaxTTL",
        404,
        {"Cache-Control": "max-age=900"},
        100,
        KEPT,
        [cache((0, 50, 100))],
    ),
    *[
        error(f"2.5 no-store counts on {status}", status, {"Cache-Control": "no-store"}, 0)
        for status in (404, 410, 414, 501)
    ],
    *[
        error(f"2.5 no-store is overlooked on {status}", status, {"Cache-Control": "no-store"}, 10)
        for status in (500, 502, 503, 504)
    ],
    error("2.5 private counts on 404", 404, {"Cache-Control": "private"}, 0),
    error("2.5 private is overlooked on 500", 500, {"Cache-Control": "private"}, 10),
    Fact(
        "2.5 an error that was made here is cached too",
        {},
        [
            Step(gone=True, status=502, contains=b"502 ERROR"),
            Step(status=502, asked=0, says={"X-Cache": "Error from cloudfront"}),
            Step("/b", status=502),
            Step(advance=11, origin=(200, {}, b"hello"), status=200, content=b"hello"),
        ],
    ),
    Fact(
        "2.5 and for as long as its status says",
        minimum(502, 60),
        [
            Step(gone=True, status=502),
            Step(advance=50, status=502, asked=0),
            Step(advance=11, origin=(200, {}, b"x"), status=200),
        ],
    ),
    Fact(
        "2.5 an error made here is not cached with CachingDisabled",
        {"behavior": {"CachePolicyId": DISABLED}},
        [Step(gone=True, status=502), Step(origin=(200, {}, b"x"), status=200, asked=1)],
    ),
]

OLD = {"Cache-Control": "max-age=10", "ETag": '"1"'}


def stale(
    name: str, received: dict[str, str], then: Step, policies: list[JSON] | None = None, config: JSON | None = None
) -> Fact:
    """What becomes of a copy that expired a while ago."""
    return Fact(name, config or {}, [Step(origin=(200, received, b"old")), then], policies or [])


def after(seconds: float, status: int = 200, **more: object) -> Step:
    return Step(advance=seconds, status=status, **more)  # type: ignore[arg-type]  # a step's own fields


STALE = [
    *[
        stale(
            f"2.6 a {status} is covered by the expired copy",
            OLD,
            after(20, origin=(status, {}, b"bad"), content=b"old"),
        )
        for status in (500, 502, 503, 504)
    ],
    *[
        stale(f"2.6 a {status} is not", OLD, after(20, status, origin=(status, {}, b"bad"), content=b"bad"))
        for status in (403, 404, 410)
    ],
    stale("2.6 no answer is covered", OLD, after(20, gone=True, content=b"old")),
    stale(
        "2.6 stale-if-error=0 asks for the error",
        {"Cache-Control": "max-age=10, stale-if-error=0"},
        after(20, 500, origin=(500, {}, b"bad")),
    ),
    stale(
        "2.6 stale-if-error within its time",
        {"Cache-Control": "max-age=10, stale-if-error=60"},
        after(60, origin=(500, {}, b"bad"), content=b"old"),
    ),
    stale(
        "2.6 stale-if-error after it",
        {"Cache-Control": "max-age=10, stale-if-error=60"},
        after(80, 500, origin=(500, {}, b"bad")),
    ),
    stale(
        "2.6 stale service ends at MaxTTL", OLD, after(120, 500, origin=(500, {}, b"bad")), [cache((0, 50, 100))], KEPT
    ),
    stale(
        "2.6 stale-while-revalidate answers at once",
        {"Cache-Control": "max-age=10, stale-while-revalidate=60"},
        after(20, content=b"old", says={"X-Cache": "Hit from cloudfront"}),
    ),
    stale(
        "2.6 the copy comes before an error page",
        OLD,
        after(20, origin=(500, {}, b"bad"), content=b"old"),
        None,
        {"CustomErrorResponses": items({"ErrorCode": 500, "ResponseCode": "200", "ResponsePagePath": "/e"})},
    ),
    Fact(
        "2.6 then the origin is left alone for as long as the error's minimum",
        minimum(500, 60),
        [
            Step(origin=(200, OLD, b"old")),
            Step(advance=20, origin=(500, {}, b"bad"), asked=1, content=b"old"),
            Step(advance=50, asked=0, content=b"old"),
            Step(advance=11, asked=1, content=b"old"),
        ],
    ),
]


def lived(name: str, ttl: tuple[int, int, int], said: str | None, seconds: float) -> Fact:
    """A response lives for so many seconds; 0: it is not served from the cache."""
    received = {"ETag": '"1"', **({} if said is None else {"Cache-Control": said})}
    steps = [Step(origin=(200, received, b"hello"), asked=1)]
    if seconds:
        steps += [Step(advance=seconds - 0.5, asked=0), Step(advance=1, asked=1)]
    else:
        steps.append(Step(asked=1))
    return Fact(f"3 {name}", KEPT, steps, [cache(ttl)])


ZERO, SOME = (0, 100, 1000), (50, 100, 1000)
TTL = [
    lived("max-age, min 0", ZERO, "max-age=200", 200),
    lived("max-age above max, min 0", ZERO, "max-age=2000", 1000),
    lived("max-age=0, min 0", ZERO, "max-age=0", 0),
    lived("s-maxage before max-age, min 0", ZERO, "max-age=200, s-maxage=300", 300),
    lived("s-maxage alone, min 0", ZERO, "s-maxage=300", 300),
    lived("s-maxage=0, min 0", ZERO, "s-maxage=0, max-age=50", 0),
    lived("nothing said, min 0", ZERO, None, 100),
    lived("public alone, min 0", ZERO, "public", 100),
    lived("no-cache, min 0", ZERO, "no-cache", 0),
    lived("no-store, min 0", ZERO, "no-store", 0),
    lived("private, min 0", ZERO, "private", 0),
    lived("max-age and no-store, min 0", ZERO, "max-age=100, no-store", 0),
    lived("max-age within, min above 0", SOME, "max-age=200", 200),
    lived("max-age below min", SOME, "max-age=10", 50),
    lived("max-age=0, min above 0", SOME, "max-age=0", 50),
    lived("max-age above max, min above 0", SOME, "max-age=2000", 1000),
    lived("s-maxage below min", SOME, "s-maxage=10, max-age=500", 50),
    lived("nothing said, min above 0", SOME, None, 100),
    lived("nothing said, min above default", (200, 200, 1000), None, 200),
    lived("no-cache, min above 0", SOME, "no-cache", 50),
    lived("no-store, min above 0", SOME, "no-store", 50),
    lived("private, min above 0", SOME, "private", 50),
    lived("max-age and private, min above 0", SOME, "max-age=500, private", 50),
    Fact(
        "3 all zero disables caching",
        {"behavior": {"CachePolicyId": DISABLED}},
        [Step(origin=(200, {"Cache-Control": "max-age=100"}, b"x"), asked=1), Step(asked=1)],
    ),
    Fact(
        "3 no heuristic freshness",
        {"behavior": {"CachePolicyId": BY_ORIGIN}},
        [Step(origin=(200, {"Last-Modified": "Sat, 01 Jan 2000 00:00:00 GMT"}, b"x"), asked=1), Step(asked=1)],
    ),
    Fact(
        "3 Expires, when nothing else says so",
        KEPT,
        [
            Step(origin=(200, {"Expires": "Fri, 31 Dec 2100 00:00:00 GMT"}, b"x")),
            Step(advance=999, asked=0),
            Step(advance=2, asked=1),
        ],
        [cache(ZERO)],
    ),
    Fact(
        "3 Expires in the past",
        KEPT,
        [Step(origin=(200, {"Expires": "Sat, 01 Jan 2000 00:00:00 GMT"}, b"x"), asked=1), Step(asked=1)],
        [cache(ZERO)],
    ),
    Fact(
        "3 a Last-Modified alone is asked about",
        KEPT,
        [
            Step(origin=(200, {"Last-Modified": "Sat, 01 Jan 2000 00:00:00 GMT"}, b"x")),
            Step(advance=101, asked=1, gets={"If-Modified-Since": "Sat, 01 Jan 2000 00:00:00 GMT"}),
        ],
        [cache(ZERO)],
    ),
    Fact(
        "3 no conditions where cookies are forwarded",
        SENT,
        [
            Step(origin=(200, {"ETag": '"1"', "Cache-Control": "max-age=5"}, b"x")),
            Step(advance=6, asked=1, gets={"If-None-Match": None}),
        ],
        ALL_COOKIES,
    ),
    Fact(
        "3 a viewer's condition on a fresh copy is answered here",
        {},
        [
            Step(origin=(200, {"ETag": '"1"'}, b"x")),
            Step(headers={"If-None-Match": '"1"'}, status=304, asked=0, content=b""),
        ],
    ),
    Fact(
        "3 Origin's no-store under CachingOptimized is kept one second",
        {},
        [Step(origin=(200, {"Cache-Control": "no-store"}, b"x"), asked=1), Step(asked=0), Step(advance=2, asked=1)],
    ),
]


def countries(kind: str, *codes: str) -> JSON:
    return {"Restrictions": {"GeoRestriction": {"RestrictionType": kind, **items(*codes)}}}


def viewer(address: str) -> dict[str, str]:
    return {"EdgeProxy-Client": address}


BLOCKED = b"The Amazon CloudFront distribution is configured to block access from your country."
GEO = [
    Fact("8.5 a listed country is served", countries("whitelist", "DE"), [Step(headers=viewer(GERMAN), status=200)]),
    Fact(
        "8.5 any other is not",
        countries("whitelist", "DE"),
        [
            Step(
                headers=viewer(AMERICAN),
                status=403,
                asked=0,
                contains=BLOCKED,
                says={"X-Cache": "Error from cloudfront"},
            )
        ],
    ),
    Fact(
        "8.5 a refused country",
        countries("blacklist", "DE"),
        [Step(headers=viewer(GERMAN), status=403, asked=0, contains=BLOCKED)],
    ),
    Fact("8.5 any other is served", countries("blacklist", "DE"), [Step(headers=viewer(AMERICAN), status=200)]),
    Fact("8.5 an unknown country is served", countries("whitelist", "DE"), [Step(headers=viewer(NOWHERE), status=200)]),
    Fact(
        "8.5 also from the cache",
        countries("blacklist", "DE"),
        [
            Step(headers=viewer(AMERICAN), asked=1),
            *[Step(headers=viewer(AMERICAN), status=200, asked=0)] * 3,
            *[Step(headers=viewer(GERMAN), status=403, asked=0)] * 3,
        ],
    ),
    Fact(
        "8.5 with a page of one's own",
        {
            **countries("blacklist", "DE"),
            "CustomErrorResponses": items({"ErrorCode": 403, "ResponseCode": "200", "ResponsePagePath": "/sorry"}),
        },
        [
            Step(
                headers=viewer(GERMAN),
                origin=(200, {}, b"sorry"),
                status=200,
                content=b"sorry",
                path="/sorry",
                says={"X-Cache": "Error from cloudfront"},
            )
        ],
    ),
    Fact(
        "8.5 before the viewer protocol",
        {**countries("blacklist", "DE"), "behavior": {"ViewerProtocolPolicy": "redirect-to-https"}},
        [Step(headers=viewer(GERMAN), status=403)],
    ),
]


GENERATED = (
    b"Generated by cloudfront (CloudFront)",
    b"Request ID: ",
    b"<H1>403 ERROR</H1>",
    b"The request could not be satisfied.",
)
PAGES = [
    *[
        Fact(
            f"12.1 the page has {text.decode()}",
            {},
            [
                Step(
                    host="x.test",
                    status=403,
                    contains=text,
                    says={"Server": "CloudFront", "Content-Type": "text/html", "X-Cache": "Error from cloudfront"},
                )
            ],
        )
        for text in GENERATED
    ],
    Fact(
        "12.1 an origin's own error page passes",
        {},
        [Step(origin=(404, {"Content-Type": "text/x"}, b"theirs"), status=404, content=b"theirs")],
    ),
]

FACTS = [*FIELDS, *ERRORS, *STALE, *TTL, *GEO, *PAGES]


@pytest.mark.parametrize("fact", FACTS, ids=lambda fact: fact.name)
async def test_fact(fact: Fact) -> None:
    await show(fact)
