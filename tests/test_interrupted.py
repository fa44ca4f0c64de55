"""A run of pytest that is interrupted leaves no process of those that its tests started."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from nocturne_airflow.processes import free_port, taken
from waiting import gone, until

TESTS = Path(__file__).parent


@pytest.mark.long
@pytest.mark.parametrize(
    ("number", "test", "options", "program"),
    [
        (signal.SIGINT, "test_mlflow", (), "python"),
        (signal.SIGTERM, "test_spark", ("-n", "1"), "java"),
    ],
)
def test_it_leaves_none(
    tmp_path: Path, number: signal.Signals, test: str, options: tuple[str, ...], program: str
) -> None:
    port, begun = free_port(), tmp_path / "begun"
    environ = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST_")}
    heard = ["env", "--default-signal=INT"]  # a shell's background job ignores it, and these tests
    run = subprocess.Popen(
        [*heard, sys.executable, "-m", "pytest", "-q", *options, f"{TESTS / 'leaving.py'}::{test}"],
        env=environ | {"LEFT": str(begun), "LEFT_PORT": str(port)},
        cwd=TESTS.parent,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        until(lambda: begun.exists() or run.poll() is not None, "a process", 120)
        until(lambda: test == "test_spark" or taken(port) or run.poll() is not None, "MLflow", 120)
        left = psutil.Process(run.pid).children(recursive=True)
        assert program in {process.name() for process in left}
        run.send_signal(number)
        said, _ = run.communicate(timeout=60)
    finally:
        run.kill()
    assert "KeyboardInterrupt" in said, said
    until(lambda: all(gone(process.pid) for process in left), "the end of them", 30)
