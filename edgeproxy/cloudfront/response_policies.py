"""Response headers policies as values: what is wrong with one, what it means, and the managed ones (fact sheet 4.8)."""

from __future__ import annotations

from collections.abc import Iterator

from edgeproxy.cloudfront import response_schema as schema
from edgeproxy.errors import Fault
from edgeproxy.model import AddedField, Cors, ResponsePolicy
from edgeproxy.reading import Document, Location

CUSTOM_MAX = 10
"""Custom headers of a policy (fact sheet 14)."""
ALL_METHODS = ("GET", "HEAD", "OPTIONS", "PUT", "POST", "PATCH", "DELETE")
"""What ALL stands for."""

SECURITY_NAMES = {
    "strict-transport-security": "StrictTransportSecurity",
    "x-content-type-options": "ContentTypeOptions",
    "x-frame-options": "FrameOptions",
    "x-xss-protection": "XSSProtection",
    "referrer-policy": "ReferrerPolicy",
    "content-security-policy": "ContentSecurityPolicy",
}
"""Fields with a place of their own, which a custom header is not."""


def policy_faults(
    document: Document, location: Location, config: schema.ResponseHeadersPolicyConfig
) -> Iterator[Fault]:
    """What is wrong with a policy whose fields are right by themselves."""
    cors = config.CorsConfig
    if cors is not None:
        where: Location = (*location, "CorsConfig")
        any_origin = cors.AccessControlAllowOrigins.Items == ["*"]
        if cors.AccessControlAllowCredentials:
            for name, items in (
                ("AccessControlAllowOrigins", cors.AccessControlAllowOrigins.Items),
                ("AccessControlAllowHeaders", cors.AccessControlAllowHeaders.Items),
                ("AccessControlAllowMethods", cors.AccessControlAllowMethods.Items),
            ):
                if "*" in items or "ALL" in items:
                    yield document.fault(
                        (*where, name, "Items"), "InvalidArgument: names one by one where credentials are allowed"
                    )
        if "*" in cors.AccessControlAllowOrigins.Items and not any_origin:
            yield document.fault(
                (*where, "AccessControlAllowOrigins", "Items"), "InvalidArgument: * allows all others, and stands alone"
            )
    custom = config.CustomHeadersConfig.Items if config.CustomHeadersConfig is not None else []
    place: Location = (*location, "CustomHeadersConfig", "Items")
    if len(custom) > CUSTOM_MAX:
        yield document.fault(place, f"TooManyCustomHeadersInResponseHeadersPolicy: expected up to {CUSTOM_MAX}")
    names = [header.Header.lower() for header in custom]
    for index, name in enumerate(names[: CUSTOM_MAX + 1]):
        if name in names[:index]:
            yield document.fault((*place, index, "Header"), "InvalidArgument: set twice")
        if name in SECURITY_NAMES:
            yield document.fault(
                (*place, index, "Header"), f"InvalidArgument: belongs into SecurityHeadersConfig.{SECURITY_NAMES[name]}"
            )
    removed = config.RemoveHeadersConfig.Items if config.RemoveHeadersConfig is not None else []
    if len(removed) > CUSTOM_MAX:
        yield document.fault(
            (*location, "RemoveHeadersConfig", "Items"),
            f"TooManyRemoveHeadersInResponseHeadersPolicy: expected up to {CUSTOM_MAX}",
        )


def read_policy(id: str, config: schema.ResponseHeadersPolicyConfig, source: str) -> ResponsePolicy:
    """The policy; it has no faults."""
    timing = config.ServerTimingHeadersConfig
    removed = config.RemoveHeadersConfig.Items if config.RemoveHeadersConfig is not None else []
    custom = config.CustomHeadersConfig.Items if config.CustomHeadersConfig is not None else []
    added = [AddedField(each.Header.encode(), each.Value.encode(), each.Override) for each in custom]
    return ResponsePolicy(
        id,
        config.Name,
        removed=frozenset(each.Header.lower().encode() for each in removed),
        cors=None if config.CorsConfig is None else _cors(config.CorsConfig),
        added=(*_security(config.SecurityHeadersConfig or schema.Security()), *added),
        timing=(timing.SamplingRate or 0.0) if timing is not None and timing.Enabled else None,
        source=source,
    )


