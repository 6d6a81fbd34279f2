"""Values on the path of a request: dataclasses that nobody may change, which the type checker alone sees to.

A frozen dataclass writes each of its fields through `object.__setattr__`, so that making one costs four times as much,
and a miss makes thirty of them. These are frozen to mypy and plain when they run; they compare and hash by their fields
all the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dataclasses import dataclass as value
else:
    from dataclasses import dataclass

    def value(*, frozen, slots, eq=True):
        """As `dataclass`; `frozen` is always True, and said for the type checker."""
        return dataclass(slots=slots, eq=eq, unsafe_hash=eq)


__all__ = ["value"]
