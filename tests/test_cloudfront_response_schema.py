"""The shape of response headers policies (fact sheet 4.8): what the API requires of each part."""

from __future__ import annotations

import pytest
from pydantic import BaseModel

from edgeproxy.cloudfront import response_schema as schema
from edgeproxy.reading import Document
from edgeproxy.validation import validate


@pytest.mark.parametrize(
    ("model", "required"),
    [
        (schema.ResponseHeadersPolicyConfig, {"Name"}),
        (schema.Cors, {"AccessControlAllowOrigins", "AccessControlAllowHeaders", "AccessControlAllowMethods",
                       "AccessControlAllowCredentials", "OriginOverride"}),
        (schema.Xss, {"Override", "Protection"}),
        (schema.Frame, {"Override", "FrameOption"}),
        (schema.Referrer, {"Override", "ReferrerPolicy"}),
        (schema.Csp, {"Override", "ContentSecurityPolicy"}),
        (schema.Sniffing, {"Override"}),
        (schema.Hsts, {"Override", "AccessControlMaxAgeSec"}),
        (schema.Timing, {"Enabled"}),
        (schema.CustomHeader, {"Header", "Value", "Override"}),
        (schema.RemovedHeader, {"Header"}),
    ],
)  # fmt: skip
def test_what_is_required_and_what_is_not_known(model: type[BaseModel], required: set[str]) -> None:
    _, faults = validate(model, Document("f", {"Colour": 1}))
    assert {fault.place for fault in faults if fault.value == "missing"} == required
    assert {fault.place for fault in faults if fault.value != "missing"} == {"Colour"}
