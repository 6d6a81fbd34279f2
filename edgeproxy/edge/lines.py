"""Heads as lines: enough to tell that two requests mean the same, for a fraction of what reading one costs.

A line that was seen before is not looked into again. A head with a line that is not understood here is nobody's:
whoever reads it as a request (http1.py) says what is wrong with it, or that nothing is.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from edgeproxy.edge.ask import Ask
from edgeproxy.headers import INTERNAL_PREFIX
from edgeproxy.model import Choice
from edgeproxy.store.memory import Stored
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
"""Fields that only the log tells of, and their places in `Heading.texts`."""

_LINES_MAX = 4096
_LINE_BYTES_MAX = 512
"""How many lines are remembered before all are forgotten, and how long one may be."""


class Heading(NamedTuple):
    """A head, as far as it matters."""

    meaning: bytes
    """The lines that matter, in order: the same for heads that are answered alike."""
    texts: tuple[bytes, bytes, bytes, bytes]
    """What the log tells of it, in its own words."""


class Lines:
    """Reads heads that are cut into lines."""

    __slots__ = ("_known",)

    def __init__(self) -> None:
        self._known: dict[bytes, tuple[bytes, int, bytes]] = {}

    def read(self, lines: list[bytes], matters: frozenset[bytes]) -> Heading | None:
        """A head, its request line first; None when it is not for us to read. `matters`: of names in lower case."""
        known = self._known.get
        kept = [lines[0]]
        texts = None
        for line in lines[1:]:
            what = known(line) or self._look_into(line)
            if what is None:
                return None
            name, place, text = what
            if name in matters:
                kept.append(line)
            if place >= 0:
                if texts is None:
                    texts = [b"", b"", b"", b""]
                elif texts[place]:
                    return None  # several of one field: rules of its own
                texts[place] = text
        if texts is None:
            return Heading(b"\n".join(kept), (b"-", b"-", b"-", b"-"))
        return Heading(b"\n".join(kept), (texts[0] or b"-", texts[1] or b"-", texts[2] or b"-", texts[3] or b"-"))

    def _look_into(self, line: bytes) -> tuple[bytes, int, bytes] | None:
        """(name in lower case, its place among the texts or -1, the text)."""
        match = _LINE.fullmatch(line)
        if match is None:
            return None
        name = match[1].lower()
        if name.startswith(INTERNAL_PREFIX):
            name = INTERNAL_PREFIX
        place = LOGGED.get(name, -1)
        what = name, place, text_of(match[2].rstrip(b" \t")) if place >= 0 else b""
        if len(line) <= _LINE_BYTES_MAX:
            if len(self._known) >= _LINES_MAX:
                self._known.clear()
            self._known[line] = what
        return what


def cut(head: bytes) -> tuple[list[bytes], bytes] | None:
    """(the lines of a head, what names the resource asked for: its request line and its Host).

    None without a Host: HTTP/1.0 may come without one.
    """
    lines = head.split(b"\r\n")
    del lines[-2:]
    if len(lines) < 2:
        return None
    if lines[1][:5] in (b"Host:", b"host:"):
        return lines, lines[0] + lines[1]
    for line in lines:
        if line[:5].lower() == b"host:":
            return lines, lines[0] + line
    return None


def matters(ask: Ask, found: Sequence[Stored], viewer_is_told: bool) -> frozenset[bytes]:
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
    if viewer_is_told:
        names.add(b"x-forwarded-for")
    for stored in found:
        names.update(name for name, _ in stored.head.vary)
    return ALWAYS | names
