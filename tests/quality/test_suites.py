"""Loading a suite: what is taken, and what each mistake is answered with."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from nocturne.errors import ConfigError
from nocturne.quality import load_suite

GOOD = """
name: demo
expectations:
  - type: expect_column_values_to_be_between
    kwargs: {column: seen, min_value: 2013-01-01, result_format: COMPLETE}
    severity: warning
  - type: expect_column_values_to_be_in_set
    kwargs: {column: late, value_set: [true, false], mostly: 0.995}
"""


def suite(tmp_path: Path, text: str, name: str = "suite.yaml") -> Path:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return path


def one(tmp_path: Path, expectation: str) -> Path:
    return suite(tmp_path, f"name: demo\nexpectations:\n  - {expectation}\n")


def test_a_yaml_suite_becomes_json_with_dates_as_text_and_runtime_settings_left_out(
    tmp_path: Path,
) -> None:
    loaded = load_suite(suite(tmp_path, GOOD))
    assert loaded["name"] == "demo"
    assert loaded["expectations"][0] == {
        "type": "expect_column_values_to_be_between",
        "kwargs": {"column": "seen", "min_value": "2013-01-01"},
        "severity": "warning",
    }
    assert loaded["expectations"][1]["kwargs"]["value_set"] == [True, False]
    json.dumps(loaded)


def test_a_json_suite_loads_alike(tmp_path: Path) -> None:
    loaded = load_suite(suite(tmp_path, GOOD))
    assert load_suite(suite(tmp_path, json.dumps(loaded), "suite.json")) == loaded


def test_loading_imports_neither_great_expectations_nor_pandas(tmp_path: Path) -> None:
    path = suite(tmp_path, GOOD)
    code = (
        "import sys; from pathlib import Path; from nocturne import quality; "
        f"quality.check_columns(Path({str(path)!r}), ['seen', 'late']); "
        "print({'great_expectations', 'pandas'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


BETWEEN = "type: expect_column_values_to_be_between"


def _where(condition: str) -> str:
    return f"{{{BETWEEN}, kwargs: {{column: a, min_value: 1, row_condition: {{{condition}}}}}}}"


EXPECTATIONS = {
    "{type: expect_column_values_to_be_nul, kwargs: {column: a}}": (
        "type: got 'expect_column_values_to_be_nul' (did you mean "
        "'expect_column_values_to_be_null' or"
    ),
    "{type: 7, kwargs: {}}": "type: got 7, which Great Expectations 1.24 does not have; it has",
    "{kwargs: {column: a}}": "type: got None",
    "{expectation_type: expect_column_to_exist, kwargs: {column: a}}": (
        "Great Expectations 1.x calls this key `type`; rename it"
    ),
    "just a text": "got 'just a text', expected `{type: ..., kwargs: {...}}`",
    "{type: expect_column_to_exist}": "kwargs: got None, expected a mapping with the arguments",
    "{type: expect_column_to_exist, kwargs: {column: a}, severty: info}": (
        "severty: unknown key (did you mean 'severity'?); expected some of"
    ),
    "{type: expect_column_to_exist, kwargs: {column: a}, severity: high}": (
        "severity: got 'high', expected one of critical, info, warning"
    ),
    "{type: unexpected_rows_expectation, kwargs: {unexpected_rows_query: select 1}}": (
        "unexpected_rows_expectation does not run on files, only on databases"
    ),
    f"{{{BETWEEN}, kwargs: {{column: a, min_vlue: 1}}}}": (
        "kwargs.min_vlue: unknown argument (did you mean 'min_value'?); expected some of"
    ),
    f"{{{BETWEEN}, kwargs: {{min_value: 1}}}}": "kwargs.column: missing",
    f"{{{BETWEEN}, kwargs: {{column: a}}}}": "min_value and max_value: both missing",
    f"{{{BETWEEN}, kwargs: {{column: [a], min_value: 1}}}}": (
        "kwargs.column: got ['a'], expected a text"
    ),
    f"{{{BETWEEN}, kwargs: {{column: a, min_value: soon}}}}": (
        "kwargs.min_value: got 'soon', expected a number or a date"
    ),
    f"{{{BETWEEN}, kwargs: {{column: a, min_value: 1, mostly: 95}}}}": (
        "kwargs.mostly: got 95, expected a number from 0 to 1"
    ),
    f"{{{BETWEEN}, kwargs: {{column: a, min_value: {{$PARAMETER: low}}}}}}": (
        "kwargs.min_value: a suite parameter ($PARAMETER) gets no value here; write the value"
    ),
    "{type: expect_column_values_to_match_regex, kwargs: {column: a, regex: '[a'}}": (
        "kwargs.regex: got '[a', which is no regular expression: unterminated character set"
    ),
    "{type: expect_column_values_to_match_regex_list, kwargs: {column: a, regex_list: ['(']}}": (
        "kwargs.regex_list: got '(', which is no regular expression"
    ),
    "{type: expect_column_values_to_be_increasing, kwargs: {colum: a}}": (
        "kwargs.column: missing; it names the column to check"
    ),
    f"{{{BETWEEN}, kwargs: {{column: a, min_value: 1, row_condition: 'b > 2'}}}}": (
        "kwargs.row_condition: got 'b > 2', expected a mapping whose type is one of"
    ),
    f"{{{BETWEEN}, kwargs: {{column: a, min_value: 1, row_condition: {{type: nullity}}}}}}": (
        "kwargs.row_condition: got column None, expected a mapping such as {name: x}"
    ),
    f"{{{BETWEEN}, kwargs: {{column: a, min_value: 1, row_condition: {{type: and}}}}}}": (
        "kwargs.row_condition: got conditions None, expected a list of conditions"
    ),
    _where("type: nullity, column: {name: b}"): (
        "kwargs.row_condition: got is_null None, expected true or false"
    ),
    _where("type: comparison, column: {name: b}, operator: '=', parameter: 1"): (
        "row_condition: got operator '=', expected one of !=, <, <=, ==, >, >=, IN, NOT_IN"
    ),
    _where("type: comparison, column: {name: b}, parameter: 1"): (
        "kwargs.row_condition: got operator None, expected one of !="
    ),
    _where("type: comparison, column: {name: b}, operator: '>'"): (
        "kwargs.row_condition: got parameter None for >, expected a number, a text, true or false"
    ),
    _where("type: comparison, column: {name: b}, operator: IN, parameter: 1"): (
        "kwargs.row_condition: got parameter 1 for IN, expected a list of numbers or a list of"
    ),
    _where("type: comparison, column: {name: b}, operator: NOT_IN, parameter: [1, a]"): (
        "kwargs.row_condition: got parameter [1, 'a'] for NOT_IN, expected a list of numbers"
    ),
}


@pytest.mark.parametrize("expectation", EXPECTATIONS)
def test_a_wrong_expectation_is_refused_with_file_line_value_and_what_is_expected(
    tmp_path: Path, expectation: str
) -> None:
    path = one(tmp_path, expectation)
    with pytest.raises(ConfigError) as error:
        load_suite(path)
    assert f"{path}: expectations[0] (line 3): " in str(error.value)
    assert EXPECTATIONS[expectation] in str(error.value)


FILES = {
    ("suite.yaml", ""): "is empty, expected `key: value` lines",
    ("suite.yaml", "[1, 2]"): "got a list, expected `key: value` lines",
    ("suite.yaml", "name: [unclosed"): "is not YAML that can be read",
    ("suite.yaml", "name: !!python/object:os.system x"): "is not YAML that can be read",
    ("suite.yaml", "name: a\nname: b"): "line 2: the key 'name' is there twice",
    ("suite.json", '{"name": "a", "name": "b"}'): "the key 'name' is there twice",
    ("suite.json", '{"name": ' + "[" * 100_000): "is not valid JSON",
    ("suite.yaml", "name: !!binary aGk="): "has no JSON form",
    ("suite.json", "{'name': 1}"): "is not valid JSON",
    ("suite.toml", "name = 1"): "got a .toml file, expected a suite in .yaml, .yml or .json",
    ("suite.yaml", "name: a"): "expectations: got None, expected a list with at least one",
    ("suite.yaml", "name: a\nexpectations: []"): "expectations: got [], expected a list",
    (
        "suite.yaml",
        "expectation: []",
    ): "expectation: unknown key (did you mean 'expectations'?); expected some of expectations",
    ("suite.yaml", "expectation: [] "): "name: got None, expected a text, the suite's name",
}


@pytest.mark.parametrize(("name", "text"), FILES)
def test_a_file_that_is_no_suite_is_refused(tmp_path: Path, name: str, text: str) -> None:
    with pytest.raises(ConfigError, match=name) as error:
        load_suite(suite(tmp_path, text, name))
    assert FILES[name, text] in str(error.value)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="does not exist; `nocturne init` writes a starter"):
        load_suite(tmp_path / "none.yaml")


def test_a_folder_instead_of_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "folder.yaml").mkdir()
    with pytest.raises(ConfigError, match="can't be read: Is a directory"):
        load_suite(tmp_path / "folder.yaml")


def test_all_mistakes_are_told_at_once(tmp_path: Path) -> None:
    path = suite(tmp_path, "name: 3\nexpectations:\n  - {type: a}\n  - {type: b}\n")
    with pytest.raises(ConfigError) as error:
        load_suite(path)
    assert len(str(error.value).splitlines()) == 3
    assert "expectations[1] (line 4)" in str(error.value)


def test_the_known_types_are_those_that_great_expectations_registers() -> None:
    from great_expectations.expectations.registry import list_registered_expectation_implementations

    from nocturne.quality.catalog import known_types

    assert known_types() == sorted(list_registered_expectation_implementations())


def test_an_environment_without_great_expectations_is_told_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from nocturne.quality import catalog

    for cached in (catalog._schemas, catalog._index):
        cached.cache_clear()
    monkeypatch.setattr(catalog.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match="install great-expectations==1.24.1, or remove quality"):
        load_suite(suite(tmp_path, GOOD))


def test_a_suite_that_was_written_anew_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "suite.json"
    checks = [{"type": "expect_column_to_exist", "kwargs": {"column": name}} for name in "ab"]
    for count in (1, 2):
        path.write_text(json.dumps({"name": "s", "expectations": checks[:count]}))
        first = load_suite(path)
        assert len(first["expectations"]) == count
        first["expectations"].clear()  # a copy: what one caller does is no other's matter
        assert len(load_suite(path)["expectations"]) == count
