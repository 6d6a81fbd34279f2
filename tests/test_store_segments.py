"""Segments of small bodies."""

from __future__ import annotations

from pathlib import Path

from edgeproxy.store.files import OpenFiles
from edgeproxy.store.index import Index, segment_of
from edgeproxy.store.layer import Layer
from edgeproxy.store.segments import Segments, taken


def opened(folder: Path, size_max: int = 1000) -> tuple[Segments, Index, int]:
    index = Index(str(folder / "index"))
    segments = Segments(str(folder / "segments"), OpenFiles(Layer(), 16), size_max)
    return segments, index, segments.open(index.segments(), 0)


def test_bodies_are_read_where_they_were_placed_also_after_a_restart(tmp_path: Path) -> None:
    segments, index, _ = opened(tmp_path)
    bodies = [b"", b"a", b"bcdefghi", b"x" * 500, b"y" * 600, b"z"]
    ids = [segments.place(body) for body in bodies]
    assert len(set(ids)) == len(ids)
    assert all(id % 8 == 0 for id in ids)
    segments.flush()
    with index.transaction():
        segments.note(index)
    assert [segment_of(id) for id in ids] == [1, 1, 1, 1, 2, 2]
    index.close()
    (tmp_path / "segments" / "2").open("ab").write(b"what a crash left behind")
    (tmp_path / "segments" / "77").write_bytes(b"nobody knows it")
    segments, index, swept = opened(tmp_path)
    assert (swept, segments.numbers, segments.used()) == (1, [1, 2], sum(taken(len(body)) for body in bodies))
    assert (tmp_path / "segments" / "2").stat().st_size == taken(600) + taken(1), "it was cut off"
    later = segments.place(b"later")
    segments.flush()
    assert segment_of(later) == 2
    for id, body in zip([*ids, later], [*bodies, b"later"], strict=True):
        assert segments.read(id, len(body)) == body
    index.close()


def test_a_segment_of_which_nothing_is_in_use_is_dead(tmp_path: Path) -> None:
    segments, index, _ = opened(tmp_path)
    first = segments.place(b"a" * 600)
    segments.place(b"b" * 600)
    segments.flush()
    assert segments.dead(1) == []
    segments.free(first, 600)
    assert segments.dead(1) == [1]
    segments.discard(1)
    segments.unlink(1)
    assert not (tmp_path / "segments" / "1").exists()
    assert segments.numbers == [2]
    assert segments.retire()
    assert not segments.retire(), "it is empty"
    index.close()


def test_after_a_failed_transaction_what_was_written_belongs_to_nobody(tmp_path: Path) -> None:
    segments, index, _ = opened(tmp_path)
    segments.place(b"first")
    segments.flush()
    with index.transaction():
        segments.note(index)
    segments.place(b"lost")
    segments.flush()
    segments.place(b"never written")
    segments.restore(index.segments())
    kept = segments.place(b"kept")
    segments.flush()
    assert segments.read(kept, 4) == b"kept"
    index.close()


def test_a_newest_segment_that_is_too_short_is_not_continued(tmp_path: Path) -> None:
    segments, index, _ = opened(tmp_path)
    segments.place(b"x" * 100)
    segments.flush()
    with index.transaction():
        segments.note(index)
    index.close()
    (tmp_path / "segments" / "1").write_bytes(b"short")
    segments, index, _ = opened(tmp_path)
    assert segments.current == 2
    index.close()


def test_large_bodies_fill_a_segment_too(tmp_path: Path) -> None:
    segments, index, _ = opened(tmp_path)
    assert segments.attach(9000) == 1
    assert segments.attach(10) == 2
    index.close()
