"""Sizes, times and addresses as people write them."""

from __future__ import annotations

import pytest

from edgeproxy.units import (
    address_text,
    bytes_from,
    bytes_text,
    join_address,
    seconds_from,
    seconds_text,
    split_address,
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("64 MiB", 64 << 20),
        ("1KiB", 1024),
        ("2 GB", 2_000_000_000),
        ("17", 17),
        ("1.5 KiB", 1536),
        (5, 5),
        (None, None),
    ],
)
def test_bytes(text: object, expected: object) -> None:
    assert bytes_from(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [("10 s", 10), ("1.5 s", 1.5), ("250 ms", 0.25), ("2 min", 120), ("1 h", 3600), ("1 d", 86400), ("7", 7), (3, 3)],
)
def test_seconds(text: object, expected: object) -> None:
    assert seconds_from(text) == expected


@pytest.mark.parametrize("text", ["", "ten", "1 parsec", "-1 s", "1e3 s", "1 2"])
def test_what_is_no_quantity_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match="such as"):
        seconds_from(text)
    with pytest.raises(ValueError, match="such as"):
        bytes_from(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("127.0.0.1:80", ("127.0.0.1", 80)),
        ("[::1]:0", ("::1", 0)),
        ("localhost:8080", ("127.0.0.1", 8080)),
        ("0.0.0.0:65535", ("0.0.0.0", 65535)),
    ],
)
def test_addresses(text: str, expected: tuple[str, int]) -> None:
    assert split_address(text) == expected
    assert split_address(join_address(*expected)) == expected


@pytest.mark.parametrize(
    "text", ["", "80", ":80", "example.test:80", "127.0.0.1", "127.0.0.1:65536", "::1:80", "[::1]", "1.2.3:4"]
)
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"\S"):
        address_text(text)


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (999, "999 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (20 * 2**20, "20 MiB"), (3 * 2**40, "3 TiB")],
)
def test_sizes_for_people(count: int, text: str) -> None:
    assert bytes_text(count) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0 s"), (119, "119 s"), (300, "5 min"), (-10_800, "-3 h"), (864_000, "10 d")]
)
def test_times_for_people(seconds: float, text: str) -> None:
    assert seconds_text(seconds) == text
