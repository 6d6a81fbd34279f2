"""`edgeproxy up`: a whole CDN in one command, found through endpoints.json, used by name."""

from __future__ import annotations

import asyncio
import json
import re
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest_asyncio

import edgeproxy.roles
from tests.commands import Running, command, fetch, run
from tests.scripted import ScriptedOrigin


def free_ports(folder: Path) -> Path:
    """The built-in settings with every port picked freely, so that runs do not meet."""
    for name in ("local", "app"):
        text = (edgeproxy.roles.DEFAULTS / f"{name}.toml").read_text()
        (folder / f"{name}.toml").write_text(re.sub(r":(8080|8443|8400|5300)\b(?!.*http)", ":0", text))
        for file in edgeproxy.roles.DEFAULTS.glob("*.json"):
            (folder / file.name).write_bytes(file.read_bytes())
    return folder / "local.toml"


@asynccontextmanager
async def up(folder: Path, *arguments: str) -> AsyncIterator[tuple[Running, dict[str, Any]]]:
    data = folder / "data"
    async with command("up", "--data-dir", str(data), *arguments) as running:
        await running.says("Stop: Ctrl-C")
        endpoints: dict[str, Any] = json.loads((data / "endpoints.json").read_text())
        yield running, endpoints


@pytest_asyncio.fixture
async def cdn(tmp_path: Path) -> AsyncIterator[dict[str, Any]]:
    async with ScriptedOrigin() as origin:
        origin.always(200, {"Cache-Control": "max-age=60"}, b"hello")
        settings = free_ports(tmp_path)
        async with up(tmp_path, "--config", str(settings), "--origin", origin.url, "--clock", "test") as (_, endpoints):
            yield {**endpoints, "asked": origin.log, "folder": tmp_path}


def nodes(cdn: dict[str, Any], mode: str) -> list[dict[str, Any]]:
    return [node for node in cdn["nodes"] if node["mode"] == mode]


async def test_it_is_what_the_contract_says(cdn: dict[str, Any]) -> None:
    assert len(nodes(cdn, "regional")) >= 2
    pops = nodes(cdn, "pop")
    assert len(pops) >= 4
    assert len({pop["region"] for pop in pops}) >= 3
    assert cdn["distributions"] == [{"id": "demo", "domain": "demo.edge.localhost"}]
    for node in cdn["nodes"]:
        assert await fetch(node["admin"] + "/healthz") == (200, b"ok\n")
        assert await fetch(node["admin"] + "/readyz") == (200, b"ready\n")
    assert await fetch(cdn["control"] + "/healthz") == (200, b"ok\n")


async def test_two_pops_of_one_regional_cost_the_origin_one_request(cdn: dict[str, Any]) -> None:
    for _ in range(2):
        for pop in nodes(cdn, "pop")[:2]:
            assert await fetch(pop["url"] + "/a", headers={"Host": "demo.edge.localhost"}) == (200, b"hello")
    assert [ask.target for ask in cdn["asked"]] == ["/a"]


async def test_a_running_node_explains_what_becomes_of_a_request(cdn: dict[str, Any]) -> None:
    data, pops = str(cdn["folder"] / "data"), nodes(cdn, "pop")
    for pop in pops[:2]:
        await fetch(pop["url"] + "/a", headers={"Host": "demo.edge.localhost"})
    code, said = await run("explain", "http://demo.edge.localhost/a", "--node", pops[1]["name"], "--data-dir", data)
    assert code == 0
    assert "stored here   200" in said
    assert f"way           pop {pops[1]['name']} > regional " in said
    code, said = await run("explain", f"http://{pops[1]['url'][7:]}/a", "-H", "Host: demo.edge.localhost", "--json",
                           "--data-dir", data)  # fmt: skip
    assert (code, json.loads(said)["node"]["name"]) == (0, pops[1]["name"])
    code, said = await run("explain", "http://demo.edge.localhost/a", "--from", "nowhere", "--data-dir", data)
    assert code == 2
    assert (await run("explain", "http://demo.edge.localhost/a", "--node", "mars", "--data-dir", data))[0] == 2


