"""What an unsafe request spoils (RFC 9111 section 4.4)."""

from __future__ import annotations

from tests.conformance.case import Ask, Case, Kind, Reply, reply

_FRESH = "Cache-Control: max-age=3600"


def _changed(id: str, kind: Kind, shows: str, method: str, answer: Reply, path: str, spoiled: bool) -> Case:
    """`path` is stored, a request with `method` to the case's own path is answered, and `path` is asked for again."""
    change = Ask(method=method, wait=1, reply=answer)
    after = Ask(path=path, wait=1, asked=spoiled, from_reply=2 if spoiled else 0)
    return Case(f"unsafe-{id}", kind, "9111 4.4", shows, (Ask(path=path, reply=reply(_FRESH)), change, after))


CASES: tuple[Case, ...] = (
    *(_changed(method.lower(), "required", f"a {method} that succeeds", method, Reply(), "", spoiled=True)
      for method in ("POST", "PUT", "DELETE", "PATCH", "FROB", "M-SEARCH")),
    *(_changed(f"status-{status}", "required", f"a {status} is a success", "POST", Reply(status), "", spoiled=True)
      for status in (200, 201, 202, 204, 301, 302, 303, 307)),
    *(_changed(f"failure-{status}", "check", f"a {status} is none", "POST", Reply(status), "", spoiled=False)
      for status in (400, 403, 404, 405, 412, 422, 500, 502, 503, 504)),
    *(_changed(f"safe-{method.lower()}", "optimal", f"{method} is safe", method, Reply(), "", spoiled=False)
      for method in ("OPTIONS", "TRACE", "PROPFIND", "SEARCH", "REPORT")),
    *(_changed(f"{name.lower()}-{form}", "check", f"{name}, {form}", "POST",
               reply(f"{name}: {value.format(f'unsafe-{name.lower()}-{form}')}", status=201), "/made", spoiled=True)
      for name in ("Location", "Content-Location")
      for form, value in (("path", "/{}/made"), ("absolute", "http://www.example.com/{}/made"),
                          ("relative", "{}/made"), ("dots", "/x/../{}/made"), ("fragment", "/{}/made#part"),
                          ("network-path", "//www.example.com/{}/made"))),
    *(_changed(f"{name.lower()}-{form}", "required", f"{name}, {form}: not ours to spoil", "POST",
               reply(f"{name}: {value.format(f'unsafe-{name.lower()}-{form}')}", status=201), "/made", spoiled=False)
      for name in ("Location", "Content-Location")
      for form, value in (("other-host", "http://other.example/{}/made"),
                          ("other-port", "http://www.example.com:8081/{}/made"),
                          ("other-scheme", "https://www.example.com/{}/made"),
                          ("longer-host", "http://www.example.com.other.example/{}/made"),
                          ("user", "http://www.example.com@other.example/{}/made"))),
    _changed("location-failure", "check", "a failure's Location spoils nothing", "POST",
             reply("Location: /unsafe-location-failure/made", status=400), "/made", spoiled=False),
    _changed("other-path", "optimal", "another resource is left alone", "POST", Reply(), "/other", spoiled=False),
    _changed("other-query", "optimal", "another query is left alone", "POST", Reply(), "?a=1", spoiled=False),
    Case("unsafe-silent", "check", "9111 4.4", "a request without an answer spoils nothing", (
        Ask(reply=reply(_FRESH)),
        Ask(method="POST", wait=1, reply=Reply(silent=True)),
        Ask(wait=1, asked=False, from_reply=0),
    )),
)  # fmt: skip
