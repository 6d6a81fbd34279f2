"""CloudFront-* fields: what is made known about a viewer to the key and to the origin (fact sheet 1.9)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import quote

from edgeproxy.cloudfront.devices import device
from edgeproxy.headers import Field, Headers
from edgeproxy.message import Client, RequestHead
from edgeproxy.places.geography import Whereabouts

ORDER_MAX = 7680
"""Characters of CloudFront-Viewer-Header-Order."""
_PRINTABLE = "".join(map(chr, range(0x20, 0x7F)))


@dataclass(frozen=True, slots=True)
class Viewer:
    """What the fields are made of. `received` are the fields as they came."""

    request: RequestHead
    client: Client
    place: Whereabouts
    received: Headers


Make = Callable[[Viewer], str | None]


def _truth(name: str) -> Make:
    return lambda viewer: "true" if getattr(device(viewer.request.headers.get(b"user-agent")), name) else "false"


def _place(name: str) -> Make:
    return lambda viewer: quote(getattr(viewer.place, name), safe=_PRINTABLE) or None


def _degrees(name: str) -> Make:
    def make(viewer: Viewer) -> str | None:
        value = getattr(viewer.place, name)
        return None if value is None else f"{value:.5f}"

    return make


def _tls(viewer: Viewer) -> str | None:
    """Protocol, cipher, and how the session came about: that a connection was used before is not told apart here."""
    client = viewer.client
    if client.tls_protocol is None:
        return None
    return f"{client.tls_protocol}:{client.tls_cipher}:{'sessionResumed' if client.tls_resumed else 'fullHandshake'}"


def _order(viewer: Viewer) -> str:
    return b":".join(name for name, _ in viewer.received).decode("latin-1")[:ORDER_MAX]


_MAKERS: dict[str, Make] = {
    "CloudFront-Forwarded-Proto": lambda viewer: viewer.request.scheme,
    "CloudFront-Is-Android-Viewer": _truth("android"),
    "CloudFront-Is-Desktop-Viewer": _truth("desktop"),
    "CloudFront-Is-IOS-Viewer": _truth("ios"),
    "CloudFront-Is-Mobile-Viewer": _truth("mobile"),
    "CloudFront-Is-SmartTV-Viewer": _truth("tv"),
    "CloudFront-Is-Tablet-Viewer": _truth("tablet"),
    "CloudFront-Viewer-Address": lambda viewer: f"{viewer.client.address}:{viewer.client.port}",
    "CloudFront-Viewer-ASN": lambda viewer: None if viewer.place.asn is None else str(viewer.place.asn),
    "CloudFront-Viewer-City": _place("city"),
    "CloudFront-Viewer-Country": _place("country"),
    "CloudFront-Viewer-Country-Name": _place("country_name"),
    "CloudFront-Viewer-Country-Region": _place("region"),
    "CloudFront-Viewer-Country-Region-Name": _place("region_name"),
    "CloudFront-Viewer-Header-Count": lambda viewer: str(len(viewer.received)),
    "CloudFront-Viewer-Header-Order": _order,
    "CloudFront-Viewer-Http-Version": lambda viewer: viewer.request.version,
    "CloudFront-Viewer-Latitude": _degrees("latitude"),
    "CloudFront-Viewer-Longitude": _degrees("longitude"),
    "CloudFront-Viewer-Metro-Code": lambda viewer: (viewer.place.country == "US" and viewer.place.metro_code) or None,
    "CloudFront-Viewer-Postal-Code": _place("postal_code"),
    "CloudFront-Viewer-Time-Zone": _place("time_zone"),
    "CloudFront-Viewer-TLS": _tls,
}

NOT_MADE = frozenset({b"cloudfront-viewer-ja3-fingerprint", b"cloudfront-viewer-ja4-fingerprint"})
"""Need the bytes of the TLS handshake, which are not seen here."""
ABOUT_ERRORS = frozenset({b"cloudfront-error-uri", b"cloudfront-error-args"})
"""On the request for an error's page alone (see `error_fields`)."""
MADE = {name.lower().encode(): (name.encode(), make) for name, make in _MAKERS.items()}
KNOWN = frozenset({*MADE, *NOT_MADE, *ABOUT_ERRORS})
"""Every such field there is, in lower case."""

ONLY_SENT = frozenset({b"cloudfront-viewer-address", b"cloudfront-viewer-asn", b"cloudfront-viewer-tls", *NOT_MADE})
"""May be sent to the origin, but not be part of the key."""

BY_EXCEPTION = frozenset(MADE) - {b"cloudfront-viewer-header-order", b"cloudfront-viewer-header-count"}
"""What an origin request policy adds that forwards all but some fields: as the managed AllViewerExceptHostHeader does
(fact sheet 4.7), since in the API it is such a policy and nothing else (inferred)."""

DEVICES = frozenset(name for name in MADE if name.startswith(b"cloudfront-is-"))


def with_viewer_fields(head: RequestHead, wanted: frozenset[bytes], viewer: Viewer) -> RequestHead:
    """The request with the wanted fields made anew; a viewer's own copies go, made or not."""
    made = Headers(field for name in sorted(wanted) if (field := viewer_field(name, viewer)) is not None)
    return head.with_headers(head.headers.without(wanted).plus(*made))


def viewer_field(name: bytes, viewer: Viewer) -> Field | None:
    """One of the fields (name in lower case), None where there is nothing to say."""
    if name not in MADE:
        return None
    spelled, make = MADE[name]
    value = make(viewer)
    return (spelled, value.encode("latin-1")) if value is not None else None


def error_fields(wanted: frozenset[bytes], request: RequestHead) -> list[Field]:
    """What the request for an error's page tells of the request that failed, where a policy asks for it."""
    fields = []
    if b"cloudfront-error-uri" in wanted:
        fields.append((b"CloudFront-Error-Uri", request.path))
    if b"cloudfront-error-args" in wanted and request.query is not None:
        fields.append((b"CloudFront-Error-Args", request.query))
    return fields
