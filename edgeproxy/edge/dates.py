"""Dates between the test clock and an origin that knows nothing of it (ARCHITECTURE, "Time is an argument").

With the clock moved ahead, an origin's dates are moved along on arrival, so that what it calls fresh is fresh; what
goes up in conditional requests is moved back, so that it recognises its own dates.
"""

from __future__ import annotations

from collections.abc import Collection

from edgeproxy.headers import Headers
from edgeproxy.message import RequestHead, ResponseHead
from edgeproxy.rules.dates import format_date, parse_date

_RESPONSE = frozenset({b"date", b"expires", b"last-modified"})
_REQUEST = frozenset({b"if-modified-since", b"if-unmodified-since", b"if-range"})


def _shifted(headers: Headers, names: Collection[bytes], seconds: float) -> Headers:
    fields = []
    for name, value in headers:
        moved = value
        if name.lower() in names:
            date = parse_date(value, 0)
            if date is not None:
                moved = format_date(date + seconds)
        fields.append((name, moved))
    return Headers(fields)


def shift_response(head: ResponseHead, seconds: float) -> ResponseHead:
    """A response as if its origin's clock were `seconds` ahead."""
    return head.with_headers(_shifted(head.headers, _RESPONSE, seconds))


def shift_request(head: RequestHead, seconds: float) -> RequestHead:
    """A request whose conditional dates are moved by `seconds`."""
    return head.with_headers(_shifted(head.headers, _REQUEST, seconds))
