"""A response headers policy on one answer to a viewer: the last thing done to its fields."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from edgeproxy.cloudfront.response_headers import Story, is_timed, with_policy, with_timing
from edgeproxy.headers import Headers
from edgeproxy.message import RequestHead
from edgeproxy.model import ResponsePolicy
from edgeproxy.outcome import Layer, Result


@dataclass(frozen=True, slots=True)
class Dress:
    """The policy, and what of the request and the node it looks at. `elapsed`: seconds since the request arrived."""

    policy: ResponsePolicy
    request: RequestHead
    code: str
    request_id: str
    elapsed: Callable[[], float]

    def over(
        self, headers: Headers, result: Result, layer: Layer, upstream: tuple[float, float] | None, now: float
    ) -> Headers:
        """The fields as the policy wants them."""
        headers = with_policy(self.policy, self.request, headers, now)
        if not is_timed(self.policy, self.request, chance_of(self.request_id)):
            return headers
        story = Story(result, layer, self.code, self.request_id, self.elapsed(), upstream)
        return with_timing(headers, story)


def chance_of(request_id: str) -> float:
    """A number from 0 up to 1: a request's id is random already, and the same at every tier."""
    return int.from_bytes(request_id.encode()[:12]) % 1_000_003 / 1_000_003
