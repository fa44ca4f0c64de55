"""What a hostile reading of truth and promotion found stays mended."""

from __future__ import annotations

import datetime as dt
import json
import os
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import cloudpickle
import mlflow
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from mlflow.types import ParamSchema, ParamSpec
from typer.testing import CliRunner

from conftest import ENCODING
from forked import in_child
from formats import CATALOG, catalog_in
from nocturne import config
from nocturne.cli import app
from nocturne.encoding import OutputSpec
from nocturne.errors import RetryableError
from nocturne.model import aliases
from nocturne.operate.decisions import roll_back
from nocturne.operate.move import move, moved_pipeline
from nocturne.operate.truth.due import due_nights, labels_seen
from nocturne.operate.truth.evidence import evidence_of, promote_on
from nocturne.operate.truth.log import log_truths
from nocturne.operate.truth.nights import truths_of
from nocturne.operate.truth.over_nights import truth_nights
from nocturne.operate.truth.sides import Sides, truth_of
from nocturne.pipeline.nights import PublishedNights
from nocturne.records.partition import Partition
from nocturne.records.truth import Truth
from pipeline.pyfuncs import log_model
from pipeline.test_arms import register
from pipeline.test_challengers import FIXED, Project, challenged, night, published
from pipeline.test_challengers import register as register_python
from pipeline.test_truth import judged, labels, refused, with_labels, write_labels
from pipeline.test_truth_due import (
    DAYS,
    chance,
    client_of,
    count,
    like_scores,
    nights_of,
    truth_runs,
    with_days,
    with_sections,
)

cloudpickle.register_pickle_by_value(sys.modules[__name__])  # MLflow's models have no tests
RANDOM = np.random.default_rng(4)
LABELS = {"labels__path": "labels", "labels__column": "late"}
WHEN = {"metric": "auc", "better_by": 0.01, "nights": 2}


