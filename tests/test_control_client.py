"""What the command line hears from a control plane, or says when there is none."""

from __future__ import annotations

import asyncio

import pytest

from edgeproxy.control.client import ask
from edgeproxy.errors import OriginError, OriginUnreachable
from tests.commands import run
from tests.scripted import ScriptedOrigin


async def test_an_answer_is_its_json() -> None:
    async with ScriptedOrigin() as control:
        control.always(200, {"Content-Type": "application/json"}, b'{"nodes": []}')
        assert await asyncio.to_thread(ask, control.url, "/status") == {"nodes": []}


@pytest.mark.parametrize(("status", "body"), [(500, b"{}"), (200, b"no json")])
async def test_an_answer_that_is_none_is_said(status: int, body: bytes) -> None:
    async with ScriptedOrigin() as control:
        control.always(status, {"Content-Type": "application/json"}, body)
        with pytest.raises(OriginError, match="no usable answer"):
            await asyncio.to_thread(ask, control.url, "/status")


async def test_nobody_there_is_said_with_what_to_look_at_and_exit_code_1() -> None:
    with pytest.raises(OriginUnreachable, match="is the CDN running"):
        await asyncio.to_thread(ask, "http://127.0.0.1:9", "/status")
    code, output = await run("status", "--control", "http://127.0.0.1:9")
    assert (code, "is the CDN running" in output) == (1, True)
