"""What a node serves: distributions, their behaviours and origins, as values without any I/O.

The nouns are CloudFront's (fact sheet sections 3 to 5). `cloudfront/` builds these from DistributionConfig JSON;
`serve --origin` builds one by itself; everything below works on these alone.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from edgeproxy.values import value


class Rules(Enum):
    """Which set of caching rules a distribution follows."""

    RFC9111 = "rfc9111"
    CLOUDFRONT = "cloudfront"


class Mode(Enum):
    """Which tier a node is."""

    POP = "pop"
    REGIONAL = "regional"


class ViewerProtocol(Enum):
    """ViewerProtocolPolicy (fact sheet 5.3)."""

    ALLOW_ALL = "allow-all"
    REDIRECT = "redirect-to-https"
    HTTPS_ONLY = "https-only"


class OriginScheme(Enum):
    """OriginProtocolPolicy (fact sheet 5.4)."""

    HTTP = "http-only"
    HTTPS = "https-only"
    MATCH_VIEWER = "match-viewer"


class OriginKind(Enum):
    """What an origin is, as far as routing cares (fact sheet 5.5)."""

    CUSTOM = "custom"
    S3 = "s3"


class Choice(Enum):
    """How a policy picks names: query parameters, cookies or header fields."""

    NONE = "none"
    LISTED = "listed"
    ALL_EXCEPT = "allExcept"
    ALL = "all"


@dataclass(frozen=True, slots=True)
class Selector:
    """Picks names by `choice`; `names` are as compared (header names in lower case, others as they are)."""

    choice: Choice
    names: frozenset[bytes] = frozenset()
    patterns: tuple[re.Pattern[bytes], ...] = ()
    """Listed as well: cookie names with wildcards, which only legacy settings have (fact sheet 4.9)."""

    def picks(self, name: bytes) -> bool:
        """Whether this name is chosen."""
        if self.choice is Choice.ALL:
            return True
        if self.choice is Choice.NONE:
            return False
        listed = name in self.names or any(pattern.fullmatch(name) for pattern in self.patterns)
        return listed is (self.choice is Choice.LISTED)


NOTHING = Selector(Choice.NONE)
EVERYTHING = Selector(Choice.ALL)


@dataclass(frozen=True, slots=True)
class Ttl:
    """Minimum, default and maximum lifetime in seconds (fact sheet 3). Only `cloudfront` rules look at them."""

    minimum: float = 0
    default: float = 86_400
    maximum: float = 31_536_000


@dataclass(frozen=True, slots=True)
class Caching:
    """What the caching rules need to know: all of it travels with the behaviour, so that they ask nobody else."""

    rules: Rules = Rules.RFC9111
    ttl: Ttl = Ttl()
    error_ttl: Mapping[int, float] = field(default_factory=dict)
    """ErrorCachingMinTTL by status; 10 s where absent (fact sheet 2.5). `cloudfront` rules only."""
    forwards_cookies: bool = False
    """Cookies reach the origin: `cloudfront` rules then never revalidate nor collapse (fact sheet 1.8, 3)."""


@dataclass(frozen=True, slots=True)
class KeyParts:
    """What goes into the cache key beside the distribution and the path (fact sheet 4.1, 4.2)."""

    query: Selector = EVERYTHING
    cookies: Selector = NOTHING
    headers: tuple[bytes, ...] = ()
    """Lower-case names, sorted. `host` in here keys on the viewer's Host."""
    gzip: bool = False
    brotli: bool = False


@dataclass(frozen=True, slots=True)
class Forwarding:
    """What of the viewer's request reaches the origin: the key's parts and the origin request policy's."""

    query: Selector = EVERYTHING
    cookies: Selector = EVERYTHING
    headers: Selector = EVERYTHING
    made_up: frozenset[bytes] = frozenset()
    """CloudFront-* fields in lower case that are made for these requests, for the key's sake or the origin's (fact
    sheet 1.9). A viewer's own copies never pass."""


@dataclass(frozen=True, slots=True)
class Cors:
    """The CORS part of a response headers policy (fact sheet 4.8)."""

    origins: tuple[str, ...]
    """Patterns, as configured; `*` alone allows every origin."""
    headers: tuple[str, ...]
    methods: tuple[str, ...]
    exposed: tuple[str, ...] = ()
    credentials: bool = False
    max_age: int | None = None
    """Seconds a browser may remember the answer to a preflight."""
    override: bool = True
    """Put in the place of what the origin sent; otherwise added only when the origin sent no CORS field at all."""


@dataclass(frozen=True, slots=True)
class AddedField:
    """A field that a response headers policy adds."""

    name: bytes
    value: bytes
    override: bool
    """Also where the origin sent one."""


@dataclass(frozen=True, slots=True)
class ResponsePolicy:
    """What happens to the fields of an answer on its way to the viewer (fact sheet 4.8): removed first, then added."""

    id: str
    name: str
    removed: frozenset[bytes] = frozenset()
    """In lower case."""
    cors: Cors | None = None
    added: tuple[AddedField, ...] = ()
    timing: float | None = None
    """Server-Timing on this share of the answers, in percent; None: on none, also where the viewer asks for it."""
    source: str = ""
    """What it was read from, canonical JSON; empty for a managed one."""


