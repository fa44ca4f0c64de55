"""Truth by segment, with weights, of several classes, and out of memory."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pydantic import ValidationError
from sklearn import metrics
from typer.testing import CliRunner

from nocturne import config
from nocturne.cli import app
from nocturne.config.labels import Labels
from nocturne.errors import ConfigError
from nocturne.operate.reports import report_of
from nocturne.operate.truth import files as label_files
from nocturne.operate.truth import joining
from nocturne.operate.truth.log import log_truths
from nocturne.operate.truth.nights import NightTruth
from nocturne.records.truth import Truth, TruthArm
from nocturne.store.record_files import read
from nocturne.truth import estimate
from pipeline.test_arms import canary, register, register_python, sharing
from pipeline.test_challengers import (
    DAY,
    FIXED,
    Project,
    another_version,
    challenged,
    night,
    published,
)
from pipeline.test_truth import judged, labels, refused, with_labels, write_labels
from pipeline.test_truth_due import nights_of, truth_runs

RANDOM = np.random.default_rng(5)


def frame_of(loaded: config.Loaded, values: Any) -> Any:
    """The published rows with their labels, which are known for all."""
    _, scores = published(loaded)
    assert scores is not None
    frame = scores.to_pandas()
    frame["late"] = values
    return frame


def test_segments_and_weights_are_those_of_scikit_learn(project: Project) -> None:
    loaded = with_labels(
        project,
        output__passthrough=["word"],
        labels__segments=["word"],
        labels__weight="importance",
    )
    night(loaded)
    late = RANDOM.random(600) < 0.4
    weights = RANDOM.integers(0, 4, 600).astype(float)
    table = labels(range(600), late).append_column("importance", pa.array(weights))
    write_labels(loaded, table)
    truth, frame = judged(loaded), frame_of(loaded, late)
    frame["weight"] = weights
    frame["word"] = frame.word.fillna("null")
    assert set(truth.parts) == {"all", "version 1", *(f"word={w}" for w in frame.word.unique())}
    for part, rows in (("all", frame), *((f"word={w}", g) for w, g in frame.groupby("word"))):
        found = truth.parts[part].figures
        s, y, w = rows.score.astype(float), rows.late, rows.weight
        for name, expected in (
            ("auc", metrics.roc_auc_score(y, s, sample_weight=w)),
            ("average_precision", metrics.average_precision_score(y, s, sample_weight=w)),
            ("brier", metrics.brier_score_loss(y, s, sample_weight=w)),
            ("log_loss", metrics.log_loss(y, s, sample_weight=w)),
            ("f1", metrics.f1_score(y, s >= 0.5, sample_weight=w)),
        ):
            assert found[name] == pytest.approx(expected, abs=1e-9), (part, name)


def test_a_weight_that_is_missing_is_refused(project: Project) -> None:
    loaded = with_labels(project, labels__weight="importance")
    night(loaded)
    weights = pa.array([1.0, None], pa.float64())
    write_labels(loaded, labels([1, 2], [True, False]).append_column("importance", weights))
    assert "labels.weight: importance is null in 1 rows" in refused(loaded)
    write_labels(loaded, labels([1, 2], [True, False]))
    assert "labels.weight names importance, which the scores do not have" in refused(loaded)


def test_many_buckets_count_what_one_does(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also with small batches, keys of two columns, and rows of both sides without a partner."""
    loaded = with_labels(
        project,
        output__keys=["id", "y"],
        output__passthrough=["word"],
        labels__key=["id", "word"],
        labels__segments=["word"],
    )
    loaded = challenged(loaded, another_version(loaded))
    night(loaded)
    _, scores = published(loaded)
    assert scores is not None
    frame = scores.to_pandas().sample(frac=0.8, random_state=1)
    late = RANDOM.random(len(frame)) < 0.3
    table = pa.table(
        {
            "id": pa.array([*frame.id, 7777, 8888]),
            "word": pa.array([*frame.word, "a", None], pa.string()),
            "late": pa.array([*late, True, True]),
        }
    )
    write_labels(loaded, table)
    first = judged(loaded)
    assert first.rows < 600
    assert first.unscored >= 2
    monkeypatch.setattr(joining, "BUCKET_ROWS", 50)
    monkeypatch.setattr(label_files, "BATCH_ROWS", 64)
    write_labels(
        loaded,
        table.slice(0, table.num_rows)
        .combine_chunks()
        .take(pa.array(RANDOM.permutation(table.num_rows))),
    )
    second = judged(loaded)
    assert second.number == 2
    assert (second.rows, second.unlabelled, second.unscored) == (
        first.rows,
        first.unlabelled,
        first.unscored,
    )
    for part, counted in first.parts.items():
        for name, value in counted.figures.items():
            if not name.endswith(("_low", "_high")):  # a bootstrap draws other rows
                assert second.parts[part].figures[name] == pytest.approx(value, abs=1e-12)


