"""Age and Date (RFC 9111 sections 4.2.3 and 5.1, RFC 9110 section 6.6.1)."""

from __future__ import annotations

from tests.conformance.case import Ask, Case, Kind, fetched, lines, reply, reused

_MINUTE = "Cache-Control: max-age=60"


def _grows(id: str, kind: Kind, shows: str, texts: list[str], wait: float, age: int) -> Case:
    return Case(f"age-{id}", kind, "9111 4.2.3", shows, (
        Ask(reply=reply(_MINUTE, *texts)),
        Ask(wait=wait, asked=False, from_reply=0, has=lines(f"Age: {age}")),
    ))  # fmt: skip


CASES: tuple[Case, ...] = (
    _grows("added", "required", "a response from the cache has an Age", ["Date: {+0}"], 7, 7),
    _grows("zero", "required", "at once it is 0", ["Date: {+0}"], 0, 0),
    _grows("received", "required", "an Age received is added to", ["Date: {+0}", "Age: 20"], 7, 27),
    _grows("no-date", "required", "without a Date it counts from the arrival", [], 7, 7),
    _grows("wrong-date", "required", "with a wrong Date it counts from the arrival", ["Date: today"], 7, 7),
    _grows("old-date", "required", "an old Date makes it old", ["Date: {-30}"], 7, 37),
    _grows("old-date-smaller-age", "required", "of Date and Age the older counts", ["Date: {-30}", "Age: 5"], 7, 37),
    _grows("old-date-larger-age", "required", "of Date and Age the older counts", ["Date: {-5}", "Age: 30"], 7, 37),
    _grows("future-date", "required", "a Date ahead of us makes nothing younger", ["Date: {+500}"], 7, 7),
    _grows("list", "check", "of a list the first member counts", ["Date: {+0}", "Age: 20, 3"], 7, 27),
    _grows("lines", "check", "of several lines the first counts", ["Date: {+0}", "Age: 20", "Age: 3"], 7, 27),
    *(_grows(f"wrong-{name}", "check", f"Age: {value} is overlooked", ["Date: {+0}", f"Age: {value}"], 7, 7)
      for name, value in (("negative", "-20"), ("fraction", "2.5"), ("word", "old"), ("plus", "+20"), ("empty", ""),
                          ("parameter", "20;x"))),
    reused("age-below-lifetime", "optimal", "9111 4.2", "an Age received below the lifetime", _MINUTE, "Age: 50",
           wait=9),
    fetched("age-reaches-lifetime", "required", "9111 4.2", "an Age received counts", _MINUTE, "Age: 50", wait=10),
    fetched("age-above-lifetime", "required", "9111 4.2", "an Age above the lifetime", _MINUTE, "Age: 61", wait=0),
    fetched("age-huge", "required", "9111 1.2.2", "an Age beyond all measure", _MINUTE, "Age: " + "9" * 40, wait=0),
    fetched("age-2-to-31", "required", "9111 1.2.2", "an Age of 2^31", _MINUTE, "Age: 2147483648", wait=0),
    fetched("age-expires", "required", "9111 4.2.3", "Age counts against Expires too", "Expires: {+60}", "Date: {+0}",
            "Age: 50", wait=10),
    fetched("age-s-maxage", "required", "9111 4.2.3", "Age counts against s-maxage too", "Cache-Control: s-maxage=60",
            "Age: 50", wait=10),
    fetched("age-old-date-counts", "required", "9111 4.2.3", "an old Date counts", _MINUTE, "Date: {-50}", wait=10),
    reused("age-tier", "optimal", "9111 4.2.3", "what a tier above held for a while is taken off once",
           "Date: {-25}", "Expires: {+35}", "Age: 25", wait=34),
    fetched("age-tier-end", "required", "9111 4.2.3", "what a tier above held for a while is taken off once",
            "Date: {-25}", "Expires: {+35}", "Age: 25", wait=35),
    Case("age-after-304", "required", "9111 4.3.4", "a 304 makes it young again", (
        Ask(reply=reply("Cache-Control: max-age=5", 'ETag: "1"', "Date: {+0}", "Age: 3")),
        Ask(wait=30, conditional_reply=reply('ETag: "1"', "Date: {+0}", status=304), from_reply=0),
        Ask(wait=3, asked=False, from_reply=0, has=lines("Age: 3")),
    )),
    Case("age-of-304", "required", "9111 4.3.4", "a 304 may have an Age of its own", (
        Ask(reply=reply("Cache-Control: max-age=60", 'ETag: "1"', "Date: {+0}")),
        Ask(wait=70, conditional_reply=reply('ETag: "1"', "Date: {+0}", "Age: 40", status=304), from_reply=0),
        Ask(wait=9, asked=False, from_reply=0, has=lines("Age: 49")),
        Ask(wait=20, asked=True, from_reply=3),
    )),
    Case("date-kept", "required", "9110 6.6.1", "the origin's Date is kept", (
        Ask(reply=reply(_MINUTE, "Date: Mon, 01 Jan 2035 00:00:00 GMT")),
        Ask(wait=9, asked=False, has=lines("Date: Mon, 01 Jan 2035 00:00:00 GMT")),
    )),
    Case("date-supplied", "required", "9110 6.6.1", "a Date that is missing is supplied, that of the arrival", (
        Ask(reply=reply(_MINUTE)),
        Ask(wait=9, asked=False, has=lines("Date: {-9}")),
    )),
    Case("date-kept-after-304", "required", "9111 3.2", "a 304 brings a new Date", (
        Ask(reply=reply("Cache-Control: max-age=5", 'ETag: "1"', "Date: {+0}")),
        Ask(wait=30, conditional_reply=reply('ETag: "1"', "Date: {+0}", status=304), from_reply=0,
            has=lines("Date: {+0}")),
    )),
    Case("age-in-304", "required", "9111 5.1", "a 304 from the cache has an Age", (
        Ask(reply=reply(_MINUTE, 'ETag: "1"', "Date: {+0}")),
        Ask(headers=lines('If-None-Match: "1"'), wait=9, asked=False, status=304, has=lines("Age: 9")),
    )),
    Case("age-in-head", "required", "9111 5.1", "a HEAD from the cache has an Age", (
        Ask(reply=reply(_MINUTE, "Date: {+0}")),
        Ask(method="HEAD", wait=9, asked=False, has=lines("Age: 9")),
    )),
    Case("age-in-206", "required", "9111 5.1", "a part from the cache has an Age", (
        Ask(reply=reply(_MINUTE, "Date: {+0}")),
        Ask(headers=lines("Range: bytes=0-1"), wait=9, asked=False, status=206, has=lines("Age: 9")),
    )),
)  # fmt: skip
