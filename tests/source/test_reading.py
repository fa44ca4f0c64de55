"""What stands in the files: read as it was meant, or refused by name before a row is scored."""

from __future__ import annotations

import base64
import datetime as dt
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pyarrow.parquet.encryption as pe
import pytest
from hypothesis import given
from hypothesis import strategies as st

from conftest import ENCODING, MakeRun, sample
from nocturne import plan
from nocturne.cli.init.sample import take
from nocturne.cli.init.table import inspect
from nocturne.columns.normal import normal, normal_schema, packed
from nocturne.config.models import CASTS, Scoring
from nocturne.encoding import Encoding, Feature, OutputSpec, TensorSpec
from nocturne.engine import cast_rows, encode
from nocturne.errors import InputError
from nocturne.fitting import casts, check_columns, check_output
from nocturne.fitting.role_table import with_table
from nocturne.fitting.roles import TARGETS, Cast
from nocturne.pipeline.pinning import pin
from nocturne.records.plan import Piece
from nocturne.source.fingerprints import fingerprints
from nocturne.source.folders import listed
from nocturne.source.parquet_files import cut
from nocturne.source.reading import open_parquet, read_batches, read_schema
from nocturne.source.sample import SampleFiles
from nocturne.source.schemas import check_schema, inferred_types
from nocturne.store.pipeline_state import PipelineState
from nocturne.store.run import Run
from nocturne.worker.split import run_split

ROOT = Path(__file__).parents[2]


def _path(run: Run, file: str | None) -> Path:
    return run.path / "attempts" / str(file)


def _scores(run: Run) -> pa.Table:
    return pa.concat_tables(
        pq.read_table(_path(run, run_split(run, split).file)) for split in run.plan.splits
    )


def _with(column: pa.Array, name: str = "c") -> pa.Table:
    return sample(len(column)).append_column(name, column)


def _frame(type_: str) -> Encoding:
    part = TensorSpec("frame", "frame", "frame", (Feature("c", type=type_),))
    return Encoding((part,), (OutputSpec("p"),))


def _seen(
    tmp_path: Path, column: pa.Array, encoding: Encoding, told: Mapping[str, str] = {}
) -> tuple[list[Any], list[str | None]]:
    path = tmp_path / "c.parquet"
    pq.write_table(pa.table({"c": column}), path)
    assert check_columns(encoding, read_schema(path), told) == []
    [batch] = read_batches(open_parquet(path), path, [0], ["c"], 64)
    batch, why = cast_rows(batch, casts(encoding, read_schema(path), told))
    [made] = encode(batch, encoding)
    values = made.column(0) if isinstance(made, pa.RecordBatch) else pa.array(np.ravel(made))
    return values.to_pylist(), why.to_pylist()


# --- INT96, float16, time zones ---


def test_int96_times_of_every_year_are_published_as_they_are(make_run: MakeRun) -> None:
    times = [dt.datetime(9999, 12, 31), dt.datetime(1, 1, 1), dt.datetime(2024, 1, 1, 1, 1, 1, 7)]
    table = _with(pa.array(times, pa.timestamp("us")))
    run = make_run({"p.parquet": table})
    source = Path(run.plan.input_dir) / "p.parquet"
    pq.write_table(table, source, use_deprecated_int96_timestamps=True)
    assert pq.read_metadata(source).schema.column(4).physical_type == "INT96"
    run = make_run({}).changed(passthrough=("c",))
    [published] = (_path(run, run_split(run, split).file) for split in run.plan.splits)
    query = "SELECT c::varchar FROM read_parquet(?)"
    found = duckdb.execute(query, [str(published)]).fetchall()
    assert found == duckdb.execute(query, [str(source)]).fetchall()
    assert pq.read_table(published)["c"].to_pylist() == times


