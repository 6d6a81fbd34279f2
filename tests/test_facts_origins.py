"""Fact sheet 5: behaviours, the root object, the viewer's protocol, origins of every kind, and groups of two."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from edgeproxy.configuration import load
from edgeproxy.model import Rules
from edgeproxy.telemetry.counters import Counter
from tests.facts import CLIENTS, HOST, JSON, Fact, Step, distribution, items, show, take
from tests.scripted import Ask, ScriptedOrigin
from tests.tier import Node, config_for, node


def behavior(pattern: str, policy: str = "CachingDisabled", **more: Any) -> JSON:
    return {
        "PathPattern": pattern,
        "TargetOriginId": "web",
        "ViewerProtocolPolicy": "allow-all",
        "CachePolicyId": policy,
        **more,
    }


def chosen(pattern: str, path: str, matches: bool) -> Fact:
    """A path falls under a pattern, whose behaviour caches nothing, or under the default, which does."""
    config = {"CacheBehaviors": items(behavior(pattern))}
    name = f"5.1 {pattern} {'matches' if matches else 'does not match'} {path}"
    return Fact(name, config, [Step(path, asked=1), Step(path, asked=int(matches))])


PATTERNS = [
    ("*.jpg", "/a.jpg", True),
    ("*.jpg", "/a/b/c.jpg", True),
    ("*.jpg", "/a.JPG", False),
    ("*.jpg", "/a.jpg/b", False),
    ("a*.jpg", "/abra/cadabra/magic.jpg", True),
    ("/a*.jpg", "/abra/cadabra/magic.jpg", True),
    ("a*.jpg", "/b.jpg", False),
    ("*.doc?", "/x.docx", True),
    ("*.doc?", "/x.doc", False),
    ("images/*", "/images/x", True),
    ("/images/*", "/images", False),
    ("/images*", "/images", True),
    ("/api/*", "/api/v1/x?y=z", True),
    ("/api/*", "/API/v1", False),
    ("/a?c", "/abc", True),
    ("/a?c", "/a/c", True),
    ("/a?c", "/ac", False),
    ("/a*", "/a/b/..", True),
    ("/a/b*", "/a/b/../c", False),
    ("/x/*", "//x//y", True),
    ("/~u/*", "/~u/a", True),
    ("/p@q:r+s&t", "/p@q:r+s&t", True),
]

BEHAVIORS = [
    *[chosen(*row) for row in PATTERNS],
    Fact(
        "5.1 the first that matches, in the order listed",
        {"CacheBehaviors": items(behavior("/a/*", "CachingOptimized"), behavior("/a/b*"))},
        [Step("/a/b", asked=1), Step("/a/b", asked=0)],
    ),
    Fact(
        "5.1 the query is no part of it",
        {"CacheBehaviors": items(behavior("*x"))},
        [Step("/a?x"), Step("/a?x", asked=0)],
    ),
    *[
        Fact(f"5.2 the root object stands for {target}", {"DefaultRootObject": root}, [Step(target, path=path)])
        for root, target, path in (
            ("index.html", "/", "/index.html"),
            ("index.html", "/?x=1", "/index.html"),
            ("index.html", "/dir/", "/dir/"),
            ("index.html", "//", "//"),
            ("folder/index.html", "/", "/folder/index.html"),
            ("", "/", "/"),
        )
    ],
    *[
        Fact(f"5.2 for {method} too", {"DefaultRootObject": "i.html"}, [Step("/", method=method, path="/i.html")])
        for method in ("HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH")
    ],
    Fact(
        "5.2 its path chooses the behaviour",
        {"DefaultRootObject": "i.html", "CacheBehaviors": items(behavior("/i.html"))},
        [Step("/", asked=1)] * 2,
    ),
    *[
        Fact(
            f"5.3 {policy}: {method} by HTTP/{version} is {status}",
            {"behavior": {"ViewerProtocolPolicy": policy}},
            [
                Step(
                    "/x?y=1",
                    method=method,
                    version=version,
                    status=status,
                    asked=0,
                    says={"Location": f"https://{HOST}/x?y=1" if status < 400 else None},
                )
            ],
        )
        for policy, method, version, status in (
            ("redirect-to-https", "GET", "1.1", 301),
            ("redirect-to-https", "HEAD", "1.1", 301),
            ("redirect-to-https", "GET", "1.0", 301),
            ("redirect-to-https", "POST", "1.1", 307),
            ("redirect-to-https", "DELETE", "1.1", 307),
            ("redirect-to-https", "OPTIONS", "1.1", 307),
            ("redirect-to-https", "POST", "1.0", 403),
            ("https-only", "GET", "1.1", 403),
            ("https-only", "HEAD", "1.1", 403),
            ("https-only", "POST", "1.1", 403),
        )
    ],
    *[
        Fact(f"5.3 allow-all: {method} is served", {}, [Step(method=method, status=200, asked=1)])
        for method in ("GET", "HEAD", "POST")
    ],
]


@pytest.mark.parametrize("fact", BEHAVIORS, ids=lambda fact: fact.name)
async def test_fact(fact: Fact) -> None:
    await show(fact)


def web(id: str, port: int, **more: Any) -> JSON:
    custom = {"HTTPPort": port, "HTTPSPort": 443, "OriginProtocolPolicy": "http-only", **more.pop("custom", {})}
    return {"Id": id, "DomainName": "127.0.0.1", "CustomOriginConfig": custom, **more}


@dataclass
class Two:
    """A POP in front of two origins."""

    pop: Node
    first: ScriptedOrigin
    second: ScriptedOrigin

    async def step(self, step: Step) -> None:
        await take(step, self.pop, self.first, "")


GET_HEAD = {**items("GET", "HEAD"), "CachedMethods": items("GET", "HEAD")}


@asynccontextmanager
async def two(codes: list[int] | None = None, **origin: Any) -> AsyncIterator[Two]:
    """The first is the default behaviour's, or with `codes` both are a group; `origin`: more about the first."""
    async with ScriptedOrigin() as first, ScriptedOrigin() as second:
        config = config_for(first.port)
        more: JSON = {"custom": {"OriginReadTimeout": 1}, "ConnectionAttempts": 1, "ConnectionTimeout": 1, **origin}
        config["Origins"] = items(web("web", first.port, **more), web("spare", second.port, OriginPath="/spare"))
        config["CacheBehaviors"] = items(behavior("/spare/*", TargetOriginId="spare"))
        if codes is not None:
            members = items({"OriginId": "web"}, {"OriginId": "spare"})
            criteria = {"StatusCodes": items(*codes)}
            config["OriginGroups"] = items({"Id": "group", "FailoverCriteria": criteria, "Members": members})
            config["DefaultCacheBehavior"] |= {"TargetOriginId": "group", "AllowedMethods": GET_HEAD}
        first.always(200, {}, b"first")
        second.always(200, {}, b"second")
        async with node(distributions=[distribution(config)], rules=Rules.CLOUDFRONT, clients=CLIENTS) as pop:
            yield Two(pop, first, second)


