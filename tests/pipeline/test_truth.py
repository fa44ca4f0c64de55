"""Published nights judged by labels that came later, against pandas and scikit-learn."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sklearn import metrics
from typer.testing import CliRunner

from nocturne import config
from nocturne.cli import app
from nocturne.errors import ConfigError
from nocturne.operate.truth import nights as operate
from nocturne.operate.truth.nights import truths_of
from nocturne.pipeline.places import Places
from nocturne.records.truth import Truth
from nocturne.store.files import children
from pipeline.test_arms import canary, register, sharing
from pipeline.test_challengers import DAY, FIXED, Project, night, published

RANDOM = np.random.default_rng(1)


def write_labels(loaded: config.Loaded, table: pa.Table, day: str = DAY) -> None:
    folder = loaded.home / "labels" / f"ds={day}"
    folder.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, folder / "part-0.parquet")


def labels(ids: Any, values: Any, name: str = "late") -> pa.Table:
    return pa.table({"id": ids, name: values})


def judged(loaded: config.Loaded, day: str = DAY) -> Truth:
    [found] = truths_of(loaded, [config.partition(loaded.pipeline.input.partition, day)])
    assert found.truth is not None, found.problem
    return found.truth


def refused(loaded: config.Loaded) -> str:
    [found] = truths_of(loaded, [config.partition(loaded.pipeline.input.partition, DAY)])
    assert found.truth is None
    return found.problem


def with_labels(project: Project, **more: Any) -> config.Loaded:
    given = {"labels__path": "labels", "labels__column": "late"}
    return project(**FIXED, **given, **more)


def test_figures_are_those_of_the_joined_tables_for_all_rows_and_each_version(
    project: Project,
) -> None:
    loaded = with_labels(project)
    register(loaded)
    loaded = sharing(loaded, canary=canary())
    night(loaded)
    _, scores = published(loaded)
    assert scores is not None
    ids = list(range(50, 700))  # 50 rows have no label, 100 labels no row
    values = [bool(RANDOM.random() < 0.4) if i % 10 else None for i in ids]
    write_labels(loaded, labels(pa.array(ids, pa.int32()), pa.array(values, pa.bool_())))
    truth = judged(loaded)
    frame = scores.to_pandas().merge(
        pa.table({"id": ids, "late": pa.array(values)}).to_pandas(), on="id"
    )
    frame = frame[frame.late.notna()]
    assert (truth.kind, truth.output, truth.rows) == ("classes", "score", len(frame))
    assert (truth.unlabelled, truth.unscored) == (600 - len(frame), 100)
    assert set(truth.parts) == {"all", "version 1", "version 2"}
    for part, rows in (
        ("all", frame),
        ("version 1", frame[frame.model_version == 1]),
        ("version 2", frame[frame.model_version == 2]),
    ):
        y, s = rows.late.astype(bool), rows.score.astype(float)
        found = truth.parts[part].figures
        assert found["rows"] == len(rows)
        assert found["auc"] == pytest.approx(metrics.roc_auc_score(y, s), abs=1e-9)
        assert found["average_precision"] == pytest.approx(
            metrics.average_precision_score(y, s), abs=1e-9
        )
        assert found["brier"] == pytest.approx(metrics.brier_score_loss(y, s), abs=1e-9)
        assert found["log_loss"] == pytest.approx(metrics.log_loss(y, s), abs=1e-9)
        assert sum(rows for rows, _, _ in truth.parts[part].bins) == len(rows)


def test_corrected_labels_and_other_scores_make_another_version(project: Project) -> None:
    loaded = with_labels(project)
    night(loaded)
    half = pa.array([i % 2 == 0 for i in range(600)])
    write_labels(loaded, labels(range(600), half))
    first = judged(loaded)
    assert first.number == 1
    assert judged(loaded) == first
    write_labels(loaded, labels(range(600), pa.array([i % 3 == 0 for i in range(600)])))
    second = judged(loaded)
    assert second.number == 2
    assert second.parts["all"].figures["positive"] == pytest.approx(1 / 3)
    night(loaded, force=True)
    third = judged(loaded)
    assert (third.number, third.labels) == (3, second.labels)
    assert third.parts == second.parts
    state = Places.of(loaded).state.partition(
        config.partition(loaded.pipeline.input.partition, DAY)
    )
    assert len(children(state.place("truth"))) == 3


def meanwhile(monkeypatch: pytest.MonkeyPatch, act: Callable[[], None]) -> None:
    """Have something done once, between a night's counting and the writing of what was counted."""
    counted = operate.counted

    def slowly(*given: Any) -> Any:
        found = counted(*given)
        monkeypatch.setattr(operate, "counted", counted)
        act()
        return found

    monkeypatch.setattr(operate, "counted", slowly)


