"""Facts about CloudFront as data, and how each is shown: a configuration, requests through a running node, what the
viewer and the origin then see.

    Fact("1.1 a method outside the set is 403", {"behavior": …}, [Step(method="PUT", status=403, asked=0)])

The number in front is the section of the fact sheet. Each fact has nodes and an origin of its own.
"""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edgeproxy.configuration import load
from edgeproxy.model import Distribution, Rules
from edgeproxy.places.clients import Clients
from edgeproxy.settings import Network
from tests.scripted import Ask, ScriptedOrigin, Viewer
from tests.tier import Got, Node, config_for, node, receive
from tests.wire import FieldsLike, field_lines

HOST = "demo.edge.localhost"
OPTIMIZED = "658327ea-f89d-4fab-a63d-7e88639e58f6"
DISABLED = "4135ea2d-6df8-44a3-9df3-4b5a84be39ad"
BY_ORIGIN = "83da9c7e-98b4-4e11-a168-04f0df8e2c65"

JSON = dict[str, Any]  # any JSON object
NOON = 1_790_000_000.0
"""The nodes' time, which stands still but for what a step says: dates on the wire know whole seconds only."""

CLIENTS = Clients(
    [
        Network(network="203.0.113.0/24", country="DE", latitude=50.0, longitude=8.0),
        Network(network="198.51.100.0/24", country="US"),
    ]
)
GERMAN, AMERICAN, NOWHERE = "203.0.113.7", "198.51.100.7", "192.0.2.7"


@dataclass(frozen=True)
class Step:
    """One request, what the origin says if it is asked, and what is to be seen. None and absent: not looked at."""

    target: str = "/a"
    headers: FieldsLike = ()
    body: bytes = b""
    method: str = "GET"
    host: str = HOST
    version: str = "1.1"
    advance: float = 0
    """Seconds that pass before."""
    origin: tuple[int, FieldsLike, bytes] | None = None
    """What the origin answers from now on."""
    at: Mapping[str, tuple[int, FieldsLike, bytes]] = field(default_factory=dict)
    """The same for single paths."""
    gone: bool = False
    """From now on the origin resets every connection."""
    status: int | None = None
    says: Mapping[str, str | None] = field(default_factory=dict)
    """Fields of the answer; None: absent; a value that begins with ~ is a pattern."""
    content: bytes | None = None
    contains: bytes | None = None
    asked: int | None = None
    """How often the origin is asked because of this step."""
    gets: Mapping[str, str | None] = field(default_factory=dict)
    """Fields of the last request it got."""
    path: str | None = None
    """Target of that request."""


@dataclass(frozen=True)
class Fact:
    """What CloudFront does, by section."""

    name: str
    config: JSON
    steps: Sequence[Step]
    policies: Sequence[JSON] = ()
    """By id p0, p1, …"""


def items(*values: Any) -> JSON:
    """A list as the API writes it."""
    return {"Quantity": len(values), "Items": list(values)}


def cache(
    ttl: tuple[int, int, int] = (0, 86400, 31536000), gzip: bool = False, brotli: bool = False, **parts: Any
) -> JSON:
    """A cache policy. `parts`: headers, cookies, query: a behaviour, or names to list."""
    return {
        "CachePolicyConfig": {
            "Name": "c", "MinTTL": ttl[0], "DefaultTTL": ttl[1], "MaxTTL": ttl[2],
            "ParametersInCacheKeyAndForwardedToOrigin": {
                "EnableAcceptEncodingGzip": gzip, "EnableAcceptEncodingBrotli": brotli, **choices(**parts)},
        }
    }  # fmt: skip


def sent(**parts: Any) -> JSON:
    """An origin request policy; as `cache`."""
    return {"OriginRequestPolicyConfig": {"Name": "o", **choices(**parts)}}


