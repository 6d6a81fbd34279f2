"""The shape of DistributionConfig, field by field, under CloudFront's own names.

What a single field must be is said here; how fields hang together is checked by `distribution.py`. A field made with
`noted` is accepted but has no effect, or not the whole effect; whoever sets it is told so. Error codes are those
CloudFront answers with (fact sheet 11).
"""

from __future__ import annotations

import re
from typing import Literal

from pydantic import Field, field_validator, model_validator

from edgeproxy.cloudfront.parts import LATER, Listed, Part, Switch, no_items, noted, ranged
from edgeproxy.cloudfront.ttl import YEARS_100

ErrorStatus = Literal[400, 403, 404, 405, 414, 416, 500, 501, 502, 503, 504]
FailoverCode = Literal[400, 403, 404, 416, 429, 500, 502, 503, 504]
Method = Literal["GET", "HEAD", "OPTIONS", "PUT", "POST", "PATCH", "DELETE"]
ViewerEvent = Literal["viewer-request", "viewer-response", "origin-request", "origin-response"]

# Names that a custom header of an origin may not have (fact sheet 1.5).
FORBIDDEN_CUSTOM = frozenset(
    {"cache-control", "connection", "content-length", "cookie", "host", "if-match", "if-modified-since",
     "if-none-match", "if-range", "if-unmodified-since", "max-forwards", "pragma", "proxy-authenticate",
     "proxy-authorization", "proxy-connection", "range", "request-range", "te", "trailer", "transfer-encoding",
     "upgrade", "via", "x-real-ip"}
)  # fmt: skip
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_PATTERN = re.compile(r"[A-Za-z0-9_\-.*$/~\"'@:+&?]+")
_ROOT_OBJECT = re.compile(r"[A-Za-z0-9_\-.*$/~\"'&]*")
_LABEL = r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?"
_ALIAS = re.compile(rf"(\*\.)?{_LABEL}(\.{_LABEL})*")


# Origins --------------------------------------------------------------------------------------------------------------


class CustomHeader(Part):
    """A header field added to every request to an origin."""

    HeaderName: str = Field(max_length=256)
    HeaderValue: str = Field(max_length=1783)

    @field_validator("HeaderName")
    @classmethod
    def _may_be_set(cls, name: str) -> str:
        lower = name.lower()
        if not _TOKEN.fullmatch(name) or lower in FORBIDDEN_CUSTOM or lower.startswith(("x-amz-", "x-edge-")):
            raise ValueError("InvalidArgument: expected a header name that may be set for an origin")
        return name

    @field_validator("HeaderValue")
    @classmethod
    def _one_line(cls, value: str) -> str:
        if not value.isascii() or not value.isprintable():
            raise ValueError("InvalidArgument: expected printable ASCII")
        return value


class S3Settings(Part):
    """What makes an origin an S3 bucket."""

    OriginAccessIdentity: str = noted(f"{LATER}: requests to the bucket are not signed", default="")
    OriginReadTimeout: int = ranged(30, 1, 120, unit="s", code="InvalidOriginReadTimeout")


class Mtls(Part):
    """A client certificate for the origin."""

    ClientCertificateArn: str


class SslProtocols(Listed[Literal["SSLv3", "TLSv1", "TLSv1.1", "TLSv1.2"]]):
    """What may be spoken with an origin; TLS 1.3 always may."""

    def idle(self) -> bool:
        return self.Items == ["TLSv1.2"]


class CustomSettings(Part):
    """A web server. Unlike at CloudFront, any port will do, so that local servers can be origins."""

    HTTPPort: int = ranged(80, 1, 65535, code="InvalidArgument")
    HTTPSPort: int = ranged(443, 1, 65535, code="InvalidArgument")
    OriginProtocolPolicy: Literal["http-only", "https-only", "match-viewer"]
    OriginSslProtocols: SslProtocols | None = noted("accepted, has no effect: TLS 1.2 and 1.3 are spoken with origins")
    OriginReadTimeout: int = ranged(30, 1, 120, unit="s", code="InvalidOriginReadTimeout")
    OriginKeepaliveTimeout: int = ranged(5, 1, 300, unit="s", code="InvalidOriginKeepaliveTimeout")
    IpAddressType: Literal["ipv4", "ipv6", "dualstack"] | None = None
    OriginMtlsConfig: Mtls | None = noted()


