"""Lists with their Quantity, and notes about fields that have no effect."""

from __future__ import annotations

from typing import Any

import pytest

from edgeproxy.cloudfront.parts import Listed, Part, Switch, no_items, noted, notes_of, quantity_faults
from edgeproxy.reading import Document


class Inner(Part):
    Shield: Switch | None = noted("not built")


class Outer(Part):
    Name: str = noted("no effect", default="usual")
    Parts: Listed[Inner] = no_items()


@pytest.mark.parametrize(
    ("data", "places"),
    [
        ({}, []),
        ({"Name": "usual"}, []),
        ({"Name": "other"}, [("Name",)]),
        ({"Parts": {"Quantity": 1, "Items": [{"Shield": {"Enabled": False}}]}}, []),
        ({"Parts": {"Quantity": 1, "Items": [{"Shield": {"Enabled": True}}]}}, [("Parts", "Items", 0, "Shield")]),
    ],
)
def test_only_what_would_matter_is_noted(data: dict[str, Any], places: list[Any]) -> None:
    assert [where for where, _ in notes_of(Outer.model_validate(data))] == places


@pytest.mark.parametrize(
    ("data", "places"),
    [
        ({"Quantity": 0}, []),
        ({"Quantity": 1, "Items": ["a"]}, []),
        ({"Quantity": 1}, ["Quantity"]),
        ({"A": [{"Quantity": 2, "Items": [1]}], "Quantity": 3}, ["Quantity", "A[0].Quantity"]),
        ({"Quantity": "1", "Items": []}, []),  # a fault of its type, which others find
    ],
)
def test_11_a_quantity_that_is_not_the_number_of_items_is_found_anywhere(data: Any, places: list[str]) -> None:
    assert [fault.place for fault in quantity_faults(Document("f", data))] == places
