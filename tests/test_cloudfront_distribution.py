"""DistributionConfig JSON: envelopes, how the parts hang together, revisions, notes (fact sheet 5, 11, 14)."""

from __future__ import annotations

import json
from time import process_time
from typing import Any

import pytest

from edgeproxy.cloudfront.addresses import endpoint
from edgeproxy.cloudfront.policies import Policies
from edgeproxy.model import Countries, ErrorPage, Failover, Rules
from edgeproxy.reading import Document
from tests.distributions import behavior, bucket, config, distribution, faults, items, legacy, reading, web

ENVELOPES: list[tuple[Any, str, str]] = [
    (config(), "demo", "DistributionConfig"),
    ({"ETag": "E1", "DistributionConfig": config()}, "demo", "DistributionConfig"),
    (
        {"ETag": "E1", "Distribution": {"Id": "E1ABC", "ARN": "a", "DistributionConfig": config()}},
        "E1ABC",
        "Distribution.DistributionConfig",
    ),
    ({"Id": "E1ABC", "Status": "Deployed", "DistributionConfig": config()}, "E1ABC", "DistributionConfig"),
]


@pytest.mark.parametrize(("data", "id", "place"), ENVELOPES)
def test_a_configuration_is_read_with_and_without_its_envelope(data: Any, id: str, place: str) -> None:
    made = distribution(data)
    assert made.id == id
    assert made.domain == f"{id.lower()}.edge.localhost"
    assert made.rules is Rules.CLOUDFRONT
    inner = data
    for step in place.split("."):
        inner = inner.get(step, inner)
    inner["Origins"]["Items"][0]["CustomOriginConfig"]["HTTPPort"] = 0
    assert faults(data) == [
        f"{place}.Origins.Items[0].CustomOriginConfig.HTTPPort is 0: "
        "InvalidArgument: expected a whole number from 1 to 65535"
    ]
    inner["Origins"]["Items"][0]["CustomOriginConfig"]["HTTPPort"] = 80


def test_the_settings_name_wins_over_the_envelopes_and_the_files() -> None:
    assert distribution(config(), id="E2").id == "E2"
    assert faults(config(), id="no_label") == ['id is "no_label": expected up to 63 letters, digits and inner -']


def test_what_does_not_belong_into_an_envelope_is_a_fault() -> None:
    assert faults({"ETagg": "E1", "DistributionConfig": config()}) == [
        'ETagg is "E1": no such name here; did you mean ETag?'
    ]


RELATIONS: list[tuple[dict[str, Any], list[str]]] = [
    (
        {"DefaultCacheBehavior": behavior("wbe")},
        [
            'DefaultCacheBehavior.TargetOriginId is "wbe": NoSuchOrigin: no origin or origin group has this id; '
            "did you mean web?"
        ],
    ),
    (
        {"Origins": items(web(), web())},
        ['Origins.Items[1].Id is "web": InvalidArgument: another origin has this id'],
    ),
    ({"Origins": items()}, ["Origins.Items is a list of 0: InvalidArgument: expected at least one origin"]),
    (
        {"Origins": {"Quantity": 2, "Items": [web()]}},
        ["Origins.Quantity is 2: InconsistentQuantities: Items has 1"],
    ),
    (
        {"CacheBehaviors": {"Quantity": 1}},
        ["CacheBehaviors.Quantity is 1: InconsistentQuantities: Items has 0"],
    ),
    (
        {"Origins": items(*[web(f"o{n}") for n in range(101)], web())},
        ["Origins.Items is a list of 102: TooManyOrigins: expected up to 100"],
    ),
    (
        {"CacheBehaviors": items(*[behavior(PathPattern=f"/{n}") for n in range(76)])},
        ["CacheBehaviors.Items is a list of 76: TooManyCacheBehaviors: expected up to 75"],
    ),
    (
        {"Aliases": items(*[f"a{n}.test" for n in range(101)])},
        ["Aliases.Items is a list of 101: TooManyDistributionCNAMEs: expected up to 100"],
    ),
    (
        {"CustomErrorResponses": items({"ErrorCode": 404}, {"ErrorCode": 404})},
        ["CustomErrorResponses.Items[1].ErrorCode is 404: InvalidArgument: another entry has this status"],
    ),
    (
        {"CustomErrorResponses": items({"ErrorCode": 404, "ResponseCode": "200", "ResponsePagePath": "404.html"})},
        [
            'CustomErrorResponses.Items[0].ResponsePagePath is "404.html": '
            "InvalidArgument: expected a path that starts with /"
        ],
    ),
    (
        {
            "OriginGroups": items(
                {
                    "Id": "g",
                    "FailoverCriteria": {"StatusCodes": items(500)},
                    "Members": items({"OriginId": "web"}, {"OriginId": "spare"}),
                }
            )
        },
        [
            'OriginGroups.Items[0].Members.Items[1].OriginId is "spare": NoSuchOrigin: no origin or origin group has '
            "this id"
        ],
    ),
]


