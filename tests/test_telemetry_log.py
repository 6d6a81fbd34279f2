"""The access log: records reach the file in batches, the buffer is bounded, a broken disk never reaches a request."""

from __future__ import annotations

import asyncio
import json
import logging
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from edgeproxy.outcome import Result
from edgeproxy.settings import Log
from edgeproxy.telemetry.counters import Counter, Counters
from edgeproxy.telemetry.log import AccessLog
from edgeproxy.telemetry.record import Record, w3c_header


def record(path: bytes = b"/", head_bytes: int = 100) -> Record:
    return Record(
        ended_at=1_700_000_000.0,
        method="GET",
        path=path,
        query=None,
        host=b"example.com",
        status=200,
        result=Result.HIT,
        response_result=Result.HIT,
        request_id="id",
        head_bytes=head_bytes,
    )


def paths(file: Path) -> list[str]:
    return [line.split("\t")[7] for line in file.read_text().splitlines() if not line.startswith("#")]


def files(directory: Path) -> list[Path]:
    return sorted(directory.iterdir())


async def until(condition: Callable[[], bool]) -> None:
    """Wait for the log's thread to have done something that a counter tells."""
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110  # the other thread sets no event of ours
            await asyncio.sleep(0)


@asynccontextmanager
async def access_log(
    directory: Path,
    counters: Counters | None = None,
    start: bool = True,
    **settings: Any,  # any setting of Log
) -> AsyncIterator[AccessLog]:
    log = AccessLog(Log(**settings), directory, counters or Counters())
    if start:
        log.start()
    try:
        yield log
    finally:
        await log.close()


async def test_closing_writes_every_record_in_order(tmp_path: Path) -> None:
    counters = Counters()
    async with access_log(tmp_path, counters, flush_interval=60.0) as log:
        for number in range(1000):
            log.write(record(b"/%d" % number))
    text = (tmp_path / "access.log").read_bytes()
    assert text.startswith(w3c_header())
    assert paths(tmp_path / "access.log") == [f"/{number}" for number in range(1000)]
    assert counters[Counter.LOG_LINES] == 1000
    assert counters[Counter.LOG_DROPPED] == 0


async def test_a_record_waits_no_longer_than_the_interval(tmp_path: Path) -> None:
    counters = Counters()
    async with access_log(tmp_path, counters, flush_interval=0.01) as log:
        for number in range(3):
            log.write(record(b"/%d" % number))
            await until(lambda: counters[Counter.LOG_LINES] > number)  # noqa: B023  # awaited within the turn
            assert paths(tmp_path / "access.log")[-1] == f"/{number}"


async def test_a_buffer_that_fills_is_written_before_the_interval_is_over(tmp_path: Path) -> None:
    counters = Counters()
    async with access_log(tmp_path, counters, flush_interval=60.0, buffer_max=64 * 1024) as log:
        for _ in range(10):
            log.write(record())
        await until(lambda: counters[Counter.LOG_LINES] == 10)


async def test_json_is_one_object_a_line_and_nothing_else(tmp_path: Path) -> None:
    async with access_log(tmp_path, format="json") as log:
        log.write(record(b"/a"))
        log.write(record(b"/b"))
    lines = (tmp_path / "access.log").read_text().splitlines()
    assert [json.loads(line)["cs-uri-stem"] for line in lines] == ["/a", "/b"]


async def test_off_writes_nothing(tmp_path: Path) -> None:
    counters = Counters()
    async with access_log(tmp_path, counters, path="off") as log:
        log.write(record())
        log.reopen()
    assert files(tmp_path) == []
    assert counters[Counter.LOG_DROPPED] == 0


async def test_beyond_the_bound_records_are_dropped_and_counted(tmp_path: Path) -> None:
    counters = Counters()
    async with access_log(tmp_path, counters, start=False, buffer_max=64 * 1024) as log:
        for number in range(100):
            log.write(record(b"/%d" % number, head_bytes=1024))
        dropped = counters[Counter.LOG_DROPPED]
        assert 70 < dropped < 90
        log.start()
        await until(lambda: counters[Counter.LOG_LINES] == 100 - dropped)
        log.write(record(b"/later"))
    assert paths(tmp_path / "access.log")[-2:] == [f"/{99 - dropped}", "/later"]


async def test_records_after_the_end_are_counted_as_dropped(tmp_path: Path) -> None:
    counters = Counters()
    async with access_log(tmp_path, counters) as log:
        pass
    log.write(record())
    await log.close()
    assert counters[Counter.LOG_DROPPED] == 1


async def test_reopening_after_the_file_was_moved_goes_on_in_a_new_one(tmp_path: Path) -> None:
    counters = Counters()
    file = tmp_path / "access.log"
    async with access_log(tmp_path, counters, flush_interval=0.01) as log:
        log.write(record(b"/before"))
        await until(lambda: counters[Counter.LOG_LINES] == 1)
        file.rename(tmp_path / "moved")
        log.reopen()
        await until(lambda: counters[Counter.LOG_ROTATED] == 1)
        assert file.read_bytes() == w3c_header(), "the new file is there before the next record"
        log.write(record(b"/after"))
    assert paths(tmp_path / "moved") == ["/before"]
    assert paths(file) == ["/after"]


