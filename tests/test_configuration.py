"""Whole configurations: every fault of every file at once, or one value that holds."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from hypothesis import strategies as st

from edgeproxy.cloudfront.distribution import read_distribution
from edgeproxy.cloudfront.policies import Policies
from edgeproxy.configuration import Configuration, check_text, load, origin_only
from edgeproxy.errors import ConfigError
from edgeproxy.model import Choice, OriginScheme, Rules, Ttl
from edgeproxy.reading import Document
from edgeproxy.settings import Settings
from edgeproxy.topology import setting_faults
from edgeproxy.validation import validate
from tests.distributions import behavior, bucket, config, items, legacy, web

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes cdn.toml and JSON files beside it."""

    def write(toml: str, **files: Any) -> Path:
        for name, data in files.items():
            (tmp_path / f"{name}.json").write_text(data if isinstance(data, str) else json.dumps(data))
        path = tmp_path / "cdn.toml"
        path.write_text(toml)
        return path

    return write


def refusals(path: Path, **environment: str) -> list[str]:
    with pytest.raises(ConfigError) as refusal:
        load(path, environment)
    return [str(fault).removeprefix(f"{path.parent}/") for fault in refusal.value.faults]


CDN = """\
zone = "cdn.test"
policies = ["short.json"]
[tier]
key = "0123456789abcdef"
[[nodes]]
name = "eu"
mode = "regional"
listen = ["127.0.0.1:9001"]
[[nodes]]
name = "fra"
mode = "pop"
upstream = "eu"
listen = ["127.0.0.1:9002"]
[[distributions]]
file = "demo.json"
[[distributions]]
file = "other.json"
id = "E2OTHER"
[origins]
"origin.example.com" = "http://127.0.0.1:3000"
"""
SHORT = {"CachePolicy": {"Id": "p1", "CachePolicyConfig": {"Name": "short", "MinTTL": 0, "MaxTTL": 5}}}


def good(write: Write, toml: str = CDN, **files: Any) -> Path:
    demo = config(DefaultCacheBehavior=behavior(CachePolicyId="p1"), Aliases=items("www.example.test"))
    return write(
        toml, **{"short": SHORT, "demo": demo, "other": {"ETag": "E", "DistributionConfig": config()}, **files}
    )


def test_a_whole_configuration_is_read(write: Write) -> None:
    path = good(write)
    loaded = load(path, {})
    assert isinstance(loaded, Configuration)
    assert loaded.path == str(path)
    assert [node.name for node in loaded.settings.nodes] == ["eu", "fra"]
    assert [(each.id, each.domain) for each in loaded.distributions] == [
        ("demo", "demo.cdn.test"),
        ("E2OTHER", "e2other.cdn.test"),
    ]
    demo = loaded.distributions[0]
    assert demo.behaviors[-1].caching.ttl == Ttl(0, 5, 5)
    assert demo.origins["web"].host == "127.0.0.1"
    assert loaded.notes == ()


def test_the_same_files_give_the_same_configuration_everywhere(write: Write) -> None:
    path = good(write)
    seen: dict[Path, bytes] = {}

    def read(file: Path) -> bytes:
        return seen.setdefault(file, file.read_bytes())

    first = load(path, {}, read)
    for file in seen:
        file.write_text("gone")
    assert load(path, {}, lambda file: seen[file]) == first
    assert len(seen) == 4


def test_every_fault_of_every_file_is_told_at_once(write: Write) -> None:
    toml = """\
policies = ["short.json", "none.json"]
colour = "red"
[connections]
header_timeout = 0
[[nodes]]
name = "fra"
mode = "pop"
upstream = "eu"
[[distributions]]
file = "demo.json"
[[distributions]]
file = "broken.json"
"""
    short = {"CachePolicyConfig": {"Name": "short", "MinTTL": 9, "MaxTTL": 5, "Default": 1}}
    demo = config(
        DefaultCacheBehavior=behavior("wbe"), DefaultRootObject="a b", Origins=items(web(custom={"HTTPPort": 0}))
    )
    found = refusals(write(toml, short=short, demo=demo, broken='{"Origins":'))
    assert found == [
        "cdn.toml: connections.header_timeout (line 4) is 0: expected a time from 0.1 to 3600 s",
        'cdn.toml: colour (line 2) is "red": no such name here',
        'cdn.toml: nodes[0].upstream (line 8) is "eu": expected the name of a regional',
        "short.json: CachePolicyConfig.Default is 1: no such name here; did you mean DefaultTTL?",
        "none.json: cannot be read: No such file or directory",
        "broken.json: line 1, column 12: JSON syntax: Expecting value",
        'demo.json: DistributionConfig.DefaultRootObject is "a b": InvalidDefaultRootObject: '
        "expected up to 255 characters of A-Z a-z 0-9 _ - . * $ / ~ \" ' &",
        "demo.json: DistributionConfig.Origins.Items[0].CustomOriginConfig.HTTPPort is 0: InvalidArgument: "
        "expected a whole number from 1 to 65535",
        'demo.json: DistributionConfig.DefaultCacheBehavior.TargetOriginId is "wbe": '
        "NoSuchOrigin: no origin or origin group has this id; did you mean web?",
    ]


