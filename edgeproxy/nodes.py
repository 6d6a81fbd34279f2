"""One node: from its settings to the children that run it. Everything they share is made here, in the parent."""

from __future__ import annotations

import asyncio
import os
import socket
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from edgeproxy.binding import DirectoryLock, address_of, listening, listening_unix
from edgeproxy.cloudfront.fields import location_code
from edgeproxy.cloudfront.hosts import Hosts
from edgeproxy.configuration import Configuration
from edgeproxy.edge.admin import Admin, serve_admin
from edgeproxy.edge.authority import Authority
from edgeproxy.edge.certificates import Certificates, load_configured
from edgeproxy.edge.node import Clocks, NextTier, Place, Serving
from edgeproxy.edge.page import SharedPage
from edgeproxy.edge.worker import Sockets, Worker
from edgeproxy.errors import EdgeError
from edgeproxy.feeding import Broker, Followed, feed_child, prepare
from edgeproxy.following.follower import Whom
from edgeproxy.model import Mode, Rules
from edgeproxy.places.clients import Clients
from edgeproxy.places.location import Locations
from edgeproxy.processes import obey, run_loop
from edgeproxy.settings import Node, Settings
from edgeproxy.sources import Sources
from edgeproxy.supervisor import Channel, Child, Message
from edgeproxy.units import split_address
from edgeproxy.upstream.client import Target


def buffered(random_bytes: Callable[[int], bytes]) -> Callable[[int], bytes]:
    """The same randomness in larger portions: a system call for each request id is a twentieth of a hit."""
    rest = b""

    def take(count: int) -> bytes:
        nonlocal rest
        if len(rest) < count:
            rest = random_bytes(max(4096, count))
        taken, rest = rest[:count], rest[count:]
        return taken

    return take


