"""Conditional requests, made and answered (RFC 9111 section 4.3, RFC 9110 section 13)."""

from __future__ import annotations

from tests.conformance.case import Ask, Case, Kind, lines, reply, validated

_FRESH = "Cache-Control: max-age=60"
_ONCE = "Cache-Control: max-age=1"
_DAY = "Last-Modified: Mon, 01 Jan 2001 00:00:00 GMT"
_TAG = 'ETag: "1"'

_304: list[tuple[str, Kind, str, list[str], list[str]]] = [
    ("tag", "optimal", "the same ETag", [_TAG], ['If-None-Match: "1"']),
    ("tag-weak-asked", "optimal", "weak in the request", [_TAG], ['If-None-Match: W/"1"']),
    ("tag-weak-stored", "optimal", "weak in the response", ['ETag: W/"1"'], ['If-None-Match: "1"']),
    ("tag-weak-both", "optimal", "weak in both", ['ETag: W/"1"'], ['If-None-Match: W/"1"']),
    ("tag-list", "optimal", "in a list", [_TAG], ['If-None-Match: "0", "1", "2"']),
    ("tag-list-blanks", "optimal", "in a list without blanks", [_TAG], ['If-None-Match: "0",W/"1","2"']),
    ("tag-lines", "optimal", "in the second of two lines", [_TAG], ['If-None-Match: "0"', 'If-None-Match: "1"']),
    ("tag-star", "optimal", "*", [_TAG], ["If-None-Match: *"]),
    ("tag-comma", "optimal", "a comma inside the tag", ['ETag: "a,b"'], ['If-None-Match: "a,b"']),
    ("tag-empty", "optimal", "an empty tag", ['ETag: ""'], ['If-None-Match: ""']),
    ("tag-first", "required", "If-None-Match decides, not If-Modified-Since", [_TAG, _DAY],
     ['If-None-Match: "1"', "If-Modified-Since: Sun, 01 Jan 1995 00:00:00 GMT"]),
    ("date-equal", "optimal", "the same date", [_DAY], ["If-Modified-Since: Mon, 01 Jan 2001 00:00:00 GMT"]),
    ("date-later", "optimal", "a later date", [_DAY], ["If-Modified-Since: Tue, 01 Jan 2002 00:00:00 GMT"]),
    ("date-rfc850", "optimal", "a date of the second form", [_DAY],
     ["If-Modified-Since: Tuesday, 01-Jan-02 00:00:00 GMT"]),
    ("date-asctime", "optimal", "a date of the third form", [_DAY], ["If-Modified-Since: Tue Jan  1 00:00:00 2002"]),
    ("date-for-date", "optimal", "without Last-Modified, Date counts", ["Date: {+0}"], ["If-Modified-Since: {+0}"]),
]  # fmt: skip

_200: list[tuple[str, Kind, str, list[str], list[str]]] = [
    ("tag-other", "required", "another ETag", [_TAG], ['If-None-Match: "2"']),
    ("tag-case", "required", "ETags know case", ['ETag: "a"'], ['If-None-Match: "A"']),
    ("tag-none-stored", "required", "no ETag stored", [_DAY], ['If-None-Match: "1"']),
    ("tag-unquoted", "check", "an ETag without quotation marks is none", ["ETag: 1"], ["If-None-Match: 1"]),
    ("tag-substring", "required", "part of a tag", ['ETag: "12"'], ['If-None-Match: "1"']),
    ("tag-other-date-same", "required", "another ETag beside the same date", [_TAG, _DAY],
     ['If-None-Match: "2"', "If-Modified-Since: Mon, 01 Jan 2001 00:00:00 GMT"]),
    ("date-earlier", "required", "an earlier date", [_DAY], ["If-Modified-Since: Sun, 31 Dec 2000 23:59:59 GMT"]),
    ("date-wrong", "required", "what is no date is overlooked", [_DAY], ["If-Modified-Since: 2002-01-01"]),
    ("date-case", "required", "a date in capitals is none", [_DAY],
     ["If-Modified-Since: TUE, 01 JAN 2002 00:00:00 GMT"]),
    ("date-twice", "check", "two dates are none", [_DAY],
     ["If-Modified-Since: Tue, 01 Jan 2002 00:00:00 GMT", "If-Modified-Since: Tue, 01 Jan 2002 00:00:00 GMT"]),
]  # fmt: skip


