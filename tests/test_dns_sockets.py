"""dns/sockets.py: one port for UDP and TCP, and addresses that are not to be had."""

from __future__ import annotations

import errno

import pytest

from edgeproxy.dns.sockets import bind


def test_an_address_in_use_is_named_and_those_bound_before_it_are_freed() -> None:
    (taken,) = bind(["127.0.0.1:0"])
    (freed,) = bind(["127.0.0.1:0"])
    free = freed.address
    freed.close()
    with pytest.raises(OSError, match=f"cannot answer DNS on {taken.address}") as raised:
        bind([free, taken.address])
    assert raised.value.errno == errno.EADDRINUSE
    (again,) = bind([free])
    again.close()
    taken.close()


def test_a_port_picked_freely_is_the_same_for_udp_and_tcp() -> None:
    listeners = bind(["127.0.0.1:0", "[::1]:0"])
    for listener in listeners:
        assert listener.udp.getsockname()[:2] == listener.tcp.getsockname()[:2]
        assert not listener.udp.getblocking()
        listener.close()