class TestPromotion:
    """Two nights whose labels are as the challenger's scores say."""

    def proven(self, project: Project, **when: Any) -> config.Loaded:
        loaded = with_days(project)
        register(loaded)
        promote = {"when": WHEN | when}
        loaded = with_sections(loaded, challengers=[{"alias": "challenger"}], promote=promote)
        for day in DAYS[:2]:
            night(loaded, day)
            write_labels(loaded, like_scores("p@challenger", day), day)
        count(loaded, nights_of(loaded, DAYS[:2]))
        assert evidence_of(loaded).proposed
        return loaded

    @pytest.mark.long
    def test_nights_that_were_asked_something_else_are_no_evidence_and_due_again(
        self, project: Project
    ) -> None:
        loaded = self.proven(project)
        assert due_nights(loaded) == []
        other = {"path": "labels", "column": "late", "threshold": 0.4}
        loaded = with_sections(loaded, labels=other)
        found = evidence_of(loaded)
        assert (found.nights, found.proposed) == ({}, False)
        assert "counted as labels: asks now" in found.why
        assert [n.key for n in due_nights(loaded)] == list(DAYS[:2])
        truths_of(loaded, due_nights(loaded))
        assert evidence_of(loaded).proposed
        unless = {"unless": {"segment": "word", "worse_by": 0.0}, "when": WHEN}
        loaded = with_sections(loaded, labels={**other, "segments": ["word"]}, promote=unless)
        assert not evidence_of(loaded).proposed  # no night has its segments

    @pytest.mark.long
    def test_evidence_is_of_one_model_and_of_the_versions_behind_the_aliases(
        self, project: Project
    ) -> None:
        loaded = self.proven(project)
        client = client_of(loaded)
        renamed = with_sections(loaded, model={"name": "other", "alias": "champion"})
        assert evidence_of(renamed, ask=False).nights == {}
        loaded = with_sections(loaded, model={"name": "small", "alias": "champion"})
        register(loaded, alias="challenger")  # version 3
        found = evidence_of(loaded)
        assert not found.proposed
        assert "challenger is version 3 by now, and not 2" in found.why
        client.set_registered_model_alias("small", "challenger", "2")
        assert evidence_of(loaded).proposed
        night(config.load("p@challenger"), DAYS[0], force=True)
        assert list(evidence_of(loaded).nights) == [DAYS[1]]
        assert [n.key for n in due_nights(loaded)] == [DAYS[0]]

    @pytest.mark.long
    def test_what_was_demoted_is_not_promoted_again_by_itself(self, project: Project) -> None:
        loaded = self.proven(project)
        promote_on(loaded, evidence_of(loaded), None, "promote.auto")
        aliases.demote(client_of(loaded), "small", "champion", "ada", "complaints")
        found = evidence_of(loaded)
        assert not found.proposed
        assert "version 2 was demoted (complaints)" in found.why

    def test_a_challenger_without_scores_for_most_rows_is_not_proposed(
        self, project: Project
    ) -> None:
        loaded = with_days(project)

        def few(rows: Any) -> Any:
            return rows.y.where(rows.id % 10 == 0)

        beside = register_python(loaded, "few", few) | {"outputs": {"score": "float"}}
        loaded = with_sections(loaded, challengers=[beside])
        night(loaded)
        _, scores = published(config.load("p@few"))
        assert scores is not None
        assert scores["score"].null_count == 540
        write_labels(loaded, chance(DAYS[0]), DAYS[0])
        against = judged(loaded, DAYS[0]).against["few"]
        assert against.rows == 60
        # A challenger is of the champion's model to be promoted: here it only shows what is said.
        from nocturne.operate.truth.evidence import _uncovered

        assert _uncovered({DAYS[0]: (judged(loaded, DAYS[0]), against)}) == [
            "the challenger has scores for 10.0% of the champion's rows only"
        ]

    def test_a_challenger_without_the_compared_output_is_left_out(self, project: Project) -> None:
        loaded = with_labels(project, labels__output="score")
        register(loaded, encoding=replace(ENCODING, outputs=(OutputSpec("minutes"),)))
        loaded = challenged(loaded, {"alias": "challenger"})
        night(loaded)
        write_labels(loaded, labels(range(600), RANDOM.random(600) < 0.5))
        truth = judged(loaded)
        assert truth.against == {}
        assert truth.left_out == {"challenger": "it has no prediction score"}

    def test_repeated_keys_of_the_output_cost_the_challenger_and_not_the_night(
        self, project: Project
    ) -> None:
        loaded = project(
            **FIXED,
            labels__path="labels",
            labels__column="late",
            labels__key=["id", "word"],
            output__keys=["word"],
            output__passthrough=["id"],
            quality__max_quarantined=1.0,
        )
        from pipeline.test_challengers import another_version

        loaded = challenged(loaded, another_version(loaded))
        manifest = night(loaded)
        assert manifest.rows_published < 600  # without a word: quarantined
        _, scores = published(loaded)
        assert scores is not None
        table = scores.select(["id", "word"]).append_column(
            "late", pa.array(RANDOM.random(scores.num_rows) < 0.5)
        )
        write_labels(loaded, table)
        truth = judged(loaded)
        assert truth.rows == scores.num_rows
        assert truth.left_out == {"challenger": "keys (word) are there twice"}

    @pytest.mark.long
    def test_a_challenger_of_the_champions_own_version_has_nothing_to_move(
        self, project: Project
    ) -> None:
        """With other params it may be better, and is the version that the alias is at already."""
        loaded = with_days(project)
        client = ranking_model(loaded)
        for alias in ("champion", "challenger"):
            client.set_registered_model_alias("ranking", alias, "1")
        loaded = with_sections(
            loaded,
            model=RANKING | {"params": {"by": "x"}},
            challengers=[
                {"alias": "challenger", "allow_pickle": True, "params": {"by": "y"}},
                {"alias": "champion", "called": "same", "allow_pickle": True},
            ],
            promote={"when": WHEN | {"interval": "any"}, "challenger": "challenger"},
        )
        for day in DAYS[:2]:
            night(loaded, day)
            write_labels(loaded, like_scores("p@challenger", day), day)
        [first, _] = truths_of(loaded, nights_of(loaded, DAYS[:2]))
        assert first.truth is not None
        assert first.truth.against["challenger"].differences["auc"].value > 0.1
        assert first.truth.against["same"].differences["auc"].value == 0
        found = evidence_of(loaded)
        assert not found.proposed
        assert found.why == "challenger is version 1, as the champion is: there is nothing to move"


