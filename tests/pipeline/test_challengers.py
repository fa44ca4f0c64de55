"""Challengers: what they score, what they cost, and that none of them costs the night."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import cloudpickle
import mlflow
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
import yaml
from scipy import stats
from typer.testing import CliRunner

from conftest import ENCODING, Small, sample
from nocturne import config
from nocturne.cli import app
from nocturne.contract import log_torch_model
from nocturne.encoding import Encoding, Feature, OutputSpec, TensorSpec
from nocturne.model.tracking import connect, experiment_id
from nocturne.operate.challengers import compared
from nocturne.operate.reports import report_of
from nocturne.operate.verify import verify_partition
from nocturne.pipeline import prepare
from nocturne.pipeline.night import score_range
from nocturne.pipeline.places import Places
from nocturne.pipeline.publishing import publish_run
from nocturne.pipeline.recording import judge_run
from nocturne.profile.comparing import Comparer, figures, merged, spearman
from nocturne.records.comparison import Comparison
from nocturne.records.manifest import Manifest
from nocturne.store.run import Run
from nocturne.table import published_manifest
from nocturne.worker import split
from nocturne.worker.slots import OF_RUN
from nocturne.worker.tasks import challengers_of, score_items
from pipeline.conftest import run_of
from pipeline.pyfuncs import COLUMNS, Predict, log_model

cloudpickle.register_pickle_by_value(sys.modules[__name__])  # the workers have no tests

DAY = "2024-01-01"
Project = Callable[..., config.Loaded]
FIXED = {"scoring__kernel": "graph", "scoring__micro_batch": 64}
"""What a search may choose differently for two arms, in which their last bits would differ."""


class Plain(mlflow.pyfunc.PythonModel):  # type: ignore[misc]
    """Predicts by a function."""

    def __init__(self, function: Predict) -> None:
        self.function = function

    def predict(self, context, model_input, params=None):  # type: ignore[no-untyped-def]
        return self.function(model_input)


def challenged(loaded: config.Loaded, *challengers: dict[str, Any]) -> config.Loaded:
    """The pipeline with these challengers in its YAML."""
    path = loaded.home / "conf" / "pipelines" / "p.yaml"
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | {"challengers": challengers}))
    return config.load("p")


def register(
    loaded: config.Loaded, name: str, function: Predict, columns: Mapping[str, str] = COLUMNS
) -> dict[str, Any]:
    """Register a PythonModel; returns it as a challenger."""
    log_model(loaded, name, Plain(function), columns=columns)
    return {"called": name, "name": name, "version": 1, "allow_pickle": True}


def another_version(loaded: config.Loaded) -> dict[str, Any]:
    """The champion's model registered a second time: the same encoding, another version."""
    client = connect(f"sqlite:///{loaded.home / 'var' / 'mlflow' / 'mlflow.db'}")
    first = client.get_model_version("small", "1")
    client.create_model_version("small", first.source, run_id=first.run_id)
    client.set_registered_model_alias("small", "challenger", "2")
    return {"alias": "challenger"}


def night(loaded: config.Loaded, day: str = DAY, **options: Any) -> Manifest:
    """A day that is planned, scored as a worker does, judged and published."""
    partition = config.partition(loaded.pipeline.input.partition, day)
    run = prepare(loaded, partition, **options).run
    assert run is not None
    items = [(run.uri, split.index) for split in run.plan.splits]
    assert list(score_items(items, lambda _: OF_RUN)) == []
    judge_run(run)
    return publish_run(run)


def by_command(loaded: config.Loaded) -> Manifest:
    """The day, as the command scores it."""
    nights = [config.partition(loaded.pipeline.input.partition, DAY)]
    said: list[str] = []
    [outcome] = score_range(loaded, nights, force=False, dry_run=False, say=said.append)
    assert outcome.outcome == "published", said
    assert outcome.manifest is not None
    return outcome.manifest


def published(loaded: config.Loaded, day: str = DAY) -> tuple[Manifest | None, pa.Table | None]:
    """What is in force of a day, and its rows by id."""
    output = Places.of(loaded).output(config.partition(loaded.pipeline.input.partition, day))
    manifest = published_manifest(output)
    if manifest is None:
        return None, None
    files = [output.file(file.path) for file in manifest.outputs]
    rows = pa.concat_tables(pq.read_table(file, partitioning=None) for file in files)
    return manifest, rows.sort_by("id")