def test_a_float16_feature_scores_as_the_same_numbers_in_float32(make_run: MakeRun) -> None:
    table = sample(500)
    x = table["x"].combine_chunks().cast(pa.float16())
    feature = Feature("x", fill=80_000.0, center=70_000.0, scale=3.0)
    wide = replace(ENCODING.inputs[0], features=(feature, ENCODING.inputs[0].features[1]))
    found = []
    for partition, column in (("2024-01-01", x), ("2024-01-02", x.cast(pa.float32()))):
        run = make_run({"p.parquet": table.set_column(1, "x", column)}, partition=partition)
        run = run.changed(encoding=replace(ENCODING, inputs=(wide, ENCODING.inputs[1])))
        found.append(_scores(run))
    assert found[0].num_rows == 500
    assert found[0]["score"].equals(found[1]["score"])
    assert np.isfinite(found[0]["score"].to_numpy()).all()


BERLIN = pa.array(
    [dt.datetime(2024, 1, 15, hour) - dt.timedelta(hours=1) for hour in (0, 1, 2)],
    pa.timestamp("us", "UTC"),
).cast(pa.timestamp("us", "Europe/Berlin"))
"""Midnight, one and two o'clock in Berlin."""


def test_a_time_in_a_named_zone_is_no_feature_unless_it_is_said_whose_clock_counts(
    tmp_path: Path,
) -> None:
    encoding, schema = _frame("datetime"), pa.schema([("c", BERLIN.type)])
    [said] = check_columns(encoding, schema)
    assert said == (
        "column 'c' is timestamp[us, tz=Europe/Berlin], the model wants datetime in no time zone "
        "(input.cast: {c: local} takes the clock of Europe/Berlin, {c: utc} that of UTC)"
    )
    for clock, hours in {
        "local": [0, 1, 2],
        "utc": [23, 0, 1],
        "Asia/Tokyo": [8, 9, 10],
    }.items():
        values, why = _seen(tmp_path, BERLIN, encoding, {"c": clock})
        assert [value.hour for value in values] == hours
        assert why == [None] * 3


def test_the_hour_that_comes_twice_is_two_o_clock_both_times(tmp_path: Path) -> None:
    times = pa.array(
        [dt.datetime(2024, 10, 27, 0), dt.datetime(2024, 10, 27, 1)], pa.timestamp("ns", "UTC")
    ).cast(pa.timestamp("ns", "Europe/Berlin"))
    values, _ = _seen(tmp_path, times, _frame("datetime"), {"c": "local"})
    assert [value.hour for value in values] == [2, 2]


def test_times_in_utc_and_without_a_zone_are_taken_as_they_are(tmp_path: Path) -> None:
    for type_ in (pa.timestamp("us", "UTC"), pa.timestamp("ms")):
        values, _ = _seen(
            tmp_path, pa.array([dt.datetime(2024, 1, 1, 5)], type_), _frame("datetime")
        )
        assert [value.hour for value in values] == [5]


def test_passthrough_keeps_zone_and_instant_whatever_the_model_sees(make_run: MakeRun) -> None:
    run = make_run({"p.parquet": _with(BERLIN)})
    run = run.changed(passthrough=("c",))
    assert _scores(run)["c"].combine_chunks().equals(BERLIN)


# --- input.cast ---

NUMBER = Encoding((TensorSpec("t", "float64", "numeric", (Feature("c", fill=-1.0),)),), ())
WHOLE = Encoding((TensorSpec("t", "int64", "numeric", (Feature("c", fill=-1),)),), ())
WORDS = Encoding(
    (TensorSpec("t", "int64", "category", (Feature("c", vocabulary=("3", "x"), unknown=2),)),), ()
)
LONG = Decimal("12345678901234567890.25")


