"""From a request's head to an `Ask`, or to the reason why there is none: the steps before the cache (fact sheet 0.1).

Order: who asks (a tier proves itself) · which distribution, staging or not · loops · country · behaviour · viewer
protocol · method · what is made known about the viewer · key.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache

from edgeproxy.cloudfront import fields as cf
from edgeproxy.cloudfront.deployment import Chosen, choose, without_session
from edgeproxy.cloudfront.origin_request import asks_upgrade, is_websocket, origin_host
from edgeproxy.cloudfront.pages import Cause
from edgeproxy.cloudfront.viewer import Viewer, error_fields, with_viewer_fields
from edgeproxy.edge.ask import Ask
from edgeproxy.edge.dress import Dress
from edgeproxy.edge.hop import CLIENT, HopRequest, is_loopback, is_tier, read_request
from edgeproxy.edge.invalidation import Ledger
from edgeproxy.edge.node import Clocks, Place, Serving
from edgeproxy.edge.page import SharedPage, owner_of
from edgeproxy.edge.present import Presenter, Trace
from edgeproxy.errors import Detail
from edgeproxy.headers import without_internal, without_nominated
from edgeproxy.message import Client, Incoming, Peer, RequestHead
from edgeproxy.model import Behavior, Deployment, Distribution, Mode, Origin, Rules, ViewerProtocol
from edgeproxy.outcome import Layer, Result
from edgeproxy.rules.key import resource_key, variant_key
from edgeproxy.rules.ranges import excessive
from edgeproxy.rules.routing import Route, choose_behavior, layer_of, route
from edgeproxy.telemetry.counters import Counter, Counters

CHAIN_MAX = 2
"""Distributions a request may pass (fact sheet 1.5, "Loops")."""


class Refused(Exception):
    """The request goes no further. `client` and `distribution` are what was known by then."""

    def __init__(
        self,
        status: int,
        cause: Cause | str,
        *,
        client: Client,
        distribution: Distribution | None = None,
        result: Result = Result.ERROR,
        detail: Detail | None = None,
        location: bytes | None = None,
        mismatch: str | None = None,
    ) -> None:
        super().__init__(str(cause))
        self.status = status
        self.cause = cause
        self.client = client
        self.distribution = distribution
        self.result = result
        self.detail = detail
        self.location = location
        self.mismatch = mismatch


class Admission:
    """Turns heads into asks for one worker."""

    def __init__(self, place: Place, page: SharedPage, ledger: Ledger, counters: Counters, clocks: Clocks) -> None:
        self._place = place
        self._page = page
        self._ledger = ledger
        self._counters = counters
        self._clocks = clocks

    def admit(self, incoming: Incoming, serving: Serving, request_id: str) -> Ask:
        """The ask. Raises Refused, or ViewerError for an unreadable hop."""
        head, hop, peer = self._identify(incoming, serving)
        client = hop.client if hop is not None else self._viewer(incoming, serving)
        distribution = self._distribution(head, hop, serving, client)
        deployed = None
        if hop is None and distribution.deployment is not None:
            distribution, deployed = self._deployed(distribution, distribution.deployment, head, serving)
            head = head.with_headers(without_session(head.headers))
        if hop is not None:
            self._check_hop(hop, distribution, client)
            head = replace(head, scheme=hop.scheme)
        elif cf.distributions_passed(head.headers) >= CHAIN_MAX:
            self._counters.add(Counter.LOOPS_REFUSED)
            raise Refused(403, Cause.LOOP, client=client, distribution=distribution, detail=Detail.INVALID_REQUEST)
        head = _with_root_object(head, distribution)
        if excessive(head.headers):
            head = head.with_headers(head.headers.without({b"range", b"if-range"}))
        behavior = choose_behavior(distribution, head.path)
        if hop is None:
            self._check_country(distribution, client, serving)
            self._check_viewer(head, incoming, distribution, behavior.viewer_protocol, behavior.allowed_methods, client)
            head = described(head, incoming.head, behavior, client, serving)
        return self._ask(
            incoming, head, hop, peer, client, distribution, behavior, serving, request_id, behavior, deployed
        )

    def _deployed(
        self, primary: Distribution, deployment: Deployment, head: RequestHead, serving: Serving
    ) -> tuple[Distribution, Chosen | None]:
        """The distribution that serves this viewer; the primary does while its staging distribution cannot."""
        staging = serving.hosts.staging_of(primary)
        if staging is None:
            return primary, None
        draw = int.from_bytes(self._clocks.random_bytes(4), "big") / 2**32
        chosen = choose(deployment, head.headers, self._clocks.wall(), draw)
        if not chosen.staging:
            return primary, chosen
        self._counters.add(Counter.STAGING_CHOSEN)
        return staging, chosen

    def for_page(
        self,
        incoming: Incoming,
        failed: RequestHead,
        distribution: Distribution,
        client: Client,
        serving: Serving,
        request_id: str,
        deployed: Chosen | None = None,
    ) -> Ask:
        """The ask for a distribution's own page about an error, on behalf of the viewer who met it (fact sheet 2.8).

        It falls under the behaviour of its own path; only the response headers policy is that of the request that
        `failed` (inferred: it is that request's answer).
        """
        head = incoming.head.with_headers(without_nominated(without_internal(incoming.head.headers)))
        if distribution.shared:
            head = head.with_headers(without_session(head.headers))
        behavior = choose_behavior(distribution, head.path)
        head = described(head, failed, behavior, client, serving)
        head = head.with_headers(head.headers.plus(*error_fields(behavior.forward.made_up, failed)))
        met = choose_behavior(distribution, failed.path)
        return self._ask(
            incoming, head, None, Peer.VIEWER, client, distribution, behavior, serving, request_id, met, deployed
        )

    def _ask(
        self,
        incoming: Incoming,
        head: RequestHead,
        hop: HopRequest | None,
        peer: Peer,
        client: Client,
        distribution: Distribution,
        behavior: Behavior,
        serving: Serving,
        request_id: str,
        dressed_by: Behavior,
        deployed: Chosen | None,
    ) -> Ask:
        origin = distribution.origins[behavior.origin]
        if not head.authority:  # HTTP/1.0 may come without Host, but neither key nor next hop can do without one
            head = replace(head, authority=origin_host(origin, head.scheme))
        upgrade = asks_upgrade(head) if distribution.rules is Rules.RFC9111 else is_websocket(head)
        tier_region = None if serving.next_tier is None else serving.next_tier.region
        way = route(head, upgrade, distribution, behavior, origin, tier_region)
        named = resource_key(head, distribution, behavior)
        key = hop.key if hop is not None and hop.key is not None else variant_key(named, head, behavior)
        if head.method == "OPTIONS":
            named = resource(head, distribution)
        if hop is not None and hop.refresh and peer is Peer.TIER:
            # Something was changed through that tier. What is stored here is spoiled, and so is what is still on its
            # way into the store (INVALIDATION rule 6); the workers of this node see it at once.
            self._page.next_generation(named)
        dress = None if hop is not None else self._dress(dressed_by, head, request_id, incoming.received_at)
        request_id = request_id if hop is None else hop.request_id
        presenter = self._presenter(serving, distribution, request_id, peer, key, way, origin, dress)
        if deployed is not None and deployed.cookie is not None:
            presenter = replace(presenter, session=deployed.cookie)
        return Ask(
            incoming=incoming,
            request=head,
            client=client,
            serving=serving,
            distribution=distribution,
            behavior=behavior,
            origin=origin,
            route=way,
            upgrade=upgrade,
            resource=named,
            key=key,
            generation=self._page.generation(named),
            floor=self._ledger.floor(key, 0 if hop is None else hop.floor),
            hop=hop,
            request_id=request_id,
            presenter=presenter,
            trace=Trace(),
            deployed=deployed,
            owner=self._owner(key, peer) if way.cached else None,
        )

    def again(self, like: Ask, incoming: Incoming, head: RequestHead, variant: bytes, request_id: str) -> Ask:
        """The ask for a viewer's request that is `head`, and is like another but for its target, sender and content.

        Both fall under the same behaviour; `variant` is what the key of both has behind their resource's.
        """
        distribution, behavior, serving = like.distribution, like.behavior, like.serving
        named = resource_key(head, distribution, behavior)
        key = named + variant
        dress = self._dress(behavior, head, request_id, incoming.received_at)
        return Ask(
            incoming=incoming,
            request=head,
            client=incoming.client,
            serving=serving,
            distribution=distribution,
            behavior=behavior,
            origin=like.origin,
            route=like.route,
            upgrade=False,
            resource=named,
            key=key,
            generation=self._page.generation(named),
            floor=self._ledger.floor(key),
            hop=None,
            request_id=request_id,
            presenter=self._presenter(
                serving, distribution, request_id, Peer.VIEWER, key, like.route, like.origin, dress
            ),
            trace=Trace(),
            owner=self._owner(key, Peer.VIEWER) if like.route.cached else None,
        )

    def _presenter(
        self,
        serving: Serving,
        distribution: Distribution,
        request_id: str,
        peer: Peer,
        key: bytes,
        way: Route,
        origin: Origin,
        dress: Dress | None,
    ) -> Presenter:
        layer = layer_of(origin, self._place.mode, self._place.region)
        return self.presenter(serving, distribution, request_id, peer, key if way.cached else None, layer, dress)

    def presenter(
        self,
        serving: Serving,
        distribution: Distribution | None,
        request_id: str,
        peer: Peer,
        key: bytes | None = None,
        layer: Layer = Layer.EDGE,
        dress: Dress | None = None,
    ) -> Presenter:
        """How answers to this sender look; `key` is told where the settings say so."""
        return Presenter(
            node=self._place.name,
            code=self._place.code,
            rules=serving.default_rules if distribution is None else distribution.rules,
            request_id=request_id,
            cache_status=serving.settings.tier.cache_status,
            peer=peer,
            key=key if serving.settings.tier.cache_status_key else None,
            layer=layer,
            dress=dress,
        )

    def _dress(self, behavior: Behavior, head: RequestHead, request_id: str, received_at: float) -> Dress | None:
        if behavior.response is None:
            return None
        monotonic = self._clocks.monotonic
        return Dress(behavior.response, head, self._place.code, request_id, lambda: monotonic() - received_at)

    def _identify(self, incoming: Incoming, serving: Serving) -> tuple[RequestHead, HopRequest | None, Peer]:
        """Who asks. A regional serves nobody but tiers; a POP never believes a viewer that speaks like one."""
        head = incoming.head
        cleaned = head.with_headers(without_nominated(without_internal(head.headers)))
        if incoming.client.peer is Peer.WORKER:
            self._counters.add(Counter.REQUESTS_FROM_WORKER)
            return cleaned, read_request(head.headers, Peer.WORKER), Peer.WORKER
        if self._place.mode is Mode.POP:
            return cleaned, None, Peer.VIEWER
        if not is_tier(head.headers, incoming.client.address, serving.settings.tier.key):
            self._counters.add(Counter.TIER_REFUSED)
            raise Refused(403, Cause.NOT_A_TIER, client=incoming.client, detail=Detail.INVALID_REQUEST)
        hop = read_request(head.headers, Peer.TIER)
        if hop is None:
            return cleaned, None, Peer.VIEWER
        self._counters.add(Counter.REQUESTS_FROM_TIER)
        return cleaned, hop, Peer.TIER

    def _viewer(self, incoming: Incoming, serving: Serving) -> Client:
        """The viewer: said so by the test clock's field, by a trusted proxy, or the peer itself."""
        client, headers = incoming.client, incoming.head.headers
        if self._place.test_clock and is_loopback(client.address):
            said = headers.get(CLIENT)
            if said is not None and (address := _address(said)) is not None:
                return replace(client, address=address)
        if serving.settings.trust.proxies and within(client.address, serving.settings.trust.proxies):
            chain = [part.strip() for part in (headers.combined(b"x-forwarded-for") or b"").split(b",")]
            for part in reversed(chain):
                address = _address(part)
                if address is None:
                    break
                if not within(address, serving.settings.trust.proxies):
                    return replace(client, address=address)
        return client

    def _distribution(
        self, head: RequestHead, hop: HopRequest | None, serving: Serving, client: Client
    ) -> Distribution:
        found = serving.hosts.by_id(hop.distribution) if hop is not None else serving.hosts.find(head.authority)
        if found is None and hop is not None:
            self._counters.add(Counter.TIER_MISMATCH)
            raise Refused(421, "The distribution is not known here.", client=client, mismatch="distribution")
        if found is None:
            raise Refused(403, Cause.BAD_REQUEST, client=client, detail=Detail.INVALID_REQUEST)
        return found

    def _check_hop(self, hop: HopRequest, distribution: Distribution, client: Client) -> None:
        mismatch = None
        if hop.revision != distribution.revision:
            mismatch = "revision"
        elif hop.applied.epoch != self._ledger.epoch:
            mismatch = "epoch"
        if mismatch is not None:
            self._counters.add(Counter.TIER_MISMATCH)
            raise Refused(
                421,
                f"This node works at another {mismatch}.",
                client=client,
                distribution=distribution,
                mismatch=mismatch,
            )

    def _check_country(self, distribution: Distribution, client: Client, serving: Serving) -> None:
        """Fact sheet 8.5, for the distribution as a whole."""
        countries = distribution.countries
        if countries is None or not countries.refuses(serving.clients.find(client.address).country):
            return
        self._counters.add(Counter.COUNTRIES_REFUSED)
        raise Refused(403, Cause.COUNTRY, client=client, distribution=distribution, detail=Detail.CLIENT_GEO_BLOCKED)

    def _check_viewer(
        self,
        head: RequestHead,
        incoming: Incoming,
        distribution: Distribution,
        policy: ViewerProtocol,
        methods: frozenset[str] | None,
        client: Client,
    ) -> None:
        if head.scheme == "http" and policy is not ViewerProtocol.ALLOW_ALL:
            self._check_protocol(head, distribution, policy, client)
        if methods is not None and head.method not in methods:
            raise Refused(
                403, Cause.METHOD, client=client, distribution=distribution, detail=Detail.INVALID_REQUEST_METHOD
            )
        if distribution.rules is Rules.CLOUDFRONT and head.method == "GET" and incoming.body.length != 0:
            raise Refused(403, Cause.BAD_REQUEST, client=client, distribution=distribution)

    def _check_protocol(
        self, head: RequestHead, distribution: Distribution, policy: ViewerProtocol, client: Client
    ) -> None:
        """Fact sheet 5.3: 301 for GET and HEAD, 307 for others that HTTP/1.1 can repeat, 403 for the rest."""
        safe = head.method in ("GET", "HEAD")
        if policy is ViewerProtocol.REDIRECT and (safe or head.version != "1.0"):
            raise Refused(
                301 if safe else 307,
                Cause.REDIRECT,
                client=client,
                distribution=distribution,
                result=Result.REDIRECT,
                location=b"https://" + self._https_authority(head.authority) + head.target,
            )
        raise Refused(403, Cause.BAD_REQUEST, client=client, distribution=distribution)

    def _https_authority(self, authority: bytes) -> bytes:
        """The same host where this node speaks HTTPS: on a laptop that is rarely port 443."""
        host = re.sub(rb":\d*\Z", b"", authority)
        port = self._place.https_port
        return host if port in (None, 443) else b"%b:%d" % (host, port)

    def _owner(self, key: bytes, peer: Peer) -> int | None:
        workers = len(self._place.owners)
        if workers < 2 or peer is Peer.WORKER:
            return None
        owner = owner_of(key, self._place.shards, workers)
        return None if owner == self._place.worker else owner


def resource(request: RequestHead, distribution: Distribution) -> bytes:
    """What an unsafe request to this target spoils, whatever else keys are made of and whatever the method: a name."""
    rooted = _with_root_object(request, distribution)
    if rooted.method == "OPTIONS":
        rooted = replace(rooted, method="GET")
    return resource_key(rooted, distribution, choose_behavior(distribution, rooted.path))


def described(
    head: RequestHead, received: RequestHead, behavior: Behavior, client: Client, serving: Serving
) -> RequestHead:
    """The request with what its key or its origin is to know about the viewer, in `cloudfront` rules (fact sheet 1.9).

    Tiers pass it on as it is: only the first one knows the viewer. HTTP/1.0 viewers are not asked what they accept
    (fact sheet 4.4).
    """
    if behavior.caching.rules is not Rules.CLOUDFRONT:
        return head
    if head.version == "1.0":
        head = head.with_headers(head.headers.without({b"accept-encoding"}))
    wanted = behavior.forward.made_up
    if not wanted:
        return head
    viewer = Viewer(head, client, serving.clients.find(client.address), without_internal(received.headers))
    return with_viewer_fields(head, wanted, viewer)


def _with_root_object(head: RequestHead, distribution: Distribution) -> RequestHead:
    if not distribution.default_root_object or head.path != b"/":
        return head
    return replace(head, target=b"/" + distribution.default_root_object.encode() + head.target[1:])


def _address(text: bytes) -> str | None:
    try:
        return str(ipaddress.ip_address(text.decode("ascii").strip("[]")))
    except ValueError:
        return None


def within(address: str, networks: Sequence[str]) -> bool:
    """Whether an address lies in one of these networks."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return False
    return any(parsed in _network(network) for network in networks)


@lru_cache(1024)
def _network(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    return ipaddress.ip_network(text, strict=False)
