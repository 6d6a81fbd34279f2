"""The origin of a history: its content changes, and every eight bytes it sends tell which ask they answered."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass, field
from random import Random

from edgeproxy.headers import Field, Headers
from edgeproxy.message import RequestHead, ResponseHead

UNIT = 8
UNITS = 4
"""Of a body."""
TAGS = ("red", "blue")

viewer: ContextVar[int] = ContextVar("viewer", default=-1)
"""On whose behalf something is asked."""


@dataclass(frozen=True, slots=True)
class Asked:
    """One request that reached the origin."""

    at: float
    method: str
    path: str
    """With its query."""
    tags: tuple[str, ...]
    viewer: int


@dataclass(slots=True)
class Page:
    """What the origin has under one path."""

    version: int = 0
    lying: bool = False
    """Its validator does not change with its content: one made of time and size."""
    max_age: int = 1000
    stale_if_error: bool = False
    vary: bool = False
    tags: tuple[str, ...] = ()
    status: int = 200


@dataclass(slots=True)
class Origin:
    """All of it. `fails` says whether it is out of order now."""

    random: Random
    now: Callable[[], float]
    pages: dict[str, Page] = field(default_factory=dict)
    asked: list[Asked] = field(default_factory=list)
    fails: bool = False
    calm: bool = False

    def page(self, path: str) -> Page:
        """What is there; all paths that differ in their query only have the same character."""
        plain = path.partition("?")[0]
        if plain not in self.pages:
            chance = self.random
            self.pages[plain] = Page(
                lying=chance.random() < 0.6,
                max_age=chance.choice((0, 1, 2, 1000, 1000, 1000)),
                stale_if_error=chance.random() < 0.5,
                vary=chance.random() < 0.15,
                tags=tuple(tag for tag in TAGS if chance.random() < 0.4),
                status=404 if chance.random() < 0.1 else 200,
            )
            if self.calm:
                self.settle()
        return self.pages[plain]

    def settle(self) -> None:
        """From now on everything can be kept, by one key."""
        self.calm = True
        for page in self.pages.values():
            page.max_age, page.vary = 1000, False

    def answer(self, request: RequestHead) -> tuple[ResponseHead, bytes]:
        """What it says to a request that has just arrived."""
        path = request.target.decode()
        page = self.page(path)
        number = len(self.asked)
        self.asked.append(Asked(self.now(), request.method, path, page.tags, viewer.get()))
        if self.fails:
            return ResponseHead(503, Headers([(b"Content-Length", b"0")])), b""
        if request.method not in ("GET", "HEAD"):
            page.version += 1
            return ResponseHead(204, Headers()), b""
        tag = b'"same"' if page.lying else b'"v%d"' % page.version
        fields = self._fields(page, tag)
        if request.headers.get(b"if-none-match") is not None and tag in (request.headers.get(b"if-none-match") or b""):
            return ResponseHead(304, Headers(fields)), b""
        body = b"%07d;" % number * UNITS
        status = page.status
        part = request.headers.get(b"range")
        condition = request.headers.get(b"if-range")
        if part is not None and status == 200 and (condition is None or condition == tag):
            first, last = (int(each) for each in part.removeprefix(b"bytes=").split(b"-"))
            fields.append((b"Content-Range", b"bytes %d-%d/%d" % (first, last, len(body))))
            body, status = body[first : last + 1], 206
        fields.append((b"Content-Length", b"%d" % len(body)))
        return ResponseHead(status, Headers(fields)), b"" if request.method == "HEAD" else body

    def _fields(self, page: Page, tag: bytes) -> list[Field]:
        control = b"max-age=%d" % page.max_age
        if page.stale_if_error:
            control += b", stale-if-error=1000"
        fields = [(b"Cache-Control", control), (b"ETag", tag)]
        if page.vary:
            fields.append((b"Vary", b"Accept-Language"))
        if page.tags:
            fields.append((b"Cache-Tag", b", ".join(each.upper().encode() for each in page.tags)))
        return fields


def asks_in(body: bytes) -> list[int]:
    """The numbers of the asks that a body's bytes answered; it is cut at units only."""
    return sorted({int(body[at : at + UNIT - 1]) for at in range(0, len(body) - UNIT + 1, UNIT)})