@pytest.mark.parametrize(("changes", "expected"), RELATIONS)
def test_parts_that_do_not_fit_together_are_faults(changes: dict[str, Any], expected: list[str]) -> None:
    found = [fault.removeprefix("DistributionConfig.") for fault in faults(config(**changes))]
    assert found == expected


def test_one_broken_part_hides_nothing_of_the_others() -> None:
    found = faults(
        config(
            Origins=items(web(Colour="red"), bucket(domain="no host")),
            DefaultCacheBehavior=behavior("wbe", CachePolicyId="p-1"),
            CacheBehaviors=items(behavior(PathPattern="a b"), legacy("s3", PathPattern="/x", MinTTL=5, MaxTTL=1)),
            DefaultRootObject="in dex",
        )
    )
    words = (
        "Colour",
        "InvalidOrigin",
        "NoSuchOrigin",
        "NoSuchCachePolicy",
        "PathPattern",
        "InvalidTTLOrder",
        "RootObject",
    )
    for word in words:
        assert [fault for fault in found if word in fault], word
    assert len(found) == len(words)


def test_a_configuration_that_is_wholly_honoured_has_no_notes() -> None:
    assert reading(config(PriceClass="PriceClass_All", Logging={"Enabled": False}, WebACLId="")).notes == []


NOTED: list[tuple[dict[str, Any], str]] = [
    ({"HttpVersion": "http2"}, "HttpVersion"),
    ({"Logging": {"Enabled": True, "Bucket": "b"}}, "Logging"),
    ({"WebACLId": "acl"}, "WebACLId"),
    ({"ViewerCertificate": {"ACMCertificateArn": "arn", "SSLSupportMethod": "sni-only"}}, "ViewerCertificate"),
    (
        {"DefaultCacheBehavior": behavior(CachePolicyId="CachingDisabled", Compress=True)},
        "DefaultCacheBehavior.Compress",
    ),
    (
        {"DefaultCacheBehavior": behavior(TrustedKeyGroups={"Enabled": True, **items("k")})},
        "DefaultCacheBehavior.TrustedKeyGroups",
    ),
    ({"DefaultCacheBehavior": behavior(MinTTL=5)}, "DefaultCacheBehavior.MinTTL"),
    (
        {"DefaultCacheBehavior": legacy(values={"Headers": items("CloudFront-Viewer-JA3-Fingerprint")})},
        "DefaultCacheBehavior.ForwardedValues.Headers",
    ),
    (
        {"Origins": items(web(OriginShield={"Enabled": True, "OriginShieldRegion": "mars-1"}))},
        "Origins.Items[0].OriginShield.OriginShieldRegion",
    ),
    (
        {
            "Origins": items(
                web(domain="b.s3-website.eu-central-1.amazonaws.com", custom={"OriginProtocolPolicy": "https-only"})
            )
        },
        "Origins.Items[0].CustomOriginConfig.OriginProtocolPolicy",
    ),
    ({"Origins": items(web(domain="b.s3.eu-central-1.amazonaws.com"))}, "Origins.Items[0]"),
    ({"Origins": items(bucket("web", "files.example.com"))}, "Origins.Items[0].DomainName"),
    ({"Origins": items(web(domain="x.lambda-url.us-east-1.on.aws"))}, "Origins.Items[0].DomainName"),
    ({"DefaultRootObject": "/index.html"}, "DefaultRootObject"),
]


@pytest.mark.parametrize(("changes", "place"), NOTED)
def test_what_has_no_effect_is_noted_with_its_place(changes: dict[str, Any], place: str) -> None:
    result = reading(config(**changes))
    assert result.faults == []
    assert f"DistributionConfig.{place}" in [note.place for note in result.notes]


