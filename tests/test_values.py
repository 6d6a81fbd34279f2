"""Values compare and hash by their fields, and are taken apart by their order."""

from __future__ import annotations

from dataclasses import replace

from edgeproxy.values import value


@value(frozen=True, slots=True)
class Place:
    north: float
    east: float = 0.0


@value(frozen=True, slots=True, eq=False)
class Own:
    name: str


def test_equal_fields_make_equal_values() -> None:
    assert Place(1, 2) == Place(1, 2) != Place(2, 1)
    assert len({Place(1), Place(1), Place(2)}) == 2


def test_a_value_without_equality_is_itself_alone() -> None:
    one = Own("a")
    assert one == one
    assert one != Own("a")
    assert len({one, Own("a")}) == 2


def test_a_value_is_copied_and_matched_as_a_dataclass_is() -> None:
    match replace(Place(1), east=5):
        case Place(north, east):
            assert (north, east) == (1, 5)
