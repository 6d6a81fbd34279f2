"""Fact sheet 2.7, 2.8, 4.6 to 4.8: managed policies, response headers policies, Server-Timing, pages for errors."""

from __future__ import annotations

import pytest

from edgeproxy.model import Rules
from edgeproxy.telemetry.counters import Counter
from tests.facts import (
    AMERICAN,
    DISABLED,
    HOST,
    JSON,
    Fact,
    Step,
    cache,
    distribution,
    items,
    response,
    sent,
    show,
)
from tests.scripted import ScriptedOrigin
from tests.tier import config_for, node

DRESSED: JSON = {"behavior": {"ResponseHeadersPolicyId": "p0"}}
ORIGIN, OTHER = {"Origin": "https://www.example.org"}, {"Origin": "https://evil.test"}
PREFLIGHT = {**ORIGIN, "Access-Control-Request-Method": "PUT", "Access-Control-Request-Headers": "x-amz-a, x-b"}
CORS: JSON = {
    "AccessControlAllowOrigins": items("https://*.example.org"),
    "AccessControlAllowHeaders": items("x-amz-*"),
    "AccessControlAllowMethods": items("ALL"),
    "AccessControlAllowCredentials": True,
    "AccessControlExposeHeaders": items("X-C"),
    "AccessControlMaxAgeSec": 600,
    "OriginOverride": True,
}
CORS = CORS | {"AccessControlAllowMethods": items("GET", "PUT")}
NO_CORS = dict.fromkeys((
    "Access-Control-Allow-Origin", "Access-Control-Allow-Credentials", "Access-Control-Allow-Methods",
    "Access-Control-Allow-Headers", "Access-Control-Max-Age", "Access-Control-Expose-Headers",
))  # fmt: skip
PLAIN_CORS = NO_CORS | {
    "Access-Control-Allow-Origin": "https://www.example.org", "Access-Control-Allow-Credentials": "true",
    "Access-Control-Expose-Headers": "X-C",
}  # fmt: skip
SECURE: JSON = {
    "StrictTransportSecurity": {
        "Override": False,
        "AccessControlMaxAgeSec": 60,
        "IncludeSubdomains": True,
        "Preload": True,
    },
    "ContentTypeOptions": {"Override": True},
    "FrameOptions": {"Override": False, "FrameOption": "DENY"},
    "XSSProtection": {"Override": False, "Protection": True, "ModeBlock": True},
    "ReferrerPolicy": {"Override": False, "ReferrerPolicy": "same-origin"},
    "ContentSecurityPolicy": {"Override": False, "ContentSecurityPolicy": "default-src 'self'"},
}
SECURED = {
    "Strict-Transport-Security": "max-age=60; includeSubDomains; preload", "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY", "X-XSS-Protection": "1; mode=block", "Referrer-Policy": "same-origin",
    "Content-Security-Policy": "default-src 'self'",
}  # fmt: skip


def dressed(
    name: str,
    policy: JSON,
    received: dict[str, str],
    seen: dict[str, str | None],
    asked: dict[str, str] | None = None,
    method: str = "GET",
) -> Fact:
    """What a policy makes of an answer, on a miss and, where it is cached, on a hit."""
    step = Step(headers=asked or {}, method=method, origin=(200, received, b"hello"), says=seen)
    again = Step(headers=asked or {}, method=method, says=seen)
    return Fact(f"4.8 {name}", DRESSED, [step, again], [response(**policy)])


def custom(value: str, override: bool) -> JSON:
    return {"CustomHeadersConfig": items({"Header": "X-Mine", "Value": value, "Override": override})}


def removed(*names: str) -> JSON:
    return {"RemoveHeadersConfig": items(*[{"Header": name} for name in names])}


