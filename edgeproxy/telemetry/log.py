"""The access log: records wait in memory, one thread encodes and appends them. A request never waits for the disk.

    the loop's thread    write ──▶ records ──▶ chunk ──▶ file    the log's own thread

The thread sleeps until there is a record, then for `flush_interval` or until an eighth of the buffer is full. When the
file cannot be written it keeps what it has, tries again, and says so once per incident; what does not fit any more is
dropped and counted. A thread of its own, not one of a pool: a stuck disk must not take anybody else's.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import deque
from dataclasses import dataclass
from pathlib import Path

from edgeproxy.settings import Log
from edgeproxy.telemetry.counters import Counter, Counters
from edgeproxy.telemetry.logfile import LogFile
from edgeproxy.telemetry.record import Record, json_line, w3c_header, w3c_line

_logger = logging.getLogger(__name__)

OFF = "off"

_CHUNK = 512
"""Lines made at a time: some 0.25 ms in which the loop's thread may have to wait for the interpreter."""

_RECORD_LINES = 16
"""A record that is still to be encoded takes as long as so many lines that only have to be put together."""

Line = tuple[bytes, ...]
"""A line in pieces, encoded already."""

_BREATH = 0.0005
"""Seconds of sleep after each chunk. A quick system call alone does not hand the interpreter over: the loop's thread
would wait for the whole batch, up to the switch interval of 5 ms."""


@dataclass(frozen=True, slots=True)
class _Chunk:
    """Encoded lines on their way to the file."""

    lines: bytes
    count: int
    weight: int


