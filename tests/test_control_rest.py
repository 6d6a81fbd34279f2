"""CloudFront's API over HTTP: boto3 tells its stories, raw requests do what boto3 would not."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from edgeproxy.control.plane import Pace
from edgeproxy.control.rest import BODY_MAX, Bounds
from edgeproxy.control.service import service
from edgeproxy.control.xml import serialise
from tests.controlling import KEYS, Running, client, following, running
from tests.distributions import behavior, config, items
from tests.test_control_checks import RSA_KEY

BATCH = {"Paths": items("/*"), "CallerReference": "1"}


def code_of(error: ClientError) -> tuple[str, int]:
    return error.response["Error"]["Code"], error.response["ResponseMetadata"]["HTTPStatusCode"]


async def refused(control: Running, operation: str, **given: Any) -> tuple[str, int]:
    with pytest.raises(ClientError) as refusal:
        await control.call(operation, **given)
    return code_of(refusal.value)


def document(value: Any) -> bytes:
    return serialise(service().shape_for("DistributionConfig"), "DistributionConfig", value)


async def test_a_distribution_lives_through_boto3(tmp_path: Path) -> None:
    async with running(tmp_path) as control:
        made = await control.call("create_distribution", DistributionConfig=config())
        id = made["Distribution"]["Id"]
        assert made["Location"] == f"{control.url}/2020-05-31/distribution/{id}"
        assert made["Distribution"]["DomainName"] == f"{id.lower()}.edge.localhost"
        found = await control.call("get_distribution", Id=id)
        assert (found["ETag"], found["Distribution"]) == (made["ETag"], made["Distribution"])
        given = await control.call("get_distribution_config", Id=id)
        assert given["ETag"] == made["ETag"]
        assert given["DistributionConfig"] == made["Distribution"]["DistributionConfig"]
        changed = {**given["DistributionConfig"], "Enabled": False}
        after = await control.call("update_distribution", Id=id, IfMatch=given["ETag"], DistributionConfig=changed)
        assert after["ETag"] != given["ETag"]
        assert await refused(control, "delete_distribution", Id=id, IfMatch=given["ETag"]) == (
            "PreconditionFailed",
            412,
        )
        await control.call("delete_distribution", Id=id, IfMatch=after["ETag"])
        assert await refused(control, "get_distribution", Id=id) == ("NoSuchDistribution", 404)


async def test_everything_given_comes_back_element_for_element(tmp_path: Path) -> None:
    given = config(
        Aliases=items("a.test", "*.b.test"),
        CacheBehaviors=items({**behavior(Compress=True), "PathPattern": "/a?*"}),
        CustomErrorResponses=items({"ErrorCode": 404, "ErrorCachingMinTTL": 0}),
        Comment="<&> ü",
        HttpVersion="http1.1",
        Logging={"Enabled": True, "IncludeCookies": True, "Bucket": "b.s3.amazonaws.com", "Prefix": "p/"},
    )
    async with running(tmp_path) as control:
        made = await control.call("create_distribution", DistributionConfig=given)

        def inside(wanted: Any, found: Any) -> None:
            if isinstance(wanted, dict):
                for name, value in wanted.items():
                    inside(value, found[name])
            elif isinstance(wanted, list):
                for one, other in zip(wanted, found, strict=True):
                    inside(one, other)
            else:
                assert found == wanted

        inside(given, made["Distribution"]["DistributionConfig"])


async def test_things_of_every_kind_live_and_die(tmp_path: Path) -> None:
    policy = {"Name": "n", "MinTTL": 1}
    names = {"CookiesConfig": {"CookieBehavior": "none"}, "QueryStringsConfig": {"QueryStringBehavior": "all"}}
    control_config = {
        "Name": "n",
        "SigningProtocol": "sigv4",
        "SigningBehavior": "always",
        "OriginAccessControlOriginType": "s3",
    }
    kinds: list[tuple[str, dict[str, Any]]] = [
        ("CachePolicy", policy),
        ("OriginRequestPolicy", {"Name": "n", "HeadersConfig": {"HeaderBehavior": "none"}, **names}),
        ("ResponseHeadersPolicy", {"Name": "n", "Comment": "c"}),
        ("OriginAccessControl", control_config),
        ("CloudFrontOriginAccessIdentity", {"CallerReference": "1", "Comment": "c"}),
        ("PublicKey", {"CallerReference": "1", "Name": "n", "EncodedKey": RSA_KEY}),
    ]
    plurals = {"CachePolicy": "cache_policies", "OriginRequestPolicy": "origin_request_policies"}
    plurals |= {"ResponseHeadersPolicy": "response_headers_policies", "OriginAccessControl": "origin_access_controls"}
    plurals |= {"CloudFrontOriginAccessIdentity": "cloud_front_origin_access_identities", "PublicKey": "public_keys"}
    snake = {name: plural.removesuffix("s") for name, plural in plurals.items()}
    snake |= {name: text.replace("policie", "policy").replace("identitie", "identity") for name, text in snake.items()}
    async with running(tmp_path) as control:
        for name, value in kinds:
            made = await control.call(f"create_{snake[name]}", **{f"{name}Config": value})
            id = made[name]["Id"]
            found = await control.call(f"get_{snake[name]}", Id=id)
            assert found[name] == made[name]
            given = await control.call(f"get_{snake[name]}_config", Id=id)
            assert given[f"{name}Config"] == made[name][f"{name}Config"]
            again = {**given[f"{name}Config"]}
            arguments = {"Id": id, "IfMatch": given["ETag"], f"{name}Config": again}
            after = await control.call(f"update_{snake[name]}", **arguments)
            answer = await control.call(f"list_{plurals[name]}")
            listed = next(value for key, value in answer.items() if key.endswith("List"))
            shown = [each.get(name, each)["Id"] for each in listed["Items"]]
            assert id in shown
            assert (await refused(control, f"delete_{snake[name]}", Id=id, IfMatch=given["ETag"]))[1] == 412
            await control.call(f"delete_{snake[name]}", Id=id, IfMatch=after["ETag"])
            assert (await refused(control, f"get_{snake[name]}", Id=id))[1] == 404


async def test_waiters_return_at_once_when_the_nodes_have_followed(tmp_path: Path) -> None:
    bounds, pace = Bounds(hold=10), Pace(heartbeat=0.5)
    async with running(tmp_path, bounds=bounds, pace=pace) as control, following(control.url, tmp_path) as node:
        await node.follower.caught_up.wait()
        node.may_apply.clear()
        made = await control.call("create_distribution", DistributionConfig=config())
        id = made["Distribution"]["Id"]
        assert made["Distribution"]["Status"] == "InProgress"
        asking = asyncio.create_task(control.call("get_distribution", Id=id))
        await asyncio.sleep(0)
        node.may_apply.set()
        assert (await asking)["Distribution"]["Status"] == "Deployed"
        made = await control.call("create_invalidation", DistributionId=id, InvalidationBatch=BATCH)
        waiter = control.client().get_waiter("invalidation_completed")
        async with asyncio.timeout(10):
            await asyncio.to_thread(waiter.wait, DistributionId=id, Id=made["Invalidation"]["Id"])


async def test_an_answer_about_what_stays_in_progress_is_held_for_a_while_only(tmp_path: Path) -> None:
    async with running(tmp_path) as control, following(control.url, tmp_path) as node:
        await node.follower.caught_up.wait()
        node.may_apply.clear()
        id = (await control.call("create_distribution", DistributionConfig=config()))["Distribution"]["Id"]
        made = await control.call("create_invalidation", DistributionId=id, InvalidationBatch=BATCH)
        found = await control.call("get_invalidation", DistributionId=id, Id=made["Invalidation"]["Id"])
        assert found["Invalidation"]["Status"] == "InProgress"
        about = (await control.call("get_distribution", Id=id))["Distribution"]
        assert (about["Status"], about["InProgressInvalidationBatches"]) == ("InProgress", 1)
        node.may_apply.set()


async def test_quotas_come_from_the_settings(tmp_path: Path) -> None:
    async with running(tmp_path, bounds=Bounds(1, 0, 0)) as control:
        id = (await control.call("create_distribution", DistributionConfig=config()))["Distribution"]["Id"]
        code = await refused(control, "create_invalidation", DistributionId=id, InvalidationBatch=BATCH)
        assert code == ("TooManyInvalidationsInProgress", 400)


async def test_keys_that_are_configured_are_needed(tmp_path: Path) -> None:
    async with running(tmp_path, keys=KEYS) as control:
        assert (await control.call("list_distributions"))["DistributionList"]["Quantity"] == 0
        tagged = {"DistributionConfig": config(), "Tags": {"Items": [{"Key": "a b", "Value": "ü"}]}}
        made = await control.call("create_distribution_with_tags", DistributionConfigWithTags=tagged)
        listed = await control.call("list_tags_for_resource", Resource=made["Distribution"]["ARN"])
        assert listed["Tags"]["Items"] == tagged["Tags"]["Items"]
        for wrong in ({"secret": "x" * 20}, {"key": "AKIAOTHER"}):
            with pytest.raises(ClientError) as refusal:
                await asyncio.to_thread(client(control.url, **wrong).list_distributions)
            assert code_of(refusal.value)[1] == 403
        status, body = await control.post("distribution", document(config(CallerReference="2")))
        assert (status, "MissingAuthenticationToken" in body) == (403, True)
        assert control.plane.state.number == 1


NAMESPACE = 'xmlns="http://cloudfront.amazonaws.com/doc/2020-05-31/"'
BOMB = b'<!DOCTYPE a [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;&a;">]><DistributionConfig>&b;</DistributionConfig>'


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "code"),
    [
        ("POST", "distribution", b"", 400, "MissingBody"),
        ("POST", "distribution", b"<", 400, "MalformedInput"),
        ("POST", "distribution", b"\x00\xff" * 1000, 400, "MalformedInput"),
        ("POST", "distribution", BOMB, 400, "MalformedInput"),
        ("POST", "distribution", b"{}", 400, "MalformedInput"),
        ("POST", "distribution", b"<DistributionConfig/>", 400, "MalformedInput"),
        ("POST", "distribution", document(config()).replace(b">true<", b">yes<"), 400, "MalformedInput"),
        ("POST", "distribution", document(config()).replace(b">80<", b">eighty<"), 400, "MalformedInput"),
        ("POST", "distribution", document(config()).replace(b">80<", b">0<"), 400, "InvalidArgument"),
        ("POST", "distribution", document(config(Comment="x")).replace(b">x<", b">x</Comment><Comment><"), 400, ""),
        ("POST", "distribution", b"x" * (BODY_MAX + 1), 413, "RequestEntityTooLarge"),
        ("POST", "distribution", document(config(Origins={"Quantity": 0})), 400, "MalformedInput"),
        ("PUT", "distribution/E1/config", document(config()), 404, "NoSuchDistribution"),
        ("PUT", "distribution/demo/config", document(config()), 400, "InvalidIfMatchVersion"),
        ("GET", "distribution?MaxItems=x", b"", 400, "InvalidArgument"),
        ("GET", "distribution?MaxItems=0", b"", 400, "InvalidArgument"),
        ("GET", "distribution?Marker=nobody", b"", 400, "InvalidArgument"),
        ("GET", "cache-policy?Type=other", b"", 400, "InvalidArgument"),
        ("GET", "tagging?Resource=nobody", b"", 400, "InvalidArgument"),
        ("GET", "tagging", b"", 400, "InvalidArgument"),
        ("GET", "distribution/E1/invalidation/I1", b"", 404, "NoSuchDistribution"),
        ("GET", "nothing", b"", 404, "UnknownOperation"),
        ("PATCH", "distribution", b"", 404, "UnknownOperation"),
        ("GET", "distribution/%FF%00/config", b"", 404, "NoSuchDistribution"),
        ("GET", "function", b"", 501, "NotImplemented"),
        ("PUT", "distribution/E1/promote-staging-config", b"", 404, "NoSuchDistribution"),
        ("PUT", "distribution/E1/associate-alias", b"", 404, "NoSuchDistribution"),
        ("GET", "conflicting-alias", b"", 404, "NoSuchDistribution"),
    ],
)
async def test_bad_input_is_refused_in_the_apis_own_words_and_changes_nothing(
    tmp_path: Path, method: str, path: str, body: bytes, status: int, code: str
) -> None:
    async with running(tmp_path) as control:
        await control.plane.change(lambda moment: _demo(moment))
        before = (control.plane.state.number, dict(control.plane.state.resources))
        answer, said = await control.post(path, body, method)
        assert (answer, f"<Code>{code}" in said) == (status, True), said
        assert "Traceback" not in said
        assert before == (control.plane.state.number, dict(control.plane.state.resources))


def _demo(moment: Any) -> Any:
    from edgeproxy.control.kinds import DISTRIBUTION
    from edgeproxy.control.things import load

    return load(moment, DISTRIBUTION, "demo", config(CallerReference="demo"), "digest")


async def test_a_page_in_a_browser_gives_no_orders(tmp_path: Path) -> None:
    async with running(tmp_path) as control:
        fields = {"Origin": "https://example.test", "Content-Type": "text/plain"}
        status, body = await control.post("distribution", document(config()), **fields)
        assert (status, "AccessDenied" in body, control.plane.state.number) == (403, True, 0)


async def test_an_error_of_ours_is_told_in_the_apis_own_words(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with running(tmp_path) as control:
        control.plane.state.resources = None  # type: ignore[assignment]  # to have something break
        status, body = await control.post("distribution/E1", b"", "GET")
        control.plane.state.resources = {}
    assert (status, "InternalFailure" in body, "Traceback" in body) == (500, True, False)
    assert "could not be carried out" in caplog.text
