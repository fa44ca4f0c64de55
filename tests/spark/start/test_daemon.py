"""Workers are forked from a process that has imported all they need, and does nothing else."""

from __future__ import annotations

import subprocess
import sys

from nocturne.spark.start.daemon import LATE

WARM = """
import gc, json, sys, threading
from nocturne.worker.warm import warm
warm(sys.argv[1:])
names = (
    "torch", "pyarrow", "nocturne.worker.split", "pyspark.worker", "mlflow", "great_expectations"
)
print(json.dumps([[n in sys.modules for n in names], threading.active_count(), gc.isenabled()]))
"""
FAULTS = """
import resource, sys
import numpy as np
from nocturne.worker.warm import keep_freed_memory
if sys.argv[1] == "keep":
    keep_freed_memory()
def batch():
    held = [np.ones(1 << 20) for _ in range(12)]  # 8 MiB each: over the least mmap threshold
batch()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
batch()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""
DRIVER = """
import sys
import nocturne.pipeline.night, nocturne.spark.job, nocturne.spark.application
heavy = ("torch", "mlflow", "great_expectations", "pandas", "scipy", "pyspark")
print([name for name in heavy if name in sys.modules])
"""


def _said(code: str, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    return done.stdout.strip()


def test_the_daemon_imports_the_engine_and_starts_no_thread() -> None:
    assert _said(WARM, *LATE) == "[[true, true, true, true, false, false], 1, true]"


def test_the_server_without_spark_imports_no_spark() -> None:
    assert _said(WARM) == "[[true, true, true, false, false, false], 1, true]"


def test_memory_that_a_batch_freed_serves_the_next_one() -> None:
    assert int(_said(FAULTS, "keep")) < 100 < int(_said(FAULTS, "as it is"))


def test_the_driver_starts_spark_before_it_imports_anything_heavy() -> None:
    assert _said(DRIVER) == "[]"
