"""Every setting, with its type, range, default, unit and a sentence.

These are the words only: `configuration.py` reads files into them and reports every fault at once. Off the request
path: whoever needs a value often copies it at start.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from edgeproxy.units import address_text, bytes_from, seconds_from

KiB = 1024
MiB = 1024 * KiB
GiB = 1024 * MiB

Size = Annotated[int, BeforeValidator(bytes_from)]
"""Bytes: a whole number, or text such as "64 MiB"."""
Seconds = Annotated[float, BeforeValidator(seconds_from)]
"""Seconds: a number, or text such as "1.5 s", "10 min", "1 d"."""
Address = Annotated[str, BeforeValidator(address_text)]
"""HOST:PORT with a numeric host; an IPv6 host stands in brackets; port 0 is picked freely."""


def setting(default: Any, help: str, *, low: float | None = None, high: float | None = None, unit: str = "") -> Any:
    """A field with its range, unit and sentence."""
    return Field(default, ge=low, le=high, description=help, json_schema_extra={"unit": unit})


class Table(BaseModel):
    """A table of settings: unknown names and other types are faults, and nothing changes after reading."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Connections(Table):
    """Viewer connections, per worker."""

    request_line_max: Size = setting(8192, "Longest request line; longer is 414.", low=256, high=MiB, unit="bytes")
    head_max: Size = setting(
        32768, "Largest request head; larger is 431 (494 in cloudfront rules).", low=1024, high=MiB, unit="bytes"
    )
    fields_max: int = setting(200, "Most header fields in a head.", low=8, high=10_000, unit="fields")
    body_max: Size = setting(64 * GiB, "Largest request body; larger is 413.", low=0, high=1024 * GiB, unit="bytes")
    connections_max: int = setting(10_000, "Most viewer connections at once.", low=1, high=1_000_000)
    connections_per_client_max: int = setting(1_000, "Most of them from one address.", low=1, high=1_000_000)
    header_timeout: Seconds = setting(10, "From the first byte of a head to its end.", low=0.1, high=3600, unit="s")
    idle_timeout: Seconds = setting(60, "Between requests on a connection.", low=0.1, high=86400, unit="s")
    body_timeout: Seconds = setting(60, "Between two pieces of a request body.", low=0.1, high=86400, unit="s")
    body_rate_min: Size = setting(
        240, "Slowest request body on the whole, bytes a second after body_timeout; 0 for any.", low=0, high=GiB
    )
    write_timeout: Seconds = setting(
        60, "With no byte of an answer taken by the viewer.", low=0.1, high=86400, unit="s"
    )
    half_closed_timeout: Seconds = setting(
        1, "A viewer that sends no more is taken to have left if no answer begins.", low=0, high=3600, unit="s"
    )
    write_buffer: Size = setting(
        256 * KiB, "Answer bytes waiting for a slow viewer before the sender pauses.", low=4 * KiB, high=64 * MiB
    )
    read_buffer: Size = setting(
        256 * KiB, "Request body bytes waiting for upstream before the viewer pauses.", low=4 * KiB, high=64 * MiB
    )
    tunnel_idle_timeout: Seconds = setting(
        600, "An upgraded connection without a byte in either direction.", low=0.1, high=86400, unit="s"
    )
    hit_lane: bool = setting(True, "Answer fresh hits at once on the connection; off: all requests take the long way.")
    hit_lane_memory: Size = setting(
        32 * MiB,
        "Heads and prepared answers remembered for that, per worker.",
        low=MiB,
        high=64 * GiB,
        unit="bytes",
    )
    shortcut_plans: int = setting(
        1024,
        "Kinds of request heads remembered so that plain misses and uploads need no task, per worker; 0 for none.",
        low=0,
        high=1_000_000,
    )
    certificates_max: int = setting(256, "Minted certificates kept ready, per worker.", low=1, high=65_536)
    rtt_networks_max: int = setting(
        4096, "Client networks whose round-trip times are kept for the resolver; 0 for none.", low=0, high=1_000_000
    )
    rtt_interval: Seconds = setting(
        10, "How often open connections are asked for their round-trip time; 0: at their end only.", low=0, high=3600
    )


