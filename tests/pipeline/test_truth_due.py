"""Which nights are counted on their own, what MLflow and people are told, and what is promoted."""

from __future__ import annotations

import datetime as dt
import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pytest
import yaml
from mlflow import MlflowClient
from pydantic import ValidationError
from typer.testing import CliRunner

from nocturne import config
from nocturne.cli import app
from nocturne.config.models import Pipeline
from nocturne.errors import StateError, Superseded
from nocturne.model.aliases import changes_of
from nocturne.model.tracking import connect, experiment_id
from nocturne.operate.reports import report_of
from nocturne.operate.truth.due import due_nights, labels_seen
from nocturne.operate.truth.estimates import trust
from nocturne.operate.truth.evidence import evidence_of, promote_on
from nocturne.operate.truth.log import log_truths
from nocturne.operate.truth.marks import logged_file
from nocturne.operate.truth.nights import NightTruth, truths_of
from nocturne.operate.truth.over_nights import truth_nights
from nocturne.pipeline.nights import PublishedNights
from nocturne.pipeline.runs import logged_to
from nocturne.records.evidence import Evidence
from nocturne.records.partition import Partition
from nocturne.records.truth import Truth, TruthPart
from pipeline.test_arms import register
from pipeline.test_challengers import FIXED, Project, night, published
from pipeline.test_truth import labels, write_labels

PIPELINE: dict[str, Any] = {
    "name": "p",
    "model": {"name": "small", "alias": "champion"},
    "input": {"path": "data"},
    "output": {"path": "out/scores", "keys": ["id"]},
    "labels": {"path": "labels", "column": "late"},
}
DAYS = ("2024-01-01", "2024-01-02", "2024-01-03")
RANDOM = np.random.default_rng(9)


def nights_of(loaded: config.Loaded, days: tuple[str, ...] = DAYS) -> list[Any]:
    return [config.partition(loaded.pipeline.input.partition, day) for day in days]


def with_days(project: Project, **more: Any) -> config.Loaded:
    return project(**FIXED, labels__path="labels", labels__column="late", **more)


def with_sections(loaded: config.Loaded, **sections: Any) -> config.Loaded:
    """The pipeline with other sections in its YAML."""
    path = loaded.home / "conf" / "pipelines" / "p.yaml"
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | sections))
    return config.load("p")


def chance(day: str, share: float = 0.5) -> pa.Table:
    """Labels of a day that have nothing to do with the scores."""
    first = 1000 * DAYS.index(day)
    return labels(range(first, first + 600), RANDOM.random(600) < share)


def like_scores(name: str, day: str, champion_in: str = "") -> pa.Table:
    """Labels that are as likely as the scores of a pipeline say, in one segment those of ``p``."""
    _, scores = published(config.load(name), day)
    _, champion = published(config.load("p"), day)
    assert scores is not None
    assert champion is not None
    p, other = (t["score"].cast(pa.float64()).to_numpy() for t in (scores, champion))
    p = np.where(np.array(champion["word"].to_pylist()) == champion_in, other, p)
    return labels(scores["id"], pa.array(RANDOM.random(len(p)) < p))


def client_of(loaded: config.Loaded) -> MlflowClient:
    return connect(f"sqlite:///{loaded.home / 'var' / 'mlflow' / 'mlflow.db'}")


def truth_runs(loaded: config.Loaded) -> list[Any]:
    client = client_of(loaded)
    of = experiment_id(client, logged_to(loaded)["experiment"])
    return list(client.search_runs([of], "tags.`nocturne.truth` = 'p'"))


def count(loaded: config.Loaded, nights: Sequence[Partition]) -> list[NightTruth]:
    """Count nights and log them, as the command does."""
    found = truths_of(loaded, nights)
    log_truths(loaded, found)
    return found


