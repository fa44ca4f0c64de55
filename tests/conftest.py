"""Fixtures that several areas share: a small torch model, and runs planned without a registry."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import settings

import order
import subreaper
import warm
from nocturne import plan
from nocturne.encoding import Encoding, Feature, OutputSpec, TensorSpec
from nocturne.host.forks import Threaded
from nocturne.records.partition import Partition
from nocturne.records.plan import ModelRef, Pinned, RunPlan
from nocturne.source.fingerprints import fingerprints
from nocturne.source.folders import listed
from nocturne.source.parquet_files import cut
from nocturne.store.pipeline_state import PipelineState
from nocturne.store.record_files import write
from nocturne.store.run import Run
from nocturne.trial import process

# Importing Airflow makes files in there.
os.environ["AIRFLOW_HOME"] = tempfile.mkdtemp(prefix="nocturne-tests-airflow-")
os.environ["AIRFLOW__CORE__LOAD_EXAMPLES"] = "False"

# The JVM's second compiler takes half of the CPU of its start, and no test runs long enough for it.
QUICK_JAVA = ("SPARK_SUBMIT_OPTS", "SPARK_LAUNCHER_OPTS", "SPARK_DAEMON_JAVA_OPTS")
for name in QUICK_JAVA:
    os.environ.setdefault(name, "-XX:TieredStopAtLevel=1")

settings.register_profile("untimed", deadline=None)  # what a machine's load says proves nothing
settings.load_profile("untimed")

ENCODING = Encoding(
    inputs=(
        TensorSpec("numbers", "float32", "numeric", (Feature("x", fill=0.5), Feature("y"))),
        TensorSpec(
            "codes", "int64", "category", (Feature("word", vocabulary=("a", "b"), unknown=2),)
        ),
    ),
    outputs=(OutputSpec("score", "sigmoid"),),
)


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> None:
    """From here on the tests run in a process below this one, which ends what they leave."""
    if not hasattr(config, "workerinput"):
        subreaper.go_on_below()


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """With ``--dist loadfile`` the files that share a server run in one process too."""
    if config.getvalue("dist") != "loadfile":
        return None
    from xdist.scheduler import LoadFileScheduling

    class Scheduling(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return order.group(nodeid.split("::", 1)[0])

    config.option.loadscopereorder = False  # what takes longest is not what has most tests
    return Scheduling(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: order.place(item.nodeid.split("::", 1)[0]))


class Small(torch.nn.Module):
    """Two numbers and one category, as the flights' model in small."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(7)
        self.words = torch.nn.Embedding(3, 2)
        self.dense = torch.nn.Linear(4, 1)

    def forward(self, numbers: torch.Tensor, codes: torch.Tensor) -> torch.Tensor:
        return self.dense(torch.cat([numbers, self.words(codes[:, 0])], dim=1))


class Other(Small):
    """The same with other weights."""

    def __init__(self, seed: int = 11) -> None:
        super().__init__()
        torch.manual_seed(seed)
        torch.nn.init.normal_(self.dense.weight)


def text(values: list[bytes | None]) -> pa.Array:
    """A column of text that nobody has checked."""
    stored = pa.array(values, pa.binary())
    return pa.Array.from_buffers(pa.string(), len(stored), stored.buffers())


def sample(rows: int, seed: int = 0, first_id: int = 0) -> pa.Table:
    """Rows with missing numbers and unknown words."""
    random = np.random.default_rng(seed)
    x = random.normal(size=rows)
    return pa.table(
        {
            "id": pa.array(np.arange(first_id, first_id + rows)),
            "x": pa.array(x, mask=random.random(rows) < 0.1),
            "y": pa.array(random.normal(size=rows)),
            "word": pa.array(random.choice(["a", "b", "c", None], size=rows).tolist(), pa.string()),
        }
    )


@pytest.fixture(scope="session", autouse=True)
def _warm_trials() -> Iterator[None]:
    trials = warm.Trials()
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(process, "start", trials.start)
        yield
    trials.end()


_COLD = process.start


@pytest.fixture
def _cold_trials(monkeypatch: pytest.MonkeyPatch) -> None:
    """For tests of how a trial's process is started."""
    monkeypatch.setattr(process, "start", _COLD)


@pytest.fixture(scope="session")
def small_model(tmp_path_factory: pytest.TempPathFactory) -> ModelRef:
    """The small model saved as pt2, dynamic in rows."""
    folder = tmp_path_factory.mktemp("model")
    example = (torch.zeros(4, 2), torch.zeros(4, 1, dtype=torch.int64))
    rows = torch.export.Dim("rows")
    program = torch.export.export(Small(), example, dynamic_shapes=({0: rows}, {0: rows}))
    torch.export.save(program, folder / "model.pt2")
    return ModelRef("small", 3, "version 3", "torch", "0" * 64, str(folder))


@pytest.fixture(scope="session", autouse=True)
def _used_by_children_alone() -> Iterator[None]:
    """A test that used such a library here would break those after it that fork: ``in_child``."""
    tests, load = os.getpid(), Threaded.load

    def refusing(library: Threaded) -> Any:
        assert os.getpid() != tests, f"{library.package} is used in the tests' own process"
        return load(library)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Threaded, "load", refusing)
        yield


MakeRun = Callable[..., Run]


@pytest.fixture
def make_run(tmp_path: Path, small_model: ModelRef) -> MakeRun:
    """Writes a partition and plans it as ``prepare`` does, without a registry."""

    def make(
        tables: Mapping[str, pa.Table] | None = None,
        *,
        partition: str = "2024-01-01",
        keys: tuple[str, ...] = ("id",),
        row_group_size: int = 1000,
        based_on: str | None = None,
        keep: int = 2,
        **changes: Any,
    ) -> Run:
        folder = tmp_path / "data" / f"ds={partition}"
        for name, table in (
            tables if tables is not None else {"part-0.parquet": sample(2500)}
        ).items():
            folder.mkdir(parents=True, exist_ok=True)
            pq.write_table(table, folder / name, row_group_size=row_group_size)
        output = tmp_path / "out" / "scores"
        night = Partition(partition, (("ds", partition),))
        state = PipelineState.beside(output).partition(night)
        files = fingerprints(listed(folder), state.fingerprints())
        pinned = Pinned("cpu", 256, 1, "float32", 512)
        model = changes.pop("model", small_model)
        pieces = cut(folder, files, max_rows=1000, max_bytes=1 << 30)
        splits = plan.split_keys(pieces, model, ENCODING, pinned, keys, ("word",))
        key = plan.run_key(splits)
        run = Run.of(
            state,
            RunPlan(
                pipeline="scores",
                partition=night,
                run_key=key,
                content_key=key,
                input_dir=str(folder),
                model=model,
                encoding=ENCODING,
                pinned=pinned,
                keys=keys,
                passthrough=("word",),
                files=files,
                splits=splits,
                profile_centers={"x": 0.0, "word": None, "score": 0.5},
                based_on=based_on,
                config_digest="none",
                created="2024-01-02T00:00:00+00:00",
                output_version=plan.OUTPUT_VERSION,
                **changes,
            ),
        )
        run.write_plan()
        write(run.settings_file, {"output": {"keep": keep}})
        return run

    return make
