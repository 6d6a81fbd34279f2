"""Header fields as they came: raw bytes, in order, in the case received (RFC 9110 section 5)."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator

Field = tuple[bytes, bytes]

# RFC 9110 section 7.6.1, plus the two that only ever described a proxy hop.
HOP_BY_HOP = frozenset(
    {b"connection", b"keep-alive", b"proxy-connection", b"te", b"trailer", b"transfer-encoding", b"upgrade"}
)

# What `Connection` may not remove, whatever it names: a viewer that could strip these could change what a
# request means behind our back (security sheet, "hop-by-hop abuse").
PROTECTED = frozenset(
    {b"host", b"content-length", b"content-type", b"content-encoding", b"content-range", b"cache-control",
     b"cookie", b"authorization", b"age", b"date", b"via", b"x-forwarded-for", b"cdn-loop"}
)  # fmt: skip

# Fields that only tiers of one CDN exchange. From anyone else they are dropped on arrival.
INTERNAL_PREFIX = b"edgeproxy-"


_NO_OPTIONS: frozenset[bytes] = frozenset()


class Headers:
    """An immutable list of (name, value) fields with lookup by lower-case name."""

    __slots__ = ("_fields", "_index")

    def __init__(self, fields: Iterable[Field] = ()) -> None:
        self._fields: tuple[Field, ...] = tuple(fields)
        self._index: dict[bytes, list[bytes]] | None = None

    def _lookup(self) -> dict[bytes, list[bytes]]:
        index = self._index
        if index is None:
            index = {name.lower(): [value] for name, value in self._fields}
            if len(index) < len(self._fields):
                index = {}
                for name, value in self._fields:
                    index.setdefault(name.lower(), []).append(value)
            # Published when whole: the log's thread may look into the same fields.
            self._index = index
        return index

    def get(self, name: bytes) -> bytes | None:
        """The first value of a field (`name` in lower case), None when absent."""
        values = self._lookup().get(name)
        return values[0] if values else None

    def all(self, name: bytes) -> list[bytes]:
        """Every value of a field, one per line received."""
        return self._lookup().get(name, [])

    def combined(self, name: bytes) -> bytes | None:
        """All lines of a field as one list value (RFC 9110 section 5.3), None when absent."""
        values = self._lookup().get(name)
        return b", ".join(values) if values else None

    def names(self) -> Collection[bytes]:
        """Every name present, in lower case, once."""
        return self._lookup().keys()

    def without(self, names: Collection[bytes]) -> Headers:
        """The fields but the named ones (names in lower case); these very fields when none of those is here."""
        if self._lookup().keys().isdisjoint(names):
            return self
        return Headers([field for field in self._fields if field[0].lower() not in names])

    def replaced(self, name: bytes, value: bytes) -> Headers:
        """A copy in which `name` (as it shall be spelled) occurs once, with this value, at the end."""
        return Headers((*self.without({name.lower()}), (name, value)))

    def plus(self, *fields: Field) -> Headers:
        """A copy with these fields appended."""
        return Headers(self._fields + fields)

    def size(self) -> int:
        """Bytes these fields take on the wire."""
        return sum(len(name) + len(value) + 4 for name, value in self._fields)

    def __contains__(self, name: object) -> bool:
        return name in self._lookup()

    def __iter__(self) -> Iterator[Field]:
        return iter(self._fields)

    def __len__(self) -> int:
        return len(self._fields)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Headers) and self._fields == other._fields

    def __hash__(self) -> int:
        return hash(self._fields)

    def __repr__(self) -> str:
        return f"Headers({list(self._fields)!r})"


def connection_options(headers: Headers) -> frozenset[bytes]:
    """The lower-case options that `Connection` lists (RFC 9110 section 7.6.1)."""
    combined = headers.combined(b"connection")
    if combined is None:
        return _NO_OPTIONS
    return frozenset(option.strip().lower() for option in combined.split(b",")) - {b""}


def end_to_end(headers: Headers) -> Headers:
    """The fields without the hop-by-hop ones: the fixed list, and what `Connection` names unless protected."""
    if b"connection" not in headers:
        return headers.without(HOP_BY_HOP)
    return headers.without(HOP_BY_HOP | (connection_options(headers) - PROTECTED))


def without_nominated(headers: Headers) -> Headers:
    """The fields without those that `Connection` names, protected and hop-by-hop ones apart: they end at this hop, so
    nothing that is decided or remembered here may depend on what they said."""
    if b"connection" not in headers:
        return headers
    named = connection_options(headers) - PROTECTED - HOP_BY_HOP
    return headers.without(named) if named else headers


def without_internal(headers: Headers) -> Headers:
    """The fields without those reserved for tiers of this CDN."""
    for name in headers.names():
        if name.startswith(INTERNAL_PREFIX):
            break
    else:
        return headers
    return Headers(field for field in headers if not field[0].lower().startswith(INTERNAL_PREFIX))
