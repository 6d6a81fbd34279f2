"""Which distribution serves a Host (fact sheet 1.4, 11)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from edgeproxy.cloudfront.hosts import Hosts
from edgeproxy.model import Deployment, Distribution, Rules


def made(id: str, *aliases: str, enabled: bool = True, any_host: bool = False) -> Distribution:
    return Distribution(
        id, f"{id.lower()}.edge.localhost", Rules.CLOUDFRONT, "0", {}, (), aliases, enabled=enabled, any_host=any_host
    )


HOSTS = Hosts(
    [
        made("E1", "www.example.test", "*.example.test"),
        made("E2", "*.deep.example.test", "exact.other.test"),
        made("E3", "off.example.test", "*.off.test", enabled=False),
        made("E4", "*.test"),
    ]
)


@pytest.mark.parametrize(
    ("host", "id"),
    [
        (b"e1.edge.localhost", "E1"),
        (b"E1.Edge.LocalHost:8080", "E1"),
        (b"www.example.test", "E1"),
        (b"www.example.test.", "E1"),
        (b"WWW.example.TEST:443", "E1"),
        (b"a.b.c.example.test", "E1"),
        (b"x.deep.example.test", "E2"),
        (b"deep.example.test", "E1"),
        (b"exact.other.test", "E2"),
        (b"not.other.test", "E4"),
        (b"example.test", "E4"),
        (b"test", None),
        (b"off.example.test", None),
        (b"x.off.test", None),
        (b"e3.edge.localhost", None),
        (b"nobody.localhost", None),
        (b"", None),
        (b"[::1]:80", None),
        (b"\xff.test", "E4"),
        (b"a." * 5000 + b"localhost", None),
    ],
)
def test_1_4_the_most_specific_name_wins_and_a_disabled_one_keeps_its_names(host: bytes, id: str | None) -> None:
    found = HOSTS.find(host)
    assert (found.id if found else None) == id


def test_any_host_takes_what_nobody_else_has() -> None:
    hosts = Hosts([made("E1", "www.example.test"), made("origin", any_host=True)])
    for host, id in ((b"www.example.test", "E1"), (b"anything:80", "origin"), (b"", "origin")):
        found = hosts.find(host)
        assert found is not None
        assert found.id == id


def test_a_distribution_is_found_by_id_even_when_it_is_disabled() -> None:
    found = HOSTS.by_id("E3")
    assert found is not None
    assert not found.enabled
    assert HOSTS.by_id("E9") is None
    assert [each.id for each in HOSTS] == ["E1", "E2", "E3", "E4"]


def test_a_staging_distribution_is_found_by_its_primary_alone() -> None:
    deployment = Deployment("e2", "0" * 16, None, 0.1)
    primary = replace(made("E1", "*.example.test"), deployment=deployment)
    staging = replace(made("E2", "new.example.test"), staging=True)
    hosts = Hosts([primary, staging, made("E3", any_host=True)])
    assert hosts.find(b"e2.edge.localhost") is None
    assert hosts.find(b"new.example.test") is primary
    assert hosts.by_id("E2") is staging
    assert hosts.staging_of(primary) is staging
    assert hosts.staging_of(staging) is None
    assert Hosts([primary]).staging_of(primary) is None
    assert Hosts([primary, replace(staging, enabled=False)]).staging_of(primary) is None