class AccessLog:
    """Takes records on the loop's thread; `start` and `close` frame its life.

    `data_dir` stands in for DATA_DIR in the configured path. Nothing here raises because of the file.
    """

    def __init__(self, settings: Log, data_dir: Path, counters: Counters, *, close_timeout: float = 10) -> None:
        """`close_timeout`: how long closing waits for a disk, or a reader, that does not answer."""
        self.path = settings.path.replace("DATA_DIR", str(data_dir))
        w3c = settings.format == "w3c"
        self.line = w3c_line if w3c else json_line
        """How a record is spelled."""
        self._file = LogFile(
            self.path,
            w3c_header() if w3c else b"",
            rotate_size=settings.rotate_size,
            rotate_keep=settings.rotate_keep,
        )
        self._counters = counters
        self._flush_interval = settings.flush_interval
        self._bound = settings.buffer_max
        self._close_timeout = close_timeout
        self._records: deque[tuple[Record | Line, int]] = deque()
        # Two sums with one writer each, the loop's thread and ours: their difference is what waits. The counters keep
        # to the same rule: LOG_DROPPED is the loop's, the others are ours.
        self._taken = 0
        self._done = 0
        self._chunk: _Chunk | None = None
        self._failing = False
        self._rotation_failing = False
        self._reopening = False
        self._closed = False
        self._awake = False
        """The thread knows that there is work."""
        self._closing = threading.Event()
        self._work = threading.Event()
        self._hurry = threading.Event()
        # A daemon, so that a disk that never answers cannot keep the process from ending.
        self._thread: threading.Thread | None = None
        if self.path != OFF:
            self._thread = threading.Thread(target=self._run, name="access-log", daemon=True)

    def start(self) -> None:
        """Begin to write. Once, and after any fork."""
        if self._thread is not None:
            self._thread.start()

    def write(self, record: Record) -> None:
        """Take a record, or drop and count it when the buffer is full. Never blocks, never raises."""
        if self._thread is None:
            return
        self._take(record, record.weight())

    def write_line(self, line: Line, weight: int) -> None:
        """The same for what somebody else has put into the words of `line`; it keeps `weight` bytes of memory alive."""
        if self._thread is not None:
            self._take(line, weight)

    def _take(self, entry: Record | Line, weight: int) -> None:
        waiting = self._taken - self._done + weight
        if waiting > self._bound or self._closed:
            self._counters.add(Counter.LOG_DROPPED)
            return
        self._taken += weight
        self._records.append((entry, weight))
        if not self._awake:
            self._awake = True
            self._work.set()
        if waiting > self._bound >> 3 and not self._hurry.is_set():
            self._hurry.set()

    def reopen(self) -> None:
        """Let go of the file and open what the path names now (SIGUSR1, after logrotate has moved it)."""
        self._reopening = True
        self._work.set()
        self._hurry.set()

    async def close(self) -> None:
        """Write everything and let go of the file. Idempotent; later records are dropped and counted."""
        if self._thread is None or self._closing.is_set():
            return
        self._closed = True
        self._closing.set()
        self._work.set()
        self._hurry.set()
        if self._thread.is_alive():
            await asyncio.get_running_loop().run_in_executor(None, self._thread.join, self._close_timeout)
        lost = len(self._records) + (self._chunk.count if self._chunk else 0)
        if lost:
            self._counters.add(Counter.LOG_DROPPED, lost)
            _logger.warning("access log %s: closed with %d records not written", self.path, lost)

    def _run(self) -> None:
        while True:
            self._work.wait()
            if self._failing:
                self._closing.wait(self._flush_interval)
            else:
                self._hurry.wait(self._flush_interval)
            closing = self._closing.is_set()
            # Cleared before the records are taken: one that comes later sets it again.
            self._work.clear()
            self._hurry.clear()
            self._awake = False
            try:
                self._flush()
            except OSError as error:
                self._failed(error)
            if closing:
                self._file.close()
                return

    def _flush(self) -> None:
        """Write all that waits. Raises OSError and keeps what could not be written."""
        if self._reopening:
            # Asked again meanwhile, it is done again: the flag falls first, and rises when it could not be done.
            self._reopening = False
            try:
                self._file.reopen()
            except OSError:
                self._reopening = True
                raise
            self._counters.add(Counter.LOG_ROTATED)
        while chunk := self._next_chunk():
            self._file.append(chunk.lines)
            self._chunk = None
            self._done += chunk.weight
            self._counters.add(Counter.LOG_LINES, chunk.count)
            self._rotate()
            self._closing.wait(_BREATH)
        if self._failing:
            self._failing = False
            _logger.warning("access log %s: can be written again", self.path)

    def _next_chunk(self) -> _Chunk | None:
        """The chunk that could not be written last time, else the next records, encoded."""
        if self._chunk is None and self._records:
            lines, total, room = [], 0, _CHUNK
            while room > 0 and self._records:
                entry, weight = self._records.popleft()
                total += weight
                if not isinstance(entry, Record):
                    lines.append(b"".join(entry))
                    room -= 1
                    continue
                room -= _RECORD_LINES
                if line := self._encoded(entry):
                    lines.append(line)
            self._chunk = _Chunk(b"".join(lines), len(lines), total)
        return self._chunk

    def _encoded(self, record: Record) -> bytes:
        try:
            return self.line(record)
        except Exception:  # whatever is wrong with one record, the log goes on for all others
            _logger.exception("access log %s: a record was lost", self.path)
            self._counters.add(Counter.LOG_FAILED)
            return b""

    def _rotate(self) -> None:
        """Rotate if it is time. A file that cannot be rotated grows on: its lines matter more than its size."""
        try:
            if self._file.rotate_if_full():
                self._counters.add(Counter.LOG_ROTATED)
            self._rotation_failing = False
        except OSError as error:
            self._counters.add(Counter.LOG_FAILED)
            if not self._rotation_failing:
                self._rotation_failing = True
                _logger.warning("access log %s: cannot be rotated, so it grows on: %s", self.path, error)

    def _failed(self, error: OSError) -> None:
        self._counters.add(Counter.LOG_FAILED)
        self._work.set()
        if not self._failing:
            self._failing = True
            _logger.warning(
                "access log %s: cannot be written: %s; up to %d bytes of records wait, further ones are dropped;"
                " trying again every %g s",
                self.path, error.strerror, self._bound, self._flush_interval,
            )  # fmt: skip
