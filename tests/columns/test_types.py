"""Every type that a Parquet file can hold, in every role: taken, cast, or refused with what to do.

What comes out is compared with what another reader (DuckDB) finds in what went in.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from arrow_types import COLUMNS, ROWS
from conftest import ENCODING, MakeRun, sample
from nocturne.columns.normal import lake_type, normal_schema, packed, restored
from nocturne.columns.values import BOOLEANS, NUMBERS, TEXT, TIMES, kind
from nocturne.encoding import FRAME_TYPES, Encoding, Feature, OutputSpec, TensorSpec
from nocturne.engine import cast_rows, encode
from nocturne.fitting import casts, check_columns, check_output
from nocturne.pipeline.runs import scored_keys
from nocturne.quality.duplicates import duplicates
from nocturne.records.plan import Table
from nocturne.records.quality import Measure
from nocturne.source.reading import open_parquet, read_batches, read_schema
from nocturne.store.run import Run
from nocturne.worker.split import run_split

COLUMN = pytest.mark.parametrize("name", COLUMNS)

ROLES: dict[str, TensorSpec] = {
    "float": TensorSpec("t", "float32", "numeric", (Feature("c", fill=-1.0, center=1, scale=2),)),
    "integer": TensorSpec("t", "int64", "numeric", (Feature("c"),)),
    "words": TensorSpec(
        "t", "int64", "category", (Feature("c", vocabulary=("a", "1", "2024-10-27"), unknown=3),)
    ),
    "codes": TensorSpec("t", "int64", "category", (Feature("c", vocabulary=(1, 3), unknown=2),)),
    "list": TensorSpec("t", "float32", "list", (Feature("c", length=2, pad=-1.0),)),
    "mask": TensorSpec("t", "int64", "mask", (Feature("c", length=2),)),
    **{
        f"frame {t}": TensorSpec("t", "frame", "frame", (Feature("c", type=t),))
        for t in FRAME_TYPES
    },
}


def _path(run: Run, file: str | None) -> Path:
    return run.path / "attempts" / str(file)


def _read(path: Path, where: str = "true", columns: str = "c") -> list[Any]:
    """The column's type and values as DuckDB has them, in words."""
    shown = ", ".join(f"typeof({c}), {c}::varchar" for c in columns.split())
    query = f"SELECT {shown} FROM read_parquet(?) WHERE {where}"
    return duckdb.execute(query, [str(path)]).fetchall()


def _table(column: pa.Array) -> pa.Table:
    """The column beside a key that is null in the second row."""
    ids = pa.array([0, None, 2, 3, 4], pa.int64())
    return sample(ROWS).set_column(0, "id", ids).append_column("c", column)


@COLUMN
def test_passthrough_and_quarantine_hold_what_another_reader_finds_in_the_input(
    make_run: MakeRun, name: str
) -> None:
    run = make_run({"p.parquet": _table(COLUMNS[name])})
    source = Path(run.plan.input_dir) / "p.parquet"
    nulls, *others = _measures(COLUMNS[name].type)
    measures = (nulls, *others)
    run = run.changed(
        passthrough=("word", "c"),
        tables={"input": Table(packed(normal_schema(read_schema(source))), measures)},
    )
    result = run_split(run, run.plan.splits[0])
    published, bad = _path(run, result.file), _path(run, result.quarantine_file)
    assert (result.rows_out, result.quarantined) == (4, 1)
    assert _read(published) == _read(source, "id IS NOT NULL")
    assert _read(bad) == _read(source, "id IS NULL")
    gone = sum(value is None or value != value for value in COLUMNS[name].to_pylist())
    assert result.measured["input"][nulls.key].missing == gone
    for measure in others:
        assert result.measured["input"][measure.key].rows == ROWS


def _measures(type_: pa.DataType) -> list[Measure]:
    """What expectations may ask of a column of the type: every kind of count that it has."""
    held = kind(type_)
    kinds = ["missing"]
    kinds += ["moments"] if held in (NUMBERS, TIMES) else []
    kinds += ["values"] if held in (NUMBERS, BOOLEANS, TEXT, TIMES) else []
    return [Measure(one, ("c",)) for one in kinds]  # type: ignore[arg-type]


@COLUMN
def test_keys_of_every_type_are_compared_or_refused(make_run: MakeRun, name: str) -> None:
    column = COLUMNS[name]
    run = make_run({"p.parquet": sample(ROWS).append_column("c", column)})
    schema = read_schema(Path(run.plan.input_dir) / "p.parquet")
    said = check_output(ENCODING, schema, ["c"], ["c"])
    nested = kind(schema.field("c").type) not in (BOOLEANS, NUMBERS, TEXT, TIMES) and any(
        word in str(schema.field("c").type) for word in ("list", "struct", "map")
    )
    if nested:
        assert said == [
            "column 'c' is nested, and quality.unique_keys compares plain values only; "
            "take another key, or drop quality.unique_keys"
        ]
        return
    assert said == []
    run = run.changed(keys=("c",), passthrough=(), unique_keys=True)
    result = run_split(run, run.plan.splits[0])
    assert (result.rows_in, result.quarantined) == (ROWS, column.null_count)
    twice = duplicates(scored_keys(run, [result]), run.plan.keys)
    query = """SELECT count(*) FROM read_parquet(?) GROUP BY c
               HAVING count(*) > 1 AND c IS NOT NULL"""
    counts = duckdb.execute(query, [str(Path(run.plan.input_dir) / "p.parquet")]).fetchall()
    assert (twice.rows if twice else 0) == sum(count for (count,) in counts)


