"""What Vary names, and when two requests are the same to it (RFC 9111 section 4.1, RFC 9110 section 12.5.5)."""

from __future__ import annotations

import re
from functools import lru_cache

from edgeproxy.headers import Headers
from edgeproxy.message import RequestHead

_WEIGHT = re.compile(rb"[ \t]*;[ \t]*[Qq]=(0(?:\.\d{0,3})?|1(?:\.0{0,3})?)[ \t]*")
_MEMBER = re.compile(rb"[ \t]*([!#$%&'*+\-.^_`|~0-9A-Za-z/]+)((?:[ \t]*;[^,\"]*)?)")
_MEMO_BYTES_MAX = 512

# Members in order of weight, otherwise in the order received: some origins take the first of equals.
_PREFERENCES = frozenset({b"accept", b"accept-charset", b"accept-language"})
# RFC 9110 section 12.5.3 gives the order no meaning at all.
_UNORDERED = frozenset({b"accept-encoding"})


# What each hop adds to: the origin chose by a value that is not the viewer's, so no later request can be compared.
_EXTENDED = frozenset({b"via", b"x-forwarded-for", b"forwarded", b"cdn-loop"})


def vary_names(headers: Headers) -> tuple[bytes, ...] | None:
    """The lower-case names that Vary lists, sorted, each once; None when no other request can be told to match:
    for `*`, and for fields that every hop extends."""
    value = headers.combined(b"vary")
    if value is None:
        return ()
    names = {name.strip(b" \t").lower() for name in value.split(b",")} - {b""}
    return None if b"*" in names or names & _EXTENDED else tuple(sorted(names))


def varies(response_headers: Headers, request: RequestHead) -> tuple[tuple[bytes, bytes | None], ...]:
    """What a later request must bring along to be given this response; () under `Vary: *`, never to be stored."""
    names = vary_names(response_headers) or ()
    return tuple((name, normalised(name, request.headers.combined(name))) for name in names)


def normalised(name: bytes, value: bytes | None) -> bytes | None:
    """One spelling for values that mean the same by their field's definition; other fields are left alone."""
    if value is None or not (name in _PREFERENCES or name in _UNORDERED):
        return value
    if len(value) > _MEMO_BYTES_MAX:
        return value
    return _preferences(value, name in _UNORDERED)


@lru_cache(maxsize=4096)
def _preferences(value: bytes, unordered: bool) -> bytes:
    """A list of weighted choices in lower case, without needless blanks, best first.

    A value with anything but a weight after a choice comes back as it is: what a media type's parameter means,
    case included, is not ours to say.
    """
    members: list[tuple[float, bytes]] = []
    for part in value.split(b","):
        if not part.strip(b" \t"):
            continue
        match = _MEMBER.fullmatch(part.rstrip(b" \t"))
        weight = _WEIGHT.fullmatch(match[2]) if match else None
        if match is None or (match[2] and weight is None):
            return value
        members.append((-float(weight[1]) if weight else -1.0, match[1].lower()))
    members.sort(key=None if unordered else lambda member: member[0])
    return b",".join(choice if rank == -1 else b"%s;q=%.3f" % (choice, -rank) for rank, choice in members)
