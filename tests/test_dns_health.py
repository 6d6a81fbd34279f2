"""dns/health.py: a POP falls out of the answers, comes back, is drained and undrained, is full; odd reports."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from edgeproxy.dns.health import Health
from edgeproxy.dns.standing import Notice, Verdict
from edgeproxy.settings import Health as HealthSettings
from edgeproxy.telemetry.counters import Counter, Counters
from tests.test_dns_parts import SUBNET, Pop, running, running_pop
from tests.wire import until


async def test_a_pop_that_fails_twice_is_left_out_until_it_is_well_twice() -> None:
    async with running() as cdn:
        assert await cdn.sent_to() == "fra"
        cdn.pops["fra"].status = 500
        await cdn.until_sent_to("iad")
        assert cdn.parts.counters[Counter.DNS_CHECKS_FAILED] >= 2
        cdn.pops["fra"].status = 200
        await cdn.until_sent_to("fra")


async def test_a_pop_that_is_drained_is_left_out_with_the_next_check_and_back_with_the_one_after() -> None:
    async with running() as cdn:
        cdn.pops["fra"].status = 503
        asked = cdn.pops["fra"].asked
        await cdn.until_sent_to("iad")
        assert cdn.pops["fra"].asked <= asked + 2, "the one that was under way, and the next"
        cdn.pops["fra"].status = 200
        asked = cdn.pops["fra"].asked
        await cdn.until_sent_to("fra")
        assert cdn.pops["fra"].asked <= asked + 2


async def test_when_no_pop_is_well_all_are_answered() -> None:
    async with running() as cdn:
        for pop in cdn.pops.values():
            pop.status = 503
        await cdn.until(lambda: cdn.parts.server.conditions.down == {"fra", "iad"})
        assert await cdn.sent_to() == "fra"
        cdn.parts.server.settle()
        assert cdn.parts.counters[Counter.DNS_CHOSEN_FAIL_OPEN] == 1


async def test_a_pop_at_its_cap_is_relieved() -> None:
    async with running(load_max=10) as cdn:
        cdn.pops["fra"].connections = "10"
        await cdn.until_sent_to("iad")
        cdn.pops["fra"].connections = "5"
        await cdn.until_sent_to("fra")


async def test_a_pop_nobody_can_ask_counts_as_up() -> None:
    async with running(checked=("iad",)) as cdn:
        await cdn.until(lambda: cdn.pops["iad"].asked > 2)
        assert await cdn.sent_to() == "fra"


NONSENSE = [
    "text", [], [["x", 1, 1.0]], [[SUBNET, 0, 1.0]], [[SUBNET, 1, -1.0]], [[SUBNET, 1, 1e9]], [[SUBNET, 1]], [7],
    [[SUBNET, "many", 1.0]], [[SUBNET, 1, "nan"]], {"a": 1},
]  # fmt: skip


async def test_reports_that_make_no_sense_are_passed_over() -> None:
    async with running() as cdn:
        for samples in NONSENSE:
            cdn.pops["fra"].samples = samples
            asked = cdn.pops["fra"].asked
            await cdn.until(lambda asked=asked: cdn.pops["fra"].asked > asked + 1)  # type: ignore[misc]  # bound here
        assert cdn.parts.latency is not None
        assert len(cdn.parts.latency) == 0
        assert await cdn.sent_to() == "fra"


async def test_a_pop_that_was_not_ready_when_it_was_first_asked_is_found_soon_and_not_an_interval_later() -> None:
    down: list[frozenset[str]] = []
    async with running_pop(Pop(status=503)) as pop:
        health = Health(HealthSettings(interval=3600), lambda: 0.0, down.append, None, Counters())
        await health.use({"fra": pop.url}, {})
        await until(lambda: down == [frozenset({"fra"})])
        pop.status = 200
        await until(lambda: down[-1] == frozenset())
        await health.close()


@asynccontextmanager
async def rarely_checked(down: list[frozenset[str]]) -> AsyncIterator[tuple[Health, Pop]]:
    """A POP that was found ready, and is asked again in an hour unless there is reason to."""
    async with running_pop(Pop()) as pop:
        counters = Counters()
        health = Health(HealthSettings(interval=3600), lambda: 0.0, down.append, None, counters)
        await health.use({"fra": pop.url}, {})
        await until(lambda: health.standings["fra"].verdict is Verdict.READY)
        yield health, pop
        await health.close()


async def test_what_the_operator_drains_is_out_at_once_and_back_when_a_check_says_so() -> None:
    down: list[frozenset[str]] = []
    async with rarely_checked(down) as (health, pop):
        pop.status = 503
        health.noticed("fra", Notice.DRAINED)
        assert down == [frozenset({"fra"})]
        assert health.standings["fra"].reason == Notice.DRAINED.value
        await until(lambda: health.standings["fra"].verdict is Verdict.REFUSES)
        pop.status = 200
        health.noticed("fra", Notice.UNDRAINED)
        await until(lambda: down[-1] == frozenset())


async def test_a_pop_whose_feed_is_lost_is_asked_at_once_and_stays_while_it_is_ready() -> None:
    down: list[frozenset[str]] = []
    async with rarely_checked(down) as (health, pop):
        asked = pop.asked
        health.noticed("fra", Notice.LOST)
        await until(lambda: pop.asked == asked + 1)
        assert down == []


async def test_a_pop_whose_feed_is_lost_and_that_fails_is_out_after_as_many_checks_as_ever_but_soon() -> None:
    down: list[frozenset[str]] = []
    async with rarely_checked(down) as (health, pop):
        pop.status, asked = 500, pop.asked
        health.noticed("fra", Notice.LOST)
        await until(lambda: down == [frozenset({"fra"})])
        assert pop.asked == asked + 2


async def test_a_pop_that_left_is_out_at_once_whatever_it_does_not_say_and_back_when_it_is_ready() -> None:
    down: list[frozenset[str]] = []
    async with rarely_checked(down) as (health, pop):
        pop.status, asked = 500, pop.asked
        health.noticed("fra", Notice.LEFT)
        assert down == [frozenset({"fra"})]
        await until(lambda: pop.asked > asked)
        assert down == [frozenset({"fra"})]
        pop.status = 200
        for _ in range(2):  # it had failed too, so that it has to be good twice
            asked = pop.asked
            health.noticed("fra", Notice.FOLLOWING)
            await until(lambda asked=asked: pop.asked > asked)  # type: ignore[misc]  # bound here
        await until(lambda: down[-1] == frozenset())


async def test_what_is_noticed_of_a_pop_that_nobody_asks_counts_for_nothing() -> None:
    down: list[frozenset[str]] = []
    async with rarely_checked(down) as (health, _):
        health.noticed("elsewhere", Notice.LEFT)
        assert down == []
