"""The servers that are compared, each started with what stands in tests/bench/configs, and their cost to the kernel."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import platform
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from importlib.metadata import PackageNotFoundError, version
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from edgeproxy import __version__
from edgeproxy.settings import Cache

CONFIGS = Path(__file__).parent / "configs"
HOST = "bench.edge.localhost"
"""The distribution's name; every rival is asked for it."""
PROGRAMS = {"nginx": "nginx-core", "varnishd": "varnish", "varnishncsa": "varnish", "wrk": "wrk"}
"""What is run, and the Debian package it comes from."""
SIZES = {"1k": 1024, "10k": 10 * 1024, "100k": 100 * 1024, "10m": 10 * 1024 * 1024}
"""The origin's files."""
PATIENCE = 20.0
"""Seconds a server may take to answer, and to end."""


def program(name: str) -> str | None:
    """Where a program is, None when it is not installed."""
    return shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/sbin")


def has_disk() -> bool:
    """Whether this edgeproxy can keep bodies on disk and out of memory."""
    return {"disk", "memory_object_max"} <= set(Cache.model_fields)


@dataclass(frozen=True)
class Cpu:
    """Seconds of processor time."""

    user: float
    system: float
    log: float = 0.0
    """What of it a process spent that does nothing but write the log (varnishncsa)."""

    @property
    def total(self) -> float:
        """User and system."""
        return self.user + self.system

    def since(self, before: Cpu) -> Cpu:
        """What was spent between two looks."""
        return Cpu(self.user - before.user, self.system - before.system, self.log - before.log)


@dataclass
class Server:
    """A running server: one process and its children, or several."""

    name: str
    port: int
    tls_port: int | None
    processes: list[subprocess.Popen[bytes]]
    logs: list[subprocess.Popen[bytes]] = field(default_factory=list)
    """Those of them that only write the log."""

    def cpu(self) -> Cpu:
        """What all of its processes have spent so far, by the kernel's accounting."""
        user = system = log = 0.0
        for process in self.processes:
            for pid in _family(process.pid):
                spent = _times(pid)
                user, system = user + spent[0], system + spent[1]
                if process in self.logs:
                    log += sum(spent)
        return Cpu(user, system, log)


def _family(pid: int) -> list[int]:
    """A process and all below it."""
    found = [pid]
    for each in found:
        with contextlib.suppress(OSError):
            found += map(int, Path(f"/proc/{each}/task/{each}/children").read_text().split())
    return found


def _times(pid: int) -> tuple[float, float]:
    """User and system seconds of all threads of a process, those that have ended included."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0, 0.0
    ticks = os.sysconf("SC_CLK_TCK")
    return int(fields[11]) / ticks, int(fields[12]) / ticks


BEHAVIORS_MAX = 75
ALL_VIEWER = "216adef6-5c7f-47e4-b989-5492eafa07d3"
SECURITY_HEADERS = "67f7725c-6f97-4210-82d7-5512b31e9d03"
"""Managed policies."""


class Stage:
    """A folder with the origin's files and a certificate, the cores, and every server that was started."""

    def __init__(self, folder: Path, workers: int, rules: str, full: bool = False) -> None:
        """`full`: the distribution has all the behaviours that one may have, and policies for everything."""
        self.folder = folder
        self.workers = workers
        self.rules = rules
        self.full = full
        cores = sorted(os.sched_getaffinity(0))
        self.client_core = cores[-1]
        self.server_cores = cores[:workers] if workers < len(cores) else cores
        folder.chmod(0o755)
        self._answer = "".join(random.Random(3).choices("0123456789abcdef", k=1024))
        self._write_files()
        self._certificate = _certificate(folder)
        self.origin = 0

    def _write_files(self) -> None:
        files = self.folder / "files"
        files.mkdir()
        for name, size in SIZES.items():
            (files / name).write_bytes(random.Random(size).randbytes(size))

    def _home(self, name: str) -> Path:
        home = self.folder / name
        home.mkdir()
        home.chmod(0o755)
        return home

    def _filled(self, config: str, home: Path, **words: object) -> Path:
        """A configuration with its names filled in, in the server's own folder."""
        text = (CONFIGS / config).read_text()
        certificate, key = self._certificate
        words |= {"HOME": home, "ORIGIN": self.origin, "CERTIFICATE": certificate, "KEY": key, "WORKERS": self.workers}
        for name, value in words.items():
            text = text.replace(f"@{name}@", str(value))
        path = home / config
        path.write_text(text)
        return path

    def _start(self, command: list[str], home: Path, cores: list[int]) -> subprocess.Popen[bytes]:
        pinned = ["taskset", "-c", ",".join(map(str, cores)), *command]
        with (home / "output.log").open("ab") as output:
            return subprocess.Popen(pinned, stdin=subprocess.DEVNULL, stdout=output, stderr=output)

    @contextmanager
    def serving(self, name: str) -> Iterator[Server]:
        """One of `RIVALS`, or the origin, until the block ends. Raises SystemExit with its last words if it fails."""
        home = self._home(name)
        make = {
            "origin": self._origin, "nginx": self._nginx, "nginx-tuned": self._nginx, "Varnish": self._varnish,
            "edgeproxy": self._edgeproxy, "edgeproxy-disk": self._edgeproxy,
        }[name]  # fmt: skip
        server = Server(name, _free_port(), None, [])
        try:
            make(server, home)
            _await_answer(server, home / "output.log")
            yield server
        finally:
            _end(server.processes)

    def _origin(self, server: Server, home: Path) -> None:
        self.origin = server.port
        path = self._filled("origin.conf", home, PORT=server.port, FILES=self.folder / "files", ANSWER=self._answer)
        server.processes.append(self._start([program("nginx") or "", "-c", str(path)], home, [self.client_core]))

    def _nginx(self, server: Server, home: Path) -> None:
        server.tls_port = _free_port()
        reuseport = "reuseport" if self.workers > 1 else ""
        kept = "open_file_cache max=100000 inactive=10m;" if server.name == "nginx-tuned" else ""
        path = self._filled(
            "nginx.conf", home, PORT=server.port, TLS_PORT=server.tls_port, REUSEPORT=reuseport, OPEN_FILES=kept
        )
        server.processes.append(self._start([program("nginx") or "", "-c", str(path)], home, self.server_cores))

    def _varnish(self, server: Server, home: Path) -> None:
        path = self._filled("varnish.vcl", home)
        command = [program("varnishd") or "", "-F", "-j", "none", "-n", str(home), "-f", str(path)]
        command += ["-a", f"127.0.0.1:{server.port}", "-s", "malloc,1g", "-T", "none"]
        command += ["-p", "thread_pools=1", "-p", "thread_pool_min=100"]
        server.processes.append(self._start(command, home, self.server_cores))
        _await_answer(server, home / "output.log")
        logger = [program("varnishncsa") or "", "-n", str(home), "-w", str(home / "access.log")]
        server.logs.append(self._start(logger, home, self.server_cores))
        server.processes += server.logs

    def _edgeproxy(self, server: Server, home: Path) -> None:
        server.tls_port = _free_port()
        command = [sys.executable, "-m", "edgeproxy", "serve", "--data-dir", str(home / "data")]
        command += ["--workers", str(self.workers)]
        if self.rules == "rfc9111":
            command += ["--listen", f"127.0.0.1:{server.port}", "--https", f"127.0.0.1:{server.tls_port}"]
            command += ["--mode", "pop", "--origin", f"http://127.0.0.1:{self.origin}"]
        else:
            cache = 'disk = "8 GiB"\nmemory_object_max = "1 MiB"' if server.name == "edgeproxy-disk" else ""
            distribution = self._filled("distribution.json", home)
            if self.full:
                distribution.write_text(json.dumps(_full(json.loads(distribution.read_text()))))
            path = self._filled("edgeproxy.toml", home, PORT=server.port, TLS_PORT=server.tls_port, CACHE=cache)
            command += ["--config", str(path), "--node", "pop"]
        server.processes.append(self._start(command, home, self.server_cores))


