"""What SIGHUP does: all files read anew, and what a running process cannot change refused."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence

from edgeproxy.configuration import Configuration
from edgeproxy.edge.certificates import load_configured
from edgeproxy.errors import ConfigError, Fault
from edgeproxy.nodes import NodeRun
from edgeproxy.settings import Control, Resolver
from edgeproxy.sources import Sources
from edgeproxy.supervisor import Message

log = logging.getLogger(__name__)

FIXED_TABLES = ("connections", "upstream", "cache", "fills", "compression", "log", "drain", "control")
"""What a worker has built its parts from: a reload that changes it would only half take effect, so it is refused."""
RELOADED_BY_RESOLVER = {
    "ttl", "negative_ttl", "zone_ttl", "addresses", "nameservers", "hostmaster", "zones", "networks", "countries",
    "location_database", "default", "aliases", "https_records", "texts",
}  # fmt: skip
"""What a reload changes of it; the rest is refused, as above."""


def reloading(
    runs: Sequence[NodeRun],
    sources: Sources,
    resolver: Resolver | None = None,
    prove: Callable[[Configuration], object] = lambda configuration: None,
    control: Control | None = None,
) -> Callable[[], Message | None]:
    """What SIGHUP does: all files again, whole or not at all. Returns what the workers are told.

    `resolver`: the settings of one that runs beside the nodes, or alone; `prove` raises ConfigError for what it could
    not use. `control`: the settings of a control plane that runs alone.
    """

    def reload() -> Message | None:
        fresh = Sources(sources.path, origin=sources.origin, access_log=sources.access_log)
        try:
            configuration = fresh.configuration(os.environ)
            load_configured(configuration.settings.certificates)  # no worker is to find out that one is bad
            faults = [fault for run in runs for fault in _unchangeable(run, configuration)]
            faults += [] if resolver is None else _unchangeable_resolver(resolver, configuration)
            if control is not None and configuration.settings.control != control:
                faults.append(Fault(configuration.path, "control", "", "changed; needs a restart"))
            if faults:
                raise ConfigError(faults)
            prove(configuration)  # nor is the resolver, of its database of locations
        except (ConfigError, OSError) as error:
            log.error("SIGHUP: the new configuration is refused, the old one stays:\n%s", error)
            return None
        for run in runs:
            run.configuration = configuration
        log.info("SIGHUP: the new configuration is in use")
        return {"do": "reload", "sources": fresh.to_json()}

    return reload


def _unchangeable(run: NodeRun, configuration: Configuration) -> list[Fault]:
    """What a running node cannot change."""
    found = [node for node in configuration.settings.nodes if node.name == run.node.name]
    if not found:
        return [Fault(configuration.path, "nodes", run.node.name, "a running node cannot be removed; stop it first")]
    old, new = run.configuration.settings, configuration.settings
    before = next(node for node in old.nodes if node.name == run.node.name)
    places = [
        (f"nodes[{run.node.name}].{name}", getattr(found[0], name))
        for name in ("mode", "listen", "https", "admin", "workers", "upstream", "region", "code")
        if getattr(found[0], name) != getattr(before, name)
    ]
    places += [(name, getattr(new, name)) for name in FIXED_TABLES if getattr(new, name) != getattr(old, name)]
    return [Fault(configuration.path, place, str(value), "changed; needs a restart") for place, value in places]


def _unchangeable_resolver(before: Resolver, configuration: Configuration) -> list[Fault]:
    """What a running resolver cannot change: all but what it answers."""
    after = configuration.settings.resolver
    changed = {name: getattr(after, name) for name in type(after).model_fields if name not in RELOADED_BY_RESOLVER}
    return [
        Fault(configuration.path, f"resolver.{name}", str(value), "changed; needs a restart")
        for name, value in changed.items()
        if value != getattr(before, name)
    ]
