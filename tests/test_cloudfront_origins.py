"""Origins: kinds, ports, time-outs, custom headers (fact sheet 5.4, 5.5, 1.5)."""

from __future__ import annotations

from typing import Any

import pytest

from edgeproxy.cloudfront.addresses import endpoint
from edgeproxy.model import Origin, OriginKind, OriginScheme
from tests.distributions import JSON, behavior, bucket, config, distribution, faults, items, web


def origin(part: JSON, **named: Any) -> Origin:
    data = config(Origins=items(part), DefaultCacheBehavior=behavior(part["Id"]))
    return distribution(data, **named).origins[part["Id"]]


def test_5_4_defaults_of_a_custom_origin() -> None:
    assert origin(web()) == Origin(
        "web",
        "origin.example.com",
        scheme=OriginScheme.HTTP,
        http_port=80,
        https_port=443,
        connection_attempts=3,
        connect_timeout=10,
        read_timeout=30,
        keepalive_timeout=5,
    )


def test_5_4_everything_that_can_be_said_of_a_custom_origin() -> None:
    custom = {
        "HTTPPort": 8080,
        "HTTPSPort": 8443,
        "OriginProtocolPolicy": "match-viewer",
        "OriginReadTimeout": 60,
        "OriginKeepaliveTimeout": 20,
    }
    header = {"HeaderName": "X-Origin-Key", "HeaderValue": "k"}
    made = origin(
        web(
            custom=custom,
            OriginPath="/base",
            CustomHeaders=items(header),
            ConnectionAttempts=1,
            ConnectionTimeout=2,
            ResponseCompletionTimeout=90,
        )
    )
    assert made == Origin(
        "web",
        "origin.example.com",
        scheme=OriginScheme.MATCH_VIEWER,
        http_port=8080,
        https_port=8443,
        path="/base",
        custom_headers=((b"X-Origin-Key", b"k"),),
        connection_attempts=1,
        connect_timeout=2,
        read_timeout=60,
        keepalive_timeout=20,
        completion_timeout=90,
    )


def test_5_5_an_s3_origin_follows_the_viewers_protocol_and_knows_its_region() -> None:
    made = origin(bucket(S3OriginConfig={"OriginAccessIdentity": "", "OriginReadTimeout": 7}))
    assert made.kind is OriginKind.S3
    assert made.region == "eu-central-1"
    assert made.scheme is OriginScheme.MATCH_VIEWER
    assert made.read_timeout == 7


@pytest.mark.parametrize(
    ("part", "scheme"),
    [
        (web(domain="127.0.0.1:3000"), OriginScheme.HTTP),
        (web(domain="127.0.0.1:3000", custom={"OriginProtocolPolicy": "https-only"}), OriginScheme.HTTPS),
        (bucket(domain="127.0.0.1:3000"), OriginScheme.HTTP),
    ],
)
def test_an_address_with_a_port_is_reached_at_that_port(part: JSON, scheme: OriginScheme) -> None:
    made = origin(part)
    assert (made.host, made.http_port, made.https_port, made.scheme) == ("127.0.0.1", 3000, 3000, scheme)


def test_a_redirect_changes_where_and_how_an_origin_is_reached_but_not_what_it_is() -> None:
    name = "b.s3.eu-central-1.amazonaws.com"
    made = origin(bucket(), redirects={name: endpoint("https://127.0.0.1:9000")})
    assert (made.host, made.https_port, made.scheme) == ("127.0.0.1", 9000, OriginScheme.HTTPS)
    assert (made.host_header, made.kind, made.region) == (name, OriginKind.S3, "eu-central-1")


def test_an_origin_in_a_private_network_is_reached_by_its_name() -> None:
    vpc = {"VpcOriginId": "vo_1", "OriginReadTimeout": 9, "OriginKeepaliveTimeout": 8}
    part = {"Id": "vpc", "DomainName": "internal.example.com", "VpcOriginConfig": vpc}
    made = origin(part)
    assert (made.host, made.read_timeout, made.keepalive_timeout) == ("internal.example.com", 9, 8)


BAD: list[tuple[JSON, str]] = [
    (web(domain="a b"), "DomainName is \"a b\": InvalidOrigin: "),
    (web(domain="a.test:0"), "DomainName is \"a.test:0\": InvalidOrigin: "),
    ({"Id": "web", "DomainName": "a.test"}, "InvalidOrigin: expected one of"),
    (web(S3OriginConfig={"OriginAccessIdentity": ""}), "InvalidOrigin: expected one of"),
    (web(ResponseCompletionTimeout=29), "ResponseCompletionTimeout is 29: InvalidArgument: expected no less than"),
    (
        web(CustomHeaders=items(*[{"HeaderName": f"X-{n}", "HeaderValue": ""} for n in range(31)])),
        "TooManyOriginCustomHeaders: expected up to 30",
    ),
    (
        web(CustomHeaders=items(*[{"HeaderName": f"X-{n}", "HeaderValue": "v" * 1700} for n in range(7)])),
        "expected up to 10240 characters in all",
    ),
    (
        web(CustomHeaders=items({"HeaderName": "X-A", "HeaderValue": "1"}, {"HeaderName": "x-a", "HeaderValue": "2"})),
        "CustomHeaders.Items[1].HeaderName is \"x-a\": InvalidArgument: set twice",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("part", "expected"), BAD)
def test_origins_that_are_refused(part: JSON, expected: str) -> None:
    (fault,) = faults(config(Origins=items(part)))
    assert expected in fault


@pytest.mark.parametrize(("said", "kept"), [("ipv4", "ipv4"), ("ipv6", "ipv6"), ("dualstack", ""), (None, "")])
def test_5_4_which_addresses_are_connected_to(said: str | None, kept: str) -> None:
    custom = {} if said is None else {"IpAddressType": said}
    assert distribution(config(Origins=items(web(custom=custom)))).origins["web"].addresses == kept


def test_6_an_origin_with_a_shield() -> None:
    for enabled, region in ((True, "eu-west-1"), (False, None)):
        shield = {"Enabled": enabled, "OriginShieldRegion": "eu-west-1"}
        assert distribution(config(Origins=items(web(OriginShield=shield)))).origins["web"].shield == region
