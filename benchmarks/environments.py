"""Environments of the contenders whose packages clash with the project's own.

Their requirement files name packages and versions only; torch, pyarrow and numpy are those
of requirements.lock.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

from benchmarks.layout import Layout

__all__ = ["child_environment", "python", "python_home"]

_ONE_THREAD = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")


def python(layout: Layout, name: str | None) -> str:
    """The interpreter of an environment, made (and compiled) from benchmarks/<name>.txt."""
    if name is None:
        return sys.executable
    folder, wanted = layout.environment(name), Path(__file__).with_name(f"{name}.txt")
    interpreter, marker = str(folder / "bin" / "python"), folder / "made"
    digest = hashlib.sha256(wanted.read_bytes()).hexdigest()
    if not marker.exists() or marker.read_text(encoding="utf-8") != digest:
        print(f"making the environment {folder} (once)", flush=True)
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
        command = ["-m", "pip", "install", "--quiet", "--compile", "-r", str(wanted)]
        subprocess.run([interpreter, *command], check=True)
        marker.write_text(digest, encoding="utf-8")
    return interpreter


def python_home(layout: Layout, name: str | None) -> Path:
    """The folder of an environment, with all of its packages."""
    return Path(sys.prefix) if name is None else layout.environment(name)


def child_environment(current: dict[str, str], root: Path) -> dict[str, str]:
    """What a contender's process sees: one thread a library, bytecode cached, our modules."""
    kept = {
        k: v for k, v in current.items() if not k.startswith(("NOCTURNE_", "MLFLOW_", "SPARK_"))
    }
    kept.pop("PYTHONDONTWRITEBYTECODE", None)  # a user's second start compiles nothing
    path = os.pathsep.join(filter(None, (str(root), current.get("PYTHONPATH"))))
    return {**kept, **dict.fromkeys(_ONE_THREAD, "1"), "PYTHONPATH": path}
