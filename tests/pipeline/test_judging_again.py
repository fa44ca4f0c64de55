"""A night judged again by what the YAML says now; other baselines; the monitoring run."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from mlflow import MlflowClient
from typer.testing import CliRunner

from nocturne import config, table
from nocturne.cli import app
from nocturne.config import Loaded, partition
from nocturne.errors import ConfigError, Held, InputError, StateError
from nocturne.host.identity import AIRFLOW_CODE, code
from nocturne.model.tracking import connect
from nocturne.operate.decisions import roll_back
from nocturne.operate.verify import verify_partition
from nocturne.pipeline import prepare
from nocturne.pipeline.nights import PublishedNights
from nocturne.pipeline.publishing import publish_run
from nocturne.pipeline.recording import judge_again, judge_run
from nocturne.records.manifest import Manifest
from nocturne.records.status import RunStatus
from nocturne.store.partition_state import now
from nocturne.store.run import Run
from pipeline.conftest import DAYS, judgement_of, night_of, run_of, scored, shift

MakeProject = Callable[..., Loaded]


def _again(root: Path, **changes: object) -> Loaded:
    """The project with another YAML."""
    path = root / "conf" / "pipelines" / "p.yaml"
    pipeline = yaml.safe_load(path.read_text())
    for key, value in changes.items():
        section, _, name = key.partition("__")
        pipeline.setdefault(section, {})[name] = value
    path.write_text(yaml.safe_dump(pipeline))
    return config.load("p")


def _suite(root: Path, least: int) -> None:
    expectation = {"type": "expect_table_row_count_to_be_between", "kwargs": {"min_value": least}}
    text = yaml.safe_dump({"name": "s", "expectations": [expectation]})
    (root / "conf" / "expectations" / "s.yaml").write_text(text)


def _files(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_held_night_gets_the_verdict_of_what_the_yaml_says_now(
    project: MakeProject, tmp_path: Path
) -> None:
    project(quality__input_suite="s.yaml")
    _suite(tmp_path, 601)
    loaded = config.load("p")
    run = scored(loaded, DAYS[0])
    assert judge_run(run).verdict == "hold"
    with pytest.raises(Held):
        publish_run(run)
    attempts = sorted(Path(run.path, "attempts").iterdir())
    again, judged, published = judge_again(loaded, run.plan.partition)
    assert (judged.verdict, published) == ("hold", False)

    _suite(tmp_path, 600)
    again, judged, published = judge_again(
        _again(tmp_path, quality__on_failure="fail"), run.plan.partition
    )
    assert (judged.verdict, published) == ("ok", False)
    assert again.judgement() == judged
    assert sorted(Path(run.path, "attempts").iterdir()) == attempts, "nothing was scored"
    assert publish_run(again).verdict == "ok"


def test_what_has_become_sensitive_is_not_written_again(
    project: MakeProject, tmp_path: Path
) -> None:
    project(quality__input_suite="s.yaml")
    rule = {"type": "expect_column_mean_to_be_between", "kwargs": {"column": "y", "min_value": 9}}
    text = yaml.safe_dump({"name": "s", "expectations": [rule]})
    (tmp_path / "conf" / "expectations" / "s.yaml").write_text(text)
    run = scored(config.load("p"), DAYS[0])
    value = judge_run(run).quality.expectations[0].observed
    with pytest.raises(Held):
        publish_run(run)
    written = [run.judgement_file, run.report, run.docs_page]
    assert [value in Path(path).read_text() for path in written] == [True] * 3
    changed = _again(tmp_path, quality__sensitive=["y"])
    _, judged, _ = judge_again(changed, run.plan.partition)
    assert judged.verdict == "hold"
    assert [value in Path(path).read_text() for path in written] == [False] * 3


def test_a_published_night_stays_as_it_is(project: MakeProject, tmp_path: Path) -> None:
    project(quality__input_suite="s.yaml")
    _suite(tmp_path, 600)
    loaded = config.load("p")
    done = night_of(loaded, DAYS[0])
    before = _files(tmp_path / "out")
    assert [path for path in before if "data_docs" in path.parts]
    _suite(tmp_path, 601)
    changed = _again(tmp_path, drift__floor=5.0)
    answered = CliRunner().invoke(app, ["judge", "p", "--date", DAYS[0], "--json"])
    assert answered.exit_code == 0, answered.output
    said = json.loads(answered.stdout.splitlines()[-1])
    assert said["verdict"] == "hold"
    run, judged, published = judge_again(changed, done.partition)
    assert (judged.verdict, published) == ("hold", True)
    assert {f.threshold for f in judged.drift.columns} == {5.0}
    assert _files(tmp_path / "out") == before
    assert isinstance(run, Run)


@pytest.mark.parametrize("damage", ["{}", None])
def test_a_published_night_without_its_judgement_can_be_scored_again(
    project: MakeProject, caplog: pytest.LogCaptureFixture, damage: str | None
) -> None:
    """A baseline of weeks asks what the published night was compared with."""
    loaded = project(drift__baseline={"weeks": 2})
    first = night_of(loaded, DAYS[0])
    path = run_of(loaded, first).judgement_file
    path.unlink()
    if damage is not None:
        path.write_text(damage)
    [problem] = verify_partition(loaded, first.partition).problems
    assert problem.file.endswith("judgement.json")
    mend = "does not exist" if damage is None else "score the partition again with --force"
    with pytest.raises(StateError, match=mend):
        run_of(loaded, first).judgement()
    again = night_of(loaded, DAYS[0], force=True)
    assert again.replaces == first.id
    assert str(path) in caplog.text
    assert verify_partition(loaded, first.partition).ok


def test_settings_other_than_the_planned_ones_are_a_problem(project: MakeProject) -> None:
    loaded = project()
    done = night_of(loaded, DAYS[0])
    path = run_of(loaded, done).settings_file
    settings = json.loads(path.read_text())
    settings["quality"]["max_quarantined"] = 1.0
    path.write_text(json.dumps(settings))
    [problem] = verify_partition(loaded, done.partition).problems
    assert problem.file.endswith("/settings.json")
    assert "has changed since the run was planned" in problem.problem
    path.write_text("[")
    [problem] = verify_partition(loaded, done.partition).problems
    assert "can't be read" in problem.problem


def test_a_failed_night_is_judged_again(project: MakeProject, tmp_path: Path) -> None:
    project(quality__input_suite="s.yaml")
    _suite(tmp_path, 601)
    run = scored(config.load("p"), DAYS[0])
    judge_run(run)
    with pytest.raises(Held):
        publish_run(run)
    loaded = _again(tmp_path, quality__on_failure="fail")
    for _ in range(2):
        again, judged, is_published = judge_again(loaded, run.plan.partition)
        assert (judged.verdict, is_published) == ("fail", False)
        with pytest.raises(InputError, match="failed its checks"):
            publish_run(again)
        found = run.state.status()
        assert found is not None
        assert found.state == "failed"

    _suite(tmp_path, 600)
    again, judged, is_published = judge_again(loaded, run.plan.partition)
    assert (judged.verdict, is_published) == ("ok", False)
    assert publish_run(again).verdict == "ok"
    assert run.state.status() is None


def test_a_night_that_failed_while_it_was_scored_is_not_judged(project: MakeProject) -> None:
    loaded = project()
    run = scored(loaded, DAYS[0])
    next(Path(run.path, "results").iterdir()).unlink()
    with pytest.raises(StateError, match="not scored yet"):
        judge_run(run)
    with pytest.raises(StateError, match="is not published"):
        judge_again(loaded, run.plan.partition)


def test_a_run_that_was_killed_once_it_was_published_counts_as_published(
    project: MakeProject,
) -> None:
    loaded = project()
    done = night_of(loaded, DAYS[0])
    run = run_of(loaded, done)
    run.state.write_status(RunStatus.of(run.plan, "failed", "publish", "", now()))
    _, _, is_published = judge_again(loaded, run.plan.partition)
    assert is_published


def test_there_has_to_be_anight_of(project: MakeProject) -> None:
    loaded = project()
    with pytest.raises(StateError, match="is not published"):
        judge_again(loaded, partition(loaded.pipeline.input.partition, DAYS[0]))


def test_nights_are_compared_with_published_ones(project: MakeProject, tmp_path: Path) -> None:
    loaded = project()
    for day in DAYS[:3]:
        night_of(loaded, day)
    spans = _again(tmp_path, drift__baseline={"first": DAYS[0], "last": DAYS[2]})
    judged = judge_run(scored(spans, DAYS[3]))
    assert judged.drift.reference == f"the 3 published nights from {DAYS[0]} to {DAYS[2]}"
    assert {f.column for f in judged.drift.columns} == {"x", "y", "word", "score"}
    assert max(f.psi for f in judged.drift.columns) < 0.3

    weeks = _again(tmp_path, drift__baseline={"weeks": 4})
    judged = judge_run(scored(weeks, DAYS[4]))
    assert judged.drift.columns == ()
    assert judged.drift.reference == "the same weekday of 0 past weeks: there are none"
    assert judged.verdict == "ok"


def test_the_baseline_is_shown(project: MakeProject) -> None:
    loaded = project()
    for day in DAYS[:2]:
        night_of(loaded, day)
    shown = CliRunner().invoke(app, ["baseline", "p", "--json"])
    rows = {row["column"]: row for row in json.loads(shown.stdout)}
    assert rows["score"]["output"]
    assert (rows["x"]["partitions"], rows["x"]["rows"]) == (4, 2400)
    assert rows["x"]["ordinary_psi"] > 0
    built = CliRunner().invoke(app, ["baseline", "p", "--from", DAYS[0], "--to", DAYS[1], "--json"])
    rows = {row["column"]: row for row in json.loads(built.stdout)}
    assert (rows["x"]["partitions"], rows["x"]["first"]) == (2, DAYS[0])
    table = CliRunner().invoke(app, ["baseline", "p"])
    assert "ordinary days" in table.stdout
    for wrong in (["--from", DAYS[0]], ["--from", "2020-01-01", "--to", "2020-01-02"]):
        refused = CliRunner().invoke(app, ["baseline", "p", *wrong])
        assert refused.exit_code == 1


def _monitoring(root: Path) -> dict[str, dict[int, list[float]]]:
    """Metric -> step -> values, of the monitoring runs that are not in the trash."""
    client = connect(f"sqlite:///{root / 'var' / 'mlflow' / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("nocturne/p")
    assert experiment is not None
    [run] = [
        r
        for r in client.search_runs([experiment.experiment_id])
        if "nocturne.monitoring" in r.data.tags
    ]
    found: dict[str, dict[int, list[float]]] = {}
    for name in run.data.metrics:
        for point in client.get_metric_history(run.info.run_id, name):
            found.setdefault(name, {}).setdefault(point.step, []).append(point.value)
            assert point.timestamp == point.step * 86_400_000
    return found


def test_a_night_is_one_point_however_often_it_is_published(
    project: MakeProject, tmp_path: Path
) -> None:
    loaded = project()
    nights = [night_of(loaded, day) for day in DAYS[:3]]
    steps = [19723 + n for n in range(3)]
    first = _monitoring(tmp_path)
    assert sorted(first["rows_scored"]) == steps
    drift = judgement_of(loaded, nights[1]).drift
    assert first["drift.x.psi"][steps[1]] == [
        pytest.approx(next(f.psi for f in drift.columns if f.column == "x"))
    ]

    path = tmp_path / "data" / f"ds={DAYS[1]}" / "part-0.parquet"
    (path.parent / "part-1.parquet").write_bytes(path.read_bytes())
    again = night_of(loaded, DAYS[1])
    corrected = _monitoring(tmp_path)
    assert corrected["rows_in"] == {steps[0]: [600], steps[1]: [1200], steps[2]: [600]}
    assert all(len(v) == 1 for series in corrected.values() for v in series.values())

    publish_run(run_of(loaded, again))
    assert _monitoring(tmp_path) == corrected, "said twice, logged once"
    roll_back(loaded, again.partition, None, "ada")
    assert _monitoring(tmp_path)["rows_in"][steps[1]] == [600]


def test_a_night_that_is_to_be_held_is_held_whatever_the_checks_say(project: MakeProject) -> None:
    loaded = project()
    run = scored(loaded, DAYS[0], hold="model version 2 is new")
    judgement = judge_run(run)
    assert (judgement.verdict, judgement.reasons) == ("hold", ("model version 2 is new",))
    assert {subject: judgement.verdict_of(subject) for subject in ("quality", "drift")} == {
        "quality": "ok",
        "drift": "ok",
    }
    with pytest.raises(Held, match="is held, nothing was published: model version 2 is new"):
        publish_run(run)
    again = scored(loaded, DAYS[0])  # asked for without: the same run, and no reason to hold it
    assert again.plan.run_key == run.plan.run_key
    assert judge_run(again).verdict == "ok"


def test_what_asked_for_a_night_is_in_its_manifest(project: MakeProject) -> None:
    caller = {"airflow": "3.3.2", AIRFLOW_CODE: code(), "bundle": "git", "bundle_version": "1f2e"}
    made = night_of(project(), DAYS[0], caller=caller)
    assert made.environment["nocturne"] == code()
    assert made.environment.items() >= caller.items()


def test_two_nocturnes_are_told_apart(project: MakeProject) -> None:
    other = {AIRFLOW_CODE: "0.1.0+00000000", "bundle": "git", "bundle_version": ""}
    loaded = project()
    day = partition(loaded.pipeline.input.partition, DAYS[0])
    said = prepare(loaded, day, caller=other).message
    assert "WARNING: Airflow has nocturne 0.1.0+00000000 (bundle 'git' at no version)" in said
    assert f"the jobs have {code()}" in said
    strict = config.load("p", overrides={"schedule.on_skew": "fail"})
    with pytest.raises(ConfigError, match=r"or set schedule\.on_skew: warn. Nothing was done"):
        prepare(strict, day, caller=other)


def test_a_run_that_another_process_publishes_meanwhile_is_published_once(
    project: MakeProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = scored(project(), DAYS[0])
    judge_run(run)
    others: list[Manifest] = []
    really = table.staged

    def staged(*_: object) -> None:
        monkeypatch.setattr(table, "staged", really)
        others.append(publish_run(run))
        raise FileNotFoundError("attempts/quarantine-000.parquet")

    monkeypatch.setattr(table, "staged", staged)
    made = publish_run(run)
    assert others == [made]
    assert run.state.status() is None


@pytest.mark.parametrize("again", ["by date", "by run"])
def test_a_night_published_while_mlflow_was_away_is_logged_when_it_is_judged_again(
    project: MakeProject, caplog: pytest.LogCaptureFixture, again: str
) -> None:
    loaded = project()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(MlflowClient, "search_runs", None)
        done = night_of(loaded, DAYS[0])
        assert f"`nocturne judge p --date {DAYS[0]}` logs it once" in caplog.text
    run = run_of(loaded, done)
    assert run.mlflow_run_id() is None
    asked = ["p", "--date", DAYS[0]] if again == "by date" else [run.uri]
    for _ in range(2):
        answered = CliRunner().invoke(app, ["judge", *asked])
        assert answered.exit_code == 0, answered.output
    [logged] = _logged(Path(loaded.home))
    assert run.mlflow_run_id() == logged
    assert PublishedNights(loaded).manifest(done.partition) == done
    assert verify_partition(loaded, done.partition).ok


def _logged(root: Path) -> list[str]:
    """The ids of the nights' runs in MLflow."""
    client = connect(f"sqlite:///{root / 'var' / 'mlflow' / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("nocturne/p")
    assert experiment is not None
    return [
        r.info.run_id
        for r in client.search_runs([experiment.experiment_id])
        if "nocturne.monitoring" not in r.data.tags
    ]


def test_a_run_that_was_replaced_keeps_the_judgement_that_its_manifest_names(
    project: Callable[..., Loaded],
) -> None:
    loaded = project()
    first = night_of(loaded, DAYS[0])
    run = run_of(loaded, first)
    judgement = run.judgement_file.read_bytes()
    shift(loaded.home, DAYS[0])
    night_of(loaded, DAYS[0])
    assert judge_run(run).verdict == first.verdict
    assert run.judgement_file.read_bytes() == judgement
    roll_back(loaded, first.partition, None, "ada")
    assert not verify_partition(loaded, first.partition).problems
