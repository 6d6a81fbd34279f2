"""Response headers policies: read, refused, and the managed ones (fact sheet 4.8, 14)."""

from __future__ import annotations

import json
from typing import Any

import pytest

from edgeproxy.cloudfront.policies import Policies
from edgeproxy.cloudfront.response_policies import ALL_METHODS, RESPONSE_POLICIES
from edgeproxy.model import Cors, ResponsePolicy
from edgeproxy.reading import Document
from tests.distributions import items

CORS: dict[str, Any] = {
    "AccessControlAllowOrigins": items("https://*.example.org"),
    "AccessControlAllowHeaders": items("X-A", "x-amz-*"),
    "AccessControlAllowMethods": items("ALL"),
    "AccessControlAllowCredentials": False,
    "AccessControlExposeHeaders": items("X-B"),
    "AccessControlMaxAgeSec": 600,
    "OriginOverride": True,
}


def read(**parts: Any) -> tuple[ResponsePolicy | None, list[str]]:
    policies = Policies()
    data = json.loads(json.dumps({"Id": "r1", "ResponseHeadersPolicyConfig": {"Name": "mine", **parts}}))
    faults = policies.read(Document("f", data))
    return policies.response_headers.get("r1"), [str(fault) for fault in faults]


def made(**parts: Any) -> ResponsePolicy:
    policy, faults = read(**parts)
    assert faults == []
    assert policy is not None
    return policy


def security(**parts: Any) -> dict[str, tuple[str, bool]]:
    policy = made(SecurityHeadersConfig=parts)
    return {each.name.decode(): (each.value.decode(), each.override) for each in policy.added}


def test_4_8_cors() -> None:
    assert made(CorsConfig=CORS).cors == Cors(
        ("https://*.example.org",), ("X-A", "x-amz-*"), ALL_METHODS, ("X-B",), False, 600, True
    )


SECURITY: list[tuple[dict[str, Any], dict[str, tuple[str, bool]]]] = [
    (
        {"StrictTransportSecurity": {"Override": True, "AccessControlMaxAgeSec": 5}},
        {"Strict-Transport-Security": ("max-age=5", True)},
    ),
    (
        {"StrictTransportSecurity": {
            "Override": False, "AccessControlMaxAgeSec": 5, "IncludeSubdomains": True, "Preload": True}},
        {"Strict-Transport-Security": ("max-age=5; includeSubDomains; preload", False)},
    ),
    ({"ContentTypeOptions": {"Override": True}}, {"X-Content-Type-Options": ("nosniff", True)}),
    ({"FrameOptions": {"Override": True, "FrameOption": "DENY"}}, {"X-Frame-Options": ("DENY", True)}),
    ({"XSSProtection": {"Override": True, "Protection": False}}, {"X-XSS-Protection": ("0", True)}),
    ({"XSSProtection": {"Override": True, "Protection": True}}, {"X-XSS-Protection": ("1", True)}),
    (
        {"XSSProtection": {"Override": True, "Protection": True, "ModeBlock": True}},
        {"X-XSS-Protection": ("1; mode=block", True)},
    ),
    (
        {"XSSProtection": {"Override": True, "Protection": True, "ReportUri": "https://r.test"}},
        {"X-XSS-Protection": ("1; report=https://r.test", True)},
    ),
    (
        {"ReferrerPolicy": {"Override": False, "ReferrerPolicy": "no-referrer"}},
        {"Referrer-Policy": ("no-referrer", False)},
    ),
    (
        {"ContentSecurityPolicy": {"Override": False, "ContentSecurityPolicy": "default-src 'self'"}},
        {"Content-Security-Policy": ("default-src 'self'", False)},
    ),
    ({}, {}),
]  # fmt: skip


@pytest.mark.parametrize(("parts", "expected"), SECURITY)
def test_4_8_security_headers(parts: dict[str, Any], expected: dict[str, tuple[str, bool]]) -> None:
    assert security(**parts) == expected


def test_4_8_custom_removed_and_timed() -> None:
    policy = made(
        CustomHeadersConfig=items({"Header": "X-Empty", "Value": "", "Override": True}),
        RemoveHeadersConfig=items({"Header": "Server"}, {"Header": "X-Cache"}),
        ServerTimingHeadersConfig={"Enabled": True, "SamplingRate": 12.5},
    )
    assert [(each.name, each.value, each.override) for each in policy.added] == [(b"X-Empty", b"", True)]
    assert policy.removed == {b"server", b"x-cache"}
    assert policy.timing == 12.5
    assert made(ServerTimingHeadersConfig={"Enabled": True}).timing == 0
    assert made(ServerTimingHeadersConfig={"Enabled": False, "SamplingRate": 5}).timing is None


