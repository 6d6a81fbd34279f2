"""What has to hold between settings."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgeproxy.reading import parse_toml
from edgeproxy.settings import Settings
from edgeproxy.topology import setting_faults, setting_notes


def node(name: str, mode: str = "pop", **more: str) -> str:
    lines = [f'name = "{name}"', f'mode = "{mode}"', *(f"{key} = {value}" for key, value in more.items())]
    return "[[nodes]]\n" + "\n".join(lines) + "\n"


EU = node("eu", "regional")

BAD: list[tuple[str, str]] = [
    ('zone = "a b"', 'zone (line 1) is "a b": expected a host name'),
    ('zone = "1.2.3.4"', "expected a host name"),
    ('[resolver]\nzones = ["x."]\nhostmaster = "a@b"', 'resolver.hostmaster (line 3) is "a@b": expected a host name'),
    ('[resolver]\nnameservers = ["ns_1", "-"]', 'resolver.nameservers[1] (line 2) is "-"'),
    (EU + node("eu"), "nodes[1].name (line 5) is \"eu\": another node has this name"),
    (node("a b"), "expected up to 63 letters"),
    (node("a", code='"F R"'), "nodes[0].code (line 4) is \"F R\": expected up to 20 letters"),
    (node("a", addresses='["localhost"]'), "nodes[0].addresses[0] (line 4) is \"localhost\": expected an IPv4 or IPv6"),
    (EU + node("a", upstream='"eu1"'), "(line 7) is \"eu1\": expected the name of a regional; did you mean eu?"),
    (node("b") + node("a", upstream='"b"'), "expected the name of a regional; this node is a POP"),
    (EU + node("us", "regional", upstream='"eu"'), "nodes[1].upstream (line 7) is \"eu\": expected none"),
    (
        node("a", listen='["127.0.0.1:80"]') + node("b", https='["127.0.0.1:80"]'),
        "nodes[1].https[0] (line 8) is \"127.0.0.1:80\": nodes[0].listen[0] (line 4) listens there already",
    ),
    (node("a", listen='["127.0.0.1:80", "localhost:80"]'), "nodes[0].listen[1]"),
    (node("a", listen='["[::]:80", "[0::0]:80"]'), "nodes[0].listen[1]"),
    (node("a", admin='"127.0.0.1:8400"'), "control.listen is missing: nodes[0].admin (line 4) listens there already"),
    (node("a", listen='["127.0.0.1:5300"]'), "resolver.listen is missing: nodes[0].listen[0] (line 4) listens there"),
    ('[resolver]\ndefault = ["fra"]\n' + node("far"), 'is "fra": expected the name of a POP; did you mean far?'),
    ('[resolver]\ndefault = ["eu"]\n' + EU, "expected the name of a POP"),
    ('[[resolver.networks]]\nnetwork = "10.0.0.1/8"\ncountry = "DE"', '(line 2) is "10.0.0.1/8": expected a network'),
    (
        '[[resolver.networks]]\nnetwork = "10.0.0.0/8"\ncountry = "DE"\n' * 2,
        "resolver.networks[1].network (line 5) is \"10.0.0.0/8\": resolver.networks[0] (line 1) has the same network",
    ),
    ('[resolver]\naddresses = ["x"]', "resolver.addresses[0] (line 2) is \"x\": expected an IPv4 or IPv6 address"),
    ('[[resolver.networks]]\nnetwork = "10.0.0.0/8"', "expected pops, or where its clients are, or both"),
    ('[[resolver.networks]]\nnetwork = "10.0.0.0/8"\nlatitude = 1.0', "expected latitude and longitude, or neither"),
    ('[[resolver.networks]]\nnetwork = "10.0.0.0/8"\ncountry = "de"', "expected two capital letters"),
    ('[[resolver.countries]]\ncountry = "DE"\npops = ["eu"]\n' + EU, "expected the name of a POP"),
    ('[[resolver.countries]]\ncountry = "DE"\npops = []', "expected the name of a POP"),
    (
        node("a") + '[[resolver.countries]]\ncountry = "DE"\npops = ["a"]\n' * 2,
        "resolver.countries[0] (line 4) has the same country",
    ),
    ('[resolver]\ncookie_secret = "00"', "expected 32 hexadecimal digits"),
    ('[resolver]\nrate_limit_exempt = ["x"]', "expected a network, such as 10.0.0.0/8"),
    ('[resolver]\nlocation_database = "none.mmdb"', "expected a file to read"),
    (node("a") + "latitude = 1.0", "nodes[0] (line 1) is a table: expected latitude and longitude, or neither"),
    (node("a", admin='"127.0.0.1:9"') + '[resolver]\nadmin = "127.0.0.1:9"', "listens there already"),
    ('[trust]\nproxies = ["10.0.0.0/8", "::/129"]', 'trust.proxies[1] (line 2) is "::/129": expected a network'),
    ('[origins]\n"a.test" = "ftp://b"', 'origins."a.test" (line 2) is "ftp://b": expected http://HOST'),
    ('[origins]\n"a.test" = "http://b/path"', "expected no path"),
    ('[origins]\n"A.test" = "http://b"', "expected the lower-case host name"),
    ('[[certificates]]\ncertificate = "none.pem"\nkey = "topology.toml"', "certificates[0].certificate (line 2) is "),
    ('[upstream]\nca_file = "none.pem"', 'upstream.ca_file (line 2) is "none.pem": expected a file to read'),
    ('[log]\npath = "/nowhere/at/all/access.log"', "log.path (line 2) is "),
    ('[log]\npath = ""', "expected \"-\", \"off\", or a file in a directory"),
    ('[tier]\nkey = "a b"', "tier.key (line 2) is not shown: expected 1 to 1024 visible ASCII characters"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "expected"), BAD)
def test_settings_that_do_not_fit_together(text: str, expected: str, tmp_path: Path) -> None:
    file = tmp_path / "topology.toml"
    file.write_text(text)
    document = parse_toml(text, str(file))
    key = document.at(("tier", "key"))
    (fault,) = setting_faults(document, key if isinstance(key, str) else None)
    assert expected in str(fault)


GOOD: list[str] = [
    "",
    EU + node("a", upstream='"eu"', listen='["127.0.0.1:0", "127.0.0.1:0"]'),
    node("a", listen='["127.0.0.1:80"]') + node("b", listen='["127.0.0.2:80", "[::1]:80"]'),
    '[resolver]\ndefault = ["a"]\n' + node("a"),
    '[log]\npath = "-"',
    '[log]\npath = "DATA_DIR/logs/access.log"',
    '[trust]\nproxies = ["10.0.0.0/8", "::1/128"]',
    '[origins]\n"a.test" = "https://127.0.0.1:8443"',
]


@pytest.mark.parametrize("text", GOOD)
def test_settings_that_do(text: str) -> None:
    assert list(setting_faults(parse_toml(text, "f"), None)) == []


def test_one_fault_hides_no_other() -> None:
    text = node("a", listen='["127.0.0.1:x"]', upstream='"b"') + node("b", "popp") + '[trust]\nproxies = ["x"]'
    assert [fault.place for fault in setting_faults(parse_toml(text, "f"), None)] == ["trust.proxies[0] (line 10)"]


NOTES: list[tuple[str, list[str]]] = [
    ("", []),
    (EU, []),
    (node("eu", "regional", listen='["10.0.0.1:80"]'), ["nodes[0] (line 1)"]),
    ('[tier]\nkey = "0123456789abcdef"\n' + node("eu", "regional", listen='["10.0.0.1:80"]'), []),
    ('[tier]\nkey = "short"', ["tier.key (line 2)"]),
    (node("a", admin='"0.0.0.0:9000"'), ["nodes[0].admin (line 4)"]),
    (node("a", listen='["0.0.0.0:80"]') + node("b", listen='["0.0.0.0:80"]'), ["nodes[1].listen[0] (line 8)"]),
]


@pytest.mark.parametrize(("text", "places"), NOTES)
def test_what_may_surprise_is_noted(text: str, places: list[str]) -> None:
    document = parse_toml(text, "f")
    settings = Settings.model_validate(document.data)
    assert [note.place for note in setting_notes(document, settings)] == places
