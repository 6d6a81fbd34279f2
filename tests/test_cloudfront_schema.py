"""Single fields of DistributionConfig: ranges and error codes (fact sheet 1.5, 2.8, 5.1, 5.2, 5.4, 11)."""

from __future__ import annotations

from typing import Any

import pytest

from tests.distributions import behavior, bucket, config, faults, items, web

BAD: list[tuple[dict[str, Any], str, str]] = [
    ({"Origins": items(web(custom={"HTTPSPort": 65536}))}, "CustomOriginConfig.HTTPSPort", "from 1 to 65535"),
    ({"Origins": items(web(custom={"HTTPPort": "80"}))}, "CustomOriginConfig.HTTPPort", "a whole number"),
    ({"Origins": items(web(custom={"OriginReadTimeout": 121}))}, "OriginReadTimeout", "InvalidOriginReadTimeout: "),
    ({"Origins": items(web(custom={"OriginReadTimeout": 0}))}, "OriginReadTimeout", "from 1 to 120 s"),
    (
        {"Origins": items(web(custom={"OriginKeepaliveTimeout": 301}))},
        "KeepaliveTimeout",
        "InvalidOriginKeepaliveTimeout: ",
    ),
    (
        {"Origins": items(web(custom={"OriginProtocolPolicy": "http"}))},
        "ProtocolPolicy",
        "http-only, https-only, match-viewer",
    ),
    ({"Origins": items(web(ConnectionAttempts=4))}, "ConnectionAttempts", "from 1 to 3"),
    ({"Origins": items(web(ConnectionTimeout=11))}, "ConnectionTimeout", "from 1 to 10 s"),
    ({"Origins": items(web(OriginPath="a"))}, "OriginPath", "starts with /"),
    ({"Origins": items(web(OriginPath="/a/"))}, "OriginPath", "does not end with it"),
    ({"Origins": items(web(OriginPath="/a?b"))}, "OriginPath", "without ?"),
    (
        {"Origins": items(bucket(S3OriginConfig={}, OriginAccessControlID="x"))},
        "OriginAccessControlID",
        "OriginAccessControlId?",
    ),
    ({"Aliases": items("WWW.example.test")}, "Aliases", "lower-case"),
    ({"Aliases": items("a.*.test")}, "Aliases", "whole first label"),
    ({"Aliases": items("*a.test")}, "Aliases", "whole first label"),
    ({"DefaultRootObject": "a b"}, "DefaultRootObject", "InvalidDefaultRootObject: "),
    ({"DefaultRootObject": "a" * 256}, "DefaultRootObject", "InvalidDefaultRootObject: "),
    ({"CacheBehaviors": items(behavior(PathPattern="/a b"))}, "PathPattern", "1 to 255 characters"),
    ({"CacheBehaviors": items(behavior(PathPattern="a" * 256))}, "PathPattern", "1 to 255 characters"),
    ({"CacheBehaviors": items(behavior())}, "PathPattern is missing", "expected text"),
    ({"DefaultCacheBehavior": behavior(ViewerProtocolPolicy="http")}, "ViewerProtocolPolicy", "allow-all, https-only"),
    ({"DefaultCacheBehavior": behavior(MinTTL=-1)}, "MinTTL", "from 0 to 3153600000 s"),
    ({"CustomErrorResponses": items({"ErrorCode": 418})}, "ErrorCode", "InvalidErrorCode: "),
    (
        {"CustomErrorResponses": items({"ErrorCode": 404, "ResponseCode": "301", "ResponsePagePath": "/x"})},
        "ResponseCode",
        "InvalidResponseCode: ",
    ),
    ({"CustomErrorResponses": items({"ErrorCode": 404, "ResponseCode": "200"})}, "Items[0]", "need each other"),
    ({"CustomErrorResponses": items({"ErrorCode": 404, "ErrorCachingMinTTL": -1})}, "ErrorCachingMinTTL", "from 0"),
    (
        {
            "OriginGroups": items(
                {"Id": "g", "FailoverCriteria": {"StatusCodes": items(500)}, "Members": items({"OriginId": "web"})}
            )
        },
        "OriginGroups.Items[0].Members",
        "expected exactly two members",
    ),
    ({"Enabled": "yes"}, "Enabled", "true or false"),
    ({"Colour": 1}, "Colour", "no such name here"),
    ({"HttpVersion": "http9"}, "HttpVersion", "http1.1, http2"),
]


@pytest.mark.parametrize(("changes", "place", "expected"), BAD)
def test_5_4_a_field_out_of_its_range_is_a_fault_with_place_and_range(
    changes: dict[str, Any], place: str, expected: str
) -> None:
    (fault,) = [text for text in faults(config(**changes)) if place in text]
    assert expected in fault


@pytest.mark.parametrize(
    "name",
    ["Cache-Control", "host", "Via", "X-Amz-Whatever", "x-edge-thing", "X-Real-Ip", "not a token", "Content-Length"],
)
def test_1_5_header_names_that_an_origin_may_not_be_given(name: str) -> None:
    header = {"HeaderName": name, "HeaderValue": "v"}
    (fault,) = faults(config(Origins=items(web(CustomHeaders=items(header)))))
    assert "CustomHeaders.Items[0].HeaderName" in fault


def test_the_value_of_a_custom_header_is_never_shown() -> None:
    header = {"HeaderName": "X-Secret", "HeaderValue": "swordfish\n"}
    (fault,) = faults(config(Origins=items(web(CustomHeaders=items(header)))))
    assert "HeaderValue is not shown" in fault
    assert "swordfish" not in fault


@pytest.mark.parametrize("pattern", ["*", "/images/*.jpg", "a?b", "/$-_.~\"'@:+&"])
def test_5_1_patterns_that_cloudfront_takes(pattern: str) -> None:
    assert faults(config(CacheBehaviors=items(behavior(PathPattern=pattern)))) == []
