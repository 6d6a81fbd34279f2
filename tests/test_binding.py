"""What a node takes before it starts: ports and its directory, each with a clear no."""

from __future__ import annotations

import errno
import os
import socket
from pathlib import Path

import pytest

from edgeproxy.binding import DirectoryLock, address_of, close, listening, listening_unix
from edgeproxy.errors import ConfigError


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]"])
@pytest.mark.parametrize("count", [1, 3])
def test_every_worker_has_a_socket_on_one_free_port(host: str, count: int) -> None:
    made = listening(f"{host}:0", count)
    assert len({address_of(each) for each in made}) == 1
    assert address_of(made[0]).startswith(host)
    close(made)


@pytest.mark.parametrize("count", [1, 2])
def test_a_port_that_is_taken_is_refused_also_when_it_could_be_shared(count: int) -> None:
    taken = listening("127.0.0.1:0", 2)
    with pytest.raises(ConfigError, match="taken by another program"):
        listening(address_of(taken[0]), count)
    close(taken)


def test_an_address_of_another_machine_is_refused() -> None:
    with pytest.raises(ConfigError, match="no address of this machine"):
        listening("192.0.2.1:0")


def test_a_unix_socket_accepts(tmp_path: Path) -> None:
    made = listening_unix(tmp_path / "s")
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(tmp_path / "s"))
    made.close()


def test_a_directory_has_one_user_and_names_it(tmp_path: Path) -> None:
    lock = DirectoryLock(tmp_path / "new" / "data")
    with pytest.raises(ConfigError, match=f"in use by process {os.getpid()}"):
        DirectoryLock(tmp_path / "new" / "data")
    assert lock is not None


def test_a_directory_that_cannot_be_made_is_refused_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="--data-dir") as refused:
        DirectoryLock(tmp_path / "file" / "data")
    assert os.strerror(errno.ENOTDIR) in str(refused.value)
