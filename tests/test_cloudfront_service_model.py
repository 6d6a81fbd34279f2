"""Every member of the shapes in the service model is known here, with its type, what it requires and its words."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal, get_args, get_origin

import botocore.session
import pytest
from pydantic import BaseModel

from edgeproxy.cloudfront.policy_schema import CachePolicyConfig, OriginRequestPolicyConfig
from edgeproxy.cloudfront.response_schema import ResponseHeadersPolicyConfig
from edgeproxy.cloudfront.schema import DistributionConfig
from edgeproxy.validation import Kind, is_model, kind_of, plain

MODELS: dict[str, type[BaseModel]] = {
    "DistributionConfig": DistributionConfig,
    "CachePolicyConfig": CachePolicyConfig,
    "OriginRequestPolicyConfig": OriginRequestPolicyConfig,
    "ResponseHeadersPolicyConfig": ResponseHeadersPolicyConfig,
}


def shape_of(name: str) -> Any:  # Any: botocore is not typed
    return botocore.session.get_session().get_service_model("cloudfront").shape_for(name)


def faults(shape: Any, model: Any, path: str) -> Iterator[str]:
    """What the service model has and ours has not, or has otherwise. `model` is any type expression."""
    kind = plain(Kind(model))
    match shape.type_name:
        case "structure":
            if not is_model(kind.annotation):
                yield f"{path}: not a table here"
                return
            known = kind.annotation.model_fields
            for name, member in shape.members.items():
                if name not in known:
                    yield f"{path}.{name}: not known here"
                    continue
                described = known[name]
                if described.is_required() and name not in shape.required_members:
                    yield f"{path}.{name}: required here only"
                yield from faults(member, kind_of(described).annotation, f"{path}.{name}")
            yield from (f"{path}.{name}: known here only" for name in known if name not in shape.members)
        case "list":
            if get_origin(kind.annotation) is not list:
                yield f"{path}: not a list here"
                return
            yield from faults(shape.member, get_args(kind.annotation)[0], f"{path}[]")
        case "string":
            words = get_args(kind.annotation) if get_origin(kind.annotation) is Literal else ()
            missing = set(getattr(shape, "enum", ()) or ()) - set(words) if words else set()
            if missing or (kind.annotation is not str and not words):
                yield f"{path}: {sorted(missing) or kind.annotation}"
        case "boolean":
            if kind.annotation is not bool:
                yield f"{path}: {kind.annotation}"
        case "integer" | "long":
            if kind.annotation is not int and get_origin(kind.annotation) is not Literal:
                yield f"{path}: {kind.annotation}"
        case "double":
            if kind.annotation is not float:
                yield f"{path}: {kind.annotation}"
        case other:
            yield f"{path}: a {other}"


@pytest.mark.parametrize("name", MODELS)
def test_every_member_of_the_shape_is_known(name: str) -> None:
    assert list(faults(shape_of(name), MODELS[name], name)) == []


def test_the_walk_finds_what_is_missing() -> None:
    found = list(faults(shape_of("DistributionConfig"), CachePolicyConfig, "X"))
    assert "X.Origins: not known here" in found
    assert "X.MinTTL: known here only" in found
