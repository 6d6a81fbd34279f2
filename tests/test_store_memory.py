"""The memory tier: what is found, what is replaced, what leaves, and that its bound holds."""

from __future__ import annotations

from dataclasses import replace

from edgeproxy.headers import Headers
from edgeproxy.model import NO_EPOCH, AsOf
from edgeproxy.outcome import StoredHead
from edgeproxy.store.memory import ENTRY_OVERHEAD, RUNS_MAX, MemoryStore, Stored, Terms
from edgeproxy.telemetry.counters import Counter, Counters
from tests.messages import NOW, request, stored

TERMS = Terms(NOW + 60, 0)
PLAIN = stored("Cache-Control: max-age=60")


def store(capacity: int = 1_000_000, *, object_max: int = 1_000_000, variants_max: int = 4) -> MemoryStore:
    return MemoryStore(capacity, object_max, variants_max, Counters())


def put(into: MemoryStore, key: bytes, body: bytes, head: StoredHead = PLAIN, terms: Terms = TERMS) -> bool:
    writer = into.begin(key, len(body))
    return writer is not None and writer.append(body) and writer.commit(head, Headers(), terms)


def put_part(into: MemoryStore, key: bytes, first: int, body: bytes, length: int = 100) -> Stored:
    writer = into.begin(key, len(body))
    assert writer is not None
    assert writer.append(body)
    assert writer.commit_part(replace(PLAIN, parts=((first, first + len(body)),)), TERMS, first, length)
    return into.find(key, NOW)[-1]


def extend(into: MemoryStore, entry: Stored, first: int, body: bytes) -> bool:
    writer = into.begin(entry.key, len(body))
    assert writer is not None
    assert writer.append(body)
    return writer.extend(entry, entry.head, TERMS, first)


def test_what_was_put_is_found_until_its_time_is_up() -> None:
    kept = store()
    assert put(kept, b"k", b"hello")
    (found,) = kept.find(b"k", NOW)
    assert (found.blocks, found.length, found.head) == ((b"hello",), 5, PLAIN)
    assert kept.find(b"other", NOW) == ()
    assert not kept.find(b"k", NOW + 60)
    assert kept.counters[Counter.STORE_OBJECTS] == kept.counters[Counter.STORE_BYTES] == 0


def test_an_empty_body_is_a_body() -> None:
    kept = store()
    writer = kept.begin(b"e", 0)
    assert writer is not None
    assert writer.commit(PLAIN, Headers(), TERMS)
    (found,) = kept.find(b"e", NOW)
    assert (b"".join(found.blocks), found.length) == (b"", 0)


def test_a_response_replaces_its_own_variant_only() -> None:
    kept = store()
    german, french = (stored("Vary: X-L", asked=request(f"X-L: {name}")) for name in ("de", "fr"))
    for head, body in ((german, b"1"), (french, b"2"), (german, b"3")):
        assert put(kept, b"k", body, head)
    assert [found.blocks for found in kept.find(b"k", NOW)] == [(b"2",), (b"3",)]


def test_of_too_many_variants_the_oldest_leaves() -> None:
    kept = store(variants_max=2)
    for name in ("a", "b", "c"):
        put(kept, b"k", name.encode(), stored("Vary: X-L", asked=request(f"X-L: {name}")))
    assert [found.blocks for found in kept.find(b"k", NOW)] == [(b"b",), (b"c",)]
    assert kept.counters[Counter.EVICTED] == 1


def test_what_is_as_of_a_lower_number_never_replaces_a_higher_one() -> None:
    kept = store()
    assert put(kept, b"k", b"new", replace(PLAIN, as_of=AsOf(NO_EPOCH, 5)))
    assert not put(kept, b"k", b"old", replace(PLAIN, as_of=AsOf(NO_EPOCH, 4)))
    assert kept.find(b"k", NOW)[0].blocks == (b"new",)
    assert put(kept, b"k", b"changed since", replace(PLAIN, as_of=AsOf(NO_EPOCH, 4)), Terms(NOW + 60, 1))


def test_the_bound_holds_while_bodies_arrive() -> None:
    kept = store(10_000)
    for number in range(20):
        assert put(kept, b"k%d" % number, b"x" * 1000)
    writer = kept.begin(b"large", None)
    assert writer is not None
    for _ in range(8):
        assert writer.append(b"y" * 1000)
        assert kept.counters[Counter.STORE_BYTES] <= 10_000
    assert writer.commit(PLAIN, Headers(), TERMS)
    assert kept.find(b"large", NOW)
    assert not kept.find(b"k19", NOW)


def test_what_does_not_fit_is_refused_and_its_room_given_back() -> None:
    kept = store(10_000, object_max=5_000)
    assert kept.begin(b"k", 5_001) is None
    writer = kept.begin(b"k", None)
    assert writer is not None
    assert writer.append(b"x" * 5_000)
    assert not writer.append(b"x")
    assert not writer.append(b"")
    assert not writer.commit(PLAIN, Headers(), TERMS)
    assert kept.counters[Counter.STORE_REFUSED] == 2
    assert kept.counters[Counter.STORE_BYTES] >= 5_000  # somebody may still read them
    writer.give_back(2_000)
    assert 3_000 <= kept.counters[Counter.STORE_BYTES] < 5_000
    writer.abandon()
    assert kept.counters[Counter.STORE_BYTES] == 0