@dataclass(frozen=True, slots=True)
class Failover:
    """The second member of an origin group, and when it is asked (fact sheet 5.6)."""

    origin: str
    """Id of an origin of the same distribution."""
    codes: frozenset[int]
    """Statuses of the first member; 503 stands for no connection, 504 for no answer in time as well."""


@dataclass(frozen=True, slots=True)
class ErrorPage:
    """What a viewer gets in the stead of an error (fact sheet 2.8)."""

    path: str
    status: int


@dataclass(frozen=True, slots=True)
class Countries:
    """Who is served, by country (fact sheet 8.5). Whoever is in an unknown one is served."""

    served: bool
    """Whether `codes` are those that are served, or those that are not."""
    codes: frozenset[str]

    def refuses(self, country: str) -> bool:
        """Whether a viewer there is turned away; "" is unknown."""
        return bool(country) and (country in self.codes) is not self.served


@dataclass(frozen=True, slots=True)
class Behavior:
    """A cache behaviour: what applies to the requests whose path matches `pattern` (fact sheet 5.1)."""

    pattern: str
    origin: str
    """Id of an origin of the same distribution."""
    caching: Caching = Caching()
    key: KeyParts = KeyParts()
    forward: Forwarding = Forwarding()
    allowed_methods: frozenset[str] | None = None
    """None allows every method (a plain reverse proxy)."""
    cached_methods: frozenset[str] = frozenset({"GET", "HEAD"})
    viewer_protocol: ViewerProtocol = ViewerProtocol.ALLOW_ALL
    compress: bool = False
    failover: Failover | None = None
    response: ResponsePolicy | None = None

    @property
    def caches(self) -> bool:
        """False when nothing under this behaviour may ever be cached: its requests are dynamic on arrival."""
        return self.caching.ttl.maximum > 0


@dataclass(frozen=True, slots=True)
class Origin:
    """Where content comes from, and how patiently we ask. Times in seconds (fact sheet 5.4)."""

    id: str
    host: str
    kind: OriginKind = OriginKind.CUSTOM
    region: str | None = None
    """AWS region of an S3 bucket, when its host name tells."""
    scheme: OriginScheme = OriginScheme.HTTP
    http_port: int = 80
    https_port: int = 443
    host_header: str = ""
    """The Host sent, when the origin's name is not where it is reached (settings `origins`)."""
    path: str = ""
    """Put before every request's path; starts with `/`, never ends with it."""
    custom_headers: tuple[tuple[bytes, bytes], ...] = ()
    connection_attempts: int = 3
    connect_timeout: float = 10
    read_timeout: float = 30
    keepalive_timeout: float = 5
    completion_timeout: float | None = None
    """Bound on the whole exchange, retries included; None for no bound."""
    addresses: str = ""
    """`ipv4` or `ipv6`: only such ones are connected to; empty for both."""
    shield: str | None = None
    """AWS region whose regional stands before this origin, for all nodes (Origin Shield, fact sheet 6)."""


@dataclass(frozen=True, slots=True)
class Deployment:
    """An enabled continuous deployment policy of a primary distribution (fact sheet 11)."""

    staging: str
    """The first label of the staging distribution's name."""
    revision: str
    """16 hexadecimal digits, others after every change."""
    header: tuple[bytes, bytes] | None
    """Name in lower case, and value; None where traffic is split by weight."""
    weight: float = 0
    """Share of the viewers that go to staging, 0 to 1."""
    idle: float = 0
    """Seconds without a request after which a session ends; 0: there are no sessions."""
    maximum: float = 0
    """Seconds after which a session ends in any case."""


@dataclass(frozen=True, slots=True)
class Distribution:
    """One distribution at one revision; immutable, so that a request works with one revision from end to end."""

    id: str
    domain: str
    rules: Rules
    revision: str
    """Opaque; tiers compare it for equality (INVALIDATION rule 3: the key's meaning belongs to its revision)."""
    origins: Mapping[str, Origin]
    behaviors: tuple[Behavior, ...]
    """In order of precedence; the last one is the default behaviour, pattern `*`."""
    aliases: tuple[str, ...] = ()
    enabled: bool = True
    default_root_object: str = ""
    any_host: bool = False
    """Serve every Host (a plain `serve --origin`)."""
    comment: str = ""
    price_class: str = "PriceClass_All"
    """Which POPs may serve it (fact sheet 13)."""
    tag_header: bytes = b""
    """CacheTagConfig: the response field that has an object's tags, in lower case; empty for none (fact sheet 7)."""
    ipv6: bool = True
    """IsIPV6Enabled: the resolver answers with IPv6 addresses too."""
    countries: Countries | None = None
    error_pages: Mapping[int, ErrorPage] = field(default_factory=dict)
    """By the status they stand for."""
    staging: bool = False
    """It serves what its primary sends it, and has no names of its own."""
    deployment: Deployment | None = None
    """Of a primary: what part of its traffic another distribution serves."""

    @property
    def shared(self) -> bool:
        """Whether a viewer's name for it may mean another distribution: each request is decided on by itself."""
        return self.staging or self.deployment is not None


@value(frozen=True, slots=True)
class AsOf:
    """(epoch, number): the origin was asked after all invalidations up to `number` were accepted."""

    epoch: str
    number: int


NO_EPOCH = "0"
"""The epoch of a CDN without a control plane: it never changes, and its number stands at 0."""
