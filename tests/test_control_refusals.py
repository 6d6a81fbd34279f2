"""Faults of a configuration as one refusal of the API."""

from __future__ import annotations

import pytest

from edgeproxy.control.refusals import Refused, refuse_faults
from edgeproxy.errors import Fault


def test_the_first_code_counts_and_all_faults_are_named() -> None:
    refuse_faults([])
    faults = [
        Fault("x", "DistributionConfig.Comment", "7", "expected text"),
        Fault("x", "DistributionConfig.Origins", "", "NoSuchOrigin: no origin has this id"),
    ]
    with pytest.raises(Refused) as refusal:
        refuse_faults(faults)
    assert refusal.value.code == "InvalidArgument"
    assert str(refusal.value) == "Comment is 7: expected text; Origins: no origin has this id"
    with pytest.raises(Refused) as refusal:
        refuse_faults(faults[1:])
    assert refusal.value.code == "NoSuchOrigin"
