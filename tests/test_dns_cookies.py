"""dns/cookies.py: the vectors of RFC 9018, and how long a cookie is good for."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from edgeproxy.dns.cookies import KNOWN_MAX, Cookies, siphash

CLIENT, SECRET = "2464c4abcf10c957", "e5e973e5a6b2a43f48e7dc849e37bfcf"

VECTORS = {
    "RFC 9018 A.1: a new cookie": (
        SECRET, CLIENT, "198.51.100.100", 1559731985, CLIENT + "010000005cf79f111f8130c3eee29480",
    ),
    "RFC 9018 A.2: the same again a while later": (
        SECRET, CLIENT + "010000005cf79f111f8130c3eee29480", "198.51.100.100", 1559734385,
        CLIENT + "010000005cf7a871d4a564a1442aca77",
    ),
    "RFC 9018 A.3: reserved bytes are taken as they come": (
        SECRET, "fc93fc62807ddb8601abcdef5cf78f71a314227b6679ebf5", "203.0.113.203", 1559727985,
        "fc93fc62807ddb8601abcdef5cf78f71a314227b6679ebf5",
    ),
    "RFC 9018 A.4: IPv6": (
        "dd3bdf9344b678b185a6f5cb60fca715", "22681ab97d52c298", "2001:db8:220:1:59de:d0f4:8769:82b8", 1559741817,
        "22681ab97d52c298010000005cf7c57926556bd0934c72f8",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("secret", "sent", "source", "now", "expected"), VECTORS.values(), ids=VECTORS.keys())
def test_vector(secret: str, sent: str, source: str, now: int, expected: str) -> None:
    cookie, known = Cookies(bytes.fromhex(secret), lambda: now).check(bytes.fromhex(sent), source)
    assert cookie.hex() == expected
    assert known is (len(sent) > 16)


def test_siphash_vector() -> None:
    """The last vector of the paper: key 00..0f, message 00..0e."""
    assert siphash(bytes(range(16)), bytes(range(15))) == 0xA129CA6149BE45E5


AGES = {
    "at once": (0, True, False),
    "after half an hour": (1800, True, False),
    "a little later it is replaced": (1801, True, True),
    "after an hour": (3600, True, True),
    "a little later it is good no more": (3601, False, True),
    "five minutes ahead of our clock": (-300, True, False),
    "further ahead": (-301, False, True),
}


@pytest.mark.parametrize(("age", "good", "replaced"), AGES.values(), ids=AGES.keys())
def test_rfc9018_43_a_cookie_is_good_for(age: int, good: bool, replaced: bool) -> None:
    now = [1_000_000.0]
    cookies = Cookies(bytes(16), lambda: now[0])
    first, _ = cookies.check(bytes(8), "192.0.2.1")
    for _ in range(2):  # the second time it is remembered
        now[0] = 1_000_000 + age
        cookie, known = cookies.check(first, "192.0.2.1")
        assert (known, cookie != first) == (good, replaced)


FORGED: dict[str, Callable[[bytes], tuple[bytes, str]]] = {
    "another address": lambda cookie: (cookie, "192.0.2.2"),
    "a bit turned": lambda cookie: (cookie[:-1] + bytes([cookie[-1] ^ 1]), "192.0.2.1"),
    "another client's half": lambda cookie: (b"x" * 8 + cookie[8:], "192.0.2.1"),
    "another version": lambda cookie: (cookie[:8] + b"\2" + cookie[9:], "192.0.2.1"),
    "a server's half of another length": lambda cookie: (cookie + b"x", "192.0.2.1"),
    "none": lambda cookie: (cookie[:8], "192.0.2.1"),
}


@pytest.mark.parametrize("kind", FORGED)
def test_a_cookie_is_not_ours_with(kind: str) -> None:
    cookies = Cookies(bytes(16), lambda: 1_000_000.0)
    first, _ = cookies.check(bytes(8), "192.0.2.1")
    cookie, known = cookies.check(*FORGED[kind](first))
    assert not known
    assert len(cookie) == 24


def test_what_is_remembered_is_bounded() -> None:
    cookies = Cookies(bytes(16), lambda: 1_000_000.0)
    sample, _ = cookies.check(bytes(8), "192.0.2.1")
    cookies._known.update({(bytes([each >> 8, each & 255]), ""): 0 for each in range(KNOWN_MAX)})
    assert cookies.check(sample, "192.0.2.1") == (sample, True)
    assert len(cookies._known) == 1