def test_an_id_or_a_host_name_belongs_to_one_distribution(write: Write) -> None:
    toml = CDN.replace('id = "E2OTHER"', 'id = "Demo"')
    assert [fault.partition(" is ")[0] for fault in refusals(good(write, toml))] == ["other.json: id"]
    for aliases, place in (
        (["www.example.test"], "Items[0]"),
        (["a.test", "demo.cdn.test"], "Items[1]"),
        (["a.test", "a.test"], "Items[1]"),
    ):
        (fault,) = refusals(good(write, other=config(Aliases=items(*aliases))))
        assert fault.startswith(f"other.json: DistributionConfig.Aliases.{place} is ")
        assert "CNAMEAlreadyExists" in fault


def test_a_wildcard_beside_an_exact_name_is_no_conflict(write: Write) -> None:
    assert load(good(write, other=config(Aliases=items("*.example.test", "e2other.cdn.test"))), {}).notes == ()


@pytest.mark.parametrize(
    ("environment", "in_file", "key"),
    [
        ({}, True, "0123456789abcdef"),
        ({"EDGEPROXY_TIER_KEY": "fedcba9876543210"}, True, "0123456789abcdef"),
        ({"EDGEPROXY_TIER_KEY": "fedcba9876543210"}, False, "fedcba9876543210"),
        ({"EDGEPROXY_TIER_KEY": ""}, False, None),
        ({}, False, None),
    ],
)
def test_the_tier_key_comes_from_the_file_or_the_environment(
    write: Write, environment: dict[str, str], in_file: bool, key: str | None
) -> None:
    toml = CDN if in_file else CDN.replace('[tier]\nkey = "0123456789abcdef"\n', "")
    assert load(good(write, toml), environment).settings.tier.key == key


def test_a_tier_key_that_cannot_travel_is_refused_and_not_shown(write: Write) -> None:
    (fault,) = refusals(good(write, CDN.replace('key = "0123456789abcdef"', "")), EDGEPROXY_TIER_KEY="sword fish")
    assert "tier.key" in fault
    assert "sword" not in fault


def test_files_are_found_beside_the_settings(write: Write) -> None:
    toml = CDN + '[upstream]\nca_file = "ca.pem"\n[[certificates]]\ncertificate = "ca.pem"\nkey = "ca.pem"\n'
    path = good(write, toml)
    (path.parent / "ca.pem").write_text("x")
    settings = load(path, {}).settings
    expected = str(path.parent / "ca.pem")
    assert settings.upstream.ca_file == settings.certificates[0].certificate == settings.certificates[0].key == expected


def test_notes_of_all_files_are_kept(write: Write) -> None:
    toml = CDN + '"nobody.test" = "http://127.0.0.1:1"\n'
    notes = [str(note) for note in load(good(write, toml, other=config(HttpVersion="http2")), {}).notes]
    assert [note.partition("cdn.toml: ")[2] or note.partition("other.json: ")[2] for note in notes] == [
        'origins."nobody.test" (line 21): has no effect: no distribution has an origin of this name',
        "DistributionConfig.HttpVersion: accepted, not honoured yet: viewers are served over HTTP/1.1",
    ]


def test_check_tells_kinds_of_files_apart_by_content(write: Write) -> None:
    path = good(write, demo=config(HttpVersion="http3", DefaultCacheBehavior=behavior(CachePolicyId="p1")))
    assert check_text(path, {}).splitlines()[0] == f"{path}: settings for 2 nodes, 2 distributions: no faults"
    said = check_text(path.parent / "demo.json", {})
    assert "distribution demo: no faults" in said
    assert said.count("\nnote: ") == 2
    assert check_text(path.parent / "short.json", {}).endswith("policies: no faults")
    for text, fault in (
        ("{}", "expected settings"),
        ('{"a": ', "JSON syntax"),
        ("[a\n", "TOML syntax"),
        ('[[{"a":1}]]', "is not known in a policy file"),
        ("hello", "TOML syntax"),
    ):
        path.write_text(text)
        with pytest.raises(ConfigError, match=fault):
            check_text(path, {})


