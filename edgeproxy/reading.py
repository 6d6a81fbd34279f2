"""Reading files that people write: bounded, and with every value's place kept, so that a fault can name it.

TOML and JSON become a `Document`; `validation.py` holds it against models.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeAlias

from edgeproxy.errors import ConfigError, Fault

FILE_MAX = 16 * 1024 * 1024
"""Bytes of one file. The largest configuration that CloudFront's quotas allow is well below 1 MiB."""
VALUES_MAX = 2_000_000
"""Values (tables, lists, scalars) in one JSON file: what bounds the time that checking takes."""
SETTINGS_MAX, SETTINGS_VALUES_MAX = 2 * 1024 * 1024, 100_000
"""The same for a TOML file, which takes longer: nobody writes so many settings."""
DEPTH_MAX = 64
"""Levels of tables and lists. CloudFront's own go no deeper than 10."""
FAULTS_MAX = 100
"""Faults listed; the rest is only counted."""

Step: TypeAlias = str | int
Location: TypeAlias = tuple[Step, ...]

_MISSING = object()
_SECRET = frozenset({"key", "secret", "HeaderValue"})
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]{1,64}")
_DOTTED = re.compile(r"(?<![\w\"'-])(?:[\w\"'-]++\s*+\.\s*+){64}")
_SHOWN_MAX = 60


@dataclass(frozen=True, slots=True)
class Note:
    """Something accepted that has no effect, or not the effect its author may expect."""

    file: str
    place: str
    sentence: str

    def __str__(self) -> str:
        return f"{self.file}: {self.place}: {self.sentence}" if self.place else f"{self.file}: {self.sentence}"


@dataclass(frozen=True, slots=True)
class Document:
    """What a file says. `prefix` is where `data` stands in the file; `lines` are line numbers, for TOML alone."""

    file: str
    data: object
    prefix: Location = ()
    lines: Mapping[Location, int] = field(default_factory=dict)

    def at(self, location: Location) -> object:
        """The value at a location, None when there is none."""
        value = _follow(self.data, location)
        return None if value is _MISSING else value

    def inner(self, *steps: Step) -> Document:
        """The document inside this one, such as a configuration in its envelope."""
        return replace(self, data=self.at(steps), prefix=self.prefix + steps)

    def place(self, location: Location) -> str:
        """`nodes[2].listen[0] (line 14)`."""
        whole = self.prefix + location
        text = place_text(whole)
        for length in range(len(whole), 0, -1):
            if whole[:length] in self.lines:
                return f"{text} (line {self.lines[whole[:length]]})"
        return text

    def fault(self, location: Location, expected: str) -> Fault:
        """A fault of the value at this location."""
        return Fault(self.file, self.place(location), _shown(_follow(self.data, location), location), expected)

    def note(self, location: Location, sentence: str) -> Note:
        """A note about the value at this location."""
        return Note(self.file, self.place(location), sentence)


def place_text(location: Location) -> str:
    """A location as people write it."""
    text = ""
    for step in location:
        if isinstance(step, int):
            text += f"[{step}]"
        else:
            name = step if _BARE_KEY.fullmatch(step) else json.dumps(_cut(step))
            text += f".{name}" if text else name
    return text


def _follow(data: object, location: Location) -> object:
    for step in location:
        if isinstance(step, str) and isinstance(data, dict):
            data = data.get(step, _MISSING)
        elif isinstance(step, int) and isinstance(data, list) and 0 <= step < len(data):
            data = data[step]
        else:
            return _MISSING
    return data


def _cut(text: str) -> str:
    return text if len(text) <= _SHOWN_MAX else text[:_SHOWN_MAX] + "…"


def _shown(value: object, location: Location) -> str:
    if value is _MISSING:
        return "missing"
    if location and location[-1] in _SECRET:
        return "not shown"
    if isinstance(value, dict):
        return "a table"
    if isinstance(value, list):
        return f"a list of {len(value)}"
    if isinstance(value, str):
        quoted = json.dumps(_cut(value), ensure_ascii=False)
        return quoted.encode("utf-8", "backslashreplace").decode()  # half of a surrogate pair cannot be printed
    if isinstance(value, bool) or value is None:
        return json.dumps(value)
    if isinstance(value, int) and value.bit_length() > 200:
        return "an enormous number"
    return _cut(str(value))


# Files ----------------------------------------------------------------------------------------------------------------


def refused(faults: Sequence[Fault]) -> ConfigError:
    """The error for these faults, the list cut at FAULTS_MAX."""
    listed = list(faults[:FAULTS_MAX])
    if len(faults) > FAULTS_MAX:
        listed.append(Fault(faults[-1].file, "", "", f"and {len(faults) - FAULTS_MAX} more faults"))
    return ConfigError(listed)


def _one_fault(file: str, place: str, expected: str, value: str = "") -> ConfigError:
    return ConfigError([Fault(file, place, value, expected)])