async def test_5_4_custom_headers_overwrite_the_viewers() -> None:
    headers = items({"HeaderName": "X-Secret", "HeaderValue": "s3"}, {"HeaderName": "Referer", "HeaderValue": "r"})
    async with two(CustomHeaders=headers) as served:
        await served.step(Step(headers={"X-Secret": "guess"}, gets={"X-Secret": "s3", "Referer": "r"}))


async def test_5_4_origin_path_is_put_in_front() -> None:
    async with two(OriginPath="/v1/site") as served:
        await served.step(Step("/a//b?x=1", path="/v1/site/a//b"))
        await served.step(Step("/", path="/v1/site/"))
        await served.pop.get("/spare/x", host=HOST)
        assert served.second.log[-1].target == "/spare/spare/x"


async def test_5_1_each_behaviour_has_its_origin() -> None:
    async with two() as served:
        assert (await served.pop.get("/a", host=HOST)).body == b"first"
        assert (await served.pop.get("/spare/a", host=HOST)).body == b"second"


@pytest.mark.parametrize(("method", "tries"), [("GET", 2), ("HEAD", 2), ("POST", 1), ("PUT", 1), ("DELETE", 1)])
async def test_5_4_get_and_head_are_tried_again_after_a_read_timeout(method: str, tries: int) -> None:
    async with two(custom={"OriginReadTimeout": 1}, ConnectionAttempts=2) as served:

        async def silent(ask: Ask) -> None:
            await ask.gone()

        served.first.otherwise(silent)
        got = await served.pop.ask("/a", method=method, host=HOST)
        assert (got.status, got.header("X-Cache")) == (504, "Error from cloudfront")
        assert served.first.requests == tries


async def test_5_4_nobody_listens_is_502() -> None:
    config = config_for(1)
    config["Origins"]["Items"][0] |= {"ConnectionAttempts": 1}
    async with node(distributions=[distribution(config)], rules=Rules.CLOUDFRONT) as pop:
        got = await pop.get("/a", host=HOST)
        assert (got.status, got.header("X-Cache")) == (502, "Error from cloudfront")
        assert b"wasn't able to connect to the origin" in got.body


async def test_5_4_a_name_without_an_address_is_502() -> None:
    config = config_for(80)
    config["Origins"]["Items"][0] |= {"DomainName": "nowhere.invalid", "ConnectionAttempts": 1}
    async with node(distributions=[distribution(config)], rules=Rules.CLOUDFRONT) as pop:
        got = await pop.get("/a", host=HOST)
        assert got.status == 502
        assert b"wasn't able to resolve the origin domain name" in got.body


BUCKET: JSON = {
    "Id": "web",
    "DomainName": "b.s3.eu-central-1.amazonaws.com",
    "S3OriginConfig": {"OriginAccessIdentity": ""},
}


