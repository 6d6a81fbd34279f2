"""The command as people run it: start, signals, a worker that dies, a configuration that changes, a clear no."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
from pathlib import Path

import pytest

from tests.commands import admin_in, command, fetch, run, status_of, url_in
from tests.scripted import Ask, ScriptedOrigin, Viewer
from tests.tier import config_for, port_of, receive
from tests.wire import until

FRESH = {"Cache-Control": "max-age=60"}


def settings_file(folder: Path, port: int, **more: object) -> Path:
    """A settings file with one node and one distribution in front of a loopback origin."""
    (folder / "demo.json").write_text(json.dumps(config_for(port, **more)))
    file = folder / "cdn.toml"
    file.write_text(
        'zone = "edge.localhost"\n[[nodes]]\nname = "one"\nmode = "pop"\nlisten = ["127.0.0.1:0"]\nworkers = 2\n'
        '[[distributions]]\nfile = "demo.json"\n'
    )
    return file


async def test_serve_needs_no_file_and_ends_with_0_on_sigterm(tmp_path: Path) -> None:
    async with ScriptedOrigin() as origin:
        origin.always(200, FRESH, b"hello")
        arguments = ["serve", "--listen", "127.0.0.1:0", "--origin", origin.url, "--data-dir", str(tmp_path)]
        async with command(*arguments, "--workers", "2") as running:
            line = await running.says("listens on")
            for _ in range(2):
                assert await fetch(url_in(line) + "/a") == (200, b"hello")
            assert origin.requests == 1
            assert await fetch(admin_in(line) + "/readyz") == (200, b"ready\n")
            status, metrics = await fetch(admin_in(line) + "/metrics")
            assert status == 200
            assert b'edgeproxy_results_total{result="Hit"} 1.0' in metrics
            assert len(running.children()) == 2
            running.send(signal.SIGTERM)
            assert await running.ended() == 0
        log = (tmp_path / "nodes").glob("*/access.log")
        assert sum("\tHit\t" in line for file in log for line in file.read_text().splitlines()) == 1


async def test_draining_finishes_what_runs_refuses_what_comes_and_exits_0(tmp_path: Path) -> None:
    async with ScriptedOrigin() as origin:
        arguments = ["serve", "--listen", "127.0.0.1:0", "--origin", origin.url, "--data-dir", str(tmp_path)]
        async with command(*arguments, "--workers", "2") as running:
            port = port_of(url_in(await running.says("listens on")))
            async with await Viewer.connect(port) as viewer:
                await viewer.ask("/slow")
                ask = await origin.asked_for("/slow")
                running.send(signal.SIGTERM)
                async with asyncio.timeout(10):
                    while True:  # until every process has closed the listening socket
                        try:
                            (await Viewer.connect(port)).reset()
                        except ConnectionRefusedError:
                            break
                        except ConnectionResetError:
                            continue  # it was in a queue that has just been closed
                await ask.answer(200, FRESH, b"done")
                got = await receive(viewer)
                assert (got.body, got.header("Connection")) == (b"done", "close")
            assert await running.ended() == 0


async def test_a_worker_that_is_killed_is_started_again_on_the_same_sockets(tmp_path: Path) -> None:
    async with ScriptedOrigin() as origin:
        origin.always(200, FRESH, b"hello")
        arguments = ["serve", "--listen", "127.0.0.1:0", "--origin", origin.url, "--data-dir", str(tmp_path)]
        async with command(*arguments, "--workers", "2") as running:
            url = url_in(await running.says("listens on"))
            victim = running.children()[0]
            os.kill(victim, signal.SIGKILL)
            await running.says("started again")
            answers = await asyncio.gather(*(fetch(f"{url}/{number}") for number in range(20)))
            assert set(answers) == {(200, b"hello")}
            assert victim not in running.children()
            assert len(running.children()) == 2


async def test_children_of_a_parent_that_is_killed_end_too(tmp_path: Path) -> None:
    async with ScriptedOrigin() as origin:
        arguments = ["serve", "--listen", "127.0.0.1:0", "--origin", origin.url, "--data-dir", str(tmp_path)]
        async with command(*arguments, "--workers", "2") as running:
            await running.says("listens on")
            children = running.children()
            running.send(signal.SIGKILL)
            await running.ended()
            await until(lambda: not any(alive(pid) for pid in children))


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"
    except FileNotFoundError:
        return False


async def test_sighup_takes_a_new_configuration_whole_and_a_bad_one_not_at_all(tmp_path: Path) -> None:
    async with ScriptedOrigin() as origin:
        origin.always(200, {}, b"hello")
        file = settings_file(tmp_path, origin.port)
        async with command("serve", "--config", str(file), "--data-dir", str(tmp_path / "data")) as running:
            url = url_in(await running.says("listens on"))
            new = {"Host": "new.test"}
            assert (await fetch(url + "/a", headers=new))[0] == 403
            settings_file(tmp_path, origin.port, Aliases={"Quantity": 1, "Items": ["new.test"]})
            running.send(signal.SIGHUP)
            await running.says("is in use")
            async with asyncio.timeout(10):
                while (await fetch(url + "/a", headers=new))[0] != 200:
                    pass
            settings_file(tmp_path, origin.port, DefaultRootObject="/wrong", PriceClass="Cheap")
            running.send(signal.SIGHUP)
            await running.says("is refused")
            assert (await fetch(url + "/b", headers=new))[0] == 200
            victim = running.children()[0]
            os.kill(victim, signal.SIGKILL)  # one that is started again has the configuration in use, not the file's
            await running.says("started again")
            for number in range(10):
                assert (await fetch(f"{url}/c{number}", headers=new))[0] == 200


async def test_sighup_with_a_bad_certificate_changes_nothing(tmp_path: Path) -> None:
    async with ScriptedOrigin() as origin:
        origin.always(200, {}, b"hello")
        file = settings_file(tmp_path, origin.port)
        https = file.read_text().replace("workers = 2", 'workers = 2\nhttps = ["127.0.0.1:0"]')
        file.write_text(https)
        async with command("serve", "--config", str(file), "--data-dir", str(tmp_path / "data")) as running:
            url = url_in(await running.says("listens on"))
            workers = running.children()
            (tmp_path / "bad.pem").write_text("no certificate")
            file.write_text(https + '[[certificates]]\ncertificate = "bad.pem"\nkey = "bad.pem"\n')
            running.send(signal.SIGHUP)
            await running.says("is refused")
            assert (await fetch(url + "/a", headers={"Host": "demo.edge.localhost"}))[0] == 200
            assert running.children() == workers


async def test_sigusr1_reopens_the_log(tmp_path: Path) -> None:
    async with ScriptedOrigin() as origin:
        origin.always(200, FRESH, b"hello")
        log = tmp_path / "log"
        arguments = ["serve", "--listen", "127.0.0.1:0", "--origin", origin.url, "--data-dir", str(tmp_path)]
        async with command(*arguments, "--workers", "1", "--access-log", str(log)) as running:
            url = url_in(await running.says("listens on"))
            await fetch(url + "/before")
            await until(lambda: log.exists() and "/before" in log.read_text())
            log.rename(tmp_path / "moved")
            running.send(signal.SIGUSR1)
            await fetch(url + "/after")
            await until(lambda: log.exists() and "/after" in log.read_text())
            assert "/after" not in (tmp_path / "moved").read_text()


async def test_the_test_clock_moves_all_workers_at_once(tmp_path: Path) -> None:
    async with ScriptedOrigin() as origin:
        origin.always(200, FRESH, b"hello")
        arguments = ["serve", "--listen", "127.0.0.1:0", "--origin", origin.url, "--data-dir", str(tmp_path)]
        async with command(*arguments, "--workers", "2", "--clock", "test") as running:
            admin = admin_in(await running.says("listens on"))
            before = json.loads((await fetch(admin + "/clock"))[1])["now"]
            status, answer = await fetch(admin + "/clock", b'{"advance": 86400}')
            assert status == 200
            assert json.loads(answer)["now"] >= before + 86400
            for bad in (b"", b"{}", b'{"advance": -1}', b'{"advance": "x"}', b'{"advance": NaN}', b"[1]"):
                assert (await fetch(admin + "/clock", bad))[0] == 400
            assert (await status_of(admin))["now"] >= before + 86400


async def test_the_clock_stands_still_for_those_who_did_not_ask_for_a_test_clock(tmp_path: Path) -> None:
    arguments = ["serve", "--listen", "127.0.0.1:0", "--origin", "http://127.0.0.1:9", "--data-dir", str(tmp_path)]
    async with command(*arguments, "--workers", "1") as running:
        admin = admin_in(await running.says("listens on"))
        assert (await fetch(admin + "/clock", b'{"advance": 1}'))[0] == 409


async def test_a_port_that_is_taken_and_a_directory_in_use_are_said_in_one_line_with_exit_code_2(
    tmp_path: Path,
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        for workers in ("1", "2"):
            arguments = ["serve", "--listen", address, "--origin", "http://127.0.0.1:9", "--data-dir", str(tmp_path)]
            code, output = await run(*arguments, "--workers", workers)
            assert (code, output.count("\n")) == (2, 0)
            assert address in output
            assert "taken by another program" in output
    arguments = ["serve", "--listen", "127.0.0.1:0", "--origin", "http://127.0.0.1:9", "--data-dir", str(tmp_path)]
    arguments += ["--node", "same", "--workers", "1"]
    async with command(*arguments) as running:
        await running.says("listens on")
        code, output = await run(*arguments)
        assert (code, output.count("\n")) == (2, 0)
        assert f"in use by process {running.process.pid}" in output


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["serve"], "one of --origin, --upstream and --config"),
        (["serve", "--origin", "http://127.0.0.1:9"], "--listen HOST:PORT"),
        (["serve", "--origin", "x", "--upstream", "y", "--listen", "127.0.0.1:0"], "one of"),
        (["serve", "--origin", "ftp://x", "--listen", "127.0.0.1:0"], "expected a URL"),
        (["serve", "--origin", "http://x", "--listen", "nowhere"], "expected HOST:PORT"),
        (["serve", "--origin", "http://x", "--listen", "127.0.0.1:99999"], "65535"),
        (["serve", "--config", "/does/not/exist.toml", "--node", "x"], "cannot be read"),
        (["origin", "--root", "/does/not/exist"], "no such folder"),
        (["status", "--data-dir", "/does/not/exist"], "no running CDN found"),
        (["check", "/does/not/exist.toml"], "cannot be read"),
    ],
)
async def test_what_cannot_be_done_is_said_with_exit_code_2(arguments: list[str], part: str, tmp_path: Path) -> None:
    code, output = await run(*arguments, environment={"EDGEPROXY_DATA": str(tmp_path)})
    assert code == 2, output
    assert part in output
    assert "Traceback" not in output


async def test_check_prints_all_faults_with_their_places(tmp_path: Path) -> None:
    file = settings_file(tmp_path, 3000, PriceClass="Cheap", DefaultRootObject="a<b")
    file.write_text(file.read_text() + '[cache]\nmemory = "1 KiB"\nmemmory = 3\n')
    code, output = await run("check", str(file))
    assert code == 2
    for part in ("cache.memory", "cache.memmory", "PriceClass", "DefaultRootObject"):
        assert part in output


async def test_help_has_examples() -> None:
    for arguments in ([], ["up"], ["serve"], ["check"], ["status"]):
        code, output = await run(*arguments, "--help")
        assert code == 0
        assert "Examples:" in output


def logged(folder: Path) -> str:
    """All access logs below a folder."""
    return "".join(file.read_text() for file in folder.rglob("access.log*"))


async def test_the_log_names_no_secret(tmp_path: Path) -> None:
    secret = "s3cr3t-tier-key-of-this-test"

    async with ScriptedOrigin() as origin:

        async def tell(ask: Ask) -> None:
            assert secret.encode() not in b"".join(value for _, value in ask.headers)
            await ask.answer(200, FRESH, b"x")

        origin.on("/a", tell)
        environment = {"EDGEPROXY_TIER_KEY": secret, "EDGEPROXY_DATA": str(tmp_path)}
        common = ["--listen", "127.0.0.1:0", "--workers", "1"]
        above = ["serve", "--mode", "regional", *common, "--origin", origin.url]
        async with command(*above, environment=environment) as regional:
            url = url_in(await regional.says("listens on"))
            async with command("serve", *common, "--upstream", url, environment=environment) as pop:
                assert (await fetch(url_in(await pop.says("listens on")) + "/a"))[0] == 200
                assert (await fetch(url + "/a"))[0] == 403
                pop.send(signal.SIGTERM)
                assert await pop.ended() == 0
            regional.send(signal.SIGTERM)
            assert await regional.ended() == 0
            written = "\n".join(pop.lines + regional.lines)
            written += logged(tmp_path)
            assert "/a" in written
            assert secret not in written
