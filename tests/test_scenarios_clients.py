"""AWS's clients tell one story, each in its own words: a distribution is created, waited for, looked at, invalidated,
disabled and deleted; a stale revision is refused. None of them knows that this is not AWS."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests import aws_tools
from tests.controlling import KEYS, Running, following, running
from tests.distributions import config
from tests.tools import needs

ID, SECRET = next(iter(KEYS.items()))
ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": ID,
    "AWS_SECRET_ACCESS_KEY": SECRET,
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_CONFIG_FILE": "/dev/null",
    "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
    "NO_PROXY": "127.0.0.1",
}
PATIENCE = 60


async def test_boto3(tmp_path: Path) -> None:
    async with running(tmp_path, keys=KEYS) as control, following(control.url, tmp_path) as node:
        await node.follower.caught_up.wait()
        await asyncio.to_thread(boto3_story, control)
        assert control.plane.state.resources == {}


def boto3_story(control: Running) -> None:
    client = control.client()
    id = client.create_distribution(DistributionConfig=config())["Distribution"]["Id"]
    client.get_waiter("distribution_deployed").wait(Id=id)
    assert [each["Id"] for each in client.list_distributions()["DistributionList"]["Items"]] == [id]
    batch = {"Paths": {"Quantity": 1, "Items": ["/*"]}, "CallerReference": "1"}
    made = client.create_invalidation(DistributionId=id, InvalidationBatch=batch)["Invalidation"]["Id"]
    client.get_waiter("invalidation_completed").wait(DistributionId=id, Id=made)
    given = client.get_distribution_config(Id=id)
    changed = {**given["DistributionConfig"], "Enabled": False}
    after = client.update_distribution(Id=id, IfMatch=given["ETag"], DistributionConfig=changed)
    client.get_waiter("distribution_deployed").wait(Id=id)
    with pytest.raises(ClientError, match="PreconditionFailed"):
        client.delete_distribution(Id=id, IfMatch=given["ETag"])
    client.delete_distribution(Id=id, IfMatch=after["ETag"])
    with pytest.raises(ClientError, match="NoSuchDistribution"):
        client.get_distribution(Id=id)


@pytest.mark.slow
async def test_the_aws_command_line_tool(tmp_path: Path) -> None:
    tool = await asyncio.to_thread(aws_tools.command_line_tool)
    async with running(tmp_path, keys=KEYS) as control, following(control.url, tmp_path) as node:
        await node.follower.caught_up.wait()

        async def aws(*arguments: str) -> tuple[int, str]:
            return await run(str(tool), "cloudfront", *arguments, "--endpoint-url", control.url)

        async def said(*arguments: str) -> Any:
            code, text = await aws(*arguments)
            assert code == 0, text
            return json.loads(text) if text.strip() else None

        (tmp_path / "config.json").write_text(json.dumps(config()))
        made = await said("create-distribution", "--distribution-config", f"file://{tmp_path}/config.json")
        id = made["Distribution"]["Id"]
        await said("wait", "distribution-deployed", "--id", id)
        assert [each["Id"] for each in (await said("list-distributions"))["DistributionList"]["Items"]] == [id]
        invalidation = await said("create-invalidation", "--distribution-id", id, "--paths", "/a", "/images/*")
        assert invalidation["Invalidation"]["InvalidationBatch"]["Paths"]["Items"] == ["/a", "/images/*"]
        waited = ("--distribution-id", id, "--id", invalidation["Invalidation"]["Id"])
        await said("wait", "invalidation-completed", *waited)
        given = await said("get-distribution-config", "--id", id)
        (tmp_path / "config.json").write_text(json.dumps({**given["DistributionConfig"], "Enabled": False}))
        changed = ("--id", id, "--if-match", given["ETag"])
        after = await said("update-distribution", *changed, "--distribution-config", f"file://{tmp_path}/config.json")
        await said("wait", "distribution-deployed", "--id", id)
        code, text = await aws("delete-distribution", *changed)
        assert (code != 0, "PreconditionFailed" in text) == (True, True)
        await said("delete-distribution", "--id", id, "--if-match", after["ETag"])
        assert control.plane.state.resources == {}


JAVASCRIPT = """
import * as cf from "@aws-sdk/client-cloudfront";
import assert from "node:assert";
const client = new cf.CloudFrontClient({ endpoint: process.env.ENDPOINT, region: "us-east-1", maxAttempts: 1 });
const ask = (name, given) => client.send(new cf[name + "Command"](given));
const patience = { client, maxWaitTime: 50, minDelay: 1, maxDelay: 2 };
const DistributionConfig = JSON.parse(process.env.CONFIG);
const Id = (await ask("CreateDistribution", { DistributionConfig })).Distribution.Id;
await cf.waitUntilDistributionDeployed(patience, { Id });
const listed = await ask("ListDistributions", {});
assert.deepStrictEqual(listed.DistributionList.Items.map((each) => each.Id), [Id]);
const InvalidationBatch = { CallerReference: "1", Paths: { Quantity: 1, Items: ["/*"] } };
const made = await ask("CreateInvalidation", { DistributionId: Id, InvalidationBatch });
await cf.waitUntilInvalidationCompleted(patience, { DistributionId: Id, Id: made.Invalidation.Id });
const given = await ask("GetDistributionConfig", { Id });
const changed = { ...given.DistributionConfig, Enabled: false };
const after = await ask("UpdateDistribution", { Id, IfMatch: given.ETag, DistributionConfig: changed });
await cf.waitUntilDistributionDeployed(patience, { Id });
await assert.rejects(ask("DeleteDistribution", { Id, IfMatch: given.ETag }), { name: "PreconditionFailed" });
await ask("DeleteDistribution", { Id, IfMatch: after.ETag });
await assert.rejects(ask("GetDistribution", { Id }), { name: "NoSuchDistribution" });
console.log("told");
"""


@pytest.mark.slow
@needs("npm", "npm")
async def test_the_sdk_for_javascript(tmp_path: Path) -> None:
    folder = await asyncio.to_thread(aws_tools.javascript_sdk)
    story = tmp_path / "story.mjs"
    story.write_text(JAVASCRIPT)
    (tmp_path / "node_modules").symlink_to(folder / "node_modules")
    async with running(tmp_path, keys=KEYS) as control, following(control.url, tmp_path) as node:
        await node.follower.caught_up.wait()
        program = shutil.which("node") or "node"
        code, text = await run(program, str(story), ENDPOINT=control.url, CONFIG=json.dumps(config()))
        assert (code, text.rstrip().endswith("told")) == (0, True), text
        assert control.plane.state.resources == {}


async def run(*arguments: str, **environment: str) -> tuple[int, str]:
    """Exit code and output of a program."""
    process = await asyncio.create_subprocess_exec(
        *arguments,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env={**os.environ, **ENVIRONMENT, **environment},
    )
    async with asyncio.timeout(PATIENCE):
        output, _ = await process.communicate()
    return process.returncode or 0, output.decode()