class Upstream(Table):
    """Connections to the next hop, per worker and upstream."""

    connections_max: int = setting(
        4096, "Most connections to one upstream; more than one client may hold up.", low=1, high=65_536
    )
    idle_max: int = setting(64, "Most of them kept open and idle.", low=0, high=65_536)
    queue_max: int = setting(1024, "Most requests waiting for a connection; more get 503.", low=0, high=1_000_000)
    queue_timeout: Seconds = setting(10, "Longest wait for a connection.", low=0.01, high=600, unit="s")
    upstreams_max: int = setting(1024, "Most upstreams connected at once; more get 503.", low=1, high=65_536)
    keepalive_timeout: Seconds = setting(60, "An idle connection is closed after this.", low=0.1, high=3600, unit="s")
    connect_timeout: Seconds = setting(10, "To connect, TLS included.", low=0.01, high=600, unit="s")
    first_byte_timeout: Seconds = setting(
        30, "From the request sent to the first byte of the answer.", low=0.01, high=3600, unit="s"
    )
    idle_timeout: Seconds = setting(30, "Between two pieces of an answer.", low=0.01, high=3600, unit="s")
    expect_timeout: Seconds = setting(
        1, "Wait for 100 (Continue) before the body is sent anyway.", low=0.01, high=60, unit="s"
    )
    head_max: Size = setting(32768, "Largest response head; larger is 502.", low=1024, high=MiB, unit="bytes")
    read_buffer: Size = setting(
        256 * KiB, "Answer bytes waiting for their reader before the connection pauses.", low=4 * KiB, high=64 * MiB
    )
    ca_file: str | None = setting(None, "CA certificates that https upstreams are checked against, PEM file.")


class Cache(Table):
    """What a worker keeps in memory."""

    memory: Size = setting(256 * MiB, "Bodies and heads kept in memory, per worker.", low=MiB, high=1024 * GiB)
    object_max: Size = setting(64 * GiB, "Largest body stored.", low=KiB, high=1024 * GiB, unit="bytes")
    memory_object_max: Size = setting(
        16 * MiB, "Largest body kept in memory; larger ones go to disk only.", low=KiB, high=64 * GiB, unit="bytes"
    )
    promote_max: Size = setting(
        MiB, "Largest body that comes into memory when it is asked for and only the disk has it.", low=0, high=MiB
    )
    variants_max: int = setting(64, "Most variants kept side by side under one key.", low=1, high=10_000)
    no_vary_search: bool = setting(
        False, "Use a stored response also for queries that its No-Vary-Search calls the same."
    )
    invalidations_max: int = setting(
        100_000,
        "Invalidated names remembered per distribution; older ones count for all of it.",
        low=16,
        high=10_000_000,
    )
    sweep_interval: Seconds = setting(
        5, "Between two looks whether invalidated responses are to be cleared away.", low=0.01, high=86_400, unit="s"
    )
    stale_keep: Seconds = setting(
        86_400, "How long past its freshness a response is kept for revalidation and errors.", low=0, high=31_536_000
    )
    disk: Size = setting(
        10 * GiB,
        "Disk space for stored responses, per node, index included; 0 for none.",
        low=0,
        high=1024 * 1024 * GiB,
    )
    disk_shards: int = setting(16, "Parts of the disk store; other than before, it begins anew.", low=1, high=256)
    disk_small_max: Size = setting(
        64 * KiB, "Largest body that shares a file with others.", low=0, high=MiB, unit="bytes"
    )
    disk_piece: Size = setting(
        256 * KiB, "Larger bodies are checked in pieces of this size, a power of two.", low=64 * KiB, high=MiB
    )
    disk_queue: Size = setting(
        32 * MiB, "Bytes waiting to be written, per worker; beyond that they are not stored.", low=MiB, high=16 * GiB
    )
    disk_orders_max: int = setting(
        100_000, "Writes and removals waiting, per worker; a shard with removals beyond that begins anew.", low=1000
    )
    disk_readers: int = setting(4, "Threads that read for a worker.", low=1, high=64)
    disk_files_max: int = setting(256, "Files kept open, per worker.", low=16, high=100_000)
    disk_filter_max: Size = setting(
        64 * MiB, "Memory for knowing what is not on disk, per worker.", low=64 * KiB, high=16 * GiB
    )
    disk_timeout: Seconds = setting(5, "A disk that takes longer is not waited for.", low=0.05, high=600, unit="s")
    disk_check_interval: Seconds = setting(
        5, "How often the disk is looked at: for a failed one to be tried again, and for room.", low=0.05, high=3600
    )


