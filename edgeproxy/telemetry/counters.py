"""Counters, declared once with a sentence each. Each worker adds to its own row of shared memory; a reader sums rows.

A row has one writer, so no lock is needed: a reader sees a number that was right a moment ago.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum


class Counter(IntEnum):
    """Every counter: metric name, sentence, labels. `GAUGE` members go down as well."""

    metric: str
    sentence: str
    labels: str
    gauge: bool

    def __new__(cls, metric: str, sentence: str, labels: str = "", gauge: bool = False) -> Counter:
        value = len(cls.__members__)
        member = int.__new__(cls, value)
        member._value_ = value
        member.metric = metric
        member.sentence = sentence
        member.labels = labels
        member.gauge = gauge
        return member

    # Viewer connections (edge/connection.py)
    CONNECTIONS = ("edgeproxy_connections_total", "Connections accepted from viewers and tiers.")
    CONNECTIONS_OPEN = ("edgeproxy_connections_open", "Connections open now.", "", True)
    CONNECTIONS_REFUSED = ("edgeproxy_connections_refused_total", "Connections closed on arrival: a cap was reached.")
    REQUESTS_MALFORMED = ("edgeproxy_requests_malformed_total", "Requests refused by the connection: malformed.")
    REQUESTS_TOO_LARGE = ("edgeproxy_requests_too_large_total", "Requests refused by the connection: over a limit.")
    TIMEOUTS_HEADER = ("edgeproxy_viewer_timeouts_total", "Viewers that were too slow, by stage.", 'stage="header"')
    TIMEOUTS_IDLE = ("edgeproxy_viewer_timeouts_total", "Viewers that were too slow, by stage.", 'stage="idle"')
    TIMEOUTS_BODY = ("edgeproxy_viewer_timeouts_total", "Viewers that were too slow, by stage.", 'stage="body"')
    TIMEOUTS_WRITE = ("edgeproxy_viewer_timeouts_total", "Viewers that were too slow, by stage.", 'stage="write"')
    TUNNELS_OPEN = ("edgeproxy_tunnels_open", "Upgraded connections open now.", "", True)
    TLS_FAILED = ("edgeproxy_tls_failures_total", "TLS handshakes with viewers that failed.")
    CERTIFICATES_MINTED = ("edgeproxy_certificates_minted_total", "Certificates signed by the local CA for viewers.")

    # Hit lane (edge/lane.py)
    LANE_HITS = ("edgeproxy_lane_hits_total", "Hits that the connection answered by itself.")
    LANE_LEARNT = ("edgeproxy_lane_learnt_total", "Answers that the hit lane learnt from the pipeline.")
    LANE_FORGOTTEN = ("edgeproxy_lane_forgotten_total", "Heads and answers that the hit lane forgot to make room.")

    # Shortcut (edge/shortcut.py)
    SHORTCUTS = ("edgeproxy_shortcuts_total", "Requests sent to their origin by the connection itself.")
    SHORTCUT_LEFT = ("edgeproxy_shortcut_left_total", "Those of them that a task had to go on with.")
    SHORTCUT_FORGOTTEN = ("edgeproxy_shortcut_forgotten_total", "Kinds of heads that were forgotten to make room.")

    # Requests (edge/pipeline.py)
    REQUESTS = ("edgeproxy_requests_total", "Requests whose head arrived whole, from viewers and tiers.")
    REQUESTS_FROM_TIER = ("edgeproxy_requests_from_tier_total", "Those of them that another tier sent.")
    REQUESTS_FROM_WORKER = ("edgeproxy_requests_from_worker_total", "Requests another worker of this node handed on.")
    REQUESTS_FAILED = ("edgeproxy_requests_failed_total", "Requests that met an unexpected fault here. Should be 0.")
    RESULT_HIT = ("edgeproxy_results_total", "Requests by what became of them.", 'result="Hit"')
    RESULT_REFRESH_HIT = ("edgeproxy_results_total", "Requests by what became of them.", 'result="RefreshHit"')
    RESULT_MISS = ("edgeproxy_results_total", "Requests by what became of them.", 'result="Miss"')
    RESULT_ERROR = ("edgeproxy_results_total", "Requests by what became of them.", 'result="Error"')
    RESULT_REDIRECT = ("edgeproxy_results_total", "Requests by what became of them.", 'result="Redirect"')
    RESULT_LIMIT = ("edgeproxy_results_total", "Requests by what became of them.", 'result="LimitExceeded"')
    RESULT_CAPACITY = ("edgeproxy_results_total", "Requests by what became of them.", 'result="CapacityExceeded"')
    BYTES_OUT = ("edgeproxy_bytes_out_total", "Bytes sent to viewers and tiers.")
    BYTES_IN = ("edgeproxy_bytes_in_total", "Bytes read from viewers and tiers.")
    STALE_SERVED = ("edgeproxy_stale_served_total", "Answers from stored responses that were no longer fresh.")
    BYPASSED = ("edgeproxy_bypassed_total", "Requests that went upstream without looking into the cache.")
    TIER_REFUSED = ("edgeproxy_tier_refused_total", "Requests to a regional from someone that is no tier: 403.")
    TIER_MISMATCH = ("edgeproxy_tier_mismatch_total", "Tier requests at another revision or epoch than ours.")
    COUNTRIES_REFUSED = ("edgeproxy_countries_refused_total", "Requests from a country that is not served: 403.")
    STAGING_CHOSEN = ("edgeproxy_staging_chosen_total", "Viewers' requests that a staging distribution served.")
    ERROR_PAGES = ("edgeproxy_error_pages_total", "Errors for which a distribution's own page was served.")
    ERRORS_REMEMBERED = ("edgeproxy_errors_remembered_total", "Requests answered with the error that the last one met.")
    LOOPS_REFUSED = ("edgeproxy_loops_refused_total", "Requests that passed too many distributions.")

    # Fills (edge/flight.py)
    FILLS = ("edgeproxy_fills_total", "Fetches that others could join.")
    FILLS_OPEN = ("edgeproxy_fills_open", "Fetches that others may join now.", "", True)
    REFRESHES = ("edgeproxy_refreshes_total", "Stale responses served at once and refreshed in the background.")
    FILLS_FAILED = ("edgeproxy_fills_failed_total", "Fetches that ended in an error.")
    FILLS_STOPPED = ("edgeproxy_fills_stopped_total", "Fetches stopped because nobody read them any more.")
    FILLS_REFUSED = ("edgeproxy_fills_refused_total", "Fetches not shared because too many were open.")
    WAITS = ("edgeproxy_waits_total", "Requests that joined a fetch in progress.")
    WAITS_REFUSED = ("edgeproxy_waits_refused_total", "Requests that went on alone: too many waited already.")
    WAITS_TIMED_OUT = ("edgeproxy_waits_timed_out_total", "Requests that waited too long and went on alone.")
    WAITS_RETRIED = ("edgeproxy_waits_retried_total", "Requests whose fetch failed and that waited for another try.")
    READERS_CUT = ("edgeproxy_readers_cut_total", "Answers cut short because the body's source failed.")

    BODIES_REROUTED = ("edgeproxy_bodies_rerouted_total", "Times bytes of an answer came from elsewhere than begun.")
    # Invalidation (edge/invalidation.py, edge/sweeping.py)
    INVALIDATED = ("edgeproxy_invalidated_total", "Stored responses found unusable: an invalidation had named them.")
    SWEPT = ("edgeproxy_swept_total", "Invalidated responses whose space was reclaimed in the background.")
    CHECKED = ("edgeproxy_swept_checked_total", "Stored responses that no new invalidation names, by the sweep.")

    # Store (store/)
    STORED = ("edgeproxy_stored_total", "Responses stored.")
    STORE_REFUSED = ("edgeproxy_store_refused_total", "Storable responses not stored: too large, or no room.")
    EVICTED = ("edgeproxy_evicted_total", "Stored responses that left to make room.")
    STORE_BYTES = ("edgeproxy_store_bytes", "Bytes of heads and bodies in memory.", "", True)
    STORE_OBJECTS = ("edgeproxy_store_objects", "Stored responses in memory.", "", True)

    # Disk tier (store/disk.py)
    DISK_FOUND = ("edgeproxy_disk_lookups_total", "Keys looked for on disk, by what came of it.", 'result="found"')
    DISK_NOT_FOUND = ("edgeproxy_disk_lookups_total", "Keys looked for on disk, by what came of it.", 'result="absent"')
    DISK_SLOW = ("edgeproxy_disk_lookups_total", "Keys looked for on disk, by what came of it.", 'result="timeout"')
    DISK_STORED = ("edgeproxy_disk_stored_total", "Responses written to disk, refreshed heads included.")
    DISK_REFUSED_QUEUE = ("edgeproxy_disk_refused_total", "Writes to disk given up, by reason.", 'reason="queue"')
    DISK_REFUSED_SPACE = ("edgeproxy_disk_refused_total", "Writes to disk given up, by reason.", 'reason="space"')
    DISK_REFUSED_FAILED = ("edgeproxy_disk_refused_total", "Writes to disk given up, by reason.", 'reason="failed"')
    DISK_REFUSED_OLDER = ("edgeproxy_disk_refused_total", "Writes to disk given up, by reason.", 'reason="older"')
    DISK_EVICTED = ("edgeproxy_disk_left_total", "Responses that left the disk, by reason.", 'reason="room"')
    DISK_EXPIRED = ("edgeproxy_disk_left_total", "Responses that left the disk, by reason.", 'reason="expired"')
    DISK_REMOVED = ("edgeproxy_disk_left_total", "Responses that left the disk, by reason.", 'reason="removed"')
    DISK_DAMAGED = ("edgeproxy_disk_left_total", "Responses that left the disk, by reason.", 'reason="damaged"')
    DISK_CARRIED = ("edgeproxy_disk_carried_total", "Responses in use that were kept when their turn to leave came.")
    DISK_SWEPT = ("edgeproxy_disk_swept_files_total", "Files that belonged to no stored response, removed.")
    DISK_WIPED = ("edgeproxy_disk_wiped_total", "Times a shard began anew: another era, or an index beyond use.")
    DISK_UNCLEAN = ("edgeproxy_disk_unclean_total", "Shards opened after the system went down with them open.")
    DISK_FAILURES_READ = ("edgeproxy_disk_failures_total", "Faults reported by the disk.", 'operation="read"')
    DISK_FAILURES_WRITE = ("edgeproxy_disk_failures_total", "Faults reported by the disk.", 'operation="write"')
    DISK_OFF = ("edgeproxy_disk_off", "Workers whose disk takes no writes now.", "", True)
    DISK_BYTES = ("edgeproxy_disk_bytes", "Bytes used on disk, index included.", "", True)
    DISK_BOUND = ("edgeproxy_disk_bound_bytes", "Bytes that may be used on disk.", "", True)
    DISK_OBJECTS = ("edgeproxy_disk_objects", "Stored responses on disk.", "", True)
    DISK_QUEUED = ("edgeproxy_disk_queued_bytes", "Bytes waiting to be written to disk.", "", True)

    # Upstream (upstream/)
    UPSTREAM_REQUESTS = ("edgeproxy_upstream_requests_total", "Requests sent upstream, retries included.")
    UPSTREAM_OPENED = ("edgeproxy_upstream_connections_opened_total", "Connections opened to upstreams.")
    UPSTREAM_REUSED = ("edgeproxy_upstream_connections_reused_total", "Requests sent on a connection used before.")
    UPSTREAM_OPEN = ("edgeproxy_upstream_connections_open", "Connections to upstreams open now.", "", True)
    UPSTREAM_IDLE_CLOSED = ("edgeproxy_upstream_idle_closed_total", "Idle connections closed, by either side.")
    UPSTREAM_SURPLUS = ("edgeproxy_upstream_surplus_total", "Connections dropped for bytes nobody asked for.")
    UPSTREAM_RETRIES = ("edgeproxy_upstream_retries_total", "Requests sent again on another connection.")
    UPSTREAM_QUEUE_FULL = ("edgeproxy_upstream_queue_full_total", "Requests refused: too many waited.")
    UPSTREAM_QUEUE_TIMED_OUT = (
        "edgeproxy_upstream_queue_timeouts_total",
        "Requests refused: no connection became free in time.",
    )
    UPSTREAM_TIMEOUTS = ("edgeproxy_upstream_timeouts_total", "Connect, first byte and idle time-outs.")
    UPSTREAM_INVALID = ("edgeproxy_upstream_invalid_total", "Answers that broke the rules of RFC 9112.")
    UPSTREAM_UNREACHABLE = ("edgeproxy_upstream_unreachable_total", "Connections that could not be made.")
    UPSTREAM_ABORTED = ("edgeproxy_upstream_aborted_total", "Answers that stopped before their end.")
    FAILOVERS = ("edgeproxy_failovers_total", "Requests sent to the second member of an origin group.")
    COMPRESSED = ("edgeproxy_compressed_total", "Bodies compressed on their way into the store.")
    COMPRESSION_SKIPPED = ("edgeproxy_compression_skipped_total", "Bodies left as they were: too many at once.")
    COMPRESSION_IN = ("edgeproxy_compression_bytes_in_total", "Bytes of bodies before they were compressed.")
    COMPRESSION_OUT = ("edgeproxy_compression_bytes_out_total", "Bytes of the same bodies afterwards.")
    HOP_TIER = ("edgeproxy_hops_total", "Requests sent upstream, by where to.", 'to="tier"')
    HOP_ORIGIN = ("edgeproxy_hops_total", "Requests sent upstream, by where to.", 'to="origin"')
    HOP_WORKER = ("edgeproxy_hops_total", "Requests sent upstream, by where to.", 'to="worker"')

    # Log (telemetry/log.py)
    LOG_LINES = ("edgeproxy_log_lines_total", "Access log records written.")
    LOG_DROPPED = ("edgeproxy_log_dropped_total", "Access log records dropped: the disk was slower than the buffer.")
    LOG_FAILED = ("edgeproxy_log_failures_total", "Times the access log could not be written or rotated.")
    LOG_ROTATED = ("edgeproxy_log_rotations_total", "Times the access log was rotated or reopened.")

    # Resolver (dns/server.py)
    DNS_QUERIES_UDP = ("edgeproxy_dns_queries_total", "DNS messages that arrived, by transport.", 'transport="udp"')
    DNS_QUERIES_TCP = ("edgeproxy_dns_queries_total", "DNS messages that arrived, by transport.", 'transport="tcp"')
    DNS_NOERROR = ("edgeproxy_dns_answers_total", "DNS answers sent, by rcode.", 'rcode="NOERROR"')
    DNS_FORMERR = ("edgeproxy_dns_answers_total", "DNS answers sent, by rcode.", 'rcode="FORMERR"')
    DNS_SERVFAIL = ("edgeproxy_dns_answers_total", "DNS answers sent, by rcode.", 'rcode="SERVFAIL"')
    DNS_NXDOMAIN = ("edgeproxy_dns_answers_total", "DNS answers sent, by rcode.", 'rcode="NXDOMAIN"')
    DNS_NOTIMP = ("edgeproxy_dns_answers_total", "DNS answers sent, by rcode.", 'rcode="NOTIMP"')
    DNS_REFUSED = ("edgeproxy_dns_answers_total", "DNS answers sent, by rcode.", 'rcode="REFUSED"')
    DNS_BADVERS = ("edgeproxy_dns_answers_total", "DNS answers sent, by rcode.", 'rcode="BADVERS"')
    DNS_BADCOOKIE = ("edgeproxy_dns_answers_total", "DNS answers sent, by rcode.", 'rcode="BADCOOKIE"')
    DNS_REMEMBERED = ("edgeproxy_dns_remembered_total", "UDP queries answered from memory, by their bytes alone.")
    DNS_VOUCHED = ("edgeproxy_dns_vouched_total", "Queries that came with a cookie of ours.")
    DNS_SLIPPED = ("edgeproxy_dns_limited_total", "UDP answers over the rate limit.", 'how="truncated"')
    DNS_DROPPED = ("edgeproxy_dns_limited_total", "UDP answers over the rate limit.", 'how="dropped"')
    DNS_TRUNCATED = ("edgeproxy_dns_truncated_total", "UDP answers that did not fit and said so.")
    DNS_UNANSWERED = ("edgeproxy_dns_unanswered_total", "DNS messages that are no query: never answered.")
    DNS_UNSENT = ("edgeproxy_dns_unsent_total", "UDP answers that the system would not take.")
    DNS_FAILED = ("edgeproxy_dns_failed_total", "Queries that met an unexpected fault here: SERVFAIL. Should be 0.")
    DNS_BY_SUBNET = ("edgeproxy_dns_by_subnet_total", "POPs chosen by EDNS client subnet, not by who asked.")
    DNS_CHOSEN_NETWORK = ("edgeproxy_dns_chosen_total", "POPs chosen, by reason.", 'reason="network"')
    DNS_CHOSEN_COUNTRY = ("edgeproxy_dns_chosen_total", "POPs chosen, by reason.", 'reason="country"')
    DNS_CHOSEN_LATENCY = ("edgeproxy_dns_chosen_total", "POPs chosen, by reason.", 'reason="latency"')
    DNS_CHOSEN_DISTANCE = ("edgeproxy_dns_chosen_total", "POPs chosen, by reason.", 'reason="distance"')
    DNS_CHOSEN_EXPLORE = ("edgeproxy_dns_chosen_total", "POPs chosen, by reason.", 'reason="explore"')
    DNS_CHOSEN_DEFAULT = ("edgeproxy_dns_chosen_total", "POPs chosen, by reason.", 'reason="default"')
    DNS_CHOSEN_FAILOVER = ("edgeproxy_dns_chosen_total", "POPs chosen, by reason.", 'reason="failover"')
    DNS_CHOSEN_FAIL_OPEN = ("edgeproxy_dns_chosen_total", "POPs chosen, by reason.", 'reason="fail_open"')
    DNS_CHECKS_FAILED = ("edgeproxy_dns_checks_failed_total", "Health checks of POPs that failed.")
    DNS_NOTICES = (
        "edgeproxy_dns_notices_total",
        "What the control plane noticed of POPs that are checked.",
    )
    DNS_LOG_DROPPED = ("edgeproxy_dns_log_dropped_total", "Query log lines dropped: the disk was too slow, or failed.")
    DNS_TCP_CONNECTIONS = ("edgeproxy_dns_tcp_connections_total", "TCP connections to the resolver accepted.")
    DNS_TCP_OPEN = ("edgeproxy_dns_tcp_open", "TCP connections to the resolver open now.", "", True)
    DNS_TCP_REFUSED = ("edgeproxy_dns_tcp_refused_total", "TCP connections closed on arrival: a cap was reached.")
    DNS_TCP_TIMEOUTS = ("edgeproxy_dns_tcp_timeouts_total", "TCP connections closed for being idle or too slow.")
    DNS_TCP_MALFORMED = ("edgeproxy_dns_tcp_malformed_total", "TCP connections closed for a length no query has.")


ROW = len(Counter)
"""Numbers in one row."""


class Counters:
    """One writer's row. `row` is a memoryview of signed 64-bit numbers, at least ROW long."""

    __slots__ = ("row",)

    def __init__(self, row: memoryview | None = None) -> None:
        self.row = memoryview(bytearray(8 * ROW)).cast("q") if row is None else row

    def add(self, counter: Counter, amount: int = 1) -> None:
        """Count."""
        self.row[counter] += amount

    def put(self, counter: Counter, value: int) -> None:
        """Set a gauge."""
        self.row[counter] = value

    def __getitem__(self, counter: Counter) -> int:
        return self.row[counter]

    def forget_gauges(self) -> None:
        """A new writer takes over this row: what was open is no longer."""
        for counter in Counter:
            if counter.gauge:
                self.row[counter] = 0


def total(rows: Sequence[Counters], counter: Counter) -> int:
    """A counter summed over all workers."""
    return sum(row[counter] for row in rows)
