"""edge/rtt.py: what the system measured of real connections, by network, told once."""

from __future__ import annotations

import asyncio
import contextlib
import socket

import pytest

from edgeproxy.edge.rtt import RoundTrips, network_of, smoothed_rtt

NETWORKS = {
    "192.0.2.77": "192.0.2.0/24",
    "2001:db8:1:2::7": "2001:db8:1::/48",
    "::ffff:192.0.2.77": "192.0.2.0/24",
    "fe80::1%eth0": "fe80::/48",
}


@pytest.mark.parametrize(("address", "network"), NETWORKS.items())
def test_an_address_leaves_as_its_network(address: str, network: str) -> None:
    assert network_of(address) == network


def test_samples_of_a_network_are_one_mean_and_told_once() -> None:
    table = RoundTrips(10)
    for address, rtt in (
        ("192.0.2.1", 10_000),
        ("192.0.2.2", 20_000),
        ("198.51.100.1", 5_500),
        ("127.0.0.1", 9),
        ("::1", 9),
    ):
        table.add(address, rtt)
    assert table.take() == [("192.0.2.0/24", 2, 15.0), ("198.51.100.0/24", 1, 5.5)]
    assert table.take() == []


def test_networks_beyond_the_bound_are_not_kept() -> None:
    table = RoundTrips(1)
    for address in ("192.0.2.1", "198.51.100.1", "192.0.2.2"):
        table.add(address, 1000)
    assert table.take() == [("192.0.2.0/24", 2, 1.0)]


async def test_a_real_connection_has_a_round_trip_time_and_a_closed_socket_none() -> None:
    loop = asyncio.get_running_loop()
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as client:
        accepted, _ = server.accept()
        for each in (accepted, client):
            each.setblocking(False)
        await loop.sock_sendall(accepted, b"x" * 1000)
        assert len(await loop.sock_recv(client, 1000)) == 1000
        rtt = smoothed_rtt(accepted)
        assert rtt is not None
        assert 0 < rtt < 1_000_000
        assert smoothed_rtt(accepted, within=0) is None, "nothing new"
        table = RoundTrips(1)
        table.opened(accepted, "192.0.2.1")
        table.ended(accepted, 0.0)
        table.ended(accepted, 0.0)
        assert table.take()[0][:2] == ("192.0.2.0/24", 1)
        accepted.close()
        assert smoothed_rtt(accepted) is None
        nothing = RoundTrips(0)
        nothing.opened(client, "192.0.2.1")
        nothing.sweep(0.0)
        nothing.ended(client, 0.0)
        assert nothing.take() == []


async def test_a_connection_that_lasts_is_asked_in_sweeps_and_counts_when_there_is_something_new(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("edgeproxy.edge.rtt.SWEPT_MAX", 1)
    loop = asyncio.get_running_loop()
    with socket.create_server(("127.0.0.1", 0)) as server, contextlib.ExitStack() as stack:
        table, pairs = RoundTrips(10), []
        for number in range(2):
            client = stack.enter_context(socket.create_connection(server.getsockname()))
            accepted = stack.enter_context(server.accept()[0])
            pairs.append((accepted, client))
            table.opened(accepted, f"192.0.{number}.1")
        for accepted, client in pairs:
            accepted.setblocking(False)
            client.setblocking(False)
            await loop.sock_sendall(accepted, b"x")
            assert await loop.sock_recv(client, 1) == b"x"
        for network in ("192.0.0.0/24", "192.0.1.0/24"):  # in turn, since a sweep looks at one here
            table.sweep(100.0)
            assert [each[:2] for each in table.take()] == [(network, 1)]
        table.sweep(100.0)
        assert table.take() == [], "no time has passed, so that nothing is new"
        table.sweep(200.0)
        assert [each[0] for each in table.take()] == ["192.0.1.0/24"]