@asynccontextmanager
async def bucket(**more: Any) -> AsyncIterator[tuple[Node, ScriptedOrigin]]:
    """A production distribution in front of a bucket, which the settings send to a local origin."""
    async with ScriptedOrigin() as origin:
        files = {
            "/s.toml": f'[origins]\n"{BUCKET["DomainName"]}" = "{origin.url}"\n[[distributions]]\nfile = "demo.json"\n',
            "/demo.json": json.dumps(config_for(1, Origins=items(BUCKET), **more)),
        }
        served = load(Path("/s.toml"), {}, lambda path: files[str(path)].encode()).distributions
        origin.always(200, {"x-amz-id-2": "x", "x-amz-request-id": "y", "x-amz-meta-a": "1"}, b"object")
        async with node(distributions=served, rules=Rules.CLOUDFRONT) as pop:
            yield pop, origin


async def test_5_5_a_bucket_is_asked_under_its_own_name_and_2_1_its_ids_are_removed() -> None:
    async with bucket() as (pop, origin):
        got = await pop.get("/a", host=HOST)
        assert origin.log[0].header("Host") == "b.s3.eu-central-1.amazonaws.com"
        assert (got.header("x-amz-id-2"), got.header("x-amz-request-id"), got.header("x-amz-meta-a")) == (
            None,
            None,
            "1",
        )


async def test_2_5_a_minimum_of_0_is_a_second_in_front_of_a_bucket() -> None:
    async with bucket(CustomErrorResponses=items({"ErrorCode": 404, "ErrorCachingMinTTL": 0})) as (pop, origin):
        origin.always(404, {}, b"x")
        await pop.get("/a", host=HOST)
        await pop.get("/a", host=HOST)
        assert origin.requests == 1
        pop.advance(1.5)
        await pop.get("/a", host=HOST)
        assert origin.requests == 2


async def test_5_5_a_buckets_redirect_is_passed_on() -> None:
    async with bucket() as (pop, origin):
        origin.always(307, {"Location": "https://elsewhere.test/a"}, b"")
        got = await pop.get("/a", host=HOST)
        assert (got.status, got.header("Location")) == (307, "https://elsewhere.test/a")


# Groups ---------------------------------------------------------------------------------------------------------------

CODES = [400, 403, 404, 416, 429, 500, 502, 503, 504]


@pytest.mark.parametrize("code", CODES)
async def test_5_6_a_listed_status_fails_over(code: int) -> None:
    async with two([code]) as served:
        served.first.always(code, {}, b"bad")
        await served.step(Step(status=200, content=b"second", asked=1))
        assert served.second.log[-1].target == "/spare/a"
        assert served.pop.count(Counter.FAILOVERS) == 1


@pytest.mark.parametrize("code", CODES)
async def test_5_6_any_other_does_not(code: int) -> None:
    async with two([each for each in CODES if each != code]) as served:
        served.first.always(code, {}, b"bad")
        await served.step(Step(status=code, content=b"bad"))
        assert served.second.requests == 0


@pytest.mark.parametrize(("codes", "status"), [([503], 200), ([502, 504], 502)])
async def test_5_6_no_connection_fails_over_only_with_503(codes: list[int], status: int) -> None:
    async with two(codes) as served:
        await served.first.__aexit__()
        await served.step(Step(status=status, contains=b"second" if status == 200 else b"502 ERROR"))


@pytest.mark.parametrize(("codes", "status"), [([504], 200), ([502, 503], 504)])
async def test_5_6_no_answer_in_time_fails_over_only_with_504(codes: list[int], status: int) -> None:
    async with two(codes) as served:

        async def silent(ask: Ask) -> None:
            await ask.gone()

        served.first.otherwise(silent)
        await served.step(Step(status=status))


@pytest.mark.parametrize(("codes", "status"), [([502], 200), ([503, 504], 502)])
async def test_5_6_a_broken_answer_counts_as_its_502(codes: list[int], status: int) -> None:
    async with two(codes) as served:
        await served.step(Step(gone=True, status=status))


async def test_5_6_the_first_is_asked_first_every_time() -> None:
    async with two([500]) as served:
        served.first.always(500, {}, b"bad")
        await served.step(Step("/a", content=b"second", asked=1))
        await served.step(Step("/b", content=b"second", asked=1))
        await served.step(Step("/c", origin=(200, {}, b"well again"), content=b"well again", asked=1))
        assert served.second.requests == 2


async def test_5_6_what_the_second_answered_is_cached() -> None:
    async with two([500]) as served:
        served.first.always(500, {}, b"bad")
        await served.step(Step(content=b"second", asked=1))
        await served.step(Step(content=b"second", asked=0, says={"X-Cache": "Hit from cloudfront"}))


async def test_5_6_when_both_fail_the_seconds_answer_is_the_answer() -> None:
    async with two([500]) as served:
        served.first.always(500, {}, b"bad")
        served.second.always(500, {}, b"worse")
        await served.step(Step(status=500, content=b"worse"))


async def test_5_6_other_methods_do_not_fail_over() -> None:
    async with two([500]) as served:
        served.first.always(500, {}, b"bad")
        got = await served.pop.ask("/a", method="HEAD", host=HOST)
        assert got.status == 200
        got = await served.pop.ask("/a", method="OPTIONS", host=HOST)
        assert got.status == 403
