"""Which event loops the tests run on, and what becomes of a test whose program is not installed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator, Mapping

import pytest
import uvloop

from tests.tools import skip_for_want_of


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]] | None:
    """A module with `BOTH_LOOPS = True` shows the same on asyncio's own loop and on the one that roles.py installs."""
    if getattr(getattr(item, "module", None), "BOTH_LOOPS", False):
        return {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}
    return {"asyncio": asyncio.new_event_loop}


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> Generator[None, object, object]:
    """A machine without some of the programs that tests use still runs all the others."""
    try:
        return (yield)
    except FileNotFoundError as error:
        skip_for_want_of(error)
        raise
