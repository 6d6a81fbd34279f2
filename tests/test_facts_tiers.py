"""Fact sheet 6 and 2.7 across tiers: who is asked on a miss, shields, and which tier a viewer is told of."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from edgeproxy.configuration import load
from edgeproxy.model import Mode, Rules
from edgeproxy.telemetry.counters import Counter
from tests.facts import CLIENTS, GERMAN, HOST, JSON, cache, distribution, items, response
from tests.scripted import ScriptedOrigin
from tests.tier import Got, Node, config_for, node

TIMED = response(ServerTimingHeadersConfig={"Enabled": True, "SamplingRate": 100})
SEVEN = {**items("GET", "HEAD", "OPTIONS", "PUT", "POST", "PATCH", "DELETE"), "CachedMethods": items("GET", "HEAD")}


@dataclass
class Cdn:
    """Two POPs, the regional of each, one of which stands where the shield is, and the origin."""

    near: Node
    far: Node
    frankfurt: Node
    ireland: Node
    origin: ScriptedOrigin

    def asked(self) -> tuple[int, int, int]:
        """How often the regionals and the origin have been asked."""
        return self.frankfurt.count(Counter.REQUESTS), self.ireland.count(Counter.REQUESTS), self.origin.requests


@asynccontextmanager
async def cdn(shield: str | None = None, **behavior: Any) -> AsyncIterator[Cdn]:
    """`near` goes through Ireland, where a shield would be; `far` through Frankfurt."""
    async with ScriptedOrigin() as origin:
        config = config_for(origin.port, behavior={"ResponseHeadersPolicyId": "p0", **behavior})
        if shield is not None:
            config["Origins"]["Items"][0]["OriginShield"] = {"Enabled": True, "OriginShieldRegion": shield}
        served = [distribution(config, [TIMED, cache(query="all")])]
        origin.always(200, {"ETag": '"1"'}, b"hello")
        common: JSON = {"distributions": served, "rules": Rules.CLOUDFRONT}
        async with node(mode=Mode.REGIONAL, region="eu-west-1", name="ireland", **common) as ireland:
            shields = {"eu-west-1": ireland}
            regional = node(mode=Mode.REGIONAL, region="eu-central-1", name="frankfurt", shields=shields, **common)
            async with (
                regional as frankfurt,
                node(name="near", region="eu-west-1", upstream=ireland, shields=shields, **common) as near,
                node(name="far", region="eu-central-1", upstream=frankfurt, shields=shields, **common) as far,
            ):
                yield Cdn(near, far, frankfurt, ireland, origin)


def layer(got: Got) -> str | None:
    """What Server-Timing says: `hit EDGE`, `upstream REC`, …"""
    found = re.search(r'cdn-(hit|upstream)-layer;desc="([^"]+)"', got.header("Server-Timing") or "")
    return None if found is None else f"{found[1]} {found[2]}"


async def test_6_a_miss_goes_through_the_regional_and_both_are_filled() -> None:
    async with cdn() as served:
        assert layer(await served.far.get("/a", host=HOST)) == "upstream REC"
        assert served.asked() == (1, 0, 1)
        assert layer(await served.far.get("/a", host=HOST)) == "hit EDGE"
        assert served.asked() == (1, 0, 1)
        served.far.forget_everything()
        got = await served.far.get("/a", host=HOST)
        assert (layer(got), got.header("X-Cache")) == ("hit REC", "Hit from cloudfront")
        assert served.asked() == (2, 0, 1)


@pytest.mark.parametrize("method", ["PUT", "POST", "PATCH", "DELETE", "OPTIONS"])
async def test_6_other_methods_skip_the_regional(method: str) -> None:
    async with cdn(AllowedMethods=SEVEN) as served:
        assert layer(await served.far.ask("/a", method=method, host=HOST)) == "upstream EDGE"
        assert served.asked() == (0, 0, 1)


async def test_6_dynamic_requests_skip_the_regional() -> None:
    async with cdn(CachePolicyId="CachingDisabled") as served:
        assert layer(await served.far.get("/a", host=HOST)) == "upstream EDGE"
        assert served.asked() == (0, 0, 1)


async def test_6_a_websocket_skips_the_regional_and_the_shield() -> None:
    async with cdn("eu-west-1") as served:
        handshake = {
            "Connection": "Upgrade",
            "Upgrade": "websocket",
            "Sec-WebSocket-Key": "x",
            "Sec-WebSocket-Version": "13",
        }
        await served.far.get("/a", handshake, host=HOST)
        assert served.asked() == (0, 0, 1)


async def test_6_a_shield_stands_between_the_regional_and_the_origin() -> None:
    async with cdn("eu-west-1") as served:
        assert layer(await served.far.get("/a", host=HOST)) == "upstream Origin Shield"
        assert served.asked() == (1, 1, 1)
        for each in (served.far, served.frankfurt):
            each.forget_everything()
        assert layer(await served.far.get("/a", host=HOST)) == "hit Origin Shield"
        assert served.asked() == (2, 2, 1)


async def test_6_all_regions_share_the_shield() -> None:
    async with cdn("eu-west-1") as served:
        await served.near.get("/a", host=HOST)
        assert served.asked() == (0, 1, 1)
        assert layer(await served.far.get("/a", host=HOST)) == "hit Origin Shield"
        assert served.asked() == (1, 2, 1)


async def test_6_a_pop_in_the_shields_region_makes_no_extra_hop() -> None:
    async with cdn("eu-west-1") as served:
        assert layer(await served.near.get("/a", host=HOST)) == "upstream Origin Shield"
        assert served.asked() == (0, 1, 1)
        assert layer(await served.near.get("/a", host=HOST)) == "hit EDGE"


@pytest.mark.parametrize("method", ["GET", "POST", "PUT"])
async def test_6_dynamic_requests_go_through_the_shield(method: str) -> None:
    async with cdn("eu-west-1", CachePolicyId="CachingDisabled", AllowedMethods=SEVEN) as served:
        body = b"" if method == "GET" else b"content"
        got = await served.far.ask("/a", body=body, method=method, host=HOST)
        assert (got.status, layer(got)) == (200, "upstream Origin Shield")
        assert served.asked() == (0, 1, 1)


async def test_6_a_shield_where_no_regional_stands_is_none() -> None:
    async with cdn("sa-east-1") as served:
        assert layer(await served.far.get("/a", host=HOST)) == "upstream REC"
        assert served.asked() == (1, 0, 1)


async def test_6_the_shield_collapses_requests_of_all_regions() -> None:
    async with cdn("eu-west-1") as served:
        got = [await each.get("/b", host=HOST) for each in (served.far, served.near)]
        assert [each.body for each in got] == [b"hello", b"hello"]
        assert served.origin.requests == 1


async def test_6_a_shield_that_cannot_be_reached_is_passed_by() -> None:
    async with cdn("eu-west-1") as served:
        await served.ireland.close()
        got = await served.far.get("/a", host=HOST)
        assert (got.status, layer(got)) == (200, "upstream REC")
        assert served.origin.requests == 1


async def test_10_1_the_log_names_a_hit_at_the_shield() -> None:
    async with cdn("eu-west-1") as served:
        await served.near.get("/a", host=HOST)
        await served.far.get("/a", host=HOST)
        await served.far.reaches(Counter.LOG_LINES, 1)
        assert "OriginShieldHit" in (served.far.directory / "access.log").read_text()


async def test_1_9_what_is_known_of_the_viewer_reaches_the_origin_through_the_tiers() -> None:
    async with ScriptedOrigin() as origin:
        policy = cache(headers=["CloudFront-Viewer-Country", "CloudFront-Is-Mobile-Viewer"])
        served = [distribution(config_for(origin.port, behavior={"CachePolicyId": "p0"}), [policy])]
        origin.always(200, {}, b"hello")
        common: JSON = {"distributions": served, "rules": Rules.CLOUDFRONT}
        async with (
            node(mode=Mode.REGIONAL, **common) as regional,
            node(upstream=regional, clients=CLIENTS, **common) as pop,
        ):
            await pop.get("/a", {"EdgeProxy-Client": GERMAN, "CloudFront-Viewer-Country": "XX"}, host=HOST)
            assert origin.log[0].header("CloudFront-Viewer-Country") == "DE"
            assert origin.log[0].header("CloudFront-Is-Mobile-Viewer") == "false"
            assert origin.log[0].headers.all("CloudFront-Viewer-Country") == ["DE"]


def test_a_shield_without_a_regional_is_noted() -> None:
    config = config_for(80)
    config["Origins"]["Items"][0]["OriginShield"] = {"Enabled": True, "OriginShieldRegion": "eu-west-1"}
    nodes = '[[nodes]]\nname = "r"\nmode = "regional"\nregion = "%s"\nlisten = ["127.0.0.1:8090"]\n'
    for region, noted in (("eu-west-1", False), ("eu-central-1", True)):
        files = {"/s.toml": nodes % region + '[[distributions]]\nfile = "d.json"\n', "/d.json": json.dumps(config)}
        loaded = load(Path("/s.toml"), {}, lambda path, files=files: files[str(path)].encode())  # type: ignore[misc]  # bound now
        assert any("no regional of these nodes" in str(note) for note in loaded.notes) is noted
