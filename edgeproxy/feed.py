"""The records of the feed: what the control plane tells every node, in one order (INVALIDATION, rules 11 and 13).

One log holds configuration and invalidations; every record has a number, and a node's `applied` is the number up to
which it knows all of them. Numbers mean something within an epoch only. On the wire each record is one line of JSON.

Control plane to node, after the request's head: a `Hello`; then, when the node is of another epoch or too far behind,
everything that still counts between the lines `whole` and `end`; then records as they are made, and `Beat`s. Node to
control plane, on the same connection: one `Heard` after each thing it has made durable and visible, and after each
beat; a last one with `goodbye`. Lines are at most LINE_MAX bytes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, TypeAlias

from edgeproxy.errors import OriginInvalid

LINE_MAX = 4 * 1024 * 1024
"""Bytes of one line. A configuration at all of CloudFront's quotas is well below 1 MiB."""

Json: TypeAlias = dict[str, Any]  # Any: JSON


@dataclass(frozen=True, slots=True)
class Deployed:
    """A distribution at one revision, with every policy, key and identity that it names: whole by itself."""

    number: int
    id: str
    etag: str
    config: Json
    """DistributionConfig, as the command line tool of AWS prints it."""
    resources: tuple[Json, ...] = ()
    """What `config` names, each as the API wraps it: {"CachePolicy": {"Id": …, "CachePolicyConfig": …}}, likewise
    OriginRequestPolicy, ResponseHeadersPolicy, OriginAccessControl, CloudFrontOriginAccessIdentity, KeyGroup, PublicKey
    and ContinuousDeploymentPolicy, this one with its ETag. Managed policies are known to every node and not among them.
    """
    primary: str = ""
    """Of a staging distribution: the one whose continuous deployment policy sends it traffic; else empty."""


@dataclass(frozen=True, slots=True)
class Withdrawn:
    """A distribution that is no more."""

    number: int
    id: str


@dataclass(frozen=True, slots=True)
class Invalidated:
    """Paths and tags whose stored content must not be used any more; `soft`: is only stale from now on."""

    number: int
    id: str
    distribution: str
    paths: tuple[str, ...] = ()
    """As they were given: they begin with `/`, and a `*` at the end stands for everything (fact sheet 7)."""
    tags: tuple[str, ...] = ()
    """In lower case, without the `#`."""
    soft: bool = False


Record: TypeAlias = Deployed | Withdrawn | Invalidated

_KINDS: dict[str, type[Deployed] | type[Withdrawn] | type[Invalidated]] = {
    "deployed": Deployed,
    "withdrawn": Withdrawn,
    "invalidated": Invalidated,
}
_NAMES = {kind: name for name, kind in _KINDS.items()}


@dataclass(frozen=True, slots=True)
class Hello:
    """The control plane's first line."""

    epoch: str
    number: int
    low_water: int
    """Nothing stored with a lower `as_of` is usable: records up to it may have been forgotten."""
    heartbeat: float
    """Seconds between two beats; three without any, and the connection is dead."""
    lease: float = 0
    """Seconds for which a node may use its cache without hearing more; 0 for ever (rule 10)."""
    fresh: bool = True
    """The node was not on the list, or was taken off it: nothing it stored counts until it has caught up (rule 9)."""


@dataclass(frozen=True, slots=True)
class Beat:
    """The control plane is there, and the log has come so far. `heard` is the number of the last line heard."""

    number: int
    low_water: int
    heard: int


@dataclass(frozen=True, slots=True)
class Heard:
    """A node's line: all up to `number` is durable on its disk and visible to all its workers (rule 7)."""

    number: int
    line: int
    """Counts the node's lines from 1."""
    goodbye: bool = False
    epoch: str = ""
    """Of the number: what a node says before it has read `Hello` may be of another one than the control plane's."""


@dataclass(frozen=True, slots=True)
class Marker:
    """`whole` and `end`: what stands between is everything that still counts at `number`, not what has changed."""

    kind: str
    number: int


NOTICES = frozenset({"following", "lost", "left", "drained", "undrained"})


@dataclass(frozen=True, slots=True)
class Noticed:
    """What the control plane has noticed of a node, for observers alone: no record, and no promise. A node is `lost`
    when its connection has ended, whatever that means."""

    number: int
    """Of the last record by then."""
    node: str
    what: str
    """One of NOTICES."""


Line: TypeAlias = Record | Hello | Beat | Heard | Marker | Noticed


def encode(line: Line) -> bytes:
    """One line, its end included."""
    if isinstance(line, Deployed | Withdrawn | Invalidated):
        words: Json = {"do": _NAMES[type(line)], **_fields(line)}
    elif isinstance(line, Marker):
        words = {"do": line.kind, "number": line.number}
    else:
        words = {"do": type(line).__name__.lower(), **_fields(line)}
    return json.dumps(words, separators=(",", ":")).encode() + b"\n"


def _fields(line: Record | Hello | Beat | Heard | Noticed) -> Json:
    # Not asdict alone: it would copy a whole configuration value by value.
    if isinstance(line, Deployed):
        return {
            "number": line.number,
            "id": line.id,
            "etag": line.etag,
            "config": line.config,
            "resources": line.resources,
            "primary": line.primary,
        }
    return asdict(line)


def decode(data: bytes) -> Line:
    """The other end of `encode`. Raises OriginInvalid for what is no line of a feed."""
    try:
        words = json.loads(data)
        return _line(words.pop("do"), words)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise OriginInvalid(f"no line of a feed: {data[:100]!r}") from None


def _line(name: str, words: Json) -> Line:
    number = words["number"]
    if type(number) is not int or number < 0:
        raise ValueError(number)
    if name in _KINDS:
        _expect(words, id=str)
        for listed in ("paths", "tags", "resources"):
            if listed in words:
                words[listed] = tuple(words[listed])
        if name == "deployed":
            _expect(words, config=dict, etag=str)
        if name == "invalidated":
            _expect(words, distribution=str, soft=bool)
        return _KINDS[name](**words)
    if name in ("whole", "end"):
        return Marker(name, number)
    if name == "hello":
        _expect(words, epoch=str, low_water=int)
        return Hello(**words)
    if name == "beat":
        _expect(words, low_water=int, heard=int)
        return Beat(**words)
    if name == "noticed":
        _expect(words, node=str)
        if words["what"] not in NOTICES:
            raise ValueError(words["what"])
        return Noticed(**words)
    if name == "heard":
        _expect(words, line=int)
        return Heard(**words)
    raise ValueError(name)


def _expect(words: Mapping[str, object], **types: type) -> None:
    for name, kind in types.items():
        if name in words and not isinstance(words[name], kind):
            raise TypeError(name)


def reduced(records: Sequence[Record], low_water: int) -> list[Record]:
    """What of these still counts, in order: the last word on each distribution, and invalidations above the mark.

    Whoever is below the mark is sent everything anew, so that the end of a distribution need not be remembered longer.
    """
    last = {each.id: each.number for each in records if not isinstance(each, Invalidated)}
    return [
        each
        for each in records
        if (isinstance(each, Deployed) or each.number > low_water)
        and (isinstance(each, Invalidated) or last[each.id] == each.number)
    ]
