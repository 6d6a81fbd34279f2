"""The command line. What takes long to import is imported by the command that needs it."""

from __future__ import annotations

import json
import logging
import os
import sys
from pathlib import Path
from typing import Any

import click

from edgeproxy import __version__
from edgeproxy.errors import ConfigError, EdgeError
from edgeproxy.running import COMMANDS, FAILED, USAGE, data_dir_option, endpoint
from edgeproxy.units import address_text


class _Address(click.ParamType[str]):
    name = "HOST:PORT"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:  # Any: click's
        try:
            return str(address_text(value))
        except ValueError as error:
            self.fail(f"{value}: {error}", param, ctx)


ADDRESS = _Address()

_config = click.option(
    "--config", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE", help="Settings file (TOML)."
)
_clock = click.option(
    "--clock",
    type=click.Choice(["real", "test"]),
    default="real",
    show_default=True,
    help="`test` lets POST /clock move time.",
)


@click.group(
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    epilog="""\b
Examples:
  edgeproxy up                                    a whole CDN on this machine
  edgeproxy up --origin http://127.0.0.1:3000     the same in front of your own application
  edgeproxy serve --listen 127.0.0.1:8080 --origin http://127.0.0.1:3000
  edgeproxy check configs/compose.toml
""",
)
@click.version_option(__version__, prog_name="edgeproxy")
def main() -> None:
    """A content delivery tier anyone can run: POPs, regional edge caches, a resolver, a control plane."""
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s", stream=sys.stderr)


def entry() -> None:
    """The console script: every error of a configuration in one line each, exit code 2."""
    try:
        main(prog_name="edgeproxy")
    except ConfigError as error:
        for fault in error.faults:
            click.echo(f"error: {fault}", err=True)
        sys.exit(USAGE)
    except EdgeError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(FAILED)


@main.command(
    epilog="""\b
Examples:
  edgeproxy up
  edgeproxy up --origin http://127.0.0.1:3000
  edgeproxy up --config configs/local.toml --data-dir /var/tmp/cdn --clock test
"""
)
@_config
@data_dir_option
@click.option("--origin", metavar="URL", help="Your own application, instead of the demo site.")
@_clock
def up(config: Path | None, data_dir: Path, origin: str | None, clock: str) -> None:
    """Run a whole CDN on this machine: origin, regionals, POPs, resolver, control plane."""
    from edgeproxy import roles, tables

    options = roles.UpOptions(data_dir, config, origin, clock == "test")
    sys.exit(roles.up(options, lambda endpoints: tables.started(endpoints, data_dir)))


@main.command(
    epilog="""\b
Examples:
  edgeproxy serve --listen 127.0.0.1:8080 --origin http://127.0.0.1:3000
  edgeproxy serve --mode regional --listen 127.0.0.1:8090 --origin http://127.0.0.1:3000
  edgeproxy serve --mode pop --listen 127.0.0.1:8080 --upstream http://127.0.0.1:8090
  edgeproxy serve --config configs/compose.toml --node frankfurt
"""
)
@click.option("--mode", type=click.Choice(["pop", "regional"]), help="Which tier this node is.  [default: pop]")
@click.option("--listen", type=ADDRESS, multiple=True, help="Plain HTTP; port 0 picks a free one. Repeatable.")
@click.option("--https", type=ADDRESS, multiple=True, help="HTTPS, with certificates from the local CA. Repeatable.")
@click.option("--origin", metavar="URL", help="Cache in front of this origin.")
@click.option("--upstream", metavar="URL", help="Ask this regional on a miss.")
@_config
@click.option("--node", metavar="NAME", help="Which node of the settings file; without a file, this node's name.")
@click.option(
    "--rules",
    type=click.Choice(["rfc9111", "cloudfront"]),
    help="Caching rules.  [default: rfc9111; with --config as each distribution says]",
)
@data_dir_option
@click.option("--workers", type=click.IntRange(1, 256), help="Worker processes.  [default: one per processor]")
@click.option("--admin", type=ADDRESS, help="Health, metrics, clock.  [default: a free port of 127.0.0.1]")
@click.option("--access-log", metavar="PATH|-|off", help="Access log.  [default: access.log in the node's data]")
@_clock
def serve(
    mode: str | None,
    listen: tuple[str, ...],
    https: tuple[str, ...],
    origin: str | None,
    upstream: str | None,
    config: Path | None,
    node: str | None,
    rules: str | None,
    data_dir: Path,
    workers: int | None,
    admin: str | None,
    access_log: str | None,
    clock: str,
) -> None:
    """Run one node: a POP or a regional edge cache."""
    if sum(source is not None for source in (origin, upstream, config)) != 1:
        raise click.UsageError("say where content comes from: one of --origin, --upstream and --config.")
    if config is None and not listen and not https:
        raise click.UsageError("say where to listen: --listen HOST:PORT.")
    if config is not None and mode is not None:
        raise click.UsageError("--mode is in the settings file; leave it out beside --config.")
    from edgeproxy import roles
    from edgeproxy.model import Rules

    options = roles.ServeOptions(
        data_dir=data_dir,
        mode=mode,
        listen=listen,
        https=https,
        origin=origin,
        upstream=upstream,
        config=config,
        node=node,
        rules=None if rules is None else Rules(rules),
        workers=workers,
        admin=admin,
        access_log=access_log,
        test_clock=clock == "test",
    )
    sys.exit(roles.serve(options, lambda entry: roles.say(roles.started_text(entry))))


