"""The children that are no nodes: demo origin, resolver, control plane. Each is one process."""

from __future__ import annotations

import asyncio
import logging
import os
import random
import socket
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aiohttp import web

from edgeproxy.binding import address_of, listening
from edgeproxy.configuration import Configuration
from edgeproxy.control.api import Control, KnownNode, new_session
from edgeproxy.dns import server as dns_server
from edgeproxy.dns.admin import serve_admin
from edgeproxy.dns.answer import CALM
from edgeproxy.dns.explain import Explanation, explain
from edgeproxy.dns.parts import ResolverParts
from edgeproxy.dns.policy import Client
from edgeproxy.dns.server import Surroundings
from edgeproxy.dns.sockets import bind
from edgeproxy.dns.zone import Zone
from edgeproxy.errors import ConfigError, Fault
from edgeproxy.nodes import obey, run_loop
from edgeproxy.origin.server import application as origin_application
from edgeproxy.places.geography import Located
from edgeproxy.places.location import Locations
from edgeproxy.settings import Settings
from edgeproxy.sources import Sources
from edgeproxy.supervisor import Channel, Child, Message
from edgeproxy.telemetry.counters import Counters

log = logging.getLogger(__name__)


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


async def _ignored(_: Sources) -> None:
    """A child that no configuration concerns."""


async def _until_told(channel: Channel, reload: Callable[[Sources], Awaitable[None]] = _ignored) -> None:
    """Say that we are ready, take new configurations, and wait for the order to stop, or for the parent's end."""
    orders: asyncio.Queue[Message | None] = asyncio.Queue()
    obey(channel, orders)
    channel.send({"ready": True})
    while (order := await orders.get()) is not None and order["do"] != "drain":
        if order["do"] == "reload":
            await reload(Sources.from_json(order["sources"]))


def origin_child(root: Path, listener: socket.socket, drain: float) -> Child:
    async def application() -> web.Application:
        return origin_application(root, time.time)

    live = _life(application, listener, drain)
    return Child("origin", lambda channel: run_loop(live(channel)), sockets=[listener])


@dataclass(frozen=True, slots=True)
class ResolverChild:
    """The resolver's process, where it answers (HOST:PORT), and its admin listener (URL)."""

    child: Child
    addresses: list[str]
    admin: str
    prove: Callable[[Configuration], object]
    """Raises ConfigError for a configuration that it could not use."""


def resolver_child(
    configuration: Configuration,
    settings_of: Callable[[Configuration], Settings],
    admins_of: Callable[[Settings], Mapping[str, str]],
) -> ResolverChild:
    """The resolver of a configuration. `settings_of` gives its settings with the addresses that nodes really have,
    `admins_of` where the admin listeners of POPs answer (URL by name).

    Raises ConfigError when an address cannot be had, or the database of locations cannot be used.
    """

    def zone_of(configuration: Configuration) -> Zone:
        locate = _finder(_locations(configuration))
        return Zone.build(settings_of(configuration), configuration.distributions, locate=locate)

    settings, zone = settings_of(configuration), zone_of(configuration)
    try:
        listeners = bind(settings.resolver.listen)
    except OSError as error:
        where = ", ".join(settings.resolver.listen)
        raise ConfigError([Fault("", "resolver.listen", where, str(error.strerror or error))]) from None
    admin = listening(settings.resolver.admin)[0]

    async def live(channel: Channel) -> int:
        counters = Counters()
        surroundings = Surroundings(time.time, time.monotonic, os.urandom)
        server = await dns_server.serve(settings.resolver, zone, counters, surroundings, listeners)
        chance = random.Random()
        parts = ResolverParts(server, settings, admins_of(settings), counters, time.monotonic, chance.random)
        await parts.start()
        runner = await serve_admin(parts, admin)

        async def reload(sources: Sources) -> None:
            try:
                fresh = sources.configuration(os.environ)
                anew, zone = settings_of(fresh), zone_of(fresh)
            except ConfigError as error:  # the parent could use it all: a file has changed since
                log.error("SIGHUP: the resolver keeps its old configuration:\n%s", error)
            else:
                await parts.use(anew, zone, admins_of(anew))

        await _until_told(channel, reload)
        await runner.cleanup()
        await parts.close()
        return 0

    sockets = [admin, *(each for listener in listeners for each in (listener.udp, listener.tcp))]
    child = Child("resolver", lambda channel: run_loop(live(channel)), sockets=sockets)
    return ResolverChild(child, [listener.address for listener in listeners], f"http://{address_of(admin)}", zone_of)


def explanation_of_file(configuration: Configuration, ip: str, name: str) -> Explanation:
    """Where a client would be sent as far as the settings say: nothing measured, everything up. Raises ConfigError."""
    zone = Zone.build(configuration.settings, configuration.distributions, locate=_finder(_locations(configuration)))
    try:
        return explain(zone, CALM, ip, name)
    except ValueError as error:
        raise ConfigError([Fault("", "explain", f"{ip} {name}", str(error))]) from None


def _locations(configuration: Configuration) -> Locations | None:
    path = configuration.settings.resolver.location_database
    return None if path is None else Locations(Path(path))


def _finder(locations: Locations | None) -> Callable[[Client], Located] | None:
    return None if locations is None else locations.find


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
