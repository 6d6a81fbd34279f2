"""What asks the servers: wrk for cost and throughput, and a client with a fixed rate for latency.

Both run on the last core, which the servers do not use while there is more than one.
"""

from __future__ import annotations

import gc
import json
import os
import random
import select
import socket
import subprocess
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

from tests.bench.rivals import HOST, Server, program

CONNECTIONS = 32
SCRIPT = Path(__file__).parent / "configs" / "load.lua"
RATE_MAX = 25_000
"""Requests a second that the client with a fixed rate can send without being late itself."""


@dataclass(frozen=True)
class Load:
    """What is sent."""

    path: str
    kind: str = "same"
    """As load.lua has them."""
    headers: tuple[tuple[str, str], ...] = ()
    tls: bool = False
    body: bytes = b""
    status: int = 200


@dataclass(frozen=True)
class Heard:
    """What wrk counted."""

    requests: int
    seconds: float
    wrong: int
    """Answers with a status that is none of 2xx and 3xx, connections that failed, time-outs."""


def wrk(server: Server, load: Load, seconds: int, core: int, salt: str) -> Heard:
    """Run wrk for that long against a server. `salt` makes names that no other run asks for."""
    port = server.tls_port if load.tls else server.port
    url = f"{'https' if load.tls else 'http'}://127.0.0.1:{port}{load.path}"
    command = ["taskset", "-c", str(core), program("wrk") or "wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s"]
    command += ["--timeout", "20s", "-s", str(SCRIPT), "-H", f"Host: {HOST}"]
    for name, value in load.headers:
        command += ["-H", f"{name}: {value}"]
    said = subprocess.run([*command, url, "--", load.kind, load.path, salt], check=True, capture_output=True, text=True)
    counted = json.loads(said.stdout.splitlines()[-1])
    return Heard(counted["requests"], counted["microseconds"] / 1e6, counted["refused"] + counted["failed"])


@dataclass(frozen=True)
class Latency:
    """Microseconds from when a request was due to the last byte of its answer."""

    p50: float
    p99: float
    rate: float
    """Answers a second."""


class _Line:
    """One connection: busy with one request, or free."""

    def __init__(self, port: int, request: bytes, length: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setblocking(False)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._request = request
        self._length = length
        self._received = b""
        self.due = 0.0

    def send(self, due: float) -> None:
        self.due = due
        self._received = b""
        self.socket.send(self._request)

    def read(self) -> bool:
        """Whether the answer is whole now."""
        self._received += self.socket.recv(65536)
        end = self._received.find(b"\r\n\r\n")
        return end >= 0 and len(self._received) - end - 4 >= self._length


def latency(server: Server, load: Load, length: int, rate: float, seconds: float, core: int, seed: int) -> Latency:
    """Ask at a fixed rate with random gaps, whether or not answers come: what waits for a free connection is late."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    gc.disable()
    try:
        request = f"GET {load.path} HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode()
        lines = [_Line(server.port, request, length) for _ in range(CONNECTIONS)]
        try:
            taken = sorted(_paced(lines, rate, seconds, random.Random(seed)))
        finally:
            for line in lines:
                line.socket.close()
    finally:
        gc.enable()
        os.sched_setaffinity(0, before)
    return Latency(_at(taken, 0.50) * 1e6, _at(taken, 0.99) * 1e6, len(taken) / seconds)


def _at(taken: list[float], share: float) -> float:
    return taken[min(len(taken) - 1, int(len(taken) * share))]


def _paced(lines: list[_Line], rate: float, seconds: float, chance: random.Random) -> list[float]:
    """How long each request took. It looks at its sockets all the time, so as not to be asleep when an answer comes."""
    taken: list[float] = []
    free, late = deque(lines), deque[float]()
    by_number = {line.socket.fileno(): line for line in lines}
    with select.epoll() as poll:
        for number in by_number:
            poll.register(number, select.EPOLLIN)
        start = now = perf_counter()
        due, end = start, start + seconds
        while now < end or late or len(free) < len(lines):
            while due <= now and due < end:
                late.append(due)
                due += chance.expovariate(rate)
            while late and free:
                free.popleft().send(late.popleft())
            for number, _ in poll.poll(0):
                line = by_number[number]
                if line.read():
                    taken.append(perf_counter() - line.due)
                    free.append(line)
            now = perf_counter()
            if now > end + 10:
                raise SystemExit(f"answers are missing {now - end:.0f} s after the last request")
    return taken