RESPONSES = [
    dressed(
        "a header is removed",
        removed("X-Powered-By"),
        {"X-Powered-By": "php", "X-A": "1"},
        {"X-Powered-By": None, "X-A": "1"},
    ),
    dressed("Server removed is CloudFront", removed("Server"), {"Server": "nginx"}, {"Server": "CloudFront"}),
    dressed(
        "Date removed is ours",
        removed("Date"),
        {"Date": "Sat, 01 Jan 2000 00:00:00 GMT"},
        {"Date": r"~.* 20[2-9]\d .*GMT"},
    ),
    dressed("X-Cache can be removed", removed("X-Cache"), {}, {"X-Cache": None, "X-Amz-Cf-Pop": "FRA50-P1"}),
    dressed(
        "removed and added is present",
        {**removed("X-Mine"), **custom("ours", False)},
        {"X-Mine": "theirs"},
        {"X-Mine": "ours"},
    ),
    dressed(
        "custom, no override: the origin's stays", custom("ours", False), {"X-Mine": "theirs"}, {"X-Mine": "theirs"}
    ),
    dressed("custom, override: ours", custom("ours", True), {"X-Mine": "theirs"}, {"X-Mine": "ours"}),
    dressed("custom, the origin has none", custom("ours", False), {}, {"X-Mine": "ours"}),
    dressed("custom, empty", custom("", True), {"X-Mine": "theirs"}, {"X-Mine": ""}),
    dressed("security headers", {"SecurityHeadersConfig": SECURE}, {}, dict(SECURED)),
    dressed(
        "security: only those that override do",
        {"SecurityHeadersConfig": SECURE},
        {"X-Frame-Options": "SAMEORIGIN", "X-Content-Type-Options": "x"},
        {"X-Frame-Options": "SAMEORIGIN", "X-Content-Type-Options": "nosniff"},
    ),
    dressed("CORS on a CORS request", {"CorsConfig": CORS}, {}, PLAIN_CORS, ORIGIN),
    dressed("no CORS on any other", {"CorsConfig": CORS}, {}, NO_CORS),
    dressed("no CORS for an origin that is not allowed", {"CorsConfig": CORS}, {}, NO_CORS, OTHER),
    dressed(
        "preflight",
        {"CorsConfig": CORS},
        {},
        PLAIN_CORS
        | {
            "Access-Control-Allow-Methods": "GET, PUT",
            "Access-Control-Allow-Headers": "x-amz-a",
            "Access-Control-Max-Age": "600",
        },
        PREFLIGHT,
        "OPTIONS",
    ),
    dressed(
        "ALL methods are seven",
        {"CorsConfig": CORS | {"AccessControlAllowMethods": items("ALL"), "AccessControlAllowCredentials": False}},
        {},
        {"Access-Control-Allow-Methods": "GET, HEAD, OPTIONS, PUT, POST, PATCH, DELETE"},
        PREFLIGHT,
        "OPTIONS",
    ),
    dressed(
        "CORS, override: ours",
        {"CorsConfig": CORS},
        {"Access-Control-Allow-Origin": "*", "Access-Control-Max-Age": "1"},
        {"Access-Control-Allow-Origin": "https://www.example.org", "Access-Control-Max-Age": "1"},
        ORIGIN,
    ),
    dressed(
        "CORS, no override: the origin's alone",
        {"CorsConfig": CORS | {"OriginOverride": False}},
        {"Access-Control-Expose-Headers": "X-O"},
        NO_CORS | {"Access-Control-Expose-Headers": "X-O"},
        ORIGIN,
    ),
    dressed(
        "CORS, no override, the origin silent", {"CorsConfig": CORS | {"OriginOverride": False}}, {}, PLAIN_CORS, ORIGIN
    ),
    Fact(
        "4.8 a preflight goes to the origin",
        DRESSED,
        [Step(method="OPTIONS", headers=PREFLIGHT, asked=1)],
        [response(CorsConfig=CORS)],
    ),
    Fact(
        "4.8 one cached answer, each viewer's own CORS",
        DRESSED,
        [
            Step(headers=ORIGIN, asked=1, says=PLAIN_CORS),
            *[
                Step(asked=0, says=NO_CORS),
                Step(headers=OTHER, asked=0, says=NO_CORS),
                Step(
                    headers={"Origin": "https://a.example.org"},
                    asked=0,
                    says={"Access-Control-Allow-Origin": "https://a.example.org"},
                ),
            ]
            * 3,
        ],
        [response(CorsConfig=CORS)],
    ),
    Fact(
        "4.8 also on a 304",
        DRESSED,
        [
            Step(origin=(200, {"ETag": '"1"'}, b"x")),
            Step(headers={"If-None-Match": '"1"'}, status=304, says={"X-Mine": "ours"}),
        ],
        [response(**custom("ours", True))],
    ),
    Fact(
        "4.8 also on an error",
        DRESSED,
        [Step(origin=(404, {}, b"x"), status=404, says={"X-Mine": "ours"})],
        [response(**custom("ours", True))],
    ),
]

