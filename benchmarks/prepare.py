"""Everything that a workload needs before its first run: data, models, project, references."""

from __future__ import annotations

import time

from benchmarks import data, models, project, reference
from benchmarks.layout import Layout
from benchmarks.workloads import Workload

__all__ = ["prepare"]


def prepare(layout: Layout, workload: Workload, processes: int) -> None:
    """Make what is missing; a second call takes no time. Imports torch and MLflow if need be."""
    started = time.perf_counter()
    data.make(layout, workload)
    project.write(layout, workload, processes)
    models.make(layout, workload)
    reference.make(layout, workload)
    print(f"{workload.name}: prepared in {time.perf_counter() - started:.0f} s", flush=True)
