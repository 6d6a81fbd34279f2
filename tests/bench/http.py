"""edgeproxy beside nginx and Varnish: what a request costs each of them, by the kernel's accounting.

One run, on loopback: the servers on the first core (with --workers N on the first N), wrk, the origin and all else on
the last. All servers run at the same time and are asked in turn, so that whatever the machine does meanwhile touches
all of them; ratios are of the same round. CPU is the user and system time of all processes of a server, the one that
writes Varnish's log included. Before anything is measured, the bodies that all servers give are compared.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from hashlib import sha256
from pathlib import Path

from tests.bench.load import CONNECTIONS, RATE_MAX, Load, latency, wrk
from tests.bench.rivals import PROGRAMS, SIZES, Cpu, Server, Stage, ask, has_disk, program, versions

OURS = "edgeproxy"


@dataclass(frozen=True)
class Row:
    """One line of the table: what is asked, of whom, and how much of each rival's cost is aimed at."""

    title: str
    load: Load
    reach: dict[str, float]
    """By rival, the ratio that is aimed at."""
    hit: bool = True
    """The answer must come from the cache."""
    server: str = OURS


_SAME = {"nginx": 0.75, "Varnish": 0.5}
_KEPT = {"nginx": 1.0}
_POSTED = b"0123456789abcdef" * 64
ROWS = {
    "hit-1k": Row("hit, 1 KB", Load("/1k"), _SAME),
    "hit-10k": Row("hit, 10 KB", Load("/10k"), _SAME),
    "hit-100k": Row("hit, 100 KB", Load("/100k"), _SAME),
    "heads-1k": Row("hit, 1 KB, browsers' heads, each different", Load("/1k", "heads"), _KEPT),
    "tls-1k": Row("HTTPS hit, 1 KB", Load("/1k", tls=True), _KEPT),
    "tls-100k": Row("HTTPS hit, 100 KB", Load("/100k", tls=True), _KEPT),
    "hit-10m": Row("hit, 10 MB, from memory", Load("/10m"), _KEPT),
    "disk-10m": Row("hit, 10 MB, from disk", Load("/10m"), {"nginx": 1.3}, server="edgeproxy-disk"),
    "not-modified": Row("conditional hit (304)", Load("/1k", status=304), _KEPT),
    "range": Row("range hit, 1 KB of 10 KB", Load("/10k", headers=(("Range", "bytes=1000-2023"),), status=206), _KEPT),
    "miss": Row("miss and store, 1 KB, unique keys", Load("/unique/", "unique"), _KEPT, hit=False),
    "post": Row("pass-through POST, 1 KB", Load("/post", "post", body=_POSTED), {"nginx": 2.0}, hit=False),
}  # fmt: skip
LATENCY = "latency"
LATENCY_REACH = {"p50": 1.0, "p99": 1.2}
WITHOUT_VARNISH = ("tls-1k", "tls-100k", "disk-10m")
"""Varnish has no TLS, and keeps what it has in memory here."""


@dataclass
class Measured:
    """One server's rounds of one row."""

    microseconds: list[float] = field(default_factory=list)
    """CPU a request; of the latency rows, the latency."""
    user: list[float] = field(default_factory=list)
    """What of it was spent outside the kernel."""
    log: list[float] = field(default_factory=list)
    per_second: list[float] = field(default_factory=list)

    def add(self, cpu: Cpu, requests: int, seconds: float) -> None:
        """One round."""
        self.microseconds.append(cpu.total / requests * 1e6)
        self.user.append(cpu.user / requests * 1e6)
        self.log.append(cpu.log / requests * 1e6)
        self.per_second.append(requests / seconds)


Results = dict[str, dict[str, Measured]]
"""By row, by server."""