@pytest.mark.parametrize(
    ("values", "encoding", "how", "seen", "lost"),
    [
        (
            pa.array([Decimal("0.1"), LONG, None], pa.decimal128(38, 2)),
            NUMBER,
            "double",
            [0.1, -1.0, -1.0],
            [1],
        ),
        (pa.array([2**53, 2**63 + 1], pa.uint64()), NUMBER, "double", [2.0**53, -1.0], [1]),
        (
            pa.array([3.0, 2.5, float("nan"), float("inf"), None]),
            WHOLE,
            "integer",
            [3, -1, -1, -1, -1],
            [1, 3],
        ),
        (pa.array([7, 2**63], pa.uint64()), WHOLE, "integer", [7, -1], [1]),
        (pa.array(["5", " 6 ", "6.5", "", None]), WHOLE, "integer", [5, 6, -1, -1, -1], [2]),
        (pa.array([Decimal("4.00"), Decimal("4.50")]), WHOLE, "integer", [4, -1], [1]),
        (pa.array([3, 4]), WORDS, "category", [0, 2], []),
        (pa.array([3.0, 3.5, float("nan")]), WORDS, "category", [0, 2, 2], [1]),
        (pa.array([1, 0, 2, None]), _frame("boolean"), "boolean", [True, False, False, False], [2]),
        (pa.array(["true", "0", "yes"]), _frame("boolean"), "boolean", [True, False, False], [2]),
        (pa.array([b"x", b"\xff"]), WORDS, "text", [1, 2], [1]),
        (pa.array([dt.date(2024, 1, 2)]), _frame("string"), "text", ["2024-01-02"], []),
    ],
)
def test_a_value_that_a_cast_would_change_is_told_apart_and_not_said(
    tmp_path: Path,
    values: pa.Array,
    encoding: Encoding,
    how: str,
    seen: list[Any],
    lost: list[int],
) -> None:
    found, why = _seen(tmp_path, values, encoding, {"c": how})
    assert found == seen
    assert [row for row, reason in enumerate(why) if reason] == lost
    wanted = casts(encoding, pa.schema([("c", values.type)]), {"c": how})["c"].type
    said = f"column c: {values.type} that can't become {wanted}"
    assert {reason for reason in why if reason} <= {said}


@given(st.lists(st.decimals(-(10**9), 10**9, places=6), min_size=1, max_size=50))
def test_a_decimal_becomes_the_float_that_is_nearest_to_it(values: list[Decimal]) -> None:
    batch = pa.record_batch({"c": pa.array(values, pa.decimal128(20, 6))})
    seen, why = cast_rows(batch, {"c": Cast(pa.float64())})
    assert seen["c"].to_pylist() == [float(value) for value in values]
    assert why.null_count == len(values)


@pytest.mark.parametrize(
    ("type_", "how", "said"),
    [
        (pa.date32(), "double", "is date32[day], which can't be cast to double (input.cast)"),
        (pa.string(), "text", "is string, cast to string (input.cast), the model wants a number"),
        (pa.timestamp("us"), "Europe/Berlin", "which can't be cast to Europe/Berlin"),
        (pa.string(), "local", "which can't be cast to local"),
    ],
)
def test_a_cast_that_can_not_be_is_refused(type_: pa.DataType, how: str, said: str) -> None:
    assert said in check_columns(NUMBER, pa.schema([("c", type_)]), {"c": how})[0]


def test_a_cast_of_a_column_that_no_feature_reads_is_refused() -> None:
    said = check_columns(NUMBER, pa.schema([("c", pa.int64()), ("d", pa.int64())]), {"d": "text"})
    assert said == ["column 'd' of input.cast is none that the model reads; take it out"]


def test_a_cast_is_part_of_the_splits_keys(make_run: MakeRun) -> None:
    run = make_run({"p.parquet": sample(10)})
    pieces = [Piece(run.plan.files[0], (0,), 0, 10)]

    def key(told: dict[str, str]) -> str:
        return plan.split_keys(
            pieces, run.plan.model, ENCODING, run.plan.pinned, ("id",), (), "", told
        )[0].key

    assert (
        key({})
        == plan.split_keys(pieces, run.plan.model, ENCODING, run.plan.pinned, ("id",), ())[0].key
    )
    assert len({key({}), key({"at": "local"}), key({"at": "utc"})}) == 3


def test_the_casts_that_the_yaml_takes_are_those_that_there_are() -> None:
    assert (*TARGETS, "local", "utc") == CASTS


def test_the_page_shows_the_table_of_types_and_roles_as_it_is() -> None:
    page = (ROOT / "docs" / "pipeline.md").read_text(encoding="utf-8")
    fresh = with_table(page)
    assert page == fresh, "run `python -m nocturne.fitting.role_table docs/pipeline.md` and commit"


_VIEWS = pa.list_view(pa.timestamp("ns"))
_NANO = np.datetime64("2024-01-01T00:00:00.000000007")


