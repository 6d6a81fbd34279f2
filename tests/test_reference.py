"""The settings reference is made from the settings, and the page in docs/ is the one made."""

from __future__ import annotations

from pathlib import Path

from edgeproxy.reference import Entry, entries, reference_text


def test_an_entry_says_all_there_is_to_say() -> None:
    found = {entry.name: entry for entry in entries()}
    assert found["connections.request_line_max"] == Entry(
        "connections.request_line_max",
        "a size",
        "from 256 to 1 MiB",
        "8 KiB",
        "bytes",
        "Longest request line; longer is 414.",
    )
    assert found["nodes"].type == "tables"
    assert found["nodes[].name"].default == "required"
    assert found["nodes[].mode"].type == "one of pop, regional"
    assert found["resolver.networks[].pops"].type == "a list of text"
    assert found["upstream.connect_timeout"].unit == "s"
    assert found["tier.cache_status"].default == "true"
    assert found["tier.key"].default == "none"
    assert found["resolver.listen"].default == "127.0.0.1:5300"
    assert found["origins"].type == "a table of text"


def test_every_setting_has_a_sentence() -> None:
    assert [entry.name for entry in entries() if not entry.sentence.endswith((".", "?"))] == []


def test_the_page_in_docs_is_up_to_date() -> None:
    page = Path(__file__).parent.parent / "docs" / "settings.md"
    assert page.read_text() == reference_text(), "run: edgeproxy check --reference > docs/settings.md"
