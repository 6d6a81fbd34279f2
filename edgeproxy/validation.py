"""Values held against pydantic models: everything wrong with them, in the words of the models themselves.

Types and ranges in a fault's text come from the fields' own metadata, so that text and check cannot drift apart.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeGuard, TypeVar, get_args, get_origin

from pydantic import BaseModel, BeforeValidator, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from edgeproxy.errors import Fault
from edgeproxy.reading import FAULTS_MAX, Document, Location
from edgeproxy.units import address_text, bytes_from, seconds_from

M = TypeVar("M", bound=BaseModel)

NEAR_MAX = 200
"""Names among which a near match is looked for."""


def validate(model: type[M], document: Document, location: Location = ()) -> tuple[M | None, list[Fault]]:
    """The model read from the document's value at `location`, or None and everything wrong with it."""
    try:
        return model.model_validate(document.at(location)), []
    except ValidationError as error:
        found = error.errors(include_url=False)
        faults = [_fault(model, document, location, details) for details in found[:FAULTS_MAX]]
        # The rest is only ever counted: finding near matches for thousands of names would take minutes.
        return None, faults + [Fault(document.file, "", "", "")] * (len(found) - len(faults))


def sound(model: type[M], document: Document, location: Location) -> M | None:
    """The model if the value at `location` is well-formed, so that more of it can be checked beside other faults."""
    try:
        return model.model_validate(document.at(location))
    except ValidationError:
        return None


def _fault(model: type[BaseModel], document: Document, location: Location, found: ErrorDetails) -> Fault:
    where = location + found["loc"]
    match found["type"]:
        case "extra_forbidden":
            parent = _resolve(model, found["loc"][:-1])
            return document.fault(where, unknown(str(found["loc"][-1]), _names(parent)))
        case "value_error":
            return document.fault(where, _with_code(model, found["loc"], str(found["ctx"]["error"])))
        case _:
            what = _resolve(model, found["loc"])
            return document.fault(where, _with_code(model, found["loc"], f"expected {what}" if what else found["msg"]))


def unknown(name: str, known: Sequence[str]) -> str:
    """That there is no such name, and which ones look like it."""
    return f"no such name here{near(name, known)}"


def near(name: str, known: Sequence[str]) -> str:
    """`; did you mean THIS?`, or nothing when no known name looks like this one."""
    found = difflib.get_close_matches(name[:64], known[:NEAR_MAX], n=3, cutoff=0.6)
    return f"; did you mean {' or '.join(found)}?" if found else ""


@dataclass(frozen=True, slots=True)
class Kind:
    """What a value has to be: its type as Python has it, and what is said about it."""

    annotation: Any  # pydantic keeps type expressions, for which typing has no name
    metadata: tuple[object, ...] = ()
    field: FieldInfo | None = None

    def __str__(self) -> str:
        bounds = range_text(self)
        return f"{type_text(self)} {bounds} {unit_text(self)}".rstrip() if bounds else type_text(self)


def extra(described: FieldInfo | None, name: str) -> str:
    """A word about a field that pydantic itself has no place for: unit, code, note."""
    words = described.json_schema_extra if described is not None else None
    return str(words.get(name, "")) if isinstance(words, dict) else ""


def kind_of(described: FieldInfo) -> Kind:
    """The kind of a field."""
    return Kind(described.annotation, tuple(described.metadata), described)


def plain(kind: Kind) -> Kind:
    """The kind without `Annotated` and without `| None`."""
    annotation, metadata = kind.annotation, kind.metadata
    while True:
        arguments = get_args(annotation)
        if get_origin(annotation) is Annotated:
            annotation, metadata = arguments[0], (*metadata, *arguments[1:])
        elif type(None) in arguments:
            annotation = next(argument for argument in arguments if argument is not type(None))
        else:
            return Kind(annotation, metadata, kind.field)


def _resolve(model: type[BaseModel], location: Location) -> Kind | None:
    kind = Kind(model)
    for step in location:
        kind = plain(kind)
        annotation = kind.annotation
        if is_model(annotation) and step in annotation.model_fields:
            kind = kind_of(annotation.model_fields[str(step)])
        elif get_origin(annotation) in (list, dict):
            kind = Kind(get_args(annotation)[-1])
        else:
            return None
    return kind


def _names(kind: Kind | None) -> list[str]:
    annotation = plain(kind).annotation if kind is not None else None
    return list(annotation.model_fields) if is_model(annotation) else []


def is_model(annotation: Any) -> TypeGuard[type[BaseModel]]:  # any type expression
    """Whether a type is a table of fields."""
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def members(kind: Kind) -> tuple[type[BaseModel] | None, str]:
    """The model of a table or of each table in a list, and how a name inside is written; None for anything else."""
    if is_model(kind.annotation):
        return kind.annotation, ""
    inner = get_args(kind.annotation)
    return (inner[0], "[]") if get_origin(kind.annotation) is list and is_model(inner[0]) else (None, "")


def _with_code(model: type[BaseModel], location: Location, text: str) -> str:
    kind = _resolve(model, location)
    code = extra(kind.field, "code") if kind is not None else ""
    return f"{code}: {text}" if code else text


def _before(kind: Kind) -> frozenset[object]:
    return frozenset(item.func for item in kind.metadata if isinstance(item, BeforeValidator))


_SPECIAL = ((bytes_from, "a size"), (seconds_from, "a time"), (address_text, "HOST:PORT"))
_PLAIN = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}


def type_text(kind: Kind) -> str:
    """The type of a value in words."""
    kind = plain(kind)
    for function, name in _SPECIAL:
        if function in _before(kind):
            return name
    origin = get_origin(kind.annotation)
    if origin is Literal:
        return "one of " + ", ".join(str(word) for word in get_args(kind.annotation))
    if origin is list:
        return f"a list of {type_text(Kind(get_args(kind.annotation)[0])).removeprefix('a ')}"
    if origin is dict:
        return "a table of text"
    return _PLAIN.get(kind.annotation, "a table")


def unit_text(kind: Kind) -> str:
    """The unit that a field names, or that its type implies."""
    return extra(kind.field, "unit") or {"a size": "bytes", "a time": "s"}.get(type_text(kind), "")


def range_text(kind: Kind) -> str:
    """`from LOW to HIGH` and the like, in the words of the checks themselves; empty when everything is allowed."""
    low, high = _bound(kind, "ge"), _bound(kind, "le")
    if low is None:
        return "" if high is None else f"at most {high}"
    return f"at least {low}" if high is None else f"from {low} to {high}"


def _bound(kind: Kind, name: str) -> object:
    bounds = (getattr(item, name, None) for item in kind.metadata)
    return next((bound for bound in bounds if bound is not None), None)