IDLE: list[dict[str, Any]] = [
    {"Restrictions": {"GeoRestriction": {"RestrictionType": "none", "Quantity": 0}}},
    {"ViewerCertificate": {"CloudFrontDefaultCertificate": True, "MinimumProtocolVersion": "TLSv1"}},
    {"OriginGroups": {"Quantity": 0}},
    {"Restrictions": {"GeoRestriction": {"RestrictionType": "blacklist", **items("DE")}}},
    {"CustomErrorResponses": items({"ErrorCode": 404, "ResponseCode": "200", "ResponsePagePath": "/404.html"})},
    {"DefaultCacheBehavior": behavior(Compress=True, ResponseHeadersPolicyId="SimpleCORS")},
    {"DefaultCacheBehavior": behavior(CachePolicyId="Amplify", OriginRequestPolicyId="AllViewerExceptHostHeader")},
    {"Origins": items(web(OriginShield={"Enabled": True, "OriginShieldRegion": "us-east-1"}))},
    {"DefaultCacheBehavior": behavior(TrustedSigners={"Enabled": False, "Quantity": 0}, GrpcConfig={"Enabled": False})},
    {"CustomErrorResponses": items({"ErrorCode": 404, "ResponseCode": "", "ResponsePagePath": ""})},
]


@pytest.mark.parametrize("changes", IDLE)
def test_what_the_api_prints_for_nothing_is_not_noted(changes: dict[str, Any]) -> None:
    assert reading(config(**changes)).notes == []


def test_the_first_member_of_an_origin_group_serves() -> None:
    group = {
        "Id": "g",
        "FailoverCriteria": {"StatusCodes": items(500, 503)},
        "Members": items({"OriginId": "web"}, {"OriginId": "s3"}),
    }
    made = distribution(
        config(Origins=items(web(), bucket()), OriginGroups=items(group), DefaultCacheBehavior=behavior("g"))
    )
    assert made.behaviors[-1].origin == "web"


def test_behaviours_keep_their_order_and_the_default_is_last() -> None:
    made = distribution(config(CacheBehaviors=items(behavior(PathPattern="/b*"), behavior(PathPattern="a?.jpg"))))
    assert [each.pattern for each in made.behaviors] == ["/b*", "a?.jpg", "*"]


def test_all_that_names_and_switches_a_distribution_is_read() -> None:
    made = distribution(
        config(Aliases=items("www.example.test", "*.example.test"), DefaultRootObject="index.html", Enabled=False)
    )
    assert made.aliases == ("www.example.test", "*.example.test")
    assert made.default_root_object == "index.html"
    assert not made.enabled
    assert not made.any_host


def test_a_redirected_origin_is_reached_elsewhere_under_its_own_name() -> None:
    made = distribution(config(), redirects={"origin.example.com": endpoint("http://127.0.0.1:3000")})
    origin = made.origins["web"]
    assert (origin.host, origin.http_port, origin.host_header) == ("127.0.0.1", 3000, "origin.example.com")


def test_the_revision_belongs_to_the_content_and_not_to_its_spelling() -> None:
    first = distribution(config(Comment="a")).revision
    assert len(first) == 16
    assert int(first, 16) >= 0
    shuffled = dict(reversed(list(config(Comment="a").items())))
    assert distribution({"ETag": "E9", "DistributionConfig": shuffled}).revision == first
    assert distribution(config(Comment="b")).revision != first


def test_the_revision_covers_the_policies_that_are_used() -> None:
    def revision(minimum: int) -> str:
        policies = Policies()
        assert policies.read(Document("p.json", {"Name": "mine", "MinTTL": minimum})) == []
        return distribution(config(DefaultCacheBehavior=behavior(CachePolicyId="p")), policies=policies).revision

    assert revision(1) != revision(2)
    assert revision(1) == revision(1)


def test_a_file_that_is_only_looked_at_may_use_policies_of_other_files() -> None:
    data = config(DefaultCacheBehavior=behavior(CachePolicyId="elsewhere"))
    assert [fault.partition(": ")[2] for fault in faults(data)] == [
        "NoSuchCachePolicy: neither a managed policy nor one of the files that `policies` lists"
    ]
    alone = reading(data, alone=True)
    assert alone.faults == []
    assert "its file has to be listed" in str(alone.notes[0])


GROUP = {
    "Id": "both",
    "FailoverCriteria": {"StatusCodes": items(403, 503)},
    "Members": items({"OriginId": "web"}, {"OriginId": "spare"}),
}
ORIGINS = items(web(), web("spare", "spare.example.com"))
SEVEN = {**items("GET", "HEAD", "OPTIONS", "PUT", "POST", "PATCH", "DELETE"), "CachedMethods": items("GET", "HEAD")}


def test_5_6_a_behaviour_of_a_group_asks_its_first_member_and_knows_when_the_second() -> None:
    made = distribution(
        config(Origins=ORIGINS, OriginGroups=items(GROUP), DefaultCacheBehavior=behavior("both"))
    ).behaviors[0]
    assert (made.origin, made.failover) == ("web", Failover("spare", frozenset({403, 503})))


