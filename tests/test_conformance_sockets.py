"""Every conformance case through running nodes: one worker, two workers, two tiers."""

from __future__ import annotations

import pytest

from tests.conformance import CASES
from tests.conformance.case import Ask, Case, reply
from tests.conformance.sockets import EXCEPTIONS, Arrangement, play


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
@pytest.mark.parametrize("arrangement", Arrangement, ids=lambda arrangement: arrangement.value)
async def test_case(case: Case, arrangement: Arrangement) -> None:
    found = await play(case, arrangement)
    if (case.id, arrangement) in EXCEPTIONS:
        assert case.kind != "required"
        assert found, "an exception that is none any more"
    else:
        assert found == [], case.shows


@pytest.mark.parametrize("arrangement", Arrangement, ids=lambda arrangement: arrangement.value)
async def test_a_case_that_expects_what_is_wrong_fails(arrangement: Arrangement) -> None:
    """The runner notices: an origin that is asked, the wrong reply, a second too many."""
    fresh = Ask(reply=reply("Cache-Control: max-age=60"))
    wrong = {
        "asked": Ask(wait=1, asked=True),
        "reply": Ask(wait=1, from_reply=1),
        "age": Ask(wait=1, has=(("Age", "2"),)),
        "stale": Ask(wait=60, asked=False),
    }
    for name, ask in wrong.items():
        assert await play(Case(name, "check", "", "", (fresh, ask)), arrangement), name


@pytest.mark.parametrize(
    "case",
    [case for case in CASES if case.section.startswith("9111 3") and case.kind == "required"],
    ids=lambda case: case.id,
)
async def test_what_is_kept_on_disk_alone_is_used_as_it_would_be_in_memory(case: Case) -> None:
    assert await play(case, Arrangement.POP, disk=True) == [], case.shows
