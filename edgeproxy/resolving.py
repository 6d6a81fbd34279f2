"""The resolver's process: its zone from the files, from the control plane's feed when it follows one, and its life."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from edgeproxy.binding import address_of, listening
from edgeproxy.configuration import Configuration
from edgeproxy.dns import server as dns_server
from edgeproxy.dns.admin import serve_admin
from edgeproxy.dns.answer import CALM
from edgeproxy.dns.explain import Explanation, explain
from edgeproxy.dns.parts import ResolverParts
from edgeproxy.dns.server import Surroundings
from edgeproxy.dns.sockets import bind
from edgeproxy.dns.standing import Verdict
from edgeproxy.dns.zone import Zone
from edgeproxy.errors import ConfigError, EdgeError, Fault
from edgeproxy.feed import Noticed
from edgeproxy.feeding import Followed, observing, prepare
from edgeproxy.following.follower import Whom
from edgeproxy.model import Distribution
from edgeproxy.places.geography import Located
from edgeproxy.places.location import Locations
from edgeproxy.places.networks import Client
from edgeproxy.processes import run_loop, until_told
from edgeproxy.settings import Settings
from edgeproxy.sources import Sources
from edgeproxy.supervisor import Channel, Child
from edgeproxy.telemetry.counters import Counters

log = logging.getLogger(__name__)

SERIAL_MAX = 2**32 - 1
FINDING_SECONDS = 10.0
"""How long a resolver that starts with its POPs waits for them before it says that it is ready all the same."""

SettingsOf = Callable[[Configuration], Settings]
"""The settings of a configuration, with the addresses that nodes really have."""
AdminsOf = Callable[[Settings], Mapping[str, str]]
"""Where the admin listeners of POPs answer: URL by name."""


class Zones:
    """What is answered from: the settings of files, and distributions from the feed once anything was heard of it.

    A configuration of files is taken whole or not at all. Of the feed, a distribution that this version cannot read
    stays as it was, and one whose names clash with the settings is left out: neither holds up the others.
    """

    def __init__(self, configuration: Configuration, settings_of: SettingsOf, followed: Followed | None) -> None:
        """Raises ConfigError."""
        self._settings_of = settings_of
        self._followed = followed
        self.use(configuration)

    def use(self, configuration: Configuration) -> None:
        """Another configuration of files. Raises ConfigError, EdgeError; then nothing is changed."""
        settings = self._settings_of(configuration)
        zone = zone_of_files(configuration, settings, complete=self._followed is None)
        zone = self._told(zone, configuration, settings, anew=True)
        self.configuration, self.settings, self.zone = configuration, settings, zone

    def refresh(self) -> None:
        """Something new has come from the feed. Raises EdgeError when nothing of it can be used."""
        self.zone = self._told(self.zone, self.configuration, self.settings, anew=False)

    def _told(self, zone: Zone, configuration: Configuration, settings: Settings, *, anew: bool) -> Zone:
        if self._followed is None:
            return zone
        distributions = self._followed.distributions(configuration, anew=anew, unreadable=_say_unreadable)
        epoch, number = self._followed.position
        if not epoch:
            return zone
        serial = max(1, number % SERIAL_MAX)
        try:
            return zone.with_distributions(settings, distributions, serial)
        except ConfigError as error:
            log.error("distributions that clash with the settings are not answered for:\n%s", error)
            return zone.with_distributions(settings, _without(distributions, error.faults), serial)


def _say_unreadable(distribution: str, error: EdgeError) -> None:
    log.error("distribution %s stays as it was, for what has come cannot be read: %s", distribution, error)


def _without(distributions: Sequence[Distribution], faults: Sequence[Fault]) -> list[Distribution]:
    places = tuple(f"{fault.place}:" for fault in faults)
    return [each for each in distributions if not any(at.startswith(f"distributions: {each.id}:") for at in places)]


def zone_of_files(configuration: Configuration, settings: Settings, *, complete: bool = True) -> Zone:
    """Raises ConfigError, for a database of locations that cannot be used too."""
    path = settings.resolver.location_database
    locate: Callable[[Client], Located] | None = None if path is None else Locations(Path(path)).find
    return Zone.build(settings, configuration.distributions, locate=locate, complete=complete)


def explanation_of_file(configuration: Configuration, ip: str, name: str) -> Explanation:
    """Where a client would be sent as far as the settings say: nothing measured, everything up. Raises ConfigError."""
    try:
        return explain(zone_of_files(configuration, configuration.settings), CALM, ip, name)
    except ValueError as error:
        raise ConfigError([Fault("", "explain", f"{ip} {name}", str(error))]) from None


@dataclass(frozen=True, slots=True)
class ResolverChild:
    """The resolver's process, where it answers (HOST:PORT), and its admin listener (URL)."""

    child: Child
    addresses: list[str]
    admin: str
    prove: Callable[[Configuration], object]
    """In the parent: raises ConfigError for a configuration that it could not use; from then on a process that is
    started again begins with it."""


