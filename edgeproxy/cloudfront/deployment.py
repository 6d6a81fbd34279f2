"""Which of two distributions serves a viewer: the primary, or the staging one that its policy sends traffic to (fact
sheet 11, "Continuous deployment").

By a header, whoever sends it chooses. By weight, chance does; where sessions are kept, a cookie holds what it chose,
for both sides, until the viewer pauses for too long or the session has lasted long enough. The cookie is bound to the
policy's revision, so that every change of the policy ends all sessions. It is not signed: who forges one chooses a
side for as long as a session lasts, no longer.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from edgeproxy.headers import Headers
from edgeproxy.model import Deployment

SESSION_COOKIE = b"edgeproxy-cd-session"
"""CloudFront's own name for it is not documented."""
SKEW = 60
"""Seconds by which the clock of the node that began or saw a session may be ahead of this one's."""

_KIND = "ContinuousDeploymentPolicy"
_SESSION = re.compile(rb"([0-9a-f]{16})\.([ps])\.([0-9]{1,12})\.([0-9]{1,12})")


@dataclass(frozen=True, slots=True)
class Chosen:
    """A side, why, and what the answer sets to stay there."""

    staging: bool
    why: str
    """`header`, `weight` or `session`."""
    cookie: bytes | None = None
    """The value of Set-Cookie; None where no session is kept."""


def read_deployment(id: str, resources: Sequence[Mapping[str, Any]]) -> Deployment | None:  # Any: JSON
    """The policy with this id among what a record of the feed names; None where there is none, or it is not enabled.

    Raises ValueError for one that cannot be read.
    """
    found = [each[_KIND] for each in resources if _KIND in each]
    policy = next((each for each in found if each["Id"] == id), None) if id else None
    if policy is None:
        return None
    try:
        return _deployment(policy, policy[f"{_KIND}Config"])
    except (KeyError, TypeError, AttributeError, IndexError):
        raise ValueError(f"the continuous deployment policy {id[:60]} cannot be read") from None


def _deployment(policy: Mapping[str, Any], config: Mapping[str, Any]) -> Deployment | None:  # Any: JSON
    if not config["Enabled"]:
        return None
    staging = config["StagingDistributionDnsNames"]["Items"][0].partition(".")[0].lower()
    text = json.dumps([policy["Id"], policy.get("ETag", ""), config], sort_keys=True)
    revision = hashlib.sha256(text.encode()).hexdigest()[:16]
    traffic = config["TrafficConfig"]
    if traffic["Type"] == "SingleHeader":
        field = traffic["SingleHeaderConfig"]
        return Deployment(staging, revision, (field["Header"].lower().encode(), field["Value"].encode()))
    share = traffic["SingleWeightConfig"]
    sessions = share.get("SessionStickinessConfig") or {"IdleTTL": 0, "MaximumTTL": 0}
    return Deployment(
        staging, revision, None, float(share["Weight"]), float(sessions["IdleTTL"]), float(sessions["MaximumTTL"])
    )


def choose(deployment: Deployment, headers: Headers, now: float, draw: float) -> Chosen:
    """Who serves the viewer that sends these fields. `now`: seconds; `draw`: a random number from 0 up to 1."""
    if deployment.header is not None:
        name, value = deployment.header
        return Chosen(headers.all(name) == [value], "header")
    if not deployment.idle:
        return Chosen(draw < deployment.weight, "weight")
    session = _session(deployment, headers, now)
    if session is None:
        staging, started, why = draw < deployment.weight, int(now), "weight"
    else:
        (staging, started), why = session, "session"
    return Chosen(staging, why, _set_cookie(deployment, staging, started, now))


def _session(deployment: Deployment, headers: Headers, now: float) -> tuple[bool, int] | None:
    """Side and beginning of the session that goes on; None where a new one begins."""
    for name, value in _pairs(headers):
        parts = _SESSION.fullmatch(value) if name == SESSION_COOKIE else None
        if parts is None or parts[1] != deployment.revision.encode():
            continue
        started, seen = int(parts[3]), int(parts[4])
        if max(started, seen) > now + SKEW or now - seen >= deployment.idle or now - started >= deployment.maximum:
            continue
        return parts[2] == b"s", started
    return None


def _set_cookie(deployment: Deployment, staging: bool, started: int, now: float) -> bytes:
    side = b"s" if staging else b"p"
    lasts = min(deployment.idle, started + deployment.maximum - now)
    value = b"%b.%b.%d.%d" % (deployment.revision.encode(), side, started, int(now))
    return b"%b=%b; Path=/; Max-Age=%d; HttpOnly" % (SESSION_COOKIE, value, int(lasts))


def without_session(headers: Headers) -> Headers:
    """The viewer's fields without our cookie, which is neither keyed nor an origin's business."""
    if all(name != SESSION_COOKIE for name, _ in _pairs(headers)):
        return headers
    kept = []
    for name, value in headers:
        if name.lower() == b"cookie":
            parts = [part.strip() for part in value.split(b";")]
            value = b"; ".join(part for part in parts if part and _pair(part)[0] != SESSION_COOKIE)
            if not value:
                continue
        kept.append((name, value))
    return Headers(kept)


def _pairs(headers: Headers) -> list[tuple[bytes, bytes]]:
    return [_pair(part) for field in headers.all(b"cookie") for part in field.split(b";")]


def _pair(part: bytes) -> tuple[bytes, bytes]:
    name, _, value = part.partition(b"=")
    return name.strip(), value.strip()
