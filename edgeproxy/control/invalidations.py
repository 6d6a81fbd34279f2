"""Accepting an invalidation: what its items must be, how many may be in progress, and when it is one we have already
(fact sheet 7)."""

from __future__ import annotations

import re
from collections.abc import Sequence

from edgeproxy.control.refusals import refuse
from edgeproxy.control.state import Change, Invalidation, distribution_of
from edgeproxy.control.things import Moment
from edgeproxy.feed import Invalidated

PATH_MAX = 4000
"""Characters of one path."""
TAG_MAX = 256
BATCH_MAX = 3000
REFERENCE_MAX = 128

_PATH = re.compile(r"/[!$%&'()*+,\-./0-9:;=?@A-Z_a-z\[\]!]*")
_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
_TAG = re.compile(r"#[!-+\--~]{1,256}")


def invalidate(
    moment: Moment,
    distribution: str,
    items: Sequence[str],
    reference: str,
    *,
    files_max: int,
    wildcards_max: int,
    soft: bool = False,
) -> tuple[Change, Invalidation]:
    """A new invalidation, or the one that this reference made before. Raises Refused.

    `files_max` and `wildcards_max` bound what may be in progress for one distribution.
    """
    state = moment.state
    resource = distribution_of(state, distribution)
    if not 1 <= len(reference) <= REFERENCE_MAX:
        refuse("InvalidArgument", f"CallerReference: expected 1 to {REFERENCE_MAX} characters")
    for known in state.invalidations.values():
        if known.distribution == distribution and known.reference == reference:
            if sorted(known.items) == sorted(items) and known.soft is soft:
                return Change(), known
            refuse("InvalidationBatchAlreadyExists", "Another invalidation has this CallerReference.")
    _check_items(items, tagged=bool(resource.config.get("CacheTagConfig")))
    _check_quota(
        [item for each in state.in_progress(distribution) for item in each.items], items, files_max, wildcards_max
    )
    number = state.number + 1
    made = Invalidation(moment.names.short("I"), number, distribution, reference, tuple(items), soft, moment.now)
    paths = tuple(dict.fromkeys(item for item in items if item.startswith("/")))
    tags = tuple(dict.fromkeys(item[1:].lower() for item in items if item.startswith("#")))
    record = Invalidated(number, made.id, distribution, paths, tags, soft)
    return Change(records=(record,), invalidations=(made,)), made


def _check_items(items: Sequence[str], *, tagged: bool) -> None:
    if not items:
        refuse("InvalidArgument", "Your request contains no invalidation path.")
    if len(items) > BATCH_MAX:
        refuse("BatchTooLarge", f"Invalidation batch specified is too large: up to {BATCH_MAX} paths.")
    for item in items:
        if item.startswith("#"):
            if not tagged:
                refuse("InvalidArgument", f"{item[:80]!r} is a tag, and the distribution has no CacheTagConfig.")
            if not _TAG.fullmatch(item):
                refuse("InvalidArgument", f"{item[:80]!r} is no tag: 1 to {TAG_MAX} visible characters, no comma.")
        elif not _PATH.fullmatch(item) or len(item) > PATH_MAX or _ESCAPE.search(item):
            refuse(
                "InvalidArgument",
                f"Your request contains one or more invalid invalidation paths: {item[:80]!r}. A path begins with /, "
                f"is percent-encoded where need be, without ~, and has up to {PATH_MAX} characters.",
            )


def _check_quota(running: Sequence[str], items: Sequence[str], files_max: int, wildcards_max: int) -> None:
    wild = _wildcards(running), _wildcards(items)
    if sum(wild) > wildcards_max or len(running) - wild[0] + len(items) - wild[1] > files_max:
        refuse(
            "TooManyInvalidationsInProgress",
            f"Processing your request will cause you to exceed the maximum number of in-progress invalidations: "
            f"{files_max} paths, {wildcards_max} wildcards.",
        )


def _wildcards(items: Sequence[str]) -> int:
    return sum(item.endswith("*") and item.startswith("/") for item in items)