def _answered(prefix: str, kind: Kind, shows: str, stored: list[str], asked: list[str], status: int) -> Case:
    second = Ask(headers=lines(*asked), wait=1, asked=False, status=status, body="" if status == 304 else "body 0")
    return Case(f"condition-{prefix}", kind, "9110 13.2.2", shows, (Ask(reply=reply(_FRESH, *stored)), second))


def _updated(id: str, kind: Kind, shows: str, stored: list[str], told: list[str], has: list[str],
             lacks: tuple[str, ...] = ()) -> Case:  # fmt: skip
    """After a 304 with the fields told, the stored response has these."""
    not_modified = reply(_TAG, "Cache-Control: max-age=600", *told, status=304)
    return Case(f"update-{id}", kind, "9111 3.2", shows, (
        Ask(reply=reply(_ONCE, _TAG, *stored)),
        Ask(wait=5, conditional_reply=not_modified, from_reply=0, has=lines(*has), lacks=lacks),
        Ask(wait=5, asked=False, from_reply=0, status=200, body="body 0", has=lines(*has), lacks=lacks),
    ))  # fmt: skip


def _variants(*asks: Ask) -> tuple[Ask, ...]:
    german = Ask(headers=lines("X-L: de"), reply=reply(_ONCE, "Vary: X-L", 'ETag: "de"'))
    french = Ask(headers=lines("X-L: fr"), reply=reply(_ONCE, "Vary: X-L", 'ETag: "fr"'))
    return german, french, *asks


