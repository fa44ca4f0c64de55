"""Objects are read as files are, or it is said why not."""

from __future__ import annotations

import json
import os
import pickle
import random
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from traceback import format_exception

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from forked import in_child
from nocturne.errors import (
    ConfigError,
    InputChanged,
    InputError,
    PublishError,
    StateError,
    StoreRefused,
    StoreUnavailable,
)
from nocturne.objects import ObjectPath, location
from nocturne.objects import store as stores
from nocturne.objects.path import Stat
from nocturne.objects.reading import ObjectFile
from nocturne.source.reading import open_parquet, read_batches, read_footer
from nocturne.store.files import file_blake3, file_digest
from object_store import Bucket
from store_fixtures import bucket as bucket
from store_fixtures import store_endpoint as store_endpoint


def at(bucket: Bucket, key: str) -> ObjectPath:
    return ObjectPath.of(bucket.uri(key))


# Paths


@pytest.mark.parametrize(
    ("uri", "root", "key"),
    [
        ("s3://b/a/c", "s3://b", "a/c"),
        ("s3://b", "s3://b", ""),
        ("gs://b/a b/ü%20/", "gs://b", "a b/ü%20"),
        ("az://c/ds=1", "az://c", "ds=1"),
        ("abfs://c@a.dfs.core.windows.net/x", "abfs://c@a.dfs.core.windows.net", "x"),
    ],
)
def test_a_uri_is_a_bucket_and_a_key(uri: str, root: str, key: str) -> None:
    path = ObjectPath.of(uri)
    assert (path.root, path.key) == (root, key)
    assert location(str(path)) == path


