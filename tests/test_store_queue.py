"""Orders on their way to the writer's thread."""

from __future__ import annotations

from threading import Thread

from edgeproxy.store.orders import Order, Remove
from edgeproxy.store.queue import Queue


def orders(count: int) -> list[Order]:
    return [Remove(b"%d" % number, number, 0) for number in range(count)]


def test_all_that_waits_is_taken_in_order() -> None:
    queue = Queue(1000_000, 100)
    given = orders(5)
    for order in given:
        queue.give(order)
    queue.hurry()
    taken = queue.take(10)
    assert taken == given
    assert queue.weight == sum(order.weight for order in given), "until they are done"
    queue.done(taken)
    assert queue.weight == 0
    assert queue.take(0.001) == []


def test_bounds() -> None:
    queue = Queue(10_000, 3)
    assert queue.room_for(10_000)
    assert not queue.room_for(10_001)
    for order in orders(3):
        assert not queue.full()
        queue.give(order)
    assert queue.full()
    assert not queue.room_for(1)
    assert not queue.crowded()
    assert Queue(1000, 3).crowded() is False


def test_who_waits_is_woken() -> None:
    queue = Queue(1000_000, 100)
    taken: list[Order] = []
    thread = Thread(target=lambda: taken.extend(queue.take(60)))
    thread.start()
    (order,) = orders(1)
    queue.give(order)
    queue.hurry()
    thread.join(30)
    assert taken == [order]
    thread = Thread(target=lambda: taken.extend(queue.take(60)))
    thread.start()
    queue.close()
    thread.join(30)
    assert not thread.is_alive()
    assert queue.closing
