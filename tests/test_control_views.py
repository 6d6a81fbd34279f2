"""How things look in answers: what each shape of the model demands is there."""

from __future__ import annotations

from typing import Any

import pytest

from edgeproxy.control.kinds import DISTRIBUTION, KEY_GROUP, KINDS, PUBLIC_KEY
from edgeproxy.control.refusals import Refused
from edgeproxy.control.service import service
from edgeproxy.control.state import Member, Resource
from edgeproxy.control.things import create
from edgeproxy.control.views import arn, id_in, page, summary, whole
from tests.controlling import Pure
from tests.distributions import behavior, config, items
from tests.test_control_checks import RSA_KEY


def test_every_required_member_is_offered() -> None:
    pure = Pure()
    distribution = pure.do(create, DISTRIBUTION, config(Aliases=items("a.test")))
    for kind in KINDS.values():
        resource = distribution if kind is DISTRIBUTION else Resource(kind.name, "I", "E", {"Name": "n"}, 0, 0)
        assert set(service().shape_for(kind.name).required_members) <= whole(pure.state, resource).keys()
    flat = summary(pure.state, distribution)
    assert set(service().shape_for("DistributionSummary").required_members) <= flat.keys()


def test_a_distribution_tells_of_its_keys_and_its_progress() -> None:
    pure = Pure()
    key = pure.do(create, PUBLIC_KEY, {"CallerReference": "1", "Name": "k", "EncodedKey": RSA_KEY})
    group = pure.do(create, KEY_GROUP, {"Name": "g", "Items": [key.id]})
    pure.state.members["a"] = Member("a", "a", 0, "EPOCH")
    trusted = behavior(TrustedKeyGroups={"Enabled": True, **items(group.id)})
    made = pure.do(create, DISTRIBUTION, config(DefaultCacheBehavior=trusted, Aliases=items("a.test")))
    said: Any = whole(pure.state, pure.state.get(DISTRIBUTION, made.id))
    assert said["Status"] == "InProgress"
    assert said["ActiveTrustedKeyGroups"]["Items"] == [{"KeyGroupId": group.id, "KeyPairIds": items(key.id)}]
    assert said["AliasICPRecordals"] == [{"CNAME": "a.test", "ICPRecordalStatus": "APPROVED"}]


def test_arns() -> None:
    assert id_in(arn(DISTRIBUTION, "E1")) == "E1"
    for wrong in ("", "E1", "arn:aws:s3:::b", "arn:aws:cloudfront::1:function/f"):
        with pytest.raises(Refused):
            id_in(wrong)


@pytest.mark.parametrize("size", ["0", "-1", "x", "1.5", "9" * 30, "²"])
def test_sizes_of_pages(size: str) -> None:
    with pytest.raises(Refused):
        page(["a"], {"MaxItems": size}, str, str)