@pytest.mark.parametrize(
    "uri",
    ["s3://", "s3:///a", "s3://me:secret@b/a", "s3://b//a", "s3://b/a/../c", "hdfs://b/a", "b/a"],
)
def test_what_is_no_such_uri_is_refused(uri: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        ObjectPath.of(uri)
    assert "secret" not in str(caught.value)


def test_paths_are_put_together_as_those_of_files() -> None:
    folder = ObjectPath.of("s3://b/in")
    path = folder / "ds=1" / "x/part-0.parquet"
    assert str(path) == "s3://b/in/ds=1/x/part-0.parquet"
    assert path.name == "part-0.parquet"
    assert [str(p) for p in path.parents][-3:] == ["s3://b/in/ds=1", "s3://b/in", "s3://b"]
    assert path.is_relative_to(folder)
    assert not path.is_relative_to(ObjectPath.of("s3://b/i"))
    assert not path.is_relative_to(Path("/in"))
    assert path.relative_to(folder) == PurePosixPath("ds=1/x/part-0.parquet")
    assert str(ObjectPath.of("s3://b") / "a") == "s3://b/a"
    with pytest.raises(ValueError, match="is not below"):
        path.relative_to(ObjectPath.of("s3://b/other"))


def test_a_path_of_an_object_is_none_of_a_file() -> None:
    path = ObjectPath.of("s3://b/x")
    for use in (Path, open, os.fspath):
        with pytest.raises(TypeError):
            use(path)  # type: ignore[call-overload]


# Reading


def test_the_parts_of_an_object_are_those_of_its_bytes(bucket: Bucket) -> None:
    data = random.Random(1).randbytes(3 << 20)
    bucket.put("x", data)
    size = len(data)

    def check() -> None:
        chance = random.Random(2)
        for announced in range(6):
            with at(bucket, "x").open() as file:
                for _ in range(announced):
                    file.will_need(
                        (start, min(size, start + chance.randrange(1, 1 << 20)))
                        for start in [chance.randrange(size) for _ in range(announced)]
                    )
                for _ in range(30):
                    start, count = chance.randrange(size + 10), chance.randrange(1 << 17)
                    file.seek(start)
                    assert file.read(count) == data[start : start + count]
                    assert file.tell() == max(start, min(size, start + count))
        file = at(bucket, "x").open()
        file.seek(-5, os.SEEK_END)
        assert (file.read(), file.read(3)) == (data[-5:], b"")
        assert at(bucket, "x").read_bytes() == data

    in_child(check)


def test_what_is_announced_is_fetched_in_few_requests(bucket: Bucket) -> None:
    bucket.put("x", bytes(4 << 20))

    def check() -> int:
        asked = []

        class Counted(ObjectFile):
            def _get(self, start: int, end: int) -> bytes:
                asked.append((start, end))
                return super()._get(start, end)

        path = at(bucket, "x")
        with Counted(path.pinned(path.stat())) as file:
            file.will_need([(0, 1 << 20), (1 << 20, 2 << 20), (3 << 20, 4 << 20)])
            for start in range(0, 2 << 20, 1 << 16):
                file.seek(start)
                file.read(1 << 16)
            file.seek(3 << 20)
            file.read(1 << 20)
        assert sorted(asked) == [(0, 2 << 20), (3 << 20, 4 << 20)]
        return len(asked)

    assert in_child(check) == 2


def test_hashes_are_those_of_the_file(bucket: Bucket, tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(random.Random(3).randbytes(700_000))
    bucket.put("x", path.read_bytes())
    hashed = in_child(lambda: (file_digest(at(bucket, "x")), file_blake3(at(bucket, "x"))))
    assert hashed == (file_digest(path), file_blake3(path))


@pytest.mark.parametrize("change", ["replaced", "deleted"])
def test_an_object_that_is_no_longer_the_planned_one_is_noticed(
    bucket: Bucket, change: str
) -> None:
    bucket.put("x", b"before")

    def check() -> str:
        path = at(bucket, "x")
        file = path.open()
        assert file.read(2) == b"be"
        bucket.put("x", b"AFTER!") if change == "replaced" else bucket.delete("x")
        with pytest.raises(InputChanged) as caught:
            file.read(2)
        with pytest.raises(InputChanged):
            path.pinned(Stat(6, 0, '"old"')).read_bytes()
        return str(caught.value)

    assert in_child(check).startswith(f"{bucket.uri('x')} was replaced or deleted after planning")


def test_row_groups_of_an_object_are_those_of_the_file(bucket: Bucket, tmp_path: Path) -> None:
    table = pa.table(
        {
            "a": range(5000),
            "b": [f"w{i % 7}" for i in range(5000)],
            "c": [{"x": i} for i in range(5000)],
        }
    )
    local = tmp_path / "f.parquet"
    pq.write_table(table, local, row_group_size=700)
    bucket.put("f.parquet", local.read_bytes())

    def batches(path: Path | ObjectPath) -> list[pa.RecordBatch]:
        return [*read_batches(open_parquet(path), path, [1, 2, 3, 6], ["c", "b"], 300)]

    assert in_child(lambda: batches(at(bucket, "f.parquet"))) == batches(local)


def test_a_footer_longer_than_the_first_read_is_read(bucket: Bucket, tmp_path: Path) -> None:
    wide = pa.table({f"column_{i}": [i] for i in range(2000)})
    pq.write_table(wide, tmp_path / "f.parquet")
    data = (tmp_path / "f.parquet").read_bytes()
    assert int.from_bytes(data[-8:-4], "little") > 64 << 10
    bucket.put("f.parquet", data)
    assert in_child(lambda: read_footer(at(bucket, "f.parquet")).num_columns) == 2000


@pytest.mark.parametrize("data", [b"", b"abc", b"no parquet at all", b"PAR1" * 30_000])
def test_an_object_that_is_no_parquet_file_is_named(bucket: Bucket, data: bytes) -> None:
    bucket.put("x.parquet", data)
    with pytest.raises(InputError) as caught:
        in_child(lambda: read_footer(at(bucket, "x.parquet")))
    said = f"{bucket.uri('x.parquet')} ({len(data)} bytes) is not a readable Parquet file"
    assert str(caught.value).startswith(said)


# What the store refuses


def failing(bucket: Bucket, call: Callable[[ObjectPath], object]) -> Exception:
    """The error of a call in a process that asks a failing store three times."""

    def check() -> Exception:
        stores.RETRIES = 2
        try:
            call(at(bucket, "x"))
        except Exception as error:
            return error
        raise AssertionError("no error")

    return in_child(check)


CALLS = {
    "stat": ObjectPath.stat,
    "list": lambda path: list(path.below()),
    "folders": ObjectPath.folders,
    "read": lambda path: path.pinned(Stat(3, 0, '"tag"')).read_bytes(),
}


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize(
    ("fault", "kind", "said"),
    [
        ({"status": 503, "code": "SlowDown"}, StoreUnavailable, "the store did not answer"),
        ({"status": 500, "code": "InternalError"}, StoreUnavailable, "the store did not answer"),
        ({"status": 501, "code": "NotImplemented"}, ConfigError, "does not support the request"),
        ({"status": 403, "code": "AccessDenied"}, StoreRefused, "access denied"),
        ({"status": 403, "code": "RequestTimeTooSkewed"}, ConfigError, "Set this one (NTP)"),
        ({"status": 400, "code": "ExpiredToken"}, StoreUnavailable, "the credentials have expired"),
        ({"status": 404, "code": "NoSuchBucket"}, ConfigError, "there is no s3://"),
        ({"status": 301, "code": "PermanentRedirect"}, ConfigError, "Set its region (AWS_REGION)"),
        ({"status": 400, "code": "BadRequest"}, ConfigError, "the store refuses"),
    ],
)
def test_what_the_store_says_is_said(
    bucket: Bucket, call: str, fault: dict[str, object], kind: type[Exception], said: str
) -> None:
    bucket.put("x", b"abc")
    bucket.fail(path=bucket.name, **fault)
    error = failing(bucket, CALLS[call])
    if call == "stat" and fault["status"] == 404:  # the answer to HEAD has no words
        assert isinstance(error, FileNotFoundError)
        return
    assert type(error) is kind
    assert said in str(error)
    assert str(fault["status"]) in str(error) or fault["status"] == 301
    for secret in bucket.environment.values():
        assert secret not in str(error) or secret in ("us-east-1", "tester")


def test_a_store_that_is_not_there_is_said(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    error = failing(bucket, ObjectPath.stat)
    assert type(error) is StoreUnavailable
    assert "AWS_ENDPOINT_URL" in str(error)


def test_a_bucket_that_is_not_there_is_said(bucket: Bucket) -> None:
    error = failing(bucket, lambda _: list(ObjectPath.of("s3://no-such-bucket/x").below()))
    assert type(error) is ConfigError
    assert str(error).startswith("there is no s3://no-such-bucket (404, NoSuchBucket")


@pytest.mark.parametrize("named", [True, False])
def test_the_credentials_of_a_profile_are_used(
    bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, named: bool
) -> None:
    bucket.put("x", b"abc")
    for variable in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(variable)
    name = "work" if named else "default"
    (tmp_path / "credentials").write_text(
        f"[{name}]\naws_access_key_id = profiled\naws_secret_access_key = not-a-secret\n"
    )
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    if named:
        monkeypatch.setenv("AWS_PROFILE", "work")

    def who() -> str:
        assert at(bucket, "x").read_bytes() == b"abc"
        return stores._made(at(bucket, "x").root).credential_provider()["access_key_id"]

    assert in_child(who) == "profiled"


@pytest.mark.parametrize(
    ("uri", "said"),
    [
        ("az://c/x", "Check AZURE_STORAGE_ACCOUNT_NAME"),
        ("gs://b/x", "Check GOOGLE_APPLICATION_CREDENTIALS"),
    ],
)
def test_a_store_without_credentials_says_which_it_needs(
    uri: str, said: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "missing.json"))
    monkeypatch.delenv("AZURE_STORAGE_ACCOUNT_NAME", raising=False)
    with pytest.raises(ConfigError) as caught:
        in_child(lambda: ObjectPath.of(uri).stat())
    assert said in str(caught.value)


KEY = json.dumps({"type": "service_account", "private_key": "-----BEGIN\nsecret\n-----END"})


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("GOOGLE_APPLICATION_CREDENTIALS", KEY, "is not the path of a file"),
        ("GOOGLE_APPLICATION_CREDENTIALS", "secret" * 1000, "is not the path of a file"),
        ("GOOGLE_APPLICATION_CREDENTIALS", "{file}", "has no key: expected one JSON object"),
        ("GOOGLE_SERVICE_ACCOUNT", KEY, "is not the path of a file"),
        ("GOOGLE_SERVICE_ACCOUNT_PATH", KEY, "is not the path of a file"),
        ("SERVICE_ACCOUNT", KEY, "is not the path of a file"),
        ("GOOGLE_SERVICE_ACCOUNT_KEY", json.dumps(KEY), "has no key: expected one JSON object"),
        ("GOOGLE_SERVICE_ACCOUNT_KEY", "secret", "has no key: expected one JSON object"),
        ("GOOGLE_SERVICE_ACCOUNT_KEY", KEY, "can't be opened with what the environment says"),
    ],
)
def test_no_part_of_a_key_is_in_an_error(
    variable: str, value: str, said: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "key").write_text(json.dumps(KEY))
    monkeypatch.setenv(variable, str(tmp_path / "key") if value == "{file}" else value)

    def error() -> tuple[type, str, str]:
        with pytest.raises(ConfigError) as caught:
            ObjectPath.of("gs://b/x").stat()
        return type(caught.value), str(caught.value), "".join(format_exception(caught.value))

    kind, text, trace = in_child(error)
    assert (kind, said in text) == (ConfigError, True)
    assert variable in text or value == KEY
    assert "secret" not in trace


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ({"method": "PUT", "status": 501}, "that an object is created only if there is none"),
        ({"method": "GET", "query": "^$", "status": 501}, "can't be asked for a part of an object"),
        ({"method": "GET", "without": "range"}, "gives whole objects where a part is asked for"),
        ({"method": "PUT", "without": "etag"}, "gives objects no ETag"),
        ({"unconditional": True}, "it ignores If-None-Match"),
    ],
)
def test_what_a_server_lacks_is_named_and_nothing_is_left_there(
    bucket: Bucket, fault: dict[str, object], said: str
) -> None:
    in_child(lambda: stores.check_creating(at(bucket, "x")))
    bucket.fail(path=bucket.name, **fault)
    error = failing(bucket, stores.check_creating)
    assert type(error) is PublishError
    assert str(error).startswith(f"the server of s3://{bucket.name} ")
    assert said in str(error)
    bucket.fail()
    assert not bucket.keys()


