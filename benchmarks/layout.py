"""Where the benchmark's files lie. All of it is below var/bench/, and may be deleted."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from pathlib import Path

from benchmarks.workloads import Workload

__all__ = ["RESULTS", "ROOT", "Layout", "partition_key"]

ROOT = Path(__file__).parents[1]
RESULTS = Path(__file__).parent / "results"


def partition_key(files: int) -> str:
    """The day under which the first ``files`` data files are linked: a size is a partition."""
    return (dt.date(2026, 1, 1) + dt.timedelta(days=files)).isoformat()


@dataclass(frozen=True)
class Layout:
    """Below ``base``: data, models, references, outputs, a Nocturne project, environments."""

    base: Path = ROOT / "var" / "bench"

    @property
    def project(self) -> Path:
        """A Nocturne project of its own: NOCTURNE_HOME of the timed runs."""
        return self.base / "project"

    @property
    def runs(self) -> Path:
        """Every run ever timed, one JSON line each."""
        return self.base / "runs.jsonl"

    def pool(self, workload: Workload) -> Path:
        """The data files; all sizes are hard links into it."""
        return self._data(workload) / "pool"

    def table(self, workload: Workload) -> Path:
        """A table with one partition a size."""
        return self._data(workload) / "table"

    def _data(self, workload: Workload) -> Path:
        kind = "" if workload.table == "numbers" else f"{workload.table}-"
        return self.base / "data" / f"{kind}{workload.file_rows}"

    def partition(self, workload: Workload, files: int) -> Path:
        """The folder that every contender reads."""
        return self.table(workload) / f"ds={partition_key(files)}"

    def model(self, workload: str) -> Path:
        """The frozen model and ``model.json``."""
        return self.base / "models" / workload

    def reference(self, workload: Workload) -> Path:
        """The expected scores, row ``id`` at place ``id``."""
        return self.base / "reference" / f"{workload.name}-{workload.file_rows}.npy"

    def output(self, workload: str, contender: str) -> Path:
        """Emptied before each run."""
        return self.base / "out" / workload / contender

    def environment(self, name: str) -> Path:
        """A contender's own environment."""
        return self.base / f"env-{name}"
