"""What holds for the upstream client holds under the other event loop too."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Coroutine
from pathlib import Path

import pytest
import uvloop

from tests import (
    test_upstream_client,
    test_upstream_http1,
    test_upstream_pool,
    test_upstream_timeouts,
    test_upstream_tunnels,
    test_upstream_uploads,
)

MODULES = (
    test_upstream_client,
    test_upstream_http1,
    test_upstream_pool,
    test_upstream_timeouts,
    test_upstream_tunnels,
    test_upstream_uploads,
)

SCENES = [
    scene
    for module in MODULES
    for name, scene in vars(module).items()
    if name.startswith("test_") and set(inspect.signature(scene).parameters) <= {"tmp_path"}
]
"""The tests that need nothing but a loop, and perhaps a folder."""


@pytest.mark.parametrize("scene", SCENES, ids=lambda scene: scene.__name__.removeprefix("test_"))
def test_the_same_holds(scene: Callable[..., Coroutine[None, None, None]], tmp_path: Path) -> None:
    arguments = {"tmp_path": tmp_path} if inspect.signature(scene).parameters else {}
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(scene(**arguments))
