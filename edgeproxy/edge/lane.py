"""The hit lane: what a connection may answer by itself, at once, without asking the pipeline.

    bytes of a head ──▶ Known ──▶ Asked ──▶ Reply      a head seen before: one look into a dict
           └─ lines ─▶ Family ───▶ Asked               another head that means the same (lines.py)
                                     └── nothing ──▶   the pipeline; what that answers from memory twice, `learn`

An answer is given again while all of this holds; whatever is not certain is the pipeline's:

- the configuration is the one it was made under (`forget` drops everything when that changes);
- nothing has come, changed or left under its key in the store (the store tells, `_changed`);
- what counts of invalidations, the generation of its resource and the edition of its key are those it was made at,
  or it was found to cover the new number; it is fresh (`_usable`, `Reply.renew`);
- the request says the same in every field that matters (`lines.matters`), on a connection whose peer is believed the
  same things. What the answer comes to depend on must be added there, or refused in `_is_plain`.

It holds nothing that others do not hold too, and forgets in two generations: when the younger one has taken half of
the memory, the older one goes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from edgeproxy.cloudfront.fields import REQUEST_ID_BYTES, request_ids
from edgeproxy.edge import lines
from edgeproxy.edge.admission import resource, within
from edgeproxy.edge.answers import Answers
from edgeproxy.edge.ask import Ask
from edgeproxy.edge.hop import is_loopback
from edgeproxy.edge.invalidation import Ledger
from edgeproxy.edge.lines import Reader, Texts
from edgeproxy.edge.node import Clocks, Place, Serving
from edgeproxy.edge.page import SharedPage
from edgeproxy.edge.prepared import Reply, prepare
from edgeproxy.edge.recorder import Recorder
from edgeproxy.headers import connection_options
from edgeproxy.message import Client, Peer
from edgeproxy.model import Rules
from edgeproxy.rules.key import head_key
from edgeproxy.store.memory import MemoryStore, Stored
from edgeproxy.store.tiers import Held
from edgeproxy.telemetry.counters import Counter, Counters
from edgeproxy.telemetry.log import OFF
from edgeproxy.telemetry.record import text_of

_NEVER_PLAIN = frozenset({b"content-length", b"transfer-encoding", b"expect", b"upgrade", b"te"})
_ASKS_CACHES = frozenset({b"cache-control", b"pragma"})
_MADE_UP = b"cloudfront-"
"""What the node finds out about a viewer is not in the head."""

_IDS = 256
"""Request ids made at a time."""

_SEEN = 4096
"""What comes a second time is worth remembering; so many slots tell whether it does."""

_HEAD_OVERHEAD = 900
_FAMILY_OVERHEAD = 900
"""Bytes they take beside the head and the names in them (measured)."""


_READER_OVERHEAD = 256 * 1024
"""Bytes a reader's lines may come to: more than most ever do."""


class Asked:
    """What is asked for: all requests that are answered alike."""

    __slots__ = ("keys", "reply", "viewer")

    def __init__(self, keys: tuple[bytes, ...], viewer: str | None) -> None:
        self.keys = keys
        """Under which a change means another answer."""
        self.viewer = viewer
        """The viewer's address where the head says it; None where it is the peer's."""
        self.reply: Reply | None = None


class Family:
    """All that is asked for with one request line and Host."""

    __slots__ = ("asked", "reader", "weight")

    def __init__(self, reader: Reader) -> None:
        self.reader = reader
        self.asked: dict[bytes, Asked] = {}
        self.weight = 0


class Known:
    """A head that was understood."""

    __slots__ = (
        "_size", "_texts", "address", "asked", "before_id", "behind_id", "last", "reply", "tls_on", "viewer",
        "weight",
    )  # fmt: skip

    def __init__(self, texts: Texts, size: int, asked: Asked, reply: Reply) -> None:
        self.asked = asked
        self.viewer = asked.viewer
        self.address = None if asked.viewer is None else text_of(asked.viewer.encode())
        """The same as the log has it."""
        self._texts = texts
        self._size = size
        self.fit(reply)

    def fit(self, reply: Reply) -> None:
        """Take the words of this reply into the log's line."""
        referer, agent, cookie, forwarded = self._texts
        line = reply.line
        self.reply = reply
        self.before_id = b"".join((line[4], referer, line[5], agent, line[6], cookie, line[7]))
        self.behind_id = b"%b%d%b%b%b" % (line[8], self._size, line[9], forwarded, line[10])
        self.tls_on = line[12]
        self.last = line[13]
        self.weight = 512 + self._size


