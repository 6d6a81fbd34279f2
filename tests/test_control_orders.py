"""What the command line asks of the control plane, and who may."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from edgeproxy.control.kinds import DISTRIBUTION
from edgeproxy.control.things import create
from edgeproxy.feed import Invalidated
from tests.commands import fetch, run
from tests.controlling import Running, following, running
from tests.distributions import config


async def a_distribution(control: Running) -> str:
    given = config(CacheTagConfig={"HeaderName": "Cache-Tag"})
    made = await control.plane.change(lambda moment: create(moment, DISTRIBUTION, given))
    return made.id


async def order(control: Running, path: str, words: Any) -> tuple[int, Any]:
    data = words if isinstance(words, bytes) else json.dumps(words).encode()
    status, body = await fetch(control.url + path, data)
    return status, json.loads(body)


async def test_an_invalidation_is_accepted_and_its_progress_watched(tmp_path: Path) -> None:
    async with running(tmp_path) as control, following(control.url, tmp_path) as node:
        await node.follower.caught_up.wait()
        id = await a_distribution(control)
        await node.reaches(1)
        node.may_apply.clear()
        words = {"distribution": id, "paths": ["/a", "/b*"], "tags": ["T"], "soft": True}
        status, made = await order(control, "/invalidations", words)
        assert (status, made["status"], made["waiting_for"], made["nodes"]) == (201, "InProgress", ["node"], ["node"])
        assert control.plane.state.log[-1] == Invalidated(2, made["id"], id, ("/a", "/b*"), ("t",), True)
        watching = asyncio.create_task(fetch(f"{control.url}/invalidations/{made['id']}?nodes=1&wait=30"))
        node.may_apply.set()
        assert json.loads((await watching)[1])["status"] == "Completed"


@pytest.mark.parametrize(
    ("words", "status", "code"),
    [
        (b"", 400, "InvalidArgument"),
        (b"[]", 400, "InvalidArgument"),
        (b"[" * 100_000, 400, "InvalidArgument"),
        ({"paths": ["/"]}, 400, "InvalidArgument"),
        ({"distribution": "none", "paths": ["/"]}, 404, "NoSuchDistribution"),
        ({"distribution": "ID", "paths": "/"}, 400, "InvalidArgument"),
        ({"distribution": "ID", "paths": [7]}, 400, "InvalidArgument"),
        ({"distribution": "ID", "paths": ["/"], "soft": 1}, 400, "InvalidArgument"),
        ({"distribution": "ID"}, 400, "InvalidArgument"),
        ({"distribution": "ID", "paths": ["a"]}, 400, "InvalidArgument"),
    ],
)
async def test_a_bad_order_is_refused(tmp_path: Path, words: Any, status: int, code: str) -> None:
    async with running(tmp_path) as control:
        id = await a_distribution(control)
        if isinstance(words, dict) and words.get("distribution") == "ID":
            words = {**words, "distribution": id}
        answer = await order(control, "/invalidations", words)
        assert (answer[0], answer[1]["code"]) == (status, code)
        assert control.plane.state.number == 1


async def test_nodes_are_listed_and_forgotten(tmp_path: Path) -> None:
    async with running(tmp_path) as control:
        async with following(control.url, tmp_path) as node:
            await node.follower.caught_up.wait()
            await control.plane.settled(control.plane.state.number, 1)
            listed = json.loads((await fetch(control.url + "/nodes"))[1])
            assert [(each["name"], each["connected"], each["lapsed"]) for each in listed["nodes"]] == [
                ("node", True, False)
            ]
        code, said = await run("forget", "node", "--control", control.url)
        assert (code, said) == (0, "node: forgotten; invalidations no longer wait for it")
        code, said = await run("forget", "node", "--control", control.url)
        assert (code, "there are: none" in said) == (1, True)
        assert (await fetch(control.url + "/invalidations/none"))[0] == 404


async def test_the_command_shows_progress_and_its_exit_code_is_the_truth(tmp_path: Path) -> None:
    async with running(tmp_path) as control, following(control.url, tmp_path) as node:
        await node.follower.caught_up.wait()
        id = await a_distribution(control)
        await node.reaches(1)
        common = ("invalidate", "--distribution", id, "--control", control.url)
        code, said = await run(*common, "/a", "--wait")
        assert (code, "  node: done" in said, "Completed on 1 nodes" in said) == (0, True, True)
        code, said = await run(*common, "--tag", "t")
        assert (code, "InProgress" in said or "Completed" in said) == (0, True)
        node.may_apply.clear()
        code, said = await run(*common, "/*", "--wait", "--timeout", "1")
        assert (code, "InProgress, waiting for node" in said) == (1, True)
        node.may_apply.set()
        code, said = await run(*common, "nowhere")
        assert (code, "invalid invalidation paths" in said) == (1, True)
        assert (await run(*common))[0] == 2


async def test_operators_are_here_or_know_the_key_and_are_no_page(tmp_path: Path) -> None:
    async with running(tmp_path, tier_key="k" * 20) as control, aiohttp.ClientSession() as session:
        for path in ("/status", "/nodes", "/clock"):
            async with session.get(control.url + path) as answer:
                assert answer.status == 200
            async with session.get(control.url + path, headers={"Origin": "https://example.test"}) as answer:
                assert answer.status == 403
            async with session.get(control.url + path, headers={"Host": "control.example.test"}) as answer:
                assert answer.status == 403
            proof = {"Host": "control.example.test", "EdgeProxy-Tier": "k" * 20}
            async with session.get(control.url + path, headers=proof) as answer:
                assert answer.status == 200


async def test_a_page_makes_no_node(tmp_path: Path) -> None:
    async with running(tmp_path) as control, aiohttp.ClientSession() as session:
        words = {"node": "a", "incarnation": "i", "epoch": "", "from": "0"}
        headers = {"Origin": "https://example.test"}
        async with session.post(control.url + "/feed", params=words, headers=headers) as answer:
            assert answer.status == 403
        assert control.plane.state.members == {}
