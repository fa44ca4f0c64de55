"""Canaries and splits: which model scores a key, and what becomes of one that fails."""

from __future__ import annotations

import json
import re
import shutil
import sys
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import cloudpickle
import mlflow
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
import yaml
from typer.testing import CliRunner

from conftest import ENCODING, Small, sample
from nocturne import config
from nocturne.cli import app
from nocturne.cli.answers import judge_answer
from nocturne.columns.shares import share_hashes, up_to
from nocturne.contract import log_torch_model
from nocturne.encoding import Encoding, Feature, OutputSpec
from nocturne.errors import ConfigError
from nocturne.model.tracking import connect, experiment_id
from nocturne.objects import local
from nocturne.operate.verify import verify_partition
from nocturne.pipeline import prepare
from nocturne.pipeline.places import Places
from nocturne.records.arms import Stopped
from nocturne.records.manifest import Manifest
from nocturne.store.record_files import read
from pipeline.conftest import run_of, shift
from pipeline.pyfuncs import Predict, log_model
from pipeline.test_challengers import (
    DAY,
    FIXED,
    Plain,
    Project,
    by_command,
    challenged,
    night,
    published,
    with_bad_rows,
)

cloudpickle.register_pickle_by_value(sys.modules[__name__])  # the workers have no tests


def sharing(loaded: config.Loaded, **section: Any) -> config.Loaded:
    """The pipeline with a canary or a split in its YAML."""
    path = loaded.home / "conf" / "pipelines" / "p.yaml"
    tree = yaml.safe_load(path.read_text())
    for name in ("canary", "split"):
        tree.pop(name, None)
    path.write_text(yaml.safe_dump(tree | section))
    return config.load("p")


NEVER = {"failed": None, "drift": False, "verdict": None}


def canary(percent: float = 20, **more: Any) -> dict[str, Any]:
    return {"alias": "challenger", "percent": percent, "key": "id", "stop_on": NEVER, **more}


class Other(Small):
    """The champion with other weights."""

    def __init__(self, seed: int = 11) -> None:
        super().__init__()
        torch.manual_seed(seed)
        torch.nn.init.normal_(self.dense.weight)


def register(
    loaded: config.Loaded,
    model: torch.nn.Module | None = None,
    encoding: Encoding = ENCODING,
    alias: str = "challenger",
) -> None:
    """A further version of the champion's model."""
    client = connect(f"sqlite:///{loaded.home / 'var' / 'mlflow' / 'mlflow.db'}")
    mlflow.set_experiment(experiment_id=experiment_id(client, "training"))
    log_torch_model(
        model or Other(),
        encoding,
        sample(600, 5),
        name="small",
        registered_model_name="small",
        alias=alias,
    )


def register_python(loaded: config.Loaded, name: str, function: Predict) -> dict[str, Any]:
    """Register a PythonModel as version 2 of another name; returns it as an arm."""
    for _ in range(2):
        log_model(loaded, name, Plain(function))
    arm = {"called": name, "name": name, "version": 2, "allow_pickle": True}
    rules = {"stop_on": NEVER | {"failed": 0.01}}
    return arm | {"outputs": {"score": "float"}, "percent": 20, "key": "id"} | rules


def in_share(ids: list[int], percent: float = 20, salt: str = "") -> list[bool]:
    hashes = share_hashes([pa.array(ids, pa.int64())], salt)
    return (hashes < up_to(percent)).tolist()


def scores(loaded: config.Loaded, day: str = DAY) -> tuple[Manifest, pa.Table]:
    manifest, rows = published(loaded, day)
    assert manifest is not None
    assert rows is not None
    return manifest, rows


def replayed(loaded: config.Loaded, day: str = DAY) -> set[str]:
    """Verifies a day, and scores all of it again."""
    partition = config.partition(loaded.pipeline.input.partition, day)
    verified = verify_partition(loaded, partition, replay=None)
    assert verified.ok, verified
    return {replay.outcome for replay in verified.replayed}