@pytest.mark.parametrize(
    ("type_", "values"),
    [
        (pa.struct([("v", _VIEWS), ("t", pa.timestamp("us"))]), [{"v": [_NANO]}, None, {}]),
        (pa.list_(_VIEWS), [[[_NANO], None], None, [], [[]]]),
        (pa.large_list(_VIEWS), [[[_NANO], None], None, [], [[]]]),
        (pa.list_(_VIEWS, 2), [[[_NANO], None], None, [[], [_NANO]]]),
        (pa.map_(pa.string(), _VIEWS), [[("a", [_NANO]), ("b", None)], None, []]),
        (pa.list_(pa.struct([("m", pa.map_(pa.string(), _VIEWS))])), [[{"m": [("a", [_NANO])]}]]),
    ],
    ids=str,
)
def test_views_within_other_types_keep_every_digit(type_: pa.DataType, values: list[Any]) -> None:
    column = pa.array(values, type_)
    for part in (column, column.slice(1), column.slice(0, 1), column.slice(0, 0)):
        made = normal(pa.record_batch([part], names=["c"]))
        made.validate(full=True)
        plain = normal_schema(pa.schema([("c", type_)])).field("c").type
        assert made["c"].equals(pa.array(values, plain).slice(part.offset, len(part)))


def test_views_beside_times_of_every_year_are_read() -> None:
    late = pa.array([253402300800_000_000], pa.timestamp("us"))  # the year 10000: none of Python's
    column = pa.StructArray.from_arrays(
        [pa.array([[1]], pa.list_view(pa.int8())), late], names=["v", "t"]
    )
    made = normal(pa.record_batch([column], names=["c"]))["c"]
    assert made.field("t").equals(late)


# --- columns without a type, files without rows, names twice ---


def _checked(run: Run, columns: Sequence[str], **how: Any) -> tuple[pa.Schema, pa.Schema]:
    return check_schema(Path(run.plan.input_dir), run.plan.files, ENCODING, columns, **how)


def test_a_column_of_nulls_has_the_type_of_the_other_files_or_of_the_model(
    make_run: MakeRun,
) -> None:
    typed = sample(20).append_column("c", pa.array([Decimal("1.5")] * 20))
    untyped = sample(20, first_id=20)
    for name in ("x", "word"):
        at = untyped.schema.get_field_index(name)
        untyped = untyped.set_column(at, name, pa.nulls(20))
    untyped = untyped.append_column("c", pa.nulls(20)).append_column("d", pa.nulls(20))
    run = make_run({"a.parquet": untyped, "b.parquet": typed.append_column("d", pa.nulls(20))})
    schema, types = _checked(run, ["id", "word", "c", "d"])
    assert [schema.field(n).type for n in ("x", "word", "c", "d")] == [
        pa.float64(),
        pa.string(),
        pa.decimal128(2, 1),
        pa.null(),
    ]
    assert types.names == ["x", "word", "c"]
    run = run.changed(passthrough=("word", "c", "d"), types=packed(types))
    scores = _scores(run)  # equal schemas, or they would not go together
    assert scores.num_rows == 40
    assert scores["c"].to_pylist() == [None] * 20 + [Decimal("1.5")] * 20
    expected = sample(20, first_id=20)
    blank = expected.set_column(1, "x", pa.nulls(20, pa.float64())).set_column(
        3, "word", pa.nulls(20, pa.string())
    )
    alone = make_run({"p.parquet": blank}, partition="2024-01-02")
    assert _scores(alone)["score"].equals(scores["score"].slice(0, 20))


def test_a_late_file_changes_only_the_keys_of_files_that_get_a_type_from_it(
    make_run: MakeRun,
) -> None:
    def keys(**tables: pa.Table) -> dict[str, str]:
        run = make_run(tables)
        _, types = _checked(run, ["id", "c"])
        folder = Path(run.plan.input_dir)
        given = inferred_types(folder, run.plan.files, types, {"id", "x", "y", "word", "c"})
        pieces = cut(folder, run.plan.files, max_rows=1000, max_bytes=1 << 30)
        splits = plan.split_keys(
            pieces, run.plan.model, ENCODING, run.plan.pinned, ("id",), ("c",), types=given
        )
        return {split.file: split.key for split in splits}

    untyped = sample(20).append_column("c", pa.nulls(20)).append_column("note", pa.nulls(20))
    words = untyped.set_column(4, "c", pa.array(["w"] * 20)).drop_columns(["note"])
    alone = keys(a=untyped)
    noted = words.append_column("note", pa.array([1] * 20))
    assert keys(a=untyped, b=noted)["a"] != alone["a"]
    both = keys(a=untyped, b=noted)
    late = words.append_column("note", pa.array([2] * 20))
    assert keys(a=untyped, b=noted, c=late).items() >= both.items()
    assert keys(a=untyped, b=noted, c=late, d=untyped).items() >= both.items()