def opponents(loaded: config.Loaded, champion: Manifest) -> dict[str, Run]:
    return {opponent.name: run for opponent, run in challengers_of(run_of(loaded, champion))}


def with_bad_rows(loaded: config.Loaded, ids: Sequence[int]) -> None:
    """Rows without their key: the champion quarantines them."""
    path = loaded.home / "data" / f"ds={DAY}" / "part-0.parquet"
    table = pq.read_table(path, partitioning=None)
    keys = [None if i in ids else i for i in table["id"].to_pylist()]
    table = table.set_column(0, "id", pa.array(keys, pa.int64()))
    pq.write_table(table, path, row_group_size=250)


def test_a_challenger_scores_the_champions_rows_into_a_table_of_its_own(project: Project) -> None:
    loaded = project(**FIXED, quality__max_quarantined=0.5)
    with_bad_rows(loaded, [3, 300, 301])
    alone = night(loaded)
    _, before = published(loaded)
    with_challenger = challenged(loaded, another_version(loaded))
    champion = night(with_challenger, force=True)
    _, rows = published(with_challenger)
    assert rows.equals(before)
    assert champion.content_key == alone.content_key  # it does not know of challengers
    beside = config.load("p@challenger")
    manifest, scores = published(beside)
    assert manifest is not None
    assert (manifest.model.version, manifest.pipeline) == (2, "p@challenger")
    assert scores.schema.names == ["id", "score", "model_version"]
    assert scores["id"].equals(rows["id"])
    assert scores["score"].equals(rows["score"])
    assert (manifest.rows_published, manifest.rows_quarantined) == (597, 3)
    partition = config.partition(beside.pipeline.input.partition, DAY)
    verified = verify_partition(beside, partition, replay=None)
    assert verified.ok
    assert [replayed.outcome for replayed in verified.replayed] == ["bit-equal"] * 3


def test_scored_alone_beside_a_published_champion_it_gives_the_same_bytes_and_counts(
    project: Project,
) -> None:
    loaded = challenged(
        project(**FIXED, quality__max_quarantined=0.5), another_version(project_of(project))
    )
    with_bad_rows(loaded, [3, 300, 301])
    night(loaded)
    beside = config.load("p@challenger")
    in_pass, _ = published(beside)
    assert in_pass is not None
    counted = run_of(beside, in_pass).profile
    places = Places.of(beside)
    partition = config.partition(beside.pipeline.input.partition, DAY)
    for folder in (places.state.partition(partition).folder, places.output(partition).location):
        assert isinstance(folder, Path)
        os.rename(folder, folder.with_name(f"{folder.name}.before"))
    alone = night(beside)
    assert [file.sha256 for file in alone.outputs] == [file.sha256 for file in in_pass.outputs]
    assert alone.run_key == in_pass.run_key
    assert run_of(beside, alone).profile == counted
    assert alone.rows_quarantined == 3


def project_of(project: Project) -> config.Loaded:
    return config.load("p")


def test_where_it_alone_has_no_score_there_is_a_null(project: Project) -> None:
    loaded = project()

    def predict(rows: pd.DataFrame) -> pd.Series:
        if (rows.id == 7).any():
            raise ValueError("not this one")
        return rows.y.where(rows.id != 9)

    loaded = challenged(loaded, register(loaded, "picky", predict))
    assert night(loaded).rows_quarantined == 0
    manifest, scores = published(config.load("p@picky"))
    assert manifest is not None
    assert (manifest.rows_published, manifest.rows_quarantined) == (600, 0)
    missing = [row["id"] for row in scores.to_pylist() if row["prediction"] is None]
    assert missing == [7, 9]


def refuse(rows: pd.DataFrame) -> Any:
    if threading.current_thread() is not threading.main_thread():  # not in its trial
        raise ValueError("never")
    return rows.y