SECURITY = {
    "Strict-Transport-Security": "max-age=31536000",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "SAMEORIGIN",
    "X-XSS-Protection": "1; mode=block",
    "Referrer-Policy": "strict-origin-when-cross-origin",
}
MANAGED = [
    Fact(
        f"4.8 managed: {name}",
        {"behavior": {"ResponseHeadersPolicyId": name}},
        [Step(headers=ORIGIN, method=method, says={**NO_CORS, **seen})],
    )
    for name, method, seen in (
        ("SimpleCORS", "GET", {"Access-Control-Allow-Origin": "*", "X-Frame-Options": None}),
        ("Managed-SimpleCORS", "GET", {"Access-Control-Allow-Origin": "*"}),
        ("CORS-With-Preflight", "GET", {"Access-Control-Allow-Origin": "*", "Access-Control-Expose-Headers": "*"}),
        ("SecurityHeadersPolicy", "GET", SECURITY),
        ("CORS-and-SecurityHeadersPolicy", "GET", {"Access-Control-Allow-Origin": "*", **SECURITY}),
        (
            "CORS-with-preflight-and-SecurityHeadersPolicy",
            "GET",
            {"Access-Control-Allow-Origin": "*", "Access-Control-Expose-Headers": "*", **SECURITY},
        ),
    )
]
MANAGED += [
    Fact("4.6 CachingOptimized keeps a day", {}, [Step(), Step(advance=86399, asked=0), Step(advance=2, asked=1)]),
    Fact("4.6 CachingDisabled keeps nothing", {"behavior": {"CachePolicyId": DISABLED}}, [Step(asked=1)] * 2),
    Fact("4.6 CachingOptimized keys no query", {}, [Step("/a?x=1", asked=1, path="/a"), Step("/a?x=2", asked=0)]),
    Fact(
        "4.6 CachingOptimizedForUncompressedObjects sends no Accept-Encoding",
        {"behavior": {"CachePolicyId": "CachingOptimizedForUncompressedObjects"}},
        [Step(headers={"Accept-Encoding": "gzip"}, gets={"Accept-Encoding": None})],
    ),
    Fact(
        "4.6 Elemental-MediaPackage keys its four parameters",
        {"behavior": {"CachePolicyId": "Elemental-MediaPackage"}},
        [
            Step("/a?start=1&x=1", asked=1, path="/a?start=1"),
            Step("/a?x=2&start=1", asked=0),
            Step("/a?start=2", asked=1),
        ],
    ),
    Fact(
        "4.6 UseOriginCacheControlHeaders keys Host and cookies",
        {"behavior": {"CachePolicyId": "UseOriginCacheControlHeaders"}},
        [
            Step(
                headers={"Cookie": "a=1"},
                origin=(200, {"Cache-Control": "max-age=60"}, b"x"),
                gets={"Host": HOST, "Cookie": "a=1"},
                asked=1,
            ),
            Step(headers={"Cookie": "a=2"}, asked=1),
            Step(headers={"Cookie": "a=1"}, asked=0),
            Step("/a?x=1", headers={"Cookie": "a=1"}, asked=0),
        ],
    ),
    Fact(
        "4.6 UseOriginCacheControlHeaders-QueryStrings keys the query as well",
        {"behavior": {"CachePolicyId": "UseOriginCacheControlHeaders-QueryStrings"}},
        [Step(origin=(200, {"Cache-Control": "max-age=60"}, b"x"), asked=1), Step("/a?x=1", asked=1)],
    ),
    Fact(
        "4.6 Amplify keeps two seconds and keys the country",
        {"behavior": {"CachePolicyId": "Amplify"}},
        [
            Step(headers={"EdgeProxy-Client": AMERICAN}, gets={"CloudFront-Viewer-Country": "US"}, asked=1),
            Step(asked=1),
            Step(advance=3, asked=1),
        ],
    ),
    *[
        Fact(
            f"4.7 {name} sends {sorted(heard)}",
            {"behavior": {"OriginRequestPolicyId": name}},
            [
                Step(
                    "/a?q=1",
                    headers={
                        "Origin": "https://a.test",
                        "Access-Control-Request-Method": "PUT",
                        "Access-Control-Request-Headers": "x",
                        "User-Agent": "curl",
                        "Referer": "r",
                        "X-Mine": "1",
                        "Cookie": "c=1",
                    },
                    gets={
                        "Origin": None,
                        "Access-Control-Request-Method": None,
                        "Access-Control-Request-Headers": None,
                        "Referer": None,
                        "X-Mine": None,
                        "Cookie": None,
                        **heard,
                    },
                    path=path,
                )
            ],
        )
        for name, heard, path in (
            (
                "AllViewer",
                {
                    "Origin": "https://a.test",
                    "X-Mine": "1",
                    "Cookie": "c=1",
                    "Referer": "r",
                    "Access-Control-Request-Method": "PUT",
                    "Access-Control-Request-Headers": "x",
                    "Host": HOST,
                },
                "/a?q=1",
            ),
            ("CORS-CustomOrigin", {"Origin": "https://a.test"}, "/a"),
            (
                "CORS-S3Origin",
                {
                    "Origin": "https://a.test",
                    "Access-Control-Request-Method": "PUT",
                    "Access-Control-Request-Headers": "x",
                },
                "/a",
            ),
            (
                "Elemental-MediaTailor-PersonalizedManifests",
                {
                    "Origin": "https://a.test",
                    "Access-Control-Request-Method": "PUT",
                    "Access-Control-Request-Headers": "x",
                    "User-Agent": "curl",
                },
                "/a?q=1",
            ),
            ("HostHeaderOnly", {"Host": HOST, "User-Agent": "Amazon CloudFront"}, "/a"),
            ("UserAgentRefererHeaders", {"User-Agent": "curl", "Referer": "r"}, "/a"),
        )
    ],
]


