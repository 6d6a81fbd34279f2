"""edge/explained.py: an explanation as people read it."""

from __future__ import annotations

from typing import Any

from edgeproxy.edge.explained import text

SERVED: dict[str, Any] = {
    "url": "http://a.test/", "method": "GET", "from": {"address": "192.0.2.1", "country": "DE"}, "outcome": "served",
    "distribution": {"id": "E1", "domain": "e1.test", "rules": "cloudfront"},
    "deployment": {"chosen": "staging", "by": "weight"},
    "default_root_object": "/i.html",
    "behavior": {"number": 1, "of": 2, "pattern": "*", "path_matched": "/i.html"},
    "made_known_about_the_viewer": {"cloudfront-viewer-city": ""}, "key": {"text": "E1 GET // /i.html"},
    "path": {"stops": ["pop a", "origin web"], "because": "Why not."},
    "origin_request": {"method": "GET", "target": "/i.html", "connects_to": "http://o.test:80",
                       "headers": [["Host", "o"]], "second": {"on": [500], "target": "/s", "connects_to": "http://s.test:80"}},
    "caching": {"rules": "cloudfront", "min_ttl": 0, "default_ttl": 5, "max_ttl": 10},
    "stored": [{"status": 200, "age": 1.0, "fresh_for": 4.0}], "decision": {"action": "Serve", "because": None},
    "supposed": {
        "status": 404, "headers": [], "stored": True, "fresh_for": 10, "fresh_until": "then", "kept_until": "later",
        "because": "An error.", "compressed": "br", "error_page": {"path": "/e", "status": 200},
        "viewer_gets": {"status": 404, "headers": [["X-Cache", "Error"]]},
    },
}  # fmt: skip


def rows(said: dict[str, Any]) -> list[tuple[str, str]]:
    lines = text(said).splitlines()
    width = max(len(word) for word in ("distribution", "redirected")) + 2
    return [(line[:width].strip(), line[width:].strip()) for line in lines]


def test_every_part_has_its_line() -> None:
    said = rows(SERVED)
    for row in (
        ("deployment", "staging, by weight"),
        ("root object", "/i.html"), ("behaviour", "1 of 2: * matches /i.html"), ("key", "E1 GET // /i.html"),
        ("viewer", "cloudfront-viewer-city: (not known)"), ("way", "pop a > origin web"), ("", "Why not."),
        ("origin gets", "GET /i.html   at http://o.test:80"), ("", "on 500: /s at http://s.test:80"),
        ("TTLs", "min 0 s, default 5 s, max 10 s"), ("stored here", "200, 1 s old, fresh for 4 s"), ("now", "Serve"),
        ("if it says", "404 with no fields"), ("then stored", "fresh for 10 s, until then"), ("compressed", "br"),
        ("error page", "/e with status 200"), ("viewer gets", "404"), ("", "X-Cache: Error"),
    ):  # fmt: skip
        assert row in said, row


def test_what_is_not_kept_and_not_cached() -> None:
    supposed = {**SERVED["supposed"], "stored": False, "compressed": None}
    said = text({**SERVED, "key": None, "caching": {"rules": "rfc9111"}, "supposed": supposed})
    assert "not stored" in said
    assert "(none: it is not cached)" in said
    assert "TTLs" not in said


def test_a_redirect() -> None:
    said = text(
        {"url": "u", "method": "GET", "from": {"address": "a", "country": ""}, "outcome": "redirected", "status": 301,
         "because": "Why.", "location": "https://x"}
    )  # fmt: skip
    assert "redirected  301: Why." in said
    assert "(country unknown)" in said
