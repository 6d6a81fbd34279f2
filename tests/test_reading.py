"""Files that people write: places, syntax errors, bounds."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edgeproxy.errors import ConfigError, Fault
from edgeproxy.reading import (
    DEPTH_MAX,
    FAULTS_MAX,
    FILE_MAX,
    SETTINGS_MAX,
    SETTINGS_VALUES_MAX,
    VALUES_MAX,
    Document,
    parse_json,
    parse_toml,
    read_text,
    refused,
)

TOML = """\
zone = "a"          # line 1
[log]
path = "x"
[[nodes]]
name = "a"
listen = [
    "127.0.0.1:1",
    "127.0.0.1:2",
]
[[nodes]]
name = '''
name = "not a key"
'''
limits.low = 1
[[resolver.networks]]
network = "10.0.0.0/8"
[[resolver.networks]]
pops = ["a"]
[origins]
"api.example.com" = "http://x"
"""


@pytest.mark.parametrize(
    ("location", "place"),
    [
        (("zone",), "zone (line 1)"),
        (("log", "path"), "log.path (line 3)"),
        (("log", "nothing"), "log.nothing (line 2)"),
        (("nodes", 0, "listen", 1), "nodes[0].listen[1] (line 6)"),
        (("nodes", 1, "name"), "nodes[1].name (line 11)"),
        (("nodes", 1, "limits", "low"), "nodes[1].limits.low (line 14)"),
        (("resolver", "networks", 1, "pops", 0), "resolver.networks[1].pops[0] (line 18)"),
        (("origins", "api.example.com"), 'origins."api.example.com" (line 20)'),
        (("nowhere",), "nowhere"),
    ],
)
def test_a_place_in_toml_has_its_line(location: tuple[str | int, ...], place: str) -> None:
    assert parse_toml(TOML, "f").place(location) == place


def test_a_fault_shows_what_was_found_but_no_secrets() -> None:
    document = Document(
        "f", {"a": "x" * 100, "b": [1, 2], "c": {}, "d": True, "key": "swordfish", "n": 10**300, "s": "ü\ud800\x1b"}
    )
    shown = {name: document.fault((name,), "").value for name in ("a", "b", "c", "d", "key", "n", "s", "z")}
    assert shown == {
        "a": '"' + "x" * 60 + '…"',
        "b": "a list of 2",
        "c": "a table",
        "d": "true",
        "key": "not shown",
        "n": "an enormous number",
        "s": '"ü\\ud800\\u001b"',
        "z": "missing",
    }


def test_the_document_inside_another_keeps_its_place() -> None:
    inner = Document("f", {"a": [{"b": 1}]}).inner("a", 0)
    assert str(inner.fault(("b",), "expected 2")) == "f: a[0].b is 1: expected 2"


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ('{"a": 1,\n "b": }', "line 2, column 7: JSON syntax: Expecting value"),
        ("{", "line 1, column 2: JSON syntax: "),
        ('{"a": NaN}', "NaN is no JSON number"),
        ('{"a": 1, "b": {"a": 1, "a": 2}}', "a: stands twice in one object"),
        ('{"a":' * 100_000, "nested too deeply"),
        ("[" * (DEPTH_MAX + 2) + "]" * (DEPTH_MAX + 2), "nested too deeply"),
        ("1" * 100_000, "cannot be read: "),
        (json.dumps([0] * VALUES_MAX), f"holds more than {VALUES_MAX} values"),
    ],
)
def test_json_that_is_refused(text: str, fault: str) -> None:
    with pytest.raises(ConfigError) as refusal:
        parse_json(text, "f")
    assert fault in str(refusal.value)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("a = 1\nb = [1,\n", "f: end of the file: TOML syntax: "),
        ("a = 1\nb = ?", "f: line 2, column 5: TOML syntax: "),
        ("a = 1\na = 2\n", "line 2, column 6: TOML syntax: "),
        ("a = " + "[" * 100_000, "nested too deeply"),
        ("a" + ".a" * 100_000 + " = 1", "nested too deeply"),
        ("a = " + "9" * 100_000, "cannot be read: "),
        ("#" * (SETTINGS_MAX + 1), f"is longer than {SETTINGS_MAX} characters"),
        ("a = [" + "0," * SETTINGS_VALUES_MAX + "]", f"holds more than {SETTINGS_VALUES_MAX} values"),
    ],
)
def test_toml_that_is_refused(text: str, fault: str) -> None:
    with pytest.raises(ConfigError) as refusal:
        parse_toml(text, "f")
    assert fault in str(refusal.value)


def test_files_that_cannot_be_used(tmp_path: Path) -> None:
    (tmp_path / "large").write_bytes(b"#" * (FILE_MAX + 1))
    (tmp_path / "latin").write_bytes(b"a\nb\xff")
    (tmp_path / "mark").write_bytes(b"\xef\xbb\xbfa = 1")
    for name, fault in (
        ("nothing", "cannot be read: No such file"),
        ("large", f"is larger than {FILE_MAX} bytes"),
        ("latin", "line 2: is not UTF-8 text"),
        (".", "cannot be read: Is a directory"),
        ("a\0b", "cannot be read: "),
    ):
        with pytest.raises(ConfigError, match=fault):
            read_text(tmp_path / name)
    assert read_text(tmp_path / "mark") == "a = 1"


def test_the_bytes_may_come_from_elsewhere() -> None:
    assert read_text(Path("f"), lambda path: bytes(path)) == "f"


def test_a_long_list_of_faults_is_cut_and_counted() -> None:
    error = refused([Fault("f", str(number), "", "x") for number in range(FAULTS_MAX + 23)])
    assert len(error.faults) == FAULTS_MAX + 1
    assert str(error.faults[-1]) == "f: and 23 more faults"
    assert len(refused([Fault("f", "", "", "x")]).faults) == 1