def _cors(config: schema.Cors) -> Cors:
    methods = config.AccessControlAllowMethods.Items
    exposed = config.AccessControlExposeHeaders
    return Cors(
        origins=tuple(config.AccessControlAllowOrigins.Items),
        headers=tuple(config.AccessControlAllowHeaders.Items),
        methods=ALL_METHODS if "ALL" in methods else tuple(methods),
        exposed=() if exposed is None else tuple(exposed.Items),
        credentials=config.AccessControlAllowCredentials,
        max_age=config.AccessControlMaxAgeSec,
        override=config.OriginOverride,
    )


def _security(config: schema.Security) -> Iterator[AddedField]:
    if (hsts := config.StrictTransportSecurity) is not None:
        value = f"max-age={hsts.AccessControlMaxAgeSec}"
        value += "; includeSubDomains" if hsts.IncludeSubdomains else ""
        value += "; preload" if hsts.Preload else ""
        yield _added("Strict-Transport-Security", value, hsts.Override)
    if (sniffing := config.ContentTypeOptions) is not None:
        yield _added("X-Content-Type-Options", "nosniff", sniffing.Override)
    if (frame := config.FrameOptions) is not None:
        yield _added("X-Frame-Options", frame.FrameOption, frame.Override)
    if (xss := config.XSSProtection) is not None:
        yield _added("X-XSS-Protection", _xss(xss), xss.Override)
    if (referrer := config.ReferrerPolicy) is not None:
        yield _added("Referrer-Policy", referrer.ReferrerPolicy, referrer.Override)
    if (csp := config.ContentSecurityPolicy) is not None:
        yield _added("Content-Security-Policy", csp.ContentSecurityPolicy, csp.Override)


def _xss(config: schema.Xss) -> str:
    if not config.Protection:
        return "0"
    if config.ModeBlock:
        return "1; mode=block"
    return f"1; report={config.ReportUri}" if config.ReportUri else "1"


def _added(name: str, value: str, override: bool) -> AddedField:
    return AddedField(name.encode(), value.encode(), override)


# Managed ones ---------------------------------------------------------------------------------------------------------

_SIMPLE = Cors(("*",), (), (), override=False)
_PREFLIGHT = Cors(
    ("*",), (), ("DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"), exposed=("*",), override=False
)
_SECURITY = (
    _added("Strict-Transport-Security", "max-age=31536000", False),
    _added("X-Content-Type-Options", "nosniff", True),
    _added("X-Frame-Options", "SAMEORIGIN", False),
    _added("X-XSS-Protection", "1; mode=block", False),
    _added("Referrer-Policy", "strict-origin-when-cross-origin", False),
)
RESPONSE_POLICIES = (
    ResponsePolicy("60669652-455b-4ae9-85a4-c4c02393f86c", "SimpleCORS", cors=_SIMPLE),
    ResponsePolicy("5cc3b908-e619-4b99-88e5-2cf7f45965bd", "CORS-With-Preflight", cors=_PREFLIGHT),
    ResponsePolicy("67f7725c-6f97-4210-82d7-5512b31e9d03", "SecurityHeadersPolicy", added=_SECURITY),
    ResponsePolicy(
        "e61eb60c-9c35-4d20-a928-2b84e02af89c", "CORS-and-SecurityHeadersPolicy", cors=_SIMPLE, added=_SECURITY
    ),
    ResponsePolicy(
        "eaab4381-ed33-4a86-88ca-d9558dc6cd63",
        "CORS-with-preflight-and-SecurityHeadersPolicy",
        cors=_PREFLIGHT,
        added=_SECURITY,
    ),
)
"""Those that CloudFront itself offers, as data."""