class Space:
    """What is remembered of heads that come over one scheme, from peers that are believed the same things."""

    __slots__ = (
        "_cookies", "_lane", "_readers", "_seen", "families", "gone", "heads", "older_families", "older_heads",
        "viewer_is_told",
    )  # fmt: skip

    def __init__(self, lane: Lane, viewer_is_told: bool, cookies: bool) -> None:
        self._lane = lane
        self._cookies = cookies
        self._readers: dict[frozenset[bytes], Reader] = {}
        self._seen = [0] * _SEEN
        self.viewer_is_told = viewer_is_told
        self.gone = False
        """The configuration has changed: there is another space for these connections."""
        self.heads: dict[bytes, Known] = {}
        """The same object as long as the space lasts: connections look into it by themselves."""
        self.older_heads: dict[bytes, Known] = {}
        self.families: dict[bytes, Family] = {}
        self.older_families: dict[bytes, Family] = {}

    def find(self, head: bytes, fields_max: int) -> Known | None:
        """What is known of a head; None when the pipeline has to be asked."""
        known = self.heads.get(head)
        if known is None and (known := self.older_heads.pop(head, None)) is not None:
            self._remember(head, known)
        if known is not None and known.asked.reply is not None:
            return known
        return self.match(head, fields_max)

    def match(self, head: bytes, fields_max: int) -> Known | None:
        """The same for a head that is not known as it is."""
        cut = lines.cut(head)
        if cut is None or len(cut[1]) >= fields_max:
            return None
        family = self.families.get(cut[0]) or self._older_family(cut[0])
        read = None if family is None else family.reader.read(cut[1])
        if family is None or read is None:
            return None
        asked = family.asked.get(read[0])
        if asked is None or asked.reply is None:
            return None
        known = Known(read[1], len(head), asked, asked.reply)
        if self._came_before(head):
            self._remember(head, known)
        return known

    def learn(self, ask: Ask, found: Sequence[Held], prepare: Callable[[], Reply | None]) -> None:
        """Remember the answer to a request that is answered so for the second time: to prepare one costs as much as to
        give it once, and most are not asked for again."""
        cut = lines.cut(ask.incoming.raw)
        if cut is None:
            return
        reader = self._reader(lines.matters(ask, found, self.viewer_is_told))
        read = reader.read(cut[1])
        if read is None:
            return
        family = self.families.get(cut[0]) or self._older_family(cut[0])
        if (family is None or read[0] not in family.asked) and not self._came_before(cut[0] + read[0]):
            return
        reply = prepare()
        if reply is None:
            return
        if family is None or family.reader.matters != reader.matters:
            if family is not None:
                self._lane.let_go(family)
            family = self.families[cut[0]] = Family(reader)
            family.weight = _FAMILY_OVERHEAD + len(cut[0])
            self._lane.charge(family.weight)
        asked = family.asked.get(read[0])
        if asked is None:
            keys = (ask.key, head_key(ask.key)) if ask.request.method == "HEAD" else (ask.key,)
            viewer = None if ask.client is ask.incoming.client else ask.client.address
            asked = family.asked[read[0]] = Asked(keys, viewer)
        weight = len(read[0]) + reply.weight()
        family.weight += weight
        self._lane.watch(asked, reply)
        self._lane.charge(weight)

    def _came_before(self, text: bytes) -> bool:
        mark = hash(text)
        place = mark % _SEEN
        if self._seen[place] == mark:
            return True
        self._seen[place] = mark
        return False

    def grow_older(self) -> None:
        """Forget what was not asked for lately, and count all the rest as that."""
        for family in self.older_families.values():
            self._lane.let_go(family)
        self.older_families, self.families = self.families, {}
        self.older_heads = dict(self.heads)
        self.heads.clear()
        for reader in self._readers.values():
            reader.forget()
        self._readers.clear()

    def _reader(self, matters: frozenset[bytes]) -> Reader:
        reader = self._readers.get(matters)
        if reader is None:
            reader = self._readers[matters] = Reader(matters, self._cookies)
            self._lane.charge(_READER_OVERHEAD)
        return reader

    def _older_family(self, name: bytes) -> Family | None:
        family = self.older_families.pop(name, None)
        if family is not None:
            self.families[name] = family
            self._lane.charge(family.weight)
        return family

    def _remember(self, head: bytes, known: Known) -> None:
        self.heads[head] = known
        self._lane.charge(_HEAD_OVERHEAD + len(head) + known.weight)


