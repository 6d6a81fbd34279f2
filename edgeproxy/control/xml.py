"""CloudFront's XML to and from JSON values, by the shapes of the service model.

What comes in is hostile: declarations of documents and entities are refused as soon as they begin, and depth and number
of elements are bounded before anything is built from them.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from xml.parsers import expat
from xml.sax.saxutils import escape

from edgeproxy.control.refusals import Refused, refuse
from edgeproxy.control.service import NAMESPACE

DEPTH_MAX = 32
"""CloudFront's own documents go no deeper than 12."""
ELEMENTS_MAX = 100_000
MALFORMED = "MalformedInput"

_NO_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")


@dataclass(slots=True)
class _Element:
    name: str
    children: list[_Element] = field(default_factory=list)
    text: list[str] = field(default_factory=list)


def parse(shape: Any, element: str, body: bytes) -> Any:  # Any: botocore has no types; JSON
    """The value of a body whose root is this element. Raises Refused, MalformedInput."""
    root = _tree(body)
    if root.name != element:
        refuse(MALFORMED, f"Expected the element {element}, not {root.name[:60]!r}.")
    return _value(shape, root, element)


def _tree(body: bytes) -> _Element:
    top = _Element("")
    stack, count = [top], 0

    def begin(name: str, _: dict[str, str]) -> None:
        nonlocal count
        count += 1
        if count > ELEMENTS_MAX or len(stack) > DEPTH_MAX:
            refuse(MALFORMED, f"More than {ELEMENTS_MAX} elements, or more than {DEPTH_MAX} levels of them.")
        inner = _Element(name.rpartition("}")[2])
        stack[-1].children.append(inner)
        stack.append(inner)

    def end(_: str) -> None:
        stack.pop()

    def text(data: str) -> None:
        stack[-1].text.append(data)

    def declared(*_: object) -> None:
        refuse(MALFORMED, "Declarations of document types and entities are not accepted.")

    parser = expat.ParserCreate(namespace_separator="}")
    parser.buffer_text = True
    parser.StartElementHandler, parser.EndElementHandler, parser.CharacterDataHandler = begin, end, text
    parser.StartDoctypeDeclHandler = parser.EntityDeclHandler = declared
    try:
        parser.Parse(body, True)
    except (expat.ExpatError, ValueError, LookupError) as error:  # LookupError: an encoding that nobody knows
        refuse(MALFORMED, f"Could not parse XML: {str(error)[:200]}")
    return top.children[0]


def _value(shape: Any, element: _Element, place: str) -> Any:  # Any: as above
    match shape.type_name:
        case "structure":
            return _structure(shape, element, place)
        case "list":
            name = shape.member.serialization.get("name", "member")
            for each in element.children:
                if each.name != name:
                    refuse(MALFORMED, f"{place} holds {name}, not {each.name[:60]!r}.")
            return [_value(shape.member, each, f"{place}.{name}") for each in element.children]
        case _:
            if element.children:
                refuse(MALFORMED, f"Unexpected complex element termination: {place} is text.")
            return _scalar(shape.type_name, "".join(element.text), place)


def _structure(shape: Any, element: _Element, place: str) -> dict[str, Any]:  # Any: as above
    names = {part.serialization.get("name", member): (member, part) for member, part in shape.members.items()}
    value: dict[str, Any] = {}
    for each in element.children:
        if each.name not in names:
            refuse(MALFORMED, f"{place} has no element {each.name[:60]!r}.")
        member, part = names[each.name]
        if member in value:
            refuse(MALFORMED, f"{place} has two elements {each.name}.")
        value[member] = _value(part, each, f"{place}.{each.name}")
    if "".join(element.text).strip():
        refuse(MALFORMED, f"{place} holds elements, not text.")
    for member in shape.required_members:
        if member not in value and shape.members[member].serialization.get("location") is None:
            refuse(MALFORMED, f"1 validation error detected: {place}.{member} is missing.")
    return value


def _scalar(kind: str, text: str, place: str) -> str | int | float | bool:
    if kind == "string":
        return text
    said = text.strip()
    if kind == "boolean" and said in ("true", "false"):
        return said == "true"
    if kind in ("integer", "long") and re.fullmatch(r"[+-]?[0-9]{1,18}", said):
        return int(said)
    if kind in ("float", "double") and re.fullmatch(r"[+-]?[0-9.]{1,30}([eE][+-]?[0-9]{1,2})?", said):
        try:
            if math.isfinite(number := float(said)):
                return number
        except ValueError:
            pass
    raise Refused(MALFORMED, f"{place} is no {kind}: {said[:60]!r}.")


# Writing --------------------------------------------------------------------------------------------------------------


def serialise(shape: Any, element: str, value: Any) -> bytes:  # Any: as above
    """A whole document. Members that the shape does not have are left out, as are those that the value does not have;
    times are seconds since 1970."""
    parts = ['<?xml version="1.0" encoding="UTF-8"?>\n']
    _write(shape, element, value, parts, f' xmlns="{NAMESPACE}"')
    return "".join(parts).encode()


def _write(shape: Any, name: str, value: Any, parts: list[str], attributes: str = "") -> None:  # Any: as above
    parts.append(f"<{name}{attributes}>")
    match shape.type_name:
        case "structure":
            for member, part in shape.members.items():
                if value.get(member) is not None and part.serialization.get("location") is None:
                    _write(part, part.serialization.get("name", member), value[member], parts)
        case "list":
            item = shape.member.serialization.get("name", "member")
            for each in value:
                _write(shape.member, item, each, parts)
        case "timestamp":
            parts.append(datetime.fromtimestamp(value, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"))
        case "boolean":
            parts.append("true" if value else "false")
        case _:
            parts.append(escape(_NO_XML.sub("\ufffd", str(value)), {"\r": "&#13;"}))
    parts.append(f"</{name}>")


def error(code: str, message: str, request_id: str, *, sender: bool) -> bytes:
    """The document of an error."""
    words = escape(_NO_XML.sub("\ufffd", message))
    kind = "Sender" if sender else "Receiver"
    return (
        f'<?xml version="1.0"?>\n<ErrorResponse xmlns="{NAMESPACE}"><Error><Type>{kind}</Type><Code>{code}</Code>'
        f"<Message>{words}</Message></Error><RequestId>{request_id}</RequestId></ErrorResponse>"
    ).encode()
