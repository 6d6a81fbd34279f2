"""`edgeproxy explain`: what would become of a request, as far as files say. A running node says it by itself."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Sequence
from pathlib import Path

from edgeproxy.cloudfront.fields import location_code
from edgeproxy.cloudfront.hosts import Hosts
from edgeproxy.configuration import Configuration
from edgeproxy.edge.explaining import SOMEWHERE, Explanation, Question, field_of
from edgeproxy.edge.explaining import explain as explain_question
from edgeproxy.edge.node import Clocks, Place, Serving
from edgeproxy.edge.page import SharedPage
from edgeproxy.errors import ConfigError, Fault
from edgeproxy.model import Mode, Rules
from edgeproxy.nodes import clients_of
from edgeproxy.roles import named, shields_of_file, tier_of_file
from edgeproxy.settings import Node
from edgeproxy.sources import Sources


def question_of(said: Sequence[tuple[str, str]]) -> Question:
    """The question that a query for a node's /explain would be. Raises ConfigError."""
    words = dict(said)
    try:
        return Question(
            words["url"],
            words["method"],
            tuple(field_of(value) for name, value in said if name == "h"),
            words.get("from", SOMEWHERE),
            tuple(field_of(value) for name, value in said if name == "r"),
            int(words["status"]),
        )
    except ValueError as error:
        raise ConfigError([Fault("", "explain", words["url"], str(error))]) from None


def explain_request(question: Question, config: Path, node: str | None) -> Explanation:
    """What would become of a request as far as a configuration says: a settings file, or a distribution by itself.

    `node`: whose place it is seen from; default: the first POP. Raises ConfigError.
    """
    configuration = _of_any_file(config)
    nodes = configuration.settings.nodes
    pops = [each for each in nodes if each.mode == "pop"]
    seen = named(configuration, node) if node is not None else next(iter(pops or nodes), Node(name="pop", mode="pop"))
    place = Place(seen.name, Mode(seen.mode), seen.region, seen.code or location_code(seen.name))
    serving = Serving(
        Hosts(configuration.distributions),
        configuration.settings,
        tier_of_file(configuration, seen),
        Rules.CLOUDFRONT,
        shields_of_file(configuration),
        clients_of(configuration.settings),
    )
    clocks = Clocks(time.time, time.monotonic, lambda: 0.0, os.urandom)
    try:
        return explain_question(question, serving, place, SharedPage(1), clocks)
    except ValueError as error:
        raise ConfigError([Fault("", "explain", question.url, str(error))]) from None


def _of_any_file(config: Path) -> Configuration:
    """The configuration of a settings file, or of settings that name nothing but this distribution."""
    if config.suffix != ".json":
        return Sources(config).configuration(os.environ)
    settings = config.parent / "settings.toml"
    text = f"[[distributions]]\nfile = {json.dumps(config.name)}\n".encode()
    return Sources(settings, {str(settings): text}).configuration(os.environ)
