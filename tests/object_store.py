"""Two object stores of the tests: SeaweedFS, a real one, and moto, which can be made to fail.

By itself moto checks a condition and writes in two steps, between which another request may come;
here it answers one request at a time. A test may ask it for faults (``Bucket.fail``): answers that
are errors, or that are lost after the server has done what was asked.

Tests use both through boto3: the library of the project must not be used before a process forks.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from nocturne_airflow.processes import free_port
from waiting import until

__all__ = ["Bucket", "BucketPath", "real_store", "s3_settings", "serving"]

_FAULTS = "/-/faults"
_PORTS = [
    f"{part}.port{kind}"
    for part in ("s3", "master", "volume", "filer", "admin")
    for kind in ("", ".grpc")
]
_KEYS = {"AWS_ACCESS_KEY_ID": "tester", "AWS_SECRET_ACCESS_KEY": "not-a-secret"}


@dataclass(frozen=True)
class Bucket:
    """A bucket, and what a process needs to reach it."""

    name: str
    endpoint: str
    secret: str = _KEYS["AWS_SECRET_ACCESS_KEY"]

    @property
    def environment(self) -> Mapping[str, str]:
        keys = {**_KEYS, "AWS_SECRET_ACCESS_KEY": self.secret}
        return {**keys, "AWS_ENDPOINT_URL": self.endpoint, "AWS_REGION": "us-east-1"}

    @property
    def client(self) -> Any:
        import boto3

        return boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            aws_access_key_id=_KEYS["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=self.secret,
            region_name="us-east-1",
        )

    def fail(self, **fault: object) -> int:
        """Faults from now on, none without arguments.

        Args:
            fault: ``method``, ``path`` and ``query``: patterns of the requests that fail, by
                default all;
                ``after``: so many of them do not; ``times``: how many do; ``status`` and ``code``
                of the answer; ``lost``: the request is done all the same; ``seconds`` by which the
                answer is late; ``then``: the status of all answers after that; ``unconditional``:
                nothing fails, but conditions are ignored; ``without``: a header that the server
                ignores and does not give.

        Returns:
            How many requests the faults before have hit.
        """
        import httpx

        answer = httpx.post(f"{self.endpoint}{_FAULTS}", json=fault)
        assert answer.status_code == 200, answer.text
        return int(answer.json()["hit"])

    def uri(self, key: str) -> str:
        return f"s3://{self.name}/{key}"

    def put(self, key: str, data: bytes = b"") -> None:
        self.client.put_object(Bucket=self.name, Key=key, Body=data)

    def get(self, key: str) -> bytes:
        answer = self.client.get_object(Bucket=self.name, Key=key)
        return bytes(answer["Body"].read())

    def delete(self, key: str) -> None:
        self.client.delete_object(Bucket=self.name, Key=key)

    def keys(self, prefix: str = "") -> list[str]:
        pages = self.client.get_paginator("list_objects_v2").paginate(
            Bucket=self.name, Prefix=prefix
        )
        return sorted(item["Key"] for page in pages for item in page.get("Contents", ()))

    def upload(self, folder: Path, prefix: str) -> None:
        """Copy the files of a folder."""
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                key = f"{prefix}/{path.relative_to(folder).as_posix()}".lstrip("/")
                self.put(key, path.read_bytes())

    def put_in_parts(self, key: str, data: bytes, size: int = 5 << 20) -> None:
        """Write an object as large ones are; then its tag depends on the parts."""
        at = {"Bucket": self.name, "Key": key}
        upload = self.client.create_multipart_upload(**at)["UploadId"]
        parts = [
            {
                "PartNumber": number,
                "ETag": self.client.upload_part(
                    **at, UploadId=upload, PartNumber=number, Body=data[start : start + size]
                )["ETag"],
            }
            for number, start in enumerate(range(0, len(data), size), 1)
        ]
        self.client.complete_multipart_upload(
            **at, UploadId=upload, MultipartUpload={"Parts": parts}
        )

    def requests(self) -> int:
        """The number of requests that the server has answered."""
        import httpx

        return int(httpx.get(f"{self.endpoint}{_FAULTS}").json()["answered"])


def s3_settings(bucket: Bucket | None) -> dict[str, str]:
    """How pyiceberg is told of a bucket."""
    if bucket is None:
        return {}
    return {
        "s3.endpoint": bucket.endpoint,
        "s3.access-key-id": _KEYS["AWS_ACCESS_KEY_ID"],
        "s3.secret-access-key": _KEYS["AWS_SECRET_ACCESS_KEY"],
        "s3.region": "us-east-1",
    }


@dataclass(frozen=True)
class BucketPath:
    """A path in a bucket, with those methods of ``Path`` that tests use."""

    bucket: Bucket
    key: str

    def __truediv__(self, name: str) -> BucketPath:
        return BucketPath(self.bucket, f"{self.key}/{name}")

    def __str__(self) -> str:
        return self.bucket.uri(self.key)

    def relative_to(self, other: BucketPath) -> PurePosixPath:
        return PurePosixPath(self.key).relative_to(other.key)

    @property
    def name(self) -> str:
        return self.key.rpartition("/")[2]

    @property
    def parent(self) -> BucketPath:
        return BucketPath(self.bucket, self.key.rpartition("/")[0])

    def iterdir(self) -> Iterator[BucketPath]:
        """The objects directly in it."""
        inside = self.bucket.keys(f"{self.key}/")
        return (
            BucketPath(self.bucket, key) for key in inside if "/" not in key[len(self.key) + 1 :]
        )

    def glob(self, pattern: str) -> Iterator[BucketPath]:
        """The objects below it whose names match ``**/x/*.y``, or directly in it ``*.y``."""
        if not pattern.startswith("**/"):
            return (path for path in self.iterdir() if PurePosixPath(path.name).match(pattern))
        inside = (BucketPath(self.bucket, key) for key in self.bucket.keys(f"{self.key}/"))
        return (p for p in inside if p.relative_to(self).match(pattern.removeprefix("**/")))

    @property
    def tag(self) -> str:
        return str(self.bucket.client.head_object(Bucket=self.bucket.name, Key=self.key)["ETag"])

    def exists(self) -> bool:
        return self.key in self.bucket.keys(self.key)

    def is_dir(self) -> bool:
        return bool(self.bucket.keys(f"{self.key}/"))

    def read_bytes(self) -> bytes:
        return self.bucket.get(self.key)

    def read_text(self) -> str:
        return self.read_bytes().decode()

    def write_bytes(self, data: bytes) -> None:
        self.bucket.put(self.key, data)

    def write_text(self, text: str) -> None:
        self.write_bytes(text.encode())

    def unlink(self) -> None:
        self.bucket.delete(self.key)


