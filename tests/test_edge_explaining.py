"""edge/explaining.py: what it says beforehand is what happens."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from edgeproxy.edge.explained import text
from edgeproxy.edge.explaining import Explanation, Question, field_of
from edgeproxy.model import Mode, Rules
from tests import test_facts_keys, test_facts_requests
from tests.facts import AMERICAN, CLIENTS, GERMAN, HOST, NOON, Fact, cache, distribution, items, response
from tests.scripted import ScriptedOrigin
from tests.tier import Node, config_for, node
from tests.wire import Fields

SAMPLE = [*test_facts_requests.FACTS[::3], *test_facts_keys.FACTS[::3]]
"""Facts whose first request is explained, sent, and compared."""

CHANGES_EVERY_TIME = frozenset({"x-amz-cf-id", "x-forwarded-for", "connection", "content-length", "transfer-encoding"})


@asynccontextmanager
async def served(policies: Any = (), **config: Any) -> AsyncIterator[tuple[Node, ScriptedOrigin]]:
    async with ScriptedOrigin() as origin:
        made = distribution(config_for(origin.port, **config), policies)
        origin.always(200, {"ETag": '"1"'}, b"hello")
        common: dict[str, Any] = {"distributions": [made], "rules": Rules.CLOUDFRONT, "clients": CLIENTS}
        async with node(**common, wall=lambda: NOON) as pop:
            yield pop, origin


def explained(pop: Node, target: str, **question: Any) -> Explanation:
    said = pop.workers[0].explain(Question(f"http://{HOST}{target}", **question))
    json.dumps(said)
    assert text(said)
    return said


def heard(fields: Fields) -> dict[str, str]:
    pairs = ((name.decode().lower(), value.decode("latin-1")) for name, value in fields)
    return {name: value for name, value in pairs if name not in CHANGES_EVERY_TIME}


@pytest.mark.parametrize("fact", SAMPLE, ids=lambda fact: fact.name)
async def test_what_is_said_is_what_the_origin_gets(fact: Fact) -> None:
    step = fact.steps[0]
    headers = tuple((str(name), str(value)) for name, value in dict(step.headers).items())
    if step.version != "1.1" or step.host != HOST or step.body or step.status in (414, 494):
        return
    async with served(fact.policies, **fact.config) as (pop, origin):
        client = dict(headers).get("EdgeProxy-Client", "127.0.0.1")
        plain = tuple((name, value) for name, value in headers if name != "EdgeProxy-Client")
        said = explained(pop, step.target, method=step.method, headers=plain, client=client)
        got = await pop.ask(step.target, step.headers, method=step.method, host=HOST)
        if said["outcome"] != "served":
            assert (got.status, origin.requests) == (said["status"], 0)
            return
        assert origin.requests == 1
        asked, outward = origin.log[0], said["origin_request"]
        assert (asked.method, asked.target) == (outward["method"], outward["target"])
        sent = {name.lower(): value for name, value in outward["headers"] if name.lower() not in CHANGES_EVERY_TIME}
        sent.pop("cloudfront-viewer-address", None)
        assert sent.items() <= heard(asked.headers).items()
        again = explained(pop, step.target, method=step.method, headers=plain, client=client)
        assert bool(again.get("stored")) == (said["path"]["cached"] and said["supposed"]["stored"])


ANSWERS: list[tuple[tuple[int, int, int], int, str, float, str]] = [
    ((0, 100, 1000), 200, "", 100, "The origin does not say: DefaultTTL of 100 s"),
    ((0, 100, 1000), 200, "max-age=60", 60, "The origin says 60 s."),
    ((0, 100, 1000), 200, "max-age=6000", 1000, "MaxTTL of 1000 s caps that"),
    ((50, 100, 1000), 200, "max-age=6", 50, "MinTTL of 50 s is more"),
    ((50, 100, 1000), 200, "no-store", 50, "The origin says no-store, but MinTTL is 50 s."),
    ((0, 100, 1000), 200, "no-cache", 0, "The stored response must be validated"),
    ((0, 100, 1000), 404, "", 10, "An error: its ErrorCachingMinTTL of 10 s."),
    ((0, 100, 1000), 404, "max-age=60", 60, "An error that says 60 s"),
]


@pytest.mark.parametrize(("ttl", "status", "said", "seconds", "why"), ANSWERS)
async def test_how_long_and_why(ttl: tuple[int, int, int], status: int, said: str, seconds: float, why: str) -> None:
    async with served([cache(ttl)], behavior={"CachePolicyId": "p0"}) as (pop, origin):
        answer = (("Cache-Control", said),) if said else ()
        supposed = explained(pop, "/a", answer=answer, status=status)["supposed"]
        assert (supposed["stored"], supposed["fresh_for"]) == (True, seconds)
        assert why in supposed["because"]
        origin.always(status, dict(answer), b"hello")
        await pop.get("/a", host=HOST)
        stored = explained(pop, "/a")["stored"]
        assert [each["fresh_for"] for each in stored] == [seconds]


@pytest.mark.parametrize(
    ("status", "said", "why"),
    [(200, "no-store", "no-store"), (200, "private", "one viewer only"), (416, "", "this status"), (401, "", "status")],
)
async def test_why_not(status: int, said: str, why: str) -> None:
    async with served([cache()], behavior={"CachePolicyId": "p0"}) as (pop, _):
        answer = (("Cache-Control", said),) if said else ()
        supposed = explained(pop, "/a", answer=answer, status=status)["supposed"]
        assert supposed["stored"] is False
        assert why in supposed["because"]


async def test_a_refusal_a_redirect_and_a_page() -> None:
    blocked = {"Restrictions": {"GeoRestriction": {"RestrictionType": "blacklist", **items("DE")}}}
    page = items({"ErrorCode": 403, "ResponseCode": "200", "ResponsePagePath": "/sorry"})
    https = {"ViewerProtocolPolicy": "redirect-to-https"}
    async with served(**blocked, CustomErrorResponses=page, behavior=https) as (pop, origin):
        for client in (GERMAN, "DE", "de"):
            said = explained(pop, "/a", client=client)
            assert (said["outcome"], said["status"]) == ("refused", 403)
            assert said["error_page"] == {"path": "/sorry", "status": 200}
        for client in (AMERICAN, "US", "192.0.2.1"):
            said = explained(pop, "/a?b", client=client)
            assert (said["outcome"], said["location"]) == ("redirected", f"https://{HOST}/a?b")
        secure = pop.workers[0].explain(Question(f"https://{HOST}/a", client="US"))
        assert secure["outcome"] == "served"
        assert origin.requests == 0


async def test_an_unknown_host_and_what_is_no_question() -> None:
    async with served() as (pop, _):
        said = pop.workers[0].explain(Question("http://other.test/"))
        assert "No distribution" in said["because"]
        for bad in (
            Question("http:///a"),
            Question("ftp://a.test/"),
            Question(f"http://{HOST}/ä"),
            Question(f"http://{HOST}/", client="here"),
            Question(f"http://{HOST}/", method="G T"),
        ):
            with pytest.raises(ValueError, match=r"expected|does not appear"):
                pop.workers[0].explain(bad)


@pytest.mark.parametrize("line", ["", "no colon", "a b: c", "X: a\r\nY: b", ": x"])
def test_what_is_no_header_field(line: str) -> None:
    with pytest.raises(ValueError, match="expected a header field"):
        field_of(line)


async def test_a_decision_about_what_is_stored() -> None:
    async with served() as (pop, _):
        assert explained(pop, "/a")["decision"]["action"] == "Fetch"
        await pop.get("/a", host=HOST)
        assert explained(pop, "/a")["decision"] == {"action": "Serve", "because": None}
        pop.advance(86401)
        assert explained(pop, "/a")["decision"]["action"] == "Revalidate"


async def test_what_viewers_get_of_a_supposed_answer() -> None:
    policy = response(CustomHeadersConfig=items({"Header": "X-Mine", "Value": "1", "Override": True}))
    behavior = {"ResponseHeadersPolicyId": "p0", "Compress": True}
    async with served([policy], behavior=behavior) as (pop, _):
        answer = (("Content-Type", "text/css"), ("Content-Length", "5000"), ("Set-Cookie", "a=1"))
        said = explained(pop, "/a", answer=answer, headers=(("Accept-Encoding", "gzip"),))["supposed"]
        fields = dict(said["viewer_gets"]["headers"])
        assert (said["compressed"], fields["Content-Encoding"], fields["X-Mine"]) == ("gzip", "gzip", "1")
        assert "Set-Cookie" not in fields
        assert "fwd=uri-miss" in fields["Cache-Status"]


async def test_the_way_through_tiers_and_to_the_second_of_a_group() -> None:
    async with ScriptedOrigin() as origin:
        config = config_for(origin.port, behavior={"TargetOriginId": "group", "AllowedMethods": items("GET", "HEAD")})
        web = config["Origins"]["Items"][0] | {"OriginShield": {"Enabled": True, "OriginShieldRegion": "eu-west-1"}}
        config["Origins"] = items(web, {**web, "Id": "spare", "OriginPath": "/spare"})
        members = items({"OriginId": "web"}, {"OriginId": "spare"})
        config["OriginGroups"] = items(
            {"Id": "group", "FailoverCriteria": {"StatusCodes": items(500)}, "Members": members}
        )
        common: dict[str, Any] = {"distributions": [distribution(config)], "rules": Rules.CLOUDFRONT}
        async with (
            node(mode=Mode.REGIONAL, region="eu-west-1", name="ireland", **common) as ireland,
            node(mode=Mode.REGIONAL, region="eu-central-1", name="frankfurt", **common) as frankfurt,
            node(name="pop", upstream=frankfurt, shields={"eu-west-1": ireland}, **common) as pop,
        ):
            said = explained(pop, "/a")
            assert said["path"]["stops"] == ["pop pop", "regional frankfurt", "shield ireland", "origin web"]
            assert said["origin_request"]["second"]["target"] == "/spare/a"
            assert said["origin_request"]["second"]["on"] == [500]
            regional = explained(ireland, "/a")
            assert (regional["outcome"], regional["path"]["stops"]) == ("served", ["regional ireland", "origin web"])
