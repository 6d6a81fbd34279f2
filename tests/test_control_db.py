"""The database: what was written is there again, whole; what cannot be used is said."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from edgeproxy.control.db import Database
from edgeproxy.control.kinds import DISTRIBUTION
from edgeproxy.control.state import Change, Member, Resource, State
from edgeproxy.errors import ConfigError
from edgeproxy.feed import Deployed, Invalidated, Withdrawn
from tests.controlling import ZONE
from tests.test_control_state import invalidating


def opened(folder: Path, epoch: str = "NEW") -> tuple[Database, State]:
    database = Database(folder / "control.db")
    return database, database.load(lambda: epoch, ZONE)


def resource(id: str, comment: str = "") -> Resource:
    return Resource(DISTRIBUTION.name, id, "ETAG", {"Comment": comment}, 1.5, 2.5, 7, (("k", "v"),), "digest")


def test_a_state_is_there_again(tmp_path: Path) -> None:
    database, state = opened(tmp_path, "FIRST")
    changes = (
        Change(put=(resource("E1"), resource("E2")), records=(Deployed(1, "E1", "", {}), Deployed(2, "E2", "", {}))),
        invalidating(3),
        Change(put=(resource("E1", "new"),), records=(Deployed(4, "E1", "x", {}),)),
        Change(drop=((DISTRIBUTION.name, "E2"),), records=(Withdrawn(5, "E2"),)),
        Change(put=(resource("E3"),)),
    )
    for change in changes:
        database.write(change, change.records[-1].number if change.records else state.number)
        state.apply(change)
    database.write_members([Member("a", "i", 3, "FIRST"), Member("b", "i", 0, "FIRST")], ["c"], 2)
    database.write_members([], ["b"], 3)
    database.close()
    database, again = opened(tmp_path)
    assert again.epoch == "FIRST"
    assert (again.number, again.settled, again.low_water) == (5, 3, 0)
    assert again.log == state.log
    assert list(again.resources.values()) == list(state.resources.values()) == [resource("E1", "new"), resource("E3")]
    assert again.invalidations == state.invalidations
    assert again.members == {"a": Member("a", "i", 3, "FIRST")}
    database.compact(4, 3)
    database.renew("SECOND")
    database.close()
    database, after = opened(tmp_path)
    assert (after.epoch, after.low_water) == ("SECOND", 4)
    assert [type(each) for each in after.log] == [Deployed, Withdrawn]
    assert after.invalidations == {}
    database.close()


def test_a_change_that_fails_in_the_middle_leaves_nothing(tmp_path: Path) -> None:
    database, _ = opened(tmp_path)
    database.write(invalidating(1), 1)
    twice = Change(put=(resource("E1"),), records=(Invalidated(1, "I", "E1"),))
    with pytest.raises(sqlite3.Error):
        database.write(twice, 2)
    with pytest.raises(sqlite3.Error):
        database.write_members([Member("a", None, 0, "")], [], 0)  # type: ignore[arg-type]  # what no code of ours does
    database.close()
    database, state = opened(tmp_path)
    assert (state.number, state.resources, state.members) == (1, {}, {})
    database.close()


def test_what_is_no_database_of_ours_is_said(tmp_path: Path) -> None:
    (tmp_path / "control.db").write_bytes(b"no database at all, and long enough to be taken for one" * 100)
    with pytest.raises(ConfigError, match="cannot be used"):
        Database(tmp_path / "control.db")
    with pytest.raises(ConfigError, match="cannot be used"):
        Database(tmp_path / "control.db" / "below")


def test_another_version_and_a_damaged_record_are_said(tmp_path: Path) -> None:
    opened(tmp_path)[0].close()
    with sqlite3.connect(tmp_path / "control.db") as sql:
        sql.execute("INSERT INTO records VALUES (1, NULL, 0, CAST('no record' AS BLOB))")
    sql.close()
    with pytest.raises(ConfigError, match="damaged"):
        opened(tmp_path)
    with sqlite3.connect(tmp_path / "control.db") as sql:
        sql.execute("UPDATE meta SET value = '99' WHERE name = 'schema'")
    sql.close()
    with pytest.raises(ConfigError, match="version 99"):
        Database(tmp_path / "control.db")
