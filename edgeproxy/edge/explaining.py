"""What would become of a request, without sending anything: the same functions that a request passes, asked beforehand.

An explanation is a JSON object. What an origin would answer nobody knows, so the answer is supposed: a status and some
fields, which the one who asks may choose.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

from edgeproxy.cloudfront import fields as cf
from edgeproxy.cloudfront.compression import coding_for, compressed_head
from edgeproxy.cloudfront.failover import second_origin
from edgeproxy.cloudfront.origin_request import origin_request, response_fields
from edgeproxy.cloudfront.pages import Cause
from edgeproxy.edge.admission import Admission, Refused
from edgeproxy.edge.ask import Ask
from edgeproxy.edge.invalidation import Ledger
from edgeproxy.edge.node import Clocks, Place, Serving
from edgeproxy.edge.page import SharedPage
from edgeproxy.edge.present import Trace
from edgeproxy.headers import Headers
from edgeproxy.message import Client, Incoming, RequestHead, ResponseHead, no_body
from edgeproxy.model import NO_EPOCH, AsOf, Behavior, Distribution, Mode, Origin, Rules
from edgeproxy.outcome import Reason, Result
from edgeproxy.places.clients import Clients
from edgeproxy.rules import freshness, lookup, overlay, storing, validation
from edgeproxy.rules.cachecontrol import response_directives
from edgeproxy.rules.dates import format_date
from edgeproxy.rules.routing import Stop, next_stop, normalised_path
from edgeproxy.settings import Network
from edgeproxy.store.tiers import Held
from edgeproxy.telemetry.counters import Counters

Explanation = dict[str, Any]  # Any: JSON
Find = Callable[[Ask, float], Sequence[Held]]

SOMEWHERE = "192.0.2.1"
"""An address for documentation: a viewer of whom only the country is known."""


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked. `client`: an IP address or a country; `answer`: what the origin is supposed to say."""

    url: str
    method: str = "GET"
    headers: tuple[tuple[str, str], ...] = ()
    client: str = SOMEWHERE
    answer: tuple[tuple[str, str], ...] = ()
    status: int = 200


def field_of(line: str) -> tuple[str, str]:
    """A header field as people write it, `Name: value`. Raises ValueError."""
    name, colon, value = line.partition(":")
    if not colon or not re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", name) or not re.fullmatch(r"[ -~\t]*", value):
        raise ValueError(f"expected a header field such as 'Accept-Encoding: gzip', not {line[:60]!r}")
    return name, value.strip()


def explain(
    question: Question, serving: Serving, place: Place, page: SharedPage, clocks: Clocks, find: Find | None = None
) -> Explanation:
    """What would become of this request here. Raises ValueError for a question that is none.

    `find` tells what this node has stored; without it that is left out.
    """
    incoming, serving = _incoming(question, serving, clocks.monotonic())
    admission = Admission(replace(place, mode=Mode.POP, test_clock=False), page, Ledger(page), Counters(), clocks)
    request_id = clocks.request_id()
    viewer = incoming.client
    said: Explanation = {
        "url": question.url,
        "method": question.method,
        "from": {"address": viewer.address, "country": serving.clients.find(viewer.address).country},
        "node": {"name": place.name, "mode": place.mode.value, "region": place.region},
    }
    try:
        ask = admission.admit(incoming, serving, request_id)
    except Refused as refused:
        return said | _refusal(refused)
    said |= _matched(ask) | {"key": _key(ask), "path": _path(ask, place)}
    said["origin_request"] = _outward(ask, place, request_id)
    said["caching"] = _caching(ask)
    now = clocks.wall()
    if ask.route.cached and find is not None:
        found = find(ask, now)
        said["stored"] = [_stored(ask, stored, now) for stored in found]
        said["decision"] = _decision(ask, found, now)
    said["supposed"] = _supposed(ask, question, now)
    return said


def _incoming(question: Question, serving: Serving, received_at: float) -> tuple[Incoming, Serving]:
    url = urlsplit(question.url if "://" in question.url else f"http://{question.url}")
    if url.scheme not in ("http", "https") or not url.hostname or not question.url.isascii():
        raise ValueError("expected a URL such as https://www.example.com/a?b=c")
    target = (url.path or "/") + (f"?{url.query}" if url.query else "")
    headers = Headers((name.encode("latin-1"), value.encode("latin-1")) for name, value in question.headers)
    authority = headers.get(b"host") or url.netloc.rpartition("@")[2].encode()
    address = question.client
    if len(address) == 2 and address.isalpha():
        everywhere = [Network(network=each, country=address.upper()) for each in ("0.0.0.0/0", "::/0")]
        serving, address = replace(serving, clients=Clients(everywhere)), SOMEWHERE
    if not re.fullmatch("[A-Za-z]{1,20}", question.method):
        raise ValueError("expected a method such as GET")
    ip_address(address)
    tls = url.scheme == "https"
    client = Client(
        address, 0, tls_protocol="TLSv1.3" if tls else None, tls_cipher="TLS_AES_128_GCM_SHA256" if tls else None
    )
    headers = Headers([(b"Host", authority), *headers.without({b"host"})])
    head = RequestHead(question.method.upper(), target.encode(), authority, headers, url.scheme)
    return Incoming(head, no_body(), client, received_at), serving


