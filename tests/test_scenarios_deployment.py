"""Continuous deployment, from boto3 to a viewer's answer: a staging distribution, traffic for it, its promotion."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

from edgeproxy.cloudfront.deployment import SESSION_COOKIE
from edgeproxy.edge.explained import text
from edgeproxy.edge.explaining import Question
from edgeproxy.model import Deployment, Distribution, Rules
from edgeproxy.telemetry.counters import Counter
from tests.commands import command, fetch, url_in
from tests.controlling import client
from tests.distributions import behavior, config, items, web
from tests.scripted import Ask, ScriptedOrigin
from tests.test_scenarios_control import free_address, settings_file
from tests.tier import Got, Tier, config_for, distribution_of, tier

REVISION = "0123456789abcdef"
BY_HEADER = Deployment("staging", REVISION, (b"aws-cf-cd-side", b"new"))
ALWAYS = Deployment("staging", REVISION, None, 1.0, 300, 3600)
NEVER = replace(ALWAYS, weight=0.0)
NEW = {"aws-cf-cd-side": "new"}
DISABLED = "4135ea2d-6df8-44a3-9df3-4b5a84be39ad"
HOST = "www.example.test"


async def told(ask: Ask) -> None:
    """What was asked for, to be kept."""
    body = f"{ask.target} {ask.header('Cookie') or ''}".rstrip().encode()
    await ask.answer(404 if "missing" in ask.target else 200, {"Cache-Control": "max-age=3600"}, body)


def pair(port: int, deployment: Deployment, **more: Any) -> list[Distribution]:
    """A primary whose origin has all under /old, and its staging distribution with all under /new."""
    there = config_for(port)["Origins"]["Items"][0]
    old = config_for(port, Origins=items({**there, "OriginPath": "/old"}), Aliases=items(HOST), **more)
    new = config_for(port, Origins=items({**there, "OriginPath": "/new"}), Staging=True, **more)
    primary = replace(distribution_of(old, name="primary"), deployment=deployment)
    return [primary, distribution_of(new, name="staging")]


def side(got: Got) -> str:
    return got.body.decode().split(" ")[0].split("/")[1]


async def ask(cdn: Tier, target: str = "/a", headers: dict[str, str] | None = None, host: str = HOST) -> Got:
    return await cdn.pop.get(target, headers or {}, host=host)


async def test_a_header_leads_to_the_other_distribution_and_to_its_own_cache() -> None:
    async with tier(rules=Rules.CLOUDFRONT, distributions=lambda port: pair(port, BY_HEADER)) as cdn:
        cdn.origin.otherwise(told)
        for _ in range(5):
            for headers, expected in (({}, "old"), (NEW, "new"), ({"aws-cf-cd-side": "New"}, "old")):
                got = await ask(cdn, headers=headers)
                assert (got.status, side(got), got.header("Set-Cookie")) == (200, expected, None)
        assert cdn.origin.requests == 2
        assert cdn.pop.count(Counter.STAGING_CHOSEN) == 5
        assert (cdn.pop.count(Counter.LANE_LEARNT), cdn.pop.count(Counter.SHORTCUTS)) == (0, 0)
        assert cdn.regional.count(Counter.STAGING_CHOSEN) == 0
        for host in ("staging.edge.localhost", "staging.edge.localhost:80"):
            assert (await ask(cdn, headers=NEW, host=host)).status == 403


async def test_misses_past_the_cache_are_decided_one_by_one() -> None:
    given = {"behavior": {"CachePolicyId": DISABLED}}
    async with tier(rules=Rules.CLOUDFRONT, distributions=lambda port: pair(port, NEVER, **given)) as cdn:
        cdn.origin.otherwise(told)
        for _ in range(5):
            assert side(await ask(cdn)) == "old"
        assert cdn.pop.count(Counter.SHORTCUTS) == 0


async def test_a_session_is_the_viewers_alone_and_unknown_to_origin_and_key() -> None:
    more = {"behavior": {"CachePolicyId": "83da9c7e-98b4-4e11-a168-04f0df8e2c65"}}  # all cookies are keyed and sent
    async with tier(rules=Rules.CLOUDFRONT, workers=2, distributions=lambda port: pair(port, ALWAYS, **more)) as cdn:
        cdn.origin.otherwise(told)
        name = SESSION_COOKIE.decode()
        seen = set()
        cookie = "x=1"
        for _ in range(6):
            got = await ask(cdn, headers={"Cookie": cookie})
            assert (side(got), got.body) == ("new", b"/new/a x=1")
            given = got.header("Set-Cookie")
            assert given is not None
            assert given.startswith(f"{name}={REVISION}.s.")
            seen.add(got.header("X-Cache"))
            cookie = "x=1; " + given.partition(";")[0]
        assert cdn.origin.requests == 1
        assert "Hit from cloudfront" in seen


async def test_who_is_on_the_primarys_side_stays_there_also_on_error_pages() -> None:
    page = {"ErrorCode": 404, "ResponsePagePath": "/page", "ResponseCode": "200", "ErrorCachingMinTTL": 10}
    more = {"CustomErrorResponses": items(page)}
    async with tier(rules=Rules.CLOUDFRONT, distributions=lambda port: pair(port, NEVER, **more)) as cdn:
        cdn.origin.otherwise(told)
        for target in ("/a", "/missing"):
            got = await ask(cdn, target)
            assert (got.status, side(got)) == (200, "old")
            assert f"{REVISION}.p." in (got.header("Set-Cookie") or "")


async def test_an_explanation_says_which_one_was_chosen() -> None:
    async with tier(rules=Rules.CLOUDFRONT, distributions=lambda port: pair(port, BY_HEADER)) as cdn:
        for headers, chosen, id in (((), "primary", "primary"), (tuple(NEW.items()), "staging", "staging")):
            said = cdn.pop.workers[0].explain(Question(f"http://{HOST}/a", headers=headers))
            assert (said["deployment"], said["distribution"]["id"]) == ({"chosen": chosen, "by": "header"}, id)
            assert f"{chosen}, by header" in text(said)


async def test_the_primary_serves_all_while_its_staging_distribution_is_disabled() -> None:
    def served(port: int) -> list[Distribution]:
        primary, staging = pair(port, BY_HEADER)
        return [primary, replace(staging, enabled=False)]

    async with tier(rules=Rules.CLOUDFRONT, distributions=served) as cdn:
        cdn.origin.otherwise(told)
        assert side(await ask(cdn, headers=NEW)) == "old"


class Story:
    """One operator with boto3."""

    def __init__(self, control: str) -> None:
        self._cloudfront = client(control)

    async def do(self, operation: str, **given: Any) -> Any:
        return await asyncio.to_thread(getattr(self._cloudfront, operation), **given)

    async def deployed(self, id: str) -> None:
        await asyncio.to_thread(self._cloudfront.get_waiter("distribution_deployed").wait, Id=id)

    async def change(self, id: str, **changes: Any) -> str:
        """Change a distribution and wait until it is deployed; its ETag."""
        now = await self.do("get_distribution_config", Id=id)
        wanted = {**now["DistributionConfig"], **changes}
        made = await self.do("update_distribution", Id=id, IfMatch=now["ETag"], DistributionConfig=wanted)
        await self.deployed(id)
        return str(made["ETag"])


def policy(staging: str, traffic: dict[str, Any], *, enabled: bool = True) -> dict[str, Any]:
    return {"StagingDistributionDnsNames": items(staging), "Enabled": enabled, "TrafficConfig": traffic}


BY_FIELD = {"Type": "SingleHeader", "SingleHeaderConfig": {"Header": "aws-cf-cd-side", "Value": "new"}}
BY_SHARE = {"Type": "SingleWeight", "SingleWeightConfig": {"Weight": 0.15}}


async def test_a_copy_is_tried_by_header_and_by_weight_and_promoted(tmp_path: Path) -> None:
    address = free_address()
    file = str(settings_file(tmp_path, address))
    async with ScriptedOrigin() as origin, AsyncExitStack() as stack:
        origin.otherwise(told)
        control = await stack.enter_async_context(
            command("control", "--config", file, "--data-dir", str(tmp_path / "plane"))
        )
        await control.says("listens on")
        node = await stack.enter_async_context(
            command("serve", "--config", file, "--node", "one", "--data-dir", str(tmp_path / "nodes"))
        )
        url = url_in(await node.says("listens on"))
        story = Story(f"http://{address}")

        def origins(path: str) -> Any:
            return items(web(domain="127.0.0.1", custom={"HTTPPort": origin.port}, OriginPath=path))

        async def get(target: str, host: str, headers: dict[str, str] | None = None) -> tuple[int, bytes]:
            return await fetch(url + target, headers={"Host": host, **(headers or {})})

        given = config(Origins=origins("/old"), DefaultCacheBehavior=behavior(CachePolicyId=DISABLED))
        primary = (await story.do("create_distribution", DistributionConfig=given))["Distribution"]
        await story.deployed(primary["Id"])
        staging = (
            await story.do(
                "copy_distribution",
                PrimaryDistributionId=primary["Id"],
                Staging=True,
                CallerReference="copy",
                Enabled=True,
                IfMatch=(await story.do("get_distribution", Id=primary["Id"]))["ETag"],
            )
        )["Distribution"]
        await story.change(staging["Id"], Origins=origins("/new"))
        host, hidden = primary["DomainName"], staging["DomainName"]
        wanted = policy(hidden, BY_FIELD)
        made = await story.do("create_continuous_deployment_policy", ContinuousDeploymentPolicyConfig=wanted)
        id = made["ContinuousDeploymentPolicy"]["Id"]
        assert await get("/a", host, NEW) == (200, b"/old/a")
        await story.change(primary["Id"], ContinuousDeploymentPolicyId=id)
        assert await get("/a", host) == (200, b"/old/a")
        assert await get("/a", host, NEW) == (200, b"/new/a")
        assert (await get("/a", hidden, NEW))[0] == 403

        await story.do(
            "update_continuous_deployment_policy",
            Id=id,
            IfMatch=made["ETag"],
            ContinuousDeploymentPolicyConfig=policy(hidden, BY_SHARE),
        )
        await story.deployed(primary["Id"])
        bodies = [(await get("/a", host, NEW))[1] for _ in range(150)]
        assert set(bodies) == {b"/old/a", b"/new/a"}
        assert 2 <= bodies.count(b"/new/a") <= 60  # 22 are expected, with a deviation of 4

        etags = [(await story.do("get_distribution", Id=each["Id"]))["ETag"] for each in (primary, staging)]
        await story.do(
            "update_distribution_with_staging_config",
            Id=primary["Id"],
            StagingDistributionId=staging["Id"],
            IfMatch=", ".join(etags),
        )
        await story.deployed(primary["Id"])
        assert {(await get("/a", host))[1] for _ in range(20)} == {b"/new/a"}
        assert (await get("/a", hidden))[0] == 403
