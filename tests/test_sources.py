"""The bytes of a configuration mean the same in every process, whatever becomes of the files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edgeproxy.errors import ConfigError
from edgeproxy.model import OriginScheme
from edgeproxy.sources import Sources
from tests.tier import config_for


def written(folder: Path) -> Path:
    (folder / "demo.json").write_text(json.dumps(config_for(3000)))
    (folder / "cdn.toml").write_text('[[distributions]]\nfile = "demo.json"\n')
    return folder / "cdn.toml"


def test_what_travels_is_what_was_read(tmp_path: Path) -> None:
    here = Sources(written(tmp_path), access_log="off")
    first = here.configuration({})
    there = Sources.from_json(json.loads(json.dumps(here.to_json())))
    for file in tmp_path.iterdir():
        file.unlink()
    assert there.configuration({}) == first
    assert first.settings.log.path == "off"


def test_a_missing_file_is_a_fault(tmp_path: Path) -> None:
    file = written(tmp_path)
    (tmp_path / "demo.json").unlink()
    with pytest.raises(ConfigError, match=r"demo\.json"):
        Sources(file).configuration({})


@pytest.mark.parametrize(
    ("url", "host", "port", "scheme", "header"),
    [
        ("http://127.0.0.1:3000", "127.0.0.1", 3000, OriginScheme.HTTP, "127.0.0.1:3000"),
        ("https://app.test", "app.test", 443, OriginScheme.HTTPS, "app.test"),
        ("http://[::1]:8080", "::1", 8080, OriginScheme.HTTP, "[::1]:8080"),
    ],
)
def test_one_origin_may_stand_for_all_and_makes_another_revision(
    tmp_path: Path, url: str, host: str, port: int, scheme: OriginScheme, header: str
) -> None:
    plain = Sources(written(tmp_path)).configuration({}).distributions[0]
    moved = Sources(tmp_path / "cdn.toml", origin=url).configuration({}).distributions[0]
    origin = moved.origins["web"]
    assert (origin.host, origin.http_port, origin.scheme, origin.host_header) == (host, port, scheme, header)
    assert moved.revision != plain.revision
