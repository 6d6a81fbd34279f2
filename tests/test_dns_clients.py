"""The protocol table of test_dns_answer.py over real sockets, with dig and kdig as clients."""

from __future__ import annotations

import asyncio
import re

import pytest

from edgeproxy.dns.query import Rcode
from edgeproxy.dns.zone import Zone
from tests.test_dns_answer import CHAINED, CHAINS, SAID, STEERED, SUBNETS, ZONE, ask
from tests.test_dns_server import Running, running
from tests.tools import needs

UNASKABLE = {"OPT", "MAILA", "MAILB", "TSIG", "TKEY", "AXFR", "IXFR"}
"""Types that these clients do not ask for as a question, or in a protocol of their own."""


async def conversation(run: Running, client: str, questions: list[tuple[str, str, str]], *, tcp: bool) -> list[str]:
    """All questions in one go; what was printed of each answer."""
    arguments = [client] if client == "kdig" else [client, "-r"]
    for name, kind, subnet in questions:
        arguments += [f"@{run.host}", "-p", str(run.port), "-q", name, "-t", kind, "+norecurse", "+nocookie"]
        arguments += ["+tcp" if tcp else "+notcp", "+retry=0", f"+subnet={subnet or '0.0.0.0/0'}"]
    process = await asyncio.create_subprocess_exec(*arguments, stdout=asyncio.subprocess.PIPE)
    output, _ = await process.communicate()
    assert process.returncode == 0, output.decode()
    return re.split(r"->>HEADER<<-", output.decode())[1:]


def asked() -> dict[str, tuple[Zone, str, str, str, Rcode, set[str]]]:
    """Zone, name, type, client subnet → rcode and what the answer section holds."""
    table: dict[str, tuple[Zone, str, str, str, Rcode, set[str]]] = {}
    for title, (name, kind, _) in STEERED.items():
        found = {record.to_text() for rrset in ask(name, kind).answer for record in rrset}
        table[title] = ZONE, name, kind, "", Rcode.NOERROR, found
    for title, (name, kind, rcode, said, _) in SAID.items():
        if kind not in UNASKABLE:
            table[title] = ZONE, name, kind, "", rcode, {line.split(" ", 4)[4] for line in said}
    for title, (subnet, _, addresses, _) in SUBNETS.items():
        if subnet and not subnet.endswith("/0"):  # the asker's own address is another here
            table[title] = ZONE, "d1.cdn.test", "A", subnet, Rcode.NOERROR, addresses
    for title, (name, kind, subnet, said, _) in CHAINS.items():
        table[title] = CHAINED, name, kind, subnet, Rcode.NOERROR, {line.split(" ", 4)[4] for line in said}
    return table


@pytest.mark.parametrize("client", [pytest.param("dig", marks=needs("dig", "bind9-dnsutils"))])
async def test_options_as_a_client_shows_them(client: str) -> None:
    async with running(nsid="ns1 in fra") as run:
        at = [f"@{run.host}", "-p", str(run.port), "+norecurse", "+retry=0"]
        arguments = ["-r", *at, "+tcp", "+nsid", "+keepalive", "d1.cdn.test", *at, "+tcp", "elsewhere.test"]
        process = await asyncio.create_subprocess_exec(client, *arguments, stdout=asyncio.subprocess.PIPE)
        output = (await process.communicate())[0].decode()
    known, refused = re.split(r"->>HEADER<<-", output)[1:]
    assert '("ns1 in fra")' in known
    assert "TCP KEEPALIVE: 10.0 secs" in known or "TCP-KEEPALIVE: 10.0 secs" in known
    assert "EDE: 20 (Not Authoritative)" in refused


def plain(record: str) -> str:
    """Clients print quotes of service parameters, and unknown types, each in their own way."""
    return record.replace('"', "").replace(" ", "").lower()


@pytest.mark.parametrize("tcp", [False, True], ids=["udp", "tcp"])
@pytest.mark.parametrize("zone", [ZONE, CHAINED], ids=["direct", "chained"])
@pytest.mark.parametrize(
    "client",
    [
        pytest.param("dig", marks=needs("dig", "bind9-dnsutils")),
        pytest.param("kdig", marks=needs("kdig", "knot-dnsutils")),
    ],
)
async def test_the_table(client: str, zone: Zone, tcp: bool) -> None:
    cases = {title: case for title, case in asked().items() if case[0] is zone}
    async with running() as run:
        run.server.use(zone)
        answers = await conversation(run, client, [case[1:4] for case in cases.values()], tcp=tcp)
    assert len(answers) == len(cases)
    for (title, (_, _, _, _, rcode, expected)), text in zip(cases.items(), answers, strict=True):
        assert f"status: {rcode.name}" in text, title
        section = re.search(r";; ANSWER SECTION:\n(.*?)(?:\n\n|\n;;)", text + "\n\n", re.DOTALL)
        lines = section[1].splitlines() if section else []
        assert {plain("".join(re.split(r"\s+", line, maxsplit=4)[4:])) for line in lines} == set(
            map(plain, expected)
        ), title
