"""Keys of a partition's path as features, keys, passthrough, segments and in expectations."""

from __future__ import annotations

import datetime as dt
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import yaml

from nocturne import config, plan
from nocturne.config import Loaded, partition
from nocturne.errors import ConfigError, InputError
from nocturne.operate.verify import verify_partition
from nocturne.pipeline import prepare
from nocturne.pipeline.recording import judge_run
from nocturne.source.parquet_files import cut
from nocturne.store.run import Run
from nocturne.table import published_manifest, table_of
from pipeline.conftest import DAYS, night_of, scored

MakeProject = Callable[..., Loaded]
DAY = DAYS[1]


def _by_word(folder: Path) -> pa.Table:
    """The day's rows in folders ``word=a`` ..., in whose files that column is not."""
    table = pq.read_table(folder / "part-0.parquet", partitioning=None)
    for value in pc.unique(table["word"]).to_pylist():
        rows = table.filter(pc.equal(table["word"], value) if value else pc.is_null(table["word"]))
        below = folder / f"word={value or '__HIVE_DEFAULT_PARTITION__'}"
        below.mkdir()
        pq.write_table(rows.drop_columns(["word"]), below / "part-0.parquet", row_group_size=250)
    (folder / "part-0.parquet").unlink()
    return table


def _suite(root: Path, *expectations: tuple[str, dict[str, Any]]) -> None:
    asked = [{"type": type_, "kwargs": kwargs} for type_, kwargs in expectations]
    text = yaml.safe_dump({"name": "asked", "expectations": asked})
    (root / "conf" / "expectations" / "i.yaml").write_text(text)


def _out(root: Path, day: str = DAY) -> pa.Table:
    folder = root / "out" / "scores" / f"ds={day}"
    return pq.read_table(folder, partitioning=None).sort_by("id")


def test_a_key_below_the_partition_is_feature_passthrough_and_segment_as_a_column_is(
    project: MakeProject, tmp_path: Path
) -> None:
    loaded = project(drift__segments=["word"])
    by_column = scored(loaded, DAY)
    whole = judge_run(by_column).drift
    night_of(loaded, DAY)
    expected = _out(tmp_path)

    table = _by_word(tmp_path / "data" / f"ds={DAY}")
    manifest = night_of(loaded, DAY)
    assert (manifest.rows_published, manifest.rows_quarantined) == (table.num_rows, 0)
    found = _out(tmp_path)
    assert found.schema == expected.schema
    assert found.drop_columns(["score"]).equals(expected.drop_columns(["score"]))
    assert pc.max(pc.abs(pc.subtract(found["score"], expected["score"]))).as_py() < 1e-6
    run = scored(loaded, DAY, force=True)
    assert run.plan.path_keys == ("word",)
    again = judge_run(run).drift
    assert {s.name: s.rows for s in again.segments} == {s.name: s.rows for s in whole.segments}
    assert [c.psi for c in again.columns if c.column == "word"] == pytest.approx(
        [c.psi for c in whole.columns if c.column == "word"]
    )
    assert verify_partition(loaded, partition({"ds": "%Y-%m-%d"}, DAY), None).ok


def test_keys_of_the_partition_are_keys_passthrough_and_a_cast_feature(
    project: MakeProject, tmp_path: Path
) -> None:
    loaded = project()
    path = tmp_path / "data" / f"ds={DAY}" / "part-0.parquet"
    table = pq.read_table(path, partitioning=None)
    at = table.schema.get_field_index("y")
    pq.write_table(table.set_column(at, "y", pa.array([3.0] * table.num_rows)), path)
    night_of(loaded, DAY)
    expected = _out(tmp_path)

    shutil.rmtree(tmp_path / "data")
    folder = tmp_path / "data" / "y=3" / f"ds={DAY}" / "hour=05"
    folder.mkdir(parents=True)
    pq.write_table(table.drop_columns(["y"]), folder / "part-0.parquet")
    yaml_ = tmp_path / "conf" / "pipelines" / "p.yaml"
    said = yaml.safe_load(yaml_.read_text())
    said["input"] |= {
        "partition": {"y": "3", "ds": "%Y-%m-%d", "hour": "%H"},
        "cast": {"y": "double"},
    }
    said["output"] = {"path": "out/b", "keys": ["id", "hour"], "passthrough": ["ds", "y"]}
    yaml_.write_text(yaml.safe_dump(said, sort_keys=False))
    night_of(config.load("p"), f"{DAY}T05")
    out = tmp_path / "out" / "b" / "y=3" / f"ds={DAY}" / "hour=05"
    found = pq.read_table(out, partitioning=None).sort_by("id")
    assert [found.schema.field(n).type for n in ("hour", "ds", "y")] == [
        pa.int32(),
        pa.date32(),
        pa.string(),
    ]
    assert found.select(["hour", "ds", "y"]).slice(0, 1).to_pylist() == [
        {"hour": 5, "ds": dt.date.fromisoformat(DAY), "y": "3"}
    ]
    assert found["score"].to_pylist() == pytest.approx(expected["score"].to_pylist(), abs=1e-6)


@pytest.mark.parametrize("scan", ["none", "pandas"])
def test_an_expectation_reads_a_key_that_nothing_else_does(
    project: MakeProject, tmp_path: Path, scan: str
) -> None:
    project(quality__input_suite="i.yaml", quality__scan=scan, quality__on_failure="warn")
    _suite(
        tmp_path,
        ("expect_column_values_to_be_in_set", {"column": "region", "value_set": ["eu"]}),
        ("expect_column_values_to_not_be_null", {"column": "ds"}),
    )
    folder = tmp_path / "data" / f"ds={DAY}"
    table = pq.read_table(folder / "part-0.parquet", partitioning=None)
    for value, rows in (("eu", table.slice(100)), ("us", table.slice(0, 100))):
        (folder / f"region={value}").mkdir()
        pq.write_table(rows, folder / f"region={value}" / "a.parquet")
    (folder / "part-0.parquet").unlink()
    run = scored(config.load("p"), DAY)
    assert run.plan.path_keys == ("ds", "region")
    quality = judge_run(run).quality
    assert [e.success for e in quality.expectations] == [False, True]
    assert "100 of 600 (16.67%) values unexpected, such as us" in quality.expectations[0].observed
    assert "region" not in night_columns(run)


