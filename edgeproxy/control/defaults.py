"""What CloudFront fills in where a configuration says nothing. Clients rely on these blocks being there."""

from __future__ import annotations

from edgeproxy.feed import Json

_NONE: Json = {"Quantity": 0}
_NOBODY: Json = {"Enabled": False, "Quantity": 0}

_DISTRIBUTION: Json = {
    "Aliases": _NONE,
    "DefaultRootObject": "",
    "OriginGroups": _NONE,
    "CacheBehaviors": _NONE,
    "CustomErrorResponses": _NONE,
    "Logging": {"Enabled": False, "IncludeCookies": False, "Bucket": "", "Prefix": ""},
    "PriceClass": "PriceClass_All",
    "ViewerCertificate": {
        "CloudFrontDefaultCertificate": True,
        "SSLSupportMethod": "vip",
        "MinimumProtocolVersion": "TLSv1",
        "CertificateSource": "cloudfront",
    },
    "Restrictions": {"GeoRestriction": {"RestrictionType": "none", "Quantity": 0}},
    "WebACLId": "",
    "HttpVersion": "http2",
    "IsIPV6Enabled": True,
    "ContinuousDeploymentPolicyId": "",
    "Staging": False,
}
_ORIGIN: Json = {
    "OriginPath": "",
    "CustomHeaders": _NONE,
    "ConnectionAttempts": 3,
    "ConnectionTimeout": 10,
    "OriginShield": {"Enabled": False},
    "OriginAccessControlId": "",
}
_CUSTOM_ORIGIN: Json = {
    "OriginSslProtocols": {"Quantity": 3, "Items": ["TLSv1", "TLSv1.1", "TLSv1.2"]},
    "OriginReadTimeout": 30,
    "OriginKeepaliveTimeout": 5,
}
_BEHAVIOR: Json = {
    "TrustedSigners": _NOBODY,
    "TrustedKeyGroups": _NOBODY,
    "AllowedMethods": {
        "Quantity": 2,
        "Items": ["HEAD", "GET"],
        "CachedMethods": {"Quantity": 2, "Items": ["HEAD", "GET"]},
    },
    "SmoothStreaming": False,
    "Compress": False,
    "LambdaFunctionAssociations": _NONE,
    "FunctionAssociations": _NONE,
    "FieldLevelEncryptionId": "",
    "GrpcConfig": {"Enabled": False},
}
_CACHED: Json = {"Quantity": 2, "Items": ["HEAD", "GET"]}


def filled(config: Json) -> Json:
    """A distribution's configuration with every default block; what is given stays as it is, whatever it is."""
    made = {**_DISTRIBUTION, **config}
    made["DefaultCacheBehavior"] = _behavior(made.get("DefaultCacheBehavior"))
    made["CacheBehaviors"] = _listed(made["CacheBehaviors"], _behavior)
    if "Origins" in made:
        made["Origins"] = _listed(made["Origins"], _origin)
    return made


def _listed(value: object, each: object) -> object:
    if not isinstance(value, dict) or not isinstance(value.get("Items"), list) or not callable(each):
        return value
    return {**value, "Items": [each(item) for item in value["Items"]]}


def _behavior(value: object) -> object:
    if not isinstance(value, dict):
        return value
    made = {**_BEHAVIOR, **value}
    methods = made["AllowedMethods"]
    if isinstance(methods, dict) and "CachedMethods" not in methods:
        made["AllowedMethods"] = {**methods, "CachedMethods": _CACHED}
    if "ForwardedValues" in made:
        made = {"MinTTL": 0, "DefaultTTL": 86_400, "MaxTTL": 31_536_000, **made}
    return made


def _origin(value: object) -> object:
    if not isinstance(value, dict):
        return value
    made = {**_ORIGIN, **value}
    if isinstance(made.get("CustomOriginConfig"), dict):
        made["CustomOriginConfig"] = {**_CUSTOM_ORIGIN, **made["CustomOriginConfig"]}
    return made