class TestDue:
    def test_nights_whose_labels_came_and_were_not_counted(self, project: Project) -> None:
        loaded = with_days(project)
        for day in DAYS[:2]:
            night(loaded, day)
        assert due_nights(loaded) == []
        write_labels(loaded, labels([1001], [True]), DAYS[1])
        write_labels(loaded, labels([1], [True]), DAYS[2])  # not published
        assert [n.key for n in due_nights(loaded)] == [DAYS[1]]
        before = labels_seen(loaded)
        assert list(before) == [DAYS[1]]
        assert count(loaded, due_nights(loaded))[0].new
        assert due_nights(loaded) == []  # it is settled for years
        write_labels(loaded, labels([1001, 1002], [True, False]), DAYS[1])
        assert due_nights(loaded) == []

    def test_what_was_counted_and_not_logged_since_its_process_was_killed_is_due(
        self, project: Project
    ) -> None:
        loaded = with_days(project)
        night(loaded)
        write_labels(loaded, chance(DAYS[0]), DAYS[0])
        assert truths_of(loaded, due_nights(loaded))[0].new
        assert [n.key for n in due_nights(loaded)] == [DAYS[0]]
        assert not count(loaded, due_nights(loaded))[0].new
        assert due_nights(loaded) == []
        assert len(truth_runs(loaded)) == 1

    @pytest.mark.parametrize("later", [False, True], ids=["in force", "restored"])
    def test_what_an_earlier_version_has_logged_is_not_due_again(
        self, project: Project, later: bool
    ) -> None:
        """It had a mark for each number; MLflow has the last one."""
        loaded = with_days(project)
        night(loaded)
        write_labels(loaded, chance(DAYS[0]), DAYS[0])
        count(loaded, nights_of(loaded, DAYS[:1]))
        logged = logged_file(PublishedNights(loaded).state_of(nights_of(loaded)[0]))
        Path(str(logged)).rename(str(logged.with_name("000001.logged")))
        if later:
            Path(str(logged.with_name("000002.logged"))).touch()
        assert [n.key for n in due_nights(loaded)] == list(DAYS[:1] if later else ())

    def test_the_last_days_of_the_calendar_hide_no_other(self, project: Project) -> None:
        """As some say for "never"; and ``settle_days`` may be longer than that."""
        loaded = with_days(project, labels__settle_days=1e12)
        far = ("9999-12-20", "9999-12-31")
        for day in far:
            shutil.copytree(
                loaded.home / "data" / f"ds={DAYS[0]}", loaded.home / "data" / f"ds={day}"
            )
        for day in (DAYS[0], *far):
            night(loaded, day)
            write_labels(loaded, chance(DAYS[0]), day)
        assert [n.key for n in due_nights(loaded)] == [DAYS[0]]
        end = dt.datetime(9999, 12, 31, 1, tzinfo=dt.UTC)
        assert [n.key for n in due_nights(loaded, end)] == [DAYS[0], *far]

    def test_for_a_while_corrections_are_looked_for(self, project: Project) -> None:
        loaded = with_days(project, labels__settle_days=3, labels__delay_hours=12)
        night(loaded)
        write_labels(loaded, labels([1], [True]), DAYS[0])
        end = dt.datetime(2024, 1, 2, tzinfo=dt.UTC)
        assert due_nights(loaded, end + dt.timedelta(hours=11)) == []
        later = end + dt.timedelta(days=3, hours=11)
        [due] = due_nights(loaded, later)
        before = labels_seen(loaded, later)
        count(loaded, [due])
        assert labels_seen(loaded, later) == before
        write_labels(loaded, labels([1, 2], [True, False]), DAYS[0])
        assert labels_seen(loaded, later)[DAYS[0]] != before[DAYS[0]]
        assert due_nights(loaded, later) == [due]
        assert due_nights(loaded, later + dt.timedelta(hours=2)) == []

    def test_other_scores_of_a_night_are_something_new(self, project: Project) -> None:
        loaded = with_days(project)
        night(loaded)
        write_labels(loaded, labels([1], [True]), DAYS[0])
        before = labels_seen(loaded)
        count(loaded, due_nights(loaded))
        assert labels_seen(loaded) == {}
        night(loaded, force=True)
        assert labels_seen(loaded) not in ({}, before)

    def test_the_command_counts_them_and_says_once_what_is_beyond(self, project: Project) -> None:
        loaded = with_days(project, labels__bounds={"auc": {"min": 0.99}})
        night(loaded)
        write_labels(loaded, chance(DAYS[0]), DAYS[0])

        def said(*options: str) -> Any:
            result = CliRunner().invoke(app, ["truth", "p", *options, "--json"])
            assert result.exit_code == 0, result.output
            return json.loads(result.stdout)

        first = said("--due")
        assert first["counted"] == [DAYS[0]]
        assert list(first["alerts"]) == [f"{DAYS[0]}:1"]
        [[beyond]] = first["alerts"].values()
        assert beyond.startswith("auc is 0.")
        assert said("--date", DAYS[0])["alerts"] == first["alerts"]  # nobody was told yet
        again = said("--due")  # the one who was to tell it has died
        assert (again["counted"], again["alerts"]) == ([], first["alerts"])
        told = CliRunner().invoke(app, ["truth", "p", "--told", f"{DAYS[0]}:1"])
        assert told.exit_code == 0, told.output
        assert said("--date", DAYS[0])["alerts"] == {}
        assert said("--due")["nights"] == []
        wrong = CliRunner().invoke(app, ["truth", "p"])
        assert "say which nights" in wrong.output