def night_columns(run: Run) -> list[str]:
    judge_run(run)
    names: list[str] = pq.read_schema(next(run.path.glob("attempts/0*.parquet"))).names
    return names


def test_a_pipeline_that_names_no_key_is_planned_as_ever(
    project: MakeProject, tmp_path: Path
) -> None:
    loaded = project()
    folder = tmp_path / "data" / f"ds={DAY}"
    (folder / "region=eu").mkdir()
    (folder / "part-0.parquet").rename(folder / "region=eu" / "part-0.parquet")
    run = prepare(loaded, partition({"ds": "%Y-%m-%d"}, DAY), dry_run=True).run
    assert run is not None
    assert run.plan.path_keys == ()
    encoding = run.plan.encoding
    pieces = cut(folder, run.plan.files, max_rows=250, max_bytes=1 << 40)
    keys = plan.split_keys(
        pieces, run.plan.model, encoding, run.plan.pinned, run.plan.keys, run.plan.passthrough
    )
    assert run.plan.splits == keys


def test_a_column_that_the_files_hold_counts_before_the_key_of_that_name(
    project: MakeProject, tmp_path: Path
) -> None:
    loaded = project(output__passthrough=["word", "ds"])
    folder = tmp_path / "data" / f"ds={DAY}"
    table = pq.read_table(folder / "part-0.parquet", partitioning=None)
    table = table.append_column("ds", pa.array(["their own"] * table.num_rows))
    (folder / "word=x").mkdir()
    pq.write_table(table, folder / "word=x" / "a.parquet")
    (folder / "part-0.parquet").unlink()
    assert scored(loaded, DAY).plan.path_keys == ()
    night_of(loaded, DAY)
    assert set(_out(tmp_path)["ds"].to_pylist()) == {"their own"}
    assert _out(tmp_path)["word"].equals(table.sort_by("id")["word"])

    pq.write_table(table.drop_columns(["word"]), folder / "word=x" / "b.parquet")
    with pytest.raises(InputError, match="b.parquet: column 'word' is missing"):
        scored(loaded, DAY)


def test_another_value_is_another_split(project: MakeProject, tmp_path: Path) -> None:
    layout = {"word": "a", "ds": "%Y-%m-%d"}
    project(input__partition=layout)
    table = pq.read_table(tmp_path / "data" / f"ds={DAY}" / "part-0.parquet", partitioning=None)
    keys = []
    for value in ("a", "b"):
        folder = tmp_path / "data" / f"word={value}" / f"ds={DAY}"
        folder.mkdir(parents=True)
        pq.write_table(table.drop_columns(["word"]), folder / "part-0.parquet")
        loaded = config.load("p", overrides={"input.partition": {**layout, "word": value}})
        run = scored(loaded, DAY)
        keys.append([split.key for split in run.plan.splits])
    assert not set(keys[0]) & set(keys[1])


def test_a_folder_that_got_another_name_is_scored_again(
    project: MakeProject, tmp_path: Path
) -> None:
    loaded = project()
    folder = tmp_path / "data" / f"ds={DAY}"
    _by_word(folder)
    first = night_of(loaded, DAY)
    (folder / "word=a").rename(folder / "word=z")
    run = prepare(loaded, partition({"ds": "%Y-%m-%d"}, DAY)).run
    assert run is not None
    current = published_manifest(table_of(run))
    assert current is not None
    assert current.id == first.id
    reused = {f.split for f in first.outputs} & {s.key for s in run.plan.splits}
    assert {s.file for s in run.plan.splits if s.key not in reused} == {"word=z/part-0.parquet"}
    night_of(loaded, DAY)
    assert "z" in _out(tmp_path)["word"].to_pylist()


def test_a_null_in_a_path_is_a_null_and_as_a_key_quarantined(
    project: MakeProject, tmp_path: Path
) -> None:
    loaded = project(
        output__keys=["id", "word"], output__passthrough=[], quality__max_quarantined=0.9
    )
    table = _by_word(tmp_path / "data" / f"ds={DAY}")
    manifest = night_of(loaded, DAY)
    assert manifest.rows_quarantined == table["word"].null_count > 0


REFUSED: dict[str, tuple[type[Exception], str]] = {
    "twice": (InputError, "has the key word twice in its path; which one is meant"),
    "some": (InputError, "part-0.parquet: column 'word' is missing"),
    "sensitive": (ConfigError, "names word, a key of the input's folders: their names are in"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_can_not_be_told_or_hidden_is_refused(
    project: MakeProject, tmp_path: Path, case: str
) -> None:
    loaded = project(quality__sensitive=["word"] if case == "sensitive" else [])
    folder = tmp_path / "data" / f"ds={DAY}"
    _by_word(folder)
    if case == "twice":
        (folder / "word=a" / "word=b").mkdir(parents=True)
        for path in folder.glob("word=*/part-0.parquet"):
            path.parent.joinpath("word=b").mkdir(exist_ok=True)
            path.rename(path.parent / "word=b" / path.name)
    if case == "some":
        (folder / "word=a" / "part-0.parquet").rename(folder / "part-0.parquet")
    error, said = REFUSED[case]
    with pytest.raises(error, match=said):
        scored(loaded, DAY)
