"""What a request looks like on the wire, and what never gets there."""

from __future__ import annotations

import pytest

from edgeproxy.errors import ViewerError
from edgeproxy.headers import Field, Headers
from edgeproxy.message import RequestHead
from edgeproxy.upstream.writing import chunk, last_chunk, request_head


def written(
    *fields: Field, method: str = "GET", target: bytes = b"/a", length: int | None = 0, upgrade: bool = False
) -> bytes:
    return request_head(RequestHead(method, target, b"a.test", Headers(fields)), length, upgrade=upgrade)


def test_fields_go_out_in_order_and_in_their_case() -> None:
    head = written((b"Host", b"b.test"), (b"X-one", b"1"), (b"x-TWO", b""), (b"X-one", b"\xe9"))
    assert head == b"GET /a HTTP/1.1\r\nHost: b.test\r\nX-one: 1\r\nx-TWO: \r\nX-one: \xe9\r\n\r\n"


def test_host_comes_from_the_authority_when_there_is_none() -> None:
    assert written((b"X", b"1")) == b"GET /a HTTP/1.1\r\nHost: a.test\r\nX: 1\r\n\r\n"


@pytest.mark.parametrize(
    ("method", "length", "framing"),
    [
        ("GET", 0, b""),
        ("DELETE", 0, b""),
        ("OPTIONS", 0, b""),
        ("POST", 0, b"Content-Length: 0"),
        ("PUT", 0, b"Content-Length: 0"),
        ("PATCH", 0, b"Content-Length: 0"),
        ("POST", 5, b"Content-Length: 5"),
        ("GET", 5, b"Content-Length: 5"),
        ("POST", None, b"Transfer-Encoding: chunked"),
        ("DELETE", None, b"Transfer-Encoding: chunked"),
    ],
)
def test_framing_is_decided_by_the_body_alone(method: str, length: int | None, framing: bytes) -> None:
    received = [(b"content-length", b"77"), (b"Transfer-Encoding", b"gzip, chunked"), (b"CONNECTION", b"close, x")]
    head = written(*received, (b"Host", b"a.test"), method=method, length=length)
    assert head.split(b"\r\n")[1:-2] == [b"Host: a.test", *([framing] if framing else [])]


def test_an_upgrade_is_asked_for_only_when_meant() -> None:
    asked = (b"Upgrade", b"websocket")
    assert b"\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n" in written(asked, upgrade=True)
    assert b"pgrade" not in written(asked)
    with pytest.raises(ViewerError):
        written(upgrade=True)


def test_a_close_is_asked_for() -> None:
    head = request_head(RequestHead("GET", b"/", b"a", Headers()), 0, close=True)
    assert head.endswith(b"\r\nConnection: close\r\n\r\n")


def test_continue_is_not_expected_without_content() -> None:
    expect = (b"Expect", b"100-continue")
    assert b"Expect" in written(expect, method="POST", length=1)
    assert b"Expect" not in written(expect, method="POST", length=0)


@pytest.mark.parametrize(
    "field",
    [
        (b"X", b"a\r\nInjected: 1"),
        (b"X", b"a\nInjected: 1"),
        (b"X", b"a\rb"),
        (b"X", b"a\0b"),
        (b"X", b"a\r\n"),
        (b"X", b"\r\n\r\nGET /other HTTP/1.1"),
        (b"X\r\nInjected", b"1"),
        (b"X: 1\r\nInjected", b"1"),
        (b"Transfer-Encoding ", b"chunked"),
        (b" Transfer-Encoding", b"chunked"),
        (b"\x0bTransfer-Encoding", b"chunked"),
        (b"X:", b"1"),
        (b"", b"1"),
        (b"X\xe9", b"1"),
        (b"Host", b"second.test"),
    ],
)
def test_a_field_that_would_be_read_otherwise_is_refused(field: Field) -> None:
    with pytest.raises(ViewerError):
        written((b"Host", b"a.test"), field)


@pytest.mark.parametrize("target", [b"", b"/a b", b"/a\r\nX: 1", b"/a\0", b"/a HTTP/1.1\r\nX: 1\r\n\r\n", b"/\x7f"])
def test_a_target_that_would_be_read_otherwise_is_refused(target: bytes) -> None:
    with pytest.raises(ViewerError):
        written(target=target)


@pytest.mark.parametrize("method", ["", "GET /x", "GET\r\n", "G:T"])
def test_a_method_that_is_no_token_is_refused(method: str) -> None:
    with pytest.raises(ViewerError):
        written(method=method)


def test_an_authority_with_a_line_break_is_refused() -> None:
    with pytest.raises(ViewerError):
        request_head(RequestHead("GET", b"/", b"a\r\nX: 1", Headers()), 0)


def test_chunks_carry_their_size_in_hexadecimal() -> None:
    assert chunk(b"x" * 26) == b"1a\r\n" + b"x" * 26 + b"\r\n"
    assert last_chunk(Headers()) == b"0\r\n\r\n"


def test_trailers_go_out_after_the_last_chunk_but_never_framing() -> None:
    trailers = Headers([(b"Checksum", b"1"), (b"Content-Length", b"9"), (b"Host", b"x"), (b"transfer-encoding", b"x")])
    assert last_chunk(trailers) == b"0\r\nChecksum: 1\r\n\r\n"


def test_a_trailer_with_a_line_break_is_refused() -> None:
    with pytest.raises(ViewerError):
        last_chunk(Headers([(b"Checksum", b"1\r\n\r\nGET / HTTP/1.1")]))
