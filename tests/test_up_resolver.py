"""The resolver within `edgeproxy up`: drained POPs, explanations, a bad database, and what the commands say of them."""

from __future__ import annotations

import asyncio
import json
import re
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import dns.asyncquery
import dns.edns
import dns.message
import dns.rcode

from edgeproxy.roles import DEFAULTS
from edgeproxy.units import split_address
from tests import controlling
from tests.commands import command, fetch, run
from tests.controlling import client
from tests.distributions import config, items
from tests.scripted import ScriptedOrigin
from tests.test_up import free_ports, up

PATIENCE = 20


async def sent_to(resolver: str, subnet: str) -> str:
    host, port = split_address(resolver)
    options = [dns.edns.ECSOption.from_text(subnet)]
    query = dns.message.make_query("demo.edge.localhost", "A", use_edns=0, options=options)
    reply = await dns.asyncquery.udp(query, host, PATIENCE, port)
    return max(str(record.to_text()) for record in reply.answer[0])


async def becomes(resolver: str, subnet: str, address: str) -> None:
    """Wait until clients of a network are sent to an address."""
    async with asyncio.timeout(PATIENCE):
        while await sent_to(resolver, subnet) != address:
            pass


async def test_a_pop_is_drained_explained_and_undrained(tmp_path: Path) -> None:
    settings = free_ports(tmp_path)
    settings.write_text(settings.read_text().replace("[resolver]\n", "[resolver]\nhealth = { interval = 0.1 }\n"))
    data = str(tmp_path / "data")
    async with ScriptedOrigin() as origin, up(tmp_path, "--config", str(settings), "--origin", origin.url) as (_, cdn):
        subnet = "203.0.113.0/25"
        await becomes(cdn["resolver"], subnet, "127.0.0.10")
        assert await run("drain", "frankfurt", "--data-dir", data) == (0, "frankfurt: drained")
        await becomes(cdn["resolver"], subnet, "127.0.0.11")
        code, said = await run("resolver", "explain", "203.0.113.7", "demo.edge.localhost", "--data-dir", data)
        assert code == 0
        assert "demo.edge.localhost for a client at 203.0.113.7: sent to london" in said
        assert "It says that it is not ready" in said
        assert await run("undrain", "frankfurt", "--data-dir", data) == (0, "frankfurt: in service again")
        await becomes(cdn["resolver"], subnet, "127.0.0.10")
        code, said = await run("drain", "frankfort", "--data-dir", data)
        assert (code, "there are: frankfurt, london, ashburn, sao-paulo" in said) == (1, True)
        code, said = await run("resolver", "explain", "nobody", "demo.edge.localhost", "--data-dir", data)
        assert (code, "ip=ADDRESS" in said) == (2, True)


async def test_a_drain_needs_no_check_and_a_new_distribution_no_restart(tmp_path: Path) -> None:
    settings = free_ports(tmp_path)
    settings.write_text(settings.read_text().replace("[resolver]\n", "[resolver]\nhealth = { interval = 3600 }\n"))
    data = str(tmp_path / "data")
    async with ScriptedOrigin() as origin, up(tmp_path, "--config", str(settings), "--origin", origin.url) as (_, cdn):
        subnet = "203.0.113.0/25"
        await becomes(cdn["resolver"], subnet, "127.0.0.10")
        assert await run("drain", "frankfurt", "--data-dir", data) == (0, "frankfurt: drained")
        await becomes(cdn["resolver"], subnet, "127.0.0.11")
        assert await run("undrain", "frankfurt", "--data-dir", data) == (0, "frankfurt: in service again")
        await becomes(cdn["resolver"], subnet, "127.0.0.10")
        assert await fetch(cdn["resolver_admin"] + "/readyz") == (200, b"ready\n")
        made = await asyncio.to_thread(
            client(cdn["control"]).create_distribution, DistributionConfig=config(Aliases=items("new.edge.localhost"))
        )
        async with asyncio.timeout(PATIENCE):
            while not await addresses(cdn["resolver"], "new.edge.localhost"):  # noqa: ASYNC110 - no event for it here
                await asyncio.sleep(0)
        assert await addresses(cdn["resolver"], made["Distribution"]["DomainName"])


@asynccontextmanager
async def resolver_alone(settings: Path, data: Path) -> AsyncIterator[tuple[str, str]]:
    """Where it answers, and its admin listener."""
    async with command("resolver", "--config", str(settings), "--data-dir", str(data)) as running:
        said = re.search(r"listens on (\S+), admin (\S+)", await running.says("resolver listens on"))
        assert said is not None
        yield said[1], said[2]


