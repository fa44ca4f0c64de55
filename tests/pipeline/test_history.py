"""Which published nights drift is compared with, and what a person says of one."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import mlflow
import pyarrow as pa
import pytest
from typer.testing import CliRunner

from conftest import ENCODING, Small, sample
from nocturne import config
from nocturne.cli import app
from nocturne.config import Loaded
from nocturne.contract import log_torch_model
from nocturne.model.tracking import connect
from nocturne.operate.decisions import roll_back
from nocturne.pipeline.baselines import keys_before
from nocturne.pipeline.recording import judge_run
from nocturne.records.manifest import Manifest
from pipeline.conftest import DAYS, judgement_of, night_of, scored, shift

MakeProject = Callable[..., Loaded]


@pytest.fixture
def drifted(project: MakeProject, tmp_path: Path) -> tuple[Loaded, Manifest]:
    """A project whose first night is published and has drifted."""
    loaded = project()
    shift(tmp_path, DAYS[0], "x", 0.25)
    return loaded, night_of(loaded, DAYS[0])


def test_drift_of_a_published_night_is_ordinary_once_it_is_accepted(
    drifted: tuple[Loaded, Manifest],
) -> None:
    loaded, night = drifted
    assert night.verdict_of("drift") == "warn"
    columns = judgement_of(loaded, night).drift.columns
    moved = {feature.column: feature.psi for feature in columns if feature.alarmed}
    assert set(moved) == set(night.drifted)
    assert judge_run(scored(loaded, DAYS[1])).drift.history == ()

    answered = CliRunner().invoke(app, ["accept", "p", "--date", DAYS[0], "--by", "ada"])
    assert answered.exit_code == 0, answered.output
    judged = judge_run(scored(loaded, DAYS[2]))
    assert judged.drift.history == (f"{DAYS[0]}:{night.id}",)
    now = {feature.column: feature.threshold for feature in judged.drift.columns}
    assert all(now[column] >= psi for column, psi in moved.items())

    calm = night_of(loaded, DAYS[3])
    assert calm.verdict_of("drift") == "ok"
    refused = CliRunner().invoke(app, ["accept", "p", "--date", DAYS[3]])
    assert refused.exit_code == 1
    assert "did not drift, and its rows are as many as ever" in " ".join(refused.output.split())


def test_a_night_that_is_rolled_back_to_is_not_accepted_by_that(
    drifted: tuple[Loaded, Manifest],
) -> None:
    loaded, first = drifted
    night_of(loaded, DAYS[0], force=True)
    restored = roll_back(loaded, first.partition, None, "ada")
    assert restored.approved_by == "ada"
    assert judge_run(scored(loaded, DAYS[1])).drift.history == ()
    note = scored(loaded, DAYS[0]).state.accepted(first.id)
    note.parent.mkdir()
    note.write_text("{}")
    assert judge_run(scored(loaded, DAYS[2])).drift.history == (f"{DAYS[0]}:{restored.id}",)


def test_a_night_scored_again_is_compared_with_the_same_nights(
    project: MakeProject, tmp_path: Path
) -> None:
    loaded = project(drift__baseline={"first": DAYS[0], "last": DAYS[4]})
    published = [night_of(loaded, DAYS[0]), night_of(loaded, DAYS[1])]
    first = judgement_of(loaded, night_of(loaded, DAYS[2])).drift
    assert first.baseline == tuple(f"{n.partition.key}:{n.id}" for n in published)
    night_of(loaded, DAYS[3])
    again = judgement_of(loaded, night_of(loaded, DAYS[2], force=True)).drift
    assert again.baseline == first.baseline
    assert {f.column: (f.psi, f.threshold) for f in again.columns} == {
        f.column: (f.psi, f.threshold) for f in first.columns
    }


def test_past_weeks_are_found_by_their_date(project: MakeProject, tmp_path: Path) -> None:
    assert keys_before("2024-01-24T05", 2) == ["2024-01-10T05", "2024-01-17T05"]
    assert keys_before("all", 2) == []
    data, later = tmp_path / "data", "2024-01-08"
    loaded = project(drift__baseline={"weeks": 2})
    shutil.copytree(data / f"ds={DAYS[1]}", data / f"ds={later}")
    for day in DAYS[:2]:
        night_of(loaded, day)
    assert judge_run(scored(loaded, later)).drift.reference == "the same weekday of 1 past weeks"


@pytest.mark.parametrize("wanted", [{"first": DAYS[0], "last": DAYS[1]}, {"weeks": 2}])
def test_nights_of_another_model_are_not_compared_with(
    project: MakeProject, tmp_path: Path, wanted: dict[str, object]
) -> None:
    loaded = project(drift__baseline=wanted)
    later = "2024-01-08"
    shutil.copytree(tmp_path / "data" / f"ds={DAYS[1]}", tmp_path / "data" / f"ds={later}")
    for day in DAYS[:2]:
        night_of(loaded, day)
    connect(f"sqlite:///{tmp_path / 'var' / 'mlflow' / 'mlflow.db'}")
    mlflow.set_experiment("training")
    data = pa.concat_tables([sample(600, 50), sample(600, 51)])
    days = ["2023-12-01"] * 600 + ["2023-12-02"] * 600
    log_torch_model(
        Small(),
        ENCODING,
        data,
        name="small",
        partitions=days,
        registered_model_name="small",
        alias="champion",
    )
    judged = judge_run(scored(config.load("p"), later))
    assert judged.drift.reference.startswith("the model's own training data: the ")
    assert judged.drift.reference.endswith(" were scored by another model")
    assert {feature.column for feature in judged.drift.columns} == {"x", "y", "word", "score"}
