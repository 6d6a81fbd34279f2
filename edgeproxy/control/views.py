"""How things look in the API's answers: all that any shape could ask for, of which each takes what it has."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from edgeproxy.control.kinds import DISTRIBUTION, Kind, named
from edgeproxy.control.kinds import KEY_GROUP as GROUP
from edgeproxy.control.records import aliases
from edgeproxy.control.refusals import refuse
from edgeproxy.control.state import Invalidation, Resource, State, kind_of
from edgeproxy.feed import Json

ACCOUNT = "123456789012"
"""The account number in ARNs: there is one account."""
ITEMS_MAX = 100
"""Items on a page when the client does not say."""

T = TypeVar("T")


def arn(kind: Kind, id: str) -> str:
    """The name a thing has across AWS."""
    return f"arn:aws:cloudfront::{ACCOUNT}:{kind.name.lower()}/{id}"


def id_in(arn_text: str) -> str:
    """The id of the distribution an ARN names."""
    if not arn_text.startswith("arn:aws:cloudfront::") or ":distribution/" not in arn_text:
        refuse("InvalidArgument", f"{arn_text[:120]!r} is not the ARN of a distribution.")
    return arn_text.rpartition("/")[2]


def whole(state: State, resource: Resource) -> Json:
    """A thing with everything around its configuration."""
    kind = kind_of(resource)
    said: Json = {
        "Id": resource.id,
        "LastModifiedTime": resource.modified,
        "CreatedTime": resource.created,
        kind.config: resource.config,
        "S3CanonicalUserId": hashlib.sha256(f"canonical {resource.id}".encode()).hexdigest(),
    }
    return said | _around(state, resource) if kind is DISTRIBUTION else said


def _around(state: State, resource: Resource) -> Json:
    config = resource.config
    groups = [
        {
            "KeyGroupId": id,
            "KeyPairIds": _listed(found.config["Items"]) if (found := state.find(GROUP, id)) else _listed([]),
        }
        for id in dict.fromkeys(id for kind, id in named(config) if kind is GROUP)
    ]
    return {
        "ARN": arn(DISTRIBUTION, resource.id),
        "ETag": resource.etag,
        "Status": "Deployed" if state.deployed(resource) else "InProgress",
        "InProgressInvalidationBatches": len(state.in_progress(resource.id)),
        "DomainName": state.domain(resource.id),
        "ActiveTrustedSigners": {"Enabled": False, "Quantity": 0},
        "ActiveTrustedKeyGroups": {"Enabled": bool(groups), **_listed(groups)},
        "AliasICPRecordals": [{"CNAME": alias, "ICPRecordalStatus": "APPROVED"} for alias in aliases(config)],
    }


def summary(state: State, resource: Resource) -> Json:
    """A thing in a list: some lists show it flat, others wrapped."""
    return {
        **resource.config,
        **whole(state, resource),
        resource.kind: whole(state, resource),
        "Type": "managed" if resource.managed else "custom",
        "Description": resource.config.get("Description", ""),
        "Comment": resource.config.get("Comment", ""),
    }


def invalidation(state: State, found: Invalidation) -> Json:
    """An invalidation, whole or in a list."""
    return {
        "Id": found.id,
        "Status": "Completed" if state.completed(found) else "InProgress",
        "CreateTime": found.created,
        "InvalidationBatch": {
            "Paths": _listed(found.items),
            "CallerReference": found.reference,
        },
    }


def page(found: Sequence[T], given: dict[str, str], id_of: Callable[[T], str], show: Callable[[T], Any]) -> Json:
    """One page of a list: Marker is the id of the last one already seen (fact sheet 11, "Paging")."""
    marker = given.get("Marker", "")
    size = given.get("MaxItems", "")
    if size and not (size.isascii() and size.isdigit() and 1 <= int(size[:9]) <= 1_000_000):
        refuse("InvalidArgument", f"MaxItems is {size[:60]!r}: expected a number from 1 on")
    most = int(size[:9]) if size else ITEMS_MAX
    ids = [id_of(each) for each in found]
    if marker and marker not in ids:
        refuse("InvalidArgument", "Marker: there is no such entry in this list")
    start = ids.index(marker) + 1 if marker else 0
    shown = found[start : start + most]
    more = start + most < len(found)
    return {
        "Marker": marker,
        "MaxItems": most,
        "IsTruncated": more,
        **({"NextMarker": id_of(shown[-1])} if more else {}),
        **_listed([show(each) for each in shown]),
    }


def _listed(items: Sequence[Any]) -> Json:
    return {"Quantity": len(items), **({"Items": list(items)} if items else {})}
