"""The log's file: whole lines from several processes, one header a file, rotation that loses nothing."""

from __future__ import annotations

import os
import select
import subprocess
import sys
from pathlib import Path

import pytest

from edgeproxy.telemetry.logfile import LogFile

HEADER = b"#head\n"


def log_file(path: Path | str, rotate_size: int = 0, rotate_keep: int = 3) -> LogFile:
    return LogFile(str(path), HEADER, rotate_size=rotate_size, rotate_keep=rotate_keep)


def python(script: str, *arguments: object, **options: object) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", script, *map(str, arguments)], **options)  # type: ignore[call-overload,no-any-return]  # options of any type


def test_a_new_file_begins_with_the_header_and_an_old_one_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "log"
    for line in (b"one\n", b"two\n"):
        file = log_file(path)
        file.append(line)
        file.close()
    assert path.read_bytes() == b"#head\none\ntwo\n"
    assert path.stat().st_mode & 0o007 == 0


def test_a_large_file_is_rotated_and_the_oldest_go(tmp_path: Path) -> None:
    path = tmp_path / "log"
    file = log_file(path, rotate_size=10, rotate_keep=2)
    rotated = []
    for number in range(5):
        file.append(b"number %d\n" % number)
        rotated.append(file.rotate_if_full())
    assert rotated == [True] * 5
    assert {each.name: each.read_bytes() for each in tmp_path.iterdir()} == {
        "log": HEADER,
        "log.1": b"#head\nnumber 4\n",
        "log.2": b"#head\nnumber 3\n",
    }


def test_a_small_file_is_not_rotated(tmp_path: Path) -> None:
    file = log_file(tmp_path / "log", rotate_size=15)
    file.append(b"number 1\n")
    assert not file.rotate_if_full()
    file.append(b"\n")
    assert file.rotate_if_full()


def test_a_limit_smaller_than_the_header_does_not_rotate_for_ever(tmp_path: Path) -> None:
    file = log_file(tmp_path / "log", rotate_size=1)
    file.append(b"")
    assert not file.rotate_if_full()


def test_nothing_is_kept_when_nothing_shall_be(tmp_path: Path) -> None:
    file = log_file(tmp_path / "log", rotate_size=10, rotate_keep=0)
    file.append(b"a longer line\n")
    assert file.rotate_if_full()
    assert {each.name: each.read_bytes() for each in tmp_path.iterdir()} == {"log": HEADER}


def test_fewer_to_keep_than_there_are_removes_the_rest(tmp_path: Path) -> None:
    for number in range(1, 6):
        (tmp_path / f"log.{number}").write_text(str(number))
    file = log_file(tmp_path / "log", rotate_size=10, rotate_keep=2)
    file.append(b"a longer line\n")
    assert file.rotate_if_full()
    assert sorted(each.name for each in tmp_path.iterdir()) == ["log", "log.1", "log.2"]
    assert (tmp_path / "log.2").read_text() == "1"


def test_a_sibling_that_finds_the_file_moved_opens_the_new_one(tmp_path: Path) -> None:
    path = tmp_path / "log"
    ours, sibling = log_file(path, rotate_size=10), log_file(path, rotate_size=10)
    sibling.append(b"before\n")
    ours.append(b"a longer line\n")
    assert ours.rotate_if_full()
    assert not sibling.rotate_if_full(), "the new file is small"
    sibling.append(b"after\n")
    assert path.read_bytes() == b"#head\nafter\n"
    assert (tmp_path / "log.1").read_bytes() == b"#head\nbefore\na longer line\n"


def test_reopening_writes_to_what_the_path_names_now(tmp_path: Path) -> None:
    path = tmp_path / "log"
    file = log_file(path)
    file.append(b"one\n")
    path.rename(tmp_path / "moved")
    file.reopen()
    assert path.read_bytes() == HEADER
    assert (tmp_path / "moved").read_bytes() == b"#head\none\n"


def test_a_directory_that_is_gone_is_an_error_until_it_is_back(tmp_path: Path) -> None:
    directory = tmp_path / "logs"
    directory.mkdir()
    file = log_file(directory / "log")
    file.append(b"one\n")
    (directory / "log").unlink()
    directory.rmdir()
    with pytest.raises(FileNotFoundError):
        file.append(b"two\n")
    directory.mkdir()
    file.append(b"two\n")
    assert (directory / "log").read_bytes() == b"#head\ntwo\n"