@pytest.mark.parametrize("first", [True, False])
def test_times_in_int96_and_in_nanoseconds_go_together_in_microseconds(
    make_run: MakeRun, first: bool
) -> None:
    times = pa.array([dt.datetime(2024, 1, 1, 1, 1, 1, 7)] * 20, pa.timestamp("ns"))
    table = sample(20).append_column("c", times)
    older, other = ("a.parquet", "b.parquet") if first else ("b.parquet", "a.parquet")
    run = make_run({"a.parquet": table, "b.parquet": table})
    source = Path(run.plan.input_dir) / older
    pq.write_table(table, source, use_deprecated_int96_timestamps=True)
    run = make_run({})
    schema, types = _checked(run, ["id", "c"])
    assert schema.field("c").type == pa.timestamp("us")
    assert types == pa.schema([("c", pa.timestamp("us"))])
    assert list(inferred_types(source.parent, run.plan.files, types, {"c"})) == [other]
    run = run.changed(passthrough=("c",), types=packed(types))
    assert _scores(run)["c"].to_pylist() == times.cast(pa.timestamp("us")).to_pylist() * 2

    fine = table.set_column(4, "c", pa.array([1_700_000_000_000_000_001] * 20).cast(times.type))
    run = make_run({other: fine}, partition="2024-01-01")
    run = run.changed(passthrough=("c",), types=packed(types))
    with pytest.raises(InputError, match=rf"{other} has times in nanoseconds \(c\) that are finer"):
        _scores(run)


def test_a_file_without_rows_says_nothing_of_types(make_run: MakeRun) -> None:
    empty = pa.table({"id": pa.array([], pa.string()), "other": pa.array([], pa.int8())})
    run = make_run({"a.parquet": empty, "b.parquet": sample(10)})
    schema, types = _checked(run, ["id", "word"])
    assert schema.field("id").type == pa.int64()
    assert len(types) == 0
    assert _scores(run).num_rows == 10


@pytest.mark.parametrize("name", ["x", "id"])
def test_a_column_that_is_there_twice_is_said(make_run: MakeRun, name: str) -> None:
    table = sample(10)
    twice = pa.Table.from_arrays([*table.columns, table[name]], names=[*table.column_names, name])
    run = make_run({"p.parquet": twice})
    with pytest.raises(InputError, match=f"p.parquet: column '{name}' is there 2 times; which one"):
        _checked(run, ["id"])


def test_a_column_that_is_there_twice_and_an_expectation_reads_is_said(make_run: MakeRun) -> None:
    once = _with(pa.array([1.0] * 10), "z")
    twice = pa.Table.from_arrays([*once.columns, once["z"]], names=[*once.column_names, "z"])
    run = make_run({"a.parquet": once, "b.parquet": twice})
    for files in (run.plan.files, run.plan.files[::-1]):
        with pytest.raises(InputError, match="b.parquet: column 'z' is there 2 times"):
            check_schema(Path(run.plan.input_dir), files, ENCODING, ["id"], ["z"])


def test_a_column_that_is_there_twice_and_nobody_reads_is_let_be(make_run: MakeRun) -> None:
    table = sample(10)
    twice = pa.Table.from_arrays(
        [*table.columns, table["y"], table["y"]], names=[*table.column_names, "z", "z"]
    )
    run = make_run({"p.parquet": twice})
    _checked(run, ["id"])
    assert _scores(run).num_rows == 10


# --- types that only Parquet has ---


