"""Canaries and splits: which model scores a key, and what becomes of one that fails."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import cloudpickle
import mlflow
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import torch
import yaml
from typer.testing import CliRunner

from conftest import ENCODING, Other, sample
from nocturne import config, contract
from nocturne.cli import app
from nocturne.cli.answers import judge_answer
from nocturne.columns.shares import share_hashes, up_to
from nocturne.contract import log_torch_model
from nocturne.encoding import Encoding, Feature, OutputSpec
from nocturne.errors import (
    ConfigError,
    Held,
    InputChanged,
    NocturneError,
    RetryableError,
    StoreUnavailable,
)
from nocturne.model.tracking import connect, experiment_id
from nocturne.objects import local
from nocturne.operate.challengers import compared
from nocturne.operate.decisions import approve_held
from nocturne.operate.gc import collect
from nocturne.operate.verify import verify_partition
from nocturne.pipeline import challengers as challengers_of_driver
from nocturne.pipeline import open_run, prepare
from nocturne.pipeline.challengers import drop_unfit_arms, without_arms
from nocturne.pipeline.places import Places
from nocturne.pipeline.publishing import approve, publish_run
from nocturne.pipeline.recording import judge_run
from nocturne.pipeline.runs import in_effect
from nocturne.pipeline.scoring import score
from nocturne.records.arms import Stopped
from nocturne.records.manifest import Manifest
from nocturne.store.record_files import read
from nocturne.store.run import Run
from nocturne.worker import arms as arms_of_worker
from nocturne.worker.slots import OF_RUN
from nocturne.worker.tasks import score_items
from pipeline.conftest import other_logged, run_of, shift
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


def register(
    loaded: config.Loaded,
    model: torch.nn.Module | None = None,
    encoding: Encoding = ENCODING,
    alias: str = "challenger",
    data: pa.Table | None = None,
) -> None:
    """A further version of the champion's model."""
    client = connect(f"sqlite:///{loaded.home / 'var' / 'mlflow' / 'mlflow.db'}")
    experiment = experiment_id(client, "training")
    if model is None and encoding is ENCODING and data is None:
        contract.register(other_logged(client), "small", alias=alias)
        return
    mlflow.set_experiment(experiment_id=experiment)
    log_torch_model(
        model or Other(),
        encoding,
        sample(600, 5) if data is None else data,
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


class Dying:
    """An executor: first an arm fails, then it dies itself."""

    name = "dying"

    def __init__(self) -> None:
        self.calls = 0

    def score(self, runs: Sequence[Run], progress: object = None) -> dict[str, NocturneError]:
        self.calls += 1
        for run in runs if self.calls == 1 else ():
            run.drop_challenger("it failed")
        raise RetryableError("the application died")


def planned(loaded: config.Loaded, day: str = DAY, **options: Any) -> Run:
    run = prepare(loaded, config.partition(loaded.pipeline.input.partition, day), **options).run
    assert run is not None
    return run


def with_scores(run: Run) -> Run:
    """The run, as workers leave it."""
    items = [(run.uri, split.index) for split in run.plan.splits]
    assert list(score_items(items, lambda _: OF_RUN)) == []
    return run


def test_what_can_not_be_scored_after_a_drop_is_an_error_of_the_planned_run(
    project: Project,
) -> None:
    loaded = project(**FIXED)
    register(loaded)
    run = planned(sharing(loaded, canary=canary()))
    failures = score([run], by=Dying())  # type: ignore[arg-type]
    assert {uri: str(error) for uri, error in failures.items()} == {run.uri: "the application died"}
    assert run.error_file.is_file()


def test_once_all_of_it_is_scored_its_arms_stay(project: Project) -> None:
    loaded = project(**FIXED)
    register(loaded)
    loaded = sharing(loaded, canary=canary())
    run = with_scores(planned(loaded, hold="look at it"))
    begun = run.begun_file(run.plan.splits[0])  # a second attempt that was killed
    begun.parent.mkdir(exist_ok=True)
    local(begun).touch()
    assert score([run], by=Dying()) == {}  # type: ignore[arg-type]
    run.drop_challenger("a straggler took too long")
    assert in_effect(run) == run
    judge_run(run)
    with pytest.raises(Held):
        publish_run(run)
    manifest = approve_held(loaded, run.plan.partition, "ada")
    assert manifest.arms is not None
    assert manifest.arms.out == ""
    assert prepare(loaded, run.plan.partition).action == "nothing"


def test_a_drop_as_the_last_split_ends_has_the_night_scored_without_it(project: Project) -> None:
    loaded = project(**FIXED, spark__master="none[2]")
    register(loaded)
    run = with_scores(planned(sharing(loaded, canary=canary())))
    run.drop_challenger("a straggler took too long")  # before it is known to be whole
    assert score([run], master="none[2]") == {}
    instead = in_effect(run)
    assert instead != run
    assert instead.is_scored
    judge_run(instead)
    manifest = publish_run(instead)
    assert manifest.arms is not None
    assert manifest.arms.out == "failed"


def test_two_commands_at_once_drop_nothing_that_lives(project: Project) -> None:
    loaded = project(**FIXED)
    register(loaded)
    run = planned(sharing(loaded, canary=canary()))
    other = subprocess.Popen(["sleep", "60"])
    own = run.begun_file(run.plan.splits[0])
    begun = own.with_name(own.name.replace(f"@{os.getpid()}@", f"@{other.pid}@"))
    begun.parent.mkdir()
    local(begun).touch()
    assert without_arms([run]) == {}
    other.kill()
    other.wait()
    assert list(without_arms([run])) == [run.uri]


@pytest.mark.parametrize("arms", [False, True])
def test_a_challenger_goes_on_beside_it_through_requeues_and_late_data(
    project: Project, arms: bool
) -> None:
    loaded = project(**FIXED, quality__max_quarantined=0.5)
    register(loaded)
    with_bad_rows(loaded, [3])
    loaded = challenged(loaded, {"alias": "challenger"})
    night(loaded)
    for percent in (5, 30) if arms else ():
        loaded = sharing(loaded, canary=canary(percent))
        night(loaded)
    beside = config.load("p@challenger")
    first, _ = scores(beside)
    assert first.number == 1
    night(loaded, requeue=True)
    again, _ = scores(beside)
    assert again.number == 2
    pq.write_table(sample(100, 9, 600), loaded.home / "data" / f"ds={DAY}" / "part-1.parquet")
    night(loaded)
    late, rows = scores(beside)
    assert (late.number, len(rows)) == (3, 699)
    assert replayed(beside) == {"bit-equal"}
    [found] = compared(loaded, [late.partition])
    assert found.comparison is not None
    assert found.comparison.rows == 699


def test_without_it_a_night_never_has_the_key_of_an_earlier_one(project: Project) -> None:
    loaded = project(**FIXED, spark__master="none[2]")
    first = by_command(loaded)
    second = night(loaded, force=True)
    third = by_command(sharing(loaded, canary=register_python(loaded, "bad", lacking)))
    assert third.id == second.id != first.id  # it is what the canary would have replaced


def test_a_requeue_that_loses_its_arms_can_be_planned_again(project: Project) -> None:
    loaded = project(**FIXED, spark__master="none[2]", quality__max_quarantined=0.5)
    register(loaded)
    with_bad_rows(loaded, [3])
    loaded = sharing(loaded, canary=canary())
    night(loaded)
    run = planned(loaded, requeue=True)
    run.drop_challenger("it failed")
    instead = in_effect(run)
    assert planned(loaded, requeue=True) == instead
    assert score([instead], master="none[2]") == {}
    judge_run(instead)
    assert publish_run(instead).rows_quarantined == 1


@pytest.mark.parametrize("record", ["stopped", "dropped"])
def test_a_damaged_record_takes_it_out_and_costs_no_night(project: Project, record: str) -> None:
    loaded = project(**FIXED)
    register(loaded)
    loaded = sharing(loaded, canary=canary())
    places = {
        "stopped": Places.of(loaded).state.stopped("canary"),
        "dropped": planned(loaded).dropped_file,
    }
    places[record].parent.mkdir(parents=True, exist_ok=True)
    local(places[record]).write_text("{")
    manifest = night(loaded)
    assert manifest.arms is not None
    assert manifest.arms.out
    assert str(places[record]) in manifest.arms.dropped


def test_gc_keeps_both_runs_of_a_night_that_is_needed(project: Project) -> None:
    loaded = project(**FIXED, spark__master="none[2]")
    bad = register_python(loaded, "bad", lacking) | {"stop_on": NEVER}
    loaded = sharing(loaded, canary=bad)
    given = planned(loaded, hold="look at it")
    collect(loaded, 0, True)  # not the one that may have to take its place
    assert score([given], master="none[2]") == {}
    judge_run(open_run(given.uri))
    with pytest.raises(Held):
        publish_run(open_run(given.uri))
    collect(loaded, 0, True)
    run = open_run(given.uri)  # as Airflow's tasks open it
    assert planned(loaded) == run
    approve(run, "ada")
    assert publish_run(run).rows_published == 600


def test_a_stop_by_hand_is_for_every_version_and_one_by_a_rule_for_every_name(
    project: Project,
) -> None:
    loaded = project(**FIXED)
    register(loaded)
    loaded = sharing(loaded, canary=canary())
    CliRunner().invoke(app, ["canary", "p", "--stop"])  # before it has scored a night, too
    register(loaded, Other(12))
    assert _out(night(loaded)) == "stopped"
    CliRunner().invoke(app, ["canary", "p", "--resume"])
    assert prepare(loaded, planned(loaded, "2024-01-02").plan.partition).action == "score"
    partition = config.partition(loaded.pipeline.input.partition, DAY)
    assert prepare(loaded, partition).action == "nothing"  # what is published stays
    strict = canary(stop_on=NEVER | {"difference": 1e-6})
    assert _out(night(sharing(loaded, canary=strict), "2024-01-03")) == ""
    del strict["alias"]
    other_name = sharing(loaded, canary=strict | {"version": 3})
    assert _out(night(other_name, "2024-01-04")) == "stopped"


def _out(manifest: Manifest) -> str:
    assert manifest.arms is not None
    return manifest.arms.out


def test_one_arm_that_is_stopped_takes_out_a_split_whatever_becomes_of_the_others(
    project: Project,
) -> None:
    loaded = project(**FIXED)
    register(loaded, alias="b")
    register(loaded, Other(12), alias="c")
    rules = NEVER | {"difference": 1e-6}
    halves = {"name": "s", "key": "id", "arms": {"b": 20, "c": 20}, "stop_on": rules}
    night(sharing(loaded, split=halves))
    register(loaded, Other(13), alias="c")
    assert _out(night(config.load("p"), "2024-01-02")) == "stopped"


def vast(rows: pd.DataFrame) -> Any:
    return rows.y * 0 + 1e200


def test_a_difference_that_can_not_be_told_stops_it(project: Project) -> None:
    loaded = project()
    for function in (lambda rows: rows.y * 1.0, vast):
        log_model(loaded, "wide", Plain(function))
    path = loaded.home / "conf" / "pipelines" / "p.yaml"
    tree = yaml.safe_load(path.read_text())
    model = {"name": "wide", "version": 1, "allow_pickle": True, "outputs": {"score": "double"}}
    path.write_text(yaml.safe_dump(tree | {"model": model}))
    arm = {"version": 2, "allow_pickle": True, "percent": 20, "key": "id"}
    rules = {"stop_on": NEVER | {"difference": 0.1}}
    manifest = night(sharing(config.load("p"), canary=arm | rules))
    assert manifest.arms is not None
    assert "can't be told" in manifest.arms.stops


def test_a_file_that_changes_is_not_its_fault(project: Project) -> None:
    loaded = project(**FIXED)
    register(loaded)
    loaded = sharing(loaded, canary=canary())
    run = planned(loaded)
    path = loaded.home / "data" / f"ds={DAY}" / "part-0.parquet"
    path.write_bytes(path.read_bytes())
    os.utime(path, (1, 1))
    [failure] = score([run], master="none[2]").values()
    assert isinstance(failure, InputChanged)
    assert run.dropped() is None
    assert planned(loaded).plan.arms is not None


def mark(rows: pd.DataFrame) -> Any:
    Path(os.environ["MARK"]).touch()
    return rows.y.astype("float32")


def test_a_permission_to_run_code_is_for_one_model(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = project(**FIXED, spark__master="none[2]")
    monkeypatch.setenv("MARK", str(loaded.home / "mark"))
    arm = register_python(loaded, "evil", mark)
    del arm["allow_pickle"]
    log_model(loaded, "good", Plain(lambda rows: rows.y.astype("float32")))
    path = loaded.home / "conf" / "pipelines" / "p.yaml"
    tree = yaml.safe_load(path.read_text())
    model = {"name": "good", "version": 1, "allow_pickle": True, "outputs": {"score": "float"}}
    beside = {"called": "evil", "name": "evil", "version": 2, "outputs": {"score": "float"}}
    path.write_text(yaml.safe_dump(tree | {"model": model, "challengers": [beside]}))
    loaded = sharing(config.load("p"), canary=arm)
    run = planned(loaded)
    assert run.plan.arms is None
    assert "may be code" in run.challenged().left_out["evil"]
    assert not (loaded.home / "mark").exists()
    loaded = sharing(loaded, canary=arm | {"allow_pickle": True})
    manifest = by_command(loaded)
    assert _out(manifest) == ""
    assert (loaded.home / "mark").exists()


def test_keys_that_come_as_floats_stay_where_they_are(project: Project) -> None:
    """pandas writes whole numbers with one null among them as float64."""
    loaded = project(**FIXED, quality__max_quarantined=0.5)
    register(loaded)
    loaded = sharing(loaded, canary=canary())
    night(loaded)
    _, one = scores(loaded)
    path = loaded.home / "data" / f"ds={DAY}" / "part-0.parquet"
    table = pq.read_table(path, partitioning=None)
    ids = [None if i == 3 else float(i) for i in table["id"].to_pylist()]
    changed = table.set_column(0, "id", pa.array(ids, pa.float64()))
    pq.write_table(changed, path, row_group_size=250)
    night(loaded)
    _, two = scores(loaded)
    before, after = (
        dict(zip(*(table[name].to_pylist() for name in ("id", "model_version")), strict=True))
        for table in (one, two)
    )
    assert after == {float(i): version for i, version in before.items() if i != 3}


def test_a_rule_adds_to_what_is_stopped_and_never_takes_from_it(project: Project) -> None:
    loaded = project(**FIXED)
    register(loaded)
    strict = canary(stop_on=NEVER | {"difference": 1e-6})
    loaded = sharing(loaded, canary=strict)
    place = Places.of(loaded).state.stopped("canary")
    night(loaded)
    first = read(Stopped, place).models
    register(loaded, Other(12))  # another version begins anew, and is stopped too
    night(loaded, "2024-01-02")
    both = read(Stopped, place).models
    assert both[:1] == first
    assert len(both) == 2
    run = with_scores(planned(sharing(loaded, canary=canary(salt="x")), "2024-01-03", force=True))
    assert run.plan.arms is None
    place.unlink()
    run = with_scores(planned(loaded, "2024-01-03"))
    CliRunner().invoke(app, ["canary", "p", "--stop", "--by", "ada"])
    judge_run(run)
    publish_run(run)
    assert read(Stopped, place).by == "ada"


def test_a_run_that_lost_results_since_it_was_whole_may_lose_its_arms(project: Project) -> None:
    loaded = project(**FIXED, spark__master="none[2]")
    bad = register_python(loaded, "bad", lacking)
    run = planned(sharing(loaded, canary=bad), hold="look at it")
    run.keep_arms()  # as if it had been whole
    assert score([run], master="none[2]") == {}
    assert in_effect(run) != run


@pytest.mark.parametrize("where", ["worker", "driver"])
def test_a_store_that_does_not_answer_is_not_its_fault(
    project: Project, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    loaded = project(**FIXED)
    register(loaded)
    run = planned(sharing(loaded, canary=canary()))

    def away(*given: Any, **more: Any) -> Any:
        raise StoreUnavailable("it does not answer")

    if where == "worker":
        monkeypatch.setattr(arms_of_worker, "load_model", away)
        items = [(run.uri, split.index) for split in run.plan.splits]
        [(_, kind, message), *_] = score_items(items, lambda _: OF_RUN)
        assert (kind, message) == ("StoreUnavailable", "it does not answer")
        monkeypatch.undo()
    else:
        monkeypatch.setattr(challengers_of_driver, "require_arms", away)
        drop_unfit_arms([run])
    assert run.dropped() is None
    assert with_scores(run).is_scored


def nothing(rows: pd.DataFrame) -> Any:
    return pd.Series([None] * len(rows), dtype="float32")


def test_where_only_it_has_a_null_the_champions_score_stands(project: Project) -> None:
    loaded = project(**FIXED, output__nullable=["score"])
    night(loaded)
    _, champion = scores(loaded)
    loaded = sharing(loaded, canary=register_python(loaded, "nothing", nothing))
    manifest = night(loaded)
    _, rows = scores(loaded)
    assert rows.equals(champion)
    assert manifest.arms is not None
    [arm] = manifest.arms.arms
    assert (arm.rows, arm.failed) == (0, sum(in_share(rows["id"].to_pylist())))
    assert "has no score for" in manifest.arms.stops


def test_gc_removes_what_a_dropped_run_has_scored(project: Project) -> None:
    loaded = project(**FIXED, spark__master="none[2]")
    loaded = sharing(loaded, canary=register_python(loaded, "bad", lacking))
    given = planned(loaded)
    assert score([given], master="none[2]") == {}
    instead = open_run(given.uri)
    judge_run(instead)
    publish_run(instead)
    local(given.attempts).mkdir(exist_ok=True)
    (local(given.attempts) / "part.parquet").touch()
    collect(loaded, 0, True)
    assert not given.attempts.is_dir()
    assert open_run(given.uri) == instead


def test_a_requeue_takes_the_arms_that_scored_the_night(project: Project) -> None:
    loaded = project(**FIXED, quality__max_quarantined=0.5)
    register(loaded)
    with_bad_rows(loaded, [3])
    loaded = sharing(loaded, canary=canary())
    first = night(loaded)
    register(loaded, Other(12))  # the alias moves
    again = night(sharing(loaded), requeue=True)  # and the canary is taken out
    assert first.arms is not None
    assert again.arms is not None
    assert again.arms.arms == first.arms.arms
    assert scores(loaded)[1].num_rows == 599


def test_a_hold_that_a_person_asked_for_stops_nothing(project: Project) -> None:
    loaded = project(**FIXED)
    register(loaded)
    rules = NEVER | {"verdict": "hold"}
    run = with_scores(planned(sharing(loaded, canary=canary(stop_on=rules)), hold="look at it"))
    judge_run(run)
    assert not Places.of(loaded).state.stopped("canary").exists()


def test_a_challenger_is_not_scored_again_where_a_canary_is_added(project: Project) -> None:
    loaded = project(**FIXED)
    register(loaded)
    loaded = challenged(loaded, {"alias": "challenger"})
    night(loaded)
    night(loaded, force=True)
    before, _ = scores(config.load("p@challenger"))
    night(sharing(loaded, canary=canary()))
    after, _ = scores(config.load("p@challenger"))
    assert after.id == before.id


def test_a_feature_of_that_name_is_profiled_as_it_is(project: Project) -> None:
    loaded = project(**FIXED)
    path = loaded.home / "data" / f"ds={DAY}" / "part-0.parquet"
    rows = pq.read_table(path, partitioning=None)
    rows = rows.append_column("model_version", pc.multiply(rows["y"], 100.0))
    pq.write_table(rows, path, row_group_size=250)
    numbers = replace(
        ENCODING.inputs[0], features=(Feature("x", fill=0.5), Feature("model_version"))
    )
    encoding = replace(ENCODING, inputs=(numbers, ENCODING.inputs[1]))
    data = sample(600, 5)
    data = data.append_column("model_version", data["y"])
    for alias, seed in (("champion", 11), ("challenger", 12)):
        register(loaded, Other(seed), encoding, alias, data)
    alone = run_of(loaded, night(loaded)).profile
    mixed = run_of(loaded, night(sharing(loaded, canary=canary()))).profile
    assert mixed.columns["model_version"] == alone.columns["model_version"]


def test_a_damaged_note_is_made_again(project: Project) -> None:
    loaded = project(**FIXED)
    register(loaded)
    run = with_scores(planned(sharing(loaded, canary=canary())))
    local(run.arms_file).write_text("{")
    judge_run(run)
    manifest = publish_run(run)
    assert manifest.arms is not None
    assert manifest.arms.arms[0].rows