class Lane:
    """The hit lane of one worker: what its connections know, and what they need to answer."""

    def __init__(
        self,
        place: Place,
        serving: Serving,
        store: MemoryStore,
        page: SharedPage,
        ledger: Ledger,
        answers: Answers,
        recorder: Recorder,
        counters: Counters,
        clocks: Clocks,
    ) -> None:
        self._place = place
        self._serving = serving
        self._ledger = ledger
        self._answers = answers
        self._page = page
        self._clocks = clocks
        self._spaces: dict[tuple[str, bool, bool, frozenset[str]], Space] = {}
        self._watched: dict[bytes, set[Asked]] = {}
        self._charged = 0
        self._counters = counters
        self.recorder = recorder
        self.store = store
        store.changed = self._changed
        # What is read for every request stands here without a step in between.
        self.wall, self.monotonic = clocks.wall, clocks.monotonic
        self.standings, self.leases = page.standings, page.leases
        self.generations, self.editions = page.generations, page.editions
        self.row = counters.row
        self.take = None if recorder.log.path == OFF else recorder.log.write_line
        self.ids: list[bytes] = []

    def space(self, client: Client, scheme: str) -> Space | None:
        """Where to look for the heads of a connection; None when all its requests are the pipeline's."""
        serving = self._serving
        if not serving.settings.connections.hit_lane or client.peer is not Peer.VIEWER:
            return None
        said = self._place.test_clock and is_loopback(client.address)
        proxies = serving.settings.trust.proxies
        trusted = bool(proxies) and within(client.address, proxies)
        name = scheme, said, trusted, _refusing(serving, client)
        space = self._spaces.get(name)
        if space is None:
            space = self._spaces[name] = Space(self, trusted, serving.settings.log.cookies)
        return space

    def use(self, reply: Reply) -> None:
        """Tell the store that it was used: it ranks by that what stays."""
        reply.uses -= 1
        if reply.stored is not None:
            self.store.use(reply.stored)

    def more_ids(self) -> None:
        """Have some request ids ready."""
        self.ids += request_ids(self._clocks.random_bytes(_IDS * REQUEST_ID_BYTES))

    def ready(self, known: Known, now: float) -> bool:
        """Whether what is known can be answered now; it is made right for this moment then."""
        reply = known.asked.reply
        if reply is None or not self._usable(reply) or not reply.renew(now):
            return False
        if known.reply is not reply:
            known.fit(reply)
        return True

    def learn(self, ask: Ask, stored: Stored, found: Sequence[Held]) -> None:
        """The pipeline answers this request as a fresh hit; `found` is what it chose from."""
        if not ask.incoming.raw or ask.serving is not self._serving or not _is_plain(ask, stored):
            return
        space = self.space(ask.incoming.client, ask.incoming.head.scheme)
        if space is not None:
            space.learn(ask, found, partial(self._prepared, ask, stored))

    def _prepared(self, ask: Ask, stored: Stored) -> Reply | None:
        reply = prepare(ask, stored, self._answers, self.recorder)
        if reply is None:
            return None
        # What was applied meanwhile is looked at when it is first used (`standing` is unlike any other until then).
        reply.bucket = self._page.bucket(resource(ask.request, ask.distribution))
        reply.generation = ask.generation
        if ask.owner is not None:
            reply.edition_bucket, reply.edition = self._page.bucket(ask.key), stored.terms.edition
        self._counters.add(Counter.LANE_LEARNT)
        return reply

    def forget(self, serving: Serving) -> None:
        """Another configuration: nothing that is known holds."""
        self._serving = serving
        for space in self._spaces.values():
            space.gone = True
            for each in (space.heads, space.older_heads, space.families, space.older_families):
                each.clear()
        self._spaces.clear()
        for asked in set().union(*self._watched.values()):
            _drop(asked)
        self._watched.clear()
        self._charged = 0

    def watch(self, asked: Asked, reply: Reply) -> None:
        """This is the answer until something changes."""
        _drop(asked)
        asked.reply = reply
        for key in asked.keys:
            self._watched.setdefault(key, set()).add(asked)

    def let_go(self, family: Family) -> None:
        """Nobody knows these any more."""
        for asked in family.asked.values():
            _drop(asked)
            for key in asked.keys:
                watched = self._watched.get(key)
                if watched is not None:
                    watched.discard(asked)
                    if not watched:
                        del self._watched[key]

    def charge(self, weight: int) -> None:
        """So many bytes more are remembered; the older half goes when they become too many."""
        self._charged += weight
        if self._charged <= self._serving.settings.connections.hit_lane_memory // 2:
            return
        self._charged = 0
        for space in self._spaces.values():
            self._counters.add(Counter.LANE_FORGOTTEN, len(space.older_heads) + len(space.older_families))
            space.grow_older()

    def _changed(self, key: bytes) -> None:
        for asked in self._watched.pop(key, ()):
            _drop(asked)

    def _usable(self, reply: Reply) -> bool:
        if self.generations[reply.bucket] != reply.generation:
            return False
        if reply.edition is not None and self.editions[reply.edition_bucket] != reply.edition:
            return False
        standing = self._ledger.standing()
        if standing < 0:
            return False
        if standing != reply.standing:
            stored = reply.stored
            if stored is None or not self._covers(stored):
                return False
            reply.standing = standing
        return True

    def _covers(self, stored: Stored) -> bool:
        """Whether no invalidation, soft ones included, is newer than a response that somebody asks for right now."""
        head, floor = stored.head, self._ledger.floor(stored.key)
        covers = self._ledger.covers(head.as_of, floor, head.sources)
        return covers and not self._ledger.softened(head.as_of, floor, stored.key, head.sources)

    def lapsed(self) -> bool:
        """Whether nothing stored may be used now, the node's lease having ended."""
        return self._ledger.quarantined()


