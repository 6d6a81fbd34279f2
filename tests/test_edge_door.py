"""Who is let in: caps in all and for one address."""

from __future__ import annotations

import pytest

from edgeproxy.edge.door import Door
from edgeproxy.headers import Headers
from edgeproxy.message import Answer, Incoming, Peer, ResponseHead, no_body
from edgeproxy.settings import Connections
from edgeproxy.telemetry.counters import Counters


async def handle(incoming: Incoming) -> Answer:
    return Answer(ResponseHead(200, Headers()), no_body())


def refuse(status: int, sentence: str) -> Answer:
    return Answer(ResponseHead(status, Headers()), no_body())


def make(peer: Peer = Peer.VIEWER) -> Door:
    settings = Connections(connections_max=3, connections_per_client_max=2)
    return Door(
        handle, settings, Counters(), lambda: 0.0, lambda: 0.0, refuse, 494, peer, lambda address: address == "10.0.0.1"
    )


def test_the_limits_of_heads_come_from_the_settings_and_the_rules() -> None:
    limits = make().limits
    assert (limits.head_max, limits.too_large_status) == (Connections().head_max, 494)


@pytest.mark.parametrize(
    ("peer", "arrivals", "let_in"),
    [
        (Peer.VIEWER, ["a", "a", "a", "b"], [True, True, False, True]),
        (Peer.VIEWER, ["a", "b", "c", "d"], [True, True, True, False]),
        (Peer.VIEWER, ["10.0.0.1"] * 4, [True, True, True, False]),
        (Peer.WORKER, [""] * 4, [True, True, True, True]),
    ],
)
def test_caps(peer: Peer, arrivals: list[str], let_in: list[bool]) -> None:
    admitted = make(peer).admitted
    assert [admitted.enter(address) for address in arrivals] == let_in


def test_whoever_leaves_makes_room_and_is_forgotten() -> None:
    admitted = make().admitted
    for _ in range(5):
        assert admitted.enter("a")
        assert admitted.enter("a")
        assert not admitted.enter("a")
        admitted.leave("a")
        admitted.leave("a")
    assert not admitted._of
