"""Values against models: what is said about them comes from the models."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from edgeproxy.reading import FAULTS_MAX, Document
from edgeproxy.units import address_text, bytes_from, seconds_from
from edgeproxy.validation import Kind, kind_of, near, plain, range_text, sound, type_text, unknown, validate


class Inner(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)
    name: str
    mode: Literal["pop", "regional"] = "pop"


class Outer(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)
    size: Annotated[int, BeforeValidator(bytes_from)] = Field(1, ge=1, le=1024)
    wait: Annotated[float, BeforeValidator(seconds_from)] = Field(1, ge=0, json_schema_extra={"code": "Wrong"})
    count: int | None = Field(None, le=9, json_schema_extra={"unit": "sheep"})
    listen: list[Annotated[str, BeforeValidator(address_text)]] = []
    inners: list[Inner] = []
    words: dict[str, str] = {}
    ratio: float = 0.5
    on: bool = False


FAULTS: list[tuple[dict[str, Any], list[str]]] = [
    ({"size": 0}, ["size is 0: expected a size from 1 to 1024 bytes"]),
    ({"size": "1 MiB"}, ['size is "1 MiB": expected a size from 1 to 1024 bytes']),
    ({"size": "many"}, ["size is \"many\": expected a number, or text such as '64 MiB'"]),
    ({"wait": -1}, ["wait is -1: Wrong: expected a time at least 0 s"]),
    ({"count": 10}, ["count is 10: expected a whole number at most 9 sheep"]),
    ({"count": True}, ["count is true: expected a whole number at most 9 sheep"]),
    ({"listen": ["127.0.0.1:x"]}, ['listen[0] is "127.0.0.1:x": expected HOST:PORT with a port from 0 to 65535']),
    ({"listen": [1]}, ["listen[0] is 1: expected HOST:PORT"]),
    ({"listen": "a"}, ['listen is "a": expected a list of HOST:PORT']),
    (
        {"inners": [{"name": "a"}, {"mode": "popp", "nome": 1}]},
        [
            "inners[1].name is missing: expected text",
            'inners[1].mode is "popp": expected one of pop, regional',
            "inners[1].nome is 1: no such name here; did you mean name?",
        ],
    ),
    ({"words": {"a": 1}}, ["words.a is 1: expected text"]),
    ({"words": 1}, ["words is 1: expected a table of text"]),
    ({"inners": [1]}, ["inners[0] is 1: expected a table"]),
    ({"ratio": "x"}, ['ratio is "x": expected a number']),
    ({"on": 1}, ["on is 1: expected true or false"]),
]


@pytest.mark.parametrize(("data", "expected"), FAULTS)
def test_every_fault_has_its_place_value_and_range(data: dict[str, Any], expected: list[str]) -> None:
    model, faults = validate(Outer, Document("f", data))
    assert model is None
    assert [str(fault).removeprefix("f: ") for fault in faults] == expected


def test_what_is_right_is_read() -> None:
    model, faults = validate(Outer, Document("f", {"in": {"size": "1 KiB", "wait": "1 min"}}), ("in",))
    assert faults == []
    assert model is not None
    assert (model.size, model.wait) == (1024, 60)


def test_more_faults_than_anybody_reads_are_only_counted() -> None:
    _, faults = validate(Outer, Document("f", {f"unknown{number}": 1 for number in range(5000)}))
    assert len(faults) == 5000
    assert faults[FAULTS_MAX - 1].place
    assert not faults[FAULTS_MAX].place


def test_a_part_that_is_sound_is_seen_beside_others_that_are_not() -> None:
    document = Document("f", {"inners": [{"name": 1}, {"name": "a"}]})
    assert sound(Inner, document, ("inners", 0)) is None
    assert sound(Inner, document, ("inners", 1)) == Inner(name="a")
    assert sound(Inner, document, ("inners", 2)) is None


def test_near_matches() -> None:
    assert unknown("listn", ["listen", "https"]) == "no such name here; did you mean listen?"
    assert near("zzz", ["listen"]) == ""
    assert near("x" * 1_000_000, ["x" * 60]) != ""


def test_words_for_types_and_ranges() -> None:
    fields = Outer.model_fields
    assert type_text(Kind(list[str])) == "a list of text"
    assert range_text(plain(kind_of(fields["ratio"]))) == ""
    assert str(kind_of(fields["size"])) == "a size from 1 to 1024 bytes"
