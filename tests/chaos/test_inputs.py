"""Odd and bad files: every row is published or quarantined once, or nothing is, and it is said."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from chaos.conftest import MakeRoot, rows
from chaos.nights import Root, rows_of

TABLE = rows(600, 1, 1000)


def _odd_name(folder: Path) -> None:
    (folder / "part-0.parquet").rename(folder / "ein Teil, äöü 日本 #1%.parquet")


def _nested_beside(folder: Path) -> None:
    pairs = pa.StructArray.from_arrays([TABLE["id"].combine_chunks()], ["inner"])
    pq.write_table(TABLE.append_column("extra", pairs), folder / "part-1.parquet")


def _no_rows(folder: Path) -> None:
    pq.write_table(TABLE.slice(0, 0), folder / "part-1.parquet")


def _one_row(folder: Path) -> None:
    for path in folder.iterdir():
        path.unlink()
    pq.write_table(TABLE.slice(0, 1), folder / "part-0.parquet")


def _one_row_group(folder: Path) -> None:
    pq.write_table(rows(20_000, 3, 50_000), folder / "part-1.parquet", row_group_size=1 << 30)


def _dictionaries(folder: Path) -> None:
    words = TABLE["word"].combine_chunks().dictionary_encode()
    pq.write_table(TABLE.set_column(3, "word", words), folder / "part-1.parquet")


def _infinite(folder: Path) -> None:
    y = pc.if_else(pc.less(TABLE["id"], 1010), float("inf"), TABLE["y"])
    pq.write_table(TABLE.set_column(2, "y", y), folder / "part-1.parquet")


@pytest.mark.parametrize(
    "change",
    [_odd_name, _nested_beside, _no_rows, _one_row, _one_row_group, _dictionaries, _infinite],
)
def test_what_is_odd_is_scored(make_root: MakeRoot, change: Callable[[Path], None]) -> None:
    root = make_root()
    change(root.input)
    assert root.night() == 0
    root.check()


def test_a_linked_folder_and_a_key_that_starts_with_an_underscore_are_of_the_night(
    make_root: MakeRoot,
) -> None:
    root = make_root()
    before = sum(pq.read_metadata(path).num_rows for path in root.input.glob("*.parquet"))
    elsewhere, beside = root.path / "elsewhere" / "region=eu", root.input / "_region=us"
    for folder, first in ((elsewhere, 50_000), (beside, 60_000)):
        folder.mkdir(parents=True)
        pq.write_table(rows(200, 1, first), folder / "part-0.parquet")
    (root.input / "region=eu").symlink_to(elsewhere)
    assert root.night() == 0
    root.check()
    manifest = root.manifest()
    assert manifest is not None
    assert manifest.rows_in == before + 400


def _dangling(folder: Path) -> None:
    (folder / "part-1.parquet").unlink()
    (folder / "part-1.parquet").symlink_to("nowhere")


def _copied(folder: Path) -> None:
    (folder / "part-9.parquet._COPYING_").write_bytes((folder / "part-1.parquet").read_bytes())


def _delta(folder: Path) -> None:
    (folder.parent / "_delta_log").mkdir()


@pytest.mark.parametrize(
    ("change", "code", "said"),
    [
        (_dangling, 1, "part-1.parquet: is a link to nowhere"),
        (_copied, 75, "is still being written: it has part-9.parquet._COPYING_"),
        (_delta, 1, "belongs to a table of Delta"),
    ],
)
def test_what_is_no_plain_folder_of_files_is_refused_or_waited_for(
    make_root: MakeRoot,
    capfd: pytest.CaptureFixture[str],
    change: Callable[[Path], None],
    code: int,
    said: str,
) -> None:
    root = make_root()
    change(root.input)
    assert root.night() == code
    assert said in capfd.readouterr().err
    assert root.published() == {}


def test_text_among_numbers_is_cast_and_what_is_none_is_quarantined(make_root: MakeRoot) -> None:
    """A column that one "n/a" made text, in one file of three."""
    root = make_root()
    undisturbed = make_root()
    y = TABLE["y"].cast(pa.string())
    pq.write_table(TABLE.set_column(2, "y", y), undisturbed.input / "part-1.parquet")
    lost = pc.if_else(pc.equal(pc.bit_wise_and(TABLE["id"], 127), 5), "n/a", y)
    pq.write_table(TABLE.set_column(2, "y", lost), root.input / "part-1.parquet")
    for one in (root, undisturbed):
        one.configure("input", cast_text=True)
        assert one.night() == 0
        one.check()

    found, whole = root.manifest(), undisturbed.manifest()
    assert found is not None
    assert whole is not None
    bad = pc.sum(pc.equal(lost, "n/a")).as_py()
    assert bad > 3
    assert found.rows_quarantined == whole.rows_quarantined + bad
    scores = [
        pa.concat_tables(rows_of(one.output / name) for name in one.published()).drop_columns(
            ["model_version"]
        )
        for one in (root, undisturbed)
    ]
    kept = scores[1].filter(pc.is_in(scores[1]["id"], scores[0]["id"]))
    assert scores[0].sort_by("id") == kept.sort_by("id"), "the scores that numbers would give"
    held = [
        rows_of(root.place("quarantine") / found.run_key[:16] / file.path)
        for file in found.quarantine
    ]
    reasons = pa.concat_tables([t for t in held if t.schema.field("y").type == pa.string()])
    cast = reasons.filter(pc.equal(reasons["reason"], "column y: string that can't become double"))
    assert cast["y"].to_pylist() == ["n/a"] * bad


def _write(content: Callable[[bytes], bytes]) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        path = folder / "part-1.parquet"
        path.write_bytes(content(path.read_bytes()))

    return change


def _table(table: pa.Table) -> Callable[[Path], None]:
    return lambda folder: pq.write_table(table, folder / "part-1.parquet")


def _corrupt_page(folder: Path) -> None:
    path = folder / "part-1.parquet"
    column = pq.read_metadata(path).row_group(2).column(1)
    content = bytearray(path.read_bytes())
    start = column.dictionary_page_offset or column.data_page_offset
    content[start : start + 24] = bytes(24)
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (_write(lambda _: b""), "part-1.parquet (0 bytes) is not a readable Parquet file"),
        (_write(lambda old: old[:-6]), "is not a readable Parquet file"),
        (_write(lambda old: old[:-4] + b"NOPE"), "is not a readable Parquet file"),
        (_corrupt_page, "part-1.parquet: row groups 2 to 2 can't be decoded"),
        (_table(TABLE.drop_columns(["y"])), "part-1.parquet: column 'y' is missing"),
        (_table(TABLE.drop_columns(["id"])), "part-1.parquet: column 'id' is missing"),
        (
            _table(TABLE.set_column(2, "y", TABLE["y"].cast(pa.string()))),
            "part-1.parquet: column 'y' is string, the model wants",
        ),
        (
            _table(
                TABLE.set_column(
                    1, "x", pa.StructArray.from_arrays([TABLE["x"].combine_chunks()], ["inner"])
                )
            ),
            "part-1.parquet: column 'x' is struct<inner: double>, the model wants",
        ),
        (
            _table(TABLE.set_column(0, "id", TABLE["id"].cast(pa.string()))),
            "part-1.parquet: column 'id' is string, in part-0.parquet it is int64",
        ),
    ],
)
def test_what_is_bad_is_refused_by_name_and_nothing_is_published(
    make_root: MakeRoot,
    capfd: pytest.CaptureFixture[str],
    change: Callable[[Path], None],
    said: str,
) -> None:
    root = make_root()
    good = _kept(root)
    change(root.input)

    assert root.night() in (1, 75)  # 75: the driver of these tests, for whatever a worker says

    assert said in capfd.readouterr().err
    assert root.published() == {}
    (root.input / "part-1.parquet").write_bytes(good)
    assert root.night() == 0, "once it is written again"
    root.check()


def _kept(root: Root) -> bytes:
    return (root.input / "part-1.parquet").read_bytes()