def test_the_share_of_the_keys_has_the_other_models_scores_and_version(project: Project) -> None:
    loaded = project(**FIXED, quality__max_quarantined=0.5)
    register(loaded)
    with_bad_rows(loaded, [3, 300, 301])
    alone = night(loaded)
    _, champion = scores(loaded)
    loaded = challenged(loaded, {"alias": "challenger"})
    loaded = sharing(loaded, canary=canary())
    manifest = night(loaded)
    _, mixed = scores(loaded)
    _, challenger = scores(config.load("p@challenger"))
    assert mixed.schema.equals(champion.schema)
    ids = mixed["id"].to_pylist()
    share = in_share(ids)
    assert 80 < sum(share) < 160
    expected = [
        b if own else a for a, b, own in zip(*_lists(champion, challenger), share, strict=True)
    ]
    assert mixed["score"].to_pylist() == expected
    assert mixed["model_version"].to_pylist() == [2 if own else 1 for own in share]
    assert mixed["word"].equals(champion["word"])
    assert manifest.rows_quarantined == 3
    assert manifest.content_key != alone.content_key
    assert manifest.arms is not None
    [arm] = manifest.arms.arms
    assert (arm.name, arm.version, arm.percent, arm.rows, arm.failed) == (
        "challenger",
        2,
        20.0,
        sum(share),
        0,
    )
    distances = [
        abs(a - b) for a, b, own in zip(*_lists(champion, challenger), share, strict=True) if own
    ]
    assert arm.difference == pytest.approx(np.mean(distances), rel=1e-9)
    assert replayed(loaded) == {"bit-equal"}
    assert replayed(config.load("p@challenger")) == {"bit-equal"}


def _lists(*tables: pa.Table) -> list[list[float]]:
    return [table["score"].to_pylist() for table in tables]


def test_a_night_is_scored_again_only_if_the_shares_change(project: Project) -> None:
    loaded = project(**FIXED)
    register(loaded)
    loaded = sharing(loaded, canary=canary(5))
    partition = config.partition(loaded.pipeline.input.partition, DAY)
    first = night(loaded)
    _, few = scores(loaded)
    assert prepare(loaded, partition).action == "nothing"
    loaded = sharing(loaded, canary=canary(30))
    night(loaded)
    _, more = scores(loaded)
    versions = zip(few["model_version"].to_pylist(), more["model_version"].to_pylist(), strict=True)
    assert set(versions) == {(1, 1), (1, 2), (2, 2)}  # a higher share only adds keys
    alone = night(sharing(loaded))
    loaded = sharing(loaded, canary=canary(5))
    again = night(loaded)
    assert again.content_key == first.content_key
    assert [f.rows for f in again.outputs] == [f.rows for f in first.outputs]
    assert alone.arms is None
    assert scores(loaded)[1].equals(few)


def test_after_late_data_only_the_new_splits_are_scored(project: Project) -> None:
    loaded = project(**FIXED)
    register(loaded)
    loaded = sharing(loaded, canary=canary())
    night(loaded)
    late = sample(100, 9, 600)
    pq.write_table(late, loaded.home / "data" / f"ds={DAY}" / "part-1.parquet")
    run = prepare(loaded, config.partition(loaded.pipeline.input.partition, DAY)).run
    assert run is not None
    assert [split.file for split in run.unscored()] == ["part-1.parquet"]
    manifest = night(loaded)
    assert manifest.arms is not None
    assert manifest.arms.arms[0].rows == sum(in_share(list(range(700))))
    assert replayed(loaded) == {"bit-equal"}


def picky(rows: pd.DataFrame) -> Any:
    if (rows.id % 10 == 7).any():
        raise ValueError("not these")
    return rows.y.where(rows.id % 10 != 8).astype("float32")


def test_where_it_fails_on_a_row_the_champions_score_and_version_stand(project: Project) -> None:
    loaded = project(**FIXED)
    night(loaded)
    _, champion = scores(loaded)
    loaded = sharing(loaded, canary=register_python(loaded, "picky", picky))
    manifest = night(loaded)
    _, rows = scores(loaded)
    for own, row, before in zip(
        in_share(rows["id"].to_pylist()), rows.to_pylist(), champion.to_pylist(), strict=True
    ):
        if own and row["id"] % 10 not in (7, 8):
            assert row["model_version"] == 2
        else:
            assert row == before
    assert manifest.rows_quarantined == 0
    assert manifest.arms is not None
    [arm] = manifest.arms.arms
    assert arm.failed > 10
    assert arm.rows + arm.failed == sum(in_share(rows["id"].to_pylist()))
    assert f"has no score for {arm.failed} of" in manifest.arms.stops


