"""The reference of all settings, made from the settings themselves."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from edgeproxy.settings import Settings
from edgeproxy.validation import Kind, kind_of, members, plain, range_text, type_text, unit_text

_BYTES = ((1 << 40, "TiB"), (1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB"))


@dataclass(frozen=True, slots=True)
class Entry:
    """One setting as text."""

    name: str
    type: str
    range: str
    default: str
    unit: str
    sentence: str


def entries(model: type[BaseModel] = Settings, prefix: str = "") -> Iterator[Entry]:
    """Every setting, in the order of `settings.py`; `nodes[].name` is the name of each node."""
    for name, described in model.model_fields.items():
        kind = plain(kind_of(described))
        inner, suffix = members(kind)
        if inner is not None:
            if described.description:
                yield Entry(f"{prefix}{name}", "tables", "", "none", "", described.description)
            yield from entries(inner, f"{prefix}{name}{suffix}.")
        else:
            yield Entry(
                f"{prefix}{name}",
                type_text(kind),
                _range(kind),
                _default(described.default, type_text(kind)),
                unit_text(kind),
                described.description or "",
            )


def _range(kind: Kind) -> str:
    text = range_text(kind)
    if type_text(kind) != "a size":
        return text
    return " ".join(_size(int(word)) if word.isdigit() else word for word in text.split())


def _size(number: int) -> str:
    for factor, name in _BYTES:
        if number and number % factor == 0:
            return f"{number // factor} {name}"
    return str(number)


def _default(value: object, type_name: str) -> str:
    if value is PydanticUndefined:
        return "required"
    if value is None or value in ([], {}, ""):
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return _size(value) if type_name == "a size" and isinstance(value, int) else str(value)


def reference_text() -> str:
    """The settings reference, Markdown."""
    lines = [
        "# Settings",
        "",
        "Everything a settings file (TOML) may hold. A size is a number of bytes or text such as `64 MiB`; a time is a",
        "number of seconds or text such as `10 min`. Unknown names and values out of range are refused, all at once:",
        "`edgeproxy check FILE` lists them. This page is made by `edgeproxy check --reference`.",
        "",
        "| Setting | Type | Range | Default | Unit | Meaning |",
        "|---|---|---|---|---|---|",
    ]
    for entry in entries():
        cells = (f"`{entry.name}`", entry.type, entry.range, entry.default, entry.unit, entry.sentence)
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines) + "\n"
