"""What belongs nowhere else: replacing, several resources, long lives."""

from __future__ import annotations

from tests.conformance.case import Ask, Case, Reply, lines, reply, reused

_FRESH = "Cache-Control: max-age=60"

CASES: tuple[Case, ...] = (
    Case("body-and-status", "required", "9111 4", "body, status and fields come back as they came", (
        Ask(reply=reply(_FRESH, "X-A: 1", "Content-Type: text/x", status=203, body="\u00e9\n")),
        Ask(wait=1, asked=False, status=203, body="\u00e9\n", has=lines("X-A: 1", "Content-Type: text/x")),
    )),
    Case("empty-body", "optimal", "9111 4", "an empty body is a body", (
        Ask(reply=reply(_FRESH, body="")),
        Ask(wait=1, asked=False, status=200, body=""),
    )),
    Case("redirect", "optimal", "9111 4", "a redirect is stored, not followed", (
        Ask(reply=reply(_FRESH, "Location: /elsewhere", status=301)),
        Ask(wait=1, asked=False, status=301, has=lines("Location: /elsewhere")),
    )),
    Case("replaced-when-stale", "required", "9111 4", "a newer response replaces a stale one", (
        Ask(reply=reply("Cache-Control: max-age=5")),
        Ask(wait=9, reply=reply(_FRESH), from_reply=1),
        Ask(wait=1, asked=False, from_reply=1),
    )),
    Case("replaced-by-unstorable", "check", "9111 4", "a response that is not stored leaves nothing fresh behind", (
        Ask(reply=reply("Cache-Control: max-age=5")),
        Ask(wait=9, reply=reply("Cache-Control: no-store"), from_reply=1),
        Ask(wait=1, asked=True, from_reply=2),
    )),
    Case("error-does-not-replace", "check", "9111 4", "a 404 that is fresh replaces what was there", (
        Ask(reply=reply("Cache-Control: max-age=5")),
        Ask(wait=9, reply=reply(_FRESH, status=404), status=404),
        Ask(wait=1, asked=False, status=404, from_reply=1),
    )),
    Case("three-in-a-row", "optimal", "9111 4", "many uses of one response", (
        Ask(reply=reply(_FRESH)), *(Ask(wait=5, asked=False, from_reply=0) for _ in range(10)),
    )),
    Case("unknown-status-whole", "optimal", "9110 15", "an unknown status is stored as it is", (
        Ask(reply=Reply(299, lines(_FRESH))),
        Ask(wait=1, asked=False, status=299),
    )),
    Case("content-range-in-200", "check", "9110 14.4", "Content-Range in a 200 means nothing", (
        Ask(reply=reply(_FRESH, "Content-Range: bytes 0-1/2", body="0123456789")),
        Ask(wait=1, asked=False, status=200, body="0123456789"),
    )),
    reused("user-agent", "optimal", "9111 4", "fields that Vary does not name do not count", _FRESH,
           first=("User-Agent: a", "Accept: b/c", "X: 1"), again=("User-Agent: d", "Accept: e/f", "X: 2")),
    reused("cookie", "check", "9111 4", "a Cookie alone does not keep two requests apart", _FRESH,
           first=("Cookie: a=1",), again=("Cookie: a=2",)),
    reused("host-case", "optimal", "9111 4", "Connection and its like do not count", _FRESH,
           first=("Connection: x-a", "X-A: 1"), again=("Connection: x-b", "X-B: 2")),
)  # fmt: skip