def test_8_5_countries() -> None:
    def countries(kind: str, *codes: str) -> Countries | None:
        restrictions = {"GeoRestriction": {"RestrictionType": kind, **items(*codes)}}
        return distribution(config(Restrictions=restrictions)).countries

    allowed, refused = countries("whitelist", "DE", "AT"), countries("blacklist", "DE")
    assert allowed is not None
    assert refused is not None
    assert countries("none") is None
    assert [allowed.refuses(code) for code in ("DE", "FR", "")] == [False, True, False]
    assert [refused.refuses(code) for code in ("DE", "FR", "")] == [True, False, False]


def test_2_8_pages_by_the_status_they_stand_for() -> None:
    made = distribution(
        config(
            CustomErrorResponses=items(
                {"ErrorCode": 404, "ResponseCode": "200", "ResponsePagePath": "/index.html"},
                {"ErrorCode": 503, "ErrorCachingMinTTL": 0},
            )
        )
    )
    assert made.error_pages == {404: ErrorPage("/index.html", 200)}
    assert made.behaviors[0].caching.error_ttl == {404: 10, 503: 0}


REFUSED: list[tuple[dict[str, Any], str]] = [
    (
        {"OriginGroups": items({**GROUP, "Members": items({"OriginId": "web"}, {"OriginId": "web"})})},
        "OriginGroups.Items[0].Members is a table: InvalidArgument: expected two different origins",
    ),
    (
        {"OriginGroups": items({**GROUP, "FailoverCriteria": {"StatusCodes": items()}})},
        "FailoverCriteria.StatusCodes is a table: InvalidArgument: expected at least one status",
    ),
    (
        {"OriginGroups": items({**GROUP, "FailoverCriteria": {"StatusCodes": items(401)}})},
        "StatusCodes.Items[0] is 401",
    ),
    (
        {"OriginGroups": items(GROUP), "DefaultCacheBehavior": behavior("both", AllowedMethods=SEVEN)},
        "InvalidArgument: The parameter AllowedMethods cannot include POST",
    ),
    ({"Restrictions": {"GeoRestriction": {"RestrictionType": "none", **items("DE")}}}, "InvalidGeoRestrictionParam"),
    ({"Restrictions": {"GeoRestriction": {"RestrictionType": "whitelist", **items()}}}, "InvalidGeoRestrictionParam"),
    ({"Restrictions": {"GeoRestriction": {"RestrictionType": "whitelist", **items("de")}}}, "'de' is no code of a"),
    ({"Origins": items(web(OriginShield={"Enabled": True}))}, "InvalidArgument: expected the region of a regional"),
    (
        {"Origins": items(bucket("web", "b.s3-website-us-east-1.amazonaws.com"))},
        "InvalidOrigin: a website endpoint is a web server",
    ),
    ({"DefaultCacheBehavior": behavior(ResponseHeadersPolicyId="x")}, "NoSuchResponseHeadersPolicy: neither"),
    (
        {"DefaultCacheBehavior": legacy(values={"Headers": items("CloudFront-Viewer-Planet")})},
        "InvalidArgument: CloudFront adds no header of this name",
    ),
    ({"CustomErrorResponses": items({"ErrorCode": 402})}, "InvalidErrorCode: expected one of 400, 403"),
    (
        {"CustomErrorResponses": items({"ErrorCode": 404, "ResponseCode": "201", "ResponsePagePath": "/a"})},
        "InvalidResponseCode: expected one of",
    ),
    ({"CustomErrorResponses": items({"ErrorCode": 404, "ResponseCode": "200"})}, "need each other"),
]


@pytest.mark.parametrize(("changes", "fault"), REFUSED)
def test_what_cloudfront_would_refuse_is_refused_once(changes: dict[str, Any], fault: str) -> None:
    found = faults(config(**{"Origins": ORIGINS, **changes}))
    assert len(found) == 1, found
    assert fault in found[0]


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"Origins": items(*[web(f"o{n}") for n in range(40_000)])}, "TooManyOrigins"),
        ({"CacheBehaviors": items(*[behavior(PathPattern=f"/{n}", Colour=1) for n in range(40_000)])}, "Colour is 1"),
        ({f"Colour{number}": number for number in range(200_000)}, "Colour0 is 0"),
        ({"Aliases": {"Quantity": 3, "Items": ["X"] * 400_000}}, "InconsistentQuantities"),
    ],
    ids=["origins", "behaviours", "unknown", "aliases"],
)
def test_a_configuration_of_many_megabytes_is_judged_in_a_few_seconds(changes: dict[str, Any], fault: str) -> None:
    text = json.dumps({**config(), **changes})
    began = process_time()
    found = reading(json.loads(text)).faults
    assert process_time() - began < 10
    assert any(fault in str(each) for each in found)
