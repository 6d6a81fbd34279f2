"""What a node knows of the control plane's log, on its disk: one line whole, then a line for each batch since.

Each line begins with its checksum. A line that was cut short or damaged ends what is believed; then, and when the file
has grown, it is written anew beside the old one and put in its place. Bounded by what is known, and LINES_MAX batches.
"""

from __future__ import annotations

import json
import logging
import os
import zlib
from pathlib import Path
from typing import Any

from edgeproxy.edge.known import Batch, Known
from edgeproxy.errors import OriginInvalid

log = logging.getLogger(__name__)

LINES_MAX = 1000
UNREADABLE = (ValueError, KeyError, TypeError, AttributeError, OriginInvalid)


class JournalFile:
    """The file of one node. Blocking: for the parent, which serves nobody."""

    def __init__(self, path: Path, names_max: int) -> None:
        self._path = path
        self._names_max = names_max
        self._lines = LINES_MAX
        """Written since it was whole; at the limit the next append writes it anew."""
        self._failed = False

    def load(self) -> Known:
        """What the node knew when it last ran; nothing when there is no file, or none that can be read."""
        known = Known.nothing(self._names_max)
        try:
            lines = self._path.read_bytes().split(b"\n")
        except OSError:
            return known
        for place, line in enumerate(lines):
            said = _checked(line)
            if said is None:
                break
            try:
                if place == 0:
                    known = Known.from_json(said, self._names_max)
                else:
                    known.apply(Batch.from_json(said))
            except UNREADABLE:
                break
        return known

    def append(self, batch: Batch, known: Known) -> bool:
        """See journal.Disk."""
        try:
            if self._lines >= LINES_MAX:
                self._rewrite(known)
            else:
                self._write(self._path, _line(batch.to_json()), os.O_APPEND)
                self._lines += 1
        except OSError as error:
            if not self._failed:
                log.error("what the control plane says cannot be kept in %s: %s", self._path, error.strerror or error)
            self._failed = True
            self._lines = LINES_MAX
            return False
        self._failed = False
        return True

    def _rewrite(self, known: Known) -> None:
        part = self._path.with_suffix(".part")
        self._write(part, _line(known.to_json()), os.O_TRUNC)
        part.replace(self._path)
        directory = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
        self._lines = 0

    @staticmethod
    def _write(path: Path, line: bytes, how: int) -> None:
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | how, 0o600)
        try:
            rest = memoryview(line)
            while rest:
                rest = rest[os.write(file, rest) :]
            os.fdatasync(file)
        finally:
            os.close(file)


def _line(said: dict[str, Any]) -> bytes:  # Any: JSON
    text = json.dumps(said, separators=(",", ":")).encode()
    return b"%08x %b\n" % (zlib.crc32(text), text)


def _checked(line: bytes) -> dict[str, Any] | None:  # Any: JSON
    """The object in a line, None when it is not as it was written."""
    checksum, _, text = line.partition(b" ")
    try:
        if int(checksum, 16) != zlib.crc32(text):
            return None
        said = json.loads(text)
    except ValueError:
        return None
    return said if isinstance(said, dict) else None
