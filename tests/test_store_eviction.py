"""What the memory tier lets go: bounds against a model, the order of victims, scans, and popularity that moves."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from itertools import islice

import pytest
from cachetools import Cache, LRUCache
from hypothesis import example, given, settings
from hypothesis import strategies as st

from edgeproxy.store.eviction import STEPS_MAX, S3FIFOCache
from tests.bench.policies import ratios
from tests.bench.traces import traces

Value = tuple[int, int]
"""A serial number and a size."""


class Told(S3FIFOCache[str, Value]):
    """Tells which entries it evicts, as an owner that keeps an index beside it wants to know."""

    def __init__(self, maxsize: int) -> None:
        super().__init__(maxsize, getsizeof=lambda value: value[1])
        self.evicted: list[str] = []

    def popitem(self) -> tuple[str, Value]:
        key, value = super().popitem()
        self.evicted.append(key)
        return key, value


KEYS = st.sampled_from("abcdefghijkl")
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("put"), KEYS, st.integers(0, 45)),
        st.tuples(st.sampled_from(["get", "get", "get", "delete"]), KEYS, st.just(0)),
        st.tuples(st.sampled_from(["pop", "clear"]), st.just(""), st.just(0)),
    ),
    max_size=80,
)


@settings(max_examples=300, deadline=None)
@given(STEPS)
@example([("put", "a", 10), ("get", "a", 0), ("put", "b", 10), ("pop", "", 0), ("put", "a", 20), ("put", "c", 20)])
def test_it_holds_what_was_put_and_not_evicted_within_its_bounds(steps: list[tuple[str, str, int]]) -> None:
    cache, model = Told(40), dict[str, Value]()
    for serial, (verb, key, size) in enumerate(steps):
        match verb:
            case "put" if size > cache.maxsize:
                with pytest.raises(ValueError, match="too large"):
                    cache[key] = (serial, size)
            case "put":
                cache[key] = (serial, size)
            case "get":
                assert cache.get(key) == model.get(key)
            case "delete" if key in model:
                del cache[key], model[key]
            case "delete":
                with pytest.raises(KeyError):
                    del cache[key]
            case "pop" if model:
                cache.popitem()
            case "pop":
                with pytest.raises(KeyError):
                    cache.popitem()
            case "clear":
                cache.clear()
                model.clear()
        for gone in cache.evicted:
            model.pop(gone, None)
        cache.evicted.clear()
        if verb == "put" and size <= cache.maxsize:
            model[key] = (serial, size)
        assert set(cache) == set(model)
        assert cache.currsize == sum(size for _, size in model.values()) <= cache.maxsize
        assert cache.remembered <= len(cache)
        # Who leaves depends on what the queues are thought to hold: an error there would show in no answer.
        places = {**cache._small, **cache._main}
        assert {key: place.size for key, place in places.items()} == {key: value[1] for key, value in model.items()}
        assert cache._small_size == sum(place.size for place in cache._small.values())
        assert cache._main_size == sum(place.size for place in cache._main.values())
    assert {key: cache[key] for key in cache} == model
    for left in range(len(model), 0, -1):
        assert len(cache) == left
        cache.popitem()
    assert cache.currsize == cache.remembered == 0


def play(script: str, cache: Cache[str, Value]) -> None:
    """`+a` puts, `a` reads, `-a` deletes, `!` evicts; `+a*30` puts 30 bytes, otherwise one."""
    for step in script.split():
        if step == "!":
            cache.popitem()
        elif step.startswith("-"):
            del cache[step[1:]]
        elif step.startswith("+"):
            key, _, size = step[1:].partition("*")
            cache[key] = (0, int(size or 1))
        else:
            cache[step]


@pytest.mark.parametrize(
    ("script", "victims"),
    [
        pytest.param("+a +b +c", "abc", id="unused ones leave as they came"),
        pytest.param("+a +b +c a", "bca", id="one use leads to the main queue"),
        pytest.param("+a +b +c a b c", "abc", id="all of them used: as they came"),
        pytest.param("+a +b +c a b ! a", "ba", id="a use in the main queue is worth another turn"),
        pytest.param("+a +b +c a b ! a a b", "ba", id="two uses are worth two"),
        pytest.param("+a +b +c a b ! a a a a a b b b", "ab", id="more than three are worth three"),
        pytest.param("+a +b +c ! +a +d", "bcda", id="what left unused and comes back goes to the main queue"),
        pytest.param("+a +b +c ! ! +a +d", "cad", id="no more departures are remembered than entries are there"),
        pytest.param("+m*60 +a*20 +b +c m ! +a*20 ! ! +a +d", "bcad", id="a departure counts for one return"),
        pytest.param("+a +b -a +a +c", "bca", id="what was deleted and comes back goes to the main queue"),
        pytest.param("+a +b +c +a", "abc", id="to replace is no use"),
        pytest.param("+a +b +c a +a", "bca", id="and takes none away"),
        pytest.param("+a*40 +b*40 +c*5 a b", "acb", id="a tenth of the bytes is left to what is new"),
    ],
)
def test_the_order_in_which_entries_leave(script: str, victims: str) -> None:
    cache = Told(100)
    play(script, cache)
    cache.evicted.clear()
    while cache:
        cache.popitem()
    assert "".join(cache.evicted) == victims


@pytest.mark.parametrize(
    ("script", "held", "gone"),
    [
        pytest.param("+a*4 +b*4 +a*6", 10, "", id="larger, with room"),
        pytest.param("+a*4 +b*4 b +b*7", 7, "a", id="larger, and another leaves for it"),
        pytest.param("+a*4 +b*4 +a*7", 7, "ab", id="larger, and it leaves itself for a moment"),
        pytest.param("+a*4 +b*4 +a", 5, "", id="smaller"),
        pytest.param("+a*4 +b*4 +c*4 +b +d*5", 10, "a", id="smaller, and the room is there for others"),
    ],
)
def test_a_value_is_replaced_by_one_of_another_size(script: str, held: int, gone: str) -> None:
    cache = Told(10)
    play(script, cache)
    assert (cache.currsize, "".join(cache.evicted)) == (held, gone)


def test_a_value_larger_than_the_cache_leaves_everything_as_it_was() -> None:
    cache = Told(10)
    play("+a*4 +b*4", cache)
    with pytest.raises(ValueError, match="too large"):
        cache["a"] = (0, 11)
    assert (cache["a"], cache["b"], cache.evicted) == ((0, 4), (0, 4), [])


def test_to_look_at_a_value_is_no_use() -> None:
    cache = Told(10)
    play("+a*4 +b*4", cache)
    assert (cache.peek("a"), cache.peek("z")) == ((0, 4), None)
    assert cache.popitem() == ("a", (0, 4))


class ByName(S3FIFOCache[tuple[str, int], int]):
    """Its keys carry a number that is never used twice."""

    def remembered_as(self, key: tuple[str, int]) -> Hashable:
        return key[0]


def test_what_comes_back_under_another_key_is_known_by_what_the_owner_says() -> None:
    cache = ByName(3)
    for key in [("a", 1), ("b", 2), ("c", 3), ("d", 4), ("a", 5)]:
        cache[key] = 1
    assert set(cache) == {("c", 3), ("d", 4), ("a", 5)}
    cache["e", 6] = 1
    cache["f", 7] = 1
    cache["g", 8] = 1
    assert ("a", 5) in cache


def test_one_eviction_looks_at_a_bounded_number_of_entries() -> None:
    cache: S3FIFOCache[int, int] = S3FIFOCache(10 * STEPS_MAX)
    for name in range(10 * STEPS_MAX):
        cache[name] = 1
        cache[name]
    assert cache.popitem() == (STEPS_MAX - 1, 1)


def hits(cache: Cache[int, int], names: Iterable[int]) -> int:
    """Ask for each, fetch what is not there, and count what was."""
    found = 0
    for name in names:
        if name in cache:
            found += cache[name]
        else:
            cache[name] = 1
    return found


S3FIFO: Callable[[int], Cache[int, int]] = S3FIFOCache
LRU: Callable[[int], Cache[int, int]] = LRUCache


@pytest.mark.parametrize(("policy", "kept"), [(S3FIFO, 80), (LRU, 0)])
def test_a_scan_ten_times_the_cache_leaves_what_viewers_return_to(
    policy: Callable[[int], Cache[int, int]], kept: int
) -> None:
    cache = policy(100)
    popular = range(80)
    assert hits(cache, popular) == 0
    assert hits(cache, popular) == 80
    assert hits(cache, range(1_000, 2_000)) == 0
    assert sum(name in cache for name in popular) == kept


def test_one_hit_wonders_between_all_other_requests_displace_nothing_popular() -> None:
    cache, wonders = S3FIFO(100), iter(range(1_000, 10_000))
    hits(cache, range(80))
    hits(cache, range(80))
    for _ in range(20):
        assert sum(hits(cache, [name, next(wonders)]) for name in range(80)) == 80


def test_a_new_set_of_popular_objects_takes_over_from_one_that_had_all_uses() -> None:
    cache = S3FIFO(100)
    for _ in range(5):
        hits(cache, range(90))
    # Ten fit into the small queue; the others leave it, are remembered, and have their places when they come again.
    assert [hits(cache, range(200, 280)) for _ in range(4)] == [0, 10, 80, 80]


def test_an_object_that_is_always_asked_for_survives_being_deleted_and_fetched_anew_in_a_scan() -> None:
    cache, scan = S3FIFO(100), iter(range(1_000, 100_000))
    hits(cache, range(100))
    for _ in range(20):
        cache[7] = 1
        del cache[7]
        cache[7] = 1
        hits(cache, islice(scan, 100))
        assert hits(cache, [7]) == 1


def test_it_answers_more_than_lru_on_every_trace_whose_popularity_stays() -> None:
    for played in traces(seed=3, length=4_000):
        if played.title not in ("drift", "upheavals"):
            room = played.footprint // 100
            ours, lru = (ratios(played, make(room, getsizeof=int)) for make in (S3FIFOCache, LRUCache))
            assert ours > lru, played.title