class _Wkb(pa.ExtensionType):
    """What geometries are called in Arrow; written with it they are GEOMETRY or GEOGRAPHY."""

    def __init__(self, edges: str) -> None:
        self.edges = edges
        super().__init__(pa.binary(), "geoarrow.wkb")

    def __arrow_ext_serialize__(self) -> bytes:
        return json.dumps({"edges": self.edges} if self.edges else {}).encode()

    @classmethod
    def __arrow_ext_deserialize__(cls, storage: pa.DataType, serialized: bytes) -> _Wkb:
        return cls(json.loads(serialized).get("edges", ""))


@pytest.mark.parametrize(
    "logical", ["GEOMETRY", "GEOGRAPHY", "VARIANT", "INTERVAL", "ENUM", "BSON"]
)
def test_a_type_that_only_parquet_has_is_not_published_without_it(
    tmp_path: Path, logical: str
) -> None:
    path = tmp_path / "p.parquet"
    if logical == "VARIANT":
        duckdb.execute(f"COPY (SELECT 1::bigint AS id, 7::VARIANT AS c) TO '{path}'")
    elif logical == "INTERVAL":
        duckdb.execute(f"COPY (SELECT 1::bigint AS id, INTERVAL '1 day' AS c) TO '{path}'")
    elif logical in ("ENUM", "BSON"):  # which no writer here makes, but Avro's and Protobuf's
        pq.write_table(pa.table({"id": [1], "c": ["a"]}), path, store_schema=False)
        text = b"\x18\x01c\x25\x00\x4c\x1c\x00\x00"  # of the footer: named c, UTF8, STRING
        assert path.read_bytes().count(text) == 1
        other = {"ENUM": b"\x08\x4c\x4c", "BSON": b"\x28\x4c\xdc"}[logical]
        path.write_bytes(path.read_bytes().replace(text, text[:4] + other + text[7:]))
    else:
        type_ = _Wkb("spherical" if logical == "GEOGRAPHY" else "")
        points = pa.ExtensionArray.from_storage(type_, pa.array([b"\x01" + bytes(20)]))
        pq.write_table(pa.table({"id": [1], "c": points}), path)
    schema = read_schema(path)
    assert check_output(ENCODING, schema, ["id"]) == []
    assert check_output(ENCODING, schema, ["id", "c"]) == [
        f"column 'c' is {logical}, which would be written without that type; leave it out and "
        "join it by the keys"
    ]


def test_nor_is_one_that_is_within_another(tmp_path: Path) -> None:
    path = tmp_path / "p.parquet"
    point = pa.ExtensionArray.from_storage(_Wkb(""), pa.array([b"\x01" + bytes(20)]))
    places = pa.ListArray.from_arrays([0, 1], pa.StructArray.from_arrays([point], ["p"]))
    pq.write_table(pa.table({"id.s": [1], "id": [1], "s": places, "n.x": [1]}), path)
    [said] = check_output(ENCODING, read_schema(path), ["id.s", "id", "s", "n.x"])
    assert said.startswith("column 's' is GEOMETRY, which would be written without that type")
    value = "{'i': [INTERVAL '1 day'], 'n': 1}"
    duckdb.execute(f"COPY (SELECT 1::bigint AS id, {value} AS s, {{'n': 1}} AS t) TO '{path}'")
    [said] = check_output(ENCODING, read_schema(path), ["id", "s", "t"])
    assert said.startswith("column 's' is INTERVAL, which would be written without that type")


# --- files that can't be read ---


class _Kms(pe.KmsClient):
    def __init__(self, config: Any) -> None:
        super().__init__()

    def wrap_key(self, key: bytes, name: str) -> bytes:
        return base64.b64encode(key)

    def unwrap_key(self, wrapped: bytes, name: str) -> bytes:
        return base64.b64decode(wrapped)


def _encrypted(table: pa.Table, path: Path, *, plain_footer: bool) -> None:
    factory = pe.CryptoFactory(_Kms)
    wanted = pe.EncryptionConfiguration(
        footer_key="footer", column_keys={"key": ["y"]}, plaintext_footer=plain_footer
    )
    properties = factory.file_encryption_properties(pe.KmsConnectionConfig(), wanted)
    with pq.ParquetWriter(path, table.schema, encryption_properties=properties) as writer:
        writer.write_table(table)