FULL = " with 75 behaviours"


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--only",
        action="append",
        metavar="ROW",
        choices=[*ROWS, LATENCY],
        help=f"{', '.join(ROWS)}, {LATENCY}; may be repeated",
    )
    parser.add_argument(
        "--against",
        action="append",
        choices=["nginx", "nginx-tuned", "Varnish"],
        help="these rivals only; may be repeated (nginx-tuned keeps the files of its cache open)",
    )
    parser.add_argument("--alone", action="store_true", help="no rival at all")
    parser.add_argument("--quick", action="store_true", help="one short round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=3, help="of each measurement")
    parser.add_argument("--workers", type=int, default=1, help="of every server")
    parser.add_argument(
        "--rules", choices=["cloudfront", "rfc9111"], default="cloudfront", help="rfc9111: `serve --origin`"
    )
    parser.add_argument(
        "--full", action="store_true", help="a distribution with 75 behaviours and policies for everything"
    )
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="everything that was measured, as JSON")
    form.add_argument("--markdown", action="store_true", help="the table in Markdown")
    parser.add_argument("--write", type=Path, help="put the table into this Markdown file, between its marks")


def run(options: argparse.Namespace) -> int:
    """Exit code."""
    rivals = [] if options.alone else options.against or ["nginx", "Varnish"]
    missing = [name for name in ("nginx", "wrk") if program(name) is None]
    if missing:
        _say(f"not installed: {_packages(missing)} (nginx is the origin, too)")
        return 2
    if "Varnish" in rivals and None in (program("varnishd"), program("varnishncsa")):
        _say(f"without Varnish; for it: {_packages(['varnishd'])}")
        rivals = [name for name in rivals if name != "Varnish"]
    rows = _rows(options)
    if options.quick:
        options.rounds, options.seconds = 1, 1
    with tempfile.TemporaryDirectory(prefix="bench-") as name, ExitStack() as running:
        stage = Stage(Path(name), options.workers, options.rules, options.full)
        running.enter_context(stage.serving("origin"))
        servers = {each: running.enter_context(stage.serving(each)) for each in _needed(rows, rivals)}
        loads = {row: _verified(row, servers, rivals) for row in rows if row != LATENCY}
        results = _measured(rows, loads, servers, rivals, stage, options)
    about = _about(options, rivals)
    table = _table(results, about)
    if options.json:
        sys.stdout.write(json.dumps({"about": about, "rows": _as_json(results)}, indent=2) + "\n")
    else:
        sys.stdout.write((table if options.markdown else _plain(results, about)) + "\n")
    if options.write is not None:
        put(options.write, "http", table)
    return 0


def _say(text: str) -> None:
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


def _packages(programs: Sequence[str]) -> str:
    return "apt-get install --no-install-recommends " + " ".join(PROGRAMS[each] for each in programs)


def _rows(options: argparse.Namespace) -> list[str]:
    """What is to be measured, and what of that can be."""
    rows = [row for row in [*ROWS, LATENCY] if row in (options.only or [*ROWS, LATENCY])]
    if "disk-10m" in rows and (not has_disk() or options.rules == "rfc9111"):
        _say("disk-10m: left out, this edgeproxy as started here keeps nothing on disk")
        rows.remove("disk-10m")
    return rows


def _needed(rows: Sequence[str], rivals: Sequence[str]) -> list[str]:
    ours = {ROWS[row].server if row in ROWS else OURS for row in rows}
    return [*sorted(ours), *rivals]


def _asked(row: str, servers: dict[str, Server], rivals: Sequence[str]) -> Iterator[tuple[str, Server]]:
    """Who takes part in a row: under the names of the table."""
    yield OURS, servers[ROWS[row].server if row in ROWS else OURS]
    for name in rivals:
        if not (name == "Varnish" and row in (*WITHOUT_VARNISH, LATENCY)):
            yield name, servers[name]


