"""The resolver beside gdnsd (plugin geoip) and PowerDNS (backend geoip): CPU per query, and queries a second.

One run, on loopback, one worker each: the servers on the first core, dnsperf on the last. The same 12 POPs, 200 names,
and a synthetic database that gives each of 56,320 /16 networks a random city. Every server's processes are read from
/proc: user and system time over a run, divided by the answers that dnsperf got. Rounds go through all servers in turn,
so that whatever else the machine does meanwhile touches all of them; ratios are of the same round.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import IPv4Network
from pathlib import Path

import dns.edns
import dns.message
import dns.query

from edgeproxy.places.geography import Location, distance_km
from tests.bench.http import put
from tests.mmdb import city, database

PACKAGES = {"dnsperf": "dnsperf", "gdnsd": "gdnsd", "pdns_server": "pdns-server pdns-backend-geoip"}
NAMES = 200
QUERIES, NETWORKS = 50_000, 500
COLD_QUERIES = 1_500_000
"""More than any server answers in one run, so that no network comes twice."""
POPS = {
    "fra": (50.0, 8.6, "DE"), "lhr": (51.5, -0.5, "GB"), "cdg": (49.0, 2.5, "FR"), "mad": (40.5, -3.6, "ES"),
    "iad": (38.9, -77.5, "US"), "sfo": (37.6, -122.4, "CA"), "gru": (-23.4, -46.5, "BR"), "jnb": (-26.1, 28.2, "ZA"),
    "bom": (19.1, 72.9, "IN"), "sin": (1.4, 104.0, "SG"), "nrt": (35.8, 140.4, "JP"), "syd": (-33.9, 151.2, "AU"),
}  # fmt: skip
ADDRESSES = {name: f"192.0.2.{number}" for number, name in enumerate(POPS, 1)}
PORTS = {"edgeproxy": 5391, "gdnsd": 5392, "PowerDNS": 5393}


@dataclass(frozen=True)
class Run:
    """One dnsperf run against one server."""

    cpu_us: float
    per_second: float
    lost: float


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=5, help="of each run")
    parser.add_argument("--write", type=Path, help="put the table into this Markdown file, between its marks")


def run(options: argparse.Namespace) -> int:
    """Exit code."""
    missing = [package for program, package in PACKAGES.items() if not _program(program)]
    if missing:
        sys.stderr.write(f"missing programs; on Debian: apt-get install --no-install-recommends {' '.join(missing)}\n")
        return 2
    with tempfile.TemporaryDirectory(prefix="bench-dns-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        _write_database(folder / "cities.mmdb")
        warm, cold = folder / "warm", folder / "cold"
        _write_queries(warm, QUERIES, NETWORKS)
        _write_queries(cold, COLD_QUERIES, 0)
        results: dict[str, dict[str, list[Run]]] = {"warm": {}, "cold": {}}
        for _ in range(options.rounds):
            for server in PORTS:
                for kind, file in (("warm", warm), ("cold", cold)):
                    with _serving(server, folder) as pid:
                        made = _measure(server, pid, file, options.seconds, warm_up=kind == "warm")
                    results[kind].setdefault(server, []).append(made)
                    sys.stderr.write(f"{kind} {server}: {made.cpu_us:.2f} us, {made.per_second:,.0f} queries/s\n")
    table = _table(results, options)
    sys.stdout.write(table + "\n")
    if options.write is not None:
        put(options.write, "dns", table)
    return 0


def _program(name: str) -> str | None:
    return shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/sbin")


def _write_database(path: Path) -> None:
    """Random cities; `country` is that of the nearest POP, which is how PowerDNS is told about distance."""
    chance = random.Random(53)
    places = {name: Location(north, east, country) for name, (north, east, country) in POPS.items()}
    networks = []
    for high in [*range(1, 10), *range(11, 127), *range(128, 223)]:
        for low in range(256):
            here = Location(chance.uniform(-60, 70), chance.uniform(-180, 180))
            nearest = min(places.values(), key=lambda place: distance_km(here, place))
            record = city(round(here.latitude or 0, 2), round(here.longitude or 0, 2), nearest.country)
            networks.append((IPv4Network((high << 24 | low << 16, 16)), record))
    path.write_bytes(database(networks, kind="GeoIP2-City"))


def _write_queries(path: Path, count: int, networks: int) -> None:
    """In dnsperf's binary form. `networks`: how many /24 are drawn from; 0: each query has its own."""
    chance = random.Random(8)
    highs = [*range(1, 10), *range(11, 127), *range(128, 223)]
    pool = [(chance.choice(highs) << 16 | chance.getrandbits(16)).to_bytes(3, "big") for _ in range(networks)]
    heads = []
    for number in range(NAMES):
        query = dns.message.make_query(f"d{number:03}.bench.test", "A")
        query.use_edns(0, payload=1232, options=[dns.edns.ECSOption("192.0.2.0", 24)])
        heads.append(query.to_wire()[2:-3])
    start = chance.getrandbits(21)
    with path.open("wb") as file:
        for number in range(count):
            # A step without a common factor visits every /24 once, in no order that a cache could like.
            place = (start + number * 1_103_515) % (len(highs) << 16)
            end = chance.choice(pool) if pool else bytes((highs[place >> 16], place >> 8 & 255, place & 255))
            wire = b"\0\0" + chance.choice(heads) + end
            file.write(len(wire).to_bytes(2, "big") + wire)