def test_the_predicted_class_is_compared_with_the_label(project: Project) -> None:
    loaded = project(
        **FIXED,
        labels__path="labels",
        labels__column="late",
        labels__kind="multiclass",
    )
    night(loaded)
    write_labels(loaded, labels([1], ["a"]))
    assert "expected a prediction that is a class: the night has (there" in refused(loaded)


def test_what_is_expected_is_what_the_scores_say_of_themselves(project: Project) -> None:
    loaded = with_labels(project)
    night(loaded)
    write_labels(loaded, labels(range(600), RANDOM.random(600) < 0.5))
    truth = judged(loaded)
    _, scores = published(loaded)
    assert scores is not None
    exact = estimate(scores["score"].cast(pa.float64()).to_numpy())
    assert set(truth.estimate) == set(exact)
    for name, value in exact.items():
        assert truth.estimate[name] == pytest.approx(value, abs=0.02), name
    for name in ("auc", "brier", "positive"):
        assert truth.estimate[name] == pytest.approx(exact[name], abs=2e-3), name


def test_a_truth_of_an_earlier_version_is_read(tmp_path: Any) -> None:
    old = {
        "number": 1,
        "at": "2026-11-01T00:00:00.000+00:00",
        "manifest": "000001-" + "0" * 16,
        "labels": "x",
        "kind": "classes",
        "output": "score",
        "rows": 2,
        "unlabelled": 0,
        "unscored": 0,
        "parts": {"all": {"figures": {"rows": 2.0}, "bins": []}},
        "version": 1,
    }
    path = tmp_path / "000001.json"
    path.write_text(json.dumps(old))
    found = read(Truth, path)
    assert (found.model, found.model_version, found.rows, found.against) == ("", 0, 2, {})
    second = old | {"version": 2, "model": "m", "model_version": 1, "arms": {"challenger": 2}}
    path.write_text(json.dumps(second))
    assert read(Truth, path).arms == {"challenger": TruthArm("m", 2)}


class TestChallengers:
    """The same rows, scored by two models."""

    def test_differences_are_of_the_rows_that_the_champion_scored(self, project: Project) -> None:
        loaded = with_labels(project, output__passthrough=["word"], labels__segments=["word"])
        register(loaded)
        loaded = challenged(
            sharing(loaded, canary=canary(30)), {"alias": "challenger", "called": "next"}
        )
        night(loaded)
        late = RANDOM.random(600) < 0.4
        write_labels(loaded, labels(range(600), late))
        truth, frame = judged(loaded), frame_of(loaded, late)
        assert truth.arms == {"challenger": TruthArm("small", 2)}
        _, beside = published(config.load("p@next"))
        assert beside is not None
        frame["next"] = beside.to_pandas().score.astype(float)
        rows = frame[frame.model_version == 1]
        against = truth.against["next"]
        assert (against.version, against.rows) == (2, len(rows))
        for name, metric in (
            ("auc", metrics.roc_auc_score),
            ("average_precision", metrics.average_precision_score),
            ("brier", metrics.brier_score_loss),
        ):
            a, b = metric(rows.late, rows.score.astype(float)), metric(rows.late, rows.next)
            assert against.champion[name] == pytest.approx(a, abs=1e-9)
            assert against.challenger[name] == pytest.approx(b, abs=1e-9)
            found = against.differences[name]
            assert found.value == pytest.approx(b - a, abs=1e-9)
            assert found.low is not None
            assert found.high is not None
            assert found.low < found.value < found.high
        in_a = rows[rows.word == "a"]
        a = metrics.roc_auc_score(in_a.late, in_a.score.astype(float))
        b = metrics.roc_auc_score(in_a.late, in_a.next)
        assert against.segments["word=a"]["auc"] == pytest.approx(b - a, abs=1e-9)

    def test_a_challenger_that_did_not_score_the_night_is_left_out_and_counted_once_it_has(
        self, project: Project
    ) -> None:
        loaded = with_labels(project)
        challenger = another_version(loaded)
        night(loaded)
        write_labels(loaded, labels(range(600), RANDOM.random(600) < 0.5))
        loaded = challenged(loaded, challenger)
        assert judged(loaded).against == {}
        night(config.load("p@challenger"))
        second = judged(loaded)
        assert (second.number, list(second.against)) == (2, ["challenger"])


