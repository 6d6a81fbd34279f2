"""The tier hop's fields: what goes in comes out, and nonsense is never believed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeproxy.edge.hop import HopAnswer, HopRequest, is_loopback, is_tier, read_answer, read_request
from edgeproxy.errors import ViewerError
from edgeproxy.headers import Headers
from edgeproxy.message import Client, Peer
from edgeproxy.model import AsOf
from edgeproxy.outcome import Result

texts = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), max_size=20)
numbers = st.integers(0, 1 << 60)


@given(texts, texts, texts, numbers, numbers, texts, st.integers(0, 65535), texts, texts, st.booleans(), st.booleans())
def test_a_request_comes_out_as_it_went_in(
    distribution: str,
    revision: str,
    epoch: str,
    applied: int,
    floor: int,
    address: str,
    port: int,
    scheme: str,
    request_id: str,
    refresh: bool,
    current: bool,
) -> None:
    client = Client(address, port, Peer.TIER)
    as_of = AsOf(epoch, applied)
    sent = HopRequest(
        distribution, revision, as_of, floor, b"key", client, scheme, request_id, refresh=refresh, current=current
    )
    fields = sent.fields("secret")
    assert all(value.isascii() and b"\r" not in value and b"\n" not in value for _, value in fields)
    assert read_request(Headers(fields), Peer.TIER) == sent


@pytest.mark.parametrize("mismatch", [None, "revision"])
@pytest.mark.parametrize("error", [True, False])
@pytest.mark.parametrize("edition", [0, 9])
@pytest.mark.parametrize("result", list(Result))
def test_an_answer_comes_out_as_it_went_in(result: Result, edition: int, mismatch: str | None, error: bool) -> None:
    sent = HopAnswer(AsOf("e", 7), result, mismatch, error, edition, invalid=error and edition == 9)
    assert read_answer(Headers([sent.field()])) == sent


def test_no_field_is_no_hop() -> None:
    assert read_request(Headers(), Peer.TIER) is None
    assert read_answer(Headers()) is None


@given(st.binary(max_size=60))
def test_an_unreadable_hop_is_refused_and_an_unreadable_answer_is_none(value: bytes) -> None:
    headers = Headers([(b"EdgeProxy-Hop", value)])
    with pytest.raises(ViewerError):
        read_request(headers, Peer.TIER)
    assert read_answer(headers) is None


@pytest.mark.parametrize(
    ("key", "given_key", "address", "expected"),
    [
        (None, None, "127.0.0.1", True),
        (None, None, "::1", True),
        (None, None, "::ffff:127.0.0.1", True),
        (None, None, "192.0.2.1", False),
        (None, b"any", "192.0.2.1", False),
        ("k", b"k", "192.0.2.1", True),
        ("k", b"K", "127.0.0.1", False),
        ("k", b"", "127.0.0.1", False),
        ("k", None, "127.0.0.1", False),
    ],
)
def test_a_tier_knows_the_key_or_without_one_is_on_this_machine(
    key: str | None, given_key: bytes | None, address: str, expected: bool
) -> None:
    fields = [] if given_key is None else [(b"EdgeProxy-Tier", given_key)]
    assert is_tier(Headers(fields), address, key) is expected


def test_loopback() -> None:
    assert is_loopback("127.1.2.3")
    assert not is_loopback("10.0.0.1")
    assert not is_loopback("128.0.0.1")
