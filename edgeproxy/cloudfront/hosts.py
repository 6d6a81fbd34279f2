"""Which distribution serves a Host (fact sheet 1.4, and "Aliases" in 11)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from edgeproxy.model import Distribution

LABELS_MAX = 128
"""A host name has no more labels than this: 253 characters hold 127."""


class Hosts:
    """The distributions of a node, found by Host or by id."""

    def __init__(self, distributions: Iterable[Distribution] = ()) -> None:
        self._by_id: dict[str, Distribution] = {}
        self._exact: dict[str, Distribution] = {}
        self._wild: dict[str, Distribution] = {}
        self._any: Distribution | None = None
        self._staging: dict[str, Distribution] = {}
        for distribution in distributions:
            self._by_id[distribution.id] = distribution
            if distribution.any_host and self._any is None:
                self._any = distribution
            self._exact.setdefault(distribution.domain.lower(), distribution)
            if distribution.staging:
                self._staging[distribution.id.lower()] = distribution
                continue
            for alias in distribution.aliases:
                if alias.startswith("*."):
                    self._wild.setdefault(alias[2:].lower(), distribution)
                else:
                    self._exact.setdefault(alias.lower(), distribution)

    def __iter__(self) -> Iterator[Distribution]:
        return iter(self._by_id.values())

    def by_id(self, id: str) -> Distribution | None:
        """The distribution with this id, disabled or not."""
        return self._by_id.get(id)

    def find(self, authority: bytes) -> Distribution | None:
        """Who serves this Host; its port and the case of its letters do not matter.

        An exact name goes before a wildcard, a longer wildcard before a shorter one. A disabled distribution keeps its
        names, so that nobody else serves them, but serves nobody; a staging distribution serves nobody by its name.
        """
        found = self._named(_name(authority)) or self._any
        return found if found is not None and found.enabled and not found.staging else None

    def staging_of(self, primary: Distribution) -> Distribution | None:
        """The staging distribution that the primary's policy names, where it is here and enabled."""
        found = None if primary.deployment is None else self._staging.get(primary.deployment.staging)
        return found if found is not None and found.enabled else None

    def _named(self, name: str) -> Distribution | None:
        found = self._exact.get(name)
        if found is not None or not self._wild:
            return found
        rest = name
        for _ in range(LABELS_MAX):
            _, dot, rest = rest.partition(".")
            if not dot:
                return None
            if rest in self._wild:
                return self._wild[rest]
        return None


def _name(authority: bytes) -> str:
    text = authority.decode("latin-1").lower()
    host, colon, port = text.rpartition(":")
    if colon and (port.isdigit() or not port):
        text = host
    return text.removesuffix(".")
