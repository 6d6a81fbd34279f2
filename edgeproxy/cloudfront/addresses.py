"""Where an origin is: host names, local addresses with a port, the region in an S3 host name, URLs."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from enum import Enum
from urllib.parse import urlsplit

from edgeproxy.model import OriginScheme
from edgeproxy.units import join_address

_LABEL = r"[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_HOST = re.compile(rf"{_LABEL}(\.{_LABEL})*\.?")
_S3 = re.compile(r".+\.s3(?:\.dualstack)?[.-](?P<region>[a-z]{2}(?:-[a-z]+)+-\d+)\.amazonaws\.com(\.cn)?")


def is_host_name(text: str) -> bool:
    """Whether this is a name as DNS has them; a purely numeric last label would be half an address."""
    return len(text) <= 253 and bool(_HOST.fullmatch(text)) and not text.rstrip(".").rsplit(".")[-1].isdigit()


def host_and_port(text: str) -> tuple[str, int | None]:
    """HOST or HOST:PORT, where HOST is a name, an IPv4 address or an IPv6 one in brackets. Raises ValueError."""
    host, colon, port = text.rpartition(":")
    if not colon or text.endswith("]"):
        host, port = text, ""
    elif not (port.isascii() and port.isdigit() and len(port) <= 5 and 1 <= int(port) <= 65535):
        raise ValueError("expected a port from 1 to 65535")
    try:
        if host.startswith("[") and host.endswith("]"):
            host = str(ipaddress.IPv6Address(host[1:-1]))
        elif not is_host_name(host):
            host = str(ipaddress.IPv4Address(host))
    except ValueError:
        raise ValueError("expected a host name or an address, an IPv6 one in brackets") from None
    return host.lower(), int(port) if port else None


def s3_region(host: str) -> str | None:
    """The region in the host name of a bucket, None when it does not tell."""
    found = _S3.fullmatch(host.lower())
    return found["region"] if found else None


class HostKind(Enum):
    """What stands behind an origin's host name, as its form tells (fact sheet 5.5)."""

    S3 = "S3 bucket"
    S3_WEBSITE = "S3 website"
    MEDIA_STORE = "MediaStore container"
    MEDIA_PACKAGE = "MediaPackage endpoint"
    LOAD_BALANCER = "load balancer"
    EC2 = "EC2 instance"
    LAMBDA_URL = "Lambda function URL"
    API_GATEWAY = "API Gateway"
    OTHER = "web server"


_FORMS = (
    (HostKind.S3_WEBSITE, re.compile(r".+\.s3-website[.-][a-z0-9-]+\.amazonaws\.com(\.cn)?")),
    (HostKind.S3, re.compile(r".+\.s3(?:[.-](?:[a-z0-9-]+|dualstack\.[a-z0-9-]+))?\.amazonaws\.com(\.cn)?")),
    (HostKind.MEDIA_STORE, re.compile(r".+\.data\.mediastore\.[a-z0-9-]+\.amazonaws\.com")),
    (HostKind.MEDIA_PACKAGE, re.compile(r".+\.mediapackage(?:v2|-vod)?\.[a-z0-9-]+\.amazonaws\.com")),
    (
        HostKind.LOAD_BALANCER,
        re.compile(r".+\.elb(?:\.[a-z0-9-]+)?\.amazonaws\.com|.+\.[a-z0-9-]+\.elb\.amazonaws\.com"),
    ),
    (HostKind.EC2, re.compile(r"ec2-[0-9-]+\.(?:compute-1|[a-z0-9-]+\.compute)\.amazonaws\.com")),
    (HostKind.LAMBDA_URL, re.compile(r".+\.lambda-url\.[a-z0-9-]+\.on\.aws")),
    (HostKind.API_GATEWAY, re.compile(r".+\.execute-api\.[a-z0-9-]+\.amazonaws\.com")),
)


def host_kind(host: str) -> HostKind:
    """What an origin's host name (lower case) belongs to."""
    return next((kind for kind, form in _FORMS if form.fullmatch(host)), HostKind.OTHER)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a URL points."""

    scheme: OriginScheme
    host: str
    port: int
    path: str = ""

    @property
    def authority(self) -> str:
        """HOST, or HOST:PORT when the port is not the scheme's own."""
        usual = 443 if self.scheme is OriginScheme.HTTPS else 80
        if self.port != usual:
            return join_address(self.host, self.port)
        return f"[{self.host}]" if ":" in self.host else self.host


def endpoint(url: str) -> Endpoint:
    """An http or https URL of an origin. Raises ValueError."""
    expected = "expected http://HOST[:PORT][/PATH] or https://HOST[:PORT][/PATH]"
    try:
        parts = urlsplit(url if re.fullmatch(r"[!-~]{1,2048}", url) else "")
        host, port = host_and_port(parts.netloc)
    except ValueError as error:
        raise ValueError(f"{expected}: {error}") from None
    if parts.scheme not in ("http", "https") or parts.query or parts.fragment:
        raise ValueError(expected)
    tls = parts.scheme == "https"
    scheme = OriginScheme.HTTPS if tls else OriginScheme.HTTP
    return Endpoint(scheme, host, port or (443 if tls else 80), parts.path.rstrip("/"))
