"""Tables for people: with colours on a terminal, as plain text anywhere else."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from edgeproxy.units import split_address

_COLUMNS = {
    "requests": "edgeproxy_requests_total",
    "hits": 'edgeproxy_results_total{result="Hit"}',
    "misses": 'edgeproxy_results_total{result="Miss"}',
    "errors": 'edgeproxy_results_total{result="Error"}',
    "to tier": 'edgeproxy_hops_total{to="tier"}',
    "to origin": 'edgeproxy_hops_total{to="origin"}',
    "objects": "edgeproxy_store_objects",
    "bytes kept": "edgeproxy_store_bytes",
}


def _console(stderr: bool = False) -> Console:
    stream = sys.stderr if stderr else sys.stdout
    # Into a file or a pipe a table may be as wide as it likes: lines must not be folded for the next program.
    return Console(file=stream, highlight=False, width=None if stream.isatty() else 200)


def started(endpoints: Mapping[str, Any], data_dir: Path) -> None:  # Any: endpoints.json
    """What `up` started, and what to try first."""
    table = Table(box=None, pad_edge=False)
    for heading in ("node", "tier", "region", "HTTP", "HTTPS", "admin"):
        table.add_column(heading, no_wrap=True)
    for node in endpoints["nodes"]:
        table.add_row(
            node["name"], node["mode"], node["region"], "  ".join(node["urls"]), node["https_url"] or "", node["admin"]
        )
    console = _console()
    console.print(table)
    console.print()
    console.print(f"origin    {endpoints['origin']}")
    console.print(f"resolver  {endpoints['resolver']}")
    console.print(f"control   {endpoints['control']}")
    console.print(f"data      {data_dir}")
    pops = [node for node in endpoints["nodes"] if node["mode"] == "pop" and node["url"]]
    if pops and endpoints["distributions"]:
        domain = endpoints["distributions"][0]["domain"]
        _, port = split_address(pops[0]["url"].removeprefix("http://"))
        console.print(f"\nTry:  curl -i http://{domain}:{port}/      (more than once; X-Cache tells what happened)")
        console.print("Stop: Ctrl-C")
    sys.stdout.flush()


def status(nodes: Sequence[Mapping[str, Any]]) -> None:  # Any: the control plane's JSON
    """Nodes and their counters."""
    table = Table(box=None, pad_edge=False)
    for heading in ("node", "tier", "region", "state"):
        table.add_column(heading, no_wrap=True)
    for heading in _COLUMNS:
        table.add_column(heading, justify="right", no_wrap=True)
    for node in nodes:
        state = "[green]ready[/]" if node.get("ready") else f"[red]{node.get('error', 'not ready')}[/]"
        counters = node.get("counters", {})
        figures = [f"{counters[name]:,}" if name in counters else "-" for name in _COLUMNS.values()]
        table.add_row(node["name"], node["mode"], node["region"], state, *figures)
    _console().print(table)


def plain(headings: Sequence[str], lines: Sequence[Sequence[str]]) -> None:
    """A table of texts; the last column is as long as it is."""
    table = Table(box=None, pad_edge=False)
    for heading in headings[:-1]:
        table.add_column(heading, no_wrap=True)
    table.add_column(headings[-1], overflow="fold")
    for line in lines:
        table.add_row(*map(escape, line))
    _console().print(table)
