"""dns/names.py: names and texts on the wire, their limits, and the names above a name."""

from __future__ import annotations

import pytest

from edgeproxy.dns.names import text_strings, upwards, wire_name

NAMES: dict[str, tuple[str, bytes]] = {
    "RFC 1035 3.1: labels behind their lengths": ("d1.cdn.test", b"\x02d1\x03cdn\x04test\0"),
    "RFC 4343 3: in lower case": ("D1.CdN.test", b"\x02d1\x03cdn\x04test\0"),
    "RFC 1034 3.1: with the dot of the root": ("d1.cdn.test.", b"\x02d1\x03cdn\x04test\0"),
    "RFC 4592 2.1.1: a wildcard": ("*.cdn.test", b"\x01*\x03cdn\x04test\0"),
    "RFC 1035 2.3.4: the longest label": ("a" * 63, b"\x3f" + b"a" * 63 + b"\0"),
    "RFC 1035 2.3.4: the longest name": (".".join(["a" * 63] * 3 + ["b" * 61]), b""),
}


@pytest.mark.parametrize(("text", "wire"), NAMES.values(), ids=NAMES.keys())
def test_a_name_on_the_wire(text: str, wire: bytes) -> None:
    assert wire_name(text) == wire or (not wire and len(wire_name(text)) == 255)


@pytest.mark.parametrize("text", ["", ".", "a..b", "a" * 64, ".".join(["a" * 63] * 3 + ["b" * 62]), "ä.test", "a\0b"])
def test_what_is_no_name_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="expected a name"):
        wire_name(text)


def test_rfc1035_3314_a_text_is_strings_of_up_to_255_bytes() -> None:
    assert text_strings("one") == b"\x03one"
    assert text_strings("") == b"\0"
    assert text_strings("x" * 300) == b"\xff" + b"x" * 255 + b"\x2d" + b"x" * 45


def test_above_a_name_are_all_its_endings_and_the_root() -> None:
    assert list(upwards(wire_name("a.bc.test"))) == [
        b"\x01a\x02bc\x04test\0",
        b"\x02bc\x04test\0",
        b"\x04test\0",
        b"\0",
    ]
