"""Programs that tests use as they are, from the system's packages."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

PACKAGES = {
    "certutil": "libnss3-tools",
    "chromium": "chromium",
    "curl": "curl",
    "dig": "bind9-dnsutils",
    "kdig": "knot-dnsutils",
    "nginx": "nginx-light",
    "npm": "npm",
    "openssl": "openssl",
    "wget": "wget",
}
"""Programs, and the Debian packages they come in."""


def must_be_there() -> bool:
    """CI installs all of them: there a missing one is a failure."""
    return bool(os.environ.get("CI"))


def needs(program: str, package: str) -> pytest.MarkDecorator:
    """Skip where a program is not installed; where CI says that it must be, the test runs and fails."""
    missing = shutil.which(program) is None and not must_be_there()
    return pytest.mark.skipif(missing, reason=f"{program} is not installed (Debian package {package})")


def skip_for_want_of(error: FileNotFoundError) -> None:
    """Skip the test that failed because one of the programs is not installed; return when that is not why."""
    program = Path(str(error.filename)).name
    if program in PACKAGES and shutil.which(program) is None and not must_be_there():
        pytest.skip(f"{program} is not installed (Debian package {PACKAGES[program]})")