def test_a_profile_that_is_not_there_is_named(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.setenv("AWS_PROFILE", "work")
    error = failing(bucket, ObjectPath.stat)
    assert type(error) is ConfigError
    assert "The config profile (work) could not be found" in str(error)


def test_an_object_that_is_not_there_is_no_file(bucket: Bucket) -> None:
    bucket.put("folder/x", b"1")

    def check() -> None:
        for name, is_file, is_dir in (
            ("nothing", False, False),
            ("folder", False, True),
            ("folder/x", True, False),
            ("fold", False, False),
        ):
            path = at(bucket, name)
            assert (path.is_file(), path.is_dir()) == (is_file, is_dir)
            assert path.exists() == (is_file or is_dir)
        with pytest.raises(FileNotFoundError):
            at(bucket, "nothing").read_bytes()

    in_child(check)


@pytest.mark.parametrize("times", [1, 3])
def test_a_store_that_fails_for_a_while_is_asked_again(bucket: Bucket, times: int) -> None:
    bucket.put("x", b"abc")
    bucket.fail(path=bucket.name, status=503, code="SlowDown", times=times)
    assert in_child(lambda: at(bucket, "x").read_bytes()) == b"abc"


def test_a_server_that_ignores_conditions_is_refused(bucket: Bucket) -> None:
    bucket.put("x", b"abc")
    in_child(lambda: stores.check_conditions(at(bucket, "").below()))
    bucket.fail(unconditional=True)
    error = failing(bucket, lambda path: stores.check_conditions(path.parent.below()))
    assert type(error) is ConfigError
    assert "ignores conditions (If-Match)" in str(error)


def test_a_process_that_was_forked_from_one_that_used_a_store_says_so(bucket: Bucket) -> None:
    bucket.put("x", b"abc")

    def check() -> str:
        assert at(bucket, "x").read_bytes() == b"abc"
        with pytest.raises(StateError) as caught:
            in_child(lambda: at(bucket, "x").read_bytes())
        assert at(bucket, "x").read_bytes() == b"abc"
        return str(caught.value)

    assert "was forked from one that had used an object store" in in_child(check)


def test_a_pickled_path_has_no_secret(bucket: Bucket) -> None:
    bucket.put("x", b"abc")

    def check() -> bytes:
        path = at(bucket, "x")
        path.read_bytes()
        return pickle.dumps(path)

    assert bucket.environment["AWS_SECRET_ACCESS_KEY"].encode() not in in_child(check)


def test_the_daemon_of_sparks_workers_uses_no_store_before_it_forks(bucket: Bucket) -> None:
    """Else its workers would hang. What it imports may be used in each of them."""
    bucket.put("x", b"abc")

    def daemon() -> bytes:
        from nocturne.worker.warm import warm

        warm()
        return in_child(lambda: at(bucket, "x").read_bytes())

    assert in_child(daemon) == b"abc"


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("AWS_ENDPOINT_URL", "", "AWS_ENDPOINT_URL is empty, expected http://host:port"),
        ("AWS_ENDPOINT_URL", "minio:9000", "AWS_ENDPOINT_URL is 'minio:9000', expected"),
        ("AWS_ENDPOINT_URL", " http://minio:9000", "expected http://host:port"),
        ("AWS_ENDPOINT_URL_S3", "http://", "expected http://host:port"),
        ("AWS_ENDPOINT_URL", "me:secret@minio", "AWS_ENDPOINT_URL is not such an address"),
        ("AWS_ACCESS_KEY_ID", "key\n", "AWS_ACCESS_KEY_ID has a blank or a line break in it"),
        ("AWS_SESSION_TOKEN", "a\nb", "AWS_SESSION_TOKEN has a blank or a line break in it"),
    ],
)
def test_values_at_which_the_library_would_panic_are_said(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch, variable: str, value: str, said: str
) -> None:
    monkeypatch.setenv(variable, value)
    error = failing(bucket, ObjectPath.stat)
    assert type(error) is ConfigError
    assert said in str(error)
    assert "secret" not in str(error)


