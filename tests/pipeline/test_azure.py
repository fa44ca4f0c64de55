"""Inputs and state in Azure's blobs, on its emulator: `npm install -g azurite` gives it."""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
import hmac
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pyarrow.parquet as pq
import pytest

from conftest import sample
from forked import in_child
from nocturne import config
from nocturne.errors import InputChanged
from nocturne.objects import ObjectPath, store
from nocturne.operate.decisions import roll_back
from nocturne.operate.gc import collect
from nocturne.operate.status import statuses
from nocturne.operate.verify import verify_partition
from nocturne_airflow.processes import free_port
from object_store import Bucket
from pipeline.conftest import DAYS, night_of
from store_fixtures import bucket as bucket
from store_fixtures import store_endpoint as store_endpoint
from waiting import until

AZURITE = shutil.which("azurite-blob")
ACCOUNT = "devstoreaccount1"
KEY = (  # of every emulator
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
)
URI = "az://nights/in"

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(AZURITE is None, reason="no azurite-blob (Node's package azurite) here"),
]


@pytest.fixture
def _container(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A container of an emulator, which the environment knows."""
    port = free_port()
    endpoint = f"http://127.0.0.1:{port}/{ACCOUNT}"
    command = [str(AZURITE), "--silent", "--skipApiVersionCheck", "--disableTelemetry"]
    command += ["--blobPort", str(port), "--location", str(tmp_path / "azurite")]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        until(lambda: _made(endpoint), f"no emulator at {endpoint}")
        monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_NAME", ACCOUNT)
        monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_KEY", KEY)
        monkeypatch.setenv("AZURE_STORAGE_ENDPOINT", endpoint)
        yield
    finally:
        server.kill()
        server.wait()


def _made(endpoint: str) -> bool:
    """Make the container. https://learn.microsoft.com/rest/api/storageservices (Shared Key)"""
    date = dt.datetime.now(dt.UTC).strftime("%a, %d %b %Y %H:%M:%S GMT")
    headers = {"x-ms-date": date, "x-ms-version": "2021-08-06"}
    named = "".join(f"{name}:{value}\n" for name, value in headers.items())
    text = "PUT" + "\n" * 12 + f"{named}/{ACCOUNT}/{ACCOUNT}/nights\nrestype:container"
    digest = hmac.new(base64.b64decode(KEY), text.encode(), hashlib.sha256).digest()
    signed = f"SharedKey {ACCOUNT}:{base64.b64encode(digest).decode()}"
    try:
        answer = httpx.put(
            f"{endpoint}/nights?restype=container", headers={**headers, "Authorization": signed}
        )
    except httpx.HTTPError:
        return False
    assert answer.status_code in (201, 409), answer.text
    return True


@pytest.mark.usefixtures("_container")
def test_a_night_on_azures_blobs_is_that_on_files(project: Callable[..., config.Loaded]) -> None:
    loaded = project(scoring__kernel="graph", scoring__micro_batch=64)
    overrides = {"input.path": URI, "output.path": "out/azure"}

    def nights() -> None:
        remote = config.load("p", overrides=overrides)
        table = ObjectPath.of(URI)
        for path in loaded.path("data").rglob("*.parquet"):
            (table / path.relative_to(loaded.path("data")).as_posix()).upload(path)
        first, local = night_of(remote, DAYS[0]), night_of(loaded, DAYS[0])
        assert [f.sha256 for f in first.outputs] == [f.sha256 for f in local.outputs]
        assert night_of(remote, DAYS[0]).run_key == first.run_key

    in_child(nights)


@pytest.mark.usefixtures("_container")
def test_conditions_and_changes(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"before")

    def check() -> None:
        path = ObjectPath.of(URI) / "a b/ü%20.parquet"
        path.upload(tmp_path / "x")
        store.check_conditions(path.parent.below())
        store.check_creating(path.parent)
        assert [str(found) for found in ObjectPath.of(URI).below()] == [str(path)]
        assert ObjectPath.of(URI).folders() == [path.parent]
        pinned = path.pinned(path.stat())
        assert pinned.read_bytes() == b"before"
        path.upload(tmp_path / "x")  # the same bytes: another version, in Azure
        with pytest.raises(InputChanged):
            pinned.read_bytes()
        path.unlink()
        path.unlink()
        assert not path.exists()

    in_child(check)


@pytest.mark.usefixtures("_container")
def test_the_state_may_lie_in_azures_blobs(
    project: Callable[..., config.Loaded], bucket: Bucket, tmp_path: Path
) -> None:
    """The emulator can't hold a Delta table: it lists log entries wrong."""
    loaded = project(
        output__path=bucket.uri("out/scores"),
        output__format="delta",
        output__state="az://nights/state",
        quality__unique_keys=True,
        scoring__kernel="graph",
        scoring__micro_batch=64,
    )

    def life() -> None:
        first = night_of(loaded, DAYS[0])
        assert night_of(loaded, DAYS[0]) == first
        path = tmp_path / "data" / f"ds={DAYS[0]}" / "part-0.parquet"
        pq.write_table(sample(600, 99), path, row_group_size=250)
        second = night_of(loaded, DAYS[0])
        assert second.replaces == first.id
        night = config.partition(loaded.pipeline.input.partition, DAYS[0])
        assert verify_partition(loaded, night, replay=None).ok
        assert roll_back(loaded, night, None, "ada").restores == first.id
        assert [one.state for one in statuses(loaded, None, DAYS[0])] == ["published"]
        _, left, _ = collect(loaded, 0, remove=True)
        assert not left
        assert verify_partition(loaded, night).ok
        roots = {p.name for p in ObjectPath.of("az://nights/state").folders()}
        assert roots == {"manifests", "models", "runs", "status", "trials"}

    in_child(life)