@contextmanager
def real_store(
    folder: Path, bucket: str = "first", secret: str = _KEYS["AWS_SECRET_ACCESS_KEY"]
) -> Iterator[str]:
    """The endpoint of SeaweedFS, which keeps its data in the folder and runs meanwhile.

    It has one bucket.
    """
    ports = {name: free_port() for name in _PORTS}
    command = [Path(sys.prefix) / "bin" / "weed", "mini", f"-dir={folder}", "-s3.port.iceberg=0"]
    command += ["-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-admin.ui=false", "-webdav=false"]
    command += ["-master.telemetry=false", "-s3.autoCreateBucket=false"]
    with open(folder / "log", "wb") as log:
        server = subprocess.Popen(
            [*command, *(f"-{name}={port}" for name, port in ports.items())],
            stdout=log,
            stderr=log,
            env={**os.environ, **_KEYS, "AWS_SECRET_ACCESS_KEY": secret},
        )
    endpoint = f"http://127.0.0.1:{ports['s3.port']}"
    try:
        until(
            lambda: _takes(Bucket(bucket, endpoint, secret)), lambda: (folder / "log").read_text()
        )
        yield endpoint
    finally:
        server.kill()
        server.wait()


def _takes(bucket: Bucket) -> bool:
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        bucket.client.create_bucket(Bucket=bucket.name)
        bucket.put("x", b"1")
    except (BotoCoreError, ClientError):
        return False
    return True


@contextmanager
def serving() -> Iterator[str]:
    """The endpoint of a server that runs meanwhile."""
    import httpx

    port = free_port()
    endpoint = f"http://127.0.0.1:{port}"
    server = subprocess.Popen(
        [sys.executable, __file__, str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    try:
        until(lambda: _answers(httpx, endpoint), f"no object store at {endpoint}")
        yield endpoint
    finally:
        server.kill()
        server.wait()


def _answers(httpx: Any, endpoint: str) -> bool:
    try:
        return bool(httpx.get(endpoint).status_code)
    except httpx.HTTPError:
        return False


def _serve(port: int) -> None:
    from moto.server import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import run_simple

    app, lock = DomainDispatcherApplication(create_backend_app), threading.Lock()
    fault: dict[str, Any] = {}
    counts = {"answered": 0, "hit": 0}

    def one_at_a_time(environ: Any, start: Any) -> list[bytes]:
        if environ["PATH_INFO"] == _FAULTS:
            said = json.dumps(counts).encode()
            if environ["REQUEST_METHOD"] == "POST":
                size = int(environ["CONTENT_LENGTH"])
                fault.clear()
                fault.update(json.loads(environ["wsgi.input"].read(size)))
                counts["hit"] = 0
            start("200 OK", [("Content-Length", str(len(said)))])
            return [said]
        with lock:
            counts["answered"] += 1
            if not _is_hit(fault, environ):
                return list(app(environ, start))
            counts["hit"] += 1
            if fault.get("unconditional"):
                kept = {k: v for k, v in environ.items() if not k.startswith("HTTP_IF_")}
                return list(app(kept, start))
            if header := fault.get("without"):
                named = f"HTTP_{header.upper()}"
                kept = {k: v for k, v in environ.items() if k != named}

                def begin(status: str, headers: list[tuple[str, str]], *rest: Any) -> Any:
                    return start(status, [h for h in headers if h[0].lower() != header], *rest)

                return list(app(kept, begin))
            if fault.get("lost"):
                list(app(environ, lambda *_: None))
            if "then" in fault:
                status = fault["then"]
                fault.clear()
                fault["status"] = status
        time.sleep(fault.get("seconds", 0))
        if "status" not in fault:
            with lock:
                return list(app(environ, start))
        body = f"<Error><Code>{fault.get('code', '')}</Code><Message>a fault</Message></Error>"
        start(f"{fault['status']} Fault", [("Content-Length", str(len(body)))])
        return [body.encode()]

    run_simple("127.0.0.1", port, one_at_a_time, threaded=True)


def _is_hit(fault: dict[str, Any], environ: Any) -> bool:
    """Whether a request is one of those that fail."""
    if not fault or fault.get("times", 1) < 1:
        return False
    is_meant = all(
        re.search(fault.get(name, ""), environ[variable])
        for name, variable in (
            ("method", "REQUEST_METHOD"),
            ("path", "PATH_INFO"),
            ("query", "QUERY_STRING"),
        )
    )
    if is_meant and fault.get("after", 0) > 0:
        fault["after"] -= 1
        return False
    if is_meant and "times" in fault:
        fault["times"] -= 1
    return bool(is_meant)


if __name__ == "__main__":
    _serve(int(sys.argv[1]))
