"""Whole nights on a real registry and a real Spark: from plan to publish, and again."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import mlflow
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from conftest import sample
from nocturne import config
from nocturne.errors import (
    ConfigError,
    Held,
    InputError,
    ModelError,
    NotReady,
    PartitionMissing,
    RegistryUnavailable,
    StateError,
    Superseded,
)
from nocturne.operate.decisions import approve_held
from nocturne.operate.status import statuses
from nocturne.pipeline import open_run, prepare
from nocturne.pipeline.night import NightOutcome, score_range
from nocturne.pipeline.places import Places
from nocturne.pipeline.publishing import gate, publish_run
from nocturne.pipeline.recording import judge_run
from nocturne.pipeline.scoring import score
from nocturne.processes import Processes
from nocturne.store.failpoints import VARIABLE
from nocturne.store.files import file_blake3, file_digest
from nocturne.store.run_folder import RunFolder
from nocturne.table import table_of

Project = Callable[..., config.Loaded]
pytestmark = pytest.mark.usefixtures("_spark")


def _score(
    loaded: config.Loaded, first: str, last: str | None = None, **flags: bool
) -> list[NightOutcome]:
    nights = list(config.span(loaded.pipeline.input.partition, first, last))
    given = {"force": False, "dry_run": False, **flags}
    return score_range(loaded, nights, say=lambda _: None, **given)


def _files(loaded: config.Loaded, day: str) -> dict[str, tuple[str, int, int]]:
    folder = loaded.path("out/scores") / f"ds={day}"
    return {
        p.name: (file_digest(p), p.stat().st_ino, p.stat().st_mtime_ns)
        for p in sorted(folder.iterdir())
    }


def _trace(night: NightOutcome) -> tuple[int, int]:
    found = Path(str(night.manifest_path)).stat()
    return found.st_ino, found.st_mtime_ns


def _input_keys(loaded: config.Loaded, day: str) -> Counter[object]:
    table = pq.read_table(loaded.path("data") / f"ds={day}", partitioning=None, columns=["id"])
    return Counter(table["id"].to_pylist())


def _output_keys(loaded: config.Loaded, day: str) -> Counter[object]:
    output = Places.of(loaded).output(config.partition(loaded.pipeline.input.partition, day))
    folders = [output.location, *output.state.quarantines()]
    keys: Counter[object] = Counter()
    for folder in folders:
        keys += Counter(pq.read_table(folder, partitioning=None, columns=["id"])["id"].to_pylist())
    return keys


def _runs(loaded: config.Loaded, day: str) -> list[RunFolder]:
    night = config.partition(loaded.pipeline.input.partition, day)
    return Places.of(loaded).state.partition(night).runs()


def test_a_range_is_published_day_by_day_and_a_repetition_changes_nothing(project: Project) -> None:
    loaded = project()
    nights = _score(loaded, "2024-01-01", "2024-01-03")
    assert [n.outcome for n in nights] == ["published"] * 3
    for night in nights:
        assert _output_keys(loaded, night.partition) == _input_keys(loaded, night.partition)
    before = [_files(loaded, n.partition) for n in nights]
    manifests = [_trace(n) for n in nights]
    again = _score(loaded, "2024-01-01", "2024-01-03")
    assert [n.outcome for n in again] == ["unchanged"] * 3
    assert "already published" in again[0].message
    assert [_files(loaded, n.partition) for n in nights] == before
    assert [_trace(n) for n in again] == manifests


def test_a_published_night_has_report_mlflow_run_and_a_manifest_that_binds_it(
    project: Project,
) -> None:
    loaded = project()
    [night] = _score(loaded, "2024-01-01")
    manifest = night.manifest
    assert manifest is not None
    assert (manifest.model.name, manifest.model.version) == ("small", 1)
    assert manifest.rows_in == manifest.rows_published == 600
    assert {f.path: f.sha256 for f in manifest.outputs} == {
        name: digest for name, (digest, _, _) in _files(loaded, "2024-01-01").items()
    }
    state = Places.of(loaded).state.partition(manifest.partition)
    run = open_run(state.stored(manifest.run).parent)
    for bound in (manifest.run, manifest.judgement):
        assert file_digest(state.stored(bound)) == bound.sha256
    assert run.plan.files[0].blake3 == file_blake3(
        loaded.path("data") / "ds=2024-01-01" / "part-0.parquet"
    )
    assert night.report == str(run.report)
    assert "small" in run.report.read_text()
    logged = mlflow.MlflowClient().get_run(str(run.mlflow_run_id()))
    assert logged.data.metrics["rows_in"] == 600
    assert set(manifest.score_summary) == {"score"}
    drift = state.judgement(manifest).drift
    assert {f.column for f in drift.columns} == {"x", "y", "word", "score"}


def test_force_scores_again_to_the_same_bytes_under_new_names(project: Project) -> None:
    loaded = project()
    _score(loaded, "2024-01-01")
    before = _files(loaded, "2024-01-01")
    [night] = _score(loaded, "2024-01-01", force=True)
    after = _files(loaded, "2024-01-01")
    assert night.manifest is not None
    assert night.manifest.number == 2
    assert set(after).isdisjoint(before)
    assert [v[0] for v in after.values()] == [v[0] for v in before.values()]


def test_a_late_file_scores_only_what_is_new(project: Project) -> None:
    loaded = project()
    _score(loaded, "2024-01-01")
    late = loaded.path("data") / "ds=2024-01-01" / "part-1.parquet"
    pq.write_table(sample(50, 9, 900_000), late)
    partition = config.partition(loaded.pipeline.input.partition, "2024-01-01")
    prepared = prepare(loaded, partition)
    assert "3 unchanged splits are taken over" in prepared.message
    assert prepared.run is not None
    assert len(prepared.run.result_files()) == 3
    [night] = _score(loaded, "2024-01-01")
    assert night.manifest is not None
    assert night.manifest.rows_published == 650
    assert _output_keys(loaded, "2024-01-01") == _input_keys(loaded, "2024-01-01")


def test_a_dry_run_scores_and_publishes_nothing(project: Project) -> None:
    loaded = project()
    [night] = _score(loaded, "2024-01-01", dry_run=True)
    assert night.outcome == "dry run"
    assert "600 rows in 3 splits, model small version 1 (alias champion)" in night.message
    state = Places.of(loaded).state
    assert not state.table.exists()
    assert not list(state.root.rglob("run.json"))


def test_too_many_bad_rows_hold_the_night_until_somebody_approves(project: Project) -> None:
    loaded = project()
    path = loaded.path("data") / "ds=2024-01-02" / "part-0.parquet"
    table = sample(600)
    ids = [None if i % 10 == 0 else i for i in range(600)]
    pq.write_table(table.set_column(0, "id", pa.array(ids, pa.int64())), path)
    [night] = _score(loaded, "2024-01-02")
    assert (night.outcome, night.exit_code) == ("held", 3)
    assert "60 of 600 rows (10.00%) are quarantined, over the limit of 1.00%" in night.message
    assert "nocturne approve p --date 2024-01-02" in night.message
    assert not (loaded.path("out/scores") / "ds=2024-01-02").exists()
    [found] = [s for s in statuses(loaded) if s.key == "2024-01-02"]
    assert (found.state, found.manifest) == ("held", None)
    partition = config.partition(loaded.pipeline.input.partition, "2024-01-02")
    manifest = approve_held(loaded, partition, "ada")
    assert (manifest.rows_published, manifest.rows_quarantined) == (540, 60)
    assert (manifest.approved_by, manifest.verdict) == ("ada", "hold")
    assert _output_keys(loaded, "2024-01-02") == _input_keys(loaded, "2024-01-02")
    with pytest.raises(StateError, match="has no held scores"):
        approve_held(loaded, partition, "ada")


@pytest.mark.parametrize(
    ("on_failure", "outcome"),
    [
        ("hold", "held"),
        pytest.param("warn", "published", marks=pytest.mark.long),
        pytest.param("fail", "failed", marks=pytest.mark.long),
    ],
)
def test_a_failed_expectation_does_what_the_yaml_says(
    project: Project, on_failure: str, outcome: str
) -> None:
    loaded = project(quality__input_suite="in.yaml", quality__on_failure=on_failure)
    (loaded.home / "conf" / "expectations" / "in.yaml").write_text(
        "name: in\nexpectations:\n"
        "- type: expect_column_mean_to_be_between\n  kwargs: {column: x, min_value: 100}\n"
    )
    [night] = _score(loaded, "2024-01-01")
    assert night.outcome == outcome
    said = night.message or " ".join(night.manifest.reasons if night.manifest else ())
    assert "1 of 1 expectations failed: expect_column_mean_to_be_between on x (input)" in said
    assert list((loaded.path("out") / "_nocturne").rglob("data_docs/**/*.html"))


def test_one_bad_day_does_not_stop_the_others(project: Project) -> None:
    loaded = project()
    (loaded.path("data") / "ds=2024-01-02" / "part-0.parquet").write_bytes(b"no parquet")
    nights = _score(loaded, "2024-01-01", "2024-01-03")
    assert [n.outcome for n in nights] == ["published", "failed", "published"]
    assert "is not a readable Parquet file" in nights[1].message


def test_a_day_that_breaks_in_a_worker_does_not_stop_the_others(project: Project) -> None:
    loaded = project()
    path = loaded.path("data") / "ds=2024-01-02" / "part-0.parquet"
    content = bytearray(path.read_bytes())
    content[100:1500] = b"\xff" * 1400
    path.write_bytes(content)
    nights = _score(loaded, "2024-01-01", "2024-01-02")
    assert [n.outcome for n in nights] == ["published", "failed"]
    assert "can't be decoded" in nights[1].message
    [run] = _runs(loaded, "2024-01-02")
    assert json.loads(run.error_file.read_text())["terminal"] is True
    states = {found.key: found.state for found in statuses(loaded)}
    assert states["2024-01-02"] == "failed"
    assert states["2024-01-05"] == "missing"


def test_a_run_that_must_not_be_scored_does_not_stop_the_others(project: Project) -> None:
    loaded = project()
    days = [config.partition(loaded.pipeline.input.partition, f"2024-01-0{d}") for d in (1, 2)]
    first, second = (prepare(loaded, day).run for day in days)
    assert first is not None
    assert second is not None
    failures = score([first.changed(output_version=1), second])
    assert list(failures) == [first.uri]
    assert judge_run(second).verdict == "ok"


def test_each_step_alone_gives_what_the_whole_gives(project: Project) -> None:
    loaded = project()
    partition = config.partition(loaded.pipeline.input.partition, "2024-01-04")
    run = prepare(loaded, partition).run
    assert run is not None
    with pytest.raises(StateError, match="3 of 3 splits .* are not scored yet"):
        judge_run(run)
    assert score([run], master=None) == {}
    with pytest.raises(StateError, match="judgement.json does not exist"):
        gate(run)
    judge_run(run)
    manifest = publish_run(open_run(run.path))
    assert publish_run(run) == manifest, "a second publish changes nothing"
    [night] = _score(loaded, "2024-01-04")
    assert night.outcome == "unchanged"


def test_a_run_directory_that_was_moved_is_refused(project: Project) -> None:
    loaded = project()
    partition = config.partition(loaded.pipeline.input.partition, "2024-01-01")
    run = prepare(loaded, partition).run
    assert run is not None
    away = run.path.rename(loaded.home / "away")
    with pytest.raises(StateError, match="it was moved or copied"):
        open_run(away)


def test_a_missing_partition_fails_or_is_skipped_as_the_yaml_says(project: Project) -> None:
    loaded = project(input__on_missing="skip")
    [night] = _score(loaded, "2025-01-01")
    assert (night.outcome, night.exit_code) == ("skipped", 0)
    failing = config.load("p", overrides={"input.on_missing": "fail"})
    partition = config.partition(failing.pipeline.input.partition, "2025-01-01")
    with pytest.raises(PartitionMissing, match="the table has ds=2024-01-01 to ds=2024-01-05"):
        prepare(failing, partition)


def test_an_incomplete_partition_is_retryable(project: Project) -> None:
    loaded = project(input__ready={"success_file": True})
    partition = config.partition(loaded.pipeline.input.partition, "2024-01-01")
    with pytest.raises(NotReady) as caught:
        prepare(loaded, partition)
    assert caught.value.exit_code == 75


def test_a_column_that_the_model_wants_is_refused_before_spark(project: Project) -> None:
    loaded = project()
    path = loaded.path("data") / "ds=2024-01-01" / "part-0.parquet"
    pq.write_table(sample(10).drop_columns(["word"]), path)
    partition = config.partition(loaded.pipeline.input.partition, "2024-01-01")
    with pytest.raises(InputError, match="column 'word' is missing"):
        prepare(loaded, partition)
    [found] = statuses(loaded, "2024-01-01", "2024-01-01")
    assert (found.state, found.model_version) == ("failed", None)
    assert "column 'word' is missing" in found.message


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ({"name": "nope", "alias": "champion"}, "no model 'nope' in the registry .* it has small"),
        ({"name": "small", "alias": "best"}, "has no alias 'best': it has champion"),
        ({"name": "small", "version": 9}, "has no version 9: it has 1"),
        ({"name": "small", "tags": {"stage": "x"}}, "carries all of .*carry stage=production"),
    ],
)
def test_a_model_that_is_not_there_lists_what_is(project: Project, model, message) -> None:  # type: ignore[no-untyped-def]
    loaded = project(model__name=model["name"])
    loaded = _with_model(loaded, model)
    partition = config.partition(loaded.pipeline.input.partition, "2024-01-01")
    with pytest.raises(ModelError, match=message):
        prepare(loaded, partition)


def _with_model(loaded: config.Loaded, model: dict[str, object]) -> config.Loaded:
    import yaml

    path = loaded.home / "conf" / "pipelines" / "p.yaml"
    path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), "model": model}))
    return config.load("p")


def test_tags_select_the_newest_version_that_carries_them(project: Project) -> None:
    loaded = _with_model(project(), {"name": "small", "tags": {"stage": "production"}})
    partition = config.partition(loaded.pipeline.input.partition, "2024-01-01")
    run = prepare(loaded, partition, dry_run=True).run
    assert run is not None
    assert (run.plan.model.version, run.plan.model.selector) == (1, "tags stage=production")


def test_a_registry_that_is_away_is_retryable_and_its_secret_is_not_said(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = project()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://me:secret@127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    partition = config.partition(loaded.pipeline.input.partition, "2024-01-01")
    with pytest.raises(RegistryUnavailable, match="did not answer; nothing was changed") as caught:
        prepare(loaded, partition)
    assert "secret" not in str(caught.value)


def test_an_mlflow_that_dies_after_prepare_costs_no_scores(
    project: Project, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    loaded = project()
    partition = config.partition(loaded.pipeline.input.partition, "2024-01-05")
    run = prepare(loaded, partition).run
    assert run is not None
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    score([run], master=None)
    assert judge_run(run).mlflow_run_id is None
    assert "Its scores are not affected" in caplog.text
    assert publish_run(run).rows_published == 600


def test_a_held_run_does_not_pass_the_gate(project: Project) -> None:
    loaded = project(quality__max_quarantined=0.0)
    path = loaded.path("data") / "ds=2024-01-03" / "part-0.parquet"
    ids = pa.array([None, *range(1, 600)], pa.int64())
    pq.write_table(sample(600).set_column(0, "id", ids), path)
    partition = config.partition(loaded.pipeline.input.partition, "2024-01-03")
    run = prepare(loaded, partition).run
    assert run is not None
    score([run], master=None)
    assert judge_run(run).verdict == "hold"
    with pytest.raises(Held, match="nothing was published"):
        publish_run(run)
    assert not table_of(run).location.exists()


@pytest.mark.parametrize(
    ("layout", "key", "folder"),
    [
        ({}, "2024-01-01", ""),
        (
            {"region": "eu", "ds": "%Y%m%d", "hour": "%H"},
            "2024-01-01T05",
            "region=eu/ds=20240101/hour=05",
        ),
    ],
)
def test_other_layouts_are_published_where_they_belong(
    project: Project, layout: dict[str, str], key: str, folder: str
) -> None:
    loaded = project(input__partition=layout, input__path="other")
    source = loaded.path("other") / folder
    source.mkdir(parents=True)
    pq.write_table(sample(100), source / "p.parquet")
    [night] = _score(loaded, key)
    assert night.outcome == "published", night.message
    target = loaded.path("out/scores") / folder
    assert pq.read_table(target, partitioning=None).num_rows == 100
    assert [(found.key, found.state) for found in statuses(loaded)] == [
        (key if layout else "all", "published")
    ]
    assert _score(loaded, key)[0].outcome == "unchanged"


def _bad_keys(loaded: config.Loaded, day: str, share: int = 10) -> None:
    ids = pa.array([None if i % share == 0 else i for i in range(600)], pa.int64())
    table = sample(600).set_column(0, "id", ids)
    pq.write_table(table, loaded.path("data") / f"ds={day}" / "part-0.parquet")


def test_every_step_may_be_run_again_after_an_approval(project: Project) -> None:
    loaded = project()
    _bad_keys(loaded, "2024-01-02")
    assert _score(loaded, "2024-01-02")[0].outcome == "held"
    partition = config.partition(loaded.pipeline.input.partition, "2024-01-02")
    manifest = approve_held(loaded, partition, "ada")
    [folder] = _runs(loaded, "2024-01-02")
    run = open_run(folder.path)
    assert judge_run(run).verdict == "hold"
    assert gate(run).quarantined == 60
    assert publish_run(run) == manifest
    [found] = [s for s in statuses(loaded) if s.key == "2024-01-02"]
    assert found.state == "published"


def test_an_approval_counts_once(project: Project) -> None:
    loaded = project()
    _bad_keys(loaded, "2024-01-02")
    _score(loaded, "2024-01-02")
    partition = config.partition(loaded.pipeline.input.partition, "2024-01-02")
    approve_held(loaded, partition, "ada")
    pq.write_table(sample(50), loaded.path("data") / "ds=2024-01-02" / "part-0.parquet")
    assert _score(loaded, "2024-01-02")[0].outcome == "published"
    _bad_keys(loaded, "2024-01-02")
    assert _score(loaded, "2024-01-02")[0].outcome == "held"


def test_a_night_after_force_is_still_the_same_night(project: Project) -> None:
    loaded = project()
    _score(loaded, "2024-01-01")
    _score(loaded, "2024-01-01", force=True)
    assert _score(loaded, "2024-01-01")[0].outcome == "unchanged"


def test_published_files_that_were_lost_are_scored_again(project: Project) -> None:
    loaded = project()
    _score(loaded, "2024-01-01")
    next((loaded.path("out/scores") / "ds=2024-01-01").iterdir()).unlink()
    [night] = _score(loaded, "2024-01-01")
    assert night.outcome == "published"
    assert _output_keys(loaded, "2024-01-01") == _input_keys(loaded, "2024-01-01")


def test_a_stray_file_in_an_old_night_stops_no_later_one(project: Project) -> None:
    loaded = project()
    _score(loaded, "2024-01-01")
    (loaded.path("out/scores") / "ds=2024-01-01" / "_SUCCESS").touch()
    assert _score(loaded, "2024-01-02")[0].outcome == "published"
    [found] = statuses(loaded, "2024-01-01", "2024-01-01")
    assert found.state == "failed"
    assert "not published from here" in found.message


def test_a_superseded_run_leaves_the_winner_published(project: Project) -> None:
    loaded = project()
    partition = config.partition(loaded.pipeline.input.partition, "2024-01-01")
    late = prepare(loaded, partition).run
    assert late is not None
    score([late], master=None)
    judge_run(late)
    pq.write_table(sample(50), loaded.path("data") / "ds=2024-01-01" / "part-0.parquet")
    assert _score(loaded, "2024-01-01")[0].outcome == "published"
    with pytest.raises(Superseded, match="Nothing was changed"):
        publish_run(late)
    [found] = statuses(loaded, "2024-01-01", "2024-01-01")
    assert found.state == "published"
    assert found.manifest is not None
    assert found.manifest.rows_published == 50


def test_two_pipelines_can_not_share_an_output(project: Project) -> None:
    loaded = project()
    _score(loaded, "2024-01-01")
    folder = loaded.home / "conf" / "pipelines"
    (folder / "other.yaml").write_text((folder / "p.yaml").read_text())
    partition = config.partition(loaded.pipeline.input.partition, "2024-01-01")
    with pytest.raises(ConfigError, match="has the scores of the pipeline 'p'"):
        prepare(config.load("other"), partition)


def test_a_spark_that_fails_fails_its_nights_and_says_so(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = project()

    def broken(*_: object) -> None:
        raise RuntimeError("the cluster burns")

    monkeypatch.setattr("nocturne.spark.job.score_runs", broken)
    nights = _score(loaded, "2024-01-01", "2024-01-02")
    assert [(n.outcome, n.exit_code) for n in nights] == [("failed", 75)] * 2
    assert "scoring failed: RuntimeError: the cluster burns" in nights[0].message
    assert statuses(loaded, "2024-01-01", "2024-01-01")[0].state == "failed"


def test_what_processes_without_spark_began_spark_ends_and_the_other_way_round(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = project(spark__master="none[2]")
    monkeypatch.setenv(VARIABLE, "split.begun@2")
    begun = prepare(loaded, config.partition(loaded.pipeline.input.partition, "2024-01-01")).run
    assert begun is not None
    with Processes(1) as processes:
        assert [*score([begun], by=processes)] == [begun.uri]
    monkeypatch.delenv(VARIABLE)
    first = {path: path.read_bytes() for path in begun.result_files()}
    assert (len(first), len(begun.plan.splits)) == (1, 3)

    by_spark = config.load("p", overrides={"spark.master": "local[2]"})
    assert [n.outcome for n in _score(by_spark, "2024-01-01", "2024-01-02")] == ["published"] * 2
    assert {path: path.read_bytes() for path in first} == first
    spark_files = {d: [*_files(loaded, d).values()] for d in ("2024-01-01", "2024-01-02")}

    again = _score(loaded, "2024-01-01", "2024-01-02", force=True)
    assert [n.outcome for n in again] == ["published"] * 2
    for day, files in spark_files.items():
        assert [f[0] for f in _files(loaded, day).values()] == [f[0] for f in files]


def test_spark_is_started_early_only_where_something_will_be_scored(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    from nocturne.spark.application import Application

    loaded, started, whole = project(), [0], Application.start

    def counted(self: Application) -> None:
        started[0] += 1
        whole(self)

    monkeypatch.setattr(Application, "start", counted)
    _score(loaded, "2024-01-01", dry_run=True)
    assert started == [0]
    _score(loaded, "2024-01-01")
    assert started[0] > 0
    started[0] = 0
    assert _score(loaded, "2024-01-01")[0].outcome == "unchanged"
    assert started == [0]


def test_a_range_is_scored_with_one_version_though_the_alias_moves(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    from nocturne.model import registry

    asked: list[object] = []
    whole = registry.resolve
    monkeypatch.setattr(
        registry, "resolve", lambda **wanted: asked.append(wanted) or whole(**wanted)
    )
    nights = _score(project(), "2024-01-01", "2024-01-03")
    assert [night.outcome for night in nights] == ["published"] * 3
    assert len(asked) == 1


def test_the_seconds_of_a_range_are_told_by_step(project: Project) -> None:
    from nocturne.stopwatch import Stopwatch

    loaded, watch = project(), Stopwatch()
    nights = list(config.span(loaded.pipeline.input.partition, "2024-01-01", "2024-01-02"))
    score_range(loaded, nights, force=False, dry_run=False, say=lambda _: None, watch=watch)
    assert list(watch.seconds) == [
        "prepare",
        "score",
        "check",
        "drift",
        "report",
        "mlflow",
        "publish",
    ]
