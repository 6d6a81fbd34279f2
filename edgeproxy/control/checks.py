"""What must hold for things that no node reads by itself: keys and their groups, identities, access controls, and
continuous deployment (fact sheet 8.1, 11)."""

from __future__ import annotations

import re

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from edgeproxy.control.kinds import (
    ACCESS_CONTROL,
    CONTINUOUS_DEPLOYMENT,
    DISTRIBUTION,
    KEY_GROUP,
    PUBLIC_KEY,
    Kind,
)
from edgeproxy.control.refusals import refuse
from edgeproxy.control.state import Resource, State, kind_of
from edgeproxy.feed import Json

KEYS_PER_GROUP_MAX = 5
WEIGHT_MAX = 0.15
STICKY_SECONDS = range(300, 3601)
HEADER_PREFIX = "aws-cf-cd-"
_HEADER = HEADER_PREFIX + r"[!#$%&'*+.^_`|~0-9a-z-]{1,246}"

_ACCESS_CONTROL = {
    "SigningProtocol": ("sigv4",),
    "SigningBehavior": ("never", "always", "no-override"),
    "OriginAccessControlOriginType": ("s3", "mediastore", "mediapackagev2", "lambda"),
}


def plain(state: State, resource: Resource) -> None:
    """What is wrong with a key, a group of keys, an access control or an identity."""
    kind, config = kind_of(resource), resource.config
    if kind is PUBLIC_KEY:
        _public_key(config)
    elif kind is KEY_GROUP:
        _key_group(state, config)
    elif kind is ACCESS_CONTROL:
        for field, allowed in _ACCESS_CONTROL.items():
            if config[field] not in allowed:
                refuse("InvalidArgument", f"{field} is {config[field][:60]!r}: expected one of {', '.join(allowed)}")
    _named_well(kind, config)


def _named_well(kind: Kind, config: Json) -> None:
    name = config.get("Name", "name")
    if not re.fullmatch(r"[ -~]{1,128}", name):
        refuse("InvalidArgument", "Name: expected 1 to 128 printable characters")
    comment = config.get("Comment") or config.get("Description") or ""
    if len(comment) > 256 and kind is not KEY_GROUP:
        refuse("InvalidArgument", "Comment: expected up to 256 characters")


def _public_key(config: Json) -> None:
    """RSA of 2048 bits, or ECDSA on P-256 (fact sheet 8.1)."""
    try:
        key = load_pem_public_key(config["EncodedKey"].strip().encode() + b"\n")
    except (ValueError, UnsupportedAlgorithm):
        refuse("InvalidArgument", "Your request contains invalid parameters: EncodedKey is no public key in PEM")
    right = isinstance(key, rsa.RSAPublicKey) and key.key_size == 2048
    if not right and not (isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, ec.SECP256R1)):
        refuse("InvalidArgument", "EncodedKey: expected an RSA key of 2048 bits, or an ECDSA key on P-256")


def _key_group(state: State, config: Json) -> None:
    keys = config["Items"]
    if not keys:
        refuse("InvalidArgument", "A key group holds at least one public key.")
    if len(keys) > KEYS_PER_GROUP_MAX:
        refuse("TooManyPublicKeysInKeyGroup", f"A key group holds up to {KEYS_PER_GROUP_MAX} public keys.")
    for id in keys:
        if state.find(PUBLIC_KEY, id) is None:
            refuse("NoSuchPublicKey", f"The specified public key does not exist: {id[:60]}")


# Continuous deployment ------------------------------------------------------------------------------------------------


