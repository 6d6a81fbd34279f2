"""A real browser for tests: Chromium without a window, spoken to over its DevTools protocol.

    async with page("https://demo.edge.localhost:8443/", ca_file) as shown:
        assert "Watch a request travel" in shown.text
        assert shown.failures == []

Needs `chromium`, and for a CA of one's own `certutil` (Debian: chromium, libnss3-tools). Names below `localhost` are
resolved to this machine by the browser itself. Of the machine's settings and certificates nothing is used or changed:
each page has a home folder of its own, and trusts `ca_file` beside the public authorities.
"""

from __future__ import annotations

import asyncio
import base64
import itertools
import os
import signal
import tempfile
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

CHROMIUM = "chromium"
# No sandbox: run by root, Chromium refuses to start with one. No shared memory: containers have little of it.
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-extensions", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--no-default-browser-check", "--no-proxy-server",
    "--disable-crash-reporter", "--remote-debugging-port=0", "about:blank",
)  # fmt: skip

_UNTIL = """condition => new Promise(done => {
    const look = () => { if (condition()) { watcher.disconnect(); done(); } };
    const watcher = new MutationObserver(look);
    watcher.observe(document, { subtree: true, childList: true, attributes: true, characterData: true });
    look();
})"""

Message = dict[str, Any]  # Any: DevTools messages are JSON of many shapes, each read in one place


@dataclass
class Page:
    """A page that was loaded and stays open; `errors` and `failures` go on growing as it lives."""

    devtools: DevTools
    errors: list[str] = field(default_factory=list)
    """What the console showed as an error, and exceptions nobody caught."""
    failures: list[str] = field(default_factory=list)
    """Requests that got no answer, or one of 400 and above: what happened, and the URL."""
    text: str = ""
    """The text a reader saw once the page had come to rest."""

    async def evaluate(self, expression: str) -> Any:  # Any: whatever the expression gives
        """The value of a JavaScript expression; a promise is awaited. Raises AssertionError when it throws."""
        answer = await self.devtools.call(
            "Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True
        )
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    async def until(self, condition: str) -> None:
        """Return when a JavaScript condition holds; it is looked at whenever the document changes."""
        await self.evaluate(f"({_UNTIL})(() => ({condition}))")

    async def click(self, selector: str) -> None:
        """Click what a CSS selector finds first."""
        await self.evaluate(f"document.querySelector({selector!r}).click()")

    async def screenshot(self, file: Path) -> None:
        """Write the whole page as PNG."""
        shot = await self.devtools.call("Page.captureScreenshot", captureBeyondViewport=True)
        await asyncio.to_thread(file.write_bytes, base64.b64decode(shot["data"]))

    def notice(self, event: Message) -> None:
        """Keep what an event says went wrong."""
        method, said = event["method"], event["params"]
        if method == "Runtime.exceptionThrown":
            details = said["exceptionDetails"]
            self.errors.append(details.get("exception", {}).get("description", details["text"]))
        elif method == "Runtime.consoleAPICalled" and said["type"] == "error":
            self.errors.append(" ".join(str(part.get("value", part.get("description"))) for part in said["args"]))
        elif method == "Log.entryAdded" and said["entry"]["level"] == "error":
            self.errors.append(said["entry"]["text"])
        elif method == "Network.loadingFailed" and not said.get("canceled"):
            # What the page itself gave up is no failure; of a HEAD, Chromium says that too.
            self.failures.append(f"{said['errorText']} {self.devtools.urls.get(said['requestId'], '')}".strip())
        elif method == "Network.responseReceived" and said["response"]["status"] >= 400:
            self.failures.append(f"{said['response']['status']} {said['response']['url']}")


