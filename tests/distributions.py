"""DistributionConfigs for tests: a small one that is right, and changes to it by place."""

from __future__ import annotations

import copy
import json
from typing import Any

from edgeproxy.cloudfront.distribution import Reading, read_distribution
from edgeproxy.cloudfront.policies import Policies
from edgeproxy.model import Distribution
from edgeproxy.reading import Document

JSON = dict[str, Any]  # any JSON object

OPTIMIZED = "658327ea-f89d-4fab-a63d-7e88639e58f6"
ALL_VIEWER = "216adef6-5c7f-47e4-b989-5492eafa07d3"


def items(*values: Any) -> JSON:
    """A list as the API writes it."""
    return {"Quantity": len(values), "Items": list(values)}


def web(id: str = "web", domain: str = "origin.example.com", **changes: Any) -> JSON:
    """A custom origin."""
    custom = {"HTTPPort": 80, "HTTPSPort": 443, "OriginProtocolPolicy": "http-only", **changes.pop("custom", {})}
    return {"Id": id, "DomainName": domain, "CustomOriginConfig": custom, **changes}


def bucket(id: str = "s3", domain: str = "b.s3.eu-central-1.amazonaws.com", **changes: Any) -> JSON:
    """An S3 origin."""
    return {"Id": id, "DomainName": domain, "S3OriginConfig": {"OriginAccessIdentity": ""}, **changes}


def behavior(target: str = "web", **changes: Any) -> JSON:
    """A default cache behaviour with a managed policy."""
    return {"TargetOriginId": target, "ViewerProtocolPolicy": "allow-all", "CachePolicyId": OPTIMIZED, **changes}


def legacy(target: str = "web", **changes: Any) -> JSON:
    """A default cache behaviour with ForwardedValues."""
    values = {"QueryString": False, "Cookies": {"Forward": "none"}, **changes.pop("values", {})}
    return {
        "TargetOriginId": target,
        "ViewerProtocolPolicy": "allow-all",
        "ForwardedValues": values,
        "MinTTL": 0,
        **changes,
    }


def config(**changes: Any) -> JSON:
    """A DistributionConfig without faults and notes."""
    return {
        "CallerReference": "1",
        "Comment": "",
        "Enabled": True,
        "Origins": items(web()),
        "DefaultCacheBehavior": behavior(),
        **copy.deepcopy(changes),
    }


def reading(data: JSON, *, policies: Policies | None = None, **named: Any) -> Reading:
    """What comes of a configuration in a file called demo.json."""
    document = Document("demo.json", json.loads(json.dumps(data)))
    arguments = {"zone": "edge.localhost", "redirects": {}, **named}
    return read_distribution(document, policies=policies or Policies(), **arguments)


def distribution(data: JSON, **named: Any) -> Distribution:
    """The distribution of a configuration that has no faults."""
    result = reading(data, **named)
    assert result.faults == []
    assert result.distribution is not None
    return result.distribution


def faults(data: JSON, **named: Any) -> list[str]:
    """Faults as text, without the file."""
    return [str(fault).removeprefix("demo.json: ") for fault in reading(data, **named).faults]
