"""Where an origin is: names, local addresses, S3 regions, URLs (fact sheet 5.4, 5.5)."""

from __future__ import annotations

import pytest

from edgeproxy.cloudfront.addresses import HostKind, endpoint, host_and_port, host_kind, is_host_name, s3_region
from edgeproxy.model import OriginScheme


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("www.Example.com", "www.example.com", None),
        ("localhost:3000", "localhost", 3000),
        ("127.0.0.1", "127.0.0.1", None),
        ("127.0.0.1:80", "127.0.0.1", 80),
        ("[::1]:8080", "::1", 8080),
        ("[::1]", "::1", None),
    ],
)
def test_host_and_port(text: str, host: str, port: int | None) -> None:
    assert host_and_port(text) == (host, port)


@pytest.mark.parametrize(
    "text", ["", "a b", "a:0", "a:65536", "a:x", "::1", "1.2.3", "[x]:1", "http://a", "a/b", "a@b", "-a.b"]
)
def test_what_is_no_host(text: str) -> None:
    with pytest.raises(ValueError, match=r"expected a (port|host name)"):
        host_and_port(text)


@pytest.mark.parametrize(
    ("host", "region"),
    [
        ("b.s3.eu-central-1.amazonaws.com", "eu-central-1"),
        ("b.s3-us-west-2.amazonaws.com", "us-west-2"),
        ("my.bucket.s3.dualstack.us-gov-west-1.amazonaws.com", "us-gov-west-1"),
        ("b.s3.cn-north-1.amazonaws.com.cn", "cn-north-1"),
        ("b.s3.amazonaws.com", None),
        ("b.s3-website.eu-central-1.amazonaws.com", None),
        ("www.example.com", None),
    ],
)
def test_5_5_the_region_in_a_buckets_host_name(host: str, region: str | None) -> None:
    assert s3_region(host) == region


@pytest.mark.parametrize(
    ("url", "scheme", "authority", "path"),
    [
        ("http://127.0.0.1:3000", OriginScheme.HTTP, "127.0.0.1:3000", ""),
        ("http://a.test/", OriginScheme.HTTP, "a.test", ""),
        ("https://a.test:443/base/", OriginScheme.HTTPS, "a.test", "/base"),
        ("http://[::1]:80", OriginScheme.HTTP, "[::1]", ""),
        ("https://[::1]:80", OriginScheme.HTTPS, "[::1]:80", ""),
    ],
)
def test_urls_of_origins(url: str, scheme: OriginScheme, authority: str, path: str) -> None:
    found = endpoint(url)
    assert (found.scheme, found.authority, found.path) == (scheme, authority, path)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "a.test",
        "ftp://a",
        "http://",
        "http://u@a",
        "http://a?q",
        "http://a#f",
        "http://a b",
        "http://a:99999",
        "http://[::1",
    ],
)
def test_urls_that_name_no_origin(url: str) -> None:
    with pytest.raises(ValueError, match="expected http://HOST"):
        endpoint(url)


def test_host_names() -> None:
    assert is_host_name("a-b.example_c.com")
    assert not is_host_name("1.2.3.4")
    assert not is_host_name("a" * 254)
    assert not is_host_name("*.a")


FORMS = {
    "b.s3.eu-central-1.amazonaws.com": HostKind.S3,
    "b.c.s3.amazonaws.com": HostKind.S3,
    "b.s3-us-west-2.amazonaws.com": HostKind.S3,
    "b.s3.dualstack.eu-central-1.amazonaws.com": HostKind.S3,
    "b.s3-website-us-east-1.amazonaws.com": HostKind.S3_WEBSITE,
    "b.s3-website.eu-central-1.amazonaws.com": HostKind.S3_WEBSITE,
    "c.data.mediastore.eu-west-1.amazonaws.com": HostKind.MEDIA_STORE,
    "a.egress.x.mediapackagev2.eu-west-1.amazonaws.com": HostKind.MEDIA_PACKAGE,
    "x.mediapackage.eu-west-1.amazonaws.com": HostKind.MEDIA_PACKAGE,
    "lb-1.eu-west-1.elb.amazonaws.com": HostKind.LOAD_BALANCER,
    "nlb-1.elb.eu-west-1.amazonaws.com": HostKind.LOAD_BALANCER,
    "ec2-203-0-113-7.compute-1.amazonaws.com": HostKind.EC2,
    "ec2-203-0-113-7.eu-west-1.compute.amazonaws.com": HostKind.EC2,
    "x.lambda-url.us-east-1.on.aws": HostKind.LAMBDA_URL,
    "x.execute-api.eu-west-1.amazonaws.com": HostKind.API_GATEWAY,
    "www.example.com": HostKind.OTHER,
    "amazonaws.com": HostKind.OTHER,
    "127.0.0.1": HostKind.OTHER,
}


@pytest.mark.parametrize(("host", "kind"), FORMS.items())
def test_5_5_what_a_host_name_belongs_to(host: str, kind: HostKind) -> None:
    assert host_kind(host) is kind