@contextmanager
def _serving(server: str, folder: Path) -> Iterator[int]:
    command = {"edgeproxy": _edgeproxy, "gdnsd": _gdnsd, "PowerDNS": _powerdns}[server](folder, PORTS[server])
    with (folder / f"{server}.log").open("wb") as log:
        process = subprocess.Popen(["taskset", "-c", "0", *command], stdout=log, stderr=log)
    try:
        _await_answer(PORTS[server], folder / f"{server}.log")
        yield process.pid
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _await_answer(port: int, log: Path) -> None:
    query = dns.message.make_query("d000.bench.test", "A", use_edns=0, options=[dns.edns.ECSOption("5.6.7.0", 24)])
    until = time.monotonic() + 20
    while time.monotonic() < until:
        try:
            if dns.query.udp(query, "127.0.0.1", 0.5, port).answer:
                return
        except (OSError, dns.exception.DNSException):
            time.sleep(0.2)
    raise SystemExit(f"the server on port {port} does not answer:\n{log.read_text()[-2000:]}")


def _edgeproxy(folder: Path, port: int) -> list[str]:
    config = {
        "Origins": {"Quantity": 1, "Items": [{"Id": "o", "DomainName": "127.0.0.1", "CustomOriginConfig": {
            "HTTPPort": 80, "HTTPSPort": 443, "OriginProtocolPolicy": "http-only"}}]},
        "DefaultCacheBehavior": {
            "TargetOriginId": "o", "ViewerProtocolPolicy": "allow-all",
            "CachePolicyId": "658327ea-f89d-4fab-a63d-7e88639e58f6",
        },
        "CallerReference": "bench", "Comment": "", "Enabled": True,
    }  # fmt: skip
    (folder / "d.json").write_text(json.dumps(config))
    lines = [
        'zone = "bench.test"', "[resolver]", f'listen = ["127.0.0.1:{port}"]', 'location_database = "cities.mmdb"',
        "[control]", 'listen = "127.0.0.1:0"',
    ]  # fmt: skip
    for name, (north, east, _) in POPS.items():
        lines += ["[[nodes]]", f'name = "{name}"', 'mode = "pop"', f'addresses = ["{ADDRESSES[name]}"]']
        lines += [f"latitude = {north}", f"longitude = {east}", "health = false"]
    for number in range(NAMES):
        lines += ["[[distributions]]", 'file = "d.json"', f'id = "d{number:03}"']
    (folder / "edgeproxy.toml").write_text("\n".join(lines) + "\n")
    return [sys.executable, "-m", "edgeproxy", "resolver", "--config", str(folder / "edgeproxy.toml")]


def _gdnsd(folder: Path, port: int) -> list[str]:
    home = folder / "gdnsd"
    for each in ("zones", "geoip", "run", "state"):
        (home / each).mkdir(parents=True, exist_ok=True)
    shutil.copy(folder / "cities.mmdb", home / "geoip" / "cities.mmdb")
    centres = ", ".join(POPS)
    coordinates = " ".join(f"{name} => [ {north}, {east} ]," for name, (north, east, _) in POPS.items())
    addresses = " ".join(f"{name} => {address}," for name, address in ADDRESSES.items())
    (home / "config").write_text(
        f"""options => {{ listen => [ 127.0.0.1:{port} ], udp_threads => 1, tcp_threads => 1,
  run_dir => {home}/run, state_dir => {home}/state }}
plugins => {{ geoip => {{
  maps => {{ cities => {{ geoip2_db => cities.mmdb, datacenters => [ {centres} ],
    auto_dc_coords => {{ {coordinates} }} }} }}
  resources => {{ pops => {{ map => cities, service_types => up, dcmap => {{ {addresses} }} }} }}
}} }}
"""
    )
    names = "\n".join(f"d{number:03} 60 DYNA geoip!pops" for number in range(NAMES))
    (home / "zones" / "bench.test").write_text(
        f"@ SOA ns1 hostmaster ( 1 3600 600 604800 60 )\n@ NS ns1\nns1 A 127.0.0.1\n{names}\n"
    )
    return [_program("gdnsd") or "gdnsd", "-c", str(home), "start"]