def timing(rate: float | None = 100, enabled: bool = True) -> list[JSON]:
    config = {"Enabled": enabled} | ({} if rate is None else {"SamplingRate": rate})
    return [response(ServerTimingHeadersConfig=config)]


ASKED = {"Pragma": "server-timing"}
MISS = (
    r'~cdn-upstream-layer;desc="EDGE",cdn-upstream-dns;dur=\d+,cdn-upstream-connect;dur=\d+,cdn-upstream-fbl;dur=\d+,'
    r'cdn-cache-miss,cdn-pop;desc="FRA50-P1",cdn-rid;desc="[\w=-]+",cdn-downstream-fbl;dur=\d+'
)
HIT = (
    r'~cdn-cache-hit,cdn-pop;desc="FRA50-P1",cdn-rid;desc="[\w=-]+",cdn-hit-layer;desc="EDGE",'
    r"cdn-downstream-fbl;dur=\d+"
)
TIMED = [
    Fact(
        "2.7 a miss and a hit",
        DRESSED,
        [Step(says={"Server-Timing": MISS}), Step(says={"Server-Timing": HIT})],
        timing(),
    ),
    Fact("2.7 rate 0: none", DRESSED, [Step(says={"Server-Timing": None})] * 2, timing(0)),
    Fact("2.7 no rate: none", DRESSED, [Step(says={"Server-Timing": None})] * 2, timing(None)),
    Fact(
        "2.7 Pragma asks for it, at rate 0 too",
        DRESSED,
        [
            Step(headers=ASKED, says={"Server-Timing": MISS}),
            *[Step(says={"Server-Timing": None}), Step(headers=ASKED, says={"Server-Timing": HIT})] * 3,
        ],
        timing(0),
    ),
    Fact(
        "2.7 Pragma asks in vain where it is off",
        DRESSED,
        [Step(headers=ASKED, says={"Server-Timing": None})],
        timing(enabled=False),
    ),
    Fact(
        "2.7 an origin's own goes along on a miss and not on a hit",
        DRESSED,
        [
            Step(
                origin=(200, {"Server-Timing": "db;dur=5"}, b"x"),
                says={"Server-Timing": "~db;dur=5,cdn-upstream-layer.*"},
            ),
            Step(says={"Server-Timing": HIT}),
        ],
        timing(),
    ),
    Fact(
        "2.7 a refresh",
        DRESSED,
        [
            Step(origin=(200, {"ETag": '"1"', "Cache-Control": "max-age=5"}, b"x")),
            Step(
                advance=10, origin=(304, {"ETag": '"1"'}, b""), says={"Server-Timing": "~.*cdn-cache-refresh,cdn-pop.*"}
            ),
        ],
        timing(),
    ),
]