def _drop(asked: Asked) -> None:
    if asked.reply is not None:
        asked.reply.expire()
        asked.reply = None


def _is_plain(ask: Ask, stored: Stored) -> bool:
    """Whether the same bytes on the same kind of connection will mean the same answer."""
    request, policy = ask.request, ask.behavior.response
    names = ask.incoming.head.headers.names()
    return (
        request.method in ("GET", "HEAD")
        and request.version == "1.1"
        and ask.hop is None
        and not ask.distribution.shared
        and stored.key == ask.key
        and b"date" in stored.head.headers
        and _NEVER_PLAIN.isdisjoint(names)
        and (ask.distribution.rules is Rules.CLOUDFRONT or _ASKS_CACHES.isdisjoint(names))
        and b"close" not in connection_options(ask.incoming.head.headers)
        and not any(name.startswith(_MADE_UP) for name in ask.behavior.key.headers)
        and (ask.distribution.countries is None or ask.client is ask.incoming.client)
        and stored.head.status not in ask.distribution.error_pages
        and (policy is None or (policy.timing is None and b"date" not in policy.removed))
    )


def _refusing(serving: Serving, client: Client) -> frozenset[str]:
    """The distributions that turn this peer away because of its country: nothing is known for it that they serve."""
    restricted = [each for each in serving.hosts if each.countries is not None]
    if not restricted:
        return frozenset()
    country = serving.clients.find(client.address).country
    return frozenset(each.id for each in restricted if each.countries is not None and each.countries.refuses(country))