def _powerdns(folder: Path, port: int) -> list[str]:
    home = folder / "pdns"
    home.mkdir(exist_ok=True)
    records = "\n".join(
        f"      {country.lower()}.pops.bench.test:\n        - a: {ADDRESSES[name]}"
        for name, (_, _, country) in POPS.items()
    )
    services = "\n".join(f'      d{number:03}.bench.test: ["%cc.pops.bench.test"]' for number in range(NAMES))
    (home / "geo.yaml").write_text(
        f"""domains:
  - domain: bench.test
    ttl: 60
    records:
      bench.test:
        - soa: ns1.bench.test hostmaster.bench.test 1 3600 600 604800 60
        - ns: ns1.bench.test
{records}
    services:
{services}
"""
    )
    (home / "pdns.conf").write_text(
        f"""launch=geoip
geoip-zones-file={home}/geo.yaml
geoip-database-files=mmdb:{folder}/cities.mmdb
edns-subnet-processing=yes
local-address=127.0.0.1
local-port={port}
receiver-threads=1
distributor-threads=1
socket-dir={home}
setuid=
setgid=
daemon=no
guardian=no
"""
    )
    return [_program("pdns_server") or "pdns_server", f"--config-dir={home}"]


def _processes(pid: int) -> list[int]:
    """A process and all below it."""
    found = [pid]
    for each in found:
        try:
            found += map(int, Path(f"/proc/{each}/task/{each}/children").read_text().split())
        except OSError:
            continue
    return found


def _cpu(pid: int) -> float:
    """Seconds of user and system time of a process and all below it."""
    total = 0
    for each in _processes(pid):
        fields = Path(f"/proc/{each}/stat").read_text().rpartition(")")[2].split()
        total += int(fields[11]) + int(fields[12])
    return total / os.sysconf("SC_CLK_TCK")


def _measure(server: str, pid: int, file: Path, seconds: int, *, warm_up: bool) -> Run:
    last = str((os.cpu_count() or 1) - 1)
    base = ["taskset", "-c", last, "dnsperf", "-s", "127.0.0.1", "-p", str(PORTS[server])]
    command = [*base, "-B", "-d", str(file), "-q", "100", "-c", "1", "-T", "1"]
    if warm_up:
        subprocess.run([*command, "-l", "2"], check=True, capture_output=True)
    before = _cpu(pid)
    said = subprocess.run([*command, "-l", str(seconds)], check=True, capture_output=True, text=True).stdout
    spent = _cpu(pid) - before
    completed = float(_found(r"Queries completed:\s+(\d+)", said))
    lost = float(_found(r"Queries lost:\s+(\d+)", said))
    return Run(spent / completed * 1e6, float(_found(r"Queries per second:\s+([\d.]+)", said)), lost)


def _found(pattern: str, text: str) -> str:
    match = re.search(pattern, text)
    assert match is not None, f"{pattern} is not in:\n{text}"
    return match[1]


def _table(results: dict[str, dict[str, list[Run]]], options: argparse.Namespace) -> str:
    kinds = {"warm": f"warm: {NETWORKS} networks", "cold": "cold: every query a new /24"}
    lines = [
        "| queries | server | CPU µs/query | queries/s | edgeproxy's CPU is, min to max over rounds |",
        "| --- | --- | --- | --- | --- |",
    ]
    for kind, servers in results.items():
        ours = [each.cpu_us for each in servers["edgeproxy"]]
        for server, runs in servers.items():
            cpu = statistics.median(each.cpu_us for each in runs)
            rate = statistics.median(each.per_second for each in runs)
            ratios = [own / each.cpu_us for own, each in zip(ours, runs, strict=True)]
            ratio = f"{statistics.median(ratios):.2f}× ({min(ratios):.2f} to {max(ratios):.2f})"
            own = server == "edgeproxy"
            lines.append(f"| {kinds[kind]} | {server} | {cpu:.2f} | {rate:,.0f} | {'' if own else ratio} |")
    lost = sum(each.lost for servers in results.values() for runs in servers.values() for each in runs)
    load = os.getloadavg()[0]
    lines += [
        "",
        f"Median of {options.rounds} rounds of {options.seconds} s, {NAMES} names, {len(POPS)} POPs, subnets /24.",
        f"{os.cpu_count()} cores, Python {sys.version.split()[0]}; {lost:.0f} lost; load {load:.1f} at the end.",
    ]
    return "\n".join(lines)
