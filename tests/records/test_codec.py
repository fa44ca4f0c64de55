"""Records as JSON and back: nothing is ignored, nothing is guessed."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pytest

from nocturne.errors import StateError, WrittenByNewer
from nocturne.records import Decision, Manifest, Profile, RunPlan, Stored, dump, load
from nocturne.store.record_files import read, write


@dataclass(frozen=True)
class Inner:
    size: int


@dataclass(frozen=True)
class Outer(Stored):
    VERSION: ClassVar[int] = 3
    UPGRADES: ClassVar = {
        1: lambda fields: {"inner": {"size": fields["size"]}},
        2: lambda fields: fields | {"name": "unnamed"},
    }

    inner: Inner
    name: str


def test_a_record_says_of_which_version_it_is() -> None:
    text = dump(Outer(Inner(7), "x"))
    assert json.loads(text)["version"] == 3
    assert load(Outer, text) == Outer(Inner(7), "x")


def test_an_older_record_becomes_the_next_one_step_by_step() -> None:
    assert load(Outer, '{"size": 5}') == Outer(Inner(5), "unnamed")
    assert load(Outer, '{"version": 2, "inner": {"size": 5}}') == Outer(Inner(5), "unnamed")


@pytest.mark.parametrize(
    "fields",
    [
        {"version": 4, "inner": {"size": 1}, "name": "x"},
        {"version": 3, "inner": {"size": 1}, "name": "x", "more": 1},
        {"version": 3, "inner": {"size": 1, "more": 1}, "name": "x"},
    ],
    ids=["a later version", "an unknown field", "an unknown field inside"],
)
def test_what_a_newer_nocturne_wrote_is_refused_as_such(fields: dict[str, Any]) -> None:
    with pytest.raises(WrittenByNewer, match="o.json has .* written by a newer Nocturne"):
        load(Outer, json.dumps(fields), "o.json")


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "null", '{"version": 0}', '{"version": "3"}', '{"version": 1}', '{"size": {}}'],
)
def test_what_is_no_such_record_is_damaged(text: str) -> None:
    with pytest.raises(StateError, match="o.json is not a Outer: ") as error:
        load(Outer, text, "o.json")
    assert not isinstance(error.value, WrittenByNewer)


def test_a_record_of_another_shape_names_the_field(tmp_path: Path) -> None:
    with pytest.raises(StateError, match="is not a RunPlan: version 1: .*expected 2"):
        load(RunPlan, '{"format": 1}')
    with pytest.raises(StateError, match="is not a Decision: at: .*2013-04-01T05"):
        load(Decision, '{"by": "me", "at": "yesterday"}')
    path = tmp_path / "m.json"
    path.write_text("{}")
    with pytest.raises(StateError, match=r"m\.json is not a Manifest"):
        read(Manifest, path)


def test_numbers_that_json_has_not_are_refused() -> None:
    with pytest.raises(StateError, match="rows: Input should be a finite number"):
        load(Profile, '{"rows": NaN, "columns": {}}')


def test_the_first_exclusive_writer_wins(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "r.json"
    assert write(path, {"a": 1}, exclusive=True) is True
    assert write(path, {"a": 2}, exclusive=True) is False
    assert path.read_text() == dump({"a": 1})
    assert [p.name for p in path.parent.iterdir()] == ["r.json"], "no temporary file is left"
