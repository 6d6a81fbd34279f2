"""What origins are asked, what is kept of their answers (fact sheet 1.4, 1.5, 2.1, 4.4, 4.9; RFC 9110 section 7.6)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from edgeproxy.cloudfront.origin_request import (
    certificate_name,
    forwards_left,
    is_websocket,
    origin_request,
    response_fields,
)
from edgeproxy.configuration import origin_only
from edgeproxy.headers import Headers
from edgeproxy.message import Client, RequestHead
from edgeproxy.model import (
    EVERYTHING,
    NOTHING,
    Behavior,
    Caching,
    Choice,
    Distribution,
    Forwarding,
    KeyParts,
    Origin,
    OriginKind,
    OriginScheme,
    Rules,
    Selector,
    Ttl,
)
from tests.distributions import behavior, config, distribution, legacy

CLIENT = Client("192.0.2.7", 50_000)
ORIGIN = Origin("web", "origin.example.com")
Fields = list[tuple[bytes, bytes]]


def listed(*names: bytes) -> Selector:
    return Selector(Choice.LISTED, frozenset(names))


def head(
    *fields: tuple[bytes, bytes], method: str = "GET", target: bytes = b"/a?x=1", version: str = "1.1"
) -> RequestHead:
    return RequestHead(method, target, b"www.example.test", Headers(fields), version=version)


def asked(
    request: RequestHead,
    part: Behavior,
    *,
    rules: Rules = Rules.CLOUDFRONT,
    origin: Origin = ORIGIN,
    any_host: bool = False,
) -> RequestHead:
    made = Distribution("E1", "e1.edge.localhost", rules, "0", {"web": origin}, (part,), any_host=any_host)
    return origin_request(request, made, part, origin, CLIENT, request_id=b"ID==", via=b"1.1 me")


PLAIN = Behavior("*", "web", forward=Forwarding(NOTHING, NOTHING, NOTHING))
LEGACY = distribution(config(DefaultCacheBehavior=legacy())).behaviors[-1]
ALL_VIEWER = Behavior("*", "web", forward=Forwarding(EVERYTHING, EVERYTHING, EVERYTHING))


def value(request: RequestHead, name: bytes) -> bytes | None:
    assert len(request.headers.all(name)) <= 1
    return request.headers.get(name)


def test_1_5_a_bare_request_gets_what_cloudfront_adds() -> None:
    made = asked(head(), PLAIN)
    assert made.authority == b"origin.example.com"
    assert made.target == b"/a"
    assert list(made.headers) == [
        (b"User-Agent", b"Amazon CloudFront"),
        (b"X-Amz-Cf-Id", b"ID=="),
        (b"Via", b"1.1 me"),
        (b"X-Forwarded-For", b"192.0.2.7"),
        (b"CDN-Loop", b'edgeproxy; d="E1"'),
    ]


# (field, passes under policies that list nothing, under legacy settings, under AllViewer)
TABLE: list[tuple[bytes, bool, bool, bool]] = [
    (b"X-Anything", False, True, True),
    (b"Accept", False, False, True),
    (b"Accept-Charset", False, False, True),
    (b"Accept-Language", False, False, True),
    (b"Referer", False, False, True),
    (b"Expect", False, False, False),
    (b"X-HTTP-Method-Override", False, False, True),
    (b"Authorization", False, False, True),
    (b"Cache-Control", True, True, True),
    (b"Pragma", True, True, True),
    (b"Max-Forwards", True, True, True),
    (b"Request-Range", True, True, True),
    (b"Content-Type", True, True, True),
    (b"Content-MD5", True, True, True),
    (b"From", False, True, True),
    (b"Origin", False, True, True),
    (b"Warning", False, True, True),
    (b"If-Match", True, True, True),
    (b"If-None-Match", True, True, True),
    (b"If-Modified-Since", True, True, True),
    (b"If-Unmodified-Since", True, True, True),
    (b"If-Range", True, True, True),
    (b"Range", True, True, True),
    (b"Date", False, True, True),
    (b"Proxy-Authenticate", False, False, False),
    (b"Proxy-Authorization", False, False, False),
    (b"Proxy-Connection", False, False, False),
    (b"TE", False, False, False),
    (b"Trailer", False, False, False),
    (b"X-Forwarded-Proto", False, False, False),
    (b"X-Real-IP", False, False, False),
    (b"X-Edge-Anything", False, False, False),
    (b"Upgrade", False, False, False),
    (b"CloudFront-Viewer-Country", False, False, False),
    (b"EdgeProxy-Tier", False, False, False),
    (b"Keep-Alive", False, False, False),
]


@pytest.mark.parametrize(("name", "bare", "by_legacy", "by_all_viewer"), TABLE)
def test_1_5_which_fields_reach_the_origin(name: bytes, bare: bool, by_legacy: bool, by_all_viewer: bool) -> None:
    request = head((name, b"v"))
    passes = [value(asked(request, part), name.lower()) == b"v" for part in (PLAIN, LEGACY, ALL_VIEWER)]
    assert passes == [bare, by_legacy, by_all_viewer]


@pytest.mark.parametrize(
    ("method", "cached", "passes"),
    [
        ("GET", (), False),
        ("HEAD", (), False),
        ("OPTIONS", ("OPTIONS",), False),
        ("OPTIONS", (), True),
        ("PUT", (), True),
        ("POST", (), True),
        ("PATCH", (), True),
        ("DELETE", (), True),
    ],
)
def test_1_5_authorization_by_method(method: str, cached: tuple[str, ...], passes: bool) -> None:
    part = replace(PLAIN, cached_methods=frozenset({"GET", "HEAD", *cached}))
    made = asked(head((b"Authorization", b"Basic x"), method=method), part)
    assert (value(made, b"authorization") is not None) is passes


def test_1_5_a_viewers_user_agent_passes_only_where_it_is_forwarded() -> None:
    request = head((b"User-Agent", b"curl"))
    assert value(asked(request, LEGACY), b"user-agent") == b"Amazon CloudFront"
    assert value(asked(request, ALL_VIEWER), b"user-agent") == b"curl"
    assert value(asked(head(), ALL_VIEWER), b"user-agent") == b"Amazon CloudFront"


def test_1_4_host() -> None:
    assert asked(head(), LEGACY).authority == b"origin.example.com"
    assert asked(head(), ALL_VIEWER).authority == b"www.example.test"
    assert asked(head((b"Host", b"www.example.test")), ALL_VIEWER).headers.get(b"host") is None
    block = replace(PLAIN, forward=Forwarding(NOTHING, NOTHING, Selector(Choice.ALL_EXCEPT, frozenset({b"host"}))))
    assert asked(head(), block).authority == b"origin.example.com"


@pytest.mark.parametrize(
    ("origin", "authority", "scheme"),
    [
        (replace(ORIGIN, http_port=8080), b"origin.example.com:8080", "http"),
        (replace(ORIGIN, scheme=OriginScheme.HTTPS), b"origin.example.com", "https"),
        (replace(ORIGIN, scheme=OriginScheme.MATCH_VIEWER, http_port=81), b"origin.example.com:81", "http"),
        (replace(ORIGIN, host="::1"), b"[::1]", "http"),
        (replace(ORIGIN, host="::1", http_port=3000), b"[::1]:3000", "http"),
        (
            replace(ORIGIN, host="127.0.0.1", http_port=3000, host_header="b.s3.amazonaws.com"),
            b"b.s3.amazonaws.com",
            "http",
        ),
    ],
)
def test_1_4_the_origins_own_host_and_scheme(origin: Origin, authority: bytes, scheme: str) -> None:
    made = asked(head(), PLAIN, origin=origin)
    assert (made.authority, made.scheme) == (authority, scheme)


def test_1_5_x_forwarded_for_is_appended_after_a_bare_comma() -> None:
    request = head((b"X-Forwarded-For", b"192.0.2.4,192.0.2.3"), (b"x-forwarded-for", b"192.0.2.2"))
    assert value(asked(request, PLAIN), b"x-forwarded-for") == b"192.0.2.4,192.0.2.3,192.0.2.2,192.0.2.7"
    plain = asked(request, PLAIN, rules=Rules.RFC9111)
    assert value(plain, b"x-forwarded-for") == b"192.0.2.4,192.0.2.3, 192.0.2.2, 192.0.2.7"


def test_what_a_viewer_says_in_the_fields_of_others_is_kept_or_dropped() -> None:
    request = head((b"X-Amz-Cf-Id", b"forged"), (b"Via", b"1.0 proxy"), (b"CDN-Loop", b"other"))
    made = asked(request, ALL_VIEWER)
    assert value(made, b"x-amz-cf-id") == b"ID=="
    assert value(made, b"via") == b"1.0 proxy, 1.1 me"
    assert value(made, b"cdn-loop") == b'other, edgeproxy; d="E1"'


QUERIES: list[tuple[bytes, Selector, bytes]] = [
    (b"/a", EVERYTHING, b"/a"),
    (b"/a?", EVERYTHING, b"/a?"),
    (b"/a?x=1&y", EVERYTHING, b"/a?x=1&y"),
    (b"/a?x=1", NOTHING, b"/a"),
    (b"/a?y=2&x=1&y=3&z", listed(b"y"), b"/a?y=2&y=3"),
    (b"/a?Y=2", listed(b"y"), b"/a"),
    (b"/a?color=red;size=large", listed(b"color"), b"/a?color=red;size=large"),
    (b"/a?size=large;color=red", listed(b"color"), b"/a"),
    (b"/a?x=1&y=2", Selector(Choice.ALL_EXCEPT, frozenset({b"x"})), b"/a?y=2"),
    (b"/%41/../b?x=%20?", EVERYTHING, b"/%41/../b?x=%20?"),
    (b"*", EVERYTHING, b"*"),
]


@pytest.mark.parametrize(("target", "selector", "sent"), QUERIES)
def test_1_3_the_raw_path_and_the_chosen_query(target: bytes, selector: Selector, sent: bytes) -> None:
    part = replace(PLAIN, forward=Forwarding(selector, NOTHING, NOTHING))
    assert asked(head(target=target), part).target == sent


def test_5_4_the_origins_path_comes_first() -> None:
    assert asked(head(), PLAIN, origin=replace(ORIGIN, path="/base")).target == b"/base/a"
    assert asked(head(), PLAIN, origin=replace(ORIGIN, path="/b"), rules=Rules.RFC9111).target == b"/b/a?x=1"


COOKIES: list[tuple[list[bytes], Selector, bytes | None]] = [
    ([b"b=2; a=1"], EVERYTHING, b"a=1; b=2"),
    ([b"b=2; a=1"], NOTHING, None),
    ([b"b=2; a=1"], listed(b"b"), b"b=2"),
    ([b"b=2"], listed(b"a"), None),
    ([b"b=2", b"a=1"], EVERYTHING, b"a=1; b=2"),
    ([b"b=2;a=x=y"], EVERYTHING, b"a=x=y; b=2"),
    ([b"$Version=1; a=1"], EVERYTHING, b"a=1"),
    ([b"a=1; nonsense"], EVERYTHING, None),
    ([b"A=1; a=2"], listed(b"a"), b"a=2"),
]


@pytest.mark.parametrize(("lines", "selector", "sent"), COOKIES)
def test_4_9_cookies_are_sorted_chosen_and_well_formed(
    lines: list[bytes], selector: Selector, sent: bytes | None
) -> None:
    part = replace(PLAIN, forward=Forwarding(NOTHING, selector, NOTHING))
    assert value(asked(head(*[(b"Cookie", line) for line in lines]), part), b"cookie") == sent


ENCODINGS: list[tuple[bool, bool, bytes | None, bytes | None]] = [
    (True, True, b"gzip, deflate, br", b"br,gzip"),
    (True, True, b"br", b"br"),
    (True, True, b"gzip;q=0.5, br;q=0", b"gzip"),
    (True, False, b"gzip, br", b"gzip"),
    (False, True, b"gzip, br", b"br"),
    (True, True, b"zstd", b"identity"),
    (True, False, None, None),
    (False, False, b"gzip", None),
]


@pytest.mark.parametrize(("gzip", "brotli", "sent", "forwarded"), ENCODINGS)
def test_4_4_accept_encoding(gzip: bool, brotli: bool, sent: bytes | None, forwarded: bytes | None) -> None:
    part = replace(PLAIN, key=KeyParts(gzip=gzip, brotli=brotli))
    request = head(*[] if sent is None else [(b"Accept-Encoding", sent)])
    assert value(asked(request, part), b"accept-encoding") == forwarded
    assert value(asked(replace(request, version="1.0"), part), b"accept-encoding") is None


def test_4_4_without_flags_it_is_a_field_like_others() -> None:
    assert value(asked(head((b"Accept-Encoding", b"zstd")), ALL_VIEWER), b"accept-encoding") == b"zstd"


def test_1_5_custom_headers_overwrite() -> None:
    origin = replace(ORIGIN, custom_headers=((b"X-Key", b"ours"), (b"User-Agent", b"edge")))
    made = asked(head((b"x-key", b"theirs")), ALL_VIEWER, origin=origin)
    assert value(made, b"x-key") == b"ours"
    assert value(made, b"user-agent") == b"edge"


WEBSOCKET: Fields = [
    (b"Connection", b"keep-alive, Upgrade"),
    (b"Upgrade", b"websocket"),
    (b"Sec-WebSocket-Key", b"k"),
    (b"Sec-WebSocket-Version", b"13"),
    (b"Sec-WebSocket-Protocol", b"chat"),
]


def test_1_6_a_websocket_keeps_what_its_handshake_needs() -> None:
    made = asked(head(*WEBSOCKET), PLAIN)
    assert is_websocket(head(*WEBSOCKET))
    assert value(made, b"upgrade") == b"websocket"
    assert value(made, b"sec-websocket-key") == b"k"
    assert value(made, b"sec-websocket-version") == b"13"
    assert value(made, b"sec-websocket-protocol") is None
    assert value(asked(head(*WEBSOCKET), ALL_VIEWER), b"sec-websocket-protocol") == b"chat"


def test_1_6_no_other_upgrade_passes() -> None:
    for request in (head((b"Connection", b"upgrade"), (b"Upgrade", b"h2c")), head((b"Upgrade", b"websocket"))):
        assert not is_websocket(request)
        assert value(asked(request, ALL_VIEWER), b"upgrade") is None


# rfc9111 rules


def test_rfc9110_7_6_1_end_to_end_fields_pass_as_they_came_and_hop_by_hop_ones_do_not() -> None:
    fields: Fields = [(b"Accept", b"*/*"), (b"COOKIE", b"b; a"), (b"X-A", b"1"), (b"X-A", b"2")]
    request = head(
        *fields, (b"Connection", b"X-Drop, Host"), (b"X-Drop", b"1"), (b"TE", b"trailers"), (b"EdgeProxy-Key", b"k")
    )
    made = asked(request, ALL_VIEWER, rules=Rules.RFC9111)
    assert list(made.headers)[:4] == fields
    assert [name for name, _ in made.headers][4:] == [b"Via", b"X-Forwarded-For", b"CDN-Loop"]
    assert made.target == b"/a?x=1"


@pytest.mark.parametrize("name", [b"X-Forwarded-Host", b"X-Original-URL", b"X-Rewrite-URL", b"X-HTTP-Method-Override"])
def test_what_makes_one_request_of_another_does_not_reach_a_cacheable_one(name: bytes) -> None:
    for method in ("GET", "HEAD"):
        assert name.lower() not in asked(head((name, b"x"), method=method), PLAIN, rules=Rules.RFC9111).headers
    assert name.lower() in asked(head((name, b"x"), method="POST"), PLAIN, rules=Rules.RFC9111).headers


def test_rfc9110_7_6_3_via_is_appended() -> None:
    made = asked(head((b"Via", b"1.0 a"), (b"Via", b"1.1 b")), PLAIN, rules=Rules.RFC9111)
    assert value(made, b"via") == b"1.0 a, 1.1 b, 1.1 me"


def test_a_plain_reverse_proxy_keeps_the_viewers_host() -> None:
    assert asked(head(), PLAIN, rules=Rules.RFC9111, any_host=True).authority == b"www.example.test"
    assert asked(head(), PLAIN, rules=Rules.RFC9111).authority == b"origin.example.com"
    for rules in Rules:
        made = origin_only("http://127.0.0.1:3000", rules)
        sent = origin_request(
            head(), made, made.behaviors[0], made.origins["origin"], CLIENT, request_id=b"ID", via=b"1.1 me"
        )
        assert (sent.authority, sent.target) == (b"www.example.test", b"/a?x=1")


@pytest.mark.parametrize(
    ("method", "sent", "left", "forwarded"),
    [
        ("OPTIONS", b"3", 3, b"2"),
        ("TRACE", b"1", 1, b"0"),
        ("TRACE", b"0", 0, b"0"),
        ("GET", b"3", None, b"3"),
        ("OPTIONS", b"x", None, b"x"),
        ("OPTIONS", b"9" * 19, None, b"9" * 19),
    ],
)
def test_rfc9110_7_6_2_max_forwards(method: str, sent: bytes, left: int | None, forwarded: bytes) -> None:
    request = head((b"Max-Forwards", sent), method=method)
    assert forwards_left(request) == left
    assert value(asked(request, PLAIN, rules=Rules.RFC9111), b"max-forwards") == forwarded


def test_an_upgrade_passes_whatever_it_is() -> None:
    request = head((b"Connection", b"upgrade"), (b"Upgrade", b"h2c"))
    assert value(asked(request, PLAIN, rules=Rules.RFC9111), b"upgrade") == b"h2c"


# Answers


def kept(*fields: tuple[bytes, bytes], part: Behavior = PLAIN, origin: Origin = ORIGIN) -> Fields:
    return list(response_fields(Headers(fields), part, origin))


def test_2_1_set_cookie_is_kept_only_where_cookies_are_forwarded() -> None:
    assert kept((b"Set-Cookie", b"a=1"), (b"X-A", b"1")) == [(b"X-A", b"1")]
    assert kept((b"Set-Cookie", b"a=1"), part=ALL_VIEWER) == [(b"Set-Cookie", b"a=1")]


def test_2_1_fields_that_are_always_removed() -> None:
    removed: Fields = [(b"Trailer", b"a"), (b"Upgrade", b"h2c"), (b"Via", b"1.1 x"), (b"Transfer-Encoding", b"chunked")]
    assert kept(*removed) == []
    s3: Fields = [(b"x-amz-id-2", b"1"), (b"x-amz-request-id", b"2")]
    assert kept(*s3) == s3
    assert kept(*s3, origin=replace(ORIGIN, kind=OriginKind.S3)) == []


FORWARDS_ORIGIN = replace(PLAIN, forward=Forwarding(NOTHING, NOTHING, listed(b"origin")))
VARY: list[tuple[bytes, Behavior, list[bytes]]] = [
    (b"Accept-Encoding, Cookie", PLAIN, [b"Accept-Encoding, Cookie"]),
    (b"Origin, User-Agent", PLAIN, []),
    (b"Origin, User-Agent,Accept-Encoding", FORWARDS_ORIGIN, [b"Origin, Accept-Encoding"]),
    (b"X-A", replace(PLAIN, key=KeyParts(headers=(b"x-a",))), [b"X-A"]),
    (b"*", PLAIN, [b"*"]),
    (b"*", replace(PLAIN, caching=Caching(ttl=Ttl(1, 1, 1))), []),
]


@pytest.mark.parametrize(("vary", "part", "left"), VARY)
def test_2_1_vary_is_filtered(vary: bytes, part: Behavior, left: list[bytes]) -> None:
    assert [value for name, value in kept((b"Vary", vary), part=part) if name == b"Vary"] == left


def test_a_managed_policy_forwards_what_the_table_says() -> None:
    made = distribution(config(DefaultCacheBehavior=behavior(OriginRequestPolicyId="CORS-S3Origin")))
    sent = asked(head((b"Origin", b"http://a"), (b"X-Other", b"1")), made.behaviors[-1])
    assert value(sent, b"origin") == b"http://a"
    assert value(sent, b"x-other") is None


FORWARDS_HOST = Behavior("*", "web", forward=Forwarding(headers=listed(b"host")))
SITE = Distribution("E1", "e1.example", Rules.CLOUDFRONT, "1", {}, ())


@pytest.mark.parametrize(
    ("authority", "behavior", "origin", "rules", "name"),
    [
        (b"www.example.com", FORWARDS_HOST, ORIGIN, Rules.CLOUDFRONT, "www.example.com"),
        (b"www.example.com:8443", FORWARDS_HOST, ORIGIN, Rules.CLOUDFRONT, "www.example.com"),
        (b"[2001:db8::1]:8443", FORWARDS_HOST, ORIGIN, Rules.CLOUDFRONT, "2001:db8::1"),
        (b"www.example.com", Behavior("*", "web", forward=Forwarding(headers=NOTHING)), ORIGIN, Rules.CLOUDFRONT, ""),
        (b"www.example.com", FORWARDS_HOST, replace(ORIGIN, host_header="o.test"), Rules.CLOUDFRONT, ""),
        (b"www.example.com", FORWARDS_HOST, ORIGIN, Rules.RFC9111, ""),
    ],
)
def test_1_4_whose_certificate_an_origin_has_to_show(
    authority: bytes, behavior: Behavior, origin: Origin, rules: Rules, name: str
) -> None:
    request = replace(head(), authority=authority)
    assert certificate_name(request, replace(SITE, rules=rules), behavior, origin) == name


def test_1_9_made_up_fields_pass_where_they_are_asked_for_alone() -> None:
    made = Behavior("*", "web", forward=Forwarding(made_up=frozenset({b"cloudfront-viewer-country"})))
    fields = [(b"CloudFront-Viewer-Country", b"DE"), (b"CloudFront-Viewer-City", b"X")]
    request = head().with_headers(Headers(fields))
    sent = origin_request(request, SITE, made, ORIGIN, CLIENT, request_id=b"r", via=b"v").headers
    assert (sent.get(b"cloudfront-viewer-country"), sent.get(b"cloudfront-viewer-city")) == (b"DE", None)


def test_2_1_vary_keeps_user_agent_with_a_device_field_alone() -> None:
    received = Headers([(b"Vary", b"User-Agent")])
    device = Behavior("*", "web", forward=Forwarding(headers=NOTHING, made_up=frozenset({b"cloudfront-is-ios-viewer"})))
    country = Behavior("*", "web", forward=Forwarding(headers=NOTHING, made_up=frozenset({b"cloudfront-viewer-city"})))
    assert response_fields(received, device, ORIGIN).get(b"vary") == b"User-Agent"
    assert response_fields(received, country, ORIGIN).get(b"vary") is None