async def test_the_control_plane_moves_every_clock_before_it_answers(cdn: dict[str, Any]) -> None:
    before = json.loads((await fetch(cdn["control"] + "/clock"))[1])["now"]
    status, answer = await fetch(cdn["control"] + "/clock", b'{"advance": 3600}')
    assert status == 200
    assert json.loads(answer)["now"] >= before + 3600
    for node in cdn["nodes"]:
        assert json.loads((await fetch(node["admin"] + "/clock"))[1])["now"] >= before + 3600
    assert (await fetch(cdn["control"] + "/clock", b'{"advance": "x"}'))[0] == 400


async def test_status_finds_it_and_shows_every_node(cdn: dict[str, Any]) -> None:
    code, output = await run("status", "--data-dir", str(cdn["folder"] / "data"))
    assert code == 0
    for node in cdn["nodes"]:
        assert node["name"] in output
    code, output = await run("status", "--json", "--control", cdn["control"])
    assert code == 0
    assert {node["name"] for node in json.loads(output)["nodes"]} == {node["name"] for node in cdn["nodes"]}


async def test_the_resolver_sends_clients_of_different_networks_to_different_pops(cdn: dict[str, Any]) -> None:
    host, port = cdn["resolver"].rsplit(":", 1)

    answers = [
        await short(host, port, "demo.edge.localhost", f"+subnet={network}")
        for network in ("203.0.113.0/24", "198.51.100.0/24")
    ]
    assert all(answers)
    assert answers[0] != answers[1]


async def test_https_works_with_the_local_authority(cdn: dict[str, Any]) -> None:
    code, path = await run("ca", "path", "--data-dir", str(cdn["folder"] / "data"))
    assert code == 0
    pop = nodes(cdn, "pop")[0]
    port = pop["https_url"].rsplit(":", 1)[1]
    process = await asyncio.create_subprocess_exec(
        "curl", "-sS", "--cacert", path, "--resolve", f"demo.edge.localhost:{port}:127.0.0.10",
        f"https://demo.edge.localhost:{port}/a", stdout=asyncio.subprocess.PIPE
    )  # fmt: skip
    assert (await process.communicate())[0] == b"hello"


async def test_it_drains_and_exits_0_and_takes_its_endpoints_away(tmp_path: Path) -> None:
    async with up(tmp_path, "--config", str(free_ports(tmp_path))) as (running, _):
        running.send(signal.SIGINT)
        assert await running.ended() == 0
    assert not (tmp_path / "data" / "endpoints.json").exists()


async def test_a_reload_reaches_the_resolver_and_every_node(tmp_path: Path) -> None:
    async with ScriptedOrigin() as origin:
        origin.always(200, {}, b"hello")
        settings = free_ports(tmp_path)
        async with up(tmp_path, "--config", str(settings), "--origin", origin.url) as (running, endpoints):
            config = json.loads((tmp_path / "demo.json").read_text())
            config["DistributionConfig"]["Aliases"] = {"Quantity": 1, "Items": ["other.edge.localhost"]}
            (tmp_path / "demo.json").write_text(json.dumps(config))
            running.send(signal.SIGHUP)
            await running.says("is in use")
            for node in nodes(endpoints, "pop"):
                async with asyncio.timeout(10):
                    while (await fetch(node["url"] + "/a", headers={"Host": "other.edge.localhost"}))[0] != 200:
                        pass
            host, port = endpoints["resolver"].rsplit(":", 1)
            async with asyncio.timeout(10):
                while not await short(host, port, "other.edge.localhost"):
                    pass


async def short(host: str, port: str, name: str, *more: str) -> str:
    """dig +short."""
    process = await asyncio.create_subprocess_exec(
        "dig", f"@{host}", "-p", port, "+short", name, *more, stdout=asyncio.subprocess.PIPE
    )
    return (await process.communicate())[0].decode()