def test_it_is_out_of_the_nights_after_one_on_which_a_rule_stops_it(project: Project) -> None:
    loaded = project(**FIXED)
    loaded = sharing(loaded, canary=register_python(loaded, "picky", picky))
    first = night(loaded)
    second = night(loaded, "2024-01-02")
    assert second.arms is not None
    assert second.arms.out == "stopped"
    assert "picky has no score" in second.arms.dropped
    assert {*scores(loaded, "2024-01-02")[1]["model_version"].to_pylist()} == {1}
    partition = config.partition(loaded.pipeline.input.partition, DAY)
    assert prepare(loaded, partition).action == "nothing"  # what was published with it stays
    assert scores(loaded)[0].run_key == first.run_key
    record = Places.of(loaded).state.stopped("canary")
    assert read(Stopped, record).why.startswith(f"the night of {DAY}: picky has no score")
    record.unlink()
    tolerant = yaml.safe_load((loaded.home / "conf" / "pipelines" / "p.yaml").read_text())["canary"]
    third = night(sharing(loaded, canary=tolerant | {"stop_on": NEVER}), "2024-01-03")
    assert third.arms is not None
    assert (third.arms.out, third.arms.stops) == ("", "")
    assert third.arms.arms[0].rows


@pytest.mark.parametrize(
    ("rules", "why"),
    [
        ({"difference": 0.001}, "differ by"),
        ({"verdict": "warn"}, "its verdict is"),
        ({"drift": True}, "drift that a person should look at"),
    ],
)
def test_other_rules_stop_it_too(project: Project, rules: dict[str, Any], why: str) -> None:
    loaded = project(**FIXED)
    register(loaded)
    shift(loaded.home, DAY, by=30.0)
    manifest = night(sharing(loaded, canary=canary(stop_on=NEVER | rules)))
    assert manifest.arms is not None
    assert why in manifest.arms.stops


def lacking(rows: pd.DataFrame) -> Any:
    answers = rows.y.astype("float32")
    if threading.current_thread() is threading.main_thread() or not (rows.id > 300).any():
        return answers
    raise ModuleNotFoundError("No module named 'lacking'", name="lacking")


def test_if_it_ends_in_mid_night_the_whole_night_is_scored_without_it(project: Project) -> None:
    loaded = project(**FIXED, spark__master="none[2]")
    alone = night(loaded, "2024-01-02")
    before = by_command(loaded)
    shutil.rmtree(Places.of(loaded).output(before.partition).location)
    shutil.rmtree(Places.of(loaded).state.partition(before.partition).folder)
    loaded = sharing(loaded, canary=register_python(loaded, "bad", lacking))
    manifest = by_command(loaded)
    assert manifest.run_key == before.run_key  # as if there were no canary
    assert manifest.arms is not None
    assert (manifest.arms.out, "'lacking'" in manifest.arms.dropped) == ("failed", True)
    assert "it was dropped: bad: ModuleNotFoundError" in manifest.arms.stops
    assert [f.sha256 for f in manifest.outputs] == [f.sha256 for f in before.outputs]
    assert prepare(loaded, manifest.partition).action == "nothing"
    assert replayed(loaded) == {"bit-equal"}
    assert alone.arms is None


