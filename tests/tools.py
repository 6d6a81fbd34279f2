"""Programs that tests use as they are, from the system's packages."""

from __future__ import annotations

import os
import shutil

import pytest


def needs(program: str, package: str) -> pytest.MarkDecorator:
    """Skip where a program is not installed; where CI says that it must be, the test runs and fails."""
    missing = shutil.which(program) is None and not os.environ.get("CI")
    return pytest.mark.skipif(missing, reason=f"{program} is not installed (Debian package {package})")
