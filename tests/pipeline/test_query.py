"""The Spark reader: joins and other formats, the same scores, and its weaker contract kept."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
import pytest

from conftest import sample
from nocturne import config
from nocturne.config import Loaded, partition
from nocturne.errors import ConfigError, InputError, StateError
from nocturne.pipeline import prepare
from nocturne.pipeline.night import NightOutcome, score_range
from nocturne.pipeline.places import Places
from nocturne.quality.spark_scan import scan_frame
from nocturne.records.plan import RunPlan
from nocturne.source.fingerprints import fingerprints
from nocturne.source.folders import listed
from nocturne.source.path_columns import columns_of_paths
from nocturne.source.reading import open_parquet
from nocturne.source.spark_files import read_files
from nocturne.source.walk import hidden
from nocturne.store.record_files import read

pytestmark = pytest.mark.usefixtures("_spark")
DAY = "2024-01-02"
PINNED = {"scoring.kernel": "graph", "scoring.micro_batch": 256}
"""By hand: two outputs, each with a search of its own, may differ in the last bits."""


def _score(loaded: Loaded, force: bool = False) -> NightOutcome:
    [night] = score_range(
        loaded,
        [partition(loaded.pipeline.input.partition, DAY)],
        force=force,
        dry_run=False,
        say=lambda _: None,
    )
    return night


def _published(night: NightOutcome) -> pa.Table:
    assert night.outcome == "published", night.message
    return pq.read_table(str(night.output), partitioning=None).sort_by("id")


def test_both_readers_give_the_same_scores(project) -> None:  # type: ignore[no-untyped-def]
    project()
    direct = _published(_score(config.load("p", overrides=PINNED)))
    by_spark = config.load(
        "p", overrides={**PINNED, "scoring.reader": "spark", "output.path": "out/other"}
    )
    found = _published(_score(by_spark))
    assert found.schema.names == direct.schema.names
    assert found.equals(direct.cast(found.schema))


def test_moments_are_published_as_the_other_reader_publishes_them(  # type: ignore[no-untyped-def]
    project, tmp_path: Path
) -> None:
    project(output__passthrough=["word", "at"])
    path = tmp_path / "data" / f"ds={DAY}" / "part-0.parquet"
    table = pq.read_table(path, partitioning=None)
    at = pa.array(range(1_700_000_000_000_000, 1_700_000_000_000_000 + table.num_rows))
    pq.write_table(table.append_column("at", at.cast(pa.timestamp("us", "Europe/Berlin"))), path)
    by_spark = config.load("p", overrides={**PINNED, "scoring.reader": "spark"})
    found = _published(_score(by_spark))
    assert found.schema.field("at").type.tz in ("UTC", "Etc/UTC")  # as the session says
    assert found["at"].cast(pa.int64()).to_pylist() == at.to_pylist()


def test_days_by_the_julian_calendar_are_what_spark_reads_and_refused_otherwise(  # type: ignore[no-untyped-def]
    project, spark, tmp_path: Path
) -> None:
    project(output__passthrough=["word", "born", "seen"])
    folder, setting = tmp_path / "data" / f"ds={DAY}", "spark.sql.parquet.{}RebaseModeInWrite"
    old = "date'0001-01-01' AS born", "timestamp'0001-01-01 00:00:00' AS seen"
    rows = spark.read.parquet(str(folder)).selectExpr("*", *old).persist()
    rows.count()
    for kind in ("datetime", "int96"):
        spark.conf.set(setting.format(kind), "LEGACY")
    try:
        rows.drop("ds").coalesce(1).write.mode("overwrite").parquet(str(folder))
    finally:
        for kind in ("datetime", "int96"):
            spark.conf.unset(setting.format(kind))
    refused = _score(config.load("p", overrides=PINNED))
    assert refused.outcome == "failed"
    assert "(born, seen) that Spark has written by the Julian calendar" in refused.message
    found = _published(_score(config.load("p", overrides={**PINNED, "scoring.reader": "spark"})))
    assert found["born"].unique().to_pylist() == [dt.date(1, 1, 1)]
    assert found["seen"].unique().cast(pa.timestamp("us")).to_pylist() == [dt.datetime(1, 1, 1)]


SHAPES: dict[str, tuple[list[str], list[str]]] = {
    "keys below": (["region=eu/a.parquet", "region=us/b.parquet"], ["region"]),
    "a link to a folder": (["region=us/a.parquet"], ["region"]),
    "a file beside a key": (["a.parquet", "_region=eu/b.parquet"], []),
    "keys of two depths": (["r=1/a.parquet", "r=2/s=3/b.parquet"], []),
    "folders without keys": (["a.parquet", "plain/b.parquet", "plain/er/c.parquet"], []),
    "a key that is a column too": (["word=x/a.parquet", "word=y/b.parquet"], []),
    "odd letters": (["a, äöü {b}[c]*? #1%20.parquet", "x\\y/b.parquet", "10:30/c.parquet"], []),
    "hidden": (["a.parquet", "_SUCCESS", ".b.crc", "_c/d.parquet"], []),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_both_readers_read_the_same_rows_whatever_the_folders(  # type: ignore[no-untyped-def]
    spark, tmp_path: Path, shape: str
) -> None:
    names, keys = SHAPES[shape]
    folder = tmp_path / "data" / "ds=2024-01-02"
    folder.mkdir(parents=True)
    if shape == "a link to a folder":
        (tmp_path / "elsewhere").mkdir()
        (folder / "region=us").symlink_to(tmp_path / "elsewhere")
    for number, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(sample(20, number, 20 * number), folder / name)
    files = [file.path for file in fingerprints(listed(folder), tmp_path / "cache.json")]

    found = read_files(spark, "parquet", {}, str(folder), files)
    assert found.columns == [*sample(1).column_names, *keys]
    direct = pa.concat_tables([open_parquet(folder / file).read() for file in files])
    rows = direct.cast(sample(1).schema).sort_by("id").to_pylist()
    assert len(rows) == 20 * len([name for name in names if not name.startswith(("_S", ".", "_c"))])
    assert [row.asDict() for row in found.drop(*keys).orderBy("id").collect()] == rows


def test_a_column_of_any_file_counts_before_a_key_of_its_path(spark, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    """Spark looks at the first file only; the other reader would never take the folder's value."""
    files = ["word=x/a.parquet", "word=y/b.parquet"]
    for number, file in enumerate(files):
        table = sample(20, number)
        (tmp_path / file).parent.mkdir()
        pq.write_table(table if number else table.drop_columns(["word"]), tmp_path / file)
    found = read_files(spark, "parquet", {}, str(tmp_path), files)
    assert not {"x", "y"} & {row.asDict().get("word") for row in found.collect()}


