"""What an answer got wrong, whoever played the case."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tests.conformance.case import Ask, rendered

_CONDITIONS = ("if-none-match", "if-modified-since")


@dataclass(frozen=True, slots=True)
class Message:
    """A request as the origin saw it (`line` is its method), or an answer as the viewer saw it (its status)."""

    line: str
    headers: tuple[tuple[str, str], ...]
    body: bytes = b""

    def all(self, name: str) -> list[str]:
        """The values of a field."""
        return [value for known, value in self.headers if known.lower() == name.lower()]

    def conditional(self) -> bool:
        """Whether it asks if something has changed."""
        return any(self.all(name) for name in _CONDITIONS)


def faults(ask: Ask, answer: Message, seen: Sequence[Message], now: float) -> list[str]:
    """What is wrong with an answer; `seen` are the requests that reached the origin before it."""
    found = []
    if ask.asked is not None and ask.asked is not bool(seen):
        found.append("the origin was asked" if seen else "the origin was not asked")
    if ask.conditional is not None and ask.conditional is not any(message.conditional() for message in seen):
        found.append(f"the origin was asked with {[message.headers for message in seen]}")
    if ask.from_reply is not None and answer.all("reply-id") != [str(ask.from_reply)]:
        found.append(f"the answer is that of reply {answer.all('reply-id')}, not {ask.from_reply}")
    if ask.status is not None and answer.line != str(ask.status):
        found.append(f"the status is {answer.line}, not {ask.status}")
    if ask.body is not None and answer.body != ask.body.encode():
        found.append(f"the body is {answer.body!r}, not {ask.body!r}")
    for name, value in ask.has:
        if ", ".join(answer.all(name)) != rendered(value, now):
            found.append(f"{name} is {answer.all(name)}, not {rendered(value, now)!r}")
    found += [f"{name} is there: {answer.all(name)}" for name in ask.lacks if answer.all(name)]
    for name, value in ask.sent:
        if not any(", ".join(message.all(name)) == rendered(value, now) for message in seen):
            found.append(f"the origin saw {name}: {[message.all(name) for message in seen]}, not {value!r}")
    found += [f"the origin saw {name}" for name in ask.unsent if any(message.all(name) for message in seen)]
    return found
