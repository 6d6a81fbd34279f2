"""Listening sockets and data directories: what the parent takes before any child is started."""

from __future__ import annotations

import errno
import fcntl
import os
import socket
from collections.abc import Sequence
from pathlib import Path

from edgeproxy.errors import ConfigError, Fault
from edgeproxy.units import join_address, split_address

BACKLOG = 4096


def listening(address: str, count: int = 1) -> list[socket.socket]:
    """`count` sockets listening on HOST:PORT, all on the same port also when that is 0. Raises ConfigError.

    One socket a worker (SO_REUSEPORT): the kernel spreads connections, and a worker's queue survives its restart.
    """
    host, port = split_address(address)
    made: list[socket.socket] = []
    try:
        if count > 1 and port:  # with SO_REUSEPORT another program of ours would share the port without a word
            _bound(host, port, reuse_port=False).close()
        for _ in range(count):
            listener = _bound(host, port, reuse_port=count > 1)
            made.append(listener)
            listener.listen(BACKLOG)
            port = listener.getsockname()[1]
    except OSError as error:
        close(made)
        raise ConfigError([Fault("", "listen", address, _advice(error))]) from None
    return made


def _bound(host: str, port: int, *, reuse_port: bool) -> socket.socket:
    made = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    try:
        made.setblocking(False)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if reuse_port:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if made.family == socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        made.bind((host, port))
    except OSError:
        made.close()
        raise
    return made


def listening_unix(path: Path) -> socket.socket:
    """A Unix socket listening at a path that does not exist yet."""
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    made.setblocking(False)
    made.bind(str(path))
    made.listen(BACKLOG)
    return made


def close(sockets: Sequence[socket.socket]) -> None:
    """Close them all."""
    for each in sockets:
        each.close()


def address_of(listener: socket.socket) -> str:
    """HOST:PORT a socket is bound to."""
    host, port = listener.getsockname()[:2]
    return join_address(host, port)


def usable(addresses: Sequence[str]) -> list[str]:
    """Where a platform has only one loopback address, the first of a node's moves there, to a port of its own."""
    usable = [address for address in addresses if _is_ours(split_address(address)[0])]
    return usable or (["127.0.0.1:0"] if addresses else [])


def _is_ours(host: str) -> bool:
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM) as probe:
        try:
            probe.bind((host, 0))
        except OSError:
            return False
    return True


def _advice(error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return "taken by another program; stop it, or choose another port (0 for any free one)"
    if error.errno == errno.EACCES:
        return "not allowed to listen there; choose a port from 1024 on, or allow low ports to this user"
    if error.errno == errno.EADDRNOTAVAIL:
        return "no address of this machine; choose one that is, such as 127.0.0.1"
    return f"cannot be listened on: {error.strerror}"


class DirectoryLock:
    """A data directory that only this process uses. Held until the process ends."""

    def __init__(self, directory: Path) -> None:
        """Raises ConfigError when it cannot be made, or another process has it."""
        try:
            directory.mkdir(parents=True, exist_ok=True)
            self._file = os.open(directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            expected = f"cannot be used: {error.strerror}; choose another with --data-dir"
            raise ConfigError([Fault("", "data directory", str(directory), expected)]) from None
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = os.read(self._file, 32).decode("ascii", "replace").strip()
            os.close(self._file)
            expected = f"in use by process {owner or '(unknown)'}; stop that one, or choose another with --data-dir"
            raise ConfigError([Fault("", "data directory", str(directory), expected)]) from None
        os.ftruncate(self._file, 0)
        os.write(self._file, f"{os.getpid()}\n".encode())
