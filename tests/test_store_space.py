"""Space that is taken, promised and left."""

from __future__ import annotations

from edgeproxy.store.space import Promise, Space


def test_no_more_is_promised_than_could_be_made_room_for() -> None:
    space = Space(1000, 100, [1, 2])
    assert space.promise(900)
    assert not space.promise(1)
    space.release(900, 0)
    space.set_used(1, 600, 50)
    assert space.promise(850), "what is there may leave"
    assert not space.promise(1), "but not what is fixed"
    assert space.short() == 600 + 100 - 1000, "nobody leaves before it is claimed"
    space.claim(800)
    assert space.short() == 600 + 800 + 100 - 1000
    assert (space.used(), space.used_by(1), space.used_by(2)) == (600, 550, 0)


def test_a_file_system_that_others_fill_lowers_the_bound() -> None:
    space = Space(1000, 100, [1])
    space.set_used(1, 300, 0)
    space.set_free(200)
    assert space.short() == 300 + 100 - 500
    space.set_free(0)
    assert space.short() == 100
    space.set_free(10_000)
    assert space.short() == -600


def test_a_promise_is_used_up_once() -> None:
    space = Space(1000, 0, [1])
    promise = Promise(space)
    assert promise.grow(500)
    assert not promise.grow(501)
    assert promise.claim(400)
    assert not promise.claim(101)
    promise.spend(200)
    assert space.short() == 200 - 1000
    assert promise.claim(100)
    promise.spend(900)
    promise.end()
    promise.end()
    assert space.short() == -1000
