"""Orders on their way from the event loop to the writer's thread: bounded, in order, taken many at a time."""

from __future__ import annotations

from threading import Condition

from edgeproxy.store.orders import Order

LINGER = 0.02
"""Seconds that the first order waits for others to share its transaction, unless somebody waits for it."""
BATCH_BYTES = 4 << 20
"""Bytes from which on a batch does not wait for more."""


class Queue:
    """`give` and `hurry` are for the loop, `take` for the thread; both may ask what waits."""

    def __init__(self, bytes_max: int, orders_max: int) -> None:
        self._bytes_max = bytes_max
        self._orders_max = orders_max
        self._orders: list[Order] = []
        self._condition = Condition()
        self._hurried = False
        self._closing = False
        self.weight = 0
        """Bytes that wait, or are being written."""

    def room_for(self, weight: int) -> bool:
        """Whether a body of so many bytes can wait too."""
        return self.weight + weight <= self._bytes_max and len(self._orders) < self._orders_max

    def crowded(self) -> bool:
        """Half of what may wait does."""
        return self.weight > self._bytes_max // 2

    def full(self) -> bool:
        """Too many orders wait, whatever they are."""
        return len(self._orders) >= self._orders_max

    def give(self, order: Order) -> None:
        """Put an order at the end."""
        with self._condition:
            self.weight += order.weight
            self._orders.append(order)
            if len(self._orders) == 1 or self._hurried or self.weight > BATCH_BYTES:
                self._condition.notify()

    def hurry(self) -> None:
        """Somebody waits for what is in here."""
        with self._condition:
            self._hurried = True
            self._condition.notify()

    def close(self) -> None:
        """Nothing more will be given; what is in here is still taken."""
        with self._condition:
            self._closing = True
            self._condition.notify()

    @property
    def closing(self) -> bool:
        """Whether it was closed."""
        return self._closing

    def take(self, seconds: float) -> list[Order]:
        """All that waits, within `seconds`; nothing when nothing came."""
        with self._condition:
            self._condition.wait_for(self._ready, seconds)
            if self._orders and not self._urgent():
                self._condition.wait_for(self._urgent, LINGER)
            self._hurried = False
            orders, self._orders = self._orders, []
            return orders

    def done(self, orders: list[Order]) -> None:
        """These do not wait any more."""
        with self._condition:
            self.weight -= sum(order.weight for order in orders)

    def _ready(self) -> bool:
        return bool(self._orders) or self._closing or self._hurried

    def _urgent(self) -> bool:
        return self._hurried or self._closing or self.weight > BATCH_BYTES
