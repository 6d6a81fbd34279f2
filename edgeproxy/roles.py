"""The assembly: each command's settings become sockets, shared memory and children, and run until told to stop.

With `nodes.py`, `children.py` and `supervisor.py` the only place that knows of processes, signals, uvloop, real clocks
and randomness. Nothing imports it but the command line.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from edgeproxy.binding import DirectoryLock, address_of, listening, usable
from edgeproxy.children import ControlSetting, control_child, origin_child
from edgeproxy.configuration import Configuration, origin_only
from edgeproxy.control.api import KnownNode
from edgeproxy.control.client import ask_for_explanation
from edgeproxy.edge.authority import Authority, ca_path
from edgeproxy.edge.node import NextTier
from edgeproxy.errors import ConfigError, Fault, OriginUnreachable
from edgeproxy.following.follower import Whom
from edgeproxy.model import Rules
from edgeproxy.nodes import NodeRun
from edgeproxy.reloading import reloading
from edgeproxy.resolving import explanation_of_file, resolver_child
from edgeproxy.settings import Node, Settings
from edgeproxy.sources import Sources
from edgeproxy.supervisor import Message, Supervisor
from edgeproxy.units import join_address, split_address
from edgeproxy.upstream.client import Target

log = logging.getLogger(__name__)

DEFAULTS = Path(__file__).parent / "defaults"
Report = Callable[[Mapping[str, Any]], None]  # Any: what endpoints.json holds
"""Called once, when everything answers."""


@dataclass(frozen=True, slots=True)
class ServeOptions:
    """What `edgeproxy serve` was told."""

    data_dir: Path
    mode: str | None = None
    listen: Sequence[str] = ()
    https: Sequence[str] = ()
    origin: str | None = None
    upstream: str | None = None
    config: Path | None = None
    node: str | None = None
    rules: Rules | None = None
    workers: int | None = None
    admin: str | None = None
    access_log: str | None = None
    test_clock: bool = False


def serve(options: ServeOptions, report: Report) -> int:
    """Run one node until told to stop; its exit code. Raises ConfigError."""
    run, reload = (_from_file if options.config is not None else _from_options)(options)
    supervisor = Supervisor(
        run.children(),
        deadline=run.configuration.settings.drain.deadline,
        reload=reload,
        all_ready=lambda: report(_node_entry(run)),
        draining=lambda: _mark_draining([run]),
    )
    try:
        return supervisor.run()
    finally:
        run.close()


def _mark_draining(runs: Sequence[NodeRun]) -> None:
    for run in runs:
        run.page.draining = True


def _from_options(options: ServeOptions) -> tuple[NodeRun, Callable[[], Message | None]]:
    """A node without any file: a plain cache in front of one origin, or of a regional."""
    rules = options.rules or Rules.RFC9111
    url = options.origin or options.upstream
    assert url is not None, "the command line sees to it"
    _check_url(url, "--origin" if options.origin else "--upstream")
    log_settings = {} if options.access_log is None else {"log": {"path": options.access_log}}
    settings = Settings.model_validate(log_settings)
    environment_key = os.environ.get("EDGEPROXY_TIER_KEY")
    if environment_key:
        settings = settings.model_copy(update={"tier": settings.tier.model_copy(update={"key": environment_key})})
    mode = options.mode or "pop"
    port = split_address((options.listen or options.https)[0])[1]
    node = Node(
        name=options.node or (f"{mode}-{port}" if port else f"{mode}-{os.getpid()}"),
        mode=mode,  # type: ignore[arg-type]  # pydantic checks it
        listen=list(options.listen),
        https=list(options.https),
        admin=options.admin or "127.0.0.1:0",
    )
    # Every node of such a chain knows one distribution, under one name and at one revision.
    distribution = replace(origin_only(url, rules), revision="0")
    run = NodeRun(
        node=node,
        configuration=Configuration(settings, (distribution,), (), ""),
        data_dir=options.data_dir,
        workers=options.workers or os.cpu_count() or 1,
        rules=rules,
        next_tier=None if options.origin else _tier("upstream", url),
        knows_origin=options.origin is not None,
        test_clock=options.test_clock,
    )

    def reload() -> None:
        log.warning("SIGHUP: nothing to read anew, this node was started without a configuration file")

    return run, reload


def _check_url(url: str, option: str) -> None:
    parts = urlsplit(url)
    with contextlib.suppress(ValueError):
        if parts.scheme in ("http", "https") and parts.hostname and parts.port != 0:
            return
    raise ConfigError([Fault("", option, url, "expected a URL such as http://127.0.0.1:3000")])


def _tier(name: str, url: str, region: str | None = None) -> NextTier:
    parts = urlsplit(url)
    tls = parts.scheme == "https"
    host = parts.hostname or ""
    target = Target(host, parts.port or (443 if tls else 80), tls=tls)
    return NextTier(name, target, region)


def _from_file(options: ServeOptions) -> tuple[NodeRun, Callable[[], Message | None]]:
    """A node of a settings file; what the command line says stands above the file."""
    assert options.config is not None
    sources = Sources(options.config, access_log=options.access_log)
    configuration = sources.configuration(os.environ)
    node = named(configuration, options.node)
    update: dict[str, Any] = {}  # Any: the fields' own types
    if options.listen:
        update["listen"] = list(options.listen)
    if options.https:
        update["https"] = list(options.https)
    if options.admin is not None:
        update["admin"] = options.admin
    node = node.model_copy(update=update)
    run = NodeRun(
        node=node,
        configuration=configuration,
        data_dir=options.data_dir,
        workers=options.workers or node.workers or os.cpu_count() or 1,
        rules=options.rules or Rules.CLOUDFRONT,
        next_tier=tier_of_file(configuration, node),
        shields=shields_of_file(configuration),
        test_clock=options.test_clock,
        follow=_whom(configuration.settings, node.name),
    )
    return run, reloading([run], sources)


def _whom(settings: Settings, name: str = "", url: str | None = None) -> Whom | None:
    """The control plane that a node follows, by this URL or by that of the settings; None when there is none."""
    url = url or settings.control.url
    return None if url is None else Whom(url.rstrip("/"), name, settings.tier.key)


def named(configuration: Configuration, name: str | None) -> Node:
    """The node of this name; without one the only node there is. Raises ConfigError."""
    nodes = configuration.settings.nodes
    if name is None and len(nodes) == 1:
        return nodes[0]
    for node in nodes:
        if node.name == name:
            return node
    known = ", ".join(node.name for node in nodes) or "none"
    raise ConfigError([Fault(configuration.path, "nodes", name or "", f"name one of its nodes with --node: {known}")])


def tier_of_file(configuration: Configuration, node: Node) -> NextTier | None:
    """The regional that a node of the settings asks."""
    return None if node.upstream is None else _reached(named(configuration, node.upstream))


def shields_of_file(configuration: Configuration) -> dict[str, NextTier]:
    """Regionals by region; the first in the file stands for its region."""
    shields: dict[str, NextTier] = {}
    for node in configuration.settings.nodes:
        if node.mode == "regional" and (node.listen or node.https):
            shields.setdefault(node.region, _reached(node))
    return shields


def _reached(upstream: Node) -> NextTier:
    host, port = split_address((upstream.listen or upstream.https)[0])
    if upstream.addresses:
        host = upstream.addresses[0]
    scheme = "http" if upstream.listen else "https"
    return _tier(upstream.name, f"{scheme}://{join_address(host, port)}", upstream.region)


def _node_entry(run: NodeRun) -> dict[str, Any]:  # Any: JSON
    return {
        "name": run.node.name,
        "mode": run.node.mode,
        "region": run.node.region,
        "url": run.url(),
        "https_url": run.url(https=True),
        "admin": run.admin_url(),
        "urls": [f"http://{address_of(group[0])}" for group in run.http],
        "workers": run.workers,
        "access_log": run.configuration.settings.log.path.replace("DATA_DIR", str(run.directory)),
    }


@dataclass(frozen=True, slots=True)
class UpOptions:
    """What `edgeproxy up` was told."""

    data_dir: Path
    config: Path | None = None
    origin: str | None = None
    test_clock: bool = False


def up(options: UpOptions, report: Report) -> int:
    """The whole CDN on this machine until told to stop; its exit code. Raises ConfigError."""
    lock = DirectoryLock(options.data_dir)
    if options.origin is not None:
        _check_url(options.origin, "--origin")
    sources = Sources(options.config or DEFAULTS / ("local.toml" if options.origin is None else "app.toml"))
    sources.origin = options.origin
    own_origin = None
    if options.origin is None and options.config is None:
        own_origin = listening("127.0.0.1:0")[0]
        sources.origin = f"http://{address_of(own_origin)}"
    configuration = sources.configuration(os.environ)
    control_socket = listening(configuration.settings.control.listen)[0]
    control_url = f"http://{address_of(control_socket)}"
    runs = _all_nodes(configuration, options, control_url)
    children = [child for run in runs for child in run.children()]
    if own_origin is not None:
        children.append(origin_child(DEFAULTS.parent / "origin" / "site", own_origin, 10))
    # Asked for here: a child closes the sockets that are not its own.
    admins = {run.node.name: run.admin_url() for run in runs if run.node.mode == "pop"}

    def admins_of(settings: Settings) -> dict[str, str]:
        return {node.name: admins[node.name] for node in settings.nodes if node.health and node.name in admins}

    whom = _whom(configuration.settings, url=control_url)
    resolver = resolver_child(
        configuration, _with_addresses(runs), admins_of, whom, options.data_dir, beside_nodes=True
    )
    known = [KnownNode(run.node.name, run.node.mode, run.node.region, run.admin_url()) for run in runs]
    setting = ControlSetting(configuration, known, options.data_dir, control_socket, options.test_clock, alone=True)
    children += [resolver.child, control_child(setting)]
    endpoints = {
        "control": control_url,
        "resolver": resolver.addresses[0],
        "resolver_admin": resolver.admin,
        "origin": sources.origin or "",
        "nodes": [_node_entry(run) for run in runs],
        "distributions": [{"id": each.id, "domain": each.domain} for each in configuration.distributions],
    }
    file = options.data_dir / "endpoints.json"
    file.unlink(missing_ok=True)

    def all_ready() -> None:
        part = file.with_suffix(".part")
        part.write_text(json.dumps(endpoints, indent=2) + "\n")
        part.replace(file)
        report(endpoints)

    supervisor = Supervisor(
        children,
        deadline=configuration.settings.drain.deadline,
        reload=reloading(runs, sources, configuration.settings.resolver, resolver.prove),
        all_ready=all_ready,
        draining=lambda: _mark_draining(runs),
    )
    try:
        return supervisor.run()
    finally:
        file.unlink(missing_ok=True)
        for run in runs:
            run.close()
        del lock


def _all_nodes(configuration: Configuration, options: UpOptions, control_url: str) -> list[NodeRun]:
    """Every node of the file, regionals first: a POP must know where its regional really listens."""
    runs: dict[str, NodeRun] = {}
    shields: dict[str, NextTier] = {}
    for node in sorted(configuration.settings.nodes, key=lambda node: node.mode != "regional"):
        tier = None
        if node.upstream is not None:
            above = runs[node.upstream]
            tier = _tier(node.upstream, above.url() or above.url(https=True) or "", above.node.region)
        runs[node.name] = NodeRun(
            node=node.model_copy(update={"listen": usable(node.listen), "https": usable(node.https)}),
            configuration=configuration,
            data_dir=options.data_dir,
            workers=node.workers or 1,
            rules=Rules.CLOUDFRONT,
            next_tier=tier,
            shields=shields,
            test_clock=options.test_clock,
            follow=_whom(configuration.settings, node.name, control_url),
        )
        if node.mode == "regional":
            run = runs[node.name]
            url = run.url() or run.url(https=True) or ""
            shields.setdefault(node.region, _tier(node.name, url, node.region))
    return [runs[node.name] for node in configuration.settings.nodes]


def _with_addresses(runs: Sequence[NodeRun]) -> Callable[[Configuration], Settings]:
    """The settings with the addresses the nodes really have: what the resolver answers."""
    bound = {
        run.node.name: {
            "listen": [address_of(group[0]) for group in run.http],
            "https": [address_of(group[0]) for group in run.https],
        }
        for run in runs
    }

    def settings_of(configuration: Configuration) -> Settings:
        nodes = [node.model_copy(update=bound[node.name]) for node in configuration.settings.nodes]
        return configuration.settings.model_copy(update={"nodes": nodes})

    return settings_of


def origin(root: Path, listen: str, report: Report) -> int:
    """Run the demo origin."""
    if not root.is_dir():
        raise ConfigError([Fault("", "--root", str(root), "no such folder")])
    listener = listening(listen)[0]
    child = origin_child(root, listener, 10)
    return Supervisor(
        [child], deadline=10, all_ready=lambda: report({"origin": f"http://{address_of(listener)}"})
    ).run()


def resolver(config: Path, data_dir: Path, report: Report) -> int:
    """Run the resolver of a settings file."""
    sources = Sources(config)
    configuration = sources.configuration(os.environ)
    whom = _whom(configuration.settings)
    made = resolver_child(configuration, lambda each: each.settings, _pop_admins, whom, data_dir)
    return Supervisor(
        [made.child],
        deadline=5,
        reload=reloading([], sources, configuration.settings.resolver, made.prove),
        all_ready=lambda: report({"resolver": made.addresses, "admin": made.admin}),
    ).run()


def explain(ip: str, name: str, config: Path | None, admin: str | None) -> Any:  # Any: JSON
    """Where a client is sent: by the resolver with this admin listener, else by that of a settings file, or by the file
    alone. Raises ConfigError for what is no address or no name, OriginError when the resolver has no answer."""
    if config is not None:
        configuration = Sources(config).configuration(os.environ)
        listens = configuration.settings.resolver.admin
        with contextlib.suppress(OriginUnreachable):
            if split_address(listens)[1]:
                return ask_for_explanation(f"http://{listens}", ip, name)
        return explanation_of_file(configuration, ip, name)
    assert admin is not None, "the command line sees to it"
    return ask_for_explanation(admin, ip, name)


def _admin_url(node: Node) -> str:
    """Where others reach a node's admin listener, as far as the settings tell."""
    host, port = split_address(node.admin)
    if host in ("0.0.0.0", "::"):
        listening_on = [split_address(address)[0] for address in (*node.listen, *node.https)]
        host = next(iter([*node.addresses, *listening_on]), host)
    return f"http://{join_address(host, port)}"


