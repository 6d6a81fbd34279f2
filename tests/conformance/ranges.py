"""Ranges (RFC 9110 section 14, RFC 9111 sections 3.3, 3.4)."""

from __future__ import annotations

from tests.conformance.case import Ask, Case, Kind, lines, reply

_FRESH = "Cache-Control: max-age=60"
_TAG = 'ETag: "1"'
_DIGITS = "0123456789"
_LETTERS = "".join(chr(ord("a") + place % 26) for place in range(1000))

_PARTS: list[tuple[str, str, str, str]] = [
    ("first", "bytes=0-1", "01", "0-1/10"),
    ("middle", "bytes=3-5", "345", "3-5/10"),
    ("one", "bytes=4-4", "4", "4-4/10"),
    ("open", "bytes=7-", "789", "7-9/10"),
    ("suffix", "bytes=-3", "789", "7-9/10"),
    ("long-suffix", "bytes=-300", _DIGITS, "0-9/10"),
    ("beyond", "bytes=8-300", "89", "8-9/10"),
    ("all", "bytes=0-", _DIGITS, "0-9/10"),
    ("unit-case", "Bytes=0-1", "01", "0-1/10"),
    ("zeros", "bytes=00-01", "01", "0-1/10"),
    ("empty-members", "bytes=,0-1,", "01", "0-1/10"),
    ("one-of-two", "bytes=0-1,50-60", "01", "0-1/10"),
    ("overlapping", "bytes=0-4,3-6", "0123456", "0-6/10"),
    ("touching", "bytes=0-1,2-3", "0123", "0-3/10"),
]

_WHOLE: list[tuple[str, str]] = [
    ("unit", "lines=0-1"),
    ("backwards", "bytes=5-3"),
    ("letters", "bytes=a-b"),
    ("no-dash", "bytes=5"),
    ("dash-alone", "bytes=-"),
    ("empty", "bytes="),
    ("blank-in-spec", "bytes=0 - 1"),
    ("negative", "bytes=--1"),
    ("no-equals", "bytes 0-1"),
    ("17-ranges", "bytes=" + ",".join(["0-0"] * 17)),
]


def _stored(id: str, kind: Kind, shows: str, value: str, status: int, body: str, *has: str,
            stored: tuple[str, ...] = (), again: tuple[str, ...] = (), whole: str = _DIGITS) -> Case:  # fmt: skip
    return Case(f"range-{id}", kind, "9110 14.2", shows, (
        Ask(reply=reply(_FRESH, f"Content-Length: {len(whole)}", *stored, body=whole)),
        Ask(headers=lines(f"Range: {value}", *again), wait=1, asked=False, status=status, body=body, has=lines(*has)),
    ))  # fmt: skip


def _part(first: int, last: int, *texts: str, whole: str = _DIGITS, wait: float = 0, ask: str | None = None) -> Ask:
    """A request for a range that the origin answers with that part."""
    part = reply(
        _FRESH, f"Content-Range: bytes {first}-{last}/{len(whole)}", f"Content-Length: {last - first + 1}", *texts,
        status=206, body=whole[first : last + 1],
    )  # fmt: skip
    asked = ask or f"bytes={first}-{last}"
    return Ask(
        headers=lines(f"Range: {asked}"), wait=wait, reply=part, asked=True, status=206, body=whole[first : last + 1]
    )


def _cached(first: int, last: int, whole: str = _DIGITS) -> Ask:
    return Ask(headers=lines(f"Range: bytes={first}-{last}"), wait=1, asked=False, status=206,
    body=whole[first : last + 1],
               has=lines(f"Content-Range: bytes {first}-{last}/{len(whole)}"))  # fmt: skip


_WHOLE_ASKED = Ask(wait=1, asked=False, status=200, body=_DIGITS)
_WHOLE_FETCHED = Ask(wait=1, asked=True, reply=reply(_FRESH, body="new"), status=200, body="new")
_DAY = "Last-Modified: Mon, 01 Jan 2001 00:00:00 GMT"


