"""Dates between the test clock and an origin that knows nothing of it (ARCHITECTURE, "Time is an argument").

With the clock moved ahead, an origin's Date and Expires are moved along on arrival, so that what it calls fresh is
fresh. Last-Modified stays as it is: time that passes does not touch a file, and as a validator it must reach the origin
again as the origin wrote it, however far the clock has moved in between.
"""

from __future__ import annotations

from edgeproxy.headers import Headers
from edgeproxy.message import ResponseHead
from edgeproxy.rules.dates import format_date, parse_date

_MOVED = frozenset({b"date", b"expires"})


def shift_response(head: ResponseHead, seconds: float) -> ResponseHead:
    """A response as if its origin's clock were `seconds` ahead."""
    fields = []
    for name, value in head.headers:
        moved = value
        if name.lower() in _MOVED:
            date = parse_date(value, 0)
            if date is not None:
                moved = format_date(date + seconds)
        fields.append((name, moved))
    return head.with_headers(Headers(fields))