CASES: tuple[Case, ...] = (
    validated("validate-tag", "optimal", "9111 4.3.1", "a stale response is validated by its ETag", _ONCE, _TAG, wait=5,
              sent=['If-None-Match: "1"']),
    validated("validate-weak-tag", "optimal", "9111 4.3.1", "by a weak ETag", _ONCE, 'ETag: W/"1"', wait=5,
              sent=['If-None-Match: W/"1"']),
    validated("validate-date", "optimal", "9111 4.3.1", "by its Last-Modified", _ONCE, _DAY, wait=5,
              sent=["If-Modified-Since: Mon, 01 Jan 2001 00:00:00 GMT"], unsent=("If-None-Match",)),
    validated("validate-both", "optimal", "9111 4.3.1", "by both", _ONCE, _TAG, _DAY, wait=5,
              sent=['If-None-Match: "1"', "If-Modified-Since: Mon, 01 Jan 2001 00:00:00 GMT"]),
    validated("validate-no-cache", "optimal", "9111 5.2.2.4", "no-cache: validated before each use",
              "Cache-Control: no-cache, max-age=60", _TAG),
    validated("validate-no-lifetime", "optimal", "9111 4.3", "no lifetime, but a validator", 'ETag: "1"'),
    validated("validate-max-age-0", "optimal", "9111 4.3", "max-age=0", "Cache-Control: max-age=0", _TAG),
    validated("validate-must-revalidate", "optimal", "9111 5.2.2.2", "must-revalidate, stale",
              "Cache-Control: max-age=1, must-revalidate", _TAG, wait=5),
    validated("validate-request-no-cache", "optimal", "9111 5.2.1.4", "a request's no-cache is met by a validation",
              _FRESH,
              _TAG, again=["Cache-Control: no-cache"]),
    validated("validate-request-max-age-0", "optimal", "9111 5.2.1.1", "a request's max-age=0 is met by a validation",
              _FRESH, _TAG, again=["Cache-Control: max-age=0"]),
    validated("validate-own-condition", "required", "9111 4.3.1", "the stored ETag goes along, not the viewer's",
              _ONCE, _TAG,
              wait=5, again=['If-None-Match: "viewer"'], sent=['If-None-Match: "1"']),
    Case("validate-none", "check", "9111 4.3.1", "without a validator the request is unconditional", (
        Ask(reply=reply(_ONCE)),
        Ask(wait=5, asked=True, conditional=False, from_reply=1),
    )),
    Case("validate-bad-tag", "check", "9110 8.8.3", "an ETag that is none is not sent", (
        Ask(reply=reply(_ONCE, "ETag: abc")),
        Ask(wait=5, asked=True, conditional=False, from_reply=1),
    )),
    Case("fill-unconditional", "check", "9111 4.3",
         "a cold cache asks for the whole, and answers the condition itself", (
        Ask(headers=lines('If-None-Match: "1"'), reply=reply(_FRESH, _TAG), asked=True, conditional=False, status=304),
        Ask(wait=1, asked=False, from_reply=0, status=200, body="body 0"),
    )),
    Case("validate-replaced", "required", "9111 4.3.3", "a 200 replaces what was stored", (
        Ask(reply=reply(_ONCE, _TAG)),
        Ask(wait=5, reply=reply(_FRESH, 'ETag: "2"'), from_reply=1, body="body 1"),
        Ask(wait=1, asked=False, from_reply=1, body="body 1"),
    )),
    Case("validate-freshens", "optimal", "9111 4.3.4", "after a 304 it is fresh again, for as long as the 304 says", (
        Ask(reply=reply(_ONCE, _TAG)),
        Ask(wait=5, conditional_reply=reply(_TAG, "Cache-Control: max-age=60", status=304), from_reply=0),
        Ask(wait=59, asked=False, from_reply=0),
        Ask(wait=2, asked=True, from_reply=3),
    )),
    Case("validate-freshens-old-lifetime", "optimal", "9111 4.3.4",
         "a 304 without a lifetime: the stored one counts anew", (
        Ask(reply=reply("Cache-Control: max-age=9", _TAG)),
        Ask(wait=20, conditional_reply=reply(_TAG, status=304), from_reply=0),
        Ask(wait=8, asked=False, from_reply=0),
    )),
    Case("validate-bare-304", "check", "9111 4.3.4", "a 304 without a validator is about what was asked about", (
        Ask(reply=reply(_ONCE, _TAG)),
        Ask(wait=5, conditional_reply=reply("Cache-Control: max-age=60", status=304), from_reply=0, status=200),
    )),
    Case("validate-other-304", "required", "9111 4.3.4", "a 304 with another strong ETag is about nothing stored", (
        Ask(reply=reply(_ONCE, _TAG)),
        Ask(wait=5, conditional_reply=reply('ETag: "2"', status=304), reply=reply(_FRESH, 'ETag: "2"'), from_reply=1,
            status=200),
    )),
    Case("validate-no-store-304", "required", "9111 3.2", "a 304 with no-store ends the use", (
        Ask(reply=reply(_ONCE, _TAG)),
        Ask(wait=5, conditional_reply=reply(_TAG, "Cache-Control: no-store", status=304), from_reply=0),
        Ask(wait=1, asked=True, conditional=False, from_reply=2),
    )),
    Case("validate-head", "check", "9111 4.3.5", "a stale response and a HEAD: the HEAD is answered right", (
        Ask(reply=reply(_ONCE, _TAG)),
        Ask(method="HEAD", wait=5, conditional_reply=reply(_TAG, _FRESH, status=304), reply=reply(_FRESH, _TAG),
            status=200),
        Ask(wait=1, asked=False, body="body 0"),
    )),
    *(_answered(name, kind, shows, stored, asked, 304) for name, kind, shows, stored, asked in _304),
    *(_answered(name, kind, shows, stored, asked, 200) for name, kind, shows, stored, asked in _200),
    Case("condition-404", "required", "9110 13.2.1", "an error is no match", (
        Ask(reply=reply(_FRESH, _TAG, status=404)),
        Ask(headers=lines('If-None-Match: "1"'), wait=1, asked=False, from_reply=0, status=404),
    )),
    Case("condition-head", "optimal", "9110 13.1.2", "a HEAD is answered 304 as well", (
        Ask(reply=reply(_FRESH, _TAG)),
        Ask(method="HEAD", headers=lines('If-None-Match: "1"'), wait=1, asked=False, status=304),
    )),
    Case("condition-stale", "optimal", "9111 4.3.2", "a stale response is validated, then the condition answered", (
        Ask(reply=reply(_ONCE, _TAG)),
        Ask(headers=lines('If-None-Match: "1"'), wait=5, conditional_reply=reply(_TAG, status=304), conditional=True,
            status=304),
    )),
    Case("condition-if-match", "check", "9111 4.3.2", "If-Match is for the origin", (
        Ask(reply=reply(_FRESH, _TAG)),
        Ask(headers=lines('If-Match: "1"'), wait=1, asked=True, from_reply=1, sent=lines('If-Match: "1"')),
    )),
    Case("condition-if-unmodified-since", "check", "9111 4.3.2", "If-Unmodified-Since is for the origin", (
        Ask(reply=reply(_FRESH, _DAY)),
        Ask(headers=lines("If-Unmodified-Since: Tue, 01 Jan 2002 00:00:00 GMT"), wait=1, asked=True, from_reply=1),
    )),
    Case("304-fields", "required", "9110 15.4.5", "what a 304 made here has to carry", (
        Ask(reply=reply(_FRESH, _TAG, "Content-Location: /x", "Date: {+0}", "Vary: X-A", "Expires: {+60}")),
        Ask(headers=lines('If-None-Match: "1"'), wait=1, status=304, asked=False,
            has=lines(_FRESH, _TAG, "Content-Location: /x", "Date: {-1}", "Vary: X-A", "Expires: {+59}", "Age: 1")),
    )),
    Case("304-no-body-fields", "check", "9110 15.4.5", "what describes a body is not in a 304", (
        Ask(reply=reply(_FRESH, _TAG, _DAY, "Content-Type: text/x", "Content-Language: de")),
        Ask(headers=lines('If-None-Match: "1"'), wait=1, status=304,
            lacks=("Content-Type", "Content-Language", "Last-Modified", "Content-Range")),
    )),
    _updated("new", "required", "a field that was not there", [], ["X-A: 1"], ["X-A: 1"]),
    _updated("replaced", "required", "a field that was there", ["X-A: 1"], ["X-A: 2"], ["X-A: 2"]),
    _updated("lines", "required", "all lines of a field", ["X-A: 1", "X-A: 2"], ["X-A: 3"], ["X-A: 3"]),
    _updated("kept", "required", "a field that the 304 lacks stays", ["X-A: 1"], ["X-B: 2"], ["X-A: 1", "X-B: 2"]),
    _updated("cache-control", "required", "Cache-Control", [], [], ["Cache-Control: max-age=600"]),
    _updated("content-type", "required", "Content-Type stays", ["Content-Type: text/x"], ["Content-Type: text/y"],
             ["Content-Type: text/x"]),
    _updated("content-encoding", "required", "Content-Encoding stays", ["Content-Encoding: x-a"],
             ["Content-Encoding: x-b"], ["Content-Encoding: x-a"]),
    _updated("content-range", "required", "Content-Range is not taken over", [], ["Content-Range: bytes 0-1/2"], [],
             ("Content-Range",)),
    _updated("connection", "required", "fields that Connection names are not taken over", [],
             ["Connection: X-A", "X-A: 1"], [], ("X-A",)),
    _updated("set-cookie-limited", "required", "a field that no-cache names is not taken over",
             [], ['Cache-Control: no-cache="Set-Cookie"', "Set-Cookie: a=1"], [], ("Set-Cookie",)),
    _updated("content-language", "check", "Content-Language is taken over", ["Content-Language: de"],
             ["Content-Language: fr"], ["Content-Language: fr"]),
    Case("variants-offered", "optimal", "9111 4.3.1", "the ETags of all variants go along", _variants(
        Ask(headers=lines("X-L: de"), wait=5, conditional_reply=reply('ETag: "de"', _FRESH, status=304), from_reply=0,
            sent=lines('If-None-Match: "de", "fr"')),
    )),
    Case("variants-chosen", "required", "9111 4.3.4", "a 304 freshens the variant whose ETag it has", _variants(
        Ask(headers=lines("X-L: de"), wait=5, conditional_reply=reply('ETag: "de"', _FRESH, status=304), from_reply=0),
        Ask(headers=lines("X-L: de"), wait=1, asked=False, from_reply=0),
        Ask(headers=lines("X-L: fr"), wait=1, asked=True, from_reply=4),
    )),
    Case("variants-no-date", "required", "9111 4.3.1", "with several variants no If-Modified-Since", (
        Ask(headers=lines("X-L: de"), reply=reply(_ONCE, "Vary: X-L", 'ETag: "de"', _DAY)),
        Ask(headers=lines("X-L: fr"), reply=reply(_ONCE, "Vary: X-L", 'ETag: "fr"', _DAY)),
        Ask(headers=lines("X-L: fr"), wait=5, conditional_reply=reply('ETag: "fr"', status=304), from_reply=1,
            unsent=("If-Modified-Since",)),
    )),
)  # fmt: skip
