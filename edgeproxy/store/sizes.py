"""How the disk space and the memory of one worker's disk tier are cut. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from edgeproxy.settings import Cache, KiB, MiB

PIECES_MAX = 1 << 20
"""Pieces of large bodies that a worker knows in memory, 24 bytes each."""


@dataclass(frozen=True, slots=True)
class Sizes:
    """Bytes, but for `pieces_max`."""

    bound: int
    """Of all shards of this worker."""
    margin: int
    """Kept free for what a transaction and an eviction need on the way."""
    segment_max: int
    log_max: int
    """Of one index's WAL."""
    queue_max: int
    filter_max: int
    """Of one shard's filter."""
    pieces_max: int
    """Known of one shard."""

    @classmethod
    def of(cls, settings: Cache, held: int) -> Sizes:
        """Those of a worker that holds so many shards."""
        share = settings.disk // settings.disk_shards
        bound = share * held
        segment_max = min(max(share // 16, 128 * KiB, 2 * settings.disk_small_max), 64 * MiB)
        log_max = min(max(share // 64, 64 * KiB), 4 * MiB)
        return cls(
            bound=bound,
            # Two segments: one that is written while another, half of it carried over, is not gone yet. Two logs a
            # shard: what is written back is there twice until the WAL has been cut.
            margin=2 * segment_max + 2 * log_max * held + MiB,
            segment_max=segment_max,
            log_max=log_max,
            # What waits was promised its space: it must not be most of a small disk.
            queue_max=min(settings.disk_queue, max(bound // 8, MiB)),
            filter_max=settings.disk_filter_max // max(held, 1),
            pieces_max=PIECES_MAX // max(held, 1),
        )


def piece_max(settings: Cache) -> int:
    """The length of a piece: a power of two."""
    return 1 << (settings.disk_piece.bit_length() - 1)