def _verified(row: str, servers: dict[str, Server], rivals: Sequence[str]) -> dict[str, Load]:
    """What to send to each server, once all have answered alike: the same status, the same body, from the cache."""
    planned = ROWS[row]
    loads, digests = {}, {}
    for name, server in _asked(row, servers, rivals):
        load = planned.load
        method = "POST" if load.body else "GET"
        path = load.path + ("verified" if load.kind == "unique" else "")
        ask(server.port, path, dict(load.headers), method, load.body or None)
        if planned.hit:
            _await_hit(server, path)
        if load.status == 304:
            tag = ask(server.port, path)[1]["etag"]
            load = Load(load.path, load.kind, (("If-None-Match", tag),), status=304)
        status, headers, body = ask(server.port, path, dict(load.headers), method, load.body or None)
        if status != load.status:
            raise SystemExit(f"{row}: {name} answered {status} instead of {load.status}: {headers}")
        loads[name], digests[name] = load, sha256(body).hexdigest()
    if len(set(digests.values())) != 1:
        raise SystemExit(f"{row}: the servers give different bodies: {digests}")
    return loads


def _await_hit(server: Server, path: str) -> None:
    """Ask until it comes from the cache: a large body may be on its way into it for a moment."""
    for _ in range(20):
        headers = ask(server.port, path)[1]
        told = (headers.get("x-cache", "") + headers.get("cache-status", "")).lower()
        if "hit" in told:
            return
    raise SystemExit(f"{server.name} does not answer {path} from its cache: {headers}")


def _measured(
    rows: Sequence[str],
    loads: dict[str, dict[str, Load]],
    servers: dict[str, Server],
    rivals: Sequence[str],
    stage: Stage,
    options: argparse.Namespace,
) -> Results:
    results: Results = {}
    half = 0.0
    for number in range(options.rounds):
        for row in rows:
            if row == LATENCY:
                half = half or _half_load(servers, rivals, stage, options.seconds)
                _measure_latency(results, servers, rivals, stage, half, options.seconds, number)
                continue
            for name, server in _asked(row, servers, rivals):
                load = loads[row][name]
                if number == 0:
                    wrk(server, load, 1, stage.client_core, f"warm-{number}")
                before = server.cpu()
                heard = wrk(server, load, options.seconds, stage.client_core, f"round-{number}")
                spent = server.cpu().since(before)
                if heard.wrong or not heard.requests:
                    raise SystemExit(f"{row}: {heard.wrong} of {heard.requests} requests to {name} went wrong")
                results.setdefault(row, {}).setdefault(name, Measured()).add(spent, heard.requests, heard.seconds)
                micro, rate = spent.total / heard.requests * 1e6, heard.requests / heard.seconds
                _say(f"{number + 1} {row} {name}: {micro:.1f} us, {rate:,.0f}/s")
    return results