def choices(headers: Any = "none", cookies: Any = "none", query: Any = "none") -> JSON:
    """Each: the name of a behaviour, a list of names, or (behaviour, names)."""
    made = {}
    for kind, given in (("Header", headers), ("Cookie", cookies), ("QueryString", query)):
        how, names = (
            ("whitelist", given) if isinstance(given, list) else (given, []) if isinstance(given, str) else given
        )
        part: JSON = {f"{kind}Behavior": how}
        if names:
            part[f"{kind}s"] = items(*names)
        made[f"{kind}sConfig"] = part
    return made


def response(**parts: Any) -> JSON:
    """A response headers policy."""
    return {"ResponseHeadersPolicyConfig": {"Name": "r", **parts}}


def distribution(config: JSON, policies: Sequence[JSON] = (), name: str = "demo") -> Distribution:
    """The distribution of a configuration and of policies called p0, p1, …"""
    files = {f"/p{number}.json": json.dumps({"Id": f"p{number}", **each}) for number, each in enumerate(policies)}
    listed = ", ".join(f'"{each[1:]}"' for each in files)
    files["/s.toml"] = f'policies = [{listed}]\n[[distributions]]\nfile = "{name}.json"\n'
    files[f"/{name}.json"] = json.dumps(config)
    return load(Path("/s.toml"), {}, lambda path: files[str(path)].encode()).distributions[0]


async def show(fact: Fact, workers: int = 1) -> None:
    """Run a fact's steps through a POP of its own."""
    async with ScriptedOrigin() as origin:
        served = distribution(config_for(origin.port, **dict(fact.config)), fact.policies)
        origin.always(200, {}, b"hello")
        common: JSON = {"distributions": [served], "rules": Rules.CLOUDFRONT, "clients": CLIENTS, "code": "FRA50-P1"}
        async with node(**common, workers=workers, wall=lambda: NOON) as pop:
            for number, step in enumerate(fact.steps):
                await take(step, pop, origin, f"{fact.name}: step {number}")


async def take(step: Step, pop: Node, origin: ScriptedOrigin, where: str) -> Got:
    """One step, and what is to be seen after it."""
    if step.advance:
        pop.advance(step.advance)
    if step.origin is not None:
        origin.always(*step.origin)
    for path, answer in step.at.items():
        origin.on(path, _answering(*answer))
    if step.gone:
        origin.otherwise(_reset)
    before = origin.requests
    got = await _ask(step, pop)
    assert step.status in (None, got.status), f"{where}: status {got.status}"
    for name, value in step.says.items():
        assert _fits(got.header(name), value), f"{where}: {name}: {got.header(name)!r}"
    assert step.content in (None, got.body), f"{where}: body {got.body[:80]!r}"
    assert step.contains is None or step.contains in got.body, f"{where}: body {got.body[:1000]!r}"
    assert step.asked in (None, origin.requests - before), f"{where}: the origin was asked {origin.requests - before}"
    if step.gets or step.path:
        heard = origin.log[-1]
        assert step.path in (None, heard.target), f"{where}: the origin was asked for {heard.target}"
        for name, value in step.gets.items():
            assert _fits(heard.header(name), value), f"{where}: the origin got {name}: {heard.header(name)!r}"
    return got


def _answering(status: int, headers: FieldsLike, body: bytes) -> Callable[[Ask], Awaitable[None]]:
    async def answer(ask: Ask) -> None:
        await ask.answer(status, headers, body)

    return answer


async def _reset(ask: Ask) -> None:
    ask.reset()


async def _ask(step: Step, pop: Node) -> Got:
    if step.version == "1.1":
        return await pop.ask(step.target, step.headers, step.body, method=step.method, host=step.host)
    async with await Viewer.connect(pop.port) as viewer:
        line = f"{step.method} {step.target} HTTP/{step.version}\r\nHost: {step.host}\r\n".encode()
        await viewer.send(line + field_lines(step.headers) + b"\r\n")
        return await receive(viewer)


def _fits(found: str | None, expected: str | None) -> bool:
    if expected is not None and expected.startswith("~"):
        return found is not None and re.fullmatch(expected[1:], found) is not None
    return found == expected