class VpcSettings(Part):
    """An origin in a private network of AWS."""

    VpcOriginId: str
    OwnerAccountId: str | None = None
    OriginReadTimeout: int = ranged(30, 1, 120, unit="s", code="InvalidOriginReadTimeout")
    OriginKeepaliveTimeout: int = ranged(5, 1, 300, unit="s", code="InvalidOriginKeepaliveTimeout")


class Shield(Switch):
    """One regional cache in front of the origin. Unlike at CloudFront, it may stand in any region of one's own."""

    OriginShieldRegion: str | None = None

    @model_validator(mode="after")
    def _placed(self) -> Shield:
        region = self.OriginShieldRegion
        if (self.Enabled and not region) or (region and not re.fullmatch(r"[A-Za-z0-9-]{1,32}", region)):
            raise ValueError("InvalidArgument: expected the region of a regional in OriginShieldRegion")
        return self


class Origin(Part):
    """Where content comes from (fact sheet 5.4)."""

    Id: str = Field(min_length=1, max_length=128)
    DomainName: str = Field(min_length=1, max_length=260)
    OriginPath: str = Field("", max_length=255)
    CustomHeaders: Listed[CustomHeader] = no_items()
    S3OriginConfig: S3Settings | None = None
    CustomOriginConfig: CustomSettings | None = None
    VpcOriginConfig: VpcSettings | None = noted(f"{LATER}: the domain name is reached as it resolves")
    ConnectionAttempts: int = ranged(3, 1, 3, code="InvalidArgument")
    ConnectionTimeout: int = ranged(10, 1, 10, unit="s", code="InvalidArgument")
    ResponseCompletionTimeout: int | None = ranged(None, 0, unit="s", code="InvalidArgument")
    OriginShield: Shield | None = None
    OriginAccessControlId: str = noted(f"{LATER}: requests to the origin are not signed", default="")

    @field_validator("OriginPath")
    @classmethod
    def _path(cls, path: str) -> str:
        if path and (not path.startswith("/") or path.endswith("/") or not re.fullmatch(r"[!-~]+", path)):
            raise ValueError("InvalidArgument: expected a path that starts with / and does not end with it")
        if "?" in path or "#" in path:
            raise ValueError("InvalidArgument: expected a path without ? and #")
        return path


class Failover(Part):
    """When the second member of an origin group is asked."""

    StatusCodes: Listed[FailoverCode]

    @field_validator("StatusCodes")
    @classmethod
    def _some(cls, codes: Listed[FailoverCode]) -> Listed[FailoverCode]:
        if not codes.Items or len(set(codes.Items)) != len(codes.Items):
            raise ValueError("InvalidArgument: expected at least one status, each once")
        return codes


class GroupMember(Part):
    """A member of an origin group."""

    OriginId: str


class OriginGroup(Part):
    """Two origins, the second for when the first fails (fact sheet 5.6)."""

    Id: str = Field(min_length=1, max_length=128)
    FailoverCriteria: Failover
    Members: Listed[GroupMember]
    SelectionCriteria: Literal["default", "media-quality-based"] = noted(
        "accepted, has no effect: the first member is always asked first", default="default"
    )

    @field_validator("Members")
    @classmethod
    def _two(cls, members: Listed[GroupMember]) -> Listed[GroupMember]:
        if len(members.Items) != 2:
            raise ValueError("InvalidArgument: expected exactly two members")
        if members.Items[0].OriginId == members.Items[1].OriginId:
            raise ValueError("InvalidArgument: expected two different origins")
        return members


# Behaviours -----------------------------------------------------------------------------------------------------------


class Methods(Listed[Method]):
    """Methods a behaviour takes, and which of them it caches (fact sheet 1.1)."""

    CachedMethods: Listed[Method] | None = None


class Trusted(Listed[str]):
    """Who may sign URLs and cookies."""

    Enabled: bool

    def idle(self) -> bool:
        return not self.Enabled


class LambdaFunctionAssociation(Part):
    """A function run at an event."""

    LambdaFunctionARN: str
    EventType: ViewerEvent
    IncludeBody: bool = False


class FunctionAssociation(Part):
    """A CloudFront function run at an event."""

    FunctionARN: str
    EventType: ViewerEvent


class CookiePreference(Part):
    """Legacy settings for cookies."""

    Forward: Literal["none", "whitelist", "all"]
    WhitelistedNames: Listed[str] = no_items()


