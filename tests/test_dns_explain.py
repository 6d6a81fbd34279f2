"""dns/explain.py: the ranking with its numbers, as data and as text."""

from __future__ import annotations

import pytest

from edgeproxy.dns.answer import CALM, Conditions
from edgeproxy.dns.explain import explain, text
from edgeproxy.dns.latency import Latency
from edgeproxy.dns.policy import Client
from edgeproxy.settings import Latency as Settings
from tests.test_dns_memo import ZONE


def test_a_ranking_names_numbers_and_states() -> None:
    latency = Latency(Settings())
    latency.feed("iad", Client.at("10.5.6.0"), 12, 33.3, 0)
    said = explain(
        ZONE, Conditions(down={"fra"}, measured=latency), "10.5.6.7", "WWW.example.test.",
        samples=lambda client, pop: latency.samples(client, pop, 0),
    )  # fmt: skip
    assert (said["name"], said["chosen"], said["reason"], said["scope"]) == ("www.example.test", "iad", "failover", 24)
    assert [rank["pop"] for rank in said["ranking"]] == ["fra", "iad", "gru"]
    assert (said["ranking"][1]["measured_ms"], said["ranking"][1]["samples"]) == (33.3, 12)
    lines = text(said).splitlines()
    assert lines[0] == "www.example.test for a client at 10.5.6.7: sent to iad"
    assert lines[1] == "because:      The POPs before it are out of service."
    assert lines[-3].split()[:2] == ["1", "fra"]
    assert lines[-3].endswith("It is out of service.")
    assert "33.3" in lines[-2]


def test_a_price_class_says_whom_it_leaves_out() -> None:
    said = explain(ZONE, CALM, "10.1.0.1", "d2.cdn.test")
    assert said["not_covered"] == ["gru"]
    assert said["chosen"] == "fra", "the rule names only gru, which may not serve it"
    assert "price class:  leaves out gru" in text(said)


OUTCOMES = {
    "www.elsewhere.test": "REFUSED: it is in none of the zones",
    "no.cdn.test": "NXDOMAIN: there is no such name",
    "cdn.test": "no addresses",
    "iad.nodes.cdn.test": "the same for everybody: 198.51.100.1",
}


@pytest.mark.parametrize(("name", "outcome"), OUTCOMES.items())
def test_what_stands_for_no_pop_is_said(name: str, outcome: str) -> None:
    said = explain(ZONE, CALM, "10.5.6.7", name)
    assert said["outcome"] == outcome
    assert text(said) == f"{name} for a client at 10.5.6.7: {outcome}"


@pytest.mark.parametrize(("ip", "name"), [("nobody", "d1.cdn.test"), ("10.0.0.1", "a..b")])
def test_what_is_no_address_or_no_name_is_refused(ip: str, name: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - in whatever words
        explain(ZONE, CALM, ip, name)
