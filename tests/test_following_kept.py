"""What a node keeps of the feed on its disk."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from edgeproxy.errors import ConfigError, EdgeError
from edgeproxy.feed import Deployed, Invalidated, Record, Withdrawn
from edgeproxy.following.kept import Kept, Update, deployed


def kept(folder: Path, incarnation: str = "i") -> Kept:
    return Kept(folder / "feed.db", incarnation=lambda: incarnation)


def update(number: int, *records: Record, whole: bool = False, low_water: int = 0, epoch: str = "E") -> Update:
    return Update(epoch, number, low_water, records, whole)


def dist(number: int, id: str, etag: str = "") -> Deployed:
    return Deployed(number, id, etag, {"Comment": etag})


def test_what_was_written_is_there_again_and_so_is_the_incarnation(tmp_path: Path) -> None:
    file = kept(tmp_path)
    assert file.position() == ("", 0)
    assert file.state() == Update("", 0, 0, (), True)
    file.write(update(4, dist(1, "A"), dist(2, "B"), Invalidated(3, "I3", "A", ("/*",)), dist(4, "A", "new")))
    file.close()
    again = kept(tmp_path, "other")
    assert again.incarnation == "i"
    assert again.position() == ("E", 4)
    records = (dist(2, "B"), Invalidated(3, "I3", "A", ("/*",)), dist(4, "A", "new"))
    assert again.state() == Update("E", 4, 0, records, True)
    assert [each.id for each in deployed(again.state().records)] == ["B", "A"]
    again.close()


def test_what_no_longer_counts_is_dropped(tmp_path: Path) -> None:
    file = kept(tmp_path)
    file.write(update(4, dist(1, "A"), dist(2, "B"), Invalidated(3, "I3", "A"), Invalidated(4, "I4", "A")))
    file.write(update(5, Withdrawn(5, "A"), low_water=3))
    assert file.state() == Update("E", 5, 3, (dist(2, "B"), Invalidated(4, "I4", "A")), True)
    file.write(update(1, dist(1, "C"), whole=True, epoch="F"))
    assert file.state() == Update("F", 1, 0, (dist(1, "C"),), True)
    file.forget()
    assert file.state() == Update("", 0, 0, (), True)
    file.close()
    for ask in (file.state, file.position, file.forget):
        with pytest.raises(EdgeError):
            ask()


def test_an_update_is_there_whole_or_not_at_all(tmp_path: Path) -> None:
    file = kept(tmp_path)
    file.write(update(1, dist(1, "A")))
    blocker = sqlite3.connect(tmp_path / "feed.db", isolation_level=None)
    file._sql.execute("PRAGMA busy_timeout = 1")
    blocker.execute("BEGIN IMMEDIATE")
    with pytest.raises(EdgeError, match="cannot be written"):
        file.write(update(2, dist(2, "B")))
    blocker.execute("ROLLBACK")
    blocker.close()
    assert file.state().number == 1
    file.write(update(2, dist(2, "B")))
    file.close()


def test_readers_see_what_is_written_and_write_nothing(tmp_path: Path) -> None:
    with pytest.raises(ConfigError):
        Kept(tmp_path / "feed.db")
    file = kept(tmp_path)
    reader = Kept(tmp_path / "feed.db")
    file.write(update(1, dist(1, "A")))
    assert reader.state().number == 1
    with pytest.raises(EdgeError):
        reader.write(update(2))
    reader.close()
    file.close()
    reader = Kept(tmp_path / "feed.db")
    assert reader.state().records == (dist(1, "A"),)
    reader.close()


def test_a_damaged_file_is_made_anew_as_another_incarnation(tmp_path: Path) -> None:
    (tmp_path / "feed.db").write_bytes(b"this was a file once" * 500)
    file = kept(tmp_path, "second")
    assert (file.incarnation, file.position()) == ("second", ("", 0))
    file.close()
    with sqlite3.connect(tmp_path / "feed.db") as sql:
        sql.execute("UPDATE meta SET value = '99' WHERE name = 'schema'")
    sql.close()
    file = kept(tmp_path, "third")
    assert file.incarnation == "third"
    file.write(update(1, dist(1, "A")))
    with sqlite3.connect(tmp_path / "feed.db") as sql:
        sql.execute("UPDATE records SET body = CAST('{}' AS BLOB)")
    sql.close()
    with pytest.raises(EdgeError):
        file.state()
    file.close()


def test_distributions_are_read_once(tmp_path: Path) -> None:
    file = kept(tmp_path)
    assert file.distributions("", {}) == ("", 0, {})
    file.write(update(3, dist(1, "A"), dist(2, "B"), Invalidated(3, "I3", "A")))
    known = {1: dist(1, "A", "as it was read before")}
    assert file.distributions("E", known) == ("E", 3, {1: known[1], 2: dist(2, "B")})
    assert file.distributions("D", known) == ("E", 3, {1: dist(1, "A"), 2: dist(2, "B")})
    file.close()
    with pytest.raises(EdgeError):
        file.distributions("E", {})


def test_where_no_file_can_be_that_is_said(tmp_path: Path) -> None:
    (tmp_path / "feed.db").mkdir()
    with pytest.raises(ConfigError, match="cannot be used"):
        kept(tmp_path)