class Forwarded(Part):
    """Legacy settings for what is keyed and forwarded (fact sheet 4.9)."""

    QueryString: bool
    Cookies: CookiePreference
    Headers: Listed[str] = no_items()
    QueryStringCacheKeys: Listed[str] = no_items()


UNSIGNED = f"{LATER}: content is served to everybody, without a signature"


class Behavior(Part):
    """What happens to requests (fact sheet 5.1)."""

    TargetOriginId: str
    TrustedSigners: Trusted | None = noted(UNSIGNED)
    TrustedKeyGroups: Trusted | None = noted(UNSIGNED)
    ViewerProtocolPolicy: Literal["allow-all", "https-only", "redirect-to-https"]
    AllowedMethods: Methods | None = None
    SmoothStreaming: bool = noted(default=False)
    Compress: bool = False
    LambdaFunctionAssociations: Listed[LambdaFunctionAssociation] | None = noted(f"{LATER}: functions are not run")
    FunctionAssociations: Listed[FunctionAssociation] | None = noted(f"{LATER}: functions are not run")
    FieldLevelEncryptionId: str = noted(default="")
    RealtimeLogConfigArn: str = noted(default="")
    CachePolicyId: str = ""
    OriginRequestPolicyId: str = ""
    ResponseHeadersPolicyId: str = ""
    GrpcConfig: Switch | None = noted()
    ForwardedValues: Forwarded | None = None
    MinTTL: int | None = ranged(None, 0, YEARS_100, unit="s", code="InvalidArgument")
    DefaultTTL: int | None = ranged(None, 0, YEARS_100, unit="s", code="InvalidArgument")
    MaxTTL: int | None = ranged(None, 0, YEARS_100, unit="s", code="InvalidArgument")


class PathBehavior(Behavior):
    """What happens to requests whose path matches."""

    PathPattern: str

    @field_validator("PathPattern")
    @classmethod
    def _pattern(cls, pattern: str) -> str:
        if not 1 <= len(pattern) <= 255 or not _PATTERN.fullmatch(pattern):
            raise ValueError(
                "InvalidArgument: expected 1 to 255 characters of A-Z a-z 0-9 _ - . * $ / ~ \" ' @ : + & ?"
            )
        return pattern


class CustomErrorResponse(Part):
    """How long an error is cached, and the page shown in its stead (fact sheet 2.8)."""

    ErrorCode: ErrorStatus = Field(json_schema_extra={"code": "InvalidErrorCode"})
    ResponsePagePath: str = ""
    ResponseCode: Literal["", "200", "400", "403", "404", "405", "414", "416", "500", "501", "502", "503", "504"] = (
        Field("", json_schema_extra={"code": "InvalidResponseCode"})
    )
    ErrorCachingMinTTL: int = ranged(10, 0, YEARS_100, unit="s", code="InvalidArgument")

    @model_validator(mode="after")
    def _both(self) -> CustomErrorResponse:
        if bool(self.ResponsePagePath) != bool(self.ResponseCode):
            raise ValueError("InvalidArgument: ResponsePagePath and ResponseCode need each other")
        return self


# The distribution -----------------------------------------------------------------------------------------------------


class Logs(Part):
    """CloudFront's logging to S3."""

    Enabled: bool = False
    IncludeCookies: bool = False
    Bucket: str = ""
    Prefix: str = ""

    def idle(self) -> bool:
        return not self.Enabled


class Certificate(Part):
    """The certificate viewers see."""

    CloudFrontDefaultCertificate: bool = False
    IAMCertificateId: str = ""
    ACMCertificateArn: str = ""
    SSLSupportMethod: Literal["sni-only", "vip", "static-ip"] | None = None
    MinimumProtocolVersion: Literal[
        "SSLv3", "TLSv1", "TLSv1_2016", "TLSv1.1_2016", "TLSv1.2_2018", "TLSv1.2_2019", "TLSv1.2_2021", "TLSv1.2_2025",
        "TLSv1.3_2025",
    ] = "TLSv1"  # fmt: skip
    Certificate: str = ""
    CertificateSource: Literal["cloudfront", "iam", "acm"] | None = None

    def idle(self) -> bool:
        return self.CloudFrontDefaultCertificate