class Fills(Table):
    """Fetches that fill the cache, per worker."""

    fills_max: int = setting(4096, "Most fetches at once that others may join.", low=1, high=1_000_000)
    waiters_max: int = setting(10_000, "Most requests waiting for one fetch.", low=1, high=1_000_000)
    wait_timeout: Seconds = setting(30, "A request that waited this long goes on alone.", low=0.01, high=3600)
    hit_for_miss: Seconds = setting(
        10, "After an answer that cannot be stored, how long nobody waits for another.", low=0, high=3600
    )
    hit_for_miss_max: int = setting(10_000, "Most keys with such a mark.", low=0, high=10_000_000)
    finish_remaining: Size = setting(
        MiB, "A fetch that nobody reads any more is finished when no more than this is missing.", low=0, high=GiB
    )
    window: Size = setting(
        MiB, "Bytes of a body that are kept in memory while it goes to disk, or nowhere.", low=64 * KiB, high=GiB
    )
    windows: Size = setting(
        32 * MiB, "For all such bodies together; none gets less than 64 KiB.", low=64 * KiB, high=64 * GiB
    )
    interval: Size = setting(
        MiB, "Missing parts of a stored body are fetched in whole intervals of this.", low=1, high=MiB, unit="bytes"
    )
    read_ahead: int = setting(1, "Intervals fetched beyond what was asked for.", low=0, high=64)


class Compression(Table):
    """Bodies compressed here, per worker; which ones a distribution says."""

    at_once_max: int = setting(
        32, "Most bodies being compressed at a time; further ones stay as they are until they expire.", low=0, high=4096
    )
    gzip_level: int = setting(6, "Effort for gzip; more is smaller and slower.", low=1, high=9)
    brotli_quality: int = setting(5, "Effort for brotli; likewise.", low=0, high=11)


class Log(Table):
    """The access log."""

    path: str = setting("DATA_DIR/access.log", 'A file, "-" for standard output, or "off"; DATA_DIR is replaced.')
    format: Literal["w3c", "json"] = setting("w3c", "CloudFront's standard log, or one JSON object a line.")
    cookies: bool = setting(False, "Log cookies (CloudFront's IncludeCookies).")
    flush_interval: Seconds = setting(1, "Longest time a record waits in memory.", low=0.01, high=60, unit="s")
    buffer_max: Size = setting(
        4 * MiB, "Records waiting for the disk; beyond that they are dropped and counted.", low=64 * KiB, high=GiB
    )
    rotate_size: Size = setting(256 * MiB, "A larger file is rotated; 0 for never.", low=0, high=1024 * GiB)
    rotate_keep: int = setting(10, "Rotated files kept.", low=0, high=10_000)


class Tier(Table):
    """How nodes of one CDN know each other."""

    key: str | None = setting(
        None, "Shared by all nodes; EDGEPROXY_TIER_KEY when absent; with neither only loopback peers are trusted."
    )
    fallback: Literal["origin", "error"] = setting(
        "origin", "When the next tier cannot be reached: go straight to the origin, or answer 502/504."
    )
    cache_status: bool = setting(True, "Add this tier's member to Cache-Status (RFC 9211).")
    cache_status_key: bool = setting(False, "Tell the cache key in it.")


class Trust(Table):
    """Whose word about the viewer is taken."""

    proxies: list[str] = setting([], "Networks whose X-Forwarded-For names the viewer, such as 10.0.0.0/8.")


class Network(Table):
    """Clients of one network: which POPs are best for them, or where they are, or both."""

    network: str = setting(..., "CIDR, such as 203.0.113.0/24.")
    pops: list[str] = setting([], "Names of nodes, best first; none: the nearest ones.")
    latitude: float | None = setting(None, "Where its clients are.", low=-90, high=90, unit="degrees north")
    longitude: float | None = setting(None, "Where its clients are.", low=-180, high=180, unit="degrees east")
    country: str = setting("", "Their country, as ISO 3166-1 alpha-2, such as DE.")


class Country(Table):
    """Clients of one country and the POPs that are best for them."""

    country: str = setting(..., "ISO 3166-1 alpha-2, such as DE.")
    pops: list[str] = setting(..., "Names of nodes, best first.")


class Text(Table):
    """A TXT record."""

    name: str = setting(..., "In one of the zones.")
    text: str = setting(..., "What it says; longer than 255 bytes is cut into several strings.")