def resolver_child(
    configuration: Configuration,
    settings_of: SettingsOf,
    admins_of: AdminsOf,
    follow: Whom | None = None,
    data_dir: Path = Path(),
    *,
    beside_nodes: bool = False,
) -> ResolverChild:
    """The resolver of a configuration. `follow`: the control plane whose distributions it answers for; what it knows of
    it is kept below `data_dir`. `beside_nodes`: the POPs start with it, and it is not ready before it has found them.

    Raises ConfigError when an address cannot be had, or the database of locations cannot be used.
    """
    directory = data_dir / "resolver"
    if follow is not None:
        prepare(directory)
    zones = Zones(configuration, settings_of, None if follow is None else Followed(directory))
    settings = zones.settings.resolver
    try:
        listeners = bind(settings.listen)
    except OSError as error:
        where = ", ".join(settings.listen)
        raise ConfigError([Fault("", "resolver.listen", where, str(error.strerror or error))]) from None
    admin = listening(settings.admin)[0]

    async def live(channel: Channel) -> int:
        with contextlib.suppress(EdgeError):  # then it comes with the feed
            zones.refresh()
        counters = Counters()
        surroundings = Surroundings(time.time, time.monotonic, os.urandom)
        server = await dns_server.serve(settings, zones.zone, counters, surroundings, listeners)
        chance, admins = random.Random(), admins_of(zones.settings)
        parts = ResolverParts(server, zones.settings, admins, counters, time.monotonic, chance.random)
        await parts.start()
        runner = await serve_admin(parts, admin)
        turns = asyncio.Lock()

        async def refresh() -> None:
            async with turns:
                await asyncio.to_thread(zones.refresh)  # questions are answered meanwhile
                parts.answer_from(zones.zone)

        def noticed(notice: Noticed) -> None:
            parts.noticed(notice.node, notice.what)

        async def reload(sources: Sources) -> None:
            async with turns:
                try:
                    await asyncio.to_thread(lambda: zones.use(sources.configuration(os.environ)))
                except EdgeError as error:  # the parent could use it all: a file has changed since
                    log.error("SIGHUP: the resolver keeps its old configuration:\n%s", error)
                else:
                    await parts.use(zones.settings, zones.zone, admins_of(zones.settings))

        async with observing(follow, directory, refresh, noticed):
            if beside_nodes:
                await _found(parts)
            await until_told(channel, reload)
        await runner.cleanup()
        await parts.close()
        return 0

    sockets = [admin, *(each for listener in listeners for each in (listener.udp, listener.tcp))]
    child = Child("resolver", lambda channel: run_loop(live(channel)), sockets=sockets)
    return ResolverChild(child, [listener.address for listener in listeners], f"http://{address_of(admin)}", zones.use)


async def _found(parts: ResolverParts) -> None:
    """Wait until every POP has said that it is ready, FINDING_SECONDS at most."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(FINDING_SECONDS):
            while any(  # noqa: ASYNC110  # checks of health have no event
                each.verdict is not Verdict.READY for each in parts.health.standings.values()
            ):
                await asyncio.sleep(0.02)
