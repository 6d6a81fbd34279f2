"""cloudfront/devices.py: real User-Agents and what they are taken for (fact sheet 1.9)."""

from __future__ import annotations

import pytest

from edgeproxy.cloudfront.devices import AGENT_MAX, device

AGENTS = {
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0 Safari/537.36":
        {"desktop"},
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 14_1) AppleWebKit/605.1.15 Version/17.1 Safari/605.1.15": {"desktop"},
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_1 like Mac OS X) AppleWebKit/605.1.15 Mobile/15E148 Safari/604.1":
        {"ios", "mobile"},
    "Mozilla/5.0 (iPad; CPU OS 16_6 like Mac OS X) AppleWebKit/605.1.15 Mobile/15E148 Safari/604.1":
        {"ios", "tablet"},
    "Mozilla/5.0 (iPod touch; CPU iPhone OS 12_0 like Mac OS X) Mobile/15A372": {"ios", "mobile"},
    "Mozilla/5.0 (Linux; Android 14; Pixel 8) AppleWebKit/537.36 Chrome/130.0 Mobile Safari/537.36":
        {"android", "mobile"},
    "Mozilla/5.0 (Linux; Android 13; SM-X700) AppleWebKit/537.36 Chrome/130.0 Safari/537.36": {"android", "tablet"},
    "Mozilla/5.0 (Linux; Android 9; AFTSSS) AppleWebKit/537.36 Chrome/90.0 Mobile Safari/537.36": {"android", "tv"},
    "Mozilla/5.0 (SMART-TV; Linux; Tizen 6.0) AppleWebKit/538.1 TV Safari/538.1": {"tv"},
    "Mozilla/5.0 (Web0S; Linux/SmartTV) AppleWebKit/537.36 Chrome/79.0 Safari/537.36": {"tv"},
    "Roku/DVP-12.0": {"tv"},
    "Mozilla/5.0 (Windows Phone 10.0; Android 6.0.1; Microsoft; Lumia 950) Mobile Safari/537.36":
        {"android", "mobile"},
    "Opera/9.80 (J2ME/MIDP; Opera Mini/7.1) Presto/2.8": {"mobile"},
    "Mozilla/5.0 (PlayBook; U; RIM Tablet OS 2.1.0) AppleWebKit/536.2": {"tablet"},
    "curl/8.5.0": {"desktop"},
    "": {"desktop"},
}  # fmt: skip


@pytest.mark.parametrize(("agent", "kinds"), AGENTS.items())
def test_1_9_devices(agent: str, kinds: set[str]) -> None:
    found = device(agent.encode())
    assert {name for name in ("android", "ios", "desktop", "mobile", "tablet", "tv") if getattr(found, name)} == kinds


def test_no_agent_and_an_endless_one() -> None:
    assert device(None).desktop
    assert device(b"x" * AGENT_MAX + b"iPhone").desktop