def _refusal(refused: Refused) -> Explanation:
    cause = refused.cause
    said: Explanation = {
        "outcome": "refused",
        "status": refused.status,
        "because": cause.plain if isinstance(cause, Cause) else cause,
    }
    distribution = refused.distribution
    if distribution is None:
        said["because"] = "No distribution that is enabled serves this host."
    else:
        said["distribution"] = _distribution(distribution)
        page = distribution.error_pages.get(refused.status)
        if page is not None:
            said["error_page"] = {"path": page.path, "status": page.status}
    if refused.location is not None:
        said["outcome"], said["location"] = "redirected", refused.location.decode("latin-1")
    return said


def _distribution(distribution: Distribution) -> Explanation:
    return {"id": distribution.id, "domain": distribution.domain, "rules": distribution.rules.value}


def _matched(ask: Ask) -> Explanation:
    behavior, distribution = ask.behavior, ask.distribution
    said: Explanation = {"outcome": "served", "distribution": _distribution(distribution)}
    if ask.deployed is not None:
        said["deployment"] = {"chosen": "staging" if ask.deployed.staging else "primary", "by": ask.deployed.why}
    asked = ask.incoming.head.path
    if ask.request.path != asked:
        said["default_root_object"] = _text(ask.request.path)
    said["behavior"] = {
        "pattern": behavior.pattern,
        "number": distribution.behaviors.index(behavior) + 1,
        "of": len(distribution.behaviors),
        "path_matched": _text(normalised_path(ask.request.path)),
        "origin": behavior.origin,
        "failover": None
        if behavior.failover is None
        else {"origin": behavior.failover.origin, "on": sorted(behavior.failover.codes)},
        "response_headers_policy": None if behavior.response is None else behavior.response.name,
        "compress": behavior.compress,
    }
    made = {name.decode(): _text(ask.request.headers.get(name) or b"") for name in sorted(behavior.forward.made_up)}
    if made:
        said["made_known_about_the_viewer"] = made
    return said


def _key(ask: Ask) -> Explanation | None:
    if not ask.route.cached:
        return None
    parts = ask.behavior.key
    return {
        "text": _text(ask.key),
        "query": _choice(parts.query),
        "cookies": _choice(parts.cookies),
        "headers": [name.decode() for name in parts.headers],
        "codings": [name for name, on in (("gzip", parts.gzip), ("br", parts.brotli)) if on],
    }


def _choice(selector: Any) -> str | Explanation:  # Any: a Selector, whose patterns are shown as they are
    if not selector.names and not selector.patterns:
        return str(selector.choice.value)
    names = sorted(name.decode("latin-1") for name in selector.names)
    return {selector.choice.value: [*names, *(each.pattern.decode("latin-1") for each in selector.patterns)]}


def _path(ask: Ask, place: Place) -> Explanation:
    """Which tiers a miss passes on its way."""
    serving, origin = ask.serving, ask.origin
    stops = [f"{place.mode.value} {place.name}"]
    has_tier = serving.next_tier is not None
    stop = next_stop(ask.route, origin, place.mode, place.region, serving.shields, has_tier)
    if stop is Stop.TIER and serving.next_tier is not None:
        stops.append(f"regional {serving.next_tier.name}")
        region = serving.next_tier.region or ""
        stop = next_stop(ask.route, origin, Mode.REGIONAL, region, serving.shields, False)
    if stop is Stop.SHIELD:
        stops.append(f"shield {serving.shields[origin.shield or ''].name}")
    reason = ask.route.reason
    return {
        "cached": ask.route.cached,
        "stops": [*stops, f"origin {origin.id}"],
        "because": None if reason is None else reason.sentence,
    }


def _outward(ask: Ask, place: Place, request_id: str) -> Explanation:
    request = ask.request
    if ask.route.cached:
        request = validation.with_range(validation.unconditional(request), request)
    via = cf.via_request(place.name, request.version, ask.distribution.rules)

    def to(origin: Origin) -> Explanation:
        outward = origin_request(
            request, ask.distribution, ask.behavior, origin, ask.client, request_id=request_id.encode(), via=via
        )
        port = origin.https_port if outward.scheme == "https" else origin.http_port
        return {
            "origin": origin.id,
            "connects_to": f"{outward.scheme}://{origin.host}:{port}",
            "method": outward.method,
            "target": _text(outward.target),
            "headers": [["Host", _text(outward.authority)], *([_text(n), _text(v)] for n, v in outward.headers)],
            "attempts": origin.connection_attempts,
            "connect_timeout": origin.connect_timeout,
            "read_timeout": origin.read_timeout,
        }

    said = to(ask.origin)
    second = second_origin(request, ask.behavior)
    if second is not None:
        said["second"] = {"on": sorted(second.codes), **to(ask.distribution.origins[second.origin])}
    return said