def _pop_admins(settings: Settings) -> dict[str, str]:
    """Of the POPs whose health can be asked for: a port picked freely is known to nobody else."""
    nodes = [node for node in settings.nodes if node.mode == "pop" and node.health]
    return {node.name: _admin_url(node) for node in nodes if split_address(node.admin)[1]}


def control(config: Path, data_dir: Path, test_clock: bool, report: Report) -> int:
    """Run the control plane of a settings file."""
    lock = DirectoryLock(data_dir / "control")
    sources = Sources(config)
    configuration = sources.configuration(os.environ)
    nodes = [KnownNode(node.name, node.mode, node.region, _admin_url(node)) for node in configuration.settings.nodes]
    listener = listening(configuration.settings.control.listen)[0]
    child = control_child(ControlSetting(configuration, nodes, data_dir, listener, test_clock))
    try:
        return Supervisor(
            [child],
            deadline=5,
            reload=reloading([], sources, control=configuration.settings.control),
            all_ready=lambda: report({"control": f"http://{address_of(listener)}"}),
        ).run()
    finally:
        del lock


def started_text(entry: Mapping[str, Any]) -> str:  # Any: JSON
    """One line about a node that has just started."""
    where = ", ".join([*entry["urls"], *([entry["https_url"]] if entry["https_url"] else [])])
    return f"{entry['name']} ({entry['mode']}) listens on {where}, admin {entry['admin']}, log {entry['access_log']}"


def say(text: str) -> None:
    """A line for whoever started us."""
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


def authority_path(data_dir: Path) -> Path:
    """Where the local CA's certificate is; the CA is made when there is none yet."""
    Authority.open(data_dir, time.time)
    return ca_path(data_dir)
