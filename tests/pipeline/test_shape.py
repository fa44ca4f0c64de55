"""A model with other predictions than the table's last night: refused, or let in as asked for."""

from __future__ import annotations

from dataclasses import replace

import pyarrow.dataset as ds
import pytest
import yaml

from conftest import ENCODING
from nocturne import config
from nocturne.encoding import OutputSpec
from nocturne.errors import ConfigError, Held
from nocturne.operate.decisions import approve_held
from nocturne.pipeline import prepare
from nocturne.pipeline.publishing import publish_run
from nocturne.pipeline.recording import judge_run
from nocturne.worker.split import run_split
from pipeline.test_arms import register
from pipeline.test_challengers import Project, challenged, night, published

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


def test_a_lake_table_has_one_schema(project: Project) -> None:
    with pytest.raises(ConfigError, match="ALTER TABLE"):
        project(output__evolve="replace", output__format="delta")


def test_a_type_that_nights_before_the_last_had_counts_too(project: Project) -> None:
    loaded = project(output__evolve="add")
    register(loaded, encoding=TWO, alias="champion")
    night(loaded, DAYS[0])
    night(config.load("p", overrides={"model.version": 1}), DAYS[1])  # without the column raw
    raw = replace(TWO.outputs[1], type="float64")
    register(loaded, encoding=replace(TWO, outputs=(SCORE, raw)), alias="champion")
    with pytest.raises(ConfigError, match="with other types"):
        planned(loaded, DAYS[2])


def test_what_was_planned_before_another_shape_is_not_published_after_it(project: Project) -> None:
    loaded = project()
    partitions = [config.partition(loaded.pipeline.input.partition, day) for day in DAYS[:2]]
    held = prepare(loaded, partitions[0], hold="look at it").run
    assert held is not None
    for piece in held.plan.splits:
        run_split(held, piece)
    judge_run(held)
    with pytest.raises(Held):
        publish_run(held)
    register(loaded, encoding=OTHER, alias="champion")
    night(loaded, DAYS[1])
    with pytest.raises(ConfigError, match="predicts score: float; the night of 2024-01-02"):
        approve_held(loaded, partitions[0], "ada")
    assert held.approval() is None


def test_a_night_may_be_scored_again_in_its_own_shape(project: Project) -> None:
    loaded = project(output__evolve="replace")
    night(loaded, DAYS[0])
    register(loaded, encoding=OTHER, alias="champion")
    night(loaded, DAYS[1])
    path = loaded.home / "conf" / "pipelines" / "p.yaml"
    tree = yaml.safe_load(path.read_text())
    del tree["output"]["evolve"]
    path.write_text(yaml.safe_dump(tree))
    night(config.load("p"), DAYS[1], force=True)


def test_a_challenger_may_change_its_predictions(project: Project) -> None:
    loaded = project()
    register(loaded, alias="challenger")
    loaded = challenged(loaded, {"alias": "challenger"})
    night(loaded, DAYS[0])
    register(loaded, encoding=OTHER, alias="challenger")
    night(loaded, DAYS[1])
    manifest, rows = published(config.load("p@challenger"), DAYS[1])
    assert manifest is not None
    assert rows is not None
    assert rows.schema.names == ["id", "risk", "model_version"]
