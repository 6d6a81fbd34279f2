"""The commands that ask a running CDN for something, and how they find it."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

OK, FAILED, USAGE = 0, 1, 2

data_dir_option = click.option(
    "--data-dir",
    type=click.Path(path_type=Path, file_okay=False),
    envvar="EDGEPROXY_DATA",
    default=".edgeproxy",
    show_default=True,
    help="Where logs, certificates and endpoints.json are kept ($EDGEPROXY_DATA).",
)
control_option = click.option(
    "--control",
    "control_url",
    metavar="URL",
    envvar="EDGEPROXY_CONTROL",
    help="The control plane of a running CDN ($EDGEPROXY_CONTROL); default: the one in --data-dir.",
)


@click.command(
    epilog="""\b
Examples:
  edgeproxy status
  edgeproxy status --json | jq '.nodes[].ready'
Exit code: 0 when every node is ready, 1 when one is not, 2 when no CDN was found.
"""
)
@control_option
@data_dir_option
@click.option("--json", "as_json", is_flag=True, help="Everything, as JSON.")
def status(control_url: str | None, data_dir: Path, as_json: bool) -> None:
    """Show a running CDN's nodes and counters."""
    from edgeproxy import tables
    from edgeproxy.control.client import ask

    answer = ask(control_of(control_url, data_dir), "/status")
    nodes: Sequence[Mapping[str, Any]] = answer["nodes"]  # Any: JSON
    if as_json:
        click.echo(json.dumps(answer, indent=2))
    else:
        tables.status(nodes)
    sys.exit(OK if all(node.get("ready") for node in nodes) else FAILED)


@click.command(
    epilog="""\b
Exit code: 0 when the POP has been told, 1 when it could not be, or there is none of this name; 2 when no CDN was found.
"""
)
@click.argument("pop")
@control_option
@data_dir_option
def drain(pop: str, control_url: str | None, data_dir: Path) -> None:
    """Have no more viewers sent to POP; the resolver follows with its next check. Those that come are still served."""
    _order(pop, "drain", control_url, data_dir)


@click.command()
@click.argument("pop")
@control_option
@data_dir_option
def undrain(pop: str, control_url: str | None, data_dir: Path) -> None:
    """Have viewers sent to POP again. Exit codes are those of `drain`."""
    _order(pop, "undrain", control_url, data_dir)


def _order(pop: str, order: str, control_url: str | None, data_dir: Path) -> None:
    from urllib.parse import quote

    from edgeproxy.control.client import tell

    tell(control_of(control_url, data_dir), f"/nodes/{quote(pop, safe='')}/{order}")
    click.echo(f"{pop}: {'drained' if order == 'drain' else 'in service again'}")


@click.command(
    epilog="""\b
Examples:
  edgeproxy invalidate --distribution demo '/images/*' --wait
  edgeproxy invalidate --distribution demo /index.html '/article?id=7'
  edgeproxy invalidate --distribution demo --tag product-17 --soft
Exit code: 0 when it was accepted, with --wait when it is completed everywhere; 1 when it was refused, or some node has
not acknowledged it in time: their names are printed; 2 when no CDN was found.
"""
)
@click.argument("paths", nargs=-1, metavar="[PATH]...")
@click.option("--distribution", required=True, metavar="ID", help="Whose content.")
@click.option("--tag", "tags", multiple=True, metavar="TAG", help="Everything with this cache tag. Repeatable.")
@click.option("--soft", is_flag=True, help="Only mark as stale: serve it while it is being revalidated.")
@click.option("--wait", is_flag=True, help="Show each node's acknowledgement until all have given it.")
@click.option(
    "--timeout",
    type=click.IntRange(1),
    default=600,
    show_default=True,
    help="Seconds --wait waits without any progress.",
)
@control_option
@data_dir_option
def invalidate(
    paths: tuple[str, ...],
    distribution: str,
    tags: tuple[str, ...],
    soft: bool,
    wait: bool,
    timeout: int,
    control_url: str | None,
    data_dir: Path,
) -> None:
    """Have what is stored under PATH be used no more, on any node. A * at its end stands for everything."""
    if not paths and not tags:
        raise click.UsageError("say what: a PATH, such as '/images/*', or --tag TAG.")
    from edgeproxy.control.client import tell, wait_for_invalidation

    control = control_of(control_url, data_dir)
    words = {"distribution": distribution, "paths": paths, "tags": tags, "soft": soft}
    made: Mapping[str, Any] = tell(control, "/invalidations", words)  # Any: JSON
    click.echo(f"{made['id']}: {made['status']}")
    if not wait:
        return
    missing = set(made["nodes"])
    for progress in wait_for_invalidation(control, made["id"], timeout):
        for name in sorted(missing - set(progress["waiting_for"])):
            click.echo(f"  {name}: done")
        missing = set(progress["waiting_for"])
    if missing:
        click.echo(f"{made['id']}: InProgress, waiting for {', '.join(sorted(missing))}")
        sys.exit(FAILED)
    click.echo(f"{made['id']}: Completed on {len(made['nodes'])} nodes")


@click.command(
    epilog="""\b
Exit code: 0 when it is forgotten, 1 when there is no node of this name, 2 when no CDN was found.
"""
)
@click.argument("node")
@control_option
@data_dir_option
def forget(node: str, control_url: str | None, data_dir: Path) -> None:
    """Take NODE off the list of those that invalidations wait for.

    You vouch that it serves nobody any more: if it still does, it may serve content that was invalidated. It counts as
    new when it comes back, and uses nothing it stored before it has caught up. A node that is stopped properly leaves
    by itself.
    """
    from urllib.parse import quote

    from edgeproxy.control.client import tell

    tell(control_of(control_url, data_dir), f"/nodes/{quote(node, safe='')}/forget")
    click.echo(f"{node}: forgotten; invalidations no longer wait for it")


COMMANDS = (status, drain, undrain, invalidate, forget)


def control_of(given: str | None, data_dir: Path) -> str:
    """The URL of the control plane: as given, or of the CDN that runs with this data directory."""
    return given.rstrip("/") if given is not None else endpoint("control", data_dir)


def endpoint(name: str, data_dir: Path) -> str:
    """An entry of endpoints.json; ends the command where there is none."""
    file = data_dir / "endpoints.json"
    try:
        return str(json.loads(file.read_text())[name])
    except (OSError, ValueError, KeyError):
        click.echo(
            f"error: no running CDN found: {file} is not there. Start one with `edgeproxy up`, or name it with "
            f"{'--config FILE' if name == 'resolver_admin' else '--control URL'}.",
            err=True,
        )
        sys.exit(USAGE)
