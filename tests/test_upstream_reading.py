"""Responses as bytes: what they say, whole and byte by byte, and what is refused."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeproxy.errors import Detail, OriginInvalid
from edgeproxy.headers import Headers
from edgeproxy.message import ResponseHead
from edgeproxy.upstream.reading import INTERIM_MAX, Part, ResponseReader

OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
HEAD_MAX = 1024


class Heard:
    """Remembers what a reader says, with neighbouring pieces of the body joined."""

    def __init__(self) -> None:
        self.interims: list[int] = []
        self.final: ResponseHead | None = None
        self.length: int | None = None
        self.close_delimited = False
        self.body = b""
        self.ended = False
        self.trailers = Headers()
        self.surplus = False

    def interim(self, head: ResponseHead) -> None:
        self.interims.append(head.status)

    def head(self, head: ResponseHead, length: int | None, close_delimited: bool) -> None:
        assert self.final is None
        self.final, self.length, self.close_delimited = head, length, close_delimited

    def data(self, block: bytes) -> None:
        assert self.final is not None
        assert block
        assert not self.ended
        self.body += block

    def end(self, trailers: Headers, surplus: bool) -> None:
        assert self.final is not None
        assert not self.ended
        self.ended, self.trailers, self.surplus = True, trailers, surplus


def read(pieces: Iterable[bytes], method: str = "GET", upgrade: bool = False) -> tuple[Heard, ResponseReader]:
    """Feeds pieces until the response is complete; what is left then is for the connection to judge."""
    heard = Heard()
    reader = ResponseReader(heard, method, HEAD_MAX, upgrade=upgrade)
    for piece in pieces:
        if heard.ended:
            break
        reader.feed(piece)
    return heard, reader


def bytewise(data: bytes) -> list[bytes]:
    return [data[at : at + 1] for at in range(len(data))]


WHOLE = {
    "length": (OK + b"Content-Length: 5\r\n\r\nhello", 200, b"hello"),
    "length 0": (OK + b"Content-Length: 0\r\n\r\n", 200, b""),
    "length with leading zero": (OK + b"Content-Length: 05\r\n\r\nhello", 200, b"hello"),
    "length and spaces": (OK + b"Content-Length:   5 \t\r\n\r\nhello", 200, b"hello"),
    "no reason": (b"HTTP/1.1 200\r\nContent-Length: 1\r\n\r\nx", 200, b"x"),
    "empty reason": (b"HTTP/1.1 200 \r\nContent-Length: 1\r\n\r\nx", 200, b"x"),
    "HTTP/1.0": (b"HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\nx", 200, b"x"),
    "chunked": (CHUNKED + b"5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n", 200, b"hello world"),
    "chunked in capitals": (OK + b"transfer-encoding: Chunked\r\n\r\nA\r\n0123456789\r\n0\r\n\r\n", 200, b"0123456789"),
    "chunked, nothing": (CHUNKED + b"0\r\n\r\n", 200, b""),
    "chunk extensions": (CHUNKED + b'5;a;b=c;d="e f"\r\nhello\r\n0;x\r\n\r\n', 200, b"hello"),
    "chunk sizes with zeros": (CHUNKED + b"0005\r\nhello\r\n000\r\n\r\n", 200, b"hello"),
    "204": (b"HTTP/1.1 204 No Content\r\n\r\n", 204, b""),
    "204 with a length": (b"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n", 204, b""),
    "304 with a length": (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", 304, b""),
    "304 that says chunked": (b"HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: chunked\r\n\r\n", 304, b""),
    "interim heads": (
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early\r\nLink: </a>\r\n\r\n" + OK + b"Content-Length: 2\r\n\r\nab",
        200,
        b"ab",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", WHOLE)
def test_a_valid_response_reads_the_same_whole_and_byte_by_byte(name: str) -> None:
    data, status, body = WHOLE[name]
    for pieces in ([data], bytewise(data), [data[:40], data[40:]]):
        heard, reader = read(pieces)
        assert heard.final is not None
        assert (heard.final.status, heard.body, heard.ended, heard.surplus) == (status, body, True, False)
        assert reader.part is Part.DONE


@pytest.mark.parametrize("name", WHOLE)
def test_any_byte_after_a_response_is_surplus(name: str) -> None:
    data, _, body = WHOLE[name]
    for surplus in (b"x", b"\r", b"\n", b"\r\n", b"\r\n\r\n", b"\0", OK + b"Content-Length: 1\r\n\r\nx"):
        heard, _ = read([data + surplus])
        assert (heard.body, heard.ended, heard.surplus) == (body, True, True), surplus


def test_fields_keep_case_order_and_bytes_but_not_the_spaces_around() -> None:
    heard, _ = read([OK + b"X-a: 1 \t\r\nx-B:\r\nX-a:  \xff\xe9\r\nContent-Length: 0\r\n\r\n"])
    assert heard.final is not None
    assert list(heard.final.headers) == [
        (b"X-a", b"1"),
        (b"x-B", b""),
        (b"X-a", b"\xff\xe9"),
        (b"Content-Length", b"0"),
    ]
    assert (heard.final.reason, heard.final.version) == (b"OK", "1.1")


def test_interim_heads_are_told_in_order() -> None:
    heard, _ = read([WHOLE["interim heads"][0]])
    assert heard.interims == [100, 103]


def test_trailers_come_with_the_end() -> None:
    data = CHUNKED + b"2\r\nab\r\n0\r\nChecksum: 1\r\nX-y:  z \r\n\r\n"
    for pieces in ([data], bytewise(data)):
        heard, _ = read(pieces)
        assert list(heard.trailers) == [(b"Checksum", b"1"), (b"X-y", b"z")]
        assert not heard.surplus


@pytest.mark.parametrize("status", [b"200 OK", b"404 Not Found"])
@pytest.mark.parametrize("framing", [b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n", b""])
def test_an_answer_to_head_ends_with_its_head_and_keeps_its_fields(status: bytes, framing: bytes) -> None:
    heard, reader = read([b"HTTP/1.1 " + status + b"\r\n" + framing + b"\r\n"], method="HEAD")
    assert heard.final is not None
    assert (heard.ended, heard.length, heard.surplus) == (True, 0, False)
    assert len(heard.final.headers) == (1 if framing else 0)
    assert reader.reusable


def test_a_body_after_an_answer_to_head_is_surplus() -> None:
    heard, _ = read([OK + b"Content-Length: 5\r\n\r\nhello"], method="HEAD")
    assert (heard.ended, heard.surplus, heard.body) == (True, True, b"")


def test_a_body_without_framing_ends_with_the_connection() -> None:
    heard, reader = read([OK + b"\r\nhel", b"lo"])
    assert (heard.length, heard.close_delimited, heard.ended, heard.body) == (None, True, False, b"hello")
    assert reader.close()
    assert heard.ended
    assert not reader.reusable


@pytest.mark.parametrize(
    "data",
    [b"", b"HTTP/1.1 200 O", OK, OK + b"Content-Length: 5\r\n\r\nhell", CHUNKED, CHUNKED + b"5\r\nhello\r\n0\r\n"],
)
def test_a_framed_response_does_not_end_with_the_connection(data: bytes) -> None:
    heard, reader = read([data] if data else [])
    assert not reader.close()
    assert not heard.ended


MALFORMED = {
    "garbage": b"\x16\x03\x01\x02\x00\x01\x00garbage\r\n\r\n",
    "HTTP/0.9": b"<html>hello</html>",
    "an empty line first": b"\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    "HTTP/2": b"HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n",
    "HTTP/0.9 in a status line": b"HTTP/0.9 200 OK\r\nContent-Length: 0\r\n\r\n",
    "HTTP/1.2": b"HTTP/1.2 200 OK\r\nContent-Length: 0\r\n\r\n",
    "HTTP/1.10": b"HTTP/1.10 200 OK\r\nContent-Length: 0\r\n\r\n",
    "lower case": b"http/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    "another protocol": b"ICY 200 OK\r\nContent-Length: 0\r\n\r\n",
    "two digits": b"HTTP/1.1 20 OK\r\nContent-Length: 0\r\n\r\n",
    "four digits": b"HTTP/1.1 2000 OK\r\nContent-Length: 0\r\n\r\n",
    "status 099": b"HTTP/1.1 099 OK\r\nContent-Length: 0\r\n\r\n",
    "status 600": b"HTTP/1.1 600 OK\r\nContent-Length: 0\r\n\r\n",
    "status with a letter": b"HTTP/1.1 2x0 OK\r\nContent-Length: 0\r\n\r\n",
    "two spaces": b"HTTP/1.1  200 OK\r\nContent-Length: 0\r\n\r\n",
    "NUL in the reason": b"HTTP/1.1 200 O\0K\r\nContent-Length: 0\r\n\r\n",
    "escape in the reason": b"HTTP/1.1 200 \x1b[31m\r\nContent-Length: 0\r\n\r\n",
    "CR in the reason": b"HTTP/1.1 200 O\rK\r\nContent-Length: 0\r\n\r\n",
    "NUL in a value": OK + b"X: a\0b\r\nContent-Length: 0\r\n\r\n",
    "CR in a value": OK + b"X: a\rb\r\nContent-Length: 0\r\n\r\n",
    "LF for CRLF": OK + b"X: a\nContent-Length: 0\r\n\r\n",
    "LF everywhere": b"HTTP/1.1 200 OK\nContent-Length: 0\n\n",
    "a folded line": OK + b"X: a\r\n b\r\nContent-Length: 0\r\n\r\n",
    "a folded first line": OK + b" X: a\r\nContent-Length: 0\r\n\r\n",
    "a space before the colon": OK + b"Content-Length : 0\r\n\r\n",
    "a field without a name": OK + b": a\r\nContent-Length: 0\r\n\r\n",
    "a field without a colon": OK + b"X\r\nContent-Length: 0\r\n\r\n",
    "two lengths": OK + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
    "the same length twice": OK + b"Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
    "a list of lengths": OK + b"Content-Length: 5, 5\r\n\r\nhello",
    "a length with a sign": OK + b"Content-Length: +5\r\n\r\nhello",
    "a negative length": OK + b"Content-Length: -5\r\n\r\nhello",
    "an empty length": OK + b"Content-Length: \r\n\r\nhello",
    "a hexadecimal length": OK + b"Content-Length: 0x5\r\n\r\nhello",
    "a length beyond 64 bits": OK + b"Content-Length: 99999999999999999999\r\n\r\nhello",
    "length and chunked": OK + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunked and length": OK + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
    "gzip, chunked": OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "chunked, gzip": OK + b"Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n",
    "chunked twice": OK + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "identity": OK + b"Transfer-Encoding: identity\r\n\r\nhello",
    "a control before chunked": OK + b"Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
    "chunked in HTTP/1.0": b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "101 unasked": b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
    "101 unasked, without Upgrade": b"HTTP/1.1 101 Switching\r\n\r\n",
    "chunk size missing": CHUNKED + b"\r\nhello\r\n0\r\n\r\n",
    "chunk size not a number": CHUNKED + b"g\r\nhello\r\n0\r\n\r\n",
    "chunk size with 0x": CHUNKED + b"0x5\r\nhello\r\n0\r\n\r\n",
    "chunk size with a sign": CHUNKED + b"+5\r\nhello\r\n0\r\n\r\n",
    "chunk size after a space": CHUNKED + b" 5\r\nhello\r\n0\r\n\r\n",
    "chunk size before a space": CHUNKED + b"5 \r\nhello\r\n0\r\n\r\n",
    "chunk size beyond 64 bits": CHUNKED + b"fffffffffffffffff\r\nhello\r\n0\r\n\r\n",
    "chunk size ended by LF": CHUNKED + b"5\nhello\r\n0\r\n\r\n",
    "LF in a chunk extension": CHUNKED + b"5;a\nb\r\nhello\r\n0\r\n\r\n",
    "NUL in a chunk extension": CHUNKED + b"5;\0\r\nhello\r\n0\r\n\r\n",
    "chunk longer than its size": CHUNKED + b"5\r\nhello!\r\n0\r\n\r\n",
    "two other bytes after a chunk": CHUNKED + b"5\r\nhelloXX0\r\n\r\n",
    "LF after a chunk": CHUNKED + b"5\r\nhello\n0\r\n\r\n",
    "LF at the end": CHUNKED + b"5\r\nhello\r\n0\r\n\n",
    "a trailer without a colon": CHUNKED + b"0\r\nX\r\n\r\n",
    "a folded trailer": CHUNKED + b"0\r\nX: a\r\n b\r\n\r\n",
    "NUL in a trailer": CHUNKED + b"0\r\nX: a\0\r\n\r\n",
    "length in a trailer": CHUNKED + b"0\r\nContent-Length: 3\r\n\r\n",
    "coding in a trailer": CHUNKED + b"0\r\nTransfer-Encoding: chunked\r\n\r\n",
    "connection in a trailer": CHUNKED + b"0\r\nConnection: close\r\n\r\n",
}  # fmt: skip


@pytest.mark.parametrize("name", MALFORMED)
def test_a_response_that_breaks_the_rules_is_refused(name: str) -> None:
    data = MALFORMED[name]
    for pieces in ([data], bytewise(data)):
        with pytest.raises(OriginInvalid):
            read(pieces)


def test_a_head_of_just_the_limit_passes_and_one_byte_more_does_not() -> None:
    start, end = OK + b"X: ", b"\r\nContent-Length: 0\r\n\r\n"
    fits = start + b"x" * (HEAD_MAX - len(start + end)) + end
    for pieces in ([fits], bytewise(fits)):
        assert read(pieces)[0].ended
    larger = start + b"x" + fits[len(start) :]
    for pieces in ([larger], bytewise(larger)):
        with pytest.raises(OriginInvalid) as caught:
            read(pieces)
        assert caught.value.detail is Detail.ORIGIN_HEADER_TOO_BIG


def test_each_interim_head_has_the_limit_of_a_head() -> None:
    with pytest.raises(OriginInvalid):
        read([b"HTTP/1.1 103 Early\r\nX: " + b"x" * HEAD_MAX + b"\r\n\r\n"])


def test_interim_heads_are_bounded() -> None:
    early = b"HTTP/1.1 103 Early Hints\r\n\r\n"
    heard, _ = read([early * INTERIM_MAX + OK + b"Content-Length: 0\r\n\r\n"])
    assert (len(heard.interims), heard.ended) == (INTERIM_MAX, True)
    with pytest.raises(OriginInvalid):
        read([early * (INTERIM_MAX + 1)])


def test_a_chunk_extension_cannot_go_on_for_ever() -> None:
    with pytest.raises(OriginInvalid):
        read([CHUNKED, b"5;", *[b"x" * 100] * (HEAD_MAX // 100 + 1)])


def test_trailers_cannot_go_on_for_ever() -> None:
    with pytest.raises(OriginInvalid):
        read([CHUNKED, b"0\r\n", *[b"X: y\r\n"] * HEAD_MAX])
    with pytest.raises(OriginInvalid):
        read([CHUNKED + b"1\r\nx\r\n0\r\n" + b"X: y\r\n" * HEAD_MAX])


def test_many_small_chunks_are_no_overhead_to_refuse() -> None:
    heard, _ = read([CHUNKED + b"1\r\nx\r\n" * 5000 + b"0\r\n\r\n"])
    assert heard.body == b"x" * 5000


def test_101_is_an_answer_when_it_was_asked_for() -> None:
    data = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n"
    for pieces in ([data + b"raw \0 bytes"], [*bytewise(data), b"raw \0 bytes"]):
        heard, _ = read(pieces, upgrade=True)
        assert heard.final is not None
        assert (heard.final.status, heard.body, heard.ended) == (101, b"raw \0 bytes", False)


def test_without_a_101_an_upgrade_gets_an_ordinary_answer() -> None:
    heard, _ = read(
        [b"HTTP/1.1 426 No\r\nUpgrade: x\r\nConnection: upgrade\r\nContent-Length: 2\r\n\r\nno"], upgrade=True
    )
    assert (heard.body, heard.ended) == (b"no", True)


@pytest.mark.parametrize(
    ("head", "kept"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", True),
        (b"HTTP/1.1 200 OK\r\nConnection: keep-alive\r\nContent-Length: 0\r\n\r\n", True),
        (b"HTTP/1.1 200 OK\r\nConnection: Close\r\nContent-Length: 0\r\n\r\n", False),
        (b"HTTP/1.1 200 OK\r\nConnection: x, close\r\nContent-Length: 0\r\n\r\n", False),
        (b"HTTP/1.1 200 OK\r\nConnection: x\r\nConnection: close\r\nContent-Length: 0\r\n\r\n", False),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n", False),
        (b"HTTP/1.0 200 OK\r\nConnection: Keep-Alive\r\nContent-Length: 0\r\n\r\n", True),
        (b"HTTP/1.1 204 No Content\r\n\r\n", True),
        (b"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n", True),
        (b"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n", False),
        (b"HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n", False),
        (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", True),
    ],
)
def test_whether_the_connection_may_be_kept(head: bytes, kept: bool) -> None:
    assert read([head])[1].reusable is kept


def told(raw: bytes) -> tuple[object, ...] | None:
    """What a head says, None when it is refused."""
    try:
        heard, reader = read([raw])
    except OriginInvalid:
        return None
    if heard.final is None:
        return None
    fields = [field for field in heard.final.headers if field[0] != b"Upgrade"]
    return heard.final.status, heard.final.reason, fields, heard.length, heard.close_delimited, reader.reusable


LINES = st.one_of(
    st.sampled_from(
        [b"Content-Length: 5", b"content-length: 05", b"Content-Length: 5, 5", b"Content-Length: +5",
         b"Content-Length:", b"Connection: close", b"Connection: keep-alive", b"Transfer-Encoding: chunked",
         b"X", b": x", b"X : y",
         b" folded", b"X:\ty \t", b"X:\xff", b"X: a\0b", b"X: a\rb", b"X: a\nY: b", b"Trailer: X", b"X: \x7f"]
    ),
    st.builds(lambda name, value: name + b":" + value, st.binary(min_size=1, max_size=4), st.binary(max_size=6)),
)  # fmt: skip
STARTS = st.sampled_from(
    [b"HTTP/1.1 200 OK", b"HTTP/1.1 404 Not Found ", b"HTTP/1.1 200 ", b"HTTP/1.1 200", b"HTTP/1.1  200 OK",
     b"HTTP/1.1 600 X", b"HTTP/1.1 20 X", b"HTTP/1.1 2000 X", b"HTTP/1.0 200 OK", b"HTTP/1.2 200 OK",
     b"HTTP/1.1 200 \x01", b"HTTP/1.1 200 \xe9", b"http/1.1 200 OK", b"HTTP/1.1 204 None", b"HTTP/1.1 304 Same"]
)  # fmt: skip


@given(STARTS, st.lists(LINES, max_size=4))
def test_a_plain_head_says_what_the_parser_hears_in_it(start: bytes, lines: list[bytes]) -> None:
    """A head with Upgrade in it is always judged by httptools; without it, most are read by our own pattern."""
    with_length = [*lines, b"Content-Length: 0"]
    for given_lines in (lines, with_length):
        plain = b"\r\n".join([start, *given_lines, b"", b""])
        judged = b"\r\n".join([start, *given_lines, b"Upgrade: x", b"", b""])
        assert told(plain) == told(judged)
