"""Header fields: order and spelling kept, lookup in any case, hop-by-hop ones found (RFC 9110 section 7.6.1)."""

from __future__ import annotations

import pytest

from edgeproxy.headers import Headers, connection_options, end_to_end, without_internal, without_nominated

FIELDS = Headers([(b"Host", b"a"), (b"X-One", b"1"), (b"x-one", b"2"), (b"Set-Cookie", b"a"), (b"SET-COOKIE", b"b")])


def test_lookup_is_by_lower_case_name_and_keeps_order() -> None:
    assert FIELDS.get(b"x-one") == b"1"
    assert FIELDS.all(b"set-cookie") == [b"a", b"b"]
    assert FIELDS.combined(b"x-one") == b"1, 2"
    assert (FIELDS.get(b"none"), FIELDS.all(b"none"), FIELDS.combined(b"none")) == (None, [], None)
    assert b"host" in FIELDS
    assert set(FIELDS.names()) == {b"host", b"x-one", b"set-cookie"}


def test_copies_leave_the_original_alone() -> None:
    assert list(FIELDS.without({b"x-one"})) == [(b"Host", b"a"), (b"Set-Cookie", b"a"), (b"SET-COOKIE", b"b")]
    assert list(FIELDS.replaced(b"X-ONE", b"9"))[-1] == (b"X-ONE", b"9")
    assert FIELDS.plus((b"New", b"1")).get(b"new") == b"1"
    assert len(FIELDS) == 5


def test_size_is_what_they_take_on_the_wire() -> None:
    wire = b"".join(b"%b: %b\r\n" % field for field in FIELDS)
    assert FIELDS.size() == len(wire)


def test_equal_fields_are_equal_and_hash_alike() -> None:
    assert Headers(FIELDS) == FIELDS
    assert hash(Headers(FIELDS)) == hash(FIELDS)
    assert Headers() != FIELDS


@pytest.mark.parametrize(
    ("value", "options"),
    [(b"close", {b"close"}), (b"Keep-Alive, X-A,,x-b ", {b"keep-alive", b"x-a", b"x-b"}), (b"", set())],
)
def test_connection_lists_options(value: bytes, options: set[bytes]) -> None:
    assert connection_options(Headers([(b"Connection", value)])) == options


def test_hop_by_hop_fields_go_and_what_connection_names_unless_it_is_protected() -> None:
    names = [b"Connection", b"Keep-Alive", b"TE", b"Trailer", b"Transfer-Encoding", b"Upgrade", b"Proxy-Connection"]
    hop = [(name, b"x-mine, host, cookie, cache-control, content-length") for name in names]
    kept = [(b"Host", b"a"), (b"Cookie", b"c"), (b"Cache-Control", b"no-store"), (b"Content-Length", b"1")]
    assert list(end_to_end(Headers([*hop, (b"X-Mine", b"1"), *kept]))) == kept


def test_internal_fields_are_dropped_whatever_their_case() -> None:
    assert list(without_internal(Headers([(b"EDGEPROXY-Key", b"1"), (b"A", b"2")]))) == [(b"A", b"2")]
    assert without_internal(FIELDS) is FIELDS


def test_what_connection_names_is_gone_before_anything_is_decided_by_it() -> None:
    named = (b"Connection", b"X-One, upgrade, Cookie, CDN-Loop")
    kept = [named, (b"Upgrade", b"websocket"), (b"Cookie", b"1"), (b"CDN-Loop", b"x"), (b"X-Two", b"1")]
    assert list(without_nominated(Headers([*kept, (b"x-one", b"1")]))) == kept
    assert without_nominated(FIELDS) is FIELDS
