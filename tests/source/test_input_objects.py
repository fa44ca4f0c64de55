"""What is in a partition is the same in a store as in a folder with the same files."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from conftest import sample
from forked import in_child
from nocturne.errors import InputError, NocturneError, NotReady, PartitionMissing
from nocturne.objects import ObjectPath
from nocturne.records.partition import Partition
from nocturne.source.fingerprints import current, fingerprints
from nocturne.source.folders import InputFolders
from nocturne.source.objects import InputObjects
from nocturne.source.protocol import InputTable, file_name
from nocturne.source.ready import check_ready
from object_store import Bucket
from store_fixtures import bucket as bucket
from store_fixtures import store_endpoint as store_endpoint

DAY = Partition("2024-01-01", (("ds", "2024-01-01"),))
READY = {"success_file": False, "min_rows": 1, "min_age_minutes": 0.0}


def data(tmp_path: Path, rows: int = 5) -> bytes:
    pq.write_table(sample(rows), tmp_path / "one.parquet")
    return (tmp_path / "one.parquet").read_bytes()


def found(table: InputTable, root: str) -> list[str] | tuple[type[Exception], str]:
    """The files of the day, or the error, without the place where it is."""
    try:
        listing = table.listing(DAY)
    except NocturneError as error:
        return type(error), str(error).replace(root, "ROOT")
    return [file_name(path, listing.folder) for path in listing.files]


CASES: dict[str, tuple[str, ...]] = {
    "hidden": ("_SUCCESS", ".part.crc", "_committed_1", "_x/y.parquet", ".hidden/y.parquet"),
    "folders": ("region=eu/part-1.parquet", "a/b/c.parquet", "_x=1/part-2.parquet"),
    "markers": ("region=eu/part-1.parquet", "old_$folder$"),
    "being written": ("part-1.parquet._COPYING_", "x.tmp"),
    "an attempt of Hadoop": ("_temporary/0/part-1.parquet",),
    "backups": ("part-1.parquet.bak", "part-2.parquet~"),
    "many backups": tuple(f"part-{n}.bak" for n in range(30)),
    "transactional Hive": ("delta_0000001_0000001/bucket_0",),
    "an unfinished write": ("_started_5", "part-0-tid-5-x.parquet"),
    "replaced files": ("_committed_7",),
    "a summary": ("_metadata", "_common_metadata"),
    "a folder of that name": ("_metadata/x",),
    "Delta below": ("region=eu/_delta_log/0.json",),
    "Hudi": (".hoodie_partition_metadata",),
    "Iceberg": ("metadata/v1.metadata.json",),
    "names": ("a b.parquet", "ü.parquet", "%20.parquet", "x=1/y=a%2Fb/z.parquet", "+&.parquet"),
}


@pytest.mark.parametrize("case", CASES)
def test_files_are_judged_alike(bucket: Bucket, tmp_path: Path, case: str) -> None:
    root = tmp_path / "root"
    for name in ("part-0.parquet", *CASES[case]):
        path = root / "in" / "ds=2024-01-01" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"" if name.endswith("_$folder$") else b"{}")
    bucket.upload(root, "")
    local = found(InputFolders(root / "in"), str(root))
    store = in_child(
        lambda: found(InputObjects(ObjectPath.of(bucket.uri("in"))), bucket.uri("")[:-1])
    )
    assert store == local


def test_markers_of_folders_are_no_data(bucket: Bucket, tmp_path: Path) -> None:
    for key in ("in/", "in/ds=2024-01-01/", "in/ds=2024-01-01/region=eu/"):
        bucket.put(key)
    bucket.put("in/ds=2024-01-01/region=eu/part-0.parquet", data(tmp_path))
    table = InputObjects(ObjectPath.of(bucket.uri("in")))
    assert in_child(lambda: found(table, "")) == ["region=eu/part-0.parquet"]


@pytest.mark.parametrize("with_data", [True, False])
def test_an_empty_folder_of_a_console_is_no_data(
    bucket: Bucket, tmp_path: Path, with_data: bool
) -> None:
    bucket.put("in/ds=2024-01-01/sub/")
    bucket.put("in/ds=2024-01-01/region=eu/deep/")
    if with_data:
        bucket.put("in/ds=2024-01-01/region=eu/part-0.parquet", data(tmp_path))
    table = InputObjects(ObjectPath.of(bucket.uri("in")))
    expected = ["region=eu/part-0.parquet"] if with_data else []
    assert in_child(lambda: found(table, "")) == expected


def test_an_object_with_bytes_whose_key_ends_with_a_slash_is_refused(bucket: Bucket) -> None:
    bucket.put("in/ds=2024-01-01/extra/", b"PAR1")
    bucket.put("in/ds=2024-01-01/a.parquet", b"PAR1")
    table = InputObjects(ObjectPath.of(bucket.uri("in")))
    with pytest.raises(InputError, match="extra/ is an object with bytes whose key ends with a"):
        in_child(lambda: table.listing(DAY))


def test_a_table_deep_below_a_folder_of_that_name_is_no_matter(
    bucket: Bucket, tmp_path: Path
) -> None:
    bucket.put("in/ds=2024-01-01/a.parquet", data(tmp_path))
    bucket.put("metadata/x/other/v3.metadata.json", b"{}")
    table = InputObjects(ObjectPath.of(bucket.uri("in")))
    assert in_child(lambda: found(table, "")) == ["a.parquet"]


def test_who_may_list_only_the_table_may_read_it(bucket: Bucket, tmp_path: Path) -> None:
    bucket.put("team/in/ds=2024-01-01/a.parquet", data(tmp_path))
    table = InputObjects(ObjectPath.of(bucket.uri("team/in")))
    bucket.fail(query=r"prefix=(?!team%2Fin)", status=403, code="AccessDenied")
    assert in_child(lambda: (table.has(DAY), found(table, ""))) == (True, ["a.parquet"])


def test_an_object_whose_name_is_also_a_folders_is_data(bucket: Bucket) -> None:
    for key in ("in/ds=2024-01-01/x", "in/ds=2024-01-01/x/y.parquet"):
        bucket.put(key, b"abc")
    table = InputObjects(ObjectPath.of(bucket.uri("in")))
    assert in_child(lambda: found(table, "")) == ["x", "x/y.parquet"]


@pytest.mark.parametrize(
    "mark",
    ["in/_delta_log/0.json", "in/.hoodie/x", "_delta_log/0.json", "in/metadata/v1.metadata.json"],
)
def test_a_table_with_a_log_is_refused(bucket: Bucket, tmp_path: Path, mark: str) -> None:
    bucket.put("in/ds=2024-01-01/part-0.parquet", data(tmp_path))
    bucket.put(mark, b"{}")
    table = InputObjects(ObjectPath.of(bucket.uri("in")))
    with pytest.raises(InputError, match="whose log decides which files count"):
        in_child(lambda: table.has(DAY))
    answer = in_child(lambda: found(table, "s3://"))
    assert isinstance(answer, tuple)
    assert "whose log decides which files count" in answer[1]


def test_partitions_are_listed_the_last_first(bucket: Bucket) -> None:
    for key in (
        "in/ds=2024-01-01/hour=05/x",
        "in/ds=2024-01-01/hour=06/x",
        "in/ds=2024-01-03/hour=05/x",
        "in/other/x",
        "in/ds=2024-01-02",
    ):
        bucket.put(key, b"1")
    table = InputObjects(ObjectPath.of(bucket.uri("in")))
    formats = {"ds": "%Y-%m-%d", "hour": "%H"}
    assert in_child(lambda: list(table.partitions(formats))) == [
        "ds=2024-01-03/hour=05",
        "ds=2024-01-01/hour=06",
        "ds=2024-01-01/hour=05",
    ]
    assert in_child(lambda: (table.exists(), list(table.neighbours(DAY)))) == (
        True,
        ["ds=2024-01-01", "ds=2024-01-03"],
    )


def test_a_store_that_lists_a_partition_is_asked_a_few_times(bucket: Bucket) -> None:
    """However many files there are."""
    for number in range(40):
        bucket.put(f"in/ds=2024-01-01/part-{number}.parquet", b"1")
    table = InputObjects(ObjectPath.of(bucket.uri("in")))
    before = bucket.requests()
    in_child(lambda: table.listing(DAY))
    assert bucket.requests() - before < 20


# Readiness


@pytest.mark.parametrize(
    ("condition", "kind", "said"),
    [
        ({"success_file": True}, NotReady, "has no _SUCCESS file yet"),
        ({"min_rows": 9}, NotReady, "holds 5 rows"),
        ({"min_age_minutes": 5}, NotReady, "was written 0 minutes ago"),
        ({}, None, ""),
    ],
)
def test_conditions_are_those_of_folders(
    bucket: Bucket,
    tmp_path: Path,
    condition: Mapping[str, object],
    kind: type[NocturneError] | None,
    said: str,
) -> None:
    bucket.put("in/ds=2024-01-01/part-0.parquet", data(tmp_path))
    table = InputObjects(ObjectPath.of(bucket.uri("in")))

    def check() -> str:
        with nullcontext() if kind is None else pytest.raises(kind) as caught:
            check_ready(table, DAY, **{**READY, **condition})  # type: ignore[arg-type]
        return str(caught and caught.value)

    assert said in in_child(check)


def test_a_missing_partition_names_its_neighbours(bucket: Bucket) -> None:
    bucket.put("in/ds=2023-12-31/part-0.parquet", b"1")
    bucket.put("in/ds=2024-01-02/part-0.parquet", b"1")
    table = InputObjects(ObjectPath.of(bucket.uri("in")))
    with pytest.raises(PartitionMissing, match="the table has ds=2023-12-31 to ds=2024-01-02"):
        in_child(lambda: check_ready(table, DAY, **READY))  # type: ignore[arg-type]


# Fingerprints


@pytest.mark.parametrize("content", [True, False])
def test_a_fingerprint_is_kept_as_long_as_the_object_is_the_same(
    bucket: Bucket, tmp_path: Path, content: bool
) -> None:
    bucket.put("in/ds=2024-01-01/a.parquet", data(tmp_path))
    bucket.put("in/ds=2024-01-01/b.parquet", data(tmp_path, 7))
    table = InputObjects(ObjectPath.of(bucket.uri("in")))
    cache = tmp_path / "fingerprints.json"

    def check() -> None:
        first = fingerprints(table.listing(DAY), cache, content=content)
        assert [f.rows for f in first] == [5, 7]
        assert all(f.tag and bool(f.blake3) == content for f in first)
        asked = bucket.requests()
        assert fingerprints(table.listing(DAY), cache, content=content) == first
        listed = bucket.requests() - asked
        bucket.put("in/ds=2024-01-01/b.parquet", data(tmp_path, 8))
        before = bucket.requests()
        second = fingerprints(table.listing(DAY), cache, content=content)
        assert bucket.requests() - before > listed  # b is read again
        assert second[0] == first[0]
        assert second[1].fingerprint != first[1].fingerprint
        assert second[1].rows == 8
        folder = table.folder(DAY)
        assert current(folder / "a.parquet", first[0]) == first[0]
        assert current(folder / "b.parquet", first[1]) is None

    in_child(check)


def test_an_object_that_was_copied_has_the_same_content(bucket: Bucket, tmp_path: Path) -> None:
    """A multipart upload has another tag, of the same bytes."""
    name = "in/ds=2024-01-01/a.parquet"
    big = pa.table({"x": range(900_000)})
    pq.write_table(big, tmp_path / "big.parquet", compression="none", use_dictionary=False)
    body = (tmp_path / "big.parquet").read_bytes()
    bucket.put(name, body)
    table = InputObjects(ObjectPath.of(bucket.uri("in")))
    cache = tmp_path / "fingerprints.json"

    def check() -> None:
        by_content = fingerprints(table.listing(DAY), cache)
        by_version = fingerprints(table.listing(DAY), cache, content=False)
        bucket.put_in_parts(name, body)
        path = table.folder(DAY) / "a.parquet"
        now = current(path, by_content[0])
        assert now is not None
        assert now.tag != by_content[0].tag
        assert now.fingerprint == by_content[0].fingerprint
        assert current(path, by_version[0]) is None
        assert fingerprints(table.listing(DAY), cache)[0] == now

    in_child(check)


def test_a_file_known_by_its_version_is_not_read(tmp_path: Path) -> None:
    folder = tmp_path / "in" / "ds=2024-01-01"
    folder.mkdir(parents=True)
    (folder / "a.parquet").write_bytes(data(tmp_path))
    table, cache = InputFolders(tmp_path / "in"), tmp_path / "fingerprints.json"
    [first] = fingerprints(table.listing(DAY), cache, content=False)
    assert (first.blake3, first.rows) == ("", 5)
    assert fingerprints(table.listing(DAY), cache, content=False) == (first,)
    [hashed] = fingerprints(table.listing(DAY), cache)
    assert hashed.blake3
    assert hashed.fingerprint != first.fingerprint
    assert current(folder / "a.parquet", first) == first
    (folder / "a.parquet").write_bytes(data(tmp_path))  # at another time
    assert current(folder / "a.parquet", first) is None
    assert current(folder / "a.parquet", hashed) is not None
