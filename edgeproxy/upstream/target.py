"""Where the next hop is, how patiently it is asked, and how a connection to it is made."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable
from typing import TypeVar

from edgeproxy.errors import Detail, OriginError, OriginTimeout, OriginUnreachable
from edgeproxy.units import join_address
from edgeproxy.values import value

TLS_GOODBYE = 5.0
"""Seconds that a closed TLS connection waits for the other side's close_notify."""

P = TypeVar("P", bound=asyncio.Protocol)


@value(frozen=True, slots=True)
class Target:
    """Where to connect: `host` and `port`, or a Unix socket when `unix_path` is given."""

    host: str
    port: int
    tls: bool = False
    server_name: str = ""
    """What TLS asks for (SNI) and verifies; empty for `host`."""
    unix_path: str | None = None

    def __str__(self) -> str:
        return self.unix_path or join_address(self.host, self.port)


@value(frozen=True, slots=True)
class Patience:
    """How long the next hop may take, in seconds."""

    connect: float
    """To connect, TLS included."""
    first_byte: float
    """From the request sent to the first byte of the answer, and from there to the end of its head."""
    idle: float
    """Between two pieces of the answer, and for a piece of the request to be taken."""
    attempts: int = 1
    """How often to try to connect; and for GET and HEAD how often to wait for a first byte."""
    keepalive: float = 60.0
    """How long the connection is kept when idle afterwards; 0 asks for it to be closed."""
    completion: float | None = None
    """Bound on the whole exchange, from the queue to the last byte, repetitions included; None for no bound."""


async def dial(target: Target, protocol: Callable[[], P], context: Callable[[], ssl.SSLContext], seconds: float) -> P:
    """A connection to `target`, handed to a new `protocol`; `context` is asked for only when TLS is.

    Raises OriginUnreachable (name unknown, refused, TLS failed) or OriginTimeout after `seconds`.
    """
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(seconds):
            tls = context() if target.tls else None
            name = (target.server_name or target.host) if target.tls else None
            goodbye = TLS_GOODBYE if target.tls else None
            if target.unix_path is not None:
                _, made = await loop.create_unix_connection(
                    protocol, target.unix_path, ssl=tls, server_hostname=name, ssl_shutdown_timeout=goodbye
                )
            else:
                _, made = await loop.create_connection(
                    protocol, target.host, target.port, ssl=tls, server_hostname=name, ssl_shutdown_timeout=goodbye
                )
            return made
    except (OSError, UnicodeError) as fault:
        raise _unreachable(target, fault, seconds) from fault


def _unreachable(target: Target, fault: OSError | UnicodeError, seconds: float) -> OriginError:
    """The error for a connection that could not be made. A host that is no name at all is a UnicodeError."""
    match fault:
        case TimeoutError():
            return OriginTimeout(f"{target} took more than {seconds:g} s to connect.", detail=Detail.ORIGIN_CONNECT)
        case socket.gaierror() | UnicodeError():
            return OriginUnreachable(f"{target} has no address: {fault}", detail=Detail.ORIGIN_DNS)
        case ssl.SSLCertVerificationError():
            # Asking again would show the same certificate.
            return OriginUnreachable(f"{target} has no valid certificate: {fault.verify_message}", may_retry=False)
        case ssl.SSLError():
            return OriginUnreachable(f"{target} failed in TLS: {fault}")
        case _:
            return OriginUnreachable(f"{target} cannot be reached: {fault}")
