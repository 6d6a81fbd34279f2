"""Bodies one after the other as one."""

from __future__ import annotations

from edgeproxy.edge.chain import Chain
from edgeproxy.message import Body, BytesBody


class Beginning(BytesBody):
    """A body that has to have its first bytes at hand."""

    begun = 0

    async def begin(self) -> None:
        self.begun += 1


def bodies(closed: list[str]) -> tuple[Beginning, Beginning]:
    return (
        Beginning([b"cd", b"e"], closed=lambda: closed.append("one")),
        Beginning([b"g"], closed=lambda: closed.append("two")),
    )


async def all_of(body: Body) -> bytes:
    blocks = []
    while block := await body.read():
        blocks.append(block)
    return b"".join(blocks)


async def test_all_come_in_order_and_the_length_is_of_all() -> None:
    closed: list[str] = []
    one, two = bodies(closed)
    chain = Chain([BytesBody([b"ab"]), one, BytesBody([b"f"]), two])
    assert chain.length == 7
    assert await chain.read() == b"ab"
    assert chain.length == 5
    assert await all_of(chain) == b"cdefg"
    assert chain.length == 0
    assert closed == ["one", "two"]


async def test_only_the_first_of_them_is_begun() -> None:
    one, two = bodies([])
    chain = Chain([BytesBody([b"ab"]), one, two])
    await chain.begin()
    assert (one.begun, two.begun) == (1, 0)


async def test_closed_early_it_closes_those_that_are_left() -> None:
    closed: list[str] = []
    chain = Chain(bodies(closed))
    assert await chain.read() == b"cd"
    chain.close()
    assert closed == ["one", "two"]
    assert await chain.read() == b""
