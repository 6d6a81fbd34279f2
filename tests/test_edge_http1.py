"""Request heads: each case of the tables is read whole, byte by byte, and with the next request behind it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeproxy.edge.http1 import HeadBuffer, Limits, ParsedHead, parse_authority, parse_fields, parse_head
from edgeproxy.errors import ViewerError
from edgeproxy.settings import Connections

LIMITS = Limits(request_line_max=64, head_max=512, fields_max=8, too_large_status=494)
HOST = b"Host: a.test\r\n"


def take_whole(data: bytes) -> bytes | None:
    heads = HeadBuffer(LIMITS)
    heads.feed(data)
    return heads.take()


def take_bytewise(data: bytes) -> bytes | None:
    heads = HeadBuffer(LIMITS)
    for at in range(len(data)):
        heads.feed(data[at : at + 1])
        head = heads.take()
        if head is not None:
            assert at == len(data) - 1, "a head ended before its end"
            return head
    return None


def take_with_more(data: bytes) -> bytes | None:
    heads = HeadBuffer(LIMITS)
    heads.feed(data + b"GET /next HTTP/1.1\r\n\x00")
    head = heads.take()
    assert head is None or heads.take_rest() == b"GET /next HTTP/1.1\r\n\x00"
    return head


Take = Callable[[bytes], bytes | None]
every_way = pytest.mark.parametrize("take", [take_whole, take_bytewise, take_with_more])


def read(data: bytes) -> ParsedHead:
    return parse_head(data, "http", LIMITS)


def outcome(data: bytes, step: int, limits: Limits) -> ParsedHead | int | None:
    """What the first head in these bytes is, or the status it is refused with; `step` bytes arrive at a time."""
    heads = HeadBuffer(limits)
    try:
        for begin in range(0, len(data), step):
            heads.feed(data[begin : begin + step])
            taken = heads.take()
            if taken is not None:
                return parse_head(taken, "http", limits)
    except ViewerError as error:
        return error.status
    return None


def head(line: bytes = b"GET / HTTP/1.1", *fields: bytes, host: bytes = HOST) -> bytes:
    return line + b"\r\n" + host + b"".join(field + b"\r\n" for field in fields) + b"\r\n"


def test_a_plain_request_keeps_every_byte_that_may_matter() -> None:
    request = read(head(b"GET /a%2Fb?x=1&&y HTTP/1.1", b"X-Thing:  two words \t", b"x-thing: ", b"x-Latin: \xe9"))
    assert (request.head.method, request.head.target, request.head.authority) == ("GET", b"/a%2Fb?x=1&&y", b"a.test")
    assert (request.head.scheme, request.head.version) == ("http", "1.1")
    assert list(request.head.headers) == [
        (b"Host", b"a.test"), (b"X-Thing", b"two words"), (b"x-thing", b""), (b"x-Latin", b"\xe9"),
    ]  # fmt: skip
    assert request[1:] == (0, True, False, False)


@every_way
@pytest.mark.parametrize(
    ("data", "target", "authority"),
    [
        (head(b"GET / HTTP/1.1", host=b"HOST:A.Test:80\r\n"), b"/", b"a.test:80"),
        (head(host=b"Host: a.test:\r\n"), b"/", b"a.test"),
        (head(host=b"Host: [::1]:8080\r\n"), b"/", b"[::1]:8080"),
        (head(host=b"Host: 127.0.0.1\r\n"), b"/", b"127.0.0.1"),
        (b"\r\n" + head(), b"/", b"a.test"),
        (head(b"GET //b.test/x HTTP/1.1"), b"//b.test/x", b"a.test"),
        (head(b"GET http://B.test:81/x?y HTTP/1.1"), b"/x?y", b"b.test:81"),
        (head(b"GET HTTP://b.test HTTP/1.1"), b"/", b"b.test"),
        (head(b"GET http://b.test?y HTTP/1.1"), b"/?y", b"b.test"),
        (head(b"OPTIONS http://b.test HTTP/1.1"), b"*", b"b.test"),
        (head(b"OPTIONS * HTTP/1.1"), b"*", b"a.test"),
        (head(b"GET / HTTP/1.0", host=b""), b"/", b""),
        (head(b"GET http://b.test/ HTTP/1.0", host=b""), b"/", b"b.test"),
        (head(b'GET /{"|^`} HTTP/1.1'), b'/{"|^`}', b"a.test"),
    ],
)
def test_targets_and_hosts_that_are_accepted(take: Take, data: bytes, target: bytes, authority: bytes) -> None:
    taken = take(data)
    assert taken is not None
    request = read(taken)
    assert (request.head.target, request.head.authority) == (target, authority)
    if authority and b"http://" in data.lower():
        assert request.head.headers.all(b"host") == [authority], "one authority is left (CVE-2016-4553)"


BAD = {
    # the request line
    "no version": (b"GET /\r\n" + HOST + b"\r\n", 400),
    "two spaces": (head(b"GET  / HTTP/1.1"), 400),
    "trailing space": (head(b"GET / HTTP/1.1 "), 400),
    "tab between": (head(b"GET\t/ HTTP/1.1"), 400),
    "leading space": (head(b" GET / HTTP/1.1"), 400),
    "two empty lines before": (b"\r\n\r\n" + head(), 400),
    "lower-case version": (head(b"GET / http/1.1"), 400),
    "short version": (head(b"GET / HTTP/1"), 400),
    "HTTP/2.0": (head(b"GET / HTTP/2.0"), 505),
    "HTTP/1.2": (head(b"GET / HTTP/1.2"), 505),
    "HTTP/0.9": (head(b"GET / HTTP/0.9"), 505),
    "HTTP/2 preface": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[:18], 505),
    "method no token": (head(b"GE(T / HTTP/1.1"), 400),
    "TLS hello": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\r\n\r\n", 400),
    "CONNECT": (head(b"CONNECT a.test:443 HTTP/1.1"), 501),
    "CONNECT in origin-form": (head(b"CONNECT / HTTP/1.1"), 501),
    # the target
    "fragment": (head(b"GET /a#b HTTP/1.1"), 400),
    "raw UTF-8": (head(b"GET /\xc3\xa9 HTTP/1.1"), 400),
    "NUL in target": (head(b"GET /\x00 HTTP/1.1"), 400),
    "DEL in target": (head(b"GET /\x7f HTTP/1.1"), 400),
    "asterisk": (head(b"GET * HTTP/1.1"), 400),
    "no slash": (head(b"GET a HTTP/1.1"), 400),
    "authority-form": (head(b"GET a.test:80 HTTP/1.1"), 400),
    "other scheme": (head(b"GET ftp://a.test/ HTTP/1.1"), 400),
    "https over http": (head(b"GET https://a.test/ HTTP/1.1"), 421),
    "absolute with userinfo": (head(b"GET http://a@b.test/ HTTP/1.1"), 400),
    "absolute without host": (head(b"GET http:///x HTTP/1.1"), 400),
    "absolute, backslash": (head(b"GET http://a\\b.test/ HTTP/1.1"), 400),
    "absolute, no Host": (head(b"GET http://b.test/ HTTP/1.1", host=b""), 400),
    "absolute, bad Host": (head(b"GET http://b.test/ HTTP/1.1", host=b"Host: a@b\r\n"), 400),
    # Host
    "no Host": (head(host=b""), 400),
    "two Hosts": (head(b"GET / HTTP/1.1", b"hOST: a.test"), 400),
    "two Hosts in 1.0": (head(b"GET / HTTP/1.0", b"Host: a.test"), 400),
    "empty Host": (head(host=b"Host:\r\n"), 400),
    "Host with userinfo": (head(host=b"Host: a@b\r\n"), 400),
    "Host with open bracket": (head(host=b"Host: [::1\r\n"), 400),
    "Host, not IPv6": (head(host=b"Host: [1.2.3]\r\n"), 400),
    "Host with space": (head(host=b"Host: a b\r\n"), 400),
    "Host with path": (head(host=b"Host: a.test/x\r\n"), 400),
    "Host list": (head(host=b"Host: a.test, b.test\r\n"), 400),
    "Host percent": (head(host=b"Host: a%2etest\r\n"), 400),
    "Host port word": (head(host=b"Host: a.test:http\r\n"), 400),
    "Host port too large": (head(host=b"Host: a.test:65536\r\n"), 400),
    "Host longer than a name": (head(host=b"Host: " + b"a" * 256 + b"\r\n"), 400),
    # fields
    "space before colon": (head(b"GET / HTTP/1.1", b"X-A : b"), 400),
    "space before Host's colon": (head(host=b"Host : a.test\r\n"), 400),
    "no colon": (head(b"GET / HTTP/1.1", b"X-A"), 400),
    "empty name": (head(b"GET / HTTP/1.1", b": b"), 400),
    "name no token": (head(b"GET / HTTP/1.1", b"X(A: b"), 400),
    "obs-fold": (head(b"GET / HTTP/1.1", b"X-A: b", b" c"), 400),
    "obs-fold at once": (b"GET / HTTP/1.1\r\n X-A: b\r\n" + HOST + b"\r\n", 400),
    "NUL in value": (head(b"GET / HTTP/1.1", b"X-A: b\x00c"), 400),
    "control in value": (head(b"GET / HTTP/1.1", b"X-A: b\x0bc"), 400),
    "bare LF ends a line": (b"GET / HTTP/1.1\n" + HOST + b"\r\n", 400),
    "bare LF in a value": (head(b"GET / HTTP/1.1", b"X-A: b\nX-B: c"), 400),
    "bare CR in a value": (head(b"GET / HTTP/1.1", b"X-A: b\rX-B: c"), 400),
    "only LFs": (b"GET / HTTP/1.1\nHost: a.test\n\n", 400),
    # framing: the smuggling families
    "CL and TE": (head(b"POST / HTTP/1.1", b"Content-Length: 5", b"Transfer-Encoding: chunked"), 400),
    "TE and CL": (head(b"POST / HTTP/1.1", b"Transfer-Encoding: chunked", b"Content-Length: 5"), 400),
    "two CLs": (head(b"POST / HTTP/1.1", b"Content-Length: 5", b"Content-Length: 6"), 400),
    "same CL twice": (head(b"POST / HTTP/1.1", b"Content-Length: 5", b"Content-Length: 5"), 400),
    "CL list": (head(b"POST / HTTP/1.1", b"Content-Length: 5, 5"), 400),
    "CL empty": (head(b"POST / HTTP/1.1", b"Content-Length:"), 400),
    "CL plus": (head(b"POST / HTTP/1.1", b"Content-Length: +5"), 400),
    "CL minus": (head(b"POST / HTTP/1.1", b"Content-Length: -5"), 400),
    "CL hex": (head(b"POST / HTTP/1.1", b"Content-Length: 0x5"), 400),
    "CL underscore": (head(b"POST / HTTP/1.1", b"Content-Length: 1_0"), 400),
    "CL decimal": (head(b"POST / HTTP/1.1", b"Content-Length: 5.0"), 400),
    "CL endless": (head(b"POST / HTTP/1.1", b"Content-Length: " + b"9" * 19), 400),
    "CL other digits": (head(b"POST / HTTP/1.1", b"Content-Length: \xb2"), 400),
    "TE in 1.0": (head(b"POST / HTTP/1.0", b"Transfer-Encoding: chunked"), 400),
    "TE with VT": (head(b"POST / HTTP/1.1", b"Transfer-Encoding: \x0bchunked"), 400),
    "TE empty": (head(b"POST / HTTP/1.1", b"Transfer-Encoding:"), 400),
    "TE chunked twice": (head(b"POST / HTTP/1.1", b"Transfer-Encoding: chunked, chunked"), 400),
    "TE two lines": (head(b"POST / HTTP/1.1", b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked"), 400),
    "TE not last": (head(b"POST / HTTP/1.1", b"Transfer-Encoding: chunked, identity"), 400),
    "TE identity": (head(b"POST / HTTP/1.1", b"Transfer-Encoding: identity"), 400),
    "TE gzip alone": (head(b"POST / HTTP/1.1", b"Transfer-Encoding: gzip"), 400),
    "TE chunked with parameter": (head(b"POST / HTTP/1.1", b"Transfer-Encoding: chunked;a=b"), 400),
    "TE quoted": (head(b"POST / HTTP/1.1", b'Transfer-Encoding: "chunked"'), 400),
    "TE trailing comma": (head(b"POST / HTTP/1.1", b"Transfer-Encoding: chunked,"), 400),
    "TE xchunked": (head(b"POST / HTTP/1.1", b"Transfer-Encoding: xchunked"), 400),
    "TE unknown coding": (head(b"POST / HTTP/1.1", b"Transfer-Encoding: gzip, chunked"), 501),
    "TE unknown on two lines": (head(b"POST / HTTP/1.1", b"Transfer-Encoding: a", b"transfer-encoding: chunked"), 501),
    "other expectation": (head(b"POST / HTTP/1.1", b"Expect: 200-ok"), 417),
    # limits
    "line too long": (head(b"GET /" + b"a" * 64 + b" HTTP/1.1"), 414),
    "head too large": (head(b"GET / HTTP/1.1", b"X-A: " + b"b" * 500), 494),
    "too many fields": (head(b"GET / HTTP/1.1", *[b"a: b"] * 8), 431),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_what_is_refused_and_with_which_status(name: str) -> None:
    data, status = BAD[name]
    assert outcome(data, len(data), LIMITS) == status
    assert outcome(data, 1, LIMITS) == status
    assert outcome(data + head(), len(data) + 100, LIMITS) == status


@pytest.mark.parametrize(
    ("fields", "length"),
    [
        ([], 0),
        ([b"Content-Length: 0"], 0),
        ([b"Content-Length: 0042"], 42),
        ([b"content-length: \t7 "], 7),
        ([b"Content-Length: " + b"9" * 18], 10**18 - 1),
        ([b"Transfer-Encoding: chunked"], None),
        ([b"transfer-encoding: CHUNKED "], None),
    ],
)
def test_the_framing_of_bodies(fields: list[bytes], length: int | None) -> None:
    assert read(head(b"GET / HTTP/1.1", *fields)).length == length


@pytest.mark.parametrize(
    ("version", "connection", "kept"),
    [
        (b"1.1", None, True),
        (b"1.1", b"close", False),
        (b"1.1", b"Keep-Alive, CLOSE", False),
        (b"1.0", None, False),
        (b"1.0", b"x, keep-alive", True),
        (b"1.0", b"keep-alive, close", False),
    ],
)
def test_whether_a_connection_persists(version: bytes, connection: bytes | None, kept: bool) -> None:
    fields = [] if connection is None else [b"Connection: " + connection]
    assert read(head(b"GET / HTTP/" + version, *fields)).keep_alive is kept


@pytest.mark.parametrize(
    ("version", "fields", "expects"),
    [
        (b"1.1", [b"Expect: 100-Continue", b"Content-Length: 5"], True),
        (b"1.1", [b"Expect: 100-continue", b"Transfer-Encoding: chunked"], True),
        (b"1.1", [b"Expect: 100-continue"], False),
        (b"1.0", [b"Expect: 100-continue", b"Content-Length: 5"], False),
        (b"1.1", [b"Content-Length: 5"], False),
    ],
)
def test_who_waits_for_100_continue(version: bytes, fields: list[bytes], expects: bool) -> None:
    assert read(head(b"POST / HTTP/" + version, *fields)).expect_continue is expects


@pytest.mark.parametrize(
    ("version", "fields", "offered"),
    [
        (b"1.1", [b"Connection: keep-alive, Upgrade", b"Upgrade: websocket"], True),
        (b"1.1", [b"Upgrade: websocket"], False),
        (b"1.1", [b"Connection: upgrade"], False),
        (b"1.0", [b"Connection: upgrade", b"Upgrade: websocket"], False),
    ],
)
def test_what_counts_as_an_offer_to_upgrade(version: bytes, fields: list[bytes], offered: bool) -> None:
    assert read(head(b"GET / HTTP/" + version, *fields)).upgrade is offered


def test_limits_are_exact() -> None:
    line = b"GET /" + b"a" * (LIMITS.request_line_max - 14) + b" HTTP/1.1"
    assert len(line) == LIMITS.request_line_max
    read(head(line))
    full = head(b"GET / HTTP/1.1", b"X-A: ")
    full = full.replace(b"X-A: ", b"X-A: " + b"b" * (LIMITS.head_max - len(full)))
    read(full)
    read(head(b"GET / HTTP/1.1", *[b"a: b"] * (LIMITS.fields_max - 1)))
    for take in (take_whole, take_bytewise):
        assert take(full) == full
        assert take(head(line)) == head(line)


def test_over_a_limit_is_known_before_the_head_is_complete() -> None:
    for data, status in [
        (b"G" * (LIMITS.request_line_max + 2), 414),
        (b"GET / HTTP/1.1\r\nX-A: " + b"b" * LIMITS.head_max, 494),
        (b"GET / HTTP/1.1\r\n" + b"a:\r\n" * (LIMITS.fields_max + 1), 431),
        (b"\x16\x03\x01", 400),
        (b"nonsense\r\n", 400),
    ]:
        with pytest.raises(ViewerError) as refused:
            assert take_bytewise(data) is None
        assert refused.value.status == status
        with pytest.raises(ViewerError) as refused:
            take_whole(data)
        assert refused.value.status == status


def test_limits_come_from_the_settings() -> None:
    assert Limits.of(Connections(), 494) == Limits(8192, 32768, 200, 494)


def test_pipelined_heads_are_taken_one_by_one_across_any_cut() -> None:
    first, second, third = head(b"GET /1 HTTP/1.1"), b"\r\n" + head(b"GET /2 HTTP/1.1"), head(b"GET /3 HTTP/1.1")
    stream = first + second + third
    for cut in range(len(stream)):
        heads = HeadBuffer(LIMITS)
        taken = []
        for part in (stream[:cut], stream[cut:]):
            heads.feed(part)
            while (one := heads.take()) is not None:
                taken.append(one)
        assert taken == [first, second[2:], third]
        assert len(heads) == 0


def test_a_lone_empty_line_is_no_head_and_a_second_one_is_too_many() -> None:
    heads = HeadBuffer(LIMITS)
    heads.feed(b"\r\n")
    assert heads.take() is None
    assert len(heads) == 0
    heads.feed(b"\r\n")
    with pytest.raises(ViewerError):
        heads.take()


def test_a_valid_authority_is_the_same_however_it_is_written() -> None:
    assert parse_authority(b"A.TEST") == parse_authority(b"a.test") == parse_authority(b"a.test:") == b"a.test"


def test_fields_without_any_are_an_empty_section() -> None:
    assert parse_fields(b"\r\n", 0, 8) == []


grammar = st.lists(
    st.sampled_from(
        [b"GET ", b"POST", b" / ", b"http://a", b"HTTP/1.1", b"HTTP/1.0", b"\r\n", b"\r", b"\n", b"Host", b":", b" ",
         b"a.test", b"Content-Length", b"5", b"Transfer-Encoding", b"chunked", b",", b"\x00", b"\t", b"Expect", b"#",
         b"Connection", b"upgrade", b"\xff"]
    )
).map(b"".join)  # fmt: skip


@given(st.one_of(st.binary(max_size=600), grammar), st.integers(1, 600))
def test_no_bytes_raise_anything_but_a_viewer_error(data: bytes, step: int) -> None:
    found = outcome(data, step, LIMITS)
    assert not isinstance(found, int) or found in (400, 414, 417, 421, 431, 494, 501, 505)
    with contextlib.suppress(ViewerError):
        read(data)


@given(st.binary(max_size=300), st.integers(0, 40))
def test_how_the_bytes_are_cut_changes_nothing(noise: bytes, at: int) -> None:
    valid = head(b"GET /x HTTP/1.1", b"X-A: b")
    data = valid[:at] + noise + valid[at:]
    whole, pieces, single = (outcome(data, step, Limits(10_000, 20_000, 1_000)) for step in (len(data), 7, 1))
    assert whole == pieces == single