def test_a_store_that_did_not_answer_is_not_asked_for_a_while(bucket: Bucket) -> None:
    """A list of many nights would take minutes for each of them."""
    bucket.put("x", b"abc")
    bucket.fail(path=bucket.name, status=503, code="SlowDown")

    def check() -> None:
        stores.RETRIES = 2
        said = []
        for _ in range(3):
            with pytest.raises(StoreUnavailable) as caught:
                at(bucket, "x").stat()
            said.append((str(caught.value), bucket.requests()))
        assert said[1] == said[2] == said[0], "asked once"
        bucket.fail()
        stores._down.clear()
        assert at(bucket, "x").read_bytes() == b"abc"

    in_child(check)


@pytest.mark.parametrize("key", ["in/a//b", "in/./x", "in/a\tb"])
def test_a_key_that_cant_be_used_is_said(bucket: Bucket, key: str) -> None:
    bucket.put(key, b"1")
    error = failing(bucket, lambda _: [path.read_bytes() for path in at(bucket, "in").below()])
    if isinstance(error, FileNotFoundError | InputChanged):
        pytest.skip("the library leaves the slash out")
    assert type(error) is ConfigError
    assert f"below {bucket.uri('in')} is an object whose key can't be used" in str(error)
    assert "Debug source" not in str(error)