def test_what_spark_hides_is_hidden_or_waited_for_or_refused(spark) -> None:  # type: ignore[no-untyped-def]
    """By Spark's own function: it lists `_metadata`, whose rows it then leaves out."""
    rule = spark._jvm.org.apache.spark.util.HadoopFSUtils
    pattern = rule.defaultIgnoredPathSegmentRegexPattern()
    markers = [
        "_SUCCESS",
        "_metadata",
        "_common_metadata",
        "_metadata_1",
        "_temporary",
        "_started_1",
    ]
    names = ["a.parquet", "_a", "_a=1", "._a=1", ".a", "a._b", "_", "=", "a._COPYING_", *markers]
    for name in names:
        assert rule.shouldFilterOutPathName(name, pattern) is (
            (hidden(name) and not name.startswith(("_metadata", "_common_metadata")))
            or name.endswith("._COPYING_")
        ), name


def test_no_setting_of_spark_hides_a_planned_file(spark, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    for name in ("a.parquet", "b.parquet"):
        pq.write_table(sample(20), tmp_path / name)
    files = [file.path for file in fingerprints(listed(tmp_path), tmp_path.with_suffix(".json"))]
    hides, missing = "spark.sql.files.ignoredPathSegmentRegex", "spark.sql.files.ignoreMissingFiles"
    try:
        spark.conf.set(hides, "^a")
        spark.conf.set(missing, "true")
        assert read_files(spark, "parquet", {}, str(tmp_path), files).count() == 40
        (tmp_path / "b.parquet").unlink()
        with pytest.raises(Exception, match="b.parquet"):
            read_files(spark, "parquet", {}, str(tmp_path), files).count()
    finally:
        for name in (hides, missing):
            spark.conf.unset(name)


def test_sql_joins_a_table_and_filters(project, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    project()
    plain = _published(_score(config.load("p", overrides=PINNED)))
    folder = tmp_path / "data" / f"ds={DAY}"
    table = pq.read_table(folder, partitioning=None)
    (tmp_path / "words" / f"ds={DAY}").mkdir(parents=True)
    pq.write_table(table.select(["id", "word"]), tmp_path / "words" / f"ds={DAY}" / "w.parquet")
    pq.write_table(table.drop_columns(["word"]), folder / "part-0.parquet")
    joined = config.load(
        "p",
        overrides={
            **PINNED,
            "scoring.reader": "spark",
            "input.sql": "SELECT input.*, word FROM input JOIN words USING (id) "
            "WHERE id % 2 = 0 AND :ds = '2024-01-02'",
            "input.tables": {"words": "words/ds={ds}"},
            "output.path": "out/joined",
        },
    )
    night = _score(joined)
    found = _published(night)
    even = plain.filter([i % 2 == 0 for i in plain["id"].to_pylist()])
    assert found.equals(even.cast(found.schema))
    assert night.manifest is not None
    state = Places.of(joined).state.partition(night.manifest.partition)
    planned = read(RunPlan, state.stored(night.manifest.run))
    assert {f.path for f in planned.files} == {"part-0.parquet", "words://w.parquet"}
    assert _score(joined).outcome == "unchanged"

    pq.write_table(
        table.select(["id", "word"]).slice(100), tmp_path / "words" / f"ds={DAY}" / "w.parquet"
    )
    again = _published(_score(joined))
    assert 0 < len(again) < len(found), "another table is another run key"


@pytest.mark.parametrize("typed", [True, False])
def test_csv_is_read_by_spark(project, tmp_path: Path, typed: bool) -> None:  # type: ignore[no-untyped-def]
    """With the types that Spark infers, or as the text that it is."""
    project()
    plain = _published(_score(config.load("p", overrides=PINNED)))
    folder = tmp_path / "data" / f"ds={DAY}"
    table = pq.read_table(folder, partitioning=None)
    (folder / "part-0.parquet").unlink()
    pacsv.write_csv(table, folder / "part-0.csv")
    by_csv = config.load(
        "p",
        overrides={
            "scoring.reader": "spark",
            "input.format": "csv",
            "output.path": "out/csv",
            "input.options": {"header": True, "inferSchema": typed},
            "input.cast_text": not typed,
        },
    )
    found = _published(_score(by_csv))
    scores = dict(zip(map(int, found["id"].to_pylist()), found["score"].to_pylist(), strict=True))
    expected = dict(zip(plain["id"].to_pylist(), plain["score"].to_pylist(), strict=True))
    assert scores == pytest.approx(expected, rel=1e-5)


def test_null_keys_are_quarantined_by_what_is_known_of_them(project, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    project(quality__max_quarantined=0.5)
    folder = tmp_path / "data" / f"ds={DAY}"
    table = pq.read_table(folder, partitioning=None)
    ids = [None, *table["id"].to_pylist()[1:]]
    pq.write_table(table.set_column(0, "id", pa.array(ids)), folder / "part-0.parquet")
    night = _score(config.load("p", overrides={"scoring.reader": "spark"}))
    assert night.manifest is not None
    assert (night.manifest.rows_published, night.manifest.rows_quarantined) == (599, 1)
    [kept] = (tmp_path / "out" / "_nocturne" / "scores" / f"ds={DAY}" / "quarantine").rglob(
        "*.parquet"
    )
    [row] = pq.read_table(kept).to_pylist()
    assert (row["source_file"], row["source_row"]) == (None, None)
    assert row["reason"] == "the key id is null"
    assert row["x"] == table["x"][0].as_py()


@pytest.mark.parametrize(
    ("sql", "said"),
    [
        (
            "SELECT * FROM inptu",
            "can't read the input of p as its YAML says.*The SQL knows `input`",
        ),
        ("SELECT id, x, word FROM input", "column 'y' is missing"),
        ("SELECT * FROM input WHERE id < 0", "gave no row for 2024-01-02"),
    ],
)
def test_sql_that_gives_nothing_to_score_says_so_and_leaves_nothing(  # type: ignore[no-untyped-def]
    project, tmp_path: Path, sql: str, said: str
) -> None:
    project()
    night = _score(config.load("p", overrides={"scoring.reader": "spark", "input.sql": sql}))
    assert night.outcome == "failed"
    with pytest.raises(AssertionError, match=said):
        raise AssertionError(night.message.replace("\n", " "))
    assert not (tmp_path / "out" / "scores").exists()


@pytest.mark.parametrize(
    ("sql", "said"),
    [
        ("SELECT input.* FROM input JOIN w ON input.id = w.code", "COLUMN_DATA_TYPE_MISMATCH"),
        ("SELECT id, y, word, CAST(word AS DOUBLE) AS x FROM input", "CAST_INVALID_INPUT"),
    ],
)
def test_a_value_that_spark_can_not_take_ends_the_night_and_says_which(  # type: ignore[no-untyped-def]
    project, tmp_path: Path, sql: str, said: str
) -> None:
    project()
    for name, code in (("a", 1), ("b", "one")):
        (tmp_path / "w").mkdir(exist_ok=True)
        pq.write_table(pa.table({"code": [code]}), tmp_path / "w" / f"{name}.parquet")
    changes = {"input.sql": sql, "input.tables": {"w": "w"}}
    night = _score(config.load("p", overrides={"scoring.reader": "spark", **changes}))
    assert night.exit_code == 1, night.message
    assert f"{said}] " in night.message
    assert "Nothing was published. Correct the data" in night.message


def test_a_query_that_gives_a_column_named_like_an_output_is_refused(project) -> None:  # type: ignore[no-untyped-def]
    project()
    changes = {"input.sql": "SELECT *, 0.5 AS score FROM input", "output.passthrough": ["score"]}
    night = _score(config.load("p", overrides={"scoring.reader": "spark", **changes}))
    assert night.outcome == "failed"
    assert "the model predicts score, which is the name of a key (of the table" in night.message


def test_what_needs_spark_says_so(project) -> None:  # type: ignore[no-untyped-def]
    project()
    for key, value in (("input.sql", "SELECT 1"), ("input.format", "orc")):
        with pytest.raises(ConfigError, match=r"needs scoring\.reader: spark"):
            config.load("p", overrides={key: value})
    with pytest.raises(ConfigError, match="is no partition key; there are ds"):
        config.load(
            "p",
            overrides={
                "scoring.reader": "spark",
                "input.sql": "SELECT 1",
                "input.tables": {"w": "w/{hour}"},
            },
        )


def test_the_zone_of_a_file_which_spark_forgets_is_no_cast_with_it(project) -> None:  # type: ignore[no-untyped-def]
    project(input__cast={"x": "local"})
    config.load("p")
    with pytest.raises(ConfigError, match=r"has local for x, and Spark forgets the zone"):
        config.load("p", overrides={"scoring.reader": "spark"})


@pytest.mark.parametrize("name", ["x", "word"])
def test_a_column_without_a_type_that_spark_would_read_is_refused(  # type: ignore[no-untyped-def]
    project, tmp_path: Path, name: str
) -> None:
    project()
    folder = tmp_path / "data" / f"ds={DAY}"
    late = sample(10, 1, 9000).append_column("note", pa.nulls(10))
    pq.write_table(late, folder / "part-1.parquet")
    loaded = config.load("p", overrides={**PINNED, "scoring.reader": "spark"})
    day = partition(loaded.pipeline.input.partition, DAY)
    assert prepare(loaded, day, dry_run=True).action == "dry_run"  # nobody reads the note
    late = late.set_column(late.schema.get_field_index(name), name, pa.nulls(10))
    pq.write_table(late, folder / "part-1.parquet")
    with pytest.raises(InputError, match=rf"part-1.parquet: the columns {name} have no type"):
        prepare(loaded, day)


def test_a_query_is_not_scored_until_all_its_results_are_there(project) -> None:  # type: ignore[no-untyped-def]
    project()
    loaded = config.load("p", overrides={"scoring.reader": "spark"})
    night = _score(loaded)
    prepared = prepare(loaded, partition(loaded.pipeline.input.partition, DAY), force=True)
    assert prepared.run is not None
    assert night.manifest is not None
    assert not prepared.run.scored_file.exists()
    with pytest.raises(StateError, match="1 of 1 splits .* are not scored yet"):
        prepared.run.results()


def test_input_error_is_what_a_missing_table_gives(project) -> None:  # type: ignore[no-untyped-def]
    project()
    loaded = config.load(
        "p",
        overrides={
            "scoring.reader": "spark",
            "input.sql": "SELECT * FROM input JOIN w USING (id)",
            "input.tables": {"w": "nowhere"},
        },
    )
    with pytest.raises(InputError, match="nowhere is not there; check input.path and input.tables"):
        prepare(loaded, partition(loaded.pipeline.input.partition, DAY))


def test_both_readers_have_the_same_of_the_files_paths(project, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    """Types that no value decides, escapes, nulls; also where Spark reads for a suite."""
    project(output__passthrough=["word", "store", "ds"])
    folder = tmp_path / "data" / f"ds={DAY}"
    table = pq.read_table(folder / "part-0.parquet", partitioning=None)
    parts = {"store=007/word=a": table.slice(0, 200), "store=a%2Fb/word=b": table.slice(200, 300)}
    parts["store=__HIVE_DEFAULT_PARTITION__/word=a"] = table.slice(500)
    (folder / "part-0.parquet").unlink()
    for name, rows in parts.items():
        (folder / name).mkdir(parents=True)
        pq.write_table(rows.drop_columns(["word"]), folder / name / "a.parquet")

    direct = _published(_score(config.load("p", overrides=PINNED)))
    assert set(direct["store"].to_pylist()) == {"007", "a/b", None}
    assert [direct.schema.field(n).type for n in ("word", "store", "ds")] == [
        pa.string(),
        pa.string(),
        pa.date32(),
    ]
    changes = {"scoring.reader": "spark", "output.path": "out/other"}
    found = _published(_score(config.load("p", overrides={**PINNED, **changes})))
    assert found.schema.names == direct.schema.names
    assert found.equals(direct.cast(found.schema))

    files = [f"{name}/a.parquet" for name in parts]
    given = columns_of_paths(
        partition({"ds": "%Y-%m-%d"}, DAY), {"ds": "%Y-%m-%d"}, files, ["store", "ds"]
    )
    wanted = ["id", "store", "ds"]
    rows, schema = scan_frame([folder / file for file in files], wanted, {}, given)
    assert schema.types == [pa.int64(), pa.string(), pa.date32()]
    assert [row.asDict() for row in rows.orderBy("id").collect()] == (
        direct.select(wanted).to_pylist()
    )


def test_csv_has_keys_of_its_paths_as_parquet_has_them(project, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    project(output__passthrough=["word", "store", "ds"])
    folder = tmp_path / "data" / f"ds={DAY}"
    table = pq.read_table(folder / "part-0.parquet", partitioning=None)
    (folder / "part-0.parquet").unlink()
    for store in ("007", "8"):
        (folder / f"store={store}").mkdir()
        pacsv.write_csv(table.slice(int(store) * 10, 10), folder / f"store={store}" / "a.csv")
    options = {"header": True, "inferSchema": True}
    overrides = {"scoring.reader": "spark", "input.format": "csv", "input.options": options}
    found = _published(_score(config.load("p", overrides=overrides)))
    assert found["store"].to_pylist() == ["007"] * 10 + ["8"] * 10
    assert found.schema.field("ds").type == pa.date32()


def test_a_key_that_spark_would_read_otherwise_is_refused(spark, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    def read(*names: str, keys: list[str]) -> None:
        for number, name in enumerate(names):
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            pq.write_table(sample(20, number), tmp_path / name)
        given = columns_of_paths(partition({}, DAY), {}, names, keys)
        read_files(spark, "parquet", {}, str(tmp_path), list(names), given)

    read("r=gr%C3%BCn/a", keys=["r"])  # one value needs nothing of Spark
    with pytest.raises(InputError, match="Spark would not read s as 'grün'.*Rename the folder"):
        read("s=gr%C3%BCn/a", "s=blau/b", keys=["s"])
    with pytest.raises(InputError, match="has folders word= and files with such a column"):
        read("t=1/word=x/a", "t=2/word=y/b", keys=["t"])


VOID = {
    "a void feature": ("SELECT id, y, word, NULL AS x FROM input", "'x' has no type"),
    "a void passthrough": ("SELECT id, x, y, NULL AS word FROM input", "'word' has no type"),
    "an untyped column of the input": (
        "SELECT id, x, y, coalesce(CAST(note AS STRING), word) AS word FROM input",
        "part-1.parquet: the columns note have no type",
    ),
    "an untyped column of a table": (
        "SELECT input.id, w.x, y, word FROM input JOIN w ON input.id = w.id",
        "w.parquet: the columns x have no type",
    ),
}


@pytest.mark.parametrize("case", VOID)
def test_what_has_no_type_is_refused_after_sql_too(project, tmp_path: Path, case: str) -> None:  # type: ignore[no-untyped-def]
    project()
    folder = tmp_path / "data" / f"ds={DAY}"
    table = pq.read_table(folder / "part-0.parquet", partitioning=None)
    late = table.slice(0, 10).append_column("note", pa.nulls(10))
    pq.write_table(late, folder / "part-1.parquet")
    noted = table.append_column("note", pa.array(["n"] * table.num_rows))
    pq.write_table(noted, folder / "part-0.parquet")
    (tmp_path / "w w").mkdir()
    pq.write_table(
        pa.table({"id": table["id"], "x": pa.nulls(table.num_rows)}), tmp_path / "w w" / "w.parquet"
    )
    sql, said = VOID[case]
    changes = {"scoring.reader": "spark", "input.sql": sql, "input.tables": {"w": "w w"}}
    night = _score(config.load("p", overrides=changes))
    assert night.outcome == "failed", night.message
    assert said in night.message, night.message


def test_an_untyped_column_that_no_sql_reads_is_no_obstacle(project, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    project()
    path = tmp_path / "data" / f"ds={DAY}" / "part-0.parquet"
    table = pq.read_table(path, partitioning=None)
    pq.write_table(table.append_column("note", pa.nulls(table.num_rows)), path)
    changes = {"scoring.reader": "spark", "input.sql": "SELECT * FROM input"}
    assert len(_published(_score(config.load("p", overrides=changes)))) == table.num_rows