@main.group(
    invoke_without_command=True,
    epilog="""\b
Examples:
  edgeproxy resolver --config configs/compose.toml
  edgeproxy resolver explain 198.51.100.7 demo.edge.localhost
  edgeproxy resolver explain 198.51.100.7 www.example.test --config configs/compose.toml
""",
)
@click.option("--config", type=click.Path(path_type=Path), metavar="FILE", help="Settings file.")
@data_dir_option
@click.pass_context
def resolver(context: click.Context, config: Path | None, data_dir: Path) -> None:
    """Run the DNS resolver that sends each client to its POP, or ask where it sends one."""
    if context.invoked_subcommand is not None:
        return
    if config is None:
        raise click.UsageError("name a settings file: --config FILE.")
    from edgeproxy import roles

    sys.exit(
        roles.resolver(
            config,
            data_dir,
            lambda made: roles.say(f"resolver listens on {', '.join(made['resolver'])}, admin {made['admin']}"),
        )
    )


@resolver.command(
    "explain",
    epilog="""\b
Asks the running resolver: the one whose admin listener is in FILE, or without FILE the one of `edgeproxy up`. Where
FILE's does not run, the answer is what the file alone says: nothing is measured, and every POP is taken to be up.
""",
)
@click.argument("ip")
@click.argument("name")
@click.option("--config", type=click.Path(path_type=Path), metavar="FILE", help="Settings file.")
@data_dir_option
@click.option("--json", "as_json", is_flag=True, help="Everything, as JSON.")
def resolver_explain(ip: str, name: str, config: Path | None, data_dir: Path, as_json: bool) -> None:
    """Print which POP a client at IP is sent to for NAME, and the numbers behind it."""
    from edgeproxy import roles
    from edgeproxy.dns.explain import text

    said = roles.explain(ip, name, config, None if config is not None else endpoint("resolver_admin", data_dir))
    click.echo(json.dumps(said, indent=2) if as_json else text(said))


@main.command()
@click.option(
    "--root",
    type=click.Path(path_type=Path),
    default=Path(__file__).parent / "origin" / "site",
    help="Folder to serve.  [default: the demo site]",
)
@click.option("--listen", type=ADDRESS, default="127.0.0.1:3000", show_default=True, help="Where it answers.")
def origin(root: Path, listen: str) -> None:
    """Run the demo origin: a folder, and a few endpoints that are useful in experiments."""
    from edgeproxy import roles

    sys.exit(roles.origin(root, listen, lambda made: roles.say(f"origin listens on {made['origin']}")))


@main.command(
    epilog="""\b
Examples:
  edgeproxy control --config configs/compose.toml --data-dir /var/lib/edgeproxy
  aws cloudfront list-distributions --endpoint-url http://127.0.0.1:8400
"""
)
@click.option("--config", type=click.Path(path_type=Path), required=True, metavar="FILE", help="Settings file.")
@data_dir_option
@_clock
def control(config: Path, data_dir: Path, clock: str) -> None:
    """Run the control plane: CloudFront's API, and the feed that nodes follow."""
    from edgeproxy import roles

    test_clock = clock == "test"
    sys.exit(
        roles.control(
            config, data_dir, test_clock, lambda made: roles.say(f"control plane listens on {made['control']}")
        )
    )


@main.command(
    epilog="""\b
Examples:
  edgeproxy check configs/compose.toml
  edgeproxy check distribution.json
  edgeproxy check --reference
Exit code: 0 when it can be used, 2 when it has faults.
"""
)
@click.argument("file", type=click.Path(path_type=Path), required=False)
@click.option("--reference", is_flag=True, help="Print every setting with type, range, default and unit.")
def check(file: Path | None, reference: bool) -> None:
    """Check a settings file, a distribution or a policy: all faults, and what has no effect here."""
    from edgeproxy import configuration

    if reference:
        click.echo(configuration.reference_text(), nl=False)
        return
    if file is None:
        raise click.UsageError("name a file, or ask for --reference.")
    click.echo(configuration.check_text(file, os.environ))


@main.group()
def ca() -> None:
    """The local certificate authority."""


@ca.command("path")
@data_dir_option
def ca_path(data_dir: Path) -> None:
    """Print where its certificate is, made on first use:  curl --cacert $(edgeproxy ca path) ..."""
    from edgeproxy import roles

    click.echo(roles.authority_path(data_dir))


@ca.command("export")
@data_dir_option
def ca_export(data_dir: Path) -> None:
    """Print its certificate (PEM)."""
    from edgeproxy import roles

    click.echo(roles.authority_path(data_dir).read_text(), nl=False)


for _command in COMMANDS:
    main.add_command(_command)


if __name__ == "__main__":
    entry()