class Health(Table):
    """How the resolver finds out which POPs are well."""

    interval: Seconds = setting(5, "Between two checks of a POP.", low=0.05, high=3600, unit="s")
    jitter: float = setting(0.1, "By how large a share of the interval a check may come early.", low=0, high=0.9)
    timeout: Seconds = setting(2, "A check that takes longer has failed.", low=0.01, high=60, unit="s")
    fall: int = setting(2, "Failed checks in a row that take a POP out of the answers.", low=1, high=100)
    rise: int = setting(2, "Good checks in a row that bring it back.", low=1, high=100)


class Latency(Table):
    """What the resolver learns from the round-trip times that POPs measure."""

    enabled: bool = setting(True, "Let measured times overrule distance.")
    prefixes_max: int = setting(20_000, "Client networks (/24, /48) remembered.", low=16, high=1_000_000)
    half_life: Seconds = setting(1800, "After this, a sample counts half.", low=1, high=604_800, unit="s")
    samples_min: float = setting(5, "Samples, counted so, that a time needs to be believed.", low=1, high=1000)
    explore_share: float = setting(
        0.05, "Of the networks where another POP may be nearer, how many are sent there at a time.", low=0, high=1
    )
    explore_time: Seconds = setting(20, "For how long, and the TTL of such answers.", low=1, high=3600, unit="s")


class Resolver(Table):
    """The DNS server."""

    listen: list[Address] = setting(["127.0.0.1:5300"], "Where it answers, over UDP and TCP.")
    ttl: int = setting(60, "Of addresses.", low=0, high=86_400, unit="s")
    negative_ttl: int = setting(60, "Of answers that say no.", low=0, high=86_400, unit="s")
    zone_ttl: int = setting(
        3600, "Of SOA and NS records, and of the addresses of name servers and nodes.", low=0, high=604_800, unit="s"
    )
    addresses: list[str] = setting([], "Of the zone's name servers; default: the hosts it listens on.")
    nameservers: list[str] = setting([], "Names of the zone's servers; default ns1.ZONE.")
    hostmaster: str | None = setting(None, "Mail name for SOA; default hostmaster.ZONE.")
    zones: list[str] = setting([], "Further zones answered for, such as that of an alias.")
    networks: list[Network] = setting([], "Which POP for which clients; the longest prefix wins.")
    countries: list[Country] = setting([], "Which POP for which country, where no network decides.")
    location_database: str | None = setting(
        None, "Where client networks are: a MaxMind-format file, relative to the settings file."
    )
    default: list[str] = setting([], "POPs for everybody else, best first; default: all in the order of the file.")
    aliases: Literal["cname", "address"] = setting(
        "cname", "Answer an alias with a CNAME and what that leads to, or (as always at the top of a zone) directly."
    )
    https_records: bool = setting(True, "Answer HTTPS (type 65) for POPs that speak it; browsers then prefer HTTPS.")
    texts: list[Text] = setting([], "TXT records, such as those that prove whose a domain is.")
    admin: Address = setting("127.0.0.1:0", "Its own health, metrics and explanations.")
    health: Health = Health()
    latency: Latency = Latency()
    memo_max: int = setting(100_000, "Answers kept ready, by kind of question and POP.", low=0, high=1_000_000)
    rate_limit: int = setting(
        200, "Like UDP answers a second to one network (/24, /56); 0 for no limit.", low=0, high=10_000_000
    )
    rate_limit_exempt: list[str] = setting(["127.0.0.0/8", "::1/128"], "Networks that are never limited.")
    amplification_max: int = setting(
        10, "A UDP answer is at most this many times as long as its query, unless a cookie vouches.", low=2, high=100
    )
    cookie_secret: str | None = setting(
        None, "32 hex digits shared by resolvers that answer for each other (RFC 9018); default: made at start."
    )
    nsid: str = setting("", "Tells askers which of several resolvers this is (RFC 5001); at most 64 characters.")
    query_log: str = setting("off", 'A file, "-" for standard output, or "off": a sample of queries as JSON lines.')
    query_log_share: float = setting(0.01, "How large the sample is.", low=0, high=1)
    tcp_connections_max: int = setting(1000, "Most TCP connections at once.", low=1, high=100_000)
    tcp_connections_per_client_max: int = setting(100, "Most of them from one address.", low=1, high=100_000)
    tcp_idle_timeout: Seconds = setting(10, "An idle TCP connection is closed after this.", low=0.1, high=600)