async def test_a_resolver_answers_without_the_control_plane_as_it_last_heard(tmp_path: Path) -> None:
    settings = tmp_path / "edgeproxy.toml"
    nodes = '[[nodes]]\nname = "fra"\nmode = "pop"\naddresses = ["192.0.2.1"]\nhealth = false\n'
    resolver = '[resolver]\nlisten = ["127.0.0.1:0"]\nzones = ["example.test"]\n'
    async with controlling.running(tmp_path) as control:
        settings.write_text(f'{resolver}[control]\nurl = "{control.url}"\n{nodes}')
        await control.call("create_distribution", DistributionConfig=config(Aliases=items("www.example.test")))
        async with resolver_alone(settings, tmp_path / "data") as (address, admin):
            async with asyncio.timeout(PATIENCE):
                while (await fetch(admin + "/readyz"))[0] != 200:
                    pass
            assert "192.0.2.1" in await addresses(address, "www.example.test")
    async with resolver_alone(settings, tmp_path / "data") as (address, admin):
        assert (await fetch(admin + "/readyz"))[0] == 200
        assert "192.0.2.1" in await addresses(address, "www.example.test")
        assert await rcode(address, "other.example.test") == dns.rcode.NXDOMAIN
    async with resolver_alone(settings, tmp_path / "empty") as (address, admin):
        assert (await fetch(admin + "/readyz"))[0] == 503
        assert await rcode(address, "www.example.test") == dns.rcode.SERVFAIL
        assert await addresses(address, "fra.nodes.edge.localhost") == ["192.0.2.1"]


async def rcode(resolver: str, name: str) -> dns.rcode.Rcode:
    host, port = split_address(resolver)
    return (await dns.asyncquery.udp(dns.message.make_query(name, "A"), host, PATIENCE, port)).rcode()


async def addresses(resolver: str, name: str) -> list[str]:
    host, port = split_address(resolver)
    reply = await dns.asyncquery.udp(dns.message.make_query(name, "A"), host, PATIENCE, port)
    return [record.to_text() for found in reply.answer for record in found]


async def test_without_a_running_cdn_the_commands_say_so(tmp_path: Path) -> None:
    for arguments in (("drain", "frankfurt"), ("undrain", "frankfurt"), ("resolver", "explain", "192.0.2.1", "a.test")):
        code, said = await run(*arguments, "--data-dir", str(tmp_path))
        assert (code, "no running CDN found" in said) == (2, True)
    assert (await run("resolver"))[0] == 2


async def test_a_file_alone_explains_as_well() -> None:
    file = str(DEFAULTS / "local.toml")
    code, said = await run("resolver", "explain", "192.0.2.7", "demo.edge.localhost", "--config", file, "--json")
    assert code == 0
    explained = json.loads(said)
    assert (explained["chosen"], explained["reason"], explained["location"]["country"]) == (
        "sao-paulo",
        "distance",
        "BR",
    )


async def test_a_broken_database_is_refused_at_start_and_the_last_good_one_kept_on_reload(tmp_path: Path) -> None:
    settings = free_ports(tmp_path)
    text = settings.read_text().replace("[resolver]\n", '[resolver]\nlocation_database = "places.mmdb"\n', 1)
    settings.write_text(text)
    places = tmp_path / "places.mmdb"
    code, said = await run("resolver", "--config", str(settings))
    assert (code, "resolver.location_database" in said) == (2, True)
    places.write_bytes(b"no database")
    code, said = await run("resolver", "--config", str(settings))
    assert (code, "expected a database in MaxMind's format" in said) == (2, True)
    places.write_bytes((DEFAULTS / "places.mmdb").read_bytes())
    async with command("resolver", "--config", str(settings)) as running:
        line = await running.says("resolver listens on")
        address = line.removeprefix("resolver listens on ").partition(",")[0]
        assert await sent_to(address, "198.18.5.0/24") in ("127.0.0.10", "::1", "127.0.0.12", "127.0.0.13", "127.0.0.1")
        before = await sent_to(address, "198.51.100.0/24")
        places.write_bytes(b"no database")
        running.send(signal.SIGHUP)
        await running.says("the new configuration is refused, the old one stays")
        assert await sent_to(address, "198.51.100.0/24") == before
        settings.write_text(text.replace("[resolver]\n", "[resolver]\nrate_limit = 7\n", 1))
        running.send(signal.SIGHUP)
        assert "changed; needs a restart" in await running.says("resolver.rate_limit")


async def test_a_broken_database_of_locations_refuses_the_whole_reload(tmp_path: Path) -> None:
    async with ScriptedOrigin() as origin:
        settings = free_ports(tmp_path)
        (tmp_path / "places.mmdb").write_bytes((DEFAULTS / "places.mmdb").read_bytes())
        text = settings.read_text()
        async with up(tmp_path, "--config", str(settings), "--origin", origin.url) as (running, _):
            (tmp_path / "broken.mmdb").write_bytes(b"no database")
            broken = text.replace("[resolver]\n", '[resolver]\nlocation_database = "broken.mmdb"\n', 1)
            assert broken != text
            settings.write_text(broken)
            running.send(signal.SIGHUP)
            await running.says("is refused")
            settings.write_text(broken.replace("broken.mmdb", "places.mmdb"))
            running.send(signal.SIGHUP)
            await running.says("is in use")
