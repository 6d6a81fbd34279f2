"""edge/dress.py: a response headers policy on an answer, and the share that carries Server-Timing (fact sheet 2.7)."""

from __future__ import annotations

import random

from edgeproxy.cloudfront.fields import REQUEST_ID_BYTES, request_id
from edgeproxy.edge.dress import Dress, chance_of
from edgeproxy.model import ResponsePolicy
from edgeproxy.outcome import Layer, Result
from tests.messages import NOW, fields, request


def test_about_the_share_asked_for_is_timed() -> None:
    source = random.Random(1)
    ids = [request_id(source.randbytes(REQUEST_ID_BYTES)) for _ in range(2000)]
    for share in (10.0, 50.0):
        policy = ResponsePolicy("r", "r", timing=share)
        dresses = (Dress(policy, request(), "FRA", each, lambda: 0.5) for each in ids)
        timed = sum(b"server-timing" in each.over(fields(), Result.HIT, Layer.EDGE, None, NOW) for each in dresses)
        assert abs(timed / 20 - share) < 4
    assert all(0 <= chance_of(each) < 1 for each in ids)


def test_the_metrics_tell_of_this_request() -> None:
    dress = Dress(ResponsePolicy("r", "r", timing=100.0), request(), "FRA50-P1", "id==", lambda: 0.5)
    value = dress.over(fields(), Result.MISS, Layer.REC, (0.1, 0.2), NOW).get(b"server-timing") or b""
    assert b'cdn-pop;desc="FRA50-P1",cdn-rid;desc="id==",cdn-downstream-fbl;dur=500' in value
