"""Asking a running control plane, for the command line."""

from __future__ import annotations

import asyncio
from typing import Any

import aiohttp

from edgeproxy.control.api import new_session
from edgeproxy.errors import OriginError, OriginUnreachable


def ask(control: str, path: str) -> Any:  # Any: the control plane's JSON
    """GET a path of the control plane. Raises OriginError with what to do about it."""
    return asyncio.run(_ask(control, path))


async def _ask(control: str, path: str) -> Any:  # Any: as above
    try:
        async with new_session() as session, session.get(control + path) as response:
            response.raise_for_status()
            return await response.json()
    except aiohttp.ClientConnectionError as error:
        raise OriginUnreachable(f"no control plane answers at {control} ({error}); is the CDN running?") from None
    except (aiohttp.ClientError, TimeoutError, ValueError) as error:
        raise OriginError(f"the control plane at {control} gave no usable answer: {error}") from None
