"""A node's admin listener: health, readiness, metrics, status, the test clock."""

from __future__ import annotations

import json

from edgeproxy.telemetry.counters import Counter
from tests.commands import fetch
from tests.test_control_api import a_node


async def test_a_node_is_ready_only_while_all_its_workers_are_and_it_does_not_drain() -> None:
    async with a_node(test_clock=True) as (known, page):
        assert await fetch(known.admin + "/readyz") == (200, b"ready\n")
        page.ready_workers = 0
        assert await fetch(known.admin + "/readyz") == (503, b"0 of 1 workers are ready\n")
        page.ready_workers = 1
        page.draining = True
        assert await fetch(known.admin + "/readyz") == (503, b"draining\n")
        assert await fetch(known.admin + "/healthz") == (200, b"ok\n")


async def test_metrics_are_prometheus_text_over_all_workers() -> None:
    async with a_node(test_clock=True) as (known, page):
        page.rows[0].add(Counter.RESULT_HIT, 3)
        status, text = await fetch(known.admin + "/metrics")
        assert status == 200
        assert b'edgeproxy_results_total{result="Hit"} 3.0' in text
        assert b'edgeproxy_node{mode="pop",node="one",region="local"} 1.0' in text
        assert b"# TYPE edgeproxy_results_total counter" in text


async def test_status_is_one_json_object() -> None:
    async with a_node(test_clock=True) as (known, page):
        page.rows[0].add(Counter.RESULT_HIT, 3)
        status = json.loads((await fetch(known.admin + "/status"))[1])
        assert (status["name"], status["mode"], status["ready"], status["now"]) == ("one", "pop", True, 1000)
        assert status["counters"]['edgeproxy_results_total{result="Hit"}'] == 3


async def test_the_clock_is_told_and_moved() -> None:
    async with a_node(test_clock=True) as (known, page):
        assert json.loads((await fetch(known.admin + "/clock"))[1]) == {"now": 1000, "offset": 0}
        assert await fetch(known.admin + "/clock", b'{"advance": 0.5}') == (200, b'{"now": 1000.5}')
        assert page.clock_offset == 0.5


async def test_what_is_not_there_is_404_and_a_wrong_method_405() -> None:
    async with a_node(test_clock=True) as (known, _):
        assert (await fetch(known.admin + "/other"))[0] == 404
        assert (await fetch(known.admin + "/metrics", b"x"))[0] == 405


async def test_round_trip_times_are_told_once() -> None:
    async with a_node(test_clock=False) as (known, _):
        assert json.loads((await fetch(known.admin + "/rtt"))[1])["samples"] == [["192.0.2.0/24", 1, 12.0]]
        assert json.loads((await fetch(known.admin + "/rtt"))[1])["samples"] == []
