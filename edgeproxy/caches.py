"""The commands that look into the caches of a running CDN, and empty them: `edgeproxy cache list|show|drop`."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import click

from edgeproxy.errors import EdgeError
from edgeproxy.units import bytes_text, seconds_text

OK, FAILED, USAGE = 0, 1, 2
PAGE = 1000

_options = (
    click.option("--node", "names", metavar="NAME", multiple=True, help="Only this node. Repeatable.  [default: all]"),
    click.option("--admin", metavar="URL", help="A node by its admin listener, whether it belongs to a CDN or not."),
    click.option("--control", metavar="URL", envvar="EDGEPROXY_CONTROL", help="The CDN's control plane."),
    click.option(
        "--data-dir",
        type=click.Path(path_type=Path, file_okay=False),
        envvar="EDGEPROXY_DATA",
        default=".edgeproxy",
        show_default=True,
        help="Of the CDN, when no --control is given ($EDGEPROXY_DATA).",
    ),
    click.option("--json", "as_json", is_flag=True, help="Everything, as JSON, an object a line."),
)


def _where(command: Any) -> Any:  # Any: click's decorators take and give what they like
    for option in reversed(_options):
        command = option(command)
    return command


@click.group(
    epilog="""\b
PATTERN is a glob (*, ?, [...]). One that begins with / fits paths with their query; any other fits whole keys, which
begin with the distribution's id.
\b
Examples:
  edgeproxy cache list '/img/*'
  edgeproxy cache show /index.html --node frankfurt
  edgeproxy cache drop '/img/*' --json
"""
)
def cache() -> None:
    """Look into the caches of a running CDN, or of one node."""


@cache.command("list", epilog="Exit code: 0 when every node answered, 1 when one did not, 2 when no CDN was found.")
@click.argument("pattern", default="*")
@_where
@click.option("--limit", type=click.IntRange(1), default=200, show_default=True, help="Most responses, per node.")
def list_(
    pattern: str,
    names: tuple[str, ...],
    admin: str | None,
    control: str | None,
    data_dir: Path,
    as_json: bool,
    limit: int,
) -> None:
    """List what is stored: keys, sizes, ages, freshness left, hits, where it is."""
    answers = _Answers(names, admin, control, data_dir)
    rows = [row for row in answers.rows(pattern, limit) if not as_json or _print(row)]
    if not as_json:
        _list_text(rows)
    sys.exit(answers.code)


@cache.command(
    epilog="Exit code: 0 when something was found, 1 when not, or when a node did not answer; 2 when no CDN was found."
)
@click.argument("pattern")
@_where
def show(
    pattern: str, names: tuple[str, ...], admin: str | None, control: str | None, data_dir: Path, as_json: bool
) -> None:
    """Show stored responses with their fields and the byte intervals that are there."""
    answers = _Answers(names, admin, control, data_dir)
    found = False
    for row in answers.rows(pattern, PAGE):
        found = True
        if as_json:
            _print(row)
        else:
            click.echo(_row_text(row))
    if not found:
        click.echo(f"nothing is stored that fits {pattern}", err=True)
    sys.exit(answers.code or (OK if found else FAILED))


@cache.command(
    epilog="Exit code: 0 when every node has dropped it, 1 when one did not answer, 2 when no CDN was found."
)
@click.argument("pattern")
@_where
def drop(
    pattern: str, names: tuple[str, ...], admin: str | None, control: str | None, data_dir: Path, as_json: bool
) -> None:
    """Forget what is stored, in memory and on disk, in all workers at once. Other nodes keep what they have."""
    answers = _Answers(names, admin, control, data_dir)
    for name, dropped in answers.dropped(pattern):
        if as_json:
            _print({"node": name, "dropped": dropped})
        else:
            click.echo(f"{name}: {dropped} dropped")
    sys.exit(answers.code)


class _Answers:
    """What the nodes say; `code` becomes FAILED when one does not answer, which is said at once."""

    def __init__(self, names: tuple[str, ...], admin: str | None, control: str | None, data_dir: Path) -> None:
        self.code = OK
        self._nodes = _nodes(names, admin, control, data_dir)

    def rows(self, pattern: str, limit: int) -> Iterator[dict[str, Any]]:  # Any: JSON
        """Stored responses of one node after the other, each with the node's name; at most `limit` of each."""
        from edgeproxy.control.client import ask

        for name, admin in self._nodes:
            asked, left = {"pattern": pattern}, limit
            while left > 0:
                try:
                    page = ask(admin, "/cache?" + urlencode({**asked, "limit": str(min(left, PAGE))}))
                except EdgeError as error:
                    self._failed(name, error)
                    break
                for row in page["entries"]:
                    yield {"node": page.get("name", name), **row}
                left -= len(page["entries"])
                if page["after"] is None:
                    break
                asked["after"] = page["after"]

    def dropped(self, pattern: str) -> Iterator[tuple[str, int]]:
        """How many each node dropped."""
        from edgeproxy.control.client import tell

        for name, admin in self._nodes:
            try:
                answer = tell(admin, "/cache/drop?" + urlencode({"pattern": pattern}))
            except EdgeError as error:
                self._failed(name, error)
            else:
                yield answer.get("name", name), int(answer["dropped"])

    def _failed(self, name: str, error: EdgeError) -> None:
        click.echo(f"error: {name}: {error}", err=True)
        self.code = FAILED


