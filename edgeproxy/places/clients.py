"""Where viewers are: what the settings say of their networks, over what a database of locations says."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from ipaddress import ip_network

from edgeproxy.places.geography import NOWHERE, Whereabouts
from edgeproxy.places.location import Locations
from edgeproxy.places.networks import Client, Networks
from edgeproxy.settings import Network


class Clients:
    """Looks viewers up by address. A network of the settings wins where it says something."""

    def __init__(self, networks: Iterable[Network] = (), database: Locations | None = None) -> None:
        said = [
            (ip_network(each.network), Whereabouts(each.country, latitude=each.latitude, longitude=each.longitude))
            for each in networks
            if each.country or each.latitude is not None
        ]
        self._networks: Networks[Whereabouts] = Networks(said, NOWHERE)
        self._database = database

    def find(self, address: str) -> Whereabouts:
        """What is known about where this address is; nothing for what is no address."""
        try:
            client = Client.at(address)
        except ValueError:
            return NOWHERE
        said, _ = self._networks.find(client)
        if self._database is None:
            return said
        found = self._database.describe(client)
        if said is NOWHERE:
            return found
        if said.country not in ("", found.country):
            found = Whereabouts(country=said.country)  # a city in another country would be nonsense
        if said.latitude is not None:
            found = replace(found, latitude=said.latitude, longitude=said.longitude)
        return found


UNPLACED = Clients()
"""Knows of nobody where they are."""
