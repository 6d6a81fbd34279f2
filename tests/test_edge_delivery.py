"""Heads of answers as bytes: what they say of the body behind them."""

from __future__ import annotations

import pytest

from edgeproxy.edge.delivery import Framing, final_head, interim_head, last_chunk, switching_head
from edgeproxy.errors import EdgeError
from edgeproxy.headers import Field, Headers
from edgeproxy.message import ResponseHead


def head(status: int, *fields: Field, reason: bytes = b"") -> ResponseHead:
    return ResponseHead(status, Headers(fields), reason)


@pytest.mark.parametrize(
    ("method", "version", "status", "length", "close", "framing", "lines", "closes"),
    [
        ("GET", "1.1", 200, 5, False, Framing.LENGTH, [b"Content-Length: 5"], False),
        ("GET", "1.1", 200, 0, False, Framing.LENGTH, [b"Content-Length: 0"], False),
        ("GET", "1.1", 200, 5, True, Framing.LENGTH, [b"Content-Length: 5", b"Connection: close"], True),
        ("GET", "1.1", 200, None, False, Framing.CHUNKED, [b"Transfer-Encoding: chunked"], False),
        ("GET", "1.0", 200, None, False, Framing.CLOSE, [b"Connection: close"], True),
        ("GET", "1.0", 200, 5, False, Framing.LENGTH, [b"Content-Length: 5", b"Connection: keep-alive"], False),
        ("HEAD", "1.1", 200, None, False, Framing.NONE, [], False),
        ("GET", "1.1", 204, 0, False, Framing.NONE, [], False),
        ("GET", "1.1", 304, 0, False, Framing.NONE, [], False),
        ("POST", "1.1", 205, 0, False, Framing.LENGTH, [b"Content-Length: 0"], False),
    ],
)
def test_framing(
    method: str, version: str, status: int, length: int | None, close: bool,
    framing: Framing, lines: list[bytes], closes: bool,
) -> None:  # fmt: skip
    data, found, ends = final_head(head(status), length, method=method, version=version, close=close)
    assert (found, ends) == (framing, closes)
    assert data.endswith(b"\r\n\r\n")
    assert data[:-4].split(b"\r\n")[1:] == lines


def test_status_lines() -> None:
    def line(made: ResponseHead) -> bytes:
        return final_head(made, 0, method="GET", version="1.1", close=False)[0].partition(b"\r\n")[0]

    assert line(head(404)) == b"HTTP/1.1 404 Not Found"
    assert line(head(494)) == b"HTTP/1.1 494 "
    assert line(head(200, reason=b"Fine")) == b"HTTP/1.1 200 Fine"


def test_fields_that_belong_to_one_hop_are_replaced() -> None:
    fields = [(b"connection", b"x"), (b"TRANSFER-ENCODING", b"gzip"), (b"content-length", b"7"), (b"A", b"b")]
    data, _, _ = final_head(head(200, *fields), 5, method="GET", version="1.1", close=False)
    assert data == b"HTTP/1.1 200 OK\r\nA: b\r\nContent-Length: 5\r\n\r\n"
    data, _, _ = final_head(head(200, *fields), None, method="HEAD", version="1.1", close=False)
    assert data == b"HTTP/1.1 200 OK\r\ncontent-length: 7\r\nA: b\r\n\r\n"
    assert interim_head(head(103, *fields)) == b"HTTP/1.1 103 Early Hints\r\nA: b\r\n\r\n"


@pytest.mark.parametrize("field", [(b"A", b"b\r\nC: d"), (b"A", b"b\nC: d"), (b"A\r\nC", b"d"), (b"A", b"\r")])
def test_no_field_can_end_its_line(field: Field) -> None:
    with pytest.raises(EdgeError):
        final_head(head(200, field), 0, method="GET", version="1.1", close=False)
    with pytest.raises(EdgeError):
        last_chunk(Headers([field]))


def test_no_reason_can_end_its_line() -> None:
    with pytest.raises(EdgeError):
        interim_head(head(103, reason=b"A\r\nB: c"))


def test_a_switch_names_the_protocol() -> None:
    assert switching_head(head(101), b"websocket") == (
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
    )
    assert b"Upgrade: chosen\r\n" in switching_head(head(101, (b"upgrade", b"chosen")), b"a, chosen")


def test_the_last_chunk_carries_trailers_that_may_be_there() -> None:
    assert last_chunk(Headers()) == b"0\r\n\r\n"
    assert last_chunk(Headers([(b"X-Sum", b"1"), (b"Content-Length", b"5")])) == b"0\r\nX-Sum: 1\r\n\r\n"