def test_what_is_read_counts_until_it_was_read_also_when_its_entry_has_left() -> None:
    kept = store(20_000)
    put(kept, b"k", b"x" * 8_000)
    (found,) = kept.find(b"k", NOW)
    charge = kept.counters[Counter.STORE_BYTES]
    first, second = kept.lend(found), kept.lend(found)
    assert kept.counters[Counter.STORE_BYTES] == charge
    kept.drop(b"k")
    assert kept.counters[Counter.STORE_BYTES] == charge
    assert kept.begin(b"other", 15_000) is None
    first()
    assert kept.counters[Counter.STORE_BYTES] == charge
    second()
    assert kept.counters[Counter.STORE_BYTES] == 0
    third = kept.lend(found)  # of one that has left before
    assert kept.counters[Counter.STORE_BYTES] == charge
    third()
    assert kept.counters[Counter.STORE_BYTES] == 0


def test_an_abandoned_body_leaves_nothing() -> None:
    kept = store()
    writer = kept.begin(b"k", 100)
    assert writer is not None
    writer.append(b"x")
    writer.abandon()
    writer.abandon()
    assert not writer.commit(PLAIN, Headers(), TERMS)
    assert kept.counters[Counter.STORE_BYTES] == 0
    assert not kept.find(b"k", NOW)


def test_a_new_head_for_the_same_bytes_unless_they_changed_meanwhile() -> None:
    kept = store()
    put(kept, b"k", b"1")
    (old,) = kept.find(b"k", NOW)
    renewed = kept.refresh(old, replace(PLAIN, reason=b"Again"), TERMS)
    assert kept.find(b"k", NOW) == [renewed]
    late = kept.refresh(old, replace(PLAIN, reason=b"Late"), TERMS)
    assert (late.head.reason, kept.find(b"k", NOW)) == (b"Late", [renewed])
    kept.remove(old)
    assert kept.find(b"k", NOW)
    kept.remove(renewed)
    assert not kept.find(b"k", NOW)


def test_everything_under_a_key_can_be_dropped_and_all_of_it_cleared() -> None:
    kept = store()
    for name in ("a", "b"):
        put(kept, b"k", b"x", stored("Vary: X-L", asked=request(f"X-L: {name}")))
    put(kept, b"other", b"x")
    assert (kept.drop(b"k"), kept.drop(b"k")) == (2, 0)
    assert kept.find(b"other", NOW)
    kept.clear()
    assert kept.counters[Counter.STORE_OBJECTS] == 0


def test_parts_grow_in_their_place() -> None:
    kept = store()
    entry = put_part(kept, b"k", 10, b"a" * 10)
    assert entry.length == 100
    assert extend(kept, entry, 20, b"b" * 10)
    (grown,) = kept.find(b"k", NOW)
    assert [(run.first, run.end, run.blocks) for run in grown.runs] == [(10, 30, (b"a" * 10 + b"b" * 10,))]
    assert grown.variant == entry.variant


def test_a_part_of_something_that_has_changed_is_not_kept() -> None:
    kept = store()
    entry = put_part(kept, b"k", 0, b"a")
    assert extend(kept, entry, 1, b"b")
    assert not extend(kept, entry, 2, b"c")
    assert [run.end for run in kept.find(b"k", NOW)[0].runs] == [2]


def test_runs_are_bounded_and_counted() -> None:
    kept = store()
    entry = put_part(kept, b"k", 0, b"a", 10_000)
    for number in range(1, RUNS_MAX):
        assert extend(kept, entry, 2 * number, b"a")
        (entry,) = kept.find(b"k", NOW)
    assert not extend(kept, entry, 2 * RUNS_MAX, b"a")
    assert kept.counters[Counter.STORE_REFUSED] == 1
    assert extend(kept, entry, 1, b"a")
    assert entry.charge() > ENTRY_OVERHEAD + 100 * RUNS_MAX
    assert kept.counters[Counter.STORE_BYTES] == kept.find(b"k", NOW)[0].charge()


def test_parts_that_come_to_more_than_the_largest_body_are_not_kept() -> None:
    kept = store(object_max=15)
    entry = put_part(kept, b"k", 0, b"a" * 10)
    assert not extend(kept, entry, 10, b"a" * 10)
    assert kept.counters[Counter.STORE_BYTES] == entry.charge()


def test_whoever_wants_to_know_is_told_of_every_key_that_changes() -> None:
    told: list[bytes] = []
    entries = store(variants_max=2)
    entries.changed = told.append
    for vary in (b"a", b"b", b"c"):
        put(entries, b"k", b"x", replace(PLAIN, vary=((b"v", vary),)))
    assert told == [b"k"] * 4, "the third made the first leave"
    older, newer = entries.find(b"k", NOW)
    told.clear()
    entries.refresh(older, older.head, older.terms)
    entries.remove(newer)
    entries.drop(b"k")
    assert told == [b"k"] * 3


def test_a_use_that_is_told_counts_like_one_that_was_found() -> None:
    entries = store()
    put(entries, b"k", b"x")
    (entry,) = entries.find(b"k", NOW)
    place = entries._entries._small[b"k", entry.variant]
    uses = place.uses
    entries.use(entry)
    assert place.uses == uses + 1