def _caching(ask: Ask) -> Explanation:
    caching = ask.behavior.caching
    if caching.rules is Rules.RFC9111:
        return {"rules": "rfc9111"}
    ttl = caching.ttl
    return {
        "rules": "cloudfront",
        "min_ttl": ttl.minimum,
        "default_ttl": ttl.default,
        "max_ttl": ttl.maximum,
        "error_min_ttl": {str(code): overlay.error_minimum(code, caching) for code in (403, 404, 500, 502, 503, 504)},
        "collapses": lookup.collapses(caching),
    }


def _stored(ask: Ask, stored: Held, now: float) -> Explanation:
    head = stored.head
    age = freshness.current_age(head, now)
    return {
        "status": head.status,
        "bytes": stored.length,
        "age": round(age, 1),
        "fresh_for": round(freshness.lifetime(head, ask.behavior.caching) - age, 1),
        "parts": None if head.parts is None else [list(part) for part in head.parts],
    }


def _decision(ask: Ask, found: Sequence[Held], now: float) -> Explanation:
    decision = lookup.decide(ask.request, [stored.head for stored in found], ask.behavior.caching, now)
    reason = getattr(decision, "reason", None)
    return {"action": type(decision).__name__, "because": None if reason is None else reason.sentence}


def _supposed(ask: Ask, question: Question, now: float) -> Explanation:
    """What would be done with an answer of the origin that looks like this."""
    received = Headers((name.encode("latin-1"), value.encode("latin-1")) for name, value in question.answer)
    if ask.distribution.rules is Rules.CLOUDFRONT:
        received = response_fields(received, ask.behavior, ask.origin)
    head = ResponseHead(question.status, received)
    coding = coding_for(ask.request, head, ask.behavior, now) if ask.route.cached else None
    if coding is not None:
        head = compressed_head(head, coding)
    keeping = _keeping(ask, head, now)
    said: Explanation = {
        "status": question.status,
        "headers": [[name, value] for name, value in question.answer],
        "compressed": None if coding is None else coding.decode(),
        **keeping,
    }
    trace = Trace(
        result=Result.ERROR if head.status >= 400 else Result.MISS,
        reason=ask.route.reason or Reason.URI_MISS,
        forwarded_status=head.status,
        stored=keeping["stored"],
    )
    presented = ask.presenter.head(head, trace, now)
    page = ask.distribution.error_pages.get(head.status)
    if page is not None:
        said["error_page"] = {"path": page.path, "status": page.status}
    said["viewer_gets"] = {
        "status": presented.status,
        "headers": [[_text(name), _text(value)] for name, value in presented.headers],
    }
    return said


def _keeping(ask: Ask, head: ResponseHead, now: float) -> Explanation:
    caching = ask.behavior.caching
    if not ask.route.cached:
        reason = ask.route.reason
        return {"stored": False, "because": "" if reason is None else reason.sentence}
    refusal = storing.refusal(ask.request, head, caching, now)
    if refusal is not None:
        return {"stored": False, "because": refusal.sentence}
    kept = storing.stored_head(ask.request, head, requested_at=now, received_at=now, as_of=AsOf(NO_EPOCH, 0))
    fresh_for = freshness.lifetime(kept, caching)
    keep_until = freshness.keep_until(kept, caching, ask.serving.settings.cache.stale_keep)
    return {
        "stored": True,
        "because": why_so_long(ask.behavior, head, now),
        "fresh_for": round(fresh_for, 3),
        "fresh_until": format_date(now + fresh_for).decode(),
        "kept_until": format_date(keep_until).decode(),
    }


def why_so_long(behavior: Behavior, head: ResponseHead, now: float) -> str:
    """The row of the TTL table that an answer falls under (fact sheet 2.5, 3), as a sentence."""
    caching = behavior.caching
    said = response_directives(head.headers, caching.rules)
    told = freshness.explicit_lifetime(head.headers, said, now)
    if caching.rules is Rules.RFC9111:
        return "The origin says how long." if told is not None else "The origin does not say: a heuristic."
    ttl, withheld = caching.ttl, overlay.withheld(said)
    if head.status >= 400:
        minimum = overlay.error_minimum(head.status, caching)
        if told is not None and not withheld and min(told, ttl.maximum) > minimum:
            return f"An error that says {told:g} s, which is more than its ErrorCachingMinTTL of {minimum:g} s."
        return f"An error: its ErrorCachingMinTTL of {minimum:g} s."
    if withheld is not None:
        return (
            f"The origin says {withheld.token}, but MinTTL is {ttl.minimum:g} s." if ttl.minimum else withheld.sentence
        )
    if told is None:
        return f"The origin does not say: DefaultTTL of {ttl.default:g} s, at least MinTTL of {ttl.minimum:g} s."
    if told > ttl.maximum:
        return f"The origin says {told:g} s; MaxTTL of {ttl.maximum:g} s caps that."
    if told < ttl.minimum:
        return f"The origin says {told:g} s; MinTTL of {ttl.minimum:g} s is more."
    return f"The origin says {told:g} s."


def _text(raw: bytes) -> str:
    return raw.decode("latin-1")
