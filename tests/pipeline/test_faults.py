"""A model at fault is no bad row: nothing is offered for approval, and the cause is said."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from nocturne import config
from nocturne.cli.init import init
from nocturne.errors import InputError, ModelError, StateError
from nocturne.operate.decisions import approve_held
from nocturne.operate.packages import model_packages
from nocturne.operate.status import statuses
from nocturne.pipeline import prepare
from nocturne.pipeline.publishing import approve, publish_run
from nocturne.pipeline.recording import judge_run
from nocturne.records.partition import Partition
from nocturne.records.result import strange, strange_output
from nocturne.store.run import Run
from nocturne.table import table_of
from nocturne.worker.tasks import as_error, guarded
from pipeline.conftest import DAYS, scored
from pipeline.pyfuncs import project_of

Project = Callable[..., config.Loaded]
DAY = DAYS[0]


def _whole(frame: pd.DataFrame) -> np.ndarray:
    return frame.x.fillna(0.0).to_numpy()  # type: ignore[no-any-return]


def _night(loaded: config.Loaded) -> Partition:
    return config.partition(loaded.pipeline.input.partition, DAY)


def _short(loaded: config.Loaded) -> None:
    """Sixty rows: it takes two calls a row to find that each of them is bad."""
    path = loaded.home / "data" / f"ds={DAY}" / "part-0.parquet"
    pq.write_table(pq.read_table(path, partitioning=None).slice(0, 60), path, row_group_size=25)


def _changed(loaded: config.Loaded, name: str, column: pa.Array) -> None:
    path = loaded.home / "data" / f"ds={DAY}" / "part-0.parquet"
    table = pq.read_table(path, partitioning=None)
    at = table.schema.get_field_index(name)
    pq.write_table(table.set_column(at, name, column), path, row_group_size=250)


# -- a night on which the model only raises -----------------------------------------------------


def _lost(loaded: config.Loaded) -> tuple[Run, str]:
    """A short night that is failed, as not one of its rows has a score; its run, and why."""
    run = scored(loaded, DAY)
    judgement = judge_run(run)
    assert (judgement.verdict, judgement.quarantined, judgement.rows_out) == ("fail", 60, 0)
    [reason] = [said for said in judgement.reasons if "not one of 60 rows" in said]
    return run, reason


def test_a_night_on_which_the_model_raised_throughout_is_failed_and_not_to_be_approved(
    project: Project, tmp_path: Path
) -> None:
    mended = tmp_path / "mended"

    def broken(frame: pd.DataFrame) -> np.ndarray:
        if not mended.exists():
            raise RuntimeError(f"no weights for {frame.word.iloc[0]!r}")
        return _whole(frame)

    loaded = project_of(project, broken, quality__max_quarantined=1.0)
    _short(loaded)
    run, reason = _lost(loaded)
    assert "RuntimeError: no weights for " in reason
    assert "Correct that, then score the partition again" in reason
    with pytest.raises(InputError, match="failed its checks: not one of 60 rows") as caught:
        publish_run(run)
    assert "nocturne approve" not in str(caught.value)
    [told] = [one for one in statuses(loaded) if one.key == DAY]
    assert told.state == "failed"
    assert "no weights for" in told.message
    with pytest.raises(StateError, match="has no held scores"):
        approve_held(loaded, _night(loaded), "me")
    with pytest.raises(ModelError, match="can't be approved: not one of 60 rows"):
        approve(run, "me")
    assert not table_of(run).location.exists()
    mended.touch()  # what is installed was corrected: the rows are scored again
    again = scored(loaded, DAY)
    assert again.plan.run_key == run.plan.run_key
    assert judge_run(again).rows_out == 60
    assert publish_run(again).rows_published == 60


def test_a_night_of_rows_that_are_bad_by_their_data_is_still_held(project: Project) -> None:
    loaded = project_of(project, _whole, output__keys=["word"], output__passthrough=[])
    _changed(loaded, "word", pa.nulls(600, pa.string()))
    judgement = judge_run(scored(loaded, DAY))
    assert (judgement.verdict, judgement.quarantined) == ("hold", 600)


def test_rows_with_null_keys_do_not_hide_that_the_model_raises(project: Project) -> None:
    def broken(frame: pd.DataFrame) -> np.ndarray:
        raise RuntimeError("no weights")

    loaded = project_of(project, broken)
    _short(loaded)
    _changed(loaded, "id", pa.array([None, *range(1, 60)], pa.int64()))
    judgement = judge_run(scored(loaded, DAY))
    assert judgement.verdict == "fail"
    assert "the model raised on 59 of them" in judgement.reasons[0]


def test_a_night_of_another_type_than_the_trial_fixed_is_failed_with_what_to_say(
    project: Project, tmp_path: Path
) -> None:
    late = tmp_path / "late"

    def whole_once(frame: pd.DataFrame) -> list[object]:
        return [0.5 if late.exists() else 1 for _ in frame.x]

    loaded = project_of(
        project, whole_once, model__outputs={"prediction": "long"}, quality__max_quarantined=1.0
    )
    _short(loaded)
    prepared = prepare(loaded, _night(loaded))
    assert prepared.run is not None
    assert prepared.run.plan.encoding.outputs[0].type == "int64"
    late.touch()
    run, reason = _lost(loaded)
    assert "on 60 of them it returned another type or length" in reason
    assert "the prediction prediction is no int64 (60 rows)" in reason
    assert "say in model.outputs what it returns" in reason
    assert "{prediction: double}" in reason
    with pytest.raises(ModelError, match="can't be approved: not one of 60 rows"):
        approve(run, "me")


def test_reasons_of_another_type_are_told_by_their_words() -> None:
    for output, type_, length in (("a b", "int64", ""), ("p is no x", "timestamp[us, UTC]", "[3]")):
        assert strange_output(strange(output, f"{type_}{length}")) == (output, type_, length)
    for other in ("the prediction p is missing or not finite", "the model raised E: p is no int64"):
        assert strange_output(other) is None


def test_a_model_that_raises_on_some_rows_quarantines_them_as_ever(project: Project) -> None:
    def some(frame: pd.DataFrame) -> np.ndarray:
        if (frame["id"] % 100 == 17).any():
            raise RuntimeError("seventeen")
        return _whole(frame)

    judgement = judge_run(scored(project_of(project, some), DAY))
    assert (judgement.verdict, judgement.rows_out, judgement.quarantined) == ("ok", 594, 6)


# -- reasons --------------------------------------------------------------------------------------


def test_reasons_hold_no_value_of_the_row_and_are_few(project: Project) -> None:
    """Not of ``sensitive`` columns, and not of the others."""

    def telling(frame: pd.DataFrame) -> np.ndarray:
        bad = frame[frame.word == "c"]
        if len(bad):
            row = bad.iloc[0].to_dict()
            said = f"bad row: {row} with id {row['id']:06d}, {row['y']}"
            raise ValueError(f"\n\ncan't score\n{bad}\n{said}\n\n")
        return _whole(frame)

    loaded = project_of(project, telling, quality__sensitive=["word"], quality__max_quarantined=0.9)
    _short(loaded)
    run = scored(loaded, DAY)
    judge_run(run)
    reasons = {said: n for r in run.results() for said, n in r.reasons.items()}
    assert sum(n for r in run.results() for n in r.reasons.values()) > 10
    assert len(reasons) <= 4
    table = pq.read_table(loaded.home / "data" / f"ds={DAY}" / "part-0.parquet")
    for said in reasons:
        assert said.startswith("the model raised ValueError: bad row: {'id': <")
        assert "'word': <word>} with id <number>, <" in said
        assert not any(str(y) in said for y in table["y"].to_pylist())
    report = (run.path / "report.html").read_text()
    assert "&lt;word&gt;" in report


# -- packages -------------------------------------------------------------------------------------


def _imports(frame: pd.DataFrame) -> np.ndarray:
    import not_there_xyz  # type: ignore[import-not-found]

    return not_there_xyz.score(frame)  # type: ignore[no-any-return]


def test_a_package_that_lacks_when_the_model_predicts_ends_the_night_with_its_requirement(
    project: Project,
) -> None:
    asked = ["not-there-xyz==1.2", "numpy==1.21.0"]
    loaded = project_of(project, _imports, requirements=asked)
    prepared = prepare(loaded, _night(loaded), dry_run=True)
    assert "WARNING: model noted version 1 was logged with other packages" in prepared.message
    assert (
        "not-there-xyz==1.2 is not installed; numpy==1.21.0 is required, numpy" in prepared.message
    )
    with pytest.raises(ModelError, match="No module named 'not_there_xyz'") as caught:
        scored(loaded, DAY)
    assert "Its requirements.txt asks for it: not-there-xyz==1.2 is not installed" in str(
        caught.value
    )
    assert caught.value.exit_code == 1


def test_init_and_doctor_name_what_is_missing(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    loaded = project_of(project, _whole, requirements=["not-there-xyz==1.2"])
    uri = f"sqlite:///{loaded.home / 'var' / 'mlflow' / 'mlflow.db'}"
    init(
        "fresh",
        model="noted@champion",
        input_path="data",
        output_path="out/fresh",
        keys=["id"],
        root=loaded.home,
        tracking_uri=uri,
        allow_pickle=True,
    )
    assert "not-there-xyz==1.2 is not installed" in capsys.readouterr().err
    before = set(loaded.home.rglob("*"))
    found = {name: (ok, said) for name, ok, said, _ in model_packages()}
    assert found["p: packages"] == (False, "noted version 1: not-there-xyz==1.2 is not installed")
    assert set(loaded.home.rglob("*")) == before, "doctor leaves nothing behind"


def test_a_model_that_can_not_be_had_is_not_compared(project: Project) -> None:
    project(model__name="nobody")
    [(_, ok, said, _)] = model_packages()
    assert ok
    assert said.startswith("not compared: no model 'nobody' in the registry")


# -- casts --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "cast",
    [
        lambda: pa.array(["came"]).cast(pa.float64()),
        lambda: pa.array([1.5]).cast(pa.int64()),
        lambda: pa.array([1.5]).cast(pa.binary()),
    ],
)
def test_a_cast_that_fails_in_a_worker_is_terminal_and_says_no_value(
    cast: Callable[[], object],
) -> None:
    _, error, message = guarded(cast, "split 3")
    failure = as_error(str(error), str(message))
    assert failure.exit_code == 1
    assert "split 3: a value can't be taken as its column's type: Arrow" in str(failure)
    assert "came" not in str(failure)
    assert "1.5" not in str(failure)
    json.dumps(message)
