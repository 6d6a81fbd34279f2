"""CloudFront's API as botocore's service model tells it: which operation a request is, and what its parts look like.

Nothing is written per operation: method, path and query pick the operation, and shapes say how XML is read and written.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any
from urllib.parse import parse_qsl, unquote

from botocore.loaders import Loader
from botocore.model import OperationModel, ServiceModel

API_VERSION = "2020-05-31"
NAMESPACE = f"http://cloudfront.amazonaws.com/doc/{API_VERSION}/"


@dataclass(frozen=True, slots=True)
class Route:
    """An operation, and the requests that mean it."""

    operation: OperationModel
    method: str
    path: re.Pattern[str]
    required: Mapping[str, str]
    """Query parameters that must be there to pick it, such as Operation=Tag."""


@dataclass(frozen=True, slots=True)
class Call:
    """A request understood as far as its line and fields tell."""

    operation: OperationModel
    given: dict[str, str]
    """Members of the input that stand in path, query and header fields, by their names."""


@cache
def service() -> ServiceModel:
    """The model. Read once: it is a large file."""
    return ServiceModel(Loader().load_service_model("cloudfront", "service-2", API_VERSION), "cloudfront")


@cache
def routes() -> tuple[Route, ...]:
    """Every operation; those that more of the query picks come first."""
    found = []
    for name in service().operation_names:
        operation = service().operation_model(name)
        path, _, query = operation.http["requestUri"].partition("?")
        pattern = "".join(
            f"(?P<{part[1:-1]}>[^/]+)" if part.startswith("{") else re.escape(part)
            for part in re.split(r"(\{\w+\})", path)
        )
        required = dict(parse_qsl(query, keep_blank_values=True))
        found.append(Route(operation, operation.http["method"], re.compile(pattern), required))
    return tuple(sorted(found, key=lambda route: -len(route.required)))


@cache
def statuses() -> dict[str, int]:
    """HTTP status by error code, of every error the model knows."""
    shapes = (service().shape_for(name) for name in service().shape_names)
    return {
        shape.name: int(shape.metadata["error"]["httpStatusCode"])
        for shape in shapes
        if shape.metadata.get("exception") and "error" in shape.metadata
    }


def find(method: str, path: str, query: str, fields: Mapping[str, str]) -> Call | None:
    """The operation a request means, None when it means none. `path` and `query` are as they came; `fields` find their
    names in any case."""
    words = dict(parse_qsl(query, keep_blank_values=True))
    for route in routes():
        if route.method != method or any(words.get(name) != value for name, value in route.required.items()):
            continue
        matched = route.path.fullmatch(path.rstrip("/"))
        if matched is not None:
            return Call(route.operation, _given(route.operation, matched.groupdict(), words, fields))
    return None


def _given(
    operation: OperationModel, steps: Mapping[str, str], words: Mapping[str, str], fields: Mapping[str, str]
) -> dict[str, str]:
    given: dict[str, str] = {}
    shape = operation.input_shape
    members: Mapping[str, Any] = {} if shape is None else shape.members  # Any: botocore has no types
    for member, part in members.items():
        name = part.serialization.get("name", member)
        match part.serialization.get("location"):
            case "uri":
                given[member] = unquote(steps[name])
            case "querystring" if name in words:
                given[member] = words[name]
            case "header" if name in fields:
                given[member] = fields[name]
    return given


def payload_of(operation: OperationModel) -> tuple[str, Any, str] | None:  # Any: botocore has no types
    """Where the body of a request goes: member name ("" for the whole input), its shape, and its XML element. None when
    there is no body."""
    shape = operation.input_shape
    if shape is None:
        return None
    member = shape.serialization.get("payload")
    if member is not None:
        inner = shape.members[member]
        return member, inner, inner.serialization.get("name", member)
    if any("location" not in inner.serialization for inner in shape.members.values()):
        return "", shape, shape.serialization.get("name", shape.name)
    return None