def test_dropped_once_it_is_tried_again_only_if_that_is_asked_for(project: Project) -> None:
    loaded = project(**FIXED, spark__master="none[2]")
    loaded = sharing(loaded, canary=register_python(loaded, "bad", lacking))
    by_command(loaded)
    Places.of(loaded).state.stopped("canary").unlink()
    run = prepare(loaded, config.partition(loaded.pipeline.input.partition, DAY), force=True).run
    assert run is not None
    assert run.plan.arms is not None
    assert run.dropped() is None


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"alias": "nobody"}, "has no alias 'nobody'"),
        ({"alias": "champion"}, "version 1 is selected twice"),
        ({"alias": "wide"}, "its predictions are other: double, and the champion's"),
        ({"alias": "missing"}, "column 'z' is missing"),
    ],
)
def test_what_can_not_be_prepared_is_left_out_with_the_reason(
    project: Project, given: dict[str, str], why: str
) -> None:
    loaded = project(**FIXED)
    alone = night(loaded)
    wide = replace(ENCODING, outputs=(OutputSpec("other", "sigmoid", "float64"),))
    numbers = replace(ENCODING.inputs[0], features=(Feature("x", fill=0.5), Feature("z")))
    if given["alias"] == "wide":
        register(loaded, encoding=wide, alias="wide")
    if given["alias"] == "missing":
        register_without(loaded, replace(ENCODING, inputs=(numbers, ENCODING.inputs[1])))
    loaded = sharing(loaded, canary=canary() | given)
    partition = config.partition(loaded.pipeline.input.partition, DAY)
    assert prepare(loaded, partition).action == "nothing"  # it is published as it would be
    assert scores(loaded)[0].run_key == alone.run_key
    other = night(loaded, "2024-01-02")
    assert other.arms is not None
    assert other.arms.out == "left out"
    assert why in other.arms.dropped
    assert not Places.of(loaded).state.stopped("canary").exists()


def register_without(loaded: config.Loaded, encoding: Encoding) -> None:
    client = connect(f"sqlite:///{loaded.home / 'var' / 'mlflow' / 'mlflow.db'}")
    mlflow.set_experiment(experiment_id=experiment_id(client, "training"))
    rows = sample(600, 5)
    data = rows.append_column("z", rows["y"])
    log_torch_model(
        Other(), encoding, data, name="small", registered_model_name="small", alias="missing"
    )


def test_an_arm_may_read_columns_that_the_champion_does_not(project: Project) -> None:
    loaded = project(**FIXED)
    path = loaded.home / "data" / f"ds={DAY}" / "part-0.parquet"
    rows = pq.read_table(path, partitioning=None)
    pq.write_table(rows.append_column("z", rows["y"]), path, row_group_size=250)
    numbers = replace(ENCODING.inputs[0], features=(Feature("x", fill=0.5), Feature("z")))
    register(loaded)
    register_without(loaded, replace(ENCODING, inputs=(numbers, ENCODING.inputs[1])))
    night(sharing(loaded, canary=canary()))
    _, first = scores(loaded)
    loaded = sharing(loaded, canary=canary(alias="missing"))
    manifest = night(loaded)
    _, second = scores(loaded)
    assert second["score"].equals(first["score"])  # z is y, and the weights are the same
    assert manifest.arms is not None
    assert {*second["model_version"].to_pylist()} == {1, 3}
    assert replayed(loaded) == {"bit-equal"}


def test_a_split_shares_all_keys_and_its_name_chooses_them(project: Project) -> None:
    loaded = project(**FIXED)
    register(loaded, alias="b")
    register(loaded, Other(12), alias="c")
    spring = {"name": "spring", "key": "id", "arms": {"champion": 40, "c": 30, "b": 30}}
    spring |= {"stop_on": NEVER}
    manifest = night(sharing(loaded, split=spring))
    _, rows = scores(loaded)
    hashes = share_hashes([rows["id"].combine_chunks()], "spring")
    expected = [2 if h < up_to(30) else 3 if h < up_to(60) else 1 for h in hashes]
    assert rows["model_version"].to_pylist() == expected
    assert manifest.arms is not None
    assert manifest.arms.name == "spring"
    assert [(a.name, a.percent, a.rows) for a in manifest.arms.arms] == [
        ("b", 30, expected.count(2)),
        ("c", 30, expected.count(3)),
    ]
    night(sharing(loaded, split=spring | {"name": "summer"}))
    assert scores(loaded)[1]["model_version"].to_pylist() != expected
    assert replayed(loaded) == {"bit-equal"}


def test_one_that_was_being_scored_when_a_process_died_is_dropped_but_not_stopped(
    project: Project,
) -> None:
    loaded = project(**FIXED, spark__master="none[2]")
    register(loaded)
    loaded = sharing(loaded, canary=canary())
    run = prepare(loaded, config.partition(loaded.pipeline.input.partition, DAY)).run
    assert run is not None
    begun = run.begun_file(run.plan.splits[0])
    begun.parent.mkdir()
    assert isinstance(begun, Path)
    begun.touch()
    manifest = by_command(loaded)
    assert manifest.arms is not None
    assert "a process ended while it scored them" in manifest.arms.dropped
    assert (manifest.arms.out, manifest.arms.stops) == ("suspected", "")
    other = night(loaded, "2024-01-02")
    assert other.arms is not None
    assert other.arms.out == ""


