"""Counters and gauges as Prometheus text (exposition format 0.0.4)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from edgeproxy.telemetry.counters import Counter, Counters, total

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


@dataclass(frozen=True, slots=True)
class Gauge:
    """A number that no row holds: an uptime, workers alive, or 1 with labels that say what this is."""

    metric: str
    sentence: str
    value: float
    labels: Mapping[str, str] = field(default_factory=dict)
    counts: bool = False
    """It only grows: a counter, whose labels are not known beforehand."""


def _labels(counter: Counter) -> dict[str, str]:
    """The labels as declared: `name="value"`, commas between."""
    pairs = (label.partition("=") for label in counter.labels.split(",") if label)
    return {name: value.strip('"') for name, _, value in pairs}


class _Scrape(Collector):
    """The families of one scrape."""

    def __init__(self, rows: Sequence[Counters], gauges: Sequence[Gauge]) -> None:
        self._rows = rows
        self._gauges = gauges

    def collect(self) -> Iterator[CounterMetricFamily | GaugeMetricFamily]:
        # Members of one metric may stand apart in the table; in the text they stand together, or readers refuse it.
        families: dict[str, CounterMetricFamily | GaugeMetricFamily] = {}
        for counter in Counter:
            kind = GaugeMetricFamily if counter.gauge else CounterMetricFamily
            labels = _labels(counter)
            if counter.metric not in families:
                families[counter.metric] = kind(counter.metric, counter.sentence, labels=list(labels))
            families[counter.metric].add_metric(list(labels.values()), total(self._rows, counter))
        for gauge in self._gauges:
            if gauge.metric not in families:
                kind = CounterMetricFamily if gauge.counts else GaugeMetricFamily
                families[gauge.metric] = kind(gauge.metric, gauge.sentence, labels=list(gauge.labels))
            families[gauge.metric].add_metric(list(gauge.labels.values()), gauge.value)
        yield from families.values()


def render(rows: Sequence[Counters], gauges: Sequence[Gauge] = ()) -> bytes:
    """All counters summed over `rows`, then `gauges`; to be sent as CONTENT_TYPE."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Scrape(rows, gauges))
    return generate_latest(registry)
