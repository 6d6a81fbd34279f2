"""Asking a running control plane, for the command line."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

import aiohttp

from edgeproxy.configuration import TIER_KEY
from edgeproxy.control.api import new_session
from edgeproxy.control.streams import TIER
from edgeproxy.errors import ConfigError, Fault, OriginError, OriginUnreachable

WAIT_SECONDS = 3
"""Of one question about progress: less than the time-out of the client."""


def _session() -> aiohttp.ClientSession:
    """With the key of the tiers, which the control plane takes for an operator's."""
    session = new_session()
    key = os.environ.get(TIER_KEY)
    if key:
        session.headers[TIER] = key
    return session


def ask(control: str, path: str, *, refused: int | None = None) -> Any:  # Any: the control plane's JSON
    """GET a path of the control plane, or of another admin listener. Raises OriginError with what to do about it.

    An answer with the status `refused` counts as one.
    """
    return asyncio.run(_ask(control, path, refused))


def ask_for_explanation(admin: str, ip: str, name: str) -> Any:  # Any: the resolver's JSON
    """Which POP the resolver with this admin listener sends a client to. Raises ConfigError, OriginError."""
    answer = ask(admin, "/explain?" + urlencode({"ip": ip, "name": name}), refused=400)
    if "error" in answer:
        raise ConfigError([Fault("", "explain", f"{ip} {name}", answer["error"])])
    return answer


def tell(control: str, path: str, words: dict[str, Any] | None = None) -> Any:  # Any: as above
    """POST to a path of the control plane. Raises OriginError with what the control plane says is wrong."""
    return asyncio.run(_tell(control, path, words))


def wait_for_invalidation(control: str, id: str, timeout: int) -> Iterator[Any]:  # Any: as above
    """The progress of an invalidation each time it moves, until it is Completed or nothing has moved for `timeout`
    seconds; at least once. Raises OriginError."""
    answer = ask(control, f"/invalidations/{id}")
    yield answer
    left = timeout
    while answer["status"] != "Completed" and left > 0:
        before, wait = answer["waiting_for"], min(left, WAIT_SECONDS)
        answer = ask(control, f"/invalidations/{id}?nodes={len(before)}&wait={wait}")
        left = left - wait if answer["waiting_for"] == before else timeout
        yield answer


async def _tell(control: str, path: str, words: dict[str, Any] | None) -> Any:  # Any: as above
    try:
        async with _session() as session, session.post(control + path, json=words) as response:
            answer = await response.json()
            if response.status not in (200, 201):
                raise OriginError(str(answer.get("error", response.status)))
            return answer
    except aiohttp.ClientConnectionError as error:
        raise OriginUnreachable(f"nothing answers at {control} ({error}); is the CDN running?") from None
    except (aiohttp.ClientError, TimeoutError, ValueError, AttributeError) as error:
        raise OriginError(f"{control} gave no usable answer: {error}") from None


async def _ask(control: str, path: str, refused: int | None) -> Any:  # Any: as above
    try:
        async with _session() as session, session.get(control + path) as response:
            if response.status != refused:
                response.raise_for_status()
            return await response.json()
    except aiohttp.ClientConnectionError as error:
        raise OriginUnreachable(f"nothing answers at {control} ({error}); is the CDN running?") from None
    except (aiohttp.ClientError, TimeoutError, ValueError) as error:
        raise OriginError(f"{control} gave no usable answer: {error}") from None
