"""Every file in configs/ can be used."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgeproxy.configuration import check_text

CONFIGS = Path(__file__).parent.parent / "configs"
FILES = sorted(path for path in CONFIGS.rglob("*") if path.suffix in (".toml", ".json"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(CONFIGS)))
def test_a_file_in_configs_has_no_faults(path: Path) -> None:
    assert "no faults" in check_text(path, {"EDGEPROXY_TIER_KEY": "0123456789abcdef"})


def test_there_are_some() -> None:
    assert FILES
