"""The benchmark beside other servers runs; what it says about speed is not judged here."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.bench.http import Measured, put, ratios
from tests.bench.rivals import program


@pytest.mark.skipif(None in (program("nginx"), program("wrk")), reason="needs nginx and wrk")
def test_one_row_is_measured_beside_nginx() -> None:
    command = [sys.executable, "-m", "tests.bench", "--quick", "--only", "range"]
    done = subprocess.run([*command, "--against", "nginx", "--json"], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    servers = json.loads(done.stdout)["rows"]["range"]["servers"]
    assert set(servers) == {"edgeproxy", "nginx"}
    for name, measured in servers.items():
        assert len(measured["microseconds"]) == 1, name
        assert measured["per_second"][0] > 0, name


def test_ratios_are_those_of_the_same_round() -> None:
    ours, theirs = Measured(microseconds=[10.0, 40.0, 10.0]), Measured(microseconds=[20.0, 20.0, 10.0])
    assert ratios(ours, theirs) == (1.0, 0.5, 2.0)


def test_a_table_takes_the_place_of_the_one_before(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- bench http -->\nold\n<!-- end of bench http -->\nafter\n")
    put(page, "http", "new")
    assert page.read_text() == "before\n<!-- bench http -->\nnew\n<!-- end of bench http -->\nafter\n"
    put(page, "dns", "other")
    assert page.read_text().endswith("after\n\n<!-- bench dns -->\nother\n<!-- end of bench dns -->\n")
