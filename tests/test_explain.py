"""`edgeproxy explain` on files: settings, and a distribution by itself."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from edgeproxy.cli import main
from edgeproxy.errors import ConfigError
from edgeproxy.explain import explain_request, question_of

CONFIGS = Path(__file__).parent.parent / "configs"


def run(*arguments: str) -> tuple[int, str]:
    done = CliRunner().invoke(main, ["explain", *arguments])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.exit_code, done.output


def test_of_a_settings_file_seen_from_its_first_pop() -> None:
    code, said = run("https://site.example.org/a?b=c", "--config", str(CONFIGS / "site-on-s3.toml"), "--from", "DE")
    assert code == 0
    assert "way           pop amsterdam > origin site" in said
    assert "Host: example-site.s3.eu-central-1.amazonaws.com" in said


def test_as_json_and_seen_from_another_node() -> None:
    arguments = ["https://site.example.org/a", "--config", str(CONFIGS / "site-on-s3.toml"), "--json"]
    said = json.loads(run(*arguments, "--node", "regional", "--answer", "Cache-Control: max-age=60")[1])
    assert said["node"]["mode"] == "regional"
    assert said["supposed"]["fresh_for"] == 60


def test_of_a_distribution_by_itself() -> None:
    code, said = run("http://site-on-s3.edge.localhost/a", "--config", str(CONFIGS / "site-on-s3.json"), "-X", "PUT")
    assert code == 0
    assert "307" in said


@pytest.mark.parametrize(
    ("said", "fault"),
    [
        ([("url", "http://a/"), ("method", "GET"), ("status", "200"), ("h", "no")], "expected a header field"),
        ([("url", "ftp://a/"), ("method", "GET"), ("status", "200")], "expected a URL"),
    ],
)
def test_what_is_no_question_is_a_fault(said: list[tuple[str, str]], fault: str) -> None:
    with pytest.raises(ConfigError, match=fault):
        explain_request(question_of(said), CONFIGS / "site-on-s3.toml", None)
