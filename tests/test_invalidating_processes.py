"""An invalidation through real processes: control plane, regional and POP with two workers each."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from tests.commands import Running, command, fetch, run
from tests.scripted import ScriptedOrigin
from tests.tier import config_for

SETTINGS = """
[[distributions]]
file = "site.json"
[control]
listen = "127.0.0.1:0"
heartbeat = 0.2
[cache]
sweep_interval = 0.05
[resolver]
listen = ["127.0.0.1:0"]
[[nodes]]
name = "regional"
mode = "regional"
listen = ["127.0.0.1:0"]
workers = 2
[[nodes]]
name = "pop"
mode = "pop"
listen = ["127.0.0.1:0"]
upstream = "regional"
workers = 2
"""


class Site:
    """The running CDN, its origin, and what viewers do with them."""

    def __init__(self, running: Running, folder: Path, origin: ScriptedOrigin) -> None:
        self.running, self.folder, self.origin = running, folder, origin
        self.endpoints: dict[str, Any] = json.loads((folder / "data" / "endpoints.json").read_text())
        self.nodes = {node["name"]: node for node in self.endpoints["nodes"]}

    def has(self, text: bytes) -> None:
        """What the origin answers from now on."""
        self.origin.always(200, {"Cache-Control": "max-age=3600", "ETag": '"same"', "Cache-Tag": "site"}, text)

    async def get(self, path: str) -> bytes:
        """Through the POP, by whichever worker."""
        headers = {"Host": "site.edge.localhost"}
        status, body = await fetch(self.nodes["pop"]["url"] + path, headers=headers)
        assert status == 200
        return body

    async def seen(self, path: str) -> set[bytes]:
        """By many viewers at once, so that every worker of the POP has answered some."""
        return set(await asyncio.gather(*(self.get(path) for _ in range(12))))

    async def invalidate(self, *what: str) -> tuple[int, str]:
        """As an operator does; waits until it is Completed."""
        where = ("--distribution", "site", "--wait", "--data-dir", str(self.folder / "data"))
        return await run("invalidate", *where, *what)

    async def counted(self, node: str, metric: str) -> float:
        """A counter of a node."""
        text = (await fetch(self.nodes[node]["admin"] + "/metrics"))[1].decode()
        return sum(float(line.split()[-1]) for line in text.splitlines() if line.startswith(metric))


@asynccontextmanager
async def site(folder: Path) -> AsyncIterator[Site]:
    async with ScriptedOrigin() as origin:
        (folder / "settings.toml").write_text(SETTINGS)
        config = config_for(origin.port, CacheTagConfig={"HeaderName": "Cache-Tag"})
        (folder / "site.json").write_text(json.dumps(config))
        data = str(folder / "data")
        async with command("up", "--data-dir", data, "--config", str(folder / "settings.toml")) as running:
            await running.says("Stop: Ctrl-C")
            yield Site(running, folder, origin)


async def test_after_completed_nobody_gets_older_content_from_any_tier_or_worker(tmp_path: Path) -> None:
    async with site(tmp_path) as cdn:
        cdn.has(b"one")
        assert await cdn.seen("/a") == {b"one"}
        cdn.has(b"two")
        assert await cdn.seen("/a") == {b"one"}
        assert (await cdn.invalidate("/a"))[0] == 0
        assert await cdn.seen("/a") == {b"two"}
        cdn.has(b"three")
        assert (await cdn.invalidate("/b*", "--tag", "other"))[0] == 0
        assert await cdn.seen("/a") == {b"two"}
        assert (await cdn.invalidate("--tag", "SITE"))[0] == 0
        assert await cdn.seen("/a") == {b"three"}
        assert await cdn.counted("pop", "edgeproxy_invalidation_number") >= 3
        assert await cdn.counted("pop", "edgeproxy_quarantined") == 0
        for node in ("pop", "regional"):  # found unusable by a request, or taken away by the sweep before that
            hit = [await cdn.counted(node, f"edgeproxy_{how}_total ") for how in ("invalidated", "swept")]
            assert sum(hit) > 0


async def test_a_worker_that_was_started_anew_knows_what_was_invalidated_before(tmp_path: Path) -> None:
    async with site(tmp_path) as cdn:
        cdn.has(b"one")
        assert await cdn.seen("/a") == {b"one"}
        ready = cdn.nodes["pop"]["admin"] + "/readyz"
        pid = json.loads((await fetch(cdn.nodes["pop"]["admin"] + "/status"))[1])["pid"]
        os.kill(pid, signal.SIGKILL)
        await cdn.running.says("started again")
        cdn.has(b"two")
        assert (await cdn.invalidate("/*"))[0] == 0
        async with asyncio.timeout(30):
            while (await fetch(ready))[0] != 200:
                pass
        assert await cdn.seen("/a") == {b"two"}


async def test_a_node_whose_worker_hangs_keeps_the_invalidation_in_progress_and_is_named(tmp_path: Path) -> None:
    async with site(tmp_path) as cdn:
        cdn.has(b"one")
        assert await cdn.seen("/a") == {b"one"}
        pid = json.loads((await fetch(cdn.nodes["pop"]["admin"] + "/status"))[1])["pid"]
        os.kill(pid, signal.SIGSTOP)
        try:
            code, said = await cdn.invalidate("/a", "--timeout", "1")
            assert code == 1
            assert "pop" in said
        finally:
            os.kill(pid, signal.SIGCONT)
        cdn.has(b"two")
        assert (await cdn.invalidate("/nothing"))[0] == 0
        assert await cdn.seen("/a") == {b"two"}
