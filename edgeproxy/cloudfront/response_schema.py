"""The shape of response headers policies, field by field, under CloudFront's own names (fact sheet 4.8)."""

from __future__ import annotations

import re
from typing import Literal

from pydantic import Field, field_validator, model_validator

from edgeproxy.cloudfront.parts import Listed, Part, ranged

CorsMethod = Literal["GET", "POST", "OPTIONS", "PUT", "DELETE", "PATCH", "HEAD", "ALL"]

CSP_MAX = 1783
"""Characters of a Content-Security-Policy, and of a custom header's value."""

UNREMOVABLE = frozenset(
    {"connection", "content-encoding", "content-length", "expect", "host", "keep-alive", "proxy-authenticate",
     "proxy-authorization", "proxy-connection", "trailer", "transfer-encoding", "upgrade", "via", "warning",
     "x-accel-buffering", "x-accel-charset", "x-accel-limit-rate", "x-accel-redirect", "x-amzn-auth",
     "x-amzn-cf-billing", "x-amzn-cf-id", "x-amzn-cf-xff", "x-amzn-errortype", "x-amzn-fle-profile",
     "x-amzn-header-count", "x-amzn-header-order", "x-amzn-lambda-integration-tag", "x-amzn-requestid",
     "x-forwarded-proto", "x-real-ip"}
)  # fmt: skip
"""X-Cache was among them until 2026 and is not any more."""
_UNREMOVABLE_PREFIXES = ("x-amz-cf-", "x-edge-")

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_ORIGIN = re.compile(r"(https?://)?(?:\*\.)?[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*(:[0-9*]{1,5})?|(https?://)?\*")
_ONE_LINE = re.compile(r"[\x20-\x7e\t]*")


def is_token(name: str) -> bool:
    """Whether this can be a field's name."""
    return bool(_TOKEN.fullmatch(name))


def _line(value: str) -> str:
    if not _ONE_LINE.fullmatch(value):
        raise ValueError("InvalidArgument: expected printable ASCII")
    return value


class Cors(Part):
    """CORS."""

    AccessControlAllowOrigins: Listed[str]
    AccessControlAllowHeaders: Listed[str]
    AccessControlAllowMethods: Listed[CorsMethod]
    AccessControlAllowCredentials: bool
    AccessControlExposeHeaders: Listed[str] | None = None
    AccessControlMaxAgeSec: int | None = ranged(None, 0, 2**31 - 1, unit="s", code="InvalidArgument")
    OriginOverride: bool

    @field_validator("AccessControlAllowOrigins")
    @classmethod
    def _patterns(cls, origins: Listed[str]) -> Listed[str]:
        for origin in origins.Items:
            if len(origin) > 300 or not _ORIGIN.fullmatch(origin):
                raise ValueError(
                    f"InvalidArgument: {origin[:60]!r} is no origin, such as https://*.example.com or example.com:8080"
                )
        return origins

    @field_validator("AccessControlAllowHeaders", "AccessControlExposeHeaders")
    @classmethod
    def _names(cls, names: Listed[str] | None) -> Listed[str] | None:
        for name in names.Items if names is not None else ():
            if not is_token(name):
                raise ValueError(f"InvalidArgument: {name[:60]!r} is no header name")
        return names

    @model_validator(mode="after")
    def _filled(self) -> Cors:
        if not (self.AccessControlAllowOrigins.Items and self.AccessControlAllowMethods.Items):
            raise ValueError("InvalidArgument: expected at least one origin and one method")
        return self


class Xss(Part):
    """X-XSS-Protection."""

    Override: bool
    Protection: bool
    ModeBlock: bool = False
    ReportUri: str = ""

    @model_validator(mode="after")
    def _one(self) -> Xss:
        _line(self.ReportUri)
        if self.ModeBlock and self.ReportUri:
            raise ValueError("InvalidArgument: ModeBlock and ReportUri exclude each other")
        if not self.Protection and (self.ModeBlock or self.ReportUri):
            raise ValueError("InvalidArgument: ModeBlock and ReportUri need Protection")
        return self


class Frame(Part):
    """X-Frame-Options."""

    Override: bool
    FrameOption: Literal["DENY", "SAMEORIGIN"]


class Referrer(Part):
    """Referrer-Policy."""

    Override: bool
    ReferrerPolicy: Literal[
        "no-referrer", "no-referrer-when-downgrade", "origin", "origin-when-cross-origin", "same-origin",
        "strict-origin", "strict-origin-when-cross-origin", "unsafe-url",
    ]  # fmt: skip


class Csp(Part):
    """Content-Security-Policy."""

    Override: bool
    ContentSecurityPolicy: str = Field(min_length=1)

    @field_validator("ContentSecurityPolicy")
    @classmethod
    def _short(cls, policy: str) -> str:
        if len(policy) > CSP_MAX:
            raise ValueError(f"TooLongCSPInResponseHeadersPolicy: expected up to {CSP_MAX} characters")
        return _line(policy)


class Sniffing(Part):
    """X-Content-Type-Options, whose only value is nosniff."""

    Override: bool


class Hsts(Part):
    """Strict-Transport-Security."""

    Override: bool
    IncludeSubdomains: bool = False
    Preload: bool = False
    AccessControlMaxAgeSec: int = ranged(..., 0, 2**31 - 1, unit="s", code="InvalidArgument")


class Security(Part):
    """Security headers."""

    XSSProtection: Xss | None = None
    FrameOptions: Frame | None = None
    ReferrerPolicy: Referrer | None = None
    ContentSecurityPolicy: Csp | None = None
    ContentTypeOptions: Sniffing | None = None
    StrictTransportSecurity: Hsts | None = None


class Timing(Part):
    """Server-Timing."""

    Enabled: bool
    SamplingRate: float | None = Field(None, ge=0, le=100, json_schema_extra={"unit": "%", "code": "InvalidArgument"})

    @field_validator("SamplingRate")
    @classmethod
    def _decimals(cls, rate: float | None) -> float | None:
        if rate is not None and round(rate, 4) != rate:
            raise ValueError("InvalidArgument: expected up to four decimals")
        return rate


class CustomHeader(Part):
    """A field of the distribution's own. Its value may be empty."""

    Header: str = Field(max_length=256)
    Value: str = Field(max_length=CSP_MAX)
    Override: bool

    @field_validator("Header")
    @classmethod
    def _name(cls, name: str) -> str:
        if not is_token(name):
            raise ValueError("InvalidArgument: expected a header name")
        return name

    @field_validator("Value")
    @classmethod
    def _value(cls, value: str) -> str:
        return _line(value)


class RemovedHeader(Part):
    """A field taken out of the origin's answer."""

    Header: str = Field(max_length=256)

    @field_validator("Header")
    @classmethod
    def _removable(cls, name: str) -> str:
        lower = name.lower()
        if not is_token(name) or lower in UNREMOVABLE or lower.startswith(_UNREMOVABLE_PREFIXES):
            raise ValueError("InvalidArgument: expected the name of a header that can be removed")
        return name


class ResponseHeadersPolicyConfig(Part):
    """A response headers policy."""

    Comment: str = ""
    Name: str = Field(min_length=1, max_length=128)
    CorsConfig: Cors | None = None
    SecurityHeadersConfig: Security | None = None
    ServerTimingHeadersConfig: Timing | None = None
    CustomHeadersConfig: Listed[CustomHeader] | None = None
    RemoveHeadersConfig: Listed[RemovedHeader] | None = None
