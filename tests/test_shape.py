"""The shape of the package: who may import whom, and what the inner layers may not know (ARCHITECTURE, "Layout")."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent / "edgeproxy"

WORDS = {"errors", "headers", "message", "model", "outcome", "settings", "units", "values"}
LAYERS: dict[str, int] = {
    **dict.fromkeys(WORDS, 0),
    "rules": 1,
    "reading": 1,
    "feed": 1,
    "places": 1,
    "validation": 2,
    "telemetry": 2,
    "cloudfront": 3,
    "reference": 3,
    "topology": 4,
    "configuration": 5,
    "store": 5,
    "upstream": 5,
    "following": 5,
    "edge": 6,
    "dns": 6,
    "control": 6,
    "origin": 6,
    "sources": 7,
    "binding": 7,
    "supervisor": 7,
    "processes": 8,
    "feeding": 9,
    "nodes": 10,
    "children": 11,
    "resolving": 11,
    "reloading": 11,
    "roles": 12,
    "tables": 12,
    "caches": 13,
    "explain": 13,
    "running": 13,
    "cli": 14,
    "__main__": 15,
    "__init__": 0,
}
"""A module imports its own part, and parts of lower layers only."""

SIBLINGS = {"edge", "dns", "control", "origin"}
PURE = {*WORDS, "rules", "cloudfront", "reading", "validation", "feed"}
PURE_FILES = {
    *(f"dns/{name}.py" for name in ("policy", "answer", "records", "edns", "query", "names", "zone", "latency")),
    *(f"dns/{name}.py" for name in ("cookies", "limit", "memo", "standing", "verdicts", "tally", "explain")),
    "places/networks.py",
    "places/geography.py",
    "telemetry/record.py",
    *(f"control/{name}.py" for name in ("state", "kinds", "records", "things", "checks", "promotion", "invalidations")),
    *(f"control/{name}.py" for name in ("operations", "views", "defaults", "managed", "refusals", "service", "xml")),
}
BANNED_IN_PURE = {"asyncio", "socket", "time", "random", "aiohttp", "uvloop", "threading", "subprocess", "os"}
ASSEMBLY = {
    "explain",
    "roles",
    "nodes",
    "children",
    "resolving",
    "processes",
    "feeding",
    "reloading",
    "supervisor",
    "binding",
    "cli",
    "caches",
    "tables",
    "sources",
}

HOMES = {
    "aiohttp": {
        "edge/admin.py",
        "control",
        "following",
        "feeding.py",
        "origin",
        "children.py",
        "dns/admin.py",
        "dns/health.py",
    },
    "uvloop": {"processes.py"},
    "httptools": {"upstream"},
    "dns": {"dns/records.py"},
    "maxminddb": {"places/location.py"},
    "cachetools": {"store/memory.py", "store/eviction.py", "edge", "control/streams.py"},
    "botocore": {"control/service.py", "control/access.py"},
    "click": {"cli.py", "caches.py", "running.py"},
    "rich": {"tables.py"},
    "prometheus_client": {"telemetry/metrics.py"},
    "cryptography": {"edge/authority.py", "edge/certificates.py", "control/checks.py"},
    "pydantic": {"settings.py", "reading.py", "validation.py", "configuration.py", "reference.py", "cloudfront"},
    "pydantic_core": {"settings.py", "reading.py", "validation.py", "configuration.py", "reference.py", "cloudfront"},
    "xxhash": {"edge/page.py", "store"},
    "brotli": {"edge/compressor.py"},
}
"""Where each third-party library may be imported: files, or whole parts."""


def modules() -> list[Path]:
    return sorted(ROOT.rglob("*.py"))


def part_of(path: Path) -> str:
    relative = path.relative_to(ROOT)
    return relative.parts[0].removesuffix(".py")


def imports(path: Path) -> Iterator[str]:
    """Every module a file imports, those inside functions too."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            if node.module == "edgeproxy":
                yield from (f"edgeproxy.{alias.name}" for alias in node.names)
            elif node.module is not None:
                yield node.module


