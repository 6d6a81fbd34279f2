"""Heads cut for the shortcut: what is taken out of them, and what is left alone."""

from __future__ import annotations

import pytest

from edgeproxy.edge.plans import BLOCK_MAX, Cut, cut

FIELDS = b"\r\nHost: a.test\r\nAccept: */*\r\n\r\n"


def test_a_get_is_cut_at_its_request_line() -> None:
    assert cut(b"GET /a?b HTTP/1.1" + FIELDS) == Cut(b"GET", b"/a?b", 0, FIELDS)


@pytest.mark.parametrize("name", [b"Content-Length", b"content-length"])
def test_the_length_of_content_is_no_part_of_a_head_s_kind(name: bytes) -> None:
    head = b"POST /a HTTP/1.1\r\nHost: a.test\r\n" + name + b": 12\r\nAccept: */*\r\n\r\n"
    assert cut(head) == Cut(b"POST", b"/a", 12, FIELDS)


@pytest.mark.parametrize(
    "field",
    [b"CONTENT-LENGTH: 5", b"Content-Length : 5", b"Content-Length:5", b"Content-Length: 5x", b"Content-Length: +5"],
)
def test_a_length_in_other_words_stays_where_it_is(field: bytes) -> None:
    block = b"\r\nHost: a.test\r\n" + field + b"\r\n\r\n"
    assert cut(b"POST /a HTTP/1.1" + block) == Cut(b"POST", b"/a", 0, block)


def test_of_two_lengths_one_stays() -> None:
    parts = cut(b"POST /a HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 6" + FIELDS)
    assert parts is not None
    assert b"Content-Length: 6" in parts.block


def test_a_get_keeps_its_length() -> None:
    parts = cut(b"GET /a HTTP/1.1\r\nContent-Length: 5" + FIELDS)
    assert parts is not None
    assert (parts.length, b"Content-Length: 5" in parts.block) == (0, True)


@pytest.mark.parametrize(
    "line",
    [
        b"HEAD / HTTP/1.1", b"OPTIONS * HTTP/1.1", b"GET http://a.test/ HTTP/1.1", b"GET / HTTP/1.0",
        b"GET  / HTTP/1.1", b"GET /#f HTTP/1.1", b"GET /\x80 HTTP/1.1", b"get / HTTP/1.1", b" GET / HTTP/1.1",
        b"DELETE / HTTP/1.1",
    ],
)  # fmt: skip
def test_no_plan_is_made_for_what_is_not_plain(line: bytes) -> None:
    assert cut(line + FIELDS) is None


def test_no_plan_is_made_for_a_head_that_is_too_large_to_remember() -> None:
    assert cut(b"GET / HTTP/1.1\r\nX: " + b"x" * BLOCK_MAX + FIELDS) is None