class AccessKey(Table):
    """Who may use the control plane's API."""

    id: str = setting(..., "What AWS calls the access key id.")
    secret: str = setting(..., "Its secret access key.")


class Control(Table):
    """The control plane."""

    listen: Address = setting("127.0.0.1:8400", "Where its API answers.")
    url: str | None = setting(
        None, "Where nodes and the resolver find it; none: they know the distributions of the files, and no others."
    )
    access_keys: list[AccessKey] = setting(
        [], "Whose signatures count; EDGEPROXY_ACCESS_KEYS=ID:SECRET,... adds some. With none, everybody may."
    )
    open: bool = setting(False, "Listen for other machines without any access key.")
    heartbeat: Seconds = setting(3, "Between two signs of life to a node.", low=0.05, high=3600, unit="s")
    lease: Seconds = setting(
        0, "A node out of touch for longer uses its cache no more; 0: it goes on.", low=0, high=86_400, unit="s"
    )
    hold: Seconds = setting(
        2, "How long GetInvalidation and GetDistribution wait for what is in progress.", low=0, high=60, unit="s"
    )
    invalidation_paths_max: int = setting(
        3000, "Paths of one distribution's invalidations in progress; more is TooManyInvalidationsInProgress.", low=1
    )
    invalidation_wildcards_max: int = setting(15, "Paths that end with * among them, counted apart.", low=0)
    invalidations_kept: int = setting(
        100_000, "Invalidations remembered; beyond that the older half is forgotten.", low=100, high=10_000_000
    )


class Node(Table):
    """One node of the CDN."""

    name: str = setting(..., "Unique; appears in Cache-Status and in the logs.")
    mode: Literal["pop", "regional"] = setting(..., "Which tier it is.")
    region: str = setting("local", "Where it stands, such as eu-central-1.")
    code: str = setting("", "Its x-edge-location, such as FRA50-P1; made from the name when absent.")
    listen: list[Address] = setting([], "Plain HTTP.")
    https: list[Address] = setting([], "HTTPS.")
    admin: Address = setting("127.0.0.1:0", "Admin listener.")
    upstream: str | None = setting(None, "Name of the regional asked on a miss; none: the origin.")
    addresses: list[str] = setting([], "What the resolver answers for it; default: the hosts it listens on.")
    workers: int | None = setting(None, "Worker processes; default: one per processor.", low=1, high=256)
    latitude: float | None = setting(None, "Where it stands, for the resolver.", low=-90, high=90, unit="degrees north")
    longitude: float | None = setting(None, "Likewise.", low=-180, high=180, unit="degrees east")
    health: bool = setting(True, "Let the resolver ask its admin listener whether it is ready.")
    load_max: int | None = setting(
        None, "Viewer connections from which on the resolver prefers other POPs.", low=1, high=10_000_000
    )


class DistributionFile(Table):
    """A distribution, as `aws cloudfront get-distribution-config` prints it."""

    file: str = setting(..., "JSON file, relative to the settings file.")
    id: str = setting("", "Its id; default: made from the file's name.")


class Certificate(Table):
    """A certificate that is used instead of a minted one for the names it covers."""

    certificate: str = setting(..., "PEM file with the chain.")
    key: str = setting(..., "PEM file with the private key.")


class Drain(Table):
    """What happens on SIGTERM."""

    deadline: Seconds = setting(30, "Requests still running after this are cut.", low=0, high=3600, unit="s")


class Settings(Table):
    """The whole settings file."""

    zone: str = setting("edge.localhost", "Distributions are served under ID.ZONE.")
    connections: Connections = Connections()
    upstream: Upstream = Upstream()
    cache: Cache = Cache()
    fills: Fills = Fills()
    compression: Compression = Compression()
    log: Log = Log()
    tier: Tier = Tier()
    trust: Trust = Trust()
    drain: Drain = Drain()
    resolver: Resolver = Resolver()
    control: Control = Control()
    nodes: list[Node] = setting([], "The nodes of this CDN.")
    distributions: list[DistributionFile] = setting([], "What they serve.")
    policies: list[str] = setting([], "JSON files with cache, origin request and response headers policies.")
    certificates: list[Certificate] = setting([], "Certificates of your own.")
    origins: dict[str, str] = setting({}, "Origin host names sent elsewhere: host = URL.")
