"""What covers a request: by key, tags, epoch, quarantine and lease; what a 304 may lift (rules 1, 2, 4 and 10)."""

from __future__ import annotations

import pytest

from edgeproxy.edge.invalidation import Ledger
from edgeproxy.edge.page import SharedPage
from edgeproxy.feed import Invalidated
from edgeproxy.headers import Headers
from edgeproxy.model import NO_EPOCH, AsOf
from edgeproxy.outcome import StoredHead
from edgeproxy.rules.floors import Floors

A, B = b"E1 GET // /a", b"E1 GET // /b"


class Node:
    """A page and one worker's ledger, in epoch `e`."""

    def __init__(self) -> None:
        self.page, self.now = SharedPage(1), 0.0
        self.ledger = Ledger(self.page, Floors("", 100), lambda: self.now)
        self.invalidate(1, "/nothing")

    def invalidate(self, number: int, *items: str, epoch: str = "e", soft: bool = False, visible: bool = True) -> None:
        """Read a record; make it visible too."""
        paths = tuple(item for item in items if not item.startswith("#"))
        tags = tuple(item[1:] for item in items if item.startswith("#"))
        self.ledger.take(epoch, number, 0, [Invalidated(number, "I", "E1", paths, tags, soft)])
        if visible:
            self.page.stand(number, quarantined=False)


@pytest.fixture
def node() -> Node:
    return Node()


def test_a_copy_covers_until_its_path_or_its_tag_is_named(node: Node) -> None:
    node.invalidate(5, "/a", "#red")
    floor = node.ledger.floor(A)
    assert not node.ledger.covers(AsOf("e", 4), floor, ())
    assert node.ledger.covers(AsOf("e", 5), floor, ())
    other = node.ledger.floor(B)
    assert node.ledger.covers(AsOf("e", 1), other, ())
    assert not node.ledger.covers(AsOf("e", 4), other, (b"#red",))
    assert node.ledger.covers(AsOf("e", 5), other, (b"#red",))


def test_a_floor_is_frozen_when_the_head_arrives(node: Node) -> None:
    floor = node.ledger.floor(A)
    node.invalidate(2, "/a", "#red")
    assert node.ledger.covers(AsOf("e", 1), floor, (b"#red",))
    assert floor.number == 1
    assert not node.ledger.covers(AsOf("e", 1), node.ledger.floor(A), ())


def test_what_is_read_counts_only_when_it_is_visible_to_all(node: Node) -> None:
    node.invalidate(2, "/a", visible=False)
    assert node.ledger.applied() == AsOf("e", 1)
    assert node.ledger.covers(AsOf("e", 1), node.ledger.floor(A), ())


def test_a_carried_floor_counts_above_our_own(node: Node) -> None:
    floor = node.ledger.floor(A, carried=7)
    assert not node.ledger.covers(AsOf("e", 6), floor, ())
    assert not node.ledger.reaches(AsOf("e", 6), floor)
    assert node.ledger.covers(AsOf("e", 7), floor, ())
    assert node.ledger.asking(AsOf("e", 9)) == AsOf("e", 9)
    assert node.ledger.asking(AsOf("other", 9)) == node.ledger.asking(None) == AsOf("e", 1)


def test_in_a_quarantine_nothing_covers_and_nobody_knows_a_number(node: Node) -> None:
    node.page.stand(1, quarantined=True)
    floor = node.ledger.floor(A)
    assert not node.ledger.covers(AsOf("e", 99), floor, ())
    assert not node.ledger.reaches(AsOf("e", 99), floor)
    assert node.ledger.applied() == AsOf("e", 0)
    assert node.ledger.quarantined()


def test_a_lapsed_lease_is_a_quarantine_until_it_is_renewed(node: Node) -> None:
    standing = node.ledger.standing()
    node.page.lease_until = 10
    node.now = 9.9
    assert node.ledger.standing() == standing
    node.now = 10
    assert node.ledger.standing() < 0
    assert not node.ledger.floor(A).usable
    node.page.lease_until = 20
    assert node.ledger.standing() == standing


def test_another_epoch_makes_everything_unusable_but_serves_those_who_came_before(node: Node) -> None:
    before = node.ledger.floor(A)
    node.invalidate(1, "/x", epoch="f")
    after = node.ledger.floor(A)
    assert not node.ledger.covers(AsOf("e", 9), after, ())
    assert node.ledger.covers(AsOf("f", 0), before, ())  # asked for later than anything of the old epoch
    assert node.ledger.covers(AsOf("e", 1), before, ())
    assert not node.ledger.covers(AsOf("d", 9), before, ())


def test_a_worker_that_read_of_a_new_epoch_first_does_not_take_the_old_number_for_it(node: Node) -> None:
    node.page.stand(100, quarantined=False)
    node.invalidate(3, "/x", epoch="f", visible=False)
    assert node.ledger.applied() == AsOf("f", 3)


def test_a_304_lifts_a_copy_only_over_what_does_not_name_it(node: Node) -> None:
    head = StoredHead(200, b"", Headers(), 0.0, 0.0, AsOf("e", 1), sources=(b"#red",))
    node.invalidate(3, "/b")
    assert node.ledger.vouched(head, A, AsOf("e", 3)) == AsOf("e", 3)
    assert node.ledger.vouched(head, A, AsOf("e", 2)) == AsOf("e", 2)
    assert node.ledger.vouched(head, A, AsOf("e", 9)) == AsOf("e", 3)
    assert node.ledger.vouched(head, A, AsOf("f", 9)) == AsOf("e", 1)
    node.invalidate(4, "#red")
    assert node.ledger.vouched(head, A, AsOf("e", 4)) == AsOf("e", 1)


def test_a_soft_invalidation_makes_stale_and_no_more(node: Node) -> None:
    node.invalidate(2, "/a", "#red", soft=True)
    floor = node.ledger.floor(A)
    assert node.ledger.covers(AsOf("e", 1), floor, ())
    assert node.ledger.softened(AsOf("e", 1), floor, A, ())
    assert not node.ledger.softened(AsOf("e", 2), floor, A, ())
    other = node.ledger.floor(B)
    assert not node.ledger.softened(AsOf("e", 1), other, B, ())
    assert node.ledger.softened(AsOf("e", 1), other, B, (b"#red",))


def test_without_a_control_plane_everything_covers() -> None:
    ledger = Ledger(SharedPage(1))
    assert ledger.covers(ledger.applied(), ledger.floor(A), ())
    assert ledger.applied() == AsOf(NO_EPOCH, 0)
