"""Why a client is sent where it is: the ranking of POPs with the numbers behind it, as data and as text."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from edgeproxy.dns.answer import Conditions
from edgeproxy.dns.names import wire_name
from edgeproxy.dns.policy import Client
from edgeproxy.dns.zone import Alias, Fixed, Steered, Zone
from edgeproxy.places.geography import price_class_of

Explanation = dict[str, Any]  # Any: a JSON object, see `explain`


def explain(
    zone: Zone,
    conditions: Conditions,
    ip: str,
    name: str,
    *,
    reason_down: Callable[[str], str] = lambda pop: "",
    samples: Callable[[Client, str], float] = lambda client, pop: 0.0,
) -> Explanation:
    """What `name` stands for, for a client at `ip`. Raises ValueError when one of them is none.

    `reason_down` says why a POP is out of service, `samples` how many stand behind a measured time.
    """
    client, wire = Client.at(ip), wire_name(name)
    said: Explanation = {"ip": ip, "name": name.lower().removesuffix(".")}
    place = zone.find(wire)
    if place is None:
        return said | {"outcome": "REFUSED: it is in none of the zones"}
    content = place.content.steered if isinstance(place.content, Alias) else place.content
    if isinstance(content, Fixed):
        return said | {"outcome": f"the same for everybody: {', '.join([*content.v4, *content.v6])}"}
    if not isinstance(content, Steered):
        there = "no addresses" if place.content is not None else "NXDOMAIN: there is no such name"
        return said | {"outcome": there}
    measured, down = conditions.measured, conditions.down
    choice = zone.policy.choose(client, down, allowed=content.allowed, measured=measured)
    ranking = zone.policy.rank(client, allowed=content.allowed, measured=measured)
    tried = measured.exploring(client) if measured is not None else None
    pops = [
        {
            "pop": rank.pop.name,
            "region": rank.pop.region,
            "addresses": [*rank.pop.v4, *rank.pop.v6],
            "price_class": price_class_of(rank.pop.region),
            "km": None if rank.km is None else round(rank.km, 1),
            "expected_ms": None if rank.expected_ms is None else round(rank.expected_ms, 1),
            "measured_ms": None if rank.measured_ms is None else round(rank.measured_ms, 1),
            "samples": round(samples(client, rank.pop.name), 1),
            "down": reason_down(rank.pop.name) or ("It is out of service." if rank.pop.name in down else ""),
        }
        for rank in ranking.ranks
    ]
    return said | {
        "outcome": f"sent to {choice.pop.name}",
        "distribution": content.distribution,
        "chosen": choice.pop.name,
        "reason": choice.reason.name.lower(),
        "because": choice.reason.value,
        "scope": choice.scope,
        "location": ranking.location._asdict(),
        "tried": tried,
        "not_covered": sorted(zone.policy.names - set(content.allowed)) if content.allowed is not None else [],
        "ranking": pops,
    }


def text(said: Mapping[str, Any]) -> str:  # Any: an Explanation
    """An explanation for people."""
    lines = [f"{said['name']} for a client at {said['ip']}: {said['outcome']}"]
    if "ranking" not in said:
        return lines[0]
    place = said["location"]
    where = f"{place['latitude']}, {place['longitude']}" if place["latitude"] is not None else "unknown"
    lines += [
        f"because:      {said['because']}",
        f"distribution: {said['distribution']}",
        f"location:     {where}{' ' + place['country'] if place['country'] else ''}",
        f"valid for:    a /{said['scope']} around the client",
    ]
    if said["not_covered"]:
        lines.append(f"price class:  leaves out {', '.join(said['not_covered'])}")
    if said["tried"]:
        lines.append(f"just now:     {said['tried']} is tried, to learn how far it is")
    headings = ("", "pop", "region", "km", "expected ms", "measured ms", "samples", "state")
    rows: list[Sequence[str]] = [headings]
    for number, rank in enumerate(said["ranking"], 1):
        figures = [_figure(rank[name]) for name in ("km", "expected_ms", "measured_ms", "samples")]
        rows.append((str(number), rank["pop"], rank["region"], *figures, rank["down"] or "up"))
    widths = [max(len(row[column]) for row in rows) for column in range(len(headings))]
    lines += ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join(lines)


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:g}"
