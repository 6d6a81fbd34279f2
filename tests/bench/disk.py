"""What the disk tier costs: python -m tests.bench disk [--quick] [--folder DIR]

Beside it the plain way: a file per object, written under another name and renamed, then read back. Processor time is
that of the whole process, its threads included. Each figure is the best of three runs.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import shutil
import sys
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from time import perf_counter, process_time

from edgeproxy.headers import Headers
from edgeproxy.settings import Cache, GiB, MiB
from edgeproxy.store.disk import DiskStore
from edgeproxy.store.memory import Terms
from edgeproxy.telemetry.counters import Counters
from tests.messages import NOW, stored

SIZE = 4096
HEAD = stored("Cache-Control: max-age=60", 'ETag: "1"', "Content-Type: text/html", "Content-Length: 4096")
TERMS = Terms(NOW + 1e6, 0)
Figures = tuple[float, float]
"""Seconds of processor and of wall clock."""


async def timed(work: Callable[[], Awaitable[None]]) -> Figures:
    cpu, wall = process_time(), perf_counter()
    await work()
    return process_time() - cpu, perf_counter() - wall


class Bench:
    """A store and the work that is measured."""

    def __init__(self, store: DiskStore, count: int, large: int) -> None:
        self.store = store
        self.keys = [b"E1ABC GET // /images/%d.html" % number for number in range(count)]
        random.Random(1).shuffle(self.keys)
        self.body = random.Random(2).randbytes(SIZE)
        self.large = random.Random(3).randbytes(64 * 1024)
        self.length = large

    async def put(self) -> None:
        for number, key in enumerate(self.keys):
            self.store.put(key, HEAD, Headers(), TERMS, 0, (self.body,), SIZE)
            if number % 500 == 499:
                await self.store.find(key, NOW)
        await self.store.find(self.keys[-1], NOW)

    async def find(self) -> None:
        for key in self.keys:
            (record,) = await self.store.find(key, NOW)
            assert record.body is not None

    async def absent(self) -> None:
        for key in self.keys:
            self.store.may_hold(key + b"?")

    async def stream(self) -> None:
        writer = self.store.begin(b"large", HEAD, TERMS, self.length)
        assert writer is not None
        for at in range(0, self.length, len(self.large)):
            writer.write(at, self.large)
            await writer.drained()
        assert await writer.commit(HEAD, Headers(), TERMS)

    async def read(self) -> None:
        (record,) = await self.store.find(b"large", NOW)
        at = 0
        while at < record.length:
            at += len(await self.store.read(record, at, record.length))


def files(folder: Path, bench: Bench) -> tuple[Figures, Figures]:
    """A file per object: written, and read."""
    for number in range(256):
        (folder / f"{number:02x}").mkdir()
    cpu, wall = process_time(), perf_counter()
    for number in range(len(bench.keys)):
        path = f"{folder}/{number & 255:02x}/{number}"
        with open(path + ".new", "wb", buffering=0) as file:
            file.write(bench.body)
        os.rename(path + ".new", path)
    written = process_time() - cpu, perf_counter() - wall
    cpu, wall = process_time(), perf_counter()
    for number in range(len(bench.keys)):
        with open(f"{folder}/{number & 255:02x}/{number}", "rb", buffering=0) as file:
            file.read()
    return written, (process_time() - cpu, perf_counter() - wall)


async def measure(folder: Path, count: int, large: int) -> dict[str, Figures]:
    settings = Cache(disk=8 * GiB, disk_queue=64 * MiB)
    store = DiskStore(folder / "store", range(16), settings, b"e", "b", Counters(), lambda: NOW, perf_counter)
    await store.start()
    bench = Bench(store, count, large)
    figures = {
        "put small": await timed(bench.put),
        "find and read small": await timed(bench.find),
        "know what is absent": await timed(bench.absent),
        "stream large": await timed(bench.stream),
        "read large": await timed(bench.read),
    }
    (folder / "files").mkdir()
    figures["write a file, rename"], figures["open and read a file"] = files(folder / "files", bench)
    await store.close()
    return figures


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--quick", action="store_true", help="a tenth of the objects")
    parser.add_argument("--folder", default=tempfile.gettempdir(), help="where to write")


def run(options: argparse.Namespace) -> int:
    count, large = (3_000, 64 * MiB) if options.quick else (30_000, 512 * MiB)
    best: dict[str, Figures] = {}
    for _ in range(3):
        folder = Path(tempfile.mkdtemp(dir=options.folder))
        try:
            for name, (cpu, wall) in asyncio.run(measure(folder, count, large)).items():
                old = best.get(name, (float("inf"), float("inf")))
                best[name] = min(old[0], cpu), min(old[1], wall)
        finally:
            shutil.rmtree(folder)
    out = sys.stdout
    out.write(f"{count} objects of {SIZE} bytes, one of {large // MiB} MiB; best of three\n")
    for name, (cpu, wall) in best.items():
        if "large" in name:
            rate = large / MiB / wall
            out.write(f"{name:24} {rate:8.0f} MiB/s {cpu / large * 2**30 * 1000:8.0f} ms of processor a GiB\n")
        else:
            out.write(f"{name:24} {cpu / count * 1e6:8.1f} us of processor {wall / count * 1e6:8.1f} us an object\n")
    put, plain = best["put small"][0], best["write a file, rename"][0]
    out.write(f"putting costs {put / plain:.2f} of what a file and a rename cost\n")
    return 0
