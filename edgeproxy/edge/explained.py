"""An explanation of `explaining.py` as text for people: a word, then what belongs to it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

Json = Mapping[str, Any]  # Any: an explanation, or a part of one
Row = tuple[str, str]


def text(said: Json) -> str:
    """All of it."""
    rows = [("request", f"{said['method']} {said['url']}"), *_who(said)]
    if said["outcome"] == "served":
        rows += [*_matched(said), *_outward(said["origin_request"]), *_kept(said), *_supposed(said["supposed"])]
    else:
        rows.append((said["outcome"], f"{said['status']}: {said['because']}"))
        if "location" in said:
            rows.append(("location", said["location"]))
        rows += _page(said)
    width = max(len(word) for word, _ in rows) + 2
    return "\n".join((word.ljust(width) + rest).rstrip() for word, rest in rows)


def _who(said: Json) -> Iterator[Row]:
    where = said["from"]
    yield "from", f"{where['address']} {where['country'] or '(country unknown)'}"
    if "distribution" in said:
        found = said["distribution"]
        yield "distribution", f"{found['id']} ({found['domain']}), {found['rules']} rules"
    if "deployment" in said:
        yield "deployment", f"{said['deployment']['chosen']}, by {said['deployment']['by']}"


def _matched(said: Json) -> Iterator[Row]:
    found = said["behavior"]
    if "default_root_object" in said:
        yield "root object", said["default_root_object"]
    yield "behaviour", f"{found['number']} of {found['of']}: {found['pattern']} matches {found['path_matched']}"
    for name, value in said.get("made_known_about_the_viewer", {}).items():
        yield "viewer", f"{name}: {value or '(not known)'}"
    yield "key", said["key"]["text"] if said["key"] else "(none: it is not cached)"
    way = said["path"]
    yield "way", " > ".join(way["stops"])
    if way["because"]:
        yield "", way["because"]


def _outward(outward: Json) -> Iterator[Row]:
    yield "origin gets", f"{outward['method']} {outward['target']}   at {outward['connects_to']}"
    yield from (("", f"{name}: {value}") for name, value in outward["headers"])
    if "second" in outward:
        second = outward["second"]
        yield "", f"on {', '.join(map(str, second['on']))}: {second['target']} at {second['connects_to']}"


def _kept(said: Json) -> Iterator[Row]:
    ttl = said["caching"]
    if ttl["rules"] == "cloudfront":
        yield "TTLs", f"min {ttl['min_ttl']:g} s, default {ttl['default_ttl']:g} s, max {ttl['max_ttl']:g} s"
    if "decision" in said:
        decision = said["decision"]
        for each in said["stored"]:
            yield "stored here", f"{each['status']}, {each['age']:g} s old, fresh for {each['fresh_for']:g} s"
        yield "now", decision["action"] + (f": {decision['because']}" if decision["because"] else "")


def _supposed(said: Json) -> Iterator[Row]:
    told = ", ".join(f"{name}: {value}" for name, value in said["headers"]) or "no fields"
    yield "if it says", f"{said['status']} with {told}"
    if said["stored"]:
        yield "then stored", f"fresh for {said['fresh_for']:g} s, until {said['fresh_until']}"
        yield "", said["because"]
        yield "", f"kept until {said['kept_until']}"
    else:
        yield "not stored", said["because"]
    if said["compressed"]:
        yield "compressed", said["compressed"]
    yield from _page(said)
    yield "viewer gets", str(said["viewer_gets"]["status"])
    yield from (("", f"{name}: {value}") for name, value in said["viewer_gets"]["headers"])


def _page(said: Json) -> Iterator[Row]:
    page = said.get("error_page")
    if page is not None:
        yield "error page", f"{page['path']} with status {page['status']}"
