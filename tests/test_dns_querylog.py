"""dns/querylog.py: every n-th query as a JSON line."""

from __future__ import annotations

import json
from pathlib import Path

from edgeproxy.dns.answer import answer
from edgeproxy.dns.querylog import LINES_MAX, QueryLog
from edgeproxy.telemetry.counters import Counter, Counters
from tests.test_dns_memo import ZONE, query


def said(wire: bytes) -> bytes:
    reply = answer(ZONE, wire, "192.0.2.99", udp=True)
    assert reply is not None
    return reply.wire


async def test_a_share_of_the_queries_is_written(tmp_path: Path) -> None:
    log = QueryLog(str(tmp_path / "queries"), 0.1, lambda: 1_700_000_000.5, Counters())
    log.start()
    wire = query("D1.cdn.test", subnet="10.5.6.0/24")
    for _ in range(21):
        log.saw(wire, "192.0.2.99", said(wire))
    await log.close()
    lines = [json.loads(line) for line in (tmp_path / "queries").read_text().splitlines()]
    assert len(lines) == 3
    assert lines[0] == {
        "time": 1_700_000_000.5, "source": "192.0.2.99", "every": 10, "name": "D1.cdn.test", "type": "A",
        "subnet": "1:0a0506/24", "rcode": "NOERROR", "answers": 2, "bytes": len(said(wire)),
    }  # fmt: skip


async def test_whatever_a_name_holds_a_line_stays_a_line(tmp_path: Path) -> None:
    log = QueryLog(str(tmp_path / "queries"), 1, lambda: 0.0, Counters())
    wire = query()[:12] + b'\x05a\n."\xff\x04test\x00\x00\x07\x00\x01'
    log.saw(wire, "192.0.2.99", said(wire))
    log.saw(bytes(12), "192.0.2.99", bytes(12))
    await log.close()
    first, second = (json.loads(line) for line in (tmp_path / "queries").read_text().splitlines())
    assert (first["name"], first["type"]) == ('a\\010\\046"\\255.test', "TYPE7")
    assert "name" not in second


async def test_lines_that_cannot_be_written_are_counted_and_dropped(tmp_path: Path) -> None:
    counters = Counters()
    log = QueryLog(str(tmp_path / "no" / "folder"), 1, lambda: 0.0, counters)
    wire = query()
    for _ in range(LINES_MAX + 5):
        log.saw(wire, "192.0.2.99", wire)
    await log.close()
    assert counters[Counter.DNS_LOG_DROPPED] == LINES_MAX + 5
