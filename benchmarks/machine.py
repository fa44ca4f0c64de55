"""What the figures were measured on."""

from __future__ import annotations

import datetime as dt
import os
import platform
import re
import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil

from benchmarks.layout import ROOT

__all__ = ["commit", "machine"]


def machine(processes: int) -> dict[str, Any]:
    """CPU, cores, memory, versions, date and commit."""
    packages = ("torch", "pyarrow", "numpy", "pandas", "pyspark", "mlflow")
    own = {name: version(name).partition("+")[0] for name in packages}
    return {
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "processes": processes,
        "memory_gb": round(psutil.virtual_memory().total / 1e9, 1),
        "system": platform.platform(),
        "python": platform.python_version(),
        "versions": {**own, **_pinned("ray"), **_pinned("daft")},
        "date": dt.date.today().isoformat(),
        "commit": commit(),
    }


def commit() -> str:
    """The commit, with "+" if files differ from it."""
    git = ["git", "-C", str(ROOT)]
    head = subprocess.run([*git, "rev-parse", "--short", "HEAD"], capture_output=True, text=True)
    changed = subprocess.run([*git, "status", "--porcelain", "-uno"], capture_output=True)
    return (head.stdout.strip() or "unknown") + ("+" if changed.stdout.strip() else "")


def _cpu() -> str:
    text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    found = re.search(r"model name\s*: (.+)", text)
    return found[1] if found else platform.processor()


def _pinned(name: str) -> dict[str, str]:
    text = Path(__file__).with_name(f"{name}.txt").read_text(encoding="utf-8")
    return dict(re.findall(rf"^({name})==(.+)$", text, re.MULTILINE))
