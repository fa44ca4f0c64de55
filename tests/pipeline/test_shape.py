"""A model with other predictions than the table's last night: refused, or let in as asked for."""

from __future__ import annotations

from dataclasses import replace

import pyarrow.dataset as ds
import pytest

from conftest import ENCODING
from nocturne import config
from nocturne.encoding import OutputSpec
from nocturne.errors import ConfigError
from nocturne.pipeline import prepare
from pipeline.test_arms import register
from pipeline.test_challengers import Project, night

SCORE = replace(ENCODING.outputs[0], source="0")
TWO = replace(ENCODING, outputs=(SCORE, OutputSpec("raw", "none", source="0")))
DOUBLE = replace(ENCODING, outputs=(OutputSpec("score", "sigmoid", "float64"),))
OTHER = replace(ENCODING, outputs=(OutputSpec("risk", "sigmoid"),))
DAYS = ("2024-01-01", "2024-01-02", "2024-01-03")


def planned(loaded: config.Loaded, day: str) -> str:
    return prepare(loaded, config.partition(loaded.pipeline.input.partition, day)).message


def test_other_predictions_are_refused_with_both_shapes(project: Project) -> None:
    loaded = project()
    night(loaded, DAYS[0])
    register(loaded, encoding=TWO, alias="champion")
    with pytest.raises(ConfigError) as refused:
        planned(loaded, DAYS[1])
    assert "the model predicts score: float, raw: float" in str(refused.value)
    assert f"the night of {DAYS[0]} in the same table has score: float" in str(refused.value)
    assert "output.evolve: add" in str(refused.value)
    night(loaded, DAYS[0])  # the only night may get another shape, since all of it is replaced


def test_columns_are_added_and_older_nights_read_null(project: Project) -> None:
    loaded = project(output__evolve="add")
    night(loaded, DAYS[0])
    register(loaded, encoding=TWO, alias="champion")
    assert f"more columns, raw than the night of {DAYS[0]}" in planned(loaded, DAYS[1])
    night(loaded, DAYS[1])
    table = ds.dataset(
        loaded.home / "out" / "scores",
        schema=ds.dataset(loaded.home / "out" / "scores" / f"ds={DAYS[1]}").schema,
    ).to_table()
    assert table["raw"].null_count == 600
    assert len(table) == 1200
    night(config.load("p", overrides={"model.version": 1}), DAYS[2])  # and back again


@pytest.mark.parametrize("encoding", [DOUBLE, OTHER])
def test_added_is_no_other_type_and_no_other_name(project: Project, encoding: object) -> None:
    loaded = project(output__evolve="add")
    night(loaded, DAYS[0])
    register(loaded, encoding=encoding, alias="champion")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="not both at once and not with other types"):
        planned(loaded, DAYS[1])


@pytest.mark.parametrize("encoding", [DOUBLE, OTHER, TWO])
def test_replaced_each_night_has_the_columns_of_its_model(
    project: Project, encoding: object
) -> None:
    loaded = project(output__evolve="replace")
    night(loaded, DAYS[0])
    register(loaded, encoding=encoding, alias="champion")  # type: ignore[arg-type]
    assert "output.evolve: replace" in planned(loaded, DAYS[1])
    assert night(loaded, DAYS[1]).rows_published == 600


def test_a_lake_table_is_altered_by_its_own_means(project: Project) -> None:
    with pytest.raises(ConfigError, match="ALTER TABLE"):
        project(output__evolve="add", output__format="delta")
