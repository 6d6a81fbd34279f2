"""Made-up traces of requests for measuring caches: who asks for what in which order, and how large it is.

Names are numbers; those below `CATALOGUE` are the site's, those above come once or in a burst. Everything follows from
the seed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import accumulate, count
from random import Random

CATALOGUE = 20_000
"""Objects of the site."""

UNIT = 10_000
"""Bytes of every object where sizes are equal."""

SIZE_MEDIAN, SIZE_SIGMA, SIZE_MIN, SIZE_MAX = 8 * 1024, 2.0, 1_500, 4 * 1024 * 1024
"""Of log-normal sizes, in bytes: most objects are small, most bytes are in large ones."""


@dataclass(frozen=True, slots=True)
class Trace:
    """Requests in their order, and the size of each name in bytes."""

    title: str
    requests: list[int]
    sizes: dict[int, int]
    sized: bool
    """Sizes differ, so the hit ratio of bytes is another than that of objects."""

    @property
    def footprint(self) -> int:
        """Bytes of everything that is asked for."""
        return sum(self.sizes.values())


def popular(random: Random, alpha: float, length: int, upheavals: int = 0, drift: float = 0) -> Iterator[int]:
    """Requests by Zipf's law: the r-th most popular object's share is as 1 / r ** alpha.

    Upheavals deal all ranks anew, so many times; with `drift` the most popular part of the catalogue so large falls to
    the bottom forty times, and everything else rises.
    """
    ranks = list(range(CATALOGUE))
    random.shuffle(ranks)
    shares = list(accumulate(1 / (rank + 1) ** alpha for rank in range(CATALOGUE)))
    phases = 40 if drift else upheavals + 1
    for phase in range(phases):
        drawn = random.choices(range(CATALOGUE), cum_weights=shares, k=length // phases)
        yield from (ranks[rank] for rank in drawn)
        if drift:
            fallen = int(drift * CATALOGUE)
            ranks = ranks[fallen:] + ranks[:fallen]
        elif phase < upheavals:
            random.shuffle(ranks)


def with_crawler(requests: Iterator[int], every: int, walk: int) -> Iterator[int]:
    """After so many requests a crawler walks through so many objects of the catalogue, each once and in order."""
    at = 0
    for number, name in enumerate(requests, 1):
        yield name
        if number % every == 0:
            yield from ((at + step) % CATALOGUE for step in range(walk))
            at += walk


def with_export(requests: Iterator[int], every: int, walk: int) -> Iterator[int]:
    """After so many requests somebody fetches so many objects in a row that nobody asks for again."""
    fresh = count(10 * CATALOGUE)
    for number, name in enumerate(requests, 1):
        yield name
        if number % every == 0:
            yield from (next(fresh) for _ in range(walk))


def with_wonders(random: Random, requests: Iterator[int], share: float) -> Iterator[int]:
    """Such a share of all requests is for something that is asked for once."""
    fresh = count(1_000 * CATALOGUE)
    for name in requests:
        while random.random() < share:
            yield next(fresh)
        yield name


def with_bursts(random: Random, requests: Iterator[int], share: float, times: int, within: int) -> Iterator[int]:
    """Such a share is for short-lived objects: asked for `times` times among `within` such requests, never again."""
    fresh = count(100_000 * CATALOGUE)
    alive: list[list[int]] = []
    for name in requests:
        while random.random() < share:
            if len(alive) < within // times:
                alive.append([next(fresh), times])
            at = random.randrange(len(alive))
            alive[at][1] -= 1
            yield alive[at][0]
            if not alive[at][1]:
                alive[at] = alive[-1]
                alive.pop()
        yield name


def everything(random: Random, length: int) -> Iterator[int]:
    """Popularity that drifts, one-hit wonders, bursts, and a crawler."""
    base = popular(random, 0.9, length, drift=0.002)
    busy = with_bursts(random, with_wonders(random, base, 0.15), 0.15, 8, 2_000)
    return with_crawler(busy, length // 8, CATALOGUE // 4)


def recipes(length: int) -> Iterator[tuple[str, bool, Callable[[Random], Iterator[int]]]]:
    """Title, whether sizes differ, and the requests, of which `length` come before scans and others are mixed in."""
    for alpha in (0.7, 0.9, 1.1):
        yield f"Zipf {alpha}", False, partial(popular, alpha=alpha, length=length)
    usual = partial(popular, alpha=0.9, length=length)
    every, walk = length // 8, CATALOGUE // 4
    yield "crawler", False, lambda random: with_crawler(usual(random), every, walk)
    yield "export", False, lambda random: with_export(usual(random), every, walk)
    yield "one-hit wonders", False, lambda random: with_wonders(random, usual(random), 0.3)
    yield "bursts", False, lambda random: with_bursts(random, usual(random), 0.3, 8, 2_000)
    yield "upheavals", False, partial(usual, upheavals=4)
    yield "drift", False, partial(usual, drift=0.005)
    for alpha in (0.7, 0.9):
        yield f"sizes, Zipf {alpha}", True, partial(popular, alpha=alpha, length=length)
    yield "sizes, everything", True, lambda random: everything(random, length)


def traces(seed: int, length: int) -> Iterator[Trace]:
    """All of them, one after the other; from "crawler" to "drift" they have Zipf 0.9 beneath."""
    for title, sized, requests in recipes(length):
        random = Random(f"{title}/{seed}")
        asked = list(requests(random))
        sizes = dict.fromkeys(sorted(set(asked)), UNIT)
        if sized:
            for name in sizes:
                size = int(random.lognormvariate(0, SIZE_SIGMA) * SIZE_MEDIAN)
                sizes[name] = min(max(size, SIZE_MIN), SIZE_MAX)
        yield Trace(title, asked, sizes, sized)