def _contradiction(id: str, *texts: str, body: str = "234") -> Case:
    """A 206 that contradicts itself answers nobody but who asked for it."""
    return Case(f"contradiction-{id}", "required", "9110 15.3.7", "a 206 that contradicts itself is never used again", (
        Ask(headers=lines("Range: bytes=2-4"), reply=reply(_FRESH, _TAG, *texts, status=206, body=body)),
        Ask(headers=lines("Range: bytes=2-4"), wait=1, asked=True, from_reply=1),
        Ask(wait=1, asked=True, from_reply=2),
    ))  # fmt: skip


CASES: tuple[Case, ...] = (
    *(_stored(name, "optimal", value, value, 206, body, f"Content-Range: bytes {named}")
      for name, value, body, named in _PARTS),
    *(_stored(f"whole-{name}", "check", f"{value[:30]} is no range to honour", value, 200, _DIGITS) for name,
              value in _WHOLE),
    _stored("unsatisfiable", "optimal", "beyond the end", "bytes=10-", 416, "", "Content-Range: bytes */10"),
    _stored("unsatisfiable-suffix", "optimal", "the last 0 bytes", "bytes=-0", 416, "", "Content-Range: bytes */10"),
    _stored("unsatisfiable-all", "optimal", "all beyond the end", "bytes=10-11,20-", 416, "",
            "Content-Range: bytes */10"),
    _stored("unsatisfiable-empty", "check", "an empty body", "bytes=0-", 416, "", "Content-Range: bytes */0", whole=""),
    _stored("huge", "optimal", "numbers beyond all measure", "bytes=8-" + "9" * 60, 206, "89"),
    _stored("if-range-tag", "optimal", "If-Range with the strong ETag", "bytes=0-1", 206, "01", stored=(_TAG,),
            again=('If-Range: "1"',)),
    _stored("if-range-other-tag", "required", "If-Range with another ETag", "bytes=0-1", 200, _DIGITS, stored=(_TAG,),
            again=('If-Range: "2"',)),
    _stored("if-range-weak", "required", "If-Range with a weak ETag", "bytes=0-1", 200, _DIGITS,
            stored=('ETag: W/"1"',),
            again=('If-Range: W/"1"',)),
    _stored("if-range-weak-stored", "required", "If-Range against a weak ETag", "bytes=0-1", 200, _DIGITS,
            stored=('ETag: W/"1"',), again=('If-Range: "1"',)),
    _stored("if-range-date", "optimal", "If-Range with the date", "bytes=0-1", 206, "01", stored=(_DAY, "Date: {+0}"),
            again=("If-Range: Mon, 01 Jan 2001 00:00:00 GMT",)),
    _stored("if-range-later-date", "required", "If-Range with a later date is no match", "bytes=0-1", 200, _DIGITS,
            stored=(_DAY, "Date: {+0}"), again=("If-Range: Tue, 01 Jan 2002 00:00:00 GMT",)),
    _stored("if-range-young-date", "required", "If-Range with a date too close to Date to be strong", "bytes=0-1", 200,
            _DIGITS, stored=("Last-Modified: {+0}", "Date: {+0}"), again=("If-Range: {-1}",)),
    _stored("if-range-nothing", "required", "If-Range against nothing", "bytes=0-1", 200, _DIGITS,
            again=('If-Range: "1"',)),
    _stored("if-range-failing-416", "required", "If-Range fails before a range can be unsatisfiable", "bytes=99-", 200,
            _DIGITS, stored=(_TAG,), again=('If-Range: "2"',)),
    _stored("condition-first", "required", "If-None-Match is answered before Range", "bytes=0-1", 304, "",
            stored=(_TAG,),
            again=('If-None-Match: "1"',)),
    _stored("two-parts", "optimal", "two parts far apart", "bytes=0-1,500-501", 206,
            _LETTERS[0:2] + "|" + _LETTERS[500:502], whole=_LETTERS),
    Case("range-404", "required", "9110 14.2", "an error has no ranges", (
        Ask(reply=reply(_FRESH, status=404, body=_DIGITS)),
        Ask(headers=lines("Range: bytes=0-1"), wait=1, asked=False, status=404, body=_DIGITS),
    )),
    Case("range-head", "required", "9110 14.2", "HEAD has no ranges", (
        Ask(reply=reply(_FRESH, body=_DIGITS)),
        Ask(method="HEAD", headers=lines("Range: bytes=0-1"), wait=1, asked=False, status=200,
            lacks=("Content-Range",)),
    )),
    Case("range-stale", "optimal", "9111 4.3", "a range of something stale: validated, then cut", (
        Ask(reply=reply("Cache-Control: max-age=1", _TAG, body=_DIGITS)),
        Ask(headers=lines("Range: bytes=0-1"), wait=5, conditional=True, unsent=("Range",),
            conditional_reply=reply(_TAG, _FRESH, status=304), status=206, body="01"),
    )),
    Case("cold-as-it-came", "check", "9110 14.2", "a range of something cold goes on as it came", (
        Ask(headers=lines("Range: bytes=2-4", 'If-Range: "1"'), asked=True, sent=lines("Range: bytes=2-4",
            'If-Range: "1"'),
            reply=reply(_FRESH, "Content-Range: bytes 2-4/10", "Content-Length: 3", _TAG, status=206, body="234"),
            status=206, body="234"),
    )),
    Case("cold-whole", "optimal", "9110 14.2",
         "the origin overlooks Range: all of it is stored, later ranges come from it", (
        Ask(headers=lines("Range: bytes=2-4"), reply=reply(_FRESH, body=_DIGITS)),
        Ask(headers=lines("Range: bytes=5-6"), wait=1, asked=False, status=206, body="56"),
        _WHOLE_ASKED,
    )),
    Case("cold-416", "required", "9111 3", "a 416 is not stored", (
        Ask(headers=lines("Range: bytes=50-"), reply=reply(_FRESH, "Content-Range: bytes */10", status=416, body="")),
        Ask(headers=lines("Range: bytes=50-"), wait=1, asked=True, reply=reply(_FRESH, body=_DIGITS)),
    )),
    Case("part-again", "optimal", "9111 3.3", "a stored part answers the same range", (_part(2, 6, _TAG), _cached(2,
         6))),
    Case("part-inside", "optimal", "9111 3.3", "a stored part answers ranges inside it", (
        _part(2, 6, _TAG), _cached(3, 5), _cached(2, 2), _cached(6, 6),
    )),
    Case("part-no-validator", "optimal", "9111 3.3", "a stored part without a validator answers ranges inside it", (
        _part(2, 6), _cached(3, 5),
    )),
    Case("part-suffix", "optimal", "9111 3.3", "a stored part at the end answers a suffix", (
        _part(5, 9, _TAG),
        Ask(headers=lines("Range: bytes=-2"), wait=1, asked=False, status=206, body="89"),
    )),
    Case("part-outside", "required", "9111 3.3", "a stored part does not answer ranges outside it",
         (_part(2, 4, _TAG), _part(3, 6, _TAG, wait=1))),
    Case("part-not-whole", "required", "9111 3.3", "a stored part is not the whole", (_part(2, 4, _TAG),
         _WHOLE_FETCHED)),
    Case("part-all-of-it", "optimal", "9111 3.3", "a part that is everything is the whole", (
        _part(0, 9, _TAG, ask="bytes=0-"), _WHOLE_ASKED,
    )),
    Case("part-stale", "required", "9111 4.2", "a part grows stale as well", (
        _part(2, 4, _TAG), _part(2, 4, 'ETag: "2"', wait=61),
    )),
    Case("part-head", "optimal", "9111 4", "a HEAD is answered from an incomplete response", (
        _part(2, 4, _TAG),
        Ask(method="HEAD", wait=1, asked=False, status=200, has=lines("Content-Length: 10"), lacks=("Content-Range",)),
    )),
    Case("part-unknown-length", "check", "9111 3.3", "a part of an unknown whole is not stored", (
        Ask(headers=lines("Range: bytes=2-4"), reply=reply(_FRESH, "Content-Range: bytes 2-4/*", _TAG, status=206,
            body="234")),
        Ask(headers=lines("Range: bytes=2-4"), wait=1, asked=True, from_reply=1),
    )),
    Case("part-multipart", "check", "9111 3.3", "several parts in one response are not stored", (
        Ask(headers=lines("Range: bytes=0-1,5-6"),
            reply=reply(_FRESH, "Content-Type: multipart/byteranges; boundary=x", status=206, body="--x--")),
        Ask(headers=lines("Range: bytes=0-1"), wait=1, asked=True, from_reply=1),
    )),
    Case("combine-touching", "optimal", "9111 3.4", "two parts that touch are combined", (
        _part(2, 4, _TAG), _part(5, 7, _TAG, wait=1), _cached(3, 6),
    )),
    Case("combine-overlapping", "optimal", "9111 3.4", "two parts that overlap are combined", (
        _part(2, 5, _TAG), _part(4, 7, _TAG, wait=1), _cached(2, 7),
    )),
    Case("combine-apart", "required", "9111 3.4", "a gap between two parts stays a gap", (
        _part(0, 2, _TAG), _part(6, 9, _TAG, wait=1), _cached(0, 2), _cached(6, 9), _part(2, 6, _TAG, wait=1),
    )),
    Case("combine-whole", "optimal", "9111 3.4", "parts grow until they are the whole", (
        _part(0, 4, _TAG), _part(5, 9, _TAG, wait=1), _WHOLE_ASKED,
    )),
    Case("combine-date", "optimal", "9110 8.8.2.2", "an old Last-Modified is strong enough to combine", (
        _part(0, 4, _DAY, "Date: {+0}"), _part(5, 9, _DAY, "Date: {+0}", wait=1), _WHOLE_ASKED,
    )),
    Case("combine-other-tag", "required", "9111 3.4", "parts with different ETags are not combined", (
        _part(0, 4, _TAG), _part(5, 9, 'ETag: "2"', wait=1), _WHOLE_FETCHED,
    )),
    Case("combine-weak-tag", "required", "9111 3.4", "parts with a weak ETag are not combined", (
        _part(0, 4, 'ETag: W/"1"'), _part(5, 9, 'ETag: W/"1"', wait=1), _WHOLE_FETCHED,
    )),
    Case("combine-no-validator", "required", "9111 3.4", "parts without a validator are not combined", (
        _part(0, 4), _part(5, 9, wait=1), _WHOLE_FETCHED,
    )),
    Case("combine-other-length", "required", "9111 3.4", "parts of different wholes are not combined", (
        _part(0, 4, _TAG), _part(5, 10, _TAG, wait=1, whole=_DIGITS + "x"), _WHOLE_FETCHED,
    )),
    Case("combine-young-date", "required", "9110 8.8.2.2", "a Last-Modified close to Date is not strong", (
        _part(0, 4, "Last-Modified: {+0}", "Date: {+0}"), _part(5, 9, "Last-Modified: {-1}", "Date: {+0}", wait=1),
        _WHOLE_FETCHED,
    )),
    _contradiction("length", "Content-Range: bytes 2-4/10", "Content-Length: 5", body="23456"),
    _contradiction("backwards", "Content-Range: bytes 4-2/10"),
    _contradiction("beyond", "Content-Range: bytes 2-4/4"),
    _contradiction("unit", "Content-Range: lines 2-4/10"),
    _contradiction("syntax", "Content-Range: bytes=2-4/10"),
    _contradiction("twice", "Content-Range: bytes 2-4/10", "Content-Range: bytes 3-5/10"),
    _contradiction("missing"),
)  # fmt: skip
