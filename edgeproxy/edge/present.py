"""What an answer's head looks like to the one who asked: a viewer, or a tier.

Pure. Stored and fetched heads come in with their end-to-end fields; out go Age, Via, Cache-Status (RFC 9211), the
`cloudfront` fields of fact sheet 2.2, or for a tier the hop's own field.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from edgeproxy.cloudfront import fields as cf
from edgeproxy.edge.dress import Dress
from edgeproxy.edge.hop import HopAnswer
from edgeproxy.errors import Detail
from edgeproxy.headers import Field, Headers
from edgeproxy.message import Peer, ResponseHead
from edgeproxy.model import AsOf, Rules
from edgeproxy.outcome import Layer, Reason, Result
from edgeproxy.rules.dates import format_date
from edgeproxy.values import value

_OURS = frozenset({b"via", b"x-cache", b"x-amz-cf-pop", b"x-amz-cf-id"})

_INVALID = frozenset({Detail.ORIGIN_INVALID_RESPONSE.value, Detail.ORIGIN_HEADER_TOO_BIG.value})

_FWD = {
    Reason.URI_MISS: "uri-miss",
    Reason.VARY_MISS: "vary-miss",
    Reason.STALE: "stale",
    Reason.REQUEST: "request",
    Reason.METHOD: "method",
    Reason.PARTIAL: "partial",
    Reason.REVALIDATE_ALWAYS: "stale",
}
"""RFC 9211 section 2.2 has few words for why; every other reason is `bypass`, and its token goes into `detail`."""


@dataclass(slots=True)
class Trace:
    """What happened to a request at this tier; filled in as it happens, told by Cache-Status and the log."""

    result: Result = Result.MISS
    reason: Reason | None = None
    """Why it went forward; None for a hit."""
    refusal: Reason | None = None
    """Why the answer was not stored."""
    forwarded_status: int | None = None
    stored: bool = False
    collapsed: bool = False
    ttl: float | None = None
    age: float | None = None
    as_of: AsOf | None = None
    edition: int = 0
    """Of the key, when what answers was found or fetched (see SharedPage.edition)."""
    by_owner: bool = False
    """Another worker of this node, the key's owner, answered."""
    generated: bool = False
    """The answer was made here, not by an origin."""
    detail: str | None = None
    """x-edge-detailed-result-type, when it says more than the result."""
    layer: Layer | None = None
    """Which tier answered from its store, or asked the origin; None for this one."""
    upstream: tuple[float, float] | None = None
    """What asking the origin took: seconds to connect, and to the first byte."""
    upstream_seconds: float | None = None
    """From the request sent upstream to the head of its answer."""
    tiers: list[str] = field(default_factory=list)
    """Where it was forwarded to, in order tried."""


def age_text(age: float) -> bytes:
    """Seconds, as Age has them: whole ones that have passed (RFC 9111 section 5.1)."""
    return b"%d" % max(0, int(age))


def ttl_text(ttl: float) -> bytes:
    """Seconds of freshness that are left, as Cache-Status has them (RFC 9211 section 2.4)."""
    return b"%d" % round(ttl)


def cache_status(node: str, trace: Trace, key: bytes | None = None) -> bytes:
    """This tier's member of Cache-Status, with the key when one is given."""
    words = [node if node.replace("-", "a").replace("_", "a").isalnum() and node[0].isalpha() else f'"{node}"']
    if trace.reason is None and not trace.generated:
        words.append("hit")
    elif trace.reason is not None:
        token = _FWD.get(trace.reason)
        words.append(f"fwd={token or 'bypass'}")
        if trace.forwarded_status is not None:
            words.append(f"fwd-status={trace.forwarded_status}")
        if trace.collapsed:
            words.append("collapsed")
        if trace.stored:
            words.append("stored")
    if trace.ttl is not None:
        words.append(f"ttl={ttl_text(trace.ttl).decode()}")
    if key is not None:  # printable by its making; RFC 9651 section 3.3.3 escapes two characters of a string
        words.append('key="' + key.decode("latin-1").replace("\\", "\\\\").replace('"', '\\"') + '"')
    detail = _detail(trace)
    if detail:
        words.append(f"detail={detail}")
    return "; ".join(words).encode()


def _detail(trace: Trace) -> str | None:
    if trace.refusal is not None:
        return trace.refusal.token
    if trace.reason is not None and trace.reason not in _FWD:
        return trace.reason.token
    return "generated" if trace.generated else None


@value(frozen=True, slots=True)
class Presenter:
    """Everything about the node and the request that the outgoing fields need."""

    node: str
    code: str
    rules: Rules
    request_id: str
    cache_status: bool
    peer: Peer
    key: bytes | None = None
    """To be told in Cache-Status."""
    layer: Layer = Layer.EDGE
    """What this node is, in Server-Timing's words."""
    dress: Dress | None = None
    """The behaviour's response headers policy, on this request."""
    session: bytes | None = None
    """Set-Cookie for a viewer whose side of a continuous deployment is kept."""

    def head(self, head: ResponseHead, trace: Trace, now: float) -> ResponseHead:
        """The head as it goes out."""
        headers = head.headers
        added: list[Field] = []
        if trace.age is not None:
            headers = headers.without({b"age"})
            added.append((b"Age", age_text(trace.age)))
        if b"date" not in headers:
            added.append((b"Date", format_date(now)))
        if self.peer is not Peer.VIEWER:
            added.append(self._hop(trace).field())
        elif self.session is not None:
            added.append((b"Set-Cookie", self.session))
        headers = self._with_cache_status(headers, trace, added)
        if self.peer is Peer.WORKER:
            return ResponseHead(head.status, headers.plus(*added), head.reason)
        if self.rules is Rules.RFC9111:
            added.append((b"Via", b"1.1 " + self.node.encode()))
        elif self.peer is Peer.VIEWER:
            headers = headers.without(_OURS)
            if self.dress is not None:
                headers = self.dress.over(headers, trace.result, trace.layer or self.layer, trace.upstream, now)
                added = [field for field in added if field[0] != b"Date" or b"date" not in headers]
            if self.dress is None or b"x-cache" not in self.dress.policy.removed:
                added.append((b"X-Cache", cf.x_cache(trace.result)))
            added += [
                (b"Via", cf.via_response(self.node)),
                (b"X-Amz-Cf-Pop", self.code.encode()),
                (b"X-Amz-Cf-Id", self.request_id.encode()),
            ]
        return ResponseHead(head.status, headers.plus(*added), head.reason)

    def _hop(self, trace: Trace) -> HopAnswer:
        edition = trace.edition if self.peer is Peer.WORKER else 0
        return HopAnswer(
            trace.as_of or AsOf("", 0),
            trace.result,
            error=trace.generated,
            edition=edition,
            invalid=trace.detail in _INVALID,
            layer=trace.layer or self.layer,
            upstream=trace.upstream,
        )

    def _with_cache_status(self, headers: Headers, trace: Trace, added: list[Field]) -> Headers:
        """A member a tier: the owner of a key has spoken for its node already, and on a hit no other tier was asked."""
        if not self.cache_status or trace.by_owner:
            return headers
        member = cache_status(self.node, trace, self.key)
        earlier = None if trace.reason is None else headers.combined(b"cache-status")
        added.append((b"Cache-Status", member if earlier is None else earlier + b", " + member))
        return headers.without({b"cache-status"})
