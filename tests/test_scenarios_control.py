"""A CDN obeys its control plane: real processes, real nodes, from boto3 to a viewer's answer."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from edgeproxy.binding import address_of, listening
from tests.commands import Running, admin_in, command, fetch, run, url_in
from tests.controlling import client
from tests.distributions import config, items, web
from tests.scripted import ScriptedOrigin
from tests.soak import control as killing
from tests.soak import feed as many
from tests.test_up import free_ports, nodes, short, up

PATIENCE = 20


def at(origin: ScriptedOrigin, **changes: Any) -> dict[str, Any]:
    """A distribution in front of a scripted origin."""
    there = web(domain="127.0.0.1", custom={"HTTPPort": origin.port})
    return config(Origins=items(there), **changes)


async def create(control: str, given: dict[str, Any]) -> Any:
    """Create a distribution and wait until it is deployed."""

    def story() -> Any:
        cloudfront = client(control)
        made = cloudfront.create_distribution(DistributionConfig=given)
        cloudfront.get_waiter("distribution_deployed").wait(Id=made["Distribution"]["Id"])
        return made["Distribution"] | {"ETag": made["ETag"]}

    return await asyncio.to_thread(story)


async def becomes(url: str, host: str, status: int) -> None:
    """Wait until a node answers for a host with this status."""
    async with asyncio.timeout(PATIENCE):
        while (await fetch(url + "/a", headers={"Host": host}))[0] != status:
            pass


async def test_a_distribution_made_by_boto3_is_served_by_every_pop_once_it_is_deployed_and_outlives_the_cdn(
    tmp_path: Path,
) -> None:
    settings = free_ports(tmp_path)
    async with ScriptedOrigin() as origin:
        origin.always(200, {"Cache-Control": "max-age=60"}, b"by boto3")
        async with up(tmp_path, "--config", str(settings)) as (_, cdn):
            made = await create(cdn["control"], at(origin, Aliases=items("www.example.test")))
            for pop in nodes(cdn, "pop"):
                for host in (made["DomainName"], "www.example.test"):
                    assert await fetch(pop["url"] + "/a", headers={"Host": host}) == (200, b"by boto3")
            host, port = cdn["resolver"].rsplit(":", 1)
            async with asyncio.timeout(PATIENCE):
                while not await short(host, port, made["DomainName"]):
                    pass
            code, said = await run(
                "invalidate", "--distribution", made["Id"], "/*", "--wait", "--data-dir", str(tmp_path / "data")
            )
            assert (code, "Completed on 6 nodes" in said) == (0, True)
        async with up(tmp_path, "--config", str(settings)) as (_, cdn):
            pop = nodes(cdn, "pop")[0]
            assert await fetch(pop["url"] + "/a", headers={"Host": made["DomainName"]}) == (200, b"by boto3")
            listed = json.loads((await fetch(cdn["control"] + "/nodes"))[1])
            assert len(listed["nodes"]) == 6


def settings_file(folder: Path, control: str, *, workers: int = 2) -> Path:
    (folder / "demo.json").write_text(json.dumps(config(CallerReference="demo", Comment="file")))
    path = folder / "cdn.toml"
    path.write_text(
        f'[control]\nlisten = "{control}"\nurl = "http://{control}"\nheartbeat = 0.2\n'
        '[[distributions]]\nfile = "demo.json"\n'
        f'[[nodes]]\nname = "one"\nmode = "pop"\nlisten = ["127.0.0.1:0"]\nworkers = {workers}\n'
    )
    return path


def free_address() -> str:
    probe = listening("127.0.0.1:0")[0]
    address = address_of(probe)
    probe.close()
    return address


async def started(stack: AsyncExitStack, *arguments: str) -> tuple[Running, str]:
    running = await stack.enter_async_context(command(*arguments))
    return running, await running.says("listens on")


async def test_a_node_serves_what_it_knows_without_the_control_plane_and_catches_up_when_it_is_back(
    tmp_path: Path,
) -> None:
    address = free_address()
    file = str(settings_file(tmp_path, address))
    plane = ("control", "--config", file, "--data-dir", str(tmp_path / "plane"))
    serve = ("serve", "--config", file, "--node", "one", "--data-dir", str(tmp_path / "nodes"))
    async with ScriptedOrigin() as origin, AsyncExitStack() as stack:
        origin.always(200, {"Cache-Control": "max-age=60"}, b"hello")
        async with command(*plane) as control:
            await control.says("listens on")
            async with command(*serve) as node:
                url = url_in(await node.says("listens on"))
                made = await create(f"http://{address}", at(origin))
                host = made["DomainName"]
                assert await fetch(url + "/a", headers={"Host": host}) == (200, b"hello")
                for pid in (*control.children(), control.process.pid):
                    os.kill(pid, signal.SIGKILL)
                await control.process.wait()
                assert await fetch(url + "/b", headers={"Host": host}) == (200, b"hello")
                for pid in node.children():
                    os.kill(pid, signal.SIGKILL)
                await becomes(url, host, 200)
                for pid in (node.process.pid, *node.children()):
                    os.kill(pid, signal.SIGKILL)
                await node.process.wait()
        node, line = await started(stack, *serve)
        assert await fetch(admin_in(line) + "/readyz") == (200, b"ready\n")
        assert await fetch(url_in(line) + "/a", headers={"Host": host}) == (200, b"hello")
        control, _ = await started(stack, *plane)
        disabled = at(origin, Enabled=False)
        cloudfront = client(f"http://{address}")
        given = {"Id": made["Id"], "IfMatch": made["ETag"], "DistributionConfig": disabled}
        await asyncio.to_thread(cloudfront.update_distribution, **given)
        await asyncio.to_thread(cloudfront.get_waiter("distribution_deployed").wait, Id=made["Id"])
        assert (await fetch(url_in(line) + "/a", headers={"Host": host}))[0] == 403
        node.send(signal.SIGTERM)
        assert await node.ended() == 0
        assert json.loads((await fetch(f"http://{address}/nodes"))[1])["nodes"] == []


async def test_a_node_that_knows_nothing_is_not_ready_until_the_control_plane_has_told_it(tmp_path: Path) -> None:
    address = free_address()
    file = str(settings_file(tmp_path, address, workers=1))
    admin = free_address()
    serve = ("serve", "--config", file, "--node", "one", "--data-dir", str(tmp_path / "nodes"), "--admin", admin)
    async with command(*serve) as node, asyncio.timeout(PATIENCE):
        await node.says("the feed of")
        status, why = 0, b""
        while not why:
            with_error = asyncio.create_task(fetch(f"http://{admin}/readyz"))
            await asyncio.wait([with_error])
            if with_error.exception() is None:
                status, why = with_error.result()
        assert (status, why) == (503, b"has not caught up with the control plane yet\n")
        async with command("control", "--config", file, "--data-dir", str(tmp_path / "plane")):
            await node.says("listens on")
            assert await fetch(f"http://{admin}/readyz") == (200, b"ready\n")


async def test_files_are_read_anew_by_the_control_plane_on_sighup(tmp_path: Path) -> None:
    address = free_address()
    file = settings_file(tmp_path, address)
    async with command("control", "--config", str(file), "--data-dir", str(tmp_path)) as control:
        await control.says("listens on")
        cloudfront = client(f"http://{address}")

        async def comment() -> str:
            given = await asyncio.to_thread(cloudfront.get_distribution_config, Id="demo")
            return str(given["DistributionConfig"]["Comment"])

        assert await comment() == "file"
        (tmp_path / "demo.json").write_text(json.dumps(config(CallerReference="demo", Comment="changed")))
        control.send(signal.SIGHUP)
        async with asyncio.timeout(PATIENCE):
            while await comment() != "changed":
                pass
        (tmp_path / "demo.json").write_text("{")
        control.send(signal.SIGHUP)
        await control.says("is refused, the old one stays")
        assert await comment() == "changed"


async def test_other_machines_are_listened_to_with_keys_or_when_told_so(tmp_path: Path) -> None:
    file = settings_file(tmp_path, "0.0.0.0:8400")
    code, said = await run("control", "--config", str(file), "--data-dir", str(tmp_path))
    assert (code, "control.access_keys" in said) == (2, True)
    code, said = await run("check", str(file), environment={"EDGEPROXY_ACCESS_KEYS": "AKIA:short"})
    assert (code, "EDGEPROXY_ACCESS_KEYS" in said, "short" in said) == (2, True, False)
    assert (await run("check", str(file), environment={"EDGEPROXY_ACCESS_KEYS": f"AKIA:{'s' * 20}"}))[0] == 0
    file.write_text(file.read_text().replace("heartbeat = 0.2", "open = true"))
    assert (await run("check", str(file)))[0] == 0


async def test_nothing_accepted_is_lost_however_the_control_plane_dies() -> None:
    assert await killing.kills(cycles=3, seed=7, most=40) > 0


async def test_many_nodes_follow_one_control_plane() -> None:
    figures = await many.measure(nodes=60, changes=3, idle=0)
    assert len(figures.completed) == 3