def read_bytes(path: Path) -> bytes:
    """A file's bytes, no more than one beyond FILE_MAX. Raises OSError."""
    with path.open("rb") as opened:
        return opened.read(FILE_MAX + 1)


def read_text(path: Path, read: Callable[[Path], bytes] = read_bytes) -> str:
    """A file's text. Raises ConfigError when it cannot be read, is too large or is not UTF-8."""
    try:
        data = read(path)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise _one_fault(str(path), "", f"cannot be read: {getattr(error, 'strerror', None) or error}") from None
    if len(data) > FILE_MAX:
        raise _one_fault(str(path), "", f"is larger than {FILE_MAX} bytes, the most a configuration file may have")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise _one_fault(str(path), f"line {line}", "is not UTF-8 text") from None


def parse_toml(text: str, file: str) -> Document:
    """A TOML file. Raises ConfigError with line and column."""
    if len(text) > SETTINGS_MAX:
        raise _one_fault(file, "", f"is longer than {SETTINGS_MAX} characters, the most that settings may have")
    if _DOTTED.search(text):  # tomllib takes quadratic time for these
        raise _one_fault(file, "", "is nested too deeply")
    data = _parsed(file, lambda: tomllib.loads(text), SETTINGS_VALUES_MAX)
    return Document(file, data, lines=_toml_lines(text))


def parse_json(text: str, file: str) -> Document:
    """A JSON file. Raises ConfigError with line and column."""
    twice: list[str] = []

    def unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
        table = dict(pairs)
        if len(table) != len(pairs):
            twice.extend(name for name, times in Counter(name for name, _ in pairs).items() if times > 1)
        return table

    data = _parsed(file, lambda: json.loads(text, object_pairs_hook=unique, parse_constant=_no_constant))
    if twice:
        raise refused([Fault(file, place_text((name,)), "", "stands twice in one object") for name in twice])
    return Document(file, data)


def _no_constant(name: str) -> object:
    raise ValueError(f"{name} is no JSON number")


def _parsed(file: str, parse: Callable[[], object], most: int = VALUES_MAX) -> object:
    try:
        data = parse()
    except json.JSONDecodeError as error:
        raise _one_fault(file, f"line {error.lineno}, column {error.colno}", f"JSON syntax: {error.msg}") from None
    except tomllib.TOMLDecodeError as error:
        found = re.fullmatch(r"(.*?) \(at (?:line (\d+), column (\d+)|(end of document))\)", str(error), re.DOTALL)
        message = found[1] if found else str(error)
        place = f"line {found[2]}, column {found[3]}" if found and found[2] else "end of the file" if found else ""
        raise _one_fault(file, place, f"TOML syntax: {_cut(message)}") from None
    except RecursionError:
        raise _one_fault(file, "", "is nested too deeply") from None
    except ValueError as error:
        raise _one_fault(file, "", f"cannot be read: {_cut(str(error))}") from None
    _bounded(file, data, most)
    return data


def _bounded(file: str, data: object, most: int) -> None:
    """Refuse what would take long, or many levels of recursion, to look through."""
    stack, count = [(data, 0)], 0
    while stack:
        count += 1
        value, depth = stack.pop()
        if count > most:
            raise _one_fault(file, "", f"holds more than {most} values")
        if depth > DEPTH_MAX:
            raise _one_fault(file, "", "is nested too deeply")
        inside = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
        stack.extend((each, depth + 1) for each in inside)


_KEY = r"""(?:[A-Za-z0-9_-]+|"[^"]*"|'[^']*')"""
_KEYS = rf"{_KEY}(?:\s*\.\s*{_KEY})*"
_HEADER = re.compile(rf"\s*(\[\[?)\s*({_KEYS})\s*\]")
_ASSIGNMENT = re.compile(rf"\s*({_KEYS})\s*=")


def _toml_lines(text: str) -> dict[Location, int]:
    """Where tables and keys begin; keys of inline tables are not found, their table's line stands for them."""
    lines: dict[Location, int] = {}
    counts: dict[Location, int] = {}
    table: Location = ()
    in_text = False
    for number, line in enumerate(text.splitlines(), 1):
        opens = (line.count('"""') + line.count("'''")) % 2 == 1
        if not in_text:
            if found := _HEADER.match(line):
                table = _header(_keys(found[2]), found[1] == "[[", counts)
                lines.setdefault(table, number)
            elif found := _ASSIGNMENT.match(line):
                lines.setdefault(table + _keys(found[1]), number)
        in_text ^= opens
    return lines


def _keys(text: str) -> Location:
    return tuple(key.strip("\"'") for key in re.findall(_KEY, text))


def _header(keys: Location, array: bool, counts: dict[Location, int]) -> Location:
    location: Location = ()
    for depth, key in enumerate(keys):
        location += (key,)
        if array and depth == len(keys) - 1:
            counts[location] = counts.get(location, -1) + 1
        if location in counts:
            location += (counts[location],)
    return location
