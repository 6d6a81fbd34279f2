"""Which eviction policy the memory tier should have: hit ratios over made-up traces, and what an operation costs.

python -m tests.bench policies [--quick] [--seed N]

LRU is cachetools', S3-FIFO the one of edgeproxy/store/eviction.py. W-TinyLFU lives here only. The traces, the
sizes of the caches and the calls are the same for all three.
"""

from __future__ import annotations

import argparse
import sys
from collections import OrderedDict
from collections.abc import Callable
from time import process_time_ns

from cachetools import Cache, LRUCache

from edgeproxy.store.eviction import S3FIFOCache
from tests.bench.traces import Trace, traces

SHARES = (0.01, 0.05, 0.10, 0.20)
"""Sizes of the cache, as parts of the trace's footprint in bytes."""


class TinyLFU(Cache[int, int]):
    """W-TinyLFU (Einziger, Friedman, Manes; ACM Transactions on Storage 2017) with Caffeine's proportions.

    Counts are exact where the paper has a sketch, which can only flatter it, in hits and in cost. An object from the
    window must be asked for more often than each of those that leave for it, until they come to its size.
    """

    WINDOW, PROTECTED, COUNT_MAX, SAMPLE = 0.01, 0.8, 15, 10

    def __init__(self, maxsize: float, getsizeof: Callable[[int], float] | None = None) -> None:
        super().__init__(maxsize, getsizeof)
        self.window: OrderedDict[int, float] = OrderedDict()
        self.probation: OrderedDict[int, float] = OrderedDict()
        self.protected: OrderedDict[int, float] = OrderedDict()
        self.window_size: float = 0
        self.protected_size: float = 0
        self.paid: float = 0
        self.counts: dict[int, int] = {}
        self.seen = 0

    def _count(self, key: int) -> None:
        count = self.counts.get(key, 0)
        if count < self.COUNT_MAX:
            self.counts[key] = count + 1
        self.seen += 1
        if self.seen > self.SAMPLE * max(len(self), 100):
            self.counts = {key: count // 2 for key, count in self.counts.items() if count > 1}
            self.seen //= 2

    def __getitem__(self, key: int) -> int:
        self._count(key)
        if key in self.protected:
            self.protected.move_to_end(key)
        elif key in self.window:
            self.window.move_to_end(key)
        else:
            size = self.probation.pop(key)
            self.protected[key] = size
            self.protected_size += size
            while self.protected_size > self.PROTECTED * (1 - self.WINDOW) * self.maxsize:
                demoted, size = self.protected.popitem(last=False)
                self.protected_size -= size
                self.probation[demoted] = size
        return Cache.__getitem__(self, key)

    def __setitem__(self, key: int, value: int) -> None:
        """Put something new; replacing is not needed here."""
        before = self.currsize
        self._count(key)
        while self.currsize + self.getsizeof(value) > self.maxsize:
            self.popitem()
            before = self.currsize
        Cache.__setitem__(self, key, value)
        size = self.currsize - before
        self.window[key] = size
        self.window_size += size
        limit = self.WINDOW * self.maxsize
        while self.window_size > limit and self.currsize - self.window_size < self.maxsize - limit and self._free():
            self._admit(next(iter(self.window)))

    def _free(self) -> bool:
        """There is still room that was never used, so nothing has to be judged."""
        return self.currsize < 0.98 * self.maxsize

    def _admit(self, key: int) -> None:
        size = self.window.pop(key)
        self.window_size -= size
        self.probation[key] = size
        self.paid = 0

    def popitem(self) -> tuple[int, int]:
        main = self.probation or self.protected
        while self.window and (self.window_size > self.WINDOW * self.maxsize or not main):
            candidate = next(iter(self.window))
            if not main:
                return self._evict(candidate)
            if self.paid >= self.window[candidate]:
                self._admit(candidate)
                continue
            victim = next(iter(main))
            if self.counts.get(candidate, 0) <= self.counts.get(victim, 0):
                self.paid = 0
                return self._evict(candidate)
            self.paid += main[victim]
            return self._evict(victim)
        return self._evict(next(iter(main)))

    def _evict(self, key: int) -> tuple[int, int]:
        if key in self.window:
            self.window_size -= self.window.pop(key)
        elif key in self.protected:
            self.protected_size -= self.protected.pop(key)
        else:
            del self.probation[key]
        value = Cache.__getitem__(self, key)
        Cache.__delitem__(self, key)
        return key, value


POLICIES: dict[str, Callable[[float], Cache[int, int]]] = {
    "LRU": lambda maxsize: LRUCache(maxsize, getsizeof=int),
    "S3": lambda maxsize: S3FIFOCache(maxsize, getsizeof=int),
    "TLFU": lambda maxsize: TinyLFU(maxsize, getsizeof=int),
}


def ratios(played: Trace, cache: Cache[int, int]) -> tuple[float, float]:
    """The part of all requests, and of all bytes, that the cache answers."""
    sizes = played.sizes
    hits = hit_bytes = total = 0
    for name in played.requests:
        size = sizes[name]
        total += size
        if name in cache:
            cache[name]
            hits += 1
            hit_bytes += size
        elif size <= cache.maxsize:
            cache[name] = size
    return hits / len(played.requests), hit_bytes / total


def rows(played: Trace) -> list[str]:
    """One trace's lines of the table: of objects, and of bytes where those differ."""
    objects, of_bytes = [], []
    for share in SHARES:
        found = [ratios(played, make(int(share * played.footprint))) for make in POLICIES.values()]
        objects += [f"{100 * pair[0]:5.1f}" for pair in found]
        of_bytes += [f"{100 * pair[1]:5.1f}" for pair in found]
    lines = [line(played.title, "objects", objects)]
    return [*lines, line("", "bytes", of_bytes)] if played.sized else lines


def line(title: str, what: str, cells: list[str]) -> str:
    width = len(POLICIES)
    groups = [" ".join(f"{cell:>5}" for cell in cells[at : at + width]) for at in range(0, len(cells), width)]
    return " | ".join([f"{title:17} {what:7}", *groups])


def nanoseconds(work: Callable[[], int]) -> float:
    """Processor time of one of the operations that `work` does and counts; the best of three runs."""
    best = float("inf")
    for _ in range(3):
        start = process_time_ns()
        done = work()
        best = min(best, (process_time_ns() - start) / done)
    return best


def costs(make: Callable[[float], Cache[int, int]], entries: int) -> tuple[float, float]:
    """Nanoseconds of a hit in a full cache, and of a miss that puts something new and evicts."""
    cache = make(entries)
    for name in range(entries):
        cache[name] = 1
    present = list(cache)
    fresh = iter(range(entries, sys.maxsize))

    def hit() -> int:
        for name in present:
            cache[name]
        return len(present)

    def miss() -> int:
        for _ in range(entries):
            cache[next(fresh)] = 1
        return entries

    return nanoseconds(hit), nanoseconds(miss)


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--quick", action="store_true", help="a tenth of the requests")
    parser.add_argument("--seed", type=int, default=1, help="from which all traces follow")


def run(options: argparse.Namespace) -> int:
    length, entries = (30_000, 10_000) if options.quick else (300_000, 100_000)
    out = sys.stdout
    out.write(f"seed {options.seed}, {length} requests before scans and others; hit ratios in percent\n")
    out.write("LRU: cachetools; S3: S3-FIFO; TLFU: W-TinyLFU; sizes of the cache as parts of all bytes asked for\n\n")
    sizes = [cell for share in SHARES for cell in (f"{share:.0%}", *[""] * (len(POLICIES) - 1))]
    out.write(line("", "", sizes) + "\n")
    out.write(line("", "", list(POLICIES) * len(SHARES)) + "\n")
    for played in traces(options.seed, length):
        out.write("\n".join(rows(played)) + "\n")
        out.flush()
    out.write(f"\nnanoseconds, {entries} entries of equal size\n{'':12}{'hit':>8}{'miss':>8}\n")
    for name, make in POLICIES.items():
        hit, miss = costs(make, entries)
        out.write(f"{name:12}{hit:8.0f}{miss:8.0f}\n")
    return 0
