"""Names and texts in the form they have on the wire (RFC 1035 §3.1, §3.3.14)."""

from __future__ import annotations

from collections.abc import Iterator

from edgeproxy.dns.query import LABEL_MAX, NAME_MAX


def wire_name(text: str) -> bytes:
    """A name as text to its wire form in lower case. Raises ValueError saying what is wrong with it."""
    labels = text.lower().removesuffix(".").split(".")
    if not all(label and len(label) <= LABEL_MAX and label.isascii() and label.isprintable() for label in labels):
        raise ValueError(f"expected a name of ASCII labels of 1 to {LABEL_MAX} characters with dots between them")
    wire = b"".join(bytes([len(label)]) + label.encode() for label in labels) + b"\0"
    if len(wire) > NAME_MAX:
        raise ValueError(f"expected a name of at most {NAME_MAX - 2} characters")
    return wire


def text_strings(text: str) -> bytes:
    """A TXT record's data: strings of up to 255 bytes, each behind its length (RFC 1035 §3.3.14)."""
    data = text.encode()
    pieces = [data[start : start + 255] for start in range(0, len(data), 255)] or [b""]
    return b"".join(bytes([len(piece)]) + piece for piece in pieces)


def upwards(name: bytes) -> Iterator[bytes]:
    """The name and every name above it, the root last."""
    position = 0
    while name[position]:
        yield name[position:]
        position += 1 + name[position]
    yield b"\0"
