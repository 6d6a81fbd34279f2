"""Who may ask: signatures made by botocore itself and bent in every part, keys of tiers, pages in browsers."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from edgeproxy.control.access import SKEW_MAX, Asking, check_signature, from_a_page, is_loopback, is_tier
from edgeproxy.control.refusals import Refused
from tests.controlling import KEYS

ID, SECRET = next(iter(KEYS.items()))
BODY = b"<a/>"


def signed(url: str = "http://127.0.0.1:8400/2020-05-31/distribution?WithTags", *, secret: str = SECRET) -> Asking:
    """A request signed as AWS's tools do it."""
    request = AWSRequest("POST", url, {"Content-Type": "text/xml", "X-Amz-Meta": "m"}, BODY)
    SigV4Auth(Credentials(ID, secret), "cloudfront", "us-east-1").add_auth(request)
    fields = {name.lower(): value for name, value in request.headers.items()} | {"host": "127.0.0.1:8400"}
    return Asking("POST", url, fields, BODY)


def changed(**fields: str | None) -> Callable[[Asking], Asking]:
    def change(asking: Asking) -> Asking:
        made = {**asking.fields, **{name.replace("_", "-"): value for name, value in fields.items()}}
        return replace(asking, fields={name: value for name, value in made.items() if value is not None})

    return change


def authorization(old: str, new: str) -> Callable[[Asking], Asking]:
    return lambda asking: changed(authorization=asking.fields["authorization"].replace(old, new))(asking)


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:8400/2020-05-31/distribution",
        "http://127.0.0.1:8400/2020-05-31/distribution?WithTags",
        "http://127.0.0.1:8400/2020-05-31/tagging?Operation=Tag&Resource=arn%3Aaws%3Acloudfront%3A%3A1%3Adistribution%2FE1",
        "http://127.0.0.1:8400/2020-05-31/distribution/E%201/config",
    ],
)
def test_what_a_known_key_has_signed_is_let_in(url: str) -> None:
    check_signature(signed(url), KEYS, time.time())


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (changed(authorization=None), "MissingAuthenticationToken"),
        (changed(authorization="Basic eDp5"), "IncompleteSignature"),
        (authorization("AWS4-HMAC-SHA256", "AWS3"), "IncompleteSignature"),
        (authorization("/cloudfront/", "/s3/"), "IncompleteSignature"),
        (authorization("host;", ""), "IncompleteSignature"),
        (authorization("content-type;", ""), "IncompleteSignature"),
        (authorization("x-amz-meta", "x-amz-other"), "IncompleteSignature"),
        (changed(x_amz_new="1"), "IncompleteSignature"),
        (changed(x_amz_date=None), "IncompleteSignature"),
        (changed(x_amz_date="yesterday"), "IncompleteSignature"),
        (changed(x_amz_date="20200101T000000Z"), "RequestExpired"),
        (authorization(ID, "AKIAOTHER"), "InvalidClientTokenId"),
        (authorization("us-east-1", "eu-west-1"), "SignatureDoesNotMatch"),
        (changed(host="127.0.0.1:8401"), "SignatureDoesNotMatch"),
        (changed(content_type="text/plain"), "SignatureDoesNotMatch"),
        (lambda asking: replace(asking, body=b"<b/>"), "SignatureDoesNotMatch"),
        (lambda asking: replace(asking, method="PUT"), "SignatureDoesNotMatch"),
        (lambda asking: replace(asking, url=asking.url + "&more=1"), "SignatureDoesNotMatch"),
        (
            lambda asking: replace(asking, url=asking.url.replace("distr", "d")),
            "SignatureDoesNotMatch",
        ),
    ],
)
def test_anything_else_is_refused(change: Callable[[Asking], Asking], code: str) -> None:
    with pytest.raises(Refused) as refusal:
        check_signature(change(signed()), KEYS, time.time())
    assert refusal.value.code == code
    assert SECRET not in str(refusal.value)


def test_another_secret_and_another_time_are_refused() -> None:
    with pytest.raises(Refused) as refusal:
        check_signature(signed(secret="wrong"), KEYS, time.time())
    assert refusal.value.code == "SignatureDoesNotMatch"
    for off in (SKEW_MAX + 5, -SKEW_MAX - 5):
        with pytest.raises(Refused) as refusal:
            check_signature(signed(), KEYS, time.time() + off)
        assert refusal.value.code == "RequestExpired"


def test_the_hash_that_a_client_sends_has_to_be_that_of_the_body() -> None:
    request = AWSRequest("POST", "http://127.0.0.1:8400/a", {"X-Amz-Content-SHA256": "UNSIGNED-PAYLOAD"}, BODY)
    SigV4Auth(Credentials(ID, SECRET), "cloudfront", "us-east-1").add_auth(request)
    fields = {name.lower(): value for name, value in request.headers.items()} | {"host": "127.0.0.1:8400"}
    with pytest.raises(Refused):
        check_signature(Asking("POST", "http://127.0.0.1:8400/a", fields, BODY), KEYS, time.time())
    right = {"X-Amz-Content-SHA256": hashlib.sha256(BODY).hexdigest()}
    request = AWSRequest("POST", "http://127.0.0.1:8400/a", right, BODY)
    SigV4Auth(Credentials(ID, SECRET), "cloudfront", "us-east-1").add_auth(request)
    fields = {name.lower(): value for name, value in request.headers.items()} | {"host": "127.0.0.1:8400"}
    assert "x-amz-content-sha256" in fields["authorization"]
    check_signature(Asking("POST", "http://127.0.0.1:8400/a", fields, BODY), KEYS, time.time())


@pytest.mark.parametrize(
    ("peer", "given", "key", "known"),
    [
        ("127.0.0.1", None, None, True),
        ("::1", None, None, True),
        ("192.0.2.1", None, None, False),
        (None, None, None, False),
        ("192.0.2.1", "k" * 20, "k" * 20, True),
        ("127.0.0.1", None, "k" * 20, False),
        ("127.0.0.1", "ü", "k" * 20, False),
    ],
)
def test_tiers_know_the_key_or_are_here(peer: str | None, given: str | None, key: str | None, known: bool) -> None:
    assert is_tier(peer, given, key) is known


@pytest.mark.parametrize(
    ("fields", "page"),
    [
        ({"host": "127.0.0.1:8400"}, False),
        ({"host": "localhost:8400"}, False),
        ({"host": "[::1]:8400"}, False),
        ({"host": "10.0.0.9"}, False),
        ({"host": "rebound.example.test:8400"}, True),
        ({"host": "127.0.0.1:8400", "origin": "https://example.test"}, True),
        ({"host": "127.0.0.1:8400", "origin": "null"}, True),
        ({"host": "127.0.0.1:8400", "origin": "http://console.localhost:8400"}, False),
        ({}, True),
    ],
)
def test_pages_elsewhere_are_told_apart(fields: dict[str, Any], page: bool) -> None:
    assert from_a_page(fields) is page
    assert from_a_page(fields, any_host=True) is (page and "origin" in fields)


def test_this_machine() -> None:
    assert [is_loopback(each) for each in ("127.9.9.9", "::1", "localhost", "a.localhost")] == [True] * 4
    assert [is_loopback(each) for each in ("10.0.0.1", "example.test", "", None)] == [False] * 4
