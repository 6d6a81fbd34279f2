"""Dictionary structured fields (RFC 9651 sections 3.2 and 4.2), as far as RFC 9213 needs them.

The parser is strict because RFC 9213 section 2.1 is: one fault anywhere, and the whole field does not exist.
Parameters are checked and dropped: no cache directive defines any.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class Text:
    """A string; `raw` has its escapes undone."""

    raw: bytes


@dataclass(frozen=True, slots=True)
class Token:
    """A token, as it was spelled."""

    raw: bytes


@dataclass(frozen=True, slots=True)
class Other:
    """A value of a type that no cache directive uses: decimal, byte sequence, date, display string."""

    raw: bytes


Item: TypeAlias = bool | int | Text | Token | Other
Member: TypeAlias = Item | tuple[Item, ...]
"""An item, or an inner list of them."""

_KEY = re.compile(rb"[a-z*][a-z0-9_\-.*]*")
_NUMBER = re.compile(rb"(-?\d{1,15})(?![\d.])")
_DECIMAL = re.compile(rb"-?\d{1,12}\.\d{1,3}(?![\d.])")
_STRING = re.compile(rb'"((?:[\x20\x21\x23-\x5b\x5d-\x7e]|\\["\\])*)"')
_TOKEN = re.compile(rb"[A-Za-z*][!#$%&'*+\-.^_`|~0-9A-Za-z:/]*")
_BYTES = re.compile(rb":[A-Za-z0-9+/=]*:")
_BOOLEAN = re.compile(rb"\?([01])")
_DATE = re.compile(rb"@-?\d{1,15}(?![\d.])")
_DISPLAY = re.compile(rb'%"(?:[\x20\x21\x23\x24\x26-\x7e]|%[0-9a-f]{2})*"')
_SPACES = re.compile(rb" *")
_OPTIONAL_WHITESPACE = re.compile(rb"[ \t]*")


class Malformed(ValueError):
    """The field is not a dictionary."""


def dictionary(value: bytes) -> Mapping[bytes, Member]:
    """The members of a dictionary field in order; of a repeated key the last counts. Raises Malformed."""
    reader = _Reader(value.strip(b" "))
    members: dict[bytes, Member] = {}
    while not reader.at_end():
        key = reader.take(_KEY)
        if key is None:
            raise Malformed("expected a key")
        if reader.skip(b"="):
            member: Member = _inner_list(reader) if reader.skip(b"(") else _item(reader)
        else:
            member = True
        _parameters(reader)
        members.pop(key[0], None)
        members[key[0]] = member
        _separator(reader)
    return members


class _Reader:
    """A position in the bytes being parsed."""

    __slots__ = ("_data", "_position")

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._position = 0

    def take(self, pattern: re.Pattern[bytes]) -> re.Match[bytes] | None:
        match = pattern.match(self._data, self._position)
        if match is not None:
            self._position = match.end()
        return match

    def skip(self, byte: bytes) -> bool:
        found = self._data.startswith(byte, self._position)
        if found:
            self._position += 1
        return found

    def at_end(self) -> bool:
        return self._position == len(self._data)


def _separator(reader: _Reader) -> None:
    reader.take(_OPTIONAL_WHITESPACE)
    if reader.at_end():
        return
    if not reader.skip(b","):
        raise Malformed("expected a comma between members")
    reader.take(_OPTIONAL_WHITESPACE)
    if reader.at_end():
        raise Malformed("a comma ends the field")


def _item(reader: _Reader) -> Item:
    if match := reader.take(_NUMBER):
        return int(match[1])
    if match := reader.take(_BOOLEAN):
        return match[1] == b"1"
    if match := reader.take(_STRING):
        return Text(re.sub(rb"\\(.)", rb"\1", match[1]))
    if match := reader.take(_TOKEN):
        return Token(match[0])
    for pattern in (_DECIMAL, _BYTES, _DATE, _DISPLAY):
        if match := reader.take(pattern):
            return Other(match[0])
    raise Malformed("expected a value")


def _inner_list(reader: _Reader) -> tuple[Item, ...]:
    items: list[Item] = []
    reader.take(_SPACES)
    while not reader.skip(b")"):
        items.append(_item(reader))
        _parameters(reader)
        if not reader.skip(b" "):
            if reader.skip(b")"):
                break
            raise Malformed("expected a space or the end of the inner list")
        reader.take(_SPACES)
    return tuple(items)


def _parameters(reader: _Reader) -> None:
    while reader.skip(b";"):
        reader.take(_SPACES)
        if reader.take(_KEY) is None:
            raise Malformed("expected a parameter's key")
        if reader.skip(b"="):
            _item(reader)
