"""Open files, and the system calls below them."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from edgeproxy.store.files import OpenFiles
from edgeproxy.store.layer import VECTOR_MAX, Layer


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_only_so_many_stay_open_and_the_least_recently_used_is_closed(tmp_path: Path) -> None:
    before = descriptors()
    files = OpenFiles(Layer(), 3)
    paths = [str(tmp_path / str(number)) for number in range(6)]
    for path in paths:
        Path(path).write_bytes(path.encode())
        with files.use(path) as descriptor:
            assert os.pread(descriptor, 999, 0) == path.encode()
        with files.use(paths[0]):
            pass
    assert (len(files), descriptors() - before) == (3, 3)
    with files.use_open(paths[0]) as open_one, files.use_open(paths[1]) as closed_one:
        assert open_one is not None
        assert closed_one is None
    files.close()
    assert descriptors() == before


def test_what_is_removed_is_closed_once_nobody_reads_it(tmp_path: Path) -> None:
    before = descriptors()
    files = OpenFiles(Layer(), 3)
    path = str(tmp_path / "a")
    Path(path).write_bytes(b"x")
    with files.use(path) as descriptor:
        files.forget(path)
        assert os.pread(descriptor, 1, 0) == b"x"
        with files.use(path, write=True) as another:
            assert another != descriptor
    assert descriptors() == before + 1
    files.forget_under(str(tmp_path))
    assert descriptors() == before
    with pytest.raises(FileNotFoundError), files.use(str(tmp_path / "none")):
        pass


def test_bytes_are_written_and_read_whole(tmp_path: Path) -> None:
    layer = Layer()
    descriptor = layer.open(str(tmp_path / "a"), write=True, new=True)
    blocks = [b"%d," % number for number in range(3 * VECTOR_MAX)]
    layer.write(descriptor, blocks, 7)
    whole = bytes(7) + b"".join(blocks)
    assert layer.read(descriptor, 1 << 20, 0) == whole
    assert layer.read(descriptor, 10, 5) == whole[5:15]
    assert layer.read_now(descriptor, 10, 5) in (whole[5:15], None)
    assert layer.read_now(descriptor, 1 << 20, 0) is None, "not all of it can be there"
    layer.truncate(descriptor, 3)
    assert layer.read(descriptor, 10, 0) == bytes(3)
    assert layer.used(descriptor) <= 4096
    layer.close(descriptor)
    with pytest.raises(FileExistsError):
        layer.open(str(tmp_path / "a"), write=True, new=True)
    assert layer.remove(str(tmp_path / "a"))
    assert not layer.remove(str(tmp_path / "a"))
    assert layer.free(str(tmp_path)) > 0


def test_a_disk_that_takes_a_part_gets_the_rest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.pwritev
    monkeypatch.setattr(os, "pwritev", lambda fd, blocks, at: real(fd, [b"".join(blocks)[:5]], at))
    layer = Layer()
    descriptor = layer.open(str(tmp_path / "a"), write=True, create=True)
    layer.write(descriptor, [b"abc", b"defghi", b"", b"jk", memoryview(b"lmnop")], 0)
    assert layer.read(descriptor, 99, 0) == b"abcdefghijklmnop"
    layer.close(descriptor)


def test_a_system_that_cannot_read_so_says_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    layer = Layer()
    descriptor = layer.open(str(tmp_path / "a"), write=True, create=True)

    codes: list[int] = []

    def refuse(*_: object) -> int:
        raise OSError(codes[-1], "no")

    monkeypatch.setattr(os, "preadv", refuse)
    for code in (errno.EAGAIN, errno.EOPNOTSUPP):
        codes.append(code)
        assert layer.read_now(descriptor, 1, 0) is None
    codes.append(errno.EIO)
    with pytest.raises(OSError, match="no"):
        layer.read_now(descriptor, 1, 0)
    layer.close(descriptor)
