"""cloudfront/compression.py: CloudFront's conditions, one by one (fact sheet 4.5)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from edgeproxy.cloudfront.compression import (
    TYPES,
    coding_for,
    compressed_head,
    is_in_window,
    media_type,
    vouching,
)
from edgeproxy.message import ResponseHead
from edgeproxy.model import Behavior, KeyParts
from tests.messages import NOW, PLAIN, cloudfront, fields, request

BOTH = Behavior("*", "o", cloudfront(), KeyParts(gzip=True, brotli=True), compress=True)
GZIP = replace(BOTH, key=KeyParts(gzip=True))
BODY = ("Content-Type: text/html; charset=utf-8", "Content-Length: 5000")


def coding(
    accepted: str | None = "gzip, br",
    *lines: str,
    behavior: Behavior = BOTH,
    status: int = 200,
    method: str = "GET",
    body: tuple[str, ...] = BODY,
    version: str = "1.1",
) -> bytes | None:
    sent = () if accepted is None else (f"Accept-Encoding: {accepted}",)
    asked = replace(request(*sent, method=method), version=version)
    return coding_for(asked, ResponseHead(status, fields(*body, *lines)), behavior, NOW)


def test_4_5_brotli_wins() -> None:
    assert coding() == b"br"
    assert coding("br") == b"br"
    assert coding("gzip") == b"gzip"
    assert coding("gzip, br", behavior=GZIP) == b"gzip"


NONE = {
    "4.5 Compress is off": {"behavior": replace(BOTH, compress=False)},
    "4.5 no format is enabled": {"behavior": replace(BOTH, key=KeyParts())},
    "4.5 not in plain rules": {"behavior": replace(BOTH, caching=PLAIN)},
    "4.5 the viewer takes neither": {"accepted": "deflate, zstd"},
    "4.5 the viewer says nothing": {"accepted": None},
    "4.5 the viewer takes only the other": {"accepted": "br", "behavior": GZIP},
    "4.5 TTL 0": {"behavior": replace(BOTH, caching=cloudfront(0, 0, 0))},
    "4.5 a default TTL of 0": {"behavior": replace(BOTH, caching=cloudfront(0, 0, 100))},
    "4.5 status 201": {"status": 201},
    "4.5 status 500": {"status": 500},
    "4.5 a redirect": {"status": 301},
    "4.5 no length": {"body": BODY[:1]},
    "4.5 too short": {"body": (BODY[0], "Content-Length: 999")},
    "4.5 too long": {"body": (BODY[0], "Content-Length: 10000001")},
    "4.5 no type": {"body": BODY[1:]},
    "4.5 font/woff2": {"body": ("Content-Type: font/woff2", BODY[1])},
    "4.5 image/png": {"body": ("Content-Type: image/png", BODY[1])},
    "4.5 application/manifest+json": {"body": ("Content-Type: application/manifest+json", BODY[1])},
    "4.5 no body to a HEAD": {"method": "HEAD"},
    "4.4 HTTP/1.0": {"version": "1.0"},
}


@pytest.mark.parametrize("changes", NONE.values(), ids=NONE.keys())
def test_not_compressed(changes: dict[str, object]) -> None:
    assert coding(**changes) is None  # type: ignore[arg-type]  # a table of keywords


@pytest.mark.parametrize(
    "line",
    [
        "Content-Encoding: gzip",
        "Content-Encoding: identity",
        "Content-Encoding:",
        "Cache-Control: no-store",
        "Cache-Control: no-cache",
        "Cache-Control: max-age=0",
    ],
)
def test_4_5_what_the_origin_says(line: str) -> None:
    assert coding("gzip", line) is None


@pytest.mark.parametrize("status", [200, 403, 404])
def test_4_5_statuses(status: int) -> None:
    assert coding("gzip", "Cache-Control: max-age=60", status=status) == b"gzip"


@pytest.mark.parametrize("name", sorted(TYPES))
def test_4_5_types(name: bytes) -> None:
    assert coding("gzip", body=(f"Content-Type: {name.decode().upper()} ; x=y", BODY[1])) == b"gzip"


def test_4_5_a_minimum_above_0_keeps_and_compresses_what_says_no_store() -> None:
    kept = replace(BOTH, caching=cloudfront(1))
    assert coding("gzip", "Cache-Control: no-store", behavior=kept) == b"gzip"


@pytest.mark.parametrize(
    ("lines", "inside"),
    [
        (("Content-Length: 1000",), True),
        (("Content-Length: 10000000",), True),
        (("Content-Length: 999",), False),
        (("Content-Length: 10000001",), False),
        (("Content-Length: 1e4",), False),
        (("Content-Length: " + "9" * 30,), False),
        (("Content-Length: 5000", "Content-Length: 5000"), False),
        ((), False),
    ],
)
def test_4_5_the_window(lines: tuple[str, ...], inside: bool) -> None:
    assert is_in_window(fields(*lines)) is inside


@pytest.mark.parametrize(
    ("tag", "made"), [('"x"', b'W/"x"'), ('W/"x"', b'W/"x"'), ("x", None), ('w/"x"', None), (None, None)]
)
def test_4_5_the_etag(tag: str | None, made: bytes | None) -> None:
    lines = () if tag is None else (f"ETag: {tag}",)
    head = compressed_head(ResponseHead(200, fields(*BODY, *lines)), b"br")
    assert head.headers.get(b"etag") == made
    assert head.headers.get(b"content-encoding") == b"br"
    assert b"content-length" not in head.headers


@pytest.mark.parametrize(
    ("vary", "made"),
    [(None, b"Accept-Encoding"), ("Origin", b"Origin, Accept-Encoding"), ("accept-encoding", b"accept-encoding")],
)
def test_vary_names_accept_encoding_once(vary: str | None, made: bytes) -> None:
    lines = () if vary is None else (f"Vary: {vary}",)
    assert compressed_head(ResponseHead(200, fields(*lines)), b"gzip").headers.all(b"vary") == [made]


@pytest.mark.parametrize(
    ("asked", "answered", "named"),
    [
        ('W/"x"', '"x"', b'W/"x"'),
        ('W/"y", W/"x"', '"x"', b'W/"x"'),
        ('"x"', '"x"', b'"x"'),
        ('"x", W/"x"', '"x"', b'"x"'),
        ('W/"y"', '"x"', b'"x"'),
        ('W/"x"', 'W/"x"', b'W/"x"'),
        ('W/"x"', None, None),
    ],
)
def test_4_5_a_304_is_about_what_was_compressed(asked: str, answered: str | None, named: bytes | None) -> None:
    lines = () if answered is None else (f"ETag: {answered}",)
    made = vouching(request(f"If-None-Match: {asked}"), ResponseHead(304, fields(*lines)))
    assert made.headers.get(b"etag") == named
    assert vouching(request(), made) is made
    assert vouching(request(f"If-None-Match: {asked}"), replace(made, status=200)).status == 200


def test_a_media_type_without_parameters() -> None:
    assert media_type(fields("Content-Type: Text/HTML ; charset=x")) == b"text/html"
    assert media_type(fields()) == b""
