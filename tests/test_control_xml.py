"""XML to values and back, by the shapes of the service model; and what is refused before anything is made of it."""

from __future__ import annotations

import time
from typing import Any

import hypothesis
import pytest
from hypothesis import strategies as st

from edgeproxy.control.refusals import Refused
from edgeproxy.control.service import service
from edgeproxy.control.xml import DEPTH_MAX, ELEMENTS_MAX, error, parse, serialise
from tests.distributions import behavior, bucket, config, items, legacy, web

NAMESPACE = 'xmlns="http://cloudfront.amazonaws.com/doc/2020-05-31/"'
BATCH = f"<InvalidationBatch {NAMESPACE}>%s</InvalidationBatch>"


def shape(name: str) -> Any:
    return service().shape_for(name)


def batch(text: str | bytes) -> Any:
    return parse(shape("InvalidationBatch"), "InvalidationBatch", text if isinstance(text, bytes) else text.encode())


GOOD = "<Paths><Quantity>1</Quantity><Items><Path>/a&amp;b</Path></Items></Paths><CallerReference>r</CallerReference>"
VALUE = {"Paths": {"Quantity": 1, "Items": ["/a&b"]}, "CallerReference": "r"}


def test_a_document_becomes_a_value() -> None:
    assert batch(BATCH % GOOD) == VALUE
    assert batch(f"<InvalidationBatch>{GOOD}</InvalidationBatch>") == VALUE
    assert (
        batch(f"<?xml version='1.0'?><!-- why --><p:InvalidationBatch xmlns:p='x'>{GOOD}</p:InvalidationBatch>")
        == VALUE
    )


@pytest.mark.parametrize(
    "value",
    [
        config(),
        config(
            Origins=items(web(), bucket(), web("more", custom={"OriginReadTimeout": 60})),
            DefaultCacheBehavior=legacy(values={"QueryString": True, "Headers": items("Host", "<&>\"'")}),
            CacheBehaviors=items({**behavior(), "PathPattern": "/a*"}),
            Aliases=items("www.example.test", "*.example.test"),
            Comment="<tag>&amp; ü 😀 \t\n",
        ),
    ],
)
def test_what_is_written_is_read_back_element_for_element(value: Any) -> None:
    written = serialise(shape("DistributionConfig"), "DistributionConfig", value)
    assert parse(shape("DistributionConfig"), "DistributionConfig", written) == value


@hypothesis.given(st.text())
@hypothesis.settings(max_examples=200)
def test_any_text_is_written_as_well_formed_xml(text: str) -> None:
    written = serialise(shape("InvalidationBatch"), "InvalidationBatch", {**VALUE, "CallerReference": text})
    read = batch(written)["CallerReference"]
    kept = "".join(
        each if each in "\t\n\r" or (each >= " " and each not in "\ufffe\uffff") else "\ufffd" for each in text
    )
    assert read == "".join("\ufffd" if "\ud800" <= each <= "\udfff" else each for each in kept)


@pytest.mark.parametrize(
    "body",
    [
        "",
        "no xml",
        "<InvalidationBatch>",
        BATCH % "",
        BATCH % "<Paths/>",
        BATCH % (GOOD + GOOD),
        BATCH % (GOOD + "<More/>"),
        BATCH % ("text" + GOOD),
        BATCH % GOOD.replace(">1<", ">one<"),
        BATCH % GOOD.replace(">1<", ">1.0<"),
        BATCH % GOOD.replace(">1<", "><"),
        BATCH % GOOD.replace(">1<", ">" + "9" * 5000 + "<"),
        BATCH % GOOD.replace(">1<", "><b>1</b><"),
        BATCH % GOOD.replace("Path>/", "Tag>/").replace("b</Path>", "b</Tag>"),
        "<Other/>",
        f"<!DOCTYPE InvalidationBatch><InvalidationBatch>{GOOD}</InvalidationBatch>",
        '<!DOCTYPE b [<!ENTITY a "aaaaaaaaaa"><!ENTITY c "&a;&a;&a;">]><b>&c;</b>',
        '<!DOCTYPE b [<!ENTITY a SYSTEM "file:///etc/passwd">]><b>&a;</b>',
        '<!DOCTYPE b SYSTEM "http://127.0.0.1:9/x.dtd"><b/>',
        f"<?xml version='1.0' encoding='no-such-code'?><InvalidationBatch>{GOOD}</InvalidationBatch>",
        BATCH % "&undefined;",
        "<a>" * (DEPTH_MAX + 1) + "</a>" * (DEPTH_MAX + 1),
        b"\xff\xfe\x00\x00",
        BATCH % "\x00",
    ],
)
def test_what_is_wrong_is_refused(body: str | bytes) -> None:
    with pytest.raises(Refused) as refusal:
        batch(body)
    assert refusal.value.code == "MalformedInput"


def test_a_body_of_too_many_elements_is_refused_without_reading_all_of_it() -> None:
    body = f"<InvalidationBatch>{'<a/>' * (ELEMENTS_MAX * 4)}</InvalidationBatch>"
    began = time.process_time()
    with pytest.raises(Refused):
        batch(body)
    assert time.process_time() - began < 5


def test_numbers_flags_and_times() -> None:
    weight = "<ContinuousDeploymentSingleWeightConfig><Weight>%s</Weight></ContinuousDeploymentSingleWeightConfig>"

    def read(text: str) -> Any:
        name = "ContinuousDeploymentSingleWeightConfig"
        return parse(shape(name), name, (weight % text).encode())["Weight"]

    assert [read(text) for text in ("0.15", " 1e-2 ", "1")] == [0.15, 0.01, 1.0]
    for wrong in ("nan", "1e99999", "", "1.2.3", "0x1", "inf"):
        with pytest.raises(Refused):
            read(wrong)
    signers = "<TrustedSigners><Enabled>%s</Enabled><Quantity>0</Quantity></TrustedSigners>"
    assert parse(shape("TrustedSigners"), "TrustedSigners", (signers % "true").encode())["Enabled"] is True
    with pytest.raises(Refused):
        parse(shape("TrustedSigners"), "TrustedSigners", (signers % "TRUE").encode())
    said = serialise(
        shape("InvalidationSummary"), "S", {"Id": "I", "CreateTime": 1_800_000_000.5, "Status": "Completed"}
    )
    assert b"<CreateTime>2027-01-15T08:00:00.500Z</CreateTime>" in said


def test_an_error_is_a_document_too() -> None:
    said = error("InvalidArgument", "a <b> & \x00", "id", sender=True).decode()
    assert "<Type>Sender</Type><Code>InvalidArgument</Code><Message>a &lt;b&gt; &amp; \ufffd</Message>" in said
    assert "<Type>Receiver</Type>" in error("InternalFailure", "", "id", sender=False).decode()