RANKING = {
    "name": "ranking",
    "alias": "champion",
    "allow_pickle": True,
    "outputs": {"score": "double"},
}


class Ranking(mlflow.pyfunc.PythonModel):  # type: ignore[misc]
    """Scores by the column that its params name."""

    def predict(self, context, model_input, params=None):  # type: ignore[no-untyped-def]
        return 1 / (1 + np.exp(-model_input[params["by"]].fillna(0)))


def ranking_model(loaded: config.Loaded) -> mlflow.MlflowClient:
    params = ParamSchema([ParamSpec("by", "string", "x")])
    return log_model(loaded, "ranking", Ranking(), params=params)


class TestDue:
    def test_what_can_not_be_read_is_due_and_an_error_of_the_store_is_one(
        self, project: Project, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        loaded = with_days(project)
        for day in DAYS[:2]:
            night(loaded, day)
            write_labels(loaded, chance(day), day)
        output = loaded.home / "out" / "_nocturne" / "scores" / f"ds={DAYS[0]}" / "manifests"
        [manifest] = output.iterdir()
        manifest.write_text("{")
        assert [n.key for n in due_nights(loaded)] == list(DAYS[:2])
        first, second = truths_of(loaded, due_nights(loaded))
        assert "is not a Manifest" in first.problem
        assert second.truth is not None

        def away(*_: object) -> None:
            raise RetryableError("the store does not answer")

        monkeypatch.setattr("nocturne.operate.truth.sides.Sides.manifest", away)
        with pytest.raises(RetryableError):
            due_nights(loaded)
        said = CliRunner().invoke(app, ["truth", "p", "--due", "--json"])
        assert said.exit_code == RetryableError.exit_code

    def test_a_night_whose_labels_are_being_written_hides_no_other(self, project: Project) -> None:
        loaded = with_days(project)
        for day in DAYS[:2]:
            night(loaded, day)
            write_labels(loaded, chance(day), day)
        begun = loaded.home / "labels" / f"ds={DAYS[0]}" / "_started_123"
        begun.touch()
        assert list(labels_seen(loaded)) == [DAYS[1]]
        begun.unlink()
        assert list(labels_seen(loaded)) == list(DAYS[:2])

    def test_a_damaged_file_of_labels_costs_its_own_night(self, project: Project) -> None:
        loaded = with_days(project)
        for day in DAYS[:2]:
            night(loaded, day)
            write_labels(loaded, chance(day), day)
        path = loaded.home / "labels" / f"ds={DAYS[0]}" / "part-0.parquet"
        path.write_bytes(path.read_bytes()[:-9])
        first, second = truths_of(loaded, nights_of(loaded, DAYS[:2]))
        assert f"{path} can't be read as Parquet" in first.problem
        assert second.truth is not None

    def test_labels_with_a_damaged_page_are_not_counted(self, project: Project) -> None:
        loaded = with_labels(project)
        night(loaded)
        late = RANDOM.random(600)
        write_labels(loaded, labels(range(600), late))
        path = loaded.home / "labels" / f"ds={DAYS[0]}" / "part-0.parquet"
        settings: dict[str, Any] = {"compression": "none", "use_dictionary": False}
        pq.write_table(labels(range(600), late), path, write_page_checksum=True, **settings)
        content = bytearray(path.read_bytes())
        content[content.index(late[:4].tobytes())] ^= 1
        path.write_bytes(content)
        said = refused(loaded)
        assert f"{path} can't be read as Parquet: " in said
        assert "CRC checksum verification failed" in said
        believed = config.load("p", overrides={"input.checksums": False})
        assert judged(believed).rows == 600

    def test_a_table_without_partitions_is_counted(self, project: Project) -> None:
        loaded = project(**FIXED, labels__path="labels", labels__column="late")
        shutil.copytree(loaded.home / "data" / f"ds={DAYS[0]}", loaded.home / "whole")
        loaded = with_sections(
            loaded,
            input={"path": "whole", "partition": {}},
            output={"path": "out/whole", "keys": ["id"]},
        )
        day = dt.date.today().isoformat()
        night(loaded, day)
        assert due_nights(loaded) == []
        (loaded.home / "labels").mkdir()
        late = pa.array(RANDOM.random(600) < 0.5)
        pq.write_table(labels(range(600), late), loaded.home / "labels" / "a.parquet")
        assert due_nights(loaded) == [Partition("all")]
        [found] = truths_of(loaded, due_nights(loaded))
        assert found.truth is not None
        assert found.partition == "all"
        log_truths(loaded, [found])
        assert len(truth_runs(loaded)) == 1
        [again] = truths_of(loaded, [config.partition({}, "2024-02-02")])
        assert (again.partition, again.new) == ("all", False)


class TestFigures:
    def test_labels_of_no_row_are_said(self, project: Project) -> None:
        """The key is of the right type, and still another one."""
        loaded = with_labels(project)
        night(loaded)
        write_labels(loaded, labels(range(5000, 5600), [True, False] * 300))
        assert judged(loaded).beyond == (
            "none of its 600 labels has the key of one of its 600 scored rows: look at "
            "labels.key, or whether they are its labels",
        )
        write_labels(loaded, labels(range(599, 1199), [True, False] * 300))
        assert judged(loaded).beyond == ()
        write_labels(loaded, labels(range(601), [None] * 600 + [True]))  # not known yet
        assert judged(loaded).beyond == ()

    @pytest.mark.parametrize(
        ("late", "key", "why"),
        [
            ([1, 0], [2, 3], "Field late has incompatible types: bool vs int64. Have all of them"),
            ([True, False], ["2", "3"], "Field id has incompatible types: int64 vs string"),
            ([True, False], [1, 2], "the labels have more than one row of a key (id)"),
        ],
    )
    def test_files_that_do_not_go_together_are_refused(
        self, project: Project, late: list[Any], key: list[Any], why: str
    ) -> None:
        loaded = with_labels(project)
        night(loaded)
        write_labels(loaded, labels([0, 1], [True, False]))
        second = loaded.home / "labels" / f"ds={DAYS[0]}" / "part-1.parquet"
        pq.write_table(labels(key, late), second)
        said = refused(loaded)
        assert why in said
        assert ("part-1.parquet does not go together with" in said) is ("Field" in why)

    @pytest.mark.parametrize("weight", ["1", dt.date(2024, 1, 1), [1.0]])
    def test_a_weight_that_is_no_number_is_refused(self, project: Project, weight: Any) -> None:
        loaded = with_labels(project, labels__weight="weight")
        night(loaded)
        given = labels([1, 2], [True, False]).append_column("weight", pa.array([weight] * 2))
        write_labels(loaded, given)
        assert refused(loaded).endswith(", expected numbers")

    def test_a_bound_of_a_figure_that_is_not_defined_is_beyond(self, project: Project) -> None:
        loaded = with_labels(project, labels__bounds={"auc": {"min": 0.5}})
        night(loaded)
        write_labels(loaded, labels(range(600), pa.array([0.0, 1.0] * 300)))  # so they are numbers
        assert judged(loaded).beyond == ("auc is not defined for its 600 labels (numbers)",)
        write_labels(loaded, labels(range(600), pa.array([True] * 600)))
        assert judged(loaded).beyond == ("auc is not defined for its 600 labels (classes)",)

    @pytest.mark.parametrize(
        ("key", "why"),
        [
            (pa.array([str(i) for i in range(600)]), "keys of different kinds are never equal"),
            (pa.array(np.arange(600), pa.int64()).cast(pa.timestamp("s")), "different kinds"),
            (pa.array([i % 2 == 0 for i in range(600)]), "different kinds"),
            (pa.array(np.arange(600) + 0.5), "some value can't be taken"),
        ],
    )
    def test_keys_of_another_kind_are_refused(
        self, project: Project, key: pa.Array, why: str
    ) -> None:
        loaded = with_labels(project)
        night(loaded)
        write_labels(loaded, pa.table({"id": key, "late": [True] * 600}))
        assert why in refused(loaded)

    @pytest.mark.parametrize("negative", [0, 1])
    def test_zero_is_one_key_whatever_its_sign(self, project: Project, negative: int) -> None:
        loaded = project(**FIXED | {"output__keys": ["k"]}, **LABELS)
        signs = [0.0, -0.0] if negative else [-0.0, 0.0]
        path = loaded.home / "data" / f"ds={DAYS[0]}" / "part-0.parquet"
        rows = pq.read_table(path, partitioning=None).slice(0, 2)
        keys = pa.array([signs[0], 1.5], pa.float32())
        pq.write_table(rows.append_column("k", keys), path)
        night(loaded)
        write_labels(loaded, pa.table({"k": [signs[1], 1.5], "late": [True, False]}))
        assert judged(loaded).rows == 2
        write_labels(loaded, pa.table({"k": signs, "late": [True, False]}))
        assert "the labels have more than one row of a key (k)" in refused(loaded)

    @pytest.mark.parametrize("legacy", [True, False])
    def test_times_in_int96_are_the_keys_that_they_are_in_the_scores(
        self, project: Project, legacy: bool
    ) -> None:
        """Of every year, cut off at microseconds where the scores' are, and exact where not."""
        loaded = project(**FIXED | {"output__keys": ["at"]}, **LABELS)
        folder = loaded.home / "data" / f"ds={DAYS[0]}"
        rows = pq.read_table(folder / "part-0.parquet", partitioning=None).slice(0, 300)
        at = pa.array(np.arange(300) * 1000 + 1_700_000_000_000_000_001).cast(pa.timestamp("ns"))
        written: dict[str, Any] = {"use_deprecated_int96_timestamps": legacy}
        if legacy:  # what nanoseconds can't hold
            far = [dt.datetime(9999, 12, 31) - dt.timedelta(hours=i) for i in range(100)]
            late_rows = rows.slice(0, 100).append_column("at", pa.array(far, pa.timestamp("us")))
            pq.write_table(late_rows, folder / "far.parquet", **written)
            rows = rows.slice(100)
            fine = at.slice(100)
        else:
            fine = at
        pq.write_table(rows.append_column("at", fine), folder / "part-0.parquet", **written)
        night(loaded)
        values = pa.array([i % 2 == 0 for i in range(300)])
        write_labels(loaded, pa.table({"at": fine, "late": values.slice(0, len(fine))}))
        place = loaded.home / "labels" / f"ds={DAYS[0]}"
        found = pq.read_table(place / "part-0.parquet", partitioning=None)
        pq.write_table(found, place / "part-0.parquet", use_deprecated_int96_timestamps=True)
        if legacy:
            far_labels = pa.table({"at": late_rows["at"], "late": values.slice(0, 100)})
            pq.write_table(far_labels, place / "part-1.parquet", **written)
        truth = judged(loaded)
        assert (truth.rows, truth.unlabelled, truth.unscored) == (300, 0, 0)

    def test_a_null_and_the_word_null_are_two_segments(self, project: Project) -> None:
        loaded = with_labels(project, labels__segments=["word"])
        path = loaded.home / "data" / f"ds={DAYS[0]}" / "part-0.parquet"
        table = pq.read_table(path, partitioning=None)
        words = pa.array(["null", None, "a"] * 200, pa.string())
        at = table.schema.get_field_index("word")
        pq.write_table(table.set_column(at, "word", words), path)
        night(loaded)
        write_labels(loaded, labels(range(600), RANDOM.random(600) < 0.5))
        parts = judged(loaded).parts
        for part in ("word=null", 'word="null"', "word=a"):
            assert parts[part].figures["rows"] == 200

    def test_classes_that_are_never_the_same_are_refused(self, project: Project) -> None:
        loaded = with_labels(project, labels__kind="multiclass")
        beside = register_python(loaded, "m", lambda rows: (rows.id % 2 == 0).to_numpy())
        model = {k: v for k, v in beside.items() if k != "called"}
        loaded = with_sections(loaded, model={**model, "outputs": {"even": "boolean"}})
        night(loaded)
        write_labels(loaded, labels(range(600), [i % 2 for i in range(600)]))
        assert "one is true or false and the other is not" in refused(loaded)
        write_labels(loaded, labels(range(600), [i % 4 == 0 for i in range(600)]))
        assert judged(loaded).parts["all"].figures["accuracy"] == pytest.approx(0.75)

    @pytest.mark.long
    def test_own_metrics_name_no_sensitive_value_and_divide_as_the_figures_do(
        self, project: Project, capfd: pytest.CaptureFixture[str]
    ) -> None:
        metrics = {"wrong": "sum(cast(word AS INT))"}
        loaded = with_labels(
            project,
            labels__metrics=metrics,
            quality__sensitive=["word"],
            spark__master="local[1]",
        )
        night(loaded)
        write_labels(loaded, labels(range(600), RANDOM.random(600) < 0.5))
        said = refused(loaded)
        assert "may name values of sensitive columns" in said
        assert "The value 'b'" not in said + capfd.readouterr().err
        section = {"path": "labels", "column": "late", "segments": ["id10", "word"]}
        metrics = {"rows_of": "count(*)"}
        loaded = with_sections(
            loaded, labels={**section, "metrics": metrics, "segments": ["word"]}, quality={}
        )
        parts = judged(loaded).parts
        for counted in parts.values():
            assert counted.figures["rows_of"] == counted.figures["rows"]

    def test_columns_that_would_get_one_name_are_refused(self, project: Project) -> None:
        loaded = with_labels(project, labels__metrics={"n": "count(*)"})
        night(loaded)
        table = labels([1], [True]).append_column("word", pa.array(["x"]))
        write_labels(loaded, table.append_column("label_word", pa.array(["y"])))
        assert "two columns would be called label_word" in refused(loaded)

    def test_decimals_are_numbers(self, project: Project) -> None:
        loaded = with_labels(project, labels__kind="numbers")
        night(loaded)
        values = pa.array([i / 600 for i in range(600)]).cast(pa.decimal128(9, 4), safe=False)
        write_labels(loaded, labels(range(600), values))
        truth = judged(loaded)
        assert "mae" in truth.parts["all"].figures
        assert truth.estimate == {}


class TestKept:
    def truth(self, loaded: config.Loaded, day: str = DAYS[0]) -> Truth | None:
        sides = Sides(loaded)
        [partition] = nights_of(loaded, (day,))
        manifest = sides.manifest(partition)
        assert manifest is not None
        return truth_of(sides.state(partition), manifest)

    def test_it_goes_with_the_night_when_it_moves_and_comes_back_with_its_scores(
        self, project: Project
    ) -> None:
        loaded = with_days(project)
        night(loaded)
        write_labels(loaded, chance(DAYS[0]), DAYS[0])
        truths_of(loaded, nights_of(loaded, DAYS[:1]))
        first = self.truth(loaded)
        target = moved_pipeline(loaded, path="out2/scores")
        move(loaded, target, print)
        assert self.truth(target) == first
        night(loaded, force=True)
        assert self.truth(loaded) is None
        truths_of(loaded, nights_of(loaded, DAYS[:1]))
        roll_back(loaded, nights_of(loaded)[0], None, by="ada")
        shutil.rmtree(loaded.home / "labels")
        assert self.truth(loaded) == first
        [shown] = truth_nights(loaded, PublishedNights(loaded).all())
        assert shown.truth == first

    def test_mlflow_follows_a_rollback_to_scores_of_another_version(self, project: Project) -> None:
        loaded = with_days(project)
        night(loaded)
        write_labels(loaded, chance(DAYS[0]), DAYS[0])
        count(loaded, due_nights(loaded))
        register(loaded, alias="champion")
        night(loaded)
        count(loaded, due_nights(loaded))
        [run] = truth_runs(loaded)
        assert run.data.tags["nocturne.model_version"] == "2"
        roll_back(loaded, nights_of(loaded)[0], None, by="ada")
        [again] = count(loaded, due_nights(loaded))
        assert not again.new
        [run] = truth_runs(loaded)
        assert run.data.tags["nocturne.model_version"] == "1"
        assert due_nights(loaded) == []

    def test_changed_bounds_show_at_once(self, project: Project) -> None:
        loaded = with_days(project)
        night(loaded)
        write_labels(loaded, chance(DAYS[0]), DAYS[0])
        truths_of(loaded, nights_of(loaded, DAYS[:1]))
        bounds = {"path": "labels", "column": "late", "bounds": {"auc": {"min": 0.99}}}
        loaded = with_sections(loaded, labels=bounds)
        [shown] = truth_nights(loaded, PublishedNights(loaded).all())
        assert shown.beyond[0].startswith("auc is 0.")

    def test_a_damaged_truth_keeps_no_other_from_mlflow(self, project: Project) -> None:
        loaded = with_days(project)
        for day in DAYS[:2]:
            night(loaded, day)
            write_labels(loaded, chance(day), day)
        truths_of(loaded, nights_of(loaded, DAYS[:1]))
        state = PublishedNights(loaded).state_of(nights_of(loaded)[0])
        (state.place("truth") / "000001.json").write_text("{")  # type: ignore[union-attr]
        log_truths(loaded, truths_of(loaded, nights_of(loaded, DAYS[1:2])))
        [run] = truth_runs(loaded)
        assert run.info.status == "FINISHED"

    def test_told_is_what_was_sent_and_no_later_truth(self, project: Project) -> None:
        loaded = with_days(project, labels__bounds={"auc": {"min": 0.99}})
        for day in DAYS[:2]:
            night(loaded, day)
        write_labels(loaded, chance(DAYS[0]), DAYS[0])

        def due() -> dict[str, Any]:
            said = CliRunner().invoke(app, ["truth", "p", "--due", "--json"])
            return dict(json.loads(said.stdout)["alerts"])

        [sent] = due()
        write_labels(loaded, chance(DAYS[1]), DAYS[1])
        CliRunner().invoke(app, ["truth", "p", "--told", sent])
        assert list(due()) == [f"{DAYS[1]}:1"]
        wrong = CliRunner().invoke(app, ["truth", "p", "--told", "x"])
        assert "expected PARTITION:NUMBER" in wrong.output


@pytest.mark.long
def test_labels_of_an_iceberg_table_with_renamed_columns_are_refused(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its files have other columns under these names than readers of the table see."""
    monkeypatch.setenv(CATALOG, catalog_in(tmp_path))
    given = {"labels__format": "iceberg", "labels__table": "test.raw.labels"}
    loaded = project(**FIXED, labels__path="ice/labels", labels__column="late", **given)
    night(loaded)
    late = RANDOM.random(600) < 0.5
    rows = pa.table({"ds": [DAYS[0]] * 600, "id": range(600), "late": late, "other": ~late})

    def make(renamed: bool) -> None:
        from pyiceberg.catalog import load_catalog

        catalog = load_catalog("test", uri=os.environ[CATALOG])
        if not renamed:
            catalog.create_namespace("raw")
            place = f"file://{tmp_path}/ice/labels"
            table = catalog.create_table("raw.labels", rows.schema, location=place)
            with table.update_spec() as spec:
                spec.add_identity("ds")
            table.append(rows)
            return
        table = catalog.load_table("raw.labels")
        for old, new in (("late", "before"), ("other", "late")):
            with table.update_schema() as schema:
                schema.rename_column(old, new)

    def counted() -> tuple[str, float | None]:
        [one] = truths_of(loaded, nights_of(loaded, DAYS[:1]))
        share = one.truth.parts["all"].figures["positive"] if one.truth else None
        return one.problem, share

    in_child(lambda: make(renamed=False))
    assert in_child(counted) == ("", pytest.approx(late.mean()))
    in_child(lambda: make(renamed=True))
    problem, share = in_child(counted)
    assert share is None
    assert "are not what readers of the table see" in problem
