"""Cache directives: Cache-Control (RFC 9111 section 5.2), Pragma (5.4) and CDN-Cache-Control (RFC 9213).

What a sender got wrong never makes a response live longer. A number that cannot be read is 0 (RFC 9111 section
4.2.1 encourages caches to take such a response as stale), so is one that was given twice with two values, and a
list of field names that cannot be read stands for the whole response.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache

from edgeproxy.headers import Headers
from edgeproxy.model import Rules
from edgeproxy.rules.structured import Malformed, Member, Text, Token, dictionary
from edgeproxy.values import value

DELTA_MAX = 2**31
"""Larger numbers of seconds mean this one (RFC 9111 section 1.2.2)."""

_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_NAME = re.compile(rb"[ \t]*(" + _TOKEN + rb")")
_VALUE = re.compile(rb"=(" + _TOKEN + rb")")
_QUOTED = re.compile(rb'="((?:[^"\\]|\\.)*)"', re.DOTALL)
_MEMBER_END = re.compile(rb"[ \t]*(?:,|\Z)")
_FIELD_NAME = re.compile(_TOKEN)
_UNREADABLE = b""

# A response that hid one of these from later readers could not be judged or framed any more.
_INDISPENSABLE = frozenset(
    {b"age", b"cache-control", b"cdn-cache-control", b"content-encoding", b"content-length", b"content-range",
     b"content-type", b"date", b"etag", b"expires", b"last-modified", b"vary"}
)  # fmt: skip

# In a structured field these must be integers: a string of digits is of the wrong type (RFC 9213 section 2.1).
_NUMERIC = frozenset({b"max-age", b"s-maxage", b"stale-while-revalidate", b"stale-if-error"})

# Longer values are parsed each time: a bound on what the memo below may hold.
_MEMO_BYTES_MAX = 1024


@value(frozen=True, slots=True, eq=False)
class Directives:
    """The directives of one message, by lower-case name, each with every argument it was given."""

    members: Mapping[bytes, Sequence[bytes | None]]
    targeted: bool = False
    """They came from a targeted field: Cache-Control and Expires do not count (RFC 9213 section 2.2)."""

    def __contains__(self, name: bytes) -> bool:
        return name in self.members

    def __bool__(self) -> bool:
        return bool(self.members)

    def get(self, name: bytes) -> bytes | None:
        """The first argument of a directive; None when it is absent or came without one."""
        return self.members.get(name, (None,))[0]

    def seconds(self, name: bytes) -> int | None:
        """The argument as a number of seconds: None when absent, 0 when unreadable, negative or contradictory."""
        arguments = self.members.get(name)
        if arguments is None:
            return None
        numbers = {_delta(argument) for argument in arguments}
        return numbers.pop() if len(numbers) == 1 else 0

    def whole(self, name: bytes) -> bool:
        """Whether `private` or `no-cache` is there and means the whole response, not just some of its fields.

        Limited to a field that a cache cannot do without, it means the whole response too.
        """
        return name in self.members and not all(map(_dispensable_fields, self.members[name]))

    def fields(self, name: bytes) -> frozenset[bytes]:
        """The lower-case field names that `private` or `no-cache` is limited to; none when it is not limited."""
        if name not in self.members or self.whole(name):
            return frozenset()
        return frozenset().union(*map(_dispensable_fields, self.members[name]))


NO_DIRECTIVES = Directives({})
"""What a message without any says."""


def directives(headers: Headers) -> Directives:
    """What Cache-Control says, in a request or a response."""
    return _remembered(headers.all(b"cache-control"))


def request_directives(headers: Headers) -> Directives:
    """What a request asks of caches: Cache-Control, and `Pragma: no-cache` where there is none (section 5.4)."""
    if b"cache-control" in headers:
        return directives(headers)
    if b"pragma" in headers and b"no-cache" in _remembered(headers.all(b"pragma")):
        return _PRAGMA_NO_CACHE
    return NO_DIRECTIVES


def response_directives(headers: Headers, rules: Rules) -> Directives:
    """What a response tells this cache: CDN-Cache-Control where it is valid and not empty, else Cache-Control.

    CloudFront knows no targeted fields, so neither do its rules.
    """
    if rules is Rules.RFC9111 and b"cdn-cache-control" in headers:
        value = headers.combined(b"cdn-cache-control") or b""
        targeted = _targeted_memo(value) if len(value) <= _MEMO_BYTES_MAX else _targeted(value)
        if targeted is not None:
            return targeted
    return directives(headers)


_PRAGMA_NO_CACHE = Directives({b"no-cache": (None,)})


def _remembered(lines: list[bytes]) -> Directives:
    if not lines:
        return NO_DIRECTIVES
    if sum(map(len, lines)) > _MEMO_BYTES_MAX:
        return _parsed(tuple(lines))
    return _parsed_memo(tuple(lines))


def _parsed(lines: tuple[bytes, ...]) -> Directives:
    members: dict[bytes, list[bytes | None]] = {}
    for line in lines:  # one by one, so that an open quotation mark hides nothing in the next line
        _parse_line(line, members)
    return Directives(members)


_parsed_memo = lru_cache(maxsize=4096)(_parsed)


def _parse_line(line: bytes, members: dict[bytes, list[bytes | None]]) -> None:
    """Add a line's directives. Each step moves on, and an unclosed quotation is looked for once: linear time."""
    position = 0
    quotations_close = True
    while position < len(line):
        argument: bytes | None = None
        name = _NAME.match(line, position)
        if name is not None:
            position = name.end()
            if value := _VALUE.match(line, position):
                argument, position = value[1], value.end()
            elif line.startswith(b'="', position) and quotations_close:
                quoted = _QUOTED.match(line, position)
                quotations_close = quoted is not None
                if quoted is not None:
                    argument, position = re.sub(rb"\\(.)", rb"\1", quoted[1], flags=re.DOTALL), quoted.end()
        end = _MEMBER_END.match(line, position)
        if end is None:
            argument = _UNREADABLE
            comma = line.find(b",", position)
            position = len(line) if comma < 0 else comma + 1
        else:
            position = end.end()
        if name is not None:
            members.setdefault(name[1].lower(), []).append(argument)


