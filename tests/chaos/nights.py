"""Nights in plain processes, without a JVM: a driver, two workers, and what they leave on disk.

The driver forks two workers, which take the splits by turns as Spark's tasks would, waits for
them, judges and publishes. All of it is the pipeline's own code; only Spark is replaced, by
``os.fork``. A driver that is started again does what a retry does.
"""

from __future__ import annotations

import gc
import os
import shutil
import signal
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import TypeVar

import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from forked import in_child
from formats import CATALOG, OUTPUT, catalog_in
from nocturne import config
from nocturne.config import Loaded
from nocturne.errors import NocturneError
from nocturne.objects import ObjectPath, is_uri, local
from nocturne.operate.decisions import roll_back
from nocturne.operate.gc import collect
from nocturne.operate.verify import verify_partition
from nocturne.pipeline import prepare
from nocturne.pipeline.places import Places
from nocturne.pipeline.publishing import publish_run
from nocturne.pipeline.recording import judge_run
from nocturne.records.manifest import Manifest
from nocturne.records.partition import Partition
from nocturne.store.failpoints import VARIABLE
from nocturne.store.run import Run
from nocturne.table import published_manifest
from nocturne.table_formats.protocol import TablePartition
from nocturne.worker.split import run_split
from object_store import Bucket, BucketPath
from waiting import until

T = TypeVar("T")

DAY = "2024-01-02"
CORES = 2
_LINE = 512
"""Bytes by which a worker is told of its run."""


def score_here(run: Run, throttle: float = 0.0) -> None:
    """Score in ``CORES`` forked workers; raises if one of them failed."""
    _await([_fork(lambda core=core: _work(run, core, throttle)) for core in range(CORES)])


def _await(workers: list[int]) -> None:
    codes = [_wait(pid) for pid in workers]
    if any(codes):
        raise ChildProcessError("a worker died")


class Crew:
    """Workers that are forked before the driver uses an object store, after which it can't fork."""

    def __init__(self, throttle: float) -> None:
        self._throttle = throttle
        self._reading, self._writing = os.pipe()
        self._workers = [_fork(lambda core=core: self._wait(core)) for core in range(CORES)]
        os.close(self._reading)

    def _wait(self, core: int) -> None:
        os.close(self._writing)
        if path := os.read(self._reading, _LINE).decode().strip():  # "" if the driver ends
            _work(Run.open(path), core, self._throttle)

    def score(self, run: Run) -> None:
        os.write(self._writing, run.uri.ljust(_LINE).encode() * CORES)
        self.end()

    def end(self) -> None:
        """Also those end who have nothing to do."""
        os.close(self._writing)
        _await(self._workers)


def _work(run: Run, core: int, throttle: float) -> None:
    if throttle:
        _throttle(throttle)
    for split in run.plan.splits[core::CORES]:
        run_split(run, split)


def _throttle(seconds: float) -> None:
    """A slow model: each call of it takes so much longer."""
    from nocturne.engine.torch_model import TorchModel

    fast = TorchModel.predict

    def slow(self: TorchModel, encoded):  # type: ignore[no-untyped-def]
        time.sleep(seconds)
        return fast(self, encoded)

    TorchModel.predict = slow  # type: ignore[method-assign]


def whole_night(
    loaded: Loaded, partition: Partition, throttle: float = 0.0, requeue: bool = False
) -> None:
    """From plan to publish."""
    places = loaded.pipeline.input.path, loaded.pipeline.output.path
    crew = Crew(throttle) if any(map(is_uri, places)) else None
    prepared = prepare(loaded, partition, requeue=requeue)
    if prepared.action == "score" and prepared.run is not None:
        if crew is not None:
            crew.score(prepared.run)
        else:
            score_here(prepared.run, throttle)
        prepared.run.results()
        judge_run(prepared.run)
        publish_run(prepared.run)
    elif crew is not None:
        crew.end()


def _fork(work: Callable[[], object]) -> int:
    sys.stdout.flush()
    sys.stderr.flush()
    gc.freeze()  # the child's collector would touch, and so copy, all that is inherited
    pid = os.fork()
    if pid:
        return pid
    code = 70
    try:
        import torch

        torch.set_num_threads(1)  # threads do not live on in a forked process
        work()
        code = 0
    except NocturneError as error:
        print(f"nocturne: {error}", file=sys.stderr)
        code = error.exit_code
    except ChildProcessError:
        code = 75
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