def _file(tmp_path: Path, column: pa.Array) -> Path:
    pq.write_table(pa.table({"c": column}), tmp_path / "c.parquet")
    return tmp_path / "c.parquet"


def _seen(path: Path, encoding: Encoding, told: dict[str, str]) -> tuple[Any, list[Any]]:
    """What the model is given of the file's column, and what is said of its rows."""
    [batch] = read_batches(open_parquet(path), path, [0], ["c"], 64)
    batch, why = cast_rows(batch, casts(encoding, read_schema(path), told))
    [given] = encode(batch, encoding)
    values = given.column(0).to_pylist() if isinstance(given, pa.RecordBatch) else given.tolist()
    return values, why.to_pylist()


@COLUMN
def test_a_feature_of_every_type_is_encoded_or_refused_with_what_to_do(
    tmp_path: Path, name: str
) -> None:
    path = _file(tmp_path, COLUMNS[name])
    schema = read_schema(path)
    for role, tensor in ROLES.items():
        encoding = Encoding((tensor,), (OutputSpec("score"),))
        told = _advice(encoding, schema)
        if told is None:
            continue
        values, why = _seen(path, encoding, told)
        assert len(values) == len(why) == ROWS, role
        lost = [number for number, reason in enumerate(why) if reason]
        assert all(why[number].startswith("column c: ") for number in lost), role
        assert not any(COLUMNS[name][number].as_py() is None for number in lost), role
        if role == "float" and not lost:
            assert np.allclose(np.ravel(values), _expected(path), rtol=1e-6)


def _advice(encoding: Encoding, schema: pa.Schema) -> dict[str, str] | None:
    """What ``input.cast`` has to say so that the column is taken, as the refusal says; None if it
    can't be. That it is taken then is a claim too.
    """
    problems = check_columns(encoding, schema)
    if not problems:
        return {}
    [said] = problems
    assert said.startswith(f"column 'c' is {_words(schema.field('c').type)}, the model wants ")
    if "input.cast_text: true" in said:
        assert check_columns(encoding, schema, cast_text=True) == []
        return {}
    if "input.cast: {c: " not in said:
        return None
    told = {"c": said.partition("{c: ")[2].partition("}")[0]}
    assert check_columns(encoding, schema, told) == []
    return told


def _words(type_: pa.DataType) -> str:
    return str(type_.value_type if pa.types.is_dictionary(type_) else type_)


def _expected(path: Path) -> Any:
    """What the spec says of the numbers that DuckDB reads: the fill for null and NaN, scaled."""
    found = duckdb.execute("SELECT c::double FROM read_parquet(?)", [str(path)]).fetchall()
    with np.errstate(over="ignore"):
        filled = [-1.0 if x is None or x != x else (x - 1) / 2 for (x,) in found]
        filled = [
            (-1.0 - 1) / 2 if x is None or x != x else f
            for f, (x,) in zip(filled, found, strict=True)
        ]
        return np.array(filled).astype(np.float32)


def test_a_lake_table_gets_one_kind_of_list_text_and_instant() -> None:
    came = {
        "fixed": pa.array([[9, 9], [1, 2], None, [3, None]], pa.list_(pa.int32(), 2)),
        "large": pa.array([["x"], ["a", None], None, []], pa.large_list(pa.string())),
        "text": pa.array(["x", "a", None, ""], pa.large_string()),
        "bytes": pa.array([b"x", b"a", None, b""], pa.large_binary()),
        "zone": pa.array([9, 0, None, 1], pa.timestamp("us", "Asia/Kolkata")),
        "local": pa.array([9, 0, None, 1], pa.timestamp("us")),
        "int": pa.array([9, 0, None, 1], pa.int8()),
    }
    batch = pa.RecordBatch.from_pydict(came).slice(1)
    target = pa.schema([(f.name, lake_type(f.type)) for f in batch.schema])
    assert [str(field.type) for field in target] == [
        *("list<item: int32>", "list<item: string>", "string", "binary"),
        *("timestamp[us, tz=UTC]", "timestamp[us]", "int8"),
    ]
    made = restored(batch, target)
    made.validate(full=True)
    assert made.schema == target
    assert made["fixed"].to_pylist() == [[1, 2], None, [3, None]]
    for name in ("large", "text", "bytes", "local", "int"):
        assert made[name].to_pylist() == batch[name].to_pylist()
    assert made["zone"].cast(pa.int64()).to_pylist() == [0, None, 1]
