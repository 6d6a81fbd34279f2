"""What was answered, counted by type, rcode, POP and reason. Names are bounded: unknown types share one."""

from __future__ import annotations

from collections.abc import Iterator

from edgeproxy.dns.answer import Reply
from edgeproxy.dns.policy import Reason
from edgeproxy.telemetry.counters import Counter, Counters

TYPES = {1: "A", 2: "NS", 5: "CNAME", 6: "SOA", 16: "TXT", 28: "AAAA", 65: "HTTPS", 255: "ANY"}

_BY_REASON = {reason: Counter[f"DNS_CHOSEN_{reason.name}"] for reason in Reason}


class Tally:
    """Answers of one kind. Whoever gives one adds 1 to `count`: this is all that a remembered answer costs to count."""

    __slots__ = ("count", "counters", "labels", "settled")

    def __init__(self, labels: tuple[str, str, str, str], counters: tuple[Counter, ...]) -> None:
        self.labels = labels
        """Type, rcode, POP, reason."""
        self.counters = counters
        self.count = 0
        self.settled = 0


class Tallies:
    """All kinds. Their number is bounded by types × rcodes × POPs × reasons."""

    def __init__(self) -> None:
        self._known: dict[tuple[object, ...], Tally] = {}

    def of(self, reply: Reply) -> Tally:
        """Where an answer counts."""
        kind = TYPES.get(reply.query.question.type, "other") if reply.query.question is not None else "none"
        pop, reason = (reply.choice.pop.name, reply.choice.reason) if reply.choice is not None else ("", None)
        key = kind, reply.rcode, pop, reason, reply.by_subnet, reply.truncated
        tally = self._known.get(key)
        if tally is None:
            counters = [Counter[f"DNS_{reply.rcode.name}"]]
            if reason is not None:
                counters.append(_BY_REASON[reason])
                if reply.by_subnet:
                    counters.append(Counter.DNS_BY_SUBNET)
            if reply.truncated:
                counters.append(Counter.DNS_TRUNCATED)
            labels = kind, reply.rcode.name, pop, "" if reason is None else reason.name.lower()
            tally = self._known[key] = Tally(labels, tuple(counters))
        return tally

    def settle(self, counters: Counters) -> None:
        """Add what was counted since the last time."""
        for tally in self._known.values():
            since = tally.count - tally.settled
            if since:
                tally.settled = tally.count
                for counter in tally.counters:
                    counters.add(counter, since)

    def totals(self) -> Iterator[tuple[tuple[str, str, str, str], int]]:
        """(type, rcode, POP, reason) and how many; the POP and the reason are empty where none was chosen."""
        sums: dict[tuple[str, str, str, str], int] = {}
        for tally in self._known.values():
            sums[tally.labels] = sums.get(tally.labels, 0) + tally.count
        yield from sums.items()
