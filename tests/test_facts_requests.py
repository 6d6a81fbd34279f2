"""Fact sheet 1: what is refused, what is forwarded, and how."""

from __future__ import annotations

import pytest

from tests.facts import (
    AMERICAN,
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

SEVEN = ("GET", "HEAD", "OPTIONS", "PUT", "POST", "PATCH", "DELETE")


def methods(*allowed: str, cached: tuple[str, ...] = ("GET", "HEAD")) -> JSON:
    return {"AllowedMethods": {**items(*allowed), "CachedMethods": items(*cached)}}


TWO, THREE = {"behavior": methods("GET", "HEAD")}, {"behavior": methods("GET", "HEAD", "OPTIONS")}
ALL = {"behavior": methods(*SEVEN)}
CACHED_OPTIONS = {"behavior": methods("GET", "HEAD", "OPTIONS", cached=("GET", "HEAD", "OPTIONS"))}
REFUSED = b"This distribution is not configured to allow the HTTP request method"

METHODS = [
    *[
        Fact(
            f"1.1 {method} outside GET, HEAD is 403", TWO, [Step(method=method, status=403, asked=0, contains=REFUSED)]
        )
        for method in SEVEN[2:]
    ],
    *[
        Fact(f"1.1 {method} outside GET, HEAD, OPTIONS is 403", THREE, [Step(method=method, status=403, asked=0)])
        for method in SEVEN[3:]
    ],
    *[
        Fact(f"1.1 {method} inside all seven goes to the origin", ALL, [Step(method=method, status=200, asked=1)] * 2)
        for method in SEVEN[2:]
    ],
    *[
        Fact(f"1.1 {method} can never be allowed", ALL, [Step(method=method, status=403, asked=0)])
        for method in ("PROPFIND", "TRACE", "PURGE")
    ],
    Fact(
        "1.1 OPTIONS is cached where it is listed, under its own key",
        CACHED_OPTIONS,
        [
            Step(asked=1),
            Step(method="OPTIONS", asked=1),
            Step(method="OPTIONS", asked=0, says={"X-Cache": "Hit from cloudfront"}),
            Step(asked=0),
        ],
    ),
    Fact("1.1 OPTIONS is not cached where it is not listed", THREE, [Step(method="OPTIONS", asked=1)] * 2),
    Fact(
        "1.1 HEAD is answered from what GET brought",
        {},
        [Step(asked=1), Step(method="HEAD", asked=0, says={"Content-Length": "5"})],
    ),
    Fact("1.1 a GET with a body is 403", ALL, [Step(body=b"x", status=403, asked=0, contains=b"Bad request.")]),
    Fact("1.1 a POST is never cached", ALL, [Step(method="POST", body=b"x", asked=1)] * 2),
    Fact(
        "1.2 a URL of more than 8,192 bytes is 414",
        {},
        [Step("/" + "a" * 8200, status=414, asked=0, says={"Connection": "close"})],
    ),
    Fact(
        "1.2 a head of more than 32,768 bytes is 494",
        {},
        [Step(headers=[(f"X-{n}", "v" * 1000) for n in range(40)], status=494, asked=0, says={"Connection": "close"})],
    ),
    Fact("1.2 a URL of 8,000 bytes is served", {}, [Step("/" + "a" * 8000, status=200, asked=1)]),
]

QUERY = {"behavior": {"CachePolicyId": "p0"}}
ANY_QUERY = [cache(query="all")]
COLOR = [cache(query=["color"])]
PATHS = [
    *[
        Fact(
            f"1.3 {one} and {other} are two objects",
            QUERY,
            [Step(one, asked=1, path=one), Step(other, asked=1, path=other)],
            ANY_QUERY,
        )
        for one, other in (
            ("/images", "/images/"),
            ("/a", "/A"),
            ("/a//b", "/a/b"),
            ("/a%62", "/ab"),
            ("/%7Ea", "/~a"),
            ("/a/./b", "/a/b"),
            ("/x?a=1&b=2", "/x?b=2&a=1"),
            ("/x?a=1", "/x?A=1"),
            ("/x?a=b", "/x?a=B"),
            ("/x", "/x?"),
            ("/x?a", "/x?a="),
        )
    ],
    Fact(
        "1.3 only & separates parameters: one of a value with ;",
        QUERY,
        [Step("/x?color=red;size=large", asked=1, path="/x?color=red;size=large"), Step("/x?color=red", asked=1)],
        COLOR,
    ),
    Fact(
        "1.3 only & separates parameters: none behind ;",
        QUERY,
        [Step("/x?size=large;color=red", asked=1, path="/x"), Step("/x", asked=0)],
        COLOR,
    ),
    Fact("1.3 the raw path goes to the origin", {"CacheBehaviors": items()}, [Step("/a//b/../c", path="/a//b/../c")]),
    Fact("1.4 Host becomes the origin's own", {}, [Step(gets={"Host": r"~127\.0\.0\.1:\d+"})]),
    Fact(
        "1.4 Host is forwarded by an origin request policy",
        {"behavior": {"OriginRequestPolicyId": "HostHeaderOnly"}},
        [Step(gets={"Host": HOST})],
    ),
    Fact(
        "1.4 Host is forwarded and keyed by a cache policy",
        {"behavior": {"CachePolicyId": "p0"}, "Aliases": items("www.example.test")},
        [Step(gets={"Host": HOST}, asked=1), Step(host="www.example.test", gets={"Host": "www.example.test"}, asked=1)],
        [cache(headers=["Host"])],
    ),
    Fact(
        "1.4 allExcept Host sends the origin's own",
        {"behavior": {"OriginRequestPolicyId": "AllViewerExceptHostHeader"}},
        [Step(gets={"Host": r"~127\.0\.0\.1:\d+"})],
    ),
    Fact(
        "1.4 aliases share objects",
        {"Aliases": items("www.example.test", "*.example.org")},
        [Step(asked=1), Step(host="www.example.test", asked=0), Step(host="a.b.example.org", asked=0)],
    ),
    Fact(
        "1.4 an unknown Host is a bad request",
        {},
        [Step(host="other.test", status=403, asked=0, contains=b"Bad request.")],
    ),
    Fact("1.4 the port of a Host does not count", {}, [Step(asked=1), Step(host=HOST + ":8080", asked=0)]),
    Fact(
        "11 a disabled distribution serves nobody",
        {"Enabled": False},
        [Step(status=403, asked=0, contains=b"Bad request.")],
    ),
]


def by_legacy(*names: str, cookies: str = "none", **more: object) -> JSON:
    values = {"QueryString": False, "Cookies": {"Forward": cookies}, "Headers": items(*names)}
    return {"behavior": {"CachePolicyId": "", "ForwardedValues": values, "MinTTL": 0, **more}}


LEGACY, PLAIN = by_legacy(), {"behavior": {"OriginRequestPolicyId": "AllViewer"}}
NOT_LISTED = ("Accept", "Accept-Charset", "Accept-Language", "Referer", "X-HTTP-Method-Override")
ALWAYS = {
    "Content-MD5": "x", "Content-Type": "a/b", "If-Unmodified-Since": "Sat, 01 Jan 2000 00:00:00 GMT",
    "Cache-Control": "max-age=5", "Pragma": "x", "Max-Forwards": "5", "Request-Range": "x",
}  # fmt: skip
NEVER = {
    "Proxy-Authenticate": "x", "Proxy-Authorization": "x", "Proxy-Connection": "x", "TE": "trailers", "Trailer": "X",
    "X-Forwarded-Proto": "https", "X-Real-IP": "1.2.3.4", "X-Edge-Thing": "x",
}  # fmt: skip

HEADERS = [
    *[
        Fact(f"1.5 legacy: {name} is removed unless listed", LEGACY, [Step(headers={name: "x"}, gets={name: None})])
        for name in NOT_LISTED
    ],
    *[
        Fact(
            f"1.5 legacy: {name} is forwarded when listed",
            by_legacy(name),
            [Step(headers={name: "x"}, gets={name: "x"})],
        )
        for name in NOT_LISTED
    ],
    *[
        Fact(f"1.5 a policy: {name} is removed unless named", {}, [Step(headers={name: "x"}, gets={name: None})])
        for name in (*NOT_LISTED, "X-Mine", "From", "Origin")
    ],
    *[
        Fact(f"1.5 {name} is always forwarded", {}, [Step(headers={name: value}, method="POST", gets={name: value})])
        for name, value in ALWAYS.items()
    ],
    *[
        Fact(f"1.5 {name} never is", PLAIN, [Step(headers={name: value}, gets={name: None})])
        for name, value in NEVER.items()
    ],
    Fact(
        "1.5 Expect never is",
        PLAIN,
        [Step(method="POST", body=b"x", headers={"Expect": "100-continue"}, gets={"Expect": None})],
    ),
    Fact("1.5 legacy: any other header is forwarded", LEGACY, [Step(headers={"X-Mine": "1"}, gets={"X-Mine": "1"})]),
    Fact(
        "1.5 Authorization is removed from a GET",
        {},
        [Step(headers={"Authorization": "x"}, gets={"Authorization": None})],
    ),
    Fact(
        "1.5 Authorization passes with all viewer headers",
        PLAIN,
        [Step(headers={"Authorization": "x"}, gets={"Authorization": "x"})],
    ),
    *[
        Fact(
            f"1.5 Authorization passes with {method}",
            {},
            [Step(method=method, headers={"Authorization": "x"}, gets={"Authorization": "x"})],
        )
        for method in ("PUT", "POST", "PATCH", "DELETE", "OPTIONS")
    ],
    Fact(
        "1.5 Authorization is removed from an OPTIONS that is cached",
        CACHED_OPTIONS,
        [Step(method="OPTIONS", headers={"Authorization": "x"}, gets={"Authorization": None})],
    ),
    Fact("1.5 cookies are removed unless configured", {}, [Step(headers={"Cookie": "a=1"}, gets={"Cookie": None})]),
    Fact(
        "1.5 User-Agent is Amazon CloudFront",
        {},
        [Step(headers={"User-Agent": "curl"}, gets={"User-Agent": "Amazon CloudFront"})],
    ),
    Fact(
        "1.5 User-Agent is there even when the viewer sent none", {}, [Step(gets={"User-Agent": "Amazon CloudFront"})]
    ),
    Fact(
        "1.5 User-Agent is the viewer's when named",
        {"behavior": {"OriginRequestPolicyId": "UserAgentRefererHeaders"}},
        [Step(headers={"User-Agent": "curl"}, gets={"User-Agent": "curl"})],
    ),
    Fact("1.5 X-Amz-Cf-Id is added", {}, [Step(gets={"X-Amz-Cf-Id": r"~[A-Za-z0-9_-]{54}=="})]),
    Fact("1.5 X-Forwarded-For is made", {}, [Step(gets={"X-Forwarded-For": "127.0.0.1"})]),
    Fact(
        "1.5 X-Forwarded-For grows by a comma and no space",
        {},
        [
            Step(
                headers={"X-Forwarded-For": "192.0.2.4,192.0.2.3"},
                gets={"X-Forwarded-For": "192.0.2.4,192.0.2.3,127.0.0.1"},
            )
        ],
    ),
    Fact(
        "1.5 Via names the viewer's version and a pseudonym",
        {},
        [Step(gets={"Via": r"~1\.1 [0-9a-f]{32}\.cloudfront\.net \(CloudFront\)"})],
    ),
    Fact(
        "1.5 Via of an HTTP/1.0 viewer",
        {},
        [Step(version="1.0", gets={"Via": r"~1\.0 [0-9a-f]{32}\.cloudfront\.net \(CloudFront\)"})],
    ),
    Fact(
        "1.5 viewer Cache-Control never forces a fetch",
        {},
        [Step(asked=1), Step(headers={"Cache-Control": "no-cache", "Pragma": "no-cache"}, asked=0)],
    ),
    Fact(
        "1.5 header values count by case, names do not",
        {"behavior": {"CachePolicyId": "p0"}},
        [Step(headers={"X-A": "v"}, asked=1), Step(headers={"x-a": "v"}, asked=0), Step(headers={"X-A": "V"}, asked=1)],
        [cache(headers=["X-A"])],
    ),
    Fact(
        "1.5 loops: one distribution before is served", {}, [Step(headers={"CDN-Loop": 'edgeproxy; d="x"'}, status=200)]
    ),
    Fact(
        "1.5 loops: a third distribution is 403",
        {},
        [Step(headers={"CDN-Loop": 'edgeproxy; d="x", edgeproxy; d="y"'}, status=403, asked=0)],
    ),
]


def asking(*names: str) -> tuple[JSON, list[JSON]]:
    """A behaviour that sends these fields."""
    return {"behavior": {"OriginRequestPolicyId": "p0"}}, [sent(headers=[f"CloudFront-{name}" for name in names])]


def made(what: str, name: str, value: str | None, **request: object) -> Fact:
    config, policies = asking(name)
    return Fact(f"1.9 {what}", config, [Step(gets={f"CloudFront-{name}": value}, **request)], policies)  # type: ignore[arg-type]  # a step's own fields


PHONE = {"User-Agent": "Mozilla/5.0 (iPhone; CPU iPhone OS 17_1 like Mac OS X) AppleWebKit/605.1.15 Mobile/15E148"}
TABLET = {"User-Agent": "Mozilla/5.0 (Linux; Android 13; SM-X700) AppleWebKit/537.36 Chrome/130.0 Safari/537.36"}
TV = {"User-Agent": "Mozilla/5.0 (SMART-TV; Linux; Tizen 6.0) AppleWebKit/538.1 TV Safari/538.1"}
BY_COUNTRY = [cache(headers=["CloudFront-Viewer-Country"])]


def client(address: str) -> dict[str, str]:
    return {"EdgeProxy-Client": address}


MADE = [
    *[
        made(f"a phone: {name}", name, "true" if yes else "false", headers=PHONE)
        for name, yes in (
            ("Is-Mobile-Viewer", True),
            ("Is-IOS-Viewer", True),
            ("Is-Desktop-Viewer", False),
            ("Is-Tablet-Viewer", False),
            ("Is-SmartTV-Viewer", False),
            ("Is-Android-Viewer", False),
        )
    ],
    made("a tablet", "Is-Tablet-Viewer", "true", headers=TABLET),
    made("a tablet's system", "Is-Android-Viewer", "true", headers=TABLET),
    made("a television", "Is-SmartTV-Viewer", "true", headers=TV),
    made("no User-Agent", "Is-Desktop-Viewer", "true"),
    made("country", "Viewer-Country", "DE", headers=client(GERMAN)),
    made("another country", "Viewer-Country", "US", headers=client(AMERICAN)),
    made("no country", "Viewer-Country", None, headers=client(NOWHERE)),
    made("latitude", "Viewer-Latitude", "50.00000", headers=client(GERMAN)),
    made("longitude", "Viewer-Longitude", "8.00000", headers=client(GERMAN)),
    made("address", "Viewer-Address", rf"~{GERMAN}:\d+", headers=client(GERMAN)),
    made("no TLS", "Viewer-TLS", None),
    made("protocol", "Forwarded-Proto", "http"),
    made("version", "Viewer-Http-Version", "1.1"),
    made("version of an HTTP/1.0 viewer", "Viewer-Http-Version", "1.0", version="1.0"),
    made("how many fields", "Viewer-Header-Count", "3", headers={"X-B": "1", "X-A": "2"}),
    made("their order", "Viewer-Header-Order", "Host:X-B:X-A", headers={"X-B": "1", "X-A": "2"}),
    made(
        "a viewer's own copy is overwritten",
        "Viewer-Country",
        "DE",
        headers={**client(GERMAN), "CloudFront-Viewer-Country": "XX"},
    ),
    made(
        "a viewer's own copy goes also where nothing is known",
        "Viewer-Country",
        None,
        headers={**client(NOWHERE), "CloudFront-Viewer-Country": "XX"},
    ),
    made(
        "a fingerprint is not made", "Viewer-JA3-Fingerprint", None, headers={"CloudFront-Viewer-JA3-Fingerprint": "x"}
    ),
    Fact(
        "1.9 absent unless asked for",
        PLAIN,
        [Step(headers={**client(GERMAN), "CloudFront-Viewer-Country": "XX"}, gets={"CloudFront-Viewer-Country": None})],
    ),
    Fact(
        "1.9 part of the key",
        {"behavior": {"CachePolicyId": "p0"}},
        [
            Step(headers=client(GERMAN), asked=1),
            Step(headers=client("203.0.113.9"), asked=0),
            Step(headers=client(AMERICAN), asked=1),
            Step(headers=client(NOWHERE), asked=1),
        ],
        BY_COUNTRY,
    ),
    Fact(
        "1.9 what is in the key is sent",
        {"behavior": {"CachePolicyId": "p0"}},
        [Step(headers=client(GERMAN), gets={"CloudFront-Viewer-Country": "DE"})],
        BY_COUNTRY,
    ),
    Fact(
        "1.9 devices in the key of legacy settings",
        by_legacy("CloudFront-Is-Mobile-Viewer"),
        [
            Step(headers=PHONE, asked=1, gets={"CloudFront-Is-Mobile-Viewer": "true"}),
            Step(headers=TV, asked=1),
            Step(asked=0),
        ],
    ),
    Fact(
        "4.7 AllViewerAndCloudFrontHeaders adds them",
        {"behavior": {"OriginRequestPolicyId": "33f36d7e-f396-46d9-90e0-52428a34d9dc"}},
        [
            Step(
                headers={**client(GERMAN), "X-Mine": "1"},
                gets={
                    "X-Mine": "1",
                    "CloudFront-Viewer-Country": "DE",
                    "CloudFront-Is-Desktop-Viewer": "true",
                    "CloudFront-Forwarded-Proto": "http",
                    "CloudFront-Viewer-Http-Version": "1.1",
                },
            )
        ],
    ),
    Fact(
        "4.7 AllViewerExceptHostHeader adds them",
        {"behavior": {"OriginRequestPolicyId": "AllViewerExceptHostHeader"}},
        [Step(headers=client(GERMAN), gets={"CloudFront-Viewer-Country": "DE"})],
    ),
    Fact("1.8 dynamic requests are not collapsed", {"behavior": {"CachePolicyId": DISABLED}}, [Step(asked=1)] * 2),
]

FACTS = [*METHODS, *PATHS, *HEADERS, *MADE]


@pytest.mark.parametrize("fact", FACTS, ids=lambda fact: fact.name)
async def test_fact(fact: Fact) -> None:
    await show(fact)
