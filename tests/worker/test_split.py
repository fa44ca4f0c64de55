"""One split in a worker: every row is scored or quarantined once, and the first result counts."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from conftest import MakeRun, sample
from nocturne.errors import InputChanged, InputError, ModelError
from nocturne.store.files import file_digest
from nocturne.worker.split import run_split


def _attempt(run, result) -> pa.Table:  # type: ignore[no-untyped-def]
    return pq.read_table(run.path / "attempts" / result.file)


def test_the_scores_carry_keys_passthrough_prediction_and_version(make_run: MakeRun) -> None:
    run = make_run()
    result = run_split(run, run.plan.splits[0])
    table = _attempt(run, result)
    assert table.schema.names == ["id", "word", "score", "model_version"]
    assert table["model_version"].unique().to_pylist() == [3]
    assert result.sha256 == file_digest(run.path / "attempts" / result.file)


def test_the_splits_of_a_partition_hold_each_row_once_in_order(make_run: MakeRun) -> None:
    run = make_run()
    assert [s.rows for s in run.plan.splits] == [1000, 1000, 500]
    assert [s.first_row for s in run.plan.splits] == [0, 1000, 2000]
    ids = [i for s in run.plan.splits for i in _attempt(run, run_split(run, s))["id"].to_pylist()]
    assert ids == list(range(2500))


def test_a_second_run_of_a_split_does_nothing(make_run: MakeRun) -> None:
    run = make_run()
    first = run_split(run, run.plan.splits[0])
    assert run_split(run, run.plan.splits[0]) == first
    assert len(list((run.path / "attempts").iterdir())) == 1


def test_two_attempts_of_a_split_are_equal_bytes_and_the_first_decides(make_run: MakeRun) -> None:
    run = make_run()
    first = run_split(run, run.plan.splits[0])
    decided = run.result_file(run.plan.splits[0])
    decided.rename(decided.with_suffix(".away"))
    second = run_split(run, run.plan.splits[0])
    assert second.file != first.file
    assert second.sha256 == first.sha256


def test_null_keys_are_quarantined_with_file_row_and_reason(make_run: MakeRun) -> None:
    table = sample(1500)
    ids = table["id"].to_pylist()
    ids[3] = ids[1200] = None
    run = make_run({"a b-é.parquet": table.set_column(0, "id", pa.array(ids, pa.int64()))})
    results = [run_split(run, split) for split in run.plan.splits]
    assert [r.quarantined for r in results] == [1, 1]
    bad = pq.read_table(run.path / "attempts" / str(results[1].quarantine_file))
    assert bad.select(["source_file", "source_row", "reason"]).to_pylist() == [
        {"source_file": "a b-é.parquet", "source_row": 1200, "reason": "the key id is null"}
    ]
    kept = [i for r in results for i in _attempt(run, r)["id"].to_pylist()]
    assert kept == [i for i in ids if i is not None]


def test_infinite_inputs_that_make_no_finite_score_are_quarantined(make_run: MakeRun) -> None:
    table = sample(100)
    y = table["y"].to_pylist()
    y[5], x = float("inf"), table["x"].to_pylist()
    x[5] = float("-inf")
    table = table.set_column(1, "x", pa.array(x)).set_column(2, "y", pa.array(y))
    run = make_run({"p.parquet": table})
    result = run_split(run, run.plan.splits[0])
    assert result.rows_in == 100
    assert result.rows_out + result.quarantined == 100


def test_a_column_named_as_one_of_quarantine_is_kept_beside_it(make_run: MakeRun) -> None:
    table = sample(20).append_column("reason", pa.array(["mine"] * 20))
    table = table.set_column(0, "id", pa.array([None, *range(1, 20)], pa.int64()))
    run = make_run({"p.parquet": table}, keys=("id", "reason"))
    result = run_split(run, run.plan.splits[0])
    bad = pq.read_table(run.path / "attempts" / str(result.quarantine_file))
    assert bad["reason"].to_pylist() == ["the key id is null"]
    assert bad["input.reason"].to_pylist() == ["mine"]


@pytest.mark.parametrize("name", ["reason", "source_file", "source_row"])
@pytest.mark.parametrize("value", [7, "word", 1.5, True, b"x"])
def test_a_column_named_so_keeps_its_type_and_lets_ours_have_theirs(
    make_run: MakeRun, name: str, value: object
) -> None:
    table = sample(20).append_column(name, pa.array([value] * 20).dictionary_encode())
    table = table.set_column(0, "id", pa.array([None, *range(1, 20)], pa.int64()))
    run = make_run({"p.parquet": table}, keys=("id",))
    result = run_split(run.changed(passthrough=(name,)), run.plan.splits[0])
    assert (result.rows_out, result.quarantined) == (19, 1)
    bad = pq.read_table(run.path / "attempts" / str(result.quarantine_file))
    assert bad.select(["source_file", "source_row", "reason"]).to_pylist() == [
        {"source_file": "p.parquet", "source_row": 0, "reason": "the key id is null"}
    ]
    assert bad[f"input.{name}"].to_pylist() == [value]
    assert bad.schema.field(f"input.{name}").type == pa.array([value]).type


def test_the_largest_of_floats_do_not_break_the_profile(make_run: MakeRun) -> None:
    table = sample(100).set_column(1, "x", pa.array([1.7e308, -1.7e308] * 50))
    run = make_run({"p.parquet": table})
    result = run_split(run, run.plan.splits[0])
    assert result.rows_in == 100
    assert sum(result.profile.columns["x"].counts.values()) == 100


def test_a_model_that_can_not_be_loaded_says_so(make_run: MakeRun, tmp_path: Path) -> None:
    run = make_run()
    broken = run.changed(model=replace(run.plan.model, path=str(tmp_path)))
    with pytest.raises(ModelError, match=r"holds no \.pt2 file"):
        run_split(broken, broken.plan.splits[0])
    cuda = run.changed(pinned=replace(run.plan.pinned, device="cuda"))
    if not torch.cuda.is_available():
        with pytest.raises(ModelError, match="torch sees no CUDA device here"):
            run_split(cuda, cuda.plan.splits[0])


def test_a_split_with_only_bad_rows_still_writes_a_file_with_the_schema(make_run: MakeRun) -> None:
    table = sample(10).set_column(0, "id", pa.nulls(10, pa.int64()))
    run = make_run({"p.parquet": table})
    result = run_split(run, run.plan.splits[0])
    assert (result.rows_out, result.quarantined) == (0, 10)
    assert _attempt(run, result).schema.names == ["id", "word", "score", "model_version"]


def test_the_profile_counts_features_and_predictions(make_run: MakeRun) -> None:
    run = make_run({"p.parquet": sample(800)})
    profile = run_split(run, run.plan.splits[0]).profile
    assert profile.rows == 800
    x, score = profile.columns["x"], profile.columns["score"]
    assert sum(x.counts.values()) + x.null == 800
    assert 0 < x.null < 800
    assert sum(score.counts.values()) == 800


def test_a_file_that_changed_after_planning_is_refused(make_run: MakeRun) -> None:
    run = make_run()
    path = Path(run.plan.input_dir) / "part-0.parquet"
    pq.write_table(sample(2500, seed=1), path, row_group_size=1000)
    with pytest.raises(InputChanged, match="changed after planning"):
        run_split(run, run.plan.splits[0])
    assert not run.result_file(run.plan.splits[0]).exists()


def test_a_file_that_was_deleted_after_planning_is_refused(make_run: MakeRun) -> None:
    run = make_run()
    os.unlink(Path(run.plan.input_dir) / "part-0.parquet")
    with pytest.raises(InputChanged, match="was deleted after planning"):
        run_split(run, run.plan.splits[0])


def test_a_corrupt_page_names_the_file_and_the_row_groups(make_run: MakeRun) -> None:
    run = make_run()
    path = Path(run.plan.input_dir) / "part-0.parquet"
    content = bytearray(path.read_bytes())
    content[200:2000] = b"\xff" * 1800
    path.write_bytes(content)
    run = make_run({})
    with pytest.raises(InputError, match=r"part-0\.parquet: row groups 0 to 0 can't be decoded"):
        run_split(run, run.plan.splits[0])


def test_quarantine_leaves_sensitive_columns_out_keys_too(make_run: MakeRun) -> None:
    """Also where nothing else of the input is left."""
    ids = pa.array([None, *range(1, 20)], pa.int64())
    table = sample(20).set_column(0, "id", ids).append_column("day", pa.array([7] * 20))
    columns = ["id", "day", "x", "y", "word"]
    for sensitive in (["id", "word"], columns):
        run = make_run({"p.parquet": table}, keys=("id", "day"))
        run = run.changed(sensitive_columns=tuple(sensitive))
        run.result_file(run.plan.splits[0]).unlink(missing_ok=True)
        result = run_split(run, run.plan.splits[0])
        bad = pq.read_table(run.path / "attempts" / str(result.quarantine_file))
        kept = [name for name in columns if name not in sensitive]
        assert sorted(bad.column_names) == sorted(["source_file", "source_row", "reason", *kept])
        assert bad["source_row"].to_pylist() == [0]
