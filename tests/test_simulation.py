"""The promise of INVALIDATION.md over the real nodes, feed and control plane, in a thousand histories of bad luck.

`python -m tests.soak invalidation` runs ten times as many, and tells the story of a seed.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from tests.simulation.mutants import MUTANTS, Mutant
from tests.simulation.world import World

HISTORIES = 1000
CHUNKS = 10


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """Nodes complain of lost tiers thousands of times here."""
    logging.disable(logging.ERROR)
    yield
    logging.disable(logging.NOTSET)


@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_no_history_breaks_the_promise(chunk: int) -> None:
    for seed in range(chunk, HISTORIES, CHUNKS):
        world = World(seed).run()
        assert world.violations == [], world.story()


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_node_that_breaks_a_rule_is_caught_by_a_history(mutant: Mutant) -> None:
    as_it_is = mutant.story()
    assert as_it_is.violations == [], as_it_is.story()
    with mutant.at_large():
        caught = mutant.story()
    assert any(violation.startswith(mutant.kind) for violation in caught.violations), caught.story()


def test_a_seed_tells_the_same_story_again() -> None:
    for seed in (3, 44, 110):
        assert World(seed).run().story() == World(seed).run().story()