def page(code: int, shown: str, path: str = "/e.html", minimum: int = 10, **more: object) -> JSON:
    entry = {"ErrorCode": code, "ResponseCode": shown, "ResponsePagePath": path, "ErrorCachingMinTTL": minimum}
    return {"CustomErrorResponses": items(entry), **more}


SORRY = {"/e.html": (200, {"Content-Type": "text/html", "Cache-Control": "max-age=60"}, b"sorry")}
SPA = {"/index.html": (200, {"Content-Type": "text/html"}, b"app")}
NOT_FOUND = (404, {"X-Origin": "1"}, b"theirs")
ELSEWHERE = items(
    {"PathPattern": "/e*", "TargetOriginId": "web", "ViewerProtocolPolicy": "https-only", "CachePolicyId": "p0"}
)
ERROR_PAGES = [
    *[
        Fact(
            f"2.8 a page for {code}",
            page(code, str(code)),
            [
                Step(
                    at=SORRY,
                    origin=(code, {"Cache-Control": "max-age=5"}, b"theirs"),
                    status=code,
                    content=b"sorry",
                    says={"X-Cache": "Error from cloudfront", "Content-Type": "text/html"},
                    path="/e.html",
                )
            ],
        )
        for code in (400, 403, 404, 405, 414, 500, 501, 502, 503, 504)
    ],
    *[
        Fact(
            f"2.8 a page for 404 under {shown}",
            page(404, shown),
            [Step(at=SORRY, origin=NOT_FOUND, status=int(shown), content=b"sorry")],
        )
        for shown in ("200", "403", "503")
    ],
    Fact(
        "2.8 the page of a single-page application",
        page(404, "200", "/index.html"),
        [
            Step("/deep/link", at=SPA, origin=NOT_FOUND, status=200, content=b"app", asked=2),
            *[Step("/deep/link", status=200, content=b"app", asked=0)] * 3,
            Step("/other", status=200, content=b"app", asked=1),
        ],
    ),
    Fact(
        "2.8 nothing of the origin's error is left",
        page(404, "404"),
        [Step(at=SORRY, origin=NOT_FOUND, says={"X-Origin": None})],
    ),
    Fact(
        "2.8 other statuses stay",
        page(404, "200"),
        [Step(at=SORRY, origin=(403, {}, b"theirs"), status=403, content=b"theirs")],
    ),
    Fact(
        "2.8 only a caching time leaves the error as it is",
        {"CustomErrorResponses": items({"ErrorCode": 404, "ErrorCachingMinTTL": 60})},
        [Step(origin=NOT_FOUND, status=404, content=b"theirs"), Step(advance=59, asked=0), Step(advance=2, asked=1)],
    ),
    Fact(
        "2.8 the page comes through its own behaviour and is kept by its rules",
        page(404, "404", CacheBehaviors=ELSEWHERE),
        [Step(at=SORRY, origin=NOT_FOUND, asked=2), Step("/b", asked=1), Step("/c", advance=61, asked=2)],
        [cache((0, 5, 100))],
    ),
    Fact(
        "2.8 the error is kept by its own time",
        page(404, "404", minimum=100),
        [Step(at=SORRY, origin=NOT_FOUND, asked=2), Step(advance=99, asked=1), Step(advance=2, asked=1)],
    ),
    Fact(
        "2.8 when the page fails its status is what the viewer gets",
        page(404, "200"),
        [Step(at={"/e.html": (503, {}, b"worse")}, origin=NOT_FOUND, status=503, content=b"worse")],
    ),
    Fact("2.8 for an error made here", page(502, "200"), [Step(at=SORRY, gone=True, status=200, content=b"sorry")]),
    Fact(
        "2.8 for a method that is not allowed",
        page(403, "200", behavior={"AllowedMethods": {**items("GET", "HEAD"), "CachedMethods": items("GET", "HEAD")}}),
        [Step(method="PUT", at=SORRY, status=200, content=b"sorry", path="/e.html")],
    ),
    Fact(
        "2.8 for plain HTTP where HTTPS is asked for",
        page(403, "403", behavior={"ViewerProtocolPolicy": "https-only"}),
        [Step(at=SORRY, status=403, content=b"sorry")],
    ),
    Fact(
        "2.8 a HEAD has the page's head",
        page(404, "200"),
        [Step(method="HEAD", at=SORRY, origin=NOT_FOUND, status=200, says={"Content-Length": "5"})],
    ),
    Fact(
        "2.8 a POST gets the page by GET",
        page(404, "200"),
        [Step(method="POST", body=b"x", at=SORRY, origin=NOT_FOUND, status=200, content=b"sorry")],
    ),
    Fact(
        "2.8 a range and conditions are not for the page",
        page(404, "200"),
        [
            Step(
                headers={"Range": "bytes=0-1", "If-None-Match": "*"},
                at=SORRY,
                origin=NOT_FOUND,
                status=200,
                content=b"sorry",
                gets={"Range": None, "If-None-Match": None},
            )
        ],
    ),
    Fact(
        "2.8 an unknown host gets none",
        page(403, "200"),
        [Step(host="x.test", at=SORRY, status=403, contains=b"Bad request.")],
    ),
    *[
        Fact(
            f"2.2 Connection: {value} with the page for {code}",
            page(code, "200"),
            [
                Step(
                    at=SORRY,
                    origin=(code, {"Cache-Control": "max-age=5"}, b"x"),
                    status=200,
                    says={"Connection": value},
                )
            ],
        )
        for code, value in (
            (400, "close"),
            (405, "close"),
            (414, "close"),
            (500, "close"),
            (501, "close"),
            (403, None),
            (404, None),
            (502, None),
            (503, None),
            (504, None),
        )
    ],
    Fact(
        "1.9 the page's request tells what failed",
        page(404, "200", behavior={"OriginRequestPolicyId": "p0"}),
        [
            Step(
                "/gone?x=1",
                at=SORRY,
                origin=NOT_FOUND,
                gets={"CloudFront-Error-Uri": "/gone", "CloudFront-Error-Args": "x=1"},
            )
        ],
        [sent(headers=["CloudFront-Error-Uri", "CloudFront-Error-Args"])],
    ),
    Fact(
        "1.9 an ordinary request does not",
        {"behavior": {"OriginRequestPolicyId": "p0"}},
        [Step("/a?x=1", headers={"CloudFront-Error-Uri": "/x"}, gets={"CloudFront-Error-Uri": None})],
        [sent(headers=["CloudFront-Error-Uri", "CloudFront-Error-Args"])],
    ),
]

FACTS = [*RESPONSES, *MANAGED, *TIMED, *ERROR_PAGES]


@pytest.mark.parametrize("fact", FACTS, ids=lambda fact: fact.name)
async def test_fact(fact: Fact) -> None:
    await show(fact)


async def test_2_8_no_page_for_want_of_capacity() -> None:
    """The error is ours, and its page would need the connection that is not to be had."""
    async with ScriptedOrigin() as origin:
        config = config_for(origin.port, **page(503, "200"))
        settings = {"upstream": {"connections_max": 1, "queue_max": 0}, "log": {"flush_interval": 0.01}}
        common: JSON = {"distributions": [distribution(config)], "rules": Rules.CLOUDFRONT, "settings": settings}
        async with node(**common) as pop, await pop.viewer() as first:
            await first.ask("/slow", host=HOST)
            slow = await origin.asked_for("/slow")
            got = await pop.get("/b", host=HOST)
            assert (got.status, got.header("X-Cache")) == (503, "Error from cloudfront")
            assert b"503 ERROR" in got.body
            await pop.reaches(Counter.RESULT_CAPACITY, 1)
            await slow.answer(200, {}, b"x")
