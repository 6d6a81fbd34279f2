"""The form of a case. Plain values only: any runner can play it, over sockets or without.

Header values may contain dates as {+60}, {rfc850+60} or {asctime+60}: the moment that many seconds after the reply
is sent (in a request: after the request is), in one of the three forms of RFC 9110 section 5.6.7.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Literal

Fields = tuple[tuple[str, str], ...]
Kind = Literal["required", "optimal", "check"]
"""required: the RFC says MUST (or CloudFront's table says so). optimal: it permits to spare the origin a request.
check: it leaves the choice, and this is ours."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What the origin answers. The runner adds `Reply-Id: N` to all but a 304, N being the number of the ask."""

    status: int = 200
    headers: Fields = ()
    body: str | None = None
    """None: "body N", N being the number of the ask, where the status allows for a body."""
    silent: bool = False
    """The connection is closed without an answer."""


@dataclass(frozen=True, slots=True)
class Ask:
    """A request and what is expected of its answer; None expects nothing in that respect."""

    method: str = "GET"
    path: str = ""
    """Appended to the case's own path."""
    headers: Fields = ()
    wait: float = 0
    """Seconds that pass before."""
    reply: Reply = Reply()
    """What the origin would answer now."""
    conditional_reply: Reply | None = None
    """What it would answer instead to a request with If-None-Match or If-Modified-Since."""

    asked: bool | None = None
    """Whether the origin is asked before the answer."""
    conditional: bool | None = None
    """Whether the origin is asked with a condition."""
    from_reply: int | None = None
    """The number of the ask whose reply this is the response of."""
    status: int | None = None
    body: str | None = None
    has: Fields = ()
    """Fields that the answer has, with exactly this value (dates as of the answer)."""
    lacks: tuple[str, ...] = ()
    sent: Fields = ()
    """Fields that the request at the origin has, with exactly this value."""
    unsent: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Case:
    """A cache, empty for this path, and what is asked of it in turn."""

    id: str
    kind: Kind
    section: str
    shows: str
    asks: tuple[Ask, ...]
    ttl: tuple[float, float, float] | None = None
    """(MinTTL, DefaultTTL, MaxTTL) of a behaviour in `cloudfront` rules; None: `rfc9111` rules."""


_DATE = re.compile(r"\{(rfc850|asctime|)([+-]\d+)\}")
_FORMS = {"": "%a, %d %b %Y %H:%M:%S GMT", "rfc850": "%A, %d-%b-%y %H:%M:%S GMT", "asctime": "%a %b %e %H:%M:%S %Y"}


def rendered(value: str, now: float) -> str:
    """A header value with its dates written out. `now` in wall-clock seconds."""

    def written(match: re.Match[str]) -> str:
        moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=int(now) + int(match[2]))
        return moment.strftime(_FORMS[match[1]])

    return _DATE.sub(written, value)


def lines(*texts: str) -> Fields:
    """Fields of "Name: value" lines."""
    return tuple((name, value.strip(" ")) for name, _, value in (text.partition(":") for text in texts))


def reply(*texts: str, status: int = 200, body: str | None = None) -> Reply:
    """A reply of "Name: value" lines."""
    return Reply(status, lines(*texts), body)


SILENCE = Reply(silent=True)


def reused(
    id: str,
    kind: Kind,
    section: str,
    shows: str,
    *texts: str,
    status: int = 200,
    wait: float = 1,
    first: Iterable[str] = (),
    again: Iterable[str] = (),
    method: str = "GET",
    again_method: str = "GET",
    body: str | None = None,
) -> Case:
    """What the first request brings with these fields is the answer to the second, and the origin is not asked."""
    bringing = Ask(method=method, headers=lines(*first), reply=reply(*texts, status=status, body=body), from_reply=0)
    using = Ask(method=again_method, headers=lines(*again), wait=wait, asked=False, from_reply=0, status=status)
    return Case(id, kind, section, shows, (bringing, using))


def fetched(
    id: str,
    kind: Kind,
    section: str,
    shows: str,
    *texts: str,
    status: int = 200,
    wait: float = 1,
    first: Iterable[str] = (),
    again: Iterable[str] = (),
    method: str = "GET",
    again_method: str = "GET",
) -> Case:
    """What the first request brings with these fields is not the answer to the second: the origin is asked again."""
    case = reused(
        id, kind, section, shows, *texts, status=status, wait=wait, first=first, again=again, method=method,
        again_method=again_method,
    )  # fmt: skip
    bringing, using = case.asks
    return replace(case, asks=(bringing, replace(using, asked=True, from_reply=1, status=200)))


def validated(
    id: str,
    kind: Kind,
    section: str,
    shows: str,
    *texts: str,
    sent: Iterable[str] = (),
    unsent: tuple[str, ...] = (),
    wait: float = 1,
    again: Iterable[str] = (),
) -> Case:
    """The origin is asked with a condition, says 304, and what the first request brought is the answer."""
    bringing = Ask(reply=reply(*texts), from_reply=0)
    tag = [text for text in texts if text.lower().startswith("etag:")]
    using = Ask(
        headers=lines(*again), wait=wait, conditional_reply=reply(*tag, status=304), asked=True, conditional=True,
        from_reply=0, status=200, sent=lines(*sent), unsent=unsent,
    )  # fmt: skip
    return Case(id, kind, section, shows, (bringing, using))