def test_the_command_shows_the_nights_and_takes_it_out_and_lets_it_go_on(project: Project) -> None:
    loaded = project(**FIXED)
    register(loaded)
    loaded = sharing(loaded, canary=canary())
    first = night(loaded)
    run = CliRunner().invoke
    assert run(app, ["canary", "p", "--resume"]).exit_code != 0  # it is not stopped
    stopped = run(app, ["canary", "p", "--stop", "--by", "ada", "--why", "odd", "--json"])
    found = json.loads(stopped.stdout)
    assert (found["stopped"]["by"], found["stopped"]["why"]) == ("ada", "odd")
    night(loaded, "2024-01-02")
    assert run(app, ["canary", "p", "--resume"]).exit_code == 0
    night(loaded, "2024-01-03")
    assert first.arms is not None
    [arm] = first.arms.arms
    nights = json.loads(run(app, ["canary", "p", "--json"]).stdout)["nights"]
    assert {day: (n["out"], n["arms"][0]["rows"]) for day, n in nights.items()} == {
        DAY: ("", arm.rows),
        "2024-01-02": ("stopped", 0),
        "2024-01-03": ("", sum(in_share(list(range(2000, 2600))))),
    }
    shown = run(app, ["canary", "p"]).stdout
    assert f"{arm.rows}" in shown
    assert "stopped: since" in shown
    assert "odd" in shown
    refused = run(app, ["canary", "p", "--stop", "--resume"])
    assert refused.exit_code != 0


def test_a_pipeline_without_one_says_so(project: Project) -> None:
    project()
    result = CliRunner().invoke(app, ["canary", "p"])
    assert result.exit_code != 0
    assert "has neither a canary nor a split" in result.output


def test_the_report_mlflow_and_the_answer_have_it(project: Project) -> None:
    loaded = project(**FIXED)
    register(loaded)
    loaded = sharing(loaded, canary=canary(stop_on=NEVER | {"difference": 0.001}))
    manifest = night(loaded)
    run = run_of(loaded, manifest)
    assert manifest.arms is not None
    [arm] = manifest.arms.arms
    page = str(local(run.report).read_text())
    assert '<h2 id="arms">Canary</h2>' in page
    assert f'<td class="n">{arm.rows:,}</td>' in page
    assert "It scores no more nights: the predictions of challenger differ by" in page
    client = connect(f"sqlite:///{loaded.home / 'var' / 'mlflow' / 'mlflow.db'}")
    logged = client.get_run(str(run.mlflow_run_id()))
    assert logged.data.metrics["arm.challenger.rows"] == arm.rows
    assert logged.data.metrics["arm.challenger.difference"] == pytest.approx(arm.difference)
    assert logged.data.tags["nocturne.arms"] == "canary: challenger (version 2, 20 %)"
    told = judge_answer(run, run.judgement()).arms
    assert told.startswith("canary: it scores no more nights: the predictions of challenger differ")


@pytest.mark.parametrize(
    ("sections", "why"),
    [
        ({"canary": canary(key="word")}, "canary.key: word is none of output.keys, which are id"),
        ({"canary": canary(percent=0)}, "greater than or equal to 0.001"),
        ({"canary": canary() | {"version": 2}}, "exactly one of alias, tags and version"),
        (
            {"split": {"name": "s", "key": "id", "arms": {"a": 60, "b": 50}}},
            "they are 110 percent, expected at most 100",
        ),
        (
            {"canary": canary(), "split": {"name": "s", "key": "id", "arms": {"a": 60}}},
            "give canary or split, not both",
        ),
    ],
)
def test_what_can_not_be_meant_is_refused(
    project: Project, sections: dict[str, Any], why: str
) -> None:
    loaded = project()
    with pytest.raises(ConfigError, match=re.escape(why)):
        sharing(loaded, **sections)
