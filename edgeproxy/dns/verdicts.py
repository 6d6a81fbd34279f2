"""Which POP a network gets: decided once, kept for all names whose distributions may use the same POPs.

Most choices hold for a whole /16 or /32 and are kept by that; where measurements or tables tell smaller networks apart,
those inside are kept one by one. What is kept is bounded, and dropped for the networks around what was measured anew.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeAlias

from edgeproxy.dns.policy import Choice, Reason
from edgeproxy.places.networks import Client

NETWORKS_MAX = 65_536
"""Verdicts kept of each sort: as many as there are /16."""

_WIDTH = {32: 16, 128: 32}
"""Bits of an address that verdicts are kept by."""


class Kind:
    """A POP and why it is the answer. One object for each pair, compared as such: cheap as a key."""

    __slots__ = ("pop", "reason")

    def __init__(self, pop: str, reason: Reason) -> None:
        self.pop = pop
        self.reason = reason


Verdict: TypeAlias = tuple[Kind, bytes]
"""The POP, and the scope as its byte in a client subnet option."""
_Narrow: TypeAlias = dict[bytes, Verdict]


class Kinds:
    """All there are, each once."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, Reason], Kind] = {}
        self._verdicts: dict[tuple[Kind, int], Verdict] = {}

    def of(self, choice: Choice) -> Kind:
        """The one of a choice."""
        pair = choice.pop.name, choice.reason
        kind = self._known.get(pair)
        if kind is None:
            kind = self._known[pair] = Kind(*pair)
        return kind

    def verdict(self, choice: Choice) -> Verdict:
        """A choice without its client."""
        kind = self.of(choice)
        verdict = self._verdicts.get((kind, choice.scope))
        if verdict is None:
            verdict = self._verdicts[kind, choice.scope] = kind, bytes((choice.scope,))
        return verdict


class Verdicts:
    """Of one set of POPs. `choose` is asked for what is not known yet; must give the same until `forget` is called."""

    def __init__(self, choose: Callable[[Client], Choice], kinds: Kinds) -> None:
        self._choose = choose
        self._kinds = kinds
        self._wide: dict[bytes, Verdict | _Narrow] = {}
        """By the first 16 or 32 bits: what holds for all of it, or what is known of networks inside."""
        self._narrow = 0
        self._askers: dict[str, Verdict] = {}
        self._near: dict[bytes, list[str]] = {}
        """Askers by the first bits of their addresses."""

    def __len__(self) -> int:
        return len(self._wide) + self._narrow + len(self._askers)

    def of_24(self, address: bytes) -> Verdict:
        """Of an IPv4 network, by the three bytes of its address."""
        found = self._wide.get(address[:2])
        if isinstance(found, dict):
            found = found.get(address)
        return found or self._decide(address, address[:2], Client(int.from_bytes(address) << 8, 32, 24))

    def of_56(self, address: bytes) -> Verdict:
        """Of an IPv6 network, by the seven bytes of its address."""
        found = self._wide.get(address[:4])
        if isinstance(found, dict):
            found = found.get(address)
        return found or self._decide(address, address[:4], Client(int.from_bytes(address) << 72, 128, 56))

    def of_source(self, source: str) -> Verdict:
        """Of whoever asks from an address."""
        return self._askers.get(source) or self._admit(source, Client.at(source))

    def of(self, client: Client) -> Verdict:
        """Of a network of unusual length."""
        name = f"{client.bits}:{client.address:x}/{client.prefix}"
        return self._askers.get(name) or self._admit(name, client)

    def forget(self, clients: Iterable[Client]) -> None:
        """Decide anew for networks in the same /16 or /32 as these."""
        for client in clients:
            near = _near(client)
            found = self._wide.pop(near, None)
            if isinstance(found, dict):
                self._narrow -= len(found)
            for asker in self._near.pop(near, ()):
                self._askers.pop(asker, None)

    def _decide(self, address: bytes, near: bytes, client: Client) -> Verdict:
        choice = self._choose(client)
        verdict = self._kinds.verdict(choice)
        if len(self._wide) + self._narrow >= 2 * NETWORKS_MAX:
            self._wide.clear()
            self._narrow = 0
        if choice.scope <= _WIDTH[client.bits]:
            self._wide[near] = verdict
            return verdict
        inside = self._wide.get(near)
        if not isinstance(inside, dict):
            inside = self._wide[near] = {}
        inside[address] = verdict
        self._narrow += 1
        return verdict

    def _admit(self, name: str, client: Client) -> Verdict:
        if len(self._askers) >= NETWORKS_MAX:
            self._askers.clear()
            self._near.clear()
        verdict = self._askers[name] = self._kinds.verdict(self._choose(client))
        self._near.setdefault(_near(client), []).append(name)
        return verdict


def _near(client: Client) -> bytes:
    width = _WIDTH[client.bits]
    return (client.address >> client.bits - width).to_bytes(width // 8)
