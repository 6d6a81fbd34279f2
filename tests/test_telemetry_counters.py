"""Counters: declared once, with a sentence, and named so that Prometheus takes them."""

from __future__ import annotations

import re

from edgeproxy.telemetry.counters import ROW, Counter, Counters, total


def test_each_is_declared_once_with_a_sentence_and_a_good_name() -> None:
    assert len({(counter.metric, counter.labels) for counter in Counter}) == len(Counter) == ROW
    for counter in Counter:
        assert re.fullmatch(r"edgeproxy_[a-z0-9_]+", counter.metric), counter.metric
        assert counter.gauge is not counter.metric.endswith("_total"), counter.metric
        assert counter.sentence.endswith("."), counter.metric
        assert counter.labels == "" or re.fullmatch(r'[a-z]+="[A-Za-z0-9_-]+"', counter.labels), counter.labels


def test_one_metric_has_one_sentence() -> None:
    sentences = {counter.metric: counter.sentence for counter in Counter}
    assert all(sentences[counter.metric] == counter.sentence for counter in Counter)


def test_rows_are_summed() -> None:
    rows = [Counters(), Counters()]
    rows[0].add(Counter.REQUESTS)
    rows[1].add(Counter.REQUESTS, 4)
    rows[1].put(Counter.STORE_BYTES, 7)
    assert (total(rows, Counter.REQUESTS), rows[1][Counter.STORE_BYTES]) == (5, 7)
