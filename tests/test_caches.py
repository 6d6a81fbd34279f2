"""`edgeproxy cache`: through real processes, what it prints and how it exits."""

from __future__ import annotations

import json
from pathlib import Path

from tests.commands import admin_in, command, fetch, run, url_in
from tests.scripted import ScriptedOrigin

HOST = {"Host": "a.test"}
"""Part of the key, which must not change with the port."""
FRESH = {"Cache-Control": "max-age=600", "ETag": '"1"'}


async def test_list_show_and_drop_tell_the_truth_and_a_restart_keeps_the_rest(tmp_path: Path) -> None:
    async with ScriptedOrigin() as origin:
        origin.always(200, FRESH, b"hello")
        here = ("--listen", "127.0.0.1:0", "--origin", origin.url, "--data-dir", str(tmp_path))
        serve = ("serve", *here, "--workers", "2", "--node", "one")
        async with command(*serve) as running:
            line = await running.says("listens on")
            url, admin = url_in(line), admin_in(line)
            for target in ("/a", "/b", "/c"):
                for _ in range(4):
                    assert (await fetch(url + target, headers=HOST))[1] == b"hello"

            code, text = await run("cache", "list", "--admin", admin)
            assert code == 0
            lines = [row.split("\t") for row in text.splitlines()]
            assert {fields[-1].split(" ")[3] for fields in lines} == {"/a", "/b", "/c"}
            assert {tuple(fields[:3]) for fields in lines} == {("one", "200", "5 B")}

            code, text = await run("cache", "list", "/b", "--json", "--admin", admin)
            assert code == 0
            rows = [json.loads(row) for row in text.splitlines()]
            assert {(row["node"], row["size"]) for row in rows} == {("one", 5)}
            assert sum(row["owner"] for row in rows) == 1

            code, text = await run("cache", "show", "/a", "--admin", admin)
            assert code == 0
            assert 'ETag: "1"' in text
            assert (await run("cache", "show", "/none", "--admin", admin))[0] == 1

            code, text = await run("cache", "drop", "/a", "--admin", admin)
            assert code == 0
            assert text.startswith("one: ")
            assert (await run("cache", "show", "/a", "--admin", admin))[0] == 1
        async with command(*serve) as running:
            url = url_in(await running.says("listens on"))
            asked = origin.requests
            for target in ("/b", "/c"):
                assert (await fetch(url + target, headers=HOST))[1] == b"hello"
            assert origin.requests == asked
            await fetch(url + "/a", headers=HOST)
            assert origin.requests == asked + 1


async def test_what_cannot_be_asked_is_said(tmp_path: Path) -> None:
    code, text = await run("cache", "list", "--data-dir", str(tmp_path))
    assert (code, "no running CDN found" in text) == (2, True)
    code, text = await run("cache", "drop", "*", "--admin", "127.0.0.1:1")
    assert (code, "nothing answers at" in text) == (1, True)
