"""Values of the header fields that CloudFront adds (fact sheet 1.5, 2.1, 2.3)."""

from __future__ import annotations

import base64
import re

import pytest

from edgeproxy.cloudfront.fields import (
    REQUEST_ID_BYTES,
    cdn_loop,
    distributions_passed,
    location_code,
    request_id,
    request_ids,
    via_request,
    via_response,
    x_cache,
)
from edgeproxy.headers import Headers
from edgeproxy.model import Rules
from edgeproxy.outcome import Result


def test_1_5_a_request_id_is_56_characters_of_base64url() -> None:
    assert re.fullmatch(r"[A-Za-z0-9_-]{54}==", request_id(bytes(range(215, 255))))


def test_1_5_via() -> None:
    form = rb"2\.0 [0-9a-f]{32}\.cloudfront\.net \(CloudFront\)"
    assert re.fullmatch(form, via_request("fra", "2.0", Rules.CLOUDFRONT))
    assert via_request("fra", "1.1", Rules.CLOUDFRONT) == via_response("fra")
    assert via_response("fra") != via_response("iad")
    assert via_request("fra", "1.0", Rules.RFC9111) == b"1.0 fra"


@pytest.mark.parametrize(
    ("result", "text"),
    [
        (Result.HIT, b"Hit from cloudfront"),
        (Result.REFRESH_HIT, b"RefreshHit from cloudfront"),
        (Result.MISS, b"Miss from cloudfront"),
        (Result.ERROR, b"Error from cloudfront"),
        (Result.REDIRECT, b"Redirect from cloudfront"),
        (Result.LIMIT_EXCEEDED, b"LimitExceeded from cloudfront"),
        (Result.CAPACITY_EXCEEDED, b"CapacityExceeded from cloudfront"),
    ],
)
def test_2_3_x_cache(result: Result, text: bytes) -> None:
    assert x_cache(result) == text


@pytest.mark.parametrize("name", ["fra", "eu", "pop-1", "42", "frankfurt-2"])
def test_a_code_is_made_from_a_name(name: str) -> None:
    assert re.fullmatch(r"[A-Z]{3}\d{2}-P1", location_code(name))
    assert location_code(name) == location_code(name)


@pytest.mark.parametrize(
    ("lines", "passed"),
    [
        ([], 0),
        ([cdn_loop("E1")], 1),
        ([cdn_loop("E1"), cdn_loop("E1")], 2),
        ([cdn_loop("E1") + b", " + cdn_loop("E2")], 2),
        ([b"Fastly, " + cdn_loop("E1"), b"cdn.example.com; a=1"], 1),
        ([b'other; d="edgeproxy, edgeproxy", EdgeProxy'], 1),
        ([b'other; d="edgeproxy, edgeproxy'], 0),
        ([b"edgeproxy-2; d=x"], 0),
    ],
)
def test_rfc8586_members_of_cdn_loop_that_are_ours(lines: list[bytes], passed: int) -> None:
    assert distributions_passed(Headers((b"CDN-Loop", line) for line in lines)) == passed


def test_many_ids_at_once_are_those_that_one_at_a_time_would_be_of_form() -> None:
    random = bytes(range(256)) * 5
    ids = request_ids(random)
    assert len(set(ids)) == len(ids) == len(random) // REQUEST_ID_BYTES == 32
    for made in ids:
        raw = base64.urlsafe_b64decode(made)
        assert len(raw) == REQUEST_ID_BYTES
        assert request_id(raw).encode() == made
    assert request_ids(bytes(REQUEST_ID_BYTES - 1)) == []
