"""What a node has is acknowledged when all its workers have it, and not before (INVALIDATION rules 7, 9 and 10)."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from edgeproxy.edge.journal import Journal, News, Position
from edgeproxy.edge.page import SharedPage


@dataclass
class Parent:
    """A parent with workers that are played by the test."""

    page: SharedPage = field(default_factory=lambda: SharedPage(2))
    told: list[Position] = field(default_factory=list)
    said: list[Position] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.journal = Journal(self.page, self.told.append, self.said.append)

    def runs(self, *workers: int, at: Position = ("e", 0)) -> Parent:
        """These workers are there."""
        for worker in workers:
            self.journal.started(worker)
            self.journal.confirmed(worker, at)
        return self


@pytest.fixture
def parent() -> Parent:
    made = Parent()
    made.journal.take(News("e", 0, fresh=True, caught_up=True))
    return made.runs(0, 1)


def test_a_node_begins_in_quarantine_and_leaves_it_when_all_workers_have_caught_up() -> None:
    made = Parent()
    made.runs(0, at=("", 0))
    assert made.page.quarantined
    made.journal.take(News("e", 5))  # what it had on its disk
    made.journal.confirmed(0, ("e", 5))
    assert made.page.quarantined
    assert made.page.applied == 5
    made.journal.take(News("e", 8, caught_up=True))
    assert made.page.quarantined
    made.journal.confirmed(0, ("e", 8))
    assert not made.page.quarantined
    assert made.page.applied == 8
    assert made.said[-1] == ("e", 8)


def test_one_worker_does_not_speak_for_all(parent: Parent) -> None:
    parent.journal.take(News("e", 3))
    assert parent.told[-1] == ("e", 3)
    parent.journal.confirmed(0, ("e", 3))
    assert parent.page.applied == 0
    assert ("e", 3) not in parent.said
    parent.journal.confirmed(1, ("e", 3))
    assert parent.page.applied == 3
    assert parent.said[-1] == ("e", 3)


def test_a_worker_that_dies_is_not_waited_for_and_the_next_one_is_until_it_has_read(parent: Parent) -> None:
    parent.journal.take(News("e", 3))
    parent.journal.confirmed(0, ("e", 3))
    parent.journal.ended(1)
    assert parent.page.applied == 3
    parent.journal.started(1)
    parent.journal.take(News("e", 4))
    parent.journal.confirmed(0, ("e", 4))
    assert parent.page.applied == 3
    parent.journal.confirmed(1, ("e", 4))
    assert parent.page.applied == 4


def test_what_a_worker_said_earlier_does_not_set_it_back(parent: Parent) -> None:
    parent.journal.take(News("e", 3))
    for worker in (0, 1):
        parent.journal.confirmed(worker, ("e", 3))
    parent.journal.confirmed(1, ("e", 2))
    assert parent.page.applied == 3
    parent.journal.confirmed(7, ("e", 1))  # one that is gone
    assert parent.page.applied == 3


@pytest.mark.parametrize(
    ("news", "number"), [(News("f", 1, caught_up=True), 1), (News("e", 0, fresh=True, caught_up=True), 0)]
)
def test_another_epoch_or_a_control_plane_that_forgot_us_begins_a_quarantine(
    parent: Parent, news: News, number: int
) -> None:
    before = parent.page.standing
    parent.journal.take(news)
    if news.epoch != "e":
        assert parent.page.quarantined
        parent.journal.confirmed(0, (news.epoch, number))
        assert parent.page.quarantined
        parent.journal.confirmed(1, (news.epoch, number))
    assert not parent.page.quarantined
    assert parent.page.standing != before  # whoever remembered a decision across it must see that


def test_nothing_new_is_told_to_nobody_but_acknowledged_again(parent: Parent) -> None:
    told, said = len(parent.told), len(parent.said)
    parent.journal.take(News("e", 0, caught_up=True))
    assert len(parent.told) == told
    assert len(parent.said) == said + 1


def test_a_lease_counts_once_everything_that_was_known_when_it_was_granted_is_visible(parent: Parent) -> None:
    parent.journal.lease(0, 10.0)
    assert parent.page.lease_until == 10
    parent.journal.take(News("e", 2))
    parent.journal.lease(2, 20.0)
    parent.journal.lease(2, 30.0)
    assert parent.page.lease_until == 10
    parent.journal.confirmed(0, ("e", 2))
    parent.journal.confirmed(1, ("e", 2))
    assert parent.page.lease_until == 30