def _nodes(names: tuple[str, ...], admin: str | None, control: str | None, data_dir: Path) -> list[tuple[str, str]]:
    """(name, URL of the admin listener) of the nodes to ask."""
    from edgeproxy.control.client import ask

    if admin is not None:
        url = admin if "://" in admin else f"http://{admin}"
        return [(url, url.rstrip("/"))]
    if control is None:
        file = data_dir / "endpoints.json"
        try:
            control = str(json.loads(file.read_text())["control"])
        except (OSError, ValueError, KeyError):
            remedy = "Name it with --control URL, or a node with --admin URL."
            click.echo(f"error: no running CDN found: {file} is not there. {remedy}", err=True)
            sys.exit(USAGE)
    known = {node["name"]: node["admin"] for node in ask(control.rstrip("/"), "/status")["nodes"]}
    unknown = [name for name in names if name not in known]
    if unknown:
        click.echo(f"error: no node {', '.join(unknown)}; there are: {', '.join(known)}", err=True)
        sys.exit(USAGE)
    return [(name, known[name]) for name in names or known]


def _print(row: Mapping[str, Any]) -> bool:  # Any: JSON
    click.echo(json.dumps(row))
    return False


def _place(row: Mapping[str, Any]) -> str:  # Any: JSON
    tiers = "+".join(tier for tier in ("memory", "disk") if row[tier])
    return tiers if row["owner"] else f"{tiers} (copy)"


def _figures(row: Mapping[str, Any]) -> list[str]:  # Any: JSON
    size = bytes_text(row["size"])
    if row["intervals"] is not None:
        size = f"{size} of {bytes_text(row['length'])}"
    ttl = "-" if row["ttl"] is None else seconds_text(row["ttl"])
    return [str(row["status"]), size, seconds_text(row["age"]), ttl, str(row["hits"]), _place(row)]


def _list_text(rows: list[dict[str, Any]]) -> None:  # Any: JSON
    """A table on a terminal; anywhere else a line each, with tabs."""
    headings = ["node", "status", "size", "age", "fresh for", "hits", "where", "key"]
    lines = [[row["node"], *_figures(row), row["key"]] for row in rows]
    if sys.stdout.isatty():
        from edgeproxy import tables

        tables.plain(headings, lines)
        return
    for line in lines:
        click.echo("\t".join(line))


def _row_text(row: Mapping[str, Any]) -> str:  # Any: JSON
    status, size, age, ttl, hits, where = _figures(row)
    lines = [
        row["key"],
        f"  node       {row['node']}, worker {row['worker']}, {where}",
        f"  status     {status}",
        f"  size       {size}",
        f"  age        {age}, fresh for {ttl}",
        f"  hits       {hits}",
    ]
    if row["intervals"] is not None:
        lines.append("  intervals  " + ", ".join(f"{start}-{end - 1}" for start, end in row["intervals"]))
    lines += [f"  vary       {name}: {'(absent)' if value is None else value}" for name, value in row["vary"]]
    lines += [f"  {name}: {value}" for name, value in row["headers"]]
    return "\n".join(lines) + "\n"
