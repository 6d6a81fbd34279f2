"""Who may ask what of the control plane: signatures of access keys (SigV4), the key of the tiers, this machine."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import urlsplit

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from edgeproxy.control.refusals import refuse

SKEW_MAX = 300.0
"""Seconds that a client's clock may be off."""
UNSIGNED = "UNSIGNED-PAYLOAD"
NEEDED = {"host"}
"""Fields a signature must cover; x-amz-* and content-type likewise, where they are there."""

_CREDENTIAL = re.compile(r"(?P<id>[!-.0-~]{1,128})/(?P<date>\d{8})/(?P<region>[a-z0-9-]{1,40})/cloudfront/aws4_request")
_AUTHORIZATION = re.compile(
    r"AWS4-HMAC-SHA256 +Credential=(?P<credential>\S+), *SignedHeaders=(?P<signed>[a-z0-9;-]+), *"
    r"Signature=(?P<signature>[0-9a-f]{64})"
)


@dataclass(frozen=True, slots=True)
class Asking:
    """A request, as far as its signature is concerned."""

    method: str
    url: str
    """With scheme and Host, path and query exactly as they came."""
    fields: Mapping[str, str]
    """Found by lower-case name."""
    body: bytes


def check_signature(asking: Asking, keys: Mapping[str, str], now: float) -> None:
    """Refuse a request that no known access key has signed. `keys`: secret by id. Raises Refused."""
    given = asking.fields.get("authorization")
    if given is None:
        refuse("MissingAuthenticationToken", "Request is missing Authentication Token")
    found = _AUTHORIZATION.fullmatch(given.strip())
    credential = _CREDENTIAL.fullmatch(found["credential"]) if found is not None else None
    if found is None or credential is None:
        refuse("IncompleteSignature", "Authorization is no signature of version 4 for the service cloudfront.")
    signed = set(found["signed"].split(";"))
    needed = NEEDED | {name for name in asking.fields if name.startswith("x-amz-") or name == "content-type"}
    if not needed <= signed or not signed <= asking.fields.keys():
        refuse("IncompleteSignature", f"The signature must cover {', '.join(sorted(needed))}.")
    stamp = _timely(asking.fields.get("x-amz-date", ""), credential["date"], now)
    secret = keys.get(credential["id"])
    if secret is None:
        refuse("InvalidClientTokenId", "The security token included in the request is invalid.")
    claimed = asking.fields.get("x-amz-content-sha256")
    if claimed is not None and claimed != hashlib.sha256(asking.body).hexdigest():
        refuse("SignatureDoesNotMatch", "x-amz-content-sha256 is not that of the body.")
    if not hmac.compare_digest(_signature(asking, signed, credential, secret, stamp), found["signature"]):
        refuse(
            "SignatureDoesNotMatch",
            "The request signature we calculated does not match the signature you provided. "
            "Check your AWS Secret Access Key and signing method.",
        )


def _timely(stamp: str, date: str, now: float) -> str:
    try:
        when = datetime.strptime(stamp, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC).timestamp()
    except ValueError:
        refuse("IncompleteSignature", "x-amz-date: expected a time such as 20261120T120000Z")
    if abs(when - now) > SKEW_MAX or not stamp.startswith(date):
        refuse("RequestExpired", "The signature is of another time: check the clock.")
    return stamp


def _signature(asking: Asking, signed: set[str], credential: re.Match[str], secret: str, stamp: str) -> str:
    # The body is hashed here; what a client says of it has been compared already.
    digest = {"x-amz-content-sha256": hashlib.sha256(asking.body).hexdigest()}
    request = AWSRequest(
        asking.method, asking.url, {name: asking.fields[name] for name in signed} | digest, asking.body
    )
    request.context["timestamp"] = stamp
    auth = _Verifying(Credentials(credential["id"], secret), "cloudfront", credential["region"])
    auth.signed = signed
    return str(auth.signature(auth.string_to_sign(request, auth.canonical_request(request)), request))


class _Verifying(SigV4Auth):  # type: ignore[misc]  # botocore has no types
    """botocore's own computation, over the fields that the client says it signed."""

    signed: set[str]

    def headers_to_sign(self, request: AWSRequest) -> Mapping[str, str]:
        every = super().headers_to_sign(request)
        for name in set(every.keys()) - self.signed:
            del every[name]
        return every  # type: ignore[no-any-return]  # botocore has no types


# This machine, and the tiers ------------------------------------------------------------------------------------------


def is_loopback(address: str | None) -> bool:
    """Whether a peer, or a host, is this machine."""
    try:
        return ipaddress.ip_address(address or "").is_loopback
    except ValueError:
        return address == "localhost" or (address or "").endswith(".localhost")


def is_tier(peer: str | None, given: str | None, tier_key: str | None) -> bool:
    """Whether the sender may speak as a node: it knows the key of the tiers; without a key, it is on this machine."""
    if not tier_key:
        return is_loopback(peer)
    return given is not None and hmac.compare_digest(given.encode("utf-8", "replace"), tier_key.encode())


def from_a_page(fields: Mapping[str, str], *, any_host: bool = False) -> bool:
    """Whether a browser asks on behalf of a page elsewhere: with no keys, any page could give orders otherwise.

    A page can have its own host's name lead here. `any_host`: we are known by names as well.
    """
    origin = fields.get("origin")
    if origin is not None and not is_loopback(urlsplit(origin).hostname):
        return True
    host = urlsplit(f"//{fields.get('host', '')}").hostname or ""
    return not any_host and not is_loopback(host) and not _is_address(host)


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
