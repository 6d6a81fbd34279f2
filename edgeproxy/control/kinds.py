"""The kinds of things that CloudFront's API keeps, as a table: what they are called, what makes them unique, how many
there may be (fact sheet 11 and 14), and which of them a configuration names."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from edgeproxy.feed import Json


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind. Its operations are Create, Get, Get…Config, Update, Delete with `name`, and List with `plural`."""

    name: str
    plural: str
    exists: str
    """Error code of a second one."""
    missing: str
    in_use: str
    too_many: str
    quota: int
    unique: str = "Name"
    """Which field of its configuration no other one may share."""
    prefix: str = ""
    """Of its ids; none: they are UUIDs."""
    fixed: tuple[str, ...] = ()
    """Fields an update may not change."""
    fixed_code: str = "IllegalUpdate"

    @property
    def config(self) -> str:
        """The element that holds its configuration."""
        return f"{self.name}Config"


DISTRIBUTION = Kind(
    "Distribution", "Distributions", "DistributionAlreadyExists", "NoSuchDistribution", "ResourceInUse",
    "TooManyDistributions", 500, "CallerReference", "E", ("CallerReference", "Staging"),
)  # fmt: skip
CACHE_POLICY = Kind(
    "CachePolicy", "CachePolicies", "CachePolicyAlreadyExists", "NoSuchCachePolicy", "CachePolicyInUse",
    "TooManyCachePolicies", 20,
)  # fmt: skip
ORIGIN_REQUEST_POLICY = Kind(
    "OriginRequestPolicy", "OriginRequestPolicies", "OriginRequestPolicyAlreadyExists", "NoSuchOriginRequestPolicy",
    "OriginRequestPolicyInUse", "TooManyOriginRequestPolicies", 20,
)  # fmt: skip
RESPONSE_HEADERS_POLICY = Kind(
    "ResponseHeadersPolicy", "ResponseHeadersPolicies", "ResponseHeadersPolicyAlreadyExists",
    "NoSuchResponseHeadersPolicy", "ResponseHeadersPolicyInUse", "TooManyResponseHeadersPolicies", 20,
)  # fmt: skip
ACCESS_CONTROL = Kind(
    "OriginAccessControl", "OriginAccessControls", "OriginAccessControlAlreadyExists", "NoSuchOriginAccessControl",
    "OriginAccessControlInUse", "TooManyOriginAccessControls", 100, prefix="E",
)  # fmt: skip
ACCESS_IDENTITY = Kind(
    "CloudFrontOriginAccessIdentity", "CloudFrontOriginAccessIdentities", "CloudFrontOriginAccessIdentityAlreadyExists",
    "NoSuchCloudFrontOriginAccessIdentity", "CloudFrontOriginAccessIdentityInUse",
    "TooManyCloudFrontOriginAccessIdentities", 100, "CallerReference", "E", ("CallerReference",),
)  # fmt: skip
PUBLIC_KEY = Kind(
    "PublicKey", "PublicKeys", "PublicKeyAlreadyExists", "NoSuchPublicKey", "PublicKeyInUse", "TooManyPublicKeys", 50,
    "CallerReference", "K", ("CallerReference", "EncodedKey", "Name"), "CannotChangeImmutablePublicKeyFields",
)  # fmt: skip
KEY_GROUP = Kind(
    "KeyGroup", "KeyGroups", "KeyGroupAlreadyExists", "NoSuchResource", "ResourceInUse",
    "TooManyKeyGroupsAssociatedToDistribution", 10,
)  # fmt: skip
CONTINUOUS_DEPLOYMENT = Kind(
    "ContinuousDeploymentPolicy", "ContinuousDeploymentPolicies", "ContinuousDeploymentPolicyAlreadyExists",
    "NoSuchContinuousDeploymentPolicy", "ContinuousDeploymentPolicyInUse", "TooManyContinuousDeploymentPolicies", 20,
    unique="",
)  # fmt: skip

KINDS = {
    kind.name: kind
    for kind in (
        DISTRIBUTION,
        CACHE_POLICY,
        ORIGIN_REQUEST_POLICY,
        RESPONSE_HEADERS_POLICY,
        ACCESS_CONTROL,
        ACCESS_IDENTITY,
        PUBLIC_KEY,
        KEY_GROUP,
        CONTINUOUS_DEPLOYMENT,
    )
}
POLICIES = (CACHE_POLICY, ORIGIN_REQUEST_POLICY, RESPONSE_HEADERS_POLICY)
"""Those of which CloudFront itself offers some."""

_NAMED = {
    "CachePolicyId": CACHE_POLICY,
    "OriginRequestPolicyId": ORIGIN_REQUEST_POLICY,
    "ResponseHeadersPolicyId": RESPONSE_HEADERS_POLICY,
    "OriginAccessControlId": ACCESS_CONTROL,
    "ContinuousDeploymentPolicyId": CONTINUOUS_DEPLOYMENT,
}
NO_SUCH = {KEY_GROUP: "TrustedKeyGroupDoesNotExist", ACCESS_IDENTITY: "InvalidOriginAccessIdentity"}
"""Codes for a reference to what does not exist, where it is not the kind's own."""
IDENTITY_PREFIX = "origin-access-identity/cloudfront/"


def named(config: Json) -> Iterator[tuple[Kind, str]]:
    """What a distribution's configuration refers to: kind and id. Managed policies are among them."""
    stack: list[Any] = [config]  # Any: JSON
    while stack:
        value = stack.pop()
        if isinstance(value, list):
            stack += value
        elif isinstance(value, dict):
            stack += value.values()
            for field, kind in _NAMED.items():
                if isinstance(value.get(field), str) and value[field]:
                    yield kind, value[field]
            groups = value.get("TrustedKeyGroups")
            if isinstance(groups, dict):
                yield from ((KEY_GROUP, id) for id in groups.get("Items", ()))
            identity = value.get("OriginAccessIdentity")
            if isinstance(identity, str) and identity:
                yield ACCESS_IDENTITY, identity.removeprefix(IDENTITY_PREFIX)
