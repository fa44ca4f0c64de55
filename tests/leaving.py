"""Tests that start a server and never end, for ``test_interrupted.py``; no other run has them."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

from nocturne.spark.application import Application
from nocturne_airflow.environment import Ports
from nocturne_airflow.processes import start
from nocturne_airflow.stack import _mlflow

STUBBORN = """
import os, signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
if not os.fork():
    os.setsid()
    open(sys.argv[1], "w")
    time.sleep(600)
"""


def test_spark() -> None:
    spark = Application("left", "local[1]", {"spark.ui.enabled": "false"})
    assert spark.context().parallelize([1, 2], 1).sum() == 3
    _stay()


def test_mlflow(tmp_path: Path) -> None:
    ports = Ports(0, int(os.environ["LEFT_PORT"]))
    start(_mlflow(tmp_path, ports), os.environ, tmp_path / "mlflow.log", tmp_path)
    _stay()


def _stay() -> None:
    """With a process that has lost its parent, has a session of its own and ignores SIGTERM."""
    subprocess.run([sys.executable, "-S", "-c", STUBBORN, os.environ["LEFT"]], env={}, check=True)
    time.sleep(600)
