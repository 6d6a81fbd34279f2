"""Real input through real programs: nginx with a tree of thousands of files, wget, curl, a gigabyte."""

from __future__ import annotations

import asyncio
import hashlib
import os
import sysconfig
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from tests.commands import Running, admin_in, command, fetch, status_of, url_in
from tests.tools import needs

LIBRARY = Path(sysconfig.get_paths()["stdlib"])
GIGABYTE = 1 << 30
FLAT = 64 << 20
"""Bytes of memory a node may gain while a gigabyte passes through it."""


@asynccontextmanager
async def nginx(folder: Path, root: Path) -> AsyncIterator[str]:
    """nginx serving a folder with listings, on a Unix-like free port; its URL."""
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    configuration = folder / "nginx.conf"
    configuration.write_text(f"""
        user root; daemon off; master_process off; pid {folder}/pid; error_log {folder}/error.log;
        events {{ worker_connections 256; }}
        http {{
            access_log {folder}/origin.log; client_body_temp_path {folder}/b; proxy_temp_path {folder}/p;
            fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
            types {{ text/html html; text/plain txt py; }}
            server {{
                listen 127.0.0.1:{port}; root {root}; autoindex on; expires 1h;
            }}
        }}""")
    process = await asyncio.create_subprocess_exec("nginx", "-p", str(folder), "-c", str(configuration))
    try:
        async with asyncio.timeout(10):
            while True:
                try:
                    _, writer = await asyncio.open_connection("127.0.0.1", port)
                    writer.close()
                    break
                except ConnectionRefusedError:
                    await asyncio.sleep(0)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        await process.wait()


def checksums(folder: Path) -> dict[str, str]:
    """SHA-256 of every file below a folder, listings left out: those hold dates of their own."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file() and path.name != "index.html"
    }


async def mirror(url: str, into: Path) -> None:
    """wget --mirror."""
    process = await asyncio.create_subprocess_exec(
        "wget", "--quiet", "--mirror", "--no-parent", "--no-host-directories", "--execute", "robots=off",
        "--directory-prefix", str(into), url,
    )  # fmt: skip
    await process.wait()


def tree(folder: Path) -> Path:
    """Thousands of real files: the Python that runs this, as hard links or copies."""
    root = folder / "tree"
    for path in LIBRARY.rglob("*.py"):
        relative = path.relative_to(LIBRARY)
        if "site-packages" in relative.parts or path.name == "index.html" or not path.is_file():
            continue
        target = root / relative
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(path.read_bytes())
    return root


@needs("nginx", "nginx-light")
@needs("wget", "wget")
async def test_a_mirror_through_both_tiers_is_identical_and_the_second_pass_never_reaches_the_origin(
    tmp_path: Path,
) -> None:
    root = tree(tmp_path)
    wanted = checksums(root)
    assert len(wanted) > 1000
    async with nginx(tmp_path, root) as origin:
        common = ["--listen", "127.0.0.1:0", "--data-dir", str(tmp_path / "data"), "--workers", "2"]
        async with command("serve", "--mode", "regional", *common, "--origin", origin, "--node", "r") as regional:
            above = url_in(await regional.says("listens on"))
            async with command("serve", *common, "--upstream", above, "--node", "p") as pop:
                url = url_in(await pop.says("listens on"))
                await mirror(url + "/", tmp_path / "first")
                assert checksums(tmp_path / "first") == wanted
                asked = (tmp_path / "origin.log").read_text().count("\n")
                await mirror(url + "/", tmp_path / "second")
                assert checksums(tmp_path / "second") == wanted
                assert (tmp_path / "origin.log").read_text().count("\n") == asked


def memory_of(running: Running) -> int:
    """Resident bytes of all workers of a node."""
    total = 0
    for pid in running.children():
        fields = Path(f"/proc/{pid}/statm").read_text().split()
        total += int(fields[1]) * os.sysconf("SC_PAGE_SIZE")
    return total


@needs("curl", "curl")
async def test_a_gigabyte_goes_up_and_another_comes_down_in_flat_memory(tmp_path: Path) -> None:
    upload = tmp_path / "upload"
    with upload.open("wb") as file:
        file.truncate(GIGABYTE)
    async with command("origin", "--listen", "127.0.0.1:0") as origin:
        behind = url_in(await origin.says("listens on") + ",")
        common = ["--listen", "127.0.0.1:0", "--data-dir", str(tmp_path / "data"), "--workers", "1"]
        async with (
            command("serve", "--mode", "regional", *common, "--origin", behind, "--node", "r") as regional,
            command("serve", *common, "--origin", behind, "--node", "p") as pop,
        ):
            await regional.says("listens on")
            line = await pop.says("listens on")
            await fetch(url_in(line) + "/bytes/10")
            before = memory_of(pop)
            up = await asyncio.create_subprocess_exec(
                "curl", "-sS", "-T", str(upload), url_in(line) + "/echo", stdout=asyncio.subprocess.PIPE
            )
            answer = (await up.communicate())[0]
            assert str(GIGABYTE).encode() in answer
            down = await asyncio.create_subprocess_exec(
                "curl", "-sS", "-o", str(tmp_path / "down"), url_in(line) + f"/bytes/{GIGABYTE}"
            )
            assert await down.wait() == 0
            assert (tmp_path / "down").stat().st_size == GIGABYTE
            assert memory_of(pop) - before < FLAT
            status = await status_of(admin_in(line))
            assert status["counters"]["edgeproxy_bytes_in_total"] > GIGABYTE
            assert status["counters"]["edgeproxy_bytes_out_total"] > GIGABYTE
    upload.unlink()
    (tmp_path / "down").unlink()
