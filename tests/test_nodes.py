"""A node's assembly, as far as it can be looked at without its processes; the rest is in test_processes.py."""

from __future__ import annotations

import os

from edgeproxy.nodes import buffered


def test_randomness_in_portions_is_never_given_twice_and_always_of_the_length_asked() -> None:
    asked: list[int] = []

    def source(count: int) -> bytes:
        asked.append(count)
        return os.urandom(count)

    take = buffered(source)
    pieces = [take(40) for _ in range(1000)]
    assert {len(piece) for piece in pieces} == {40}
    assert len(set(pieces)) == 1000
    assert len(asked) < 20
    assert len(take(10_000)) == 10_000