class DevTools:
    """One target's connection: commands with their answers, and events to whoever listens."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._waiting: dict[int, asyncio.Future[Message]] = {}
        self._numbers = itertools.count(1)
        self._session: str | None = None
        self.urls: dict[str, str] = {}
        self.page = Page(self)
        self.at_rest: defaultdict[str, asyncio.Event] = defaultdict(asyncio.Event)
        """By loader, which is what DevTools calls one navigation: set once its network was idle."""

    async def call(self, method: str, **parameters: object) -> Message:
        """A command's result. Raises AssertionError with what DevTools said when it refuses."""
        answer: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
        number = next(self._numbers)
        self._waiting[number] = answer
        message: Message = {"id": number, "method": method, "params": parameters}
        if self._session is not None:
            message["sessionId"] = self._session
        await self._socket.send_json(message)
        return await answer

    async def attach(self) -> None:
        """Take over the browser's first tab, and listen to all of it."""
        targets = await self.call("Target.getTargets")
        target = next(info for info in targets["targetInfos"] if info["type"] == "page")
        attached = await self.call("Target.attachToTarget", targetId=target["targetId"], flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            await self.call(f"{domain}.enable")
        await self.call("Page.setLifecycleEventsEnabled", enabled=True)

    async def listen(self) -> None:
        """Hand out what arrives, until the connection ends; then nobody is left waiting."""
        try:
            async for arrived in self._socket:
                message: Message = arrived.json()
                if "id" in message:
                    self._answer(message)
                elif "method" in message:
                    self._event(message)
        finally:
            for answer in self._waiting.values():
                answer.cancel()

    def _answer(self, message: Message) -> None:
        answer = self._waiting.pop(message["id"])
        if answer.done():
            return
        if "error" in message:
            answer.set_exception(AssertionError(message["error"]["message"]))
        else:
            answer.set_result(message["result"])

    def _event(self, message: Message) -> None:
        said = message["params"]
        match message["method"]:
            case "Network.requestWillBeSent":
                self.urls[said["requestId"]] = said["request"]["url"]
            case "Page.lifecycleEvent" if said["name"] == "networkIdle":
                self.at_rest[said["loaderId"]].set()
        self.page.notice(message)


@asynccontextmanager
async def page(
    url: str,
    ca_file: Path | None = None,
    *,
    width: int = 1200,
    height: int = 900,
    dark: bool = False,
    patience: float = 60,
) -> AsyncIterator[Page]:
    """Load a page and wait until its network is idle. `patience` in seconds is for starting and loading.

    A page that cannot be loaded at all is given too: with the reason in `failures`, and no text.
    """
    with tempfile.TemporaryDirectory(prefix="browser-", ignore_cleanup_errors=True) as home:
        if ca_file is not None:
            await _trust(Path(home), ca_file)
        async with _chromium(Path(home), patience) as devtools:
            await devtools.attach()
            await devtools.call(
                "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False
            )
            scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
            await devtools.call("Emulation.setEmulatedMedia", features=[scheme])
            async with asyncio.timeout(patience):
                went = await devtools.call("Page.navigate", url=url)
                if "errorText" not in went:
                    await devtools.at_rest[went["loaderId"]].wait()
                    devtools.page.text = await devtools.page.evaluate("document.documentElement.innerText")
            yield devtools.page


async def _run(*command: str) -> None:
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    output, _ = await process.communicate()
    assert process.returncode == 0, output.decode()


async def _trust(home: Path, ca_file: Path) -> None:
    """Make the certificate store that Chromium reads from a home folder, with this authority in it."""
    store = home / ".pki" / "nssdb"
    store.mkdir(parents=True)
    await _run("certutil", "-N", "-d", f"sql:{store}", "--empty-password")
    await _run("certutil", "-A", "-d", f"sql:{store}", "-n", "local CA", "-t", "C,,", "-i", str(ca_file))


@asynccontextmanager
async def _chromium(home: Path, patience: float) -> AsyncIterator[DevTools]:
    """A browser with a home folder of its own; it and all it started are gone at the end."""
    process = await asyncio.create_subprocess_exec(
        CHROMIUM, f"--user-data-dir={home}/profile", *FLAGS,
        stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "HOME": str(home)}, start_new_session=True,
    )  # fmt: skip
    assert process.stderr is not None
    try:
        async with asyncio.timeout(patience):
            address = await _devtools_address(process.stderr)
        async with aiohttp.ClientSession() as client, client.ws_connect(address, max_msg_size=256 * 2**20) as socket:
            devtools = DevTools(socket)
            # Nobody reads its log any more, and a full pipe would stop it.
            tasks = [asyncio.create_task(devtools.listen()), asyncio.create_task(process.stderr.read())]
            try:
                yield devtools
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()


async def _devtools_address(log: asyncio.StreamReader) -> str:
    said = []
    while line := (await log.readline()).decode():
        said.append(line)
        if line.startswith("DevTools listening on "):
            return line.split()[-1]
    raise AssertionError("Chromium did not start:\n" + "".join(said))