def _half_load(servers: dict[str, Server], rivals: Sequence[str], stage: Stage, seconds: int) -> float:
    """Half of what the slower server can do, or what the client can."""
    best = []
    for _, server in _asked(LATENCY, servers, rivals):
        heard = wrk(server, Load("/1k"), max(1, seconds // 2), stage.client_core, "calibration")
        best.append(heard.requests / heard.seconds)
    return min(min(best) / 2, RATE_MAX)


def _measure_latency(
    results: Results,
    servers: dict[str, Server],
    rivals: Sequence[str],
    stage: Stage,
    rate: float,
    seconds: int,
    number: int,
) -> None:
    for name, server in _asked(LATENCY, servers, rivals):
        found = latency(server, Load("/1k"), SIZES["1k"], rate, seconds, stage.client_core, number)
        for row, value in (("latency-p50", found.p50), ("latency-p99", found.p99)):
            measured = results.setdefault(row, {}).setdefault(name, Measured())
            measured.microseconds.append(value)
            measured.per_second.append(found.rate)
        _say(f"{number + 1} latency {name}: p50 {found.p50:.0f} us, p99 {found.p99:.0f} us at {found.rate:,.0f}/s")


def _title(row: str) -> str:
    return ROWS[row].title if row in ROWS else f"{row[-3:]} of a hit, 1 KB, at half load"


def _reach(row: str, rival: str) -> float | None:
    if row in ROWS:
        return ROWS[row].reach.get(rival)
    return LATENCY_REACH[row[-3:]] if rival == "nginx" else None


def ratios(ours: Measured, theirs: Measured) -> tuple[float, float, float]:
    """Of our cost to theirs in the same round: median, least, greatest."""
    found = [own / each for own, each in zip(ours.microseconds, theirs.microseconds, strict=True)]
    return statistics.median(found), min(found), max(found)


def _cells(row: str, name: str, servers: dict[str, Measured]) -> list[str]:
    measured = servers[name]
    micro, rate = statistics.median(measured.microseconds), statistics.median(measured.per_second)
    cells = [_title(row), name, f"{micro:,.1f}", f"{rate:,.0f}"]
    if name == OURS:
        return [*cells, "", ""]
    middle, least, greatest = ratios(servers[OURS], measured)
    reach = _reach(row, name)
    return [*cells, f"{middle:.2f}× ({least:.2f} to {greatest:.2f})", "" if reach is None else f"≤ {reach:.2f}×"]


HEADINGS = ["request", "server", "µs", "requests/s", "edgeproxy's is, min to max over rounds", "reach"]


def _table(results: Results, about: dict[str, str]) -> str:
    """In Markdown."""
    lines = [HEADINGS, ["---"] * len(HEADINGS)]
    lines += [_cells(row, name, servers) for row, servers in results.items() for name in servers]
    return "\n".join(["| " + " | ".join(line) + " |" for line in lines] + ["", *about.values()])


def _plain(results: Results, about: dict[str, str]) -> str:
    lines = [HEADINGS, *(_cells(row, name, servers) for row, servers in results.items() for name in servers)]
    widths = [max(len(line[at]) for line in lines) for at in range(len(HEADINGS))]
    text = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines]
    return "\n".join([*text, "", *about.values()])


def _as_json(results: Results) -> dict[str, object]:
    """Every round, and the ratios."""
    found: dict[str, object] = {}
    for row, servers in results.items():
        rows = {name: asdict(measured) for name, measured in servers.items()}
        against = {}
        for name, measured in servers.items():
            if name != OURS:
                middle, least, greatest = ratios(servers[OURS], measured)
                against[name] = {"median": middle, "min": least, "max": greatest, "reach": _reach(row, name)}
        found[row] = {"title": _title(row), "servers": rows, "ratio": against}
    return found


def _about(options: argparse.Namespace, rivals: Sequence[str]) -> dict[str, str]:
    """Under which circumstances."""
    cores = os.cpu_count() or 1
    model = next((line.partition(":")[2].strip() for line in _cpuinfo() if line.startswith("model name")), "")
    return {
        "what": "CPU microseconds a request, user and system; of the last two rows microseconds of latency.",
        "how": f"Medians of {options.rounds} rounds of {options.seconds:g} s, {CONNECTIONS} connections, "
        f"{options.workers} worker(s), {options.rules} rules{FULL if options.full else ''}, access logs on.",
        "versions": ", ".join(f"{name} {version}" for name, version in versions(list(rivals)).items()) + ".",
        "machine": f"{cores} cores{f' ({model})' if model else ''}; load {os.getloadavg()[0]:.1f} at the end.",
    }


def _cpuinfo() -> list[str]:
    try:
        return Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return []


def put(path: Path, name: str, table: str) -> None:
    """Write a table between a benchmark's marks in a Markdown file, or at its end."""
    text = path.read_text() if path.exists() else "# Performance\n"
    begin, end = f"<!-- bench {name} -->", f"<!-- end of bench {name} -->"
    part = f"{begin}\n{table}\n{end}"
    if begin in text:
        text = text[: text.index(begin)] + part + text[text.index(end) + len(end) :]
    else:
        text += f"\n{part}\n"
    path.write_text(text)
