"""DNS cookies: who comes with one of ours has got an answer at this address before, so that it is not forged.

RFC 7873 with the server's half as RFC 9018 §4 lays it out, so that resolvers of any make that share a secret take each
other's: version 1, three zero bytes, a time, and SipHash-2-4 over the client's half, those eight bytes and its address.
"""

from __future__ import annotations

from collections.abc import Callable
from hmac import compare_digest
from ipaddress import ip_address
from struct import Struct

CLIENT_HALF = 8
SERVER_HALF = 16
SECRET_SIZE = 16
LIFETIME, RENEWED_AFTER, AHEAD = 3600, 1800, 300
"""Seconds a cookie is good for, until it is replaced by a new one, and it may be ahead of our clock (RFC 9018 §4.3)."""
KNOWN_MAX = 16_384
"""Checked cookies remembered; SipHash costs more than all the rest of an answer."""

_VERSION = 1
_HEAD = Struct("!B3xI")
_MASK = 2**64 - 1


class Cookies:
    """Makes and checks them. `wall` gives seconds; `secret` is shared by resolvers that answer for each other."""

    def __init__(self, secret: bytes, wall: Callable[[], float]) -> None:
        assert len(secret) == SECRET_SIZE
        self._secret = secret
        self._wall = wall
        self._known: dict[tuple[bytes, str], int] = {}
        """When those were made that proved to be ours."""
        self._last: tuple[bytes, str, int] | None = None
        self._said = b"", False

    def check(self, cookie: bytes, source: str) -> tuple[bytes, bool]:
        """The cookie to answer with, and whether the one that came is ours, for this address and not too old."""
        now = int(self._wall())
        if self._last != (cookie, source, now):  # memory asks first, and then whoever reads the query
            self._last, self._said = (cookie, source, now), self._checked(cookie, source, now)
        return self._said

    def _checked(self, cookie: bytes, source: str, now: int) -> tuple[bytes, bool]:
        made = self._made(cookie, source)
        age = None if made is None else (now - made + 2**31) % 2**32 - 2**31  # serial numbers (RFC 1982)
        if age is not None and -AHEAD <= age <= RENEWED_AFTER:
            return cookie, True
        client = cookie[:CLIENT_HALF]
        return client + self._server_half(client, now % 2**32, source), age is not None and -AHEAD <= age <= LIFETIME

    def _made(self, cookie: bytes, source: str) -> int | None:
        """When we made it; None when we did not."""
        if len(cookie) != CLIENT_HALF + SERVER_HALF:
            return None
        known = self._known.get((cookie, source))
        if known is not None:
            return known
        client, head, mark = cookie[:CLIENT_HALF], cookie[CLIENT_HALF:-8], cookie[-8:]
        # The reserved bytes are taken as they come (RFC 9018 §4.2); the mark covers them.
        if head[0] != _VERSION or not compare_digest(mark, self._mark(client + head, source)):
            return None
        made = int.from_bytes(head[4:], "big")
        if len(self._known) >= KNOWN_MAX:
            self._known.clear()
        self._known[cookie, source] = made
        return made

    def _server_half(self, client: bytes, made: int, source: str) -> bytes:
        head = _HEAD.pack(_VERSION, made)
        return head + self._mark(client + head, source)

    def _mark(self, text: bytes, source: str) -> bytes:
        address = ip_address(source.partition("%")[0]).packed
        return siphash(self._secret, text + address).to_bytes(8, "little")


def siphash(key: bytes, message: bytes) -> int:
    """SipHash-2-4 (Aumasson and Bernstein, 2012) of a message under a key of 16 bytes; Python has it only keyed by
    itself."""
    k0, k1 = int.from_bytes(key[:8], "little"), int.from_bytes(key[8:], "little")
    v = [k0 ^ 0x736F6D6570736575, k1 ^ 0x646F72616E646F6D, k0 ^ 0x6C7967656E657261, k1 ^ 0x7465646279746573]
    padded = message + bytes(7 - len(message) % 8) + bytes([len(message) & 0xFF])
    for position in range(0, len(padded), 8):
        word = int.from_bytes(padded[position : position + 8], "little")
        v[3] ^= word
        _round(v)
        _round(v)
        v[0] ^= word
    v[2] ^= 0xFF
    for _ in range(4):
        _round(v)
    return v[0] ^ v[1] ^ v[2] ^ v[3]


def _round(v: list[int]) -> None:
    v0, v1, v2, v3 = v
    v0 = v0 + v1 & _MASK
    v1 = (v1 << 13 | v1 >> 51) & _MASK ^ v0
    v0 = (v0 << 32 | v0 >> 32) & _MASK
    v2 = v2 + v3 & _MASK
    v3 = (v3 << 16 | v3 >> 48) & _MASK ^ v2
    v0 = v0 + v3 & _MASK
    v3 = (v3 << 21 | v3 >> 43) & _MASK ^ v0
    v2 = v2 + v1 & _MASK
    v1 = (v1 << 17 | v1 >> 47) & _MASK ^ v2
    v2 = (v2 << 32 | v2 >> 32) & _MASK
    v[:] = v0, v1, v2, v3
