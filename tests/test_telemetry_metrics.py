"""The metrics text: rows are summed, every metric is declared once, and Prometheus' own parser reads it."""

from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families

from edgeproxy.telemetry.counters import Counter, Counters
from edgeproxy.telemetry.metrics import CONTENT_TYPE, Gauge, render


def samples(text: bytes) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    families = text_string_to_metric_families(text.decode())
    read = [sample for family in families for sample in family.samples]
    found = {(sample.name, tuple(sorted(sample.labels.items()))): sample.value for sample in read}
    assert len(found) == len(read), "no sample occurs twice"
    return found


def test_rows_of_all_workers_are_summed() -> None:
    rows = [Counters(), Counters()]
    rows[0].add(Counter.CONNECTIONS, 2)
    rows[1].add(Counter.CONNECTIONS, 40)
    rows[0].add(Counter.CONNECTIONS_OPEN, 3)
    rows[1].add(Counter.CONNECTIONS_OPEN, -1)
    rows[1].add(Counter.RESULT_HIT, 7)
    read = samples(render(rows))
    assert read["edgeproxy_connections_total", ()] == 42
    assert read["edgeproxy_connections_open", ()] == 2
    assert read["edgeproxy_results_total", (("result", "Hit"),)] == 7
    assert read["edgeproxy_results_total", (("result", "Miss"),)] == 0


def test_every_counter_is_there_with_its_type_and_its_sentence() -> None:
    lines = render([Counters()]).decode().splitlines()
    for counter in Counter:
        assert lines.count(f"# TYPE {counter.metric} {'gauge' if counter.gauge else 'counter'}") == 1
        assert lines.count(f"# HELP {counter.metric} {counter.sentence}") == 1
    assert len(samples("\n".join(lines).encode() + b"\n")) == len(Counter)


def test_gauges_follow_with_labels_that_may_hold_anything() -> None:
    gauges = [
        Gauge("edgeproxy_node_info", "What this node is.", 1, {"node": 'a "b"\\\n', "mode": "pop"}),
        Gauge("edgeproxy_workers_alive", "Workers that run now.", 2),
        Gauge("edgeproxy_uptime_seconds", "Since the node started.", 12.5),
    ]
    text = render([], gauges)
    read = samples(text)
    assert read["edgeproxy_node_info", (("mode", "pop"), ("node", 'a "b"\\\n'))] == 1
    assert read["edgeproxy_workers_alive", ()] == 2
    assert read["edgeproxy_uptime_seconds", ()] == 12.5
    assert b"# TYPE edgeproxy_uptime_seconds gauge\n" in text


def test_the_content_type_is_that_of_the_format() -> None:
    assert CONTENT_TYPE == "text/plain; version=0.0.4; charset=utf-8"
