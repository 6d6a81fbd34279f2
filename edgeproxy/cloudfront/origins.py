"""Origins of a DistributionConfig (fact sheet 5.4, 5.5): what is wrong with one, and what it means.

Two things are looser than at CloudFront, for local servers: any port will do, and a domain name may be an address and
may be followed by a port.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from edgeproxy.cloudfront import schema
from edgeproxy.cloudfront.addresses import Endpoint, HostKind, host_and_port, host_kind, is_host_name, s3_region
from edgeproxy.errors import Fault
from edgeproxy.model import Origin, OriginKind, OriginScheme
from edgeproxy.reading import Document, Location, Note

CUSTOM_HEADERS_MAX = 30
CUSTOM_HEADER_BYTES_MAX = 10_240
"""Quotas of fact sheet 14."""

SHIELD_REGIONS = frozenset(
    {"us-east-1", "us-east-2", "us-west-2", "ap-south-1", "ap-northeast-1", "ap-northeast-2", "ap-southeast-1",
     "ap-southeast-2", "eu-central-1", "eu-west-1", "eu-west-2", "sa-east-1", "me-central-1"}
)  # fmt: skip
"""Where CloudFront has Origin Shield (fact sheet 6)."""


def origin_faults(document: Document, where: Location, origin: schema.Origin) -> Iterator[Fault]:
    """What is wrong with an origin whose fields are right by themselves."""
    try:
        host_and_port(origin.DomainName)
    except ValueError:
        yield document.fault(
            (*where, "DomainName"), "InvalidOrigin: expected a host name or an address, a port may follow"
        )
    if origin.S3OriginConfig is not None and host_kind(origin.DomainName.lower()) is HostKind.S3_WEBSITE:
        yield document.fault(
            (*where, "DomainName"), "InvalidOrigin: a website endpoint is a web server: CustomOriginConfig"
        )
    kinds = [kind for kind in (origin.S3OriginConfig, origin.CustomOriginConfig, origin.VpcOriginConfig) if kind]
    if len(kinds) != 1:
        yield document.fault(
            where, "InvalidOrigin: expected one of S3OriginConfig, CustomOriginConfig, VpcOriginConfig"
        )
    elif origin.ResponseCompletionTimeout and origin.ResponseCompletionTimeout < kinds[0].OriginReadTimeout:
        yield document.fault(
            (*where, "ResponseCompletionTimeout"), "InvalidArgument: expected no less than OriginReadTimeout"
        )
    headers = origin.CustomHeaders.Items
    names = [header.HeaderName.lower() for header in headers]
    place = (*where, "CustomHeaders", "Items")
    if len(headers) > CUSTOM_HEADERS_MAX:
        yield document.fault(place, f"TooManyOriginCustomHeaders: expected up to {CUSTOM_HEADERS_MAX}")
    if sum(len(header.HeaderName) + len(header.HeaderValue) for header in headers) > CUSTOM_HEADER_BYTES_MAX:
        yield document.fault(place, f"InvalidArgument: expected up to {CUSTOM_HEADER_BYTES_MAX} characters in all")
    for index, name in enumerate(names):
        if name in names[:index]:
            yield document.fault((*place, index, "HeaderName"), "InvalidArgument: set twice")


def origin_notes(document: Document, where: Location, origin: schema.Origin) -> Iterator[Note]:
    """What will not work with an origin of its kind, as its host name tells (fact sheet 5.5)."""
    host, port = host_and_port(origin.DomainName)
    kind = host_kind(host)
    custom = origin.CustomOriginConfig
    if kind is HostKind.S3_WEBSITE and custom is not None and custom.OriginProtocolPolicy != "http-only":
        yield document.note(
            (*where, "CustomOriginConfig", "OriginProtocolPolicy"), "an S3 website speaks HTTP only, on port 80"
        )
    if kind is HostKind.S3 and custom is not None:
        yield document.note(where, "is a bucket, but treated as any web server: S3OriginConfig would make it one")
    if origin.S3OriginConfig is not None and kind is not HostKind.S3 and port is None and is_host_name(host):
        yield document.note(
            (*where, "DomainName"),
            "is no bucket's host name (BUCKET.s3.REGION.amazonaws.com), which CloudFront expects",
        )
    if kind is HostKind.LAMBDA_URL:
        yield document.note(
            (*where, "DomainName"), "is a Lambda URL: with PUT and POST viewers have to send x-amz-content-sha256"
        )
    shield = origin.OriginShield
    if shield is not None and shield.Enabled and shield.OriginShieldRegion not in SHIELD_REGIONS:
        yield document.note((*where, "OriginShield", "OriginShieldRegion"), "is no region where CloudFront has shields")


def read_origin(part: schema.Origin, redirects: Mapping[str, Endpoint]) -> Origin:
    """The origin, reached where `redirects` say, under its own name."""
    host, port = host_and_port(part.DomainName)
    common = Origin(
        id=part.Id,
        host=host,
        path=part.OriginPath,
        custom_headers=tuple((h.HeaderName.encode(), h.HeaderValue.encode()) for h in part.CustomHeaders.Items),
        connection_attempts=part.ConnectionAttempts,
        connect_timeout=part.ConnectionTimeout,
        completion_timeout=part.ResponseCompletionTimeout or None,
        shield=part.OriginShield.OriginShieldRegion
        if part.OriginShield is not None and part.OriginShield.Enabled
        else None,
    )
    origin = _of_its_kind(common, part)
    if port is not None:
        origin = replace(origin, http_port=port, https_port=port)
        if origin.kind is OriginKind.S3:  # a local stand-in for S3, which cannot speak both protocols on one port
            origin = replace(origin, scheme=OriginScheme.HTTP)
    return _redirected(origin, redirects[host]) if host in redirects else origin


def _of_its_kind(origin: Origin, part: schema.Origin) -> Origin:
    if part.S3OriginConfig is not None:
        return replace(
            origin,
            kind=OriginKind.S3,
            region=s3_region(origin.host),
            scheme=OriginScheme.MATCH_VIEWER,
            read_timeout=part.S3OriginConfig.OriginReadTimeout,
        )
    if part.CustomOriginConfig is not None:
        custom = part.CustomOriginConfig
        return replace(
            origin,
            scheme=OriginScheme(custom.OriginProtocolPolicy),
            http_port=custom.HTTPPort,
            https_port=custom.HTTPSPort,
            read_timeout=custom.OriginReadTimeout,
            keepalive_timeout=custom.OriginKeepaliveTimeout,
        )
    if part.VpcOriginConfig is not None:
        vpc = part.VpcOriginConfig
        return replace(origin, read_timeout=vpc.OriginReadTimeout, keepalive_timeout=vpc.OriginKeepaliveTimeout)
    return origin


def _redirected(origin: Origin, to: Endpoint) -> Origin:
    return replace(
        origin,
        host=to.host,
        scheme=to.scheme,
        http_port=to.port,
        https_port=to.port,
        host_header=origin.host,
    )