def until_stopped(pid: int) -> None:
    """Wait until a failpoint with SIGSTOP has stopped the process."""
    process = psutil.Process(pid)
    until(lambda: process.status() == psutil.STATUS_STOPPED, "the failpoint")


def _wait(pid: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


@dataclass
class Root:
    """A project's folder, and the processes that were started in it."""

    path: Path
    bucket: Bucket | None = None
    input_bucket: Bucket | None = None
    started: list[int] = field(default_factory=list)

    @property
    def environment(self) -> dict[str, str]:
        """What commands in it need to know."""
        bucket = self.bucket or self.input_bucket
        cache = {"XDG_CACHE_HOME": str(self.path / "cache")}
        reach = {**bucket.environment, **cache} if bucket else {}
        return {"NOCTURNE_HOME": str(self.path), CATALOG: catalog_in(self.path), **reach}

    def publish_into(self, table_format: str) -> None:
        """The table format, and the place of the table."""
        self.configure("output", **OUTPUT[table_format])
        if self.bucket is not None:
            self.configure("output", path=self.bucket.uri(self._key))
            for path in (self.path / "out" / "_nocturne" / "scores" / "trials").iterdir():
                key = f"{self._key.rpartition('/')[0]}/_nocturne/scores/trials/{path.name}"
                self.bucket.put(key, path.read_bytes())

    @property
    def _key(self) -> str:
        return f"{self.path.name}-{sha256(str(self.path).encode()).hexdigest()[:12]}/scores"

    @property
    def scores(self) -> Path | BucketPath:
        """The table's folder."""
        if self.bucket is not None:
            return BucketPath(self.bucket, self._key)
        return self.path / "out" / "scores"

    def load(self) -> Loaded:
        os.environ.update(self.environment)
        return config.load("p")

    @property
    def partition(self) -> Partition:
        return self.partition_of(self.load())

    def partition_of(self, loaded: Loaded) -> Partition:
        return config.partition(loaded.pipeline.input.partition, DAY)

    @property
    def input(self) -> Path:
        return self.path / "data" / f"ds={DAY}"

    @property
    def output(self) -> Path | BucketPath:
        """The partition's folder."""
        location = self.table.location
        if self.bucket is not None and isinstance(location, ObjectPath):
            return BucketPath(self.bucket, location.key)
        return local(location)

    @property
    def table(self) -> TablePartition:
        return Places.of(self.load()).output(self.partition)

    def place(self, kind: str) -> Path | BucketPath:
        """The folder of a kind of the night's state."""
        place = self.table.state.place(kind)
        if self.bucket is not None and isinstance(place, ObjectPath):
            return BucketPath(self.bucket, place.key)
        return local(place)

    @property
    def state(self) -> Path:
        """The folder of the night's state on a disk."""
        return self.table.state.folder

    def lose_state(self) -> None:
        """The night's state is gone."""
        if self.bucket is None:
            shutil.rmtree(self.state)
        for kind in ("manifests", "runs", "status", "quarantine") if self.bucket else ():
            for path in self.place(kind).glob("**/*"):
                path.unlink()

    def attempts(self) -> list[Path | BucketPath]:
        """Files of attempts at splits, of every run."""
        return [*self.place("runs").glob("**/attempts/[0-9]*.parquet")]

    def configure(self, section: str, **values: object) -> None:
        """Say something else in the pipeline's YAML."""
        path = self.path / "conf" / "pipelines" / "p.yaml"
        pipeline = yaml.safe_load(path.read_text(encoding="utf-8"))
        pipeline.setdefault(section, {}).update(values)
        path.write_text(yaml.safe_dump(pipeline), encoding="utf-8")

    # What is done in it: each in a process (and process group) of its own.

    def start(self, work: Callable[[], object], failpoint: str = "") -> int:
        """Fork a process that does the work; returns its id."""

        def child() -> None:
            os.setsid()
            if failpoint:
                os.environ[VARIABLE] = failpoint
            work()

        self.started.append(_fork(child))
        return self.started[-1]

    def night(self, failpoint: str = "", throttle: float = 0.0) -> int:
        """A night from plan to publish; its exit code, negative for a signal."""
        return self.wait(self.start_night(failpoint, throttle))

    def start_night(self, failpoint: str = "", throttle: float = 0.0) -> int:
        return self.start(lambda: whole_night(self.load(), self.partition, throttle), failpoint)

    def requeue(self, failpoint: str = "") -> int:
        return self.wait(
            self.start(lambda: whole_night(self.load(), self.partition, requeue=True), failpoint)
        )

    def rollback(self, failpoint: str = "") -> int:
        return self.wait(
            self.start(lambda: roll_back(self.load(), self.partition, None, "ada"), failpoint)
        )

    def gc(self, failpoint: str = "") -> int:
        return self.wait(self.start(self._gc, failpoint))

    def _gc(self) -> None:
        _, left, _ = collect(self.load(), 0, remove=True)
        assert not left, left

    def wait(self, pid: int) -> int:
        return _wait(pid)

    def end(self) -> None:
        """Kill whatever was started here and lives on."""
        for group in self.started:
            try:
                os.killpg(group, signal.SIGKILL)
            except ProcessLookupError:
                continue

    # What is there.

    def ask(self, question: Callable[[], T]) -> T:
        """The answer; about a lake table a child gives it, so that this process can still fork."""
        pipeline = self.load().pipeline
        plain = {pipeline.input.format, pipeline.output.format} == {"parquet"}
        return question() if plain else in_child(question)

    def manifest(self) -> Manifest | None:
        return self.ask(lambda: published_manifest(self.table))

    def run(self) -> Run:
        """The run of the published scores."""
        manifest = self.manifest()
        assert manifest is not None
        return Run.at(self.table.state, manifest.run_key)

    def published(self) -> dict[str, str]:
        """File name -> sha256."""

        def files() -> dict[str, str]:
            paths = {name: self.table.file(name) for name in sorted(self.table.files())}
            return {name: sha256(p.read_bytes()).hexdigest() for name, p in paths.items()}

        return self.ask(files)

    def decided(self) -> dict[str, int | str]:
        """Result file -> what tells it from another, of every run: which splits are done."""
        runs = self.place("runs")
        return {
            f"runs/{p.relative_to(runs)}": p.stat().st_ino if isinstance(p, Path) else p.tag
            for p in self.of_runs("results/*.json")
        }

    def of_runs(self, pattern: str) -> list[Path | BucketPath]:
        """Such files of every run. No folder beside them is looked into: a night that ends removes
        some, and a walk that comes upon one fails.
        """
        runs = self.place("runs")
        return [*runs.glob(f"{'**' if isinstance(runs, BucketPath) else '*'}/{pattern}")]

    def files(self) -> list[str]:
        """Every file and folder of the state."""
        state = Places.of(self.load()).state.root
        if self.bucket is not None and isinstance(state, ObjectPath):
            return sorted(key[len(state.key) :] for key in self.bucket.keys(f"{state.key}/"))
        return sorted(str(path.relative_to(self.path)) for path in local(state).rglob("*"))

    def check(self) -> None:
        """The night is whole, is what its manifest says, and no row is lost or doubled."""
        verified = self.ask(lambda: verify_partition(self.load(), self.partition))
        assert verified.ok, verified.problems
        manifest = self.manifest()
        assert manifest is not None
        came = Counter[object]()
        for file in self.ask(self.run).plan.files:
            came.update(_keys(pq.read_table(self.input / file.path, partitioning=None)))
        kept = [rows_of(self.output / f.path) for f in manifest.outputs]
        held = [
            rows_of(self.place("quarantine") / manifest.run_key[:16] / f.path)
            for f in manifest.quarantine
        ]
        went = Counter[object]()
        for table in (*kept, *held):
            went.update(_keys(table))
        assert went == came, (went - came, came - went)
        assert all(key is not None for table in kept for key in _keys(table))


def rows_of(path: Path | BucketPath) -> pa.Table:
    """The rows of a Parquet file, without columns of its path."""
    return pq.read_table(pa.BufferReader(path.read_bytes()), partitioning=None)


def _keys(table: pa.Table) -> list[object]:
    return list(table["id"].to_pylist())
