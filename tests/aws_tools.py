"""AWS's own clients, each in a folder of its own that later runs find again: the command line tool, and the SDK for
JavaScript. A machine that cannot install them skips their tests; in CI that is a failure."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from tests.tools import must_be_there

FOLDER = Path(tempfile.gettempdir()) / f"edgeproxy-test-tools-{os.getuid()}"
INSTALL_SECONDS = 300


def command_line_tool() -> Path:
    """`aws`, in a virtual environment: its own botocore is another version than ours."""

    def install(folder: Path) -> None:
        _run([sys.executable, "-m", "venv", str(folder)])
        _run([str(folder / "bin" / "pip"), "install", "--quiet", "awscli"])

    return _installed("awscli", Path("bin") / "aws", install)


def javascript_sdk() -> Path:
    """A folder in which node finds @aws-sdk/client-cloudfront."""

    def install(folder: Path) -> None:
        folder.mkdir()
        _run(["npm", "install", "--silent", "--no-audit", "--no-fund", "@aws-sdk/client-cloudfront"], folder)

    return _installed("sdk", Path("node_modules") / "@aws-sdk" / "client-cloudfront" / "package.json", install).parents[
        3
    ]


def _installed(name: str, wanted: Path, install: Callable[[Path], None]) -> Path:
    FOLDER.mkdir(mode=0o700, exist_ok=True)
    with (FOLDER / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # several workers of pytest want it at once
        found = FOLDER / name / wanted
        if not found.exists():
            part = FOLDER / name
            shutil.rmtree(part, ignore_errors=True)
            try:
                install(part)
            except (OSError, subprocess.SubprocessError) as error:
                shutil.rmtree(part, ignore_errors=True)
                if must_be_there():
                    raise
                pytest.skip(f"{name} cannot be installed here: {error}")
        return found


def _run(arguments: Sequence[str], folder: Path | None = None) -> None:
    subprocess.run(arguments, cwd=folder, check=True, capture_output=True, timeout=INSTALL_SECONDS)
