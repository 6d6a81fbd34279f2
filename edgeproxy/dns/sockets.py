"""The sockets the resolver answers on: UDP and TCP of each address, on one port."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Sequence
from dataclasses import dataclass

from edgeproxy.units import join_address, split_address

RECEIVE_BUFFER = 4 << 20
"""Bytes of queries the system is asked to hold for us; it may hold less."""
_PORT_ATTEMPTS = 32
"""A port that is free for TCP may be taken for UDP."""


@dataclass(frozen=True, slots=True)
class Listener:
    """The two bound sockets of one address."""

    udp: socket.socket
    tcp: socket.socket

    @property
    def address(self) -> str:
        """HOST:PORT."""
        return join_address(*self.udp.getsockname()[:2])

    def close(self) -> None:
        """Free the address."""
        self.udp.close()
        self.tcp.close()


def bind(addresses: Sequence[str]) -> list[Listener]:
    """Sockets for these HOST:PORT addresses; for port 0 one port that is free for UDP and TCP alike. Raises OSError."""
    listeners: list[Listener] = []
    try:
        for address in addresses:
            listeners.append(_bind(*split_address(address)))
    except OSError:
        for listener in listeners:
            listener.close()
        raise
    return listeners


def _bind(host: str, port: int) -> Listener:
    attempts = 1 if port else _PORT_ATTEMPTS
    while True:
        attempts -= 1
        tcp = _socket(host, port, socket.SOCK_STREAM)
        try:
            return Listener(_socket(host, tcp.getsockname()[1], socket.SOCK_DGRAM), tcp)
        except OSError:
            tcp.close()
            if not attempts:
                raise


def _socket(host: str, port: int, kind: socket.SocketKind) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    made = socket.socket(family, kind)
    try:
        made.setblocking(False)
        if family == socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)  # 0.0.0.0 and [::] are two addresses.
        if kind == socket.SOCK_STREAM:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if kind == socket.SOCK_DGRAM:
            with contextlib.suppress(OSError):  # as much as the system allows
                made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
        made.bind((host, port))
    except OSError as error:
        made.close()
        raise OSError(error.errno, f"cannot answer DNS on {join_address(host, port)}: {error.strerror}") from error
    return made
