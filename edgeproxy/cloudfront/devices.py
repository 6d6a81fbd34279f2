"""What kind of device a viewer is, by its User-Agent (fact sheet 1.9).

CloudFront says no more than that it looks at this field; which words it looks for is ours, and all of them are here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

AGENT_MAX = 2048
"""Bytes of a User-Agent that are looked at."""

_TV = re.compile(
    r"smart-?tv|hbbtv|appletv|apple tv|googletv|android ?tv|bravia|web0s|webos.{0,40}tv|netcast|roku|crkey|\baft[a-z]|"
    r"viera|opera tv|tizen.{0,40}\btv\b|tv safari|philipstv|vidaa",
    re.IGNORECASE,
)
_TABLET = re.compile(r"ipad|tablet|playbook|kindle|silk/|nexus (?:7|9|10)|sm-t\d|xoom", re.IGNORECASE)
_MOBILE = re.compile(r"mobi|iphone|ipod|windows phone|blackberry|bb10|opera mini|iemobile|webos", re.IGNORECASE)
_ANDROID = re.compile(r"android", re.IGNORECASE)
_IOS = re.compile(r"iphone|ipad|ipod", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Device:
    """Kind (one of four) and system; whoever names neither is taken for a desktop."""

    android: bool
    ios: bool
    desktop: bool
    mobile: bool
    tablet: bool
    tv: bool


def device(agent: bytes | None) -> Device:
    """The device behind a User-Agent."""
    return _device((agent or b"")[:AGENT_MAX])


@lru_cache(maxsize=1024)
def _device(agent: bytes) -> Device:
    text = agent.decode("latin-1")
    android, ios = bool(_ANDROID.search(text)), bool(_IOS.search(text))
    tv = bool(_TV.search(text))
    # An Android browser that does not call itself mobile is one on a tablet.
    tablet = not tv and bool(_TABLET.search(text) or (android and "mobile" not in text.lower()))
    mobile = not tv and not tablet and bool(_MOBILE.search(text))
    return Device(android, ios, not (tv or tablet or mobile), mobile, tablet, tv)
