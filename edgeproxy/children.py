"""The children that are no nodes: demo origin, resolver, control plane. Each is one process."""

from __future__ import annotations

import asyncio
import logging
import os
import random
import socket
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from aiohttp import web

from edgeproxy.binding import address_of, listening
from edgeproxy.configuration import Configuration
from edgeproxy.control.api import Control, KnownNode, new_session
from edgeproxy.control.api import application as control_application
from edgeproxy.control.db import Database
from edgeproxy.control.loading import load_files
from edgeproxy.control.managed import managed
from edgeproxy.control.orders import Orders
from edgeproxy.control.plane import Pace, Plane
from edgeproxy.control.rest import Bounds, Rest
from edgeproxy.control.state import Names
from edgeproxy.control.streams import Streams
from edgeproxy.dns import server as dns_server
from edgeproxy.dns.admin import serve_admin
from edgeproxy.dns.answer import CALM
from edgeproxy.dns.explain import Explanation, explain
from edgeproxy.dns.location import Locations
from edgeproxy.dns.parts import ResolverParts
from edgeproxy.dns.policy import Client, Located
from edgeproxy.dns.server import Surroundings
from edgeproxy.dns.sockets import bind
from edgeproxy.dns.zone import Zone
from edgeproxy.errors import ConfigError, EdgeError, Fault
from edgeproxy.feeding import Followed, observing, prepare
from edgeproxy.following.follower import Whom
from edgeproxy.origin.server import application as origin_application
from edgeproxy.processes import obey, run_loop
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
    return Child("origin", lambda channel: run_loop(live(channel)), sockets=[listener], stage=2)


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
    follow: Whom | None = None,
    data_dir: Path = Path(),
) -> ResolverChild:
    """The resolver of a configuration. `settings_of` gives its settings with the addresses that nodes really have,
    `admins_of` where the admin listeners of POPs answer (URL by name). `follow`: the control plane whose distributions
    it answers for; what it knows of it is kept below `data_dir`.

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

    if follow is not None:
        prepare(data_dir / "resolver")

    async def live(channel: Channel) -> int:
        counters = Counters()
        surroundings = Surroundings(time.time, time.monotonic, os.urandom)
        server = await dns_server.serve(settings.resolver, zone, counters, surroundings, listeners)
        chance = random.Random()
        parts = ResolverParts(server, settings, admins_of(settings), counters, time.monotonic, chance.random)
        await parts.start()
        runner = await serve_admin(parts, admin)

        files, followed = [configuration], Followed(data_dir / "resolver")

        async def use(fresh: Configuration, *, settings_changed: bool) -> None:
            if follow is not None and (told := followed.distributions(fresh, anew=settings_changed)):
                fresh = replace(fresh, distributions=told)
            anew, zone = settings_of(fresh), zone_of(fresh)
            await parts.use(anew, zone, admins_of(anew))

        async def reload(sources: Sources) -> None:
            try:
                fresh = sources.configuration(os.environ)
                await use(fresh, settings_changed=True)
            except EdgeError as error:  # the parent could use it all: a file has changed since
                log.error("SIGHUP: the resolver keeps its old configuration:\n%s", error)
            else:
                files[0] = fresh

        async with observing(follow, data_dir / "resolver", lambda: use(files[0], settings_changed=False)):
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


@dataclass(frozen=True, slots=True)
class ControlSetting:
    """What a control plane is made of."""

    configuration: Configuration
    nodes: Sequence[KnownNode]
    data_dir: Path
    listener: socket.socket
    test_clock: bool = False
    alone: bool = False
    """All nodes there are have the names of `nodes`: others on its list are of another time (`up`)."""


def control_child(setting: ControlSetting) -> Child:
    """The control plane. It answers when the files are loaded."""

    async def live(channel: Channel) -> int:
        offset = [0.0]

        def advance(seconds: float) -> None:
            offset[0] += seconds

        def wall() -> float:
            return time.time() + offset[0]

        try:
            plane = _plane(setting, wall)
        except ConfigError as error:
            channel.send({"error": str(error)})
            return 1
        await plane.start()
        await _load(plane, setting.configuration, channel)
        for name in set(plane.state.members) - {node.name for node in setting.nodes} if setting.alone else ():
            await plane.leave(name)
        settings = setting.configuration.settings
        bounds = Bounds(
            settings.control.invalidation_paths_max, settings.control.invalidation_wildcards_max, settings.control.hold
        )
        keys = {key.id: key.secret for key in settings.control.access_keys}
        async with new_session() as session:
            made = control_application(
                Control(setting.nodes, wall, advance if setting.test_clock else None, session),
                Rest(plane, keys, time.time, os.urandom, bounds),
                Streams(plane, settings.tier.key),
                Orders(plane, bounds),
                settings.tier.key,
            )
            runner = web.AppRunner(
                made, access_log=None, handle_signals=False, handler_cancellation=True, shutdown_timeout=0
            )
            await runner.setup()
            await web.SockSite(runner, setting.listener).start()

            async def reload(sources: Sources) -> None:
                try:
                    await _load(plane, sources.configuration(os.environ), channel)
                except ConfigError as error:  # the parent could use it all: a file has changed since
                    log.error("SIGHUP: the control plane keeps what it has:\n%s", error)

            await _until_told(channel, reload)
            await runner.cleanup()
        await plane.close()
        return 0

    return Child("control", lambda channel: run_loop(live(channel)), sockets=[setting.listener], stage=2)


def _plane(setting: ControlSetting, wall: Callable[[], float]) -> Plane:
    settings = setting.configuration.settings
    names = Names(os.urandom)
    database = Database(setting.data_dir / "control" / "control.db")
    state = database.load(lambda: names.short(""), settings.zone)
    state.managed = managed()
    pace = Pace(settings.control.heartbeat, settings.control.lease)
    return Plane(state, database, names, wall, time.monotonic, pace, settings.control.invalidations_kept)


async def _load(plane: Plane, configuration: Configuration, channel: Channel) -> None:
    try:
        await load_files(plane, configuration.given)
    except ConfigError as error:
        channel.send({"error": f"the control plane refuses files, and keeps what it has of them:\n{error}"})