def continuous_deployment(state: State, policy: Resource) -> None:
    """What is wrong with a continuous deployment policy."""
    names = policy.config["StagingDistributionDnsNames"]
    items = names.get("Items", [])
    if names["Quantity"] != len(items):
        refuse("InconsistentQuantities", "StagingDistributionDnsNames: Quantity is not the number of Items")
    if len(items) > 1 or (policy.config["Enabled"] and not items):
        refuse("InvalidArgument", "StagingDistributionDnsNames: expected one staging distribution")
    staging = {
        state.domain(each.id): each.id for each in state.of_kind(DISTRIBUTION) if each.config.get("Staging") is True
    }
    for name in items:
        if name not in staging:
            refuse("InvalidArgument", f"{name[:80]!r} is not the domain name of a staging distribution.")
        for other in state.of_kind(CONTINUOUS_DEPLOYMENT):
            if other.id != policy.id and name in other.config["StagingDistributionDnsNames"].get("Items", ()):
                refuse("StagingDistributionInUse", f"Another policy uses {name}.")
    traffic = policy.config.get("TrafficConfig")
    if traffic is not None:
        _traffic(traffic)
    elif policy.config["Enabled"]:
        refuse("InvalidArgument", "TrafficConfig: expected where the policy is enabled")


def _traffic(traffic: Json) -> None:
    weight, header = traffic.get("SingleWeightConfig"), traffic.get("SingleHeaderConfig")
    kind = traffic["Type"]
    if kind not in ("SingleWeight", "SingleHeader"):
        refuse("InvalidArgument", "TrafficConfig.Type: expected SingleWeight or SingleHeader")
    if (weight is not None) is not (kind == "SingleWeight") or (header is not None) is not (kind == "SingleHeader"):
        refuse("InvalidArgument", f"TrafficConfig: expected {kind}Config, and no other one")
    if header is not None and not re.fullmatch(_HEADER, header["Header"].lower()):
        refuse("InvalidArgument", f"SingleHeaderConfig.Header: expected a name that starts with {HEADER_PREFIX}")
    if header is not None and not re.fullmatch(r"[ -~]{1,1783}", header["Value"]):
        refuse("InvalidArgument", "SingleHeaderConfig.Value: expected printable ASCII")
    if weight is not None:
        if not 0 <= weight["Weight"] <= WEIGHT_MAX:
            refuse("InvalidArgument", f"SingleWeightConfig.Weight: expected 0 to {WEIGHT_MAX}")
        _sticky(weight.get("SessionStickinessConfig"))


def _sticky(sessions: Json | None) -> None:
    if sessions is None:
        return
    idle, most = sessions["IdleTTL"], sessions["MaximumTTL"]
    if idle not in STICKY_SECONDS or most not in STICKY_SECONDS or idle > most:
        refuse("InvalidArgument", "SessionStickinessConfig: expected 300 <= IdleTTL <= MaximumTTL <= 3600")


def staging_fits(state: State, resource: Resource) -> None:
    """What is wrong between a distribution and the continuous deployment policy it has."""
    id = resource.config.get("ContinuousDeploymentPolicyId")
    if not id:
        return
    if resource.config.get("Staging"):
        refuse("InvalidArgument", "A staging distribution has no continuous deployment policy.")
    if resource.config.get("HttpVersion") in ("http3", "http2and3"):
        refuse("InvalidArgument", "Continuous deployment and HTTP/3 exclude each other.")
    for other in state.of_kind(DISTRIBUTION):
        if other.id != resource.id and other.config.get("ContinuousDeploymentPolicyId") == id:
            refuse("ContinuousDeploymentPolicyInUse", f"{other.id} has this policy.")


def may_be_deleted(state: State, resource: Resource) -> None:
    """Only a disabled distribution may be, that all nodes know to be disabled, and that no policy sends traffic to."""
    if resource.config.get("Enabled") is not False or not state.deployed(resource):
        refuse(
            "DistributionNotDisabled",
            "The distribution you are trying to delete has not been disabled"
            + ("." if resource.config.get("Enabled") else " everywhere yet."),
        )
    domain = state.domain(resource.id)
    for policy in state.of_kind(CONTINUOUS_DEPLOYMENT):
        if domain in policy.config["StagingDistributionDnsNames"].get("Items", ()):
            refuse("StagingDistributionInUse", f"The continuous deployment policy {policy.id} uses it.")
