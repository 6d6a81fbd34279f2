"""The log line: CloudFront's 33 fields in their order, what is escaped, and the same text in both spellings."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace

import pytest

from edgeproxy.headers import Headers
from edgeproxy.model import Mode
from edgeproxy.outcome import Reason, Result
from edgeproxy.telemetry.record import (
    OWN,
    SLOTS,
    STANDARD,
    Record,
    day_and_time,
    json_line,
    outline,
    text_of,
    w3c_header,
    w3c_line,
)  # fmt: skip

FIELDS = (
    "date time x-edge-location sc-bytes c-ip cs-method cs(Host) cs-uri-stem sc-status cs(Referer) cs(User-Agent)"
    " cs-uri-query cs(Cookie) x-edge-result-type x-edge-request-id x-host-header cs-protocol cs-bytes time-taken"
    " x-forwarded-for ssl-protocol ssl-cipher x-edge-response-result-type cs-protocol-version fle-status"
    " fle-encrypted-fields c-port time-to-first-byte x-edge-detailed-result-type sc-content-type sc-content-len"
    " sc-range-start sc-range-end"
)

LEAST = Record(
    ended_at=1_700_000_000.9,
    method="GET",
    path=b"/",
    query=None,
    host=b"",
    status=200,
    result=Result.MISS,
    response_result=Result.MISS,
    request_id="id",
)

FULL = Record(
    ended_at=1_700_000_000.9,
    method="GET",
    path=b"/a/b.png",
    query=b"v=1&w=",
    host=b"www.example.com",
    status=206,
    result=Result.ERROR,
    response_result=Result.HIT,
    request_id="q1_-Aw==",
    location="FRA50-P1",
    client_address="2001:db8::7",
    client_port=51234,
    domain="d1.edge.localhost",
    request_headers=Headers(
        [
            (b"User-Agent", b"Mozilla/5.0 (X11)"),
            (b"Referer", b"https://example.com/?q=a"),
            (b"Cookie", b"a=1"),
            (b"Cookie", b"b=2"),
            (b"X-Forwarded-For", b"192.0.2.1"),
            (b"X-Forwarded-For", b"192.0.2.2"),
        ]
    ),
    cookies=True,
    detailed="ClientHungUpRequest",
    protocol="https",
    bytes_in=310,
    bytes_out=4242,
    time_taken=1.23456,
    first_byte=0.0004,
    tls_protocol="TLSv1.2",
    tls_cipher="ECDHE-RSA-AES128-GCM-SHA256",
    content_type=b"image/png",
    content_length=1000,
    range=(0, 999),
    node="pop-1",
    mode=Mode.POP,
    distribution="d1",
    behavior="/a/*",
    reasons=(Reason.URI_MISS, Reason.TOO_LARGE),
    source="fill",
    upstream_status=206,
    upstream_seconds=0.25,
)


def fields(record: Record) -> dict[str, str]:
    line = w3c_line(record).decode("ascii")
    assert line.endswith("\n")
    return dict(zip(FIELDS.split(), line[:-1].split("\t"), strict=True))


def test_the_header_names_the_fields_of_cloudfronts_standard_log_in_its_order() -> None:
    assert w3c_header() == f"#Version: 1.0\n#Fields: {FIELDS}\n".encode()


def test_a_full_record() -> None:
    assert w3c_line(FULL).decode().rstrip("\n").split("\t") == [
        "2023-11-14", "22:13:20", "FRA50-P1", "4242", "2001:db8::7", "GET", "d1.edge.localhost", "/a/b.png", "206",
        "https://example.com/?q=a", "Mozilla/5.0%20(X11)", "v=1&w=", "a=1;%20b=2", "Error", "q1_-Aw==",
        "www.example.com", "https", "310", "1.235", "192.0.2.1,%20192.0.2.2", "TLSv1.2", "ECDHE-RSA-AES128-GCM-SHA256",
        "Hit", "HTTP/1.1", "-", "-", "51234", "0.000", "ClientHungUpRequest", "image/png", "1000", "0", "999",
    ]  # fmt: skip


def test_what_is_missing_is_a_dash() -> None:
    dashes = " ".join(name for name, value in fields(LEAST).items() if value == "-")
    assert dashes == (
        "x-edge-location c-ip cs(Host) cs(Referer) cs(User-Agent) cs-uri-query cs(Cookie) x-host-header x-forwarded-for"
        " ssl-protocol ssl-cipher fle-status fle-encrypted-fields time-to-first-byte sc-content-type sc-content-len"
        " sc-range-start sc-range-end"
    )


@pytest.mark.parametrize(
    ("changes", "name", "expected"),
    [
        pytest.param({"status": 200, "first_byte": None}, "sc-status", "000", id="viewer left before any answer"),
        pytest.param({"status": 404, "first_byte": 0.5}, "sc-status", "404", id="answered"),
        pytest.param({"cookies": False}, "cs(Cookie)", "-", id="cookies not asked for"),
        pytest.param({"protocol": "http", "tunnel": True}, "cs-protocol", "ws", id="tunnel"),
        pytest.param({"protocol": "https", "tunnel": True}, "cs-protocol", "wss", id="tunnel in TLS"),
        pytest.param({"version": "1.0"}, "cs-protocol-version", "HTTP/1.0", id="old version"),
        pytest.param({"version": "2"}, "cs-protocol-version", "HTTP/2.0", id="version without minor"),
        pytest.param({"detailed": None}, "x-edge-detailed-result-type", "Error", id="nothing more exact"),
        pytest.param({"query": b""}, "cs-uri-query", "-", id="question mark alone"),
        pytest.param({"content_length": 0}, "sc-content-len", "0", id="zero is not missing"),
        pytest.param({"range": (0, 0)}, "sc-range-end", "0", id="first byte only"),
        pytest.param({"ended_at": 951_782_399.999}, "date", "2000-02-28", id="second before midnight"),
        pytest.param({"ended_at": 951_782_400.0}, "date", "2000-02-29", id="midnight"),
        pytest.param({"location": "Zürich"}, "x-edge-location", "Z%C3%BCrich", id="configured word in UTF-8"),
    ],
)
def test_a_field(changes: dict[str, object], name: str, expected: str) -> None:
    assert fields(replace(FULL, **changes))[name] == expected  # type: ignore[arg-type]  # the table mixes types


def test_exactly_the_listed_bytes_are_percent_encoded() -> None:
    escaped = {*range(33), *range(127, 256), *b"<>\"#%{}|\\^~[]`'"}
    for byte in range(256):
        expected = f"/a%{byte:02X}b" if byte in escaped else f"/a{chr(byte)}b"
        assert fields(replace(LEAST, path=b"/a%cb" % byte))["cs-uri-stem"] == expected


def test_a_value_that_was_encoded_already_is_encoded_again() -> None:
    assert fields(replace(LEAST, path=b"/a%20b", query=b"%25"))["cs-uri-stem"] == "/a%2520b"


@pytest.mark.parametrize("nasty", [b"a\tb", b"a\nb", b"\t", b"a\r\n2023-11-14\t22:13:20", b'","x":"', b"\\", b"\x00"])
def test_no_viewer_can_forge_a_field_or_a_line(nasty: bytes) -> None:
    headers = Headers([(b"User-Agent", nasty), (b"Referer", nasty), (b"X-Forwarded-For", nasty), (b"Cookie", nasty)])
    record = replace(FULL, method=nasty.decode(), path=nasty, query=nasty, host=nasty, request_headers=headers)
    assert w3c_line(record).count(b"\n") == json_line(record).count(b"\n") == 1
    assert fields(record)["sc-range-end"] == json.loads(json_line(record))["sc-range-end"] == "999"


@pytest.mark.parametrize("record", [LEAST, FULL, replace(FULL, path=b"/\xff~")])
def test_json_holds_the_same_text_and_our_own_fields_after_it(record: Record) -> None:
    read = json.loads(json_line(record))
    assert list(read) == [field.name for field in STANDARD + OWN]
    assert {name: read[name] for name in FIELDS.split()} == fields(record)


def test_our_own_fields() -> None:
    read = json.loads(json_line(FULL))
    assert {field.name: read[field.name] for field in OWN} == {
        "node": "pop-1",
        "tier": "pop",
        "distribution-id": "d1",
        "cache-behavior-path-pattern": "/a/*",
        "reasons": "uri-miss,too-large",
        "body-source": "fill",
        "upstream-status": "206",
        "upstream-seconds": "0.250",
    }
    assert {json.loads(json_line(LEAST))[field.name] for field in OWN} == {"-"}


def test_every_field_has_a_sentence() -> None:
    assert all(field.sentence.endswith(".") for field in STANDARD + OWN)


def test_a_record_weighs_what_its_head_does() -> None:
    fields = Headers([(b"User-Agent", b"x" * 1000)])
    assert replace(LEAST, head_bytes=5000).weight() - LEAST.weight() > 9000
    assert replace(LEAST, request_headers=fields).weight() - LEAST.weight() > 1000


@pytest.mark.parametrize("line", [w3c_line, json_line])
def test_a_line_is_the_pieces_of_its_outline_with_what_differs_between_them(line: Callable[[Record], bytes]) -> None:
    fields = Headers(
        [(b"Referer", b"http://r/?a b"), (b"User-Agent", b"x\ty"), (b"Cookie", b"a=1"), (b"X-Forwarded-For", b"::1")]
    )
    whole = replace(LEAST,
        request_headers=fields, cookies=True, client_address="192.0.2.1", client_port=7, bytes_in=5, bytes_out=6,
        tls_protocol="TLSv1.3", tls_cipher="X", request_id="id=", ended_at=1_700_000_000.5,
    )  # fmt: skip
    pieces = outline(line, whole)
    assert pieces is not None
    day, time = day_and_time(1_700_000_000)
    between = [
        day, time, b"6", b"192.0.2.1", *(text_of(fields.get(name)) for name in (b"referer", b"user-agent", b"cookie")),
        b"id=", b"5", text_of(b"::1"), b"TLSv1.3", b"X", b"7",
    ]  # fmt: skip
    assert len(between) == len(SLOTS)
    assert b"".join(piece + text for piece, text in zip(pieces, [*between, b""], strict=True)) == line(whole)


def test_a_record_that_holds_a_mark_itself_has_no_outline() -> None:
    assert outline(w3c_line, replace(LEAST, path=b"/edgeproxy.slot.referer")) is None


@pytest.mark.parametrize(
    ("raw", "text"), [(b"", b"-"), (None, b"-"), (b"a-b.c", b"a-b.c"), (b"a b%", b"a%20b%25"), (b'\xff"', b"%FF%22")]
)
def test_received_bytes_in_the_words_of_a_line(raw: bytes | None, text: bytes) -> None:
    assert text_of(raw) == text