def _full(config: dict[str, Any]) -> dict[str, Any]:  # Any: JSON
    """A distribution with 75 behaviours more, none of which is for what is asked, and policies of every kind."""
    policies = {"OriginRequestPolicyId": ALL_VIEWER, "ResponseHeadersPolicyId": SECURITY_HEADERS}
    default = config["DefaultCacheBehavior"] | policies
    others = [{"PathPattern": f"/section-{number}/*.html"} | default for number in range(BEHAVIORS_MAX)]
    behaviors = {"Quantity": len(others), "Items": others}
    return config | {"DefaultCacheBehavior": default, "CacheBehaviors": behaviors}


def _end(processes: list[subprocess.Popen[bytes]]) -> None:
    for process in reversed(processes):
        process.send_signal(signal.SIGTERM)
    for process in processes:
        try:
            process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _await_answer(server: Server, log: Path) -> None:
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until and all(process.poll() is None for process in server.processes):
        try:
            if ask(server.port, "/1k")[0] == 200:
                return
        except OSError:
            time.sleep(0.1)
    raise SystemExit(f"{server.name} does not answer on port {server.port}:\n{log.read_text()[-2000:]}")


def ask(
    port: int, path: str, headers: Mapping[str, str] | None = None, method: str = "GET", body: bytes | None = None
) -> tuple[int, Mapping[str, str], bytes]:
    """One request by a client that is not measured: status, fields in lower case, body."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    try:
        connection.request(method, path, body, {"Host": HOST, **(headers or {})})
        answer = connection.getresponse()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
    except http.client.HTTPException as error:
        raise ConnectionError(f"no answer to {method} {path}: {error!r}") from error
    finally:
        connection.close()


def _certificate(folder: Path) -> tuple[Path, Path]:
    """A self-signed certificate (P-256) for the name that is asked for: all rivals show the same."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, HOST)])
    now = datetime.now(UTC)
    names = x509.SubjectAlternativeName([x509.DNSName(HOST), x509.IPAddress(ip_address("127.0.0.1"))])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=30))
        .add_extension(names, critical=False)
        .sign(key, hashes.SHA256())
    )
    certificate, private = folder / "certificate.pem", folder / "key.pem"
    certificate.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    form, encryption = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    private.write_bytes(key.private_bytes(serialization.Encoding.PEM, form, encryption))
    return certificate, private


def versions(names: list[str]) -> dict[str, str]:
    """Of everything that takes part."""
    found = {"edgeproxy": __version__, "Python": platform.python_version()}
    with contextlib.suppress(PackageNotFoundError):
        found["uvloop"] = version("uvloop")
    asked = {"nginx": ["nginx", "-v"], "Varnish": ["varnishd", "-V"], "wrk": ["wrk", "-v"]}
    for name in ("nginx", *(each for each in names if each == "Varnish"), "wrk"):
        command, option = asked[name]
        said = subprocess.run([program(command) or command, option], capture_output=True, text=True, check=False)
        line = (said.stdout + said.stderr).splitlines()[0]
        match = re.search(r"\d+(\.\d+)+", line)
        found[name] = match[0] if match else line
    found["Linux"] = platform.release()
    return found