class Geo(Listed[str]):
    """Countries that are served, or not (fact sheet 8.5)."""

    RestrictionType: Literal["none", "blacklist", "whitelist"]

    @model_validator(mode="after")
    def _codes(self) -> Geo:
        if (self.RestrictionType == "none") is bool(self.Items):
            raise ValueError("InvalidGeoRestrictionParameter: expected countries, or none for the type none")
        for code in self.Items:
            if not re.fullmatch("[A-Z]{2}", code):
                raise ValueError(f"InvalidGeoRestrictionParameter: {code[:60]!r} is no code of a country, such as DE")
        return self


class Limits(Part):
    """Who is served."""

    GeoRestriction: Geo


class TextParameter(Part):
    """A parameter of tenants."""

    Comment: str = ""
    DefaultValue: str | None = None
    Required: bool


class ParameterSchema(Part):
    """What a parameter of tenants holds."""

    StringSchema: TextParameter | None = None


class Parameter(Part):
    """A parameter of tenants."""

    Name: str
    Definition: ParameterSchema


class Tenants(Part):
    """Settings of a distribution that many tenants share."""

    ParameterDefinitions: list[Parameter] = Field([])


class TrustStore(Part):
    """Certificate authorities of viewers."""

    TrustStoreId: str
    AdvertiseTrustStoreCaNames: bool = False
    IgnoreCertificateExpiry: bool = False


class ViewerMtls(Part):
    """Certificates of viewers."""

    Mode: Literal["required", "optional", "passthrough"] | None = None
    TrustStoreConfig: TrustStore | None = None


class ConnectionFunction(Part):
    """A function run when a viewer connects."""

    Id: str


class CacheTag(Part):
    """Which response header holds cache tags."""

    HeaderName: str


class DistributionConfig(Part):
    """The whole configuration of a distribution."""

    CallerReference: str
    Aliases: Listed[str] = no_items()
    DefaultRootObject: str = ""
    Origins: Listed[Origin]
    OriginGroups: Listed[OriginGroup] | None = None
    DefaultCacheBehavior: Behavior
    CacheBehaviors: Listed[PathBehavior] = no_items()
    CustomErrorResponses: Listed[CustomErrorResponse] = no_items()
    Comment: str
    Logging: Logs | None = noted("accepted, has no effect: the access log is set in the settings")
    PriceClass: Literal["PriceClass_100", "PriceClass_200", "PriceClass_All", "None"] = "PriceClass_All"
    Enabled: bool
    ViewerCertificate: Certificate | None = noted(
        "accepted, has no effect: certificates are minted or set in the settings, and TLS 1.2 and 1.3 are spoken"
    )
    Restrictions: Limits | None = None
    WebACLId: str = noted(f"{LATER}: requests are not filtered", default="")
    HttpVersion: Literal["http1.1", "http2", "http3", "http2and3"] = noted(
        f"{LATER}: viewers are served over HTTP/1.1", default="http1.1"
    )
    IsIPV6Enabled: bool = True
    ContinuousDeploymentPolicyId: str = noted("counts on nodes that follow a control plane, which has it", default="")
    Staging: bool = noted("is served only for a primary whose continuous deployment policy names it", default=False)
    AnycastIpListId: str = noted(default="")
    TenantConfig: Tenants | None = noted()
    ConnectionMode: Literal["direct", "tenant-only"] = noted(default="direct")
    ViewerMtlsConfig: ViewerMtls | None = noted(f"{LATER}: viewers are not asked for certificates")
    ConnectionFunctionAssociation: ConnectionFunction | None = noted(f"{LATER}: functions are not run")
    CacheTagConfig: CacheTag | None = None

    @field_validator("Aliases")
    @classmethod
    def _host_names(cls, aliases: Listed[str]) -> Listed[str]:
        for alias in aliases.Items:
            if len(alias) > 253 or not _ALIAS.fullmatch(alias):
                raise ValueError(
                    f"InvalidArgument: {alias[:60]!r} is no lower-case host name (* only as the whole first label)"
                )
        return aliases

    @field_validator("DefaultRootObject")
    @classmethod
    def _root_object(cls, name: str) -> str:
        if len(name) > 255 or not _ROOT_OBJECT.fullmatch(name):
            raise ValueError(
                "InvalidDefaultRootObject: expected up to 255 characters of A-Z a-z 0-9 _ - . * $ / ~ \" ' &"
            )
        return name