def test_a_device_that_is_full_is_an_error() -> None:
    with pytest.raises(OSError, match="No space left"):
        log_file("/dev/full").append(b"one\n")


# A limit on the size of files makes the system take a part of a write first, exactly as a full disk does.
SHORT = """
import resource, sys
from edgeproxy.telemetry.logfile import LogFile
file = LogFile(sys.argv[1], b"#head\\n", rotate_size=0, rotate_keep=0)
file.append(b"first\\n")
hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
resource.setrlimit(resource.RLIMIT_FSIZE, (30, hard))
lines = b"".join(b"line %d\\n" % number for number in range(10))
try:
    file.append(lines)
except OSError:
    print(open(sys.argv[1]).read(), end="", flush=True)
resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
file.append(lines)
"""


def test_half_a_write_is_taken_back_and_may_be_done_again(tmp_path: Path) -> None:
    path = tmp_path / "log"
    with python(SHORT, path, stdout=subprocess.PIPE) as process:
        output, _ = process.communicate()
    assert output == b"#head\nfirst\n"
    assert path.read_bytes() == b"#head\nfirst\n" + b"".join(b"line %d\n" % number for number in range(10))


MANY = """
import sys
from edgeproxy.telemetry.logfile import LogFile
path, name, count, parts = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
file = LogFile(path, b"#head\\n", rotate_size=2000 if path != "-" else 0, rotate_keep=1000)
sys.stdin.read(1)
for number in range(count):
    file.append(b"".join(b"%s %d %d %s\\n" % (name.encode(), number, part, b"x" * 37 * part) for part in range(parts)))
    file.rotate_if_full()
"""


def expected_lines(names: str, count: int, parts: int) -> list[str]:
    written = ((name, number, part) for name in names for number in range(count) for part in range(parts))
    return sorted(f"{name} {number} {part} {'x' * 37 * part}" for name, number, part in written)


def release(processes: list[subprocess.Popen[bytes]]) -> None:
    for process in processes:
        assert process.stdin is not None
        process.stdin.close()


def test_several_processes_append_and_rotate_without_losing_or_tearing_a_line(tmp_path: Path) -> None:
    processes = [python(MANY, tmp_path / "log", name, 200, 5, stdin=subprocess.PIPE) for name in "abc"]
    release(processes)
    assert [process.wait() for process in processes] == [0, 0, 0]
    files = [each.read_text() for each in tmp_path.iterdir()]
    assert len(files) > 10
    assert all(text.startswith("#head\n") and text.count("#head\n") == 1 for text in files)
    found = sorted(line for text in files for line in text.splitlines() if line != "#head")
    assert found == expected_lines("abc", 200, 5)


def test_several_processes_share_a_pipe_without_tearing_a_line() -> None:
    read, write = os.pipe()
    processes = [python(MANY, "-", name, 60, 40, stdin=subprocess.PIPE, stdout=write) for name in "ab"]
    os.close(write)
    release(processes)
    with open(read) as pipe:
        lines = pipe.read().splitlines()
    assert [process.wait() for process in processes] == [0, 0]
    assert lines.count("#head") == 2, "each process says what its fields are"
    assert sorted(line for line in lines if line != "#head") == expected_lines("ab", 60, 40)


def test_a_pipe_is_given_whole_lines_in_pieces_that_it_takes_at_once() -> None:
    read, write = os.pipe2(os.O_DIRECT)  # in this mode a read gives what one write of at most PIPE_BUF brought
    with python(MANY, "-", "a", 3, 40, stdin=subprocess.PIPE, stdout=write) as process:
        os.close(write)
        release([process])
        pieces = list(iter(lambda: os.read(read, 65536), b""))
    os.close(read)
    assert all(piece.endswith(b"\n") and len(piece) <= select.PIPE_BUF for piece in pieces)
    assert max(map(len, pieces)) > select.PIPE_BUF // 2


def test_a_line_longer_than_a_pipe_takes_at_once_arrives_whole() -> None:
    read, write = os.pipe()
    script = MANY.replace("37 * part", "2000 * part")
    with python(script, "-", "a", 3, 5, stdin=subprocess.PIPE, stdout=write) as process:
        os.close(write)
        release([process])
        with open(read) as pipe:
            lines = pipe.read().splitlines()
    assert [len(line) for line in lines[1:]] == [6 + 2000 * part for _ in range(3) for part in range(5)]
