"""What a response headers policy makes of an answer's fields (fact sheet 4.8), and Server-Timing (2.7)."""

from __future__ import annotations

from dataclasses import dataclass

from edgeproxy.cloudfront.cors import cors_fields
from edgeproxy.headers import Headers
from edgeproxy.message import RequestHead
from edgeproxy.model import ResponsePolicy
from edgeproxy.outcome import Layer, Result
from edgeproxy.rules.dates import format_date

READ_BY_POLICY = frozenset({b"origin", b"access-control-request-method", b"access-control-request-headers", b"pragma"})
"""Fields of a request that an answer depends on, whatever its key is made of, once a policy is in force."""

_SERVER = (b"Server", b"CloudFront")


@dataclass(frozen=True, slots=True)
class Story:
    """What Server-Timing tells. Times in seconds."""

    result: Result
    layer: Layer
    """That answered, or for a miss that asked the origin."""
    code: str
    request_id: str
    first_byte: float
    """From the request's arrival to the head of the answer."""
    upstream: tuple[float, float] | None
    """To connect and to the first byte; None when nobody upstream was asked by this node."""


def with_policy(policy: ResponsePolicy, request: RequestHead, headers: Headers, now: float) -> Headers:
    """An answer's fields, Server-Timing apart: first the removals, then CORS, security and the policy's own fields."""
    received = headers
    if policy.removed:
        headers = headers.without(policy.removed)
        if b"server" in policy.removed:
            headers = headers.plus(_SERVER)
        if b"date" in policy.removed:
            headers = headers.plus((b"Date", format_date(now)))
    if policy.cors is not None:
        cors = cors_fields(policy.cors, request, received.without(policy.removed))
        if cors:
            headers = headers.without({name.lower() for name, _ in cors}).plus(*cors)
    added = [each for each in policy.added if each.override or each.name.lower() not in headers]
    if added:
        fields = [(each.name, each.value) for each in added]
        headers = headers.without({name.lower() for name, _ in fields}).plus(*fields)
    return headers


def is_timed(policy: ResponsePolicy, request: RequestHead, chance: float) -> bool:
    """Whether an answer carries Server-Timing. `chance`: a number from 0 up to 1 drawn for this request."""
    if policy.timing is None:
        return False
    asked = (value.strip().lower() for value in (request.headers.combined(b"pragma") or b"").split(b","))
    return chance * 100 < policy.timing or b"server-timing" in asked


def with_timing(headers: Headers, story: Story) -> Headers:
    """The fields with Server-Timing; what the origin said goes along on a miss only."""
    hit = story.result in (Result.HIT, Result.REFRESH_HIT)
    value = server_timing(story)
    said = headers.combined(b"server-timing")
    if said is not None and not hit:
        value = said + b"," + value
    return headers.without({b"server-timing"}).plus((b"Server-Timing", value))


def server_timing(story: Story) -> bytes:
    """The metrics, in CloudFront's order."""
    told = [f'cdn-pop;desc="{story.code}"', f'cdn-rid;desc="{story.request_id}"']
    layer = story.layer.value
    if story.result is Result.HIT:
        told = ["cdn-cache-hit", *told, f'cdn-hit-layer;desc="{layer}"']
    elif story.result is Result.REFRESH_HIT:
        told = [*_upstream(story), "cdn-cache-refresh", *told]
    else:
        told = [*_upstream(story), "cdn-cache-miss", *told]
    return ",".join([*told, f"cdn-downstream-fbl;dur={_milliseconds(story.first_byte)}"]).encode()


def _upstream(story: Story) -> list[str]:
    """Connecting takes the look-up of the name in: the two are one step here, and DNS by itself counts as 0."""
    connect, first_byte = story.upstream or (0.0, 0.0)
    return [
        f'cdn-upstream-layer;desc="{story.layer.value}"',
        "cdn-upstream-dns;dur=0",
        f"cdn-upstream-connect;dur={_milliseconds(connect)}",
        f"cdn-upstream-fbl;dur={_milliseconds(first_byte)}",
    ]


def _milliseconds(seconds: float) -> int:
    return max(0, round(seconds * 1000))
