"""A connection that was upgraded: bytes both ways until both sides are done (RFC 9110 section 7.8)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from edgeproxy.edge.delivery import Outlet
from edgeproxy.edge.inbox import Inbox
from edgeproxy.errors import EdgeError
from edgeproxy.message import Tunnel


async def relay(
    inbox: Inbox, outlet: Outlet, tunnel: Tunnel, *, moved: Callable[[], None], end: Callable[[], bool]
) -> bool:
    """Pump until both sides have finished: True; or until one of them breaks: False.

    `inbox` is what the viewer sends and `outlet` leads to it. `moved` is called for every block from upstream; `end`
    tells the viewer that upstream is done and says whether it may still send. The caller closes the tunnel.
    """
    finished = False
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(_to_upstream(inbox, tunnel))
            group.create_task(_to_viewer(inbox, outlet, tunnel, moved, end))
        finished = True
    except* EdgeError:
        pass  # either side may break at any time; `finished` says so
    return finished


async def _to_upstream(inbox: Inbox, tunnel: Tunnel) -> None:
    while data := await inbox.get():
        await tunnel.write(data)
    tunnel.finish()


async def _to_viewer(
    inbox: Inbox, outlet: Outlet, tunnel: Tunnel, moved: Callable[[], None], end: Callable[[], bool]
) -> None:
    while data := await tunnel.read():
        outlet.write(data)
        moved()
        if outlet.paused:
            await outlet.ready()
    if not end():
        inbox.finish()