def test_ten_megabytes_of_anything_are_refused_at_once(write: Write) -> None:
    for text in ("x" * 10_000_000, "[[nodes]]\n" * 1_000_000, "{" * 10_000_000):
        (fault,) = refusals(write(text))
        assert "is larger than" in fault or "is longer than" in fault or "JSON" in fault or "TOML" in fault


def test_a_file_full_of_faults_is_bounded(write: Write) -> None:
    found = refusals(write("[[nodes]]\n" * 20_000))
    assert len(found) == 101
    assert found[-1] == "cdn.toml: and 39900 more faults"


@pytest.mark.parametrize(
    ("url", "host", "port", "scheme", "path"),
    [
        ("http://127.0.0.1:3000", "127.0.0.1", 3000, OriginScheme.HTTP, ""),
        ("https://app.test/base/", "app.test", 443, OriginScheme.HTTPS, "/base"),
        ("http://[::1]:8080", "::1", 8080, OriginScheme.HTTP, ""),
    ],
)
def test_one_origin_needs_no_file(url: str, host: str, port: int, scheme: OriginScheme, path: str) -> None:
    for rules in Rules:
        made = origin_only(url, rules)
        origin = made.origins["origin"]
        assert (origin.host, origin.scheme, origin.path) == (host, scheme, path)
        assert port in (origin.http_port, origin.https_port)
        (only,) = made.behaviors
        assert made.any_host
        assert only.allowed_methods is None
        assert only.caching.rules is made.rules is rules
        assert only.key.headers == (b"host",)
        assert only.key.query.choice is only.forward.query.choice is Choice.ALL
        assert only.forward.headers.picks(b"host")
    assert origin_only(url, Rules.RFC9111).behaviors[0].forward.cookies.choice is Choice.ALL
    assert not origin_only(url, Rules.CLOUDFRONT).behaviors[0].caching.forwards_cookies
    assert origin_only(url, Rules.RFC9111).revision != origin_only(url, Rules.CLOUDFRONT).revision


def test_a_url_that_names_no_origin_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"--origin is ftp://a: expected http://HOST"):
        origin_only("ftp://a", Rules.RFC9111)


JUNK = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text()
    | st.sampled_from(["*", "web", "/"]),
    lambda inside: st.lists(inside, max_size=3) | st.dictionaries(st.text(max_size=8), inside, max_size=3),
    max_leaves=5,
)
WHOLE: dict[str, Any] = {
    "settings": {
        "zone": "a.test",
        "nodes": [{"name": "eu", "mode": "regional", "listen": ["127.0.0.1:1"], "addresses": ["127.0.0.1"]}],
        "resolver": {"networks": [{"network": "10.0.0.0/8", "pops": ["a"]}], "default": [], "listen": []},
        "distributions": [{"file": "d.json"}],
        "policies": ["p.json"],
        "certificates": [{"certificate": "x", "key": "y"}],
        "origins": {"a.test": "http://b"},
        "trust": {"proxies": ["10.0.0.0/8"]},
        "tier": {"key": "k"},
        "log": {"path": "off"},
        "upstream": {"ca_file": "x"},
    },
    "distribution": {
        "DistributionConfig": config(
            Origins=items(web(CustomHeaders=items({"HeaderName": "X-A", "HeaderValue": "1"})), bucket()),
            Aliases=items("www.example.test"),
            CacheBehaviors=items(
                legacy(PathPattern="/x"), behavior(PathPattern="/y", OriginRequestPolicyId="AllViewer")
            ),
            CustomErrorResponses=items({"ErrorCode": 404}),
        )
    },
    "policy": {"CachePolicy": {"Id": "p1", "CachePolicyConfig": {"Name": "a", "MinTTL": 1}}},
}


def places(data: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inside = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    return [at, *(place for step, value in inside for place in places(value, (*at, step)))]


def replaced(data: Any, at: tuple[Any, ...], junk: Any) -> Any:
    if not at:
        return junk
    copied = copy.copy(data)
    copied[at[0]] = replaced(data[at[0]], at[1:], junk)
    return copied


@hypothesis.settings(max_examples=150, deadline=None)
@hypothesis.given(st.sampled_from(places(WHOLE)[1:]), JUNK)
def test_whatever_stands_anywhere_there_are_faults_or_a_configuration(at: tuple[Any, ...], junk: Any) -> None:
    broken = replaced(WHOLE, at, junk)
    document = Document("cdn.toml", broken["settings"])
    validate(Settings, document)
    list(setting_faults(document, None))
    policies = Policies()
    policies.read(Document("p.json", broken["policy"]))
    result = read_distribution(
        Document("d.json", broken["distribution"]), zone="a.test", policies=policies, redirects={}
    )
    assert (result.distribution is None) is bool(result.faults)
    assert all(fault.place for fault in result.faults)
