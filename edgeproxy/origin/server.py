"""The demo origin: a static folder, the addresses of `experiments`, and a counter of what was asked."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Awaitable, Callable
from contextlib import closing
from html import escape
from pathlib import Path

from aiohttp import web

from edgeproxy.errors import ConfigError, Fault
from edgeproxy.origin.conditions import Validators, http_date
from edgeproxy.origin.experiments import CHOSEN, Experiments
from edgeproxy.origin.files import Elsewhere, Folder, OpenFile
from edgeproxy.origin.representation import Representation, answer
from edgeproxy.units import join_address, split_address

SITE = Path(__file__).parent / "site"
"""The demo site that comes with edgeproxy."""

PATHS_MAX = 1000
PATH_LENGTH_MAX = 1024
OTHER_PATHS = "(other paths)"
NOT_FOUND_MAX_AGE = 10

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Requests:
    """How often each path was asked for. Past PATHS_MAX different ones, the rest share one number."""

    def __init__(self) -> None:
        self.paths: dict[str, int] = {}
        self.total = 0

    def count(self, path: str) -> None:
        """One more."""
        self.total += 1
        if path not in self.paths and (len(self.paths) >= PATHS_MAX or len(path) > PATH_LENGTH_MAX):
            path = OTHER_PATHS
        self.paths[path] = self.paths.get(path, 0) + 1

    async def report(self, request: web.Request) -> web.Response:
        """All of it as JSON; asking for this is not counted."""
        report = {"total": self.total, "paths": self.paths}
        return web.json_response(report, headers={"Cache-Control": "no-store"})


class FileSource:
    """The bytes of an open file, read in threads so that a slow disk stops nobody else."""

    def __init__(self, file: OpenFile) -> None:
        self._file = file

    async def read(self, offset: int, size: int) -> bytes:
        """`size` bytes from `offset`, fewer when the file was cut meanwhile."""
        return await asyncio.to_thread(self._file.read, offset, size)


class Static:
    """A folder over HTTP; times to live in seconds, `wall` in seconds since 1970."""

    def __init__(self, folder: Folder, wall: Callable[[], float], html_max_age: int, other_max_age: int) -> None:
        self._folder = folder
        self._wall = wall
        self._html_max_age = html_max_age
        self._other_max_age = other_max_age

    async def get(self, request: web.Request) -> web.StreamResponse:
        """The file that the path names, its folder's address, or a 404 page."""
        path, mark, query = request.raw_path.partition("?")
        found = await asyncio.to_thread(self._folder.find, path)
        match found:
            case OpenFile():
                with closing(found):
                    return await answer(request, self._representation(found), self._wall())
            case Elsewhere(location):
                headers = {"Location": location + mark + query, "Cache-Control": self._lifetime("text/html")}
                return web.Response(status=301, headers=headers)
            case None:
                return _not_found(path)

    def _lifetime(self, content_type: str) -> str:
        html = content_type.startswith("text/html")
        return f"public, max-age={self._html_max_age if html else self._other_max_age}"

    def _representation(self, file: OpenFile) -> Representation:
        # A file from the future must not say so: its Last-Modified would be after Date (RFC 9110 section 8.8.2.1).
        modified = min(file.modified_ns // 10**9, int(self._wall()))
        return Representation(
            length=file.length,
            content_type=file.content_type,
            cache_control=self._lifetime(file.content_type),
            validators=Validators(file.etag, modified),
            source=FileSource(file),
        )


def _not_found(path: str) -> web.Response:
    text = f"<!doctype html>\n<title>Not found</title>\n<p>There is no <code>{escape(path[:200])}</code> here.</p>\n"
    headers = {"Cache-Control": f"public, max-age={NOT_FOUND_MAX_AGE}"}
    return web.Response(status=404, text=text, content_type="text/html", headers=headers)


def application(
    root: Path, wall: Callable[[], float], *, html_max_age: int = 60, other_max_age: int = 3600
) -> web.Application:
    """The whole server for the files below `root`; `wall` gives seconds since 1970, the lifetimes are seconds.

    Raises ConfigError when `root` is no folder.
    """
    if not root.is_dir():
        raise ConfigError([Fault("origin", "root", str(root), "expected a folder that exists")])
    requests = Requests()
    experiments = Experiments(wall)

    @web.middleware
    async def counted(request: web.Request, handler: Handler) -> web.StreamResponse:
        path = request.raw_path.partition("?")[0]
        if path != "/origin/requests":
            requests.count(path)
        try:
            return await handler(request)
        except ConnectionError:
            return web.Response()  # to nobody: the client has left, which is its right and no fault to log

    async def sign(request: web.Request, response: web.StreamResponse) -> None:
        own = {"Date": http_date(wall()), "Server": "edgeproxy-origin"}
        chosen = request.get(CHOSEN, frozenset())
        response.headers.update({name: value for name, value in own.items() if name.lower() not in chosen})

    async def goodbye(_: web.Application) -> None:
        await experiments.close()

    served = web.Application(middlewares=[counted])
    served.add_routes([web.get("/origin/requests", requests.report), *experiments.routes()])
    served.add_routes([web.get("/{path:.*}", Static(Folder(root), wall, html_max_age, other_max_age).get)])
    served.on_response_prepare.append(sign)
    served.on_shutdown.append(goodbye)
    return served


class Origin:
    """A running demo origin."""

    def __init__(self, runner: web.AppRunner, address: str) -> None:
        self._runner = runner
        self.address = address
        self.url = f"http://{address}"

    async def close(self) -> None:
        """Accept nothing more, let running answers end within the deadline, then stop. Idempotent."""
        await self._runner.cleanup()


async def serve(root: Path, listen: str, wall: Callable[[], float], *, deadline: float = 10) -> Origin:
    """Serve the files below `root` on HOST:PORT (port 0 is picked freely); `deadline` in seconds is for closing.

    Raises ConfigError when `root` is no folder or the address cannot be had.
    """
    # With cancellation: a slow answer whose client has left is not worth finishing.
    runner = web.AppRunner(
        application(root, wall), access_log=None, shutdown_timeout=deadline, handler_cancellation=True
    )
    await runner.setup()
    try:
        host, port = split_address(listen)
        await web.TCPSite(runner, host, port).start()
    except (OSError, ValueError) as error:
        await runner.cleanup()
        raise ConfigError([Fault("origin", "listen", listen, _advice(error))]) from error
    bound = runner.addresses[0]
    return Origin(runner, join_address(bound[0], bound[1]))


def _advice(error: OSError | ValueError) -> str:
    if isinstance(error, OSError) and error.errno == errno.EADDRINUSE:
        return "taken by another program; choose another port, or 0 for any free one"
    return f"cannot be listened on ({error}); expected HOST:PORT of this machine"