def test_one_without_any_score_is_dropped_and_the_others_are_published(project: Project) -> None:
    loaded = project()
    loaded = challenged(loaded, register(loaded, "broken", refuse), another_version(loaded))
    champion = night(loaded)
    assert champion.rows_published == 600
    assert published(config.load("p@broken"))[0] is None
    dropped = opponents(loaded, champion)["broken"].dropped()
    assert dropped is not None
    assert dropped.why == (
        "it has a score for none of 600 rows: the model raised ValueError: never"
    )
    other, _ = published(config.load("p@challenger"))
    assert other is not None
    assert other.rows_published == 600


def test_one_that_can_not_be_prepared_is_left_out_with_the_reason(project: Project) -> None:
    loaded = project()
    other = register(loaded, "pickled", refuse) | {"allow_pickle": False}
    loaded = challenged(loaded, other, {"alias": "nobody"}, another_version(loaded))
    champion = night(loaded)
    challenged_ = run_of(loaded, champion).challenged()
    assert [opponent.name for opponent in challenged_.challengers] == ["challenger"]
    assert "has no alias 'nobody'" in challenged_.left_out["nobody"]
    assert "may be code" in challenged_.left_out["pickled"]


def sleep(rows: pd.DataFrame) -> Any:
    if len(rows) > 64:
        time.sleep(20)
    return rows.y


def test_one_that_does_not_come_back_is_dropped_once_its_budget_is_spent(
    project: Project, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        "import nocturne.worker.lanes as l\nl._GRACE_S = 2\n"
    )
    paths = f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"
    monkeypatch.setenv("PYTHONPATH", paths)
    loaded = project(spark__master="none[2]")
    loaded = challenged(loaded, register(loaded, "slow", sleep) | {"budget": 0.5})
    started = time.monotonic()
    champion = by_command(loaded)
    assert time.monotonic() - started < 18
    assert champion.rows_published == 600
    dropped = opponents(loaded, champion)["slow"].dropped()
    assert dropped is not None
    assert "its budget is 0.5 of that" in dropped.why
    assert published(config.load("p@slow"))[0] is None


def die(rows: pd.DataFrame) -> Any:
    if len(rows) > 64:
        os.kill(os.getpid(), signal.SIGKILL)
    return rows.y


