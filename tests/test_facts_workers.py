"""A sample of the facts through a POP of two workers: which of them is asked must make no difference."""

from __future__ import annotations

import pytest

from tests import test_facts_keys, test_facts_origins, test_facts_policies, test_facts_requests, test_facts_responses
from tests.facts import Fact, show

FACTS = [
    *test_facts_requests.FACTS[::11],
    *test_facts_responses.FACTS[::7],
    *test_facts_keys.FACTS[::11],
    *test_facts_policies.FACTS[::7],
    *test_facts_origins.BEHAVIORS[::11],
]


@pytest.mark.parametrize("fact", FACTS, ids=lambda fact: fact.name)
async def test_fact(fact: Fact) -> None:
    await show(fact, workers=2)
