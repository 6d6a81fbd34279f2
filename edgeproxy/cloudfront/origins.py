"""Origins of a DistributionConfig (fact sheet 5.4, 5.5): what is wrong with one, and what it means.

Two things are looser than at CloudFront, for local servers: any port will do, and a domain name may be an address and
may be followed by a port.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from edgeproxy.cloudfront import schema
from edgeproxy.cloudfront.addresses import Endpoint, host_and_port, s3_region
from edgeproxy.errors import Fault
from edgeproxy.model import Origin, OriginKind, OriginScheme
from edgeproxy.reading import Document, Location

CUSTOM_HEADERS_MAX = 30
CUSTOM_HEADER_BYTES_MAX = 10_240
"""Quotas of fact sheet 14."""


def origin_faults(document: Document, where: Location, origin: schema.Origin) -> Iterator[Fault]:
    """What is wrong with an origin whose fields are right by themselves."""
    try:
        host_and_port(origin.DomainName)
    except ValueError:
        yield document.fault(
            (*where, "DomainName"), "InvalidOrigin: expected a host name or an address, a port may follow"
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
