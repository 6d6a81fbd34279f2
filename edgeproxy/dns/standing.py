"""What the checks of a POP, and what the control plane has noticed, add up to: whether viewers are sent there."""

from __future__ import annotations

from enum import Enum

RELIEVED = 0.9
"""A POP over its cap is used again below this share of it, so that it does not come and go with every viewer."""


class Verdict(Enum):
    """How a check ended. The value is a sentence."""

    READY = "It is ready."
    REFUSES = "It says that it is not ready: starting, draining, or drained by the operator."
    FAILED = "It did not answer as it should."


class Notice(Enum):
    """What the control plane has noticed of a POP. The value is a sentence."""

    FOLLOWING = "It follows the control plane."
    LOST = "The control plane has lost it."
    LEFT = "It has left the control plane for good."
    DRAINED = "The operator has drained it."
    UNDRAINED = "The operator has it back in service."


_OUT = frozenset({Notice.LEFT, Notice.DRAINED})


class Standing:
    """One POP's. Up until something else is known: a resolver that has just started takes nobody out."""

    def __init__(self, fall: int, rise: int, load_max: int | None = None) -> None:
        self._fall = fall
        self._rise = rise
        self.load_max = load_max
        """Viewer connections from which on it is full; None for never."""
        self._streak = 0
        """Checks in a row that speak against how it stands."""
        self.verdict: Verdict | None = None
        self.load: int | None = None
        self._failed = False
        self._refuses = ""
        """Why it is out by its own word or the control plane's; empty when it is not."""
        self._full = False

    @property
    def is_up(self) -> bool:
        """Whether viewers are sent there."""
        return not (self._failed or self._refuses or self._full)

    @property
    def reason(self) -> str:
        """Why not, or nothing."""
        if self._refuses:
            return self._refuses
        if self._failed:
            return Verdict.FAILED.value
        return "It has as many viewers as it may." if self._full else ""

    def saw(self, verdict: Verdict, load: int | None = None) -> None:
        """Take a check into account; `load` in viewer connections, as far as it told."""
        self.verdict, self.load = verdict, load
        # What a POP says of itself needs no second check, neither when it goes nor when it comes back. One that said
        # that it goes and then says nothing is gone.
        if verdict is not Verdict.FAILED:
            self._refuses = Verdict.REFUSES.value if verdict is Verdict.REFUSES else ""
        speaks_against = (verdict is Verdict.READY) if self._failed else (verdict is Verdict.FAILED)
        self._streak = self._streak + 1 if speaks_against else 0
        if self._streak >= (self._rise if self._failed else self._fall):
            self._failed, self._streak = not self._failed, 0
        if self.load_max is None:
            self._full = False
        elif load is not None:
            self._full = load >= self.load_max * (RELIEVED if self._full else 1)

    def noticed(self, notice: Notice) -> None:
        """Take the control plane's word that it is out, until a check says that it is ready. The control plane may be
        the one that is away: that it has lost a POP takes none out."""
        if notice in _OUT:
            self._refuses = notice.value