@dataclass
class NodeRun:
    """A node about to run. Its sockets are open, its page is made; `children` start it."""

    node: Node
    configuration: Configuration
    data_dir: Path
    """Of the whole CDN: the certificate authority is there, the node's own files below `nodes/NAME`."""
    workers: int
    rules: Rules
    """Of answers that belong to no distribution."""
    next_tier: NextTier | None = None
    shields: Mapping[str, NextTier] = field(default_factory=dict)
    """The regionals of this CDN by region."""
    knows_origin: bool = True
    test_clock: bool = False
    ended: Callable[[], None] = lambda: None
    follow: Whom | None = None
    """The control plane that says what to serve; without one, the configuration does."""
    http: list[list[socket.socket]] = field(default_factory=list)
    https: list[list[socket.socket]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.directory = self.data_dir / "nodes" / self.node.name
        self.lock = DirectoryLock(self.directory)
        self.http = [listening(address, self.workers) for address in self.node.listen]
        self.https = [listening(address, self.workers) for address in self.node.https]
        self.admin = listening(self.node.admin)[0]
        self.page = SharedPage(self.workers)
        self.page.behind = self.follow is not None
        self._followed = Followed(self.directory)
        # Opened before the workers are forked: they share its pages.
        self._clients = clients_of(self.configuration.settings)
        self.began = time.monotonic()
        self._meeting: tempfile.TemporaryDirectory[str] | None = None
        self._doors: list[socket.socket] = []
        self._owners: tuple[Target, ...] = ()
        if self.workers > 1:
            # Not below DATA_DIR: a Unix socket's path has room for 107 bytes only.
            self._meeting = tempfile.TemporaryDirectory(prefix="edgeproxy-")
            paths = [Path(self._meeting.name) / f"{number}" for number in range(self.workers)]
            self._doors = [listening_unix(path) for path in paths]
            self._owners = tuple(Target("worker", 0, unix_path=str(path)) for path in paths)

    def url(self, *, https: bool = False) -> str | None:
        """Where viewers reach it first, None when it does not listen for them so."""
        groups = self.https if https else self.http
        return f"{'https' if https else 'http'}://{address_of(groups[0][0])}" if groups else None

    def admin_url(self) -> str:
        """Where its admin listener answers."""
        return f"http://{address_of(self.admin)}"

    def children(self) -> list[Child]:
        """One a worker, and one for the feed where there is a control plane."""
        broker = Broker(caught_up=self._caught_up)
        workers = [self._child(number, broker) for number in range(self.workers)]
        if self.follow is None:
            return workers
        prepare(self.directory)
        broker.workers = workers
        return [*workers, feed_child(self.node.name, self.follow, self.directory, broker)]

    def _caught_up(self) -> None:
        self.page.behind = False

    def close(self) -> None:
        """After all children have ended."""
        if self._meeting is not None:
            self._meeting.cleanup()

    def _child(self, number: int, broker: Broker) -> Child:
        def started() -> None:
            self.page.rows[number].forget_gauges()

        def ready(message: Message) -> None:
            self.page.ready_workers += 1

        def ended() -> None:
            self.page.ready_workers -= 1
            self.ended()

        name = self.node.name if self.workers == 1 else f"{self.node.name}, worker {number}"
        sockets = self._sockets(number)
        own = [self.admin, *sockets.http, *sockets.https, *sockets.workers]
        child = Child(name, lambda channel: run_loop(self._live(number, channel)), started, ready, ended, sockets=own)
        child.heard = lambda message: broker.from_worker(child, message)
        child.gone = lambda: broker.worker_gone(child)
        return child

    def _place(self, number: int) -> Place:
        node = self.node
        return Place(
            name=node.name,
            mode=Mode(node.mode),
            region=node.region,
            code=node.code or location_code(node.name),
            worker=number,
            owners=self._owners,
            https_port=self.https[0][number].getsockname()[1] if self.https else None,
            test_clock=self.test_clock,
            knows_origin=self.knows_origin,
        )

    def _serving(self, configuration: Configuration, *, anew: bool = False) -> Serving:
        """Raises EdgeError when what the feed has brought cannot be read."""
        distributions = configuration.distributions
        if self.follow is not None:
            distributions = self._followed.distributions(configuration, anew=anew)
        return Serving(
            hosts=Hosts(distributions),
            settings=configuration.settings,
            next_tier=self.next_tier,
            default_rules=self.rules,
            shields=self.shields,
            clients=self._clients if configuration is self.configuration else clients_of(configuration.settings),
        )

    async def _live(self, number: int, channel: Channel) -> int:
        """A worker's life: start, obey the parent, drain."""
        page = self.page
        clocks = Clocks(
            wall=(lambda: time.time() + page.clock_offset) if self.test_clock else time.time,
            monotonic=time.monotonic,
            offset=lambda: page.clock_offset,
            random_bytes=buffered(os.urandom),
        )
        place = self._place(number)
        try:
            serving = self._serving(self.configuration)
            current = [serving]
            certificates = self._certificates(number, serving, lambda host: current[0].hosts.find(host) is not None)
            worker = Worker(
                place,
                serving,
                page,
                self.directory,
                clocks,
                None if certificates is None else certificates.server_context(),
            )
            await worker.start(self._sockets(number))
        except EdgeError as error:
            channel.send({"error": str(error)})
            return 1
        admin = Admin(place, page, self.workers, clocks.wall, lambda: time.monotonic() - self.began, worker.round_trips)
        runner = await serve_admin(admin, self.admin)
        orders: asyncio.Queue[Message | None] = asyncio.Queue()
        obey(channel, orders)
        channel.send({"ready": True, "applied": self._followed.number})
        while (order := await orders.get()) is not None:
            if order["do"] == "drain":
                await worker.drain(float(order["deadline"]))
                break
            if order["do"] == "reopen":
                worker.log.reopen()
            if order["do"] == "feed":
                try:
                    current[0] = self._serving(self.configuration)
                    worker.serve(current[0])
                    channel.send({"applied": self._followed.number})
                except EdgeError as error:  # nobody is told that it is applied
                    channel.send({"error": f"what the control plane says cannot be used: {error}"})
            if order["do"] == "reload":
                try:
                    current[0] = self._reload(order, worker, certificates)
                except EdgeError as error:  # the parent could read it all: a certificate has changed since
                    channel.send({"error": f"the new configuration is refused, the old one stays: {error}"})
        else:
            await worker.close()  # the parent is gone without a word: nobody would restart or drain us
        await runner.cleanup()
        return 0

    def _reload(self, order: Message, worker: Worker, certificates: Certificates | None) -> Serving:
        """Serve by the configuration that the parent sent: whole, or raises EdgeError and changes nothing."""
        fresh = Sources.from_json(order["sources"]).configuration(os.environ)
        serving = self._serving(fresh, anew=True)
        if certificates is not None:
            certificates.configure(load_configured(fresh.settings.certificates))
        worker.serve(serving)
        self.configuration, self._clients = fresh, serving.clients
        return serving

    def _sockets(self, number: int) -> Sockets:
        return Sockets(
            http=[group[number] for group in self.http],
            https=[group[number] for group in self.https],
            workers=self._doors[number : number + 1],
        )

    def _certificates(self, number: int, serving: Serving, serves: Callable[[bytes], bool]) -> Certificates | None:
        if not self.https:
            return None
        authority = Authority.open(self.data_dir, time.time)
        return Certificates(
            authority,
            # The real clock, also with the test clock: real clients judge by their own.
            allowed=lambda host: serves(host.encode()),
            wall=time.time,
            counters=self.page.rows[number],
            configured=load_configured(serving.settings.certificates),
            addresses=[split_address(address)[0] for address in self.node.https],
            kept_max=serving.settings.connections.certificates_max,
        )


def clients_of(settings: Settings) -> Clients:
    """Where viewers are, as the resolver's tables and its database have it. Raises ConfigError."""
    path = settings.resolver.location_database
    return Clients(settings.resolver.networks, None if path is None else Locations(Path(path)))
