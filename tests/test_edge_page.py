"""What workers share: words that are whole, counters with one writer each, generations by path."""

from __future__ import annotations

import os

from edgeproxy.edge.page import SharedPage, owner_of
from edgeproxy.telemetry.counters import Counter


def test_a_child_process_sees_what_the_parent_writes_and_the_other_way_round() -> None:
    page = SharedPage(2)
    page.advance_clock(1.5)
    page.ready_workers = 2
    page.next_generation("d", b"/a")
    pid = os.fork()
    if pid == 0:
        seen = (page.clock_offset, page.ready_workers, page.generation("d", b"/a")) == (1.5, 2, 1)
        page.advance_clock(1)
        page.rows[1].add(Counter.REQUESTS, 5)
        page.next_generation("d", b"/a")
        page.draining = True
        os._exit(0 if seen else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    page.rows[0].add(Counter.REQUESTS, 2)
    assert page.clock_offset == 2.5
    assert page.total(Counter.REQUESTS) == 7
    assert page.generation("d", b"/a") == 2
    assert page.draining


def test_generations_belong_to_a_distribution_and_a_path() -> None:
    page = SharedPage(1)
    page.next_generation("d", b"/a")
    assert page.generation("d", b"/a") == 1
    assert page.generation("d", b"/b") == 0
    assert page.generation("e", b"/a") == 0


def test_a_new_writer_of_a_row_forgets_gauges_and_keeps_counters() -> None:
    page = SharedPage(1)
    page.rows[0].add(Counter.REQUESTS, 3)
    page.rows[0].add(Counter.CONNECTIONS_OPEN, 3)
    page.rows[0].forget_gauges()
    assert (page.total(Counter.REQUESTS), page.total(Counter.CONNECTIONS_OPEN)) == (3, 0)


def test_keys_are_spread_over_the_workers_and_each_has_one_owner() -> None:
    keys = [b"key %d" % number for number in range(4000)]
    for workers in (1, 2, 3, 4):
        owners = [owner_of(key, 16, workers) for key in keys]
        assert owners == [owner_of(key, 16, workers) for key in keys]
        share = [owners.count(worker) / len(keys) for worker in range(workers)]
        assert min(share) > 0.7 / workers
