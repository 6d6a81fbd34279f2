"""The bytes a configuration was read from.

A reload must mean the same in every process, whatever happens to the files meanwhile: the parent reads them once, and
what it read travels to the workers, who turn the very same bytes into the very same values.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from edgeproxy.configuration import Configuration, load
from edgeproxy.model import Distribution, OriginScheme
from edgeproxy.reading import read_bytes


@dataclass(slots=True)
class Sources:
    """A settings file, all files it refers to, and what the command line replaced in them."""

    path: Path
    files: dict[str, bytes] = field(default_factory=dict)
    origin: str | None = None
    """URL of the one origin that stands for all (`up --origin`)."""
    access_log: str | None = None

    def read(self, path: Path) -> bytes:
        """A file's bytes, from the disk the first time, as they were then ever after. Raises OSError."""
        known = self.files.get(str(path))
        if known is None:
            known = self.files[str(path)] = read_bytes(path)
        return known

    def configuration(self, environment: Mapping[str, str]) -> Configuration:
        """What these bytes mean. Raises ConfigError with every fault."""
        loaded = load(self.path, environment, self.read)
        if self.origin is not None:
            url = self.origin
            adapted = tuple(with_origin(each, url) for each in loaded.distributions)
            loaded = replace(loaded, distributions=adapted, stand_in=url)
        if self.access_log is not None:
            log = loaded.settings.log.model_copy(update={"path": self.access_log})
            loaded = replace(loaded, settings=loaded.settings.model_copy(update={"log": log}))
        return loaded

    def to_json(self) -> dict[str, Any]:  # Any: a JSON object
        """For a channel to another process."""
        return {
            "path": str(self.path),
            "files": {path: base64.b64encode(data).decode() for path, data in self.files.items()},
            "origin": self.origin,
            "access_log": self.access_log,
        }

    @classmethod
    def from_json(cls, message: Mapping[str, Any]) -> Sources:  # Any: what to_json made
        """The other end of the channel."""
        files = {path: base64.b64decode(data) for path, data in message["files"].items()}
        return cls(Path(message["path"]), files, message["origin"], message["access_log"])


def with_origin(distribution: Distribution, url: str) -> Distribution:
    """A distribution whose origins are all the one at `url` (scheme, host, port); paths and time-outs stay."""
    parts = urlsplit(url)
    https = parts.scheme == "https"
    port = parts.port or (443 if https else 80)
    origins = {
        name: replace(
            origin,
            host=parts.hostname or "",
            host_header=parts.netloc.rpartition("@")[2],
            scheme=OriginScheme.HTTPS if https else OriginScheme.HTTP,
            http_port=port,
            https_port=port,
        )
        for name, origin in distribution.origins.items()
    }
    return replace(distribution, origins=origins, revision=f"{distribution.revision}+{url}")