@pytest.mark.parametrize(
    ("plain_footer", "said"),
    [
        (True, "p.parquet has encrypted columns, and there is no key for them here"),
        (False, "p.parquet .*is not a readable Parquet file: .*encrypted"),
    ],
)
def test_encrypted_files_are_refused_by_name_wherever_one_is_opened(
    tmp_path: Path, make_run: MakeRun, plain_footer: bool, said: str
) -> None:
    folder = tmp_path / "table"
    folder.mkdir()
    path = folder / "p.parquet"
    _encrypted(sample(100), path, plain_footer=plain_footer)
    with pytest.raises(InputError, match=said):
        fingerprints(listed(folder), tmp_path / "cache.json")
    with pytest.raises(InputError, match=said):
        take(inspect(folder))
    for opened in (open_parquet, read_schema):
        with pytest.raises(InputError, match=said):
            opened(path)


def _wrong_page(path: Path, table: pa.Table) -> None:
    """A file with checksums, and one bit of a value in it that is another one."""
    settings: dict[str, Any] = {
        "compression": "none",
        "use_dictionary": False,
        "write_page_checksum": True,
    }
    pq.write_table(table, path, **settings)
    content = bytearray(path.read_bytes())
    at = content.index(table["y"].combine_chunks().to_numpy()[:4].tobytes())
    content[at] ^= 1
    path.write_bytes(content)


def test_a_page_that_is_not_what_its_checksum_says_is_refused(make_run: MakeRun) -> None:
    run = make_run({"p.parquet": sample(100)})
    _wrong_page(Path(run.plan.input_dir) / "p.parquet", sample(100))
    run = make_run({})
    with pytest.raises(InputError, match=r"p.parquet: row groups 0 to 0 can't be decoded: .*CRC"):
        run_split(run, run.plan.splits[0])
    off = run.changed(checksums=False)
    assert run_split(off, off.plan.splits[0]).rows_out == 100


@pytest.mark.parametrize("within", [False, True])
def test_a_null_in_lists_of_a_fixed_size_is_said_to_be_what_arrow_can_not_read(
    tmp_path: Path, within: bool
) -> None:
    path = tmp_path / "p.parquet"
    lists = pa.array([[1.0, 2.0], None, [3.0, 4.0]], pa.list_(pa.float64(), 2))
    column = pa.StructArray.from_arrays([lists], ["v"]) if within else lists
    pq.write_table(pa.table({"v": column, "x": [1, 2, 3]}), path)
    with open_parquet(path) as source:
        assert sum(b.num_rows for b in read_batches(source, path, [0], ["x"], 10)) == 3
        told = r"Arrow reads no nulls in lists of a fixed size \(v\): .* or .*reader: spark$"
        with pytest.raises(InputError, match=told):
            list(read_batches(source, path, [0], ["v"], 10))
    pq.write_table(pa.table({"v": lists.cast(pa.list_(pa.float64()))}), path)
    with open_parquet(path) as source:
        [batch] = read_batches(source, path, [0], ["v"], 10)
    assert batch.column("v").to_pylist() == [[1.0, 2.0], None, [3.0, 4.0]]


def test_the_search_for_a_micro_batch_names_the_file_that_it_can_not_read(
    make_run: MakeRun, tmp_path: Path
) -> None:
    run = make_run({"p.parquet": sample(100)})
    path = Path(run.plan.input_dir) / "p.parquet"
    _wrong_page(path, sample(100))
    with pytest.raises(InputError, match=r"p.parquet: row groups 0 to 0 can't be decoded"):
        pin(
            Scoring(device="cpu"),
            run.plan.model,
            ENCODING,
            PipelineState(tmp_path / "state"),
            SampleFiles([path]),
        )


def test_checksums_that_do_not_count_do_not_stop_the_search_either(
    make_run: MakeRun, tmp_path: Path
) -> None:
    run = make_run({"p.parquet": sample(100)})
    path = Path(run.plan.input_dir) / "p.parquet"
    _wrong_page(path, sample(100))
    how = Scoring(device="cpu", kernel="graph", micro_batch="auto")
    pin(
        how,
        run.plan.model,
        ENCODING,
        PipelineState(tmp_path / "state"),
        SampleFiles([path], checksums=False),
    )
    assert list((tmp_path / "state" / "tuning").glob("*.json"))