class TestArms:
    """A canary's rows are told apart from the champion's, and from those of other models."""

    @pytest.mark.long
    def test_an_arm_of_another_registered_model_is_not_a_version_of_the_champions(
        self, project: Project
    ) -> None:
        loaded = with_labels(project)
        arm = register_python(loaded, "other", lambda rows: rows.y.fillna(0.5))
        night(sharing(loaded, canary=arm))
        register(loaded)  # version 2 of the champion's model, which scores the next night
        loaded = sharing(loaded, canary=canary())
        night(loaded, "2024-01-02")
        for number, day in enumerate(("2024-01-01", "2024-01-02")):
            ids = range(1000 * number, 1000 * number + 600)
            write_labels(loaded, labels(ids, RANDOM.random(600) < 0.5), day)
        first, second = judged(loaded), judged(loaded, "2024-01-02")
        assert set(first.parts) == {"all", "version 1", "version 2 of other"}
        assert set(second.parts) == {"all", "version 1", "version 2"}
        nights = [NightTruth(day, truth) for day, truth in (("2024-01-01", first), (DAY2, second))]
        log_truths(loaded, nights)
        days_of = {
            (run.data.tags["nocturne.model"], run.data.tags["nocturne.model_version"]): sorted(
                tag.rpartition(".")[2] for tag in run.data.tags if ".night." in tag
            )
            for run in truth_runs(loaded)
        }
        assert days_of == {
            ("small", "1"): ["2024-01-01", DAY2],
            ("other", "2"): ["2024-01-01"],
            ("small", "2"): [DAY2],
        }
        said = CliRunner().invoke(app, ["truth", "p", "--date", DAY, "--to", DAY2]).output
        assert "version 2 of other (other)" in said
        assert "version 2 (challenger)" in said
        page = report_of(loaded, nights_of(loaded, (DAY, DAY2)), None).read_text()
        assert "version 2 of other (other)" in page
        assert "version 2 (challenger)" in page


DAY2 = "2024-01-02"


@pytest.mark.parametrize(
    ("section", "why"),
    [
        ({"quantile": 0.9}, "quantile is for kind: numbers"),
        ({"bounds": {"acu": {"min": 1}}}, "bounds: got acu, expected"),
        ({"bounds": {"auc": {}}}, "give min, max or both"),
        ({"metrics": {"auc": "1"}}, "metrics: auc is the name of a figure"),
        ({"metrics": {"auc_low": "1"}}, "metrics: auc_low is the name of a figure"),
        ({"format": "iceberg"}, "table is for format: iceberg"),
        ({"kind": "multiclass", "positive": 1}, "positive is for kind: classes"),
    ],
)
def test_sections_that_can_not_be_meant_are_refused(section: dict[str, Any], why: str) -> None:
    with pytest.raises(ValidationError, match=why):
        Labels.model_validate({"path": "labels", "column": "late", **section})


def test_a_sensitive_column_is_no_segment(project: Project) -> None:
    with pytest.raises(ConfigError, match="labels.segments names word"):
        with_labels(project, labels__segments=["word"], quality__sensitive=["word"])
