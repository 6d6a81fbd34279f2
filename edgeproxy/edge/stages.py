"""What a connection is at: whose the bytes are that arrive next, and what its read timer waits for."""

from __future__ import annotations

from enum import Enum, auto


class Reading(Enum):
    """Whose the bytes are that arrive next."""

    HEADS = auto()
    BODY = auto()
    TUNNEL = auto()
    NOBODY = auto()


class Waiting(Enum):
    """What the read timer waits for."""

    NOTHING = auto()
    FIRST_HEAD = auto()
    HEAD = auto()
    NEXT_HEAD = auto()
    BODY = auto()
    TUNNEL = auto()
    ANSWER_AFTER_EOF = auto()
    LINGER = auto()
