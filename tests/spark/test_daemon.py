"""Workers are forked from a process that has imported all they need, and does nothing else."""

from __future__ import annotations

import subprocess
import sys

WARM = """
import gc, json, sys, threading
from nocturne.spark import daemon
daemon.warm()
names = ("torch", "pyarrow", "nocturne.split", "pyspark.worker", "mlflow", "great_expectations")
print(json.dumps([[n in sys.modules for n in names], threading.active_count(), gc.isenabled()]))
"""
DRIVER = """
import sys
import nocturne.pipeline.night, nocturne.spark.job, nocturne.spark.application
heavy = ("torch", "mlflow", "great_expectations", "pandas", "scipy", "pyspark")
print([name for name in heavy if name in sys.modules])
"""


def _said(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120
    )
    return done.stdout.strip()


def test_the_daemon_imports_the_engine_and_starts_no_thread() -> None:
    assert _said(WARM) == "[[true, true, true, true, false, false], 1, true]"


def test_the_driver_starts_spark_before_it_imports_anything_heavy() -> None:
    assert _said(DRIVER) == "[]"