def _targeted(value: bytes) -> Directives | None:
    try:
        parsed = dictionary(value)
    except Malformed:
        return None
    if not parsed:
        return None
    members = {name: (_argument(name, member),) for name, member in parsed.items() if member is not False}
    return Directives(members, targeted=True)


_targeted_memo = lru_cache(maxsize=4096)(_targeted)


def _argument(name: bytes, member: Member) -> bytes | None:
    """A structured value as the argument it would be in Cache-Control; of an unfitting type it is unreadable."""
    if member is True:
        return None
    if isinstance(member, int):
        return b"%d" % member
    if isinstance(member, Text | Token) and name not in _NUMERIC:
        return member.raw
    if isinstance(member, tuple):
        return b",".join(item.raw for item in member if isinstance(item, Text | Token))
    return _UNREADABLE


def _delta(argument: bytes | None) -> int:
    if argument is None or not argument.isdigit():  # bytes.isdigit knows ASCII digits only
        return 0
    digits = argument.lstrip(b"0")
    return min(int(digits or b"0"), DELTA_MAX) if len(digits) <= 10 else DELTA_MAX


def _dispensable_fields(argument: bytes | None) -> frozenset[bytes]:
    """The names in an argument, lower case; none at all when one of them is no field name, or indispensable."""
    names = frozenset(name.strip(b" \t").lower() for name in (argument or b"").split(b","))
    readable = all(map(_FIELD_NAME.fullmatch, names))
    return names if readable and names.isdisjoint(_INDISPENSABLE) else frozenset()