class TestMlflow:
    def test_a_corrected_label_is_no_second_point(self, project: Project) -> None:
        loaded = with_days(project)
        for day in DAYS[:2]:
            night(loaded, day)
            write_labels(loaded, chance(day), day)
        found = truths_of(loaded, nights_of(loaded, DAYS[:2]))
        log_truths(loaded, found)
        log_truths(loaded, found)
        [run] = truth_runs(loaded)
        assert run.data.tags["nocturne.model_version"] == "1"
        client = client_of(loaded)
        history = client.get_metric_history(run.info.run_id, "truth.auc")
        steps = [(dt.date.fromisoformat(day) - dt.date(1970, 1, 1)).days for day in DAYS[:2]]
        assert [point.step for point in history] == steps
        values = [one.truth.parts["all"].figures["auc"] for one in found if one.truth]
        assert [point.value for point in history] == pytest.approx(values)
        write_labels(loaded, chance(DAYS[0]), DAYS[0])
        again = truths_of(loaded, nights_of(loaded, DAYS[:1]))
        assert again[0].new
        log_truths(loaded, again)
        [other] = truth_runs(loaded)
        assert other.info.run_id != run.info.run_id
        history = client.get_metric_history(other.info.run_id, "truth.auc")
        assert sorted(point.step for point in history) == steps
        expected = again[0].truth
        assert expected is not None
        assert min(history, key=lambda p: p.step).value == pytest.approx(
            expected.parts["all"].figures["auc"]
        )

    def test_without_mlflow_the_truth_is_kept_and_logged_later(
        self, project: Project, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        loaded = with_days(project)
        night(loaded)
        write_labels(loaded, chance(DAYS[0]), DAYS[0])
        monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
        monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
        found = truths_of(loaded, nights_of(loaded, DAYS[:1]))
        log_truths(loaded, found)
        assert "is not in MLflow" in caplog.text
        monkeypatch.delenv("MLFLOW_TRACKING_URI")
        log_truths(loaded, truths_of(loaded, nights_of(loaded, DAYS[:1])))
        assert len(truth_runs(loaded)) == 1


class TestEvidence:
    WHEN: ClassVar[dict[str, Any]] = {"metric": "auc", "better_by": 0.01, "nights": 3}

    def judged(self, project: Project, champion_in: str = "", **when: Any) -> config.Loaded:
        """Three nights whose labels are as the challenger's scores say, in a segment not."""
        loaded = with_days(project, labels__segments=["word"])
        register(loaded)
        promote = {"when": self.WHEN | when}
        loaded = with_sections(loaded, challengers=[{"alias": "challenger"}], promote=promote)
        for day in DAYS:
            night(loaded, day)
            write_labels(loaded, like_scores("p@challenger", day, champion_in), day)
            truths_of(loaded, nights_of(loaded, (day,)))
        return loaded

    def test_it_is_proposed_and_promoted_over_the_champion_of_the_evidence(
        self, project: Project
    ) -> None:
        loaded = self.judged(project)
        found = evidence_of(loaded)
        assert found.proposed, found.why
        assert (found.champion, found.challenger, list(found.nights)) == (1, 2, list(DAYS))
        assert found.mean is not None
        assert found.mean.value == pytest.approx(np.mean(list(found.nights.values())))
        client = client_of(loaded)
        with pytest.raises(StateError, match="version 7 was agreed to"):
            promote_on(loaded, found, 7, "ada")
        client.set_registered_model_alias("small", "champion", "2")
        with pytest.raises(Superseded, match="is version 2 by now"):
            promote_on(loaded, found, 2, "ada")
        client.set_registered_model_alias("small", "champion", "1")
        result = CliRunner().invoke(app, ["evidence", "p", "--promote", "--by", "ada"])
        assert result.exit_code == 0, result.output
        assert "proposed: auc +0." in result.output
        assert client.get_registered_model("small").aliases["champion"] == 2
        last = changes_of(client.get_registered_model("small").tags, "champion")[-1]
        assert (last.by, last.before, last.after, last.why) == ("ada", 1, 2, found.why)

    def test_what_is_missing_and_what_speaks_against_it_is_said(self, project: Project) -> None:
        """In the segment c labels are as the champion's scores say."""
        loaded = self.judged(project, champion_in="c")

        def asked(unless: dict[str, Any] | None = None, **when: Any) -> Evidence:
            promote = {"when": self.WHEN | when, "unless": unless}
            return evidence_of(with_sections(loaded, promote=promote))

        for found, why in (
            (asked(nights=4), "3 of 4 nights have labels"),
            (asked(better_by=0.9), "and 0.9 is asked for"),
            (asked(metric="mae"), "has mae of both"),
        ):
            assert not found.proposed
            assert why in found.why
            with pytest.raises(StateError, match="is not promoted"):
                promote_on(loaded, found, None, "ada")
        brier = {"metric": "brier", "better_by": 0.0}
        assert asked(**brier).proposed
        assert asked(**brier).segments == {}
        for worse_by, holds in ((0.0, False), (0.5, True)):
            found = asked({"segment": "word", "worse_by": worse_by}, **brier)
            assert set(found.segments) == {"word=a", "word=b", "word=c", "word=null"}
            assert found.proposed is holds
            assert holds or "brier of word=c is worse by 0." in found.why

        register(loaded, alias="challenger")  # nights of other versions are not mixed
        night(loaded, DAYS[2], force=True)
        truths_of(loaded, nights_of(loaded, DAYS[2:]))
        found = asked(**brier)
        assert (found.challenger, list(found.nights)) == (3, [DAYS[2]])
        assert not found.proposed


class TestOverNights:
    def test_estimates_stand_where_labels_are_missing_and_the_report_shows_both(
        self, project: Project
    ) -> None:
        loaded = with_days(project)
        for day in DAYS[:2]:
            night(loaded, day)
        write_labels(loaded, like_scores("p", DAYS[0]), DAYS[0])
        truths_of(loaded, nights_of(loaded, DAYS[:1]))
        first, second = truth_nights(loaded, PublishedNights(loaded).all())
        assert first.truth is not None
        assert second.truth is None
        assert first.estimate["auc"] == pytest.approx(second.estimate["auc"], abs=0.1)
        assert first.figure("auc") == pytest.approx(first.estimate["auc"], abs=0.1)
        page = report_of(loaded, nights_of(loaded, DAYS[:2]), None).read_text()
        assert '<h2 id="truth">Truth</h2>' in page
        assert "its calibration error was" in page

    def test_scores_that_were_replaced_have_no_truth(self, project: Project) -> None:
        loaded = with_days(project)
        night(loaded)
        write_labels(loaded, chance(DAYS[0]), DAYS[0])
        truths_of(loaded, nights_of(loaded, DAYS[:1]))
        night(loaded, force=True)
        [found] = truth_nights(loaded, PublishedNights(loaded).all())
        assert found.truth is None


def test_estimates_are_believed_by_the_calibration_of_the_same_version() -> None:
    def truth(version: int, error: float, rows: int = 100) -> Truth:
        figures = {"rows": float(rows), "calibration_error": error}
        parts = {f"version {version}": TruthPart(figures)}
        at = "2026-01-01T00:00:00.000+00:00"
        id_ = "000001-" + "0" * 16
        return Truth(1, at, id_, "x", "classes", "score", "m", version, rows, 0, 0, parts)

    assert trust([], 1).believed is None
    assert trust([truth(2, 0.5)], 1).believed is None
    assert trust([truth(1, 0.02), truth(2, 0.5)], 1).believed is True
    assert trust([truth(1, 0.02), truth(1, 0.2)], 1).believed is False
    assert "0.110" in trust([truth(1, 0.02), truth(1, 0.2)], 1).why


@pytest.mark.parametrize(
    ("promote", "challengers", "why"),
    [
        ({"metric": "acu"}, [{"alias": "a"}], "metric: got acu, expected"),
        ({"metric": "auc"}, [], "promote.challenger: got None, expected one of"),
        ({"metric": "auc", "challenger": "b"}, [{"alias": "a"}], "promote.challenger: got b"),
        ({"metric": "auc", "nights": 1}, [{"alias": "a"}], "needs nights: 2"),
        ({"metric": "auc", "unless": "word"}, [{"alias": "a"}], "unless.segment: got word"),
        ({"metric": "auc"}, [{"alias": "a", "name": "other"}], "is the model other"),
    ],
)
def test_what_can_not_be_promoted_is_refused(
    promote: dict[str, Any], challengers: list[dict[str, Any]], why: str
) -> None:
    when = dict(promote)
    unless, challenger = when.pop("unless", None), when.pop("challenger", None)
    asked = {
        "when": when,
        "challenger": challenger,
        "unless": {"segment": unless, "worse_by": 0} if unless else None,
    }
    with pytest.raises(ValidationError, match=why):
        Pipeline.model_validate(PIPELINE | {"promote": asked, "challengers": challengers})
