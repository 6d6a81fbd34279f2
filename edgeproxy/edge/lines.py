"""Heads as lines: enough to tell that two requests mean the same, for a fraction of what reading one costs.

A line that was seen before is not looked into again, and most of the others have a name that is known to mean nothing.
A head with a line that is not understood here is nobody's:
whoever reads it as a request (http1.py) says what is wrong with it, or that nothing is.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from edgeproxy.cloudfront.response_headers import READ_BY_POLICY
from edgeproxy.edge.ask import Ask
from edgeproxy.headers import INTERNAL_PREFIX
from edgeproxy.model import Choice
from edgeproxy.store.tiers import Held
from edgeproxy.telemetry.record import text_of

_LINE = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]++):[ \t]*+([\t\x20-\x7e\x80-\xff]*+)")

ALWAYS = frozenset(
    {b"host", b"connection", b"content-length", b"transfer-encoding", b"upgrade", b"expect", b"te", b"trailer",
     b"keep-alive", b"proxy-connection", b"range", b"if-range", b"if-match", b"if-none-match", b"if-modified-since",
     b"if-unmodified-since", b"cache-control", b"pragma", b"authorization", b"proxy-authorization", b"via",
     b"cdn-loop", b"forwarded", b"max-forwards", INTERNAL_PREFIX}
)  # fmt: skip
"""Fields that may change what is answered, or how, whatever the configuration. The prefix stands for all it begins."""

LOGGED = {b"referer": 0, b"user-agent": 1, b"cookie": 2, b"x-forwarded-for": 3}
"""Fields that only the log tells of, and their places in Texts."""

_LINES_MAX = 1024
_LINE_BYTES_MAX = 512
"""How many lines of a kind are remembered, and how long one may be."""

_VALUE = bytes((0x09, *range(0x20, 0x7F), *range(0x80, 0x100)))
"""What a value may consist of, as in `_LINE`."""

NO_TEXTS = b"-", b"-", b"-", b"-"

Texts = tuple[bytes, bytes, bytes, bytes]
"""What the log tells of a head, in its own words, in the order of LOGGED."""


class Reader:
    """Reads heads that are cut into lines. `matters`: names in lower case; `cookies`: they are logged."""

    __slots__ = ("_known", "_logged", "_plain", "_plain_names", "matters")

    def __init__(self, matters: frozenset[bytes], cookies: bool) -> None:
        self.matters = matters
        self._logged = LOGGED if cookies else {name: place for name, place in LOGGED.items() if name != b"cookie"}
        self._known: dict[bytes, tuple[bool, int, bytes]] = {}
        """By line: whether it matters, its place among the texts or -1, its text."""
        self._plain: set[bytes] = set()
        """Lines of which nothing is known because nothing depends on them."""
        self._plain_names: set[bytes] = set()
        """The names in them, as they were spelled."""

    def read(self, lines: list[bytes]) -> tuple[bytes, Texts] | None:
        """(the lines that matter, in order; what the log tells), None when a head is not for us to read.

        The same lines that matter, behind the same request line and Host: heads that are answered alike.
        """
        plain, known = self._plain, self._known
        kept: list[bytes] = []
        texts: list[bytes] | None = None
        for line in lines:
            if line in plain:
                continue
            what = known.get(line)
            if what is None:
                name, _, value = line.partition(b":")
                if name in self._plain_names and not value.translate(None, _VALUE):
                    if len(plain) < _LINES_MAX and len(line) <= _LINE_BYTES_MAX:
                        plain.add(line)
                    continue
                what = self._look_into(line)
                if what is None:
                    return None
            matters, place, text = what
            if matters:
                kept.append(line)
            if place >= 0:
                if texts is None:
                    texts = [b"", b"", b"", b""]
                elif texts[place]:
                    return None  # several of one field: rules of its own
                texts[place] = text
        if texts is None:
            return b"\n".join(kept), NO_TEXTS
        referer, agent, cookie, forwarded = texts
        return b"\n".join(kept), (referer or b"-", agent or b"-", cookie or b"-", forwarded or b"-")

    def _look_into(self, line: bytes) -> tuple[bool, int, bytes] | None:
        match = _LINE.fullmatch(line)
        if match is None:
            return None
        name = match[1].lower()
        if name.startswith(INTERNAL_PREFIX):
            name = INTERNAL_PREFIX
        place = self._logged.get(name, -1)
        what = name in self.matters, place, text_of(match[2].rstrip(b" \t")) if place >= 0 else b""
        if what == (False, -1, b""):
            if len(self._plain_names) < _LINES_MAX:
                self._plain_names.add(match[1])
        elif len(self._known) < _LINES_MAX and len(line) <= _LINE_BYTES_MAX:
            self._known[line] = what
        return what

    def forget(self) -> None:
        """Lines that come next may be others."""
        for each in (self._known, self._plain, self._plain_names):
            each.clear()


def cut(head: bytes) -> tuple[bytes, list[bytes]] | None:
    """(what names the resource asked for: the request line and Host; the other lines of a head).

    None without a Host: HTTP/1.0 may come without one.
    """
    lines = head.split(b"\r\n")
    del lines[-2:]
    at = 1
    if len(lines) < 2:
        return None
    if lines[1][:5] not in (b"Host:", b"host:"):
        found = (at for at, line in enumerate(lines) if line[:5].lower() == b"host:")
        at = next(found, 0)
        if not at:
            return None
    name = lines[0] + lines[at]
    del lines[at], lines[0]
    return name, lines


def matters(ask: Ask, found: Sequence[Held], viewer_is_told: bool) -> frozenset[bytes]:
    """The names of the fields that may change what a request like this one is answered with.

    `found` is what is stored for it: a field that one of them varies on matters to the choice. `viewer_is_told`: the
    peer is believed who it speaks for.
    """
    key = ask.behavior.key
    names = set(key.headers)
    if key.cookies.choice is not Choice.NONE:
        names.add(b"cookie")
    if key.gzip or key.brotli:
        names.add(b"accept-encoding")
    if ask.behavior.response is not None:
        names |= READ_BY_POLICY
    if viewer_is_told:
        names.add(b"x-forwarded-for")
    for stored in found:
        names.update(name for name, _ in stored.head.vary)
    return ALWAYS | names
