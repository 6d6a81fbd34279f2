"""dns/admin.py: what the resolver tells of POPs, answers and reasons."""

from __future__ import annotations

import json

from tests.commands import fetch
from tests.test_dns_parts import running


async def test_the_admin_listener_tells_of_pops_answers_and_reasons() -> None:
    async with running() as cdn:
        await cdn.until(lambda: cdn.pops["fra"].asked > 0)
        for _ in range(3):
            await cdn.sent_to()
        assert await fetch(cdn.admin + "/readyz") == (200, b"ready\n")
        text = (await fetch(cdn.admin + "/metrics"))[1].decode()
        assert 'edgeproxy_dns_replies_total{pop="fra",rcode="NOERROR",reason="distance",type="A"} 3.0' in text
        assert "# TYPE edgeproxy_dns_replies_total counter" in text
        assert 'edgeproxy_dns_pop_up{pop="iad"} 1.0' in text
        assert "edgeproxy_dns_remembered_total 2.0" in text
        status = json.loads((await fetch(cdn.admin + "/status"))[1])
        assert status["pops"]["fra"]["up"] is True
        assert status["counters"]['edgeproxy_dns_chosen_total{reason="distance"}'] == 3
        said = json.loads((await fetch(cdn.admin + "/explain?ip=203.0.113.7&name=d1.cdn.test"))[1])
        assert (said["chosen"], said["reason"], said["scope"]) == ("fra", "distance", 24)
        code, answer = await fetch(cdn.admin + "/explain?ip=nobody&name=d1.cdn.test")
        assert (code, "ip=ADDRESS" in json.loads(answer)["error"]) == (400, True)