def test_one_that_kills_the_process_is_dropped_and_the_night_is_scored_without_it(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    loaded = project(spark__master="none[2]")
    loaded = challenged(loaded, register(loaded, "deadly", die))
    dropped = opponents(loaded, by_command(loaded))["deadly"].dropped()
    assert dropped is not None
    assert "a process ended while it scored this challenger" in dropped.why
    assert published(config.load("p@deadly"))[0] is None


def test_rows_are_decoded_once_and_encoded_once_for_arms_with_the_same_encoding(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    from nocturne.encoders.numeric import Numeric
    from nocturne.worker import split

    loaded = project()
    loaded = challenged(loaded, another_version(loaded))
    encoded, read, encode, read_batches = [], [], Numeric.encode, split.read_batches

    def counting(self: Numeric, batch: pa.RecordBatch, tensor: Any) -> Any:
        encoded.append(batch.num_rows)
        return encode(self, batch, tensor)

    def reading(*args: Any) -> Any:
        for batch in read_batches(*args):
            read.append(batch.num_rows)
            yield batch

    partition = config.partition(loaded.pipeline.input.partition, DAY)
    run = prepare(loaded, partition).run
    assert run is not None
    monkeypatch.setattr(Numeric, "encode", counting)
    monkeypatch.setattr(split, "read_batches", reading)
    for piece in run.plan.splits:
        list(score_items([(run.uri, piece.index)], lambda _: OF_RUN))
    assert sum(read) == sum(encoded) == 600
    assert all(run.is_scored for _, run in challengers_of(run))


def test_a_night_without_a_published_champion_has_no_challenger_alone(project: Project) -> None:
    loaded = challenged(project(), {"version": 1, "called": "same"})
    beside = config.load("p@same")
    partition = config.partition(loaded.pipeline.input.partition, DAY)
    from nocturne.errors import ConfigError, StateError

    with pytest.raises(StateError, match="p 2024-01-01 is not published"):
        prepare(beside, partition)
    night(loaded)
    path = loaded.home / "data" / f"ds={DAY}" / "part-0.parquet"
    pq.write_table(pq.read_table(path, partitioning=None).slice(1), path, row_group_size=250)
    with pytest.raises(ConfigError, match="the input is not the one that the champion scored"):
        prepare(beside, partition)
    with pytest.raises(ConfigError, match="p has no challenger 'other': it has same"):
        config.load("p@other")


def test_what_is_compared_in_the_pass_is_what_the_published_tables_give(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    loaded = project(quality__max_quarantined=0.5, drift__segments=["word"])
    with_bad_rows(loaded, [3, 300])
    other = register(loaded, "other", lambda rows: (rows.y * 0.3 + 0.4).where(rows.id != 9))
    loaded = challenged(loaded, other | {"threshold": 0.5, "top": 40})
    days = [DAY, "2024-01-02"]
    for day in days:
        night(loaded, day)
    result = CliRunner().invoke(app, ["compare", "p", "--date", days[0], "--to", days[1], "--json"])
    assert result.exit_code == 0, result.output
    [said] = json.loads(result.stdout)
    frames = []
    for day in days:
        _, first = published(loaded, day)
        _, second = published(config.load("p@other"), day)
        assert first is not None
        assert second is not None
        frames.append(first.to_pandas().merge(second.to_pandas(), on="id", validate="1:1"))
    frame = pd.concat(frames)
    both = frame.dropna(subset=["score", "prediction"])
    a, b = both.score.astype(float), both.prediction
    assert (said["rows"], said["only_champion"], said["only_challenger"]) == (1197, 1, 0)
    expected = {
        "mean_champion": a.mean(),
        "mean_challenger": b.mean(),
        "mean_absolute_difference": (a - b).abs().mean(),
        "root_mean_squared_difference": ((a - b) ** 2).mean() ** 0.5,
        "correlation": stats.pearsonr(a, b).statistic,
        "agreement": ((a >= 0.5) == (b >= 0.5)).mean(),
    }
    assert {name: said[name] for name in expected} == pytest.approx(expected, abs=1e-9)
    exact = stats.spearmanr(a, b).statistic
    assert abs(said["rank_correlation"] - exact) <= said["rank_correlation_error"]
    greatest = [set(both.nlargest(40, column).id) for column in ("score", "prediction")]
    assert said["top_overlap"] == len(greatest[0] & greatest[1]) / 40
    farthest = both.assign(apart=(a - b).abs()).nlargest(20, "apart")
    assert [int(row[1]) for row in said["farthest"]] == farthest.id.tolist()
    assert {row[0] for row in said["farthest"]} <= {*days}
    of_word = both[both.word == "a"]
    assert said["segments"]["word=a"]["rows"] == len(of_word)
    assert said["segments"]["word=a"]["mean_champion"] == pytest.approx(
        of_word.score.astype(float).mean(), abs=1e-9
    )
    CliRunner().invoke(app, ["compare", "p", "--date", days[0]])
    shown = CliRunner().invoke(app, ["compare", "p", "--date", days[0]]).stdout
    assert "challenger other (version 1) beside version 1, 1 nights" in shown
    page = loaded.home / "range.html"
    nights = [config.partition(loaded.pipeline.input.partition, day) for day in days]
    report_of(loaded, nights, page)
    text = page.read_text()
    assert '<h2 id="challengers">' in text
    assert f'<td class="n">{said["rows"]:,}</td>' in text
    client = connect(f"sqlite:///{loaded.home / 'var' / 'mlflow' / 'mlflow.db'}")
    beside = config.load("p@other")
    manifest, _ = published(beside)
    assert manifest is not None
    logged = client.get_run(str(run_of(beside, manifest).mlflow_run_id())).data.metrics
    assert logged["compare.rows"] == 600 - 3
    assert -1 <= logged["compare.rank_correlation"] <= 1


def test_keys_that_are_sensitive_are_not_among_the_rows_that_differ(project: Project) -> None:
    loaded = project(quality__sensitive=["id"])
    loaded = challenged(loaded, register(loaded, "other", lambda rows: rows.y))
    night(loaded)
    [found] = compared(loaded, [config.partition(loaded.pipeline.input.partition, DAY)])
    assert found.comparison is not None
    assert found.comparison.rows == 600
    assert found.comparison.farthest == ()
    assert found.comparison.greatest == ((), ())


def test_a_challenger_may_read_columns_that_the_champion_does_not(project: Project) -> None:
    loaded = project()
    path = loaded.home / "data" / f"ds={DAY}" / "part-0.parquet"
    table = pq.read_table(path, partitioning=None)
    more = table.append_column("more", pa.array([float(i) for i in range(600)]))
    pq.write_table(more, path, row_group_size=250)
    columns = {**COLUMNS, "more": "double"}
    other = register(loaded, "wide", lambda rows: rows.more * 2, columns)
    loaded = challenged(loaded, other)
    night(loaded)
    _, scores = published(config.load("p@wide"))
    assert scores is not None
    assert scores["prediction"].to_pylist() == [2.0 * i for i in range(600)]


def test_the_champions_report_shows_the_challengers_and_why_one_is_missing(
    project: Project,
) -> None:
    loaded = project(drift__segments=["word"])
    other = register(loaded, "other", lambda rows: rows.y * 0.1)
    loaded = challenged(loaded, other, {"alias": "nobody"})
    champion = night(loaded)
    page = run_of(loaded, champion).report.read_text(encoding="utf-8")
    assert '<h2 id="challengers">Challengers</h2>' in page
    assert 'other <span class="soft">· version 1, beside version 1</span>' in page
    assert '<th class="n">word=a</th>' in page
    assert "The rows that differ most" in page
    assert "left out: model &#39;small&#39; has no alias &#39;nobody&#39;" in page


@pytest.mark.usefixtures("_spark")
def test_under_spark_they_score_in_the_same_pass_too(project: Project) -> None:
    loaded = project(**FIXED, spark__master="local[2]")
    loaded = challenged(loaded, another_version(loaded))
    nights = list(config.span(loaded.pipeline.input.partition, DAY, "2024-01-02"))
    said: list[str] = []
    outcomes = score_range(loaded, nights, force=False, dry_run=False, say=said.append)
    assert [outcome.outcome for outcome in outcomes] == ["published"] * 2, said
    for day in (DAY, "2024-01-02"):
        manifest, scores = published(config.load("p@challenger"), day)
        assert manifest is not None
        _, rows = published(loaded, day)
        assert scores["score"].equals(rows["score"])


@pytest.mark.usefixtures("_spark")
def test_under_spark_one_that_kills_its_worker_costs_no_night(project: Project) -> None:
    loaded = project(spark__master="local[2]")
    loaded = challenged(loaded, register(loaded, "deadly", die))
    assert opponents(loaded, by_command(loaded))["deadly"].dropped() is not None


class Scales(torch.nn.Module):
    """Writes to its argument."""

    def forward(self, numbers: torch.Tensor) -> torch.Tensor:
        numbers.mul_(2)
        return numbers.sum(dim=1, keepdim=True)


def test_a_graph_that_writes_to_its_argument_changes_no_other_arms_scores(project: Project) -> None:
    loaded = project(**FIXED, model__name="scales")
    client = connect(f"sqlite:///{loaded.home / 'var' / 'mlflow' / 'mlflow.db'}")
    mlflow.set_experiment(experiment_id=experiment_id(client, "scales"))
    numbers = TensorSpec("numbers", "float32", "numeric", (Feature("x"), Feature("y")))
    encoding = Encoding((numbers,), (OutputSpec("score"),))
    data = pq.read_table(loaded.home / "data" / f"ds={DAY}" / "part-0.parquet", partitioning=None)
    log_torch_model(
        Scales(), encoding, data, name="scales", registered_model_name="scales", alias="champion"
    )
    one, two = {"version": 1, "called": "one"}, {"version": 1, "called": "two"}
    night(challenged(loaded, one, two))
    _, rows = published(loaded)
    for name in ("one", "two"):
        _, scores = published(config.load(f"p@{name}"))
        assert scores["score"].equals(rows["score"])


def test_what_is_left_out_of_a_challenger_is_the_champions_and_a_version_is_its_own(
    project: Project,
) -> None:
    loaded = project(model__outputs={"late": "double"}, model__trial_seconds=7)
    challenged(loaded, {"alias": "challenger"}, {"alias": "other", "outputs": {"x": "float"}})
    assert config.load("p@challenger").pipeline.model.outputs == {"late": "double"}
    assert config.load("p@challenger").pipeline.model.trial_seconds == 7
    assert config.load("p@other").pipeline.model.outputs == {"x": "float"}
    model = config.load("p@other", overrides={"model.version": 4}).pipeline.model
    assert (model.version, model.alias) == (4, None)


def test_nights_with_other_thresholds_or_centres_are_not_added_up_as_if_they_were_alike() -> None:
    def part(threshold: float | None, center: float) -> Comparison:
        comparer = Comparer(threshold, 5, (center, 0.0))
        comparer.update(pa.array([0.1, 0.9]), pa.array([0.2, 0.3]))
        found = comparer.result()
        assert found is not None
        return found

    found = merged([part(0.5, 0.0), part(None, 0.0)])
    assert found is not None
    assert (found.threshold, found.above, found.rows) == (None, (), 4)
    assert figures(found)["agreement"] is None
    apart = merged([part(0.5, 0.0), part(0.5, 0.4)])
    assert apart is not None
    assert (apart.above, apart.joint, spearman(apart)) == ((0, 2, 0, 2), {}, None)
    large = Comparer(None, 5)
    large.update(pa.array([1e200]), pa.array([1.0]))
    assert large.result() is None


def test_a_challenger_is_published_later_if_that_was_interrupted(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = project()
    loaded = challenged(loaded, another_version(loaded))
    with monkeypatch.context() as patch:
        patch.setattr("nocturne.pipeline.publishing.publish_challengers", lambda run: None)
        night(loaded)
    assert published(config.load("p@challenger"))[0] is None
    partition = config.partition(loaded.pipeline.input.partition, DAY)
    assert prepare(loaded, partition).action == "nothing"
    manifest, _ = published(config.load("p@challenger"))
    assert manifest is not None
    [found] = compared(loaded, [partition])
    assert found.comparison is not None
    assert found.comparison.rows == 600


def test_a_cast_of_a_column_that_it_does_not_read_is_not_the_challengers(project: Project) -> None:
    loaded = project(input__cast={"word": "text"})
    columns = {name: COLUMNS[name] for name in ("id", "x", "y")}
    challenger = register(loaded, "narrow", lambda rows: rows.y, columns)
    loaded = challenged(loaded, challenger)
    night(loaded)
    manifest, _ = published(config.load("p@narrow"))
    assert manifest is not None
    assert manifest.rows_published == 600


def test_challengers_of_other_encodings_read_no_file_again(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = project(**FIXED)
    client = connect(f"sqlite:///{loaded.home / 'var' / 'mlflow' / 'mlflow.db'}")
    mlflow.set_experiment(experiment_id=experiment_id(client, "training"))
    for name, fill in (("filled", 0.25), ("other", 0.75)):
        numbers = replace(ENCODING.inputs[0], features=(Feature("x", fill=fill), Feature("y")))
        encoding = replace(ENCODING, inputs=(numbers, ENCODING.inputs[1]))
        log_torch_model(Small(), encoding, sample(600), name="small", registered_model_name=name)
    others = [{"name": name, "version": 1, "called": name} for name in ("filled", "other")]
    loaded = challenged(loaded, *others)
    read: list[tuple[int, ...]] = []
    reading = split.read_batches

    def read_batches(source: Any, path: Any, groups: Any, *more: Any) -> Any:
        read.append(tuple(groups))
        return reading(source, path, groups, *more)

    monkeypatch.setattr(split, "read_batches", read_batches)
    champion = night(loaded)
    assert sorted(read) == [(0,), (1,), (2,)]
    scores = [published(config.load(f"p@{name}"))[1]["score"] for name in ("filled", "other")]  # type: ignore[index]
    assert not scores[0].equals(scores[1])
    assert champion.rows_published == len(scores[0]) == 600
