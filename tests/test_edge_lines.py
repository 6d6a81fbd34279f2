"""Heads as lines: which of them mean the same."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeproxy.edge.http1 import Limits, parse_head
from edgeproxy.edge.lines import ALWAYS, NO_TEXTS, Reader, Texts, cut
from edgeproxy.errors import ViewerError

LIMITS = Limits(8192, 32768, 200)
START = b"GET /a HTTP/1.1\r\nHost: a.test\r\n"


def read(*lines: bytes, matters: frozenset[bytes] = ALWAYS, cookies: bool = False) -> tuple[bytes, Texts] | None:
    return Reader(matters, cookies).read(list(lines))


@pytest.mark.parametrize(
    ("head", "name", "rest"),
    [
        (START + b"\r\n", b"GET /a HTTP/1.1Host: a.test", []),
        (START + b"X: y\r\nZ:\r\n\r\n", b"GET /a HTTP/1.1Host: a.test", [b"X: y", b"Z:"]),
        (b"GET /a HTTP/1.1\r\nX: y\r\nhOsT: a.test\r\n\r\n", b"GET /a HTTP/1.1hOsT: a.test", [b"X: y"]),
    ],
)
def test_what_a_head_asks_for_and_its_other_lines(head: bytes, name: bytes, rest: list[bytes]) -> None:
    assert cut(head) == (name, rest)


@pytest.mark.parametrize("head", [b"GET /a HTTP/1.0\r\n\r\n", b"GET /a HTTP/1.0\r\nX: host:\r\n\r\n", b"\r\n\r\n"])
def test_without_a_host_it_is_not_for_us(head: bytes) -> None:
    assert cut(head) is None


def test_only_what_matters_distinguishes_heads_in_its_order() -> None:
    plain = read(b"Accept: */*", b"X-Trace: 1")
    assert plain == read(b"X-Trace: 2") == read() == (b"", NO_TEXTS)
    assert read(b"Range: bytes=0-1", b"X: y") == (b"Range: bytes=0-1", NO_TEXTS)
    assert read(b"RANGE: bytes=0-1") != read(b"Range: bytes=0-1")
    assert read(b"If-None-Match: a", b"If-None-Match: b") != read(b"If-None-Match: b", b"If-None-Match: a")
    assert read(b"EdgeProxy-Client: 1.2.3.4") == (b"EdgeProxy-Client: 1.2.3.4", NO_TEXTS)
    assert read(b"X-Color: red", matters=ALWAYS | {b"x-color"}) == (b"X-Color: red", NO_TEXTS)


def test_what_the_log_tells_is_in_its_words() -> None:
    read_ = read(b"User-Agent:  a b ", b"Referer: http://x/\xe4", b"Cookie: a=1", b"X-Forwarded-For: 1.2.3.4")
    assert read_ == (b"", (b"http://x/%E4", b"a%20b", b"-", b"1.2.3.4"))
    assert read(b"Cookie: a=1", cookies=True) == (b"", (b"-", b"-", b"a=1", b"-"))
    assert read(b"User-Agent:") == (b"", NO_TEXTS)


@pytest.mark.parametrize(
    "lines",
    [
        [b"no colon"],
        [b" folded: x"], [b"na me: x"], [b": x"], [b"X: a\x00"], [b"X: a\nb"], [b"X: a\rb"], [b"X: \x7f"],
        [b"User-Agent: a", b"User-Agent: b"], [b"X-Forwarded-For: 1.2.3.4", b"x-forwarded-for: 1.2.3.5"],
    ],
)  # fmt: skip
def test_what_is_not_understood_is_nobody_s(lines: list[bytes]) -> None:
    reader = Reader(ALWAYS, False)
    for _ in range(2):
        assert reader.read([b"X: y", b"User-Agent: z"]) is not None
        assert reader.read(lines) is None, "also when the name is known by now"


NAMES = st.sampled_from([b"X", b"Accept", b"Host", b"Range", b"User-Agent", b"a b", b"", b" X"])
VALUES = st.sampled_from([b"x", b" x ", b"", b"\x00", b"\n", b"\r", b"\x7f", b"\xff", b"\t", b": :"])


@given(st.lists(st.lists(st.tuples(NAMES, VALUES), max_size=4), max_size=6))
def test_what_is_understood_here_is_understood_there(heads: list[list[tuple[bytes, bytes]]]) -> None:
    """A reader never takes lines that http1 refuses, whatever it has read before."""
    reader = Reader(ALWAYS, False)
    for fields in heads:
        lines = [name + b":" + value for name, value in fields]
        head = START + b"".join(line + b"\r\n" for line in lines) + b"\r\n"
        cut_ = cut(head)
        assert cut_ is not None
        read_ = reader.read(cut_[1])
        try:
            parse_head(head, "http", LIMITS)
        except ViewerError as error:
            refused_for_host = error.status == 400 and b"host" in str(error).lower().encode()
            assert read_ is None or b"Host:" in read_[0] or not refused_for_host, head
            assert read_ is None or b"Host:" in read_[0], head


def test_what_is_remembered_of_lines_is_bounded_and_can_be_forgotten() -> None:
    reader = Reader(ALWAYS, False)
    for number in range(5000):
        reader.read([b"X-%d: y" % number, b"Range: bytes=%d-" % number, b"X-0: %d" % number])
    assert len(reader._known) == len(reader._plain) == len(reader._plain_names) == 1024
    assert reader.read([b"X-4999: y", b"Range: bytes=4999-"]) == (b"Range: bytes=4999-", NO_TEXTS)
    reader.forget()
    assert reader.read([b"X-0: y", b"Range: bytes=0-"]) == (b"Range: bytes=0-", NO_TEXTS)
