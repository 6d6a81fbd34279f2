"""The index of a shard."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from edgeproxy.store.index import Index, Totals, is_beyond_use, large_id, offset_of, segment_of, signed, small_id


def test_rows_are_found_moved_and_removed(tmp_path: Path) -> None:
    index = Index(str(tmp_path / "i"))
    high = (1 << 64) - 5
    with index.transaction():
        for number in range(10):
            index.put(small_id(1, 8 * number), high if number < 5 else number, b"k%d" % (number % 5), b"r%d" % number)
        index.put(large_id(2, 7), 3, b"large", b"")
    assert index.find(high, b"k1") == [(small_id(1, 8), b"k1", b"r1")]
    assert index.find(6, b"k0") == []
    assert index.oldest() == small_id(1, 0)
    assert index.newest() == large_id(2, 7)
    assert index.large_files() == {7}
    assert len(index.page(0, 4)) == 4
    assert [key for _, key, _ in index.page(0, 99, "k[12]")] == [b"k1", b"k2", b"k1", b"k2"]
    assert index.hashes(None, 99) == sorted({signed(high), 3, 5, 6, 7, 8, 9})
    assert index.hashes(5, 2) == [6, 7]
    with index.transaction():
        index.move(small_id(1, 8), small_id(3, 0))
        index.remove(small_id(1, 16))
        assert index.rows(high, b"k1") == [(small_id(3, 0), b"r1")]
    assert index.row(small_id(1, 16)) is None
    assert [row[0] for row in index.range(small_id(3, 0), small_id(4, 0), 9)] == [small_id(3, 0)]
    index.close()


def test_a_transaction_is_all_or_nothing_and_survives_a_restart(tmp_path: Path) -> None:
    index = Index(str(tmp_path / "i"))

    def half_done() -> None:
        with index.transaction():
            index.put(8, 1, b"k", b"r")
            raise sqlite3.OperationalError

    with pytest.raises(sqlite3.OperationalError):
        half_done()
    assert index.page(0, 9) == []
    with index.transaction():
        index.put_segment(3, 100, 50)
        index.doom(9)
        index.doom(10)
        index.spare(9)
        index.note("era", b"e")
        index.put_totals(Totals(5, 6, 7))
    index.write_back(at_once=True)
    index.close()
    index = Index(str(tmp_path / "i"))
    assert (index.segments(), index.doomed(), index.fact("era")) == ({3: [100, 50]}, [10], b"e")
    assert index.totals() == Totals(5, 6, 7)
    assert index.used() > 0
    index.close()


def test_the_log_is_written_back_when_it_has_grown(tmp_path: Path) -> None:
    index = Index(str(tmp_path / "i"), log_max=50_000)
    for number in range(1, 200):
        with index.transaction():
            index.put(8 * number, number, b"k", bytes(1000))
        index.write_back()
        assert (tmp_path / "i-wal").stat().st_size < 100_000
    index.close()


DAMAGED = {
    "a type": "UPDATE records SET record=5",
    "no bytes": "UPDATE records SET key='text', record=NULL",
    "hash": "UPDATE records SET hash='x'",
}


@pytest.mark.parametrize("damage", DAMAGED.values(), ids=DAMAGED)
def test_a_row_of_odd_types_is_no_record(tmp_path: Path, damage: str) -> None:
    index = Index(str(tmp_path / "i"))
    with index.transaction():
        index.put(8, 1, b"k", b"r")
    other = sqlite3.connect(tmp_path / "i", isolation_level=None)
    other.execute("PRAGMA ignore_check_constraints=ON")
    if "NULL" in damage:
        other.execute("UPDATE records SET record=zeroblob(3), key='text'")
    else:
        other.execute(damage)
    other.close()
    for _, key, record in index.page(0, 9):
        assert isinstance(key, bytes)
        assert isinstance(record, bytes)
    ((_, hash, _, _),) = index.range(0, 99, 9)
    assert isinstance(hash, int)
    index.close()


@pytest.mark.parametrize("books", ["(1, 5, 9)", "(-1, 5, 5)", "(1, 'x', 5)"])
def test_books_that_cannot_be_are_beyond_use(tmp_path: Path, books: str) -> None:
    index = Index(str(tmp_path / "i"))
    other = sqlite3.connect(tmp_path / "i", isolation_level=None)
    other.execute(f"INSERT INTO segments VALUES {books}")
    other.execute("INSERT INTO facts VALUES ('objects', -1)")
    other.close()
    for read in (index.segments, index.totals):
        with pytest.raises(sqlite3.DatabaseError) as raised:
            read()
        assert is_beyond_use(raised.value)
    index.close()


def test_a_file_that_is_no_index_is_told_from_a_disk_that_fails(tmp_path: Path) -> None:
    (tmp_path / "i").write_bytes(b"nothing of the kind" * 100)
    with pytest.raises(sqlite3.Error) as raised:
        Index(str(tmp_path / "i"))
    assert is_beyond_use(raised.value)
    with pytest.raises(sqlite3.Error) as raised:
        Index(str(tmp_path / "none" / "i"))
    assert not is_beyond_use(raised.value)
    other = sqlite3.connect(tmp_path / "later")
    other.execute("PRAGMA user_version=99")
    other.close()
    with pytest.raises(sqlite3.DatabaseError, match="version 99") as raised:
        Index(str(tmp_path / "later"))
    assert is_beyond_use(raised.value)


def test_ids_say_where_and_when() -> None:
    assert (segment_of(small_id(7, 800)), offset_of(small_id(7, 800))) == (7, 800)
    assert small_id(7, 0) < large_id(7, 1) < small_id(8, 0)
    assert large_id(7, 1) % 8 == 1
