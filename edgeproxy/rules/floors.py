"""Which invalidations concern a stored response: paths, prefixes and tags, and the highest number among them.

An item of an invalidation (fact sheet 7) names one path with its query where queries are keyed (`/a?x=1`), everything
that begins so (`/img/*`: the star counts as the last character only), or a tag (`#spring`). Case counts in paths, not
in tags. Paths are compared with their escapes undone: `%20` is a blank however anybody wrote it, and what that takes
away beyond what was meant is only a miss.
"""

from __future__ import annotations

import re
from bisect import bisect_right, insort
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from urllib.parse import unquote_to_bytes

from edgeproxy.headers import Headers

TAGS_MAX = 50
"""Of one response; further ones are not kept (fact sheet 7)."""
TAG_BYTES_MAX = 256

_ESCAPE = re.compile(rb"\\([0-9a-f]{2})")
_TAG = re.compile(rb"[\x21-\x2b\x2d-\x7e]+")


class Index:
    """Invalidations of one kind and one distribution: what they name, each with the highest number that named it.

    A lookup costs one probe, and one for each length of prefix that exists up to the length of what is looked up,
    however many invalidations there were.
    """

    __slots__ = ("_lengths", "_with_length", "base", "exact", "prefixes", "tags")

    def __init__(self) -> None:
        self.base = 0
        """Everything is named by this number: what remains of those that were forgotten."""
        self.exact: dict[bytes, int] = {}
        self.prefixes: dict[bytes, int] = {}
        self.tags: dict[bytes, int] = {}
        self._lengths: list[int] = []
        self._with_length: dict[int, int] = {}

    def __len__(self) -> int:
        return len(self.exact) + len(self.prefixes) + len(self.tags)

    def add(self, item: str, number: int) -> None:
        """One item of the invalidation with this number."""
        if item.startswith("#"):
            _raise(self.tags, item.lower().encode(), number)
            return
        path = item if item.startswith("/") else "/" + item
        if not path.endswith("*"):
            _raise(self.exact, canonical(path.encode()), number)
            return
        prefix = canonical(path[:-1].encode())
        if prefix not in self.prefixes:
            length = len(prefix)
            if length not in self._with_length:
                insort(self._lengths, length)
            self._with_length[length] = self._with_length.get(length, 0) + 1
        _raise(self.prefixes, prefix, number)

    def of_path(self, path: bytes) -> int:
        """The highest number that names a path (canonical, with its query)."""
        found = max(self.base, self.exact.get(path, 0))
        for length in self._lengths[: bisect_right(self._lengths, len(path))]:
            found = max(found, self.prefixes.get(path[:length], 0))
        return found

    def of_source(self, source: bytes) -> int:
        """The same for a tag (`#name`, lower case), or a path that something was made of."""
        return max(self.base, self.tags.get(source, 0)) if source.startswith(b"#") else self.of_path(source)

    def forget(self, number: int, *, named: bool) -> None:
        """Forget what is not above a number. `named`: everything counts as named by it from now on."""
        if named:
            self.base = max(self.base, number)
        for kept in (self.exact, self.prefixes, self.tags):
            for name in [name for name, highest in kept.items() if highest <= number]:
                del kept[name]
        self._with_length = {}
        for prefix in self.prefixes:
            self._with_length[len(prefix)] = self._with_length.get(len(prefix), 0) + 1
        self._lengths = sorted(self._with_length)

    def numbers(self) -> Iterator[int]:
        """The number of each name."""
        for kept in (self.exact, self.prefixes, self.tags):
            yield from kept.values()


class Floors:
    """All invalidations of one epoch that a node knows, up to `number`. `names_max` bounds what is kept in an index."""

    __slots__ = ("_indices", "epoch", "low_water", "names_max", "number")

    def __init__(self, epoch: str, names_max: int) -> None:
        self.epoch = epoch
        self.number = 0
        """All up to here are known."""
        self.low_water = 0
        """Nothing that is older than this is usable; what named it is forgotten."""
        self.names_max = names_max
        self._indices: dict[tuple[str, bool], Index] = {}

    def __len__(self) -> int:
        return sum(map(len, self._indices.values()))

    def add(self, number: int, distribution: str, items: Iterable[str], *, soft: bool = False) -> None:
        """An invalidation. When that is more than may be kept, the older half is merged into one that names all."""
        index = self._indices.setdefault((distribution, soft), Index())
        for item in items:
            index.add(item, number)
        if len(index) > self.names_max:
            numbers = sorted(index.numbers())
            index.forget(numbers[len(numbers) // 2], named=True)
        self.number = max(self.number, number)

    def forget(self, low_water: int) -> None:
        """Nothing below this number is usable any more, so nobody needs to know what named it."""
        if low_water > self.low_water:
            self.low_water = low_water
            for index in self._indices.values():
                index.forget(low_water, named=False)

    def floor(self, key: bytes, *, soft: bool = False) -> int:
        """The highest number that names a cache key; 0 for none. `soft`: of those that only make stale.

        What is no key of ours may be named by all of them.
        """
        distribution, path = subject(key)
        if not path:
            return self.number
        index = self._indices.get((distribution, soft))
        found = 0 if index is None else index.of_path(path)
        return found if soft else max(found, self.low_water)

    def floor_of(self, key: bytes, sources: Sequence[bytes], *, soft: bool = False) -> int:
        """The highest number that names one of these sources of what is kept under a key."""
        index = self._indices.get((subject(key)[0], soft))
        return 0 if index is None else max((index.of_source(source) for source in sources), default=0)


@lru_cache(maxsize=256)
def subject(key: bytes) -> tuple[str, bytes]:
    """Which distribution a cache key is of, and its path with the query that is keyed: canonical (see rules/key.py).

    Both empty for what is no such key.
    """
    parts = key.split(b" ", 5)
    if len(parts) < 4:
        return "", b""
    distribution, _, _, path, *others = parts
    if others and others[0].startswith(b"?"):
        path += others[0]
    return _unescaped(distribution).decode("latin-1"), canonical(_unescaped(path))


def canonical(path: bytes) -> bytes:
    """A path, perhaps with a query, with its escapes undone."""
    return unquote_to_bytes(path)


def tags(headers: Headers, name: bytes) -> tuple[bytes, ...]:
    """The tags of a response, as `#name` in lower case; `name`: their field, lower case, or empty."""
    value = headers.combined(name) if name else None
    if value is None:
        return ()
    found = (text.strip(b" \t") for text in value.split(b","))
    fit = (tag.lower() for tag in found if len(tag) <= TAG_BYTES_MAX and _TAG.fullmatch(tag))
    return tuple(b"#" + tag for tag in list(dict.fromkeys(fit))[:TAGS_MAX])


def _raise(kept: dict[bytes, int], name: bytes, number: int) -> None:
    kept[name] = max(kept.get(name, 0), number)


def _unescaped(text: bytes) -> bytes:
    return _ESCAPE.sub(lambda match: bytes([int(match[1], 16)]), text) if b"\\" in text else text
