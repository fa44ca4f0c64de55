"""The demo's data and model, made as its user makes them, once for all tests of a run."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from once import made_once

__all__ = ["made", "take"]

REPOSITORY = Path(__file__).resolve().parents[2]


def made(factory: pytest.TempPathFactory) -> Path:
    """A project in which ``python -m nocturne.demo prepare`` was called. It is only read."""
    return made_once(factory, "demo", _make)


def _make(root: Path) -> None:
    shutil.copytree(REPOSITORY / "conf", root / "conf")
    env = {**os.environ, "NOCTURNE_HOME": str(root)}
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI"):
        env.pop(name, None)
    subprocess.run(
        [sys.executable, "-m", "nocturne.demo", "prepare"], env=env, cwd=root, check=True
    )


def take(made: Path, root: Path) -> None:
    """Give a project the data and a registry of its own; the model's files stay where they are."""
    shutil.copytree(made / "var" / "demo", root / "var" / "demo", copy_function=os.link)
    (root / "var" / "mlflow").mkdir()
    shutil.copy(made / "var" / "mlflow" / "mlflow.db", root / "var" / "mlflow")
