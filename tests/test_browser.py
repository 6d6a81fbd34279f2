"""The demo site in a real browser: over HTTPS, by the local CA, through the tiers."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from edgeproxy.origin.server import SITE, serve
from tests.browser import Page, page
from tests.commands import command

DEFAULTS = SITE.parent.parent / "defaults"
NOW = 1_800_000_000.0


@dataclass(frozen=True)
class Cdn:
    url: str
    ca_file: Path


@asynccontextmanager
async def cdn(folder: Path) -> AsyncIterator[Cdn]:
    """The built-in CDN on free ports, with a demo origin of ours behind it."""
    settings = (DEFAULTS / "local.toml").read_text()
    # The browser finds the nearest POP by its name, which means 127.0.0.1: there, and with one port.
    settings = settings.replace('["127.0.0.10:8443", "127.0.0.1:8443", "[::1]:8443"]', '["127.0.0.1:8443"]')
    (folder / "local.toml").write_text(re.sub(r":(8080|8443|8400|5300)\b", ":0", settings))
    (folder / "demo.json").write_text((DEFAULTS / "demo.json").read_text())
    origin = await serve(SITE, "127.0.0.1:0", lambda: NOW)
    arguments = ("--config", f"{folder}/local.toml", "--data-dir", f"{folder}/data", "--origin", origin.url)
    async with command("up", *arguments) as running:
        await running.says("Stop:")
        endpoints = json.loads((folder / "data" / "endpoints.json").read_text())
        nearest = next(node for node in endpoints["nodes"] if node["name"] == "frankfurt")
        port = urlsplit(nearest["https_url"]).port
        yield Cdn(f"https://demo.edge.localhost:{port}/", folder / "data" / "ca" / "ca.pem")
    await origin.close()


async def verdict(shown: Page, path: str) -> str:
    """What the page says after one press of a button."""
    rows = "document.querySelectorAll('#tries tbody tr').length"
    before = await shown.evaluate(rows)
    await shown.click(f'[data-path="{path}"]')
    await shown.until(f"{rows} === {before + 1}")
    return str(await shown.evaluate("document.getElementById('verdict').textContent"))


async def test_the_demo_site_shows_how_far_requests_travel(tmp_path: Path) -> None:
    async with cdn(tmp_path) as running, page(running.url, running.ca_file) as shown:
        assert "Watch a request travel" in shown.text
        assert await shown.evaluate("isSecureContext")
        assert "Neither tier could answer" in await verdict(shown, "/postcard.svg")
        assert "The POP had it" in await verdict(shown, "/postcard.svg")
        assert "straight to the origin" in await verdict(shown, "/api/time")
        assert "POST /echo straight to the origin" in await verdict(shown, "/echo")
        answered = "document.querySelector('#path .answered').dataset.tier"
        assert await shown.evaluate(answered) == "origin"
        assert (shown.errors, shown.failures) == ([], [])


async def test_without_the_local_ca_the_browser_refuses(tmp_path: Path) -> None:
    async with cdn(tmp_path) as running, page(running.url) as shown:
        assert shown.failures == [f"net::ERR_CERT_AUTHORITY_INVALID {running.url}"]
        assert "Watch" not in shown.text
