"""Which files are data: an entry is one, or hidden by Spark's rule, or refused by name."""

from __future__ import annotations

import json
import os
import socket
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conftest import sample
from nocturne.errors import InputError, NotReady, PartitionMissing
from nocturne.records.partition import Partition
from nocturne.source.fingerprints import fingerprints
from nocturne.source.folders import InputFolders, listed
from nocturne.source.ready import check_ready
from nocturne.source.walk import data_files, hidden, path_keys, present

READY = {"success_file": False, "min_rows": 1, "min_age_minutes": 0.0}
ALL = Partition("all")
Shape = Callable[[Path, Path], None]
"""Adds to a partition with the file part-0.parquet, of 3 rows; the other folder is elsewhere."""


def put(folder: Path, name: str = "part-1.parquet", rows: int = 2) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    pq.write_table(sample(rows), folder / name)
    return folder / name


def names(*files: str) -> Shape:
    """Empty files, and folders where a name ends with a slash."""

    def make(folder: Path, _: Path) -> None:
        for name in files:
            path = folder / name
            (path if name.endswith("/") else path.parent).mkdir(parents=True, exist_ok=True)
            if not name.endswith("/"):
                path.touch()

    return make


def linked_folder(folder: Path, elsewhere: Path) -> None:
    put(elsewhere / "region=eu")
    (folder / "region=eu").symlink_to(elsewhere / "region=eu")


def linked_file(folder: Path, elsewhere: Path) -> None:
    (folder / "part-1.parquet").symlink_to(put(elsewhere))


DATA: dict[str, tuple[Shape, list[str]]] = {
    "one file": (names(), []),
    "a linked folder": (linked_folder, ["region=eu/part-1.parquet"]),
    "a linked file": (linked_file, ["part-1.parquet"]),
    "a key that starts with _": (
        lambda folder, _: void(put(folder / "_region=eu")),
        ["_region=eu/part-1.parquet"],
    ),
    "a file that starts with _ and has a =": (
        lambda folder, _: void(put(folder, "_a=1.parquet")),
        ["_a=1.parquet"],
    ),
    "folders without keys": (
        lambda folder, _: void(put(folder / "a" / "b")),
        ["a/b/part-1.parquet"],
    ),
    "Hive's names": (lambda folder, _: void(put(folder, "000000_0_copy_1")), ["000000_0_copy_1"]),
    "markers": (
        names(
            "_SUCCESS",
            "_metadata",
            "_common_metadata",
            ".part-0.parquet.crc",
            ".DS_Store",
            "_started_7",
            "_committed_7",
            "_committed_vacuum8",
            "x_$folder$",
        ),
        [],
    ),
    "hidden folders": (names("_other/part-1.parquet", ".hive-staging_1/part-1.parquet"), []),
    "a hidden file that is written": (names(".part-1.parquet.tmp"), []),
    "odd letters": (
        lambda folder, _: void(put(folder, "ein Teil, äöü 日本 #1% [a]{b}*?.parquet")),
        ["ein Teil, äöü 日本 #1% [a]{b}*?.parquet"],
    ),
}


