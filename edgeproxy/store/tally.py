"""What threads count for the event loop, which alone may write a worker's counters."""

from __future__ import annotations

from threading import Lock

from edgeproxy.telemetry.counters import Counter, Counters


class Tally:
    """Counts waiting to be added."""

    def __init__(self) -> None:
        self._waiting: dict[Counter, int] = {}
        self._lock = Lock()

    def add(self, counter: Counter, amount: int = 1) -> None:
        """Count, from any thread."""
        if amount:
            with self._lock:
                self._waiting[counter] = self._waiting.get(counter, 0) + amount

    def pour(self, counters: Counters) -> None:
        """Add what waits; on the event loop."""
        with self._lock:
            waiting, self._waiting = self._waiting, {}
        for counter, amount in waiting.items():
            counters.add(counter, amount)
