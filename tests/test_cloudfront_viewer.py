"""cloudfront/viewer.py: CloudFront-* fields, one by one (fact sheet 1.9)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from edgeproxy.cloudfront.viewer import (
    BY_EXCEPTION,
    KNOWN,
    MADE,
    NOT_MADE,
    ORDER_MAX,
    Viewer,
    error_fields,
    viewer_field,
    with_viewer_fields,
)
from edgeproxy.headers import Headers
from edgeproxy.message import Client
from edgeproxy.places.geography import NOWHERE, Whereabouts
from tests.messages import fields, request

PLACE = Whereabouts(
    "DE", "Germany", "NW", "North Rhine-Westphalia", "Köln", "50667", "511", "Europe/Berlin", 50.9, 6.953, 64496
)
PHONE = "User-Agent: Mozilla/5.0 (iPhone; CPU iPhone OS 17_1 like Mac OS X) Mobile/15E148"
CLIENT = Client("203.0.113.7", 4711, tls_protocol="TLSv1.3", tls_cipher="TLS_AES_128_GCM_SHA256")
VIEWER = Viewer(request(PHONE), CLIENT, PLACE, fields("Host: a.test", PHONE, "X-B: 1"))

VALUES = {
    "Forwarded-Proto": "http",
    "Is-Android-Viewer": "false",
    "Is-Desktop-Viewer": "false",
    "Is-IOS-Viewer": "true",
    "Is-Mobile-Viewer": "true",
    "Is-SmartTV-Viewer": "false",
    "Is-Tablet-Viewer": "false",
    "Viewer-Address": "203.0.113.7:4711",
    "Viewer-ASN": "64496",
    "Viewer-City": "K%C3%B6ln",
    "Viewer-Country": "DE",
    "Viewer-Country-Name": "Germany",
    "Viewer-Country-Region": "NW",
    "Viewer-Country-Region-Name": "North Rhine-Westphalia",
    "Viewer-Header-Count": "3",
    "Viewer-Header-Order": "Host:User-Agent:X-B",
    "Viewer-Http-Version": "1.1",
    "Viewer-Latitude": "50.90000",
    "Viewer-Longitude": "6.95300",
    "Viewer-Metro-Code": None,
    "Viewer-Postal-Code": "50667",
    "Viewer-Time-Zone": "Europe/Berlin",
    "Viewer-TLS": "TLSv1.3:TLS_AES_128_GCM_SHA256:fullHandshake",
}


@pytest.mark.parametrize(("name", "value"), VALUES.items())
def test_1_9_a_field(name: str, value: str | None) -> None:
    made = viewer_field(f"cloudfront-{name.lower()}".encode(), VIEWER)
    assert made == (None if value is None else (f"CloudFront-{name}".encode(), value.encode()))


def test_there_are_no_others() -> None:
    assert set(MADE) == {f"cloudfront-{name.lower()}".encode() for name in VALUES}
    assert len(KNOWN) == len(VALUES) + 4
    assert viewer_field(next(iter(NOT_MADE)), VIEWER) is None


def test_what_is_not_known_is_not_said() -> None:
    viewer = Viewer(request(), Client("203.0.113.7", 1), NOWHERE, fields())
    made = {name for name in MADE if viewer_field(name, viewer) is not None}
    assert made == {
        f"cloudfront-{name}".encode()
        for name in (
            "forwarded-proto", "is-android-viewer", "is-desktop-viewer", "is-ios-viewer", "is-mobile-viewer",
            "is-smarttv-viewer", "is-tablet-viewer", "viewer-address", "viewer-header-count", "viewer-header-order",
            "viewer-http-version",
        )
    }  # fmt: skip


def test_the_metro_code_is_for_the_united_states() -> None:
    viewer = replace(VIEWER, place=replace(PLACE, country="US"))
    assert viewer_field(b"cloudfront-viewer-metro-code", viewer) == (b"CloudFront-Viewer-Metro-Code", b"511")


def test_a_resumed_session_and_a_long_order() -> None:
    long = Headers([(b"X" * 100, b"")] * 100)
    viewer = replace(VIEWER, client=replace(CLIENT, tls_resumed=True), received=long)
    tls, order = (viewer_field(name, viewer) for name in (b"cloudfront-viewer-tls", b"cloudfront-viewer-header-order"))
    assert tls is not None
    assert order is not None
    assert tls[1].endswith(b":sessionResumed")
    assert len(order[1]) == ORDER_MAX


def test_a_viewers_own_copies_go_whether_there_is_a_value_or_not() -> None:
    head = request("CloudFront-Viewer-Country: XX", "cloudfront-viewer-city: Y", "X-A: 1")
    wanted = frozenset({b"cloudfront-viewer-country", b"cloudfront-viewer-city"})
    made = with_viewer_fields(head, wanted, replace(VIEWER, place=Whereabouts("DE")))
    assert made.headers.all(b"cloudfront-viewer-country") == [b"DE"]
    assert b"cloudfront-viewer-city" not in made.headers
    assert made.headers.get(b"x-a") == b"1"


def test_the_request_for_an_errors_page_tells_what_failed_where_that_is_asked_for() -> None:
    failed = request(target="/a?b=c")
    wanted = frozenset({b"cloudfront-error-uri", b"cloudfront-error-args"})
    assert error_fields(wanted, failed) == [(b"CloudFront-Error-Uri", b"/a"), (b"CloudFront-Error-Args", b"b=c")]
    assert error_fields(wanted, request(target="/a")) == [(b"CloudFront-Error-Uri", b"/a")]
    assert error_fields(frozenset(), failed) == []


def test_an_exception_policy_adds_what_the_managed_one_does() -> None:
    assert len(BY_EXCEPTION) == 21
