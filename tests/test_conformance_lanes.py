"""Both lanes answer alike: every conformance case with the hit lane on and off, byte by byte, and what the log says."""

from __future__ import annotations

import pytest

from edgeproxy.edge import prepared
from tests.conformance import CASES
from tests.conformance.case import Ask, Case, reply
from tests.conformance.lanes import TIMES, differences, listen
from tests.conformance.sockets import Arrangement

FRESH = Case("fresh", "check", "", "", (Ask(reply=reply("Cache-Control: max-age=60")), Ask(wait=1)))


MISSES = Case(
    "misses", "check", "", "", tuple(Ask(path=f"/{n}", reply=reply("Cache-Control: max-age=60")) for n in range(6))
)
UPLOADS = Case("uploads", "check", "", "", tuple(Ask(method="POST", reply=reply()) for _ in range(3)))
PRIVATE = Case("private", "check", "", "", tuple(Ask(reply=reply("Cache-Control: private")) for _ in range(3)))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
async def test_case(case: Case) -> None:
    found, _ = await differences(case, Arrangement.POP)
    assert found == []


@pytest.mark.parametrize("arrangement", Arrangement, ids=lambda arrangement: arrangement.value)
async def test_the_lane_takes_part(arrangement: Arrangement) -> None:
    found, at_once = await differences(FRESH, arrangement)
    assert found == []
    assert at_once >= 3  # of two workers one may have to ask the other first


@pytest.mark.parametrize(("case", "short"), [(MISSES, 5), (UPLOADS, 3 * TIMES - 2), (PRIVATE, 0)])
async def test_the_shortcut_takes_part(case: Case, short: int) -> None:
    assert (await listen(case, Arrangement.POP, lane=True)).short == short
    found, _ = await differences(case, Arrangement.POP)
    assert found == []


async def test_a_lane_that_says_something_else_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prepared, "age_text", lambda age: b"%d" % (int(age) + 1))
    found, at_once = await differences(FRESH, Arrangement.POP)
    assert at_once
    assert found
