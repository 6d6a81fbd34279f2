"""Every member of the shapes in the service model is known here, with its type, what it requires and its words."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Literal, get_args, get_origin

import botocore.session
import pytest
from pydantic import BaseModel

from edgeproxy.cloudfront.policy_schema import CachePolicyConfig, OriginRequestPolicyConfig
from edgeproxy.cloudfront.response_schema import ResponseHeadersPolicyConfig
from edgeproxy.cloudfront.schema import DistributionConfig, PathBehavior
from edgeproxy.model import Distribution
from edgeproxy.validation import Kind, extra, is_model, kind_of, plain
from tests.distributions import behavior, bucket, config, distribution, items, legacy, web

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


def honoured(model: type[BaseModel], path: str = "") -> Iterator[str]:
    """The single values of a configuration that no note says are without effect."""
    for name, described in model.model_fields.items():
        where = f"{path}.{name}" if path else name
        inner = plain(kind_of(described)).annotation
        if get_origin(inner) is list:
            inner = plain(Kind(get_args(inner)[0])).annotation
        if extra(described, "note") or name == "Quantity":
            continue
        if inner is PathBehavior:
            yield f"{where}.PathPattern"
        elif is_model(inner):
            yield from honoured(inner, where)
        else:
            yield where


RICH = config(
    Origins=items(
        web(
            CustomHeaders=items({"HeaderName": "X-A", "HeaderValue": "1"}),
            OriginShield={"Enabled": True, "OriginShieldRegion": "eu-west-1"},
            ResponseCompletionTimeout=60,
        ),
        web("spare", "spare.example.com"),
        bucket(),
    ),
    OriginGroups=items(
        {
            "Id": "group",
            "FailoverCriteria": {"StatusCodes": items(500)},
            "Members": items({"OriginId": "web"}, {"OriginId": "spare"}),
        }
    ),
    DefaultCacheBehavior=behavior(
        AllowedMethods={**items("GET", "HEAD", "OPTIONS"), "CachedMethods": items("GET", "HEAD")},
        OriginRequestPolicyId="AllViewer",
        ResponseHeadersPolicyId="SimpleCORS",
    ),
    CacheBehaviors=items(
        behavior("group", PathPattern="/g/*"),
        legacy(
            PathPattern="/l/*",
            DefaultTTL=5,
            MaxTTL=10,
            values={
                "QueryString": True,
                "Cookies": {"Forward": "whitelist", "WhitelistedNames": items("c")},
                "Headers": items("X-H"),
                "QueryStringCacheKeys": items("q"),
            },
        ),
    ),
    CustomErrorResponses=items(
        {"ErrorCode": 404, "ResponsePagePath": "/e", "ResponseCode": "200", "ErrorCachingMinTTL": 5}
    ),
    Restrictions={"GeoRestriction": {"RestrictionType": "whitelist", **items("DE")}},
)
LEGACY = "CacheBehaviors.Items[1]"
CHANGES: dict[str, tuple[str, Any]] = {
    "Aliases.Items": ("Aliases", items("a.test")),
    "CacheTagConfig.HeaderName": ("CacheTagConfig", {"HeaderName": "X-Tags"}),
    "DefaultRootObject": ("DefaultRootObject", "index.html"),
    "Origins.Items.Id": ("Origins.Items[2].Id", "other"),
    "Origins.Items.DomainName": ("Origins.Items[0].DomainName", "other.example.com"),
    "Origins.Items.OriginPath": ("Origins.Items[0].OriginPath", "/v1"),
    "Origins.Items.CustomHeaders.Items.HeaderName": ("Origins.Items[0].CustomHeaders.Items[0].HeaderName", "X-B"),
    "Origins.Items.CustomHeaders.Items.HeaderValue": ("Origins.Items[0].CustomHeaders.Items[0].HeaderValue", "2"),
    "Origins.Items.S3OriginConfig.OriginReadTimeout": ("Origins.Items[2].S3OriginConfig.OriginReadTimeout", 7),
    "Origins.Items.CustomOriginConfig.HTTPPort": ("Origins.Items[0].CustomOriginConfig.HTTPPort", 81),
    "Origins.Items.CustomOriginConfig.HTTPSPort": ("Origins.Items[0].CustomOriginConfig.HTTPSPort", 444),
    "Origins.Items.CustomOriginConfig.OriginProtocolPolicy": (
        "Origins.Items[0].CustomOriginConfig.OriginProtocolPolicy", "match-viewer"),
    "Origins.Items.CustomOriginConfig.OriginReadTimeout": (
        "Origins.Items[0].CustomOriginConfig.OriginReadTimeout", 7),
    "Origins.Items.CustomOriginConfig.OriginKeepaliveTimeout": (
        "Origins.Items[0].CustomOriginConfig.OriginKeepaliveTimeout", 7),
    "Origins.Items.CustomOriginConfig.IpAddressType": ("Origins.Items[0].CustomOriginConfig.IpAddressType", "ipv6"),
    "Origins.Items.ConnectionAttempts": ("Origins.Items[0].ConnectionAttempts", 1),
    "Origins.Items.ConnectionTimeout": ("Origins.Items[0].ConnectionTimeout", 1),
    "Origins.Items.ResponseCompletionTimeout": ("Origins.Items[0].ResponseCompletionTimeout", 70),
    "Origins.Items.OriginShield.Enabled": ("Origins.Items[0].OriginShield.Enabled", False),
    "Origins.Items.OriginShield.OriginShieldRegion": ("Origins.Items[0].OriginShield.OriginShieldRegion", "us-east-1"),
    "OriginGroups.Items.FailoverCriteria.StatusCodes.Items": (
        "OriginGroups.Items[0].FailoverCriteria.StatusCodes", items(404)),
    "OriginGroups.Items.Members.Items.OriginId": ("OriginGroups.Items[0].Members.Items[1].OriginId", "s3"),
    "DefaultCacheBehavior.TargetOriginId": ("DefaultCacheBehavior.TargetOriginId", "group"),
    "DefaultCacheBehavior.ViewerProtocolPolicy": ("DefaultCacheBehavior.ViewerProtocolPolicy", "https-only"),
    "DefaultCacheBehavior.AllowedMethods.Items": (
        "DefaultCacheBehavior.AllowedMethods", {**items("GET", "HEAD"), "CachedMethods": items("GET", "HEAD")}),
    "DefaultCacheBehavior.AllowedMethods.CachedMethods.Items": (
        "DefaultCacheBehavior.AllowedMethods.CachedMethods", items("GET", "HEAD", "OPTIONS")),
    "DefaultCacheBehavior.Compress": ("DefaultCacheBehavior.Compress", True),
    "DefaultCacheBehavior.CachePolicyId": ("DefaultCacheBehavior.CachePolicyId", "CachingDisabled"),
    "DefaultCacheBehavior.OriginRequestPolicyId": ("DefaultCacheBehavior.OriginRequestPolicyId", "HostHeaderOnly"),
    "DefaultCacheBehavior.ResponseHeadersPolicyId": ("DefaultCacheBehavior.ResponseHeadersPolicyId", ""),
    "DefaultCacheBehavior.ForwardedValues.QueryString": (
        f"{LEGACY}.ForwardedValues", {"QueryString": False, "Cookies": {"Forward": "none"}}),
    "DefaultCacheBehavior.ForwardedValues.Cookies.Forward": (
        f"{LEGACY}.ForwardedValues.Cookies", {"Forward": "all"}),
    "DefaultCacheBehavior.ForwardedValues.Cookies.WhitelistedNames.Items": (
        f"{LEGACY}.ForwardedValues.Cookies.WhitelistedNames", items("d")),
    "DefaultCacheBehavior.ForwardedValues.Headers.Items": (f"{LEGACY}.ForwardedValues.Headers", items("X-I")),
    "DefaultCacheBehavior.ForwardedValues.QueryStringCacheKeys.Items": (
        f"{LEGACY}.ForwardedValues.QueryStringCacheKeys", items("r")),
    "DefaultCacheBehavior.MinTTL": (f"{LEGACY}.MinTTL", 1),
    "DefaultCacheBehavior.DefaultTTL": (f"{LEGACY}.DefaultTTL", 6),
    "DefaultCacheBehavior.MaxTTL": (f"{LEGACY}.MaxTTL", 11),
    "CacheBehaviors.Items.PathPattern": ("CacheBehaviors.Items[0].PathPattern", "/h/*"),
    "CustomErrorResponses.Items.ErrorCode": ("CustomErrorResponses.Items[0].ErrorCode", 403),
    "CustomErrorResponses.Items.ResponsePagePath": ("CustomErrorResponses.Items[0].ResponsePagePath", "/f"),
    "CustomErrorResponses.Items.ResponseCode": ("CustomErrorResponses.Items[0].ResponseCode", "404"),
    "CustomErrorResponses.Items.ErrorCachingMinTTL": ("CustomErrorResponses.Items[0].ErrorCachingMinTTL", 6),
    "Comment": ("Comment", "another"),
    "PriceClass": ("PriceClass", "PriceClass_100"),
    "Enabled": ("Enabled", False),
    "Restrictions.GeoRestriction.Items": ("Restrictions.GeoRestriction.Items[0]", "FR"),
    "Restrictions.GeoRestriction.RestrictionType": ("Restrictions.GeoRestriction.RestrictionType", "blacklist"),
    "IsIPV6Enabled": ("IsIPV6Enabled", False),
}  # fmt: skip
"""Of each value that is honoured: where it stands in RICH, and another one."""

NAMES = {"CallerReference", "OriginGroups.Items.Id"}
"""What only names something."""


def changed(place: str, value: Any) -> Distribution:
    data = copy.deepcopy(RICH)
    steps = [int(step) if step.isdigit() else step for step in re.findall(r"[A-Za-z0-9]+", place)]
    inside: Any = data
    for step in steps[:-1]:
        inside = inside[step]
    inside[steps[-1]] = value
    return replace(distribution(data), revision="")


@pytest.mark.parametrize("path", sorted(set(honoured(DistributionConfig)) - NAMES))
def test_what_no_note_is_about_makes_a_difference(path: str) -> None:
    """Every value is honoured or named by `check`: one that is neither would fail here."""
    place, value = CHANGES[path]
    assert changed(place, value) != replace(distribution(RICH), revision="")
