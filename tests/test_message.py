"""Bodies that are there, and bodies that are waited for."""

from __future__ import annotations

import asyncio

import pytest

from edgeproxy.errors import BodyAborted
from edgeproxy.message import BytesBody, at_once
from tests.front import Drip


class Awaited(Drip):
    """Gives nothing before `come` is set."""

    def __init__(self, blocks: list[bytes]) -> None:
        super().__init__(blocks)
        self.come = asyncio.Event()

    async def read(self) -> bytes:
        await self.come.wait()
        return await super().read()


async def test_what_is_there_is_taken_without_a_wait() -> None:
    body = BytesBody([b"a", b"", b"b"])
    assert [at_once(body) for _ in range(4)] == [b"a", b"b", b"", b""]


async def test_nothing_is_taken_of_what_is_still_to_come() -> None:
    body = Awaited([b"a"])
    assert at_once(body) is None
    body.come.set()
    assert await body.read() == b"a"


async def test_a_cut_is_told_at_once() -> None:
    with pytest.raises(BodyAborted):
        at_once(Drip([], cut=True))
