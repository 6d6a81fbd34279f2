"""The children that are neither nodes nor resolvers: demo origin, control plane. Each is one process."""

from __future__ import annotations

import logging
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
from edgeproxy.control.api import application as control_application
from edgeproxy.control.db import Database
from edgeproxy.control.loading import load_files
from edgeproxy.control.managed import managed
from edgeproxy.control.orders import Orders
from edgeproxy.control.plane import Pace, Plane
from edgeproxy.control.rest import Bounds, Rest
from edgeproxy.control.state import Member, Names
from edgeproxy.control.streams import Streams
from edgeproxy.errors import ConfigError
from edgeproxy.origin.server import application as origin_application
from edgeproxy.processes import run_loop, until_told
from edgeproxy.sources import Sources
from edgeproxy.supervisor import Channel, Child

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
        await until_told(channel)
        await runner.cleanup()
        return 0

    return live


def origin_child(root: Path, listener: socket.socket, drain: float) -> Child:
    async def application() -> web.Application:
        return origin_application(root, time.time)

    live = _life(application, listener, drain)
    return Child("origin", lambda channel: run_loop(live(channel)), sockets=[listener], stage=2)


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
            settings.control.invalidation_paths_max,
            settings.control.invalidation_wildcards_max,
            settings.control.hold,
            any_host=settings.control.open,
        )
        keys = {key.id: key.secret for key in settings.control.access_keys}
        async with new_session() as session:
            made = control_application(
                Control(setting.nodes, wall, advance if setting.test_clock else None, session, plane.presence.ordered),
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

            await until_told(channel, reload)
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
    if not state.number and not state.members:
        # The database is new. Nodes may be serving by what an earlier one has told them: those that the settings name
        # are waited for until they have come, or the operator says that they are no more.
        state.members = {node.name: Member(node.name, "", 0, "") for node in setting.nodes}
        database.write_members(state.members.values(), (), 0)
    pace = Pace(settings.control.heartbeat, settings.control.lease)
    return Plane(state, database, names, wall, time.monotonic, pace, settings.control.invalidations_kept)


async def _load(plane: Plane, configuration: Configuration, channel: Channel) -> None:
    try:
        await load_files(plane, configuration.given)
    except ConfigError as error:
        channel.send({"error": f"the control plane refuses files, and keeps what it has of them:\n{error}"})