def test_init_samples_tables_of_every_type(tmp_path: Path) -> None:
    from arrow_types import COLUMNS, ROWS

    folder = tmp_path / "ds=2024-01-01"
    folder.mkdir(parents=True)
    columns = {name.replace("=", "_"): column for name, column in COLUMNS.items()}
    pq.write_table(pa.table(columns), folder / "p.parquet")
    sampled = take(inspect(tmp_path))
    assert sampled.rows.num_rows == ROWS
    assert sampled.schema.field("string_view").type == pa.string()
    assert sampled.schema.field("dictionary").type == pa.string()
    assert sampled.schema.field("float16").type == pa.float32()


# --- the shapes that Parquet files come in ---

SHAPES: dict[str, dict[str, Any]] = {
    **{
        f"codec {name}": {"compression": name}
        for name in ("none", "snappy", "gzip", "brotli", "zstd", "lz4")
    },
    "data page v2": {"data_page_version": "2.0", "compression": "zstd"},
    "data page v2, plain": {"data_page_version": "2.0", "compression": "none"},
    "no dictionary": {"use_dictionary": False},
    "dictionary given up": {"dictionary_pagesize_limit": 64, "data_page_size": 128},
    "delta": {
        "use_dictionary": False,
        "column_encoding": {
            "id": "DELTA_BINARY_PACKED",
            "word": "DELTA_BYTE_ARRAY",
            "x": "BYTE_STREAM_SPLIT",
        },
    },
    "delta lengths": {
        "use_dictionary": False,
        "column_encoding": {"word": "DELTA_LENGTH_BYTE_ARRAY"},
    },
    "format 1.0": {"version": "1.0"},
    "no schema of Arrow": {"store_schema": False},
    "no statistics": {"write_statistics": False},
    "page index": {"write_page_index": True},
    "checksums": {"write_page_checksum": True},
    "small pages": {"data_page_size": 64, "write_batch_size": 8},
    "bloom filter": {"bloom_filter_options": {"id": True}},
}


@pytest.mark.parametrize("vocabulary", ["small", "large"])
@pytest.mark.parametrize("shape", SHAPES)
def test_files_of_every_shape_give_the_same_scores(
    make_run: MakeRun,
    tmp_path: Path,
    shape: str,
    vocabulary: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plain = make_run({"p.parquet": sample(300)})
    if vocabulary == "large":
        monkeypatch.setattr("nocturne.encoding._MANY", 1)
    other = tmp_path / "data" / "ds=2024-01-02"
    other.mkdir(parents=True)
    try:
        pq.write_table(sample(300), other / "p.parquet", row_group_size=100, **SHAPES[shape])
    except (pa.ArrowNotImplementedError, TypeError) as error:  # a pyarrow without it
        pytest.skip(str(error))
    run = make_run({}, partition="2024-01-02", row_group_size=100)
    assert _scores(run).equals(_scores(plain))


def _footer(content: bytes, length: int, tail: bytes = b"PAR1") -> bytes:
    return content[:-8] + length.to_bytes(4, "little") + tail


@pytest.mark.parametrize(
    "damage",
    [
        lambda c: _footer(c, 0),
        lambda c: _footer(c, 1),
        lambda c: _footer(c, len(c)),
        lambda c: _footer(c, 2**32 - 1),
        lambda c: _footer(c, int.from_bytes(c[-8:-4], "little"), b"PARE"),
        lambda c: _footer(c, int.from_bytes(c[-8:-4], "little"), b"par1"),
        lambda c: c[:-1],
        lambda c: c[: len(c) // 2],
        lambda c: c + b"\n",
        lambda c: b"",
        lambda c: b"PAR1PAR1",
        lambda c: c[: -int.from_bytes(c[-8:-4], "little") - 8] + b"\xff" * 64 + c[-8:],
    ],
)
def test_odd_footers_are_refused_by_name(make_run: MakeRun, tmp_path: Path, damage: Any) -> None:
    run = make_run({"p.parquet": sample(50)})
    path = Path(run.plan.input_dir) / "p.parquet"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(InputError, match=r"p.parquet \(\d+ bytes\) is not a readable Parquet file"):
        fingerprints(listed(Path(run.plan.input_dir)), tmp_path / "cache.json")