def void(_: object) -> None:
    """A lambda's value, dropped."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return put(tmp_path / "data" / "ds=2024-01-01", "part-0.parquet", 3).parent


@pytest.mark.parametrize("shape", DATA)
def test_what_is_data_is_found_and_what_is_hidden_is_not(
    folder: Path, tmp_path: Path, shape: str
) -> None:
    make, more = DATA[shape]
    make(folder, tmp_path / "elsewhere")
    found = [path.relative_to(folder).as_posix() for path in data_files(folder)]
    assert found == sorted(["part-0.parquet", *more], key=lambda name: Path(name).parts)
    files = fingerprints(listed(folder), tmp_path / "cache.json")
    assert [file.path for file in files] == found
    assert sum(file.rows for file in files) == 3 + 2 * len(more)
    check_ready(InputFolders(folder), ALL, **{**READY, "min_rows": 3 + 2 * len(more)})


PARTS = st.lists(
    st.sampled_from(["a", "b=1", "_c", "_d=2", ".e", "2024-01", "f.parquet", "ü", "._g", "h._i"]),
    min_size=1,
    max_size=4,
)


@settings(max_examples=50)
@given(st.lists(PARTS, max_size=8))
def test_a_file_is_data_or_hidden_by_its_name_or_a_folder_s(paths: list[list[str]]) -> None:
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        every = set()
        for parts in paths:
            path = folder.joinpath(*parts)
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.touch(exist_ok=False)
            except OSError:
                continue  # a file is where a folder would be, or the other way round
            every.add(path)
        found = data_files(folder)
        assert len(found) == len(set(found))
        left_out = every - set(found)
        assert set(found) <= every
        for path in found:
            assert not any(map(hidden, path.relative_to(folder).parts))
        for path in left_out:
            assert any(map(hidden, path.relative_to(folder).parts))


def loop(folder: Path, _: Path) -> None:
    (folder / "a").mkdir()
    (folder / "a" / "up").symlink_to("../..")


def self_loop(folder: Path, _: Path) -> None:
    (folder / "x.parquet").symlink_to("x.parquet")


def two_links(folder: Path, elsewhere: Path) -> None:
    put(elsewhere)
    for name in ("region=eu", "region=us"):
        (folder / name).symlink_to(elsewhere)


def diamonds(folder: Path, elsewhere: Path) -> None:
    """Two links to the next in each of 30 folders: a thousand million paths, and no file."""
    for level in range(30):
        (elsewhere / f"{level}").mkdir(parents=True)
        for name in ("a", "b") if level < 29 else ():
            (elsewhere / f"{level}" / name).symlink_to(elsewhere / f"{level + 1}")
    (folder / "top").symlink_to(elsewhere / "0")


def hard_link(folder: Path, _: Path) -> None:
    os.link(folder / "part-0.parquet", folder / "part-1.parquet")


def not_utf8(folder: Path, _: Path) -> None:
    os.rename(os.fsencode(put(folder)), os.fsencode(folder) + b"/Stra\xdfe.parquet")


def folder_not_utf8(folder: Path, _: Path) -> None:
    os.rename(os.fsencode(put(folder / "a").parent), os.fsencode(folder) + b"/r=\xff")


def pipe(folder: Path, _: Path) -> None:
    os.mkfifo(folder / "pipe.parquet")


def listener(folder: Path, _: Path) -> None:
    here = os.open(folder, os.O_DIRECTORY)
    with socket.socket(socket.AF_UNIX) as made:  # through /proc: such an address is short
        made.bind(f"/proc/self/fd/{here}/socket")
    os.close(here)


def replaced(folder: Path, _: Path) -> None:
    (folder / "_committed_7").write_text(json.dumps({"removed": ["part-0.parquet"], "added": []}))


def broken_off(folder: Path, _: Path) -> None:
    put(folder, "part-00000-tid-77-5f0e-1-c000.parquet")
    put(folder, "part-00000-tid-8-5f0e-1-c000.parquet")
    names("_started_77", "_started_8", "_committed_8")(folder, folder)
    two_days_ago = time.time() - 2 * 86400
    os.utime(folder / "_started_77", (two_days_ago, two_days_ago))


def lake(mark: str, *, above: int = 0) -> Shape:
    """Of the partition itself, the table, or what is above it."""

    def make(folder: Path, _: Path) -> None:
        path = [folder, *folder.parents][above] / mark
        path.parent.mkdir(exist_ok=True)
        path.mkdir() if path.suffix != ".json" else path.touch()

    return make


def linked_lake(folder: Path, elsewhere: Path) -> None:
    put(elsewhere / "region=eu")
    (elsewhere / "_delta_log").mkdir()
    (folder / "region=eu").symlink_to(elsewhere / "region=eu")


def file_of_lake(folder: Path, elsewhere: Path) -> None:
    (elsewhere / "_delta_log").mkdir(parents=True)
    (folder / "b.parquet").symlink_to(put(elsewhere / "region=eu"))


REFUSED: dict[str, tuple[Shape, str]] = {
    "a loop": (loop, "a/up leads back to a folder that it lies in"),
    "a link to itself": (self_loop, "x.parquet: is a link to x.parquet, which can't be reached"),
    "a folder twice": (
        two_links,
        r"region=eu and .*region=us are one folder under two names",
    ),
    "links to links": (diamonds, r"top/.* are one folder under two names"),
    "a hard link": (hard_link, r"part-1.parquet and .*part-0.parquet are one file"),
    "a dangling link": (
        lambda folder, _: (folder / "b.parquet").symlink_to("nowhere"),
        "b.parquet: is a link to nowhere, which can't be reached",
    ),
    "a dangling link to a folder": (
        lambda folder, _: (folder / "region=eu").symlink_to("/nowhere/region=eu"),
        "region=eu: is a link to /nowhere/region=eu, which can't be reached",
    ),
    "a name that is not UTF-8": (not_utf8, r"Stra\\xdfe.parquet: the name is not UTF-8; rename"),
    "a folder that is not UTF-8": (folder_not_utf8, r"r=\\xff: the name is not UTF-8; rename"),
    "a backup": (names("part-0.parquet.bak"), "part-0.parquet.bak: has the name of a backup copy"),
    "an editor's backup": (names("part-0.parquet~"), "part-0.parquet~: has the name of a backup"),
    "a folder put aside": (names("2024.OLD/x.parquet"), "2024.OLD: has the name of a backup copy"),
    "a pipe": (pipe, "pipe.parquet: neither a file nor a folder"),
    "a socket": (listener, "socket: neither a file nor a folder"),
    "a marker that is a folder": (names("_metadata/x.parquet"), "_metadata: a folder with the nam"),
    "a replaced file": (replaced, "part-0.parquet: _committed_7 says that it was replaced"),
    "a write that was broken off": (
        broken_off,
        r"_started_77: a write on Databricks that began more than a day ago .* remove this marker "
        r"and the files with tid-77- in their names \(1 are there\)",
    ),
    "a Delta table": (lake("_delta_log", above=1), "belongs to a table of Delta"),
    "a Delta table that is the partition": (lake("_delta_log"), "belongs to a table of Delta"),
    "a Delta table linked": (linked_lake, "belongs to a table of Delta"),
    "a file of a Delta table linked": (file_of_lake, r"b.parquet belongs to a table of Delta"),
    "a stream's table": (lake("_spark_metadata", above=1), "belongs to a table of Spark's streams"),
    "a Hudi table": (lake(".hoodie", above=1), "belongs to a table of Hudi"),
    "a Hudi partition": (lake(".hoodie_partition_metadata"), "belongs to a table of Hudi"),
    "an Iceberg table": (
        lake("metadata/v1.metadata.json", above=1),
        "belongs to a table of Iceberg",
    ),
    "an Iceberg table's data": (
        lake("metadata/00001-ab.metadata.json", above=2),
        "belongs to a table of Iceberg",
    ),
    "a transactional Hive table": (
        names("base_0000001/", "delta_0000002_0000002_0001/"),
        "base_0000001: the folder of a transactional Hive table",
    ),
}


@pytest.mark.parametrize("shape", REFUSED)
def test_what_can_not_be_taken_is_refused_by_name(folder: Path, tmp_path: Path, shape: str) -> None:
    make, said = REFUSED[shape]
    make(folder, tmp_path / "elsewhere")
    for asked in (
        lambda: check_ready(InputFolders(folder), ALL, **READY),
        lambda: fingerprints(listed(folder), tmp_path / "cache.json"),
    ):
        with pytest.raises(InputError, match=said) as caught:
            asked()
        str(caught.value).encode()  # can be printed


def test_every_entry_of_a_folder_that_is_refused_is_said_at_once(folder: Path) -> None:
    for name in ("b.parquet", "c.parquet"):
        (folder / name).symlink_to("nowhere")
    with pytest.raises(InputError, match=r"(?s)b\.parquet: .*c\.parquet: "):
        data_files(folder)


@pytest.mark.parametrize(
    "name",
    [
        "part-1.parquet._COPYING_",
        "region=eu._COPYING_/",
        "part-1.parquet.3f2a.partial",
        "x.tmp",
        "_temporary/0/",
        "_started_7",
    ],
)
def test_a_file_that_is_still_written_is_waited_for(folder: Path, name: str) -> None:
    names(name)(folder, folder)
    for asked in (data_files, lambda at: check_ready(InputFolders(at), ALL, **READY)):
        with pytest.raises(NotReady, match=r"is still being written: it has .*run this again"):
            asked(folder)


@pytest.mark.parametrize("name", ["part-1.csv", "README", "Thumbs.db"])
def test_a_file_of_another_kind_is_refused_by_name(folder: Path, tmp_path: Path, name: str) -> None:
    (folder / name).write_text("id,x\n1,2\n")
    with pytest.raises(InputError, match=rf"{name} .* is not a readable Parquet file"):
        fingerprints(listed(folder), tmp_path / "cache.json")


@contextmanager
def nobody() -> Iterator[None]:
    """Another user than root, to whom permissions are nothing."""
    if os.geteuid():
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.mark.parametrize("closed", ["partition", "folder", "file", "table"])
def test_what_may_not_be_read_is_refused_and_does_not_vanish(closed: str) -> None:
    with tempfile.TemporaryDirectory() as made:
        table = Path(made)
        table.chmod(0o755)
        folder = put(table / "ds=2024-01-01", "part-0.parquet").parent
        put(folder / "region=eu")
        path = {
            "partition": folder,
            "folder": folder / "region=eu",
            "table": table,
            "file": folder / "region=eu" / "part-1.parquet",
        }[closed]
        path.chmod(0)
        cache = Path("/dev/null/cache.json")  # not come to
        try:
            with nobody(), pytest.raises(InputError, match=r"Permission denied"):
                check_ready(InputFolders(folder), ALL, **{**READY, "min_rows": 9})
            with nobody(), pytest.raises(InputError, match=r"Permission denied"):
                fingerprints(listed(folder), cache, parquet=False)
        finally:
            path.chmod(0o755)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda path: path.symlink_to("nowhere"), "is a link to nowhere, which can't be reached"),
        (lambda path: path.touch(), "is not a folder"),
    ],
    ids=["link", "file"],
)
def test_a_partition_that_is_no_folder_is_not_a_missing_one(
    tmp_path: Path, make: Callable[[Path], None], said: str
) -> None:
    """`input.on_missing: skip` would pass over it."""
    path = tmp_path / "ds=2024-01-01"
    assert not present(path)
    make(path)
    with pytest.raises(InputError, match=said) as caught:
        check_ready(InputFolders(path), ALL, **READY)
    assert not isinstance(caught.value, PartitionMissing)


def test_a_lake_table_without_the_folder_is_refused_as_such(tmp_path: Path) -> None:
    (tmp_path / "_delta_log").mkdir()
    with pytest.raises(InputError, match="belongs to a table of Delta") as caught:
        check_ready(InputFolders(tmp_path / "ds=2024-01-01"), ALL, **READY)
    assert not isinstance(caught.value, PartitionMissing)


def test_a_path_that_the_system_finds_too_long_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    here, name = os.open(tmp_path / "a", os.O_DIRECTORY), "b" * 200
    try:
        for _ in range(25):
            os.mkdir(name, dir_fd=here)
            here, before = os.open(name, os.O_DIRECTORY, dir_fd=here), here
            os.close(before)
    finally:
        os.close(here)
    with pytest.raises(InputError, match="File name too long"):
        data_files(tmp_path)


HIDDEN = {
    "_SUCCESS": True,
    "_metadata": True,
    ".x": True,
    "._x=1": True,
    "_x=1": False,
    "_": True,
    "x": False,
    "x._y": False,
}


@pytest.mark.parametrize("name", HIDDEN)
def test_names_are_hidden_by_sparks_rule(name: str) -> None:
    assert hidden(name) is HIDDEN[name]


KEYS: dict[tuple[str, ...], tuple[str, ...]] = {
    ("a.parquet",): (),
    ("r=1/a", "r=2/a"): ("r",),
    ("r=1/s=1/a", "r=2/s=9/b"): ("r", "s"),
    ("r=1/plain/a", "r=2/a"): ("r",),
    ("a", "r=2/a"): (),
    ("r=1/a", "r=2/s=1/a"): (),
    ("r=1/a", "s=2/a"): (),
    ("plain/r=1/a",): (),
    ("r=1/plain/s=1/a",): (),
}


@pytest.mark.parametrize("files", KEYS)
def test_path_keys_are_those_that_all_files_have(files: tuple[str, ...]) -> None:
    assert path_keys(files) == KEYS[files]
