"""The control plane killed at any moment while clients change things: what was accepted is there, whole, and nothing
that was not asked for; a node that follows through all of it ends with the same."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import sys
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import aiohttp

from edgeproxy.binding import address_of, listening
from edgeproxy.control.service import service
from edgeproxy.control.xml import serialise
from edgeproxy.feed import Deployed
from edgeproxy.following.kept import Update
from tests.commands import PATIENCE, command
from tests.controlling import Node, following
from tests.distributions import config, items

SHAPE = service().shape_for("DistributionConfig")


@dataclass
class Ledger:
    """What clients know."""

    accepted: dict[str, str] = field(default_factory=dict)
    """Comment of each distribution that was accepted last, by its reference."""
    asked: dict[str, set[str]] = field(default_factory=dict)
    """All that was ever asked for, by reference."""
    revisions: dict[str, tuple[str, str]] = field(default_factory=dict)
    """Id and revision, by reference."""


async def change(session: aiohttp.ClientSession, url: str, ledger: Ledger, number: int, chance: random.Random) -> None:
    """Create a distribution, or change one."""
    known = sorted(ledger.revisions)
    reference = chance.choice(known) if known and chance.random() < 0.5 else f"r{number}"
    comment = f"c{number}"
    given = config(CallerReference=reference, Comment=comment, Aliases=items(f"{reference}.{comment}.test"))
    body = serialise(SHAPE, "DistributionConfig", given)
    ledger.asked.setdefault(reference, set()).add(comment)
    if reference in ledger.revisions:
        id, etag = ledger.revisions[reference]
        request = session.put(f"{url}/2020-05-31/distribution/{id}/config", data=body, headers={"If-Match": etag})
    else:
        request = session.post(f"{url}/2020-05-31/distribution", data=body)
    async with request as response:
        said = await response.text()
        assert response.status in (200, 201), said
        id = said.partition("<Id>")[2].partition("</Id>")[0]
        ledger.accepted[reference] = comment
        ledger.revisions[reference] = (id, response.headers["ETag"])


async def check(session: aiohttp.ClientSession, url: str, ledger: Ledger) -> None:
    """Every accepted change is there, or a later one that was asked for and not answered; each is whole."""
    found: dict[str, tuple[str, str]] = {}
    async with session.get(f"{url}/2020-05-31/distribution?MaxItems=1000") as response:
        listed = await response.text()
    for part in listed.split("<DistributionSummary>")[1:]:
        id = part.partition("<Id>")[2].partition("</Id>")[0]
        async with session.get(f"{url}/2020-05-31/distribution/{id}/config") as response:
            said = await response.text()
            reference = said.partition("<CallerReference>")[2].partition("<")[0]
            comment = said.partition("<Comment>")[2].partition("<")[0]
            assert f"<CNAME>{reference}.{comment}.test</CNAME>" in said, "half of one change, half of another"
            found[reference] = (comment, response.headers["ETag"])
            ledger.revisions[reference] = (id, response.headers["ETag"])
    for reference, comment in ledger.accepted.items():
        assert reference in found, f"{reference} was accepted and is lost"
        there = found[reference][0]
        later = {each for each in ledger.asked[reference] if int(each[1:]) > int(comment[1:])}
        assert there == comment or there in later, f"{reference} says {there}, {comment} was accepted"
    for reference, (comment, _) in found.items():
        assert comment in ledger.asked[reference]
        ledger.accepted[reference] = comment


def seen(updates: list[Update]) -> dict[str, str]:
    """What a node knows in the end, by reference."""
    known: dict[str, Deployed] = {}
    for update in updates:
        if update.whole:
            known.clear()
        known |= {each.id: each for each in update.records if isinstance(each, Deployed)}
    return {each.config["CallerReference"]: each.config["Comment"] for each in known.values()}


async def kills(cycles: int, seed: int, most: int = 400) -> int:
    """So many lives of a control plane, each ended by SIGKILL; how many changes were accepted. `most` distributions."""
    chance, ledger, number = random.Random(seed), Ledger(), 0
    probe = listening("127.0.0.1:0")[0]
    address = address_of(probe)
    probe.close()
    url = f"http://{address}"
    with TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "cdn.toml").write_text(f'[control]\nlisten = "{address}"\nhold = 0\nheartbeat = 0.2\n')
        arguments = ("control", "--config", str(folder / "cdn.toml"), "--data-dir", str(folder))
        async with following(url, folder) as node:
            for cycle in range(cycles + 1):
                async with command(*arguments) as running, aiohttp.ClientSession() as session:
                    await running.says("control plane listens on")
                    await check(session, url, ledger)
                    if cycle == cycles:
                        await _node_has_all(node, ledger)
                        break
                    pid = running.children()[0]
                    delay = chance.random() * 0.4
                    asyncio.get_running_loop().call_later(delay, _kill, running.process.pid, pid)
                    with suppress(aiohttp.ClientError, OSError):
                        while len(ledger.asked) < most:
                            number += 1
                            await change(session, url, ledger, number, chance)
                    await running.process.wait()
    return len(ledger.accepted)


def _kill(*pids: int) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


async def _node_has_all(node: Node, ledger: Ledger) -> None:
    async with asyncio.timeout(PATIENCE):
        while seen(node.updates) != ledger.accepted:
            node.more.clear()
            await node.more.wait()


async def run(cycles: int, seed: int | None) -> int:
    """Search and print."""
    seed = random.randrange(1 << 32) if seed is None else seed
    accepted = await kills(cycles, seed)
    said = {"seed": seed, "kills": cycles, "distributions": accepted, "lost": 0, "halves": 0}
    sys.stdout.write(json.dumps(said) + "\n")
    return 0