async def test_reopening_that_fails_is_tried_again(tmp_path: Path) -> None:
    counters = Counters()
    directory = tmp_path / "logs"
    async with access_log(directory, counters, flush_interval=0.01) as log:
        log.reopen()
        await until(lambda: counters[Counter.LOG_FAILED] == 1)
        directory.mkdir()
        await until(lambda: counters[Counter.LOG_ROTATED] == 1)
        assert (directory / "access.log").read_bytes() == w3c_header()


async def test_a_file_over_the_limit_is_rotated(tmp_path: Path) -> None:
    counters = Counters()
    async with access_log(tmp_path, counters, rotate_size=10_000, rotate_keep=100) as log:
        for number in range(1000):
            log.write(record(b"/%d" % number))
    found = files(tmp_path)
    assert len(found) - 1 == counters[Counter.LOG_ROTATED] > 3
    assert sorted(path for file in found for path in paths(file)) == sorted(f"/{number}" for number in range(1000))


async def test_a_file_that_cannot_be_rotated_grows_on(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    counters = Counters()
    (tmp_path / "access.log.1").mkdir()
    (tmp_path / "access.log.1" / "in the way").touch()
    async with access_log(tmp_path, counters, rotate_size=1000, rotate_keep=1) as log:
        for number in range(200):
            log.write(record(b"/%d" % number))
    assert len(paths(tmp_path / "access.log")) == 200
    assert counters[Counter.LOG_FAILED] > 1
    assert [each.message for each in caplog.records if "rotated" in each.message] == [caplog.records[0].message]


async def test_a_directory_that_vanishes_is_one_line_and_nothing_is_lost(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    counters = Counters()
    directory = tmp_path / "logs"
    async with access_log(directory, counters, flush_interval=0.01) as log:
        log.write(record(b"/1"))
        await until(lambda: counters[Counter.LOG_FAILED] >= 1)
        log.write(record(b"/2"))
        await until(lambda: counters[Counter.LOG_FAILED] >= 2)
        assert len(caplog.records) == 1
        assert f"{directory}/access.log: cannot be written: No such file or directory" in caplog.messages[0]
        directory.mkdir()
        await until(lambda: counters[Counter.LOG_LINES] == 2)
    assert paths(directory / "access.log") == ["/1", "/2"]
    assert [message for message in caplog.messages[1:] if "can be written again" in message] == caplog.messages[1:]
    assert counters[Counter.LOG_DROPPED] == 0


async def test_a_full_disk_at_the_end_is_told(caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    counters = Counters()
    async with access_log(tmp_path, counters, path="/dev/full") as log:
        for _ in range(100):
            log.write(record())
    assert counters[Counter.LOG_LINES] == 0
    assert counters[Counter.LOG_DROPPED] == 100
    assert "No space left on device" in caplog.messages[0]
    assert caplog.messages[-1].endswith("closed with 100 records not written")


async def test_one_record_that_cannot_be_encoded_is_lost_alone(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    counters = Counters()
    broken = record(b"/broken")
    broken.ended_at = float("nan")
    async with access_log(tmp_path, counters) as log:
        for each in (record(b"/1"), broken, record(b"/2")):
            log.write(each)
    assert paths(tmp_path / "access.log") == ["/1", "/2"]
    assert counters[Counter.LOG_LINES] == 2
    assert counters[Counter.LOG_FAILED] == 1
    assert "a record was lost" in caplog.text


STDOUT = """
import asyncio, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from test_telemetry_log import AccessLog, Counters, Log, record

async def main():
    log = AccessLog(Log(path="-"), Path("."), Counters())
    log.start()
    log.write(record(b"/printed"))
    await log.close()

asyncio.run(main())
print("still open")
"""


def test_standard_output() -> None:
    run = subprocess.run(
        [sys.executable, "-c", STDOUT, str(Path(__file__).parent)], stdout=subprocess.PIPE, check=True, text=True
    )
    version, fields, line, last = run.stdout.splitlines()
    assert version + "\n" + fields + "\n" == w3c_header().decode()
    assert line.split("\t")[7] == "/printed"
    assert last == "still open"


STUCK = (
    STDOUT.replace("Counters())", "Counters(), close_timeout=0.01)")
    .replace('printed"', 'printed" * 20_000')
    .replace('print("still open")', "")
)


def test_a_reader_that_never_reads_does_not_keep_the_process_from_ending() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", STUCK, str(Path(__file__).parent)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        assert "closed with 1 records not written" in process.stderr.read()
        assert process.wait(10) == 0


async def test_lines_in_pieces_and_records_keep_their_order_and_count_against_the_bound(tmp_path: Path) -> None:
    counters = Counters()
    async with access_log(tmp_path, counters, flush_interval=60.0, buffer_max=64 * 1024) as log:
        for number in range(20):
            log.write(record(b"/%d" % (2 * number)))
            log.write_line((b"\t" * 7, b"/%d" % (2 * number + 1), b"\n"), 100)
        log.write_line((b"too much",), 64 * 1024)
    assert paths(tmp_path / "access.log") == [f"/{number}" for number in range(40)]
    assert (counters[Counter.LOG_LINES], counters[Counter.LOG_DROPPED]) == (40, 1)