def own(path: Path) -> Iterator[str]:
    """The parts of edgeproxy a file imports."""
    for name in imports(path):
        if name.startswith("edgeproxy."):
            part = name.split(".")[1]
            if part != "__version__":
                yield part


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_go_down_only(path: Path) -> None:
    part = part_of(path)
    for imported in own(path):
        if imported != part:
            assert LAYERS[imported] < LAYERS[part] or (part in WORDS and imported in WORDS), f"{part} -> {imported}"


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(ROOT)))
def test_siblings_store_and_rules_keep_to_themselves(path: Path) -> None:
    part, imported = part_of(path), set(own(path))
    if part in SIBLINGS:
        assert not (imported & SIBLINGS) - {part}
    if part == "store":
        assert not imported & {"rules", "cloudfront"}
    if part == "rules":
        assert imported <= WORDS | {"rules"}
    if part in SIBLINGS | {"store", "upstream", "rules", "cloudfront"}:
        assert not imported & ASSEMBLY


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(ROOT)))
def test_what_decides_knows_no_io_no_clock_and_no_chance(path: Path) -> None:
    relative = str(path.relative_to(ROOT))
    if part_of(path) in PURE or relative in PURE_FILES:
        assert not {name.split(".")[0] for name in imports(path)} & BANNED_IN_PURE


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(ROOT)))
def test_each_library_has_its_homes(path: Path) -> None:
    relative = str(path.relative_to(ROOT))
    for name in imports(path):
        top = name.split(".")[0]
        if top == "edgeproxy" or top in sys.stdlib_module_names:
            continue
        assert top in HOMES, f"{relative} imports {top}, which has no home in this table"
        assert any(relative == home or relative.startswith(home + "/") for home in HOMES[top]), f"{relative}: {top}"


def test_no_module_is_too_long_to_read() -> None:
    lengths = {str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in modules()}
    assert not {name: length for name, length in lengths.items() if length > 450}


THROUGH_NODES = {
    "edge": {
        "admission",
        "ask",
        "dates",
        "errorpages",
        "fetch",
        "nexthop",
        "node",
        "onward",
        "passing",
        "refusing",
        "pipeline",
        "recorder",
        "worker",
        "searches",
        "stages",
        "pieces",
        "settling",
        "spans",
        "supply",
    },
    "store": {
        "browsing",
        "carrying",
        "chores",
        "deposit",
        "large",
        "layer",
        "leaving",
        "orders",
        "pending",
        "reading",
        "shard",
        "tally",
        "tiers",
        "writer",
        "writing",
    },
    "": {"nodes", "children", "processes", "feeding", "reloading", "roles", "cli", "__main__", "running", "tables"},
}
"""What has no test module of its name: the scenarios, the processes and `up` run all of it, through real sockets; and
the tests of the disk store, through real files."""

WORDS_ONLY = {"errors", "message", "model", "outcome", "settings"}
"""Declarations, which mypy checks and everything else uses."""


def test_every_module_has_its_tests() -> None:
    tests = {path.stem for path in Path(__file__).parent.glob("test_*.py")}
    missing = []
    for path in modules():
        relative = path.relative_to(ROOT).with_suffix("")
        part = relative.parts[0] if len(relative.parts) > 1 else ""
        if (
            path.stem == "__init__"
            or path.stem in THROUGH_NODES.get(part, set())
            or (not part and path.stem in WORDS_ONLY)
        ):
            continue
        if "test_" + "_".join(relative.parts) not in tests:
            missing.append(str(relative))
    assert missing == []


def test_the_command_that_serves_does_not_load_what_draws_tables() -> None:
    assert "rich" not in {name.split(".")[0] for name in imports(ROOT / "roles.py")}
    assert "rich" not in {name.split(".")[0] for name in imports(ROOT / "cli.py")}
