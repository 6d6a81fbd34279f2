"""What workers share: words that are whole, counters with one writer each, generations and editions."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from xxhash import xxh3_64_intdigest

from edgeproxy.edge.page import BUCKETS, SharedPage, owner_of
from edgeproxy.telemetry.counters import Counter


def test_a_child_process_sees_what_the_parent_writes_and_the_other_way_round() -> None:
    page = SharedPage(2)
    page.advance_clock(1.5)
    page.ready_workers = 2
    page.next_generation(b"/a")
    pid = os.fork()
    if pid == 0:
        seen = (page.clock_offset, page.ready_workers, page.generation(b"/a")) == (1.5, 2, 1)
        page.advance_clock(1)
        page.rows[1].add(Counter.REQUESTS, 5)
        page.next_generation(b"/a")
        page.draining = True
        os._exit(0 if seen else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    page.rows[0].add(Counter.REQUESTS, 2)
    assert page.clock_offset == 2.5
    assert page.total(Counter.REQUESTS) == 7
    assert page.generation(b"/a") == 2
    assert page.draining


def test_generations_belong_to_a_resource() -> None:
    page = SharedPage(1)
    page.next_generation(b"/a")
    assert (page.generation(b"/a"), page.generation(b"/b")) == (1, 0)


def test_editions_belong_to_a_key_and_are_no_generations() -> None:
    page = SharedPage(1)
    assert page.next_edition(b"/a") == page.edition(b"/a") == 1
    assert (page.edition(b"/b"), page.generation(b"/a")) == (0, 0)


def test_keys_that_share_a_bucket_have_one_owner() -> None:
    """Only so may the owner count editions without a lock."""
    owners: dict[int, set[int]] = {}
    for number in range(20_000):
        key = b"key %d" % number
        owners.setdefault(xxh3_64_intdigest(key) % BUCKETS, set()).add(owner_of(key, 16, 3))
    assert max(map(len, owners.values())) == 1


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


def opened(path: Path, boot: bytes = b"one", era: int = 1) -> SharedPage:
    return SharedPage(1, path, boot, lambda count: bytes([era]) * count)


def test_what_was_changed_before_a_restart_is_changed_after_it(tmp_path: Path) -> None:
    before = opened(tmp_path / "page")
    before.next_generation(b"/a")
    before.next_edition(b"/k")
    before.rows[0].add(Counter.REQUESTS)
    after = opened(tmp_path / "page", era=2)  # killed: nobody closed it
    assert (after.generation(b"/a"), after.edition(b"/k"), after.era) == (1, 1, before.era)
    assert after.rows[0][Counter.REQUESTS] == 0
    after.close()
    assert opened(tmp_path / "page", boot=b"two", era=3).era == before.era


def test_after_a_crash_of_the_machine_a_new_era_begins(tmp_path: Path) -> None:
    before = opened(tmp_path / "page")
    before.next_generation(b"/a")
    after = opened(tmp_path / "page", boot=b"two", era=2)
    assert after.era != before.era
    assert after.generation(b"/a") == 0


@pytest.mark.parametrize("damage", [b"", b"edgepage", bytes(200), b"\xff" * 10_000])
def test_a_file_that_is_no_page_begins_a_new_era(tmp_path: Path, damage: bytes) -> None:
    (tmp_path / "page").write_bytes(damage)
    page = opened(tmp_path / "page", era=7)
    assert page.era == b"\7" * 16
    assert page.generation(b"/a") == page.edition(b"/a") == 0


def test_changes_by_several_processes_are_all_counted() -> None:
    page, pids = SharedPage(1), []
    for _ in range(4):
        pid = os.fork()
        if pid == 0:
            for _ in range(2000):
                page.next_generation(b"/a")
            os._exit(0)
        pids.append(pid)
    assert [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids] == [0] * 4
    assert page.generation(b"/a") == 8000
