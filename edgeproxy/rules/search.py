"""No-Vary-Search: which parts of a query make no difference to a response (HTTP's No-Vary-Search, section 5).

A structured dictionary: `key-order` (their order), `params` (all of them, or those listed), `except` (but not these).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import unquote_to_bytes

from edgeproxy.headers import Headers
from edgeproxy.rules.structured import Malformed, Member, Text, dictionary

_FIELDS_MAX = 256
"""A query of more parameters than this is compared byte by byte."""


@dataclass(frozen=True, slots=True)
class NoVarySearch:
    """What a response says; the names are decoded as in a query."""

    any_order: bool
    ignores_all: bool
    names: frozenset[bytes]
    """Those ignored; with `ignores_all` those that count all the same."""

    def counts(self, name: bytes) -> bool:
        """Whether a parameter of this name makes a difference."""
        return (name in self.names) is self.ignores_all


def no_vary_search(headers: Headers) -> NoVarySearch | None:
    """What a response's fields say; None when they say nothing, or nothing that can be understood."""
    value = headers.combined(b"no-vary-search")
    return None if value is None else _parsed(value)


@lru_cache(1024)
def _parsed(value: bytes) -> NoVarySearch | None:
    try:
        members = dictionary(value)
        any_order = _boolean(members.get(b"key-order", False))
        params = members.get(b"params", False)
        kept = members.get(b"except")
        if isinstance(params, bool):
            names = frozenset() if kept is None else _names(kept)
            if kept is not None and not params:
                return None
        elif kept is not None:
            return None
        else:
            names = _names(params)
    except Malformed:
        return None
    ignores_all = params is True
    if not any_order and not ignores_all and not names:
        return None
    return NoVarySearch(any_order, ignores_all, names)


def _boolean(member: Member) -> bool:
    if not isinstance(member, bool):
        raise Malformed("expected a boolean")
    return member


def _names(member: Member) -> frozenset[bytes]:
    if not isinstance(member, tuple):
        raise Malformed("expected an inner list")
    names = set()
    for item in member:
        if not isinstance(item, Text):
            raise Malformed("expected strings")
        names.add(_decoded(item.raw))
    return frozenset(names)


def _decoded(name: bytes) -> bytes:
    return unquote_to_bytes(name.replace(b"+", b" "))


def equivalent(one: bytes | None, other: bytes | None, rule: NoVarySearch) -> bool:
    """Whether two raw queries (None: no `?`) ask for the same, as a response with this rule has it."""
    if one == other:
        return True
    return _counting(one, rule) == _counting(other, rule)


def _counting(query: bytes | None, rule: NoVarySearch) -> list[tuple[bytes, bytes]] | bytes:
    fields = (query or b"").split(b"&", _FIELDS_MAX)
    if len(fields) > _FIELDS_MAX:
        return query or b""
    pairs = [
        (_decoded(name), _decoded(value)) for name, _, value in (field.partition(b"=") for field in fields if field)
    ]
    counting = [(name, value) for name, value in pairs if rule.counts(name)]
    return sorted(counting, key=lambda pair: pair[0]) if rule.any_order else counting