def header(name: str, value: str = "v") -> dict[str, Any]:
    return {"Header": name, "Value": value, "Override": True}


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"CorsConfig": CORS | {"AccessControlAllowOrigins": items("https://www.*.org")}}, "is no origin, such as"),
    ({"CorsConfig": CORS | {"AccessControlAllowOrigins": items("exam*ple.org")}}, "is no origin, such as"),
    ({"CorsConfig": CORS | {"AccessControlAllowOrigins": items("example.*")}}, "is no origin, such as"),
    ({"CorsConfig": CORS | {"AccessControlAllowOrigins": items()}}, "expected at least one origin and one method"),
    ({"CorsConfig": CORS | {"AccessControlAllowOrigins": items("*", "a.test")}}, "* allows all others"),
    ({"CorsConfig": CORS | {"AccessControlAllowHeaders": items("no name")}}, "'no name' is no header name"),
    ({"CorsConfig": CORS | {"AccessControlAllowMethods": items("TRACE")}}, "expected one of GET, POST"),
    ({"CorsConfig": CORS | {"AccessControlMaxAgeSec": -1}}, "expected a whole number from 0"),
    ({"CorsConfig": CORS | {"AccessControlAllowCredentials": True}}, "names one by one where credentials are allowed"),
    ({"CorsConfig": {}}, "CorsConfig.OriginOverride is missing"),
    (
        {"SecurityHeadersConfig": {"XSSProtection": {
            "Override": True, "Protection": True, "ModeBlock": True, "ReportUri": "x"}}},
        "ModeBlock and ReportUri exclude each other",
    ),
    (
        {"SecurityHeadersConfig": {"XSSProtection": {"Override": True, "Protection": False, "ModeBlock": True}}},
        "need Protection",
    ),
    (
        {"SecurityHeadersConfig": {"ReferrerPolicy": {"Override": True, "ReferrerPolicy": "all"}}},
        "expected one of no-referrer",
    ),
    (
        {"SecurityHeadersConfig": {"ContentSecurityPolicy": {
            "Override": True, "ContentSecurityPolicy": "a" * 1784}}},
        "TooLongCSPInResponseHeadersPolicy: expected up to 1783 characters",
    ),
    ({"ServerTimingHeadersConfig": {"Enabled": True, "SamplingRate": 101}}, "expected a number from 0 to 100"),
    ({"ServerTimingHeadersConfig": {"Enabled": True, "SamplingRate": 1.00005}}, "expected up to four decimals"),
    (
        {"CustomHeadersConfig": items(*[header(f"X-{n}") for n in range(11)])},
        "TooManyCustomHeadersInResponseHeadersPolicy: expected up to 10",
    ),
    ({"CustomHeadersConfig": items(header("X-A"), header("x-a"))}, "Items[1].Header is \"x-a\": InvalidArgument: set"),
    ({"CustomHeadersConfig": items(header("X-Frame-Options"))}, "belongs into SecurityHeadersConfig.FrameOptions"),
    ({"CustomHeadersConfig": items(header("a b"))}, "expected a header name"),
    ({"CustomHeadersConfig": items(header("X-A", "a\r\nb"))}, "expected printable ASCII"),
    ({"RemoveHeadersConfig": items(*[{"Header": f"X-{n}"} for n in range(11)])}, "TooManyRemoveHeaders"),
    ({"Colour": 1}, "Colour is 1: no such name here"),
]  # fmt: skip


@pytest.mark.parametrize(("parts", "fault"), REFUSED)
def test_what_is_refused(parts: dict[str, Any], fault: str) -> None:
    policy, faults = read(**parts)
    assert policy is None
    assert any(fault in each for each in faults), faults


UNREMOVABLE = (
    "Connection", "Content-Encoding", "Content-Length", "Expect", "Host", "Keep-Alive", "Proxy-Authenticate", "Via",
    "Warning", "X-Accel-Redirect", "X-Amz-Cf-Pop", "X-Amzn-RequestId", "X-Edge-Location", "X-Real-Ip", "Trailer",
    "Transfer-Encoding", "Upgrade", "X-Forwarded-Proto",
)  # fmt: skip


@pytest.mark.parametrize("name", UNREMOVABLE)
def test_4_8_what_cannot_be_removed(name: str) -> None:
    _, faults = read(RemoveHeadersConfig=items({"Header": name}))
    assert len(faults) == 1
    assert "that can be removed" in faults[0]


def test_4_8_the_managed_policies() -> None:
    by_name = {policy.name: policy for policy in RESPONSE_POLICIES}
    ids = {name: policy.id[:8] for name, policy in by_name.items()}
    assert ids == {
        "SimpleCORS": "60669652",
        "CORS-With-Preflight": "5cc3b908",
        "SecurityHeadersPolicy": "67f7725c",
        "CORS-and-SecurityHeadersPolicy": "e61eb60c",
        "CORS-with-preflight-and-SecurityHeadersPolicy": "eaab4381",
    }
    overriding = {each.name for each in by_name["SecurityHeadersPolicy"].added if each.override}
    assert overriding == {b"X-Content-Type-Options"}
    assert not any(policy.cors and policy.cors.override for policy in RESPONSE_POLICIES)
    assert {policy.id for policy in RESPONSE_POLICIES} <= Policies().response_headers.keys()
    assert "Managed-SimpleCORS" in Policies().response_headers
