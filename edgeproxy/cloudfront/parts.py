"""What every structure of CloudFront's API has in common, and the notes about fields that have no effect here."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from edgeproxy.errors import Fault
from edgeproxy.reading import Document, Location
from edgeproxy.validation import extra

T = TypeVar("T")

LATER = "accepted, not honoured yet"
"""What is said of a field whose effect is still to be built."""


def noted(note: str = LATER, *, default: object = None) -> Any:
    """An optional field whose author is told the sentence when it says anything that would have an effect."""
    return Field(default, json_schema_extra={"note": note})


def ranged(default: object, low: int, high: int | None = None, *, unit: str = "", code: str = "") -> Any:
    """A number with its range, unit and error code."""
    return Field(default, ge=low, le=high, json_schema_extra={"unit": unit, "code": code})


class Part(BaseModel):
    """A structure of the API: no further fields, and JSON types taken as they are."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    def idle(self) -> bool:
        """Whether this says that there is nothing, as the API says it."""
        return False


class Listed(Part, Generic[T]):
    """A list, as every list of the API: the number of items, then the items. `quantity_faults` compares the two."""

    Quantity: int = Field(ge=0)
    Items: list[T] = Field([])

    def idle(self) -> bool:
        return self.Quantity == 0


def no_items() -> Any:
    """An optional list, empty when absent."""
    return Field(Listed(Quantity=0, Items=[]))


class Switch(Part):
    """Something that is on or off."""

    Enabled: bool

    def idle(self) -> bool:
        return not self.Enabled


def notes_of(part: Part, location: Location = ()) -> Iterator[tuple[Location, str]]:
    """Every `noted` field that was set to something that would matter, with its sentence."""
    for name, described in type(part).model_fields.items():
        if name not in part.model_fields_set:
            continue
        value, where = getattr(part, name), (*location, name)
        sentence = extra(described, "note")
        if sentence and not (value.idle() if isinstance(value, Part) else value == described.default):
            yield where, sentence
        elif isinstance(value, Part):
            yield from notes_of(value, where)
        elif isinstance(value, list):
            for index, item in enumerate(value):
                if isinstance(item, Part):
                    yield from notes_of(item, (*where, index))


def quantity_faults(document: Document, location: Location = ()) -> Iterator[Fault]:
    """Every list whose Quantity is not the number of its Items, whatever else is wrong with it."""
    data = document.at(location)
    if isinstance(data, dict):
        quantity, items = data.get("Quantity"), data.get("Items", [])
        if type(quantity) is int and isinstance(items, list) and quantity != len(items):
            yield document.fault((*location, "Quantity"), f"InconsistentQuantities: Items has {len(items)}")
        for name in data:
            yield from quantity_faults(document, (*location, name))
    elif isinstance(data, list):
        for index in range(len(data)):
            yield from quantity_faults(document, (*location, index))