def test_labels_that_are_replaced_while_they_are_counted_are_counted_again(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was counted of some of the old ones and some of the new ones is not kept."""
    loaded = with_labels(project)
    night(loaded)
    write_labels(loaded, labels(range(600), pa.array([i % 2 == 0 for i in range(600)])))

    def replaced() -> None:
        write_labels(loaded, labels(range(600), pa.array([i % 3 == 0 for i in range(600)])))
        assert judged(loaded).number == 1  # another process

    meanwhile(monkeypatch, replaced)
    [mine] = truths_of(loaded, [config.partition(loaded.pipeline.input.partition, DAY)])
    assert mine.retry
    assert "were replaced while they were counted" in mine.problem
    again = judged(loaded)
    assert (again.number, again.parts["all"].figures["positive"]) == (1, pytest.approx(1 / 3))


def test_what_two_processes_count_at_once_is_one_version(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = with_labels(project)
    night(loaded)
    write_labels(loaded, labels(range(600), pa.array([i % 2 == 0 for i in range(600)])))

    def counts_too() -> None:
        assert judged(loaded).number == 1  # another process

    meanwhile(monkeypatch, counts_too)
    [mine] = truths_of(loaded, [config.partition(loaded.pipeline.input.partition, DAY)])
    assert mine.truth is not None
    assert (mine.truth.number, mine.new) == (1, False)


def test_labels_of_words_and_of_numbers(project: Project) -> None:
    loaded = with_labels(project, labels__positive="late")
    night(loaded)
    words = pa.array(["late" if i % 4 == 0 else "early" for i in range(600)])
    write_labels(loaded, labels(range(600), words))
    assert judged(loaded).parts["all"].figures["positive"] == 0.25


def test_numbers_are_judged_by_their_distance(project: Project) -> None:
    loaded = with_labels(project)
    night(loaded)
    _, scores = published(loaded)
    assert scores is not None
    actual = RANDOM.normal(size=600)
    write_labels(loaded, labels(range(600), actual))
    truth = judged(loaded)
    assert truth.kind == "numbers"
    predicted = scores["score"].to_numpy().astype(float)
    found = truth.parts["all"].figures
    assert found["mae"] == pytest.approx(metrics.mean_absolute_error(actual, predicted), abs=1e-9)
    assert found["rmse"] == pytest.approx(
        metrics.root_mean_squared_error(actual, predicted), abs=1e-9
    )


@pytest.mark.parametrize(
    ("table", "why"),
    [
        (labels([1, 1, 2], [True, False, True]), "more than one row of a key (id)"),
        (labels([1, 2], ["a", "b"]), "say which value is the positive one"),
        (labels(["x"], [True]), "the labels' key 'id' is string"),
        (labels([1], [True], "other"), "has no column late, which labels need"),
        (labels([1.5], [True]), "the labels' key 'id' is double"),
        (labels([1, 2], [float("inf"), 2.0]), "not finite"),
    ],
)
def test_labels_that_can_not_be_meant_are_refused(
    project: Project, table: pa.Table, why: str
) -> None:
    loaded = with_labels(project)
    night(loaded)
    write_labels(loaded, table)
    assert why in refused(loaded)


@pytest.mark.parametrize(
    ("positive", "values", "why"),
    [
        ("1", [1, 0], "labels.positive is '1', and the label 'late' is int64"),
        (1, [True, False], "labels.positive is 1, and the label 'late' is bool"),
        (True, ["yes", "no"], "labels.positive is True, and the label 'late' is string"),
    ],
)
def test_a_positive_of_another_type_is_refused(
    project: Project, positive: Any, values: list[Any], why: str
) -> None:
    loaded = with_labels(project, labels__positive=positive)
    night(loaded)
    write_labels(loaded, labels([1, 2], values))
    assert why in refused(loaded)


@pytest.mark.parametrize(
    ("values", "kind", "expected"),
    [
        ([0.0, 1.0], None, "numbers"),  # a share that happens to be 0 and 1
        ([0.0, 1.0], "classes", "classes"),
        ([0, 1], None, "classes"),
        ([0, 2], None, "numbers"),
        ([False, True], "numbers", "numbers"),
    ],
)
def test_which_labels_are_classes(
    project: Project, values: list[Any], kind: str | None, expected: str
) -> None:
    loaded = with_labels(project, **({"labels__kind": kind} if kind else {}))
    night(loaded)
    write_labels(loaded, labels([1, 2], values))
    assert judged(loaded).kind == expected


def test_labels_that_are_nan_are_none(project: Project) -> None:
    loaded = with_labels(project, labels__kind="classes")
    night(loaded)
    write_labels(loaded, labels([1, 2, 3], [1.0, float("nan"), 0.0]))
    truth = judged(loaded)
    assert (truth.rows, truth.unlabelled) == (2, 598)
    assert truth.parts["all"].figures["positive"] == 0.5


def test_a_key_that_several_scores_have_is_refused(project: Project) -> None:
    loaded = with_labels(project, labels__key=["model_version"])
    night(loaded)
    table = pa.table({"model_version": [1], "late": [True]})
    write_labels(loaded, table)
    assert "the scores have keys (model_version) more than once" in refused(loaded)


def test_a_key_that_the_scores_do_not_have_is_named(project: Project) -> None:
    loaded = with_labels(project, labels__key=["id", "city"])
    night(loaded)
    write_labels(loaded, pa.table({"id": [1], "city": ["x"], "late": [True]}))
    assert "labels.key names city, which the scores do not have" in refused(loaded)


def test_dictionaries_are_read_as_their_values(project: Project) -> None:
    loaded = with_labels(project, labels__positive="late")
    night(loaded)
    words = pa.array(["late", "early", "late"]).dictionary_encode()
    write_labels(loaded, labels([1, 2, 3], words))
    assert judged(loaded).parts["all"].figures["positive"] == pytest.approx(2 / 3)


def test_a_folder_without_files_has_no_labels_yet(project: Project) -> None:
    loaded = with_labels(project)
    night(loaded)
    (loaded.home / "labels" / f"ds={DAY}").mkdir(parents=True)
    assert f"there are no labels for {DAY}" in refused(loaded)


@pytest.mark.parametrize(
    ("key", "why"),
    [(["id", "id"], "name id twice"), (["id", "late"], "name late twice")],
)
def test_columns_named_twice_are_refused(project: Project, key: list[str], why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        with_labels(project, labels__key=key)


def test_a_night_without_labels_or_scores_says_so(project: Project) -> None:
    loaded = with_labels(project)
    assert "is not published" in refused(loaded)
    night(loaded)
    assert f"there are no labels for {DAY}" in refused(loaded)
    write_labels(loaded, labels(pa.array([], pa.int64()), pa.array([], pa.bool_())))
    truth = judged(loaded)
    assert (truth.rows, truth.unlabelled) == (0, 600)
    assert truth.parts["all"].figures == {"rows": 0.0}


def test_the_command_shows_them(project: Project) -> None:
    loaded = with_labels(project)
    night(loaded)
    write_labels(loaded, labels(range(600), pa.array([i % 2 == 0 for i in range(600)])))
    result = CliRunner().invoke(app, ["truth", "p", "--date", DAY, "--to", "2024-01-02"])
    assert result.exit_code == 0, result.output
    assert "version 1" in result.output
    assert "2024-01-02: p 2024-01-02 is not published" in result.output
    as_json = CliRunner().invoke(app, ["truth", "p", "--date", DAY, "--json"])
    said = json.loads(as_json.stdout)
    assert said["counted"] == []  # it was, by the command before
    assert said["nights"][0]["truth"]["parts"]["all"]["figures"]["rows"] == 600
    missing = CliRunner().invoke(app, ["truth", "p", "--date", "2024-01-02"])
    assert missing.exit_code == 1
