"""The children that are no nodes: demo origin, resolver, control plane. Each is one process."""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aiohttp import web

from edgeproxy.configuration import Configuration
from edgeproxy.control.api import Control, KnownNode, new_session
from edgeproxy.dns import server as dns_server
from edgeproxy.dns.zone import Zone
from edgeproxy.errors import ConfigError, Fault
from edgeproxy.nodes import obey, run_loop
from edgeproxy.origin.server import application as origin_application
from edgeproxy.settings import Settings
from edgeproxy.sources import Sources
from edgeproxy.supervisor import Channel, Child, Message
from edgeproxy.telemetry.counters import Counters


def _life(
    application: Callable[[], Coroutine[Any, Any, web.Application]],  # Any: the loop's business
    listener: socket.socket,
    drain: float,
) -> Callable[[Channel], Coroutine[Any, Any, int]]:  # Any: as above
    """The life of a child that answers HTTP on one socket."""

    async def live(channel: Channel) -> int:
        runner = web.AppRunner(
            await application(),
            access_log=None,
            handle_signals=False,
            handler_cancellation=True,
            shutdown_timeout=drain,
        )
        await runner.setup()
        await web.SockSite(runner, listener).start()
        await _until_told(channel)
        await runner.cleanup()
        return 0

    return live


async def _until_told(channel: Channel, reload: Callable[[Sources], None] = lambda sources: None) -> None:
    """Say that we are ready, take new configurations, and wait for the order to stop, or for the parent's end."""
    orders: asyncio.Queue[Message | None] = asyncio.Queue()
    obey(channel, orders)
    channel.send({"ready": True})
    while (order := await orders.get()) is not None and order["do"] != "drain":
        if order["do"] == "reload":
            reload(Sources.from_json(order["sources"]))


def origin_child(root: Path, listener: socket.socket, drain: float) -> Child:
    async def application() -> web.Application:
        return origin_application(root, time.time)

    live = _life(application, listener, drain)
    return Child("origin", lambda channel: run_loop(live(channel)), sockets=[listener])


@dataclass(frozen=True, slots=True)
class ResolverChild:
    """The resolver's process, and where it answers (HOST:PORT)."""

    child: Child
    addresses: list[str]


def resolver_child(configuration: Configuration, settings_of: Callable[[Configuration], Settings]) -> ResolverChild:
    """The resolver of a configuration. `settings_of` gives its settings with the addresses that nodes really have.

    Raises ConfigError when an address cannot be had.
    """
    settings = settings_of(configuration)
    zone = Zone.build(settings, configuration.distributions)
    try:
        listeners = dns_server.bind(settings.resolver.listen)
    except OSError as error:
        where = ", ".join(settings.resolver.listen)
        raise ConfigError([Fault("", "resolver.listen", where, str(error.strerror or error))]) from None

    async def live(channel: Channel) -> int:
        server = await dns_server.serve(settings.resolver, zone, Counters(), listeners)

        def reload(sources: Sources) -> None:
            fresh = sources.configuration(os.environ)
            server.use(Zone.build(settings_of(fresh), fresh.distributions))

        await _until_told(channel, reload)
        await server.close()
        return 0

    sockets = [each for listener in listeners for each in (listener.udp, listener.tcp)]
    child = Child("resolver", lambda channel: run_loop(live(channel)), sockets=sockets)
    return ResolverChild(child, [listener.address for listener in listeners])


def control_child(listener: socket.socket, nodes: Sequence[KnownNode], test_clock: bool) -> Child:
    offset = [0.0]

    def advance(seconds: float) -> None:
        offset[0] += seconds

    async def application() -> web.Application:
        session = new_session()
        control = Control(nodes, lambda: time.time() + offset[0], advance if test_clock else None, session)
        made = control.application()

        async def goodbye(_: web.Application) -> None:
            await session.close()

        made.on_cleanup.append(goodbye)
        return made

    live = _life(application, listener, 5)
    return Child("control", lambda channel: run_loop(live(channel)), sockets=[listener])
